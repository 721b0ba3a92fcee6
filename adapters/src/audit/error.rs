//! What can be wrong with an audit log.

use std::io;
use std::path::{Path, PathBuf};

/// An audit log that cannot be used, or was changed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
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
    /// The chain does not hold.
    #[error("{}:{line}: {what}; allowed: lines as they were written; hint: find out who changed it; to begin another log, move this file away and keep it", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The first line that is not as it was written, counted from 1; or the first that is missing.
        line: u64,
        /// What was found.
        what: String,
    },
    /// A log of this epoch or of a later one is there: whoever asks has been fenced.
    #[error("{}: there already, so epoch {ours} is over: epoch {now} has begun", path.display())]
    Superseded {
        /// The log that is there.
        path: PathBuf,
        /// Whoever asks.
        ours: u64,
        /// The last epoch.
        now: u64,
    },
}

pub(super) fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Unwritable { path, source }
}

pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Unreadable { path, source }
}
