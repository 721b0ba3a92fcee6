//! `forebay forecast`: models put to the test on recorded series.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use forebay_adapters::{CountSeries, Holiday, read_counts, read_holidays};
use forebay_world::{Duration, Timestamp};
use jiff::tz::TimeZone;

use super::arguments::{ForecastOptions, Preset};
use super::{Answer, Failure, print};
use crate::backtest::{self, Aggregate, BacktestError, Kind, Outcome, OverSeeds, Protocol, Recorded, resample};
use crate::forecast::follower::History;
use crate::forecast::grid::Grid;
use crate::forecast::model::Unfit;
use crate::forecast::trained::{self, Trained};
use crate::report::{Align, Table};
use crate::scenario::zone;

pub(super) fn run(options: ForecastOptions) -> Result<Answer, Failure> {
    let zone = super::time_zone(&options.time_zone)?;
    let (mut set, mut protocol) = match options.preset {
        Some(Preset::G15) => g15(&options.series)?,
        None => own(&options, &zone)?,
    };
    if let Some(path) = &options.holidays {
        let days: Vec<i32> = read_holidays(path)?.iter().map(Holiday::day).collect();
        for series in &mut set {
            series.grid = series.grid.clone().with_holidays(days.iter().copied());
        }
    }
    if let Some(every) = options.every {
        if every < protocol.step || !(every % protocol.step).is_zero() {
            return Err(Failure::Other(
                anyhow!("--every {every} is no number of whole steps of {}", protocol.step),
                format!("allowed is a multiple of {}", protocol.step),
            ));
        }
        protocol.kinds.iter_mut().for_each(|kind| kind.stride = (every / protocol.step) as usize);
    }
    let mut models: Vec<String> = Vec::new();
    let mut loaded: BTreeMap<String, Trained> = BTreeMap::new();
    for name in &options.model {
        if name != "all" && !trained::is_known(name) {
            if !loaded.contains_key(name) {
                loaded.insert(name.clone(), load(name, &set, &protocol)?);
                models.push(name.clone());
            }
            continue;
        }
        let named: Vec<&str> = if name == "all" { trained::names().collect() } else { vec![name] };
        for name in named {
            if !models.iter().any(|taken| taken == name) {
                models.push(name.to_owned());
            }
        }
    }
    if let Some(folder) = &options.out {
        super::compare::prepare(folder)?;
    }
    let talk = io::stderr().is_terminal();
    let cpu = || cpu_time::ProcessTime::try_now().map_or(0.0, |time| time.as_duration().as_secs_f64());
    let seeds = options.seed..options.seed.saturating_add(options.seeds);
    let outcome = backtest::run(&set, &models, &loaded, &protocol, seeds, &cpu, &|model, kind, seed| {
        if talk {
            eprintln!("{model}, {} steps ahead, seed {seed}", kind.horizon);
        }
    })?;
    if let Some(folder) = &options.out {
        write(folder, &outcome, &set)
            .with_context(|| format!("{} cannot be written", folder.display()))
            .map_err(|error| Failure::Other(error, "name a folder on a disk with room".to_owned()))?;
    }
    if options.json {
        print(&json_lines(&outcome).context("the figures cannot be written as JSON")?)
    } else {
        print(page(&outcome, &protocol, set.len()).as_bytes())
    }
}

/// Reads a model file, and says so where it may have seen what it will be tested on.
fn load(file: &str, set: &[Recorded], protocol: &Protocol) -> Result<Trained, Failure> {
    let model = super::train::read(Path::new(file))?;
    let seen = model.origin().data_end;
    let begins = |series: &&Recorded| {
        let (begin, end) = (series.grid.at(protocol.train), series.grid.at(protocol.len()));
        begin < seen && seen <= end
    };
    if let Some(series) = set.iter().find(begins) {
        eprintln!(
            "{file}: trained on data until {seen}, but the test of {} begins at {}: scores are too good if it is among \
             them",
            series.name,
            series.grid.at(protocol.train)
        );
    }
    Ok(model)
}

/// The six series of the preset, from the folder that holds their files.
fn g15(folders: &[std::path::PathBuf]) -> Result<(Vec<Recorded>, Protocol), Failure> {
    let [folder] = folders else {
        return Err(Failure::Other(
            anyhow!("--preset g15 takes one folder, {} were given", folders.len()),
            "name the folder that holds worldcup98_1min.csv and the other files".to_owned(),
        ));
    };
    let protocol = Protocol::g15();
    let mut set = Vec::new();
    let mut files: Vec<(&str, CountSeries)> = Vec::new();
    for window in Protocol::G15 {
        if !files.iter().any(|(file, _)| *file == window.file) {
            files.push((window.file, read(&folder.join(window.file))?));
        }
        let counts = &files.iter().find(|(file, _)| *file == window.file).expect("just read").1;
        let series = counts.series.iter().find(|series| series.region.as_deref() == window.series);
        let series = series.ok_or_else(|| {
            Failure::Other(
                anyhow!("{}: there is no series {}", window.file, window.series.unwrap_or_default()),
                "the preset needs the files as they were published".to_owned(),
            )
        })?;
        let grid = Grid::utc(window.start(), protocol.step);
        let taken = (counts.start, counts.step, &series.values[..]);
        set.push(cut(window.name.to_owned(), grid, taken, window.aggregate, protocol.len())?);
    }
    Ok((set, protocol))
}

/// The series of files, each the last days of its file.
fn own(options: &ForecastOptions, zone: &TimeZone) -> Result<(Vec<Recorded>, Protocol), Failure> {
    let step = options.resample;
    let steps_a_day = steps_a_day(step)?;
    let mut kinds = Vec::new();
    for horizon in &options.horizon {
        let steps = (*horizon / step) as usize;
        if steps == 0 || !(*horizon % step).is_zero() || steps > usize::from(options.test_days) * steps_a_day {
            return Err(Failure::Other(
                anyhow!("--horizon {horizon} is no number of whole steps of {step} within the test days"),
                format!("allowed is a multiple of {step}"),
            ));
        }
        kinds.push(Kind { horizon: steps, stride: (steps_a_day / 4).max(steps) });
    }
    let protocol = Protocol {
        step,
        train: usize::from(options.train_days) * steps_a_day,
        test: usize::from(options.test_days) * steps_a_day,
        kinds,
    };
    let set = last_days(&options.series, step, Some(protocol.len()), options.aggregate, zone)?;
    Ok((set, protocol))
}

/// Steps in a day, which must be a whole number.
pub(super) fn steps_a_day(step: Duration) -> Result<usize, Failure> {
    let day = Duration::from_hours(24);
    if step > day || !(day % step).is_zero() {
        return Err(Failure::Other(
            anyhow!("--resample {step} does not divide a day"),
            "15min, 5min and 1h do".to_owned(),
        ));
    }
    Ok((day / step) as usize)
}

/// The last `steps` steps of each series of files, or all whole days of them.
pub(super) fn last_days(
    files: &[PathBuf],
    step: Duration,
    steps: Option<usize>,
    aggregate: Aggregate,
    zone: &TimeZone,
) -> Result<Vec<Recorded>, Failure> {
    let day = Duration::from_hours(24);
    let mut set = Vec::new();
    for path in files {
        let counts = read(path)?;
        if step < counts.step {
            return Err(Failure::Other(
                anyhow!("{}: its steps are {}, longer than {step}", path.display(), counts.step),
                format!("use --resample {} or a multiple of it", counts.step),
            ));
        }
        let last =
            counts.start.saturating_add(counts.step * counts.series.first().map_or(0, |s| s.values.len()) as u64);
        let end = last.floor_to(step);
        let whole_days = end.since(counts.start.floor_to(step)) / day;
        let steps = steps.unwrap_or((day / step * whole_days) as usize);
        let start = end.saturating_sub(step * steps as u64);
        if steps == 0 || start < counts.start.floor_to(step) {
            let have = last.since(counts.start).as_hours_f64() / 24.0;
            let need = ((step * steps as u64).as_hours_f64() / 24.0).max(1.0);
            return Err(Failure::Other(
                anyhow!("{}: {have:.1} days, {need} are needed", path.display()),
                "give a longer file, or fewer --train-days or --test-days".to_owned(),
            ));
        }
        let grid = Grid::local(start, step, zone::offsets(zone, start, end));
        let stem = path.file_stem().map_or("standard input".into(), |stem| stem.to_string_lossy());
        let stem = stem.strip_suffix(".csv").unwrap_or(&stem).to_owned();
        for series in &counts.series {
            let parts: Vec<&str> = [series.region.as_deref(), series.class.as_deref()].into_iter().flatten().collect();
            let name = if parts.is_empty() { stem.clone() } else { parts.join("/") };
            let taken = (counts.start, counts.step, &series.values[..]);
            set.push(cut(name, grid.clone(), taken, aggregate, steps)?);
        }
    }
    Ok(set)
}

fn read(path: &Path) -> Result<CountSeries, Failure> {
    let counts = read_counts(path)?;
    for remark in counts.report.remarks() {
        eprintln!("{}: {remark}", path.display());
    }
    Ok(counts)
}

/// Cuts a window out of a series, and fills what is missing as a follower would.
fn cut(
    name: String,
    grid: Grid,
    (start, step, values): (Timestamp, Duration, &[Option<f64>]),
    aggregate: Aggregate,
    len: usize,
) -> Result<Recorded, Failure> {
    let sampled = resample((start, step, values), aggregate, (grid.at(0), grid.step(), len));
    let mut history = History::new(grid.clone(), len);
    sampled.iter().for_each(|value| history.push(*value));
    let filled = history.filled();
    let values = history.past().values().to_vec();
    if values.len() < len {
        return Err(Failure::Other(
            anyhow!("series {name}: {} of {len} steps are missing at the begin of its window", len - values.len()),
            "give a longer file, or fewer --train-days".to_owned(),
        ));
    }
    if filled > 0 {
        eprintln!("series {name}: {filled} steps without a value were filled");
    }
    Ok(Recorded { name, grid, values })
}

fn json_lines(outcome: &Outcome) -> serde_json::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for kind in &outcome.kinds {
        serde_json::to_writer(&mut lines, kind)?;
        lines.push(b'\n');
    }
    for series in &outcome.series {
        serde_json::to_writer(&mut lines, series)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn write(folder: &Path, outcome: &Outcome, set: &[Recorded]) -> io::Result<()> {
    fs::write(folder.join("scores.jsonl"), json_lines(outcome)?)?;
    for (name, chart) in backtest::charts(outcome, set) {
        fs::write(folder.join(name), chart)?;
    }
    Ok(())
}

/// The tables for people: two for each horizon, over all seeds.
fn page(outcome: &Outcome, protocol: &Protocol, series: usize) -> String {
    let mut page = String::new();
    for kind in &protocol.kinds {
        let ahead = protocol.step * kind.horizon as u64;
        let rows: Vec<&OverSeeds> =
            outcome.over_seeds.iter().filter(|row| row.mean.horizon_steps == kind.horizon).collect();
        let seeds = match rows.iter().map(|row| row.seeds).max() {
            Some(seeds) if seeds > 1 => format!(", means over {seeds} seeds"),
            _ => String::new(),
        };
        page.push_str(&format!(
            "{ahead} ahead, {series} series: losses as ratios to {} (gm wQL), geometric means{seeds}\n",
            backtest::UNIT
        ));
        page.push_str(&format!("{}\n{}\n", kind_table(&rows), series_table(&rows)));
        for remark in worst_ratios(&rows) {
            page.push_str(&format!("{remark}\n"));
        }
    }
    page
}

fn kind_table(rows: &[&OverSeeds]) -> Table {
    let mut table = Table::new(&[
        ("model", Align::Left),
        ("gm wQL", Align::Right),
        ("95 %", Align::Right),
        ("gm MASE", Align::Right),
        ("cov90", Align::Right),
        ("above q90", Align::Right),
        ("CPU ms", Align::Right),
        ("training CPU s", Align::Right),
    ]);
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    for row in rows.iter().map(|row| &row.mean) {
        table.row([
            row.model.clone(),
            shown(row.gm_wql),
            match (row.gm_wql_low, row.gm_wql_high) {
                (Some(low), Some(high)) => format!("{low:.2} to {high:.2}"),
                _ => "-".to_owned(),
            },
            shown(row.gm_mase),
            format!("{:.3}", row.cov90),
            format!("{:.3}", row.under_q90),
            format!("{:.2}", row.cpu_s * 1e3),
            format!("{:.1}", row.train_cpu_s),
        ]);
    }
    table
}

fn series_table(rows: &[&OverSeeds]) -> Table {
    let mut heads = vec![("wQL", Align::Left)];
    heads.extend(rows.iter().take(1).flat_map(|row| &row.wql).map(|(name, _)| (name.as_str(), Align::Right)));
    let mut table = Table::new(&heads);
    for row in rows {
        let mut cells = vec![row.mean.model.clone()];
        cells.extend(row.wql.iter().map(|(_, wql)| format!("{wql:.4}")));
        table.row(cells);
    }
    table
}

/// Models that any other should not be worse than on any series.
const SIMPLE: [&str; 3] = ["naive", "seasonal-naive-day", "ets"];

/// For each other model, the series on which its loss is the most beside that of the best of [`SIMPLE`]; none when one of
/// these was not asked for.
fn worst_ratios(rows: &[&OverSeeds]) -> Vec<String> {
    let simple: Vec<&&OverSeeds> =
        SIMPLE.iter().filter_map(|name| rows.iter().find(|row| row.mean.model == *name)).collect();
    if simple.len() < SIMPLE.len() {
        return Vec::new();
    }
    let others = rows.iter().filter(|row| !SIMPLE.contains(&row.mean.model.as_str()));
    others
        .filter_map(|row| {
            let ratios = row.wql.iter().enumerate().map(|(at, (name, wql))| {
                let best = simple.iter().map(|simple| simple.wql[at].1).fold(f64::INFINITY, f64::min);
                (wql / best, name)
            });
            let (ratio, name) = ratios.filter(|(ratio, _)| !ratio.is_nan()).max_by(|a, b| a.0.total_cmp(&b.0))?;
            let model = &row.mean.model;
            Some(format!("{model}: worst ratio to the best of {}: {ratio:.2} on {name}", SIMPLE.join(", ")))
        })
        .collect()
}

impl From<BacktestError> for Failure {
    fn from(error: BacktestError) -> Self {
        let hint = match &error {
            BacktestError::Unfit { why: Unfit::Mismatch { .. }, .. } => {
                "use the --resample that it was trained with, and a --horizon within its own"
            }
            BacktestError::Unfit { .. } => "give more --train-days, or leave that model out",
            BacktestError::Unknown(_) => "",
        };
        Failure::Other(error.into(), hint.to_owned())
    }
}
