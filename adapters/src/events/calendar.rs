//! Calendars (iCalendar, RFC 5545): VEVENTs put together to series, and series taken apart to what takes place.

use std::collections::{BTreeMap, BTreeSet};

use forebay_world::Timestamp;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Span};

use super::budget::Budget;
use super::content_line::{self, Component, ContentLine};
use super::gathering::{Gathering, Occurrence};
use super::recurrence::Rule;
use super::value::Length;
use super::vevent::{Calendar, Exception, Vevent};
use super::zone::{self, Zone, Zones};
use super::{INSTANCES_MOST, instant_of, timestamp_of};
use crate::error::{Place, ReadError};
use crate::input::Input;

/// Reads all events of a file into `gathering`.
///
/// # Errors
/// [`ReadError`] when it is no calendar, and when none of its events can be read.
pub(super) fn read(input: &mut Input, gathering: &mut Gathering<'_>) -> Result<(), ReadError> {
    let calendars = content_line::read(input, &mut |line, _| {
        gathering.remark(line, "no content line: left out".to_owned());
    })?;
    let mut budget = Budget::default();
    let mut zones = Zones::default();
    // Offsets are asked for as far as the window, and as far as a zone may be from UTC beyond it.
    let until = Zone::UTC.local(instant_of(gathering.report.window.1)).saturating_add(SignedDuration::from_hours(48));
    for component in calendars.iter().flat_map(|calendar| &calendar.components) {
        if component.name == "VTIMEZONE" {
            zones.describe(component, until, &mut budget);
        }
    }
    let mut series: BTreeMap<String, Vec<Vevent>> = BTreeMap::new();
    let mut first_wrong = None;
    for calendar in &calendars {
        let terms = terms(calendar, &zones, gathering);
        for component in calendar.components.iter().filter(|component| component.name == "VEVENT") {
            gathering.report.records += 1;
            match Vevent::read(component, &terms, &mut |line, what| gathering.remark(line, what)) {
                Ok(vevent) => series.entry(vevent.uid.clone()).or_default().push(vevent),
                Err((line, what)) => {
                    first_wrong.get_or_insert((line, what.clone()));
                    gathering.skip(line, what);
                }
            }
        }
    }
    // One that cannot be read among many is the announcer's slip; if all are, it is not read rightly.
    if let Some((line, what)) = first_wrong
        && series.is_empty()
    {
        return Err(input.malformed(
            Place::Line(line),
            format!("{what}; no other event can be read, either"),
            "a VEVENT with UID, DTSTART, and DTEND or DURATION",
            "export the calendar again, or mend the line",
        ));
    }
    let floating = series.values().flatten().filter(|vevent| vevent.floats).count();
    gathering.report.floating = floating as u64;
    for vevents in series.into_values() {
        take_place(vevents, gathering, &mut budget);
    }
    Ok(())
}

/// What the VEVENTs of a calendar have in common.
fn terms<'a>(calendar: &Component, zones: &'a Zones, gathering: &mut Gathering<'_>) -> Calendar<'a> {
    let mut floating = Zone::Known(gathering.options.zone.clone());
    if let Some(line) = calendar.property("X-WR-TIMEZONE") {
        match zone::named(&line.text()) {
            Some(zone) => {
                gathering.report.zone = line.text();
                floating = Zone::Known(zone);
            }
            None => gathering.remark(line.line, format!("X-WR-TIMEZONE \"{}\" is not known: left out", line.text())),
        }
    }
    let method = calendar.property("METHOD").map(ContentLine::text).unwrap_or_default();
    Calendar { zones, floating, cancels: method.eq_ignore_ascii_case("CANCEL") }
}

/// One instance of a series, before it is known whether it lies in the window.
struct Instance<'a> {
    start: DateTime,
    length: Option<Length>,
    by: &'a Vevent,
}

/// Takes the VEVENTs of one UID apart.
fn take_place(mut vevents: Vec<Vevent>, gathering: &mut Gathering<'_>, budget: &mut Budget) {
    // Stable: of equal editions the last in the file counts.
    vevents.sort_by_key(|vevent| vevent.edition);
    let before = vevents.len();
    let mut newest: BTreeMap<Option<(jiff::Timestamp, bool)>, Vevent> = BTreeMap::new();
    vevents.into_iter().for_each(|vevent| drop(newest.insert(vevent.instance, vevent)));
    gathering.report.superseded += (before - newest.len()) as u64;
    let master = newest.remove(&None);
    if let Some(master) = master.as_ref().filter(|master| master.cancelled) {
        let _ = master;
        gathering.report.cancelled += 1;
        return;
    }
    let (mut following, mut single) = (BTreeMap::new(), BTreeMap::new());
    for (instance, vevent) in &newest {
        let (at, onwards) = instance.expect("the one without is removed");
        if onwards {
            following.insert(at, vevent)
        } else {
            single.insert(at, vevent)
        };
    }
    let mut any = false;
    let mut matched = BTreeSet::new();
    if let Some(master) = &master {
        let Some(begins) = begins_of(master, &following, gathering, budget) else { return };
        let recurs = begins.len() > 1 || !master.rules.is_empty() || !master.also.is_empty();
        for (start, length) in begins {
            let Some(at) = master.zone.instant(start) else { continue };
            if master.except.contains(&Exception::At(at)) || master.except.contains(&Exception::Day(start.date())) {
                continue;
            }
            let mut instance = Instance { start, length: length.or(master.length), by: master };
            if let Some((from, change)) = following.range(..=at).next_back() {
                let moved = change.zone.instant(change.start).map(|to| to.duration_since(*from));
                let shifted = moved.and_then(|moved| at.checked_add(moved).ok()).map(|at| change.zone.local(at));
                instance = Instance { start: shifted.unwrap_or(start), length: change.length, by: change };
            }
            if let Some(change) = single.get(&at) {
                matched.insert(at);
                instance = Instance { start: change.start, length: change.length, by: change };
            }
            if instance.by.cancelled {
                gathering.report.cancelled += u64::from(single.contains_key(&at));
                continue;
            }
            any |= give(&instance, recurs.then_some(at), gathering);
        }
    }
    // Instances of a series that is not in the file, or that lie where the series was not looked at.
    for (at, change) in single.iter().filter(|(at, _)| !matched.contains(*at)) {
        if change.cancelled {
            gathering.report.cancelled += 1;
        } else {
            let instance = Instance { start: change.start, length: change.length, by: change };
            any |= give(&instance, Some(*at), gathering);
        }
    }
    gathering.report.outside += u64::from(!any);
}

/// Instances of one rule that may lie in the day before the window and the day after it: one a minute.
const BESIDE: usize = 2 * 24 * 60;

/// Begins of a series on the wall that may lie in the window; nothing when it cannot be told.
fn begins_of(
    master: &Vevent,
    following: &BTreeMap<jiff::Timestamp, &Vevent>,
    gathering: &mut Gathering<'_>,
    budget: &mut Budget,
) -> Option<BTreeMap<DateTime, Option<Length>>> {
    let (from, until) = gathering.report.window;
    // A begin may lie before the window by as long as it lasts, and by as much as later editions move it.
    let lasts = |vevent: &Vevent| vevent.length.map_or(gathering.options.length(), Length::most);
    let moved = |(at, vevent): (&jiff::Timestamp, &&Vevent)| {
        let by = vevent.zone.instant(vevent.start).map_or(SignedDuration::ZERO, |to| to.duration_since(*at).abs());
        by.saturating_add(lasts(vevent))
    };
    let reach = following.iter().map(moved).max().unwrap_or_default().max(lasts(master));
    let slack = reach.saturating_add(SignedDuration::from_hours(24));
    let from = master.zone.local(instant_of(from)).saturating_sub(slack);
    let until = master.zone.local(instant_of(until)).saturating_add(slack);
    let mut begins: BTreeMap<DateTime, Option<Length>> = BTreeMap::new();
    begins.insert(master.start, None);
    for text in &master.rules {
        let local = |at| Some(master.zone.local(at));
        let rule = match Rule::parse(text, master.start, &local) {
            Ok(rule) => rule,
            Err(what) => {
                gathering.skip(master.line, what);
                return None;
            }
        };
        let mut each = |local| {
            begins.entry(local).or_insert(None);
        };
        match rule.expand(from, until, INSTANCES_MOST + BESIDE, budget, &mut each) {
            Ok(more) => gathering.report.cut |= more,
            Err(_) => {
                let what =
                    "it recurs too often, or since too long ago, to be followed: its later instances are left out";
                gathering.remark(master.line, what.to_owned());
                gathering.report.cut = true;
            }
        }
    }
    begins.extend(master.also.iter().copied());
    Some(begins)
}

/// Gives one instance away; whether it lies in the window is what comes back.
fn give(instance: &Instance<'_>, of_series: Option<jiff::Timestamp>, gathering: &mut Gathering<'_>) -> bool {
    let zone = &instance.by.zone;
    let Some(start) = zone.instant(instance.start) else { return false };
    let length = instance.length.unwrap_or_else(|| {
        gathering.report.endless += 1;
        Length::exact(gathering.options.length())
    });
    let last = if length.days == 0 {
        Some(start)
    } else {
        // Days on the wall: 23 to 25 hours each.
        instance.start.checked_add(Span::new().days(length.days)).ok().and_then(|local| zone.instant(local))
    };
    let Some(end) = last.and_then(|last| last.checked_add(length.exact).ok()) else { return false };
    let (Some(start), Some(end)) = (timestamp_of(start), timestamp_of(end)) else { return false };
    let id = match of_series {
        None => instance.by.uid.clone(),
        Some(at) => format!("{}@{}", instance.by.uid, timestamp_of(at).unwrap_or(Timestamp::EPOCH)),
    };
    gathering.add(Occurrence { id, start, end }, &instance.by.announced)
}
