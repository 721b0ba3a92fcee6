//! What shall stand on one link: its slices, and the ports of the machines in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use forebay_world::{BitsPerSecond, Capabilities, Generation, PlannedSlice, SliceId};

use super::SliceError;
use crate::prefix::Prefix;

/// Slices of one link, as a plan wants them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkSlices {
    /// Number of the plan.
    pub generation: Generation,
    /// What the link carries \[bit/s\].
    pub capacity: BitsPerSecond,
    /// Every slice that shall stand on it.
    pub slices: BTreeMap<SliceId, Slice>,
    /// Ports of machines, by the name of their interface on the switch.
    pub ports: BTreeMap<String, Port>,
}

/// One slice of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// What was planned for it.
    pub terms: PlannedSlice,
    /// Networks whose packets are in it, beside the addresses of its ports.
    pub sources: BTreeSet<Prefix>,
}

/// The port of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The slice of its machine.
    pub slice: SliceId,
    /// The one address on the link layer that it may use …
    pub mac: MacAddress,
    /// … and those on the network layer.
    pub addresses: BTreeSet<IpAddr>,
}

impl LinkSlices {
    /// Networks whose packets are in a slice: its own, and one for each address of its ports.
    pub fn sources(&self, slice: SliceId) -> BTreeSet<Prefix> {
        let own = self.slices.get(&slice).into_iter().flat_map(|slice| slice.sources.iter().copied());
        own.chain(self.hosts(slice)).collect()
    }

    /// A network for each address of a slice's ports.
    pub(super) fn hosts(&self, slice: SliceId) -> BTreeSet<Prefix> {
        let host = |address: &IpAddr| {
            let address = address.to_canonical();
            Prefix::new(address, if address.is_ipv4() { 32 } else { 128 }).expect("as many bits as it has")
        };
        self.ports.values().filter(|port| port.slice == slice).flat_map(|port| &port.addresses).map(host).collect()
    }

    /// Checks that the slices mean something and that an executor of these capabilities can express them.
    ///
    /// # Errors
    /// [`SliceError::Refused`] for what it cannot express, [`SliceError::Contradiction`] for what nobody can.
    pub fn check(&self, capabilities: &Capabilities) -> Result<(), SliceError> {
        let contradiction = |what: String| Err(SliceError::Contradiction { what });
        let terms = self.slices.iter().map(|(id, slice)| (*id, slice.terms)).collect();
        capabilities.express(&terms, self.capacity)?;
        let mut owner_of: BTreeMap<Prefix, SliceId> = BTreeMap::new();
        for id in self.slices.keys() {
            for source in self.sources(*id) {
                if let Some(other) = owner_of.insert(source, *id) {
                    return contradiction(format!("{source} is in slice {other} and in slice {id}"));
                }
            }
        }
        let mut name_of: BTreeMap<MacAddress, &str> = BTreeMap::new();
        for (name, port) in &self.ports {
            if !self.slices.contains_key(&port.slice) {
                return contradiction(format!("port {name} is in slice {}, which shall not stand", port.slice));
            }
            if port.addresses.is_empty() {
                return contradiction(format!("port {name} has no address"));
            }
            if let Some(mapped) = port.addresses.iter().find(|address| **address != address.to_canonical()) {
                return contradiction(format!("port {name} has {mapped}, which is {}", mapped.to_canonical()));
            }
            if let Some(other) = name_of.insert(port.mac, name) {
                return contradiction(format!("ports {other} and {name} have the same address {}", port.mac));
            }
        }
        if !self.ports.is_empty() && !capabilities.port_security {
            let first = self.ports.keys().next().cloned().unwrap_or_default();
            return Err(SliceError::Unguarded { port: first });
        }
        Ok(())
    }
}

/// An address on the link layer (IEEE 802), written `02:00:00:00:00:0a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no link-layer address; allowed: six bytes in hexadecimal, 02:00:00:00:00:0a");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(wrong)?;
        }
        let unicast = bytes[0] & 1 == 0;
        if parts.next().is_some() || !unicast { Err(wrong()) } else { Ok(MacAddress(bytes)) }
    }
}
