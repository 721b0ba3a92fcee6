//! `forebay plan` from outside: a made series and a scenario in, machines and bandwidth out, and what is said when they
//! do not fit together.

mod command;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use command::{forebay, said, stderr, stdout};
use serde_json::Value;

/// Two regions that are joined, a video class on either of two flavours, a web class on the small one.
const SITE: &str = r#"
[scenario]
name = "two-regions"
start = 2026-06-01T00:00:00Z
duration = "1 d"

[replay]
kind = "counts"
scale = 0.1

[replay.names]
east = "fra"

[every_region]
access = { capacity = "40 Gbit/s", delay = "5 ms" }
hosts = [{ count = 3, cpu = "16 vCPU", memory = "64 GiB", nic = "10 Gbit/s" }]

[[region]]
name = "ams"
lat = 52.3
lon = 4.8
time_zone = "Europe/Amsterdam"

[[region]]
name = "fra"
lat = 50.0
lon = 8.6
time_zone = "Europe/Berlin"

[mesh]
capacity = "100 Gbit/s"

[[flavour]]
name = "edge-2"
cpu = "2 vCPU"
memory = "4 GiB"
bandwidth = "1 Gbit/s"
price_per_hour = 0.10
boot_median = "75 s"
warm_up = "45 s"
spot = { price_per_hour = 0.04, share_most = 0.3 }

[[flavour]]
name = "edge-8"
cpu = "8 vCPU"
memory = "16 GiB"
bandwidth = "4 Gbit/s"
price_per_hour = 0.36
boot_median = "90 s"
warm_up = "60 s"
reserved = { count = 1, price_per_hour = 0.25 }

[[class]]
name = "video"
kind = "streaming"
flavour = "edge-2"
flavours = ["edge-8"]
bit_rate = "5 Mbit/s"
duration = "20 min"
cpu = "10 mCPU"
violation_price_per_minute = 0.5
slo = { latency = "2 s", tolerance = 0.05 }

[[class]]
name = "web"
kind = "interactive"
flavour = "edge-2"
requests_per_second = 0.05
service = "200 ms"
response = "100 kB"
duration = "5 min"
violation_price_per_minute = 0.2
slo = { latency = "2 s", tolerance = 0.05 }
"#;

/// Counts every quarter of an hour for `days` of a region × class each: a day's wave with a little unrest.
fn series(days: usize) -> String {
    let mut text = "timestamp,region,class,value\n".to_owned();
    for (region, class, size) in [("ams", "video", 3000.0), ("ams", "web", 9000.0), ("east", "video", 1500.0)] {
        for quarter in 0..days * 96 {
            let wave = 1.0 - 0.6 * (quarter as f64 / 96.0 * std::f64::consts::TAU).cos();
            let unrest = 1.0 + 0.06 * ((quarter * 7919 % 101) as f64 / 50.0 - 1.0);
            let (day, minute) = (1 + quarter / 96, quarter % 96 * 15);
            let time = format!("2026-05-{day:02}T{:02}:{:02}:00Z", minute / 60, minute % 60);
            writeln!(text, "{time},{region},{class},{:.0}", size * wave * unrest).expect("text grows");
        }
    }
    text
}

fn folder(days: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("site.toml"), SITE).expect("writable");
    fs::write(folder.path().join("counts.csv"), series(days)).expect("writable");
    folder
}

fn output(folder: &Path, arguments: &[&str]) -> Output {
    forebay(folder, &[&["plan", "site.toml", "counts.csv"], arguments].concat(), b"")
}

/// The data of a plan that must succeed, and what was said.
fn plan(folder: &Path, arguments: &[&str]) -> (String, String) {
    said(folder, &[&["plan", "site.toml", "counts.csv"], arguments].concat())
}

const SEASONAL: [&str; 2] = ["--model", "seasonal-naive-day"];

#[test]
fn people_read_what_when_where_and_for_how_much() {
    let folder = folder(8);
    let (page, said) = plan(folder.path(), &[&SEASONAL[..], &["--horizon", "12h", "--step", "1h"]].concat());
    assert!(said.contains("fra/web"), "a cell without a series is said: {said}");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("plan-page", page);
    });
}

#[test]
fn programs_read_the_same_as_json_csv_and_from_a_folder() {
    let folder = folder(8);
    let out = ["--json", "--out", "made", "--budget", "5"];
    let (json, _) = plan(folder.path(), &[&SEASONAL[..], &out].concat());
    let read: Value = serde_json::from_str(&json).expect("one JSON object");
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&read), ["header", "regions", "remarks", "rows", "totals"]);
    assert_eq!(
        keys(&read["header"]),
        ["budget_per_hour", "flavours", "horizon", "model", "origin", "scenario", "seed", "series", "step"]
    );
    let row = &read["rows"][0];
    for key in [
        "from",
        "until",
        "region",
        "class",
        "p50",
        "p90",
        "sized",
        "level",
        "target_sessions",
        "cut_sessions",
        "spill",
        "unserved_sessions",
        "guest_sessions",
        "capacity_sessions",
        "vms",
        "launches",
        "drains",
        "guarantee",
        "ceiling",
        "cost",
        "change_cost",
        "violation_cost",
    ] {
        assert!(row.get(key).is_some(), "{key} is missing: {row}");
    }
    assert_eq!(keys(&row["p90"]), ["bandwidth", "cpu", "memory", "sessions"]);
    assert_eq!(read["header"]["model"], "seasonal-naive-day");
    assert_eq!(read["header"]["origin"], "2026-05-09T00:00:00Z");
    let rows = read["rows"].as_array().expect("a list");
    assert_eq!(rows.len(), 96 * 4, "a day of quarters of two regions and two classes");
    for row in rows {
        let number = |key: &str| row[key].as_f64().expect("a number");
        let p = |quantile: &str| row[quantile]["sessions"].as_f64().expect("a number");
        assert!(p("p50") <= p("p90") && (0.0..=1.0).contains(&number("level")), "{row}");
    }

    let (csv, _) = plan(folder.path(), &[&SEASONAL[..], &["--csv", "--budget", "5"]].concat());
    assert_eq!(csv.lines().count(), 1 + rows.len());
    assert_eq!(fs::read_to_string(folder.path().join("made/plan.csv")).expect("written"), csv);
    assert_eq!(fs::read_to_string(folder.path().join("made/plan.json")).expect("written"), json);
    assert!(fs::read_to_string(folder.path().join("made/plan.txt")).expect("written").contains("VM-hours"));
    // Twice the same.
    assert_eq!(plan(folder.path(), &[&SEASONAL[..], &["--csv", "--budget", "5"]].concat()).0, csv);
}

#[test]
fn demand_is_what_the_counts_and_the_scenario_say() {
    let folder = folder(8);
    let read: Value =
        serde_json::from_str(&plan(folder.path(), &[&SEASONAL[..], &["--json"]].concat()).0).expect("JSON");
    let row = |interval: usize, cell: usize| &read["rows"][interval * 4 + cell];
    // At noon 3000 × 1.6 counts in a quarter stand for 480 sessions of 20 minutes: 640 at once, 6.4 vCPU, 3.2 Gbit/s.
    let noon = row(48, 0)["p50"]["sessions"].as_f64().expect("a number");
    assert!((noon / 640.0 - 1.0).abs() < 0.06, "{noon}");
    assert!(row(48, 0)["p50"]["cpu"].as_str().expect("a quantity").ends_with("CPU"));
    let night = row(0, 0)["p50"]["sessions"].as_f64().expect("a number");
    assert!(night < 0.35 * noon, "{night} {noon}");
    // `east` is fra by name, and half as large.
    let east = row(48, 2)["p50"]["sessions"].as_f64().expect("a number");
    assert!((east / noon - 0.5).abs() < 0.03, "{east} {noon}");
    // The machine that is paid for anyway is used.
    let reserved = |row: &Value| row["vms"].as_array().expect("a list").iter().any(|vms| vms["kind"] == "reserved");
    assert!(reserved(row(48, 0)), "{}", row(48, 0));
}

#[test]
fn a_plan_knows_nothing_later_than_its_origin() {
    let folder = folder(8);
    let at = ["--at", "2026-05-07T00:00:00Z", "--csv"];
    let (before, _) = plan(folder.path(), &[&SEASONAL[..], &at].concat());
    fs::write(folder.path().join("counts.csv"), series(6)).expect("writable");
    let (after, _) = plan(folder.path(), &[&SEASONAL[..], &["--csv"]].concat());
    assert_eq!(before, after);
}

#[test]
fn what_was_not_recorded_is_unknown_and_not_zero() {
    let folder = folder(8);
    let noon = |line: &&str| !(line.starts_with("2026-05-08T11") || line.starts_with("2026-05-08T12"));
    let gap: Vec<String> = series(8).lines().filter(noon).map(str::to_owned).collect();
    fs::write(folder.path().join("counts.csv"), gap.join("\n")).expect("writable");
    let (json, said) = plan(folder.path(), &[&SEASONAL[..], &["--json"]].concat());
    assert!(said.contains("24 steps are missing") && said.contains("filled from the day before"), "{said}");
    let read: Value = serde_json::from_str(&json).expect("JSON");
    let noon = read["rows"][48 * 4]["p50"]["sessions"].as_f64().expect("a number");
    assert!((noon / 640.0 - 1.0).abs() < 0.12, "{noon}");
}

#[test]
fn a_short_series_is_forecast_by_what_it_suffices_for() {
    let folder = folder(3);
    let (_, said) = plan(folder.path(), &["--horizon", "2h"]);
    assert!(said.contains("seasonal-naive-day forecasts; ensemble needs 14 days"), "{said}");
    let (_, said) = plan(folder.path(), &["--horizon", "2h", "--at", "2026-05-01T06:00:00Z"]);
    assert!(said.contains("naive forecasts"), "{said}");
}

#[test]
fn a_budget_is_kept_and_said() {
    let folder = folder(8);
    let json = |budget: &str| -> Value {
        let arguments = [&SEASONAL[..], &["--json", "--budget", budget]].concat();
        serde_json::from_str(&plan(folder.path(), &arguments).0).expect("JSON")
    };
    let most = |read: &Value| read["totals"]["spent_per_hour_most"].as_f64().expect("a number");
    assert!(most(&json("1000")) > 0.85);
    let cut = json("0.75");
    assert!(most(&cut) <= 0.75, "{}", cut["totals"]);
    assert!(cut["remarks"][0].as_str().expect("text").contains("does not pay for all"), "{}", cut["remarks"]);
    let none = json("0.1");
    assert!(none["remarks"].to_string().contains("alone cost more than the budget"), "{}", none["remarks"]);
}

#[test]
fn what_does_not_fit_together_is_said_with_a_hint() {
    let folder = folder(3);
    let cases: &[(&[&str], &str)] = &[
        (&["--model", "tarot"], "allowed is one of naive"),
        (&["--at", "2025-01-01T00:00:00Z"], "outside of the series"),
        (&["--at", "2027-01-01T00:00:00Z"], "outside of the series"),
        (&["--at", "yesterday"], "--at"),
        (&["--step", "7min"], "does not divide a day"),
        (&["--step", "5min"], "no number of whole steps of the series"),
        (&["--horizon", "20min"], "no number of whole intervals"),
        (&["--horizon", "400d"], "no number of whole intervals"),
        (&["--budget", "-3"], "--budget"),
        (&["--budget", "nan"], "a number from 0 up"),
        (&["--model", "ensemble", "--at", "2026-05-01T02:00:00Z"], "model ensemble on"),
        (&["nowhere.csv"], "nowhere.csv"),
    ];
    for (arguments, expected) in cases {
        let output = output(folder.path(), arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && stdout(&output).is_empty(), "{arguments:?}: {said}");
    }
    let alone = Command::cargo_bin("forebay").expect("built").args(["plan", "site.toml"]).output().expect("runs");
    assert_eq!(alone.status.code(), Some(2));
}

#[test]
fn names_that_are_not_there_are_dealt_out_and_said_and_files_are_joined() {
    let folder = folder(2);
    let other = series(2).replace(",ams,", ",nrt,").replace(",east,", ",sin,");
    fs::write(folder.path().join("other.csv"), other).expect("writable");
    let (_, said) = plan(folder.path(), &["other.csv", "--horizon", "1h"]);
    assert!(said.contains("dealt out: nrt → ams, sin → fra"), "{said}");
    fs::write(folder.path().join("fine.csv"), "timestamp,value\n2026-05-01T00:00:00Z,1\n2026-05-01T00:01:00Z,1\n")
        .expect("writable");
    let output = output(folder.path(), &["fine.csv"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("series of equal steps"), "{}", stderr(&output));
}

#[test]
fn market_keys_that_cannot_be_are_refused_with_their_place() {
    let folder = folder(2);
    for (from, to, expected) in [
        ("flavours = [\"edge-8\"]", "flavours = [\"edge-9\"]", "edge-9"),
        ("share_most = 0.3", "share_most = 1.3", "allowed: 0 to 1"),
        ("price_per_hour = 0.25", "price_per_hour = -1.0", "allowed: 0 and above"),
        ("spot = {", "spots = {", "spots"),
    ] {
        assert!(SITE.contains(from));
        fs::write(folder.path().join("site.toml"), SITE.replace(from, to)).expect("writable");
        let output = output(folder.path(), &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{to}: {said}");
        assert!(said.contains(expected) && said.contains("site.toml") && said.contains("hint: "), "{to}: {said}");
    }
}

#[test]
fn a_model_from_a_file_plans_as_the_same_model_trained_on_the_spot() {
    let folder = folder(16);
    let train = ["train", "counts.csv", "--resample", "15min", "--horizon", "24h", "--train-days", "16"];
    said(folder.path(), &[&train[..], &["--model", "seasonal-naive-day", "--out", "day.forebay"]].concat());
    let (from_file, talk) = plan(folder.path(), &["--model", "day.forebay", "--csv"]);
    let (on_the_spot, _) = plan(folder.path(), &[&SEASONAL[..], &["--csv"]].concat());
    assert_eq!(from_file, on_the_spot);
    assert!(!talk.contains("trains"), "{talk}");
    fs::write(folder.path().join("broken.forebay"), "no model").expect("written");
    let refused = output(folder.path(), &["--model", "broken.forebay"]);
    assert_eq!((refused.status.code(), stdout(&refused)), (Some(2), String::new()));
    assert!(stderr(&refused).contains("broken.forebay"), "{}", stderr(&refused));
}
