//! A production file, key by key: what may be written, in which type and with which default.
//!
//! Nothing is checked here beyond the type of a value. Values keep their place in the file ([`Spanned`]). A section with a
//! `kind` is one flat table: which keys a kind has a use for is checked with the rest, where it can be said better.

use std::collections::BTreeMap;
use std::path::PathBuf;

use forebay_world::{Bytes, Duration};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::controller::ControllerConfig;
use crate::link::ExecutorSpec;
use crate::scenario::spec::{
    ClassSpec, EveryRegionSpec, FlavourSpec, LinkSpec, MeshSpec, RegionSpec, SiteSpec, unplaced,
};

mod dns;
mod live;
mod machines;

pub use dns::{DnsSpec, GeographySpec, LogSpec, RailsSpec, SteeringKind, SteeringSpec, TransportSpec};
pub use live::{
    BreakerSpec, CellModeSpec, DisruptionSpec, IncumbentSpec, LeaseSpec, LiveSpec, MetricsSpec, OrphansSpec, RetrySpec,
    ShadowSpec,
};
pub use machines::{
    AccelerationSpec, DiskFormatSpec, HealthSpec, HypervisorKind, HypervisorSpec, ImageSpec, SessionsSpec,
};

/// A production file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductionSpec {
    /// `[production]`
    pub production: HeadingSpec,
    /// `[every_region]`, as in a scenario.
    #[serde(default)]
    pub every_region: EveryRegionSpec,
    /// `[[region]]`, as in a scenario.
    #[serde(default)]
    pub region: Vec<Spanned<RegionSpec>>,
    /// `[mesh]`, as in a scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<MeshSpec>,
    /// `[[link]]`, as in a scenario.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link: Vec<Spanned<LinkSpec>>,
    /// `[[flavour]]`, as in a scenario.
    #[serde(default)]
    pub flavour: Vec<Spanned<FlavourSpec>>,
    /// `[[class]]`, as in a scenario.
    #[serde(default)]
    pub class: Vec<Spanned<ClassSpec>>,
    /// `[[hypervisor]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hypervisor: Vec<Spanned<HypervisorSpec>>,
    /// `[image.FLAVOUR]`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image: BTreeMap<Spanned<String>, Spanned<ImageSpec>>,
    /// `[network.REGION]`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub network: BTreeMap<Spanned<String>, Spanned<NetworkSpec>>,
    /// `[dns]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Spanned<DnsSpec>>,
    /// `[steering]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steering: Option<Spanned<SteeringSpec>>,
    /// `[health.CLASS]`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub health: BTreeMap<Spanned<String>, Spanned<HealthSpec>>,
    /// `[[feed]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feed: Vec<Spanned<FeedSpec>>,
    /// `[[event]]`, as in a scenario, but at instants only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event: Vec<Spanned<crate::scenario::spec::EventSpec>>,
    /// `[history]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistorySpec>,
    /// `[controller]`, as in a scenario.
    #[serde(default = "controller_default")]
    pub controller: Spanned<ControllerConfig>,
    /// `[live]`
    #[serde(default)]
    pub live: LiveSpec,
    /// `[metrics]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsSpec>,
    /// `[shadow]`
    #[serde(default)]
    pub shadow: ShadowSpec,
}

impl ProductionSpec {
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

/// `[production]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadingSpec {
    /// Short name.
    pub name: Spanned<String>,
    /// What stands on everything that is made, and tells it from what others made.
    pub owner: Spanned<String>,
    /// Folder of the lease, the ledger, the journal, the audit and the kill switch; beside the file unless absolute.
    pub state: Spanned<PathBuf>,
    /// Policy that decides.
    #[serde(default = "policy")]
    pub policy: Spanned<String>,
}

/// `[network.REGION]`: the access link of a region, and the addresses of its machines.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Who makes the slices of the link, as in a link file; nobody where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<Spanned<ExecutorSpec>>,
    /// Bridge that machines are attached to; that of the executor unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<Spanned<String>>,
    /// Network from which machines take their addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Spanned<String>>,
    /// Addresses and networks of it that are others'.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<Spanned<String>>,
    /// Its way out, which no machine gets as address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Spanned<String>>,
    /// Network as large, under whose addresses clients reach the machines (1:1 NAT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<Spanned<String>>,
}

/// `[history]`: the demand before the first tick, to learn from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistorySpec {
    /// Counts by time, region and class, as `forebay import` writes them; beside the production file unless absolute.
    pub files: Vec<Spanned<String>>,
    /// Sessions that begin with each that was counted.
    #[serde(default = "one_session")]
    pub sessions_per_count: Spanned<f64>,
}

fn one_session() -> Spanned<f64> {
    unplaced(1.0)
}

/// `[[feed]]`: events that are read again and again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedSpec {
    /// A calendar or a table, beside the production file unless absolute; or …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Spanned<String>>,
    /// … an address of one, or …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Spanned<String>>,
    /// … a file that holds the address, where that is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<Spanned<String>>,
    /// Time from one look to the next.
    #[serde(default = "feed_every")]
    pub every: Spanned<Duration>,
    /// Client regions of events that name none; all unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<Spanned<String>>>,
    /// Classes of events that name none; all unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Spanned<String>>>,
    /// Kind of events that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Spanned<String>>,
    /// How long before its start each event is known; as soon as the feed says it unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_from: Option<Spanned<Duration>>,
    /// IANA time zone of times and days that carry none; UTC unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Spanned<String>>,
}

fn controller_default() -> Spanned<ControllerConfig> {
    unplaced(ControllerConfig::default())
}

fn policy() -> Spanned<String> {
    unplaced("predictive".to_owned())
}

fn feed_every() -> Spanned<Duration> {
    unplaced(Duration::from_mins(15))
}

/// Memory as hypervisors count it.
pub(super) const MEBIBYTE: Bytes = Bytes(1 << 20);
