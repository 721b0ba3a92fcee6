//! What every executor of machines can do beside looking.

use std::collections::BTreeSet;

use forebay_world::{Duration, Timestamp, VmId};

use super::spec::MachineSpec;
use super::view::MachineView;
use super::{Gate, MachineError};

/// Makes and ends the machines of one owner on one hypervisor.
///
/// Every method that writes asks the gate before each write, and can be called again after any error: it goes on from what
/// is there. None of them touches what does not bear the owner's mark.
pub trait MachineExecutor: MachineView {
    /// Makes a machine exist and run (or stand paused, where the spec says so), and looks again. One that does writes
    /// nothing; one that has ended is started again, one that is paused is resumed.
    ///
    /// # Errors
    /// [`MachineError::Conflict`] when a machine of this identity was made of something else, and all the others.
    fn create(&mut self, spec: &MachineSpec, gate: &mut Gate) -> Result<Done, MachineError>;

    /// Lets a paused machine run. One that runs is done.
    ///
    /// # Errors
    /// [`MachineError`].
    fn resume(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError>;

    /// Asks a machine to end by itself (ACPI's power button). Whether it will, and when, is its own affair: whoever drains
    /// has a deadline, and then [destroys](MachineExecutor::destroy). One that does not run is done.
    ///
    /// # Errors
    /// [`MachineError`].
    fn shut_down(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError>;

    /// Ends a machine as pulling its plug would, and looks again. One that does not run is done. What it was made of stays.
    ///
    /// # Errors
    /// [`MachineError`].
    fn destroy(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError>;

    /// Ends a machine and takes away all that was made for it: its disk, its seed, its ports; and looks again. One that is
    /// not there is done.
    ///
    /// # Errors
    /// [`MachineError`].
    fn remove(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError>;

    /// Takes away what is ours and belongs to no machine: the [`strays`](super::Inventory::strays) of an inventory.
    ///
    /// # Errors
    /// [`MachineError`].
    fn sweep(&mut self, gate: &mut Gate) -> Result<Done, MachineError>;

    /// Removes machines that bear our mark and are not `known`, once they are older than `grace`: the oldest first, `cap`
    /// of them at most. Give it what a journal knows after all of it was read: an empty journal is not the same as none.
    ///
    /// # Errors
    /// [`MachineError`] when nothing could be seen, or the gate closed. What could not be removed is told in
    /// [`Collected::failed`], and does not keep the others.
    fn collect_orphans(
        &mut self,
        known: &BTreeSet<VmId>,
        grace: Duration,
        cap: usize,
        now: Timestamp,
        gate: &mut Gate,
    ) -> Result<Collected, MachineError> {
        let mut collected = Collected::default();
        let orphans = self.list()?.orphans(known, grace, now);
        let mut tried = 0;
        for (vm, is_old) in orphans {
            if !is_old {
                collected.waiting.push(vm);
            } else if tried == cap {
                collected.over_cap.push(vm);
            } else {
                tried += 1;
                match self.remove(vm, gate) {
                    Ok(_) => collected.removed.push(vm),
                    Err(stopped @ MachineError::Stopped(_)) => return Err(stopped),
                    Err(error) => collected.failed.push((vm, error)),
                }
            }
        }
        Ok(collected)
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Writes; none when all was so already.
    pub writes: u32,
}

/// What became of orphans.
#[derive(Debug, Default)]
pub struct Collected {
    /// Gone.
    pub removed: Vec<VmId>,
    /// Too young.
    pub waiting: Vec<VmId>,
    /// Left for the next time.
    pub over_cap: Vec<VmId>,
    /// Could not be removed.
    pub failed: Vec<(VmId, MachineError)>,
}

impl<E: MachineExecutor + ?Sized> MachineExecutor for Box<E> {
    fn create(&mut self, spec: &MachineSpec, gate: &mut Gate) -> Result<Done, MachineError> {
        (**self).create(spec, gate)
    }

    fn resume(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        (**self).resume(vm, gate)
    }

    fn shut_down(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        (**self).shut_down(vm, gate)
    }

    fn destroy(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        (**self).destroy(vm, gate)
    }

    fn remove(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        (**self).remove(vm, gate)
    }

    fn sweep(&mut self, gate: &mut Gate) -> Result<Done, MachineError> {
        (**self).sweep(gate)
    }

    fn collect_orphans(
        &mut self,
        known: &BTreeSet<VmId>,
        grace: Duration,
        cap: usize,
        now: Timestamp,
        gate: &mut Gate,
    ) -> Result<Collected, MachineError> {
        (**self).collect_orphans(known, grace, cap, now, gate)
    }
}
