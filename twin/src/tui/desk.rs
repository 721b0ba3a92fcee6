//! What an operator sees of what is done to production from here, and what he can say to it: yes to what is proposed, and
//! that nothing shall be written any more.
//!
//! Here nothing is decided or done. Whoever runs production puts what stands on a [`Desk`] and takes what was typed.

use std::sync::Arc;

use forebay_world::Timestamp;

use super::alert::Alert;

/// What stands, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// When.
    pub at: Timestamp,
    /// Who closed the kill switch and since when, if it is closed.
    pub closed: Option<String>,
    /// Why nothing is ordered any more, if that is so.
    pub halted: Option<String>,
    /// The term, who holds the lease, and how long it holds without another renewal \[s\].
    pub lease: (u64, String, f64),
    /// What machines cost and may cost \[currency unit / h\].
    pub budget: (f64, Option<f64>),
    /// Orders that are over: done, failed, not let through.
    pub over: (u64, u64, u64),
    /// What waits for a yes: the machine, and what would be done and why.
    pub proposals: Vec<(String, String)>,
    /// Orders that are out: whose they are, what, and since when.
    pub out: Vec<(String, String, Timestamp)>,
    /// What was held back: of which machine, and why.
    pub held: Vec<(String, String)>,
    /// Endpoints that have failed: which, how often in a row, when it is tried again, and whether that is a breaker's rest.
    pub breakers: Vec<(String, u32, Timestamp, bool)>,
    /// What a person should hear of, the oldest first; bounded by whoever keeps it.
    pub alerts: Arc<Vec<Alert>>,
}

/// A desk, seen from the terminal.
pub trait Desk: Send {
    /// What stands, when that has changed since it was last asked.
    fn news(&mut self) -> Option<Arc<Standing>>;

    /// Takes a line that was typed, `yes vm-7` or `yes all`, as it stands. What to tell the reader.
    fn answer(&mut self, line: &str) -> String;

    /// Closes the kill switch, before this returns. What to tell the reader.
    fn close_kill_switch(&mut self) -> String;
}
