//! One run of a scenario under a policy: a simulated world, and the controller that steers it.
//!
//! A run goes from tick to tick, whether a terminal shows it, a directory keeps it or a comparison only counts it. It
//! can be cloned where it stands; the copy goes on exactly as the original would have.

use std::ops::ControlFlow;
use std::sync::Arc;

use forebay_sim::load::{demand_path, past_rates};
use forebay_sim::setup::Load;
use forebay_sim::{Score, Setup, SimWorld};
use forebay_world::{Duration, Timestamp, World, WorldError};

use crate::controller::{Controller, ControllerConfig};
use crate::drive::drive;
use crate::policy::{self, Foresight, Hindsight, Knowledge, PolicyError, predictive};
use crate::scenario::Scenario;
use crate::tick::Tick;

/// A run in progress.
#[derive(Clone)]
pub struct Run {
    world: SimWorld,
    controller: Controller,
    period: Duration,
    end: Timestamp,
    ticks: u64,
    knowledge: Knowledge,
}

impl Run {
    /// A run of `scenario` under the policy called `policy`, at its beginning. Policies that must know the future or the
    /// past are told.
    ///
    /// # Errors
    /// [`PolicyError`] for an unknown policy, or one that lacks what it goes by.
    pub fn new(scenario: &Scenario, policy: &str) -> Result<Run, PolicyError> {
        let setup = Arc::new(scenario.setup.clone());
        let foresight = needs_foresight(policy, &scenario.controller)
            .then(|| Arc::new(foresight(&setup, scenario.controller.period)));
        let knowledge = Knowledge { foresight, ..knowledge(scenario, policy)? };
        Run::with(&setup, &scenario.controller, policy, knowledge)
    }

    /// As [`Run::new`], with another configuration or what is known already.
    ///
    /// # Errors
    /// As [`Run::new`].
    pub fn with(
        setup: &Arc<Setup>,
        config: &ControllerConfig,
        policy: &str,
        knowledge: Knowledge,
    ) -> Result<Run, PolicyError> {
        let decides = policy::build(policy, config, &setup.topology, &knowledge)?;
        Ok(Run {
            world: SimWorld::new(Arc::clone(setup)),
            controller: Controller::new(Arc::clone(&setup.topology), config.clone(), decides),
            period: config.period,
            end: setup.end,
            ticks: 0,
            knowledge,
        })
    }

    /// Goes to the end of the current window, decides, and says what was seen and decided; `None` when the run is over.
    ///
    /// # Errors
    /// [`WorldError`] when the world refuses a plan as stale: somebody else has submitted one.
    pub fn tick(&mut self) -> Result<Option<Tick>, WorldError> {
        let mut turned = None;
        let index = self.ticks;
        // The world may stand inside a window, after single events.
        let since_start = self.world.now().since(self.world.setup().start);
        let windows_done = since_start / self.period;
        let next = self.world.setup().start.saturating_add(self.period * (windows_done + 1)).min(self.end);
        let left = next.since(self.world.now());
        if left.is_zero() {
            return Ok(None);
        }
        drive(
            &mut self.world,
            &mut self.controller,
            left,
            next,
            |world, _, observation, plan, decision| {
                turned = Some(Tick {
                    index,
                    observation,
                    decision,
                    plan,
                    occurrences: world.take_occurrences().into(),
                    score: Arc::new(world.score()),
                    events_processed: world.events_processed(),
                });
                ControlFlow::Continue(())
            },
            |_, _, _| {},
        )?;
        self.ticks += 1;
        Ok(turned)
    }

    /// Processes the next event of the current window and says what it was; `None` when the window holds no more.
    pub fn step_event(&mut self) -> Option<String> {
        let since_start = self.world.now().since(self.world.setup().start);
        let next = self.world.setup().start.saturating_add(self.period * (since_start / self.period + 1)).min(self.end);
        // An event at the very end of the window belongs to the tick.
        let last = next.saturating_sub(Duration::from_nanos(1));
        self.world.step_event(last).map(|(at, event)| format!("{at} {event}"))
    }

    /// Where in simulated time it stands.
    pub fn now(&self) -> Timestamp {
        self.world.now()
    }

    /// When it ends.
    pub fn end(&self) -> Timestamp {
        self.end
    }

    /// What it would be judged by if it ended now.
    pub fn score(&self) -> Score {
        self.world.score()
    }

    /// Events processed so far.
    pub fn events_processed(&self) -> u64 {
        self.world.events_processed()
    }

    /// What the policy was told before the first tick.
    pub fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// The controller.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }
}

/// Whether a policy is told the demand to come: `oracle` always, `fixed` when nobody has set its machines.
pub fn needs_foresight(policy: &str, config: &ControllerConfig) -> bool {
    match policy {
        "oracle" => true,
        "fixed" => config.policy.fixed.vms.is_none() && config.policy.fixed.cells.is_empty(),
        _ => false,
    }
}

/// What a policy can know of a scenario but the future: its past, as far as one is known and the policy goes by it, and
/// what it learns from that.
///
/// # Errors
/// [`PolicyError`] where that is too little.
pub fn knowledge(scenario: &Scenario, policy: &str) -> Result<Knowledge, PolicyError> {
    let (name, model) = policy::named(policy);
    let hindsight = policy::goes_by_hindsight(policy).then(|| hindsight(scenario)).flatten().map(Arc::new);
    let trained = (name == "predictive")
        .then(|| predictive::learn(model, &scenario.controller, &scenario.setup.topology, hindsight.as_deref()))
        .transpose()?
        .map(Arc::new);
    Ok(Knowledge { foresight: None, hindsight, trained })
}

/// The demand before a run; `None` where nothing is known of it.
pub fn hindsight(scenario: &Scenario) -> Option<Hindsight> {
    let recorded = |load: &Load| match load {
        Load::Series(series) => Some(series.step),
        _ => None,
    };
    let step = predictive::step(&scenario.controller);
    let step = scenario.setup.load.iter().filter_map(recorded).max().map_or(step, |recorded| recorded.max(step));
    if step > Hindsight::STEP_MOST {
        return None;
    }
    let past = past_rates(&scenario.setup, scenario.history, step)?;
    Some(Hindsight::new(past.start, past.step, past.sessions_per_second))
}

/// The demand to come in steps of `step`.
pub fn foresight(setup: &Setup, step: Duration) -> Foresight {
    let path = demand_path(setup, step);
    Foresight { start: path.start, step: path.step, sessions: path.peak }
}
