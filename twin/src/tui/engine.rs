//! What the terminal UI plays: anything that goes from tick to tick and can be copied where it stands; and the
//! simulated world under its controller, which is one.

use std::sync::Arc;

use forebay_sim::{Setup, SimWorld};
use forebay_world::{Duration, Timestamp, World, WorldError};

use crate::controller::Controller;
use crate::tick::Tick;

/// A run in progress.
///
/// An engine is deterministic: a checkpoint continued yields the same ticks, bit for bit, as the original. That is
/// what seeking rests on.
pub trait Engine: Send {
    /// Where in simulated time it stands.
    fn now(&self) -> Timestamp;

    /// Goes to the end of the current window and returns what was seen, decided and asked for there; `None` when the
    /// run is over.
    fn tick(&mut self) -> Option<Tick>;

    /// Goes one event further inside the current window and says what happened; `None` when the window holds no more.
    fn step_event(&mut self) -> Option<String>;

    /// A copy that continues from here on its own.
    fn checkpoint(&self) -> Box<dyn Engine>;
}

/// A simulated world steered by a controller: tick by tick what [`crate::drive`] does at once.
#[derive(Clone)]
pub struct Simulated {
    world: SimWorld,
    controller: Controller,
    period: Duration,
    end: Timestamp,
    /// End of the current window, or where it would lie beyond the end of the run.
    next: Timestamp,
    ticks_done: u64,
}

impl Simulated {
    /// The run of `setup` under `controller`, at its begin; a decision each `period`.
    pub fn new(setup: Arc<Setup>, controller: Controller, period: Duration) -> Self {
        assert!(!period.is_zero(), "a loop without a period never ends");
        let (next, end) = (setup.start.saturating_add(period), setup.end);
        Simulated { world: SimWorld::new(setup), controller, period, end, next, ticks_done: 0 }
    }
}

impl Engine for Simulated {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn tick(&mut self) -> Option<Tick> {
        let ended = self.next.saturating_sub(self.period) >= self.end;
        if ended || self.world.wait_until(self.next.min(self.end)).is_err() {
            return None;
        }
        let seen = Arc::new(self.world.observe().ok()?);
        let (plan, decision) = self.controller.step(&seen);
        let tick = Tick {
            index: self.ticks_done,
            observation: seen,
            decision,
            plan: Arc::clone(&plan),
            occurrences: self.world.take_occurrences().into(),
            score: Arc::new(self.world.score()),
            events_processed: self.world.events_processed(),
        };
        if let Err(error) = self.world.submit(&plan) {
            // Anything else is transient: the plan before stays in force, and the next tick tries again.
            assert!(!matches!(error, WorldError::Stale { .. }), "there is one writer: {error}");
        }
        self.ticks_done += 1;
        self.next = self.next.saturating_add(self.period);
        Some(tick)
    }

    fn step_event(&mut self) -> Option<String> {
        self.world.step_event(self.next.min(self.end)).map(|(_, what)| what)
    }

    fn checkpoint(&self) -> Box<dyn Engine> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use forebay_sim::setup::{Content, Dns, Fidelity, Hazards, Load, LocalTime, Synthetic};

    use super::*;
    use crate::controller::ControllerConfig;
    use crate::{policy, small_world};

    const START: Timestamp = Timestamp::from_secs(1_781_000_400);

    fn engine(fidelity: Fidelity) -> Simulated {
        let topology = Arc::new(small_world::topology(2));
        let (regions, classes) = (topology.regions.len(), topology.classes.len());
        let load = Load::Synthetic(Synthetic {
            sessions_per_second: 0.5,
            daily: [1.0; 24],
            weekly: [1.0; 7],
            noise_sigma: 0.1,
            noise_step: Duration::from_mins(5),
        });
        let setup = Setup {
            topology: Arc::clone(&topology),
            start: START,
            // Not a whole number of periods: the last window is short.
            end: START + Duration::from_secs(1830),
            score_from: START,
            seed: 7,
            fidelity,
            local_time: vec![LocalTime(vec![(START, 0)]); regions],
            load: vec![load; topology.cells()],
            crowds: Vec::new(),
            dns: Dns {
                resolvers: vec![20; regions],
                resolver_skew: 0.5,
                ttl: vec![Duration::from_secs(20); classes],
                extending_share: 0.0,
                extended_ttl: Duration::from_secs(60),
                ecs_share: 0.0,
                ecs_subnets: 1,
            },
            content: Content {
                objects: vec![1000; classes],
                exponent: vec![0.9; classes],
                cached: vec![200; classes],
                origin_delay: Duration::from_millis(80),
            },
            faults: Vec::new(),
            hazards: Hazards::default(),
            overload_limit: 1.5,
            events: Vec::new(),
        };
        let config = ControllerConfig::default();
        let policy = policy::build("predictive", &config, &topology, None).expect("needs no foresight");
        let controller = Controller::new(topology, config, policy);
        Simulated::new(Arc::new(setup), controller, Duration::from_mins(1))
    }

    fn rest(engine: &mut dyn Engine) -> Vec<String> {
        std::iter::from_fn(|| engine.tick()).map(|tick| format!("{tick:?}")).collect()
    }

    #[test]
    fn a_checkpoint_continues_as_the_original_does() {
        for fidelity in [Fidelity::Session, Fidelity::Fluid(Duration::from_secs(10))] {
            let mut original = engine(fidelity);
            for _ in 0..10 {
                original.tick().expect("the run is longer");
            }
            let mut copy = original.checkpoint();
            // Events stepped over one by one are the events a tick goes over at once.
            let mut events = 0;
            while events < 100 && copy.step_event().is_some() {
                events += 1;
            }
            assert!(events > 0 && copy.now() > original.now());
            let (first, second) = (rest(&mut original), rest(&mut *copy));
            assert_eq!(first.len(), 21);
            assert!(first == second, "{fidelity:?}");
            assert_eq!(original.now(), START + Duration::from_secs(1830));
        }
    }

    #[test]
    fn it_ticks_as_the_loop_does() {
        let mut stepped = engine(Fidelity::Session);
        let Simulated { mut world, mut controller, period, end, .. } = stepped.clone();
        let mut driven = Vec::new();
        let note = |world: &mut SimWorld, seen: Arc<_>, plan: Arc<_>, decision: Arc<_>| {
            driven.push(format!("{seen:?}{plan:?}{decision:?}{:?}", world.score()));
            std::ops::ControlFlow::Continue(())
        };
        crate::drive(&mut world, &mut controller, period, end, note, |_, _, _| {}).expect("one writer");
        let ticks = std::iter::from_fn(|| stepped.tick());
        let stepped: Vec<String> =
            ticks.map(|t| format!("{:?}{:?}{:?}{:?}", t.observation, t.plan, t.decision, t.score)).collect();
        assert!(driven == stepped, "{} and {} ticks", driven.len(), stepped.len());
    }
}
