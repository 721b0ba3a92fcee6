//! From numbers to identities: which virtual machines exist, on which hosts, and which of them go.
//!
//! What stands is kept. A failed machine is replaced by a new one; a draining one is taken back before a new one is
//! launched; a machine that is not ready yet is cancelled before one that serves is drained. New machines go to the
//! first host of their region that has room and a free boot slot, for a machine that waits for its host to boot others
//! is late. No choice is left to whoever executes the plan.

pub mod rollout;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use forebay_world::{
    ClassId, HostId, HostLedger, Observation, Plan, PlannedVm, RegionId, Room, Timestamp, Topology, VmId, VmIntent,
    VmSeen, VmState,
};

use crate::controller::config::DeploymentConfig;

/// Places machines, tick after tick.
#[derive(Clone, Debug)]
pub struct Deployment {
    config: DeploymentConfig,
    /// Hosts of each region, in the order of the topology.
    hosts: Vec<Vec<HostId>>,
    /// What one machine of each class takes.
    needs: Vec<Room>,
    next_id: u64,
    /// Machines that were asked for and have not been seen yet, and since when.
    unseen: BTreeMap<VmId, Timestamp>,
    /// Kept to spare allocation.
    lists: Vec<Lists>,
}

/// The machines of one cell by what can be done with them.
#[derive(Clone, Debug, Default)]
struct Lists {
    /// Running by plan; and whether it serves, its sessions, its id.
    running: Vec<(bool, u32, VmId)>,
    /// Draining by plan, with something left to do; its sessions, its id.
    draining: Vec<(u32, VmId)>,
}

/// What became of the targets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placed {
    /// The machines that shall exist, if they differ from those of the plan in force.
    pub vms: Option<BTreeMap<VmId, PlannedVm>>,
    /// For each cell, dense: machines that shall run.
    pub running: Vec<u32>,
    /// For each cell, dense: whether no host had room for all that was wanted.
    pub hosts_full: Vec<bool>,
}

impl Deployment {
    /// A deployment with nothing to remember.
    pub fn new(config: &DeploymentConfig, topology: &Topology) -> Self {
        let mut hosts = vec![Vec::new(); topology.regions.len()];
        for (i, host) in topology.hosts.iter().enumerate() {
            hosts[host.region.index()].push(HostId::at(i));
        }
        Deployment {
            config: config.clone(),
            hosts,
            needs: topology
                .classes
                .iter()
                .map(|class| Room::of_flavour(&topology.flavours[class.flavour.index()]))
                .collect(),
            next_id: 0,
            unseen: BTreeMap::new(),
            lists: vec![Lists::default(); topology.cells()],
        }
    }

    /// The machines that stand, as a plan would have asked for them: what a controller that knows nothing starts from.
    pub fn adopt(seen: &Observation, topology: &Topology) -> BTreeMap<VmId, PlannedVm> {
        let intent = |vm: &VmSeen| match vm.state {
            VmState::Draining => VmIntent::Draining,
            _ => VmIntent::Running,
        };
        seen.vms
            .iter()
            .map(|vm| {
                let slice = topology.slice(vm.region, vm.class);
                let (region, host, flavour, class) = (vm.region, vm.host, vm.flavour, vm.class);
                (vm.id, PlannedVm { region, host, flavour, class, slice, intent: intent(vm) })
            })
            .collect()
    }

    /// Turns targets (machines that shall run, dense over cells) into machines on hosts.
    pub fn place(&mut self, current: &Plan, seen: &Observation, topology: &Topology, targets: &[u32]) -> Placed {
        let mut edit = Edit { current, vms: None };
        self.sort_out(&mut edit, seen, topology);
        let mut running: Vec<u32> = self.lists.iter().map(|lists| lists.running.len() as u32).collect();
        let mut hosts_full = vec![false; targets.len()];
        let mut rooms: Vec<Option<RegionRoom>> = vec![None; self.hosts.len()];
        for (cell, &target) in targets.iter().enumerate() {
            let have = running[cell];
            if target < have {
                self.shrink(&mut edit, cell, have - target);
                running[cell] = target;
            } else if target > have {
                let (region, class) = topology.cell_at(cell);
                running[cell] += self.take_back(&mut edit, cell, target - have);
                while running[cell] < target {
                    let room = rooms[region.index()].get_or_insert_with(|| {
                        RegionRoom::new(region, &self.hosts[region.index()], &edit, seen, topology)
                    });
                    let Some(host) = room.place(&self.needs[class.index()], class, self.config.spread) else {
                        hosts_full[cell] = true;
                        break;
                    };
                    self.launch(&mut edit, topology, seen.at, region, class, host);
                    running[cell] += 1;
                }
            }
        }
        Placed { vms: edit.vms, running, hosts_full }
    }

    /// Goes through plan and inventory side by side: drops what has failed, never came or has drained, and lists the
    /// rest by cell.
    fn sort_out(&mut self, edit: &mut Edit<'_>, seen: &Observation, topology: &Topology) {
        for lists in &mut self.lists {
            lists.running.clear();
            lists.draining.clear();
        }
        let mut inventory = seen.vms.iter().peekable();
        for (&id, planned) in &edit.current.vms {
            self.next_id = self.next_id.max(id.0.saturating_add(1));
            while inventory.next_if(|vm| vm.id < id).is_some() {}
            let vm = inventory.next_if(|vm| vm.id == id);
            let lists = &mut self.lists[topology.cell(planned.region, planned.class)];
            match (planned.intent, vm) {
                (VmIntent::Running, Some(vm)) if vm.state != VmState::Failed => {
                    self.unseen.remove(&id);
                    lists.running.push((vm.state == VmState::Ready, busy(vm), id));
                }
                (VmIntent::Running, None) => {
                    // Not listed yet; or refused, or destroyed by somebody, once its time is up.
                    let since = *self.unseen.entry(id).or_insert(seen.at);
                    if seen.at.since(since) < self.config.launch_grace {
                        lists.running.push((false, 0, id));
                    } else {
                        edit.drop(id);
                        self.unseen.remove(&id);
                    }
                }
                (VmIntent::Draining, Some(vm)) if still_drains(&self.config, topology, vm, seen.at) => {
                    lists.draining.push((busy(vm), id));
                }
                (_, _) => {
                    edit.drop(id);
                    self.unseen.remove(&id);
                }
            }
        }
        if let Some(last) = seen.vms.last() {
            self.next_id = self.next_id.max(last.id.0.saturating_add(1));
        }
        self.next_id = self.next_id.max(seen.next_vm.0);
    }

    /// Lets machines go: those that are not ready yet first, the newest first; then those with the fewest sessions.
    fn shrink(&mut self, edit: &mut Edit<'_>, cell: usize, by: u32) {
        let running = &mut self.lists[cell].running;
        running.sort_unstable_by_key(|&(ready, sessions, id)| (ready, sessions, Reverse(id)));
        for &(ready, _, id) in running.iter().take(by as usize) {
            if ready {
                edit.intend(id, VmIntent::Draining);
            } else {
                edit.drop(id);
                self.unseen.remove(&id);
            }
        }
    }

    /// Takes draining machines back, those with the most sessions first, and says how many.
    fn take_back(&mut self, edit: &mut Edit<'_>, cell: usize, wanted: u32) -> u32 {
        let draining = &mut self.lists[cell].draining;
        draining.sort_unstable_by_key(|&(sessions, id)| (Reverse(sessions), id));
        let back = draining.len().min(wanted as usize);
        for &(_, id) in &draining[..back] {
            edit.intend(id, VmIntent::Running);
        }
        back as u32
    }

    fn launch(
        &mut self,
        edit: &mut Edit<'_>,
        topology: &Topology,
        at: Timestamp,
        region: RegionId,
        class: ClassId,
        host: HostId,
    ) {
        let id = VmId(self.next_id);
        self.next_id += 1;
        self.unseen.insert(id, at);
        let (flavour, slice) = (topology.class(class).flavour, topology.slice(region, class));
        edit.vms().insert(id, PlannedVm { region, host, flavour, class, slice, intent: VmIntent::Running });
    }
}

/// A plan's machines, copied when the first of them changes.
struct Edit<'a> {
    current: &'a Plan,
    vms: Option<BTreeMap<VmId, PlannedVm>>,
}

impl Edit<'_> {
    fn vms(&mut self) -> &mut BTreeMap<VmId, PlannedVm> {
        self.vms.get_or_insert_with(|| self.current.vms.clone())
    }

    fn planned(&self) -> &BTreeMap<VmId, PlannedVm> {
        self.vms.as_ref().unwrap_or(&self.current.vms)
    }

    fn drop(&mut self, id: VmId) {
        self.vms().remove(&id);
    }

    fn intend(&mut self, id: VmId, intent: VmIntent) {
        if let Some(vm) = self.vms().get_mut(&id) {
            vm.intent = intent;
        }
    }
}

/// The hosts of one region, their room and their boot slots.
#[derive(Clone, Debug)]
struct RegionRoom {
    hosts: Vec<HostId>,
    /// Room of every host that is up.
    all: HostLedger,
    /// The same, but nothing where every boot slot is taken.
    with_slot: HostLedger,
    slots: Vec<u32>,
    /// Machines of each class on each host: host × class.
    of_class: Vec<u32>,
    classes: usize,
}

impl RegionRoom {
    fn new(region: RegionId, hosts: &[HostId], edit: &Edit<'_>, seen: &Observation, topology: &Topology) -> Self {
        let mut position = BTreeMap::new();
        let mut rooms = Vec::with_capacity(hosts.len());
        let mut slots = Vec::with_capacity(hosts.len());
        for (i, &id) in hosts.iter().enumerate() {
            let host = &topology.hosts[id.index()];
            let up = seen.hosts.get(id.index()).is_some_and(|host| host.up);
            position.insert(id, i);
            rooms.push(if up { Room::of_host(host) } else { Room::default() });
            slots.push(host.concurrent_boots);
        }
        let classes = topology.classes.len();
        let mut of_class = vec![0; hosts.len() * classes];
        let mut take = |host: HostId, need: Room, class: ClassId, boots: bool| {
            let Some(&i) = position.get(&host) else { return };
            let room: &mut Room = &mut rooms[i];
            room.cpu = room.cpu.saturating_sub(need.cpu);
            room.memory = room.memory.saturating_sub(need.memory);
            room.bandwidth = room.bandwidth.saturating_sub(need.bandwidth);
            of_class[i * classes + class.index()] += 1;
            slots[i] = slots[i].saturating_sub(u32::from(boots));
        };
        let need = |flavour: forebay_world::FlavourId| Room::of_flavour(&topology.flavours[flavour.index()]);
        // What is planned takes room; so does what is not planned any more, until it is gone.
        let planned = edit.planned();
        for vm in planned.values().filter(|vm| vm.region == region) {
            take(vm.host, need(vm.flavour), vm.class, false);
        }
        for vm in seen.vms.iter().filter(|vm| vm.region == region) {
            if planned.contains_key(&vm.id) {
                if vm.state.is_coming() {
                    take(vm.host, Room::default(), vm.class, true);
                }
            } else {
                take(vm.host, need(vm.flavour), vm.class, vm.state.is_coming());
            }
        }
        let with_slot = rooms.iter().zip(&slots).map(|(room, slots)| if *slots > 0 { *room } else { Room::default() });
        RegionRoom {
            hosts: hosts.to_vec(),
            with_slot: HostLedger::new(with_slot),
            all: HostLedger::new(rooms),
            slots,
            of_class,
            classes,
        }
    }

    /// Takes room for one machine, and says on which host.
    fn place(&mut self, need: &Room, class: ClassId, spread: bool) -> Option<HostId> {
        let host = if spread {
            (0..self.hosts.len()).filter(|host| self.all.room(*host).fits(need)).min_by_key(|host| {
                (self.of_class[host * self.classes + class.index()], self.slots[*host] == 0, *host)
            })?
        } else {
            self.with_slot.first_fit(need).or_else(|| self.all.first_fit(need))?
        };
        let taken = self.all.take(host, need);
        assert!(taken, "the ledger found room where there is none");
        self.slots[host] = self.slots[host].saturating_sub(1);
        self.of_class[host * self.classes + class.index()] += 1;
        let left = if self.slots[host] > 0 { self.all.room(host) } else { Room::default() };
        self.with_slot.set(host, left);
        Some(self.hosts[host])
    }
}

/// How much would be lost with a machine: where nobody counts its sessions, it may have any number.
fn busy(vm: &VmSeen) -> u32 {
    vm.sessions.unwrap_or(u32::MAX)
}

/// Whether a machine that shall drain has something left to do and time left to do it.
fn still_drains(config: &DeploymentConfig, topology: &Topology, vm: &VmSeen, at: Timestamp) -> bool {
    match vm.state {
        VmState::Draining => {
            vm.sessions != Some(0) && at.since(vm.since) < config.drain_deadline(topology.class(vm.class))
        }
        // The wish to drain has not arrived yet.
        VmState::Ready => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
