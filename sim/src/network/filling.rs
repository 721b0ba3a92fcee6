//! Progressive filling of a component: the rates that the phases of [`super`] give, and of these the last, best
//! effort, which is the only one when no slice is contended.
//!
//! Where all rise at one speed, a link fills up at the level (capacity − carried by who has stopped) / (flows that still
//! rise), and it does not matter when links that share no rising flow are looked at. So they are looked at in the order
//! of the last time, and one that turns out to fill up below the rate of a flow that stopped on it earlier is moved
//! before the link that stopped it. What was filled before the first link concerned by a change still stands.

use super::contention::Row;
use super::elastic::{NEVER, after, component_source};
use super::{Link, NONE, Network};

/// What happened when a link was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Where the bundles that it stopped begin among the stopped.
    pub(super) from: u32,
    /// Rate at which it stopped them, but for those with a lower cap; infinite when it does not fill up \[bit/s\].
    level: f64,
    /// The highest rate at which anybody was stopped so far \[bit/s\].
    peak: f64,
    /// When a flow of these bundles ends first \[ns\].
    due: u64,
    /// The bundle of that flow.
    next: u32,
}

/// Work space that outlives a filling only to keep its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// Bundles that rise at the limit that is looked at.
    pub(super) rising: Vec<u32>,
    /// New rates, by bundle \[bit/s\].
    pub(super) rates: Vec<f64>,
    pub(super) guarantees: super::guarantees::Scratch,
    pub(super) excess: super::excess::Scratch,
    pub(super) roots: Vec<u32>,
    pub(super) homes: Vec<u32>,
}

/// A rounding error's worth.
pub(super) const EPSILON: f64 = 1e-12;

/// A filling where all rise at one speed.
struct Level<'a> {
    links: &'a [Link],
    rows: &'a [Row],
    loads: &'a mut [f64],
    rising: &'a mut Vec<u32>,
    steps: &'a mut Vec<Step>,
    stopped: &'a mut Vec<u32>,
}

impl Network {
    /// Gives everybody the rate they have from now on.
    #[inline]
    pub(super) fn fill_dirty(&mut self) {
        while let Some(component) = self.dirty.pop() {
            self.split(component);
            self.fill(component);
            self.components[component as usize].dirty = false;
        }
    }

    fn fill(&mut self, component: u32) {
        let row = &mut self.components[component as usize];
        if row.order.is_empty() && row.slices.is_empty() {
            return;
        }
        let mut order = std::mem::take(&mut row.order);
        let mut steps = std::mem::take(&mut row.steps);
        let mut stopped = std::mem::take(&mut row.stopped);
        let (mut due, mut next) = (NEVER, NONE);
        if !row.slices.is_empty() {
            self.lower_best_effort(&order);
            self.fill_guarantees(component, &order);
            self.fill_excess(component, &order);
        }
        if order.iter().any(|&link| self.links[link as usize].best_effort > 0) {
            if steps.is_empty() {
                self.raise_best_effort(&order);
            }
            let first = self.level(&mut order, &mut steps, &mut stopped);
            for (at, &link) in order.iter().enumerate().skip(first) {
                self.links[link as usize].step = at as u32;
            }
            self.settle_steps(first, &mut steps, &stopped);
            for step in &steps {
                if step.due < due {
                    (due, next) = (step.due, step.next);
                }
            }
        }
        if !self.components[component as usize].slices.is_empty() {
            let (slices_due, slices_next) = self.settle_slices(component);
            if slices_due <= due {
                (due, next) = (slices_due, slices_next);
            }
        }
        let row = &mut self.components[component as usize];
        if !row.slices.is_empty() {
            // Nothing of it may stand next time: what slices leave changes with any of them.
            steps.clear();
            stopped.clear();
        }
        row.order = order;
        row.steps = steps;
        row.stopped = stopped;
        row.next = next;
        self.set_due(component_source(component), due);
    }

    /// Gives bundles in slices their new rates and returns when and where a flow of theirs ends first. Loads are then as
    /// the next filling of excess begins.
    fn settle_slices(&mut self, component: u32) -> (u64, u32) {
        // Left and rate of the first: the quotient is wanted of one only.
        let (mut left, mut rate, mut next) = (f64::INFINITY, 1.0, NONE);
        let slices = std::mem::take(&mut self.components[component as usize].slices);
        for &slice in &slices {
            let level = self.scratch.excess.level(slice);
            let mut total = 0.0;
            for &bundle in &self.slices[slice as usize].active {
                let ix = bundle as usize;
                let row = &mut self.bundles.rows[ix];
                row.advance(self.now);
                row.rate = self.scratch.rates[ix];
                total += row.rate * row.count;
                self.bundles.loads[ix] = if row.cap > level { -row.count } else { self.bundles.guaranteed[ix] };
                let own = (row.head - row.served).max(0.0);
                if own * rate < left * row.rate || (own == 0.0 && left > 0.0) {
                    (left, rate, next) = (own, row.rate, bundle);
                }
            }
            self.judge_starved(slice, total);
        }
        self.components[component as usize].slices = slices;
        (after(self.now, if left == 0.0 { 0.0 } else { left / rate }), next)
    }

    /// Lets all without a contended slice have nothing yet.
    fn lower_best_effort(&mut self, order: &[u32]) {
        for &link in order {
            let row = &self.links[link as usize];
            for &bundle in row.active.iter().filter(|_| row.best_effort > 0) {
                if self.bundles.slices[bundle as usize] == NONE {
                    self.bundles.loads[bundle as usize] = 0.0;
                }
            }
        }
    }

    /// Lets all without a contended slice rise.
    fn raise_best_effort(&mut self, order: &[u32]) {
        for &link in order {
            let row = &self.links[link as usize];
            for &bundle in row.active.iter().filter(|_| row.best_effort > 0) {
                if !self.bundles.metas[bundle as usize].in_slice() {
                    self.bundles.loads[bundle as usize] = -self.bundles.rows[bundle as usize].count;
                }
            }
        }
    }

    /// Fills links up, from the first without a step on. Returns the first whose step changed.
    fn level(&mut self, order: &mut [u32], steps: &mut Vec<Step>, stopped: &mut Vec<u32>) -> usize {
        Level {
            links: &self.links,
            rows: &self.bundles.rows,
            loads: &mut self.bundles.loads,
            rising: &mut self.scratch.rising,
            steps,
            stopped,
        }
        .run(order, |bundle| self.bundles.metas[bundle as usize].in_slice())
    }

    /// Gives the bundles that were stopped from step `first` on their new rates.
    fn settle_steps(&mut self, first: usize, steps: &mut [Step], stopped: &[u32]) {
        let mut end = stopped.len();
        for step in steps[first..].iter_mut().rev() {
            let (mut least, mut next) = (f64::INFINITY, NONE);
            for &bundle in &stopped[step.from as usize..end] {
                let row = &mut self.bundles.rows[bundle as usize];
                row.advance(self.now);
                row.rate = step.level.min(row.cap);
                let seconds = row.seconds_left();
                if seconds < least {
                    (least, next) = (seconds, bundle);
                }
            }
            step.due = after(self.now, least);
            step.next = next;
            end = step.from as usize;
        }
    }
}

impl<'a> Level<'a> {
    fn run(&mut self, order: &mut [u32], in_slice: impl Fn(u32) -> bool) -> usize {
        let mut at = self.steps.len();
        let mut first = at;
        // Moves that may be made before the order is found the slow, sure way.
        let mut moves = 64 + 16 * order.len();
        while at < order.len() {
            if moves == 0 {
                let lowest =
                    (at..order.len()).min_by(|&a, &b| self.try_level(order[a]).total_cmp(&self.try_level(order[b])));
                order.swap(at, lowest.unwrap_or(at));
            }
            let from = self.stopped.len();
            let (members, capacity, cap_min) = self.limit(order[at]);
            let (mut carried, mut flows, mut rising) = pull(members, self.loads, self.rising);
            let mut level = if rising > 0 {
                ((capacity - carried) / flows).max(0.0)
            } else if carried <= capacity * (1.0 + 1e-9) {
                f64::INFINITY
            } else {
                -1.0
            };
            let mut capped = 0.0f64;
            while level >= cap_min && rising > 0 {
                // Those that their cap stops leave the others more.
                let before = rising;
                (rising, flows) = (0, 0.0);
                for i in 0..before {
                    let bundle = self.rising[i];
                    let (count, cap) = (-self.loads[bundle as usize], self.rows[bundle as usize].cap);
                    if cap <= level {
                        self.loads[bundle as usize] = count * cap;
                        carried += count * cap;
                        capped = capped.max(cap);
                        self.stopped.push(bundle);
                    } else {
                        self.rising[rising] = bundle;
                        rising += 1;
                        flows += count;
                    }
                }
                level = if rising > 0 { ((capacity - carried) / flows).max(0.0) } else { f64::INFINITY };
                if rising == before {
                    break;
                }
            }
            let peak = self.steps.last().map_or(0.0, |step| step.peak);
            if level < peak * (1.0 - EPSILON) && moves > 0 && at > 0 {
                let late = members.iter().any(|&bundle| {
                    let load = self.loads[bundle as usize];
                    let due = level * self.rows[bundle as usize].count * (1.0 + EPSILON) + capacity * EPSILON;
                    load > 0.0 && load > due && !in_slice(bundle)
                });
                if late {
                    self.raise_again(from);
                    if let Some(step) = self.steps.pop() {
                        self.raise_again(step.from as usize);
                    }
                    order.swap(at - 1, at);
                    at -= 1;
                    moves -= 1;
                    if moves == 0 {
                        self.raise_again(0);
                        self.steps.clear();
                        at = 0;
                    }
                    first = first.min(at);
                    continue;
                }
            }
            for &bundle in &self.rising[..rising] {
                self.loads[bundle as usize] *= -level;
            }
            self.stopped.extend_from_slice(&self.rising[..rising]);
            let peak = peak.max(capped).max(if level < f64::INFINITY { level } else { 0.0 });
            self.steps.push(Step { from: from as u32, level, peak, due: NEVER, next: NONE });
            at += 1;
        }
        first
    }

    fn limit(&self, link: u32) -> (&'a [u32], f64, f64) {
        let row = &self.links[link as usize];
        (&row.active, row.capacity, row.cap_min)
    }

    fn try_level(&self, link: u32) -> f64 {
        let (members, capacity, _) = self.limit(link);
        let mut level = -1.0;
        loop {
            // Those with caps up to the last level are at them, the others share what these leave.
            let (mut carried, mut flows, mut cap_min) = (0.0, 0.0, f64::INFINITY);
            for &bundle in members {
                let (load, cap) = (self.loads[bundle as usize], self.rows[bundle as usize].cap);
                if load >= 0.0 {
                    carried += load;
                } else if cap <= level {
                    carried -= load * cap;
                } else {
                    flows -= load;
                    cap_min = cap.min(cap_min);
                }
            }
            level = if flows > 0.0 { ((capacity - carried) / flows).max(0.0).max(level) } else { f64::INFINITY };
            if level < cap_min || level == f64::INFINITY {
                return level;
            }
        }
    }

    /// Takes back that bundles were stopped, from position `from` on.
    fn raise_again(&mut self, from: usize) {
        for &bundle in &self.stopped[from..] {
            self.loads[bundle as usize] = -self.rows[bundle as usize].count;
        }
        self.stopped.truncate(from);
    }
}

/// What those members of a link or slice carry that have stopped, how many flows rise, and, in `rising`, how many bundles.
pub(super) fn pull(members: &[u32], loads: &[f64], rising: &mut Vec<u32>) -> (f64, f64, usize) {
    if rising.len() < members.len() {
        rising.resize(members.len(), 0);
    }
    let (mut carried, mut flows) = ([0.0; 4], [0.0; 4]);
    let mut count = 0;
    // Four sums at a time, because additions to one must wait for each other.
    for chunk in members.chunks(4) {
        for (lane, &bundle) in chunk.iter().enumerate() {
            let load = loads[bundle as usize];
            carried[lane] += load.max(0.0);
            flows[lane] -= load.min(0.0);
            rising[count] = bundle;
            count += usize::from(load < 0.0);
        }
    }
    (carried.iter().sum(), flows.iter().sum(), count)
}
