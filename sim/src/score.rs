//! What a run is judged by.

use serde::{Deserialize, Serialize};

/// Totals of a run so far, counted from the end of its warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Sessions that began.
    pub sessions: u64,
    /// Sessions turned away or cut off.
    pub sessions_rejected: u64,
    /// Queries that reached the authoritative servers.
    pub dns_queries: u64,
    /// Minutes in which a client region × class missed its objective, summed over cells.
    pub slo_violation_minutes: f64,
    /// The same for each client region × class, dense.
    pub slo_violation_minutes_by_cell: Vec<f64>,
    /// Minutes in which a slice that asked for at least its guarantee got less, summed over slices.
    pub guarantee_violation_minutes: f64,
    /// Hours of virtual machines, from request to destruction.
    pub vm_hours: f64,
    /// Hours of ready virtual machines beyond those that the sessions under way needed.
    pub over_provisioned_vm_hours: f64,
    /// Price of those hours [currency unit].
    pub capacity_cost: f64,
    /// Price of the violated minutes [currency unit].
    pub violation_cost: f64,
    /// What the operator pays in all: the objective [currency unit].
    pub cost: f64,
    /// Launches and destructions.
    pub churn: u64,
    /// Latency over all requests and starts [ms].
    pub latency_ms: LatencyMs,
}

/// Quantiles of a latency [ms].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyMs {
    /// Median.
    pub p50: f64,
    /// 95 % are not above.
    pub p95: f64,
    /// 99 % are not above.
    pub p99: f64,
}
