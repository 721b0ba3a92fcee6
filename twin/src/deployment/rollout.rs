//! The way from a plan to machines that serve, and back, in ordered steps that real infrastructure takes minutes for.
//!
//! ```text
//!   in:   slice ─▶ machine, paused ─▶ port ─▶ let run ─▶ well ─▶ warm ─▶ clients are sent there
//!   out:  clients are sent elsewhere ─▶ k × TTL and a tail ─▶ sessions are over, or the deadline ─▶ shut down ─▶ remove ─▶ port ─▶ slice
//! ```
//!
//! A rollout does nothing itself: it is told the plan, what was seen and what became of its orders, and says what is to be
//! ordered next. It is level-triggered: orders follow from what is seen, so that a lost report, a crash or a hand's work is
//! no special case. What must outlive a crash is in [`Course`]s: whoever carries orders out first writes the
//! [changes](Turn::changes) down.
//!
//! What was not seen is unknown. Nothing that serves is let go on it: a machine leaves only while its hypervisor and the
//! name server are seen, while all that shall serve beside it does, and while not too many leave already. A machine is
//! ended only after clients were seen to be sent elsewhere for as long as some keep coming, and its sessions were seen to
//! be over or its deadline has passed.

mod addresses;
mod breaker;
mod course;
mod departure;
mod host_orders;
mod limits;
mod order;
mod presence;
mod sight;
mod watch;
mod whole_orders;

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_world::{HostId, HostSeen, Plan, Timestamp, Topology, VmId, VmIntent, VmSeen};

use self::addresses::Addresses;
pub use self::breaker::Breaker;
pub use self::course::{Course, Leaving};
use self::departure::CellCount;
pub use self::limits::{Ground, HostGround, RolloutLimits};
pub use self::order::{Failure, Lane, Member, Order, Outcome, Port, Report, Task};
pub use self::sight::{AnswersSight, Health, HostSight, Life, LinkSight, MachineSight, Sight};
use self::whole_orders::Asked;

/// Turns a plan into orders.
#[derive(Clone, Debug)]
pub struct Rollout {
    topology: Arc<Topology>,
    limits: RolloutLimits,
    ground: Ground,
    courses: BTreeMap<VmId, Course>,
    /// Courses as whoever writes them down knows them.
    written: BTreeMap<VmId, Course>,
    addresses: Addresses,
    breakers: BTreeMap<Lane, Breaker>,
    /// What kind of order failed last, by lane, where nothing has succeeded since.
    failed: BTreeMap<Lane, Kind>,
    in_flight: BTreeMap<Lane, InFlight>,
    /// What was last asked of a lane that is about many machines.
    asked: BTreeMap<Lane, Asked>,
    /// Since when a host's hypervisor is not seen, dense; none where it is.
    unseen_since: Vec<Option<Timestamp>>,
    /// When it was first asked that no client be sent to a machine any more: what was seen before says nothing.
    excluded_at: BTreeMap<VmId, Timestamp>,
    /// Cells in which nothing is to be changed.
    frozen: Vec<bool>,
    /// Machines that shall run and that do, by cell, at the last turn.
    cells: Vec<CellCount>,
    /// Orders in a row that were not let through, by lane.
    stopped: BTreeMap<Lane, u32>,
    next_order: u64,
}

/// An order that is out.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    number: u64,
    vm: Option<VmId>,
    since: Timestamp,
    kind: Kind,
    /// The first order to end its machine.
    ends: bool,
}

/// What kind of order it is, as far as its failure is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Resume,
    Create,
    ShutDown,
    Remove,
    Orphan,
    Warm,
    Whole,
}

/// What a rollout says at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// To be written down before any order is carried out, so that a crash forgets nothing.
    pub changes: Vec<Change>,
    /// To be carried out.
    pub orders: Vec<Order>,
    /// What was held back, and why.
    pub held: BTreeMap<VmId, Held>,
}

/// Something to remember.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// This is known of a machine now.
    Course(VmId, Box<Course>),
    /// Nothing is left of it.
    Gone(VmId),
}

/// Why something was not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Every address of the region is taken.
    NoAddress,
    /// Its slice does not stand yet.
    NoSlice,
    /// Its host boots others.
    NoBootSlot,
    /// It failed a moment ago.
    Backoff,
    /// Its host, its link or the name server is not seen.
    Blind,
    /// Not all that shall serve beside it does.
    Shortage,
    /// Enough of its kind are on their way out.
    Disruption,
    /// So many fell ill at once that it is more likely not they who are.
    ManyIll,
    /// Clients may still be on their way.
    Linger,
    /// It has sessions, or nobody knows that it has none.
    Sessions,
}

impl Held {
    /// All there is.
    pub const ALL: [Held; 10] = [
        Held::NoAddress,
        Held::NoSlice,
        Held::NoBootSlot,
        Held::Backoff,
        Held::Blind,
        Held::Shortage,
        Held::Disruption,
        Held::ManyIll,
        Held::Linger,
        Held::Sessions,
    ];

    /// Its name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Held::NoAddress => "no_address",
            Held::NoSlice => "no_slice",
            Held::NoBootSlot => "no_boot_slot",
            Held::Backoff => "backoff",
            Held::Blind => "blind",
            Held::Shortage => "shortage",
            Held::Disruption => "disruption",
            Held::ManyIll => "many_ill",
            Held::Linger => "linger",
            Held::Sessions => "sessions",
        }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Held::NoAddress => "every address of its region is taken",
            Held::NoSlice => "its slice does not stand yet",
            Held::NoBootSlot => "its host boots others",
            Held::Backoff => "it failed a moment ago",
            Held::Blind => "its host, its link or the name server is not seen",
            Held::Shortage => "not all that shall serve beside it does",
            Held::Disruption => "enough of its kind are on their way out",
            Held::ManyIll => "many fell ill at once",
            Held::Linger => "clients may still be on their way",
            Held::Sessions => "it has sessions, or nobody knows that it has none",
        })
    }
}

impl Rollout {
    /// A rollout that remembers these courses.
    pub fn new(
        topology: Arc<Topology>,
        limits: RolloutLimits,
        ground: Ground,
        courses: BTreeMap<VmId, Course>,
    ) -> Self {
        assert_eq!(ground.hosts.len(), topology.hosts.len(), "a ground is dense over hosts");
        assert_eq!(limits.linger.len(), topology.classes.len(), "limits are dense over classes");
        let mut addresses = Addresses::new(&ground.addresses);
        for (id, course) in &courses {
            if let Some(address) = course.address {
                addresses.keep(course.planned.region, address, *id);
            }
        }
        Rollout {
            limits,
            ground,
            written: courses.clone(),
            courses,
            addresses,
            breakers: BTreeMap::new(),
            failed: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            asked: BTreeMap::new(),
            unseen_since: vec![None; topology.hosts.len()],
            excluded_at: BTreeMap::new(),
            frozen: vec![false; topology.cells()],
            cells: vec![CellCount::default(); topology.cells()],
            stopped: BTreeMap::new(),
            topology,
            next_order: 0,
        }
    }

    /// Goes on: hears what became of orders, follows the plan, takes in what is seen, and says what is next.
    pub fn turn(&mut self, plan: &Plan, sight: &Sight, reports: &[Report]) -> Turn {
        let mut turn = Turn::default();
        self.hear(reports, sight.at);
        self.follow(plan, sight.at);
        self.look(sight, &mut turn);
        self.leave(plan, sight, &mut turn);
        self.order_hosts(plan, sight, &mut turn);
        self.order_warmth(sight, &mut turn);
        self.order_links(plan, sight, &mut turn);
        self.order_answers(plan, sight, &mut turn);
        self.settle(sight, &mut turn);
        turn
    }

    /// These changes are written down: they are not told again. What could not be written is told at the next turn.
    pub fn confirm(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Course(id, course) => drop(self.written.insert(*id, (**course).clone())),
                Change::Gone(id) => drop(self.written.remove(id)),
            }
        }
    }

    /// Cells, dense, in which nothing is to be changed: what stands there stays as it is.
    pub fn freeze(&mut self, cells: Vec<bool>) {
        assert_eq!(cells.len(), self.topology.cells(), "cells are dense");
        self.frozen = cells;
    }

    fn is_frozen(&self, course: &Course) -> bool {
        self.frozen[self.topology.cell(course.planned.region, course.planned.class)]
    }

    /// All machines that are not wholly gone, and what is known of each.
    pub fn courses(&self) -> &BTreeMap<VmId, Course> {
        &self.courses
    }

    /// Machines as a controller sees them, by ascending id.
    pub fn machines(&self, sight: &Sight) -> Vec<VmSeen> {
        let there = self.courses.iter().filter(|(_, course)| !course.is_gone());
        there
            .map(|(&id, course)| {
                let machine = machine(sight, course.planned.host, id);
                let clients_may_come =
                    course.leaving.is_some_and(|leaving| !self.has_lingered(course, leaving, sight.at));
                VmSeen {
                    id,
                    region: course.planned.region,
                    host: course.planned.host,
                    flavour: course.planned.flavour,
                    class: course.planned.class,
                    state: course.state,
                    since: course.since,
                    sessions: machine.and_then(|machine| machine.sessions).filter(|n| *n > 0 || !clients_may_come),
                    utilization: machine.and_then(|machine| machine.utilization),
                }
            })
            .collect()
    }

    /// Hosts as a controller sees them, dense: one that is not seen, or fails again and again, takes nothing new.
    pub fn hosts(&self, sight: &Sight) -> Vec<HostSeen> {
        let open =
            |host| self.breakers.get(&Lane::Host(host)).is_some_and(|breaker| breaker.is_open(sight.at, &self.limits));
        let seen = |index: usize| sight.hosts.get(index).is_some_and(Option::is_some);
        (0..self.topology.hosts.len()).map(|index| HostSeen { up: seen(index) && !open(HostId::at(index)) }).collect()
    }

    /// Lanes in which something has failed since something last succeeded, and whether nothing is tried there at `at`.
    pub fn breakers(&self, at: Timestamp) -> impl Iterator<Item = (Lane, &Breaker, bool)> {
        self.breakers.iter().map(move |(lane, breaker)| (*lane, breaker, breaker.is_open(at, &self.limits)))
    }

    /// Takes in what became of orders.
    fn hear(&mut self, reports: &[Report], at: Timestamp) {
        for report in reports {
            let Some(order) = self.in_flight.get(&report.lane).copied().filter(|out| out.number == report.order) else {
                continue;
            };
            self.forget(report.lane, at);
            match &report.outcome {
                Outcome::Done => self.succeed(report.lane, order, at),
                Outcome::Underway => {
                    self.breakers.remove(&report.lane);
                    if let Some(asked) = self.asked.get_mut(&report.lane) {
                        asked.is_underway = true;
                        asked.not_before = at.saturating_add(self.limits.retry_first);
                    }
                }
                Outcome::Failed { failure, why } => self.fail(report.lane, order, *failure, why, at),
            }
        }
        let patience = self.limits.order_patience;
        let lost = |(_, out): &(&Lane, &InFlight)| at.since(out.since) >= patience;
        let lost: Vec<(Lane, InFlight)> = self.in_flight.iter().filter(lost).map(|(lane, out)| (*lane, *out)).collect();
        for (lane, order) in lost {
            self.forget(lane, at);
            self.fail(lane, order, Failure::Transient, "nothing was heard of it", at);
        }
    }

    /// Nothing is out in a lane any more.
    fn forget(&mut self, lane: Lane, at: Timestamp) {
        self.in_flight.remove(&lane);
        if let Some(asked) = self.asked.get_mut(&lane) {
            asked.heard_at = Some(at);
        }
    }

    fn succeed(&mut self, lane: Lane, order: InFlight, at: Timestamp) {
        self.breakers.remove(&lane);
        self.failed.remove(&lane);
        self.stopped.remove(&lane);
        let wait = self.limits.retry_first;
        if let Some(asked) = self.asked.get_mut(&lane) {
            asked.is_underway = false;
            asked.not_before = at.saturating_add(wait);
        }
        let Some(course) = order.vm.and_then(|vm| self.courses.get_mut(&vm)) else { return };
        match order.kind {
            Kind::Create => {
                course.made_at.get_or_insert(at);
                course.tried_at = Some(at);
            }
            Kind::Warm => course.is_warm = true,
            Kind::Resume | Kind::ShutDown | Kind::Remove | Kind::Orphan | Kind::Whole => {}
        }
        course.unanswered_since = None;
        // A machine that is made over and over is not well for having been made.
        if course.well_at.is_some() || order.kind != Kind::Create {
            course.failures = 0;
        }
    }

    fn fail(&mut self, lane: Lane, order: InFlight, failure: Failure, why: &str, at: Timestamp) {
        if failure != Failure::Stopped && order.kind != Kind::Warm {
            self.breakers.entry(lane).or_default().fail(at, &self.limits);
            self.failed.insert(lane, order.kind);
        }
        let first = self.limits.retry_first;
        if let Some(asked) = self.asked.get_mut(&lane) {
            asked.tries = asked.tries.saturating_add(1);
            let tries = if failure == Failure::Stopped { asked.tries.min(5) } else { asked.tries };
            asked.not_before = at.saturating_add(self.limits.backoff(tries).max(first));
        }
        let stopped = if failure == Failure::Stopped {
            let stopped = self.stopped.entry(lane).or_default();
            *stopped = stopped.saturating_add(1);
            *stopped
        } else {
            self.stopped.remove(&lane);
            0
        };
        let Some(course) = order.vm.and_then(|vm| self.courses.get_mut(&vm)) else { return };
        if failure == Failure::Stopped {
            // It is asked again before long: whoever opens the gate waits for it.
            course.not_before = at.saturating_add(self.limits.backoff(stopped.min(5)));
            // It was not asked to end after all.
            if order.ends
                && let Some(leaving) = &mut course.leaving
            {
                leaving.ending_since = None;
            }
            return;
        }
        if order.kind == Kind::Create {
            // It may have been done all the same, up to this moment.
            course.tried_at = Some(at);
        }
        if failure == Failure::Unreachable {
            // The breaker says when it is tried again. What cannot be made here for long is made elsewhere.
            let since = *course.unanswered_since.get_or_insert(at);
            if matches!(order.kind, Kind::Create | Kind::Resume) && at.since(since) >= self.limits.unhealthy_grace {
                course.fail(why);
            }
            return;
        }
        course.unanswered_since = None;
        course.failures = course.failures.saturating_add(1);
        course.not_before = at.saturating_add(self.limits.backoff(course.failures));
        match order.kind {
            // A cold cache is better than none.
            Kind::Warm => course.is_warm = course.failures >= 2,
            Kind::Create | Kind::Resume if failure == Failure::Permanent || course.failures >= self.limits.attempts => {
                course.fail(why);
            }
            _ => {}
        }
    }

    /// Begins a course for each machine that the plan asks for and nobody knows yet.
    fn follow(&mut self, plan: &Plan, at: Timestamp) {
        for (&id, planned) in &plan.vms {
            if planned.intent == VmIntent::Running && !self.courses.contains_key(&id) {
                let address = self.addresses.take(planned.region, id);
                self.courses.insert(id, Course::begin(*planned, address, at));
            }
        }
        for (&id, course) in &mut self.courses {
            if course.address.is_none() {
                course.address = self.addresses.take(course.planned.region, id);
            }
        }
    }

    fn is_free(&self, lane: Lane, at: Timestamp) -> bool {
        !self.in_flight.contains_key(&lane) && self.breakers.get(&lane).is_none_or(|breaker| breaker.may_try(at))
    }

    fn send(&mut self, lane: Lane, task: Task, (kind, ends): (Kind, bool), at: Timestamp, turn: &mut Turn) {
        let number = self.next_order;
        self.next_order += 1;
        self.in_flight.insert(lane, InFlight { number, vm: task.vm(), since: at, kind, ends });
        turn.orders.push(Order { number, lane, task });
    }

    /// Forgets what is wholly gone, tells states, and says what is to be written down.
    fn settle(&mut self, sight: &Sight, turn: &mut Turn) {
        let mut over = Vec::new();
        for (&id, course) in &mut self.courses {
            let state = course.life();
            if state != course.state {
                (course.state, course.since) = (state, sight.at);
            }
            let Some(leaving) = course.leaving.filter(|leaving| leaving.gone_since.is_some()) else { continue };
            let link = sight.links.get(course.planned.region.index()).and_then(Option::as_ref);
            let port_is_gone =
                !self.ground.links[course.planned.region.index()] || link.is_some_and(|link| !link.ports.contains(&id));
            let linger = self.limits.linger(course.planned.class);
            // Until the last client is gone, its address belongs to nobody else.
            let nobody_comes = course.well_at.is_none()
                || leaving.unanswered_since.is_some_and(|since| sight.at.since(since) >= linger);
            if port_is_gone && nobody_comes && !self.in_flight.values().any(|out| out.vm == Some(id)) {
                over.push(id);
            }
        }
        for id in over {
            let course = self.courses.remove(&id).expect("it was just looked at");
            self.excluded_at.remove(&id);
            if let Some(address) = course.address {
                self.addresses.let_go(course.planned.region, address, id);
            }
        }
        for (&id, course) in &self.courses {
            if self.written.get(&id) != Some(course) {
                turn.changes.push(Change::Course(id, Box::new(course.clone())));
            }
        }
        turn.changes
            .extend(self.written.keys().filter(|id| !self.courses.contains_key(id)).map(|id| Change::Gone(*id)));
    }
}

fn machine(sight: &Sight, host: HostId, vm: VmId) -> Option<&MachineSight> {
    sight.hosts.get(host.index())?.as_ref()?.machines.get(&vm)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trial;
