//! Completions of elastic flows, one and its successor an iteration.
//!
//! `flow`: a closed loop of N flows over 100 links, between random hosts; without slices, with three on every host's
//! link (`sliced`), with three on every link between regions (`sliced-backbone`), and solved naively (every flow on its own, from scratch at every completion) beside it. Nearly every flow has a
//! path of its own, which is the worst case. `region`: the shape that this crate makes of it: virtual machines with
//! their own links behind the access links of eight regions, three classes of flows with caps, one in five served from
//! afar, and access links too small for all; without slices and with one for each region and class.

#[path = "../tests/flow/mod.rs"]
mod flow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::{Flow, Naive, Slicing, SplitMix};
use forebay_sim::network::{GroupIx, Network};
use forebay_world::{BitsPerSecond, Duration, PlannedSlice, SliceId, Timestamp};

const REGIONS: usize = 8;
const CLASSES: usize = 3;
const MACHINES: usize = 20;
const CAPS: [f64; CLASSES] = [5e6, 2e7, 5e7];

/// Flows from virtual machines to clients.
struct Regions {
    network: Network,
    random: SplitMix,
    /// By serving region, class, machine, client region.
    groups: Vec<GroupIx>,
    now: Timestamp,
}

impl Regions {
    fn new(flows: usize, sliced: bool) -> Self {
        let now = Timestamp::EPOCH;
        let mut network = Network::new();
        // Three quarters of what the flows of a region could take in the mean.
        let capacity = 0.75 * CAPS.iter().sum::<f64>() / CLASSES as f64 * flows as f64 / REGIONS as f64;
        let access: Vec<_> = (0..REGIONS).map(|_| network.add_link(capacity)).collect();
        let backbone: Vec<_> = (0..REGIONS * REGIONS).map(|_| network.add_link(capacity / 8.0)).collect();
        let mut groups = Vec::new();
        for (region, &access) in access.iter().enumerate() {
            for (class, &cap) in CAPS.iter().enumerate() {
                let slice = SliceId::at(region * CLASSES + class);
                if sliced {
                    let planned = PlannedSlice {
                        guarantee: BitsPerSecond::from_f64(capacity / 4.0),
                        ceiling: BitsPerSecond::from_f64(capacity * 0.8),
                        weight: 1 + class as u32,
                        priority: u8::from(class == 2),
                        dscp: 0,
                        latency: None,
                    };
                    network.set_slice(now, slice, access, planned);
                }
                for _ in 0..MACHINES {
                    let own = network.add_link(capacity / 30.0);
                    for client in 0..REGIONS {
                        let (low, high) = (region.min(client), region.max(client));
                        let mut path = vec![own, access];
                        path.extend((client != region).then(|| backbone[low * REGIONS + high]));
                        groups.push(network.group(now, &path, sliced.then_some(slice), cap, 0.8));
                    }
                }
            }
        }
        let mut regions = Regions { network, random: SplitMix(42), groups, now };
        (0..flows).for_each(|_| regions.start());
        regions
    }

    fn start(&mut self) {
        let mut pick = |n: usize| (self.random.draw() % n as u64) as usize;
        let (region, class, machine) = (pick(REGIONS), pick(CLASSES), pick(MACHINES));
        let client = if pick(5) == 0 { pick(REGIONS) } else { region };
        let group = self.groups[((region * CLASSES + class) * MACHINES + machine) * REGIONS + client];
        let seconds = self.random.exponential() * 60.0;
        self.network.start(self.now, group, CAPS[class] * seconds, 0);
    }

    fn complete(&mut self, flows: usize) {
        for _ in 0..flows {
            self.now = self.network.next_completion().expect("flows are under way");
            self.network.complete(self.now).expect("one ends now");
            self.start();
        }
    }
}

fn completions(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow");
    group.throughput(Throughput::Elements(1));
    for flows in [1_000, 10_000] {
        let slicings = [("plain", Slicing::None), ("sliced", Slicing::Access), ("sliced-backbone", Slicing::Backbone)];
        for (name, slicing) in slicings {
            let mut flow = Flow::new(flows, slicing);
            flow.complete(flows.min(2_000));
            group.bench_function(format!("{name}/{flows}"), |b| b.iter(|| flow.complete(1)));
        }
        let mut naive = Naive::new(flows);
        naive.complete(100);
        group.bench_function(format!("naive/{flows}"), |b| b.iter(|| naive.complete(1)));
    }
    group.finish();
    let mut group = c.benchmark_group("region");
    group.throughput(Throughput::Elements(1));
    for flows in [1_000, 10_000] {
        for (name, sliced) in [("plain", false), ("sliced", true)] {
            let mut regions = Regions::new(flows, sliced);
            regions.complete(2 * flows);
            group.bench_function(format!("{name}/{flows}"), |b| b.iter(|| regions.complete(1)));
        }
    }
    group.finish();
    // Where nothing is contended, a flow costs a few additions.
    let mut network = Network::new();
    let path = [network.add_link(1e12), network.add_link(1e12), network.add_link(1e12)];
    let group = network.group(Timestamp::EPOCH, &path, None, 5e6, 0.8);
    let mut now = Timestamp::EPOCH;
    c.bench_function("uncontended/join+leave", |b| {
        b.iter(|| {
            now += Duration::from_millis(1);
            network.join(now, group);
            now += Duration::from_millis(1);
            network.leave(now, group);
        });
    });
}

criterion_group!(benches, completions);
criterion_main!(benches);
