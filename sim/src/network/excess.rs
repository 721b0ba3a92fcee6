//! Phase 2 of a filling: what guarantees leave goes to slices, by priority and weight, up to their ceilings.
//!
//! Every rising flow of a slice has the same rate, a line over filling time, until some of the slice's flows stop and
//! the others go on faster. Nothing that happens in filling time changes what was before. So a link that is looked at
//! when all that fill up before it are done is full at (capacity − what it carries at zero) / slope, by the lines as
//! they are then, and no line of a link need be kept up with every stop. Links are looked at in the order of the last
//! time; one that turns out to be full before a slice that crosses it was last changed is moved up, and what was done in
//! between is undone. Stops for a cap or a ceiling concern their slice only, and happen when a link looks so far ahead.

use super::contention::Row;
use super::filling::{EPSILON, pull};
use super::{Link, NONE, Network, Slice};

/// Filling time: slices of one priority rise from zero to infinity before those of the next begin.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Instant {
    priority: u16,
    at: f64,
}

impl Instant {
    pub(super) const ZERO: Instant = Instant { priority: 0, at: 0.0 };
    pub(super) const NEVER: Instant = Instant { priority: u16::MAX, at: f64::INFINITY };

    fn or_later(self, other: Instant) -> Instant {
        if other > self { other } else { self }
    }
}

/// Work space that outlives a filling only to keep its memory, but for `starts`.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// How slices begin to rise, by slice, as long as their guarantees are as they were.
    starts: Vec<Line>,
    /// How they rise now, by slice.
    lines: Vec<Line>,
    /// What lines were before they changed, to undo it.
    undo: Vec<(u32, Line)>,
    steps: Vec<Step>,
    /// Bundles in the order in which they stopped.
    stopped: Vec<u32>,
}

/// How the rising flows of a slice rise: each has the rate `at_zero` + `slope`·t \[bit/s\].
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    at_zero: f64,
    slope: f64,
    /// When a cap or the ceiling stops some of them.
    next_at: f64,
    /// Flows that rise, and bundles.
    flows: f64,
    open: u32,
    weight: u32,
    /// When it is at its ceiling.
    ceiling_at: f64,
    /// No cap among them is below this \[bit/s\].
    cap_min: f64,
    /// When it last changed.
    changed: f64,
    changed_in: u16,
    priority: u16,
    /// Some of them were stopped, and the others do not go on faster yet.
    slowed: bool,
}

/// What happened when a link was looked at.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Where the bundles that it stopped begin among the stopped.
    from: u32,
    /// Where what it changed begins in `undo`.
    undo_from: u32,
    /// When it was full.
    full_at: Instant,
    /// When somebody was stopped last so far.
    peak: Instant,
}

/// What a look at a link finds.
struct Look {
    /// Bundles that rise until it is full.
    rising: usize,
    full_at: Instant,
    /// Something was stopped on it too late.
    overfull: bool,
    /// How fast it fills up then \[bit/s\].
    slope: f64,
    /// When a cap or ceiling stopped somebody last.
    capped_at: Instant,
}

/// A filling of excess.
struct Excess<'a> {
    links: &'a [Link],
    slices: &'a [Slice],
    rows: &'a [Row],
    slice_of: &'a [u32],
    loads: &'a mut [f64],
    rates: &'a mut [f64],
    rising: &'a mut Vec<u32>,
    lines: &'a mut [Line],
    undo: &'a mut Vec<(u32, Line)>,
    steps: &'a mut Vec<Step>,
    stopped: &'a mut Vec<u32>,
}

impl Network {
    /// Notes that a slice, filled alone, reached its guarantee when its flows were at `level` \[bit/s\]. Those below their
    /// cap may rise further.
    pub(super) fn offer_excess(&mut self, slice: u32, level: f64) {
        let line = self.line_from(slice, level, |_, _| true);
        let starts = &mut self.scratch.excess.starts;
        if starts.len() <= slice as usize {
            starts.resize(slice as usize + 1, Line::default());
        }
        starts[slice as usize] = line;
    }

    /// Notes the same of a slice that meets others, for this filling only.
    pub(super) fn offer_excess_once(&mut self, slice: u32, level: f64) {
        let line = self.line_from(slice, level, |rates, bundle| rates[bundle as usize] >= level);
        self.scratch.excess.lines[slice as usize] = line;
    }

    /// How flows of a slice begin to rise from `level` that are below their cap there, and for which `is_there` holds.
    fn line_from(&mut self, slice: u32, level: f64, is_there: impl Fn(&[f64], u32) -> bool) -> Line {
        let row = &self.slices[slice as usize];
        let planned = row.standing.expect("a contended slice stands");
        let mut line = Line {
            at_zero: level,
            weight: planned.weight.max(1),
            cap_min: f64::INFINITY,
            priority: u16::from(planned.priority),
            ..Line::default()
        };
        let mut total = 0.0;
        for &bundle in &row.active {
            let row = &self.bundles.rows[bundle as usize];
            total += self.bundles.loads[bundle as usize];
            if row.cap > level && is_there(&self.scratch.rates, bundle) {
                self.bundles.loads[bundle as usize] = -row.count;
                line.open += 1;
                line.flows += row.count;
                line.cap_min = row.cap.min(line.cap_min);
            }
        }
        line.ceiling_at = ((planned.ceiling.as_f64() - total) / f64::from(line.weight)).max(0.0);
        line.bend(Instant::ZERO);
        line
    }

    /// Lets all slices begin as if each were alone.
    pub(super) fn begin_excess(&mut self, slices: &[u32]) {
        let scratch = &mut self.scratch.excess;
        scratch.lines.resize(scratch.starts.len(), Line::default());
        for &slice in slices {
            scratch.lines[slice as usize] = scratch.starts[slice as usize];
        }
    }

    /// Fills excess, priority by priority.
    pub(super) fn fill_excess(&mut self, component: u32, links: &[u32]) {
        let mut order = std::mem::take(&mut self.components[component as usize].excess_order);
        if order.is_empty() {
            order.extend_from_slice(links);
            let full_at = |link: u32| self.links[link as usize].full_at;
            order.sort_by(|&a, &b| {
                full_at(a).priority.cmp(&full_at(b).priority).then(full_at(a).at.total_cmp(&full_at(b).at))
            });
        }
        let scratch = &mut self.scratch.excess;
        let slices = &self.components[component as usize].slices;
        scratch.undo.clear();
        scratch.steps.clear();
        scratch.stopped.clear();
        let mut excess = Excess {
            links: &self.links,
            slices: &self.slices,
            rows: &self.bundles.rows,
            slice_of: &self.bundles.slices,
            loads: &mut self.bundles.loads,
            rates: &mut self.scratch.rates,
            rising: &mut self.scratch.rising,
            lines: &mut scratch.lines,
            undo: &mut scratch.undo,
            steps: &mut scratch.steps,
            stopped: &mut scratch.stopped,
        };
        excess.fill(&mut order);
        for &slice in slices {
            while excess.lines[slice as usize].open > 0 {
                excess.stop_in(slice);
            }
        }
        for (&link, step) in order.iter().zip(&scratch.steps) {
            self.links[link as usize].full_at = step.full_at;
        }
        self.components[component as usize].excess_order = order;
    }
}

impl Scratch {
    /// Rate of a slice's flows when it has its guarantee alone; infinite when it does not reach it \[bit/s\].
    pub(super) fn level(&self, slice: u32) -> f64 {
        self.starts[slice as usize].at_zero
    }
}

impl Line {
    /// Rate of each flow that rises \[bit/s\]; never below zero, where rounding could put it.
    #[inline]
    fn rate(&self, now: Instant) -> f64 {
        let rate = if now.priority == self.priority { self.at_zero + self.slope * now.at } else { self.at_zero };
        rate.max(0.0)
    }

    /// Lets the flows that still rise share the slice's weight from `now` on.
    #[inline]
    fn bend(&mut self, now: Instant) {
        self.slowed = false;
        (self.changed_in, self.changed) = (now.priority, now.at);
        if self.open == 0 {
            self.next_at = f64::INFINITY;
            return;
        }
        // Before its priority's time it stands at its guarantee.
        let since = if now.priority == self.priority { now.at } else { 0.0 };
        let slope = f64::from(self.weight) / self.flows;
        self.at_zero += (self.slope - slope) * since;
        self.slope = slope;
        self.next_at = self.ceiling_at.min((self.cap_min - self.at_zero) / slope);
    }
}

impl<'a> Excess<'a> {
    fn fill(&mut self, order: &mut [u32]) {
        let mut at = 0;
        // Moves that may be made before the order is found the slow, sure way.
        let mut moves = 64 + 16 * order.len();
        while at < order.len() {
            if moves == 0 {
                self.bring_first(&mut order[at..]);
            }
            let (from, undo_from) = (self.stopped.len() as u32, self.undo.len() as u32);
            let link = &self.links[order[at] as usize];
            let look = self.look(link);
            let peak = self.steps.last().map_or(Instant::ZERO, |step| step.peak);
            let late = look.overfull || look.full_at < peak && self.is_late(link, &look);
            if late && moves > 0 && at > 0 {
                self.undo(from, undo_from);
                if let Some(step) = self.steps.pop() {
                    self.undo(step.from, step.undo_from);
                }
                order.swap(at - 1, at);
                at -= 1;
                moves -= 1;
                if moves == 0 {
                    self.undo(0, 0);
                    self.steps.clear();
                    at = 0;
                }
                continue;
            }
            self.stop_rising(look.rising, look.full_at);
            let peak =
                peak.or_later(look.capped_at).or_later(if look.rising > 0 { look.full_at } else { Instant::ZERO });
            self.steps.push(Step { from, undo_from, full_at: look.full_at, peak });
            at += 1;
        }
    }

    /// Finds when a link is full, and lets happen what caps and ceilings do to its slices until then.
    fn look(&mut self, link: &Link) -> Look {
        let mut capped_at = Instant::ZERO;
        loop {
            let (carried, _, rising) = pull(&link.active, self.loads, self.rising);
            if rising == 0 {
                let overfull = carried > link.capacity * (1.0 + 1e-9);
                return Look { rising, full_at: Instant::NEVER, overfull, slope: 1.0, capped_at };
            }
            let (mut load, mut slope) = (carried, 0.0);
            let (mut priority, mut next_at, mut next) = (u16::MAX, f64::INFINITY, NONE);
            for &bundle in &self.rising[..rising] {
                let flows = -self.loads[bundle as usize];
                let slice = self.slice_of[bundle as usize];
                let line = &self.lines[slice as usize];
                load += flows * line.at_zero;
                if line.priority != priority {
                    if line.priority > priority {
                        continue;
                    }
                    (priority, slope, next_at) = (line.priority, 0.0, f64::INFINITY);
                }
                slope += flows * line.slope;
                if line.next_at < next_at {
                    (next_at, next) = (line.next_at, slice);
                }
            }
            let at = (link.capacity - load) / slope;
            if at <= next_at {
                // Unless its turn came too late, none is so before the time of what rises on it.
                let overfull = load > link.capacity * (1.0 + 1e-9);
                let full_at = Instant { priority, at: at.max(0.0) };
                return Look { rising, full_at, overfull, slope, capped_at };
            }
            capped_at = capped_at.or_later(Instant { priority, at: next_at });
            self.stop_in(next);
        }
    }

    /// Whether a slice that crosses a link changed after the link was full.
    fn is_late(&self, link: &Link, look: &Look) -> bool {
        // An earlier time that adds less than a rounding error to what the link carries is the same.
        let latest = look.full_at.at * (1.0 + EPSILON) + link.capacity * EPSILON / look.slope;
        link.active.iter().any(|&bundle| {
            let slice = self.slice_of[bundle as usize];
            slice != NONE && {
                let line = &self.lines[slice as usize];
                (line.changed_in, line.changed) > (look.full_at.priority, latest)
            }
        })
    }

    /// Stops the first of `rising` when their link is full.
    fn stop_rising(&mut self, rising: usize, now: Instant) {
        let from = self.undo.len();
        for at in 0..rising {
            let bundle = self.rising[at];
            let line = &self.lines[self.slice_of[bundle as usize] as usize];
            let mut rate = line.rate(now);
            if rate >= line.cap_min {
                rate = rate.min(self.rows[bundle as usize].cap);
            }
            self.stop(bundle, rate);
        }
        self.bend(from, now);
    }

    /// Lets happen what a slice's cap or ceiling does to it next.
    fn stop_in(&mut self, slice: u32) {
        let from = self.undo.len();
        let line = self.lines[slice as usize];
        let ceiling = line.ceiling_at <= line.next_at;
        let now = Instant { priority: line.priority, at: line.next_at };
        let rate = line.rate(now);
        let mut cap_min = f64::INFINITY;
        for &bundle in &self.slices[slice as usize].active {
            if self.loads[bundle as usize] < 0.0 {
                let cap = self.rows[bundle as usize].cap;
                if ceiling || cap <= line.cap_min * (1.0 + EPSILON) {
                    self.stop(bundle, if ceiling { rate.min(cap) } else { cap });
                } else {
                    cap_min = cap.min(cap_min);
                }
            }
        }
        // It may be that who had the least cap had stopped before; the others' least is news all the same.
        if self.undo.len() == from {
            self.undo.push((slice, line));
        }
        self.lines[slice as usize].cap_min = cap_min;
        self.bend(from, now);
    }

    #[inline]
    fn stop(&mut self, bundle: u32, rate: f64) {
        let flows = -self.loads[bundle as usize];
        self.loads[bundle as usize] = rate * flows;
        self.rates[bundle as usize] = rate;
        self.stopped.push(bundle);
        let slice = self.slice_of[bundle as usize];
        let line = &mut self.lines[slice as usize];
        if !line.slowed {
            self.undo.push((slice, *line));
            line.slowed = true;
        }
        line.flows -= flows;
        line.open -= 1;
    }

    /// Lets what is left of slices, from position `from` in `undo` on, go on faster.
    fn bend(&mut self, from: usize, now: Instant) {
        for &(slice, _) in &self.undo[from..] {
            self.lines[slice as usize].bend(now);
        }
    }

    fn undo(&mut self, from: u32, undo_from: u32) {
        for (slice, line) in self.undo.drain(undo_from as usize..).rev() {
            self.lines[slice as usize] = line;
        }
        for bundle in self.stopped.drain(from as usize..) {
            self.loads[bundle as usize] = -self.rows[bundle as usize].count;
        }
    }

    /// Brings the link that is full first to the front. What caps and ceilings do before happens.
    fn bring_first(&mut self, order: &mut [u32]) {
        loop {
            let (mut first, mut at) = (Instant::NEVER, 0);
            let (mut next, mut slice) = (Instant::NEVER, NONE);
            for (ix, &link) in order.iter().enumerate() {
                let link = &self.links[link as usize];
                let (mut load, mut slope, mut priority) = (0.0, 0.0, u16::MAX);
                for &bundle in &link.active {
                    let carried = self.loads[bundle as usize];
                    if carried >= 0.0 {
                        load += carried;
                        continue;
                    }
                    let line = &self.lines[self.slice_of[bundle as usize] as usize];
                    load -= carried * line.at_zero;
                    if line.priority < priority {
                        (priority, slope) = (line.priority, 0.0);
                    }
                    slope -= if line.priority == priority { carried * line.slope } else { 0.0 };
                    let own = Instant { priority: line.priority, at: line.next_at };
                    if own < next {
                        (next, slice) = (own, self.slice_of[bundle as usize]);
                    }
                }
                let full_at = Instant { priority, at: ((link.capacity - load) / slope).max(0.0) };
                if slope > 0.0 && full_at < first {
                    (first, at) = (full_at, ix);
                }
            }
            if next < first {
                self.stop_in(slice);
            } else {
                return order.swap(0, at);
            }
        }
    }
}
