use super::*;
use crate::controller::ControllerConfig;
use crate::policy::{self, Foresight, Hindsight, Knowledge};
use crate::small_world::{DemandFn, SmallWorld, topology};
use forebay_world::{Generation, RegionId, Topology, VmState};

const MINUTE: Duration = Duration::from_mins(1);
const START: Timestamp = Timestamp::from_secs(1_750_032_000);

/// So long before the start the past is known.
const PAST: Duration = Duration::from_hours(7 * 24);

/// Hours since the start.
fn hour_of(at: Timestamp) -> f64 {
    at.since(START.saturating_sub(PAST)).as_hours_f64() - PAST.as_hours_f64()
}

/// A day with its peak, and an hour of four times the demand on the second evening.
fn day_with_a_crowd() -> Arc<DemandFn> {
    Arc::new(|cell, at| {
        let hour = hour_of(at);
        let day = 1200.0 + 800.0 * ((hour - 9.0) / 24.0 * std::f64::consts::TAU).sin();
        // Slow and quick wandering, the same in every run.
        let noise = 1.0 + 0.03 * (hour * 2.7 + cell as f64).sin() + 0.02 * (hour * 71.0 + cell as f64).sin();
        let crowd = match hour - 44.0 {
            into if !(0.0..2.0).contains(&into) => 1.0,
            into if into < 0.15 => 1.0 + 3.0 * into / 0.15,
            into if into < 1.0 => 4.0,
            into => 1.0 + 3.0 * (2.0 - into),
        };
        day * noise * if cell == 0 { crowd } else { 1.0 }
    })
}

struct Outcome {
    vm_hours: f64,
    short_minutes: f64,
    cost: f64,
    churn: u64,
}

/// The rates that bring the demand before the start, when lengths are exponential.
fn past(topology: &Topology, demand: &DemandFn) -> Hindsight {
    let start = START.saturating_sub(PAST);
    let rates = |cell: usize| {
        let mean = topology.class(topology.cell_at(cell).1).work.mean_seconds();
        let left = (-MINUTE.as_secs_f64() / mean).exp();
        (0..PAST / MINUTE)
            .map(|n| {
                let [begin, end] = [n, n + 1].map(|n| demand(cell, start + MINUTE * n));
                ((end - begin * left) / (1.0 - left)).max(0.0) / mean
            })
            .collect()
    };
    Hindsight { start, step: MINUTE, arrivals_per_second: (0..topology.cells()).map(rates).collect() }
}

fn run(name: &str, hours: u64, demand: &Arc<DemandFn>, score_from_hour: u64) -> Outcome {
    let topology = Arc::new(topology(2));
    let mut config = ControllerConfig::default();
    config.policy.scheduled.entries = vec![
        toml::from_str("cells = \"*\"\nfrom = \"00:00\"\nuntil = \"24:00\"\nvms = 16").unwrap(),
        toml::from_str("cells = \"*\"\nfrom = \"02:00\"\nuntil = \"08:00\"\nvms = 9").unwrap(),
    ];
    let sessions = (0..topology.cells())
        .map(|cell| {
            (0..hours * 60 + 60)
                .map(|m| demand(cell, START + MINUTE * m).max(demand(cell, START + MINUTE * (m + 1))))
                .collect()
        })
        .collect();
    let foresight = Arc::new(Foresight { start: START, step: MINUTE, sessions });
    let hindsight = Some(Arc::new(past(&topology, &**demand)));
    let knowledge = Knowledge { hindsight, ..Knowledge::of_foresight(foresight) };
    let policy = policy::build(name, &config, &topology, &knowledge).unwrap();
    let mut controller = Controller::new(Arc::clone(&topology), config, policy);
    let mut world = SmallWorld::new(topology, START, Arc::clone(demand));
    let mut before = (0.0, 0.0, 0);
    let score_from = START + Duration::from_hours(score_from_hour);
    let end = START + Duration::from_hours(hours);
    for until in [score_from, end] {
        drive(&mut world, &mut controller, MINUTE, until, |_, _, _, _, _| ControlFlow::Continue(()), |_, _, _| {})
            .unwrap();
        if until == score_from {
            before = (world.vm_hours, world.short_minutes, world.churn);
        }
    }
    let (vm_hours, short_minutes) = (world.vm_hours - before.0, world.short_minutes - before.1);
    Outcome { vm_hours, short_minutes, cost: vm_hours * 0.4 + short_minutes, churn: world.churn - before.2 }
}

#[test]
fn every_policy_keeps_its_character() {
    let demand = day_with_a_crowd();
    let outcomes: Vec<(&str, Outcome)> = policy::NAMES.iter().map(|name| (*name, run(name, 60, &demand, 26))).collect();
    for (name, o) in &outcomes {
        println!(
            "{name:16} {:8.1} VM-h {:7.1} min short {:8.1} cost {:5} churn",
            o.vm_hours, o.short_minutes, o.cost, o.churn
        );
    }
    let of = |name: &str| &outcomes.iter().find(|(other, _)| *other == name).unwrap().1;
    let (fixed, oracle, predictive, hpa) = (of("fixed"), of("oracle"), of("predictive"), of("hpa"));
    assert_eq!(fixed.short_minutes, 0.0);
    for (name, outcome) in &outcomes {
        assert!(oracle.cost <= outcome.cost, "{name} beats the oracle: {} < {}", outcome.cost, oracle.cost);
        assert!(fixed.vm_hours >= outcome.vm_hours, "{name} has more machines than the peak needs");
    }
    assert!(predictive.cost < hpa.cost, "{} {}", predictive.cost, hpa.cost);
    assert!(predictive.short_minutes < hpa.short_minutes, "{} {}", predictive.short_minutes, hpa.short_minutes);
    assert!(predictive.vm_hours < 1.01 * hpa.vm_hours, "{} {}", predictive.vm_hours, hpa.vm_hours);
}

#[test]
fn a_lost_region_is_served_by_others_and_taken_home_again() {
    let topology = Arc::new(topology(3));
    let config = ControllerConfig::default();
    for name in ["hpa", "predictive"] {
        let policy = policy::build(name, &config, &topology, &Knowledge::default()).unwrap();
        let mut controller = Controller::new(Arc::clone(&topology), config.clone(), policy);
        let mut world = SmallWorld::new(Arc::clone(&topology), START, Arc::new(|_, _| 800.0));
        let mut go = |world: &mut SmallWorld, minutes: u64| {
            let until = world.now() + MINUTE * minutes;
            drive(world, &mut controller, MINUTE, until, |_, _, _, _, _| ControlFlow::Continue(()), |_, _, _| {})
                .unwrap();
            controller.plan().unwrap().steering.clone()
        };
        let ready = |world: &SmallWorld, region: u16| {
            world.vms.iter().filter(|vm| vm.state == VmState::Ready && vm.region == RegionId(region)).count()
        };
        assert!(go(&mut world, 60).0.iter().all(Vec::is_empty), "{name}");
        let before = ready(&world, 0);
        world.down[..4].fill(true);
        let away = go(&mut world, 2);
        assert!(!away.0[0].is_empty() && !away.0[1].is_empty(), "{name}: its clients are sent away");
        assert!(away.0[2..].iter().all(Vec::is_empty));
        let others = ready(&world, 1) + ready(&world, 2);
        go(&mut world, 20);
        assert!(ready(&world, 1) + ready(&world, 2) > others, "{name}: the others grow");
        assert_eq!(ready(&world, 0), 0);
        world.down.fill(false);
        assert!(go(&mut world, 15).0.iter().all(Vec::is_empty), "{name}: everybody is at home again");
        assert!(2 * ready(&world, 0) >= before);
    }
}

#[test]
fn a_tick_without_a_world_keeps_the_plan() {
    let topology = Arc::new(topology(1));
    let config = ControllerConfig::default();
    let policy = policy::build("hpa", &config, &topology, &Knowledge::default()).unwrap();
    let mut controller = Controller::new(Arc::clone(&topology), config, policy);
    let mut world = SmallWorld::new(topology, START, Arc::new(|_, _| 500.0));
    world.unreachable_at = vec![START + MINUTE * 3, START + MINUTE * 4];
    let (mut ticks, mut missed) = (0, Vec::new());
    drive(
        &mut world,
        &mut controller,
        MINUTE,
        START + MINUTE * 10,
        |_, _, _, _, _| {
            ticks += 1;
            if ticks == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
        |_, at, _| missed.push(at),
    )
    .unwrap();
    assert_eq!((ticks, missed), (7, vec![START + MINUTE * 3, START + MINUTE * 4]));
    assert_eq!(world.now(), START + MINUTE * 9);
}

#[test]
fn a_second_writer_ends_the_loop() {
    let topology = Arc::new(topology(1));
    let config = ControllerConfig::default();
    let policy = policy::build("hpa", &config, &topology, &Knowledge::default()).unwrap();
    let mut controller = Controller::new(Arc::clone(&topology), config, policy);
    let mut world = SmallWorld::new(topology, START, Arc::new(|_, _| 500.0));
    let result = drive(
        &mut world,
        &mut controller,
        MINUTE,
        START + MINUTE * 10,
        |world, _, _, plan, _| {
            let newer = Plan { generation: Generation(plan.generation.0 + 5), ..(*plan).clone() };
            forebay_world::World::submit(world, &newer).unwrap();
            ControlFlow::Continue(())
        },
        |_, _, _| {},
    );
    assert!(matches!(result, Err(WorldError::Stale { .. })));
}

#[test]
fn a_steady_load_needs_hardly_any_plan() {
    let topology = Arc::new(topology(2));
    let config = ControllerConfig::default();
    for name in ["hpa", "target-tracking", "aws-predictive", "predictive"] {
        let policy = policy::build(name, &config, &topology, &Knowledge::default()).unwrap();
        let mut controller = Controller::new(Arc::clone(&topology), config.clone(), policy);
        let mut world = SmallWorld::new(Arc::clone(&topology), START, Arc::new(|cell, _| 700.0 + 50.0 * cell as f64));
        let mut generations = Vec::new();
        let until = START + Duration::from_hours(12);
        let tick = |_: &mut SmallWorld, _: &Controller, _, plan: Arc<Plan>, _| {
            generations.push(plan.generation.0);
            ControlFlow::Continue(())
        };
        drive(&mut world, &mut controller, MINUTE, until, tick, |_, _, _| {}).unwrap();
        // After two hours only what the predictive policy learns about its errors and its machines changes anything: how
        // full they may be goes up by a band at a time, for each class.
        let changes = generations.last().unwrap() - generations[120];
        assert!(changes <= 40, "{name}: {changes}");
    }
}
