use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::dns_message::tests::query;
use crate::frame_streams::tests::{start, stream};
use crate::input::tests::gzip;
use crate::prefix::Prefix;
use crate::query::read_queries_from;
use crate::query_report::Skip;
use crate::read_options::ReadOptions;

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes_field(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A frame as a server writes it.
pub(crate) fn frame(kind: u64, at: Timestamp, client: IpAddr, message: &[u8]) -> Vec<u8> {
    let mut inner = Vec::new();
    for (field, value) in [(1, kind), (2, 1), (3, 1)] {
        varint(field << 3, &mut inner);
        varint(value, &mut inner);
    }
    bytes_field(4, &octets(client), &mut inner);
    bytes_field(5, &[192, 0, 2, 53], &mut inner);
    for (field, value) in [(6, 40_000), (7, 53), (8, at.as_nanos() / 1_000_000_000)] {
        varint(field << 3, &mut inner);
        varint(value, &mut inner);
    }
    inner.push(9 << 3 | 5);
    inner.extend(((at.as_nanos() % 1_000_000_000) as u32).to_le_bytes());
    bytes_field(10, message, &mut inner);
    let mut outer = Vec::new();
    bytes_field(1, b"edge1", &mut outer);
    bytes_field(14, &inner, &mut outer);
    outer.extend([15 << 3, 1]);
    outer
}

/// What a query was, kept.
type Kept = (Timestamp, IpAddr, Option<IpAddr>, Option<Prefix>, String, u16, Vantage);

fn read(bytes: Vec<u8>) -> Result<(Vec<Kept>, QueryReport), ReadError> {
    let mut queries = Vec::new();
    let input = Input::from_reader("tap", Cursor::new(bytes))?;
    let report = read_queries_from(input, &ReadOptions::default(), &mut |q| {
        queries.push((q.at, q.client, q.server, q.ecs, q.name.to_owned(), q.qtype, q.vantage));
    })?;
    Ok((queries, report))
}

const AT: Timestamp = Timestamp::from_nanos(1_795_371_023_123_456_789);

fn client() -> IpAddr {
    "203.0.113.9".parse().unwrap()
}

#[test]
fn queries_are_told_by_where_they_were_seen() {
    let message = query(&[b"WWW", b"cdn", b"test"], 28, None);
    let frames: Vec<_> = (0..=15).map(|kind| frame(kind, AT, client(), &message)).collect();
    let (queries, report) = read(stream(frames.iter().map(Vec::as_slice))).unwrap();
    let vantages: Vec<_> = queries.iter().map(|q| q.6).collect();
    assert_eq!(vantages, [Vantage::Authority, Vantage::AfterResolver, Vantage::BeforeResolver]);
    let server = Some("192.0.2.53".parse().unwrap());
    assert_eq!(queries[0], (AT, client(), server, None, "www.cdn.test".into(), 28, Vantage::Authority));
    assert_eq!((report.records, report.queries, report.clients), (16, 3, 1));
    assert_eq!((report.skipped.get(Skip::Response), report.skipped.get(Skip::OtherMessage)), (7, 6));
    assert_eq!((report.first, report.last), (Some(AT), Some(AT)));
}

#[test]
fn responses_alone_are_said_to_be_that() {
    let frames = vec![frame(2, AT, client(), &[]); 4];
    let (queries, report) = read(stream(frames.iter().map(Vec::as_slice))).unwrap();
    assert!(queries.is_empty());
    assert!(report.remarks()[0].contains("only responses"), "{:?}", report.remarks());
}

#[test]
fn what_servers_receive_is_skipped_by_reason() {
    let good = query(&[b"a"], 1, None);
    let mut notify = good.clone();
    notify[2] = 0x20;
    let mut chaos = good.clone();
    *chaos.last_mut().unwrap() = 3;
    let frames = [
        frame(1, AT, client(), &good),
        frame(1, AT, client(), &notify),
        frame(1, AT, client(), &chaos),
        frame(1, AT, client(), &good[..9]),
    ];
    let (_, report) = read(stream(frames.iter().map(Vec::as_slice))).unwrap();
    let skipped: Vec<_> = report.skipped.iter().collect();
    assert_eq!(skipped, [(Skip::MalformedMessage, 1), (Skip::OtherOpcode, 1), (Skip::OtherClass, 1)]);
    // Messages that lack a part: only the type; type and time; type, time and address.
    let bare = |inner: &[u8]| {
        let mut outer = Vec::new();
        bytes_field(14, inner, &mut outer);
        outer
    };
    let frames = [bare(&[8, 1]), bare(&[8, 1, 64, 7]), bare(&[8, 1, 64, 7, 34, 4, 1, 2, 3, 4]), vec![15 << 3, 1]];
    let (_, report) = read(stream(frames.iter().map(Vec::as_slice))).unwrap();
    let skipped: Vec<_> = report.skipped.iter().collect();
    assert_eq!(skipped, [(Skip::OtherMessage, 1), (Skip::NoTime, 1), (Skip::NoClient, 1), (Skip::NoQuestion, 1)]);
}

#[test]
fn few_malformed_frames_are_counted_and_many_are_an_error() {
    let good = frame(1, AT, client(), &query(&[b"a"], 1, None));
    let bad = b"garbage".to_vec();
    let mut frames = vec![good; 100];
    frames.insert(40, bad.clone());
    let (_, report) = read(stream(frames.iter().map(Vec::as_slice))).unwrap();
    assert_eq!((report.queries, report.malformed.count, report.malformed.first.len()), (100, 1, 1));
    frames.insert(50, bad);
    let bytes = stream(frames.iter().map(Vec::as_slice));
    let error = read(bytes.clone()).unwrap_err();
    let Place::Byte(offset) = error.place() else { panic!() };
    assert_eq!(&bytes[offset as usize + 4..][..7], b"garbage");
    assert!(error.to_string().contains("no dnstap message (and 2 of 102 records in all)"), "{error}");
}

#[test]
fn a_truncated_last_frame_is_reported() {
    let good = frame(1, AT, client(), &query(&[b"a"], 1, None));
    let bytes = stream([&good[..], &good]);
    let (queries, report) = read(bytes[..bytes.len() - 20].to_vec()).unwrap();
    assert_eq!(queries.len(), 1);
    let offset = (start(crate::frame_streams::DNSTAP_CONTENT).len() + 4 + good.len()) as u64;
    assert_eq!(report.truncated, Some(Place::Byte(offset)));
    assert!(report.remarks()[0].contains("middle of a record"));
}

#[test]
fn a_truncated_gzip_is_an_error() {
    let good = frame(1, AT, client(), &query(&[b"a"], 1, None));
    let bytes = gzip(&stream(std::iter::repeat_n(&good[..], 500)));
    assert_eq!(read(bytes.clone()).unwrap().0.len(), 500);
    assert!(matches!(read(bytes[..bytes.len() - 9].to_vec()), Err(ReadError::TruncatedGzip { .. })));
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|b| Ipv4Addr::from(b).into()),
        any::<u128>().prop_map(|b| Ipv6Addr::from(b).into())
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(rows in proptest::collection::vec(
        (any_address(), proptest::option::of((any_address(), 1u8..=32)), "[a-z0-9-]{1,20}", any::<u16>(), any::<u64>(), 0usize..3), 0..20),
    ) {
        let kinds = [(1, Vantage::Authority), (5, Vantage::BeforeResolver), (3, Vantage::AfterResolver)];
        let mut wanted = Vec::new();
        let frames: Vec<_> = rows.iter().map(|(client, ecs, label, qtype, nanos, kind)| {
            let (at, ecs) = (Timestamp::from_nanos(*nanos), ecs.and_then(|(a, l)| Prefix::new(a, l)));
            let server = Some("192.0.2.53".parse().unwrap());
            wanted.push((at, client.to_canonical(), server, ecs, format!("{label}.cdn.test"), *qtype, kinds[*kind].1));
            frame(kinds[*kind].0, at, *client, &query(&[label.as_bytes(), b"cdn", b"test"], *qtype, ecs))
        }).collect();
        let (queries, report) = read(stream(frames.iter().map(Vec::as_slice))).unwrap();
        prop_assert_eq!(report.queries, wanted.len() as u64);
        prop_assert_eq!(report.with_ecs, wanted.iter().filter(|w| w.3.is_some()).count() as u64);
        prop_assert_eq!(queries, wanted);
    }

    #[test]
    fn no_message_panics(frame in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut name = NameBuffer::new();
        if let Some(message) = read_message(&frame) {
            let _ = message.ask(&mut name);
        }
    }

    #[test]
    fn no_damage_to_a_valid_file_panics(damage in proptest::collection::vec((0usize..2000, any::<u8>()), 1..12), cut in 40usize..2000) {
        let good = frame(1, AT, client(), &query(&[b"video", b"cdn"], 1, Some("2001:db8::/56".parse().unwrap())));
        let mut bytes = stream(std::iter::repeat_n(&good[..], 12));
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(cut);
        if let Err(error) = read(bytes) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
