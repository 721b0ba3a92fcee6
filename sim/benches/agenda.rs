//! The agenda beside the standard library's binary heap: HOLD, M/M/1, alarms and forks.
//!
//! HOLD(N): N events are pending; each, when it comes up, schedules the next one an exponential time (mean 1 s) later.
//! The heap orders the same key (time, order) and carries the same event. `cargo bench -p forebay-sim --bench agenda`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forebay_sim::{Agenda, Stream};
use forebay_world::{Duration, Timestamp};

/// An exponential delay with this mean [ns].
fn delay(stream: &mut Stream, mean_nanos: f64) -> Duration {
    Duration::from_nanos((stream.exponential() * mean_nanos + 0.5) as i64 as u64)
}

/// The future event list as it is commonly written.
#[derive(Clone, Default)]
struct Heap {
    now: u64,
    turn: u64,
    heap: BinaryHeap<Reverse<(u64, u64, u64)>>,
}

impl Heap {
    fn schedule_in(&mut self, delay: Duration, event: u64) {
        self.turn += 1;
        self.heap.push(Reverse((self.now + delay.as_nanos(), self.turn, event)));
    }

    fn pop(&mut self) -> Option<(u64, u64)> {
        let Reverse((now, _, event)) = self.heap.pop()?;
        self.now = now;
        Some((now, event))
    }
}

fn agenda_of(pending: u64, stream: &mut Stream) -> Agenda<u64> {
    let mut agenda = Agenda::new();
    for id in 0..pending {
        agenda.schedule_in(delay(stream, 1e9), 0, id);
    }
    for _ in 0..pending {
        hold(&mut agenda, stream);
    }
    agenda
}

fn hold(agenda: &mut Agenda<u64>, stream: &mut Stream) {
    let (_, id) = agenda.pop().expect("events are pending");
    agenda.schedule_in(delay(stream, 1e9), 0, id);
}

fn heap_of(pending: u64, stream: &mut Stream) -> Heap {
    let mut heap = Heap::default();
    for id in 0..pending {
        heap.schedule_in(delay(stream, 1e9), id);
    }
    for _ in 0..pending {
        hold_heap(&mut heap, stream);
    }
    heap
}

fn hold_heap(heap: &mut Heap, stream: &mut Stream) {
    let (_, id) = heap.pop().expect("events are pending");
    heap.schedule_in(delay(stream, 1e9), id);
}

fn bench_hold(c: &mut Criterion) {
    let mut group = c.benchmark_group("hold");
    group.throughput(Throughput::Elements(1));
    for pending in [1000, 100_000, 1_000_000] {
        let mut stream = Stream::new(42, "hold", 0);
        let mut agenda = agenda_of(pending, &mut stream);
        group.bench_function(BenchmarkId::new("agenda", pending), |b| b.iter(|| hold(&mut agenda, &mut stream)));
        let mut stream = Stream::new(42, "hold", 0);
        let mut heap = heap_of(pending, &mut stream);
        group
            .bench_function(BenchmarkId::new("binary-heap", pending), |b| b.iter(|| hold_heap(&mut heap, &mut stream)));
    }
    group.finish();
}

/// Alarms that go off and are set again; between, each time, another one is moved.
fn bench_alarms(c: &mut Criterion) {
    let mut group = c.benchmark_group("alarms");
    group.throughput(Throughput::Elements(1));
    for count in [1000u64, 100_000] {
        let mut stream = Stream::new(42, "alarms", 0);
        let mut agenda = Agenda::new();
        let alarms: Vec<_> = (0..count).map(|id| agenda.alarm(0, id)).collect();
        for &alarm in &alarms {
            agenda.set(alarm, Timestamp::EPOCH + delay(&mut stream, 1e9));
        }
        group.bench_function(BenchmarkId::new("go off, set and move", count), |b| {
            b.iter(|| {
                let (now, id) = agenda.pop().expect("alarms are set");
                agenda.set(alarms[id as usize], now + delay(&mut stream, 1e9));
                agenda.set(alarms[stream.below(count) as usize], now + delay(&mut stream, 1e9));
            });
        });
    }
    group.finish();
}

#[derive(Clone, Copy)]
enum Event {
    Arrival,
    Departure,
}

/// Mean wait \[s\] of the first customers of an M/M/1 queue with λ = 0.8 and μ = 1.
fn mean_wait(customers: u64) -> f64 {
    let mut stream = Stream::new(7, "m/m/1", 0);
    let mut agenda = Agenda::new();
    let mut waiting = VecDeque::new();
    let (mut served, mut busy, mut waited) = (0, false, Duration::ZERO);
    agenda.schedule_in(delay(&mut stream, 1.25e9), 0, Event::Arrival);
    while served < customers {
        match agenda.pop().expect("arrivals do not end") {
            (now, Event::Arrival) => {
                agenda.schedule_in(delay(&mut stream, 1.25e9), 0, Event::Arrival);
                if busy {
                    waiting.push_back(now);
                } else {
                    busy = true;
                    agenda.schedule_in(delay(&mut stream, 1e9), 0, Event::Departure);
                }
            }
            (now, Event::Departure) => {
                served += 1;
                if let Some(since) = waiting.pop_front() {
                    waited += now.since(since);
                    agenda.schedule_in(delay(&mut stream, 1e9), 0, Event::Departure);
                } else {
                    busy = false;
                }
            }
        }
    }
    waited.as_secs_f64() / customers as f64
}

fn bench_mm1(c: &mut Criterion) {
    let mut group = c.benchmark_group("m/m/1");
    let customers = 100_000;
    group.throughput(Throughput::Elements(customers));
    group.bench_function("agenda", |b| b.iter(|| mean_wait(black_box(customers))));
    group.finish();
}

fn bench_fork(c: &mut Criterion) {
    let mut group = c.benchmark_group("fork");
    group.sample_size(20);
    let agenda = agenda_of(1_000_000, &mut Stream::new(42, "fork", 0));
    group.bench_function("1000000", |b| b.iter_batched(|| (), |()| agenda.clone(), BatchSize::PerIteration));
    group.finish();
}

criterion_group!(benches, bench_hold, bench_alarms, bench_mm1, bench_fork);
criterion_main!(benches);
