use std::io::Cursor;
use std::net::IpAddr;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::error::Place;
use crate::input::tests::{Dribble, gzip};
use crate::query_report::Skip;
use crate::read_options::{FieldNames, TimeUnit};
use forebay_world::Duration;

/// Time, client, client subnet, name, type.
type Kept = (String, String, Option<String>, String, u16);

fn read_as(text: impl Into<Vec<u8>>, options: &ReadOptions) -> Result<(Vec<Kept>, QueryReport), ReadError> {
    let mut queries = Vec::new();
    let input = Input::from_reader("log", Cursor::new(text.into()))?;
    let report = read_queries_from(input, options, &mut |q| {
        let ecs = q.ecs.map(|ecs| ecs.to_string());
        queries.push((q.at.to_string(), q.client.to_string(), ecs, q.name.to_owned(), q.qtype));
    })?;
    assert_eq!(
        report.records,
        report.queries + report.skipped.total() + report.duplicates + report.malformed.count + report.cut
    );
    Ok((queries, report))
}

/// In November 2026.
fn options() -> ReadOptions {
    ReadOptions { now: Some("2026-11-23T00:00:00Z".parse().unwrap()), ..ReadOptions::default() }
}

fn read(text: impl Into<Vec<u8>>) -> Result<(Vec<Kept>, QueryReport), ReadError> {
    read_as(text, &options())
}

/// A line of each kind, and the query in it; `None` for a line that is none.
type Sample = (LogFormat, &'static str, Option<(&'static str, &'static str, Option<&'static str>, &'static str, u16)>);

const SAMPLES: &[Sample] = &[
    (
        LogFormat::Bind,
        "2026-11-22T17:47:58.683Z queries: info: client @0x7fa5074e3098 127.0.0.1#41018 (video.cdn.test): query: video.cdn.test IN A +E(0) (127.0.0.1) [ECS 203.0.113.0/24/0]",
        Some(("2026-11-22T17:47:58.683Z", "127.0.0.1", Some("203.0.113.0/24"), "video.cdn.test", 1)),
    ),
    (
        LogFormat::Bind,
        "22-Nov-2026 17:47:11.511 client @0x7f 2001:db8::1#5300/key edge (A.test): view east: query: A.test IN AAAA -E(0)DCK (2001:db8::53)",
        Some(("2026-11-22T17:47:11.511Z", "2001:db8::1", None, "a.test", 28)),
    ),
    (
        LogFormat::Bind,
        "Nov 22 17:47:11 ns1 named[12]: client 192.0.2.1#53 (.): query: . IN NS -T (192.0.2.53)",
        Some(("2026-11-22T17:47:11Z", "192.0.2.1", None, "", 2)),
    ),
    (
        LogFormat::Bind,
        "2026-11-22T17:47:58.683 client 192.0.2.1#53: query: a\\032b.test IN TYPE65280 -",
        Some(("2026-11-22T17:47:58.683Z", "192.0.2.1", None, "a\\032b.test", 65280)),
    ),
    (LogFormat::Bind, "2026-11-22T17:47:58.683Z general: info: zone cdn.test/IN: loaded serial 7", None),
    (
        LogFormat::Bind,
        "2026-11-22T17:47:58.683Z client @0x7f 192.0.2.1#53 (a): query: version.bind CH TXT +E(0) (192.0.2.53)",
        None,
    ),
    (
        LogFormat::PowerDns,
        "Nov 22 18:08:59 Remote 127.0.0.1<-81.2.69.0/24 wants 'cc.cdn.test|TXT', do = 0, bufsize = 1232 (4096)",
        Some(("2026-11-22T18:08:59Z", "127.0.0.1", Some("81.2.69.0/24"), "cc.cdn.test", 16)),
    ),
    (
        LogFormat::PowerDns,
        "Nov 22 18:08:59 ns1 pdns_server[7]: Remote 2001:db8::9 wants 'a.test|AAAA', do = 1, bufsize = 512: packetcache MISS",
        Some(("2026-11-22T18:08:59Z", "2001:db8::9", None, "a.test", 28)),
    ),
    (LogFormat::PowerDns, "Nov 22 18:08:58 Done launching threads, ready to distribute questions", None),
    (
        LogFormat::Unbound,
        "[1795371023] unbound[19243:0] info: 127.0.0.1 www.cdn.test. A IN",
        Some(("2026-11-22T18:10:23Z", "127.0.0.1", None, "www.cdn.test", 1)),
    ),
    (
        LogFormat::Unbound,
        "Nov 22 18:10:23 unbound[19243:0] query: 2001:db8::1 www.cdn.test. HTTPS IN",
        Some(("2026-11-22T18:10:23Z", "2001:db8::1", None, "www.cdn.test", 65)),
    ),
    (
        LogFormat::Unbound,
        "[1795371023] unbound[19243:0] info: 127.0.0.1 www.cdn.test. A IN NOERROR 0.000490 0 62",
        None,
    ),
    (LogFormat::Unbound, "[1795371023] unbound[19243:0] notice: init module 0: iterator", None),
    (
        LogFormat::Dnsmasq,
        "Nov 22 18:00:00 dnsmasq[123]: query[A] example.com from 192.168.1.5",
        Some(("2026-11-22T18:00:00Z", "192.168.1.5", None, "example.com", 1)),
    ),
    (
        LogFormat::Dnsmasq,
        "Nov 22 18:00:00 pi dnsmasq[123]: 17 192.168.1.5/40213 query[type=65] example.com from 192.168.1.5",
        Some(("2026-11-22T18:00:00Z", "192.168.1.5", None, "example.com", 65)),
    ),
    (LogFormat::Dnsmasq, "Nov 22 18:00:00 dnsmasq[123]: forwarded example.com to 9.9.9.9", None),
    (
        LogFormat::Route53,
        "1.0 2017-12-13T08:16:02.130Z Z123412341234 example.com A NOERROR UDP FRA6 192.168.1.1 -",
        Some(("2017-12-13T08:16:02.13Z", "192.168.1.1", None, "example.com", 1)),
    ),
    (
        LogFormat::Route53,
        "2017-12-13T08:16:02.130Z 1.0 2017-12-13T08:16:02.130Z Z1 example.com AAAA NXDOMAIN TCP IAD12 2001:db8::1 198.51.100.0/24",
        Some(("2017-12-13T08:16:02.13Z", "2001:db8::1", Some("198.51.100.0/24"), "example.com", 28)),
    ),
    (
        LogFormat::Cloudflare,
        r#"{"ColoCode":"AMS","EDNSSubnet":"203.0.113.0","EDNSSubnetLength":24,"QueryName":"Edge.example.com","QueryType":28,"ResponseCached":false,"ResponseCode":0,"SourceIP":"192.0.2.7","Timestamp":1795371023000000000}"#,
        Some(("2026-11-22T18:10:23Z", "192.0.2.7", Some("203.0.113.0/24"), "edge.example.com", 28)),
    ),
    (
        LogFormat::Cloudflare,
        r#"{"EDNSSubnet":"","EDNSSubnetLength":0,"QueryName":"a.test","QueryType":1,"SourceIP":"2001:db8::7","Timestamp":"2026-11-22T18:10:23Z"}"#,
        Some(("2026-11-22T18:10:23Z", "2001:db8::7", None, "a.test", 1)),
    ),
    (
        LogFormat::AdGuard,
        r#"{"T":"2025-11-30T08:26:26.428561+01:00","QH":"www.roblox.com","QT":"A","QC":"IN","CP":"","IP":"192.168.1.10","Result":{"Reason":1}}"#,
        Some(("2025-11-30T07:26:26.428561Z", "192.168.1.10", None, "www.roblox.com", 1)),
    ),
    (
        LogFormat::ZeekJson,
        r#"{"ts":1521911720.865716,"uid":"CqKst","id.orig_h":"10.47.1.100","id.orig_p":41772,"id.resp_h":"10.0.0.100","id.resp_p":53,"proto":"udp","trans_id":36329,"query":"caf\\xc3\\xa9.fr","qclass":1,"qclass_name":"C_INTERNET","qtype":1,"qtype_name":"A","AA":false,"TTLs":[60.0]}"#,
        Some(("2018-03-24T17:15:20.865716Z", "10.47.1.100", None, "caf\\195\\169.fr", 1)),
    ),
    (
        LogFormat::ZeekJson,
        r#"{"ts":1521911720.86,"uid":"C","id.orig_h":"10.47.1.100","id.orig_p":5,"id.resp_h":"10.0.0.1","id.resp_p":53,"trans_id":1,"rcode":0}"#,
        None,
    ),
    (
        LogFormat::Json,
        r#"{"timestamp":"2026-11-22T18:10:23.5Z","client_ip":"192.0.2.1","qname":"a\u002eb.test.","type":"MX","subnet":"203.0.113.0/24","more":{"time":3}}"#,
        Some(("2026-11-22T18:10:23.5Z", "192.0.2.1", Some("203.0.113.0/24"), "a.b.test", 15)),
    ),
];

#[test]
fn every_format_reads_its_samples_and_is_told_by_them() {
    for &(format, line, want) in SAMPLES {
        let named = ReadOptions { format: Some(format), ..options() };
        // A query beside it, so that a line that is none stands in a log of queries.
        let first = SAMPLES.iter().find(|sample| sample.0 == format).unwrap();
        let other = if want.is_none() { format!("{}\n", first.1) } else { String::new() };
        for (text, options) in [(format!("{other}{line}\n"), named), (format!("{other}{line}"), options())] {
            let (queries, report) = read_as(text, &options).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(report.format, format, "{line}");
            assert_eq!((report.malformed.count, report.truncated), (0, None), "{line}: {report:?}");
            let found: Vec<_> = queries.iter().skip(usize::from(want.is_none())).collect();
            match want {
                Some((at, client, ecs, name, qtype)) => {
                    let want = (at.to_owned(), client.to_owned(), ecs.map(str::to_owned), name.to_owned(), qtype);
                    assert_eq!(found, [&want], "{line}");
                    assert_eq!(report.with_ecs, u64::from(ecs.is_some()));
                }
                None => assert_eq!((found.len(), report.skipped.total()), (0, 1), "{line}"),
            }
        }
    }
    let told: std::collections::BTreeSet<_> = SAMPLES.iter().map(|sample| sample.0).collect();
    for format in LogFormat::ALL {
        // These have tests of their own.
        let elsewhere = matches!(format, LogFormat::Dnstap | LogFormat::Pcap | LogFormat::Zeek | LogFormat::Csv);
        assert!(elsewhere != told.contains(&format), "{format} has no sample");
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert!("bnid".parse::<LogFormat>().unwrap_err().to_string().contains("allowed: dnstap, pcap, zeek"));
}

#[test]
fn a_format_is_told_from_pipes_and_gzip_alike() {
    let text = format!("{}\n", SAMPLES[0].1).repeat(500);
    for bytes in [text.clone().into_bytes(), gzip(text.as_bytes())] {
        let input = Input::from_reader("log", Dribble(bytes, 7)).unwrap();
        let report = read_queries_from(input, &options(), &mut |_| ()).unwrap();
        assert_eq!((report.format, report.queries), (LogFormat::Bind, 500));
    }
}

#[test]
fn tables_are_read_by_the_names_of_their_columns() {
    let row = |text: &str| read(text).unwrap().0;
    let want = |at: &str, ecs: Option<&str>| {
        vec![(at.to_owned(), "192.0.2.1".to_owned(), ecs.map(str::to_owned), "a.test".to_owned(), 28)]
    };
    let at = "2026-11-22T18:10:23Z";
    assert_eq!(
        row("time,client,name,qtype,ecs\n1795371023,192.0.2.1,a.test,AAAA,203.0.113.0/24\n"),
        want(at, Some("203.0.113.0/24"))
    );
    assert_eq!(row("\u{feff}Timestamp;QName;QType;Src_IP\n2026-11-22 18:10:23;A.test.;28;192.0.2.1\n"), want(at, None));
    assert_eq!(row("x\tts\tquery\tqtype\tclient\ny\t1795371023000000\ta.test\tTYPE28\t192.0.2.1"), want(at, None));
    assert_eq!(
        row(
            "# kept by hand\n\n\"time\",\"client\",\"name\",\"qtype\"\n\"1795371023.0\",\"192.0.2.1\",\"a.test\",\"AAAA\"\n"
        ),
        want(at, None)
    );
    let fields = FieldNames {
        time: Some("when".into()),
        time_unit: Some(TimeUnit::Milliseconds),
        client: Some("who".into()),
        name: Some("what".into()),
        ..FieldNames::default()
    };
    let named = ReadOptions { fields: fields.clone(), ..options() };
    for text in ["when,who,what\n5,192.0.2.1,a.test\n", r#"{"when":5,"who":"192.0.2.1","what":"a.test"}"#] {
        let (queries, report) = read_as(text, &named).unwrap();
        assert_eq!(queries[0].0, "1970-01-01T00:00:00.005Z");
        assert_eq!(queries[0].4, 1);
        assert!(report.remarks()[0].contains("every query was taken to be for an address"), "{report:?}");
    }
    let (queries, report) = read("time,client,name,qtype\n7,192.0.2.1,\"a\"\"b, c\",A\n8,,d,A\n9,192.0.2.1,e,\n10,192.0.2.1,,A\n,192.0.2.1,x,A\n").unwrap();
    assert_eq!(queries.iter().map(|q| q.3.as_str()).collect::<Vec<_>>(), ["a\"b,\\032c", "e", ""]);
    let skipped: Vec<_> = report.skipped.iter().collect();
    assert_eq!(skipped, [(Skip::NoTime, 1), (Skip::NoClient, 1)]);
    let error = read_as("time,value\n1,2\n", &ReadOptions { format: Some(LogFormat::Csv), ..options() }).unwrap_err();
    assert_eq!(error.to_string().split(';').next().unwrap(), "log:1: no column client, name in \"time,value\"");
}

#[test]
fn tables_may_be_put_together() {
    let text = "time,client,name,qtype\n1,192.0.2.1,a,A\n2,192.0.2.1,b,A\ntime,client,name,qtype\n3,192.0.2.1,c,A\n4,192.0.2\n\
                name,time,client,qtype,ecs\nd,5,192.0.2.1,A,\n";
    let (queries, report) = read(text).unwrap();
    assert_eq!(queries.iter().map(|q| q.3.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!((report.headers, report.malformed.count), (3, 1));
    assert_eq!(report.malformed.first, [(Place::Line(6), "2 fields, not 4".to_owned())]);
}

#[test]
fn a_line_cut_by_rotation_costs_itself_and_what_is_glued_to_it() {
    for &(format, line, want) in SAMPLES.iter().filter(|sample| sample.2.is_some()) {
        let whole = want.unwrap().3;
        for cut in 1..line.len() - 1 {
            if !line.is_char_boundary(cut) {
                continue;
            }
            let glued = format!("{line}\n{line}\n{line}\n{}{line}\n{line}\n", &line[..cut]);
            let named = ReadOptions { format: Some(format), dedupe: Some(Duration::ZERO), ..options() };
            let (queries, report) =
                read_as(glued, &named).unwrap_or_else(|error| panic!("{line} cut at {cut}: {error}"));
            assert!(queries.iter().all(|q| q.3 == whole), "{line} cut at {cut}: {queries:?}");
            assert!((4..=5).contains(&queries.len()), "{line} cut at {cut}: {report:?}");
        }
    }
}

#[test]
fn a_log_that_ends_early_says_where() {
    let line = SAMPLES[0].1;
    let (queries, report) = read(format!("{line}\n{}", &line[..110])).unwrap();
    assert_eq!((queries.len(), report.truncated, report.malformed.count), (1, Some(Place::Line(2)), 0));
}

#[test]
fn a_file_of_something_else_is_an_error_with_its_line() {
    let named = |format| ReadOptions { format: Some(format), ..options() };
    let alien = "alpha beta\ngamma delta\n";
    for format in [
        LogFormat::Bind,
        LogFormat::PowerDns,
        LogFormat::Unbound,
        LogFormat::Dnsmasq,
        LogFormat::Route53,
        LogFormat::Cloudflare,
        LogFormat::Json,
    ] {
        let error = read_as(alien, &named(format)).unwrap_err();
        assert_eq!(error.place(), Place::Line(1), "{error}");
        assert!(error.to_string().contains("and 2 of 2 records in all") && error.hint().contains("format"), "{error}");
    }
    // One line in two is tolerated, one more is not.
    let bind = SAMPLES[0].1;
    assert_eq!(read(format!("{bind}\nalien\n")).unwrap().1.malformed.count, 1);
    let error = read_as(format!("{bind}\nalien\nalien\n"), &named(LogFormat::Bind)).unwrap_err();
    assert_eq!(error.place(), Place::Line(2));
    let error = read_as("2026-11-22T17:47:58Z GET /index.html\n", &named(LogFormat::Bind)).unwrap_err();
    assert!(
        error.to_string().contains("none of 1 lines is a query") && error.hint().contains("switched on"),
        "{error}"
    );
}

#[test]
fn other_files_are_not_recognised() {
    let check = |bytes: &[u8], want: &str| {
        let error = read(bytes).unwrap_err();
        assert!(error.to_string().starts_with(want), "{error}");
    };
    check(b"", "log: an empty file; allowed: dnstap, pcap, Zeek");
    check(b"{\"ts\":1}\n", "log: JSON without the fields of a query");
    check(b"# a comment\ntimestamp,value\n", "log: a file that begins with \"# a comment\u{fffd}");
    check(b"timestamp,value\n1,2\n", "log: a file that begins with \"timestamp,va\"");
    check(&[0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0], "log: a file that begins with");
}

#[test]
fn a_year_and_a_zone_are_asked_for_or_assumed_aloud() {
    let line = "Nov 22 18:08:59 Remote 127.0.0.1 wants 'a|A', do = 0, bufsize = 512\n";
    let error = read_as(line, &ReadOptions::default()).unwrap_err();
    assert_eq!(error.place(), Place::Line(1));
    assert!(error.to_string().contains("times without a year") && error.hint().contains("give the year"), "{error}");
    let (queries, report) = read(line).unwrap();
    assert_eq!(queries[0].0, "2026-11-22T18:08:59Z");
    let remarks = report.remarks().join("\n");
    assert!(remarks.contains("no zone and were taken as UTC") && remarks.contains("no year"), "{remarks}");
    let zone = Some(TimeZone::get("America/New_York").unwrap());
    let (queries, report) = read_as(line, &ReadOptions { zone, year: Some(2020), ..ReadOptions::default() }).unwrap();
    assert_eq!(queries[0].0, "2020-11-22T23:08:59Z");
    assert!(!report.remarks().join("\n").contains("UTC"));
    assert!(read(SAMPLES[0].1).unwrap().1.remarks().is_empty());
}

#[test]
fn replies_stand_for_queries_only_without_them() {
    let query = "[1795371023] unbound[1:0] info: 127.0.0.1 a. A IN\n";
    let reply = "[1795371023] unbound[1:0] info: 127.0.0.1 a. A IN NOERROR 0.0 0 62\n";
    let (queries, report) = read(reply.repeat(3)).unwrap();
    assert_eq!((queries.len(), report.skipped.total()), (3, 0));
    assert!(report.remarks()[0].contains("replies only"));
    let (queries, report) = read(format!("{reply}{query}{reply}")).unwrap();
    assert_eq!((queries.len(), report.skipped.get(Skip::Response)), (1, 2));
}

#[test]
fn repeats_are_dropped_where_ports_and_numbers_are_known() {
    let row = |time: &str, port: u16| format!("{time},192.0.2.1,{port},7,a.test,A\n");
    let text = format!(
        "time,client,client_port,id,name,qtype\n{}{}{}{}",
        row("1.0", 5),
        row("1.0004", 5),
        row("1.0006", 6),
        row("1.2", 5)
    );
    assert_eq!(read(text.as_str()).unwrap().1.duplicates, 0);
    let dedupe = |window| ReadOptions { dedupe: Some(window), ..options() };
    let (queries, report) = read_as(text.as_str(), &dedupe(Duration::from_millis(1))).unwrap();
    assert_eq!((queries.len(), report.duplicates, report.unkeyed), (3, 1, 0));
    assert!(report.to_string().contains("1  dropped: repeats within 1 ms"), "{report}");
    let (_, report) = read_as(format!("{}\n", SAMPLES[0].1).repeat(2), &dedupe(Duration::from_millis(1))).unwrap();
    assert_eq!((report.duplicates, report.unkeyed), (0, 2));
    let zeek = format!("{}\n", SAMPLES.iter().find(|s| s.0 == LogFormat::ZeekJson).unwrap().1).repeat(2);
    assert_eq!(read(zeek.as_str()).unwrap().1.duplicates, 1);
    assert_eq!(read_as(zeek, &dedupe(Duration::ZERO)).unwrap().1.duplicates, 0);
}

#[test]
fn a_zeek_row_cut_before_a_header_was_cut_by_rotation() {
    let head = "#fields\tts\tid.orig_h\tquery\tqtype\n";
    let text = format!("{head}1\t10.0.0.1\ta\t1\n2\t10.0\n{head}3\t10.0.0.1\tc\t1\n");
    let (queries, report) = read(text).unwrap();
    assert_eq!((queries.len(), report.cut, report.headers), (2, 1, 2));
    assert!(report.remarks().iter().any(|r| r.contains("cut when the log was rotated")));
}

#[test]
fn the_vantage_point_may_be_given() {
    let mut seen = Vec::new();
    for vantage in [None, Some(Vantage::BeforeResolver)] {
        let input = Input::from_reader("log", Cursor::new(SAMPLES[0].1.as_bytes())).unwrap();
        let options = ReadOptions { vantage, ..options() };
        read_queries_from(input, &options, &mut |query| seen.push(query.vantage)).unwrap();
    }
    assert_eq!(seen, [Vantage::Authority, Vantage::BeforeResolver]);
}

/// A query to be written: time [ns], client, client subnet, name, type.
fn any_query() -> impl Strategy<Value = (u64, IpAddr, Option<Prefix>, String, u16)> {
    let ecs = proptest::option::of((any::<IpAddr>(), 1u8..=32).prop_filter_map("a prefix", |(a, l)| Prefix::new(a, l)));
    // Within 2026, before the present of the options.
    let micros = 1_767_225_600_000_000u64..1_795_390_000_000_000;
    let client = any::<IpAddr>().prop_map(|address| address.to_canonical());
    let types = proptest::sample::select(vec![1u16, 2, 5, 15, 16, 28, 33, 65, 257, 65280]);
    (micros.prop_map(|micros| micros * 1000), client, ecs, "([a-z0-9_-]{1,20}\\.){0,4}[a-z0-9]{1,9}", types)
}

/// Writes a query as a server does, and the precision of its times [ns]; `None` where it cannot be said.
fn written(
    format: LogFormat,
    at: Timestamp,
    client: IpAddr,
    ecs: Option<Prefix>,
    name: &str,
    qtype: u16,
) -> Option<(String, u64)> {
    let kind = match qtype {
        1 => "A".to_owned(),
        28 => "AAAA".to_owned(),
        65 => "HTTPS".to_owned(),
        other => format!("TYPE{other}"),
    };
    let micros = at.to_string();
    let second = Timestamp::from_secs(at.as_nanos() / 1_000_000_000);
    let syslog = {
        let text = second.to_string();
        let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            [text[5..7].parse::<usize>().unwrap() - 1];
        format!("{month} {:>2} {}", text[8..10].trim_start_matches('0'), &text[11..19])
    };
    let subnet = |none: &str| ecs.map_or(none.to_owned(), |ecs| ecs.to_string());
    let nanos = at.as_nanos();
    Some(match format {
        LogFormat::Bind => {
            let ecs = ecs.map_or(String::new(), |ecs| format!(" [ECS {ecs}/0]"));
            (
                format!(
                    "{micros} queries: info: client @0x7f {client}#9 ({name}): query: {name} IN {kind} -E(0) (192.0.2.53){ecs}"
                ),
                1,
            )
        }
        LogFormat::PowerDns => {
            let ecs = ecs.map_or(String::new(), |ecs| format!("<-{ecs}"));
            (
                format!("{syslog} Remote {client}{ecs} wants '{name}|{kind}', do = 0, bufsize = 1232 (4096)"),
                1_000_000_000,
            )
        }
        LogFormat::Unbound if ecs.is_none() => {
            (format!("[{}] unbound[1:0] info: {client} {name}. {kind} IN", nanos / 1_000_000_000), 1_000_000_000)
        }
        LogFormat::Dnsmasq if ecs.is_none() => (
            format!("{syslog} dnsmasq[1]: query[{}] {name} from {client}", kind.replace("TYPE", "type=")),
            1_000_000_000,
        ),
        LogFormat::Route53 => (format!("1.0 {micros} Z1 {name} {kind} NOERROR UDP FRA6 {client} {}", subnet("-")), 1),
        LogFormat::Cloudflare => {
            let (address, length) = ecs.map_or((String::new(), 0), |ecs| (ecs.address().to_string(), ecs.length()));
            (
                format!(
                    r#"{{"EDNSSubnet":"{address}","EDNSSubnetLength":{length},"QueryName":"{name}","QueryType":{qtype},"SourceIP":"{client}","Timestamp":{nanos}}}"#
                ),
                1,
            )
        }
        LogFormat::AdGuard if ecs.is_none() => {
            (format!(r#"{{"T":"{micros}","QH":"{name}","QT":"{kind}","QC":"IN","IP":"{client}"}}"#), 1)
        }
        LogFormat::ZeekJson if ecs.is_none() => (
            format!(
                r#"{{"ts":{}.{:06},"uid":"C","id.orig_h":"{client}","id.orig_p":1,"id.resp_p":53,"trans_id":1,"query":"{name}","qtype":{qtype}}}"#,
                nanos / 1_000_000_000,
                nanos / 1000 % 1_000_000
            ),
            1000,
        ),
        LogFormat::Csv => (format!("time,client,name,qtype,ecs\n{nanos},{client},{name},{kind},{}", subnet("")), 1),
        LogFormat::Json => (
            format!(
                r#"{{"time":"{micros}","client":"{client}","name":"{name}","qtype":"{kind}","ecs":"{}"}}"#,
                subnet("")
            ),
            1,
        ),
        _ => return None,
    })
}

proptest! {
    #[test]
    fn what_a_server_writes_is_read_back(query in any_query()) {
        let (nanos, client, ecs, name, qtype) = query;
        for format in LogFormat::ALL {
            let at = Timestamp::from_nanos(nanos);
            let Some((line, precision)) = written(format, at, client, ecs, &name, qtype) else { continue };
            let (queries, report) = read(line.as_str()).unwrap();
            prop_assert_eq!(report.format, format, "{}", line);
            let at = Timestamp::from_nanos(nanos - nanos % precision);
            let want = (at.to_string(), client.to_string(), ecs.map(|ecs| ecs.to_string()), name.clone(), qtype);
            prop_assert_eq!(queries, vec![want], "{}", line);
        }
    }

    #[test]
    fn no_damage_to_a_line_panics(
        sample in 0..SAMPLES.len(),
        damage in proptest::collection::vec((0usize..400, prop_oneof![Just(b' '), Just(b'\n'), Just(b'"'), Just(b'|'), Just(b'\\'), any::<u8>()]), 1..8),
        cut in 0usize..400,
        named: bool,
    ) {
        let (format, line, _) = SAMPLES[sample];
        let mut bytes = format!("{line}\n{line}\n").into_bytes();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut).max(1));
        let options = ReadOptions { format: named.then_some(format), ..options() };
        if let Err(error) = read_as(bytes, &options) {
            prop_assert!(!error.to_string().is_empty() && !error.hint().is_empty());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), format in 0..LogFormat::ALL.len()) {
        let named = ReadOptions { format: Some(LogFormat::ALL[format]), ..options() };
        let _ = read_as(bytes.clone(), &named);
        let _ = read_as(bytes, &options());
    }
}
