//! One VEVENT, read: when, how long, how often, and what it says of demand.

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::announced::{self, Announced};
use super::content_line::{Component, ContentLine};
use super::value::{self, Length, Moment};
use super::zone::{Zone, Zones};
use crate::error::shown;

/// What a calendar's VEVENTs have in common.
pub(super) struct Calendar<'a> {
    /// Time zones of the file.
    pub(super) zones: &'a Zones,
    /// The zone of times that carry none.
    pub(super) floating: Zone,
    /// Whether the whole calendar takes events back (METHOD:CANCEL).
    pub(super) cancels: bool,
}

/// A VEVENT.
#[derive(Clone, Debug)]
pub(super) struct Vevent {
    /// Where it begins.
    pub(super) line: u64,
    pub(super) uid: String,
    /// Which instance of a series it speaks of, and whether of those after it, too.
    pub(super) instance: Option<(Timestamp, bool)>,
    /// Its edition: the highest counts, then the latest stamp.
    pub(super) edition: (i64, Option<DateTime>),
    pub(super) cancelled: bool,
    pub(super) zone: Zone,
    /// Begin on the wall.
    pub(super) start: DateTime,
    /// Whether the begin carries no zone.
    pub(super) floats: bool,
    /// How long it lasts; `None` where it does not say.
    pub(super) length: Option<Length>,
    /// Rules as they are written.
    pub(super) rules: Vec<String>,
    /// Further begins, some with a length of their own.
    pub(super) also: Vec<(DateTime, Option<Length>)>,
    /// Begins that are left out, each an instant, or a day on the wall.
    pub(super) except: BTreeSet<Exception>,
    pub(super) announced: Announced,
}

/// What is left out of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exception {
    /// The instance that begins at this instant.
    At(Timestamp),
    /// All that begin on this day.
    Day(jiff::civil::Date),
}

impl Vevent {
    /// Reads a component; `remark` is told what is left out of it.
    ///
    /// # Errors
    /// The line and what is wrong with it, for people.
    pub(super) fn read(
        component: &Component,
        calendar: &Calendar<'_>,
        remark: &mut dyn FnMut(u64, String),
    ) -> Result<Vevent, (u64, String)> {
        let begin = component.line;
        let uid = component.property("UID").map(ContentLine::text).filter(|uid| !uid.is_empty());
        let Some(uid) = uid else { return Err((begin, "a VEVENT without UID".to_owned())) };
        let Some(dtstart) = component.property("DTSTART") else {
            return Err((begin, "a VEVENT without DTSTART".to_owned()));
        };
        let start = Wall::read(dtstart, calendar)?;
        let length = length_of(component, &start, calendar)?;
        let instance = match component.property("RECURRENCE-ID") {
            None => None,
            Some(line) => {
                let wall = Wall::read_in(line, calendar, &start)?;
                let range = line.parameters.get("RANGE");
                let at = wall.instant().ok_or_else(|| unreadable(line))?;
                Some((at, range.is_some_and(|range| range.eq_ignore_ascii_case("THISANDFUTURE"))))
            }
        };
        let mut also = Vec::new();
        for line in component.all("RDATE") {
            read_dates(line, calendar, &start, &mut also)?;
        }
        let mut except = BTreeSet::new();
        for line in component.all("EXDATE") {
            for text in line.value.split(',') {
                let wall = Wall::of(line, text, calendar, Some(&start))?;
                except.insert(if wall.date && !start.date {
                    Exception::Day(wall.local.date())
                } else {
                    Exception::At(wall.instant().ok_or_else(|| unreadable(line))?)
                });
            }
        }
        if let Some(line) = component.property("EXRULE") {
            remark(line.line, "EXRULE is out of use and left out: EXDATE names what does not take place".to_owned());
        }
        let status = component.property("STATUS").map(ContentLine::text).unwrap_or_default();
        let sequence = component.property("SEQUENCE").and_then(|line| line.value.trim().parse().ok()).unwrap_or(0);
        let stamp = ["LAST-MODIFIED", "DTSTAMP"].iter().find_map(|name| component.property(name));
        Ok(Vevent {
            line: begin,
            uid,
            instance,
            edition: (sequence, stamp.and_then(|line| value::moment(&line.value)).map(|moment| moment.local)),
            cancelled: calendar.cancels || status.eq_ignore_ascii_case("CANCELLED"),
            floats: start.floats,
            start: start.local,
            zone: start.zone,
            length,
            rules: component.all("RRULE").map(|line| line.value.clone()).collect(),
            also,
            except,
            announced: announcement(component, remark),
        })
    }
}

/// A time on a wall.
#[derive(Clone, Debug)]
struct Wall {
    local: DateTime,
    zone: Zone,
    date: bool,
    floats: bool,
}

impl Wall {
    fn instant(&self) -> Option<Timestamp> {
        self.zone.instant(self.local)
    }

    fn read(line: &ContentLine, calendar: &Calendar<'_>) -> Result<Wall, (u64, String)> {
        Wall::of(line, &line.value, calendar, None)
    }

    /// Reads one that is in the zone of another unless it says so itself.
    fn read_in(line: &ContentLine, calendar: &Calendar<'_>, other: &Wall) -> Result<Wall, (u64, String)> {
        Wall::of(line, &line.value, calendar, Some(other))
    }

    fn of(
        line: &ContentLine,
        text: &str,
        calendar: &Calendar<'_>,
        other: Option<&Wall>,
    ) -> Result<Wall, (u64, String)> {
        let Some(Moment { local, utc, date }) = value::moment(text) else { return Err(unreadable(line)) };
        if utc {
            return Ok(Wall { local, zone: Zone::UTC, date, floats: false });
        }
        let (zone, floats) = match line.parameters.get("TZID") {
            Some(id) => match calendar.zones.find(id) {
                Some(zone) => (zone, false),
                None => {
                    let id = shown(id.as_bytes());
                    let what = format!("TZID \"{id}\" is no IANA time zone, and no VTIMEZONE describes it");
                    return Err((line.line, what));
                }
            },
            // What names an instance without a zone means the wall of the series.
            None => other.map_or_else(|| (calendar.floating.clone(), true), |other| (other.zone.clone(), other.floats)),
        };
        Ok(Wall { local, zone, date, floats })
    }
}

fn unreadable(line: &ContentLine) -> (u64, String) {
    let what =
        format!("{} \"{}\" is no date or time such as 20261025T200000Z", line.name, shown(line.value.as_bytes()));
    (line.line, what)
}

/// How long an event lasts, if it says.
fn length_of(component: &Component, start: &Wall, calendar: &Calendar<'_>) -> Result<Option<Length>, (u64, String)> {
    if let Some(line) = component.property("DTEND") {
        let end = Wall::of(line, &line.value, calendar, None)?;
        if start.date && end.date {
            let days = end.local.duration_since(start.local).as_hours() / 24;
            return match days {
                // Some write the day itself as the end of a day.
                0 => Ok(Some(Length::days(1))),
                1.. => Ok(Some(Length::days(days))),
                _ => Err((line.line, "an event that ends before it starts".to_owned())),
            };
        }
        let (Some(from), Some(to)) = (start.instant(), end.instant()) else { return Err(unreadable(line)) };
        let lasts = to.duration_since(from);
        if lasts.is_negative() {
            return Err((line.line, "an event that ends before it starts".to_owned()));
        }
        return Ok((!lasts.is_zero()).then(|| Length::exact(lasts)));
    }
    if let Some(line) = component.property("DURATION") {
        let Some(length) = value::length(&line.value) else {
            let what = format!("DURATION \"{}\" is no span such as PT1H30M", shown(line.value.as_bytes()));
            return Err((line.line, what));
        };
        return Ok(Some(length).filter(|length| length.most() > SignedDuration::ZERO));
    }
    Ok(start.date.then(|| Length::days(1)))
}

/// RDATE: dates, times and periods.
fn read_dates(
    line: &ContentLine,
    calendar: &Calendar<'_>,
    start: &Wall,
    also: &mut Vec<(DateTime, Option<Length>)>,
) -> Result<(), (u64, String)> {
    for text in line.value.split(',') {
        let (begin, end) = text.split_once('/').map_or((text, None), |(begin, end)| (begin, Some(end)));
        let wall = Wall::of(line, begin, calendar, Some(start))?;
        let at = wall.instant().ok_or_else(|| unreadable(line))?;
        let length = match end {
            None => None,
            Some(end) => match value::length(end) {
                Some(length) => Some(length),
                None => {
                    let end = Wall::of(line, end, calendar, Some(start))?.instant().ok_or_else(|| unreadable(line))?;
                    let lasts = end.duration_since(at);
                    if lasts.is_negative() {
                        return Err((line.line, "a period that ends before it starts".to_owned()));
                    }
                    Some(Length::exact(lasts))
                }
            },
        };
        also.push((start.zone.local(at), length));
    }
    Ok(())
}

/// What it says of demand: CATEGORIES and X-FOREBAY-….
fn announcement(component: &Component, remark: &mut dyn FnMut(u64, String)) -> Announced {
    let words = |name: &str| {
        let texts = component.all(name).flat_map(|line| announced::words(&line.text())).collect::<Vec<_>>();
        announced::distinct(texts)
    };
    let text = |name: &str| component.property(name).map(ContentLine::text).filter(|text| !text.is_empty());
    let category = || component.property("CATEGORIES").and_then(|line| line.texts().into_iter().next());
    let mut uplift = None;
    if let Some(line) = component.property("X-FOREBAY-UPLIFT") {
        match announced::uplift(&line.text()) {
            Ok((taken, clamped)) => {
                uplift = Some(taken);
                clamped.into_iter().for_each(|clamped| remark(line.line, clamped));
            }
            Err(what) => remark(line.line, format!("{what}: left out")),
        }
    }
    Announced {
        kind: text("X-FOREBAY-KIND").or_else(category),
        regions: words("X-FOREBAY-REGIONS"),
        classes: words("X-FOREBAY-CLASSES"),
        uplift,
        title: text("SUMMARY").unwrap_or_default(),
    }
}
