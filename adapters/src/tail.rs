//! A text log that is being written: the lines that are added, across rotation by renaming and by truncating.
//!
//! [`Tail::poll`] reads what is there and returns; when to look again is up to the caller. A file that is renamed is
//! read to its end before the new one of its name is begun. A line without its end is kept until the rest comes; when
//! the file is rotated before that, it is counted as cut. A file that is truncated and has grown beyond the old place
//! again before the next poll cannot be told from one that went on: poll every second or so.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Place, ReadError};
use crate::input::Input;
use crate::line_log::{Counting, LineLog, NotAsked};
use crate::log_format::LogFormat;
use crate::query::LoggedQuery;
use crate::query_report::QueryReport;
use crate::read_options::ReadOptions;

/// Bytes asked of the file at once.
const CHUNK: usize = 256 * 1024;
/// The longest line that is kept; what is longer is counted as malformed.
const LONGEST_LINE: usize = 1024 * 1024;

/// Where a tail begins in a file that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailFrom {
    /// With its first line.
    Begin,
    /// With the lines that are added from now on.
    End,
}

/// Follows a text log.
pub struct Tail {
    path: PathBuf,
    options: ReadOptions,
    file: Option<Followed>,
    /// Received and not yet taken: a line without its end, or the begin of a log whose format is not known yet.
    pending: Vec<u8>,
    log: Option<LineLog>,
    lines: u64,
    rotations: u64,
    cut: u64,
}

struct Followed {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    position: u64,
}

impl Tail {
    /// Begins to follow. A file that is not there yet is waited for.
    ///
    /// # Errors
    /// [`ReadError::Unreadable`] for a file that is there and cannot be read; [`ReadError::Unrecognised`] for a format
    /// that has no lines.
    pub fn open(path: &Path, options: &ReadOptions, from: TailFrom) -> Result<Tail, ReadError> {
        let mut tail = Tail {
            path: path.to_owned(),
            options: options.clone(),
            file: None,
            pending: Vec::new(),
            log: None,
            lines: 0,
            rotations: 0,
            cut: 0,
        };
        if let Some(format) = options.format {
            tail.begin(format)?;
        }
        let mut file = tail.open_file()?;
        if let (Some(followed), TailFrom::End) = (&mut file, from) {
            followed.position = followed.file.seek(SeekFrom::End(0)).map_err(|source| tail.unreadable(source))?;
        }
        tail.file = file;
        Ok(tail)
    }

    /// Shows the queries of the lines that were added, and says how many lines there were.
    ///
    /// # Errors
    /// [`ReadError::Unreadable`]; [`ReadError::Unrecognised`] for lines of no known format; [`ReadError::Malformed`]
    /// when the log cannot be read at all, for want of a year or a header.
    pub fn poll(&mut self, visit: &mut dyn FnMut(&LoggedQuery<'_>)) -> Result<u64, ReadError> {
        let before = self.lines;
        loop {
            self.read_on(visit)?;
            if !self.follow()? {
                return Ok(self.lines - before);
            }
        }
    }

    /// What was read so far; `None` before the format is known.
    pub fn report(&self) -> Option<QueryReport> {
        let mut report = self.log.as_ref()?.report_so_far();
        report.cut += self.cut;
        Some(report)
    }

    /// How often another file, or a truncated one, took the place of the log.
    pub fn rotations(&self) -> u64 {
        self.rotations
    }

    fn begin(&mut self, format: LogFormat) -> Result<(), ReadError> {
        let Some(lines) = format.lines(&self.options, false) else {
            return Err(ReadError::Unrecognised {
                path: self.path.clone(),
                found: format!("a log of format {format}"),
                allowed: "a log of lines",
                hint: "let the server send dnstap to a socket instead",
            });
        };
        self.log = Some(LineLog::new(lines, Counting::new(format, &self.options)));
        Ok(())
    }

    /// Opens what stands at the path; `None` when nothing does.
    fn open_file(&self) -> Result<Option<Followed>, ReadError> {
        let opened = File::open(&self.path).and_then(|file| {
            let metadata = file.metadata()?;
            Ok(Followed { file, identity: (metadata.dev(), metadata.ino()), position: 0 })
        });
        match opened {
            Ok(followed) => Ok(Some(followed)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.unreadable(source)),
        }
    }

    fn unreadable(&self, source: io::Error) -> ReadError {
        ReadError::Unreadable { path: self.path.clone(), source }
    }

    /// Reads the file at hand to its present end.
    fn read_on(&mut self, visit: &mut dyn FnMut(&LoggedQuery<'_>)) -> Result<(), ReadError> {
        loop {
            let Some(followed) = &mut self.file else { return Ok(()) };
            let held = self.pending.len();
            self.pending.resize(held + CHUNK, 0);
            let read = followed.file.read(&mut self.pending[held..]);
            self.pending.truncate(held + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(()),
                Ok(read) => followed.position += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(self.unreadable(source)),
            }
            self.take_lines(visit)?;
        }
    }

    /// Takes the whole lines of what is pending.
    fn take_lines(&mut self, visit: &mut dyn FnMut(&LoggedQuery<'_>)) -> Result<(), ReadError> {
        let Some(end) = memchr::memrchr(b'\n', &self.pending) else {
            if self.pending.len() > LONGEST_LINE {
                self.pending.clear();
                self.cut += 1;
            }
            return Ok(());
        };
        if self.log.is_none() {
            let mut begin = Input::from_reader(&self.path, Cursor::new(self.pending[..=end].to_vec()))?;
            match LogFormat::of(&mut begin, &self.options)? {
                Some(format) => self.begin(format)?,
                // The server's first lines may not be queries.
                None if end < CHUNK => return Ok(()),
                None => return Err(LogFormat::unrecognised(&mut begin)?),
            }
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        for line in self.pending[..end].split(|&byte| byte == b'\n') {
            self.lines += 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Err(NotAsked::Fatal { what, allowed, hint }) = log.take(self.lines, line, true, visit) {
                let path = self.path.clone();
                let place = Place::Line(self.lines);
                return Err(ReadError::Malformed { path, place, what, allowed: allowed.into(), hint: hint.into() });
            }
        }
        self.pending.drain(..=end);
        Ok(())
    }

    /// Turns to the file that now stands at the path; true when there is something else to read.
    fn follow(&mut self) -> Result<bool, ReadError> {
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            // Renamed, and not yet made again: the old one may still be written to.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(self.unreadable(source)),
        };
        let Some(followed) = &mut self.file else {
            self.file = self.open_file()?;
            return Ok(self.file.is_some());
        };
        if followed.identity == (metadata.dev(), metadata.ino()) {
            if metadata.len() >= followed.position {
                return Ok(false);
            }
            let begin = followed.file.rewind();
            followed.position = 0;
            begin.map_err(|source| self.unreadable(source))?;
        } else if metadata_len(&followed.file) > followed.position {
            // Written between our reading and its renaming.
            return Ok(true);
        } else {
            self.file = self.open_file()?;
        }
        self.rotations += 1;
        self.cut += u64::from(!self.pending.is_empty() && self.log.is_some());
        self.pending.clear();
        Ok(self.file.is_some())
    }
}

fn metadata_len(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(name: &str) -> String {
        format!("2026-11-22T17:47:58.683Z client 192.0.2.1#53 ({name}): query: {name} IN A - (192.0.2.53)\n")
    }

    struct Log {
        folder: tempfile::TempDir,
        file: File,
    }

    impl Log {
        fn new() -> Log {
            let folder = tempfile::tempdir().unwrap();
            let file = File::create(folder.path().join("log")).unwrap();
            Log { folder, file }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("log")
        }

        fn write(&mut self, text: &str) {
            self.file.write_all(text.as_bytes()).unwrap();
        }

        fn rotate(&mut self) {
            std::fs::rename(self.path(), self.folder.path().join("log.1")).unwrap();
        }

        fn create(&mut self) {
            self.file = File::create(self.path()).unwrap();
        }
    }

    fn poll(tail: &mut Tail) -> String {
        let mut names = Vec::new();
        tail.poll(&mut |query| names.push(query.name.to_owned())).unwrap();
        names.join(" ")
    }

    fn follow(log: &Log) -> Tail {
        Tail::open(&log.path(), &ReadOptions::default(), TailFrom::Begin).unwrap()
    }

    #[test]
    fn lines_come_as_they_are_written() {
        let mut log = Log::new();
        let mut tail = follow(&log);
        assert_eq!(poll(&mut tail), "");
        log.write("2026-11-22T17:47:00Z general: info: running\n");
        assert_eq!((poll(&mut tail).as_str(), tail.report().is_none()), ("", true));
        log.write(&line("a"));
        let whole = line("b");
        let (half, rest) = whole.split_at(60);
        log.write(half);
        assert_eq!(poll(&mut tail), "a");
        assert_eq!(poll(&mut tail), "");
        log.write(rest);
        assert_eq!(poll(&mut tail), "b");
        let report = tail.report().unwrap();
        assert_eq!((report.format, report.queries, report.records), (LogFormat::Bind, 2, 3));
    }

    #[test]
    fn a_renamed_log_is_read_to_its_end_first() {
        let mut log = Log::new();
        let mut tail = follow(&log);
        log.write(&line("a"));
        assert_eq!(poll(&mut tail), "a");
        log.rotate();
        log.write(&line("b"));
        assert_eq!(poll(&mut tail), "b");
        log.write(&line("c"));
        log.create();
        log.write(&line("d"));
        assert_eq!(poll(&mut tail), "c d");
        assert_eq!((tail.rotations(), tail.report().unwrap().cut), (1, 0));
        log.write(&line("e")[..50]);
        log.rotate();
        log.create();
        log.write(&line("f"));
        assert_eq!(poll(&mut tail), "f");
        assert_eq!((tail.rotations(), tail.report().unwrap().cut), (2, 1));
    }

    #[test]
    fn a_truncated_log_is_begun_again() {
        let mut log = Log::new();
        let mut tail = follow(&log);
        log.write(&line("a").repeat(3));
        assert_eq!(poll(&mut tail), "a a a");
        log.create();
        log.write(&line("b"));
        assert_eq!(poll(&mut tail), "b");
        assert_eq!(tail.rotations(), 1);
    }

    #[test]
    fn a_log_may_be_followed_from_its_end_and_before_it_is_there() {
        let mut log = Log::new();
        log.write(&line("a"));
        let mut tail = Tail::open(&log.path(), &ReadOptions::default(), TailFrom::End).unwrap();
        log.write(&line("b"));
        assert_eq!(poll(&mut tail), "b");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later");
        let mut tail = Tail::open(&path, &ReadOptions::default(), TailFrom::End).unwrap();
        assert_eq!(poll(&mut tail), "");
        std::fs::write(&path, line("a")).unwrap();
        assert_eq!(poll(&mut tail), "a");
    }

    #[test]
    fn what_has_no_lines_is_refused() {
        let options = ReadOptions { format: Some(LogFormat::Pcap), ..ReadOptions::default() };
        let error = Tail::open(Path::new("x"), &options, TailFrom::End).err().unwrap();
        assert!(error.hint().contains("socket"), "{error}");
    }
}
