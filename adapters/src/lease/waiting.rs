//! What came of asking for the lease.

use std::fmt;

use forebay_world::Duration;

use super::{Holder, Term};

/// What came of asking.
#[derive(Debug)]
pub enum Acquired {
    /// The lease.
    Term(Term),
    /// Another has it.
    Waiting(Waiting),
}

/// Why the lease is not ours yet. Prints as one line for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Another holds it, and renews it as far as is known.
    Held {
        /// Who.
        holder: Holder,
        /// In which epoch.
        epoch: u64,
        /// For how long this instance has watched and seen no renewal.
        silent: Duration,
        /// When it will be taken over if there is none.
        left: Duration,
    },
    /// It could be taken, but a write of its holder is under way: it may be slow, hung, or paused in the middle. It is
    /// waited for, because nobody can call it back. Ending the process ends the wait; what it was writing may then stand
    /// half, as after any crash.
    WriteUnderWay {
        /// Who holds the lease.
        holder: Option<Holder>,
        /// The write as it was noted, with the process that does it.
        write: Option<String>,
        /// For how long this instance has found it in its way.
        waited: Duration,
    },
}

impl Acquired {
    /// The lease, where it is ours.
    pub fn term(self) -> Option<Term> {
        match self {
            Acquired::Term(term) => Some(term),
            Acquired::Waiting(_) => None,
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::Held { holder, epoch, silent, left } => write!(
                f,
                "{holder} holds the lease in epoch {epoch}; no renewal for {:.1} s, taken over after {:.1} s more",
                silent.as_secs_f64(),
                left.as_secs_f64()
            ),
            Waiting::WriteUnderWay { holder, write, waited } => {
                let what = write.as_deref().unwrap_or("not noted yet");
                let waited = waited.as_secs_f64();
                write!(f, "waiting for {waited:.1} s for the end of a write ({what})")?;
                let Some(holder) = holder else { return Ok(()) };
                write!(f, " under the lease of {holder}; hint: kill -9 {} on {} ends it", holder.pid, holder.host)
            }
        }
    }
}
