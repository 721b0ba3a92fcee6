//! The command line from outside: what it prints where, with which status, and what it leaves behind.

mod command;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use command::{stderr, stdout};
use serde_json::Value;

fn forebay(arguments: &[&str]) -> Output {
    Command::cargo_bin("forebay")
        .expect("the command is built")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("NO_COLOR")
        .args(arguments)
        // Not a terminal, whose width would show in the help.
        .write_stdin("")
        .output()
        .expect("it runs")
}

/// The data of a command that must succeed.
fn data(arguments: &[&str]) -> String {
    let output = forebay(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders are named in UTF-8")
}

/// Files of a folder with their content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| entry.expect("readable").path())
        .map(|path| (path.file_name().expect("named").into(), fs::read(&path).expect("readable")))
        .collect();
    files.sort();
    files
}

#[test]
fn every_scenario_runs_under_a_reactive_and_a_predictive_policy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for entry in fs::read_dir(folder).expect("scenarios are there") {
        let path = entry.expect("readable").path();
        for policy in ["predictive", "hpa"] {
            let line = data(&["run", text(&path), "--policy", policy, "--until", "40 min", "--json"]);
            let figures: Value = serde_json::from_str(&line).expect("one JSON object");
            assert_eq!(figures["policy"], policy);
            assert!(figures["sessions"].as_u64() > Some(0), "{}: {line}", path.display());
            assert!(figures["cost"].as_f64() >= figures["capacity_cost"].as_f64(), "{line}");
        }
    }
}

#[test]
fn json_has_every_figure_by_its_name() {
    let line = data(&["run", "scenarios/steady.toml", "--until", "50 min", "--json"]);
    assert_eq!(line.lines().count(), 1);
    let figures: Value = serde_json::from_str(&line).expect("one JSON object");
    for name in [
        "scenario",
        "policy",
        "seed",
        "simulated_seconds",
        "wall_seconds",
        "events",
        "sessions",
        "sessions_rejected",
        "dns_queries",
        "slo_violation_minutes",
        "guarantee_violation_minutes",
        "vm_hours",
        "over_provisioned_vm_hours",
        "capacity_cost",
        "cost",
        "churn",
    ] {
        assert!(!figures[name].is_null(), "{name} is missing in {line}");
    }
    for quantile in ["p50", "p95", "p99"] {
        assert!(figures["latency_ms"][quantile].as_f64() > Some(0.0), "{line}");
    }
    assert_eq!(figures["simulated_seconds"], 3000.0);
}

#[test]
fn the_same_run_leaves_the_same_bytes_and_its_journal_replays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let arguments = ["run", "scenarios/region-loss.toml", "--until", "3 h", "--seed", "5", "--json"];
    for (out, threads) in [(&one, "1"), (&two, "2")] {
        data(&[&arguments[..], &["--out", text(out), "--threads", threads]].concat());
    }
    let (left, right) = (files(&one), files(&two));
    let names: Vec<&str> = left.iter().filter_map(|(name, _)| name.to_str()).collect();
    assert_eq!(
        names,
        [
            "config.resolved.toml",
            "decisions.jsonl",
            "events.jsonl",
            "journal.jsonl",
            "manifest.json",
            "metrics.csv",
            "summary.json"
        ]
    );
    for ((name, a), (_, b)) in left.iter().zip(&right) {
        assert!(a == b, "{} differs", name.display());
        assert!(!String::from_utf8_lossy(a).contains(text(folder.path())), "{} holds a path", name.display());
    }
    let manifest: Value = serde_json::from_slice(&fs::read(one.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest["complete"], &manifest["seed"]), (&Value::Bool(true), &Value::from(5)));

    let said = data(&["replay", text(&one), "--json"]);
    let said: Value = serde_json::from_str(&said).expect("one JSON object");
    assert_eq!((&said["same"], &said["ticks"]), (&Value::Bool(true), &Value::from(180)));

    // One decision altered: the answer is no, and says where.
    let journal = fs::read_to_string(one.join("journal.jsonl")).unwrap();
    let altered = folder.path().join("altered.jsonl");
    fs::write(&altered, journal.replacen("\"asked\":", "\"asked\":1", 1)).unwrap();
    let output = forebay(&["replay", text(&altered)]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("asked"), "{}", stdout(&output));

    // The resolved scenario is a scenario, and runs to the same figures.
    let again = data(&["run", text(&one.join("config.resolved.toml")), "--json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    let summary: Value = serde_json::from_slice(&fs::read(one.join("summary.json")).unwrap()).unwrap();
    assert_eq!(again["cost"], summary["cost"]);
    assert_eq!(again["events"], summary["events"]);
}

#[test]
fn a_comparison_is_the_same_for_any_number_of_threads_and_no_policy_beats_the_oracle() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scenarios = ["scenarios/slice-contention.toml", "scenarios/replay-dns.toml"];
    let mut said = Vec::new();
    for threads in ["1", "3"] {
        let out = folder.path().join(threads);
        let mut arguments = vec!["compare"];
        arguments.extend(scenarios);
        arguments.extend(["--policies", "fixed,hpa,predictive,oracle", "--seeds", "2", "--until", "90 min", "--json"]);
        arguments.extend(["--threads", threads, "--out", text(&out)]);
        said.push((data(&arguments), files(&out)));
    }
    assert!(said[0] == said[1]);
    let lines: Vec<Value> = said[0].0.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 8);
    for line in &lines {
        assert_eq!(line["seeds"], 2);
        assert!(line["mean"]["vm_hours"].is_f64() && line["ci95"]["vm_hours"].is_f64(), "{line}");
        assert_eq!(line["paired"].is_null(), line["policy"] == "fixed", "{line}");
        assert!(line["regret"]["mean"].as_f64() >= Some(0.0), "{line}");
    }
}

#[test]
fn a_comparison_is_printed_as_a_table() {
    let page =
        data(&["compare", "scenarios/steady.toml", "--policies", "predictive,hpa", "--seeds", "2", "--until", "1 h"]);
    assert!(page.starts_with("steady: mean ± half width of the 95 % confidence interval over 2 seeds\n"), "{page}");
    for part in ["policy", "SLO min", "VM-hours", "cost - predictive's", "\npredictive", "\nhpa"] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn what_cannot_be_done_is_said_with_status_2() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("something"), "there").unwrap();
    let occupied = text(folder.path());
    let file = folder.path().join("something");
    for (arguments, said) in [
        (&["run", "scenarios/nothing.toml"][..], "scenarios/nothing.toml"),
        (&["run", "scenarios/steady.toml", "--policy", "predictve"], "did you mean predictive?"),
        (&["run", "scenarios/steady.toml", "--until", "soon"], "90 s"),
        (&["run", "scenarios/steady.toml", "--replay", "x.csv"], "replays nothing"),
        (&["run", "scenarios/replay-counts.toml", "--replay", "x.csv"], "x.csv: cannot be read"),
        (&["run", "scenarios/steady.toml", "--out", occupied], "is there already"),
        (&["run", "scenarios/steady.toml", "--out", text(&file)], "is there already"),
        (&["run", "scenarios/steady.toml", "--out", "/dev/null/x"], "/dev/null/x"),
        (&["run", "scenarios/steady.toml", "--policy", "scheduled"], "scheduled"),
        (&["compare", "scenarios/steady.toml", "--policies", "hpa", "--baseline", "fixed"], "not among the policies"),
        (&["compare", "scenarios/steady.toml", "scenarios/steady.toml"], "two scenarios are called"),
        (&["compare", "scenarios/steady.toml", "--out", occupied], "is there already"),
        (&["replay", "nothing.jsonl"], "nothing.jsonl"),
        (&["replay", "scenarios/steady.toml"], "journal line 1"),
        (&["fly"], "unrecognized subcommand"),
    ] {
        let output = forebay(arguments);
        let talk = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {talk}");
        assert!(talk.contains(said), "{arguments:?} says {talk}");
        assert!(output.stdout.is_empty() && !talk.contains("panicked"), "{arguments:?}: {talk}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("it opens");
    let status = std::process::Command::new(assert_cmd::cargo::cargo_bin("forebay"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["check", "scenarios/steady.toml"])
        .stdout(full)
        .stderr(std::process::Stdio::null())
        .status()
        .expect("it runs");
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("forebay"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn recordings_of_any_start_step_and_names_replay() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let counts = folder.path().join("visits.csv");
    let mut rows = String::from("timestamp,region,class,value\n");
    for step in 0..48 {
        for (name, value) in [("mars,rovers", step * 10), ("PAR,web", 40), ("venus,download", 7)] {
            rows.push_str(&format!("2031-03-01T{:02}:{:02}:00Z,{name},{value}\n", step / 4, step % 4 * 15));
        }
    }
    fs::write(&counts, rows).unwrap();
    let output = forebay(&["run", "scenarios/replay-counts.toml", "--replay", text(&counts), "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let figures: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(figures["simulated_seconds"], 12.0 * 3600.0);
    assert!(stderr(&output).contains("mars"), "{}", stderr(&output));

    let log = folder.path().join("dns.log");
    let mut rows = String::from("#separator \\x09\n#path\tdns\n#fields\tts\tid.orig_h\tquery\tqtype\n");
    for n in 0..600 {
        rows.push_str(&format!("{}.5\t203.0.113.{}\thost{}.cdn.test\t1\n", 2_000_000_000 + n, n % 200, n % 9));
    }
    fs::write(&log, rows).unwrap();
    let figures = data(&["run", "scenarios/replay-dns.toml", "--replay", text(&log), "--json"]);
    let figures: Value = serde_json::from_str(&figures).unwrap();
    assert_eq!(figures["sessions"], 600);
    assert_eq!(figures["simulated_seconds"], 600.0 + 2.0 * 300.0);
}

/// Recordings of real services, where they are: `FOREBAY_DATA` names the folder.
#[test]
fn real_recordings_replay() {
    let folder = std::env::var_os("FOREBAY_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    for (scenario, recording, sessions) in [
        ("scenarios/replay-counts.toml", "worldcup98_1min.csv", 10_000_000..14_000_000),
        ("scenarios/replay-counts.toml", "nab_twitter_volume_5min.csv", 1..u64::MAX),
        ("scenarios/replay-dns.toml", "wrccdc2018_zeek_dns.log.gz", 24_000..27_000),
        ("scenarios/replay-dns.toml", "sample_knot.dnstap", 162..163),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder).join(recording);
        if !file.exists() {
            eprintln!("{} is not there: not replayed", file.display());
            continue;
        }
        let figures = data(&["run", scenario, "--replay", text(&file), "--headless", "--json"]);
        let figures: Value = serde_json::from_str(&figures).expect("one JSON object");
        let seen = figures["sessions"].as_u64().expect("a count");
        assert!(sessions.contains(&seen), "{recording}: {figures}");
    }
}

#[test]
fn help_is_as_it_was() {
    for (name, arguments) in
        [("forebay", &["--help"][..]), ("run", &["run", "--help"]), ("compare", &["compare", "--help"])]
    {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("help-{name}"), data(arguments));
        });
    }
    assert!(data(&["man"]).contains(".TH forebay"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(data(&["completions", shell]).contains("forebay"));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_a_readable_directory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let child = std::process::Command::new(assert_cmd::cargo::cargo_bin("forebay"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "scenarios/diurnal.toml", "--json", "--out", text(&out)])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    // Two simulated days take seconds; what is written first is flushed within their first hours.
    while fs::metadata(out.join("journal.jsonl")).map_or(0, |file| file.len()) == 0 {
        std::thread::yield_now();
    }
    let told = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(told.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let figures: Value = serde_json::from_slice(&output.stdout).expect("figures up to there");
    assert_eq!(figures["complete"], false);
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["complete"], false);
    for name in ["decisions.jsonl", "events.jsonl", "journal.jsonl"] {
        let lines = fs::read_to_string(out.join(name)).unwrap();
        assert!(lines.ends_with('\n'), "{name} ends within a line");
        assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{name}");
    }
    data(&["replay", text(&out)]);
}

/// Three weeks by the hour: a day, a quieter Sunday, and another on the holiday.
fn hourly_series(folder: &Path) -> PathBuf {
    let file = folder.join("hours.csv");
    let mut rows = String::from("timestamp,value\n");
    for hour in 0..24 * 22 {
        let (day, of_day) = (hour / 24, hour % 24);
        // It begins on a Monday.
        let quiet = day % 7 == 6 || day == 16;
        let value = 100 + 6 * (of_day * (24 - of_day)) / if quiet { 4 } else { 1 } + (hour * 37) % 23;
        let date = format!("2026-06-{:02}", day + 1);
        rows.push_str(&format!("{date}T{of_day:02}:00:00Z,{value}\n"));
    }
    fs::write(&file, rows).expect("written");
    file
}

#[test]
fn a_back_test_tells_each_seed_its_interval_and_who_is_worse_than_the_simple_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let series = hourly_series(folder.path());
    let models = "naive,seasonal-naive-day,ets,structural,naive+,boosted";
    let mut arguments = vec!["forecast", text(&series), "--model", models, "--seeds", "2", "--seed", "5"];
    arguments.extend(["--train-days", "15", "--test-days", "7", "--resample", "1h", "--horizon", "4h"]);
    let page = data(&arguments);
    assert!(page.contains("means over 2 seeds"), "{page}");
    for model in ["structural", "naive+", "boosted"] {
        let said = format!("{model}: worst ratio to the best of naive, seasonal-naive-day, ets: ");
        assert!(page.contains(&said) && page.contains(" on hours"), "{page}");
    }
    arguments.push("--json");
    let lines = data(&arguments);
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let (kinds, of_series): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| row.get("series").is_none());
    assert_eq!((kinds.len(), of_series.len()), (7, 7), "{lines}");
    for row in &kinds {
        for key in ["horizon_steps", "gm_wql", "gm_mase", "cov90", "under_q90", "cpu_s", "gm_wql_low", "gm_wql_high"] {
            assert!(row[key].is_number(), "{key}: {row}");
        }
        let [low, mean, high] = ["gm_wql_low", "gm_wql", "gm_wql_high"].map(|key| row[key].as_f64().expect("a number"));
        assert!(low <= mean + 1e-9 && mean <= high + 1e-9, "{row}");
    }
    // Only what is trained depends on a seed.
    let seeds_of = |model: &str| -> Vec<u64> {
        let rows = kinds.iter().filter(|row| row["model"] == model);
        rows.map(|row| row["seed"].as_u64().expect("a seed")).collect()
    };
    assert_eq!((seeds_of("boosted"), seeds_of("naive+")), (vec![5, 6], vec![5]));
}

#[test]
fn holidays_are_read_and_a_date_that_is_none_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (series, holidays) = (hourly_series(folder.path()), folder.path().join("holidays.csv"));
    fs::write(&holidays, "date,name\n2026-06-17,Founders' Day\n").expect("written");
    let mut arguments = vec!["forecast", text(&series), "--model", "structural", "--json"];
    arguments.extend(["--train-days", "15", "--test-days", "7", "--resample", "1h", "--horizon", "24h"]);
    let wql = |arguments: &[&str]| -> f64 {
        let lines = data(arguments);
        let row: Value = serde_json::from_str(lines.lines().next_back().expect("a line")).expect("an object");
        row["wql"].as_f64().expect("a loss")
    };
    let without = wql(&arguments);
    arguments.extend(["--holidays", text(&holidays)]);
    let with = wql(&arguments);
    assert!(with < without, "{with} with, {without} without");
    fs::write(&holidays, "date,name\n2026-06-17,Founders' Day\n17.6.2026,again\n").expect("written");
    let refused = forebay(&arguments);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("holidays.csv:3: ") && said.contains("hint:"), "{said}");
}
