//! What a run is judged by: work done for clients, minute by minute, against the objective of its class.

use forebay_world::units::nearest;
use forebay_world::{Duration, LatencySeen, Occurrence, Timestamp, Topology, What, Work};
use serde::{Deserialize, Serialize};

use crate::fleet::Bill;
use crate::statistics::QuantileSketch;

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
    /// Price of those hours \[currency unit\].
    pub capacity_cost: f64,
    /// Price of the violated minutes \[currency unit\].
    pub violation_cost: f64,
    /// What the operator pays in all: the objective \[currency unit\].
    pub cost: f64,
    /// Launches and destructions.
    pub churn: u64,
    /// Latency over all requests and starts \[ms\].
    pub latency_ms: LatencyMs,
}

/// Quantiles of a latency \[ms\].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyMs {
    /// Median.
    pub p50: f64,
    /// 95 % are not above.
    pub p95: f64,
    /// 99 % are not above.
    pub p99: f64,
}

/// What was done for one client cell in some span of time. Counts are expectations under fluid load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Done {
    /// Sessions that began.
    pub(crate) starts: f64,
    /// Of those, the ones that began later than the objective allows.
    pub(crate) late: f64,
    /// Sessions turned away.
    pub(crate) rejected: f64,
    /// Sessions cut off by a failure.
    pub(crate) lost: f64,
    /// Session time \[s\].
    pub(crate) seconds: f64,
    /// Session time below the floor of its rate \[s\].
    pub(crate) short_seconds: f64,
    /// Requests answered.
    pub(crate) requests: f64,
    /// Of those, the ones answered later than the objective allows, or over a link that was short.
    pub(crate) late_requests: f64,
    /// Delivered \[bit\].
    pub(crate) bits: f64,
    /// Processor time used \[core s\].
    pub(crate) cpu_seconds: f64,
}

impl Done {
    fn add(&mut self, other: &Done) {
        self.starts += other.starts;
        self.late += other.late;
        self.rejected += other.rejected;
        self.lost += other.lost;
        self.seconds += other.seconds;
        self.short_seconds += other.short_seconds;
        self.requests += other.requests;
        self.late_requests += other.late_requests;
        self.bits += other.bits;
        self.cpu_seconds += other.cpu_seconds;
    }

    /// Share of the work that missed the objective in a span of `seconds`: the worst of starts (late or rejected), of
    /// sessions under way (cut off), and of what the class does with its sessions (time below the rate, or late
    /// requests). Zero when nothing was asked for.
    pub(crate) fn bad_share(&self, work: &Work, seconds: f64) -> f64 {
        // Mostly nothing is bad: then there is nothing to divide.
        let share = |bad: f64, all: f64| if bad > 0.0 && all > 0.0 { (bad / all).min(1.0) } else { 0.0 };
        let starts = share(self.late + self.rejected, self.starts + self.rejected);
        let cut_off = if self.lost > 0.0 { share(self.lost, self.seconds / seconds + self.lost) } else { 0.0 };
        let held = match work {
            Work::Interactive { .. } => share(self.late_requests, self.requests),
            Work::Streaming { .. } | Work::Download { .. } => share(self.short_seconds, self.seconds),
        };
        starts.max(cut_off).max(held)
    }
}

/// Keeps what was done by client cell for the running minute and the running window, and the score.
#[derive(Clone, Debug)]
pub(crate) struct Scorer {
    /// Since the last flush.
    pub(crate) now: Vec<Done>,
    /// In the running minute before that, when a window was closed within it.
    minute: Vec<Done>,
    within_minute: bool,
    window: Vec<Done>,
    /// Violated minutes in a row.
    run_of_violations: Vec<u32>,
    /// Latencies of the running window, by cell \[s\].
    pub(crate) latency: Vec<QuantileSketch>,
    latency_total: QuantileSketch,
    starts: f64,
    rejected: f64,
    /// Hours of ready machines beyond need, by serving cell.
    idle_hours: Vec<f64>,
    score: Score,
    /// What machines had cost when the score began to count.
    bill_before: Bill,
    score_from: Timestamp,
}

impl Scorer {
    pub(crate) fn new(cells: usize, score_from: Timestamp) -> Self {
        Scorer {
            now: vec![Done::default(); cells],
            minute: vec![Done::default(); cells],
            within_minute: false,
            window: vec![Done::default(); cells],
            run_of_violations: vec![0; cells],
            latency: vec![QuantileSketch::new(); cells],
            latency_total: QuantileSketch::new(),
            starts: 0.0,
            rejected: 0.0,
            idle_hours: vec![0.0; cells],
            score: Score { slo_violation_minutes_by_cell: vec![0.0; cells], ..Score::default() },
            bill_before: Bill::default(),
            score_from,
        }
    }

    fn counts(&self, now: Timestamp) -> bool {
        now > self.score_from
    }

    fn flush(&mut self, at: Timestamp) {
        self.within_minute = true;
        for cell in 0..self.now.len() {
            let now = self.take_now(at, cell);
            self.minute[cell].add(&now);
        }
    }

    /// What was done in a cell since the last flush, counted for all but the minute.
    #[inline]
    fn take_now(&mut self, at: Timestamp, cell: usize) -> Done {
        let now = std::mem::take(&mut self.now[cell]);
        self.window[cell].add(&now);
        if self.counts(at) {
            self.starts += now.starts;
            self.rejected += now.rejected + now.lost;
        }
        now
    }

    /// Judges the minute that ends at `at`. `standing` gives, for each serving cell, ready machines, sessions under
    /// way and sessions that a machine has places for.
    pub(crate) fn close_minute(
        &mut self,
        at: Timestamp,
        topology: &Topology,
        bill: Bill,
        standing: impl Iterator<Item = (f64, f64, f64)>,
        starved_seconds: f64,
        occurrences: &mut Vec<Occurrence>,
    ) {
        let counts = self.counts(at);
        if !counts {
            self.bill_before = bill;
        }
        let within_minute = std::mem::take(&mut self.within_minute);
        for (cell, (region, class)) in topology.cell_ids().enumerate() {
            let mut done = self.take_now(at, cell);
            if within_minute {
                done.add(&std::mem::take(&mut self.minute[cell]));
            }
            let objective = topology.class(class);
            let bad_share = done.bad_share(&objective.work, MINUTE.as_secs_f64());
            let run = &mut self.run_of_violations[cell];
            if bad_share > objective.slo.tolerance {
                if *run == 0 {
                    occurrences.push(Occurrence { at, what: What::SloViolated { region, class, bad_share } });
                }
                *run += 1;
                if counts {
                    self.score.slo_violation_minutes += 1.0;
                    self.score.slo_violation_minutes_by_cell[cell] += 1.0;
                    self.score.violation_cost += objective.violation_price_per_minute;
                }
            } else if *run > 0 {
                occurrences.push(Occurrence { at, what: What::SloMet { region, class, minutes: *run } });
                *run = 0;
            }
        }
        if counts {
            let mut idle = 0.0;
            for (hours, (ready, sessions, places)) in self.idle_hours.iter_mut().zip(standing) {
                let here = (ready - ceiling(sessions / places)).max(0.0);
                *hours += here / 60.0;
                idle += here;
            }
            self.score.over_provisioned_vm_hours += idle / 60.0;
            self.score.guarantee_violation_minutes += starved_seconds / 60.0;
        }
    }

    /// Closes the observer's window at `at`: what was done in it, by client cell.
    pub(crate) fn close_window(&mut self, at: Timestamp) -> Vec<Done> {
        self.flush(at);
        if self.counts(at) {
            for sketch in self.latency.iter().filter(|sketch| sketch.count() > 0) {
                self.latency_total.merge(sketch);
            }
        }
        let cells = self.window.len();
        std::mem::replace(&mut self.window, vec![Done::default(); cells])
    }

    /// Quantiles of the latencies of the window that has been closed, by cell; a new window begins.
    pub(crate) fn latencies(&mut self) -> Vec<Option<LatencySeen>> {
        let seen = |sketch: &mut QuantileSketch| {
            let quantile = |share| sketch.quantile(share).map(Duration::from_secs_f64_saturating);
            let seen = quantile(0.5).zip(quantile(0.95)).zip(quantile(0.99));
            sketch.clear();
            seen.map(|((p50, p95), p99)| LatencySeen { p50, p95, p99 })
        };
        self.latency.iter_mut().map(seen).collect()
    }

    /// Takes latencies into the score that no session at hand stands for: `times` of `seconds`.
    pub(crate) fn count_latency(&mut self, at: Timestamp, seconds: f64, times: u64) {
        if self.counts(at) {
            self.latency_total.insert_many(seconds, times);
        }
    }

    /// Takes DNS queries into the score.
    pub(crate) fn count_queries(&mut self, at: Timestamp, queries: u64) {
        if self.counts(at) {
            self.score.dns_queries += queries;
        }
    }

    /// Minutes in which each client cell missed its objective, and hours of ready machines beyond need of each serving
    /// cell.
    pub(crate) fn by_cell(&self) -> (&[f64], &[f64]) {
        (&self.score.slo_violation_minutes_by_cell, &self.idle_hours)
    }

    /// The score until now, given what machines have cost since the run began.
    pub(crate) fn score(&self, bill: Bill) -> Score {
        let mut score = self.score.clone();
        score.sessions = nearest(self.starts);
        score.sessions_rejected = nearest(self.rejected);
        score.vm_hours = bill.vm_hours - self.bill_before.vm_hours;
        score.capacity_cost = bill.cost - self.bill_before.cost;
        score.churn = bill.churn - self.bill_before.churn;
        score.cost = score.capacity_cost + score.violation_cost;
        let mut total = self.latency_total.clone();
        for sketch in &self.latency {
            total.merge(sketch);
        }
        let quantile = |share| total.quantile(share).unwrap_or(0.0) * 1000.0;
        score.latency_ms = LatencyMs { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) };
        score
    }
}

/// The least whole number not below one that is not negative, as [`f64::ceil`] has it but without a call.
fn ceiling(value: f64) -> f64 {
    let whole = value as u64 as f64;
    if value > whole { whole + 1.0 } else { whole }
}

/// How long the objective is judged over at a time. A last, partial minute of a run is not judged.
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
