//! Tables of events: CSV with a header, or one JSON object a line, with the same names for the same things.
//!
//! A table is written for this use: the first thing wrong in it is an error, so that no event is missed unnoticed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use forebay_world::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::announced::{self, Announced};
use super::gathering::{Gathering, Occurrence};
use super::timestamp_of;
use crate::error::{Place, ReadError, shown};
use crate::input::Input;
use crate::table::{Fields, Header, is_blank, unclosed_quote};

/// What a row says, by its first name here; others are read alike.
const COLUMNS: [(&str, &[&str]); 8] = [
    ("id", &["id", "uid"]),
    ("start", &["start"]),
    ("end", &["end"]),
    ("kind", &["kind"]),
    ("regions", &["regions", "region"]),
    ("classes", &["classes", "class", "services", "service"]),
    ("uplift", &["uplift", "expected_uplift"]),
    ("title", &["title", "summary", "name"]),
];
/// What is no event's business here, but often stands in such tables.
const UNUSED: [&str; 3] = ["confidence", "comment", "note"];
const ALLOWED_COLUMNS: &str = "the columns id,start,end and, as wanted, kind,regions,classes,uplift,title";
const ALLOWED_TIMES: &str = "a time such as 2026-06-14T18:00:00Z or 2026-06-14T20:00:00+02:00, or a day";

/// What is wrong with a row: what, what is allowed, and a hint.
type Wrong = (String, &'static str, &'static str);

fn column_of(name: &str) -> Option<usize> {
    COLUMNS.iter().position(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
}

fn unknown_column(name: &str) -> Option<String> {
    let known = column_of(name).is_some() || UNUSED.iter().any(|unused| unused.eq_ignore_ascii_case(name));
    (!known).then(|| format!("\"{}\" is none of the known columns and left out", shown(name.as_bytes())))
}

/// Reads CSV.
///
/// # Errors
/// [`ReadError`] for the first line that is not as it must be.
pub(super) fn read_csv(input: &mut Input, gathering: &mut Gathering<'_>) -> Result<(), ReadError> {
    let header = Header::read(input, ALLOWED_COLUMNS)?;
    for name in ["id", "start", "end"] {
        if !header.columns.iter().any(|column| column_of(column).is_some_and(|at| COLUMNS[at].0 == name)) {
            header.need(name, input, ALLOWED_COLUMNS)?;
        }
    }
    header.columns.iter().filter_map(|name| unknown_column(name)).for_each(|what| gathering.remark(1, what));
    let mut rows = Rows::default();
    while let Some(line) = input.next_line()? {
        if is_blank(line.text) {
            continue;
        }
        let (number, text) = (line.number, line.text.to_vec());
        let Some(fields) = Fields::of(&text).collect::<Option<Vec<_>>>() else {
            return Err(unclosed_quote(input, number));
        };
        if fields.len() != header.columns.len() {
            let (what, allowed) =
                (format!("{} fields", fields.len()), format!("{} fields, as in the header", header.columns.len()));
            return Err(input.malformed(Place::Line(number), what, allowed, "lists go in one field, with ; between"));
        }
        let mut said: [Said; 8] = Default::default();
        for (name, field) in header.columns.iter().zip(fields) {
            if let Some(at) = column_of(name) {
                said[at].0.push(String::from_utf8_lossy(field).into_owned());
            }
        }
        rows.take(number, &said, gathering).map_err(|wrong| malformed(input, number, wrong))?;
    }
    Ok(())
}

/// Reads JSON, one object a line.
///
/// # Errors
/// As [`read_csv`].
pub(super) fn read_ndjson(input: &mut Input, gathering: &mut Gathering<'_>) -> Result<(), ReadError> {
    let mut rows = Rows::default();
    while let Some(line) = input.next_line()? {
        let (number, text) = (line.number, line.text);
        let text = if number == 1 { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text) } else { text };
        if text.trim_ascii().is_empty() {
            continue;
        }
        let object: serde_json::Map<String, Value> = match serde_json::from_slice(text) {
            Ok(object) => object,
            Err(error) => {
                let wrong = (
                    format!("no JSON object: {error}"),
                    "one JSON object a line, with id, start and end",
                    "`jq -c .` writes one object a line",
                );
                return Err(malformed(input, number, wrong));
            }
        };
        let mut said: [Said; 8] = Default::default();
        for (name, value) in &object {
            match column_of(name) {
                None => unknown_column(name).into_iter().for_each(|what| gathering.remark(number, what)),
                Some(at) => {
                    said[at].add(value).ok_or_else(|| {
                        let wrong = (
                            format!("\"{name}\" is {}", shown(value.to_string().as_bytes())),
                            "a text, a number, or for regions and classes a list of texts",
                            "leave it out, or null, for what is not known",
                        );
                        malformed(input, number, wrong)
                    })?;
                }
            }
        }
        rows.take(number, &said, gathering).map_err(|wrong| malformed(input, number, wrong))?;
    }
    Ok(())
}

fn malformed(input: &Input, line: u64, (what, allowed, hint): Wrong) -> ReadError {
    input.malformed(Place::Line(line), what, allowed, hint)
}

/// What a row says under one name.
#[derive(Default)]
struct Said(Vec<String>);

impl Said {
    /// Takes a value of JSON; nothing when it is of a kind that has no text.
    fn add(&mut self, value: &Value) -> Option<()> {
        match value {
            Value::Null => {}
            Value::String(text) => self.0.push(text.clone()),
            Value::Number(number) => self.0.push(number.to_string()),
            Value::Array(values) => {
                for value in values {
                    self.0.push(value.as_str()?.to_owned());
                }
            }
            Value::Bool(_) | Value::Object(_) => return None,
        }
        Some(())
    }

    /// The one text there is; nothing when it is empty.
    fn text(&self) -> Option<&str> {
        self.0.first().map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn words(&self) -> Vec<String> {
        announced::distinct(self.0.iter().flat_map(|text| announced::words(text)).collect())
    }
}

/// Rows so far.
#[derive(Default)]
struct Rows {
    /// Where each id stands.
    ids: BTreeMap<String, u64>,
}

impl Rows {
    fn take(&mut self, line: u64, said: &[Said; 8], gathering: &mut Gathering<'_>) -> Result<(), Wrong> {
        let [id, start, end, kind, regions, classes, uplift, title] = said;
        gathering.report.records += 1;
        let need = |name: &str, said: &Said| -> Result<String, Wrong> {
            let text = said.text().ok_or_else(|| {
                (format!("no {name}"), "an id and a start for each event", "fill it in, or leave the event out")
            });
            text.map(str::to_owned)
        };
        let id = need("id", id)?;
        if let Some(before) = self.ids.insert(id.clone(), line) {
            let what = format!("id \"{}\" is that of line {before}", shown(id.as_bytes()));
            return Err((what, "each id once", "give each event an id of its own"));
        }
        let zone = &gathering.options.zone;
        let when = |text: &str| {
            When::read(text, zone).ok_or_else(|| {
                (format!("\"{}\" is no time", shown(text.as_bytes())), ALLOWED_TIMES, "times reach from 1970 to 2554")
            })
        };
        let start = when(&need("start", start)?)?;
        let end = end.text().map(&when).transpose()?;
        if start.floats || end.as_ref().is_some_and(|end| end.floats) {
            gathering.report.floating += 1;
        }
        let ends = match &end {
            // A day ends where the next begins; the same day as end, or none, is that day.
            None if start.day.is_some() => start.day_after(zone),
            Some(end) if start.day.is_some() && end.day == start.day => start.day_after(zone),
            None => {
                gathering.report.endless += 1;
                Some(start.at.saturating_add(gathering.options.lasts))
            }
            Some(end) => Some(end.at),
        };
        let ends = ends.filter(|ends| *ends > start.at).ok_or_else(|| {
            ("an event that ends before it starts".to_owned(), "an end after the start", "are they exchanged?")
        })?;
        let uplift = match uplift.text() {
            None => None,
            Some(text) => {
                let (taken, clamped) = announced::uplift(text)
                    .map_err(|what| (what, "a factor on usual demand, from 0.5 to 20", "2 means twice as much"))?;
                clamped.into_iter().for_each(|what| gathering.remark(line, what));
                Some(taken)
            }
        };
        let announced = Announced {
            kind: kind.text().map(str::to_owned),
            regions: regions.words(),
            classes: classes.words(),
            uplift,
            title: title.text().unwrap_or_default().to_owned(),
        };
        let inside = gathering.add(Occurrence { id, start: start.at, end: ends }, &announced);
        gathering.report.outside += u64::from(!inside);
        Ok(())
    }
}

/// A time in a table.
struct When {
    at: Timestamp,
    /// The day, when no time of day is given.
    day: Option<Date>,
    floats: bool,
}

impl When {
    fn read(text: &str, zone: &TimeZone) -> Option<When> {
        let at = |instant: jiff::Timestamp| timestamp_of(instant);
        // RFC 3339 has a blank for the T as well, and RFC 9557 a zone in brackets behind.
        let text: Cow<'_, str> = text.trim().into();
        if text.ends_with(']') {
            let zoned: jiff::Zoned = text.parse().ok()?;
            return Some(When { at: at(zoned.timestamp())?, day: None, floats: false });
        }
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Some(When { at: at(instant)?, day: None, floats: false });
        }
        if text.len() == 10 {
            let day: Date = text.parse().ok()?;
            let instant = zone.to_timestamp(day.to_datetime(jiff::civil::Time::midnight())).ok()?;
            return Some(When { at: at(instant)?, day: Some(day), floats: true });
        }
        let local: DateTime = text.parse().ok()?;
        Some(When { at: at(zone.to_timestamp(local).ok()?)?, day: None, floats: true })
    }

    /// The begin of the day after.
    fn day_after(&self, zone: &TimeZone) -> Option<Timestamp> {
        let next = self.day?.tomorrow().ok()?;
        timestamp_of(zone.to_timestamp(next.to_datetime(jiff::civil::Time::midnight())).ok()?)
    }
}
