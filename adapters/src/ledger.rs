//! The ledger: records that outlive a crash, one line of JSON each.
//!
//! ```text
//!   ledger-8.jsonl   {"n":0,"crc":"…","body":{"ledger":1,"epoch":8,"snapshot":2}}
//!                    {"n":1,"crc":"…","body":…}   the snapshot: there whole, or the file is not there
//!                    {"n":2,"crc":"…","body":…}
//!                    {"n":3,"crc":"…","body":…}   a change, on the disk before what it announces is done
//!                    {"n":4,"crc":"…","bo         torn by a crash: dropped, and said
//! ```
//!
//! Each term of a [lease](crate::lease) writes a segment of its own, which begins with what the terms before have left, as
//! its instance understood it. An instance that was fenced and wakes appends to its own old segment, which nobody reads any
//! more; so a ledger needs no lock. Read the last segment after the term has begun: what the instance before it did, it had
//! announced before.
//!
//! What a record means, and what a snapshot is of many changes, is its owner's affair.

mod error;
mod segment;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::line_file::Durability;
use crate::line_file::{LineFile, sync_folder};
pub use error::LedgerError;
use error::unwritable;
use segment::{Head, LINE_BYTES_MOST, line, name, segments};
pub use segment::{Past, Torn};

/// The segment of a term, to be written.
#[derive(Debug)]
pub struct Ledger<T> {
    folder: PathBuf,
    epoch: u64,
    file: LineFile,
    /// Lines that are there.
    lines: u64,
    changes: u64,
    records: PhantomData<fn(&T)>,
}

/// Reads the last segment in a folder: `None` where there is none.
///
/// # Errors
/// [`LedgerError::Damaged`] for a line that is neither whole nor torn off at the end; nothing older is taken in its place.
pub fn read<T: DeserializeOwned>(folder: &Path) -> Result<Option<Past<T>>, LedgerError> {
    match segments(folder)?.last() {
        Some((epoch, path)) => segment::read(path, *epoch).map(Some),
        None => Ok(None),
    }
}

impl<T: Serialize> Ledger<T> {
    /// Begins the segment of a term with all that has to be known of before. When this returns it is on the disk, and is
    /// what [`read`] finds.
    ///
    /// # Errors
    /// [`LedgerError::Superseded`] when there is a segment of this epoch or of a later one, and [`LedgerError::Unwritable`];
    /// the segment before is then still the last.
    pub fn begin(folder: &Path, epoch: u64, snapshot: &[T]) -> Result<Ledger<T>, LedgerError> {
        fs::create_dir_all(folder).map_err(unwritable(folder))?;
        if let Some((now, path)) = segments(folder)?.pop().filter(|(last, _)| *last >= epoch) {
            return Err(LedgerError::Superseded { path, ours: epoch, now });
        }
        Ledger::write(folder, epoch, snapshot)
    }

    /// Appends a record.
    ///
    /// # Errors
    /// [`LedgerError`]: the record does not count as written, and what was written before stays. After
    /// [`LedgerError::Unwritable`] the same call may succeed later, but not once the disk has failed to keep what it had
    /// taken: then [`Ledger::compact`] may.
    pub fn append(&mut self, record: &T, durability: Durability) -> Result<(), LedgerError> {
        let text = line(self.epoch, self.lines, record);
        let path = self.path();
        if text.len() > LINE_BYTES_MOST {
            return Err(LedgerError::TooLong { path, bytes: text.len() });
        }
        self.file.append(&text, durability).map_err(unwritable(&path))?;
        self.lines += 1;
        self.changes += 1;
        Ok(())
    }

    /// Puts all records on the disk.
    ///
    /// # Errors
    /// [`LedgerError::Unwritable`].
    pub fn sync(&mut self) -> Result<(), LedgerError> {
        let path = self.path();
        self.file.sync().map_err(unwritable(&path))
    }

    /// Puts a snapshot in the place of all records of this term. Worth it when there are many more [changes](Ledger::changes)
    /// than the snapshot has records.
    ///
    /// # Errors
    /// [`LedgerError`]; the records are then as before.
    pub fn compact(&mut self, snapshot: &[T]) -> Result<(), LedgerError> {
        *self = Ledger::write(&self.folder, self.epoch, snapshot)?;
        Ok(())
    }

    /// Removes segments of terms before this one, but the last `keep`; how many went.
    ///
    /// # Errors
    /// [`LedgerError::Unwritable`].
    pub fn discard_past(&self, keep: usize) -> Result<usize, LedgerError> {
        let mut past = segments(&self.folder)?;
        past.retain(|(epoch, _)| *epoch < self.epoch);
        past.truncate(past.len().saturating_sub(keep));
        for (_, path) in &past {
            fs::remove_file(path).map_err(unwritable(path))?;
        }
        Ok(past.len())
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(name(self.epoch))
    }

    /// The term it belongs to.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Records since the snapshot.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Length of the file \[bytes\].
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Writes a segment beside the one that may be there, and puts it in its place when it is whole.
    fn write(folder: &Path, epoch: u64, snapshot: &[T]) -> Result<Ledger<T>, LedgerError> {
        let (path, fresh) = (folder.join(name(epoch)), folder.join(format!("{}.new", name(epoch))));
        let head = Head { ledger: segment::VERSION, epoch, snapshot: snapshot.len() as u64 };
        let lines: Vec<Vec<u8>> = std::iter::once(line(epoch, 0, &head))
            .chain((1..).zip(snapshot).map(|(n, record)| line(epoch, n, record)))
            .collect();
        if let Some(long) = lines.iter().find(|line| line.len() > LINE_BYTES_MOST) {
            return Err(LedgerError::TooLong { path, bytes: long.len() });
        }
        let write = || -> io::Result<LineFile> {
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = LineFile::create(&fresh)?;
            for line in &lines {
                file.append(line, Durability::Soon)?;
            }
            file.sync()?;
            fs::rename(&fresh, &path)?;
            sync_folder(folder)?;
            Ok(file)
        };
        let file = write().map_err(|error| {
            // It takes room that is wanted elsewhere, and means nothing.
            let _ = fs::remove_file(&fresh);
            unwritable(&path)(error)
        })?;
        let (folder, lines) = (folder.to_owned(), lines.len() as u64);
        Ok(Ledger { folder, epoch, file, lines, changes: 0, records: PhantomData })
    }
}
