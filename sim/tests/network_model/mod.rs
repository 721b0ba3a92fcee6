//! A small network written down as data: built in the network under test, and solved by linear programs.
#![allow(dead_code, reason = "shared by tests, each of which uses a part")]

use forebay_sim::network::{GroupIx, LinkIx, Network};
use forebay_world::{BitsPerSecond, PlannedSlice, SliceId, Timestamp};
use microlp::{ComparisonOp, OptimizationDirection, Problem, Variable};
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// Capacities \[bit/s\].
    pub(crate) links: Vec<f64>,
    pub(crate) slices: Vec<ModelSlice>,
    pub(crate) groups: Vec<ModelGroup>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelSlice {
    pub(crate) link: usize,
    pub(crate) planned: PlannedSlice,
}

#[derive(Clone, Debug)]
pub(crate) struct ModelGroup {
    pub(crate) path: Vec<usize>,
    pub(crate) slice: Option<usize>,
    pub(crate) cap: f64,
    pub(crate) count: f64,
}

/// A slice's rates, in whole bit/s.
pub(crate) fn planned(guarantee: u64, ceiling: u64, weight: u32, priority: u8) -> PlannedSlice {
    PlannedSlice {
        guarantee: BitsPerSecond(guarantee),
        ceiling: BitsPerSecond(ceiling),
        weight,
        priority,
        dscp: 0,
        latency: None,
    }
}

impl Model {
    pub(crate) fn build(&self) -> (Network, Vec<LinkIx>, Vec<GroupIx>) {
        let now = Timestamp::EPOCH;
        let mut network = Network::new();
        let links: Vec<LinkIx> = self.links.iter().map(|&capacity| network.add_link(capacity)).collect();
        for (ix, slice) in self.slices.iter().enumerate() {
            network.set_slice(now, SliceId::at(ix), links[slice.link], slice.planned);
        }
        let groups = (self.groups.iter())
            .map(|group| {
                let path: Vec<LinkIx> = group.path.iter().map(|&link| links[link]).collect();
                let ix = network.group(now, &path, group.slice.map(SliceId::at), group.cap, 0.5);
                let count = network.count(ix) + group.count;
                network.set_count(now, ix, count);
                ix
            })
            .collect();
        (network, links, groups)
    }

    /// Rates of the groups in the network under test.
    pub(crate) fn rates(&self) -> Vec<f64> {
        let (mut network, _, groups) = self.build();
        groups.into_iter().map(|group| network.rate(group)).collect()
    }

    /// What each link carries.
    pub(crate) fn carried(&self, rates: &[f64]) -> Vec<f64> {
        let on = |link: usize| move |(group, _): &(&ModelGroup, &f64)| group.path.contains(&link);
        (0..self.links.len())
            .map(|link| self.groups.iter().zip(rates).filter(on(link)).map(|(group, rate)| group.count * rate).sum())
            .collect()
    }

    /// What each slice carries.
    pub(crate) fn sliced(&self, rates: &[f64]) -> Vec<f64> {
        (0..self.slices.len())
            .map(|slice| {
                let of = self.groups.iter().zip(rates).filter(|(group, _)| group.slice == Some(slice));
                of.map(|(group, rate)| group.count * rate).sum()
            })
            .collect()
    }

    /// Asserts that no limit is exceeded, and that nobody could have more without another having less.
    pub(crate) fn assert_feasible_and_work_conserving(&self, rates: &[f64]) {
        let (carried, sliced) = (self.carried(rates), self.sliced(rates));
        for (link, &capacity) in self.links.iter().enumerate() {
            assert!(carried[link] <= capacity * (1.0 + 1e-9), "link {link}: {} of {capacity}", carried[link]);
        }
        for (ix, slice) in self.slices.iter().enumerate() {
            let ceiling = slice.planned.ceiling.as_f64();
            assert!(sliced[ix] <= ceiling * (1.0 + 1e-9), "slice {ix}: {} of {ceiling}", sliced[ix]);
        }
        for (ix, group) in self.groups.iter().enumerate() {
            assert!(rates[ix] <= group.cap, "group {ix}");
            let full = |link: usize| carried[link] >= self.links[link] * (1.0 - 1e-9);
            let topped = |slice: usize| sliced[slice] >= self.slices[slice].planned.ceiling.as_f64() * (1.0 - 1e-9);
            let stopped = rates[ix] >= group.cap * (1.0 - 1e-9)
                || group.path.iter().any(|&link| full(link))
                || group.slice.is_some_and(topped);
            assert!(stopped, "group {ix} could have more than {}", rates[ix]);
        }
    }

    /// Rates by linear programs: the phases of the network's definition, each filled stage by stage to the highest
    /// common level that a program finds.
    pub(crate) fn rates_by_linear_programs(&self) -> Vec<f64> {
        let mut rates = vec![0.0; self.groups.len()];
        let guarantees: Vec<f64> = (self.slices.iter())
            .map(|slice| {
                let sum: f64 = (self.slices.iter())
                    .filter(|other| other.link == slice.link)
                    .map(|other| other.planned.guarantee.as_f64())
                    .sum();
                let fit = if sum > self.links[slice.link] { self.links[slice.link] / sum } else { 1.0 };
                slice.planned.guarantee.min(slice.planned.ceiling).as_f64() * fit
            })
            .collect();
        let sliced: Vec<usize> = (0..self.groups.len()).filter(|&ix| self.groups[ix].slice.is_some()).collect();
        self.fill_evenly(&mut rates, sliced.clone(), Some(&guarantees));
        // Who goes on: flows of slices that reached their guarantee, unless something else stopped them.
        let carried = self.sliced(&rates);
        let may_rise = |ix: &usize| {
            let group = &self.groups[*ix];
            let slice = group.slice.expect("a sliced group");
            let top = (self.groups.iter().zip(&rates))
                .filter(|(other, _)| other.slice == group.slice)
                .map(|(_, &rate)| rate)
                .fold(0.0, f64::max);
            carried[slice] >= guarantees[slice] - 1e-7 && rates[*ix] >= top - 1e-7
        };
        let rising: Vec<usize> = sliced.iter().copied().filter(may_rise).collect();
        let priority = |ix: usize| self.slices[self.groups[ix].slice.unwrap()].planned.priority;
        let mut priorities: Vec<u8> = rising.iter().map(|&ix| priority(ix)).collect();
        priorities.sort_unstable();
        priorities.dedup();
        for level in priorities {
            let members = rising.iter().copied().filter(|&ix| priority(ix) == level).collect();
            self.fill_by_weight(&mut rates, members);
        }
        let best_effort = (0..self.groups.len()).filter(|&ix| self.groups[ix].slice.is_none()).collect();
        self.fill_evenly(&mut rates, best_effort, None);
        rates
    }

    /// All `rising` rise at one speed: lexicographic max-min. Each stage raises the least rate as far as it goes, and
    /// fixes those that no solution gives more.
    fn fill_evenly(&self, rates: &mut [f64], mut rising: Vec<usize>, guarantees: Option<&[f64]>) {
        while !rising.is_empty() {
            let program = |objective: Option<usize>, least: f64, rates: &[f64]| {
                let mut problem = Problem::new(OptimizationDirection::Maximize);
                let level = problem.add_var(f64::from(u8::from(objective.is_none())), (least, f64::INFINITY));
                let flows = self.add_flows(&mut problem, rates, &rising, objective);
                for &ix in &rising {
                    problem.add_constraint([(flows[ix], 1.0), (level, -1.0)], ComparisonOp::Ge, 0.0);
                }
                self.add_limits(&mut problem, &flows, guarantees);
                let solution = problem.solve().expect("solvable").into_solution().expect("solved");
                solution.objective()
            };
            let level = program(None, 0.0, rates);
            let held = (level - 1e-7).max(0.0);
            let (stopped, going): (Vec<usize>, Vec<usize>) =
                rising.iter().partition(|&&ix| program(Some(ix), held, rates) <= level + 1e-5);
            assert!(!stopped.is_empty(), "somebody is stopped at {level}");
            stopped.iter().for_each(|&ix| rates[ix] = level);
            rising = going;
        }
    }

    /// Slices rise by weight, evenly over those of their flows that have not stopped.
    fn fill_by_weight(&self, rates: &mut [f64], mut rising: Vec<usize>) {
        while !rising.is_empty() {
            let mut problem = Problem::new(OptimizationDirection::Maximize);
            let time = problem.add_var(1.0, (0.0, f64::INFINITY));
            let flows = self.add_flows(&mut problem, rates, &rising, None);
            for &ix in &rising {
                let slice = self.groups[ix].slice;
                let count: f64 = (rising.iter().filter(|&&other| self.groups[other].slice == slice))
                    .map(|&other| self.groups[other].count)
                    .sum();
                let speed = f64::from(self.slices[slice.unwrap()].planned.weight) / count;
                problem.add_constraint([(flows[ix], 1.0), (time, -speed)], ComparisonOp::Eq, rates[ix]);
            }
            self.add_limits(&mut problem, &flows, None);
            let solution = problem.solve().expect("solvable").into_solution().expect("solved");
            rising.iter().for_each(|&ix| rates[ix] = solution.var_value(flows[ix]));
            let (carried, sliced) = (self.carried(rates), self.sliced(rates));
            let before = rising.len();
            rising.retain(|&ix| {
                let group = &self.groups[ix];
                let slice = group.slice.unwrap();
                rates[ix] < group.cap - 1e-6
                    && group.path.iter().all(|&link| carried[link] < self.links[link] - 1e-6)
                    && sliced[slice] < self.slices[slice].planned.ceiling.as_f64() - 1e-6
            });
            assert!(rising.len() < before, "somebody is stopped");
        }
    }

    fn add_flows(&self, to: &mut Problem, rates: &[f64], rising: &[usize], favoured: Option<usize>) -> Vec<Variable> {
        (self.groups.iter().enumerate())
            .map(|(ix, group)| {
                let bounds = if rising.contains(&ix) { (0.0, group.cap) } else { (rates[ix], rates[ix]) };
                to.add_var(f64::from(u8::from(favoured == Some(ix))), bounds)
            })
            .collect()
    }

    fn add_limits(&self, to: &mut Problem, flows: &[Variable], guarantees: Option<&[f64]>) {
        let terms = |of: &dyn Fn(&ModelGroup) -> bool| {
            let members = self.groups.iter().zip(flows).filter(|(group, _)| of(group));
            members.map(|(group, &flow)| (flow, group.count)).collect::<Vec<_>>()
        };
        for (link, &capacity) in self.links.iter().enumerate() {
            // What earlier stages fixed is exact only within the solver's tolerance.
            to.add_constraint(terms(&|group| group.path.contains(&link)), ComparisonOp::Le, capacity + 1e-6);
        }
        for (ix, slice) in self.slices.iter().enumerate() {
            let limit = guarantees.map_or(slice.planned.ceiling.as_f64(), |guarantees| guarantees[ix]);
            to.add_constraint(terms(&|group| group.slice == Some(ix)), ComparisonOp::Le, limit + 1e-6);
        }
    }
}

/// Small networks of `links` links, with slices or without.
pub(crate) fn models(links: usize, groups: usize, slices: usize) -> impl Strategy<Value = Model> {
    let slice =
        (0..links, 0u64..40, 10u64..120, 1u32..5, 0u8..3).prop_map(|(link, guarantee, ceiling, weight, prio)| {
            ModelSlice { link, planned: planned(guarantee, ceiling, weight, prio) }
        });
    let group = (proptest::collection::btree_set(0..links, 1..=links.min(4)), 0usize..8, 1u32..240, 1u32..4);
    (
        proptest::collection::vec((4u32..400).prop_map(|c| f64::from(c) / 4.0), links),
        proptest::collection::vec(slice, 0..=slices),
        proptest::collection::vec(group, 1..=groups),
    )
        .prop_map(|(links, slices, groups)| {
            let groups = groups.into_iter().map(|(path, pick, cap, count)| {
                let path: Vec<usize> = path.into_iter().collect();
                let own: Vec<usize> = (0..slices.len()).filter(|&s| path.contains(&slices[s].link)).collect();
                // One in eight is best effort.
                let slice = if pick == 0 || own.is_empty() { None } else { Some(own[pick % own.len()]) };
                ModelGroup { path, slice, cap: f64::from(cap) / 4.0, count: f64::from(count) }
            });
            let mut groups: Vec<ModelGroup> = groups.collect();
            // The network keeps one group for each path, slice and cap.
            let mut seen = std::collections::BTreeSet::new();
            groups.retain(|group| seen.insert((group.path.clone(), group.slice, group.cap.to_bits())));
            Model { links, slices, groups }
        })
}
