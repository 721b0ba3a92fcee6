//! `oracle`: knows the demand to come, and has to wait for its boots like everybody else.
//!
//! For each cell, dynamic programming finds the schedule of least cost: the price of machines, from request to
//! destruction, and of minutes short of them. It is the bound that other policies are measured against; how far ahead
//! it launches and how full it runs its machines are parameters, so that an experiment may search for the best.

use std::sync::Arc;

use forebay_world::{BitsPerSecond, Duration, Steering, Timestamp, Topology};

use super::{Ask, Foresight, Policy, Situation, vms_from, workable_utilization};
use crate::controller::ControllerConfig;
use crate::controller::config::OracleConfig;
use crate::decision::Fan;

#[derive(Clone)]
pub(super) struct Oracle {
    foresight: Arc<Foresight>,
    config: OracleConfig,
    classes: Vec<ClassTerms>,
    /// The steering that the schedules were made for; empty when everybody is served at home.
    steering: Steering,
    /// Schedule of each serving cell; none before the first tick.
    schedules: Vec<Arc<Schedule>>,
}

/// What a class's machines hold and cost.
#[derive(Clone)]
struct ClassTerms {
    /// Sessions that a machine serves.
    sessions_per_vm: f64,
    /// Time ahead of demand at which a machine is asked for.
    lead: Duration,
    /// Price of a machine for one step.
    vm_step: f64,
    /// Price of having one machine more: the time it boots and the time it drains.
    change: f64,
    /// Price of a step short of machines.
    short_step: f64,
    /// Mean rate of a session \[bit/s\].
    bandwidth: BitsPerSecond,
}

/// Machines of one serving cell over time, and the sessions they are for.
struct Schedule {
    first_step: usize,
    vms: Vec<u32>,
    sessions: Vec<f64>,
}

impl Oracle {
    pub(super) fn new(config: &ControllerConfig, topology: &Topology, foresight: Arc<Foresight>) -> Self {
        let oracle = config.policy.oracle.clone();
        let classes = (0..topology.classes.len())
            .map(forebay_world::ClassId::at)
            .map(|class| {
                let (flavour, work) = (topology.flavour_of(class), topology.class(class));
                let utilization = oracle.target_utilization.unwrap_or_else(|| workable_utilization(topology, class));
                let to_ready = flavour.time_to_ready(oracle.boot_z);
                let places = topology.sessions_per_vm(class) * utilization;
                let drain = config.deployment.drain_time(work, places);
                ClassTerms {
                    sessions_per_vm: places,
                    lead: to_ready.saturating_add(oracle.lead),
                    vm_step: flavour.price_per_hour * foresight.step.as_hours_f64(),
                    change: flavour.price_per_hour * to_ready.saturating_add(drain).as_hours_f64(),
                    short_step: work.violation_price_per_minute * foresight.step.as_secs_f64() / 60.0,
                    bandwidth: work.work.bandwidth_per_session(),
                }
            })
            .collect();
        Oracle { foresight, config: oracle, classes, steering: Steering::default(), schedules: Vec::new() }
    }

    fn step_of(&self, at: Timestamp) -> usize {
        usize::try_from(at.since(self.foresight.start) / self.foresight.step).unwrap_or(usize::MAX)
    }

    /// Makes the schedules of the cells whose clients changed.
    fn schedule(&mut self, now: &Situation<'_>) {
        let cells = now.topology.cells();
        let at_home = |steering: &Steering| steering.0.iter().all(Vec::is_empty);
        if self.schedules.len() == cells
            && (*now.steering == self.steering || (at_home(now.steering) && at_home(&self.steering)))
        {
            return;
        }
        let first = self.schedules.is_empty();
        let classes = self.classes.len();
        let mut changed = vec![first; cells];
        let serves = |steering: &Steering, client: usize, mark: &mut dyn FnMut(usize)| {
            let weights = steering.0.get(client).map_or(&[][..], Vec::as_slice);
            mark(client);
            weights.iter().for_each(|(region, _)| mark(region.index() * classes + client % classes));
        };
        for client in 0..cells {
            let empty = Vec::new();
            if now.steering.0.get(client).unwrap_or(&empty) != self.steering.0.get(client).unwrap_or(&empty) {
                serves(now.steering, client, &mut |cell| changed[cell] = true);
                serves(&self.steering, client, &mut |cell| changed[cell] = true);
            }
        }
        self.steering = now.steering.clone();
        let first_step = if first { 0 } else { self.step_of(now.seen.at) };
        for cell in (0..cells).filter(|cell| changed[*cell]) {
            let sessions = self.sessions_at(cell, first_step, now);
            let terms = &self.classes[cell % classes];
            let (low, high) = (now.floors[cell], now.ceilings[cell]);
            let need: Vec<u32> =
                sessions.iter().map(|most| vms_from(most * self.config.margin / terms.sessions_per_vm)).collect();
            let standing = now.cells[cell].wanted;
            let vms = cheapest(&need, standing, low, high, terms.vm_step, terms.change, terms.short_step);
            let schedule = Arc::new(Schedule { first_step, vms, sessions });
            if first { self.schedules.push(schedule) } else { self.schedules[cell] = schedule }
        }
    }

    /// Sessions of a serving cell from a step on, by the steering in force.
    fn sessions_at(&self, cell: usize, first_step: usize, now: &Situation<'_>) -> Vec<f64> {
        let (server, class) = now.topology.cell_at(cell);
        let steps = self.foresight.sessions.iter().map(Vec::len).max().unwrap_or(0);
        let mut sum = vec![0.0; steps.saturating_sub(first_step)];
        for client in (class.index()..now.topology.cells()).step_by(self.classes.len()) {
            let share = now.steering.share(client, now.topology.cell_at(client).0, server);
            if share > 0.0 {
                let path = self.foresight.sessions[client].iter().skip(first_step);
                // An undefined demand is no demand.
                sum.iter_mut().zip(path).for_each(|(sum, most)| *sum += share * most.max(0.0));
            }
        }
        sum
    }
}

impl Policy for Oracle {
    fn name(&self) -> &'static str {
        "oracle"
    }

    fn ask(&mut self, now: &Situation<'_>, asks: &mut [Ask]) {
        self.schedule(now);
        let at = now.seen.at;
        for (cell, ask) in asks.iter_mut().enumerate() {
            let terms = &self.classes[cell % self.classes.len()];
            let schedule = &self.schedules[cell];
            let until = terms.lead.saturating_add(now.config.period);
            let steps = schedule.vms.len();
            let from = self.step_of(at).saturating_sub(schedule.first_step).min(steps.saturating_sub(1));
            let last = self.step_of(at.saturating_add(until)).saturating_sub(schedule.first_step);
            let range = from..last.saturating_add(1).min(steps);
            let most = schedule.sessions[range.clone()].iter().copied().fold(0.0, f64::max);
            ask.vms = schedule.vms[range].iter().copied().max().unwrap_or(now.floors[cell]);
            ask.reason = format!("knows of {} sessions within {until}", most.round() as u64);
            ask.fan = Some(Fan {
                from: Duration::ZERO,
                until,
                p10: most,
                p50: most,
                p90: most,
                level: 1.0,
                sized_for: most * self.config.margin,
            });
            ask.bandwidth = Some(BitsPerSecond::from_f64(most * self.config.margin * terms.bandwidth.as_f64()));
        }
    }

    fn clone_box(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

/// The schedule of least cost: `vm_step` for each machine and step, `change` for each machine added, `short_step` for
/// each step with fewer machines than needed; between `low` and `high` machines, starting from `standing`.
///
/// Forward dynamic programming over the number of machines, with steps of equal need taken together: within one,
/// changing in the middle never pays. Moves by one machine in a row make each step linear in the number of machines.
fn cheapest(need: &[u32], standing: u32, low: u32, high: u32, vm_step: f64, change: f64, short_step: f64) -> Vec<u32> {
    let most = need.iter().copied().max().unwrap_or(0).max(standing.min(high)).clamp(low.min(high), high);
    let low = low.min(most);
    // A run of equal need: the need and the number of steps.
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &need in need {
        match runs.last_mut() {
            Some((last, steps)) if *last == need => *steps += 1,
            _ => runs.push((need, 1)),
        }
    }
    // Beyond any real size, machines are counted in blocks, so that the table stays in memory.
    let block = ((u64::from(most - low) * runs.len() as u64) >> 28) as u32 + 1;
    let states = (most - low).div_ceil(block) as usize + 1;
    let vms = |state: usize| (low + state as u32 * block).min(most);
    let mut cost: Vec<f64> = (0..states).map(|state| change * f64::from(vms(state).saturating_sub(standing))).collect();
    // Bit 0: came from one machine more. Bit 1: came from one machine fewer.
    let mut moves = vec![0_u8; states * runs.len()];
    for (run, &(need, steps)) in runs.iter().enumerate() {
        let moves = &mut moves[run * states..(run + 1) * states];
        if run > 0 {
            for state in (0..states - 1).rev() {
                if cost[state + 1] < cost[state] {
                    cost[state] = cost[state + 1];
                    moves[state] = 1;
                }
            }
            for state in 1..states {
                let dearer = cost[state - 1] + change * f64::from(vms(state) - vms(state - 1));
                if dearer < cost[state] {
                    cost[state] = dearer;
                    moves[state] = 2;
                }
            }
        }
        for (state, cost) in cost.iter_mut().enumerate() {
            let short = if vms(state) < need { short_step } else { 0.0 };
            *cost += f64::from(steps) * (vm_step * f64::from(vms(state)) + short);
        }
    }
    let mut state = (0..states).min_by(|a, b| cost[*a].total_cmp(&cost[*b])).expect("there is at least one state");
    let mut schedule = vec![0; need.len()];
    let mut end = need.len();
    for (run, &(_, steps)) in runs.iter().enumerate().rev() {
        let begin = end - steps as usize;
        schedule[begin..end].fill(vms(state));
        end = begin;
        // Walk back along the moves; a chain of moves one way never turns within one run.
        let moves = &moves[run * states..(run + 1) * states];
        while moves[state] == 2 {
            state -= 1;
        }
        while moves[state] == 1 {
            state += 1;
        }
    }
    schedule
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(schedule: &[u32], need: &[u32], standing: u32, vm_step: f64, change: f64, short_step: f64) -> f64 {
        let mut before = standing;
        let mut sum = 0.0;
        for (&vms, &need) in schedule.iter().zip(need) {
            sum += change * f64::from(vms.saturating_sub(before)) + vm_step * f64::from(vms);
            sum += if vms < need { short_step } else { 0.0 };
            before = vms;
        }
        sum
    }

    /// The least cost of all schedules, by trying each.
    fn brute_force(need: &[u32], standing: u32, low: u32, high: u32, prices: (f64, f64, f64)) -> f64 {
        let states = high - low + 1;
        (0..states.pow(need.len() as u32))
            .map(|mut code| {
                let schedule: Vec<u32> = need
                    .iter()
                    .map(|_| {
                        let vms = low + code % states;
                        code /= states;
                        vms
                    })
                    .collect();
                price(&schedule, need, standing, prices.0, prices.1, prices.2)
            })
            .fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #[test]
        fn no_schedule_is_cheaper(
            need in prop::collection::vec(0u32..5, 1..7),
            standing in 0u32..4,
            low in 0u32..2,
            high in 2u32..5,
            prices in (0.1f64..2.0, 0.0f64..5.0, 0.0f64..8.0),
        ) {
            let schedule = cheapest(&need, standing, low, high, prices.0, prices.1, prices.2);
            prop_assert!(schedule.iter().all(|vms| (low..=high).contains(vms)));
            let found = price(&schedule, &need, standing, prices.0, prices.1, prices.2);
            let best = brute_force(&need, standing, low, high, prices);
            prop_assert!((found - best).abs() < 1e-9, "{found} not {best}: {schedule:?}");
        }
    }

    #[test]
    fn a_short_peak_is_not_worth_its_boots_and_a_long_one_is() {
        assert_eq!(cheapest(&[1, 1, 9, 1, 1], 1, 1, 9, 1.0, 3.0, 20.0), [1; 5]);
        let long = [1, 9, 9, 9, 9, 9, 9, 1];
        assert_eq!(cheapest(&long, 1, 1, 9, 1.0, 3.0, 20.0), long);
        assert_eq!(cheapest(&[4, 0, 4], 4, 0, 9, 1.0, 3.0, 20.0), [4, 4, 4], "a dip shorter than a boot is sat out");
    }
}
