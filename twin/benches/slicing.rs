//! How long a thousand slices take to be planned: 250 regions × 4 classes, at one tick of the controller. Calm: nothing
//! changes. Moving: every demand is another at each tick, and links have room. Contended: no link has room, so that on
//! each somebody gives way and is told why. And the IETF's document of them.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use forebay::ControllerConfig;
use forebay::slicing::service::{ietf, services};
use forebay::slicing::{Need, Slicing};
use forebay_world::*;

const REGIONS: usize = 250;
const CLASSES: usize = 4;

fn topology() -> Topology {
    let class = |index: usize| ResourceClass {
        name: format!("class-{index}"),
        work: Work::Streaming { bit_rate: BitsPerSecond(8_000_000), duration: Duration::from_mins(10) },
        cpu: Cpu(10),
        memory: Bytes(4 << 20),
        flavour: FlavourId(0),
        // The last two are alike, so that price decides.
        priority: index.min(2) as u8,
        slo: Slo { latency: Duration::from_secs(2), rate_floor: 0.9, tolerance: 0.05 },
        violation_price_per_minute: 0.5 / (1.0 + index as f64),
    };
    Topology {
        regions: (0..REGIONS)
            .map(|region| Region {
                name: format!("r{region}"),
                lat: 0.0,
                lon: 0.0,
                time_zone: "UTC".to_owned(),
                access: LinkId::at(region),
            })
            .collect(),
        hosts: Vec::new(),
        links: (0..REGIONS)
            .map(|region| Link {
                name: format!("r{region}-access"),
                ends: LinkEnds::Access(RegionId::at(region)),
                capacity: BitsPerSecond(100_000_000_000),
                delay: Duration::from_millis(5),
            })
            .collect(),
        classes: (0..CLASSES).map(class).collect(),
        flavours: vec![Flavour {
            name: "edge".to_owned(),
            cpu: Cpu(4000),
            memory: Bytes(1 << 33),
            bandwidth: BitsPerSecond(2_000_000_000),
            price_per_hour: 0.2,
            boot_median: Duration::from_secs(75),
            boot_sigma: 0.25,
            warm_up: Duration::from_secs(45),
        }],
    }
}

fn observation(topology: &Topology, minute: u64) -> Observation {
    Observation {
        at: Timestamp::EPOCH + Duration::from_mins(minute),
        window: Duration::from_mins(1),
        demand: vec![None; topology.cells()],
        vms: Vec::new(),
        hosts: Vec::new(),
        links: vec![None; topology.links.len()],
        slices: Vec::new(),
        steering: Steering::home(topology.cells()),
        events: Vec::new(),
        applied: Generation(0),
        coverage: 1.0,
        next_vm: forebay_world::VmId(0),
    }
}

/// What cells need in a minute, around `gbit` each.
fn needs(cells: usize, gbit: u64, minute: u64) -> Vec<Need> {
    let need = |cell: usize| {
        let wave = (cell as u64 * 7 + minute * 13) % 17;
        let rate = BitsPerSecond(gbit * 1_000_000_000 * (8 + wave) / 16);
        Need { cover: Some(rate), now: Some(rate), machines: true, demand: Some(true) }
    };
    (0..cells).map(need).collect()
}

fn slices(c: &mut Criterion) {
    let topology = topology();
    let cells = topology.cells();
    assert_eq!(cells, 1000);
    let config = ControllerConfig::default().slicing;
    for (name, gbit, moves) in [("calm", 15, false), ("moving", 15, true), ("contended", 60, true)] {
        let ticks: Vec<(Observation, Vec<Need>)> = (0..16)
            .map(|minute| (observation(&topology, minute), needs(cells, gbit, if moves { minute } else { 0 })))
            .collect();
        let mut slicing = Slicing::new(&config, &topology);
        let mut current: BTreeMap<SliceId, PlannedSlice> = BTreeMap::new();
        let mut tick = 0;
        c.bench_function(&format!("a thousand slices, {name}"), |b| {
            b.iter(|| {
                let (seen, needs) = &ticks[tick % ticks.len()];
                tick += 1;
                let sliced = slicing.slice(black_box(&current), seen, needs, &topology);
                if let Some(slices) = sliced.slices {
                    current = slices;
                }
                sliced.gave_way.len()
            });
        });
    }
    let mut slicing = Slicing::new(&config, &topology);
    let sliced = slicing.slice(&BTreeMap::new(), &observation(&topology, 0), &needs(cells, 15, 0), &topology);
    let (planned, home) = (sliced.slices.expect("they are new"), Steering::home(cells));
    c.bench_function("a thousand slices as an IETF document", |b| {
        b.iter(|| {
            let services = services(black_box(&planned), &home, &topology);
            serde_json::to_string(&ietf::document(&services)).expect("it is plain data").len()
        });
    });
}

criterion_group!(benches, slices);
criterion_main!(benches);
