//! The way from a region's machines to another region's clients: the links on the path of least delay.

use forebay_world::{LinkEnds, LinkId, RegionId, Topology};

/// Links and delay from every serving region to every client region.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    regions: usize,
    /// (one-way delay [s], links after the serving region's access link), dense serving × client; `None` when cut off.
    ways: Vec<Option<(f64, Vec<LinkId>)>>,
}

impl Routes {
    /// Shortest paths by delay over the links that are not cut (Floyd–Warshall over a handful of regions; ties go to
    /// the path found first, in the order of the topology's lists).
    pub(crate) fn new(topology: &Topology, cut: impl Fn(LinkId) -> bool) -> Self {
        let regions = topology.regions.len();
        let mut ways: Vec<Option<(f64, Vec<LinkId>)>> = vec![None; regions * regions];
        for region in 0..regions {
            ways[region * regions + region] = Some((0.0, Vec::new()));
        }
        for (index, link) in topology.links.iter().enumerate() {
            let id = LinkId::at(index);
            if let LinkEnds::Between(a, b) = link.ends
                && !cut(id)
            {
                let delay = link.delay.as_secs_f64();
                for (from, to) in [(a, b), (b, a)] {
                    let way = &mut ways[from.index() * regions + to.index()];
                    if way.as_ref().is_none_or(|(known, _)| delay < *known) {
                        *way = Some((delay, vec![id]));
                    }
                }
            }
        }
        for via in 0..regions {
            for from in 0..regions {
                for to in 0..regions {
                    let (Some((first, head)), Some((second, tail))) =
                        (&ways[from * regions + via], &ways[via * regions + to])
                    else {
                        continue;
                    };
                    let delay = first + second;
                    let shorter = ways[from * regions + to].as_ref().is_none_or(|(known, _)| delay < *known);
                    // A path of more links than a flow can name is no way at all.
                    if shorter && head.len() + tail.len() <= MAX_BACKBONE_LINKS {
                        let links = head.iter().chain(tail).copied().collect();
                        ways[from * regions + to] = Some((delay, links));
                    }
                }
            }
        }
        Routes { regions, ways }
    }

    /// Backbone links and their delay [s] from `server` to clients of `client`; `None` when there is no way.
    pub(crate) fn way(&self, server: RegionId, client: RegionId) -> Option<(f64, &[LinkId])> {
        self.ways[server.index() * self.regions + client.index()].as_ref().map(|(delay, links)| (*delay, &links[..]))
    }
}

/// A flow's path has six links at most: its machine's, its region's access link and these.
const MAX_BACKBONE_LINKS: usize = 4;
