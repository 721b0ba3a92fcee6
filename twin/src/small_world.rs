//! A world small enough to reason about, for tests: demand is a given function of time, boots take as long as told.
//!
//! Nothing is random. Sessions of a serving cell are spread evenly over its ready machines; a draining machine loses
//! its sessions with the class's mean length. A cell is short when its sessions exceed its ready places.

use std::sync::Arc;

use forebay_world::*;

/// Regions `ams`, `iad`, `nrt`, … with classes `video` and `web`, four hosts each.
pub(crate) fn topology(regions: usize) -> Topology {
    let places = [("ams", 52.3, 4.8), ("iad", 38.9, -77.4), ("nrt", 35.8, 140.4), ("fra", 50.0, 8.6)];
    let zones = ["Europe/Amsterdam", "America/New_York", "Asia/Tokyo", "Europe/Berlin"];
    assert!(regions <= places.len());
    Topology {
        regions: (0..regions)
            .map(|i| Region {
                name: places[i].0.to_owned(),
                lat: places[i].1,
                lon: places[i].2,
                time_zone: zones[i].to_owned(),
                access: LinkId::at(i),
            })
            .collect(),
        hosts: (0..4 * regions)
            .map(|i| Host {
                name: format!("{}-{}", places[i / 4].0, i % 4),
                region: RegionId::at(i / 4),
                cpu: Cpu(64_000),
                memory: Bytes(256 << 30),
                bandwidth: BitsPerSecond(40_000_000_000),
                concurrent_boots: 2,
            })
            .collect(),
        links: (0..regions)
            .map(|i| Link {
                name: format!("{}-access", places[i].0),
                ends: LinkEnds::Access(RegionId::at(i)),
                capacity: BitsPerSecond(100_000_000_000),
                delay: Duration::from_millis(5),
            })
            .collect(),
        classes: vec![
            ResourceClass {
                name: "video".to_owned(),
                work: Work::Streaming { bit_rate: BitsPerSecond(10_000_000), duration: Duration::from_mins(20) },
                cpu: Cpu(20),
                memory: Bytes(8 << 20),
                flavour: FlavourId(0),
                priority: 1,
                slo: Slo { latency: Duration::from_secs(2), rate_floor: 0.9, tolerance: 0.02 },
                violation_price_per_minute: 1.0,
            },
            ResourceClass {
                name: "web".to_owned(),
                work: Work::Interactive {
                    requests_per_second: 1.0,
                    service: Duration::from_millis(20),
                    response: Bytes(50_000),
                    duration: Duration::from_mins(3),
                },
                cpu: Cpu::ZERO,
                memory: Bytes(4 << 20),
                flavour: FlavourId(0),
                priority: 0,
                slo: Slo { latency: Duration::from_millis(250), rate_floor: 0.0, tolerance: 0.02 },
                violation_price_per_minute: 1.0,
            },
        ],
        flavours: vec![Flavour {
            name: "edge-4".to_owned(),
            cpu: Cpu(4_000),
            memory: Bytes(8 << 30),
            bandwidth: BitsPerSecond(2_000_000_000),
            price_per_hour: 0.4,
            boot_median: Duration::from_secs(120),
            boot_sigma: 0.0,
            warm_up: Duration::from_secs(60),
        }],
    }
}

/// An observation of nobody and nothing, at `at`.
pub(crate) fn quiet(topology: &Topology, at: Timestamp) -> Observation {
    Observation {
        at,
        window: Duration::from_mins(1),
        demand: vec![Some(Demand::default()); topology.cells()],
        vms: Vec::new(),
        hosts: vec![HostSeen { up: true }; topology.hosts.len()],
        links: vec![None; topology.links.len()],
        slices: Vec::new(),
        steering: Steering::home(topology.cells()),
        events: Vec::new(),
        applied: Generation(0),
        coverage: 1.0,
        next_vm: VmId(0),
    }
}

/// Sessions of each client cell at a time.
pub(crate) type DemandFn = dyn Fn(usize, Timestamp) -> f64 + Send + Sync;

/// The world.
#[derive(Clone)]
pub(crate) struct SmallWorld {
    pub(crate) topology: Arc<Topology>,
    pub(crate) demand: Arc<DemandFn>,
    pub(crate) boot: Duration,
    pub(crate) vms: Vec<VmSeen>,
    pub(crate) down: Vec<bool>,
    pub(crate) blind: Vec<bool>,
    pub(crate) events: Vec<KnownEvent>,
    slices: Vec<SliceUse>,
    steering: Steering,
    applied: Generation,
    now: Timestamp,
    window_from: Timestamp,
    /// Launched machines and the time they are ready.
    births: Vec<(VmId, Timestamp)>,
    /// Machine-hours paid for, minutes short, and changes made.
    pub(crate) vm_hours: f64,
    pub(crate) short_minutes: f64,
    pub(crate) churn: u64,
    pub(crate) refused: u64,
    pub(crate) unreachable_at: Vec<Timestamp>,
}

impl SmallWorld {
    pub(crate) fn new(topology: Arc<Topology>, start: Timestamp, demand: Arc<DemandFn>) -> Self {
        let cells = topology.cells();
        SmallWorld {
            boot: Duration::from_secs(180),
            down: vec![false; topology.hosts.len()],
            blind: vec![false; cells],
            topology,
            demand,
            vms: Vec::new(),
            events: Vec::new(),
            slices: Vec::new(),
            steering: Steering::home(cells),
            applied: Generation(0),
            now: start,
            window_from: start,
            births: Vec::new(),
            vm_hours: 0.0,
            short_minutes: 0.0,
            churn: 0,
            refused: 0,
            unreachable_at: Vec::new(),
        }
    }

    /// Sessions that each serving cell has at a time.
    fn served(&self, at: Timestamp) -> Vec<f64> {
        let topology = &self.topology;
        let mut served = vec![0.0; topology.cells()];
        for (cell, (home, class)) in topology.cell_ids().enumerate() {
            let sessions = (self.demand)(cell, at);
            for server in (0..topology.regions.len()).map(RegionId::at) {
                served[topology.cell(server, class)] += sessions * self.steering.share(cell, home, server);
            }
        }
        served
    }

    fn ready(&self, cell: usize) -> impl Iterator<Item = &VmSeen> {
        let at = self.topology.cell_at(cell);
        self.vms.iter().filter(move |vm| vm.state == VmState::Ready && (vm.region, vm.class) == at)
    }

    fn second(&mut self) {
        let step = Duration::from_secs(10);
        self.now += step;
        self.vm_hours += self.vms.len() as f64 * step.as_hours_f64();
        for i in 0..self.births.len() {
            let (id, due) = self.births[i];
            if due <= self.now
                && let Some(vm) = self.vms.iter_mut().find(|vm| vm.id == id && vm.state.is_coming())
            {
                vm.state = VmState::Ready;
                vm.since = self.now;
            }
        }
        self.births.retain(|(_, due)| *due > self.now);
        let down = &self.down;
        for vm in &mut self.vms {
            if down[vm.host.index()] && vm.state != VmState::Failed {
                (vm.state, vm.since, vm.sessions) = (VmState::Failed, self.now, Some(0));
            }
        }
        let served = self.served(self.now);
        for (cell, sessions) in served.iter().enumerate() {
            let ready = self.ready(cell).count();
            let class = self.topology.cell_at(cell).1;
            let places = self.topology.sessions_per_vm(class);
            if *sessions > ready as f64 * places {
                self.short_minutes += step.as_secs_f64() / 60.0;
            }
            let each = if ready == 0 { 0.0 } else { sessions / ready as f64 };
            let at = self.topology.cell_at(cell);
            for vm in self.vms.iter_mut().filter(|vm| (vm.region, vm.class) == at) {
                match vm.state {
                    VmState::Ready => {
                        vm.sessions = Some(each as u32);
                        vm.utilization = Some(each / places);
                    }
                    VmState::Draining => {
                        let mean = self.topology.class(at.1).work.mean_seconds();
                        let left = f64::from(vm.sessions.unwrap_or(0)) * (-step.as_secs_f64() / mean).exp();
                        vm.sessions = Some(left as u32);
                    }
                    _ => {}
                }
            }
        }
    }
}

impl World for SmallWorld {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn wait_until(&mut self, deadline: Timestamp) -> Result<Synchrony, WorldError> {
        while self.now < deadline {
            self.second();
        }
        Ok(Synchrony::OnTime)
    }

    fn observe(&mut self) -> Result<Observation, WorldError> {
        if self.unreachable_at.contains(&self.now) {
            return Err(WorldError::Unreachable {
                endpoint: "everything".to_owned(),
                source: std::io::Error::other("silence"),
            });
        }
        let window = self.now.since(self.window_from);
        let began = std::mem::replace(&mut self.window_from, self.now);
        let demand = (0..self.topology.cells())
            .map(|cell| {
                let sessions = (self.demand)(cell, self.now);
                let class = self.topology.class(self.topology.cell_at(cell).1);
                // As many as make those of the begin those of the end, when lengths are exponential.
                let mean = class.work.mean_seconds();
                let left = (-window.as_secs_f64() / mean).exp();
                let settled = (sessions - (self.demand)(cell, began) * left) / (1.0 - left);
                let arrivals = (settled.max(0.0) / mean * window.as_secs_f64()).round() as u64;
                (!self.blind[cell]).then(|| Demand { sessions, arrivals, ..Demand::default() })
            })
            .collect();
        Ok(Observation {
            at: self.now,
            window,
            demand,
            vms: self.vms.clone(),
            hosts: self.down.iter().map(|down| HostSeen { up: !down }).collect(),
            links: vec![None; self.topology.links.len()],
            slices: self.slices.clone(),
            steering: self.steering.clone(),
            events: self.events.clone(),
            applied: self.applied,
            coverage: 1.0,
            next_vm: VmId(0),
        })
    }

    fn submit(&mut self, plan: &Plan) -> Result<(), WorldError> {
        if plan.generation < self.applied {
            return Err(WorldError::Stale { submitted: plan.generation, applied: self.applied });
        }
        self.applied = plan.generation;
        for step in plan.diff_inventory(&self.vms, &self.slices, &self.steering) {
            match step {
                Step::SetSlice(slice, stands) => {
                    self.slices.retain(|seen| seen.slice != slice);
                    self.slices.push(SliceUse {
                        slice,
                        stands,
                        used: BitsPerSecond::ZERO,
                        offered: BitsPerSecond::ZERO,
                    });
                    self.slices.sort_by_key(|seen| seen.slice);
                }
                Step::RemoveSlice(slice) => self.slices.retain(|seen| seen.slice != slice),
                Step::Launch(id, vm) if self.down[vm.host.index()] => {
                    let _ = id;
                    self.refused += 1;
                }
                Step::Launch(id, vm) => {
                    self.churn += 1;
                    self.births.push((id, self.now + self.boot));
                    self.vms.push(VmSeen {
                        id,
                        region: vm.region,
                        host: vm.host,
                        flavour: vm.flavour,
                        class: vm.class,
                        state: VmState::Booting,
                        since: self.now,
                        sessions: Some(0),
                        utilization: None,
                    });
                    self.vms.sort_by_key(|vm| vm.id);
                }
                Step::Destroy(id) => {
                    self.churn += 1;
                    self.vms.retain(|vm| vm.id != id);
                }
                Step::Drain(id) | Step::Resume(id) => {
                    let state = if matches!(step, Step::Drain(_)) { VmState::Draining } else { VmState::Ready };
                    let now = self.now;
                    for vm in self.vms.iter_mut().filter(|vm| vm.id == id) {
                        (vm.state, vm.since) = (state, now);
                    }
                }
                Step::Steer(steering) => self.steering = steering,
            }
        }
        Ok(())
    }
}
