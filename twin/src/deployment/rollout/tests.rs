//! Single machines on their way in and out, second by second, with nothing left to chance.

mod schedules;

use forebay_world::*;

use super::*;
use crate::small_world;

/// One region, one machine, and executors that do at once what they are asked.
struct Bench {
    topology: Arc<Topology>,
    rollout: Rollout,
    plan: Plan,
    sight: Sight,
    reports: Vec<Report>,
    /// What was ordered, in a few words, with the second.
    log: Vec<(u64, String)>,
    last: Turn,
}

const VM: VmId = VmId(7);

fn planned(topology: &Topology) -> PlannedVm {
    let (region, class) = (RegionId(0), ClassId(0));
    let slice = topology.slice(region, class);
    PlannedVm { region, host: HostId(1), flavour: FlavourId(0), class, slice, intent: VmIntent::Running }
}

fn bench(edit: impl FnOnce(&mut RolloutLimits, &mut Ground)) -> Bench {
    let topology = Arc::new(small_world::topology(1));
    let (mut limits, mut ground) = (RolloutLimits::usual(topology.classes.len()), Ground::able(&topology, 10));
    edit(&mut limits, &mut ground);
    let slice = PlannedSlice {
        guarantee: BitsPerSecond(1_000),
        ceiling: BitsPerSecond(2_000),
        weight: 1,
        priority: 0,
        dscp: 0,
        latency: None,
    };
    let planned = planned(&topology);
    let plan = Plan {
        generation: Generation(3),
        vms: [(VM, planned)].into(),
        slices: [(planned.slice, slice)].into(),
        steering: Steering::home(topology.cells()),
        ..Plan::default()
    };
    let sight = Sight {
        at: Timestamp::from_secs(1_000),
        hosts: vec![Some(HostSight::default()); topology.hosts.len()],
        links: vec![Some(LinkSight::default())],
        answers: Some(AnswersSight::default()),
        health: BTreeMap::new(),
    };
    let rollout = Rollout::new(Arc::clone(&topology), limits, ground, BTreeMap::new());
    Bench { topology, rollout, plan, sight, reports: Vec::new(), log: Vec::new(), last: Turn::default() }
}

impl Bench {
    fn machine(&mut self) -> Option<&mut MachineSight> {
        self.sight.hosts[1].as_mut()?.machines.get_mut(&VM)
    }

    /// So many seconds, in which orders are done as they are given, unless `fails` says why not.
    fn seconds(&mut self, seconds: u64, fails: impl Fn(&Task) -> Option<Failure>) {
        for _ in 0..seconds {
            self.sight.at += Duration::from_secs(1);
            let at = self.sight.at;
            self.sight.hosts.iter_mut().flatten().for_each(|host| host.at = at);
            self.sight.links.iter_mut().flatten().for_each(|link| link.at = at);
            self.sight.answers.iter_mut().for_each(|answers| answers.at = at);
            let reports = std::mem::take(&mut self.reports);
            self.last = self.rollout.turn(&self.plan, &self.sight, &reports);
            self.rollout.confirm(&self.last.changes);
            for order in self.last.orders.clone() {
                let second = at.since(Timestamp::from_secs(1_000)).as_nanos() / 1_000_000_000;
                self.log.push((second, order.task.to_string()));
                let outcome = match fails(&order.task) {
                    Some(failure) => Outcome::Failed { failure, why: "it was told to".to_owned() },
                    None => {
                        self.carry_out(&order.task);
                        Outcome::Done
                    }
                };
                self.reports.push(Report { order: order.number, lane: order.lane, outcome });
            }
        }
    }

    fn carry_out(&mut self, task: &Task) {
        let at = self.sight.at;
        match task {
            Task::Slice { slices, ports, .. } => {
                self.sight.links[0] =
                    Some(LinkSight { at, slices: slices.clone(), ports: ports.keys().copied().collect() });
            }
            Task::Create { vm, .. } => {
                let machine = MachineSight { life: Life::Paused, created: at, sessions: Some(0), utilization: None };
                self.sight.hosts[1].as_mut().unwrap().machines.insert(*vm, machine);
            }
            Task::Resume(vm) => {
                let host = self.sight.hosts[1].as_mut().unwrap();
                host.machines.get_mut(vm).unwrap().life = Life::Running;
            }
            Task::Warm { .. } => {}
            Task::Answer { members, .. } => {
                let takes = members.iter().filter(|(_, member)| member.takes && member.healthy);
                self.sight.answers =
                    Some(AnswersSight { at, answered: takes.map(|(vm, _)| *vm).collect(), strangers: false });
            }
            Task::ShutDown(_) => self.machine().unwrap().life = Life::Ending,
            Task::Remove(vm) => drop(self.sight.hosts[1].as_mut().unwrap().machines.remove(vm)),
        }
    }

    fn does(&mut self, health: Health) {
        self.sight.health.insert(VM, health);
    }

    fn state(&self) -> Option<VmState> {
        self.rollout.machines(&self.sight).iter().find(|vm| vm.id == VM).map(|vm| vm.state)
    }

    fn ready() -> Bench {
        let mut bench = bench(|_, _| {});
        bench.seconds(5, |_| None);
        bench.does(Health::Healthy);
        bench.seconds(5, |_| None);
        assert_eq!(bench.state(), Some(VmState::Ready));
        bench.log.clear();
        bench
    }
}

#[test]
fn a_machine_comes_in_order() {
    let mut bench = bench(|_, _| {});
    bench.seconds(6, |_| None);
    assert_eq!(bench.state(), Some(VmState::Booting));
    bench.does(Health::Healthy);
    bench.seconds(1, |_| None);
    assert_eq!(bench.state(), Some(VmState::Warming));
    bench.seconds(4, |_| None);
    assert_eq!(bench.state(), Some(VmState::Ready));
    let log: Vec<(u64, &str)> = bench.log.iter().map(|(second, what)| (*second, what.as_str())).collect();
    assert_eq!(
        log,
        [
            (1, "slice plan 3: 1 slices, 0 ports"),
            (1, "answer plan 3: "),
            (2, "create vm-7 on host 1 (address 7, attempt 0)"),
            (3, "slice plan 3: 1 slices, 1 ports"),
            (4, "resume vm-7"),
            (7, "warm vm-7"),
            (8, "answer plan 3: vm-7"),
        ]
    );
    bench.log.clear();
    bench.seconds(100, |_| None);
    assert_eq!(bench.log, [], "what is as planned needs no order");
}

#[test]
fn a_machine_goes_in_order_and_not_before_its_clients() {
    let mut bench = Bench::ready();
    bench.machine().unwrap().sessions = Some(2);
    bench.plan.vms.get_mut(&VM).unwrap().intent = VmIntent::Draining;
    bench.seconds(90, |_| None);
    // A minute for those who are on their way, and then for the two that are there.
    assert_eq!(bench.log, [(11, "answer plan 3: ".to_owned())]);
    assert_eq!(bench.last.held[&VM], Held::Sessions);
    bench.machine().unwrap().sessions = Some(0);
    bench.seconds(1, |_| None);
    bench.plan.vms.clear();
    bench.seconds(35, |_| None);
    bench.plan.slices.clear();
    bench.seconds(3, |_| None);
    let log: Vec<(u64, &str)> = bench.log[1..].iter().map(|(second, what)| (*second, what.as_str())).collect();
    let want = [
        (101, "shut down vm-7"),
        (101, "answer plan 3: "),
        (131, "remove vm-7"),
        (132, "slice plan 3: 1 slices, 0 ports"),
        (137, "slice plan 3: 0 slices, 0 ports"),
    ];
    assert_eq!(log, want);
    assert!(bench.rollout.courses().is_empty());
}

#[test]
fn sessions_that_nobody_counts_have_until_the_deadline() {
    let mut bench = Bench::ready();
    bench.machine().unwrap().sessions = None;
    bench.plan.vms.clear();
    bench.seconds(299, |_| None);
    assert!(!bench.log.iter().any(|(_, what)| what.starts_with("shut")), "{:?}", bench.log);
    bench.seconds(3, |_| None);
    assert!(bench.log.iter().any(|(_, what)| what.starts_with("shut")), "{:?}", bench.log);
}

#[test]
fn nobody_leaves_while_nobody_looks() {
    type Blind = fn(&mut Sight);
    let blind: [Blind; 2] = [|sight| sight.hosts[1] = None, |sight| sight.answers = None];
    for (at, close) in blind.iter().enumerate() {
        let mut bench = Bench::ready();
        bench.plan.vms.get_mut(&VM).unwrap().intent = VmIntent::Draining;
        close(&mut bench.sight);
        bench.seconds(600, |_| None);
        assert_eq!((bench.state(), bench.last.held[&VM]), (Some(VmState::Ready), Held::Blind), "{at}");
        assert!(bench.log.is_empty(), "{at}: {:?}", bench.log);
    }
}

#[test]
fn a_machine_that_is_wanted_again_is_taken_back() {
    let mut bench = Bench::ready();
    bench.plan.vms.get_mut(&VM).unwrap().intent = VmIntent::Draining;
    bench.seconds(30, |_| None);
    assert_eq!(bench.state(), Some(VmState::Draining));
    bench.plan.vms.get_mut(&VM).unwrap().intent = VmIntent::Running;
    bench.seconds(3, |_| None);
    assert_eq!(bench.state(), Some(VmState::Ready));
    assert!(bench.sight.answers.as_ref().unwrap().answered.contains(&VM));
}

#[test]
fn tries_are_further_and_further_apart_and_end() {
    let mut bench = bench(|_, _| {});
    let fails = |task: &Task| matches!(task, Task::Create { .. }).then_some(Failure::Transient);
    bench.seconds(200, fails);
    let tries: Vec<u64> =
        bench.log.iter().filter(|(_, what)| what.starts_with("create")).map(|(second, _)| *second).collect();
    assert_eq!(tries, [2, 5, 10, 19, 36], "after 2, 4, 8 and 16 s, each heard of a second later");
    assert_eq!(bench.state(), Some(VmState::Failed));

    let mut once = self::bench(|_, _| {});
    once.seconds(20, |task| matches!(task, Task::Create { .. }).then_some(Failure::Permanent));
    assert_eq!(once.log.iter().filter(|(_, what)| what.starts_with("create")).count(), 1);
    assert_eq!(once.state(), Some(VmState::Failed));
}

#[test]
fn a_hypervisor_that_does_not_answer_for_a_while_costs_no_machine() {
    let is_create = |task: &Task| matches!(task, Task::Create { .. });
    let mut bench = bench(|_, _| {});
    bench.seconds(59, |task| is_create(task).then_some(Failure::Unreachable));
    assert_eq!(bench.state(), Some(VmState::Requested));
    let tries = |bench: &Bench| bench.log.iter().filter(|(_, what)| what.starts_with("create")).count();
    assert_eq!(tries(&bench), 5, "then its breaker is open: {:?}", bench.log);
    bench.seconds(50, |_| None);
    assert_eq!((bench.state(), tries(&bench)), (Some(VmState::Booting), 6));

    // One that is seen, and still answers nothing that is asked of it, is no host for it.
    let mut deaf = self::bench(|_, _| {});
    deaf.seconds(110, |task| is_create(task).then_some(Failure::Unreachable));
    assert_eq!(deaf.state(), Some(VmState::Failed), "{:?}", deaf.log);
}

#[test]
fn what_an_unseen_host_never_made_is_made_elsewhere() {
    let mut bench = bench(|_, _| {});
    let seen = bench.sight.hosts[1].take();
    bench.seconds(60, |_| None);
    assert_eq!(bench.state(), Some(VmState::Requested));
    bench.sight.hosts[1] = seen.clone();
    bench.seconds(1, |_| Some(Failure::Stopped));
    bench.sight.hosts[1] = None;
    bench.seconds(60, |_| None);
    assert_eq!(bench.state(), Some(VmState::Requested), "it was seen in between");
    bench.seconds(1, |_| None);
    assert_eq!(bench.state(), Some(VmState::Failed));
    // Deployment replaces it; when the host is back, nothing of it comes to be.
    bench.plan.vms.clear();
    bench.sight.hosts[1] = seen;
    bench.log.clear();
    bench.seconds(100, |_| None);
    assert!(bench.rollout.courses().is_empty());
    assert!(!bench.log.iter().any(|(_, what)| what.starts_with("create")), "{:?}", bench.log);

    // What was made there is another matter: its clients tell whether it serves.
    let mut ready = Bench::ready();
    ready.sight.hosts[1] = None;
    ready.seconds(600, |_| None);
    assert_eq!(ready.state(), Some(VmState::Ready));
}

/// A quota of one: the machine that comes finds room when the one that leaves has gone, and not before.
#[test]
fn what_makes_room_is_not_kept_waiting_by_what_finds_none() {
    let mut bench = Bench::ready();
    bench.plan.vms.get_mut(&VM).unwrap().intent = VmIntent::Draining;
    bench.seconds(50, |_| None);
    let mut newest = VmId(8);
    let planned = planned(&bench.topology);
    bench.plan.vms.insert(newest, planned);
    for _ in 0..400 {
        let is_full = !bench.sight.hosts[1].as_ref().unwrap().machines.is_empty();
        bench.seconds(1, |task| (is_full && matches!(task, Task::Create { .. })).then_some(Failure::Transient));
        // As deployment does: another in the place of one that was given up.
        let seen = bench.rollout.machines(&bench.sight);
        if seen.iter().any(|vm| vm.id == newest && vm.state == VmState::Failed) {
            bench.plan.vms.remove(&newest);
            newest = VmId(newest.0 + 1);
            bench.plan.vms.insert(newest, planned);
        }
    }
    let there: Vec<VmId> = bench.sight.hosts[1].as_ref().unwrap().machines.keys().copied().collect();
    assert_eq!(there, [newest], "{:?}", bench.log);
    let tries = bench.log.iter().filter(|(_, what)| what.starts_with("create")).count();
    assert!((3..12).contains(&tries), "{:?}", bench.log);
}

#[test]
fn a_closed_gate_costs_no_try() {
    let mut bench = bench(|_, _| {});
    bench.seconds(3_600, |task| matches!(task, Task::Create { .. }).then_some(Failure::Stopped));
    assert_eq!(bench.state(), Some(VmState::Requested));
    bench.seconds(40, |_| None);
    assert_eq!(bench.state(), Some(VmState::Booting));
}

#[test]
fn the_ill_are_replaced_unless_too_many_fell_ill_at_once() {
    let mut bench = Bench::ready();
    bench.does(Health::Unhealthy);
    bench.seconds(2, |_| None);
    assert_eq!(bench.state(), Some(VmState::Warming));
    assert!(bench.sight.answers.as_ref().unwrap().answered.is_empty(), "nobody is sent to the ill");
    bench.seconds(58, |_| None);
    assert_eq!(bench.state(), Some(VmState::Warming));
    bench.seconds(2, |_| None);
    assert_eq!(bench.state(), Some(VmState::Failed));
    // What nobody can tell makes nobody ill.
    let mut unasked = Bench::ready();
    unasked.sight.health.clear();
    unasked.seconds(600, |_| None);
    assert_eq!(unasked.state(), Some(VmState::Ready));

    // One that still runs may be better than nothing: it is not ended before another serves.
    bench.plan.vms = [(VmId(8), planned(&bench.topology))].into();
    bench.seconds(900, |_| None);
    assert_eq!(
        (bench.state(), bench.last.held.get(&VM)),
        (Some(VmState::Failed), Some(&Held::Shortage)),
        "{:?} {:?}",
        bench.log,
        bench.rollout.courses()
    );
    assert!(bench.machine().is_some());
}

#[test]
fn when_all_fall_ill_at_once_nobody_is_given_up() {
    let mut bench = Bench::ready();
    bench.plan.vms.insert(VmId(8), planned(&bench.topology));
    bench.seconds(5, |_| None);
    bench.sight.health.insert(VmId(8), Health::Healthy);
    bench.seconds(5, |_| None);
    bench.sight.health = [(VM, Health::Unhealthy), (VmId(8), Health::Unhealthy)].into();
    bench.seconds(600, |_| None);
    assert_eq!((bench.state(), bench.last.held[&VM]), (Some(VmState::Warming), Held::ManyIll));
    // Where the hypervisor agrees that one is dead, it is replaced.
    bench.machine().unwrap().life = Life::Off;
    bench.seconds(2, |_| None);
    assert_eq!(bench.state(), Some(VmState::Failed));
}

#[test]
fn what_was_started_again_and_does_not_serve_is_given_up_even_if_all_of_them_are() {
    let mut bench = Bench::ready();
    bench.plan.vms.insert(VmId(8), planned(&bench.topology));
    bench.seconds(5, |_| None);
    bench.sight.health.insert(VmId(8), Health::Healthy);
    bench.seconds(5, |_| None);
    bench.sight.health = [(VM, Health::Unhealthy), (VmId(8), Health::Unhealthy)].into();
    for machine in bench.sight.hosts[1].as_mut().unwrap().machines.values_mut() {
        machine.life = Life::Off;
    }
    let deadline = bench.rollout.limits.boot_deadline.as_nanos() / 1_000_000_000;
    bench.seconds(deadline - 5, |_| None);
    assert_eq!((bench.state(), bench.last.held.get(&VM)), (Some(VmState::Warming), None), "it is let boot");
    bench.seconds(10, |_| None);
    assert_eq!(bench.state(), Some(VmState::Failed));

    // One that cannot be started again at all is not tried for ever.
    let mut bench = Bench::ready();
    bench.does(Health::Unhealthy);
    bench.machine().unwrap().life = Life::Off;
    bench.seconds(deadline + 5, |task| matches!(task, Task::Create { .. }).then_some(Failure::Stopped));
    assert_eq!(bench.state(), Some(VmState::Failed));
}

#[test]
fn a_slice_that_was_to_go_and_did_not_takes_machines_again() {
    let mut bench = Bench::ready();
    let (vms, slices) = (std::mem::take(&mut bench.plan.vms), bench.plan.slices.clone());
    bench.seconds(200, |_| None);
    assert!(bench.rollout.courses().is_empty());
    bench.plan.slices.clear();
    bench.seconds(3, |task| matches!(task, Task::Slice { .. }).then_some(Failure::Stopped));
    assert!(bench.log.last().unwrap().1.starts_with("slice"), "{:?}", bench.log);
    // It is wanted again before anybody was let take it away.
    (bench.plan.vms, bench.plan.slices) = (vms, slices);
    bench.seconds(10, |_| None);
    assert!(bench.machine().is_some(), "{:?} {:?}", bench.log, bench.last.held);
}

#[test]
fn one_that_gets_well_on_its_way_out_goes_all_the_same() {
    let mut bench = bench(|_, _| {});
    // The name server is asked before there is a machine, and never again.
    let vms = std::mem::take(&mut bench.plan.vms);
    bench.seconds(3, |_| None);
    bench.plan.vms = vms;
    bench.seconds(6, |_| None);
    assert_eq!(bench.state(), Some(VmState::Booting));
    bench.plan.vms.clear();
    bench.seconds(3, |task| matches!(task, Task::ShutDown(_)).then_some(Failure::Stopped));
    bench.does(Health::Healthy);
    // Nobody was ever sent there, and nothing more is to be asked of the name server.
    bench.seconds(200, |_| None);
    assert!(bench.rollout.courses().is_empty(), "{:?} {:?}", bench.rollout.courses(), bench.last.held);
}

#[test]
fn a_crash_forgets_nothing() {
    let mut bench = Bench::ready();
    bench.plan.vms.get_mut(&VM).unwrap().intent = VmIntent::Draining;
    bench.seconds(30, |_| None);
    let text = serde_json::to_string(bench.rollout.courses()).unwrap();
    let courses: BTreeMap<VmId, Course> = serde_json::from_str(&text).unwrap();
    assert_eq!(&courses, bench.rollout.courses());
    let (limits, ground) = (bench.rollout.limits.clone(), bench.rollout.ground.clone());
    bench.rollout = Rollout::new(Arc::clone(&bench.topology), limits, ground, courses);
    bench.log.clear();
    bench.seconds(40, |_| None);
    // It goes on to wait from where it was: its minute is over after half a minute more.
    assert!(
        bench.log.iter().any(|(second, what)| what.starts_with("shut") && (70..75).contains(second)),
        "{:?}",
        bench.log
    );
}

#[test]
fn an_orphan_goes_after_its_grace_and_never_while_something_is_unseen() {
    let mut bench = Bench::ready();
    let created = bench.sight.at;
    let orphan = MachineSight { life: Life::Running, created, sessions: None, utilization: None };
    bench.sight.hosts[2].as_mut().unwrap().machines.insert(VmId(99), orphan);
    bench.sight.hosts[3] = None;
    bench.seconds(700, |_| None);
    assert_eq!(bench.log, []);
    bench.sight.hosts[3] = Some(HostSight::default());
    bench.sight.answers.as_mut().unwrap().strangers = true;
    bench.seconds(10, |_| None);
    assert_eq!(bench.log, [], "somebody may be sent there");
    bench.sight.answers.as_mut().unwrap().strangers = false;
    bench.seconds(1, |_| None);
    assert_eq!(bench.log.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>(), ["remove vm-99"]);
}
