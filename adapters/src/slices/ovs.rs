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
mod seen;
mod view;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use forebay_world::{BitsPerSecond, Capabilities, SliceId};

use super::enforced::{least_rate, whole_bytes};
use super::{Applied, Counters, Enforced, Gate, LinkSlices, SliceError, SliceExecutor, SliceView, Standing, filters};
use crate::netlink::{Handle, HtbClass, Link, Netlink, Qdisc, Request, SeenClass, Write};
use crate::ovsdb::{Endpoint, Operation};
use flows::{PortNumbers, Queueing};
use rows::{DATABASE, OTHERS, Queue, Rows, queue_of};
use seen::{Seen, class, class_of_slice, is, is_passing, others, passing};
pub use view::OvsView;

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
    view: OvsView,
}

impl OvsExecutor {
    /// Connects to the switch; devices are looked for in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SliceError::Ovsdb`] when the database cannot be reached, [`SliceError::Unknown`] when there is no such bridge,
    /// port or device, [`SliceError::Contradiction`] when the OpenFlow side has to be named and is not.
    pub fn connect(port: &OvsPort) -> Result<Self, SliceError> {
        OvsView::connect(port).map(|view| OvsExecutor { view })
    }

    /// One write to the database, seen through to the switch.
    fn write(&mut self, operations: Vec<Operation>, what: &str, gate: &mut Gate) -> Result<(), SliceError> {
        gate.pass(what)?;
        let mut guarded = vec![self.view.database.assertion()];
        guarded.extend(operations);
        let outcomes = self.view.database.transact(guarded)?;
        let Some(number) = outcomes.last().and_then(|last| last.rows().first()?.integer("next_cfg")) else {
            return Ok(());
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let select = Operation::select_columns(DATABASE, Vec::new(), &["cur_cfg"]);
            let seen = self.view.database.transact(vec![select])?;
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
        self.view.netlink.send(&request)?;
        Ok(1)
    }

    /// Makes room for the QoS row: a short queue in the device, with its old length noted first, and nothing of the old
    /// discipline where a hand has taken it away.
    fn prepare(&mut self, seen: &mut Seen, capacity: BitsPerSecond, gate: &mut Gate) -> Result<u32, SliceError> {
        let mut writes = 0;
        if seen.rows.queue_length.is_none() {
            let note = self.view.mark.note_queue_length(&seen.rows, Some(seen.link.queue_packets));
            self.write(note, "note of the queue length", gate)?;
            writes += 1;
        }
        let packets = QUEUE_PACKETS[usize::from(capacity > SLOW)];
        writes += self.set_queue_length(&seen.link, packets, gate)?;
        if seen.rows.qos.is_some() && !seen.is_sound() {
            self.write(self.view.mark.detach(&seen.rows), "QoS off the port", gate)?;
            writes += 1;
            seen.rows = self.view.rows()?;
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
        while !differing(&mut self.view.netlink)?.is_empty() && Instant::now() < deadline {
            thread::sleep(LOOK_AGAIN);
        }
        let mut writes = 0;
        for class in differing(&mut self.view.netlink)? {
            let request = Request::class(Write::Put, link, &class)?;
            gate.pass(request.subject())?;
            self.view.netlink.send(&request)?;
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
                self.view.netlink.send(&request)?;
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
        for standing in self.view.netlink.qdiscs(&seen.link)? {
            if is_passing(&standing.qdisc) {
                let Qdisc { parent, handle, .. } = standing.qdisc;
                let request = Request::delete_qdisc(&seen.link, parent, handle);
                gate.pass(request.subject())?;
                self.view.netlink.send(&request)?;
                writes += 1;
            }
        }
        Ok(writes)
    }

    fn numbers(&self, rows: &Rows) -> Result<PortNumbers, SliceError> {
        let ports = rows.ports.iter().filter_map(|(name, number)| Some((name.clone(), (*number)?)));
        let ports: BTreeMap<String, u32> = ports.collect();
        match ports.get(&self.view.mark.port) {
            Some(uplink) => Ok(PortNumbers { uplink: *uplink, ports }),
            None => Err(SliceError::Rejected {
                endpoint: self.link(),
                what: format!("port {}", self.view.mark.port),
                why: "the switch has given it no OpenFlow number".to_owned(),
            }),
        }
    }

    fn change_flows(&mut self, seen: &Seen, wanted: &LinkSlices, gate: &mut Gate) -> Result<u32, SliceError> {
        let numbers = self.numbers(&seen.rows)?;
        let wanted = flows::flows(wanted, &numbers, self.view.queueing(&seen.rows), self.view.cookie)
            .map_err(|what| SliceError::Contradiction { what })?;
        let surplus: Vec<&String> = seen.flows.difference(&wanted).collect();
        let missing: Vec<&String> = wanted.difference(&seen.flows).collect();
        if surplus.is_empty() && missing.is_empty() {
            return Ok(0);
        }
        gate.pass(&format!("{} flows away, {} flows added", surplus.len(), missing.len()))?;
        self.view.openflow.change(&surplus, &missing)?;
        Ok(1)
    }

    fn raise_ports(&mut self, seen: &Seen, wanted: &LinkSlices, gate: &mut Gate) -> Result<u32, SliceError> {
        let mut writes = 0;
        for name in wanted.ports.keys().filter(|name| seen.up.get(*name) == Some(&false)) {
            let link = self.view.netlink.link(name)?;
            gate.pass(&format!("port {name} up"))?;
            self.view.netlink.send(&Request::set_up(&link, true))?;
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
            if *name == self.view.mark.port || number == LOCAL {
                return contradiction(format!("port {name} is no machine's"));
            }
        }
        if !wanted.ports.is_empty() {
            if let Some(name) =
                rows.with_vlans.iter().find(|name| **name == self.view.mark.port || wanted.ports.contains_key(*name))
            {
                return contradiction(format!("port {name} has VLANs, which flows to a port leave out"));
            }
            if !rows.is_secure {
                let bridge = &self.view.mark.bridge;
                return contradiction(format!(
                    "bridge {bridge} opens all its ports while its daemon starts; to guard some of them: \
                     ovs-vsctl set-fail-mode {bridge} secure"
                ));
            }
        }
        self.numbers(rows)?;
        if let Some(owner) = rows.owner.as_ref().filter(|owner| **owner != self.view.mark.owner) {
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
        let rows = self.view.mark.write(&seen.rows, &queues, capacity, wanted.generation, !surplus);
        self.write(rows, &format!("QoS and {} queues, generation {}", queues.len(), wanted.generation), gate)?;
        writes += 1;
        let mut classes = vec![HtbClass::new(DISCIPLINE, WHOLE, capacity, capacity), class(OTHERS, &others)];
        classes.extend(slices.iter().map(|(id, slice)| class(queue_of(*id), slice)));
        writes += self.mend_classes(&seen.link, &classes, gate)?;
        writes += self.end_moving(seen, gate)?;
        // What follows is not in the database, which would refuse it.
        self.view.database.still_own()?;
        if self.view.queueing(&seen.rows) == Queueing::Filters {
            let filters = filters::wanted(slices, DISCIPLINE, class_of_slice);
            writes += filters::reconcile(&mut self.view.netlink, &seen.link, DISCIPLINE, &filters, gate)?;
        }
        self.view.database.still_own()?;
        writes += self.change_flows(seen, wanted, gate)?;
        writes += self.raise_ports(seen, wanted, gate)?;
        if surplus {
            let rows = self.view.rows()?;
            let rows = self.view.mark.write(&rows, &queues, capacity, wanted.generation, true);
            self.write(rows, "queues away", gate)?;
            writes += 1;
        }
        Ok(writes)
    }
}

impl SliceView for OvsExecutor {
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

impl SliceExecutor for OvsExecutor {
    fn apply(&mut self, wanted: &LinkSlices, gate: &mut Gate) -> Result<Applied, SliceError> {
        let capabilities = self.capabilities();
        let slices = wanted.enforced(&capabilities)?;
        self.view.database.own()?;
        let mut seen = self.view.look()?;
        self.check(&seen, wanted, &slices)?;
        let standing = seen.standing(&self.view.mark, self.view.queueing(&seen.rows), self.view.cookie);
        if let Some(newer) = standing.generation.filter(|standing| *standing > wanted.generation) {
            return Err(SliceError::Stale { link: self.link(), given: wanted.generation, standing: newer });
        }
        let acknowledgement = capabilities.acknowledgement;
        if seen.rows.qos.is_some() && wanted.differences(&capabilities, &standing)?.is_empty() {
            if standing.generation == Some(wanted.generation) {
                return Ok(Applied { writes: 0, acknowledgement });
            }
            // Plans before this one are stale from now on.
            self.write(self.view.mark.renumber(&seen.rows, wanted.generation), "generation", gate)?;
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
        self.view.database.own()?;
        let seen = self.view.look()?;
        let acknowledgement = self.capabilities().acknowledgement;
        let standing = seen.standing(&self.view.mark, self.view.queueing(&seen.rows), self.view.cookie);
        if standing.is_empty() {
            return Ok(Applied { writes: 0, acknowledgement });
        }
        let ours = seen.rows.qos.as_ref().is_some_and(|qos| qos.is_ours);
        let our_port = seen.rows.owner.as_ref() == Some(&self.view.mark.owner);
        if let Some(filter) = seen.filters.iter().find(|filter| ours && !filters::is_ours(filter)) {
            let what = format!("a filter of preference {}", filter.preference);
            let hint = "it would go with our discipline; delete it first, or move it";
            return Err(SliceError::Foreign { link: self.link(), what, hint });
        }
        let mut writes = 0;
        self.view.database.still_own()?;
        if !seen.flows.is_empty() {
            gate.pass("all flows away")?;
            self.view.openflow.change(&seen.flows.iter().collect::<Vec<_>>(), &[])?;
            writes += 1;
        }
        if our_port && !ours && seen.has_discipline {
            // Somebody else's discipline stays; our filters on it go.
            writes += filters::reconcile(&mut self.view.netlink, &seen.link, DISCIPLINE, &[], gate)?;
        }
        if ours || !seen.rows.queues.is_empty() || !seen.rows.orphans.is_empty() {
            let operations = self.view.mark.remove(&seen.rows);
            self.write(operations, "QoS and queues away", gate)?;
            writes += 1;
        }
        if let Some(length) = seen.rows.queue_length {
            writes += self.set_queue_length(&seen.link, length, gate)?;
            let rows = self.view.rows()?;
            self.write(self.view.mark.note_queue_length(&rows, None), "note of the queue length away", gate)?;
            writes += 1;
        }
        let left = self.read()?;
        if !left.is_empty() {
            return Err(SliceError::NotVerified { link: self.link(), differences: vec![format!("{left:?} is left")] });
        }
        Ok(Applied { writes, acknowledgement })
    }
}
