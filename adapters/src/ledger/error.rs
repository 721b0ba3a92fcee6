//! What can be wrong with a ledger.

use std::io;
use std::path::{Path, PathBuf};

/// A ledger that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The operating system refused to read. Worth another try once its reason is gone.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system refused to write: a full disk, as a rule. What was written before can be read.
    #[error("{}: cannot be written: {source}; hint: make room, or give the user who runs this the right to write", path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line that is neither as it was written nor torn off at the end.
    #[error("{}:{line}: {what}; allowed: lines as they were written; hint: {hint}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What was found.
        what: String,
        /// What may help.
        hint: &'static str,
    },
    /// A segment of this epoch or of a later one is there: whoever asks has been fenced, or is not who it takes itself for.
    #[error("{}: there already, so epoch {ours} is over: epoch {now} has begun", path.display())]
    Superseded {
        /// The segment that is there.
        path: PathBuf,
        /// Whoever asks.
        ours: u64,
        /// The last epoch.
        now: u64,
    },
    /// A record that is too long for a line.
    #[error("{}: a record of {bytes} bytes; allowed: {}", path.display(), super::LINE_BYTES_MOST)]
    TooLong {
        /// The file it was meant for.
        path: PathBuf,
        /// Its length as a line.
        bytes: usize,
    },
}

pub(super) fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Unwritable { path, source }
}

pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Unreadable { path, source }
}
