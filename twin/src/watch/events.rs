//! Events outside, as feeds announce them: kept up to date, and in the terms of a topology.

use std::collections::BTreeSet;
use std::sync::Arc;

use forebay_adapters::EventFeed;
use forebay_adapters::events::ExternalEvent;
use forebay_world::{ClassId, Duration, KnownEvent, RegionId, Timestamp};

use crate::production::{Feed, Production};

/// All feeds of a file, and what it announces itself.
pub struct FeedWatch {
    production: Arc<Production>,
    feeds: Vec<Polled>,
}

struct Polled {
    feed: EventFeed,
    next: Timestamp,
    /// What the last poll said of how old it is, for people.
    state: String,
}

/// How far ahead events are looked for, and how long after their begin they still count.
const AHEAD: Duration = Duration::from_hours(14 * 24);
const BEHIND: Duration = Duration::from_hours(24);

impl FeedWatch {
    /// The feeds of a file. Nothing is read yet.
    ///
    /// # Errors
    /// What a feed's address cannot be had for, with the feed's name.
    pub fn new(production: Arc<Production>) -> Result<FeedWatch, String> {
        let polled = |feed: &Feed| {
            let source = feed.source().map_err(|error| format!("{}: {error}", feed.place.name()))?;
            let options = feed.options(Timestamp::EPOCH, Timestamp::EPOCH.saturating_add(AHEAD));
            Ok(Polled { feed: EventFeed::new(&source, options), next: Timestamp::EPOCH, state: String::new() })
        };
        let feeds = production.feeds.iter().map(polled).collect::<Result<_, String>>()?;
        Ok(FeedWatch { production, feeds })
    }

    /// What is known at `at`, after every feed whose time has come was looked at; may take as long as their servers do.
    pub fn look(&mut self, at: Timestamp) -> Vec<KnownEvent> {
        for (polled, feed) in self.feeds.iter_mut().zip(&self.production.feeds) {
            if at >= polled.next {
                polled.next = at.saturating_add(feed.every);
                let freshness = polled.feed.poll(at, at.saturating_sub(BEHIND), at.saturating_add(AHEAD));
                polled.state = freshness.to_string();
            }
        }
        let mut known: Vec<KnownEvent> = Vec::new();
        let mut taken = BTreeSet::new();
        let announced = self.production.events.iter().filter(|event| event.known_from.is_none_or(|from| from <= at));
        for event in announced.map(|announced| &announced.event).filter(|event| event.end > at) {
            taken.insert(event.id.clone());
            known.push(event.clone());
        }
        for (polled, feed) in self.feeds.iter().zip(&self.production.feeds) {
            for event in polled.feed.events() {
                let is_known = feed.known_from.is_none_or(|ahead| event.start.saturating_sub(ahead) <= at);
                if event.end > at && is_known && !taken.contains(&event.id) {
                    known.extend(self.known(event, feed));
                    taken.insert(event.id.clone());
                }
            }
        }
        known.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
        known
    }

    /// How each feed does, by its name.
    pub fn states(&self) -> Vec<(String, String)> {
        let named = |(polled, feed): (&Polled, &Feed)| (feed.place.name(), polled.state.clone());
        self.feeds.iter().zip(&self.production.feeds).map(named).collect()
    }

    /// An event in the terms of the topology; `None` where it concerns nothing of it.
    fn known(&self, event: &ExternalEvent, feed: &Feed) -> Option<KnownEvent> {
        let topology = &self.production.topology;
        let region = |name: &String| topology.regions.iter().position(|region| region.name == *name).map(RegionId::at);
        let class = |name: &String| topology.classes.iter().position(|class| class.name == *name).map(ClassId::at);
        let regions: Vec<RegionId> = match event.regions.is_empty() {
            true if !feed.regions.is_empty() => feed.regions.clone(),
            true => (0..topology.regions.len()).map(RegionId::at).collect(),
            false => event.regions.iter().filter_map(region).collect(),
        };
        let classes: Vec<ClassId> = match event.classes.is_empty() {
            true if !feed.classes.is_empty() => feed.classes.clone(),
            true => (0..topology.classes.len()).map(ClassId::at).collect(),
            false => event.classes.iter().filter_map(class).collect(),
        };
        (!regions.is_empty() && !classes.is_empty()).then(|| KnownEvent {
            id: event.id.clone(),
            kind: event.kind.clone(),
            start: event.start,
            end: event.end,
            regions,
            classes,
            uplift: event.uplift,
        })
    }
}
