//! Replicas: the rows that a monitor shows, kept as the server has them by what it tells (RFC 7047 section 4.1.6,
//! ovsdb-server(7) section 4.1.14).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::atom::read_uuid;
use super::condition::Condition;
use super::datum::Datum;
use super::monitor::{Change, Monitor, MonitorId, TableMonitor, table_request};
use super::notation::{NotationError, object};
use super::row::Row;
use super::schema::{ColumnType, Schema};

/// Rows by table and identity, with every column that the monitor asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replica {
    tables: BTreeMap<String, BTreeMap<Uuid, Row>>,
}

impl Replica {
    /// The rows of a table by ascending identity; none for a table that is not monitored.
    pub fn table(&self, table: &str) -> impl Iterator<Item = (Uuid, &Row)> {
        self.tables.get(table).into_iter().flatten().map(|(uuid, row)| (*uuid, row))
    }

    /// A row.
    pub fn row(&self, table: &str, row: Uuid) -> Option<&Row> {
        self.tables.get(table)?.get(&row)
    }

    /// The monitored tables.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Rows in all tables.
    pub fn len(&self) -> usize {
        self.tables.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What differs from another replica of the same monitor.
    pub(super) fn changes_from(&self, old: &Replica, monitor: MonitorId) -> Vec<Change> {
        let names: BTreeSet<&String> = old.tables.keys().chain(self.tables.keys()).collect();
        let mut changes = Vec::new();
        for table in names {
            let nothing = BTreeMap::new();
            let (before, after) =
                (old.tables.get(table).unwrap_or(&nothing), self.tables.get(table).unwrap_or(&nothing));
            for uuid in before.keys().chain(after.keys().filter(|uuid| !before.contains_key(uuid))) {
                let (before, after) = (before.get(uuid), after.get(uuid));
                if before != after {
                    let (before, after) = (before.cloned(), after.cloned());
                    changes.push(Change { monitor, table: table.clone(), row: *uuid, before, after });
                }
            }
        }
        changes
    }
}

/// A monitor in a session: how the server was asked, and what it has told so far.
#[derive(Debug)]
pub(super) struct Monitored {
    pub(super) id: MonitorId,
    pub(super) request: Monitor,
    pub(super) replica: Replica,
    tables: BTreeMap<String, MonitoredTable>,
    /// The server tells rows of all kinds, and whole ones: it knows `monitor` only.
    plain: bool,
}

#[derive(Debug)]
struct MonitoredTable {
    /// What rows show, by name.
    columns: BTreeMap<String, ColumnType>,
    /// What conditions ask about besides.
    asked: BTreeMap<String, ColumnType>,
    filter: Vec<Condition>,
}

impl Monitored {
    /// A monitor as the schema allows it.
    ///
    /// # Errors
    /// The table or the column that the schema does not have.
    pub(super) fn new(id: MonitorId, request: &Monitor, schema: &Schema, plain: bool) -> Result<Monitored, String> {
        let mut tables = BTreeMap::new();
        for (name, TableMonitor { columns, filter }) in &request.tables {
            let table = schema.tables.get(name).ok_or_else(|| format!("table {name}"))?;
            let column = |column: &str| {
                let of = table.column(column).ok_or_else(|| format!("column {column} in table {name}"))?;
                Ok((column.to_owned(), of.clone()))
            };
            let shown: BTreeMap<_, _> = match columns {
                Some(columns) => columns.iter().map(|name| column(name)).collect::<Result<_, String>>()?,
                None => table.columns.clone(),
            };
            let asked = filter.iter().filter_map(Condition::column).filter(|name| *name != "_uuid");
            let asked = asked.map(column).collect::<Result<BTreeMap<_, _>, String>>()?;
            tables.insert(name.clone(), MonitoredTable { columns: shown, asked, filter: filter.clone() });
        }
        let replica = Replica { tables: tables.keys().map(|name| (name.clone(), BTreeMap::new())).collect() };
        Ok(Monitored { id, request: request.clone(), replica, tables, plain })
    }

    /// What the server is asked, by table.
    pub(super) fn to_json(&self) -> Value {
        let tables = self.tables.iter().map(|(name, table)| {
            let request = if self.plain {
                let all: BTreeSet<&String> = table.columns.keys().chain(table.asked.keys()).collect();
                table_request(&all.into_iter().cloned().collect::<Vec<_>>(), None)
            } else {
                table_request(&table.columns.keys().cloned().collect::<Vec<_>>(), Some(&table.filter))
            };
            (name.clone(), Value::Array(vec![request]))
        });
        Value::Object(tables.collect::<Map<_, _>>())
    }

    /// The method that sets it up.
    pub(super) fn method(&self) -> &'static str {
        if self.plain { "monitor" } else { "monitor_cond" }
    }

    /// The method that tells changes of it.
    pub(super) fn update_method(&self) -> &'static str {
        if self.plain { "update" } else { "update2" }
    }

    /// Takes in what the server tells, and adds to `changes` what is otherwise than before, as far as it gets.
    ///
    /// # Errors
    /// [`NotationError`] for what is no update, or cannot be one of what we have. The replica is not to be trusted then.
    pub(super) fn take(&mut self, updates: &Value, changes: &mut Vec<Change>) -> Result<(), NotationError> {
        // Servers answer so when there is nothing to tell.
        if updates.is_null() {
            return Ok(());
        }
        for (name, rows) in object(updates, "updates by table")? {
            let (Some(table), Some(replicated)) = (self.tables.get(name), self.replica.tables.get_mut(name)) else {
                return Err(NotationError::new(rows, "a table that is monitored").within(name));
            };
            for (identity, update) in object(rows, "updates by row").map_err(|error| error.within(name))? {
                let within = |error: NotationError| error.within(&format!("{name} {identity}"));
                let row = read_uuid(identity).ok_or_else(|| within(NotationError::new(update, "a row by its UUID")))?;
                let before = replicated.get(&row);
                let after = match self.plain {
                    true => table.after_plain(row, update),
                    false => table.after(before, update),
                };
                let after = after.map_err(within)?;
                if before == after.as_ref() {
                    continue;
                }
                let before = match &after {
                    Some(after) => replicated.insert(row, after.clone()),
                    None => replicated.remove(&row),
                };
                changes.push(Change { monitor: self.id, table: name.clone(), row, before, after });
            }
        }
        Ok(())
    }
}

impl MonitoredTable {
    /// The row after a `<row-update2>`.
    fn after(&self, before: Option<&Row>, update: &Value) -> Result<Option<Row>, NotationError> {
        const ALLOWED: &str =
            "one of \"initial\", \"insert\", \"modify\" and \"delete\", the latter two of a row we have";
        let refuse = || NotationError::new(update, ALLOWED);
        let members = object(update, "the update of a row")?;
        let mut kinds = members.iter();
        let (Some((kind, told)), None) = (kinds.next(), kinds.next()) else { return Err(refuse()) };
        match (kind.as_str(), before) {
            ("initial" | "insert", _) => self.whole(&self.columns, told).map(Some),
            ("delete", Some(_)) => Ok(None),
            ("modify", Some(before)) => {
                let mut after = before.clone();
                for (column, json) in object(told, "the columns that differ")? {
                    let of = self.columns.get(column).ok_or_else(|| unknown(column, json))?;
                    let difference = of.datum(json).map_err(|error| error.within(column))?;
                    match after.get_mut(column) {
                        Some(datum) => apply_difference(datum, difference, of),
                        None => return Err(unknown(column, json)),
                    }
                }
                Ok(Some(after))
            }
            _ => Err(refuse()),
        }
    }

    /// The row after a `<row-update>`, which tells it whole.
    fn after_plain(&self, uuid: Uuid, update: &Value) -> Result<Option<Row>, NotationError> {
        let members = object(update, "the update of a row")?;
        let Some(new) = members.get("new").filter(|new| !new.is_null()) else {
            let old = members.get("old").is_some_and(Value::is_object);
            return if old { Ok(None) } else { Err(NotationError::new(update, "\"old\", \"new\" or both")) };
        };
        let all = self.columns.iter().chain(&self.asked).map(|(name, of)| (name.clone(), of.clone())).collect();
        let whole = self.whole(&all, new)?;
        let meant = self.filter.is_empty() || self.filter.iter().any(|condition| condition.holds(uuid, &whole));
        let shown = whole.iter().filter(|(name, _)| self.columns.contains_key(*name));
        Ok(meant.then(|| shown.map(|(name, datum)| (name.to_owned(), datum.clone())).collect()))
    }

    /// A row as told, with the defaults of columns that are not.
    fn whole(&self, columns: &BTreeMap<String, ColumnType>, told: &Value) -> Result<Row, NotationError> {
        let told = object(told, "a row")?;
        if let Some((name, json)) = told.iter().find(|(name, _)| !columns.contains_key(*name)) {
            return Err(unknown(name, json));
        }
        let columns = columns.iter().map(|(name, of)| {
            let datum = match told.get(name) {
                Some(json) => of.datum(json).map_err(|error| error.within(name))?,
                None => of.default_datum(),
            };
            Ok((name.clone(), datum))
        });
        columns.collect()
    }
}

fn unknown(column: &str, json: &Value) -> NotationError {
    NotationError::new(json, "a column that is monitored").within(column)
}

/// Makes the new value of the old one and what differs: elements that only one of the two has; pairs whose keys only one
/// of the two has, and with their new values those of the keys that both have. A column of at most one is told whole.
fn apply_difference(datum: &mut Datum, difference: Datum, of: &ColumnType) {
    match (datum, difference) {
        (Datum::Set(values), Datum::Set(difference)) if of.is_composite() => {
            for value in difference {
                if !values.remove(&value) {
                    values.insert(value);
                }
            }
        }
        (Datum::Map(pairs), Datum::Map(difference)) if of.is_composite() => {
            for (key, value) in difference {
                if pairs.get(&key) == Some(&value) {
                    pairs.remove(&key);
                } else {
                    pairs.insert(key, value);
                }
            }
        }
        (datum, whole) => *datum = whole,
    }
}

#[cfg(test)]
#[path = "replica/tests.rs"]
mod tests;
