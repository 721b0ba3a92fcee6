//! Where the made-up evening takes place: eight regions, three classes, a flash crowd, and what breaks.

use std::ops::Range;

use forebay_world::{
    BitsPerSecond, Bytes, ClassId, Cpu, Duration, Flavour, FlavourId, Host, HostId, KnownEvent, Link, LinkEnds, LinkId,
    Region, RegionId, ResourceClass, Slo, Timestamp, Topology, Work,
};

use super::WINDOW;

/// Name, latitude, longitude, time zone, hours ahead of UTC, size.
const REGIONS: [(&str, f64, f64, &str, f64, f64); 8] = [
    ("nyc", 40.7, -74.0, "America/New_York", -4.0, 1.0),
    ("gru", -23.4, -46.5, "America/Sao_Paulo", -3.0, 0.6),
    ("lon", 51.5, -0.1, "Europe/London", 1.0, 0.9),
    ("fra", 50.0, 8.6, "Europe/Berlin", 2.0, 0.8),
    ("jnb", -26.1, 28.2, "Africa/Johannesburg", 2.0, 0.25),
    ("bom", 19.1, 72.9, "Asia/Kolkata", 5.5, 0.7),
    ("nrt", 35.8, 140.4, "Asia/Tokyo", 9.0, 0.8),
    ("syd", -33.9, 151.2, "Australia/Sydney", 10.0, 0.35),
];

/// Links between regions, and the capacity of each [Gbit/s].
const BACKBONE: [(usize, usize, u64); 9] =
    [(0, 2, 40), (0, 1, 20), (2, 3, 40), (3, 5, 20), (2, 4, 10), (5, 6, 20), (6, 7, 20), (0, 6, 20), (5, 7, 10)];

const HOSTS_PER_REGION: usize = 5;
/// Sessions of each class at the mean of a region of size 1.
const SESSIONS: [f64; 3] = [5200.0, 420.0, 3600.0];

/// Ticks while the host is down.
pub(super) const HOST_DOWN: Range<u64> = 95..140;
/// The third host of Frankfurt.
pub(super) const FALLEN_HOST: HostId = HostId(17);
/// Ticks while the link carries less.
pub(super) const LINK_CUT: Range<u64> = 170..220;
/// London to Frankfurt, after the access links.
pub(super) const WEAK_LINK: LinkId = LinkId(10);
/// Ticks while nothing is heard from the region …
pub(super) const TELEMETRY_GAP: Range<u64> = 60..72;
/// … of São Paulo.
pub(super) const SILENT_REGION: RegionId = RegionId(1);
/// The tick at which the crowd begins.
pub(super) const CROWD_AT: u64 = 120;

/// 2026-06-14T16:00:00Z.
pub(super) fn start() -> Timestamp {
    Timestamp::from_secs(1_781_452_800)
}

pub(super) fn topology() -> Topology {
    let gbit = |rate: u64| BitsPerSecond(rate * 1_000_000_000);
    let regions: Vec<Region> = REGIONS
        .iter()
        .enumerate()
        .map(|(index, &(name, lat, lon, time_zone, _, _))| Region {
            name: name.to_owned(),
            lat,
            lon,
            time_zone: time_zone.to_owned(),
            access: LinkId::at(index),
        })
        .collect();
    let hosts = (0..REGIONS.len() * HOSTS_PER_REGION).map(|index| Host {
        name: format!("{}-{:03}", REGIONS[index / HOSTS_PER_REGION].0, index % HOSTS_PER_REGION + 1),
        region: RegionId::at(index / HOSTS_PER_REGION),
        cpu: Cpu(64_000),
        memory: Bytes(256 << 30),
        bandwidth: gbit(50),
        concurrent_boots: 2,
    });
    let access = REGIONS.iter().enumerate().map(|(index, &(name, .., size))| Link {
        name: format!("{name}-access"),
        ends: LinkEnds::Access(RegionId::at(index)),
        capacity: gbit((90.0 * size.max(0.3)) as u64),
        delay: Duration::from_millis(4),
    });
    let between = BACKBONE.iter().map(|&(a, b, rate)| Link {
        name: format!("{}-{}", REGIONS[a].0, REGIONS[b].0),
        ends: LinkEnds::Between(RegionId::at(a), RegionId::at(b)),
        capacity: gbit(rate),
        delay: Duration::from_millis(40),
    });
    let edge = |name: &str, price_per_hour| Flavour {
        name: name.to_owned(),
        cpu: Cpu(8000),
        memory: Bytes(16 << 30),
        bandwidth: gbit(4),
        price_per_hour,
        boot_median: Duration::from_secs(150),
        boot_sigma: 0.3,
        warm_up: Duration::from_secs(60),
    };
    let class = |name: &str, work, cpu, priority, violation_price_per_minute| ResourceClass {
        name: name.to_owned(),
        work,
        cpu: Cpu(cpu),
        memory: Bytes(8 << 20),
        flavour: FlavourId(0),
        priority,
        slo: Slo { latency: Duration::from_millis(200), rate_floor: 0.8, tolerance: 0.02 },
        violation_price_per_minute,
    };
    Topology {
        regions,
        hosts: hosts.collect(),
        links: access.chain(between).collect(),
        classes: vec![
            class(
                "video",
                Work::Streaming { bit_rate: BitsPerSecond(5_000_000), duration: Duration::from_mins(20) },
                10,
                1,
                2.0,
            ),
            class("download", Work::Download { size: Bytes(400_000_000), rate: BitsPerSecond(20_000_000) }, 20, 2, 0.5),
            class(
                "interactive",
                Work::Interactive {
                    requests_per_second: 2.0,
                    service: Duration::from_millis(5),
                    response: Bytes(20_000),
                    duration: Duration::from_mins(8),
                },
                0,
                0,
                1.0,
            ),
        ],
        flavours: vec![edge("edge-8", 0.48)],
    }
}

/// Sessions that a cell has at `at` when nothing wanders.
pub(super) fn expected_sessions(region: usize, class: usize, at: Timestamp) -> f64 {
    let (.., ahead_h, size) = REGIONS[region];
    let hour = at.as_secs_f64() / 3600.0 + ahead_h;
    let day = (hour - 15.0) * std::f64::consts::TAU / 24.0;
    let daily = 1.0 + 0.55 * day.cos() + 0.15 * (2.0 * day).sin();
    let minute = at.since(start()).as_secs_f64() / 60.0 - CROWD_AT as f64;
    let crowd = match minute {
        _ if class != 0 || !(2..=3).contains(&region) || minute < 0.0 => 0.0,
        ..20.0 => minute / 20.0,
        ..90.0 => 1.0,
        _ => (-(minute - 90.0) / 25.0).exp(),
    };
    size * SESSIONS[class] * daily * (1.0 + 1.4 * crowd)
}

/// What each link carries, given what is offered by each cell \[bit/s\].
pub(super) fn link_loads(topology: &Topology, offered: impl Fn(usize) -> f64) -> Vec<f64> {
    let of_region = |region: RegionId| -> f64 {
        (0..topology.classes.len()).map(|class| offered(topology.cell(region, ClassId::at(class)))).sum()
    };
    let load = |link: &Link| match link.ends {
        LinkEnds::Access(region) => of_region(region),
        LinkEnds::Between(a, b) => 0.35 * of_region(a).min(of_region(b)),
    };
    topology.links.iter().map(load).collect()
}

pub(super) fn events(start: Timestamp) -> Vec<KnownEvent> {
    let begin = start + WINDOW * CROWD_AT;
    vec![KnownEvent {
        id: "final".to_owned(),
        kind: "football".to_owned(),
        start: begin,
        end: begin + Duration::from_mins(110),
        regions: vec![RegionId(2), RegionId(3)],
        classes: vec![ClassId(0)],
        uplift: Some(2.4),
    }]
}
