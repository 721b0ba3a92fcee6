//! Records of one transaction that come again within a short time: one packet, captured twice.
//!
//! A client repeats a question after a second or so, never within a millisecond; a mirror port that sees a packet
//! enter and leave writes it twice. Memory is bounded by the records of the window.

use std::collections::{HashMap, VecDeque};

use forebay_world::{Duration, Timestamp};

/// Remembers the transactions of the latest while.
pub(crate) struct Repeats {
    window: Duration,
    /// First record of each transaction in the window, and the order in which they came.
    first: HashMap<u64, Timestamp>,
    order: VecDeque<(Timestamp, u64)>,
    latest: Timestamp,
}

/// Records this many windows back are forgotten: rows of a log may be a little out of order.
const KEPT_WINDOWS: u64 = 16;
/// Records at most that are remembered, whatever their times say.
const KEPT_RECORDS: usize = 1 << 20;

impl Repeats {
    pub(crate) fn within(window: Duration) -> Repeats {
        Repeats { window, first: HashMap::new(), order: VecDeque::new(), latest: Timestamp::EPOCH }
    }

    /// Whether this transaction had a record less than the window away.
    pub(crate) fn is_repeat(&mut self, transaction: u64, at: Timestamp) -> bool {
        self.latest = self.latest.max(at);
        let span = Duration::from_nanos(self.window.as_nanos().saturating_mul(KEPT_WINDOWS));
        let oldest = self.latest.saturating_sub(span);
        while let Some(&(first, key)) = self.order.front()
            && (first < oldest || self.order.len() > KEPT_RECORDS)
        {
            self.order.pop_front();
            if self.first.get(&key) == Some(&first) {
                self.first.remove(&key);
            }
        }
        if let Some(first) = self.first.get(&transaction)
            && at.since(*first).max(first.since(at)) < self.window
        {
            return true;
        }
        self.first.insert(transaction, at);
        self.order.push_back((at, transaction));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_transaction_repeats_only_within_the_window() {
        let mut repeats = Repeats::within(Duration::from_millis(1));
        let mut check = |key, micros: u64, want| {
            assert_eq!(repeats.is_repeat(key, Timestamp::from_nanos(micros * 1000)), want, "{key} at {micros}");
        };
        check(1, 10_000, false);
        check(1, 10_999, true);
        check(2, 10_999, false);
        check(1, 9_500, true);
        check(1, 11_000, false);
        check(1, 11_400, true);
        check(1, 900_000, false);
        check(1, 10_000, false);
    }

    proptest! {
        #[test]
        fn memory_holds_no_more_than_the_window(times in proptest::collection::vec(0u64..1_000_000, 0..300)) {
            let mut repeats = Repeats::within(Duration::from_nanos(10));
            for (key, at) in times.into_iter().enumerate() {
                repeats.is_repeat(key as u64, Timestamp::from_nanos(at));
                prop_assert!(repeats.first.len() <= repeats.order.len());
            }
        }
    }
}
