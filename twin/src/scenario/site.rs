//! Regions, hosts, links, flavours and classes of a scenario, checked into a [`Topology`].

use forebay_world::{
    BitsPerSecond, Bytes, ClassId, Cpu, Duration, Flavour, FlavourId, Host, Link, LinkEnds, LinkId, Region, RegionId,
    ResourceClass, Room, Slo, Topology, Work,
};
use toml::Spanned;

use super::finding::Findings;
use super::names::Names;
use super::spec::{AccessSpec, ClassSpec, FlavourSpec, HostsSpec, RegionSpec, ScenarioSpec, WorkKind};

/// A topology and the names in it.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) topology: Topology,
    pub(super) regions: Names,
    pub(super) classes: Names,
    pub(super) hosts: Names,
    pub(super) links: Names,
}

/// The most hosts a scenario may have: a million is far beyond any network, and a slip of the pen soon beyond memory.
const HOSTS_MAX: u64 = 1_000_000;

/// Reads the site. The topology is whole only if nothing was found.
pub(super) fn check(spec: &ScenarioSpec, findings: &mut Findings) -> Site {
    let regions = Names::collect("region", spec.region.iter().map(|region| &region.get_ref().name), findings);
    let classes = Names::collect("class", spec.class.iter().map(|class| &class.get_ref().name), findings);
    let flavours = Names::collect("flavour", spec.flavour.iter().map(|flavour| &flavour.get_ref().name), findings);
    for (kind, what, count, most) in [
        ("region", "[[region]]", regions.listed().len(), 4096),
        ("class", "[[class]]", classes.listed().len(), 255),
        ("flavour", "[[flavour]]", flavours.listed().len(), 255),
    ] {
        findings.require(
            (1..=most).contains(&count),
            0..0,
            || format!("a scenario has 1 to {most} of {what}, this one has {count}"),
            "",
            if count == 0 { "see the scenarios that come with Forebay for one" } else { "leave some out" },
        );
        let _ = kind;
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
    for (index, region) in spec.region.iter().enumerate().take(4096) {
        check_region(spec, region, RegionId::at(index), &mut topology, &mut hosts, &mut links, findings);
    }
    check_between(spec, &regions, &mut topology, &mut links, findings);
    if findings.0.is_empty() {
        check_room(spec, &topology, findings);
    }
    Site { topology, regions, classes, hosts, links }
}

fn check_region(
    spec: &ScenarioSpec,
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
    links.push(&Spanned::new(access.span(), name.clone()), findings);
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
        "to cut a link for a while, use [[fault]] with kind = \"link-degraded\"",
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
            format!("region \"{region}\" takes the scenario above {HOSTS_MAX} hosts"),
            format!("allowed: {HOSTS_MAX} hosts in all"),
            "a host is a physical machine",
        );
        return;
    }
    let first = topology.hosts.iter().filter(|host| host.region == id).count();
    for index in first..first + count as usize {
        let name = format!("{region}-{:03}", index + 1);
        hosts.push(&Spanned::new(group.span(), name.clone()), findings);
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
pub(super) fn require_range(value: &Spanned<f64>, key: &str, least: f64, most: f64, findings: &mut Findings) {
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
pub(super) fn require_some_time(value: &Spanned<Duration>, key: &str, findings: &mut Findings) {
    findings.require(
        !value.get_ref().is_zero(),
        value.span(),
        || format!("`{key}` is zero"),
        "more than 0 is needed",
        "give a span such as \"1 min\"",
    );
}

fn check_class(class: &Spanned<ClassSpec>, index: usize, flavours: &Names, findings: &mut Findings) -> ResourceClass {
    let place = class.span();
    let spec = class.get_ref();
    let name = spec.name.get_ref();
    let flavour = flavours.find(&spec.flavour, findings).unwrap_or(0);
    require_range(&spec.violation_price_per_minute, "violation_price_per_minute", 0.0, f64::MAX, findings);
    require_range(&spec.slo.rate_floor, "rate_floor", 0.0, 1.0, findings);
    require_range(&spec.slo.tolerance, "tolerance", 0.0, 1.0, findings);
    check_keys_of_kind(spec, findings);
    let mut needed = Needed { class: name, kind: *spec.kind.get_ref(), place, findings };
    let work = match *spec.kind.get_ref() {
        WorkKind::Streaming => Work::Streaming {
            bit_rate: needed.positive(&spec.bit_rate, "bit_rate", "\"5 Mbit/s\"", |rate| *rate > BitsPerSecond::ZERO),
            duration: needed.positive(&spec.duration, "duration", "\"20 min\"", |span| !span.is_zero()),
        },
        WorkKind::Download => Work::Download {
            size: needed.positive(&spec.size, "size", "\"200 MB\"", |size| *size > Bytes::ZERO),
            rate: needed.positive(&spec.rate, "rate", "\"40 Mbit/s\"", |rate| *rate > BitsPerSecond::ZERO),
        },
        WorkKind::Interactive => Work::Interactive {
            requests_per_second: needed.positive(&spec.requests_per_second, "requests_per_second", "0.5", |rate| {
                *rate > 0.0 && rate.is_finite()
            }),
            service: needed.positive(&spec.service, "service", "\"10 ms\"", |span| !span.is_zero()),
            response: needed.positive(&spec.response, "response", "\"60 kB\"", |_| true),
            duration: needed.positive(&spec.duration, "duration", "\"3 min\"", |span| !span.is_zero()),
        },
    };
    let cpu = match *spec.kind.get_ref() {
        WorkKind::Interactive => Cpu::ZERO,
        _ => needed.positive(&spec.cpu, "cpu", "\"20 mCPU\"", |_| true),
    };
    ResourceClass {
        name: name.clone(),
        work,
        cpu,
        memory: *spec.memory.get_ref(),
        flavour: FlavourId::at(flavour.min(255)),
        priority: spec.priority.unwrap_or(index.min(255) as u8),
        slo: Slo {
            latency: *spec.slo.latency.get_ref(),
            rate_floor: *spec.slo.rate_floor.get_ref(),
            tolerance: *spec.slo.tolerance.get_ref(),
        },
        violation_price_per_minute: *spec.violation_price_per_minute.get_ref(),
    }
}

/// The keys that a class of its kind must have.
struct Needed<'a> {
    class: &'a str,
    kind: WorkKind,
    place: std::ops::Range<usize>,
    findings: &'a mut Findings,
}

impl Needed<'_> {
    fn positive<T: Clone + Default + std::fmt::Debug>(
        &mut self,
        value: &Option<Spanned<T>>,
        key: &str,
        example: &str,
        sound: impl Fn(&T) -> bool,
    ) -> T {
        match value {
            Some(value) => {
                self.findings.require(
                    sound(value.get_ref()),
                    value.span(),
                    || format!("class \"{}\": `{key}` is {:?}", self.class, value.get_ref()),
                    "more than 0 is needed",
                    &format!("such as {example}"),
                );
                value.get_ref().clone()
            }
            None => {
                self.findings.add(
                    self.place.clone(),
                    format!("class \"{}\" is {} and has no `{key}`", self.class, word(self.kind)),
                    format!("`{key}` is needed here"),
                    format!("add `{key} = {example}`"),
                );
                T::default()
            }
        }
    }
}

fn word(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::Streaming => "streaming",
        WorkKind::Download => "download",
        WorkKind::Interactive => "interactive",
    }
}

/// Keys that mean nothing for a class of this kind are a mistake.
fn check_keys_of_kind(spec: &ClassSpec, findings: &mut Findings) {
    use WorkKind::{Download, Interactive, Streaming};
    let given: [(&str, Option<std::ops::Range<usize>>, &[WorkKind]); 8] = [
        ("bit_rate", spec.bit_rate.as_ref().map(Spanned::span), &[Streaming]),
        ("duration", spec.duration.as_ref().map(Spanned::span), &[Streaming, Interactive]),
        ("size", spec.size.as_ref().map(Spanned::span), &[Download]),
        ("rate", spec.rate.as_ref().map(Spanned::span), &[Download]),
        ("requests_per_second", spec.requests_per_second.as_ref().map(Spanned::span), &[Interactive]),
        ("service", spec.service.as_ref().map(Spanned::span), &[Interactive]),
        ("response", spec.response.as_ref().map(Spanned::span), &[Interactive]),
        ("cpu", spec.cpu.as_ref().map(Spanned::span), &[Streaming, Download]),
    ];
    for (key, span, kinds) in given {
        let kind = *spec.kind.get_ref();
        if let Some(span) = span
            && !kinds.contains(&kind)
        {
            let kinds: Vec<&str> = kinds.iter().map(|kind| word(*kind)).collect();
            findings.add(
                span,
                format!("class \"{}\" is {} and has no use for `{key}`", spec.name.get_ref(), word(kind)),
                format!("only for {}", kinds.join(" and ")),
                "remove it, or change `kind`",
            );
        }
    }
}

/// Links between regions: those named, then the mesh for all other pairs.
fn check_between(
    spec: &ScenarioSpec,
    regions: &Names,
    topology: &mut Topology,
    links: &mut Names,
    findings: &mut Findings,
) {
    let mut joined = std::collections::BTreeSet::new();
    for link in &spec.link {
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
        let name = Spanned::new(place, format!("{}-{}", a.get_ref(), b.get_ref()));
        push_between(from, to, &name, *link.capacity.get_ref(), delay, topology, links, findings);
    }
    let Some(mesh) = &spec.mesh else { return };
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
            let name = Spanned::new(mesh.capacity.span(), name);
            push_between(from, to, &name, *mesh.capacity.get_ref(), delay, topology, links, findings);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one row of a link table")]
fn push_between(
    from: usize,
    to: usize,
    name: &Spanned<String>,
    capacity: BitsPerSecond,
    delay: Duration,
    topology: &mut Topology,
    links: &mut Names,
    findings: &mut Findings,
) {
    links.push(name, findings);
    topology.links.push(Link {
        name: name.get_ref().clone(),
        ends: LinkEnds::Between(RegionId::at(from), RegionId::at(to)),
        capacity,
        delay,
    });
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

/// Great-circle distance [km] by the haversine formula on a sphere of 6,371 km.
pub(super) fn distance_km(a: &Region, b: &Region) -> f64 {
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

/// That the flavour of each class fits on a host of each region.
fn check_room(spec: &ScenarioSpec, topology: &Topology, findings: &mut Findings) {
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
