//! Known events: what their announcers say, and what past events of a kind have taught.

use std::collections::BTreeMap;

use forebay_world::{ClassId, KnownEvent, RegionId, Timestamp};

use super::super::Situation;
use crate::controller::config::PredictiveConfig;

/// Events under observation, and what kinds of event have brought.
#[derive(Clone, Default)]
pub(super) struct Events {
    /// Per event and client cell: usual demand just before, and the most during.
    watched: BTreeMap<String, Watched>,
    /// Per kind: sum of the logarithms of the factors seen, and how many.
    kinds: BTreeMap<String, (f64, u32)>,
}

#[derive(Clone)]
struct Watched {
    kind: String,
    end: Timestamp,
    cells: BTreeMap<usize, Change>,
}

#[derive(Clone, Copy, Default)]
struct Change {
    usual: f64,
    most: f64,
}

/// What a known event calls for in a client cell.
#[derive(Clone, Debug, PartialEq)]
#[allow(dead_code, reason = "who asks for sessions says in his reason which event they are for")]
pub(super) struct Raise {
    /// Sessions.
    pub(super) sessions: f64,
    /// The event that calls for the most, by its id.
    pub(super) event: String,
    /// Factor on usual demand that it was taken to bring.
    pub(super) uplift: f64,
}

impl Events {
    /// Learns from events that have ended, and watches those that are announced.
    pub(super) fn follow(&mut self, now: &Situation<'_>) {
        if self.watched.is_empty() && now.seen.events.is_empty() {
            return;
        }
        let at = now.seen.at;
        for event in &now.seen.events {
            let watched = self.watched.entry(event.id.clone()).or_insert_with(|| Watched {
                kind: event.kind.clone(),
                end: event.end,
                cells: BTreeMap::new(),
            });
            watched.end = event.end;
        }
        let kinds = &mut self.kinds;
        self.watched.retain(|_, watched| {
            if at <= watched.end {
                return true;
            }
            for change in watched.cells.values().filter(|change| change.usual >= 1.0 && change.most > 0.0) {
                let (sum, count) = kinds.entry(watched.kind.clone()).or_default();
                *sum += (change.most / change.usual).ln();
                *count += 1;
            }
            false
        });
    }

    /// What known events call for in a client cell over a window: that of the one that calls for most; nothing when there
    /// is none, or none that calls for more than is usual. `expect` says what is usual there at a moment to come.
    pub(super) fn floor(
        &mut self,
        now: &Situation<'_>,
        config: &PredictiveConfig,
        cell: usize,
        expect: &dyn Fn(Timestamp) -> Option<f64>,
        offered: Option<f64>,
        window: (Timestamp, Timestamp),
    ) -> Option<Raise> {
        if now.seen.events.is_empty() {
            return None;
        }
        let (region, class) = now.topology.cell_at(cell);
        let at = now.seen.at;
        let mut most: Option<Raise> = None;
        for event in now.seen.events.iter().filter(|event| concerns(event, region, class) && at <= event.end) {
            let Some(watched) = self.watched.get_mut(&event.id) else { continue };
            let change = watched.cells.entry(cell).or_default();
            let begin = event.start.saturating_sub(config.event_lead);
            if at < begin {
                change.usual = expect(event.start).unwrap_or(0.0);
            } else if change.usual == 0.0 {
                // Announced too late for a look at what was usual: the present is the nearest to it.
                change.usual = offered.unwrap_or(0.0);
            }
            if at >= event.start {
                change.most = change.most.max(offered.unwrap_or(0.0));
            }
            if window.1 >= begin && window.0 <= event.end {
                let learned = self.kinds.get(&event.kind).map(|(sum, count)| (sum / f64::from(*count)).exp());
                let uplift = event.uplift.filter(|uplift| uplift.is_finite()).or(learned);
                let uplift = uplift.unwrap_or(config.event_uplift);
                let sessions = change.usual * uplift;
                if sessions > most.as_ref().map_or(0.0, |most| most.sessions) {
                    most = Some(Raise { sessions, event: event.id.clone(), uplift });
                }
            }
        }
        most
    }
}

fn concerns(event: &KnownEvent, region: RegionId, class: ClassId) -> bool {
    event.regions.contains(&region) && event.classes.contains(&class)
}
