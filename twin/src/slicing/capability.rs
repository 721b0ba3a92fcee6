//! Whether a plan's slices can be had from who will execute them: [`Capabilities`], link by link.

use std::collections::BTreeMap;

use forebay_world::{Capabilities, PlannedSlice, Refusal, SliceId, Topology};

/// Slices that cannot be had, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} on link {link}: {refusal}")]
pub struct Unfit {
    /// The slice, as people name it: region and class.
    pub name: String,
    /// The link by name.
    pub link: String,
    /// What it asks for that cannot be had.
    #[source]
    pub refusal: Refusal,
}

/// Whether an executor can express all slices of a plan, each link by itself.
///
/// # Errors
/// [`Unfit`] names the first slice that asks for too much, links taken in the order of the topology.
pub fn express(
    slices: &BTreeMap<SliceId, PlannedSlice>,
    topology: &Topology,
    capabilities: &Capabilities,
) -> Result<(), Unfit> {
    let mut of_link: Vec<BTreeMap<SliceId, PlannedSlice>> = vec![BTreeMap::new(); topology.links.len()];
    for (&id, &slice) in slices.iter().filter(|(id, _)| id.index() < topology.cells()) {
        let region = topology.cell_at(id.index()).0;
        of_link[topology.region(region).access.index()].insert(id, slice);
    }
    for (link, slices) in topology.links.iter().zip(&of_link) {
        capabilities.express(slices, link.capacity).map_err(|refusal| {
            let (region, class) = topology.cell_at(refusal.slice().index());
            let name = format!("{}/{}", topology.region(region).name, topology.class(class).name);
            Unfit { name, link: link.name.clone(), refusal }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world::topology;
    use forebay_world::BitsPerSecond;

    #[test]
    fn each_link_is_asked_by_itself_and_the_slice_is_named() {
        let topology = topology(2);
        let plain = PlannedSlice {
            guarantee: BitsPerSecond(60_000_000_000),
            ceiling: BitsPerSecond(100_000_000_000),
            weight: 1,
            priority: 0,
            dscp: 0,
            latency: None,
        };
        // One slice on each link: 60 of 100 Gbit/s each.
        let mut slices: BTreeMap<SliceId, PlannedSlice> = [(SliceId(0), plain), (SliceId(2), plain)].into();
        assert_eq!(express(&slices, &topology, &Capabilities::ALL), Ok(()));
        slices.insert(SliceId(3), PlannedSlice { dscp: 18, guarantee: BitsPerSecond(1), ..plain });
        assert_eq!(express(&slices, &topology, &Capabilities::ALL), Ok(()));
        let unmarked = Capabilities { dscp: false, ..Capabilities::ALL };
        let says = express(&slices, &topology, &unmarked).unwrap_err().to_string();
        assert_eq!(says, "iad/web on link iad-access: slice 3 asks for DSCP 18, and the executor cannot mark packets");
    }
}
