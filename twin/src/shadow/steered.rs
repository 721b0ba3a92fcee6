//! Where production's name server sends clients, told: which addresses it answers, whose they are, and how that differs from
//! where ours would send them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use forebay_adapters::steering::Clients;
use forebay_world::{ClassId, RegionId};
use serde::Serialize;

use super::world::ShadowWorld;
use crate::watch::{Answered, Pace, of_class, region_of};

/// What the clients of one class are answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerReport {
    /// The class.
    pub class: String,
    /// The name by which its clients come.
    pub name: String,
    /// How long resolvers may keep an answer \[s\].
    pub ttl_seconds: u32,
    /// Whether that is all that is answered: it bears our mark. What others have written was asked for once, and a server
    /// may answer the next client otherwise.
    pub whole: bool,
    /// By who asks; nobody is answered where there is none.
    pub pools: Vec<PoolReport>,
}

/// What some clients are answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolReport {
    /// The region whose clients are meant; all others where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Addresses.
    pub addresses: Vec<AddressReport>,
}

/// An address that is answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AddressReport {
    /// The address.
    pub address: IpAddr,
    /// Share of the clients of its family that are sent there, 0 to 1.
    pub share: f64,
    /// Where it is; absent where it is of no region's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The machine that is reached there, if one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// Where the clients of one region × class are sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SteeringReport {
    /// Region.
    pub region: String,
    /// Class.
    pub class: String,
    /// By production, to which regions, and which share of them.
    pub production: BTreeMap<String, f64>,
    /// By ours.
    pub ours: BTreeMap<String, f64>,
    /// Share of the clients whom the two send to different regions, 0 to 1.
    pub apart: f64,
}

impl<P: Pace> ShadowWorld<P> {
    /// What production's name server answers, class by class.
    pub(super) fn answers(&self) -> Vec<AnswerReport> {
        let classes = self.last.answers.iter().zip(&self.production().topology.classes);
        let told = classes.filter_map(|(answered, class)| Some(self.answer(answered.as_ref()?, &class.name)));
        told.collect()
    }

    fn answer(&self, answered: &Answered, class: &str) -> AnswerReport {
        let pools = answered.answers.pools.iter().map(|(clients, pool)| {
            let all = |is_v4: bool| {
                let family = pool.iter().filter(|(address, _)| address.is_ipv4() == is_v4);
                family.map(|(_, counts)| f64::from(*counts)).sum::<f64>().max(1.0)
            };
            let sums = [all(false), all(true)];
            let addresses = pool.iter().map(|(address, counts)| AddressReport {
                address: *address,
                share: f64::from(*counts) / sums[usize::from(address.is_ipv4())],
                region: region_of(self.production(), *address).map(|region| self.region_name(region)),
                machine: self.fleet.name_at(*address).map(str::to_owned),
            });
            let of = match clients {
                Clients::Region(region) => Some(region.clone()),
                Clients::Others => None,
            };
            PoolReport { of, addresses: addresses.collect() }
        });
        AnswerReport {
            class: class.to_owned(),
            name: answered.name.to_string(),
            ttl_seconds: answered.answers.ttl_seconds,
            whole: answered.is_whole,
            pools: pools.collect(),
        }
    }

    /// Where production's name server sends the clients of each cell, where that is known.
    pub(super) fn steering(&self) -> Vec<SteeringReport> {
        let topology = &self.production().topology;
        let cells = topology.cell_ids().zip(&self.last.sent).enumerate();
        let told = cells.filter_map(|(cell, ((home, class), sent))| {
            let production = shares(sent.as_ref()?);
            let ours = match self.last.ours_sent.0.get(cell).map_or(&[][..], Vec::as_slice) {
                [] => [(home, 1.0)].into(),
                weights => shares(weights),
            };
            let alike = |(region, share): (&RegionId, &f64)| share.min(ours.get(region).copied().unwrap_or(0.0));
            let apart = (1.0 - production.iter().map(alike).sum::<f64>()).clamp(0.0, 1.0);
            let named = |shares: BTreeMap<RegionId, f64>| {
                shares.into_iter().map(|(region, share)| (self.region_name(region), share)).collect()
            };
            let (region, class) = (self.region_name(home), topology.class(class).name.clone());
            Some(SteeringReport { region, class, production: named(production), ours: named(ours), apart })
        });
        told.collect()
    }

    /// Share of the clients of each cell whom production and ours send to different regions, where that is known.
    pub(super) fn steered_apart(&self) -> Vec<(usize, f64)> {
        let known = self.last.sent.iter().enumerate().filter(|(_, sent)| sent.is_some()).map(|(cell, _)| cell);
        known.zip(self.steering().iter().map(|told| told.apart)).collect()
    }

    /// Addresses of a serving cell to which clients are sent; `None` where that was not seen.
    pub(super) fn answered(&self, region: RegionId, class: ClassId) -> Option<u32> {
        let answered = of_class(&self.last.answers, class)?;
        let mut here: Vec<&IpAddr> = answered.answers.pools.values().flat_map(BTreeMap::keys).collect();
        here.sort();
        here.dedup();
        Some(here.into_iter().filter(|address| region_of(self.production(), **address) == Some(region)).count() as u32)
    }

    fn region_name(&self, region: RegionId) -> String {
        self.production().topology.region(region).name.clone()
    }
}

fn shares(weights: &[(RegionId, u32)]) -> BTreeMap<RegionId, f64> {
    let all: f64 = weights.iter().map(|(_, weight)| f64::from(*weight)).sum();
    weights.iter().map(|(region, weight)| (*region, f64::from(*weight) / all.max(1.0))).collect()
}
