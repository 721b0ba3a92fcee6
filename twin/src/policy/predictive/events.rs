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

    /// Sessions that known events call for in a client cell over a window; zero when there are none. `expect` says what is
    /// usual there at a moment to come.
    pub(super) fn floor(
        &mut self,
        now: &Situation<'_>,
        config: &PredictiveConfig,
        cell: usize,
        expect: &dyn Fn(Timestamp) -> Option<f64>,
        offered: Option<f64>,
        window: (Timestamp, Timestamp),
    ) -> f64 {
        if now.seen.events.is_empty() {
            return 0.0;
        }
        let (region, class) = now.topology.cell_at(cell);
        let at = now.seen.at;
        let mut most = 0.0_f64;
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
                most = most.max(change.usual * uplift.unwrap_or(config.event_uplift));
            }
        }
        most
    }
}

fn concerns(event: &KnownEvent, region: RegionId, class: ClassId) -> bool {
    event.regions.contains(&region) && event.classes.contains(&class)
}
