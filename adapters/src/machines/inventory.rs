//! What machines there are on a hypervisor, as read from it.

use std::collections::{BTreeMap, BTreeSet};

use forebay_world::{Duration, Timestamp, VmId};
use uuid::Uuid;

use super::identity::Mark;

/// What bears our mark on one hypervisor, and what is there without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Machines of ours.
    pub machines: BTreeMap<VmId, Machine>,
    /// Things of ours that belong to no machine: what a crash left behind, or a hand changed. For people.
    pub strays: Vec<String>,
    /// Machines that are not ours, and will not be touched. For people.
    pub foreign: Vec<String>,
}

/// One machine as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its identity on the hypervisor.
    pub uuid: Uuid,
    /// What the hypervisor calls it: a domain's name, an instance's id.
    pub name: String,
    /// Where it is: the host, the zone.
    pub host: String,
    /// Where in its life it is.
    pub state: MachineState,
    /// Since when; `None` where the hypervisor does not say.
    pub since: Option<Timestamp>,
    /// What was written on it as it was made.
    pub mark: Mark,
}

/// The life of a machine, as far as a hypervisor can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MachineState {
    /// Written down, and not started yet.
    Defined,
    /// The hypervisor is starting it.
    Booting,
    /// Its processors run; what on them, a hypervisor cannot tell.
    Running,
    /// Its processors are held.
    Paused,
    /// It was asked to end, and has not yet.
    ShuttingDown,
    /// It ended.
    ShutOff,
    /// It ended as nobody asked for.
    Crashed,
    /// It is there, and does not say.
    Unknown,
}

impl MachineState {
    /// Whether there is something that runs, or holds memory as if it did.
    pub fn is_alive(self) -> bool {
        use MachineState::{Booting, Paused, Running, ShuttingDown, Unknown};
        matches!(self, Booting | Running | Paused | ShuttingDown | Unknown)
    }
}

impl Inventory {
    /// Machines that nobody knows of, each with whether it is older than `grace`, the oldest first. Whoever makes a
    /// machine writes it down in that time; until it is over, not to be known may mean that it is just being made.
    pub fn orphans(&self, known: &BTreeSet<VmId>, grace: Duration, now: Timestamp) -> Vec<(VmId, bool)> {
        let mut found: Vec<(Timestamp, VmId)> = self
            .machines
            .iter()
            .filter(|(vm, _)| !known.contains(vm))
            .map(|(vm, machine)| (machine.mark.created, *vm))
            .collect();
        found.sort_unstable();
        // A mark from the future is young, however far its clock is off.
        found.into_iter().map(|(created, vm)| (vm, now > created && now.since(created) >= grace)).collect()
    }
}
