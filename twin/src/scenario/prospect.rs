//! A site and the demand that was recorded of it: what a plan is made from.
//!
//! Series of counts are dealt out over the regions and classes of a scenario as its `[replay]` says, exactly as a replay
//! of them would be; what was not recorded stays unknown instead of being interpolated. Nothing is simulated.

use std::path::{Path, PathBuf};

use forebay_adapters::CountSeries;
use forebay_adapters::counts::{ReadReport, Series, read_counts};
use forebay_world::{Duration, Timestamp, Topology};
use jiff::tz::TimeZone;

use super::finding::Findings;
use super::replay::counts::deal;
use super::spec::{ReplayKind, ReplaySpec, ScenarioSpec, unplaced};
use super::{ScenarioError, parse, read_text, replay, site, zone};
use crate::controller::ControllerConfig;
use crate::plan::Market;

/// A site, and the sessions that began in each of its regions and classes.
#[derive(Clone, Debug)]
pub struct Prospect {
    /// Scenario by name.
    pub name: String,
    /// What there is.
    pub topology: Topology,
    /// What can be bought.
    pub market: Market,
    /// Settings of the controller.
    pub controller: ControllerConfig,
    /// Time zone of each region.
    pub zones: Vec<TimeZone>,
    /// Begin of the first step.
    pub start: Timestamp,
    /// Length of a step.
    pub step: Duration,
    /// Sessions that began in each step of each region × class (dense) \[1/s\]: `None` where the series say nothing, of a
    /// whole cell or of a step.
    pub begins_per_second: Vec<Option<Vec<Option<f64>>>>,
    /// What the operator should know: what was mended, scaled, dealt out.
    pub remarks: Vec<String>,
}

impl Prospect {
    /// Reads a scenario without its load, and the series of a site.
    ///
    /// # Errors
    /// [`ScenarioError`] says which file, which line and what to do.
    pub fn load(path: &Path, series: &[PathBuf]) -> Result<Prospect, ScenarioError> {
        let text = read_text(path)?;
        let file = path.display().to_string();
        let spec: ScenarioSpec = parse(&file, &text)?;
        let mut findings = Findings::default();
        let site = site::check(spec.site(), &mut findings);
        let zones: Vec<TimeZone> = spec
            .region
            .iter()
            .map(|region| zone::find(&region.get_ref().time_zone, &mut findings).unwrap_or(TimeZone::UTC))
            .collect();
        if findings.0.is_empty() {
            super::check_controller(spec.controller.get_ref(), &site.topology, &text, &mut findings);
        }
        replay::check(&spec, &site, path.parent().unwrap_or(Path::new("")), &mut findings);
        findings.refuse(&file, &text)?;

        let mut remarks = Vec::new();
        let recorded = read(series, &mut remarks)?;
        let rules = rules(&spec, &mut remarks);
        // A step that was not recorded is no number, and stays none through sums.
        let values: Vec<Vec<f64>> = recorded
            .series
            .iter()
            .map(|series| series.values.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
            .collect();
        let dealt = deal(&spec, &rules, &site, &zones, (&recorded, &values), &mut remarks)?;
        let mut begins_per_second = vec![None; site.topology.cells()];
        for (cell, rates) in dealt {
            begins_per_second[cell] = Some(rates.into_iter().map(|rate| rate.is_finite().then_some(rate)).collect());
        }
        Ok(Prospect {
            name: spec.scenario.name.get_ref().clone(),
            topology: site.topology,
            market: site.market,
            controller: spec.controller.into_inner(),
            zones,
            start: recorded.start,
            step: recorded.step,
            begins_per_second,
            remarks,
        })
    }

    /// End of the last step.
    pub fn end(&self) -> Timestamp {
        let steps = self.begins_per_second.iter().flatten().map(Vec::len).max().unwrap_or(0);
        self.start.saturating_add(self.step * steps as u64)
    }
}

/// What `[replay]` says of counts, or what stands for it.
fn rules(spec: &ScenarioSpec, remarks: &mut Vec<String>) -> ReplaySpec {
    let counts = || -> ReplaySpec { toml::from_str("kind = \"counts\"").expect("every other key has a default") };
    match &spec.replay {
        Some(replay) if *replay.get_ref().kind.get_ref() == ReplayKind::Counts => replay.get_ref().clone(),
        Some(replay) => {
            let sessions = f64::from(*replay.get_ref().sessions_per_query.get_ref());
            remarks.push(format!("each count is taken as a query of {sessions} sessions, as [replay] says of queries"));
            ReplaySpec { scale: Some(unplaced(sessions)), ..counts() }
        }
        None => {
            remarks.push(
                "the scenario has no [replay] that says what a count is: each is taken as one session".to_owned(),
            );
            counts()
        }
    }
}

/// Series begin at most so many steps apart.
const APART_MOST: u64 = 10_000_000;

/// Reads the files and lays them on one grid; counts of the same region, class and step add up.
///
/// # Errors
/// [`ScenarioError`] for what is no series, and series that do not fit each other.
pub(crate) fn read(files: &[PathBuf], remarks: &mut Vec<String>) -> Result<CountSeries, ScenarioError> {
    let mut all: Option<CountSeries> = None;
    for file in files {
        let recorded = read_counts(file).map_err(|error| ScenarioError::Recording(Box::new(error)))?;
        let name = file.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
        let ReadReport { rows, first, last, .. } = &recorded.report;
        remarks.push(format!("{name}: {rows} rows every {} from {first} to {last}", recorded.step));
        remarks.extend(recorded.report.remarks().into_iter().map(|remark| format!("{name}: {remark}")));
        all = Some(match all.take() {
            None => recorded,
            Some(before) if before.step == recorded.step => {
                let apart = before.start.max(recorded.start).since(before.start.min(recorded.start));
                if apart.as_nanos() / recorded.step.as_nanos() > APART_MOST {
                    return Err(ScenarioError::Replay {
                        message: format!("{name}: it begins {apart} from the series before"),
                        hint: format!("give series of one time: at most {APART_MOST} steps apart"),
                    });
                }
                joined(before, recorded)
            }
            Some(before) => {
                return Err(ScenarioError::Replay {
                    message: format!(
                        "{name}: its steps are {}, those of the series before {}",
                        recorded.step, before.step
                    ),
                    hint: "give series of equal steps, as one `forebay import` writes them".to_owned(),
                });
            }
        });
    }
    let all = all.ok_or_else(|| ScenarioError::Replay {
        message: "no series is given".to_owned(),
        hint: "name at least one file of counts, as `forebay import` writes them".to_owned(),
    })?;
    let steps = all.series.first().map_or(0, |series| series.values.len());
    if all.start.checked_add(all.step * steps as u64).is_none() {
        return Err(ScenarioError::Replay {
            message: format!("{steps} steps of {} end after the year 2554", all.step),
            hint: "times reach from 1970 to 2554".to_owned(),
        });
    }
    Ok(all)
}

fn joined(mut one: CountSeries, other: CountSeries) -> CountSeries {
    let step = one.step;
    let start = one.start.min(other.start);
    let place = |of: &CountSeries| (of.start.since(start).as_nanos() / step.as_nanos()) as usize;
    let reach = |of: &CountSeries| place(of) + of.series.first().map_or(0, |series| series.values.len());
    let steps = reach(&one).max(reach(&other));
    let laid = |of: CountSeries| {
        let before = place(&of);
        of.series.into_iter().map(move |series| {
            let mut values = vec![None; before];
            values.extend(series.values);
            values.resize(steps, None);
            Series { values, ..series }
        })
    };
    let report = one.report.clone();
    let mut series: Vec<Series> = laid(CountSeries { series: std::mem::take(&mut one.series), ..one }).collect();
    for next in laid(other) {
        let same = |known: &&mut Series| known.region == next.region && known.class == next.class;
        match series.iter_mut().find(same) {
            Some(known) => known.values.iter_mut().zip(next.values).for_each(|(sum, value)| {
                *sum = match (*sum, value) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, b) => a.or(b),
                };
            }),
            None => series.push(next),
        }
    }
    series.sort_by(|a, b| (&a.region, &a.class).cmp(&(&b.region, &b.class)));
    CountSeries { step, start, series, report }
}
