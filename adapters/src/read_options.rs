//! What the operator says about a log that the log itself does not: its format when it is not to be told by content,
//! the zone and year of times that carry none, the vantage point, the names of fields in a table.
//!
//! [`ReadOptions::default`] says nothing; every reader then says in its report what it assumed.

use forebay_world::{Duration, Timestamp};
use jiff::tz::TimeZone;

use crate::log_format::LogFormat;
use crate::query::Vantage;

/// How a log of queries is to be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// The format; `None` to tell it by content.
    pub format: Option<LogFormat>,
    /// Zone of times that carry none; `None` for UTC.
    pub zone: Option<TimeZone>,
    /// Year of the first time that carries none (PowerDNS, syslog); counted on over New Year.
    pub year: Option<i16>,
    /// The present, which dates times without a year when no year is given: the latest that is not after it.
    pub now: Option<Timestamp>,
    /// Where the queries were seen; `None` for what the log says or its format implies.
    pub vantage: Option<Vantage>,
    /// Records of one transaction (client, port, DNS id, name and type) within this span are one query captured
    /// twice. `None` for 1 ms with Zeek and no removal elsewhere; zero for none.
    pub dedupe: Option<Duration>,
    /// Names of the fields of CSV and NDJSON.
    pub fields: FieldNames,
}

/// Names of the fields that a query is read from, in CSV (columns) and NDJSON (keys). `None` for the usual names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldNames {
    /// When: RFC 3339, or a number since 1970.
    pub time: Option<String>,
    /// What a number in the time field counts; `None` to tell it by size.
    pub time_unit: Option<TimeUnit>,
    /// Who asked: an address.
    pub client: Option<String>,
    /// The port it asked from, for the removal of repeats.
    pub client_port: Option<String>,
    /// Name asked for.
    pub name: Option<String>,
    /// Type of record asked for, by name or number.
    pub qtype: Option<String>,
    /// Client subnet: a prefix, or an address.
    pub ecs: Option<String>,
    /// Number of the DNS transaction, for the removal of repeats.
    pub id: Option<String>,
}

/// What a number that is a time counts since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl TimeUnit {
    /// Decimal digits of a second that a unit has.
    pub(crate) fn decimals(self) -> u32 {
        match self {
            TimeUnit::Seconds => 0,
            TimeUnit::Milliseconds => 3,
            TimeUnit::Microseconds => 6,
            TimeUnit::Nanoseconds => 9,
        }
    }
}
