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

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_world::{ClassId, Duration, QueryCount, RegionId, Steering, Timestamp, VmState, Work};

use crate::Setup;
use crate::content::CacheCurve;
use crate::dns::Resolvers;
use crate::fleet::{Ordinal, Vm, serving_cell};
use crate::load::{RateCurve, Sweep, fill};
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
    query_rest: Vec<QueryRest>,
    /// By serving cell, remade every step.
    serving: Vec<Serving>,
}

#[derive(Clone, Copy, Debug, Default)]
struct QueryRest {
    queries: f64,
    gaps: f64,
    gap_seconds: f64,
}

/// The sessions of one client cell that one region serves.
#[derive(Clone, Debug)]
struct Current {
    client_cell: usize,
    serving_cell: usize,
    server: RegionId,
    group: Option<GroupIx>,
    /// One-way delay to the clients [s].
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
    /// Session time of the step [s] …
    seconds: f64,
    /// … of which on machines with too many sessions …
    short_seconds: f64,
    /// … and the part of it that machines can carry at full rate.
    carried_seconds: f64,
    /// Share of requests later than the objective allows, weighted by session time.
    late_seconds: f64,
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
            query_rest: vec![QueryRest::default(); cells],
            serving: vec![Serving::default(); cells],
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
        self.begin_sessions(&setup, ground, now, seconds);
        self.move_machines(&setup, ground, seconds);
        self.move_currents(&setup, ground, now, seconds);
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
    fn begin_sessions(&mut self, setup: &Setup, ground: &mut Ground, now: Timestamp, seconds: f64) {
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
            let length = topology.class(class).work.mean_seconds();
            let stay = (-seconds / length).exp();
            let limit = serving.ready * setup.overload_limit * topology.sessions_per_vm(class);
            let room = (limit - serving.on_ready * stay).max(0.0);
            let would_stand = serving.wanted / seconds * length * (1.0 - stay);
            serving.accepted = if would_stand > room { room / would_stand } else { 1.0 };
        }
    }

    fn count_queries(&mut self, ground: &mut Ground, cell: usize, rate: f64, seconds: f64) {
        let (region, class) = ground.setup.topology.cell_at(cell);
        let expected = self.resolvers.expected(region, class, rate);
        let rest = &mut self.query_rest[cell];
        rest.queries += expected.queries * seconds;
        rest.gaps += expected.gaps * seconds;
        rest.gap_seconds += expected.gap_seconds * seconds;
        let whole = rest.queries.floor();
        if whole > 0.0 {
            let gap_time = Duration::from_secs_f64_saturating(rest.gap_seconds);
            let gaps = rest.gaps.floor();
            let count = QueryCount { queries: whole as u64, gaps: gaps as u64, gap_time };
            ground.meter.record_count(cell, count);
            rest.queries -= whole;
            rest.gaps -= gaps;
            rest.gap_seconds = 0.0;
        }
    }

    /// Sessions begin and end on every machine.
    fn move_machines(&mut self, setup: &Setup, ground: &mut Ground, seconds: f64) {
        let topology = &setup.topology;
        let Ground { fleet, serving_seconds, .. } = ground;
        for vm in fleet.vms_mut() {
            if !matches!(vm.state, VmState::Ready | VmState::Draining) {
                continue;
            }
            let cell = serving_cell(topology, vm);
            let serving = &mut self.serving[cell];
            let class = topology.class(vm.planned.class);
            let places = topology.sessions_per_vm(vm.planned.class);
            let begun = if vm.state == VmState::Ready {
                let mean = serving.on_ready / serving.ready;
                serving.wanted * serving.accepted / serving.ready * leaning(vm.sessions, mean)
            } else {
                0.0
            };
            // A download on a machine with too many of them takes longer.
            let mut length = class.work.mean_seconds();
            if matches!(class.work, Work::Download { .. }) && vm.sessions > places {
                length *= vm.sessions / places;
            }
            let (after, session_seconds) = fill(vm.sessions, begun / seconds, length, seconds);
            let mean = session_seconds / seconds;
            vm.sessions = after;
            vm.session_seconds += session_seconds;
            vm.answered += match class.work {
                Work::Interactive { requests_per_second, .. } => session_seconds * requests_per_second,
                Work::Streaming { .. } | Work::Download { .. } => begun,
            };
            serving.seconds += session_seconds;
            serving_seconds[cell] += session_seconds;
            match class.work {
                Work::Interactive { .. } => {
                    serving.carried_seconds += session_seconds;
                    let hit = self.caches[vm.planned.class.index()].hit_ratio(vm.answered);
                    serving.late_seconds += session_seconds * late_share(setup, vm, mean, hit);
                }
                Work::Streaming { .. } | Work::Download { .. } => {
                    serving.short_seconds += session_seconds * poisson_reaches(mean, places / class.slo.rate_floor);
                    serving.carried_seconds += session_seconds * (places / mean).min(1.0);
                }
            }
        }
    }

    /// What was done goes to the client cells; what flows goes to the network.
    fn move_currents(&mut self, setup: &Setup, ground: &mut Ground, now: Timestamp, seconds: f64) {
        let topology = &setup.topology;
        let mut standing = vec![0.0; topology.cells()];
        for current in &mut self.currents {
            let (_, class) = topology.cell_at(current.client_cell);
            let accepted = self.serving[current.serving_cell].accepted;
            let length = topology.class(class).work.mean_seconds();
            let (after, _) = fill(current.sessions, current.begun * accepted / seconds, length, seconds);
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
            let cap = class.work.bandwidth_per_session().as_f64();
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

    /// Puts the latencies of the window into the score's sketches, each quantile point with its weight.
    pub(crate) fn note_latency(&self, ground: &mut Ground) {
        let setup = Arc::clone(&ground.setup);
        let origin = setup.content.origin_delay.as_secs_f64();
        let mut worst: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        for vm in ground.fleet.vms() {
            if let Work::Interactive { service, .. } = setup.topology.class(vm.planned.class).work
                && vm.sessions > 0.0
            {
                let entry = worst.entry(serving_cell(&setup.topology, vm)).or_default();
                entry.0 += vm.sessions * mean_response(&setup, vm, vm.sessions).min(60.0).max(service.as_secs_f64());
                entry.1 += vm.sessions;
            }
        }
        for current in &self.currents {
            let (_, class_id) = setup.topology.cell_at(current.client_cell);
            let hit = self.caches[class_id.index()].steady();
            let sketch = &mut ground.scorer.latency[current.client_cell];
            match setup.topology.class(class_id).work {
                Work::Streaming { .. } if current.begun > 0.0 => {
                    let start_up = START_ROUND_TRIPS * 2.0 * current.delay;
                    sketch.insert_many(start_up, (current.begun * hit).round() as u64);
                    sketch.insert_many(start_up + origin, (current.begun * (1.0 - hit)).round() as u64);
                }
                Work::Interactive { requests_per_second, .. } if current.sessions > 0.0 => {
                    let Some((sum, weight)) = worst.get(&current.serving_cell) else { continue };
                    let mean = sum / weight;
                    let requests = current.sessions * requests_per_second;
                    // An exponential in sixteen parts of equal weight, each at its middle quantile.
                    for part in 0..16 {
                        let response = -mean * (1.0 - (f64::from(part) + 0.5) / 16.0).ln() + 2.0 * current.delay;
                        sketch.insert_many(response, (requests * hit / 16.0).round() as u64);
                        sketch.insert_many(response + origin, (requests * (1.0 - hit) / 16.0).round() as u64);
                    }
                }
                _ => {}
            }
        }
    }
}

/// How much more a machine with `sessions` is chosen than one with the mean, when the less loaded of two is taken: up
/// to twice for one that is empty, none for one that is far ahead. Machines within chance of the mean are alike.
fn leaning(sessions: f64, mean: f64) -> f64 {
    if mean <= 0.0 {
        return 1.0;
    }
    1.0 + ((mean - sessions) / mean.max(mean.sqrt() * 4.0)).clamp(-1.0, 1.0)
}

/// P(N ≥ k) for N Poisson with `mean`, by the normal approximation with continuity correction.
fn poisson_reaches(mean: f64, k: f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    normal_share_below((mean - k + 0.5) / mean.sqrt())
}

/// Mean response time of a machine's processors with that many sessions [s]: M/M/c with the machine's cores.
fn mean_response(setup: &Setup, vm: &Vm, sessions: f64) -> f64 {
    let Work::Interactive { requests_per_second, service, .. } = setup.topology.class(vm.planned.class).work else {
        return 0.0;
    };
    let cores = setup.topology.flavours[vm.planned.flavour.index()].cpu.cores().max(1.0).round() as u32;
    let (rate, service) = (sessions * requests_per_second, service.as_secs_f64());
    let load = rate * service;
    if load >= f64::from(cores) {
        return f64::INFINITY;
    }
    service + queueing::erlang_c(cores, load) * service / (f64::from(cores) - load)
}

/// Share of an interactive machine's requests that are later than the objective allows.
fn late_share(setup: &Setup, vm: &Vm, sessions: f64, hit: f64) -> f64 {
    let class = setup.topology.class(vm.planned.class);
    let mean = mean_response(setup, vm, sessions);
    let access = &setup.topology.links[setup.topology.region(vm.planned.region).access.index()];
    let late = |origin: f64| {
        let left = class.slo.latency.as_secs_f64() - 2.0 * access.delay.as_secs_f64() - origin;
        if mean.is_infinite() || left <= 0.0 { 1.0 } else { (-left / mean).exp() }
    };
    hit * late(0.0) + (1.0 - hit) * late(setup.content.origin_delay.as_secs_f64())
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
