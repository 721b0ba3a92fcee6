//! `[network.REGION]`, checked: who makes the slices of a region's access link, what its machines are attached to, and
//! which addresses they have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use forebay_adapters::Prefix;
use forebay_adapters::slices::{SliceError, SliceView};
use forebay_world::{RegionId, VmId};
use toml::Spanned;

use super::spec::{NetworkSpec, ProductionSpec};
use crate::link::{Executor, ExecutorSpec, check_executor};
use crate::scenario::finding::Findings;
use crate::scenario::site::Site;

/// The access link of a region.
#[derive(Clone, Debug)]
pub struct Network {
    /// Who makes its slices; nobody where `None`.
    pub executor: Option<Executor>,
    /// What machines on hosts of ours are attached to.
    pub bridge: Option<Bridge>,
    /// Their addresses, which a provider is told as well.
    pub addresses: Option<AddressPool>,
}

impl Network {
    /// Whether what stands on it can be looked at.
    pub fn is_seen(&self) -> bool {
        self.executor.is_some()
    }

    /// Opens it to look; `None` where nobody makes slices.
    pub fn view(&self) -> Option<Result<Box<dyn SliceView>, SliceError>> {
        self.executor.as_ref().map(Executor::view)
    }
}

/// A bridge on every host of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bridge {
    /// The kernel's.
    Kernel(String),
    /// Open vSwitch's.
    OpenVswitch(String),
}

/// Addresses that machines of a region take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool {
    network: Prefix,
    public: Option<Prefix>,
    gateway: Option<IpAddr>,
    /// Offsets that no machine gets, from and until, ascending and apart.
    kept: Vec<(u64, u64)>,
    /// Addresses of the network, as many as are counted.
    all: u64,
}

/// Addresses of a network that are counted: more than there will ever be machines.
const COUNTED_MOST: u32 = 32;

impl AddressPool {
    fn new(network: Prefix, public: Option<Prefix>, gateway: Option<IpAddr>, reserved: &[Prefix]) -> AddressPool {
        let bits = host_bits(network);
        let all = 1u64 << bits.min(COUNTED_MOST);
        let mut kept: Vec<(u64, u64)> = Vec::new();
        match network.address() {
            // Its own name, and everybody's.
            IpAddr::V4(_) if bits >= 2 => kept.extend([(0, 1), (all - 1, all)]),
            // The subnet-router anycast address (RFC 4291, section 2.6.1).
            IpAddr::V6(_) if bits >= 1 => kept.push((0, 1)),
            _ => {}
        }
        let gateway_alone = gateway.and_then(|address| Prefix::new(address, if address.is_ipv4() { 32 } else { 128 }));
        for prefix in reserved.iter().copied().chain(gateway_alone) {
            let Some(from) = offset(network, prefix.address()) else { continue };
            let length = 1u64 << host_bits(prefix).min(COUNTED_MOST);
            if from < u128::from(all) {
                kept.push((from as u64, (from as u64).saturating_add(length).min(all)));
            }
        }
        kept.sort_unstable();
        let mut apart: Vec<(u64, u64)> = Vec::new();
        for (from, until) in kept {
            match apart.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => apart.push((from, until)),
            }
        }
        AddressPool { network, public, gateway, kept: apart, all }
    }

    /// Addresses that machines can have.
    pub fn size(&self) -> u64 {
        self.all - self.kept.iter().map(|(from, until)| until - from).sum::<u64>()
    }

    /// The address of a machine: always the same as long as it is not `taken`, else the next that is free. `None` when none
    /// is. A machine keeps what it got: write it down, and count it among those that are taken.
    pub fn assign(&self, vm: VmId, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let size = self.size();
        (0..size.min(taken.len() as u64 + 1))
            .map(|step| self.at((vm.0 % size + step) % size))
            .find(|address| !taken.contains(address))
    }

    /// The address under which clients reach a machine that has `address`: the same place in the public network where
    /// there is one.
    pub fn public_of(&self, address: IpAddr) -> IpAddr {
        match (self.public, offset(self.network, address)) {
            (Some(public), Some(offset)) => plus(public.address(), offset),
            _ => address,
        }
    }

    /// Whether clients that were sent to this address reach a machine here.
    pub fn is_reached_at(&self, address: IpAddr) -> bool {
        match self.public {
            Some(public) => public.contains(address),
            None => self.network.contains(address),
        }
    }

    /// The network of which they are.
    pub fn network(&self) -> Prefix {
        self.network
    }

    /// The way out of it.
    pub fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    /// Whether a machine may get any of the first four addresses from here on, that of the network itself left out.
    pub fn gives_within(&self, part: Prefix) -> bool {
        (0..4).any(|step| part.contains(plus(part.address(), step)) && self.has(plus(part.address(), step)))
    }

    /// Whether a machine may have this address.
    pub fn has(&self, address: IpAddr) -> bool {
        let offset = offset(self.network, address).filter(|offset| *offset < u128::from(self.all));
        offset.is_some_and(|offset| !self.kept.iter().any(|(from, until)| (*from..*until).contains(&(offset as u64))))
    }

    /// The address at a position among those that machines can have.
    pub fn at(&self, position: u64) -> IpAddr {
        let mut offset = position;
        for (from, until) in &self.kept {
            if offset < *from {
                break;
            }
            offset += until - from;
        }
        plus(self.network.address(), u128::from(offset))
    }
}

fn host_bits(prefix: Prefix) -> u32 {
    (if prefix.address().is_ipv4() { 32 } else { 128 }) - u32::from(prefix.length())
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// How far into a network an address is.
fn offset(network: Prefix, address: IpAddr) -> Option<u128> {
    network.contains(address).then(|| bits_of(address.to_canonical()) - bits_of(network.address()))
}

fn plus(address: IpAddr, offset: u128) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_add(offset as u32)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add(offset)).into(),
    }
}

/// The network of each region, where it is given.
pub(super) fn check(
    spec: &ProductionSpec,
    site: &Site,
    folder: &Path,
    findings: &mut Findings,
) -> Vec<Option<Network>> {
    let mut networks: Vec<Option<Network>> = vec![None; site.topology.regions.len()];
    let mut pools: BTreeMap<Prefix, String> = BTreeMap::new();
    for (name, network) in &spec.network {
        let found = site.regions.find(name, findings);
        let checked = check_network(network, spec.production.owner.get_ref(), folder, findings);
        let given = network.get_ref();
        for text in [&given.addresses, &given.public].into_iter().flatten() {
            let Some(prefix) = prefix_of(text, &mut Findings::default()) else { continue };
            let other =
                pools.iter().find(|(other, _)| other.contains(prefix.address()) || prefix.contains(other.address()));
            if let Some((other, region)) = other {
                findings.add(
                    text.span(),
                    format!("{prefix} and {other} of region \"{region}\" overlap"),
                    "each address may be one machine's only",
                    "give each region a network of its own",
                );
            }
            pools.insert(prefix, name.get_ref().clone());
        }
        if let Some(region) = found
            && let Some(place) = networks.get_mut(region)
        {
            *place = Some(checked);
        }
    }
    networks
}

fn check_network(spec: &Spanned<NetworkSpec>, owner: &str, folder: &Path, findings: &mut Findings) -> Network {
    let given = spec.get_ref();
    let executor = given.executor.as_ref().and_then(|executor| {
        if executor.get_ref().owner().is_some_and(|named| named != owner) {
            findings.add(
                executor.span(),
                "`owner` of an executor is another than that of [production]",
                format!("everything bears \"{owner}\""),
                "leave it out here",
            );
        }
        check_executor(executor, owner, folder, findings)
    });
    if let Some(bridge) = &given.bridge {
        let name = bridge.get_ref();
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
        findings.require(
            (1..=15).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['-', '.']),
            bridge.span(),
            || format!("`bridge` is \"{name}\""),
            "1 to 15 of A-Z, a-z, 0-9, _, - and .",
            "`ip link` and `ovs-vsctl list-br` show the bridges of a host",
        );
    }
    let bridge = given.bridge.as_ref().map(|bridge| bridge.get_ref().clone());
    let bridge = match given.executor.as_ref().map(Spanned::get_ref) {
        Some(ExecutorSpec::Ovs { bridge: theirs, .. }) => Some(Bridge::OpenVswitch(bridge.unwrap_or(theirs.clone()))),
        Some(ExecutorSpec::Ovn { .. }) => Some(Bridge::OpenVswitch(bridge.unwrap_or_else(|| "br-int".to_owned()))),
        Some(ExecutorSpec::Tc { .. }) | None => bridge.map(Bridge::Kernel),
    };
    Network { executor, bridge, addresses: check_pool(given, findings) }
}

fn check_pool(given: &NetworkSpec, findings: &mut Findings) -> Option<AddressPool> {
    let Some(text) = &given.addresses else {
        let others = [
            ("gateway", given.gateway.as_ref().map(Spanned::span)),
            ("public", given.public.as_ref().map(Spanned::span)),
            ("reserved", given.reserved.first().map(Spanned::span)),
        ];
        for (key, span) in others {
            if let Some(span) = span {
                findings.add(
                    span,
                    format!("`{key}` without `addresses`"),
                    "it says something about `addresses`",
                    "add `addresses = \"10.20.0.0/24\"`",
                );
            }
        }
        return None;
    };
    let network = prefix_of(text, findings);
    let inside = |text: &Spanned<String>, prefix: Prefix, what: &str, findings: &mut Findings| {
        if let Some(network) = network {
            findings.require(
                network.contains(prefix.address()) && prefix.length() >= network.length(),
                text.span(),
                || format!("{what} {} is not in {network}", text.get_ref()),
                "an address of `addresses`",
                "correct the one or the other",
            );
        }
    };
    let mut gateway = None;
    if let Some(text) = &given.gateway {
        match text.get_ref().parse::<IpAddr>() {
            Ok(address) => {
                gateway = Some(address);
                let alone = Prefix::new(address, if address.is_ipv4() { 32 } else { 128 });
                alone.into_iter().for_each(|alone| inside(text, alone, "`gateway`", findings));
            }
            Err(_) => findings.add(
                text.span(),
                format!("`{}` is no IP address", text.get_ref()),
                "10.20.0.1, fd00:20::1",
                "it is the address that machines send to by default",
            ),
        }
    }
    let mut reserved = Vec::new();
    for text in &given.reserved {
        let Some(prefix) = prefix_of(text, findings) else { continue };
        inside(text, prefix, "reserved", findings);
        reserved.push(prefix);
    }
    let mut public = None;
    if let Some(text) = &given.public {
        public = prefix_of(text, findings);
        if let (Some(network), Some(public)) = (network, public) {
            findings.require(
                network.length() == public.length() && network.address().is_ipv4() == public.address().is_ipv4(),
                text.span(),
                || format!("`public` is {public}, `addresses` {network}"),
                "networks of the same size and family",
                "each address has one public address, at the same place in its network",
            );
        }
    }
    let pool = AddressPool::new(network?, public, gateway, &reserved);
    findings.require(
        pool.size() > 0,
        text.span(),
        || format!("{} has no address for a machine", pool.network),
        "its own, reserved ones and the gateway's are left out",
        "give a larger network",
    );
    Some(pool)
}

/// A network; one address is a network of one.
pub(super) fn prefix_of(text: &Spanned<String>, findings: &mut Findings) -> Option<Prefix> {
    text.get_ref()
        .parse::<Prefix>()
        .map_err(|error| {
            findings.add(
                text.span(),
                error.to_string(),
                "10.20.0.0/24, fd00:20::/64",
                "the bits after its length are 0",
            );
        })
        .ok()
}

/// Remarks on pools that are small for the machines that find room.
pub(super) fn remarks(site: &Site, networks: &[Option<Network>]) -> Vec<String> {
    let mut remarks = Vec::new();
    for (region, network) in networks.iter().enumerate() {
        let Some(pool) = network.as_ref().and_then(|network| network.addresses.as_ref()) else { continue };
        let (size, most) = (pool.size(), machines_most(site, RegionId::at(region)));
        if size < 2 * most {
            remarks.push(format!(
                "region {}: {} has {size} addresses, and its hosts have room for {most} machines: twice as many addresses \
                 let machines come before others have gone",
                site.topology.regions[region].name, pool.network,
            ));
        }
    }
    remarks
}

/// The most machines that fit the hosts of a region: each host full of the flavour of which most fit.
fn machines_most(site: &Site, region: RegionId) -> u64 {
    let topology = &site.topology;
    let flavours = || topology.classes.iter().map(|class| &topology.flavours[class.flavour.index()]);
    let hosts = topology.hosts.iter().filter(|host| host.region == region);
    let ratio = |has: u64, needs: u64| has.checked_div(needs).unwrap_or(u64::MAX);
    hosts
        .map(|host| {
            let fit = flavours().map(|flavour| {
                ratio(host.cpu.0, flavour.cpu.0)
                    .min(ratio(host.memory.0, flavour.memory.0))
                    .min(ratio(host.bandwidth.0, flavour.bandwidth.0))
            });
            fit.max().unwrap_or(0)
        })
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(network: &str, gateway: Option<&str>, reserved: &[&str]) -> AddressPool {
        let reserved: Vec<Prefix> = reserved.iter().map(|text| text.parse().unwrap()).collect();
        let public = None;
        AddressPool::new(network.parse().unwrap(), public, gateway.map(|text| text.parse().unwrap()), &reserved)
    }

    #[test]
    fn no_machine_gets_an_address_that_is_anothers() {
        for (pool, size) in [
            (pool("10.20.0.0/24", Some("10.20.0.1"), &["10.20.0.1", "10.20.0.128/25"]), 126),
            (pool("10.20.0.0/30", None, &[]), 2),
            (pool("10.20.0.4/31", None, &[]), 2),
            (pool("10.20.0.4/32", None, &[]), 1),
            (pool("10.20.0.0/24", None, &["10.20.0.0/24"]), 0),
            (pool("fd00:20::/64", None, &["fd00:20::/65"]), 0),
            (pool("fd00:20::/96", None, &[]), (1 << 32) - 1),
        ] {
            assert_eq!(pool.size(), size, "{pool:?}");
        }
        assert_eq!(pool("10.20.0.0/30", None, &["10.20.0.0/30"]).assign(VmId(3), &BTreeSet::new()), None);
    }

    #[test]
    fn a_public_address_stands_where_its_own_does() {
        let mut pool = pool("10.20.0.0/24", None, &[]);
        let own = "10.20.0.77".parse().unwrap();
        assert_eq!(pool.public_of(own), own);
        pool.public = Some("192.0.2.0/24".parse().unwrap());
        assert_eq!(pool.public_of(own), "192.0.2.77".parse::<IpAddr>().unwrap());
    }

    proptest! {
        /// However many there are, no two machines have one address, and all addresses are used up before there is none.
        #[test]
        fn addresses_are_given_once(vms in proptest::collection::vec(any::<u64>(), 0..40), length in 26u8..=32, first in 0u8..4) {
            let pool = pool(&format!("10.20.0.0/{length}"), None, &[&format!("10.20.0.{}", first % (1 << (32 - length).min(2)))]);
            let mut taken = BTreeSet::new();
            for vm in vms {
                match pool.assign(VmId(vm), &taken) {
                    Some(address) => {
                        prop_assert!(pool.has(address));
                        prop_assert!(taken.insert(address));
                    }
                    None => prop_assert_eq!(taken.len() as u64, pool.size()),
                }
            }
        }
    }
}
