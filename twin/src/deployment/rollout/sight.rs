//! What was seen of production, in parts. A part that was not seen, or too long ago, is `None`: unknown, never empty.

use std::collections::{BTreeMap, BTreeSet};

use forebay_world::{PlannedSlice, SliceId, Timestamp, VmId};

/// What is known of production at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// The moment.
    pub at: Timestamp,
    /// What each host's hypervisor lists, dense.
    pub hosts: Vec<Option<HostSight>>,
    /// What stands on each region's access link, dense.
    pub links: Vec<Option<LinkSight>>,
    /// What the name server answers.
    pub answers: Option<AnswersSight>,
    /// How machines do, as those say who ask them; absent where nobody has an answer.
    pub health: BTreeMap<VmId, Health>,
}

/// Machines of one host that bear our mark.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostSight {
    /// When the listing began.
    pub at: Timestamp,
    /// All of them.
    pub machines: BTreeMap<VmId, MachineSight>,
}

/// One machine, as its hypervisor lists it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MachineSight {
    /// Where in its life it is.
    pub life: Life,
    /// When it was made, by its mark.
    pub created: Timestamp,
    /// Sessions on it now; `None` where nobody counts them.
    pub sessions: Option<u32>,
    /// Use of its scarcest resource; `None` where nobody measures it.
    pub utilization: Option<f64>,
}

/// The life of a machine, as far as a hypervisor can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Stands, and waits to be let run.
    Paused,
    /// Runs, or is about to.
    Running,
    /// Was asked to end.
    Ending,
    /// Does not run.
    Off,
}

/// What stands on one link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkSight {
    /// When it was read.
    pub at: Timestamp,
    /// Slices, by what they were asked to be.
    pub slices: BTreeMap<SliceId, PlannedSlice>,
    /// Machines whose ports have their rules.
    pub ports: BTreeSet<VmId>,
}

/// What is answered to clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswersSight {
    /// When it was asked for.
    pub at: Timestamp,
    /// Machines that some client may be sent to.
    pub answered: BTreeSet<VmId>,
    /// Whether clients are sent to addresses of ours that no machine is known to have.
    pub strangers: bool,
}

/// How a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It serves.
    Healthy,
    /// It was asked, and does not serve.
    Unhealthy,
}
