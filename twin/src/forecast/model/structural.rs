//! A structural time series: level, damped slope, passing deviation, day and week, each a component of its own with a
//! variance of its own, on logarithms.
//!
//! The basic structural model of A. Harvey ("Forecasting, Structural Time Series Models and the Kalman Filter", 1989,
//! section 4.1) with trigonometric seasons of few waves, and a stationary deviation beside the level, without which a
//! crowd of an hour would be taken to stay for ever. What is forecast is normal on the logarithm, with the variance that
//! the states and the disturbances have by then; a stretch without values widens it. [`Structural`] fits and forecasts;
//! [`follow`] filters on in constant time a step, and fits once a day.

mod filter;
mod likelihood;

use super::features::{log_of, value_of};
use super::{Model, Past, Quantiles, Unfit};
use crate::forecast::follower::{Follower, History, Outlook, explosion, standby};
use crate::forecast::grid::Grid;
use crate::forecast::normal_quantile;
use crate::forecast::quantiles::LEVELS;
use filter::{Filter, State, row};
use likelihood::{Fit, Seen, VAGUE};

/// Its name.
pub(in crate::forecast) const NAME: &str = "structural";

/// Days that variances are found from, at most.
const FITTED_DAYS: usize = 28;

/// Fewer values beyond two days say nothing about variances.
const FEWEST: usize = 16;

/// A median this much above all that was seen, or a deviation of this, in logarithms, is no forecast: about ten times.
const WIDEST: f64 = 2.3;

/// The model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Structural;

impl Model for Structural {
    fn name(&self) -> &'static str {
        NAME
    }

    fn predict(&self, past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit> {
        let past = past.last(FITTED_DAYS * past.grid().day());
        let values: Vec<Option<f64>> = past.values().iter().copied().map(Some).collect();
        let fitted = Fitted::new(past.grid(), past.first, &values, None)?;
        Ok(fitted.forecast(past.grid(), past.first + values.len(), steps))
    }
}

/// Follows a series on `grid`, of which what stands in may need the last `keep` steps.
pub(in crate::forecast) fn follow(grid: &Grid, keep: usize) -> Box<dyn Follower> {
    let history = History::new(grid.clone(), keep);
    Box::new(Following { grid: grid.clone(), history, record: Vec::new(), seen: 0, fitted: None })
}

/// Variances that were found, and what is known of the states after the last value.
#[derive(Clone, Debug)]
struct Fitted {
    fit: Fit,
    /// What values are measured in.
    unit: f64,
    /// Whether a week has a shape.
    weekly: bool,
    filter: Filter,
    /// Lowest and highest logarithm seen.
    bounds: (f64, f64),
    /// Step of the grid at which variances were found.
    at: usize,
}

impl Fitted {
    /// Finds variances from `values`, the first of which is that of step `first` of `grid`; the search begins at those
    /// that were found `before`.
    fn new(grid: &Grid, first: usize, values: &[Option<f64>], before: Option<&Fit>) -> Result<Self, Unfit> {
        let day = grid.day();
        let have = values.iter().flatten().count();
        let need = 2 * day.max(2) + FEWEST;
        if day < 2 || have < need {
            return Err(Unfit::TooShort { have, need });
        }
        let unit = values.iter().flatten().map(|value| value.abs()).sum::<f64>() / have as f64;
        let unit = if unit > 0.0 { unit } else { 1.0 };
        let logs: Vec<Option<f64>> = values.iter().map(|value| value.map(|value| log_of(value, unit))).collect();
        let weekly = values.len() >= 2 * grid.week();
        let rows: Vec<State> = (0..values.len()).map(|at| seen_through(grid, first + at, weekly)).collect();
        let seen = Seen { values: &logs, rows: &rows };
        let fit = seen.fit(day, before).ok_or_else(|| Unfit::Failed("no variances came of the fit".to_owned()))?;
        let bounds = logs
            .iter()
            .flatten()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| (low.min(*log), high.max(*log)));
        let filter = Filter::new(seen.first(), VAGUE * fit.scale, &fit.variances);
        let mut fitted = Fitted { fit, unit, weekly, filter, bounds, at: first + values.len() };
        logs.iter().zip(&rows).for_each(|(log, row)| fitted.take(row, *log));
        Ok(fitted)
    }

    fn take(&mut self, row: &State, log: Option<f64>) {
        if let Some(log) = log {
            self.filter.update(row, log, self.fit.variances.noise);
        }
        self.filter.predict(&self.fit.variances);
    }

    /// Quantiles of the `steps` steps from `next` on.
    fn forecast(&self, grid: &Grid, next: usize, steps: usize) -> Quantiles {
        let mut filter = self.filter.clone();
        let (low, high) = (self.bounds.0 - WIDEST, self.bounds.1 + WIDEST);
        let rows = (0..steps).map(|ahead| {
            let row = seen_through(grid, next + ahead, self.weekly);
            let (mean, variance) = filter.expect(&row, self.fit.variances.noise);
            filter.predict(&self.fit.variances);
            let (mean, deviation) = (mean.clamp(low, high), variance.max(0.0).sqrt().min(WIDEST));
            LEVELS.map(|level| value_of(mean + normal_quantile(level) * deviation, self.unit))
        });
        Quantiles::new(rows.collect())
    }
}

/// What the states of a step are seen through.
fn seen_through(grid: &Grid, at: usize, weekly: bool) -> State {
    row(grid.moment(at), weekly)
}

#[derive(Clone)]
struct Following {
    grid: Grid,
    /// For what stands in.
    history: History,
    /// The last values as they were seen, twice as many as are fitted to at most.
    record: Vec<Option<f64>>,
    seen: usize,
    fitted: Option<Fitted>,
}

impl Following {
    /// Finds variances when a day has passed since they were found.
    fn refit(&mut self) -> Result<&Fitted, Unfit> {
        let due = self.fitted.as_ref().is_none_or(|fitted| fitted.at + self.grid.day() <= self.seen);
        if due {
            let kept = self.record.len().min(FITTED_DAYS * self.grid.day());
            let values = &self.record[self.record.len() - kept..];
            let before = self.fitted.as_ref().map(|fitted| fitted.fit);
            self.fitted = Some(Fitted::new(&self.grid, self.seen - kept, values, before.as_ref())?);
        }
        Ok(self.fitted.as_ref().expect("just fitted"))
    }
}

impl Follower for Following {
    fn observe(&mut self, value: Option<f64>) {
        let value = value.filter(|value| value.is_finite());
        self.history.push(value);
        if let Some(fitted) = &mut self.fitted {
            let row = seen_through(&self.grid, self.seen, fitted.weekly);
            fitted.take(&row, value.map(|value| log_of(value, fitted.unit)));
        }
        let most = FITTED_DAYS * self.grid.day();
        if self.record.len() >= 2 * most {
            self.record.drain(..self.record.len() - most);
        }
        self.record.push(value);
        self.seen += 1;
    }

    fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
        let (grid, next) = (self.grid.clone(), self.seen);
        match self.refit().map(|fitted| fitted.forecast(&grid, next, steps)) {
            Err(why) => standby(NAME, &self.history.past(), steps, why),
            Ok(quantiles) => match explosion(&quantiles, self.history.past().most()) {
                Some(why) => standby(NAME, &self.history.past(), steps, why),
                None => Ok(Outlook { quantiles, by: NAME, instead: None }),
            },
        }
    }

    fn clone_box(&self) -> Box<dyn Follower> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::*;
    use crate::forecast::chance::Chance;

    fn hours() -> Grid {
        Grid::utc(Timestamp::EPOCH, Duration::from_hours(1))
    }

    /// A day's wave, quiet on Saturdays and Sundays and on these days, with a little noise.
    fn week(grid: &Grid, n: usize, quiet: &[usize], seed: u64) -> Vec<f64> {
        let mut chance = Chance::new(seed, "structural week");
        (0..n)
            .map(|at| {
                let moment = grid.moment(at);
                let low = moment.weekday >= 5 || quiet.contains(&(at / grid.day()));
                let season = (moment.day * std::f64::consts::TAU).sin();
                (4.0 + 0.5 * season - if low { 0.7 } else { 0.0 } + 0.05 * chance.normal()).exp()
            })
            .collect()
    }

    #[test]
    fn day_and_week_go_on_and_their_spread_is_told() {
        let grid = hours();
        let values = week(&grid, 24 * 63, &[], 1);
        let (mut within, mut error, mut naive, mut count) = (0, 0.0, 0.0, 0);
        for day in 35..62 {
            let past = Past::new(&grid, 0, &values[..24 * day]);
            let forecast = Structural.predict(&past, 24).unwrap();
            for (ahead, row) in forecast.rows().iter().enumerate() {
                let came = values[24 * day + ahead];
                within += u32::from((row[0]..=row[10]).contains(&came));
                error += (row[5] - came).abs();
                naive += (values[24 * (day - 1) + ahead] - came).abs();
                count += 1;
            }
        }
        let share = f64::from(within) / f64::from(count);
        // A week of three waves rounds the corners of this one off, which counts as noise.
        assert!((0.8..0.99).contains(&share), "{share} within the 90 % interval");
        assert!(error < 0.6 * naive, "{error} against {naive}");
    }

    #[test]
    fn what_was_not_seen_widens_the_interval() {
        let grid = hours();
        let values = week(&grid, 24 * 30, &[], 2);
        let width = |gap: usize| {
            let mut follower = follow(&grid, 24 * 28);
            values.iter().for_each(|value| follower.observe(Some(*value)));
            follower.forecast(1).unwrap();
            (0..gap).for_each(|_| follower.observe(None));
            let outlook = follower.forecast(1).unwrap();
            assert_eq!(outlook.by, NAME);
            (outlook.quantiles.rows()[0][10] / outlook.quantiles.rows()[0][0]).ln()
        };
        let widths = [0, 3, 10, 20].map(width);
        assert!(widths.is_sorted() && widths[3] > 1.1 * widths[0], "{widths:?}");
    }

    #[test]
    fn a_follower_filters_on_and_fits_once_a_day() {
        let grid = hours();
        let values = week(&grid, 24 * 32, &[], 3);
        let mut following = Following {
            grid: grid.clone(),
            history: History::new(grid.clone(), 24),
            record: Vec::new(),
            seen: 0,
            fitted: None,
        };
        values[..24 * 30].iter().for_each(|value| following.observe(Some(*value)));
        following.forecast(4).unwrap();
        let first = following.fitted.clone().unwrap();
        for (nth, value) in values[24 * 30..24 * 31].iter().enumerate() {
            // The same variances, applied to all that is known at once: one and the same filter.
            let known = &values[24 * 2..24 * 30 + nth];
            let filter = Filter::new(log_of(known[0], first.unit), VAGUE * first.fit.scale, &first.fit.variances);
            let mut at_once = Fitted { filter, ..first.clone() };
            for (at, value) in known.iter().enumerate() {
                at_once.take(&seen_through(&grid, 48 + at, at_once.weekly), Some(log_of(*value, first.unit)));
            }
            let (one, other) = (following.forecast(4).unwrap(), at_once.forecast(&grid, 24 * 30 + nth, 4));
            for (a, b) in one.quantiles.rows().iter().flatten().zip(other.rows().iter().flatten()) {
                assert!((a / b - 1.0).abs() < 1e-9, "{nth}: {a} {b}");
            }
            following.observe(Some(*value));
        }
        assert_eq!(following.fitted.as_ref().unwrap().at, 24 * 30);
        following.forecast(4).unwrap();
        assert_eq!(following.fitted.as_ref().unwrap().at, 24 * 31);
    }

    #[test]
    fn a_holiday_is_forecast_as_one() {
        // A Wednesday in the sixth week, after one in the third.
        let quiet = [7 * 2 + 6, 7 * 5 + 6];
        let plain = hours();
        let knowing = hours().with_holidays(quiet.map(|day| day as i32));
        assert_eq!(plain.moment(24 * quiet[1]).weekday, 2);
        let values = week(&plain, 24 * 49, &quiet, 4);
        let error = |grid: &Grid| -> f64 {
            let begin = 24 * quiet[1];
            let forecast = Structural.predict(&Past::new(grid, 0, &values[..begin]), 24).unwrap();
            (0..24).map(|ahead| (forecast.median(ahead) - values[begin + ahead]).abs()).sum()
        };
        let (with, without) = (error(&knowing), error(&plain));
        assert!(with < 0.5 * without, "{with} with, {without} without");
    }

    #[test]
    fn any_past_brings_a_forecast_or_a_reason() {
        let grid = hours();
        let pasts: [Vec<f64>; 6] = [
            vec![],
            vec![1.0; 63],
            vec![0.0; 100],
            vec![5.0; 24 * 40],
            (0..400).map(|k| if k == 300 { 1e15 } else { 0.0 }).collect(),
            (0..200).map(|k| 2f64.powi(k)).collect(),
        ];
        for values in &pasts {
            let past = Past::new(&grid, 0, values);
            match Structural.predict(&past, 24) {
                Ok(forecast) => {
                    let most = values.iter().copied().fold(0.0, f64::max);
                    assert!(forecast.rows().iter().all(|row| row.is_sorted() && row[10].is_finite()));
                    assert!(forecast.median(23) <= 11.0 * most + 1e-9, "{} of {most}", forecast.median(23));
                }
                Err(why) => assert!(values.len() < 64, "{why}"),
            }
            let mut follower = follow(&grid, 48);
            for value in values {
                let _ = follower.forecast(3);
                follower.observe(Some(*value));
            }
        }
    }
}
