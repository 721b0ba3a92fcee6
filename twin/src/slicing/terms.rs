//! What stands still about a slice: its link, ceiling, weight, priority, mark, latency bound and price.

use forebay_world::{BitsPerSecond, ClassId, Duration, LinkId, PlannedSlice, RegionId, Topology};

use super::{Dscp, dscp, latency};
use crate::controller::config::SlicingConfig;

/// A normal quantile: nine in ten boots take longer than that.
const SOONEST_Z: f64 = -1.28;

/// What stands still about the slice of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    /// Where.
    pub region: RegionId,
    /// For what.
    pub class: ClassId,
    /// The link it is cut from.
    pub link: LinkId,
    /// What the operator guarantees it \[bit/s\]; `None` where a policy says.
    pub fixed: Option<BitsPerSecond>,
    /// What it can take at most \[bit/s\].
    pub ceiling: BitsPerSecond,
    /// Among those of its priority.
    pub weight: u32,
    /// 0 is first.
    pub priority: u8,
    /// Mark of its packets.
    pub dscp: Dscp,
    /// One-way delay that it bears.
    pub latency: Option<Duration>,
    /// What a violated minute costs \[currency unit / min\].
    pub price: f64,
    /// Time within which nine in ten of its machines are not ready yet.
    pub boot: Duration,
}

impl Terms {
    /// The terms of every cell, dense.
    pub(super) fn of(config: &SlicingConfig, topology: &Topology) -> Vec<Terms> {
        let mut terms: Vec<Terms> =
            topology.cell_ids().map(|(region, class)| Terms::of_cell(config, topology, region, class)).collect();
        for cell in 0..terms.len() {
            let Terms { region, class, link, priority, .. } = terms[cell];
            let work = &topology.class(class).work;
            let alike = |other: &&Terms| {
                other.link == link
                    && std::mem::discriminant(&topology.class(other.class).work) == std::mem::discriminant(work)
            };
            // Priorities ahead, not slices: who goes first together is dropped together.
            let mut ahead: Vec<u8> =
                terms.iter().filter(alike).map(|other| other.priority).filter(|other| *other < priority).collect();
            ahead.sort_unstable();
            ahead.dedup();
            let by_kind = dscp::mark(&config.marks, work, ahead.len());
            terms[cell].dscp = config.settings(topology, region, class).dscp.unwrap_or(by_kind);
        }
        terms
    }

    fn of_cell(config: &SlicingConfig, topology: &Topology, region: RegionId, class: ClassId) -> Terms {
        let settings = config.settings(topology, region, class);
        let link = topology.region(region).access;
        let kind = topology.class(class);
        let share = BitsPerSecond::from_f64(topology.links[link.index()].capacity.as_f64() * config.ceiling_share);
        Terms {
            region,
            class,
            link,
            fixed: settings.guarantee,
            ceiling: settings.ceiling.unwrap_or(share).max(settings.guarantee.unwrap_or_default()),
            weight: settings.weight.unwrap_or(config.weight),
            priority: settings.priority.unwrap_or(kind.priority),
            dscp: Dscp::default(),
            latency: settings.latency.or_else(|| latency::bound(kind, config.latency_share)),
            price: kind.violation_price_per_minute,
            boot: topology.flavour_of(class).time_to_ready(SOONEST_Z),
        }
    }

    /// The slice with a guarantee.
    pub(super) fn slice(&self, guarantee: BitsPerSecond) -> PlannedSlice {
        PlannedSlice {
            guarantee,
            ceiling: self.ceiling,
            weight: self.weight,
            priority: self.priority,
            dscp: self.dscp.number(),
            latency: self.latency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world::topology;

    fn terms(text: &str) -> Vec<Terms> {
        Terms::of(&toml::from_str(text).unwrap(), &topology(2))
    }

    #[test]
    fn terms_follow_the_class_unless_the_operator_says_otherwise() {
        let plain = terms("");
        // Video, then web.
        assert_eq!(plain[..2].iter().map(|t| t.dscp.to_string()).collect::<Vec<_>>(), ["AF31", "AF21"]);
        assert_eq!((plain[0].priority, plain[1].priority, plain[0].weight), (1, 0, 1));
        assert_eq!(plain[0].boot, Duration::from_secs(180));
        let set = terms(
            "[[fixed]]\ncells = \"ams/video\"\nceiling = \"30 Gbit/s\"\nweight = 7\npriority = 5\ndscp = \"EF\"\nlatency = \"9 ms\"",
        );
        let video = set[0].slice(BitsPerSecond(1));
        assert_eq!((video.ceiling.0, video.weight, video.priority, video.dscp), (30_000_000_000, 7, 5, 46));
        assert_eq!((video.latency, set[0].fixed), (Some(Duration::from_millis(9)), None));
        assert_eq!(set[1..], plain[1..]);
    }

    #[test]
    fn within_a_kind_who_goes_first_is_dropped_last() {
        let mut topology = topology(1);
        let mut second = topology.classes[0].clone();
        second.priority = 3;
        let third = forebay_world::ResourceClass { priority: 9, ..second.clone() };
        topology.classes.extend([second.clone(), second, third]);
        let names: Vec<String> =
            Terms::of(&SlicingConfig::default(), &topology).iter().map(|terms| terms.dscp.to_string()).collect();
        assert_eq!(names, ["AF31", "AF21", "AF32", "AF32", "AF33"]);
    }
}
