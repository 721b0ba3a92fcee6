//! Local time of a calendar: what its TZIDs mean, and which instant a time on the wall is.
//!
//! A TZID is an IANA name, one of Windows', or the end of a path that closes with an IANA name, as some programs write
//! it; else the rules that the file's own VTIMEZONE gives hold.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::budget::Budget;
use super::content_line::Component;
use super::recurrence;
use super::value;
use super::windows_zones::WINDOWS_ZONES;

/// A time zone.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    /// One of the IANA database.
    Known(TimeZone),
    /// One that its file describes.
    Described(Rc<[Onset]>),
}

/// A moment from which on an offset holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Onset {
    /// On a clock that shows the offset before.
    local: DateTime,
    /// Offset from UTC before \[s\].
    before: i32,
    /// Offset from UTC from then on \[s\].
    after: i32,
}

impl Zone {
    /// Universal time.
    pub(super) const UTC: Zone = Zone::Known(TimeZone::UTC);

    /// The instant of a time on the wall. What comes twice is meant the first time; what is left out is read with the
    /// offset before the gap (RFC 5545 section 3.3.5).
    pub(super) fn instant(&self, local: DateTime) -> Option<Timestamp> {
        match self {
            Zone::Known(zone) => zone.to_ambiguous_zoned(local).compatible().ok().map(|zoned| zoned.timestamp()),
            Zone::Described(onsets) => {
                // Where clocks go forward, an onset is in force only once the gap is over.
                let begun = |onset: &&Onset| {
                    let gap = SignedDuration::from_secs(i64::from((onset.after - onset.before).max(0)));
                    onset.local.checked_add(gap).is_ok_and(|over| over <= local)
                };
                let last = onsets.iter().rev().find(begun);
                let offset = last.map(|onset| onset.after).or_else(|| onsets.first().map(|onset| onset.before))?;
                shifted(local, -offset)
            }
        }
    }

    /// The time on the wall at an instant.
    pub(super) fn local(&self, at: Timestamp) -> DateTime {
        match self {
            Zone::Known(zone) => zone.to_datetime(at),
            Zone::Described(onsets) => {
                let begun = |onset: &&Onset| shifted(onset.local, -onset.before).is_some_and(|onset| onset <= at);
                let last = onsets.iter().rev().find(begun);
                let offset = last.map(|onset| onset.after).or_else(|| onsets.first().map(|onset| onset.before));
                let utc = TimeZone::UTC.to_datetime(at);
                let offset = SignedDuration::from_secs(i64::from(offset.unwrap_or(0)));
                utc.checked_add(offset).unwrap_or(utc)
            }
        }
    }
}

/// A time on the wall as an instant, had the wall shown UTC, plus so many seconds.
fn shifted(local: DateTime, seconds: i32) -> Option<Timestamp> {
    let utc = TimeZone::UTC.to_timestamp(local).ok()?;
    utc.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()
}

/// The time zones of a file.
#[derive(Debug, Default)]
pub(super) struct Zones {
    described: BTreeMap<String, Zone>,
}

impl Zones {
    /// Takes in what a VTIMEZONE says, for moments up to `until`. One that cannot be read is as good as none.
    pub(super) fn describe(&mut self, component: &Component, until: DateTime, budget: &mut Budget) {
        let Some(id) = component.property("TZID").map(|id| id.text()) else { return };
        let location = component.property("X-LIC-LOCATION").and_then(|location| named(&location.text()));
        let zone = match location {
            Some(zone) => Some(Zone::Known(zone)),
            None if named(&id).is_some() => None,
            None => describe(component, until, budget),
        };
        if let Some(zone) = zone {
            self.described.entry(id).or_insert(zone);
        }
    }

    /// The time zone of a TZID.
    pub(super) fn find(&self, id: &str) -> Option<Zone> {
        named(id).map(Zone::Known).or_else(|| self.described.get(id).cloned())
    }
}

/// A time zone by its IANA name, by Windows' name, or by a path that ends in an IANA name.
pub(super) fn named(id: &str) -> Option<TimeZone> {
    let id = id.trim();
    // A bundled database answers; an empty name and paths are nothing it should be asked for.
    let get = |name: &str| (!name.is_empty()).then(|| TimeZone::get(name).ok()).flatten();
    if let Some(zone) = get(id) {
        return Some(zone);
    }
    if let Some((_, name)) = WINDOWS_ZONES.iter().find(|(windows, _)| windows.eq_ignore_ascii_case(id)) {
        return get(name);
    }
    // `/freeassociation.sourceforge.net/Europe/Amsterdam`, `/citadel.org/20210210_1/America/Argentina/Salta`.
    id.starts_with('/').then(|| id.match_indices('/').find_map(|(at, _)| get(&id[at + 1..]))).flatten()
}

/// Onsets beyond these are of no use to anybody.
const ONSETS_MOST: usize = 4000;

fn describe(component: &Component, until: DateTime, budget: &mut Budget) -> Option<Zone> {
    let mut onsets = Vec::new();
    for observance in component.components.iter().filter(|part| matches!(part.name.as_str(), "STANDARD" | "DAYLIGHT")) {
        let offset = |name| observance.property(name).and_then(|offset| value::utc_offset(&offset.value));
        let (before, after) = (offset("TZOFFSETFROM")?, offset("TZOFFSETTO")?);
        let first = value::moment(&observance.property("DTSTART")?.value)?.local;
        let mut locals = vec![first];
        for rule in observance.all("RRULE") {
            // UNTIL is in UTC; the clock that counts here shows the offset before.
            let local = |at: Timestamp| Zone::UTC.local(at).checked_add(SignedDuration::from_secs(before.into())).ok();
            let rule = recurrence::Rule::parse(&rule.value, first, &local).ok()?;
            rule.expand(DateTime::MIN, until, ONSETS_MOST, budget, &mut |local| locals.push(local)).ok()?;
        }
        for dates in observance.all("RDATE") {
            locals.extend(dates.value.split(',').filter_map(value::moment).map(|moment| moment.local));
        }
        onsets.extend(locals.into_iter().map(|local| Onset { local, before, after }));
    }
    onsets.sort();
    onsets.dedup();
    onsets.truncate(ONSETS_MOST);
    (!onsets.is_empty()).then(|| Zone::Described(onsets.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::input::Input;

    fn described(text: &str) -> Zones {
        let text = format!("BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\n{text}END:VTIMEZONE\nEND:VCALENDAR\n");
        let mut input = Input::from_reader("x.ics", Cursor::new(text.into_bytes())).unwrap();
        let calendars = super::super::content_line::read(&mut input, &mut |_, _| {}).unwrap();
        let mut zones = Zones::default();
        let until = "2030-01-01T00:00".parse().unwrap();
        zones.describe(&calendars[0].components[0], until, &mut Budget::default());
        zones
    }

    const CENTRAL_EUROPE: &str = "BEGIN:STANDARD\nDTSTART:16010101T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n\
        RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10\nEND:STANDARD\n\
        BEGIN:DAYLIGHT\nDTSTART:16010101T020000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200\n\
        RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3\nEND:DAYLIGHT\n";

    #[test]
    fn a_zone_is_found_by_its_names() {
        let zones = Zones::default();
        let name = |id| match zones.find(id) {
            Some(Zone::Known(zone)) => zone.iana_name().map(str::to_owned),
            _ => None,
        };
        for (id, want) in [
            ("Europe/Amsterdam", Some("Europe/Amsterdam")),
            ("W. Europe Standard Time", Some("Europe/Berlin")),
            ("eastern standard time", Some("America/New_York")),
            ("/freeassociation.sourceforge.net/Europe/Amsterdam", Some("Europe/Amsterdam")),
            ("/citadel.org/20210210_1/America/Argentina/Salta", Some("America/Argentina/Salta")),
            ("Middle Earth", None),
            ("", None),
            ("/", None),
        ] {
            assert_eq!(name(id).as_deref(), want, "{id}");
        }
        for (windows, iana) in WINDOWS_ZONES {
            assert!(TimeZone::get(iana).is_ok(), "{windows}: {iana}");
        }
    }

    /// The rules that Outlook writes for central Europe tell the same as the IANA database, for every quarter of an hour
    /// around the changes, gap and repetition included.
    #[test]
    fn a_described_zone_is_as_good_as_a_known_one() {
        let zones = described(&format!("TZID:Somewhere\n{CENTRAL_EUROPE}"));
        let found = zones.find("Somewhere").unwrap();
        assert!(matches!(found, Zone::Described(_)));
        let known = Zone::Known(TimeZone::get("Europe/Berlin").unwrap());
        for day in ["2026-03-28", "2026-10-24", "2026-07-01", "2027-01-01", "2029-03-24"] {
            let start: DateTime = format!("{day}T12:00").parse().unwrap();
            for quarter in 0..96 {
                let local = start.checked_add(SignedDuration::from_mins(15 * quarter)).unwrap();
                assert_eq!(found.instant(local), known.instant(local), "{local}");
                let at = known.instant(local).unwrap();
                assert_eq!(found.local(at), known.local(at), "{at}");
            }
        }
    }

    #[test]
    fn a_location_in_a_description_counts_before_its_rules() {
        let zones = described(&format!("TZID:Home\nX-LIC-LOCATION:America/New_York\n{CENTRAL_EUROPE}"));
        assert!(matches!(zones.find("Home"), Some(Zone::Known(zone)) if zone.iana_name() == Some("America/New_York")));
        assert!(described("TZID:Empty\n").find("Empty").is_none());
        assert!(described("TZID:Odd\nBEGIN:STANDARD\nDTSTART:soon\nEND:STANDARD\n").find("Odd").is_none());
    }
}
