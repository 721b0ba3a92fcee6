//! The rows of Open vSwitch's database that make slices: a QoS row on the port, and a Queue row for each slice
//! (ovs-vswitchd.conf.db(5)). Ours bear the owner and the link in `external_ids`.

use std::collections::{BTreeMap, BTreeSet};

use forebay_world::{BitsPerSecond, Generation, SliceId};
use uuid::Uuid;

use crate::ovsdb::{Atom, Condition, Datum, Mutation, Mutator, Operation, Outcome, Row, Until};
use crate::prefix::Prefix;
use crate::slices::enforced::FRAME_BYTES;
use crate::slices::{Enforced, MTU_BYTES, PRIORITIES_MOST};

pub(super) const DATABASE: &str = "Open_vSwitch";
const OWNER: &str = "forebay-owner";
const LINK: &str = "forebay-link";
const GENERATION: &str = "forebay-generation";
const SLICE: &str = "forebay-slice";
const MARK: &str = "forebay-dscp";
const SOURCES: &str = "forebay-sources";
/// On the port: what its queue length was before us.
const QUEUE_LENGTH: &str = "forebay-txqueuelen";
/// The queue of what is in no slice.
pub(super) const OTHERS: i64 = 0;

/// The number of a slice's queue.
pub(super) fn queue_of(slice: SliceId) -> i64 {
    i64::from(slice.0) + 1
}

/// Whose rows they are.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) owner: String,
    pub(super) bridge: String,
    pub(super) port: String,
}

/// What the database says of one port.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) bridges: BTreeSet<String>,
    /// The bridge has the datapath of the kernel.
    pub(super) of_kernel: bool,
    /// Ports of the bridge, and their OpenFlow numbers where they have some.
    pub(super) ports: BTreeMap<String, Option<u32>>,
    pub(super) port: Uuid,
    /// The queue length that the device had before us, while it has ours.
    pub(super) queue_length: Option<u32>,
    /// The QoS row on the port.
    pub(super) qos: Option<Qos>,
    /// Queues of ours, in use or not.
    pub(super) queues: BTreeMap<Uuid, Queue>,
    /// QoS rows of ours that no port has.
    pub(super) orphans: Vec<Uuid>,
}

/// The QoS row on a port.
#[derive(Clone, Debug)]
pub(super) struct Qos {
    pub(super) uuid: Uuid,
    pub(super) is_ours: bool,
    pub(super) is_htb: bool,
    pub(super) capacity: Option<u64>,
    pub(super) generation: Option<Generation>,
    pub(super) queues: BTreeMap<i64, Uuid>,
}

/// A Queue row of ours.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Queue {
    /// The slice; none for what is in no slice.
    pub(super) slice: Option<SliceId>,
    pub(super) dscp: u8,
    pub(super) sources: BTreeSet<Prefix>,
    pub(super) rates: BTreeMap<String, String>,
}

impl Queue {
    /// The queue of a slice.
    pub(super) fn of(id: SliceId, slice: &Enforced) -> Queue {
        Queue {
            slice: Some(id),
            dscp: slice.dscp,
            sources: slice.sources.clone(),
            rates: rates(slice.guarantee, slice.ceiling, slice.rank),
        }
    }

    /// The queue of what is in no slice: last in everything.
    pub(super) fn of_others(capacity: BitsPerSecond) -> Queue {
        let least = BitsPerSecond(MTU_BYTES * 8);
        Queue { slice: None, dscp: 0, sources: BTreeSet::new(), rates: rates(least, capacity, PRIORITIES_MOST as u8) }
    }

    fn row(&self, mark: &Mark) -> Row {
        let mut ids = mark.ids();
        let slice = self.slice.map_or_else(|| "none".to_owned(), |id| id.0.to_string());
        let sources: Vec<String> = self.sources.iter().map(Prefix::to_string).collect();
        ids.extend([
            (SLICE.to_owned(), slice),
            (MARK.to_owned(), self.dscp.to_string()),
            (SOURCES.to_owned(), sources.join(",")),
        ]);
        Row::new().with("other_config", Datum::map(self.rates.clone())).with("external_ids", Datum::map(ids))
    }

    fn read(row: &Row) -> Option<Queue> {
        let ids = row.get("external_ids")?;
        let slice = match ids.text_of(SLICE)? {
            "none" => None,
            text => Some(SliceId(text.parse().ok()?)),
        };
        let sources = ids.text_of(SOURCES)?;
        let sources = sources.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().ok());
        let pairs = row.get("other_config")?.as_map()?;
        let text = |atom: &Atom| atom.as_str().map(str::to_owned);
        Some(Queue {
            slice,
            dscp: ids.text_of(MARK)?.parse().ok()?,
            sources: sources.collect::<Option<_>>()?,
            rates: pairs.iter().map(|(key, value)| Some((text(key)?, text(value)?))).collect::<Option<_>>()?,
        })
    }
}

fn rates(guarantee: BitsPerSecond, ceiling: BitsPerSecond, rank: u8) -> BTreeMap<String, String> {
    // Four frames and a millisecond: what a class could have sent while the machine was late is lost otherwise.
    let burst = |rate: BitsPerSecond| rate.0 / 1000 + u64::from(4 * FRAME_BYTES) * 8;
    [("min-rate", guarantee.0), ("max-rate", ceiling.0), ("priority", u64::from(rank)), ("burst", burst(ceiling))]
        .map(|(key, value)| (key.to_owned(), value.to_string()))
        .into()
}

impl Mark {
    fn ids(&self) -> BTreeMap<String, String> {
        [(OWNER.to_owned(), self.owner.clone()), (LINK.to_owned(), self.link())].into()
    }

    fn link(&self) -> String {
        format!("{}/{}", self.bridge, self.port)
    }

    fn is_on(&self, row: &Row) -> bool {
        let ids = row.get("external_ids");
        let text = |key: &str| ids.and_then(|ids| ids.text_of(key));
        text(OWNER) == Some(self.owner.as_str()) && text(LINK) == Some(self.link().as_str())
    }

    /// Reads all that there is to know, at one moment.
    pub(super) fn selection(&self) -> Vec<Operation> {
        let all = |table: &str, columns: &[&str]| Operation::select_columns(table, Vec::new(), columns);
        vec![
            all("Bridge", &["name", "ports", "datapath_type"]),
            all("Port", &["_uuid", "name", "interfaces", "qos", "external_ids"]),
            all("Interface", &["_uuid", "name", "ofport"]),
            all("QoS", &["_uuid", "type", "queues", "other_config", "external_ids"]),
            Operation::select_columns(
                "Queue",
                vec![Condition::includes("external_ids", Datum::map(self.ids()))],
                &["_uuid", "other_config", "external_ids"],
            ),
        ]
    }

    /// What was selected; `None` when there is no such bridge, or no such port on it.
    pub(super) fn rows(&self, outcomes: &[Outcome]) -> Rows {
        let rows = |at: usize| outcomes.get(at).map_or(&[][..], Outcome::rows);
        let text = |row: &Row, column: &str| row.text(column).unwrap_or_default().to_owned();
        let mut found = Rows { bridges: rows(0).iter().map(|row| text(row, "name")).collect(), ..Rows::default() };
        let bridge = rows(0).iter().find(|row| row.text("name") == Some(&self.bridge));
        let Some(bridge) = bridge else { return found };
        found.of_kernel = matches!(bridge.text("datapath_type").unwrap_or_default(), "" | "system");
        let uuids = |row: &Row, column: &str| -> BTreeSet<Uuid> {
            let set = row.get(column).and_then(Datum::as_set);
            set.into_iter().flatten().filter_map(Atom::as_uuid).collect()
        };
        let of_bridge = uuids(bridge, "ports");
        let number_of: BTreeMap<Uuid, Option<u32>> = rows(2)
            .iter()
            .filter_map(|row| Some((row.uuid("_uuid")?, row.integer("ofport").and_then(|n| u32::try_from(n).ok()))))
            .collect();
        let mut qos = None;
        let mut in_use = BTreeSet::new();
        for row in rows(1) {
            in_use.extend(row.uuid("qos"));
            let Some(uuid) = row.uuid("_uuid").filter(|uuid| of_bridge.contains(uuid)) else { continue };
            let interfaces = uuids(row, "interfaces");
            let number = interfaces.iter().next().and_then(|uuid| number_of.get(uuid).copied().flatten());
            found.ports.insert(text(row, "name"), number.filter(|number| *number > 0));
            if row.text("name") == Some(&self.port) {
                found.port = uuid;
                qos = row.uuid("qos");
                let ids = row.get("external_ids");
                found.queue_length = ids.and_then(|ids| ids.text_of(QUEUE_LENGTH)).and_then(|text| text.parse().ok());
            }
        }
        for row in rows(3) {
            let Some(uuid) = row.uuid("_uuid") else { continue };
            if Some(uuid) == qos {
                found.qos = Some(Qos::read(uuid, row, self));
            } else if self.is_on(row) && !in_use.contains(&uuid) {
                found.orphans.push(uuid);
            }
        }
        let read = |row: &Row| Some((row.uuid("_uuid")?, Queue::read(row).unwrap_or(Queue::DAMAGED)));
        found.queues = rows(4).iter().filter_map(read).collect();
        found
    }

    /// Operations that may only be done while the port's QoS is what it was when looked at.
    fn guarded(&self, rows: &Rows) -> Vec<Operation> {
        let qos = Datum::set(rows.qos.as_ref().map(|qos| qos.uuid));
        let mut operations = vec![Operation::Wait {
            table: "Port".to_owned(),
            filter: vec![Condition::row(rows.port)],
            columns: vec!["qos".to_owned()],
            until: Until::Equal,
            rows: vec![Row::new().with("qos", qos)],
            timeout: Some(std::time::Duration::ZERO),
        }];
        if let Some(qos) = rows.qos.as_ref().filter(|qos| qos.is_ours) {
            let mut ids = self.ids();
            ids.extend(qos.generation.map(|generation| (GENERATION.to_owned(), generation.to_string())));
            operations.push(Operation::Wait {
                table: "QoS".to_owned(),
                filter: vec![Condition::row(qos.uuid)],
                columns: vec!["external_ids".to_owned()],
                until: Until::Equal,
                rows: vec![Row::new().with("external_ids", Datum::map(ids))],
                timeout: Some(std::time::Duration::ZERO),
            });
        }
        operations
    }

    /// Asks the switch to say when it has done it: `next_cfg`, which `cur_cfg` will reach.
    fn numbered(mut operations: Vec<Operation>) -> Vec<Operation> {
        let add = Mutation::new("next_cfg", Mutator::Add, 1i64);
        operations.push(Operation::mutate(DATABASE, Vec::new(), vec![add]));
        operations.push(Operation::select_columns(DATABASE, Vec::new(), &["next_cfg", "cur_cfg"]));
        operations
    }

    /// Notes on the port what its queue length was, or forgets it.
    pub(super) fn note_queue_length(&self, rows: &Rows, length: Option<u32>) -> Vec<Operation> {
        let forget = Mutation::new("external_ids", Mutator::Delete, Datum::set([QUEUE_LENGTH]));
        let mut mutations = vec![forget];
        mutations.extend(length.map(|length| {
            Mutation::new("external_ids", Mutator::Insert, Datum::map([(QUEUE_LENGTH, length.to_string())]))
        }));
        let mut operations = self.guarded(rows);
        operations.push(Operation::mutate("Port", vec![Condition::row(rows.port)], mutations));
        operations
    }

    /// Takes the QoS row off the port, and leaves the rows.
    pub(super) fn detach(&self, rows: &Rows) -> Vec<Operation> {
        let mut operations = self.guarded(rows);
        let nothing = Row::new().with("qos", Datum::empty());
        operations.push(Operation::update("Port", vec![Condition::row(rows.port)], nothing));
        Self::numbered(operations)
    }

    /// Writes queues and the QoS row, and puts it on the port. Queues that are not wanted stay, unless `and_remove`.
    pub(super) fn write(
        &self,
        rows: &Rows,
        wanted: &BTreeMap<i64, Queue>,
        capacity: BitsPerSecond,
        generation: Generation,
        and_remove: bool,
    ) -> Vec<Operation> {
        let mut operations = self.guarded(rows);
        let ours = rows.qos.as_ref().filter(|qos| qos.is_ours);
        let standing = ours.map(|qos| qos.queues.clone()).unwrap_or_default();
        let mut queues: BTreeMap<Atom, Atom> = BTreeMap::new();
        if !and_remove {
            let known = standing.iter().filter(|(_, uuid)| rows.queues.contains_key(uuid));
            queues.extend(known.map(|(number, uuid)| (Atom::from(*number), Atom::from(*uuid))));
        }
        for (number, queue) in wanted {
            let known = standing.get(number).filter(|uuid| rows.queues.contains_key(uuid));
            let name = match known {
                Some(uuid) => {
                    if rows.queues[uuid] != *queue {
                        let filter = vec![Condition::row(*uuid)];
                        operations.push(Operation::update("Queue", filter, queue.row(self)));
                    }
                    Atom::from(*uuid)
                }
                None => {
                    let name = format!("q{number}");
                    operations.push(Operation::insert_named("Queue", name.clone(), queue.row(self)));
                    Atom::named(name)
                }
            };
            queues.insert(Atom::from(*number), name);
        }
        if and_remove {
            let used: BTreeSet<Uuid> = queues.values().filter_map(Atom::as_uuid).collect();
            for uuid in rows.queues.keys().filter(|uuid| !used.contains(uuid)) {
                operations.push(Operation::delete("Queue", vec![Condition::row(*uuid)]));
            }
            for uuid in &rows.orphans {
                operations.push(Operation::delete("QoS", vec![Condition::row(*uuid)]));
            }
        }
        let mut ids = self.ids();
        ids.insert(GENERATION.to_owned(), generation.to_string());
        let row = Row::new()
            .with("type", "linux-htb")
            .with("other_config", Datum::map([("max-rate", capacity.0.to_string())]))
            .with("queues", Datum::Map(queues))
            .with("external_ids", Datum::map(ids));
        match ours {
            Some(qos) => operations.push(Operation::update("QoS", vec![Condition::row(qos.uuid)], row)),
            None => {
                operations.push(Operation::insert_named("QoS", "qos", row));
                let on = Row::new().with("qos", Datum::set([Atom::named("qos")]));
                operations.push(Operation::update("Port", vec![Condition::row(rows.port)], on));
            }
        }
        Self::numbered(operations)
    }

    /// Removes every row of ours.
    pub(super) fn remove(&self, rows: &Rows) -> Vec<Operation> {
        let mut operations = self.guarded(rows);
        if let Some(qos) = rows.qos.as_ref().filter(|qos| qos.is_ours) {
            let nothing = Row::new().with("qos", Datum::empty());
            operations.push(Operation::update("Port", vec![Condition::row(rows.port)], nothing));
            operations.push(Operation::delete("QoS", vec![Condition::row(qos.uuid)]));
        }
        for uuid in &rows.orphans {
            operations.push(Operation::delete("QoS", vec![Condition::row(*uuid)]));
        }
        for uuid in rows.queues.keys() {
            operations.push(Operation::delete("Queue", vec![Condition::row(*uuid)]));
        }
        Self::numbered(operations)
    }
}

impl Qos {
    fn read(uuid: Uuid, row: &Row, mark: &Mark) -> Qos {
        let number = |column: &str, key: &str| row.get(column)?.text_of(key)?.parse::<u64>().ok();
        let queues = row.get("queues").and_then(Datum::as_map);
        Qos {
            uuid,
            is_ours: mark.is_on(row),
            is_htb: row.text("type") == Some("linux-htb"),
            capacity: number("other_config", "max-rate"),
            generation: number("external_ids", GENERATION).map(Generation),
            queues: queues
                .into_iter()
                .flatten()
                .filter_map(|(number, uuid)| Some((number.as_integer()?, uuid.as_uuid()?)))
                .collect(),
        }
    }
}

impl Queue {
    /// A row of ours that says nothing that can be understood.
    const DAMAGED: Queue = Queue { slice: None, dscp: 255, sources: BTreeSet::new(), rates: BTreeMap::new() };
}
