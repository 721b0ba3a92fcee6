//! `[dns]`, where queries are seen, and `[steering]`, where answers are given.

use std::collections::BTreeMap;
use std::path::PathBuf;

use forebay_world::Duration;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::scenario::spec::unplaced;

/// `[dns]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsSpec {
    /// Where servers' dnstap is listened for: `unix:/run/forebay/dnstap.sock`, `tcp:127.0.0.1:6000`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dnstap: Vec<Spanned<String>>,
    /// `[[dns.log]]`: text logs that servers write, followed as they grow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Spanned<LogSpec>>,
    /// Where queries are seen: `authority`, `before-resolver` or `after-resolver`.
    #[serde(default = "vantage")]
    pub vantage: Spanned<String>,
    /// `[dns.geography]`: where clients are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geography: Option<Spanned<GeographySpec>>,
    /// Time that answers may be kept, of classes that do not say otherwise.
    #[serde(default = "ttl")]
    pub ttl: Spanned<Duration>,
    /// Zones of the operator's: names outside do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Spanned<String>>,
    /// `[dns.names]`: names of each class; of those that fit, the one of most labels decides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
}

/// `[[dns.log]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSpec {
    /// The file.
    pub path: Spanned<PathBuf>,
    /// Its format; told by its content unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Spanned<String>>,
    /// IANA time zone of times that carry none; UTC unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Spanned<String>>,
}

/// `[dns.geography]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeographySpec {
    /// A CSV file of client networks and regions, beside the production file unless absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<Spanned<PathBuf>>,
    /// A database in MMDB format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Spanned<PathBuf>>,
    /// Countries of the database (ISO 3166-1) and their regions; the nearest region serves the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub countries: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Continents of the database (AF, AN, AS, EU, NA, OC, SA) and their regions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub continents: BTreeMap<Spanned<String>, Spanned<String>>,
    /// What becomes of addresses that nothing is known of: `drop`, `spread`, or a region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Spanned<String>>,
}

/// `[steering]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteeringSpec {
    /// `rfc2136`, `powerdns` or `responder`; it decides which of the keys below are needed.
    pub kind: Spanned<SteeringKind>,
    /// The zone that is written to.
    pub zone: Spanned<String>,
    /// RFC 2136: the zone's primary server, `192.0.2.53:53`. PowerDNS: its port for DNS, to ask what clients are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Spanned<String>>,
    /// RFC 2136: `udp` (and TCP for what does not fit) or `tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Spanned<TransportSpec>>,
    /// File of the key: RFC 2136 a TSIG key, PowerDNS the API's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<Spanned<PathBuf>>,
    /// Variable of the environment that holds the key, in place of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_env: Option<Spanned<String>>,
    /// PowerDNS: its API, `http://127.0.0.1:8081`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Spanned<String>>,
    /// PowerDNS with LUA records: networks of the regions whose clients are told apart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
    /// PowerDNS with LUA records: a port that the server itself tries on every address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probed_port: Option<Spanned<u16>>,
    /// Responder: addresses that it answers at, `192.0.2.53:53`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<Spanned<String>>,
    /// Responder: name servers of the zone and their addresses, as the delegation has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub name_servers: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
    /// Responder: who is responsible, as a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostmaster: Option<Spanned<String>>,
    /// Responder: how long resolvers may keep that there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_ttl: Option<Spanned<Duration>>,
    /// Responder: answers a second that one client network may get by datagrams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers_per_second: Option<Spanned<u32>>,
    /// How long a writer that is heard of no more stays the only one of the zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer_lease: Option<Spanned<Duration>>,
    /// `[steering.rails]`: what may change at once.
    #[serde(default)]
    pub rails: RailsSpec,
    /// `[steering.names]`: the name by which clients of each class come.
    #[serde(default)]
    pub names: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// Who gives answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SteeringKind {
    /// A server that takes dynamic updates.
    Rfc2136,
    /// PowerDNS by its HTTP API.
    Powerdns,
    /// Our own, for a delegated zone.
    Responder,
}

/// By what a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransportSpec {
    /// Datagrams, and TCP for what does not fit.
    Udp,
    /// One connection.
    Tcp,
}

/// `[steering.rails]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RailsSpec {
    /// Largest share of a name's clients that one step may move, 0 to 1.
    pub share_moved_most: Spanned<f64>,
    /// Fewest addresses that are answered, as far as there are healthy ones.
    pub answers_least: Spanned<u32>,
    /// Shortest time to live.
    pub ttl_least: Spanned<Duration>,
    /// How long clients keep coming to an address that is answered no more: so many times to live …
    pub drain_ttls: Spanned<f64>,
    /// … and so long after.
    pub drain_tail: Spanned<Duration>,
}

impl Default for RailsSpec {
    fn default() -> Self {
        RailsSpec {
            share_moved_most: unplaced(0.1),
            answers_least: unplaced(1),
            ttl_least: unplaced(Duration::from_secs(10)),
            drain_ttls: unplaced(2.0),
            drain_tail: unplaced(Duration::from_mins(1)),
        }
    }
}

fn vantage() -> Spanned<String> {
    unplaced("authority".to_owned())
}

fn ttl() -> Spanned<Duration> {
    unplaced(Duration::from_secs(30))
}
