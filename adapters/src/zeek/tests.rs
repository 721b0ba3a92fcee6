use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::input::tests::gzip;
use crate::query::{Vantage, read_queries_from};
use crate::query_report::Skip;
use crate::read_options::ReadOptions;

const HEAD: &str = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n#open\t2026-04-12-19-29-12\n\
    #fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\ttrans_id\tquery\tqclass\tqtype\n\
    #types\ttime\tstring\taddr\tport\taddr\tport\tenum\tcount\tstring\tcount\tcount\n";

fn row(ts: &str, uid: &str, client: &str, name: &str, qtype: &str) -> String {
    format!("{ts}\t{uid}\t{client}\t4000\t192.0.2.53\t53\tudp\t77\t{name}\t1\t{qtype}\n")
}

/// Time [ns], client, name, type.
type Kept = (u64, String, String, u16);

fn read(text: impl Into<Vec<u8>>) -> Result<(Vec<Kept>, QueryReport), ReadError> {
    let mut queries = Vec::new();
    let input = Input::from_reader("dns.log", Cursor::new(text.into()))?;
    let report = read_queries_from(input, &ReadOptions::default(), &mut |q| {
        queries.push((q.at.as_nanos(), q.client.to_string(), q.name.to_owned(), q.qtype));
    })?;
    Ok((queries, report))
}

fn names(text: &str) -> Vec<String> {
    read(text).unwrap().0.into_iter().map(|q| q.2).collect()
}

#[test]
fn rows_are_read_in_order_of_time() {
    let text = format!(
        "{HEAD}{}{}#close\t2026-04-12-20-00-00\n",
        row("5.000002", "C2", "2001:db8::7", "B.cdn.test.", "28"),
        row("5.000001", "C1", "10.0.0.7", "a.cdn.test", "1")
    );
    let (queries, report) = read(text).unwrap();
    let want = [
        (5_000_001_000, "10.0.0.7".to_owned(), "a.cdn.test".to_owned(), 1),
        (5_000_002_000, "2001:db8::7".to_owned(), "b.cdn.test".to_owned(), 28),
    ];
    assert_eq!(queries, want);
    assert_eq!((report.records, report.queries, report.clients, report.out_of_order), (2, 2, 2, 1));
    assert_eq!(report.vantage(), Some(Vantage::BeforeResolver));
    assert!(report.unkeyed == 0 && report.remarks().is_empty());
}

#[test]
fn header_lines_may_recur_and_change_the_columns() {
    let text = format!(
        "{HEAD}{}#close\tx\n#separator ;\n#unset_field;none\n#fields;query;qtype;ts;id.orig_h;label\nb;1;2;10.0.0.1;none\n{HEAD}{}",
        row("1", "C1", "10.0.0.1", "a", "1"),
        row("3", "C3", "10.0.0.1", "c", "1")
    );
    let (queries, report) = read(text).unwrap();
    assert_eq!(queries.iter().map(|q| q.2.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(report.unkeyed, 1);
    assert!(report.remarks()[0].contains("double captures cannot be told"));
}

#[test]
fn a_packet_captured_twice_counts_once() {
    let rows = [
        row("1.000000", "C1", "10.0.0.1", "a", "1"),
        row("2.000000", "C1", "10.0.0.1", "a", "1"), // asked again
        row("1.000999", "C1", "10.0.0.1", "A", "1"), // out of order, other case
        row("1.000500", "C1", "10.0.0.1", "a", "28"),
        row("1.000500", "C2", "10.0.0.1", "a", "1"),
        row("1.000500", "C1", "10.0.0.1", "b", "1"),
        row("2.001000", "C1", "10.0.0.1", "a", "1"), // a whole millisecond later
        row("3.000000", "C9", "10.0.0.1", "-", "-"),
        row("3.000001", "C9", "10.0.0.1", "-", "-"),
    ];
    let (queries, report) = read(format!("{HEAD}{}", rows.concat())).unwrap();
    assert_eq!((queries.len(), report.duplicates), (6, 2));
    assert_eq!(report.skipped.get(Skip::NoQuestion), 1);
    assert_eq!(report.records, report.queries + report.duplicates + report.skipped.total());
}

#[test]
fn rows_that_are_no_queries_are_skipped_by_reason() {
    let other = |port: &str, class: &str| {
        row("1", port, "10.0.0.1", "a", "1")
            .replace("\t53\t", &format!("\t{port}\t"))
            .replace("\t1\t1\n", &format!("\t{class}\t1\n"))
    };
    let rows = [
        row("-", "C1", "10.0.0.1", "a", "1"),
        row("1", "C2", "-", "a", "1"),
        row("1", "C3", "10.0.0.1", "-", "1"),
        row("1", "C4", "10.0.0.1", "a", "-"),
        other("137", "1"),
        other("5353", "1"),
        other("53", "3"),
    ];
    let (queries, report) = read(format!("{HEAD}{}", rows.concat())).unwrap();
    assert!(queries.is_empty());
    let skipped: Vec<_> = report.skipped.iter().collect();
    let want =
        [(Skip::NoTime, 1), (Skip::NoClient, 1), (Skip::NoQuestion, 2), (Skip::OtherClass, 1), (Skip::LocalService, 2)];
    assert_eq!(skipped, want);
}

#[test]
fn names_take_one_form() {
    let check = |written: &str, want: &str| {
        assert_eq!(names(&format!("{HEAD}{}", row("1", "C", "10.0.0.1", written, "1"))), [want], "{written}");
    };
    check("WWW.Example.ORG", "www.example.org");
    check("example.org.", "example.org");
    check("(empty)", "");
    check(".", "");
    check("printer [28:d2].local", "printer\\032[28:d2].local");
    check("caf\\xc3\\xa9.fr", "caf\\195\\169.fr");
    check("caf\u{e9}.fr", "caf\\195\\169.fr");
    check("a\\\\b", "a\\\\b");
    check("a\\xzz", "a\\\\xzz");
}

#[test]
fn few_malformed_rows_are_counted_and_many_are_an_error() {
    let mut rows: Vec<_> = (0..199).map(|i| row(&format!("{i}.5"), &format!("C{i}"), "10.0.0.1", "a", "1")).collect();
    rows[20] = row("noon", "C", "10.0.0.1", "a", "1");
    rows[30] = "a row\n".to_owned();
    let first = 8 + 20 + 1;
    let error = read(format!("{HEAD}{}", rows.concat())).unwrap_err();
    assert_eq!(
        error.to_string().split(';').next().unwrap(),
        format!("dns.log:{first}: ts \"noon\" is no time (and 2 of 199 records in all)")
    );
    rows.push(row("300", "C", "10.0.0.1", "a", "1"));
    let (queries, report) = read(format!("{HEAD}{}", rows.concat())).unwrap();
    assert_eq!((queries.len(), report.malformed.count), (198, 2));
    assert_eq!(report.malformed.first[1], (Place::Line(8 + 30 + 1), "1 fields, not 11".to_owned()));
    let check = |bad: String, want: &str| {
        let error = read(format!("{HEAD}{bad}")).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    check(row("1", "C", "10.0.0", "a", "1"), "id.orig_h \"10.0.0\" is no address");
    check(row("1", "C", "10.0.0.1", "a", "70000"), "qtype \"70000\" is not a type of record");
    check(row("1", "C", "10.0.0.1", &"\\xff".repeat(300), "1"), "a name of 1200 bytes");
}

#[test]
fn a_cut_last_row_is_reported() {
    let mut text = format!("{HEAD}{}{}", row("1", "C1", "10.0.0.1", "a", "1"), row("2", "C2", "10.0.0.1", "b", "1"));
    text.truncate(text.len() - 9);
    let (queries, report) = read(text.clone()).unwrap();
    assert_eq!((queries.len(), report.truncated, report.malformed.count), (1, Some(Place::Line(10)), 0));
    let zipped = gzip(text.as_bytes());
    assert!(matches!(read(&zipped[..zipped.len() - 4]), Err(ReadError::TruncatedGzip { .. })));
}

#[test]
fn a_file_without_a_usable_header_is_an_error() {
    let check = |text: &str, want: &str| {
        let error = read(text).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check("#path\tdns\n1\t2\n", "dns.log:2: a row before any #fields line");
    check("#separator \\x09\n#path\tdns\n", "dns.log:1: no #fields line");
    check("#separator tab\n", "dns.log:1: #separator \"tab\" is not one byte");
    check("#fields\tts\tuid\tid.orig_h\tduration\n", "dns.log:1: #fields without query, qtype");
}

#[test]
fn an_empty_log_has_no_queries() {
    let (queries, report) = read(HEAD).unwrap();
    assert!(queries.is_empty());
    assert_eq!((report.first, report.vantage()), (None, None));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(rows in proptest::collection::vec((0u64..1000, 0u32..5, "[a-z]{1,9}", any::<u16>()), 0..30)) {
        let mut want = Vec::new();
        let mut text = HEAD.to_owned();
        for (i, (second, host, name, qtype)) in rows.iter().enumerate() {
            let client = format!("10.0.0.{host}");
            // Each row twice, as a mirror port has it.
            for micros in [1, 3] {
                text += &row(&format!("{second}.{micros:06}"), &format!("C{i}"), &client, name, &qtype.to_string());
            }
            want.push((second * 1_000_000_000 + 1000, client, name.clone(), *qtype));
        }
        want.sort();
        let (mut queries, report) = read(text).unwrap();
        prop_assert!(queries.is_sorted_by_key(|q| q.0));
        queries.sort();
        prop_assert_eq!(report.duplicates, rows.len() as u64);
        prop_assert_eq!(queries, want);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), headed: bool) {
        let text = if headed { [HEAD.as_bytes(), &bytes].concat() } else { [b"#", &bytes[..]].concat() };
        let _ = read(text);
    }

    #[test]
    fn no_damage_to_a_valid_file_panics(
        damage in proptest::collection::vec((0usize..1000, prop_oneof![Just(b'\t'), Just(b'\n'), Just(b'#'), Just(b'\\'), any::<u8>()]), 1..10),
        cut in 1usize..1200,
    ) {
        let mut bytes = format!("{HEAD}{}", row("1.5", "C", "10.0.0.1", "caf\\xc3.fr", "1").repeat(8)).into_bytes();
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
