//! Flow-level network: what rate each flow gets when links and slices are shared, and when elastic flows end.
//!
//! Not packets: no delay, loss or protocol, only rates that change when flows come and go. Flows that take the same
//! path through the same slice under the same cap are one *group*, and no work is done per flow but to start and end
//! it.
//!
//! # Who gets what
//!
//! Rates are filled up from zero in phases (progressive filling: D. Bertsekas, R. Gallager, *Data Networks*, 1992,
//! sec. 6.5; lexicographic max-min under general constraints: D. Nace, M. Pióro, "Max-min fairness and its
//! applications to routing and load-balancing", IEEE Comm. Surveys 10(4), 2008). What a phase gave, no later one takes.
//!
//! 1. **Guarantees.** All flows in slices rise at one speed. A flow stops at its cap or when a link on its path is
//!    full; a slice stops when its flows sum to its guarantee. Guarantees that do not fit on their link (it is
//!    degraded, or nobody checked) are scaled down together, standing slices that have no demand included.
//! 2. **Excess**, one phase for each priority, 0 first. The slices of that priority rise: slice *s* by its weight
//!    w(s) per unit of filling time, divided evenly among those of its flows that have not stopped. A flow stops as
//!    before; a slice stops at its ceiling. When a flow stops, the others of its slice take over its speed, so a slice
//!    keeps to its weight as long as any of its flows can rise.
//! 3. **Best effort.** All flows without a slice that stands rise at one speed.
//!
//! On one link this is what Linux HTB does with rate = guarantee, ceil = ceiling, quantum ∝ weight, prio = priority,
//! with a fair queue at each leaf. Without slices it is max-min fairness per flow. With several contended links on a
//! path there is no single true answer, and this is ours: a slice's guarantee, priority and weight go with its
//! traffic to *every* link, as if all links honoured its mark. So a link without slices of its own divides
//! evenly per flow within guarantees and within best effort, but excess traffic crosses it by priority, and at the
//! speed that its slices' weights give. (HTB hands out excess by deficit round robin, so its shares hold over
//! milliseconds; here they hold at every instant.)
//!
//! # How it stays fast
//!
//! A link whose flows fit even when each takes its cap couples nobody. Only the others, *contended*, enter a filling.
//! Groups that the same contended links, slice and cap limit are one *bundle* with one rate; bundles joined by
//! contended links or slices make a *component*, and a change refills its own component only, once per instant.
//! Links are looked at in the order in which they filled up last time, each once where that order still holds; without
//! slices, from the first link that a change can concern. With slices there is no such place to begin: a slice with one
//! flow more gives each of its flows less speed from the start, on every link that any of them crosses. What stays is
//! how other slices reach their guarantees. Elastic flows of a bundle share a virtual clock that counts the bits served
//! to each since time began (processor sharing); a flow ends when that clock passes what it read at its start plus
//! the flow's size, so a change of rate touches no flow.

mod component;
mod contention;
mod elastic;
mod excess;
mod filling;
mod guarantees;
mod heap;
mod key;
mod usage;

use std::collections::HashMap;

use forebay_world::{PlannedSlice, SliceId, Timestamp};

use component::Component;
use contention::Bundles;
use elastic::{Due, Finish, FlowSlot};
use excess::Instant;
use filling::Scratch;
use key::{Key, KeyHasher};
use usage::Totals;

pub use usage::{GroupUsage, SliceIntegral};

/// Links that a path can have.
pub const PATH_LINKS_MAX: usize = 6;

const NONE: u32 = u32::MAX;

/// A link ceases to be contended when its flows' caps sum to less than this share of its capacity. Below 1 so that a
/// link on the edge does not go in and out with every flow; which side it is on changes no rate.
const COOL_SHARE: f64 = 0.875;

/// A link of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIx(u32);

/// A group of a [`Network`]: flows of one path, slice and cap, all at the same rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIx(u32);

/// An elastic flow of a [`Network`]. An id is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    slot: u32,
    generation: u32,
}

/// Links, slices, and the flows that share them.
///
/// Time is given with every change and must not run backwards. A flow that ends must be taken out by
/// [`Network::complete`] when its time comes; until then it goes on taking its share.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Instant of the last change \[ns\].
    now: u64,
    links: Vec<Link>,
    links_free: Vec<u32>,
    slices: Vec<Slice>,
    groups: Vec<Group>,
    groups_free: Vec<u32>,
    /// Asked by key only, never walked.
    group_of: HashMap<Key, u32, KeyHasher>,
    flows: Vec<FlowSlot>,
    flows_free: u32,
    flows_live: u32,
    started: u32,
    bundles: Bundles,
    components: Vec<Component>,
    components_free: Vec<u32>,
    /// Components to fill again.
    dirty: Vec<u32>,
    dues: Vec<Due>,
    /// Changes of capacities and of slices' rates.
    plans: u64,
    scratch: Scratch,
}

#[derive(Clone, Debug)]
struct Link {
    /// What it carries at most \[bit/s\].
    capacity: f64,
    /// Sum of its flows' caps \[bit/s\].
    demand: f64,
    /// Groups with flows.
    busy: u32,
    exists: bool,
    contended: bool,
    component: u32,
    /// Position in its component's filling order, while contended.
    step: u32,
    /// Sum of the guarantees of slices that stand on it \[bit/s\].
    guaranteed: u64,
    /// What its bundles carry when every slice is filled up to its guarantee alone, but for rounding \[bit/s\].
    guaranteed_load: f64,
    /// When excess filled it up last time.
    full_at: Instant,
    groups: Vec<u32>,
    /// Bundles with flows that cross it, while contended.
    active: Vec<u32>,
    /// A lower bound on the caps of those.
    cap_min: f64,
    /// How many of those are in no contended slice.
    best_effort: u32,
    bits_retired: f64,
    bits_taken: f64,
}

#[derive(Clone, Debug)]
struct Slice {
    standing: Option<PlannedSlice>,
    link: u32,
    demand: f64,
    busy: u32,
    /// Its flows' caps sum to more than its ceiling.
    over: bool,
    /// Bundles with contended links.
    crossing: u32,
    contended: bool,
    component: u32,
    groups: Vec<u32>,
    bundles: Vec<u32>,
    /// Bundles with flows, while contended.
    active: Vec<u32>,
    /// A lower bound on the caps of those.
    cap_min: f64,
    /// The network's `plans` when it was filled up to its guarantee alone; zero when its flows have changed since.
    guaranteed_as_of: u64,
    starved: bool,
    starved_since: u64,
    starved_seconds: f64,
    bits_retired: f64,
    offered_retired: f64,
    bits_taken: f64,
    offered_taken: f64,
}

#[derive(Clone, Debug)]
struct Group {
    key: Key,
    exists: bool,
    /// Inelastic flows.
    inelastic: f64,
    /// All flows.
    count: f64,
    /// Elastic flows by when they end, on the bundle's clock.
    finishes: Vec<Finish>,
    bundle: u32,
    /// Position among its bundle's groups.
    bundle_at: u32,
    /// Position among its bundle's heads, while it has elastic flows.
    head_at: u32,
    /// Position among its slice's groups.
    slice_at: u32,
    /// Position among each of its links' groups.
    link_at: [u32; PATH_LINKS_MAX],
    /// When `totals` was brought up to date \[ns\], …
    since: u64,
    /// … and the bundle's clocks then.
    served_mark: f64,
    short_mark: f64,
    totals: Totals,
    taken: Totals,
}

impl Network {
    /// A network without links, at the epoch.
    pub fn new() -> Self {
        Network { flows_free: NONE, plans: 1, ..Network::default() }
    }

    /// Adds a link of this capacity \[bit/s\].
    pub fn add_link(&mut self, capacity: f64) -> LinkIx {
        assert!(capacity >= 0.0 && capacity.is_finite(), "capacity of a link: {capacity}");
        let link = Link {
            capacity,
            demand: 0.0,
            busy: 0,
            exists: true,
            contended: false,
            component: NONE,
            step: NONE,
            guaranteed: 0,
            guaranteed_load: 0.0,
            full_at: Instant::NEVER,
            groups: Vec::new(),
            active: Vec::new(),
            cap_min: f64::INFINITY,
            best_effort: 0,
            bits_retired: 0.0,
            bits_taken: 0.0,
        };
        if let Some(ix) = self.links_free.pop() {
            self.links[ix as usize] = link;
            LinkIx(ix)
        } else {
            self.links.push(link);
            LinkIx(self.links.len() as u32 - 1)
        }
    }

    /// Takes away a link that no group uses and no slice stands on. Its index may be given to another.
    pub fn remove_link(&mut self, link: LinkIx) {
        let row = &mut self.links[link.0 as usize];
        assert!(row.exists && row.groups.is_empty() && row.guaranteed == 0, "link {} is in use", link.0);
        assert!(!self.slices.iter().any(|s| s.standing.is_some() && s.link == link.0), "a slice stands on {}", link.0);
        row.exists = false;
        if row.contended {
            self.cool(link.0);
        }
        self.links_free.push(link.0);
    }

    /// Gives a link another capacity \[bit/s\]; zero cuts it.
    pub fn set_capacity(&mut self, now: Timestamp, link: LinkIx, capacity: f64) {
        assert!(capacity >= 0.0 && capacity.is_finite(), "capacity of a link: {capacity}");
        self.pass(now);
        self.plans += 1;
        let row = &mut self.links[link.0 as usize];
        row.capacity = capacity;
        if row.contended {
            let (component, step) = (row.component, row.step);
            self.unsettle(component, step);
        }
        self.judge_link(link.0);
    }

    /// What a link carries at most \[bit/s\].
    pub fn capacity(&self, link: LinkIx) -> f64 {
        self.links[link.0 as usize].capacity
    }

    /// Creates a slice on a link, or gives it other rates. A slice stands on one link at a time, and all its flows must
    /// cross it.
    pub fn set_slice(&mut self, now: Timestamp, slice: SliceId, link: LinkIx, planned: PlannedSlice) {
        self.pass(now);
        let ix = self.slice_row(slice);
        let row = &self.slices[ix as usize];
        if row.standing == Some(planned) && row.link == link.0 {
            return;
        }
        for &group in &row.groups {
            let crosses = self.groups[group as usize].key.links().any(|crossed| crossed == link.0);
            assert!(crosses, "slice {slice} has flows that do not cross link {}", link.0);
        }
        self.account_starved(ix);
        self.plans += 1;
        if let Some(old) = self.slices[ix as usize].standing {
            let (at, guarantee) = (self.slices[ix as usize].link, old.guarantee.0);
            self.links[at as usize].guaranteed -= guarantee;
            self.unsettle_link(at);
        }
        self.links[link.0 as usize].guaranteed += planned.guarantee.0;
        self.unsettle_link(link.0);
        let row = &mut self.slices[ix as usize];
        row.standing = Some(planned);
        row.link = link.0;
        if row.contended {
            let component = row.component;
            self.unsettle(component, 0);
        }
        self.judge_slice(ix);
    }

    /// Removes a slice; its flows become best effort. Does nothing when it does not stand.
    pub fn remove_slice(&mut self, now: Timestamp, slice: SliceId) {
        self.pass(now);
        let ix = self.slice_row(slice);
        if let Some(old) = self.slices[ix as usize].standing {
            self.plans += 1;
            self.account_starved(ix);
            let at = self.slices[ix as usize].link;
            self.links[at as usize].guaranteed -= old.guarantee.0;
            self.unsettle_link(at);
            let row = &mut self.slices[ix as usize];
            row.standing = None;
            row.starved = false;
            self.judge_slice(ix);
        }
    }

    /// Finds or creates the group of flows that take `path` (in any order, no link twice) through `slice` at no more
    /// than `cap` each \[bit/s\]. A flow is short when its rate is below `floor` times `cap`.
    pub fn group(&mut self, now: Timestamp, path: &[LinkIx], slice: Option<SliceId>, cap: f64, floor: f64) -> GroupIx {
        assert!(cap > 0.0 && cap.is_finite(), "cap of a flow: {cap}");
        assert!(path.len() <= PATH_LINKS_MAX, "a path of {} links", path.len());
        self.pass(now);
        let slice = slice.map_or(NONE, |id| self.slice_row(id));
        let mut links = [NONE; PATH_LINKS_MAX];
        for (to, link) in links.iter_mut().zip(path) {
            assert!(self.links[link.0 as usize].exists, "no link {}", link.0);
            *to = link.0;
        }
        links.sort_unstable();
        assert!(links.windows(2).all(|pair| pair[0] != pair[1] || pair[0] == NONE), "a path that meets a link twice");
        let stands = slice != NONE && self.slices[slice as usize].standing.is_some();
        assert!(!stands || links.contains(&self.slices[slice as usize].link), "a path without its slice's link");
        let key = Key { links, slice, cap: cap.to_bits(), floor: floor.to_bits() };
        if let Some(&ix) = self.group_of.get(&key) {
            return GroupIx(ix);
        }
        let group = Group {
            key,
            exists: true,
            inelastic: 0.0,
            count: 0.0,
            finishes: Vec::new(),
            bundle: NONE,
            bundle_at: NONE,
            head_at: NONE,
            slice_at: NONE,
            link_at: [NONE; PATH_LINKS_MAX],
            since: self.now,
            served_mark: 0.0,
            short_mark: 0.0,
            totals: Totals::default(),
            taken: Totals::default(),
        };
        let ix = if let Some(ix) = self.groups_free.pop() {
            // The heap's memory is kept: groups come and go with virtual machines.
            let finishes = std::mem::take(&mut self.groups[ix as usize].finishes);
            self.groups[ix as usize] = Group { finishes, ..group };
            ix
        } else {
            self.groups.push(group);
            self.groups.len() as u32 - 1
        };
        self.group_of.insert(key, ix);
        for (at, link) in key.links().enumerate() {
            let members = &mut self.links[link as usize].groups;
            self.groups[ix as usize].link_at[at] = members.len() as u32;
            members.push(ix);
        }
        if slice != NONE {
            let members = &mut self.slices[slice as usize].groups;
            self.groups[ix as usize].slice_at = members.len() as u32;
            members.push(ix);
        }
        self.enter_bundle(ix);
        GroupIx(ix)
    }

    /// Drops a group without flows. What [`Network::take_usage`] has not taken is lost with it; its links and slice
    /// keep theirs.
    pub fn release(&mut self, now: Timestamp, group: GroupIx) {
        self.pass(now);
        let ix = group.0;
        self.settle_group(ix);
        let row = &mut self.groups[ix as usize];
        assert!(row.exists && row.count == 0.0, "group {ix} has flows");
        row.exists = false;
        let (key, totals, link_at, slice_at) = (row.key, row.totals, row.link_at, row.slice_at);
        self.leave_bundle(ix);
        for (at, link) in key.links().enumerate() {
            let row = &mut self.links[link as usize];
            row.bits_retired += totals.bits;
            row.groups.swap_remove(link_at[at] as usize);
            if let Some(&moved) = row.groups.get(link_at[at] as usize) {
                let place = self.groups[moved as usize].key.links().position(|l| l == link);
                self.groups[moved as usize].link_at[place.expect("a member crosses the link")] = link_at[at];
            }
        }
        if key.slice != NONE {
            let row = &mut self.slices[key.slice as usize];
            row.bits_retired += totals.bits;
            row.offered_retired += totals.flow_seconds * key.cap();
            row.groups.swap_remove(slice_at as usize);
            if let Some(&moved) = row.groups.get(slice_at as usize) {
                self.groups[moved as usize].slice_at = slice_at;
            }
        }
        self.group_of.remove(&key);
        self.groups_free.push(ix);
    }

    /// One inelastic flow begins: it takes up to the group's cap until it leaves.
    pub fn join(&mut self, now: Timestamp, group: GroupIx) {
        self.pass(now);
        let inelastic = self.groups[group.0 as usize].inelastic + 1.0;
        self.set_inelastic(group.0, inelastic);
    }

    /// One inelastic flow ends.
    pub fn leave(&mut self, now: Timestamp, group: GroupIx) {
        self.pass(now);
        let inelastic = self.groups[group.0 as usize].inelastic - 1.0;
        assert!(inelastic >= 0.0, "nobody is left to leave group {}", group.0);
        self.set_inelastic(group.0, inelastic);
    }

    /// Sets the number of inelastic flows, which may be a fraction.
    pub fn set_count(&mut self, now: Timestamp, group: GroupIx, count: f64) {
        assert!(count >= 0.0 && count.is_finite(), "number of flows: {count}");
        self.pass(now);
        self.set_inelastic(group.0, count);
    }

    /// Rate of each flow of a group \[bit/s\]; of a group without flows, what its bundle gets, which may be zero.
    pub fn rate(&mut self, group: GroupIx) -> f64 {
        self.fill_dirty();
        self.bundles.rows[self.groups[group.0 as usize].bundle as usize].rate
    }

    /// Flows of a group, elastic and inelastic.
    pub fn count(&self, group: GroupIx) -> f64 {
        self.groups[group.0 as usize].count
    }

    /// Elastic flows under way.
    pub fn flows(&self) -> usize {
        self.flows_live as usize
    }

    /// Lets time pass to `now`: first gives everybody the rate they have had since the last change.
    #[inline]
    fn pass(&mut self, now: Timestamp) {
        let now = now.as_nanos();
        assert!(now >= self.now, "time runs backwards in the network: {now} ns after {} ns", self.now);
        if now > self.now {
            self.fill_dirty();
            self.now = now;
        }
    }

    fn set_inelastic(&mut self, group: u32, inelastic: f64) {
        self.settle_group(group);
        self.groups[group as usize].inelastic = inelastic;
        self.recount(group);
    }

    /// Brings all that counts flows up to date after a group's flows changed. Its usage must have been settled.
    fn recount(&mut self, group: u32) {
        let row = &mut self.groups[group as usize];
        let before = row.count;
        row.count = row.inelastic + row.finishes.len() as f64;
        let (after, key, bundle) = (row.count, row.key, row.bundle);
        if after == before {
            return self.refresh_head(bundle);
        }
        let (more, demand) = (after - before, (after - before) * key.cap());
        let busy = i32::from(after > 0.0) - i32::from(before > 0.0);
        for link in key.links() {
            let row = &mut self.links[link as usize];
            row.busy = row.busy.wrapping_add_signed(busy);
            row.demand = if row.busy == 0 { 0.0 } else { row.demand + demand };
        }
        if key.slice != NONE {
            let row = &mut self.slices[key.slice as usize];
            row.busy = row.busy.wrapping_add_signed(busy);
            row.demand = if row.busy == 0 { 0.0 } else { row.demand + demand };
        }
        self.recount_bundle(bundle, more, busy);
        for link in key.links() {
            self.judge_link(link);
        }
        if key.slice != NONE {
            self.judge_slice(key.slice);
        }
    }

    fn slice_row(&mut self, slice: SliceId) -> u32 {
        while self.slices.len() <= slice.index() {
            self.slices.push(Slice {
                standing: None,
                link: NONE,
                demand: 0.0,
                busy: 0,
                over: false,
                crossing: 0,
                contended: false,
                component: NONE,
                groups: Vec::new(),
                bundles: Vec::new(),
                active: Vec::new(),
                cap_min: f64::INFINITY,
                guaranteed_as_of: 0,
                starved: false,
                starved_since: 0,
                starved_seconds: 0.0,
                bits_retired: 0.0,
                offered_retired: 0.0,
                bits_taken: 0.0,
                offered_taken: 0.0,
            });
        }
        slice.0
    }
}
