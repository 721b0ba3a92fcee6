//! The last value, and the value one season before: the models that others must beat.
//!
//! R. Hyndman, G. Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, sections 5.2 and 5.5.

use super::{Model, Past, Quantiles, Unfit};
use crate::forecast::normal_quantile;
use crate::forecast::quantiles::LEVELS;

/// What is, will be: a random walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Naive;

/// What was one season ago, will be: a seasonal random walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeasonalNaive {
    pub(super) name: &'static str,
    /// Length of the season \[d\].
    pub(super) days: usize,
}

impl Model for Naive {
    fn name(&self) -> &'static str {
        "naive"
    }

    fn predict(&self, past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit> {
        seasonal(past.values(), 1, steps)
    }
}

impl Model for SeasonalNaive {
    fn name(&self) -> &'static str {
        self.name
    }

    fn predict(&self, past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit> {
        seasonal(past.values(), self.days * past.grid().day(), steps)
    }
}

/// A random walk from season to season: the variance of a step is that of a seasonal difference, once more for each
/// season ahead.
fn seasonal(values: &[f64], season: usize, steps: usize) -> Result<Quantiles, Unfit> {
    let n = values.len();
    if n <= season {
        return Err(Unfit::TooShort { have: n, need: season + 1 });
    }
    let squares: f64 = values[season..].iter().zip(values).map(|(now, before)| (now - before).powi(2)).sum();
    let sigma = (squares / (n - season) as f64).sqrt();
    let rows = (0..steps).map(|k| {
        let mean = values[n - season + k % season];
        let spread = sigma * ((k / season + 1) as f64).sqrt();
        LEVELS.map(|level| mean + normal_quantile(level) * spread)
    });
    Ok(Quantiles::new(rows.collect()))
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::*;
    use crate::forecast::grid::Grid;

    #[test]
    fn a_season_repeats_and_its_spread_grows_with_seasons() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(6));
        let values: Vec<f64> = (0..40).map(|k| 100.0 + f64::from(k % 4) + if k % 8 < 4 { 1.0 } else { -1.0 }).collect();
        let past = Past::new(&grid, 0, &values);
        let model = SeasonalNaive { name: "seasonal-naive-day", days: 1 };
        let forecast = model.predict(&past, 6).unwrap();
        assert_eq!((forecast.median(0), forecast.median(5)), (99.0, 100.0));
        let width = |ahead: usize| forecast.rows()[ahead][10] - forecast.rows()[ahead][0];
        assert!((width(4) / width(3) - 2f64.sqrt()).abs() < 1e-9);
        // Differences of one day to the next are 2 everywhere.
        assert!((width(0) - 2.0 * 2.0 * 1.644_853_6).abs() < 1e-5, "{}", width(0));
    }

    #[test]
    fn too_short_a_past_is_said() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(6));
        let past = Past::new(&grid, 0, &[1.0; 4]);
        let model = SeasonalNaive { name: "seasonal-naive-day", days: 1 };
        assert_eq!(model.predict(&past, 1), Err(Unfit::TooShort { have: 4, need: 5 }));
        assert!(Naive.predict(&past, 1).is_ok());
    }
}
