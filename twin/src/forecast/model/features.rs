//! What the global models are told of a series at a moment: levels, seasons, movements and spreads, all in logarithms
//! and relative to a base, so that series of any size and any length of step look alike.
//!
//! Nothing here looks past the origin: every array at `i` is made of values up to `i` alone, but for the smoothed
//! values, which need the next one and are only asked for where that is known.

use std::f64::consts::TAU;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Past;

/// Features of an (origin, step) pair.
pub(in crate::forecast) const COUNT: usize = 53;
/// Those that trees are grown on, …
pub(in crate::forecast) const TREES: Range<usize> = 0..41;
/// … those that nets are trained on, with the day of the week on a circle, …
pub(in crate::forecast) const NETS: Range<usize> = 1..43;
/// … and those and wide averages around the same time of former days and weeks.
pub(in crate::forecast) const WIDE: Range<usize> = 1..53;
/// Steps on either side of a wide average.
const REACH: usize = 4;

/// Added to values in units of their mean before the logarithm: a tenth of the mean is little.
const OFFSET: f64 = 0.1;

/// What a model's target is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::forecast) enum Base {
    /// The last value.
    Last,
    /// A quick average of the last values: half of it is the last.
    Quick,
    /// An average of the last days.
    Level,
    /// The mean of the usual values at this time of day and of week.
    Season,
    /// Nothing: the level of the series as a whole.
    Mean,
}

/// A series in logarithms, and all that features are made of.
#[derive(Clone, Debug)]
pub(in crate::forecast) struct Described {
    /// Mean that values are divided by.
    unit: f64,
    day: usize,
    logs: Vec<f64>,
    smoothed: Vec<f64>,
    wide: Vec<f64>,
    /// Median of the last seven days at the same time, by the day before on or by the second day before on.
    usual: [Vec<f64>; 2],
    /// Mean of the last three weeks at the same time.
    weekly: Vec<f64>,
    averages: [Vec<f64>; 6],
    off_day: [Vec<f64>; 3],
    off_week: [Vec<f64>; 3],
    movement: [Vec<f64>; 3],
    spread: [Vec<f64>; 3],
    highest: Vec<f64>,
    lowest: Vec<f64>,
    /// Share of the day and day of the week at each step, the next day's with them.
    clock: Vec<(f64, f64)>,
}

impl Described {
    /// Describes what is known of a series; at least a day of it, and two steps a day.
    pub(in crate::forecast) fn new(past: &Past<'_>) -> Option<Self> {
        if past.values().is_empty() { None } else { Described::with_unit(past, robust_mean(past.values())) }
    }

    fn with_unit(past: &Past<'_>, unit: f64) -> Option<Self> {
        let values = past.values();
        let day = past.grid().day();
        if day < 2 || values.len() < day.max(8) + 2 {
            return None;
        }
        let logs: Vec<f64> = values.iter().map(|value| (value / unit + OFFSET).ln()).collect();
        let n = logs.len();
        let at = |i: usize| logs[i.min(n - 1)];
        let smoothed: Vec<f64> = (0..n).map(|i| (at(i.saturating_sub(1)) + 2.0 * logs[i] + at(i + 1)) / 4.0).collect();
        let wide = (0..n).map(|i| (0..=2 * REACH).map(|k| at((i + k).saturating_sub(REACH))).sum::<f64>() / 9.0);
        let wide: Vec<f64> = wide.collect();
        let seasonal = |lags: std::ops::RangeInclusive<usize>, period: usize, i: usize| -> Vec<f64> {
            lags.filter_map(|lag| i.checked_sub(lag * period)).filter(|j| *j < n).map(|j| smoothed[j]).collect()
        };
        let usual = [1, 2].map(|first| -> Vec<f64> {
            (0..n + day).map(|i| median(seasonal(first..=first + 6, day, i)).unwrap_or(logs[0])).collect()
        });
        let weekly: Vec<f64> = (0..n + day)
            .map(|i| {
                let weeks = seasonal(1..=3, 7 * day, i);
                if weeks.is_empty() { usual[0][i] } else { weeks.iter().sum::<f64>() / weeks.len() as f64 }
            })
            .collect();
        let off =
            |from: &[f64]| -> Vec<f64> { (0..n).map(|i| if i < day { 0.0 } else { logs[i] - from[i] }).collect() };
        let (by_day, by_week) = (off(&usual[0]), off(&weekly));
        let steps: Vec<f64> = (0..n).map(|i| if i == 0 { 0.0 } else { logs[i] - logs[i - 1] }).collect();
        let squares: Vec<f64> = steps.iter().map(|step| step * step).collect();
        let magnitude = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value.abs()).collect() };
        let floor = |value: f64| (1e-3 + value).ln();
        let share = |numerator: usize, denominator: usize| (day * numerator) as f64 / denominator as f64;
        let (quarter, sixth, whole, week) = (share(1, 4), share(1, 6), share(1, 1), share(7, 1));
        Some(Described {
            unit,
            day,
            averages: [1.0, 2.0, 4.0, sixth, whole, share(4, 1)].map(|half_life| average(&logs, half_life)),
            off_day: [2.0, sixth, whole].map(|half_life| average(&by_day, half_life)),
            off_week: [2.0, sixth, whole].map(|half_life| average(&by_week, half_life)),
            movement: [8.0, whole, week]
                .map(|half_life| average(&squares, half_life).into_iter().map(|v| floor(v.sqrt())).collect()),
            spread: [(&by_day, quarter), (&by_day, week), (&by_week, week)]
                .map(|(of, half_life)| average(&magnitude(of), half_life).into_iter().map(floor).collect()),
            highest: windowed(&logs, day, f64::max),
            lowest: windowed(&logs, day, f64::min),
            clock: (0..n + day)
                .map(|i| {
                    let moment = past.moment(i);
                    (moment.day, f64::from(moment.weekday))
                })
                .collect(),
            logs,
            smoothed,
            wide,
            usual,
            weekly,
        })
    }

    /// What values are divided by.
    pub(in crate::forecast) fn unit(&self) -> f64 {
        self.unit
    }

    /// The logarithm of nothing.
    pub(in crate::forecast) fn floor(&self) -> f64 {
        OFFSET.ln()
    }

    /// Steps known.
    pub(in crate::forecast) fn len(&self) -> usize {
        self.logs.len()
    }

    /// Most steps ahead that can be described: a day.
    pub(in crate::forecast) fn reach(&self) -> usize {
        self.day
    }

    /// Share of its day that has passed at a step, one to come with them.
    pub(in crate::forecast) fn share_of_day(&self, at: usize) -> f64 {
        self.clock[at].0
    }

    /// The logarithm at a step that is known.
    pub(in crate::forecast) fn log(&self, at: usize) -> f64 {
        self.logs[at]
    }

    /// A value from its logarithm.
    pub(in crate::forecast) fn value(&self, log: f64) -> f64 {
        value_of(log, self.unit)
    }

    fn smooth(&self, at: usize) -> f64 {
        self.smoothed[at.min(self.logs.len() - 1)]
    }

    /// What the step `ahead` (from 1) after the first `origin` steps is measured from, and its features.
    pub(in crate::forecast) fn features(
        &self,
        origin: usize,
        ahead: usize,
        base: Base,
        into: &mut [f32; COUNT],
    ) -> f64 {
        let (day, last, target) = (self.day, origin - 1, origin + ahead - 1);
        // Of the day before, the last value has no smoothed neighbour yet.
        let days_back = if ahead + 1 < day { 1 } else { 2 };
        let usual = self.usual[days_back - 1][target];
        let weekly = self.weekly[target];
        let season = 0.5 * (usual + weekly);
        let base = match base {
            Base::Last => self.logs[last],
            Base::Quick => self.averages[0][last],
            Base::Level => self.averages[4][last],
            Base::Season => season,
            Base::Mean => 0.0,
        };
        let days = |back: usize| {
            let at = target.checked_sub(day * back).filter(|at| *at >= 1);
            self.smooth(at.unwrap_or_else(|| target.saturating_sub(day * days_back)))
        };
        let weeks = |back: usize| match target.checked_sub(7 * day * back).filter(|at| *at >= 1) {
            Some(at) => self.smooth(at),
            None => weekly,
        };
        let mut at = 0;
        let mut put = |value: f64| {
            into[at] = value as f32;
            at += 1;
        };
        let (share, weekday) = self.clock[target];
        put(weekday);
        [1, 2, 3, 4, 8].iter().for_each(|lag| put(self.logs[origin.saturating_sub(*lag)] - base));
        self.averages[1..].iter().for_each(|average| put(average[last] - base));
        (0..3).for_each(|more| put(days(days_back + more) - base));
        (1..=3).for_each(|back| put(weeks(back) - base));
        put(usual - base);
        put(weekly - base);
        put(usual - self.usual[0][last]);
        put(weekly - self.weekly[last]);
        put(days(days_back) - self.smooth(last.saturating_sub(day * days_back)));
        for (by_day, by_week) in self.off_day.iter().zip(&self.off_week) {
            put(by_day[last]);
            put(by_week[last]);
        }
        self.movement.iter().for_each(|movement| put(movement[last]));
        self.spread.iter().for_each(|spread| put(spread[last]));
        put(self.highest[last] - base);
        put(self.lowest[last] - base);
        put(base);
        put(season);
        let (sine, cosine) = (share * TAU).sin_cos();
        put(sine);
        put(cosine);
        put(ahead as f64 / day as f64 * 96.0);
        let (sine, cosine) = (weekday / 7.0 * TAU).sin_cos();
        put(sine);
        put(cosine);
        let wide_back = if ahead + REACH < day { 1 } else { 2 };
        let wide = |steps: usize| target.checked_sub(steps).filter(|at| *at >= REACH).map(|at| self.wide[at.min(last)]);
        (0..7).for_each(|more| put(wide(day * (wide_back + more)).unwrap_or(usual) - base));
        (1..=3).for_each(|back| put(wide(7 * day * back).unwrap_or(weekly) - base));
        debug_assert_eq!(at, COUNT);
        base
    }
}

/// The value of a logarithm on the scale of `unit`.
pub(in crate::forecast) fn value_of(log: f64, unit: f64) -> f64 {
    unit * (log.min(30.0).exp() - OFFSET).max(0.0)
}

/// The logarithm of a value on the scale of `unit`.
pub(in crate::forecast) fn log_of(value: f64, unit: f64) -> f64 {
    (value.max(0.0) / unit + OFFSET).ln()
}

/// The mean with values above the 99 % quantile cut to it: one spike does not make a series large.
fn robust_mean(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = sorted[((sorted.len() - 1) as f64 * 0.99) as usize];
    let mean = values.iter().map(|value| value.min(cut)).sum::<f64>() / values.len() as f64;
    if mean > 0.0 { mean } else { 1.0 }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    Some(if values.len() % 2 == 1 { values[middle] } else { 0.5 * (values[middle - 1] + values[middle]) })
}

/// Exponentially weighted average with this half-life \[steps\].
fn average(values: &[f64], half_life: f64) -> Vec<f64> {
    let gain = 1.0 - 0.5f64.powf(1.0 / half_life.max(0.5));
    let mut level = values[0];
    values
        .iter()
        .map(|value| {
            level += gain * (value - level);
            level
        })
        .collect()
}

/// The most, or least, of the last `width` values.
fn windowed(values: &[f64], width: usize, pick: fn(f64, f64) -> f64) -> Vec<f64> {
    // Candidates, the best first: one that is worse and older than a newer one will never be picked.
    let mut open: std::collections::VecDeque<usize> = std::collections::VecDeque::new();
    (0..values.len())
        .map(|i| {
            while open.back().is_some_and(|&back| pick(values[i], values[back]) == values[i]) {
                open.pop_back();
            }
            open.push_back(i);
            while open.front().is_some_and(|&front| front + width <= i) {
                open.pop_front();
            }
            values[open[0]]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::*;
    use crate::forecast::grid::Grid;

    fn wave(n: usize) -> Vec<f64> {
        (0..n).map(|k| 100.0 + 50.0 * (k as f64 / 24.0 * std::f64::consts::TAU).sin() + (k % 7) as f64).collect()
    }

    #[test]
    fn features_do_not_look_past_the_origin() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let values = wave(24 * 30);
        let mut other = values.clone();
        let origin = 24 * 25;
        for value in &mut other[origin..] {
            *value *= 3.0;
        }
        let known = Described::new(&Past::new(&grid, 0, &values[..origin])).unwrap();
        let more = Described::with_unit(&Past::new(&grid, 0, &other), known.unit).unwrap();
        for base in [Base::Last, Base::Quick, Base::Level, Base::Season, Base::Mean] {
            for ahead in [1, 2, 23, 24] {
                let (mut a, mut b) = ([0.0; COUNT], [0.0; COUNT]);
                known.features(origin, ahead, base, &mut a);
                more.features(origin, ahead, base, &mut b);
                assert_eq!(a, b, "{base:?} {ahead}");
            }
        }
    }

    #[test]
    fn features_are_the_same_for_any_size() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let values = wave(24 * 20);
        let large: Vec<f64> = values.iter().map(|value| value * 1e9).collect();
        let [small, large] = [&values, &large].map(|values| Described::new(&Past::new(&grid, 0, values)).unwrap());
        let (mut a, mut b) = ([0.0; COUNT], [0.0; COUNT]);
        small.features(480, 3, Base::Season, &mut a);
        large.features(480, 3, Base::Season, &mut b);
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-5);
        }
        assert!((large.value(large.log(100)) / (values[100] * 1e9) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_extremes_of_a_window_slide() {
        let values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        assert_eq!(windowed(&values, 3, f64::max), [3.0, 3.0, 4.0, 4.0, 5.0, 9.0, 9.0, 9.0]);
        assert_eq!(windowed(&values, 3, f64::min), [3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
    }
}
