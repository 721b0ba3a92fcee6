use forebay_sim::Stands;
use forebay_sim::setup::RateSeries;
use forebay_world::*;

use super::*;
use crate::shadow::figures::Ledger;
use crate::shadow::tests;

const START: Timestamp = Timestamp::from_secs(1_780_272_000);

fn production() -> Production {
    tests::production(
        r#"
[[hypervisor]]
hosts = "*"
kind = "ec2"
endpoint = "http://127.0.0.1:1"
region = "eu"
[dns]
dnstap = ["unix:/nonexistent/dnstap.sock"]
vantage = "authority"
[dns.geography]
fallback = "ams"
[controller]
period = "60 s"
demand = "dns"
"#,
    )
}

fn change(second: u64, vm: u64, region: usize, state: Option<VmState>) -> Change {
    let planned = PlannedVm {
        region: RegionId::at(region),
        host: HostId::at(2 * region),
        flavour: FlavourId(0),
        class: ClassId(0),
        slice: SliceId::at(region),
        intent: VmIntent::Running,
    };
    Change {
        at: START + Duration::from_secs(second),
        vm: VmId(vm),
        name: format!("edge-{vm}"),
        region: RegionId::at(region),
        class: ClassId(0),
        stands: state.map(|state| Stands { planned, state, ready_at: None }),
        is_turn: second > 0,
    }
}

/// Rates of each minute \[1/s\].
fn rates() -> Vec<[f64; 2]> {
    (0..30).map(|minute| [4.0 + f64::from(minute) * 0.4, 1.0]).collect()
}

fn changes() -> Vec<Change> {
    let ready = Some(VmState::Ready);
    vec![
        change(0, 1, 0, ready),
        change(0, 2, 0, ready),
        change(0, 3, 1, ready),
        change(610, 4, 0, Some(VmState::Warming)),
        change(667, 4, 0, ready),
        change(1_205, 1, 0, Some(VmState::Draining)),
        change(1_333, 1, 0, None),
    ]
}

fn run(twins: &mut Twins, error: f64) {
    let all = changes();
    for (minute, rates) in rates().into_iter().enumerate() {
        let until = START + Duration::from_mins(minute as u64 + 1);
        let begin = START + Duration::from_mins(minute as u64);
        let here = |change: &&Change| (change.at > begin || minute == 0) && change.at <= until;
        let changes: Vec<Change> = all.iter().filter(here).cloned().collect();
        let rates =
            rates.map(|rate| Some(Rate { per_second: rate, standard_error: error * rate, settled: rate * 60.0 }));
        twins
            .advance(&Window { until, rates: &rates, changes: &changes, slices: &BTreeMap::new(), steering: &[] })
            .unwrap();
    }
}

/// A world of its own, whose load is recorded and whose machines are put there at their times, comes to the same.
#[test]
fn the_twin_of_theirs_is_a_world_of_the_same_fleet_and_load() {
    let production = production();
    let mut twins = Twins::new(&production, START, 2);
    run(&mut twins, 0.0);

    let mut setup = setup(&production, START, 0);
    for (cell, load) in setup.load.iter_mut().enumerate() {
        let sessions_per_second = rates().iter().map(|rates| rates[cell]).collect();
        *load = Load::Series(Arc::new(RateSeries { start: START, step: Duration::from_mins(1), sessions_per_second }));
    }
    let mut world = SimWorld::new(Arc::new(setup));
    for change in changes() {
        world.wait_until(change.at).unwrap();
        world.mirror(change.vm, change.stands);
        if change.vm == VmId(3) {
            for (cell, sessions) in [240.0, 60.0].into_iter().enumerate() {
                world.settle(cell, sessions);
            }
        }
    }
    world.wait_until(START + Duration::from_mins(30)).unwrap();
    let theirs = &mut twins.told().theirs;
    let (one, other) = (world.tallies(), theirs.tallies());
    for (one, other) in one.iter().zip(&other) {
        assert!((one.vm_hours - other.vm_hours).abs() < 1e-9, "{one:?} {other:?}");
        assert_eq!(one.slo_violation_minutes, other.slo_violation_minutes);
        assert!((one.over_provisioned_vm_hours - other.over_provisioned_vm_hours).abs() < 1e-9);
    }
    assert!(one[0].slo_violation_minutes > 3.0, "too much for it at times: {one:?}");
    let close = |a: u64, b: u64| a.abs_diff(b) <= 1;
    assert!(close(world.score().sessions, theirs.score().sessions), "{:?} {:?}", world.score(), theirs.score());
    let (seen, told) = (world.observe().unwrap(), theirs.observe().unwrap());
    for (one, other) in seen.demand.iter().zip(&told.demand) {
        let (one, other) = (one.as_ref().unwrap(), other.as_ref().unwrap());
        assert!((one.sessions - other.sessions).abs() < 1e-6 * one.sessions, "{one:?} {other:?}");
    }
    assert_eq!(seen.vms.len(), told.vms.len());
}

/// With the same machines ours and theirs are the same world in every replicate, whatever the load may have been: what
/// chance does to both is no difference.
#[test]
fn within_a_replicate_both_meet_the_same() {
    let production = production();
    let mut twins = Twins::new(&production, START, 6);
    let mut ledger = Ledger::new(&production, 6);
    let rates = [5.5, 1.0];
    let all = changes();
    for minute in 0..20u64 {
        let until = START + Duration::from_mins(minute + 1);
        let told = rates.map(|rate| Some(Rate { per_second: rate, standard_error: 0.2 * rate, settled: rate * 60.0 }));
        let changes: Vec<Change> = all.iter().filter(|change| minute == 0 && change.at == START).cloned().collect();
        twins
            .advance(&Window { until, rates: &told, changes: &changes, slices: &BTreeMap::new(), steering: &[] })
            .unwrap();
        ledger.take(&production.topology, &twins, until, Duration::from_mins(1), &[true, true]);
    }
    let figures = ledger.figures(None);
    let minutes = figures["slo_violation_minutes"];
    assert!(minutes.ours.mean > 1.0 && minutes.ours.mean < 19.0 && minutes.ours.ci95.unwrap() > 0.5, "{minutes:?}");
    assert_eq!(minutes.difference.unwrap().mean, 0.0);
    assert_eq!(minutes.difference.unwrap().ci95, Some(0.0));
    // One machine fewer in ours is one machine fewer, in every replicate.
    let hours = figures["vm_hours"];
    assert!((hours.ours.mean - 1.0).abs() < 1e-9 && hours.difference.unwrap().mean == 0.0, "{hours:?}");
}

#[test]
fn loads_that_might_have_been_have_the_told_one_as_mean_and_its_error() {
    let production = production();
    let mut twins = Twins::new(&production, START, 400);
    let told = [Some(Rate { per_second: 5.0, standard_error: 1.0, settled: 300.0 }), None];
    let until = START + Duration::from_mins(1);
    twins.advance(&Window { until, rates: &told, changes: &[], slices: &BTreeMap::new(), steering: &[] }).unwrap();
    let rates: Vec<f64> = twins.replicates().iter().map(|pair| pair.rates[0]).collect();
    let mean = rates.iter().sum::<f64>() / 400.0;
    let deviation = (rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / 399.0).sqrt();
    // Four standard errors of a mean and of a standard deviation of 400.
    assert!((mean - 5.0).abs() < 4.0 / 20.0 && (deviation - 1.0).abs() < 4.0 / 28.0, "{mean} {deviation}");
    assert_eq!(twins.told().rates, [5.0, 0.0]);
}

#[test]
fn clients_of_a_region_without_machines_go_to_the_nearest_that_has_some() {
    let production = production();
    let topology = &production.topology;
    assert_eq!(nearest(topology, &[true, true]), Steering::home(2));
    assert_eq!(nearest(topology, &[false, true]), Steering(vec![vec![(RegionId(1), 1)], vec![]]));
    assert_eq!(nearest(topology, &[false, false]), Steering::home(2));
}
