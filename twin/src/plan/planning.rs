//! From futures of demand to a resource allocation plan.
//!
//! ```text
//!   futures ─▶ capacity (newsvendor, schedule) ─▶ budget ─▶ region (mix, packing) ─▶ spill ─▶ rows
//!                                                   ◀── while it costs more than there is ──┘
//! ```
//!
//! Capacity is settled for each region × class over the whole time first; intervals are then filled one after the other,
//! each going on from the machines of the one before.

mod rows;

use std::collections::BTreeMap;

use forebay_world::{ClassId, Duration, RegionId, Room, Timestamp, Topology};

use super::allocation::{AllocationPlan, FlavourPrice, Header, RegionPlan, Totals};
use super::budget::{self, Stake};
use super::capacity::{self, Offer, Stakes, Target};
use super::market::Market;
use super::mix::{self, Claim};
use super::region::{Answer, Region};
use super::spill::{Spill, spill};
use crate::controller::ControllerConfig;
use crate::forecast::paths::Paths;
use crate::guard::Guard;

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What there is.
    pub topology: &'a Topology,
    /// What can be bought.
    pub market: &'a Market,
    /// What the operator set.
    pub config: &'a ControllerConfig,
    /// Begin of the first interval.
    pub origin: Timestamp,
    /// Length of an interval.
    pub interval: Duration,
    /// Steps of the futures in an interval.
    pub steps_per_interval: usize,
    /// Futures of the most sessions in each step, of each client region × class, dense; `None` where nothing is known.
    pub futures: &'a [Option<Paths>],
    /// Money there is for machines, reserved ones among them \[currency unit / h\].
    pub budget_per_hour: Option<f64>,
}

/// What the header of a plan says of where its futures are from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Scenario by name.
    pub scenario: String,
    /// Series by name.
    pub series: Vec<String>,
    /// Model by name.
    pub model: String,
    /// Seed.
    pub seed: u64,
}

/// Plans.
///
/// # Panics
/// When there is not one future for each cell, they are not of the same steps, or of no whole interval.
pub fn plan(question: &Question<'_>, source: Source) -> AllocationPlan {
    Planning::new(question).plan(source)
}

/// What an interval came to.
struct Filled {
    /// Capacity that each cell claims once the budget has spoken \[sessions\].
    wanted: Vec<f64>,
    answers: Vec<Answer>,
    spilled: Vec<Spill>,
    /// Money spent on machines \[currency unit / h\].
    spent: f64,
}

struct Planning<'a> {
    question: &'a Question<'a>,
    offers: Vec<Vec<Offer>>,
    bandwidths: Vec<f64>,
    sizes: Vec<Room>,
    /// How dear it is to leave sessions of each class out, by their priority.
    weights: Vec<f64>,
    guard: Guard,
    intervals: usize,
    /// Of each client cell, interval by interval.
    targets: Vec<Vec<Target>>,
}

impl<'a> Planning<'a> {
    fn new(question: &'a Question<'a>) -> Self {
        let topology = question.topology;
        assert_eq!(question.futures.len(), topology.cells(), "a future for each cell, or none");
        let steps = question.futures.iter().flatten().map(Paths::steps).max().unwrap_or(question.steps_per_interval);
        assert!(steps.is_multiple_of(question.steps_per_interval), "whole intervals");
        let boot_z = question.config.policy.predictive.boot_z;
        let offers: Vec<Vec<Offer>> = (0..topology.classes.len())
            .map(ClassId::at)
            .map(|class| {
                let deadline = question.config.deployment.drain_deadline(topology.class(class));
                capacity::offers(topology, question.market, class, boot_z, deadline)
            })
            .collect();
        let priorities: std::collections::BTreeSet<u8> = topology.classes.iter().map(|class| class.priority).collect();
        let weight = |priority: u8| {
            let after = priorities.iter().filter(|other| **other > priority).count().min(4);
            f64::from(1_u32 << after)
        };
        let mut planning = Planning {
            question,
            bandwidths: topology.classes.iter().map(|class| class.work.bandwidth_per_session().as_f64()).collect(),
            sizes: topology.flavours.iter().map(Room::of_flavour).collect(),
            weights: topology.classes.iter().map(|class| weight(class.priority)).collect(),
            guard: Guard::new(&question.config.guard, topology),
            intervals: steps / question.steps_per_interval,
            targets: Vec::new(),
            offers,
        };
        let nothing = Paths::new(steps, vec![0.0; steps]);
        let futures: Vec<&Paths> = question.futures.iter().map(|paths| paths.as_ref().unwrap_or(&nothing)).collect();
        planning.targets = planning.targets(&futures);
        planning
    }

    fn targets(&self, futures: &[&Paths]) -> Vec<Vec<Target>> {
        let topology = self.question.topology;
        let per = self.question.steps_per_interval;
        let classes = topology.classes.len();
        futures
            .iter()
            .enumerate()
            .map(|(cell, paths)| {
                let region = cell / classes;
                let stakes = Stakes {
                    paid_for: self.paid_for(cell, &futures[region * classes..(region + 1) * classes]),
                    violation_price: topology.classes[cell % classes].violation_price_per_minute,
                    floor: self.guard.floors[cell],
                    ceiling: self.guard.ceilings[cell],
                };
                let intervals = (0..self.intervals).map(|interval| interval * per..(interval + 1) * per);
                capacity::targets(paths, intervals, self.question.interval, &self.offers[cell % classes], &stakes)
            })
            .collect()
    }

    /// Sessions that the reserved machines of a region serve of a cell: those of each flavour are taken to be dealt out over
    /// the classes that may run on it by the machines that these need.
    fn paid_for(&self, cell: usize, region: &[&Paths]) -> f64 {
        let class = cell % region.len();
        let machines = |class: usize, offer: &Offer| {
            let values = region[class].iter().flatten();
            values.sum::<f64>() / region[class].count() as f64 / offer.sessions_per_vm
        };
        self.offers[class]
            .iter()
            .map(|offer| {
                let count = self.question.market.tariff(offer.flavour).reserved.map_or(0, |reserved| reserved.count);
                let all: f64 = (0..region.len())
                    .flat_map(|other| self.offers[other].iter().map(move |of| (other, of)))
                    .filter(|(_, of)| of.flavour == offer.flavour)
                    .map(|(other, of)| machines(other, of))
                    .sum();
                let share = if all > 0.0 { machines(class, offer) / all } else { 0.0 };
                (f64::from(count) * share).floor() * offer.sessions_per_vm
            })
            .sum()
    }

    fn region(&self, region: usize) -> Region<'_> {
        let topology = self.question.topology;
        let access = topology.links[topology.regions[region].access.index()].capacity.as_f64();
        let cells = region * self.offers.len()..(region + 1) * self.offers.len();
        Region {
            offers: &self.offers,
            market: self.question.market,
            sizes: &self.sizes,
            rooms: topology.hosts.iter().filter(|host| host.region.index() == region).map(Room::of_host).collect(),
            bandwidths: &self.bandwidths,
            access: access * self.question.config.slicing.reservable_share,
            ceilings: self.guard.ceilings[cells].to_vec(),
            packed: BTreeMap::new(),
        }
    }

    fn plan(&self, source: Source) -> AllocationPlan {
        let count = self.question.topology.regions.len();
        let mut regions: Vec<Region<'_>> = (0..count).map(|region| self.region(region)).collect();
        let mut filled: Vec<Filled> = Vec::with_capacity(self.intervals);
        for interval in 0..self.intervals {
            let before = filled.last().map(|filled| &filled.answers[..]);
            let next = self.fill(interval, &mut regions, before);
            filled.push(next);
        }
        let (rows, mut totals) = rows::rows(self, &filled);
        let hours = self.question.interval.as_hours_f64() * self.intervals as f64;
        totals.committed_cost = self.committed() * hours;
        totals.spent_per_hour_most = filled.iter().map(|filled| filled.spent).fold(0.0, f64::max);
        let remarks = self.remarks(&filled, &totals);
        AllocationPlan {
            header: self.header(source),
            regions: (0..count).map(|region| self.region_plan(region, regions[region].rooms.len(), &filled)).collect(),
            rows,
            totals,
            remarks,
        }
    }

    /// Price of all reserved machines \[currency unit / h\].
    fn committed(&self) -> f64 {
        self.question.market.committed_per_hour() * self.question.topology.regions.len() as f64
    }

    /// Fills one interval, going on from the answers of the one before, and gives up capacity until the budget pays.
    fn fill(&self, interval: usize, regions: &mut [Region<'_>], before: Option<&[Answer]>) -> Filled {
        let hours: Vec<f64> = (0..regions.len()).map(|region| self.stands(region, interval)).collect();
        let mut wanted: Vec<f64> = self.targets.iter().map(|targets| targets[interval].capacity).collect();
        let committed = self.committed();
        let classes = self.offers.len();
        let mut answers: Vec<Option<Answer>> = vec![None; regions.len()];
        loop {
            for (region, answer) in answers.iter_mut().enumerate() {
                let claims = self.claims(interval, region, &wanted[region * classes..(region + 1) * classes]);
                if answer.as_ref().is_none_or(|answer| answer.claims != claims) {
                    *answer = Some(regions[region].answer(claims, before.map(|before| &before[region]), hours[region]));
                }
            }
            let mut settled: Vec<Answer> = answers.iter().flatten().cloned().collect();
            let spilled = spill(self.question.topology, regions, &mut settled, before, &hours);
            let machines: f64 =
                settled.iter().map(|answer| mix::price_per_hour(self.question.market, &answer.mix.machines)).sum();
            let spent = committed + machines;
            let over = spent - self.question.budget_per_hour.unwrap_or(f64::INFINITY);
            if over <= 1e-9 * spent || !budget::cut(&self.stakes(interval), &mut wanted, over) {
                return Filled { wanted, answers: settled, spilled, spent };
            }
        }
    }

    /// Time for which the claims of a region are likely to stand as they are from an interval on \[h\].
    fn stands(&self, region: usize, interval: usize) -> f64 {
        let classes = self.offers.len();
        let cells = &self.targets[region * classes..(region + 1) * classes];
        let same = |later: &usize| cells.iter().all(|targets| targets[*later].capacity == targets[interval].capacity);
        let steps = (interval..self.intervals).take_while(same).count();
        self.question.interval.as_hours_f64() * steps as f64
    }

    fn claims(&self, interval: usize, region: usize, wanted: &[f64]) -> Vec<Claim> {
        let classes = self.offers.len();
        wanted
            .iter()
            .enumerate()
            .map(|(class, sessions)| Claim {
                class: ClassId::at(class),
                sessions: *sessions,
                present: self.targets[region * classes + class][interval].sessions.min(*sessions),
                weight: self.weights[class],
            })
            .collect()
    }

    fn stakes(&self, interval: usize) -> Vec<Stake<'_>> {
        let classes = self.offers.len();
        self.targets
            .iter()
            .enumerate()
            .map(|(cell, targets)| {
                let class = &self.question.topology.classes[cell % classes];
                Stake {
                    target: &targets[interval],
                    offers: &self.offers[cell % classes],
                    violation_per_hour: 60.0 * class.violation_price_per_minute,
                    priority: class.priority,
                    floor: f64::from(self.guard.floors[cell].min(self.guard.ceilings[cell]))
                        * self.offers[cell % classes][0].sessions_per_vm,
                }
            })
            .collect()
    }

    fn header(&self, source: Source) -> Header {
        let topology = self.question.topology;
        let flavours = topology.flavours.iter().zip(&self.question.market.tariffs);
        Header {
            scenario: source.scenario,
            series: source.series,
            model: source.model,
            seed: source.seed,
            origin: self.question.origin,
            step: self.question.interval,
            horizon: self.question.interval * self.intervals as u64,
            budget_per_hour: self.question.budget_per_hour,
            flavours: flavours
                .map(|(flavour, tariff)| FlavourPrice { flavour: flavour.name.clone(), tariff: *tariff })
                .collect(),
        }
    }

    fn region_plan(&self, region: usize, hosts: usize, filled: &[Filled]) -> RegionPlan {
        let answers = || filled.iter().map(|filled| &filled.answers[region]);
        let fullest = answers().map(|answer| &answer.packing).max_by_key(|packing| packing.used());
        let gap = |answer: &Answer| answer.packing.gap();
        let mixes = answers().map(|answer| answer.mix.gap).collect::<Option<Vec<f64>>>();
        let mut packing: Vec<_> = answers().map(|answer| answer.packing.method).collect();
        packing.sort_unstable();
        packing.dedup();
        let mut mix: Vec<_> = answers().map(|answer| answer.mix.method).collect();
        mix.sort_unstable();
        mix.dedup();
        RegionPlan {
            region: self.question.topology.region(RegionId::at(region)).name.clone(),
            hosts: hosts as u32,
            hosts_used_most: fullest.map_or(0, |packing| packing.used()),
            hosts_bound: fullest.map_or(0, |packing| packing.bound),
            packing_gap_most: answers().map(gap).fold(0.0, f64::max),
            packing,
            mix,
            mix_gap: mixes.as_ref().map(|gaps| {
                let costs = answers().map(|answer| mix::price_per_hour(self.question.market, &answer.mix.machines));
                let (cost, bound) = costs
                    .zip(gaps)
                    .fold((0.0, 0.0), |(sum, bound), (cost, gap)| (sum + cost, bound + cost / (1.0 + gap)));
                if bound > 0.0 { cost / bound - 1.0 } else { 0.0 }
            }),
            mix_gap_most: mixes.map(|gaps| gaps.into_iter().fold(0.0, f64::max)),
            committed_per_hour: self.question.market.committed_per_hour(),
        }
    }

    fn remarks(&self, filled: &[Filled], totals: &Totals) -> Vec<String> {
        let mut remarks = Vec::new();
        let at = |interval: usize| self.question.origin.saturating_add(self.question.interval * interval as u64);
        let hour = self.question.interval.as_hours_f64();
        if let Some(budget) = self.question.budget_per_hour {
            let cut = filled.iter().enumerate().filter(|(interval, filled)| {
                self.targets.iter().zip(&filled.wanted).any(|(targets, wanted)| *wanted < targets[*interval].capacity)
            });
            let cut: Vec<usize> = cut.map(|(interval, _)| interval).collect();
            if let (Some(first), Some(last)) = (cut.first(), cut.last()) {
                remarks.push(format!(
                    "the budget of {budget} an hour does not pay for all: capacity for {:.0} session-hours is cut in {} of {} intervals, between {} and {}",
                    totals.cut_session_hours,
                    cut.len(),
                    filled.len(),
                    at(*first),
                    at(last + 1)
                ));
            }
            let over = filled.iter().filter(|filled| filled.spent > budget * (1.0 + 1e-9)).count();
            if over > 0 {
                remarks.push(format!(
                    "reserved machines and the guard's floors alone cost more than the budget in {over} of {} intervals: {:.4} an hour",
                    filled.len(),
                    totals.spent_per_hour_most
                ));
            }
        }
        let mut ways: BTreeMap<(RegionId, RegionId, ClassId), f64> = BTreeMap::new();
        for spill in filled.iter().flat_map(|filled| &filled.spilled) {
            *ways.entry((spill.from, spill.to, spill.class)).or_insert(0.0) += spill.sessions * hour;
        }
        let name = |region: RegionId| &self.question.topology.region(region).name;
        for ((from, to, class), sessions) in ways {
            let class = &self.question.topology.class(class).name;
            remarks.push(format!(
                "{} is full: capacity for {sessions:.0} session-hours of {class} is in {}",
                name(from),
                name(to)
            ));
        }
        for (region, home) in self.question.topology.regions.iter().enumerate() {
            for (class, kind) in self.question.topology.classes.iter().enumerate() {
                let left = |filled: &Filled| filled.answers[region].unserved(ClassId::at(class));
                let sum: f64 = filled.iter().map(left).sum::<f64>() * hour;
                let times = filled.iter().filter(|filled| left(filled) > 0.0).count();
                if sum > 0.0 {
                    remarks.push(format!(
                        "no room is left for {sum:.1} session-hours of {} of {}, in {times} of {} intervals: hosts and access links are full, here and wherever its objective allows",
                        kind.name,
                        home.name,
                        filled.len()
                    ));
                }
            }
        }
        remarks
    }
}

#[cfg(test)]
mod tests;
