//! Slices in the words of RFC 9543, for those who know them by these: each is a *network slice service* between *service
//! demarcation points* (SDPs), joined by a *connectivity construct*, with *service level objectives* (SLOs, which are
//! measured) and *service level expectations* (SLEs, which are not). [`ietf`] writes them as the IETF's data model does.
//!
//! A slice of Forebay is one service with one construct, point to multipoint: from the region's machines of a class to the
//! clients of every region that they serve. Its objectives are the guaranteed bandwidth and the latency bound, one way;
//! its expectation is that traffic of others is kept apart. Nothing is decided here.

pub mod ietf;

use std::collections::BTreeMap;

use forebay_world::{BitsPerSecond, Duration, PlannedSlice, RegionId, SliceId, Steering, Topology};

use super::Dscp;

/// One network slice service.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceService {
    /// Unique name: `ams-video`.
    pub id: String,
    /// The slice it is.
    pub slice: SliceId,
    /// What it is for, in words.
    pub description: String,
    /// What is promised and measured.
    pub objectives: Objectives,
    /// What is promised and cannot be measured from outside.
    pub expectations: Vec<Expectation>,
    /// Where it begins: machines send, clients receive.
    pub sender: DemarcationPoint,
    /// Where it ends.
    pub receivers: Vec<DemarcationPoint>,
    /// Rate that it cannot exceed \[bit/s\]: a limit of the sender's, no objective.
    pub ceiling: BitsPerSecond,
    /// The mark by which its traffic is known; `None` where packets are not marked.
    pub mark: Option<Dscp>,
    /// Who gets what is left over first: 0 is first. The RFC has no word for it.
    pub priority: u8,
    /// Share of what is left over against others of its priority. The RFC has no word for it.
    pub weight: u32,
}

/// Service level objectives (RFC 9543, sec. 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objectives {
    /// Guaranteed minimum bandwidth, one way \[bit/s\]; zero promises none.
    pub bandwidth: BitsPerSecond,
    /// Guaranteed maximum latency, one way.
    pub latency: Option<Duration>,
}

/// A service level expectation (RFC 9543, sec. 5.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// What others send does not take what is guaranteed: isolation of traffic.
    TrafficIsolation,
}

/// A service demarcation point (RFC 9543, sec. 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemarcationPoint {
    /// Unique name.
    pub id: String,
    /// The region it is in, by name: the node it belongs to.
    pub node: String,
    /// What is behind it, in words.
    pub description: String,
}

/// The services that slices are, by ascending id. Clients are those whom `steering` sends.
pub fn services(
    slices: &BTreeMap<SliceId, PlannedSlice>,
    steering: &Steering,
    topology: &Topology,
) -> Vec<SliceService> {
    slices
        .iter()
        .filter(|(id, _)| id.index() < topology.cells())
        .map(|(&id, slice)| service(id, slice, steering, topology))
        .collect()
}

fn service(id: SliceId, slice: &PlannedSlice, steering: &Steering, topology: &Topology) -> SliceService {
    let (region, class) = topology.cell_at(id.index());
    let (home, class_name) = (&topology.region(region).name, &topology.class(class).name);
    let name = format!("{home}-{class_name}");
    let link = &topology.links[topology.region(region).access.index()].name;
    let served = (0..topology.regions.len()).map(RegionId::at).filter(|client| {
        // A service has a receiver even while nobody is sent there.
        *client == region || steering.share(topology.cell(*client, class), *client, region) > 0.0
    });
    let receivers = served
        .map(|client| {
            let node = topology.region(client).name.clone();
            DemarcationPoint {
                id: format!("{name}-to-{node}"),
                description: format!("clients of {class_name} in {node}"),
                node,
            }
        })
        .collect();
    SliceService {
        slice: id,
        description: format!("{class_name} of {home}, on link {link}"),
        objectives: Objectives { bandwidth: slice.guarantee, latency: slice.latency },
        expectations: vec![Expectation::TrafficIsolation],
        sender: DemarcationPoint {
            id: format!("{name}-machines"),
            node: home.clone(),
            description: format!("machines of {class_name} in {home}"),
        },
        receivers,
        ceiling: slice.ceiling,
        mark: Dscp::from_number(slice.dscp).filter(|mark| mark.number() != 0),
        priority: slice.priority,
        weight: slice.weight,
        id: name,
    }
}
