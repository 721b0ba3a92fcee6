//! What fuzz targets do: read bytes as a log of a format, whole and dribbling, as a feed of events, as what an OVSDB server
//! says, or as what somebody asks our own name server, and hold what comes of it to what is promised.

use std::io::{self, Cursor, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use forebay_adapters::events::{EventOptions, UPLIFTS, parse_events};
use forebay_adapters::ovsdb::{Datum, Message, MessageError, MessageReader, Row, Schema};
use forebay_adapters::query::read_queries_from;
use forebay_adapters::steering::responder::{RegionOf, SubZone, Table, Transported, respond};
use forebay_adapters::steering::{Clients, DnsName, Share, Shares, WHOLE};
use forebay_adapters::{Input, LogFormat, QueryReport, ReadError, ReadOptions};
use forebay_world::RegionId;

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

/// Asks our own name server: whatever is asked, the answer fits, is one to that message, and is the same by the same way.
pub fn ask_responder(bytes: &[u8]) {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(table);
    let from = "198.51.100.77".parse().expect("an address");
    for (transported, most) in [(Transported::Udp, 1232), (Transported::Tcp, 65_535)] {
        let answer = respond(table, bytes, from, transported);
        if let Some(answer) = &answer {
            assert!(answer.len() >= 12 && answer.len() <= most && answer[..2] == bytes[..2] && answer[2] & 0x80 != 0);
        }
        assert_eq!(answer, respond(table, bytes, from, transported));
    }
}

fn table() -> Table {
    let name = |text: &str| -> DnsName { text.parse().expect("a name") };
    let pool = |members: &[(&str, u32)]| {
        let share = |(address, parts): &(&str, u32)| {
            (address.parse().expect("an address"), Share { site: RegionId(0), parts: *parts })
        };
        members.iter().map(share).collect()
    };
    let others = pool(&[("192.0.2.1", 7_000), ("192.0.2.2", 3_000), ("2001:db8::1", WHOLE)]);
    let region = pool(&[("192.0.2.3", WHOLE)]);
    let pools = [(Clients::Others, others), (Clients::Region("ams".to_owned()), region)].into();
    let names = [(name("v.e.t"), Shares { ttl_seconds: 20, pools })].into();
    let zone = SubZone {
        name: name("e.t"),
        name_servers: [(name("ns.e.t"), vec![from_here()])].into(),
        hostmaster: name("admin.t"),
        negative_ttl_seconds: 20,
    };
    let region_of: RegionOf = Arc::new(|network| network.contains(from_here()).then(|| "ams".to_owned()));
    Table::new(zone, 1, Some(region_of), &names)
}

fn from_here() -> IpAddr {
    IpAddr::from([203, 0, 113, 1])
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
