//! Forebay's agenda.

use std::collections::VecDeque;

use forebay_sim::Agenda;
use forebay_world::Duration;

use crate::draws::{Draws, nanos};
use crate::{Hold, Measured, cpu_seconds};

pub fn hold(work: Hold) -> Measured {
    let mut draws = Draws(42);
    let mut agenda = Agenda::new();
    for id in 0..work.pending {
        agenda.schedule_in(Duration::from_nanos(nanos(draws.exponential())), 0, id);
    }
    let mut run = |events: u64| {
        for _ in 0..events {
            let (_, id) = agenda.pop().expect("N events are pending");
            agenda.schedule_in(Duration::from_nanos(nanos(draws.exponential())), 0, id);
        }
    };
    run(work.warmup);
    let begin = cpu_seconds();
    run(work.events);
    Measured { cpu_seconds: cpu_seconds() - begin, check: agenda.now().as_secs_f64() }
}

/// Clones an agenda in the middle of a run; checks that the clone goes on as the original.
pub fn fork(pending: u32) -> Measured {
    let mut draws = Draws(42);
    let mut agenda = Agenda::new();
    for id in 0..pending {
        agenda.schedule_in(Duration::from_nanos(nanos(draws.exponential())), 0, id);
    }
    let run = |agenda: &mut Agenda<u32>, mut draws: Draws, events: u32| {
        for _ in 0..events {
            let (_, id) = agenda.pop().expect("N events are pending");
            agenda.schedule_in(Duration::from_nanos(nanos(draws.exponential())), 0, id);
        }
        agenda.now().as_secs_f64()
    };
    run(&mut agenda, draws.clone(), pending);
    let begin = cpu_seconds();
    let mut fork = agenda.clone();
    let cpu_seconds = cpu_seconds() - begin;
    let check = run(&mut agenda, draws.clone(), pending);
    assert!(run(&mut fork, draws, pending) == check, "a clone goes on as the original");
    Measured { cpu_seconds, check }
}

#[derive(Clone, Copy)]
enum Event {
    Arrival,
    Departure,
}

pub fn mm1(customers: u64) -> Measured {
    let begin = cpu_seconds();
    let mut draws = Draws(7);
    let mut delay = |rate: f64| Duration::from_nanos(nanos(draws.exponential() / rate));
    let mut agenda = Agenda::new();
    let mut waiting = VecDeque::new();
    let (mut arrived, mut served, mut busy, mut waited) = (0, 0, false, Duration::ZERO);
    agenda.schedule_in(delay(0.8), 0, Event::Arrival);
    while served < customers {
        match agenda.pop().expect("someone is to arrive or to leave") {
            (now, Event::Arrival) => {
                arrived += 1;
                if arrived < customers {
                    agenda.schedule_in(delay(0.8), 0, Event::Arrival);
                }
                if busy {
                    waiting.push_back(now);
                } else {
                    busy = true;
                    agenda.schedule_in(delay(1.0), 0, Event::Departure);
                }
            }
            (now, Event::Departure) => {
                served += 1;
                if let Some(since) = waiting.pop_front() {
                    waited += now.since(since);
                    agenda.schedule_in(delay(1.0), 0, Event::Departure);
                } else {
                    busy = false;
                }
            }
        }
    }
    Measured { cpu_seconds: cpu_seconds() - begin, check: waited.as_secs_f64() / customers as f64 }
}
