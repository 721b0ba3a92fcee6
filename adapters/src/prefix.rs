//! Address prefixes: how much of a client's address may leave memory, and the key of tables by network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network: an address whose bits beyond `length` are zero.
///
/// IPv4-mapped IPv6 addresses are taken for what they are, IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// Most bits kept of an IPv4 client address (RFC 7871, section 11.1).
pub const KEPT_BITS_V4: u8 = 24;
/// Most bits kept of an IPv6 client address (RFC 7871, section 11.1).
pub const KEPT_BITS_V6: u8 = 56;

impl Prefix {
    /// The network of `length` bits that `address` is in; `None` when it has fewer bits than that.
    pub fn new(address: IpAddr, length: u8) -> Option<Prefix> {
        let address = address.to_canonical();
        let address = match address {
            IpAddr::V4(v4) if length <= 32 => IpAddr::V4(Ipv4Addr::from_bits(
                v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0),
            )),
            IpAddr::V6(v6) if length <= 128 => IpAddr::V6(Ipv6Addr::from_bits(
                v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0),
            )),
            _ => return None,
        };
        Some(Prefix { address, length })
    }

    /// As much of a client's address as may be kept: /24 or /56.
    pub fn of_client(address: IpAddr) -> Prefix {
        let address = address.to_canonical();
        let length = if address.is_ipv4() { KEPT_BITS_V4 } else { KEPT_BITS_V6 };
        Prefix::new(address, length).expect("an address has more bits than are kept")
    }

    /// This prefix, cut to /24 or /56 when it is longer.
    pub fn truncated(self) -> Prefix {
        let kept = Prefix::of_client(self.address);
        if kept.length < self.length { kept } else { self }
    }

    /// First address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Number of leading bits that count.
    pub fn length(self) -> u8 {
        self.length
    }

    /// A number for tables that tells networks that may be kept (no longer than /24 or /56) from each other.
    pub(crate) fn key(self) -> u64 {
        let (bits, family) = match self.address {
            IpAddr::V4(v4) => (u64::from(v4.to_bits()) << 32, 0),
            IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64, 0x80),
        };
        bits & !0xff | family | u64::from(self.length)
    }

    /// Whether an address is in this network.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Prefix::new(address, self.length) == Some(self)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A text that is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an address, or not a length.
    #[error("\"{0}\" is no prefix such as 203.0.113.0/24 or 2001:db8::/32")]
    NotAPrefix(String),
    /// Address bits are set beyond the length; the prefix that was probably meant is given.
    #[error("\"{text}\" has bits set beyond its length")]
    HostBits {
        /// As found.
        text: String,
        /// The network it is in.
        meant: Prefix,
    },
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads `203.0.113.0/24`, `2001:db8::/32`, or an address alone.
    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let refuse = || PrefixError::NotAPrefix(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refuse())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length: u8 = match length {
            None => bits,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| refuse())?,
            Some(_) => return Err(refuse()),
        };
        let prefix = match address {
            // ::ffff:192.0.2.0/120 is 192.0.2.0/24.
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                let shortened = length.checked_sub(96).ok_or_else(refuse)?;
                Prefix::new(address, shortened)
            }
            _ => Prefix::new(address, length),
        };
        let prefix = prefix.ok_or_else(refuse)?;
        if prefix.address == address.to_canonical() {
            Ok(prefix)
        } else {
            Err(PrefixError::HostBits { text: text.to_owned(), meant: prefix })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_client_leaves_only_its_prefix() {
        let check = |address: &str, want: &str| {
            assert_eq!(Prefix::of_client(address.parse().unwrap()).to_string(), want);
        };
        check("203.0.113.77", "203.0.113.0/24");
        check("::ffff:203.0.113.77", "203.0.113.0/24");
        check("2001:db8:1:2ff:4::5", "2001:db8:1:200::/56");
        let cut = |text: &str| text.parse::<Prefix>().unwrap().truncated().to_string();
        assert_eq!(cut("203.0.113.64/26"), "203.0.113.0/24");
        assert_eq!(cut("203.0.0.0/16"), "203.0.0.0/16");
        assert_eq!(cut("2001:db8::/48"), "2001:db8::/48");
    }

    #[test]
    fn prefixes_are_read_and_refused() {
        for text in ["0.0.0.0/0", "::/0", "10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::1/128"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        assert_eq!("192.0.2.1".parse::<Prefix>().unwrap().to_string(), "192.0.2.1/32");
        assert_eq!("::ffff:192.0.2.0/120".parse::<Prefix>().unwrap().to_string(), "192.0.2.0/24");
        for text in
            ["", "/", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0/8", "10.0.0.0/", "a/8", "::ffff:1.2.3.4/8"]
        {
            assert!(matches!(text.parse::<Prefix>(), Err(PrefixError::NotAPrefix(_))), "{text}");
        }
        let Err(PrefixError::HostBits { meant, .. }) = "10.0.0.1/24".parse::<Prefix>() else { panic!() };
        assert_eq!(meant.to_string(), "10.0.0.0/24");
    }

    proptest! {
        #[test]
        fn an_address_is_in_its_own_prefix(bits: u128, v4: bool, length in 0u8..=128) {
            let address = if v4 { IpAddr::V4(Ipv4Addr::from_bits(bits as u32)) } else { IpAddr::V6(Ipv6Addr::from_bits(bits)) };
            if let Some(prefix) = Prefix::new(address, length) {
                prop_assert!(prefix.contains(address));
                prop_assert!(prefix.contains(prefix.address()));
                prop_assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
                prop_assert!(prefix.truncated().contains(address));
            }
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f:./+-]{0,30}") {
            let _ = text.parse::<Prefix>();
        }
    }
}
