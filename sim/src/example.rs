//! A small world for tests, and the few statistics that judge it.

use std::sync::Arc;

use forebay_world::{
    BitsPerSecond, Bytes, ClassId, Cpu, Duration, Flavour, FlavourId, Host, Link, LinkEnds, LinkId, Region, RegionId,
    ResourceClass, Slo, Timestamp, Topology, Work,
};

use crate::setup::{Content, Dns, Fidelity, Hazards, Load, LocalTime, Setup, Synthetic};

/// Monday, 2026-06-01T00:00:00Z.
pub(crate) const MONDAY: Timestamp = Timestamp::from_secs(1_780_272_000);

/// `regions` regions with two hosts each, one streaming class whose sessions last two minutes, a steady load of one session a
/// second, everything for one day.
pub(crate) fn setup(regions: usize) -> Setup {
    let ids = || (0..regions).map(RegionId::at);
    let class = ResourceClass {
        name: "video".into(),
        work: Work::Streaming { bit_rate: BitsPerSecond(5_000_000), duration: Duration::from_secs(120) },
        cpu: Cpu(10),
        memory: Bytes(1 << 20),
        flavour: FlavourId(0),
        priority: 0,
        slo: Slo { latency: Duration::from_secs(2), rate_floor: 0.9, tolerance: 0.01 },
        violation_price_per_minute: 1.0,
    };
    let flavour = Flavour {
        name: "edge-4".into(),
        cpu: Cpu(4_000),
        memory: Bytes(8 << 30),
        bandwidth: BitsPerSecond(1_000_000_000),
        price_per_hour: 0.2,
        boot_median: Duration::from_secs(60),
        boot_sigma: 0.2,
        warm_up: Duration::from_secs(10),
    };
    let topology = Topology {
        regions: ids()
            .map(|region| Region {
                name: format!("r{region}"),
                lat: 0.0,
                lon: 0.0,
                time_zone: "UTC".into(),
                access: LinkId::at(region.index()),
            })
            .collect(),
        hosts: ids()
            .flat_map(|region| [region, region])
            .enumerate()
            .map(|(i, region)| Host {
                name: format!("h{i}"),
                region,
                cpu: Cpu(32_000),
                memory: Bytes(64 << 30),
                bandwidth: BitsPerSecond(10_000_000_000),
                concurrent_boots: 2,
            })
            .collect(),
        links: ids()
            .map(|region| Link {
                name: format!("r{region}-access"),
                ends: LinkEnds::Access(region),
                capacity: BitsPerSecond(10_000_000_000),
                delay: Duration::from_millis(5),
            })
            .collect(),
        classes: vec![class],
        flavours: vec![flavour],
    };
    Setup {
        topology: Arc::new(topology),
        start: MONDAY,
        end: MONDAY + Duration::from_hours(24),
        score_from: MONDAY,
        seed: 1,
        fidelity: Fidelity::Session,
        local_time: vec![LocalTime(Vec::new()); regions],
        load: vec![Load::Synthetic(steady(1.0)); regions],
        crowds: Vec::new(),
        dns: Dns {
            resolvers: vec![20; regions],
            resolver_skew: 1.0,
            ttl: vec![Duration::from_secs(20)],
            extending_share: 0.0,
            extended_ttl: Duration::from_mins(5),
            ecs_share: 0.0,
            ecs_subnets: 1,
        },
        content: Content {
            objects: vec![1000],
            exponent: vec![0.8],
            cached: vec![100],
            origin_delay: Duration::from_millis(80),
        },
        faults: Vec::new(),
        hazards: Hazards::default(),
        overload_limit: 1.5,
        events: Vec::new(),
    }
}

/// The only class.
pub(crate) const CLASS: ClassId = ClassId(0);

/// An even load \[1/s\].
pub(crate) fn steady(sessions_per_second: f64) -> Synthetic {
    Synthetic {
        sessions_per_second,
        daily: [1.0; 24],
        weekly: [1.0; 7],
        noise_sigma: 0.0,
        noise_step: Duration::from_mins(5),
    }
}

/// A load with a daily and weekly shape and noise \[1/s\].
pub(crate) fn lively(sessions_per_second: f64) -> Synthetic {
    let daily = std::array::from_fn(|hour| 1.0 + 0.6 * (hour as f64 / 24.0 * std::f64::consts::TAU).sin());
    Synthetic { daily, weekly: [0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.0], noise_sigma: 0.2, ..steady(sessions_per_second) }
}

/// Mean of a sample and the half width of four standard errors.
pub(crate) fn mean_and_bound(sample: &[f64]) -> (f64, f64) {
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, 4.0 * (variance / n).sqrt())
}

/// The Kolmogorov–Smirnov statistic √n·D of a sample that should be uniform on (0, 1): below 1.95 for 99.9 % of samples.
pub(crate) fn kolmogorov_smirnov(mut sample: Vec<f64>) -> f64 {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let distance = (0..).zip(&sample).map(|(i, u)| (u - f64::from(i) / n).max(f64::from(i + 1) / n - u));
    distance.fold(0.0, f64::max) * n.sqrt()
}
