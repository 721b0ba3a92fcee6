//! Conditions: which rows are meant (RFC 7047 section 5.1, `<condition>`, and ovsdb-server(7) for booleans and for order
//! of optional numbers).

use std::cmp::Ordering;

use serde_json::{Value, json};
use uuid::Uuid;

use super::datum::Datum;
use super::row::Row;

/// A condition on a row. Several of them mean all of them in a transaction, and any of them in a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// On a column.
    Column {
        /// The column.
        column: String,
        /// How it is compared.
        function: Function,
        /// With what.
        value: Datum,
    },
    /// Every row, or none; Open vSwitch's extension.
    Always(bool),
}

/// How a column is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Less; numbers only, as for all that speaks of order.
    Less,
    /// Less or the same.
    LessOrEqual,
    /// The same.
    Equal,
    /// Not the same.
    NotEqual,
    /// The same or more.
    GreaterOrEqual,
    /// More.
    Greater,
    /// All of the value's elements or pairs are in the column.
    Includes,
    /// None of them is.
    Excludes,
}

impl Function {
    /// As RFC 7047 writes it.
    pub fn notation(self) -> &'static str {
        match self {
            Function::Less => "<",
            Function::LessOrEqual => "<=",
            Function::Equal => "==",
            Function::NotEqual => "!=",
            Function::GreaterOrEqual => ">=",
            Function::Greater => ">",
            Function::Includes => "includes",
            Function::Excludes => "excludes",
        }
    }
}

impl Condition {
    /// A condition on a column.
    pub fn new(column: impl Into<String>, function: Function, value: impl Into<Datum>) -> Condition {
        Condition::Column { column: column.into(), function, value: value.into() }
    }

    /// A column has a value.
    pub fn equal(column: impl Into<String>, value: impl Into<Datum>) -> Condition {
        Condition::new(column, Function::Equal, value)
    }

    /// A column holds all of these elements or pairs.
    pub fn includes(column: impl Into<String>, value: impl Into<Datum>) -> Condition {
        Condition::new(column, Function::Includes, value)
    }

    /// One row.
    pub fn row(row: Uuid) -> Condition {
        Condition::equal("_uuid", row)
    }

    /// The notation of RFC 7047.
    pub fn to_json(&self) -> Value {
        match self {
            Condition::Column { column, function, value } => json!([column, function.notation(), value.to_json()]),
            Condition::Always(holds) => json!(holds),
        }
    }

    /// The column that it asks about.
    pub(super) fn column(&self) -> Option<&str> {
        match self {
            Condition::Column { column, .. } => Some(column),
            Condition::Always(_) => None,
        }
    }

    /// Whether it holds for a row, for servers that cannot tell. A column that the row does not have fails it.
    pub(super) fn holds(&self, uuid: Uuid, row: &Row) -> bool {
        let (column, function, value) = match self {
            Condition::Always(holds) => return *holds,
            Condition::Column { column, function, value } => (column, function, value),
        };
        let identity;
        let found = match column.as_str() {
            "_uuid" => {
                identity = Datum::from(uuid);
                Some(&identity)
            }
            _ => row.get(column),
        };
        let Some(found) = found else { return false };
        match function {
            Function::Equal => same(found, value),
            Function::NotEqual => !same(found, value),
            Function::Includes => common(found, value) == value.len(),
            Function::Excludes => common(found, value) == 0,
            Function::Less => order(found, value).is_some_and(Ordering::is_lt),
            Function::LessOrEqual => order(found, value).is_some_and(Ordering::is_le),
            Function::GreaterOrEqual => order(found, value).is_some_and(Ordering::is_ge),
            Function::Greater => order(found, value).is_some_and(Ordering::is_gt),
        }
    }
}

/// How two numbers compare; none for an optional number that is not set.
fn order(found: &Datum, value: &Datum) -> Option<Ordering> {
    match (found.as_integer(), value.as_integer()) {
        (Some(found), Some(value)) => Some(found.cmp(&value)),
        _ => found.as_real()?.partial_cmp(&value.as_real()?),
    }
}

/// Whether two data are the same; the empty map may be written as the empty set.
fn same(found: &Datum, value: &Datum) -> bool {
    found == value || (found.is_empty() && value.is_empty()) || order(found, value) == Some(Ordering::Equal)
}

/// How many elements or pairs of the second are in the first.
fn common(found: &Datum, value: &Datum) -> usize {
    match (found, value) {
        (Datum::Set(found), Datum::Set(value)) if same(&Datum::Set(found.clone()), &Datum::Set(value.clone())) => {
            value.len()
        }
        (Datum::Set(found), Datum::Set(value)) => value.iter().filter(|atom| found.contains(atom)).count(),
        (Datum::Map(found), Datum::Map(value)) => {
            value.iter().filter(|(key, value)| found.get(key) == Some(value)).count()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_as_the_rfc_says() {
        let uuid = Uuid::from_u128(7);
        let row = Row::new()
            .with("n", 5)
            .with("none", Datum::empty())
            .with("s", Datum::set(["a", "b"]))
            .with("m", Datum::map([("k", "v"), ("l", "w")]))
            .with("no_map", Datum::Map(Default::default()));
        let empty_map = || Datum::Map(Default::default());
        for (condition, holds) in [
            (Condition::new("n", Function::Less, 6), true),
            (Condition::new("n", Function::Less, 5), false),
            (Condition::new("n", Function::LessOrEqual, 5), true),
            (Condition::new("n", Function::GreaterOrEqual, 6), false),
            (Condition::new("n", Function::Greater, 4), true),
            (Condition::new("none", Function::Less, 6), false),
            (Condition::new("none", Function::GreaterOrEqual, 6), false),
            (Condition::equal("n", 5), true),
            (Condition::new("n", Function::NotEqual, 5), false),
            (Condition::equal("none", Datum::empty()), true),
            (Condition::equal("no_map", Datum::empty()), true),
            (Condition::equal("s", Datum::set(["b", "a"])), true),
            (Condition::equal("s", "a"), false),
            (Condition::includes("s", "a"), true),
            (Condition::includes("s", Datum::set(["a", "c"])), false),
            (Condition::includes("s", Datum::empty()), true),
            (Condition::new("s", Function::Excludes, "c"), true),
            (Condition::new("s", Function::Excludes, "b"), false),
            (Condition::includes("m", Datum::map([("k", "v")])), true),
            (Condition::includes("m", Datum::map([("k", "w")])), false),
            (Condition::includes("m", empty_map()), true),
            (Condition::new("m", Function::Excludes, Datum::map([("k", "w")])), true),
            (Condition::row(uuid), true),
            (Condition::row(Uuid::from_u128(8)), false),
            (Condition::equal("unknown", 5), false),
            (Condition::Always(true), true),
            (Condition::Always(false), false),
        ] {
            assert_eq!(condition.holds(uuid, &row), holds, "{}", condition.to_json());
        }
    }
}
