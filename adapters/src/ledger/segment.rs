//! The records of one term, as they stand in their file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::LedgerError;
use super::error::unreadable;

/// The format of the lines.
pub(super) const VERSION: u32 = 1;
/// Longest line \[bytes\].
pub(super) const LINE_BYTES_MOST: usize = 16 * 1024 * 1024;

/// What a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past<T> {
    /// The file.
    pub path: PathBuf,
    /// The term that wrote it.
    pub epoch: u64,
    /// What that term knew when it began, or when it last compacted.
    pub snapshot: Vec<T>,
    /// What it wrote after that.
    pub changes: Vec<T>,
    /// What a crash left of a last line. It never counted as written.
    pub torn: Option<Torn>,
}

/// A last line that was not written to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The line, counted from 1.
    pub line: u64,
    /// What there is of it \[bytes\].
    pub bytes: u64,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} was torn off after {} bytes and is left out", self.line, self.bytes)
    }
}

/// The first line of a segment.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) ledger: u32,
    pub(super) epoch: u64,
    /// Lines of the snapshot after this one.
    pub(super) snapshot: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    n: u64,
    crc: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// A record as a line.
pub(super) fn line(epoch: u64, n: u64, record: &impl Serialize) -> Vec<u8> {
    let body = serde_json::value::to_raw_value(record).expect("a record can be written as JSON");
    let line = Line { n, crc: checksum(epoch, n, body.get()), body: &body };
    let mut text = serde_json::to_vec(&line).expect("a line is plain data");
    text.push(b'\n');
    text
}

/// CRC-32 of epoch, number and text, so that a line cannot stand in the place of another.
fn checksum(epoch: u64, n: u64, body: &str) -> String {
    let mut crc = crc32fast::Hasher::new();
    for part in [&epoch.to_le_bytes()[..], &n.to_le_bytes(), body.as_bytes()] {
        crc.update(part);
    }
    format!("{:08x}", crc.finalize())
}

/// The name of a segment.
pub(super) fn name(epoch: u64) -> String {
    format!("ledger-{epoch}.jsonl")
}

/// The segments in a folder, by epoch.
pub(super) fn segments(folder: &Path) -> Result<Vec<(u64, PathBuf)>, LedgerError> {
    let list = || -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let epoch = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_prefix("ledger-")?.strip_suffix(".jsonl")?.parse::<u64>().ok());
            found.extend(epoch.map(|epoch| (epoch, path)));
        }
        found.sort();
        Ok(found)
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(unreadable(folder)),
    }
}

/// Reads a segment.
pub(super) fn read<T: DeserializeOwned>(path: &Path, epoch: u64) -> Result<Past<T>, LedgerError> {
    let damaged = |n: u64, what: String, hint| LedgerError::Damaged { path: path.to_owned(), line: n + 1, what, hint };
    let mut file = BufReader::new(File::open(path).map_err(unreadable(path))?);
    let mut past = Past { path: path.to_owned(), epoch, snapshot: Vec::new(), changes: Vec::new(), torn: None };
    let mut head: Option<Head> = None;
    let mut text = Vec::new();
    for n in 0.. {
        text.clear();
        let limit = LINE_BYTES_MOST as u64 + 1;
        file.by_ref().take(limit).read_until(b'\n', &mut text).map_err(unreadable(path))?;
        if text.is_empty() {
            break;
        }
        let is_last = file.fill_buf().map_err(unreadable(path))?.is_empty();
        // A line without its newline was never written to its end; nor was one whose blocks the file system had not yet
        // filled when the machine went down.
        if is_last && (!text.ends_with(b"\n") || text.contains(&0)) {
            past.torn = Some(Torn { line: n + 1, bytes: text.len() as u64 });
            break;
        }
        let parsed: Result<Line<'_>, _> = serde_json::from_slice(&text);
        let body = match &parsed {
            Ok(line) if line.n == n && line.crc == checksum(epoch, n, line.body.get()) => line.body.get(),
            Ok(line) if line.n != n => {
                return Err(damaged(n, format!("record {} where {n} belongs", line.n), EDITED));
            }
            Ok(_) => return Err(damaged(n, "a record that does not fit its checksum".to_owned(), EDITED)),
            Err(error) => return Err(damaged(n, format!("no record: {error}"), EDITED)),
        };
        let foreign = |error: serde_json::Error| {
            let what = format!("a whole record that is not understood: {error}");
            damaged(n, what, "read it with the version of the program that wrote it")
        };
        match &head {
            None => {
                let found: Head = serde_json::from_str(body).map_err(foreign)?;
                if found.ledger != VERSION || found.epoch != epoch {
                    let what = format!("format {} of epoch {}", found.ledger, found.epoch);
                    return Err(damaged(n, what, "its name has to be the one it was written under"));
                }
                head = Some(found);
            }
            Some(head) => {
                let record = serde_json::from_str(body).map_err(foreign)?;
                if n <= head.snapshot { past.snapshot.push(record) } else { past.changes.push(record) }
            }
        }
    }
    // A segment takes its name when its snapshot is whole.
    match head {
        Some(head) if past.snapshot.len() as u64 == head.snapshot => Ok(past),
        Some(head) => {
            let there = past.snapshot.len() as u64;
            Err(damaged(there, format!("ends after {there} of {} records of its snapshot", head.snapshot), EDITED))
        }
        None => Err(damaged(0, "no first line".to_owned(), EDITED)),
    }
}

const EDITED: &str = "it was changed after it was written, or the disk is failing; bring the file back from a backup, or move \
                      it away to go on from the segment before it, after looking at what runs";
