//! Feeds of events beside a scenario: what they say becomes known events of the run.
//!
//! Files only: a run must be the same whenever it is run, and a page is not.

use std::collections::BTreeSet;
use std::path::Path;

use forebay_adapters::events::{EventOptions, ExternalEvent};
use forebay_adapters::read_events;
use forebay_sim::setup::Announcement;
use forebay_world::{ClassId, KnownEvent, RegionId, Timestamp};
use jiff::tz::TimeZone;

use super::finding::Findings;
use super::names::Names;
use super::site::Site;
use super::spec::{EventSpec, FeedSpec, ScenarioSpec, When, unplaced};
use super::{Input, ScenarioError, replay, zone};

/// What feeds say.
#[derive(Debug, Default)]
pub(super) struct Fed {
    /// Known events.
    pub(super) events: Vec<Announcement>,
    /// The same as a scenario file would say it.
    pub(super) specs: Vec<EventSpec>,
    /// Files that were read.
    pub(super) inputs: Vec<Input>,
    /// What the operator should know.
    pub(super) remarks: Vec<String>,
}

/// Checks the `[[feed]]` sections without opening what they name.
pub(super) fn check(spec: &ScenarioSpec, site: &Site, folder: &Path, findings: &mut Findings) {
    for feed in &spec.feed {
        let feed = feed.get_ref();
        let file = feed.file.get_ref();
        if file.contains("://") {
            findings.add(
                feed.file.span(),
                format!("`file` names an address: {file}"),
                "a file beside the scenario: runs are the same whenever they are run, pages are not",
                "fetch it once, and name the file; `forebay events` shows what a page says",
            );
        } else if !folder.join(file).is_file() {
            findings.add(
                feed.file.span(),
                format!("`file` names a file that is not there: {}", folder.join(file).display()),
                "taken from the scenario's folder unless absolute",
                "name a calendar (.ics) or a table (.csv, .ndjson) of events",
            );
        }
        site.regions.find_all(feed.regions.as_ref(), findings);
        site.classes.find_all(feed.classes.as_ref(), findings);
        if let Some(kind) = &feed.kind {
            findings.require(
                !kind.get_ref().trim().is_empty(),
                kind.span(),
                || "`kind` is empty".to_owned(),
                "a word by which past events inform coming ones",
                "leave it away, or write a word such as \"football\"",
            );
        }
        if let Some(zone) = &feed.time_zone {
            zone::find(zone, findings);
        }
    }
}

/// Reads the feeds for a run from `start` to `end`. Of events that others have the id of, the first counts.
pub(super) fn load(
    spec: &ScenarioSpec,
    site: &Site,
    folder: &Path,
    (start, end): (Timestamp, Timestamp),
) -> Result<Fed, ScenarioError> {
    let mut fed = Fed::default();
    let mut taken: BTreeSet<String> = spec.event.iter().map(|event| event.get_ref().id.get_ref().clone()).collect();
    for feed in &spec.feed {
        let feed = feed.get_ref();
        let path = folder.join(feed.file.get_ref());
        let mut options = EventOptions::of_window(start, end);
        if let Some(kind) = &feed.kind {
            options.kind.clone_from(kind.get_ref());
        }
        options.zone =
            feed.time_zone.as_ref().and_then(|zone| TimeZone::get(zone.get_ref()).ok()).unwrap_or(TimeZone::UTC);
        let events = read_events(&path, &options).map_err(|error| ScenarioError::Recording(Box::new(error)))?;
        let input = replay::describe("feed", &path)?;
        let name = input.name.clone();
        fed.inputs.push(input);
        fed.remarks.push(format!("{name}: {}", events.report));
        fed.remarks.extend(events.report.sentences().iter().map(|said| format!("{name}: {said}")));
        let mut elsewhere = BTreeSet::new();
        let (mut nowhere, mut twice) = (0, 0);
        for event in &events.events {
            let mut find = |names: &Names, said: &[String], default: Option<&Vec<toml::Spanned<String>>>| {
                find(names, said, default, &mut elsewhere)
            };
            let regions = find(&site.regions, &event.regions, feed.regions.as_ref());
            let classes = find(&site.classes, &event.classes, feed.classes.as_ref());
            if regions.is_empty() || classes.is_empty() {
                nowhere += 1;
            } else if !taken.insert(event.id.clone()) {
                twice += 1;
            } else {
                fed.take(event, feed, start, (&regions[..], &classes[..]), site);
            }
        }
        if !elsewhere.is_empty() {
            let names: Vec<&str> = elsewhere.iter().map(String::as_str).take(12).collect();
            fed.remarks.push(format!("{name}: regions and classes that the scenario has not: {}", names.join(", ")));
        }
        if nowhere > 0 {
            fed.remarks.push(format!("{name}: {nowhere} events concern nothing in the scenario and are left out"));
        }
        if twice > 0 {
            fed.remarks.push(format!("{name}: {twice} events have an id that is taken and are left out"));
        }
    }
    Ok(fed)
}

/// Positions of the names that an event says, or else of its feed's; those that are unknown go to `elsewhere`.
fn find(
    names: &Names,
    said: &[String],
    default: Option<&Vec<toml::Spanned<String>>>,
    elsewhere: &mut BTreeSet<String>,
) -> Vec<usize> {
    if said.is_empty() {
        return names.find_all(default, &mut Findings::default());
    }
    let mut found = Vec::new();
    for name in said {
        match names.get(name) {
            Some(position) => found.push(position),
            None => drop(elsewhere.insert(name.clone())),
        }
    }
    found
}

impl Fed {
    fn take(
        &mut self,
        event: &ExternalEvent,
        feed: &FeedSpec,
        start: Timestamp,
        (regions, classes): (&[usize], &[usize]),
        site: &Site,
    ) {
        let known_from =
            feed.known_from.as_ref().map_or(start, |lead| event.start.saturating_sub(*lead.get_ref()).max(start));
        let named = |names: &Names, found: &[usize]| {
            Some(found.iter().map(|position| unplaced(names.listed()[*position].clone())).collect())
        };
        self.specs.push(EventSpec {
            id: unplaced(event.id.clone()),
            kind: event.kind.clone(),
            start: unplaced(When::At(event.start)),
            end: unplaced(When::At(event.end)),
            known_from: Some(unplaced(When::At(known_from))),
            regions: named(&site.regions, regions),
            classes: named(&site.classes, classes),
            uplift: event.uplift.map(unplaced),
        });
        self.events.push(Announcement {
            known_from,
            event: KnownEvent {
                id: event.id.clone(),
                kind: event.kind.clone(),
                start: event.start,
                end: event.end,
                regions: regions.iter().copied().map(RegionId::at).collect(),
                classes: classes.iter().copied().map(ClassId::at).collect(),
                uplift: event.uplift,
            },
        });
    }
}
