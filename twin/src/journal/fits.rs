//! Whether what a file says can be: ids in range, lists of the right length, numbers that are numbers.
//!
//! The controller indexes by what it is given; what comes from a file is looked at first.

use forebay_world::{BitsPerSecond, LinkEnds, Observation, Plan, Topology};

/// More than any link carries; sums over a link's slices stay far from overflow.
const CAPACITY_MAX: BitsPerSecond = BitsPerSecond(1_000_000_000_000_000);
/// Ids and generations are counted from 0 by ones; this many are never reached.
const COUNT_MAX: u64 = 1 << 62;

/// Says what is wrong with a topology, if anything.
pub(super) fn topology(topology: &Topology) -> Result<(), String> {
    let (regions, links) = (topology.regions.len(), topology.links.len());
    if regions == 0 || topology.classes.is_empty() || topology.flavours.is_empty() {
        return Err("a topology has at least one region, one class and one flavour".to_owned());
    }
    let counts = [
        ("regions", regions, usize::from(u16::MAX)),
        ("links", links, usize::from(u16::MAX)),
        ("classes", topology.classes.len(), usize::from(u8::MAX)),
        ("flavours", topology.flavours.len(), usize::from(u8::MAX)),
        ("hosts", topology.hosts.len(), u32::MAX as usize),
    ];
    for (what, count, most) in counts {
        if count > most {
            return Err(format!("{count} {what}: at most {most} can be counted"));
        }
    }
    for region in &topology.regions {
        if region.access.index() >= links {
            return Err(format!("region {}: there is no link {}", region.name, region.access));
        }
        if !(region.lat.is_finite() && region.lon.is_finite()) {
            return Err(format!("region {}: its place is undefined", region.name));
        }
    }
    if let Some(host) = topology.hosts.iter().find(|host| host.region.index() >= regions) {
        return Err(format!("host {}: there is no region {}", host.name, host.region));
    }
    if let Some(link) = topology.links.iter().find(|link| link.capacity > CAPACITY_MAX) {
        return Err(format!("link {}: {} is above {CAPACITY_MAX}", link.name, link.capacity));
    }
    for link in &topology.links {
        let known = match link.ends {
            LinkEnds::Access(region) => region.index() < regions,
            LinkEnds::Between(a, b) => a.index() < regions && b.index() < regions,
        };
        if !known {
            return Err(format!("link {}: it ends in a region that is not there", link.name));
        }
    }
    let price = |price: f64| price.is_finite() && price >= 0.0;
    for class in &topology.classes {
        if class.flavour.index() >= topology.flavours.len() {
            return Err(format!("class {}: there is no flavour {}", class.name, class.flavour));
        }
        if !price(class.violation_price_per_minute) || !(0.0..=1.0).contains(&class.slo.tolerance) {
            return Err(format!("class {}: price or tolerance out of range", class.name));
        }
    }
    let serves = |class: &usize| topology.sessions_per_vm(forebay_world::ClassId::at(*class)) > 0.0;
    if let Some(class) = (0..topology.classes.len()).find(|class| !serves(class)) {
        return Err(format!("class {}: its machines serve no session", topology.classes[class].name));
    }
    match topology.flavours.iter().find(|flavour| !price(flavour.price_per_hour) || !flavour.boot_sigma.is_finite()) {
        Some(flavour) => Err(format!("flavour {}: price or boot time out of range", flavour.name)),
        None => Ok(()),
    }
}

/// Says what of a plan does not fit a topology, if anything.
pub(super) fn plan(plan: &Plan, topology: &Topology) -> Result<(), String> {
    let (regions, classes) = (topology.regions.len(), topology.classes.len());
    for (id, vm) in &plan.vms {
        let known = vm.region.index() < regions
            && vm.class.index() < classes
            && vm.host.index() < topology.hosts.len()
            && vm.flavour.index() < topology.flavours.len()
            && vm.slice == topology.slice(vm.region, vm.class);
        if !known || id.0 > COUNT_MAX {
            return Err(format!("start.plan: {id} is in a place that is not there"));
        }
    }
    if let Some((id, _)) = plan.slices.iter().find(|(id, _)| id.index() >= topology.cells()) {
        return Err(format!("start.plan: there is no slice {id}"));
    }
    let steered = plan.steering.0.iter().flatten().any(|(region, _)| region.index() >= regions);
    if steered || plan.steering.0.len() != topology.cells() || plan.generation.0 > COUNT_MAX {
        return Err("start.plan: its steering or its generation is out of range".to_owned());
    }
    Ok(())
}

/// Says what of an observation does not fit a topology, if anything.
pub(super) fn observation(seen: &Observation, topology: &Topology) -> Result<(), String> {
    let (regions, classes) = (topology.regions.len(), topology.classes.len());
    let lengths = [
        ("demand", seen.demand.len(), topology.cells()),
        ("hosts", seen.hosts.len(), topology.hosts.len()),
        ("links", seen.links.len(), topology.links.len()),
    ];
    for (what, length, wanted) in lengths {
        if length != wanted {
            return Err(format!("observation.{what}: {length} entries, the topology has {wanted}"));
        }
    }
    for vm in &seen.vms {
        let known = vm.region.index() < regions
            && vm.class.index() < classes
            && vm.host.index() < topology.hosts.len()
            && vm.flavour.index() < topology.flavours.len();
        if !known {
            return Err(format!("observation.vms: {} is in a place that is not there", vm.id));
        }
    }
    if !seen.vms.is_sorted_by(|a, b| a.id < b.id) {
        return Err("observation.vms: ids do not ascend".to_owned());
    }
    if seen.applied.0 > COUNT_MAX || seen.next_vm.0 > COUNT_MAX || seen.vms.last().is_some_and(|vm| vm.id.0 > COUNT_MAX)
    {
        return Err("observation: an id or a generation is beyond all counting".to_owned());
    }
    if !seen.slices.is_sorted_by(|a, b| a.slice < b.slice) {
        return Err("observation.slices: ids do not ascend".to_owned());
    }
    if seen.steering.0.iter().flatten().any(|(region, _)| region.index() >= regions) {
        return Err("observation.steering: it names a region that is not there".to_owned());
    }
    let undefined = |demand: &forebay_world::Demand| !demand.sessions.is_finite() || !demand.bad_share.is_finite();
    if seen.demand.iter().flatten().any(undefined) {
        return Err("observation.demand: a number is undefined".to_owned());
    }
    Ok(())
}
