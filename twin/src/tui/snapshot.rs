//! What passes between the thread that plays a run and the thread that draws it: commands one way, snapshots the other.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use forebay_world::{Duration, Timestamp, Topology};

use super::alert::Alert;
use super::history::History;
use crate::policy;
use crate::scenario::Scenario;
use crate::tick::Tick;

/// What stands still while a run is watched.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What there is.
    pub topology: Arc<Topology>,
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of the run.
    pub seed: u64,
    /// When the run begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// Time from tick to tick; tick `n` (from 0) closes the window that ends at `start + (n + 1) · window`.
    pub window: Duration,
    /// Policies to choose from for a comparison.
    pub policies: Vec<String>,
    /// What the mode line says of a run that is made elsewhere and only followed.
    pub follows: Option<&'static str>,
    /// Whether production is acted on from here: then there are orders where a run has a score.
    pub is_operated: bool,
}

impl Scene {
    /// The scene of a scenario.
    pub fn of(scenario: &Scenario) -> Scene {
        let setup = &scenario.setup;
        Scene {
            topology: Arc::clone(&setup.topology),
            scenario: scenario.name.clone(),
            seed: setup.seed,
            start: setup.start,
            end: setup.end,
            window: scenario.controller.period,
            policies: policy::NAMES.iter().map(|name| (*name).to_owned()).collect(),
            follows: None,
            is_operated: false,
        }
    }
}

/// Everything a frame is drawn from. Cheap to make: what is large is shared.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What the player does.
    pub mode: Mode,
    /// How fast it was asked to.
    pub speed: Speed,
    /// How fast that is, at full speed: simulated seconds a second.
    pub pace: Option<f64>,
    /// Where in simulated time the run stands.
    pub clock: Timestamp,
    /// The furthest it has been.
    pub reached: Timestamp,
    /// The run, and beside it the run under another policy, if compared.
    pub sides: Vec<Side>,
    /// Alerts up to the furthest tick, by time; the oldest are dropped beyond a bound.
    pub alerts: Arc<Vec<Alert>>,
    /// What the player has to say: the event it stepped over, or why a command failed.
    pub said: Option<Arc<str>>,
}

/// One run in a snapshot.
#[derive(Clone, Debug)]
pub struct Side {
    /// Its policy.
    pub policy: Arc<str>,
    /// The last tick; `None` before the first.
    pub tick: Option<Tick>,
    /// The series up to it.
    pub history: History,
    /// The series up to the furthest tick, when the run has been taken back from there.
    pub ahead: Option<History>,
}

/// What the player does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Plays what nobody has seen yet.
    Run,
    /// Plays again what has been seen.
    Replay,
    /// Waits.
    Paused,
    /// On its way to another moment; the share that is done, 0 to 1.
    Seek(f32),
    /// The run is over.
    End,
}

/// How fast to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// So many simulated seconds a second.
    Times(u32),
    /// As fast as it goes.
    Max,
}

impl Speed {
    const FASTEST: u32 = 100_000;

    /// Ten times as fast, at last as fast as it goes.
    pub fn faster(self) -> Speed {
        match self {
            Speed::Times(times) if times < Self::FASTEST => Speed::Times(times.saturating_mul(10).min(Self::FASTEST)),
            _ => Speed::Max,
        }
    }

    /// A tenth as fast, not below real time.
    pub fn slower(self) -> Speed {
        match self {
            Speed::Max => Speed::Times(Self::FASTEST),
            Speed::Times(times) => Speed::Times((times / 10).max(1)),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Speed::Times(times) => write!(f, "×{times}"),
            Speed::Max => f.write_str("max"),
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    /// Reads `max`, `1000`, `x1000` or `×1000`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().trim_start_matches(['x', 'X', '×']);
        if number == "max" {
            return Ok(Speed::Max);
        }
        number
            .parse()
            .ok()
            .filter(|times| (1..=Self::FASTEST).contains(times))
            .map(Speed::Times)
            .ok_or_else(|| format!("\"{text}\" is not a speed such as 1, x1000 (at most x{}) or max", Self::FASTEST))
    }
}

/// What the player can be asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Play, or pause.
    TogglePause,
    /// One event further, then wait.
    StepEvent,
    /// One tick further, then wait.
    StepTick,
    /// Play at this speed from now on.
    SetSpeed(Speed),
    /// Go to the last tick that is not after this moment.
    Seek(Timestamp),
    /// Go to the first tick that is not before this moment, and wait there.
    Visit(Timestamp),
    /// Put the run under another policy, with the same seed, beside this one; `None` ends the comparison.
    Compare(Option<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_go_by_tens_from_real_time_to_as_fast_as_it_goes() {
        let mut speed = Speed::Times(1);
        let mut shown = vec![speed.to_string()];
        while speed != Speed::Max {
            speed = speed.faster();
            shown.push(speed.to_string());
        }
        assert_eq!(shown, ["×1", "×10", "×100", "×1000", "×10000", "×100000", "max"]);
        assert_eq!(Speed::Max.faster(), Speed::Max);
        assert_eq!(Speed::Max.slower(), Speed::Times(100_000));
        assert_eq!(Speed::Times(1).slower(), Speed::Times(1));
    }

    #[test]
    fn a_speed_is_read_as_people_write_it() {
        for (text, speed) in [("max", Speed::Max), ("1", Speed::Times(1)), ("x60", Speed::Times(60))] {
            assert_eq!(text.parse(), Ok(speed));
        }
        for text in ["", "0", "fast", "-1", "x1000000"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
    }
}
