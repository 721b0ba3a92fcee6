//! The monotone priority queue under the agenda: a radix ladder.

use super::near::Near;

/// Bits of time a level resolves.
const DIGIT: u32 = 8;
/// Buckets of a level.
const FAN: usize = 1 << DIGIT;
/// Levels, so that all 64 bits of time are covered.
const LEVELS: usize = (u64::BITS / DIGIT) as usize;
/// Entries that share a link: the unit in which buckets grow.
const CHUNK: usize = 8;
/// A bucket of at most this many entries is opened, a larger one is split.
const OPEN: usize = 96;
/// With at most this many entries in all buckets together, all are opened.
const FEW: usize = 32;
/// When more than this many entries are near, they are spread over buckets again.
const CROWD: usize = 256;
/// No chunk.
const NONE: u32 = u32::MAX;

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

/// Entries by (time, order), the least first; none is earlier than the last that left.
#[derive(Clone)]
pub(super) struct Queue<P> {
    near: Near<P>,
    /// The last instant that is near: all later entries are in buckets.
    near_end: u64,
    /// Buckets are told apart by the digits in which time differs from this; at most `near_end`.
    base: u64,
    /// The time of the last entry popped: none is earlier.
    floor: u64,
    /// Entries in buckets.
    far: usize,
    /// Bit l: level l has a bucket that is not empty.
    levels: u32,
    /// Per level, the buckets that are not empty.
    full: [[u64; FAN / 64]; LEVELS],
    buckets: Vec<Bucket>,
    chunks: Chunks<P>,
}

/// A list of chunks, of which only the last is not full.
#[derive(Clone, Copy)]
struct Bucket {
    head: u32,
    tail: u32,
    len: u32,
}

const EMPTY: Bucket = Bucket { head: NONE, tail: NONE, len: 0 };

impl<P: Copy> Queue<P> {
    pub(super) fn new() -> Self {
        Queue {
            near: Near::new(),
            near_end: u64::MAX,
            base: 0,
            floor: 0,
            far: 0,
            levels: 0,
            full: [[0; FAN / 64]; LEVELS],
            buckets: vec![EMPTY; LEVELS * FAN],
            chunks: Chunks { entries: Vec::new(), next: Vec::new(), free: NONE },
        }
    }

    pub(super) fn len(&self) -> usize {
        self.near.len() + self.far
    }

    #[cfg(test)]
    pub(super) fn capacity_bytes(&self) -> usize {
        let entries = self.near.capacity() + self.chunks.entries.capacity();
        size_of::<Self>()
            + entries * size_of::<Entry<P>>()
            + self.chunks.next.capacity() * size_of::<u32>()
            + self.buckets.capacity() * size_of::<Bucket>()
    }

    #[inline]
    pub(super) fn push(&mut self, entry: Entry<P>) {
        if entry.time > self.near_end {
            self.push_far(entry);
        } else {
            self.near.push(entry);
            if self.near.len() > CROWD {
                self.spread();
            }
        }
    }

    /// The first entry. Work is left undone when it is later than `limit`: then it may be missing.
    #[inline]
    pub(super) fn first(&mut self, limit: u64) -> Option<&Entry<P>> {
        while self.near.first().is_none() {
            if !self.open(limit) {
                return None;
            }
        }
        self.near.first()
    }

    /// Takes the first entry out, if it is not later than `limit`.
    #[inline]
    pub(super) fn pop(&mut self, limit: u64) -> Option<Entry<P>> {
        if self.first(limit)?.time > limit {
            return None;
        }
        let entry = self.near.pop()?;
        self.floor = entry.time;
        Some(entry)
    }

    /// Takes the first entry out although its time has not come: earlier ones may follow.
    pub(super) fn discard_first(&mut self) {
        if self.first(u64::MAX).is_some() {
            self.near.pop();
        }
    }

    /// Takes all entries out, as [`Queue::discard_first`].
    pub(super) fn clear(&mut self) {
        self.near.reset();
        while let Some((level, digit)) = self.earliest_bucket() {
            let bucket = self.detach(level, digit);
            self.chunks.drain(bucket, |_| {});
        }
        self.far = 0;
        (self.base, self.near_end) = (self.floor, u64::MAX);
    }

    #[inline]
    fn push_far(&mut self, entry: Entry<P>) {
        // Later than `near_end`, which is not before `base`, hence not equal to it.
        let level = ((entry.time ^ self.base).ilog2() / DIGIT) as usize;
        let digit = (entry.time >> (DIGIT * level as u32)) as usize % FAN;
        let bucket = &mut self.buckets[level * FAN + digit];
        if bucket.len == 0 {
            self.levels |= 1 << level;
            self.full[level][digit / 64] |= 1 << (digit % 64);
        }
        self.chunks.append(bucket, entry);
        self.far += 1;
    }

    /// Brings the earliest bucket near, when nothing is; false when there is none that begins by `limit`.
    #[cold]
    #[inline(never)]
    fn open(&mut self, limit: u64) -> bool {
        let Some((level, digit)) = self.earliest_bucket() else { return false };
        let shift = DIGIT * level as u32;
        // The digits above are those of `base`, this one is the bucket's, those below are open.
        let above = !((FAN as u64) << shift).wrapping_sub(1);
        let begin = self.base & above | (digit as u64) << shift;
        if begin > limit {
            return false;
        }
        self.near.reset();
        if self.far <= FEW {
            return self.open_all();
        }
        let bucket = self.detach(level, digit);
        if bucket.len as usize <= OPEN || level == 0 {
            self.far -= bucket.len as usize;
            self.chunks.drain(bucket, |entries| self.near.extend(entries));
            self.near.sort();
            self.base = begin;
            self.near_end = begin | ((1 << shift) - 1);
        } else {
            self.split(bucket, limit);
        }
        true
    }

    /// Spreads a bucket over lower levels. What it has at its earliest instant comes near.
    fn split(&mut self, bucket: Bucket, limit: u64) {
        // Measured from its first entry rather than from its beginning, a bucket splits however narrow its entries lie.
        // A base past `limit` could be later than entries that are yet to come.
        self.base = self.chunks.earliest(bucket).min(limit);
        self.near_end = self.base;
        self.far -= bucket.len as usize;
        let (mut chunk, mut left) = (bucket.head, bucket.len as usize);
        while left > 0 {
            let (entries, next) = self.chunks.take(chunk);
            for &entry in &entries[..left.min(CHUNK)] {
                if entry.time == self.base {
                    self.near.extend(&[entry]);
                } else {
                    self.push_far(entry);
                }
            }
            left = left.saturating_sub(CHUNK);
            chunk = next;
        }
        self.near.sort();
    }

    fn open_all(&mut self) -> bool {
        while let Some((level, digit)) = self.earliest_bucket() {
            let bucket = self.detach(level, digit);
            self.chunks.drain(bucket, |entries| self.near.extend(entries));
        }
        self.far = 0;
        self.near.sort();
        (self.base, self.near_end) = (self.floor, u64::MAX);
        true
    }

    /// Moves what is near, but not due at once, to buckets.
    #[cold]
    #[inline(never)]
    fn spread(&mut self) {
        let base = self.base.max(self.floor);
        if base >= self.near_end {
            return;
        }
        (self.base, self.near_end) = (base, base);
        let mut near = std::mem::replace(&mut self.near, Near::new());
        near.drain_after(base, |entry| self.push_far(entry));
        self.near = near;
    }

    #[inline]
    fn earliest_bucket(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        let word = self.full[level].iter().position(|&word| word != 0).expect("a marked level has a bucket");
        Some((level, word * 64 + self.full[level][word].trailing_zeros() as usize))
    }

    fn detach(&mut self, level: usize, digit: usize) -> Bucket {
        let words = &mut self.full[level];
        words[digit / 64] &= !(1 << (digit % 64));
        if words.iter().all(|&word| word == 0) {
            self.levels &= !(1 << level);
        }
        std::mem::replace(&mut self.buckets[level * FAN + digit], EMPTY)
    }
}

/// The memory of all buckets, in chunks that a bucket takes from a free list and gives back.
#[derive(Clone)]
struct Chunks<P> {
    /// `CHUNK` entries a chunk.
    entries: Vec<Entry<P>>,
    /// Per chunk, the next one of its bucket or of the free list.
    next: Vec<u32>,
    free: u32,
}

impl<P: Copy> Chunks<P> {
    #[inline]
    fn append(&mut self, bucket: &mut Bucket, entry: Entry<P>) {
        let place = bucket.len as usize % CHUNK;
        if place == 0 {
            let chunk = self.allocate(entry);
            if bucket.len == 0 {
                bucket.head = chunk;
            } else {
                self.next[bucket.tail as usize] = chunk;
            }
            bucket.tail = chunk;
        }
        self.entries[bucket.tail as usize * CHUNK + place] = entry;
        bucket.len += 1;
    }

    fn earliest(&self, bucket: Bucket) -> u64 {
        let (mut chunk, mut left, mut earliest) = (bucket.head as usize, bucket.len as usize, u64::MAX);
        while left > 0 {
            for entry in &self.entries[chunk * CHUNK..][..left.min(CHUNK)] {
                earliest = earliest.min(entry.time);
            }
            left = left.saturating_sub(CHUNK);
            chunk = self.next[chunk] as usize;
        }
        earliest
    }

    /// Gives the entries of a detached bucket in slices, and its chunks back.
    fn drain(&mut self, bucket: Bucket, mut take: impl FnMut(&[Entry<P>])) {
        let (mut chunk, mut left) = (bucket.head as usize, bucket.len as usize);
        while left > CHUNK {
            take(&self.entries[chunk * CHUNK..][..CHUNK]);
            left -= CHUNK;
            chunk = self.next[chunk] as usize;
        }
        take(&self.entries[chunk * CHUNK..][..left]);
        self.next[bucket.tail as usize] = self.free;
        self.free = bucket.head;
    }

    /// The entries of one chunk, which is given back, and the chunk after it.
    fn take(&mut self, chunk: u32) -> ([Entry<P>; CHUNK], u32) {
        let entries = self.entries[chunk as usize * CHUNK..][..CHUNK].try_into().expect("a chunk has CHUNK entries");
        let next = std::mem::replace(&mut self.next[chunk as usize], self.free);
        self.free = chunk;
        (entries, next)
    }

    #[inline]
    fn allocate(&mut self, filler: Entry<P>) -> u32 {
        if self.free == NONE {
            self.grow(filler);
        }
        let chunk = self.free;
        self.free = self.next[chunk as usize];
        chunk
    }

    /// Grows by an eighth: doubling would leave half of the memory of a large queue unused.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, filler: Entry<P>) {
        let (old, more) = (self.next.len(), (self.next.len() / 8).max(64));
        assert!(old + more < NONE as usize, "fewer than 2^32 chunks");
        self.entries.reserve_exact(more * CHUNK);
        self.entries.resize((old + more) * CHUNK, filler);
        self.next.reserve_exact(more);
        self.next.extend((old + 1..old + more).map(|chunk| chunk as u32));
        self.next.push(NONE);
        self.free = old as u32;
    }
}
