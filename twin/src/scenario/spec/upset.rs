//! `[[fault]]` and `[hazards]`.

use forebay_world::Duration;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::When;

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
