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

use std::sync::Arc;

use forebay_world::{
    ClassId, Duration, Exposure, LatencySeen, QueryCount, RegionId, Steering, Timestamp, Topology, VmState, Work,
};

use crate::Setup;
use crate::content::CacheCurve;
use crate::dns::Resolvers;
use crate::fleet::{Ordinal, serving_cell};
use crate::load::{Filling, RateCurve, Sweep};
use crate::network::GroupIx;
use crate::queueing;
use crate::session::{START_ROUND_TRIPS, caches};
use crate::world::{Event, Ground, class};

/// Expected load of all cells.
#[derive(Clone, Debug)]
pub(crate) struct FluidLoad {
    step: Duration,
    at: Timestamp,
    rates: Vec<Sweep>,
    resolvers: Resolvers,
    caches: Arc<[CacheCurve]>,
    currents: Vec<Current>,
    /// Positions in `currents` by client cell.
    by_client: Vec<Vec<usize>>,
    steering: Steering,
    /// Since when it stands.
    steered: Timestamp,
    /// What is left over of expected queries after whole ones were counted, by client cell.
    query_rest: Vec<f64>,
    /// By serving cell, remade every step.
    serving: Vec<Serving>,
    classes: Arc<[ClassFlow]>,
}

/// What the steps need to know of a class, worked out once.
#[derive(Clone, Debug)]
struct ClassFlow {
    /// Sessions that a machine has places for.
    places: f64,
    /// Sessions from which on a machine gives each too little.
    short_from: f64,
    /// Mean length of an undisturbed session \[s\].
    length: f64,
    /// Rate that a session wants \[bit/s\].
    cap: f64,
    /// Mean response time of a machine's processors by their use, for interactive work.
    response: Option<Response>,
}

/// Mean response time of M/M/c processor sharing, tabulated over the use of the cores.
#[derive(Clone, Debug)]
struct Response {
    /// Use of the cores by one session [core].
    load_per_session: f64,
    cores: f64,
    service: f64,
    /// The chance that all cores are busy, at uses 0, 1/256, …, 1 (Erlang C: smooth, unlike the response time).
    busy: Vec<f64>,
}

impl Response {
    const STEPS: usize = 256;

    /// Mean response time with that many sessions \[s\]; infinite when they want more than there is.
    fn mean(&self, sessions: f64) -> f64 {
        let used = sessions * self.load_per_session / self.cores;
        if used >= 1.0 {
            return f64::INFINITY;
        }
        let place = used * Self::STEPS as f64;
        let (low, part) = (place as usize, place.fract());
        let busy = self.busy[low] + (self.busy[low + 1] - self.busy[low]) * part;
        self.service * (1.0 + busy / (self.cores * (1.0 - used)))
    }
}

impl ClassFlow {
    fn new(topology: &Topology, class_id: ClassId, places: f64) -> Self {
        let class = topology.class(class_id);
        let response = match class.work {
            Work::Interactive { requests_per_second, service, .. } => {
                let cores = topology.flavour_of(class_id).cpu.cores().round().max(1.0);
                let service = service.as_secs_f64();
                let busy = |step: usize| match step {
                    Response::STEPS => 1.0,
                    _ => queueing::erlang_c(cores as u32, cores * step as f64 / Response::STEPS as f64),
                };
                let busy = (0..=Response::STEPS).map(busy).collect();
                Some(Response { load_per_session: requests_per_second * service, cores, service, busy })
            }
            Work::Streaming { .. } | Work::Download { .. } => None,
        };
        ClassFlow {
            places,
            short_from: places / class.slo.rate_floor,
            length: class.work.mean_seconds(),
            cap: class.work.bandwidth_per_session().as_f64(),
            response,
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
    /// Share of the client cell's new sessions that its resolvers send here …
    share: f64,
    /// … and sent here when the steering last changed.
    share_before: f64,
    /// Sessions under way, expected.
    sessions: f64,
    /// Sessions that begin in the running step.
    begun: f64,
}

/// What a step does in one serving cell.
#[derive(Clone, Copy, Debug, Default)]
struct Serving {
    ready: f64,
    /// Sessions on machines that take new ones.
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
    /// Session time of the step \[s\] …
    seconds: f64,
    /// … of which on machines with too many sessions …
    short_seconds: f64,
    /// … and the part of it that machines can carry at full rate.
    carried_seconds: f64,
    /// Share of requests later than the objective allows, weighted by session time.
    late_seconds: f64,
    /// Mean response time of requests \[s\], weighted by session time.
    response_seconds: f64,
}

impl FluidLoad {
    pub(crate) fn new(ground: &mut Ground, step: Duration) -> Self {
        let setup = Arc::clone(&ground.setup);
        let cells = setup.topology.cells();
        ground.agenda.schedule(setup.start + step, class::COUNT, Event::FluidStep);
        FluidLoad {
            step,
            at: setup.start,
            rates: (0..cells).map(|cell| RateCurve::new(&setup, cell).sweep(setup.start)).collect(),
            resolvers: Resolvers::new(&setup),
            caches: caches(&setup),
            currents: Vec::new(),
            by_client: vec![Vec::new(); cells],
            // No steering has been followed yet.
            steering: Steering::default(),
            steered: setup.start,
            query_rest: vec![0.0; cells],
            serving: vec![Serving::default(); cells],
            classes: (0..setup.topology.classes.len())
                .map(|class| ClassFlow::new(&setup.topology, ClassId::at(class), ground.places[class]))
                .collect(),
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
        let setup = Arc::clone(&ground.setup);
        if self.steering != ground.steering {
            self.steering = ground.steering.clone();
            self.steered = self.at;
            self.open_currents(&setup);
            for current in &mut self.currents {
                current.share_before = current.share;
            }
        }
        self.look_at_machines(&setup, ground);
        let fillings: Vec<Filling> = self.classes.iter().map(|class| Filling::new(class.length, seconds)).collect();
        self.begin_sessions(&setup, ground, now, seconds, &fillings);
        self.move_machines(&setup, ground, seconds, &fillings);
        self.move_currents(&setup, ground, now, seconds, &fillings);
        self.at = now;
    }

    /// Makes sure that every region with a weight has a current.
    fn open_currents(&mut self, setup: &Setup) {
        let topology = &setup.topology;
        for (cell, (home, class)) in topology.cell_ids().enumerate() {
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
                    share,
                    share_before: share,
                    sessions: 0.0,
                    begun: 0.0,
                });
            }
        }
    }

    fn look_at_machines(&mut self, setup: &Setup, ground: &Ground) {
        for serving in &mut self.serving {
            *serving = Serving::default();
        }
        for vm in ground.fleet.vms() {
            if vm.state == VmState::Ready {
                let serving = &mut self.serving[serving_cell(&setup.topology, vm)];
                serving.ready += 1.0;
                serving.on_ready += vm.sessions;
            }
        }
    }

    /// Sessions begin at the load's rate and are steered, as far as there is room.
    fn begin_sessions(
        &mut self,
        setup: &Setup,
        ground: &mut Ground,
        now: Timestamp,
        seconds: f64,
        fillings: &[Filling],
    ) {
        let topology = &setup.topology;
        for cell in 0..topology.cells() {
            let (home, class) = topology.cell_at(cell);
            let rate = self.rates[cell].mean_to(now);
            self.count_queries(ground, cell, rate, seconds);
            // Traffic follows new weights as cached answers end: halfway through the step stands for the step.
            let age = now.since(self.steered).saturating_sub(now.since(self.at) / 2);
            let behind = || self.resolvers.follow(home, class, rate).older(age);
            let mut open = 0.0;
            for &at in &self.by_client[cell] {
                let current = &mut self.currents[at];
                let target = self.steering.share(cell, home, current.server);
                if current.share != target {
                    current.share = target + (current.share_before - target) * behind();
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
        for (cell, serving) in self.serving.iter_mut().enumerate() {
            let (_, class) = topology.cell_at(cell);
            let limit = serving.ready * setup.overload_limit * self.classes[class.index()].places;
            let (stay, _) = fillings[class.index()].of(serving.on_ready, 0.0);
            let room = (limit - stay).max(0.0);
            let (would_stand, _) = fillings[class.index()].of(0.0, serving.wanted / seconds);
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

    fn count_queries(&mut self, ground: &mut Ground, cell: usize, rate: f64, seconds: f64) {
        let (region, class) = ground.setup.topology.cell_at(cell);
        let queries = self.resolvers.miss_rate(region, class, rate) * seconds;
        let rest = &mut self.query_rest[cell];
        *rest += queries;
        let whole = rest.floor();
        *rest -= whole;
        // Requests show for as long as makes of their rate the queries that come.
        let exposure = (rate > 0.0).then(|| Exposure {
            seconds: queries / rate,
            relative_variance: 0.0,
            caches: self.resolvers.caches(region, class),
        });
        ground.meter.record_count(cell, QueryCount { queries: whole as u64, exposure });
    }

    /// Sessions begin and end on every machine.
    fn move_machines(&mut self, setup: &Setup, ground: &mut Ground, seconds: f64, fillings: &[Filling]) {
        let topology = &setup.topology;
        let origin = setup.content.origin_delay.as_secs_f64();
        let per_second = 1.0 / seconds;
        let mut worked_out = ((usize::MAX, 0, 0), 0.0, 0.0);
        let Ground { fleet, serving_seconds, .. } = ground;
        for vm in fleet.vms_mut() {
            if !matches!(vm.state, VmState::Ready | VmState::Draining) {
                continue;
            }
            let cell = serving_cell(topology, vm);
            let serving = &mut self.serving[cell];
            let class = topology.class(vm.planned.class);
            let ClassFlow { places, short_from, length, ref response, .. } = self.classes[vm.planned.class.index()];
            let begin_rate = if vm.state == VmState::Ready {
                let behind = (serving.mean_on_ready - vm.sessions) * serving.lean;
                serving.rate_per_machine * (1.0 + behind.clamp(-1.0, 1.0))
            } else {
                0.0
            };
            let crowded = matches!(class.work, Work::Download { .. }) && vm.sessions > places;
            let filling = if crowded {
                // A download on a machine with too many of them takes longer.
                Filling::new(length * vm.sessions / places, seconds)
            } else {
                fillings[vm.planned.class.index()]
            };
            let (after, session_seconds) = filling.of(vm.sessions, begin_rate);
            let mean = session_seconds * per_second;
            vm.sessions = after;
            vm.session_seconds += session_seconds;
            serving.seconds += session_seconds;
            serving_seconds[cell] += session_seconds;
            match (&class.work, response) {
                (Work::Interactive { requests_per_second, .. }, Some(response)) => {
                    vm.answered += session_seconds * requests_per_second;
                    serving.carried_seconds += session_seconds;
                    let hit = self.caches[vm.planned.class.index()].hit_ratio(vm.answered);
                    // Machines launched together have the same sessions: what held for one holds for the next.
                    let like = (cell, mean.to_bits(), hit.to_bits());
                    if like != worked_out.0 {
                        let access = &topology.links[topology.region(vm.planned.region).access.index()];
                        let allowed = class.slo.latency.as_secs_f64() - 2.0 * access.delay.as_secs_f64();
                        let response = response.mean(mean);
                        let late = hit * exceeds(response, allowed) + (1.0 - hit) * exceeds(response, allowed - origin);
                        worked_out = (like, response, late);
                    }
                    let (_, response, late) = worked_out;
                    serving.late_seconds += session_seconds * late;
                    serving.response_seconds += session_seconds * response.min(LONGEST_RESPONSE);
                }
                _ => {
                    vm.answered += begin_rate * seconds;
                    serving.short_seconds += session_seconds * poisson_reaches(mean, short_from);
                    serving.carried_seconds += if mean > places { places * seconds } else { session_seconds };
                }
            }
        }
    }

    /// What was done goes to the client cells; what flows goes to the network.
    fn move_currents(
        &mut self,
        setup: &Setup,
        ground: &mut Ground,
        now: Timestamp,
        seconds: f64,
        fillings: &[Filling],
    ) {
        let topology = &setup.topology;
        let mut standing = vec![0.0; topology.cells()];
        for current in &mut self.currents {
            let (_, class) = topology.cell_at(current.client_cell);
            let accepted = self.serving[current.serving_cell].accepted;
            let (after, _) = fillings[class.index()].of(current.sessions, current.begun * accepted / seconds);
            current.sessions = after;
            standing[current.serving_cell] += after;
        }
        for at in 0..self.currents.len() {
            let current = &self.currents[at];
            let (client, class_id) = topology.cell_at(current.client_cell);
            let class = topology.class(class_id);
            let serving = self.serving[current.serving_cell];
            // Of the machines' session time, this current's part.
            let part = if standing[current.serving_cell] > 0.0 {
                current.sessions / standing[current.serving_cell]
            } else {
                0.0
            };
            let session_seconds = serving.seconds * part;
            let per_second = |value: f64| if serving.seconds > 0.0 { value / serving.seconds } else { 0.0 };
            let carried = if serving.seconds > 0.0 { serving.carried_seconds / serving.seconds } else { 1.0 };
            let (mut rate_share, mut short_share) = (1.0, 0.0);
            let cap = self.classes[class_id.index()].cap;
            if let Some(group) = current.group {
                let usage = ground.network.take_usage(now, group);
                if usage.flow_seconds > 0.0 {
                    rate_share = usage.bits / (usage.flow_seconds * cap);
                    short_share = usage.short_flow_seconds / usage.flow_seconds;
                }
            }
            let begun = current.begun * serving.accepted;
            let done = &mut ground.scorer.now[current.client_cell];
            done.starts += begun;
            done.rejected += current.begun - begun;
            done.seconds += session_seconds;
            done.short_seconds += session_seconds * short_share.max(per_second(serving.short_seconds));
            done.bits += session_seconds * cap * carried * rate_share;
            done.cpu_seconds += session_seconds * class.cpu_per_session().cores();
            match class.work {
                Work::Interactive { requests_per_second, .. } => {
                    let requests = session_seconds * requests_per_second;
                    done.requests += requests;
                    done.late_requests += requests * short_share.max(per_second(serving.late_seconds));
                }
                Work::Streaming { .. } => {
                    let late = |origin: f64| {
                        let start_up = START_ROUND_TRIPS * 2.0 * current.delay + origin;
                        f64::from(u8::from(start_up > class.slo.latency.as_secs_f64()))
                    };
                    let hit = self.caches[class_id.index()].steady();
                    let origin = setup.content.origin_delay.as_secs_f64();
                    done.late += begun * (hit * late(0.0) + (1.0 - hit) * late(origin));
                }
                Work::Download { .. } => {}
            }
            let count = current.sessions * carried;
            self.set_flow(setup, ground, now, at, client, class_id, count);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a current's place in the world, and its count")]
    fn set_flow(
        &mut self,
        setup: &Setup,
        ground: &mut Ground,
        now: Timestamp,
        at: usize,
        client: RegionId,
        class_id: ClassId,
        count: f64,
    ) {
        let topology = &setup.topology;
        let current = &mut self.currents[at];
        if current.group.is_none() && count > 0.0 {
            let Some((delay, backbone)) = ground.routes.way(current.server, client) else { return };
            let access = topology.region(current.server).access;
            current.delay = delay + topology.links[access.index()].delay.as_secs_f64();
            let path: Vec<_> = [ground.access(current.server)].into_iter().chain(ground.handles(backbone)).collect();
            let class = topology.class(class_id);
            let cap = class.work.bandwidth_per_session().as_f64();
            let slice = topology.slice(current.server, class_id);
            current.group = Some(ground.network.group(now, &path, Some(slice), cap, class.slo.rate_floor));
        }
        if let Some(group) = current.group {
            ground.network.set_count(now, group, count);
        }
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

    /// The latencies of the last step, which stand for the window: quantiles by client cell for an observer, and
    /// weighted points for the score.
    pub(crate) fn latencies(&self, ground: &mut Ground, now: Timestamp, window: Duration) -> Vec<Option<LatencySeen>> {
        let setup = Arc::clone(&ground.setup);
        let origin = setup.content.origin_delay.as_secs_f64();
        let window_seconds = window.as_secs_f64();
        let mut points: Vec<(f64, f64)> = Vec::new();
        let cells = 0..self.by_client.len();
        cells
            .map(|cell| {
                points.clear();
                let (_, class_id) = setup.topology.cell_at(cell);
                let hit = self.caches[class_id.index()].steady();
                for current in self.by_client[cell].iter().map(|&at| &self.currents[at]) {
                    let serving = &self.serving[current.serving_cell];
                    match setup.topology.class(class_id).work {
                        Work::Streaming { .. } if current.sessions > 0.0 => {
                            let start_up = START_ROUND_TRIPS * 2.0 * current.delay;
                            let starts = current.sessions / self.classes[class_id.index()].length * window_seconds;
                            points.extend([(start_up, starts * hit), (start_up + origin, starts * (1.0 - hit))]);
                        }
                        Work::Interactive { requests_per_second, .. } if serving.seconds > 0.0 => {
                            let mean = serving.response_seconds / serving.seconds;
                            let requests = current.sessions * requests_per_second * window_seconds;
                            // An exponential in parts of equal weight, each at its middle quantile.
                            for part in 0..RESPONSE_PARTS {
                                let below = (f64::from(part) + 0.5) / f64::from(RESPONSE_PARTS);
                                let response = 2.0 * current.delay - mean * (1.0 - below).ln();
                                let weight = requests / f64::from(RESPONSE_PARTS);
                                points.extend([(response, weight * hit), (response + origin, weight * (1.0 - hit))]);
                            }
                        }
                        _ => {}
                    }
                }
                points.retain(|(_, weight)| *weight > 0.0);
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                for (seconds, weight) in &points {
                    ground.scorer.count_latency(now, *seconds, weight.round() as u64);
                }
                let all: f64 = points.iter().map(|(_, weight)| weight).sum();
                let quantile = |share: f64| {
                    let mut below = 0.0;
                    let point = points.iter().find(|(_, weight)| {
                        below += weight;
                        below >= share * all
                    });
                    Duration::from_secs_f64_saturating(point.or(points.last()).map_or(0.0, |(seconds, _)| *seconds))
                };
                (all > 0.0).then(|| LatencySeen { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) })
            })
            .collect()
    }
}

/// A response time beyond this is as bad as this \[s\].
const LONGEST_RESPONSE: f64 = 60.0;
/// Points that stand for the distribution of a response time.
const RESPONSE_PARTS: u32 = 8;

/// P(N ≥ k) for N Poisson with `mean`, by the normal approximation with continuity correction.
fn poisson_reaches(mean: f64, k: f64) -> f64 {
    // Five standard deviations away it is as good as never.
    let away = k - 0.5 - mean;
    if mean <= 0.0 || (away > 0.0 && away * away > 25.0 * mean) {
        return 0.0;
    }
    normal_share_below((mean - k + 0.5) / mean.sqrt())
}

/// P(T > `allowed`) for a response time T taken as exponential with that mean.
fn exceeds(mean: f64, allowed: f64) -> f64 {
    if mean.is_infinite() || allowed <= 0.0 { 1.0 } else { (-allowed / mean).exp() }
}

/// Φ(z), by the rational approximation 26.2.17 of M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 1964:
/// off by less than 7.5·10⁻⁸.
fn normal_share_below(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let above = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if z >= 0.0 { 1.0 - above } else { above }
}
