//! Recorded DNS queries, whatever the format of the log: one record, one report, one way to read them.
//!
//! Queries are counted, never responses, and nothing is ever paired: servers lose or mistype responses (BIND drops
//! the response frames of queries with RD=1).

use std::net::IpAddr;
use std::path::Path;

use forebay_world::Timestamp;

use crate::error::ReadError;
use crate::input::Input;
use crate::log_format::LogFormat;
use crate::prefix::Prefix;
use crate::query_report::QueryReport;
use crate::read_options::ReadOptions;

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

    /// Of queries by vantage point, in the order of [`Vantage::ALL`], the point that tells demand once: where most were
    /// seen, and [`Vantage::BeforeResolver`] when both sides of a resolver are there. `None` without queries.
    pub fn of_counts([authority, before, after]: [u64; 3]) -> Option<Vantage> {
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

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Vantage::Authority => "authority",
            Vantage::BeforeResolver => "before-resolver",
            Vantage::AfterResolver => "after-resolver",
        }
    }
}

/// Reads the queries of a log, `.gz` or plain, or of standard input (`-`), and shows each to `visit`. The format is
/// told by the content unless the options name it.
///
/// Queries come in the order of the log, which is nearly that of time, in constant memory; Zeek's in order of time (its
/// log is kept in memory for that: about 100 bytes a row).
///
/// # Errors
/// [`ReadError`] for what cannot be opened, unpacked or recognised; [`ReadError::Malformed`] for a log that mostly
/// (Zeek's table, dnstap: more than 1 %) does not follow its format, and where a stream of frames loses its framing.
pub fn read_queries(
    path: &Path,
    options: &ReadOptions,
    visit: &mut dyn FnMut(&LoggedQuery<'_>),
) -> Result<QueryReport, ReadError> {
    read_queries_from(Input::open(path)?, options, visit)
}

/// As [`read_queries`], from an opened input.
///
/// # Errors
/// As [`read_queries`].
pub fn read_queries_from(
    mut input: Input,
    options: &ReadOptions,
    visit: &mut dyn FnMut(&LoggedQuery<'_>),
) -> Result<QueryReport, ReadError> {
    let format = match options.format {
        Some(format) => format,
        None => match LogFormat::of(&mut input, options)? {
            Some(format) => format,
            None => return Err(LogFormat::unrecognised(&mut input)?),
        },
    };
    format.read(input, options, visit)
}

#[cfg(test)]
mod tests;
