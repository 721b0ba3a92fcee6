//! A switch in memory, with faults to set: for tests of whoever drives an executor, and the measure of the others in the
//! conformance suite.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use forebay_world::{BitsPerSecond, Capabilities, Generation, SliceId};

use super::{
    Applied, Counters, Enforced, Gate, LinkSlices, Port, SliceError, SliceExecutor, SliceView, Standing, StandingPort,
    enforced::{least_rate, whole_bytes},
};

/// The switch: shared by all who are connected to it, and there when they are gone.
#[derive(Clone, Debug)]
pub struct FakeSwitch(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    generation: Option<Generation>,
    capacity: Option<BitsPerSecond>,
    slices: BTreeMap<SliceId, Enforced>,
    ports: BTreeMap<String, StandingPort>,
    foreign: Vec<String>,
    counters: BTreeMap<SliceId, Counters>,
    /// What happens to the next writes.
    faults: VecDeque<Fault>,
    reachable: bool,
    /// The writer that holds the lock, and the next one's number.
    writer: Option<u64>,
    writers: u64,
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

impl Default for FakeSwitch {
    fn default() -> Self {
        FakeSwitch(Arc::new(Mutex::new(State { reachable: true, ..State::default() })))
    }
}

impl FakeSwitch {
    /// Sets what happens to the writes that follow, in order.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Lets it answer, or not.
    pub fn set_reachable(&self, reachable: bool) {
        self.state().reachable = reachable;
    }

    /// Puts something there that is nobody's business.
    pub fn add_foreign(&self, what: &str) {
        self.state().foreign.push(what.to_owned());
    }

    /// What is there that is not ours.
    pub fn foreign(&self) -> Vec<String> {
        self.state().foreign.clone()
    }

    /// Changes a slice as a hand would; false when there is none.
    pub fn disturb(&self, slice: SliceId, change: impl FnOnce(&mut Enforced)) -> bool {
        self.state().slices.get_mut(&slice).map(change).is_some()
    }

    /// Lets a slice carry something.
    pub fn carry(&self, slice: SliceId, bytes: u64) {
        let mut state = self.state();
        let counters = state.counters.entry(slice).or_default();
        counters.bytes += bytes;
        counters.packets += bytes.div_ceil(super::MTU_BYTES);
    }

    /// Writes done since it was made.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked in between leaves a state that is as good as any.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A connection to a [`FakeSwitch`] that looks only: it is no writer, and nobody's place.
#[derive(Debug)]
pub struct FakeView {
    switch: FakeSwitch,
    capabilities: Capabilities,
}

/// A connection to a [`FakeSwitch`]; the first there is is its only writer, until it is dropped.
#[derive(Debug)]
pub struct FakeExecutor {
    view: FakeView,
    writer: u64,
}

impl FakeView {
    /// Connects to a switch of which an executor can do as much as that.
    pub fn connect(switch: &FakeSwitch, capabilities: Capabilities) -> Self {
        FakeView { switch: switch.clone(), capabilities }
    }

    fn reach(&self) -> Result<MutexGuard<'_, State>, SliceError> {
        let state = self.switch.state();
        if state.reachable { Ok(state) } else { Err(self.unreachable("it does not answer")) }
    }

    fn unreachable(&self, why: &str) -> SliceError {
        SliceError::Unreachable { endpoint: self.link(), why: why.to_owned() }
    }

    fn standing(&self, state: &State) -> Standing {
        Standing {
            generation: state.generation,
            capacity: state.capacity,
            slices: state.slices.clone(),
            ports: state.ports.clone(),
            strays: Vec::new(),
            foreign: state.foreign.clone(),
        }
    }
}

impl SliceView for FakeView {
    fn link(&self) -> String {
        "a switch in memory".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn read(&mut self) -> Result<Standing, SliceError> {
        Ok(self.standing(&*self.reach()?))
    }

    fn counters(&mut self) -> Result<BTreeMap<SliceId, Counters>, SliceError> {
        let state = self.reach()?;
        if !self.capabilities.statistics {
            return Ok(BTreeMap::new());
        }
        let of = |id: &SliceId| (*id, state.counters.get(id).copied().unwrap_or_default());
        Ok(state.slices.keys().map(of).collect())
    }
}

impl FakeExecutor {
    /// Connects to a switch that can do as much as that.
    pub fn connect(switch: &FakeSwitch, capabilities: Capabilities) -> Self {
        let mut state = switch.state();
        let writer = state.writers;
        state.writers += 1;
        state.writer.get_or_insert(writer);
        drop(state);
        FakeExecutor { view: FakeView::connect(switch, capabilities), writer }
    }

    fn own(&self) -> Result<(), SliceError> {
        let mut state = self.view.reach()?;
        match state.writer {
            Some(writer) if writer != self.writer => {
                Err(SliceError::OtherWriter { link: self.link(), lock: "its lock".to_owned() })
            }
            _ => {
                state.writer = Some(self.writer);
                Ok(())
            }
        }
    }

    /// One write, through the gate and whatever fault is set.
    fn write(&self, gate: &mut Gate, write: &Write) -> Result<(), SliceError> {
        gate.pass(&write.describe())?;
        let mut state = self.view.reach()?;
        state.writes += 1;
        match state.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None => write.execute(&mut state),
            Fault::Lost => return Err(self.view.unreachable("the connection broke")),
            Fault::LostReply => {
                write.execute(&mut state);
                return Err(self.view.unreachable("the connection broke"));
            }
            Fault::Ignored => {}
            Fault::Rejected => {
                let (endpoint, what) = (self.link(), write.describe());
                return Err(SliceError::Rejected { endpoint, what, why: "it will not".to_owned() });
            }
        }
        Ok(())
    }

    /// Writes what leads from what stands to slices and ports.
    fn change(&self, gate: &mut Gate, wanted: &Wanted<'_>) -> Result<u32, SliceError> {
        let standing = self.view.standing(&*self.view.reach()?);
        let mut writes = Vec::new();
        if standing.capacity != wanted.capacity {
            writes.push(Write::Hold(wanted.capacity));
        }
        for (id, slice) in &wanted.slices {
            if standing.slices.get(id) != Some(slice) {
                writes.push(Write::Set(*id, slice.clone()));
            }
        }
        for (name, port) in wanted.ports {
            if standing.ports.get(name).is_none_or(|stands| stands.port != *port) {
                writes.push(Write::Guard(name.clone(), port.clone()));
            }
            if standing.ports.get(name).is_none_or(|stands| stands.port != *port || !stands.up) {
                writes.push(Write::Up(name.clone()));
            }
        }
        let ports = standing.ports.keys().filter(|name| !wanted.ports.contains_key(*name));
        writes.extend(ports.map(|name| Write::Unguard(name.clone())));
        let slices = standing.slices.keys().filter(|id| !wanted.slices.contains_key(id));
        writes.extend(slices.map(|id| Write::Remove(*id)));
        // From the first write on, older plans are stale; what is ours until the last is gone bears its generation.
        let number = Write::Number(wanted.generation);
        match wanted.generation {
            Some(_) if standing.generation != wanted.generation || !writes.is_empty() => writes.insert(0, number),
            None if standing.generation.is_some() => writes.push(number),
            _ => {}
        }
        for write in &writes {
            self.write(gate, write)?;
        }
        Ok(writes.len() as u32)
    }
}

struct Wanted<'a> {
    generation: Option<Generation>,
    capacity: Option<BitsPerSecond>,
    slices: BTreeMap<SliceId, Enforced>,
    ports: &'a BTreeMap<String, Port>,
}

/// One thing to write.
enum Write {
    Number(Option<Generation>),
    Hold(Option<BitsPerSecond>),
    Set(SliceId, Enforced),
    Remove(SliceId),
    Guard(String, Port),
    Up(String),
    Unguard(String),
}

impl Write {
    fn describe(&self) -> String {
        match self {
            Write::Number(Some(generation)) => format!("generation {generation}"),
            Write::Number(None) => "no generation".to_owned(),
            Write::Hold(Some(capacity)) => format!("hold the link to {capacity}"),
            Write::Hold(None) => "let the link go".to_owned(),
            Write::Set(id, _) => format!("set slice {id}"),
            Write::Remove(id) => format!("remove slice {id}"),
            Write::Guard(name, _) => format!("guard port {name}"),
            Write::Up(name) => format!("set port {name} up"),
            Write::Unguard(name) => format!("remove the rules of port {name}"),
        }
    }

    fn execute(&self, state: &mut State) {
        match self {
            Write::Number(generation) => state.generation = *generation,
            Write::Hold(capacity) => state.capacity = *capacity,
            Write::Set(id, slice) => {
                state.slices.insert(*id, slice.clone());
            }
            Write::Remove(id) => {
                state.slices.remove(id);
                state.counters.remove(id);
            }
            Write::Guard(name, port) => {
                state.ports.insert(name.clone(), StandingPort { port: port.clone(), up: false });
            }
            Write::Up(name) => {
                if let Some(port) = state.ports.get_mut(name) {
                    port.up = true;
                }
            }
            Write::Unguard(name) => {
                state.ports.remove(name);
            }
        }
    }
}

impl Drop for FakeExecutor {
    fn drop(&mut self) {
        let mut state = self.view.switch.state();
        if state.writer == Some(self.writer) {
            state.writer = None;
        }
    }
}

impl SliceView for FakeExecutor {
    fn link(&self) -> String {
        self.view.link()
    }

    fn capabilities(&self) -> Capabilities {
        self.view.capabilities()
    }

    fn read(&mut self) -> Result<Standing, SliceError> {
        self.view.read()
    }

    fn counters(&mut self) -> Result<BTreeMap<SliceId, Counters>, SliceError> {
        self.view.counters()
    }
}

impl SliceExecutor for FakeExecutor {
    fn apply(&mut self, wanted: &LinkSlices, gate: &mut Gate) -> Result<Applied, SliceError> {
        let slices = wanted.enforced(&self.view.capabilities)?;
        let standing = self.read()?.generation.filter(|standing| *standing > wanted.generation);
        if let Some(standing) = standing {
            return Err(SliceError::Stale { link: self.link(), given: wanted.generation, standing });
        }
        self.own()?;
        let capacity = Some(whole_bytes(wanted.capacity).max(least_rate()));
        let generation = Some(wanted.generation);
        let writes = self.change(gate, &Wanted { generation, capacity, slices, ports: &wanted.ports })?;
        let standing = self.read()?;
        let mut differences = wanted.differences(&self.view.capabilities, &standing)?;
        if writes > 0 && standing.generation != generation {
            differences.push("it is not numbered".to_owned());
        }
        if !differences.is_empty() {
            return Err(SliceError::NotVerified { link: self.link(), differences });
        }
        Ok(Applied { writes, acknowledgement: self.view.capabilities.acknowledgement })
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SliceError> {
        self.own()?;
        let nothing = Wanted { generation: None, capacity: None, slices: BTreeMap::new(), ports: &BTreeMap::new() };
        let writes = self.change(gate, &nothing)?;
        let left = self.read()?;
        if !left.is_empty() {
            let differences = vec![format!("{left:?} is left")];
            return Err(SliceError::NotVerified { link: self.link(), differences });
        }
        Ok(Applied { writes, acknowledgement: self.view.capabilities.acknowledgement })
    }
}
