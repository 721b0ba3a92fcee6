//! A file that grows by whole lines: a line that could not be written leaves nothing behind, and what is on the disk is
//! known.
//!
//! Not for what is in the lines, and not for two writers: whoever owns the file sees to that.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// When a line has to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before the call returns.
    OnDisk,
    /// When the kernel gets to it; a crash of the machine may lose it, a crash of the process does not. It is on the disk
    /// at the latest with the next line that has to be.
    Soon,
}

/// A file of lines, at whose end lines are written.
#[derive(Debug)]
pub(crate) struct LineFile {
    file: File,
    /// Of all whole lines [bytes].
    bytes: u64,
    /// Why nothing can be written any more.
    broken: Option<String>,
}

impl LineFile {
    /// Makes a file that is not there yet.
    pub(crate) fn create(path: &Path) -> io::Result<LineFile> {
        // What is written down is for its owner: names of machines, addresses.
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?;
        Ok(LineFile { file, bytes: 0, broken: None })
    }

    /// Length of all that was written [bytes].
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a line, which ends with its newline. After an error the file is as before.
    ///
    /// When it cannot be made so, and when the disk did not take what the kernel had taken, nothing more is written: what
    /// the kernel then shows need not be what a crash leaves.
    pub(crate) fn append(&mut self, line: &[u8], durability: Durability) -> io::Result<()> {
        assert!(line.ends_with(b"\n"), "a line ends");
        if let Some(why) = &self.broken {
            return Err(io::Error::other(format!("nothing more can be written here: {why}")));
        }
        if let Err(error) = self.file.write_all(line) {
            // Takes no room, so it can be done on a full disk.
            if let Err(second) = self.file.set_len(self.bytes) {
                self.broken = Some(format!("{error}; and half a line could not be taken back: {second}"));
            }
            return Err(error);
        }
        self.bytes += line.len() as u64;
        if durability == Durability::OnDisk { self.sync() } else { Ok(()) }
    }

    /// Puts all lines on the disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|error| self.broken = Some(format!("the disk did not take a line: {error}")))
    }
}

/// Puts the names in a folder on the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
