//! Quantiles corrected while they are used, so that as many values lie below each as should.
//!
//! Quantile tracking (A. Angelopoulos, E. Candès, R. Tibshirani, "Conformal PID Control for Time Series Prediction",
//! arXiv 2307.16895, its proportional part): whenever a value turns out above a quantile, that one moves up a little;
//! otherwise down, by as much less as its level says. In units of the forecast's own spread, in logarithms, one correction
//! for each level. An error counts when its value is known, never before.

use crate::forecast::quantiles::LEVELS;

const COUNT: usize = LEVELS.len();

/// Places of the 10 % and 90 % quantiles, and their distance in a normal distribution of deviation 1.
const INNER: (usize, usize, f64) = (1, 9, 2.563_103);

/// Least spread, as a share: a forecast that is sure of itself can still be corrected.
const LEAST_SPREAD: f64 = 0.02;

/// How fast corrections move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Size of a step, for the outer levels.
    gain: f64,
    /// Share of it for the levels from 20 % to 80 %.
    inner: f64,
    /// Share of a correction that is forgotten at each update.
    decay: f64,
}

impl Pace {
    /// For leads of a few hours, with an update every step.
    pub(super) const NEAR: Pace = Pace { gain: 0.05, inner: 0.5, decay: 0.0 };

    /// For leads up to a day, with an update an hour.
    pub(super) const FAR: Pace = Pace { gain: 0.1, inner: 0.05, decay: 0.002 };
}

/// A value at each level.
pub(super) type Row = [f64; COUNT];

/// The corrections of one series, each for a few neighbouring leads: 1, 2, 3 and 4, 5 to 8, 9 to 16 steps and so on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calibration {
    pace: Pace,
    groups: Vec<Group>,
}

/// The corrections of a group of leads.
#[derive(Clone, Debug, Default, PartialEq)]
struct Group {
    corrections: Row,
    /// Values above each corrected quantile since the last update …
    above: [u32; COUNT],
    /// … of so many.
    count: u32,
}

/// Group of the lead `ahead`, from 0.
fn group_of(ahead: usize) -> usize {
    (ahead + 1).next_power_of_two().trailing_zeros() as usize
}

impl Calibration {
    /// None yet, for leads up to `horizon` steps.
    pub(super) fn new(pace: Pace, horizon: usize) -> Self {
        Calibration { pace, groups: vec![Group::default(); group_of(horizon.max(1) - 1) + 1] }
    }

    /// Corrects the quantiles of the step `ahead` (from 0) of a forecast, in logarithms; steps beyond the horizon as the
    /// last before it.
    pub(super) fn correct(&self, ahead: usize, logs: &Row) -> Row {
        let group = &self.groups[group_of(ahead).min(self.groups.len() - 1)];
        let spread = ((logs[INNER.1] - logs[INNER.0]) / INNER.2).max(LEAST_SPREAD);
        let mut corrected = *logs;
        corrected.iter_mut().zip(&group.corrections).for_each(|(log, correction)| *log += spread * correction);
        corrected.sort_unstable_by(f64::total_cmp);
        corrected
    }

    /// Takes in what came of the step `ahead` (from 0), which was corrected to `corrected`.
    pub(super) fn observe(&mut self, ahead: usize, corrected: &Row, came: f64) {
        let group = &mut self.groups[group_of(ahead)];
        group.above.iter_mut().zip(corrected).for_each(|(above, log)| *above += u32::from(came > *log));
        group.count += 1;
    }

    /// Moves the corrections by what was observed since the last update, in which `steps` values became known.
    pub(super) fn update(&mut self, steps: usize) {
        for group in self.groups.iter_mut().filter(|group| group.count > 0) {
            for ((correction, above), level) in group.corrections.iter_mut().zip(&group.above).zip(LEVELS) {
                let outer = !(0.15..=0.85).contains(&level);
                let gain = self.pace.gain * if outer { 1.0 } else { self.pace.inner };
                let error = f64::from(*above) / f64::from(group.count) - (1.0 - level);
                *correction = *correction * (1.0 - self.pace.decay) + gain * steps as f64 * error;
            }
            (group.above, group.count) = ([0; COUNT], 0);
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
        // What is forgotten pulls corrections back a little: the slower pace stays a few in a hundred short.
        for (pace, steps, tolerance) in [(Pace::NEAR, 1, 0.02), (Pace::FAR, 4, 0.035)] {
            let mut calibration = Calibration::new(pace, 1);
            let mut chance = Chance::new(1, "calibration");
            let logs = LEVELS.map(|level| 0.5 * normal_quantile(level) - 0.33);
            let (mut within, mut above, mut count) = (0, 0, 0);
            for step in 0..4_000 {
                let corrected = calibration.correct(0, &logs);
                let came = chance.normal();
                if step >= 1_000 {
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
            assert!((share(within) - 0.9).abs() < tolerance, "{}", share(within));
            assert!((share(above) - 0.1).abs() < tolerance, "{}", share(above));
        }
    }
}
