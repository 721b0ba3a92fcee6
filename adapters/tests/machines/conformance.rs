//! What every executor of machines must do, whatever it talks to.

use std::collections::BTreeSet;
use std::net::IpAddr;

use forebay_adapters::machines::{
    Done, Foreign, Gate, Inventory, MachineError, MachineExecutor, MachineSpec, MachineState, MachineView, Owner,
};
use forebay_world::{Bytes, Duration, Generation, Timestamp, VmId};

/// A hypervisor to try an executor on.
pub(crate) trait Rig {
    /// A new executor, as after a start of ours: it remembers nothing.
    fn connect(&self) -> Box<dyn MachineExecutor>;

    /// A new view of what [`Rig::connect`] would see.
    fn view(&self) -> Box<dyn MachineView>;

    /// Everything that is there and everything that was written, ours or not, by other means than the executor's own: two
    /// that are the same mean that nothing was written in between.
    fn everything(&self) -> String;

    /// A machine that the hypervisor can make, with all that it can express.
    fn spec(&self, vm: u64) -> MachineSpec;

    /// Whether a machine runs, by other means than the executor's own.
    fn runs(&self, vm: VmId) -> bool;

    /// Ends a machine behind the executor's back, as a crash of it would; false where there is no way.
    fn crash(&self, vm: VmId) -> bool;

    /// Leaves something of ours that belongs to no machine; false where nothing can be.
    fn add_stray(&self) -> bool;

    /// Puts machines there that are not ours.
    fn add_foreign(&self);

    /// Checks what was seen of the one among them that bears [another owner](other)'s mark.
    fn check_foreign(&self, seen: &Foreign);

    /// Whether they are still as they were put.
    fn foreign_is_untouched(&self) -> bool;

    /// Everything of ours that is there, by other means than the executor's own. For people.
    fn leftovers(&self) -> Vec<String>;
}

/// An owner of this process's own: tests that run beside each other see each other's machines as foreign.
pub(crate) fn owner() -> Owner {
    format!("conformance-{}", std::process::id()).parse().expect("an owner")
}

/// Somebody else.
pub(crate) fn other() -> Owner {
    format!("other-{}", std::process::id()).parse().expect("an owner")
}

/// The whole suite.
pub(crate) fn conforms(rig: &dyn Rig) {
    a_view_sees_all_and_leaves_it_as_it_is(rig);
    nothing_is_there_at_first_and_nothing_is_left(rig);
    what_is_created_runs_and_is_written_once(rig);
    another_machine_of_the_same_identity_is_refused(rig);
    what_nobody_could_make_is_refused_before_anything_is_written(rig);
    an_address_that_is_asked_for_is_given(rig);
    what_is_held_runs_when_it_is_let(rig);
    an_end_is_an_end_however_often_it_is_asked_for(rig);
    what_has_crashed_is_seen_and_started_again(rig);
    what_is_not_ours_is_left_alone(rig);
    orphans_are_collected_after_their_time_and_never_too_many(rig);
    strays_are_swept(rig);
    a_crash_between_any_two_writes_is_mended(rig);
    println!("   all of it");
}

fn open() -> Gate {
    Gate::open()
}

fn list(rig: &dyn Rig) -> Inventory {
    let mut executor = rig.connect();
    executor.list().unwrap_or_else(|error| panic!("{}: {error}", executor.hypervisor()))
}

/// Creates a machine, and checks by the executor and by other means that it runs.
fn create(rig: &dyn Rig, spec: &MachineSpec) -> u32 {
    let mut executor = rig.connect();
    let done = executor.create(spec, &mut open()).unwrap_or_else(|error| panic!("{}: {error}", executor.hypervisor()));
    drop(executor);
    let seen = list(rig);
    let machine = seen.machines.get(&spec.vm).unwrap_or_else(|| panic!("{} is not there: {seen:?}", spec.vm));
    assert!(matches!(machine.state, MachineState::Running | MachineState::Booting), "{machine:?}");
    assert_eq!(machine.mark.vm, spec.vm);
    assert_eq!(machine.mark.owner, owner());
    assert_eq!(machine.mark.spec, spec.digest());
    assert_eq!(seen.strays, Vec::<String>::new());
    assert!(rig.runs(spec.vm), "{} does not run", spec.vm);
    done.writes
}

fn remove(rig: &dyn Rig, vm: VmId) {
    let mut executor = rig.connect();
    executor.remove(vm, &mut open()).unwrap_or_else(|error| panic!("{}: {error}", executor.hypervisor()));
    drop(executor);
    let seen = list(rig);
    assert!(!seen.machines.contains_key(&vm), "{seen:?}");
    assert_eq!(seen.strays, Vec::<String>::new());
    assert!(!rig.runs(vm));
}

fn nothing_is_left(rig: &dyn Rig) {
    let seen = list(rig);
    assert!(seen.machines.is_empty() && seen.strays.is_empty(), "{seen:?}");
    assert_eq!(rig.leftovers(), Vec::<String>::new());
}

/// Opens a view, looks, and sees that nothing is otherwise; what was seen.
fn seen(rig: &dyn Rig) -> Inventory {
    let before = rig.everything();
    let mut view = rig.view();
    // Views go to the threads of whoever looks.
    let (inventory, counted) = std::thread::scope(|scope| {
        let looking = scope.spawn(move || (view.list(), view.statistics()));
        looking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let inventory = inventory.unwrap_or_else(|error| panic!("{error}"));
    let counted = counted.unwrap_or_else(|error| panic!("{error}"));
    let alive = inventory.machines.iter().filter(|(_, machine)| machine.state.is_alive()).map(|(vm, _)| vm);
    assert!(!rig.view().capabilities().statistics || counted.keys().eq(alive), "{counted:?}");
    assert_eq!(rig.everything(), before);
    inventory
}

fn a_view_sees_all_and_leaves_it_as_it_is(rig: &dyn Rig) {
    println!("   a view sees all, and leaves it as it is");
    // Before anything of ours was ever made: no folder, no lock.
    assert_eq!(seen(rig).machines.len(), 0);
    for vm in [1, 2] {
        create(rig, &rig.spec(vm));
    }
    rig.connect().destroy(VmId(2), &mut open()).expect("it can be ended");
    rig.add_stray();
    let by_view = seen(rig);
    assert!(by_view.machines.contains_key(&VmId(1)), "{by_view:?}");
    let mut executor = rig.connect();
    assert_eq!(by_view, executor.list().expect("readable"), "as the executor sees it");
    assert_eq!((rig.view().hypervisor(), rig.view().owner()), (executor.hypervisor(), executor.owner()));
    assert_eq!(rig.view().capabilities(), executor.capabilities());
    // Beside an executor that writes.
    let spec = rig.spec(3);
    let mut view = rig.view();
    let mut gate = Gate::asking(move |_| view.list().is_ok());
    executor.create(&spec, &mut gate).expect("looking keeps nobody from writing");
    executor.sweep(&mut open()).expect("they go");
    for vm in 1..=3 {
        executor.remove(VmId(vm), &mut open()).expect("it goes");
    }
    drop(executor);
    nothing_is_left(rig);
}

fn nothing_is_there_at_first_and_nothing_is_left(rig: &dyn Rig) {
    println!("   nothing is there at first, and nothing is left");
    nothing_is_left(rig);
    let mut executor = rig.connect();
    let vm = VmId(1);
    assert_eq!(executor.remove(vm, &mut open()).expect("nothing to remove"), Done::default());
    assert_eq!(executor.destroy(vm, &mut open()).expect("nothing to destroy"), Done::default());
    assert_eq!(executor.resume(vm, &mut open()).expect("nothing to resume"), Done::default());
    assert_eq!(executor.sweep(&mut open()).expect("nothing to sweep"), Done::default());
    assert!(executor.statistics().expect("nothing to count").is_empty());
    drop(executor);
    create(rig, &rig.spec(1));
    remove(rig, vm);
    nothing_is_left(rig);
}

fn what_is_created_runs_and_is_written_once(rig: &dyn Rig) {
    println!("   what is created runs, and is written once");
    let can = rig.connect().capabilities();
    for vm in [1, 2] {
        assert!(create(rig, &rig.spec(vm)) > 0);
        assert_eq!(create(rig, &rig.spec(vm)), 0, "once more");
    }
    // A later plan that asks for the same.
    let mut later = rig.spec(1);
    later.generation = Generation(rig.spec(1).generation.0 + 1);
    assert_eq!(create(rig, &later), 0);
    let seen = list(rig);
    assert_eq!(seen.machines[&VmId(1)].mark.generation, rig.spec(1).generation, "who asked first");
    assert_eq!(seen.machines[&VmId(1)].uuid, owner().uuid_of(VmId(1)));
    assert!(!seen.machines[&VmId(1)].host.is_empty());
    if can.statistics {
        let counted = rig.connect().statistics().expect("readable");
        assert!(counted.keys().eq(&[VmId(1), VmId(2)]), "{counted:?}");
        // What no balloon driver has reported is unknown, not zero.
        assert!(counted.values().all(|machine| machine.memory_used != Some(Bytes(0))), "{counted:?}");
    }
    remove(rig, VmId(1));
    assert!(rig.runs(VmId(2)), "the other is untouched");
    remove(rig, VmId(2));
    nothing_is_left(rig);
}

fn another_machine_of_the_same_identity_is_refused(rig: &dyn Rig) {
    println!("   another machine of the same identity is refused");
    create(rig, &rig.spec(1));
    let mut other = rig.spec(1);
    other.memory = Bytes(other.memory.0 + (16 << 20));
    let error = rig.connect().create(&other, &mut open()).unwrap_err();
    let right = matches!(&error, MachineError::Conflict { vm: VmId(1), standing, given }
        if *standing == rig.spec(1).digest() && *given == other.digest());
    assert!(right, "{error:?}");
    assert_eq!(create(rig, &rig.spec(1)), 0);
    remove(rig, VmId(1));
    // Once it is gone, its place is free.
    create(rig, &other);
    remove(rig, VmId(1));
}

fn what_nobody_could_make_is_refused_before_anything_is_written(rig: &dyn Rig) {
    println!("   what nobody could make is refused");
    let mut none = rig.spec(1);
    none.vcpus = 0;
    let mut gate = Gate::asking(|write| panic!("{write}"));
    let error = rig.connect().create(&none, &mut gate).unwrap_err();
    assert!(matches!(error, MachineError::Contradiction { vm: VmId(1), .. }), "{error:?}");
    nothing_is_left(rig);
}

fn an_address_that_is_asked_for_is_given(rig: &dyn Rig) {
    println!("   an address that is asked for is given");
    let mut spec = rig.spec(1);
    if !rig.connect().capabilities().addresses {
        spec.address = Some(IpAddr::from([192, 0, 2, 7]));
        let mut gate = Gate::asking(|write| panic!("{write}"));
        let error = rig.connect().create(&spec, &mut gate).unwrap_err();
        assert!(matches!(&error, MachineError::Unsupported { what, .. } if what.contains("192.0.2.7")), "{error:?}");
        return nothing_is_left(rig);
    }
    let others: Vec<MachineSpec> = [1, 2].map(|vm| rig.spec(vm)).into();
    assert!(others[0].address.is_some() && others[0].address != others[1].address, "with all that it can express");
    for spec in &others {
        create(rig, spec);
    }
    let seen = list(rig);
    for spec in &others {
        assert!(seen.machines[&spec.vm].addresses.iter().eq(&spec.address), "{seen:?}");
    }
    // The same machine elsewhere is another.
    spec.address = rig.spec(3).address;
    let error = rig.connect().create(&spec, &mut open()).unwrap_err();
    assert!(matches!(error, MachineError::Conflict { vm: VmId(1), .. }), "{error:?}");
    for vm in [1, 2] {
        remove(rig, VmId(vm));
    }
    nothing_is_left(rig);
}

fn what_is_held_runs_when_it_is_let(rig: &dyn Rig) {
    println!("   what is held runs when it is let");
    let mut held = rig.spec(1);
    held.paused = true;
    let mut executor = rig.connect();
    if !executor.capabilities().paused_creation {
        let error = executor.create(&held, &mut open()).unwrap_err();
        assert!(matches!(error, MachineError::Unsupported { .. }), "{error:?}");
        return;
    }
    executor.create(&held, &mut open()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(executor.create(&held, &mut open()).expect("it is there").writes, 0);
    assert_eq!(executor.list().expect("readable").machines[&VmId(1)].state, MachineState::Paused);
    assert_eq!(executor.resume(VmId(1), &mut open()).expect("it can run").writes, 1);
    assert_eq!(executor.list().expect("readable").machines[&VmId(1)].state, MachineState::Running);
    assert_eq!(executor.resume(VmId(1), &mut open()).expect("it runs").writes, 0);
    assert_eq!(executor.create(&held, &mut open()).expect("it is there").writes, 0, "it is not held again");
    executor.remove(VmId(1), &mut open()).unwrap_or_else(|error| panic!("{error}"));
    executor.create(&held, &mut open()).unwrap_or_else(|error| panic!("{error}"));
    drop(executor);
    assert_eq!(create(rig, &rig.spec(1)), 1, "it shall run now");
    remove(rig, VmId(1));
}

fn an_end_is_an_end_however_often_it_is_asked_for(rig: &dyn Rig) {
    println!("   an end is an end, however often it is asked for");
    let vm = VmId(1);
    let can = rig.connect().capabilities();
    create(rig, &rig.spec(1));
    if can.graceful_stop {
        // A guest may take its time, or none; either way the question may be repeated.
        rig.connect().shut_down(vm, &mut open()).unwrap_or_else(|error| panic!("{error}"));
        rig.connect().shut_down(vm, &mut open()).unwrap_or_else(|error| panic!("{error}"));
    }
    rig.connect().destroy(vm, &mut open()).unwrap_or_else(|error| panic!("{error}"));
    assert!(!rig.runs(vm));
    assert_eq!(rig.connect().destroy(vm, &mut open()).expect("it has ended"), Done::default());
    if can.graceful_stop {
        assert_eq!(rig.connect().shut_down(vm, &mut open()).expect("it has ended"), Done::default());
    }
    let seen = list(rig);
    if can.restart {
        assert_eq!(seen.machines[&vm].state, MachineState::ShutOff);
        // It is asked for again: it is the same machine.
        let created = seen.machines[&vm].mark.created;
        assert!(create(rig, &rig.spec(1)) > 0);
        assert_eq!(list(rig).machines[&vm].mark.created, created);
    } else {
        assert!(!seen.machines.contains_key(&vm), "{seen:?}");
        assert!(create(rig, &rig.spec(1)) > 0);
    }
    remove(rig, vm);
    assert_eq!(rig.connect().remove(vm, &mut open()).expect("it is gone"), Done::default());
    nothing_is_left(rig);
}

fn what_has_crashed_is_seen_and_started_again(rig: &dyn Rig) {
    println!("   what has crashed is seen, and started again");
    create(rig, &rig.spec(1));
    if rig.crash(VmId(1)) {
        let seen = list(rig);
        assert!(seen.machines.get(&VmId(1)).is_none_or(|machine| !machine.state.is_alive()), "{seen:?}");
        assert!(create(rig, &rig.spec(1)) > 0);
    }
    remove(rig, VmId(1));
    // A machine that has crashed can be removed as well.
    create(rig, &rig.spec(1));
    rig.crash(VmId(1));
    remove(rig, VmId(1));
    nothing_is_left(rig);
}

fn what_is_not_ours_is_left_alone(rig: &dyn Rig) {
    println!("   what is not ours is left alone");
    rig.add_foreign();
    let foreign = seen(rig);
    assert!(!foreign.foreign.is_empty() && foreign.machines.is_empty(), "{foreign:?}");
    assert_eq!(foreign, list(rig));
    // One of them bears another owner's mark, and is told from all others.
    let theirs = foreign.foreign.iter().find(|machine| machine.owner == Some(other())).expect("another's is there");
    assert!(foreign.foreign.iter().filter(|machine| machine.id == theirs.id).count() == 1, "{foreign:?}");
    println!("      {theirs}");
    rig.check_foreign(theirs);
    create(rig, &rig.spec(1));
    let nothing = BTreeSet::new();
    let mut executor = rig.connect();
    let later = now().saturating_add(Duration::from_hours(100));
    let collected = executor.collect_orphans(&nothing, Duration::from_secs(1), 100, later, &mut open()).expect("seen");
    assert_eq!(collected.removed, [VmId(1)]);
    for vm in 0..4 {
        executor.remove(VmId(vm), &mut open()).expect("nothing of ours");
    }
    executor.sweep(&mut open()).expect("nothing of ours");
    assert!(rig.foreign_is_untouched());
    assert!(!list(rig).foreign.is_empty());
}

/// The time by the clock of the machine: marks bear it.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_nanos(since.as_nanos() as u64)
}

fn orphans_are_collected_after_their_time_and_never_too_many(rig: &dyn Rig) {
    println!("   orphans are collected after their time, and never too many");
    for vm in 1..=4 {
        create(rig, &rig.spec(vm));
    }
    let created = list(rig).machines.values().map(|machine| machine.mark.created).max().expect("four");
    let known = BTreeSet::from([VmId(2)]);
    let grace = Duration::from_mins(10);
    let collect = |cap, after: Duration| {
        let mut executor = rig.connect();
        executor.collect_orphans(&known, grace, cap, created.saturating_add(after), &mut open()).expect("seen")
    };
    let young = collect(9, Duration::from_mins(5));
    assert!(young.removed.is_empty() && young.waiting == [VmId(1), VmId(3), VmId(4)], "{young:?}");
    let none = collect(0, Duration::from_mins(30));
    assert!(none.removed.is_empty() && none.over_cap.len() == 3, "{none:?}");
    let some = collect(2, Duration::from_mins(30));
    assert_eq!((some.removed, some.over_cap), (vec![VmId(1), VmId(3)], vec![VmId(4)]), "the oldest first");
    let rest = collect(2, Duration::from_mins(30));
    assert!(rest.removed == [VmId(4)] && rest.failed.is_empty(), "{rest:?}");
    assert!(rig.runs(VmId(2)), "what is known stays");
    remove(rig, VmId(2));
    nothing_is_left(rig);
}

fn strays_are_swept(rig: &dyn Rig) {
    println!("   strays are swept");
    create(rig, &rig.spec(1));
    if rig.add_stray() {
        assert!(!list(rig).strays.is_empty());
        assert!(rig.connect().sweep(&mut open()).expect("they go").writes > 0);
        assert_eq!(list(rig).strays, Vec::<String>::new());
        assert!(rig.runs(VmId(1)), "and nothing else");
        assert_eq!(create(rig, &rig.spec(1)), 0);
    }
    remove(rig, VmId(1));
    nothing_is_left(rig);
}

/// Between any two writes of a creation, an end and a removal, everything of ours dies and begins again from what is there.
fn a_crash_between_any_two_writes_is_mended(rig: &dyn Rig) {
    println!("   a crash between any two writes is mended");
    for (name, begins_with) in [("creation", false), ("removal", true)] {
        let mut points = 0;
        for writes in 0.. {
            if begins_with {
                create(rig, &rig.spec(1));
            }
            let mut left = writes;
            let mut gate = Gate::asking(move |_| {
                left -= 1;
                left >= 0
            });
            let mut executor = rig.connect();
            let ended = if begins_with {
                executor.remove(VmId(1), &mut gate)
            } else {
                executor.create(&rig.spec(1), &mut gate)
            };
            // All that a crash leaves is what stands outside.
            drop(executor);
            match ended {
                Ok(_) => break,
                Err(MachineError::Stopped(_)) => points += 1,
                Err(error) => panic!("{name}, {writes} writes: {error}"),
            }
            // Whoever starts next finds it, or nothing of it: by turns it goes on, takes it away, or collects it.
            match writes % 3 {
                0 => drop(create(rig, &rig.spec(1))),
                1 => {}
                _ => {
                    let mut executor = rig.connect();
                    let later = now().saturating_add(Duration::from_hours(1));
                    let nothing = BTreeSet::new();
                    let grace = Duration::from_mins(1);
                    let collected = executor.collect_orphans(&nothing, grace, 1, later, &mut open()).expect("seen");
                    assert!(collected.failed.is_empty(), "{name}, {writes} writes: {collected:?}");
                    executor.sweep(&mut open()).expect("swept");
                    drop(executor);
                    nothing_is_left(rig);
                }
            }
            remove(rig, VmId(1));
            rig.connect().sweep(&mut open()).expect("swept");
            nothing_is_left(rig);
        }
        assert!(points > 0, "{name}: there are points to crash at");
        println!("      {name}: {points} points");
        remove(rig, VmId(1));
    }
    nothing_is_left(rig);
}
