use super::*;
use crate::small_world::{quiet, topology};
use forebay_world::{Bytes, Cpu, Duration, Generation, Steering, Step};
use proptest::prelude::*;

/// An inventory that follows a plan at once, machines ready or as told.
fn follow(plan: &Plan, seen: &mut Observation, ready: bool) {
    for step in plan.diff(seen) {
        match step {
            Step::Launch(id, vm) => seen.vms.push(VmSeen {
                id,
                region: vm.region,
                host: vm.host,
                flavour: vm.flavour,
                class: vm.class,
                state: if ready { VmState::Ready } else { VmState::Booting },
                since: seen.at,
                sessions: Some(0),
                utilization: None,
            }),
            Step::Destroy(id) => seen.vms.retain(|vm| vm.id != id),
            Step::Drain(id) | Step::Resume(id) => {
                let state = if matches!(step, Step::Drain(_)) { VmState::Draining } else { VmState::Ready };
                let at = seen.at;
                seen.vms.iter_mut().filter(|vm| vm.id == id).for_each(|vm| (vm.state, vm.since) = (state, at));
            }
            _ => {}
        }
    }
    seen.vms.sort_by_key(|vm| vm.id);
}

struct Bench {
    topology: Topology,
    deployment: Deployment,
    plan: Plan,
    seen: Observation,
}

impl Bench {
    fn new() -> Self {
        let topology = topology(2);
        let seen = quiet(&topology, Timestamp::from_secs(6000));
        let deployment = Deployment::new(&DeploymentConfig::default(), &topology);
        let plan = Plan { steering: Steering::home(topology.cells()), ..Plan::default() };
        Bench { topology, deployment, plan, seen }
    }

    fn place(&mut self, targets: &[u32]) -> Placed {
        let placed = self.deployment.place(&self.plan, &self.seen, &self.topology, targets);
        if let Some(vms) = &placed.vms {
            self.plan.vms = vms.clone();
            self.plan.generation = Generation(self.plan.generation.0 + 1);
        }
        placed
    }

    fn pass(&mut self, minutes: u64) {
        self.seen.at += Duration::from_mins(minutes);
    }

    fn ids(&self, intent: VmIntent) -> Vec<u64> {
        self.plan.vms.iter().filter(|(_, vm)| vm.intent == intent).map(|(id, _)| id.0).collect()
    }
}

#[test]
fn what_stands_is_kept() {
    let mut bench = Bench::new();
    assert_eq!(bench.place(&[3, 1, 0, 2]).running, [3, 1, 0, 2]);
    follow(&bench.plan, &mut bench.seen, true);
    assert_eq!(bench.place(&[3, 1, 0, 2]).vms, None);
    assert_eq!(bench.ids(VmIntent::Running), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_failed_machine_is_replaced_under_a_new_name() {
    let mut bench = Bench::new();
    bench.place(&[2, 0, 0, 0]);
    follow(&bench.plan, &mut bench.seen, true);
    bench.seen.vms[0].state = VmState::Failed;
    bench.place(&[2, 0, 0, 0]);
    assert_eq!(bench.ids(VmIntent::Running), [1, 2]);
}

#[test]
fn a_machine_that_never_appears_is_given_up_after_a_while() {
    let mut bench = Bench::new();
    bench.place(&[1, 0, 0, 0]);
    bench.pass(1);
    assert_eq!(bench.place(&[1, 0, 0, 0]).vms, None);
    bench.pass(1);
    bench.place(&[1, 0, 0, 0]);
    assert_eq!(bench.ids(VmIntent::Running), [1]);
}

#[test]
fn shrinking_cancels_what_is_not_ready_then_drains_the_emptiest_and_newest() {
    let mut bench = Bench::new();
    bench.place(&[4, 0, 0, 0]);
    follow(&bench.plan, &mut bench.seen, true);
    for (vm, sessions) in bench.seen.vms.iter_mut().zip([9, 4, 4, 7]) {
        vm.sessions = Some(sessions);
    }
    bench.place(&[6, 0, 0, 0]);
    follow(&bench.plan, &mut bench.seen, false);
    bench.place(&[3, 0, 0, 0]);
    assert_eq!(bench.ids(VmIntent::Running), [0, 1, 3]);
    assert_eq!(bench.ids(VmIntent::Draining), [2]);
}

#[test]
fn a_draining_machine_is_taken_back_before_one_is_launched() {
    let mut bench = Bench::new();
    bench.place(&[3, 0, 0, 0]);
    follow(&bench.plan, &mut bench.seen, true);
    bench.seen.vms.iter_mut().for_each(|vm| vm.sessions = Some(5));
    bench.place(&[1, 0, 0, 0]);
    follow(&bench.plan, &mut bench.seen, true);
    bench.seen.vms[2].sessions = Some(1);
    bench.place(&[2, 0, 0, 0]);
    assert_eq!(bench.ids(VmIntent::Running), [0, 1]);
    bench.place(&[4, 0, 0, 0]);
    assert_eq!(bench.ids(VmIntent::Running), [0, 1, 2, 3]);
}

#[test]
fn a_drained_machine_goes_and_so_does_one_past_the_deadline() {
    let mut bench = Bench::new();
    bench.place(&[3, 0, 0, 0]);
    follow(&bench.plan, &mut bench.seen, true);
    bench.seen.vms.iter_mut().for_each(|vm| vm.sessions = Some(5));
    bench.place(&[1, 0, 0, 0]);
    assert_eq!(bench.ids(VmIntent::Draining), [1, 2]);
    follow(&bench.plan, &mut bench.seen, true);
    bench.seen.vms[1].sessions = Some(0);
    bench.place(&[1, 0, 0, 0]);
    assert_eq!(bench.ids(VmIntent::Draining), [2]);
    // Five times the twenty minutes that a session lasts in the mean.
    bench.pass(99);
    bench.place(&[1, 0, 0, 0]);
    assert_eq!(bench.ids(VmIntent::Draining), [2]);
    bench.pass(1);
    bench.place(&[1, 0, 0, 0]);
    assert!(bench.ids(VmIntent::Draining).is_empty());
}

#[test]
fn machines_boot_where_a_slot_is_free_and_never_on_a_host_that_is_down() {
    let mut bench = Bench::new();
    bench.seen.hosts[1].up = false;
    bench.place(&[5, 0, 0, 0]);
    let hosts: Vec<u32> = bench.plan.vms.values().map(|vm| vm.host.0).collect();
    // Two slots a host, host 1 down; the fifth finds a slot on the last host.
    assert_eq!(hosts, [0, 0, 2, 2, 3]);
    let placed = bench.place(&[200, 0, 0, 0]);
    assert!(placed.hosts_full[0]);
    assert_eq!(placed.running[0], 3 * 16, "three hosts of 64 vCPU hold 16 machines of 4 vCPU each");
}

#[test]
fn spreading_keeps_machines_of_a_class_apart() {
    let mut bench = Bench::new();
    bench.deployment = Deployment::new(&DeploymentConfig { spread: true, ..Default::default() }, &bench.topology);
    bench.place(&[4, 3, 0, 0]);
    let hosts: Vec<u32> = bench.plan.vms.values().map(|vm| vm.host.0).collect();
    assert_eq!(hosts, [0, 1, 2, 3, 0, 1, 2]);
}

#[test]
fn a_fleet_found_standing_is_adopted() {
    let mut bench = Bench::new();
    bench.place(&[2, 1, 0, 0]);
    follow(&bench.plan, &mut bench.seen, true);
    bench.seen.vms[1].state = VmState::Draining;
    let mut plan = bench.plan.clone();
    plan.vms = Deployment::adopt(&bench.seen, &bench.topology);
    assert!(plan.diff_inventory(&bench.seen.vms, &[], &plan.steering).is_empty());
    let mut fresh = Deployment::new(&DeploymentConfig::default(), &bench.topology);
    let placed = fresh.place(&plan, &bench.seen, &bench.topology, &[1, 2, 0, 0]);
    assert!(placed.vms.unwrap().contains_key(&VmId(3)), "ids go on after those seen");
}

proptest! {
    #[test]
    fn no_host_is_ever_overfull_and_plans_converge(
        rounds in prop::collection::vec((prop::collection::vec(0u32..90, 4), any::<bool>(), 0usize..8, any::<u64>()), 1..12),
        spread: bool,
    ) {
        let mut bench = Bench::new();
        bench.deployment =
            Deployment::new(&DeploymentConfig { spread, ..DeploymentConfig::default() }, &bench.topology);
        for (targets, ready, down, chance) in rounds {
            bench.pass(1);
            for (i, host) in bench.seen.hosts.iter_mut().enumerate() {
                host.up = i != down;
            }
            for (i, vm) in bench.seen.vms.iter_mut().enumerate() {
                if vm.host.index() == down {
                    vm.state = VmState::Failed;
                } else if vm.state.is_coming() && ready {
                    vm.state = VmState::Ready;
                }
                vm.sessions = Some(if vm.state == VmState::Failed { 0 } else { (chance >> (i % 60)) as u32 % 3 });
            }
            let standing = bench.seen.vms.clone();
            let placed = bench.place(&targets);
            let mut used = vec![(0, 0); bench.seen.hosts.len()];
            let leaving = standing.iter().filter(|vm| vm.state != VmState::Failed && !bench.plan.vms.contains_key(&vm.id));
            for host in bench.plan.vms.values().map(|vm| vm.host).chain(leaving.map(|vm| vm.host)) {
                used[host.index()].0 += bench.topology.flavours[0].cpu.0;
                used[host.index()].1 += bench.topology.flavours[0].memory.0;
            }
            for (host, (cpu, memory)) in bench.topology.hosts.iter().zip(used) {
                prop_assert!(Cpu(cpu) <= host.cpu && Bytes(memory) <= host.memory);
            }
            for (cell, (&target, &running)) in targets.iter().zip(&placed.running).enumerate() {
                prop_assert!(running == target || (placed.hosts_full[cell] && running < target));
                let at = bench.topology.cell_at(cell);
                let planned = bench.plan.vms.values()
                    .filter(|vm| (vm.region, vm.class) == at && vm.intent == VmIntent::Running).count();
                prop_assert_eq!(planned as u32, running);
            }
            follow(&bench.plan, &mut bench.seen, false);
            let steering = bench.plan.steering.clone();
            prop_assert!(bench.plan.diff_inventory(&bench.seen.vms, &[], &steering).is_empty(), "one diff is enough");
        }
    }
}
