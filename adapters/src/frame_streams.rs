//! Frame Streams, the framing of dnstap files: data frames between a START and a STOP control frame.
//!
//! Uni-directional streams only, as files have them. A data frame is a 32-bit length in network order and its bytes;
//! length zero escapes to a control frame, which has a length of its own, a type, and for START the content type.
//! Several streams may follow each other in one file, as after `cat`.

use crate::error::{Place, ReadError, shown};
use crate::input::Input;

/// The content type that is read.
pub const DNSTAP_CONTENT: &[u8] = b"protobuf:dnstap.Dnstap";

/// Longest data frame that is believed: two DNS messages of 64 KiB and what describes them fit several times.
const LONGEST_FRAME: usize = 1024 * 1024;
/// Longest control frame (fstrm's own limit).
const LONGEST_CONTROL: usize = 512;

const START: u32 = 2;
const STOP: u32 = 3;
const CONTENT_TYPE: u32 = 1;

const ALLOWED: &str = "Frame Streams with content protobuf:dnstap.Dnstap, as fstrm_capture and dnstap servers write";

/// The data frames of an input.
pub struct FrameStream {
    input: Input,
    within: bool,
    truncated_at: Option<u64>,
}

/// One data frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Position of its first byte in the content.
    pub offset: u64,
    /// Content.
    pub bytes: &'a [u8],
}

impl FrameStream {
    /// Reads up to the first data frame.
    ///
    /// # Errors
    /// [`ReadError::Unrecognised`] when the input does not begin with a START frame of dnstap.
    pub fn new(mut input: Input) -> Result<FrameStream, ReadError> {
        if !begins_stream(input.fill(12)?) {
            let found = match input.fill(8)? {
                [] => "an empty file".to_owned(),
                bytes => format!("a file that begins with {}", hex(&bytes[..bytes.len().min(8)])),
            };
            return Err(ReadError::Unrecognised {
                path: input.path().to_owned(),
                found,
                allowed: ALLOWED,
                hint: "a pcap must be turned into dnstap first; a DNS log in text must be Zeek's dns.log",
            });
        }
        Ok(FrameStream { input, within: false, truncated_at: None })
    }

    /// The next data frame; `None` at the end, which may come in the middle of a frame (see
    /// [`FrameStream::truncated_at`]).
    ///
    /// # Errors
    /// [`ReadError::Malformed`] with the byte where the framing is lost.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, ReadError> {
        loop {
            let offset = self.input.offset();
            let header = match self.input.fill(4)? {
                &[a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]) as usize,
                [] => return Ok(None),
                _ => return Ok(self.truncate(offset)),
            };
            if header == 0 {
                if !self.control_frame(offset)? {
                    return Ok(self.truncate(offset));
                }
                continue;
            }
            if header > LONGEST_FRAME || !self.within {
                let what = if self.within {
                    format!("a frame of {header} bytes")
                } else {
                    "data after the end of the stream (STOP)".to_owned()
                };
                return Err(self.lost(offset, what));
            }
            if self.input.fill(4 + header)?.len() < 4 + header {
                return Ok(self.truncate(offset));
            }
            let bytes = &self.input.take(4 + header)[4..];
            return Ok(Some(Frame { offset, bytes }));
        }
    }

    /// Where the last frame begins that the file does not hold completely: its writer was interrupted, or still runs.
    pub fn truncated_at(&self) -> Option<u64> {
        self.truncated_at
    }

    /// An error about content at `offset`.
    pub(crate) fn malformed(&self, offset: u64, what: String, allowed: &'static str, hint: &'static str) -> ReadError {
        self.input.malformed(Place::Byte(offset), what, allowed, hint)
    }

    fn truncate<T>(&mut self, offset: u64) -> Option<T> {
        let rest = self.input.fill(0).map_or(0, |rest| rest.len());
        self.input.consume(rest);
        self.truncated_at = Some(offset);
        None
    }

    fn lost(&self, offset: u64, what: String) -> ReadError {
        self.malformed(offset, what, ALLOWED, "from here on the file is no dnstap; frames before this byte are whole")
    }

    /// Reads an escape and the control frame behind it; false when the file ends within.
    fn control_frame(&mut self, offset: u64) -> Result<bool, ReadError> {
        let length = match self.input.fill(8)? {
            &[_, _, _, _, a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]) as usize,
            _ => return Ok(false),
        };
        if !(4..=LONGEST_CONTROL).contains(&length) {
            return Err(self.lost(offset, format!("a control frame of {length} bytes")));
        }
        if self.input.fill(8 + length)?.len() < 8 + length {
            return Ok(false);
        }
        let frame = &self.input.take(8 + length)[8..];
        let (kind, fields) = frame.split_at(4);
        match (be32(kind), self.within) {
            (Some(START), false) => {
                let content = content_type(fields);
                if content.is_some_and(|content| content != DNSTAP_CONTENT) {
                    let what = format!("content type \"{}\"", shown(content.unwrap_or_default()));
                    return Err(self.lost(offset, what));
                }
                self.within = true;
                Ok(true)
            }
            (Some(STOP), true) => {
                self.within = false;
                Ok(true)
            }
            (kind, within) => {
                let kind = kind.unwrap_or_default();
                let place = if within { "within a stream" } else { "outside a stream" };
                Err(self.lost(offset, format!("a control frame of type {kind} {place}")))
            }
        }
    }
}

/// Types of control frames.
pub(crate) mod control {
    pub(crate) const ACCEPT: u32 = 1;
    pub(crate) const START: u32 = 2;
    pub(crate) const STOP: u32 = 3;
    pub(crate) const READY: u32 = 4;
    pub(crate) const FINISH: u32 = 5;
}

/// What a stream consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit<'a> {
    /// A data frame.
    Data(&'a [u8]),
    /// A control frame: its type and fields.
    Control(u32, &'a [u8]),
}

/// The unit at the begin of what was received, and its length; `None` when it is not there completely. The error is a
/// frame that cannot be meant: the framing is lost.
pub(crate) fn split_unit(bytes: &[u8], longest_frame: usize) -> Result<Option<(Unit<'_>, usize)>, String> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(be32);
    let Some(length) = word(0) else { return Ok(None) };
    if length > 0 {
        let length = length as usize;
        if length > longest_frame {
            return Err(format!("a frame of {length} bytes, where up to {longest_frame} are allowed"));
        }
        return Ok(bytes.get(4..4 + length).map(|frame| (Unit::Data(frame), 4 + length)));
    }
    let Some(length) = word(4) else { return Ok(None) };
    let length = length as usize;
    if !(4..=LONGEST_CONTROL).contains(&length) {
        return Err(format!("a control frame of {length} bytes"));
    }
    let Some(frame) = bytes.get(8..8 + length) else { return Ok(None) };
    let (kind, fields) = frame.split_at(4);
    Ok(Some((Unit::Control(be32(kind).unwrap_or_default(), fields), 8 + length)))
}

/// A control frame as it is sent, with the content type or without.
pub(crate) fn control_frame(kind: u32, content: Option<&[u8]>) -> Vec<u8> {
    let field = content.map_or(0, |content| 8 + content.len() as u32);
    let mut bytes = [0, 4 + field, kind].map(u32::to_be_bytes).concat();
    if let Some(content) = content {
        bytes.extend([CONTENT_TYPE, content.len() as u32].map(u32::to_be_bytes).concat());
        bytes.extend(content);
    }
    bytes
}

/// Whether a control frame's content types have dnstap, or there are none.
pub(crate) fn offers_dnstap(mut fields: &[u8]) -> bool {
    let mut any = false;
    while let (Some(kind), Some(length)) = (fields.get(..4).and_then(be32), fields.get(4..8).and_then(be32)) {
        let Some(value) = fields.get(8..).and_then(|rest| rest.get(..length as usize)) else { return false };
        if kind == CONTENT_TYPE {
            if value == DNSTAP_CONTENT {
                return true;
            }
            any = true;
        }
        fields = &fields[8 + value.len()..];
    }
    !any
}

/// Whether bytes are the begin of a Frame Streams file: an escape, a control frame's length, START.
pub fn begins_stream(bytes: &[u8]) -> bool {
    let length = bytes.get(4..8).and_then(be32).unwrap_or(0) as usize;
    bytes.starts_with(&[0; 4])
        && (4..=LONGEST_CONTROL).contains(&length)
        && bytes.get(8..12).and_then(be32) == Some(START)
}

/// The content type field of a START frame; a stream without one has any content.
fn content_type(mut fields: &[u8]) -> Option<&[u8]> {
    while let (Some(kind), Some(length)) = (fields.get(..4).and_then(be32), fields.get(4..8).and_then(be32)) {
        let value = fields.get(8..8usize.checked_add(length as usize)?)?;
        if kind == CONTENT_TYPE {
            return Some(value);
        }
        fields = &fields[8 + value.len()..];
    }
    None
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    pub(crate) fn start(content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0];
        bytes.extend((12 + content.len() as u32).to_be_bytes());
        bytes.extend([0, 0, 0, 2, 0, 0, 0, 1]);
        bytes.extend((content.len() as u32).to_be_bytes());
        bytes.extend(content);
        bytes
    }

    pub(crate) const STOP_FRAME: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3];

    /// A stream of these frames.
    pub(crate) fn stream<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut bytes = start(DNSTAP_CONTENT);
        for frame in frames {
            bytes.extend((frame.len() as u32).to_be_bytes());
            bytes.extend(frame);
        }
        bytes.extend(STOP_FRAME);
        bytes
    }

    fn read(bytes: Vec<u8>) -> Result<(Vec<Vec<u8>>, Option<u64>), ReadError> {
        let mut stream = FrameStream::new(Input::from_reader("tap", Cursor::new(bytes))?)?;
        let mut frames = Vec::new();
        while let Some(frame) = stream.next_frame()? {
            frames.push(frame.bytes.to_vec());
        }
        Ok((frames, stream.truncated_at()))
    }

    #[test]
    fn streams_may_follow_each_other() {
        let mut bytes = stream([&b"one"[..], b"two"]);
        bytes.extend(stream([&b"three"[..]]));
        assert_eq!(read(bytes).unwrap(), (vec![b"one".to_vec(), b"two".to_vec(), b"three".to_vec()], None));
    }

    #[test]
    fn an_interrupted_writer_costs_the_last_frame_only() {
        let bytes = stream([&b"one"[..], b"twotwo"]);
        let whole = start(DNSTAP_CONTENT).len();
        for cut in whole + 7 + 1..whole + 7 + 10 {
            let (frames, truncated) = read(bytes[..cut].to_vec()).unwrap();
            assert_eq!((frames.len(), truncated), (1, Some(whole as u64 + 7)), "{cut}");
        }
        assert_eq!(read(bytes[..whole + 7].to_vec()).unwrap(), (vec![b"one".to_vec()], None));
        assert_eq!(read(bytes[..bytes.len() - 3].to_vec()).unwrap().1, Some(bytes.len() as u64 - 12));
    }

    #[test]
    fn lost_framing_is_told_with_its_byte() {
        let begin = start(DNSTAP_CONTENT);
        let check = |tail: &[u8], want: &str| {
            let error = read([&begin[..], tail].concat()).unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
            assert_eq!(error.place(), Place::Byte(begin.len() as u64));
        };
        check(&[0x7f, 0, 0, 0, 1], "a frame of 2130706432 bytes");
        check(&[0, 0, 0, 0, 0, 0, 0, 2, 9, 9], "a control frame of 2 bytes");
        check(&[0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 9], "a control frame of type 9 within a stream");
        let error = read([&stream([])[..], b"\0\0\0\x01x"].concat()).unwrap_err();
        assert!(error.to_string().contains("after the end of the stream"), "{error}");
        let error = read(start(b"protobuf:other")).unwrap_err();
        assert!(error.to_string().contains("content type \"protobuf:other\""), "{error}");
    }

    #[test]
    fn other_files_are_not_recognised() {
        for bytes in [&b""[..], b"\xd4\xc3\xb2\xa1\x02\x00", b"timestamp,value\n", &[0; 40]] {
            assert!(matches!(read(bytes.to_vec()).unwrap_err(), ReadError::Unrecognised { .. }));
        }
    }

    proptest! {
        #[test]
        fn frames_round_trip(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..30)) {
            let found = read(stream(frames.iter().map(Vec::as_slice))).unwrap();
            prop_assert_eq!(found, (frames, None));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), headed: bool) {
            let bytes = if headed { [start(DNSTAP_CONTENT), bytes].concat() } else { bytes };
            let _ = read(bytes);
        }
    }
}
