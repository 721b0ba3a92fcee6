//! Frames as they arrive in a namespace, whole: what a packet socket hears (packet(7)).

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use forebay_adapters::slices::MacAddress;
use rustix::net::{AddressFamily, RecvFlags, SocketType, eth, recv, socket};

use super::lab::Namespace;

/// Datagrams among packets (RFC 768).
const UDP: u8 = 17;

/// Hears all that arrives in a namespace since it was made.
pub(crate) struct Capture {
    socket: OwnedFd,
    own: MacAddress,
}

/// A frame, as far as we look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) from: MacAddress,
    pub(crate) what: What,
    is_udp: bool,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Source, mark (RFC 2474) and the two bits of congestion (RFC 3168).
    Packet {
        source: IpAddr,
        dscp: u8,
        ecn: u8,
    },
    /// Who an ARP message says that it is from (RFC 826).
    Arp {
        source: IpAddr,
    },
    Other,
}

impl Frame {
    /// Whether it is a datagram with this text. Those who refuse a datagram quote it in theirs.
    pub(crate) fn carries(&self, text: &str) -> bool {
        self.is_udp && self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

impl Capture {
    /// `own` is the address that the namespace's own frames come from.
    pub(crate) fn on(namespace: &Namespace, own: MacAddress) -> Capture {
        let socket = || socket(AddressFamily::PACKET, SocketType::RAW, Some(eth::ALL)).unwrap();
        Capture { socket: namespace.within(socket), own }
    }

    /// What has arrived since the last call, once nothing has arrived for `quiet`. Not what the namespace itself has sent.
    pub(crate) fn frames(&self, quiet: Duration) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut buffer = [0_u8; 2048];
        let mut heard_at = Instant::now();
        while heard_at.elapsed() < quiet {
            match recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    heard_at = Instant::now();
                    frames.extend(read(&buffer[..length]).filter(|frame| frame.from != self.own));
                }
                Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => panic!("{error}"),
            }
        }
        frames
    }

    /// The frames among them that carry this text.
    pub(crate) fn heard(&self, text: &str, quiet: Duration) -> Vec<Frame> {
        let mut frames = self.frames(quiet);
        frames.retain(|frame| frame.carries(text));
        frames
    }
}

fn read(bytes: &[u8]) -> Option<Frame> {
    let from = MacAddress(bytes.get(6..12)?.try_into().ok()?);
    let rest = bytes.get(14..)?;
    let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(rest.get(at..at + 4)?).ok()?));
    let v6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(rest.get(at..at + 16)?).ok()?));
    let (mut is_udp, is) = (false, |at: usize| rest.get(at) == Some(&UDP));
    let what = match bytes.get(12..14)? {
        [0x08, 0x00] => {
            is_udp = is(9);
            What::Packet { source: v4(12)?, dscp: rest[1] >> 2, ecn: rest[1] & 3 }
        }
        [0x86, 0xdd] => {
            is_udp = is(6);
            let class = rest[0] << 4 | rest[1] >> 4;
            What::Packet { source: v6(8)?, dscp: class >> 2, ecn: class & 3 }
        }
        [0x08, 0x06] => What::Arp { source: v4(14)? },
        _ => What::Other,
    };
    Some(Frame { from, what, is_udp, bytes: bytes.to_vec() })
}
