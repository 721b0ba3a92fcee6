//! What every executor of steering must do, whatever it talks to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use forebay_adapters::steering::{
    Answers, Clients, DnsName, Health, Member, NameAnswers, Pool, Standing, SteeringError, SteeringExecutor,
    SteeringView, Weights,
};
use forebay_adapters::{Gate, Prefix};
use forebay_world::{Generation, RegionId};

/// A server to try an executor on.
pub(crate) trait Rig {
    /// A new executor, as after a start of ours: it remembers nothing.
    fn connect(&self) -> Box<dyn SteeringExecutor>;

    /// A new view of what [`Rig::connect`] would see.
    fn view(&self) -> Box<dyn SteeringView>;

    /// Everything that is there and everything that was written, ours or not, by other means than the executor's own: two
    /// that are the same mean that nothing was written in between.
    fn everything(&self) -> String;

    /// One whose key is wrong; none where there is no key.
    fn connect_with_wrong_key(&self) -> Option<Box<dyn SteeringExecutor>>;

    /// The zone that it may write to.
    fn zone(&self) -> &'static str;

    /// A name with records that are not ours, which cannot be steered by; none where everything is ours.
    fn foreign_name(&self) -> Option<&'static str>;

    /// Changes one standing thing of ours by hand, behind the executor's back, at the name `video` or beside it. `way`
    /// counts from 0; false when there are no more.
    fn disturb(&self, way: usize) -> bool;

    /// What is there that is not ours, as somebody else sees it.
    fn foreign(&self) -> String;

    /// Everything of ours that is there, by other means than the executor's own. For people.
    fn leftovers(&self) -> Vec<String>;

    /// Addresses that a client in this network is answered for a name, by other means than the executor's own, and for how
    /// long \[s\]: of several times that were asked, all that came. None where nobody else can ask.
    fn ask(&self, name: &str, v6: bool, client: Option<Prefix>) -> Option<(Vec<IpAddr>, u32)>;

    /// Networks of the regions whose clients are told apart.
    fn regions(&self) -> BTreeMap<String, Prefix>;

    /// Stops the server while this runs; none where it cannot be stopped.
    fn while_stopped(&self, run: &mut dyn FnMut()) -> bool;
}

/// Answers with these weights of four addresses, two at each of two sites, for the names `video` and, with more than one
/// generation's worth, `live`; an IPv6 address beside them; and the other way round for a region, where there is one.
pub(crate) fn answers(rig: &dyn Rig, generation: u64, names: &[(&str, [u32; 4])]) -> Answers {
    let regions = rig.regions();
    let exact = rig.connect().capabilities().weights != Weights::None;
    let pool = |weights: [u32; 4]| -> Pool {
        let address = |at: usize| IpAddr::from([192, 0, 2, 11 + at as u8]);
        let weight = |at: usize| if exact { weights[at] } else { weights[at].min(1) };
        let member = |at: usize| Member { site: RegionId::at(at / 2), weight: weight(at), health: Health::Healthy };
        let mut pool: Pool = (0..4).map(|at| (address(at), member(at))).collect();
        pool.insert("2001:db8::11".parse().unwrap(), Member { weight: 1, ..member(0) });
        pool
    };
    let mut answers = Answers { generation: Generation(generation), names: BTreeMap::new() };
    for (name, weights) in names {
        let mut one = NameAnswers { ttl_seconds: 20, pools: [(Clients::Others, pool(*weights))].into() };
        let [a, b, c, d] = *weights;
        if let Some(region) = regions.keys().next() {
            one.pools.insert(Clients::Region(region.clone()), pool([d, c, b, a]));
        }
        answers.names.insert(full(rig, name), one);
    }
    answers
}

fn full(rig: &dyn Rig, name: &str) -> DnsName {
    format!("{name}.{}", rig.zone()).parse().expect("a name")
}

/// The whole suite.
pub(crate) fn conforms(rig: &dyn Rig) {
    let foreign = rig.foreign();
    nothing_stands_at_first_and_nothing_is_left(rig);
    what_is_wanted_is_answered_and_is_written_once(rig);
    a_view_sees_what_stands_and_leaves_it_as_it_is(rig);
    stale_answers_are_refused(rig);
    what_a_hand_changed_is_put_right(rig);
    what_is_not_ours_is_not_touched(rig);
    the_unhealthy_are_never_answered(rig);
    a_second_writer_is_refused_and_takes_over(rig);
    what_cannot_be_answered_is_refused_before_anything_is_written(rig);
    a_wrong_key_is_said_and_changes_nothing(rig);
    a_rollback_restores_what_stood(rig);
    a_crash_between_any_two_writes_is_mended(rig);
    a_crash_within_a_rollback_is_mended(rig);
    a_server_that_is_down_is_an_error(rig);
    assert_eq!(rig.foreign(), foreign);
    println!("   all of it");
}

fn apply(rig: &dyn Rig, wanted: &Answers) -> u32 {
    let mut executor = rig.connect();
    let applied =
        executor.apply(wanted, &mut Gate::open()).unwrap_or_else(|error| panic!("{}: {error}", executor.place()));
    assert_eq!(applied.acknowledgement, executor.capabilities().acknowledgement);
    stands(rig, wanted);
    applied.writes
}

/// Checks by the executor and by other means that this is answered and nothing else.
fn stands(rig: &dyn Rig, wanted: &Answers) {
    let mut executor = rig.connect();
    let standing = executor.read().expect("readable");
    let none: Vec<String> = Vec::new();
    assert_eq!(wanted.differences(&executor.capabilities(), &standing).expect("expressible"), none);
    asked_otherwise(rig, wanted);
}

/// What somebody else is answered.
fn asked_otherwise(rig: &dyn Rig, wanted: &Answers) {
    let capabilities = rig.connect().capabilities();
    let expressed = wanted.expressed(&capabilities, "here").expect("expressible");
    let script = matches!(capabilities.weights, Weights::ByScript | Weights::Exact);
    for (name, expressed) in &expressed {
        for (clients, pool) in &expressed.pools {
            let client = match clients {
                Clients::Others => None,
                Clients::Region(region) => Some(rig.regions()[region]),
            };
            for v6 in [false, true] {
                let Some((seen, ttl_seconds)) = rig.ask(name.as_str(), v6, client) else { return };
                let due: Vec<IpAddr> = pool.keys().filter(|address| address.is_ipv6() == v6).copied().collect();
                let kept = if script { seen.iter().all(|address| due.contains(address)) } else { seen == due };
                assert!(kept && !seen.is_empty(), "{name} to {clients}: {seen:?}, not {due:?}");
                assert!(ttl_seconds <= 20 && (ttl_seconds == 20 || !capabilities.ttl), "{ttl_seconds}");
            }
        }
    }
    for name in ["video", "live"] {
        let name = full(rig, name);
        if !expressed.contains_key(&name)
            && let Some((seen, _)) = rig.ask(name.as_str(), false, None)
        {
            assert_eq!(seen, Vec::<IpAddr>::new(), "{name}");
        }
    }
}

fn remove(rig: &dyn Rig) {
    let mut executor = rig.connect();
    executor.remove(&mut Gate::open()).unwrap_or_else(|error| panic!("{}: {error}", executor.place()));
    assert!(executor.read().expect("readable").is_empty());
    drop(executor);
    assert_eq!(rig.leftovers(), Vec::<String>::new());
}

const EVEN: [u32; 4] = [1, 1, 1, 1];

fn nothing_stands_at_first_and_nothing_is_left(rig: &dyn Rig) {
    println!("   nothing stands at first, and nothing is left");
    let mut executor = rig.connect();
    let first = executor.read().expect("readable");
    assert!(first.is_empty(), "{first:?}");
    assert_eq!(executor.remove(&mut Gate::open()).expect("nothing to remove").writes, 0);
    assert!(matches!(executor.rollback(&mut Gate::open()), Err(SteeringError::NothingToRollBack { .. })));
    drop(executor);
    apply(rig, &answers(rig, 1, &[("video", EVEN), ("live", [3, 3, 1, 1])]));
    remove(rig);
    let again = rig.connect().read().expect("readable");
    assert_eq!(again, Standing { foreign: again.foreign.clone(), ..Standing::default() });
}

fn what_is_wanted_is_answered_and_is_written_once(rig: &dyn Rig) {
    println!("   what is wanted is answered, and is written once");
    let tables: [&[(&str, [u32; 4])]; 5] = [
        &[("video", EVEN), ("live", [1, 1, 0, 0])],
        &[("video", [2, 2, 1, 0]), ("live", [1, 1, 0, 0])],
        &[("video", [0, 0, 1, 1])],
        &[("live", EVEN), ("video", [0, 1, 1, 0])],
        &[("video", [1, 0, 0, 0])],
    ];
    for (generation, names) in tables.into_iter().enumerate() {
        let wanted = answers(rig, 10 + generation as u64, names);
        assert!(apply(rig, &wanted) > 0, "{names:?}");
        assert_eq!(apply(rig, &wanted), 0, "{names:?} once more");
        let again = Answers { generation: wanted.generation.next(), ..wanted.clone() };
        assert_eq!(apply(rig, &again), 0, "a newer generation that changes nothing");
        if generation == 0 {
            let mut ttl = wanted.clone();
            ttl.names.values_mut().for_each(|name| name.ttl_seconds = 7);
            let mut executor = rig.connect();
            assert!(executor.apply(&ttl, &mut Gate::open()).expect("another time to live").writes > 0);
            assert!(executor.apply(&wanted, &mut Gate::open()).expect("back").writes > 0);
        }
    }
    remove(rig);
}

/// Opens a view, looks, and sees that nothing is otherwise; what was seen.
fn seen(rig: &dyn Rig) -> Standing {
    let before = rig.everything();
    let mut view = rig.view();
    // Views go to the threads of whoever looks.
    let standing = std::thread::scope(|scope| {
        let looking = scope.spawn(move || view.read());
        looking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let standing = standing.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rig.everything(), before);
    standing
}

fn a_view_sees_what_stands_and_leaves_it_as_it_is(rig: &dyn Rig) {
    println!("   a view sees what stands, and leaves it as it is");
    assert!(seen(rig).is_empty());
    let wanted = answers(rig, 5, &[("video", EVEN), ("live", [1, 1, 0, 0])]);
    apply(rig, &wanted);
    let by_view = seen(rig);
    let capabilities = rig.view().capabilities();
    assert_eq!(wanted.differences(&capabilities, &by_view).expect("expressible"), Vec::<String>::new());
    // What clients are answered is seen whoever wrote it.
    let before = rig.everything();
    let ours = full(rig, "video");
    let theirs = rig.foreign_name().map(|name| full(rig, name));
    let names: Vec<DnsName> = theirs.iter().chain([&ours]).cloned().collect();
    let answered = rig.view().answered(&names).expect("readable");
    assert_eq!(answered[&ours].as_ref(), Some(&by_view.names[&ours].answered));
    assert!(theirs.is_none_or(|theirs| answered.contains_key(&theirs)), "{answered:?}");
    assert_eq!(rig.everything(), before);
    // Neither is a view the writer: an executor opened after it writes, and goes on beside it.
    let mut view = rig.view();
    let mut executor = rig.connect();
    let next = answers(rig, 6, &[("video", [1, 1, 0, 0])]);
    executor.apply(&next, &mut Gate::open()).expect("looking keeps nobody from writing");
    assert_eq!(view.read().expect("readable"), executor.read().expect("readable"));
    assert_eq!((view.place(), capabilities), (executor.place(), executor.capabilities()));
    drop(executor);
    let after = seen(rig);
    assert_eq!((after.generation, after.withdrawn.len()), (Some(Generation(6)), 1), "{after:?}");
    if rig.disturb(0) {
        // Read by a view that was opened now: the place may have been started anew.
        assert_ne!(seen(rig), after);
    }
    remove(rig);
}

fn stale_answers_are_refused(rig: &dyn Rig) {
    println!("   stale answers are refused");
    let newer = answers(rig, 9, &[("video", EVEN)]);
    apply(rig, &newer);
    let error = rig.connect().apply(&answers(rig, 8, &[("video", [1, 0, 0, 0])]), &mut Gate::open()).unwrap_err();
    assert!(matches!(error, SteeringError::Stale { given: Generation(8), standing: Generation(9), .. }), "{error:?}");
    stands(rig, &newer);
    remove(rig);
}

fn what_a_hand_changed_is_put_right(rig: &dyn Rig) {
    println!("   what a hand changed is put right");
    let wanted = answers(rig, 20, &[("video", EVEN), ("live", EVEN)]);
    for way in 0.. {
        apply(rig, &wanted);
        if !rig.disturb(way) {
            assert!(way > 0, "at least one way to disturb is known");
            break;
        }
        let mut executor = rig.connect();
        let error = executor.apply(&answers(rig, 19, &[("video", EVEN)]), &mut Gate::open()).unwrap_err();
        assert!(matches!(error, SteeringError::Stale { .. }), "disturbance {way}: {error:?}");
        drop(executor);
        assert!(apply(rig, &wanted) > 0, "disturbance {way}");
    }
    remove(rig);
}

fn what_is_not_ours_is_not_touched(rig: &dyn Rig) {
    println!("   what is not ours is not touched");
    let foreign = rig.foreign();
    let Some(name) = rig.foreign_name() else { return };
    let error =
        rig.connect().apply(&answers(rig, 30, &[("video", EVEN), (name, EVEN)]), &mut Gate::open()).unwrap_err();
    assert!(matches!(&error, SteeringError::Foreign { what, .. } if what.contains(name)), "{error:?}");
    assert_eq!(rig.leftovers(), Vec::<String>::new());
    let outside = Answers {
        names: answers(rig, 30, &[("video", EVEN)])
            .names
            .into_values()
            .map(|v| ("video.other.test".parse().unwrap(), v))
            .collect(),
        generation: Generation(30),
    };
    let error = rig.connect().apply(&outside, &mut Gate::open()).unwrap_err();
    assert!(matches!(&error, SteeringError::Contradiction { what } if what.contains("allowed")), "{error:?}");
    assert_eq!(rig.leftovers(), Vec::<String>::new());
    assert_eq!(rig.foreign(), foreign);
}

fn the_unhealthy_are_never_answered(rig: &dyn Rig) {
    println!("   the unhealthy are never answered");
    let mut wanted = answers(rig, 35, &[("video", EVEN)]);
    apply(rig, &wanted);
    let sick: IpAddr = "192.0.2.11".parse().unwrap();
    wanted.generation = Generation(36);
    for pool in wanted.names.values_mut().flat_map(|name| name.pools.values_mut()) {
        pool.get_mut(&sick).unwrap().health = Health::Unhealthy;
    }
    assert!(apply(rig, &wanted) > 0);
    for _ in 0..20 {
        if let Some((seen, _)) = rig.ask(full(rig, "video").as_str(), false, None) {
            assert!(!seen.contains(&sick) && !seen.is_empty(), "{seen:?}");
        }
    }
    // None of them: nothing is changed.
    let mut none = wanted.clone();
    for pool in none.names.values_mut().flat_map(|name| name.pools.values_mut()) {
        pool.values_mut().for_each(|member| member.health = Health::Unhealthy);
    }
    let error = rig.connect().apply(&none, &mut Gate::open()).unwrap_err();
    assert!(matches!(error, SteeringError::Contradiction { .. }), "{error:?}");
    stands(rig, &wanted);
    remove(rig);
}

fn a_second_writer_is_refused_and_takes_over(rig: &dyn Rig) {
    println!("   a second writer is refused, and takes over");
    let (mine, other) = (answers(rig, 40, &[("video", EVEN)]), answers(rig, 41, &[("video", [1, 1, 0, 0])]));
    let mut first = rig.connect();
    first.apply(&mine, &mut Gate::open()).expect("the first writes");
    let mut second = rig.connect();
    let error = second.apply(&other, &mut Gate::open()).unwrap_err();
    assert!(matches!(error, SteeringError::OtherWriter { .. }), "{error:?}");
    let error = second.remove(&mut Gate::open()).unwrap_err();
    assert!(matches!(error, SteeringError::OtherWriter { .. }), "{error:?}");
    let error = second.rollback(&mut Gate::open()).unwrap_err();
    assert!(matches!(error, SteeringError::OtherWriter { .. }), "{error:?}");
    stands(rig, &mine);
    drop(first);
    second.apply(&other, &mut Gate::open()).expect("the second takes over");
    drop(second);
    stands(rig, &other);
    remove(rig);
}

fn what_cannot_be_answered_is_refused_before_anything_is_written(rig: &dyn Rig) {
    println!("   what cannot be answered is refused");
    let stood = answers(rig, 50, &[("video", EVEN)]);
    apply(rig, &stood);
    let can = rig.connect().capabilities();
    let name = full(rig, "video");
    let with = |edit: &dyn Fn(&mut NameAnswers)| {
        let mut wanted = Answers { generation: Generation(51), ..stood.clone() };
        edit(wanted.names.get_mut(&name).unwrap());
        rig.connect().apply(&wanted, &mut Gate::open()).unwrap_err()
    };
    let error = with(&|name| name.pools.clear());
    assert!(matches!(error, SteeringError::Contradiction { .. }), "{error:?}");
    let error = with(&|name| name.ttl_seconds = u32::MAX);
    assert!(matches!(error, SteeringError::Contradiction { .. }), "{error:?}");
    let region = Clients::Region("nowhere-we-know".to_owned());
    let error = with(&|name| {
        let pool = name.pools[&Clients::Others].clone();
        name.pools.insert(region.clone(), pool);
    });
    assert!(matches!(error, SteeringError::Refused { .. } | SteeringError::Unknown { .. }), "{error:?}");
    if can.weights == Weights::None {
        let error = with(&|name| {
            name.pools.values_mut().flat_map(|pool| pool.values_mut()).take(1).for_each(|member| member.weight = 9);
        });
        assert!(matches!(error, SteeringError::Refused { .. }), "{error:?}");
    }
    stands(rig, &stood);
    remove(rig);
}

fn a_wrong_key_is_said_and_changes_nothing(rig: &dyn Rig) {
    println!("   a wrong key is said, and changes nothing");
    let Some(mut wrong) = rig.connect_with_wrong_key() else { return };
    let stood = answers(rig, 52, &[("video", EVEN)]);
    apply(rig, &stood);
    for error in [
        wrong.apply(&answers(rig, 53, &[("video", [1, 0, 0, 0])]), &mut Gate::open()).unwrap_err(),
        wrong.remove(&mut Gate::open()).unwrap_err(),
        wrong.rollback(&mut Gate::open()).unwrap_err(),
    ] {
        assert!(matches!(error, SteeringError::Credentials { .. }), "{error:?}");
        println!("      {error}");
    }
    drop(wrong);
    stands(rig, &stood);
    remove(rig);
}

fn a_rollback_restores_what_stood(rig: &dyn Rig) {
    println!("   a rollback restores what stood");
    let first = answers(rig, 54, &[("video", EVEN), ("live", [1, 0, 0, 0])]);
    let second = answers(rig, 55, &[("video", [0, 0, 1, 1])]);
    let third = answers(rig, 56, &[("video", [0, 1, 1, 0]), ("live", EVEN)]);
    apply(rig, &first);
    apply(rig, &second);
    let mut executor = rig.connect();
    assert!(executor.rollback(&mut Gate::open()).expect("back").writes > 0);
    stands(rig, &first);
    assert_eq!(executor.rollback(&mut Gate::open()).expect("it is").writes, 0);
    // Older answers are stale still, and the same ones can be applied again, and taken back again.
    let error = executor.apply(&first, &mut Gate::open()).unwrap_err();
    assert!(matches!(error, SteeringError::Stale { .. }), "{error:?}");
    drop(executor);
    apply(rig, &second);
    apply(rig, &third);
    rig.connect().rollback(&mut Gate::open()).expect("back");
    stands(rig, &second);
    remove(rig);
}

/// A gate that closes after so many writes.
fn closing_after(writes: u32) -> Gate {
    let passed = Arc::new(AtomicU32::new(0));
    Gate::asking(move |_| writes > passed.fetch_add(1, Ordering::Relaxed))
}

/// Between any two writes of a change, and of a removal, everything of ours dies and begins again from what stands.
fn a_crash_between_any_two_writes_is_mended(rig: &dyn Rig) {
    println!("   a crash between any two writes is mended");
    let before = answers(rig, 60, &[("video", EVEN), ("live", EVEN)]);
    let after = answers(rig, 61, &[("video", [1, 1, 0, 0]), ("web", [0, 0, 1, 1])]);
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
            let mut executor = rig.connect();
            let ended = match goal {
                Some(goal) => executor.apply(goal, &mut closing_after(writes)),
                None => executor.remove(&mut closing_after(writes)),
            };
            // All that a crash leaves is what stands outside.
            drop(executor);
            match ended {
                Ok(_) => break,
                Err(SteeringError::Stopped(_)) => points += 1,
                Err(error) => panic!("{name}, {writes} writes: {error}"),
            }
            // Half of the times the next start goes on, half of the times it takes all of it away.
            if let (Some(goal), 0) = (goal, writes % 2) {
                apply(rig, goal);
                // What stood before is known still.
                if let Some(first) = first {
                    rig.connect().rollback(&mut Gate::open()).expect("back");
                    stands(rig, first);
                }
            }
            remove(rig);
        }
        assert!(points > 0, "{name}: there are points to crash at");
        println!("      {name}: {points} points");
        remove(rig);
    }
}

fn a_crash_within_a_rollback_is_mended(rig: &dyn Rig) {
    println!("   a crash within a rollback is mended");
    let (first, second) =
        (answers(rig, 62, &[("video", EVEN), ("live", EVEN)]), answers(rig, 63, &[("video", [1, 1, 0, 0])]));
    for writes in 0.. {
        apply(rig, &first);
        apply(rig, &second);
        let ended = rig.connect().rollback(&mut closing_after(writes));
        if ended.is_ok() {
            assert!(writes > 0);
            break;
        }
        rig.connect().rollback(&mut Gate::open()).expect("it goes on");
        stands(rig, &first);
        remove(rig);
    }
    remove(rig);
}

fn a_server_that_is_down_is_an_error(rig: &dyn Rig) {
    println!("   a server that is down is an error");
    let wanted = answers(rig, 70, &[("video", EVEN)]);
    apply(rig, &wanted);
    let mut executor = rig.connect();
    let stopped = rig.while_stopped(&mut || {
        let error = executor.read().unwrap_err();
        assert!(matches!(error, SteeringError::Unreachable { .. }), "{error:?}");
        println!("      {error}");
        let error = executor.apply(&wanted, &mut Gate::open()).unwrap_err();
        assert!(matches!(error, SteeringError::Unreachable { .. }), "{error:?}");
    });
    if stopped {
        // It is connected to again by itself.
        assert_eq!(executor.apply(&wanted, &mut Gate::open()).expect("it is back").writes, 0);
    }
    drop(executor);
    remove(rig);
}
