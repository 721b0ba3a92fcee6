//! The FLOW work: 90 hosts in 5 regions, an access link each, and a link between every two regions; a closed loop of
//! flows between random hosts. Random numbers are SplitMix64's, so that every program that does this work takes the
//! same sample path.
#![allow(dead_code, reason = "shared by tests and benchmarks, each of which uses a part")]

use forebay_sim::network::{GroupIx, LinkIx, Network};
use forebay_world::{BitsPerSecond, PlannedSlice, SliceId, Timestamp};

const HOSTS: usize = 90;
const REGIONS: usize = 5;
const CLASSES: usize = 3;
/// More than any link carries \[bit/s\].
const CAP: f64 = 1e15;

/// SplitMix64, one state word.
#[derive(Clone)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn exponential(&mut self) -> f64 {
        -(((self.draw() >> 11) + 1) as f64 / (1u64 << 53) as f64).ln()
    }

    /// Source, destination and size \[byte\] of the next flow.
    fn flow(&mut self) -> (usize, usize, f64) {
        let from = (self.draw() % HOSTS as u64) as usize;
        let to = (self.draw() % (HOSTS as u64 - 1)) as usize;
        (from, if to >= from { to + 1 } else { to }, self.exponential() * 1e8 + 1.0)
    }
}

fn access_bytes_per_second(host: usize) -> f64 {
    1.25e8 * (1 + host % 4) as f64
}

/// Number and capacity of the link between two regions.
fn between(a: usize, b: usize) -> (usize, f64) {
    let (a, b) = (a.min(b), a.max(b));
    let number = (0..a).map(|r| REGIONS - 1 - r).sum::<usize>() + (b - a - 1);
    (number, 5e8 * (1 + number % 3) as f64)
}

const LINKS: usize = HOSTS + REGIONS * (REGIONS - 1) / 2;

fn capacity_bytes_per_second(link: usize) -> f64 {
    if link < HOSTS {
        return access_bytes_per_second(link);
    }
    5e8 * (1 + (link - HOSTS) % 3) as f64
}

fn route(from: usize, to: usize) -> Vec<usize> {
    let (a, b) = (from / (HOSTS / REGIONS), to / (HOSTS / REGIONS));
    if a == b { vec![from, to] } else { vec![from, HOSTS + between(a, b).0, to] }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Slicing {
    None,
    /// Three slices on every access link, each guaranteed a twentieth of it, with weights 1, 2 and 3; the flow between
    /// hosts i and j is of class (i + j) mod 3, and sliced on the lower host's link when i + j is even, on the
    /// higher one's when it is odd.
    Access,
    /// The same three slices on every link between regions, for the flows that cross it; flows within a region are best
    /// effort.
    Backbone,
}

/// The work, done by the network under test.
pub(crate) struct Flow {
    pub(crate) network: Network,
    random: SplitMix,
    groups: Vec<GroupIx>,
    pub(crate) now: Timestamp,
}

impl Flow {
    pub(crate) fn new(flows: usize, slicing: Slicing) -> Self {
        let mut network = Network::new();
        let now = Timestamp::EPOCH;
        let links: Vec<LinkIx> = (0..LINKS).map(|l| network.add_link(capacity_bytes_per_second(l) * 8.0)).collect();
        let sliced = match slicing {
            Slicing::None => 0..0,
            Slicing::Access => 0..HOSTS,
            Slicing::Backbone => HOSTS..LINKS,
        };
        for number in sliced {
            let capacity = capacity_bytes_per_second(number) * 8.0;
            for class in 0..CLASSES {
                let planned = PlannedSlice {
                    guarantee: BitsPerSecond::from_f64(capacity / 20.0),
                    ceiling: BitsPerSecond::from_f64(capacity),
                    weight: 1 + class as u32,
                    priority: 0,
                    dscp: 0,
                    latency: None,
                };
                network.set_slice(now, SliceId::at(number * CLASSES + class), links[number], planned);
            }
        }
        let mut groups = Vec::new();
        for from in 0..HOSTS {
            for to in 0..HOSTS {
                let (low, high) = (from.min(to), from.max(to));
                let route = if from == to { vec![from] } else { route(low, high) };
                let sliced = match slicing {
                    Slicing::None => None,
                    Slicing::Access => Some(if (low + high) % 2 == 0 { low } else { high }),
                    Slicing::Backbone => route.iter().copied().find(|&link| link >= HOSTS),
                };
                let slice = sliced.map(|link| SliceId::at(link * CLASSES + (low + high) % CLASSES));
                let path: Vec<LinkIx> = route.iter().map(|&link| links[link]).collect();
                groups.push(network.group(now, &path, slice, CAP, 0.0));
            }
        }
        let mut flow = Flow { network, random: SplitMix(42), groups, now };
        (0..flows).for_each(|_| flow.start());
        flow
    }

    fn start(&mut self) {
        let (from, to, bytes) = self.random.flow();
        self.network.start(self.now, self.groups[from * HOSTS + to], bytes * 8.0, 0);
    }

    /// Lets so many flows end, each of which starts another.
    pub(crate) fn complete(&mut self, flows: usize) {
        for _ in 0..flows {
            self.now = self.network.next_completion().expect("flows are under way");
            self.network.complete(self.now).expect("one ends now");
            self.start();
        }
    }
}

/// The work, solved for every flow from scratch at every completion.
pub(crate) struct Naive {
    random: SplitMix,
    flows: Vec<NaiveFlow>,
    pub(crate) seconds: f64,
}

struct NaiveFlow {
    path: Vec<usize>,
    bytes_left: f64,
    rate: f64,
}

impl Naive {
    pub(crate) fn new(flows: usize) -> Self {
        let mut naive = Naive { random: SplitMix(42), flows: Vec::new(), seconds: 0.0 };
        for _ in 0..flows {
            let flow = naive.draw();
            naive.flows.push(flow);
        }
        naive
    }

    fn draw(&mut self) -> NaiveFlow {
        let (from, to, bytes) = self.random.flow();
        NaiveFlow { path: route(from, to), bytes_left: bytes, rate: -1.0 }
    }

    pub(crate) fn complete(&mut self, flows: usize) {
        for _ in 0..flows {
            self.solve();
            let (first, seconds) = (self.flows.iter().enumerate())
                .map(|(at, flow)| (at, flow.bytes_left / flow.rate))
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .expect("flows are under way");
            self.seconds += seconds;
            for flow in &mut self.flows {
                flow.bytes_left -= flow.rate * seconds;
            }
            let flow = self.draw();
            self.flows[first] = flow;
        }
    }

    fn solve(&mut self) {
        let mut room: Vec<f64> = (0..LINKS).map(capacity_bytes_per_second).collect();
        let mut rising = [0.0f64; LINKS];
        let mut crossing: Vec<Vec<u32>> = vec![Vec::new(); LINKS];
        for (at, flow) in self.flows.iter_mut().enumerate() {
            flow.rate = -1.0;
            for &link in &flow.path {
                rising[link] += 1.0;
                crossing[link].push(at as u32);
            }
        }
        while let Some((link, level)) = (0..LINKS)
            .filter(|&link| rising[link] > 0.0)
            .map(|link| (link, room[link] / rising[link]))
            .min_by(|a, b| a.1.total_cmp(&b.1))
        {
            for &at in &crossing[link] {
                let flow = &mut self.flows[at as usize];
                if flow.rate < 0.0 {
                    flow.rate = level;
                    for &other in &flow.path {
                        room[other] -= level;
                        rising[other] -= 1.0;
                    }
                }
            }
        }
    }
}
