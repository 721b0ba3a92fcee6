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
use crate::plan::schedule;

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
            let bounds = schedule::Terms { standing: Some(standing), low: low.min(high), high, change: terms.change };
            let vms = schedule::for_needs(&need, bounds, terms.vm_step, terms.short_step);
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
