//! Phase 2 of a filling: what guarantees leave goes to slices, by priority and weight, up to their ceilings.
//!
//! Every rising flow of a slice has the same rate, h(t) = α + β·t with β = weight / rising flows, so what a link
//! carries is a line too, until a flow stops and the others of its slice go on faster.

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
    /// Position of bundles among the open ones, and the rise to which they belong.
    place: Vec<(u32, u32)>,
}

/// What a link carries: `at_zero` + `slope`·t [bit/s].
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    at_zero: f64,
    slope: f64,
    /// Bundles on it that rise.
    open: u32,
}

/// A slice whose flows rise.
#[derive(Clone, Copy, Debug)]
struct Rise {
    slice: u32,
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
}

/// What happens next.
#[derive(Clone, Copy)]
enum Event {
    /// A link is full.
    Full(u32),
    /// A slice is at its ceiling.
    Ceiling(usize),
    /// Some of a slice's flows are at their cap.
    Cap(usize),
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

    /// Notes that a slice reached its guarantee when its flows were at `level` [bit/s]. Of the `bundles` that this
    /// stopped, those below their cap may rise further.
    pub(super) fn offer_excess(&mut self, slice: u32, level: f64, bundles: &[u32]) {
        let from = self.scratch.excess.open.len() as u32;
        for &bundle in bundles {
            if self.bundles.rows[bundle as usize].cap > level {
                self.scratch.excess.open.push(bundle);
            }
        }
        let end = self.scratch.excess.open.len() as u32;
        if from == end {
            return;
        }
        let row = &self.slices[slice as usize];
        let planned = row.standing.expect("a contended slice stands");
        let total = row.active.iter().map(|&bundle| self.bundles.loads[bundle as usize]).sum();
        self.scratch.excess.rises.push(Rise {
            slice,
            priority: planned.priority,
            weight: f64::from(planned.weight.max(1)),
            total,
            ceiling: planned.ceiling.as_f64(),
            from,
            end,
            at_zero: level,
            slope: 0.0,
            cap_min: f64::INFINITY,
        });
    }

    /// Fills excess, priority by priority.
    pub(super) fn fill_excess(&mut self, links: &[u32]) {
        let mut scratch = std::mem::take(&mut self.scratch.excess);
        if !scratch.rises.is_empty() {
            for &link in links {
                let active = &self.links[link as usize].active;
                let carried = active.iter().map(|&bundle| self.bundles.loads[bundle as usize]).sum();
                scratch.lines[link as usize].at_zero = carried;
            }
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
        for ix in from..end {
            let (open_from, open_end) = (scratch.rises[ix].from, scratch.rises[ix].end);
            for at in open_from..open_end {
                let bundle = scratch.open[at as usize];
                scratch.place[bundle as usize] = (at, ix as u32);
                for &link in self.bundles.paths[bundle as usize].links() {
                    scratch.lines[link as usize].open += 1;
                }
            }
            // Its flows' part of the links' lines is in there already, so only slopes are new.
            let level = scratch.rises[ix].at_zero;
            self.set_speed(scratch, ix, 0.0, level);
        }
        let mut now = 0.0;
        loop {
            let (mut at, mut event) = (f64::INFINITY, None);
            for &link in links {
                let line = scratch.lines[link as usize];
                if line.open > 0 && line.slope > 0.0 {
                    let full = (self.links[link as usize].capacity - line.at_zero) / line.slope;
                    if full < at {
                        (at, event) = (full, Some(Event::Full(link)));
                    }
                }
            }
            for (ix, rise) in scratch.rises[from..end].iter().enumerate() {
                if rise.from < rise.end {
                    let ceiling = (rise.ceiling - rise.total) / rise.weight;
                    let cap = (rise.cap_min - rise.at_zero) / rise.slope;
                    if ceiling < at {
                        (at, event) = (ceiling, Some(Event::Ceiling(from + ix)));
                    }
                    if cap < at {
                        (at, event) = (cap, Some(Event::Cap(from + ix)));
                    }
                }
            }
            let Some(event) = event else { break };
            now = at.max(now);
            match event {
                Event::Full(link) => self.stop_on(scratch, link, now),
                Event::Ceiling(ix) => {
                    while scratch.rises[ix].from < scratch.rises[ix].end {
                        let bundle = scratch.open[scratch.rises[ix].from as usize];
                        self.stop(scratch, bundle, now);
                    }
                }
                Event::Cap(ix) => {
                    let cap = scratch.rises[ix].cap_min * (1.0 + EPSILON);
                    let mut at = scratch.rises[ix].from;
                    while at < scratch.rises[ix].end {
                        let bundle = scratch.open[at as usize];
                        if self.bundles.rows[bundle as usize].cap <= cap {
                            self.stop(scratch, bundle, now);
                        } else {
                            at += 1;
                        }
                    }
                    self.speed_up(scratch, ix, now);
                }
            }
        }
    }

    /// Stops all that rise on a full link, and speeds up what is left of their slices.
    fn stop_on(&mut self, scratch: &mut Scratch, link: u32, now: f64) {
        for at in 0..self.links[link as usize].active.len() {
            let bundle = self.links[link as usize].active[at];
            let (place, rise) = scratch.place[bundle as usize];
            if place != NONE {
                self.stop(scratch, bundle, now);
                scratch.rises[rise as usize].cap_min = NONE_CAP;
            }
        }
        for ix in 0..scratch.rises.len() {
            if scratch.rises[ix].cap_min == NONE_CAP {
                self.speed_up(scratch, ix, now);
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
            line.at_zero += (rate - rise.at_zero) * row.count;
            line.slope -= rise.slope * row.count;
            line.open -= 1;
        }
        rise.end -= 1;
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
        if open.is_empty() {
            return;
        }
        let slope = rise.weight / flows;
        let at_zero = level - slope * now;
        let (more_at_zero, more_slope) = (at_zero - rise.at_zero, slope - rise.slope);
        rise.at_zero = at_zero;
        rise.slope = slope;
        for &bundle in open {
            let count = self.bundles.rows[bundle as usize].count;
            for &link in self.bundles.paths[bundle as usize].links() {
                let line = &mut scratch.lines[link as usize];
                line.at_zero += count * more_at_zero;
                line.slope += count * more_slope;
            }
        }
    }
}

/// Marks a rise that has to be sped up.
const NONE_CAP: f64 = -1.0;
