//! A name server in memory, with faults to set: for tests of whoever drives an executor, and the measure of the others in
//! the conformance suite.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use forebay_world::Acknowledgement;

use super::answers::{Answers, Clients};
use super::dns_name::DnsName;
use super::executor::{Applied, SteeringExecutor};
use super::expressed::Expressed;
use super::record_set::{Change, Kind, RecordSet};
use super::standing::Standing;
use super::view::{SteeringCapabilities, SteeringView, Weights};
use super::zone::{RecordSource, RecordStore, Zone, ZoneView};
use super::{Gate, SteeringError};

pub use super::zone::{WriterTerm, ZoneOptions};

/// The server: shared by all who are connected to it, and there when they are gone.
#[derive(Clone, Debug)]
pub struct FakeServer(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    sets: BTreeMap<(DnsName, Kind), RecordSet>,
    /// What happens to the next writes.
    faults: VecDeque<Fault>,
    reachable: bool,
    key_is_known: bool,
    writes: u64,
}

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it is done.
    None,
    /// The connection breaks before it is done …
    Lost,
    /// … or after it is done, and nobody is told.
    LostReply,
    /// It is accepted, and nothing comes of it.
    Ignored,
    /// It is refused.
    Rejected,
}

/// All that any server can do.
pub const ALL: SteeringCapabilities = SteeringCapabilities {
    weights: Weights::Exact,
    per_region: true,
    ttl: true,
    acknowledgement: Acknowledgement::Verified,
};

impl Default for FakeServer {
    fn default() -> Self {
        let (sets, faults) = (BTreeMap::new(), VecDeque::new());
        FakeServer(Arc::new(Mutex::new(State { sets, faults, reachable: true, key_is_known: true, writes: 0 })))
    }
}

impl FakeServer {
    /// Sets what happens to the writes that follow, in order.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Lets it answer, or not.
    pub fn set_reachable(&self, reachable: bool) {
        self.state().reachable = reachable;
    }

    /// Lets it know our key, or not.
    pub fn set_key_is_known(&self, known: bool) {
        self.state().key_is_known = known;
    }

    /// Writes done since it was made, of whatever kind.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Puts records there as a hand would: a name, `TXT` or `POOL`, and texts; none of them take the set away.
    pub fn put(&self, owner: &DnsName, kind: &str, records: &[&str]) {
        let kind = if kind == "TXT" { Kind::Txt } else { Kind::Pool };
        let set = RecordSet::new(owner, kind, 20, records.iter().map(|record| (*record).to_owned()));
        self.state().put(set);
    }

    /// All that is there, one line a set: `NAME TYPE TTL RECORD, RECORD`.
    pub fn sets(&self) -> Vec<String> {
        let shown = |set: &RecordSet| {
            let records: Vec<&str> = set.records.iter().map(String::as_str).collect();
            format!("{} {} {} {}", set.owner, set.kind, set.ttl_seconds, records.join(", "))
        };
        self.state().sets.values().map(shown).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked in between leaves a state that is as good as any.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, set: RecordSet) {
        let key = (set.owner.clone(), set.kind);
        if set.records.is_empty() {
            self.sets.remove(&key);
        } else {
            self.sets.insert(key, set);
        }
    }
}

/// A connection to a [`FakeServer`] that looks only.
pub struct FakeView(ZoneView<FakeStore>);

impl FakeView {
    /// Connects to a server of which an executor can do as much as that.
    ///
    /// # Errors
    /// [`SteeringError::Contradiction`] for an owner that is none.
    pub fn connect(
        server: &FakeServer,
        capabilities: SteeringCapabilities,
        options: ZoneOptions,
    ) -> Result<Self, SteeringError> {
        Ok(FakeView(ZoneView::new(FakeStore::new(server, capabilities), &options)?))
    }
}

/// A connection to a [`FakeServer`].
pub struct FakeExecutor(Zone<FakeStore>);

impl FakeExecutor {
    /// Connects to a server that can do as much as that.
    ///
    /// # Errors
    /// [`SteeringError::Contradiction`] for options that mean nothing.
    pub fn connect(
        server: &FakeServer,
        capabilities: SteeringCapabilities,
        options: ZoneOptions,
    ) -> Result<Self, SteeringError> {
        Ok(FakeExecutor(Zone::new(FakeStore::new(server, capabilities), options)?))
    }
}

impl SteeringView for FakeView {
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

impl SteeringView for FakeExecutor {
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

impl SteeringExecutor for FakeExecutor {
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

struct FakeStore {
    server: FakeServer,
    capabilities: SteeringCapabilities,
    seen: BTreeMap<(DnsName, Kind), RecordSet>,
}

impl FakeStore {
    fn new(server: &FakeServer, capabilities: SteeringCapabilities) -> FakeStore {
        FakeStore { server: server.clone(), capabilities, seen: BTreeMap::new() }
    }

    fn reach(&self) -> Result<MutexGuard<'_, State>, SteeringError> {
        let state = self.server.state();
        if !state.reachable {
            return Err(self.unreachable("it does not answer"));
        }
        if !state.key_is_known {
            let (endpoint, why) = (self.endpoint(), "the key is not known".to_owned());
            return Err(SteeringError::Credentials { endpoint, why, hint: "give it the right key" });
        }
        Ok(state)
    }

    fn unreachable(&self, why: &str) -> SteeringError {
        SteeringError::Unreachable { endpoint: self.endpoint(), why: why.to_owned() }
    }
}

impl RecordSource for FakeStore {
    fn endpoint(&self) -> String {
        "a server in memory".to_owned()
    }

    fn capabilities(&self) -> SteeringCapabilities {
        self.capabilities
    }

    fn begin(&mut self) -> Result<(), SteeringError> {
        self.reach().map(|_| ())
    }

    fn set(&mut self, owner: &DnsName, kind: Kind) -> Result<RecordSet, SteeringError> {
        let key = (owner.clone(), kind);
        let set = self.reach()?.sets.get(&key).cloned().unwrap_or_else(|| RecordSet::none(owner, kind));
        self.seen.insert(key, set.clone());
        Ok(set)
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Pool]
    }

    fn answers_of(&self, sets: &[RecordSet]) -> Option<Expressed> {
        let [set] = sets else { return None };
        let mut answers = Expressed { ttl_seconds: set.ttl_seconds, pools: BTreeMap::new() };
        for record in &set.records {
            let mut words = record.split(' ');
            let clients = match words.next()? {
                "*" => Clients::Others,
                region => Clients::Region(region.to_owned()),
            };
            let (address, counts): (IpAddr, u32) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            answers.pools.entry(clients).or_default().insert(address, counts);
        }
        Some(answers)
    }
}

impl RecordStore for FakeStore {
    fn forget(&mut self, owner: &DnsName, kind: Kind) {
        self.seen.insert((owner.clone(), kind), RecordSet::none(owner, kind));
    }

    fn commit(&mut self, change: &Change) -> Result<(), SteeringError> {
        let endpoint = self.endpoint();
        let mut state = self.reach()?;
        state.writes += 1;
        let fault = state.faults.pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::None | Fault::LostReply | Fault::Ignored => {}
            Fault::Lost => return Err(self.unreachable("the connection broke")),
            Fault::Rejected => {
                let (what, why) = (change.what.clone(), "it will not".to_owned());
                return Err(SteeringError::Rejected { endpoint, what, why });
            }
        }
        for key in &change.expected {
            let none = RecordSet::none(&key.0, key.1);
            if state.sets.get(key).unwrap_or(&none) != self.seen.get(key).unwrap_or(&none) {
                let (what, why) = (change.what.clone(), format!("{} {} is another", key.0, key.1));
                return Err(SteeringError::Overtaken { place: endpoint, what, why });
            }
        }
        for set in &change.sets {
            if fault != Fault::Ignored {
                state.put(set.clone());
            }
        }
        if fault == Fault::LostReply {
            return Err(self.unreachable("the connection broke"));
        }
        drop(state);
        for set in &change.sets {
            self.seen.insert((set.owner.clone(), set.kind), set.clone());
        }
        Ok(())
    }

    fn sets_of(&self, name: &DnsName, answers: &Expressed) -> Vec<RecordSet> {
        let mut records = Vec::new();
        for (clients, pool) in &answers.pools {
            let clients = if let Clients::Region(region) = clients { region } else { "*" };
            records.extend(pool.iter().map(|(address, counts)| format!("{clients} {address} {counts}")));
        }
        vec![RecordSet::new(name, Kind::Pool, answers.ttl_seconds, records)]
    }
}
