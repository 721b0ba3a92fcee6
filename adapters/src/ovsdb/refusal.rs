//! Refusals: what a server says when it does not do what it was asked (RFC 7047 sections 3.1 and 5.2, ovsdb-server(7)).

use serde_json::Value;

use super::notation::brief;

/// Why a server refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A value that its column does not take, a column that may not change, or a second row with the same index.
    ConstraintViolation,
    /// A row that is referred to would go, or one is referred to that is not there.
    ReferentialIntegrityViolation,
    /// A wait's rows were not as told in time.
    TimedOut,
    /// A lock is owned by somebody else, or by nobody.
    NotOwner,
    /// The transaction asked for it.
    Aborted,
    /// Something that this server does not do.
    NotSupported,
    /// A `uuid-name` that stands in the transaction already.
    DuplicateUuidName,
    /// Division by zero.
    DomainError,
    /// A result that is too large or too small.
    RangeError,
    /// The server has no room for it.
    ResourcesExhausted,
    /// The server cannot write to its disk.
    IoError,
    /// Not as RFC 7047 writes it, or a table or column that is not there.
    Syntax,
    /// A column that is not there.
    UnknownColumn,
    /// A database that is not there.
    UnknownDatabase,
    /// A method that this server does not have.
    UnknownMethod,
    /// This client's role may not do it.
    Permission,
    /// The database takes no changes: it is a backup's, or the server's own.
    NotAllowed,
    /// The transaction was given up because the database or the schema went.
    Canceled,
    /// A UUID that stands in the table already.
    DuplicateUuid,
    /// A fault of the server.
    Internal,
    /// Another word of the server.
    Other(String),
}

impl Refusal {
    fn of(word: &str) -> Refusal {
        match word {
            "constraint violation" => Refusal::ConstraintViolation,
            "referential integrity violation" => Refusal::ReferentialIntegrityViolation,
            "timed out" => Refusal::TimedOut,
            "not owner" => Refusal::NotOwner,
            "aborted" => Refusal::Aborted,
            "not supported" => Refusal::NotSupported,
            "duplicate uuid-name" => Refusal::DuplicateUuidName,
            "domain error" => Refusal::DomainError,
            "range error" => Refusal::RangeError,
            "resources exhausted" => Refusal::ResourcesExhausted,
            "I/O error" => Refusal::IoError,
            "syntax error" => Refusal::Syntax,
            "unknown column" => Refusal::UnknownColumn,
            "unknown database" => Refusal::UnknownDatabase,
            "unknown method" => Refusal::UnknownMethod,
            "permission error" => Refusal::Permission,
            "not allowed" => Refusal::NotAllowed,
            "canceled" => Refusal::Canceled,
            "duplicate uuid" => Refusal::DuplicateUuid,
            "internal error" => Refusal::Internal,
            other => Refusal::Other(other.to_owned()),
        }
    }
}

/// A refusal as the server worded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The server's words, shortened.
    pub words: String,
}

impl Refused {
    /// Reads `<error>`: an object with `error` and perhaps `details` and `syntax`, or text alone, as servers answer to
    /// methods that they do not have.
    pub(super) fn of(error: &Value) -> Refused {
        let text = |name: &str| error.get(name).and_then(Value::as_str);
        let word = error.as_str().or_else(|| text("error"));
        let refusal = word.map_or_else(|| Refusal::Other(String::new()), Refusal::of);
        let mut words = match word {
            Some(word) => crate::error::shown(word.as_bytes()),
            None => brief(error),
        };
        for part in [text("details"), text("syntax")].into_iter().flatten() {
            // A server's sentence is worth more than what is shown of files.
            words += ": ";
            words.extend(part.chars().take(400).map(|c| if c.is_control() { '\u{fffd}' } else { c }));
        }
        Refused { refusal, words }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_are_told_apart_and_keep_the_servers_words() {
        for (error, refusal, words) in [
            (
                json!({"error": "timed out", "details": "\"where\" clause test failed"}),
                Refusal::TimedOut,
                "timed out: \"where\" clause test failed",
            ),
            (json!({"error": "not owner"}), Refusal::NotOwner, "not owner"),
            (json!("unknown method"), Refusal::UnknownMethod, "unknown method"),
            (json!({"error": "new\nword"}), Refusal::Other("new\nword".into()), "new\u{fffd}word"),
            (json!(7), Refusal::Other(String::new()), "7"),
        ] {
            assert_eq!(Refused::of(&error), Refused { refusal, words: words.into() });
        }
    }
}
