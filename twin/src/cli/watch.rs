//! `forebay run` in a terminal: the run is watched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use forebay_world::Timestamp;

use super::arguments::RunOptions;
use super::{Answer, Failure, interrupt};
use crate::production::Production;
use crate::run::Run;
use crate::scenario::Scenario;
use crate::tui::{self, Engine, Look, Scene, Speed, Theme, TuiOptions};

/// Opens the terminal UI on a run of `scenario`, until its reader leaves.
pub(super) fn run(scenario: Scenario, options: &RunOptions) -> Result<Answer, Failure> {
    // Told before the screen is taken over: an unknown policy, or one that lacks what it goes by. What was learned once is
    // known whenever the run begins anew.
    let mut known = BTreeMap::from([(options.policy.clone(), Run::new(&scenario, &options.policy)?)]);
    let shown = TuiOptions {
        scene: Scene::of(&scenario),
        policy: options.policy.clone(),
        speed: options.speed.map_or(Speed::Times(100), Speed::Times),
        paused: options.paused,
        look: look(options.theme, options.ascii),
        out: PathBuf::from("."),
        wall: since_first_asked,
        stop: interrupt::requested_within(Duration::from_secs(2)),
        desk: None,
    };
    let make = move |policy: &str| {
        if let Some(run) = known.get(policy) {
            return Ok(Box::new(run.clone()) as Box<dyn Engine>);
        }
        let run = Run::new(&scenario, policy).map_err(|error| error.to_string())?;
        known.insert(policy.to_owned(), run.clone());
        Ok(Box::new(run) as Box<dyn Engine>)
    };
    tui::run(shown, make)
        .map_err(|error| Failure::Other(error.into(), "use --headless for the figures alone".to_owned()))?;
    Ok(Answer::Yes)
}

/// How the terminal UI follows a production at its own pace, from when to when; `mode` is what its mode line says.
pub(super) fn followed(
    production: &Production,
    (start, end): (Timestamp, Timestamp),
    mode: &'static str,
    (theme, ascii): (Theme, bool),
    stop: Arc<AtomicBool>,
) -> TuiOptions {
    TuiOptions {
        scene: Scene {
            topology: Arc::clone(&production.topology),
            scenario: production.name.clone(),
            seed: 0,
            start,
            end,
            window: production.controller.period,
            policies: Vec::new(),
            follows: Some(mode),
            is_operated: false,
        },
        policy: production.policy.clone(),
        speed: Speed::Max,
        paused: false,
        look: look(theme, ascii),
        out: PathBuf::from("."),
        wall: since_first_asked,
        stop,
        desk: None,
    }
}

/// What was asked for, as far as the terminal can.
fn look(theme: Theme, ascii: bool) -> Look {
    Look { theme, ascii: ascii || !speaks_utf8(), color: std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) }
}

/// Whether the terminal is set to show more than ASCII, by the environment that POSIX names for it.
fn speaks_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    set.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// A clock for the pace of what is shown; nothing simulated knows it.
fn since_first_asked() -> Duration {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
}
