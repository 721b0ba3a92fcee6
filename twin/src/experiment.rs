//! Comparisons: scenarios × policies × seeds, each a run of its own, spread over processors.
//!
//! All policies meet the same random numbers for a seed, so differences between them are paired. A result is a
//! function of what is compared alone: neither the number of threads nor the order in which runs end shows in it.
//!
//! `oracle` is a bound, not a policy to be had: for each seed it is run with several margins and leads, and the
//! cheapest of those runs counts.

mod comparison;
mod oracle;

use std::sync::Arc;

use forebay_sim::Setup;
use forebay_world::WorldError;
use rayon::prelude::*;

use crate::controller::ControllerConfig;
use crate::policy::{Foresight, Knowledge, PolicyError};
use crate::report::Summary;
use crate::run::{Run, foresight, knowledge, needs_foresight};
use crate::scenario::Scenario;

pub use comparison::{Comparison, Contrast, Figures, contrasts, figures};
pub use oracle::cheapest as cheapest_oracle;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Scenarios, each with its own seed as the first.
    pub scenarios: Vec<Scenario>,
    /// Policies by name.
    pub policies: Vec<String>,
    /// How many seeds: the scenario's own and those after it.
    pub seeds: u64,
}

/// Why a comparison ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// A policy cannot be had.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A world refused to go on.
    #[error("a run of {scenario} under {policy} with seed {seed} stopped")]
    World {
        /// Scenario by name.
        scenario: String,
        /// Policy by name.
        policy: String,
        /// Seed.
        seed: u64,
        /// Why.
        #[source]
        source: WorldError,
    },
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Experiment {
    /// How many runs there are.
    pub fn len(&self) -> usize {
        self.scenarios.len() * self.policies.len() * self.seeds as usize
    }

    /// True when there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs everything. The figures come by scenario, then policy, then seed, whoever was done first. `on_done` is
    /// called after each run, from any thread; when it returns false, no more runs begin.
    ///
    /// # Errors
    /// [`ExperimentError`], of the first run in that order.
    pub fn run(&self, on_done: &(dyn Fn() -> bool + Sync)) -> Result<Vec<Summary>, ExperimentError> {
        let policies = self.policies.len();
        let jobs: Vec<(usize, u64)> =
            (0..self.scenarios.len()).flat_map(|scenario| (0..self.seeds).map(move |seed| (scenario, seed))).collect();
        // What can be learned of a scenario's past is learned once for all its seeds.
        let known: Vec<Vec<Knowledge>> = self
            .scenarios
            .iter()
            .map(|scenario| self.policies.par_iter().map(|policy| knowledge(scenario, policy)).collect())
            .collect::<Result<_, _>>()?;
        // The world to come is worked out once for each scenario and seed.
        let done: Vec<Result<Vec<Summary>, ExperimentError>> = jobs
            .par_iter()
            .map(|(scenario, nth)| {
                let lessons = &known[*scenario];
                let scenario = &self.scenarios[*scenario];
                let seed = scenario.setup.seed.wrapping_add(*nth);
                let setup = Arc::new(Setup { seed, ..scenario.setup.clone() });
                let to_come = self
                    .policies
                    .iter()
                    .any(|policy| needs_foresight(policy, &scenario.controller))
                    .then(|| Arc::new(foresight(&setup, scenario.controller.period)));
                self.policies
                    .par_iter()
                    .zip(lessons)
                    .map(|(policy, learned)| {
                        let summary = run_one(scenario, &setup, policy, learned, to_come.as_ref())?;
                        if on_done() { Ok(summary) } else { Err(ExperimentError::Interrupted) }
                    })
                    .collect()
            })
            .collect();
        let mut by_seed = Vec::with_capacity(self.len());
        for summaries in done {
            by_seed.extend(summaries?);
        }
        // From scenario, seed, policy to scenario, policy, seed.
        let seeds = self.seeds as usize;
        Ok((0..self.len())
            .map(|index| {
                let (scenario, rest) = (index / (policies * seeds), index % (policies * seeds));
                let (policy, seed) = (rest / seeds, rest % seeds);
                by_seed[(scenario * seeds + seed) * policies + policy].clone()
            })
            .collect())
    }
}

fn run_one(
    scenario: &Scenario,
    setup: &Arc<Setup>,
    policy: &str,
    learned: &Knowledge,
    to_come: Option<&Arc<Foresight>>,
) -> Result<Summary, ExperimentError> {
    let config = &scenario.controller;
    let told = to_come.filter(|_| needs_foresight(policy, config));
    if policy == "oracle"
        && let Some(told) = told
    {
        return oracle::cheapest(scenario, setup, told).map(|(_, summary)| summary);
    }
    to_end(scenario, setup, config, policy, Knowledge { foresight: told.cloned(), ..learned.clone() })
}

/// One run to its end, for its figures alone.
fn to_end(
    scenario: &Scenario,
    setup: &Arc<Setup>,
    config: &ControllerConfig,
    policy: &str,
    knowledge: Knowledge,
) -> Result<Summary, ExperimentError> {
    let mut run = Run::with(setup, config, policy, knowledge)?;
    loop {
        match run.tick() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(source) => {
                return Err(ExperimentError::World {
                    scenario: scenario.name.clone(),
                    policy: policy.to_owned(),
                    seed: setup.seed,
                    source,
                });
            }
        }
    }
    let simulated = run.now().since(setup.start).as_secs_f64();
    Ok(Summary::new(&scenario.name, policy, setup.seed, simulated, run.events_processed(), &run.score()))
}
