//! What the terminal UI plays: anything that goes from tick to tick and can be copied where it stands, as the run of a
//! scenario does.

use forebay_world::Timestamp;

use crate::run::Run;
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

    /// Whether its next tick is still being made elsewhere: then it is not to be asked for yet.
    fn waits(&self) -> bool {
        false
    }

    /// Goes one event further inside the current window and says what happened; `None` when the window holds no more.
    fn step_event(&mut self) -> Option<String>;

    /// A copy that continues from here on its own.
    fn checkpoint(&self) -> Box<dyn Engine>;
}

impl Engine for Run {
    fn now(&self) -> Timestamp {
        Run::now(self)
    }

    fn tick(&mut self) -> Option<Tick> {
        Run::tick(self).expect("a run is the only writer of its world")
    }

    fn step_event(&mut self) -> Option<String> {
        Run::step_event(self)
    }

    fn checkpoint(&self) -> Box<dyn Engine> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use forebay_world::Duration;

    use super::*;
    use crate::scenario::{Overrides, Scenario};

    fn engine() -> Run {
        let overrides = Overrides { until: Some(Duration::from_secs(1830)), ..Overrides::default() };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/steady.toml");
        let scenario = Scenario::load(&path, &overrides).expect("the scenario is right");
        Run::new(&scenario, "predictive").expect("needs no foresight")
    }

    fn rest(engine: &mut dyn Engine) -> Vec<String> {
        std::iter::from_fn(|| engine.tick()).map(|tick| format!("{tick:?}")).collect()
    }

    #[test]
    fn a_checkpoint_continues_as_the_original_does() {
        let mut original = engine();
        for _ in 0..10 {
            original.tick().expect("the world takes the plan").expect("the run is longer");
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
        assert!(first == second);
        assert_eq!(original.now(), original.end());
    }
}
