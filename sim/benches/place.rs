//! Placement of machines on hosts with their whole life (reference W4): every machine asked for at once, first fit by
//! host, boot 1 s, run 100 s, release; a machine that finds no host asks again after 60 s.
//!
//! `cargo bench -p forebay-sim --bench place`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forebay_sim::Agenda;
use forebay_world::{BitsPerSecond, Bytes, Cpu, Duration, HostLedger, Room, Timestamp};

#[derive(Clone, Copy)]
enum Life {
    Ask(u32),
    Booted(u32),
    Stop(u32),
}

/// Draws as the reference defines them.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Lives of `machines` on `hosts` hosts; returns when the last is released and how many asked more than once.
fn lives(hosts: usize, machines: u32) -> (Timestamp, u32) {
    const MIB: u64 = 1 << 20;
    let room =
        |cpu: u64, memory: u64| Room { cpu: Cpu(cpu * 1000), memory: Bytes(memory * MIB), bandwidth: BitsPerSecond(0) };
    let mut ledger = HostLedger::new(std::iter::repeat_n(room(144, 204_800), hosts));
    let mut agenda = Agenda::new();
    let mut chance = 47;
    let mut needs = Vec::with_capacity(machines as usize);
    let mut host_of = vec![0u32; machines as usize];
    for machine in 0..machines {
        let cpu = [1, 2, 4, 8][(splitmix64(&mut chance) % 4) as usize];
        let memory = [512, 1024, 2048][(splitmix64(&mut chance) % 3) as usize];
        needs.push(room(cpu, memory));
        agenda.schedule(Timestamp::EPOCH, 0, Life::Ask(machine));
    }
    let (mut again, mut last) = (0, Timestamp::EPOCH);
    while let Some((now, event)) = agenda.pop() {
        match event {
            Life::Ask(machine) => match ledger.first_fit(&needs[machine as usize]) {
                Some(host) => {
                    assert!(ledger.take(host, &needs[machine as usize]));
                    host_of[machine as usize] = host as u32;
                    agenda.schedule(now + Duration::from_secs(1), 1, Life::Booted(machine));
                }
                None => {
                    again += 1;
                    agenda.schedule(now + Duration::from_secs(60), 2, Life::Ask(machine));
                }
            },
            Life::Booted(machine) => agenda.schedule(now + Duration::from_secs(100), 0, Life::Stop(machine)),
            Life::Stop(machine) => {
                ledger.give_back(host_of[machine as usize] as usize, &needs[machine as usize]);
                last = now;
            }
        }
    }
    (last, again)
}

fn place(c: &mut Criterion) {
    let mut group = c.benchmark_group("place");
    group.sample_size(20);
    for (hosts, machines) in [(1_000, 10_000), (5_000, 50_000)] {
        group.throughput(Throughput::Elements(u64::from(machines)));
        let id = BenchmarkId::from_parameter(format!("{hosts} hosts, {machines} machines"));
        group.bench_function(id, |b| b.iter(|| lives(hosts, machines)));
    }
    group.finish();
}

criterion_group!(benches, place);
criterion_main!(benches);
