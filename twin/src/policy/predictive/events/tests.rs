use forebay_world::{ClassId, Observation, Plan, RegionId, Steering, Topology};
use proptest::prelude::*;

use super::*;
use crate::controller::ControllerConfig;
use crate::controller::served::CellSeen;
use crate::small_world;

const CELL: usize = 0;

/// A run by the minute in a world of one region, in which the first cell has events.
struct Run {
    topology: Topology,
    config: ControllerConfig,
    events: Events,
    announced: Vec<KnownEvent>,
}

fn minute(minute: u64) -> Timestamp {
    Timestamp::from_secs(60 * minute)
}

fn event(id: &str, kind: &str, start: u64, end: u64, uplift: Option<f64>) -> KnownEvent {
    KnownEvent {
        id: id.into(),
        kind: kind.into(),
        start: minute(start),
        end: minute(end),
        regions: vec![RegionId(0)],
        classes: vec![ClassId(0)],
        uplift,
    }
}

impl Run {
    fn new(announced: Vec<KnownEvent>) -> Run {
        let topology = small_world::topology(1);
        Run { topology, config: ControllerConfig::default(), events: Events::default(), announced }
    }

    /// One tick: what is called for from `ahead.0` to `ahead.1` minutes from now.
    fn tick(
        &mut self,
        at: u64,
        offered: Option<f64>,
        usual: &dyn Fn(Timestamp) -> f64,
        ahead: (u64, u64),
    ) -> Option<Raise> {
        let mut seen: Observation = small_world::quiet(&self.topology, minute(at));
        seen.events = self.announced.iter().filter(|event| event.end > seen.at).cloned().collect();
        if offered.is_none() {
            seen.demand[CELL] = None;
        }
        let plan = Plan::default();
        let cells = vec![CellSeen::default(); self.topology.cells()];
        let (numbers, steering) = (vec![0; self.topology.cells()], Steering::home(self.topology.cells()));
        let now = Situation {
            seen: &seen,
            current: &plan,
            steering: &steering,
            topology: &self.topology,
            config: &self.config,
            cells: &cells,
            offered: &vec![offered; self.topology.cells()],
            floors: &numbers,
            ceilings: &numbers,
        };
        self.events.follow(&now);
        let config = self.config.policy.predictive.clone();
        let window = (minute(at + ahead.0), minute(at + ahead.1));
        self.events.look(&now, &config, CELL, &|at| Some(usual(at)), window.1);
        self.events.floor(&now, &config, CELL, window)
    }

    /// From minute to minute, with the demand that `demand` says.
    fn go(&mut self, minutes: std::ops::Range<u64>, demand: &dyn Fn(u64) -> Option<f64>) -> Vec<Option<Raise>> {
        minutes.map(|at| self.tick(at, demand(at), &|_| 100.0, (4, 5))).collect()
    }
}

#[test]
fn an_event_raises_from_its_lead_to_its_end_and_is_named() {
    let mut run = Run::new(vec![event("cup", "football", 60, 90, Some(3.0))]);
    let raised = run.go(0..120, &|_| Some(100.0));
    for (at, raise) in (0..).zip(&raised) {
        // Five minutes of lead: the window that is four to five minutes ahead touches them from minute 50 on.
        let wanted = (50..=86).contains(&at);
        assert_eq!(raise.is_some(), wanted, "minute {at}: {raise:?}");
        if let Some(raise) = raise {
            assert_eq!(
                (raise.event.as_str(), (raise.uplift - 3.0).abs() < 1e-9, raise.sessions.round()),
                ("cup", true, 300.0)
            );
        }
    }
}

#[test]
fn the_one_that_calls_for_most_is_named() {
    let mut run = Run::new(vec![
        event("small", "news", 10, 60, Some(1.2)),
        event("large", "football", 20, 40, Some(4.0)),
        event("quiet", "strike", 10, 60, Some(0.6)),
    ]);
    let raised = run.go(0..60, &|_| Some(100.0));
    let named = |at: usize| raised[at].as_ref().map(|raise| raise.event.as_str());
    assert_eq!(
        (named(8), named(14), named(30), named(45)),
        (Some("small"), Some("large"), Some("large"), Some("small"))
    );
}

#[test]
fn what_is_usual_at_the_time_of_the_event_counts_not_what_is_now() {
    // Demand falls to a tenth over the event; a window late in it asks for the less.
    let usual = |at: Timestamp| 1000.0 - 9.0 * (at.as_secs_f64() / 60.0);
    let mut run = Run::new(vec![event("x", "k", 10, 100, Some(2.0))]);
    let _ = run.tick(4, Some(usual(minute(4))), &usual, (1, 2));
    let late = run.tick(50, Some(5000.0), &usual, (4, 5)).unwrap();
    // The event's own crowd does not count as usual.
    assert!((late.sessions - 2.0 * usual(minute(54))).abs() < 25.0, "{late:?}");
    // One that comes without notice is held against the present.
    let mut sudden = Run::new(vec![event("x", "k", 10, 100, Some(2.0))]);
    let raise = sudden.tick(20, Some(300.0), &usual, (4, 5)).unwrap();
    assert!((raise.sessions - 600.0).abs() < 1e-6);
}

#[test]
fn events_that_end_teach_and_the_next_is_believed_accordingly() {
    let during = |at: u64| (at % 100 >= 40 && at % 100 <= 70).then_some(250.0).or(Some(100.0));
    let announced = |n: u64, word| event(&format!("match {n}"), "football", 100 * n + 40, 100 * n + 70, word);
    let mut run = Run::new((0..4).map(|n| announced(n, Some(8.0))).collect());
    let raised = run.go(0..400, &during);
    let at_its_height = |n: usize| raised[100 * n + 50].as_ref().unwrap().uplift;
    assert!((at_its_height(0) - 8.0).abs() < 1e-9, "nothing known: his word is taken");
    assert!(at_its_height(1) < 8.0 && at_its_height(2) < at_its_height(1) && at_its_height(3) < at_its_height(2));
    assert!(at_its_height(3) < 4.0, "{}", at_its_height(3));
    assert_eq!(run.events.uplifts.events("football"), 4);
    run.announced = vec![announced(5, None)];
    let silent = run.go(400..560, &during)[540 - 400 + 10].clone().unwrap();
    assert!((2.2..2.6).contains(&silent.uplift), "{silent:?}");
    assert_eq!(run.events.uplifts.events("football"), 4);
}

#[test]
fn what_cannot_be_told_teaches_nothing() {
    let learned = |announced: Vec<KnownEvent>, demand: &dyn Fn(u64) -> Option<f64>| {
        let mut run = Run::new(announced);
        run.go(0..100, demand);
        run.events.uplifts.kinds().map(str::to_owned).collect::<Vec<_>>()
    };
    let one = || event("x", "k", 40, 70, None);
    assert_eq!(learned(vec![one()], &|_| Some(200.0)), ["k"]);
    assert_eq!(learned(vec![one()], &|at| (!(40..=60).contains(&at)).then_some(200.0)), [""; 0], "not seen");
    assert_eq!(learned(vec![one(), event("y", "other", 60, 90, None)], &|_| Some(200.0)), [""; 0], "whose was it?");
    assert_eq!(learned(vec![one(), event("y", "K", 60, 90, None)], &|_| Some(200.0)), ["k"]);
    // Called off before its time.
    let mut run = Run::new(vec![one()]);
    run.go(0..39, &|_| Some(200.0));
    run.announced.clear();
    run.go(39..100, &|_| Some(900.0));
    assert!(run.events.watched.is_empty() && run.events.uplifts.kinds().next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is announced and whatever comes: what is called for is more than is usual, and never asked before its time.
    #[test]
    fn nothing_lowers(
        events in proptest::collection::vec((0u64..200, 1u64..90, proptest::option::of(0.0f64..50.0), 0usize..3), 1..6),
        demand in proptest::collection::vec(proptest::option::of(0.0f64..5000.0), 200),
        usual in 0.0f64..3000.0,
        ahead in 0u64..30,
    ) {
        let kinds = ["a", "b", "c"];
        let announced = events.iter().enumerate().map(|(n, &(start, lasts, uplift, kind))| {
            event(&n.to_string(), kinds[kind], start, start + lasts, uplift)
        });
        let mut run = Run::new(announced.collect());
        for (at, demand) in (0..).zip(&demand) {
            if let Some(raise) = run.tick(at, *demand, &|_| usual, (ahead, ahead + 1)) {
                let event = run.announced.iter().find(|event| event.id == raise.event).unwrap();
                prop_assert!(raise.uplift > 1.0 && raise.uplift <= 20.0);
                prop_assert!(minute(at + ahead + 6) >= event.start && minute(at + ahead) <= event.end);
                let late = minute(at) >= event.start.saturating_sub(run.config.policy.predictive.event_lead);
                prop_assert!(late || raise.sessions > usual, "{raise:?}");
            }
        }
    }
}
