//! Where production's name server sends clients: what it answers, told by regions.

use std::collections::BTreeMap;
use std::net::IpAddr;

use forebay_adapters::steering::{Clients, DnsName, Expressed};
use forebay_world::{ClassId, RegionId, Timestamp};

use super::board::Board;
use super::look::AnswersSeen;
use crate::production::Production;

/// What the clients of one class are answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The name by which they come.
    pub name: DnsName,
    /// What it is answered; nothing does where there are no pools.
    pub answers: Expressed,
    /// Whether that is the whole truth: it bears our mark, or nobody answers at all. What others have written was asked for
    /// once, and a server may answer the next client otherwise.
    pub is_whole: bool,
}

/// What the clients of each class are answered (dense), as it was seen since `since`, and when that was; `None` for classes
/// without a name, and where it cannot be told.
pub fn answered(
    production: &Production,
    board: &Board,
    since: Timestamp,
) -> Option<(Timestamp, Vec<Option<Answered>>)> {
    let answering = production.answering.as_ref()?;
    let look = board.answered();
    let (at, seen) = look.fresh(since)?;
    let of = |name: &Option<DnsName>| of_name(seen, name.as_ref()?);
    Some((at, answering.names.iter().map(of).collect()))
}

fn of_name(seen: &AnswersSeen, name: &DnsName) -> Option<Answered> {
    let (is_others, answers) = (seen.others.contains_key(name), seen.of(name));
    if answers.is_none() && is_others {
        return None;
    }
    let is_whole = !is_others;
    Some(Answered { name: name.clone(), answers: answers.cloned().unwrap_or_default(), is_whole })
}

impl Answered {
    /// What clients of a region get: addresses and what each counts. Nothing where nobody answers them.
    pub fn pool(&self, region: &str) -> Option<&BTreeMap<IpAddr, u32>> {
        let own = Clients::Region(region.to_owned());
        self.answers.pools.get(&own).or_else(|| self.answers.pools.get(&Clients::Others))
    }

    /// Whether some client may be sent to an address.
    pub fn has(&self, address: IpAddr) -> bool {
        self.answers.pools.values().any(|pool| pool.contains_key(&address))
    }

    /// The regions that clients of a region are sent to, and their weights; `None` where an address is of no region, and
    /// where nobody answers them.
    pub fn weights(&self, production: &Production, home: RegionId) -> Option<Vec<(RegionId, u32)>> {
        let pool = self.pool(&production.topology.region(home).name)?;
        // Weights are kept family by family; clients of the older one are the most.
        let is_v4 = pool.keys().any(IpAddr::is_ipv4);
        let mut weights: BTreeMap<RegionId, u32> = BTreeMap::new();
        for (address, counts) in pool.iter().filter(|(address, _)| address.is_ipv4() == is_v4) {
            let weight = weights.entry(region_of(production, *address)?).or_default();
            *weight = weight.saturating_add(*counts);
        }
        weights.retain(|_, weight| *weight > 0);
        (!weights.is_empty()).then(|| weights.into_iter().collect())
    }
}

/// The region whose machines are reached at an address.
pub fn region_of(production: &Production, address: IpAddr) -> Option<RegionId> {
    let reached = |network: &Option<crate::production::Network>| {
        network.as_ref().and_then(|network| network.addresses.as_ref()).is_some_and(|pool| pool.is_reached_at(address))
    };
    production.networks.iter().position(reached).map(RegionId::at)
}

/// What a class's clients are answered, of what [`answered`] gave.
pub fn of_class(answered: &[Option<Answered>], class: ClassId) -> Option<&Answered> {
    answered.get(class.index())?.as_ref()
}
