//! Monitors: which rows a server keeps us informed of (RFC 7047 section 4.1.5, ovsdb-server(7) section 4.1.12).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::condition::Condition;
use super::row::Row;

/// Which rows of which tables are replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// The database.
    pub database: String,
    /// The tables by name.
    pub tables: BTreeMap<String, TableMonitor>,
}

/// Which rows and columns of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableMonitor {
    /// The columns; `None` for all.
    pub columns: Option<Vec<String>>,
    /// The rows for which any of these holds; without any, all rows.
    pub filter: Vec<Condition>,
}

impl Monitor {
    /// A monitor of nothing yet.
    pub fn new(database: impl Into<String>) -> Monitor {
        Monitor { database: database.into(), tables: BTreeMap::new() }
    }

    /// The same with some columns of all rows of a table.
    #[must_use]
    pub fn table(self, table: impl Into<String>, columns: &[&str]) -> Monitor {
        self.table_where(table, columns, Vec::new())
    }

    /// The same with some columns of those rows of a table for which any condition holds.
    #[must_use]
    pub fn table_where(mut self, table: impl Into<String>, columns: &[&str], filter: Vec<Condition>) -> Monitor {
        let columns = Some(columns.iter().map(|&column| column.to_owned()).collect());
        self.tables.insert(table.into(), TableMonitor { columns, filter });
        self
    }
}

/// A monitor of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonitorId(pub(super) u64);

impl MonitorId {
    /// What the server calls it.
    pub(super) fn to_json(self) -> Value {
        json!(format!("monitor{}", self.0))
    }

    pub(super) fn from_json(value: &Value) -> Option<MonitorId> {
        value.as_str()?.strip_prefix("monitor")?.parse().ok().map(MonitorId)
    }
}

/// A row that is otherwise than before.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The monitor that shows it.
    pub monitor: MonitorId,
    /// The table.
    pub table: String,
    /// The row.
    pub row: Uuid,
    /// What stood there; `None` for a row that is new, or new among those that the monitor shows.
    pub before: Option<Row>,
    /// What stands there; `None` for one that is gone from there.
    pub after: Option<Row>,
}

/// What is told while nothing is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A row changed.
    Changed(Change),
    /// More rows changed than were kept for somebody to ask; the replica has them.
    ChangesDropped(u64),
    /// A lock that was asked for is ours now.
    Locked(String),
    /// A lock that was ours was stolen. It comes back when the thief lets go.
    Stolen(String),
    /// A lock that was ours went with the connection.
    LockLost(String),
    /// The connection is a new one. What changed in between was told before.
    Reconnected,
    /// The server has ended a monitor; its replica is gone.
    MonitorCanceled(MonitorId),
}

/// The request for a table: columns and conditions, the latter only where the server knows them.
pub(super) fn table_request(columns: &[String], filter: Option<&[Condition]>) -> Value {
    let mut request = Map::new();
    request.insert("columns".to_owned(), json!(columns));
    if let Some(filter) = filter.filter(|filter| !filter.is_empty()) {
        request.insert("where".to_owned(), filter.iter().map(Condition::to_json).collect());
    }
    Value::Object(request)
}
