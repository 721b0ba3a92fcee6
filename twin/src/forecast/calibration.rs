//! Quantiles corrected while they are used, so that as many values lie below each as should.
//!
//! Quantile tracking (A. Angelopoulos, E. Candès, R. Tibshirani, "Conformal PID Control for Time Series Prediction",
//! arXiv 2307.16895, its proportional part): whenever a value turns out above a quantile, that one moves up a little;
//! otherwise down, by as much less as its level says. In units of the forecast's own spread, in logarithms, one correction
//! for each level and range of leads. An error counts when its value is known, never before.

use crate::forecast::quantiles::LEVELS;

const COUNT: usize = LEVELS.len();

/// Places of the 10 % and 90 % quantiles, and their distance in a normal distribution of deviation 1.
const INNER: (usize, usize, f64) = (1, 9, 2.563_103);

/// Least spread, as a share: a forecast that is sure of itself can still be corrected.
const LEAST_SPREAD: f64 = 0.02;

/// How fast corrections move.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pace {
    /// Size of a step, for the outer levels.
    gain: f64,
    /// Share of it for the levels from 20 % to 80 %.
    inner: f64,
    /// Share of a correction that is forgotten at each update.
    decay: f64,
    /// Ends of the ranges of leads \[steps\], ascending; the last holds all.
    ranges: Vec<usize>,
}

impl Pace {
    /// For leads of a few hours, with an update every step.
    pub(super) fn near() -> Self {
        Pace { gain: 0.05, inner: 0.5, decay: 0.0, ranges: vec![usize::MAX] }
    }

    /// For leads up to a day of `day` steps, with an update an hour.
    pub(super) fn far(day: usize) -> Self {
        Pace { gain: 0.1, inner: 0.02, decay: 0.001, ranges: vec![day.div_ceil(12), day.div_ceil(3), usize::MAX] }
    }

    fn range(&self, ahead: usize) -> usize {
        self.ranges.partition_point(|end| *end <= ahead)
    }
}

/// The corrections of one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calibration {
    pace: Pace,
    corrections: Vec<[f64; COUNT]>,
    /// Values above each corrected quantile since the last update, by range of leads, and how many were looked at.
    above: Vec<([u32; COUNT], u32)>,
}

impl Calibration {
    pub(super) fn new(pace: Pace) -> Self {
        let ranges = pace.ranges.len();
        Calibration { pace, corrections: vec![[0.0; COUNT]; ranges], above: vec![([0; COUNT], 0); ranges] }
    }

    /// Corrects the quantiles of the step `ahead` (from 0) of a forecast, in logarithms.
    pub(super) fn correct(&self, ahead: usize, logs: &[f64; COUNT]) -> [f64; COUNT] {
        let spread = ((logs[INNER.1] - logs[INNER.0]) / INNER.2).max(LEAST_SPREAD);
        let correction = &self.corrections[self.pace.range(ahead)];
        let mut corrected = *logs;
        corrected.iter_mut().zip(correction).for_each(|(log, correction)| *log += spread * correction);
        corrected.sort_unstable_by(f64::total_cmp);
        corrected
    }

    /// Takes in what came of the step `ahead` (from 0) of a forecast that was corrected to `corrected`.
    pub(super) fn observe(&mut self, ahead: usize, corrected: &[f64; COUNT], came: f64) {
        let (above, count) = &mut self.above[self.pace.range(ahead)];
        above.iter_mut().zip(corrected).for_each(|(above, log)| *above += u32::from(came > *log));
        *count += 1;
    }

    /// Moves the corrections by what was observed since the last update, in which `steps` values became known.
    pub(super) fn update(&mut self, steps: usize) {
        for (corrections, (above, count)) in self.corrections.iter_mut().zip(&mut self.above) {
            if *count == 0 {
                continue;
            }
            for ((correction, above), level) in corrections.iter_mut().zip(above.iter()).zip(LEVELS) {
                let outer = !(0.15..=0.85).contains(&level);
                let gain = self.pace.gain * if outer { 1.0 } else { self.pace.inner };
                let error = f64::from(*above) / f64::from(*count) - (1.0 - level);
                *correction = *correction * (1.0 - self.pace.decay) + gain * steps as f64 * error;
            }
            (*above, *count) = ([0; COUNT], 0);
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
        for pace in [Pace::near(), Pace::far(96)] {
            let mut calibration = Calibration::new(pace);
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
                calibration.update(1);
                assert!(corrected.is_sorted());
            }
            let share = |of: u32| f64::from(of) / f64::from(count);
            assert!((share(within) - 0.9).abs() < 0.02, "{}", share(within));
            assert!((share(above) - 0.1).abs() < 0.02, "{}", share(above));
        }
    }

    #[test]
    fn leads_are_corrected_by_their_own_errors() {
        let mut calibration = Calibration::new(Pace::far(96));
        let logs = LEVELS;
        for _ in 0..50 {
            calibration.observe(0, &logs, 9.0);
            calibration.update(4);
        }
        assert!(calibration.correct(0, &logs)[10] > logs[10]);
        assert_eq!(calibration.correct(8, &logs), logs);
        assert_eq!(calibration.correct(95, &logs), logs);
    }
}
