//! Windows as a feed brings them, late, twice or out of order, into the steps of a follower, each once and in order.
//!
//! A window is as long as a step or a whole part of it; a step's value is the mean of its windows that came. A step is
//! handed on when all its windows have come, or when one of a later step does: what comes after that is counted and
//! dropped, since a follower cannot take back what it has learned. Windows that end a little early or late (less than
//! half a window) are those that they are next to.

use std::collections::BTreeSet;

use forebay_world::{Duration, Timestamp};

use super::follower::Follower;
use super::grid::Grid;

/// Windows that never came are remembered so far back \[windows\], to tell a late one from one that came twice.
const REMEMBERED: usize = 1 << 14;

/// A window this far ahead of the last step is a wrong clock's, unless the next one agrees with it, …
const FAR_AHEAD: Duration = Duration::from_hours(7 * 24);

/// … and one this far ahead is never believed: who has been blind for so long begins anew.
const TOO_FAR_AHEAD: Duration = Duration::from_hours(60 * 24);

/// What has happened to windows, in windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// Taken into a step.
    pub taken: u64,
    /// Had not come, or held no value, when their step was handed on.
    pub missing: u64,
    /// Came again, and were ignored.
    pub duplicate: u64,
    /// Came when their step had been handed on, or before the first step, and were dropped.
    pub late: u64,
    /// Came after one that is later than they are, but in time, and were taken.
    pub out_of_order: u64,
    /// Came from too far ahead to be believed, and were dropped.
    pub ahead: u64,
}

/// Why windows do not make steps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("windows of {window} do not make steps of {step}: allowed is {step} or a whole part of it")]
pub struct WindowError {
    /// Length of a window.
    pub window: Duration,
    /// Length of a step.
    pub step: Duration,
}

/// Gathers windows into steps, and feeds a follower with them.
#[derive(Clone)]
pub struct Windows {
    follower: Box<dyn Follower>,
    grid: Grid,
    window: Duration,
    /// Windows of a step.
    parts: u64,
    /// The step that is gathered: all before it have been handed on.
    step: u64,
    /// What has come of it, by window.
    gathered: Vec<Part>,
    /// The latest window that came.
    newest: Option<u64>,
    /// A window from far ahead that waits for another to agree.
    doubted: Option<u64>,
    /// Windows of former steps that never came.
    absent: BTreeSet<u64>,
    /// Windows before this one are not remembered.
    remembered_from: u64,
    counts: WindowCounts,
}

/// What has come of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Waiting,
    /// It came, and held nothing.
    Empty,
    Value(f64),
}

impl Windows {
    /// Feeds `follower`, which has seen nothing yet and follows a series on `grid`, with windows of length `window`.
    ///
    /// # Errors
    /// [`WindowError`] when a step is no whole number of windows.
    pub fn new(follower: Box<dyn Follower>, grid: Grid, window: Duration) -> Result<Self, WindowError> {
        let step = grid.step();
        if window.is_zero() || !(step % window).is_zero() {
            return Err(WindowError { window, step });
        }
        let parts = step / window;
        Ok(Windows {
            follower,
            grid,
            window,
            parts,
            step: 0,
            gathered: vec![Part::Waiting; parts as usize],
            newest: None,
            doubted: None,
            absent: BTreeSet::new(),
            remembered_from: 0,
            counts: WindowCounts::default(),
        })
    }

    /// Takes in a window by its end, `None` where nothing was seen in it; true if it was taken. Values that are not
    /// finite count as nothing seen.
    pub fn take(&mut self, end: Timestamp, value: Option<f64>) -> bool {
        let Some(place) = self.place(end) else {
            self.counts.late += 1;
            return false;
        };
        if place / self.parts < self.step {
            let came_before = place >= self.remembered_from && !self.absent.contains(&place);
            *(if came_before { &mut self.counts.duplicate } else { &mut self.counts.late }) += 1;
            return false;
        }
        if !self.is_believable(place) {
            self.counts.ahead += 1;
            return false;
        }
        while self.step < place / self.parts {
            self.hand_on();
        }
        let part = &mut self.gathered[(place % self.parts) as usize];
        match (*part, value.filter(|value| value.is_finite())) {
            (Part::Value(_), _) | (Part::Empty, None) => {
                self.counts.duplicate += 1;
                return false;
            }
            (_, value) => {
                self.counts.taken += u64::from(value.is_some());
                *part = value.map_or(Part::Empty, Part::Value);
            }
        }
        self.counts.out_of_order += u64::from(self.newest.is_some_and(|newest| place < newest));
        self.newest = self.newest.max(Some(place));
        // An empty window may yet be filled, but only while its step waits for others.
        if self.gathered.iter().all(|part| *part != Part::Waiting) {
            self.hand_on();
        }
        true
    }

    /// Hands on all steps that ended no later than `until`, whatever has come of them: for feeds that fall silent.
    pub fn close(&mut self, until: Timestamp) {
        if until.since(self.grid.at(self.step as usize)) > FAR_AHEAD + self.grid.step() {
            // So long a silence is known when it ends; closing it step by step may never be needed.
            return;
        }
        while self.grid.at(self.step as usize + 1) <= until {
            self.hand_on();
        }
    }

    /// What has happened to windows so far.
    pub fn counts(&self) -> WindowCounts {
        self.counts
    }

    /// Steps that were handed on.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// What is fed.
    pub fn follower(&mut self) -> &mut dyn Follower {
        &mut *self.follower
    }

    /// The window that ends next to `end`, counted from the begin of the grid; `None` for those before it.
    fn place(&self, end: Timestamp) -> Option<u64> {
        let (window, half) = (self.window.as_nanos(), self.window.as_nanos() / 2);
        // Where its middle lies decides.
        let middle = end.as_nanos().checked_sub(half)?;
        let since = middle.checked_sub(self.grid.at(0).as_nanos())?;
        Some(since / window)
    }

    fn is_believable(&mut self, place: u64) -> bool {
        let [far, too_far] = [FAR_AHEAD, TOO_FAR_AHEAD].map(|span| span.as_nanos() / self.window.as_nanos());
        let next = self.step * self.parts;
        if place <= next.saturating_add(far) {
            self.doubted = None;
            return true;
        }
        let agreed = self.doubted.is_some_and(|doubted| place > doubted && place <= doubted.saturating_add(self.parts));
        self.doubted = (!agreed).then_some(place);
        agreed && place <= next.saturating_add(too_far)
    }

    /// Hands the gathered step on.
    fn hand_on(&mut self) {
        let (mut sum, mut count) = (0.0, 0u32);
        for (nth, part) in self.gathered.iter_mut().enumerate() {
            match std::mem::replace(part, Part::Waiting) {
                Part::Value(value) => (sum, count) = (sum + value, count + 1),
                _ => {
                    self.counts.missing += 1;
                    self.absent.insert(self.step * self.parts + nth as u64);
                }
            }
        }
        while self.absent.len() > REMEMBERED {
            self.remembered_from = self.absent.pop_first().map_or(0, |oldest| oldest + 1);
        }
        let mean = sum / f64::from(count);
        self.follower.observe((count > 0 && mean.is_finite()).then_some(mean));
        self.step += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;
    use crate::forecast::follower::Outlook;
    use crate::forecast::model::Unfit;

    /// Writes down what it is told.
    #[derive(Clone, Default)]
    struct Scribe(Arc<Mutex<Vec<Option<f64>>>>);

    impl Follower for Scribe {
        fn observe(&mut self, value: Option<f64>) {
            self.0.lock().unwrap().push(value);
        }

        fn forecast(&mut self, _steps: usize) -> Result<Outlook, Unfit> {
            Err(Unfit::TooShort { have: 0, need: 1 })
        }

        fn clone_box(&self) -> Box<dyn Follower> {
            Box::new(self.clone())
        }
    }

    const STEP: Duration = Duration::from_mins(4);

    fn start() -> Timestamp {
        Timestamp::from_secs(1_700_000_000)
    }

    fn windows(window: Duration) -> (Windows, Scribe) {
        let scribe = Scribe::default();
        let grid = Grid::utc(start(), STEP);
        (Windows::new(Box::new(scribe.clone()), grid, window).unwrap(), scribe)
    }

    fn told(scribe: &Scribe) -> Vec<Option<f64>> {
        scribe.0.lock().unwrap().clone()
    }

    /// End of a window by its place.
    fn end(window: Duration, place: u64) -> Timestamp {
        start() + window * (place + 1)
    }

    /// The steps that windows make when they come sorted, each once.
    fn sorted_feed(windows: &[(u64, f64)], parts: u64, steps: u64) -> Vec<Option<f64>> {
        let mean = |step: u64| {
            let of: Vec<f64> = windows.iter().filter(|(place, _)| place / parts == step).map(|(_, v)| *v).collect();
            (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64)
        };
        (0..steps).map(mean).collect()
    }

    fn same(told: &[Option<f64>], wanted: &[Option<f64>]) -> bool {
        told.len() == wanted.len()
            && told.iter().zip(wanted).all(|pair| match pair {
                (Some(told), Some(wanted)) => (told - wanted).abs() <= 1e-9 * wanted.abs(),
                (told, wanted) => told == wanted,
            })
    }

    proptest! {
        /// However windows come, what a follower is told is what a sorted feed without those that were refused says; and
        /// every window that came is counted once.
        #[test]
        fn what_is_told_is_the_sorted_feed_of_what_was_taken(
            parts in prop::sample::select(vec![1u64, 2, 4]),
            // Place, how much later than its turn it comes, and whether its value is seen.
            feed in prop::collection::vec((0u64..120, 0u64..12, prop::bool::weighted(0.9), 0.0..1e6_f64), 0..200),
        ) {
            let window = Duration::from_nanos(STEP.as_nanos() / parts);
            let (mut gathered, scribe) = windows(window);
            let mut feed = feed;
            feed.sort_by_key(|(place, delay, _, _)| place + delay);
            let (mut taken, mut refused, mut empty) = (Vec::new(), 0, 0);
            for (place, _, seen, value) in &feed {
                if gathered.take(end(window, *place), seen.then_some(*value)) {
                    if *seen { taken.push((*place, *value)) } else { empty += 1 }
                } else {
                    refused += 1;
                }
            }
            gathered.close(end(window, 200));
            let counts = gathered.counts();
            prop_assert_eq!(counts.taken, taken.len() as u64);
            prop_assert_eq!(counts.duplicate + counts.late, refused);
            prop_assert_eq!(counts.taken + refused + empty, feed.len() as u64);
            prop_assert_eq!(counts.taken + counts.missing, gathered.steps() * parts);
            prop_assert_eq!(counts.ahead, 0);
            let mut places: Vec<u64> = taken.iter().map(|(place, _)| *place).collect();
            let in_order = 1 + places.windows(2).filter(|pair| pair[0] < pair[1]).count();
            prop_assert!(counts.out_of_order as usize + in_order + empty as usize >= taken.len());
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), taken.len(), "no window twice");
            prop_assert!(same(&told(&scribe), &sorted_feed(&taken, parts, gathered.steps())));
        }

        /// Out of order within a step and twice: as if sorted and once.
        #[test]
        fn disorder_within_a_step_changes_nothing(
            steps in prop::collection::vec(
                (Just((0u64..4).collect::<Vec<_>>()).prop_shuffle(), prop::collection::vec(0.0..9.0_f64, 4), 0usize..3, 1usize..5),
                1..30,
            ),
        ) {
            let window = Duration::from_mins(1);
            let (mut gathered, scribe) = windows(window);
            let mut sorted = Vec::new();
            let (mut again, mut come) = (0, 0);
            for (nth, (order, values, twice, count)) in steps.iter().enumerate() {
                for (n, part) in order.iter().take(*count).enumerate() {
                    let place = 4 * nth as u64 + part;
                    // Ends jitter by less than half a window.
                    let end = end(window, place).saturating_sub(Duration::from_secs(13)) + Duration::from_secs(values[n] as u64 * 4);
                    prop_assert!(gathered.take(end, Some(values[*part as usize])));
                    sorted.push((place, values[*part as usize]));
                    come += 1;
                    if n == *twice {
                        prop_assert!(!gathered.take(end, Some(-1.0)));
                        again += 1;
                    }
                }
            }
            gathered.close(end(window, 4 * steps.len() as u64 - 1));
            let counts = gathered.counts();
            prop_assert_eq!((counts.taken, counts.duplicate, counts.late), (come, again, 0));
            prop_assert_eq!(counts.missing, 4 * steps.len() as u64 - come);
            prop_assert!(same(&told(&scribe), &sorted_feed(&sorted, 4, steps.len() as u64)));
        }
    }

    #[test]
    fn a_step_is_told_when_it_is_whole_and_late_windows_are_told_from_duplicates() {
        let window = Duration::from_mins(2);
        let (mut gathered, scribe) = windows(window);
        assert!(!gathered.take(start(), Some(9.0)), "it ended when the first step began");
        assert!(gathered.take(end(window, 1), Some(3.0)));
        assert!(told(&scribe).is_empty());
        assert!(gathered.take(end(window, 0), Some(1.0)), "late, but its step is being gathered");
        assert_eq!(told(&scribe), [Some(2.0)]);
        assert!(gathered.take(end(window, 3), None));
        assert!(gathered.take(end(window, 3), Some(8.0)), "what was empty may be filled");
        assert!(gathered.take(end(window, 4), Some(5.0)));
        assert_eq!(told(&scribe), [Some(2.0), Some(8.0)]);
        assert!(!gathered.take(end(window, 2), Some(7.0)), "late");
        assert!(!gathered.take(end(window, 3), Some(7.0)), "a duplicate");
        assert!(gathered.take(end(window, 5), Some(f64::NAN)));
        assert_eq!(told(&scribe), [Some(2.0), Some(8.0), Some(5.0)]);
        let counts = WindowCounts { taken: 4, missing: 2, duplicate: 1, late: 2, out_of_order: 1, ahead: 0 };
        assert_eq!(gathered.counts(), counts);
    }

    #[test]
    fn a_wrong_clock_does_not_run_the_series_away() {
        let (mut gathered, scribe) = windows(STEP);
        assert!(gathered.take(end(STEP, 0), Some(1.0)));
        assert!(!gathered.take(Timestamp::MAX.saturating_sub(STEP), Some(1.0)));
        assert!(!gathered.take(Timestamp::MAX, Some(1.0)), "two agree, but on nonsense");
        assert!(gathered.take(end(STEP, 1), Some(2.0)));
        assert!(!gathered.take(end(STEP, 1_000_000), Some(1.0)));
        assert!(!gathered.take(end(STEP, 9_000), Some(1.0)), "it does not agree with the one before");
        assert!(gathered.take(end(STEP, 9_001), Some(3.0)), "two agree");
        assert_eq!(told(&scribe).len(), 9_002);
        assert_eq!((gathered.counts().ahead, gathered.counts().missing), (4, 8_999));
        gathered.close(Timestamp::MAX);
        assert_eq!(told(&scribe).len(), 9_002);
    }

    #[test]
    fn windows_must_make_steps() {
        for minutes in [0, 3, 8] {
            let made = Windows::new(Box::<Scribe>::default(), Grid::utc(start(), STEP), Duration::from_mins(minutes));
            assert!(made.is_err(), "{minutes}");
        }
    }
}
