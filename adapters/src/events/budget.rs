//! How much work one file may cause: a rule of a few bytes can ask for more than a machine can do.

/// Days that recurrence rules may look at for one file: some seconds of work at most.
const DAYS_IN_ALL: u64 = 10_000_000;
/// Days that one rule may look at: 400 years by the day are 146,000.
const DAYS_A_RULE: u64 = 1_000_000;

/// What is left of it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    days: u64,
}

/// It is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent;

impl Default for Budget {
    fn default() -> Self {
        Budget { days: DAYS_IN_ALL }
    }
}

impl Budget {
    /// What one rule may take of it.
    pub(super) fn for_a_rule(&self) -> u64 {
        self.days.min(DAYS_A_RULE)
    }

    /// Takes what a rule has taken.
    pub(super) fn take(&mut self, days: u64) {
        self.days = self.days.saturating_sub(days);
    }
}
