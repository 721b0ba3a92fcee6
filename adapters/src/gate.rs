//! The gate before each write.
//!
//! Whoever owns an executor may be asked before every single write whether it may still be done: a kill switch, a lease
//! that ran out. A test stops an executor here between any two writes, as a crash would.

use std::fmt;

/// Asked before each write.
pub struct Gate(Option<Box<dyn FnMut(&str) -> bool + Send>>);

/// A write was not done because the gate was closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped before {write}")]
pub struct Stopped {
    /// The write that was not done.
    pub write: String,
}

impl Gate {
    /// Lets everything pass.
    pub fn open() -> Gate {
        Gate(None)
    }

    /// Asks `may` before each write, which is described to it.
    pub fn asking(may: impl FnMut(&str) -> bool + Send + 'static) -> Gate {
        Gate(Some(Box::new(may)))
    }

    /// Asks whether this write may be done.
    ///
    /// # Errors
    /// [`Stopped`] when not.
    pub fn pass(&mut self, write: &str) -> Result<(), Stopped> {
        let may = self.0.as_mut().is_none_or(|may| may(write));
        if may { Ok(()) } else { Err(Stopped { write: write.to_owned() }) }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Gate(asking)" } else { "Gate(open)" })
    }
}
