//! Leaves an executor alone that fails again and again.

use forebay_world::Timestamp;

use super::limits::RolloutLimits;

/// Counts failures in a row; open after so many, and half open once it has rested: one try, whose end decides.
///
/// M. T. Nygard, Release It!, 2nd ed. (2018), ch. 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    /// No try before.
    not_before: Timestamp,
}

impl Breaker {
    /// Something succeeded.
    pub fn succeed(&mut self) {
        *self = Breaker::default();
    }

    /// Something failed.
    pub fn fail(&mut self, at: Timestamp, limits: &RolloutLimits) {
        self.failures = self.failures.saturating_add(1);
        let has_had_enough = self.failures >= limits.breaker_failures;
        let rest = if has_had_enough { limits.breaker_rest } else { limits.backoff(self.failures) };
        self.not_before = at.saturating_add(rest);
    }

    /// Whether so much has failed that nothing new is to be planned there for now.
    pub fn is_open(&self, at: Timestamp, limits: &RolloutLimits) -> bool {
        self.failures >= limits.breaker_failures && !self.may_try(at)
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When one may try again.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Whether one may try.
    pub fn may_try(&self, at: Timestamp) -> bool {
        at >= self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_world::Duration;

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_with_a_success() {
        let limits = RolloutLimits::usual(1);
        let mut breaker = Breaker::default();
        let mut at = Timestamp::from_secs(100);
        for (failure, wait) in [(1, 2), (2, 4), (3, 8), (4, 16), (5, 60), (6, 60)] {
            assert!(breaker.may_try(at) && !breaker.is_open(at, &limits), "before failure {failure}");
            breaker.fail(at, &limits);
            let until = at.saturating_add(Duration::from_secs(wait));
            let before = until.saturating_sub(Duration::from_nanos(1));
            assert!(!breaker.may_try(before), "after failure {failure}");
            assert_eq!(breaker.is_open(before, &limits), failure >= 5, "after failure {failure}");
            at = until;
        }
        breaker.succeed();
        assert!(breaker.may_try(Timestamp::EPOCH));
    }
}
