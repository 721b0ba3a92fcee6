//! Hosts and the virtual machines on them: who is where in its life, who has room, what it costs.
//!
//! ```text
//!            boot slot free      image booted       caches warm
//! Requested ───────────────▶ Booting ────────▶ Warming ────────▶ Ready ◀──▶ Draining ──▶ gone
//!      └──────────── host down, boot failed ────────────▶ Failed ─────────────────────▶ gone
//! ```
//!
//! The fleet keeps states and counts; when a change of state comes due is the world's agenda's to know, and what
//! a machine's sessions do is the model's. A machine is known by its plan's [`VmId`] and, inside this crate, by its
//! [`Ordinal`]: the number of its launch, never used again, so that an old cached DNS answer or a late event about
//! a machine that is gone finds nobody.

use std::collections::{BTreeMap, VecDeque};

use forebay_world::units::nearest;
use forebay_world::{
    ClassId, Duration, HostId, HostLedger, PlannedVm, RegionId, Room, Timestamp, Topology, VmId, VmSeen, VmState,
};
use rand_distr::StandardNormal;

use crate::Stream;
use crate::network::{GroupIx, LinkIx};
use crate::session::Interactive;

/// Number of a launch, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ordinal(pub(crate) u32);

const GONE: u32 = u32::MAX;

/// One virtual machine.
#[derive(Clone, Debug)]
pub(crate) struct Vm {
    pub(crate) id: VmId,
    pub(crate) ordinal: Ordinal,
    pub(crate) planned: PlannedVm,
    pub(crate) state: VmState,
    pub(crate) since: Timestamp,
    pub(crate) requested: Timestamp,
    /// Which launch of its cell it is: names its random numbers.
    pub(crate) nth: u64,
    /// Whether it holds room of its host's: one that was found standing where there is none does not.
    pub(crate) holds_room: bool,
    /// Sessions it has now; under fluid load their expected number.
    pub(crate) sessions: f64,
    /// What it can serve, as a link that its flows share; `None` when it serves nobody any more.
    pub(crate) link: Option<LinkIx>,
    /// The way to each client region it serves, in the order first used.
    pub(crate) ways: Vec<Way>,
    /// Requests it has answered since its cache was cold.
    pub(crate) answered: f64,
    /// Requests at work, for interactive machines at session fidelity.
    pub(crate) interactive: Option<Box<Interactive>>,
    /// Session time since the window began \[s\] …
    pub(crate) session_seconds: f64,
    /// … and processor time of its requests \[core s\], for its utilization.
    pub(crate) busy_core_seconds: f64,
}

impl Vm {
    /// Use of its scarcest resource since the window began, as time at full use \[s\].
    pub(crate) fn busy_seconds(&self, topology: &Topology, places: &[f64]) -> f64 {
        if self.interactive.is_some() {
            self.busy_core_seconds / topology.flavours[self.planned.flavour.index()].cpu.cores()
        } else {
            self.session_seconds / places[self.planned.class.index()]
        }
    }

    /// A new window begins.
    pub(crate) fn begin_window(&mut self) {
        self.session_seconds = 0.0;
        self.busy_core_seconds = 0.0;
    }
}

/// The flows of one machine to one client region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) client: RegionId,
    pub(crate) group: GroupIx,
    /// One-way delay to the clients \[s\].
    pub(crate) delay: f64,
    /// Sessions on it.
    pub(crate) sessions: f64,
}

/// A host's boot slots and health.
#[derive(Clone, Debug)]
struct HostState {
    up: bool,
    booting: u32,
    waiting: VecDeque<Ordinal>,
    vms: Vec<Ordinal>,
}

/// All hosts and machines.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    vms: Vec<Vm>,
    /// Position in `vms` by ordinal; `GONE` after its end.
    position: Vec<u32>,
    by_id: BTreeMap<VmId, Ordinal>,
    /// Machines that take new sessions, by serving cell, in the order they became ready.
    ready: Vec<Vec<Ordinal>>,
    /// Machines launched so far, by serving cell: numbers the boot-time draws, so that the n-th launch in a cell takes
    /// as long under every policy.
    launched: Vec<u64>,
    hosts: Vec<HostState>,
    ledger: HostLedger,
    bill: Bill,
    /// The same by serving cell, launches and destructions left out.
    cell_bills: Vec<Bill>,
    /// How many times a machine began or ceased to serve, or may have.
    turns: u64,
}

/// Running totals of what machines cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bill {
    /// Hours of machines, from request to destruction.
    pub(crate) vm_hours: f64,
    /// Their price.
    pub(crate) cost: f64,
    /// Launches and destructions.
    pub(crate) churn: u64,
    running: f64,
    price_per_hour: f64,
    since: Timestamp,
}

impl Bill {
    fn advance(&mut self, now: Timestamp) {
        let hours = now.since(self.since).as_hours_f64();
        self.vm_hours += self.running * hours;
        self.cost += self.price_per_hour * hours;
        self.since = now;
    }

    fn change(&mut self, now: Timestamp, machines: f64, price_per_hour: f64) {
        self.advance(now);
        self.running += machines;
        // Without machines the sum of prices is nothing, whatever the rounding left.
        self.price_per_hour = if self.running == 0.0 { 0.0 } else { self.price_per_hour + machines * price_per_hour };
    }
}

/// What became of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Launch {
    /// It boots, and will be booted after this time.
    Boots(Duration),
    /// It waits for a boot slot.
    Waits,
    /// Its host is down or has no room: it stands as failed.
    Refused,
}

impl Fleet {
    pub(crate) fn new(topology: &Topology, start: Timestamp) -> Self {
        Fleet {
            vms: Vec::new(),
            position: Vec::new(),
            by_id: BTreeMap::new(),
            ready: vec![Vec::new(); topology.cells()],
            launched: vec![0; topology.cells()],
            hosts: vec![
                HostState { up: true, booting: 0, waiting: VecDeque::new(), vms: Vec::new() };
                topology.hosts.len()
            ],
            ledger: HostLedger::new(topology.hosts.iter().map(Room::of_host)),
            bill: Bill { since: start, ..Bill::default() },
            cell_bills: vec![Bill { since: start, ..Bill::default() }; topology.cells()],
            turns: 0,
        }
    }

    /// The machine, while it exists.
    pub(crate) fn get(&self, ordinal: Ordinal) -> Option<&Vm> {
        let position = *self.position.get(ordinal.0 as usize)?;
        (position != GONE).then(|| &self.vms[position as usize])
    }

    pub(crate) fn get_mut(&mut self, ordinal: Ordinal) -> Option<&mut Vm> {
        let position = *self.position.get(ordinal.0 as usize)?;
        (position != GONE).then(|| &mut self.vms[position as usize])
    }

    pub(crate) fn ordinal_of(&self, id: VmId) -> Option<Ordinal> {
        self.by_id.get(&id).copied()
    }

    /// All machines, in no meaningful but a reproducible order.
    pub(crate) fn vms(&self) -> &[Vm] {
        &self.vms
    }

    pub(crate) fn vms_mut(&mut self) -> &mut [Vm] {
        &mut self.vms
    }

    /// Changes with every change of who serves: while it stands, machines are where they were in [`Fleet::vms`], in
    /// the state that they were in.
    pub(crate) fn turns(&self) -> u64 {
        self.turns
    }

    /// Machines of a serving cell that take new sessions.
    pub(crate) fn ready(&self, cell: usize) -> &[Ordinal] {
        &self.ready[cell]
    }

    pub(crate) fn host_up(&self, host: HostId) -> bool {
        self.hosts[host.index()].up
    }

    /// Machines on a host, in the order they came.
    pub(crate) fn on_host(&self, host: HostId) -> Vec<Ordinal> {
        self.hosts[host.index()].vms.clone()
    }

    /// What machines cost until `now`.
    pub(crate) fn bill(&mut self, now: Timestamp) -> Bill {
        self.bill.advance(now);
        self.bill
    }

    /// What machines have cost until `now`, without taking note of it.
    pub(crate) fn bill_at(&self, now: Timestamp) -> Bill {
        let mut bill = self.bill;
        bill.advance(now);
        bill
    }

    /// What the machines of a serving cell have cost until `now`.
    pub(crate) fn cell_bill_at(&self, now: Timestamp, cell: usize) -> Bill {
        let mut bill = self.cell_bills[cell];
        bill.advance(now);
        bill
    }

    /// Machines as an observer of the hypervisors sees them, by ascending id.
    pub(crate) fn inventory(&self) -> impl Iterator<Item = (&Vm, VmSeen)> {
        self.by_id.values().map(|ordinal| {
            let vm = self.get(*ordinal).expect("an indexed machine exists");
            let seen = VmSeen {
                id: vm.id,
                region: vm.planned.region,
                host: vm.planned.host,
                flavour: vm.planned.flavour,
                class: vm.planned.class,
                state: vm.state,
                since: vm.since,
                // A cast of whole numbers would wrap.
                sessions: Some(u32::try_from(nearest(vm.sessions)).unwrap_or(u32::MAX)),
                utilization: None,
            };
            (vm, seen)
        })
    }

    /// Launches a machine.
    pub(crate) fn launch(
        &mut self,
        now: Timestamp,
        topology: &Topology,
        seed: u64,
        id: VmId,
        planned: PlannedVm,
    ) -> (Ordinal, Launch) {
        let cell = topology.cell(planned.region, planned.class);
        self.launched[cell] += 1;
        let ordinal = self.next_ordinal();
        let flavour = &topology.flavours[planned.flavour.index()];
        let host = &mut self.hosts[planned.host.index()];
        let fits = host.up && self.ledger.take(planned.host.index(), &Room::of_flavour(flavour));
        let (state, launch) = if !fits {
            (VmState::Failed, Launch::Refused)
        } else if host.booting < topology.hosts[planned.host.index()].concurrent_boots {
            host.booting += 1;
            (VmState::Booting, Launch::Boots(boot_time(topology, seed, cell, self.launched[cell], &planned)))
        } else {
            host.waiting.push_back(ordinal);
            (VmState::Requested, Launch::Waits)
        };
        if fits {
            host.vms.push(ordinal);
            self.charge(now, cell, 1.0, flavour.price_per_hour);
        }
        self.bill.churn += 1;
        self.enter(now, id, planned, state, (self.launched[cell], fits));
        (ordinal, launch)
    }

    /// Takes in a machine as it was found standing, without a boot. It is there even where its host has no room for it.
    pub(crate) fn adopt(
        &mut self,
        now: Timestamp,
        topology: &Topology,
        id: VmId,
        planned: PlannedVm,
        state: VmState,
    ) -> Ordinal {
        let cell = topology.cell(planned.region, planned.class);
        let flavour = &topology.flavours[planned.flavour.index()];
        let ordinal = self.next_ordinal();
        let stands = state != VmState::Failed;
        let holds_room = stands && self.ledger.take(planned.host.index(), &Room::of_flavour(flavour));
        if stands {
            self.hosts[planned.host.index()].vms.push(ordinal);
            self.charge(now, cell, 1.0, flavour.price_per_hour);
        }
        self.enter(now, id, planned, state, (0, holds_room));
        if state == VmState::Ready {
            self.ready[cell].push(ordinal);
        }
        self.turns += 1;
        ordinal
    }

    /// Counts a launch that was none of a plan's.
    pub(crate) fn count_launch(&mut self) {
        self.bill.churn += 1;
    }

    fn next_ordinal(&self) -> Ordinal {
        Ordinal(u32::try_from(self.position.len()).expect("fewer than 2³² launches in a run"))
    }

    fn enter(&mut self, now: Timestamp, id: VmId, planned: PlannedVm, state: VmState, (nth, holds_room): (u64, bool)) {
        let ordinal = self.next_ordinal();
        self.position.push(u32::try_from(self.vms.len()).expect("machines are fewer than launches"));
        self.by_id.insert(id, ordinal);
        self.vms.push(Vm {
            id,
            ordinal,
            planned,
            state,
            since: now,
            requested: now,
            nth,
            holds_room,
            sessions: 0.0,
            link: None,
            ways: Vec::new(),
            answered: 0.0,
            interactive: None,
            session_seconds: 0.0,
            busy_core_seconds: 0.0,
        });
    }

    fn charge(&mut self, now: Timestamp, cell: usize, machines: f64, price_per_hour: f64) {
        self.bill.change(now, machines, price_per_hour);
        self.cell_bills[cell].change(now, machines, price_per_hour);
    }

    /// A boot has ended, well or not: frees the slot and gives it to the next in line, if any, with its boot time.
    pub(crate) fn free_boot_slot(
        &mut self,
        now: Timestamp,
        topology: &Topology,
        seed: u64,
        host: HostId,
    ) -> Option<(Ordinal, Duration)> {
        let state = &mut self.hosts[host.index()];
        state.booting = state.booting.saturating_sub(1);
        while let Some(next) = self.hosts[host.index()].waiting.pop_front() {
            let Some(vm) = self.get_mut(next) else { continue };
            if vm.state != VmState::Requested {
                continue;
            }
            vm.state = VmState::Booting;
            vm.since = now;
            let (planned, nth) = (vm.planned, vm.nth);
            self.hosts[host.index()].booting += 1;
            let cell = topology.cell(planned.region, planned.class);
            return Some((next, boot_time(topology, seed, cell, nth, &planned)));
        }
        None
    }

    /// Moves a machine to a state between launch and end.
    pub(crate) fn set_state(&mut self, now: Timestamp, topology: &Topology, ordinal: Ordinal, state: VmState) {
        self.turns += 1;
        let vm = self.get_mut(ordinal).expect("only machines that exist change state");
        let before = vm.state;
        vm.state = state;
        vm.since = now;
        let cell = topology.cell(vm.planned.region, vm.planned.class);
        if state == VmState::Ready && before != VmState::Ready {
            self.ready[cell].push(ordinal);
        } else if state != VmState::Ready && before == VmState::Ready {
            self.ready[cell].retain(|other| *other != ordinal);
        }
    }

    /// A machine fails: it stands, serves nobody and costs nothing until a plan no longer names it.
    pub(crate) fn fail(&mut self, now: Timestamp, topology: &Topology, ordinal: Ordinal) {
        self.vacate(now, topology, ordinal);
        self.set_state(now, topology, ordinal, VmState::Failed);
    }

    /// Destroys a machine.
    pub(crate) fn destroy(&mut self, now: Timestamp, topology: &Topology, ordinal: Ordinal) -> Vm {
        self.vacate(now, topology, ordinal);
        self.set_state(now, topology, ordinal, VmState::Failed);
        let position = std::mem::replace(&mut self.position[ordinal.0 as usize], GONE);
        let vm = self.vms.swap_remove(position as usize);
        if let Some(moved) = self.vms.get(position as usize) {
            self.position[moved.ordinal.0 as usize] = position;
        }
        self.by_id.remove(&vm.id);
        self.bill.churn += 1;
        vm
    }

    /// A host goes down or comes back. Machines on one that goes down must be failed by the caller.
    pub(crate) fn set_host(&mut self, host: HostId, up: bool) {
        let state = &mut self.hosts[host.index()];
        state.up = up;
        state.booting = 0;
        state.waiting.clear();
    }

    /// Gives back what a machine holds of its host and ends its bill, once.
    fn vacate(&mut self, now: Timestamp, topology: &Topology, ordinal: Ordinal) {
        let vm = self.get(ordinal).expect("only machines that exist leave");
        if vm.state == VmState::Failed {
            return;
        }
        let (planned, state, holds_room) = (vm.planned, vm.state, vm.holds_room);
        let flavour = &topology.flavours[planned.flavour.index()];
        let host = &mut self.hosts[planned.host.index()];
        host.vms.retain(|other| *other != ordinal);
        if state == VmState::Requested {
            host.waiting.retain(|other| *other != ordinal);
        }
        if holds_room {
            self.ledger.give_back(planned.host.index(), &Room::of_flavour(flavour));
        }
        self.charge(now, topology.cell(planned.region, planned.class), -1.0, flavour.price_per_hour);
    }
}

/// The boot time of the `nth` launch in a cell: log-normal, the same under every policy.
fn boot_time(topology: &Topology, seed: u64, cell: usize, nth: u64, planned: &PlannedVm) -> Duration {
    let flavour = &topology.flavours[planned.flavour.index()];
    let normal: f64 = Stream::new(seed, "boot", cell as u64).at(nth << 8).sample(StandardNormal);
    flavour.boot_median.mul_f64((flavour.boot_sigma * normal).exp())
}

/// The class a machine serves and the region it serves from, as a dense cell.
pub(crate) fn serving_cell(topology: &Topology, vm: &Vm) -> usize {
    let (region, class): (RegionId, ClassId) = (vm.planned.region, vm.planned.class);
    topology.cell(region, class)
}
