//! `forebay import`: logs of DNS queries to counts by time, region and class.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use forebay_adapters::demand::{CensusOptions, Demand, DemandOptions, read_demand};
use forebay_adapters::geography::STALE_AFTER;
use forebay_adapters::name_classes::RuleError;
use forebay_adapters::{Atlas, NameClasses, ReadOptions};
use forebay_world::{Duration, Timestamp};
use serde_json::{Value, json};

use super::arguments::ImportOptions;
use super::{Answer, Failure};
use crate::report::{DemandFile, DemandFileError, Layout, write_csv, write_whole};

pub(super) fn run(options: &ImportOptions) -> Result<Answer, Failure> {
    let day = Duration::from_hours(24);
    if options.window < Duration::from_secs(1) || options.window > day || !(day % options.window).is_zero() {
        return Err(Failure::Other(
            anyhow!("--window {} does not divide a day into whole seconds", options.window),
            "10s, 1min, 15min and 1h do".to_owned(),
        ));
    }
    let out = options.out.as_deref().map(DemandFile::new).transpose()?;
    for written in [&options.out, &options.report].into_iter().flatten() {
        keep_apart(written, options)?;
    }
    let classes = classes(options)?;
    let atlas = match &options.geo[..] {
        [] => None,
        files => Some(Atlas::open(files)?),
    };
    let places = atlas.as_ref().map(Places::of).unwrap_or_default();
    let own = classes.has_own();
    let reading = DemandOptions {
        read: ReadOptions {
            format: options.format,
            zone: options.time_zone.as_deref().map(super::time_zone).transpose()?,
            year: options.year,
            now: super::now(),
            vantage: None,
            dedupe: options.dedupe,
            ..ReadOptions::default()
        },
        census: CensusOptions { window: options.window, lateness: options.lateness, k: usize::from(options.k) },
        vantage: options.vantage,
    };
    let demand = read_demand(&options.logs, &reading, atlas, classes)?;
    let remarks = remarks(&demand, options, &places, own);
    talk(&demand, &remarks);
    if let Some(path) = &options.report {
        let report = report(&demand, options, &places, &remarks);
        write_whole(path, |out| writeln!(out, "{report:#}"))
            .map_err(|source| DemandFileError::Write { path: path.clone(), source })?;
    }
    if demand.series.is_empty() {
        return Err(Failure::Other(
            anyhow!("no count stands for {} client networks or more: nothing may be written", options.k),
            "count over a longer --window; a smaller --k tells of fewer clients".to_owned(),
        ));
    }
    let layout = if options.long { Layout::Long } else { Layout::Own };
    match out {
        Some(file) => file.write(&demand, layout)?,
        None => {
            let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
            write_csv(&demand, layout, &mut out).and_then(|()| out.flush()).map_err(Failure::stdout)?;
        }
    }
    Ok(Answer::Yes)
}

/// That nothing is written over what is read.
fn keep_apart(written: &Path, options: &ImportOptions) -> Result<(), Failure> {
    if options.out.is_some() && options.report.as_ref() == options.out.as_ref() {
        return Err(Failure::Other(
            anyhow!("--out and --report both name {}", written.display()),
            "name two files".to_owned(),
        ));
    }
    let Ok(place) = written.canonicalize() else { return Ok(()) };
    let mut read = options.logs.iter().chain(&options.geo).chain(&options.classes);
    if read.any(|path| path.canonicalize().is_ok_and(|path| path == place)) {
        return Err(Failure::Other(
            anyhow!("{} is read, and would be written over", written.display()),
            "name another file".to_owned(),
        ));
    }
    Ok(())
}

fn classes(options: &ImportOptions) -> Result<NameClasses, Failure> {
    let refused = |key: &str, error: RuleError| Failure::Other(anyhow!("--{key}: {}", error.what), error.hint);
    let mut classes = NameClasses::new();
    for rule in &options.class {
        classes.add_rule(rule).map_err(|error| refused("class", error))?;
    }
    if let Some(path) = &options.classes {
        classes.add_rules_of(path)?;
    }
    for zone in &options.zone {
        classes.add_zone(zone).map_err(|error| refused("zone", error))?;
    }
    Ok(classes)
}

/// What is known of where clients are, for the report.
#[derive(Default)]
struct Places {
    listed: usize,
    /// File, kind and date.
    databases: Vec<(PathBuf, String, Timestamp)>,
}

impl Places {
    fn of(atlas: &Atlas) -> Places {
        let databases = atlas.databases().iter();
        Places {
            listed: atlas.listed(),
            databases: databases.map(|(path, data)| (path.clone(), data.kind().to_owned(), data.built())).collect(),
        }
    }
}

/// Sentences about what is not as one might think.
fn remarks(demand: &Demand, options: &ImportOptions, places: &Places, own: bool) -> Vec<String> {
    let report = &demand.report;
    let tally = &report.tally;
    let share = |part: u64| percent(part, tally.queries);
    let mut remarks = Vec::new();
    let newest = report.logs.iter().filter_map(|(_, log)| log.last).max();
    for (path, kind, built) in &places.databases {
        let age = newest.map_or(Duration::ZERO, |newest| newest.since(*built));
        let days = |span: Duration| (span.as_hours_f64() / 24.0).round();
        remarks.push(format!("{}: {kind} of {}", path.display(), date(*built)));
        if age > STALE_AFTER {
            let (age, most) = (days(age), days(STALE_AFTER));
            remarks.push(format!(
                "{}: {age} days older than the newest record: over {most} days, many networks have moved",
                path.display()
            ));
        }
    }
    match report.unlocated {
        None => remarks.push("no --geo: all clients are in one region, \"all\"".to_owned()),
        Some(0) => {}
        Some(count) => remarks.push(format!(
            "{count} queries ({}) come from networks without a region and count for \"other\"",
            share(count)
        )),
    }
    if !own {
        remarks.push("neither --zone nor --class: every name counts, as class \"default\"".to_owned());
    } else if report.foreign > 0 {
        remarks.push(format!(
            "{} queries ({}) are for names that are not yours and count as class \"other\"",
            report.foreign,
            share(report.foreign)
        ));
    }
    if report.other_vantage > 0 {
        let name = report.vantage.name();
        remarks.push(format!("{} queries were seen elsewhere than at {name} and do not count", report.other_vantage));
    }
    if tally.merged_cells > 0 {
        remarks.push(format!(
            "{} counts stood for fewer than {} networks and went to region \"other\" of their class",
            tally.merged_cells, options.k
        ));
    }
    if tally.withheld > 0 {
        remarks.push(format!(
            "{} queries ({}) in {} counts are withheld: fewer than {} networks even in region \"other\"",
            tally.withheld,
            share(tally.withheld),
            tally.withheld_cells,
            options.k
        ));
    }
    if tally.late > 0 {
        remarks.push(format!(
            "{} queries ({}) came more than {} after their window and do not count",
            tally.late,
            share(tally.late),
            options.lateness
        ));
    }
    const NAMED: usize = 5;
    for (from, to) in report.gaps.iter().take(NAMED) {
        remarks.push(format!("the logs are silent from {from} to {to}: a gap, whose windows are left out"));
    }
    if report.gaps.len() > NAMED {
        remarks.push(format!("{} more gaps", report.gaps.len() - NAMED));
    }
    remarks
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

fn date(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// What was read and what came of it, for people.
fn talk(demand: &Demand, remarks: &[String]) {
    for (path, log) in &demand.report.logs {
        let name = path.display();
        eprintln!("{name}: {log}");
        for assumption in &log.assumptions {
            eprintln!("{name}: {assumption}");
        }
        if log.queries == 0 || log.malformed.count > 0 {
            log.remarks().iter().for_each(|remark| eprintln!("{name}: {remark}"));
        }
    }
    remarks.iter().for_each(|remark| eprintln!("{remark}"));
    let tally = &demand.report.tally;
    eprintln!(
        "{} series every {}: {} of {} queries at {} written, {} of them under \"other\" for fewness",
        demand.series.len(),
        demand.window,
        tally.written,
        tally.queries,
        demand.report.vantage.name(),
        tally.merged
    );
}

/// The same for programs.
fn report(demand: &Demand, options: &ImportOptions, places: &Places, remarks: &[String]) -> Value {
    let report = &demand.report;
    let spans = |spans: &[(Timestamp, Timestamp)]| -> Vec<[String; 2]> {
        spans.iter().map(|(from, to)| [from.to_string(), to.to_string()]).collect()
    };
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let logs: Vec<Value> = report
        .logs
        .iter()
        .map(|(path, log)| {
            let skipped: serde_json::Map<String, Value> =
                log.skipped.iter().map(|(why, count)| (why.to_string(), count.into())).collect();
            json!({
                "file": path.display().to_string(),
                "format": log.format.name(),
                "records": log.records,
                "queries": log.queries,
                "client_networks": log.clients,
                "with_client_subnet": log.with_ecs,
                "skipped": skipped,
                "duplicates": log.duplicates,
                "malformed": log.malformed.count,
                "cut": log.cut,
                "truncated": log.truncated.is_some(),
                "out_of_order": log.out_of_order,
                "first": text(log.first),
                "last": text(log.last),
                "remarks": log.remarks(),
            })
        })
        .collect();
    let databases: Vec<Value> = places
        .databases
        .iter()
        .map(|(path, kind, built)| json!({"file": path.display().to_string(), "kind": kind, "date": date(*built)}))
        .collect();
    json!({
        "forebay": env!("CARGO_PKG_VERSION"),
        "window_seconds": options.window.as_secs_f64(),
        "k": options.k,
        "lateness_seconds": options.lateness.as_secs_f64(),
        "time_zone": options.time_zone.as_deref().unwrap_or("UTC"),
        "vantage": report.vantage.name(),
        "logs": logs,
        "prefixes": places.listed,
        "databases": databases,
        "counts": report.tally,
        "other_vantage": report.other_vantage,
        "without_region": report.unlocated,
        "foreign_names": report.foreign,
        "covered": spans(&report.covered),
        "gaps": spans(&report.gaps),
        "series": demand.series.iter().map(|(r, c)| format!("{r}/{c}")).collect::<Vec<_>>(),
        "remarks": remarks,
    })
}

impl From<DemandFileError> for Failure {
    fn from(error: DemandFileError) -> Self {
        let hint = match &error {
            DemandFileError::Ending { .. } => "the ending tells the format",
            DemandFileError::Write { .. } => "name a file in a folder that is there and can be written",
        };
        Failure::Other(error.into(), hint.to_owned())
    }
}
