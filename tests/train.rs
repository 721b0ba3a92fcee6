//! Models as files, from outside: trained, tested, gone on from, and refused.

mod command;

use std::fs;
use std::path::Path;

use command::{forebay, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

/// What is said on stdout and stderr by a command that must succeed.
fn said(folder: &Path, arguments: &str) -> (String, String) {
    command::said(folder, &arguments.split(' ').collect::<Vec<_>>())
}

/// What is said by a command that must be refused.
fn refused(folder: &Path, arguments: &str) -> String {
    let output = forebay(folder, &arguments.split(' ').collect::<Vec<_>>(), b"");
    assert_eq!(output.status.code(), Some(2), "{arguments}: {}", stdout(&output));
    assert_eq!(stdout(&output), "");
    stderr(&output)
}

/// A folder with the first 28 days of two hourly series, and 35 days of them.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24) - 0.5
    };
    let mut rows: Vec<(usize, String)> = Vec::new();
    for hour in 0..24 * 35 {
        for (name, size) in [("a", 100.0), ("b", 7000.0)] {
            let wave = 2.0 + (hour as f64 / 24.0 * std::f64::consts::TAU).sin();
            // February has 28 days in that year.
            let (month, day, at) = (2 + hour / (24 * 28), 1 + hour / 24 % 28, hour % 24);
            let row = format!("2026-{month:02}-{day:02}T{at:02}:00:00Z,{name},{}", size * (wave + noise()));
            rows.push((hour, row));
        }
    }
    for (name, hours) in [("month.csv", 24 * 28), ("all.csv", 24 * 35)] {
        let text: Vec<&str> = rows.iter().filter(|(hour, _)| *hour < hours).map(|(_, row)| row.as_str()).collect();
        fs::write(folder.path().join(name), format!("timestamp,series,value\n{}\n", text.join("\n"))).expect("written");
    }
    folder
}

const TRAIN: &str = "train month.csv --resample 1h --horizon 4h --model boosted --out trees.forebay";

fn wql(lines: &str, model: &str, series: &str) -> f64 {
    let row = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .find(|row| row["model"] == model && row["series"] == series);
    row.expect("it was tested")["wql"].as_f64().expect("a number")
}

#[test]
fn a_model_from_a_file_scores_as_the_same_model_trained_on_the_spot() {
    let folder = folder();
    let folder = folder.path();
    let (out, talk) = said(folder, TRAIN);
    let file = fs::read(folder.join("trees.forebay")).expect("it was written");
    assert_eq!(out, format!("{}  trees.forebay\n", blake3::hash(&file).to_hex()));
    assert!(
        talk.contains("boosted, up to 4 steps of 1 h ahead, trained on 2 series until 2026-03-01T00:00:00Z"),
        "{talk}"
    );
    let test = "forecast all.csv --resample 1h --horizon 2h,4h --json --model";
    let (lines, talk) = said(folder, &format!("{test} trees.forebay,boosted"));
    assert!(!talk.contains("scores are too good"), "{talk}");
    for series in ["a", "b"] {
        let four: String =
            lines.lines().filter(|line| line.contains("\"horizon_steps\":4")).map(|l| format!("{l}\n")).collect();
        assert_eq!(wql(&four, "trees.forebay", series), wql(&four, "boosted", series));
    }
    // Trained on the test days, too: said.
    said(folder, "train all.csv --resample 1h --horizon 4h --model naive --out naive.forebay");
    let (_, talk) = said(folder, &format!("{test} naive.forebay"));
    assert!(talk.contains("naive.forebay: trained on data until 2026-03-08T00:00:00Z, but the test"), "{talk}");
}

#[test]
fn a_model_goes_on_and_what_cannot_be_is_refused() {
    let folder = folder();
    let folder = folder.path();
    said(folder, TRAIN);
    let before = fs::read(folder.join("trees.forebay")).expect("it was written");
    // In its own place, whole.
    let (_, talk) = said(folder, "train all.csv --from trees.forebay --out trees.forebay --train-days 28");
    assert!(talk.contains("boosted, up to 4 steps of 1 h ahead, trained on 2 series until 2026-03-08"), "{talk}");
    let after = fs::read(folder.join("trees.forebay")).expect("it was written");
    assert_ne!(before, after);
    fs::write(folder.join("cut.forebay"), &after[..after.len() / 2]).expect("written");
    fs::write(folder.join("short.csv"), "timestamp,value\n2026-03-01T00:00:00Z,1\n2026-03-01T01:00:00Z,2\n")
        .expect("written");
    let out = "--out trees.forebay";
    for (arguments, reasons) in [
        (
            format!("train month.csv --from trees.forebay {out}"),
            ["trained for data until 2026-03-08", "hint: leave --from out"],
        ),
        (
            format!("train all.csv --from trees.forebay --resample 30min {out}"),
            ["steps of 1 h, not 30 min", "hint: leave --model"],
        ),
        (format!("train all.csv --from trees.forebay --horizon 2h {out}"), ["4 steps ahead, not 2", "hint"]),
        (format!("train all.csv --from trees.forebay --model ets {out}"), ["kind boosted, not ets", "hint"]),
        (
            format!("train all.csv --from cut.forebay {out}"),
            ["cut.forebay: not a model file", "hint: name a file that forebay train wrote"],
        ),
        (format!("train all.csv --from all.csv {out}"), ["all.csv: not a model file", "hint"]),
        (format!("train all.csv --from none.forebay {out}"), ["none.forebay cannot be read", "hint"]),
        (
            format!("train all.csv --resample 1h --horizon 90min {out}"),
            ["no number of whole steps of 1 h", "allowed is a multiple"],
        ),
        (format!("train all.csv --resample 1h --horizon 48h {out}"), ["within a day", "up to"]),
        (format!("train all.csv --resample 7h --horizon 7h {out}"), ["--resample 7 h does not divide a day", "hint"]),
        (format!("train short.csv --resample 1h --horizon 4h {out}"), ["short.csv: 0.1 days, 1 are needed", "hint"]),
        (
            format!("train all.csv --resample 1h --horizon 4h --train-days 99 {out}"),
            ["35.0 days, 99 are needed", "hint"],
        ),
        (
            format!("train all.csv --resample 1h --horizon 4h --train-days 2 {out}"),
            ["model ensemble: ", "hint: give longer series"],
        ),
        ("train all.csv --resample 1h --horizon 4h --out none/x".to_owned(), ["its folder is not there", "hint"]),
        ("train all.csv --resample 1h --horizon 4h --out .".to_owned(), ["it is a folder", "hint"]),
        (
            format!("train all.csv --resample 1h --horizon 4h --model enssemble {out}"),
            ["did you mean ensemble", "allowed is one of naive"],
        ),
        (
            format!("train all.csv --resample 1h --horizon 4h --model all {out}"),
            ["allowed is one of naive", "try '--help'"],
        ),
        (format!("train all.csv {out}"), ["--horizon", "required"]),
        (
            "forecast all.csv --model trees.forebay --resample 1h --horizon 8h".to_owned(),
            ["4 steps of 1 h ahead, asked for 8", "hint: use the --resample"],
        ),
        (
            "forecast all.csv --model trees.forebay --resample 2h --horizon 4h".to_owned(),
            ["steps of 1 h, asked for steps of 2 h", "hint"],
        ),
        (
            "forecast all.csv --model cut.forebay --resample 1h --horizon 4h".to_owned(),
            ["cut.forebay: not a model file", "hint"],
        ),
        (
            "forecast all.csv --model treees --resample 1h --horizon 4h".to_owned(),
            ["or a model file", "allowed is all, or some of"],
        ),
    ] {
        let why = refused(folder, &arguments);
        assert!(reasons.iter().all(|reason| why.contains(reason)), "{arguments}: {why}");
        assert_eq!(fs::read(folder.join("trees.forebay")).expect("still there"), after, "{arguments}");
    }
    let left: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").file_name()).collect();
    assert_eq!(left.len(), 5, "no drafts are left: {left:?}");
}
