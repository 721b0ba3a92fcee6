//! What every executor of slices must do, whatever it talks to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use forebay_adapters::prefix::Prefix;
use forebay_adapters::slices::{Gate, LinkSlices, Port, Slice, SliceError, SliceExecutor, SliceView, Standing};
use forebay_world::{BitsPerSecond, Generation, PlannedSlice, Refusal, SliceId};

/// A link to try an executor on.
pub(crate) trait Rig {
    /// A new executor, as after a start of ours: it remembers nothing.
    fn connect(&self) -> Box<dyn SliceExecutor>;

    /// A new view of what [`Rig::connect`] would see.
    fn view(&self) -> Box<dyn SliceView>;

    /// Everything that is there and everything that was written, ours or not, by other means than the executor's own: two
    /// that are the same mean that nothing was written in between.
    fn everything(&self) -> String;

    /// Names of ports that can be guarded; empty where none can.
    fn ports(&self) -> Vec<String>;

    /// Changes one standing thing of ours by hand, behind the executor's back. At least so many ways are known: `way` counts
    /// from 0, and the rig says when there are no more.
    fn disturb(&self, way: usize) -> bool;

    /// Puts something there that is not ours and does not stand in the way.
    fn add_foreign(&self);

    /// Whether that is still as it was put.
    fn foreign_is_untouched(&self) -> bool;

    /// Everything of ours that is there, by other means than the executor's own. For people.
    fn leftovers(&self) -> Vec<String>;

    /// What stands of these slices, by other means than the executor's own: what differs. For people.
    fn independent_differences(&self, wanted: &LinkSlices) -> Vec<String>;
}

pub(crate) const CAPACITY: BitsPerSecond = BitsPerSecond(10_000_000);

/// Slices with these rates \[Mbit/s\], as far as the executor can express them, and the rig's ports dealt out.
pub(crate) fn slices(rig: &dyn Rig, generation: u64, rates: &[(u64, u64)]) -> LinkSlices {
    let can = rig.connect().capabilities();
    let mut wanted = LinkSlices { generation: Generation(generation), capacity: CAPACITY, ..LinkSlices::default() };
    for (at, (guarantee, ceiling)) in rates.iter().enumerate() {
        let ceiling = if can.ceiling { BitsPerSecond(ceiling * 1_000_000) } else { CAPACITY };
        let terms = PlannedSlice {
            guarantee: if can.guarantee { BitsPerSecond(guarantee * 1_000_000) } else { BitsPerSecond::ZERO },
            ceiling,
            weight: if can.weight { 1 + at as u32 } else { 1 },
            priority: if can.priority { at as u8 / 2 } else { 0 },
            dscp: if can.dscp { 10 + 2 * at as u8 } else { 0 },
            latency: None,
        };
        let host: Prefix = format!("10.66.0.{}/32", at + 101).parse().expect("an address");
        let sources = if rig.ports().is_empty() { BTreeSet::from([host]) } else { BTreeSet::new() };
        wanted.slices.insert(SliceId::at(at), Slice { terms, sources });
    }
    for (at, name) in rig.ports().into_iter().enumerate() {
        let (slice, host) = (SliceId::at(at % rates.len().max(1)), at + 1);
        if !rates.is_empty() {
            let mac = format!("02:00:00:00:00:{host:02x}").parse().expect("an address");
            let addresses = [format!("10.66.0.{host}"), format!("fd66::{host:x}")];
            let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
            wanted.ports.insert(name, Port { slice, mac, addresses });
        }
    }
    wanted
}

/// The whole suite.
pub(crate) fn conforms(rig: &dyn Rig) {
    nothing_stands_at_first_and_nothing_is_left(rig);
    what_is_wanted_stands_and_is_written_once(rig);
    a_view_sees_what_stands_and_leaves_it_as_it_is(rig);
    a_stale_plan_is_refused(rig);
    what_a_hand_changed_is_put_right(rig);
    what_is_not_ours_is_left_alone(rig);
    a_second_writer_is_refused_and_takes_over(rig);
    what_cannot_be_expressed_is_refused_before_anything_is_written(rig);
    a_crash_between_any_two_writes_is_mended(rig);
    println!("   all of it");
}

fn apply(rig: &dyn Rig, wanted: &LinkSlices) -> u32 {
    let mut executor = rig.connect();
    let applied =
        executor.apply(wanted, &mut Gate::open()).unwrap_or_else(|error| panic!("{}: {error}", executor.link()));
    assert_eq!(applied.acknowledgement, executor.capabilities().acknowledgement);
    stands(rig, wanted);
    applied.writes
}

/// Checks by the executor and by other means that this stands and nothing else.
fn stands(rig: &dyn Rig, wanted: &LinkSlices) {
    let mut executor = rig.connect();
    let standing = executor.read().expect("readable");
    let none: Vec<String> = Vec::new();
    assert_eq!(wanted.differences(&executor.capabilities(), &standing).expect("expressible"), none);
    assert_eq!(rig.independent_differences(wanted), none);
}

fn remove(rig: &dyn Rig) {
    let mut executor = rig.connect();
    executor.remove(&mut Gate::open()).unwrap_or_else(|error| panic!("{}: {error}", executor.link()));
    assert!(executor.read().expect("readable").is_empty());
    assert_eq!(rig.leftovers(), Vec::<String>::new());
}

fn nothing_stands_at_first_and_nothing_is_left(rig: &dyn Rig) {
    println!("   nothing stands at first, and nothing is left");
    let mut executor = rig.connect();
    let first = executor.read().expect("readable");
    assert!(first.is_empty(), "{first:?}");
    assert_eq!(executor.remove(&mut Gate::open()).expect("nothing to remove").writes, 0);
    drop(executor);
    apply(rig, &slices(rig, 1, &[(6, 10), (3, 8)]));
    remove(rig);
    let again = rig.connect().read().expect("readable");
    assert_eq!(again, Standing { foreign: again.foreign.clone(), ..Standing::default() });
}

fn what_is_wanted_stands_and_is_written_once(rig: &dyn Rig) {
    println!("   what is wanted stands, and is written once");
    let tables: [&[(u64, u64)]; 5] = [
        &[(6, 10), (3, 8)],
        &[(4, 9), (3, 8)],
        &[(4, 9), (3, 8), (2, 10)],
        &[(1, 9)],
        &[(2, 2), (2, 3), (1, 1), (0, 10)],
    ];
    for (generation, rates) in tables.into_iter().enumerate() {
        let wanted = slices(rig, 10 + generation as u64, rates);
        assert!(apply(rig, &wanted) > 0, "{rates:?}");
        assert_eq!(apply(rig, &wanted), 0, "{rates:?} once more");
        let counted = rig.connect().counters().expect("readable");
        if rig.connect().capabilities().statistics {
            assert!(counted.keys().eq(wanted.slices.keys()), "{counted:?}");
        }
    }
    // A newer plan that changes nothing here writes its number, and makes those before it stale.
    let mut same = slices(rig, 17, tables[4]);
    assert_eq!(apply(rig, &same), 1);
    assert_eq!(apply(rig, &same), 0);
    let error = rig.connect().apply(&slices(rig, 16, tables[0]), &mut Gate::open()).unwrap_err();
    assert!(matches!(error, SliceError::Stale { given: Generation(16), standing: Generation(17), .. }), "{error:?}");
    same.capacity = BitsPerSecond(12_000_000);
    if rig.connect().capabilities().guarantee {
        assert!(apply(rig, &same) > 0, "a link of another capacity");
    }
    remove(rig);
}

/// Opens a view, looks, and sees that nothing is otherwise; what was seen.
fn seen(rig: &dyn Rig) -> Standing {
    let before = rig.everything();
    let mut view = rig.view();
    // Views go to the threads of whoever looks.
    let (standing, counted) = std::thread::scope(|scope| {
        let looking = scope.spawn(move || (view.read(), view.counters()));
        looking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let standing = standing.unwrap_or_else(|error| panic!("{error}"));
    let counted = counted.unwrap_or_else(|error| panic!("{error}"));
    assert!(!rig.view().capabilities().statistics || counted.keys().eq(standing.slices.keys()), "{counted:?}");
    assert_eq!(rig.everything(), before);
    standing
}

fn a_view_sees_what_stands_and_leaves_it_as_it_is(rig: &dyn Rig) {
    println!("   a view sees what stands, and leaves it as it is");
    assert!(seen(rig).is_empty());
    let wanted = slices(rig, 5, &[(6, 10), (3, 8)]);
    apply(rig, &wanted);
    let by_view = seen(rig);
    let capabilities = rig.view().capabilities();
    assert_eq!(wanted.differences(&capabilities, &by_view).expect("expressible"), Vec::<String>::new());
    // Neither is a view anybody's place: an executor opened after it writes, and another is refused as ever.
    let mut view = rig.view();
    let mut executor = rig.connect();
    let next = slices(rig, 6, &[(4, 9), (3, 8)]);
    executor.apply(&next, &mut Gate::open()).expect("looking keeps nobody from writing");
    assert_eq!(view.read().expect("readable"), executor.read().expect("readable"));
    assert_eq!((view.link(), capabilities), (executor.link(), executor.capabilities()));
    drop(executor);
    assert_eq!(seen(rig).generation, Some(Generation(6)));
    if rig.disturb(0) {
        assert!(!next.differences(&capabilities, &seen(rig)).expect("expressible").is_empty());
    }
    remove(rig);
}

fn a_stale_plan_is_refused(rig: &dyn Rig) {
    println!("   a stale plan is refused");
    let newer = slices(rig, 9, &[(6, 10), (3, 8)]);
    apply(rig, &newer);
    let error = rig.connect().apply(&slices(rig, 8, &[(1, 10), (1, 8)]), &mut Gate::open()).unwrap_err();
    assert!(matches!(error, SliceError::Stale { given: Generation(8), standing: Generation(9), .. }), "{error:?}");
    stands(rig, &newer);
    // After a restart of everything of ours too: what stands says which plan it is of.
    remove(rig);
    apply(rig, &slices(rig, 8, &[(1, 10), (1, 8)]));
    remove(rig);
}

fn what_a_hand_changed_is_put_right(rig: &dyn Rig) {
    println!("   what a hand changed is put right");
    let wanted = slices(rig, 20, &[(6, 10), (3, 8)]);
    for way in 0.. {
        apply(rig, &wanted);
        if !rig.disturb(way) {
            assert!(way > 0, "at least one way to disturb is known");
            break;
        }
        let mut executor = rig.connect();
        let standing = executor.read().expect("readable");
        let seen = wanted.differences(&executor.capabilities(), &standing).expect("expressible");
        assert!(!seen.is_empty(), "disturbance {way} is not seen");
        drop(executor);
        assert!(apply(rig, &wanted) > 0, "disturbance {way}");
    }
    remove(rig);
}

fn what_is_not_ours_is_left_alone(rig: &dyn Rig) {
    println!("   what is not ours is left alone");
    rig.add_foreign();
    assert!(rig.foreign_is_untouched());
    apply(rig, &slices(rig, 30, &[(6, 10), (3, 8)]));
    assert!(rig.foreign_is_untouched());
    apply(rig, &slices(rig, 31, &[(1, 8)]));
    remove(rig);
    assert!(rig.foreign_is_untouched());
}

fn a_second_writer_is_refused_and_takes_over(rig: &dyn Rig) {
    println!("   a second writer is refused, and takes over");
    let (mine, other) = (slices(rig, 40, &[(6, 10), (3, 8)]), slices(rig, 41, &[(2, 10)]));
    let mut first = rig.connect();
    first.apply(&mine, &mut Gate::open()).expect("the first writes");
    let mut second = rig.connect();
    let error = second.apply(&other, &mut Gate::open()).unwrap_err();
    assert!(matches!(error, SliceError::OtherWriter { .. }), "{error:?}");
    let error = second.remove(&mut Gate::open()).unwrap_err();
    assert!(matches!(error, SliceError::OtherWriter { .. }), "{error:?}");
    stands(rig, &mine);
    drop(first);
    second.apply(&other, &mut Gate::open()).expect("the second takes over");
    drop(second);
    stands(rig, &other);
    remove(rig);
}

fn what_cannot_be_expressed_is_refused_before_anything_is_written(rig: &dyn Rig) {
    println!("   what cannot be expressed is refused");
    let stood = slices(rig, 50, &[(6, 10), (3, 8)]);
    apply(rig, &stood);
    let can = rig.connect().capabilities();
    let mut refused: Vec<(LinkSlices, fn(&Refusal) -> bool)> = Vec::new();
    let mut change = |edit: &dyn Fn(&mut PlannedSlice), check: fn(&Refusal) -> bool| {
        let mut wanted = stood.clone();
        wanted.generation = Generation(51);
        wanted.slices.values_mut().take(1).for_each(|slice| edit(&mut slice.terms));
        refused.push((wanted, check));
    };
    change(&|terms| terms.guarantee = BitsPerSecond(terms.ceiling.0 + 8), |refusal| {
        matches!(refusal, Refusal::Rates { .. })
    });
    change(&|terms| terms.dscp = 64, |refusal| matches!(refusal, Refusal::NoMark { .. }));
    if can.guarantee {
        change(&|terms| terms.guarantee = BitsPerSecond(8_000_000), |r| matches!(r, Refusal::Capacity { .. }));
    } else {
        change(&|terms| terms.guarantee = BitsPerSecond(8), |r| matches!(r, Refusal::Guarantee { .. }));
    }
    if !can.weight {
        change(&|terms| (terms.weight, terms.priority) = (7, 0), |r| matches!(r, Refusal::Weight { .. }));
    }
    if !can.priority {
        change(&|terms| terms.priority = 3, |r| matches!(r, Refusal::Priority { .. }));
    }
    if !can.dscp {
        change(&|terms| terms.dscp = 46, |r| matches!(r, Refusal::Mark { .. }));
    }
    for (wanted, check) in refused {
        let error = rig.connect().apply(&wanted, &mut Gate::open()).unwrap_err();
        assert!(matches!(&error, SliceError::Refused(refusal) if check(refusal)), "{error:?}");
        stands(rig, &stood);
    }
    remove(rig);
}

/// A gate that closes after so many writes, and counts.
fn closing_after(writes: u32) -> (Gate, Arc<AtomicU32>) {
    let passed = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&passed);
    (Gate::asking(move |_| writes > count.fetch_add(1, Ordering::Relaxed)), passed)
}

/// Between any two writes of a change, and of a removal, everything of ours dies and begins again from what stands.
fn a_crash_between_any_two_writes_is_mended(rig: &dyn Rig) {
    println!("   a crash between any two writes is mended");
    let before = slices(rig, 60, &[(6, 10), (3, 8), (1, 10)]);
    let after = slices(rig, 61, &[(4, 9), (3, 8)]);
    let cases = [
        ("from nothing", None, Some(&before)),
        ("a change", Some(&before), Some(&after)),
        ("removal", Some(&after), None),
    ];
    for (name, first, goal) in cases {
        let mut points = 0;
        for writes in 0.. {
            if let Some(first) = first {
                apply(rig, first);
            }
            let (mut gate, _) = closing_after(writes);
            let mut executor = rig.connect();
            let ended = match goal {
                Some(goal) => executor.apply(goal, &mut gate),
                None => executor.remove(&mut gate),
            };
            // All that a crash leaves is what stands outside.
            drop(executor);
            match ended {
                Ok(_) => break,
                Err(SliceError::Stopped(_)) => points += 1,
                Err(error) => panic!("{name}, {writes} writes: {error}"),
            }
            // The next start goes on …
            if let Some(goal) = goal {
                apply(rig, goal);
            }
            remove(rig);
            // … or, from the same point, takes all of it away.
            if let Some(first) = first {
                apply(rig, first);
            }
            let mut executor = rig.connect();
            let (mut gate, _) = closing_after(writes);
            let again = match goal {
                Some(goal) => executor.apply(goal, &mut gate),
                None => executor.remove(&mut gate),
            };
            assert!(matches!(again, Err(SliceError::Stopped(_))), "{name}, {writes} writes: {again:?}");
            drop(executor);
            remove(rig);
        }
        assert!(points > 0, "{name}: there are points to crash at");
        println!("      {name}: {points} points");
        remove(rig);
    }
}
