//! The standard library's binary heap as an event list: time in f64 bits, ties by identity, 16 bytes an event.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::draws::Draws;
use crate::{Hold, Measured, cpu_seconds};

pub fn hold(work: Hold) -> Measured {
    let mut draws = Draws(42);
    let mut heap = BinaryHeap::new();
    for id in 0..work.pending {
        heap.push(Reverse((draws.exponential().to_bits(), id)));
    }
    let mut last = 0.0;
    let mut run = |events: u64| {
        for _ in 0..events {
            let Reverse((bits, id)) = heap.pop().expect("N events are pending");
            last = f64::from_bits(bits);
            heap.push(Reverse(((last + draws.exponential()).to_bits(), id)));
        }
    };
    run(work.warmup);
    let begin = cpu_seconds();
    run(work.events);
    Measured { cpu_seconds: cpu_seconds() - begin, check: last }
}

pub fn mm1(customers: u64) -> Measured {
    const ARRIVAL: u32 = 0;
    const DEPARTURE: u32 = 1;
    let begin = cpu_seconds();
    let mut draws = Draws(7);
    let mut heap = BinaryHeap::new();
    let mut waiting = VecDeque::new();
    let (mut arrived, mut served, mut busy, mut waited) = (0, 0, false, 0.0);
    heap.push(Reverse(((draws.exponential() / 0.8).to_bits(), ARRIVAL)));
    while served < customers {
        let Reverse((bits, event)) = heap.pop().expect("someone is to arrive or to leave");
        let now = f64::from_bits(bits);
        if event == ARRIVAL {
            arrived += 1;
            if arrived < customers {
                heap.push(Reverse(((now + draws.exponential() / 0.8).to_bits(), ARRIVAL)));
            }
            if busy {
                waiting.push_back(now);
            } else {
                busy = true;
                heap.push(Reverse(((now + draws.exponential()).to_bits(), DEPARTURE)));
            }
        } else {
            served += 1;
            if let Some(since) = waiting.pop_front() {
                waited += now - since;
                heap.push(Reverse(((now + draws.exponential()).to_bits(), DEPARTURE)));
            } else {
                busy = false;
            }
        }
    }
    Measured { cpu_seconds: cpu_seconds() - begin, check: waited / customers as f64 }
}
