//! Which links and slices are contended, and bundles of groups that the same ones limit.

use std::collections::HashMap;

use super::elastic::{Head, NEVER, after, bundle_source};
use super::excess::Instant;
use super::key::{Key, KeyHasher};
use super::{COOL_SHARE, NONE, Network, PATH_LINKS_MAX};

/// Groups with the same contended links, slice, cap and floor. In columns: fillings read some, and not others.
#[derive(Clone, Debug, Default)]
pub(super) struct Bundles {
    pub(super) rows: Vec<Row>,
    pub(super) paths: Vec<Path>,
    /// In a filling: what the bundle carries, when it has stopped \[bit/s\]; less its number of flows, while it rises.
    pub(super) loads: Vec<f64>,
    /// The contended slice that limits the bundle, or none.
    pub(super) slices: Vec<u32>,
    /// What the bundle carries, and its links are loaded with, when its slice is filled up to its guarantee alone
    /// \[bit/s\].
    pub(super) guaranteed: Vec<f64>,
    pub(super) metas: Vec<Meta>,
    /// Asked by key only, never walked.
    of: HashMap<Key, u32, KeyHasher>,
    free: Vec<u32>,
}

/// Flows of a bundle, their rate and their clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) count: f64,
    /// \[bit/s\]
    pub(super) cap: f64,
    /// \[bit/s\]
    pub(super) rate: f64,
    /// Served to each flow since the clock began \[bit\].
    pub(super) served: f64,
    /// What the clock will read when the next elastic flow ends \[bit\].
    pub(super) head: f64,
    /// Time below the floor \[s\].
    pub(super) short: f64,
    /// Rate below which a flow is short \[bit/s\].
    floor: f64,
    /// Instant at which the clocks were read \[ns\].
    pub(super) at: u64,
}

impl Row {
    /// Lets the clocks run to `now` \[ns\].
    #[inline]
    pub(super) fn advance(&mut self, now: u64) {
        let seconds = (now - self.at) as f64 * 1e-9;
        self.served += self.rate * seconds;
        if self.rate < self.floor {
            self.short += seconds;
        }
        self.at = now;
    }

    /// How long until the next elastic flow ends at the present rate \[s\]; infinite when none does.
    #[inline]
    pub(super) fn seconds_left(&self) -> f64 {
        let left = self.head - self.served;
        if left <= 0.0 { 0.0 } else { left / self.rate }
    }
}

/// Contended links and slice of a bundle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    links: [u32; PATH_LINKS_MAX],
    len: u32,
    pub(super) slice: u32,
}

impl Path {
    #[inline]
    pub(super) fn links(&self) -> &[u32] {
        &self.links[..self.len as usize]
    }
}

#[derive(Clone, Debug)]
pub(super) struct Meta {
    key: Key,
    pub(super) groups: Vec<u32>,
    /// Groups with flows.
    busy: u32,
    /// Groups with elastic flows, by which ends first.
    pub(super) heads: Vec<Head>,
    pub(super) due_at: u32,
    /// Enlisted with its links and slice: it is contended and has flows.
    active: bool,
    link_at: [u32; PATH_LINKS_MAX],
    slice_at: u32,
}

impl Meta {
    /// Whether a contended slice limits this bundle.
    #[inline]
    pub(super) fn in_slice(&self) -> bool {
        self.slice_at != NONE
    }
}

impl Network {
    /// Puts a group into the bundle where it belongs now.
    pub(super) fn enter_bundle(&mut self, group: u32) {
        let mut key = self.groups[group as usize].key;
        let mut links = [NONE; PATH_LINKS_MAX];
        let contended = key.links().filter(|&link| self.links[link as usize].contended);
        links.iter_mut().zip(contended).for_each(|(to, link)| *to = link);
        key.links = links;
        let bundle = match self.bundles.of.get(&key) {
            Some(&bundle) => bundle,
            None => self.add_bundle(key),
        };
        self.bundles.rows[bundle as usize].advance(self.now);
        let row = &mut self.bundles.rows[bundle as usize];
        let (served, short) = (row.served, row.short);
        let meta = &mut self.bundles.metas[bundle as usize];
        let row = &mut self.groups[group as usize];
        row.bundle = bundle;
        row.bundle_at = meta.groups.len() as u32;
        meta.groups.push(group);
        row.since = self.now;
        row.served_mark = served;
        row.short_mark = short;
        let count = row.count;
        self.rekey(group, served);
        self.rank_head(group);
        self.recount_bundle(bundle, count, i32::from(count > 0.0));
    }

    /// Takes a group, its usage settled, out of its bundle. Its finishes then count from zero.
    pub(super) fn leave_bundle(&mut self, group: u32) {
        let row = &self.groups[group as usize];
        let (bundle, at, head_at, count) = (row.bundle, row.bundle_at, row.head_at, row.count);
        self.rekey(group, -self.bundles.rows[bundle as usize].served);
        if head_at != NONE {
            let finishes = std::mem::take(&mut self.groups[group as usize].finishes);
            self.rank_head(group);
            self.groups[group as usize].finishes = finishes;
        }
        self.recount_bundle(bundle, -count, -i32::from(count > 0.0));
        let meta = &mut self.bundles.metas[bundle as usize];
        meta.groups.swap_remove(at as usize);
        if let Some(&moved) = meta.groups.get(at as usize) {
            self.groups[moved as usize].bundle_at = at;
        }
        self.groups[group as usize].bundle = NONE;
        if self.bundles.metas[bundle as usize].groups.is_empty() {
            self.drop_bundle(bundle);
        }
    }

    fn add_bundle(&mut self, key: Key) -> u32 {
        let len = key.links().count() as u32;
        let row = Row {
            count: 0.0,
            cap: key.cap(),
            rate: 0.0,
            served: 0.0,
            head: f64::INFINITY,
            short: 0.0,
            // A hair below, so that a rate that should be the floor exactly is not short by rounding.
            floor: key.floor() * key.cap() * (1.0 - 1e-9),
            at: self.now,
        };
        let path = Path { links: key.links, len, slice: key.slice };
        let meta = Meta {
            key,
            groups: Vec::new(),
            busy: 0,
            heads: Vec::new(),
            due_at: NONE,
            active: false,
            link_at: [NONE; PATH_LINKS_MAX],
            slice_at: NONE,
        };
        let ix = if let Some(ix) = self.bundles.free.pop() {
            let old = &mut self.bundles.metas[ix as usize];
            let (groups, heads) = (std::mem::take(&mut old.groups), std::mem::take(&mut old.heads));
            self.bundles.rows[ix as usize] = row;
            self.bundles.paths[ix as usize] = path;
            self.bundles.loads[ix as usize] = 0.0;
            self.bundles.slices[ix as usize] = NONE;
            self.bundles.guaranteed[ix as usize] = 0.0;
            self.bundles.metas[ix as usize] = Meta { groups, heads, ..meta };
            ix
        } else {
            self.bundles.rows.push(row);
            self.bundles.paths.push(path);
            self.bundles.loads.push(0.0);
            self.bundles.slices.push(NONE);
            self.bundles.guaranteed.push(0.0);
            self.bundles.metas.push(meta);
            self.bundles.rows.len() as u32 - 1
        };
        self.bundles.of.insert(key, ix);
        if key.slice != NONE {
            let slice = &mut self.slices[key.slice as usize];
            slice.bundles.push(ix);
            slice.crossing += u32::from(len > 0);
            self.judge_slice(key.slice);
        }
        self.place(ix);
        ix
    }

    fn drop_bundle(&mut self, bundle: u32) {
        self.displace(bundle);
        let key = self.bundles.metas[bundle as usize].key;
        self.bundles.of.remove(&key);
        self.bundles.free.push(bundle);
        if key.slice != NONE {
            let slice = &mut self.slices[key.slice as usize];
            slice.bundles.retain(|&other| other != bundle);
            slice.crossing -= u32::from(self.bundles.paths[bundle as usize].len > 0);
            self.judge_slice(key.slice);
        }
    }

    /// Changes the number of flows of a bundle by `more`, and that of its groups with flows by `busy`.
    pub(super) fn recount_bundle(&mut self, bundle: u32, more: f64, busy: i32) {
        let ix = bundle as usize;
        let meta = &mut self.bundles.metas[ix];
        meta.busy = meta.busy.wrapping_add_signed(busy);
        let count = if meta.busy == 0 { 0.0 } else { self.bundles.rows[ix].count + more };
        if meta.active && count > 0.0 {
            let (component, step) = self.whereabouts(bundle);
            self.unsettle(component, step);
            self.bundles.rows[ix].count = count;
            self.bundles.loads[ix] = -count;
            self.forget_guarantee(self.bundles.slices[ix]);
        } else if meta.active {
            self.displace(bundle);
            self.bundles.rows[ix].count = 0.0;
        } else {
            self.bundles.rows[ix].count = count;
            if count > 0.0 && self.is_contended(bundle) {
                self.place(bundle);
            }
        }
        self.refresh_head(bundle);
    }

    /// Sees to it that an uncontended bundle's next end of a flow is known. That of a contended one is found when its
    /// component is filled, so nothing but a change of its flows may change its head.
    pub(super) fn refresh_head(&mut self, bundle: u32) {
        if !self.is_contended(bundle) {
            let row = &mut self.bundles.rows[bundle as usize];
            let due = if row.head == f64::INFINITY {
                if self.bundles.metas[bundle as usize].due_at == NONE {
                    return;
                }
                NEVER
            } else {
                row.advance(self.now);
                after(self.now, row.seconds_left())
            };
            self.set_due(bundle_source(bundle), due);
        } else if self.bundles.metas[bundle as usize].active {
            let (component, step) = self.whereabouts(bundle);
            self.unsettle(component, step);
        }
    }

    fn is_contended(&self, bundle: u32) -> bool {
        let path = &self.bundles.paths[bundle as usize];
        path.len > 0 || (path.slice != NONE && self.slices[path.slice as usize].contended)
    }

    /// The component of an active bundle, and the first step that it can have a part in.
    fn whereabouts(&self, bundle: u32) -> (u32, u32) {
        let path = &self.bundles.paths[bundle as usize];
        match path.links().first() {
            Some(&link) => {
                let step = path.links().iter().map(|&link| self.links[link as usize].step).min();
                (self.links[link as usize].component, step.unwrap_or(0))
            }
            None => (self.slices[path.slice as usize].component, 0),
        }
    }

    /// Enlists a bundle with what limits it, or gives it its cap when nothing does.
    fn place(&mut self, bundle: u32) {
        let ix = bundle as usize;
        let contended = self.is_contended(bundle);
        let row = &mut self.bundles.rows[ix];
        row.advance(self.now);
        if !contended {
            row.rate = row.cap;
            return self.refresh_head(bundle);
        }
        row.rate = 0.0;
        if row.count == 0.0 {
            return;
        }
        let (cap, path) = (row.cap, self.bundles.paths[ix]);
        self.bundles.loads[ix] = -row.count;
        let in_slice = path.slice != NONE && self.slices[path.slice as usize].contended;
        let mut component = NONE;
        for (at, &link) in path.links().iter().enumerate() {
            let row = &mut self.links[link as usize];
            self.bundles.metas[ix].link_at[at] = row.active.len() as u32;
            row.active.push(bundle);
            row.cap_min = row.cap_min.min(cap);
            row.best_effort += u32::from(!in_slice);
            let other = row.component;
            component = self.unite(component, other);
        }
        if in_slice {
            let row = &mut self.slices[path.slice as usize];
            self.bundles.metas[ix].slice_at = row.active.len() as u32;
            row.active.push(bundle);
            row.cap_min = row.cap_min.min(cap);
            let other = row.component;
            self.unite(component, other);
            self.bundles.slices[ix] = path.slice;
            self.bundles.guaranteed[ix] = 0.0;
            self.forget_guarantee(path.slice);
        }
        self.bundles.metas[ix].active = true;
        let (component, step) = self.whereabouts(bundle);
        self.unsettle(component, step);
    }

    /// Undoes [`Network::place`].
    fn displace(&mut self, bundle: u32) {
        let ix = bundle as usize;
        self.bundles.rows[ix].advance(self.now);
        if !self.bundles.metas[ix].active {
            return self.set_due(bundle_source(bundle), NEVER);
        }
        let (component, step) = self.whereabouts(bundle);
        self.unsettle(component, step);
        self.components[component as usize].stale += 1;
        self.bundles.rows[ix].rate = 0.0;
        let path = self.bundles.paths[ix];
        let (link_at, slice_at) = (self.bundles.metas[ix].link_at, self.bundles.metas[ix].slice_at);
        let guaranteed = std::mem::take(&mut self.bundles.guaranteed[ix]);
        let slice = std::mem::replace(&mut self.bundles.slices[ix], NONE);
        self.forget_guarantee(slice);
        for (&link, at) in path.links().iter().zip(link_at) {
            let row = &mut self.links[link as usize];
            row.active.swap_remove(at as usize);
            row.best_effort -= u32::from(slice_at == NONE);
            row.guaranteed_load -= guaranteed;
            if row.active.is_empty() {
                row.cap_min = f64::INFINITY;
                row.guaranteed_load = 0.0;
            }
            if let Some(&moved) = row.active.get(at as usize) {
                let place = self.bundles.paths[moved as usize].links().iter().position(|&other| other == link);
                self.bundles.metas[moved as usize].link_at[place.expect("an active bundle crosses the link")] = at;
            }
        }
        if slice_at != NONE {
            let row = &mut self.slices[path.slice as usize];
            row.active.swap_remove(slice_at as usize);
            if row.active.is_empty() {
                row.cap_min = f64::INFINITY;
            }
            if let Some(&moved) = row.active.get(slice_at as usize) {
                self.bundles.metas[moved as usize].slice_at = slice_at;
            }
        }
        let meta = &mut self.bundles.metas[ix];
        meta.slice_at = NONE;
        meta.active = false;
    }

    /// Finds out whether a link is contended.
    #[inline]
    pub(super) fn judge_link(&mut self, link: u32) {
        let row = &self.links[link as usize];
        if !row.contended && row.demand > row.capacity {
            self.heat(link);
        } else if row.contended && row.demand <= COOL_SHARE * row.capacity {
            // The running sum may be off by rounding; here it decides, so it is taken anew.
            let demand = row.groups.iter().map(|&group| {
                let group = &self.groups[group as usize];
                group.count * group.key.cap()
            });
            let demand = demand.sum();
            self.links[link as usize].demand = demand;
            if demand <= COOL_SHARE * self.links[link as usize].capacity {
                self.cool(link);
            }
        }
    }

    /// Makes a link contended.
    fn heat(&mut self, link: u32) {
        let component = self.add_component();
        self.components[component as usize].order.push(link);
        let row = &mut self.links[link as usize];
        row.contended = true;
        row.component = component;
        row.step = 0;
        row.full_at = Instant::NEVER;
        self.regroup(link);
    }

    /// Makes a link uncontended.
    pub(super) fn cool(&mut self, link: u32) {
        self.links[link as usize].contended = false;
        self.regroup(link);
        let row = &mut self.links[link as usize];
        let (component, step) = (row.component, std::mem::replace(&mut row.step, NONE));
        row.component = NONE;
        self.unsettle(component, step);
        let row = &mut self.components[component as usize];
        row.order.remove(step as usize);
        row.stale = u32::MAX / 2;
        row.excess_order.clear();
        for (at, &link) in row.order.iter().enumerate().skip(step as usize) {
            self.links[link as usize].step = at as u32;
        }
        self.drop_component_if_empty(component);
    }

    /// Moves the groups that cross a link to the bundles where they belong now.
    fn regroup(&mut self, link: u32) {
        for at in 0..self.links[link as usize].groups.len() {
            let group = self.links[link as usize].groups[at];
            self.settle_group(group);
            self.leave_bundle(group);
            self.enter_bundle(group);
        }
    }

    /// Finds out whether a slice is contended: whether its ceiling or a contended link concerns its flows.
    pub(super) fn judge_slice(&mut self, slice: u32) {
        let row = &mut self.slices[slice as usize];
        let contended = row.standing.is_some_and(|planned| {
            let ceiling = planned.ceiling.as_f64();
            row.over = row.demand > if row.over { COOL_SHARE * ceiling } else { ceiling };
            row.over || row.crossing > 0
        });
        if contended == row.contended {
            return;
        }
        let bundles = std::mem::take(&mut row.bundles);
        for &bundle in &bundles {
            self.displace(bundle);
        }
        if contended {
            let component = self.add_component();
            self.components[component as usize].slices.push(slice);
            self.slices[slice as usize].component = component;
        } else {
            self.account_starved(slice);
            let row = &mut self.slices[slice as usize];
            row.starved = false;
            let component = std::mem::replace(&mut row.component, NONE);
            self.unsettle(component, 0);
            let row = &mut self.components[component as usize];
            row.slices.retain(|&other| other != slice);
            row.stale = u32::MAX / 2;
            self.drop_component_if_empty(component);
        }
        self.slices[slice as usize].contended = contended;
        for &bundle in &bundles {
            self.place(bundle);
        }
        self.slices[slice as usize].bundles = bundles;
    }
}
