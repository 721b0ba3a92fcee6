//! What the terminal UI plays: anything that goes from tick to tick and can be copied where it stands.

use forebay_world::Timestamp;

use crate::tick::Tick;

/// A run in progress.
///
/// An engine is deterministic: a checkpoint continued yields the same ticks, bit for bit, as the original. That is
/// what seeking rests on.
pub trait Engine: Send {
    /// Where in simulated time it stands.
    fn now(&self) -> Timestamp;

    /// Goes to the end of the current window and returns what was seen, decided and asked for there; `None` when the
    /// run is over.
    fn tick(&mut self) -> Option<Tick>;

    /// Goes one event further inside the current window and says what happened; `None` when the window holds no more.
    fn step_event(&mut self) -> Option<String>;

    /// A copy that continues from here on its own.
    fn checkpoint(&self) -> Box<dyn Engine>;
}
