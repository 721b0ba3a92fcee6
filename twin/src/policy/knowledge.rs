//! What a policy is told before its first tick: what has been, what will be, and what was learned from the one about
//! the other.

use std::sync::Arc;

use forebay_world::{Duration, Timestamp, Topology};
use serde::{Deserialize, Serialize};

use super::PolicyError;
use crate::forecast::trained::Trained;

/// What a policy is told.
#[derive(Clone, Default)]
pub struct Knowledge {
    /// What will come, for policies that are allowed to cheat.
    pub foresight: Option<Arc<Foresight>>,
    /// What has been.
    pub hindsight: Option<Arc<Hindsight>>,
    /// What was trained on it.
    pub trained: Option<Arc<Trained>>,
}

/// What will come: known only of a simulated world, and only to policies that are allowed to cheat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Foresight {
    /// Begin of the first step.
    pub start: Timestamp,
    /// Length of a step.
    pub step: Duration,
    /// The most sessions in each step, for each client region × class (dense).
    pub sessions: Vec<Vec<f64>>,
}

/// What has been: the demand before the first tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hindsight {
    /// Begin of the first step.
    pub start: Timestamp,
    /// Length of a step.
    pub step: Duration,
    /// Sessions that began \[1/s\], mean of each step, for each client region × class (dense); equally many steps each.
    pub arrivals_per_second: Vec<Vec<f64>>,
}

impl Knowledge {
    /// What will come, and nothing else.
    pub fn of_foresight(foresight: Arc<Foresight>) -> Self {
        Knowledge { foresight: Some(foresight), ..Knowledge::default() }
    }

    /// Checks that it is about what there is.
    ///
    /// # Errors
    /// [`PolicyError`] when it is not.
    pub(super) fn check(&self, topology: &Topology) -> Result<(), PolicyError> {
        let cells = topology.cells();
        if let Some(foresight) = &self.foresight
            && (foresight.sessions.len() != cells || foresight.step.is_zero())
        {
            let (given, step) = (foresight.sessions.len(), foresight.step);
            return Err(PolicyError::Foresight { given, step, cells });
        }
        let Some(hindsight) = &self.hindsight else { return Ok(()) };
        let steps = hindsight.steps();
        let sound =
            |rates: &Vec<f64>| rates.len() == steps && rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0);
        if hindsight.arrivals_per_second.len() != cells
            || !(Hindsight::STEP_LEAST..=Hindsight::STEP_MOST).contains(&hindsight.step)
            || !hindsight.arrivals_per_second.iter().all(sound)
        {
            let (given, step) = (hindsight.arrivals_per_second.len(), hindsight.step);
            return Err(PolicyError::Hindsight { given, step, cells });
        }
        Ok(())
    }
}

impl Hindsight {
    /// Steps are at least so long …
    pub const STEP_LEAST: Duration = Duration::from_secs(1);
    /// … and at most so long: coarser ones say nothing of the minutes that machines take to boot.
    pub const STEP_MOST: Duration = Duration::from_hours(1);

    /// Of rates \[1/s\], dense over client cells, in steps of `step` from `start` on. They are kept to six digits: no count
    /// has more, and a journal holds them all.
    pub fn new(start: Timestamp, step: Duration, arrivals_per_second: Vec<Vec<f64>>) -> Self {
        let short = |rate: f64| {
            let unit = 10f64.powf(rate.abs().max(1e-300).log10().floor() - 5.0);
            (rate / unit).round() * unit
        };
        let rounded = |rates: Vec<f64>| rates.into_iter().map(short).collect();
        Hindsight { start, step, arrivals_per_second: arrivals_per_second.into_iter().map(rounded).collect() }
    }

    /// Steps it reaches back.
    pub fn steps(&self) -> usize {
        self.arrivals_per_second.first().map_or(0, Vec::len)
    }

    /// How long it reaches back.
    pub fn span(&self) -> Duration {
        self.step * self.steps() as u64
    }

    /// When it ends.
    pub fn end(&self) -> Timestamp {
        self.start.saturating_add(self.span())
    }
}
