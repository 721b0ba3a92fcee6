//! What fuzz targets do: read bytes as a log of a format, whole and dribbling, or as a feed of events, and hold the report
//! to what it promises.

use std::io::{self, Cursor, Read};
use std::path::Path;

use forebay_adapters::events::{EventOptions, UPLIFTS, parse_events};
use forebay_adapters::query::read_queries_from;
use forebay_adapters::{Input, LogFormat, QueryReport, ReadError, ReadOptions};

/// Reads bytes as a log; `None` for the format tells it by content.
pub fn read_log(format: Option<LogFormat>, bytes: &[u8]) {
    let options = ReadOptions { format, year: Some(2026), ..ReadOptions::default() };
    let whole = read(Input::from_reader("fuzz", Cursor::new(bytes.to_vec())), &options);
    let piece = 1 + bytes.first().map_or(0, |byte| usize::from(*byte));
    let dribbled = read(Input::from_reader("fuzz", Dribble(Cursor::new(bytes.to_vec()), piece)), &options);
    match (whole, dribbled) {
        (Ok(whole), Ok(dribbled)) => assert_eq!(whole, dribbled),
        (Err(whole), Err(dribbled)) => assert_eq!(whole.to_string(), dribbled.to_string()),
        (whole, dribbled) => panic!("{whole:?} differs from {dribbled:?}"),
    }
}

/// Reads bytes as a feed of events, for a window of a year.
pub fn read_events(bytes: &[u8]) {
    let day = |text: &str| text.parse().expect("a day");
    let options = EventOptions::of_window(day("2026-01-01"), day("2027-01-01"));
    match parse_events(Path::new("fuzz"), bytes.to_vec(), &options) {
        Ok(events) => {
            assert_eq!(events.report.events, events.events.len() as u64);
            assert!(events.events.is_sorted_by_key(|event| event.start));
            for event in &events.events {
                assert!(event.start < event.end, "{event:?}");
                assert!(event.start < options.until && event.end > options.from, "{event:?}");
                assert!(event.uplift.is_none_or(|uplift| UPLIFTS.contains(&uplift)), "{event:?}");
                assert!(!event.id.contains(|c: char| c.is_control()), "{event:?}");
            }
            assert!(!events.report.to_string().is_empty());
            let _ = events.report.sentences();
        }
        Err(error) => assert!(!error.hint().is_empty() && !error.allowed().is_empty(), "{error}"),
    }
}

fn read(input: Result<Input, ReadError>, options: &ReadOptions) -> Result<QueryReport, ReadError> {
    let mut shown = 0;
    let report = read_queries_from(input?, options, &mut |query| {
        shown += 1;
        assert!(query.name.is_ascii() && !query.name.bytes().any(|byte| byte.is_ascii_uppercase()), "{query:?}");
    });
    match &report {
        Ok(report) => {
            assert_eq!(report.queries, shown);
            let parts = [report.queries, report.skipped.total(), report.duplicates, report.malformed.count, report.cut];
            assert_eq!(report.records, parts.iter().sum::<u64>(), "{report:?}");
            assert!(!report.to_string().is_empty());
        }
        Err(error) => assert!(!error.hint().is_empty() && !error.allowed().is_empty(), "{error}"),
    }
    report
}

/// A source that gives little at a time, as a pipe may.
struct Dribble(Cursor<Vec<u8>>, usize);

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}
