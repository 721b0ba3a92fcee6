//! How far off a forecaster has been: an empirical distribution of its standardised errors, slowly forgetting.
//!
//! An error is divided by the spread that a count of that size has anyway (Poisson) together with a tenth of it
//! (models are wrong in proportion), so that nights and days share one distribution. A weak normal prior stands in
//! until errors have been seen.

use crate::forecast::normal_quantile;

/// Standardised errors that are told apart, and the width of a bin.
const LOWEST: f64 = -6.0;
const WIDTH: f64 = 0.1;
const BINS: usize = 200;
/// Errors that the prior counts for, and its standard deviation.
const PRIOR: f64 = 30.0;
const PRIOR_SIGMA: f64 = 1.2;
/// Errors after which half is forgotten: three days of minutes.
const HALF_LIFE: f64 = 3.0 * 1440.0;
/// Errors taken in between two looks at the distribution.
const REFRESH: u32 = 5;

/// The distribution.
#[derive(Clone, Debug)]
pub(super) struct Residuals {
    bins: Box<[f32; BINS]>,
    /// Share of errors up to the end of each bin.
    cumulative: Box<[f32; BINS]>,
    total: f64,
    /// Weight of the next error: grows instead of all others shrinking.
    weight: f64,
    taken: u32,
}

impl Default for Residuals {
    fn default() -> Self {
        let mut residuals = Residuals {
            bins: Box::new([0.0; BINS]),
            cumulative: Box::new([0.0; BINS]),
            total: 0.0,
            weight: 1.0,
            taken: 0,
        };
        // The prior, as evenly spaced quantiles: no distribution function needed.
        const PIECES: u32 = 2000;
        for piece in 0..PIECES {
            let level = (f64::from(piece) + 0.5) / f64::from(PIECES);
            residuals.bins[bin(PRIOR_SIGMA * normal_quantile(level))] += (PRIOR / f64::from(PIECES)) as f32;
        }
        residuals.accumulate();
        residuals
    }
}

fn bin(error: f64) -> usize {
    (((error - LOWEST) / WIDTH) as usize).min(BINS - 1)
}

impl Residuals {
    /// The spread by which errors of a forecast of `expected` are divided.
    pub(super) fn scale(expected: f64) -> f64 {
        let expected = expected.max(1.0);
        (expected + 0.01 * expected * expected).sqrt()
    }

    /// Takes in what came, when `expected` was expected.
    pub(super) fn take(&mut self, expected: f64, came: f64) {
        let error = (came - expected) / Self::scale(expected);
        if !error.is_finite() {
            return;
        }
        self.bins[bin(error)] += self.weight as f32;
        self.weight *= 2.0_f64.powf(1.0 / HALF_LIFE);
        if self.weight > 1e6 {
            for bin in self.bins.iter_mut() {
                *bin = (f64::from(*bin) / self.weight) as f32;
            }
            self.weight = 1.0;
        }
        self.taken += 1;
        if self.taken >= REFRESH {
            self.taken = 0;
            self.accumulate();
        }
    }

    /// The standardised error that a share of `level` does not exceed.
    pub(super) fn quantile(&self, level: f64) -> f64 {
        let after = self.cumulative.partition_point(|share| f64::from(*share) < level).min(BINS - 1);
        let before = if after == 0 { 0.0 } else { f64::from(self.cumulative[after - 1]) };
        let within = f64::from(self.cumulative[after]) - before;
        let share = if within > 0.0 { ((level - before) / within).clamp(0.0, 1.0) } else { 1.0 };
        LOWEST + WIDTH * (after as f64 + share)
    }

    fn accumulate(&mut self) {
        self.total = self.bins.iter().map(|bin| f64::from(*bin)).sum();
        let mut sum = 0.0;
        for (share, bin) in self.cumulative.iter_mut().zip(self.bins.iter()) {
            sum += f64::from(*bin);
            *share = (sum / self.total) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_any_error_the_prior_holds() {
        let residuals = Residuals::default();
        for level in [0.1, 0.5, 0.9, 0.98] {
            let want = PRIOR_SIGMA * normal_quantile(level);
            assert!((residuals.quantile(level) - want).abs() < WIDTH, "{level}: {}", residuals.quantile(level));
        }
    }

    #[test]
    fn quantiles_become_those_of_the_errors() {
        let mut residuals = Residuals::default();
        // Errors evenly spread over -1 to 3 standard spreads.
        let scale = Residuals::scale(100.0);
        for i in 0..40_000 {
            residuals.take(100.0, 100.0 + scale * (-1.0 + 4.0 * f64::from(i * 7919 % 1000) / 1000.0));
        }
        for level in [0.05, 0.25, 0.5, 0.75, 0.95] {
            let want = -1.0 + 4.0 * level;
            assert!((residuals.quantile(level) - want).abs() < 0.1, "{level}: {}", residuals.quantile(level));
        }
    }
}
