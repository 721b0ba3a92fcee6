//! What a rollout asks executors to do, and what it hears of it.

use std::collections::{BTreeMap, BTreeSet};

use forebay_world::{ClassId, Generation, HostId, PlannedSlice, PlannedVm, RegionId, SliceId, Steering, VmId};

/// One thing to do. Each can be done again, and comes to the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Its number, by which its report is known.
    pub number: u64,
    /// Who carries it out. A lane has one order at a time.
    pub lane: Lane,
    /// What.
    pub task: Task,
}

/// Who carries an order out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The access link of a region.
    Link(RegionId),
    /// The hypervisor of a host.
    Host(HostId),
    /// Whoever asks a machine for the content that it shall have.
    Warmth(VmId),
    /// The name server.
    Answers,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Make these slices stand on the link, and these ports keep to them: all there shall be.
    Slice {
        /// The plan they are of.
        generation: Generation,
        /// Slices.
        slices: BTreeMap<SliceId, PlannedSlice>,
        /// Machines whose ports shall have rules.
        ports: BTreeMap<VmId, Port>,
    },
    /// Make the machine, or start it again.
    Create {
        /// Which.
        vm: VmId,
        /// The plan that asks for it.
        generation: Generation,
        /// What it shall be.
        planned: PlannedVm,
        /// Which address of its region it has.
        address: u32,
        /// How often that was tried before.
        attempt: u32,
    },
    /// Let a machine run that stands and waits.
    Resume(VmId),
    /// Fill the machine's cache with what will be asked for.
    Warm {
        /// Which.
        vm: VmId,
        /// What it serves.
        class: ClassId,
        /// Where it is.
        region: RegionId,
        /// Which address of its region it has.
        address: u32,
    },
    /// Answer clients by these machines, and no others.
    Answer {
        /// The plan they are of.
        generation: Generation,
        /// Machines.
        members: BTreeMap<VmId, Member>,
        /// Which regions serve whose clients.
        steering: Steering,
    },
    /// Ask the machine to end by itself.
    ShutDown(VmId),
    /// End the machine, and take away all that was made for it.
    Remove(VmId),
}

/// A port that shall have rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The slice it keeps to.
    pub slice: SliceId,
    /// Which address of its region it has.
    pub address: u32,
}

/// A machine that clients know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub region: RegionId,
    /// What it serves.
    pub class: ClassId,
    /// Which address of its region it has.
    pub address: u32,
    /// Whether new clients shall be sent there; one that is no member any more is forgotten at once.
    pub takes: bool,
    /// Whether it does well.
    pub healthy: bool,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The order's number.
    pub order: u64,
    /// Its lane.
    pub lane: Lane,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done, as far as whoever did it can tell.
    Done,
    /// Begun; guard rails let the rest through later.
    Underway,
    /// Not done, or not known to be.
    Failed {
        /// Whether it is worth trying again.
        failure: Failure,
        /// Why, for people.
        why: String,
    },
}

/// What an error means for the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It failed: the same may succeed.
    Transient,
    /// Nobody answered who could be asked: nothing is wrong with what was asked for.
    Unreachable,
    /// It was not let through: a kill switch, a lease. The same will succeed once it is.
    Stopped,
    /// It cannot succeed as it is: an image that is missing, a machine of something else.
    Permanent,
}

impl Task {
    /// The machines it makes, ends or lets run; none where it is about a whole link or all answers.
    pub fn vm(&self) -> Option<VmId> {
        match self {
            Task::Create { vm, .. }
            | Task::Resume(vm)
            | Task::Warm { vm, .. }
            | Task::ShutDown(vm)
            | Task::Remove(vm) => Some(*vm),
            Task::Slice { .. } | Task::Answer { .. } => None,
        }
    }

    /// In a few words, for logs and an audit.
    pub fn verb(&self) -> &'static str {
        match self {
            Task::Slice { .. } => "slice",
            Task::Create { .. } => "create",
            Task::Resume(_) => "resume",
            Task::Warm { .. } => "warm",
            Task::Answer { .. } => "answer",
            Task::ShutDown(_) => "shut down",
            Task::Remove(_) => "remove",
        }
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = |ids: BTreeSet<VmId>| ids.iter().map(VmId::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Task::Slice { generation, slices, ports } => {
                write!(f, "slice plan {generation}: {} slices, {} ports", slices.len(), ports.len())
            }
            Task::Create { vm, planned, address, attempt, .. } => {
                write!(f, "create {vm} on host {} (address {address}, attempt {attempt})", planned.host)
            }
            Task::Answer { generation, members, .. } => {
                let takes = members.iter().filter(|(_, member)| member.takes && member.healthy).map(|(vm, _)| *vm);
                write!(f, "answer plan {generation}: {}", ids(takes.collect()))
            }
            Task::Resume(vm) | Task::ShutDown(vm) | Task::Remove(vm) | Task::Warm { vm, .. } => {
                write!(f, "{} {vm}", self.verb())
            }
        }
    }
}
