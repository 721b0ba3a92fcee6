//! Filters that put each slice's packets into its class: by source, the longest prefix first.
//!
//! They bear a preference of a range of our own, so that others' at the same discipline are told from them. A preference
//! holds one protocol and one length of prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use forebay_world::SliceId;

use super::{Enforced, Gate, SliceError};
use crate::netlink::{Filter, Handle, Link, Match, Netlink, Protocol, Request, SeenFilter};
use crate::prefix::Prefix;

/// Preferences of ours, as no tool gives them by itself.
const PREFERENCES: RangeInclusive<u16> = 0xf900..=0xfaff;
const V4: u16 = 0xf900;
const V6: u16 = 0xfa00;

/// Every filter that shall stand at `parent`.
pub(super) fn wanted(
    slices: &BTreeMap<SliceId, Enforced>,
    parent: Handle,
    class_of: impl Fn(SliceId) -> Handle,
) -> Vec<Filter> {
    let all = slices.iter().flat_map(|(id, slice)| slice.sources.iter().map(|source| (*id, *source)));
    all.map(|(id, source)| {
        let preference = preference(source);
        Filter { parent, preference, matches: Match::Source(source), class: class_of(id) }
    })
    .collect()
}

fn preference(source: Prefix) -> u16 {
    let length = u16::from(source.length());
    if source.address().is_ipv4() { V4 + (32 - length) } else { V6 + (128 - length) }
}

/// Whether a filter is of our range.
pub(super) fn is_ours(seen: &SeenFilter) -> bool {
    PREFERENCES.contains(&seen.preference)
}

/// Sources by class, from the filters of ours that stand; and what is of our range but nothing of ours, for people.
pub(super) fn sources(seen: &[SeenFilter]) -> (BTreeMap<Handle, BTreeSet<Prefix>>, Vec<String>) {
    let mut sources: BTreeMap<Handle, BTreeSet<Prefix>> = BTreeMap::new();
    let mut strays = Vec::new();
    for filter in seen.iter().filter(|filter| is_ours(filter)) {
        let stray = match filter.as_filter() {
            Some(Filter { matches: Match::Source(source), class, preference, .. })
                if preference == self::preference(source) =>
            {
                !sources.entry(class).or_default().insert(source)
            }
            _ => true,
        };
        if stray {
            strays.push(format!("a filter of preference {:#x} that was not asked for", filter.preference));
        }
    }
    (sources, strays)
}

/// The EtherType of the packets that a filter looks at.
fn ether_type(filter: &Filter) -> u16 {
    match filter.matches.protocol() {
        Protocol::V4 => 0x0800,
        Protocol::V6 => 0x86dd,
    }
}

/// Adds what is missing, then takes away what is too much. Returns the number of writes.
pub(super) fn reconcile(
    netlink: &mut Netlink,
    link: &Link,
    parent: Handle,
    wanted: &[Filter],
    gate: &mut Gate,
) -> Result<u32, SliceError> {
    let seen: Vec<SeenFilter> = netlink.filters(link, parent)?.into_iter().filter(is_ours).collect();
    let mut surplus: Vec<&SeenFilter> = Vec::new();
    let mut standing: Vec<Filter> = Vec::new();
    for filter in &seen {
        match filter.as_filter() {
            Some(known) if wanted.contains(&known) && !standing.contains(&known) => standing.push(known),
            _ => surplus.push(filter),
        }
    }
    let mut requests = Vec::new();
    // A preference holds one protocol: what is of another stands in the way.
    let in_the_way = |seen: &SeenFilter| {
        wanted.iter().any(|filter| {
            filter.preference == seen.preference && (seen.kind != "u32" || seen.ether_type != ether_type(filter))
        })
    };
    let (first, last): (Vec<&SeenFilter>, Vec<&SeenFilter>) = surplus.into_iter().partition(|seen| in_the_way(seen));
    // With their table, which would keep the preference to their protocol: the kernel takes handle 0 for all.
    let mut tables: Vec<SeenFilter> = first.into_iter().map(|seen| SeenFilter { handle: 0, ..seen.clone() }).collect();
    tables.dedup_by_key(|seen| (seen.preference, seen.ether_type));
    requests.extend(tables.iter().map(|table| Request::delete_filter(link, table)));
    for filter in wanted.iter().filter(|filter| !standing.contains(filter)) {
        requests.push(Request::add_filter(link, filter)?);
    }
    requests.extend(last.into_iter().map(|filter| Request::delete_filter(link, filter)));
    for request in &requests {
        gate.pass(request.subject())?;
        netlink.send(request)?;
    }
    Ok(requests.len() as u32)
}
