//! dnstap (dnstap.info): DNS messages as servers log them, in protobuf, in Frame Streams.
//!
//! An own reader of the few fields that load is made of, borrowed from the frame: about 100 ns a message, nothing
//! allocated, every index checked. Field numbers are those of `dnstap.proto`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use forebay_world::Timestamp;

use crate::dns_message::{NameBuffer, read_question};
use crate::error::{Place, ReadError};
use crate::frame_streams::FrameStream;
use crate::input::Input;
use crate::line_log::{Asked, Counting};
use crate::log_format::LogFormat;
use crate::query::{LoggedQuery, Vantage};
use crate::query_report::{MalformedRecords, QueryReport, Skip};
use crate::read_options::ReadOptions;

/// Reads the queries of a dnstap file, in the order of the file; of the options, the vantage point and the window of
/// repeats matter.
///
/// # Errors
/// [`ReadError::Unrecognised`] for another kind of file; [`ReadError::Malformed`] with the byte where the framing is
/// lost, or with the first malformed frame when more than 1 % are; what [`Input::fill`] says.
pub fn read_dnstap(
    input: Input,
    options: &ReadOptions,
    visit: &mut dyn FnMut(&LoggedQuery<'_>),
) -> Result<QueryReport, ReadError> {
    let mut stream = FrameStream::new(input)?;
    let mut counting = Counting::new(LogFormat::Dnstap, options);
    let mut name = NameBuffer::new();
    while let Some(frame) = stream.next_frame()? {
        let report = &mut counting.report;
        report.records += 1;
        match read_message(frame.bytes).ok_or(None).and_then(|message| message.ask(&mut name).map_err(Some)) {
            Ok(asked) => counting.take(&asked, name.as_str(), visit),
            Err(Some(why)) => report.skipped.add(why),
            Err(None) => report.malformed.add(Place::Byte(frame.offset), || {
                format!("a frame of {} bytes is no dnstap message", frame.bytes.len())
            }),
        }
    }
    counting.report.truncated = stream.truncated_at().map(Place::Byte);
    let report = counting.finish();
    let too_many = report.malformed.intolerable(report.records, MalformedRecords::TOLERATED_PERCENT);
    if let Some((Place::Byte(offset), what)) = too_many {
        return Err(stream.malformed(
            offset,
            what,
            "frames with dnstap messages (dnstap.proto), up to 1 % of them malformed",
            "is the file what the server or fstrm_capture wrote, unchanged?",
        ));
    }
    Ok(report)
}

/// What a frame asks for, whose name is then in the buffer; the inner error is why it is no query, the outer one that
/// it is no dnstap.
pub(crate) fn read_frame(frame: &[u8], name: &mut NameBuffer) -> Option<Result<Asked, Skip>> {
    read_message(frame).map(|message| message.ask(name))
}

/// Who a frame says it is from: the identity (field 1) that the server is configured with.
pub(crate) fn identity_of(frame: &[u8]) -> Option<String> {
    let mut outer = Fields { bytes: frame };
    while let Some((field, value)) = outer.next_field()? {
        if let (1, Value::Bytes(identity)) = (field, value) {
            return (!identity.is_empty()).then(|| crate::error::shown(identity));
        }
    }
    None
}

/// What matters of a dnstap message.
#[derive(Clone, Copy, Debug, Default)]
struct Message<'a> {
    kind: u64,
    query_address: Option<IpAddr>,
    response_address: Option<IpAddr>,
    query_port: Option<u64>,
    query_seconds: Option<u64>,
    query_nanos: u32,
    query: Option<&'a [u8]>,
}

impl Message<'_> {
    /// The query, whose name is then in the buffer.
    fn ask(&self, name: &mut NameBuffer) -> Result<Asked, Skip> {
        let vantage = match self.kind {
            1 => Vantage::Authority,
            3 => Vantage::AfterResolver,
            5 => Vantage::BeforeResolver,
            // Every second type is the response to the one before, up to UPDATE_RESPONSE.
            2 | 4 | 6 | 8 | 10 | 12 | 14 => return Err(Skip::Response),
            _ => return Err(Skip::OtherMessage),
        };
        let at = self
            .query_seconds
            .and_then(|seconds| seconds.checked_mul(1_000_000_000)?.checked_add(u64::from(self.query_nanos)))
            .map(Timestamp::from_nanos)
            .ok_or(Skip::NoTime)?;
        let client = self.query_address.ok_or(Skip::NoClient)?;
        let message = self.query.ok_or(Skip::NoQuestion)?;
        let question = read_question(message, name)?;
        let id = message.first_chunk::<2>().map(|id| u64::from(u16::from_be_bytes(*id)));
        Ok(Asked {
            at,
            client,
            server: self.response_address,
            ecs: question.ecs,
            qtype: question.qtype,
            vantage,
            transaction: self.query_port.zip(id).map(|(port, id)| port << 16 | id),
            skip: None,
        })
    }
}

/// Reads the Message (field 14) of a Dnstap; `None` when it does not follow `dnstap.proto`. A Dnstap without a
/// message reads as one of type 0.
fn read_message(frame: &[u8]) -> Option<Message<'_>> {
    let mut message = Message::default();
    let mut outer = Fields { bytes: frame };
    while let Some((field, value)) = outer.next_field()? {
        let (14, Value::Bytes(bytes)) = (field, value) else { continue };
        let mut inner = Fields { bytes };
        while let Some((field, value)) = inner.next_field()? {
            match (field, value) {
                (1, Value::Varint(kind)) => message.kind = kind,
                (4, Value::Bytes(bytes)) => message.query_address = Some(address(bytes)?),
                (5, Value::Bytes(bytes)) => message.response_address = Some(address(bytes)?),
                (6, Value::Varint(port)) => message.query_port = Some(port & 0xffff),
                (8, Value::Varint(seconds)) => message.query_seconds = Some(seconds),
                (9, Value::Fixed32(nanos)) if nanos < 1_000_000_000 => message.query_nanos = nanos,
                (10, Value::Bytes(bytes)) => message.query = Some(bytes),
                (1 | 4 | 5 | 6 | 8 | 9 | 10, _) => return None,
                _ => {}
            }
        }
    }
    Some(message)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical()),
        _ => None,
    }
}

/// The fields of a protobuf message.
struct Fields<'a> {
    bytes: &'a [u8],
}

/// A field's value by wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Fields<'a> {
    /// The next field and its number; the outer `None` is a malformed one, the inner the end.
    #[inline]
    fn next_field(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.bytes.is_empty() {
            return Some(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        (key >> 3 > 0).then_some(Some((key >> 3, value)))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    #[inline]
    fn varint(&mut self) -> Option<u64> {
        // Keys and most values are one byte.
        if let Some((&byte, rest)) = self.bytes.split_first()
            && byte < 0x80
        {
            self.bytes = rest;
            return Some(u64::from(byte));
        }
        let mut value = 0;
        for (index, &byte) in self.bytes.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
            if byte < 0x80 {
                self.bytes = &self.bytes[index + 1..];
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
pub(crate) mod tests;
