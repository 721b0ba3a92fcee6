//! Recorded DNS queries, whatever the format of the log: one record, one report, one way to read them.
//!
//! Queries are counted, never responses, and nothing is ever paired: servers lose or mistype responses (BIND drops
//! the response frames of queries with RD=1).

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use forebay_world::Timestamp;

use crate::dns_message::NotAQuestion;
use crate::error::{Place, ReadError, shown};
use crate::frame_streams::begins_stream;
use crate::input::Input;
use crate::prefix::Prefix;
use crate::{dnstap, zeek};

/// One query of a log. Borrowed: it is gone when the visitor returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedQuery<'a> {
    /// When it was seen.
    pub at: Timestamp,
    /// Who asked: the client before a resolver, the resolver at an authority. To be cut
    /// ([`Prefix::of_client`]) before it is kept.
    pub client: IpAddr,
    /// Who was asked, where the log tells.
    pub server: Option<IpAddr>,
    /// The network on whose behalf a resolver asks (EDNS Client Subnet), where the log tells.
    pub ecs: Option<Prefix>,
    /// Name in presentation form, lower case, without the trailing dot: the root is empty.
    pub name: &'a str,
    /// Type of record asked for.
    pub qtype: u16,
    /// Where the query was seen.
    pub vantage: Vantage,
}

/// Where a query was seen, which tells what a cache has already taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vantage {
    /// At an authoritative server: a cache miss of some resolver. dnstap's AUTH_QUERY.
    Authority,
    /// Between clients and their resolver: no cache but the client's own stands before it. dnstap's CLIENT_QUERY,
    /// Zeek. A proxy in front of an authority (dnsdist) writes CLIENT_QUERY too; only its operator can tell.
    BeforeResolver,
    /// From a resolver on to authorities: a cache miss of this resolver. dnstap's RESOLVER_QUERY. A log that has
    /// these beside [`Vantage::BeforeResolver`] has the same demand twice.
    AfterResolver,
}

impl Vantage {
    /// All, in order.
    pub const ALL: [Vantage; 3] = [Vantage::Authority, Vantage::BeforeResolver, Vantage::AfterResolver];
}

/// The kind of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Zeek's `dns.log`, tab-separated.
    Zeek,
    /// dnstap messages in Frame Streams.
    Dnstap,
}

impl LogFormat {
    /// Tells the kind of log by its first bytes, which stay in the input; `None` when it is another kind of file.
    ///
    /// # Errors
    /// As [`Input::fill`].
    pub fn of(input: &mut Input) -> Result<Option<LogFormat>, ReadError> {
        let begin = input.fill(16)?;
        Ok(if begins_stream(begin) {
            Some(LogFormat::Dnstap)
        } else if zeek::begins_log(begin) {
            Some(LogFormat::Zeek)
        } else {
            None
        })
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Zeek => "Zeek dns.log",
            LogFormat::Dnstap => "dnstap",
        })
    }
}

/// Why a record is no query to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// A response.
    Response,
    /// A message between other parties (forwarder, stub, tool, dynamic update), or none at all.
    OtherMessage,
    /// No time.
    NoTime,
    /// No client address.
    NoClient,
    /// No question: the record is of a response whose query was not seen.
    NoQuestion,
    /// The DNS message in it is cut short or malformed: servers log what they receive.
    MalformedMessage,
    /// NOTIFY, UPDATE and the like.
    OtherOpcode,
    /// A class other than Internet (`version.bind`).
    OtherClass,
    /// NetBIOS, multicast DNS or LLMNR: names of the local network, which no DNS server is asked for.
    LocalService,
}

const SKIPS: [(Skip, &str); 9] = [
    (Skip::Response, "responses"),
    (Skip::OtherMessage, "messages between other parties"),
    (Skip::NoTime, "records without a time"),
    (Skip::NoClient, "records without a client address"),
    (Skip::NoQuestion, "records without a question"),
    (Skip::MalformedMessage, "malformed DNS messages"),
    (Skip::OtherOpcode, "NOTIFY, UPDATE and other operations"),
    (Skip::OtherClass, "queries of a class other than Internet"),
    (Skip::LocalService, "NetBIOS, mDNS or LLMNR queries"),
];

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SKIPS[*self as usize].1)
    }
}

impl From<NotAQuestion> for Skip {
    fn from(why: NotAQuestion) -> Skip {
        match why {
            NotAQuestion::Malformed => Skip::MalformedMessage,
            NotAQuestion::Response => Skip::Response,
            NotAQuestion::OtherOpcode => Skip::OtherOpcode,
            NotAQuestion::OtherClass => Skip::OtherClass,
        }
    }
}

/// Records that are no queries to be counted, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SkipCounts([u64; SKIPS.len()]);

impl SkipCounts {
    /// How many for this reason.
    pub fn get(&self, why: Skip) -> u64 {
        self.0[why as usize]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Reasons that occurred.
    pub fn iter(&self) -> impl Iterator<Item = (Skip, u64)> + '_ {
        SKIPS.iter().map(|&(why, _)| (why, self.get(why))).filter(|&(_, count)| count > 0)
    }

    pub(crate) fn add(&mut self, why: Skip) {
        self.0[why as usize] += 1;
    }
}

impl fmt::Debug for SkipCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Records that do not follow their format, tolerated up to 1 % of a log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MalformedRecords {
    /// How many.
    pub count: u64,
    /// The first of them, with what is wrong.
    pub first: Vec<(Place, String)>,
}

impl MalformedRecords {
    const NAMED: usize = 5;
    /// More than this share of a log must not be malformed: it would be another kind of file.
    const TOLERATED_PERCENT: u64 = 1;

    pub(crate) fn add(&mut self, place: Place, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push((place, what()));
        }
    }

    /// The first malformed record, when they are too many.
    pub(crate) fn intolerable(&self, records: u64) -> Option<(Place, String)> {
        let (place, what) = self.first.first()?;
        (self.count * 100 > records * Self::TOLERATED_PERCENT)
            .then(|| (*place, format!("{what} (and {} of {records} records in all)", self.count)))
    }
}

/// What a log had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryReport {
    /// The kind of log.
    pub format: LogFormat,
    /// Rows or frames, of any kind.
    pub records: u64,
    /// Queries delivered.
    pub queries: u64,
    /// Queries delivered, by where they were seen, in the order of [`Vantage::ALL`].
    pub by_vantage: [u64; 3],
    /// Records that are no queries to be counted.
    pub skipped: SkipCounts,
    /// Records that are the same packet captured twice.
    pub duplicates: u64,
    /// Whether duplicates could be told: that takes the columns uid, id.orig_p and trans_id.
    pub deduplicated: bool,
    /// Records that do not follow their format.
    pub malformed: MalformedRecords,
    /// Where the file ends in the middle of a record.
    pub truncated: Option<Place>,
    /// Records earlier than the one before them.
    pub out_of_order: u64,
    /// Queries that carry a client subnet.
    pub with_ecs: u64,
    /// Different addresses that asked.
    pub clients: u64,
    /// Time of the earliest query.
    pub first: Option<Timestamp>,
    /// Time of the latest query.
    pub last: Option<Timestamp>,
}

impl QueryReport {
    pub(crate) fn new(format: LogFormat) -> Self {
        QueryReport {
            format,
            records: 0,
            queries: 0,
            by_vantage: [0; 3],
            skipped: SkipCounts::default(),
            duplicates: 0,
            deduplicated: false,
            malformed: MalformedRecords::default(),
            truncated: None,
            out_of_order: 0,
            with_ecs: 0,
            clients: 0,
            first: None,
            last: None,
        }
    }

    /// Where most queries were seen; [`Vantage::BeforeResolver`] when the log has both sides of a resolver. `None`
    /// when there are no queries.
    pub fn vantage(&self) -> Option<Vantage> {
        let [authority, before, after] = self.by_vantage;
        if before > 0 && before >= authority {
            Some(Vantage::BeforeResolver)
        } else if authority > 0 && authority >= after {
            Some(Vantage::Authority)
        } else if after > 0 {
            Some(Vantage::AfterResolver)
        } else {
            None
        }
    }

    /// Sentences for the operator about what is not as expected; none when all is.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.queries == 0 && self.skipped.get(Skip::Response) > 0 {
            remarks.push("the log has only responses: switch the logging of queries on at the server".to_owned());
        }
        remarks.extend(self.skipped.iter().map(|(why, count)| format!("{count} {why} were not counted")));
        if self.duplicates > 0 {
            remarks.push(format!("{} records repeat another within 1 ms and were dropped", self.duplicates));
        }
        if self.format == LogFormat::Zeek && !self.deduplicated {
            remarks.push("without the columns uid, id.orig_p and trans_id double captures cannot be told".to_owned());
        }
        if self.malformed.count > 0 {
            let places: Vec<_> =
                self.malformed.first.iter().map(|(place, what)| format!("{what}{}", Bracketed(*place))).collect();
            remarks.push(format!("{} malformed records were left out: {}", self.malformed.count, places.join("; ")));
        }
        if let Some(place) = self.truncated {
            remarks.push(format!("the file ends in the middle of a record{}", Bracketed(place)));
        }
        let sides = self.by_vantage.iter().filter(|&&count| count > 0).count();
        if sides > 1 {
            let [authority, before, after] = self.by_vantage;
            remarks.push(format!(
                "queries of several vantage points: {authority} at an authority, {before} before and {after} after a resolver"
            ));
        }
        remarks
    }

    /// Counts a query that is delivered.
    pub(crate) fn count(&mut self, query: &LoggedQuery<'_>, clients: &mut Clients) {
        self.queries += 1;
        self.by_vantage[query.vantage as usize] += 1;
        self.with_ecs += u64::from(query.ecs.is_some());
        self.first = Some(self.first.map_or(query.at, |first| first.min(query.at)));
        self.last = Some(self.last.map_or(query.at, |last| last.max(query.at)));
        clients.see(query.client);
    }
}

/// A place in brackets behind a sentence.
struct Bracketed(Place);

impl fmt::Display for Bracketed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::File => Ok(()),
            Place::Line(line) => write!(f, " (line {line})"),
            Place::Byte(offset) => write!(f, " (byte {offset})"),
        }
    }
}

/// Different clients of a log. Their addresses live as long as the reading does.
#[derive(Default)]
pub(crate) struct Clients {
    seen: HashSet<IpAddr>,
    latest: Option<IpAddr>,
}

impl Clients {
    fn see(&mut self, address: IpAddr) {
        if self.latest != Some(address) {
            self.latest = Some(address);
            self.seen.insert(address);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.seen.len() as u64
    }
}

/// Reads the queries of a Zeek `dns.log` or a dnstap file, `.gz` or plain, or standard input (`-`), and shows each
/// to `visit`. The format is told by the content.
///
/// Zeek's queries come in order of time (its log is kept in memory for that: about 100 bytes a row); dnstap's in the
/// order of the file, which is nearly that, in constant memory.
///
/// # Errors
/// [`ReadError`] for what cannot be opened, unpacked or recognised; [`ReadError::Malformed`] for a log with more than
/// 1 % of malformed records, and where a dnstap stream loses its framing.
pub fn read_queries(path: &Path, visit: &mut dyn FnMut(&LoggedQuery<'_>)) -> Result<QueryReport, ReadError> {
    read_queries_from(Input::open(path)?, visit)
}

/// As [`read_queries`], from an opened input.
///
/// # Errors
/// As [`read_queries`].
pub fn read_queries_from(mut input: Input, visit: &mut dyn FnMut(&LoggedQuery<'_>)) -> Result<QueryReport, ReadError> {
    match LogFormat::of(&mut input)? {
        Some(LogFormat::Dnstap) => dnstap::read_dnstap(input, visit),
        Some(LogFormat::Zeek) => zeek::read_zeek(input, visit),
        None => Err(unrecognised(&mut input)?),
    }
}

/// The error for a file that is no log of queries.
fn unrecognised(input: &mut Input) -> Result<ReadError, ReadError> {
    let begin = input.fill(12)?;
    let found = match begin {
        [] => "an empty file".to_owned(),
        [b'{', ..] => "JSON".to_owned(),
        [0xd4, 0xc3, 0xb2, 0xa1, ..] | [0xa1, 0xb2, 0xc3, 0xd4, ..] | [0x0a, 0x0d, 0x0d, 0x0a, ..] => {
            "a packet capture (pcap)".to_owned()
        }
        bytes => format!("a file that begins with \"{}\"", shown(&bytes[..bytes.len().min(12)])),
    };
    Ok(ReadError::Unrecognised {
        path: input.path().to_owned(),
        found,
        allowed: "a Zeek dns.log (tab-separated, with its #fields header) or a dnstap file",
        hint: "`zeek -r FILE` makes a dns.log of a pcap; its JSON logs are not read: use LogAscii::use_json=F",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn reasons_print_as_listed() {
        for (index, (why, text)) in SKIPS.into_iter().enumerate() {
            assert_eq!((why as usize, why.to_string().as_str()), (index, text));
        }
    }

    #[test]
    fn the_vantage_is_the_one_without_double_counts() {
        let check = |by_vantage, want| {
            let report = QueryReport { by_vantage, ..QueryReport::new(LogFormat::Dnstap) };
            assert_eq!(report.vantage(), want, "{by_vantage:?}");
        };
        check([0, 0, 0], None);
        check([5, 0, 0], Some(Vantage::Authority));
        check([5, 7, 0], Some(Vantage::BeforeResolver));
        check([7, 5, 0], Some(Vantage::Authority));
        check([0, 5, 50], Some(Vantage::BeforeResolver));
        check([0, 0, 50], Some(Vantage::AfterResolver));
    }

    #[test]
    fn a_share_of_malformed_records_is_tolerated() {
        let mut malformed = MalformedRecords::default();
        assert_eq!(malformed.intolerable(0), None);
        for line in 1..=10 {
            malformed.add(Place::Line(line), || "odd".to_owned());
        }
        assert_eq!(malformed.first.len(), 5);
        assert_eq!(malformed.intolerable(1000), None);
        let (place, what) = malformed.intolerable(999).unwrap();
        assert_eq!((place, what.as_str()), (Place::Line(1), "odd (and 10 of 999 records in all)"));
    }

    #[test]
    fn other_files_are_told_by_their_first_bytes() {
        let check = |bytes: &[u8], want: &str| {
            let input = Input::from_reader("log", Cursor::new(bytes.to_vec())).unwrap();
            let error = read_queries_from(input, &mut |_| ()).unwrap_err();
            assert!(error.to_string().starts_with(want), "{error}");
        };
        check(b"", "log: an empty file; allowed: a Zeek dns.log");
        check(b"{\"ts\":1}\n", "log: JSON");
        check(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0], "log: a packet capture");
        check(b"# a comment\ntimestamp,value\n", "log: a file that begins with \"# a comment\u{fffd}");
        check(b"timestamp,value\n", "log: a file that begins with \"timestamp,va\"");
    }
}
