//! What keeps a policy from doing harm: the last word on how many machines there may be.
//!
//! Applied in this order, each recorded as a [`Bound`] when it changes something: floor and ceiling; the largest step
//! at once; the cooldown before shrinking; no shrinking on too little or too old information; the budget. Blindness
//! stands above the ceiling: a limit lowered while nothing is seen waits. Growth never exceeds the budget, except that
//! floors are kept.

use forebay_world::{Observation, Timestamp, Topology};
use serde::{Deserialize, Serialize};

use crate::controller::config::GuardConfig;
use crate::decision::Bound;

/// The guard of every serving region × class.
#[derive(Clone, Debug)]
pub struct Guard {
    config: GuardConfig,
    /// Floor of each cell, dense.
    pub floors: Vec<u32>,
    /// Ceiling of each cell, dense.
    pub ceilings: Vec<u32>,
    /// Price of one machine of each cell \[currency unit / h\].
    prices: Vec<f64>,
    /// Cells in the order in which the budget serves them: by priority of their class, then as they stand.
    by_priority: Vec<usize>,
    memory: GuardMemory,
}

/// All that a guard remembers from tick to tick; it survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GuardMemory {
    /// When each cell's number last changed; the epoch when it never did.
    pub changed_at: Vec<Timestamp>,
    /// End of the last window seen.
    pub seen_at: Timestamp,
}

/// One cell's number on its way through the guard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passage {
    /// Machines the plan in force wants running.
    pub current: u32,
    /// Machines asked for, and then what is left of that.
    pub vms: u32,
    /// Whether everything that bears on the cell was seen.
    pub sighted: bool,
    /// What bound, in the order applied.
    pub bound_by: Vec<Bound>,
}

impl Passage {
    fn set(&mut self, vms: u32, bound: Bound) {
        if vms != self.vms {
            self.vms = vms;
            self.bound_by.push(bound);
        }
    }
}

impl Guard {
    /// A guard with nothing to remember.
    pub fn new(config: &GuardConfig, topology: &Topology) -> Self {
        let limits = |region, class| config.limits.iter().filter(move |l| l.cells.matches(topology, region, class));
        let cells = topology.cells();
        let mut by_priority: Vec<usize> = (0..cells).collect();
        by_priority.sort_by_key(|cell| topology.class(topology.cell_at(*cell).1).priority);
        Guard {
            config: config.clone(),
            floors: topology
                .cell_ids()
                .map(|(region, class)| {
                    limits(region, class).filter_map(|l| l.floor).next_back().unwrap_or(config.floor)
                })
                .collect(),
            ceilings: topology
                .cell_ids()
                .map(|(region, class)| {
                    limits(region, class).filter_map(|l| l.ceiling).next_back().unwrap_or(config.ceiling)
                })
                .collect(),
            prices: topology.cell_ids().map(|(_, class)| topology.flavour_of(class).price_per_hour).collect(),
            by_priority,
            memory: GuardMemory { changed_at: vec![Timestamp::EPOCH; cells], seen_at: Timestamp::EPOCH },
        }
    }

    /// What it remembers.
    pub fn memory(&self) -> &GuardMemory {
        &self.memory
    }

    /// Goes on from what it remembered before a restart; a memory of another topology is ignored.
    pub fn remember(&mut self, memory: GuardMemory) {
        if memory.changed_at.len() == self.memory.changed_at.len() {
            self.memory = memory;
        }
    }

    /// Bounds what was asked for. `spent` is the price of machines that are neither running nor asked for: those that
    /// drain \[currency unit / h\].
    pub fn bound(&mut self, seen: &Observation, spent: f64, passages: &mut [Passage]) {
        let at = seen.at;
        let fresh = at > self.memory.seen_at || self.memory.seen_at == Timestamp::EPOCH;
        self.memory.seen_at = self.memory.seen_at.max(at);
        // Written so that an undefined coverage is too little.
        let covered = seen.coverage >= self.config.coverage_floor;
        for (cell, passage) in passages.iter_mut().enumerate() {
            passage.sighted &= fresh && covered;
            let current = passage.current;
            passage.set(passage.vms.max(self.floors[cell].min(self.ceilings[cell])), Bound::Floor);
            passage.set(passage.vms.min(self.ceilings[cell]), Bound::Ceiling);
            let most = current.saturating_add(step(current, self.config.step_up_vms, self.config.step_up_share));
            let least = current.saturating_sub(step(current, self.config.step_down_vms, self.config.step_down_share));
            passage.set(passage.vms.clamp(least, most), Bound::MaxStep);
            let changed_at = self.memory.changed_at[cell];
            let cooling = changed_at != Timestamp::EPOCH && at.since(changed_at) < self.config.shrink_cooldown;
            if passage.vms < current && cooling {
                passage.set(current, Bound::Cooldown);
            }
            if passage.vms < current && !passage.sighted {
                passage.set(current, Bound::Coverage);
            }
        }
        if let Some(budget) = self.config.budget_per_hour {
            self.spend(budget, spent, passages);
        }
        for (changed_at, passage) in self.memory.changed_at.iter_mut().zip(passages.iter()) {
            if passage.vms != passage.current {
                *changed_at = at;
            }
        }
    }

    /// Takes back growth, and where that is not enough shrinks what may shrink, until the budget pays for it all: the
    /// classes that go first are served first.
    fn spend(&self, budget: f64, spent: f64, passages: &mut [Passage]) {
        let cost = |passages: &[Passage]| -> f64 {
            spent + passages.iter().zip(&self.prices).map(|(p, price)| f64::from(p.vms) * price).sum::<f64>()
        };
        let mut over = cost(passages) - budget;
        if over <= 0.0 {
            return;
        }
        let give_back = |over: &mut f64, cell: usize, passage: &mut Passage, least: u32| {
            let price = self.prices[cell];
            if *over > 1e-9 && price > 0.0 && passage.vms > least {
                let machines = ((*over / price).ceil() as u32).min(passage.vms - least);
                *over -= f64::from(machines) * price;
                passage.set(passage.vms - machines, Bound::Budget);
            }
        };
        for &cell in self.by_priority.iter().rev() {
            let least = passages[cell].current.max(self.floors[cell].min(self.ceilings[cell]));
            give_back(&mut over, cell, &mut passages[cell], least);
        }
        for &cell in self.by_priority.iter().rev() {
            let passage = &passages[cell];
            let down = step(passage.current, self.config.step_down_vms, self.config.step_down_share);
            let least = self.floors[cell].min(self.ceilings[cell]).max(passage.current.saturating_sub(down));
            if passage.sighted {
                give_back(&mut over, cell, &mut passages[cell], least);
            }
        }
    }
}

/// The largest step from `current`: a number of machines or a share, whichever is more.
fn step(current: u32, vms: u32, share: f64) -> u32 {
    vms.max((f64::from(current) * share) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world;
    use forebay_world::Duration;
    use proptest::prelude::*;

    fn bounded(config: &GuardConfig, current: u32, asked: u32, sighted: bool) -> (u32, Vec<Bound>) {
        let topology = small_world::topology(1);
        let mut guard = Guard::new(config, &topology);
        let mut passages = vec![Passage { current, vms: asked, sighted, bound_by: vec![] }, Passage::default()];
        guard.bound(&small_world::quiet(&topology, Timestamp::from_secs(600)), 0.0, &mut passages);
        (passages[0].vms, passages[0].bound_by.clone())
    }

    #[test]
    fn each_limit_binds_and_says_so() {
        let config = GuardConfig {
            floor: 2,
            ceiling: 20,
            step_up_vms: 4,
            step_up_share: 0.5,
            step_down_vms: 1,
            step_down_share: 0.25,
            ..GuardConfig::default()
        };
        let table: &[(u32, u32, bool, u32, &[Bound])] = &[
            (5, 5, true, 5, &[]),
            (2, 0, true, 2, &[Bound::Floor]),
            (18, 99, true, 20, &[Bound::Ceiling]),
            (4, 15, true, 8, &[Bound::MaxStep]),
            (12, 20, true, 18, &[Bound::MaxStep]),
            (12, 2, true, 9, &[Bound::MaxStep]),
            (3, 2, true, 2, &[]),
            (12, 2, false, 12, &[Bound::MaxStep, Bound::Coverage]),
            (30, 30, false, 30, &[Bound::Ceiling, Bound::MaxStep, Bound::Coverage]),
            (0, 0, false, 2, &[Bound::Floor]),
        ];
        for (current, asked, sighted, want, by) in table {
            let (vms, bound_by) = bounded(&config, *current, *asked, *sighted);
            assert_eq!((vms, &bound_by[..]), (*want, *by), "{current} asked {asked}");
        }
    }

    #[test]
    fn shrinking_waits_for_the_cooldown_after_any_change() {
        let topology = small_world::topology(1);
        let mut guard = Guard::new(&GuardConfig::default(), &topology);
        let mut at = |seconds: u64, current: u32, asked: u32| {
            let mut passages = vec![Passage { current, vms: asked, sighted: true, bound_by: vec![] }; 2];
            guard.bound(&small_world::quiet(&topology, Timestamp::from_secs(seconds)), 0.0, &mut passages);
            (passages[0].vms, passages[0].bound_by.first().copied())
        };
        assert_eq!(at(600, 5, 6), (6, None));
        assert_eq!(at(660, 6, 5), (6, Some(Bound::Cooldown)));
        assert_eq!(at(660, 6, 9), (9, None));
        assert_eq!(at(780, 9, 8), (8, None));
        // The same window again is old news: nothing shrinks on it.
        assert_eq!(at(1200, 8, 8), (8, None));
        assert_eq!(at(1200, 8, 7), (8, Some(Bound::Coverage)));
    }

    #[test]
    fn the_budget_serves_the_first_class_first() {
        let topology = small_world::topology(1);
        // Video has priority 1, web priority 0; a machine costs 0.4.
        let config = GuardConfig { budget_per_hour: Some(0.4 * 12.0), ..GuardConfig::default() };
        let mut guard = Guard::new(&config, &topology);
        let mut passages = vec![Passage { current: 4, vms: 9, sighted: true, bound_by: vec![] }; 2];
        guard.bound(&small_world::quiet(&topology, Timestamp::from_secs(600)), 0.4, &mut passages);
        assert_eq!((passages[0].vms, passages[1].vms), (4, 7));
        assert_eq!(passages[0].bound_by, [Bound::Budget]);
    }

    proptest! {
        #[test]
        fn no_ask_gets_past_the_guard(
            steps in prop::collection::vec((prop::collection::vec(0u32..200, 4), any::<bool>(), 0.0f64..1.0, 1u64..400), 1..30),
            floor in 0u32..5, above in 1u32..60, budget in prop::option::of(0.0f64..60.0), up in 1u32..40, down in 1u32..9,
        ) {
            let topology = small_world::topology(2);
            let config = GuardConfig {
                floor, ceiling: floor + above, budget_per_hour: budget,
                step_up_vms: up, step_down_vms: down, step_up_share: 0.5, step_down_share: 0.1,
                coverage_floor: 0.5, shrink_cooldown: Duration::from_secs(120), ..GuardConfig::default()
            };
            let mut guard = Guard::new(&config, &topology);
            let mut current = vec![0u32; 4];
            let mut changed = [None; 4];
            let mut at = Timestamp::from_secs(1000);
            for (asks, sighted, coverage, seconds) in steps {
                at += Duration::from_secs(seconds);
                let mut seen = small_world::quiet(&topology, at);
                seen.coverage = coverage;
                let mut passages: Vec<Passage> = asks.iter().zip(&current)
                    .map(|(&vms, &current)| Passage { current, vms, sighted, bound_by: vec![] }).collect();
                guard.bound(&seen, 0.0, &mut passages);
                let price = |vms: &[u32]| vms.iter().map(|vms| f64::from(*vms) * 0.4).sum::<f64>();
                let granted: Vec<u32> = passages.iter().map(|passage| passage.vms).collect();
                for cell in 0..4 {
                    let (now, next) = (current[cell], granted[cell]);
                    prop_assert!(next <= (floor + above).max(now), "ceiling");
                    prop_assert!(next >= floor.min(now + up.max(now / 2)), "floor");
                    prop_assert!(next <= now + up.max(now / 2), "step up");
                    prop_assert!(next >= now.saturating_sub(down.max(now / 10)), "step down");
                    prop_assert!(next >= now || (sighted && coverage >= 0.5), "blind");
                    let cooled = changed[cell].is_none_or(|since| at.since(since) >= Duration::from_secs(120));
                    prop_assert!(next >= now || cooled || budget.is_some(), "cooldown");
                    prop_assert_eq!(next != asks[cell], !passages[cell].bound_by.is_empty() && next != asks[cell]);
                    if next != now { changed[cell] = Some(at); }
                }
                if let Some(budget) = budget {
                    let floors: Vec<u32> = current.iter().map(|now| (*now).max(floor)).collect();
                    prop_assert!(price(&granted) <= budget.max(price(&floors)) + 1e-6, "budget");
                }
                current = granted;
            }
        }
    }
}
