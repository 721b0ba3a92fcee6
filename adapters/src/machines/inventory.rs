//! What machines there are on a hypervisor, as read from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use forebay_world::{Bytes, Duration, Timestamp, VmId};
use uuid::Uuid;

use super::identity::{Mark, Owner};

/// What bears our mark on one hypervisor, and what is there without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Machines of ours.
    pub machines: BTreeMap<VmId, Machine>,
    /// Things of ours that belong to no machine: what a crash left behind, or a hand changed. For people.
    pub strays: Vec<String>,
    /// Machines that are not ours, and will not be touched, by name and identity.
    pub foreign: Vec<Foreign>,
}

/// A machine that is not ours: of another owner, of another controller, of a hand. What is not known of it is `None`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign {
    /// What people call it: a domain's name, a tag `Name`, else its identity.
    pub name: String,
    /// What the hypervisor tells it from all others by: an instance's id, a UUID, a process.
    pub id: String,
    /// Its UUID.
    pub uuid: Option<Uuid>,
    /// Where in its life it is.
    pub state: MachineState,
    /// Virtual processors.
    pub vcpus: Option<u32>,
    /// Memory that it may have at most.
    pub memory: Option<Bytes>,
    /// Since when it runs.
    pub since: Option<Timestamp>,
    /// The provider's kind of machine: `t3.micro`.
    pub kind: Option<String>,
    /// What was written on it, where the hypervisor has tags.
    pub tags: BTreeMap<String, String>,
    /// Whose mark it bears; ours, where that was damaged.
    pub owner: Option<Owner>,
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
    /// Addresses that the hypervisor's network gave it; empty where that gives none, or does not say.
    pub addresses: BTreeSet<IpAddr>,
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

impl Foreign {
    /// One of which no more is known than that it is there.
    pub fn new(name: impl Into<String>, id: impl Into<String>) -> Foreign {
        Foreign {
            name: name.into(),
            id: id.into(),
            uuid: None,
            state: MachineState::Unknown,
            vcpus: None,
            memory: None,
            since: None,
            kind: None,
            tags: BTreeMap::new(),
            owner: None,
        }
    }
}

/// For people: `web-1 (i-0a1b), running, 2 processors, of owner edge`.
impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.id != self.name {
            write!(f, " ({})", self.id)?;
        }
        write!(f, ", {}", self.state)?;
        if let Some(kind) = &self.kind {
            write!(f, ", {kind}")?;
        }
        match self.vcpus {
            Some(1) => f.write_str(", 1 processor")?,
            Some(vcpus) => write!(f, ", {vcpus} processors")?,
            None => {}
        }
        if let Some(memory) = self.memory {
            write!(f, ", {memory}")?;
        }
        if let Some(owner) = &self.owner {
            write!(f, ", of owner {owner}")?;
        }
        Ok(())
    }
}

impl fmt::Display for MachineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MachineState::Defined => "defined",
            MachineState::Booting => "booting",
            MachineState::Running => "running",
            MachineState::Paused => "paused",
            MachineState::ShuttingDown => "shutting down",
            MachineState::ShutOff => "shut off",
            MachineState::Crashed => "crashed",
            MachineState::Unknown => "in an unknown state",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_machine_is_said_with_what_is_known_of_it_and_no_more() {
        assert_eq!(Foreign::new("web", "web").to_string(), "web, in an unknown state");
        let known = Foreign {
            state: MachineState::Running,
            vcpus: Some(2),
            memory: Some(Bytes(1 << 30)),
            kind: Some("t3.micro".to_owned()),
            owner: Some("edge".parse().unwrap()),
            ..Foreign::new("web", "i-1")
        };
        let said = format!("web (i-1), running, t3.micro, 2 processors, {}, of owner edge", Bytes(1 << 30));
        assert_eq!(known.to_string(), said);
    }
}
