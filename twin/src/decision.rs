//! What was decided at a tick, and why: one line of `decisions.jsonl`, and what `x` explains.

use forebay_world::{ClassId, Duration, Generation, RegionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::demand::ClientRequests;
use crate::slicing::GaveWay;

/// The decisions of one tick.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// Generation of the plan in force after it.
    pub generation: Generation,
    /// One entry for each region × class, dense.
    pub cells: Vec<CellDecision>,
}

/// The decision for one serving region × class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellDecision {
    /// Where.
    pub region: RegionId,
    /// For what.
    pub class: ClassId,
    /// Virtual machines that served.
    pub ready: u32,
    /// Virtual machines on their way.
    pub coming: u32,
    /// Virtual machines that were draining.
    pub draining: u32,
    /// Sessions to be served here, as observed and steered; `None` when nothing was seen.
    pub sessions: Option<f64>,
    /// Requests of this region's own clients as DNS tells them, where demand is taken from DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ClientRequests>,
    /// Mean utilization of the ready virtual machines, 0 to 1 and above; `None` when nothing was measured.
    pub utilization: Option<f64>,
    /// What was expected of the sessions, where the policy forecasts.
    pub forecast: Option<Fan>,
    /// Virtual machines the policy asked for.
    pub asked: u32,
    /// Virtual machines the guard let through.
    pub granted: u32,
    /// Virtual machines the plan has, after placement.
    pub planned: u32,
    /// What bound between asked and planned, in the order applied.
    pub bound_by: Vec<Bound>,
    /// What its slice was not granted, and why; none when it got what it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave_way: Option<GaveWay>,
    /// Why the policy asked for that many, in words.
    pub reason: String,
}

/// A forecast of sessions as the policy used it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fan {
    /// Start of the window the forecast is for, after the tick.
    pub from: Duration,
    /// End of that window.
    pub until: Duration,
    /// 10 % quantile of the most sessions in the window.
    pub p10: f64,
    /// Median.
    pub p50: f64,
    /// 90 % quantile.
    pub p90: f64,
    /// The quantile level that capacity was sized for, 0 to 1 …
    pub level: f64,
    /// … and its value.
    pub sized_for: f64,
}

/// What kept a plan from being what the policy asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Fewer than the operator allows.
    Floor,
    /// More than the operator allows.
    Ceiling,
    /// Too large a step at once.
    MaxStep,
    /// Too soon after the last change.
    Cooldown,
    /// More than the budget pays for.
    Budget,
    /// Too little was seen, or too old, to shrink on.
    Coverage,
    /// No host has room.
    HostsFull,
}
