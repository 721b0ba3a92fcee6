use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<CountSeries, ReadError> {
    read_counts_from(Input::from_reader("load.csv", Cursor::new(text.as_bytes().to_vec())).unwrap())
}

fn values(series: &Series) -> Vec<f64> {
    series.values.iter().map(|v| v.unwrap_or(-1.0)).collect()
}

#[test]
fn a_plain_series_is_read() {
    let counts =
        read("timestamp,value\n1998-04-30 21:30:00,2\n1998-04-30 21:31:00,11\n1998-04-30 21:32:00,16\n").unwrap();
    assert_eq!(counts.step, Duration::from_secs(60));
    assert_eq!(counts.start.to_string(), "1998-04-30T21:30:00Z");
    assert_eq!(counts.series.len(), 1);
    assert_eq!((&counts.series[0].region, &counts.series[0].class), (&None, &None));
    assert_eq!(values(&counts.series[0]), [2.0, 11.0, 16.0]);
    assert_eq!(counts.report.rows, 3);
    assert_eq!(counts.report.remarks(), Vec::<String>::new());
}

#[test]
fn columns_go_by_name_in_any_order_and_spelling() {
    let counts = read(concat!(
        "\u{feff}Value, CLASS ,note,Region,Timestamp\r\n",
        "1,video,x,ams,60\r\n\r\n# a comment\r\n",
        "2,video,\"y, z\",ams,120.0\r\n",
        "\"3\",\"web\",,\"fra\",\"1970-01-01T00:01:00Z\"\r\n",
        "4,web,,fra,1970-01-01T01:02:00+01:00\r\n",
    ))
    .unwrap();
    let names: Vec<_> =
        counts.series.iter().map(|s| (s.region.as_deref().unwrap(), s.class.as_deref().unwrap())).collect();
    assert_eq!(names, [("ams", "video"), ("fra", "web")]);
    assert_eq!(values(&counts.series[0]), [1.0, 2.0]);
    assert_eq!(values(&counts.series[1]), [3.0, 4.0]);
    assert_eq!(counts.report.remarks(), ["columns not used: note"]);
}

#[test]
fn a_series_column_is_a_region() {
    let counts = read("timestamp,series,value\n10,b,1\n20,b,2\n20,a,3\n30,a,4\n").unwrap();
    assert_eq!(counts.start, Timestamp::from_secs(10));
    let rows: Vec<_> = counts.series.iter().map(|s| (s.region.clone().unwrap(), values(s))).collect();
    assert_eq!(rows, [("a".into(), vec![-1.0, 3.0, 4.0]), ("b".into(), vec![1.0, 2.0, -1.0])]);
    assert_eq!((counts.report.gaps, counts.report.absent), (0, 2));
}

#[test]
fn what_recordings_suffer_from_is_mended_and_counted() {
    let counts = read("timestamp,value\n60,1\n120,2\n300,5\n240,4\n240,40\n361,6\n420,7\n").unwrap();
    assert_eq!(counts.step, Duration::from_secs(60));
    assert_eq!(values(&counts.series[0]), [1.0, 2.0, -1.0, 44.0, 5.0, 6.0, 7.0]);
    let report = &counts.report;
    assert_eq!((report.rows, report.gaps, report.absent), (7, 1, 0));
    assert_eq!((report.duplicates, report.out_of_order, report.off_grid), (1, 1, 1));
    assert_eq!((report.first, report.last), (Timestamp::from_secs(60), Timestamp::from_secs(420)));
    assert_eq!(report.remarks().len(), 4);
}

#[test]
fn a_grid_keeps_its_phase() {
    // Always at second 53, as some exports have it; and one row before the epoch's first whole step.
    let counts = read("timestamp,value\n53,1\n353,2\n952,4\n1253,5\n").unwrap();
    assert_eq!((counts.start, counts.step), (Timestamp::from_secs(53), Duration::from_secs(300)));
    assert_eq!(values(&counts.series[0]), [1.0, 2.0, -1.0, 4.0, 5.0]);
    assert_eq!(counts.report.off_grid, 1);
    let early = read("timestamp,value\n0.5,1\n60,2\n120,3\n180,4\n").unwrap();
    assert_eq!((early.start, early.report.off_grid), (Timestamp::EPOCH, 1));
}

#[test]
fn what_cannot_be_meant_is_an_error_with_its_line() {
    let check = |text: &str, want: &str| {
        let error = read(text).unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with(want), "{text:?} gave {told}");
        assert!(!error.hint().is_empty() && !error.allowed().is_empty());
    };
    let head = "timestamp,value\n60,1\n";
    check(&format!("{head}120,-3\n"), "load.csv:3: value \"-3\" is negative; allowed: a number from 0 up");
    check(&format!("{head}120,NaN\n"), "load.csv:3: value \"NaN\" is not finite");
    check(&format!("{head}120,inf\n"), "load.csv:3: value \"inf\" is not finite");
    check(&format!("{head}\n\n120,\n"), "load.csv:5: value \"\" is no number");
    check(&format!("{head}120,many\n"), "load.csv:3: value \"many\" is no number");
    check(&format!("{head}120\n"), "load.csv:3: 1 fields; allowed: 2 fields");
    check(&format!("{head}120,1,5\n"), "load.csv:3: 3 fields");
    check(&format!("{head}noon,1\n"), "load.csv:3: timestamp \"noon\" is no time");
    check(&format!("{head}1521911720865,1\n"), "load.csv:3: timestamp \"1521911720865\" is no time");
    check(&format!("{head}\"120,1\n"), "load.csv:3: a quote that is not closed");
    check("", "load.csv: an empty file");
    check("\n# nothing\n", "load.csv: an empty file");
    check("timestamp,value\n", "load.csv: a header without rows");
    check("timestamp,value\n60,1\n", "load.csv: 1 rows");
    check("60,1\n120,2\n", "load.csv:1: no column \"timestamp\" among 60,1");
    check("timestamp;value\n60;1\n", "load.csv:1: no column \"timestamp\"");
    check("hour,class,value\n0,web,1\n", "load.csv:1: no column \"timestamp\" among hour,class,value");
    check("timestamp,region,series,value\n", "load.csv:1: both");
    check("timestamp,region,value\n60,,1\n", "load.csv:2: region is empty");
    check("\u{0}\u{1}\u{2}\n", "load.csv:1: not text");
    assert!(read("timestamp;value\n60;1\n").unwrap_err().hint().contains("commas"));
    assert!(read("60,1\n").unwrap_err().hint().contains("first line"));
}

#[test]
fn one_wrong_year_is_an_error_not_all_memory() {
    let mut text = String::from("timestamp,value\n");
    for second in 0..1000 {
        text += &format!("{},1\n", 1_700_000_000 + second);
    }
    text += "2062-01-01 00:00:00,1\n";
    let error = read(&text).unwrap_err();
    assert_eq!(error.place(), Place::Line(1002));
    let nanoseconds = read("timestamp,value\n0.000000001,1\n0.000000002,1\n18446744073,1\n").unwrap_err();
    assert_eq!(nanoseconds.place(), Place::Line(4));
}

/// A file as an exporter writes it: several series, one row a step, out of order and with repeats as asked.
fn csv_of(series: &[(String, Vec<Option<u32>>)], start: u64, step: u64, repeat: bool) -> String {
    let mut text = String::from("region,timestamp,value\n");
    for (name, values) in series {
        for (i, value) in values.iter().enumerate() {
            let Some(value) = value else { continue };
            let row = format!("{name},{},{value}\n", start + i as u64 * step);
            text += &row;
            if repeat {
                text += &row;
            }
        }
    }
    text
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        values in proptest::collection::vec(proptest::collection::vec(proptest::option::weighted(0.9, 0u32..1000), 12..60), 1..4),
        start in 0u64..2_000_000_000,
        step in 1u64..7200,
        repeat: bool,
    ) {
        // The ends are there, so that the length is known.
        let values: Vec<_> = values.into_iter().enumerate().map(|(i, mut v)| {
            (v[0], v[1]) = (Some(1), Some(2));
            *v.last_mut().unwrap() = Some(3);
            (format!("r{i}"), v)
        }).collect();
        let neighbours = values.iter().flat_map(|(_, v)| v.windows(2)).filter(|w| w[0].is_some() && w[1].is_some()).count();
        let total: usize = values.iter().map(|(_, v)| v.len() - 1).sum();
        prop_assume!(neighbours * 2 > total);
        let counts = read(&csv_of(&values, start, step, repeat)).unwrap();
        prop_assert_eq!(counts.step, Duration::from_secs(step));
        prop_assert_eq!(counts.start, Timestamp::from_secs(start));
        let rows: usize = values.iter().map(|(_, v)| v.iter().flatten().count()).sum();
        let holes: usize = values.iter().map(|(_, v)| v.iter().filter(|v| v.is_none()).count()).sum();
        prop_assert_eq!(counts.report.rows, rows as u64 * (1 + u64::from(repeat)));
        prop_assert_eq!(counts.report.gaps, holes as u64);
        prop_assert_eq!(counts.report.duplicates, if repeat { rows as u64 } else { 0 });
        for (found, (name, wanted)) in counts.series.iter().zip(&values) {
            prop_assert_eq!(found.region.as_ref(), Some(name));
            for (i, value) in found.values.iter().enumerate() {
                let want = wanted.get(i).copied().flatten().map(|v| f64::from(v) * if repeat { 2.0 } else { 1.0 });
                prop_assert_eq!(*value, want);
            }
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(seed in proptest::collection::vec((0u64..40, 0u32..9), 3..40), turn in 0usize..40) {
        let line = |&(minute, value): &(u64, u32)| format!("{},{value}\n", 1_000_000 + minute * 60);
        let write = |rows: &[(u64, u32)]| format!("timestamp,value\n{}", rows.iter().map(line).collect::<String>());
        let mut turned = seed.clone();
        turned.rotate_left(turn % seed.len());
        let (plain, turned) = (read(&write(&seed)), read(&write(&turned)));
        match (plain, turned) {
            (Ok(a), Ok(b)) => { prop_assert_eq!(a.series, b.series); prop_assert_eq!((a.start, a.step), (b.start, b.step)); }
            (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(input) = Input::from_reader("x", Cursor::new(bytes)) {
            let _ = read_counts_from(input);
        }
    }

    #[test]
    fn no_damage_to_a_valid_file_panics(
        damage in proptest::collection::vec((0usize..600, prop_oneof![Just(b','), Just(b'\n'), Just(b'"'), Just(b'-'), Just(b'9'), any::<u8>()]), 0..8),
        cut in 0usize..600,
    ) {
        let mut bytes = csv_of(&[("a".into(), vec![Some(1); 20]), ("b".into(), vec![Some(2); 20])], 1_700_000_000, 60, false).into_bytes();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(cut.max(1));
        if let Ok(input) = Input::from_reader("x", Cursor::new(bytes))
            && let Err(error) = read_counts_from(input) {
                prop_assert!(!error.to_string().is_empty());
            }
    }
}

#[test]
fn a_hundred_thousand_rows_are_read() {
    let mut text = String::from("timestamp,value\n");
    for minute in 0..125_000u64 {
        text += &format!("{},{minute}\n", Timestamp::from_secs(893_971_800 + 60 * minute));
    }
    let counts = read(&text).unwrap();
    assert_eq!(counts.series[0].values.len(), 125_000);
}
