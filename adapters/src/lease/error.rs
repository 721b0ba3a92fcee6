//! What can be wrong with a lease, and with a term of it.

use std::io;
use std::path::PathBuf;

/// The folder of a lease cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The operating system refused. Worth another try once its reason is gone.
    #[error("{}: cannot {what}: {source}; hint: the folder must be ours to write, on a file system with locks", path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: `read it`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file says nothing that can be understood. No epoch is guessed: a lower one than before would let two write.
    #[error("{}: {what}; allowed: {{\"epoch\":N,\"holder\":null,\"duration\":\"15 s\"}} as it was written; hint: stop every instance, then write that line with an epoch above that of every ledger and audit file beside it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Terms that mean nothing.
    #[error("{what}; allowed: renewals at least three times in the duration of a lease")]
    Contradiction {
        /// What was given.
        what: String,
    },
}

/// A term that does not, or not now, allow a write.
#[derive(Debug, thiserror::Error)]
pub enum TermError {
    /// Another instance has taken over. This term is over for good.
    #[error("fenced: this is epoch {ours}, and epoch {now} has begun")]
    Fenced {
        /// The epoch of this term.
        ours: u64,
        /// The epoch that stands.
        now: u64,
    },
    /// It was not renewed in time, by this instance's own clock. This term is over for good; take the lease again.
    #[error("the lease of epoch {epoch} ran out {:.1} s ago without a renewal", late.as_secs_f64())]
    Lapsed {
        /// The epoch of this term.
        epoch: u64,
        /// How long ago.
        late: forebay_world::Duration,
    },
    /// It was released.
    #[error("the lease of epoch {epoch} was released")]
    Released {
        /// The epoch of this term.
        epoch: u64,
    },
    /// Another instance is just taking over, or finds that it may not; or, for a release, a write of our own is under way.
    /// The same call may succeed at once.
    #[error("{}: locked: another instance is just looking whether it may take over, or a write is under way", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// Whether this term still stands cannot be told, so it does not.
    #[error(transparent)]
    Folder(#[from] LeaseError),
}

impl TermError {
    /// Whether no later call on this term can succeed.
    pub fn is_final(&self) -> bool {
        matches!(self, TermError::Fenced { .. } | TermError::Lapsed { .. } | TermError::Released { .. })
    }
}
