//! Open vSwitch: slices of one port of a bridge, made of its HTB queues, which come by OVSDB; of filters on the device, by
//! netlink; and of flows, by OpenFlow.
//!
//! ```text
//!   OVSDB      Port ─▶ QoS linux-htb ─▶ Queue n + 1 of slice n          what a class gets
//!   netlink    u32 filter by source ─▶ class 1:(n + 2)                   who is in it (userspace datapath)
//!   OpenFlow   port's own addresses, mark, register, [set_queue]         who may send, and to whom
//! ```
//!
//! On the userspace datapath `set_queue` is accepted and does nothing, so filters sort the packets; on the kernel's
//! datapath flows do. A queue length of the device that is longer than a few packets fills up before the queues can tell
//! one slice from another (measured), so it is cut before the QoS row comes and put back after it goes. After a restart
//! of `ovs-vswitchd` flows are gone and classes may be: reading says so, and the next [`apply`](SliceExecutor::apply)
//! mends it.
//!
//! The only writer holds a lock of the database, which goes with its connection; every write asserts it, and that the QoS
//! row is what it was when it was looked at.

mod flows;
mod openflow;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use forebay_world::{BitsPerSecond, Capabilities, SliceId};

use super::database::Database;
use super::enforced::{least_rate, whole_bytes};
use super::{
    Applied, Counters, Enforced, Gate, LinkSlices, PRIORITIES_MOST, SliceError, SliceExecutor, Standing, StandingPort,
    filters,
};
use crate::netlink::{Handle, HtbClass, Link, Netlink, Qdisc, Request, SeenClass, SeenFilter, Write};
use crate::ovsdb::{Endpoint, Operation};
use flows::{PortNumbers, Queueing};
use openflow::OpenFlow;
use rows::{DATABASE, Mark, OTHERS, Queue, Rows, queue_of};

/// Open vSwitch's discipline, the class that holds the port to its rate, and those of queues (lib/netdev-linux.c).
const DISCIPLINE: Handle = Handle::new(1, 0);
const WHOLE: Handle = Handle::new(1, 0xfffe);
/// The kernel has classes for so many queues.
const SLICES_MOST: u32 = 0xefff;
/// Open vSwitch keeps rates as 32 bits of bytes a second.
const RATE_MOST: BitsPerSecond = BitsPerSecond(u32::MAX as u64 * 8);
/// The number of the bridge's own port.
const LOCAL: u32 = 65_534;
/// Packets that may wait in the device itself, up to 10 Mbit/s and above.
const QUEUE_PACKETS: [u32; 2] = [10, 20];
const SLOW: BitsPerSecond = BitsPerSecond(10_000_000);
/// How long the switch may take from the database to the kernel.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Which port of which switch.
#[derive(Clone, Debug)]
pub struct OvsPort {
    /// Its database.
    pub endpoint: Endpoint,
    /// The bridge.
    pub bridge: String,
    /// The port at which the slices share the link; its device has the same name.
    pub port: String,
    /// Whose marks rows bear: another owner's are foreign.
    pub owner: String,
    /// The bridge's OpenFlow side, as ovs-ofctl(8) takes it: `unix:/run/openvswitch/br0.mgmt`. `None` takes the one beside
    /// the database's socket.
    pub openflow: Option<String>,
}

/// Slices of one port.
pub struct OvsExecutor {
    mark: Mark,
    database: Database,
    netlink: Netlink,
    openflow: OpenFlow,
    cookie: u64,
}

/// All that there is to know of the port.
struct Seen {
    rows: Rows,
    link: Link,
    /// The discipline at the root of the device, if it is there by somebody's will.
    root: Option<Qdisc>,
    /// Whether that is Open vSwitch's.
    has_discipline: bool,
    classes: BTreeMap<Handle, SeenClass>,
    /// Classes whose priority is being changed, or was when we were stopped.
    moving: BTreeSet<Handle>,
    filters: Vec<SeenFilter>,
    flows: BTreeSet<String>,
    /// Devices of ports, by name, and whether each is up.
    up: BTreeMap<String, bool>,
}

fn class_of(queue: i64) -> Handle {
    Handle::new(1, (queue + 1) as u16)
}

fn class_of_slice(slice: SliceId) -> Handle {
    class_of(queue_of(slice))
}

impl OvsExecutor {
    /// Connects to the switch; devices are looked for in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SliceError::Ovsdb`] when the database cannot be reached, [`SliceError::Unknown`] when there is no such bridge,
    /// port or device, [`SliceError::Contradiction`] when the OpenFlow side has to be named and is not.
    pub fn connect(port: &OvsPort) -> Result<Self, SliceError> {
        let OvsPort { endpoint, bridge, port, owner, openflow } = port.clone();
        let target = match (openflow, &endpoint) {
            (Some(target), _) => target,
            (None, Endpoint::Unix(path)) => {
                let folder = path.parent().map_or_else(Default::default, |folder| folder.display().to_string());
                format!("unix:{folder}/{bridge}.mgmt")
            }
            (None, _) => {
                let what = format!("the OpenFlow side of bridge {bridge} must be named where the database is remote");
                return Err(SliceError::Contradiction { what });
            }
        };
        let thing = format!("port {port} of bridge {bridge}");
        let mut executor = OvsExecutor {
            cookie: flows::cookie(&owner, &port),
            mark: Mark { owner, bridge, port },
            database: Database::connect(&endpoint, DATABASE, &thing)?,
            netlink: Netlink::open()?,
            openflow: OpenFlow { target },
        };
        executor.look()?;
        Ok(executor)
    }

    fn rows(&mut self) -> Result<Rows, SliceError> {
        self.database.refresh()?;
        let outcomes = self.database.transact(self.mark.selection())?;
        let rows = self.mark.rows(&outcomes);
        if !rows.bridges.contains(&self.mark.bridge) {
            let known = rows.bridges.into_iter().collect();
            return Err(SliceError::Unknown { kind: "bridge", name: self.mark.bridge.clone(), known });
        }
        if !rows.ports.contains_key(&self.mark.port) {
            let known = rows.ports.into_keys().collect();
            return Err(SliceError::Unknown { kind: "port", name: self.mark.port.clone(), known });
        }
        Ok(rows)
    }

    fn look(&mut self) -> Result<Seen, SliceError> {
        let rows = self.rows()?;
        let devices: BTreeMap<String, Link> =
            self.netlink.links()?.into_iter().map(|link| (link.name.clone(), link)).collect();
        let Some(link) = devices.get(&self.mark.port).cloned() else {
            let known = devices.into_keys().collect();
            return Err(SliceError::Unknown { kind: "device", name: self.mark.port.clone(), known });
        };
        let qdiscs = self.netlink.qdiscs(&link)?;
        let moving = qdiscs.iter().filter(|seen| is_passing(&seen.qdisc)).map(|seen| seen.qdisc.parent).collect();
        let set = |qdisc: &Qdisc| qdisc.parent == Handle::ROOT && qdisc.handle.major != 0;
        let root = qdiscs.into_iter().map(|seen| seen.qdisc).find(set);
        let has_discipline = root.as_ref().is_some_and(|root| root.handle == DISCIPLINE && root.name() == "htb");
        let (mut classes, mut filters) = (BTreeMap::new(), Vec::new());
        if has_discipline {
            classes = self.netlink.classes(&link)?.into_iter().map(|seen| (seen.class.handle, seen)).collect();
            filters = self.netlink.filters(&link, DISCIPLINE)?;
        }
        let flows = self.openflow.flows(self.cookie)?;
        let up = devices.into_iter().map(|(name, link)| (name, link.is_up)).collect();
        Ok(Seen { rows, link, root, has_discipline, classes, moving, filters, flows, up })
    }

    fn queueing(&self, rows: &Rows) -> Queueing {
        if rows.of_kernel { Queueing::SetQueue } else { Queueing::Filters }
    }

    /// One write to the database, seen through to the switch.
    fn write(&mut self, operations: Vec<Operation>, what: &str, gate: &mut Gate) -> Result<(), SliceError> {
        gate.pass(what)?;
        let mut guarded = vec![self.database.assertion()];
        guarded.extend(operations);
        let outcomes = self.database.transact(guarded)?;
        let Some(number) = outcomes.last().and_then(|last| last.rows().first()?.integer("next_cfg")) else {
            return Ok(());
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let select = Operation::select_columns(DATABASE, Vec::new(), &["cur_cfg"]);
            let seen = self.database.transact(vec![select])?;
            let done = seen.first().and_then(|outcome| outcome.rows().first()?.integer("cur_cfg"));
            if done.is_some_and(|done| done >= number) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let differences =
                    vec!["the switch has not taken up what is in its database; is ovs-vswitchd there?".to_owned()];
                return Err(SliceError::NotVerified { link: self.link(), differences });
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn set_queue_length(&mut self, link: &Link, packets: u32, gate: &mut Gate) -> Result<u32, SliceError> {
        if link.queue_packets == packets {
            return Ok(0);
        }
        let request = Request::set_queue_packets(link, packets);
        gate.pass(request.subject())?;
        self.netlink.send(&request)?;
        Ok(1)
    }

    /// Makes room for the QoS row: a short queue in the device, with its old length noted first, and nothing of the old
    /// discipline where a hand has taken it away.
    fn prepare(&mut self, seen: &mut Seen, capacity: BitsPerSecond, gate: &mut Gate) -> Result<u32, SliceError> {
        let mut writes = 0;
        if seen.rows.queue_length.is_none() {
            let note = self.mark.note_queue_length(&seen.rows, Some(seen.link.queue_packets));
            self.write(note, "note of the queue length", gate)?;
            writes += 1;
        }
        let packets = QUEUE_PACKETS[usize::from(capacity > SLOW)];
        writes += self.set_queue_length(&seen.link, packets, gate)?;
        if seen.rows.qos.is_some() && !seen.is_sound() {
            self.write(self.mark.detach(&seen.rows), "QoS off the port", gate)?;
            writes += 1;
            seen.rows = self.rows()?;
        }
        Ok(writes)
    }

    /// Classes that the switch was told of and has not made so, made so.
    fn mend_classes(&mut self, link: &Link, wanted: &[HtbClass], gate: &mut Gate) -> Result<u32, SliceError> {
        let differing = |netlink: &mut Netlink| -> Result<Vec<HtbClass>, SliceError> {
            let seen: BTreeMap<Handle, SeenClass> =
                netlink.classes(link)?.into_iter().map(|seen| (seen.class.handle, seen)).collect();
            Ok(wanted
                .iter()
                .filter(|class| !seen.get(&class.handle).is_some_and(|seen| is(seen, class)))
                .copied()
                .collect())
        };
        let deadline = Instant::now() + Duration::from_millis(100);
        while !differing(&mut self.netlink)?.is_empty() && Instant::now() < deadline {
            thread::sleep(LOOK_AGAIN);
        }
        let mut writes = 0;
        for class in differing(&mut self.netlink)? {
            let request = Request::class(Write::Put, link, &class)?;
            gate.pass(request.subject())?;
            self.netlink.send(&request)?;
            writes += 1;
        }
        Ok(writes)
    }

    /// Gives classes whose priority will change a queue in which they wait until it has.
    ///
    /// A class with packets stays where the priority of their time put it, whatever the kernel says, until it has none
    /// (sch_htb.c: htb_activate, htb_change_class). Under a flood that is never. A queue that comes or goes takes its
    /// packets with it and leaves the class idle.
    fn begin_moving(
        &mut self,
        seen: &mut Seen,
        slices: &BTreeMap<SliceId, Enforced>,
        gate: &mut Gate,
    ) -> Result<u32, SliceError> {
        let mut writes = 0;
        for (id, slice) in slices {
            let class = class_of_slice(*id);
            let stands = seen.classes.get(&class).map(|seen| seen.class.priority);
            if stands.is_some_and(|stands| stands != u32::from(slice.rank)) && seen.moving.insert(class) {
                let request = Request::qdisc(Write::Put, &seen.link, &passing(class))?;
                gate.pass(request.subject())?;
                self.netlink.send(&request)?;
                writes += 1;
            }
        }
        Ok(writes)
    }

    fn end_moving(&mut self, seen: &Seen, gate: &mut Gate) -> Result<u32, SliceError> {
        let mut writes = 0;
        if seen.moving.is_empty() {
            return Ok(writes);
        }
        for standing in self.netlink.qdiscs(&seen.link)? {
            if is_passing(&standing.qdisc) {
                let Qdisc { parent, handle, .. } = standing.qdisc;
                let request = Request::delete_qdisc(&seen.link, parent, handle);
                gate.pass(request.subject())?;
                self.netlink.send(&request)?;
                writes += 1;
            }
        }
        Ok(writes)
    }

    fn numbers(&self, rows: &Rows) -> Result<PortNumbers, SliceError> {
        let ports = rows.ports.iter().filter_map(|(name, number)| Some((name.clone(), (*number)?)));
        let ports: BTreeMap<String, u32> = ports.collect();
        match ports.get(&self.mark.port) {
            Some(uplink) => Ok(PortNumbers { uplink: *uplink, ports }),
            None => Err(SliceError::Rejected {
                endpoint: self.link(),
                what: format!("port {}", self.mark.port),
                why: "the switch has given it no OpenFlow number".to_owned(),
            }),
        }
    }

    fn change_flows(&mut self, seen: &Seen, wanted: &LinkSlices, gate: &mut Gate) -> Result<u32, SliceError> {
        let numbers = self.numbers(&seen.rows)?;
        let wanted = flows::flows(wanted, &numbers, self.queueing(&seen.rows), self.cookie)
            .map_err(|what| SliceError::Contradiction { what })?;
        let surplus: Vec<&String> = seen.flows.difference(&wanted).collect();
        let missing: Vec<&String> = wanted.difference(&seen.flows).collect();
        if surplus.is_empty() && missing.is_empty() {
            return Ok(0);
        }
        gate.pass(&format!("{} flows away, {} flows added", surplus.len(), missing.len()))?;
        self.openflow.change(&surplus, &missing)?;
        Ok(1)
    }

    fn raise_ports(&mut self, seen: &Seen, wanted: &LinkSlices, gate: &mut Gate) -> Result<u32, SliceError> {
        let mut writes = 0;
        for name in wanted.ports.keys().filter(|name| seen.up.get(*name) == Some(&false)) {
            let link = self.netlink.link(name)?;
            gate.pass(&format!("port {name} up"))?;
            self.netlink.send(&Request::set_up(&link, true))?;
            writes += 1;
        }
        Ok(writes)
    }

    /// Refuses, before anything is written, what cannot be done here or is not ours to change.
    fn check(&self, seen: &Seen, wanted: &LinkSlices, slices: &BTreeMap<SliceId, Enforced>) -> Result<(), SliceError> {
        let rows = &seen.rows;
        let contradiction = |what: String| Err(SliceError::Contradiction { what });
        if let Some(id) = slices.keys().find(|id| id.0 >= SLICES_MOST) {
            return contradiction(format!("slice {id}; allowed on one port: 0 to {}", SLICES_MOST - 1));
        }
        if wanted.capacity > RATE_MOST {
            return contradiction(format!("{} on one port; Open vSwitch holds {RATE_MOST} at most", wanted.capacity));
        }
        let least = seen.least();
        if let Some((id, slice)) = slices.iter().find(|(_, slice)| slice.guarantee < least) {
            let mtu = seen.link.mtu_bytes;
            let asks = slice.guarantee;
            return contradiction(format!("slice {id} asks for {asks}; at an MTU of {mtu} bytes the least is {least}"));
        }
        for name in wanted.ports.keys() {
            let Some(number) = rows.ports.get(name).copied().flatten() else {
                let known = rows.ports.iter().filter_map(|(name, number)| number.map(|_| name.clone()));
                return Err(SliceError::Unknown { kind: "port", name: name.clone(), known: known.collect() });
            };
            if *name == self.mark.port || number == LOCAL {
                return contradiction(format!("port {name} is no machine's"));
            }
        }
        if !wanted.ports.is_empty() {
            if let Some(name) =
                rows.with_vlans.iter().find(|name| **name == self.mark.port || wanted.ports.contains_key(*name))
            {
                return contradiction(format!("port {name} has VLANs, which flows to a port leave out"));
            }
            if !rows.is_secure {
                let bridge = &self.mark.bridge;
                return contradiction(format!(
                    "bridge {bridge} opens all its ports while its daemon starts; to guard some of them: \
                     ovs-vsctl set-fail-mode {bridge} secure"
                ));
            }
        }
        self.numbers(rows)?;
        if let Some(owner) = rows.owner.as_ref().filter(|owner| **owner != self.mark.owner) {
            let (link, what) = (self.link(), format!("the port, which is of {owner},"));
            return Err(SliceError::Foreign { link, what, hint: "one owner to a port" });
        }
        match (&rows.qos, &seen.root) {
            (Some(qos), _) if !qos.is_ours => Err(SliceError::Foreign {
                link: self.link(),
                what: format!("QoS row {} on the port", qos.uuid),
                hint: "take it off if nobody needs it: ovs-vsctl clear Port NAME qos",
            }),
            (None, Some(root)) if rows.owner.is_none() => Err(SliceError::Foreign {
                link: self.link(),
                what: format!("the {} discipline {} at the root of the device", root.name(), root.handle),
                hint: "delete it if nobody needs it: tc qdisc del dev DEVICE root",
            }),
            _ => Ok(()),
        }
    }

    fn write_slices(
        &mut self,
        seen: &mut Seen,
        wanted: &LinkSlices,
        slices: &BTreeMap<SliceId, Enforced>,
        gate: &mut Gate,
    ) -> Result<u32, SliceError> {
        let capacity = whole_bytes(wanted.capacity).max(least_rate());
        let others = others(capacity, seen.least());
        let mut queues: BTreeMap<i64, Queue> = [(OTHERS, Queue::of_others(&others))].into();
        queues.extend(slices.iter().map(|(id, slice)| (queue_of(*id), Queue::of(*id, slice))));
        let mut writes = self.prepare(seen, capacity, gate)?;
        let surplus = seen.has_surplus(&queues);
        writes += self.begin_moving(seen, slices, gate)?;
        let rows = self.mark.write(&seen.rows, &queues, capacity, wanted.generation, !surplus);
        self.write(rows, &format!("QoS and {} queues, generation {}", queues.len(), wanted.generation), gate)?;
        writes += 1;
        let mut classes = vec![HtbClass::new(DISCIPLINE, WHOLE, capacity, capacity), class(OTHERS, &others)];
        classes.extend(slices.iter().map(|(id, slice)| class(queue_of(*id), slice)));
        writes += self.mend_classes(&seen.link, &classes, gate)?;
        writes += self.end_moving(seen, gate)?;
        // What follows is not in the database, which would refuse it.
        self.database.still_own()?;
        if self.queueing(&seen.rows) == Queueing::Filters {
            let filters = filters::wanted(slices, DISCIPLINE, class_of_slice);
            writes += filters::reconcile(&mut self.netlink, &seen.link, DISCIPLINE, &filters, gate)?;
        }
        self.database.still_own()?;
        writes += self.change_flows(seen, wanted, gate)?;
        writes += self.raise_ports(seen, wanted, gate)?;
        if surplus {
            let rows = self.rows()?;
            let rows = self.mark.write(&rows, &queues, capacity, wanted.generation, true);
            self.write(rows, "queues away", gate)?;
            writes += 1;
        }
        Ok(writes)
    }
}

/// What is in no slice, last in everything.
fn others(capacity: BitsPerSecond, least: BitsPerSecond) -> Enforced {
    Enforced {
        guarantee: least.min(capacity),
        ceiling: capacity,
        rank: PRIORITIES_MOST as u8,
        weight: 0,
        dscp: 0,
        sources: BTreeSet::new(),
    }
}

/// The class of a queue.
fn class(queue: i64, slice: &Enforced) -> HtbClass {
    HtbClass::new(WHOLE, class_of(queue), slice.guarantee, slice.ceiling).with_priority(u32::from(slice.rank))
}

fn class_of_others(others: &Enforced) -> HtbClass {
    class(OTHERS, others)
}

/// The queue of a class whose priority changes, named after it.
fn passing(class: Handle) -> Qdisc {
    Qdisc::pfifo(class, class.minor, QUEUE_PACKETS[1])
}

fn is_passing(seen: &Qdisc) -> bool {
    seen.parent.major == DISCIPLINE.major && *seen == passing(seen.parent)
}

/// Whether the kernel has a class with these rates and this priority; quanta and bursts are Open vSwitch's affair.
fn is(seen: &SeenClass, wanted: &HtbClass) -> bool {
    let terms = |class: &HtbClass| (class.rate_bytes_per_s, class.ceil_bytes_per_s);
    let priority = wanted.handle == WHOLE || seen.class.priority == wanted.priority;
    terms(&seen.class) == terms(wanted) && priority && seen.class.parent == wanted.parent
}

impl Seen {
    /// The least rate of a class: the switch gives each a packet a second, of the largest that the device takes.
    fn least(&self) -> BitsPerSecond {
        BitsPerSecond(u64::from(self.link.mtu_bytes) * 8).max(least_rate())
    }

    /// Whether the device has the switch's discipline, with all classes where they belong: the kernel moves none.
    fn is_sound(&self) -> bool {
        let belongs = |seen: &SeenClass| {
            let parent = if seen.class.handle == WHOLE { DISCIPLINE } else { WHOLE };
            seen.class.parent == parent
        };
        self.has_discipline && self.classes.values().all(belongs)
    }

    /// Whether queues or rows of ours stand that are not wanted.
    fn has_surplus(&self, wanted: &BTreeMap<i64, Queue>) -> bool {
        let Some(qos) = self.rows.qos.as_ref() else {
            return !self.rows.queues.is_empty() || !self.rows.orphans.is_empty();
        };
        let in_use: BTreeSet<_> = qos.queues.values().collect();
        qos.queues.keys().any(|number| !wanted.contains_key(number))
            || self.rows.queues.keys().any(|uuid| !in_use.contains(uuid))
            || !self.rows.orphans.is_empty()
    }

    fn standing(&self, mark: &Mark, queueing: Queueing, cookie: u64) -> Standing {
        let mut standing = Standing::default();
        let Rows { qos, queues, orphans, queue_length, owner, .. } = &self.rows;
        let foreign = self.filters.iter().filter(|filter| !filters::is_ours(filter));
        standing.foreign.extend(foreign.map(|filter| format!("a filter of preference {}", filter.preference)));
        standing.strays.extend(self.moving.iter().map(|class| format!("class {class} on its way to another priority")));
        standing.strays.extend(orphans.keys().map(|uuid| format!("QoS row {uuid} on no port")));
        // A plan whose row a hand took off the port still makes those before it stale.
        standing.generation = orphans.values().copied().flatten().max();
        let ours = qos.as_ref().filter(|qos| qos.is_ours);
        match (qos, ours) {
            (Some(qos), None) => standing.foreign.push(format!("QoS row {} on the port", qos.uuid)),
            (None, _) if queue_length.is_some() => standing.strays.push("a noted queue length".to_owned()),
            _ => {}
        }
        let theirs = owner.as_ref().filter(|owner| **owner != mark.owner);
        standing.foreign.extend(theirs.map(|owner| format!("the port, which is of {owner}")));
        if let Some(root) = self.root.as_ref().filter(|_| owner.is_none() && qos.is_none()) {
            standing.foreign.push(format!("the {} discipline {}", root.name(), root.handle));
        }
        let mut used = BTreeSet::new();
        // Filters of our kind on a port of somebody else's are theirs.
        let filters = if *owner == Some(mark.owner.clone()) { &self.filters[..] } else { &[] };
        let (mut sources, strays) = filters::sources(filters);
        standing.strays.extend(strays);
        if let Some(qos) = ours {
            standing.generation = qos.generation.max(standing.generation);
            if !qos.is_htb || !self.is_sound() {
                standing.strays.push("a QoS row that the device does not follow".to_owned());
            }
            if !QUEUE_PACKETS.contains(&self.link.queue_packets) {
                standing.strays.push(format!("a queue of {} packets in the device", self.link.queue_packets));
            }
            if !qos.queues.contains_key(&OTHERS) {
                standing.strays.push("no queue for what is in no slice".to_owned());
            }
            let whole = self.classes.get(&WHOLE).map(|seen| seen.class);
            let held = whole.filter(|whole| whole.rate() == whole.ceil()).map(|whole| whole.ceil());
            standing.capacity = held.filter(|held| qos.capacity == Some(held.0));
            for (number, uuid) in &qos.queues {
                used.insert(*uuid);
                self.add_queue(&mut standing, &mut sources, (*number, queues.get(uuid)), queueing);
            }
        }
        let unused = queues.keys().filter(|uuid| !used.contains(*uuid));
        standing.strays.extend(unused.map(|uuid| format!("queue row {uuid} of no port")));
        standing.strays.extend(sources.into_keys().map(|class| format!("a filter into {class}")));
        self.add_ports(&mut standing, mark, queueing, cookie);
        standing
    }

    /// One queue as it stands: what the kernel has, who is in it, and what was noted.
    fn add_queue(
        &self,
        standing: &mut Standing,
        sources: &mut BTreeMap<Handle, BTreeSet<crate::Prefix>>,
        (number, queue): (i64, Option<&Queue>),
        queueing: Queueing,
    ) {
        let Some(queue) = queue else {
            standing.strays.push(format!("queue {number} with a row that is not ours"));
            return;
        };
        let class = self.classes.get(&class_of(number));
        let in_it = sources.remove(&class_of(number)).unwrap_or_default();
        match (queue.slice, class) {
            (Some(id), Some(seen)) if queue_of(id) == number => {
                let slice = Enforced {
                    guarantee: seen.class.rate(),
                    ceiling: seen.class.ceil(),
                    rank: seen.class.priority.min(255) as u8,
                    weight: 0,
                    dscp: queue.dscp,
                    sources: if queueing == Queueing::Filters { in_it } else { queue.sources.clone() },
                };
                if Queue::of(id, &Enforced { sources: queue.sources.clone(), ..slice.clone() }) != *queue {
                    standing.strays.push(format!("queue {number} whose row says something else than the kernel does"));
                }
                standing.slices.insert(id, slice);
            }
            (None, Some(seen)) if number == OTHERS => {
                let expected = standing.capacity.map(|capacity| others(capacity, self.least()));
                let as_noted =
                    |expected: &Enforced| *queue == Queue::of_others(expected) && is(seen, &class_of_others(expected));
                if !expected.as_ref().is_none_or(as_noted) {
                    standing.strays.push("the queue of what is in no slice, with other rates".to_owned());
                }
            }
            (_, None) => standing.strays.push(format!("queue {number} without a class in the kernel")),
            _ => standing.strays.push(format!("queue {number} that was not asked for")),
        }
    }

    /// Ports from their flows, and flows that are not what these ports need.
    fn add_ports(&self, standing: &mut Standing, mark: &Mark, queueing: Queueing, cookie: u64) {
        let numbers = self.rows.ports.iter().filter_map(|(name, number)| Some((name.clone(), (*number)?)));
        let numbers: BTreeMap<String, u32> = numbers.collect();
        let (ports, strays) = flows::ports(&self.flows, &numbers);
        standing.strays.extend(strays);
        let uplink = numbers.get(&mark.port).copied().unwrap_or(0);
        let mut expected = LinkSlices { ports: ports.clone(), ..LinkSlices::default() };
        for queue in self.rows.queues.values() {
            let Some(id) = queue.slice else { continue };
            let terms = forebay_world::PlannedSlice {
                guarantee: BitsPerSecond::ZERO,
                ceiling: BitsPerSecond::ZERO,
                weight: 1,
                priority: 0,
                dscp: queue.dscp,
                latency: None,
            };
            expected.slices.insert(id, super::Slice { terms, sources: queue.sources.clone() });
        }
        let expected = flows::flows(&expected, &PortNumbers { uplink, ports: numbers }, queueing, cookie);
        let expected = expected.unwrap_or_default();
        let wrong = expected.symmetric_difference(&self.flows).count();
        if wrong > 0 {
            standing.strays.push(format!("{wrong} flows that are missing or were not asked for"));
        }
        for (name, port) in ports {
            let up = self.up.get(&name).copied().unwrap_or(true);
            standing.ports.insert(name, StandingPort { port, up });
        }
    }
}

impl SliceExecutor for OvsExecutor {
    fn link(&self) -> String {
        self.database.link().to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        // Open vSwitch does not let quanta be chosen. The kernel makes them of guarantees: those of one priority share what is
        // left over by their guarantees below 16 Mbit/s, evenly above (sch_htb.c: rate / r2q, at most 200,000 bytes).
        Capabilities { weight: false, ..Capabilities::ALL }
    }

    fn read(&mut self) -> Result<Standing, SliceError> {
        let seen = self.look()?;
        Ok(seen.standing(&self.mark, self.queueing(&seen.rows), self.cookie))
    }

    fn apply(&mut self, wanted: &LinkSlices, gate: &mut Gate) -> Result<Applied, SliceError> {
        let capabilities = self.capabilities();
        let slices = wanted.enforced(&capabilities)?;
        self.database.own()?;
        let mut seen = self.look()?;
        self.check(&seen, wanted, &slices)?;
        let standing = seen.standing(&self.mark, self.queueing(&seen.rows), self.cookie);
        if let Some(newer) = standing.generation.filter(|standing| *standing > wanted.generation) {
            return Err(SliceError::Stale { link: self.link(), given: wanted.generation, standing: newer });
        }
        let acknowledgement = capabilities.acknowledgement;
        if seen.rows.qos.is_some() && wanted.differences(&capabilities, &standing)?.is_empty() {
            if standing.generation == Some(wanted.generation) {
                return Ok(Applied { writes: 0, acknowledgement });
            }
            // Plans before this one are stale from now on.
            self.write(self.mark.renumber(&seen.rows, wanted.generation), "generation", gate)?;
            return Ok(Applied { writes: 1, acknowledgement });
        }
        let writes = self.write_slices(&mut seen, wanted, &slices, gate)?;
        let differences = wanted.differences(&capabilities, &self.read()?)?;
        if !differences.is_empty() {
            return Err(SliceError::NotVerified { link: self.link(), differences });
        }
        Ok(Applied { writes, acknowledgement })
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SliceError> {
        self.database.own()?;
        let seen = self.look()?;
        let acknowledgement = self.capabilities().acknowledgement;
        let standing = seen.standing(&self.mark, self.queueing(&seen.rows), self.cookie);
        if standing.is_empty() {
            return Ok(Applied { writes: 0, acknowledgement });
        }
        let ours = seen.rows.qos.as_ref().is_some_and(|qos| qos.is_ours);
        let our_port = seen.rows.owner.as_ref() == Some(&self.mark.owner);
        if let Some(filter) = seen.filters.iter().find(|filter| ours && !filters::is_ours(filter)) {
            let what = format!("a filter of preference {}", filter.preference);
            let hint = "it would go with our discipline; delete it first, or move it";
            return Err(SliceError::Foreign { link: self.link(), what, hint });
        }
        let mut writes = 0;
        self.database.still_own()?;
        if !seen.flows.is_empty() {
            gate.pass("all flows away")?;
            self.openflow.change(&seen.flows.iter().collect::<Vec<_>>(), &[])?;
            writes += 1;
        }
        if our_port && !ours && seen.has_discipline {
            // Somebody else's discipline stays; our filters on it go.
            writes += filters::reconcile(&mut self.netlink, &seen.link, DISCIPLINE, &[], gate)?;
        }
        if ours || !seen.rows.queues.is_empty() || !seen.rows.orphans.is_empty() {
            let operations = self.mark.remove(&seen.rows);
            self.write(operations, "QoS and queues away", gate)?;
            writes += 1;
        }
        if let Some(length) = seen.rows.queue_length {
            writes += self.set_queue_length(&seen.link, length, gate)?;
            let rows = self.rows()?;
            self.write(self.mark.note_queue_length(&rows, None), "note of the queue length away", gate)?;
            writes += 1;
        }
        let left = self.read()?;
        if !left.is_empty() {
            return Err(SliceError::NotVerified { link: self.link(), differences: vec![format!("{left:?} is left")] });
        }
        Ok(Applied { writes, acknowledgement })
    }

    fn counters(&mut self) -> Result<BTreeMap<SliceId, Counters>, SliceError> {
        let seen = self.look()?;
        let Some(qos) = seen.rows.qos.as_ref().filter(|qos| qos.is_ours) else { return Ok(BTreeMap::new()) };
        let of = |(number, uuid): (&i64, &uuid::Uuid)| {
            let slice = seen.rows.queues.get(uuid)?.slice?;
            let counted = seen.classes.get(&class_of(*number))?.statistics;
            Some((slice, Counters { bytes: counted.bytes, packets: counted.packets, dropped: counted.drops }))
        };
        Ok(qos.queues.iter().filter_map(of).collect())
    }
}
