//! Logs of one record a line: what a format says of a line, and the counting that is the same for all.
//!
//! A format ([`LineFormat`]) knows nothing of files, counts or duplicates; a [`LineLog`] knows nothing of spellings.
//! Lines that do not follow the format are left out and counted, as a line cut at a rotation is, until they are most.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use forebay_world::{Duration, Timestamp};

use crate::dns_message::NameBuffer;
use crate::error::{Place, ReadError};
use crate::input::Input;
use crate::log_format::LogFormat;
use crate::prefix::Prefix;
use crate::query::{LoggedQuery, Vantage};
use crate::query_report::{Clients, QueryReport, Skip};
use crate::read_options::ReadOptions;
use crate::repeats::Repeats;

/// Share of lines that may be malformed [%]: with more it is another kind of file.
pub(crate) const TOLERATED_PERCENT: u64 = 50;

/// What a line asks for; its name is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) at: Timestamp,
    pub(crate) client: IpAddr,
    pub(crate) server: Option<IpAddr>,
    pub(crate) ecs: Option<Prefix>,
    pub(crate) qtype: u16,
    pub(crate) vantage: Vantage,
    /// What tells one transaction of a client from another, hashed: port, DNS id and the like, as far as both are
    /// known.
    pub(crate) transaction: Option<u64>,
    /// Why it is not to be counted, of a record that can be captured twice all the same.
    pub(crate) skip: Option<Skip>,
}

/// Why a line is no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotAsked {
    /// A record that is not to be counted.
    Skip(Skip),
    /// A header or comment.
    Header,
    /// Against the format.
    Malformed(String),
    /// The log cannot be read at all.
    Fatal { what: String, allowed: &'static str, hint: &'static str },
}

impl NotAsked {
    pub(crate) fn malformed(what: &str, text: &[u8]) -> NotAsked {
        NotAsked::Malformed(format!("{what} \"{}\"", crate::error::shown(text)))
    }

    /// A time without a year, of which none is known.
    pub(crate) fn no_year() -> NotAsked {
        NotAsked::Fatal {
            what: "times without a year".to_owned(),
            allowed: "times with a year, or a given year or present",
            hint: "give the year in which the log begins",
        }
    }
}

/// The spelling of one kind of log.
pub(crate) trait LineFormat: Send {
    /// Reads a line.
    fn read(&mut self, line: &[u8], name: &mut NameBuffer) -> Result<Asked, NotAsked>;

    /// What had to be assumed so far, for the operator.
    fn assumptions(&self) -> Vec<String>;
}

/// Counts records, leaves out repeats, and shows queries.
pub(crate) struct Counting {
    pub(crate) report: QueryReport,
    clients: Clients,
    repeats: Option<Repeats>,
    vantage: Option<Vantage>,
    latest: Timestamp,
}

impl Counting {
    pub(crate) fn new(format: LogFormat, options: &ReadOptions) -> Counting {
        let mut report = QueryReport::new(format);
        report.dedupe = options.dedupe.or(format.default_dedupe()).filter(|&window| window > Duration::ZERO);
        Counting {
            repeats: report.dedupe.map(Repeats::within),
            report,
            clients: Clients::default(),
            vantage: options.vantage,
            latest: Timestamp::EPOCH,
        }
    }

    /// Takes a record whose repeats were left out already, or are to be.
    pub(crate) fn take(&mut self, asked: &Asked, name: &str, visit: &mut dyn FnMut(&LoggedQuery<'_>)) {
        self.report.out_of_order += u64::from(asked.at < self.latest);
        self.latest = asked.at;
        if let Some(repeats) = &mut self.repeats {
            match asked.transaction {
                Some(transaction) => {
                    let mut hasher = DefaultHasher::new();
                    (transaction, asked.client, asked.qtype, name).hash(&mut hasher);
                    if repeats.is_repeat(hasher.finish(), asked.at) {
                        self.report.duplicates += 1;
                        return;
                    }
                }
                None => self.report.unkeyed += 1,
            }
        }
        self.deliver(asked, name, visit);
    }

    /// Takes a record that is no repeat.
    pub(crate) fn deliver(&mut self, asked: &Asked, name: &str, visit: &mut dyn FnMut(&LoggedQuery<'_>)) {
        if let Some(why) = asked.skip {
            self.report.skipped.add(why);
            return;
        }
        let query = LoggedQuery {
            at: asked.at,
            client: asked.client,
            server: asked.server,
            ecs: asked.ecs,
            name,
            qtype: asked.qtype,
            vantage: self.vantage.unwrap_or(asked.vantage),
        };
        self.report.count(&query, &mut self.clients);
        visit(&query);
    }

    pub(crate) fn finish(mut self) -> QueryReport {
        self.report.clients = self.clients.count();
        self.report
    }
}

/// A log that is read line by line.
pub(crate) struct LineLog {
    format: Box<dyn LineFormat>,
    pub(crate) counting: Counting,
    name: NameBuffer,
}

impl LineLog {
    pub(crate) fn new(format: Box<dyn LineFormat>, counting: Counting) -> LineLog {
        LineLog { format, counting, name: NameBuffer::new() }
    }

    /// Takes a line; the error is the format's [`NotAsked::Fatal`].
    pub(crate) fn take(
        &mut self,
        number: u64,
        text: &[u8],
        ended: bool,
        visit: &mut dyn FnMut(&LoggedQuery<'_>),
    ) -> Result<(), NotAsked> {
        let text = if number == 1 { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text) } else { text };
        if text.is_empty() {
            return Ok(());
        }
        self.name.clear();
        let report = &mut self.counting.report;
        match self.format.read(text, &mut self.name) {
            Ok(asked) => {
                report.records += 1;
                self.counting.take(&asked, self.name.as_str(), visit);
            }
            Err(NotAsked::Skip(why)) => {
                report.records += 1;
                report.skipped.add(why);
            }
            Err(NotAsked::Header) => report.headers += 1,
            // A writer that still runs, or was interrupted.
            Err(NotAsked::Malformed(_)) if !ended => report.truncated = Some(Place::Line(number)),
            Err(NotAsked::Malformed(what)) => {
                report.records += 1;
                report.malformed.add(Place::Line(number), || what);
            }
            Err(fatal @ NotAsked::Fatal { .. }) => return Err(fatal),
        }
        Ok(())
    }

    /// What was read so far.
    pub(crate) fn report_so_far(&self) -> QueryReport {
        let mut report = self.counting.report.clone();
        report.clients = self.counting.clients.count();
        report.assumptions = self.format.assumptions();
        report
    }

    pub(crate) fn finish(self) -> QueryReport {
        let assumptions = self.format.assumptions();
        let mut report = self.counting.finish();
        report.assumptions = assumptions;
        report
    }
}

/// Reads all lines of an input.
pub(crate) fn read_lines(
    mut input: Input,
    mut log: LineLog,
    visit: &mut dyn FnMut(&LoggedQuery<'_>),
) -> Result<QueryReport, ReadError> {
    let format = log.counting.report.format;
    while let Some(line) = input.next_line()? {
        let number = line.number;
        if let Err(NotAsked::Fatal { what, allowed, hint }) = log.take(number, line.text, line.ended, visit) {
            return Err(input.malformed(Place::Line(number), what, allowed, hint));
        }
    }
    let report = log.finish();
    let allowed = || format!("lines of {format}, such as {}", format.sample());
    if let Some((place, what)) = report.malformed.intolerable(report.records, TOLERATED_PERCENT) {
        return Err(input.malformed(
            place,
            what,
            allowed(),
            "keep only the lines of the DNS server, or name the format if another is meant",
        ));
    }
    let other = report.skipped.get(Skip::OtherLine);
    if other > 0 && other + report.malformed.count == report.records {
        return Err(input.malformed(
            Place::File,
            format!("none of {} lines is a query", report.records),
            allowed(),
            "is the logging of queries switched on at the server?",
        ));
    }
    Ok(report)
}

/// A text that is taken apart from its begin.
pub(crate) struct Scan<'a>(pub(crate) &'a [u8]);

impl<'a> Scan<'a> {
    /// Takes what stands before the next blank, and the blank.
    pub(crate) fn word(&mut self) -> &'a [u8] {
        self.until(b' ').unwrap_or_else(|| std::mem::take(&mut self.0))
    }

    /// Takes what stands before a byte, and the byte.
    pub(crate) fn until(&mut self, byte: u8) -> Option<&'a [u8]> {
        let at = memchr::memchr(byte, self.0)?;
        let taken = &self.0[..at];
        self.0 = &self.0[at + 1..];
        Some(taken)
    }

    /// Takes a text if it stands here.
    pub(crate) fn skip(&mut self, text: &[u8]) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }
}

/// An address; one with a zone (`fe80::1%eth0`) is taken without it.
pub(crate) fn read_address(text: &[u8]) -> Option<IpAddr> {
    if let Some(v4) = read_v4(text) {
        return Some(v4.into());
    }
    let text = text.split(|&byte| byte == b'%').next()?;
    let address: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

fn read_v4(text: &[u8]) -> Option<std::net::Ipv4Addr> {
    let (mut octets, mut octet, mut digits, mut part) = ([0; 4], 0u16, 0, 0);
    for &byte in text {
        match byte {
            b'0'..=b'9' if digits < 3 => {
                octet = octet * 10 + u16::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && part < 3 => {
                octets[part] = u8::try_from(octet).ok()?;
                (octet, digits, part) = (0, 0, part + 1);
            }
            _ => return None,
        }
    }
    octets[3] = u8::try_from(octet).ok()?;
    (part == 3 && digits > 0).then(|| octets.into())
}

/// A client subnet: an address, the length of its source prefix and, maybe, of its scope, separated by `/`. The inner
/// `None` is a client that does not want to be located (length zero); the outer one is no subnet.
pub(crate) fn read_subnet(text: &[u8]) -> Option<Option<Prefix>> {
    let mut parts = text.split(|&byte| byte == b'/');
    let address = read_address(parts.next()?)?;
    let length = match parts.next() {
        Some(length) => u8::try_from(crate::record_type::number(length)?).ok()?,
        None if address.is_ipv4() => 32,
        None => 128,
    };
    if let Some(scope) = parts.next() {
        crate::record_type::number(scope)?;
    }
    if parts.next().is_some() {
        return None;
    }
    if length == 0 {
        return Some(None);
    }
    Prefix::new(address, length).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_subnet_has_a_source_and_maybe_a_scope() {
        let prefix = |text: &str| Some(Some(text.parse().unwrap()));
        for (text, want) in [
            ("203.0.113.0/24/0", prefix("203.0.113.0/24")),
            ("203.0.113.9/24", prefix("203.0.113.0/24")),
            ("203.0.113.9", prefix("203.0.113.9/32")),
            ("2001:db8::/56/48", prefix("2001:db8::/56")),
            ("0.0.0.0/0/0", Some(None)),
            ("203.0.113.0/33", None),
            ("203.0.113.0/24/0/0", None),
            ("203.0.113.0/", None),
            ("", None),
        ] {
            assert_eq!(read_subnet(text.as_bytes()), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_read_as_the_library_does(address: IpAddr, text in "[0-9.]{0,16}") {
            prop_assert_eq!(read_address(address.to_string().as_bytes()), Some(address.to_canonical()));
            // The library refuses octets with leading zeros; they are decimal in logs.
            if let Ok(address) = text.parse::<IpAddr>() {
                prop_assert_eq!(read_address(text.as_bytes()), Some(address));
            }
        }
    }
}
