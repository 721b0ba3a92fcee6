//! What a controller gets to see: one immutable value a tick, incomplete by nature.
//!
//! Lists over regions × classes are dense (see [`crate::Topology::cell`]). What was not seen is `None`, never zero.

use serde::{Deserialize, Serialize};

use crate::{
    BitsPerSecond, ClassId, Cpu, Duration, Exposure, FlavourId, Generation, HostId, LinkId, PlannedSlice, RegionId,
    SliceId, Steering, Timestamp, VmId,
};

/// All that was seen of a world in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// End of the window.
    pub at: Timestamp,
    /// Length of the window.
    pub window: Duration,
    /// Demand of each client region × class, dense; `None` where no telemetry arrived.
    pub demand: Vec<Option<Demand>>,
    /// Virtual machines that bear our mark, by ascending id.
    pub vms: Vec<VmSeen>,
    /// Hosts, dense.
    pub hosts: Vec<HostSeen>,
    /// Links, dense; `None` where no counters arrived.
    pub links: Vec<Option<LinkUse>>,
    /// Slices that stand, by ascending id.
    pub slices: Vec<SliceUse>,
    /// Steering weights the authoritative servers answer by.
    pub steering: Steering,
    /// Known external events that have not ended.
    pub events: Vec<KnownEvent>,
    /// Generation of the newest plan this world has accepted.
    pub applied: Generation,
    /// Share of sources heard from in this window, 0 to 1. Below the guard's floor no plan shrinks capacity.
    pub coverage: f64,
    /// No machine of this number or a later one was ever asked for here, whoever asked; 0 where only the plans that are
    /// in force have asked.
    #[serde(default, skip_serializing_if = "is_first")]
    pub next_vm: VmId,
}

fn is_first(vm: &VmId) -> bool {
    *vm == VmId(0)
}

/// Demand of one client region × class in a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// Queries the authoritative servers were asked: cache misses, not demand.
    pub queries: u64,
    /// How long a request would have shown as a query: `queries / exposure` is the rate of requests. `None` where
    /// nothing is known of the caches.
    pub exposure: Option<Exposure>,
    /// Sessions that began.
    pub arrivals: u64,
    /// Sessions that were turned away.
    pub rejected: u64,
    /// Sessions under way, mean over the window.
    pub sessions: f64,
    /// Processors in use for them, mean \[1/1000 vCPU\].
    pub cpu: Cpu,
    /// Delivered to them, mean \[bit/s\].
    pub bandwidth: BitsPerSecond,
    /// Share of the window's work that missed the objective, 0 to 1.
    pub bad_share: f64,
    /// Response times (interactive) or start-up delays (streaming); absent when nothing was measured.
    pub latency: Option<LatencySeen>,
}

/// Quantiles of a latency in a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencySeen {
    /// Median.
    pub p50: Duration,
    /// 95 % are not above.
    pub p95: Duration,
    /// 99 % are not above.
    pub p99: Duration,
}

/// One virtual machine as seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VmSeen {
    /// Its identity, given by the plan that asked for it.
    pub id: VmId,
    /// Where it runs.
    pub region: RegionId,
    /// What it runs on.
    pub host: HostId,
    /// Its configuration.
    pub flavour: FlavourId,
    /// What it serves.
    pub class: ClassId,
    /// Where in its life it is.
    pub state: VmState,
    /// Since when it has been in this state.
    pub since: Timestamp,
    /// Sessions on it now; `None` where nobody counts them, or where clients may be on their way to it.
    pub sessions: Option<u32>,
    /// Use of its scarcest resource over the window, 0 to 1 and above when overloaded; `None` when not measured.
    pub utilization: Option<f64>,
}

/// The life of a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmState {
    /// Asked for; waits for its host to have a boot slot.
    Requested,
    /// Its image boots.
    Booting,
    /// Booted; caches fill and health checks run.
    Warming,
    /// Serves, and takes new sessions when steered to.
    Ready,
    /// Serves the sessions it has, takes no new ones.
    Draining,
    /// Did not boot, or its host died. Stays visible until a plan no longer names it.
    Failed,
}

impl VmState {
    /// On its way to ready.
    pub fn is_coming(self) -> bool {
        matches!(self, VmState::Requested | VmState::Booting | VmState::Warming)
    }
}

/// One host as seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSeen {
    /// It answers, and takes virtual machines.
    pub up: bool,
}

/// Use of one link in a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkUse {
    /// Which link.
    pub link: LinkId,
    /// What it can carry now, zero when cut \[bit/s\].
    pub capacity: BitsPerSecond,
    /// What it carried, mean \[bit/s\].
    pub used: BitsPerSecond,
}

/// One slice as it stands, and its use in a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceUse {
    /// Which slice.
    pub slice: SliceId,
    /// Its rates as configured now.
    pub stands: PlannedSlice,
    /// What it carried, mean \[bit/s\].
    pub used: BitsPerSecond,
    /// What its sessions would have taken on an idle network, mean \[bit/s\].
    pub offered: BitsPerSecond,
}

/// Something outside that will move demand: a match, a release, a breaking story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownEvent {
    /// Unique name.
    pub id: String,
    /// Kind, by which past events inform coming ones: `football`.
    pub kind: String,
    /// Planned start.
    pub start: Timestamp,
    /// Planned end.
    pub end: Timestamp,
    /// Client regions concerned.
    pub regions: Vec<RegionId>,
    /// Classes concerned.
    pub classes: Vec<ClassId>,
    /// Factor on usual demand that its announcer expects, if any.
    pub uplift: Option<f64>,
}
