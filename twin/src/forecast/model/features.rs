//! What the global models are told of a series at a moment: levels, seasons, movements and spreads, all in logarithms
//! and relative to a base, so that series of any size and any length of step look alike.
//!
//! A description grows by one value in constant time, and only what stands at its end can be asked for: nothing here
//! can look past the origin. What needs a neighbour that has not come yet (smoothed values) is only asked for where
//! both are known.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::ops::{Range, RangeInclusive};

use serde::{Deserialize, Serialize};

use super::Past;
use crate::forecast::grid::Grid;

/// Features of an (origin, step) pair.
pub(in crate::forecast) const COUNT: usize = 53;
/// Those that trees are grown on, …
pub(in crate::forecast) const TREES: Range<usize> = 0..41;
/// … those that nets are trained on, with the day of the week on a circle, …
pub(in crate::forecast) const NETS: Range<usize> = 1..43;
/// … and those and wide averages around the same time of former days and weeks.
pub(in crate::forecast) const WIDE: Range<usize> = 1..53;
/// Those that are measured from the base, …
const RELATIVE: [Range<usize>; 3] = [1..19, 34..36, 43..53];
/// … and the base itself.
const BASE: usize = 36;
/// Steps on either side of a wide average.
const REACH: usize = 4;

/// Added to values in units of their mean before the logarithm: a tenth of the mean is little.
const OFFSET: f64 = 0.1;

/// What a model's target is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
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

/// A series in logarithms, and how it stands at its end.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::forecast) struct Described {
    grid: Grid,
    /// Place of the first value in the grid.
    first: usize,
    /// Mean that values are divided by.
    unit: f64,
    day: usize,
    logs: Vec<f64>,
    averages: [Average; 6],
    off_day: [Average; 3],
    off_week: [Average; 3],
    movement: [Average; 3],
    spread: [Average; 3],
    highest: Extreme,
    lowest: Extreme,
    /// The largest value that was pushed.
    most: f64,
}

/// What is known of one step ahead, before a base is chosen.
#[derive(Clone, Debug)]
pub(in crate::forecast) struct Row {
    features: [f64; COUNT],
    quick: f64,
    last: f64,
    level: f64,
    season: f64,
}

impl Described {
    /// Fewest values that describe a series with so many steps a day.
    pub(in crate::forecast) fn fewest(day: usize) -> usize {
        day.max(8) + 2
    }

    /// Describes what is known of a series; at least a day of it, and two steps a day.
    pub(in crate::forecast) fn new(past: &Past<'_>) -> Option<Self> {
        let known = (!past.values().is_empty()).then(|| Described::with_unit(past, robust_mean(past.values())))?;
        known.is_enough().then_some(known)
    }

    /// The same in a unit of its own, for any past.
    pub(in crate::forecast) fn with_unit(past: &Past<'_>, unit: f64) -> Self {
        let mut known = Described::begin(past.grid(), past.first(), unit);
        known.logs.reserve_exact(past.values().len() + known.day);
        past.values().iter().for_each(|value| known.push(*value));
        known
    }

    /// Nothing yet, of a series whose first value will be that of the step `first` of `grid`.
    pub(in crate::forecast) fn begin(grid: &Grid, first: usize, unit: f64) -> Self {
        let day = grid.day();
        let share = |numerator: usize, denominator: usize| (day * numerator) as f64 / denominator as f64;
        let (quarter, sixth, whole, week) = (share(1, 4), share(1, 6), share(1, 1), share(7, 1));
        Described {
            grid: grid.clone(),
            first,
            unit,
            day,
            logs: Vec::new(),
            averages: [1.0, 2.0, 4.0, sixth, whole, share(4, 1)].map(Average::new),
            off_day: [2.0, sixth, whole].map(Average::new),
            off_week: [2.0, sixth, whole].map(Average::new),
            movement: [8.0, whole, week].map(Average::new),
            spread: [quarter, week, week].map(Average::new),
            highest: Extreme::new(f64::max),
            lowest: Extreme::new(f64::min),
            most: 0.0,
        }
    }

    /// Takes in the value of the next step, in constant time.
    pub(in crate::forecast) fn push(&mut self, value: f64) {
        let (at, log) = (self.logs.len(), log_of(value, self.unit));
        let step = self.logs.last().map_or(0.0, |last| log - last);
        self.logs.push(log);
        self.most = self.most.max(value);
        let (by_day, by_week) = if at < self.day {
            (0.0, 0.0)
        } else {
            let usual = self.usual(1, at);
            (log - usual, log - self.weekly(at, usual))
        };
        self.averages.iter_mut().for_each(|average| average.push(log));
        self.off_day.iter_mut().for_each(|average| average.push(by_day));
        self.off_week.iter_mut().for_each(|average| average.push(by_week));
        self.movement.iter_mut().for_each(|average| average.push(step * step));
        self.spread.iter_mut().zip([by_day, by_day, by_week]).for_each(|(average, off)| average.push(off.abs()));
        self.highest.push(at, log, self.day);
        self.lowest.push(at, log, self.day);
    }

    /// Whether it holds what features are made of.
    pub(in crate::forecast) fn is_enough(&self) -> bool {
        self.day >= 2 && self.logs.len() >= Described::fewest(self.day)
    }

    /// Values that it was told.
    pub(in crate::forecast) fn len(&self) -> usize {
        self.logs.len()
    }

    /// What values are divided by.
    pub(in crate::forecast) fn unit(&self) -> f64 {
        self.unit
    }

    /// The logarithm of nothing.
    pub(in crate::forecast) fn floor(&self) -> f64 {
        OFFSET.ln()
    }

    /// The largest value that it was told.
    pub(in crate::forecast) fn most(&self) -> f64 {
        self.most
    }

    /// Most steps ahead that can be described: a day.
    pub(in crate::forecast) fn reach(&self) -> usize {
        self.day
    }

    /// Share of its day that has passed when the next step begins.
    pub(in crate::forecast) fn share_of_day(&self) -> f64 {
        self.grid.moment(self.first + self.logs.len()).day
    }

    /// A value from its logarithm.
    pub(in crate::forecast) fn value(&self, log: f64) -> f64 {
        value_of(log, self.unit)
    }

    /// What is known of each of the next `steps` steps.
    pub(in crate::forecast) fn rows(&self, steps: usize) -> Vec<Row> {
        let standing = self.standing();
        (1..=steps).map(|ahead| self.fill(standing.clone(), ahead)).collect()
    }

    /// What is known of the step `ahead`, from 1.
    pub(in crate::forecast) fn row(&self, ahead: usize) -> Row {
        self.fill(self.standing(), ahead)
    }

    /// What is the same for all steps ahead.
    fn standing(&self) -> Row {
        debug_assert!(self.is_enough(), "asked too early");
        let (logs, n) = (&self.logs[..], self.logs.len());
        let mut row = Row {
            features: [0.0; COUNT],
            quick: self.averages[0].level,
            last: logs[n - 1],
            level: self.averages[4].level,
            season: 0.0,
        };
        let floor = |value: f64| (1e-3 + value).ln();
        let features = &mut row.features;
        features[1..6].copy_from_slice(&[1, 2, 3, 4, 8].map(|lag| logs[n.saturating_sub(lag)]));
        features[6..11].iter_mut().zip(&self.averages[1..]).for_each(|(into, average)| *into = average.level);
        for (nth, (by_day, by_week)) in self.off_day.iter().zip(&self.off_week).enumerate() {
            (features[22 + 2 * nth], features[23 + 2 * nth]) = (by_day.level, by_week.level);
        }
        features[28..31].copy_from_slice(&self.movement.map(|movement| floor(movement.level.sqrt())));
        features[31..34].copy_from_slice(&self.spread.map(|spread| floor(spread.level)));
        (features[34], features[35]) = (self.highest.value(), self.lowest.value());
        row
    }

    /// Adds what is known of the step `ahead`.
    fn fill(&self, mut row: Row, ahead: usize) -> Row {
        let (day, last) = (self.day, self.logs.len() - 1);
        let target = last + ahead;
        // Of the day before, the last value has no smoothed neighbour yet.
        let days_back = if ahead + 1 < day { 1 } else { 2 };
        let usual = self.usual(days_back, target);
        let weekly = self.weekly(target, usual);
        let season = 0.5 * (usual + weekly);
        row.season = season;
        let days = |back: usize| {
            let at = target.checked_sub(day * back).filter(|at| *at >= 1);
            self.smooth(at.unwrap_or_else(|| target.saturating_sub(day * days_back)))
        };
        let weeks = |back: usize| match target.checked_sub(7 * day * back).filter(|at| *at >= 1) {
            Some(at) => self.smooth(at),
            None => weekly,
        };
        let features = &mut row.features;
        let moment = self.grid.moment(self.first + target);
        let weekday = f64::from(moment.weekday);
        features[0] = weekday;
        (0..3).for_each(|more| features[11 + more] = days(days_back + more));
        (1..=3).for_each(|back| features[13 + back] = weeks(back));
        features[17] = usual;
        features[18] = weekly;
        let usual_last = self.usual(1, last);
        features[19] = usual - usual_last;
        features[20] = weekly - self.weekly(last, usual_last);
        features[21] = days(days_back) - self.smooth(last.saturating_sub(day * days_back));
        features[37] = season;
        (features[38], features[39]) = (moment.day * TAU).sin_cos();
        features[40] = ahead as f64 / day as f64 * 96.0;
        (features[41], features[42]) = (weekday / 7.0 * TAU).sin_cos();
        let wide_back = if ahead + REACH < day { 1 } else { 2 };
        let wide = |steps: usize| target.checked_sub(steps).filter(|at| *at >= REACH).map(|at| self.wide(at.min(last)));
        (0..7).for_each(|more| features[43 + more] = wide(day * (wide_back + more)).unwrap_or(usual));
        (1..=3).for_each(|back| features[49 + back] = wide(7 * day * back).unwrap_or(weekly));
        row
    }

    /// The logarithm at a step, the last known for those to come.
    fn log(&self, at: usize) -> f64 {
        self.logs[at.min(self.logs.len() - 1)]
    }

    /// Smoothed over a step and its neighbours.
    fn smooth(&self, at: usize) -> f64 {
        (self.log(at.saturating_sub(1)) + 2.0 * self.log(at) + self.log(at + 1)) / 4.0
    }

    /// The mean around a step.
    fn wide(&self, at: usize) -> f64 {
        (0..=2 * REACH).map(|k| self.log((at + k).saturating_sub(REACH))).sum::<f64>() / 9.0
    }

    /// Smoothed values so many periods before the step `at`, where they are known, and how many there are.
    fn seasonal<const N: usize>(&self, lags: RangeInclusive<usize>, period: usize, at: usize) -> ([f64; N], usize) {
        let (mut values, mut count) = ([0.0; N], 0);
        for before in lags.map_while(|lag| at.checked_sub(lag * period)).filter(|before| *before < self.logs.len()) {
            values[count] = self.smooth(before);
            count += 1;
        }
        (values, count)
    }

    /// Median of seven days at the same time as the step `at`, by the day `first` days before on.
    fn usual(&self, first: usize, at: usize) -> f64 {
        let (mut values, count) = self.seasonal::<7>(first..=first + 6, self.day, at);
        median(&mut values[..count]).unwrap_or(self.logs[0])
    }

    /// Mean of the last three weeks at the same time as the step `at`; `usual` where none is known.
    fn weekly(&self, at: usize, usual: f64) -> f64 {
        let (values, count) = self.seasonal::<3>(1..=3, 7 * self.day, at);
        if count == 0 { usual } else { values[..count].iter().sum::<f64>() / count as f64 }
    }
}

impl Row {
    /// The features measured from `base`, and what it is.
    pub(in crate::forecast) fn measure(&self, base: Base, into: &mut [f32; COUNT]) -> f64 {
        let base = match base {
            Base::Last => self.last,
            Base::Quick => self.quick,
            Base::Level => self.level,
            Base::Season => self.season,
            Base::Mean => 0.0,
        };
        into.iter_mut().zip(&self.features).for_each(|(into, feature)| *into = *feature as f32);
        for place in RELATIVE.into_iter().flatten() {
            into[place] = (self.features[place] - base) as f32;
        }
        into[BASE] = base as f32;
        base
    }
}

/// The value of a logarithm on the scale of `unit`.
pub(in crate::forecast) fn value_of(log: f64, unit: f64) -> f64 {
    unit * (log.min(30.0).exp() - OFFSET).max(0.0)
}

/// The logarithm of a value on the scale of `unit`.
pub(in crate::forecast) fn log_of(value: f64, unit: f64) -> f64 {
    (value.max(0.0) / unit + OFFSET).min(f64::MAX).ln()
}

/// The mean with values above the 99 % quantile cut to it: one spike does not make a series large.
pub(in crate::forecast) fn robust_mean(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    let at = ((sorted.len() - 1) as f64 * 0.99) as usize;
    let cut = *sorted.select_nth_unstable_by(at, f64::total_cmp).1;
    let mean = values.iter().map(|value| value.min(cut)).sum::<f64>() / values.len() as f64;
    if mean > 0.0 { mean } else { 1.0 }
}

/// The middle value; reorders them, of which there are few.
fn median(values: &mut [f64]) -> Option<f64> {
    for end in 1..values.len() {
        let mut at = end;
        while at > 0 && values[at] < values[at - 1] {
            values.swap(at, at - 1);
            at -= 1;
        }
    }
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(0.5 * (values[middle - 1] + values[middle])),
    }
}

/// Exponentially weighted average.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Average {
    gain: f64,
    /// Not a number before the first value.
    level: f64,
}

impl Average {
    /// With a half-life in steps.
    fn new(half_life: f64) -> Self {
        Average { gain: 1.0 - 0.5f64.powf(1.0 / half_life.max(0.5)), level: f64::NAN }
    }

    fn push(&mut self, value: f64) {
        self.level = if self.level.is_nan() { value } else { self.level + self.gain * (value - self.level) };
    }
}

/// The most, or least, of the last values.
#[derive(Clone, Debug)]
struct Extreme {
    pick: fn(f64, f64) -> f64,
    /// Candidates, the best first: one that is worse and older than a newer one will never be picked.
    open: VecDeque<(usize, f64)>,
}

impl PartialEq for Extreme {
    fn eq(&self, other: &Self) -> bool {
        self.open == other.open
    }
}

impl Extreme {
    fn new(pick: fn(f64, f64) -> f64) -> Self {
        Extreme { pick, open: VecDeque::new() }
    }

    /// Takes in the value at `at`, and forgets what is `width` steps old.
    fn push(&mut self, at: usize, value: f64, width: usize) {
        while self.open.back().is_some_and(|(_, back)| (self.pick)(value, *back) == value) {
            self.open.pop_back();
        }
        self.open.push_back((at, value));
        while self.open.front().is_some_and(|(front, _)| front + width <= at) {
            self.open.pop_front();
        }
    }

    fn value(&self) -> f64 {
        self.open.front().map_or(f64::NAN, |(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::forecast::chance::Chance;

    const BASES: [Base; 5] = [Base::Last, Base::Quick, Base::Level, Base::Season, Base::Mean];

    fn hourly() -> Grid {
        Grid::utc(Timestamp::EPOCH, Duration::from_hours(1))
    }

    fn wave(n: usize) -> Vec<f64> {
        (0..n).map(|k| 100.0 + 50.0 * (k as f64 / 24.0 * TAU).sin() + (k % 7) as f64).collect()
    }

    /// All features, worked out from whole arrays as their definitions read.
    fn defined(past: &Past<'_>, unit: f64, ahead: usize, base: Base) -> ([f32; COUNT], f64) {
        let (day, n) = (past.grid().day(), past.values().len());
        let logs: Vec<f64> = past.values().iter().map(|value| (value / unit + OFFSET).ln()).collect();
        let at = |i: usize| logs[i.min(n - 1)];
        let smoothed: Vec<f64> = (0..n).map(|i| (at(i.saturating_sub(1)) + 2.0 * logs[i] + at(i + 1)) / 4.0).collect();
        let wide: Vec<f64> =
            (0..n).map(|i| (0..=2 * REACH).map(|k| at((i + k).saturating_sub(REACH))).sum::<f64>() / 9.0).collect();
        let seasonal = |lags: RangeInclusive<usize>, period: usize, i: usize| -> Vec<f64> {
            lags.filter_map(|lag| i.checked_sub(lag * period)).filter(|j| *j < n).map(|j| smoothed[j]).collect()
        };
        let usual = |first: usize, i: usize| {
            let mut days = seasonal(first..=first + 6, day, i);
            days.sort_unstable_by(f64::total_cmp);
            let middle = days.len() / 2;
            match days.len() {
                0 => logs[0],
                odd if odd % 2 == 1 => days[middle],
                _ => 0.5 * (days[middle - 1] + days[middle]),
            }
        };
        let weekly = |i: usize, usual: f64| {
            let weeks = seasonal(1..=3, 7 * day, i);
            if weeks.is_empty() { usual } else { weeks.iter().sum::<f64>() / weeks.len() as f64 }
        };
        let average = |values: &[f64], half_life: f64| {
            let gain = 1.0 - 0.5f64.powf(1.0 / half_life.max(0.5));
            values.iter().fold(values[0], |level, value| level + gain * (value - level))
        };
        let off = |from: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..n).map(|i| if i < day { 0.0 } else { logs[i] - from(i) }).collect()
        };
        let (by_day, by_week) = (off(&|i| usual(1, i)), off(&|i| weekly(i, usual(1, i))));
        let squares: Vec<f64> = (0..n).map(|i| if i == 0 { 0.0 } else { (logs[i] - logs[i - 1]).powi(2) }).collect();
        let (day_steps, last, target) = (day as f64, n - 1, n - 1 + ahead);
        let back = if ahead + 1 < day { 1 } else { 2 };
        let (usual_then, last_day) = (usual(back, target), &logs[n.saturating_sub(day)..]);
        let weekly_then = weekly(target, usual_then);
        let season = 0.5 * (usual_then + weekly_then);
        let base = match base {
            Base::Last => logs[last],
            Base::Quick => average(&logs, 1.0),
            Base::Level => average(&logs, day_steps),
            Base::Season => season,
            Base::Mean => 0.0,
        };
        let smooth = |i: usize| smoothed[i.min(n - 1)];
        let days = |days: usize| match target.checked_sub(day * days).filter(|i| *i >= 1) {
            Some(i) => smooth(i),
            None => smooth(target.saturating_sub(day * back)),
        };
        let weeks = |weeks: usize| target.checked_sub(7 * day * weeks).filter(|i| *i >= 1).map_or(weekly_then, smooth);
        let moment = past.moment(target);
        let weekday = f64::from(moment.weekday);
        let mut all = vec![weekday];
        all.extend([1, 2, 3, 4, 8].map(|lag| logs[n - lag] - base));
        all.extend([2.0, 4.0, day_steps / 6.0, day_steps, 4.0 * day_steps].map(|half| average(&logs, half) - base));
        all.extend((0..3).map(|more| days(back + more) - base));
        all.extend((1..=3).map(|back| weeks(back) - base));
        all.extend([usual_then - base, weekly_then - base, usual_then - usual(1, last)]);
        all.push(weekly_then - weekly(last, usual(1, last)));
        all.push(days(back) - smooth(last.saturating_sub(day * back)));
        for half in [2.0, day_steps / 6.0, day_steps] {
            all.extend([average(&by_day, half), average(&by_week, half)]);
        }
        let floor = |value: f64| (1e-3 + value).ln();
        all.extend([8.0, day_steps, 7.0 * day_steps].map(|half| floor(average(&squares, half).sqrt())));
        let magnitude = |of: &[f64], half: f64| floor(average(&of.iter().map(|v| v.abs()).collect::<Vec<_>>(), half));
        all.push(magnitude(&by_day, day_steps / 4.0));
        all.extend([&by_day, &by_week].map(|of| magnitude(of, 7.0 * day_steps)));
        all.push(last_day.iter().copied().fold(f64::MIN, f64::max) - base);
        all.push(last_day.iter().copied().fold(f64::MAX, f64::min) - base);
        all.extend([base, season, (moment.day * TAU).sin(), (moment.day * TAU).cos()]);
        all.extend([ahead as f64 / day_steps * 96.0, (weekday / 7.0 * TAU).sin(), (weekday / 7.0 * TAU).cos()]);
        let far = if ahead + REACH < day { 1 } else { 2 };
        let wide = |steps: usize| target.checked_sub(steps).filter(|i| *i >= REACH).map(|i| wide[i.min(last)]);
        all.extend((0..7).map(|more| wide(day * (far + more)).unwrap_or(usual_then) - base));
        all.extend((1..=3).map(|back| wide(7 * day * back).unwrap_or(weekly_then) - base));
        (std::array::from_fn(|place| all[place] as f32), base)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Pushed one by one, at any length: what whole arrays say, bit for bit, and what building at once says.
        #[test]
        fn pushing_equals_building_at_once_and_the_definition(
            seed in any::<u64>(), minutes in prop::sample::select(vec![60u64, 120, 180, 360]), offset in -9i32..9,
        ) {
            let start = Timestamp::from_secs(1_700_000_000);
            let change = start + Duration::from_hours(24 * 9);
            let offsets = [(start, 3600 * offset), (change, 3600 * offset + 3600)];
            let grid = Grid::local(start, Duration::from_mins(minutes), offsets);
            let day = grid.day();
            let mut chance = Chance::new(seed, "described");
            let values: Vec<f64> = (0..25 * day)
                .map(|k| {
                    let level = 20.0 + 15.0 * (k as f64 / day as f64 * TAU).sin();
                    if chance.uniform() < 0.1 { 0.0 } else { level * (0.3 * chance.normal()).exp() }
                })
                .collect();
            let mut pushed = Described::begin(&grid, 3, 17.0);
            for n in 1..=values.len() {
                pushed.push(values[n - 1]);
                if n < Described::fewest(day) || n % 11 != 3 && n != values.len() {
                    continue;
                }
                let past = Past::new(&grid, 3, &values[..n]);
                prop_assert_eq!(&pushed, &Described::with_unit(&past, 17.0));
                for ahead in [1, 2, day / 2, day.saturating_sub(4).max(1), day - 1, day] {
                    let row = pushed.row(ahead);
                    for base in BASES {
                        let mut features = [0.0; COUNT];
                        let from = row.measure(base, &mut features);
                        let (wanted, wanted_from) = defined(&past, 17.0, ahead, base);
                        prop_assert_eq!(features.map(f32::to_bits), wanted.map(f32::to_bits), "{} {}", n, ahead);
                        prop_assert_eq!(from.to_bits(), wanted_from.to_bits());
                    }
                }
                let rows = pushed.rows(day);
                prop_assert_eq!(rows[day - 1].features, pushed.row(day).features);
            }
        }
    }

    #[test]
    fn features_are_the_same_for_any_size() {
        let values = wave(24 * 20);
        let large: Vec<f64> = values.iter().map(|value| value * 1e9).collect();
        let grid = hourly();
        let [small, large] = [&values, &large].map(|values| Described::new(&Past::new(&grid, 0, values)).unwrap());
        let (mut a, mut b) = ([0.0; COUNT], [0.0; COUNT]);
        small.row(3).measure(Base::Season, &mut a);
        large.row(3).measure(Base::Season, &mut b);
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-5);
        }
        assert!((large.value(large.log(100)) / (values[100] * 1e9) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_no_series_should_hold_does_no_harm() {
        let mut values = wave(24 * 10);
        (values[30], values[200], values[239]) = (-1e6, 1e300, -3.0);
        let known = Described::new(&Past::new(&hourly(), 0, &values)).unwrap();
        let mut features = [0.0; COUNT];
        for base in BASES {
            known.row(5).measure(base, &mut features);
            assert!(features.iter().all(|value| value.is_finite()), "{base:?}: {features:?}");
        }
    }

    #[test]
    fn the_extremes_of_a_window_slide() {
        let values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        for (pick, wanted) in [
            (f64::max as fn(f64, f64) -> f64, [3.0, 3.0, 4.0, 4.0, 5.0, 9.0, 9.0, 9.0]),
            (f64::min, [3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0]),
        ] {
            let mut extreme = Extreme::new(pick);
            for (at, wanted) in wanted.into_iter().enumerate() {
                extreme.push(at, values[at], 3);
                assert_eq!(extreme.value(), wanted);
            }
        }
    }
}
