//! Steering by dynamic updates (RFC 2136) with signatures (RFC 8945): BIND, Knot, PowerDNS, and whoever else takes them.
//!
//! A name, its mark and the list change in one message, with all that was seen as its prerequisites: what another has
//! changed meanwhile makes the server refuse. Such a zone knows no weights but how many addresses of a site are answered.
//! The zone must be primary at the server that is written to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{MessageBuilder, Name, Ttl, UnknownRecordData};
use forebay_world::Acknowledgement;

use super::answers::{Answers, Clients};
use super::ask::{Asker, address, wire_name};
use super::dns_name::DnsName;
use super::executor::{Applied, SteeringExecutor};
use super::expressed::Expressed;
use super::record_set::{Change, Kind, RecordSet};
use super::secret::TsigKey;
use super::standing::Standing;
use super::view::{SteeringCapabilities, SteeringView, Weights};
use super::zone::{RecordSource, RecordStore, Zone, ZoneView};
use super::{Gate, SteeringError};

pub use super::ask::Transport;
pub use super::zone::{WriterTerm, ZoneOptions};

/// Most records of a set, so that an answer fits a datagram whatever else is in it.
const RECORDS_MOST: usize = 32;
/// How long a server may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sees what stands in one zone, by queries.
pub struct Rfc2136View(ZoneView<UpdateStore>);

impl Rfc2136View {
    /// For the primary server of a zone. Nothing is asked yet. Where the server answers without a key, none is needed: then
    /// it would refuse whatever was to be written.
    ///
    /// # Errors
    /// [`SteeringError::Contradiction`] for an owner that is none.
    pub fn new(
        server: SocketAddr,
        transport: Transport,
        key: Option<TsigKey>,
        options: ZoneOptions,
    ) -> Result<Self, SteeringError> {
        Ok(Rfc2136View(ZoneView::new(UpdateStore::new(server, transport, key, &options), &options)?))
    }
}

/// Steers by dynamic updates of one zone.
pub struct Rfc2136Executor(Zone<UpdateStore>);

impl Rfc2136Executor {
    /// For the primary server of a zone. Nothing is asked yet.
    ///
    /// # Errors
    /// [`SteeringError::Contradiction`] for options that mean nothing.
    pub fn new(
        server: SocketAddr,
        transport: Transport,
        key: TsigKey,
        options: ZoneOptions,
    ) -> Result<Self, SteeringError> {
        let store = UpdateStore::new(server, transport, Some(key), &options);
        Ok(Rfc2136Executor(Zone::new(store, options)?))
    }
}

impl SteeringView for Rfc2136View {
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

impl SteeringView for Rfc2136Executor {
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

impl SteeringExecutor for Rfc2136Executor {
    fn apply(&mut self, wanted: &Answers, gate: &mut Gate) -> Result<Applied, SteeringError> {
        self.0.apply(wanted, gate)
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError> {
        self.0.remove(gate)
    }

    fn rollback(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError> {
        self.0.rollback(gate)
    }
}

struct UpdateStore {
    asker: Asker,
    zone: DnsName,
    /// Records as last seen, as on the wire.
    seen: BTreeMap<(DnsName, Kind), Vec<Vec<u8>>>,
}

impl UpdateStore {
    fn new(server: SocketAddr, transport: Transport, key: Option<TsigKey>, options: &ZoneOptions) -> UpdateStore {
        let mut asker = Asker::new(server, transport, key, TIMEOUT);
        asker.clock = options.clock;
        UpdateStore { asker, zone: options.zone.clone(), seen: BTreeMap::new() }
    }

    /// Sends an update; of no records where only its prerequisites are to be tried.
    fn update(
        &mut self,
        what: &str,
        prerequisites: &[(DnsName, Class, Rtype, Vec<u8>)],
        updates: &[(DnsName, Class, Ttl, Rtype, Vec<u8>)],
    ) -> Result<Rcode, SteeringError> {
        let too_long = |asker: &Asker| asker.rejected(what, "it is too long for one message");
        let mut builder = MessageBuilder::new_vec();
        builder.set_push_limit(60_000);
        builder.header_mut().set_opcode(Opcode::UPDATE);
        let mut zone = builder.question();
        zone.push((wire_name(&self.zone), Rtype::SOA, Class::IN)).expect("a zone fits");
        let mut section = zone.answer();
        for (name, class, rtype, data) in prerequisites {
            let record = record(name, *class, Ttl::ZERO, *rtype, data);
            section.push(record).map_err(|_| too_long(&self.asker))?;
        }
        let mut section = section.authority();
        for (name, class, ttl, rtype, data) in updates {
            section.push(record(name, *class, *ttl, *rtype, data)).map_err(|_| too_long(&self.asker))?;
        }
        let mut message = section.additional();
        message.clear_push_limit();
        Ok(self.asker.exchange(message)?.header().rcode())
    }

    fn refusal(&self, what: &str, rcode: Rcode) -> SteeringError {
        let endpoint = self.asker.endpoint();
        let zone = &self.zone;
        match rcode {
            Rcode::NXRRSET | Rcode::YXRRSET | Rcode::YXDOMAIN | Rcode::NXDOMAIN => {
                SteeringError::Overtaken { place: endpoint, what: what.to_owned(), why: rcode.to_string() }
            }
            Rcode::REFUSED => SteeringError::Credentials {
                endpoint,
                why: format!("REFUSED: the key may not change zone {zone}"),
                hint: "BIND: update-policy or allow-update; Knot: acl with action update; PowerDNS: dnsupdate=yes, TSIG-ALLOW-DNSUPDATE",
            },
            Rcode::NOTAUTH => SteeringError::Credentials {
                endpoint,
                why: format!("NOTAUTH: it is not the primary of zone {zone}, or does not accept the key"),
                hint: "write to the primary server, to the zone itself and not to one above it",
            },
            Rcode::NOTZONE => self.asker.rejected(what, "NOTZONE: a name is not within the zone"),
            Rcode::FORMERR => self.asker.rejected(what, "FORMERR: it does not understand the update"),
            Rcode::NOTIMP => self.asker.rejected(what, "NOTIMP: it takes no updates"),
            Rcode::SERVFAIL => self.asker.rejected(what, "SERVFAIL: it failed; its log says why"),
            other => self.asker.rejected(what, &other.to_string()),
        }
    }
}

fn record<'a>(
    name: &DnsName,
    class: Class,
    ttl: Ttl,
    rtype: Rtype,
    data: &'a [u8],
) -> (Name<Vec<u8>>, Class, Ttl, UnknownRecordData<&'a [u8]>) {
    let data = UnknownRecordData::from_octets(rtype, data).expect("data of a record is short enough");
    (wire_name(name), class, ttl, data)
}

fn rtype(kind: Kind) -> Rtype {
    match kind {
        Kind::A => Rtype::A,
        Kind::Aaaa => Rtype::AAAA,
        Kind::Cname => Rtype::CNAME,
        Kind::Txt => Rtype::TXT,
        Kind::Lua | Kind::Pool => unreachable!("only the types of kinds() and TXT are asked for"),
    }
}

/// A record as text.
fn text(kind: Kind, data: &[u8]) -> Option<String> {
    match kind {
        Kind::A | Kind::Aaaa => address(data).map(|address| address.to_string()),
        Kind::Txt => {
            let (mut rest, mut text) = (data, Vec::new());
            while let Some((length, after)) = rest.split_first() {
                let (part, beyond) = after.split_at_checked(usize::from(*length))?;
                text.extend(part);
                rest = beyond;
            }
            String::from_utf8(text).ok()
        }
        _ => Some(String::new()),
    }
}

/// A text as the data of a record.
fn data(kind: Kind, text: &str) -> Vec<u8> {
    if kind == Kind::Txt {
        let strings = text.as_bytes().chunks(255);
        return strings.flat_map(|part| std::iter::once(part.len() as u8).chain(part.iter().copied())).collect();
    }
    match text.parse() {
        Ok(IpAddr::V4(v4)) => v4.octets().to_vec(),
        Ok(IpAddr::V6(v6)) => v6.octets().to_vec(),
        Err(_) => unreachable!("only addresses and texts are written"),
    }
}

impl RecordSource for UpdateStore {
    fn endpoint(&self) -> String {
        self.asker.endpoint()
    }

    fn capabilities(&self) -> SteeringCapabilities {
        SteeringCapabilities {
            weights: Weights::ByAnswers { most: RECORDS_MOST },
            per_region: false,
            ttl: true,
            acknowledgement: Acknowledgement::Verified,
        }
    }

    fn begin(&mut self) -> Result<(), SteeringError> {
        Ok(())
    }

    fn set(&mut self, owner: &DnsName, kind: Kind) -> Result<RecordSet, SteeringError> {
        let answered = self.asker.ask(owner, rtype(kind), None)?;
        if ![Rcode::NOERROR, Rcode::NXDOMAIN].contains(&answered.rcode) {
            return Err(self.refusal(&format!("{kind} of {owner}"), answered.rcode));
        }
        self.seen.insert((owner.clone(), kind), answered.records.clone());
        let text = |data: &Vec<u8>| text(kind, data).unwrap_or_else(|| "garbage".to_owned());
        Ok(RecordSet::new(owner, kind, answered.ttl_seconds, answered.records.iter().map(text)))
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Cname, Kind::A, Kind::Aaaa]
    }

    fn answers_of(&self, sets: &[RecordSet]) -> Option<Expressed> {
        answers_of_addresses(sets)
    }
}

impl RecordStore for UpdateStore {
    fn is_in_zone(&mut self, owner: &DnsName) -> Result<bool, SteeringError> {
        let unused = [(owner.clone(), Class::NONE, Rtype::ANY, Vec::new())];
        let what = format!("whether {owner} is in use");
        match self.update(&what, &unused, &[])? {
            Rcode::NOERROR => Ok(false),
            Rcode::YXDOMAIN => Ok(true),
            other => Err(self.refusal(&what, other)),
        }
    }

    fn forget(&mut self, owner: &DnsName, kind: Kind) {
        self.seen.insert((owner.clone(), kind), Vec::new());
    }

    fn commit(&mut self, change: &Change) -> Result<(), SteeringError> {
        let mut prerequisites = Vec::new();
        for key in &change.expected {
            let records = self.seen.get(key).cloned().unwrap_or_default();
            let (owner, rtype) = (key.0.clone(), rtype(key.1));
            if records.is_empty() {
                prerequisites.push((owner, Class::NONE, rtype, Vec::new()));
            } else if key.1 == Kind::Cname {
                // That there is one: its data may have been compressed.
                prerequisites.push((owner, Class::ANY, rtype, Vec::new()));
            } else {
                prerequisites.extend(records.into_iter().map(|data| (owner.clone(), Class::IN, rtype, data)));
            }
        }
        let mut updates = Vec::new();
        let mut written = Vec::new();
        for set in &change.sets {
            updates.push((set.owner.clone(), Class::ANY, Ttl::ZERO, rtype(set.kind), Vec::new()));
            let mut records: Vec<Vec<u8>> = set.records.iter().map(|text| data(set.kind, text)).collect();
            let ttl = Ttl::from_secs(set.ttl_seconds);
            let add = |data: &Vec<u8>| (set.owner.clone(), Class::IN, ttl, rtype(set.kind), data.clone());
            updates.extend(records.iter().map(add));
            records.sort();
            written.push(((set.owner.clone(), set.kind), records));
        }
        match self.update(&change.what, &prerequisites, &updates)? {
            Rcode::NOERROR => {
                self.seen.extend(written);
                Ok(())
            }
            other => Err(self.refusal(&change.what, other)),
        }
    }

    fn sets_of(&self, name: &DnsName, answers: &Expressed) -> Vec<RecordSet> {
        address_sets(name, answers)
    }
}

/// Plain sets of addresses.
pub(super) fn address_sets(name: &DnsName, answers: &Expressed) -> Vec<RecordSet> {
    let pool = answers.pools.get(&Clients::Others);
    let addresses = |v4: bool| {
        let members = pool.into_iter().flat_map(BTreeMap::keys).filter(move |address| address.is_ipv4() == v4);
        members.map(IpAddr::to_string)
    };
    let sets = [(Kind::A, true), (Kind::Aaaa, false)];
    let sets = sets.map(|(kind, v4)| RecordSet::new(name, kind, answers.ttl_seconds, addresses(v4)));
    sets.into_iter().filter(|set| !set.records.is_empty()).collect()
}

/// What plain sets of addresses answer; `None` for other sets, and for sets with different times to live.
pub(super) fn answers_of_addresses(sets: &[RecordSet]) -> Option<Expressed> {
    let ttl_seconds = sets.first()?.ttl_seconds;
    let mut pool = BTreeMap::new();
    for set in sets {
        if !matches!(set.kind, Kind::A | Kind::Aaaa) || set.ttl_seconds != ttl_seconds {
            return None;
        }
        for record in &set.records {
            pool.insert(record.parse().ok()?, 1);
        }
    }
    Some(Expressed { ttl_seconds, pools: [(Clients::Others, pool)].into() })
}
