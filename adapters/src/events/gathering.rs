//! Events as they are found: those of the window are kept, in bounded memory, and what became of the rest is counted.

use forebay_world::Timestamp;

use super::announced::Announced;
use super::{EventOptions, Events, EventsReport, ExternalEvent, INSTANCES_MOST, NOTES_MOST, Note};

/// Gathers what readers find.
pub(super) struct Gathering<'a> {
    pub(super) options: &'a EventOptions,
    pub(super) report: EventsReport,
    events: Vec<ExternalEvent>,
}

/// When, and which.
pub(super) struct Occurrence {
    pub(super) id: String,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(options: &'a EventOptions, report: EventsReport) -> Gathering<'a> {
        Gathering { options, report, events: Vec::new() }
    }

    /// Takes an event; whether any of it lies in the window is what comes back.
    pub(super) fn add(&mut self, occurrence: Occurrence, announced: &Announced) -> bool {
        let (from, until) = self.report.window;
        let Occurrence { id, start, end } = occurrence;
        if start >= until || end <= from {
            return false;
        }
        let printable = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let or = |said: &[String], default: &[String]| if said.is_empty() { default.to_vec() } else { said.to_vec() };
        self.events.push(ExternalEvent {
            id: printable(&id),
            kind: announced.kind.as_ref().map_or_else(|| self.options.kind.clone(), |kind| printable(kind)),
            start,
            end,
            regions: or(&announced.regions, &self.options.regions),
            classes: or(&announced.classes, &self.options.classes),
            uplift: announced.uplift,
            title: printable(&announced.title),
        });
        if self.events.len() >= 2 * INSTANCES_MOST {
            self.shorten();
        }
        true
    }

    /// Notes a record that is not used, and why.
    pub(super) fn skip(&mut self, line: u64, what: String) {
        self.report.skipped += 1;
        if self.report.skips.len() < NOTES_MOST {
            self.report.skips.push(Note { line, what });
        }
    }

    /// Notes what was not taken as it is written.
    pub(super) fn remark(&mut self, line: u64, what: String) {
        self.report.remarked += 1;
        if self.report.remarks.len() < NOTES_MOST {
            self.report.remarks.push(Note { line, what });
        }
    }

    /// The events by ascending start.
    pub(super) fn finish(mut self) -> Events {
        self.shorten();
        self.report.events = self.events.len() as u64;
        Events { events: self.events, report: self.report }
    }

    /// Keeps the first of them.
    fn shorten(&mut self) {
        self.events.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
        if self.events.len() > INSTANCES_MOST {
            self.events.truncate(INSTANCES_MOST);
            self.report.cut = true;
        }
    }
}
