//! The little of a DNS query that load is made of: its question, and EDNS Client Subnet.
//!
//! Not a DNS library: answers are not read, records are only stepped over. Wire format: RFC 1035 section 4, RFC 6891
//! (OPT), RFC 7871 (client subnet). Nothing is allocated; every index is checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::prefix::Prefix;

/// A query's question and where its client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Name in presentation form, lower case, without the trailing dot: the root is empty. Bytes that cannot be
    /// shown are `\ddd` (RFC 1035, section 5.1).
    pub name: &'a str,
    /// Type of record asked for.
    pub qtype: u16,
    /// Network of the client on whose behalf a resolver asks, as far as the resolver told.
    pub ecs: Option<Prefix>,
}

/// Why a message is no query to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAQuestion {
    /// Cut short, more or less than one question, or a name that is none.
    Malformed,
    /// A response.
    Response,
    /// NOTIFY, UPDATE and the like.
    OtherOpcode,
    /// A class other than Internet.
    OtherClass,
}

/// Room for the longest name in presentation form, used over and over.
pub struct NameBuffer {
    text: [u8; LONGEST_NAME],
    length: usize,
}

/// 255 bytes on the wire have at most 250 bytes of labels, four characters each, and dots.
const LONGEST_NAME: usize = 1024;

impl NameBuffer {
    /// An empty one.
    pub fn new() -> Self {
        NameBuffer { text: [0; LONGEST_NAME], length: 0 }
    }

    /// What is written.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length]).expect("only ASCII is written")
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        *self.text.get_mut(self.length)? = byte;
        self.length += 1;
        Some(())
    }

    /// Ends a label.
    pub(crate) fn push_dot(&mut self) -> Option<()> {
        self.push(b'.')
    }

    /// Writes a label.
    fn push_label(&mut self, label: &[u8]) -> Option<()> {
        let begin = self.length;
        let room = self.text.get_mut(begin..begin + label.len())?;
        for (written, &byte) in room.iter_mut().zip(label) {
            *written = byte | if byte.is_ascii_uppercase() { 0x20 } else { 0 };
        }
        let plain = room.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        if plain {
            self.length += label.len();
            return Some(());
        }
        label.iter().try_for_each(|&byte| self.push_label_byte(byte))
    }

    /// Writes one byte of a label.
    pub(crate) fn push_label_byte(&mut self, byte: u8) -> Option<()> {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => self.push(byte),
            b'A'..=b'Z' => self.push(byte | 0x20),
            b'.' | b'\\' => self.push(b'\\').and_then(|()| self.push(byte)),
            0x21..=0x7e => self.push(byte),
            _ => {
                self.push(b'\\')?;
                self.push(b'0' + byte / 100)?;
                self.push(b'0' + byte / 10 % 10)?;
                self.push(b'0' + byte % 10)
            }
        }
    }

    /// Writes a name that stands in presentation form already (RFC 1035, section 5.1), whatever its case; `None` for
    /// one that is longer than a name can be.
    pub(crate) fn push_presentation(&mut self, text: &[u8]) -> Option<()> {
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (byte, after) {
                (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.', _) => self.push(byte)?,
                (b'\\', [h @ b'0'..=b'2', t @ b'0'..=b'9', o @ b'0'..=b'9', beyond @ ..]) => {
                    let value = u16::from(h - b'0') * 100 + u16::from(t - b'0') * 10 + u16::from(o - b'0');
                    self.push_label_byte(u8::try_from(value).ok()?)?;
                    rest = beyond;
                }
                (b'\\', [escaped, beyond @ ..]) => {
                    self.push_label_byte(*escaped)?;
                    rest = beyond;
                }
                _ => self.push_label_byte(byte)?,
            }
        }
        self.drop_trailing_dot();
        Some(())
    }

    /// Takes the dot off the end, unless it is part of a label.
    pub(crate) fn drop_trailing_dot(&mut self) {
        let written = &self.text[..self.length];
        // An escaped dot has an odd number of backslashes before it.
        let escapes = written.iter().rev().skip(1).take_while(|&&byte| byte == b'\\').count();
        if written.last() == Some(&b'.') && escapes % 2 == 0 {
            self.length -= 1;
        }
    }
}

impl Default for NameBuffer {
    fn default() -> Self {
        NameBuffer::new()
    }
}

/// Reads the question and the client subnet of a query.
///
/// # Errors
/// [`NotAQuestion`]. A client subnet that is malformed is taken as none: the question stands without it.
pub fn read_question<'a>(message: &[u8], name: &'a mut NameBuffer) -> Result<Question<'a>, NotAQuestion> {
    let mut walk = Walk { bytes: message, at: 2 };
    let flags = walk.u16().ok_or(NotAQuestion::Malformed)?;
    if flags & 0x8000 != 0 {
        return Err(NotAQuestion::Response);
    }
    if flags & 0x7800 != 0 {
        return Err(NotAQuestion::OtherOpcode);
    }
    let counts = [walk.u16(), walk.u16(), walk.u16(), walk.u16()];
    let [Some(1), Some(answers), Some(authorities), Some(additionals)] = counts else {
        return Err(NotAQuestion::Malformed);
    };
    name.clear();
    walk.read_name(name).ok_or(NotAQuestion::Malformed)?;
    let (Some(qtype), Some(class)) = (walk.u16(), walk.u16()) else { return Err(NotAQuestion::Malformed) };
    // Class 255 (ANY) includes the Internet.
    if class != 1 && class != 255 {
        return Err(NotAQuestion::OtherClass);
    }
    let ecs = if answers == 0 && authorities == 0 { walk.find_client_subnet(additionals) } else { None };
    Ok(Question { name: name.as_str(), qtype, ecs })
}

/// A position in a message.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    /// Reads the name of the question: the first name of a message, which has nothing to point back to.
    fn read_name(&mut self, name: &mut NameBuffer) -> Option<()> {
        let begin = self.at;
        loop {
            let length = self.u8()?;
            match length {
                0 => break,
                1..=63 => {
                    name.push_label(self.take(usize::from(length))?)?;
                    name.push_dot()?;
                }
                _ => return None,
            }
            if self.at - begin > 254 {
                return None;
            }
        }
        name.drop_trailing_dot();
        Some(())
    }

    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.u8()? {
                0 => return Some(()),
                length @ 1..=63 => self.take(usize::from(length)).map(|_| ())?,
                // A pointer ends a name.
                0xc0.. => return self.u8().map(|_| ()),
                _ => return None,
            }
        }
    }

    /// Option 8 of the OPT record among the next records.
    fn find_client_subnet(&mut self, records: u16) -> Option<Prefix> {
        const OPT: u16 = 41;
        const CLIENT_SUBNET: u16 = 8;
        for _ in 0..records {
            self.skip_name()?;
            let kind = self.u16()?;
            self.take(6)?; // class and TTL
            let length = self.u16()?;
            let data = self.take(usize::from(length))?;
            if kind != OPT {
                continue;
            }
            let mut options = Walk { bytes: data, at: 0 };
            loop {
                let (code, length) = (options.u16()?, options.u16()?);
                let option = options.take(usize::from(length))?;
                if code == CLIENT_SUBNET {
                    return read_client_subnet(option);
                }
            }
        }
        None
    }
}

/// RFC 7871, section 6. A source prefix of length zero means that the client does not want to be located.
fn read_client_subnet(option: &[u8]) -> Option<Prefix> {
    let [family_high, family_low, source, _scope, address @ ..] = option else { return None };
    let length = *source;
    if length == 0 || address.len() != usize::from(length).div_ceil(8) {
        return None;
    }
    let address: IpAddr = match u16::from_be_bytes([*family_high, *family_low]) {
        1 if length <= 32 => Ipv4Addr::from(padded::<4>(address)?).into(),
        2 if length <= 128 => Ipv6Addr::from(padded::<16>(address)?).into(),
        _ => return None,
    };
    Prefix::new(address, length)
}

fn padded<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut all = [0; N];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(all)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A query as a resolver sends it.
    pub(crate) fn query(name: &[&[u8]], qtype: u16, ecs: Option<Prefix>) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 0, 0x20, 0, 1, 0, 0, 0, 0, 0, u8::from(ecs.is_some())];
        for label in name {
            message.push(label.len() as u8);
            message.extend(*label);
        }
        message.push(0);
        message.extend(qtype.to_be_bytes());
        message.extend([0, 1]);
        if let Some(ecs) = ecs {
            let (family, octets) = match ecs.address() {
                IpAddr::V4(v4) => (1, v4.octets().to_vec()),
                IpAddr::V6(v6) => (2, v6.octets().to_vec()),
            };
            let octets = &octets[..usize::from(ecs.length()).div_ceil(8)];
            // A cookie first, so that options are stepped over.
            let mut options = vec![0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
            options.extend([0, 8, 0, 4 + octets.len() as u8, 0, family, ecs.length(), 0]);
            options.extend(octets);
            message.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, options.len() as u8]);
            message.extend(options);
        }
        message
    }

    fn read(message: &[u8]) -> Result<(String, u16, Option<Prefix>), NotAQuestion> {
        let mut buffer = NameBuffer::new();
        read_question(message, &mut buffer).map(|q| (q.name.to_owned(), q.qtype, q.ecs))
    }

    #[test]
    fn a_question_and_its_client_subnet_are_read() {
        for ecs in
            [None, Some("203.0.113.0/24"), Some("10.0.0.0/8"), Some("2001:db8:1:200::/56"), Some("192.0.2.128/25")]
        {
            let ecs = ecs.map(|text| text.parse().unwrap());
            let message = query(&[b"Video", b"CDN", b"test"], 28, ecs);
            assert_eq!(read(&message).unwrap(), ("video.cdn.test".into(), 28, ecs));
        }
        assert_eq!(read(&query(&[], 2, None)).unwrap(), (String::new(), 2, None));
    }

    #[test]
    fn bytes_that_cannot_be_shown_are_escaped() {
        let name = |labels: &[&[u8]]| read(&query(labels, 1, None)).unwrap().0;
        assert_eq!(name(&[b"a.b", b"c\\d"]), "a\\.b.c\\\\d");
        assert_eq!(name(&[b"\xc3\xa9\0 ~", b"x."]), "\\195\\169\\000\\032~.x\\.");
        let long: [&[u8]; 4] = [&[0xff; 63], &[0xff; 63], &[0xff; 63], &[0xff; 61]];
        assert_eq!(name(&long).len(), 250 * 4 + 3);
    }

    #[test]
    fn what_is_no_query_is_told_apart() {
        let message = query(&[b"a"], 1, None);
        let with = |at: usize, byte: u8| {
            let mut changed = message.clone();
            changed[at] = byte;
            read(&changed)
        };
        assert_eq!(with(2, 0x80), Err(NotAQuestion::Response));
        assert_eq!(with(2, 0x28), Err(NotAQuestion::OtherOpcode));
        assert_eq!(with(message.len() - 1, 3), Err(NotAQuestion::OtherClass));
        assert_eq!(with(5, 0), Err(NotAQuestion::Malformed));
        assert_eq!(with(12, 0xc0), Err(NotAQuestion::Malformed));
        for cut in 0..message.len() {
            assert_eq!(read(&message[..cut]), Err(NotAQuestion::Malformed), "{cut}");
        }
        let long: [&[u8]; 4] = [&[b'a'; 63], &[b'a'; 63], &[b'a'; 63], &[b'a'; 62]];
        assert_eq!(read(&query(&long, 1, None)), Err(NotAQuestion::Malformed));
    }

    #[test]
    fn a_client_subnet_that_is_none_leaves_the_question() {
        let ecs: Prefix = "203.0.113.0/24".parse().unwrap();
        let message = query(&[b"a"], 1, Some(ecs));
        let source = message.len() - 5;
        for (at, byte) in [(source, 0), (source, 33), (source, 16), (source - 1, 3), (source - 3, 6)] {
            let mut changed = message.clone();
            changed[at] = byte;
            let read = read(&changed).unwrap();
            assert_eq!((read.0.as_str(), read.2), ("a", None), "byte {at} = {byte}");
        }
        for cut in 1..25 {
            assert_eq!(read(&message[..message.len() - cut]).unwrap().2, None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(message in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&message);
        }

        #[test]
        fn no_damage_panics(damage in proptest::collection::vec((0usize..80, any::<u8>()), 1..6), cut in 0usize..80) {
            let mut message = query(&[b"video", b"cdn", b"test"], 1, Some("2001:db8::/56".parse().unwrap()));
            for (at, byte) in damage {
                let at = at % message.len();
                message[at] = byte;
            }
            message.truncate(cut);
            let _ = read(&message);
        }
    }
}
