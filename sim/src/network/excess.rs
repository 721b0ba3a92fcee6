//! Phase 2 of a filling: what guarantees leave goes to slices, by priority and weight, up to their ceilings.
//!
//! Every rising flow of a slice has the same rate, h(t) = α + β·t with β = weight / rising flows, so what a link
//! carries is a line too, until a flow stops and the others of its slice go on faster. Two kinds of links need no new
//! line then. On the slice's own link the slice rises by its weight, however its flows share it. And a link on which
//! flows of one slice only rise is full when they reach a certain rate, whenever that is.

use super::filling::EPSILON;
use super::{NONE, Network, PATH_LINKS_MAX};

/// Work space that outlives a filling only to keep its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// What links carry, by link.
    lines: Vec<Line>,
    /// Links on which flows of several slices rise, or of the one that stands on it.
    shared: Vec<u32>,
    /// Which of these is full first, of each [`BLOCK`] neighbours.
    blocks: Vec<Block>,
    /// Slices with flows that rise.
    rises: Vec<Rise>,
    /// Their bundles.
    open: Vec<u32>,
    /// Their flows on links other than their own.
    shares: Vec<Share>,
    /// Rises of which some flows were stopped, and the others do not go on faster yet.
    slowed: Vec<u32>,
    /// Where open bundles stand, by bundle.
    places: Vec<Place>,
}

/// Links that are looked at together for the first one that is full.
const BLOCK: usize = 16;

/// More than one rise.
const MANY: u32 = u32::MAX - 1;

/// Which link of a block is full first, and when, unless it is `stale`.
#[derive(Clone, Copy, Debug)]
struct Block {
    full_at: f64,
    link: u32,
    stale: bool,
}

/// What a link carries: `at_zero` + `slope`·t \[bit/s\]. Where flows of one slice `only` rise, these are left out.
#[derive(Clone, Copy, Debug)]
struct Line {
    at_zero: f64,
    slope: f64,
    /// When it is full, unless it is `stale`.
    full_at: f64,
    /// Bundles on it that rise.
    open: u32,
    /// The one rise whose flows rise on it, or `MANY`.
    only: u32,
    /// The share that was added last.
    share: u32,
    block: u32,
    stale: bool,
}

/// Flows of one slice that rise on one link.
#[derive(Clone, Copy, Debug)]
struct Share {
    link: u32,
    rise: u32,
    open: u32,
    flows: f64,
}

/// Position of a bundle among the open ones, its rise, and its shares of the links on its path.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u32,
    rise: u32,
    shares: [u32; PATH_LINKS_MAX],
}

/// A slice whose flows rise.
#[derive(Clone, Copy, Debug)]
struct Rise {
    slice: u32,
    /// The link it stands on, or none when that is not contended.
    own: u32,
    priority: u8,
    weight: f64,
    /// When it is at its ceiling.
    ceiling_at: f64,
    /// Its bundles that rise, among the open ones.
    from: u32,
    end: u32,
    /// Its shares.
    shares_from: u32,
    shares_end: u32,
    /// Its flows that rise.
    flows: f64,
    /// Rate of each of these: `at_zero` + `slope`·t \[bit/s\].
    at_zero: f64,
    slope: f64,
    /// No cap among them is below this \[bit/s\].
    cap_min: f64,
    /// What stops some of them next, and when, as far as lines of links do not say.
    next: Stop,
    next_at: f64,
    /// Listed as slowed.
    slowed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stop {
    Ceiling,
    Cap,
    /// A link on which no other slice's flows rise is full.
    Link(u32),
}

const NO_LINE: Line =
    Line { at_zero: 0.0, slope: 0.0, full_at: 0.0, open: 0, only: NONE, share: NONE, block: 0, stale: true };
const NO_PLACE: Place = Place { at: NONE, rise: NONE, shares: [NONE; PATH_LINKS_MAX] };

impl Network {
    /// Begins a filling: no link carries anything, and no slice may rise.
    pub(super) fn begin_excess(&mut self, links: &[u32]) {
        let scratch = &mut self.scratch.excess;
        scratch.rises.clear();
        scratch.open.clear();
        scratch.places.resize(self.bundles.rows.len(), NO_PLACE);
        scratch.lines.resize(self.links.len(), NO_LINE);
        for &link in links {
            scratch.lines[link as usize] = NO_LINE;
        }
    }

    /// Adds what a slice carries to its links.
    pub(super) fn load_links(&mut self, slice: u32) {
        for &bundle in &self.slices[slice as usize].active {
            let load = self.bundles.loads[bundle as usize];
            for &link in self.bundles.paths[bundle as usize].links() {
                self.scratch.excess.lines[link as usize].at_zero += load;
            }
        }
    }

    /// Whether a link carries more than it can.
    pub(super) fn is_overfull(&self, link: u32) -> bool {
        self.scratch.excess.lines[link as usize].at_zero > self.links[link as usize].capacity * (1.0 + EPSILON)
    }

    /// Notes that a slice reached its guarantee when its flows were at `level` \[bit/s\]. Those that this stopped, below
    /// their cap, may rise further.
    pub(super) fn offer_excess(&mut self, slice: u32, level: f64) {
        let from = self.scratch.excess.open.len() as u32;
        let row = &self.slices[slice as usize];
        let (mut total, mut flows, mut cap_min) = (0.0, 0.0, f64::INFINITY);
        for &bundle in &row.active {
            let bundle_row = &self.bundles.rows[bundle as usize];
            total += self.bundles.loads[bundle as usize];
            if self.scratch.rates[bundle as usize] >= level && bundle_row.cap > level {
                self.scratch.excess.open.push(bundle);
                flows += bundle_row.count;
                cap_min = bundle_row.cap.min(cap_min);
            }
        }
        let end = self.scratch.excess.open.len() as u32;
        if from == end {
            return;
        }
        let planned = row.standing.expect("a contended slice stands");
        let weight = f64::from(planned.weight.max(1));
        self.scratch.excess.rises.push(Rise {
            slice,
            own: if self.links[row.link as usize].contended { row.link } else { NONE },
            priority: planned.priority,
            weight,
            ceiling_at: (planned.ceiling.as_f64() - total) / weight,
            from,
            end,
            shares_from: 0,
            shares_end: 0,
            flows,
            at_zero: level,
            slope: 0.0,
            cap_min,
            next: Stop::Ceiling,
            next_at: f64::INFINITY,
            slowed: false,
        });
    }

    /// Fills excess, priority by priority.
    pub(super) fn fill_excess(&mut self, links: &[u32]) {
        let mut scratch = std::mem::take(&mut self.scratch.excess);
        scratch.rises.sort_unstable_by_key(|rise| (rise.priority, rise.slice));
        let mut from = 0;
        while from < scratch.rises.len() {
            let priority = scratch.rises[from].priority;
            let end = scratch.rises.partition_point(|rise| rise.priority <= priority);
            self.begin_priority(links, &mut scratch, from, end);
            self.fill_priority(&mut scratch, from, end);
            from = end;
        }
        self.scratch.excess = scratch;
    }

    /// Lets slices `from` to `end` begin to rise.
    fn begin_priority(&self, links: &[u32], scratch: &mut Scratch, from: usize, end: usize) {
        for &link in links {
            let line = &mut scratch.lines[link as usize];
            *line = Line { at_zero: line.at_zero, ..NO_LINE };
        }
        scratch.shares.clear();
        for ix in from..end {
            let Rise { own, from, end, .. } = scratch.rises[ix];
            let shares_from = scratch.shares.len() as u32;
            for at in from..end {
                let bundle = scratch.open[at as usize];
                let count = self.bundles.rows[bundle as usize].count;
                let mut place = Place { at, rise: ix as u32, ..NO_PLACE };
                for (to, &link) in place.shares.iter_mut().zip(self.bundles.paths[bundle as usize].links()) {
                    let line = &mut scratch.lines[link as usize];
                    line.open += 1;
                    if link == own {
                        line.only = MANY;
                        continue;
                    }
                    if line.share == NONE || line.share < shares_from {
                        line.share = scratch.shares.len() as u32;
                        line.only = if line.only == NONE { ix as u32 } else { MANY };
                        scratch.shares.push(Share { link, rise: ix as u32, open: 0, flows: 0.0 });
                    }
                    let share = &mut scratch.shares[line.share as usize];
                    share.open += 1;
                    share.flows += count;
                    *to = line.share;
                }
                scratch.places[bundle as usize] = place;
            }
            let rise = &mut scratch.rises[ix];
            rise.shares_from = shares_from;
            rise.shares_end = scratch.shares.len() as u32;
        }
        let lines = &mut scratch.lines;
        scratch.shared.clear();
        scratch.shared.extend(links.iter().filter(|&&link| lines[link as usize].only == MANY));
        for (at, &link) in scratch.shared.iter().enumerate() {
            lines[link as usize].block = (at / BLOCK) as u32;
        }
        // One more, for the links that are not looked at.
        let blocks = scratch.shared.len() / BLOCK + 1;
        scratch.blocks.clear();
        scratch.blocks.resize(blocks, Block { full_at: f64::INFINITY, link: NONE, stale: true });
        for ix in from..end {
            let rise = scratch.rises[ix];
            if rise.own != NONE {
                scratch.lines[rise.own as usize].slope += rise.weight;
            }
            for share in &scratch.shares[rise.shares_from as usize..rise.shares_end as usize] {
                let line = &mut scratch.lines[share.link as usize];
                if line.only == share.rise {
                    line.at_zero -= share.flows * rise.at_zero;
                }
            }
            // What its flows carry already is in the links' lines, so only slopes are new.
            self.set_speed(scratch, ix, 0.0);
        }
    }

    /// Raises slices `from` to `end` until all their flows have stopped.
    fn fill_priority(&mut self, scratch: &mut Scratch, from: usize, end: usize) {
        let mut now = 0.0f64;
        let mut slice = earliest(&scratch.rises, from, end);
        loop {
            let (full_at, link) = self.first_full(scratch);
            let slice_at = slice.map_or(f64::INFINITY, |ix| scratch.rises[ix].next_at);
            match slice {
                _ if link != NONE && full_at <= slice_at => {
                    now = now.max(full_at);
                    self.stop_on(scratch, link, now);
                }
                Some(ix) => {
                    now = now.max(slice_at);
                    self.stop_in(scratch, ix, now);
                }
                None => break,
            }
            while let Some(ix) = scratch.slowed.pop() {
                self.set_speed(scratch, ix as usize, now);
                let next_at = scratch.rises[ix as usize].next_at;
                if slice.is_some_and(|first| next_at < scratch.rises[first].next_at) {
                    slice = Some(ix as usize);
                }
            }
            // A slice that goes on faster may have come to be later, or to be done.
            if slice.is_some_and(|ix| scratch.rises[ix].next_at != slice_at) {
                slice = earliest(&scratch.rises, from, end);
            }
        }
    }

    /// The link that is full first and when, of those where flows of several slices rise.
    fn first_full(&self, scratch: &mut Scratch) -> (f64, u32) {
        let mut first = (f64::INFINITY, NONE);
        for (at, block) in scratch.blocks.iter_mut().enumerate() {
            if block.stale {
                *block = Block { full_at: f64::INFINITY, link: NONE, stale: false };
                for &link in scratch.shared[at * BLOCK..].iter().take(BLOCK) {
                    let line = &mut scratch.lines[link as usize];
                    if line.stale {
                        line.stale = false;
                        let left = self.links[link as usize].capacity - line.at_zero;
                        let rises = line.open > 0 && line.slope > 0.0;
                        line.full_at = if rises { left / line.slope } else { f64::INFINITY };
                    }
                    if line.full_at < block.full_at {
                        block.full_at = line.full_at;
                        block.link = link;
                    }
                }
            }
            if block.full_at < first.0 {
                first = (block.full_at, block.link);
            }
        }
        first
    }

    /// Stops all that rise on a full link.
    fn stop_on(&mut self, scratch: &mut Scratch, link: u32, now: f64) {
        for at in 0..self.links[link as usize].active.len() {
            let bundle = self.links[link as usize].active[at];
            if scratch.places[bundle as usize].at != NONE {
                self.stop(scratch, bundle, now);
            }
        }
    }

    /// Stops what a slice's next stop is for.
    fn stop_in(&mut self, scratch: &mut Scratch, ix: usize, now: f64) {
        let rise = scratch.rises[ix];
        let cap = match rise.next {
            Stop::Link(link) => return self.stop_on(scratch, link, now),
            Stop::Ceiling => f64::INFINITY,
            Stop::Cap => rise.cap_min * (1.0 + EPSILON),
        };
        let (mut at, mut cap_min) = (rise.from, f64::INFINITY);
        while at < scratch.rises[ix].end {
            let bundle = scratch.open[at as usize];
            let own = self.bundles.rows[bundle as usize].cap;
            if own <= cap {
                self.stop(scratch, bundle, now);
            } else {
                cap_min = own.min(cap_min);
                at += 1;
            }
        }
        // It may be that who had the least cap had stopped before; the others' least is news all the same.
        let rise = &mut scratch.rises[ix];
        rise.cap_min = cap_min;
        if !std::mem::replace(&mut rise.slowed, true) {
            scratch.slowed.push(ix as u32);
        }
    }

    /// Stops a bundle at the rate it has at `now`.
    fn stop(&mut self, scratch: &mut Scratch, bundle: u32, now: f64) {
        let place = std::mem::replace(&mut scratch.places[bundle as usize], NO_PLACE);
        let rise = &mut scratch.rises[place.rise as usize];
        let row = &self.bundles.rows[bundle as usize];
        let rate = (rise.at_zero + rise.slope * now).max(self.scratch.rates[bundle as usize]).min(row.cap);
        self.scratch.rates[bundle as usize] = rate;
        self.bundles.loads[bundle as usize] = rate * row.count;
        for (&link, share) in self.bundles.paths[bundle as usize].links().iter().zip(place.shares) {
            let line = &mut scratch.lines[link as usize];
            line.open -= 1;
            line.stale = true;
            scratch.blocks[line.block as usize].stale = true;
            if link != rise.own {
                let share = &mut scratch.shares[share as usize];
                share.open -= 1;
                share.flows -= row.count;
                if line.only == place.rise {
                    line.at_zero += rate * row.count;
                } else {
                    line.at_zero += (rate - rise.at_zero) * row.count;
                    line.slope -= rise.slope * row.count;
                }
            }
        }
        rise.flows -= row.count;
        rise.end -= 1;
        if rise.from == rise.end && rise.own != NONE {
            let line = &mut scratch.lines[rise.own as usize];
            line.at_zero += rise.weight * now;
            line.slope -= rise.weight;
        }
        let last = scratch.open[rise.end as usize];
        if last != bundle {
            scratch.open[place.at as usize] = last;
            scratch.places[last as usize].at = place.at;
        }
        if !std::mem::replace(&mut rise.slowed, true) {
            scratch.slowed.push(place.rise);
        }
    }

    /// Lets the rising flows of a slice share its weight from `now` on.
    fn set_speed(&self, scratch: &mut Scratch, ix: usize, now: f64) {
        let rise = &mut scratch.rises[ix];
        rise.slowed = false;
        if rise.from == rise.end {
            rise.next_at = f64::INFINITY;
            return;
        }
        let slope = rise.weight / rise.flows;
        let at_zero = rise.at_zero + rise.slope * now - slope * now;
        let (more_at_zero, more_slope) = (at_zero - rise.at_zero, slope - rise.slope);
        rise.at_zero = at_zero;
        rise.slope = slope;
        let (mut level, mut next) = (rise.cap_min, Stop::Cap);
        for share in &scratch.shares[rise.shares_from as usize..rise.shares_end as usize] {
            if share.open == 0 {
                continue;
            }
            let line = &mut scratch.lines[share.link as usize];
            if line.only == share.rise {
                let full = (self.links[share.link as usize].capacity - line.at_zero) / share.flows;
                if full < level {
                    (level, next) = (full, Stop::Link(share.link));
                }
            } else {
                line.at_zero += share.flows * more_at_zero;
                line.slope += share.flows * more_slope;
                line.stale = true;
                scratch.blocks[line.block as usize].stale = true;
            }
        }
        let level_at = (level - at_zero) / slope;
        (rise.next_at, rise.next) =
            if rise.ceiling_at <= level_at { (rise.ceiling_at, Stop::Ceiling) } else { (level_at, next) };
    }
}

/// The slice, of `from` to `end`, whose next stop is first.
fn earliest(rises: &[Rise], from: usize, end: usize) -> Option<usize> {
    (from..end)
        .filter(|&ix| rises[ix].from < rises[ix].end)
        .min_by(|&a, &b| rises[a].next_at.total_cmp(&rises[b].next_at))
}
