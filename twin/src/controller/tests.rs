use super::*;
use crate::policy::{self, Knowledge};
use crate::small_world::{quiet, topology};
use forebay_world::{Demand, Duration, Generation, HostId, Timestamp, VmId, VmSeen, VmState};

fn controller(name: &str, config: ControllerConfig) -> Controller {
    let topology = Arc::new(topology(2));
    let policy = policy::build(name, &config, &topology, &Knowledge::default()).unwrap();
    Controller::new(topology, config, policy)
}

fn with_fleet(controller: &Controller, at: u64, vms: u32, utilization: Option<f64>) -> Observation {
    let topology = controller.topology();
    let mut seen = quiet(topology, Timestamp::from_secs(at));
    for (cell, (region, class)) in topology.cell_ids().enumerate() {
        let places = topology.sessions_per_vm(class);
        let sessions = utilization.unwrap_or(0.0) * places;
        seen.demand[cell] = Some(Demand { sessions: sessions * f64::from(vms), ..Demand::default() });
        for i in 0..vms {
            seen.vms.push(VmSeen {
                id: VmId(u64::from(i) + cell as u64 * u64::from(vms)),
                region,
                host: HostId((region.0 as u32) * 4 + i % 4),
                flavour: topology.class(class).flavour,
                class,
                state: VmState::Ready,
                since: Timestamp::EPOCH,
                sessions: Some(sessions as u32),
                utilization,
            });
        }
    }
    seen.vms.sort_by_key(|vm| vm.id);
    seen
}

#[test]
fn when_nothing_changes_the_very_same_plan_is_returned() {
    for name in ["hpa", "target-tracking", "aws-predictive"] {
        let mut controller = controller(name, ControllerConfig::default());
        let mut last = None;
        for minute in 0..60 {
            let (plan, decision) = controller.step(&with_fleet(&controller, 6000 + 60 * minute, 4, Some(0.68)));
            assert_eq!(decision.generation, plan.generation);
            if let Some(last) = &last
                && minute > 1
            {
                assert!(Arc::ptr_eq(last, &plan), "{name} at {minute}");
            }
            last = Some(plan);
        }
    }
}

#[test]
fn a_fleet_that_stands_is_taken_over_as_it_is() {
    let mut controller = controller("hpa", ControllerConfig::default());
    let mut seen = with_fleet(&controller, 6000, 4, Some(0.7));
    seen.applied = Generation(41);
    let (plan, _) = controller.step(&seen);
    assert_eq!(plan.vms.len(), 16);
    assert_eq!((plan.generation, plan.parent), (Generation(42), Generation(41)), "slices are new");
    assert!(plan.diff(&seen).iter().all(|step| matches!(step, forebay_world::Step::SetSlice(..))));
}

#[test]
fn nothing_shrinks_while_nothing_is_seen() {
    for name in ["hpa", "target-tracking", "predictive"] {
        let mut controller = controller(name, ControllerConfig::default());
        let mut wanted = 0;
        for minute in 0..90 {
            let busy = if minute < 30 { 0.7 } else { 0.1 };
            let mut seen = with_fleet(&controller, 6000 + 60 * minute, 6, Some(busy));
            if minute >= 30 {
                // Low coverage at first, then no telemetry of the first region at all.
                seen.coverage = if minute < 60 { 0.5 } else { 1.0 };
                if minute >= 60 {
                    seen.demand[0] = None;
                }
            }
            let (plan, decision) = controller.step(&seen);
            let cell = &decision.cells[0];
            if minute == 29 {
                wanted = cell.planned;
            } else if minute > 29 {
                assert!(cell.planned >= wanted, "{name} at {minute}: {cell:?}");
            }
            assert_eq!(decision.generation, plan.generation);
        }
    }
}

#[test]
fn what_an_event_calls_for_stands_until_it_is_over() {
    // Nothing is kept for any other reason, and a machine takes longer to be ready than a window lasts.
    let mut config = ControllerConfig { period: Duration::from_secs(30), ..ControllerConfig::default() };
    config.guard.shrink_cooldown = Duration::ZERO;
    config.policy.predictive.settle = Duration::ZERO;
    config.policy.predictive.hold = Some(Duration::ZERO);
    let mut controller = controller("predictive", config);
    let (start, end) = (6000 + 60 * 30, 6000 + 60 * 50);
    let mut fleet = 4;
    let mut fell = None;
    for tick in 0..140 {
        let at = 6000 + 30 * tick;
        // The crowd never comes: it is the announcement alone that holds machines.
        let mut seen = with_fleet(&controller, at, fleet, Some(1.6 / f64::from(fleet)));
        seen.window = Duration::from_secs(30);
        seen.demand.iter_mut().flatten().for_each(|demand| demand.arrivals = 2);
        if at <= end {
            seen.events = vec![forebay_world::KnownEvent {
                id: "cup".into(),
                kind: "football".into(),
                start: Timestamp::from_secs(start),
                end: Timestamp::from_secs(end),
                regions: vec![forebay_world::RegionId(0)],
                classes: vec![forebay_world::ClassId(0)],
                uplift: Some(6.0),
            }];
        }
        let (_, decision) = controller.step(&seen);
        let planned = decision.cells[0].planned;
        if (start..=end).contains(&at) {
            assert!(planned >= fleet && planned > 4, "{planned} of {fleet} at {at}: {}", decision.cells[0].reason);
        } else if at > end && planned < fleet && fell.is_none() {
            fell = Some(at - end);
        }
        fleet = planned;
    }
    assert!(fell.is_some_and(|after| after <= 300), "it stands for nothing: {fell:?}");
}

#[test]
fn a_decision_says_what_bound_it() {
    let mut config = ControllerConfig::default();
    config.guard.ceiling = 5;
    let mut controller = controller("hpa", config);
    let (_, decision) = controller.step(&with_fleet(&controller, 6000, 4, Some(1.4)));
    let cell = &decision.cells[0];
    assert_eq!((cell.ready, cell.asked, cell.granted, cell.planned), (4, 5, 5, 5), "the policy knows the ceiling");
    assert_eq!(cell.utilization, Some(1.4));
    assert!(cell.reason.contains("140 %"), "{}", cell.reason);
}

#[test]
fn a_copy_decides_as_the_original_does() {
    let mut original = controller("predictive", ControllerConfig::default());
    for minute in 0..30 {
        original.step(&with_fleet(&original, 6000 + 60 * minute, 4, Some(0.5 + 0.01 * minute as f64)));
    }
    let mut copy = original.clone();
    for minute in 30..60 {
        let seen = with_fleet(&original, 6000 + 60 * minute, 4, Some(0.5 + 0.01 * minute as f64));
        assert_eq!(original.step(&seen), copy.step(&seen));
    }
}

#[test]
fn what_the_guard_remembers_survives_a_restart() {
    let mut config = ControllerConfig::default();
    config.guard.shrink_cooldown = Duration::from_mins(30);
    let mut first = controller("hpa", config.clone());
    for minute in 0..8 {
        first.step(&with_fleet(&first, 6000 + 60 * minute, 4, Some(1.2)));
    }
    let memory = serde_json::to_string(first.guard_memory()).unwrap();
    let mut second = controller("hpa", config);
    second.remember(serde_json::from_str(&memory).unwrap());
    assert_eq!(second.guard_memory(), first.guard_memory());
}

/// Asks for what it is told, minute by minute: machines, and whether it says what bandwidth they need.
#[derive(Clone)]
struct Whim {
    vms: Vec<Vec<u32>>,
    says_bandwidth: bool,
}

impl policy::Policy for Whim {
    fn name(&self) -> &'static str {
        "whim"
    }

    fn ask(&mut self, situation: &policy::Situation<'_>, asks: &mut [policy::Ask]) {
        let minute = situation.seen.at.since(Timestamp::EPOCH) / Duration::from_mins(1);
        for (cell, ask) in asks.iter_mut().enumerate() {
            ask.vms = self.vms[(minute / 8) as usize % self.vms.len()][cell];
            let each = BitsPerSecond(3_000_000_000);
            ask.bandwidth = self.says_bandwidth.then(|| each * u64::from(ask.vms));
        }
    }

    fn clone_box(&self) -> Box<dyn policy::Policy> {
        Box::new(self.clone())
    }
}

/// Which slices stand over two hours of whims, with hosts that fall and regions that are silent; checked at each tick.
/// Says how often a slice was taken away.
fn slices_by_need(whim: Whim, demand: Vec<Vec<f64>>, linger: Duration, down: u64, blind: u64) -> u32 {
    use crate::small_world::SmallWorld;
    let topology = Arc::new(topology(2));
    let mut config = ControllerConfig::default();
    (config.guard.floor, config.guard.shrink_cooldown) = (0, Duration::ZERO);
    config.slicing.linger = linger;
    let mut controller = Controller::new(Arc::clone(&topology), config, Box::new(whim));
    let sessions = move |cell: usize, at: Timestamp| {
        demand[(at.since(Timestamp::EPOCH) / Duration::from_mins(15)) as usize % demand.len()][cell]
    };
    let mut world = SmallWorld::new(Arc::clone(&topology), Timestamp::EPOCH, Arc::new(sessions.clone()));
    let mut idle_since = vec![None; topology.cells()];
    let (mut before, mut removed) = (Vec::new(), 0);
    let check =
        |world: &mut SmallWorld, _: &Controller, seen: Arc<Observation>, plan: Arc<Plan>, decision: Arc<Decision>| {
            for (id, vm) in &plan.vms {
                assert_eq!(vm.slice, topology.slice(vm.region, vm.class));
                assert!(plan.slices.contains_key(&vm.slice), "{}: {id} is planned without its slice", seen.at);
            }
            for vm in &seen.vms {
                let slice = topology.slice(vm.region, vm.class);
                assert!(plan.slices.contains_key(&slice), "{}: {} stands, its slice is planned away", seen.at, vm.id);
                assert!(
                    seen.slices.iter().any(|seen| seen.slice == slice),
                    "{}: {} stands without a slice",
                    seen.at,
                    vm.id
                );
            }
            for (cell, (region, class)) in topology.cell_ids().enumerate() {
                let slice = topology.slice(region, class);
                let here = |at: (forebay_world::RegionId, forebay_world::ClassId)| at == (region, class);
                let machines = plan.vms.values().any(|vm| here((vm.region, vm.class)))
                    || seen.vms.iter().any(|vm| here((vm.region, vm.class)));
                let homes = (0..topology.regions.len()).map(|home| home * topology.classes.len() + class.index());
                let wanted =
                    homes.clone().any(|client| sessions(client, seen.at) > 0.0) || decision.cells[cell].asked > 0;
                let unseen = homes.into_iter().any(|client| seen.demand[client].is_none());
                if machines || wanted || unseen || !plan.slices.contains_key(&slice) {
                    idle_since[cell] = None;
                } else {
                    let since = *idle_since[cell].get_or_insert(seen.at);
                    assert!(seen.at.since(since) <= linger, "{}: nobody needs {region}/{class} since {since}", seen.at);
                }
            }
            let now: Vec<_> = plan.slices.keys().copied().collect();
            removed += before.iter().filter(|slice| !now.contains(slice)).count() as u32;
            before = now;
            let minute = seen.at.since(Timestamp::EPOCH) / Duration::from_mins(1);
            world.down[..4].fill((down..down + 12).contains(&minute));
            world.blind[1] = (blind..blind + 20).contains(&minute);
            std::ops::ControlFlow::Continue(())
        };
    let until = Timestamp::EPOCH + Duration::from_hours(2);
    crate::drive::drive(&mut world, &mut controller, Duration::from_mins(1), until, check, |_, _, _| {}).unwrap();
    removed
}

#[test]
fn a_slice_that_nobody_needs_is_taken_away_and_comes_back_with_its_first_machine() {
    let vms = vec![vec![2, 1, 0, 0], vec![0, 0, 0, 0], vec![0, 0, 0, 0], vec![0, 0, 0, 0], vec![1, 0, 0, 1]];
    let whim = Whim { vms, says_bandwidth: false };
    assert!(slices_by_need(whim, vec![vec![0.0; 4]], Duration::from_mins(10), 200, 200) >= 4);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    #[test]
    fn no_machine_lacks_its_slice_and_no_slice_outlives_its_need(
        vms in proptest::collection::vec(proptest::collection::vec(0u32..3, 4), 1..12),
        demand in proptest::collection::vec(
            proptest::collection::vec(proptest::prop_oneof![proptest::prelude::Just(0.0), 1.0..400.0f64], 4), 1..6),
        says_bandwidth: bool,
        linger in proptest::prop_oneof![proptest::prelude::Just(0u64), 1u64..15],
        down in 0u64..120,
        blind in 0u64..120,
    ) {
        slices_by_need(Whim { vms, says_bandwidth }, demand, Duration::from_mins(linger), down, blind);
    }
}
