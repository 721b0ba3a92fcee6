//! Components: contended links and slices that bundles tie together, so that a change to one may concern all.

use super::elastic::{NEVER, component_source};
use super::filling::Step;
use super::{NONE, Network};

/// Contended links and slices that bundles tie together, and how their last filling went.
#[derive(Clone, Debug)]
pub(super) struct Component {
    /// Its links, in the order in which they filled up last time.
    pub(super) order: Vec<u32>,
    /// The same in the order in which excess filled them up last time; empty when links have come or gone.
    pub(super) excess_order: Vec<u32>,
    pub(super) slices: Vec<u32>,
    /// What happened at each link in `order`, as far as it still holds.
    pub(super) steps: Vec<Step>,
    /// Bundles in the order in which they stopped.
    pub(super) stopped: Vec<u32>,
    pub(super) dirty: bool,
    /// Ties that went since it was known to hang together.
    pub(super) stale: u32,
    pub(super) due_at: u32,
    /// The bundle whose elastic flow ends first.
    pub(super) next: u32,
}

impl Network {
    /// Notes that a component must be filled again, from step number `step` on.
    pub(super) fn unsettle(&mut self, component: u32, step: u32) {
        let row = &mut self.components[component as usize];
        let step = if row.slices.is_empty() { step as usize } else { 0 };
        if row.steps.len() > step {
            let from = row.steps[step].from as usize;
            for &bundle in &row.stopped[from..] {
                self.bundles.loads[bundle as usize] = -self.bundles.rows[bundle as usize].count;
            }
            row.stopped.truncate(from);
            row.steps.truncate(step);
        }
        if !row.dirty {
            row.dirty = true;
            self.dirty.push(component);
        }
    }

    pub(super) fn unsettle_link(&mut self, link: u32) {
        let row = &self.links[link as usize];
        if row.contended {
            self.unsettle(row.component, row.step);
        }
    }

    /// A component with nothing in it yet.
    pub(super) fn add_component(&mut self) -> u32 {
        if let Some(ix) = self.components_free.pop() {
            self.components[ix as usize].excess_order.clear();
            return ix;
        }
        self.components.push(Component {
            order: Vec::new(),
            excess_order: Vec::new(),
            slices: Vec::new(),
            steps: Vec::new(),
            stopped: Vec::new(),
            dirty: false,
            stale: 0,
            due_at: NONE,
            next: NONE,
        });
        self.components.len() as u32 - 1
    }

    /// Frees a component when nothing is left in it.
    pub(super) fn drop_component_if_empty(&mut self, component: u32) {
        let row = &mut self.components[component as usize];
        if row.order.is_empty() && row.slices.is_empty() {
            // It may still be listed as dirty; whoever gets its index next is then filled once for nothing.
            row.stale = 0;
            self.set_due(component_source(component), NEVER);
            self.components_free.push(component);
        }
    }

    /// Makes two components one, if they are not, and returns it. Either may be missing.
    pub(super) fn unite(&mut self, a: u32, b: u32) -> u32 {
        if a == b || b == NONE {
            return a;
        }
        if a == NONE {
            return b;
        }
        let size = |c: u32| self.components[c as usize].order.len() + self.components[c as usize].slices.len();
        let (into, from) = if size(a) >= size(b) { (a, b) } else { (b, a) };
        self.unsettle(into, 0);
        self.unsettle(from, 0);
        let mut order = std::mem::take(&mut self.components[from as usize].order);
        let mut slices = std::mem::take(&mut self.components[from as usize].slices);
        let row = &mut self.components[into as usize];
        row.excess_order.clear();
        for &link in &order {
            self.links[link as usize].component = into;
            self.links[link as usize].step = row.order.len() as u32;
            row.order.push(link);
        }
        for &slice in &slices {
            self.slices[slice as usize].component = into;
            row.slices.push(slice);
        }
        row.slices.sort_unstable();
        let stale = self.components[from as usize].stale;
        let row = &mut self.components[into as usize];
        row.stale = row.stale.max(stale);
        // Keep the memory.
        order.clear();
        slices.clear();
        let row = &mut self.components[from as usize];
        row.order = order;
        row.slices = slices;
        self.drop_component_if_empty(from);
        into
    }

    /// Breaks up a component that no longer hangs together. Looks only when enough ties have gone to be worth it.
    pub(super) fn split(&mut self, component: u32) {
        let row = &self.components[component as usize];
        let parts = row.order.len() + row.slices.len();
        if parts < 2 || row.stale as usize <= 64 + 4 * parts {
            return;
        }
        let mut order = std::mem::take(&mut self.components[component as usize].order);
        let mut slices = std::mem::take(&mut self.components[component as usize].slices);
        // Union-find over links, then slices, by their position.
        let mut root = std::mem::take(&mut self.scratch.roots);
        root.clear();
        root.extend(0..parts as u32);
        for (at, &slice) in slices.iter().enumerate() {
            self.slices[slice as usize].component = (order.len() + at) as u32;
        }
        for (at, &link) in order.iter().enumerate() {
            self.links[link as usize].component = at as u32;
        }
        let mut left = parts;
        for at in 0..parts {
            let active = match order.get(at) {
                Some(&link) => &self.links[link as usize].active,
                None => &self.slices[slices[at - order.len()] as usize].active,
            };
            for &bundle in active {
                let path = &self.bundles.paths[bundle as usize];
                let slice = self.bundles.metas[bundle as usize].in_slice().then_some(path.slice);
                let links = path.links().iter().map(|&link| self.links[link as usize].component);
                for other in links.chain(slice.map(|slice| self.slices[slice as usize].component)) {
                    let (a, b) = (find(&mut root, at as u32), find(&mut root, other));
                    if a != b {
                        root[a.max(b) as usize] = a.min(b);
                        left -= 1;
                    }
                }
            }
            if left == 1 {
                break;
            }
        }
        if left == 1 {
            for &part in &order {
                self.links[part as usize].component = component;
            }
            for &part in &slices {
                self.slices[part as usize].component = component;
            }
            let row = &mut self.components[component as usize];
            row.order = order;
            row.slices = slices;
            row.stale = 0;
            self.scratch.roots = root;
            return;
        }
        // The part with the first link stays; each other root gets a component of its own.
        let mut homes = std::mem::take(&mut self.scratch.homes);
        homes.clear();
        homes.resize(parts, NONE);
        homes[0] = component;
        let dirty = self.components[component as usize].dirty;
        self.unsettle(component, 0);
        self.components[component as usize].stale = 0;
        self.components[component as usize].excess_order.clear();
        for at in 0..parts {
            let top = find(&mut root, at as u32) as usize;
            if homes[top] == NONE {
                homes[top] = self.add_component();
            }
            let home = homes[top];
            let row = &mut self.components[home as usize];
            if let Some(&link) = order.get(at) {
                self.links[link as usize].component = home;
                self.links[link as usize].step = row.order.len() as u32;
                row.order.push(link);
            } else {
                let slice = slices[at - order.len()];
                self.slices[slice as usize].component = home;
                row.slices.push(slice);
            }
            self.unsettle(home, 0);
        }
        debug_assert!(dirty, "only a dirty component is split");
        order.clear();
        slices.clear();
        self.scratch.roots = root;
        self.scratch.homes = homes;
    }
}

fn find(root: &mut [u32], mut at: u32) -> u32 {
    while root[at as usize] != at {
        root[at as usize] = root[root[at as usize] as usize];
        at = root[at as usize];
    }
    at
}
