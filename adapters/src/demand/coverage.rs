//! The time that logs tell of: from a log's first record to its last, without the silences in which it was not written.
//!
//! That nobody asked for a while is a measurement; that nobody wrote it down is not. A silence is taken for a gap when
//! it is longer than [`SILENT`] times the mean distance between the log's records, and than a window.

use forebay_world::{Duration, Timestamp};

/// Mean distances between records that make a silence a gap.
pub(super) const SILENT: u64 = 10;
/// Longest silences that are remembered of a log.
const REMEMBERED: usize = 10_000;

/// From and to.
pub(super) type Span = (Timestamp, Timestamp);

/// The records of one log, as they come.
pub(super) struct Presence {
    window: Duration,
    first: Option<Timestamp>,
    latest: Timestamp,
    records: u64,
    silences: Vec<Span>,
}

/// Where a log was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    pub(super) spans: Vec<Span>,
    /// The longest silence that is none.
    pub(super) tolerated: Duration,
}

impl Presence {
    pub(super) fn new(window: Duration) -> Presence {
        Presence { window, first: None, latest: Timestamp::EPOCH, records: 0, silences: Vec::new() }
    }

    pub(super) fn see(&mut self, at: Timestamp) {
        self.records += 1;
        if at <= self.latest {
            self.first = self.first.map(|first| first.min(at));
            return;
        }
        if self.first.is_none() {
            self.first = Some(at);
        } else if at.since(self.latest) > self.window {
            if self.silences.len() == REMEMBERED {
                self.silences.sort_by_key(|&(from, to)| std::cmp::Reverse(to.since(from)));
                self.silences.truncate(REMEMBERED / 2);
            }
            self.silences.push((self.latest, at));
        }
        self.latest = at;
    }

    pub(super) fn finish(mut self) -> Written {
        let Some(first) = self.first else { return Written { spans: Vec::new(), tolerated: self.window } };
        let mean = self.latest.since(first) / self.records.saturating_sub(1).max(1);
        let tolerated = if self.records < 2 { self.window } else { (mean * SILENT).max(self.window) };
        self.silences.retain(|&(from, to)| to.since(from) > tolerated);
        self.silences.sort();
        let mut begin = first;
        let mut spans = Vec::new();
        for (from, to) in self.silences {
            spans.push((begin, from.max(begin)));
            begin = to;
        }
        spans.push((begin, self.latest.max(begin)));
        Written { spans, tolerated }
    }
}

/// The spans of all logs together: where they touch, or nearly so, they are one.
pub(super) fn together(logs: &[Written]) -> Vec<Span> {
    let mut spans: Vec<(Span, Duration)> =
        logs.iter().flat_map(|log| log.spans.iter().map(|&span| (span, log.tolerated))).collect();
    spans.sort_by_key(|&(span, _)| span);
    let mut joined: Vec<(Span, Duration)> = Vec::new();
    for (span, tolerated) in spans {
        match joined.last_mut() {
            Some((last, before)) if span.0.since(last.1) <= tolerated.max(*before) => {
                last.1 = last.1.max(span.1);
                *before = tolerated;
            }
            _ => joined.push((span, tolerated)),
        }
    }
    joined.into_iter().map(|(span, _)| span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_secs(second)
    }

    fn written(seconds: impl IntoIterator<Item = u64>) -> Written {
        let mut presence = Presence::new(Duration::from_secs(60));
        seconds.into_iter().for_each(|second| presence.see(at(second)));
        presence.finish()
    }

    #[test]
    fn a_silence_is_a_gap_when_the_log_is_busy() {
        assert_eq!(written([]).spans, []);
        assert_eq!(written([7]).spans, [(at(7), at(7))]);
        let busy = written((1000..2000).chain(2500..4000));
        assert_eq!(busy.spans, [(at(1000), at(1999)), (at(2500), at(3999))]);
        let quiet = written([100, 400, 800, 1900, 2100]);
        assert_eq!(quiet.spans, [(at(100), at(2100))]);
    }

    #[test]
    fn rotated_logs_are_one_and_a_lost_one_is_a_gap() {
        let logs = [written(4000..5000), written(1000..2000), written(2001..2900), written(2800..3000)];
        assert_eq!(together(&logs), [(at(1000), at(2999)), (at(4000), at(4999))]);
    }
}
