//! What an executor makes of a slice: its terms as far as it can express them, in the units that it counts in.

use std::collections::{BTreeMap, BTreeSet};

use forebay_world::{BitsPerSecond, Capabilities, SliceId};

use super::link::LinkSlices;
use super::{SliceError, Standing};
use crate::prefix::Prefix;

/// Largest packet of the links we know \[bytes\].
pub const MTU_BYTES: u64 = 1500;

/// The same with its header on the link layer \[bytes\].
pub(crate) const FRAME_BYTES: u32 = 1514;

/// Priorities that an HTB tells apart, less one for what is in no slice (linux/pkt_sched.h: `TC_HTB_NUMPRIO` 8).
pub const PRIORITIES_MOST: usize = 7;

/// One slice as it is, or would be, enforced. What an executor cannot express is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// Guaranteed rate \[bit/s\].
    pub guarantee: BitsPerSecond,
    /// Rate that it cannot exceed \[bit/s\].
    pub ceiling: BitsPerSecond,
    /// Who gets what is left over first: 0 is first, without gaps.
    pub rank: u8,
    /// Share of what is left over, against slices of the same rank, in the smallest numbers.
    pub weight: u32,
    /// The mark of its packets.
    pub dscp: u8,
    /// Networks whose packets are in it.
    pub sources: BTreeSet<Prefix>,
}

impl LinkSlices {
    /// What an executor of these capabilities will make of it. HTB counts in bytes a second, and gives each class a packet
    /// a second at least.
    ///
    /// # Errors
    /// As [`LinkSlices::check`], and [`SliceError::Contradiction`] for more priorities than can be told apart.
    pub fn enforced(&self, capabilities: &Capabilities) -> Result<BTreeMap<SliceId, Enforced>, SliceError> {
        self.check(capabilities)?;
        let priorities: BTreeSet<u8> = self.slices.values().map(|slice| slice.terms.priority).collect();
        if capabilities.priority && priorities.len() > PRIORITIES_MOST {
            let what = format!("{} priorities on one link; allowed: {PRIORITIES_MOST}", priorities.len());
            return Err(SliceError::Contradiction { what });
        }
        let rank_of = |priority: u8| priorities.iter().position(|known| *known == priority).unwrap_or(0) as u8;
        let capacity = whole_bytes(self.capacity).max(least_rate());
        let enforced = |id: SliceId| {
            let terms = self.slices[&id].terms;
            let alike = self.slices.values().filter(|other| other.terms.priority == terms.priority);
            let divisor = alike.map(|other| other.terms.weight.max(1)).fold(0, gcd).max(1);
            let guarantee = if capabilities.guarantee {
                whole_bytes(terms.guarantee).max(least_rate()).min(capacity)
            } else {
                BitsPerSecond::ZERO
            };
            Enforced {
                guarantee,
                ceiling: whole_bytes(terms.ceiling).clamp(guarantee.max(least_rate()), capacity),
                rank: if capabilities.priority { rank_of(terms.priority) } else { 0 },
                weight: if capabilities.weight { terms.weight.max(1) / divisor } else { 0 },
                dscp: if capabilities.dscp { terms.dscp } else { 0 },
                sources: self.sources(id),
            }
        };
        let all: BTreeMap<SliceId, Enforced> = self.slices.keys().map(|id| (*id, enforced(*id))).collect();
        // A class that is within its rate is served whatever the others were promised.
        let together: u128 = all.values().map(|slice| u128::from(slice.guarantee.0)).sum();
        if capabilities.guarantee && together > u128::from(capacity.0) {
            let least = least_rate();
            let what = format!(
                "slices take {together} bit/s of {capacity} together, each {least} at least; lower what is guaranteed"
            );
            return Err(SliceError::Contradiction { what });
        }
        Ok(all)
    }

    /// What differs between what stands and what an executor of these capabilities would make of it, said for people;
    /// empty when nothing does.
    ///
    /// # Errors
    /// As [`LinkSlices::enforced`].
    pub fn differences(&self, capabilities: &Capabilities, standing: &Standing) -> Result<Vec<String>, SliceError> {
        let wanted = self.enforced(capabilities)?;
        let mut found = standing.strays.clone();
        let capacity = whole_bytes(self.capacity).max(least_rate());
        // Guarantees are shares of a rate that the link must be held to; where there are none, nothing holds it.
        if capabilities.guarantee && standing.capacity != Some(capacity) {
            let stands = standing.capacity.map_or("nothing".to_owned(), |stands| stands.to_string());
            found.push(format!("the link is held to {stands}, not to {capacity}"));
        }
        for (id, wanted) in &wanted {
            match standing.slices.get(id) {
                None => found.push(format!("slice {id} does not stand")),
                Some(stands) if stands != wanted => found.push(format!("slice {id} is {stands:?}, not {wanted:?}")),
                Some(_) => {}
            }
        }
        let more = standing.slices.keys().filter(|id| !wanted.contains_key(id));
        found.extend(more.map(|id| format!("slice {id} stands")));
        for (name, port) in &self.ports {
            match standing.ports.get(name) {
                None => found.push(format!("port {name} has no rules")),
                Some(stands) if stands.port != *port => found.push(format!("port {name} has other rules")),
                Some(stands) if !stands.up => found.push(format!("port {name} is down")),
                Some(_) => {}
            }
        }
        let more = standing.ports.keys().filter(|name| !self.ports.contains_key(*name));
        found.extend(more.map(|name| format!("port {name} has rules")));
        Ok(found)
    }
}

/// A rate in whole bytes a second.
pub(crate) fn whole_bytes(rate: BitsPerSecond) -> BitsPerSecond {
    BitsPerSecond(rate.0 / 8 * 8)
}

/// The least rate of an HTB class, a packet a second (as Open vSwitch has it, lib/netdev-linux.c).
pub(crate) fn least_rate() -> BitsPerSecond {
    BitsPerSecond(MTU_BYTES * 8)
}

pub(crate) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
