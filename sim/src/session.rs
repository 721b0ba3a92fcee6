//! Load at session fidelity: every session, every request, every cached answer.
//!
//! A session is steered by DNS to a machine and stays on it. What it does there is its class's work: *streaming* holds
//! a rate for a while, a *download* is an elastic flow of a size, an *interactive* session sends requests that share
//! its machine's processors.

use std::sync::Arc;

use forebay_world::{Duration, QuerySample, RegionId, Timestamp, VmState, Work};

use crate::agenda::AlarmId;
use crate::content::CacheCurve;
use crate::dns::{Answer, Lookup, Resolvers};
use crate::fleet::Ordinal;
use crate::load::{Arrival, Arrivals, Via};
use crate::processor::Processor;
use crate::world::{Event, Ground, class};
use crate::{Setup, Stream};

/// Asking the authoritative servers takes a client this long \[s\].
const AUTHORITY_SECONDS: f64 = 0.02;
/// A client that meets a machine that is gone or full asks again after this long \[s\].
const RETRY_SECONDS: f64 = 1.0;
/// Round trips before the first byte of content: one to connect, one to ask (TLS 1.3 adds one more; RFC 8446).
pub(crate) const START_ROUND_TRIPS: f64 = 3.0;

/// Sessions under way and those to come.
#[derive(Clone, Debug)]
pub(crate) struct SessionLoad {
    arrivals: Vec<Arrivals>,
    pending: Vec<Option<Arrival>>,
    resolvers: Resolvers,
    /// Cache behaviour by class.
    caches: Arc<[CacheCurve]>,
    sessions: Vec<Session>,
    free: Vec<u32>,
    flow_alarm: AlarmId,
}

/// A session that ends at a set time.
#[derive(Clone, Copy, Debug)]
struct Session {
    vm: Ordinal,
    way: u32,
}

/// The requests of an interactive machine.
#[derive(Clone, Debug)]
pub(crate) struct Interactive {
    processor: Processor,
    next_request: AlarmId,
    next_answer: AlarmId,
    stream: Stream,
    /// What is left of a unit-exponential until the next request: it runs down at the rate of all sessions together.
    until_request: f64,
    /// Since when it has run down at the present rate.
    since: Timestamp,
    /// Processor time already taken into account \[core s\].
    busy_taken: f64,
}

impl SessionLoad {
    pub(crate) fn new(ground: &mut Ground) -> Self {
        let setup = Arc::clone(&ground.setup);
        let cells = setup.topology.cells();
        let mut arrivals: Vec<Arrivals> = (0..cells).map(|cell| Arrivals::new(&setup, cell)).collect();
        let mut pending = Vec::with_capacity(cells);
        for (cell, arrivals) in arrivals.iter_mut().enumerate() {
            let first = arrivals.next();
            if let Some(arrival) = &first {
                ground.agenda.schedule(arrival.at, class::BEGIN, Event::Arrival(cell as u32));
            }
            pending.push(first);
        }
        SessionLoad {
            arrivals,
            pending,
            resolvers: Resolvers::new(&setup),
            caches: caches(&setup),
            sessions: Vec::new(),
            free: Vec::new(),
            flow_alarm: ground.agenda.alarm(class::END, Event::FlowEnds),
        }
    }

    /// Sessions that end at a set time, now under way.
    pub(crate) fn live(&self) -> usize {
        self.sessions.len() - self.free.len()
    }

    /// A session begins in client cell `cell`, and the next of that cell is scheduled.
    pub(crate) fn arrive(&mut self, ground: &mut Ground, now: Timestamp, cell: u32) {
        let cell = cell as usize;
        let next = self.arrivals[cell].next();
        if let Some(arrival) = &next {
            ground.agenda.schedule(arrival.at, class::BEGIN, Event::Arrival(cell as u32));
        }
        let arrival = std::mem::replace(&mut self.pending[cell], next).expect("an arrival event has its arrival");
        self.begin(ground, now, cell, &arrival);
    }

    fn begin(&mut self, ground: &mut Ground, now: Timestamp, cell: usize, arrival: &Arrival) {
        let setup = Arc::clone(&ground.setup);
        let (client, class_id) = setup.topology.cell_at(cell);
        let Some((ordinal, waited)) = self.resolve(ground, now, cell, arrival) else {
            ground.scorer.now[cell].rejected += 1.0;
            return;
        };
        let Some(way_index) = ground.way(now, ordinal, client) else {
            ground.scorer.now[cell].rejected += 1.0;
            return;
        };
        let class = setup.topology.class(class_id);
        let vm = ground.fleet.get_mut(ordinal).expect("resolved to a machine that serves");
        let way = &mut vm.ways[way_index];
        way.sessions += 1.0;
        vm.sessions += 1.0;
        let (group, delay) = (way.group, way.delay);
        let hit = arrival.luck < self.caches[class_id.index()].hit_ratio(vm.answered);
        let done = &mut ground.scorer.now[cell];
        done.starts += 1.0;
        match class.work {
            Work::Streaming { duration, .. } => {
                vm.answered += 1.0;
                let origin = if hit { 0.0 } else { setup.content.origin_delay.as_secs_f64() };
                let start_up = waited + START_ROUND_TRIPS * 2.0 * delay + origin;
                if start_up > class.slo.latency.as_secs_f64() {
                    done.late += 1.0;
                }
                ground.scorer.latency[cell].insert(start_up);
                ground.network.join(now, group);
                let session = self.keep(Session { vm: ordinal, way: way_index as u32 });
                let ends = now.saturating_add(arrival.lasts(duration.as_secs_f64()));
                ground.agenda.schedule(ends, class::END, Event::SessionEnds(session));
            }
            Work::Download { size, .. } => {
                vm.answered += 1.0;
                let tag = u64::from(ordinal.0) << 32 | way_index as u64;
                ground.network.start(now, group, size.bits() * arrival.amount, tag);
            }
            Work::Interactive { duration, .. } => {
                ground.network.join(now, group);
                let session = self.keep(Session { vm: ordinal, way: way_index as u32 });
                let ends = now.saturating_add(arrival.lasts(duration.as_secs_f64()));
                ground.agenda.schedule(ends, class::END, Event::SessionEnds(session));
                pace_requests(ground, now, ordinal, 1.0);
            }
        }
        self.watch_flows(ground);
    }

    /// The machine a client is sent to, and how long finding it took \[s\]; `None` when nobody serves.
    fn resolve(
        &mut self,
        ground: &mut Ground,
        now: Timestamp,
        cell: usize,
        arrival: &Arrival,
    ) -> Option<(Ordinal, f64)> {
        let (region, class_id) = ground.setup.topology.cell_at(cell);
        let Arrival { resolver, subnet, name, .. } = *arrival;
        let mut waited = 0.0;
        if arrival.query == Via::Resolver
            && let Lookup::Hit(Answer(ordinal)) = self.resolvers.lookup(now, region, class_id, resolver, subnet, name)
        {
            if ground.has_room(Ordinal(ordinal)) {
                return Some((Ordinal(ordinal), waited));
            }
            // The machine is gone or turns the client away: it asks anew, past every cache.
            waited += RETRY_SECONDS;
        }
        let cache = self.resolvers.cache(region, resolver, subnet);
        let address = self.resolvers.address(region, resolver);
        let chosen = ground.choose(cell, region, arrival.pick);
        // When there is no answer, nothing is kept.
        let ttl = if chosen.is_some() { self.resolvers.ttl(class_id) } else { Duration::ZERO };
        ground.meter.record(QuerySample { at: now, cell: cell as u32, resolver: address, cache, name, ttl });
        waited += AUTHORITY_SECONDS;
        let chosen = chosen?;
        self.resolvers.store(now, region, class_id, resolver, subnet, name, Answer(chosen.0));
        ground.has_room(chosen).then_some((chosen, waited))
    }

    fn keep(&mut self, session: Session) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.sessions[slot as usize] = session;
            return slot;
        }
        self.sessions.push(session);
        u32::try_from(self.sessions.len() - 1).expect("fewer than 2³² live sessions")
    }

    /// A session of set length ends.
    pub(crate) fn end(&mut self, ground: &mut Ground, now: Timestamp, session: u32) {
        let Session { vm: ordinal, way } = self.sessions[session as usize];
        self.free.push(session);
        let Some(vm) = ground.fleet.get_mut(ordinal) else { return };
        let Some(way) = vm.ways.get_mut(way as usize) else { return };
        way.sessions -= 1.0;
        vm.sessions -= 1.0;
        let (group, interactive) = (way.group, vm.interactive.is_some());
        ground.network.leave(now, group);
        if interactive {
            pace_requests(ground, now, ordinal, -1.0);
        }
        self.watch_flows(ground);
    }

    /// One or more downloads end.
    pub(crate) fn finish_flows(&mut self, ground: &mut Ground, now: Timestamp) {
        while let Some(tag) = ground.network.complete(now) {
            let (ordinal, way) = (Ordinal((tag >> 32) as u32), tag as u32);
            let Some(vm) = ground.fleet.get_mut(ordinal) else { continue };
            vm.ways[way as usize].sessions -= 1.0;
            vm.sessions -= 1.0;
        }
        self.watch_flows(ground);
    }

    fn watch_flows(&mut self, ground: &mut Ground) {
        match ground.network.next_completion() {
            Some(at) => ground.agenda.set(self.flow_alarm, at),
            None => ground.agenda.cancel(self.flow_alarm),
        }
    }

    /// A request comes to an interactive machine.
    pub(crate) fn request(&mut self, ground: &mut Ground, now: Timestamp, ordinal: Ordinal) {
        let setup = Arc::clone(&ground.setup);
        let Some(vm) = ground.fleet.get_mut(ordinal) else { return };
        let class_id = vm.planned.class;
        let Work::Interactive { service, .. } = setup.topology.class(class_id).work else { return };
        let Some(interactive) = vm.interactive.as_deref_mut() else { return };
        let mut pick = interactive.stream.uniform() * vm.sessions;
        let way = vm.ways.iter().position(|way| {
            pick -= way.sessions;
            pick <= 0.0
        });
        let way = way.unwrap_or(vm.ways.len() - 1);
        let work = interactive.stream.exponential() * service.as_secs_f64();
        let missed = interactive.stream.uniform() >= self.caches[class_id.index()].hit_ratio(vm.answered);
        vm.answered += 1.0;
        let done = &mut ground.scorer.now[setup.topology.cell(vm.ways[way].client, class_id)];
        done.cpu_seconds += work;
        interactive.processor.arrive(now, work, (way as u64) << 1 | u64::from(missed));
        interactive.until_request = interactive.stream.exponential();
        interactive.since = now;
        watch_processor(ground, ordinal);
        pace_requests(ground, now, ordinal, 0.0);
    }

    /// An interactive machine has answered one or more requests.
    pub(crate) fn answer(&mut self, ground: &mut Ground, now: Timestamp, ordinal: Ordinal) {
        let setup = Arc::clone(&ground.setup);
        let Ground { fleet, network, scorer, .. } = ground;
        let Some(vm) = fleet.get_mut(ordinal) else { return };
        let class_id = vm.planned.class;
        let class = setup.topology.class(class_id);
        let Some(interactive) = vm.interactive.as_deref_mut() else { return };
        while let Some((tag, arrived)) = interactive.processor.complete(now) {
            let way = &vm.ways[(tag >> 1) as usize];
            let origin = if tag & 1 == 1 { setup.content.origin_delay.as_secs_f64() } else { 0.0 };
            let latency = now.since(arrived).as_secs_f64() + 2.0 * way.delay + origin;
            let cell = setup.topology.cell(way.client, class_id);
            let cap = class.work.bandwidth_per_session().as_f64();
            let short = network.rate(way.group) < class.slo.rate_floor * cap;
            scorer.latency[cell].insert(latency);
            scorer.now[cell].requests += 1.0;
            if short || latency > class.slo.latency.as_secs_f64() {
                scorer.now[cell].late_requests += 1.0;
            }
        }
        watch_processor(ground, ordinal);
    }

    /// A machine ends: its alarms fall silent.
    pub(crate) fn forget(&mut self, ground: &mut Ground, ordinal: Ordinal) {
        let Some(vm) = ground.fleet.get_mut(ordinal) else { return };
        if let Some(interactive) = vm.interactive.take() {
            ground.agenda.drop_alarm(interactive.next_request);
            ground.agenda.drop_alarm(interactive.next_answer);
        }
    }
}

/// Sessions of an interactive machine change by `change` (already counted): the clock of its requests goes on at the
/// new rate. Requests of all sessions together are a Poisson process, so one exponential clock serves them all.
fn pace_requests(ground: &mut Ground, now: Timestamp, ordinal: Ordinal, change: f64) {
    let setup = Arc::clone(&ground.setup);
    let Some(vm) = ground.fleet.get_mut(ordinal) else { return };
    let Work::Interactive { requests_per_second, .. } = setup.topology.class(vm.planned.class).work else { return };
    let (sessions, cell, nth) = (vm.sessions, setup.topology.cell(vm.planned.region, vm.planned.class), vm.nth);
    if vm.interactive.is_none() {
        let mut stream = Stream::new(setup.seed, "requests", (cell as u64) << 40 | nth);
        let until_request = stream.exponential();
        vm.interactive = Some(Box::new(Interactive {
            processor: Processor::new(setup.topology.flavours[vm.planned.flavour.index()].cpu.cores()),
            next_request: ground.agenda.alarm(class::BEGIN, Event::Request(ordinal)),
            next_answer: ground.agenda.alarm(class::END, Event::Answered(ordinal)),
            stream,
            until_request,
            since: now,
            busy_taken: 0.0,
        }));
    }
    let interactive = vm.interactive.as_deref_mut().expect("made above");
    let passed = now.since(interactive.since).as_secs_f64();
    interactive.until_request =
        (interactive.until_request - passed * (sessions - change) * requests_per_second).max(0.0);
    interactive.since = now;
    let rate = sessions * requests_per_second;
    if rate > 0.0 {
        let wait = Duration::from_secs_f64_saturating(interactive.until_request / rate);
        ground.agenda.set(interactive.next_request, now.saturating_add(wait));
    } else {
        ground.agenda.cancel(interactive.next_request);
    }
}

fn watch_processor(ground: &mut Ground, ordinal: Ordinal) {
    let Some(interactive) = ground.fleet.get_mut(ordinal).and_then(|vm| vm.interactive.as_deref_mut()) else { return };
    match interactive.processor.next_completion() {
        Some(at) => ground.agenda.set(interactive.next_answer, at),
        None => ground.agenda.cancel(interactive.next_answer),
    }
}

/// The cache behaviour of each class.
pub(crate) fn caches(setup: &Setup) -> Arc<[CacheCurve]> {
    let content = &setup.content;
    (0..setup.topology.classes.len())
        .map(|class| CacheCurve::new(content.objects[class], content.exponent[class], content.cached[class]))
        .collect()
}

impl Interactive {
    /// Processor time used since this was last called \[core s\].
    pub(crate) fn take_busy(&mut self, now: Timestamp) -> f64 {
        let busy = self.processor.busy_core_seconds(now);
        busy - std::mem::replace(&mut self.busy_taken, busy)
    }
}

impl Ground {
    /// Whether a machine serves and has room for one more session.
    fn has_room(&self, ordinal: Ordinal) -> bool {
        let Some(vm) = self.fleet.get(ordinal) else { return false };
        let limit = self.setup.overload_limit * self.places[vm.planned.class.index()];
        matches!(vm.state, VmState::Ready | VmState::Draining) && vm.sessions + 1.0 <= limit
    }

    /// The machine that an authoritative server answers with: a region by steering weight, and in it the less loaded
    /// of two at random (M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001), or, when
    /// both are full, the first with room. Regions without a machine that serves are passed over.
    fn choose(&self, cell: usize, home: RegionId, pick: u64) -> Option<Ordinal> {
        let topology = &self.setup.topology;
        let (_, class) = topology.cell_at(cell);
        let ready = |region: RegionId| self.fleet.ready(topology.cell(region, class));
        let weights = self.steering.0.get(cell).map_or(&[][..], Vec::as_slice);
        let open = |weights: &[(RegionId, u32)]| -> u64 {
            weights.iter().filter(|(region, _)| !ready(*region).is_empty()).map(|(_, weight)| u64::from(*weight)).sum()
        };
        let total = open(weights);
        let region = if total == 0 {
            home
        } else {
            let mut left = ((u128::from(pick) * u128::from(total)) >> 64) as u64;
            weights
                .iter()
                .filter(|(region, _)| !ready(*region).is_empty())
                .find(|(_, weight)| match left.checked_sub(u64::from(*weight)) {
                    Some(rest) => {
                        left = rest;
                        false
                    }
                    None => true,
                })
                .map_or(home, |(region, _)| *region)
        };
        let machines = ready(region);
        if machines.is_empty() {
            return None;
        }
        let mut stream = Stream::new(pick, "machine", 0);
        let mut draw = || machines[stream.below(machines.len() as u64) as usize];
        let (one, other) = (draw(), draw());
        let load = |ordinal: Ordinal| self.fleet.get(ordinal).map_or(f64::INFINITY, |vm| vm.sessions);
        let better = if load(other) < load(one) { other } else { one };
        if self.has_room(better) {
            return Some(better);
        }
        machines.iter().copied().find(|ordinal| self.has_room(*ordinal)).or(Some(better))
    }
}
