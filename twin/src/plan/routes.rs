//! Ways between regions over the backbone, by delay (E. Dijkstra, 1959).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use forebay_world::{Duration, LinkEnds, LinkId, RegionId, Topology};

/// A way from one region to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it ends.
    pub to: RegionId,
    /// One-way delay.
    pub delay: Duration,
    /// Links on it.
    pub links: Vec<LinkId>,
}

/// The quickest ways from `home` to every other region that can be reached, the quickest first.
pub fn routes(topology: &Topology, home: RegionId) -> Vec<Route> {
    let regions = topology.regions.len();
    let mut joined: Vec<Vec<(usize, LinkId)>> = vec![Vec::new(); regions];
    for (index, link) in topology.links.iter().enumerate() {
        if let LinkEnds::Between(a, b) = link.ends {
            joined[a.index()].push((b.index(), LinkId::at(index)));
            joined[b.index()].push((a.index(), LinkId::at(index)));
        }
    }
    let mut best: Vec<Option<(Duration, Option<(usize, LinkId)>)>> = vec![None; regions];
    let mut open = BinaryHeap::from([Reverse((Duration::ZERO, home.index()))]);
    best[home.index()] = Some((Duration::ZERO, None));
    while let Some(Reverse((delay, at))) = open.pop() {
        if best[at].is_some_and(|(known, _)| known < delay) {
            continue;
        }
        for (next, link) in &joined[at] {
            let there = delay.saturating_add(topology.links[link.index()].delay);
            if best[*next].is_none_or(|(known, _)| there < known) {
                best[*next] = Some((there, Some((at, *link))));
                open.push(Reverse((there, *next)));
            }
        }
    }
    let mut routes: Vec<Route> = (0..regions)
        .filter(|region| *region != home.index())
        .filter_map(|region| {
            let (delay, mut way) = best[region]?;
            let mut links = Vec::new();
            while let Some((before, link)) = way {
                links.push(link);
                way = best[before].and_then(|(_, way)| way);
            }
            links.reverse();
            Some(Route { to: RegionId::at(region), delay, links })
        })
        .collect();
    routes.sort_by_key(|route| (route.delay, route.to));
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world;
    use forebay_world::{BitsPerSecond, Link};

    #[test]
    fn the_quickest_way_may_lead_through_another_region() {
        let mut topology = small_world::topology(4);
        let mut lay = |a: usize, b: usize, millis| {
            topology.links.push(Link {
                name: format!("{a}-{b}"),
                ends: LinkEnds::Between(RegionId::at(a), RegionId::at(b)),
                capacity: BitsPerSecond(1),
                delay: Duration::from_millis(millis),
            });
        };
        lay(0, 1, 50);
        lay(0, 2, 20);
        lay(2, 1, 10);
        let found = routes(&topology, RegionId(0));
        let shown: Vec<(u16, u64, usize)> =
            found.iter().map(|route| (route.to.0, route.delay.as_nanos() / 1_000_000, route.links.len())).collect();
        assert_eq!(shown, [(2, 20, 1), (1, 30, 2)], "fra cannot be reached");
        assert_eq!(found[1].links, [LinkId(5), LinkId(6)]);
    }
}
