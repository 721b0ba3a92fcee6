//! `forebay import` from outside: logs in, counts out that the other commands read back, and what is said about both.

mod command;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use command::{forebay, stderr, stdout};
use proptest::prelude::*;
use serde_json::Value;

/// The data of an import that must succeed.
fn import(folder: &Path, arguments: &[&str], stdin: &[u8]) -> String {
    let arguments = [&["import"], arguments].concat();
    let output = forebay(folder, &arguments, stdin);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// A line of BIND's query log.
fn bind(second: u64, client: &str, name: &str) -> String {
    let (minute, second) = (second / 60, second % 60);
    let (hour, minute) = (10 + minute / 60, minute % 60);
    format!(
        "2026-11-22T{hour:02}:{minute:02}:{second:02}.000Z queries: info: client @0x7f {client}#4101 ({name}): query: {name} IN A -E(0) (192.0.2.53)\n"
    )
}

const NETWORKS: &str = "prefix,region\n10.1.0.0/16,ams\n10.2.0.0/16,nyc\n";

/// Three minutes: in the first and last twelve networks of ams and some of nyc ask for a video, one for a page; in
/// between somebody asks for another's name.
fn log() -> String {
    let mut log = String::new();
    for minute in [0, 1, 2] {
        if minute == 1 {
            log += &bind(75, "10.1.0.7", "elsewhere.test");
            continue;
        }
        for client in 0..12 {
            log += &bind(60 * minute + client, &format!("10.1.{client}.7"), "v1.video.cdn.test");
        }
        for client in 0..if minute == 0 { 11 } else { 5 } {
            log += &bind(60 * minute + 20 + client, &format!("10.2.{client}.7"), "V2.video.cdn.test");
        }
        log += &bind(60 * minute + 40, "10.2.0.7", "www.cdn.test");
        for client in 0..6 {
            log += &bind(60 * minute + 45 + client, &format!("172.16.{client}.1"), "v1.video.cdn.test");
        }
    }
    log
}

const CHOICES: [&str; 6] = ["--geo", "nets.csv", "--class", "*.video.cdn.test=video", "--zone", "cdn.test"];

fn folder(log: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("queries.log"), log).expect("writable");
    fs::write(folder.path().join("nets.csv"), NETWORKS).expect("writable");
    folder
}

#[test]
fn a_log_becomes_counts_that_tell_of_nobody() {
    let folder = folder(&log());
    let arguments = [&["queries.log", "--report", "report.json"], &CHOICES[..]].concat();
    let counts = import(folder.path(), &arguments, b"");
    // The five of nyc in the last minute go to `other`, where six without a region already are; six alone are withheld,
    // and so are the one reader of the page and who asked for another's name.
    let want = "timestamp,region,class,value\n\
        2026-11-22T10:00:00Z,ams,video,12\n\
        2026-11-22T10:00:00Z,nyc,video,11\n\
        2026-11-22T10:01:00Z,ams,video,0\n\
        2026-11-22T10:01:00Z,nyc,video,0\n\
        2026-11-22T10:01:00Z,other,video,0\n\
        2026-11-22T10:02:00Z,ams,video,12\n\
        2026-11-22T10:02:00Z,other,video,11\n";
    assert_eq!(counts, want);
    let report: Value = serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["counts"]["queries"], 55);
    assert_eq!((&report["counts"]["written"], &report["counts"]["withheld"]), (&46.into(), &9.into()));
    assert_eq!((&report["counts"]["merged"], &report["without_region"]), (&5.into(), &12.into()));
    assert_eq!(report["logs"][0]["format"], "bind");
    let standard = import(folder.path(), &[&["-", "--format", "bind"], &CHOICES[..]].concat(), log().as_bytes());
    assert_eq!(standard, want);
}

#[test]
fn the_long_layout_and_the_files_hold_the_same() {
    let folder = folder(&log());
    let long = import(folder.path(), &[&["queries.log", "--long"], &CHOICES[..]].concat(), b"");
    assert!(long.starts_with("unique_id,ds,y\nams/video,2026-11-22 10:00:00,12\n"), "{long}");
    for file in ["out.csv", "out.csv.gz", "out.parquet"] {
        let nothing = import(folder.path(), &[&["queries.log", "--out", file], &CHOICES[..]].concat(), b"");
        assert_eq!(nothing, "", "{file}");
    }
    let plain = fs::read_to_string(folder.path().join("out.csv")).unwrap();
    assert_eq!(plain.lines().count(), 8);
    let mut unpacked = String::new();
    let packed = fs::File::open(folder.path().join("out.csv.gz")).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

#[cfg(feature = "parquet")]
#[test]
fn a_parquet_file_is_nixtla_s_long_format() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let folder = folder(&log());
    import(folder.path(), &[&["queries.log", "--out", "out.parquet"], &CHOICES[..]].concat(), b"");
    let reader = SerializedFileReader::new(fs::File::open(folder.path().join("out.parquet")).unwrap()).unwrap();
    let rows: Vec<String> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
    assert_eq!(rows.len(), 7);
    assert!(rows[0].contains("unique_id: \"ams/video\"") && rows[0].contains("y: 12"), "{}", rows[0]);
    assert!(rows[6].contains("region: \"other\"") && rows[6].contains("class: \"video\""), "{}", rows[6]);
}

#[test]
fn what_is_imported_is_read_back() {
    let mut log = String::new();
    for quarter in 0..56 {
        for client in 0..12 {
            let name = if client < 10 { "a.video.cdn.test" } else { "b.video.cdn.test" };
            log += &bind(quarter * 900 + client * 30, &format!("10.1.{client}.7"), name);
            log += &bind(quarter * 900 + client * 30 + 1, &format!("10.2.{client}.7"), name);
        }
    }
    let folder = folder(&log);
    import(
        folder.path(),
        &[&["queries.log", "--window", "15min", "--out", "demand.csv.gz"], &CHOICES[..]].concat(),
        b"",
    );
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/replay-counts.toml");
    let scenario = scenario.to_str().expect("UTF-8");
    let run = forebay(folder.path(), &["run", scenario, "--replay", "demand.csv.gz", "--json"], b"");
    assert!(run.status.success(), "{}", stderr(&run));
    let figures: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert!(figures["sessions"].as_f64() > Some(0.0));
    // Half a day is not enough for a back-test, and that is all there is to say against it.
    let forecast = forebay(folder.path(), &["forecast", "demand.csv.gz", "--train-days", "1", "--test-days", "1"], b"");
    assert!(stderr(&forecast).contains("0.6 days, 2 are needed"), "{}", stderr(&forecast));
}

/// A frame of dnstap with a query (field numbers of dnstap.proto).
fn frame(kind: u8, second: u32, client: [u8; 4]) -> Vec<u8> {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["v1", "video", "cdn", "test"] {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let mut inner = vec![8, kind, 16, 1, 24, 1, 4 << 3 | 2, 4];
    inner.extend(client);
    inner.push(8 << 3);
    let mut rest = second;
    while rest >= 0x80 {
        inner.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    inner.extend([rest as u8, 10 << 3 | 2, query.len() as u8]);
    inner.extend(query);
    let outer = [&[14 << 3 | 2, inner.len() as u8][..], &inner, &[15 << 3, 1]].concat();
    [&(outer.len() as u32).to_be_bytes()[..], &outer].concat()
}

#[test]
fn of_a_log_of_both_sides_of_a_resolver_one_is_counted() {
    let mut tap = vec![0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 22];
    tap.extend(b"protobuf:dnstap.Dnstap");
    for client in 0..20 {
        // CLIENT_QUERY, RESOLVER_QUERY and CLIENT_RESPONSE.
        for kind in [5, 3, 6] {
            tap.extend(frame(kind, 1_795_370_400 + u32::from(client), [10, 1, client, 9]));
        }
    }
    tap.extend([0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3]);
    let folder = folder("");
    fs::write(folder.path().join("tap"), tap).unwrap();
    for choice in [&["tap"][..], &["tap", "--vantage", "after-resolver"]] {
        let output = forebay(folder.path(), &[&["import"], choice, &CHOICES[..]].concat(), b"");
        assert_eq!(stdout(&output), "timestamp,region,class,value\n2026-11-22T18:00:00Z,ams,video,20\n");
        assert!(stderr(&output).contains("20 queries were seen elsewhere"), "{}", stderr(&output));
        assert!(stderr(&output).contains("responses"), "{}", stderr(&output));
    }
}

#[test]
fn what_cannot_be_imported_says_why_and_leaves_no_file() {
    let folder = folder(&log());
    fs::write(folder.path().join("bad.csv"), "prefix,region\n10.1.0.1/16,ams\n").unwrap();
    fs::write(folder.path().join("rules"), "# ours\n*.video.cdn.test=video\nnonsense\n").unwrap();
    fs::write(folder.path().join("few.log"), bind(0, "10.1.0.1", "a.cdn.test")).unwrap();
    for (arguments, says) in [
        (&["none.log"][..], "none.log: cannot be read"),
        (&["nets.csv"], "nets.csv"),
        (&["queries.log", "--format", "bin"], "did you mean bind?"),
        (&["queries.log", "--geo", "bad.csv"], "bad.csv:2: prefix"),
        (&["queries.log", "--geo", "none.mmdb"], "none.mmdb: cannot be read"),
        (&["queries.log", "--classes", "rules"], "rules:3: rule \"nonsense\" has no ="),
        (&["queries.log", "--class", "a.test=x/y"], "--class: class \"x/y\""),
        (&["queries.log", "--zone", "a..b"], "--zone: \"a..b\" is no domain name"),
        (&["queries.log", "--window", "7min"], "--window 7 min does not divide a day"),
        (&["queries.log", "--time-zone", "Europe/Amsterdm"], "Europe/Amsterdam"),
        (&["queries.log", "--vantage", "moon"], "before-resolver"),
        (&["queries.log", "--vantage", "after-resolver"], "vantage point authority"),
        (&["queries.log", "--out", "out.xlsx"], "out.xlsx ends neither in .csv"),
        (&["queries.log", "--out", "no/such/out.csv"], "no/such/out.csv cannot be written"),
        (&["bad.csv", "queries.log", "--out", "bad.csv"], "bad.csv is read, and would be written over"),
        (&["queries.log", "--out", "a.csv", "--report", "a.csv"], "--out and --report"),
        (&["few.log", "--out", "few.csv"], "no count stands for 10 client networks"),
    ] {
        let before = fs::read_dir(folder.path()).unwrap().count();
        let output = forebay(folder.path(), &[&["import"], arguments].concat(), b"");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(said.contains("hint: ") || said.contains("allowed is") || said.contains("did you mean"), "{said}");
        assert!(output.stdout.is_empty(), "{arguments:?}: data on stdout");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before, "{arguments:?} left a file");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the log: no written count has fewer than k networks behind it, and every query is written or withheld.
    #[test]
    fn every_count_stands_for_k_networks(
        queries in proptest::collection::vec((0u64..300, 1u8..4, 0u8..8, 0usize..3), 1..150),
        k in 1usize..6,
    ) {
        let names = ["a.video.cdn.test", "www.cdn.test", "elsewhere.test"];
        let mut queries = queries;
        queries.sort();
        let mut log = String::new();
        let mut networks: BTreeMap<(u64, String), std::collections::BTreeSet<(u8, u8)>> = BTreeMap::new();
        for &(second, site, client, name) in &queries {
            log += &bind(second, &format!("10.{site}.{client}.{}", second % 250), names[name]);
            let class = ["video", "default", "other"][name];
            networks.entry((second / 60, class.to_owned())).or_default().insert((site, client));
        }
        let folder = folder(&log);
        let fewest = k.to_string();
        let arguments = ["import", "queries.log", "--report", "report.json", "--k", &fewest];
        let output = forebay(folder.path(), &[&arguments, &CHOICES[..]].concat(), b"");
        let report: Value = serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
        let mut written = 0;
        for row in stdout(&output).lines().skip(1) {
            let fields: Vec<&str> = row.split(',').collect();
            let value: u64 = fields[3].parse().unwrap();
            written += value;
            if value == 0 {
                continue;
            }
            let minute: u64 = fields[0][14..16].parse().unwrap();
            let all = &networks[&(minute, fields[2].to_owned())];
            let site = match fields[1] { "ams" => Some(1), "nyc" => Some(2), _ => None };
            let own = all.iter().filter(|(of, _)| site.is_none_or(|site| site == *of)).count();
            prop_assert!(own >= k, "{row} stands for {own}");
        }
        let count = |key: &str| report["counts"][key].as_u64().unwrap();
        prop_assert_eq!(count("queries"), queries.len() as u64);
        prop_assert_eq!(count("written"), written);
        prop_assert_eq!(count("queries"), written + count("withheld") + count("late"));
    }
}
