//! Processor sharing.

use forebay_sim::processor::Processor;
use forebay_sim::statistics::{Occupancy, Tally};
use forebay_sim::{Agenda, Stream, queueing};
use forebay_world::Timestamp;

use super::line::seconds;
use super::{Law, assert_inside, assert_outside, replicate};

const WARM_UP: usize = 2_000;
const JOBS: usize = 42_000;
const COOL_DOWN: usize = 2_000;

/// Works below, between and above which the slowdown is measured on its own \[s\].
const SHORT: f64 = 0.5;
const LONG: f64 = 2.0;

#[derive(Clone, Copy)]
enum Event {
    Arrival,
    Completion,
}

/// Mean number present, mean slowdown (sojourn / work) of short, middling and long work; `None` where the law has
/// no such work. Deterministic work is middling.
fn share_cores(cores: f64, rate: f64, law: Law, seed: u64) -> (f64, [Option<f64>; 3]) {
    let (mut between, mut works) = (Stream::new(seed, "between", 0), Stream::new(seed, "work", 0));
    let mut agenda = Agenda::new();
    let completion = agenda.alarm(0, Event::Completion);
    agenda.schedule(Timestamp::EPOCH + seconds(between.exponential() / rate), 1, Event::Arrival);
    let mut cpu = Processor::new(cores);
    let mut present = Occupancy::new(Timestamp::EPOCH, 0);
    let mut work: Vec<f64> = Vec::with_capacity(JOBS);
    let mut slowdown = [Tally::new(); 3];
    let mut sojourns = 0u128;
    let (mut area, mut since) = (0, Timestamp::EPOCH);
    let mut mean_number = 0.0;
    while let Some((now, event)) = agenda.pop() {
        match event {
            Event::Arrival => {
                if work.len() == WARM_UP {
                    (area, since) = (present.entity_nanos(now), now);
                }
                if work.len() == JOBS - COOL_DOWN {
                    mean_number = (present.entity_nanos(now) - area) as f64 / now.since(since).as_nanos() as f64;
                }
                work.push(law.draw(&mut works));
                cpu.arrive(now, work[work.len() - 1], work.len() as u64 - 1);
                present.enter(now);
                if work.len() < JOBS {
                    agenda.schedule(now + seconds(between.exponential() / rate), 1, Event::Arrival);
                }
            }
            Event::Completion => {
                let (tag, arrived) = cpu.complete(now).unwrap();
                present.leave(now);
                let (tag, sojourn) = (tag as usize, now.since(arrived));
                sojourns += u128::from(sojourn.as_nanos());
                if (WARM_UP..JOBS - COOL_DOWN).contains(&tag) {
                    let kind = usize::from(work[tag] >= SHORT) + usize::from(work[tag] >= LONG);
                    slowdown[kind].add(sojourn.as_secs_f64() / work[tag]);
                }
            }
        }
        match cpu.next_completion() {
            Some(at) => agenda.set(completion, at),
            None => agenda.cancel(completion),
        }
    }
    let end = agenda.now();
    assert_eq!(present.entity_nanos(end), sojourns, "Little's law");
    // Work is conserved: each of the completions is rounded by at most a nanosecond.
    let done = cpu.busy_core_seconds(end) - work.iter().sum::<f64>();
    assert!(done.abs() <= JOBS as f64 * 1e-9 * cores.max(1.0), "{done} s more work done than came");
    (mean_number, slowdown.map(|tally| tally.mean()))
}

#[test]
fn on_one_core_the_slowdown_depends_on_the_load_alone() {
    for law in Law::ALL {
        let [number, short, middling, long] = replicate(&format!("PS {law:?}"), |seed| {
            let (number, [short, middling, long]) = share_cores(1.0, 0.7, law, seed);
            let or_middling = |kind: Option<f64>| kind.or(middling).unwrap();
            [number, or_middling(short), or_middling(middling), or_middling(long)]
        });
        let truth = queueing::processor_sharing_slowdown(1, 0.7);
        assert!((truth - 1.0 / (1.0 - 0.7)).abs() < 1e-12);
        assert_inside(&format!("mean number, {law:?}"), number, queueing::mmc_mean_number(1, 0.7));
        for (kind, slowdown) in [("short", short), ("middling", middling), ("long", long)] {
            assert_inside(&format!("slowdown of {kind} work, {law:?}"), slowdown, truth);
            assert_outside("5 % less load", slowdown, queueing::processor_sharing_slowdown(1, 0.665));
        }
        if law != Law::Exponential {
            let first_come = 0.7 * (1.0 + queueing::mg1_mean_wait(0.7, 1.0, law.square()));
            assert_outside("first come first served", number, first_come);
        }
    }
}

#[test]
fn on_several_cores_the_number_present_is_that_of_as_many_servers() {
    for law in Law::ALL {
        let [number, short, middling, long] = replicate(&format!("PS-c {law:?}"), |seed| {
            let (number, [short, middling, long]) = share_cores(4.0, 3.2, law, seed);
            let or_middling = |kind: Option<f64>| kind.or(middling).unwrap();
            [number, or_middling(short), or_middling(middling), or_middling(long)]
        });
        let truth = queueing::processor_sharing_slowdown(4, 3.2);
        assert_inside(&format!("mean number, {law:?}"), number, queueing::mmc_mean_number(4, 3.2));
        for slowdown in [short, middling, long] {
            assert_inside(&format!("slowdown, {law:?}"), slowdown, truth);
            assert_outside("one core four times as fast", slowdown, queueing::processor_sharing_slowdown(1, 0.8) / 4.0);
        }
    }
}

/// Half a core at half the rate is one core in slow motion.
#[test]
fn a_fraction_of_a_core_is_a_slower_core() {
    let [number, ratio] = replicate("PS half", |seed| {
        let (number, [_, middling, _]) = share_cores(0.5, 0.35, Law::Exponential, seed);
        [number, middling.unwrap()]
    });
    assert_inside("mean number", number, queueing::mmc_mean_number(1, 0.7));
    assert_inside("slowdown", ratio, 2.0 * queueing::processor_sharing_slowdown(1, 0.7));
    assert_outside("a whole core", number, queueing::mmc_mean_number(1, 0.35));
}
