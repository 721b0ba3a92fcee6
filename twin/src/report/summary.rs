//! The figures a run is judged by, under the names that every output uses.

use forebay_sim::{LatencyMs, Score};
use serde::{Deserialize, Serialize};

use super::table::{Align, Table};

/// The figures of one run, in the order in which they are printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Scenario by name.
    pub scenario: String,
    /// Policy by name.
    pub policy: String,
    /// Seed of the world.
    pub seed: u64,
    /// Simulated time \[s\].
    pub simulated_seconds: f64,
    /// Time it took \[s\]; absent where the same run must leave the same bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_seconds: Option<f64>,
    /// Events that the world processed.
    pub events: u64,
    /// Sessions that began.
    pub sessions: u64,
    /// Sessions turned away or cut off.
    pub sessions_rejected: u64,
    /// Queries that reached the authoritative servers.
    pub dns_queries: u64,
    /// Minutes in which a client region × class missed its objective.
    pub slo_violation_minutes: f64,
    /// Minutes in which a slice got less than its guarantee.
    pub guarantee_violation_minutes: f64,
    /// Hours of virtual machines.
    pub vm_hours: f64,
    /// Hours of ready virtual machines beyond need.
    pub over_provisioned_vm_hours: f64,
    /// Price of the machines.
    pub capacity_cost: f64,
    /// Price of the machines and of the violated minutes: the objective.
    pub cost: f64,
    /// Launches and destructions.
    pub churn: u64,
    /// Latency of requests and starts \[ms\].
    pub latency_ms: LatencyMs,
    /// Whether the run came to its end.
    pub complete: bool,
}

/// The name of a figure, and where it is found.
pub type Metric = (&'static str, fn(&Summary) -> f64);

/// Figures that a comparison takes means of.
pub const METRICS: &[Metric] = &[
    ("sessions", |run| run.sessions as f64),
    ("sessions_rejected", |run| run.sessions_rejected as f64),
    ("dns_queries", |run| run.dns_queries as f64),
    ("slo_violation_minutes", |run| run.slo_violation_minutes),
    ("guarantee_violation_minutes", |run| run.guarantee_violation_minutes),
    ("vm_hours", |run| run.vm_hours),
    ("over_provisioned_vm_hours", |run| run.over_provisioned_vm_hours),
    ("capacity_cost", |run| run.capacity_cost),
    ("cost", |run| run.cost),
    ("churn", |run| run.churn as f64),
    ("latency_p50_ms", |run| run.latency_ms.p50),
    ("latency_p95_ms", |run| run.latency_ms.p95),
    ("latency_p99_ms", |run| run.latency_ms.p99),
    ("events", |run| run.events as f64),
];

impl Summary {
    /// The figures of a run that was scored `score`.
    pub fn new(scenario: &str, policy: &str, seed: u64, simulated_seconds: f64, events: u64, score: &Score) -> Self {
        Summary {
            scenario: scenario.to_owned(),
            policy: policy.to_owned(),
            seed,
            simulated_seconds,
            wall_seconds: None,
            events,
            sessions: score.sessions,
            sessions_rejected: score.sessions_rejected,
            dns_queries: score.dns_queries,
            slo_violation_minutes: score.slo_violation_minutes,
            guarantee_violation_minutes: score.guarantee_violation_minutes,
            vm_hours: score.vm_hours,
            over_provisioned_vm_hours: score.over_provisioned_vm_hours,
            capacity_cost: score.capacity_cost,
            cost: score.cost,
            churn: score.churn,
            latency_ms: score.latency_ms,
            complete: true,
        }
    }

    /// For people.
    pub fn table(&self) -> String {
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
        let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
        let mut row = |name: &str, value: String, note: String| table.row([name.to_owned(), value, note]);
        row("sessions", grouped(self.sessions), String::new());
        row(
            "rejected",
            grouped(self.sessions_rejected),
            format!("{:.3} % of sessions", share(self.sessions_rejected, self.sessions)),
        );
        row("DNS queries", grouped(self.dns_queries), "that reached the authoritative servers".to_owned());
        row("SLO violations", format!("{:.0} min", self.slo_violation_minutes), "region × class minutes".to_owned());
        row("guarantee violations", format!("{:.1} min", self.guarantee_violation_minutes), "slice minutes".to_owned());
        row("VM-hours", format!("{:.1} h", self.vm_hours), String::new());
        row(
            "over-provisioned",
            format!("{:.1} h", self.over_provisioned_vm_hours),
            format!("{:.0} % of VM-hours", 100.0 * self.over_provisioned_vm_hours / self.vm_hours.max(1e-9)),
        );
        row("capacity cost", format!("{:.2}", self.capacity_cost), String::new());
        row("cost", format!("{:.2}", self.cost), "capacity and violations: the objective".to_owned());
        row("churn", grouped(self.churn), "launches and destructions".to_owned());
        let LatencyMs { p50, p95, p99 } = self.latency_ms;
        row("latency", format!("{p50:.0} ms"), format!("p95 {p95:.0} ms, p99 {p99:.0} ms"));
        table.to_string()
    }
}

/// A count with its thousands apart: 1,234,567.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }
}
