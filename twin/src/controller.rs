//! From an observation to a plan: steering, policy, guard, deployment and slices, in that order.
//!
//! The controller is synchronous and does no I/O; it knows no clock, no chance and no mode. The same observations in
//! the same order bring the same plans, byte for byte. When nothing has to change it returns the plan it returned
//! before.

pub mod config;
pub(crate) mod served;

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_world::{BitsPerSecond, Observation, Plan, PlannedVm, SliceId, Steering, Topology, VmId, VmIntent};

pub use config::{ConfigError, ControllerConfig};
use serde::{Deserialize, Serialize};

use self::config::DemandSource;
use crate::decision::{Bound, CellDecision, Decision};
use crate::demand::Resolved;
use crate::deployment::Deployment;
use crate::guard::{Guard, GuardMemory, Passage};
use crate::policy::{Ask, Policy, Situation};
use crate::slicing::{GaveWay, Need, Sliced, Slicing};
use crate::steering::Steersman;
use served::Served;

/// Turns observations into plans.
#[derive(Clone)]
pub struct Controller {
    topology: Arc<Topology>,
    config: ControllerConfig,
    policy: Box<dyn Policy>,
    guard: Guard,
    deployment: Deployment,
    slicing: Slicing,
    steersman: Steersman,
    served: Served,
    /// What DNS tells, where demand is taken from it.
    resolved: Option<Resolved>,
    /// The plan in force; none before the first observation.
    plan: Option<Arc<Plan>>,
    /// Per region, whether a host is up.
    up: Vec<bool>,
    /// Per class: sessions that a machine serves at the target utilization, and the mean rate of a session.
    classes: Vec<(f64, BitsPerSecond)>,
    scratch: Scratch,
}

/// What a controller goes on from after a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The plan in force.
    pub plan: Option<Plan>,
    /// What the guard remembers.
    pub guard: Option<GuardMemory>,
}

/// Lists over cells, kept to spare allocation.
#[derive(Clone, Default)]
struct Scratch {
    asks: Vec<Ask>,
    passages: Vec<Passage>,
    needed: Vec<u32>,
    targets: Vec<u32>,
    slices: Vec<Need>,
}

impl Controller {
    /// A controller for what there is. The configuration must have passed [`ControllerConfig::check`].
    pub fn new(topology: Arc<Topology>, config: ControllerConfig, policy: Box<dyn Policy>) -> Self {
        let cells = topology.cells();
        Controller {
            guard: Guard::new(&config.guard, &topology),
            deployment: Deployment::new(&config.deployment, &topology),
            slicing: Slicing::new(&config.slicing, &topology),
            steersman: Steersman::new(&config.steering, &topology),
            served: Served::new(&topology),
            resolved: (config.demand == DemandSource::Dns).then(|| Resolved::new(&topology)),
            plan: None,
            up: vec![false; topology.regions.len()],
            classes: (0..topology.classes.len())
                .map(forebay_world::ClassId::at)
                .map(|class| {
                    let places = topology.sessions_per_vm(class) * config.target_utilization;
                    (places, topology.class(class).work.bandwidth_per_session())
                })
                .collect(),
            scratch: Scratch {
                asks: vec![Ask::default(); cells],
                passages: vec![Passage::default(); cells],
                needed: vec![0; cells],
                targets: vec![0; cells],
                slices: vec![Need::default(); cells],
            },
            topology,
            config,
            policy,
        }
    }

    /// Decides. The lists of the observation must fit the topology, and windows must come in order; an observation
    /// that is not newer than the one before shrinks nothing.
    ///
    /// The first observation is taken as it stands: machines that exist are kept, not restarted.
    pub fn step(&mut self, seen: &Observation) -> (Arc<Plan>, Arc<Decision>) {
        let told = self.resolved.as_mut().map(|resolved| resolved.observe(seen));
        let seen = told.as_ref().unwrap_or(seen);
        let current = match &self.plan {
            Some(plan) => Arc::clone(plan),
            None => Arc::new(self.adopt(seen)),
        };
        self.served.count(seen, &current, &self.topology);
        let steering = self.steer(seen, &current);
        let steered = steering.as_ref().unwrap_or(&current.steering);
        self.served.carry(seen, steered, &self.topology);
        self.ask(seen, &current, steered);
        self.guard.bound(seen, self.spent(&current), &mut self.scratch.passages);
        for (target, passage) in self.scratch.targets.iter_mut().zip(&self.scratch.passages) {
            *target = passage.vms;
        }
        let placed = self.deployment.place(&current, seen, &self.topology, &self.scratch.targets);
        let Sliced { slices, gave_way } = self.slice(seen, &current, placed.vms.as_ref().unwrap_or(&current.vms));

        let vms = placed.vms.filter(|vms| *vms != current.vms);
        let plan = if vms.is_some() || slices.is_some() || steering.is_some() {
            Arc::new(Plan {
                generation: current.generation.next(),
                parent: current.generation,
                vms: vms.unwrap_or_else(|| current.vms.clone()),
                slices: slices.unwrap_or_else(|| current.slices.clone()),
                steering: steering.unwrap_or_else(|| current.steering.clone()),
            })
        } else {
            current
        };
        let decision = self.decision(seen, &plan, &placed.running, &placed.hosts_full, gave_way);
        self.plan = Some(Arc::clone(&plan));
        (plan, Arc::new(decision))
    }

    /// The plan in force; none before the first observation.
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.plan.as_ref()
    }

    /// What there is.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// What the operator set.
    pub fn config(&self) -> &ControllerConfig {
        &self.config
    }

    /// Name of the policy that decides.
    pub fn policy_name(&self) -> &'static str {
        self.policy.name()
    }

    /// What the guard must remember across a restart.
    pub fn guard_memory(&self) -> &GuardMemory {
        self.guard.memory()
    }

    /// Goes on from what the guard remembered before a restart.
    pub fn remember(&mut self, memory: GuardMemory) {
        self.guard.remember(memory);
    }

    /// Goes on from where another one was, before the first step. A plan of another topology is not taken.
    pub fn go_on(&mut self, start: Start) {
        if let Some(memory) = start.guard {
            self.remember(memory);
        }
        self.plan = start.plan.filter(|plan| plan.steering.0.len() == self.topology.cells()).map(Arc::new);
    }

    /// The plan that what stands would have come from.
    fn adopt(&self, seen: &Observation) -> Plan {
        let fits = seen.steering.0.len() == self.topology.cells();
        Plan {
            generation: seen.applied,
            parent: seen.applied,
            vms: Deployment::adopt(seen, &self.topology),
            slices: seen.slices.iter().map(|slice| (slice.slice, slice.stands)).collect::<BTreeMap<_, _>>(),
            steering: if fits { seen.steering.clone() } else { Steering::home(self.topology.cells()) },
        }
    }

    /// Where clients shall go, if that changes.
    fn steer(&mut self, seen: &Observation, current: &Plan) -> Option<Steering> {
        let classes = self.classes.len();
        for (cell, needed) in self.scratch.needed.iter_mut().enumerate() {
            let offered = self.served.offered[cell].unwrap_or(0.0);
            *needed = (offered / self.classes[cell % classes].0 - 1e-9).ceil() as u32;
        }
        self.up.fill(false);
        for (host, seen) in self.topology.hosts.iter().zip(&seen.hosts) {
            self.up[host.region.index()] |= seen.up;
        }
        self.steersman.steer(&current.steering, &self.served.cells, &self.scratch.needed, &self.topology)
    }

    /// Asks the policy, and prepares what the guard will look at.
    fn ask(&mut self, seen: &Observation, current: &Plan, steering: &Steering) {
        let scratch = &mut self.scratch;
        scratch.asks.fill_with(Ask::default);
        let situation = Situation {
            seen,
            current,
            steering,
            topology: &self.topology,
            config: &self.config,
            cells: &self.served.cells,
            offered: &self.served.offered,
            floors: &self.guard.floors,
            ceilings: &self.guard.ceilings,
        };
        self.policy.ask(&situation, &mut scratch.asks);
        let classes = self.classes.len();
        for (cell, ask) in scratch.asks.iter_mut().enumerate() {
            // A region whose clients are away sees no use of its own: it gets what its clients need, so that they
            // can come home.
            let away = steering.0.get(cell).is_some_and(|weights| !weights.is_empty());
            if away && self.up[cell / classes] && ask.vms < scratch.needed[cell] {
                ask.vms = scratch.needed[cell];
                ask.reason = format!("its clients are away and need {} to come home", ask.vms);
            }
            let served = &self.served.cells[cell];
            let passage = &mut scratch.passages[cell];
            passage.current = served.wanted;
            passage.vms = ask.vms;
            passage.sighted = served.complete;
            passage.bound_by.clear();
        }
    }

    /// Price of the machines that drain \[currency unit / h\].
    fn spent(&self, current: &Plan) -> f64 {
        if self.config.guard.budget_per_hour.is_none() {
            return 0.0;
        }
        let draining = current.vms.values().filter(|vm| vm.intent == VmIntent::Draining);
        draining.map(|vm| self.topology.flavours[vm.flavour.index()].price_per_hour).sum()
    }

    /// Cuts links into slices for the machines that shall exist, those that still do, and demand.
    fn slice(&mut self, seen: &Observation, current: &Plan, vms: &BTreeMap<VmId, PlannedVm>) -> Sliced {
        let headroom = self.config.slicing.headroom;
        // Nothing is let go on what was hardly seen.
        let dark = seen.coverage < self.config.guard.coverage_floor;
        for (cell, need) in self.scratch.slices.iter_mut().enumerate() {
            let each = self.classes[cell % self.classes.len()].1.as_f64();
            let served = &self.served.cells[cell];
            let rate = |sessions: f64| BitsPerSecond::from_f64(sessions * each);
            let asked = self.scratch.asks[cell].bandwidth;
            // Less than half a session is what is left of one that was turned away long ago, or the tail of a forecast.
            let some = served.sessions.is_some_and(|sessions| sessions >= 0.5)
                || asked.is_some_and(|asked| asked.as_f64() >= 0.5 * each);
            *need = Need {
                cover: asked.or(served.sessions.map(|sessions| rate(sessions * headroom))),
                now: served.sessions.map(rate),
                machines: false,
                demand: (some || (served.complete && !dark)).then_some(some),
            };
        }
        let seen_at = seen.vms.iter().map(|vm| (vm.region, vm.class));
        for (region, class) in vms.values().map(|vm| (vm.region, vm.class)).chain(seen_at) {
            self.scratch.slices[self.topology.cell(region, class)].machines = true;
        }
        self.slicing.slice(&current.slices, seen, &self.scratch.slices, &self.topology)
    }

    fn decision(
        &mut self,
        seen: &Observation,
        plan: &Plan,
        running: &[u32],
        hosts_full: &[bool],
        mut gave_way: BTreeMap<SliceId, GaveWay>,
    ) -> Decision {
        let scratch = &mut self.scratch;
        let cells = (0..running.len())
            .map(|cell| {
                let (region, class) = self.topology.cell_at(cell);
                let (served, ask) = (&self.served.cells[cell], &mut scratch.asks[cell]);
                let passage = &mut scratch.passages[cell];
                let requests = self.resolved.as_ref().and_then(|resolved| resolved.requests(cell));
                if let Some(requests) = requests {
                    ask.reason = format!("{}; clients: {requests}", ask.reason);
                }
                if hosts_full[cell] {
                    passage.bound_by.push(Bound::HostsFull);
                }
                CellDecision {
                    region,
                    class,
                    ready: served.ready,
                    coming: served.coming,
                    draining: served.draining,
                    sessions: served.sessions,
                    requests,
                    utilization: served.utilization(),
                    forecast: ask.fan,
                    asked: ask.vms,
                    granted: passage.vms,
                    planned: running[cell],
                    bound_by: std::mem::take(&mut passage.bound_by),
                    gave_way: gave_way.remove(&SliceId::at(cell)),
                    reason: std::mem::take(&mut ask.reason),
                }
            })
            .collect();
        Decision { at: seen.at, generation: plan.generation, cells }
    }
}

#[cfg(test)]
mod tests;
