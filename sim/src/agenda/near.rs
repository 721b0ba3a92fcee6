//! What comes next: the few earliest entries of the queue, in order.
//!
//! Two parts. The *run* is a sorted array read from its head; most entries come by way of an opened bucket, are sorted
//! once and leave with one addition. An entry that arrives late goes into the run when its place is at the end (events
//! at one instant, in turn) or among the first few (a short delay); all others go to a 4-ary heap, whose four children
//! lie in two cache lines.

use super::queue::Entry;

/// How far from the head of the run an entry may be inserted: further in, moving the entries costs more than the heap.
const REACH: usize = 16;

/// The earliest entries.
#[derive(Clone)]
pub(super) struct Near<P> {
    /// Ascending from `head`; before it lie entries that have left.
    run: Vec<Entry<P>>,
    head: usize,
    /// Every entry is later than its parent at (i − 1) / 4.
    heap: Vec<Entry<P>>,
}

impl<P: Copy> Near<P> {
    pub(super) fn new() -> Self {
        Near { run: Vec::new(), head: 0, heap: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.run.len() - self.head + self.heap.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.run.capacity() + self.heap.capacity()
    }

    #[inline]
    pub(super) fn push(&mut self, entry: Entry<P>) {
        let key = entry.key();
        match self.run.last() {
            Some(last) if key < last.key() && self.head < self.run.len() => self.insert(entry),
            _ => self.push_last(entry),
        }
    }

    #[inline]
    pub(super) fn first(&self) -> Option<&Entry<P>> {
        match (self.run.get(self.head), self.heap.first()) {
            (Some(run), Some(heap)) => Some(if run.key() < heap.key() { run } else { heap }),
            (run, None) => run,
            (None, heap) => heap,
        }
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry<P>> {
        match (self.run.get(self.head), self.heap.first()) {
            (Some(run), Some(heap)) if heap.key() < run.key() => Some(self.pop_heap()),
            (Some(&run), _) => {
                self.head += 1;
                Some(run)
            }
            (None, Some(_)) => Some(self.pop_heap()),
            (None, None) => None,
        }
    }

    /// Adds entries in any order; [`Near::sort`] must follow.
    #[inline]
    pub(super) fn extend(&mut self, entries: &[Entry<P>]) {
        self.run.extend_from_slice(entries);
    }

    /// Puts what was added with [`Near::extend`] in order. There must have been nothing before it.
    pub(super) fn sort(&mut self) {
        debug_assert!(self.head == 0 && self.heap.is_empty());
        self.run.sort_unstable_by_key(Entry::key);
    }

    /// Forgets all entries.
    pub(super) fn reset(&mut self) {
        self.run.clear();
        self.heap.clear();
        self.head = 0;
    }

    /// Takes out the entries later than `time`, in no particular order.
    pub(super) fn drain_after(&mut self, time: u64, mut take: impl FnMut(Entry<P>)) {
        let kept = self.head + self.run[self.head..].partition_point(|entry| entry.time <= time);
        self.run.drain(kept..).for_each(&mut take);
        let mut heap = std::mem::take(&mut self.heap);
        let mut kept = 0;
        for i in 0..heap.len() {
            let entry = heap[i];
            if entry.time <= time {
                heap[kept] = entry;
                kept += 1;
            } else {
                take(entry);
            }
        }
        heap.truncate(kept);
        // A sorted array is a heap.
        heap.sort_unstable_by_key(Entry::key);
        self.heap = heap;
    }

    fn push_last(&mut self, entry: Entry<P>) {
        if self.run.len() == self.run.capacity() && self.head > self.run.len() / 2 {
            self.run.drain(..self.head);
            self.head = 0;
        }
        self.run.push(entry);
    }

    fn insert(&mut self, entry: Entry<P>) {
        let key = entry.key();
        let end = self.run.len().min(self.head + REACH);
        let Some(ahead) = self.run[self.head..end].iter().position(|other| key < other.key()) else {
            return self.push_heap(entry);
        };
        if self.head > 0 {
            self.run.copy_within(self.head..self.head + ahead, self.head - 1);
            self.head -= 1;
            self.run[self.head + ahead] = entry;
        } else {
            self.run.insert(ahead, entry);
        }
    }

    fn push_heap(&mut self, entry: Entry<P>) {
        let mut hole = self.heap.len();
        self.heap.push(entry);
        let heap = &mut self.heap[..];
        while hole > 0 {
            let parent = (hole - 1) / 4;
            if heap[parent].key() < entry.key() {
                break;
            }
            heap[hole] = heap[parent];
            hole = parent;
        }
        heap[hole] = entry;
    }

    fn pop_heap(&mut self) -> Entry<P> {
        let first = self.heap[0];
        let entry = self.heap.pop().expect("a heap with a first entry has a last");
        let heap = &mut self.heap[..];
        if heap.is_empty() {
            return first;
        }
        let mut hole = 0;
        loop {
            let child = 4 * hole + 1;
            let Some(children) = heap.get(child..heap.len().min(child + 4)).filter(|c| !c.is_empty()) else { break };
            let (mut least, mut key) = (0, children[0].key());
            for (i, other) in children.iter().enumerate().skip(1) {
                if other.key() < key {
                    (least, key) = (i, other.key());
                }
            }
            if entry.key() < key {
                break;
            }
            heap[hole] = heap[child + least];
            hole = child + least;
        }
        heap[hole] = entry;
        first
    }
}
