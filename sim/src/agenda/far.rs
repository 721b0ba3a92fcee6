//! What comes later: entries in unsorted buckets, told apart by the digits of time.

use super::queue::Entry;

/// Bits of time a level resolves.
const DIGIT: u32 = 8;
/// Buckets of a level.
const FAN: usize = 1 << DIGIT;
/// Levels, so that all 64 bits of time are covered.
const LEVELS: usize = (u64::BITS / DIGIT) as usize;
/// A bucket of at most this many entries is handed over whole, a larger one is split.
const CROWD: usize = 192;
/// Entries of a chunk, the unit in which buckets grow.
const CHUNK: usize = 16;
/// No chunk.
const NONE: u32 = u32::MAX;

/// Entries later than a base. The one at time t is in the bucket (level l, digit d) when the digit of t that differs
/// from the base's and weighs most is digit l, and is d. So lower levels are earlier, and within a level lower digits.
#[derive(Clone)]
pub(super) struct Far<P> {
    base: u64,
    len: usize,
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

impl<P: Copy> Far<P> {
    pub(super) fn new() -> Self {
        Far {
            base: 0,
            len: 0,
            levels: 0,
            full: [[0; FAN / 64]; LEVELS],
            buckets: vec![EMPTY; LEVELS * FAN],
            chunks: Chunks { entries: Vec::new(), next: Vec::new(), free: NONE },
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(super) fn capacity_bytes(&self) -> usize {
        self.chunks.entries.capacity() * size_of::<Entry<P>>()
            + self.chunks.next.capacity() * size_of::<u32>()
            + self.buckets.capacity() * size_of::<Bucket>()
    }

    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Starts from any base. There must be no entries.
    pub(super) fn restart(&mut self, base: u64) {
        debug_assert!(self.len == 0);
        self.base = base;
    }

    /// Raises the base up to the time that [`Far::advance`] gave last.
    pub(super) fn raise(&mut self, base: u64) {
        debug_assert!(base >= self.base && self.begin().is_none_or(|begin| base < begin));
        self.base = base;
    }

    /// Adds an entry, later than the base.
    #[inline(never)]
    pub(super) fn push(&mut self, entry: Entry<P>) {
        let level = ((entry.time ^ self.base).ilog2() / DIGIT) as usize;
        let digit = (entry.time >> (DIGIT * level as u32)) as usize % FAN;
        let bucket = &mut self.buckets[level * FAN + digit];
        if bucket.len == 0 {
            self.levels |= 1 << level;
            self.full[level][digit / 64] |= 1 << (digit % 64);
        }
        self.chunks.append(bucket, entry);
        self.len += 1;
    }

    /// A time that no entry is earlier than, near the first one; `None` when there are no entries.
    #[inline]
    pub(super) fn begin(&self) -> Option<u64> {
        self.earliest().map(|(level, digit)| self.begin_of(level, digit))
    }

    /// Gives all entries up to some time, which it returns, and moves the base there or before. There may be none to
    /// give yet, but there are when this is repeated. The base stays at or before `limit`, which must not be before
    /// [`Far::begin`].
    pub(super) fn advance(&mut self, limit: u64, mut give: impl FnMut(&[Entry<P>])) -> u64 {
        let (level, digit) = self.earliest().expect("there are entries");
        let begin = self.begin_of(level, digit);
        let bucket = self.detach(level, digit);
        self.len -= bucket.len as usize;
        if bucket.len as usize <= CROWD || level == 0 {
            self.base = begin;
            self.chunks.drain(bucket, give);
            return begin | ((1 << (DIGIT * level as u32)) - 1);
        }
        // From its first entry rather than from its beginning: then a bucket splits however narrow its entries lie.
        // Past `limit` the base could be later than entries yet to come.
        self.base = self.chunks.earliest(bucket).min(limit);
        let (mut chunk, mut left) = (bucket.head, bucket.len as usize);
        while left > 0 {
            let (entries, next) = self.chunks.take(chunk);
            for entry in &entries[..left.min(CHUNK)] {
                if entry.time == self.base {
                    give(std::slice::from_ref(entry));
                } else {
                    self.push(*entry);
                }
            }
            left = left.saturating_sub(CHUNK);
            chunk = next;
        }
        self.base
    }

    /// Gives all entries.
    pub(super) fn drain(&mut self, mut give: impl FnMut(&[Entry<P>])) {
        while let Some((level, digit)) = self.earliest() {
            let bucket = self.detach(level, digit);
            self.chunks.drain(bucket, &mut give);
        }
        self.len = 0;
    }

    #[inline]
    fn earliest(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        let word = self.full[level].iter().position(|&word| word != 0).expect("a marked level has a bucket");
        Some((level, word * 64 + self.full[level][word].trailing_zeros() as usize))
    }

    /// The digits above are the base's, this one is the bucket's, those below are zero.
    #[inline]
    fn begin_of(&self, level: usize, digit: usize) -> u64 {
        let shift = DIGIT * level as u32;
        let above = !((FAN as u64) << shift).wrapping_sub(1);
        self.base & above | (digit as u64) << shift
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
    fn drain(&mut self, bucket: Bucket, mut give: impl FnMut(&[Entry<P>])) {
        let (mut chunk, mut left) = (bucket.head as usize, bucket.len as usize);
        while left > CHUNK {
            give(&self.entries[chunk * CHUNK..][..CHUNK]);
            left -= CHUNK;
            chunk = self.next[chunk] as usize;
        }
        give(&self.entries[chunk * CHUNK..][..left]);
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
