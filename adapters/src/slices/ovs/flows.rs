//! The OpenFlow rules of ports: only its own addresses may leave a port, only its own slice may hear it, and its packets
//! carry their slice's mark.
//!
//! ```text
//!   port ──▶ table 0: own link-layer and network addresses, no VLAN tag? ──no──▶ dropped
//!                │ yes: mark, queue; register 7 = number of the uplink, and slice + 1
//!                ▼
//!            table 60: to a port of the same slice ──▶ there      to another port of the uplink's ──▶ dropped
//!                      to all ──▶ uplink and ports of the slice   anything else ──▶ uplink
//! ```
//!
//! A machine reaches what is beyond the uplink and the machines of its slice, and nothing else on the bridge. Beside its own
//! addresses it may ask for one (DHCP) and speak of neighbours (ARP, IPv6 neighbour discovery) in its own name.
//!
//! Flows are written as `ovs-ofctl dump-flows --no-stats --no-names` writes them (ovs-ofctl(8), ovs-fields(7),
//! ovs-actions(7)), so that what stands is compared with what shall word for word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use forebay_world::SliceId;

use crate::prefix::Prefix;
use crate::slices::{LinkSlices, MacAddress, Port};

/// First 16 bits of the cookie of each of our flows.
const COOKIE_MARK: u64 = 0xfb0e << 48;
/// Where packets of our ports go once their sender is known.
const SLICE_TABLE: u8 = 60;
const OWN: u16 = 40_010;
const SPOOFED: u16 = 40_000;
const TO_PORT: u16 = 30_010;
/// Plus the length of the prefix: the longest first.
const SOURCE: u16 = 29_000;
const TO_ALL: u16 = 20_000;
/// No VLAN tag (ovs-fields(7)): a tag would lead past the rules for addresses.
const UNTAGGED: &str = "vlan_tci=0x0000/0x1000";
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
        let slice = register(uplink, port.slice);
        flows.of_port(number, port, slice, wanted.slices.get(&port.slice).map_or(0, |slice| slice.terms.dscp));
        // From wherever it comes: who is not allowed to send there was caught above.
        flows.add(0, TO_PORT, &format!("dl_dst={}", port.mac), &format!("output:{number}"));
        flows.add(SLICE_TABLE, 200, &format!("reg7={slice:#x},dl_dst={}", port.mac), &format!("output:{number}"));
        let of_uplink = format!("reg7={:#x}/0xffff0000", uplink << 16);
        flows.add(SLICE_TABLE, 100, &format!("{of_uplink},dl_dst={}", port.mac), "drop");
    }
    for (slice, mut numbers) in members {
        numbers.sort_unstable();
        let mut to = format!("output:{uplink}");
        numbers.iter().for_each(|number| to.push_str(&format!(",output:{number}")));
        flows.add(SLICE_TABLE, 200, &format!("reg7={:#x},{MULTICAST}", register(uplink, slice)), &to);
    }
    if !wanted.ports.is_empty() {
        let of_uplink = format!("reg7={:#x}/0xffff0000", uplink << 16);
        flows.add(SLICE_TABLE, 10, &of_uplink, &format!("output:{uplink}"));
        flows.add(0, TO_ALL, &format!("in_port={uplink},{MULTICAST}"), "NORMAL");
    }
    for (id, slice) in &wanted.slices {
        let hosts = wanted.hosts(*id);
        for source in slice.sources.difference(&hosts) {
            flows.of_source(*id, *source, slice.terms.dscp);
        }
    }
    Ok(flows.found)
}

/// What register 7 holds: slices of two uplinks of one bridge are told from each other, and slice 0 from no slice.
fn register(uplink: u32, slice: SliceId) -> u32 {
    (uplink << 16) | ((slice.0 + 1) & 0xffff)
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

    fn queue(&self, slice: SliceId) -> String {
        match self.queueing {
            Queueing::SetQueue => format!("set_queue:{},", super::rows::queue_of(slice)),
            Queueing::Filters => String::new(),
        }
    }

    fn of_port(&mut self, number: u32, port: &Port, register: u32, dscp: u8) {
        let (mac, slice) = (port.mac, port.slice);
        let on = format!("set_field:{register:#x}->reg7,resubmit(,{SLICE_TABLE})");
        // No mark is a mark, too: a machine does not give itself one.
        let marked = format!("set_field:{dscp}->ip_dscp,{}{on}", self.queue(slice));
        let from = |protocol: &str| format!("{protocol},in_port={number},{UNTAGGED},dl_src={mac}");
        let asks = |dhcp: &mut Self, protocol: &str, addresses: &str, ports: (u16, u16)| {
            let (source, target) = ports;
            dhcp.add(0, OWN, &format!("{},{addresses},tp_src={source},tp_dst={target}", from(protocol)), &on);
        };
        if port.addresses.iter().any(IpAddr::is_ipv4) {
            asks(self, "udp", "nw_src=0.0.0.0,nw_dst=255.255.255.255", (68, 67));
        }
        if port.addresses.iter().any(IpAddr::is_ipv6) {
            asks(self, "udp6", &format!("ipv6_src={}", shown(link_local(mac))), (546, 547));
        }
        for address in &port.addresses {
            match address {
                IpAddr::V4(v4) => {
                    self.add(0, OWN, &format!("{},nw_src={v4}", from("ip")), &marked);
                    self.add(0, OWN, &format!("{},arp_spa={v4},arp_sha={mac}", from("arp")), &on);
                    // A host that looks whether its address is free asks from none (RFC 5227).
                    let probe = format!("{},arp_spa=0.0.0.0,arp_tpa={v4},arp_sha={mac}", from("arp"));
                    self.add(0, OWN, &probe, &on);
                }
                IpAddr::V6(v6) => {
                    self.add(0, OWN, &format!("{},ipv6_src={}", from("ipv6"), shown(*v6)), &marked);
                    self.of_neighbours(number, mac, *v6, &on);
                }
            }
        }
        self.add(0, SPOOFED, &format!("in_port={number}"), "drop");
    }

    /// Neighbour discovery (RFC 4861): solicitations from its own address or from none, advertisements of its own address
    /// only, both in its own name or without a link-layer address (which ovs-fields(7) has as zeros); machines are no
    /// routers.
    fn of_neighbours(&mut self, number: u32, mac: MacAddress, own: Ipv6Addr, on: &str) {
        let from = |source: &str| format!("icmp6,in_port={number},{UNTAGGED},dl_src={mac},ipv6_src={source}");
        let (own, local) = (shown(own), shown(link_local(mac)));
        for source in [&own, &local] {
            for named in [mac.to_string(), "00:00:00:00:00:00".to_owned()] {
                let tells = format!("{},icmp_type=136,nd_target={own},nd_tll={named}", from(source));
                self.add(0, OWN + 10, &tells, on);
                self.add(0, OWN + 10, &format!("{},icmp_type=135,nd_sll={named}", from(source)), on);
            }
        }
        self.add(0, OWN + 10, &format!("{},icmp_type=135,nd_target={own}", from("::")), on);
        // Router solicitations, and listener reports (RFC 3810).
        for kind in [133, 143] {
            for source in [&local, "::"] {
                self.add(0, OWN + 10, &format!("{},icmp_type={kind}", from(source)), on);
            }
        }
        for kind in [134, 135, 136, 137] {
            self.add(0, OWN + 5, &format!("icmp6,in_port={number},icmp_type={kind}"), "drop");
        }
    }

    fn of_source(&mut self, slice: SliceId, source: Prefix, dscp: u8) {
        let mark = if dscp > 0 { format!("set_field:{dscp}->ip_dscp,") } else { String::new() };
        let actions = format!("{mark}{}", self.queue(slice));
        if actions.is_empty() {
            return;
        }
        let (address, length) = (source.address(), source.length());
        let (is_v4, whole) = (address.is_ipv4(), if address.is_ipv4() { 32 } else { 128 });
        let address = match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => shown(v6),
        };
        let network = if length == whole { address } else { format!("{address}/{length}") };
        let matching = match (is_v4, length) {
            (true, 0) => "ip".to_owned(),
            (false, 0) => "ipv6".to_owned(),
            (true, _) => format!("ip,nw_src={network}"),
            (false, _) => format!("ipv6,ipv6_src={network}"),
        };
        self.add(0, SOURCE + u16::from(length), &matching, &format!("{actions}NORMAL"));
    }
}

/// The address that a host gives itself on a link (RFC 4291, appendix A: modified EUI-64).
fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0.map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

/// An address as inet_ntop(3) writes it, which takes some for IPv4-compatible.
fn shown(address: Ipv6Addr) -> String {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
            format!("::{}", Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => address.to_string(),
    }
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
    for flow in flows.iter().filter(|flow| flow.contains(&own) && !flow.contains("table=") && !flow.contains("tp_src="))
    {
        let field = |key: &str| {
            let start = flow.find(&format!(",{key}="))? + key.len() + 2;
            flow[start..].split([',', ' ']).next()
        };
        let Some(address) = field("nw_src").or_else(|| field("ipv6_src")) else { continue };
        let register = flow.split("->reg7").next().and_then(|before| before.rsplit("set_field:0x").next());
        let told = || -> Option<(String, MacAddress, IpAddr, SliceId)> {
            let name = name_of.get(&field("in_port")?.parse().ok()?)?;
            let slice = (u32::from_str_radix(register?, 16).ok()? & 0xffff).checked_sub(1)?;
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
