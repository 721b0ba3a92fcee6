//! The kinds of logs that are read: their names, how they are told apart by content, and who reads them.
//!
//! Binary formats are told by their first bytes. Of the text formats, the one that reads most of the first lines is
//! taken; a table or JSON by the names of its fields.

use std::fmt;
use std::str::FromStr;

use forebay_world::Duration;

use crate::bind::Bind;
use crate::csv_log::{CsvLog, is_header};
use crate::dns_message::NameBuffer;
use crate::dnsmasq::Dnsmasq;
use crate::error::{ReadError, shown};
use crate::fields::{Field, Spelling};
use crate::frame_streams::begins_stream;
use crate::input::Input;
use crate::json_log::{JsonLog, keys_of};
use crate::line_log::{Counting, LineFormat, LineLog, NotAsked, read_lines};
use crate::powerdns::PowerDns;
use crate::query::LoggedQuery;
use crate::query_report::{QueryReport, Skip};
use crate::read_options::ReadOptions;
use crate::route53::Route53;
use crate::unbound::Unbound;
use crate::zeek::ZeekTable;
use crate::{dnstap, pcap, zeek};

/// The kind of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogFormat {
    /// dnstap messages in Frame Streams.
    Dnstap,
    /// Captured packets, pcap or pcapng.
    Pcap,
    /// Zeek's `dns.log`, tab-separated.
    Zeek,
    /// Zeek's `dns.log` in JSON.
    ZeekJson,
    /// BIND's query log.
    Bind,
    /// The query log of PowerDNS's authoritative server.
    PowerDns,
    /// Unbound's log of queries or replies.
    Unbound,
    /// dnsmasq's log of queries.
    Dnsmasq,
    /// Route 53's public query log.
    Route53,
    /// Cloudflare's Logpush dataset `dns_logs`.
    Cloudflare,
    /// AdGuard Home's `querylog.json`.
    AdGuard,
    /// A table with a header.
    Csv,
    /// JSON objects, one a line.
    Json,
}

/// Format, name by which it is asked for, name for people, a record of it.
const FORMATS: [(LogFormat, &str, &str, &str); 13] = [
    (LogFormat::Dnstap, "dnstap", "dnstap", "a Frame Streams file"),
    (LogFormat::Pcap, "pcap", "packet capture", "a pcap or pcapng file"),
    (LogFormat::Zeek, "zeek", "Zeek dns.log", "#fields\tts\tid.orig_h\tquery\tqtype"),
    (
        LogFormat::ZeekJson,
        "zeek-json",
        "Zeek dns.log (JSON)",
        r#"{"ts":1521911720.86,"id.orig_h":"10.0.0.1","query":"a.test","qtype":1}"#,
    ),
    (
        LogFormat::Bind,
        "bind",
        "BIND query log",
        "2026-11-22T17:47:58.683Z client @0x7f 192.0.2.1#41018 (a.test): query: a.test IN A -E(0) (192.0.2.53)",
    ),
    (
        LogFormat::PowerDns,
        "powerdns",
        "PowerDNS log",
        "Nov 22 18:08:59 Remote 192.0.2.1<-203.0.113.0/24 wants 'a.test|A', do = 0, bufsize = 1232",
    ),
    (LogFormat::Unbound, "unbound", "Unbound log", "[1795371023] unbound[19243:0] info: 192.0.2.1 a.test. A IN"),
    (LogFormat::Dnsmasq, "dnsmasq", "dnsmasq log", "Nov 22 18:00:00 dnsmasq[123]: query[A] a.test from 192.0.2.1"),
    (
        LogFormat::Route53,
        "route53",
        "Route 53 query log",
        "1.0 2017-12-13T08:16:02.130Z Z123412341234 a.test A NOERROR UDP FRA6 192.0.2.1 -",
    ),
    (
        LogFormat::Cloudflare,
        "cloudflare",
        "Cloudflare dns_logs",
        r#"{"Timestamp":1795371023000000000,"SourceIP":"192.0.2.1","QueryName":"a.test","QueryType":1}"#,
    ),
    (
        LogFormat::AdGuard,
        "adguard",
        "AdGuard Home query log",
        r#"{"T":"2025-11-30T08:26:26.4+01:00","QH":"a.test","QT":"A","IP":"192.0.2.1"}"#,
    ),
    (LogFormat::Csv, "csv", "CSV", "a header such as time,client,name,qtype,ecs"),
    (LogFormat::Json, "ndjson", "NDJSON", r#"{"time":1795371023,"client":"192.0.2.1","name":"a.test","qtype":"A"}"#),
];

/// What can be read, for messages.
const ALLOWED: &str = "dnstap, pcap, Zeek, BIND, PowerDNS, Unbound, dnsmasq, Route 53, Cloudflare, AdGuard Home, or CSV \
    and NDJSON with fields for time, client and name";

/// Content that is looked at to tell the format \[bytes\].
const SAMPLE: usize = 64 * 1024;
/// Lines that are looked at to tell the format.
const SAMPLE_LINES: usize = 200;

impl LogFormat {
    /// All, in order.
    pub const ALL: [LogFormat; 13] = {
        let mut all = [LogFormat::Dnstap; 13];
        let mut index = 0;
        while index < all.len() {
            all[index] = FORMATS[index].0;
            index += 1;
        }
        all
    };

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        FORMATS[self as usize].1
    }

    /// Tells the kind of log by its begin, which stays in the input; `None` when it is another kind of file.
    ///
    /// # Errors
    /// As [`Input::fill`].
    pub fn of(input: &mut Input, options: &ReadOptions) -> Result<Option<LogFormat>, ReadError> {
        let begin = input.fill(16)?;
        if begins_stream(begin) {
            return Ok(Some(LogFormat::Dnstap));
        }
        if pcap::begins_capture(begin) {
            return Ok(Some(LogFormat::Pcap));
        }
        if zeek::begins_log(begin) {
            return Ok(Some(LogFormat::Zeek));
        }
        let sample = input.fill(SAMPLE)?;
        let first = Lines::of(sample).find(|line| !line.starts_with(b"#"));
        if let Some(format) = first.and_then(|first| of_fields(first, options)) {
            return Ok(Some(format));
        }
        // Any year will do for looking.
        let options = &ReadOptions { year: options.year.or(Some(2024)), ..options.clone() };
        let mut name = NameBuffer::new();
        let mut best = (0, None);
        for format in LogFormat::ALL {
            let Some(mut lines_of) = format.lines(options, false) else { continue };
            // Half of the lines at least must be of the format, and queries weigh more than the server's other lines.
            let (mut queries, mut others, mut alien) = (0, 0, 0);
            for line in Lines::of(sample) {
                name.clear();
                match lines_of.read(line, &mut name) {
                    Ok(_) | Err(NotAsked::Skip(Skip::Response | Skip::OtherClass)) => queries += 1,
                    Err(NotAsked::Skip(_)) => others += 1,
                    Err(_) => alien += 1,
                }
            }
            if queries > best.0 && queries + others >= alien {
                best = (queries, Some(format));
            }
        }
        Ok(best.1)
    }

    /// An example of a record.
    pub(crate) fn sample(self) -> &'static str {
        FORMATS[self as usize].3
    }

    /// The window of repeats where the options say nothing: Zeek often listens at a mirror port.
    pub(crate) fn default_dedupe(self) -> Option<Duration> {
        matches!(self, LogFormat::Zeek | LogFormat::ZeekJson).then(|| Duration::from_millis(1))
    }

    /// The reader of lines, for a format of lines.
    pub(crate) fn lines(self, options: &ReadOptions, logs_queries: bool) -> Option<Box<dyn LineFormat>> {
        Some(match self {
            LogFormat::Dnstap | LogFormat::Pcap => return None,
            LogFormat::Zeek => Box::new(ZeekTable::new(options)),
            LogFormat::ZeekJson => Box::new(JsonLog::new(Spelling::zeek(), options)),
            LogFormat::Bind => Box::new(Bind::new(options)),
            LogFormat::PowerDns => Box::new(PowerDns::new(options)),
            LogFormat::Unbound => Box::new(Unbound::new(options, logs_queries)),
            LogFormat::Dnsmasq => Box::new(Dnsmasq::new(options)),
            LogFormat::Route53 => Box::new(Route53::new(options)),
            LogFormat::Cloudflare => Box::new(JsonLog::new(Spelling::cloudflare(), options)),
            LogFormat::AdGuard => Box::new(JsonLog::new(Spelling::adguard(), options)),
            LogFormat::Csv => Box::new(CsvLog::new(options)),
            LogFormat::Json => Box::new(JsonLog::new(Spelling::of(&options.fields), options)),
        })
    }

    /// Reads a log of this format.
    pub(crate) fn read(
        self,
        mut input: Input,
        options: &ReadOptions,
        visit: &mut dyn FnMut(&LoggedQuery<'_>),
    ) -> Result<QueryReport, ReadError> {
        let logs_queries = self == LogFormat::Unbound && logs_queries(input.fill(SAMPLE)?, options);
        let Some(lines) = self.lines(options, logs_queries) else {
            return match self {
                LogFormat::Pcap => pcap::read_pcap(input, options, visit),
                _ => dnstap::read_dnstap(input, options, visit),
            };
        };
        let counting = Counting::new(self, options);
        match self {
            LogFormat::Zeek | LogFormat::ZeekJson => zeek::read_zeek(input, lines, counting, visit),
            _ => read_lines(input, LineLog::new(lines, counting), visit),
        }
    }

    /// The error for a file that is no log of queries.
    pub(crate) fn unrecognised(input: &mut Input) -> Result<ReadError, ReadError> {
        let begin = input.fill(12)?;
        let found = match begin {
            [] => "an empty file".to_owned(),
            [b'{', ..] => "JSON without the fields of a query".to_owned(),
            bytes => format!("a file that begins with \"{}\"", shown(&bytes[..bytes.len().min(12)])),
        };
        Ok(ReadError::Unrecognised {
            path: input.path().to_owned(),
            found,
            allowed: ALLOWED,
            hint: "name the format if the log begins with other lines, and the fields of CSV or NDJSON that have other \
                names than time, client, name, qtype",
        })
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMATS[*self as usize].2)
    }
}

/// A name that is no format's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{found}\" is no format; allowed: {}", FORMATS.map(|format| format.1).join(", "))]
pub struct UnknownFormat {
    found: String,
}

impl FromStr for LogFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<LogFormat, UnknownFormat> {
        let known = FORMATS.iter().find(|format| format.1.eq_ignore_ascii_case(text));
        known.map(|format| format.0).ok_or_else(|| UnknownFormat { found: text.to_owned() })
    }
}

/// The format of a log whose first line names fields.
fn of_fields(first: &[u8], options: &ReadOptions) -> Option<LogFormat> {
    if first.trim_ascii_start().first() != Some(&b'{') {
        return is_header(first, options).then_some(LogFormat::Csv);
    }
    let keys = keys_of(first);
    let spellings = [
        (LogFormat::ZeekJson, Spelling::zeek()),
        (LogFormat::Cloudflare, Spelling::cloudflare()),
        (LogFormat::AdGuard, Spelling::adguard()),
        (LogFormat::Json, Spelling::of(&options.fields)),
    ];
    let has = |spelling: &Spelling, wanted: Field| {
        keys.iter().any(|key| spelling.find(key.as_bytes()).is_some_and(|(field, _)| field == wanted))
    };
    // Zeek leaves out what is not set.
    spellings.into_iter().find_map(|(format, spelling)| {
        let needed = [Field::Time, Field::Client, Field::Name];
        let enough = match format {
            LogFormat::ZeekJson => keys.iter().any(|key| key == "id.orig_h") && has(&spelling, Field::Time),
            LogFormat::Json => spelling.missing(|field| has(&spelling, field)).is_empty(),
            _ => needed.iter().all(|&field| has(&spelling, field)),
        };
        enough.then_some(format)
    })
}

/// Whether the begin of Unbound's log has lines of queries.
fn logs_queries(sample: &[u8], options: &ReadOptions) -> bool {
    let mut unbound = Unbound::new(&ReadOptions { year: options.year.or(Some(2024)), ..options.clone() }, false);
    let mut name = NameBuffer::new();
    Lines::of(sample).any(|line| {
        name.clear();
        let _ = unbound.read(line, &mut name);
        unbound.logs_queries()
    })
}

/// The first lines of a content that hold something, without the last one if it may be cut.
struct Lines;

impl Lines {
    fn of(sample: &[u8]) -> impl Iterator<Item = &[u8]> {
        let text = sample.strip_prefix(b"\xef\xbb\xbf").unwrap_or(sample);
        let whole = match memchr::memrchr(b'\n', text) {
            Some(end) => &text[..end],
            None => text,
        };
        whole
            .split(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .filter(|line| !line.trim_ascii().is_empty())
            .take(SAMPLE_LINES)
    }
}
