//! A network after any history is what it would be if it had been built as it stands: same rates, same flows, and
//! every bit accounted for.

mod network_model;

use std::collections::BTreeMap;

use forebay_sim::network::{FlowId, GroupIx, GroupUsage, LinkIx, Network};
use forebay_world::{Duration, SliceId, Timestamp};
use network_model::{Model, ModelGroup, ModelSlice, planned};
use proptest::prelude::*;

const LINKS: usize = 6;
const SLICES: usize = 6;
/// Paths, each with the slices that could take it.
const PATHS: [&[usize]; 10] =
    [&[0], &[1], &[0, 1], &[1, 2], &[0, 2, 3], &[3], &[3, 4], &[2, 4, 5], &[5], &[0, 1, 2, 3, 4, 5]];
const CAPS: [f64; 3] = [3.0, 8.5, 40.0];

/// Something that happens to a network, in small numbers.
#[derive(Clone, Debug)]
enum Change {
    Join(usize),
    Leave(usize),
    SetCount(usize, u32),
    Start(usize, u32),
    Cancel(usize),
    Clear(usize),
    SetCapacity(usize, u32),
    SetSlice(usize, u64, u64, u32, u8),
    RemoveSlice(usize),
    Release(usize),
    Wait(u32),
    Look(usize),
}

fn changes(most: usize) -> impl Strategy<Value = Vec<Change>> {
    let groups = PATHS.len() * CAPS.len() * 2;
    let change = prop_oneof![
        6 => (0..groups).prop_map(Change::Join),
        4 => (0..groups).prop_map(Change::Leave),
        1 => (0..groups, 0u32..80).prop_map(|(group, count)| Change::SetCount(group, count)),
        6 => (0..groups, 1u32..400).prop_map(|(group, bits)| Change::Start(group, bits)),
        1 => (0usize..100).prop_map(Change::Cancel),
        1 => (0..groups).prop_map(Change::Clear),
        1 => (0..LINKS, 0u32..200).prop_map(|(link, capacity)| Change::SetCapacity(link, capacity)),
        2 => (0..SLICES, 0u64..40, 5u64..100, 1u32..4, 0u8..3).prop_map(|(s, g, c, w, p)| Change::SetSlice(s, g, c, w, p)),
        1 => (0..SLICES).prop_map(Change::RemoveSlice),
        2 => (0..groups).prop_map(Change::Release),
        8 => (0u32..2_000).prop_map(Change::Wait),
        2 => (0..groups).prop_map(Change::Look),
    ];
    proptest::collection::vec(change, 1..most)
}

/// A network under change, and what is known of it from outside.
#[derive(Clone)]
struct History {
    network: Network,
    links: Vec<LinkIx>,
    now: Timestamp,
    capacities: Vec<f64>,
    slices: BTreeMap<usize, ModelSlice>,
    inelastic: BTreeMap<usize, f64>,
    groups: BTreeMap<usize, GroupIx>,
    /// By tag: id, group and size.
    flows: BTreeMap<u64, (FlowId, usize, f64)>,
    tags: u64,
    /// Bits that ended flows got, and the integral of the inelastic ones' rates.
    delivered: f64,
    used: BTreeMap<usize, GroupUsage>,
    ended: Vec<(u64, Timestamp)>,
}

impl History {
    fn new() -> Self {
        let mut network = Network::new();
        let capacities: Vec<f64> = (0..LINKS).map(|link| 20.0 + 13.0 * link as f64).collect();
        let links = capacities.iter().map(|&capacity| network.add_link(capacity)).collect();
        History {
            network,
            links,
            now: Timestamp::from_secs(1_000_000_000),
            capacities,
            slices: BTreeMap::new(),
            inelastic: BTreeMap::new(),
            groups: BTreeMap::new(),
            flows: BTreeMap::new(),
            tags: 0,
            delivered: 0.0,
            used: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    /// Path, slice and cap of group number `ix`.
    fn shape(ix: usize) -> (&'static [usize], Option<usize>, f64) {
        let path = PATHS[ix % PATHS.len()];
        let sliced = (ix / PATHS.len()).is_multiple_of(2);
        (path, sliced.then_some(path[path.len() / 2]), CAPS[ix / PATHS.len() / 2])
    }

    fn group(&mut self, ix: usize) -> GroupIx {
        let (path, slice, cap) = Self::shape(ix);
        let path: Vec<LinkIx> = path.iter().map(|&link| self.links[link]).collect();
        let group = self.network.group(self.now, &path, slice.map(SliceId::at), cap, 0.5);
        self.groups.insert(ix, group);
        group
    }

    fn apply(&mut self, change: &Change) {
        let now = self.now;
        match *change {
            Change::Join(ix) => {
                let group = self.group(ix);
                self.network.join(now, group);
                *self.inelastic.entry(ix).or_default() += 1.0;
            }
            Change::Leave(ix) => {
                if self.inelastic.get(&ix).is_some_and(|&count| count >= 1.0) {
                    self.network.leave(now, self.groups[&ix]);
                    *self.inelastic.entry(ix).or_default() -= 1.0;
                }
            }
            Change::SetCount(ix, count) => {
                let (group, count) = (self.group(ix), f64::from(count) / 8.0);
                self.network.set_count(now, group, count);
                self.inelastic.insert(ix, count);
            }
            Change::Start(ix, bits) => {
                let group = self.group(ix);
                self.tags += 1;
                let id = self.network.start(now, group, f64::from(bits), self.tags);
                self.flows.insert(self.tags, (id, ix, f64::from(bits)));
            }
            Change::Cancel(at) => {
                if let Some(&tag) = self.flows.keys().nth(at % self.flows.len().max(1)) {
                    let (id, _, bits) = self.flows.remove(&tag).unwrap();
                    let left = self.network.cancel(now, id);
                    assert!((0.0..=bits * (1.0 + 1e-9)).contains(&left), "{left} left of {bits}");
                    assert_eq!(self.network.cancel(now, id), 0.0, "a flow is cancelled once");
                    self.delivered += bits - left;
                }
            }
            Change::Clear(ix) => {
                let group = self.group(ix);
                let own: Vec<u64> = self.flows.iter().filter(|(_, flow)| flow.1 == ix).map(|(&tag, _)| tag).collect();
                // What they got before is known by cancelling them in a copy.
                let mut copy = self.network.clone();
                for tag in &own {
                    let (id, _, bits) = self.flows[tag];
                    self.delivered += bits - copy.cancel(now, id);
                }
                let mut cleared = Vec::new();
                self.network.clear(now, group, |tag| cleared.push(tag));
                cleared.sort_unstable();
                assert_eq!(cleared, own);
                self.flows.retain(|tag, _| !own.contains(tag));
            }
            Change::SetCapacity(link, capacity) => {
                self.capacities[link] = f64::from(capacity);
                self.network.set_capacity(now, self.links[link], f64::from(capacity));
            }
            Change::SetSlice(ix, guarantee, ceiling, weight, priority) => {
                let planned = planned(guarantee, ceiling, weight, priority);
                self.slices.insert(ix, ModelSlice { link: ix, planned });
                self.network.set_slice(now, SliceId::at(ix), self.links[ix], planned);
            }
            Change::RemoveSlice(ix) => {
                self.slices.remove(&ix);
                self.network.remove_slice(now, SliceId::at(ix));
            }
            Change::Release(ix) => {
                if let Some(&group) = self.groups.get(&ix).filter(|&&group| self.network.count(group) == 0.0) {
                    self.take(ix);
                    self.network.release(now, group);
                    self.groups.remove(&ix);
                    self.inelastic.remove(&ix);
                }
            }
            Change::Wait(milliseconds) => self.wait(now + Duration::from_millis(u64::from(milliseconds))),
            Change::Look(ix) => {
                let group = self.group(ix);
                self.network.rate(group);
            }
        }
    }

    fn wait(&mut self, until: Timestamp) {
        while let Some(next) = self.network.next_completion().filter(|&next| next <= until) {
            assert!(next >= self.now);
            self.now = next;
            let before = self.ended.len();
            while let Some(tag) = self.network.complete(next) {
                let (_, _, bits) = self.flows.remove(&tag).expect("a flow ends once");
                self.delivered += bits;
                self.ended.push((tag, next));
            }
            assert!(self.ended.len() > before, "something ends when it is due");
        }
        self.now = until;
    }

    fn take(&mut self, ix: usize) {
        let usage = self.network.take_usage(self.now, self.groups[&ix]);
        let sum = self.used.entry(ix).or_default();
        sum.bits += usage.bits;
        sum.flow_seconds += usage.flow_seconds;
        sum.short_flow_seconds += usage.short_flow_seconds;
    }

    /// The network as it stands, as data; slices that do not stand are nobody's.
    fn model(&self) -> (Model, Vec<usize>) {
        let ids: Vec<usize> = self.slices.keys().copied().collect();
        let slices = self.slices.values().copied().collect();
        let (mut groups, mut which) = (Vec::new(), Vec::new());
        for (&ix, &group) in &self.groups {
            let (path, slice, cap) = Self::shape(ix);
            let slice = slice.and_then(|slice| ids.iter().position(|&id| id == slice));
            let count = self.network.count(group);
            if count > 0.0 {
                groups.push(ModelGroup { path: path.to_vec(), slice, cap, count });
                which.push(ix);
            }
        }
        (Model { links: self.capacities.clone(), slices, groups }, which)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rates_depend_on_what_is_and_not_on_what_was(changes in changes(120)) {
        let mut history = History::new();
        for change in &changes {
            history.apply(change);
            if matches!(change, Change::Wait(_)) {
                continue;
            }
            let (model, which) = history.model();
            let fresh = model.rates();
            model.assert_feasible_and_work_conserving(&fresh);
            for (ix, want) in which.into_iter().zip(fresh) {
                let got = history.network.rate(history.groups[&ix]);
                prop_assert!((got - want).abs() <= 1e-9 * want.max(1.0), "group {ix}: {got} and {want} after {change:?}");
            }
        }
    }

    #[test]
    fn every_bit_is_accounted_for(changes in changes(150)) {
        let mut history = History::new();
        let mut inelastic = 0.0;
        for change in &changes {
            // Inelastic flows' bits, by their rate over every stretch in which nothing changes.
            if let Change::Wait(milliseconds) = *change {
                let until = history.now + Duration::from_millis(u64::from(milliseconds));
                while history.now < until {
                    let next = history.network.next_completion().map_or(until, |next| next.min(until));
                    let seconds = next.since(history.now).as_secs_f64();
                    for (&ix, &count) in &history.inelastic {
                        inelastic += history.network.rate(history.groups[&ix]) * count * seconds;
                    }
                    history.wait(next);
                }
            } else {
                history.apply(change);
            }
        }
        // What is still under way has got something too.
        let mut copy = history.network.clone();
        for &(id, _, bits) in history.flows.values() {
            history.delivered += bits - copy.cancel(history.now, id);
        }
        history.groups.clone().keys().for_each(|&ix| history.take(ix));
        let used: f64 = history.used.values().map(|usage| usage.bits).sum();
        let total = history.delivered + inelastic;
        prop_assert!((used - total).abs() <= 1e-6 * total.max(1.0), "{used} used, {total} delivered");
        // Links and slices add up what groups used.
        for link in 0..LINKS {
            let own: f64 = history.used.iter().filter(|(ix, _)| History::shape(**ix).0.contains(&link)).map(|(_, u)| u.bits).sum();
            let bits = history.network.take_link_bits(history.now, history.links[link]);
            prop_assert!((bits - own).abs() <= 1e-6 * own.max(1.0), "link {link}: {bits} and {own}");
        }
        for slice in 0..SLICES {
            let of = history.used.iter().filter(|(ix, _)| History::shape(**ix).1 == Some(slice));
            let (own, offered) = of.fold((0.0, 0.0), |(bits, offered), (ix, usage)| {
                (bits + usage.bits, offered + usage.flow_seconds * History::shape(*ix).2)
            });
            let usage = history.network.take_slice_usage(history.now, SliceId::at(slice));
            prop_assert!((usage.bits - own).abs() <= 1e-6 * own.max(1.0));
            prop_assert!((usage.offered_bits - offered).abs() <= 1e-6 * offered.max(1.0));
        }
        for usage in history.used.values() {
            prop_assert!(usage.short_flow_seconds <= usage.flow_seconds * (1.0 + 1e-9));
        }
    }

    #[test]
    fn a_clone_goes_on_as_the_original(changes in changes(120), at in 0usize..120) {
        let mut history = History::new();
        let (before, after) = changes.split_at(at.min(changes.len()));
        before.iter().for_each(|change| history.apply(change));
        let mut clone = history.clone();
        for side in [&mut history, &mut clone] {
            after.iter().for_each(|change| side.apply(change));
            side.groups.clone().keys().for_each(|&ix| side.take(ix));
        }
        prop_assert_eq!(&history.ended, &clone.ended);
        for (ix, usage) in &history.used {
            prop_assert_eq!(usage.bits.to_bits(), clone.used[ix].bits.to_bits());
        }
    }
}

#[test]
fn a_slice_that_gets_less_than_it_is_guaranteed_starves() {
    let mut network = Network::new();
    let mut now = Timestamp::EPOCH;
    let (access, far) = (network.add_link(100.0), network.add_link(100.0));
    let slice = SliceId(0);
    network.set_slice(now, slice, access, planned(60, 100, 1, 0));
    let group = network.group(now, &[access, far], Some(slice), 10.0, 0.9);
    let mut pass = |network: &mut Network, seconds: u64| {
        now += Duration::from_secs(seconds);
        (network.take_slice_usage(now, slice), network.take_usage(now, group))
    };
    // Five flows offer less than the guarantee and get it all.
    network.set_count(Timestamp::EPOCH, group, 5.0);
    let (usage, _) = pass(&mut network, 10);
    assert_eq!((usage.bits, usage.offered_bits, usage.starved_seconds), (500.0, 500.0, 0.0));
    // Eight offer more; the far link has room for all, then for half.
    network.set_count(Timestamp::from_secs(10), group, 8.0);
    let (usage, flows) = pass(&mut network, 10);
    assert_eq!((usage.bits, usage.starved_seconds, flows.short_flow_seconds), (800.0, 0.0, 0.0));
    network.set_capacity(Timestamp::from_secs(20), far, 40.0);
    let (usage, flows) = pass(&mut network, 10);
    assert_eq!((usage.bits, usage.offered_bits, usage.starved_seconds), (400.0, 800.0, 10.0));
    assert_eq!((flows.flow_seconds, flows.short_flow_seconds), (80.0, 80.0));
    // With the guarantee met it does not starve, though its flows are short.
    network.set_capacity(Timestamp::from_secs(30), far, 60.0);
    let (usage, flows) = pass(&mut network, 10);
    assert_eq!((usage.bits, usage.starved_seconds, flows.short_flow_seconds), (600.0, 0.0, 80.0));
    network.set_capacity(Timestamp::from_secs(40), far, 0.0);
    let (usage, _) = pass(&mut network, 10);
    assert_eq!((usage.bits, usage.starved_seconds), (0.0, 10.0));
}

#[test]
fn flows_of_one_group_share_and_end_in_order_of_size() {
    let mut network = Network::new();
    let link = network.add_link(12.0);
    let now = Timestamp::EPOCH;
    let group = network.group(now, &[link], None, 100.0, 0.0);
    for (tag, bits) in [(1, 12.0), (2, 4.0), (3, 24.0)] {
        network.start(now, group, bits, tag);
    }
    // Processor sharing: 4 bits to each take 1 s; 8 more to two take 4/3 s; 12 more to one take 1 s.
    let mut ends = Vec::new();
    while let Some(next) = network.next_completion() {
        while let Some(tag) = network.complete(next) {
            ends.push((tag, next.as_nanos()));
        }
    }
    assert_eq!(ends, [(2, 1_000_000_000), (1, 2_333_333_334), (3, 3_333_333_334)]);
    assert_eq!(network.take_usage(Timestamp::from_secs(10), group).bits, 40.0);
}

/// Two flows wanting 8 each share 12, then three do, in one network by an exchange and in the other by its two halves.
#[test]
fn an_exchange_takes_usage_and_then_sets_the_count() {
    let networks = [true, false].map(|at_once| {
        let mut network = Network::new();
        let link = network.add_link(12.0);
        let group = network.group(Timestamp::EPOCH, &[link], None, 8.0, 0.9);
        let mut used = Vec::new();
        for (second, count) in [(0, 2.0), (1, 3.0), (3, 0.0), (4, 1.0), (5, 1.0)] {
            let now = Timestamp::from_secs(second);
            used.push(if at_once {
                network.exchange(now, group, count)
            } else {
                let usage = network.take_usage(now, group);
                network.set_count(now, group, count);
                usage
            });
        }
        used
    });
    assert_eq!(networks[0], networks[1]);
    assert_eq!(networks[0].iter().map(|usage| usage.bits).collect::<Vec<_>>(), [0.0, 12.0, 24.0, 0.0, 8.0]);
    assert_eq!(networks[0][2].short_flow_seconds, 6.0);
}

#[test]
fn nothing_ends_on_a_cut_link_and_everything_goes_on_when_it_is_back() {
    let mut network = Network::new();
    let link = network.add_link(0.0);
    let now = Timestamp::EPOCH;
    let group = network.group(now, &[link], None, 10.0, 0.0);
    network.start(now, group, 20.0, 7);
    assert_eq!(network.next_completion(), None);
    network.set_capacity(Timestamp::from_secs(5), link, 5.0);
    assert_eq!(network.next_completion(), Some(Timestamp::from_secs(9)));
    network.set_capacity(Timestamp::from_secs(7), link, 0.0);
    assert_eq!(network.next_completion(), None);
    network.set_capacity(Timestamp::from_secs(8), link, 50.0);
    assert_eq!(network.next_completion(), Some(Timestamp::from_secs(9)));
    assert_eq!(network.complete(Timestamp::from_secs(9)), Some(7));
    assert_eq!(network.complete(Timestamp::from_secs(9)), None);
    assert_eq!(network.next_completion(), None);
    network.release(Timestamp::from_secs(9), group);
    network.remove_link(link);
    assert_eq!(network.add_link(1.0), link);
}

#[test]
fn flows_of_no_size_end_at_once_and_all_of_the_same_instant_do() {
    let mut network = Network::new();
    let link = network.add_link(10.0);
    let now = Timestamp::from_secs(3);
    let group = network.group(now, &[link], None, 10.0, 0.0);
    for tag in 0..5 {
        network.start(now, group, 0.0, tag);
    }
    assert_eq!(network.next_completion(), Some(now));
    let ended: Vec<u64> = std::iter::from_fn(|| network.complete(now)).collect();
    assert_eq!(ended, [0, 1, 2, 3, 4]);
    assert_eq!(network.flows(), 0);
}

#[test]
fn a_clock_that_has_run_long_still_keeps_time() {
    let mut network = Network::new();
    let link = network.add_link(1.5e12);
    let group = network.group(Timestamp::EPOCH, &[link], None, 1e12, 0.0);
    // One flow is always under way, so that the clock never rests: 1e15 bits pass, in flows of a millisecond's worth.
    network.start(Timestamp::EPOCH, group, 1e16, 0);
    let mut now = Timestamp::from_secs(1_000);
    for tag in 1..100 {
        network.start(now, group, 1e9, tag);
        let end = network.next_completion().unwrap();
        assert_eq!((end.since(now).as_nanos() as f64 / 1e6 * 0.75).round(), 1.0);
        assert!(end.since(now).as_nanos().abs_diff(1_333_334) <= 1, "{}", end.since(now).as_nanos());
        assert_eq!(network.complete(end), Some(tag));
        now += Duration::from_secs(10);
    }
}

/// Two links here are full at the same level but for rounding, whichever is looked at first.
#[test]
fn links_that_only_rounding_tells_apart_do_not_mislead_a_filling() {
    use Change::{Join, SetCount, SetSlice, Start};
    let changes = [
        Start(26, 1),
        Join(6),
        Join(1),
        SetSlice(4, 0, 50, 1, 0),
        SetCount(11, 1),
        Join(47),
        Join(5),
        Join(42),
        Start(14, 1),
        Join(7),
        SetSlice(1, 2, 33, 1, 0),
        Start(41, 1),
        Start(56, 1),
        Join(7),
        Start(9, 1),
        Start(45, 1),
        Join(42),
    ];
    let mut history = History::new();
    changes.iter().for_each(|change| history.apply(change));
    let (model, _) = history.model();
    model.assert_feasible_and_work_conserving(&model.rates());
}
