//! `[[feed]]` and `[[event]]`, checked: what is known to come, and where it is looked for.

use std::path::{Path, PathBuf};

use forebay_adapters::events::{EventOptions, FeedSource};
use forebay_world::{ClassId, Duration, KnownEvent, RegionId, Timestamp};
use jiff::tz::TimeZone;
use toml::Spanned;

use super::answering::check_url;
use super::health::within;
use super::secret::{self, SecretError};
use super::spec::ProductionSpec;
use crate::scenario::finding::Findings;
use crate::scenario::names::Names;
use crate::scenario::site::{Site, require_range};
use crate::scenario::spec::When;
use crate::scenario::zone;

/// A feed of events.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Where it is.
    pub place: FeedPlace,
    /// Time from one look to the next.
    pub every: Duration,
    /// Client regions of events that name none.
    pub regions: Vec<RegionId>,
    /// Classes of events that name none.
    pub classes: Vec<ClassId>,
    /// Kind of events that name none; what the reader of feeds has for them where `None`.
    pub kind: Option<String>,
    /// How long before its start each event is known; as soon as it is said where `None`.
    pub known_from: Option<Duration>,
    /// Time zone of times and days that carry none.
    pub zone: TimeZone,
}

/// Where a feed is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedPlace {
    /// A file.
    File(PathBuf),
    /// An address.
    Url(String),
    /// A file that holds the address, which is a secret.
    UrlFile(PathBuf),
}

/// An event that the file announces.
#[derive(Clone, Debug, PartialEq)]
pub struct Announced {
    /// From when on it is known; always where `None`.
    pub known_from: Option<Timestamp>,
    /// The event.
    pub event: KnownEvent,
}

impl Feed {
    /// Where it is read, with a secret address where it has one.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn source(&self) -> Result<FeedSource, SecretError> {
        Ok(match &self.place {
            FeedPlace::File(path) => FeedSource::File(path.clone()),
            FeedPlace::Url(url) => FeedSource::Url(url.clone()),
            FeedPlace::UrlFile(path) => FeedSource::Url(secret::line_of(path)?),
        })
    }

    /// How it is read, for events from `from` to `until`.
    pub fn options(&self, from: Timestamp, until: Timestamp) -> EventOptions {
        let mut options = EventOptions::of_window(from, until);
        if let Some(kind) = &self.kind {
            options.kind.clone_from(kind);
        }
        options.zone = self.zone.clone();
        options
    }
}

impl FeedPlace {
    /// As operators know it; never an address that is a secret.
    pub fn name(&self) -> String {
        match self {
            FeedPlace::File(path) => path.display().to_string(),
            FeedPlace::Url(url) => FeedSource::Url(url.clone()).name(),
            FeedPlace::UrlFile(path) => format!("the address in {}", path.display()),
        }
    }
}

fn regions_of(site: &Site, names: Option<&Vec<Spanned<String>>>, findings: &mut Findings) -> Vec<RegionId> {
    all_of(&site.regions, names, usize::from(u16::MAX), findings).into_iter().map(RegionId::at).collect()
}

fn classes_of(site: &Site, names: Option<&Vec<Spanned<String>>>, findings: &mut Findings) -> Vec<ClassId> {
    all_of(&site.classes, names, 255, findings).into_iter().map(ClassId::at).collect()
}

fn all_of(names: &Names, given: Option<&Vec<Spanned<String>>>, most: usize, findings: &mut Findings) -> Vec<usize> {
    names.find_all(given, findings).into_iter().filter(|position| *position <= most).collect()
}

pub(super) fn check_feeds(spec: &ProductionSpec, site: &Site, folder: &Path, findings: &mut Findings) -> Vec<Feed> {
    let mut feeds = Vec::new();
    for section in &spec.feed {
        let given = section.get_ref();
        within(&given.every, "every", Duration::from_secs(10), Duration::from_hours(24 * 7), findings);
        let place = match (&given.file, &given.url, &given.url_file) {
            (Some(file), None, None) => {
                let path = folder.join(file.get_ref());
                findings.require(
                    path.is_file(),
                    file.span(),
                    || format!("`file` names a file that is not there: {}", path.display()),
                    "taken from this file's folder unless absolute",
                    "name a calendar (.ics) or a table (.csv, .ndjson) of events; an address goes into `url`",
                );
                Some(FeedPlace::File(path))
            }
            (None, Some(url), None) => {
                check_url(url, "url", &["http", "https", "webcal"], findings);
                let text = url.get_ref();
                Some(FeedPlace::Url(match text.strip_prefix("webcal://") {
                    Some(rest) => format!("https://{rest}"),
                    None => text.clone(),
                }))
            }
            (None, None, Some(file)) => Some(FeedPlace::UrlFile(folder.join(file.get_ref()))),
            (file, url, url_file) => {
                let none = file.is_none() && url.is_none() && url_file.is_none();
                findings.add(
                    section.span(),
                    if none { "a feed is nowhere" } else { "a feed is in several places" },
                    "one of `file`, `url` and `url_file`",
                    "`url_file` names a file that holds an address which is a secret",
                );
                None
            }
        };
        if let Some(kind) = &given.kind {
            findings.require(
                !kind.get_ref().trim().is_empty(),
                kind.span(),
                || "`kind` is empty".to_owned(),
                "a word by which past events inform coming ones",
                "leave it away, or write a word such as \"football\"",
            );
        }
        let zone = given.time_zone.as_ref().and_then(|zone| zone::find(zone, findings)).unwrap_or(TimeZone::UTC);
        let regions = regions_of(site, given.regions.as_ref(), findings);
        let classes = classes_of(site, given.classes.as_ref(), findings);
        if let Some(place) = place {
            feeds.push(Feed {
                place,
                every: *given.every.get_ref(),
                regions,
                classes,
                kind: given.kind.as_ref().map(|kind| kind.get_ref().clone()),
                known_from: given.known_from.as_ref().map(|span| *span.get_ref()),
                zone,
            });
        }
    }
    feeds
}

pub(super) fn check_events(spec: &ProductionSpec, site: &Site, findings: &mut Findings) -> Vec<Announced> {
    Names::collect("event", spec.event.iter().map(|event| &event.get_ref().id), findings);
    let mut announced = Vec::new();
    for event in &spec.event {
        let event = event.get_ref();
        let instant = |when: &Spanned<When>, findings: &mut Findings| match when.get_ref() {
            When::At(at) => Some(*at),
            When::After(span) => {
                findings.add(
                    when.span(),
                    format!("event \"{}\": \"{span}\" is a span after the start of a run", event.id.get_ref()),
                    "production has no start: an instant is needed",
                    "write a time as 2026-06-14T18:00:00Z",
                );
                None
            }
        };
        let (start, end) = (instant(&event.start, findings), instant(&event.end, findings));
        let known_from = event.known_from.as_ref().map(|when| instant(when, findings));
        if let Some(uplift) = &event.uplift {
            require_range(uplift, "uplift", 0.0, 10_000.0, findings);
        }
        let regions = regions_of(site, event.regions.as_ref(), findings);
        let classes = classes_of(site, event.classes.as_ref(), findings);
        let (Some(start), Some(end)) = (start, end) else { continue };
        findings.require(
            start < end,
            event.end.span(),
            || format!("event \"{}\" ends before it starts", event.id.get_ref()),
            &format!("it starts at {start}"),
            "give an `end` after its `start`",
        );
        announced.push(Announced {
            known_from: known_from.flatten(),
            event: KnownEvent {
                id: event.id.get_ref().clone(),
                kind: event.kind.clone(),
                start,
                end,
                regions,
                classes,
                uplift: event.uplift.as_ref().map(|uplift| *uplift.get_ref()),
            },
        });
    }
    announced
}
