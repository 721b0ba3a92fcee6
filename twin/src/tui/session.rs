//! A run with a past: an engine, what has come so far, and checkpoints to go back to.
//!
//! To go to a moment is to continue from the nearest checkpoint before it; engines are deterministic, so one arrives at
//! what was seen there the first time. Checkpoints lie dense around the present and ever sparser away from it, so
//! that their number grows with the logarithm of the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_world::{Timestamp, Topology};

use super::alert::Alert;
use super::engine::Engine;
use super::history::History;
use super::snapshot::Side;
use crate::tick::Tick;

/// Ticks between checkpoints where they lie densest.
const SPACING: u64 = 16;
/// Checkpoints on each side of the present before their spacing doubles.
const DENSE: u64 = 3;
/// Alerts kept; when more come, the oldest half goes.
const ALERTS_MAX: usize = 4000;

/// A run that can be taken back and forth.
pub(crate) struct Session {
    policy: Arc<str>,
    topology: Arc<Topology>,
    present: Moment,
    ended: bool,
    /// Ticks that the run has at most been advanced to, and the series up to there.
    reached: u64,
    reached_at: Timestamp,
    reached_history: History,
    alerts: Arc<Vec<Alert>>,
    alerts_made: u64,
    /// By the number of ticks done.
    checkpoints: BTreeMap<u64, Moment>,
}

/// All that a run is at one moment.
struct Moment {
    engine: Box<dyn Engine>,
    tick: Option<Tick>,
    history: History,
    ticks_done: u64,
    /// The engine has gone over events since its last tick.
    inside_window: bool,
}

impl Moment {
    fn copy(&self) -> Moment {
        Moment {
            engine: self.engine.checkpoint(),
            tick: self.tick.clone(),
            history: self.history.clone(),
            ticks_done: self.ticks_done,
            inside_window: self.inside_window,
        }
    }
}

impl Session {
    pub(crate) fn new(policy: &str, engine: Box<dyn Engine>, topology: Arc<Topology>) -> Self {
        let history = History::new(topology.cells());
        let reached_at = engine.now();
        let present = Moment { engine, tick: None, history: history.clone(), ticks_done: 0, inside_window: false };
        let checkpoints = BTreeMap::from([(0, present.copy())]);
        Session {
            policy: policy.into(),
            topology,
            present,
            ended: false,
            reached: 0,
            reached_at,
            reached_history: history,
            alerts: Arc::default(),
            alerts_made: 0,
            checkpoints,
        }
    }

    pub(crate) fn ticks_done(&self) -> u64 {
        self.present.ticks_done
    }

    /// Whether the end of the run stands right ahead.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether its next tick is still being made elsewhere.
    pub(crate) fn waits(&self) -> bool {
        self.present.engine.waits()
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.present.ticks_done < self.reached
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.present.engine.now()
    }

    pub(crate) fn reached_at(&self) -> Timestamp {
        self.reached_at
    }

    pub(crate) fn alerts(&self) -> &Arc<Vec<Alert>> {
        &self.alerts
    }

    pub(crate) fn side(&self) -> Side {
        Side {
            policy: Arc::clone(&self.policy),
            tick: self.present.tick.clone(),
            history: self.present.history.clone(),
            ahead: self.is_behind().then(|| self.reached_history.clone()),
        }
    }

    /// One tick further; false when the run is over.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(tick) = self.present.engine.tick() else {
            self.ended = true;
            return false;
        };
        self.present.inside_window = false;
        self.present.history.push(&tick, &self.topology);
        self.present.ticks_done += 1;
        if self.present.ticks_done > self.reached {
            self.reached = self.present.ticks_done;
            self.reached_at = tick.observation.at;
            self.take_alerts(&tick);
        }
        self.present.tick = Some(tick);
        if !self.is_behind() {
            self.reached_history = self.present.history.clone();
        }
        self.keep_checkpoint();
        true
    }

    /// One event further; what happened, or `None` when the window holds no more.
    pub(crate) fn step_event(&mut self) -> Option<String> {
        let happened = self.present.engine.step_event()?;
        self.present.inside_window = true;
        Some(happened)
    }

    /// Goes to the last checkpoint from which [`Session::advance`] leads to `ticks_done`, unless the present is a
    /// better place to start from.
    pub(crate) fn go_before(&mut self, ticks_done: u64) {
        let present = self.present.ticks_done;
        let here = present < ticks_done || (present == ticks_done && !self.present.inside_window);
        let (&nearest, moment) = self.checkpoints.range(..=ticks_done).next_back().expect("the begin is always kept");
        if here && present >= nearest {
            return;
        }
        self.present = moment.copy();
        self.ended = false;
    }

    fn take_alerts(&mut self, tick: &Tick) {
        for occurrence in tick.occurrences.iter() {
            if let Some(alert) = Alert::from_occurrence(self.alerts_made, occurrence, &self.topology) {
                self.alerts_made += 1;
                Arc::make_mut(&mut self.alerts).push(alert);
            }
        }
        if self.alerts.len() > ALERTS_MAX {
            Arc::make_mut(&mut self.alerts).drain(..ALERTS_MAX / 2);
        }
    }

    fn keep_checkpoint(&mut self) {
        let present = self.present.ticks_done;
        if !present.is_multiple_of(SPACING) {
            return;
        }
        self.checkpoints.entry(present).or_insert_with(|| self.present.copy());
        self.checkpoints.retain(|&ticks, _| ticks == 0 || is_kept(ticks, present));
    }
}

/// Whether a checkpoint after `ticks` is kept when the run stands at `present`: beyond `DENSE` spacings only every
/// second one, beyond twice as many only every fourth, and so on.
fn is_kept(ticks: u64, present: u64) -> bool {
    let distance = ticks.abs_diff(present) / (SPACING * DENSE);
    let spacing = SPACING << (u64::BITS - distance.leading_zeros());
    ticks.is_multiple_of(spacing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::scripted::Scripted;

    fn session() -> Session {
        let (scene, engine) = Scripted::demo("predictive", 7);
        Session::new("predictive", Box::new(engine), scene.topology)
    }

    fn go(session: &mut Session, ticks: u64) {
        session.go_before(ticks);
        while session.ticks_done() < ticks && session.advance() {}
    }

    fn shown(session: &Session) -> String {
        let side = session.side();
        let points = side.history.points(3, Timestamp::EPOCH, Timestamp::MAX, 10_000);
        let tick = side.tick.expect("has ticked");
        format!("{} {:?} {:?} {points:?}", session.now(), tick.observation, (tick.decision, tick.plan, tick.score))
    }

    #[test]
    fn going_back_and_forth_shows_the_same() {
        let mut session = session();
        let mut first = Vec::new();
        for ticks in 1..=300 {
            go(&mut session, ticks);
            first.push(shown(&session));
        }
        let alerts = session.alerts().clone();
        for ticks in [299, 1, 150, 149, 16, 17, 260, 48, 300, 5] {
            go(&mut session, ticks);
            assert!(session.ticks_done() == ticks && shown(&session) == first[ticks as usize - 1], "{ticks}");
        }
        assert_eq!(session.alerts(), &alerts);
        assert!(session.side().ahead.is_some());
    }

    #[test]
    fn a_seek_undoes_steps_inside_a_window() {
        let mut session = session();
        go(&mut session, 20);
        let first = shown(&session);
        assert!(session.step_event().is_some());
        assert_ne!(shown(&session), first);
        go(&mut session, 20);
        assert_eq!(shown(&session), first);
    }

    #[test]
    fn the_number_of_checkpoints_grows_with_the_logarithm() {
        let mut kept = std::collections::BTreeSet::from([0u64]);
        let check = |kept: &std::collections::BTreeSet<u64>, present: u64| {
            assert!(kept.len() < 60, "{}", kept.len());
            // From anywhere behind, the way to go is short against the way back.
            for back in [1, 10, 100, 1000, 10_000, 100_000] {
                if back < present {
                    let nearest = kept.range(..=present - back).next_back().expect("has the begin");
                    assert!(present - back - nearest <= SPACING.max(back) + SPACING, "{back}: {nearest}");
                }
            }
        };
        for present in (0..525_600u64).step_by(SPACING as usize) {
            kept.insert(present);
            kept.retain(|&ticks| ticks == 0 || is_kept(ticks, present));
            if present.is_multiple_of(16 * 1001) {
                check(&kept, present);
            }
        }
        check(&kept, 525_584);
    }
}
