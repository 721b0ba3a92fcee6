//! What stands on a port of Open vSwitch: what was seen of it, and what that means.

use std::collections::{BTreeMap, BTreeSet};

use forebay_world::{BitsPerSecond, PlannedSlice, SliceId};

use super::flows::{self, PortNumbers, Queueing};
use super::rows::{Mark, OTHERS, Queue, Rows, queue_of};
use super::{DISCIPLINE, QUEUE_PACKETS, WHOLE};
use crate::netlink::{Handle, HtbClass, Link, Qdisc, SeenClass, SeenFilter};
use crate::slices::enforced::least_rate;
use crate::slices::{Enforced, LinkSlices, PRIORITIES_MOST, Slice, Standing, StandingPort, filters};

/// All that there is to know of the port.
pub(super) struct Seen {
    pub(super) rows: Rows,
    pub(super) link: Link,
    /// The discipline at the root of the device, if it is there by somebody's will.
    pub(super) root: Option<Qdisc>,
    /// Whether that is Open vSwitch's.
    pub(super) has_discipline: bool,
    pub(super) classes: BTreeMap<Handle, SeenClass>,
    /// Classes whose priority is being changed, or was when we were stopped.
    pub(super) moving: BTreeSet<Handle>,
    pub(super) filters: Vec<SeenFilter>,
    pub(super) flows: BTreeSet<String>,
    /// Devices of ports, by name, and whether each is up.
    pub(super) up: BTreeMap<String, bool>,
}

impl Seen {
    /// The least rate of a class: the switch gives each a packet a second, of the largest that the device takes.
    pub(super) fn least(&self) -> BitsPerSecond {
        BitsPerSecond(u64::from(self.link.mtu_bytes) * 8).max(least_rate())
    }

    /// Whether the device has the switch's discipline, with all classes where they belong: the kernel moves none.
    pub(super) fn is_sound(&self) -> bool {
        let belongs = |seen: &SeenClass| {
            let parent = if seen.class.handle == WHOLE { DISCIPLINE } else { WHOLE };
            seen.class.parent == parent
        };
        self.has_discipline && self.classes.values().all(belongs)
    }

    /// Whether queues or rows of ours stand that are not wanted.
    pub(super) fn has_surplus(&self, wanted: &BTreeMap<i64, Queue>) -> bool {
        let Some(qos) = self.rows.qos.as_ref() else {
            return !self.rows.queues.is_empty() || !self.rows.orphans.is_empty();
        };
        let in_use: BTreeSet<_> = qos.queues.values().collect();
        qos.queues.keys().any(|number| !wanted.contains_key(number))
            || self.rows.queues.keys().any(|uuid| !in_use.contains(uuid))
            || !self.rows.orphans.is_empty()
    }

    pub(super) fn standing(&self, mark: &Mark, queueing: Queueing, cookie: u64) -> Standing {
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
    pub(super) fn add_queue(
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
    pub(super) fn add_ports(&self, standing: &mut Standing, mark: &Mark, queueing: Queueing, cookie: u64) {
        let numbers = self.rows.ports.iter().filter_map(|(name, number)| Some((name.clone(), (*number)?)));
        let numbers: BTreeMap<String, u32> = numbers.collect();
        let (ports, strays) = flows::ports(&self.flows, &numbers);
        standing.strays.extend(strays);
        let uplink = numbers.get(&mark.port).copied().unwrap_or(0);
        let mut expected = LinkSlices { ports: ports.clone(), ..LinkSlices::default() };
        for queue in self.rows.queues.values() {
            let Some(id) = queue.slice else { continue };
            let terms = PlannedSlice {
                guarantee: BitsPerSecond::ZERO,
                ceiling: BitsPerSecond::ZERO,
                weight: 1,
                priority: 0,
                dscp: queue.dscp,
                latency: None,
            };
            expected.slices.insert(id, Slice { terms, sources: queue.sources.clone() });
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

pub(super) fn class_of(queue: i64) -> Handle {
    Handle::new(1, (queue + 1) as u16)
}

pub(super) fn class_of_slice(slice: SliceId) -> Handle {
    class_of(queue_of(slice))
}

/// What is in no slice, last in everything.
pub(super) fn others(capacity: BitsPerSecond, least: BitsPerSecond) -> Enforced {
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
pub(super) fn class(queue: i64, slice: &Enforced) -> HtbClass {
    HtbClass::new(WHOLE, class_of(queue), slice.guarantee, slice.ceiling).with_priority(u32::from(slice.rank))
}

pub(super) fn class_of_others(others: &Enforced) -> HtbClass {
    class(OTHERS, others)
}

/// The queue of a class whose priority changes, named after it.
pub(super) fn passing(class: Handle) -> Qdisc {
    Qdisc::pfifo(class, class.minor, QUEUE_PACKETS[1])
}

pub(super) fn is_passing(seen: &Qdisc) -> bool {
    seen.parent.major == DISCIPLINE.major && *seen == passing(seen.parent)
}

/// Whether the kernel has a class with these rates and this priority; quanta and bursts are Open vSwitch's affair.
pub(super) fn is(seen: &SeenClass, wanted: &HtbClass) -> bool {
    let terms = |class: &HtbClass| (class.rate_bytes_per_s, class.ceil_bytes_per_s);
    let priority = wanted.handle == WHOLE || seen.class.priority == wanted.priority;
    terms(&seen.class) == terms(wanted) && priority && seen.class.parent == wanted.parent
}
