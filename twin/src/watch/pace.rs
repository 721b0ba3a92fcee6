//! How time passes for whoever watches.

use forebay_world::{Duration, Timestamp};

/// Lets time pass: the wall's, or a test's.
pub trait Pace {
    /// What the time is.
    fn now(&self) -> Timestamp;

    /// Rests for at most so long.
    fn rest(&mut self, span: Duration);

    /// Whether it is time to end.
    fn is_over(&self) -> bool;

    /// The longest rest between two looks.
    fn beat(&self) -> Duration {
        Duration::from_secs(1)
    }
}
