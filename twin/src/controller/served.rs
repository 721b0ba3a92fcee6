//! What each serving region × class has and carries: the observation folded over clients, machines and steering.

use forebay_world::{Observation, Plan, Steering, Topology, VmIntent, VmState};

/// One serving region × class as seen at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CellSeen {
    /// Machines that the plan in force wants running.
    pub wanted: u32,
    /// Machines that serve and take new sessions.
    pub ready: u32,
    /// Of those, the ones whose utilization was measured …
    pub measured: u32,
    /// … and the sum of their utilizations.
    pub utilization_sum: f64,
    /// Machines on their way.
    pub coming: u32,
    /// Machines that finish what they have.
    pub draining: u32,
    /// Machines that failed and are still listed.
    pub failed: u32,
    /// Sessions on machines that serve, now.
    pub on_ready: u64,
    /// Sessions to be served here by the demand seen and the steering in force, those turned away included;
    /// `None` when nothing was seen.
    pub sessions: Option<f64>,
    /// Whether every client cell that is steered here was seen in this window.
    pub complete: bool,
    /// Whether any of them was.
    pub heard: bool,
}

impl CellSeen {
    /// Mean utilization of the ready machines that were measured, 0 to 1 and above.
    pub fn utilization(&self) -> Option<f64> {
        (self.measured > 0).then(|| self.utilization_sum / f64::from(self.measured))
    }
}

/// The fold, with the memory it needs: what was last seen of each client cell.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// Serving cells, dense.
    pub(crate) cells: Vec<CellSeen>,
    /// Sessions that each client cell offers: those under way, and those turned away that would still be under way;
    /// the last seen where this window has none.
    pub(crate) offered: Vec<Option<f64>>,
    /// Sessions turned away that would still be under way, if lengths are exponential.
    missing: Vec<f64>,
    mean_seconds: Vec<f64>,
}

impl Served {
    pub(crate) fn new(topology: &Topology) -> Self {
        Served {
            cells: vec![CellSeen::default(); topology.cells()],
            offered: vec![None; topology.cells()],
            missing: vec![0.0; topology.cells()],
            mean_seconds: topology.classes.iter().map(|class| class.work.mean_seconds()).collect(),
        }
    }

    /// Counts machines, and takes in what each client cell offers.
    pub(crate) fn count(&mut self, seen: &Observation, current: &Plan, topology: &Topology) {
        self.cells.fill(CellSeen { complete: true, ..CellSeen::default() });
        for vm in &seen.vms {
            let cell = &mut self.cells[topology.cell(vm.region, vm.class)];
            match vm.state {
                VmState::Requested | VmState::Booting | VmState::Warming => cell.coming += 1,
                VmState::Draining => cell.draining += 1,
                VmState::Failed => cell.failed += 1,
                VmState::Ready => {
                    cell.ready += 1;
                    cell.on_ready += u64::from(vm.sessions.unwrap_or(0));
                    if let Some(utilization) = vm.utilization.filter(|u| u.is_finite()) {
                        cell.measured += 1;
                        cell.utilization_sum += utilization;
                    }
                }
            }
        }
        for vm in current.vms.values() {
            if vm.intent == VmIntent::Running {
                self.cells[topology.cell(vm.region, vm.class)].wanted += 1;
            }
        }
        let classes = topology.classes.len();
        let window = seen.window.as_secs_f64();
        for client in 0..self.offered.len() {
            let class = client % classes;
            let now = seen.demand[client].as_ref().map(|demand| {
                let missing = &mut self.missing[client];
                if *missing > 0.0 {
                    *missing *= (-window / self.mean_seconds[class].max(1e-9)).exp();
                }
                *missing += demand.rejected as f64;
                demand.sessions.max(0.0) + *missing
            });
            if now.is_some() {
                self.offered[client] = now;
            }
        }
    }

    /// Carries what client cells offer to the cells that serve them. `steering` is the one planned: clients follow.
    pub(crate) fn carry(&mut self, seen: &Observation, steering: &Steering, topology: &Topology) {
        let classes = topology.classes.len();
        for client in 0..self.offered.len() {
            let class = client % classes;
            let seen_now = seen.demand[client].is_some();
            let known = self.offered[client];
            let mut add = |server: usize, share: f64| {
                let cell = &mut self.cells[server];
                cell.complete &= seen_now;
                cell.heard |= seen_now;
                if let Some(sessions) = known {
                    *cell.sessions.get_or_insert(0.0) += sessions * share;
                }
            };
            let weights = steering.0.get(client).map_or(&[][..], Vec::as_slice);
            let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
            if total == 0 {
                add(client, 1.0);
                continue;
            }
            for (server, weight) in weights.iter().filter(|(_, weight)| *weight > 0) {
                add(server.index() * classes + class, f64::from(*weight) / total as f64);
            }
        }
        // What was last seen stands in for what is missing only beside something that was seen.
        for cell in self.cells.iter_mut().filter(|cell| !cell.heard) {
            cell.sessions = None;
        }
    }
}
