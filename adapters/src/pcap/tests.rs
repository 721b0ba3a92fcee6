use std::io::Cursor;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;
use crate::dns_message::tests::query;
use crate::query::read_queries_from;
use forebay_world::Duration;

const AT: Timestamp = Timestamp::from_nanos(1_795_371_023_123_456_000);

/// A file of Ethernet frames in one of the framings.
fn pcap(packets: &[Vec<u8>], big_endian: bool, nanos: bool, link: u32) -> Vec<u8> {
    let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = word(if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }).to_vec();
    file.extend([word(0x0002_0004), word(0), word(0), word(65535), word(link)].concat());
    for packet in packets {
        let fraction = (AT.as_nanos() % 1_000_000_000) as u32 / if nanos { 1 } else { 1000 };
        let length = packet.len() as u32;
        file.extend([word(1_795_371_023), word(fraction), word(length), word(length)].concat());
        file.extend(packet);
    }
    file
}

fn pcapng(packets: &[Vec<u8>], big_endian: bool, resolution: Option<u8>) -> Vec<u8> {
    let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let block = |kind: u32, body: Vec<u8>| {
        let length = word(12 + body.len() as u32);
        [&word(kind)[..], &length, &body, &length].concat()
    };
    let mut file = block(0x0a0d_0d0a, [&word(0x1a2b_3c4d)[..], &half(1), &half(0), &[0xff; 8]].concat());
    let options = match resolution {
        Some(value) => [&half(9)[..], &half(1), &[value, 0, 0, 0], &half(0), &half(0)].concat(),
        None => Vec::new(),
    };
    file.extend(block(1, [&half(1)[..], &half(0), &word(0), &options].concat()));
    file.extend(block(0x0bad, vec![0; 8]));
    for packet in packets {
        let ticks = match resolution.unwrap_or(6) {
            9 => AT.as_nanos(),
            _ => AT.as_nanos() / 1000,
        };
        let length = word(packet.len() as u32);
        let mut body = [word(0), word((ticks >> 32) as u32), word(ticks as u32), length, length].concat();
        body.extend(packet);
        body.resize(body.len().next_multiple_of(4), 0);
        file.extend(block(6, body));
    }
    file
}

fn udp(from: (&str, u16), to: (&str, u16), payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ethernet2([1; 6], [2; 6]);
    match (from.0.parse().unwrap(), to.0.parse().unwrap()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            builder.ipv4(a.octets(), b.octets(), 64).udp(from.1, to.1).write(&mut packet, payload).unwrap();
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            builder.ipv6(a.octets(), b.octets(), 64).udp(from.1, to.1).write(&mut packet, payload).unwrap();
        }
        _ => unreachable!("one family"),
    }
    packet
}

fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([192, 0, 2, 1], [192, 0, 2, 53], 64)
        .tcp(4000, 53, 1, 100)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

type Kept = (Timestamp, String, Option<String>, String, Vantage);

fn read_with(bytes: Vec<u8>, options: &ReadOptions) -> Result<(Vec<Kept>, QueryReport), ReadError> {
    let mut queries = Vec::new();
    let report = read_queries_from(Input::from_reader("cap", Cursor::new(bytes))?, options, &mut |q| {
        queries.push((q.at, q.client.to_string(), q.ecs.map(|ecs| ecs.to_string()), q.name.to_owned(), q.vantage));
    })?;
    assert_eq!(report.records, report.queries + report.skipped.total() + report.duplicates);
    Ok((queries, report))
}

fn read(bytes: Vec<u8>) -> Result<(Vec<Kept>, QueryReport), ReadError> {
    read_with(bytes, &ReadOptions::default())
}

fn message() -> Vec<u8> {
    query(&[b"Video", b"cdn"], 1, Some("203.0.113.0/24".parse().unwrap()))
}

fn prefixed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

#[test]
fn every_framing_has_the_same_queries() {
    let mut recursive = message();
    recursive[2] |= 1;
    let packets = [
        udp(("192.0.2.1", 4000), ("192.0.2.53", 53), &message()),
        udp(("2001:db8::1", 4001), ("2001:db8::53", 53), &recursive),
    ];
    let subnet = Some("203.0.113.0/24".to_owned());
    let want = [
        (AT, "192.0.2.1".to_owned(), subnet.clone(), "video.cdn".to_owned(), Vantage::Authority),
        (AT, "2001:db8::1".to_owned(), subnet, "video.cdn".to_owned(), Vantage::BeforeResolver),
    ];
    for big_endian in [false, true] {
        for file in [
            pcap(&packets, big_endian, false, 1),
            pcap(&packets, big_endian, true, 1),
            pcapng(&packets, big_endian, None),
            pcapng(&packets, big_endian, Some(9)),
            [pcapng(&packets[..1], !big_endian, None), pcapng(&packets[1..], big_endian, None)].concat(),
        ] {
            let (queries, report) = read(file).unwrap();
            assert_eq!((report.format, queries.as_slice(), report.truncated), (LogFormat::Pcap, &want[..], None));
        }
    }
}

#[test]
fn every_link_is_stepped_over() {
    let ethernet = udp(("192.0.2.1", 4000), ("192.0.2.53", 53), &message());
    let ip = &ethernet[14..];
    let vlan = [&ethernet[..12], &[0x81, 0, 0, 7], &ethernet[12..]].concat();
    let double = [&ethernet[..12], &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7], &ethernet[12..]].concat();
    let cooked = [&[0u8; 14][..], &[8, 0], ip].concat();
    let cooked2 = [&[8u8, 0][..], &[0; 18], ip].concat();
    let loopback = [&[2u8, 0, 0, 0][..], ip].concat();
    for (link, packet) in [
        (1, ethernet.clone()),
        (1, vlan),
        (1, double),
        (113, cooked),
        (276, cooked2),
        (0, loopback),
        (101, ip.to_vec()),
        (228, ip.to_vec()),
    ] {
        let (queries, report) = read(pcap(&[packet], false, false, link)).unwrap();
        assert_eq!(queries.len(), 1, "{link}: {report}");
    }
    let error = read(pcap(&[ethernet], false, false, 105)).unwrap_err();
    assert!(error.to_string().contains("packets of link type 105"), "{error}");
}

#[test]
fn packets_without_a_query_are_told_apart() {
    let mut response = message();
    response[2] |= 0x80;
    let ends = (("192.0.2.1", 4000), ("192.0.2.53", 53));
    let mut fragment = udp(ends.0, ends.1, &message());
    fragment[20] = 0x20; // more fragments
    let mut arp = vec![0; 42];
    arp[12..14].copy_from_slice(&[8, 6]);
    let packets = [
        udp(ends.1, ends.0, &response),
        udp(ends.0, ("192.0.2.53", 443), &message()),
        udp(ends.0, ends.1, &[0; 8]),
        fragment,
        arp,
        tcp(&[]),
    ];
    let (queries, report) = read(pcap(&packets, false, false, 1)).unwrap();
    assert!(queries.is_empty());
    let skipped: Vec<_> = report.skipped.iter().collect();
    let want = [(Skip::Response, 1), (Skip::MalformedMessage, 1), (Skip::OtherPacket, 3), (Skip::PartialPacket, 1)];
    assert_eq!(skipped, want);
}

#[test]
fn messages_over_tcp_count_when_they_lie_in_one_segment() {
    let whole = prefixed(&message());
    let two = [whole.clone(), whole.clone()].concat();
    let packets = [
        tcp(&whole),
        tcp(&two),
        tcp(&whole[..20]),
        tcp(&whole[20..]),
        tcp(&whole[..2]),
        tcp(&[whole, vec![0]].concat()),
    ];
    let (queries, report) = read(pcap(&packets, false, false, 1)).unwrap();
    assert_eq!((queries.len(), report.skipped.get(Skip::SplitMessage)), (4, 4));
}

#[test]
fn a_packet_captured_twice_counts_once_when_asked_for() {
    let packets = [
        udp(("192.0.2.1", 4000), ("192.0.2.53", 53), &message()),
        udp(("192.0.2.1", 4000), ("192.0.2.53", 53), &message()),
        udp(("192.0.2.1", 4001), ("192.0.2.53", 53), &message()),
    ];
    let file = pcap(&packets, false, false, 1);
    assert_eq!(read(file.clone()).unwrap().1.duplicates, 0);
    let options = ReadOptions { dedupe: Some(Duration::from_millis(1)), ..ReadOptions::default() };
    let (queries, report) = read_with(file, &options).unwrap();
    assert_eq!((queries.len(), report.duplicates), (2, 1));
}

#[test]
fn a_capture_that_ends_early_or_loses_its_framing_says_where() {
    let packet = udp(("192.0.2.1", 4000), ("192.0.2.53", 53), &message());
    let packets = [packet];
    for file in [pcap(&packets, false, false, 1), pcapng(&packets, false, None)] {
        let begin = file.len() as u64;
        let both = [&file[..], &file[if file[0] == 0x0a { 0 } else { 24 }..]].concat();
        let (queries, report) = read(both[..both.len() - 3].to_vec()).unwrap();
        assert_eq!(queries.len(), 1);
        assert!(matches!(report.truncated, Some(Place::Byte(at)) if at >= begin), "{report:?}");
    }
    let mut file = pcap(&packets, false, false, 1);
    file[24 + 11] = 0x7f;
    let error = read(file).unwrap_err();
    assert_eq!(error.place(), Place::Byte(24));
}

proptest! {
    #[test]
    fn no_damage_panics(
        damage in proptest::collection::vec((0usize..600, any::<u8>()), 0..10),
        cut in 0usize..300,
        kind in 0usize..4,
    ) {
        let packets = [udp(("192.0.2.1", 4000), ("192.0.2.53", 53), &message()), tcp(&prefixed(&message()))];
        let mut file = match kind {
            0 => pcap(&packets, false, false, 1),
            1 => pcap(&packets, true, true, 113),
            2 => pcapng(&packets, false, Some(9)),
            _ => pcapng(&packets, true, None),
        };
        for (at, byte) in damage {
            let at = at % file.len();
            file[at] = byte;
        }
        file.truncate(file.len().saturating_sub(cut));
        let _ = read_with(file, &ReadOptions { format: Some(LogFormat::Pcap), ..ReadOptions::default() });
    }

    #[test]
    fn no_interface_panics(body in proptest::collection::vec(any::<u8>(), 0..60), ticks: u64, resolution: u8, offset: i64) {
        let _ = read_interface(&body, true);
        for kind in [2, 3, 6] {
            let _ = read_packet(kind, &body, false, &[Interface { link: Some(Link::Ethernet), resolution, offset }]);
        }
        let _ = Interface { link: None, resolution, offset }.time(ticks);
    }
}
