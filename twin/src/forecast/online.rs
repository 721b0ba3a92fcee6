//! Followers that need no training: recurrences in constant time and memory a step, and the spread of their errors.
//!
//! A [`Recurrence`] says what to expect of any moment to come; [`Residuals`] learn how far off it has been at the lead
//! that matters, and turn the expectation into quantiles.

mod holt;
mod profile;
mod residuals;

use std::collections::VecDeque;

use forebay_world::Timestamp;

use super::follower::{Follower, Outlook};
use super::grid::Grid;
use super::model::Unfit;
use super::quantiles::{LEVELS, Quantiles};
use residuals::Residuals;

/// Follows one series and says what to expect of it.
pub(crate) trait Recurrence: Send {
    /// Takes in the mean over the window that ended at `at`, `None` where nothing was seen. Windows come in order.
    fn observe(&mut self, at: Timestamp, value: Option<f64>);

    /// The median to expect at `at`, a moment not before the last window's end; `None` before anything was seen.
    fn expect(&self, at: Timestamp) -> Option<f64>;

    /// A copy with all it remembers: for checkpoints and forks.
    fn clone_box(&self) -> Box<dyn Recurrence>;
}

impl Clone for Box<dyn Recurrence> {
    fn clone(&self) -> Self {
        self.clone_box()
    }
}

/// The recurrences there are, by name.
pub(super) const NAMES: &[&str] = &["holt", "profile"];

/// Makes the recurrence called `name`; `None` when there is none of that name.
pub(crate) fn recurrence(name: &str) -> Option<Box<dyn Recurrence>> {
    Some(match name {
        "holt" => Box::new(holt::Holt::default()),
        "profile" => Box::new(profile::Profile::default()),
        _ => return None,
    })
}

/// Follows a series by a recurrence.
#[derive(Clone)]
pub(super) struct Online {
    name: &'static str,
    recurrence: Box<dyn Recurrence>,
    grid: Grid,
    /// Steps that have ended.
    seen: usize,
    /// Steps ahead at which errors are learned.
    lead: usize,
    residuals: Residuals,
    /// Expectations that have not met what came: the step, and the value.
    pending: VecDeque<(usize, f64)>,
}

impl Online {
    /// The follower by the recurrence called `name`, which learns its errors `lead` steps ahead; `None` when there is
    /// none of that name.
    pub(super) fn new(name: &str, grid: &Grid, lead: usize) -> Option<Self> {
        let name = NAMES.iter().find(|known| **known == name)?;
        Some(Online {
            name,
            recurrence: recurrence(name)?,
            grid: grid.clone(),
            seen: 0,
            lead: lead.max(1),
            residuals: Residuals::default(),
            pending: VecDeque::new(),
        })
    }

    /// The median of a step to come, by its place in the grid.
    fn expect(&self, step: usize) -> Option<f64> {
        self.recurrence.expect(self.grid.at(step + 1))
    }
}

impl Follower for Online {
    fn observe(&mut self, value: Option<f64>) {
        let value = value.filter(|value| value.is_finite());
        self.recurrence.observe(self.grid.at(self.seen + 1), value);
        while let Some(&(step, expected)) = self.pending.front()
            && step <= self.seen
        {
            self.pending.pop_front();
            if let Some(value) = value.filter(|_| step == self.seen) {
                self.residuals.take(expected, value);
            }
        }
        self.seen += 1;
        let due = self.seen + self.lead - 1;
        self.pending.extend(self.expect(due).map(|expected| (due, expected)));
    }

    fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
        let rows = (0..steps)
            .map(|ahead| {
                let median = self.expect(self.seen + ahead)?;
                // Errors at other leads are taken to grow with the square root of the lead, as those of a random walk.
                let growth = ((ahead + 1) as f64 / self.lead as f64).sqrt();
                let spread = Residuals::scale(median) * growth;
                Some(LEVELS.map(|level| median + self.residuals.quantile(level) * spread))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or(Unfit::TooShort { have: 0, need: 1 })?;
        Ok(Outlook { quantiles: Quantiles::new(rows), by: self.name, instead: None })
    }

    fn clone_box(&self) -> Box<dyn Follower> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_world::Duration;

    const MINUTE: Duration = Duration::from_mins(1);

    fn follower(name: &str, lead: usize) -> Online {
        Online::new(name, &Grid::utc(Timestamp::EPOCH, MINUTE), lead).unwrap()
    }

    /// The medians of a lead of `lead` minutes over the last day of `days`, of a series by the minute, and what came.
    fn led(name: &str, days: usize, lead: usize, series: &dyn Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let mut follower = follower(name, lead);
        let hour = |minute: usize| minute as f64 / 60.0;
        let mut pairs = Vec::new();
        for minute in 0..days * 1440 {
            follower.observe(Some(series(hour(minute))));
            if minute > (days - 1) * 1440 {
                let median = follower.forecast(lead).unwrap().quantiles.median(lead - 1);
                pairs.push((median, series(hour(minute + lead))));
            }
        }
        pairs
    }

    fn error(pairs: &[(f64, f64)]) -> f64 {
        pairs.iter().map(|(expected, came)| (expected - came).abs()).sum::<f64>() / pairs.len() as f64
    }

    fn diurnal(hour: f64) -> f64 {
        200.0 + 150.0 * (hour / 24.0 * std::f64::consts::TAU).sin() + 30.0 * (hour / 6.0 * std::f64::consts::TAU).cos()
    }

    #[test]
    fn a_season_that_was_learned_beats_the_last_value() {
        let last = (0..1440).map(|minute| {
            let hour = f64::from(minute) / 60.0;
            (diurnal(hour), diurnal(hour + 1.0))
        });
        let naive = error(&last.collect::<Vec<_>>());
        let profile = error(&led("profile", 4, 60, &diurnal));
        assert!(profile < 0.25 * naive, "{profile} of {naive}");
    }

    #[test]
    fn a_profile_keeps_its_level_when_today_differs_from_yesterday() {
        let doubled = |hour: f64| diurnal(hour) * if hour >= 72.0 { 2.0 } else { 1.0 };
        let yesterday = (0..1440).map(|minute| {
            let hour = 72.0 + f64::from(minute) / 60.0;
            (doubled(hour - 24.0), doubled(hour))
        });
        let day = error(&yesterday.collect::<Vec<_>>());
        let profile = error(&led("profile", 4, 5, &doubled));
        assert!(profile < 0.05 * day, "{profile} of {day}");
    }

    #[test]
    fn a_ramp_is_followed_ahead() {
        let ramp = |hour: f64| if hour < 1.0 { 100.0 } else { 100.0 * (1.0 + (hour - 1.0) * 6.0) };
        for name in NAMES {
            let mut follower = follower(name, 4);
            (0..=80).for_each(|minute| follower.observe(Some(ramp(f64::from(minute) / 60.0))));
            let (now, then) = (ramp(80.0 / 60.0), ramp(84.0 / 60.0));
            let expected = follower.forecast(4).unwrap().quantiles.median(3);
            assert!((expected - then).abs() < 0.35 * (then - now), "{name}: {now} to {then}, expected {expected}");
        }
    }

    #[test]
    fn a_gap_is_not_a_zero() {
        for name in NAMES {
            let mut follower = follower(name, 5);
            assert!(follower.forecast(1).is_err());
            for minute in 0..3 * 1440 {
                follower.observe((!(2 * 1440..=2 * 1440 + 600).contains(&minute)).then_some(100.0));
                if minute > 1500 {
                    let expected = follower.forecast(5).unwrap().quantiles.median(4);
                    assert!((expected - 100.0).abs() < 1.0, "{name} at {minute}: {expected}");
                }
            }
        }
    }

    #[test]
    fn quantiles_ascend_and_widen_with_the_lead() {
        for name in NAMES {
            let mut follower = follower(name, 4);
            follower.observe(Some(400.0));
            let quantiles = follower.forecast(8).unwrap().quantiles;
            assert!(quantiles.rows().iter().all(|row| row.is_sorted()));
            let spread = |ahead: usize| quantiles.rows()[ahead][10] - quantiles.rows()[ahead][0];
            assert!(spread(7) > spread(0));
        }
    }
}
