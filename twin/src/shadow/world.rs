//! Production as a world that can be looked at and in which nothing can be done: plans are carried out in a twin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_sim::Score;
use forebay_world::{
    Demand, Duration, LinkUse, Observation, Occurrence, Plan, RegionId, SliceId, Steering, Synchrony, Timestamp,
    VmSeen, VmState, What, World, WorldError,
};

use super::figures::Ledger;
use super::fleet::{Change, Fleet};
use super::hindcast::Hindcast;
use super::load::{ObservedLoad, Rate};
use super::twins::{Twins, Window};
use crate::controller::config::DemandSource;
use crate::decision::Decision;
use crate::production::Production;
use crate::watch::{self, Answered, LinkMeter, Pace, QueryWatch, answered, of_class};

pub use crate::watch::Seers;

/// A file by which nobody can tell demand.
#[derive(Debug, thiserror::Error)]
#[error("machines of others cannot be asked how many sessions they have, and {0} sees no queries")]
pub struct Untold(String);

impl Untold {
    /// What may help.
    pub fn hint(&self) -> &'static str {
        "add [dns] with `dnstap` or [[dns.log]], by which queries are seen"
    }
}

/// What demand is told from: as the file has it, but from DNS where the machines are others', which cannot be asked how
/// many sessions they have. The second is whether that is another than the file has.
///
/// # Errors
/// [`Untold`] where it can be told from nothing.
pub fn demand_source(production: &Production) -> Result<(DemandSource, bool), Untold> {
    match (production.controller.demand, production.incumbents.is_empty(), production.queries.is_some()) {
        (DemandSource::Dns, ..) => Ok((DemandSource::Dns, false)),
        (DemandSource::Sessions, true, _) => Ok((DemandSource::Sessions, false)),
        (DemandSource::Sessions, false, true) => Ok((DemandSource::Dns, true)),
        (DemandSource::Sessions, false, false) => Err(Untold(production.name.clone())),
    }
}

/// What was seen of production in the last window, beside the observation.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    pub(super) rates: Vec<Option<Rate>>,
    pub(super) changes: Vec<Change>,
    /// Sessions of each serving cell as machines say them.
    pub(super) sessions: Vec<Option<f64>>,
    /// Use of links, measured in production …
    pub(super) links: Vec<Option<LinkUse>>,
    /// … and in the twin of theirs.
    pub(super) twin_links: Vec<Option<LinkUse>>,
    /// Machines of the twin of theirs.
    pub(super) twin_vms: Vec<VmSeen>,
    /// What the clients of each class are answered in production (dense); nothing where that was not seen.
    pub(super) answers: Vec<Option<Answered>>,
    /// Where the clients of each cell are sent by that (dense).
    pub(super) sent: Sent,
    /// Where they are sent in the twin of ours.
    pub(super) ours_sent: Steering,
}

/// For each client cell (dense), the regions to which its clients are sent and their weights; `None` where that is not known.
type Sent = Vec<Option<Vec<(RegionId, u32)>>>;

/// Production, watched.
pub struct ShadowWorld<P> {
    pub(super) seers: Seers,
    pace: P,
    source: DemandSource,
    pub(super) fleet: Fleet,
    load: ObservedLoad,
    meter: LinkMeter,
    pub(super) twins: Twins,
    pub(super) ledger: Ledger,
    pub(super) hindcast: Hindcast,
    pub(super) began: Timestamp,
    pub(super) last: Last,
    window_since: Timestamp,
    /// Changes since the last window ended.
    changes: Vec<Change>,
    occurrences: Vec<Occurrence>,
    /// Regions of which not all was heard.
    dark: BTreeSet<RegionId>,
    /// Launches and ends in the twin of ours, by cell.
    pub(super) would: Vec<(u64, u64)>,
    pub(super) events_processed: u64,
}

impl<P: Pace> ShadowWorld<P> {
    /// Production as the seers show it from now on, with so many replicates of its twins.
    pub fn new(seers: Seers, pace: P, source: DemandSource, replicates: u32) -> Self {
        let production = &seers.production;
        let began = pace.now();
        if let Some(queries) = &seers.queries {
            queries.begin(began);
        }
        let cells = production.topology.cells();
        ShadowWorld {
            fleet: Fleet::new(production),
            load: ObservedLoad::new(&production.topology, source),
            meter: LinkMeter::default(),
            twins: Twins::new(production, began, replicates),
            ledger: Ledger::new(production, replicates as usize),
            hindcast: Hindcast::new(cells),
            last: Last::default(),
            changes: Vec::new(),
            occurrences: Vec::new(),
            dark: BTreeSet::new(),
            would: vec![(0, 0); cells],
            events_processed: 0,
            window_since: began,
            began,
            source,
            pace,
            seers,
        }
    }

    /// How time passes here.
    pub fn pace(&mut self) -> &mut P {
        &mut self.pace
    }

    /// What there is.
    pub fn production(&self) -> &Arc<Production> {
        &self.seers.production
    }

    /// When it began to watch.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// What does not answer, and why.
    pub fn troubles(&self) -> Vec<(String, String)> {
        let mut troubles = self.seers.board.troubles(&self.seers.production, self.pace.now());
        troubles.extend(self.seers.events.troubles());
        troubles.extend(self.seers.queries.iter().flat_map(QueryWatch::troubles));
        troubles
    }

    /// What ours would be judged by, as the load was told.
    pub fn score(&mut self) -> Score {
        self.twins.told().ours.score()
    }

    /// What has happened in the twin of ours, and what ceased or began to answer, since this was last asked.
    pub fn take_occurrences(&mut self) -> Vec<Occurrence> {
        std::mem::take(&mut self.occurrences)
    }

    /// Takes in what was decided, before the plan is submitted.
    pub fn note(&mut self, decision: &Decision) {
        self.hindcast.take(decision);
    }

    fn beat(&mut self) {
        let now = self.pace.now();
        let mut changes = self.fleet.look(&self.seers.production, &self.seers.board, now);
        self.changes.append(&mut changes);
        self.changes.sort_by_key(|change| (change.at, change.vm));
        self.meter.take(&self.seers.board);
    }

    /// Where production's name server sends the clients of each cell, of what they are answered.
    fn sent(&self, answers: &[Option<Answered>]) -> Sent {
        let production = &self.seers.production;
        let of = |(home, class)| of_class(answers, class).filter(|of| of.is_whole)?.weights(production, home);
        production.topology.cell_ids().map(of).collect()
    }

    /// Demand of each client cell as production shows it; `None` where it does not.
    fn demand(&self, seen: &watch::Seen, sessions: &[Option<f64>], window: Duration) -> Vec<Option<Demand>> {
        let topology = &self.seers.production.topology;
        let is_heard = seen.sources.0 > 0;
        (0..topology.cells())
            .map(|cell| {
                let count = seen.counts.get(cell).copied().filter(|_| is_heard);
                let demand = match self.source {
                    DemandSource::Dns => Demand::default(),
                    DemandSource::Sessions => {
                        let sessions = sessions[cell]?;
                        let class = topology.class(topology.cell_at(cell).1);
                        let began = sessions / class.work.mean_seconds().max(1e-9) * window.as_secs_f64();
                        Demand { sessions, arrivals: began.round() as u64, ..Demand::default() }
                    }
                };
                match (count, self.source) {
                    (Some(count), _) => Some(Demand { queries: count.queries, exposure: count.exposure, ..demand }),
                    (None, DemandSource::Dns) => None,
                    (None, DemandSource::Sessions) => Some(demand),
                }
            })
            .collect()
    }

    /// Share of the sources that were heard from, 0 to 1.
    fn coverage(&self, since: Timestamp, queries: (u32, u32)) -> f64 {
        let (production, board) = (&self.seers.production, &self.seers.board);
        let (mut heard, mut all) = queries;
        let mut count = |is_heard: bool| (all, heard) = (all + 1, heard + u32::from(is_heard));
        board.hypervisors().iter().for_each(|look| count(look.fresh(since).is_some()));
        for (look, network) in board.links().iter().zip(&production.networks) {
            if network.as_ref().is_some_and(crate::production::Network::is_seen) {
                count(look.fresh(since).is_some());
            }
        }
        if production.answering.as_ref().is_some_and(|answering| !answering.is_our_own()) {
            count(board.answered().fresh(since).is_some());
        }
        if all == 0 { 0.0 } else { f64::from(heard) / f64::from(all) }
    }

    /// Notes which regions went dark, or came back.
    fn notice(&mut self, at: Timestamp, known: &[bool]) {
        let classes = self.seers.production.topology.classes.len().max(1);
        for (region, known) in known.chunks(classes).enumerate() {
            let region = RegionId::at(region);
            let is_dark = known.iter().any(|known| !known);
            if is_dark && self.dark.insert(region) {
                self.occurrences.push(Occurrence { at, what: What::TelemetryLost { region } });
            } else if !is_dark && self.dark.remove(&region) {
                self.occurrences.push(Occurrence { at, what: What::TelemetryBack { region } });
            }
        }
    }

    fn count_would(&mut self) {
        let topology = &self.seers.production.topology;
        let happened = self.twins.told().ours.take_occurrences();
        for occurrence in &happened {
            match occurrence.what {
                What::VmRequested { region, class, .. } => self.would[topology.cell(region, class)].0 += 1,
                What::VmGone { region, class, .. } => self.would[topology.cell(region, class)].1 += 1,
                _ => {}
            }
        }
        self.occurrences.extend(happened);
        self.events_processed = self.twins.told().ours.events_processed();
    }
}

impl<P: Pace> World for ShadowWorld<P> {
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
        if at <= self.window_since {
            // The clock was set back, or nothing has passed: there is nothing to see yet.
            let source = std::io::Error::other("no time has passed since the last window");
            return Err(WorldError::Unreachable { endpoint: "the clock".to_owned(), source });
        }
        let window = at.since(std::mem::replace(&mut self.window_since, at));
        let seen = self.seers.queries.as_ref().map(|queries| queries.close(at)).unwrap_or_default();
        let production = Arc::clone(&self.seers.production);
        let since = at.saturating_sub(production.freshness);
        let (links, slices) = self.meter.read(&production, &self.seers.board, since);
        let answers = answered(&production, &self.seers.board, since).map(|(_, answers)| answers).unwrap_or_default();
        let sent = self.sent(&answers);
        let sessions = self.fleet.sessions(&production, &self.seers.board, at);
        let mut observation = Observation {
            at,
            window,
            demand: self.demand(&seen, &sessions, window),
            vms: Vec::new(),
            hosts: Vec::new(),
            links: links.clone(),
            slices: Vec::new(),
            steering: Steering::default(),
            events: self.seers.events.known(at),
            applied: forebay_world::Generation(0),
            coverage: self.coverage(since, seen.sources),
            next_vm: forebay_world::VmId(0),
        };
        let rates = self.load.take(&observation);
        // A change after this moment belongs to the next window.
        let later = self.changes.partition_point(|change| change.at <= at);
        let changes: Vec<Change> = self.changes.drain(..later).collect();
        let standing: BTreeMap<SliceId, _> = slices.iter().map(|slice| (slice.slice, slice.stands)).collect();
        let window_seen = Window { until: at, rates: &rates, changes: &changes, slices: &standing, steering: &sent };
        self.twins.advance(&window_seen)?;
        let pair = self.twins.told();
        let (ours, theirs) = (pair.ours.observe()?, pair.theirs.observe()?);
        let machines_seen = self.fleet.seen(&production, at);
        let known: Vec<bool> = (0..rates.len())
            .map(|cell| {
                let region = production.topology.cell_at(cell).0;
                rates[cell].is_some() && (!self.ledger.is_paired() || machines_seen[region.index()])
            })
            .collect();
        self.notice(at, &known);
        self.count_would();
        self.ledger.take(&production.topology, &self.twins, at, window, &known);
        self.last = Last {
            rates,
            changes,
            sessions,
            links,
            twin_links: theirs.links,
            twin_vms: theirs.vms,
            answers,
            sent,
            ours_sent: ours.steering.clone(),
        };
        (observation.vms, observation.hosts) = (ours.vms, ours.hosts);
        (observation.slices, observation.steering) = (ours.slices, ours.steering);
        observation.applied = ours.applied;
        Ok(observation)
    }

    fn submit(&mut self, plan: &Plan) -> Result<(), WorldError> {
        self.twins.submit(plan)
    }
}

impl Last {
    /// Sessions on the machines of a serving cell of the twin of theirs.
    pub(super) fn twin_sessions(&self, region: RegionId, class: forebay_world::ClassId) -> f64 {
        let here = self.twin_vms.iter().filter(|vm| vm.region == region && vm.class == class);
        here.map(|vm| f64::from(vm.sessions.unwrap_or(0))).sum()
    }

    /// Machines that stand in a serving cell of the twin of theirs.
    pub(super) fn twin_machines(&self, region: RegionId, class: forebay_world::ClassId) -> u32 {
        let here = self.twin_vms.iter().filter(|vm| vm.region == region && vm.class == class);
        here.filter(|vm| vm.state != VmState::Failed).count() as u32
    }
}
