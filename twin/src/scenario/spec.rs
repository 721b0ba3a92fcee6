//! A scenario file, key by key: what may be written, in which type and with which default.
//!
//! Nothing is checked here beyond the type of a value. Values keep their place in the file ([`Spanned`]), so that
//! what is wrong with one can be shown where it stands.

use std::collections::BTreeMap;

use forebay_world::{BitsPerSecond, Bytes, Cpu, Duration};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::controller::ControllerConfig;
use crate::plan::market::{Reserved, Spot};

mod demand;
mod feed;
mod replay;
mod shape;
mod time;
mod upset;

pub use demand::{CatalogueSpec, ContentSpec, CrowdSpec, DnsSpec, EventSpec, LoadSpec, RegionLoadSpec};
pub use feed::FeedSpec;
pub use replay::{ReplayKind, ReplaySpec, TakenSpec};
pub use shape::Shape;
pub use time::{Instant, When};
pub use upset::{FaultKind, FaultSpec, HazardsSpec};

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
    /// `[[feed]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feed: Vec<Spanned<FeedSpec>>,
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

/// What there is, as a scenario and a production file say it alike.
#[derive(Clone, Copy, Debug)]
pub struct SiteSpec<'a> {
    /// `[every_region]`
    pub every_region: &'a EveryRegionSpec,
    /// `[[region]]`
    pub region: &'a [Spanned<RegionSpec>],
    /// `[mesh]`
    pub mesh: Option<&'a MeshSpec>,
    /// `[[link]]`
    pub link: &'a [Spanned<LinkSpec>],
    /// `[[flavour]]`
    pub flavour: &'a [Spanned<FlavourSpec>],
    /// `[[class]]`
    pub class: &'a [Spanned<ClassSpec>],
}

impl ScenarioSpec {
    /// What there is.
    pub fn site(&self) -> SiteSpec<'_> {
        SiteSpec {
            every_region: &self.every_region,
            region: &self.region,
            mesh: self.mesh.as_ref(),
            link: &self.link,
            flavour: &self.flavour,
            class: &self.class,
        }
    }
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
    /// Time before the run of which policies may know the load: of a recording, as much as it holds; otherwise the past of
    /// the synthetic load. Four weeks of a recording and nothing of a synthetic load unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Spanned<Duration>>,
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
    /// For plans: machines in each region that are paid for whether used or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Spanned<Reserved>>,
    /// For plans: a lower price for machines that may be taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot: Option<Spanned<Spot>>,
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
    /// For plans: flavours that it may run on as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flavours: Vec<Spanned<String>>,
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

/// A value that stands nowhere in the file: a default.
pub fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

impl Default for SloSpec {
    fn default() -> Self {
        SloSpec { latency: unplaced(Duration::from_millis(500)), rate_floor: unplaced(0.9), tolerance: unplaced(0.05) }
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
