//! The server in memory, held against the suite, and the suite held against its faults.

use std::collections::BTreeMap;
use std::net::IpAddr;

use forebay_adapters::steering::fake::{ALL, FakeExecutor, FakeServer, FakeView, Fault, WriterTerm, ZoneOptions};
use forebay_adapters::steering::{
    Drain, Guarded, Rails, SteeringCapabilities, SteeringError, SteeringExecutor, SteeringView, Weights,
};
use forebay_adapters::{Gate, Prefix};

use super::conformance::{self, Rig, answers};

struct Memory {
    server: FakeServer,
    can: SteeringCapabilities,
}

const ZONE: &str = "cdn.test";

fn options() -> ZoneOptions {
    ZoneOptions::new(ZONE.parse().unwrap(), "forebay")
}

impl Memory {
    fn new(can: SteeringCapabilities) -> Self {
        let server = FakeServer::default();
        server.put(&"www.cdn.test".parse().unwrap(), "POOL", &["* 192.0.2.200 1"]);
        Memory { server, can }
    }

    fn executor(&self) -> FakeExecutor {
        FakeExecutor::connect(&self.server, self.can, options()).unwrap()
    }
}

impl Rig for Memory {
    fn connect(&self) -> Box<dyn SteeringExecutor> {
        Box::new(self.executor())
    }

    fn view(&self) -> Box<dyn SteeringView> {
        Box::new(FakeView::connect(&self.server, self.can, options()).unwrap())
    }

    fn everything(&self) -> String {
        format!("{} writes: {:?}", self.server.writes(), self.server)
    }

    fn connect_with_wrong_key(&self) -> Option<Box<dyn SteeringExecutor>> {
        None
    }

    fn zone(&self) -> &'static str {
        ZONE
    }

    fn foreign_name(&self) -> Option<&'static str> {
        Some("www")
    }

    fn disturb(&self, way: usize) -> bool {
        let at = |name: &str| format!("{name}cdn.test").parse().unwrap();
        match way {
            0 => self.server.put(&at("video."), "POOL", &["* 192.0.2.66 1"]),
            1 => self.server.put(&at("video."), "POOL", &[]),
            2 => self.server.put(&at("_forebay.video."), "TXT", &[]),
            3 => self.server.put(&at("_forebay.video."), "TXT", &["what is this"]),
            4 => self.server.put(&at("_forebay._forebay."), "TXT", &[]),
            5 => self.server.put(&at("_forebay._forebay."), "TXT", &["forebay1 name=live.cdn.test"]),
            _ => return false,
        }
        true
    }

    fn foreign(&self) -> String {
        self.server.sets().into_iter().filter(|set| set.starts_with("www.")).collect()
    }

    fn leftovers(&self) -> Vec<String> {
        self.server.sets().into_iter().filter(|set| !set.starts_with("www.")).collect()
    }

    fn ask(&self, _name: &str, _v6: bool, _client: Option<Prefix>) -> Option<(Vec<IpAddr>, u32)> {
        None
    }

    fn regions(&self) -> BTreeMap<String, Prefix> {
        if !self.can.per_region {
            return BTreeMap::new();
        }
        // The server in memory tells all regions apart; the suite asks for one that nobody knows.
        BTreeMap::new()
    }

    fn while_stopped(&self, run: &mut dyn FnMut()) -> bool {
        self.server.set_reachable(false);
        run();
        self.server.set_reachable(true);
        true
    }
}

const BY_ANSWERS: SteeringCapabilities =
    SteeringCapabilities { weights: Weights::ByAnswers { most: 8 }, per_region: false, ..ALL };

#[test]
fn it_conforms_whatever_it_can_do() {
    conformance::conforms(&Memory::new(SteeringCapabilities { per_region: false, ..ALL }));
    conformance::conforms(&Memory::new(BY_ANSWERS));
    conformance::conforms(&Memory::new(SteeringCapabilities { weights: Weights::None, ..BY_ANSWERS }));
}

#[test]
fn a_view_opens_and_reads_without_a_write_whoever_is_the_writer() {
    let rig = Memory::new(SteeringCapabilities { per_region: false, ..ALL });
    let wanted = answers(&rig, 1, &[("video", [1, 2, 0, 1])]);
    let mut executor = rig.connect();
    executor.apply(&wanted, &mut Gate::open()).unwrap();
    rig.server.fail_next([Fault::Rejected]);
    let (before, writes) = (rig.everything(), rig.server.writes());
    let mut view = rig.view();
    let standing = view.read().unwrap();
    assert_eq!(wanted.differences(&view.capabilities(), &standing).unwrap(), Vec::<String>::new());
    drop(view);
    assert_eq!((rig.everything(), rig.server.writes()), (before, writes));
    assert!(executor.remove(&mut Gate::open()).is_err(), "the fault was kept for a write");
    rig.server.set_reachable(false);
    assert!(matches!(rig.view().read().unwrap_err(), SteeringError::Unreachable { .. }));
    assert_eq!(rig.server.writes(), writes + 1);
}

#[test]
fn what_fails_on_the_way_is_said_and_mended_by_the_same_call() {
    let faults = [
        (Fault::Lost, "broke"),
        (Fault::LostReply, "broke"),
        (Fault::Ignored, "not so"),
        (Fault::Rejected, "will not"),
    ];
    for (fault, said) in faults {
        for before in 0..3 {
            let rig = Memory::new(BY_ANSWERS);
            let wanted = answers(&rig, 1, &[("video", [1, 1, 1, 1]), ("live", [1, 1, 0, 0])]);
            rig.server.fail_next(std::iter::repeat_n(Fault::None, before).chain([fault]));
            let mut executor = rig.connect();
            let error = executor.apply(&wanted, &mut Gate::open()).unwrap_err().to_string();
            // A write that came to nothing is noticed at the next, which expects it, or when all is looked at.
            let noticed = fault == Fault::Ignored && error.contains("changed by somebody else");
            assert!(error.contains(said) || noticed, "{fault:?} after {before}: {error}");
            executor.apply(&wanted, &mut Gate::open()).expect("the same call mends it");
            let standing = executor.read().unwrap();
            assert_eq!(wanted.differences(&rig.can, &standing).unwrap(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_writer_that_dies_without_a_word_stays_it_until_its_time_has_run_out() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NOW: AtomicU64 = AtomicU64::new(1_000_000);
    let rig = Memory::new(ALL);
    let connect = |take_over| {
        let clock = || NOW.load(Ordering::Relaxed);
        let options = ZoneOptions { clock, take_over, lease_seconds: 100, ..options() };
        FakeExecutor::connect(&rig.server, ALL, options).unwrap()
    };
    let wanted = |generation| answers(&rig, generation, &[("video", [generation as u32, 1, 1, 1])]);
    let mut first = connect(false);
    first.apply(&wanted(1), &mut Gate::open()).unwrap();
    std::mem::forget(first);
    let error = connect(false).apply(&wanted(2), &mut Gate::open()).unwrap_err();
    assert!(error.to_string().contains("for 100 s more"), "{error}");
    // One who knows better need not wait, and whoever it was taken from cannot give it back.
    let mut from = connect(true);
    from.apply(&wanted(2), &mut Gate::open()).unwrap();
    let mut second = connect(true);
    second.apply(&wanted(3), &mut Gate::open()).unwrap();
    from.read().unwrap();
    drop(from);
    std::mem::forget(second);
    NOW.fetch_add(99, Ordering::Relaxed);
    let error = connect(false).apply(&wanted(4), &mut Gate::open()).unwrap_err();
    assert!(matches!(error, SteeringError::OtherWriter { .. }), "{error}");
    NOW.fetch_add(1, Ordering::Relaxed);
    let mut third = connect(false);
    third.apply(&wanted(4), &mut Gate::open()).unwrap();
    // While it writes it stays the writer; what it writes when its time was taken by another is refused by the server.
    NOW.fetch_add(60, Ordering::Relaxed);
    third.apply(&wanted(5), &mut Gate::open()).unwrap();
    NOW.fetch_add(60, Ordering::Relaxed);
    assert!(connect(false).apply(&wanted(6), &mut Gate::open()).is_err());
}

#[test]
fn the_next_of_a_line_of_writers_need_not_wait_and_others_do() {
    let rig = Memory::new(ALL);
    let connect = |line: &str, epoch| {
        let term = Some(WriterTerm { line: line.to_owned(), epoch });
        FakeExecutor::connect(&rig.server, ALL, ZoneOptions { term, ..options() })
    };
    let wanted = |generation| answers(&rig, generation, &[("video", [generation as u32, 1, 1, 1])]);
    let mut first = connect("a", 9).unwrap();
    first.apply(&wanted(1), &mut Gate::open()).unwrap();
    // It opens its connection anew, and never said that it closed the old one.
    std::mem::forget(first);
    let mut first = connect("a", 9).unwrap();
    first.apply(&wanted(2), &mut Gate::open()).unwrap();
    for (line, epoch) in [("a", 8), ("b", 10), ("a-1", 10), ("", 0)] {
        let Ok(mut other) = connect(line, epoch) else { continue };
        let error = other.apply(&wanted(3), &mut Gate::open()).unwrap_err();
        assert!(matches!(error, SteeringError::OtherWriter { .. }), "{line} {epoch}: {error}");
    }
    let mut second = connect("a", 10).unwrap();
    second.apply(&wanted(3), &mut Gate::open()).unwrap();
    // Whoever was overtaken writes nothing more, though it still believes that it may.
    assert!(first.apply(&wanted(4), &mut Gate::open()).is_err());
    // Not even that it ends: the right to write is no longer its own to give back.
    drop(first);
    let mut other = connect("b", 1).unwrap();
    assert!(matches!(other.apply(&wanted(4), &mut Gate::open()), Err(SteeringError::OtherWriter { .. })));
    second.apply(&wanted(4), &mut Gate::open()).unwrap();
    // Nor does whoever's term ends: a gate stands before each write, and there is none any more.
    drop(second);
    assert!(matches!(other.apply(&wanted(5), &mut Gate::open()), Err(SteeringError::OtherWriter { .. })));
    assert!(connect("a b", 1).is_err());
}

#[test]
fn two_owners_share_a_zone_and_not_a_name() {
    let rig = Memory::new(ALL);
    let mut executor = rig.executor();
    executor.apply(&answers(&rig, 1, &[("video", [1, 1, 1, 1])]), &mut Gate::open()).unwrap();
    let options = ZoneOptions::new(ZONE.parse().unwrap(), "other");
    let mut other = FakeExecutor::connect(&rig.server, ALL, options).unwrap();
    let error = other.apply(&answers(&rig, 1, &[("video", [1, 1, 1, 1])]), &mut Gate::open()).unwrap_err();
    assert!(error.to_string().contains("video.cdn.test, of owner forebay is not ours"), "{error}");
    other.apply(&answers(&rig, 7, &[("live", [1, 1, 1, 1])]), &mut Gate::open()).unwrap();
    executor.remove(&mut Gate::open()).unwrap();
    assert_eq!(other.read().unwrap().names.len(), 1);
    for owner in ["", "a b", "Upper", &"x".repeat(33)] {
        let options = ZoneOptions::new(ZONE.parse().unwrap(), owner);
        assert!(FakeExecutor::connect(&rig.server, ALL, options).err().unwrap().to_string().contains("allowed"));
    }
}

#[test]
fn rails_before_an_executor_let_it_arrive_in_steps() {
    for can in [ALL, BY_ANSWERS] {
        let rig = Memory::new(can);
        let rails = Rails {
            share_moved_most: 0.2,
            answers_least: 2,
            ttl_least_seconds: 30,
            drain: Drain { ttls: 2.0, tail_seconds: 60.0 },
        };
        let mut guarded = Guarded::new(rig.executor(), rails).unwrap();
        guarded.apply(&answers(&rig, 1, &[("video", [1, 1, 0, 0])]), &mut Gate::open()).unwrap();
        let goal = answers(&rig, 2, &[("video", [0, 0, 1, 1])]);
        let mut moved = Vec::new();
        let drained = loop {
            let step = guarded.apply(&goal, &mut Gate::open()).unwrap().step;
            moved.push(step.share_moved);
            if step.share_left == 0.0 {
                break step.drained;
            }
            assert!(step.drained.is_empty());
        };
        assert_eq!(moved, [0.2; 5]);
        assert_eq!(drained.into_values().collect::<Vec<_>>(), [120.0, 120.0]);
        let standing = guarded.executor().read().unwrap();
        let answered = &standing.names[&"video.cdn.test".parse().unwrap()].answered;
        assert_eq!(answered.ttl_seconds, 30);
        assert_eq!(goal.differences(&can, &standing).unwrap().len(), 1, "the time to live alone: {answered}");
        // One command takes the last generation back, whatever steps it took.
        guarded.executor().rollback(&mut Gate::open()).unwrap();
        let standing = guarded.executor().read().unwrap();
        let asked = &standing.names[&"video.cdn.test".parse().unwrap()].asked;
        assert!(asked.addresses().any(|address| address.to_string() == "192.0.2.11"));
    }
    let rig = Memory::new(ALL);
    let drain = Drain { ttls: 1.0, tail_seconds: 0.0 };
    let rails = Rails { share_moved_most: 0.2, answers_least: 1, ttl_least_seconds: 1, drain };
    let wrong = Rails { share_moved_most: 0.0, ..rails };
    assert!(Guarded::new(rig.executor(), wrong).err().unwrap().to_string().contains("allowed"));

    // More addresses than an answer has room for are refused before anything is divided among them.
    let mut crowd = answers(&rig, 9, &[("video", [1, 1, 1, 1])]);
    let pool = crowd.names.values_mut().next().unwrap().pools.values_mut().next().unwrap();
    let member = *pool.values().next().unwrap();
    pool.extend((0..20_000_u32).map(|at| (IpAddr::from((0x0a00_0001 + at).to_be_bytes()), member)));
    let mut guarded = Guarded::new(rig.executor(), rails).unwrap();
    let error = guarded.apply(&crowd, &mut Gate::open()).unwrap_err().to_string();
    assert!(error.contains("20005 addresses") && error.contains("allowed: 1000"), "{error}");
}
