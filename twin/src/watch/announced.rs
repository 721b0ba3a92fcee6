//! Events outside that are known: those of the file, and those of feeds as they were last read.

use std::sync::{Arc, Mutex, PoisonError};

use forebay_adapters::Freshness;
use forebay_adapters::events::{EventFeed, ExternalEvent};
use forebay_world::{ClassId, Duration, KnownEvent, RegionId, Timestamp};

use super::watchers::told;
use crate::production::{Feed, Production};

/// How far ahead feeds are asked.
const AHEAD: Duration = Duration::from_hours(28 * 24);
/// Events that began so long ago may still go on.
const BEHIND: Duration = Duration::from_hours(48);

/// Events and when each became known. Shared by whoever reads feeds and whoever decides.
#[derive(Clone, Debug)]
pub struct EventWatch(Arc<Mutex<Vec<Said>>>, Arc<Production>);

/// What one source says.
#[derive(Debug, Default)]
struct Said {
    events: Vec<(Timestamp, KnownEvent)>,
    /// Why it says nothing new.
    trouble: Option<String>,
}

impl EventWatch {
    /// What the file says; its feeds have not been read yet.
    pub fn new(production: &Arc<Production>) -> EventWatch {
        let of_file = production
            .events
            .iter()
            .map(|announced| (announced.known_from.unwrap_or(Timestamp::EPOCH), announced.event.clone()));
        let mut said = vec![Said { events: of_file.collect(), trouble: None }];
        said.extend(production.feeds.iter().map(|_| Said::default()));
        EventWatch(Arc::new(Mutex::new(said)), Arc::clone(production))
    }

    /// Whoever reads each of its feeds.
    pub fn readers(&self) -> Vec<FeedReader> {
        let reader =
            |number| FeedReader { number, every: self.1.feeds[number].every, open: None, events: self.clone() };
        (0..self.1.feeds.len()).map(reader).collect()
    }

    /// Takes in what the feed at a position says, or why it does not.
    fn take(&self, feed: usize, events: &[ExternalEvent], trouble: Option<String>) {
        let production = &self.1;
        let of = &production.feeds[feed];
        let known = events.iter().filter_map(|event| known(event, of, production)).collect();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said[feed + 1] = Said { events: known, trouble };
    }

    /// Events that are known at `at` and not over, each once.
    pub fn known(&self, at: Timestamp) -> Vec<KnownEvent> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known: Vec<KnownEvent> = Vec::new();
        for (known_from, event) in said.iter().flat_map(|said| &said.events) {
            if *known_from <= at && event.end > at && !known.iter().any(|other| other.id == event.id) {
                known.push(event.clone());
            }
        }
        known
    }

    /// Feeds that cannot be read, as operators know them, and why.
    pub fn troubles(&self) -> Vec<(String, String)> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let feeds = self.1.feeds.iter().zip(said.iter().skip(1));
        feeds.filter_map(|(feed, said)| Some((feed.place.name(), said.trouble.clone()?))).collect()
    }
}

/// Reads one feed, again and again.
pub struct FeedReader {
    number: usize,
    /// Time from one look to the next.
    pub every: Duration,
    open: Option<EventFeed>,
    events: EventWatch,
}

impl FeedReader {
    /// Looks for a newer edition at `now`; may take as long as the feed's server does.
    pub fn poll(&mut self, now: Timestamp) {
        let feed = &self.events.1.feeds[self.number];
        let (from, until) = (now.saturating_sub(BEHIND), now.saturating_add(AHEAD));
        if self.open.is_none() {
            match feed.source() {
                Ok(source) => self.open = Some(EventFeed::new(&source, feed.options(from, until))),
                Err(error) => return self.events.take(self.number, &[], Some(told(error))),
            }
        }
        let Some(read) = self.open.as_mut() else { return };
        let trouble = match read.poll(now, from, until) {
            Freshness::Untried | Freshness::Fresh { .. } => None,
            Freshness::Stale { why, .. } | Freshness::Missing { why, .. } => Some(why),
        };
        self.events.take(self.number, read.events(), trouble);
    }
}

/// An event in terms of what there is, and when it becomes known; `None` where it concerns nothing there is.
fn known(event: &ExternalEvent, feed: &Feed, production: &Production) -> Option<(Timestamp, KnownEvent)> {
    let topology = &production.topology;
    let regions = if event.regions.is_empty() {
        feed.regions.clone()
    } else {
        let named = (0..topology.regions.len()).filter(|i| event.regions.contains(&topology.regions[*i].name));
        named.map(RegionId::at).collect()
    };
    let classes = if event.classes.is_empty() {
        feed.classes.clone()
    } else {
        let named = (0..topology.classes.len()).filter(|i| event.classes.contains(&topology.classes[*i].name));
        named.map(ClassId::at).collect()
    };
    if regions.is_empty() || classes.is_empty() {
        return None;
    }
    let known_from = feed.known_from.map_or(Timestamp::EPOCH, |lead| event.start.saturating_sub(lead));
    let event = KnownEvent {
        id: event.id.clone(),
        kind: event.kind.clone(),
        start: event.start,
        end: event.end,
        regions,
        classes,
        uplift: event.uplift,
    };
    Some((known_from, event))
}
