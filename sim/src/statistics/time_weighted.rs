//! Levels that hold for a while: their mean is over time, not over changes.

use forebay_world::{Duration, Timestamp};

/// A level that is a real number (a rate, a utilization), integrated over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeWeighted {
    level: f64,
    began: Timestamp,
    changed: Timestamp,
    level_nanos: f64,
}

impl TimeWeighted {
    /// At `level` from `at` on.
    pub const fn new(at: Timestamp, level: f64) -> Self {
        TimeWeighted { level, began: at, changed: at, level_nanos: 0.0 }
    }

    /// The level becomes `level` at `now`. A `now` before the last change counts as that change's instant.
    pub fn set(&mut self, now: Timestamp, level: f64) {
        self.level_nanos += self.level * now.since(self.changed).as_nanos() as f64;
        self.changed = self.changed.max(now);
        self.level = level;
    }

    /// The level changes by `by` at `now`.
    pub fn add(&mut self, now: Timestamp, by: f64) {
        self.set(now, self.level + by);
    }

    /// The level since the last change.
    pub const fn level(&self) -> f64 {
        self.level
    }

    /// The integral since the beginning up to `now` [level × s].
    pub fn integral(&self, now: Timestamp) -> f64 {
        (self.level_nanos + self.level * now.since(self.changed).as_nanos() as f64) / 1e9
    }

    /// The mean over time since the beginning; `None` when no time has passed.
    pub fn mean(&self, now: Timestamp) -> Option<f64> {
        let span = now.since(self.began);
        (!span.is_zero()).then(|| self.integral(now) / span.as_secs_f64())
    }

    /// Forgets what was before `now`, keeping the level: the end of a warm-up, or of a reporting interval.
    pub fn restart(&mut self, now: Timestamp) {
        *self = TimeWeighted::new(now, self.level);
    }
}

/// A count of things present (customers, sessions, machines), integrated over time without rounding.
///
/// The area is in integer entity-nanoseconds, so that Little's law holds as an identity and not within a tolerance:
/// the area equals the sum of the times that each thing was present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    count: u64,
    peak: u64,
    began: Timestamp,
    changed: Timestamp,
    entity_nanos: u128,
}

impl Occupancy {
    /// `count` things from `at` on.
    pub const fn new(at: Timestamp, count: u64) -> Self {
        Occupancy { count, peak: count, began: at, changed: at, entity_nanos: 0 }
    }

    /// One thing more.
    #[inline]
    pub fn enter(&mut self, now: Timestamp) {
        self.advance(now);
        self.count += 1;
        self.peak = self.peak.max(self.count);
    }

    /// One thing less. Panics when nothing is present.
    #[inline]
    pub fn leave(&mut self, now: Timestamp) {
        self.advance(now);
        assert!(self.count > 0, "nothing present could leave at {now}");
        self.count -= 1;
    }

    /// Things present.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The most that were present at once since the beginning.
    pub const fn peak(&self) -> u64 {
        self.peak
    }

    /// The integral since the beginning up to `now` [entity × ns], exact.
    pub fn entity_nanos(&self, now: Timestamp) -> u128 {
        self.entity_nanos + area(self.count, now.since(self.changed))
    }

    /// The mean over time since the beginning; `None` when no time has passed.
    pub fn mean(&self, now: Timestamp) -> Option<f64> {
        let span = now.since(self.began);
        (!span.is_zero()).then(|| self.entity_nanos(now) as f64 / span.as_nanos() as f64)
    }

    /// Forgets what was before `now`, keeping the count.
    pub fn restart(&mut self, now: Timestamp) {
        *self = Occupancy::new(now, self.count);
    }

    #[inline]
    fn advance(&mut self, now: Timestamp) {
        self.entity_nanos += area(self.count, now.since(self.changed));
        self.changed = self.changed.max(now);
    }
}

#[inline]
fn area(count: u64, span: Duration) -> u128 {
    u128::from(count) * u128::from(span.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn a_level_counts_for_as_long_as_it_holds() {
        let mut level = TimeWeighted::new(at(10), 2.0);
        assert_eq!(level.mean(at(10)), None);
        level.set(at(13), 5.0);
        level.add(at(14), -4.0);
        assert_eq!(level.integral(at(20)), 3.0 * 2.0 + 5.0 + 6.0);
        assert_eq!(level.mean(at(20)), Some(1.7));
        level.restart(at(20));
        assert_eq!((level.mean(at(24)), level.level()), (Some(1.0), 1.0));
    }

    #[test]
    fn the_area_of_a_count_is_exact() {
        let mut present = Occupancy::new(at(0), 0);
        // 3 ns in 2⁶³ would be lost in a float.
        let late = Timestamp::from_nanos(1 << 63);
        present.enter(at(0));
        present.enter(late);
        let end = late.saturating_add(Duration::from_nanos(3));
        present.leave(end);
        assert_eq!(present.entity_nanos(end), (1 << 63) + 6);
        assert_eq!((present.count(), present.peak()), (1, 2));
    }

    #[test]
    #[should_panic(expected = "nothing present could leave")]
    fn nothing_leaves_an_empty_place() {
        Occupancy::new(at(0), 0).leave(at(1));
    }
}
