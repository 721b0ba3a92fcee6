//! `forebay run`: one run of a scenario, watched or not.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::arguments::RunOptions;
use super::{Answer, Failure, interrupt, print};
use crate::experiment::cheapest_oracle;
use crate::report::{RunDirectory, Summary};
use crate::run::{Run, foresight};
use crate::scenario::{Overrides, Scenario};

pub(super) fn run(options: RunOptions) -> Result<Answer, Failure> {
    if let Some(threads) = options.threads {
        set_threads(threads)?;
    }
    let overrides =
        Overrides { seed: options.seed, replay: options.replay.clone(), until: options.until, boot: options.boot };
    let mut scenario = Scenario::load(&options.scenario, &overrides)?;
    for remark in &scenario.remarks {
        eprintln!("{}: {remark}", scenario.name);
    }
    if !options.headless && !options.json && options.out.is_none() && io::stdout().is_terminal() {
        return super::watch::run(scenario, &options);
    }
    let interrupted = interrupt::requested();
    let began = Instant::now();
    if options.policy == "oracle" {
        tune_oracle(&mut scenario)?;
    }
    let mut run = Run::new(&scenario, &options.policy)?;
    let mut directory = options
        .out
        .as_deref()
        .map(|folder| RunDirectory::create(folder, &scenario, &options.policy, run.knowledge()))
        .transpose()?;
    let progress = progress(&scenario);
    let mut complete = true;
    loop {
        if interrupted.load(Ordering::SeqCst) {
            complete = false;
            break;
        }
        let Some(tick) = run.tick().context("the run stopped")? else { break };
        if let Some(directory) = &mut directory {
            directory.tick(&tick)?;
        }
        progress.set_position(tick.observation.at.since(scenario.setup.start).as_secs_f64() as u64);
    }
    progress.finish_and_clear();
    let simulated = run.now().since(scenario.setup.start).as_secs_f64();
    let seed = scenario.setup.seed;
    let score = run.score();
    let mut summary = Summary::new(&scenario.name, &options.policy, seed, simulated, run.events_processed(), &score);
    summary.complete = complete;
    if let Some(directory) = directory {
        directory.finish(&summary)?;
    }
    summary.wall_seconds = Some(began.elapsed().as_secs_f64());
    if options.json {
        let mut line = serde_json::to_vec(&summary).context("the figures cannot be written as JSON")?;
        line.push(b'\n');
        print(&line)?;
    } else {
        print(page(&scenario, &summary).as_bytes())?;
    }
    if complete {
        return Ok(Answer::Yes);
    }
    eprintln!("interrupted at {}: the figures are those up to there", run.now());
    Ok(Answer::Interrupted)
}

/// Gives the oracle the settings with which it is cheapest here: it is a bound, and a bound must be tight.
pub(super) fn tune_oracle(scenario: &mut Scenario) -> Result<(), Failure> {
    let setup = Arc::new(scenario.setup.clone());
    let told = Arc::new(foresight(&setup, scenario.controller.period));
    let (oracle, _) = cheapest_oracle(scenario, &setup, &told)?;
    eprintln!("{}: oracle with margin {:.2} and lead {} is the cheapest", scenario.name, oracle.margin, oracle.lead);
    scenario.controller.policy.oracle = oracle;
    Ok(())
}

/// How far the run is, on stderr when that is a terminal.
fn progress(scenario: &Scenario) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(scenario.duration().as_secs_f64() as u64), target);
    let style = ProgressStyle::with_template("{msg} [{bar:32}] {percent:>3} %  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(scenario.name.clone());
    bar
}

/// The figures for people.
fn page(scenario: &Scenario, summary: &Summary) -> String {
    let wall = summary.wall_seconds.unwrap_or(0.0);
    format!(
        "{}: {}\npolicy {}, seed {}, {} and {} from there, {:.2} s ({} events)\n\n{}",
        summary.scenario,
        scenario.title,
        summary.policy,
        summary.seed,
        scenario.setup.start,
        scenario.duration(),
        wall,
        summary.events,
        summary.table(),
    )
}

/// Bounds the threads that simulate.
pub(super) fn set_threads(threads: u16) -> Result<(), Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(usize::from(threads))
        .build_global()
        .context("the threads cannot be had")
        .map_err(Failure::from)
}
