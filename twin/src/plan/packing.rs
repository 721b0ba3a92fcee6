//! Machines onto the hosts of a region: vector bin packing over processors, memory and network interface.
//!
//! A heuristic first: machines by size, the largest first, each on the used host whose room it matches best, by the dot
//! product of what it needs and what is left (R. Panigrahy et al., "Heuristics for vector bin packing", 2011), and first
//! fit beside it, alone where there are very many. Where that uses more hosts than the lower bound, or leaves something out, and the instance is small,
//! branch and bound decides, within a fixed number of nodes. What comes out says how it was found and how far it may be
//! from the best: never more than its gap to the bound.

use forebay_world::{HostLedger, Room};
use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOptions, Variable};
use serde::{Deserialize, Serialize};

/// How machines were put on hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Decreasing size, best match.
    DotProduct,
    /// Decreasing size, first fit.
    FirstFit,
    /// Branch and bound to its end.
    Exact,
    /// Branch and bound to its limit of nodes.
    BranchAndBound,
}

impl Method {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Method::DotProduct => "dot-product",
            Method::FirstFit => "first-fit",
            Method::Exact => "exact",
            Method::BranchAndBound => "branch-and-bound",
        }
    }
}

/// Machines on hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Packing {
    /// How it was found.
    pub method: Method,
    /// For each host, how many machines of each size.
    pub hosts: Vec<Vec<u32>>,
    /// Machines of each size that found no host.
    pub left_out: Vec<u32>,
    /// No packing of them all uses fewer hosts.
    pub bound: u32,
}

impl Packing {
    /// Hosts with at least one machine.
    pub fn used(&self) -> u32 {
        self.hosts.iter().filter(|counts| counts.iter().any(|count| *count > 0)).count() as u32
    }

    /// Hosts used beyond the bound, as a share of it: the packing uses at most that many more than the best does.
    pub fn gap(&self) -> f64 {
        if self.bound == 0 { 0.0 } else { f64::from(self.used()) / f64::from(self.bound) - 1.0 }
    }

    /// Whether every machine found a host.
    pub fn is_whole(&self) -> bool {
        self.left_out.iter().all(|count| *count == 0)
    }
}

/// Instances up to so many hosts × sizes are small enough for branch and bound …
const SMALL: usize = 48;
/// … within so many nodes.
const NODES: u64 = 300;

/// With more machines × hosts than this, no best match is looked for.
const LARGE: usize = 2_000_000;

/// Puts machines, so many of each size, on hosts with so much room.
pub fn pack(rooms: &[Room], sizes: &[Room], counts: &[u32]) -> Packing {
    assert_eq!(sizes.len(), counts.len(), "a count for each size");
    let bound = bound(rooms, sizes, counts);
    let missing = |hosts: &[Vec<u32>]| -> u32 {
        let placed: u32 = hosts.iter().flatten().sum();
        counts.iter().sum::<u32>() - placed
    };
    let used = |hosts: &[Vec<u32>]| hosts.iter().filter(|counts| counts.iter().any(|count| *count > 0)).count();
    let machines = counts.iter().map(|count| *count as usize).sum::<usize>();
    let matched = (machines.saturating_mul(rooms.len()) <= LARGE).then(|| best_match(rooms, sizes, counts));
    let (mut method, mut hosts) = matched
        .map(|hosts| (Method::DotProduct, hosts))
        .into_iter()
        .chain([(Method::FirstFit, first_fit(rooms, sizes, counts))])
        .min_by_key(|(_, hosts)| (missing(hosts), used(hosts)))
        .expect("one at least was tried");
    let better = missing(&hosts) > 0 || used(&hosts) > bound as usize;
    if better
        && rooms.len() * sizes.len() <= SMALL
        && let Some((proven, found)) = exact(rooms, sizes, counts)
        && (missing(&found), used(&found)) <= (missing(&hosts), used(&hosts))
    {
        method = if proven { Method::Exact } else { Method::BranchAndBound };
        hosts = found;
    } else if missing(&hosts) == 0 && used(&hosts) == bound as usize && rooms.len() * sizes.len() <= SMALL {
        // At its bound: nothing is better.
        method = Method::Exact;
    }
    let mut left_out = counts.to_vec();
    for host in &hosts {
        left_out.iter_mut().zip(host).for_each(|(left, placed)| *left -= placed);
    }
    Packing { method, hosts, left_out, bound }
}

/// A packing that is given; `None` when a host has no room for what it is given, or machines are not all placed.
pub(super) fn given(
    rooms: &[Room],
    sizes: &[Room],
    counts: &[u32],
    hosts: Vec<Vec<u32>>,
    method: Method,
) -> Option<Packing> {
    let placed = |size: usize| hosts.iter().map(|host| host[size]).sum::<u32>();
    let whole = (0..sizes.len()).all(|size| placed(size) == counts[size]);
    (whole && fits(rooms, sizes, &hosts)).then(|| Packing {
        method,
        hosts,
        left_out: vec![0; sizes.len()],
        bound: bound(rooms, sizes, counts),
    })
}

/// The fewest hosts that could do, by volume in each dimension and by how many of each size a host takes.
fn bound(rooms: &[Room], sizes: &[Room], counts: &[u32]) -> u32 {
    let fewest = |mut takes: Vec<u64>, need: u64| -> u32 {
        takes.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = 0_u64;
        let mut hosts = 0;
        for take in takes {
            if sum >= need {
                break;
            }
            sum = sum.saturating_add(take);
            hosts += 1;
        }
        hosts
    };
    let dimension = |part: fn(&Room) -> u64| {
        let need = sizes.iter().zip(counts).map(|(size, count)| part(size).saturating_mul(u64::from(*count))).sum();
        fewest(rooms.iter().map(part).collect(), need)
    };
    let volume = PARTS.map(dimension).into_iter().max().unwrap_or(0);
    let by_size = sizes
        .iter()
        .zip(counts)
        .map(|(size, count)| fewest(rooms.iter().map(|room| most_of(room, size)).collect(), u64::from(*count)));
    by_size.max().unwrap_or(0).max(volume)
}

const PARTS: [fn(&Room) -> u64; 3] = [|room| room.cpu.0, |room| room.memory.0, |room| room.bandwidth.0];

/// How many machines of `size` fit into `room`.
fn most_of(room: &Room, size: &Room) -> u64 {
    PARTS.map(|part| part(room).checked_div(part(size)).unwrap_or(u64::MAX)).into_iter().min().unwrap_or(0)
}

/// Sizes, the largest share of all hosts together first, and the shares of each.
fn by_volume(rooms: &[Room], sizes: &[Room]) -> (Vec<usize>, impl Fn(&Room) -> [f64; 3]) {
    let totals = PARTS.map(|part| rooms.iter().map(|room| part(room) as f64).sum::<f64>().max(1.0));
    let parts = move |room: &Room| {
        let mut shares = PARTS.map(|part| part(room) as f64);
        shares.iter_mut().zip(&totals).for_each(|(share, total)| *share /= total);
        shares
    };
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    let volume = |size: usize| parts(&sizes[size]).iter().sum::<f64>();
    order.sort_by(|a, b| volume(*b).total_cmp(&volume(*a)).then(a.cmp(b)));
    (order, parts)
}

/// Machines by size, the largest first, each on the used host that it matches best, or on a new one.
fn best_match(rooms: &[Room], sizes: &[Room], counts: &[u32]) -> Vec<Vec<u32>> {
    let (order, parts) = by_volume(rooms, sizes);
    let mut left = rooms.to_vec();
    let mut hosts = vec![vec![0; sizes.len()]; rooms.len()];
    let mut used = vec![false; rooms.len()];
    for size in order {
        let need = parts(&sizes[size]);
        let match_of = |room: &Room| parts(room).iter().zip(&need).map(|(left, need)| left * need).sum::<f64>();
        for _ in 0..counts[size] {
            let fitting = || (0..rooms.len()).filter(|host| left[*host].fits(&sizes[size]));
            let best = |a: &usize, b: &usize| match_of(&left[*a]).total_cmp(&match_of(&left[*b])).then(b.cmp(a));
            let chosen = fitting().filter(|host| used[*host]).max_by(best).or_else(|| fitting().max_by(best));
            let Some(host) = chosen else { break };
            let (room, size_of) = (&mut left[host], &sizes[size]);
            room.cpu = room.cpu - size_of.cpu;
            room.memory = room.memory - size_of.memory;
            room.bandwidth = room.bandwidth - size_of.bandwidth;
            hosts[host][size] += 1;
            used[host] = true;
        }
    }
    hosts
}

/// Machines by size, the largest first, each on the first host with room.
fn first_fit(rooms: &[Room], sizes: &[Room], counts: &[u32]) -> Vec<Vec<u32>> {
    let (order, _) = by_volume(rooms, sizes);
    let mut ledger = HostLedger::new(rooms.iter().copied());
    let mut hosts = vec![vec![0; sizes.len()]; rooms.len()];
    for size in order {
        for _ in 0..counts[size] {
            let Some(host) = ledger.first_fit(&sizes[size]) else { break };
            ledger.take(host, &sizes[size]);
            hosts[host][size] += 1;
        }
    }
    hosts
}

/// Branch and bound over how many machines of each size each host takes: all of them, on as few hosts as may be. Whether
/// it was proven, and the packing; `None` when there is none, or none was found.
fn exact(rooms: &[Room], sizes: &[Room], counts: &[u32]) -> Option<(bool, Vec<Vec<u32>>)> {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let mut takes: Vec<Vec<Variable>> = Vec::new();
    let mut opens: Vec<Variable> = Vec::new();
    for room in rooms {
        let open = problem.add_binary_var(1.0);
        let row: Vec<Variable> = sizes
            .iter()
            .zip(counts)
            .map(|(size, count)| {
                let most = most_of(room, size).min(u64::from(*count)).min(i32::MAX as u64) as i32;
                problem.add_integer_var(0.0, (0, most))
            })
            .collect();
        for part in PARTS {
            // In shares of the host, so that coefficients are of one size.
            let whole = (part(room) as f64).max(1.0);
            let mut terms: Vec<(Variable, f64)> =
                row.iter().zip(sizes).map(|(take, size)| (*take, part(size) as f64 / whole)).collect();
            terms.push((open, -1.0));
            problem.add_constraint(&terms, ComparisonOp::Le, 0.0);
        }
        takes.push(row);
        opens.push(open);
    }
    // Of hosts alike the first are used.
    for (a, b) in (0..rooms.len()).zip(1..rooms.len()).filter(|(a, b)| rooms[*a] == rooms[*b]) {
        problem.add_constraint([(opens[a], 1.0), (opens[b], -1.0)], ComparisonOp::Ge, 0.0);
    }
    for (size, count) in counts.iter().enumerate() {
        let terms: Vec<(Variable, f64)> = takes.iter().map(|row| (row[size], 1.0)).collect();
        problem.add_constraint(&terms, ComparisonOp::Eq, f64::from(*count));
    }
    let mut options = SolveOptions::default();
    options.node_limit = Some(NODES);
    let solution = problem.solve_with(options).ok()?.into_solution().ok()?;
    let hosts: Vec<Vec<u32>> =
        takes.iter().map(|row| row.iter().map(|take| solution.var_value(*take).round() as u32).collect()).collect();
    let proven = solution.status() == microlp::SolutionStatus::Optimal;
    fits(rooms, sizes, &hosts).then_some((proven, hosts))
}

/// Whether no host has more than it has room for: the solver computes in floating point.
pub(super) fn fits(rooms: &[Room], sizes: &[Room], hosts: &[Vec<u32>]) -> bool {
    rooms.iter().zip(hosts).all(|(room, counts)| {
        PARTS.iter().all(|part| {
            let sum: u64 = counts.iter().zip(sizes).map(|(count, size)| u64::from(*count) * part(size)).sum();
            sum <= part(room)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_world::{BitsPerSecond, Bytes, Cpu};
    use proptest::prelude::*;

    fn room((cpu, memory, bandwidth): (u64, u64, u64)) -> Room {
        Room { cpu: Cpu(cpu), memory: Bytes(memory), bandwidth: BitsPerSecond(bandwidth) }
    }

    fn rooms(list: &[(u64, u64, u64)]) -> Vec<Room> {
        list.iter().copied().map(room).collect()
    }

    /// The fewest hosts that take all machines, by trying every host for every machine; `None` when none do.
    fn brute_force(left: &mut [Room], used: &mut [u32], machines: &[Room]) -> Option<u32> {
        let Some((size, rest)) = machines.split_first() else {
            return Some(used.iter().filter(|count| **count > 0).count() as u32);
        };
        let mut best = None;
        for host in 0..left.len() {
            if left[host].fits(size) {
                let before = left[host];
                left[host] = Room {
                    cpu: before.cpu - size.cpu,
                    memory: before.memory - size.memory,
                    bandwidth: before.bandwidth - size.bandwidth,
                };
                used[host] += 1;
                let found = brute_force(left, used, rest);
                best = [best, found].into_iter().flatten().min();
                used[host] -= 1;
                left[host] = before;
            }
        }
        best
    }

    proptest! {
        #[test]
        fn small_instances_are_packed_as_well_as_can_be(
            hosts in prop::collection::vec((3u64..9, 3u64..9, 3u64..9), 1..5),
            kinds in prop::collection::vec(((1u64..5, 1u64..5, 0u64..5), 0u32..4), 1..4),
        ) {
            let (hosts, sizes) = (rooms(&hosts), kinds.iter().map(|(size, _)| room(*size)).collect::<Vec<_>>());
            let counts: Vec<u32> = kinds.iter().map(|(_, count)| *count).collect();
            let packing = pack(&hosts, &sizes, &counts);
            let machines: Vec<Room> =
                sizes.iter().zip(&counts).flat_map(|(size, count)| vec![*size; *count as usize]).collect();
            prop_assume!(machines.len() <= 7);
            let best = brute_force(&mut hosts.clone(), &mut vec![0; hosts.len()], &machines);
            prop_assert!(fits(&hosts, &sizes, &packing.hosts));
            match best {
                Some(best) => {
                    prop_assert!(packing.is_whole(), "{packing:?}");
                    prop_assert_eq!(packing.used(), best);
                    prop_assert!(packing.bound <= best);
                }
                None => prop_assert!(!packing.is_whole()),
            }
        }

        #[test]
        fn no_host_is_overfull_and_the_gap_is_true(
            hosts in prop::collection::vec((20u64..90, 20u64..90, 20u64..90), 1..40),
            kinds in prop::collection::vec(((1u64..30, 1u64..30, 1u64..30), 0u32..40), 1..6),
        ) {
            let (hosts, sizes) = (rooms(&hosts), kinds.iter().map(|(size, _)| room(*size)).collect::<Vec<_>>());
            let counts: Vec<u32> = kinds.iter().map(|(_, count)| *count).collect();
            let packing = pack(&hosts, &sizes, &counts);
            prop_assert!(fits(&hosts, &sizes, &packing.hosts));
            for (size, count) in counts.iter().enumerate() {
                let placed: u32 = packing.hosts.iter().map(|host| host[size]).sum();
                prop_assert_eq!(placed + packing.left_out[size], *count);
                // What was left out fits nowhere.
                if packing.left_out[size] > 0 && packing.method != Method::BranchAndBound {
                    let free = |host: usize| {
                        let mut left = hosts[host];
                        for (other, placed) in packing.hosts[host].iter().enumerate() {
                            left.cpu = left.cpu - sizes[other].cpu * u64::from(*placed);
                            left.memory = left.memory - sizes[other].memory * u64::from(*placed);
                            left.bandwidth = left.bandwidth - sizes[other].bandwidth * u64::from(*placed);
                        }
                        left
                    };
                    prop_assert!((0..hosts.len()).all(|host| !free(host).fits(&sizes[size])));
                }
            }
            if packing.is_whole() {
                prop_assert!(packing.used() >= packing.bound);
                prop_assert!(packing.gap() >= 0.0);
            }
        }
    }

    #[test]
    fn very_many_are_packed_all_the_same() {
        let hosts = rooms(&[(64, 256, 40), (32, 64, 20)].repeat(3000));
        let sizes = rooms(&[(2, 4, 1), (8, 16, 4)]);
        let packing = pack(&hosts, &sizes, &[40_000, 15_000]);
        assert!(packing.is_whole() && fits(&hosts, &sizes, &packing.hosts));
        assert_eq!(packing.method, Method::FirstFit);
        assert!(packing.gap() < 0.5, "{}", packing.gap());
    }

    #[test]
    fn branch_and_bound_finds_what_decreasing_size_does_not() {
        // 6+4 and 5+5 fill two hosts; by decreasing size 6, 5, 5, 4 the first match may spoil it.
        let hosts = rooms(&[(10, 10, 10), (10, 10, 10), (10, 10, 10)]);
        let sizes = rooms(&[(6, 1, 1), (5, 1, 1), (4, 1, 1), (2, 8, 1)]);
        let packing = pack(&hosts, &sizes, &[1, 2, 1, 0]);
        assert_eq!((packing.used(), packing.method), (2, Method::Exact));
        assert_eq!(pack(&hosts, &sizes, &[0; 4]).used(), 0);
        let none = pack(&[], &sizes, &[1, 0, 0, 0]);
        assert_eq!((none.left_out[0], none.used()), (1, 0));
    }
}
