//! A small production to try a rollout on: hypervisors, links, a name server and clients, all of which can fail, by chance
//! from a seed. What is true here is known, so that what a rollout does can be judged by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use forebay_world::*;

use super::*;
use crate::controller::Controller;
use crate::controller::config::{ControllerConfig, DeploymentConfig, GuardConfig};
use crate::forecast::chance::Chance;
use crate::guard::GuardMemory;
use crate::policy::{Ask, Policy, Situation};
use crate::small_world;

/// Asks for what it is told to.
#[derive(Clone)]
struct Told(Arc<Mutex<Vec<u32>>>);

impl Policy for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn ask(&mut self, _: &Situation<'_>, asks: &mut [Ask]) {
        let told = self.0.lock().unwrap();
        asks.iter_mut().zip(told.iter()).for_each(|(ask, vms)| ask.vms = *vms);
    }

    fn clone_box(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

/// A machine as it truly is.
#[derive(Clone, Debug)]
struct Machine {
    life: Life,
    created: Timestamp,
    /// When it serves, once it runs; never where its image is broken.
    boots_until: Option<Timestamp>,
    ill_until: Timestamp,
    sessions: u32,
    cell: usize,
    address: u32,
}

impl Machine {
    fn serves(&self, at: Timestamp) -> bool {
        self.life == Life::Running && self.boots_until.is_some_and(|boots| at >= boots) && at >= self.ill_until
    }
}

/// What will become of an order.
#[derive(Clone, Debug)]
struct Underway {
    order: Order,
    due: Timestamp,
    is_done: bool,
    outcome: Option<Outcome>,
}

/// What is not as it should be, and until when.
#[derive(Clone, Debug)]
struct Trouble {
    hosts: Vec<Timestamp>,
    links: Vec<Timestamp>,
    names: Timestamp,
    /// Nobody asks machines how they do.
    unasked: Timestamp,
    /// All machines seem ill, because whoever asks them is.
    all_seem_ill: Timestamp,
    /// Little is seen of demand.
    dark: Timestamp,
    /// Nothing may be written.
    stopped: Timestamp,
    /// Sights come this late.
    late: Duration,
}

pub(super) struct Trial {
    pub(super) at: Timestamp,
    chance: Chance,
    topology: Arc<Topology>,
    config: ControllerConfig,
    limits: RolloutLimits,
    ground: Ground,
    told: Arc<Mutex<Vec<u32>>>,
    controller: Controller,
    memory: GuardMemory,
    rollout: Rollout,
    ledger: BTreeMap<VmId, Course>,
    next_vm: VmId,
    applied: Generation,
    plan: Arc<Plan>,
    hosts: Vec<BTreeMap<VmId, Machine>>,
    links: Vec<(BTreeMap<SliceId, PlannedSlice>, BTreeSet<VmId>)>,
    /// Who is answered, with whose address; and when each was last.
    answered: BTreeMap<VmId, (RegionId, u32)>,
    last_answered: BTreeMap<VmId, Timestamp>,
    underway: Vec<Underway>,
    reports: Vec<Report>,
    seen_before: Option<Sight>,
    trouble: Trouble,
    /// Chance of a trouble at each beat; 0 in quiet times.
    pub(super) trouble_rate: f64,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

/// Clients keep coming so long after they are no longer sent: a little less than the rollout waits for.
const CLIENTS_LINGER: u64 = 7;
const BEAT: Duration = Duration::from_secs(1);
const TICK_BEATS: u64 = 5;

impl Trial {
    pub(super) fn new(seed: u64) -> Trial {
        let mut chance = Chance::new(seed, "rollout trial");
        let regions = 1 + chance.below(2);
        let mut topology = small_world::topology(regions);
        for host in &mut topology.hosts {
            host.concurrent_boots = 1 + chance.below(3) as u32;
            host.cpu = Cpu(4_000 * (2 + chance.below(4) as u64));
        }
        let topology = Arc::new(topology);
        let classes = topology.classes.len();
        let floor = chance.below(3) as u32;
        let config = ControllerConfig {
            period: Duration::from_secs(5),
            guard: GuardConfig {
                floor,
                ceiling: 8,
                step_up_vms: 1 + chance.below(6) as u32,
                step_down_vms: 1 + chance.below(4) as u32,
                shrink_cooldown: Duration::from_secs(10),
                budget_per_hour: (chance.below(2) == 0).then_some(0.4 * f64::from(4 + chance.below(20) as u32)),
                ..GuardConfig::default()
            },
            deployment: DeploymentConfig {
                spread: chance.below(2) == 0,
                drain_deadline: Some(Duration::from_secs(40)),
                launch_grace: Duration::from_secs(15),
            },
            ..ControllerConfig::default()
        };
        let limits = RolloutLimits {
            retry_first: Duration::from_secs(1),
            retry_most: Duration::from_secs(8),
            attempts: 4,
            breaker_failures: 3,
            breaker_rest: Duration::from_secs(8),
            disruption_vms: 1 + chance.below(2) as u32,
            disruption_share: 0.1,
            unhealthy_grace: Duration::from_secs(8),
            boot_deadline: Duration::from_secs(25),
            shut_down_deadline: Duration::from_secs(5),
            order_patience: Duration::from_secs(12),
            orphan_grace: Duration::from_secs(20),
            orphan_cap: 2,
            ill_share: 0.45,
            ill_vms: 3,
            linger: vec![Duration::from_secs(8); classes],
            drain_deadline: vec![Duration::from_secs(40); classes],
        };
        let mut ground = Ground::able(&topology, 40);
        for host in &mut ground.hosts {
            host.shuts_down = chance.below(4) > 0;
            host.ports = chance.below(4) > 0;
        }
        ground.answers = chance.below(5) > 0;
        ground.warms = (0..classes).map(|_| chance.below(2) == 0).collect();
        let told = Arc::new(Mutex::new(vec![floor; topology.cells()]));
        let controller = Controller::new(Arc::clone(&topology), config.clone(), Box::new(Told(Arc::clone(&told))));
        let memory = controller.guard_memory().clone();
        let rollout = Rollout::new(Arc::clone(&topology), limits.clone(), ground.clone(), BTreeMap::new());
        let at = Timestamp::from_secs(10_000);
        Trial {
            at,
            trouble: Trouble {
                hosts: vec![Timestamp::EPOCH; topology.hosts.len()],
                links: vec![Timestamp::EPOCH; regions],
                names: Timestamp::EPOCH,
                unasked: Timestamp::EPOCH,
                all_seem_ill: Timestamp::EPOCH,
                dark: Timestamp::EPOCH,
                stopped: Timestamp::EPOCH,
                late: Duration::ZERO,
            },
            hosts: vec![BTreeMap::new(); topology.hosts.len()],
            links: vec![Default::default(); regions],
            answered: BTreeMap::new(),
            last_answered: BTreeMap::new(),
            chance,
            config,
            limits,
            ground,
            told,
            controller,
            memory,
            rollout,
            ledger: BTreeMap::new(),
            next_vm: VmId(0),
            applied: Generation(0),
            plan: Arc::new(Plan { steering: Steering::home(topology.cells()), ..Plan::default() }),
            topology,
            underway: Vec::new(),
            reports: Vec::new(),
            seen_before: None,
            trouble_rate: 0.0,
            counts: BTreeMap::new(),
        }
    }

    fn happens(&mut self, share: f64) -> bool {
        self.chance.uniform() < share
    }

    fn for_a_while(&mut self, most: usize) -> Timestamp {
        self.at + Duration::from_secs(2 + self.chance.below(most) as u64)
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// One second: things go wrong, orders come to an end, the controller and the rollout go on.
    pub(super) fn beat(&mut self) -> Result<(), String> {
        self.at += BEAT;
        self.live();
        if self.happens(self.trouble_rate) {
            self.go_wrong();
        }
        self.carry_out()?;
        let sight = self.sight();
        if (self.at.as_nanos() / 1_000_000_000).is_multiple_of(TICK_BEATS) {
            self.decide(&sight)?;
        }
        self.turn(&sight)
    }

    /// Machines boot, clients come and go.
    fn live(&mut self) {
        let (at, linger) = (self.at, Duration::from_secs(CLIENTS_LINGER));
        for vm in self.answered.keys() {
            self.last_answered.insert(*vm, at);
        }
        for host in 0..self.hosts.len() {
            let ids: Vec<VmId> = self.hosts[host].keys().copied().collect();
            for id in ids {
                let roll = self.chance.below(100);
                let comes = if self.ground.answers {
                    self.last_answered.get(&id).is_some_and(|last| at.since(*last) < linger)
                } else {
                    self.rollout.courses().get(&id).is_some_and(|course| course.leaving.is_none())
                };
                let machine = self.hosts[host].get_mut(&id).unwrap();
                if machine.life == Life::Ending && roll < 40 {
                    machine.life = Life::Off;
                }
                if machine.life == Life::Off {
                    machine.sessions = 0;
                } else if machine.serves(at) && comes && roll < 50 {
                    machine.sessions = (machine.sessions + 1).min(5);
                } else if roll > 80 {
                    machine.sessions = machine.sessions.saturating_sub(1);
                }
            }
        }
    }

    fn go_wrong(&mut self) {
        let host = self.chance.below(self.hosts.len());
        let link = self.chance.below(self.links.len());
        let kind = self.chance.below(15);
        let until = self.for_a_while(20);
        let ids: Vec<VmId> = self.hosts[host].keys().copied().collect();
        let victim = (!ids.is_empty()).then(|| ids[self.chance.below(ids.len())]);
        let what = match (kind, victim) {
            (0, _) => {
                self.trouble.hosts[host] = until;
                "host unreachable"
            }
            (1, _) => {
                self.trouble.links[link] = until;
                "link unreachable"
            }
            (2, _) => {
                self.trouble.names = until;
                "name server unreachable"
            }
            (3, _) => {
                self.trouble.unasked = until;
                "health unknown"
            }
            (4, _) => {
                self.trouble.all_seem_ill = until;
                "all seem ill"
            }
            (5, _) => {
                self.trouble.dark = until;
                "telemetry gap"
            }
            (6, _) => {
                self.trouble.stopped = until;
                "kill switch"
            }
            (7, _) => {
                self.trouble.late = Duration::from_secs(self.chance.below(4) as u64);
                "late sights"
            }
            (8, Some(vm)) => {
                self.hosts[host].get_mut(&vm).unwrap().life = Life::Off;
                "machine crashed"
            }
            (9, Some(vm)) => {
                self.hosts[host].remove(&vm);
                "machine vanished"
            }
            (10, Some(vm)) => {
                self.hosts[host].get_mut(&vm).unwrap().ill_until = until;
                "machine ill"
            }
            (11, _) => {
                for id in ids {
                    self.hosts[host].get_mut(&id).unwrap().life = Life::Off;
                }
                self.trouble.hosts[host] = until;
                "host died"
            }
            (12, _) => {
                let id = VmId(1_000_000 + self.chance.below(1_000_000) as u64);
                let machine = Machine {
                    life: Life::Running,
                    created: self.at,
                    boots_until: Some(self.at),
                    ill_until: Timestamp::EPOCH,
                    sessions: 0,
                    cell: 0,
                    address: 1_000,
                };
                self.hosts[host].insert(id, machine);
                "orphan"
            }
            (13, _) => {
                self.crash();
                "crash"
            }
            (14, _) => {
                for vms in self.told.lock().unwrap().iter_mut() {
                    *vms = self.chance.below(7) as u32;
                }
                "demand changed"
            }
            _ => return,
        };
        self.count(what);
    }

    /// The controller is killed and starts anew from what was written. Orders that were out have been done or not.
    pub(super) fn crash(&mut self) {
        let underway = std::mem::take(&mut self.underway);
        for mut order in underway {
            order.outcome = None;
            order.due = self.at;
            if self.chance.below(2) == 0 && order.is_done {
                self.underway.push(order);
            }
        }
        // Whoever is dead does nothing later.
        let left = std::mem::take(&mut self.underway);
        for order in left {
            self.apply(&order.order).unwrap_or_else(|what| panic!("{what}"));
        }
        self.reports.clear();
        self.seen_before = None;
        self.rollout =
            Rollout::new(Arc::clone(&self.topology), self.limits.clone(), self.ground.clone(), self.ledger.clone());
        self.controller =
            Controller::new(Arc::clone(&self.topology), self.config.clone(), Box::new(Told(Arc::clone(&self.told))));
        self.controller.remember(self.memory.clone());
    }

    pub(super) fn calm(&mut self) {
        self.trouble_rate = 0.0;
        self.trouble.late = Duration::ZERO;
    }

    /// Ends orders whose time has come.
    fn carry_out(&mut self) -> Result<(), String> {
        let (due, later): (Vec<Underway>, Vec<Underway>) =
            std::mem::take(&mut self.underway).into_iter().partition(|order| order.due <= self.at);
        self.underway = later;
        for underway in due {
            if underway.is_done {
                self.apply(&underway.order)?;
            }
            if let Some(outcome) = underway.outcome {
                self.reports.push(Report { order: underway.order.number, lane: underway.order.lane, outcome });
            }
        }
        Ok(())
    }

    fn apply(&mut self, order: &Order) -> Result<(), String> {
        match &order.task {
            Task::Slice { slices, ports, .. } => {
                let Lane::Link(region) = order.lane else { return Err(format!("{order:?} in a strange lane")) };
                for (vm, port) in ports {
                    if !slices.contains_key(&port.slice) {
                        return Err(format!("the port of {vm} is in slice {}, which shall not stand", port.slice));
                    }
                }
                self.links[region.index()] = (slices.clone(), ports.keys().copied().collect());
            }
            Task::Create { vm, planned, address, .. } => {
                let (at, boots) = (self.at, Duration::from_secs(3 + self.chance.below(8) as u64));
                let is_broken = self.trouble_rate > 0.0 && self.chance.below(12) == 0;
                let paused = self.ground.hosts[planned.host.index()].ports;
                let cell = self.topology.cell(planned.region, planned.class);
                let others = self.hosts.iter().flatten().filter(|(id, machine)| {
                    **id != *vm && machine.cell == cell && machine.address == *address && machine.life != Life::Off
                });
                let sharing: Vec<VmId> = others.map(|(id, _)| *id).collect();
                if !sharing.is_empty() {
                    return Err(format!("{vm} shares address {address} with {sharing:?}"));
                }
                if !self.links[planned.region.index()].0.contains_key(&planned.slice) {
                    return Err(format!("{vm} was made before its slice"));
                }
                let machine = self.hosts[planned.host.index()].entry(*vm).or_insert(Machine {
                    life: Life::Off,
                    created: at,
                    boots_until: None,
                    ill_until: Timestamp::EPOCH,
                    sessions: 0,
                    cell,
                    address: *address,
                });
                if machine.life == Life::Off {
                    machine.life = if paused { Life::Paused } else { Life::Running };
                    machine.boots_until = (!is_broken).then_some(at + boots);
                }
            }
            Task::Resume(vm) => {
                for (host, machines) in self.hosts.iter_mut().enumerate() {
                    if let Some(machine) = machines.get_mut(vm).filter(|machine| machine.life == Life::Paused) {
                        let region = self.topology.hosts[host].region;
                        if self.ground.hosts[host].ports && !self.links[region.index()].1.contains(vm) {
                            return Err(format!("{vm} runs and its port has no rules"));
                        }
                        machine.life = Life::Running;
                    }
                }
            }
            Task::Warm { .. } => {}
            Task::Answer { members, .. } => {
                for (vm, member) in members.iter().filter(|(_, member)| member.takes && member.healthy) {
                    let course = self.rollout.courses().get(vm);
                    if course.is_some_and(|course| course.well_at.is_none() || !course.is_warm) {
                        return Err(format!("{vm} is answered and never did well, or is cold"));
                    }
                    let taken =
                        self.answered.iter().find(|(id, at)| *id != vm && **at == (member.region, member.address));
                    if let Some((other, _)) =
                        taken.filter(|(id, _)| members.get(*id).is_some_and(|m| m.takes && m.healthy))
                    {
                        return Err(format!("{vm} and {other} are answered by the same address"));
                    }
                }
                let takes = members.iter().filter(|(_, member)| member.takes && member.healthy);
                self.answered = takes.map(|(vm, member)| (*vm, (member.region, member.address))).collect();
            }
            Task::ShutDown(vm) => {
                for machines in &mut self.hosts {
                    if let Some(machine) = machines.get_mut(vm).filter(|machine| machine.life == Life::Running) {
                        // One in five does not listen.
                        if self.chance.below(5) > 0 {
                            machine.life = Life::Ending;
                        }
                    }
                }
            }
            Task::Remove(vm) => {
                for machines in &mut self.hosts {
                    machines.remove(vm);
                }
            }
        }
        Ok(())
    }

    /// What can be seen now.
    fn sight(&mut self) -> Sight {
        let at = self.at;
        let hosts = self.hosts.iter().zip(&self.trouble.hosts).map(|(machines, until)| {
            let seen = |machine: &Machine| MachineSight {
                life: machine.life,
                created: machine.created,
                sessions: Some(machine.sessions),
                utilization: None,
            };
            let machines = machines.iter().map(|(id, machine)| (*id, seen(machine))).collect();
            (at >= *until).then_some(HostSight { at, machines })
        });
        let links = self.links.iter().zip(&self.trouble.links).map(|((slices, ports), until)| {
            (at >= *until).then(|| LinkSight { at, slices: slices.clone(), ports: ports.clone() })
        });
        let mut health = BTreeMap::new();
        if at >= self.trouble.unasked {
            for (id, course) in self.rollout.courses() {
                let machine = self.hosts[course.planned.host.index()].get(id);
                let is_well = machine.is_some_and(|machine| machine.serves(at)) && at >= self.trouble.all_seem_ill;
                if course.made_at.is_some() {
                    health.insert(*id, if is_well { Health::Healthy } else { Health::Unhealthy });
                }
            }
        }
        let answers = (self.ground.answers && at >= self.trouble.names).then(|| AnswersSight {
            at,
            answered: self.answered.keys().copied().collect(),
            strangers: false,
        });
        let now = Sight { at, hosts: hosts.collect(), links: links.collect(), answers, health };
        // Parts may be a little older than the moment.
        match &self.seen_before {
            Some(before) if self.trouble.late > Duration::ZERO && at.since(before.at) < self.trouble.late => {
                let parts = before.clone();
                Sight { at, hosts: parts.hosts, links: parts.links, answers: parts.answers, health: now.health }
            }
            _ => {
                self.seen_before = Some(now.clone());
                now
            }
        }
    }

    fn decide(&mut self, sight: &Sight) -> Result<(), String> {
        let dark = self.at < self.trouble.dark;
        let mut seen = small_world::quiet(&self.topology, self.at);
        let demand = |told: &u32| Demand { sessions: f64::from(told.min(&1) * 40), ..Demand::default() };
        seen.demand = self.told.lock().unwrap().iter().map(|told| (!dark).then(|| demand(told))).collect();
        seen.coverage = if dark { 0.5 } else { 1.0 };
        seen.vms = self.rollout.machines(sight);
        seen.hosts = self.rollout.hosts(sight);
        seen.applied = self.applied;
        seen.next_vm = self.next_vm;
        let stands = sight.links.iter().flatten().flat_map(|link| &link.slices);
        seen.slices = stands
            .map(|(id, stands)| SliceUse {
                slice: *id,
                stands: *stands,
                used: BitsPerSecond(0),
                offered: BitsPerSecond(0),
            })
            .collect();
        let is_first = self.controller.plan().is_none();
        let (plan, decision) = self.controller.step(&seen);
        let running = |plan: &Plan, cell: usize| {
            let of_cell = |vm: &&PlannedVm| self.topology.cell(vm.region, vm.class) == cell;
            plan.vms.values().filter(of_cell).filter(|vm| vm.intent == VmIntent::Running).count() as u32
        };
        for (cell, decided) in decision.cells.iter().enumerate() {
            let (before, after) = (running(&self.plan, cell), running(&plan, cell));
            let gone = seen.vms.iter().filter(|vm| vm.state == VmState::Failed).count() as u32;
            if dark && !is_first && after + gone < before && decided.granted < before {
                return Err(format!("cell {cell}: {before} to {after} machines on a telemetry gap: {decided:?}"));
            }
        }
        if let Some(last) = plan.vms.keys().next_back() {
            self.next_vm = self.next_vm.max(VmId(last.0 + 1));
        }
        self.applied = plan.generation;
        self.memory = self.controller.guard_memory().clone();
        self.plan = plan;
        Ok(())
    }

    fn turn(&mut self, sight: &Sight) -> Result<(), String> {
        let before = self.rollout.courses().clone();
        let reports = std::mem::take(&mut self.reports);
        let plan = Arc::clone(&self.plan);
        let turn = self.rollout.turn(&plan, sight, &reports);
        for change in &turn.changes {
            match change {
                Change::Course(id, course) => drop(self.ledger.insert(*id, (**course).clone())),
                Change::Gone(id) => drop(self.ledger.remove(id)),
            }
        }
        self.rollout.confirm(&turn.changes);
        self.judge(&before, sight, &turn)?;
        if self.trouble_rate > 0.0 && self.happens(0.01) {
            // Killed between what was written down and what was to be done.
            self.count("crash before orders");
            self.crash();
            return Ok(());
        }
        for order in turn.orders {
            self.count(order.task.verb());
            let underway = self.fate(order);
            self.underway.push(underway);
        }
        Ok(())
    }

    fn fate(&mut self, order: Order) -> Underway {
        let at = self.at;
        let unreachable = match order.lane {
            Lane::Host(host) => at < self.trouble.hosts[host.index()],
            Lane::Link(region) => at < self.trouble.links[region.index()],
            Lane::Answers => at < self.trouble.names,
            Lane::Warmth(_) => false,
        };
        let failed = |failure, why: &str| Some(Outcome::Failed { failure, why: why.to_owned() });
        let (is_done, outcome) = if at < self.trouble.stopped {
            (false, failed(Failure::Stopped, "kill switch"))
        } else if unreachable {
            (false, failed(Failure::Unreachable, "nobody answers"))
        } else if self.trouble_rate > 0.0 {
            match self.chance.below(20) {
                0 => (false, failed(Failure::Transient, "refused")),
                1 => (true, failed(Failure::Unreachable, "lost on the way back")),
                2 => (true, None),
                3 => (false, None),
                4 if matches!(order.task, Task::Create { .. }) => (false, failed(Failure::Permanent, "no such image")),
                5 if matches!(order.task, Task::Answer { .. }) => (true, Some(Outcome::Underway)),
                _ => (true, Some(Outcome::Done)),
            }
        } else {
            (true, Some(Outcome::Done))
        };
        let takes = if self.trouble_rate > 0.0 { self.chance.below(5) as u64 } else { 1 };
        Underway { order, due: at + Duration::from_secs(takes), is_done, outcome }
    }

    /// What must never be, whatever went wrong.
    fn judge(&mut self, before: &BTreeMap<VmId, Course>, sight: &Sight, turn: &Turn) -> Result<(), String> {
        let answers_unseen = self.ground.answers && sight.answers.is_none();
        let courses = self.rollout.courses();
        let mut leaving = vec![0_u32; self.topology.cells()];
        let mut run = vec![(0_u32, 0_u32); self.topology.cells()];
        let mut addresses = BTreeSet::new();
        for (id, course) in courses {
            let cell = self.topology.cell(course.planned.region, course.planned.class);
            leaving[cell] += u32::from(course.is_disruption());
            let wanted = self.plan.vms.get(id).is_some_and(|vm| vm.intent == VmIntent::Running);
            if wanted && course.leaving.is_none() {
                run[cell].0 += 1;
                run[cell].1 += u32::from(course.serves());
            }
            if let Some(address) = course.address
                && !addresses.insert((course.planned.region, address))
            {
                return Err(format!("{id} shares address {address}"));
            }
        }
        for (id, course) in courses {
            let was = before.get(id);
            let cell = self.topology.cell(course.planned.region, course.planned.class);
            let is_new = course.leaving.is_some() && was.is_none_or(|was| was.leaving.is_none());
            if is_new && course.is_disruption() {
                let have = courses.values().filter(|c| self.topology.cell(c.planned.region, c.planned.class) == cell);
                let well = have.filter(|c| c.well_at.is_some() && c.failed.is_none() && !c.is_gone()).count() as u32;
                if leaving[cell] > self.limits.disruption(well) {
                    return Err(format!("{id} leaves, {} of {well} are leaving already", leaving[cell] - 1));
                }
                if run[cell].1 < run[cell].0 {
                    return Err(format!("{id} leaves, while {:?} of its cell serve", run[cell]));
                }
                if answers_unseen || sight.hosts[course.planned.host.index()].is_none() {
                    return Err(format!("{id} leaves unseen"));
                }
            }
        }
        for order in &turn.orders {
            if let (Task::Slice { ports, .. }, Lane::Link(region)) = (&order.task, order.lane) {
                let cut = |vm: &&VmId| {
                    let there = |course: &Course| {
                        self.hosts[course.planned.host.index()].get(*vm).is_some_and(|m| m.life != Life::Off)
                    };
                    !ports.contains_key(*vm) && courses.get(*vm).is_some_and(there)
                };
                if let Some(vm) = self.links[region.index()].1.iter().find(cut) {
                    return Err(format!("{vm} is there, and its port loses its rules: {:?}", courses[vm]));
                }
            }
            let (Task::ShutDown(vm) | Task::Remove(vm)) = order.task else { continue };
            let Lane::Host(host) = order.lane else { return Err(format!("{order:?} in a strange lane")) };
            let Some(machine) = self.hosts[host.index()].get(&vm) else { continue };
            let Some(course) = courses.get(&vm) else {
                let age = self.at.since(machine.created);
                if age < self.limits.orphan_grace || self.plan.vms.contains_key(&vm) {
                    return Err(format!("{vm} is taken away as an orphan at the age of {age}"));
                }
                continue;
            };
            let Some(leaving) = course.leaving else { return Err(format!("{vm} is ended and does not leave")) };
            let was_ending = before.get(&vm).is_some_and(Course::is_ending);
            if was_ending || course.failed.is_some() || !machine.serves(self.at) || course.well_at.is_none() {
                continue;
            }
            if self.answered.contains_key(&vm) {
                return Err(format!("{vm} is ended while clients are sent there"));
            }
            let deadline = self.limits.drain_deadline(course.planned.class);
            if machine.sessions > 0 && self.at.since(leaving.since) < deadline {
                return Err(format!("{vm} is ended with {} sessions: {course:?}", machine.sessions));
            }
        }
        Ok(())
    }

    /// Whether all is as planned, and nothing else is there.
    pub(super) fn settled(&self) -> Result<(), String> {
        let planned: BTreeSet<VmId> = self.plan.vms.keys().copied().collect();
        let there: BTreeSet<VmId> = self.hosts.iter().flat_map(|machines| machines.keys().copied()).collect();
        let say = |what: &str, ids: &BTreeSet<VmId>| {
            Err(format!(
                "{what}: {ids:?}, planned {planned:?}; courses {:?}; asked {:?}; plan {:?}",
                self.rollout.courses(),
                self.rollout.asked,
                self.plan
            ))
        };
        if there != planned {
            return say("machines", &there);
        }
        let known: BTreeSet<VmId> = self.rollout.courses().keys().copied().collect();
        if known != planned || self.ledger != *self.rollout.courses() {
            return say("courses", &known);
        }
        let serve = |(_, machine): &(&VmId, &Machine)| machine.serves(self.at);
        let serving: BTreeSet<VmId> = self.hosts.iter().flatten().filter(serve).map(|(id, _)| *id).collect();
        if serving != planned {
            return say("serving", &serving);
        }
        let answered: BTreeSet<VmId> = self.answered.keys().copied().collect();
        if self.ground.answers && answered != planned {
            return say("answered", &answered);
        }
        let ports: BTreeSet<VmId> = self.links.iter().flat_map(|(_, ports)| ports.iter().copied()).collect();
        if ports != planned {
            return say("ports", &ports);
        }
        let slices: BTreeMap<SliceId, PlannedSlice> =
            self.links.iter().flat_map(|(slices, _)| slices.iter().map(|(id, slice)| (*id, *slice))).collect();
        if slices != self.plan.slices {
            return Err(format!("slices {slices:?}, planned {:?}", self.plan.slices));
        }
        let told = self.told.lock().unwrap();
        for (cell, told) in told.iter().enumerate() {
            let of_cell = |vm: &&PlannedVm| self.topology.cell(vm.region, vm.class) == cell;
            let run = self.plan.vms.values().filter(of_cell).count() as u32;
            let want = (*told).max(self.config.guard.floor);
            if run > want || (run < want && self.config.guard.budget_per_hour.is_none() && self.has_room()) {
                return Err(format!("cell {cell} has {run} machines, {want} are wanted: {:?}", self.rollout.breakers));
            }
        }
        Ok(())
    }

    /// Whether every machine that could be wanted has room on the hosts of its region.
    fn has_room(&self) -> bool {
        (0..self.topology.regions.len()).all(|region| {
            let hosts = self.topology.hosts.iter().filter(|host| host.region.index() == region);
            hosts.map(|host| host.cpu.0 / 4_000).sum::<u64>() >= 12
        })
    }
}
