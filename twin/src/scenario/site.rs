//! Regions, hosts, links, flavours and classes, of a scenario or of production, checked into a [`Topology`].

use forebay_world::{
    BitsPerSecond, Bytes, ClassId, Cpu, Duration, Flavour, Host, Link, LinkEnds, LinkId, Region, RegionId, Room,
    Topology,
};
use toml::Spanned;

use super::finding::Findings;
use super::names::Names;
use super::spec::{AccessSpec, FlavourSpec, HostsSpec, RegionSpec, SiteSpec};
use crate::plan::Market;

mod backbone;
mod class;
mod market;

use backbone::check_between;
pub(super) use class::Given;
use class::check_class;

/// A topology and the names in it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) topology: Topology,
    pub(crate) market: Market,
    pub(crate) regions: Names,
    pub(crate) classes: Names,
    pub(crate) flavours: Names,
    pub(crate) hosts: Names,
    pub(crate) links: Names,
}

/// The most hosts there may be: a million is far beyond any network, and a slip of the pen soon beyond memory.
const HOSTS_MAX: u64 = 1_000_000;

/// The most regions, for the links of a full mesh must be countable.
const REGIONS_MAX: usize = 4096;

/// Reads the site. The topology is whole only if nothing was found.
pub(crate) fn check(spec: SiteSpec<'_>, findings: &mut Findings) -> Site {
    let regions = Names::collect("region", spec.region.iter().map(|region| &region.get_ref().name), findings);
    let classes = Names::collect("class", spec.class.iter().map(|class| &class.get_ref().name), findings);
    let flavours = Names::collect("flavour", spec.flavour.iter().map(|flavour| &flavour.get_ref().name), findings);
    for (what, count, most) in [
        ("[[region]]", regions.listed().len(), REGIONS_MAX),
        ("[[class]]", classes.listed().len(), 255),
        ("[[flavour]]", flavours.listed().len(), 255),
    ] {
        findings.require(
            (1..=most).contains(&count),
            0..0,
            || format!("there are {count} of {what}"),
            &format!("1 to {most} are needed"),
            if count == 0 { "see the scenarios that come with Forebay for one" } else { "leave some out" },
        );
    }

    let mut topology = Topology {
        regions: Vec::new(),
        hosts: Vec::new(),
        links: Vec::new(),
        classes: Vec::new(),
        flavours: spec.flavour.iter().map(|flavour| check_flavour(flavour.get_ref(), findings)).collect(),
    };
    topology.classes =
        spec.class.iter().enumerate().map(|(index, class)| check_class(class, index, &flavours, findings)).collect();
    let mut hosts = Names::collect("host", [], findings);
    let mut links = Names::collect("link", [], findings);
    for (index, region) in spec.region.iter().enumerate().take(REGIONS_MAX) {
        check_region(&spec, region, RegionId::at(index), &mut topology, &mut hosts, &mut links, findings);
    }
    check_between(&spec, &regions, &mut topology, &mut links, findings);
    let market = market::check_market(&spec, &topology, &flavours, findings);
    if findings.0.is_empty() {
        check_room(&spec, &topology, findings);
    }
    Site { topology, market, regions, classes, flavours, hosts, links }
}

fn check_region(
    spec: &SiteSpec<'_>,
    region: &Spanned<RegionSpec>,
    id: RegionId,
    topology: &mut Topology,
    hosts: &mut Names,
    links: &mut Names,
    findings: &mut Findings,
) {
    let place = region.span();
    let region = region.get_ref();
    let name = region.name.get_ref();
    for (value, key, most) in [(&region.lat, "lat", 90.0), (&region.lon, "lon", 180.0)] {
        findings.require(
            value.get_ref().abs() <= most,
            value.span(),
            || format!("region \"{name}\": `{key}` is {}", value.get_ref()),
            &format!("allowed: -{most} to {most} degrees"),
            "latitude is degrees north, longitude degrees east",
        );
    }
    let population = *region.population.get_ref();
    findings.require(
        population.is_finite() && population >= 0.0,
        region.population.span(),
        || format!("region \"{name}\": `population` is {population}"),
        "allowed: 0 and above",
        "it is a weight against the other regions' populations",
    );

    let access = region.access.as_ref().or(spec.every_region.access.as_ref());
    match access {
        Some(access) => push_access(name, id, access, topology, links, findings),
        None => findings.add(
            place.clone(),
            format!("region \"{name}\" has no access link"),
            "`access` is needed here or in [every_region]",
            "add `access = { capacity = \"40 Gbit/s\", delay = \"5 ms\" }`",
        ),
    }
    topology.regions.push(Region {
        name: name.clone(),
        lat: *region.lat.get_ref(),
        lon: *region.lon.get_ref(),
        time_zone: region.time_zone.get_ref().clone(),
        access: LinkId::at(topology.links.len().saturating_sub(1)),
    });

    let groups = region.hosts.as_ref().or(spec.every_region.hosts.as_ref());
    let before = topology.hosts.len();
    for group in groups.into_iter().flatten() {
        push_hosts(name, id, group, topology, hosts, findings);
    }
    if topology.hosts.len() == before
        && groups.is_none_or(|groups| groups.iter().all(|g| *g.get_ref().count.get_ref() == 0))
    {
        findings.add(
            place,
            format!("region \"{name}\" has no hosts"),
            "at least one is needed, here or in [every_region]",
            "add `hosts = [{ count = 4, cpu = \"32 vCPU\", memory = \"128 GiB\", nic = \"10 Gbit/s\" }]`",
        );
    }
}

fn push_access(
    region: &str,
    id: RegionId,
    access: &Spanned<AccessSpec>,
    topology: &mut Topology,
    links: &mut Names,
    findings: &mut Findings,
) {
    let spec = access.get_ref();
    require_capacity(&spec.capacity, findings);
    let name = format!("{region}-access");
    links.push_made(name.clone());
    topology.links.push(Link {
        name,
        ends: LinkEnds::Access(id),
        capacity: *spec.capacity.get_ref(),
        delay: spec.delay,
    });
}

fn require_capacity(capacity: &Spanned<BitsPerSecond>, findings: &mut Findings) {
    findings.require(
        *capacity.get_ref() > BitsPerSecond::ZERO,
        capacity.span(),
        || "`capacity` is zero".to_owned(),
        "more than 0 is needed",
        "give what it carries; a scenario cuts a link for a while by [[fault]] with kind = \"link-degraded\"",
    );
}

fn push_hosts(
    region: &str,
    id: RegionId,
    group: &Spanned<HostsSpec>,
    topology: &mut Topology,
    hosts: &mut Names,
    findings: &mut Findings,
) {
    let spec = group.get_ref();
    for (missing, span, key) in [
        (*spec.cpu.get_ref() == Cpu::ZERO, spec.cpu.span(), "cpu"),
        (*spec.memory.get_ref() == Bytes::ZERO, spec.memory.span(), "memory"),
        (*spec.nic.get_ref() == BitsPerSecond::ZERO, spec.nic.span(), "nic"),
        (*spec.concurrent_boots.get_ref() == 0, spec.concurrent_boots.span(), "concurrent_boots"),
    ] {
        findings.require(
            !missing,
            span,
            || format!("hosts of region \"{region}\": `{key}` is zero"),
            "more than 0 is needed",
            "a host without it can run nothing",
        );
    }
    let count = *spec.count.get_ref();
    if topology.hosts.len() as u64 + u64::from(count) > HOSTS_MAX {
        findings.add(
            spec.count.span(),
            format!("region \"{region}\" takes it above {HOSTS_MAX} hosts"),
            format!("allowed: {HOSTS_MAX} hosts in all"),
            "a host is a physical machine",
        );
        return;
    }
    let first = topology.hosts.iter().filter(|host| host.region == id).count();
    for index in first..first + count as usize {
        let name = format!("{region}-{:03}", index + 1);
        hosts.push_made(name.clone());
        topology.hosts.push(Host {
            name,
            region: id,
            cpu: *spec.cpu.get_ref(),
            memory: *spec.memory.get_ref(),
            bandwidth: *spec.nic.get_ref(),
            concurrent_boots: *spec.concurrent_boots.get_ref(),
        });
    }
}

fn check_flavour(spec: &FlavourSpec, findings: &mut Findings) -> Flavour {
    let name = spec.name.get_ref();
    for (missing, span, key) in [
        (*spec.cpu.get_ref() == Cpu::ZERO, spec.cpu.span(), "cpu"),
        (*spec.memory.get_ref() == Bytes::ZERO, spec.memory.span(), "memory"),
        (*spec.bandwidth.get_ref() == BitsPerSecond::ZERO, spec.bandwidth.span(), "bandwidth"),
    ] {
        findings.require(
            !missing,
            span,
            || format!("flavour \"{name}\": `{key}` is zero"),
            "more than 0 is needed",
            "a virtual machine without it can serve nobody",
        );
    }
    require_range(&spec.price_per_hour, "price_per_hour", 0.0, f64::MAX, findings);
    require_range(&spec.boot_sigma, "boot_sigma", 0.0, 3.0, findings);
    Flavour {
        name: name.clone(),
        cpu: *spec.cpu.get_ref(),
        memory: *spec.memory.get_ref(),
        bandwidth: *spec.bandwidth.get_ref(),
        price_per_hour: *spec.price_per_hour.get_ref(),
        boot_median: spec.boot_median,
        boot_sigma: *spec.boot_sigma.get_ref(),
        warm_up: spec.warm_up,
    }
}

/// That `value` is a number from `least` to `most`.
pub(crate) fn require_range(value: &Spanned<f64>, key: &str, least: f64, most: f64, findings: &mut Findings) {
    let number = *value.get_ref();
    let allowed =
        if most == f64::MAX { format!("allowed: {least} and above") } else { format!("allowed: {least} to {most}") };
    let hint = if number < least && least == 0.0 { "it cannot be negative" } else { "give a number in this range" };
    findings.require(
        number >= least && number <= most,
        value.span(),
        || format!("`{key}` is {number}"),
        &allowed,
        if number.is_nan() { "nan is not a number; give one" } else { hint },
    );
}

/// That a span is longer than nothing.
pub(crate) fn require_some_time(value: &Spanned<Duration>, key: &str, findings: &mut Findings) {
    findings.require(
        !value.get_ref().is_zero(),
        value.span(),
        || format!("`{key}` is zero"),
        "more than 0 is needed",
        "give a span such as \"1 min\"",
    );
}

/// That the flavour of each class fits on a host of each region.
fn check_room(spec: &SiteSpec<'_>, topology: &Topology, findings: &mut Findings) {
    for (index, class) in topology.classes.iter().enumerate() {
        let flavour = &topology.flavours[class.flavour.index()];
        let need = Room::of_flavour(flavour);
        let without: Vec<&str> = (0..topology.regions.len())
            .map(RegionId::at)
            .filter(|id| !topology.hosts.iter().any(|h| h.region == *id && Room::of_host(h).fits(&need)))
            .map(|id| topology.region(id).name.as_str())
            .collect();
        let at = &spec.flavour[class.flavour.index()].get_ref().name;
        if !without.is_empty() && !findings.0.iter().any(|finding| finding.span == at.span()) {
            let everywhere = without.len() == topology.regions.len();
            let largest = topology
                .hosts
                .iter()
                .max_by_key(|host| (host.cpu, host.memory))
                .map(|h| format!("the largest host has {}, {}, {}", h.cpu, h.memory, h.bandwidth));
            findings.add(
                at.span(),
                if everywhere {
                    format!("flavour \"{}\" is larger than every host", flavour.name)
                } else {
                    format!("flavour \"{}\" is larger than every host of region {}", flavour.name, without.join(", "))
                },
                format!(
                    "needs {}, {}, {}; {}",
                    flavour.cpu,
                    flavour.memory,
                    flavour.bandwidth,
                    largest.unwrap_or_default()
                ),
                "make the flavour smaller or the hosts larger",
            );
        }
        let places = topology.sessions_per_vm(ClassId::at(index));
        if places < 1.0 {
            findings.add(
                spec.class[index].get_ref().name.span(),
                format!("a session of class \"{}\" needs more than a virtual machine has", class.name),
                format!("flavour \"{}\" has room for {places:.3} of a session", flavour.name),
                "give the class a larger flavour",
            );
        } else if !places.is_finite() {
            findings.add(
                spec.class[index].get_ref().name.span(),
                format!("a session of class \"{}\" needs nothing", class.name),
                "processors, memory or bandwidth must be needed",
                "give its `cpu` or `memory`",
            );
        }
    }
}
