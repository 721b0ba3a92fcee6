//! Known events: what is usual where they take place, what they are believed to bring, and what they have taught when
//! they are over.
//!
//! An event only raises what is asked for, never lowers it. How much one brings is `demand::uplift`'s to say.

use std::collections::BTreeMap;

use forebay_world::{Duration, KnownEvent, Timestamp};

use super::super::Situation;
use crate::controller::config::PredictiveConfig;
use crate::demand::Uplifts;

/// Events under observation, and what kinds of event have brought.
#[derive(Clone, Default)]
pub(super) struct Events {
    watched: BTreeMap<String, Watched>,
    uplifts: Uplifts,
}

/// An event that has not ended, as it was last announced.
#[derive(Clone)]
struct Watched {
    kind: String,
    start: Timestamp,
    end: Timestamp,
    announced: Option<f64>,
    /// Per client cell.
    cells: BTreeMap<usize, Change>,
}

/// Demand of a cell before and during an event.
#[derive(Clone, Default)]
struct Change {
    /// Sessions that were to be expected without the event, at even distances from its begin to its end; empty until it is
    /// near.
    usual: Vec<f64>,
    /// When that was last thought.
    as_of: Timestamp,
    /// The most sessions during it.
    most: f64,
    /// Windows in which its demand was seen, and in which it was not.
    seen: u32,
    unseen: u32,
    /// When it was last looked at.
    looked: Timestamp,
    /// Whether events of other kinds had their share in it.
    shared: bool,
}

/// What a known event calls for in a client cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Raise {
    /// Sessions.
    pub(super) sessions: f64,
    /// The event that calls for the most, by its id.
    pub(super) event: String,
    /// Factor on usual demand that it is believed to bring.
    pub(super) uplift: f64,
}

/// Points in time at which it is held what is usual during an event.
const POINTS: usize = 25;
/// The fewest sessions from which a factor can be told.
const SESSIONS_FEWEST: f64 = 1.0;

impl Events {
    /// Learns from events that have ended, and watches those that are announced.
    pub(super) fn follow(&mut self, now: &Situation<'_>) {
        if self.watched.is_empty() && now.seen.events.is_empty() {
            return;
        }
        let at = now.seen.at;
        for event in &now.seen.events {
            match self.watched.get_mut(&event.id) {
                Some(watched) => watched.announce(event, at),
                None => {
                    let watched = Watched {
                        kind: event.kind.clone(),
                        start: event.start,
                        end: event.end,
                        announced: event.uplift,
                        cells: BTreeMap::new(),
                    };
                    self.watched.insert(event.id.clone(), watched);
                }
            }
        }
        let uplifts = &mut self.uplifts;
        self.watched.retain(|id, watched| {
            if at > watched.end {
                if let Some(factor) = watched.factor() {
                    uplifts.learn(&watched.kind, factor, watched.announced);
                }
                return false;
            }
            // One that is called off before its time is forgotten: it has shown nothing.
            at >= watched.start || now.seen.events.iter().any(|event| event.id == *id)
        });
    }

    /// Follows what is usual and what comes of a client cell during its events that begin before `until`. `usual` says what
    /// is expected at a moment to come, were there no event.
    pub(super) fn look(
        &mut self,
        now: &Situation<'_>,
        config: &PredictiveConfig,
        cell: usize,
        usual: &dyn Fn(Timestamp) -> Option<f64>,
        until: Timestamp,
    ) {
        let (at, offered) = (now.seen.at, now.offered[cell]);
        let mut under_way = concerning(now, cell).filter(|event| at >= event.start);
        let first = under_way.next();
        let shared = first.is_some_and(|first| under_way.any(|other| !other.kind.eq_ignore_ascii_case(&first.kind)));
        let demand = offered.filter(|_| now.seen.demand[cell].is_some());
        for event in concerning(now, cell) {
            let begin = event.start.saturating_sub(config.event_lead);
            // One that begins later asks for nothing yet, and nothing has to be known of it.
            if until < begin {
                continue;
            }
            let Some(watched) = self.watched.get_mut(&event.id) else { continue };
            let change = watched.cells.entry(cell).or_default();
            if at < begin {
                change.expect(at, (begin, event.end), usual);
            } else if change.usual.is_empty() {
                // Announced too late for a look at what was usual: the present is the nearest to it.
                change.usual.extend(offered);
            }
            if at >= event.start {
                change.look(at, demand, shared);
            }
        }
    }

    /// What known events call for in a client cell over a window that has been looked at: the one that calls for most;
    /// nothing where none calls for more than is usual.
    pub(super) fn floor(
        &self,
        now: &Situation<'_>,
        config: &PredictiveConfig,
        cell: usize,
        window: (Timestamp, Timestamp),
    ) -> Option<Raise> {
        let mut most: Option<Raise> = None;
        for event in concerning(now, cell) {
            let begin = event.start.saturating_sub(config.event_lead);
            if window.1 < begin || window.0 > event.end {
                continue;
            }
            let Some(change) = self.watched.get(&event.id).and_then(|watched| watched.cells.get(&cell)) else {
                continue;
            };
            let span = (window.0.max(begin), window.1.min(event.end));
            let usual = change.usual_within((begin, event.end), span);
            let uplift = self.uplifts.expect(&event.kind, event.uplift, config.event_uplift).factor();
            let sessions = usual * uplift;
            if uplift > 1.0 && sessions > most.as_ref().map_or(0.0, |most| most.sessions) {
                most = Some(Raise { sessions, event: event.id.clone(), uplift });
            }
        }
        most
    }
}

impl Watched {
    /// Takes what is announced of the event now.
    fn announce(&mut self, event: &KnownEvent, at: Timestamp) {
        if event.start != self.start && at < self.start {
            // Another time has another usual demand.
            self.cells.clear();
        }
        (self.start, self.end, self.announced) = (event.start, event.end, event.uplift);
        if self.kind != event.kind {
            self.kind.clone_from(&event.kind);
        }
    }

    /// The factor that it has brought: the mean over the cells it concerned, each by its usual demand. Nothing where its
    /// demand was not seen, or cannot be told from that of others.
    fn factor(&self) -> Option<f64> {
        let (mut weights, mut logs) = (0.0, 0.0);
        for change in self.cells.values() {
            let usual = change.usual.iter().copied().fold(0.0, f64::max);
            if usual >= SESSIONS_FEWEST && change.most > 0.0 && change.seen > change.unseen && !change.shared {
                weights += usual;
                logs += usual * (change.most / usual).ln();
            }
        }
        (weights > 0.0).then(|| (logs / weights).exp())
    }
}

impl Change {
    /// Holds what is expected from begin to end.
    fn expect(&mut self, at: Timestamp, span: (Timestamp, Timestamp), expect: &dyn Fn(Timestamp) -> Option<f64>) {
        if !self.usual.is_empty() && self.as_of == at {
            return;
        }
        let (begin, end) = span;
        let step = end.since(begin) / (POINTS as u64 - 1);
        let point = |index: u64| expect(begin.saturating_add(Duration::from_nanos(step.as_nanos() * index)));
        if let Some(usual) = (0..POINTS as u64).map(point).collect::<Option<Vec<f64>>>() {
            (self.usual, self.as_of) = (usual, at);
        }
    }

    /// Takes a window of the event in.
    fn look(&mut self, at: Timestamp, demand: Option<f64>, shared: bool) {
        self.shared |= shared;
        if self.looked == at {
            return;
        }
        self.looked = at;
        match demand {
            Some(demand) => {
                self.most = self.most.max(demand);
                self.seen += 1;
            }
            None => self.unseen += 1,
        }
    }

    /// The most that is usual within a part of the event.
    fn usual_within(&self, event: (Timestamp, Timestamp), part: (Timestamp, Timestamp)) -> f64 {
        let Some(last) = self.usual.len().checked_sub(1) else { return 0.0 };
        let (begin, end) = event;
        let lasts = end.since(begin).as_secs_f64();
        let place = |at: Timestamp| {
            if lasts > 0.0 { (at.since(begin).as_secs_f64() / lasts).min(1.0) * last as f64 } else { 0.0 }
        };
        let between = |place: f64| {
            let (below, above) = (self.usual[place.floor() as usize], self.usual[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        let (from, to) = (place(part.0), place(part.1));
        let inner = (from.ceil() as usize..=to.floor() as usize).map(|point| self.usual[point]);
        inner.fold(between(from).max(between(to)), f64::max)
    }
}

/// The known events of a client cell that have not ended.
fn concerning<'a>(now: &'a Situation<'_>, cell: usize) -> impl Iterator<Item = &'a KnownEvent> {
    let (region, class) = now.topology.cell_at(cell);
    let at = now.seen.at;
    let here = move |event: &KnownEvent| event.regions.contains(&region) && event.classes.contains(&class);
    now.seen.events.iter().filter(move |event| here(event) && at <= event.end)
}

#[cfg(test)]
mod tests;
