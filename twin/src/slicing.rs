//! Slices: what each serving region × class is guaranteed on its region's access link, and what it may take at most.
//!
//! A guarantee is the quantile of demand that the policy sized for, or what was seen with headroom, or what the
//! operator fixed. Guarantees of a link are admitted together: those that go first in full, those that are left share
//! in proportion. They move in steps, up at once and down only by two, so that a plan does not change with every
//! breath of demand. What a link can carry now bounds it, when that was seen.

use std::collections::BTreeMap;

use forebay_world::{BitsPerSecond, Observation, PlannedSlice, SliceId, Topology};

use crate::controller::config::SlicingConfig;

/// Cuts links into slices.
#[derive(Clone, Debug)]
pub struct Slicing {
    config: SlicingConfig,
    /// What the operator fixed for each cell, by position in the configuration.
    fixed: Vec<Option<usize>>,
    /// Cells on each link, those that go first in front.
    by_link: Vec<Vec<usize>>,
    /// Kept to spare allocation.
    wanted: Vec<PlannedSlice>,
}

impl Slicing {
    /// Slices for a topology.
    pub fn new(config: &SlicingConfig, topology: &Topology) -> Self {
        let mut by_link = vec![Vec::new(); topology.links.len()];
        for (cell, (region, _)) in topology.cell_ids().enumerate() {
            by_link[topology.region(region).access.index()].push(cell);
        }
        let fixed: Vec<Option<usize>> = topology
            .cell_ids()
            .map(|(region, class)| config.fixed.iter().rposition(|fixed| fixed.cells.matches(topology, region, class)))
            .collect();
        let priority = |cell: usize| {
            let class = topology.cell_at(cell).1;
            fixed[cell].and_then(|i: usize| config.fixed[i].priority).unwrap_or(topology.class(class).priority)
        };
        by_link.iter_mut().for_each(|cells| cells.sort_by_key(|cell| priority(*cell)));
        let wanted = topology
            .cell_ids()
            .enumerate()
            .map(|(cell, _)| PlannedSlice {
                guarantee: BitsPerSecond::ZERO,
                ceiling: BitsPerSecond::ZERO,
                weight: fixed[cell].and_then(|i| config.fixed[i].weight).unwrap_or(config.weight),
                priority: priority(cell),
                dscp: 0,
                latency: None,
            })
            .collect();
        Slicing { config: config.clone(), fixed, by_link, wanted }
    }

    /// The slices that shall stand, if they differ from `current`. `demand` is what each cell's guarantee should
    /// cover, dense; `None` keeps what stands.
    pub fn slice(
        &mut self,
        current: &BTreeMap<SliceId, PlannedSlice>,
        seen: &Observation,
        demand: &[Option<BitsPerSecond>],
        topology: &Topology,
    ) -> Option<BTreeMap<SliceId, PlannedSlice>> {
        for (link, cells) in self.by_link.iter().enumerate().filter(|(_, cells)| !cells.is_empty()) {
            let nominal = topology.links[link].capacity;
            let now = seen.links.get(link).copied().flatten().map_or(nominal, |used| used.capacity);
            // A cut link carries no guarantee whatever the plan says; leave the plan alone until it is back.
            let capacity = if now == BitsPerSecond::ZERO { nominal } else { now.min(nominal) };
            let step = (nominal.as_f64() * self.config.step_share).max(1.0);
            for &cell in cells {
                let wanted = &mut self.wanted[cell];
                let share = BitsPerSecond::from_f64(nominal.as_f64() * self.config.ceiling_share);
                if let Some(fixed) = self.fixed[cell].map(|i| &self.config.fixed[i]) {
                    wanted.ceiling = fixed.ceiling.unwrap_or(share).max(fixed.guarantee);
                    wanted.guarantee = fixed.guarantee;
                    continue;
                }
                let stands = current.get(&SliceId::at(cell)).map_or(BitsPerSecond::ZERO, |slice| slice.guarantee);
                wanted.guarantee = match demand[cell] {
                    None => stands,
                    Some(demand) => in_steps(stands, demand.min(share), step),
                };
                wanted.ceiling = share;
            }
            let reservable = BitsPerSecond::from_f64(capacity.as_f64() * self.config.reservable_share);
            admit(&mut self.wanted, &self.fixed, cells, reservable, capacity);
        }
        let same = current.len() == self.wanted.len()
            && current
                .iter()
                .zip(&self.wanted)
                .enumerate()
                .all(|(cell, ((id, stands), wanted))| id.index() == cell && stands == wanted);
        (!same).then(|| self.wanted.iter().enumerate().map(|(cell, slice)| (SliceId::at(cell), *slice)).collect())
    }
}

/// Lowers the guarantees of a link's cells until they fit together: into `reservable`, or into `capacity` as far as the
/// operator fixed more.
fn admit(
    wanted: &mut [PlannedSlice],
    fixed: &[Option<usize>],
    cells: &[usize],
    reservable: BitsPerSecond,
    capacity: BitsPerSecond,
) {
    let set: BitsPerSecond =
        cells.iter().filter(|cell| fixed[**cell].is_some()).map(|cell| wanted[*cell].guarantee).sum();
    let mut left = reservable.max(set).min(capacity);
    let priorities: Vec<u8> = wanted.iter().map(|slice| slice.priority).collect();
    for cells in cells.chunk_by(|a, b| priorities[*a] == priorities[*b]) {
        let asked: BitsPerSecond = cells.iter().map(|cell| wanted[*cell].guarantee).sum();
        let scale = if asked > left { left.as_f64() / asked.as_f64() } else { 1.0 };
        for &cell in cells {
            let guarantee = &mut wanted[cell].guarantee;
            if scale < 1.0 {
                *guarantee = BitsPerSecond((guarantee.as_f64() * scale) as u64).min(left);
            }
            left = left.saturating_sub(*guarantee);
        }
    }
}

/// The guarantee for `demand` in whole steps: up as soon as it is needed, down once two steps are idle.
fn in_steps(stands: BitsPerSecond, demand: BitsPerSecond, step: f64) -> BitsPerSecond {
    let needed = BitsPerSecond::from_f64((demand.as_f64() / step).ceil() * step);
    let idle = stands.as_f64() - needed.as_f64();
    if needed > stands || idle > 1.5 * step { needed } else { stands }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world::{quiet, topology};
    use forebay_world::{LinkId, LinkUse, Timestamp};
    use proptest::prelude::*;

    const GBIT: u64 = 1_000_000_000;

    fn guarantees(slices: &BTreeMap<SliceId, PlannedSlice>) -> Vec<u64> {
        slices.values().map(|slice| slice.guarantee.0 / GBIT).collect()
    }

    #[test]
    fn guarantees_follow_demand_in_steps_and_do_not_breathe() {
        let topology = topology(1);
        let seen = quiet(&topology, Timestamp::EPOCH);
        let mut slicing = Slicing::new(&SlicingConfig::default(), &topology);
        let gbit = |video: u64, web: u64| [Some(BitsPerSecond(video * GBIT)), Some(BitsPerSecond(web * GBIT))];
        let first = slicing.slice(&BTreeMap::new(), &seen, &gbit(12, 3), &topology).unwrap();
        assert_eq!(guarantees(&first), [15, 5]);
        assert_eq!(slicing.slice(&first, &seen, &gbit(14, 1), &topology), None);
        assert_eq!(slicing.slice(&first, &seen, &gbit(8, 0), &topology), None, "one idle step is kept");
        assert_eq!(guarantees(&slicing.slice(&first, &seen, &gbit(4, 3), &topology).unwrap()), [5, 5]);
        assert_eq!(slicing.slice(&first, &seen, &[None, None], &topology), None);
    }

    #[test]
    fn the_class_that_goes_first_is_admitted_first() {
        let topology = topology(1);
        let mut seen = quiet(&topology, Timestamp::EPOCH);
        let mut slicing = Slicing::new(&SlicingConfig::default(), &topology);
        let both = [Some(BitsPerSecond(80 * GBIT)), Some(BitsPerSecond(60 * GBIT))];
        // 90 of 100 Gbit/s can be reserved; web goes before video.
        let slices = slicing.slice(&BTreeMap::new(), &seen, &both, &topology).unwrap();
        assert_eq!(guarantees(&slices), [30, 60]);
        let used = BitsPerSecond::ZERO;
        seen.links[0] = Some(LinkUse { link: LinkId(0), capacity: BitsPerSecond(50 * GBIT), used });
        let slices = slicing.slice(&slices, &seen, &both, &topology).unwrap();
        assert_eq!(guarantees(&slices), [0, 45], "a degraded link guarantees no more than it has");
    }

    #[test]
    fn what_the_operator_fixed_stands() {
        let topology = topology(1);
        let config: SlicingConfig = toml::from_str(
            "fixed = [{ cells = \"ams/video\", guarantee = \"20 Gbit/s\", ceiling = \"30 Gbit/s\", weight = 7 }]",
        )
        .unwrap();
        let mut slicing = Slicing::new(&config, &topology);
        let seen = quiet(&topology, Timestamp::EPOCH);
        let slices = slicing.slice(&BTreeMap::new(), &seen, &[Some(BitsPerSecond(GBIT)); 2], &topology).unwrap();
        let video = slices[&SliceId(0)];
        assert_eq!((video.guarantee.0, video.ceiling.0, video.weight), (20 * GBIT, 30 * GBIT, 7));
    }

    proptest! {
        #[test]
        fn guarantees_always_fit_their_link(
            rounds in prop::collection::vec((prop::collection::vec(prop::option::of(0u64..300), 4), 0u64..101), 1..20),
        ) {
            let topology = topology(2);
            let mut slicing = Slicing::new(&SlicingConfig::default(), &topology);
            let mut slices = BTreeMap::new();
            for (demand, capacity) in rounds {
                let mut seen = quiet(&topology, Timestamp::EPOCH);
                let (link, used) = (LinkId(0), BitsPerSecond::ZERO);
                seen.links[0] = Some(LinkUse { link, capacity: BitsPerSecond(capacity * GBIT), used });
                let demand: Vec<_> = demand.iter().map(|gbit| gbit.map(|gbit| BitsPerSecond(gbit * GBIT))).collect();
                if let Some(next) = slicing.slice(&slices, &seen, &demand, &topology) {
                    prop_assert_ne!(&next, &slices);
                    slices = next;
                }
                let sum = |cells: [u32; 2]| cells.iter().map(|id| slices[&SliceId(*id)].guarantee.0).sum::<u64>();
                let left = if capacity == 0 { 100 } else { capacity };
                prop_assert!(sum([0, 1]) <= left * GBIT * 9 / 10);
                prop_assert!(sum([2, 3]) <= 90 * GBIT);
                prop_assert!(slices.values().all(|slice| slice.guarantee <= slice.ceiling));
            }
        }
    }
}
