//! A hypervisor in memory, with faults to set: for tests of whoever drives an executor, and the measure of the others in
//! the conformance suite.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use forebay_world::{Timestamp, VmId};
use uuid::Uuid;

use super::{
    Done, Foreign, Gate, Inventory, Machine, MachineCapabilities, MachineError, MachineExecutor, MachineSpec,
    MachineState, MachineStatistics, MachineView, Mark, Owner,
};

/// The hypervisor: shared by all who are connected to it, and there when they are gone.
#[derive(Clone, Debug)]
pub struct FakeHypervisor(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    machines: BTreeMap<Uuid, Guest>,
    foreign: Vec<Foreign>,
    strays: Vec<String>,
    /// What happens to the next writes.
    faults: VecDeque<Fault>,
    reachable: bool,
    /// Images that are not there.
    missing: BTreeSet<String>,
    /// Machines that there is room for.
    machines_most: usize,
    now: Timestamp,
    writes: u64,
}

#[derive(Clone, Debug)]
struct Guest {
    mark: Mark,
    state: MachineState,
    since: Timestamp,
    /// It ends when it is asked to.
    obeys: bool,
    statistics: MachineStatistics,
    address: Option<IpAddr>,
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
    /// It is done, and not the address that was asked for is given, but 203.0.113.255.
    OtherAddress,
    /// It is refused.
    Rejected,
    /// It is refused, for now.
    Throttled,
    /// It is refused, for as long as we are who we are.
    Denied,
}

/// All that a hypervisor with machines of our own can do.
pub const ALL: MachineCapabilities = MachineCapabilities {
    graceful_stop: true,
    statistics: true,
    paused_creation: true,
    idempotent_creation: true,
    native_token: false,
    configuration: true,
    ports: true,
    addresses: false,
    restart: true,
};

impl Default for FakeHypervisor {
    fn default() -> Self {
        FakeHypervisor(Arc::new(Mutex::new(State {
            machines: BTreeMap::new(),
            foreign: Vec::new(),
            strays: Vec::new(),
            faults: VecDeque::new(),
            reachable: true,
            missing: BTreeSet::new(),
            machines_most: usize::MAX,
            now: Timestamp::EPOCH,
            writes: 0,
        })))
    }
}

impl FakeHypervisor {
    /// Sets what happens to the writes that follow, in order.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Lets it answer, or not.
    pub fn set_reachable(&self, reachable: bool) {
        self.state().reachable = reachable;
    }

    /// Sets its clock.
    pub fn set_now(&self, now: Timestamp) {
        self.state().now = now;
    }

    /// Sets how many machines there is room for.
    pub fn set_room(&self, machines_most: usize) {
        self.state().machines_most = machines_most;
    }

    /// Takes an image away, by its path or its name at the provider.
    pub fn lose_image(&self, name: &str) {
        self.state().missing.insert(name.to_owned());
    }

    /// Puts a machine there that is not ours, in the place of one of the same identity.
    pub fn add_foreign(&self, foreign: Foreign) {
        let mut state = self.state();
        state.foreign.retain(|other| other.id != foreign.id);
        state.foreign.push(foreign);
        state.foreign.sort();
    }

    /// Takes a machine away that is not ours, by its identity; false when there is none.
    pub fn remove_foreign(&self, id: &str) -> bool {
        let mut state = self.state();
        let before = state.foreign.len();
        state.foreign.retain(|other| other.id != id);
        state.foreign.len() < before
    }

    /// Leaves something of ours behind that belongs to no machine.
    pub fn add_stray(&self, what: &str) {
        self.state().strays.push(what.to_owned());
    }

    /// Changes the state of a machine behind everybody's back; false when there is none.
    pub fn disturb(&self, owner: &Owner, vm: VmId, to: MachineState) -> bool {
        let mut state = self.state();
        let now = state.now;
        let guest = state.machines.get_mut(&owner.uuid_of(vm));
        guest.map(|guest| (guest.state, guest.since) = (to, now)).is_some()
    }

    /// Lets a machine end when it is asked to, or not; false when there is none.
    pub fn obey(&self, owner: &Owner, vm: VmId, obeys: bool) -> bool {
        self.state().machines.get_mut(&owner.uuid_of(vm)).map(|guest| guest.obeys = obeys).is_some()
    }

    /// Sets what a machine has used; false when there is none.
    pub fn count(&self, owner: &Owner, vm: VmId, statistics: MachineStatistics) -> bool {
        self.state().machines.get_mut(&owner.uuid_of(vm)).map(|guest| guest.statistics = statistics).is_some()
    }

    /// Marks of all machines of ours and of other owners, each with its state.
    pub fn machines(&self) -> Vec<(Mark, MachineState)> {
        self.state().machines.values().map(|guest| (guest.mark.clone(), guest.state)).collect()
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

/// A connection to a [`FakeHypervisor`] that looks only.
#[derive(Debug)]
pub struct FakeView {
    hypervisor: FakeHypervisor,
    owner: Owner,
    capabilities: MachineCapabilities,
}

/// A connection to a [`FakeHypervisor`].
#[derive(Debug)]
pub struct FakeExecutor {
    view: FakeView,
}

/// One thing to write.
enum Write {
    Define(Mark, Option<IpAddr>),
    Start(bool),
    Resume,
    ShutDown,
    Stop,
    Undefine,
    Sweep,
}

impl Write {
    fn name(&self) -> &'static str {
        match self {
            Write::Define(..) => "define",
            Write::Start(_) => "start",
            Write::Resume => "resume",
            Write::ShutDown => "shut down",
            Write::Stop => "stop",
            Write::Undefine => "undefine",
            Write::Sweep => "sweep",
        }
    }

    fn execute(self, state: &mut State, uuid: Uuid) {
        let now = state.now;
        let mut become_state = |to| {
            if let Some(guest) = state.machines.get_mut(&uuid) {
                (guest.state, guest.since) = (to, now);
            }
        };
        match self {
            Write::Define(mark, address) => {
                let statistics = MachineStatistics::default();
                let guest = Guest { mark, state: MachineState::Defined, since: now, obeys: true, statistics, address };
                state.machines.insert(uuid, guest);
            }
            Write::Start(paused) => become_state(if paused { MachineState::Paused } else { MachineState::Running }),
            Write::Resume => become_state(MachineState::Running),
            Write::ShutDown => {
                let obeys = state.machines.get(&uuid).is_some_and(|guest| guest.obeys);
                if let Some(guest) = state.machines.get_mut(&uuid) {
                    guest.state = if obeys { MachineState::ShutOff } else { MachineState::ShuttingDown };
                    guest.since = now;
                }
            }
            Write::Stop => become_state(MachineState::ShutOff),
            Write::Undefine => drop(state.machines.remove(&uuid)),
            Write::Sweep => state.strays.clear(),
        }
    }
}

impl FakeView {
    /// Connects to a hypervisor of which an executor can do as much as that.
    pub fn connect(hypervisor: &FakeHypervisor, owner: Owner, capabilities: MachineCapabilities) -> Self {
        FakeView { hypervisor: hypervisor.clone(), owner, capabilities }
    }

    fn reach(&self) -> Result<MutexGuard<'_, State>, MachineError> {
        let state = self.hypervisor.state();
        if state.reachable { Ok(state) } else { Err(self.unreachable("it does not answer")) }
    }

    fn unreachable(&self, why: &str) -> MachineError {
        MachineError::Unreachable { endpoint: self.hypervisor(), why: why.to_owned() }
    }

    fn seen(&self, vm: VmId) -> Result<Option<(MachineState, Mark)>, MachineError> {
        let guest = self.reach()?.machines.get(&self.owner.uuid_of(vm)).cloned();
        Ok(guest.map(|guest| (guest.state, guest.mark)))
    }
}

impl FakeExecutor {
    /// Connects to a hypervisor that can do as much as that.
    pub fn connect(hypervisor: &FakeHypervisor, owner: Owner, capabilities: MachineCapabilities) -> Self {
        FakeExecutor { view: FakeView::connect(hypervisor, owner, capabilities) }
    }

    fn unsupported(&self, what: &str, allowed: &'static str) -> MachineError {
        MachineError::Unsupported { endpoint: self.hypervisor(), what: what.to_owned(), allowed }
    }

    /// One write, through the gate and whatever fault is set.
    fn write(&self, gate: &mut Gate, vm: VmId, write: Write) -> Result<(), MachineError> {
        let (endpoint, what) = (self.hypervisor(), format!("{} {vm}", write.name()));
        gate.pass(&what)?;
        let mut state = self.view.reach()?;
        if matches!(write, Write::Define(..)) && state.machines.len() >= state.machines_most {
            let why = format!("{} machines are all there is room for", state.machines_most);
            return Err(MachineError::Quota { endpoint, vm, why });
        }
        state.writes += 1;
        let uuid = self.view.owner.uuid_of(vm);
        match state.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None => write.execute(&mut state, uuid),
            Fault::Lost => return Err(self.view.unreachable("the connection broke")),
            Fault::LostReply => {
                write.execute(&mut state, uuid);
                return Err(self.view.unreachable("the connection broke"));
            }
            Fault::Ignored => {}
            Fault::OtherAddress => match write {
                Write::Define(mark, _) => {
                    Write::Define(mark, Some([203, 0, 113, 255].into())).execute(&mut state, uuid)
                }
                other => other.execute(&mut state, uuid),
            },
            Fault::Rejected => return Err(MachineError::Rejected { endpoint, what, why: "it will not".to_owned() }),
            Fault::Throttled => return Err(MachineError::Throttled { endpoint, what, why: "later".to_owned() }),
            Fault::Denied => return Err(MachineError::Denied { endpoint, what, why: "not you".to_owned() }),
        }
        Ok(())
    }

    fn check(&self, spec: &MachineSpec) -> Result<(), MachineError> {
        spec.check()?;
        let can = self.view.capabilities;
        if spec.paused && !can.paused_creation {
            return Err(self.unsupported("a machine that does not run yet", "one that runs"));
        }
        if spec.configuration.is_some() && !can.configuration {
            return Err(self.unsupported("configuration", "none"));
        }
        if !spec.ports.is_empty() && !can.ports {
            return Err(self.unsupported("a port", "none"));
        }
        if !can.addresses {
            spec.refuse_address(self.hypervisor())?;
        }
        let state = self.view.reach()?;
        for name in spec.image.names() {
            if state.missing.contains(&name) {
                let hint = "images are named in the configuration of flavours";
                return Err(MachineError::Missing { endpoint: self.hypervisor(), kind: "image", name, hint });
            }
        }
        Ok(())
    }
}

impl MachineView for FakeView {
    fn hypervisor(&self) -> String {
        "a hypervisor in memory".to_owned()
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn capabilities(&self) -> MachineCapabilities {
        self.capabilities
    }

    fn list(&mut self) -> Result<Inventory, MachineError> {
        let state = self.reach()?;
        let (ours, others): (Vec<_>, Vec<_>) =
            state.machines.iter().partition(|(_, guest)| guest.mark.owner == self.owner);
        let machine = |(uuid, guest): (&Uuid, &Guest)| {
            let machine = Machine {
                uuid: *uuid,
                name: guest.mark.vm.to_string(),
                host: "memory".to_owned(),
                state: guest.state,
                since: Some(guest.since),
                addresses: guest.address.into_iter().collect(),
                mark: guest.mark.clone(),
            };
            (guest.mark.vm, machine)
        };
        let foreign = others.into_iter().map(|(uuid, guest)| Foreign {
            uuid: Some(*uuid),
            state: guest.state,
            since: Some(guest.since),
            owner: Some(guest.mark.owner.clone()),
            ..Foreign::new(guest.mark.vm.to_string(), uuid.to_string())
        });
        Ok(Inventory {
            machines: ours.into_iter().map(machine).collect(),
            strays: state.strays.clone(),
            foreign: state.foreign.iter().cloned().chain(foreign).collect(),
        })
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        let state = self.reach()?;
        let ours = state.machines.values().filter(|guest| guest.mark.owner == self.owner && guest.state.is_alive());
        let counted = ours.map(|guest| (guest.mark.vm, guest.statistics.clone()));
        Ok(if self.capabilities.statistics { counted.collect() } else { BTreeMap::new() })
    }
}

impl MachineView for FakeExecutor {
    fn hypervisor(&self) -> String {
        self.view.hypervisor()
    }

    fn owner(&self) -> &Owner {
        self.view.owner()
    }

    fn capabilities(&self) -> MachineCapabilities {
        self.view.capabilities()
    }

    fn list(&mut self) -> Result<Inventory, MachineError> {
        self.view.list()
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        self.view.statistics()
    }
}

impl MachineExecutor for FakeExecutor {
    fn create(&mut self, spec: &MachineSpec, gate: &mut Gate) -> Result<Done, MachineError> {
        self.check(spec)?;
        let (vm, digest) = (spec.vm, spec.digest());
        let mut done = Done::default();
        let mut state = match self.view.seen(vm)? {
            Some((_, mark)) if mark.spec != digest => {
                return Err(MachineError::Conflict { vm, standing: mark.spec, given: digest });
            }
            Some((state, _)) => state,
            None => {
                let (owner, generation, created) = (self.view.owner.clone(), spec.generation, self.view.reach()?.now);
                let mark = Mark { owner, vm, generation, created, spec: digest };
                self.write(gate, vm, Write::Define(mark, spec.address))?;
                done.writes += 1;
                MachineState::Defined
            }
        };
        if !state.is_alive() {
            self.write(gate, vm, Write::Start(spec.paused))?;
            done.writes += 1;
            state = self.view.seen(vm)?.map_or(MachineState::Defined, |(state, _)| state);
        }
        if state == MachineState::Paused && !spec.paused {
            done.writes += self.resume(vm, gate)?.writes;
        }
        if !state.is_alive() {
            let difference = format!("it is {state:?}");
            return Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference });
        }
        let given = self.view.reach()?.machines.get(&self.view.owner.uuid_of(vm)).and_then(|guest| guest.address);
        if spec.address.is_some() && given != spec.address {
            let difference = format!("it has {given:?}, and was to have {:?}", spec.address);
            return Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference });
        }
        Ok(done)
    }

    fn resume(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        match self.view.seen(vm)? {
            Some((MachineState::Paused, _)) => self.write(gate, vm, Write::Resume).map(|()| Done { writes: 1 }),
            _ => Ok(Done::default()),
        }
    }

    fn shut_down(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        if !self.view.capabilities.graceful_stop {
            return Err(self.unsupported("an end by itself", "destroy"));
        }
        match self.view.seen(vm)? {
            Some((state, _)) if state.is_alive() => self.write(gate, vm, Write::ShutDown).map(|()| Done { writes: 1 }),
            _ => Ok(Done::default()),
        }
    }

    fn destroy(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let Some((state, _)) = self.view.seen(vm)?.filter(|(state, _)| state.is_alive()) else {
            return Ok(Done::default());
        };
        self.write(gate, vm, Write::Stop)?;
        if self.view.seen(vm)?.is_some_and(|(now, _)| now.is_alive()) {
            let difference = format!("it was {state:?} and has not ended");
            return Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference });
        }
        Ok(Done { writes: 1 })
    }

    fn remove(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let mut done = self.destroy(vm, gate)?;
        if self.view.seen(vm)?.is_some() {
            self.write(gate, vm, Write::Undefine)?;
            done.writes += 1;
        }
        if self.view.seen(vm)?.is_some() {
            let difference = "it is still there".to_owned();
            return Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference });
        }
        Ok(done)
    }

    fn sweep(&mut self, gate: &mut Gate) -> Result<Done, MachineError> {
        if self.view.reach()?.strays.is_empty() {
            return Ok(Done::default());
        }
        self.write(gate, VmId(0), Write::Sweep)?;
        Ok(Done { writes: 1 })
    }
}
