//! A world kept in step with another one: machines as they stand there, without a boot; load as it was observed there; and
//! what came of both, cell by cell. For whoever watches production and asks what it would have been like otherwise.
//!
//! At fluid fidelity: what is known of another world is rates, not sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_world::{Occurrence, PlannedSlice, PlannedVm, SliceId, Steering, Step, Timestamp, VmId, VmState, What};

use super::{Event, LoadModel, SimWorld, class};
use crate::fleet::Ordinal;
use crate::fluid::FluidLoad;

/// A machine as another world has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stands {
    /// What it is, and where.
    pub planned: PlannedVm,
    /// Where in its life it is. All that are on their way stand as [`VmState::Warming`].
    pub state: VmState,
    /// When one that is on its way will serve; as soon as that is said where `None`.
    pub ready_at: Option<Timestamp>,
}

/// What a run has come to in one region × class, counted from the end of its warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CellTally {
    /// Minutes in which its clients missed their objective.
    pub slo_violation_minutes: f64,
    /// Hours of its machines, since the run began.
    pub vm_hours: f64,
    /// Their price \[currency unit\].
    pub capacity_cost: f64,
    /// Hours of its ready machines beyond those that the sessions under way needed.
    pub over_provisioned_vm_hours: f64,
}

impl SimWorld {
    /// Sessions begin at these rates from now on, by client cell \[1/s\]: in cells whose load is
    /// [`Load::Told`](crate::setup::Load::Told) these alone, in others beside what they have.
    pub fn tell_rates(&mut self, rates: &[f64]) {
        assert_eq!(rates.len(), self.ground.setup.topology.cells(), "a rate for each client cell");
        self.gather(self.now);
        let load = self.fluid();
        for (cell, rate) in rates.iter().enumerate() {
            assert!(rate.is_finite() && *rate >= 0.0, "a rate is a number, not negative");
            load.tell(cell, *rate);
        }
    }

    /// Adds sessions that are under way in a client cell already, on the machines to which they would have been steered;
    /// none where no machine takes any.
    pub fn settle(&mut self, cell: usize, sessions: f64) {
        assert!(sessions.is_finite() && sessions >= 0.0, "sessions are a number, not negative");
        self.gather(self.now);
        let SimWorld { ground, load: LoadModel::Fluid(load), .. } = self else { panic!("{FLUID}") };
        load.settle(ground, cell, sessions);
    }

    /// Makes a machine what it is in the other world, or gone. One that was there from the begin was launched by nobody; a
    /// later one counts as launched.
    pub fn mirror(&mut self, id: VmId, stands: Option<Stands>) {
        self.fluid();
        let now = self.now;
        self.gather(now);
        let known = self.ground.fleet.ordinal_of(id);
        let Some(stands) = stands else {
            self.destroy(now, id);
            return;
        };
        let before = known.and_then(|ordinal| self.ground.fleet.get(ordinal)).map(|vm| (vm.state, vm.planned));
        match (known, before) {
            // What a failed machine held is given back; what was one thing is another now.
            (Some(_), Some((state, planned))) if state == VmState::Failed || planned != stands.planned => {
                if state != stands.state || planned != stands.planned {
                    self.destroy(now, id);
                    self.adopt(now, id, stands);
                }
            }
            (Some(ordinal), Some((state, _))) => self.turn(now, ordinal, state, stands),
            _ => self.adopt(now, id, stands),
        }
    }

    /// Makes slices those of the other world.
    pub fn mirror_slices(&mut self, slices: &BTreeMap<SliceId, PlannedSlice>) {
        let now = self.now;
        self.gather(now);
        let gone: Vec<SliceId> = self.ground.slices.keys().filter(|id| !slices.contains_key(id)).copied().collect();
        for id in gone {
            self.execute(now, Step::RemoveSlice(id));
        }
        for (id, planned) in slices {
            if self.ground.slices.get(id) != Some(planned) {
                self.execute(now, Step::SetSlice(*id, *planned));
            }
        }
    }

    /// Makes clients go where those of the other world go.
    pub fn mirror_steering(&mut self, steering: Steering) {
        if *self.ground.steering != steering {
            self.gather(self.now);
            self.ground.steering = Arc::new(steering);
        }
    }

    /// Whether a machine takes new sessions, by serving cell.
    pub fn serving(&self) -> Vec<bool> {
        (0..self.ground.setup.topology.cells()).map(|cell| !self.ground.fleet.ready(cell).is_empty()).collect()
    }

    /// Machines of each serving cell that are in one of these states.
    pub fn machines_in(&self, states: &[VmState]) -> Vec<u32> {
        let topology = &self.ground.setup.topology;
        let mut counts = vec![0; topology.cells()];
        for vm in self.ground.fleet.vms().iter().filter(|vm| states.contains(&vm.state)) {
            counts[topology.cell(vm.planned.region, vm.planned.class)] += 1;
        }
        counts
    }

    /// What the run has come to, by cell: minutes by client cell, machines by serving cell.
    pub fn tallies(&self) -> Vec<CellTally> {
        let (minutes, idle) = self.ground.scorer.by_cell();
        let tally = |(cell, (minutes, idle)): (usize, (&f64, &f64))| {
            let bill = self.ground.fleet.cell_bill_at(self.now, cell);
            CellTally {
                slo_violation_minutes: *minutes,
                vm_hours: bill.vm_hours,
                capacity_cost: bill.cost,
                over_provisioned_vm_hours: *idle,
            }
        };
        minutes.iter().zip(idle).enumerate().map(tally).collect()
    }

    fn fluid(&mut self) -> &mut FluidLoad {
        match &mut self.load {
            LoadModel::Fluid(load) => load,
            LoadModel::Session(_) => panic!("{FLUID}"),
        }
    }

    fn adopt(&mut self, now: Timestamp, id: VmId, stands: Stands) {
        let setup = Arc::clone(&self.ground.setup);
        let state = if stands.state.is_coming() { VmState::Warming } else { stands.state };
        let ordinal = self.ground.fleet.adopt(now, &setup.topology, id, stands.planned, state);
        if now > setup.start {
            self.ground.fleet.count_launch();
            let PlannedVm { region, class, host, .. } = stands.planned;
            self.ground
                .occurrences
                .push(Occurrence { at: now, what: What::VmRequested { vm: id, region, class, host } });
        }
        self.expect_ready(now, ordinal, state, stands.ready_at);
    }

    fn expect_ready(&mut self, now: Timestamp, ordinal: Ordinal, state: VmState, ready_at: Option<Timestamp>) {
        if let Some(at) = ready_at.filter(|_| state == VmState::Warming) {
            self.ground.agenda.schedule(at.max(now), class::LIFE, Event::Warm(ordinal));
        }
    }

    /// Takes a machine from one state to another.
    fn turn(&mut self, now: Timestamp, ordinal: Ordinal, before: VmState, stands: Stands) {
        let state = if stands.state.is_coming() { VmState::Warming } else { stands.state };
        if state == before {
            return;
        }
        let setup = Arc::clone(&self.ground.setup);
        match state {
            VmState::Failed => self.fail(now, ordinal),
            VmState::Ready if before == VmState::Warming => self.warm(now, ordinal),
            VmState::Draining | VmState::Ready if before.is_coming() => {
                self.ground.fleet.set_state(now, &setup.topology, ordinal, state);
            }
            VmState::Draining => {
                let id = self.ground.fleet.get(ordinal).expect("it was just looked at").id;
                self.drain(now, id);
            }
            VmState::Ready => self.ground.fleet.set_state(now, &setup.topology, ordinal, state),
            VmState::Requested | VmState::Booting | VmState::Warming => {
                // It stands, and serves nobody any more.
                self.cut_off(now, ordinal);
                self.ground.fleet.set_state(now, &setup.topology, ordinal, VmState::Warming);
                self.expect_ready(now, ordinal, VmState::Warming, stands.ready_at);
            }
        }
    }
}

const FLUID: &str = "only rates can be told: at fluid fidelity";

#[cfg(test)]
mod tests;
