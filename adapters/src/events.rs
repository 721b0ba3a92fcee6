//! Known events outside, as their announcers publish them: a match, a release, a holiday.
//!
//! Read from calendars (iCalendar) and from tables (CSV, or one JSON object a line), told by their content, as one
//! record: [`ExternalEvent`]. What recurs is expanded, within a window of at most [`WINDOW_MOST`] and to at most
//! [`INSTANCES_MOST`] events; no content causes more work than can be done in seconds. [`EventFeed`] keeps a file or a
//! page up to date.
//!
//! What events mean for demand is not told here.

use std::io::Cursor;
use std::path::Path;

use forebay_world::{Duration, Timestamp};
use jiff::SignedDuration;
use jiff::tz::TimeZone;

mod announced;
mod budget;
mod calendar;
mod content_line;
mod event_table;
mod feed;
#[cfg(feature = "fetch")]
mod fetch;
mod gathering;
mod recurrence;
mod value;
mod vevent;
mod windows_zones;
mod zone;

pub use announced::UPLIFTS;
pub use feed::{EventFeed, FeedError, FeedSource};

use crate::error::{ReadError, shown};
use crate::input::Input;
use gathering::Gathering;

/// The longest window that events are looked for in.
pub const WINDOW_MOST: Duration = Duration::from_hours(400 * 24);
/// The most events that are given of a feed: the earliest of the window.
pub const INSTANCES_MOST: usize = 10_000;
/// The most content that a feed may have, unpacked \[bytes\].
pub const CONTENT_MOST: usize = 5_000_000;
/// Remarks and reasons that are kept; the rest is counted.
const NOTES_MOST: usize = 50;
const ALLOWED: &str = "a calendar (iCalendar), CSV with the columns id,start,end, or one JSON object a line";

/// Something outside that will move demand, or has.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalEvent {
    /// Unique in its feed; of an instance of a series, with the begin it was first planned for.
    pub id: String,
    /// Kind, by which past events inform coming ones.
    pub kind: String,
    /// Planned start.
    pub start: Timestamp,
    /// Planned end.
    pub end: Timestamp,
    /// Names of client regions concerned; all when empty.
    pub regions: Vec<String>,
    /// Names of classes concerned; all when empty.
    pub classes: Vec<String>,
    /// Factor on usual demand that its announcer expects, within [`UPLIFTS`].
    pub uplift: Option<f64>,
    /// For people; may be empty.
    pub title: String,
}

/// What is wanted of a feed, and what stands for what it does not say.
#[derive(Clone, Debug)]
pub struct EventOptions {
    /// Begin of the window.
    pub from: Timestamp,
    /// Its end; at most [`WINDOW_MOST`] after the begin.
    pub until: Timestamp,
    /// Time zone of times and days that carry none.
    pub zone: TimeZone,
    /// Kind of events that name none.
    pub kind: String,
    /// Regions of events that name none.
    pub regions: Vec<String>,
    /// Classes of events that name none.
    pub classes: Vec<String>,
    /// How long an event lasts that says neither end nor duration.
    pub lasts: Duration,
}

/// What a feed says.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    /// Events of the window, by ascending start.
    pub events: Vec<ExternalEvent>,
    /// What was read, and what was not used.
    pub report: EventsReport,
}

/// What was read of a feed, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventsReport {
    /// Format of the content.
    pub format: EventFormat,
    /// Window that was looked at.
    pub window: (Timestamp, Timestamp),
    /// Whether a longer one was asked for.
    pub window_cut: bool,
    /// VEVENTs or rows.
    pub records: u64,
    /// Events given.
    pub events: u64,
    /// Events or series of which nothing lies in the window.
    pub outside: u64,
    /// Events, series and instances that are cancelled.
    pub cancelled: u64,
    /// Older editions of others.
    pub superseded: u64,
    /// Records that cannot be used …
    pub skipped: u64,
    /// … and why, the first of them.
    pub skips: Vec<Note>,
    /// Things that were not taken as they are written …
    pub remarked: u64,
    /// … and why, the first of them.
    pub remarks: Vec<Note>,
    /// Events that carry no time zone …
    pub floating: u64,
    /// … and the zone they are taken to be in.
    pub zone: String,
    /// Events that say neither end nor duration.
    pub endless: u64,
    /// Whether there is more in the window than is given.
    pub cut: bool,
}

/// Something about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Counted from 1.
    pub line: u64,
    /// What there is to say, for people.
    pub what: String,
}

/// How events are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFormat {
    /// iCalendar (RFC 5545).
    Calendar,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

impl EventFormat {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            EventFormat::Calendar => "iCalendar",
            EventFormat::Csv => "CSV",
            EventFormat::Ndjson => "NDJSON",
        }
    }
}

impl EventOptions {
    /// All events of a window, in UTC, and of the kind `event`, unless they say otherwise.
    pub fn of_window(from: Timestamp, until: Timestamp) -> EventOptions {
        EventOptions {
            from,
            until,
            zone: TimeZone::UTC,
            kind: "event".to_owned(),
            regions: Vec::new(),
            classes: Vec::new(),
            lasts: Duration::from_hours(1),
        }
    }

    fn length(&self) -> SignedDuration {
        SignedDuration::try_from_secs_f64(self.lasts.as_secs_f64()).unwrap_or(SignedDuration::MAX)
    }
}

impl EventsReport {
    /// Sentences about what is not as one might think, each with its line where it has one.
    pub fn sentences(&self) -> Vec<String> {
        let mut said = Vec::new();
        let mut notes = |notes: &[Note], count: u64, more: &str| {
            said.extend(notes.iter().map(|note| format!("line {}: {}", note.line, note.what)));
            let left = count - notes.len() as u64;
            if left > 0 {
                said.push(format!("{left} more {more}"));
            }
        };
        notes(&self.skips, self.skipped, "records cannot be used");
        notes(&self.remarks, self.remarked, "remarks");
        if self.floating > 0 {
            said.push(format!("{} events carry no time zone: taken to be in {}", self.floating, self.zone));
        }
        if self.endless > 0 {
            said.push(format!("{} events say neither end nor duration", self.endless));
        }
        if self.window_cut {
            let (from, until) = self.window;
            let days = WINDOW_MOST.as_hours_f64() / 24.0;
            said.push(format!("the window ends {days} days after its begin {from}, at {until}"));
        }
        if self.cut {
            said.push(format!(
                "there is more in the window than is given: at most {INSTANCES_MOST} events, the earliest"
            ));
        }
        said
    }
}

impl std::fmt::Display for EventsReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let EventsReport { records, events, outside, cancelled, superseded, skipped, .. } = self;
        write!(f, "{}: {records} records, {events} events", self.format.name())?;
        for (count, what) in [
            (outside, "outside the window"),
            (cancelled, "cancelled"),
            (superseded, "superseded"),
            (skipped, "not usable"),
        ] {
            if *count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// Reads the events of a file, or of standard input when the path is `-`.
///
/// # Errors
/// [`ReadError`] when the file cannot be read, is of no format that is known, has more than [`CONTENT_MOST`], or does not
/// follow its format; see [`parse_events`].
pub fn read_events(path: &Path, options: &EventOptions) -> Result<Events, ReadError> {
    let input = Input::open(path)?;
    let name = input.path().to_owned();
    parse_events(&name, content_of(input)?, options)
}

/// Reads events from content that errors call `name`.
///
/// A table is taken as a whole or not at all. Of a calendar, an event that cannot be read is left out and reported, as
/// long as another can be read.
///
/// # Errors
/// [`ReadError`], with the line where it has one.
pub fn parse_events(name: &Path, content: Vec<u8>, options: &EventOptions) -> Result<Events, ReadError> {
    let format = told_by(name, &content)?;
    let until = options.until.min(options.from.saturating_add(WINDOW_MOST));
    let report = EventsReport {
        format,
        window: (options.from, until),
        window_cut: until < options.until,
        records: 0,
        events: 0,
        outside: 0,
        cancelled: 0,
        superseded: 0,
        skipped: 0,
        skips: Vec::new(),
        remarked: 0,
        remarks: Vec::new(),
        floating: 0,
        zone: options.zone.iana_name().unwrap_or("a zone without a name").to_owned(),
        endless: 0,
        cut: false,
    };
    let mut gathering = Gathering::new(options, report);
    let mut input = Input::from_reader(name, Cursor::new(content))?;
    match format {
        EventFormat::Calendar => calendar::read(&mut input, &mut gathering)?,
        EventFormat::Csv => event_table::read_csv(&mut input, &mut gathering)?,
        EventFormat::Ndjson => event_table::read_ndjson(&mut input, &mut gathering)?,
    }
    Ok(gathering.finish())
}

/// All content of an input.
///
/// # Errors
/// Why it cannot be read; [`ReadError::Unrecognised`] when there is more than [`CONTENT_MOST`].
pub fn content_of(mut input: Input) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::new();
    loop {
        let bytes = input.fill(1)?;
        if bytes.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(bytes);
        let read = bytes.len();
        input.consume(read);
        if content.len() > CONTENT_MOST {
            return Err(ReadError::Unrecognised {
                path: input.path().to_owned(),
                found: format!("more than {} MB", CONTENT_MOST / 1_000_000),
                allowed: "a feed of up to 5 MB",
                hint: "leave out what is long past, or split the feed",
            });
        }
    }
}

fn told_by(name: &Path, content: &[u8]) -> Result<EventFormat, ReadError> {
    let unknown =
        |found: String, hint| Err(ReadError::Unrecognised { path: name.to_owned(), found, allowed: ALLOWED, hint });
    let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii_start();
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    match text.first() {
        _ if content.starts_with(&[0x1f, 0x8b]) => unknown("gzip within gzip".to_owned(), "unpack it once"),
        None => unknown("an empty file".to_owned(), "is this the right file? A feed without events has its header"),
        Some(b'<') => {
            unknown("a web page".to_owned(), "give the address of the calendar itself, not of a page about it")
        }
        Some(b'{') => Ok(EventFormat::Ndjson),
        Some(b'[') => {
            unknown("a JSON array".to_owned(), "write one object a line: `jq -c '.[]'` makes that of an array")
        }
        _ if line.len() >= 6 && line[..6].eq_ignore_ascii_case(b"BEGIN:") => Ok(EventFormat::Calendar),
        _ if line.contains(&b',') || line.first() == Some(&b'#') => Ok(EventFormat::Csv),
        _ => unknown(format!("a file that begins \"{}\"", shown(line)), "is this the right file?"),
    }
}

/// From jiff's instants to ours; `None` before 1970 and after 2554.
fn timestamp_of(at: jiff::Timestamp) -> Option<Timestamp> {
    u64::try_from(at.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

/// From our instants to jiff's; those past the year 9999 are none of ours.
fn instant_of(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests;
