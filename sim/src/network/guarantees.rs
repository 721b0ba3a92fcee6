//! Phase 1 of a filling: every slice up to its guarantee.
//!
//! Mostly no link is full when every slice has its guarantee, and then slices do not meet: each is filled alone, and
//! that holds until its own flows change. Links that would be overfull are filled together with the slices that cross them, limit by limit, the one that
//! fills up at the lowest level first. As all flows rise at one speed, a limit's level only rises while others stop
//! flows on it: what was found once is a lower bound.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::filling::{EPSILON, pull};
use super::{NONE, Network};

/// Work space that outlives a filling only to keep its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// What each slice that meets others is guaranteed, after scaling \[bit/s\].
    guarantees: Vec<f64>,
    /// Rate of each slice's flows when it reaches its guarantee; infinite when it does not \[bit/s\].
    levels: Vec<f64>,
    /// Whether a slice crosses a link that is filled together with slices.
    met: Vec<bool>,
    /// Whether a link is filled together with slices: it was overfull without. Those that filled up before the slices
    /// that cross them are kept from one filling to the next as a guess.
    binding: Vec<bool>,
    /// Whether it filled up before them.
    bound: Vec<bool>,
    /// What links carry more when slices that meet are filled together than when each is alone \[bit/s\].
    extra: Vec<f64>,
    /// Limits by the bits of their level, which are in the same order as the level.
    queue: BinaryHeap<Reverse<(u64, Limit)>>,
}

/// What rounding may have done to a sum that is kept up with changes, as a share.
const DRIFT: f64 = 1e-6;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    Link(u32),
    Slice(u32),
}

impl Network {
    /// Notes that a slice's flows changed. There may be no slice.
    pub(super) fn forget_guarantee(&mut self, slice: u32) {
        if slice != NONE {
            self.slices[slice as usize].guaranteed_as_of = 0;
        }
    }

    /// Fills all slices of a component up to their guarantees, and notes which may have more.
    pub(super) fn fill_guarantees(&mut self, component: u32, links: &[u32]) {
        self.scratch.rates.resize(self.bundles.rows.len(), 0.0);
        self.scratch.guarantees.binding.resize(self.links.len(), false);
        let slices = std::mem::take(&mut self.components[component as usize].slices);
        for &slice in &slices {
            if self.slices[slice as usize].guaranteed_as_of != self.plans {
                self.fill_guarantee_alone(slice);
            }
        }
        self.begin_excess(&slices);
        let mut meet = false;
        for &link in links {
            if self.is_overfull(link) {
                self.scratch.guarantees.binding[link as usize] = true;
            }
            meet |= self.scratch.guarantees.binding[link as usize];
        }
        if meet {
            self.fill_met_guarantees(links, &slices);
        }
        self.components[component as usize].slices = slices;
    }

    /// Fills slices up to their guarantees that binding links keep from it, and those that they meet there.
    fn fill_met_guarantees(&mut self, links: &[u32], slices: &[u32]) {
        let scratch = &mut self.scratch.guarantees;
        scratch.guarantees.resize(self.slices.len(), 0.0);
        scratch.levels.resize(self.slices.len(), 0.0);
        scratch.met.resize(self.slices.len(), false);
        scratch.bound.resize(self.links.len(), false);
        scratch.extra.resize(self.links.len(), 0.0);
        loop {
            self.meet(links, slices);
            self.fill_guarantees_together(links, slices);
            let mut agreed = true;
            for &link in links {
                if !self.scratch.guarantees.binding[link as usize] && self.is_overfull_when_met(link) {
                    self.scratch.guarantees.binding[link as usize] = true;
                    agreed = false;
                }
            }
            if agreed {
                break;
            }
        }
        for &link in links {
            self.scratch.guarantees.binding[link as usize] = self.scratch.guarantees.bound[link as usize];
        }
        for &slice in slices {
            if self.scratch.guarantees.met[slice as usize] {
                self.offer_excess_once(slice, self.scratch.guarantees.levels[slice as usize]);
            }
        }
    }

    /// Whether a link would carry more than it can if every slice were filled up to its guarantee alone.
    fn is_overfull(&mut self, link: u32) -> bool {
        let row = &mut self.links[link as usize];
        if row.guaranteed_load <= row.capacity * (1.0 - DRIFT) {
            return false;
        }
        row.guaranteed_load = row.active.iter().map(|&bundle| self.bundles.guaranteed[bundle as usize]).sum();
        row.guaranteed_load > row.capacity * (1.0 + EPSILON)
    }

    /// The same with slices that meet on binding links filled up together.
    fn is_overfull_when_met(&self, link: u32) -> bool {
        let row = &self.links[link as usize];
        if row.guaranteed_load + self.scratch.guarantees.extra[link as usize] <= row.capacity * (1.0 - DRIFT) {
            return false;
        }
        let carried = |&bundle: &u32| match self.bundles.slices[bundle as usize] {
            NONE => 0.0,
            slice if self.scratch.guarantees.met[slice as usize] => self.bundles.loads[bundle as usize],
            _ => self.bundles.guaranteed[bundle as usize],
        };
        row.active.iter().map(carried).sum::<f64>() > row.capacity * (1.0 + EPSILON)
    }

    /// Finds the slices that cross binding links.
    fn meet(&mut self, links: &[u32], slices: &[u32]) {
        let scratch = &mut self.scratch.guarantees;
        for &slice in slices {
            scratch.met[slice as usize] = false;
        }
        for &link in links {
            scratch.extra[link as usize] = 0.0;
            if scratch.binding[link as usize] {
                for &bundle in &self.links[link as usize].active {
                    let slice = self.bundles.slices[bundle as usize];
                    if slice != NONE {
                        scratch.met[slice as usize] = true;
                    }
                }
            }
        }
        for &slice in slices {
            if self.scratch.guarantees.met[slice as usize] {
                self.scratch.guarantees.guarantees[slice as usize] = self.scaled_guarantee(slice);
            }
        }
    }

    /// What a slice is guaranteed \[bit/s\]. Guarantees that do not fit on their link are scaled down together.
    fn scaled_guarantee(&self, slice: u32) -> f64 {
        let row = &self.slices[slice as usize];
        let planned = row.standing.expect("a contended slice stands");
        let link = &self.links[row.link as usize];
        let guarantee = planned.guarantee.0.min(planned.ceiling.0) as f64;
        let fit = (link.capacity / link.guaranteed as f64).min(1.0);
        if guarantee > 0.0 { guarantee * fit } else { 0.0 }
    }

    /// Fills one slice up to its guarantee as if no link were ever full.
    fn fill_guarantee_alone(&mut self, slice: u32) {
        let guarantee = self.scaled_guarantee(slice);
        let row = &mut self.slices[slice as usize];
        row.guaranteed_as_of = self.plans;
        let rows = &self.bundles.rows;
        let mut level = 0.0;
        loop {
            // Those with caps up to the last level are at them, the others share what these leave.
            let (mut carried, mut flows, mut cap_min) = (0.0, 0.0, f64::INFINITY);
            for &bundle in &row.active {
                let row = &rows[bundle as usize];
                if row.cap <= level {
                    carried += row.cap * row.count;
                } else {
                    flows += row.count;
                    cap_min = row.cap.min(cap_min);
                }
            }
            level = if flows > 0.0 { ((guarantee - carried) / flows).max(level) } else { f64::INFINITY };
            if level < cap_min || level == f64::INFINITY {
                break;
            }
        }
        for &bundle in &row.active {
            let ix = bundle as usize;
            let row = &rows[ix];
            let rate = level.min(row.cap);
            let load = rate * row.count;
            self.scratch.rates[ix] = rate;
            self.bundles.loads[ix] = load;
            let more = load - std::mem::replace(&mut self.bundles.guaranteed[ix], load);
            for &link in self.bundles.paths[ix].links() {
                self.links[link as usize].guaranteed_load += more;
            }
        }
        self.offer_excess(slice, level);
    }

    /// Fills binding links and the slices that meet on them.
    fn fill_guarantees_together(&mut self, links: &[u32], slices: &[u32]) {
        let mut queue = std::mem::take(&mut self.scratch.guarantees.queue);
        for &slice in slices {
            if self.scratch.guarantees.met[slice as usize] {
                for &bundle in &self.slices[slice as usize].active {
                    self.bundles.loads[bundle as usize] = -self.bundles.rows[bundle as usize].count;
                }
                self.scratch.guarantees.levels[slice as usize] = f64::INFINITY;
                // Whom links stop before leaves the others more, so alone they stop no later.
                let alone = self.scratch.excess.level(slice);
                queue.push(Reverse((alone.to_bits(), Limit::Slice(slice))));
            }
        }
        for &link in links {
            self.scratch.guarantees.bound[link as usize] = false;
            if self.scratch.guarantees.binding[link as usize] {
                queue.push(Reverse((0, Limit::Link(link))));
            }
        }
        while let Some(Reverse((_, limit))) = queue.pop() {
            let (members, room, cap_min) = match limit {
                Limit::Link(link) => {
                    let row = &self.links[link as usize];
                    (&row.active, row.capacity, row.cap_min)
                }
                Limit::Slice(slice) => {
                    let row = &self.slices[slice as usize];
                    (&row.active, self.scratch.guarantees.guarantees[slice as usize], row.cap_min)
                }
            };
            let (carried, flows, rising) = pull(members, &self.bundles.loads, &mut self.scratch.rising);
            if rising == 0 {
                continue;
            }
            let level = ((room - carried) / flows).max(0.0);
            if queue.peek().is_some_and(|Reverse((next, _))| *next < level.to_bits()) {
                queue.push(Reverse((level.to_bits(), limit)));
                continue;
            }
            let mut capped = false;
            if level >= cap_min {
                for &bundle in &self.scratch.rising[..rising] {
                    let row = &self.bundles.rows[bundle as usize];
                    if row.cap <= level {
                        self.bundles.loads[bundle as usize] = row.cap * row.count;
                        self.scratch.rates[bundle as usize] = row.cap;
                        capped = true;
                    }
                }
            }
            if capped {
                // That leaves the others more.
                queue.push(Reverse((level.to_bits(), limit)));
                continue;
            }
            for &bundle in &self.scratch.rising[..rising] {
                self.bundles.loads[bundle as usize] *= -level;
                self.scratch.rates[bundle as usize] = level;
            }
            match limit {
                Limit::Link(link) => self.scratch.guarantees.bound[link as usize] = true,
                Limit::Slice(slice) => self.scratch.guarantees.levels[slice as usize] = level,
            }
        }
        for &slice in slices {
            if self.scratch.guarantees.met[slice as usize] {
                for &bundle in &self.slices[slice as usize].active {
                    let more = self.bundles.loads[bundle as usize] - self.bundles.guaranteed[bundle as usize];
                    for &link in self.bundles.paths[bundle as usize].links() {
                        self.scratch.guarantees.extra[link as usize] += more;
                    }
                }
            }
        }
        self.scratch.guarantees.queue = queue;
    }
}
