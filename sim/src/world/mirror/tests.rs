use forebay_world::*;

use super::*;
use crate::example::{CLASS, MONDAY, setup, steady};
use crate::setup::{Fidelity, Load, Setup};

const MINUTE: Duration = Duration::from_mins(1);

fn told(regions: usize) -> Setup {
    let mut setup = setup(regions);
    setup.fidelity = Fidelity::Fluid(Duration::from_secs(10));
    setup.load = vec![Load::Told; regions];
    setup
}

fn planned(host: usize) -> PlannedVm {
    PlannedVm {
        region: RegionId::at(host / 2),
        host: HostId::at(host),
        flavour: FlavourId(0),
        class: CLASS,
        slice: SliceId::at(host / 2),
        intent: VmIntent::Running,
    }
}

fn stands(host: usize, state: VmState) -> Option<Stands> {
    Some(Stands { planned: planned(host), state, ready_at: None })
}

fn go(world: &mut SimWorld, minutes: u64) -> Observation {
    let until = world.now() + MINUTE * minutes;
    world.wait_until(until).unwrap();
    world.observe().unwrap()
}

/// What is told minute by minute is what would have come by itself.
#[test]
fn told_rates_do_what_a_load_of_these_rates_does() {
    let mut own = told(2);
    own.load = vec![Load::Synthetic(steady(1.0)); 2];
    let (mut own, mut told) = (SimWorld::new(Arc::new(own)), SimWorld::new(Arc::new(told(2))));
    for world in [&mut own, &mut told] {
        for host in 0..4 {
            world.mirror(VmId(host), stands(host as usize, VmState::Ready));
        }
    }
    for minute in 0..30 {
        told.tell_rates(&[1.0, 1.0]);
        assert_eq!(go(&mut own, 1), go(&mut told, 1), "minute {minute}");
    }
    assert_eq!(own.score(), told.score());
    assert!(told.score().sessions > 3_500);
}

#[test]
fn a_world_that_is_settled_begins_where_another_has_come_to() {
    let mut world = SimWorld::new(Arc::new(told(1)));
    world.mirror(VmId(1), stands(0, VmState::Ready));
    world.mirror(VmId(2), stands(1, VmState::Ready));
    world.tell_rates(&[0.5]);
    // 0.5/s of 120 s.
    world.settle(0, 60.0);
    let seen = go(&mut world, 1);
    assert!((seen.demand[0].as_ref().unwrap().sessions - 60.0).abs() < 1e-6, "{seen:?}");
    assert_eq!(seen.vms.iter().map(|vm| vm.sessions).collect::<Vec<_>>(), [Some(30), Some(30)]);
    // Where nobody serves there is nothing to settle on.
    let mut empty = SimWorld::new(Arc::new(told(1)));
    empty.settle(0, 60.0);
    assert_eq!(go(&mut empty, 1).demand[0].as_ref().unwrap().sessions, 0.0);
}

#[test]
fn a_machine_is_what_it_is_told_to_be_and_costs_what_it_stood() {
    let mut world = SimWorld::new(Arc::new(told(1)));
    let state = |world: &mut SimWorld| world.observe().unwrap().vms.first().map(|vm| vm.state);
    world.tell_rates(&[0.1]);
    world.mirror(VmId(7), stands(0, VmState::Ready));
    assert_eq!(world.score().churn, 0, "it was there before");
    for (told, is) in [
        (VmState::Ready, VmState::Ready),
        (VmState::Draining, VmState::Draining),
        (VmState::Ready, VmState::Ready),
        (VmState::Booting, VmState::Warming),
        (VmState::Ready, VmState::Ready),
        (VmState::Failed, VmState::Failed),
        (VmState::Ready, VmState::Ready),
    ] {
        go(&mut world, 6);
        world.mirror(VmId(7), stands(0, told));
        world.mirror(VmId(7), stands(0, told));
        assert_eq!(state(&mut world), Some(is), "{told:?}");
    }
    // 42 minutes, of which it had failed for six.
    let hours = world.tallies()[0].vm_hours;
    assert!((hours - 0.6).abs() < 1e-9, "{hours}");
    go(&mut world, 6);
    world.mirror(VmId(7), None);
    world.mirror(VmId(7), None);
    go(&mut world, 6);
    assert_eq!(state(&mut world), None);
    let tally = world.tallies()[0];
    assert!((tally.vm_hours - 0.7).abs() < 1e-9 && (tally.capacity_cost - 0.14).abs() < 1e-9, "{tally:?}");
    assert!((world.score().vm_hours - 0.7).abs() < 1e-9);
}

#[test]
fn one_on_its_way_serves_when_it_was_said_to() {
    let mut world = SimWorld::new(Arc::new(told(1)));
    let at = MONDAY + Duration::from_secs(90);
    world.mirror(VmId(7), Some(Stands { ready_at: Some(at), ..stands(0, VmState::Booting).unwrap() }));
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(go(&mut world, 1).vms[0].state);
    }
    assert_eq!(seen, [VmState::Warming, VmState::Ready, VmState::Ready]);
    assert_eq!(world.observe().unwrap().vms[0].since, at);
}

/// A world whose hosts are said to be smaller than they are is still told what stands on them; and no room comes of it.
#[test]
fn what_stands_without_room_gives_none_back() {
    let mut setup = told(1);
    let mut topology = Topology::clone(&setup.topology);
    topology.hosts.iter_mut().for_each(|host| host.cpu = Cpu(4_000));
    setup.topology = Arc::new(topology);
    let mut world = SimWorld::new(Arc::new(setup));
    for vm in 0..3 {
        world.mirror(VmId(vm), stands(0, VmState::Ready));
    }
    assert_eq!(go(&mut world, 1).vms.len(), 3);
    for vm in 0..3 {
        world.mirror(VmId(vm), None);
    }
    // There is room for one on each host, and no more.
    let vms = (10..14).map(|vm| (VmId(vm), planned((vm % 2) as usize))).collect();
    world.submit(&Plan { generation: Generation(1), vms, steering: Steering::home(1), ..Plan::default() }).unwrap();
    let failed = go(&mut world, 5).vms.iter().filter(|vm| vm.state == VmState::Failed).count();
    assert_eq!(failed, 2);
}

#[test]
fn tallies_of_cells_add_up_to_the_score() {
    let mut world = SimWorld::new(Arc::new(told(3)));
    for vm in 0..6 {
        world.mirror(VmId(vm), stands(vm as usize, VmState::Ready));
    }
    for minute in 0..20 {
        world.tell_rates(&[0.2, 3.0, 30.0]);
        if minute == 10 {
            world.mirror(VmId(2), None);
        }
        go(&mut world, 1);
    }
    let (score, tallies) = (world.score(), world.tallies());
    let sum = |of: fn(&CellTally) -> f64| tallies.iter().map(of).sum::<f64>();
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(score.slo_violation_minutes > 10.0 && score.over_provisioned_vm_hours > 0.1, "{score:?}");
    assert!(close(sum(|tally| tally.slo_violation_minutes), score.slo_violation_minutes));
    assert!(close(sum(|tally| tally.vm_hours), score.vm_hours));
    assert!(close(sum(|tally| tally.capacity_cost), score.capacity_cost));
    assert!(close(sum(|tally| tally.over_provisioned_vm_hours), score.over_provisioned_vm_hours));
}
