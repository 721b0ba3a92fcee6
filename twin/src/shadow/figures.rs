//! What ours and theirs would be judged by, over replicates: means with confidence intervals, and the paired difference.
//!
//! Only what was seen counts: of a region × class whose demand or whose machines production did not show, neither the
//! minutes nor the machines of that time go into the sums, on neither side.

use std::collections::BTreeMap;

use forebay_sim::CellTally;
use forebay_sim::statistics::Interval;
use forebay_world::{Duration, Timestamp, Topology};
use serde::Serialize;

use super::twins::Twins;
use crate::production::Production;

/// Confidence of every interval.
const CONFIDENCE: f64 = 0.95;
/// Objectives are judged by the minute: what was not seen spoils the minute it is in.
const JUDGED_OVER: Duration = Duration::from_mins(1);

/// Sums of one twin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Minutes in which a client region × class missed its objective.
    pub slo_violation_minutes: f64,
    /// Hours of machines.
    pub vm_hours: f64,
    /// Hours of ready machines beyond those that the sessions under way needed.
    pub over_provisioned_vm_hours: f64,
    /// Price of the machines \[currency unit\].
    pub capacity_cost: f64,
    /// Price of the machines and of the violated minutes \[currency unit\].
    pub cost: f64,
}

/// A figure, by name.
pub type Metric = (&'static str, fn(&Sums) -> f64);

/// The figures, in the order in which they are told.
pub const METRICS: [Metric; 5] = [
    ("slo_violation_minutes", |sums| sums.slo_violation_minutes),
    ("vm_hours", |sums| sums.vm_hours),
    ("over_provisioned_vm_hours", |sums| sums.over_provisioned_vm_hours),
    ("capacity_cost", |sums| sums.capacity_cost),
    ("cost", |sums| sums.cost),
];

/// Ours and theirs of each replicate, counted on.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Whether production's machines can be seen at all; where they cannot, ours alone is judged.
    is_paired: bool,
    /// Tallies at the last tick, by replicate.
    last: Vec<(Vec<CellTally>, Vec<CellTally>)>,
    sums: Vec<(Sums, Sums)>,
    /// When each cell was last not seen.
    dark_at: Vec<Option<Timestamp>>,
    /// Time of which nothing was seen, by cell \[minutes\].
    unknown_minutes: Vec<f64>,
    /// Time counted, by cell \[minutes\].
    known_minutes: Vec<f64>,
}

/// One figure of both twins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Of the twin in which our plans are carried out.
    pub ours: Estimate,
    /// Of the twin with production's machines; absent where nobody can be asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theirs: Option<Estimate>,
    /// Ours less theirs, replicate by replicate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Estimate>,
}

/// A mean over replicates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half width of its 95 % confidence interval (Student's t); absent for fewer than two replicates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<f64>,
}

impl Ledger {
    /// Nothing counted yet.
    pub fn new(production: &Production, replicates: usize) -> Ledger {
        let cells = production.topology.cells();
        let none = vec![CellTally::default(); cells];
        Ledger {
            is_paired: !production.hypervisors.is_empty(),
            last: vec![(none.clone(), none); replicates],
            sums: vec![(Sums::default(), Sums::default()); replicates],
            dark_at: vec![None; cells],
            unknown_minutes: vec![0.0; cells],
            known_minutes: vec![0.0; cells],
        }
    }

    /// Takes in a window that ended at `at`; `known` says of each cell whether its demand and its machines were seen in it.
    pub fn take(&mut self, topology: &Topology, twins: &Twins, at: Timestamp, window: Duration, known: &[bool]) {
        let minutes = window.as_secs_f64() / 60.0;
        let mut judged = Vec::with_capacity(known.len());
        for (cell, known) in known.iter().enumerate() {
            *(if *known { &mut self.known_minutes } else { &mut self.unknown_minutes })
                .get_mut(cell)
                .expect("dense") += minutes;
            if !known {
                self.dark_at[cell] = Some(at);
            }
            judged.push(self.dark_at[cell].is_none_or(|dark| at.since(dark) >= JUDGED_OVER));
        }
        for (pair, (last, sums)) in twins.replicates().iter().zip(self.last.iter_mut().zip(&mut self.sums)) {
            let now = pair.tallies();
            for cell in 0..known.len() {
                let price = topology.class(topology.cell_at(cell).1).violation_price_per_minute;
                let add = |sums: &mut Sums, now: &CellTally, last: &CellTally| {
                    if judged[cell] {
                        let minutes = now.slo_violation_minutes - last.slo_violation_minutes;
                        sums.slo_violation_minutes += minutes;
                        sums.cost += minutes * price;
                        sums.over_provisioned_vm_hours +=
                            now.over_provisioned_vm_hours - last.over_provisioned_vm_hours;
                    }
                    if known[cell] {
                        sums.vm_hours += now.vm_hours - last.vm_hours;
                        sums.capacity_cost += now.capacity_cost - last.capacity_cost;
                        sums.cost += now.capacity_cost - last.capacity_cost;
                    }
                };
                add(&mut sums.0, &now.0[cell], &last.0[cell]);
                add(&mut sums.1, &now.1[cell], &last.1[cell]);
            }
            *last = now;
        }
    }

    /// Whether production's machines can be seen at all.
    pub fn is_paired(&self) -> bool {
        self.is_paired
    }

    /// What they come to since sums were `before`.
    pub fn figures(&self, before: Option<&[(Sums, Sums)]>) -> BTreeMap<&'static str, Figure> {
        let none = vec![<(Sums, Sums)>::default(); self.sums.len()];
        let before = before.unwrap_or(&none);
        METRICS.iter().map(|metric| (metric.0, figure(metric, &self.sums, before, self.is_paired))).collect()
    }

    /// Sums of each replicate, ours and theirs.
    pub fn sums(&self) -> &[(Sums, Sums)] {
        &self.sums
    }

    /// Time seen and time not seen of each cell \[minutes\].
    pub fn minutes(&self) -> (&[f64], &[f64]) {
        (&self.known_minutes, &self.unknown_minutes)
    }
}

/// A figure of all replicates since they were at `before`.
fn figure(metric: &Metric, now: &[(Sums, Sums)], before: &[(Sums, Sums)], is_paired: bool) -> Figure {
    let of = metric.1;
    let pairs = now.iter().zip(before);
    let (ours, theirs): (Vec<f64>, Vec<f64>) =
        pairs.map(|(now, before)| (of(&now.0) - of(&before.0), of(&now.1) - of(&before.1))).unzip();
    let differences: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs).collect();
    let paired = |values: &[f64]| is_paired.then(|| estimate(values));
    Figure { ours: estimate(&ours), theirs: paired(&theirs), difference: paired(&differences) }
}

fn estimate(values: &[f64]) -> Estimate {
    Estimate {
        mean: values.iter().sum::<f64>() / values.len().max(1) as f64,
        ci95: Interval::of_replications(values, CONFIDENCE).map(|interval| interval.half_width),
    }
}
