//! Load at fluid fidelity: expected numbers of sessions in place of sessions.
//!
//! Sessions begin at the load's mean rate λ(t) and end at rate 1/D, so their expected number obeys
//! dn/dt = λ − n/D, which is integrated exactly over each step for a constant λ (M/G/∞ with time-varying input;
//! S. Eick, W. Massey, W. Whitt, "The Physics of the Mt/G/∞ Queue", 1993). The number is kept for each machine, since
//! sessions stay on the machine that they were given, and for each client cell served from a region.
//!
//! What chance does to a machine near its limit is put back in closed form: sessions on a machine are taken as Poisson
//! about their mean, and response times of interactive work as those of M/M/c in heavy traffic. What this leaves out:
//! sessions that arrive together because they share a resolver's cached answer, and machines that cached answers still
//! point to while they drain.

mod flow;
mod latency;
mod queries;
mod roster;
mod tail;

use std::sync::Arc;

use forebay_world::{ClassId, Duration, Meter, RegionId, Steering, Timestamp, VmState};

use crate::dns::Resolvers;
use crate::fleet::{Ordinal, Vm, serving_cell};
use crate::load::{Filling, RateCurve, Sweep};
use crate::network::{GroupIx, GroupUsage};
use crate::session::caches;
use crate::world::{Event, Ground, class};
use flow::{CellFlow, ClassFlow, Kind};
use latency::LatencyPoints;
use queries::ExpectedQueries;
use roster::Roster;
use tail::{exceeds, poisson_reaches};

/// Expected load of all cells.
#[derive(Clone, Debug)]
pub(crate) struct FluidLoad {
    step: Duration,
    at: Timestamp,
    rates: Vec<Sweep>,
    /// Rates that whoever drives the world has told, beside those \[1/s\].
    told: Vec<f64>,
    resolvers: Resolvers,
    currents: Vec<Current>,
    /// Positions in `currents` by client cell.
    by_client: Vec<Vec<usize>>,
    steering: Arc<Steering>,
    /// Since when it stands.
    steered: Timestamp,
    queries: ExpectedQueries,
    /// By serving cell.
    serving: Vec<Serving>,
    roster: Roster,
    pace: Pace,
    classes: Arc<[ClassFlow]>,
    cells: Arc<[CellFlow]>,
    latency: LatencyPoints,
}

/// What follows from the length of a step alone.
#[derive(Clone, Debug, Default)]
struct Pace {
    seconds: f64,
    /// By class.
    fillings: Vec<Filling>,
}

impl Pace {
    fn follow(&mut self, seconds: f64, classes: &[ClassFlow]) {
        if self.seconds != seconds {
            self.seconds = seconds;
            self.fillings.clear();
            self.fillings.extend(classes.iter().map(|class| Filling::new(class.length, seconds)));
        }
    }
}

/// The sessions of one client cell that one region serves.
#[derive(Clone, Debug)]
struct Current {
    client_cell: usize,
    serving_cell: usize,
    server: RegionId,
    group: Option<GroupIx>,
    /// One-way delay to the clients \[s\].
    delay: f64,
    /// Share of the starts that are late for that delay.
    late_starts: f64,
    /// Share of the client cell's new sessions that its resolvers send here …
    share: f64,
    /// … that they will send here once they follow the steering …
    target: f64,
    /// … and sent here when it last changed.
    share_before: f64,
    /// Sessions under way, expected.
    sessions: f64,
    /// Sessions that begin in the running step.
    begun: f64,
}

/// What a step does in one serving cell.
#[derive(Clone, Copy, Debug, Default)]
struct Serving {
    /// Machines that take new sessions …
    ready: f64,
    /// … and the sessions on them.
    on_ready: f64,
    /// Sessions that want to begin.
    wanted: f64,
    /// Share of those that find room.
    accepted: f64,
    /// Of those that begin, what a machine with the mean number of sessions gets [1/s] …
    rate_per_machine: f64,
    /// … the mean number of sessions on a machine that takes new ones …
    mean_on_ready: f64,
    /// … and how much more a machine gets for each session that it has less than that.
    lean: f64,
    /// Sessions of its currents.
    standing: f64,
    /// Session time of the step \[s\] …
    seconds: f64,
    /// … the share of it on machines with too many sessions …
    short_share: f64,
    /// … the share of it that machines can carry at full rate …
    carried_share: f64,
    /// … and the share of requests later than the objective allows.
    late_share: f64,
    /// Mean response time of requests \[s\], weighted by session time.
    response_seconds: f64,
}

/// What the machines of a cell do in a step: sums over them.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    on_ready: f64,
    seconds: f64,
    short_seconds: f64,
    carried_seconds: f64,
    late_seconds: f64,
    response_seconds: f64,
}

impl Serving {
    /// Rate at which sessions begin on a machine \[1/s\].
    #[inline]
    fn begin_rate(&self, vm: &Vm) -> f64 {
        if vm.state != VmState::Ready {
            return 0.0;
        }
        let behind = (self.mean_on_ready - vm.sessions) * self.lean;
        self.rate_per_machine * (1.0 + behind.clamp(-1.0, 1.0))
    }

    fn take(&mut self, done: &Done) {
        self.on_ready = done.on_ready;
        self.seconds = done.seconds;
        self.response_seconds = done.response_seconds;
        let share = |part: f64| if done.seconds > 0.0 { part / done.seconds } else { 0.0 };
        self.short_share = share(done.short_seconds);
        self.late_share = share(done.late_seconds);
        self.carried_share = if done.seconds > 0.0 { share(done.carried_seconds) } else { 1.0 };
    }
}

impl Done {
    /// Sessions begin and end on a machine; returns its session time \[s\].
    #[inline]
    fn move_machine(&mut self, vm: &mut Vm, filling: Filling, begin_rate: f64) -> f64 {
        let (after, session_seconds) = filling.of(vm.sessions, begin_rate);
        vm.sessions = after;
        vm.session_seconds += session_seconds;
        self.seconds += session_seconds;
        if vm.state == VmState::Ready {
            self.on_ready += after;
        }
        session_seconds
    }
}

impl FluidLoad {
    pub(crate) fn new(ground: &mut Ground, step: Duration) -> Self {
        let setup = Arc::clone(&ground.setup);
        let topology = &setup.topology;
        let cells = topology.cells();
        ground.agenda.schedule(setup.start + step, class::COUNT, Event::FluidStep);
        let caches = caches(&setup);
        let classes = caches
            .iter()
            .enumerate()
            .map(|(class, cache)| ClassFlow::new(&setup, ClassId::at(class), ground.places[class], cache.clone()));
        FluidLoad {
            step,
            at: setup.start,
            rates: (0..cells).map(|cell| RateCurve::new(&setup, cell).sweep(setup.start)).collect(),
            told: vec![0.0; cells],
            resolvers: Resolvers::new(&setup),
            currents: Vec::new(),
            by_client: vec![Vec::new(); cells],
            // No steering has been followed yet.
            steering: Arc::new(Steering::default()),
            steered: setup.start,
            queries: ExpectedQueries::new(cells),
            serving: vec![Serving::default(); cells],
            roster: Roster::default(),
            pace: Pace::default(),
            classes: classes.collect(),
            cells: topology.cell_ids().map(|(region, class)| CellFlow::new(topology, region, class)).collect(),
            latency: LatencyPoints::new(),
        }
    }

    /// A step ends.
    pub(crate) fn step(&mut self, ground: &mut Ground, now: Timestamp) {
        self.advance(ground, now);
        ground.agenda.schedule(now + self.step, class::COUNT, Event::FluidStep);
    }

    /// Lets load flow until `now`.
    pub(crate) fn advance(&mut self, ground: &mut Ground, now: Timestamp) {
        let seconds = now.since(self.at).as_secs_f64();
        if seconds == 0.0 {
            return;
        }
        if !Arc::ptr_eq(&self.steering, &ground.steering) {
            self.steer(ground);
        }
        if self.roster.follow(&ground.setup.topology, &ground.fleet) {
            self.look_at_machines(ground);
        }
        self.pace.follow(seconds, &self.classes);
        self.begin_sessions(ground, now);
        self.move_machines(ground);
        self.move_currents(ground, now);
        self.at = now;
    }

    /// Sessions begin at `rate` \[1/s\] in a client cell from now on.
    pub(crate) fn tell(&mut self, cell: usize, rate: f64) {
        self.told[cell] = rate;
    }

    /// Adds sessions that are under way in a client cell, on the machines that would have got them; none where no machine
    /// takes any.
    pub(crate) fn settle(&mut self, ground: &mut Ground, cell: usize, sessions: f64) {
        if !Arc::ptr_eq(&self.steering, &ground.steering) {
            self.steer(ground);
        }
        if self.roster.follow(&ground.setup.topology, &ground.fleet) {
            self.look_at_machines(ground);
        }
        let serves = |serving: &[Serving], current: &Current| serving[current.serving_cell].ready > 0.0;
        let here = || self.by_client[cell].iter().copied();
        let open: f64 = here().map(|at| &self.currents[at]).filter(|c| serves(&self.serving, c)).map(|c| c.share).sum();
        for at in here().collect::<Vec<_>>() {
            let current = &mut self.currents[at];
            if open <= 0.0 || !serves(&self.serving, current) {
                continue;
            }
            let more = sessions * current.share / open;
            current.sessions += more;
            let serving = &mut self.serving[current.serving_cell];
            serving.on_ready += more;
            let each = more / serving.ready;
            let positions = self.roster.of(current.serving_cell);
            let vms = ground.fleet.vms_mut();
            for &position in positions {
                let vm = &mut vms[position as usize];
                if vm.state == VmState::Ready {
                    vm.sessions += each;
                }
            }
        }
    }

    /// Counts the expected queries that have become whole.
    pub(crate) fn report_queries(&mut self, meter: &mut Meter) {
        self.queries.report(meter);
    }

    /// Takes note of a new steering.
    fn steer(&mut self, ground: &Ground) {
        let changed = *self.steering != *ground.steering;
        self.steering = Arc::clone(&ground.steering);
        if !changed {
            return;
        }
        self.steered = self.at;
        self.open_currents(ground);
        for current in &mut self.currents {
            let home = self.cells[current.client_cell].region;
            current.target = self.steering.share(current.client_cell, home, current.server);
            current.share_before = current.share;
        }
    }

    /// Makes sure that every region with a weight has a current.
    fn open_currents(&mut self, ground: &Ground) {
        let topology = &ground.setup.topology;
        for (cell, &CellFlow { region: home, class, .. }) in self.cells.iter().enumerate() {
            let weights = self.steering.0.get(cell).map_or(&[][..], Vec::as_slice);
            let first = self.by_client[cell].is_empty();
            let servers = weights.iter().map(|(region, _)| *region).chain([home]);
            for server in servers {
                let serving_cell = topology.cell(server, class);
                if self.by_client[cell].iter().any(|&at| self.currents[at].serving_cell == serving_cell) {
                    continue;
                }
                let share = if first { self.steering.share(cell, home, server) } else { 0.0 };
                self.by_client[cell].push(self.currents.len());
                self.currents.push(Current {
                    client_cell: cell,
                    serving_cell,
                    server,
                    group: None,
                    delay: 0.0,
                    late_starts: self.classes[class.index()].late_starts(0.0),
                    share,
                    target: share,
                    share_before: share,
                    sessions: 0.0,
                    begun: 0.0,
                });
            }
        }
    }

    /// Machines have begun or ceased to serve.
    fn look_at_machines(&mut self, ground: &Ground) {
        let vms = ground.fleet.vms();
        for (cell, serving) in self.serving.iter_mut().enumerate() {
            let members = self.roster.of(cell).iter().map(|&position| &vms[position as usize]);
            (serving.ready, serving.on_ready) = members
                .filter(|vm| vm.state == VmState::Ready)
                .fold((0.0, 0.0), |(ready, sessions), vm| (ready + 1.0, sessions + vm.sessions));
        }
    }

    /// Sessions begin at the load's rate and are steered, as far as there is room.
    fn begin_sessions(&mut self, ground: &mut Ground, now: Timestamp) {
        let seconds = self.pace.seconds;
        for serving in &mut self.serving {
            serving.wanted = 0.0;
        }
        // Traffic follows new weights as cached answers end: halfway through the step stands for the step.
        let age = now.since(self.steered).saturating_sub(now.since(self.at) / 2);
        for (cell, &CellFlow { region: home, class, .. }) in self.cells.iter().enumerate() {
            let rate = self.rates[cell].mean_to(now) + self.told[cell];
            let queries = self.resolvers.miss_rate(home, class, rate) * seconds;
            self.queries.add(cell, queries, rate, self.resolvers.caches(home, class));
            let mut open = 0.0;
            for &at in &self.by_client[cell] {
                let current = &mut self.currents[at];
                if current.share != current.target {
                    let behind = self.resolvers.follow(home, class, rate).older(age);
                    current.share = current.target + (current.share_before - current.target) * behind;
                }
                if self.serving[current.serving_cell].ready > 0.0 {
                    open += current.share;
                }
            }
            let wanted = rate * seconds;
            if open <= 0.0 {
                ground.scorer.now[cell].rejected += wanted;
            }
            for &at in &self.by_client[cell] {
                let current = &mut self.currents[at];
                let serving = &mut self.serving[current.serving_cell];
                current.begun = if serving.ready > 0.0 && open > 0.0 { wanted * current.share / open } else { 0.0 };
                serving.wanted += current.begun;
            }
        }
        for (serving, cell) in self.serving.iter_mut().zip(&*self.cells) {
            let filling = self.pace.fillings[cell.class.index()];
            let limit = serving.ready * ground.setup.overload_limit * self.classes[cell.class.index()].places;
            let (stay, _) = filling.of(serving.on_ready, 0.0);
            let room = (limit - stay).max(0.0);
            let (would_stand, _) = filling.of(0.0, serving.wanted / seconds);
            serving.accepted = if would_stand > room { room / would_stand } else { 1.0 };
            if serving.ready > 0.0 {
                serving.rate_per_machine = serving.wanted * serving.accepted / (serving.ready * seconds);
                serving.mean_on_ready = serving.on_ready / serving.ready;
                // When the less loaded of two is taken, an empty machine gets twice what the mean one gets, and one
                // far ahead nothing; machines within chance of the mean are alike.
                let scale = serving.mean_on_ready.max(serving.mean_on_ready.sqrt() * 4.0);
                serving.lean = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            }
        }
    }

    /// Sessions begin and end on every machine.
    fn move_machines(&mut self, ground: &mut Ground) {
        let seconds = self.pace.seconds;
        let per_second = 1.0 / seconds;
        let vms = ground.fleet.vms_mut();
        for (cell, serving) in self.serving.iter_mut().enumerate() {
            let CellFlow { class, allowed, .. } = self.cells[cell];
            let (filling, class) = (self.pace.fillings[class.index()], &self.classes[class.index()]);
            let mut done = Done::default();
            match &class.kind {
                Kind::Interactive(response) => {
                    let mut worked_out = ((0, 0), 0.0, 0.0);
                    for &position in self.roster.of(cell) {
                        let vm = &mut vms[position as usize];
                        let begin_rate = serving.begin_rate(vm);
                        let session_seconds = done.move_machine(vm, filling, begin_rate);
                        let mean = session_seconds * per_second;
                        vm.answered += session_seconds * response.requests_per_second;
                        let hit = class.cache.hit_ratio(vm.answered);
                        // Machines launched together have the same sessions: what held for one holds for the next.
                        // All bits zero are an idle machine with a cold cache, of which no time counts.
                        let like = (mean.to_bits(), hit.to_bits());
                        if like != worked_out.0 {
                            let response = response.mean(mean);
                            let cold = if hit < 1.0 { exceeds(response, allowed - class.origin) } else { 0.0 };
                            let late = hit * exceeds(response, allowed) + (1.0 - hit) * cold;
                            worked_out = (like, response, late);
                        }
                        let (_, response, late) = worked_out;
                        done.late_seconds += session_seconds * late;
                        done.response_seconds += session_seconds * response.min(LONGEST_RESPONSE);
                    }
                    done.carried_seconds = done.seconds;
                }
                Kind::Streaming | Kind::Download => {
                    let download = matches!(class.kind, Kind::Download);
                    for &position in self.roster.of(cell) {
                        let vm = &mut vms[position as usize];
                        let begin_rate = serving.begin_rate(vm);
                        let filling = if download && vm.sessions > class.places {
                            // A download on a machine with too many of them takes longer.
                            Filling::new(class.length * vm.sessions / class.places, seconds)
                        } else {
                            filling
                        };
                        let session_seconds = done.move_machine(vm, filling, begin_rate);
                        let mean = session_seconds * per_second;
                        vm.answered += begin_rate * seconds;
                        done.short_seconds += session_seconds * poisson_reaches(mean, class.short_from);
                        done.carried_seconds +=
                            if mean > class.places { class.places * seconds } else { session_seconds };
                    }
                }
            }
            ground.serving_seconds[cell] += done.seconds;
            serving.take(&done);
        }
    }

    /// What was done goes to the client cells; what flows goes to the network.
    fn move_currents(&mut self, ground: &mut Ground, now: Timestamp) {
        let per_second = 1.0 / self.pace.seconds;
        for serving in &mut self.serving {
            serving.standing = 0.0;
        }
        for current in &mut self.currents {
            let serving = &mut self.serving[current.serving_cell];
            let filling = self.pace.fillings[self.cells[current.client_cell].class.index()];
            let (after, _) = filling.of(current.sessions, current.begun * serving.accepted * per_second);
            current.sessions = after;
            serving.standing += after;
        }
        for at in 0..self.currents.len() {
            let current = &self.currents[at];
            let class = &self.classes[self.cells[current.client_cell].class.index()];
            let serving = &self.serving[current.serving_cell];
            // Of the machines' session time, this current's part.
            let part = if serving.standing > 0.0 { current.sessions / serving.standing } else { 0.0 };
            let session_seconds = serving.seconds * part;
            let (mut rate_share, mut short_share) = (1.0, 0.0);
            let usage = self.set_flow(ground, now, at, current.sessions * serving.carried_share);
            if usage.flow_seconds > 0.0 {
                rate_share = usage.bits / (usage.flow_seconds * class.cap);
                if usage.short_flow_seconds > 0.0 {
                    short_share = usage.short_flow_seconds / usage.flow_seconds;
                }
            }
            let begun = current.begun * serving.accepted;
            let done = &mut ground.scorer.now[current.client_cell];
            done.starts += begun;
            done.rejected += current.begun - begun;
            done.seconds += session_seconds;
            done.short_seconds += session_seconds * f64::max(short_share, serving.short_share);
            done.bits += session_seconds * class.cap * serving.carried_share * rate_share;
            done.cpu_seconds += session_seconds * class.cores;
            match &class.kind {
                Kind::Interactive(response) => {
                    let requests = session_seconds * response.requests_per_second;
                    done.requests += requests;
                    done.late_requests += requests * f64::max(short_share, serving.late_share);
                }
                Kind::Streaming => done.late += begun * current.late_starts,
                Kind::Download => {}
            }
            if current.group.is_none() && current.sessions * serving.carried_share > 0.0 {
                self.open_flow(ground, now, at);
            }
        }
    }

    /// Gives the network the flows that a current has from now on; returns what those until now used.
    #[inline]
    fn set_flow(&self, ground: &mut Ground, now: Timestamp, at: usize, flows: f64) -> GroupUsage {
        match self.currents[at].group {
            Some(group) => ground.network.exchange(now, group, flows),
            None => GroupUsage::default(),
        }
    }

    /// The first flows of a current begin, if there is a way from its region to its clients.
    #[cold]
    fn open_flow(&mut self, ground: &mut Ground, now: Timestamp, at: usize) {
        let current = &mut self.currents[at];
        let CellFlow { region: client, class, .. } = self.cells[current.client_cell];
        let flow = &self.classes[class.index()];
        let topology = &ground.setup.topology;
        let Some((delay, backbone)) = ground.routes.way(current.server, client) else { return };
        let access = topology.region(current.server).access;
        current.delay = delay + topology.links[access.index()].delay.as_secs_f64();
        current.late_starts = flow.late_starts(current.delay);
        let path: Vec<_> = [ground.access(current.server)].into_iter().chain(ground.handles(backbone)).collect();
        let (slice, floor) = (topology.slice(current.server, class), topology.class(class).slo.rate_floor);
        let group = ground.network.group(now, &path, Some(slice), flow.cap, floor);
        current.group = Some(group);
        let flows = current.sessions * self.serving[current.serving_cell].carried_share;
        ground.network.set_count(now, group, flows);
    }

    /// A machine ends: its sessions are lost to the clients it served.
    pub(crate) fn forget(&mut self, ground: &mut Ground, ordinal: Ordinal) {
        let Some(vm) = ground.fleet.get(ordinal) else { return };
        let cell = serving_cell(&ground.setup.topology, vm);
        let lost = vm.sessions;
        let here = |current: &&mut Current| current.serving_cell == cell;
        let standing: f64 = self.currents.iter_mut().filter(here).map(|current| current.sessions).sum();
        if standing <= 0.0 || lost <= 0.0 {
            return;
        }
        for current in self.currents.iter_mut().filter(here) {
            let part = (current.sessions / standing * lost).min(current.sessions);
            current.sessions -= part;
            ground.scorer.now[current.client_cell].lost += part;
        }
    }
}

/// A response time beyond this is as bad as this \[s\].
const LONGEST_RESPONSE: f64 = 60.0;
