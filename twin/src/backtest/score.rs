//! How far forecasts were from what came.

use serde::Serialize;

use crate::forecast::quantiles::{LEVELS, MEDIAN, Quantiles};

/// The figures of one model on one series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Weighted quantile loss: twice the pinball loss over the sum of values, mean over the levels 0.1 to 0.9.
    pub wql: f64,
    /// Mean absolute error of the median, in units of the seasonal naive's within the training window.
    pub mase: f64,
    /// Sum of absolute errors of the median over the sum of values.
    pub wape: f64,
    /// Share of values from the 5 % to the 95 % quantile.
    pub cov90: f64,
    /// Share of values above the 90 % quantile.
    pub under_q90: f64,
}

/// Levels that the loss is averaged over: 0.1 to 0.9.
const INNER: std::ops::Range<usize> = 1..LEVELS.len() - 1;

/// Losses of the forecasts of one model on one series, pooled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pool {
    pinball: f64,
    absolute: f64,
    sum: f64,
    within: u32,
    above: u32,
    count: u32,
}

impl Pool {
    /// Takes a forecast and what came, and returns the losses of this one alone.
    pub(super) fn take(&mut self, forecast: &Quantiles, came: &[f64]) -> Pool {
        let mut one = Pool::default();
        for (row, value) in forecast.rows().iter().zip(came) {
            one.pinball += INNER.map(|at| 2.0 * pinball(LEVELS[at], row[at], *value)).sum::<f64>();
            one.absolute += (value - row[MEDIAN]).abs();
            one.sum += value.abs();
            one.within += u32::from((row[0]..=row[LEVELS.len() - 1]).contains(value));
            one.above += u32::from(*value > row[LEVELS.len() - 2]);
            one.count += 1;
        }
        self.pinball += one.pinball;
        self.absolute += one.absolute;
        self.sum += one.sum;
        self.within += one.within;
        self.above += one.above;
        self.count += one.count;
        one
    }

    /// Sum of twice the pinball losses over levels and steps.
    pub(super) fn pinball(&self) -> f64 {
        self.pinball
    }

    /// Weighted quantile loss.
    pub(super) fn wql(&self) -> f64 {
        self.pinball / INNER.len() as f64 / self.sum.max(f64::MIN_POSITIVE)
    }

    /// The figures, with `scale` the unit of absolute errors.
    pub(super) fn score(&self, scale: f64) -> Score {
        let count = f64::from(self.count.max(1));
        Score {
            wql: self.wql(),
            mase: self.absolute / count / scale,
            wape: self.absolute / self.sum.max(f64::MIN_POSITIVE),
            cov90: f64::from(self.within) / count,
            under_q90: f64::from(self.above) / count,
        }
    }
}

/// Pinball loss of the quantile `forecast` at `level`.
pub(crate) fn pinball(level: f64, forecast: f64, came: f64) -> f64 {
    let miss = came - forecast;
    (level * miss).max((level - 1.0) * miss)
}

/// Mean absolute difference from one day to the next: the unit of scaled errors. One where nothing differs.
pub(super) fn seasonal_scale(train: &[f64], day: usize) -> f64 {
    let differences = train.iter().skip(day).zip(train).map(|(now, before)| (now - before).abs());
    let scale = super::mean(differences);
    if scale > 0.0 { scale } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_least_at_the_quantile() {
        let values: Vec<f64> = (1..100).map(f64::from).collect();
        let loss = |forecast: f64| values.iter().map(|came| pinball(0.9, forecast, *came)).sum::<f64>();
        let best = (1..100).map(f64::from).min_by(|a, b| loss(*a).total_cmp(&loss(*b))).unwrap();
        assert_eq!(best, 90.0);
    }

    #[test]
    fn a_perfect_forecast_loses_nothing() {
        let mut pool = Pool::default();
        let forecast = Quantiles::new(vec![[5.0; LEVELS.len()], [7.0; LEVELS.len()]]);
        assert_eq!(pool.take(&forecast, &[5.0, 7.0]).wql(), 0.0);
        let score = pool.score(1.0);
        assert_eq!((score.wql, score.mase, score.cov90, score.under_q90), (0.0, 0.0, 1.0, 0.0));
    }
}
