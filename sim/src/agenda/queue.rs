//! The monotone priority queue under the agenda: what is near, in order, and what is far, in buckets.

use super::far::Far;
use super::near::Near;

/// With at most this many entries far, all are brought near.
const FEW: usize = 8;

/// What is queued: when, in what order within the instant, and what.
#[derive(Clone, Copy)]
pub(super) struct Entry<P> {
    pub(super) time: u64,
    /// Unique, so that no two entries are equal.
    pub(super) order: u64,
    pub(super) payload: P,
}

impl<P> Entry<P> {
    #[inline]
    pub(super) fn key(&self) -> u128 {
        u128::from(self.time) << 64 | u128::from(self.order)
    }
}

/// Entries by (time, order), the least first. None may be earlier than the last one popped.
#[derive(Clone)]
pub(super) struct Queue<P> {
    /// Every entry up to `near_end`, and no later one.
    near: Near<P>,
    near_end: u64,
    far: Far<P>,
    /// The time of the last entry popped.
    floor: u64,
}

impl<P: Copy> Queue<P> {
    pub(super) fn new() -> Self {
        Queue { near: Near::new(), near_end: u64::MAX, far: Far::new(), floor: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.near.len() + self.far.len()
    }

    #[cfg(test)]
    pub(super) fn capacity_bytes(&self) -> usize {
        size_of::<Self>() + self.near.capacity_bytes() + self.far.capacity_bytes()
    }

    #[inline(always)]
    pub(super) fn push(&mut self, entry: Entry<P>) {
        if entry.time > self.near_end {
            self.far.push(entry);
        } else if self.near.push(entry) {
            self.spread();
        }
    }

    /// The first entry, if it is not later than `limit`; it may give a later one.
    #[inline]
    pub(super) fn first(&mut self, limit: u64) -> Option<&Entry<P>> {
        while self.near.is_empty() {
            if !self.refill(limit) {
                return None;
            }
        }
        self.near.first()
    }

    /// Takes the first entry out, if it is not later than `limit`: its time and payload.
    #[inline(always)]
    pub(super) fn pop(&mut self, limit: u64) -> Option<(u64, P)> {
        loop {
            if let Some((time, payload)) = self.near.pop(limit) {
                self.floor = time;
                return Some((time, payload));
            }
            if !self.near.is_empty() || !self.refill(limit) {
                return None;
            }
        }
    }

    /// Takes the first entry out although its time has not come: earlier ones may follow.
    pub(super) fn discard_first(&mut self) {
        if self.first(u64::MAX).is_some() {
            self.near.pop(u64::MAX);
        }
    }

    /// Takes all entries out although their time has not come.
    pub(super) fn clear(&mut self) {
        self.near.clear();
        self.far.drain(|_| {});
        self.near_end = u64::MAX;
    }

    /// When nothing is near, brings the earliest far entries nearer; false when none can be as early as `limit`.
    #[cold]
    #[inline(never)]
    fn refill(&mut self, limit: u64) -> bool {
        if self.far.begin().is_none_or(|begin| begin > limit) {
            return false;
        }
        self.near.clear();
        if self.far.len() <= FEW {
            self.far.drain(|entries| self.near.extend(entries));
            self.near_end = u64::MAX;
        } else {
            self.near_end = self.far.advance(limit, |entries| self.near.extend(entries));
        }
        self.near.sort();
        true
    }

    /// When too much is near, sends away what is not due at once.
    #[cold]
    #[inline(never)]
    fn spread(&mut self) {
        if self.far.len() == 0 {
            self.far.restart(self.floor);
        }
        let end = self.far.base().max(self.floor);
        if end < self.near_end {
            self.far.raise(end);
            self.near.drain_after(end, |entry| self.far.push(entry));
            self.near_end = end;
        }
    }
}
