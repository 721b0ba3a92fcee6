//! What `tc` shows of a device: the independent reader of what stands.

use std::collections::BTreeMap;
use std::net::IpAddr;

use forebay_adapters::slices::LinkSlices;
use forebay_world::SliceId;

use super::lab::Namespace;

/// Runs `tc` in a namespace.
pub(crate) fn tc(namespace: &Namespace, line: &str) -> String {
    namespace.run("tc", &line.split(' ').collect::<Vec<_>>())
}

/// All that is set on a device; no counters.
pub(crate) fn everything(namespace: &Namespace, device: &str) -> String {
    let link = namespace.run("ip", &["-oneline", "link", "show", "dev", device]);
    let of = |what: &str| tc(namespace, &format!("{what} show dev {device}"));
    [link, of("qdisc"), of("class"), of("filter")].concat()
}

/// Parent, rate and ceil \[bit/s\] of each class of a device by its handle.
pub(crate) fn classes(namespace: &Namespace, device: &str) -> BTreeMap<String, (String, u64, u64)> {
    let text = tc(namespace, &format!("class show dev {device}"));
    let read = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let after = |key: &str| words.iter().position(|word| *word == key).map(|at| words[at + 1]);
        let parent = after("parent").unwrap_or("root").to_owned();
        (words[2].to_owned(), (parent, rate(after("rate").unwrap()), rate(after("ceil").unwrap())))
    };
    text.lines().map(read).collect()
}

/// A rate as `tc` shows it: `10Mbit`, `12Kbit`, `328bit`.
fn rate(text: &str) -> u64 {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit = match &text[digits.len()..] {
        "bit" => 1,
        "Kbit" => 1_000,
        "Mbit" => 1_000_000,
        "Gbit" => 1_000_000_000,
        other => panic!("{other} is no unit of tc"),
    };
    digits.parse::<u64>().expect("a number") * unit
}

/// What differs between slices and the classes and filters of a device, whose class of a slice is called so.
pub(crate) fn differences(
    namespace: &Namespace,
    device: &str,
    wanted: &LinkSlices,
    parent: &str,
    handle_of: impl Fn(SliceId) -> String,
) -> Vec<String> {
    let classes = classes(namespace, device);
    let filters = tc(namespace, &format!("filter show dev {device}"));
    let mut found = Vec::new();
    let seen = classes.values().filter(|(seen, ..)| seen == parent).count();
    if seen != wanted.slices.len() + 1 {
        found.push(format!("{seen} classes for {} slices and the rest: {classes:?}", wanted.slices.len()));
    }
    for (id, slice) in &wanted.slices {
        let handle = handle_of(*id);
        let Some((_, rate, ceil)) = classes.get(&handle) else {
            found.push(format!("no class {handle}"));
            continue;
        };
        let least = |rate: u64| rate.max(12_000);
        let asked = (least(slice.terms.guarantee.0), least(slice.terms.ceiling.0.min(wanted.capacity.0)));
        if (*rate, *ceil) != asked {
            found.push(format!("class {handle} has {rate} and {ceil}, not {asked:?}"));
        }
        for source in wanted.sources(*id) {
            let IpAddr::V4(address) = source.address() else { continue };
            let key = format!("match {:08x}/ffffffff at 12", address.to_bits());
            let lines: Vec<&str> = filters.lines().collect();
            let into = format!("flowid {handle} ");
            if !(1..lines.len()).any(|at| lines[at].contains(&key) && lines[at - 1].contains(&into)) {
                found.push(format!("no filter of {source} into {handle}: {filters}"));
            }
        }
    }
    found
}
