//! A smooth daily and weekly profile, corrected to the present level and its present drift.
//!
//! The logarithm of the series is regressed on sines and cosines of the day and the week, by recursive least squares
//! with forgetting and a ridge that keeps harmonics small until data speak for them. What is expected is the present
//! level times the ratio of the profile then to the profile now, times a drift: the slope of the last minutes beyond
//! the profile, shrunk by its standard error so that noise moves nothing.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use forebay_world::{Duration, Timestamp};
use nalgebra::{SMatrix, SVector};

use super::Recurrence;

const SLOT: Duration = Duration::from_mins(5);
const SLOTS_A_DAY: usize = 288;
const SLOTS_A_WEEK: usize = 7 * SLOTS_A_DAY;
const DAILY: usize = 6;
const WEEKLY: usize = 3;
const TERMS: usize = 1 + 2 * (DAILY + WEEKLY);
/// Slots that the profile is laid out for, from the present one: those that are asked for most.
const AHEAD: usize = 37;
/// Slots seen before the profile is believed: most of a day.
const MATURE: u64 = 250;
/// Slots between two solutions of the normal equations.
const SOLVE_EVERY: u64 = 12;
/// A value is believed to be at most this far from the profile [ln]: a crowd must not bend it.
const SURPRISE: f64 = 1.0;
/// Time constant of the drift's memory \[s\].
const DRIFT_SECONDS: f64 = 300.0;
/// A drift is not carried further than this \[s\], nor beyond this factor [ln].
const DRIFT_REACH: f64 = 1200.0;
const DRIFT_MOST: f64 = 1.1;

/// The regressors of each slot of the week.
static BASIS: LazyLock<Vec<SVector<f64, TERMS>>> = LazyLock::new(|| {
    (0..SLOTS_A_WEEK)
        .map(|slot| {
            let mut terms = SVector::zeros();
            terms[0] = 1.0;
            let waves = (1..=DAILY).map(|k| (k, SLOTS_A_DAY)).chain((1..=WEEKLY).map(|k| (k, SLOTS_A_WEEK)));
            for (i, (k, period)) in waves.enumerate() {
                let angle = TAU * k as f64 * slot as f64 / period as f64;
                (terms[1 + 2 * i], terms[2 + 2 * i]) = angle.sin_cos();
            }
            terms
        })
        .collect()
});

/// The ridge: a prior that harmonics are small, the higher the smaller, and weekly ones smaller still.
fn ridge(term: usize) -> f64 {
    match term.div_ceil(2) {
        0 => 1e-3,
        k if k <= DAILY => 0.5 * (k * k) as f64,
        k => 10.0 * ((k - DAILY) * (k - DAILY)) as f64,
    }
}

#[derive(Clone)]
pub(super) struct Profile {
    /// Normal equations, forgetting.
    squares: Box<SMatrix<f64, TERMS, TERMS>>,
    products: SVector<f64, TERMS>,
    coefficients: SVector<f64, TERMS>,
    slots_seen: u64,
    /// Slot being filled, sum and count.
    filling: Option<(u64, f64, u32)>,
    /// First slot of the laid-out profile, and the profile [ln].
    ahead: (u64, [f64; AHEAD]),
    drift: Drift,
    /// End of the last window with a value, and the value [ln].
    last: Option<(Timestamp, f64)>,
}

impl Default for Profile {
    fn default() -> Self {
        Profile {
            squares: Box::new(SMatrix::zeros()),
            products: SVector::zeros(),
            coefficients: SVector::zeros(),
            slots_seen: 0,
            filling: None,
            ahead: (0, [0.0; AHEAD]),
            drift: Drift::default(),
            last: None,
        }
    }
}

impl Recurrence for Profile {
    fn observe(&mut self, at: Timestamp, value: Option<f64>) {
        let slot = at.as_nanos() / SLOT.as_nanos();
        if let Some((filling, sum, count)) = self.filling
            && filling != slot
        {
            self.learn(filling, (sum / f64::from(count)).ln_1p());
            self.filling = None;
        }
        if self.ahead.0 != slot {
            self.lay_out(slot);
        }
        let Some(value) = value else { return };
        let value = value.max(0.0);
        let (_, sum, count) = self.filling.get_or_insert((slot, 0.0, 0));
        *sum += value;
        *count += 1;
        let level = value.ln_1p();
        let passed = self.last.map_or(0.0, |(before, _)| at.since(before).as_secs_f64());
        self.drift.follow(passed, level - self.profile_at(at));
        self.last = Some((at, level));
    }

    fn expect(&self, at: Timestamp) -> Option<f64> {
        let (since, level) = self.last?;
        let season = self.profile_at(at) - self.profile_at(since);
        let drift = self.drift.slope() * at.since(since).as_secs_f64().min(DRIFT_REACH);
        Some((level + season + drift.clamp(-DRIFT_MOST, DRIFT_MOST)).exp_m1().max(0.0))
    }

    fn clone_box(&self) -> Box<dyn Recurrence> {
        Box::new(self.clone())
    }
}

impl Profile {
    /// Takes the mean of a whole slot into the regression.
    fn learn(&mut self, slot: u64, level: f64) {
        let terms = &BASIS[(slot % SLOTS_A_WEEK as u64) as usize];
        let level = if self.slots_seen >= MATURE {
            let fitted = self.coefficients.dot(terms);
            level.clamp(fitted - SURPRISE, fitted + SURPRISE)
        } else {
            level
        };
        // Half of what was learned is forgotten in a week.
        let keep = 0.5_f64.powf(1.0 / SLOTS_A_WEEK as f64);
        *self.squares *= keep;
        self.squares.ger(1.0, terms, terms, 1.0);
        self.products = self.products * keep + terms * level;
        self.slots_seen += 1;
        if self.slots_seen >= MATURE && (self.slots_seen - MATURE).is_multiple_of(SOLVE_EVERY) {
            self.solve();
        }
    }

    fn solve(&mut self) {
        let mut squares = (*self.squares).clone_owned();
        for term in 0..TERMS {
            squares[(term, term)] += ridge(term);
        }
        // The ridge makes the matrix positive definite; were rounding to spoil that, the old coefficients stand.
        if let Some(cholesky) = squares.cholesky() {
            self.coefficients = cholesky.solve(&self.products);
        }
        self.ahead.0 = u64::MAX;
    }

    fn lay_out(&mut self, slot: u64) {
        self.ahead.0 = slot;
        if self.slots_seen < MATURE {
            return;
        }
        self.ahead.1 = std::array::from_fn(|i| self.of_slot((slot + i as u64).saturating_sub(1)));
    }

    /// The profile [ln], linear between the middles of slots.
    fn profile_at(&self, at: Timestamp) -> f64 {
        // The layout begins one slot before the present one, so that its first half has a left neighbour.
        let position = (at.as_nanos() as f64 / SLOT.as_nanos() as f64 + 0.5 - self.ahead.0 as f64).max(0.0);
        let (slot, share) = (position as usize, position.fract());
        self.slot_ahead(slot) * (1.0 - share) + self.slot_ahead(slot + 1) * share
    }

    /// The profile of a slot of the layout, or of one beyond it.
    fn slot_ahead(&self, slot: usize) -> f64 {
        match self.ahead.1.get(slot) {
            Some(value) => *value,
            None if self.slots_seen < MATURE => 0.0,
            None => self.of_slot((self.ahead.0 + slot as u64).saturating_sub(1)),
        }
    }

    /// The profile of a slot since the epoch.
    fn of_slot(&self, slot: u64) -> f64 {
        self.coefficients.dot(&BASIS[(slot % SLOTS_A_WEEK as u64) as usize])
    }
}

/// The slope of a series over its last minutes: exponentially weighted least squares, times counted back from now.
#[derive(Clone, Copy, Default)]
struct Drift {
    weight: f64,
    time: f64,
    time_time: f64,
    value: f64,
    time_value: f64,
    value_value: f64,
}

impl Drift {
    fn follow(&mut self, passed: f64, value: f64) {
        let keep = (-passed / DRIFT_SECONDS).exp();
        self.time_time = keep * (self.time_time - 2.0 * passed * self.time + passed * passed * self.weight);
        self.time = keep * (self.time - passed * self.weight);
        self.time_value = keep * (self.time_value - passed * self.value);
        self.weight = keep * self.weight + 1.0;
        self.value = keep * self.value + value;
        self.value_value = keep * self.value_value + value * value;
    }

    /// The slope \[1/s\] less its standard error, towards zero.
    fn slope(&self) -> f64 {
        let spread = self.weight * self.time_time - self.time * self.time;
        if self.weight < 3.0 || spread <= 1e-9 {
            return 0.0;
        }
        let slope = (self.weight * self.time_value - self.time * self.value) / spread;
        let variance = (self.value_value - self.value * self.value / self.weight) / self.weight;
        let explained = slope * slope * spread / (self.weight * self.weight);
        let left = (variance - explained).max(0.0) * self.weight / (self.weight - 2.0);
        let error = (left * self.weight / spread).sqrt();
        slope.signum() * (slope.abs() - error).max(0.0)
    }
}
