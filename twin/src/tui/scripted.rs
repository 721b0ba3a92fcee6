//! A made-up evening of eight regions, for tests and demonstrations of the terminal UI: plausible, cheap, and a pure
//! function of policy and seed. It simulates nothing; numbers from here are no results.

mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_sim::{Score, Stream};
use forebay_world::{
    BitsPerSecond, Demand, Duration, Generation, HostId, HostSeen, LatencySeen, LinkUse, Observation, Occurrence, Plan,
    PlannedSlice, PlannedVm, SliceUse, Steering, Timestamp, Topology, VmId, VmIntent, VmSeen, VmState, What,
};

use super::engine::Engine;
use super::snapshot::Scene;
use crate::decision::{Bound, CellDecision, Decision, Fan};
use crate::tick::Tick;
use stage::{CROWD_AT, FALLEN_HOST, HOST_DOWN, LINK_CUT, TELEMETRY_GAP, WEAK_LINK};

const WINDOW: Duration = Duration::from_mins(1);
const TICKS: u64 = 360;
/// Ticks from the request of a virtual machine to its service.
const BOOT_TICKS: u64 = 4;
const DRAIN_TICKS: u64 = 5;
const EVENTS_IN_WINDOW: u64 = 5;

/// The made-up run. `fixed` provides for the peak, `hpa` follows what was seen, anything else looks ahead.
#[derive(Clone)]
pub struct Scripted {
    policy: String,
    seed: u64,
    topology: Arc<Topology>,
    start: Timestamp,
    ticks_done: u64,
    /// Events of the present window gone over.
    events_done: u64,
    vms: BTreeMap<VmId, VmSeen>,
    /// Ticks after which the violation of each cell began.
    violated_since: Vec<Option<u64>>,
    next_vm: u64,
    score: Score,
}

impl Scripted {
    /// The scene, and its run under `policy` with `seed`.
    pub fn demo(policy: &str, seed: u64) -> (Scene, Scripted) {
        let topology = Arc::new(stage::topology());
        let start = stage::start();
        let scene = Scene {
            topology: Arc::clone(&topology),
            scenario: "demo-evening".to_owned(),
            seed,
            start,
            end: start + WINDOW * TICKS,
            window: WINDOW,
            policies: ["fixed", "hpa", "predictive"].map(str::to_owned).to_vec(),
            follows: None,
            is_operated: false,
        };
        let cells = topology.cells();
        let mut engine = Scripted {
            policy: policy.to_owned(),
            seed,
            topology,
            start,
            ticks_done: 0,
            events_done: 0,
            vms: BTreeMap::new(),
            violated_since: vec![None; cells],
            next_vm: 1,
            score: Score { slo_violation_minutes_by_cell: vec![0.0; cells], ..Score::default() },
        };
        for cell in 0..cells {
            for _ in 0..engine.asked(cell, 0) {
                engine.launch(cell, VmState::Ready, start);
            }
        }
        (scene, engine)
    }

    /// Sessions of `cell` as expected at `tick`.
    fn expected(&self, cell: usize, tick: u64) -> f64 {
        let (region, class) = self.topology.cell_at(cell);
        stage::expected_sessions(region.index(), class.index(), self.start + WINDOW * tick)
    }

    /// What comes: the expected, wandering by a few per cent.
    fn actual(&self, cell: usize, tick: u64) -> f64 {
        let mut stream = Stream::new(self.seed, "scripted demand", cell as u64).at(tick);
        let wander = (0..8).map(|_| stream.uniform() - 0.5).sum::<f64>() / 8.0;
        self.expected(cell, tick) * (1.0 + 0.35 * wander)
    }

    fn fan(&self, cell: usize, tick: u64) -> Fan {
        let most =
            |share: f64| (tick + 3..=tick + 12).map(|ahead| share * self.expected(cell, ahead)).fold(0.0, f64::max);
        let rush = self.expected(cell, tick + 8) / self.expected(cell, tick).max(1.0);
        let spread = 0.07 + 0.25 * (rush - 1.0).abs();
        let p50 = most(1.01);
        let (p10, p90) = (p50 * (1.0 - spread), p50 * (1.0 + 1.2 * spread));
        Fan { from: WINDOW * 3, until: WINDOW * 12, p10, p50, p90, level: 0.95, sized_for: p50 * (1.0 + 1.55 * spread) }
    }

    fn asked(&self, cell: usize, tick: u64) -> u32 {
        let class = self.topology.cell_at(cell).1;
        let places = self.topology.sessions_per_vm(class);
        let sessions = match self.policy.as_str() {
            "fixed" => (0..TICKS).step_by(10).map(|tick| self.expected(cell, tick)).fold(0.0, f64::max) * 1.15,
            "hpa" => self.actual(cell, tick.saturating_sub(2)) / 0.8,
            _ => self.fan(cell, tick).sized_for,
        };
        (sessions / places).ceil().max(1.0) as u32
    }

    fn is_up(&self, host: HostId, tick: u64) -> bool {
        host != FALLEN_HOST || !HOST_DOWN.contains(&tick)
    }

    fn launch(&mut self, cell: usize, state: VmState, at: Timestamp) -> bool {
        let (region, class) = self.topology.cell_at(cell);
        let tick = self.ticks_done;
        let room = |host: HostId| self.vms.values().filter(|vm| vm.host == host).count();
        let host = (0..self.topology.hosts.len())
            .map(HostId::at)
            .filter(|host| self.topology.hosts[host.index()].region == region && self.is_up(*host, tick))
            .min_by_key(|host| room(*host))
            .filter(|host| room(*host) < 8);
        let Some(host) = host else { return false };
        let id = VmId(self.next_vm);
        self.next_vm += 1;
        let flavour = self.topology.class(class).flavour;
        let vm = VmSeen { id, region, host, flavour, class, state, since: at, sessions: Some(0), utilization: None };
        self.vms.insert(id, vm);
        true
    }

    /// Lets the fleet age by one tick.
    fn age(&mut self, at: Timestamp, happened: &mut Vec<Occurrence>) {
        let tick = self.ticks_done;
        let fallen = !self.is_up(FALLEN_HOST, tick);
        let mut gone = Vec::new();
        for vm in self.vms.values_mut() {
            let (id, region, class) = (vm.id, vm.region, vm.class);
            let ticks = at.since(vm.since) / WINDOW;
            let next = match vm.state {
                VmState::Failed => {
                    gone.push(id);
                    continue;
                }
                _ if fallen && vm.host == FALLEN_HOST => {
                    happened.push(Occurrence { at, what: What::VmFailed { vm: id, region, class, sessions_lost: 31 } });
                    VmState::Failed
                }
                VmState::Requested => VmState::Booting,
                VmState::Booting if ticks + 2 >= BOOT_TICKS => VmState::Warming,
                VmState::Warming => {
                    let after = WINDOW * BOOT_TICKS;
                    happened.push(Occurrence { at, what: What::VmReady { vm: id, region, class, after } });
                    VmState::Ready
                }
                VmState::Draining if ticks >= DRAIN_TICKS => {
                    gone.push(id);
                    continue;
                }
                _ => continue,
            };
            (vm.state, vm.since) = (next, at);
        }
        for id in gone {
            self.vms.remove(&id);
            self.score.churn += 1;
        }
    }

    fn count(&self, cell: usize, state: impl Fn(VmState) -> bool) -> u32 {
        let (region, class) = self.topology.cell_at(cell);
        let of_cell = |vm: &&VmSeen| vm.region == region && vm.class == class && state(vm.state);
        self.vms.values().filter(of_cell).count() as u32
    }

    fn decide(&mut self, cell: usize, at: Timestamp, happened: &mut Vec<Occurrence>) -> CellDecision {
        let (region, class) = self.topology.cell_at(cell);
        let tick = self.ticks_done;
        let seen = !(TELEMETRY_GAP.contains(&tick) && region == stage::SILENT_REGION);
        let sessions = self.actual(cell, tick);
        let [ready, coming, draining] = [
            self.count(cell, |state| state == VmState::Ready),
            self.count(cell, VmState::is_coming),
            self.count(cell, |state| state == VmState::Draining),
        ];
        let places = self.topology.sessions_per_vm(class);
        let (asked, have) = (self.asked(cell, tick), ready + coming);
        let mut bound_by = Vec::new();
        let mut granted = asked;
        if asked > have + 6 {
            granted = have + 6;
            bound_by.push(Bound::MaxStep);
        } else if asked < have && (!tick.is_multiple_of(5) || !seen) {
            granted = have;
            bound_by.push(if seen { Bound::Cooldown } else { Bound::Coverage });
        }
        let mut planned = have;
        while planned < granted {
            if !self.launch(cell, VmState::Requested, at) {
                bound_by.push(Bound::HostsFull);
                break;
            }
            self.score.churn += 1;
            planned += 1;
        }
        if planned > granted
            && let Some(vm) = self
                .vms
                .values_mut()
                .rev()
                .find(|vm| vm.region == region && vm.class == class && vm.state == VmState::Ready)
        {
            (vm.state, vm.since) = (VmState::Draining, at);
            happened.push(Occurrence { at, what: What::VmDraining { vm: vm.id, region, class } });
            planned -= 1;
        }
        let looks_ahead = !matches!(self.policy.as_str(), "fixed" | "hpa");
        let reason = match self.policy.as_str() {
            "fixed" => "the most ever expected, and 15 % more".to_owned(),
            "hpa" => format!("{sessions:.0} sessions at a target of 80 %"),
            _ => "the 95 % quantile of the most sessions until new machines are ready".to_owned(),
        };
        CellDecision {
            region,
            class,
            ready,
            coming,
            draining,
            sessions: seen.then_some(sessions),
            requests: None,
            utilization: seen.then(|| sessions / (f64::from(ready.max(1)) * places)),
            forecast: looks_ahead.then(|| self.fan(cell, tick)),
            asked,
            granted,
            planned,
            bound_by,
            gave_way: None,
            reason,
        }
    }

    fn judge(&mut self, cell: &CellDecision, at: Timestamp, happened: &mut Vec<Occurrence>) -> f64 {
        let (region, class) = (cell.region, cell.class);
        let (index, tick) = (self.topology.cell(region, class), self.ticks_done);
        let capacity = f64::from(cell.ready) * self.topology.sessions_per_vm(class);
        let sessions = self.actual(index, tick);
        let bad_share = (1.0 - capacity / sessions.max(1.0)).max(0.0);
        let class_spec = self.topology.class(class);
        match (bad_share > class_spec.slo.tolerance, self.violated_since[index]) {
            (true, since) => {
                if since.is_none() {
                    self.violated_since[index] = Some(tick);
                    happened.push(Occurrence { at, what: What::SloViolated { region, class, bad_share } });
                }
                self.score.slo_violation_minutes += 1.0;
                self.score.slo_violation_minutes_by_cell[index] += 1.0;
                self.score.violation_cost += class_spec.violation_price_per_minute;
                self.score.sessions_rejected += (bad_share * sessions / 20.0) as u64;
            }
            (false, Some(since)) => {
                self.violated_since[index] = None;
                let minutes = (tick - since) as u32;
                happened.push(Occurrence { at, what: What::SloMet { region, class, minutes } });
            }
            (false, None) => {}
        }
        let machines = f64::from(cell.ready + cell.coming + cell.draining);
        let hours = WINDOW.as_hours_f64();
        self.score.sessions += (sessions / 20.0) as u64;
        self.score.dns_queries += (sessions / 55.0) as u64;
        self.score.vm_hours += machines * hours;
        self.score.over_provisioned_vm_hours += (1.0 - sessions / capacity.max(1.0)).max(0.0) * machines * hours;
        self.score.capacity_cost += machines * hours * self.topology.flavour_of(class).price_per_hour;
        self.score.cost = self.score.capacity_cost + self.score.violation_cost;
        bad_share
    }

    fn incidents(&self, at: Timestamp, happened: &mut Vec<Occurrence>) {
        let (tick, host) = (self.ticks_done, FALLEN_HOST);
        let region = self.topology.hosts[host.index()].region;
        let (link, silent) = (WEAK_LINK, stage::SILENT_REGION);
        let incidents = [
            (HOST_DOWN.start, What::HostDown { host, region }),
            (HOST_DOWN.end, What::HostUp { host, region }),
            (LINK_CUT.start, What::LinkDegraded { link, left: 0.4 }),
            (LINK_CUT.end, What::LinkRestored { link }),
            (TELEMETRY_GAP.start, What::TelemetryLost { region: silent }),
            (TELEMETRY_GAP.end, What::TelemetryBack { region: silent }),
            (CROWD_AT, What::CrowdBegins { name: "final".to_owned() }),
        ];
        for (when, what) in incidents {
            if when == tick {
                happened.push(Occurrence { at, what });
            }
        }
    }

    fn demand(&self, cell: usize, bad_share: f64) -> Option<Demand> {
        let (region, class) = self.topology.cell_at(cell);
        if TELEMETRY_GAP.contains(&self.ticks_done) && region == stage::SILENT_REGION {
            return None;
        }
        let sessions = self.actual(cell, self.ticks_done);
        let class = self.topology.class(class);
        let milliseconds = |factor: f64| Duration::from_secs_f64_saturating(0.012 * factor * (1.0 + 4.0 * bad_share));
        Some(Demand {
            queries: (sessions / 55.0) as u64,
            exposure: None,
            arrivals: (sessions / 20.0) as u64,
            rejected: (bad_share * sessions / 20.0) as u64,
            sessions,
            cpu: forebay_world::Cpu::from_f64(sessions * class.cpu_per_session().as_f64()),
            bandwidth: BitsPerSecond::from_f64(sessions * class.work.bandwidth_per_session().as_f64()),
            bad_share,
            latency: Some(LatencySeen { p50: milliseconds(1.0), p95: milliseconds(3.1), p99: milliseconds(6.4) }),
        })
    }

    fn offered(&self, cell: usize) -> f64 {
        let class = self.topology.class(self.topology.cell_at(cell).1);
        self.actual(cell, self.ticks_done) * class.work.bandwidth_per_session().as_f64()
    }

    fn slice(&self, cell: usize, forecast: Option<&Fan>) -> SliceUse {
        let (region, class) = self.topology.cell_at(cell);
        let link = &self.topology.links[self.topology.region(region).access.index()];
        let class_spec = self.topology.class(class);
        let rate = class_spec.work.bandwidth_per_session().as_f64();
        let expected = forecast.map_or(self.expected(cell, 0), |fan| fan.p90);
        let ceiling = BitsPerSecond::from_f64(link.capacity.as_f64() * [0.8, 0.3, 0.2][class.index()]);
        let guarantee = BitsPerSecond::from_f64((expected * rate).min(0.9 * ceiling.as_f64()));
        let offered = BitsPerSecond::from_f64(self.offered(cell));
        SliceUse {
            slice: self.topology.slice(region, class),
            stands: PlannedSlice {
                guarantee,
                ceiling,
                weight: 10,
                priority: class_spec.priority,
                dscp: 0,
                latency: None,
            },
            used: offered.min(ceiling),
            offered,
        }
    }
}

impl Engine for Scripted {
    fn now(&self) -> Timestamp {
        let inside = WINDOW * self.events_done / (EVENTS_IN_WINDOW + 1);
        self.start + WINDOW * self.ticks_done + inside
    }

    fn tick(&mut self) -> Option<Tick> {
        if self.ticks_done == TICKS {
            return None;
        }
        let index = self.ticks_done;
        let at = self.start + WINDOW * (index + 1);
        self.events_done = 0;
        let topology = Arc::clone(&self.topology);
        let mut happened = Vec::new();
        self.incidents(at, &mut happened);
        self.age(at, &mut happened);
        let cells: Vec<CellDecision> = (0..topology.cells()).map(|cell| self.decide(cell, at, &mut happened)).collect();
        let bad: Vec<f64> = cells.iter().map(|cell| self.judge(cell, at, &mut happened)).collect();
        self.score.latency_ms = forebay_sim::LatencyMs { p50: 12.4, p95: 38.9, p99: 81.0 };
        self.score.guarantee_violation_minutes = self.score.slo_violation_minutes / 8.0;
        let mut vms: Vec<VmSeen> = self.vms.values().cloned().collect();
        for vm in &mut vms {
            let cell = &cells[topology.cell(vm.region, vm.class)];
            if vm.state == VmState::Ready {
                let jitter = Stream::new(self.seed, "scripted machines", vm.id.0).at(index).uniform() - 0.5;
                let each = cell.sessions.unwrap_or(0.0) / f64::from(cell.ready.max(1));
                vm.sessions = Some((each * (1.0 + 0.1 * jitter)) as u32);
                vm.utilization = cell.utilization.map(|utilization| utilization * (1.0 + 0.1 * jitter));
            }
        }
        let slices: Vec<SliceUse> =
            cells.iter().enumerate().map(|(cell, decided)| self.slice(cell, decided.forecast.as_ref())).collect();
        let carried = stage::link_loads(&topology, |cell| self.offered(cell));
        let links = topology.links.iter().zip(carried).enumerate().map(|(link, (spec, used))| {
            let link = forebay_world::LinkId::at(link);
            let left = if link == WEAK_LINK && LINK_CUT.contains(&index) { 0.4 } else { 1.0 };
            let capacity = BitsPerSecond::from_f64(spec.capacity.as_f64() * left);
            Some(LinkUse { link, capacity, used: BitsPerSecond::from_f64(used).min(capacity) })
        });
        let links = links.collect();
        let generation = Generation(index + 1);
        let planned = |vm: &VmSeen| PlannedVm {
            region: vm.region,
            host: vm.host,
            flavour: vm.flavour,
            class: vm.class,
            slice: topology.slice(vm.region, vm.class),
            intent: if vm.state == VmState::Draining { VmIntent::Draining } else { VmIntent::Running },
        };
        let plan = Plan {
            generation,
            parent: Generation(index),
            vms: vms.iter().map(|vm| (vm.id, planned(vm))).collect(),
            slices: slices.iter().map(|slice| (slice.slice, slice.stands)).collect(),
            steering: Steering::home(topology.cells()),
        };
        let silent = TELEMETRY_GAP.contains(&index);
        let observation = Observation {
            at,
            window: WINDOW,
            demand: bad.iter().enumerate().map(|(cell, bad)| self.demand(cell, *bad)).collect(),
            vms,
            hosts: (0..topology.hosts.len()).map(|host| HostSeen { up: self.is_up(HostId::at(host), index) }).collect(),
            links,
            slices,
            steering: Steering::home(topology.cells()),
            events: stage::events(self.start),
            applied: Generation(index),
            coverage: if silent { 0.875 } else { 1.0 },
            next_vm: VmId(0),
        };
        self.ticks_done += 1;
        Some(Tick {
            index,
            observation: Arc::new(observation),
            decision: Arc::new(Decision { at, generation, cells }),
            plan: Arc::new(plan),
            occurrences: happened.into(),
            score: Arc::new(self.score.clone()),
            events_processed: self.score.sessions * 4 + self.score.dns_queries,
        })
    }

    fn step_event(&mut self) -> Option<String> {
        if self.ticks_done == TICKS || self.events_done == EVENTS_IN_WINDOW {
            return None;
        }
        let mut stream = Stream::new(self.seed, "scripted events", self.ticks_done).at(self.events_done);
        let (region, class) = self.topology.cell_at(stream.below(self.topology.cells() as u64) as usize);
        self.events_done += 1;
        let (region, class) = (&self.topology.region(region).name, &self.topology.class(class).name);
        Some(format!("a session of {class} begins in {region}"))
    }

    fn checkpoint(&self) -> Box<dyn Engine> {
        Box::new(self.clone())
    }
}
