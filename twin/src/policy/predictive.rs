//! `predictive`: as many machines as are worth their price for the demand that will be there when they are ready.
//!
//! For each client region × class a model forecasts how sessions will begin, as joint futures, and with them how many will
//! be under way. Known events raise what is expected. Demand is carried to the regions that will serve it by the steering
//! in force, and the number of machines is the newsvendor's for the most over [time to ready, time to ready + period]: the
//! price of one more against the minutes it saves. Never fewer than present use asks for, and what will be needed again
//! before replacing it would pay is kept.
//!
//! ```text
//!   hindsight ─▶ lesson ─▶ trained model ─┐
//!   windows ──────────────────▶ client: rates ─▶ sessions ─▶ (steering) ─▶ newsvendor ─▶ ask
//!   known events ─▶ uplift ───────────────────────┘             boundary ───┘
//! ```

mod boundary;
mod client;
mod events;
mod lesson;

use std::collections::VecDeque;

use forebay_world::{BitsPerSecond, ClassId, Duration, Timestamp, Topology};

use super::{Ask, Hindsight, Knowledge, Policy, PolicyError, Situation, workable_utilization};
use crate::controller::ControllerConfig;
use crate::controller::config::PredictiveConfig;
use crate::decision::Fan;
use crate::forecast::futures::Sampler;
use crate::forecast::grid::Grid;
use crate::forecast::paths::{Paths, Spread};
use crate::forecast::trained::Trained;
use crate::plan::newsvendor::{self, Sized, vms_from};
use boundary::Boundary;
use client::Client;
use events::Events;
pub(crate) use lesson::AUTO;
pub use lesson::{HISTORY, Lesson, step};

/// Seed of what is learned and of the order of futures.
const SEED: u64 = 1;

/// What the policy learns before its first tick, by `model` or by the one configured.
///
/// # Errors
/// [`PolicyError`] for an unknown model, and where there is too little to train it on.
pub fn learn(
    model: Option<&str>,
    config: &ControllerConfig,
    topology: &Topology,
    hindsight: Option<&Hindsight>,
) -> Result<Trained, PolicyError> {
    Lesson::new(model, config, topology, hindsight).learn(topology, hindsight, SEED)
}

#[derive(Clone)]
pub(super) struct Predictive {
    config: PredictiveConfig,
    period: Duration,
    lesson: Lesson,
    trained: std::sync::Arc<Trained>,
    hindsight: Option<std::sync::Arc<Hindsight>>,
    grids: Vec<Grid>,
    classes: Vec<ClassTerms>,
    /// Dense over client cells; made at the first tick.
    clients: Vec<Client>,
    servers: Vec<Server>,
    events: Events,
    /// What each serving cell expects; kept to spare allocation.
    loads: Vec<Option<Load>>,
}

/// What a class's machines hold and cost.
#[derive(Clone)]
struct ClassTerms {
    /// Sessions that a machine holds at utilization 1 …
    places: f64,
    /// … and how full it is planned.
    boundary: Boundary,
    /// Time from asking for a machine to its being ready.
    to_ready: Duration,
    /// Time within which a machine that will be needed again is kept.
    hold: Duration,
    /// Price of a machine \[currency unit / min\].
    vm_price: f64,
    /// Price of a violated minute.
    violation_price: f64,
    /// Mean length of a session \[s\].
    mean_seconds: f64,
    bandwidth: BitsPerSecond,
    /// Share of bad that is tolerated.
    tolerance: f64,
}

/// What is known of one serving cell.
#[derive(Clone, Default)]
struct Server {
    /// Needs of the last moments, descending in number: the first is the most.
    recent: VecDeque<(Timestamp, u32)>,
}

/// What a serving cell expects.
#[derive(Clone)]
struct Load {
    /// Sessions under way, the most of each step from the one under way on, in each future …
    futures: Paths,
    /// … and for longer, as they usually go on.
    course: Vec<f64>,
    /// Sessions expected where known events are taken at their word: from now until a machine asked for now is ready …
    announced_before: f64,
    /// … and then, …
    announced: f64,
    /// … and the events.
    events: Vec<String>,
    /// The largest client cell that it serves, and its share.
    chief: (usize, f64),
}

impl Predictive {
    /// The policy, with what it knows; `model` by name, or as configured.
    pub(super) fn new(
        model: Option<&str>,
        config: &ControllerConfig,
        topology: &Topology,
        knowledge: &Knowledge,
    ) -> Result<Self, PolicyError> {
        let hindsight = knowledge.hindsight.clone();
        let lesson = Lesson::new(model, config, topology, hindsight.as_deref());
        let trained = match &knowledge.trained {
            Some(trained) => std::sync::Arc::clone(trained),
            None => std::sync::Arc::new(lesson.learn(topology, hindsight.as_deref(), SEED)?),
        };
        let predictive = config.policy.predictive.clone();
        let classes = (0..topology.classes.len())
            .map(ClassId::at)
            .map(|class| {
                let (flavour, kind) = (topology.flavour_of(class), topology.class(class));
                let to_ready = flavour.time_to_ready(predictive.boot_z);
                let places = topology.sessions_per_vm(class);
                let planned = predictive.target_utilization.unwrap_or_else(|| workable_utilization(topology, class));
                ClassTerms {
                    places,
                    boundary: Boundary::new(planned),
                    to_ready,
                    hold: config.hold(kind, places * planned, to_ready),
                    vm_price: flavour.price_per_hour / 60.0,
                    violation_price: kind.violation_price_per_minute,
                    mean_seconds: kind.work.mean_seconds().max(1e-3),
                    bandwidth: kind.work.bandwidth_per_session(),
                    tolerance: kind.slo.tolerance,
                }
            })
            .collect();
        // Zones are checked now; the grid begins with history, or with the first window.
        let begin = hindsight.as_ref().map_or(Timestamp::EPOCH, |hindsight| hindsight.start);
        Ok(Predictive {
            config: predictive,
            period: config.period,
            grids: lesson::grids(topology, begin, lesson.step)?,
            lesson,
            trained,
            hindsight,
            classes,
            clients: Vec::new(),
            servers: vec![Server::default(); topology.cells()],
            events: Events::default(),
            loads: vec![None; topology.cells()],
        })
    }

    /// Begins to follow every client cell, from its past where one is known.
    fn begin(&mut self, now: &Situation<'_>) {
        let classes = self.classes.len();
        if self.hindsight.is_none() {
            let first = now.seen.at.saturating_sub(now.seen.window).floor_to(self.lesson.step);
            self.grids = lesson::grids(now.topology, first, self.lesson.step).expect("zones were checked");
        }
        let keep = (HISTORY / self.lesson.step) as usize;
        let past = self.hindsight.take();
        let trained = past.as_ref().map_or(0, |past| past.steps());
        self.clients = (0..now.topology.cells())
            .map(|cell| {
                let grid = &self.grids[cell / classes];
                let follower = self.trained.follow(grid, keep, trained);
                let sampler = Sampler::new(follower, self.lesson.horizon, SEED);
                let mean_seconds = self.classes[cell % classes].mean_seconds;
                let mut client = Client::new(grid.clone(), sampler, self.lesson.reach, mean_seconds, cell);
                if let Some(past) = &past {
                    client.recall(&past.arrivals_per_second[cell]);
                }
                client
            })
            .collect();
    }

    /// Follows each client cell and carries what it expects to the cells that will serve it.
    fn expect(&mut self, now: &Situation<'_>) {
        let (at, classes) = (now.seen.at, self.classes.len());
        self.loads.fill(None);
        for (cell, client) in self.clients.iter_mut().enumerate() {
            let terms = &self.classes[cell % classes];
            client.take(at, now.seen.window, now.seen.demand[cell].as_ref());
            let offered = now.offered[cell];
            let Some((futures, course)) = client.sessions(at, offered) else { continue };
            let from = at.saturating_add(terms.to_ready);
            let until = from.saturating_add(self.period);
            self.events.look(now, &self.config, cell, &|at| client.usual(at), until);
            let called_for = |window| self.events.floor(now, &self.config, cell, window);
            let announced = [called_for((at, from)), called_for((from, until))];
            carry(&mut self.loads, now, cell, classes, (&futures, &course), announced);
        }
    }

    /// Learns how full machines may be from the cells that serve their own clients and nobody else's.
    fn learn(&mut self, now: &Situation<'_>) {
        if !self.config.self_tuning {
            return;
        }
        let classes = self.classes.len();
        let at_home = now.steering.0.iter().all(Vec::is_empty);
        for (cell, seen) in now.cells.iter().enumerate().filter(|_| at_home) {
            let terms = &mut self.classes[cell % classes];
            let (Some(used), Some(demand)) = (seen.utilization(), now.seen.demand[cell].as_ref()) else { continue };
            if seen.measured == seen.ready && seen.failed == 0 && demand.sessions > 0.0 {
                terms.boundary.take(used, demand.bad_share > terms.tolerance);
            }
        }
    }
}

impl Policy for Predictive {
    fn name(&self) -> &'static str {
        "predictive"
    }

    fn ask(&mut self, now: &Situation<'_>, asks: &mut [Ask]) {
        if self.clients.is_empty() {
            self.begin(now);
        }
        self.events.follow(now);
        self.expect(now);
        self.learn(now);
        for (cell, ask) in asks.iter_mut().enumerate() {
            self.ask_cell(now, cell, ask);
        }
    }

    fn clone_box(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

impl Predictive {
    fn ask_cell(&mut self, now: &Situation<'_>, cell: usize, ask: &mut Ask) {
        let at = now.seen.at;
        let terms = &self.classes[cell % self.classes.len()];
        let (seen, per_vm) = (&now.cells[cell], terms.places * terms.boundary.utilization());
        let Some(load) = &self.loads[cell] else {
            ask.vms = seen.wanted;
            ask.reason = format!("nothing seen yet: keeps {}", seen.wanted);
            return;
        };
        let client = &self.clients[load.chief.0];
        let grid = &self.grids[load.chief.0 / self.classes.len()];
        let (last, furthest) = (load.futures.steps() - 1, load.course.len() - 1);
        let ahead = |moment: Timestamp| grid.index(moment).saturating_sub(client.first());
        let place = |moment: Timestamp| ahead(moment).min(last);
        let from = at.saturating_add(terms.to_ready);
        let until = from.saturating_add(self.period);
        let most = load.futures.most(place(from)..place(until) + 1);
        let hold = ahead(until).min(furthest)..=ahead(until.saturating_add(terms.hold)).min(furthest);
        let again = load.course[hold].iter().copied().fold(0.0, f64::max);

        let sized = match self.config.level {
            Some(level) => newsvendor::at_level(&most, per_vm, level),
            None => terms.within_band(&most, per_vm, seen.wanted),
        };
        let used = seen.utilization().map_or(0.0, |used| used * f64::from(seen.ready) * terms.places);
        let reactive = vms_from(used.max(seen.on_ready as f64) / per_vm);
        let announced = vms_from(load.announced / per_vm);
        let needed = sized.vms.max(reactive).max(announced);
        // A machine that will be needed again, more likely than not, before another boot and drain were paid for, stays; what
        // will be needed has the same margin above what will come.
        let margin = (sized.sessions / most.quantile(0.5).max(1e-9)).max(1.0);
        let later = vms_from(again * margin / per_vm);
        // What an event calls for before a machine asked for now were ready can only be met by those that stand.
        let sooner = vms_from(load.announced_before / per_vm);
        let kept = self.servers[cell].keep(at, self.config.settle, needed).max(sooner).max(later);
        ask.vms = needed.max(kept.min(seen.wanted));

        let sized_for = sized.sessions.max(load.announced);
        ask.reason = if announced >= sized.vms.max(reactive) && announced > 0 {
            format!("known event {}: {} sessions", load.events.join(", "), load.announced.round() as u64)
        } else if ask.vms > needed {
            format!("needs {needed}, keeps what it lately needed or soon will")
        } else if reactive > sized.vms {
            format!("present use of {} sessions asks for more than the forecast", used.round() as u64)
        } else {
            let (sessions, level) = (sized.sessions.round() as u64, (sized.level * 100.0).round() as u64);
            format!("forecast of {sessions} sessions at {level} % confidence, {} a machine", per_vm.round() as u64)
        };
        if let Some((by, instead)) = client.by() {
            ask.reason.push_str(&format!("; by {by}"));
            if let Some(instead) = instead {
                ask.reason.push_str(&format!(", for {instead}"));
            }
        }
        ask.fan =
            Some(fan(&most, (terms.to_ready, terms.to_ready.saturating_add(self.period)), sized.level, sized_for));
        ask.bandwidth = Some(BitsPerSecond::from_f64(sized_for * terms.bandwidth.as_f64()));
    }
}

impl ClassTerms {
    /// The number of machines nearest to `standing` that is worth its price with what changing costs: boot and drain of a
    /// machine, spread over twice as long, make one more dearer than it is and one fewer save less. Between the two
    /// numbers nothing is gained by a change (the band of M. Lin et al., "Dynamic Right-Sizing for Power-Proportional Data
    /// Centers", INFOCOM 2011).
    fn within_band(&self, most: &Spread, per_vm: f64, standing: u32) -> Sized {
        let at = |share: f64| newsvendor::cheapest(most, per_vm, share * self.vm_price, self.violation_price);
        let (least, enough) = (at(1.0 + CHANGE_SHARE), at(1.0 - CHANGE_SHARE));
        if standing <= least.vms {
            return least;
        }
        if standing >= enough.vms {
            return enough;
        }
        let level = 1.0 - most.share_above(f64::from(standing) * per_vm);
        Sized { vms: standing, level, sessions: f64::from(standing) * per_vm }
    }
}

/// What a change costs, as a share of the price of a machine over the time that it is taken to last.
const CHANGE_SHARE: f64 = 0.8;

fn fan(most: &Spread, (from, until): (Duration, Duration), level: f64, sized_for: f64) -> Fan {
    let [p10, p50, p90] = [0.1, 0.5, 0.9].map(|level| most.quantile(level));
    Fan { from, until, p10, p50, p90, level, sized_for }
}

/// Adds what a client cell expects to the cells that serve it, each its share. What was high together in one future
/// stays high together.
fn carry(
    loads: &mut [Option<Load>],
    now: &Situation<'_>,
    client: usize,
    classes: usize,
    (futures, course): (&Paths, &[f64]),
    announced: [Option<events::Raise>; 2],
) {
    let median = futures.at(0).quantile(0.5);
    let mut add = |server: usize, share: f64| {
        let load = loads[server].get_or_insert_with(|| Load {
            futures: Paths::new(futures.steps(), vec![0.0; futures.count() * futures.steps()]),
            course: vec![0.0; course.len()],
            announced_before: 0.0,
            announced: 0.0,
            events: Vec::new(),
            chief: (client, 0.0),
        });
        load.futures.add(futures, share);
        load.course.iter_mut().zip(course).for_each(|(sum, sessions)| *sum += share * sessions);
        // Where no event is announced, what is usual comes beside what is.
        let [before, then] =
            announced.each_ref().map(|raise| raise.as_ref().map_or(0.0, |raise| raise.sessions.max(median)));
        load.announced_before += share * before;
        load.announced += share * then;
        load.events.extend(announced[1].iter().map(|raise| raise.event.clone()));
        if share * median >= load.chief.1 {
            load.chief = (client, share * median);
        }
    };
    let weights = now.steering.0.get(client).map_or(&[][..], Vec::as_slice);
    let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total == 0 {
        return add(client, 1.0);
    }
    for (server, weight) in weights {
        add(server.index() * classes + client % classes, f64::from(*weight) / total as f64);
    }
}

impl Server {
    /// The most that was needed within `settle`.
    fn keep(&mut self, at: Timestamp, settle: Duration, needed: u32) -> u32 {
        while self.recent.front().is_some_and(|(since, _)| at.since(*since) >= settle) {
            self.recent.pop_front();
        }
        while self.recent.back().is_some_and(|(_, vms)| *vms <= needed) {
            self.recent.pop_back();
        }
        self.recent.push_back((at, needed));
        self.recent.front().map_or(needed, |(_, vms)| *vms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lately_needed_is_kept_until_it_settles() {
        let mut server = Server::default();
        let settle = Duration::from_mins(5);
        let minute = |m: u64| Timestamp::from_secs(60 * m);
        let needs = [5, 9, 4, 4, 4, 4, 4, 3, 3];
        let kept: Vec<u32> = (0..).zip(needs).map(|(m, needed)| server.keep(minute(m), settle, needed)).collect();
        assert_eq!(kept, [5, 9, 9, 9, 9, 9, 4, 4, 4]);
    }
}
