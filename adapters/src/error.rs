//! What can be wrong with a recording, said so that an operator can mend it: the file, the place in it, what was
//! found there, what is allowed, and a hint.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A recording that cannot be used.
///
/// `Display` is one line, `file:12: what; allowed: …`. The parts are also given one by one ([`ReadError::path`],
/// [`ReadError::place`], [`ReadError::what`], [`ReadError::allowed`], [`ReadError::hint`]) for a longer report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system refused to open or read the file. Worth a retry once its reason is gone.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A gzip file that ends before its data does. What came before the end was read and thrown away.
    #[error("{}: gzip data ends early, after {read_bytes} bytes of content", path.display())]
    TruncatedGzip {
        /// The file.
        path: PathBuf,
        /// Content that could still be unpacked, in bytes.
        read_bytes: u64,
    },
    /// A gzip file whose data contradict themselves.
    #[error("{}: gzip data are damaged after {read_bytes} bytes of content: {source}", path.display())]
    DamagedGzip {
        /// The file.
        path: PathBuf,
        /// Content that could still be unpacked, in bytes.
        read_bytes: u64,
        /// What the decompressor said.
        source: io::Error,
    },
    /// A file that is not of a kind that is read here.
    #[error("{}: {found}; allowed: {allowed}", path.display())]
    Unrecognised {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: String,
        /// What is read.
        allowed: &'static str,
        /// What may help.
        hint: &'static str,
    },
    /// Content that does not follow the format of its file.
    #[error("{}{place}: {what}; allowed: {allowed}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// What was found.
        what: String,
        /// What is allowed there.
        allowed: Cow<'static, str>,
        /// What may help.
        hint: Cow<'static, str>,
    },
    /// A geolocation database that cannot be used.
    #[error("{}: not a usable MMDB database: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: maxminddb::MaxMindDbError,
    },
}

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line, counted from 1.
    Line(u64),
    /// A byte of the content (after decompression), counted from 0.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => Ok(()),
            Place::Line(line) => write!(f, ":{line}"),
            Place::Byte(offset) => write!(f, ": byte {offset}"),
        }
    }
}

impl ReadError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            ReadError::Unreadable { path, .. }
            | ReadError::TruncatedGzip { path, .. }
            | ReadError::DamagedGzip { path, .. }
            | ReadError::Unrecognised { path, .. }
            | ReadError::Malformed { path, .. }
            | ReadError::Database { path, .. } => path,
        }
    }

    /// Where in the file.
    pub fn place(&self) -> Place {
        match self {
            ReadError::Malformed { place, .. } => *place,
            ReadError::TruncatedGzip { read_bytes, .. } | ReadError::DamagedGzip { read_bytes, .. } => {
                Place::Byte(*read_bytes)
            }
            ReadError::Unreadable { .. } | ReadError::Unrecognised { .. } | ReadError::Database { .. } => Place::File,
        }
    }

    /// What was found.
    pub fn what(&self) -> String {
        match self {
            ReadError::Unreadable { source, .. } => format!("cannot be read: {source}"),
            ReadError::TruncatedGzip { read_bytes, .. } => {
                format!("gzip data ends early, after {read_bytes} bytes of content")
            }
            ReadError::DamagedGzip { read_bytes, source, .. } => {
                format!("gzip data are damaged after {read_bytes} bytes of content: {source}")
            }
            ReadError::Unrecognised { found, .. } => found.clone(),
            ReadError::Malformed { what, .. } => what.clone(),
            ReadError::Database { source, .. } => format!("not a usable MMDB database: {source}"),
        }
    }

    /// What is allowed there.
    pub fn allowed(&self) -> &str {
        match self {
            ReadError::Unreadable { .. } => "a file that can be read, or - for standard input",
            ReadError::TruncatedGzip { .. } | ReadError::DamagedGzip { .. } => "a complete gzip file, or plain content",
            ReadError::Unrecognised { allowed, .. } => allowed,
            ReadError::Malformed { allowed, .. } => allowed,
            ReadError::Database { .. } => "an MMDB file (MaxMind, DB-IP, or one with a flat country_code)",
        }
    }

    /// What may help.
    pub fn hint(&self) -> &str {
        match self {
            ReadError::Unreadable { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "check the path; it is taken from the folder the command runs in",
                io::ErrorKind::PermissionDenied => "the user that runs the command needs read permission",
                io::ErrorKind::IsADirectory => "name one file in this folder",
                _ => "the operating system gave this reason; try reading the file with another program",
            },
            ReadError::TruncatedGzip { .. } => "copy the file again, or wait until its writer has closed it",
            ReadError::DamagedGzip { .. } => "copy the file again; `gzip -t` tells whether it is whole",
            ReadError::Unrecognised { hint, .. } => hint,
            ReadError::Malformed { hint, .. } => hint,
            ReadError::Database { .. } => "give the .mmdb file itself, unpacked",
        }
    }
}

/// Text of a file as it may be shown in a message: shortened, and without control characters.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 60;
    let cut = &bytes[..bytes.len().min(LONGEST)];
    let mut text: String =
        String::from_utf8_lossy(cut).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if bytes.len() > LONGEST {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_the_file_the_place_and_what_is_allowed() {
        let error = |place| ReadError::Malformed {
            path: "load.csv".into(),
            place,
            what: "value \"-3\" is negative".into(),
            allowed: "a number from 0 up".into(),
            hint: "leave the row out".into(),
        };
        assert_eq!(
            error(Place::Line(12)).to_string(),
            "load.csv:12: value \"-3\" is negative; allowed: a number from 0 up"
        );
        assert!(error(Place::Byte(40)).to_string().starts_with("load.csv: byte 40: value"));
        assert!(error(Place::File).to_string().starts_with("load.csv: value"));
    }

    #[test]
    fn shown_text_is_short_and_printable() {
        assert_eq!(shown(b"a\x1b[31mb"), "a\u{fffd}[31mb");
        assert_eq!(shown(&[b'x'; 100]).chars().count(), 61);
        assert_eq!(shown(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
