//! `forebay plan`: machines and bandwidth ahead, from recorded series and a scenario.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use forebay_world::{ClassId, Duration, Timestamp};
use rayon::prelude::*;

use super::arguments::PlanOptions;
use super::{Answer, Failure, print};
use crate::forecast::follower::History;
use crate::forecast::futures::Sampler;
use crate::forecast::grid::Grid;
use crate::forecast::model::{Past, Unfit};
use crate::forecast::paths::Paths;
use crate::forecast::trained::{self, ENSEMBLE, Trained};
use crate::plan::AllocationPlan;
use crate::plan::needs::{most_in_steps, sessions_in_progress};
use crate::plan::planning::{self, Question, Source};
use crate::report::allocation;
use crate::scenario::{Prospect, zone};

pub(super) fn run(options: &PlanOptions) -> Result<Answer, Failure> {
    if let Some(folder) = &options.out {
        super::compare::prepare(folder)?;
    }
    let prospect = Prospect::load(&options.scenario, &options.series)?;
    prospect.remarks.iter().for_each(|remark| eprintln!("{remark}"));
    let steps = Steps::new(options, &prospect)?;
    let past = Pasts::new(&prospect, &steps)?;
    let model = past.model(options);
    let futures = past.futures(&model, options.seed)?;
    let question = Question {
        topology: &prospect.topology,
        market: &prospect.market,
        config: &prospect.controller,
        origin: steps.origin,
        interval: steps.interval,
        steps_per_interval: steps.per_interval,
        futures: &futures,
        budget_per_hour: options.budget.or(prospect.controller.guard.budget_per_hour),
    };
    let name = |path: &std::path::PathBuf| {
        path.file_name().map_or_else(|| "-".to_owned(), |name| name.to_string_lossy().into_owned())
    };
    let source = Source {
        scenario: prospect.name.clone(),
        series: options.series.iter().map(name).collect(),
        model: name(&model.into()),
        seed: options.seed,
    };
    let plan = planning::plan(&question, source);
    let json = || {
        let mut json = serde_json::to_vec(&plan).context("the plan cannot be written as JSON")?;
        json.push(b'\n');
        anyhow::Ok(json)
    };
    if let Some(folder) = &options.out {
        write(folder, &plan, &json()?)
            .with_context(|| format!("{} cannot be written", folder.display()))
            .map_err(|error| Failure::Other(error, "name a folder on a disk with room".to_owned()))?;
    }
    if options.json {
        print(&json()?)
    } else if options.csv {
        print(&allocation::csv(&plan).context("the plan cannot be written as CSV")?)
    } else {
        print(allocation::page(&plan).as_bytes())
    }
}

fn write(folder: &Path, plan: &AllocationPlan, json: &[u8]) -> anyhow::Result<()> {
    fs::write(folder.join("plan.json"), json)?;
    fs::write(folder.join("plan.csv"), allocation::csv(plan)?)?;
    fs::write(folder.join("plan.txt"), allocation::page(plan))?;
    Ok(())
}

/// Longer steps than this are too coarse to forecast by where the series allow shorter ones.
const STEP_MOST: Duration = Duration::from_mins(15);
/// More steps ahead than this are not planned.
const STEPS_MOST: u64 = 2000;
const DAY: Duration = Duration::from_hours(24);

/// Steps that are forecast, and the intervals of the plan that they make up.
struct Steps {
    /// Length of a step that is forecast.
    step: Duration,
    per_interval: usize,
    interval: Duration,
    /// Steps ahead.
    ahead: usize,
    /// Begin of the first step that is known.
    begin: Timestamp,
    /// Nothing is known from here on.
    origin: Timestamp,
}

impl Steps {
    fn new(options: &PlanOptions, prospect: &Prospect) -> Result<Self, Failure> {
        let interval = options.step;
        let refuse = |what: String, hint: String| Err(Failure::Other(anyhow!(what), hint));
        if interval > DAY || !(DAY % interval).is_zero() {
            return refuse(format!("--step {interval} does not divide a day"), "15min, 5min and 1h do".to_owned());
        }
        if interval < prospect.step || !(interval % prospect.step).is_zero() {
            return refuse(
                format!("--step {interval} is no number of whole steps of the series, which are {}", prospect.step),
                format!("use --step {} or a multiple of it that divides a day", prospect.step.max(STEP_MOST)),
            );
        }
        let fine = STEP_MOST.max(prospect.step);
        let halves = interval > fine && (interval % fine).is_zero() && (fine % prospect.step).is_zero();
        let step = if halves { fine } else { interval };
        let ahead = options.horizon / step;
        if options.horizon < interval || !(options.horizon % interval).is_zero() || ahead > STEPS_MOST {
            return refuse(
                format!("--horizon {} is no number of whole intervals of {interval}", options.horizon),
                format!("allowed is a multiple of --step, up to {}", step * STEPS_MOST),
            );
        }
        let (begin, end) = (prospect.start.floor_to(step), prospect.end());
        let begin = if begin < prospect.start { begin.saturating_add(step) } else { begin };
        let at = options.at.unwrap_or(end);
        if at <= prospect.start || at > end {
            return refuse(
                format!("--at {at} is outside of the series"),
                format!("allowed is after {} up to {end}", prospect.start),
            );
        }
        let origin = at.floor_to(step);
        if origin < at {
            eprintln!("planned from {origin} on: the last whole step of {step} ends there");
        }
        if origin <= begin {
            return refuse(
                format!("not one whole step of {step} is known before {at}"),
                "give a longer series, a later --at or a shorter --step".to_owned(),
            );
        }
        Ok(Steps { step, per_interval: (interval / step) as usize, interval, ahead: ahead as usize, begin, origin })
    }

    fn known(&self) -> usize {
        (self.origin.since(self.begin) / self.step) as usize
    }
}

/// Sessions of each region × class so far.
struct Pasts<'a> {
    steps: &'a Steps,
    /// The steps of each cell, on the clock of its region, and the most sessions in each; `None` without a series.
    cells: Vec<Option<(Grid, Vec<Option<f64>>)>>,
    names: Vec<String>,
}

impl<'a> Pasts<'a> {
    fn new(prospect: &Prospect, steps: &'a Steps) -> Result<Self, Failure> {
        let topology = &prospect.topology;
        let known = steps.known();
        let cell = |(cell, begins): (usize, &Option<Vec<Option<f64>>>)| {
            let begins = begins.as_ref()?;
            let (region, class): (_, ClassId) = topology.cell_at(cell);
            let mean = topology.class(class).work.mean_seconds();
            let sessions = sessions_in_progress(begins, prospect.step, mean);
            let most = most_in_steps((prospect.start, prospect.step, &sessions), (steps.begin, steps.step, known));
            let end = steps.origin.saturating_add(steps.step * steps.ahead as u64);
            let offsets = zone::offsets(&prospect.zones[region.index()], steps.begin, end);
            let some = most.iter().any(Option::is_some);
            some.then(|| (Grid::local(steps.begin, steps.step, offsets), most))
        };
        let cells: Vec<_> = prospect.begins_per_second.iter().enumerate().map(cell).collect();
        if cells.iter().all(Option::is_none) {
            return Err(Failure::Other(
                anyhow!("no series has a value before {}", steps.origin),
                "give a longer series, or a later --at".to_owned(),
            ));
        }
        let name = |cell: usize| {
            let (region, class) = topology.cell_at(cell);
            format!("{}/{}", topology.region(region).name, topology.class(class).name)
        };
        let names: Vec<String> = (0..topology.cells()).map(name).collect();
        let without: Vec<&str> =
            cells.iter().zip(&names).filter(|(cell, _)| cell.is_none()).map(|(_, name)| name.as_str()).collect();
        if !without.is_empty() {
            let more = if without.len() > 6 { ", …" } else { "" };
            let shown = without[..without.len().min(6)].join(", ");
            eprintln!("without a series, planned at the guard's floor: {shown}{more}");
        }
        Ok(Pasts { steps, cells, names })
    }

    /// The model, or model file, that was asked for, or what suits the length of the series; said where it is not the best
    /// there is.
    fn model(&self, options: &PlanOptions) -> String {
        if let Some(model) = &options.model {
            return model.clone();
        }
        let span = self.steps.origin.since(self.steps.begin);
        let days = span.as_hours_f64() / 24.0;
        let suits = if days >= 14.0 {
            ENSEMBLE
        } else if days > 1.0 {
            eprintln!("{days:.1} days are known: seasonal-naive-day forecasts; ensemble needs 14 days");
            "seasonal-naive-day"
        } else {
            eprintln!(
                "{:.1} hours are known: naive forecasts; seasonal-naive-day needs a day, ensemble 14",
                24.0 * days
            );
            "naive"
        };
        suits.to_owned()
    }

    /// Futures of each cell by a model that is trained on all of them, or by one from a file.
    fn futures(&self, model: &str, seed: u64) -> Result<Vec<Option<Paths>>, Failure> {
        let unfit = |of: &str, why: Unfit| {
            Failure::Other(
                anyhow!("model {model} on {of}: {why}"),
                "give a longer series, a shorter --horizon, or another --model such as seasonal-naive-day".to_owned(),
            )
        };
        let known = self.steps.known();
        let filled: Vec<Option<(&Grid, History, u64)>> = self
            .cells
            .iter()
            .map(|cell| {
                let (grid, most) = cell.as_ref()?;
                let mut history = History::new(grid.clone(), known);
                most.iter().for_each(|value| history.push(*value));
                let filled = history.filled();
                Some((grid, history, filled))
            })
            .collect();
        let gaps: u64 = filled.iter().flatten().map(|(_, _, filled)| filled).sum();
        if gaps > 0 {
            eprintln!("{gaps} steps without a value are filled from the day before, to train on");
        }
        let set: Vec<Past<'_>> = filled.iter().flatten().map(|(_, history, _)| history.past()).collect();
        let trained: Trained = match trained::train(model, &set, self.steps.ahead, seed) {
            Some(trained) => trained.map_err(|why| unfit("all series", why))?,
            None => {
                let read = super::train::read(Path::new(model))?;
                read.fits(self.steps.step, self.steps.ahead).map_err(|why| unfit("all series", why))?;
                read
            }
        };
        let follow = |(cell, name): (&Option<(Grid, Vec<Option<f64>>)>, &String)| {
            let Some((grid, most)) = cell else { return Ok(None) };
            // Of what was trained on, the last week at most was forecast unseen.
            let begin = if trained.name() == ENSEMBLE { known.saturating_sub(grid.week()) } else { grid.day() };
            let follower = trained.follow(grid, known, known);
            let mut sampler = Sampler::new(follower, self.steps.ahead, seed).learning_from(begin);
            most.iter().for_each(|value| sampler.observe(*value));
            let (outlook, paths) = sampler.forecast(self.steps.ahead).map_err(|why| unfit(name, why))?;
            Ok(Some((paths, outlook.instead)))
        };
        let futures: Vec<Option<(Paths, Option<String>)>> =
            self.cells.par_iter().zip(&self.names).map(follow).collect::<Result<_, Failure>>()?;
        for (future, name) in futures.iter().zip(&self.names) {
            if let Some((_, Some(instead))) = future {
                eprintln!("{name}: another model stood in: {instead}");
            }
        }
        Ok(futures.into_iter().map(|future| future.map(|(paths, _)| paths)).collect())
    }
}
