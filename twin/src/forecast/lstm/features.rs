//! What the network sees of a series: logarithms of values over their recent mean, at the lags of a day and a week.
//!
//! A value that is not known, because the series is too short or the day has not come yet, is stood in for by that of
//! the nearest day before or after at the same time, and where there is none, by the mean. Nothing after the origin is
//! read.

/// Inputs at each step of the context.
pub(super) const INPUTS: usize = 4;

/// Features of each step to forecast.
pub(super) const FEATURES: usize = 13;

use std::borrow::Cow;

/// A series without gaps.
#[derive(Clone, Debug)]
pub(super) struct Series<'a> {
    values: Cow<'a, [f64]>,
    day: usize,
    first: usize,
}

impl<'a> Series<'a> {
    /// `values` at steps of which `day` make a day, the first at step `first` of its day. What is negative is taken as
    /// zero; what is not a number as the value a day before, else as the value before, else as zero.
    pub(super) fn new(values: &'a [f64], day: usize, first: usize) -> Self {
        if values.iter().all(|value| value.is_finite() && *value >= 0.0) {
            return Series { values: Cow::Borrowed(values), day, first };
        }
        let mut filled: Vec<f64> = Vec::with_capacity(values.len());
        for (n, value) in values.iter().enumerate() {
            let stand_in = || n.checked_sub(day).map(|n| filled[n]).or(filled.last().copied()).unwrap_or(0.0);
            let value = if value.is_finite() { value.max(0.0) } else { stand_in() };
            filled.push(value);
        }
        Series { values: Cow::Owned(filled), day, first }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Steps that make a day.
    pub(super) fn day(&self) -> usize {
        self.day
    }

    /// The value at step `n`.
    pub(super) fn value(&self, n: usize) -> f64 {
        self.values[n]
    }

    /// The series as it looks from `origin`, the index of the first step that is not known.
    pub(super) fn view(&self, origin: usize) -> View<'_> {
        self.view_since(0, origin, 1.0)
    }

    /// The same, had the series begun at step `since`, in a scale larger by `factor`.
    pub(super) fn view_since(&self, since: usize, origin: usize, factor: f64) -> View<'_> {
        let (known, first) = (&self.values[since..origin], (self.first + since) % self.day);
        let week = &known[known.len().saturating_sub(7 * self.day)..];
        let mean = |of: &mut dyn Iterator<Item = f64>| of.sum::<f64>() / week.len().max(1) as f64;
        let plain = mean(&mut week.iter().copied());
        // Spikes count as five times the mean, so that one of them does not make a week look small.
        let scale = mean(&mut week.iter().map(|value| value.min(5.0 * plain)));
        View::new(known, self.day, first, factor * if scale > 0.0 { scale } else { 1.0 })
    }
}

/// What is known of a series at an origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    known: &'a [f64],
    day: usize,
    first: usize,
    scale: f64,
    /// Features that are the same for all steps: the level, its ratio to that of a day and of a week before, and that
    /// of the last day to the same day a week before, as logarithms.
    levels: [f32; 4],
}

impl<'a> View<'a> {
    fn new(known: &'a [f64], day: usize, first: usize, scale: f64) -> Self {
        let mut view = View { known, day, first, scale, levels: [0.0; 4] };
        let (origin, day, week) = (known.len() as isize, day as isize, view.week());
        let [level, day_ago, week_ago] = [0, day, week].map(|lag| view.mean(origin - lag - 4, 4));
        let [today, last_week] = [0, week].map(|lag| view.mean(origin - lag - day, day));
        view.levels = [level, level - day_ago, level - week_ago, today - last_week];
        view
    }

    /// The logarithm of one and a value's ratio to the recent mean.
    pub(super) fn scaled(&self, value: f64) -> f32 {
        (value / self.scale).ln_1p() as f32
    }

    /// The value that [`View::scaled`] makes of it; not negative.
    pub(super) fn value(&self, scaled: f32) -> f64 {
        (f64::from(scaled).exp_m1() * self.scale).max(0.0)
    }

    /// The inputs of the last `context` steps, step by step.
    pub(super) fn inputs(&self, context: usize) -> impl Iterator<Item = [f32; INPUTS]> {
        let origin = self.known.len() as isize;
        (origin - context as isize..origin).map(|t| {
            let [sine, cosine] = self.time_of_day(t);
            [self.scaled(self.at(t)), self.scaled(self.at(t - self.week())), sine, cosine]
        })
    }

    /// The features of step `k` of the forecast, 0 the first.
    pub(super) fn features(&self, k: usize) -> [f32; FEATURES] {
        let origin = self.known.len() as isize;
        let (day, week) = (self.day as isize, self.week());
        let t = origin + k as isize;
        let [sine, cosine] = self.time_of_day(t);
        let [level, by_day, by_week, today] = self.levels;
        [
            self.scaled(self.at(t - day)),
            self.scaled(self.at(t - week)),
            self.scaled(self.at(t - 2 * week)),
            self.mean(t - day - 2, 5),
            self.mean(t - week - 2, 5),
            level,
            by_day,
            by_week,
            today,
            sine,
            cosine,
            if t >= week { 1.0 } else { 0.0 },
            (1.0 / (1.0 + k as f64)).sqrt() as f32,
        ]
    }

    fn week(&self) -> isize {
        7 * self.day as isize
    }

    fn time_of_day(&self, t: isize) -> [f32; 2] {
        let turn = (t + self.first as isize).rem_euclid(self.day as isize) as f64 / self.day as f64;
        let (sine, cosine) = (turn * std::f64::consts::TAU).sin_cos();
        [sine as f32, cosine as f32]
    }

    /// The value at step `t`, or at the same time of the nearest day that is known, or the mean.
    fn at(&self, t: isize) -> f64 {
        let (day, origin) = (self.day as isize, self.known.len() as isize);
        let nearest = match t {
            _ if t < 0 => t.rem_euclid(day),
            _ if t >= origin => t - ((t - origin) / day + 1) * day,
            _ => t,
        };
        usize::try_from(nearest).ok().and_then(|n| self.known.get(n)).copied().unwrap_or(self.scale)
    }

    /// The logarithm of the mean of `count` values from `first` on.
    fn mean(&self, first: isize, count: isize) -> f32 {
        self.scaled((first..first + count).map(|t| self.at(t)).sum::<f64>() / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_after_the_origin_is_read_and_all_is_finite(
            values in prop::collection::vec(prop_oneof![0.0..1e12_f64, Just(0.0), Just(f64::NAN)], 0..80),
            rest in prop::collection::vec(0.0..1e12_f64, 8),
            day in 1..9_usize,
            k in 0..30_usize,
        ) {
            let both = [&values[..], &rest].concat();
            let whole = Series::new(&both, day, 3 % day);
            let part = Series::new(&values, day, 3 % day);
            let (whole, part) = (whole.view(values.len()), part.view(values.len()));
            let inputs: Vec<_> = part.inputs(20).collect();
            prop_assert_eq!(&inputs, &whole.inputs(20).collect::<Vec<_>>());
            prop_assert_eq!(part.features(k), whole.features(k));
            prop_assert!(inputs.iter().flatten().chain(&part.features(k)).all(|value| value.is_finite()));
        }

        #[test]
        fn features_do_not_depend_on_the_unit(values in prop::collection::vec(1.0..100.0_f64, 1..60), k in 0..9_usize) {
            let thousand: Vec<f64> = values.iter().map(|value| 1024.0 * value).collect();
            let (one, other) = (Series::new(&values, 4, 0), Series::new(&thousand, 4, 0));
            for (a, b) in one.view(values.len()).features(k).iter().zip(other.view(values.len()).features(k)) {
                prop_assert!((a - b).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn what_is_not_known_is_the_same_time_of_the_nearest_day() {
        let series = Series::new(&[10.0, 20.0, 30.0, 11.0, 21.0], 3, 0);
        let view = series.view(5);
        assert_eq!([view.at(-1), view.at(5), view.at(7), view.at(4 - 21)], [30.0, 30.0, 21.0, 20.0]);
        assert_eq!(Series::new(&[], 3, 0).view(0).at(2), 1.0);
    }
}
