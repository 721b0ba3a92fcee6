//! How fast sessions are made, resolvers asked and rates walked along.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay_sim::content::CacheCurve;
use forebay_sim::dns::{Answer, Lookup, Resolvers};
use forebay_sim::load::{Arrivals, RateCurve};
use forebay_sim::setup::{
    Content, Dns, Fidelity, FlashCrowd, Hazards, Load, LocalTime, QueryLog, QueryLogTaken, Setup, Synthetic,
};
use forebay_world::{
    BitsPerSecond, Bytes, ClassId, Cpu, Duration, Flavour, FlavourId, Link, LinkEnds, LinkId, Region, RegionId,
    ResourceClass, Slo, Timestamp, Topology, Work,
};

/// Monday, 2026-06-01T00:00:00Z.
const START: Timestamp = Timestamp::from_secs(1_780_272_000);

/// One region × class over a year, at 100 sessions a second, with 1,000 resolvers.
fn setup(load: Load, crowds: Vec<FlashCrowd>) -> Setup {
    let topology = Topology {
        regions: vec![Region {
            name: "ams".into(),
            lat: 52.4,
            lon: 4.9,
            time_zone: "Europe/Amsterdam".into(),
            access: LinkId(0),
        }],
        hosts: Vec::new(),
        links: vec![Link {
            name: "ams-access".into(),
            ends: LinkEnds::Access(RegionId(0)),
            capacity: BitsPerSecond(100_000_000_000),
            delay: Duration::from_millis(2),
        }],
        classes: vec![ResourceClass {
            name: "video".into(),
            work: Work::Streaming { bit_rate: BitsPerSecond(5_000_000), duration: Duration::from_mins(10) },
            cpu: Cpu(10),
            memory: Bytes(1 << 20),
            flavour: FlavourId(0),
            priority: 0,
            slo: Slo { latency: Duration::from_secs(2), rate_floor: 0.9, tolerance: 0.01 },
            violation_price_per_minute: 1.0,
        }],
        flavours: vec![Flavour {
            name: "edge-4".into(),
            cpu: Cpu(4_000),
            memory: Bytes(8 << 30),
            bandwidth: BitsPerSecond(1_000_000_000),
            price_per_hour: 0.2,
            boot_median: Duration::from_secs(60),
            boot_sigma: 0.2,
            warm_up: Duration::from_secs(10),
        }],
    };
    Setup {
        topology: Arc::new(topology),
        start: START,
        end: START + Duration::from_hours(24 * 365),
        score_from: START,
        seed: 1,
        fidelity: Fidelity::Session,
        local_time: vec![LocalTime(vec![(Timestamp::EPOCH, 7200)])],
        load: vec![load],
        crowds,
        dns: Dns {
            resolvers: vec![1000],
            resolver_skew: 1.0,
            ttl: vec![Duration::from_secs(20)],
            extending_share: 0.09,
            extended_ttl: Duration::from_mins(5),
            ecs_share: 0.2,
            ecs_subnets: 64,
        },
        content: Content {
            objects: vec![100_000],
            exponent: vec![0.9],
            cached: vec![10_000],
            origin_delay: Duration::from_millis(80),
        },
        faults: Vec::new(),
        hazards: Hazards::default(),
        overload_limit: 1.5,
        events: Vec::new(),
    }
}

fn synthetic(noise_sigma: f64) -> Load {
    Load::Synthetic(Synthetic {
        sessions_per_second: 100.0,
        daily: std::array::from_fn(|hour| 1.0 + 0.6 * (hour as f64 / 24.0 * std::f64::consts::TAU).sin()),
        weekly: [1.0; 7],
        noise_sigma,
        noise_step: Duration::from_mins(1),
    })
}

fn queries() -> Load {
    let n = 1_000_000;
    Load::Queries(Arc::new(QueryLog {
        at: (0..n).map(|row| START + Duration::from_millis(10 * row)).collect(),
        resolver: (0..n).map(|row| (row * row % 997) as u32).collect(),
        name: vec![0; n as usize],
        taken: QueryLogTaken::BeforeResolver,
        sessions_per_query: 1,
    }))
}

fn arrivals(criterion: &mut Criterion) {
    const N: u64 = 1_000_000;
    let crowd = FlashCrowd {
        name: "match".into(),
        cells: vec![0],
        at: START,
        jitter: Duration::ZERO,
        ramp: Duration::from_hours(2),
        hold: Duration::from_hours(1),
        decay: Duration::from_hours(1),
        factor: 3.0,
        factor_sigma: 0.0,
    };
    let mut group = criterion.benchmark_group("arrivals");
    group.throughput(Throughput::Elements(N)).sample_size(20);
    for (name, setup) in [
        ("plain", setup(synthetic(0.0), Vec::new())),
        ("noise", setup(synthetic(0.2), Vec::new())),
        ("noise and crowd", setup(synthetic(0.2), vec![crowd])),
        ("log", setup(queries(), Vec::new())),
    ] {
        let start = Arrivals::new(&setup, 0);
        group.bench_function(name, |bench| {
            bench.iter(|| {
                start.clone().take(N as usize).fold(0, |sum, arrival| sum ^ arrival.at.as_nanos() ^ arrival.pick)
            });
        });
    }
    group.finish();
}

fn resolvers(criterion: &mut Criterion) {
    const N: u64 = 1_000_000;
    let setup = setup(synthetic(0.0), Vec::new());
    let sessions: Vec<_> = Arrivals::new(&setup, 0).take(N as usize).collect();
    let (region, class) = (RegionId(0), ClassId(0));
    let mut group = criterion.benchmark_group("resolvers");
    group.throughput(Throughput::Elements(N)).sample_size(20);
    group.bench_function("ask and keep", |bench| {
        let start = Resolvers::new(&setup);
        bench.iter(|| {
            let (mut resolvers, mut misses) = (start.clone(), 0);
            for s in &sessions {
                if let Lookup::Miss { .. } = resolvers.lookup(s.at, region, class, s.resolver, s.subnet, s.name) {
                    resolvers.store(s.at, region, class, s.resolver, s.subnet, s.name, Answer(misses));
                    misses += 1;
                }
            }
            misses
        });
    });
    group.finish();
}

/// What the fluid world asks in each step.
fn fluid(criterion: &mut Criterion) {
    const MINUTES: u64 = 100_000;
    let setup = setup(synthetic(0.2), Vec::new());
    let mut group = criterion.benchmark_group("fluid");
    group.throughput(Throughput::Elements(MINUTES)).sample_size(20);
    group.bench_function("mean rate by the minute", |bench| {
        let curve = RateCurve::new(&setup, 0);
        bench.iter(|| {
            let mut sweep = curve.sweep(START);
            (1..=MINUTES).map(|minute| sweep.mean_to(START + Duration::from_mins(minute))).sum::<f64>()
        });
    });
    group.bench_function("queries of a rate", |bench| {
        let resolvers = Resolvers::new(&setup);
        bench.iter(|| (1..=MINUTES).map(|n| resolvers.miss_rate(RegionId(0), ClassId(0), n as f64)).sum::<f64>());
    });
    group.bench_function("hit ratio", |bench| {
        let curve = CacheCurve::new(100_000, 0.9, 10_000);
        bench.iter(|| (1..=MINUTES).map(|n| curve.hit_ratio(n as f64)).sum::<f64>());
    });
    group.finish();
    criterion.bench_function("tabulate 1,000 resolvers", |bench| {
        bench.iter(|| Resolvers::new(black_box(&setup)).miss_rate(RegionId(0), ClassId(0), 1.0));
    });
    criterion.bench_function("tabulate 1,000,000 objects", |bench| {
        bench.iter(|| CacheCurve::new(black_box(1_000_000), 0.9, 100_000));
    });
}

criterion_group!(benches, arrivals, resolvers, fluid);
criterion_main!(benches);
