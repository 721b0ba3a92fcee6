//! Steering by the HTTP API of PowerDNS's authoritative server.
//!
//! Where LUA records are on (`enable-lua-records`, best `shared`), weights are kept by `pickwhashed`, which gives a client
//! network the same address as long as shares stay, and regions are told apart by `netmask` over the networks that the
//! caller gives; the sum of weights is always the same, so that a small change moves few. Where they are off, weights are
//! numbers of records. The API cannot refuse a change because another came first: what is expected is looked at just before.

mod api;
mod script;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use forebay_world::Acknowledgement;

use super::answers::{Answers, Clients};
use super::ask::{Asker, Transport};
use super::dns_name::DnsName;
use super::executor::{Applied, SteeringExecutor};
use super::expressed::Expressed;
use super::record_set::{Change, Kind, RecordSet};
use super::rfc2136::{address_sets, answers_of_addresses};
use super::secret::Secret;
use super::standing::Standing;
use super::view::{SteeringCapabilities, SteeringView, Weights};
use super::zone::{RecordSource, RecordStore, Zone, ZoneView};
use super::{Gate, SteeringError};
use crate::prefix::Prefix;
use api::Api;
use script::Script;

pub use super::zone::{WriterTerm, ZoneOptions};

/// Most records of a set where weights are numbers of records.
const RECORDS_MOST: usize = 32;
/// How long a server may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where the server is, and what it may be told.
#[derive(Clone, Debug)]
pub struct PowerDnsOptions {
    /// Its API: `http://127.0.0.1:8081`.
    pub url: String,
    /// Its key.
    pub key: Secret,
    /// Its port for DNS, to ask what clients are answered.
    pub dns: SocketAddr,
    /// Networks of the regions whose clients are to be told apart; the first region that has a network wins. Only with LUA.
    pub regions: BTreeMap<String, Vec<Prefix>>,
    /// A TCP port that the server itself tries on every address, once a second or as it is told, so that an address that
    /// does not take connections is not answered. Only with LUA.
    pub probed_port: Option<u16>,
}

/// Sees what stands in one zone, by `GET` alone. PowerDNS has one key, which may write as well: this has no call that does.
pub struct PowerDnsView(ZoneView<ApiStore>);

impl PowerDnsView {
    /// Asks the server what it can do.
    ///
    /// # Errors
    /// As [`PowerDnsExecutor::connect`].
    pub fn connect(options: PowerDnsOptions, zone: ZoneOptions) -> Result<Self, SteeringError> {
        Ok(PowerDnsView(ZoneView::new(ApiStore::connect(options, &zone)?, &zone)?))
    }
}

/// Steers by the API.
pub struct PowerDnsExecutor(Zone<ApiStore>);

impl PowerDnsExecutor {
    /// Asks the server what it can do.
    ///
    /// # Errors
    /// [`SteeringError::Unreachable`], [`SteeringError::Credentials`] for a wrong key, [`SteeringError::Contradiction`] for
    /// options that mean nothing.
    pub fn connect(options: PowerDnsOptions, zone: ZoneOptions) -> Result<Self, SteeringError> {
        Ok(PowerDnsExecutor(Zone::new(ApiStore::connect(options, &zone)?, zone)?))
    }
}

impl SteeringView for PowerDnsView {
    fn place(&self) -> String {
        self.0.place()
    }

    fn capabilities(&self) -> SteeringCapabilities {
        self.0.capabilities()
    }

    fn read(&mut self) -> Result<Standing, SteeringError> {
        self.0.read()
    }

    fn answered(&mut self, names: &[DnsName]) -> Result<BTreeMap<DnsName, Option<Expressed>>, SteeringError> {
        self.0.answered(names)
    }
}

impl SteeringView for PowerDnsExecutor {
    fn place(&self) -> String {
        self.0.place()
    }

    fn capabilities(&self) -> SteeringCapabilities {
        self.0.capabilities()
    }

    fn read(&mut self) -> Result<Standing, SteeringError> {
        self.0.read()
    }

    fn answered(&mut self, names: &[DnsName]) -> Result<BTreeMap<DnsName, Option<Expressed>>, SteeringError> {
        self.0.answered(names)
    }
}

impl SteeringExecutor for PowerDnsExecutor {
    fn apply(&mut self, wanted: &Answers, gate: &mut Gate) -> Result<Applied, SteeringError> {
        if let Some(script) = &self.0.store().script {
            let pools = wanted.names.values().flat_map(|name| name.pools.keys());
            for clients in pools {
                if let Clients::Region(region) = clients
                    && !script.regions.contains_key(region)
                {
                    let known = script.regions.keys().cloned().collect();
                    return Err(SteeringError::Unknown {
                        place: self.place(),
                        kind: "region",
                        name: region.clone(),
                        known,
                    });
                }
            }
        }
        self.0.apply(wanted, gate)
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError> {
        self.0.remove(gate)
    }

    fn rollback(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError> {
        self.0.rollback(gate)
    }
}

type Sets = BTreeMap<(DnsName, Kind), RecordSet>;

struct ApiStore {
    api: Api,
    asker: Asker,
    /// None where LUA records are off.
    script: Option<Script>,
    /// The zone as it was at the begin of this look.
    standing: Sets,
    /// Sets as last seen.
    seen: Sets,
}

impl ApiStore {
    fn connect(options: PowerDnsOptions, zone: &ZoneOptions) -> Result<ApiStore, SteeringError> {
        let api = Api::new(&options.url, options.key, &zone.zone, TIMEOUT)?;
        let lua = api.setting("enable-lua-records")?.is_some_and(|value| value != "no");
        let script = lua.then_some(Script { regions: options.regions, probed_port: options.probed_port });
        let asker = Asker::new(options.dns, Transport::Udp, None, TIMEOUT);
        Ok(ApiStore { api, asker, script, standing: BTreeMap::new(), seen: BTreeMap::new() })
    }
}

impl RecordSource for ApiStore {
    fn endpoint(&self) -> String {
        self.api.endpoint()
    }

    fn capabilities(&self) -> SteeringCapabilities {
        let weights = if self.script.is_some() { Weights::ByScript } else { Weights::ByAnswers { most: RECORDS_MOST } };
        let per_region = self.script.as_ref().is_some_and(|script| !script.regions.is_empty());
        SteeringCapabilities { weights, per_region, ttl: true, acknowledgement: Acknowledgement::Verified }
    }

    fn begin(&mut self) -> Result<(), SteeringError> {
        self.standing = self.api.zone()?;
        Ok(())
    }

    fn set(&mut self, owner: &DnsName, kind: Kind) -> Result<RecordSet, SteeringError> {
        let key = (owner.clone(), kind);
        let set = self.standing.get(&key).cloned().unwrap_or_else(|| RecordSet::none(owner, kind));
        self.seen.insert(key, set.clone());
        Ok(set)
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Cname, Kind::A, Kind::Aaaa, Kind::Lua]
    }

    fn answers_of(&self, sets: &[RecordSet]) -> Option<Expressed> {
        match &self.script {
            Some(script) => script.answers(sets),
            None => answers_of_addresses(sets),
        }
    }
}

impl RecordStore for ApiStore {
    fn forget(&mut self, owner: &DnsName, kind: Kind) {
        self.seen.insert((owner.clone(), kind), RecordSet::none(owner, kind));
    }

    fn commit(&mut self, change: &Change) -> Result<(), SteeringError> {
        let standing = self.api.zone()?;
        for key in &change.expected {
            let none = RecordSet::none(&key.0, key.1);
            if standing.get(key).unwrap_or(&none) != self.seen.get(key).unwrap_or(&none) {
                let (place, why) = (self.endpoint(), format!("{} {} is another", key.0, key.1));
                return Err(SteeringError::Overtaken { place, what: change.what.clone(), why });
            }
        }
        self.api.patch(change)?;
        self.seen.extend(change.sets.iter().map(|set| ((set.owner.clone(), set.kind), set.clone())));
        Ok(())
    }

    fn sets_of(&self, name: &DnsName, answers: &Expressed) -> Vec<RecordSet> {
        match &self.script {
            Some(script) => vec![script.set(name, answers)],
            None => address_sets(name, answers),
        }
    }

    fn verify(&mut self, name: &DnsName, answers: &Expressed) -> Result<Vec<String>, SteeringError> {
        let mut differences = Vec::new();
        for (clients, pool) in &answers.pools {
            let networks = match (clients, &self.script) {
                (Clients::Region(region), Some(script)) => {
                    script.regions.get(region).map(|networks| networks[..].to_vec())
                }
                _ => None,
            };
            // One network of each region, as a resolver would name it.
            let client = networks.and_then(|networks| networks.first().copied()).map(|network| {
                Prefix::new(network.address(), network.length().max(Prefix::of_client(network.address()).length()))
                    .map_or(network, Prefix::truncated)
            });
            for v6 in [false, true] {
                let due: Vec<_> = pool.keys().filter(|address| address.is_ipv6() == v6).collect();
                let (seen, ttl_seconds) = self.asker.addresses(name, v6, client)?;
                let whole = self.script.is_some() || seen.len() == due.len();
                if seen.is_empty() != due.is_empty() || !whole || seen.iter().any(|address| !due.contains(&address)) {
                    let hint = if seen.is_empty() {
                        "; hint: are its caches off, cache-ttl=0 and query-cache-ttl=0?"
                    } else {
                        ""
                    };
                    differences.push(format!("{name} to {clients} is answered {seen:?}, of {due:?}{hint}"));
                } else if !seen.is_empty() && ttl_seconds != answers.ttl_seconds {
                    differences.push(format!("{name} is answered for {ttl_seconds} s, not {} s", answers.ttl_seconds));
                }
            }
        }
        Ok(differences)
    }
}
