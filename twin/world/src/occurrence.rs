//! What happened, for people: the lines of `events.jsonl` and the alerts of the terminal UI.
//!
//! Occurrences inform no decision; all that may change one is in the [`crate::Observation`].

use serde::{Deserialize, Serialize};

use crate::{ClassId, Duration, HostId, LinkId, RegionId, Timestamp, VmId};

/// Something that happened at an instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Occurrence {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// Kinds of occurrence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// A virtual machine was asked for.
    VmRequested {
        /// Which.
        vm: VmId,
        /// Where.
        region: RegionId,
        /// For what.
        class: ClassId,
        /// On what.
        host: HostId,
    },
    /// A virtual machine serves.
    VmReady {
        /// Which.
        vm: VmId,
        /// Where.
        region: RegionId,
        /// For what.
        class: ClassId,
        /// Time from request to ready.
        after: Duration,
    },
    /// A virtual machine takes no new sessions.
    VmDraining {
        /// Which.
        vm: VmId,
        /// Where.
        region: RegionId,
        /// For what.
        class: ClassId,
    },
    /// A virtual machine failed.
    VmFailed {
        /// Which.
        vm: VmId,
        /// Where.
        region: RegionId,
        /// For what.
        class: ClassId,
        /// Sessions that were cut off.
        sessions_lost: u32,
    },
    /// A virtual machine is gone.
    VmGone {
        /// Which.
        vm: VmId,
        /// Where.
        region: RegionId,
        /// For what.
        class: ClassId,
        /// Sessions that were cut off.
        sessions_lost: u32,
    },
    /// A plan asked for a machine on a host that has no room, or is down.
    LaunchRefused {
        /// Which.
        vm: VmId,
        /// On what.
        host: HostId,
    },
    /// A host stopped.
    HostDown {
        /// Which.
        host: HostId,
        /// Where.
        region: RegionId,
    },
    /// A host is back, empty.
    HostUp {
        /// Which.
        host: HostId,
        /// Where.
        region: RegionId,
    },
    /// A link carries less than it should.
    LinkDegraded {
        /// Which.
        link: LinkId,
        /// Share of its capacity that is left, 0 when cut.
        left: f64,
    },
    /// A link is whole again.
    LinkRestored {
        /// Which.
        link: LinkId,
    },
    /// A region is gone.
    RegionLost {
        /// Which.
        region: RegionId,
    },
    /// A region is back.
    RegionBack {
        /// Which.
        region: RegionId,
    },
    /// Telemetry of a region stopped.
    TelemetryLost {
        /// Which.
        region: RegionId,
    },
    /// Telemetry of a region is back.
    TelemetryBack {
        /// Which.
        region: RegionId,
    },
    /// The first violated minute of a run of them.
    SloViolated {
        /// Client region.
        region: RegionId,
        /// Class.
        class: ClassId,
        /// Share of the minute's work that was bad, 0 to 1.
        bad_share: f64,
    },
    /// The objective is met again.
    SloMet {
        /// Client region.
        region: RegionId,
        /// Class.
        class: ClassId,
        /// Violated minutes in a row.
        minutes: u32,
    },
    /// A flash crowd begins.
    CrowdBegins {
        /// Its name.
        name: String,
    },
}
