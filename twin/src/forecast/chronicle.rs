//! The last steps of a series with their description, both kept up step by step.
//!
//! A description is begun anew once in a day of steps, in a unit that the days before it say, and reaches back as far
//! as is to be remembered: what is old is dropped then. In between it grows by one value in constant time. When that
//! is depends on the number of steps alone, never on when somebody asked.

use super::follower::History;
use super::grid::Grid;
use super::model::Past;
use super::model::features::{Described, robust_mean};

/// A series that is kept described.
#[derive(Clone, Debug)]
pub(super) struct Chronicle {
    history: History,
    /// Steps that a description holds when it is begun, at most.
    keep: usize,
    /// Made when it is asked for.
    described: Option<Described>,
    /// Steps since descriptions were to begin anew.
    since: usize,
}

impl Chronicle {
    /// Nothing yet, of a series on `grid`; at least the last `keep` steps will be remembered, and no fewer than are needed.
    pub(super) fn new(grid: &Grid, keep: usize) -> Self {
        let keep = keep.max(Described::fewest(grid.day()));
        Chronicle { history: History::new(grid.clone(), keep + grid.day()), keep, described: None, since: 0 }
    }

    /// Takes in the next step.
    pub(super) fn push(&mut self, value: Option<f64>) {
        let taken = self.history.take(value);
        self.since += 1;
        if self.since >= self.history.day() {
            (self.since, self.described) = (0, None);
        } else if let (Some(described), Some(value)) = (&mut self.described, taken) {
            described.push(value);
        }
    }

    /// What is known, and its description if that is enough for one.
    pub(super) fn known(&mut self) -> (Past<'_>, Option<&Described>) {
        if self.described.is_none() {
            self.described = self.describe();
        }
        (self.history.past(), self.described.as_ref().filter(|described| described.is_enough()))
    }

    /// What is known.
    pub(super) fn past(&self) -> Past<'_> {
        self.history.past()
    }

    /// Steps in a day.
    pub(super) fn day(&self) -> usize {
        self.history.day()
    }

    /// Describes what was known when descriptions were to begin anew, and adds what came since.
    fn describe(&self) -> Option<Described> {
        let past = self.history.past();
        let (have, fewest) = (past.values().len(), Described::fewest(self.day()));
        if have < fewest {
            return None;
        }
        let since = self.since.min(have);
        let then = past.before(since).last(self.keep);
        // In the first days there may have been next to nothing then: the first values that are enough say the unit.
        let says = if then.values().len() < fewest { &past.values()[..fewest] } else { then.values() };
        Some(Described::with_unit(&past.last(then.values().len() + since), robust_mean(says)))
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whoever asks at every step is told what somebody is told who asks once, gaps or none, long or short memory.
        #[test]
        fn a_description_does_not_depend_on_when_it_was_asked_for(
            values in prop::collection::vec(prop::option::weighted(0.9, 0.0..1e4_f64), 1..200),
            keep in 1usize..60, at in any::<prop::sample::Index>(),
        ) {
            let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(2));
            let (mut often, mut once) = (Chronicle::new(&grid, keep), Chronicle::new(&grid, keep));
            let end = at.index(values.len()) + 1;
            for value in &values[..end] {
                let (past, described) = often.known();
                if let Some(described) = described {
                    prop_assert!(described.len() <= keep.max(14) + 12);
                    prop_assert!(described.len() >= past.values().len().min(keep));
                }
                often.push(*value);
                once.push(*value);
            }
            let (often, once) = (often.known().1.cloned(), once.known().1.cloned());
            prop_assert_eq!(&often, &once);
            if let Some(described) = once {
                let mut history = History::new(grid.clone(), 1000);
                values[..end].iter().for_each(|value| history.push(*value));
                let whole = history.past();
                let again = Described::with_unit(&whole.last(described.len()), described.unit());
                prop_assert_eq!(again, described);
            }
        }
    }
}
