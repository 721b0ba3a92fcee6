//! `[load.CLASS]`, `[[crowd]]`, `[[event]]`, `[dns]` and `[content]`.

use std::collections::BTreeMap;

use forebay_world::Duration;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Shape, When, unplaced, zero};

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

fn noise_step() -> Spanned<Duration> {
    unplaced(Duration::from_mins(5))
}
