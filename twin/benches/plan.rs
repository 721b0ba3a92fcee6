//! How long a plan takes: 30 regions × 3 classes × 96 intervals from 128 futures each, with one flavour a class and with a
//! market of two flavours, reserved and spot machines; and the futures themselves.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use forebay::ControllerConfig;
use forebay::forecast::chance::Chance;
use forebay::forecast::follower::{Follower, Outlook};
use forebay::forecast::futures::{PATHS, Sampler};
use forebay::forecast::model::Unfit;
use forebay::forecast::paths::Paths;
use forebay::forecast::quantiles::{LEVELS, Quantiles};
use forebay::plan::Market;
use forebay::plan::market::{Reserved, Spot};
use forebay::plan::planning::{Question, Source, plan};
use forebay_world::*;

const REGIONS: usize = 30;
const INTERVALS: usize = 96;

fn topology() -> Topology {
    let class = |name: &str, mbit: u64, priority| ResourceClass {
        name: name.to_owned(),
        work: Work::Streaming { bit_rate: BitsPerSecond(mbit * 1_000_000), duration: Duration::from_mins(10) },
        cpu: Cpu(10),
        memory: Bytes(4 << 20),
        flavour: FlavourId(0),
        priority,
        slo: Slo { latency: Duration::from_secs(2), rate_floor: 0.9, tolerance: 0.05 },
        violation_price_per_minute: 0.5,
    };
    let flavour = |name: &str, size: u64, price_per_hour| Flavour {
        name: name.to_owned(),
        cpu: Cpu(2000 * size),
        memory: Bytes(size << 32),
        bandwidth: BitsPerSecond(size * 1_000_000_000),
        price_per_hour,
        boot_median: Duration::from_secs(75),
        boot_sigma: 0.25,
        warm_up: Duration::from_secs(45),
    };
    let mut links: Vec<Link> = (0..REGIONS)
        .map(|region| Link {
            name: format!("r{region}-access"),
            ends: LinkEnds::Access(RegionId::at(region)),
            capacity: BitsPerSecond(60_000_000_000),
            delay: Duration::from_millis(5),
        })
        .collect();
    links.extend((0..REGIONS).map(|region| Link {
        name: format!("r{region}-next"),
        ends: LinkEnds::Between(RegionId::at(region), RegionId::at((region + 1) % REGIONS)),
        capacity: BitsPerSecond(100_000_000_000),
        delay: Duration::from_millis(8),
    }));
    Topology {
        regions: (0..REGIONS)
            .map(|region| Region {
                name: format!("r{region}"),
                lat: 0.0,
                lon: region as f64,
                time_zone: "UTC".to_owned(),
                access: LinkId::at(region),
            })
            .collect(),
        hosts: (0..REGIONS * 10)
            .map(|host| Host {
                name: format!("h{host}"),
                region: RegionId::at(host / 10),
                cpu: Cpu(32_000),
                memory: Bytes(128 << 30),
                bandwidth: BitsPerSecond(20_000_000_000),
                concurrent_boots: 2,
            })
            .collect(),
        links,
        classes: vec![class("video", 5, 0), class("live", 8, 1), class("files", 20, 2)],
        flavours: vec![flavour("edge-2", 1, 0.1), flavour("edge-8", 4, 0.36)],
    }
}

fn futures(topology: &Topology) -> Vec<Option<Paths>> {
    (0..topology.cells())
        .map(|cell| {
            let mut chance = Chance::new(cell as u64, "bench");
            let values = (0..PATHS)
                .flat_map(|_| {
                    let level = 1500.0 * (1.0 + 0.1 * chance.normal());
                    (0..INTERVALS).map(move |step| {
                        level * (0.6 - 0.4 * (step as f64 / 96.0 * std::f64::consts::TAU).cos()).max(0.0)
                    })
                })
                .collect();
            Some(Paths::new(INTERVALS, values))
        })
        .collect()
}

/// Says the same of every step.
#[derive(Clone)]
struct Said;

impl Follower for Said {
    fn observe(&mut self, _value: Option<f64>) {}

    fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
        let quantiles = Quantiles::new(vec![LEVELS.map(|level| 1000.0 + 100.0 * level); steps]);
        Ok(Outlook { quantiles, by: "said", instead: None })
    }

    fn clone_box(&self) -> Box<dyn Follower> {
        Box::new(self.clone())
    }
}

fn bench(criterion: &mut Criterion) {
    let topology = topology();
    let futures = futures(&topology);
    let config = ControllerConfig::default();
    let plain = Market::of(&topology);
    let mut rich = plain.clone();
    rich.allowed.iter_mut().for_each(|allowed| allowed.push(FlavourId(1)));
    rich.tariffs[1].reserved = Some(Reserved { count: 2, price_per_hour: 0.25 });
    rich.tariffs[0].spot = Some(Spot { price_per_hour: 0.05, share_most: 0.3 });
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10);
    for (name, market) in [("one flavour", &plain), ("a market", &rich)] {
        let question = Question {
            topology: &topology,
            market,
            config: &config,
            origin: Timestamp::from_secs(1_780_000_000),
            interval: Duration::from_mins(15),
            steps_per_interval: 1,
            futures: &futures,
            budget_per_hour: None,
        };
        group.bench_function(name, |bencher| bencher.iter(|| plan(black_box(&question), Source::default())));
    }
    group.finish();

    let mut sampler = Sampler::new(Box::new(Said), 30, 1);
    (0..100).for_each(|step| sampler.observe(Some(1000.0 + f64::from(step))));
    let outlook = sampler.outlook(30).expect("it always says something");
    criterion.bench_function("futures/128 paths, 5 steps", |bencher| {
        bencher.iter(|| sampler.paths(black_box(&outlook.quantiles), 3..8));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
