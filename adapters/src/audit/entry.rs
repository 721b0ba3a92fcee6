//! What is written down.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that was done, or was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What was asked for: `create`, `shut down`, `answer`.
    pub order: Text,
    /// Of what: `vm-7 on hv-3`, `www.example.net`.
    pub target: Text,
    /// Why: the decision behind it.
    pub why: Text,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It is about to be done. What came of it has an entry of its own, unless a crash came between.
    Begun,
    /// It was done, and so it stands.
    Done {
        /// How many writes it took; none where it stood already.
        writes: u32,
    },
    /// It was not tried: a guard, a closed gate, a lost lease.
    Refused {
        /// By what, and why.
        reason: Text,
    },
    /// It was tried and failed, or nobody knows what came of it.
    Failed {
        /// What was said.
        reason: Text,
    },
}

/// Text for an audit log: what anything displays, without control characters, and not longer than [`Text::BYTES_MOST`].
///
/// Keys do not display themselves, so none can become text:
///
/// ```compile_fail,E0277
/// let key = forebay_adapters::steering::Secret::from_environment("KEY").unwrap();
/// forebay_adapters::audit::Text::new(&key);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// Longest text; what is longer is cut, and ends with `…` \[bytes\].
    pub const BYTES_MOST: usize = 2000;

    /// What something displays.
    pub fn new(shown: &(impl fmt::Display + ?Sized)) -> Text {
        let mut text: String = shown.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        if text.len() > Text::BYTES_MOST {
            let mut end = Text::BYTES_MOST - '…'.len_utf8();
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push('…');
        }
        Text(text)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text::new(text)
    }
}
