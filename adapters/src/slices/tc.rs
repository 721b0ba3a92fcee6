//! A plain Linux device, its slices made of hierarchical token buckets by netlink: no switch, no daemon, no file.
//!
//! ```text
//!   fb0e:            the discipline, ours by its handle
//!   ├ fb0e:ffff      the mark: carries nothing, its rate is the generation of the plan
//!   └ fb0e:1         the link, held to its capacity
//!     ├ fb0e:2       what is in no slice, last in everything
//!     └ fb0e:10 + n  slice n: rate = guarantee, ceil = ceiling, prio = rank, quantum by weight; a short queue
//! ```
//!
//! Whoever holds the abstract socket `forebay/tc/DEVICE` of the network namespace is the writer; it goes with the process.
//! What a class does: tc-htb(8), and sch_htb.c of Linux.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use forebay_world::{BitsPerSecond, Capabilities, Generation, SliceId};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket};

use super::enforced::{FRAME_BYTES, least_rate, whole_bytes};
use super::{
    Applied, Counters, Enforced, Gate, LinkSlices, MTU_BYTES, PRIORITIES_MOST, SliceError, SliceExecutor, SliceView,
    Standing, filters,
};
use crate::netlink::{
    Handle, Htb, HtbClass, Link, Netlink, Qdisc, QdiscKind, Request, SeenClass, SeenFilter, SeenQdisc, Write,
};

const MAJOR: u16 = 0xfb0e;
const DISCIPLINE: Handle = Handle::new(MAJOR, 0);
const MARK: Handle = Handle::new(MAJOR, 0xffff);
const WHOLE: Handle = Handle::new(MAJOR, 1);
const OTHERS: Handle = Handle::new(MAJOR, 2);
const FIRST_SLICE: u16 = 0x10;
/// Queues of slices have majors of their own, in step with the minors of their classes.
const QUEUES: u16 = 0xe000;
/// Slices that fit beside the rest into one discipline.
const SLICES_MOST: u32 = 0x1000;
/// Time for which a queue holds packets at the ceiling, and the packets it holds at least and at most.
const QUEUE_SECONDS: f64 = 0.02;
const QUEUE_PACKETS: (u32, u32) = (50, 1000);
/// Weights that fit into quanta of whole frames, of which the kernel takes 200,000 bytes at most.
const WEIGHT_MOST: u32 = 200_000 / FRAME_BYTES;

/// What a device has.
#[derive(Clone)]
struct Device {
    link: Link,
    /// The discipline at its root, if it is there by somebody's will.
    root: Option<SeenQdisc>,
    queues: BTreeMap<Handle, Qdisc>,
    classes: BTreeMap<Handle, SeenClass>,
    filters: Vec<SeenFilter>,
}

/// Sees the slices of one device of the network namespace it was opened in, by dumps over rtnetlink.
#[derive(Debug)]
pub struct TcView {
    device: String,
    netlink: Netlink,
}

impl TcView {
    /// Slices of `device`, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SliceError::Unknown`] when there is no such device.
    pub fn open(device: &str) -> Result<Self, SliceError> {
        let mut netlink = Netlink::open()?;
        find(&mut netlink, device)?;
        Ok(TcView { device: device.to_owned(), netlink })
    }

    fn look(&mut self) -> Result<Device, SliceError> {
        let link = find(&mut self.netlink, &self.device)?;
        let qdiscs = self.netlink.qdiscs(&link)?;
        // What the kernel puts there by itself has no handle.
        let set = |seen: &&SeenQdisc| seen.qdisc.parent == Handle::ROOT && seen.qdisc.handle.major != 0;
        let root = qdiscs.iter().find(set).cloned();
        if !root.as_ref().is_some_and(is_ours) {
            let (queues, classes) = (BTreeMap::new(), BTreeMap::new());
            return Ok(Device { link, root, queues, classes, filters: Vec::new() });
        }
        let queues = qdiscs.into_iter().map(|seen| (seen.qdisc.parent, seen.qdisc)).collect();
        let classes = self.netlink.classes(&link)?.into_iter().map(|seen| (seen.class.handle, seen)).collect();
        let filters = self.netlink.filters(&link, DISCIPLINE)?;
        Ok(Device { link, root, queues, classes, filters })
    }
}

impl SliceView for TcView {
    fn link(&self) -> String {
        format!("device {}", self.device)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { dscp: false, port_security: false, ..Capabilities::ALL }
    }

    fn read(&mut self) -> Result<Standing, SliceError> {
        Ok(self.look()?.standing())
    }

    fn counters(&mut self) -> Result<BTreeMap<SliceId, Counters>, SliceError> {
        let device = self.look()?;
        let of = |(handle, seen): (&Handle, &SeenClass)| {
            let counted = seen.statistics;
            let counters = Counters { bytes: counted.bytes, packets: counted.packets, dropped: counted.drops };
            Some((slice_of(*handle)?, counters))
        };
        Ok(device.classes.iter().filter_map(of).collect())
    }
}

/// Slices of one device of the network namespace it was opened in.
#[derive(Debug)]
pub struct TcExecutor {
    view: TcView,
    /// A socket of the device's namespace, and whether it bears the name of the writer.
    lock: (OwnedFd, bool),
}

impl TcExecutor {
    /// Slices of `device`, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SliceError::Unknown`] when there is no such device.
    pub fn open(device: &str) -> Result<Self, SliceError> {
        let view = TcView::open(device)?;
        let rejected = |why: rustix::io::Errno| rejected(device, "a socket", &why);
        let lock = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).map_err(rejected)?;
        Ok(TcExecutor { view, lock: (lock, false) })
    }

    /// Becomes the only writer, or finds that another is.
    fn own(&mut self) -> Result<(), SliceError> {
        if self.lock.1 {
            return Ok(());
        }
        let name = format!("forebay/tc/{}", self.view.device);
        let rejected = |why: rustix::io::Errno| rejected(&self.view.device, &format!("the lock {name}"), &why);
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).map_err(rejected)?;
        match bind(&self.lock.0, &address) {
            Ok(()) => self.lock.1 = true,
            Err(rustix::io::Errno::ADDRINUSE) => {
                return Err(SliceError::OtherWriter { link: self.link(), lock: name });
            }
            Err(error) => return Err(rejected(error)),
        }
        Ok(())
    }

    /// The device, once it is ours to write.
    fn open_for_writing(&mut self) -> Result<Device, SliceError> {
        self.own()?;
        let device = self.view.look()?;
        match &device.root {
            Some(root) if !is_ours(root) => Err(SliceError::Foreign {
                link: self.link(),
                what: format!("the {} discipline {} at its root", root.qdisc.name(), root.qdisc.handle),
                hint: "delete it if nobody needs it: tc qdisc del dev DEVICE root",
            }),
            _ => Ok(device),
        }
    }

    fn send(&mut self, requests: &[Request], gate: &mut Gate) -> Result<u32, SliceError> {
        for request in requests {
            gate.pass(request.subject())?;
            self.view.netlink.send(request)?;
        }
        Ok(requests.len() as u32)
    }

    /// Everything but the filters of what goes: disciplines and classes that are new or differ.
    fn changes(&self, device: &Device, wanted: &LinkSlices, slices: &Slices) -> Result<Vec<Request>, SliceError> {
        let link = &device.link;
        let put = |class: &HtbClass| Request::class(Write::Put, link, class);
        let broken = device.is_broken();
        let device = &if broken { device.emptied() } else { device.clone() };
        let stands = |class: &HtbClass| device.classes.get(&class.handle).is_some_and(|seen| is(&seen.class, class));
        let mut requests = Vec::new();
        if broken {
            // The kernel moves no class and changes no discipline in place: all anew.
            requests.push(Request::delete_qdisc(link, Handle::ROOT, DISCIPLINE));
        }
        if device.root.is_none() {
            let (default_minor, direct_packets) = (OTHERS.minor, Some(QUEUE_PACKETS.0));
            let kind = QdiscKind::Htb(Htb { default_minor, direct_packets });
            let root = Qdisc { parent: Handle::ROOT, handle: DISCIPLINE, kind };
            requests.push(Request::qdisc(Write::Add, link, &root)?);
        }
        let whole = whole(wanted.capacity);
        let mut fixed = vec![whole, others(&whole)];
        fixed.retain(|class| !stands(class));
        // Those that give before those that take, so that guarantees fit at every moment.
        let mut changed: Vec<HtbClass> = Vec::new();
        for (id, slice) in slices {
            let class = class(*id, slice);
            if !stands(&class) {
                changed.push(class);
            }
        }
        let standing =
            |class: &HtbClass| device.classes.get(&class.handle).map_or(0, |seen| seen.class.rate_bytes_per_s);
        changed.sort_by_key(|class| i128::from(class.rate_bytes_per_s) - i128::from(standing(class)));
        // A class with packets stays where the priority of their time put it, in truth, whatever the kernel says, until it
        // has none (sch_htb.c: htb_activate, htb_change_class). Under a flood that is never, so its queue goes, before its
        // priority changes, with what is in it; and the new one finds it idle.
        let is_moved = |id: &SliceId, slice: &Enforced| {
            let seen = device.classes.get(&handle_of(*id));
            seen.is_some_and(|seen| seen.class.priority != u32::from(slice.rank))
        };
        for (id, _) in slices.iter().filter(|(id, slice)| is_moved(id, slice)) {
            if let Some(queue) = device.queues.get(&handle_of(*id)) {
                requests.push(Request::delete_qdisc(link, queue.parent, queue.handle));
            }
        }
        for class in fixed.iter().chain(&changed) {
            requests.push(put(class)?);
        }
        for (id, slice) in slices {
            let queue = queue(*id, slice);
            if is_moved(id, slice) || device.queues.get(&queue.parent) != Some(&queue) {
                requests.push(Request::qdisc(Write::Put, link, &queue)?);
            }
        }
        Ok(requests)
    }
}

fn rejected(device: &str, what: &str, why: &dyn std::fmt::Display) -> SliceError {
    SliceError::Rejected { endpoint: format!("device {device}"), what: what.to_owned(), why: why.to_string() }
}

/// Whether a root discipline is one that we made.
fn is_ours(root: &SeenQdisc) -> bool {
    root.qdisc.handle == DISCIPLINE && root.qdisc.name() == "htb"
}

type Slices = BTreeMap<SliceId, Enforced>;

fn find(netlink: &mut Netlink, device: &str) -> Result<Link, SliceError> {
    match netlink.link(device) {
        Err(crate::netlink::NetlinkError::NoSuchDevice { .. }) => {
            let known = netlink.links()?.into_iter().map(|link| link.name).collect();
            Err(SliceError::Unknown { kind: "device", name: device.to_owned(), known })
        }
        found => Ok(found?),
    }
}

/// Whether a class is as wanted. Of one with classes below it the kernel forgets priority and quantum, which mean nothing
/// there.
fn is(seen: &HtbClass, wanted: &HtbClass) -> bool {
    let HtbClass { priority, quantum_bytes, .. } = *if wanted.handle == WHOLE { seen } else { wanted };
    *seen == HtbClass { priority, quantum_bytes, ..*wanted }
}

/// The class that holds the link to its capacity.
fn whole(capacity: BitsPerSecond) -> HtbClass {
    let rate = whole_bytes(capacity).max(least_rate());
    HtbClass::new(DISCIPLINE, WHOLE, rate, rate)
}

/// The class of what is in no slice.
fn others(whole: &HtbClass) -> HtbClass {
    let class = HtbClass::new(WHOLE, OTHERS, least_rate(), whole.rate()).with_priority(PRIORITIES_MOST as u32);
    HtbClass { quantum_bytes: FRAME_BYTES, ..class }
}

/// The class that says which plan stands.
fn mark(generation: Generation) -> HtbClass {
    let rate = generation.0.saturating_add(1);
    let class = HtbClass::new(DISCIPLINE, MARK, BitsPerSecond(8), BitsPerSecond(8));
    HtbClass { rate_bytes_per_s: rate, ceil_bytes_per_s: rate, ..class }
}

fn handle_of(slice: SliceId) -> Handle {
    Handle::new(MAJOR, FIRST_SLICE + slice.0 as u16)
}

fn slice_of(handle: Handle) -> Option<SliceId> {
    let number = handle.minor.checked_sub(FIRST_SLICE)?;
    (handle.major == MAJOR && u32::from(number) < SLICES_MOST).then_some(SliceId(u32::from(number)))
}

/// The class of a slice. Quanta divide what is left over among those of a rank as weights do.
fn class(id: SliceId, slice: &Enforced) -> HtbClass {
    let class = HtbClass::new(WHOLE, handle_of(id), slice.guarantee, slice.ceiling);
    let quantum_bytes = slice.weight.clamp(1, WEIGHT_MOST) * FRAME_BYTES;
    HtbClass { quantum_bytes, ..class.with_priority(u32::from(slice.rank)) }
}

fn queue(id: SliceId, slice: &Enforced) -> Qdisc {
    let packets = slice.ceiling.as_f64() / 8.0 * QUEUE_SECONDS / MTU_BYTES as f64;
    let limit = (packets as u32).clamp(QUEUE_PACKETS.0, QUEUE_PACKETS.1);
    Qdisc::pfifo(handle_of(id), QUEUES + id.0 as u16, limit)
}

impl Device {
    /// Whether a hand has changed what cannot be changed back: another default, classes or queues where none belong.
    fn is_broken(&self) -> bool {
        let Some(root) = &self.root else { return false };
        let others = matches!(&root.qdisc.kind, QdiscKind::Htb(htb) if htb.default_minor == OTHERS.minor);
        let misplaced = |seen: &SeenClass| match (seen.class.handle, slice_of(seen.class.handle)) {
            (MARK | WHOLE, _) => seen.class.parent != DISCIPLINE,
            (OTHERS, _) | (_, Some(_)) => seen.class.parent != WHOLE,
            // What is below one that nobody asked for keeps it from being deleted.
            _ => self.classes.values().any(|below| below.class.parent == seen.class.handle),
        };
        let strange =
            |qdisc: &Qdisc| slice_of(qdisc.parent).is_some() && !matches!(qdisc.kind, QdiscKind::Pfifo { .. });
        !others || self.classes.values().any(misplaced) || self.queues.values().any(strange)
    }

    /// The same device without a discipline of ours.
    fn emptied(&self) -> Device {
        let (classes, queues, filters) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Device { link: self.link.clone(), root: None, classes, queues, filters }
    }

    /// A filter of somebody's that would go, or be in the way, with a class or with all.
    fn foreign_filter(&self, goes: impl Fn(Handle) -> bool) -> Option<String> {
        let into = |filter: &&SeenFilter| filter.class.is_none_or(&goes);
        let found = self.filters.iter().filter(|filter| !filters::is_ours(filter)).find(into);
        found.map(|filter| format!("a filter of preference {}", filter.preference))
    }

    fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        let Some(root) = &self.root else { return standing };
        if !is_ours(root) {
            standing.foreign.push(format!("the {} discipline {}", root.qdisc.name(), root.qdisc.handle));
            return standing;
        }
        let (mut sources, strays) = filters::sources(&self.filters);
        standing.strays = strays;
        let foreign = self.filters.iter().filter(|filter| !filters::is_ours(filter));
        standing.foreign.extend(foreign.map(|filter| format!("a filter of preference {}", filter.preference)));
        for (handle, seen) in &self.classes {
            match (*handle, slice_of(*handle)) {
                (MARK, _) => standing.generation = Some(Generation(seen.class.rate_bytes_per_s.saturating_sub(1))),
                (WHOLE, _) if is(&seen.class, &whole(seen.class.rate())) => standing.capacity = Some(seen.class.rate()),
                (OTHERS, _) => {}
                (_, Some(id)) => {
                    standing.slices.insert(id, self.slice(id, seen, sources.remove(handle).unwrap_or_default()));
                }
                _ => standing.strays.push(format!("class {handle}")),
            }
        }
        if standing.generation.is_none() {
            standing.strays.push(format!("the discipline {DISCIPLINE} without its mark"));
        }
        if self.is_broken() {
            standing.strays.push("classes, queues or a default where none belong".to_owned());
        }
        match (self.classes.get(&WHOLE), self.classes.get(&OTHERS)) {
            (Some(known), Some(seen)) if is(&seen.class, &others(&known.class)) => {}
            _ => standing.strays.push("no class for what is in no slice".to_owned()),
        }
        standing.strays.extend(sources.into_keys().map(|class| format!("a filter into {class}")));
        standing
    }

    fn slice(&self, id: SliceId, seen: &SeenClass, sources: std::collections::BTreeSet<crate::Prefix>) -> Enforced {
        let HtbClass { priority, quantum_bytes, .. } = seen.class;
        let mut slice = Enforced {
            guarantee: seen.class.rate(),
            ceiling: seen.class.ceil(),
            rank: priority.min(255) as u8,
            // One that is no whole number of frames is nobody's.
            weight: if quantum_bytes % FRAME_BYTES == 0 { quantum_bytes / FRAME_BYTES } else { 0 },
            dscp: 0,
            sources,
        };
        // Packets that wait elsewhere than they should wait too long, or not long enough.
        if self.queues.get(&handle_of(id)) != Some(&queue(id, &slice)) || seen.class.parent != WHOLE {
            slice.weight = 0;
        }
        slice
    }
}

impl SliceView for TcExecutor {
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

impl SliceExecutor for TcExecutor {
    fn apply(&mut self, wanted: &LinkSlices, gate: &mut Gate) -> Result<Applied, SliceError> {
        let capabilities = self.capabilities();
        let slices = wanted.enforced(&capabilities)?;
        if let Some(id) = slices.keys().find(|id| id.0 >= SLICES_MOST) {
            let what = format!("slice {id}; allowed on one device: 0 to {}", SLICES_MOST - 1);
            return Err(SliceError::Contradiction { what });
        }
        if let Some((id, slice)) = slices.iter().find(|(_, slice)| slice.weight > WEIGHT_MOST) {
            let what = format!("slice {id} weighs {} times another; allowed: {WEIGHT_MOST}", slice.weight);
            return Err(SliceError::Contradiction { what });
        }
        let device = self.open_for_writing()?;
        let standing = device.standing();
        if let Some(newer) = standing.generation.filter(|standing| *standing > wanted.generation) {
            return Err(SliceError::Stale { link: self.link(), given: wanted.generation, standing: newer });
        }
        let acknowledgement = capabilities.acknowledgement;
        let mark = Request::class(Write::Put, &device.link, &mark(wanted.generation))?;
        if wanted.differences(&capabilities, &standing)?.is_empty() {
            if standing.generation == Some(wanted.generation) {
                return Ok(Applied { writes: 0, acknowledgement });
            }
            // Plans before this one are stale from now on.
            return Ok(Applied { writes: self.send(&[mark], gate)?, acknowledgement });
        }
        let gone = |handle: Handle| match slice_of(handle) {
            Some(id) => !slices.contains_key(&id),
            None => ![MARK, WHOLE, OTHERS].contains(&handle),
        };
        if let Some(what) = device.foreign_filter(|class| device.is_broken() || gone(class)) {
            let hint = "it goes into a class that goes; delete it first, or move it";
            return Err(SliceError::Foreign { link: self.link(), what, hint });
        }
        let mut requests = self.changes(&device, wanted, &slices)?;
        // From the first write on, older plans are stale; a discipline that is not there comes first.
        let first = usize::from(device.is_broken()) + usize::from(device.root.is_none() || device.is_broken());
        requests.insert(first, mark);
        let mut writes = self.send(&requests, gate)?;
        let filters = filters::wanted(&slices, DISCIPLINE, handle_of);
        writes += filters::reconcile(&mut self.view.netlink, &device.link, DISCIPLINE, &filters, gate)?;
        if !device.is_broken() {
            let surplus = device.classes.keys().filter(|handle| gone(**handle));
            let surplus: Vec<Request> = surplus.map(|handle| Request::delete_class(&device.link, *handle)).collect();
            writes += self.send(&surplus, gate)?;
        }
        let differences = wanted.differences(&capabilities, &self.view.look()?.standing())?;
        if !differences.is_empty() {
            return Err(SliceError::NotVerified { link: self.link(), differences });
        }
        Ok(Applied { writes, acknowledgement })
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SliceError> {
        self.own()?;
        let device = self.view.look()?;
        let acknowledgement = self.capabilities().acknowledgement;
        if !device.root.as_ref().is_some_and(is_ours) {
            return Ok(Applied { writes: 0, acknowledgement });
        }
        if let Some(what) = device.foreign_filter(|_| true) {
            let hint = "it would go with our discipline; delete it first, or move it";
            return Err(SliceError::Foreign { link: self.link(), what, hint });
        }
        // With the discipline goes all that is in it, at once.
        let writes = self.send(&[Request::delete_qdisc(&device.link, Handle::ROOT, DISCIPLINE)], gate)?;
        let left = self.view.look()?.standing();
        if !left.is_empty() {
            return Err(SliceError::NotVerified { link: self.link(), differences: vec![format!("{left:?} is left")] });
        }
        Ok(Applied { writes, acknowledgement })
    }
}
