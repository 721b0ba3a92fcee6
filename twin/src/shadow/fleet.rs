//! What production runs: its machines by region and class, as hypervisors list them; when they came and went; what they cost.
//!
//! Machines of others are told by their names (`[[shadow.incumbent]]`). Machines with our own mark are run by somebody's
//! controller and count as production's too: the switch port of each says where it belongs, and what the name server answers
//! whether new clients come to it. What a hypervisor did not show is not counted as gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use forebay_adapters::machines::{Foreign, Machine, MachineState};
use forebay_adapters::name_classes::fits_glob;
use forebay_adapters::probe::Health;
use forebay_sim::Stands;
use forebay_world::{
    ClassId, Duration, FlavourId, HostLedger, PlannedVm, RegionId, Room, Timestamp, Topology, VmId, VmIntent, VmState,
};

use crate::production::Production;
use crate::watch::{Board, HypervisorSeen, LinkSeen, Look, Names, Targets, answered, of_class};

/// Something that changed in production.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When it was so, as far as it was seen.
    pub at: Timestamp,
    /// The machine, by the number that it has here.
    pub vm: VmId,
    /// What it is called there.
    pub name: String,
    /// Where.
    pub region: RegionId,
    /// For what.
    pub class: ClassId,
    /// What it is from then on; `None` when it is gone.
    pub stands: Option<Stands>,
    /// Whether it was launched, or had ended: what stood at the first look was launched by nobody.
    pub is_turn: bool,
}

impl Change {
    /// Whether it takes no new sessions from then on.
    pub fn is_drain(&self) -> bool {
        !self.is_turn && self.stands.is_some_and(|stands| stands.state == VmState::Draining)
    }
}

/// What production's machines of one region × class have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Launches that were seen.
    pub launches: u64,
    /// Machines that take no new sessions from then on, as far as that was seen before they ended.
    pub drains: u64,
    /// Ends that were seen.
    pub ends: u64,
    /// Hours of machines that were seen to stand.
    pub vm_hours: f64,
    /// Hours of machines between two looks that were too far apart to say.
    pub unseen_hours: f64,
    /// Machines that stand …
    pub machines: u32,
    /// … of which these are on their way …
    pub coming: u32,
    /// … these take new sessions …
    pub ready: u32,
    /// … and these finish what they have.
    pub draining: u32,
}

/// Production's machines.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// By hypervisor and identity there.
    machines: BTreeMap<(usize, String), Known>,
    /// The look at each hypervisor that was taken in last.
    looked: Vec<Option<Timestamp>>,
    next: u64,
    room: HostLedger,
    counts: Vec<Counts>,
    /// Machines that are of no class: others' by name.
    strangers: BTreeSet<String>,
    /// Machines of ours whose place nothing says.
    unplaced: u32,
}

#[derive(Clone, Debug)]
struct Known {
    vm: VmId,
    name: String,
    planned: PlannedVm,
    holds_room: bool,
    /// When it serves, if its boot takes as long as its flavour's.
    ready_at: Timestamp,
    state: VmState,
    /// Its processors do not run: it is held, or still being started.
    is_held: bool,
    /// It was told to end, by its hypervisor.
    is_ending: bool,
    /// By its own mark, if it bears ours.
    marked: Option<VmId>,
    /// Where clients reach it, if its port says so.
    address: Option<IpAddr>,
    /// Since when clients are sent there, if they ever were.
    answered_at: Option<Timestamp>,
    counted_until: Timestamp,
}

/// A machine as a look shows it.
struct Shown<'a> {
    id: String,
    name: &'a str,
    state: MachineState,
    since: Option<Timestamp>,
    class: ClassId,
    flavour: FlavourId,
    region: RegionId,
    marked: Option<VmId>,
    address: Option<IpAddr>,
}

impl Fleet {
    /// Nothing seen yet.
    pub fn new(production: &Production) -> Fleet {
        Fleet {
            machines: BTreeMap::new(),
            looked: vec![None; production.hypervisors.len()],
            next: 0,
            room: HostLedger::new(production.topology.hosts.iter().map(Room::of_host)),
            counts: vec![Counts::default(); production.topology.cells()],
            strangers: BTreeSet::new(),
            unplaced: 0,
        }
    }

    /// Takes in what the board shows at `at`; what changed, by time. Machines that can be asked how they do are asked from
    /// now on.
    pub fn look(&mut self, production: &Production, board: &Board, at: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        let links = board.links();
        (self.unplaced, self.strangers) = (0, BTreeSet::new());
        let mut targets = Targets::new();
        for (index, look) in board.hypervisors().iter().enumerate() {
            let Some((seen_at, seen)) = &look.seen else { continue };
            let shown = self.shown(production, index, seen, &links, &mut targets);
            if self.looked[index].is_none_or(|before| before < *seen_at) {
                self.take(production, index, *seen_at, shown, &mut changes);
                self.looked[index] = Some(*seen_at);
            }
        }
        board.set_targets(targets);
        self.turn(production, board, at, &mut changes);
        for change in changes.iter().filter(|change| change.is_drain()) {
            self.counts[production.topology.cell(change.region, change.class)].drains += 1;
        }
        changes.sort_by_key(|change| (change.at, change.vm));
        changes
    }

    /// Machines of a look that are production's.
    fn shown<'a>(
        &mut self,
        production: &Production,
        index: usize,
        seen: &'a HypervisorSeen,
        links: &[Look<LinkSeen>],
        targets: &mut Targets,
    ) -> Vec<Shown<'a>> {
        let topology = &production.topology;
        let hosts = &production.hypervisors[index].hosts;
        let Some(region) = hosts.first().map(|host| topology.hosts[host.index()].region) else { return Vec::new() };
        let mut found = Vec::new();
        for machine in &seen.inventory.foreign {
            let Foreign { name, id, state, since, .. } = machine;
            let named = production.incumbents.iter().find(|known| fits_glob(known.names.as_bytes(), name.as_bytes()));
            let Some(incumbent) = named else {
                if state.is_alive() {
                    self.strangers.insert(name.clone());
                }
                continue;
            };
            let (class, flavour) = (incumbent.class, incumbent.flavour);
            let (id, state, since) = (id.clone(), *state, *since);
            found.push(Shown { id, name, state, since, class, flavour, region, marked: None, address: None });
        }
        for (vm, machine) in &seen.inventory.machines {
            let Machine { uuid, name, state, since, mark, .. } = machine;
            let port_name = Names(production).port(*vm);
            let port = links.iter().enumerate().find_map(|(region, look)| {
                let (_, seen) = look.seen.as_ref()?;
                Some((RegionId::at(region), &seen.standing.ports.get(&port_name)?.port))
            });
            let placed = port.and_then(|(region, port)| {
                let cell = Some(port.slice.index()).filter(|cell| *cell < topology.cells())?;
                Some((region, topology.cell_at(cell).1))
            });
            let named =
                || production.incumbents.iter().find(|known| fits_glob(known.names.as_bytes(), name.as_bytes()));
            let only = || (topology.classes.len() == 1).then(|| ClassId::at(0));
            let Some((region, class)) =
                placed.or_else(|| Some((region, named().map(|known| known.class).or_else(only)?)))
            else {
                self.unplaced += 1;
                continue;
            };
            let own = port.and_then(|(_, port)| port.addresses.first().copied());
            if let Some(address) = own.filter(|_| production.health_of(class).is_some()) {
                targets.insert(*vm, (class, address));
            }
            let pool = production.network(region).and_then(|network| network.addresses.as_ref());
            let address = own.map(|own| pool.map_or(own, |pool| pool.public_of(own)));
            let flavour = topology.class(class).flavour;
            let since = since.or(Some(mark.created));
            let id = uuid.to_string();
            found.push(Shown { id, name, state: *state, since, class, flavour, region, marked: Some(*vm), address });
        }
        found
    }

    /// Takes in a look at one hypervisor.
    fn take(
        &mut self,
        production: &Production,
        index: usize,
        at: Timestamp,
        shown: Vec<Shown<'_>>,
        changes: &mut Vec<Change>,
    ) {
        let topology = &production.topology;
        let before = self.looked[index];
        let mut here: BTreeSet<String> = BTreeSet::new();
        for machine in shown.into_iter().filter(|machine| machine.state.is_alive()) {
            here.insert(machine.id.clone());
            let key = (index, machine.id.clone());
            match self.machines.get_mut(&key) {
                Some(known) => {
                    self.counts[topology.cell(known.planned.region, known.planned.class)].count(
                        known,
                        at,
                        production.freshness,
                    );
                    let was_ending = std::mem::replace(&mut known.is_ending, is_ending(machine.state));
                    let state = state_of(machine.state, known.state, was_ending);
                    let is_held = is_held(machine.state);
                    if known.is_held && !is_held {
                        known.ready_at = known.ready_at.max(at);
                    }
                    known.is_held = is_held;
                    known.address = machine.address.or(known.address);
                    if state != known.state {
                        known.state = state;
                        changes.push(known.change(at, false));
                    }
                }
                None => {
                    let is_turn = before.is_some();
                    let started =
                        machine.since.map_or(at, |since| since.min(at).max(before.unwrap_or(Timestamp::EPOCH)));
                    let known = self.enter(topology, &machine, started, is_turn, &production.hypervisors[index].hosts);
                    let cell = topology.cell(machine.region, machine.class);
                    // Before the first look it was nobody's hour.
                    let mut known = Known { counted_until: if is_turn { started } else { at }, ..known };
                    self.counts[cell].count(&mut known, at, Duration::MAX);
                    self.counts[cell].launches += u64::from(is_turn);
                    changes.push(known.change(if is_turn { started } else { at }, is_turn));
                    self.machines.insert(key, known);
                }
            }
        }
        let gone: Vec<(usize, String)> =
            self.machines.keys().filter(|(of, id)| *of == index && !here.contains(id)).cloned().collect();
        for key in gone {
            let Some(mut known) = self.machines.remove(&key) else { continue };
            let cell = topology.cell(known.planned.region, known.planned.class);
            self.counts[cell].count(&mut known, at, production.freshness);
            self.counts[cell].ends += 1;
            if known.holds_room {
                let flavour = &topology.flavours[known.planned.flavour.index()];
                self.room.give_back(known.planned.host.index(), &Room::of_flavour(flavour));
            }
            changes.push(Change { stands: None, ..known.change(at, true) });
        }
    }

    fn enter(
        &mut self,
        topology: &Topology,
        machine: &Shown<'_>,
        started: Timestamp,
        is_turn: bool,
        hosts: &[forebay_world::HostId],
    ) -> Known {
        let flavour = &topology.flavours[machine.flavour.index()];
        let need = Room::of_flavour(flavour);
        let of_region = || hosts.iter().filter(|host| topology.hosts[host.index()].region == machine.region);
        let roomy = of_region().find(|host| self.room.room(host.index()).fits(&need)).copied();
        let elsewhere = || hosts.first().copied().expect("a hypervisor has hosts");
        let host = roomy.or_else(|| of_region().next().copied()).unwrap_or_else(elsewhere);
        let holds_room = self.room.take(host.index(), &need);
        let vm = VmId(self.next);
        self.next += 1;
        // How long it has stood where nobody says: long enough.
        let is_old = !is_turn && machine.since.is_none();
        let boot = if is_old { Duration::ZERO } else { flavour.boot_median + flavour.warm_up };
        let state = match machine.state {
            MachineState::ShuttingDown => VmState::Draining,
            state if is_old && !is_held(state) => VmState::Ready,
            _ => VmState::Warming,
        };
        Known {
            vm,
            name: machine.name.to_owned(),
            planned: PlannedVm {
                region: machine.region,
                host,
                flavour: machine.flavour,
                class: machine.class,
                slice: topology.slice(machine.region, machine.class),
                intent: VmIntent::Running,
            },
            holds_room,
            ready_at: started.saturating_add(boot),
            state,
            is_held: is_held(machine.state),
            is_ending: is_ending(machine.state),
            marked: machine.marked,
            address: machine.address,
            answered_at: None,
            counted_until: started,
        }
    }

    /// Machines that have come to serve, by the time that a boot takes or by what they say themselves; and those to which
    /// clients are sent, or are sent no more.
    fn turn(&mut self, production: &Production, board: &Board, at: Timestamp, changes: &mut Vec<Change>) {
        let since = at.saturating_sub(production.freshness);
        let answers = answered(production, board, since);
        for known in self.machines.values_mut() {
            let says = known.marked.and_then(|vm| board.how(vm, since)).map(|(health, _)| health);
            // What others answer may not be all that they answer, and says nothing of a machine that is not among it.
            let told = answers.as_ref().and_then(|(seen_at, classes)| {
                let of = of_class(classes, known.planned.class).filter(|answered| answered.is_whole)?;
                Some((*seen_at, of.has(known.address?), !of.answers.pools.is_empty()))
            });
            if let Some((seen_at, true, _)) = told {
                known.answered_at.get_or_insert(seen_at);
            }
            match (known.state, says, told) {
                (VmState::Ready, _, Some((seen_at, false, _))) if known.answered_at.is_some() => {
                    known.state = VmState::Draining;
                    changes.push(known.change(seen_at, false));
                }
                (VmState::Ready, Some(Health::Unhealthy), _) => {
                    (known.state, known.ready_at) = (VmState::Warming, Timestamp::MAX);
                    changes.push(known.change(at, false));
                }
                // Clients come to others, and not to it yet.
                (VmState::Warming, _, Some((_, false, true))) if known.answered_at.is_none() => {}
                (VmState::Warming, Some(Health::Healthy), _) => {
                    known.state = VmState::Ready;
                    changes.push(known.change(at, false));
                }
                (VmState::Warming, None, _) if known.ready_at <= at && !known.is_held => {
                    known.state = VmState::Ready;
                    let since = known.answered_at.map_or(known.ready_at, |answered| answered.max(known.ready_at));
                    changes.push(known.change(since, false));
                }
                (VmState::Draining, _, Some((seen_at, true, _))) if !known.is_ending => {
                    known.state = VmState::Ready;
                    changes.push(known.change(seen_at, false));
                }
                _ => {}
            }
        }
    }

    /// What has come of each cell at `at`, dense.
    pub fn counts(&self, production: &Production, at: Timestamp) -> Vec<Counts> {
        let mut counts = self.counts.clone();
        for ((hypervisor, _), known) in &self.machines {
            let cell = &mut counts[production.topology.cell(known.planned.region, known.planned.class)];
            cell.machines += 1;
            match known.state {
                VmState::Ready => cell.ready += 1,
                VmState::Draining => cell.draining += 1,
                _ => cell.coming += 1,
            }
            // Since the last look, as long as it is fresh.
            if self.looked[*hypervisor].is_some_and(|looked| at.since(looked) <= production.freshness) {
                cell.vm_hours += at.since(known.counted_until).as_hours_f64();
            }
        }
        counts
    }

    /// Sessions of each serving cell, dense; `None` where not all of its serving machines say.
    pub fn sessions(&self, production: &Production, board: &Board, at: Timestamp) -> Vec<Option<f64>> {
        let since = at.saturating_sub(production.freshness);
        let mut sessions: Vec<Option<f64>> = vec![None; production.topology.cells()];
        let mut silent = BTreeSet::new();
        for known in self.machines.values().filter(|known| known.state != VmState::Warming) {
            let cell = production.topology.cell(known.planned.region, known.planned.class);
            match known.marked.and_then(|vm| board.how(vm, since)).and_then(|(_, sessions)| sessions) {
                Some(more) => *sessions[cell].get_or_insert(0.0) += f64::from(more),
                None => drop(silent.insert(cell)),
            }
        }
        silent.into_iter().for_each(|cell| sessions[cell] = None);
        sessions
    }

    /// Whether the machines of each region were seen within the freshness that the file asks for, dense. Where there is
    /// nobody to ask, nothing is seen.
    pub fn seen(&self, production: &Production, at: Timestamp) -> Vec<bool> {
        self.seen_since(production, at.saturating_sub(production.freshness))
    }

    /// Whether the machines of each region were seen at all, dense.
    pub fn ever_seen(&self, production: &Production) -> Vec<bool> {
        self.seen_since(production, Timestamp::EPOCH)
    }

    fn seen_since(&self, production: &Production, since: Timestamp) -> Vec<bool> {
        let mut seen = vec![None; production.topology.regions.len()];
        for (hosted, looked) in production.hypervisors.iter().zip(&self.looked) {
            let is_fresh = looked.is_some_and(|looked| looked >= since);
            for host in &hosted.hosts {
                let region = production.topology.hosts[host.index()].region;
                let all = seen[region.index()].get_or_insert(true);
                *all &= is_fresh;
            }
        }
        seen.into_iter().map(|seen| seen.unwrap_or(false)).collect()
    }

    /// What a machine is called that clients reach at an address.
    pub fn name_at(&self, address: IpAddr) -> Option<&str> {
        self.machines.values().find(|known| known.address == Some(address)).map(|known| known.name.as_str())
    }

    /// Machines as they stand.
    pub fn standing(&self) -> impl Iterator<Item = (VmId, Stands)> {
        self.machines.values().map(|known| (known.vm, known.stands()))
    }

    /// Machines that stand and count for nothing: others' of which no `[[shadow.incumbent]]` knows the name, and how many
    /// of ours belong to no class that could be told.
    pub fn unknown(&self) -> (&BTreeSet<String>, u32) {
        (&self.strangers, self.unplaced)
    }
}

impl Counts {
    /// Counts a machine's time until `at`.
    fn count(&mut self, known: &mut Known, at: Timestamp, apart_most: Duration) {
        let span = at.since(known.counted_until);
        let hours = span.as_hours_f64();
        *(if span <= apart_most { &mut self.vm_hours } else { &mut self.unseen_hours }) += hours;
        known.counted_until = at;
    }
}

impl Known {
    fn stands(&self) -> Stands {
        let by_itself = self.state == VmState::Warming && !self.is_held && self.ready_at < Timestamp::MAX;
        let ready_at = (by_itself && self.marked.is_none()).then_some(self.ready_at);
        Stands { planned: self.planned, state: self.state, ready_at }
    }

    fn change(&self, at: Timestamp, is_turn: bool) -> Change {
        let PlannedVm { region, class, .. } = self.planned;
        Change { at, vm: self.vm, name: self.name.clone(), region, class, stands: Some(self.stands()), is_turn }
    }
}

fn is_held(state: MachineState) -> bool {
    matches!(state, MachineState::Paused | MachineState::Booting)
}

fn is_ending(state: MachineState) -> bool {
    state == MachineState::ShuttingDown
}

/// The state of a machine that was known in another.
fn state_of(now: MachineState, before: VmState, was_ending: bool) -> VmState {
    match now {
        MachineState::ShuttingDown => VmState::Draining,
        MachineState::Paused | MachineState::Booting => VmState::Warming,
        // Its processors run; whether what runs on them serves was decided by its boot.
        MachineState::Running if before == VmState::Draining && was_ending => VmState::Ready,
        _ => before,
    }
}

#[cfg(test)]
mod tests;
