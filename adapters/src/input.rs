//! Opens a recording: a path or `-` for standard input, plain or gzip (told by its first bytes, several members
//! allowed), read through one buffer that knows byte offsets and line numbers.
//!
//! Not for formats: what the bytes mean is up to the readers. Memory is bounded whatever the content: one buffer, and
//! a line or frame has a longest length.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memchr;

use crate::error::{Place, ReadError};

/// Bytes asked of the source at once.
const CHUNK: usize = 256 * 1024;
/// The longest line that is read: a line of a log has some hundred bytes.
const LONGEST_LINE: usize = 1024 * 1024;

/// An opened recording.
pub struct Input {
    path: PathBuf,
    source: Box<dyn Read>,
    gzip: bool,
    buffer: Vec<u8>,
    /// What of the buffer is read but not yet consumed.
    start: usize,
    end: usize,
    at_end: bool,
    /// Content offset of `start`.
    offset: u64,
    /// Lines handed out.
    lines: u64,
}

/// One line of text, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: u64,
    /// Content, without `\n` or `\r\n`.
    pub text: &'a [u8],
    /// False when the file ends without ending this line.
    pub ended: bool,
}

impl Input {
    /// Opens a file, or standard input when the path is `-`.
    ///
    /// # Errors
    /// [`ReadError::Unreadable`]; [`ReadError::Unrecognised`] for compression other than gzip.
    pub fn open(path: &Path) -> Result<Input, ReadError> {
        if path == Path::new("-") {
            return Input::from_reader("<stdin>", io::stdin());
        }
        let file = File::open(path).map_err(|source| ReadError::Unreadable { path: path.to_owned(), source })?;
        Input::from_reader(path, file)
    }

    /// Reads from anything; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`Input::open`].
    pub fn from_reader(name: impl Into<PathBuf>, mut source: impl Read + 'static) -> Result<Input, ReadError> {
        let path = name.into();
        let mut magic = [0; 6];
        let mut have = 0;
        while have < magic.len() {
            match source.read(&mut magic[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Unreadable { path, source }),
            }
        }
        let magic = &magic[..have];
        if let Some((_, name)) = OTHER_COMPRESSION.iter().find(|(bytes, _)| magic.starts_with(bytes)) {
            return Err(ReadError::Unrecognised {
                path,
                found: format!("compressed with {name}"),
                allowed: "plain or gzip",
                hint: "unpack it first; standard input is read when the path is -",
            });
        }
        let gzip = magic.starts_with(&[0x1f, 0x8b]);
        let whole = io::Cursor::new(magic.to_vec()).chain(source);
        let source: Box<dyn Read> =
            if gzip { Box::new(flate2::read::MultiGzDecoder::new(FullReads(whole))) } else { Box::new(whole) };
        Ok(Input { path, source, gzip, buffer: Vec::new(), start: 0, end: 0, at_end: false, offset: 0, lines: 0 })
    }

    /// What errors call it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Content consumed so far, in bytes after decompression.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes without consuming them: at least `want`, fewer only when the content ends before.
    ///
    /// # Errors
    /// [`ReadError::Unreadable`], [`ReadError::TruncatedGzip`], [`ReadError::DamagedGzip`].
    pub fn fill(&mut self, want: usize) -> Result<&[u8], ReadError> {
        while self.end - self.start < want && !self.at_end {
            self.read_more(want)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Consumes bytes that [`Input::fill`] has shown.
    ///
    /// # Panics
    /// When more are consumed than were shown.
    pub fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.end - self.start, "only what was shown can be consumed");
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Consumes bytes that [`Input::fill`] has shown, and gives them once more.
    ///
    /// # Panics
    /// As [`Input::consume`].
    pub fn take(&mut self, bytes: usize) -> &[u8] {
        self.consume(bytes);
        &self.buffer[self.start - bytes..self.start]
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// As [`Input::fill`]; [`ReadError::Malformed`] for a line over 1 MiB.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        let mut searched = 0;
        let (length, ended) = loop {
            let ahead = &self.buffer[self.start..self.end];
            if let Some(at) = memchr(b'\n', &ahead[searched..]) {
                break (searched + at, true);
            }
            searched = ahead.len();
            if searched > LONGEST_LINE {
                return Err(self.malformed(
                    Place::Line(self.lines + 1),
                    "a line longer than 1 MiB",
                    "lines up to 1 MiB",
                    "is this a text file?",
                ));
            }
            if self.fill(searched + 1)?.len() == searched {
                if searched == 0 {
                    return Ok(None);
                }
                break (searched, false);
            }
        };
        self.lines += 1;
        let number = self.lines;
        let text = &self.take(length + usize::from(ended))[..length];
        Ok(Some(Line { number, text: text.strip_suffix(b"\r").unwrap_or(text), ended }))
    }

    /// All that is left.
    ///
    /// # Errors
    /// As [`Input::fill`].
    pub fn read_all(mut self) -> Result<Vec<u8>, ReadError> {
        while !self.at_end {
            self.read_more(0)?;
        }
        self.buffer.truncate(self.end);
        self.buffer.drain(..self.start);
        Ok(self.buffer)
    }

    /// An error at a place of this input.
    pub(crate) fn malformed(
        &self,
        place: Place,
        what: impl Into<String>,
        allowed: impl Into<std::borrow::Cow<'static, str>>,
        hint: impl Into<std::borrow::Cow<'static, str>>,
    ) -> ReadError {
        ReadError::Malformed {
            path: self.path.clone(),
            place,
            what: what.into(),
            allowed: allowed.into(),
            hint: hint.into(),
        }
    }

    /// Reads a chunk behind what is there, after moving that to the front.
    fn read_more(&mut self, want: usize) -> Result<(), ReadError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let size = want.max(self.end + CHUNK);
        if self.buffer.len() < size {
            // Doubling keeps a long read linear.
            self.buffer.resize(size.max(self.buffer.len().saturating_mul(2)), 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.at_end = true,
                Ok(bytes) => self.end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.io_error(error)),
            }
            return Ok(());
        }
    }

    fn io_error(&self, source: io::Error) -> ReadError {
        let path = self.path.clone();
        let read_bytes = self.offset + (self.end - self.start) as u64;
        match source.kind() {
            io::ErrorKind::UnexpectedEof if self.gzip => ReadError::TruncatedGzip { path, read_bytes },
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if self.gzip => {
                ReadError::DamagedGzip { path, read_bytes, source }
            }
            _ => ReadError::Unreadable { path, source },
        }
    }
}

/// Fills whatever it is asked to fill, short only at the end or before an error. A decoder that meets damage forgets what
/// it has unpacked of the same piece: with pieces of one size, a damaged file says the same however it comes.
struct FullReads<R>(R);

impl<R: Read> Read for FullReads<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut have = 0;
        while have < buffer.len() {
            match self.0.read(&mut buffer[have..]) {
                Ok(0) => break,
                Ok(bytes) => have += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A source that fails goes on failing: the next call says so.
                Err(_) if have > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(have)
    }
}

/// First bytes of files that cannot be read as they are.
const OTHER_COMPRESSION: &[(&[u8], &str)] = &[
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// Hands out its bytes in small pieces, as a pipe may.
    pub(crate) struct Dribble(pub(crate) Vec<u8>, pub(crate) usize);

    impl Read for Dribble {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = buffer.len().min(self.1).min(self.0.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0.drain(..n);
            Ok(n)
        }
    }

    pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn lines(bytes: Vec<u8>, piece: usize) -> Result<Vec<(u64, Vec<u8>, bool)>, ReadError> {
        let mut input = Input::from_reader("test", Dribble(bytes, piece))?;
        let mut found = Vec::new();
        while let Some(line) = input.next_line()? {
            found.push((line.number, line.text.to_vec(), line.ended));
        }
        Ok(found)
    }

    #[test]
    fn lines_are_numbered_and_lose_their_ends() {
        let want =
            vec![(1, b"a".to_vec(), true), (2, vec![], true), (3, b"bc".to_vec(), true), (4, b"d".to_vec(), false)];
        for piece in [1, 2, 3, 100] {
            assert_eq!(lines(b"a\r\n\nbc\nd".to_vec(), piece).unwrap(), want);
            assert_eq!(lines(gzip(b"a\r\n\nbc\nd"), piece).unwrap(), want);
        }
        assert_eq!(lines(vec![], 1).unwrap(), vec![]);
    }

    #[test]
    fn members_of_a_gzip_file_follow_each_other() {
        let mut bytes = gzip(b"one\ntw");
        bytes.extend(gzip(b"o\n"));
        let text: Vec<_> = lines(bytes, 7).unwrap().into_iter().map(|line| line.1).collect();
        assert_eq!(text, [b"one".to_vec(), b"two".to_vec()]);
    }

    #[test]
    fn a_truncated_gzip_says_how_much_was_read() {
        let whole = gzip(&b"some line of text, again and again\n".repeat(1000));
        for cut in [3, 10, 12, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
            let error = lines(whole[..cut].to_vec(), 1000).unwrap_err();
            assert!(matches!(error, ReadError::TruncatedGzip { .. }), "{cut}: {error}");
            assert!(error.to_string().contains("bytes of content"));
        }
        let ReadError::TruncatedGzip { read_bytes, .. } = lines(whole[..whole.len() - 8].to_vec(), 10).unwrap_err()
        else {
            panic!()
        };
        assert_eq!(read_bytes, 35_000);
    }

    #[test]
    fn a_damaged_gzip_is_an_error() {
        let mut bytes = gzip(&b"0123456789".repeat(100));
        let at = bytes.len() - 6;
        bytes[at] ^= 0x55;
        assert!(matches!(lines(bytes, 1000).unwrap_err(), ReadError::DamagedGzip { .. }));
    }

    #[test]
    fn a_damaged_gzip_says_the_same_however_the_source_dribbles() {
        let content: Vec<u8> =
            (0..60_000_u32).flat_map(|n| format!("{} of them\n", n * n % 7919).into_bytes()).collect();
        let whole = gzip(&content);
        assert!(whole.len() > 100_000, "{} bytes are several pieces of the decoder's", whole.len());
        let read = |bytes: &[u8], piece| {
            let mut input = Input::from_reader("test", Dribble(bytes.to_vec(), piece)).unwrap();
            let mut read = 0;
            loop {
                match input.next_line() {
                    Ok(Some(_)) => read += 1,
                    Ok(None) => return (read, None),
                    Err(error) => return (read, Some(error.to_string())),
                }
            }
        };
        let mut damaged = 0;
        for at in (11..whole.len()).step_by(whole.len() / 20) {
            let mut bytes = whole.clone();
            bytes[at..whole.len().min(at + 40)].fill(0xff);
            let found = read(&bytes, bytes.len());
            damaged += usize::from(found.1.is_some());
            for piece in [997, 32 * 1024 + 1] {
                assert_eq!(read(&bytes, piece), found, "damage at {at}, pieces of {piece}");
            }
        }
        assert!(damaged > 15, "{damaged}");
    }

    #[test]
    fn other_compression_and_missing_files_are_named() {
        let error = lines(b"\x28\xb5\x2f\xfd....".to_vec(), 8).unwrap_err();
        assert_eq!(error.to_string(), "test: compressed with zstd; allowed: plain or gzip");
        let error = Input::open(Path::new("no/such/file")).err().unwrap();
        assert!(error.to_string().starts_with("no/such/file: cannot be read"), "{error}");
        assert!(error.hint().contains("path"));
        let folder = tempfile::tempdir().unwrap();
        let error = Input::open(folder.path()).err().unwrap();
        assert!(error.hint().contains("folder"), "{error}");
    }

    #[test]
    fn a_line_without_end_is_refused_before_memory_is_gone() {
        let error = lines(gzip(&vec![b'x'; 8 << 20]), 1 << 20).unwrap_err();
        assert_eq!(error.place(), Place::Line(1));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_source_dribbles(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            piece in 1usize..20,
        ) {
            prop_assume!(!bytes.starts_with(&[0x1f, 0x8b]) && !bytes.starts_with(b"BZh"));
            let found = lines(bytes.clone(), piece).unwrap();
            let mut want: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
            if want.last().is_some_and(|last| last.is_empty()) { want.pop(); }
            let want: Vec<Vec<u8>> = want.iter().map(|l| l.strip_suffix(b"\r").unwrap_or(l).to_vec()).collect();
            prop_assert_eq!(found.into_iter().map(|l| l.1).collect::<Vec<_>>(), want);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), zipped: bool) {
            let mut bytes = bytes;
            if zipped { bytes.splice(0..0, [0x1f, 0x8b, 8, 0]); }
            let _ = lines(bytes, 16);
        }
    }
}
