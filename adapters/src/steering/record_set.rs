//! Record sets of a zone, and changes of several of them at once.

use std::collections::BTreeSet;
use std::fmt;

use super::dns_name::DnsName;

/// Types of records that steering reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    A,
    Aaaa,
    Cname,
    Txt,
    /// A script of PowerDNS.
    #[cfg_attr(
        not(feature = "fetch"),
        allow(dead_code, reason = "only the API over HTTP knows scripts and types by name")
    )]
    Lua,
    /// Addresses with weights by region, of the server in memory.
    Pool,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Cname => "CNAME",
            Kind::Txt => "TXT",
            Kind::Lua => "LUA",
            Kind::Pool => "POOL",
        }
    }

    #[cfg_attr(
        not(feature = "fetch"),
        allow(dead_code, reason = "only the API over HTTP knows scripts and types by name")
    )]
    pub(super) fn parse(name: &str) -> Option<Kind> {
        [Kind::A, Kind::Aaaa, Kind::Cname, Kind::Txt, Kind::Lua].into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All records of one name and type; none of them means that there is no such set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordSet {
    pub(super) owner: DnsName,
    pub(super) kind: Kind,
    pub(super) ttl_seconds: u32,
    /// Addresses, names or scripts as they are written; the text of TXT records without quotes and cuts.
    pub(super) records: BTreeSet<String>,
}

impl RecordSet {
    pub(super) fn new(
        owner: &DnsName,
        kind: Kind,
        ttl_seconds: u32,
        records: impl IntoIterator<Item = String>,
    ) -> Self {
        RecordSet { owner: owner.clone(), kind, ttl_seconds, records: records.into_iter().collect() }
    }

    /// That there is no such set.
    pub(super) fn none(owner: &DnsName, kind: Kind) -> Self {
        RecordSet::new(owner, kind, 0, [])
    }
}

/// Record sets that take the place of others, all at once or not at all.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// In words.
    pub(super) what: String,
    /// Sets that must be as they were last seen.
    pub(super) expected: Vec<(DnsName, Kind)>,
    /// What takes the place of what.
    pub(super) sets: Vec<RecordSet>,
}
