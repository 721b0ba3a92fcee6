//! Filters that put packets into classes, by source prefix or by DSCP (u32).
//!
//! A filter is known by its preference, protocol and handle. The kernel allows one protocol and one kind a preference, so
//! that IPv4 and IPv6 need one each; a preference of our own is the mark by which our filters are told from others'.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DefaultNla, Emitable};
use netlink_packet_route::tc::{TcU32Key, TcU32Selector, TcU32SelectorFlags};

use super::handle::Handle;
use super::wire::{Malformed, attributes, emitted, u32_of};
use crate::Prefix;

/// The kind of filter.
pub(super) const KIND: &str = "u32";

const CLASS: u16 = 1;
const SELECTOR: u16 = 5;

/// Byte of the source address in an IPv4 header.
const SOURCE_V4: i32 = 12;
/// Byte of the source address in an IPv6 header.
const SOURCE_V6: i32 = 8;

/// The protocol whose packets a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Protocol {
    /// The EtherType.
    pub(super) const fn ether_type(self) -> u16 {
        match self {
            Protocol::V4 => 0x0800,
            Protocol::V6 => 0x86dd,
        }
    }

    fn from_ether_type(number: u16) -> Option<Protocol> {
        [Protocol::V4, Protocol::V6].into_iter().find(|protocol| protocol.ether_type() == number)
    }

    /// Where the six bits of the DSCP stand in the first four bytes of a header, as a shift.
    const fn dscp_shift(self) -> u32 {
        match self {
            Protocol::V4 => 18,
            Protocol::V6 => 22,
        }
    }
}

/// Which packets are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Match {
    /// Those from a network.
    Source(Prefix),
    /// Those that carry a DSCP (RFC 2474), 0 to 63.
    Dscp(Protocol, u8),
}

impl Match {
    /// The protocol that it looks at.
    pub fn protocol(self) -> Protocol {
        match self {
            Match::Source(prefix) if prefix.address().is_ipv4() => Protocol::V4,
            Match::Source(_) => Protocol::V6,
            Match::Dscp(protocol, _) => protocol,
        }
    }

    fn keys(self) -> Vec<TcU32Key> {
        match self {
            Match::Dscp(protocol, dscp) => {
                let shift = protocol.dscp_shift();
                vec![key(0x3f << shift, u32::from(dscp) << shift, 0)]
            }
            Match::Source(prefix) => match prefix.address() {
                IpAddr::V4(address) => {
                    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.length())).unwrap_or(0);
                    vec![key(mask, address.to_bits(), SOURCE_V4)]
                }
                IpAddr::V6(address) => {
                    let mask = u128::MAX.checked_shl(128 - u32::from(prefix.length())).unwrap_or(0);
                    let word = |bits: u128, index: i32| (bits >> (96 - 32 * index)) as u32;
                    let all = (0..4)
                        .map(|index| key(word(mask, index), word(address.to_bits(), index), SOURCE_V6 + 4 * index));
                    // Words that do not count are left out, except where none does.
                    let counting: Vec<TcU32Key> = all.filter(|key| key.mask != 0).collect();
                    if counting.is_empty() { vec![key(0, 0, SOURCE_V6)] } else { counting }
                }
            },
        }
    }

    /// What keys match, in whatever order they stand; `None` when it is nothing that is made here.
    fn from_keys(protocol: Protocol, keys: &[TcU32Key]) -> Option<Match> {
        if keys.is_empty() || keys.iter().any(|key| key.offmask != 0 || key.val & !key.mask != 0) {
            return None;
        }
        if let [only] = keys {
            let shift = protocol.dscp_shift();
            if only.off == 0 && only.mask == 0x3f << shift {
                return Some(Match::Dscp(protocol, (only.val >> shift) as u8));
            }
        }
        let (first, words) = match protocol {
            Protocol::V4 => (SOURCE_V4, 1),
            Protocol::V6 => (SOURCE_V6, 4),
        };
        let (mut mask, mut bits, mut seen) = (0_u128, 0_u128, 0_u8);
        for key in keys {
            let index = (0..words).find(|index| first + 4 * index == key.off)?;
            if seen & (1 << index) != 0 {
                return None;
            }
            seen |= 1 << index;
            mask |= u128::from(key.mask) << (32 * (words - 1 - index));
            bits |= u128::from(key.val) << (32 * (words - 1 - index));
        }
        let width = 32 * words as u32;
        let length = (mask << (128 - width)).leading_ones();
        // Ones, then zeros, or it is no prefix.
        if mask.count_ones() != length {
            return None;
        }
        let address = match protocol {
            Protocol::V4 => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            Protocol::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        // A prefix of IPv4 addresses in IPv6 clothes would be told as IPv4, where it does not match.
        Some(Match::Source(Prefix::new(address, length as u8)?)).filter(|found| found.protocol() == protocol)
    }
}

fn key(mask: u32, val: u32, off: i32) -> TcU32Key {
    let mut key = TcU32Key::default();
    (key.mask, key.val, key.off) = (mask, val, off);
    key
}

/// A filter that puts what it matches into a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The discipline whose packets it sorts.
    pub parent: Handle,
    /// Preference (tc's `prio` or `pref`): filters are asked in ascending order of it, those of one preference in the
    /// order in which they were added. From 1; one protocol each.
    pub preference: u16,
    /// What it matches.
    pub matches: Match,
    /// The class into which it puts them.
    pub class: Handle,
}

impl Filter {
    /// What cannot be meant, said.
    pub(super) fn fault(&self) -> Option<String> {
        match self.matches {
            _ if self.preference == 0 => Some("preference 0; allowed: 1 to 65535".to_owned()),
            Match::Dscp(_, dscp) if dscp > 63 => Some(format!("DSCP {dscp}; allowed: 0 to 63")),
            Match::Source(prefix) if prefix.length() > 32 && prefix.address().is_ipv4() => {
                Some(format!("{prefix} is no IPv4 prefix"))
            }
            _ => None,
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut selector = TcU32Selector::default();
        selector.flags = TcU32SelectorFlags::Terminal;
        selector.keys = self.matches.keys();
        selector.nkeys = selector.keys.len() as u8;
        let mut bytes = vec![0; selector.buffer_len()];
        selector.emit(&mut bytes);
        emitted(&[
            DefaultNla::new(CLASS, self.class.to_bits().to_ne_bytes().to_vec()),
            DefaultNla::new(SELECTOR, bytes),
        ])
    }
}

/// A filter as it is on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenFilter {
    /// The discipline whose packets it sorts.
    pub parent: Handle,
    /// Preference.
    pub preference: u16,
    /// EtherType of the packets that it looks at.
    pub ether_type: u16,
    /// The kernel's name for it among those of its preference.
    pub handle: u32,
    /// `u32`, or another's kind.
    pub kind: String,
    /// What it matches, where that is something that [`Match`] can say.
    pub matches: Option<Match>,
    /// The class, where it has one.
    pub class: Option<Handle>,
}

impl SeenFilter {
    /// Reads a filter's options; `None` is no filter but the table that holds them.
    pub(super) fn read(
        parent: Handle,
        info: u32,
        handle: u32,
        kind: String,
        options: Option<&[u8]>,
    ) -> Result<Option<SeenFilter>, Malformed> {
        // Every preference is listed once by itself before its filters.
        let Some(options) = options else { return Ok(None) };
        let (preference, ether_type) = ((info >> 16) as u16, u16::from_be(info as u16));
        let (mut selector, mut class) = (None, None);
        if kind == KIND {
            for attribute in attributes(options) {
                match attribute? {
                    (CLASS, value) => class = Some(Handle::from_bits(u32_of(value)?)),
                    (SELECTOR, value) => {
                        let read = TcU32Selector::parse(value).map_err(|error| Malformed(error.to_string()))?;
                        selector = Some(read);
                    }
                    _ => {}
                }
            }
            if selector.is_none() {
                return Ok(None);
            }
        }
        // Selectors that go by what stands elsewhere in the packet are not made here.
        let plain = selector.filter(|selector| selector.flags == TcU32SelectorFlags::Terminal && selector.hmask == 0);
        let protocol = Protocol::from_ether_type(ether_type);
        let matches = plain.zip(protocol).and_then(|(plain, protocol)| Match::from_keys(protocol, &plain.keys));
        Ok(Some(SeenFilter { parent, preference, ether_type, handle, kind, matches, class }))
    }

    /// The filter, when it is one that could have been made here.
    pub fn as_filter(&self) -> Option<Filter> {
        let (parent, preference) = (self.parent, self.preference);
        Some(Filter { parent, preference, matches: self.matches?, class: self.class? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches() -> impl Strategy<Value = Match> {
        let v4 = (any::<u32>(), 0_u8..=32)
            .prop_map(|(bits, length)| Match::Source(Prefix::new(Ipv4Addr::from_bits(bits).into(), length).unwrap()));
        let v6 = (any::<u128>(), 0_u8..=128)
            .prop_map(|(bits, length)| Prefix::new(Ipv6Addr::from_bits(bits | 1 << 127).into(), length).unwrap())
            .prop_map(Match::Source);
        let dscp = (any::<bool>(), 0_u8..64)
            .prop_map(|(v4, dscp)| Match::Dscp(if v4 { Protocol::V4 } else { Protocol::V6 }, dscp));
        prop_oneof![v4, v6, dscp]
    }

    proptest! {
        #[test]
        fn a_filter_is_read_as_it_was_written(matches in matches(), preference in 1_u16.., class: u32, handle: u32) {
            let (parent, class) = (Handle::new(1, 0), Handle::from_bits(class));
            let filter = Filter { parent, preference, matches, class };
            prop_assert_eq!(filter.fault(), None);
            let info = u32::from(preference) << 16 | u32::from(matches.protocol().ether_type().to_be());
            let seen = SeenFilter::read(parent, info, handle, KIND.to_owned(), Some(&filter.write())).unwrap().unwrap();
            prop_assert_eq!((seen.as_filter(), seen.handle), (Some(filter), handle));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), info: u32) {
            let _ = SeenFilter::read(Handle::ROOT, info, 0, KIND.to_owned(), Some(&bytes));
            let selector = emitted(&[DefaultNla::new(SELECTOR, bytes)]);
            let _ = SeenFilter::read(Handle::ROOT, info, 0, KIND.to_owned(), Some(&selector));
        }

        #[test]
        fn no_keys_panic(keys in prop::collection::vec(any::<(u32, u32, i8)>(), 0..6), v4: bool) {
            let keys: Vec<TcU32Key> = keys.into_iter().map(|(mask, val, off)| key(mask, val, off.into())).collect();
            let _ = Match::from_keys(if v4 { Protocol::V4 } else { Protocol::V6 }, &keys);
        }
    }

    #[test]
    fn what_is_no_prefix_and_no_dscp_is_not_taken_for_one() {
        let check = |protocol, keys: &[(u32, u32, i32)]| {
            let keys: Vec<TcU32Key> = keys.iter().map(|&(mask, val, off)| key(mask, val, off)).collect();
            assert_eq!(Match::from_keys(protocol, &keys), None, "{keys:?}");
        };
        // A destination, a mask with a hole, the whole TOS byte, a source and more, a later word of IPv6 alone.
        check(Protocol::V4, &[(0xffff_ff00, 0x0a00_0000, 16)]);
        check(Protocol::V4, &[(0xff00_ff00, 0x0a00_0000, 12)]);
        check(Protocol::V4, &[(0x00ff_0000, 0x00b8_0000, 0)]);
        check(Protocol::V4, &[(0xffff_ff00, 0x0a00_0000, 12), (0x00ff_0000, 0x0006_0000, 8)]);
        check(Protocol::V6, &[(0xffff_ffff, 1, 20)]);
        check(Protocol::V4, &[]);
        // Bits that the mask leaves out never match.
        check(Protocol::V4, &[(0xffff_ff00, 0x0a00_0001, 12)]);
    }
}
