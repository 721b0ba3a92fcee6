//! Atoms: the single values that columns are made of (RFC 7047 section 5.1, `<atom>`), to and from JSON without loss.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Number, Value, json};
use uuid::Uuid;

use super::notation::NotationError;
use crate::error::shown;

/// A single value.
///
/// JSON as servers write it does not tell a real number without a fraction from an integer: only the schema does
/// ([`ColumnType::datum`](super::ColumnType::datum)). [`Atom::as_real`] takes both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    /// A whole number.
    Integer(i64),
    /// A number with a fraction, or too large for an integer.
    Real(Real),
    /// True or false.
    Boolean(bool),
    /// Text.
    String(String),
    /// A row, by its identity.
    Uuid(Uuid),
    /// A row that the same transaction inserts, by the `uuid-name` it gives it there.
    Named(String),
}

/// A finite number.
#[derive(Clone, Copy, Debug)]
pub struct Real(f64);

impl Real {
    pub(super) const ZERO: Real = Real(0.0);

    /// The number, unless it is infinite or none at all: JSON cannot say either.
    pub fn new(value: f64) -> Option<Real> {
        value.is_finite().then_some(Real(value))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Real) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Real) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Real) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Atom {
    /// A row that the same transaction inserts under this `uuid-name`.
    pub fn named(name: impl Into<String>) -> Atom {
        Atom::Named(name.into())
    }

    /// The whole number that this is.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Atom::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The number that this is, with or without a fraction.
    pub fn as_real(&self) -> Option<f64> {
        match self {
            Atom::Integer(value) => Some(*value as f64),
            Atom::Real(value) => Some(value.get()),
            _ => None,
        }
    }

    /// The boolean that this is.
    pub fn as_boolean(&self) -> Option<bool> {
        match self {
            Atom::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The text that this is.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Atom::String(value) => Some(value),
            _ => None,
        }
    }

    /// The row that this names.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self {
            Atom::Uuid(value) => Some(*value),
            _ => None,
        }
    }

    /// Reads the notation of RFC 7047.
    ///
    /// # Errors
    /// [`NotationError`] for anything but an atom.
    pub fn from_json(value: &Value) -> Result<Atom, NotationError> {
        let refuse =
            || NotationError::new(value, "a number, a boolean, a string, [\"uuid\", …] or [\"named-uuid\", …]");
        match value {
            Value::Bool(value) => Ok(Atom::Boolean(*value)),
            Value::String(value) => Ok(Atom::String(value.clone())),
            // What is too large for an integer is a real number, as it is for Open vSwitch.
            Value::Number(number) => match number.as_i64() {
                Some(value) => Ok(Atom::Integer(value)),
                None => number.as_f64().and_then(Real::new).map(Atom::Real).ok_or_else(refuse),
            },
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(tag), Value::String(text)] if tag == "uuid" => {
                    read_uuid(text).map(Atom::Uuid).ok_or_else(refuse)
                }
                [Value::String(tag), Value::String(name)] if tag == "named-uuid" => Ok(Atom::Named(name.clone())),
                _ => Err(refuse()),
            },
            Value::Null | Value::Object(_) => Err(refuse()),
        }
    }

    /// The notation of RFC 7047.
    pub fn to_json(&self) -> Value {
        match self {
            Atom::Integer(value) => json!(value),
            Atom::Real(value) => Number::from_f64(value.get()).map_or(Value::Null, Value::Number),
            Atom::Boolean(value) => json!(value),
            Atom::String(value) => json!(value),
            Atom::Uuid(value) => json!(["uuid", value.to_string()]),
            Atom::Named(value) => json!(["named-uuid", value]),
        }
    }
}

/// Reads a UUID in the only form that RFC 7047 allows: with hyphens.
pub(super) fn read_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

impl fmt::Display for Atom {
    /// As a person would write it; text in quotation marks, shortened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Atom::Integer(value) => write!(f, "{value}"),
            Atom::Real(value) => write!(f, "{}", value.get()),
            Atom::Boolean(value) => write!(f, "{value}"),
            Atom::String(value) => write!(f, "\"{}\"", shown(value.as_bytes())),
            Atom::Uuid(value) => write!(f, "{value}"),
            Atom::Named(value) => write!(f, "@{}", shown(value.as_bytes())),
        }
    }
}

impl From<i64> for Atom {
    fn from(value: i64) -> Atom {
        Atom::Integer(value)
    }
}

impl From<bool> for Atom {
    fn from(value: bool) -> Atom {
        Atom::Boolean(value)
    }
}

impl From<Real> for Atom {
    fn from(value: Real) -> Atom {
        Atom::Real(value)
    }
}

impl From<&str> for Atom {
    fn from(value: &str) -> Atom {
        Atom::String(value.to_owned())
    }
}

impl From<String> for Atom {
    fn from(value: String) -> Atom {
        Atom::String(value)
    }
}

impl From<Uuid> for Atom {
    fn from(value: Uuid) -> Atom {
        Atom::Uuid(value)
    }
}
