//! The simulated world: time that passes by processing events, a fleet, a network, resolvers and their clients.
//!
//! A world is a function of its [`Setup`] and of the plans submitted to it. It can be cloned at any moment, and the
//! copy goes on exactly as the original would have: that is a checkpoint, and a fork.
//!
//! ```text
//!   load ──arrivals──▶ dns ──answers──▶ session | fluid ──flows──▶ network
//!                       │ misses             │ places                 │ rates, completions
//!                       ▼                    ▼                        ▼
//!                     meter                fleet ◀── plan         score
//!                       └──────────┬─────────┴────────────────────────┘
//!                                  ▼
//!                             observation
//! ```

mod mirror;

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_world::units::nearest;
use forebay_world::{
    BitsPerSecond, ClassId, Cpu, Demand, Duration, Generation, HostId, HostSeen, LinkEnds, LinkId, LinkUse, Meter,
    Observation, Occurrence, Plan, PlannedSlice, PlannedVm, RegionId, SliceId, SliceUse, Steering, Step, Synchrony,
    Timestamp, VmId, VmSeen, VmState, What, Work, World, WorldError,
};

use crate::agenda::Agenda;
use crate::faults::{self, FaultChange, Standing};
use crate::fleet::{Fleet, Launch, Ordinal, Way, serving_cell};
use crate::fluid::FluidLoad;
use crate::network::{LinkIx, Network};
use crate::route::Routes;
use crate::score::{MINUTE, Score, Scorer};
use crate::session::SessionLoad;
use crate::setup::{Fault, Fidelity, Setup};

pub use mirror::{CellTally, Stands};

/// What can happen, in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The next change in the list of faults.
    Fault(u32),
    /// A machine's image has booted.
    Booted(Ordinal),
    /// A machine's caches are warm.
    Warm(Ordinal),
    /// A session ends.
    SessionEnds(u32),
    /// A download ends.
    FlowEnds,
    /// A request leaves a machine's processor.
    Answered(Ordinal),
    /// A request comes to a machine.
    Request(Ordinal),
    /// A session begins in a client cell.
    Arrival(u32),
    /// A step of fluid load ends.
    FluidStep,
    /// A minute ends.
    Minute,
}

/// Order of events at one instant: what breaks first, then what changes capacity, what ends, what begins, what counts.
pub(crate) mod class {
    pub(crate) const FAULT: u8 = 0;
    pub(crate) const LIFE: u8 = 1;
    pub(crate) const END: u8 = 2;
    pub(crate) const BEGIN: u8 = 3;
    pub(crate) const COUNT: u8 = 4;
}

/// Load at one of the two fidelities.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each world")]
enum LoadModel {
    Session(SessionLoad),
    Fluid(FluidLoad),
}

/// What both fidelities work on.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) setup: Arc<Setup>,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) fleet: Fleet,
    pub(crate) network: Network,
    pub(crate) meter: Meter,
    pub(crate) scorer: Scorer,
    /// Shared, so that who follows it sees at a glance whether it has changed.
    pub(crate) steering: Arc<Steering>,
    pub(crate) routes: Routes,
    pub(crate) occurrences: Vec<Occurrence>,
    pub(crate) slices: BTreeMap<SliceId, PlannedSlice>,
    /// Sessions that a machine has places for, by class.
    pub(crate) places: Arc<[f64]>,
    /// The network's handles of the topology's links, dense.
    links: Vec<LinkIx>,
    /// Session time by serving cell in the running minute \[s\].
    pub(crate) serving_seconds: Vec<f64>,
}

/// A simulated world. See the [module's text](self).
#[derive(Clone)]
pub struct SimWorld {
    ground: Ground,
    load: LoadModel,
    faults: Arc<[FaultChange]>,
    standing: Standing,
    now: Timestamp,
    applied: Generation,
    window_from: Timestamp,
    starved_seconds: f64,
    events: u64,
}

impl SimWorld {
    /// A world at its beginning: hosts up, no machines, no slices, everybody steered home.
    pub fn new(setup: Arc<Setup>) -> Self {
        let topology = Arc::clone(&setup.topology);
        let mut network = Network::new();
        let links = topology.links.iter().map(|link| network.add_link(link.capacity.as_f64())).collect();
        let mut agenda = Agenda::new();
        let faults: Arc<[FaultChange]> = faults::schedule(&setup).into();
        if let Some(first) = faults.first() {
            agenda.schedule(first.at, class::FAULT, Event::Fault(0));
        }
        agenda.schedule(setup.start + MINUTE, class::COUNT, Event::Minute);
        let mut ground = Ground {
            agenda,
            fleet: Fleet::new(&topology, setup.start),
            network,
            meter: Meter::new(topology.cells()),
            scorer: Scorer::new(topology.cells(), setup.score_from),
            steering: Arc::new(Steering::home(topology.cells())),
            routes: Routes::new(&topology, |_| false),
            occurrences: Vec::new(),
            slices: BTreeMap::new(),
            places: (0..topology.classes.len()).map(|class| topology.sessions_per_vm(ClassId::at(class))).collect(),
            links,
            serving_seconds: vec![0.0; topology.cells()],
            setup: Arc::clone(&setup),
        };
        ground.meter.begin(setup.start);
        let load = match setup.fidelity {
            Fidelity::Session => LoadModel::Session(SessionLoad::new(&mut ground)),
            Fidelity::Fluid(step) => LoadModel::Fluid(FluidLoad::new(&mut ground, step)),
        };
        SimWorld {
            ground,
            load,
            faults,
            standing: Standing::new(&topology, &setup.hazards, setup.seed),
            now: setup.start,
            applied: Generation::default(),
            window_from: setup.start,
            starved_seconds: 0.0,
            events: 0,
        }
    }

    /// What the run is a function of.
    pub fn setup(&self) -> &Setup {
        &self.ground.setup
    }

    /// What the run would be judged by if it ended now.
    pub fn score(&self) -> Score {
        self.ground.scorer.score(self.ground.fleet.bill_at(self.now()))
    }

    /// What has happened since this was last asked.
    pub fn take_occurrences(&mut self) -> Vec<Occurrence> {
        std::mem::take(&mut self.ground.occurrences)
    }

    /// Events processed so far.
    pub fn events_processed(&self) -> u64 {
        self.events
    }

    /// Live sessions, at session fidelity.
    pub fn live_sessions(&self) -> usize {
        match &self.load {
            LoadModel::Session(load) => load.live(),
            LoadModel::Fluid(_) => 0,
        }
    }

    /// Processes the next event, if it is due by `limit`, and says what it was.
    pub fn step_event(&mut self, limit: Timestamp) -> Option<(Timestamp, String)> {
        let (at, event) = self.ground.agenda.pop_until(limit)?;
        self.handle(at, event);
        self.now = at;
        Some((at, format!("{event:?}")))
    }

    fn handle(&mut self, now: Timestamp, event: Event) {
        self.events += 1;
        if let LoadModel::Fluid(load) = &mut self.load {
            // What stood until now must not be judged by what stands from now on.
            load.advance(&mut self.ground, now);
        }
        match (event, &mut self.load) {
            (Event::Arrival(cell), LoadModel::Session(load)) => load.arrive(&mut self.ground, now, cell),
            (Event::SessionEnds(session), LoadModel::Session(load)) => load.end(&mut self.ground, now, session),
            (Event::FlowEnds, LoadModel::Session(load)) => load.finish_flows(&mut self.ground, now),
            (Event::Request(ordinal), LoadModel::Session(load)) => load.request(&mut self.ground, now, ordinal),
            (Event::Answered(ordinal), LoadModel::Session(load)) => load.answer(&mut self.ground, now, ordinal),
            (Event::FluidStep, LoadModel::Fluid(load)) => load.step(&mut self.ground, now),
            (Event::Fault(index), _) => self.change_fault(now, index),
            (Event::Booted(ordinal), _) => self.booted(now, ordinal),
            (Event::Warm(ordinal), _) => self.warm(now, ordinal),
            (Event::Minute, _) => self.close_minute(now),
            (event, _) => unreachable!("{event:?} belongs to the other fidelity"),
        }
    }

    fn close_minute(&mut self, now: Timestamp) {
        self.gather(now);
        for &slice in self.ground.slices.keys() {
            self.starved_seconds += self.ground.network.take_starved(now, slice);
        }
        let ground = &mut self.ground;
        let setup = Arc::clone(&ground.setup);
        let bill = ground.fleet.bill(now);
        let Ground { fleet, serving_seconds, scorer, occurrences, places, .. } = ground;
        let standing = setup.topology.cell_ids().enumerate().map(|(cell, (_, class))| {
            let sessions = std::mem::take(&mut serving_seconds[cell]) / MINUTE.as_secs_f64();
            (fleet.ready(cell).len() as f64, sessions, places[class.index()])
        });
        let starved = std::mem::take(&mut self.starved_seconds);
        scorer.close_minute(now, &setup.topology, bill, standing, starved, occurrences);
        self.ground.agenda.schedule(now + MINUTE, class::COUNT, Event::Minute);
    }

    /// Takes in what the network and the processors have done since this was last called.
    fn gather(&mut self, now: Timestamp) {
        if let LoadModel::Fluid(load) = &mut self.load {
            load.advance(&mut self.ground, now);
        } else {
            self.ground.gather_ways(now);
        }
    }

    // Machines.

    fn execute(&mut self, now: Timestamp, step: Step) {
        match step {
            Step::SetSlice(id, planned) => {
                let (region, _) = self.ground.setup.topology.cell_at(id.index());
                let access = self.ground.access(region);
                self.ground.network.set_slice(now, id, access, planned);
                if self.ground.slices.insert(id, planned).is_none() {
                    // What went by its name before it stood is not its own.
                    self.starved_seconds += self.ground.network.take_slice_usage(now, id).starved_seconds;
                }
            }
            Step::RemoveSlice(id) => {
                // What it lacked in this minute is not looked for again once it is gone.
                self.starved_seconds += self.ground.network.take_starved(now, id);
                self.ground.network.remove_slice(now, id);
                self.ground.slices.remove(&id);
            }
            Step::Steer(steering) => self.ground.steering = Arc::new(steering),
            Step::Launch(id, planned) => self.launch(now, id, planned),
            Step::Resume(id) => self.resume(now, id),
            Step::Drain(id) => self.drain(now, id),
            Step::Destroy(id) => self.destroy(now, id),
        }
    }

    fn launch(&mut self, now: Timestamp, id: VmId, planned: PlannedVm) {
        let ground = &mut self.ground;
        let setup = Arc::clone(&ground.setup);
        let topology = &setup.topology;
        let (ordinal, launch) = ground.fleet.launch(now, topology, setup.seed, id, planned);
        match launch {
            Launch::Boots(after) => {
                ground.agenda.schedule(now.saturating_add(after), class::LIFE, Event::Booted(ordinal));
            }
            Launch::Waits => {}
            Launch::Refused => {
                let what = What::LaunchRefused { vm: id, host: planned.host };
                ground.occurrences.push(Occurrence { at: now, what });
                return;
            }
        }
        let class = topology.class(planned.class);
        let nic = topology.flavours[planned.flavour.index()].bandwidth.as_f64();
        let capacity = match class.work {
            // For work that the processor shares out itself, the link is the interface and no more.
            Work::Interactive { .. } => nic,
            // For the rest, the scarcest of processor, memory and interface, in terms of bandwidth.
            Work::Streaming { .. } | Work::Download { .. } => {
                nic.min(ground.places[planned.class.index()] * class.work.bandwidth_per_session().as_f64())
            }
        };
        let link = ground.network.add_link(capacity);
        ground.fleet.get_mut(ordinal).expect("just launched").link = Some(link);
        let what = What::VmRequested { vm: id, region: planned.region, class: planned.class, host: planned.host };
        ground.occurrences.push(Occurrence { at: now, what });
    }

    fn booted(&mut self, now: Timestamp, ordinal: Ordinal) {
        let Some(vm) = self.ground.fleet.get(ordinal).filter(|vm| vm.state == VmState::Booting) else { return };
        let setup = Arc::clone(&self.ground.setup);
        let (planned, cell, nth) = (vm.planned, serving_cell(&setup.topology, vm), vm.nth);
        if self.standing.boot_fails((cell as u64) << 40 | nth) {
            self.fail(now, ordinal);
        } else {
            self.ground.fleet.set_state(now, &setup.topology, ordinal, VmState::Warming);
            let warm_up = setup.topology.flavours[planned.flavour.index()].warm_up;
            self.ground.agenda.schedule(now.saturating_add(warm_up), class::LIFE, Event::Warm(ordinal));
        }
        self.boot_next(now, planned.host);
    }

    /// A boot slot of `host` is free: the next in line takes it.
    fn boot_next(&mut self, now: Timestamp, host: HostId) {
        let ground = &mut self.ground;
        let setup = Arc::clone(&ground.setup);
        if let Some((next, after)) = ground.fleet.free_boot_slot(now, &setup.topology, setup.seed, host) {
            ground.agenda.schedule(now.saturating_add(after), class::LIFE, Event::Booted(next));
        }
    }

    fn warm(&mut self, now: Timestamp, ordinal: Ordinal) {
        let Some(vm) = self.ground.fleet.get(ordinal).filter(|vm| vm.state == VmState::Warming) else { return };
        let (vm, region, class, after) = (vm.id, vm.planned.region, vm.planned.class, now.since(vm.requested));
        let setup = Arc::clone(&self.ground.setup);
        self.ground.fleet.set_state(now, &setup.topology, ordinal, VmState::Ready);
        self.ground.occurrences.push(Occurrence { at: now, what: What::VmReady { vm, region, class, after } });
    }

    fn resume(&mut self, now: Timestamp, id: VmId) {
        let Some(ordinal) = self.ground.fleet.ordinal_of(id) else { return };
        let setup = Arc::clone(&self.ground.setup);
        self.ground.fleet.set_state(now, &setup.topology, ordinal, VmState::Ready);
    }

    fn drain(&mut self, now: Timestamp, id: VmId) {
        let Some(ordinal) = self.ground.fleet.ordinal_of(id) else { return };
        let vm = self.ground.fleet.get(ordinal).expect("an indexed machine exists");
        let (region, class) = (vm.planned.region, vm.planned.class);
        if vm.state != VmState::Ready {
            // A machine that does not serve yet has nothing to drain.
            self.destroy(now, id);
            return;
        }
        let setup = Arc::clone(&self.ground.setup);
        self.ground.fleet.set_state(now, &setup.topology, ordinal, VmState::Draining);
        self.ground.occurrences.push(Occurrence { at: now, what: What::VmDraining { vm: id, region, class } });
    }

    fn destroy(&mut self, now: Timestamp, id: VmId) {
        let Some(ordinal) = self.ground.fleet.ordinal_of(id) else { return };
        let was = self.ground.fleet.get(ordinal).expect("an indexed machine exists").state;
        let sessions_lost = self.cut_off(now, ordinal);
        let setup = Arc::clone(&self.ground.setup);
        let vm = self.ground.fleet.destroy(now, &setup.topology, ordinal);
        let (region, class) = (vm.planned.region, vm.planned.class);
        self.ground
            .occurrences
            .push(Occurrence { at: now, what: What::VmGone { vm: id, region, class, sessions_lost } });
        if was == VmState::Booting {
            self.boot_next(now, vm.planned.host);
        }
    }

    fn fail(&mut self, now: Timestamp, ordinal: Ordinal) {
        let sessions_lost = self.cut_off(now, ordinal);
        let setup = Arc::clone(&self.ground.setup);
        self.ground.fleet.fail(now, &setup.topology, ordinal);
        let vm = self.ground.fleet.get(ordinal).expect("a failed machine still stands");
        let (vm, region, class) = (vm.id, vm.planned.region, vm.planned.class);
        self.ground.occurrences.push(Occurrence { at: now, what: What::VmFailed { vm, region, class, sessions_lost } });
    }

    /// Ends all that a machine does; returns the sessions that it had.
    fn cut_off(&mut self, now: Timestamp, ordinal: Ordinal) -> u32 {
        self.ground.gather_vm(now, ordinal);
        match &mut self.load {
            LoadModel::Session(load) => load.forget(&mut self.ground, ordinal),
            LoadModel::Fluid(load) => load.forget(&mut self.ground, ordinal),
        }
        let ground = &mut self.ground;
        let setup = Arc::clone(&ground.setup);
        let vm = ground.fleet.get_mut(ordinal).expect("only machines that exist are cut off");
        let (ways, class) = (std::mem::take(&mut vm.ways), vm.planned.class);
        let (link, sessions) = (vm.link.take(), std::mem::take(&mut vm.sessions));
        for way in ways {
            ground.network.clear(now, way.group, |_| {});
            ground.network.set_count(now, way.group, 0.0);
            ground.network.release(now, way.group);
            ground.scorer.now[setup.topology.cell(way.client, class)].lost += way.sessions;
        }
        if let Some(link) = link {
            ground.network.remove_link(link);
        }
        sessions.round() as u32
    }

    // Faults.

    fn change_fault(&mut self, now: Timestamp, index: u32) {
        let changes = Arc::clone(&self.faults);
        if let Some(next) = changes.get(index as usize + 1) {
            self.ground.agenda.schedule(next.at, class::FAULT, Event::Fault(index + 1));
        }
        let change = changes[index as usize];
        let setup = Arc::clone(&self.ground.setup);
        let topology = &setup.topology;
        let before = self.standing.clone();
        self.standing.apply(&change);
        match change.fault {
            Fault::HostCrash(host) => self.change_host(now, host, &before),
            Fault::BootFailures(_) => {}
            Fault::LinkDegraded(link, _) => self.change_link(now, link, &before),
            Fault::RegionLost(region) => {
                let lost = self.standing.region_lost(region);
                if lost == before.region_lost(region) {
                    return;
                }
                let what = if lost { What::RegionLost { region } } else { What::RegionBack { region } };
                self.ground.occurrences.push(Occurrence { at: now, what });
                for (index, host) in topology.hosts.iter().enumerate() {
                    if host.region == region {
                        self.change_host(now, HostId::at(index), &before);
                    }
                }
                self.change_link(now, topology.region(region).access, &before);
            }
            Fault::TelemetryGap(region) => {
                let silent = self.standing.silent(region);
                if silent != before.silent(region) {
                    let what = if silent { What::TelemetryLost { region } } else { What::TelemetryBack { region } };
                    self.ground.occurrences.push(Occurrence { at: now, what });
                }
            }
        }
    }

    fn change_host(&mut self, now: Timestamp, host: HostId, before: &Standing) {
        let down = self.standing.host_down(host);
        if down == before.host_down(host) {
            return;
        }
        let region = self.ground.setup.topology.hosts[host.index()].region;
        self.ground.fleet.set_host(host, !down);
        let what = if down { What::HostDown { host, region } } else { What::HostUp { host, region } };
        self.ground.occurrences.push(Occurrence { at: now, what });
        if down {
            for ordinal in self.ground.fleet.on_host(host) {
                self.fail(now, ordinal);
            }
        }
    }

    fn change_link(&mut self, now: Timestamp, link: LinkId, before: &Standing) {
        let (was, left) = (before.link_left(link), self.standing.link_left(link));
        if was == left {
            return;
        }
        let ground = &mut self.ground;
        let capacity = ground.setup.topology.links[link.index()].capacity.as_f64();
        ground.network.set_capacity(now, ground.links[link.index()], capacity * left);
        if (was == 0.0) != (left == 0.0) {
            ground.routes = Routes::new(&ground.setup.topology, |link| self.standing.link_left(link) == 0.0);
        }
        let what = if left < 1.0 { What::LinkDegraded { link, left } } else { What::LinkRestored { link } };
        ground.occurrences.push(Occurrence { at: now, what });
    }

    // Observation.

    fn heard(&self, region: RegionId) -> bool {
        !self.standing.silent(region)
    }

    fn see_demand(&mut self, now: Timestamp, window: Duration) -> Vec<Option<Demand>> {
        let seconds = window.as_secs_f64();
        if let LoadModel::Fluid(load) = &mut self.load {
            load.report_queries(&mut self.ground.meter);
        }
        let queries = self.ground.meter.close(now);
        let done = self.ground.scorer.close_window(now);
        let latencies = match &mut self.load {
            LoadModel::Session(_) => self.ground.scorer.latencies(),
            LoadModel::Fluid(load) => load.latencies(&mut self.ground, now, window),
        };
        self.ground.scorer.count_queries(now, queries.iter().map(|count| count.queries).sum());
        let topology = &self.ground.setup.topology;
        let mut demand = Vec::with_capacity(done.len());
        for (cell, (done, count)) in done.iter().zip(&queries).enumerate() {
            let (region, class) = topology.cell_at(cell);
            let latency = latencies[cell];
            demand.push(self.heard(region).then(|| Demand {
                queries: count.queries,
                exposure: count.exposure,
                arrivals: nearest(done.starts),
                rejected: nearest(done.rejected + done.lost),
                sessions: done.seconds / seconds,
                cpu: Cpu::from_f64(done.cpu_seconds / seconds * 1000.0),
                bandwidth: BitsPerSecond::from_f64(done.bits / seconds),
                bad_share: done.bad_share(&topology.class(class).work, seconds),
                latency,
            }));
        }
        demand
    }

    fn see_vms(&mut self, window: Duration) -> Vec<VmSeen> {
        let seconds = window.as_secs_f64();
        let topology = &self.ground.setup.topology;
        let standing = &self.standing;
        let seen = self.ground.fleet.inventory().map(|(vm, mut seen)| {
            let serves = matches!(vm.state, VmState::Ready | VmState::Draining);
            if serves && !standing.silent(vm.planned.region) && seconds > 0.0 {
                let busy = vm.busy_seconds(topology, &self.ground.places);
                seen.utilization = Some(busy / seconds);
            }
            seen
        });
        let seen = seen.collect();
        for vm in self.ground.fleet.vms_mut() {
            vm.begin_window();
        }
        seen
    }
}

impl World for SimWorld {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn wait_until(&mut self, deadline: Timestamp) -> Result<Synchrony, WorldError> {
        while let Some((at, event)) = self.ground.agenda.pop_until(deadline) {
            self.handle(at, event);
        }
        self.now = self.now.max(deadline);
        Ok(Synchrony::OnTime)
    }

    fn observe(&mut self) -> Result<Observation, WorldError> {
        let now = self.now;
        let window = now.since(self.window_from);
        self.gather(now);
        self.window_from = now;
        let seconds = window.as_secs_f64().max(1e-9);
        let rate = |bits: f64| BitsPerSecond::from_f64(bits / seconds);
        let demand = self.see_demand(now, window);
        let vms = self.see_vms(window);
        let setup = Arc::clone(&self.ground.setup);
        let regions = setup.topology.regions.len();
        let mut links = Vec::with_capacity(setup.topology.links.len());
        for (index, link) in setup.topology.links.iter().enumerate() {
            let used = rate(self.ground.network.take_link_bits(now, self.ground.links[index]));
            let heard = match link.ends {
                LinkEnds::Access(region) => self.heard(region),
                LinkEnds::Between(a, b) => self.heard(a) || self.heard(b),
            };
            let capacity = BitsPerSecond::from_f64(link.capacity.as_f64() * self.standing.link_left(LinkId::at(index)));
            links.push(heard.then(|| LinkUse { link: LinkId::at(index), capacity, used }));
        }
        let mut slices = Vec::with_capacity(self.ground.slices.len());
        for (&slice, &stands) in &self.ground.slices {
            let usage = self.ground.network.take_slice_usage(now, slice);
            self.starved_seconds += usage.starved_seconds;
            slices.push(SliceUse { slice, stands, used: rate(usage.bits), offered: rate(usage.offered_bits) });
        }
        let hosts = (0..setup.topology.hosts.len())
            .map(|host| HostSeen { up: self.ground.fleet.host_up(HostId::at(host)) })
            .collect();
        let events = setup
            .events
            .iter()
            .filter(|announced| announced.known_from <= now && announced.event.end > now)
            .map(|announced| announced.event.clone())
            .collect();
        let heard = (0..regions).filter(|region| self.heard(RegionId::at(*region))).count();
        Ok(Observation {
            at: now,
            window,
            demand,
            vms,
            hosts,
            links,
            slices,
            steering: Steering::clone(&self.ground.steering),
            events,
            applied: self.applied,
            coverage: heard as f64 / regions as f64,
            next_vm: forebay_world::VmId(0),
        })
    }

    fn submit(&mut self, plan: &Plan) -> Result<(), WorldError> {
        if plan.generation < self.applied {
            return Err(WorldError::Stale { submitted: plan.generation, applied: self.applied });
        }
        // Nothing changes a machine's intent, a slice or the steering but a plan: the same plan has nothing left to do.
        if plan.generation > self.applied {
            let vms: Vec<_> = self.ground.fleet.inventory().map(|(_, seen)| seen).collect();
            let unused = BitsPerSecond::ZERO;
            let slices = self.ground.slices.iter();
            let slices: Vec<_> =
                slices.map(|(&slice, &stands)| SliceUse { slice, stands, used: unused, offered: unused }).collect();
            for step in plan.diff_inventory(&vms, &slices, &self.ground.steering) {
                self.execute(self.now, step);
            }
            self.applied = plan.generation;
        }
        Ok(())
    }
}

impl Ground {
    /// The network's handle of a region's access link.
    pub(crate) fn access(&self, region: RegionId) -> LinkIx {
        self.links[self.setup.topology.region(region).access.index()]
    }

    /// The network's handles of the links on a way.
    pub(crate) fn handles(&self, links: &[LinkId]) -> impl Iterator<Item = LinkIx> {
        links.iter().map(|link| self.links[link.index()])
    }

    /// The way from a machine to a client region, made at first use; `None` when there is none.
    pub(crate) fn way(&mut self, now: Timestamp, ordinal: Ordinal, client: RegionId) -> Option<usize> {
        let vm = self.fleet.get(ordinal)?;
        if let Some(index) = vm.ways.iter().position(|way| way.client == client) {
            return Some(index);
        }
        let setup = Arc::clone(&self.setup);
        let topology = &setup.topology;
        let (server, class) = (vm.planned.region, topology.class(vm.planned.class));
        let (delay, backbone) = self.routes.way(server, client)?;
        let access = topology.region(server).access;
        let mut path = vec![vm.link?, self.access(server)];
        path.extend(self.handles(backbone));
        let delay = delay + topology.links[access.index()].delay.as_secs_f64();
        let (slice, cap) = (vm.planned.slice, class.work.bandwidth_per_session().as_f64());
        let group = self.network.group(now, &path, Some(slice), cap, class.slo.rate_floor);
        let vm = self.fleet.get_mut(ordinal)?;
        vm.ways.push(Way { client, group, delay, sessions: 0.0 });
        Some(vm.ways.len() - 1)
    }

    /// Takes in what the flows of all machines have done since this was last called.
    fn gather_ways(&mut self, now: Timestamp) {
        for position in 0..self.fleet.vms().len() {
            let ordinal = self.fleet.vms()[position].ordinal;
            self.gather_vm(now, ordinal);
        }
    }

    fn gather_vm(&mut self, now: Timestamp, ordinal: Ordinal) {
        let topology = &self.setup.topology;
        let Some(vm) = self.fleet.get_mut(ordinal) else { return };
        let class = topology.class(vm.planned.class);
        let serving = topology.cell(vm.planned.region, vm.planned.class);
        if let Some(interactive) = vm.interactive.as_deref_mut() {
            vm.busy_core_seconds += interactive.take_busy(now);
        }
        for way in &vm.ways {
            let usage = self.network.take_usage(now, way.group);
            let done = &mut self.scorer.now[topology.cell(way.client, vm.planned.class)];
            done.seconds += usage.flow_seconds;
            done.short_seconds += usage.short_flow_seconds;
            done.bits += usage.bits;
            // What requests take of a processor is counted request by request.
            if !matches!(class.work, Work::Interactive { .. }) {
                done.cpu_seconds += usage.flow_seconds * class.cpu.cores();
            }
            vm.session_seconds += usage.flow_seconds;
            self.serving_seconds[serving] += usage.flow_seconds;
        }
    }
}
