//! What looks at OVN's northbound database.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use forebay_world::{Acknowledgement, BitsPerSecond, Capabilities, Generation, SliceId};
use uuid::Uuid;

use crate::ovsdb::{Atom, Condition, Datum, Endpoint, Operation, Row};
use crate::prefix::Prefix;
use crate::slices::database::Database;
use crate::slices::{Counters, Enforced, MacAddress, Port, SliceError, SliceView, Standing, StandingPort};

const DATABASE: &str = "OVN_Northbound";
pub(super) const OWNER: &str = "forebay-owner";
pub(super) const GENERATION: &str = "forebay-generation";
pub(super) const SLICE: &str = "forebay-slice";
const CEILING: &str = "forebay-ceiling";
const MARK: &str = "forebay-dscp";
const SOURCES: &str = "forebay-sources";
const QOS_COLUMNS: [&str; 6] = ["priority", "direction", "match", "action", "bandwidth", "external_ids"];
const ACL_COLUMNS: [&str; 5] = ["priority", "direction", "match", "action", "external_ids"];
/// Above what people give by themselves, below what they give on purpose.
const PRIORITY: i64 = 20_000;

/// Sees the slices of one logical switch, without a lock. A connection that the database's access control lets read only
/// is enough.
pub struct OvnView {
    pub(super) database: Database,
    switch: String,
    pub(super) owner: String,
}

/// What the northbound database says of the switch.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) switch: Uuid,
    /// `external_ids` of the switch, all of them.
    pub(super) ids: Datum,
    pub(super) generation: Option<Generation>,
    pub(super) ours: bool,
    /// QoS and ACL rows of ours, with the columns that we write.
    pub(super) qos: BTreeMap<Uuid, Row>,
    pub(super) acls: BTreeMap<Uuid, Row>,
    pub(super) ports: BTreeMap<String, LogicalPort>,
}

/// A port of the logical switch.
#[derive(Debug)]
pub(super) struct LogicalPort {
    pub(super) uuid: Uuid,
    /// Our slice, where it bears our mark.
    pub(super) slice: Option<SliceId>,
    pub(super) security: BTreeSet<String>,
    pub(super) enabled: bool,
}

impl OvnView {
    /// Connects to the northbound database.
    ///
    /// # Errors
    /// [`SliceError::Ovsdb`] when it cannot be reached, [`SliceError::Unknown`] when there is no such logical switch.
    pub fn connect(endpoint: &Endpoint, switch: &str, owner: &str) -> Result<Self, SliceError> {
        let database = Database::connect(endpoint, DATABASE, &format!("logical switch {switch}"))?;
        let mut view = OvnView { database, switch: switch.to_owned(), owner: owner.to_owned() };
        view.look()?;
        Ok(view)
    }

    pub(super) fn look(&mut self) -> Result<Seen, SliceError> {
        self.database.refresh()?;
        let all = |table: &str, columns: &[&str]| Operation::select_columns(table, Vec::new(), columns);
        let with_uuid = |columns: &[&'static str]| [&["_uuid"], columns].concat();
        let ours = Condition::includes("external_ids", Datum::map([(OWNER, self.owner.as_str())]));
        let outcomes = self.database.select(vec![
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

    pub(super) fn ids(&self, more: impl IntoIterator<Item = (&'static str, String)>) -> Datum {
        Datum::map(more.into_iter().chain([(OWNER, self.owner.clone())]))
    }

    /// The QoS row of a slice.
    pub(super) fn qos(&self, id: SliceId, slice: &Enforced) -> Row {
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
    pub(super) fn acls(&self, ports: &BTreeMap<String, Port>) -> Vec<Row> {
        let slices: BTreeSet<SliceId> = ports.values().map(|port| port.slice).collect();
        let names = |inside: bool, slice: SliceId| {
            let of = ports.iter().filter(|(_, port)| (port.slice == slice) == inside);
            of.map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(", ")
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

    pub(super) fn standing(&self, seen: &Seen) -> Standing {
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

impl SliceView for OvnView {
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

    fn counters(&mut self) -> Result<BTreeMap<SliceId, Counters>, SliceError> {
        Ok(BTreeMap::new())
    }
}

/// A string as OVN's matches have it, which is JSON's.
fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
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
pub(super) fn security(port: &Port) -> BTreeSet<String> {
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
