//! Operations: what a transaction does, and what came of each (RFC 7047 section 5.2).

use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::condition::Condition;
use super::datum::Datum;
use super::notation::{NotationError, array, object};
use super::row::Row;

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Adds a row. What it does not give stands at its default.
    Insert {
        /// The table.
        table: String,
        /// Its columns.
        row: Row,
        /// A name for it in the same transaction ([`Atom::Named`](super::Atom::Named)): a letter or `_`, then letters,
        /// digits and `_`.
        uuid_name: Option<String>,
    },
    /// Reads rows.
    Select {
        /// The table.
        table: String,
        /// Which rows; all of these hold.
        filter: Vec<Condition>,
        /// Which columns; `None` for all, with `_uuid` and `_version`.
        columns: Option<Vec<String>>,
    },
    /// Sets columns of rows.
    Update {
        /// The table.
        table: String,
        /// Which rows; all of these hold.
        filter: Vec<Condition>,
        /// The columns.
        row: Row,
    },
    /// Changes columns of rows by what stands there.
    Mutate {
        /// The table.
        table: String,
        /// Which rows; all of these hold.
        filter: Vec<Condition>,
        /// The changes, in order.
        mutations: Vec<Mutation>,
    },
    /// Removes rows.
    Delete {
        /// The table.
        table: String,
        /// Which rows; all of these hold.
        filter: Vec<Condition>,
    },
    /// Holds the transaction up until rows are as told, and fails it when they are not in time
    /// ([`Refusal::TimedOut`](super::Refusal::TimedOut)).
    Wait {
        /// The table.
        table: String,
        /// Which rows; all of these hold.
        filter: Vec<Condition>,
        /// Which of their columns are looked at.
        columns: Vec<String>,
        /// Whether they have to be like `rows` or otherwise.
        until: Until,
        /// The rows, in any order.
        rows: Vec<Row>,
        /// How long, in whole milliseconds; zero asks what is so now. `None` sets the server no limit; the client still
        /// waits no longer than for any answer.
        timeout: Option<Duration>,
    },
    /// Sees to it that what is done has reached the disk.
    Commit {
        /// Whether to wait for the disk.
        durable: bool,
    },
    /// A word for the server's log.
    Comment(String),
    /// Fails the transaction when this client does not own a lock ([`Refusal::NotOwner`](super::Refusal::NotOwner)).
    Assert(String),
    /// Fails the transaction ([`Refusal::Aborted`](super::Refusal::Aborted)).
    Abort,
}

/// What a wait waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The rows are these.
    Equal,
    /// The rows are others.
    NotEqual,
}

/// A change of a column by what stands there (RFC 7047 section 5.1, `<mutation>`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The column.
    pub column: String,
    /// What is done.
    pub mutator: Mutator,
    /// With what.
    pub value: Datum,
}

/// What a mutation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutator {
    /// Adds to numbers.
    Add,
    /// Subtracts from numbers.
    Subtract,
    /// Multiplies numbers.
    Multiply,
    /// Divides numbers.
    Divide,
    /// The remainder of integers.
    Remainder,
    /// Puts elements into a set, or pairs into a map whose keys are not there.
    Insert,
    /// Takes elements out of a set; out of a map pairs, or keys where a set is given.
    Delete,
}

impl Mutator {
    /// As RFC 7047 writes it.
    pub fn notation(self) -> &'static str {
        match self {
            Mutator::Add => "+=",
            Mutator::Subtract => "-=",
            Mutator::Multiply => "*=",
            Mutator::Divide => "/=",
            Mutator::Remainder => "%=",
            Mutator::Insert => "insert",
            Mutator::Delete => "delete",
        }
    }
}

impl Mutation {
    /// A change of a column.
    pub fn new(column: impl Into<String>, mutator: Mutator, value: impl Into<Datum>) -> Mutation {
        Mutation { column: column.into(), mutator, value: value.into() }
    }
}

impl Operation {
    /// Adds a row.
    pub fn insert(table: impl Into<String>, row: Row) -> Operation {
        Operation::Insert { table: table.into(), row, uuid_name: None }
    }

    /// Adds a row that the rest of the transaction can name.
    pub fn insert_named(table: impl Into<String>, uuid_name: impl Into<String>, row: Row) -> Operation {
        Operation::Insert { table: table.into(), row, uuid_name: Some(uuid_name.into()) }
    }

    /// Reads all columns of rows.
    pub fn select(table: impl Into<String>, filter: Vec<Condition>) -> Operation {
        Operation::Select { table: table.into(), filter, columns: None }
    }

    /// Reads some columns of rows.
    pub fn select_columns(table: impl Into<String>, filter: Vec<Condition>, columns: &[&str]) -> Operation {
        Operation::Select { table: table.into(), filter, columns: Some(owned(columns)) }
    }

    /// Sets columns of rows.
    pub fn update(table: impl Into<String>, filter: Vec<Condition>, row: Row) -> Operation {
        Operation::Update { table: table.into(), filter, row }
    }

    /// Changes columns of rows by what stands there.
    pub fn mutate(table: impl Into<String>, filter: Vec<Condition>, mutations: Vec<Mutation>) -> Operation {
        Operation::Mutate { table: table.into(), filter, mutations }
    }

    /// Removes rows.
    pub fn delete(table: impl Into<String>, filter: Vec<Condition>) -> Operation {
        Operation::Delete { table: table.into(), filter }
    }

    /// Fails the transaction unless these columns of these rows are like `rows` now.
    pub fn expect(table: impl Into<String>, filter: Vec<Condition>, columns: &[&str], rows: Vec<Row>) -> Operation {
        let columns = owned(columns);
        Operation::Wait {
            table: table.into(),
            filter,
            columns,
            until: Until::Equal,
            rows,
            timeout: Some(Duration::ZERO),
        }
    }

    /// The word for it in RFC 7047.
    pub fn name(&self) -> &'static str {
        match self {
            Operation::Insert { .. } => "insert",
            Operation::Select { .. } => "select",
            Operation::Update { .. } => "update",
            Operation::Mutate { .. } => "mutate",
            Operation::Delete { .. } => "delete",
            Operation::Wait { .. } => "wait",
            Operation::Commit { .. } => "commit",
            Operation::Comment(_) => "comment",
            Operation::Assert(_) => "assert",
            Operation::Abort => "abort",
        }
    }

    /// The table that it works on, for messages.
    pub fn table(&self) -> Option<&str> {
        match self {
            Operation::Insert { table, .. }
            | Operation::Select { table, .. }
            | Operation::Update { table, .. }
            | Operation::Mutate { table, .. }
            | Operation::Delete { table, .. }
            | Operation::Wait { table, .. } => Some(table),
            Operation::Commit { .. } | Operation::Comment(_) | Operation::Assert(_) | Operation::Abort => None,
        }
    }

    /// The notation of RFC 7047.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        put("op", json!(self.name()));
        if let Some(table) = self.table() {
            put("table", json!(table));
        }
        match self {
            Operation::Select { filter, .. }
            | Operation::Update { filter, .. }
            | Operation::Mutate { filter, .. }
            | Operation::Delete { filter, .. }
            | Operation::Wait { filter, .. } => {
                put("where", Value::Array(filter.iter().map(Condition::to_json).collect()));
            }
            _ => {}
        }
        match self {
            Operation::Insert { row, uuid_name, .. } => {
                put("row", row.to_json());
                if let Some(name) = uuid_name {
                    put("uuid-name", json!(name));
                }
            }
            Operation::Select { columns, .. } => {
                if let Some(columns) = columns {
                    put("columns", json!(columns));
                }
            }
            Operation::Update { row, .. } => put("row", row.to_json()),
            Operation::Mutate { mutations, .. } => {
                let mutations = mutations.iter().map(|m| json!([m.column, m.mutator.notation(), m.value.to_json()]));
                put("mutations", Value::Array(mutations.collect()));
            }
            Operation::Wait { columns, until, rows, timeout, .. } => {
                put("columns", json!(columns));
                put("until", json!(if *until == Until::Equal { "==" } else { "!=" }));
                put("rows", Value::Array(rows.iter().map(Row::to_json).collect()));
                if let Some(timeout) = timeout {
                    // The server counts in milliseconds of 63 bits.
                    put("timeout", json!(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)));
                }
            }
            Operation::Commit { durable } => put("durable", json!(durable)),
            Operation::Comment(comment) => put("comment", json!(comment)),
            Operation::Assert(lock) => put("lock", json!(lock)),
            Operation::Delete { .. } | Operation::Abort => {}
        }
        Value::Object(object)
    }
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The identity of the row that was added.
    Inserted(Uuid),
    /// The rows that were read.
    Rows(Vec<Row>),
    /// How many rows were meant by an update, a mutation or a delete.
    Count(u64),
    /// Nothing to tell.
    Done,
}

impl Outcome {
    /// The row that was added.
    pub fn inserted(&self) -> Option<Uuid> {
        match self {
            Outcome::Inserted(uuid) => Some(*uuid),
            _ => None,
        }
    }

    /// The rows that were read; none for other operations.
    pub fn rows(&self) -> &[Row] {
        match self {
            Outcome::Rows(rows) => rows,
            _ => &[],
        }
    }

    /// How many rows were meant.
    pub fn count(&self) -> Option<u64> {
        match self {
            Outcome::Count(count) => Some(*count),
            _ => None,
        }
    }

    /// Reads what a server answers to an operation.
    pub(super) fn of(operation: &Operation, value: &Value) -> Result<Outcome, NotationError> {
        let answer = object(value, "the outcome of an operation")?;
        let part = |name: &str| {
            answer.get(name).ok_or_else(|| NotationError::new(value, format!("an outcome with \"{name}\"")))
        };
        match operation {
            Operation::Insert { .. } => {
                let inserted = Datum::from_json(part("uuid")?)?.as_uuid();
                inserted.map(Outcome::Inserted).ok_or_else(|| NotationError::new(value, "a UUID"))
            }
            Operation::Select { .. } => {
                let rows = array(part("rows")?, "rows")?.iter().map(Row::from_json);
                rows.collect::<Result<_, _>>().map(Outcome::Rows)
            }
            Operation::Update { .. } | Operation::Mutate { .. } | Operation::Delete { .. } => {
                let count = part("count")?;
                count.as_u64().map(Outcome::Count).ok_or_else(|| NotationError::new(count, "a number from 0 up"))
            }
            _ => Ok(Outcome::Done),
        }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ovsdb::Function;

    #[test]
    fn operations_are_written_as_the_rfc_has_them() {
        let filter = || vec![Condition::new("n", Function::GreaterOrEqual, 1)];
        let condition = json!(["n", ">=", 1]);
        let wait = |timeout| Operation::Wait {
            table: "T".into(),
            filter: filter(),
            columns: vec!["c".into()],
            until: Until::NotEqual,
            rows: vec![Row::new().with("c", "x")],
            timeout,
        };
        for (operation, notation) in [
            (
                Operation::insert_named("T", "q", Row::new().with("c", 1)),
                json!({"op": "insert", "table": "T", "uuid-name": "q", "row": {"c": 1}}),
            ),
            (Operation::insert("T", Row::new()), json!({"op": "insert", "table": "T", "row": {}})),
            (Operation::select("T", vec![]), json!({"op": "select", "table": "T", "where": []})),
            (
                Operation::select_columns("T", filter(), &["c"]),
                json!({"op": "select", "table": "T", "where": [condition], "columns": ["c"]}),
            ),
            (
                Operation::update("T", filter(), Row::new().with("c", Datum::empty())),
                json!({"op": "update", "table": "T", "where": [condition], "row": {"c": ["set", []]}}),
            ),
            (
                Operation::mutate("T", filter(), vec![Mutation::new("n", Mutator::Remainder, 2)]),
                json!({"op": "mutate", "table": "T", "where": [condition], "mutations": [["n", "%=", 2]]}),
            ),
            (Operation::delete("T", filter()), json!({"op": "delete", "table": "T", "where": [condition]})),
            (
                wait(Some(Duration::from_millis(1500))),
                json!({"op": "wait", "table": "T", "where": [condition], "columns": ["c"], "until": "!=",
                    "rows": [{"c": "x"}], "timeout": 1500}),
            ),
            (
                wait(None),
                json!({"op": "wait", "table": "T", "where": [condition], "columns": ["c"], "until": "!=",
                    "rows": [{"c": "x"}]}),
            ),
            (
                Operation::expect("T", vec![Condition::Always(true)], &[], vec![]),
                json!({"op": "wait", "table": "T", "where": [true], "columns": [], "until": "==", "rows": [],
                    "timeout": 0}),
            ),
            (Operation::Commit { durable: true }, json!({"op": "commit", "durable": true})),
            (Operation::Comment("why".into()), json!({"op": "comment", "comment": "why"})),
            (Operation::Assert("l".into()), json!({"op": "assert", "lock": "l"})),
            (Operation::Abort, json!({"op": "abort"})),
        ] {
            assert_eq!(operation.to_json(), notation);
        }
    }
}
