//! Names that clients are steered by: host names in small letters, without the dot at the end.

use std::fmt;
use std::str::FromStr;

/// A host name (RFC 1123 section 2.1, with underscores): `video.cdn.example`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

/// Longest name in presentation form, without the dot at the end (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// A text that is no such name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no name to steer by; allowed: labels of 1 to 63 letters, digits, hyphens and underscores, with dots \
     between, 253 characters in all"
)]
pub struct DnsNameError {
    text: String,
}

impl DnsName {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With the dot at the end.
    pub fn absolute(&self) -> String {
        format!("{}.", self.0)
    }

    /// The name one label below this one; `None` when it would be too long.
    pub fn child(&self, label: &str) -> Option<DnsName> {
        format!("{label}.{}", self.0).parse().ok()
    }

    /// Whether it is `zone`, or below it.
    pub fn is_within(&self, zone: &DnsName) -> bool {
        self == zone || self.0.strip_suffix(&zone.0).is_some_and(|rest| rest.ends_with('.'))
    }

    /// In wire form, uncompressed.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.0.len() + 2);
        for label in self.0.split('.') {
            wire.push(label.len() as u8);
            wire.extend(label.as_bytes());
        }
        wire.push(0);
        wire
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DnsName {
    type Err = DnsNameError;

    /// Reads a name, in whatever case, with or without the dot at the end.
    fn from_str(text: &str) -> Result<DnsName, DnsNameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
        if name.len() <= LONGEST && name.split('.').all(label) {
            Ok(DnsName(name))
        } else {
            Err(DnsNameError { text: text.chars().take(300).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_refused() {
        let name: DnsName = "Video.CDN.test.".parse().unwrap();
        assert_eq!((name.as_str(), name.absolute().as_str()), ("video.cdn.test", "video.cdn.test."));
        assert_eq!(name.to_wire(), b"\x05video\x03cdn\x04test\0");
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(long.parse::<DnsName>().unwrap().child("x"), None);
        for text in ["", ".", "a..b", ".a", "a b", "a'b", "*.a", "é", "a\n", &"a".repeat(64), &format!("{long}.x")] {
            assert!(text.parse::<DnsName>().unwrap_err().to_string().contains("allowed"), "{text}");
        }
    }

    #[test]
    fn a_name_is_within_its_zone_and_no_other() {
        let within = |name: &str, zone: &str| name.parse::<DnsName>().unwrap().is_within(&zone.parse().unwrap());
        assert!(within("a.cdn.test", "cdn.test") && within("cdn.test", "cdn.test"));
        assert!(!within("acdn.test", "cdn.test") && !within("test", "cdn.test"));
    }
}
