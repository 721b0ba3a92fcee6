//! A small network for the tests of the whole world.

use std::sync::Arc;

use forebay_sim::setup::{Content, Dns, Fidelity, Hazards, Load, LocalTime, Setup, Synthetic};
use forebay_world::{
    BitsPerSecond, Bytes, Cpu, Duration, Flavour, FlavourId, Generation, Host, HostId, Link, LinkEnds, LinkId, Plan,
    PlannedSlice, PlannedVm, Region, RegionId, ResourceClass, Slo, Steering, Timestamp, Topology, VmId, VmIntent, Work,
};

pub(crate) const START: Timestamp = Timestamp::from_secs(1_781_000_400);

/// `regions` regions in a ring, each with 20 hosts; streaming, download and interactive classes.
pub(crate) fn topology(regions: usize) -> Topology {
    let region = |index: usize| Region {
        name: format!("r{index}"),
        lat: 0.0,
        lon: 0.0,
        time_zone: "UTC".into(),
        access: LinkId::at(index),
    };
    let access = |index: usize| Link {
        name: format!("r{index}-access"),
        ends: LinkEnds::Access(RegionId::at(index)),
        capacity: BitsPerSecond(100_000_000_000),
        delay: Duration::from_millis(5),
    };
    let between = |index: usize| Link {
        name: format!("r{index}-r{}", (index + 1) % regions),
        ends: LinkEnds::Between(RegionId::at(index), RegionId::at((index + 1) % regions)),
        capacity: BitsPerSecond(100_000_000_000),
        delay: Duration::from_millis(20),
    };
    let host = |index: usize| Host {
        name: format!("h{index}"),
        region: RegionId::at(index / 20),
        cpu: Cpu(64_000),
        memory: Bytes(256 << 30),
        bandwidth: BitsPerSecond(100_000_000_000),
        concurrent_boots: 2,
    };
    let class = |name: &str, work: Work, cpu: u64, latency: u64| ResourceClass {
        name: name.into(),
        work,
        cpu: Cpu(cpu),
        memory: Bytes(1 << 20),
        flavour: FlavourId(0),
        priority: 0,
        slo: Slo { latency: Duration::from_millis(latency), rate_floor: 0.95, tolerance: 0.05 },
        violation_price_per_minute: 1.0,
    };
    let mut links: Vec<Link> = (0..regions).map(access).collect();
    if regions > 1 {
        links.extend((0..regions).map(between));
    }
    Topology {
        regions: (0..regions).map(region).collect(),
        hosts: (0..20 * regions).map(host).collect(),
        links,
        classes: vec![
            class(
                "video",
                Work::Streaming { bit_rate: BitsPerSecond(5_000_000), duration: Duration::from_secs(300) },
                20,
                2000,
            ),
            class("download", Work::Download { size: Bytes(100_000_000), rate: BitsPerSecond(20_000_000) }, 40, 2000),
            class(
                "web",
                Work::Interactive {
                    requests_per_second: 0.5,
                    service: Duration::from_millis(20),
                    response: Bytes(50_000),
                    duration: Duration::from_secs(120),
                },
                0,
                400,
            ),
        ],
        flavours: vec![Flavour {
            name: "edge".into(),
            cpu: Cpu(8_000),
            memory: Bytes(16 << 30),
            bandwidth: BitsPerSecond(10_000_000_000),
            price_per_hour: 0.4,
            boot_median: Duration::from_secs(60),
            boot_sigma: 0.25,
            warm_up: Duration::from_secs(15),
        }],
    }
}

/// A flat load of `rates` sessions per second by class in every region.
pub(crate) fn setup(regions: usize, rates: [f64; 3], fidelity: Fidelity, seed: u64) -> Setup {
    let topology = Arc::new(topology(regions));
    let load = topology
        .cell_ids()
        .map(|(_, class)| {
            Load::Synthetic(Synthetic {
                sessions_per_second: rates[class.index()],
                daily: [1.0; 24],
                weekly: [1.0; 7],
                noise_sigma: 0.0,
                noise_step: Duration::from_mins(5),
            })
        })
        .collect();
    Setup {
        start: START,
        end: START + Duration::from_hours(4),
        score_from: START + Duration::from_mins(60),
        seed,
        fidelity,
        local_time: vec![LocalTime(vec![(START, 0)]); regions],
        load,
        crowds: Vec::new(),
        dns: Dns {
            resolvers: vec![200; regions],
            resolver_skew: 0.5,
            ttl: vec![Duration::from_secs(20); 3],
            extending_share: 0.0,
            extended_ttl: Duration::from_secs(60),
            ecs_share: 0.0,
            ecs_subnets: 1,
        },
        content: Content {
            objects: vec![100_000; 3],
            exponent: vec![0.9; 3],
            cached: vec![20_000; 3],
            origin_delay: Duration::from_millis(80),
        },
        faults: Vec::new(),
        hazards: Hazards::default(),
        overload_limit: 1.5,
        events: Vec::new(),
        topology,
    }
}

/// `vms` machines in every region × class, one after another over the region's hosts; slices of a third of the link.
pub(crate) fn plan(topology: &Topology, generation: u64, vms: u64) -> Plan {
    let mut plan =
        Plan { generation: Generation(generation), steering: Steering::home(topology.cells()), ..Plan::default() };
    for (cell, (region, class)) in topology.cell_ids().enumerate() {
        let slice = topology.slice(region, class);
        let ceiling = BitsPerSecond(100_000_000_000);
        plan.slices.insert(
            slice,
            PlannedSlice {
                guarantee: BitsPerSecond(30_000_000_000),
                ceiling,
                weight: 1,
                priority: 0,
                dscp: 0,
                latency: None,
            },
        );
        for n in 0..vms {
            let id = VmId(cell as u64 * 1000 + n);
            let host = HostId::at(region.index() * 20 + (n as usize * 3 + class.index()) % 20);
            plan.vms
                .insert(id, PlannedVm { region, host, flavour: FlavourId(0), class, slice, intent: VmIntent::Running });
        }
    }
    plan
}
