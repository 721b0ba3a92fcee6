//! The audit log: who did what to the world outside, when and why, and what was refused; chained by hashes, so that nobody
//! changes it unseen.
//!
//! ```text
//!   {"n":4,"at":"2026-06-14T19:02:11Z","epoch":8,"holder":"process 71 on ctl-1 (…)",
//!    "event":{"entry":{"order":"create","target":"vm-7","why":"ams × video: 412 > 380","outcome":{"done":{"writes":3}}}},
//!    "before":"9f86d0…","hash":"2c2640…"}
//! ```
//!
//! `hash` is the SHA-256 of all of the line before it, `before` the hash of the line before. A changed byte, a line taken
//! away, added or moved breaks the chain, and [`verify`] says where. What is cut off at the end leaves a chain that is
//! whole, and so does a file that was written anew from its beginning: keep a [`Head`] elsewhere now and then (in a ledger,
//! in a log of another machine), and [`verify_holding`] finds those too.
//!
//! Each term of a [lease](crate::lease) has a file of its own, `audit-8.jsonl`, whose first line takes the chain of the
//! file before on, and says how that ended. So an instance that was fenced can still write down what it was refused, in its
//! own file, and a line that a crash tore off stays where it is: nothing is ever written after it.
//!
//! No key gets in: entries are made of [`Text`], which takes what can be displayed, and keys cannot.

mod chain;
mod entry;
mod error;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use forebay_world::Timestamp;

use crate::lease::Holder;
pub use crate::line_file::Durability;
use crate::line_file::{LineFile, sync_folder};
use chain::{After, Event, Line, files, name};
pub use chain::{Head, TornEnd, Verified, verify, verify_folder, verify_holding};
pub use entry::{Entry, Outcome, Text};
pub use error::AuditError;
use error::unwritable;

/// The log of one term, to be written.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    holder: String,
    file: LineFile,
    head: Head,
}

impl Audit {
    /// Begins the log of a term, after the last one in the folder, which is verified for that.
    ///
    /// # Errors
    /// [`AuditError::Broken`] when that one was changed: it has to be moved away, and looked at, before another is begun.
    /// [`AuditError::Superseded`] when there is one of this epoch or of a later one.
    pub fn begin(folder: &Path, epoch: u64, holder: &Holder, at: Timestamp) -> Result<Audit, AuditError> {
        fs::create_dir_all(folder).map_err(unwritable(folder))?;
        let last = files(folder)?.pop();
        let before = match last {
            Some((now, path)) if now >= epoch => return Err(AuditError::Superseded { path, ours: epoch, now }),
            Some((_, path)) => Some(verify(&path)?),
            None => None,
        };
        let path = folder.join(name(epoch));
        let holder = Text::new(holder).to_string();
        let (hash, after) = match before {
            Some(before) => {
                let after = After { epoch: before.epoch, entries: before.entries, torn: before.torn };
                (before.head.hash, Some(after))
            }
            None => (chain::NOTHING.to_owned(), None),
        };
        let event = Event::Began { after };
        let line = Line { n: 0, at, epoch, holder: holder.clone(), event, before: hash };
        let (text, hash) = line.close();
        // It takes its name with its first line: a log without one would be taken for a broken one.
        let fresh = folder.join(format!("{}.new", name(epoch)));
        let begin = || -> io::Result<LineFile> {
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = LineFile::create(&fresh)?;
            file.append(&text, Durability::OnDisk)?;
            fs::rename(&fresh, &path)?;
            sync_folder(folder)?;
            Ok(file)
        };
        let file = begin().map_err(unwritable(&path))?;
        Ok(Audit { path, holder, file, head: Head { epoch, n: 0, hash } })
    }

    /// Writes an entry down.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`]: it is not written, and the log ends as before. The same call may succeed later.
    pub fn append(&mut self, at: Timestamp, entry: Entry, durability: Durability) -> Result<(), AuditError> {
        let n = self.head.n + 1;
        let (epoch, holder, before) = (self.head.epoch, self.holder.clone(), self.head.hash.clone());
        let line = Line { n, at, epoch, holder, event: Event::Entry(entry), before };
        let (text, hash) = line.close();
        let before = self.file.bytes();
        let appended = self.file.append(&text, durability);
        // A line that is there is part of the chain, whether the disk has it or not.
        if self.file.bytes() > before {
            (self.head.n, self.head.hash) = (n, hash);
        }
        appended.map_err(unwritable(&self.path))
    }

    /// The end of the chain, to be kept elsewhere.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
