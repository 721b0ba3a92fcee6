//! What the responder answers: looked at by every query, swapped as a whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::SteeringError;
use super::super::answers::{Clients, Shares};
use super::super::dns_name::DnsName;
use super::draw::{Candidate, draw};
use crate::prefix::Prefix;

/// Tells the region of a client network: an [`crate::Atlas`], or any other map.
pub type RegionOf = Arc<dyn Fn(Prefix) -> Option<String> + Send + Sync>;

/// The delegated zone itself.
#[derive(Clone, Debug)]
pub struct SubZone {
    /// Its name.
    pub name: DnsName,
    /// Its name servers, with their addresses where they are within it.
    pub name_servers: BTreeMap<DnsName, Vec<IpAddr>>,
    /// Who is responsible, as a name: `hostmaster.cdn.example`.
    pub hostmaster: DnsName,
    /// How long resolvers may keep that there is nothing (RFC 2308), and the zone's own records \[s\].
    pub negative_ttl_seconds: u32,
}

/// Everything that is answered.
pub struct Table {
    pub(super) zone: SubZone,
    pub(super) serial: u32,
    region_of: Option<RegionOf>,
    names: HashMap<Vec<u8>, Name>,
    above: HashSet<Vec<u8>>,
}

struct Name {
    ttl_seconds: u32,
    pools: HashMap<Option<String>, Pool>,
    /// Whether anybody is answered otherwise than the others.
    by_region: bool,
}

#[derive(Default)]
struct Pool {
    v4: Vec<Candidate>,
    v6: Vec<Candidate>,
}

/// What there is of a name.
pub(super) enum Found {
    /// Nothing, and nothing below it.
    NoName,
    /// The name, but nothing of that type.
    NoData,
    /// An address, for how long \[s\], and whether it depends on the client.
    Address { address: IpAddr, ttl_seconds: u32, by_client: bool },
}

impl SubZone {
    /// Checks that it can be served.
    ///
    /// # Errors
    /// [`SteeringError::Contradiction`].
    pub fn check(&self) -> Result<(), SteeringError> {
        let contradiction = |what: String| Err(SteeringError::Contradiction { what });
        if self.name_servers.is_empty() || self.name_servers.len() > 13 {
            return contradiction(format!(
                "{} name servers of {}; allowed: 1 to 13",
                self.name_servers.len(),
                self.name
            ));
        }
        let bare =
            |(server, addresses): &(&DnsName, &Vec<IpAddr>)| server.is_within(&self.name) && addresses.is_empty();
        if let Some((server, _)) = self.name_servers.iter().find(bare) {
            return contradiction(format!("name server {server} is within {} and has no address", self.name));
        }
        Ok(())
    }
}

impl Table {
    /// A table of these names.
    pub fn new(zone: SubZone, serial: u32, region_of: Option<RegionOf>, names: &BTreeMap<DnsName, Shares>) -> Table {
        let name = |(name, shares): (&DnsName, &Shares)| {
            let pool = |(clients, pool): (&Clients, &BTreeMap<IpAddr, _>)| (region(clients), Pool::new(name, pool));
            let pools: HashMap<_, _> = shares.pools.iter().map(pool).collect();
            let by_region = pools.len() > 1;
            (name.to_wire(), Name { ttl_seconds: shares.ttl_seconds, pools, by_region })
        };
        let names: HashMap<Vec<u8>, Name> = names.iter().map(name).collect();
        let above = names.keys().flat_map(|name| names_above(name)).map(<[u8]>::to_vec).collect();
        Table { zone, serial, region_of, names, above }
    }

    /// Finds an address of a name (in wire form and small letters) for a client network.
    pub(super) fn find(&self, name: &[u8], v6: Option<bool>, network: Prefix) -> Found {
        let Some(entry) = self.names.get(name) else {
            // What lies above a name exists, without data (RFC 8020).
            let above = self.above.contains(name);
            return if above { Found::NoData } else { Found::NoName };
        };
        let Some(v6) = v6 else { return Found::NoData };
        let region = match (&self.region_of, entry.by_region) {
            (Some(region_of), true) => region_of(network),
            _ => None,
        };
        let pool = entry.pools.get(&region).or_else(|| entry.pools.get(&None));
        let candidates = pool.map_or(&[][..], |pool| if v6 { &pool.v6 } else { &pool.v4 });
        match draw(candidates, network) {
            Some(address) => {
                let by_client = entry.by_region || candidates.len() > 1;
                Found::Address { address, ttl_seconds: entry.ttl_seconds, by_client }
            }
            None => Found::NoData,
        }
    }
}

/// Names above a name in wire form, and the root.
fn names_above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(parent(name), |name| parent(name))
}

fn parent(name: &[u8]) -> Option<&[u8]> {
    match usize::from(*name.first()?) {
        0 => None,
        length => name.get(length + 1..),
    }
}

fn region(clients: &Clients) -> Option<String> {
    match clients {
        Clients::Others => None,
        Clients::Region(region) => Some(region.clone()),
    }
}

impl Pool {
    fn new(name: &DnsName, shares: &BTreeMap<IpAddr, super::super::Share>) -> Pool {
        let of = |v4: bool| {
            let members = shares.iter().filter(|(address, _)| address.is_ipv4() == v4);
            members.map(|(address, share)| Candidate::new(name.as_str(), *address, share.parts)).collect()
        };
        Pool { v4: of(true), v6: of(false) }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} of {} names, serial {})", self.zone.name, self.names.len(), self.serial)
    }
}
