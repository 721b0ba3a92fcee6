//! A scenario file, key by key: what may be written, in which type and with which default.
//!
//! Nothing is checked here beyond the type of a value. Values keep their place in the file ([`Spanned`]), so that
//! what is wrong with one can be shown where it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use forebay_world::{BitsPerSecond, Bytes, Cpu, Duration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::Spanned;

use crate::controller::ControllerConfig;

/// A scenario file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioSpec {
    /// `[scenario]`
    pub scenario: HeadingSpec,
    /// `[every_region]`: what regions have that do not say otherwise.
    #[serde(default)]
    pub every_region: EveryRegionSpec,
    /// `[[region]]`
    #[serde(default)]
    pub region: Vec<Spanned<RegionSpec>>,
    /// `[mesh]`: links between regions, laid automatically.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<MeshSpec>,
    /// `[[link]]`: a link between two regions; where the mesh has one too, this one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link: Vec<Spanned<LinkSpec>>,
    /// `[[flavour]]`
    #[serde(default)]
    pub flavour: Vec<Spanned<FlavourSpec>>,
    /// `[[class]]`
    #[serde(default)]
    pub class: Vec<Spanned<ClassSpec>>,
    /// `[load.CLASS]`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub load: BTreeMap<Spanned<String>, LoadSpec>,
    /// `[[crowd]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crowd: Vec<Spanned<CrowdSpec>>,
    /// `[[event]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event: Vec<Spanned<EventSpec>>,
    /// `[dns]`
    #[serde(default)]
    pub dns: DnsSpec,
    /// `[content]`
    #[serde(default)]
    pub content: ContentSpec,
    /// `[[fault]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<Spanned<FaultSpec>>,
    /// `[hazards]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hazards: Option<HazardsSpec>,
    /// `[replay]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Spanned<ReplaySpec>>,
    /// `[controller]`
    #[serde(default = "controller_default")]
    pub controller: Spanned<ControllerConfig>,
}

/// `[scenario]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadingSpec {
    /// Short name.
    pub name: Spanned<String>,
    /// One line for people.
    #[serde(default)]
    pub title: String,
    /// When the run begins; a replay begins with its file unless this is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Spanned<Instant>>,
    /// How long it lasts; a replay lasts as long as its file unless this is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Spanned<Duration>>,
    /// Time from the start that is not scored.
    #[serde(default = "warm_up")]
    pub warm_up: Spanned<Duration>,
    /// Seed of every random stream.
    #[serde(default = "seed")]
    pub seed: u64,
    /// `session` or `fluid`.
    #[serde(default = "fidelity")]
    pub fidelity: Spanned<FidelitySpec>,
    /// Interval of the fluid model.
    #[serde(default = "fluid_step")]
    pub step: Spanned<Duration>,
    /// Sessions beyond this multiple of a virtual machine's places are turned away.
    #[serde(default = "overload_limit")]
    pub overload_limit: Spanned<f64>,
}

/// How finely load is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FidelitySpec {
    /// Every session is an event.
    Session,
    /// Rates per interval.
    Fluid,
}

/// `[every_region]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EveryRegionSpec {
    /// The link between a region and its clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Spanned<AccessSpec>>,
    /// Groups of like hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<Spanned<HostsSpec>>>,
    /// Resolvers that clients of a region ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolvers: Option<Spanned<u32>>,
}

/// `[[region]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionSpec {
    /// Short name, unique.
    pub name: Spanned<String>,
    /// Latitude [degrees north].
    pub lat: Spanned<f64>,
    /// Longitude [degrees east].
    pub lon: Spanned<f64>,
    /// IANA time zone.
    pub time_zone: Spanned<String>,
    /// Share of clients, against the other regions'.
    #[serde(default = "one")]
    pub population: Spanned<f64>,
    /// The link between this region and its clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Spanned<AccessSpec>>,
    /// Groups of like hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<Spanned<HostsSpec>>>,
    /// Resolvers that clients ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolvers: Option<Spanned<u32>>,
}

/// The link between a region and its clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessSpec {
    /// Capacity in each direction.
    pub capacity: Spanned<BitsPerSecond>,
    /// One-way delay.
    pub delay: Duration,
}

/// A group of like hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsSpec {
    /// How many.
    pub count: Spanned<u32>,
    /// Processors of each.
    pub cpu: Spanned<Cpu>,
    /// Memory of each.
    pub memory: Spanned<Bytes>,
    /// Network interface of each.
    pub nic: Spanned<BitsPerSecond>,
    /// Virtual machines that each boots at the same time.
    #[serde(default = "concurrent_boots")]
    pub concurrent_boots: Spanned<u32>,
}

/// `[mesh]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeshSpec {
    /// Capacity of each link.
    pub capacity: Spanned<BitsPerSecond>,
    /// Links to this many nearest regions, and as many more as join all regions; without it, between all pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<Spanned<u32>>,
}

/// `[[link]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// The two regions it joins.
    pub between: Spanned<(Spanned<String>, Spanned<String>)>,
    /// Capacity in each direction.
    pub capacity: Spanned<BitsPerSecond>,
    /// One-way delay; light in fibre along the great circle unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
}

/// `[[flavour]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlavourSpec {
    /// Unique name.
    pub name: Spanned<String>,
    /// Processors.
    pub cpu: Spanned<Cpu>,
    /// Memory.
    pub memory: Spanned<Bytes>,
    /// Network interface.
    pub bandwidth: Spanned<BitsPerSecond>,
    /// Price of one hour.
    pub price_per_hour: Spanned<f64>,
    /// Median time from request to booted.
    pub boot_median: Duration,
    /// Standard deviation of the logarithm of the boot time.
    #[serde(default = "boot_sigma")]
    pub boot_sigma: Spanned<f64>,
    /// Time from booted to ready.
    #[serde(default)]
    pub warm_up: Duration,
}

/// `[[class]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSpec {
    /// Unique name.
    pub name: Spanned<String>,
    /// `streaming`, `download` or `interactive`; it decides which of the keys below are needed.
    pub kind: Spanned<WorkKind>,
    /// The flavour its virtual machines have.
    pub flavour: Spanned<String>,
    /// Who goes first when slices cannot all be served: 0 is first. Its place in the file unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// What a violated minute of one region costs.
    pub violation_price_per_minute: Spanned<f64>,
    /// Streaming: rate it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_rate: Option<Spanned<BitsPerSecond>>,
    /// Streaming and interactive: mean time a session lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Spanned<Duration>>,
    /// Download: mean size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Spanned<Bytes>>,
    /// Download: the most one client can take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Spanned<BitsPerSecond>>,
    /// Interactive: requests that a session sends \[1/s\].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<Spanned<f64>>,
    /// Interactive: mean processor time of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Spanned<Duration>>,
    /// Interactive: size of a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Spanned<Bytes>>,
    /// Streaming and download: processors a session uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Spanned<Cpu>>,
    /// Memory a session uses.
    #[serde(default = "session_memory")]
    pub memory: Spanned<Bytes>,
    /// When a minute counts as violated.
    #[serde(default)]
    pub slo: SloSpec,
    /// Time that DNS answers for it may be kept; as `[dns]` says unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Spanned<Duration>>,
    /// Its content; as `[content]` says unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<CatalogueSpec>,
}

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkKind {
    /// Holds a bit rate for a while.
    Streaming,
    /// An elastic flow of some size.
    Download,
    /// Short requests that share processors.
    Interactive,
}

/// `slo`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SloSpec {
    /// Start-up delay or response time that is still good.
    pub latency: Spanned<Duration>,
    /// Throughput that is still good, as a share.
    pub rate_floor: Spanned<f64>,
    /// Share of bad that a minute still tolerates.
    pub tolerance: Spanned<f64>,
}

/// `[load.CLASS]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    /// Sessions that begin in the whole network, mean over a week; divided by the regions' populations \[1/s\].
    pub sessions_per_second: Spanned<f64>,
    /// Shape of the day.
    #[serde(default)]
    pub daily: Shape,
    /// Shape of the week.
    #[serde(default)]
    pub weekly: Shape,
    /// Slow wandering: standard deviation of the rate's logarithm.
    #[serde(default = "zero")]
    pub noise_sigma: Spanned<f64>,
    /// Slow wandering: interval over which it is redrawn.
    #[serde(default = "noise_step")]
    pub noise_step: Spanned<Duration>,
    /// Regions where it is otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: BTreeMap<Spanned<String>, RegionLoadSpec>,
}

/// `[load.CLASS.regions.REGION]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionLoadSpec {
    /// Takes the place of the region's population for this class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Spanned<f64>>,
    /// Shape of the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<Shape>,
    /// Shape of the week.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<Shape>,
}

/// A shape by name or by numbers; numbers are divided by their mean.
#[derive(Clone, Debug)]
pub enum Shape {
    /// The name of a preset.
    Named(Spanned<String>),
    /// One number for each hour of the day, or each day of the week, Monday first.
    Numbers(Spanned<Vec<f64>>),
}

/// `[[crowd]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrowdSpec {
    /// Its name.
    pub name: Spanned<String>,
    /// Client regions; all unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<Spanned<String>>>,
    /// Classes; all unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Spanned<String>>>,
    /// When the ramp begins.
    pub at: Spanned<When>,
    /// Standard deviation of the begin.
    #[serde(default)]
    pub jitter: Duration,
    /// Time from usual to full.
    pub ramp: Duration,
    /// Time at full.
    #[serde(default)]
    pub hold: Duration,
    /// Time constant of the decay.
    pub decay: Duration,
    /// Factor at full on the usual load.
    pub factor: Spanned<f64>,
    /// Standard deviation of the factor's logarithm.
    #[serde(default = "zero")]
    pub factor_sigma: Spanned<f64>,
}

/// `[[event]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSpec {
    /// Unique name.
    pub id: Spanned<String>,
    /// Kind, by which past events inform coming ones.
    pub kind: String,
    /// Planned start.
    pub start: Spanned<When>,
    /// Planned end.
    pub end: Spanned<When>,
    /// From when on it is known; from the start of the run unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_from: Option<Spanned<When>>,
    /// Client regions; all unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<Spanned<String>>>,
    /// Classes; all unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Spanned<String>>>,
    /// Factor on usual demand that its announcer expects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplift: Option<Spanned<f64>>,
}

/// `[dns]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsSpec {
    /// Resolvers in a region that does not say otherwise.
    pub resolvers: Spanned<u32>,
    /// Exponent of the Zipf law of clients over resolvers.
    pub resolver_skew: Spanned<f64>,
    /// Time that answers may be kept.
    pub ttl: Spanned<Duration>,
    /// Share of resolvers that keep answers longer.
    pub extending_share: Spanned<f64>,
    /// How long those keep them at least.
    pub extended_ttl: Duration,
    /// Share of resolvers that send EDNS Client Subnet.
    pub ecs_share: Spanned<f64>,
    /// Client subnets behind each of those.
    pub ecs_subnets: Spanned<u32>,
}

/// `[content]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContentSpec {
    /// Objects in a class's catalogue.
    pub objects: Spanned<u32>,
    /// Exponent of the Zipf law of their popularity.
    pub exponent: Spanned<f64>,
    /// Objects that a virtual machine's cache holds.
    pub cached: u32,
    /// What a miss adds: the way to the origin and back.
    pub origin_delay: Duration,
}

/// `content` of a class
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueSpec {
    /// Objects in the catalogue.
    pub objects: Spanned<u32>,
    /// Exponent of the Zipf law of their popularity.
    pub exponent: Spanned<f64>,
    /// Objects that a virtual machine's cache holds.
    pub cached: u32,
}

/// `[[fault]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What breaks; it decides which of the keys below are needed.
    pub kind: Spanned<FaultKind>,
    /// When it begins.
    pub at: Spanned<When>,
    /// How long it lasts.
    pub lasts: Duration,
    /// `host-crash`: which host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Spanned<String>>,
    /// `region-lost`, `telemetry-gap`: which region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Spanned<String>>,
    /// `link-degraded`: which link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Spanned<String>>,
    /// `link-degraded`: share of capacity that is left, 0 cuts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Spanned<f64>>,
    /// `boot-failures`: share of boots that fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Spanned<f64>>,
}

/// Kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// A host stops.
    HostCrash,
    /// A share of boots fails.
    BootFailures,
    /// A link keeps a share of its capacity.
    LinkDegraded,
    /// A region is gone.
    RegionLost,
    /// Nothing is heard from a region.
    TelemetryGap,
}

/// `[hazards]`: mean times between failures; never where not given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HazardsSpec {
    /// Mean time between crashes of one host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_mtbf: Option<Spanned<Duration>>,
    /// Mean time to repair a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_repair: Option<Duration>,
    /// Share of boots that fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_failure: Option<Spanned<f64>>,
    /// Mean time between degradations of one link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_mtbf: Option<Spanned<Duration>>,
    /// Mean time to repair a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_repair: Option<Duration>,
    /// Share of capacity that a degraded link keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_left: Option<Spanned<f64>>,
    /// Mean time between losses of one region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_mtbf: Option<Spanned<Duration>>,
    /// Mean time until a lost region is back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_repair: Option<Duration>,
    /// Mean time between telemetry gaps of one region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry_mtbf: Option<Spanned<Duration>>,
    /// Mean length of a telemetry gap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry_gap: Option<Duration>,
}

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

/// An instant: a date and time of TOML, or the same in quotes; without an offset, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub Timestamp);

/// An instant, or a span after the start of the run such as `"18 h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At an instant.
    At(Timestamp),
    /// This long after the start of the run.
    After(Duration),
}

impl When {
    /// The instant, in a run that begins at `start`.
    pub fn resolve(self, start: Timestamp) -> Timestamp {
        match self {
            When::At(at) => at,
            When::After(span) => start.saturating_add(span),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(span) = text.parse() {
            return Ok(When::After(span));
        }
        text.parse().map(When::At).map_err(|_| {
            format!(
                "\"{text}\" is not a time such as 2026-06-14T18:00:00Z, nor a span after the start such as \"18 h\""
            )
        })
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            When::At(at) => at.serialize(serializer),
            When::After(span) => span.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeText)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeText)?.parse().map(Instant).map_err(de::Error::custom)
    }
}

/// Reads a string, or a date and time of TOML, as text.
struct TimeText;

impl<'de> de::Visitor<'de> for TimeText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2026-06-14T18:00:00Z")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<String, A::Error> {
        let datetime = toml::value::Datetime::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let midnight = if datetime.time.is_none() { "T00:00:00" } else { "" };
        Ok(format!("{datetime}{midnight}"))
    }
}

impl Default for Shape {
    fn default() -> Self {
        Shape::Named(unplaced("flat".to_owned()))
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Shape::Named(name) => name.serialize(serializer),
            Shape::Numbers(numbers) => numbers.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        enum Either {
            Name(String),
            Numbers(Vec<f64>),
        }
        struct EitherVisitor;
        impl<'de> de::Visitor<'de> for EitherVisitor {
            type Value = Either;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a shape, or a list of numbers")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Either, E> {
                Ok(Either::Name(text.to_owned()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Either, A::Error> {
                let mut numbers = Vec::new();
                while let Some(number) = list.next_element()? {
                    numbers.push(number);
                }
                Ok(Either::Numbers(numbers))
            }
        }
        impl<'de> Deserialize<'de> for Either {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(EitherVisitor)
            }
        }
        let either = Spanned::<Either>::deserialize(deserializer)?;
        let span = either.span();
        Ok(match either.into_inner() {
            Either::Name(name) => Shape::Named(Spanned::new(span, name)),
            Either::Numbers(numbers) => Shape::Numbers(Spanned::new(span, numbers)),
        })
    }
}

/// A value that stands nowhere in the file: a default.
pub fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

impl Default for SloSpec {
    fn default() -> Self {
        SloSpec { latency: unplaced(Duration::from_millis(500)), rate_floor: unplaced(0.9), tolerance: unplaced(0.05) }
    }
}

impl Default for DnsSpec {
    fn default() -> Self {
        DnsSpec {
            resolvers: unplaced(20),
            resolver_skew: unplaced(0.8),
            ttl: unplaced(Duration::from_secs(30)),
            extending_share: unplaced(0.1),
            extended_ttl: Duration::from_mins(5),
            ecs_share: unplaced(0.2),
            ecs_subnets: unplaced(16),
        }
    }
}

impl Default for ContentSpec {
    fn default() -> Self {
        ContentSpec {
            objects: unplaced(10_000),
            exponent: unplaced(0.9),
            cached: 2_000,
            origin_delay: Duration::from_millis(80),
        }
    }
}

fn controller_default() -> Spanned<ControllerConfig> {
    unplaced(ControllerConfig::default())
}

fn warm_up() -> Spanned<Duration> {
    unplaced(Duration::ZERO)
}

fn seed() -> u64 {
    1
}

fn fidelity() -> Spanned<FidelitySpec> {
    unplaced(FidelitySpec::Session)
}

fn fluid_step() -> Spanned<Duration> {
    unplaced(Duration::from_mins(1))
}

fn overload_limit() -> Spanned<f64> {
    unplaced(1.1)
}

fn zero() -> Spanned<f64> {
    unplaced(0.0)
}

fn one() -> Spanned<f64> {
    unplaced(1.0)
}

fn concurrent_boots() -> Spanned<u32> {
    unplaced(2)
}

fn boot_sigma() -> Spanned<f64> {
    unplaced(0.25)
}

fn session_memory() -> Spanned<Bytes> {
    unplaced(Bytes(4 << 20))
}

fn noise_step() -> Spanned<Duration> {
    unplaced(Duration::from_mins(5))
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
