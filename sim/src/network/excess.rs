//! Phase 2 of a filling: what guarantees leave goes to slices, by priority and weight, up to their ceilings.
//!
//! Every rising flow of a slice has the same rate, h(t) = α + β·t with β = weight / rising flows, so what a link
//! carries is a line too, until a flow stops and the others of its slice go on faster. On the slice's own link its line
//! is straight all the way: the slice rises there by its weight, however its flows share it.

use super::filling::EPSILON;
use super::{NONE, Network};

/// Work space that outlives a filling only to keep its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// What links carry, by link.
    lines: Vec<Line>,
    /// Slices with flows that rise.
    rises: Vec<Rise>,
    /// Their bundles.
    open: Vec<u32>,
    /// Slices of which some flows were stopped, and the others do not go on faster yet.
    slowed: Vec<u32>,
    /// Links with flows that rise.
    live: Vec<u32>,
    /// Position of bundles among the open ones, and the rise to which they belong.
    place: Vec<(u32, u32)>,
}

/// What a link carries: `at_zero` + `slope`·t [bit/s].
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    at_zero: f64,
    slope: f64,
    /// When it is full, unless it is `stale`.
    full_at: f64,
    /// Bundles on it that rise.
    open: u32,
    stale: bool,
}

/// A slice whose flows rise.
#[derive(Clone, Copy, Debug)]
struct Rise {
    slice: u32,
    /// The link it stands on, or none when that is not contended.
    own: u32,
    priority: u8,
    weight: f64,
    /// What it carries at t = 0 and at most [bit/s].
    total: f64,
    ceiling: f64,
    /// Its bundles that rise, among the open ones.
    from: u32,
    end: u32,
    /// Rate of each of its flows that rise: `at_zero` + `slope`·t [bit/s].
    at_zero: f64,
    slope: f64,
    /// The least cap among them [bit/s].
    cap_min: f64,
    /// When it is at its ceiling or some of its flows are at their cap.
    next_at: f64,
    /// Listed as slowed.
    slowed: bool,
}

impl Network {
    pub(super) fn begin_excess(&mut self, links: &[u32]) {
        let scratch = &mut self.scratch.excess;
        scratch.rises.clear();
        scratch.open.clear();
        scratch.place.resize(self.bundles.rows.len(), (NONE, NONE));
        scratch.lines.resize(self.links.len(), Line::default());
        for &link in links {
            scratch.lines[link as usize] = Line::default();
        }
    }

    /// Notes that a slice reached its guarantee when its flows were at `level` [bit/s]. Those that this stopped, below
    /// their cap, may rise further.
    pub(super) fn offer_excess(&mut self, slice: u32, level: f64) {
        let from = self.scratch.excess.open.len() as u32;
        let row = &self.slices[slice as usize];
        let mut total = 0.0;
        for &bundle in &row.active {
            total += self.bundles.loads[bundle as usize];
            if self.scratch.rates[bundle as usize] >= level && self.bundles.rows[bundle as usize].cap > level {
                self.scratch.excess.open.push(bundle);
            }
        }
        let end = self.scratch.excess.open.len() as u32;
        if from == end {
            return;
        }
        let planned = row.standing.expect("a contended slice stands");
        let own = if self.links[row.link as usize].contended { row.link } else { NONE };
        self.scratch.excess.rises.push(Rise {
            slice,
            own,
            priority: planned.priority,
            weight: f64::from(planned.weight.max(1)),
            total,
            ceiling: planned.ceiling.as_f64(),
            from,
            end,
            at_zero: level,
            slope: 0.0,
            cap_min: f64::INFINITY,
            next_at: f64::INFINITY,
            slowed: false,
        });
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

    /// Fills excess, priority by priority.
    pub(super) fn fill_excess(&mut self, links: &[u32]) {
        let mut scratch = std::mem::take(&mut self.scratch.excess);
        if !scratch.rises.is_empty() {
            scratch.rises.sort_unstable_by_key(|rise| (rise.priority, rise.slice));
            let mut from = 0;
            while from < scratch.rises.len() {
                let priority = scratch.rises[from].priority;
                let end = scratch.rises.partition_point(|rise| rise.priority <= priority);
                self.fill_priority(links, &mut scratch, from, end);
                from = end;
            }
        }
        self.scratch.excess = scratch;
    }

    /// Raises slices `from` to `end` until all their flows have stopped.
    fn fill_priority(&mut self, links: &[u32], scratch: &mut Scratch, from: usize, end: usize) {
        for &link in links {
            let line = &mut scratch.lines[link as usize];
            line.slope = 0.0;
            line.stale = true;
        }
        for ix in from..end {
            let rise = scratch.rises[ix];
            if rise.own != NONE {
                scratch.lines[rise.own as usize].slope += rise.weight;
            }
            for at in rise.from..rise.end {
                let bundle = scratch.open[at as usize];
                scratch.place[bundle as usize] = (at, ix as u32);
                for &link in self.bundles.paths[bundle as usize].links() {
                    scratch.lines[link as usize].open += 1;
                }
            }
            // Its flows' part of the links' lines is in there already, so only slopes are new.
            self.set_speed(scratch, ix, 0.0, rise.at_zero);
        }
        scratch.live.clear();
        scratch.live.extend_from_slice(links);
        let mut now = 0.0f64;
        let mut slice = earliest(&scratch.rises, from, end);
        loop {
            let link = self.first_full(scratch);
            let full_at = link.map_or(f64::INFINITY, |(at, _)| at);
            let slice_at = slice.map_or(f64::INFINITY, |ix| scratch.rises[ix].next_at);
            match (link, slice) {
                (Some((_, link)), _) if full_at <= slice_at => {
                    now = now.max(full_at);
                    self.stop_on(scratch, link, now);
                }
                (_, Some(ix)) => {
                    now = now.max(slice_at);
                    self.stop_in(scratch, ix, now);
                }
                _ => break,
            }
            while let Some(ix) = scratch.slowed.pop() {
                self.speed_up(scratch, ix as usize, now);
                let next_at = scratch.rises[ix as usize].next_at;
                if slice.is_some_and(|first| next_at < scratch.rises[first].next_at) {
                    slice = Some(ix as usize);
                }
            }
            // A slice that has gone on faster may have come to be later, or to be done.
            if slice.is_some_and(|ix| scratch.rises[ix].next_at != slice_at) {
                slice = earliest(&scratch.rises, from, end);
            }
        }
    }

    /// The link that is full first and when, of those with flows that rise.
    fn first_full(&self, scratch: &mut Scratch) -> Option<(f64, u32)> {
        let (mut first, mut at) = (None, 0);
        let mut least = f64::INFINITY;
        while at < scratch.live.len() {
            let link = scratch.live[at];
            let line = &mut scratch.lines[link as usize];
            if line.open == 0 {
                scratch.live.swap_remove(at);
                continue;
            }
            if line.stale {
                line.stale = false;
                let left = self.links[link as usize].capacity - line.at_zero;
                line.full_at = if line.slope > 0.0 { left / line.slope } else { f64::INFINITY };
            }
            if line.full_at < least {
                least = line.full_at;
                first = Some((least, link));
            }
            at += 1;
        }
        first
    }

    /// Stops all that rise on a full link.
    fn stop_on(&mut self, scratch: &mut Scratch, link: u32, now: f64) {
        for at in 0..self.links[link as usize].active.len() {
            let bundle = self.links[link as usize].active[at];
            if scratch.place[bundle as usize].0 != NONE {
                self.stop(scratch, bundle, now);
            }
        }
    }

    /// Stops all flows of a slice that is at its ceiling, or else those at their cap.
    fn stop_in(&mut self, scratch: &mut Scratch, ix: usize, now: f64) {
        let rise = scratch.rises[ix];
        let topped = rise.ceiling_at() <= rise.next_at;
        let mut at = rise.from;
        while at < scratch.rises[ix].end {
            let bundle = scratch.open[at as usize];
            if topped || self.bundles.rows[bundle as usize].cap <= rise.cap_min * (1.0 + EPSILON) {
                self.stop(scratch, bundle, now);
            } else {
                at += 1;
            }
        }
    }

    /// Stops a bundle at the rate it has at `now`.
    fn stop(&mut self, scratch: &mut Scratch, bundle: u32, now: f64) {
        let (place, ix) = std::mem::replace(&mut scratch.place[bundle as usize], (NONE, NONE));
        let rise = &mut scratch.rises[ix as usize];
        let row = &self.bundles.rows[bundle as usize];
        let rate = (rise.at_zero + rise.slope * now).max(self.scratch.rates[bundle as usize]).min(row.cap);
        self.scratch.rates[bundle as usize] = rate;
        self.bundles.loads[bundle as usize] = rate * row.count;
        for &link in self.bundles.paths[bundle as usize].links() {
            let line = &mut scratch.lines[link as usize];
            if link != rise.own {
                line.at_zero += (rate - rise.at_zero) * row.count;
                line.slope -= rise.slope * row.count;
            }
            line.open -= 1;
            line.stale = true;
        }
        if !std::mem::replace(&mut rise.slowed, true) {
            scratch.slowed.push(ix);
        }
        rise.end -= 1;
        if rise.from == rise.end && rise.own != NONE {
            let line = &mut scratch.lines[rise.own as usize];
            line.at_zero += rise.weight * now;
            line.slope -= rise.weight;
        }
        let last = scratch.open[rise.end as usize];
        if last != bundle {
            scratch.open[place as usize] = last;
            scratch.place[last as usize].0 = place;
        }
    }

    /// Lets the flows of a slice that have not stopped take over the speed of those that have.
    fn speed_up(&mut self, scratch: &mut Scratch, ix: usize, now: f64) {
        let rise = scratch.rises[ix];
        self.set_speed(scratch, ix, now, rise.at_zero + rise.slope * now);
    }

    /// Lets the rising flows of a slice, at `level` at `now`, share its weight.
    fn set_speed(&mut self, scratch: &mut Scratch, ix: usize, now: f64, level: f64) {
        let rise = &mut scratch.rises[ix];
        let open = &scratch.open[rise.from as usize..rise.end as usize];
        let (mut flows, mut cap_min) = (0.0, f64::INFINITY);
        for &bundle in open {
            let row = &self.bundles.rows[bundle as usize];
            flows += row.count;
            cap_min = row.cap.min(cap_min);
        }
        rise.cap_min = cap_min;
        rise.slowed = false;
        if open.is_empty() {
            rise.next_at = f64::INFINITY;
            return;
        }
        let own = rise.own;
        let slope = rise.weight / flows;
        let at_zero = level - slope * now;
        let (more_at_zero, more_slope) = (at_zero - rise.at_zero, slope - rise.slope);
        rise.at_zero = at_zero;
        rise.slope = slope;
        rise.next_at = rise.ceiling_at().min((cap_min - at_zero) / slope);
        for &bundle in open {
            let count = self.bundles.rows[bundle as usize].count;
            for &link in self.bundles.paths[bundle as usize].links().iter().filter(|&&link| link != own) {
                let line = &mut scratch.lines[link as usize];
                line.at_zero += count * more_at_zero;
                line.slope += count * more_slope;
                line.stale = true;
            }
        }
    }
}

impl Rise {
    fn ceiling_at(&self) -> f64 {
        (self.ceiling - self.total) / self.weight
    }
}

/// The slice, of `from` to `end`, that is at its ceiling or has flows at their cap first.
fn earliest(rises: &[Rise], from: usize, end: usize) -> Option<usize> {
    (from..end)
        .filter(|&ix| rises[ix].from < rises[ix].end)
        .min_by(|&a, &b| rises[a].next_at.total_cmp(&rises[b].next_at))
}
