//! What a log had: records read, skipped and why, dropped as repeats, malformed, cut; and in which time.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use forebay_world::{Duration, Timestamp};

use crate::dns_message::NotAQuestion;
use crate::error::Place;
use crate::log_format::LogFormat;
use crate::prefix::Prefix;
use crate::query::{LoggedQuery, Vantage};

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
    /// A line of the server's about something else.
    OtherLine,
    /// A packet without a DNS message: another port or protocol, or TCP without data.
    OtherPacket,
    /// A part of a DNS message over TCP that does not lie in one segment.
    SplitMessage,
    /// A part of an IP packet, or a packet that was not captured to its end.
    PartialPacket,
}

const SKIPS: [(Skip, &str); 13] = [
    (Skip::Response, "responses"),
    (Skip::OtherMessage, "messages between other parties"),
    (Skip::NoTime, "records without a time"),
    (Skip::NoClient, "records without a client address"),
    (Skip::NoQuestion, "records without a question"),
    (Skip::MalformedMessage, "malformed DNS messages"),
    (Skip::OtherOpcode, "NOTIFY, UPDATE and other operations"),
    (Skip::OtherClass, "queries of a class other than Internet"),
    (Skip::LocalService, "NetBIOS, mDNS or LLMNR queries"),
    (Skip::OtherLine, "lines about something else"),
    (Skip::OtherPacket, "packets without a DNS message"),
    (Skip::SplitMessage, "TCP segments with a part of a DNS message"),
    (Skip::PartialPacket, "fragments of packets"),
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

    pub(crate) fn add_all(&mut self, other: &SkipCounts) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

impl fmt::Debug for SkipCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Records that do not follow their format: tolerated up to 1 % of a log of frames or columns, up to half of the
/// lines of a text.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MalformedRecords {
    /// How many.
    pub count: u64,
    /// The first of them, with what is wrong.
    pub first: Vec<(Place, String)>,
}

impl MalformedRecords {
    const NAMED: usize = 5;
    /// More than this share [%] of a log of frames or columns must not be malformed: it would be another kind of file.
    pub(crate) const TOLERATED_PERCENT: u64 = 1;

    pub(crate) fn add(&mut self, place: Place, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push((place, what()));
        }
    }

    /// The first malformed record, when they are too many.
    pub(crate) fn intolerable(&self, records: u64, tolerated_percent: u64) -> Option<(Place, String)> {
        let (place, what) = self.first.first()?;
        (self.count * 100 > records * tolerated_percent)
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
    /// The span within which records of one transaction are one packet; `None` when repeats were not looked for.
    pub dedupe: Option<Duration>,
    /// Records in which repeats could not be told, for want of the client's port or the transaction's number.
    pub unkeyed: u64,
    /// Header lines and comments.
    pub headers: u64,
    /// Records that were cut when the log was rotated.
    pub cut: u64,
    /// Records that do not follow their format.
    pub malformed: MalformedRecords,
    /// Where the file ends in the middle of a record.
    pub truncated: Option<Place>,
    /// Records earlier than the one before them.
    pub out_of_order: u64,
    /// Queries that carry a client subnet.
    pub with_ecs: u64,
    /// Different networks (/24 or /56) that asked.
    pub clients: u64,
    /// Time of the earliest query.
    pub first: Option<Timestamp>,
    /// Time of the latest query.
    pub last: Option<Timestamp>,
    /// What had to be assumed to read the log, in sentences.
    pub assumptions: Vec<String>,
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
            dedupe: None,
            unkeyed: 0,
            headers: 0,
            cut: 0,
            malformed: MalformedRecords::default(),
            truncated: None,
            out_of_order: 0,
            with_ecs: 0,
            clients: 0,
            first: None,
            last: None,
            assumptions: Vec::new(),
        }
    }

    /// Where most queries were seen; [`Vantage::BeforeResolver`] when the log has both sides of a resolver. `None`
    /// when there are no queries.
    pub fn vantage(&self) -> Option<Vantage> {
        Vantage::of_counts(self.by_vantage)
    }

    /// Sentences for the operator about what is not as expected; none when all is.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.queries == 0 && self.skipped.get(Skip::Response) > 0 {
            remarks.push("the log has only responses: switch the logging of queries on at the server".to_owned());
        }
        remarks.extend(self.skipped.iter().map(|(why, count)| format!("{count} {why} were not counted")));
        if self.duplicates > 0 {
            let window = self.dedupe.unwrap_or(Duration::ZERO);
            remarks.push(format!("{} records repeat another within {window} and were dropped", self.duplicates));
        }
        if self.unkeyed > 0 {
            remarks.push(format!(
                "{} records lack the client's port or the transaction's number: double captures cannot be told",
                self.unkeyed
            ));
        }
        if self.cut > 0 {
            remarks.push(format!("{} records were cut when the log was rotated", self.cut));
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
        remarks.extend(self.assumptions.iter().cloned());
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

impl fmt::Display for QueryReport {
    /// A table of counts, one a line, of what occurred.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} records, {} queries", self.format, self.records, self.queries)?;
        if let (Some(first), Some(last)) = (self.first, self.last) {
            write!(f, " of {} client networks from {first} to {last}", self.clients)?;
        }
        let mut row = |count: u64, what: &dyn fmt::Display| match count {
            0 => Ok(()),
            _ => write!(f, "\n{count:>12}  {what}"),
        };
        row(self.with_ecs, &"queries with a client subnet")?;
        for (why, count) in self.skipped.iter() {
            row(count, &format_args!("skipped: {why}"))?;
        }
        row(self.duplicates, &format_args!("dropped: repeats within {}", self.dedupe.unwrap_or(Duration::ZERO)))?;
        row(self.malformed.count, &"left out: malformed")?;
        row(self.cut, &"left out: cut by rotation")?;
        row(u64::from(self.truncated.is_some()), &"left out: cut at the end")?;
        row(self.headers, &"headers and comments")?;
        row(self.out_of_order, &"records earlier than the one before")
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

/// Different networks of clients: what of their addresses may be kept.
#[derive(Default)]
pub(crate) struct Clients {
    networks: HashSet<u64>,
    latest: Option<IpAddr>,
}

impl Clients {
    fn see(&mut self, address: IpAddr) {
        if self.latest != Some(address) {
            self.latest = Some(address);
            self.networks.insert(Prefix::of_client(address).key());
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.networks.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(malformed.intolerable(0, 1), None);
        for line in 1..=10 {
            malformed.add(Place::Line(line), || "odd".to_owned());
        }
        assert_eq!(malformed.first.len(), 5);
        assert_eq!(malformed.intolerable(1000, 1), None);
        let (place, what) = malformed.intolerable(999, 1).unwrap();
        assert_eq!((place, what.as_str()), (Place::Line(1), "odd (and 10 of 999 records in all)"));
    }

    #[test]
    fn a_report_prints_what_occurred() {
        let mut report = QueryReport::new(LogFormat::Zeek);
        assert_eq!(report.to_string(), "Zeek dns.log: 0 records, 0 queries");
        report.records = 5;
        report.duplicates = 2;
        report.dedupe = Some(Duration::from_millis(1));
        report.skipped.add(Skip::NoTime);
        assert_eq!(
            report.to_string(),
            "Zeek dns.log: 5 records, 0 queries\n           1  skipped: records without a time\n           2  dropped: repeats within 1 ms"
        );
    }
}
