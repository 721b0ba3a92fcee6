//! The OpenFlow rules of ports: only its own addresses may leave a port, only its own slice may hear it, and its packets
//! carry their slice's mark.
//!
//! ```text
//!   port ──▶ table 0: own link-layer and network addresses? ──no──▶ dropped
//!                │ yes: mark, queue; register 7 = slice + 1
//!                ▼
//!            table 60: to a port of the same slice ──▶ there      to a port of another slice ──▶ dropped
//!                      to all ──▶ uplink and ports of the slice   anything else ──▶ uplink
//! ```
//!
//! Flows are written as `ovs-ofctl dump-flows --no-stats --no-names` writes them (ovs-ofctl(8), ovs-fields(7),
//! ovs-actions(7)), so that what stands is compared with what shall word for word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use forebay_world::SliceId;

use crate::prefix::Prefix;
use crate::slices::{LinkSlices, MacAddress, Port};

/// First 16 bits of the cookie of each of our flows.
const COOKIE_MARK: u64 = 0xfb0e << 48;
/// Where packets of our ports go once their sender is known.
const SLICE_TABLE: u8 = 60;
const OWN: u16 = 40_010;
const SPOOFED: u16 = 40_000;
const FROM_UPLINK: u16 = 30_200;
/// The longest prefix first, as filters have it: this for none, and one more for each of its bits.
const SOURCE: u16 = 30_000;
const TO_ALL: u16 = 20_000;
const MULTICAST: &str = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00";

/// How packets come into the queue of their slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queueing {
    /// By an action of the flow: datapaths that set a packet's priority, as the kernel's does.
    SetQueue,
    /// By filters on the device: flows say nothing.
    Filters,
}

/// The bridge's numbers of the ports that flows name.
#[derive(Clone, Debug, Default)]
pub(super) struct PortNumbers {
    /// The port at which the slices share the link.
    pub(super) uplink: u32,
    /// Those of machines, by name.
    pub(super) ports: BTreeMap<String, u32>,
}

/// The cookie of all flows of one owner's link: 48 bits of a hash, FNV-1a (G. Fowler, L. Noll, K. Vo).
pub(super) fn cookie(owner: &str, uplink: &str) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = owner.bytes().chain([0]).chain(uplink.bytes()).fold(0xcbf2_9ce4_8422_2325, fnv);
    COOKIE_MARK | (hash & !(0xffff << 48))
}

/// Every flow that shall stand, sorted.
pub(super) fn flows(
    wanted: &LinkSlices,
    numbers: &PortNumbers,
    queueing: Queueing,
    cookie: u64,
) -> Result<BTreeSet<String>, String> {
    let mut flows = Flows { cookie, queueing, found: BTreeSet::new() };
    let number = |name: &String| {
        numbers.ports.get(name).copied().ok_or_else(|| format!("port {name} has no OpenFlow number on the bridge"))
    };
    let uplink = numbers.uplink;
    let mut members: BTreeMap<SliceId, Vec<u32>> = BTreeMap::new();
    for (name, port) in &wanted.ports {
        let number = number(name)?;
        members.entry(port.slice).or_default().push(number);
        flows.of_port(number, port, wanted.slices.get(&port.slice).map_or(0, |slice| slice.terms.dscp));
        flows.add(0, FROM_UPLINK, &format!("in_port={uplink},dl_dst={}", port.mac), &format!("output:{number}"));
        let slice = register(port.slice);
        flows.add(SLICE_TABLE, 200, &format!("reg7={slice:#x},dl_dst={}", port.mac), &format!("output:{number}"));
        flows.add(SLICE_TABLE, 100, &format!("dl_dst={}", port.mac), "drop");
    }
    for (slice, mut numbers) in members {
        numbers.sort_unstable();
        let mut to = format!("output:{uplink}");
        numbers.iter().for_each(|number| to.push_str(&format!(",output:{number}")));
        flows.add(SLICE_TABLE, 200, &format!("reg7={:#x},{MULTICAST}", register(slice)), &to);
    }
    if !wanted.ports.is_empty() {
        flows.add(SLICE_TABLE, 10, "", &format!("output:{uplink}"));
        flows.add(0, TO_ALL, &format!("in_port={uplink},{MULTICAST}"), "NORMAL");
    }
    for (id, slice) in &wanted.slices {
        for source in &slice.sources {
            flows.of_source(*id, *source, slice.terms.dscp);
        }
    }
    Ok(flows.found)
}

/// Slice 0 is told from no slice.
fn register(slice: SliceId) -> u32 {
    slice.0 + 1
}

struct Flows {
    cookie: u64,
    queueing: Queueing,
    found: BTreeSet<String>,
}

impl Flows {
    fn add(&mut self, table: u8, priority: u16, matching: &str, actions: &str) {
        let table = if table == 0 { String::new() } else { format!("table={table}, ") };
        let comma = if matching.is_empty() { "" } else { "," };
        let cookie = self.cookie;
        self.found.insert(format!("cookie={cookie:#x}, {table}priority={priority}{comma}{matching} actions={actions}"));
    }

    fn mark_and_queue(&self, slice: SliceId, dscp: u8) -> String {
        let mut actions = String::new();
        if dscp > 0 {
            actions.push_str(&format!("set_field:{dscp}->ip_dscp,"));
        }
        if self.queueing == Queueing::SetQueue {
            actions.push_str(&format!("set_queue:{},", super::rows::queue_of(slice)));
        }
        actions
    }

    fn of_port(&mut self, number: u32, port: &Port, dscp: u8) {
        let (mac, slice) = (port.mac, port.slice);
        let on = format!("set_field:{:#x}->reg7,resubmit(,{SLICE_TABLE})", register(slice));
        let marked = format!("{}{on}", self.mark_and_queue(slice, dscp));
        for address in &port.addresses {
            match address {
                IpAddr::V4(v4) => {
                    self.add(0, OWN, &format!("ip,in_port={number},dl_src={mac},nw_src={v4}"), &marked);
                    let arp = format!("arp,in_port={number},dl_src={mac},arp_spa={v4},arp_sha={mac}");
                    self.add(0, OWN, &arp, &on);
                    // A host that looks whether its address is free asks from none (RFC 5227).
                    let probe = format!("arp,in_port={number},dl_src={mac},arp_spa=0.0.0.0,arp_tpa={v4},arp_sha={mac}");
                    self.add(0, OWN, &probe, &on);
                }
                IpAddr::V6(v6) => {
                    self.add(0, OWN, &format!("ipv6,in_port={number},dl_src={mac},ipv6_src={v6}"), &marked);
                    self.of_neighbours(number, mac, *v6, &on);
                }
            }
        }
        self.add(0, SPOOFED, &format!("in_port={number}"), "drop");
    }

    /// Neighbour discovery (RFC 4861): solicitations from its own address or from none, advertisements of its own address
    /// only; routers are not among machines.
    fn of_neighbours(&mut self, number: u32, mac: MacAddress, own: std::net::Ipv6Addr, on: &str) {
        let from = |source: &str| format!("icmp6,in_port={number},dl_src={mac},ipv6_src={source}");
        for source in [own.to_string(), link_local(mac).to_string()] {
            self.add(0, OWN + 10, &format!("{},icmp_type=136,nd_target={own},nd_tll={mac}", from(&source)), on);
            self.add(0, OWN + 10, &format!("{},icmp_type=135,nd_sll={mac}", from(&source)), on);
        }
        self.add(0, OWN + 10, &format!("{},icmp_type=135,nd_target={own}", from("::")), on);
        // Router solicitations, and listener reports (RFC 3810).
        for kind in [133, 143] {
            for source in [link_local(mac).to_string(), "::".to_owned()] {
                self.add(0, OWN + 10, &format!("{},icmp_type={kind}", from(&source)), on);
            }
        }
        for kind in [134, 135, 136] {
            self.add(0, OWN + 5, &format!("icmp6,in_port={number},icmp_type={kind}"), "drop");
        }
    }

    fn of_source(&mut self, slice: SliceId, source: Prefix, dscp: u8) {
        let actions = self.mark_and_queue(slice, dscp);
        if actions.is_empty() {
            return;
        }
        let (address, length) = (source.address(), source.length());
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let network = if length == whole { address.to_string() } else { format!("{address}/{length}") };
        let matching = match (address.is_ipv4(), length) {
            (true, 0) => "ip".to_owned(),
            (false, 0) => "ipv6".to_owned(),
            (true, _) => format!("ip,nw_src={network}"),
            (false, _) => format!("ipv6,ipv6_src={network}"),
        };
        self.add(0, SOURCE + u16::from(length), &matching, &format!("{actions}NORMAL"));
    }
}

/// The address that a host gives itself on a link (RFC 4291, appendix A: modified EUI-64).
fn link_local(mac: MacAddress) -> std::net::Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0.map(u16::from);
    std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

/// The ports that flows are about, by their rules for addresses; and rules that cannot be told, for people.
pub(super) fn ports(
    flows: &BTreeSet<String>,
    numbers: &BTreeMap<String, u32>,
) -> (BTreeMap<String, Port>, Vec<String>) {
    let name_of: BTreeMap<u32, &String> = numbers.iter().map(|(name, number)| (*number, name)).collect();
    let mut ports: BTreeMap<String, Port> = BTreeMap::new();
    let mut strays = Vec::new();
    let own = format!("priority={OWN},");
    for flow in flows.iter().filter(|flow| flow.contains(&own) && !flow.contains("table=")) {
        let field = |key: &str| {
            let start = flow.find(&format!(",{key}="))? + key.len() + 2;
            flow[start..].split([',', ' ']).next()
        };
        let Some(address) = field("nw_src").or_else(|| field("ipv6_src")) else { continue };
        let register = flow.split("set_field:0x").nth(1).and_then(|rest| rest.split("->reg7").next());
        let told = || -> Option<(String, MacAddress, IpAddr, SliceId)> {
            let name = name_of.get(&field("in_port")?.parse().ok()?)?;
            let slice = u32::from_str_radix(register?, 16).ok()?.checked_sub(1)?;
            Some(((*name).clone(), field("dl_src")?.parse().ok()?, address.parse().ok()?, SliceId(slice)))
        };
        let Some((name, mac, address, slice)) = told() else {
            strays.push(format!("a flow of no port: {flow}"));
            continue;
        };
        let port = ports.entry(name.clone()).or_insert_with(|| Port { slice, mac, addresses: BTreeSet::new() });
        if (port.slice, port.mac) != (slice, mac) {
            strays.push(format!("port {name} with rules of two minds"));
        }
        port.addresses.insert(address);
    }
    (ports, strays)
}
