//! The agenda: what is to happen, in the order of time. It knows instants and classes, and nothing of what the events
//! mean, of random numbers or of wall time.
//!
//! Events are ordered by (time, class, turn): at one instant a lower class goes first, and within a class what was
//! scheduled first. The order is total and integer, so a run is the same on every machine, and a clone of an agenda
//! goes on exactly as the original does.
//!
//! # Structure
//!
//! A radix ladder. Like a ladder queue (W. T. Tang, R. S. M. Goh, I. L.-J. Thng, "Ladder queue: an O(1) priority queue
//! structure for large-scale discrete event simulation", ACM TOMACS 15(3), 2005) it keeps far events in unsorted
//! buckets, splits a bucket only when its turn comes and only if it is crowded, and sorts no more than one small bucket
//! at a time. Buckets are told apart as in a radix heap (R. K. Ahuja, K. Mehlhorn, J. Orlin, R. E. Tarjan, "Faster
//! algorithms for the shortest path problem", J. ACM 37(2), 1990): by the highest of the eight base-256 digits in which
//! an event's time differs from the time the queue has reached. So the width of a bucket is never estimated. A calendar
//! queue (R. Brown, "Calendar queues: a fast O(1) priority queue implementation for the simulation event set problem",
//! CACM 31(10), 1988) guesses one width for all events, and degrades to linear search when delays are skewed; here an
//! event moves down at most once a digit whatever the distribution, in practice once or twice. The moves stream
//! through memory, where a binary heap of a million events waits for a cache miss at every level.
//!
//! An opened bucket becomes a sorted run, and events that fall into it later a small 4-ary heap; with few events
//! pending that is the whole queue. Buckets are lists of small chunks from one pool: no allocation per event, no waste
//! by doubling, and a clone copies a handful of arrays.
//!
//! # Alarms
//!
//! An event that may be cancelled or moved is an [alarm](Agenda::alarm): a slot that owns its event, and at most one
//! valid entry in the queue. Moved to a later instant, the entry stays and is put back when it comes up too early; moved to an
//! earlier one, it is superseded by a new entry and thrown away when it comes up.

mod near;
mod queue;
#[cfg(test)]
mod tests;

use forebay_world::{Duration, Timestamp};

use queue::{Entry, Queue};

/// The class is the highest byte of an entry's order, the turn the rest: a run would take two thousand years of wall
/// time at a million events a second to use up the turns.
const TURN_BITS: u32 = 56;

/// What is to happen, in the order of time.
#[derive(Clone)]
pub struct Agenda<E> {
    now: Timestamp,
    /// How many times something was scheduled.
    turn: u64,
    events: Queue<E>,
    alarms: Alarms<E>,
}

/// An alarm of one agenda, and of its clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmId {
    slot: u32,
    generation: u32,
}

impl<E: Copy> Agenda<E> {
    /// An empty agenda at the epoch.
    pub fn new() -> Self {
        Agenda { now: Timestamp::EPOCH, turn: 0, events: Queue::new(), alarms: Alarms::new() }
    }

    /// The time reached: that of the last event popped, or the limit that [`Agenda::pop_until`] has reached.
    #[inline]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Events scheduled and alarms set.
    pub fn len(&self) -> usize {
        self.events.len() + self.alarms.set
    }

    /// True when nothing is to happen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Schedules `event` for `at`, after what is already scheduled there in the same class.
    ///
    /// # Panics
    /// When `at` has passed.
    #[inline]
    pub fn schedule(&mut self, at: Timestamp, class: u8, event: E) {
        let order = self.order(at, class);
        self.events.push(Entry { time: at.as_nanos(), order, payload: event });
    }

    /// Schedules `event` in `delay`, after what is already scheduled there in the same class.
    #[inline]
    pub fn schedule_in(&mut self, delay: Duration, class: u8, event: E) {
        self.schedule(self.now.saturating_add(delay), class, event);
    }

    /// The next event, at whose time the agenda then is.
    #[inline]
    pub fn pop(&mut self) -> Option<(Timestamp, E)> {
        self.next(u64::MAX)
    }

    /// The next event if it is not later than `limit`, at whose time the agenda then is. If there is none the agenda
    /// has reached `limit`: what happens *at* an instant has happened when the instant is reached.
    #[inline]
    pub fn pop_until(&mut self, limit: Timestamp) -> Option<(Timestamp, E)> {
        let next = self.next(limit.as_nanos());
        if next.is_none() && limit > self.now {
            self.now = limit;
        }
        next
    }

    /// When the next event happens. May put events in order, hence `mut`.
    pub fn peek_time(&mut self) -> Option<Timestamp> {
        let event = self.events.first(u64::MAX).map(|entry| entry.time);
        let alarm = self.alarms.first().map(|(time, _)| time);
        event.into_iter().chain(alarm).min().map(Timestamp::from_nanos)
    }

    /// A new alarm, not set: when it goes off, `event` happens in `class`.
    pub fn alarm(&mut self, class: u8, event: E) -> AlarmId {
        self.alarms.add(class, event)
    }

    /// Sets an alarm to go off once at `at`, and no longer when it was set to before. Its turn within the instant is
    /// as if it were scheduled now.
    ///
    /// # Panics
    /// When `at` has passed or the alarm was dropped.
    #[inline]
    pub fn set(&mut self, alarm: AlarmId, at: Timestamp) {
        let order = self.order(at, self.alarms.slot(alarm).class);
        self.alarms.set(alarm, (at.as_nanos(), order));
    }

    /// Turns an alarm off; it can be set again.
    ///
    /// # Panics
    /// When the alarm was dropped.
    pub fn cancel(&mut self, alarm: AlarmId) {
        self.alarms.cancel(alarm);
    }

    /// When an alarm will go off, if it is set.
    ///
    /// # Panics
    /// When the alarm was dropped.
    pub fn due(&self, alarm: AlarmId) -> Option<Timestamp> {
        self.alarms.slot(alarm).due.map(|(time, _)| Timestamp::from_nanos(time))
    }

    /// Turns an alarm off and forgets it; its memory is used for later alarms.
    ///
    /// # Panics
    /// When the alarm was already dropped.
    pub fn drop_alarm(&mut self, alarm: AlarmId) {
        self.alarms.remove(alarm);
    }

    #[inline]
    fn order(&mut self, at: Timestamp, class: u8) -> u64 {
        assert!(at >= self.now, "scheduled for {at}, which has passed: it is {}", self.now);
        self.turn += 1;
        u64::from(class) << TURN_BITS | self.turn
    }

    #[inline]
    fn next(&mut self, limit: u64) -> Option<(Timestamp, E)> {
        let entry = if self.alarms.queue.len() == 0 {
            self.events.pop(limit)?
        } else {
            match self.alarms.first() {
                Some(alarm)
                    if alarm.0 <= limit && self.events.first(alarm.0).is_none_or(|e| alarm < (e.time, e.order)) =>
                {
                    return Some(self.go_off());
                }
                _ => self.events.pop(limit)?,
            }
        };
        self.now = Timestamp::from_nanos(entry.time);
        Some((self.now, entry.payload))
    }

    fn go_off(&mut self) -> (Timestamp, E) {
        let (time, event) = self.alarms.take_first();
        self.now = Timestamp::from_nanos(time);
        (self.now, event)
    }
}

impl<E: Copy> Default for Agenda<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// (time, order).
type Key = (u64, u64);

#[derive(Clone)]
struct Alarms<E> {
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    /// Slots that are set.
    set: usize,
    /// By slot. An entry is valid while its slot says so in `queued`.
    queue: Queue<u32>,
    /// The first entry of the queue, when it is known to be due.
    first: Option<Key>,
}

#[derive(Clone, Copy)]
struct Slot<E> {
    event: E,
    class: u8,
    generation: u32,
    due: Option<Key>,
    /// The slot's valid entry in the queue, never later than `due`.
    queued: Option<Key>,
}

impl<E: Copy> Alarms<E> {
    fn new() -> Self {
        Alarms { slots: Vec::new(), free: Vec::new(), set: 0, queue: Queue::new(), first: None }
    }

    fn add(&mut self, class: u8, event: E) -> AlarmId {
        if let Some(slot) = self.free.pop() {
            let generation = self.slots[slot as usize].generation;
            self.slots[slot as usize] = Slot { event, class, generation, due: None, queued: None };
            return AlarmId { slot, generation };
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 alarms");
        self.slots.push(Slot { event, class, generation: 0, due: None, queued: None });
        AlarmId { slot, generation: 0 }
    }

    #[inline]
    fn slot(&self, alarm: AlarmId) -> &Slot<E> {
        let slot = &self.slots[alarm.slot as usize];
        assert!(slot.generation == alarm.generation, "the alarm was dropped");
        slot
    }

    #[inline]
    fn slot_mut(&mut self, alarm: AlarmId) -> &mut Slot<E> {
        let slot = &mut self.slots[alarm.slot as usize];
        assert!(slot.generation == alarm.generation, "the alarm was dropped");
        slot
    }

    fn set(&mut self, alarm: AlarmId, due: Key) {
        let slot = self.slot_mut(alarm);
        let before = slot.due.replace(due);
        let queued = slot.queued;
        if before.is_none() {
            self.set += 1;
        }
        match queued {
            Some(queued) if queued < due => {
                if self.first == Some(queued) {
                    self.first = None;
                }
            }
            _ => self.enqueue(alarm.slot, due),
        }
    }

    fn cancel(&mut self, alarm: AlarmId) {
        let slot = self.slot_mut(alarm);
        let queued = slot.queued;
        if slot.due.take().is_some() {
            self.set -= 1;
        }
        if self.first == queued {
            self.first = None;
        }
    }

    fn remove(&mut self, alarm: AlarmId) {
        self.cancel(alarm);
        let slot = self.slot_mut(alarm);
        slot.queued = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(alarm.slot);
    }

    /// The key of the alarm that goes off next. It is then the first entry of the queue.
    #[inline]
    fn first(&mut self) -> Option<Key> {
        if self.first.is_none() {
            self.first = self.find_first();
        }
        self.first
    }

    /// Turns off the alarm that [`Alarms::first`] has found.
    fn take_first(&mut self) -> (u64, E) {
        let entry = self.queue.pop(u64::MAX).expect("an alarm was found");
        let slot = &mut self.slots[entry.payload as usize];
        (slot.due, slot.queued) = (None, None);
        self.set -= 1;
        self.first = None;
        (entry.time, slot.event)
    }

    fn find_first(&mut self) -> Option<Key> {
        loop {
            let &Entry { time, order, payload } = self.queue.first(u64::MAX)?;
            let slot = &mut self.slots[payload as usize];
            if slot.queued != Some((time, order)) {
                self.queue.discard_first();
            } else if slot.due == slot.queued {
                return slot.due;
            } else {
                slot.queued = None;
                let due = slot.due;
                self.queue.discard_first();
                if let Some(due) = due {
                    self.enqueue(payload, due);
                }
            }
        }
    }

    fn enqueue(&mut self, slot: u32, due: Key) {
        self.slots[slot as usize].queued = Some(due);
        self.queue.push(Entry { time: due.0, order: due.1, payload: slot });
        if self.first.is_some_and(|first| due < first) {
            self.first = Some(due);
        }
        if self.queue.len() > 2 * self.slots.len() + 64 {
            self.sweep();
        }
    }

    /// Throws away the superseded entries, so that alarms that are moved to and fro do not pile them up.
    #[cold]
    fn sweep(&mut self) {
        self.queue.clear();
        for (i, slot) in self.slots.iter_mut().enumerate() {
            slot.queued = slot.due;
            if let Some((time, order)) = slot.due {
                self.queue.push(Entry { time, order, payload: i as u32 });
            }
        }
        self.first = None;
    }
}
