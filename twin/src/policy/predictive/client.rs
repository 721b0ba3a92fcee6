//! One client region × class: how its sessions will begin, and how many will be under way.
//!
//! What is forecast is the rate at which sessions begin: that is what DNS tells, what history holds, and what leads.
//! How many are under way follows from those that are and from the rate (M/G/∞ with exponential lengths, dN/dt = λ − N/D),
//! future by future; their own chance comes on top.

use forebay_world::{Demand, Duration, Timestamp};

use crate::forecast::chance::Chance;
use crate::forecast::futures::Sampler;
use crate::forecast::grid::Grid;
use crate::forecast::normal_quantile;
use crate::forecast::online::{Recurrence, recurrence};
use crate::forecast::paths::Paths;

/// A surprise is what a share of futures as large as this did not exceed.
const SURPRISE: f64 = 0.99;
/// A surge is not carried beyond this many times what there is.
const SURGE_MOST: f64 = 3.0;
/// Standard errors of a count (Poisson) by which it must exceed that.
const SURPRISE_ERRORS: f64 = 2.0;

/// What is known of one client cell.
#[derive(Clone)]
pub(super) struct Client {
    grid: Grid,
    /// Steps ahead that are forecast.
    horizon: usize,
    sampler: Sampler,
    /// What is usual at any moment: for what is announced hours ahead.
    usual: Box<dyn Recurrence>,
    /// Step being gathered: sessions that began, and seconds seen.
    gathered: (f64, f64),
    /// Its place in the grid.
    step: usize,
    /// Rate of the step before \[1/s\].
    before: Option<f64>,
    /// What is expected from the step under way on; none before anything was seen.
    outlook: Option<Outlook>,
    /// Standard normal deviate of each future.
    deviates: Vec<f64>,
    /// Mean length of a session \[s\].
    mean_seconds: f64,
}

/// What is expected of the rate.
#[derive(Clone)]
struct Outlook {
    rates: Paths,
    medians: Vec<f64>,
    /// What the rate of the step under way only exceeds by surprise.
    bound: f64,
    by: &'static str,
    instead: Option<String>,
}

impl Client {
    /// Follows a series on `grid` from its step `first` on with what `sampler` has learned.
    pub(super) fn new(grid: Grid, sampler: Sampler, horizon: usize, mean_seconds: f64, cell: usize) -> Self {
        Client {
            grid,
            horizon,
            sampler,
            usual: recurrence("profile").expect("there is a profile"),
            gathered: (0.0, 0.0),
            step: 0,
            before: None,
            outlook: None,
            deviates: deviates(cell),
            mean_seconds,
        }
    }

    /// Takes in the whole steps of a past, oldest first.
    pub(super) fn recall(&mut self, rates: &[f64]) {
        for rate in rates {
            self.close(Some(*rate));
        }
        self.look();
    }

    /// Takes in the window that ended at `at`.
    pub(super) fn take(&mut self, at: Timestamp, window: Duration, demand: Option<&Demand>) {
        let middle = at.saturating_sub(Duration::from_nanos(window.as_nanos() / 2));
        let index = self.grid.index(middle);
        if index < self.step {
            return;
        }
        // What was never seen cannot be asked for for ever: after a week of nothing the rest is skipped.
        let skipped = (index - self.step).saturating_sub(self.grid.week());
        let closed = self.step < index;
        while self.step < index - skipped {
            self.close_gathered();
        }
        self.step = index;
        if let Some(demand) = demand {
            self.gathered.0 += (demand.arrivals + demand.rejected) as f64;
            self.gathered.1 += window.as_secs_f64();
        }
        let whole = at >= self.grid.at(index + 1);
        if whole {
            self.close_gathered();
        }
        if closed || whole {
            self.look();
        }
    }

    fn close_gathered(&mut self) {
        let (began, seconds) = std::mem::take(&mut self.gathered);
        self.close((seconds > 0.0).then(|| began / seconds));
    }

    /// Ends the step under way.
    fn close(&mut self, rate: Option<f64>) {
        self.sampler.observe(rate);
        self.usual.observe(self.grid.at(self.step + 1), rate);
        self.before = rate.or(self.before);
        self.step += 1;
    }

    /// Looks ahead from the step under way.
    fn look(&mut self) {
        let Ok((outlook, rates)) = self.sampler.forecast(self.horizon) else { return };
        let medians = (0..rates.steps()).map(|step| outlook.quantiles.median(step)).collect();
        let bound = rates.at(0).quantile(SURPRISE);
        self.outlook = Some(Outlook { rates, medians, bound, by: outlook.by, instead: outlook.instead });
    }

    /// The step under way: the first of [`Client::sessions`].
    pub(super) fn first(&self) -> usize {
        self.step
    }

    /// Who says what comes, and instead of whom.
    pub(super) fn by(&self) -> Option<(&'static str, Option<&str>)> {
        self.outlook.as_ref().map(|outlook| (outlook.by, outlook.instead.as_deref()))
    }

    /// What is usually under way at a moment to come.
    pub(super) fn usual(&self, at: Timestamp) -> Option<f64> {
        self.usual.expect(at).map(|rate| rate * self.mean_seconds)
    }

    /// The most sessions under way in each step from the one under way on, in each future; `under_way` is what there is at
    /// `at`, and when that is unknown, what the rate would bring. `None` before anything was seen.
    pub(super) fn sessions(&self, at: Timestamp, under_way: Option<f64>) -> Option<Paths> {
        let outlook = self.outlook.as_ref()?;
        let lift = self.surge(outlook);
        let (mean, step) = (self.mean_seconds, self.grid.step().as_secs_f64());
        let left = self.grid.at(self.step + 1).since(at).as_secs_f64();
        let gone = |seconds: f64| -(-seconds / mean).exp_m1();
        let (first_gone, whole_gone) = (gone(left), gone(step));
        let under_way = under_way.unwrap_or(outlook.medians[0] * mean).max(0.0);
        let steps = outlook.rates.steps();
        let mut values = Vec::with_capacity(outlook.rates.count() * steps);
        for (rates, deviate) in outlook.rates.iter().zip(&self.deviates) {
            let (mut sessions, mut stay) = (under_way, 1.0);
            for (ahead, rate) in rates.iter().enumerate() {
                let gone = if ahead == 0 { first_gone } else { whole_gone };
                let begin = sessions;
                sessions += (rate * lift[ahead] * mean - sessions) * gone;
                stay *= 1.0 - gone;
                // Those of now that stay are binomial, those that come are Poisson.
                let variance = under_way * stay * (1.0 - stay) + (sessions - under_way * stay).max(0.0);
                values.push((sessions.max(begin) + deviate * variance.sqrt()).max(0.0));
            }
        }
        Some(Paths::new(steps, values))
    }

    /// Factors on the rates of coming steps: where more has begun in the step under way, or in the last, than any error of
    /// the past explains, a crowd is on its way, and its growth is taken to go on.
    fn surge(&self, outlook: &Outlook) -> Vec<f64> {
        let none = vec![1.0; outlook.medians.len()];
        let (began, seconds) = self.gathered;
        let (Some(before), true) = (self.before, seconds > 0.0) else { return none };
        let (rate, error) = (began / seconds, began.sqrt() / seconds);
        if rate - SURPRISE_ERRORS * error <= outlook.bound.max(before) {
            return none;
        }
        let growth = rate - before;
        let floor = |ahead: usize| (rate + growth * ahead as f64).min(SURGE_MOST * rate);
        let factor = |(ahead, median): (usize, &f64)| (floor(ahead) / median.max(1e-9)).max(1.0);
        outlook.medians.iter().enumerate().map(factor).collect()
    }
}

/// Evenly spread standard normal deviates in an order of the cell's own.
fn deviates(cell: usize) -> Vec<f64> {
    let n = crate::forecast::futures::PATHS;
    let mut deviates: Vec<f64> = (0..n).map(|nth| normal_quantile((nth as f64 + 0.5) / n as f64)).collect();
    let mut chance = Chance::new(cell as u64, "sessions of a client cell");
    for nth in (1..n).rev() {
        deviates.swap(nth, chance.below(nth + 1));
    }
    deviates
}
