//! The `[controller.slicing]` section: how links are cut into slices, and what an operator sets about some of them.

use forebay_world::{BitsPerSecond, ClassId, Duration, RegionId, Topology};
use serde::{Deserialize, Serialize};

use super::check::{known, range, refuse, span, whole};
use super::{CellPattern, ConfigError};
use crate::slicing::Dscp;

/// The `[controller.slicing]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlicingConfig {
    /// Factor on observed demand that is guaranteed where the policy gives no quantile, at least 1.
    pub headroom: f64,
    /// Share of a link that guarantees may take together, above 0, at most 1.
    pub reservable_share: f64,
    /// Guarantees move in steps of this share of the link, so that a plan does not change with every breath.
    pub step_share: f64,
    /// The most by which what a slice asks for rises at one tick, as a share of the link; what is carried already is never
    /// held back, and all that is asked for is there when machines that are launched for it can be ready …
    pub max_rise_share: f64,
    /// … and the most by which it falls, a step at least.
    pub max_fall_share: f64,
    /// Ceiling of a slice as a share of its link.
    pub ceiling_share: f64,
    /// Weight of a slice among those of its priority.
    pub weight: u32,
    /// Time for which a slice stands on that no machine and no demand needs.
    pub linger: Duration,
    /// Share of what an objective leaves for waiting that the network may take, above 0, at most 1: see
    /// [`crate::slicing::latency`].
    pub latency_share: f64,
    /// What packets are marked with.
    pub marks: MarksConfig,
    /// What an operator sets for some slices; of each key, the last entry that names a cell and gives the key holds.
    pub fixed: Vec<FixedSlice>,
}

impl Default for SlicingConfig {
    fn default() -> Self {
        SlicingConfig {
            headroom: 1.25,
            reservable_share: 0.9,
            step_share: 0.05,
            max_rise_share: 0.25,
            max_fall_share: 0.1,
            ceiling_share: 1.0,
            weight: 1,
            linger: Duration::from_mins(10),
            latency_share: 0.5,
            marks: MarksConfig::default(),
            fixed: Vec::new(),
        }
    }
}

/// The `[controller.slicing.marks]` section: code points by kind of work, that of the slice that goes first in front, the
/// last one for all that are left; none where a list is empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarksConfig {
    /// For interactive work.
    pub interactive: Vec<Dscp>,
    /// For streaming.
    pub streaming: Vec<Dscp>,
    /// For downloads.
    pub download: Vec<Dscp>,
}

impl Default for MarksConfig {
    fn default() -> Self {
        let af = |class| (1..=3).map(|drop| Dscp::af(class, drop)).collect();
        MarksConfig { interactive: af(2), streaming: af(3), download: af(1) }
    }
}

/// What an operator sets for the slices of some cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedSlice {
    /// Which cells.
    pub cells: CellPattern,
    /// Guaranteed rate; from the policy or what was seen when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<BitsPerSecond>,
    /// Ceiling; the general share of the link when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<BitsPerSecond>,
    /// Weight; the general one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Priority, 0 is first; the class's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Mark of its packets; by kind of work and priority when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dscp: Option<Dscp>,
    /// Delay across the network that its traffic bears at most, one way; from the class's objective when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Duration>,
}

/// What an operator set for the slice of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SliceSettings {
    /// Guaranteed rate \[bit/s\].
    pub guarantee: Option<BitsPerSecond>,
    /// Ceiling \[bit/s\].
    pub ceiling: Option<BitsPerSecond>,
    /// Weight among those of its priority.
    pub weight: Option<u32>,
    /// 0 is first.
    pub priority: Option<u8>,
    /// Mark of its packets.
    pub dscp: Option<Dscp>,
    /// One-way delay at most.
    pub latency: Option<Duration>,
}

impl SlicingConfig {
    /// What the operator set for the slice of one cell.
    pub fn settings(&self, topology: &Topology, region: RegionId, class: ClassId) -> SliceSettings {
        let mut settings = SliceSettings::default();
        for fixed in self.fixed.iter().filter(|fixed| fixed.cells.matches(topology, region, class)) {
            settings = SliceSettings {
                guarantee: fixed.guarantee.or(settings.guarantee),
                ceiling: fixed.ceiling.or(settings.ceiling),
                weight: fixed.weight.or(settings.weight),
                priority: fixed.priority.or(settings.priority),
                dscp: fixed.dscp.or(settings.dscp),
                latency: fixed.latency.or(settings.latency),
            };
        }
        settings
    }

    pub(super) fn check(&self, topology: &Topology) -> Result<(), ConfigError> {
        range("slicing.headroom", self.headroom, 1.0, 100.0)?;
        range("slicing.reservable_share", self.reservable_share, 0.01, 1.0)?;
        range("slicing.step_share", self.step_share, 0.001, 1.0)?;
        range("slicing.max_rise_share", self.max_rise_share, 0.001, 1.0)?;
        range("slicing.max_fall_share", self.max_fall_share, 0.001, 1.0)?;
        range("slicing.ceiling_share", self.ceiling_share, 0.01, 1.0)?;
        range("slicing.latency_share", self.latency_share, 0.01, 1.0)?;
        whole("slicing.weight", self.weight, 1, WEIGHT_MOST)?;
        span("slicing.linger", self.linger, Duration::ZERO, Duration::from_hours(24))?;
        for (i, fixed) in self.fixed.iter().enumerate() {
            let key = |name: &str| format!("slicing.fixed[{i}].{name}");
            known(&key("cells"), &fixed.cells, topology)?;
            whole(&key("weight"), fixed.weight.unwrap_or(1), 1, WEIGHT_MOST)?;
            if fixed.ceiling == Some(BitsPerSecond::ZERO) {
                return Err(refuse(&key("ceiling"), BitsPerSecond::ZERO, "above 0 and at least the guarantee"));
            }
            if fixed.latency.is_some_and(Duration::is_zero) {
                return Err(refuse(&key("latency"), Duration::ZERO, "above 0"));
            }
            if fixed.is_empty() {
                let allowed = "cells with at least one of guarantee, ceiling, weight, priority, dscp, latency";
                return Err(refuse(&key("cells"), &fixed.cells, allowed));
            }
        }
        for region in (0..topology.regions.len()).map(RegionId::at) {
            self.check_region(topology, region)?;
        }
        Ok(())
    }

    /// Whether what was fixed for a region's slices goes together, on its link.
    fn check_region(&self, topology: &Topology, region: RegionId) -> Result<(), ConfigError> {
        let link = &topology.links[topology.region(region).access.index()];
        let mut sum = BitsPerSecond::ZERO;
        for class in (0..topology.classes.len()).map(ClassId::at) {
            let last = |gives: fn(&FixedSlice) -> bool| {
                self.fixed.iter().rposition(|fixed| gives(fixed) && fixed.cells.matches(topology, region, class))
            };
            let settings = self.settings(topology, region, class);
            let (Some(guarantee), Some(at)) = (settings.guarantee, last(|fixed| fixed.guarantee.is_some())) else {
                continue;
            };
            if let (Some(ceiling), Some(at)) = (settings.ceiling, last(|fixed| fixed.ceiling.is_some()))
                && ceiling < guarantee
            {
                let allowed = format!("above 0 and at least the guarantee, {guarantee}");
                return Err(refuse(&format!("slicing.fixed[{at}].ceiling"), ceiling, &allowed));
            }
            sum = BitsPerSecond(sum.0.saturating_add(guarantee.0));
            if sum > link.capacity {
                let allowed =
                    format!("guarantees on link {} of at most {} together; these make {sum}", link.name, link.capacity);
                return Err(refuse(&format!("slicing.fixed[{at}].guarantee"), guarantee, &allowed));
            }
        }
        Ok(())
    }
}

/// More than anybody tells apart.
const WEIGHT_MOST: u32 = 1_000_000;

impl FixedSlice {
    /// Whether it says nothing about the cells that it names.
    fn is_empty(&self) -> bool {
        let FixedSlice { cells: _, guarantee, ceiling, weight, priority, dscp, latency } = self;
        guarantee.is_none()
            && ceiling.is_none()
            && weight.is_none()
            && priority.is_none()
            && dscp.is_none()
            && latency.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world::topology;

    fn config(text: &str) -> SlicingConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn of_each_key_the_last_entry_that_gives_it_holds() {
        let config = config(
            r#"
            [[fixed]]
            cells = "*/video"
            weight = 4
            dscp = "AF41"
            latency = "80 ms"
            [[fixed]]
            cells = "ams/*"
            guarantee = "2 Gbit/s"
            weight = 2
            "#,
        );
        let topology = topology(2);
        let of = |region, class| config.settings(&topology, RegionId(region), ClassId(class));
        let video = SliceSettings {
            weight: Some(4),
            dscp: Some(Dscp::af(4, 1)),
            latency: Some(Duration::from_millis(80)),
            ..SliceSettings::default()
        };
        assert_eq!(of(1, 0), video);
        assert_eq!(of(0, 0), SliceSettings { guarantee: Some(BitsPerSecond(2_000_000_000)), weight: Some(2), ..video });
        assert_eq!(of(1, 1), SliceSettings::default());
    }

    #[test]
    fn what_cannot_be_is_refused_by_key() {
        let cases = [
            ("max_rise_share = 0.0", "slicing.max_rise_share"),
            ("max_fall_share = 1.5", "slicing.max_fall_share"),
            ("latency_share = nan", "slicing.latency_share"),
            ("linger = \"2 d\"", "slicing.linger"),
            ("fixed = [{ cells = \"*\" }]", "slicing.fixed[0].cells"),
            ("fixed = [{ cells = \"*\", ceiling = \"0 bit/s\" }]", "slicing.fixed[0].ceiling"),
            ("fixed = [{ cells = \"*\", latency = \"0 s\" }]", "slicing.fixed[0].latency"),
            (
                "fixed = [{ cells = \"*\", ceiling = \"1 Gbit/s\" }, { cells = \"*\", guarantee = \"2 Gbit/s\" }]",
                "slicing.fixed[0].ceiling",
            ),
            (
                "fixed = [{ cells = \"*\", guarantee = \"1 Gbit/s\" }, { cells = \"ams/web\", guarantee = \"100 Gbit/s\" }]",
                "slicing.fixed[1].guarantee",
            ),
        ];
        for (text, key) in cases {
            assert_eq!(config(text).check(&topology(2)).unwrap_err().key, key, "{text}");
        }
        for text in
            ["marks = { streaming = [\"AF51\"] }", "marks = { video = [] }", "fixed = [{ cells = \"*\", dscp = 64 }]"]
        {
            assert!(toml::from_str::<SlicingConfig>(text).is_err(), "{text}");
        }
        config("marks = { streaming = [] }").check(&topology(1)).unwrap();
    }
}
