//! Elastic flows: each has a size, shares its group's rate, and ends when its bundle's clock says that it got it all.

use forebay_world::Timestamp;

use super::heap::{self, Ranked};
use super::{FlowId, GroupIx, NONE, Network};

/// When a flow ends, on its bundle's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish {
    /// Bits served to each flow of the bundle, by then.
    served: f64,
    slot: u32,
    /// Breaks ties: first started, first ended.
    started: u32,
}

/// The rest of an elastic flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowSlot {
    tag: u64,
    group: u32,
    /// Position among its group's finishes; of a free slot, the next free one.
    at: u32,
    generation: u32,
}

/// The group whose flow ends first, on its bundle's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    served: f64,
    group: u32,
}

/// When a flow of an uncontended bundle or of a component ends first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    at: u64,
    source: u32,
}

// What a live elastic flow takes.
const _: () = assert!(size_of::<Finish>() + size_of::<FlowSlot>() <= 48);

/// Instant that never comes \[ns\].
pub(super) const NEVER: u64 = u64::MAX;

/// A bundle's clock is set back to zero when it has served this to each flow \[bit\]: beyond, its grain would show.
const SERVED_MAX: f64 = (1u64 << 43) as f64;

impl Ranked for Finish {
    fn before(&self, other: &Self) -> bool {
        self.served < other.served || (self.served == other.served && self.started < other.started)
    }
    fn owner(&self) -> u32 {
        self.slot
    }
}

impl Ranked for Head {
    fn before(&self, other: &Self) -> bool {
        self.served < other.served || (self.served == other.served && self.group < other.group)
    }
    fn owner(&self) -> u32 {
        self.group
    }
}

impl Ranked for Due {
    fn before(&self, other: &Self) -> bool {
        (self.at, self.source) < (other.at, other.source)
    }
    fn owner(&self) -> u32 {
        self.source
    }
}

/// The source of dues that bundle `ix` is while uncontended.
pub(super) const fn bundle_source(ix: u32) -> u32 {
    ix << 1
}

/// The source of dues that component `ix` is.
pub(super) const fn component_source(ix: u32) -> u32 {
    (ix << 1) | 1
}

/// The instant `seconds` after `now`, rounded up: service is late by less than a nanosecond, never early.
#[inline]
pub(super) fn after(now: u64, seconds: f64) -> u64 {
    let nanos = (seconds * 1e9).ceil();
    if nanos < 1.8e19 { now.saturating_add(nanos as u64) } else { NEVER }
}

impl Network {
    /// Starts an elastic flow of `bits`. `tag` comes back from [`Network::complete`] when it ends.
    pub fn start(&mut self, now: Timestamp, group: GroupIx, bits: f64, tag: u64) -> FlowId {
        assert!(bits >= 0.0 && bits.is_finite(), "size of a flow: {bits}");
        self.pass(now);
        self.settle_group(group.0);
        let bundle = self.groups[group.0 as usize].bundle;
        if self.bundles.rows[bundle as usize].served > SERVED_MAX {
            self.rebase(bundle);
        }
        let served = self.bundles.rows[bundle as usize].served + bits;
        let slot = if self.flows_free == NONE {
            self.flows.push(FlowSlot { tag, group: group.0, at: 0, generation: 0 });
            self.flows.len() as u32 - 1
        } else {
            let slot = self.flows_free;
            let row = &mut self.flows[slot as usize];
            self.flows_free = row.at;
            *row = FlowSlot { tag, group: group.0, at: 0, generation: row.generation };
            slot
        };
        self.flows_live += 1;
        self.started = self.started.wrapping_add(1);
        let finish = Finish { served, slot, started: self.started };
        let flows = &mut self.flows;
        heap::push(&mut self.groups[group.0 as usize].finishes, finish, |slot, at| flows[slot as usize].at = at);
        self.rank_head(group.0);
        self.recount(group.0);
        FlowId { slot, generation: self.flows[slot as usize].generation }
    }

    /// Ends a flow before its time and returns what it still had to get \[bit\]: zero when it has ended already.
    pub fn cancel(&mut self, now: Timestamp, flow: FlowId) -> f64 {
        self.pass(now);
        let row = self.flows[flow.slot as usize];
        if row.generation != flow.generation {
            return 0.0;
        }
        self.settle_group(row.group);
        let left = self.drop_flow(row.group, row.at as usize);
        self.recount(row.group);
        left.max(0.0)
    }

    /// Ends all elastic flows of a group before their time, and tells the tag of each.
    pub fn clear(&mut self, now: Timestamp, group: GroupIx, mut each: impl FnMut(u64)) {
        self.pass(now);
        if self.groups[group.0 as usize].finishes.is_empty() {
            return;
        }
        self.settle_group(group.0);
        let mut finishes = std::mem::take(&mut self.groups[group.0 as usize].finishes);
        for finish in finishes.drain(..) {
            each(self.flows[finish.slot as usize].tag);
            self.free_slot(finish.slot);
        }
        self.groups[group.0 as usize].finishes = finishes;
        self.rank_head(group.0);
        self.recount(group.0);
    }

    /// When the next elastic flow ends, if nothing changes before.
    pub fn next_completion(&mut self) -> Option<Timestamp> {
        self.fill_dirty();
        self.dues.first().filter(|due| due.at != NEVER).map(|due| Timestamp::from_nanos(due.at))
    }

    /// Takes out one elastic flow that has ended at or before `now`, and returns its tag. To be called until it
    /// returns `None`.
    pub fn complete(&mut self, now: Timestamp) -> Option<u64> {
        self.pass(now);
        self.fill_dirty();
        let due = *self.dues.first().filter(|due| due.at <= self.now)?;
        let bundle =
            if due.source & 1 == 0 { due.source >> 1 } else { self.components[(due.source >> 1) as usize].next };
        let group = self.bundles.metas[bundle as usize].heads[0].group;
        self.settle_group(group);
        let tag = self.flows[self.groups[group as usize].finishes[0].slot as usize].tag;
        // What the rounding of its end gave it beyond its size was never sent.
        let left = self.drop_flow(group, 0);
        self.groups[group as usize].totals.bits += left;
        self.recount(group);
        Some(tag)
    }

    /// Takes out a flow and returns what it still had to get, negative when it got more \[bit\].
    fn drop_flow(&mut self, group: u32, at: usize) -> f64 {
        let flows = &mut self.flows;
        let row = &mut self.groups[group as usize];
        let finish = heap::remove(&mut row.finishes, at, |slot, at| flows[slot as usize].at = at);
        let left = finish.served - self.bundles.rows[row.bundle as usize].served;
        self.free_slot(finish.slot);
        self.rank_head(group);
        left
    }

    fn free_slot(&mut self, slot: u32) {
        let row = &mut self.flows[slot as usize];
        row.generation = row.generation.wrapping_add(1);
        row.at = self.flows_free;
        self.flows_free = slot;
        self.flows_live -= 1;
    }

    /// Puts a group where it belongs among its bundle's heads, after its first finish changed.
    pub(super) fn rank_head(&mut self, group: u32) {
        let row = &self.groups[group as usize];
        let (bundle, at, first) = (row.bundle as usize, row.head_at, row.finishes.first().map(|f| f.served));
        let (heads, groups) = (&mut self.bundles.metas[bundle].heads, &mut self.groups);
        let place = |group: u32, at: u32| groups[group as usize].head_at = at;
        match (at, first) {
            (NONE, None) => {}
            (NONE, Some(served)) => heap::push(heads, Head { served, group }, place),
            (at, Some(served)) => {
                if heads[at as usize].served != served {
                    heap::replace(heads, at as usize, Head { served, group }, place);
                }
            }
            (at, None) => {
                heap::remove(heads, at as usize, place);
                self.groups[group as usize].head_at = NONE;
            }
        }
        self.bundles.rows[bundle].head = self.bundles.metas[bundle].heads.first().map_or(f64::INFINITY, |h| h.served);
    }

    /// Shifts the finishes of a group whose clock changes.
    pub(super) fn rekey(&mut self, group: u32, by: f64) {
        for finish in &mut self.groups[group as usize].finishes {
            finish.served += by;
        }
    }

    /// Sets a bundle's clock back to zero.
    fn rebase(&mut self, bundle: u32) {
        let by = self.bundles.rows[bundle as usize].served;
        for at in 0..self.bundles.metas[bundle as usize].groups.len() {
            let group = self.bundles.metas[bundle as usize].groups[at];
            self.settle_group(group);
            self.groups[group as usize].served_mark = 0.0;
            self.rekey(group, -by);
        }
        for head in &mut self.bundles.metas[bundle as usize].heads {
            head.served -= by;
        }
        let row = &mut self.bundles.rows[bundle as usize];
        row.served = 0.0;
        row.head -= by;
    }

    /// Sets when a source has something due.
    pub(super) fn set_due(&mut self, source: u32, at: u64) {
        let (bundles, components) = (&mut self.bundles.metas, &mut self.components);
        let position = if source & 1 == 0 {
            bundles[(source >> 1) as usize].due_at
        } else {
            components[(source >> 1) as usize].due_at
        };
        let mut place = |source: u32, at: u32| {
            if source & 1 == 0 {
                bundles[(source >> 1) as usize].due_at = at;
            } else {
                components[(source >> 1) as usize].due_at = at;
            }
        };
        match (position, at) {
            (NONE, NEVER) => {}
            (NONE, at) => heap::push(&mut self.dues, Due { at, source }, place),
            (position, NEVER) => {
                heap::remove(&mut self.dues, position as usize, &mut place);
                place(source, NONE);
            }
            (position, at) => {
                if self.dues[position as usize].at != at {
                    heap::replace(&mut self.dues, position as usize, Due { at, source }, place);
                }
            }
        }
    }
}
