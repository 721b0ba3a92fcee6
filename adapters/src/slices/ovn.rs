//! OVN: slices of a logical switch, on every hypervisor that has ports of it, through the northbound database.
//!
//! For each slice a QoS row holds what its members send to its ceiling and marks it (a meter on each hypervisor: what is
//! above is dropped, not queued), and an ACL row keeps other slices' ports from its own; ports are kept to their addresses
//! by `port_security` (ovn-nb(5)). Nothing here guarantees a rate: a plan that asks for one is refused.
//!
//! A change is one transaction. It is done when every hypervisor says so (`hv_cfg` reaches `nb_cfg`): applied, and not read
//! back from where packets pass.

mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use forebay_world::{Capabilities, Generation, SliceId};
use uuid::Uuid;

use super::{Applied, Counters, Enforced, Gate, LinkSlices, Port, SliceError, SliceExecutor, SliceView, Standing};
use crate::ovsdb::{Atom, Condition, Datum, Endpoint, Mutation, Mutator, Operation, Row, Until};
use crate::prefix::Prefix;
pub use view::OvnView;
use view::{GENERATION, OWNER, SLICE, Seen, security};

const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Slices of one logical switch.
pub struct OvnExecutor {
    view: OvnView,
}

impl OvnExecutor {
    /// Connects to the northbound database.
    ///
    /// # Errors
    /// [`SliceError::Ovsdb`] when it cannot be reached, [`SliceError::Unknown`] when there is no such logical switch.
    pub fn connect(endpoint: &Endpoint, switch: &str, owner: &str) -> Result<Self, SliceError> {
        OvnView::connect(endpoint, switch, owner).map(|view| OvnExecutor { view })
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
            self.view.database.assertion(),
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
        let outcomes = self.view.database.transact(operations)?;
        let number = outcomes.last().and_then(|last| last.rows().first()?.integer("nb_cfg")).unwrap_or(0);
        self.acknowledged(number)
    }

    /// Waits until every hypervisor has done what is in the database.
    fn all_acknowledged(&mut self) -> Result<(), SliceError> {
        let select = Operation::select_columns("NB_Global", Vec::new(), &["nb_cfg"]);
        let seen = self.view.database.transact(vec![select])?;
        let number = seen.first().and_then(|outcome| outcome.rows().first()?.integer("nb_cfg")).unwrap_or(0);
        self.acknowledged(number)
    }

    fn acknowledged(&mut self, number: i64) -> Result<(), SliceError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let select = Operation::select_columns("NB_Global", Vec::new(), &["hv_cfg"]);
            let seen = self.view.database.transact(vec![select])?;
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
                    let keep = self.view.ids([(SLICE, port.slice.0.to_string())]);
                    let remember = Mutation::new("external_ids", Mutator::Insert, keep);
                    let mut columns = Row::new().with("port_security", Datum::set(security(port)));
                    if !stands.enabled {
                        columns.insert("enabled", true);
                    }
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
            let ids = self.view.ids([(GENERATION, generation.to_string())]);
            Mutation::new("external_ids", Mutator::Insert, ids)
        }));
        Operation::mutate("Logical_Switch", vec![Condition::row(seen.switch)], mutations)
    }

    /// Refuses networks of two slices that overlap: whose rule counts is undefined then (ovn-nb(5)).
    fn check_overlap(&self, slices: &BTreeMap<SliceId, Enforced>) -> Result<(), SliceError> {
        let all = || slices.iter().flat_map(|(id, slice)| slice.sources.iter().map(|source| (*id, *source)));
        let within = |inner: Prefix, outer: Prefix| {
            outer.length() <= inner.length()
                && outer.address().is_ipv4() == inner.address().is_ipv4()
                && outer.contains(inner.address())
        };
        for (id, inner) in all() {
            if let Some((other, outer)) = all().find(|(other, outer)| *other != id && within(inner, *outer)) {
                let what =
                    format!("{inner} of slice {id} lies in {outer} of slice {other}; OVN cannot tell them apart");
                return Err(SliceError::Contradiction { what });
            }
        }
        Ok(())
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
        let foreign_owner = seen.ids.text_of(OWNER).filter(|owner| *owner != self.view.owner);
        match foreign_owner {
            Some(owner) => Err(SliceError::Foreign {
                link: self.link(),
                what: format!("the switch, which is of {owner},"),
                hint: "one owner to a switch",
            }),
            None => Ok(()),
        }
    }
}

impl SliceView for OvnExecutor {
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

impl SliceExecutor for OvnExecutor {
    fn apply(&mut self, wanted: &LinkSlices, gate: &mut Gate) -> Result<Applied, SliceError> {
        let capabilities = self.capabilities();
        let slices = wanted.enforced(&capabilities)?;
        self.view.database.own()?;
        let seen = self.view.look()?;
        self.check(&seen, wanted)?;
        self.check_overlap(&slices)?;
        let standing = self.view.standing(&seen);
        if let Some(newer) = standing.generation.filter(|standing| *standing > wanted.generation) {
            return Err(SliceError::Stale { link: self.link(), given: wanted.generation, standing: newer });
        }
        let acknowledgement = capabilities.acknowledgement;
        if standing.generation.is_some() && wanted.differences(&capabilities, &standing)?.is_empty() {
            if standing.generation != Some(wanted.generation) {
                // Plans before this one are stale from now on.
                let number = vec![self.number(&seen, Some(wanted.generation))];
                self.write(&seen, number, "generation", gate)?;
                return Ok(Applied { writes: 1, acknowledgement });
            }
            // What stands in the database may not have come to the hypervisors when we died.
            self.all_acknowledged()?;
            return Ok(Applied { writes: 0, acknowledgement });
        }
        let qos: Vec<Row> = slices.iter().map(|(id, slice)| self.view.qos(*id, slice)).collect();
        let mut changes = vec![self.number(&seen, Some(wanted.generation))];
        changes.extend(Self::replace(&seen, "QoS", "qos_rules", &seen.qos, &qos));
        changes.extend(Self::replace(&seen, "ACL", "acls", &seen.acls, &self.view.acls(&wanted.ports)));
        changes.extend(self.guard_ports(&seen, &wanted.ports));
        self.write(&seen, changes, &format!("{} slices, generation {}", slices.len(), wanted.generation), gate)?;
        let differences = wanted.differences(&capabilities, &self.read()?)?;
        if !differences.is_empty() {
            return Err(SliceError::NotVerified { link: self.link(), differences });
        }
        Ok(Applied { writes: 1, acknowledgement })
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SliceError> {
        self.view.database.own()?;
        let seen = self.view.look()?;
        let acknowledgement = self.capabilities().acknowledgement;
        if self.view.standing(&seen).is_empty() && !seen.ours {
            self.all_acknowledged()?;
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
}
