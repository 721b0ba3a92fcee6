//! What capacity is sized for, corrected by how it has come out: one-sided trackers of the most over the window looked
//! ahead to.
//!
//! The rate is forecast with calibrated quantiles, but what is bought for is the most sessions within minutes that lie
//! ahead, at levels far in the tail, and much lies between the two: how errors last, how lengths are spread, the chance of
//! single sessions. Each level has a correction in units of the expected spread; it goes up when more came, and down a little
//! when not (quantile tracking: A. Angelopoulos, E. Candès, R. Tibshirani, arXiv 2307.16895).

use std::collections::VecDeque;

use forebay_world::Timestamp;

use crate::forecast::paths::Spread;

/// Levels that are tracked, ascending.
const LEVELS: [f64; 8] = [0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.997];
/// Places of the levels whose distance is the unit of corrections.
const UNIT: (usize, usize) = (2, 4);
/// Least unit, as a share of the median.
const LEAST_UNIT: f64 = 0.005;
/// Size of a step, in units, for the levels from 90 % on, and for those below.
const GAIN: f64 = 0.05;
const INNER_GAIN: f64 = 0.01;
/// No correction is larger, in units.
const MOST: f64 = 4.0;

/// The corrections of one serving cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Correction {
    offsets: [f64; LEVELS.len()],
    /// Expectations that have not met what came.
    waiting: VecDeque<Expectation>,
    /// What came of late: end of a window, and sessions.
    came: VecDeque<(Timestamp, f64)>,
}

#[derive(Clone, Debug)]
struct Expectation {
    from: Timestamp,
    until: Timestamp,
    quantiles: [f64; LEVELS.len()],
}

impl Correction {
    /// The spread as it should have been.
    pub(super) fn correct(&self, spread: &Spread) -> Spread {
        let unit = unit(spread);
        let n = spread.values().len() as f64;
        let corrected = spread.values().iter().enumerate();
        Spread::new(corrected.map(|(i, value)| (value + unit * self.offset((i as f64 + 0.5) / n)).max(0.0)).collect())
    }

    /// The correction of any level: linear between those that are tracked.
    fn offset(&self, level: f64) -> f64 {
        let above = LEVELS.partition_point(|known| *known < level);
        if above == 0 || above == LEVELS.len() {
            return self.offsets[above.min(LEVELS.len() - 1)];
        }
        let share = (level - LEVELS[above - 1]) / (LEVELS[above] - LEVELS[above - 1]);
        self.offsets[above - 1] + share * (self.offsets[above] - self.offsets[above - 1])
    }

    /// Remembers what is expected of the most sessions after `from`, until `until`: what [`Correction::correct`] said.
    pub(super) fn expect(&mut self, from: Timestamp, until: Timestamp, corrected: &Spread) {
        // What is asked for more often than it can be met is remembered once.
        if self.waiting.back().is_none_or(|last| last.until < until) {
            self.waiting.push_back(Expectation {
                from,
                until,
                quantiles: LEVELS.map(|level| corrected.quantile(level)),
            });
        }
    }

    /// Takes in the sessions of the window that ended at `at`; expectations that are due meet what came.
    pub(super) fn observe(&mut self, at: Timestamp, sessions: Option<f64>) {
        self.came.extend(sessions.map(|sessions| (at, sessions)));
        while let Some(due) = self.waiting.front().filter(|waiting| waiting.until <= at) {
            let within = |moment: Timestamp| moment > due.from && moment <= due.until;
            let most = self.came.iter().filter(|(moment, _)| within(*moment)).map(|(_, sessions)| *sessions);
            let most = most.fold(None, |most: Option<f64>, next| Some(most.map_or(next, |most| most.max(next))));
            let due = self.waiting.pop_front().expect("looked at");
            if let Some(most) = most {
                self.learn(&due.quantiles, most);
            }
        }
        let oldest = self.waiting.front().map_or(at, |waiting| waiting.from);
        while self.came.front().is_some_and(|(moment, _)| *moment <= oldest) {
            self.came.pop_front();
        }
    }

    fn learn(&mut self, quantiles: &[f64; LEVELS.len()], came: f64) {
        for ((offset, level), quantile) in self.offsets.iter_mut().zip(LEVELS).zip(quantiles) {
            let gain = if level < LEVELS[UNIT.1] { INNER_GAIN } else { GAIN };
            let error = f64::from(u8::from(came > *quantile)) - (1.0 - level);
            *offset = (*offset + gain * error).clamp(-MOST, MOST);
        }
    }
}

fn unit(spread: &Spread) -> f64 {
    let [middle, high] = [UNIT.0, UNIT.1].map(|place| spread.quantile(LEVELS[place]));
    (high - middle).max(LEAST_UNIT * middle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::chance::Chance;
    use crate::forecast::normal_quantile;
    use forebay_world::Duration;

    /// Sessions about 1000, each minute of its own, against an expectation of `mean` ± `deviation`.
    fn shares(mean: f64, deviation: f64, levels: &[f64]) -> Vec<f64> {
        let expected =
            Spread::new((0..128).map(|i| mean + deviation * normal_quantile((f64::from(i) + 0.5) / 128.0)).collect());
        let (mut correction, mut chance) = (Correction::default(), Chance::new(1, "correction"));
        let minute = Duration::from_mins(1);
        let (mut above, mut count) = (vec![0u32; levels.len()], 0);
        for n in 0..20_000u64 {
            let at = Timestamp::from_secs(60 * n);
            let came = 1000.0 + 50.0 * chance.normal();
            correction.observe(at, Some(came));
            let corrected = correction.correct(&expected);
            if n > 6_000 {
                // The next minute is as any other.
                let next = 1000.0 + 50.0 * Chance::new(n, "next").normal();
                above
                    .iter_mut()
                    .zip(levels)
                    .for_each(|(sum, level)| *sum += u32::from(next > corrected.quantile(*level)));
                count += 1;
            }
            correction.expect(at + minute * 3, at + minute * 4, &corrected);
        }
        above.into_iter().map(|above| f64::from(above) / f64::from(count)).collect()
    }

    #[test]
    fn levels_come_to_hold_whatever_was_expected() {
        for (mean, deviation) in [(1000.0, 50.0), (1000.0, 100.0), (1000.0, 30.0), (960.0, 60.0), (1030.0, 60.0)] {
            let levels = [0.5, 0.9, 0.97, 0.99];
            for (share, level) in shares(mean, deviation, &levels).into_iter().zip(levels) {
                let right = 1.0 - level;
                assert!((share - right).abs() < 0.15 * right + 0.006, "{mean} ± {deviation}: {share} above {level}");
            }
        }
    }

    #[test]
    fn what_was_not_seen_teaches_nothing() {
        let mut correction = Correction::default();
        let expected = Spread::new(vec![10.0, 11.0, 12.0]);
        correction.expect(Timestamp::from_secs(60), Timestamp::from_secs(120), &expected);
        correction.observe(Timestamp::from_secs(60), Some(99.0));
        correction.observe(Timestamp::from_secs(180), None);
        assert_eq!(correction.offsets, [0.0; LEVELS.len()]);
        assert!(correction.waiting.is_empty() && correction.came.is_empty());
        correction.expect(Timestamp::from_secs(240), Timestamp::from_secs(300), &expected);
        correction.observe(Timestamp::from_secs(300), Some(99.0));
        assert!(correction.offsets.iter().all(|offset| *offset > 0.0));
    }
}
