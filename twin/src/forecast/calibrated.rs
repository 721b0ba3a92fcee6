//! Any follower, its quantiles corrected on the way by what became of them.
//!
//! A [`Calibrated`] issues the forecasts of the follower in it at regular steps, whether or not anybody asks, lets each
//! meet what comes, and moves later ones by what it learned: by lead and by level, in logarithms, so that a correction
//! means the same at night and at noon. It knows nothing of how the forecasts are made. What stands in for a model that
//! fails is passed on as it is, and nothing is learned from it.

use std::collections::VecDeque;

use super::calibration::{Calibration, Pace, Row};
use super::follower::{Follower, Outlook};
use super::grid::Grid;
use super::model::features::{log_of, value_of};
use super::model::{Unfit, is_near};
use super::quantiles::Quantiles;

/// When a [`Calibrated`] issues forecasts to learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// Steps ahead of each.
    pub horizon: usize,
    /// Step of the series from which they are issued.
    pub begin: usize,
    /// Steps from one to the next; a forecast that is asked for in between is not learned from.
    pub stride: usize,
}

impl Rehearsal {
    /// From the step `begin` of `grid` on: at every step where the leads are of hours, every hour where they go beyond.
    pub fn new(grid: &Grid, horizon: usize, begin: usize) -> Self {
        let stride = if is_near(horizon, grid) { 1 } else { hour(grid) };
        Rehearsal { horizon, begin, stride }
    }

    /// The same, but every hour at most: for models whose forecast costs a fit.
    #[must_use]
    pub fn hourly(self, grid: &Grid) -> Self {
        Rehearsal { stride: self.stride.max(hour(grid)), ..self }
    }
}

fn hour(grid: &Grid) -> usize {
    (grid.day() / 24).max(1)
}

/// A follower whose quantiles are corrected.
#[derive(Clone)]
pub struct Calibrated {
    inner: Box<dyn Follower>,
    /// What forecasts in the place of `inner` before a step of the series, and that step.
    early: Option<(Box<dyn Follower>, usize)>,
    rehearsal: Rehearsal,
    calibration: Calibration,
    scale: Scale,
    seen: usize,
    /// Steps since the corrections last moved.
    since_update: usize,
    issues: VecDeque<Issue>,
}

/// A forecast that waits for what comes.
#[derive(Clone)]
struct Issue {
    /// Place of its first step.
    first: usize,
    /// Unit of its logarithms.
    unit: f64,
    /// By step ahead, corrected.
    rows: Vec<Row>,
}

impl Calibrated {
    /// Corrects what `inner` says of a series on `grid`.
    pub fn new(inner: Box<dyn Follower>, grid: &Grid, rehearsal: Rehearsal) -> Self {
        assert!(rehearsal.horizon > 0 && rehearsal.stride > 0, "forecasts of a step at least, a step apart at least");
        let pace = if is_near(rehearsal.horizon, grid) { Pace::NEAR } else { Pace::FAR };
        Calibrated {
            inner,
            early: None,
            rehearsal,
            calibration: Calibration::new(pace, rehearsal.horizon, grid.week()),
            scale: Scale::new(grid.week()),
            seen: 0,
            since_update: 0,
            issues: VecDeque::new(),
        }
    }

    /// The same, with `early` forecasting before the step `until` of the series: errors of a model on what it was
    /// trained on say nothing of those that will come, so that one must stand in there that was not.
    #[must_use]
    pub fn with_early(self, early: Box<dyn Follower>, until: usize) -> Self {
        Calibrated { early: Some((early, until)), ..self }
    }

    fn is_due(&self) -> bool {
        let Rehearsal { begin, stride, .. } = self.rehearsal;
        self.seen >= begin
            && self.seen.is_multiple_of(stride)
            && self.issues.back().is_none_or(|issue| issue.first != self.seen)
    }

    /// Asks what forecasts now for so many steps, at least those that are learned from, and corrects what it says.
    fn issue(&mut self, steps: usize) -> Result<(Issue, Outlook), Unfit> {
        let steps = steps.max(self.rehearsal.horizon);
        let outlook = match &mut self.early {
            Some((early, _)) => early.forecast(steps)?,
            None => self.inner.forecast(steps)?,
        };
        let unit = self.scale.unit();
        let logs = outlook.quantiles.rows().iter().map(|row| row.map(|value| log_of(value, unit)));
        let rows = logs.enumerate().map(|(ahead, logs)| self.calibration.correct(ahead, &logs)).collect();
        Ok((Issue { first: self.seen, unit, rows }, outlook))
    }

    fn update(&mut self) {
        if self.seen.is_multiple_of(self.rehearsal.stride) && self.since_update > 0 {
            self.calibration.update(self.since_update);
            self.since_update = 0;
        }
    }

    fn keep(&mut self, mut issue: Issue) {
        issue.rows.truncate(self.rehearsal.horizon);
        self.issues.push_back(issue);
    }

    /// Lets what came meet what was forecast of it.
    fn meet(&mut self, value: f64) {
        for issue in &self.issues {
            let ahead = self.seen - issue.first;
            self.calibration.observe(ahead, &issue.rows[ahead], log_of(value, issue.unit));
        }
    }
}

impl Follower for Calibrated {
    fn observe(&mut self, value: Option<f64>) {
        self.update();
        if self.is_due()
            && let Ok((issue, outlook)) = self.issue(0)
            && outlook.instead.is_none()
        {
            self.keep(issue);
        }
        self.inner.observe(value);
        if let Some((early, _)) = &mut self.early {
            early.observe(value);
        }
        // A value that was not seen is no error of anybody's.
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.meet(value);
            self.scale.take(value);
        }
        self.since_update += 1;
        self.seen += 1;
        let horizon = self.rehearsal.horizon;
        while self.issues.front().is_some_and(|issue| issue.first + horizon <= self.seen) {
            self.issues.pop_front();
        }
        if self.early.as_ref().is_some_and(|(_, until)| *until <= self.seen) {
            self.early = None;
        }
    }

    fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
        self.update();
        let (issue, mut outlook) = self.issue(steps)?;
        if outlook.instead.is_some() {
            outlook.quantiles = Quantiles::new(outlook.quantiles.rows()[..steps].to_vec());
            return Ok(outlook);
        }
        let rows = issue.rows[..steps].iter().map(|row| row.map(|log| value_of(log, issue.unit)));
        outlook.quantiles = Quantiles::new(rows.collect());
        if self.is_due() {
            self.keep(issue);
        }
        Ok(outlook)
    }

    fn clone_box(&self) -> Box<dyn Follower> {
        Box::new(self.clone())
    }
}

/// What values are measured in: their mean over about a week, in which a spike counts as a few times the mean.
#[derive(Clone, Debug)]
struct Scale {
    mean: f64,
    count: usize,
    week: usize,
}

/// A value counts as at most so many times the mean.
const SPIKE: f64 = 8.0;

impl Scale {
    fn new(week: usize) -> Self {
        Scale { mean: 0.0, count: 0, week }
    }

    fn take(&mut self, value: f64) {
        let bounded = if self.mean > 0.0 { value.abs().min(SPIKE * self.mean) } else { value.abs() };
        self.count = (self.count + 1).min(self.week);
        self.mean += (bounded - self.mean) / self.count as f64;
    }

    fn unit(&self) -> f64 {
        if self.mean > 0.0 { self.mean } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::*;
    use crate::forecast::chance::Chance;
    use crate::forecast::normal_quantile;
    use crate::forecast::quantiles::LEVELS;

    const HOUR: Duration = Duration::from_hours(1);

    /// Says that what comes is spread around 100 with this deviation of its logarithm, times this, at every lead; every
    /// so many steps something stands in for it.
    #[derive(Clone)]
    struct Fixed {
        factor: f64,
        sigma: f64,
        fails_every: usize,
        seen: usize,
        asked: usize,
    }

    impl Fixed {
        fn new(factor: f64, sigma: f64) -> Self {
            Fixed { factor, sigma, fails_every: usize::MAX, seen: 0, asked: 0 }
        }
    }

    impl Follower for Fixed {
        fn observe(&mut self, _value: Option<f64>) {
            self.seen += 1;
        }

        fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
            self.asked += 1;
            let row = LEVELS.map(|level| 100.0 * self.factor * (self.sigma * normal_quantile(level)).exp());
            let instead = (self.seen % self.fails_every == 1).then(|| "fixed gave none".to_owned());
            Ok(Outlook { quantiles: Quantiles::new(vec![row; steps]), by: "fixed", instead })
        }

        fn clone_box(&self) -> Box<dyn Follower> {
            Box::new(self.clone())
        }
    }

    fn grid() -> Grid {
        Grid::utc(Timestamp::EPOCH, HOUR)
    }

    fn noise(seed: u64, n: usize) -> Vec<f64> {
        let mut chance = Chance::new(seed, "calibrated");
        (0..n).map(|_| 100.0 * (0.2 * chance.normal()).exp()).collect()
    }

    /// Shares within the 90 % interval and above the 90 % quantile at the last lead, from step `from` on.
    fn shares(follower: &mut dyn Follower, values: &[f64], steps: usize, from: usize) -> (f64, f64, f64) {
        let (mut within, mut above, mut count) = (0.0, 0.0, 0.0);
        for at in 0..values.len() - steps {
            if let (Ok(outlook), true) = (follower.forecast(steps), at >= from) {
                let (row, came) = (outlook.quantiles.rows()[steps - 1], values[at + steps - 1]);
                within += f64::from(u8::from((row[0]..=row[10]).contains(&came)));
                above += f64::from(u8::from(came > row[9]));
                count += 1.0;
            }
            follower.observe(Some(values[at]));
        }
        (within / count, above / count, count)
    }

    #[test]
    fn a_forecast_that_is_wrong_comes_to_cover() {
        for (factor, sigma) in [(1.0, 0.2), (1.0, 0.05), (1.3, 0.1), (0.8, 0.5)] {
            for steps in [1, 4] {
                let rehearsal = Rehearsal::new(&grid(), steps, 0);
                let mut follower = Calibrated::new(Box::new(Fixed::new(factor, sigma)), &grid(), rehearsal);
                let (within, above, count) = shares(&mut follower, &noise(1, 5_000), steps, 2_000);
                // Three deviations of a share of so many, were they independent; tracking makes it less.
                let bound = 3.0 * (0.09 / count).sqrt();
                assert!((within - 0.9).abs() < bound, "{factor} {sigma} {steps}: {within} within");
                assert!((above - 0.1).abs() < bound, "{factor} {sigma} {steps}: {above} above");
            }
        }
    }

    #[test]
    fn leads_are_corrected_apart() {
        /// Right for the next four steps, far too sure beyond.
        #[derive(Clone)]
        struct Sure;
        impl Follower for Sure {
            fn observe(&mut self, _value: Option<f64>) {}
            fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
                let row = |ahead| {
                    let sigma = if ahead < 4 { 0.2 } else { 0.02 };
                    LEVELS.map(|level| 100.0 * (sigma * normal_quantile(level)).exp())
                };
                Ok(Outlook { quantiles: Quantiles::new((0..steps).map(row).collect()), by: "sure", instead: None })
            }
            fn clone_box(&self) -> Box<dyn Follower> {
                Box::new(self.clone())
            }
        }
        let quarters = Grid::utc(Timestamp::EPOCH, Duration::from_mins(15));
        let mut follower = Calibrated::new(Box::new(Sure), &quarters, Rehearsal::new(&quarters, 8, 0));
        noise(2, 4_000).iter().for_each(|value| follower.observe(Some(*value)));
        let rows = follower.forecast(8).unwrap().quantiles;
        for (ahead, row) in rows.rows().iter().enumerate() {
            // 2 z of the 95 % quantile times 0.2: near for every lead in the end.
            let width = (row[10] / row[0]).ln();
            assert!((width - 0.658).abs() < 0.15, "{ahead}: {width}");
        }
    }

    #[test]
    fn what_stands_in_and_what_was_not_seen_teach_nothing() {
        let mut fails = Fixed::new(1.0, 0.05);
        fails.fails_every = 2;
        let mut follower = Calibrated::new(Box::new(fails), &grid(), Rehearsal::new(&grid(), 1, 0));
        for (at, value) in noise(3, 400).into_iter().enumerate() {
            // Only after even steps the model itself forecasts; of those, what comes is never seen.
            let raw = Fixed::new(1.0, 0.05).forecast(1).unwrap().quantiles;
            let outlook = follower.forecast(1).unwrap();
            assert_eq!(outlook.instead.is_some(), at % 2 == 1);
            for (corrected, raw) in outlook.quantiles.rows()[0].iter().zip(raw.rows()[0]) {
                assert!((corrected / raw - 1.0).abs() < 1e-12, "{at}: {corrected} {raw}");
            }
            follower.observe((at % 2 == 1).then_some(value));
        }
    }

    #[test]
    fn an_early_follower_forecasts_what_the_other_was_trained_on() {
        let inner = Fixed::new(7.0, 0.2);
        let rehearsal = Rehearsal::new(&grid(), 2, 10);
        let early = Box::new(Fixed::new(1.0, 0.2));
        let mut follower = Calibrated::new(Box::new(inner), &grid(), rehearsal).with_early(early, 50);
        let near = |median: f64, wanted: f64| (median / wanted - 1.0).abs() < 0.5;
        for value in noise(4, 50) {
            assert!(near(follower.forecast(2).unwrap().quantiles.median(0), 100.0));
            follower.observe(Some(value));
        }
        assert!(near(follower.forecast(2).unwrap().quantiles.median(0), 700.0));
    }

    #[test]
    fn a_copy_goes_on_exactly_as_the_original_and_asking_changes_nothing() {
        let mut follower = Calibrated::new(Box::new(Fixed::new(1.2, 0.1)), &grid(), Rehearsal::new(&grid(), 4, 0));
        let values = noise(5, 600);
        values[..300].iter().for_each(|value| follower.observe(Some(*value)));
        let mut copy = follower.clone_box();
        for value in &values[300..] {
            follower.observe(Some(*value));
            copy.forecast(2).unwrap();
            copy.forecast(4).unwrap();
            copy.observe(Some(*value));
        }
        assert_eq!(follower.forecast(4).unwrap(), copy.forecast(4).unwrap());
        let (few, more) = (follower.forecast(1).unwrap().quantiles, follower.forecast(9).unwrap().quantiles);
        assert_eq!((few.rows()[0], more.steps()), (more.rows()[0], 9));
    }
}
