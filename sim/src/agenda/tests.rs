use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The agenda as it is meant: everything in one ordered map.
#[derive(Clone, Default)]
struct Model {
    now: u64,
    turn: u64,
    queue: BTreeMap<(u64, u8, u64), Meaning>,
    alarms: Vec<Option<ModelAlarm>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    Event(u64),
    Alarm(usize),
}

#[derive(Clone, Copy)]
struct ModelAlarm {
    class: u8,
    event: u64,
    key: Option<(u64, u8, u64)>,
}

impl Model {
    fn key(&mut self, at: u64, class: u8) -> (u64, u8, u64) {
        self.turn += 1;
        (at, class, self.turn)
    }

    fn schedule(&mut self, at: u64, class: u8, event: u64) {
        let key = self.key(at, class);
        self.queue.insert(key, Meaning::Event(event));
    }

    fn set(&mut self, alarm: usize, at: u64) {
        self.cancel(alarm);
        let key = self.key(at, self.alarms[alarm].unwrap().class);
        self.queue.insert(key, Meaning::Alarm(alarm));
        self.alarms[alarm].as_mut().unwrap().key = Some(key);
    }

    fn cancel(&mut self, alarm: usize) {
        if let Some(key) = self.alarms[alarm].as_mut().unwrap().key.take() {
            self.queue.remove(&key);
        }
    }

    fn pop_until(&mut self, limit: u64) -> Option<(u64, u64)> {
        let Some((&key, &meaning)) = self.queue.first_key_value().filter(|(key, _)| key.0 <= limit) else {
            self.now = self.now.max(limit);
            return None;
        };
        self.queue.remove(&key);
        self.now = key.0;
        let event = match meaning {
            Meaning::Event(event) => event,
            Meaning::Alarm(alarm) => {
                let alarm = self.alarms[alarm].as_mut().unwrap();
                alarm.key = None;
                alarm.event
            }
        };
        Some((key.0, event))
    }
}

/// An agenda and its model, which must never differ.
#[derive(Clone)]
struct Pair {
    agenda: Agenda<u64>,
    model: Model,
    alarms: Vec<Option<AlarmId>>,
}

#[derive(Clone, Debug)]
enum Act {
    Schedule { delay: u64, class: u8 },
    Burst { delay: u64, count: u16, spacing: u64 },
    Pop(u16),
    PopUntil(u64),
    Peek,
    Add { class: u8 },
    Set { alarm: usize, delay: u64 },
    Cancel(usize),
    Drop(usize),
    Fork,
}

impl Pair {
    fn new() -> Self {
        Pair { agenda: Agenda::new(), model: Model::default(), alarms: Vec::new() }
    }

    fn act(&mut self, act: &Act) {
        let at = |delay: &u64| self.model.now.saturating_add(*delay);
        match act {
            Act::Schedule { delay, class } => self.schedule(at(delay), *class),
            Act::Burst { delay, count, spacing } => {
                let begin = at(delay);
                for i in 0..u64::from(*count) {
                    self.schedule(begin.saturating_add(i.saturating_mul(*spacing)), 0);
                }
            }
            Act::Pop(count) => (0..*count).for_each(|_| self.pop_until(u64::MAX)),
            Act::PopUntil(delay) => {
                let limit = at(delay);
                while self.model.queue.first_key_value().is_some_and(|(key, _)| key.0 <= limit) {
                    self.pop_until(limit);
                }
                self.pop_until(limit);
            }
            Act::Peek => {
                let first = self.model.queue.first_key_value().map(|(key, _)| Timestamp::from_nanos(key.0));
                assert_eq!(self.agenda.peek_time(), first);
            }
            Act::Add { class } => {
                let event = u64::MAX - self.alarms.len() as u64;
                self.alarms.push(Some(self.agenda.alarm(*class, event)));
                self.model.alarms.push(Some(ModelAlarm { class: *class, event, key: None }));
            }
            Act::Set { alarm, delay } => {
                let at = at(delay);
                if let Some((i, id)) = self.alarm(*alarm) {
                    self.agenda.set(id, Timestamp::from_nanos(at));
                    self.model.set(i, at);
                    assert_eq!(self.agenda.due(id), Some(Timestamp::from_nanos(at)));
                }
            }
            Act::Cancel(alarm) => {
                if let Some((i, id)) = self.alarm(*alarm) {
                    self.agenda.cancel(id);
                    self.model.cancel(i);
                    assert_eq!(self.agenda.due(id), None);
                }
            }
            Act::Drop(alarm) => {
                if let Some((i, id)) = self.alarm(*alarm) {
                    self.agenda.drop_alarm(id);
                    self.model.cancel(i);
                    (self.alarms[i], self.model.alarms[i]) = (None, None);
                }
            }
            Act::Fork => {
                // The original goes its own way; the clone, which goes on here, must not notice.
                let mut fork = self.clone();
                std::mem::swap(self, &mut fork);
                fork.act(&Act::Burst { delay: 3, count: 300, spacing: 7 });
                fork.act(&Act::Pop(200));
            }
        }
        assert_eq!(self.agenda.len(), self.model.queue.len());
        assert_eq!(self.agenda.is_empty(), self.model.queue.is_empty());
        assert_eq!(self.agenda.now().as_nanos(), self.model.now);
    }

    fn schedule(&mut self, at: u64, class: u8) {
        let event = self.model.turn;
        self.agenda.schedule(Timestamp::from_nanos(at), class, event);
        self.model.schedule(at, class, event);
    }

    fn pop_until(&mut self, limit: u64) {
        if limit == u64::MAX && self.model.queue.is_empty() {
            assert_eq!(self.agenda.pop(), None);
            return;
        }
        let got =
            if limit == u64::MAX { self.agenda.pop() } else { self.agenda.pop_until(Timestamp::from_nanos(limit)) };
        assert_eq!(got.map(|(at, event)| (at.as_nanos(), event)), self.model.pop_until(limit));
    }

    fn alarm(&self, nth: usize) -> Option<(usize, AlarmId)> {
        let live: Vec<_> = self.alarms.iter().enumerate().filter_map(|(i, id)| id.map(|id| (i, id))).collect();
        (!live.is_empty()).then(|| live[nth % live.len()])
    }
}

/// Delays of every magnitude, many of them equal.
fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..4u64,
        4 => 0..2000u64,
        4 => 0..3_000_000_000u64,
        2 => (0..60u32, 0..4u64).prop_map(|(power, more)| (1 << power) - 1 + more),
        1 => any::<u64>().prop_map(|delay| delay >> 1),
        1 => Just(u64::MAX),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let class = 0..3u8;
    prop_oneof![
        8 => (delay(), class.clone()).prop_map(|(delay, class)| Act::Schedule { delay, class }),
        2 => (delay(), 0..400u16, delay()).prop_map(|(delay, count, spacing)| Act::Burst { delay, count, spacing }),
        6 => (0..4u16).prop_map(Act::Pop),
        2 => (0..600u16).prop_map(Act::Pop),
        4 => (0..2_000_000_000u64).prop_map(Act::PopUntil),
        1 => (0..4000u64).prop_map(Act::PopUntil),
        1 => Just(Act::Peek),
        3 => class.prop_map(|class| Act::Add { class }),
        12 => (any::<usize>(), delay()).prop_map(|(alarm, delay)| Act::Set { alarm, delay }),
        2 => any::<usize>().prop_map(Act::Cancel),
        1 => any::<usize>().prop_map(Act::Drop),
        1 => Just(Act::Fork),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_agenda_does_what_an_ordered_map_does(acts in prop::collection::vec(act(), 1..120)) {
        let mut pair = Pair::new();
        for act in &acts {
            pair.act(act);
        }
        pair.act(&Act::Pop(u16::MAX));
    }
}

/// SplitMix64 as the work definitions of the queue checks have it: seed 42 starts the state at 42.
struct SplitMix(u64);

impl SplitMix {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }
}

#[test]
fn the_generator_of_the_checks_is_the_agreed_one() {
    let mut draws = SplitMix(42);
    let sum: f64 = (0..5_000_000).map(|_| draws.exponential()).sum();
    assert_eq!(format!("{sum:.6}"), "4999080.216468");
}

/// HOLD: N pending events, each popped event schedules the next one an exponential time later. The path does not
/// depend on the queue: the last time popped is known from five queues in two languages, in floating-point time.
#[test]
fn hold_ends_where_every_queue_ends() {
    for (n, k, end) in
        [(1000, 5_000_000, "5000.099756"), (100_000, 3_000_000, "31.001934"), (1_000_000, 1_000_000, "1.999543")]
    {
        let mut draws = SplitMix(42);
        let mut delay = || Duration::from_secs_f64_saturating(draws.exponential());
        let mut agenda = Agenda::new();
        for id in 0..n {
            agenda.schedule_in(delay(), 0, id);
        }
        for _ in 0..n + k {
            let (_, id) = agenda.pop().unwrap();
            agenda.schedule_in(delay(), 0, id);
        }
        assert_eq!(format!("{:.6}", agenda.now().as_secs_f64()), end, "N = {n}, K = {k}");
        assert_eq!(agenda.len(), n as usize);
    }
}

/// M/M/1 with λ = 0.8 and μ = 1 through the agenda. 3.9537 is the mean wait of this sample path, not of the theory (4).
#[test]
fn a_queue_with_one_server_follows_the_agreed_path() {
    #[derive(Clone, Copy)]
    enum Event {
        Arrival,
        Departure,
    }
    let customers = 2_000_000u32;
    let mut draws = SplitMix(7);
    let mut exponential = |rate: f64| Duration::from_secs_f64_saturating(draws.exponential() / rate);
    let mut agenda = Agenda::new();
    let mut waiting = std::collections::VecDeque::new();
    let (mut arrived, mut served, mut busy, mut waited) = (0, 0, false, Duration::ZERO);
    agenda.schedule_in(exponential(0.8), 0, Event::Arrival);
    while served < customers {
        match agenda.pop().unwrap() {
            (now, Event::Arrival) => {
                arrived += 1;
                if arrived < customers {
                    agenda.schedule_in(exponential(0.8), 0, Event::Arrival);
                }
                if busy {
                    waiting.push_back(now);
                } else {
                    busy = true;
                    agenda.schedule_in(exponential(1.0), 0, Event::Departure);
                }
            }
            (now, Event::Departure) => {
                served += 1;
                match waiting.pop_front() {
                    Some(since) => {
                        waited += now.since(since);
                        agenda.schedule_in(exponential(1.0), 0, Event::Departure);
                    }
                    None => busy = false,
                }
            }
        }
    }
    assert_eq!(format!("{:.4}", waited.as_secs_f64() / f64::from(customers)), "3.9537");
}

/// Delay distributions that break queues which estimate a bucket's width.
const SKEWED: [(&str, fn(&mut SplitMix) -> u64); 9] = [
    ("exponential", |draws| (draws.exponential() * 1e9) as u64),
    ("bimodal", |draws| (draws.exponential() * if draws.uniform() < 0.9 { 1e3 } else { 1e9 }) as u64),
    ("camel", |draws| {
        let hump = if draws.uniform() < 0.5 { 0.25e9 } else { 0.75e9 };
        (if draws.uniform() < 0.001 { draws.uniform() * 1e9 } else { hump + draws.uniform() * 1e4 }) as u64
    }),
    ("all at once", |_| 0),
    ("constant", |_| 1_000_000_000),
    ("two values", |draws| 1 + 1_000_000_000 * (draws.bits() & 1)),
    ("Pareto 0.5", |draws| (draws.uniform().powi(-2) * 1e3) as u64),
    ("far future", |draws| if draws.uniform() < 0.01 { u64::MAX >> 2 } else { (draws.exponential() * 1e3) as u64 }),
    ("every magnitude", |draws| draws.bits() >> (draws.bits() % 50 + 10)),
];

#[test]
fn skewed_delays_come_out_in_order() {
    for (name, delay) in SKEWED {
        for n in [40, 3000] {
            let mut pair = Pair::new();
            let mut draws = SplitMix(42);
            for _ in 0..n {
                let at = pair.model.now + delay(&mut draws);
                pair.schedule(at, 0);
            }
            for _ in 0..30_000 {
                pair.pop_until(u64::MAX);
                let at = pair.model.now.saturating_add(delay(&mut draws));
                pair.schedule(at, (draws.bits() % 3) as u8);
            }
            assert_eq!(pair.agenda.len(), n, "{name}");
            pair.act(&Act::Pop(u16::MAX));
        }
    }
}

#[test]
fn a_clone_goes_on_as_the_original() {
    for (name, delay) in SKEWED {
        let mut draws = SplitMix(1);
        let mut agenda = Agenda::new();
        for id in 0..20_000u64 {
            agenda.schedule_in(Duration::from_nanos(delay(&mut draws)), 0, id);
        }
        let run = |agenda: &mut Agenda<u64>, seed: u64| -> Vec<(Timestamp, u64)> {
            let mut draws = SplitMix(seed);
            let step = |_| {
                let popped = agenda.pop().unwrap();
                agenda.schedule_in(Duration::from_nanos(delay(&mut draws)), 0, popped.1);
                popped
            };
            (0..30_000).map(step).collect()
        };
        run(&mut agenda, 2);
        let mut fork = agenda.clone();
        let went = run(&mut agenda, 3);
        assert_eq!(run(&mut fork, 3), went, "{name}");
    }
}

#[test]
fn what_is_at_the_limit_happens_before_the_limit_is_reached() {
    let at = Timestamp::from_secs;
    let mut agenda = Agenda::new();
    agenda.schedule(at(2), 0, "at the limit");
    agenda.schedule(at(3), 0, "after it");
    assert_eq!(agenda.pop_until(at(1)), None);
    assert_eq!(agenda.now(), at(1));
    assert_eq!(agenda.pop_until(at(2)), Some((at(2), "at the limit")));
    assert_eq!(agenda.pop_until(at(2)), None);
    agenda.schedule(at(2), 0, "at the limit, scheduled there");
    assert_eq!(agenda.peek_time(), Some(at(2)));
    assert_eq!(agenda.pop_until(at(2)), Some((at(2), "at the limit, scheduled there")));
    assert_eq!(agenda.pop_until(Timestamp::MAX), Some((at(3), "after it")));
    assert_eq!((agenda.pop(), agenda.now()), (None, at(3)));
}

#[test]
fn an_instant_goes_by_class_and_then_by_turn() {
    let at = Timestamp::from_secs(1);
    let mut agenda = Agenda::new();
    let alarm = agenda.alarm(1, 4);
    agenda.set(alarm, at);
    agenda.schedule(at, 2, 6);
    agenda.schedule(at, 1, 3);
    agenda.schedule(at, 0, 1);
    agenda.set(alarm, at);
    agenda.schedule(at, 0, 2);
    agenda.schedule(at, 1, 5);
    let order: Vec<_> = std::iter::from_fn(|| agenda.pop()).map(|(_, event)| event).collect();
    assert_eq!(order, [1, 2, 3, 4, 5, 6]);
}

#[test]
#[should_panic(expected = "which has passed")]
fn the_past_is_not_scheduled() {
    let mut agenda = Agenda::new();
    agenda.pop_until(Timestamp::from_secs(2));
    agenda.schedule(Timestamp::from_secs(1), 0, ());
}

#[test]
#[should_panic(expected = "the alarm was dropped")]
fn a_dropped_alarm_is_not_set_even_when_its_slot_lives_again() {
    let mut agenda = Agenda::new();
    let dropped = agenda.alarm(0, ());
    agenda.drop_alarm(dropped);
    agenda.alarm(0, ());
    agenda.set(dropped, Timestamp::from_secs(1));
}

#[test]
fn alarms_moved_to_and_fro_do_not_pile_up() {
    let mut agenda: Agenda<u64> = Agenda::new();
    let alarms: Vec<_> = (0..100).map(|i| agenda.alarm(0, i)).collect();
    for step in 0..20_000u64 {
        for &alarm in &alarms[..10] {
            agenda.set(alarm, Timestamp::from_nanos(1 << 40 | (20_000 - step)));
        }
    }
    assert_eq!(agenda.len(), 10);
    assert!(agenda.alarms.queue.len() <= 2 * alarms.len() + 64);
    assert_eq!(
        std::iter::from_fn(|| agenda.pop()).map(|(_, event)| event).collect::<Vec<_>>(),
        (0..10).collect::<Vec<_>>()
    );
}

/// 24 bytes are the entry's own: time, order and 8 bytes of event.
#[test]
fn a_pending_event_of_8_bytes_takes_at_most_32() {
    for n in [100_000, 1_000_000] {
        let mut draws = SplitMix(42);
        let mut agenda = Agenda::new();
        for id in 0..n {
            agenda.schedule_in(Duration::from_secs_f64_saturating(draws.exponential()), 0, id);
        }
        for _ in 0..n {
            let (_, id) = agenda.pop().unwrap();
            agenda.schedule_in(Duration::from_secs_f64_saturating(draws.exponential()), 0, id);
        }
        let bytes = agenda.events.capacity_bytes();
        assert!(bytes <= 32 * n as usize, "{} bytes an event at N = {n}", bytes as f64 / n as f64);
    }
}
