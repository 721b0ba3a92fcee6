//! The link of a lab and its slices, made by the executor of its switch: slice n is source n's.

use std::collections::{BTreeMap, BTreeSet};

use forebay_adapters::ovsdb::Endpoint;
use forebay_adapters::prefix::Prefix;
use forebay_adapters::slices::ovs::{OvsExecutor, OvsPort};
use forebay_adapters::slices::tc::TcExecutor;
use forebay_adapters::slices::{LinkSlices, Port, Slice, SliceExecutor};
use forebay_world::{BitsPerSecond, Generation, PlannedSlice, SliceId};

use super::lab::{BRIDGE, Lab, SINK_PORT, Switch, run, source_port};

/// The executor for the port towards the sink.
pub(crate) fn executor(lab: &Lab) -> Box<dyn SliceExecutor> {
    let Some(database) = lab.path("db.sock") else {
        return Box::new(lab.switch().within(|| TcExecutor::open(SINK_PORT)).unwrap());
    };
    // Ports are guarded only where nothing passes without a rule while the switch starts.
    run("ovs-vsctl", &[&format!("--db=unix:{}", database.display()), "set-fail-mode", BRIDGE, "secure"]);
    let port = OvsPort {
        endpoint: Endpoint::Unix(database),
        bridge: BRIDGE.to_owned(),
        port: SINK_PORT.to_owned(),
        owner: "test".to_owned(),
        openflow: None,
    };
    Box::new(lab.switch().within(|| OvsExecutor::connect(&port)).unwrap())
}

/// Lets the switch forward by itself again, as it did at first.
#[allow(dead_code, reason = "for the test of the twin, which has this file too")]
pub(crate) fn forward_by_itself(lab: &Lab) {
    if let Some(database) = lab.path("db.sock") {
        run("ovs-vsctl", &[&format!("--db=unix:{}", database.display()), "del-fail-mode", BRIDGE]);
    }
}

/// Terms in Mbit/s of frames.
pub(crate) fn terms(guarantee: f64, ceiling: f64) -> PlannedSlice {
    let rate = |mbit_per_s: f64| BitsPerSecond::from_f64(mbit_per_s * 1e6);
    let (guarantee, ceiling) = (rate(guarantee), rate(ceiling));
    PlannedSlice { guarantee, ceiling, weight: 1, priority: 0, dscp: 0, latency: None }
}

/// Slices of these terms on a link of so many Mbit/s. Open vSwitch keeps each source to its addresses; where nobody can,
/// its packets are told by their source alone.
pub(crate) fn slices(lab: &Lab, switch: Switch, generation: u64, link: f64, terms: &[PlannedSlice]) -> LinkSlices {
    let capacity = BitsPerSecond::from_f64(link * 1e6);
    let mut wanted = LinkSlices { generation: Generation(generation), capacity, ..LinkSlices::default() };
    for (number, terms) in terms.iter().enumerate() {
        let addresses = [false, true].map(|v6| lab.source_address(number, v6));
        let id = SliceId::at(number);
        let mut sources = BTreeSet::new();
        match switch {
            Switch::Bridge => sources.extend(addresses.map(|address| {
                Prefix::new(address, if address.is_ipv4() { 32 } else { 128 }).expect("as many bits as it has")
            })),
            Switch::OpenVswitch => {
                let port = Port { slice: id, mac: lab.source_mac(number), addresses: addresses.into() };
                wanted.ports.insert(source_port(number), port);
            }
        }
        wanted.slices.insert(id, Slice { terms: *terms, sources });
    }
    wanted
}

/// Bytes that the class of each slice has sent, by the kernel's own count.
#[allow(dead_code, reason = "for the test of the twin, which has this file too")]
pub(crate) fn class_bytes(lab: &Lab, switch: Switch) -> BTreeMap<SliceId, u64> {
    let mut netlink = lab.switch().netlink();
    let link = netlink.link(SINK_PORT).unwrap();
    let first = match switch {
        Switch::Bridge => 0x10,
        Switch::OpenVswitch => 2,
    };
    let of = |seen: forebay_adapters::netlink::SeenClass| {
        let number = seen.class.handle.minor.checked_sub(first).filter(|number| *number < 0x100)?;
        Some((SliceId(u32::from(number)), seen.statistics.bytes))
    };
    netlink.classes(&link).unwrap().into_iter().filter_map(of).collect()
}
