//! Captured packets (pcap and pcapng) as a log of queries: DNS over UDP, and over TCP where a message lies in one
//! segment.
//!
//! The framing of both kinds of file is read here, on the input's own buffer (draft-ietf-opsawg-pcap,
//! draft-ietf-opsawg-pcapng); packets are taken apart by etherparse: Ethernet, VLAN, Linux cooked (SLL, SLL2), BSD
//! loopback or raw IP, IPv4 and IPv6. Nothing is put together again: fragments, segments with a part of a message and
//! packets without one are counted as that. A query with RD set comes from a client, one without from a resolver.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use forebay_world::Timestamp;

use crate::dns_message::{NameBuffer, NotAQuestion, read_question};
use crate::error::{Place, ReadError};
use crate::input::Input;
use crate::line_log::{Asked, Counting};
use crate::log_format::LogFormat;
use crate::query::{LoggedQuery, Vantage};
use crate::query_report::{QueryReport, Skip};
use crate::read_options::ReadOptions;

/// Longest record that is believed \[bytes\].
const LONGEST_RECORD: usize = 16 * 1024 * 1024;
/// Interfaces of a file at most.
const INTERFACES: usize = 65_536;
const DNS_PORT: u16 = 53;
const ALLOWED: &str = "a pcap or pcapng file, as tcpdump, dumpcap and Wireshark write";

/// Reads the queries of captured packets.
pub(crate) fn read_pcap(
    input: Input,
    options: &ReadOptions,
    visit: &mut dyn FnMut(&LoggedQuery<'_>),
) -> Result<QueryReport, ReadError> {
    let mut capture = Capture::new(input)?;
    let mut queries = Queries { counting: Counting::new(LogFormat::Pcap, options), name: NameBuffer::new(), visit };
    while let Some(packet) = capture.next_packet()? {
        queries.take(&packet);
    }
    queries.counting.report.truncated = capture.truncated_at.map(Place::Byte);
    let report = queries.counting.finish();
    if let (0, Some(link)) = (report.queries, capture.unknown_link) {
        return Err(capture.input.malformed(
            Place::File,
            format!("packets of link type {link}"),
            "Ethernet, Linux cooked, loopback or raw IP",
            "capture at another interface, such as -i any",
        ));
    }
    Ok(report)
}

/// Whether bytes are the begin of a capture.
pub(crate) fn begins_capture(bytes: &[u8]) -> bool {
    Framing::of(bytes).is_some()
}

/// How the records of a file are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Classic: with the order of bytes and the fractions of a second.
    Records { big_endian: bool, nanos: bool },
    /// Blocks; the order of bytes is told by each section.
    Blocks,
}

impl Framing {
    fn of(bytes: &[u8]) -> Option<Framing> {
        let records = |big_endian, nanos| Some(Framing::Records { big_endian, nanos });
        match bytes {
            [0xa1, 0xb2, 0xc3, 0xd4, ..] => records(true, false),
            [0xa1, 0xb2, 0x3c, 0x4d, ..] => records(true, true),
            [0xd4, 0xc3, 0xb2, 0xa1, ..] => records(false, false),
            [0x4d, 0x3c, 0xb2, 0xa1, ..] => records(false, true),
            [0x0a, 0x0d, 0x0d, 0x0a, _, _, _, _, 0x1a, 0x2b, 0x3c, 0x4d, ..]
            | [0x0a, 0x0d, 0x0d, 0x0a, _, _, _, _, 0x4d, 0x3c, 0x2b, 0x1a, ..] => Some(Framing::Blocks),
            _ => None,
        }
    }
}

/// A packet as it was captured.
struct Packet<'a> {
    at: Option<Timestamp>,
    link: Option<Link>,
    bytes: &'a [u8],
    /// Whether the capture has less of it than there was.
    cut: bool,
}

/// What a packet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Ethernet,
    LinuxCooked,
    LinuxCooked2,
    Loopback,
    Ip,
}

impl Link {
    fn of(number: u16) -> Option<Link> {
        Some(match number {
            0 | 108 => Link::Loopback,
            1 => Link::Ethernet,
            12 | 14 | 101 | 228 | 229 => Link::Ip,
            113 => Link::LinuxCooked,
            276 => Link::LinuxCooked2,
            _ => return None,
        })
    }

    fn slice(self, bytes: &[u8]) -> Option<LaxSlicedPacket<'_>> {
        let ether_type = |at: usize| Some(EtherType(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
        match self {
            Link::Ethernet => LaxSlicedPacket::from_ethernet(bytes).ok(),
            Link::LinuxCooked => Some(LaxSlicedPacket::from_ether_type(ether_type(14)?, bytes.get(16..)?)),
            Link::LinuxCooked2 => Some(LaxSlicedPacket::from_ether_type(ether_type(0)?, bytes.get(20..)?)),
            Link::Loopback => LaxSlicedPacket::from_ip(bytes.get(4..)?).ok(),
            Link::Ip => LaxSlicedPacket::from_ip(bytes).ok(),
        }
    }
}

/// An interface of a section: what its packets begin with, and what their times count.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Option<Link>,
    /// `if_tsresol`: a power of ten, or of two with the high bit.
    resolution: u8,
    /// `if_tsoffset` [s].
    offset: i64,
}

impl Interface {
    fn time(&self, ticks: u64) -> Option<Timestamp> {
        let per_second = match self.resolution {
            power @ 0..=19 => 10u128.pow(u32::from(power)),
            power @ 0x80..=0xbf => 1u128 << (power & 0x7f),
            _ => return None,
        };
        let nanos = i128::try_from(u128::from(ticks) * 1_000_000_000 / per_second).ok()?;
        let nanos = nanos.checked_add(i128::from(self.offset) * 1_000_000_000)?;
        u64::try_from(nanos).ok().map(Timestamp::from_nanos)
    }
}

/// The packets of a file.
struct Capture {
    input: Input,
    framing: Framing,
    big_endian: bool,
    interfaces: Vec<Interface>,
    unknown_link: Option<u16>,
    truncated_at: Option<u64>,
}

impl Capture {
    fn new(mut input: Input) -> Result<Capture, ReadError> {
        let begin = input.fill(24)?;
        let Some(framing) = Framing::of(begin) else {
            let found = match begin {
                [] => "an empty file".to_owned(),
                _ => "no packet capture".to_owned(),
            };
            let hint = "give the capture itself, plain or gzip";
            return Err(ReadError::Unrecognised { path: input.path().to_owned(), found, allowed: ALLOWED, hint });
        };
        let interfaces = Vec::new();
        let mut capture =
            Capture { input, framing, big_endian: false, interfaces, unknown_link: None, truncated_at: None };
        if let Framing::Records { big_endian, nanos } = framing {
            capture.big_endian = big_endian;
            if capture.input.fill(24)?.len() < 24 {
                capture.truncate();
            } else {
                let head = capture.input.take(24);
                // The upper bits of the last word are about the frame check sequence.
                let link = u32_at(head, 20, big_endian) as u16;
                capture.add_interface(link, if nanos { 9 } else { 6 }, 0);
            }
        }
        Ok(capture)
    }

    fn next_packet(&mut self) -> Result<Option<Packet<'_>>, ReadError> {
        match self.framing {
            Framing::Records { nanos, .. } => self.next_record(nanos),
            Framing::Blocks => self.next_block(),
        }
    }

    fn next_record(&mut self, nanos: bool) -> Result<Option<Packet<'_>>, ReadError> {
        let big_endian = self.big_endian;
        let head = self.input.fill(16)?;
        if head.len() < 16 {
            if !head.is_empty() {
                self.truncate();
            }
            return Ok(None);
        }
        let (seconds, fraction) = (u32_at(head, 0, big_endian), u32_at(head, 4, big_endian));
        let (captured, original) = (u32_at(head, 8, big_endian) as usize, u32_at(head, 12, big_endian) as usize);
        if captured > LONGEST_RECORD {
            return Err(self.lost(format!("a packet of {captured} bytes")));
        }
        if self.input.fill(16 + captured)?.len() < 16 + captured {
            self.truncate();
            return Ok(None);
        }
        let link = self.interfaces.first().and_then(|interface| interface.link);
        let bytes = &self.input.take(16 + captured)[16..];
        let fraction = u64::from(fraction) * if nanos { 1 } else { 1000 };
        let at = Some(Timestamp::from_nanos(u64::from(seconds) * 1_000_000_000 + fraction));
        Ok(Some(Packet { at, link, bytes, cut: captured < original }))
    }

    /// The next block with a packet.
    fn next_block(&mut self) -> Result<Option<Packet<'_>>, ReadError> {
        loop {
            let head = self.input.fill(12)?;
            if head.len() < 12 {
                if !head.is_empty() {
                    self.truncate();
                }
                return Ok(None);
            }
            if head.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
                self.big_endian = match head[8..12] {
                    [0x1a, 0x2b, 0x3c, 0x4d] => true,
                    [0x4d, 0x3c, 0x2b, 0x1a] => false,
                    _ => return Err(self.lost("a section without its byte order".to_owned())),
                };
                self.interfaces.clear();
            }
            let big_endian = self.big_endian;
            let head = self.input.fill(12)?;
            let (kind, length) = (u32_at(head, 0, big_endian), u32_at(head, 4, big_endian) as usize);
            if !(12..=LONGEST_RECORD).contains(&length) || length % 4 != 0 {
                return Err(self.lost(format!("a block of {length} bytes")));
            }
            if self.input.fill(length)?.len() < length {
                self.truncate();
                return Ok(None);
            }
            match kind {
                1 => {
                    let body = &self.input.take(length)[8..length - 4];
                    let interface = read_interface(body, big_endian);
                    let Some((link, resolution, offset)) = interface else { continue };
                    if self.interfaces.len() >= INTERFACES {
                        return Err(self.lost("more than 65536 interfaces".to_owned()));
                    }
                    self.add_interface(link, resolution, offset);
                }
                2 | 3 | 6 => {
                    // Field by field, as the borrow of the packet ends with the function.
                    let Capture { input, interfaces, .. } = self;
                    let body = &input.take(length)[8..length - 4];
                    return Ok(Some(read_packet(kind, body, big_endian, interfaces)));
                }
                _ => self.input.consume(length),
            }
        }
    }

    fn add_interface(&mut self, number: u16, resolution: u8, offset: i64) {
        let link = Link::of(number);
        if link.is_none() {
            self.unknown_link = Some(number);
        }
        self.interfaces.push(Interface { link, resolution, offset });
    }

    /// The file ends within a record, which begins here.
    fn truncate(&mut self) {
        self.truncated_at = Some(self.input.offset());
        let rest = self.input.fill(0).map_or(0, |rest| rest.len());
        self.input.consume(rest);
    }

    fn lost(&self, what: String) -> ReadError {
        let place = Place::Byte(self.input.offset());
        self.input.malformed(place, what, ALLOWED, "from here on the file is no capture; packets before are whole")
    }
}

/// Link type, resolution and offset of an Interface Description Block; `None` for one that is too short.
fn read_interface(body: &[u8], big_endian: bool) -> Option<(u16, u8, i64)> {
    let u16_of = |bytes: &[u8], at: usize| {
        let bytes = [*bytes.get(at)?, *bytes.get(at + 1)?];
        Some(if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let link = u16_of(body, 0)?;
    let (mut resolution, mut offset) = (6, 0);
    let mut options = body.get(8..)?;
    while let (Some(code), Some(length)) = (u16_of(options, 0), u16_of(options, 2)) {
        let Some(value) = options.get(4..4 + usize::from(length)) else { break };
        match (code, value) {
            (0, _) => break,
            (9, &[value]) => resolution = value,
            (14, &[a, b, c, d, e, f, g, h]) => {
                let bytes = [a, b, c, d, e, f, g, h];
                offset = if big_endian { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) };
            }
            _ => {}
        }
        options = options.get(4 + usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
    Some((link, resolution, offset))
}

/// The packet of an Enhanced (6), obsolete (2) or Simple (3) Packet Block. One that contradicts itself has no bytes.
fn read_packet<'a>(kind: u32, body: &'a [u8], big_endian: bool, interfaces: &[Interface]) -> Packet<'a> {
    let nothing = Packet { at: None, link: None, bytes: &[], cut: true };
    let head = if kind == 3 { 4 } else { 20 };
    let Some((fields, data)) = body.split_at_checked(head) else { return nothing };
    let word = |at| u32_at(fields, at, big_endian);
    if kind == 3 {
        let original = word(0) as usize;
        let link = interfaces.first().and_then(|interface| interface.link);
        let bytes = &data[..original.min(data.len())];
        return Packet { at: None, link, bytes, cut: bytes.len() < original };
    }
    let number = if kind == 6 {
        word(0) as usize
    } else if big_endian {
        (word(0) >> 16) as usize
    } else {
        (word(0) & 0xffff) as usize
    };
    let (captured, original) = (word(12) as usize, word(16) as usize);
    let (Some(interface), Some(bytes)) = (interfaces.get(number), data.get(..captured)) else { return nothing };
    let at = interface.time(u64::from(word(4)) << 32 | u64::from(word(8)));
    Packet { at, link: interface.link, bytes, cut: captured < original }
}

/// # Panics
/// When there are no four bytes.
fn u32_at(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// The queries in packets.
struct Queries<'v> {
    counting: Counting,
    name: NameBuffer,
    visit: &'v mut dyn FnMut(&LoggedQuery<'_>),
}

impl Queries<'_> {
    fn take(&mut self, packet: &Packet<'_>) {
        let Some(sliced) = packet.link.and_then(|link| link.slice(packet.bytes)) else {
            return self.skip(if packet.cut { Skip::PartialPacket } else { Skip::OtherPacket });
        };
        let (client, server, fragmented): (IpAddr, IpAddr, bool) = match &sliced.net {
            Some(LaxNetSlice::Ipv4(ip)) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), ip.payload().fragmented)
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), ip.payload().fragmented)
            }
            _ => return self.skip(Skip::OtherPacket),
        };
        if fragmented {
            return self.skip(Skip::PartialPacket);
        }
        let (ports, payload, is_tcp) = match &sliced.transport {
            Some(TransportSlice::Udp(udp)) => ((udp.source_port(), udp.destination_port()), udp.payload(), false),
            Some(TransportSlice::Tcp(tcp)) => ((tcp.source_port(), tcp.destination_port()), tcp.payload(), true),
            _ => return self.skip(if packet.cut { Skip::PartialPacket } else { Skip::OtherPacket }),
        };
        if ports.0 != DNS_PORT && ports.1 != DNS_PORT || payload.is_empty() {
            return self.skip(Skip::OtherPacket);
        }
        let Some(at) = packet.at else { return self.skip(Skip::NoTime) };
        let origin = Origin { at, client: client.to_canonical(), port: ports.0, server: server.to_canonical() };
        if !is_tcp {
            return self.message(payload, &origin, packet.cut);
        }
        // Messages with their lengths before them, which fill the segment.
        let mut rest = payload;
        while let [high, low, message @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            match message.split_at_checked(length) {
                Some((message, after)) if length > 0 => {
                    self.message(message, &origin, packet.cut);
                    rest = after;
                }
                _ => return self.skip(Skip::SplitMessage),
            }
        }
        if !rest.is_empty() {
            self.skip(Skip::SplitMessage);
        }
    }

    fn message(&mut self, message: &[u8], origin: &Origin, cut: bool) {
        let question = match read_question(message, &mut self.name) {
            Ok(question) => (question.qtype, question.ecs),
            Err(NotAQuestion::Malformed) if cut => return self.skip(Skip::PartialPacket),
            Err(why) => return self.skip(why.into()),
        };
        self.counting.report.records += 1;
        let mut hasher = DefaultHasher::new();
        (origin.port, message.get(..2)).hash(&mut hasher);
        // Bit RD of the third byte.
        let recursion_desired = message.get(2).is_some_and(|flags| flags & 1 == 1);
        let asked = Asked {
            at: origin.at,
            client: origin.client,
            server: Some(origin.server),
            ecs: question.1,
            qtype: question.0,
            vantage: if recursion_desired { Vantage::BeforeResolver } else { Vantage::Authority },
            transaction: Some(hasher.finish()),
            skip: None,
        };
        self.counting.take(&asked, self.name.as_str(), self.visit);
    }

    fn skip(&mut self, why: Skip) {
        self.counting.report.records += 1;
        self.counting.report.skipped.add(why);
    }
}

/// Who sent a message, to whom, and when.
struct Origin {
    at: Timestamp,
    client: IpAddr,
    port: u16,
    server: IpAddr,
}

#[cfg(test)]
mod tests;
