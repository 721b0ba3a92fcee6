//! What `predictive` must have learned before its first tick: which model, in which steps, how far ahead.

use forebay_world::{ClassId, Duration, Timestamp, Topology};
use jiff::tz::TimeZone;

use super::super::{Hindsight, PolicyError};
use crate::controller::ControllerConfig;
use crate::forecast::grid::Grid;
use crate::forecast::model::Past;
use crate::forecast::trained::{self, Trained};
use crate::scenario::zone;

/// The model that is chosen by how much has been seen.
pub(crate) const AUTO: &str = "auto";
/// What is chosen with much history, and with little.
const WITH_MUCH: &str = trained::ENSEMBLE;
const WITH_LITTLE: &str = "profile";
/// History from which on there is much.
const MUCH: Duration = Duration::from_hours(14 * 24);
/// Most of the past that is learned from and remembered.
pub const HISTORY: Duration = Duration::from_hours(28 * 24);
/// Nothing is looked at beyond, however long machines are said to take.
const FURTHEST: Duration = Duration::from_hours(24);
/// Clocks are known so long beyond the begin.
const CLOCK: Duration = Duration::from_hours(400 * 24);

/// A lesson.
#[derive(Clone, Debug, PartialEq)]
pub struct Lesson {
    /// Model by name.
    pub model: String,
    /// Length of a step.
    pub step: Duration,
    /// Steps ahead that must be forecast.
    pub horizon: usize,
    /// Steps ahead that are looked at at all.
    pub reach: usize,
}

impl Lesson {
    /// What the policy needs to know for a topology, with that much hindsight.
    pub fn new(
        model: Option<&str>,
        config: &ControllerConfig,
        topology: &Topology,
        hindsight: Option<&Hindsight>,
    ) -> Self {
        let predictive = &config.policy.predictive;
        let step = hindsight.map_or_else(|| step(config), |hindsight| hindsight.step);
        // The step under way counts, too.
        let steps = |span: Duration| span.as_nanos().div_ceil(step.as_nanos()) as usize + 1;
        let (mut horizon, mut reach) = (1, 1);
        for class in (0..topology.classes.len()).map(ClassId::at) {
            let to_ready = topology.flavour_of(class).time_to_ready(predictive.boot_z);
            let hold = config.hold(topology.class(class), topology.sessions_per_vm(class), to_ready);
            let until = to_ready.saturating_add(config.period);
            horizon = horizon.max(steps(until.min(FURTHEST)));
            reach = reach.max(steps(until.saturating_add(hold).min(FURTHEST)));
        }
        let much = hindsight.is_some_and(|hindsight| hindsight.span() >= MUCH);
        let model = match model.unwrap_or(&predictive.model) {
            AUTO if much => WITH_MUCH,
            AUTO => WITH_LITTLE,
            named => named,
        };
        // What decides goes by quantiles: they must be right, whoever made them.
        let model = trained::calibrated(model);
        Lesson { model, step, horizon, reach }
    }

    /// Learns it.
    ///
    /// # Errors
    /// [`PolicyError`] for an unknown model, and where there is too little to train it on.
    pub fn learn(&self, topology: &Topology, hindsight: Option<&Hindsight>, seed: u64) -> Result<Trained, PolicyError> {
        let grids = hindsight.map_or(Ok(Vec::new()), |hindsight| grids(topology, hindsight.start, self.step))?;
        let classes = topology.classes.len();
        let empty = Vec::new();
        let rates = hindsight.map_or(&empty, |hindsight| &hindsight.arrivals_per_second);
        let set: Vec<Past<'_>> = rates
            .iter()
            .enumerate()
            .filter(|(_, rates)| rates.iter().any(|rate| *rate > 0.0))
            .map(|(cell, rates)| Past::new(&grids[cell / classes], 0, rates))
            .collect();
        trained::train(&self.model, &set, self.horizon, seed)
            .ok_or_else(|| PolicyError::Model { name: self.model.clone() })?
            .map_err(|why| PolicyError::Untrained { model: self.model.clone(), why })
    }
}

/// Steps in which demand is forecast where no history says otherwise.
pub fn step(config: &ControllerConfig) -> Duration {
    config.policy.predictive.step.unwrap_or(config.period.max(Duration::from_mins(1)))
}

/// The steps of each region from `start` on, on its own clock.
pub(super) fn grids(topology: &Topology, start: Timestamp, step: Duration) -> Result<Vec<Grid>, PolicyError> {
    topology
        .regions
        .iter()
        .map(|region| {
            let zone = TimeZone::get(&region.time_zone).map_err(|_| PolicyError::TimeZone {
                region: region.name.clone(),
                time_zone: region.time_zone.clone(),
            })?;
            Ok(Grid::local(start, step, zone::offsets(&zone, start, start.saturating_add(CLOCK))))
        })
        .collect()
}
