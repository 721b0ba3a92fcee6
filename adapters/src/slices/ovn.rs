//! OVN: slices of a logical switch, on every hypervisor that has ports of it, through the northbound database.
//!
//! For each slice a QoS row holds what its members send to its ceiling and marks it (a meter on each hypervisor: what is
//! above is dropped, not queued), and an ACL row keeps other slices' ports from its own; ports are kept to their addresses
//! by `port_security` (ovn-nb(5)). Nothing here guarantees a rate: a plan that asks for one is refused.
//!
//! A change is one transaction. It is done when every hypervisor says so (`hv_cfg` reaches `nb_cfg`): applied, and not read
//! back from where packets pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use forebay_world::{Acknowledgement, BitsPerSecond, Capabilities, Generation, SliceId};
use uuid::Uuid;

use super::database::Database;
use super::{
    Applied, Counters, Enforced, Gate, LinkSlices, MacAddress, Port, SliceError, SliceExecutor, Standing, StandingPort,
};
use crate::ovsdb::{Atom, Condition, Datum, Endpoint, Mutation, Mutator, Operation, Row, Until};
use crate::prefix::Prefix;

const DATABASE: &str = "OVN_Northbound";
const OWNER: &str = "forebay-owner";
const GENERATION: &str = "forebay-generation";
const SLICE: &str = "forebay-slice";
const CEILING: &str = "forebay-ceiling";
const MARK: &str = "forebay-dscp";
const SOURCES: &str = "forebay-sources";
const QOS_COLUMNS: [&str; 6] = ["priority", "direction", "match", "action", "bandwidth", "external_ids"];
const ACL_COLUMNS: [&str; 5] = ["priority", "direction", "match", "action", "external_ids"];
/// Above what people give by themselves, below what they give on purpose.
const PRIORITY: i64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Slices of one logical switch.
pub struct OvnExecutor {
    database: Database,
    switch: String,
    owner: String,
}

/// What the northbound database says of the switch.
#[derive(Debug)]
struct Seen {
    switch: Uuid,
    /// `external_ids` of the switch, all of them.
    ids: Datum,
    generation: Option<Generation>,
    ours: bool,
    /// QoS and ACL rows of ours, with the columns that we write.
    qos: BTreeMap<Uuid, Row>,
    acls: BTreeMap<Uuid, Row>,
    ports: BTreeMap<String, LogicalPort>,
}

/// A port of the logical switch.
#[derive(Debug)]
struct LogicalPort {
    uuid: Uuid,
    /// Our slice, where it bears our mark.
    slice: Option<SliceId>,
    security: BTreeSet<String>,
    enabled: bool,
}

impl OvnExecutor {
    /// Connects to the northbound database.
    ///
    /// # Errors
    /// [`SliceError::Ovsdb`] when it cannot be reached, [`SliceError::Unknown`] when there is no such logical switch.
    pub fn connect(endpoint: &Endpoint, switch: &str, owner: &str) -> Result<Self, SliceError> {
        let database = Database::connect(endpoint, DATABASE, &format!("logical switch {switch}"))?;
        let mut executor = OvnExecutor { database, switch: switch.to_owned(), owner: owner.to_owned() };
        executor.look()?;
        Ok(executor)
    }

    fn look(&mut self) -> Result<Seen, SliceError> {
        self.database.refresh()?;
        let all = |table: &str, columns: &[&str]| Operation::select_columns(table, Vec::new(), columns);
        let with_uuid = |columns: &[&'static str]| [&["_uuid"], columns].concat();
        let ours = Condition::includes("external_ids", Datum::map([(OWNER, self.owner.as_str())]));
        let outcomes = self.database.transact(vec![
            all("Logical_Switch", &["_uuid", "name", "ports", "qos_rules", "acls", "external_ids"]),
            all("Logical_Switch_Port", &["_uuid", "name", "port_security", "enabled", "external_ids"]),
            Operation::select_columns("QoS", vec![ours.clone()], &with_uuid(&QOS_COLUMNS)),
            Operation::select_columns("ACL", vec![ours], &with_uuid(&ACL_COLUMNS)),
        ])?;
        let rows = |at: usize| outcomes.get(at).map_or(&[][..], |outcome| outcome.rows());
        let Some(switch) = rows(0).iter().find(|row| row.text("name") == Some(&self.switch)) else {
            let known = rows(0).iter().filter_map(|row| row.text("name")).map(str::to_owned).collect();
            return Err(SliceError::Unknown { kind: "logical switch", name: self.switch.clone(), known });
        };
        let uuids = |column: &str| -> BTreeSet<Uuid> {
            let set = switch.get(column).and_then(Datum::as_set);
            set.into_iter().flatten().filter_map(Atom::as_uuid).collect()
        };
        let (ports, qos_rules, acls) = (uuids("ports"), uuids("qos_rules"), uuids("acls"));
        let of = |rows: &[Row], on: &BTreeSet<Uuid>, columns: &[&str]| -> BTreeMap<Uuid, Row> {
            let of_switch = |row: &&Row| row.uuid("_uuid").is_some_and(|uuid| on.contains(&uuid));
            rows.iter().filter(of_switch).filter_map(|row| Some((row.uuid("_uuid")?, part(row, columns)))).collect()
        };
        let ids = switch.get("external_ids").cloned().unwrap_or_else(Datum::empty);
        let seen_ports = rows(1).iter().filter_map(|row| {
            let uuid = row.uuid("_uuid").filter(|uuid| ports.contains(uuid))?;
            Some((row.text("name")?.to_owned(), LogicalPort::read(uuid, row, &self.owner)))
        });
        let is_ours = ids.text_of(OWNER) == Some(self.owner.as_str());
        let generation = ids.text_of(GENERATION).filter(|_| is_ours).and_then(|text| text.parse().ok());
        Ok(Seen {
            switch: switch.uuid("_uuid").unwrap_or_default(),
            generation: generation.map(Generation),
            ours: is_ours,
            qos: of(rows(2), &qos_rules, &QOS_COLUMNS),
            acls: of(rows(3), &acls, &ACL_COLUMNS),
            ports: seen_ports.collect(),
            ids,
        })
    }

    /// One transaction, seen through to every hypervisor.
    fn write(
        &mut self,
        seen: &Seen,
        mut changes: Vec<Operation>,
        what: &str,
        gate: &mut Gate,
    ) -> Result<(), SliceError> {
        gate.pass(what)?;
        let mut operations = vec![
            self.database.assertion(),
            Operation::Wait {
                table: "Logical_Switch".to_owned(),
                filter: vec![Condition::row(seen.switch)],
                columns: vec!["external_ids".to_owned()],
                until: Until::Equal,
                rows: vec![Row::new().with("external_ids", seen.ids.clone())],
                timeout: Some(Duration::ZERO),
            },
        ];
        operations.append(&mut changes);
        operations.push(Operation::mutate("NB_Global", Vec::new(), vec![Mutation::new("nb_cfg", Mutator::Add, 1i64)]));
        operations.push(Operation::select_columns("NB_Global", Vec::new(), &["nb_cfg"]));
        let outcomes = self.database.transact(operations)?;
        let number = outcomes.last().and_then(|last| last.rows().first()?.integer("nb_cfg")).unwrap_or(0);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let select = Operation::select_columns("NB_Global", Vec::new(), &["hv_cfg"]);
            let seen = self.database.transact(vec![select])?;
            let done = seen.first().and_then(|outcome| outcome.rows().first()?.integer("hv_cfg"));
            if done.is_some_and(|done| done >= number) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let what = "not every hypervisor has done it in time; are ovn-northd and all ovn-controllers there?";
                return Err(SliceError::NotVerified { link: self.link(), differences: vec![what.to_owned()] });
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn ids(&self, more: impl IntoIterator<Item = (&'static str, String)>) -> Datum {
        Datum::map(more.into_iter().chain([(OWNER, self.owner.clone())]))
    }

    /// The QoS row of a slice.
    fn qos(&self, id: SliceId, slice: &Enforced) -> Row {
        let kbit = (slice.ceiling.0 / 1000).clamp(1, u64::from(u32::MAX)) as i64;
        // A tenth of a second, as ovn-nbctl's manual has it for what TCP needs.
        let bandwidth = Datum::map([("rate", kbit), ("burst", (kbit / 10).max(12))]);
        let action = (slice.dscp > 0).then_some(("dscp", i64::from(slice.dscp)));
        let sources: Vec<String> = slice.sources.iter().map(Prefix::to_string).collect();
        Row::new()
            .with("priority", PRIORITY)
            .with("direction", "from-lport")
            .with("match", from(&slice.sources))
            .with("action", Datum::map(action))
            .with("bandwidth", bandwidth)
            .with(
                "external_ids",
                self.ids([
                    (SLICE, id.0.to_string()),
                    (CEILING, slice.ceiling.0.to_string()),
                    (MARK, slice.dscp.to_string()),
                    (SOURCES, sources.join(",")),
                ]),
            )
    }

    /// ACL rows that keep the ports of slices from each other.
    fn acls(&self, ports: &BTreeMap<String, Port>) -> Vec<Row> {
        let slices: BTreeSet<SliceId> = ports.values().map(|port| port.slice).collect();
        let names = |inside: bool, slice: SliceId| {
            let of = ports.iter().filter(|(_, port)| (port.slice == slice) == inside);
            of.map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        };
        let separated = slices.iter().filter(|_| slices.len() > 1);
        separated
            .map(|slice| {
                let matching =
                    format!("outport == {{{}}} && inport == {{{}}}", names(true, *slice), names(false, *slice));
                Row::new()
                    .with("priority", PRIORITY)
                    .with("direction", "to-lport")
                    .with("match", matching)
                    .with("action", "drop")
                    .with("external_ids", self.ids([(SLICE, slice.0.to_string())]))
            })
            .collect()
    }

    /// Operations that make rows of a table stand on the switch in the place of those that do.
    fn replace(
        seen: &Seen,
        table: &str,
        column: &str,
        standing: &BTreeMap<Uuid, Row>,
        wanted: &[Row],
    ) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut kept: BTreeSet<Uuid> = BTreeSet::new();
        let mut added: Vec<Atom> = Vec::new();
        for (at, row) in wanted.iter().enumerate() {
            let same = standing.iter().find(|(uuid, stands)| !kept.contains(*uuid) && *stands == row);
            if let Some((uuid, _)) = same {
                kept.insert(*uuid);
            } else {
                let name = format!("{}{at}", table.to_lowercase());
                operations.push(Operation::insert_named(table, name.clone(), row.clone()));
                added.push(Atom::named(name));
            }
        }
        // Rows that no switch refers to go by themselves.
        let gone: Vec<Uuid> = standing.keys().filter(|uuid| !kept.contains(*uuid)).copied().collect();
        let mut mutations = Vec::new();
        if !gone.is_empty() {
            mutations.push(Mutation::new(column, Mutator::Delete, Datum::set(gone)));
        }
        if !added.is_empty() {
            mutations.push(Mutation::new(column, Mutator::Insert, Datum::set(added)));
        }
        if !mutations.is_empty() {
            operations.push(Operation::mutate("Logical_Switch", vec![Condition::row(seen.switch)], mutations));
        }
        operations
    }

    fn guard_ports(&self, seen: &Seen, wanted: &BTreeMap<String, Port>) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (name, stands) in &seen.ports {
            let row = vec![Condition::row(stands.uuid)];
            let forget = Mutation::new("external_ids", Mutator::Delete, Datum::set([OWNER, SLICE]));
            match wanted.get(name) {
                Some(port)
                    if stands.slice == Some(port.slice) && stands.security == security(port) && stands.enabled => {}
                Some(port) => {
                    let keep = self.ids([(SLICE, port.slice.0.to_string())]);
                    let remember = Mutation::new("external_ids", Mutator::Insert, keep);
                    let columns = Row::new().with("port_security", Datum::set(security(port))).with("enabled", true);
                    operations.push(Operation::update("Logical_Switch_Port", row.clone(), columns));
                    operations.push(Operation::mutate("Logical_Switch_Port", row, vec![forget, remember]));
                }
                None if stands.slice.is_some() => {
                    let columns = Row::new().with("port_security", Datum::empty());
                    operations.push(Operation::update("Logical_Switch_Port", row.clone(), columns));
                    operations.push(Operation::mutate("Logical_Switch_Port", row, vec![forget]));
                }
                None => {}
            }
        }
        operations
    }

    fn number(&self, seen: &Seen, generation: Option<Generation>) -> Operation {
        let forget = Mutation::new("external_ids", Mutator::Delete, Datum::set([OWNER, GENERATION]));
        let mut mutations = vec![forget];
        mutations.extend(generation.map(|generation| {
            let ids = self.ids([(GENERATION, generation.to_string())]);
            Mutation::new("external_ids", Mutator::Insert, ids)
        }));
        Operation::mutate("Logical_Switch", vec![Condition::row(seen.switch)], mutations)
    }

    /// Refuses ports that are not there, and those whose security is somebody else's affair.
    fn check(&self, seen: &Seen, wanted: &LinkSlices) -> Result<(), SliceError> {
        for name in wanted.ports.keys() {
            let Some(port) = seen.ports.get(name) else {
                let known = seen.ports.keys().cloned().collect();
                return Err(SliceError::Unknown { kind: "logical port", name: name.clone(), known });
            };
            if port.slice.is_none() && !port.security.is_empty() {
                return Err(SliceError::Foreign {
                    link: self.link(),
                    what: format!("the port security of {name}"),
                    hint: "clear it if nobody needs it: ovn-nbctl lsp-set-port-security NAME",
                });
            }
        }
        let foreign_owner = seen.ids.text_of(OWNER).filter(|owner| *owner != self.owner);
        match foreign_owner {
            Some(owner) => Err(SliceError::Foreign {
                link: self.link(),
                what: format!("the switch, which is of {owner},"),
                hint: "one owner to a switch",
            }),
            None => Ok(()),
        }
    }

    fn standing(&self, seen: &Seen) -> Standing {
        let mut standing = Standing { generation: seen.generation, ..Standing::default() };
        for row in seen.qos.values() {
            let told = slice_of(row);
            match told {
                Some((id, slice)) if self.qos(id, &slice) == *row && !standing.slices.contains_key(&id) => {
                    standing.slices.insert(id, slice);
                }
                _ => standing.strays.push(format!("a QoS row that says {:?}", row.text("match").unwrap_or(""))),
            }
        }
        for (name, port) in &seen.ports {
            let Some(slice) = port.slice else { continue };
            match secured(slice, &port.security) {
                Some(told) => {
                    standing.ports.insert(name.clone(), StandingPort { port: told, up: port.enabled });
                }
                None => standing.strays.push(format!("port {name} with a security that is not ours")),
            }
        }
        let ports: BTreeMap<String, Port> =
            standing.ports.iter().map(|(name, stands)| (name.clone(), stands.port.clone())).collect();
        let mut acls = self.acls(&ports);
        for row in seen.acls.values() {
            match acls.iter().position(|wanted| wanted == row) {
                Some(at) => drop(acls.swap_remove(at)),
                None => standing.strays.push(format!("an ACL row that says {:?}", row.text("match").unwrap_or(""))),
            }
        }
        standing.strays.extend(acls.iter().map(|_| "slices that see each other".to_owned()));
        standing
    }
}

fn part(row: &Row, columns: &[&str]) -> Row {
    let pairs = columns.iter().filter_map(|column| Some((*column, row.get(column)?.clone())));
    pairs.fold(Row::new(), |part, (column, datum)| part.with(column, datum))
}

/// The match of packets from networks.
fn from(sources: &BTreeSet<Prefix>) -> String {
    let of = |v4: bool| {
        let family = sources.iter().filter(|source| source.address().is_ipv4() == v4);
        let texts: Vec<String> = family.map(Prefix::to_string).collect();
        let field = if v4 { "ip4.src" } else { "ip6.src" };
        (!texts.is_empty()).then(|| format!("{field} == {{{}}}", texts.join(", ")))
    };
    let both: Vec<String> = [of(true), of(false)].into_iter().flatten().collect();
    // A slice with nobody in it matches nothing.
    if both.is_empty() { "0".to_owned() } else { both.join(" || ") }
}

/// Reads a slice from what was noted in its QoS row.
fn slice_of(row: &Row) -> Option<(SliceId, Enforced)> {
    let ids = row.get("external_ids")?;
    let sources = ids.text_of(SOURCES)?.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().ok());
    let slice = Enforced {
        guarantee: BitsPerSecond::ZERO,
        ceiling: BitsPerSecond(ids.text_of(CEILING)?.parse().ok()?),
        rank: 0,
        weight: 0,
        dscp: ids.text_of(MARK)?.parse().ok()?,
        sources: sources.collect::<Option<_>>()?,
    };
    Some((SliceId(ids.text_of(SLICE)?.parse().ok()?), slice))
}

/// The port security of a port: its address on the link layer, and those on the network layer.
fn security(port: &Port) -> BTreeSet<String> {
    let addresses = port.addresses.iter().map(|address| format!(" {address}"));
    BTreeSet::from([format!("{}{}", port.mac, addresses.collect::<String>())])
}

fn secured(slice: SliceId, security: &BTreeSet<String>) -> Option<Port> {
    let mut words = security.iter().next().filter(|_| security.len() == 1)?.split(' ');
    let mac: MacAddress = words.next()?.parse().ok()?;
    let addresses: Option<BTreeSet<IpAddr>> = words.map(|word| word.parse().ok()).collect();
    let port = Port { slice, mac, addresses: addresses? };
    (self::security(&port) == *security).then_some(port)
}

impl LogicalPort {
    fn read(uuid: Uuid, row: &Row, owner: &str) -> LogicalPort {
        let set = row.get("port_security").and_then(Datum::as_set);
        let ids = row.get("external_ids").filter(|ids| ids.text_of(OWNER) == Some(owner));
        // One that bears our mark without a slice is in one that cannot be.
        let slice = |ids: &Datum| SliceId(ids.text_of(SLICE).and_then(|text| text.parse().ok()).unwrap_or(u32::MAX));
        LogicalPort {
            uuid,
            slice: ids.map(slice),
            security: set.into_iter().flatten().filter_map(|atom| atom.as_str().map(str::to_owned)).collect(),
            enabled: row.get("enabled").and_then(Datum::as_boolean).unwrap_or(true),
        }
    }
}

impl SliceExecutor for OvnExecutor {
    fn link(&self) -> String {
        self.database.link().to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            guarantee: false,
            ceiling: true,
            weight: false,
            priority: false,
            dscp: true,
            port_security: true,
            acknowledgement: Acknowledgement::Applied,
            statistics: false,
        }
    }

    fn read(&mut self) -> Result<Standing, SliceError> {
        let seen = self.look()?;
        Ok(self.standing(&seen))
    }

    fn apply(&mut self, wanted: &LinkSlices, gate: &mut Gate) -> Result<Applied, SliceError> {
        let capabilities = self.capabilities();
        let slices = wanted.enforced(&capabilities)?;
        self.database.own()?;
        let seen = self.look()?;
        self.check(&seen, wanted)?;
        let standing = self.standing(&seen);
        if let Some(newer) = standing.generation.filter(|standing| *standing > wanted.generation) {
            return Err(SliceError::Stale { link: self.link(), given: wanted.generation, standing: newer });
        }
        let acknowledgement = capabilities.acknowledgement;
        if standing.generation.is_some() && wanted.differences(&capabilities, &standing)?.is_empty() {
            return Ok(Applied { writes: 0, acknowledgement });
        }
        let qos: Vec<Row> = slices.iter().map(|(id, slice)| self.qos(*id, slice)).collect();
        let mut changes = vec![self.number(&seen, Some(wanted.generation))];
        changes.extend(Self::replace(&seen, "QoS", "qos_rules", &seen.qos, &qos));
        changes.extend(Self::replace(&seen, "ACL", "acls", &seen.acls, &self.acls(&wanted.ports)));
        changes.extend(self.guard_ports(&seen, &wanted.ports));
        self.write(&seen, changes, &format!("{} slices, generation {}", slices.len(), wanted.generation), gate)?;
        let differences = wanted.differences(&capabilities, &self.read()?)?;
        if !differences.is_empty() {
            return Err(SliceError::NotVerified { link: self.link(), differences });
        }
        Ok(Applied { writes: 1, acknowledgement })
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SliceError> {
        self.database.own()?;
        let seen = self.look()?;
        let acknowledgement = self.capabilities().acknowledgement;
        if self.standing(&seen).is_empty() && !seen.ours {
            return Ok(Applied { writes: 0, acknowledgement });
        }
        let mut changes = Self::replace(&seen, "QoS", "qos_rules", &seen.qos, &[]);
        changes.extend(Self::replace(&seen, "ACL", "acls", &seen.acls, &[]));
        changes.extend(self.guard_ports(&seen, &BTreeMap::new()));
        if seen.ours {
            changes.push(self.number(&seen, None));
        }
        self.write(&seen, changes, "all slices away", gate)?;
        let left = self.read()?;
        if !left.is_empty() {
            return Err(SliceError::NotVerified { link: self.link(), differences: vec![format!("{left:?} is left")] });
        }
        Ok(Applied { writes: 1, acknowledgement })
    }

    fn counters(&mut self) -> Result<BTreeMap<SliceId, Counters>, SliceError> {
        Ok(BTreeMap::new())
    }
}
