//! `[replay]`.

use std::collections::BTreeMap;

use forebay_world::Duration;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::unplaced;

/// `[replay]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaySpec {
    /// `counts` or `dns`.
    pub kind: Spanned<ReplayKind>,
    /// The recording, beside the scenario unless absolute; without it and without `--replay`, a made-up one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Spanned<String>>,
    /// Counts: sessions that each counted request stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Spanned<f64>>,
    /// Counts: instead of `scale`, what the recording's highest rate shall become \[1/s\].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_sessions_per_second: Option<Spanned<f64>>,
    /// Time that the run begins before the recording, so that capacity stands when it begins.
    #[serde(default)]
    pub lead_in: Duration,
    /// Time that the run goes on after the recording, so that sessions play out.
    #[serde(default)]
    pub lead_out: Duration,
    /// Counts without a region column: move each region's share to the same local hour as where it was recorded.
    #[serde(default = "yes")]
    pub shift_zones: bool,
    /// Counts: IANA zone of where it was recorded.
    #[serde(default = "utc")]
    pub recorded_in: Spanned<String>,
    /// Counts without a class column, and queries that no rule names: shares of the classes; even unless given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<Spanned<String>, Spanned<f64>>,
    /// Counts with a region or class column: the recording's name → ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, Spanned<String>>,
    /// Queries: client network → region.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prefixes: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Queries: a CSV file of client networks and regions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_table: Option<Spanned<String>>,
    /// Queries: a MaxMind database of client networks; the nearest region serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mmdb: Option<Spanned<String>>,
    /// Queries: end of a name → class, the longest that fits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub suffixes: BTreeMap<String, Spanned<String>>,
    /// Queries: sessions that each stands for.
    #[serde(default = "sessions_per_query")]
    pub sessions_per_query: Spanned<u32>,
    /// Queries: where the log was taken; as its own records say unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<TakenSpec>,
}

/// Kinds of recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayKind {
    /// A series of request counts.
    Counts,
    /// A log of DNS queries.
    Dns,
}

/// Where a query log was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakenSpec {
    /// Between clients and their resolver.
    BeforeResolver,
    /// At the authoritative servers.
    AtAuthority,
}

fn yes() -> bool {
    true
}

fn utc() -> Spanned<String> {
    unplaced("UTC".to_owned())
}

fn sessions_per_query() -> Spanned<u32> {
    unplaced(1)
}
