//! Scenarios: what a file says, checked into a world that can be simulated and a controller that can run in it.
//!
//! Two phases: [`spec::ScenarioSpec`] mirrors the file, [`Scenario`] cannot be wrong. What is wrong with a file is
//! said with its place, what is allowed there and a hint ([`Refused`]), as much of it at once as can be known at once.
//! Nothing is simulated here.
//!
//! ```text
//!   file ──▶ ScenarioSpec ──▶ site, demand, upset, replay, feed ──▶ Scenario { Setup, ControllerConfig }
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_adapters::ReadError;
use forebay_sim::Setup;
use forebay_sim::setup::{Fidelity, LocalTime};
use forebay_world::{Duration, Timestamp, Topology};

use crate::controller::ControllerConfig;
use crate::policy::predictive;

mod demand;
mod feed;
pub(crate) mod finding;
pub(crate) mod names;
mod prospect;
mod replay;
mod shape;
pub(crate) mod site;
pub mod spec;
mod surrogate;
mod upset;
pub(crate) mod zone;

pub use finding::{Finding, Refused};
pub use names::nearest;
pub use prospect::Prospect;
pub(crate) use prospect::read as read_series;

use finding::Findings;
use spec::{FidelitySpec, Instant, ScenarioSpec, unplaced};

/// A scenario that can be run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Short name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// The world, its load and its faults.
    pub setup: Setup,
    /// Settings of the controller.
    pub controller: ControllerConfig,
    /// Time before the run of which the load is known, as far as a recording reaches.
    pub history: Duration,
    /// The file after defaults and overrides, as TOML. It names recordings without their folders.
    pub resolved: String,
    /// What was read beside the scenario.
    pub inputs: Vec<Input>,
    /// What the operator should know about it: gaps in a recording, clients of no known region.
    pub remarks: Vec<String>,
}

/// A file that a scenario was made from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Input {
    /// What it was read as: `replay`, `prefix_table`, `mmdb`, `feed`.
    pub role: &'static str,
    /// Its name without folders.
    pub name: String,
    /// BLAKE3 of its content.
    pub blake3: String,
}

/// What a command line may change in a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Another seed.
    pub seed: Option<u64>,
    /// Another recording.
    pub replay: Option<PathBuf>,
    /// An earlier end: this long after the start.
    pub until: Option<Duration>,
    /// Another time to ready, in the median, of all machines: boot and warm-up together.
    pub boot: Option<Duration>,
}

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says what cannot be.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// A recording cannot be used.
    #[error(transparent)]
    Recording(Box<ReadError>),
    /// A recording holds nothing that can be replayed here, or is asked for where nothing is replayed.
    #[error("{message}")]
    Replay {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
}

impl ScenarioError {
    /// What may help; may be empty.
    pub fn hint(&self) -> &str {
        match self {
            ScenarioError::Replay { hint, .. } => hint,
            ScenarioError::Recording(error) => error.hint(),
            ScenarioError::Unreadable { .. } => {
                "name a file that is there: scenarios/ has scenarios, `forebay init` writes a production file"
            }
            _ => "",
        }
    }
}

impl Scenario {
    /// Reads a scenario file and what it refers to.
    ///
    /// # Errors
    /// [`ScenarioError`] says which file, which line and what to do.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Scenario, ScenarioError> {
        let text = read_text(path)?;
        Scenario::from_text(&path.display().to_string(), &text, path.parent().unwrap_or(Path::new("")), overrides)
    }

    /// As [`Scenario::load`], from the text of a file that is called `file` and whose neighbours lie in `folder`.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn from_text(file: &str, text: &str, folder: &Path, overrides: &Overrides) -> Result<Scenario, ScenarioError> {
        let spec = parse(file, text)?;
        let mut findings = Findings::default();
        let checked = check(spec, text, folder, overrides, &mut findings);
        findings.refuse(file, text)?;
        checked
    }

    /// How long a run simulates.
    pub fn duration(&self) -> Duration {
        self.setup.end.since(self.setup.start)
    }

    /// The same scenario under another seed.
    pub fn with_seed(&self, seed: u64) -> Scenario {
        let mut other = self.clone();
        other.setup.seed = seed;
        other
    }
}

/// The text of a scenario file.
pub(crate) fn read_text(path: &Path) -> Result<String, ScenarioError> {
    std::fs::read(path)
        .and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| {
                std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8 text, as TOML must be")
            })
        })
        .map_err(|source| ScenarioError::Unreadable { path: path.display().to_string(), source })
}

/// The spec that a text is.
fn parse(file: &str, text: &str) -> Result<ScenarioSpec, ScenarioError> {
    toml::from_str(text).map_err(|error| finding::refused_toml(file, text, &error))
}

/// Checks a spec. The result counts only if nothing was found.
fn check(
    mut spec: ScenarioSpec,
    text: &str,
    folder: &Path,
    overrides: &Overrides,
    findings: &mut Findings,
) -> Result<Scenario, ScenarioError> {
    if let Some(boot) = overrides.boot {
        for flavour in &mut spec.flavour {
            let flavour = flavour.get_mut();
            flavour.warm_up = flavour.warm_up.min(boot);
            flavour.boot_median = boot.saturating_sub(flavour.warm_up);
        }
    }
    let site = site::check(spec.site(), findings);
    let zones: Vec<_> = spec
        .region
        .iter()
        .map(|region| zone::find(&region.get_ref().time_zone, findings).unwrap_or(jiff::tz::TimeZone::UTC))
        .collect();
    site::require_some_time(&spec.scenario.step, "step", findings);
    if let Some(history) = &spec.scenario.history {
        findings.require(
            *history.get_ref() <= HISTORY_MOST,
            history.span(),
            || format!("`history` is {}", history.get_ref()),
            "at most 366 d",
            "four weeks teach a model what there is to learn",
        );
    }
    site::require_range(&spec.scenario.overload_limit, "overload_limit", 1.0, 1000.0, findings);
    if findings.0.is_empty() {
        // It looks into the topology, which is whole only now.
        check_controller(spec.controller.get_ref(), &site.topology, text, findings);
    }
    let dns = demand::check_dns(&spec, findings);
    let content = demand::check_content(&spec, findings);
    let mut load = demand::check_load(&spec, &site, findings);
    let hazards = upset::check_hazards(&spec, findings);
    replay::check(&spec, &site, folder, findings);
    feed::check(&spec, &site, folder, findings);
    let sound_so_far = findings.0.is_empty();

    // A recording is read only for a file that is sound so far: reading one takes time.
    let mut recorded = None;
    if sound_so_far && spec.replay.is_some() {
        let mut replayed = replay::load(&spec, &site, &zones, folder, overrides.replay.as_deref())?;
        load = std::mem::take(&mut replayed.load);
        recorded = Some(replayed);
    } else if overrides.replay.is_some() && spec.replay.is_none() {
        return Err(ScenarioError::Replay {
            message: format!("scenario \"{}\" replays nothing", spec.scenario.name.get_ref()),
            hint: "use --replay with a scenario that has [replay], such as replay-counts.toml or replay-dns.toml"
                .to_owned(),
        });
    }

    let (start, end, score_from) = check_span(&spec, recorded.as_ref(), overrides, findings);
    let crowds = demand::check_crowds(&spec, &site, start, findings);
    let mut events = demand::check_events(&spec, &site, start, findings);
    let faults = upset::check_faults(&spec, &site, start, findings);
    if sound_so_far && spec.load.is_empty() && spec.replay.is_none() {
        findings.add(
            0..0,
            "the scenario has no load",
            "[load.CLASS] or [replay] is needed",
            "add `[load.video]` with `sessions_per_second = 10.0`, for a class named video",
        );
    }

    let mut fed = feed::Fed::default();
    if findings.0.is_empty() {
        fed = feed::load(&spec, &site, folder, (start, end))?;
        events.append(&mut fed.events);
    }

    let seed = overrides.seed.unwrap_or(spec.scenario.seed);
    let local_time: Vec<LocalTime> = zones.iter().map(|zone| zone::local_time(zone, start, end)).collect();
    let setup = Setup {
        topology: Arc::new(site.topology),
        start,
        end,
        score_from,
        seed,
        fidelity: match spec.scenario.fidelity.get_ref() {
            FidelitySpec::Session => Fidelity::Session,
            FidelitySpec::Fluid => Fidelity::Fluid(*spec.scenario.step.get_ref()),
        },
        local_time,
        load,
        crowds,
        dns,
        content,
        faults,
        hazards,
        overload_limit: *spec.scenario.overload_limit.get_ref(),
        events,
    };

    let history = spec.scenario.history.as_ref().map(|history| *history.get_ref());
    let history = history.unwrap_or(if spec.replay.is_some() { predictive::HISTORY } else { Duration::ZERO });
    // What was decided is written down as if the file had said so.
    spec.scenario.seed = seed;
    spec.scenario.start = Some(unplaced(Instant(start)));
    spec.scenario.duration = Some(unplaced(end.since(start)));
    spec.feed.clear();
    spec.event.extend(fed.specs.into_iter().map(unplaced));
    if let Some(replay) = &mut spec.replay {
        replay.get_mut().forget_folders(overrides.replay.as_deref());
    }
    let resolved = if findings.0.is_empty() {
        toml::to_string(&spec).map_err(|error| ScenarioError::Replay {
            message: format!("the resolved scenario cannot be written as TOML: {error}"),
            hint: "a number in it is too large for TOML".to_owned(),
        })?
    } else {
        String::new()
    };
    let (mut inputs, mut remarks) = recorded.map(|recorded| (recorded.inputs, recorded.remarks)).unwrap_or_default();
    inputs.append(&mut fed.inputs);
    remarks.append(&mut fed.remarks);
    Ok(Scenario {
        name: spec.scenario.name.get_ref().clone(),
        title: spec.scenario.title.clone(),
        setup,
        controller: spec.controller.into_inner(),
        history,
        resolved,
        inputs,
        remarks,
    })
}

/// Most history: what is known of it is held in memory, minute by minute.
const HISTORY_MOST: Duration = Duration::from_hours(366 * 24);

/// A run is at least this long, so that something can happen in it.
const SHORTEST: Duration = Duration::from_secs(1);

/// Begin and end of the run, and from when on it is scored.
fn check_span(
    spec: &ScenarioSpec,
    recorded: Option<&replay::Replayed>,
    overrides: &Overrides,
    findings: &mut Findings,
) -> (Timestamp, Timestamp, Timestamp) {
    let heading = &spec.scenario;
    let start = match (&heading.start, recorded) {
        (Some(start), _) => start.get_ref().0,
        (None, Some(recorded)) => recorded.start.saturating_sub(recorded.lead_in),
        (None, None) => {
            if spec.replay.is_none() {
                findings.add(
                    heading.name.span(),
                    "key `start` is missing",
                    "a scenario without [replay] needs one",
                    "add `start = 2026-06-10T00:00:00Z`",
                );
            }
            Timestamp::EPOCH
        }
    };
    let end = match (&heading.duration, recorded) {
        (Some(duration), _) => {
            findings.require(
                *duration.get_ref() >= SHORTEST,
                duration.span(),
                || format!("`duration` is {}", duration.get_ref()),
                "at least 1 s is needed",
                "give a span such as \"1 d\"",
            );
            let end = start.checked_add(*duration.get_ref());
            findings.require(
                end.is_some(),
                duration.span(),
                || "the run would end after the year 2554".to_owned(),
                "times reach from 1970 to 2554",
                "give a shorter `duration`",
            );
            end.unwrap_or(Timestamp::MAX)
        }
        (None, Some(recorded)) => recorded.end.saturating_add(recorded.lead_out),
        (None, None) => {
            if spec.replay.is_none() {
                findings.add(
                    heading.name.span(),
                    "key `duration` is missing",
                    "a scenario without [replay] needs one",
                    "add `duration = \"1 d\"`",
                );
            }
            start + SHORTEST
        }
    };
    if let Some(recorded) = recorded
        && (start >= recorded.end || end <= recorded.start)
    {
        let span = heading.start.as_ref().map_or(heading.name.span(), toml::Spanned::span);
        findings.add(
            span,
            "the run and its recording have no moment in common",
            format!("the recording reaches from {} to {}", recorded.start, recorded.end),
            "leave `start` and `duration` away: a replay takes them from its recording",
        );
    }
    let end = overrides.until.map_or(end, |until| end.min(start.saturating_add(until.max(SHORTEST))));
    let from = recorded.map_or(start, |recorded| recorded.start.max(start));
    let mut score_from = from.saturating_add(*heading.warm_up.get_ref());
    if score_from >= end {
        if overrides.until.is_some() || recorded.is_some() {
            // A run cut short is scored from its middle on rather than not at all.
            score_from = start.saturating_add(end.since(start) / 2);
        } else if heading.start.is_some() && heading.duration.is_some() {
            findings.add(
                heading.warm_up.span(),
                format!("`warm_up` is {}, the run is over by then", heading.warm_up.get_ref()),
                format!("the run lasts {}", end.since(start)),
                "give a shorter `warm_up` or a longer `duration`",
            );
        }
    }
    (start, end, score_from)
}

/// Checks a `[controller]` section against what there is.
pub(crate) fn check_controller(config: &ControllerConfig, topology: &Topology, text: &str, findings: &mut Findings) {
    if let Err(error) = config.check(topology) {
        findings.add(
            finding::place_of("controller", &error.key, text),
            format!("`controller.{}` is {}", error.key, error.value),
            format!("allowed: {}", error.allowed),
            "give a value that is allowed, or leave the key away for its default",
        );
    }
}
