//! What of a plan may be carried out: all of it in cells that are live, what a person has said yes to in cells that advise,
//! nothing elsewhere.

use std::collections::BTreeMap;

use forebay_world::{Observation, Plan, PlannedVm, Timestamp, Topology, VmId, VmIntent, VmSeen, VmState};

use crate::controller::ControllerConfig;
use crate::controller::config::{CellPattern, Limits};
use crate::production::Mandate;

/// Something that waits for a person's yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The machine.
    pub vm: VmId,
    /// What it is, or would be.
    pub planned: PlannedVm,
    /// Whether it would be launched; drained where not.
    pub is_launch: bool,
    /// Since when.
    pub since: Timestamp,
}

/// Lets through of each plan what may be carried out.
#[derive(Clone, Debug)]
pub struct Release {
    mandates: Vec<Mandate>,
    /// Machines of cells that advise, as a person has said yes to them.
    approved: BTreeMap<VmId, PlannedVm>,
    proposals: BTreeMap<VmId, Proposal>,
}

impl Release {
    /// A release by these mandates, dense over cells, with what was approved before.
    pub fn new(mandates: &[Mandate], approved: BTreeMap<VmId, PlannedVm>) -> Release {
        Release { mandates: mandates.to_vec(), approved, proposals: BTreeMap::new() }
    }

    /// The settings of a controller that plans only where something may be done: no machine anywhere else.
    pub fn confine(mandates: &[Mandate], topology: &Topology, config: &ControllerConfig) -> ControllerConfig {
        let mut config = config.clone();
        for (cell, (region, class)) in topology.cell_ids().enumerate() {
            if !mandates[cell].may_write() {
                let name = format!("{}/{}", topology.region(region).name, topology.class(class).name);
                let cells: CellPattern = name.parse().expect("the names of a cell are a pattern");
                config.guard.limits.push(Limits { cells, floor: Some(0), ceiling: Some(0) });
            }
        }
        config
    }

    /// What may be carried out of a plan.
    pub fn release(&mut self, plan: &Plan, seen: &[VmSeen], topology: &Topology, at: Timestamp) -> Plan {
        let mandate = |vm: &PlannedVm| self.mandates[topology.cell(vm.region, vm.class)];
        let mut released = plan.clone();
        released.vms.retain(|_, vm| mandate(vm) == Mandate::Live);
        let has_failed = |id: VmId| {
            let found = seen.binary_search_by_key(&id, |vm| vm.id).ok();
            found.is_some_and(|index| seen[index].state == VmState::Failed)
        };
        // What has failed, or is gone, needs nobody's yes to be let go.
        self.approved.retain(|id, _| plan.vms.contains_key(id) || (!has_failed(*id) && is_listed(seen, *id)));
        let mut proposals = BTreeMap::new();
        let mut propose = |vm: VmId, planned: PlannedVm, is_launch: bool| {
            let since = self.proposals.get(&vm).filter(|old| old.is_launch == is_launch).map_or(at, |old| old.since);
            proposals.insert(vm, Proposal { vm, planned, is_launch, since });
        };
        for (id, vm) in plan.vms.iter().filter(|(_, vm)| mandate(vm) == Mandate::Advise) {
            match (self.approved.get(id), vm.intent) {
                (None, VmIntent::Running) => propose(*id, *vm, true),
                (None, VmIntent::Draining) => {}
                (Some(approved), intent) => {
                    if approved.intent != intent {
                        propose(*id, *approved, intent == VmIntent::Running);
                    }
                    released.vms.insert(*id, *approved);
                }
            }
        }
        for (id, approved) in &self.approved {
            if !plan.vms.contains_key(id) {
                if approved.intent == VmIntent::Running {
                    propose(*id, *approved, false);
                    released.vms.insert(*id, *approved);
                } else {
                    released.vms.remove(id);
                }
            }
        }
        self.proposals = proposals;
        // A slice stands where machines do, or where all is ours to do.
        let mut with_machines = vec![false; topology.cells()];
        for vm in released.vms.values() {
            with_machines[topology.cell(vm.region, vm.class)] = true;
        }
        released.slices.retain(|id, _| {
            let cell = id.index();
            self.mandates.get(cell) == Some(&Mandate::Live) || with_machines.get(cell) == Some(&true)
        });
        for (cell, weights) in released.steering.0.iter_mut().enumerate() {
            if self.mandates.get(cell) != Some(&Mandate::Live) {
                weights.clear();
            }
        }
        released
    }

    /// What waits for a yes, by machine.
    pub fn proposals(&self) -> impl Iterator<Item = &Proposal> {
        self.proposals.values()
    }

    /// A person says yes to what is proposed for a machine; whether anything was.
    pub fn approve(&mut self, vm: VmId) -> bool {
        let Some(proposal) = self.proposals.remove(&vm) else { return false };
        let intent = if proposal.is_launch { VmIntent::Running } else { VmIntent::Draining };
        self.approved.insert(vm, PlannedVm { intent, ..proposal.planned });
        true
    }

    /// What a person has said yes to.
    pub fn approved(&self) -> &BTreeMap<VmId, PlannedVm> {
        &self.approved
    }

    /// Puts what waits for a yes among the machines of an observation: asked for, and not there yet.
    pub fn announce(&self, seen: &mut Observation) {
        for proposal in self.proposals.values().filter(|proposal| proposal.is_launch) {
            if let Err(at) = seen.vms.binary_search_by_key(&proposal.vm, |vm| vm.id) {
                let planned = proposal.planned;
                let vm = VmSeen {
                    id: proposal.vm,
                    region: planned.region,
                    host: planned.host,
                    flavour: planned.flavour,
                    class: planned.class,
                    state: VmState::Requested,
                    since: proposal.since,
                    sessions: Some(0),
                    utilization: None,
                };
                seen.vms.insert(at, vm);
            }
        }
    }
}

fn is_listed(seen: &[VmSeen], id: VmId) -> bool {
    seen.binary_search_by_key(&id, |vm| vm.id).is_ok()
}
