//! `forebay compare`: policies on scenarios over many seeds.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::arguments::CompareOptions;
use super::{Answer, Failure, interrupt, print};
use crate::experiment::{Comparison, Experiment, ExperimentError, Figures, contrasts};
use crate::report::{Align, METRICS, Summary, Table};
use crate::scenario::{Overrides, Scenario};

pub(super) fn run(options: CompareOptions) -> Result<Answer, Failure> {
    if let Some(threads) = options.threads {
        super::run::set_threads(threads)?;
    }
    let baseline = baseline(&options)?;
    let overrides = Overrides { replay: options.replay.clone(), until: options.until, boot: options.boot, seed: None };
    let scenarios: Vec<Scenario> =
        options.scenarios.iter().map(|path| Scenario::load(path, &overrides)).collect::<Result<_, _>>()?;
    for scenario in &scenarios {
        for remark in &scenario.remarks {
            eprintln!("{}: {remark}", scenario.name);
        }
    }
    for (nth, scenario) in scenarios.iter().enumerate() {
        if scenarios[..nth].iter().any(|other| other.name == scenario.name) {
            return Err(Failure::Other(
                anyhow::anyhow!("two scenarios are called \"{}\"", scenario.name),
                "give each its own `name`".to_owned(),
            ));
        }
    }
    let mut policies = options.policies.clone();
    let mut seen = std::collections::BTreeSet::new();
    policies.retain(|policy| seen.insert(policy.clone()));
    let experiment = Experiment { scenarios, policies, seeds: options.seeds };
    if let Some(folder) = &options.out {
        prepare(folder)?;
    }

    let interrupted = interrupt::requested();
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(experiment.len() as u64), target);
    let style = ProgressStyle::with_template("{pos} of {len} runs [{bar:32}] {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let runs = experiment.run(&|| {
        bar.inc(1);
        !interrupted.load(Ordering::SeqCst)
    });
    bar.finish_and_clear();
    let runs = match runs {
        Err(ExperimentError::Interrupted) => {
            eprintln!("interrupted: a comparison of some of the runs would mislead, so there is none");
            return Ok(Answer::Interrupted);
        }
        runs => runs?,
    };
    let compared = contrasts(&runs, options.seeds as usize, &baseline);
    if let Some(folder) = &options.out {
        write_runs(folder, &runs, &compared)
            .with_context(|| format!("{} cannot be written", folder.display()))
            .map_err(|error| Failure::Other(error, "name a folder on a disk with room".to_owned()))?;
    }
    if options.json {
        print(&json_lines(&compared).context("the figures cannot be written as JSON")?)
    } else {
        print(page(&compared, &baseline).as_bytes())
    }
}

fn baseline(options: &CompareOptions) -> Result<String, Failure> {
    match &options.baseline {
        Some(baseline) if !options.policies.contains(baseline) => Err(Failure::Other(
            anyhow::anyhow!("baseline {baseline} is not among the policies"),
            format!("add it: --policies {baseline},{}", options.policies.join(",")),
        )),
        Some(baseline) => Ok(baseline.clone()),
        None if options.policies.iter().any(|policy| policy == "fixed") => Ok("fixed".to_owned()),
        None => Ok(options.policies.first().cloned().unwrap_or_default()),
    }
}

fn json_lines(compared: &[Comparison]) -> serde_json::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for comparison in compared {
        serde_json::to_writer(&mut lines, comparison)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Makes the folder before hours of simulation, not after.
pub(super) fn prepare(folder: &Path) -> Result<(), Failure> {
    let occupied = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(_) => true,
    };
    if occupied {
        return Err(crate::report::DirectoryError::Occupied { path: folder.to_owned() }.into());
    }
    fs::create_dir_all(folder)
        .with_context(|| format!("{} cannot be written", folder.display()))
        .map_err(|error| Failure::Other(error, "name a folder that can be written".to_owned()))
}

/// One row a run, and one JSON line a comparison.
fn write_runs(folder: &Path, runs: &[Summary], compared: &[Comparison]) -> io::Result<()> {
    let mut out = io::BufWriter::new(fs::File::create(folder.join("runs.csv"))?);
    let heads: Vec<&str> = METRICS.iter().map(|(name, _)| *name).collect();
    writeln!(out, "scenario,policy,seed,{}", heads.join(","))?;
    for run in runs {
        let values: Vec<String> = METRICS.iter().map(|(_, value)| value(run).to_string()).collect();
        writeln!(out, "{},{},{},{}", run.scenario, run.policy, run.seed, values.join(","))?;
    }
    out.flush()?;
    fs::write(folder.join("comparison.jsonl"), json_lines(compared)?)
}

/// The table for people: one for each scenario.
fn page(compared: &[Comparison], baseline: &str) -> String {
    let mut page = String::new();
    let mut scenarios: Vec<&str> = compared.iter().map(|comparison| comparison.scenario.as_str()).collect();
    scenarios.dedup();
    for scenario in scenarios {
        let rows: Vec<&Comparison> = compared.iter().filter(|comparison| comparison.scenario == scenario).collect();
        let seeds = rows.first().map_or(0, |row| row.seeds);
        page.push_str(&format!("{scenario}: mean ± half width of the 95 % confidence interval over {seeds} seeds\n"));
        let with_regret = rows.iter().any(|row| row.regret.is_some());
        let difference = format!("cost - {baseline}'s");
        let mut columns = vec![("policy", Align::Left)];
        columns.extend(COLUMNS.iter().map(|(head, _, _)| (*head, Align::Right)));
        columns.push((difference.as_str(), Align::Right));
        if with_regret {
            columns.push(("regret", Align::Right));
        }
        let mut table = Table::new(&columns);
        for row in rows {
            let mut cells = vec![row.policy.clone()];
            for (_, metric, digits) in COLUMNS {
                let width = row.ci95.as_ref().and_then(|widths| widths.get(metric).copied());
                cells.push(shown(Figures { mean: row.mean[metric], ci95: width }, *digits));
            }
            cells.push(row.paired.as_ref().map_or("-".to_owned(), |paired| {
                let width = paired.ci95.as_ref().and_then(|widths| widths.get("cost").copied());
                shown(Figures { mean: paired.mean["cost"], ci95: width }, 2)
            }));
            if with_regret {
                cells.push(row.regret.map_or("-".to_owned(), |regret| shown(regret, 2)));
            }
            table.row(cells);
        }
        page.push_str(&table.to_string());
        page.push('\n');
    }
    page
}

/// Columns of the table: head, figure, digits after the point.
const COLUMNS: &[(&str, &str, usize)] = &[
    ("SLO min", "slo_violation_minutes", 0),
    ("rejected", "sessions_rejected", 0),
    ("VM-hours", "vm_hours", 1),
    ("over-prov.", "over_provisioned_vm_hours", 1),
    ("churn", "churn", 0),
    ("p95 ms", "latency_p95_ms", 0),
    ("cost", "cost", 2),
];

fn shown(figures: Figures, digits: usize) -> String {
    match figures.ci95 {
        Some(width) => format!("{:.digits$} ± {width:.digits$}", figures.mean),
        None => format!("{:.digits$}", figures.mean),
    }
}
