//! The regular steps of a series, on the clock of a region.

use std::collections::BTreeSet;
use std::sync::Arc;

use forebay_world::{Duration, Timestamp};

/// Equal steps of time, with the local clock to tell them by.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    start: Timestamp,
    step: Duration,
    /// Offset of local time from UTC \[s\], each from its moment on, ascending; the first also holds before.
    offsets: Arc<[(Timestamp, i32)]>,
    /// Local days that are holidays, counted from 1970-01-01.
    holidays: Arc<BTreeSet<i32>>,
}

/// A moment on the local clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Share of the day that has passed, 0 to 1.
    pub day: f64,
    /// Day of the week, from 0 on Monday to 6; on a holiday that of a Sunday.
    pub weekday: u8,
    /// Whether it is a holiday.
    pub holiday: bool,
}

/// The weekday that a holiday counts as.
const SUNDAY: u8 = 6;

const DAY_SECONDS: i64 = 86_400;

impl Grid {
    /// Steps from `start` on, on the clock of UTC.
    ///
    /// # Panics
    /// When the step is zero.
    pub fn utc(start: Timestamp, step: Duration) -> Self {
        Grid::local(start, step, [(start, 0)])
    }

    /// Steps from `start` on, on a clock with these offsets from UTC \[s\], each from its moment on.
    ///
    /// # Panics
    /// When the step is zero, or there is no offset, or they do not ascend.
    pub fn local(start: Timestamp, step: Duration, offsets: impl Into<Arc<[(Timestamp, i32)]>>) -> Self {
        let offsets = offsets.into();
        assert!(!step.is_zero(), "a step takes time");
        assert!(!offsets.is_empty() && offsets.is_sorted_by_key(|(from, _)| *from), "offsets ascend");
        Grid { start, step, offsets, holidays: Arc::default() }
    }

    /// The same, with these local days for holidays, counted from 1970-01-01.
    #[must_use]
    pub fn with_holidays(self, days: impl IntoIterator<Item = i32>) -> Self {
        Grid { holidays: Arc::new(days.into_iter().collect()), ..self }
    }

    /// Begin of the step `index`.
    pub fn at(&self, index: usize) -> Timestamp {
        self.start.saturating_add(self.step * index as u64)
    }

    /// The step in which a moment lies; the first for all before.
    pub fn index(&self, at: Timestamp) -> usize {
        (at.since(self.start).as_nanos() / self.step.as_nanos()) as usize
    }

    /// Length of a step.
    pub fn step(&self) -> Duration {
        self.step
    }

    /// Steps in a day, at least 1.
    pub fn day(&self) -> usize {
        ((Duration::from_hours(24).as_nanos() / self.step.as_nanos()) as usize).max(1)
    }

    /// Steps in a week.
    pub fn week(&self) -> usize {
        7 * self.day()
    }

    /// Local time at the begin of the step `index`.
    pub fn moment(&self, index: usize) -> Moment {
        let at = self.at(index);
        let nth = self.offsets.partition_point(|(from, _)| *from <= at).max(1);
        let seconds = (at.as_nanos() / 1_000_000_000) as i64 + i64::from(self.offsets[nth - 1].1);
        let day = seconds.div_euclid(DAY_SECONDS);
        let holiday = i32::try_from(day).is_ok_and(|day| self.holidays.contains(&day));
        Moment {
            day: seconds.rem_euclid(DAY_SECONDS) as f64 / DAY_SECONDS as f64,
            // 1970-01-01 was a Thursday.
            weekday: if holiday { SUNDAY } else { (day + 3).rem_euclid(7) as u8 },
            holiday,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_follows_summer_time() {
        let start: Timestamp = "2026-03-28T00:00:00Z".parse().unwrap();
        let change: Timestamp = "2026-03-29T01:00:00Z".parse().unwrap();
        let grid = Grid::local(start, Duration::from_mins(30), [(start, 3600), (change, 7200)]);
        assert_eq!((grid.day(), grid.week()), (48, 336));
        // Saturday 01:00 local at the start; Sunday 03:00 right at the change.
        assert_eq!(grid.moment(0), Moment { day: 1.0 / 24.0, weekday: 5, holiday: false });
        let changed = grid.index(change);
        assert_eq!(grid.moment(changed), Moment { day: 3.0 / 24.0, weekday: 6, holiday: false });
        assert_eq!(grid.moment(changed - 1), Moment { day: 1.5 / 24.0, weekday: 6, holiday: false });
    }

    #[test]
    fn a_holiday_is_a_sunday_by_the_local_clock() {
        // Wednesday, two hours before midnight in Berlin.
        let start: Timestamp = "2026-12-23T21:00:00Z".parse().unwrap();
        let christmas_eve = 20_811;
        let grid = Grid::local(start, Duration::from_hours(1), [(start, 3600)]).with_holidays([christmas_eve]);
        let days: Vec<(u8, bool)> = (0..30).map(|at| grid.moment(at)).map(|at| (at.weekday, at.holiday)).collect();
        assert_eq!(days[..2], [(2, false); 2]);
        assert_eq!(days[2..26], [(SUNDAY, true); 24]);
        assert_eq!(days[26..], [(4, false); 4]);
    }
}
