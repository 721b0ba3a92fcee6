//! The chain of an audit log, and whether it holds.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use forebay_world::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::entry::Entry;
use super::error::{AuditError, unreadable};

/// What stands for the hash before the first line of all.
pub(super) const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Between what is hashed and its hash.
const SEAM: &str = ",\"hash\":\"";
/// Behind the hash.
const END: &str = "\"}\n";
/// Longest line that is read \[bytes\]; one that is written is much shorter.
const LINE_BYTES_MOST: u64 = 1024 * 1024;

/// A line, without its hash.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) n: u64,
    pub(super) at: Timestamp,
    pub(super) epoch: u64,
    pub(super) holder: String,
    pub(super) event: Event,
    pub(super) before: String,
}

/// What a line says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Event {
    /// A term began.
    Began {
        after: Option<After>,
    },
    Entry(Entry),
}

/// How the log of the term before had ended when this one began. Its instance may have written on: it did not know.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    pub(super) epoch: u64,
    pub(super) entries: u64,
    pub(super) torn: Option<TornEnd>,
}

/// The end of a chain: it stands for every line up to it. Prints and parses as one word, `8:120:2c2640…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The term.
    pub epoch: u64,
    /// The number of the line in its file, from 0.
    pub n: u64,
    /// Its hash, in lower-case hexadecimal.
    pub hash: String,
}

/// What a crash left of a last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TornEnd {
    /// What there is of it \[bytes\].
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
}

/// A log whose chain holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The file.
    pub path: PathBuf,
    /// The term.
    pub epoch: u64,
    /// Whole lines, the first included.
    pub entries: u64,
    /// The end of the chain.
    pub head: Head,
    /// What is no line any more, or not yet: a crash, or somebody who is writing.
    pub torn: Option<TornEnd>,
    /// The term whose log this one goes on from.
    pub after: Option<u64>,
}

impl Line {
    /// The line with its hash and its newline; and the hash.
    pub(super) fn close(&self) -> (Vec<u8>, String) {
        let mut text = serde_json::to_string(self).expect("a line is plain data");
        text.pop();
        let hash = hex(text.as_bytes());
        (format!("{text}{SEAM}{hash}{END}").into_bytes(), hash)
    }
}

/// Verifies one log.
///
/// # Errors
/// [`AuditError::Broken`] with the first line that is not as it was written.
pub fn verify(path: &Path) -> Result<Verified, AuditError> {
    Ok(walk(path, None)?.verified)
}

/// Verifies one log against an end that was kept: that line, and all before it, must still be there.
///
/// # Errors
/// As [`verify`]; and when the log ends before, or goes another way.
pub fn verify_holding(path: &Path, kept: &Head) -> Result<Verified, AuditError> {
    let verified = walk(path, Some(kept))?.verified;
    if verified.epoch != kept.epoch {
        let what = format!("the log of epoch {}; the end that was kept is of epoch {}", verified.epoch, kept.epoch);
        return Err(AuditError::Broken { path: path.to_owned(), line: 1, what });
    }
    Ok(verified)
}

/// Verifies all logs in a folder, and that each goes on from the one before it. What comes back is in their order. Logs
/// before the first that is there may have been put away.
///
/// # Errors
/// As [`verify`]; and where one is missing in the middle.
pub fn verify_folder(folder: &Path) -> Result<Vec<Verified>, AuditError> {
    let mut all: Vec<Verified> = Vec::new();
    for (_, path) in files(folder)? {
        let walked = walk(&path, None)?;
        let broken = |what| Err(AuditError::Broken { path: path.clone(), line: 1, what });
        match (all.last(), &walked.after) {
            (None, _) => {}
            (Some(before), None) => return broken(format!("does not go on from the log of epoch {}", before.epoch)),
            (Some(before), Some(after)) if before.epoch != after.epoch => {
                return broken(format!("goes on from the log of epoch {}, which is missing", after.epoch));
            }
            (Some(before), Some(after)) => {
                let n = after.entries.saturating_sub(1);
                walk(&before.path, Some(&Head { epoch: after.epoch, n, hash: walked.before.clone() }))?;
                // More lines: its instance wrote on, as far as it was let.
                if before.entries == after.entries && before.torn != after.torn {
                    let (path, line) = (before.path.clone(), before.entries + 1);
                    return Err(AuditError::Broken { path, line, what: "another torn end than was found".to_owned() });
                }
            }
        }
        all.push(walked.verified);
    }
    Ok(all)
}

/// The name of a log.
pub(super) fn name(epoch: u64) -> String {
    format!("audit-{epoch}.jsonl")
}

/// The logs in a folder, by epoch.
pub(super) fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, AuditError> {
    let list = || -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let epoch = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse::<u64>().ok());
            found.extend(epoch.map(|epoch| (epoch, path)));
        }
        found.sort();
        Ok(found)
    };
    list().map_err(unreadable(folder))
}

struct Walked {
    verified: Verified,
    after: Option<After>,
    /// The hash that the first line goes on from.
    before: String,
}

/// Goes along a chain, past the end that was kept.
fn walk(path: &Path, kept: Option<&Head>) -> Result<Walked, AuditError> {
    let broken = |n: u64, what: &str| AuditError::Broken { path: path.to_owned(), line: n + 1, what: what.to_owned() };
    let mut file = BufReader::new(File::open(path).map_err(unreadable(path))?);
    let (mut first, mut head, mut torn) = (None, None::<Head>, None);
    let mut text = Vec::new();
    for n in 0.. {
        text.clear();
        file.by_ref().take(LINE_BYTES_MOST).read_until(b'\n', &mut text).map_err(unreadable(path))?;
        if text.is_empty() {
            break;
        }
        let is_last = file.fill_buf().map_err(unreadable(path))?.is_empty();
        // Without its newline, or with blocks that were never filled.
        if is_last && (!text.ends_with(b"\n") || text.contains(&0)) {
            torn = Some(TornEnd { bytes: text.len() as u64, sha256: hex(&text) });
            break;
        }
        let (line, hash) = parse(&text).map_err(|what| broken(n, what))?;
        if line.n != n {
            return Err(broken(n, &format!("line {} where {n} belongs", line.n)));
        }
        match (&head, line.event) {
            (None, Event::Began { after }) => {
                let epoch = line.epoch;
                first = Some((epoch, after, line.before));
                head = Some(Head { epoch, n, hash });
            }
            (Some(before), Event::Entry(_)) if before.hash == line.before && before.epoch == line.epoch => {
                head = Some(Head { epoch: line.epoch, n, hash });
            }
            (Some(_), Event::Entry(_)) => return Err(broken(n, "does not go on from the line before")),
            _ => return Err(broken(n, "a term begins with the first line and with no other")),
        }
        let here = head.as_ref().expect("there is a line");
        if kept.is_some_and(|kept| kept.n == n && kept.hash != here.hash) {
            return Err(broken(n, "another line than the one that was kept: it was written anew"));
        }
    }
    let (Some((epoch, after, before)), Some(head)) = (first, head) else { return Err(broken(0, "no first line")) };
    if let Some(kept) = kept.filter(|kept| kept.n > head.n) {
        return Err(broken(head.n + 1, &format!("missing; the log reached line {} once", kept.n + 1)));
    }
    let entries = head.n + 1;
    let verified =
        Verified { path: path.to_owned(), epoch, entries, head, torn, after: after.as_ref().map(|after| after.epoch) };
    Ok(Walked { verified, after, before })
}

/// A line and its hash, which fits.
fn parse(text: &[u8]) -> Result<(Line, String), &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "is no UTF-8")?;
    let body = text.strip_suffix(END).and_then(|text| text.split_at_checked(text.len().checked_sub(64)?));
    let (body, hash) = body.ok_or("does not end with its hash")?;
    let body = body.strip_suffix(SEAM).ok_or("does not end with its hash")?;
    if hex(body.as_bytes()) != hash {
        return Err("does not fit its hash");
    }
    let line = serde_json::from_str(&format!("{body}}}")).map_err(|_| "fits its hash, but is no entry")?;
    Ok((line, hash.to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.epoch, self.n, self.hash)
    }
}

impl FromStr for Head {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Head, &'static str> {
        let wrong = "no end of an audit log; allowed: EPOCH:LINE:HASH as it was printed";
        let mut parts = text.trim().splitn(3, ':');
        let mut part = || parts.next().ok_or(wrong);
        let (epoch, n, hash) = (part()?, part()?, part()?);
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            return Err(wrong);
        }
        let number = |text: &str| text.parse().map_err(|_| wrong);
        Ok(Head { epoch: number(epoch)?, n: number(n)?, hash: hash.to_owned() })
    }
}
