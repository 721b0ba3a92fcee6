//! `[history]`, checked and read: the demand before the first tick, which what decides learns from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_adapters::CountSeries;
use forebay_world::{ClassId, RegionId, Timestamp};

use super::Production;
use super::spec::ProductionSpec;
use crate::forecast::follower::History as Followed;
use crate::forecast::grid::Grid;
use crate::policy::predictive::{self, HISTORY};
use crate::policy::{self, Hindsight, Knowledge};
use crate::scenario::finding::Findings;
use crate::scenario::site::require_range;
use crate::scenario::{ScenarioError, read_series, zone};

/// Where it is, and what a count in it is.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Counts by time, region and class.
    pub files: Vec<PathBuf>,
    /// Sessions that begin with each that was counted.
    pub sessions_per_count: f64,
}

/// What is known before the first tick, and what is to be said of it.
#[derive(Clone, Default)]
pub struct Known {
    /// What a policy is told.
    pub knowledge: Knowledge,
    /// What was left out, mended and found.
    pub remarks: Vec<String>,
}

pub(super) fn check(spec: &ProductionSpec, folder: &Path, findings: &mut Findings) -> Option<History> {
    let given = spec.history.as_ref()?;
    require_range(&given.sessions_per_count, "sessions_per_count", 1e-9, 1e9, findings);
    let mut files = Vec::new();
    for file in &given.files {
        let path = folder.join(file.get_ref());
        findings.require(
            path.is_file(),
            file.span(),
            || format!("`files` names a file that is not there: {}", path.display()),
            "taken from this file's folder unless absolute",
            "forebay import makes one of DNS logs: forebay import LOG… --out demand.csv.gz",
        );
        files.push(path);
    }
    Some(History { files, sessions_per_count: *given.sessions_per_count.get_ref() })
}

impl Production {
    /// What the policy can know of the time before `now`: the last weeks of `[history]`, where it goes by that.
    ///
    /// # Errors
    /// [`ScenarioError`] for files that cannot be read, and series of no region and class of this production.
    pub fn known(&self, now: Timestamp) -> Result<Known, ScenarioError> {
        let Some(history) = self.history.as_ref().filter(|_| policy::goes_by_hindsight(&self.policy)) else {
            return Ok(Known::default());
        };
        let mut remarks = Vec::new();
        let recorded = read_series(&history.files, &mut remarks)?;
        let hindsight = self.hindsight(history, &recorded, now, &mut remarks)?;
        let (days, end) = (hindsight.span().as_hours_f64() / 24.0, hindsight.end());
        remarks.push(format!("{days:.1} days of history in steps of {} until {end} are learned from", hindsight.step));
        Ok(Known { knowledge: Knowledge { hindsight: Some(Arc::new(hindsight)), ..Knowledge::default() }, remarks })
    }

    fn hindsight(
        &self,
        history: &History,
        recorded: &CountSeries,
        now: Timestamp,
        remarks: &mut Vec<String>,
    ) -> Result<Hindsight, ScenarioError> {
        let refuse = |message: String, hint: &str| Err(ScenarioError::Replay { message, hint: hint.to_owned() });
        if recorded.step > Hindsight::STEP_MOST {
            let message =
                format!("[history]: its steps are {}; allowed: at most {}", recorded.step, Hindsight::STEP_MOST);
            return refuse(message, "coarser ones say nothing of the minutes that machines take to boot");
        }
        // Steps as the policy takes them, or whole numbers of those that were recorded.
        let each = predictive::step(&self.controller).as_nanos().div_ceil(recorded.step.as_nanos()).max(1) as usize;
        let step = recorded.step * each as u64;
        let steps = recorded.series.first().map_or(0, |series| series.values.len());
        let over =
            (now.since(recorded.start.min(now)).as_nanos() / recorded.step.as_nanos()).min(steps as u64) as usize;
        let keep = (HISTORY.as_nanos() / step.as_nanos()).max(1) as usize;
        let whole = (over / each).min(keep);
        let first = over - whole * each;
        if whole == 0 {
            return refuse(
                format!("[history]: it holds no step of {step} before {now}"),
                "give counts of the last weeks, as `forebay import` makes them of DNS logs",
            );
        }
        let start = recorded.start.saturating_add(recorded.step * first as u64);
        let cells = self.counts(recorded, first..over, remarks)?;
        let rate = |counts: &[Option<f64>]| {
            let seen = counts.iter().flatten().count();
            let sum: f64 = counts.iter().flatten().sum();
            (seen > 0).then(|| sum / seen as f64 * history.sessions_per_count / recorded.step.as_secs_f64())
        };
        let classes = self.topology.classes.len();
        let mut filled = 0;
        let of_cell = |(cell, counts): (usize, Vec<Option<f64>>)| {
            let offsets = zone::offsets(&self.zones[cell / classes], start, start.saturating_add(step * whole as u64));
            let mut followed = Followed::new(Grid::local(start, step, offsets), whole);
            counts.chunks(each).for_each(|counts| followed.push(rate(counts)));
            filled += followed.filled();
            // Before the first that was counted there was nothing.
            let mut rates = vec![0.0; whole - followed.past().values().len()];
            rates.extend(followed.past().values().iter().map(|rate| rate.max(0.0)));
            rates
        };
        let rates = cells.into_iter().enumerate().map(of_cell).collect();
        if filled > 0 {
            remarks.push(format!("[history]: {filled} steps without a count are filled from the day before"));
        }
        Ok(Hindsight::new(start, step, rates))
    }

    /// What was counted in each region × class (dense), in these steps of the recording.
    fn counts(
        &self,
        recorded: &CountSeries,
        steps: std::ops::Range<usize>,
        remarks: &mut Vec<String>,
    ) -> Result<Vec<Vec<Option<f64>>>, ScenarioError> {
        let (regions, classes) = (&self.topology.regions, &self.topology.classes);
        let mut counts = vec![vec![None; steps.len()]; self.topology.cells()];
        let mut left_out = Vec::new();
        for series in &recorded.series {
            // A file of one region or one class need not name it.
            let region = match &series.region {
                Some(name) => regions.iter().position(|region| region.name == *name),
                None => (regions.len() == 1).then_some(0),
            };
            let class = match &series.class {
                Some(name) => classes.iter().position(|class| class.name == *name),
                None => (classes.len() == 1).then_some(0),
            };
            let Some((region, class)) = region.zip(class) else {
                let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "all".to_owned());
                left_out.push(format!("{}/{}", name(&series.region), name(&series.class)));
                continue;
            };
            let cell = self.topology.cell(RegionId::at(region), ClassId::at(class));
            for (sum, value) in counts[cell].iter_mut().zip(&series.values[steps.clone()]) {
                *sum = match (*sum, *value) {
                    (Some(sum), Some(value)) => Some(sum + value),
                    (sum, value) => sum.or(value),
                };
            }
        }
        if left_out.len() == recorded.series.len() {
            let names = |all: Vec<&str>| all.join(", ");
            return Err(ScenarioError::Replay {
                message: format!("[history]: none of its series is of a region and a class of {}", self.name),
                hint: format!(
                    "it has {}; regions are {}, classes {}",
                    left_out[..left_out.len().min(6)].join(", "),
                    names(regions.iter().map(|region| region.name.as_str()).collect()),
                    names(classes.iter().map(|class| class.name.as_str()).collect()),
                ),
            });
        }
        if !left_out.is_empty() {
            let shown = left_out[..left_out.len().min(6)].join(", ");
            remarks.push(format!("[history]: of no region and class here, and left out: {shown}"));
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::Duration;

    use super::*;
    use crate::policy;

    /// 2024-01-01.
    const BEGIN: Timestamp = Timestamp::from_secs(1_704_067_200);

    fn production(policy: &str, files: &[&Path]) -> Result<Production, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/production");
        let text = std::fs::read_to_string(folder.join("edge.toml")).unwrap();
        let text = text.replacen("policy = \"predictive\"", &format!("policy = \"{policy}\""), 1);
        let more = format!("\n[history]\nfiles = {files:?}\nsessions_per_count = 0.5\n");
        Production::from_text("edge.toml", &(text + &more), &folder).map_err(|error| match error {
            ScenarioError::Refused(refused) => refused.render(false),
            other => other.to_string(),
        })
    }

    fn file(rows: impl IntoIterator<Item = String>) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        let rows: String = rows.into_iter().collect();
        std::fs::write(file.path(), format!("timestamp,region,class,value\n{rows}")).unwrap();
        file
    }

    fn at(seconds: u64) -> Timestamp {
        BEGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn counts_become_rates_in_whole_steps_up_to_now() {
        // Every 30 s for ten minutes; one is missing, and a region is none of ours.
        let row =
            |region: &str, class: &str, step: u64, value: u64| format!("{},{region},{class},{value}\n", at(30 * step));
        let ams = (0..20).filter(|step| *step != 7).map(|step| row("ams", "video", step, 60 * (step + 1)));
        let file = file(ams.chain((10..20).map(|step| row("ams", "web", step, 30))).chain([row("other", "web", 3, 9)]));
        let production = production("predictive", &[file.path()]).unwrap();
        // The last 75 s have not come yet.
        let Known { knowledge, remarks } = production.known(at(525)).unwrap();
        let hindsight = knowledge.hindsight.unwrap();
        assert_eq!((hindsight.step, hindsight.end()), (Duration::from_mins(1), at(510)));
        assert_eq!((hindsight.start, hindsight.steps()), (at(30), 8));
        let cell =
            |class: usize| &hindsight.arrivals_per_second[production.topology.cell(RegionId(0), ClassId::at(class))];
        let [video, web] = ["video", "web"]
            .map(|name| cell(production.topology.classes.iter().position(|class| class.name == name).unwrap()));
        // Half a session with each count: (2 + 3) · 60 · 0.5 in 60 s; of a step of which a half was not seen, the other.
        let is_near = |rates: &[f64], due: [f64; 8]| rates.iter().zip(due).all(|(rate, due)| (rate - due).abs() < 1e-9);
        assert!(is_near(video, [2.5, 4.5, 6.5, 9.0, 10.5, 12.5, 14.5, 16.5]), "{video:?}");
        assert!(is_near(web, [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5]), "{web:?}");
        let remarks = remarks.join("\n");
        assert!(remarks.contains("left out: other/web") && remarks.contains("are learned from"), "{remarks}");
    }

    #[test]
    fn what_has_no_past_of_ours_is_refused_in_words() {
        let early = file([format!("{},ams,video,1\n{},ams,video,1\n", at(0), at(60))]);
        let strange = file([format!("{},mars,video,1\n{},mars,video,1\n", at(0), at(60))]);
        let coarse = file([format!("{},ams,video,1\n{},ams,video,1\n", at(0), at(7200))]);
        for (file, now, says) in [
            (&early, at(59), "it holds no step of 1 min before"),
            (&strange, at(600), "none of its series is of a region and a class"),
            (&coarse, at(20_000), "its steps are 2 h; allowed: at most 1 h"),
        ] {
            let production = production("predictive", &[file.path()]).unwrap();
            let error = production.known(now).err().unwrap();
            assert!(error.to_string().contains(says), "{error}");
            assert!(!error.hint().is_empty());
            // Who does not go by it does not read it.
            let fixed = Production { policy: "hpa".to_owned(), ..production };
            assert!(fixed.known(now).unwrap().knowledge.hindsight.is_none());
        }
        let said = production("predictive", &[Path::new("/nonexistent.csv")]).unwrap_err();
        assert!(said.contains("names a file that is not there") && said.contains("forebay import"), "{said}");
    }

    /// A model that has to be trained decides in production once there is a past to train it on.
    #[test]
    fn a_model_is_trained_on_it() {
        let value = |hour: u64| 1000 + 50 * (hour % 24) + hour % 7;
        let file = file((0..20 * 24).map(|hour| format!("{},ams,video,{}\n", at(3600 * hour), value(hour))));
        let boosted = "predictive:boosted";
        let production = production(boosted, &[file.path()]).unwrap();
        let known = production.known(at(20 * 86_400)).unwrap();
        let (config, topology) = (&production.controller, &production.topology);
        assert_eq!(policy::build(boosted, config, topology, &known.knowledge).unwrap().name(), "predictive");
        assert!(policy::build(boosted, config, topology, &Knowledge::default()).is_err());
    }
}
