//! Plays a run, or two beside each other, at a pace: the state of the thread that has no screen.
//!
//! The player reads no clock: whoever turns it says how late it is.

use std::sync::Arc;
use std::time::Duration as Wall;

use forebay_world::{Duration, Timestamp};

use super::engine::Engine;
use super::session::Session;
use super::snapshot::{Command, Mode, Scene, Snapshot, Speed};

/// Makes an engine that runs the scene under a policy, from its begin; or says why it cannot.
pub type MakeEngine = Box<dyn FnMut(&str) -> Result<Box<dyn Engine>, String> + Send>;

/// Between snapshots of a clock that runs smoothly.
const SMOOTH: Wall = Wall::from_millis(50);
/// Between looks for a tick that is made elsewhere.
const WAITED: Wall = Wall::from_millis(100);
/// The pace is measured over at least this long.
const PACE_OVER: Wall = Wall::from_millis(500);

/// A run that is being played.
pub struct Player {
    scene: Arc<Scene>,
    make_engine: MakeEngine,
    /// The run, and perhaps one to compare it with.
    sides: Vec<Session>,
    /// Ticks that every side is to be advanced to before anything else.
    goal: u64,
    /// Where a seek began and whether one is under way.
    seek_from: Option<u64>,
    running: bool,
    speed: Speed,
    /// Share of the present window that has been played, 0 to 1.
    phase: f64,
    turned: Option<Wall>,
    pace: Option<f64>,
    pace_since: Option<(Wall, Timestamp)>,
    said: Option<Arc<str>>,
}

/// When a player wants its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// At once: there is work.
    None,
    /// After this long.
    For(Wall),
    /// When it is asked something.
    UntilAsked,
}

impl Player {
    /// A player of `scene` under `policy`, at its begin.
    ///
    /// # Errors
    /// What `make_engine` says.
    pub fn new(
        scene: Arc<Scene>,
        policy: &str,
        mut make_engine: MakeEngine,
        speed: Speed,
        running: bool,
    ) -> Result<Self, String> {
        let session = Session::new(policy, make_engine(policy)?, Arc::clone(&scene.topology));
        Ok(Player {
            scene,
            make_engine,
            sides: vec![session],
            goal: 0,
            seek_from: None,
            running,
            speed,
            phase: 0.0,
            turned: None,
            pace: None,
            pace_since: None,
            said: None,
        })
    }

    /// Takes a command. What takes long is left to the turns that follow.
    pub fn apply(&mut self, command: Command) {
        self.said = None;
        match command {
            Command::TogglePause => self.running = !self.running,
            Command::SetSpeed(speed) => self.speed = speed,
            Command::StepTick => {
                self.running = false;
                self.phase = 0.0;
                if self.seek_from.is_none() {
                    self.goal = self.sides[0].ticks_done() + 1;
                }
            }
            Command::StepEvent => {
                self.running = false;
                self.phase = 0.0;
                if self.seek_from.is_none() {
                    self.step_event();
                }
            }
            Command::Seek(to) => self.seek(to),
            Command::Visit(to) => {
                self.running = false;
                let last_of_window = Duration::from_nanos(self.scene.window.as_nanos().saturating_sub(1));
                self.seek(to.saturating_add(last_of_window));
            }
            Command::Compare(None) => self.sides.truncate(1),
            Command::Compare(Some(policy)) => match (self.make_engine)(&policy) {
                Ok(engine) => {
                    self.sides.truncate(1);
                    self.sides.push(Session::new(&policy, engine, Arc::clone(&self.scene.topology)));
                    // A seek under way goes on, with both.
                    self.goal = self.goal.max(self.sides[0].ticks_done());
                    self.seek_from = Some(0);
                }
                Err(why) => self.said = Some(why.into()),
            },
        }
    }

    /// Does at most one tick of work and says when to be turned next. `wall` is the time since any fixed moment.
    pub fn turn(&mut self, wall: Wall) -> Rest {
        let elapsed = wall.saturating_sub(self.turned.replace(wall).unwrap_or(wall));
        if self.sides.iter().any(|side| side.ticks_done() < self.goal && !side.has_ended()) {
            let goal = self.goal;
            let mut is_made = false;
            for side in self.sides.iter_mut().filter(|side| side.ticks_done() < goal && !side.waits()) {
                is_made = true;
                side.advance();
            }
            return if is_made { Rest::None } else { Rest::For(WAITED) };
        }
        self.seek_from = None;
        if !self.running || self.has_ended() {
            self.pace = None;
            self.pace_since = None;
            return Rest::UntilAsked;
        }
        if self.sides.iter().any(Session::waits) {
            self.phase = 0.0;
            return Rest::For(WAITED);
        }
        if let Speed::Times(times) = self.speed {
            let window_s = self.scene.window.as_secs_f64() / f64::from(times);
            // A late turn is not made up for by a burst: one window at most.
            self.phase = (self.phase + elapsed.as_secs_f64() / window_s).min(2.0);
            if self.phase < 1.0 {
                let left = Wall::from_secs_f64((1.0 - self.phase) * window_s);
                return Rest::For(left.min(SMOOTH));
            }
            self.phase -= 1.0;
            self.pace = None;
        } else {
            self.phase = 0.0;
            self.measure_pace(wall);
        }
        self.goal = self.sides[0].ticks_done() + 1;
        for side in &mut self.sides {
            side.advance();
        }
        if self.has_ended() {
            self.phase = 0.0;
        }
        Rest::None
    }

    /// What is to be seen now.
    pub fn snapshot(&self) -> Snapshot {
        let run = &self.sides[0];
        let mode = if let Some(from) = self.seek_from.filter(|_| !self.arrived()) {
            let done = self.sides.iter().map(Session::ticks_done).min().unwrap_or(0);
            Mode::Seek((done.saturating_sub(from) as f32 / self.goal.saturating_sub(from).max(1) as f32).min(1.0))
        } else if self.has_ended() {
            Mode::End
        } else if !self.running {
            Mode::Paused
        } else if run.is_behind() {
            Mode::Replay
        } else {
            Mode::Run
        };
        let played = run.now().saturating_add(self.scene.window.mul_f64(self.phase.clamp(0.0, 1.0)));
        Snapshot {
            mode,
            speed: self.speed,
            pace: self.pace,
            clock: played.min(self.scene.end.max(run.now())),
            reached: run.reached_at(),
            sides: self.sides.iter().map(Session::side).collect(),
            alerts: Arc::clone(run.alerts()),
            said: self.said.clone(),
        }
    }

    fn has_ended(&self) -> bool {
        self.sides.iter().all(Session::has_ended)
    }

    fn arrived(&self) -> bool {
        self.sides.iter().all(|side| side.ticks_done() >= self.goal || side.has_ended())
    }

    fn step_event(&mut self) {
        if self.has_ended() {
            self.said = Some("the run is over".into());
            return;
        }
        let said = match self.sides[0].step_event() {
            Some(happened) => happened,
            None => {
                self.goal = self.sides[0].ticks_done() + 1;
                "the window closes: observe, decide, submit".to_owned()
            }
        };
        self.said = Some(said.into());
    }

    fn seek(&mut self, to: Timestamp) {
        let to = to.clamp(self.scene.start, self.scene.end);
        self.goal = to.since(self.scene.start) / self.scene.window.max(Duration::from_nanos(1));
        for side in &mut self.sides {
            side.go_before(self.goal);
        }
        self.seek_from = self.sides.iter().map(Session::ticks_done).min();
        self.phase = 0.0;
        self.pace_since = None;
    }

    fn measure_pace(&mut self, wall: Wall) {
        let clock = self.sides[0].now();
        let (since, from) = *self.pace_since.get_or_insert((wall, clock));
        let elapsed = wall.saturating_sub(since);
        if elapsed >= PACE_OVER {
            self.pace = Some(clock.since(from).as_secs_f64() / elapsed.as_secs_f64());
            self.pace_since = Some((wall, clock));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::scripted::Scripted;

    fn player(speed: Speed) -> Player {
        let (scene, _) = Scripted::demo("predictive", 7);
        let make: MakeEngine = Box::new(|policy| match policy {
            "none" => Err("there is no policy none".to_owned()),
            policy => Ok(Box::new(Scripted::demo(policy, 7).1)),
        });
        Player::new(Arc::new(scene), "predictive", make, speed, true).expect("the policy exists")
    }

    fn settle(player: &mut Player, wall: Wall) {
        while player.turn(wall) == Rest::None {}
    }

    fn ticks(player: &Player) -> u64 {
        player.snapshot().sides[0].tick.as_ref().map_or(0, |tick| tick.index + 1)
    }

    #[test]
    fn a_run_keeps_the_pace_it_was_given() {
        let mut player = player(Speed::Times(60));
        let mut wall = Wall::ZERO;
        player.turn(wall);
        for _ in 0..1000 {
            wall += Wall::from_millis(10);
            settle(&mut player, wall);
        }
        assert_eq!(ticks(&player), 10);
        assert_eq!(player.snapshot().mode, Mode::Run);
    }

    #[test]
    fn at_full_speed_the_pace_is_measured() {
        let mut player = player(Speed::Max);
        for milliseconds in (0..=1000).step_by(10) {
            player.turn(Wall::from_millis(milliseconds));
        }
        assert_eq!(player.snapshot().pace, Some(6000.0));
    }

    #[test]
    fn the_clock_runs_on_between_ticks_and_stands_in_a_pause() {
        let mut player = player(Speed::Times(1));
        let start = player.snapshot().clock;
        player.turn(Wall::ZERO);
        player.turn(Wall::from_secs(15));
        assert_eq!(player.snapshot().clock, start + Duration::from_secs(15));
        player.apply(Command::TogglePause);
        assert_eq!(player.turn(Wall::from_secs(500)), Rest::UntilAsked);
        assert_eq!(player.snapshot().clock, start + Duration::from_secs(15));
        assert_eq!(player.snapshot().mode, Mode::Paused);
        player.apply(Command::TogglePause);
        player.turn(Wall::from_secs(510));
        assert_eq!(player.snapshot().clock, start + Duration::from_secs(25));
    }

    #[test]
    fn at_full_speed_it_runs_to_the_end_and_waits() {
        let mut player = player(Speed::Max);
        settle(&mut player, Wall::ZERO);
        let snapshot = player.snapshot();
        assert_eq!(snapshot.mode, Mode::End);
        assert_eq!(snapshot.clock, player.scene.end);
        assert_eq!(player.turn(Wall::ZERO), Rest::UntilAsked);
    }

    #[test]
    fn a_seek_arrives_where_it_was_sent_and_says_so_meanwhile() {
        let mut player = player(Speed::Max);
        player.apply(Command::TogglePause);
        let to = player.scene.start + player.scene.window * 100;
        player.apply(Command::Seek(to + Duration::from_secs(20)));
        player.turn(Wall::ZERO);
        assert!(matches!(player.snapshot().mode, Mode::Seek(_)));
        settle(&mut player, Wall::ZERO);
        assert_eq!((player.snapshot().mode, player.snapshot().clock), (Mode::Paused, to));
        player.apply(Command::Seek(Timestamp::MAX));
        settle(&mut player, Wall::ZERO);
        assert_eq!(player.snapshot().clock, player.scene.end);
        player.apply(Command::Seek(Timestamp::EPOCH));
        settle(&mut player, Wall::ZERO);
        assert_eq!(player.snapshot().clock, player.scene.start);
        assert!(player.snapshot().sides[0].ahead.is_some());
    }

    #[test]
    fn two_policies_stay_in_step() {
        let mut player = player(Speed::Max);
        for _ in 0..40 {
            player.turn(Wall::ZERO);
        }
        player.apply(Command::Compare(Some("hpa".to_owned())));
        player.apply(Command::TogglePause);
        settle(&mut player, Wall::ZERO);
        player.apply(Command::Seek(player.scene.start + player.scene.window * 20));
        settle(&mut player, Wall::ZERO);
        player.apply(Command::StepTick);
        settle(&mut player, Wall::ZERO);
        let sides = player.snapshot().sides;
        let index = |side: usize| sides[side].tick.as_ref().unwrap().index;
        assert_eq!((sides.len(), index(0), index(1)), (2, 20, 20));
        player.apply(Command::Compare(None));
        assert_eq!(player.snapshot().sides.len(), 1);
    }

    #[test]
    fn a_policy_that_cannot_be_had_is_said_and_nothing_changes() {
        let mut player = player(Speed::Max);
        player.apply(Command::Compare(Some("none".to_owned())));
        assert_eq!(player.snapshot().said.as_deref(), Some("there is no policy none"));
        assert_eq!(player.snapshot().sides.len(), 1);
    }

    #[test]
    fn events_are_stepped_over_one_by_one_up_to_the_tick() {
        let mut player = player(Speed::Max);
        player.apply(Command::StepTick);
        settle(&mut player, Wall::ZERO);
        let mut clocks = vec![player.snapshot().clock];
        while ticks(&player) == 1 {
            player.apply(Command::StepEvent);
            settle(&mut player, Wall::ZERO);
            assert!(player.snapshot().said.is_some());
            clocks.push(player.snapshot().clock);
        }
        assert!(clocks.len() > 2 && clocks.is_sorted(), "{clocks:?}");
    }
}
