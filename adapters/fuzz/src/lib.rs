//! What fuzz targets do: read bytes as a log of a format, whole and dribbling, as a feed of events, or as what an OVSDB
//! server says, and hold what comes of it to what is promised.

use std::io::{self, Cursor, Read};
use std::path::Path;

use forebay_adapters::events::{EventOptions, UPLIFTS, parse_events};
use forebay_adapters::ovsdb::{Datum, Message, MessageError, MessageReader, Row, Schema};
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

/// Reads bytes as messages of an OVSDB server: what comes does not depend on the pieces, and what is data in a message is
/// written as it was read.
pub fn read_ovsdb(bytes: &[u8]) {
    let (whole, error) = ovsdb_messages(bytes, bytes.len().max(1));
    let piece = 1 + bytes.first().map_or(0, |byte| usize::from(*byte) % 16);
    let (pieces, pieces_error) = ovsdb_messages(bytes, piece);
    assert_eq!(whole, pieces);
    // What is shown of a stream that is no JSON is as much as has come.
    let kind = |error: Option<MessageError>| error.map(|error| std::mem::discriminant(&error));
    assert_eq!(kind(error), kind(pieces_error));
    for message in whole {
        let (Message::Reply { result: value, .. }
        | Message::Request { params: value, .. }
        | Message::Notification { params: value, .. }) = message;
        if let Ok(datum) = Datum::from_json(&value) {
            assert_eq!(Datum::from_json(&datum.to_json()).as_ref(), Ok(&datum));
        }
        if let Ok(row) = Row::from_json(&value) {
            assert_eq!(Row::from_json(&row.to_json()).as_ref(), Ok(&row));
        }
        if let Ok(schema) = Schema::from_json(&value) {
            for column in schema.tables.values().flat_map(|table| table.columns.values()) {
                let default = column.default_datum();
                assert_eq!(column.datum(&default.to_json()).as_ref(), Ok(&default));
            }
        }
    }
}

fn ovsdb_messages(bytes: &[u8], piece: usize) -> (Vec<Message>, Option<MessageError>) {
    let (mut reader, mut found) = (MessageReader::new(1000), Vec::new());
    for piece in bytes.chunks(piece) {
        reader.push(piece);
        loop {
            match reader.next_message() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
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
