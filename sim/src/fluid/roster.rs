//! Which machines have sessions, by the cell that they serve: remade when one begins or ceases to serve, not each step.

use forebay_world::{Topology, VmState};

use crate::fleet::{Fleet, serving_cell};

/// Positions in the fleet of the machines that have sessions, by serving cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    /// State of the fleet that it was made from; `None` before there was one.
    turns: Option<u64>,
    positions: Vec<u32>,
    /// Where each cell's positions begin, and where the last ends.
    begins: Vec<u32>,
}

impl Roster {
    /// Makes it true of the fleet; returns whether it was not.
    pub(super) fn follow(&mut self, topology: &Topology, fleet: &Fleet) -> bool {
        if self.turns == Some(fleet.turns()) {
            return false;
        }
        self.turns = Some(fleet.turns());
        let mut serving: Vec<(usize, u32)> = (0..)
            .zip(fleet.vms())
            .filter(|(_, vm)| matches!(vm.state, VmState::Ready | VmState::Draining))
            .map(|(position, vm)| (serving_cell(topology, vm), position))
            .collect();
        serving.sort_unstable();
        self.begins.clear();
        let begin = |cell: usize| serving.partition_point(|(other, _)| *other < cell) as u32;
        self.begins.extend((0..=topology.cells()).map(begin));
        self.positions.clear();
        self.positions.extend(serving.iter().map(|(_, position)| position));
        true
    }

    /// The machines of a cell.
    #[inline]
    pub(super) fn of(&self, cell: usize) -> &[u32] {
        &self.positions[self.begins[cell] as usize..self.begins[cell + 1] as usize]
    }
}
