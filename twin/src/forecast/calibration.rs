//! Quantiles corrected while they are used, so that as many values lie below each as should.
//!
//! Conformal PID control (A. Angelopoulos, E. Candès, R. Tibshirani, "Conformal PID Control for Time Series Prediction",
//! arXiv 2307.16895), its proportional and its integral part: whenever a value turns out above a quantile, that one moves
//! up a little; otherwise down, by as much less as its level says (quantile tracking); and while too many were above over
//! the last week, it stands higher by a tangent of how many, which grows beyond bounds before the share can stay wrong. In
//! units of the forecast's own spread, in logarithms, one correction for each level and few neighbouring leads. An error
//! counts when its value is known, never before.

use std::f64::consts::FRAC_PI_2;

use super::model::features::log_of;
use super::quantiles::{LEVELS, MEDIAN};

const COUNT: usize = LEVELS.len();

/// Places of the 10 % and 90 % quantiles, and their distance in a normal distribution of deviation 1.
const INNER: (usize, usize, f64) = (1, 9, 2.563_103);

/// Least spread, as a share: a forecast that is sure of itself can still be corrected.
const LEAST_SPREAD: f64 = 0.02;

/// The most that a quantile is moved, in spreads.
const FURTHEST: f64 = 30.0;

/// How fast corrections move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Size of a step, for the levels beyond 20 % and 80 %; the later an error is known, the smaller it must be, or
    /// corrections swing.
    gain: f64,
    /// Share of it for the levels between.
    inner: f64,
    /// Weight of the integral part for the outermost levels …
    outermost: f64,
    /// … and for the 10 % and 90 % levels; those between have none.
    outer: f64,
    /// Whether leads are corrected apart.
    apart: bool,
}

/// Share of values too many above a quantile, mean over a week, at which the integral part would be without bounds.
const SATURATION: f64 = 0.15;

impl Pace {
    /// For leads of a few hours, with an update every step.
    pub(super) const NEAR: Pace = Pace { gain: 0.05, inner: 0.5, outermost: 0.0, outer: 0.0, apart: true };

    /// For leads up to a day, with an update an hour.
    pub(super) const FAR: Pace = Pace { gain: 0.02, inner: 0.1, outermost: 8.0, outer: 2.0, apart: false };

    fn of(&self, level: usize) -> (f64, f64) {
        match level.min(COUNT - 1 - level) {
            0 => (self.gain, self.outermost),
            1 => (self.gain, self.outer),
            _ => (self.gain * self.inner, 0.0),
        }
    }

    /// Group of the lead `ahead`, from 0: up to 4 steps, up to 16, up to 64 and so on.
    fn group_of(&self, ahead: usize) -> usize {
        if self.apart { ((ahead + 1).next_power_of_two().trailing_zeros() as usize).div_ceil(2).max(1) - 1 } else { 0 }
    }
}

/// A value at each level.
pub(super) type Row = [f64; COUNT];

/// The corrections of one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calibration {
    pace: Pace,
    /// Steps in a week.
    week: usize,
    groups: Vec<Group>,
}

/// The corrections of a group of leads.
#[derive(Clone, Debug, Default, PartialEq)]
struct Group {
    /// Both parts together.
    corrections: Row,
    proportional: Row,
    /// Share of values too many above each quantile, mean over about the last week.
    excess: Row,
    /// Values above each corrected quantile since the last update …
    above: Row,
    /// … of so many.
    count: f64,
}

impl Calibration {
    /// None yet, for leads up to `horizon` steps, of which `week` make a week.
    pub(super) fn new(pace: Pace, horizon: usize, week: usize) -> Self {
        Calibration { pace, week, groups: vec![Group::default(); pace.group_of(horizon.max(1) - 1) + 1] }
    }

    /// Corrects the quantiles of the step `ahead` (from 0) of a forecast, in logarithms; steps beyond the horizon as the
    /// last before it.
    pub(super) fn correct(&self, ahead: usize, logs: &Row) -> Row {
        let group = &self.groups[self.pace.group_of(ahead).min(self.groups.len() - 1)];
        let spread = ((logs[INNER.1] - logs[INNER.0]) / INNER.2).max(LEAST_SPREAD);
        let mut corrected = *logs;
        corrected.iter_mut().zip(&group.corrections).for_each(|(log, correction)| *log += spread * correction);
        // Ascending, from the median outwards: a level that would cross stands where the next one inwards does, so that its
        // own errors bring it back. Sorted, two that crossed would move each other's place, away from each other for ever.
        for level in MEDIAN + 1..COUNT {
            corrected[level] = corrected[level].max(corrected[level - 1]);
        }
        for level in (0..MEDIAN).rev() {
            corrected[level] = corrected[level].min(corrected[level + 1]);
        }
        corrected
    }

    /// Takes in what came of the step `ahead` (from 0), which was corrected to `corrected`.
    pub(super) fn observe(&mut self, ahead: usize, corrected: &Row, came: f64) {
        let nothing = log_of(0.0, 1.0);
        let group = &mut self.groups[self.pace.group_of(ahead)];
        for ((above, log), level) in group.above.iter_mut().zip(corrected).zip(LEVELS) {
            // Nothing came where nothing was as good as sure: no quantile can stand lower, and none is to blame.
            let settled = came <= nothing && *log <= nothing;
            *above += if settled { 1.0 - level } else { f64::from(u8::from(came > *log)) };
        }
        group.count += 1.0;
    }

    /// Moves the corrections by what was observed since the last update, in which `steps` values became known.
    pub(super) fn update(&mut self, steps: usize) {
        let share = (steps as f64 / self.week as f64).min(1.0);
        for group in self.groups.iter_mut().filter(|group| group.count > 0.0) {
            for (level, share_below) in LEVELS.into_iter().enumerate() {
                let (gain, weight) = self.pace.of(level);
                let error = group.above[level] / group.count - (1.0 - share_below);
                let proportional = group.proportional[level] + gain * steps as f64 * error;
                group.proportional[level] = proportional.clamp(-FURTHEST, FURTHEST);
                group.excess[level] += share * (error - group.excess[level]);
                let saturated = (group.excess[level] / SATURATION).clamp(-0.95, 0.95);
                let integral = weight * (saturated * FRAC_PI_2).tan();
                group.corrections[level] = (group.proportional[level] + integral).clamp(-FURTHEST, FURTHEST);
            }
            (group.above, group.count) = ([0.0; COUNT], 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::chance::Chance;
    use crate::forecast::normal_quantile;

    /// Forecasts that are sure of half the spread there is, and a third of a deviation too low.
    #[test]
    fn coverage_comes_to_be_right_whatever_the_forecast() {
        for (pace, steps) in [(Pace::NEAR, 1), (Pace::FAR, 4)] {
            let mut calibration = Calibration::new(pace, 1, 672);
            let mut chance = Chance::new(1, "calibration");
            let logs = LEVELS.map(|level| 0.5 * normal_quantile(level) - 0.33);
            let (mut within, mut above, mut count) = (0, 0, 0);
            for step in 0..6_000 {
                let corrected = calibration.correct(0, &logs);
                let came = chance.normal();
                if step >= 2_000 {
                    within += u32::from((corrected[0]..=corrected[10]).contains(&came));
                    above += u32::from(came > corrected[9]);
                    count += 1;
                }
                calibration.observe(0, &corrected, came);
                if step % steps == 0 {
                    calibration.update(steps);
                }
                assert!(corrected.is_sorted());
            }
            let share = |of: u32| f64::from(of) / f64::from(count);
            // Three deviations of a share of so many, were they independent; tracking makes it less.
            let bound = 3.0 * (0.09 / f64::from(count)).sqrt();
            assert!((share(within) - 0.9).abs() < bound, "{pace:?}: {}", share(within));
            assert!((share(above) - 0.1).abs() < bound, "{pace:?}: {}", share(above));
        }
    }

    /// Corrections that crossed come back: what stands at a level is what that level's own errors moved. Were rows sorted
    /// instead, the lowest level's errors would move what stands highest, and both would run away from each other.
    #[test]
    fn corrections_that_crossed_come_back() {
        for pace in [Pace::NEAR, Pace::FAR] {
            let mut calibration = Calibration::new(pace, 1, 672);
            for (level, share) in LEVELS.into_iter().enumerate() {
                calibration.groups[0].proportional[level] = 10.0 * (0.5 - share);
            }
            let mut chance = Chance::new(3, "crossing");
            let logs = LEVELS.map(|level| 0.5 * normal_quantile(level));
            for _ in 0..20_000 {
                let corrected = calibration.correct(0, &logs);
                assert!(corrected.is_sorted());
                calibration.observe(0, &corrected, chance.normal());
                calibration.update(1);
            }
            let corrected = calibration.correct(0, &logs);
            for (level, log) in LEVELS.into_iter().zip(corrected) {
                assert!((log - normal_quantile(level)).abs() < 0.4, "{pace:?}, {level}: {corrected:?}");
            }
        }
    }

    #[test]
    fn a_share_that_stays_wrong_is_answered_more_and_more() {
        // As far as tracking alone would go, and further: the integral part answers a week of misses.
        let tracked = Pace { outermost: 0.0, outer: 0.0, ..Pace::FAR };
        let high = [100.0; COUNT];
        let [with, without] = [Pace::FAR, tracked].map(|pace| {
            let mut calibration = Calibration::new(pace, 96, 672);
            for _ in 0..50 {
                calibration.observe(95, &high, 101.0);
                calibration.update(1);
            }
            calibration.correct(0, &LEVELS.map(normal_quantile))[9]
        });
        assert!(with > without + 0.5 && with < 1.3 + FURTHEST + 0.1, "{with} {without}");
    }

    #[test]
    fn nothing_where_nothing_is_forecast_moves_nothing() {
        let mut calibration = Calibration::new(Pace::NEAR, 4, 672);
        let nothing = [log_of(0.0, 7.0); COUNT];
        for _ in 0..1_000 {
            calibration.observe(0, &nothing, log_of(0.0, 7.0));
            calibration.update(1);
        }
        let moved = calibration.groups[0].corrections;
        assert!(moved.iter().all(|correction| correction.abs() < 1e-9), "{moved:?}");
    }

    #[test]
    fn leads_fall_into_groups_four_times_as_long_as_the_one_before() {
        let groups = [0, 3, 4, 15, 16, 39, 63, 64].map(|ahead| Pace::NEAR.group_of(ahead));
        assert_eq!(groups, [0, 0, 1, 1, 2, 2, 2, 3]);
        assert_eq!(Pace::FAR.group_of(95), 0);
    }
}
