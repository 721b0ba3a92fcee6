//! What can be wrong with a piece of JSON that should follow the notation of RFC 7047 section 5.1, and small steps of
//! reading it.

use serde_json::{Map, Value};

use crate::error::shown;

/// JSON that does not follow the notation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} stands where {allowed} should")]
pub struct NotationError {
    /// What was found, shortened.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

impl NotationError {
    pub(super) fn new(found: &Value, allowed: impl Into<String>) -> NotationError {
        NotationError { found: brief(found), allowed: allowed.into() }
    }

    /// The same, said of a part of something larger.
    pub(super) fn within(self, what: &str) -> NotationError {
        NotationError { found: format!("{}: {}", shown(what.as_bytes()), self.found), ..self }
    }
}

/// A piece of JSON as it may be shown in a message. Large ones are not written out whole for it.
pub(super) fn brief(value: &Value) -> String {
    match value {
        Value::Array(parts) if parts.len() > 4 => format!("an array of {}", parts.len()),
        Value::Object(members) if members.len() > 4 => format!("an object of {}", members.len()),
        Value::String(text) if text.len() > 100 => format!("\"{}\"", shown(text.as_bytes())),
        Value::Array(parts) => {
            format!("[{}]", parts.iter().map(brief).collect::<Vec<_>>().join(","))
        }
        Value::Object(members) => {
            let members =
                members.iter().map(|(name, value)| format!("\"{}\":{}", shown(name.as_bytes()), brief(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

pub(super) fn object<'v>(value: &'v Value, what: &str) -> Result<&'v Map<String, Value>, NotationError> {
    value.as_object().ok_or_else(|| NotationError::new(value, format!("an object ({what})")))
}

pub(super) fn array<'v>(value: &'v Value, what: &str) -> Result<&'v [Value], NotationError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| NotationError::new(value, format!("an array ({what})")))
}

pub(super) fn string<'v>(value: &'v Value, what: &str) -> Result<&'v str, NotationError> {
    value.as_str().ok_or_else(|| NotationError::new(value, format!("a string ({what})")))
}
