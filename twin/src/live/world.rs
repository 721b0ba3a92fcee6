//! Production as a world: one waits in it by sleeping, and acts in it through a rollout.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_adapters::audit::{self, Audit, Text};
use forebay_adapters::ledger::{Durability, LedgerError};
use forebay_world::{
    BitsPerSecond, Cpu, Demand, Duration, Generation, KnownEvent, Observation, Plan, PlannedVm, SliceUse, Steering,
    Synchrony, Timestamp, VmId, VmIntent, World, WorldError,
};

use super::book::{Book, Entry};
use super::crew::{Crew, Ended};
use super::release::{Proposal, Release};
use super::{ground, limits};
use crate::controller::config::DemandSource;
use crate::decision::Decision;
use crate::deployment::rollout::{Failure, Held, Lane, Life, Order, Outcome, Report, Rollout, Sight, Turn};
use crate::guard::GuardMemory;
use crate::production::{Mandate, Production};
use crate::watch::{Board, Names, Pace, QueryWatch, Seen, Targets, network_use};

/// What is done at all times, in counts since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Orders by what they were about.
    pub orders: BTreeMap<&'static str, u64>,
    /// Orders that are over and did what they should, by what they were about.
    pub done: BTreeMap<&'static str, u64>,
    /// Orders that failed, by what they were about.
    pub failed: BTreeMap<&'static str, u64>,
    /// Orders that were not let through, by what they were about: kill switch, lease, ledger.
    pub refused: BTreeMap<&'static str, u64>,
    /// Orders that were not let through.
    pub stopped: u64,
    /// Writes.
    pub writes: u64,
}

/// An order that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Out {
    /// Who carries it out.
    pub lane: Lane,
    /// What it is about, in a few words.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}

/// Something that a person should hear of, beside the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// An order failed, or was not let through: which, and why.
    Order {
        /// What it was about.
        what: String,
        /// Why.
        why: String,
        /// Whether it was not let through.
        is_refused: bool,
    },
    /// The audit cannot be written, and why.
    Audit(String),
}

/// Remarks that are kept until somebody takes them.
const REMARKS_MOST: usize = 1000;

/// What is done at each beat, before anything is ordered.
pub type OnBeat<P, C> = Box<dyn FnMut(&mut LiveWorld<P, C>) + Send>;

/// Production.
pub struct LiveWorld<P, C> {
    production: Arc<Production>,
    pace: P,
    crew: C,
    board: Arc<Board>,
    queries: Option<QueryWatch>,
    rollout: Rollout,
    release: Release,
    book: Book,
    audit: Option<Audit>,
    /// The plan as it was submitted, and what of it may be carried out.
    submitted: Arc<Plan>,
    released: Plan,
    events: Vec<KnownEvent>,
    window_since: Timestamp,
    reports: Vec<Report>,
    last: (Sight, Turn),
    reasons: Vec<String>,
    counts: Counts,
    /// Orders that are out, by their numbers.
    out: BTreeMap<u64, Out>,
    remarks: Vec<Remark>,
    on_beat: Option<OnBeat<P, C>>,
    /// Why nothing is ordered any more.
    halted: Option<String>,
}

impl<P: Pace, C: Crew> LiveWorld<P, C> {
    /// Production as the file has it, from what the book remembers.
    pub fn new(
        production: Arc<Production>,
        board: Arc<Board>,
        pace: P,
        crew: C,
        queries: Option<QueryWatch>,
        book: Book,
        audit: Option<Audit>,
    ) -> Self {
        let topology = Arc::clone(&production.topology);
        let memory = book.memory();
        let home = || Plan { steering: Steering::home(topology.cells()), ..Plan::default() };
        let submitted = memory.plan.clone().unwrap_or_else(|| Arc::new(home()));
        let mut approved = memory.approved.clone();
        for (vm, course) in &memory.courses {
            // What stood when a cell was given to a person stands until that person says otherwise.
            let is_advised = production.mandate(course.planned.region, course.planned.class) == Mandate::Advise;
            if is_advised && course.leaving.is_none() && course.failed.is_none() {
                approved.entry(*vm).or_insert(PlannedVm { intent: VmIntent::Running, ..course.planned });
            }
        }
        let mut release = Release::new(&production.mandates, approved);
        let now = pace.now();
        let mut rollout =
            Rollout::new(Arc::clone(&topology), limits(&production), ground(&production), memory.courses.clone());
        rollout.freeze(production.mandates.iter().map(|mandate| !mandate.may_write()).collect());
        let sight = board.sight(&production, rollout.courses(), now);
        let released = release.release(&submitted, &rollout.machines(&sight), &topology, now);
        if let Some(queries) = &queries {
            queries.begin(now);
        }
        LiveWorld {
            rollout,
            release,
            released,
            submitted,
            events: Vec::new(),
            window_since: now,
            reports: Vec::new(),
            last: (sight, Turn::default()),
            reasons: vec![String::new(); topology.cells()],
            counts: Counts::default(),
            out: BTreeMap::new(),
            remarks: Vec::new(),
            on_beat: None,
            halted: None,
            production,
            pace,
            crew,
            board,
            queries,
            book,
            audit,
        }
    }

    /// What is remembered.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// How time passes here.
    pub fn pace(&mut self) -> &mut P {
        &mut self.pace
    }

    /// What the time is here.
    pub fn present(&self) -> Timestamp {
        self.pace.now()
    }

    /// Orders nothing any more, and says why; looks, answers and renews go on, and what stands stays.
    pub fn halt(&mut self, why: impl Into<String>) {
        self.halted.get_or_insert_with(|| why.into());
    }

    /// Why nothing is ordered any more, if that is so.
    pub fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    /// What was held back at the last beat, and why.
    pub fn held(&self) -> &BTreeMap<VmId, Held> {
        &self.last.1.held
    }

    /// What does not answer.
    pub fn troubles(&self) -> Vec<(String, String)> {
        let mut troubles = self.board.troubles(&self.production, self.pace.now());
        troubles.extend(self.queries.iter().flat_map(QueryWatch::troubles));
        troubles
    }

    /// Orders so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Orders that are out, by their numbers.
    pub fn out(&self) -> &BTreeMap<u64, Out> {
        &self.out
    }

    /// Lanes in which something has failed since something last succeeded: failures in a row, when it is tried again, and
    /// whether nothing is tried until then.
    pub fn breakers(&self) -> Vec<(Lane, u32, Timestamp, bool)> {
        let breakers = self.rollout.breakers(self.pace.now());
        breakers.map(|(lane, breaker, is_open)| (lane, breaker.failures(), breaker.not_before(), is_open)).collect()
    }

    /// What the machines cost that stand or are being made \[currency unit / h\].
    pub fn spending(&self) -> f64 {
        let topology = &self.production.topology;
        let there = self.rollout.courses().values().filter(|course| !course.is_gone());
        // Not by a sum, which of nothing is a negative zero.
        there.fold(0.0, |cost, course| cost + topology.flavours[course.planned.flavour.index()].price_per_hour)
    }

    /// Why the policy asked for what it did in a cell, at the last decision.
    pub fn reason(&self, cell: usize) -> &str {
        &self.reasons[cell]
    }

    /// What there is.
    pub fn production(&self) -> &Arc<Production> {
        &self.production
    }

    /// What was seen of it.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// What a person should hear of, since it was last asked.
    pub fn take_remarks(&mut self) -> Vec<Remark> {
        std::mem::take(&mut self.remarks)
    }

    /// Does something at each beat from now on.
    pub fn set_on_beat(&mut self, on_beat: OnBeat<P, C>) {
        self.on_beat = Some(on_beat);
    }

    fn remark(&mut self, remark: Remark) {
        if self.remarks.len() < REMARKS_MOST {
            self.remarks.push(remark);
        }
    }

    /// What waits for a person's yes.
    pub fn proposals(&self) -> impl Iterator<Item = &Proposal> {
        self.release.proposals()
    }

    /// A person says yes; whether anything was proposed for that machine.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be written down; then nothing is done.
    pub fn approve(&mut self, vm: VmId) -> Result<bool, LedgerError> {
        if !self.release.approve(vm) {
            return Ok(false);
        }
        self.book.write(vec![Entry::Approved { vms: self.release.approved().clone() }], true)?;
        self.let_go();
        Ok(true)
    }

    /// Events that are known from now on.
    pub fn set_events(&mut self, events: Vec<KnownEvent>) {
        self.events = events;
    }

    /// Remembers why it was decided so, and what the guard must not forget. Called before the plan is submitted.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn note(&mut self, decision: &Decision, guard: &GuardMemory) -> Result<(), LedgerError> {
        for (reason, cell) in self.reasons.iter_mut().zip(&decision.cells) {
            reason.clone_from(&cell.reason);
        }
        self.book.write(vec![Entry::Guard { memory: guard.clone() }], false)
    }

    /// What may be carried out of the plan.
    fn let_go(&mut self) {
        let machines = self.rollout.machines(&self.last.0);
        let now = self.pace.now();
        self.released = self.release.release(&self.submitted, &machines, &self.production.topology, now);
    }

    /// One beat: hears, looks, and orders what is next.
    fn beat(&mut self) {
        // A yes that is heard here is ordered below: what is approved and not begun is not observed.
        if let Some(mut on_beat) = self.on_beat.take() {
            on_beat(self);
            self.on_beat.get_or_insert(on_beat);
        }
        self.crew.look();
        let now = self.pace.now();
        for ended in self.crew.ended() {
            self.hear(ended, now);
        }
        let sight = self.board.sight(&self.production, self.rollout.courses(), now);
        if self.halted.is_some() {
            self.last.0 = sight;
            return;
        }
        let reports = std::mem::take(&mut self.reports);
        let turn = self.rollout.turn(&self.released, &sight, &reports);
        let entries: Vec<Entry> = turn.changes.iter().map(Entry::from).collect();
        match self.book.write(entries, !turn.orders.is_empty()) {
            Ok(()) => {
                self.rollout.confirm(&turn.changes);
                turn.orders.iter().for_each(|order| self.send(order.clone(), now));
            }
            // What cannot be remembered is not begun.
            Err(error) => turn.orders.iter().for_each(|order| self.refuse(order, &error, now)),
        }
        self.board.set_targets(self.targets());
        self.last = (sight, turn);
    }

    fn targets(&self) -> Targets {
        let names = Names(&self.production);
        let asked = self.rollout.courses().iter().filter(|(_, course)| course.made_at.is_some() && !course.is_gone());
        asked
            .filter(|(_, course)| self.production.health_of(course.planned.class).is_some())
            .filter_map(|(vm, course)| {
                Some((*vm, (course.planned.class, names.address(course.planned.region, course.address?)?)))
            })
            .collect()
    }

    fn send(&mut self, order: Order, at: Timestamp) {
        *self.counts.orders.entry(order.task.verb()).or_default() += 1;
        self.write_down(&order, audit::Outcome::Begun, at);
        self.out.insert(order.number, Out { lane: order.lane, what: order.task.to_string(), since: at });
        self.crew.send(order);
    }

    fn refuse(&mut self, order: &Order, error: &LedgerError, at: Timestamp) {
        self.counts.stopped += 1;
        *self.counts.refused.entry(order.task.verb()).or_default() += 1;
        let why = format!("the ledger cannot be written: {error}");
        self.write_down(order, audit::Outcome::Refused { reason: Text::new(&why) }, at);
        self.remark(Remark::Order { what: order.task.to_string(), why: why.clone(), is_refused: true });
        let outcome = Outcome::Failed { failure: Failure::Stopped, why };
        self.reports.push(Report { order: order.number, lane: order.lane, outcome });
    }

    fn hear(&mut self, ended: Ended, at: Timestamp) {
        let Ended { order, did } = ended;
        self.out.remove(&order.number);
        self.counts.writes += u64::from(did.writes);
        let said = |why: &str| {
            let mut all = vec![why.to_owned()];
            all.extend(did.remarks.iter().cloned());
            Text::new(&all.join("; "))
        };
        let outcome = match &did.outcome {
            Outcome::Done | Outcome::Underway => {
                *self.counts.done.entry(order.task.verb()).or_default() += 1;
                audit::Outcome::Done { writes: did.writes }
            }
            Outcome::Failed { failure: Failure::Stopped, why } => {
                self.counts.stopped += 1;
                *self.counts.refused.entry(order.task.verb()).or_default() += 1;
                audit::Outcome::Refused { reason: said(why) }
            }
            Outcome::Failed { why, .. } => {
                *self.counts.failed.entry(order.task.verb()).or_default() += 1;
                audit::Outcome::Failed { reason: said(why) }
            }
        };
        self.write_down(&order, outcome, at);
        if let Outcome::Failed { failure, why } = &did.outcome {
            let (what, is_refused) = (order.task.to_string(), *failure == Failure::Stopped);
            self.remark(Remark::Order { what, why: why.clone(), is_refused });
        }
        self.reports.push(Report { order: order.number, lane: order.lane, outcome: did.outcome });
    }

    /// An audit that cannot be written does not stop what keeps capacity standing; it is said where it is seen.
    fn write_down(&mut self, order: &Order, outcome: audit::Outcome, at: Timestamp) {
        let Some(audit) = &mut self.audit else { return };
        let course = order.task.vm().and_then(|vm| self.rollout.courses().get(&vm));
        let topology = &self.production.topology;
        let why = course.map_or_else(
            || format!("plan {}", self.released.generation),
            |course| {
                let (region, class) = (course.planned.region, course.planned.class);
                let reason = &self.reasons[topology.cell(region, class)];
                let cell = format!("{}/{}", topology.region(region).name, topology.class(class).name);
                let failed = course.failed.as_ref().map_or(String::new(), |failed| format!("; the machine {failed}"));
                format!("plan {}, {cell}: {reason}{failed}", self.released.generation)
            },
        );
        let entry = audit::Entry {
            order: Text::new(order.task.verb()),
            target: Text::new(&order.task),
            why: Text::new(&why),
            outcome,
        };
        if let Err(error) = audit.append(at, entry, Durability::Soon) {
            self.remark(Remark::Audit(error.to_string()));
        }
    }

    /// The newest plan that stands anywhere, where we remember none.
    fn standing_generation(&self) -> Generation {
        if self.submitted.generation > Generation(0) {
            return Generation(0);
        }
        let links = self.board.links();
        let on_links = links.iter().filter_map(|look| look.seen.as_ref()?.1.standing.generation);
        let answered = self.board.answered();
        let answered = answered.seen.as_ref().and_then(|(_, seen)| seen.standing.generation);
        on_links.chain(answered).max().unwrap_or_default()
    }

    /// Demand of each client cell: queries as they were counted, or sessions as the machines of its own region say. What
    /// either is not wholly known of is not seen.
    fn demand(&self, sight: &Sight, slices: &[SliceUse], seen: &Seen, window: Duration) -> Vec<Option<Demand>> {
        let topology = &self.production.topology;
        let by_dns = self.production.controller.demand == DemandSource::Dns;
        let mut sessions = vec![Some(0_u64); topology.cells()];
        let there = self.rollout.courses().iter().filter(|(_, course)| course.well_at.is_some() && !course.is_gone());
        for (vm, course) in there {
            let host = sight.hosts.get(course.planned.host.index()).and_then(Option::as_ref);
            let machine = host.and_then(|host| host.machines.get(vm));
            let said = match machine {
                Some(machine) if machine.life == Life::Off => Some(0),
                Some(machine) => machine.sessions,
                None if host.is_some() => Some(0),
                None => None,
            };
            let cell = topology.cell(course.planned.region, course.planned.class);
            sessions[cell] = sessions[cell].zip(said).map(|(all, one)| all + u64::from(one));
        }
        (0..topology.cells())
            .map(|cell| {
                let known = if by_dns { seen.is_whole() } else { sessions[cell].is_some() };
                if !known {
                    return None;
                }
                let (region, class) = topology.cell_at(cell);
                let count = seen.counts.get(cell).copied().unwrap_or_default();
                let sessions = sessions[cell].unwrap_or_default() as f64;
                let work = topology.class(class);
                let slice = topology.slice(region, class);
                let used = slices.iter().find(|slice_use| slice_use.slice == slice);
                let arrivals = sessions / work.work.mean_seconds().max(1e-9) * window.as_secs_f64();
                Some(Demand {
                    queries: count.queries,
                    exposure: count.exposure,
                    arrivals: arrivals.round() as u64,
                    sessions,
                    cpu: Cpu::from_f64(sessions * work.cpu_per_session().as_f64()),
                    bandwidth: used.map_or(BitsPerSecond::ZERO, |slice_use| slice_use.used),
                    ..Demand::default()
                })
            })
            .collect()
    }
}

impl<P: Pace, C: Crew> World for LiveWorld<P, C> {
    fn now(&self) -> Timestamp {
        self.pace.now()
    }

    fn wait_until(&mut self, deadline: Timestamp) -> Result<Synchrony, WorldError> {
        loop {
            self.beat();
            let now = self.pace.now();
            if now >= deadline || self.pace.is_over() {
                let late = now.since(deadline);
                return Ok(if late <= self.pace.beat() { Synchrony::OnTime } else { Synchrony::Late(late) });
            }
            self.pace.rest(self.pace.beat().min(deadline.since(now)));
        }
    }

    fn observe(&mut self) -> Result<Observation, WorldError> {
        let at = self.pace.now();
        let window = at.since(self.window_since);
        self.window_since = at;
        let seen = self.queries.as_ref().map(|queries| queries.close(at)).unwrap_or_default();
        let sight = self.board.sight(&self.production, self.rollout.courses(), at);
        let vms = self.rollout.machines(&sight);
        self.events.retain(|event| event.end > at);
        let since = at.saturating_sub(self.production.freshness);
        let (links, slices) = network_use(&self.production, &self.board, since);
        let mut observation = Observation {
            at,
            window,
            demand: self.demand(&sight, &slices, &seen, window),
            hosts: self.rollout.hosts(&sight),
            links,
            slices,
            steering: self.submitted.steering.clone(),
            events: self.events.clone(),
            applied: self.submitted.generation.max(self.standing_generation()),
            coverage: self.board.coverage(&self.production, since, seen.sources),
            next_vm: self.book.memory().next.max(self.board.next_vm()),
            vms,
        };
        self.release.announce(&mut observation);
        self.last.0 = sight;
        Ok(observation)
    }

    fn submit(&mut self, plan: &Plan) -> Result<(), WorldError> {
        let applied = self.submitted.generation;
        if plan.generation < applied {
            return Err(WorldError::Stale { submitted: plan.generation, applied });
        }
        if plan.generation > applied || applied == Generation(0) {
            let mut entries = vec![Entry::Plan { plan: Box::new(plan.clone()) }];
            let last = plan.vms.keys().next_back();
            entries.extend(last.map(|vm| Entry::Next { vm: VmId(vm.0.saturating_add(1)) }));
            // A plan that cannot be remembered is not begun; the one before stays in force.
            self.book.write(entries, true).map_err(|error| WorldError::Unreachable {
                endpoint: "the ledger".to_owned(),
                source: std::io::Error::other(error.to_string()),
            })?;
            self.submitted = Arc::new(plan.clone());
        }
        self.let_go();
        Ok(())
    }
}
