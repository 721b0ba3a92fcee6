//! Links between regions: those that are named, and the mesh.

use forebay_world::{BitsPerSecond, Duration, Link, LinkEnds, Region, RegionId, Topology};

use super::require_capacity;
use crate::scenario::finding::Findings;
use crate::scenario::names::Names;
use crate::scenario::spec::SiteSpec;

/// Links between regions: those named, then the mesh for all other pairs.
pub(super) fn check_between(
    spec: &SiteSpec<'_>,
    regions: &Names,
    topology: &mut Topology,
    links: &mut Names,
    findings: &mut Findings,
) {
    let mut joined = std::collections::BTreeSet::new();
    for link in spec.link {
        let place = link.span();
        let link = link.get_ref();
        let (a, b) = link.between.get_ref();
        let (Some(from), Some(to)) = (regions.find(a, findings), regions.find(b, findings)) else { continue };
        if from == to {
            findings.add(
                link.between.span(),
                format!("a link joins \"{}\" with itself", a.get_ref()),
                "two different regions are needed",
                "a region's own link is its `access`",
            );
            continue;
        }
        require_capacity(&link.capacity, findings);
        if !joined.insert((from.min(to), from.max(to))) {
            findings.add(
                place,
                format!("\"{}\" and \"{}\" are joined twice", a.get_ref(), b.get_ref()),
                "one link for each pair",
                "add the capacities up in one link",
            );
            continue;
        }
        let delay = link.delay.unwrap_or_else(|| fibre_delay(&topology.regions[from], &topology.regions[to]));
        let name = format!("{}-{}", a.get_ref(), b.get_ref());
        push_between((from, to), name, *link.capacity.get_ref(), delay, topology, links);
    }
    let Some(mesh) = spec.mesh else { return };
    require_capacity(&mesh.capacity, findings);
    if topology.regions.len() != regions.listed().len()
        || topology.regions.iter().any(|r| !r.lat.is_finite() || !r.lon.is_finite())
    {
        return;
    }
    let neighbours = mesh.neighbours.as_ref().map(|neighbours| *neighbours.get_ref() as usize);
    for (from, to) in mesh_pairs(&topology.regions, neighbours) {
        if joined.insert((from, to)) {
            if topology.links.len() >= usize::from(u16::MAX) {
                findings.add(
                    mesh.capacity.span(),
                    "the mesh has more than 65535 links".to_owned(),
                    "",
                    "give `neighbours = 3` to join only near regions",
                );
                return;
            }
            let delay = fibre_delay(&topology.regions[from], &topology.regions[to]);
            let name = format!("{}-{}", topology.regions[from].name, topology.regions[to].name);
            push_between((from, to), name, *mesh.capacity.get_ref(), delay, topology, links);
        }
    }
}

fn push_between(
    (from, to): (usize, usize),
    name: String,
    capacity: BitsPerSecond,
    delay: Duration,
    topology: &mut Topology,
    links: &mut Names,
) {
    links.push_made(name.clone());
    let ends = LinkEnds::Between(RegionId::at(from), RegionId::at(to));
    topology.links.push(Link { name, ends, capacity, delay });
}

/// Pairs of regions that a mesh joins, each (lower, higher): every pair, or each region with its nearest and what a
/// minimum spanning tree (R. Prim, 1957) adds so that all are joined.
fn mesh_pairs(regions: &[Region], neighbours: Option<usize>) -> Vec<(usize, usize)> {
    let all = (0..regions.len()).flat_map(|a| (a + 1..regions.len()).map(move |b| (a, b)));
    let Some(neighbours) = neighbours else { return all.collect() };
    let mut pairs = std::collections::BTreeSet::new();
    for from in 0..regions.len() {
        let mut others: Vec<usize> = (0..regions.len()).filter(|to| *to != from).collect();
        others.sort_by(|a, b| {
            distance_km(&regions[from], &regions[*a]).total_cmp(&distance_km(&regions[from], &regions[*b]))
        });
        pairs.extend(others.into_iter().take(neighbours).map(|to| (from.min(to), from.max(to))));
    }
    let mut joined = vec![0usize];
    while joined.len() < regions.len() {
        let nearest = joined
            .iter()
            .flat_map(|from| (0..regions.len()).filter(|to| !joined.contains(to)).map(move |to| (*from, to)))
            .min_by(|(a, b), (c, d)| {
                distance_km(&regions[*a], &regions[*b]).total_cmp(&distance_km(&regions[*c], &regions[*d]))
            });
        let Some((from, to)) = nearest else { break };
        pairs.insert((from.min(to), from.max(to)));
        joined.push(to);
    }
    pairs.into_iter().collect()
}

/// Great-circle distance \[km\] by the haversine formula on a sphere of 6,371 km.
fn distance_km(a: &Region, b: &Region) -> f64 {
    let (lat_a, lat_b) = (a.lat.to_radians(), b.lat.to_radians());
    let half_lat = ((lat_b - lat_a) / 2.0).sin();
    let half_lon = ((b.lon - a.lon).to_radians() / 2.0).sin();
    let h = half_lat * half_lat + lat_a.cos() * lat_b.cos() * half_lon * half_lon;
    2.0 * 6371.0 * h.sqrt().min(1.0).asin()
}

/// Light in fibre goes two thirds of its speed in vacuum: 200 km a millisecond. Rounded to 10 µs, at least that.
fn fibre_delay(a: &Region, b: &Region) -> Duration {
    let steps = (distance_km(a, b) / 2.0).round().max(1.0);
    Duration::from_nanos(steps as u64 * 10_000)
}
