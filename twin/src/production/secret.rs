//! Secrets: where they are, and that they are nowhere else.
//!
//! A production file names files and variables of the environment. They are read when they are needed, never kept here and
//! never shown; what looks like a secret in the file itself is starred out before anything of it is shown.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use forebay_adapters::steering::{Secret, SteeringError, TsigKey};
use toml::Spanned;

use crate::scenario::finding::Findings;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The only line of a file, or what the program that made it writes.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
}

/// Why a secret cannot be had. Nothing of it is in here.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Others than its owner and its group may read or write its file.
    #[error("{}: others may read or change it (mode {:03o})", path.display(), mode & 0o777)]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Its file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not as it should be.
    #[error(transparent)]
    Unusable(#[from] SteeringError),
    /// It is no single line.
    #[error("{}: not one line of text", path.display())]
    NoLine {
        /// The file.
        path: PathBuf,
    },
}

impl SecretError {
    /// What may help.
    pub fn hint(&self) -> &'static str {
        match self {
            SecretError::Exposed { .. } => {
                "`chmod o= FILE` and `chmod g-w FILE`, and put a new secret in: this one was open"
            }
            SecretError::Unreadable { .. } => "see that it is there, and readable for the user that forebay runs as",
            SecretError::Unusable(_) | SecretError::NoLine { .. } => {
                "put the secret alone into it, as its program writes it"
            }
        }
    }
}

/// Refuses a file that others may read or change.
///
/// # Errors
/// [`SecretError::Exposed`], [`SecretError::Unreadable`].
pub(super) fn check_private(path: &Path) -> Result<(), SecretError> {
    let metadata = fs::metadata(path).map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode();
    if mode & 0o026 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

impl SecretSource {
    /// A key for signatures.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn tsig(&self) -> Result<TsigKey, SecretError> {
        match self {
            SecretSource::File(path) => {
                check_private(path)?;
                Ok(TsigKey::from_file(path)?)
            }
            SecretSource::Environment(variable) => Ok(TsigKey::from_environment(variable)?),
        }
    }

    /// A key that is a line of text.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn secret(&self) -> Result<Secret, SecretError> {
        match self {
            SecretSource::File(path) => {
                check_private(path)?;
                Ok(Secret::from_file(path)?)
            }
            SecretSource::Environment(variable) => Ok(Secret::from_environment(variable)?),
        }
    }

    /// Where it is, for people.
    pub fn name(&self) -> String {
        match self {
            SecretSource::File(path) => path.display().to_string(),
            SecretSource::Environment(variable) => format!("environment variable {variable}"),
        }
    }
}

/// The only line of a file that is a secret: the address of a feed.
///
/// # Errors
/// [`SecretError`].
pub(super) fn line_of(path: &Path) -> Result<String, SecretError> {
    check_private(path)?;
    let text = fs::read_to_string(path).map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })?;
    let line = text.trim();
    if line.is_empty() || line.contains(char::is_control) {
        return Err(SecretError::NoLine { path: path.to_owned() });
    }
    Ok(line.to_owned())
}

/// One of `file` and `variable`, as the keys `key_file` and `key_env` give them.
pub(super) fn check_source(
    what: &str,
    place: Range<usize>,
    file: Option<&Spanned<PathBuf>>,
    variable: Option<&Spanned<String>>,
    folder: &Path,
    findings: &mut Findings,
) -> Option<SecretSource> {
    match (file, variable) {
        (Some(file), None) if is_secret_value(&file.get_ref().to_string_lossy()) => {
            findings.add(
                file.span(),
                "`key_file` holds a key, where the name of a file should be",
                "not shown",
                "put the key into a file that only its user can read, and name that; and make a new key",
            );
            None
        }
        (Some(file), None) => Some(SecretSource::File(folder.join(file.get_ref()))),
        (None, Some(variable)) if !is_variable(variable.get_ref()) => {
            findings.add(
                variable.span(),
                "`key_env` is no name of a variable of the environment",
                "not shown, for it may be the secret itself; allowed: A-Z, 0-9 and _",
                "such as `key_env = \"FOREBAY_DNS_KEY\"`; the key itself stands in the environment",
            );
            None
        }
        (None, Some(variable)) => Some(SecretSource::Environment(variable.get_ref().clone())),
        (Some(file), Some(_)) => {
            findings.add(
                file.span(),
                "`key_file` and `key_env` are both given",
                "one of the two",
                "leave one of them out",
            );
            None
        }
        (None, None) => {
            findings.add(
                place,
                format!("{what} needs a key"),
                "`key_file` or `key_env` is needed here",
                "add `key_file = \"…\"`, a file that only its user can read",
            );
            None
        }
    }
}

fn is_variable(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(plain) && !text.as_bytes()[0].is_ascii_digit()
}

fn is_secret_value(text: &str) -> bool {
    text.starts_with("hmac-") || text.starts_with("key \"") || text.contains("-----BEGIN")
}

/// Whether a key of this name would hold a secret.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let names_a_place = key.ends_with("_file") || key.ends_with("_env") || key == "private_key";
    let words = ["secret", "passwd", "password", "passphrase", "token", "apikey", "credentials"];
    !names_a_place && (words.iter().any(|word| key.contains(word)) || key == "key" || key.ends_with("_key"))
}

/// The text with all that looks like a secret starred out, byte for byte.
pub(super) fn redacted(text: &str) -> String {
    let mut shown = text.as_bytes().to_vec();
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    for equals in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'=').map(|(at, _)| at) {
        let before = text[..equals].trim_end_matches([' ', '\t', '"', '\'']);
        let from = before.bytes().rposition(|byte| !is_word(byte)).map_or(0, |at| at + 1);
        let key = &before[from..];
        let after = equals + 1 + (text[equals + 1..].len() - text[equals + 1..].trim_start_matches([' ', '\t']).len());
        let value = value_at(text, after);
        let inside = text[value.clone()].trim_matches(['"', '\'']);
        let misplaced = (key.ends_with("_env") && !is_variable(inside)) || is_secret_value(inside);
        if is_secret_key(key) || misplaced {
            star(&mut shown, value);
        }
    }
    // USER:PASSWORD@ of addresses.
    for (at, _) in text.match_indices("://") {
        let rest = &text[at + 3..];
        let end = rest.find(['/', '?', '#', '"', '\'', ' ', '\n']).unwrap_or(rest.len());
        if let Some(host) = rest[..end].rfind('@')
            && let Some(colon) = rest[..host].find(':')
        {
            star(&mut shown, at + 3 + colon + 1..at + 3 + host);
        }
    }
    String::from_utf8(shown).expect("whole characters are starred out")
}

fn star(shown: &mut [u8], range: Range<usize>) {
    shown[range].iter_mut().filter(|byte| !matches!(**byte, b'\n' | b'\r')).for_each(|byte| *byte = b'*');
}

/// The value that begins at `from`, with its quotes: to the end of the text where they are not closed.
fn value_at(text: &str, from: usize) -> Range<usize> {
    let rest = &text[from..];
    for quotes in ["\"\"\"", "'''"] {
        if let Some(inside) = rest.strip_prefix(quotes) {
            let end = inside.find(quotes).map_or(rest.len(), |end| 2 * quotes.len() + end);
            return from..from + end;
        }
    }
    let mut escaped = false;
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    for (at, c) in rest.char_indices().skip(usize::from(quote.is_some())) {
        let ends = match quote {
            Some(quote) if c == quote && !escaped => return from..from + at + 1,
            Some(_) => c == '\n',
            None => matches!(c, '\n' | ',' | '}' | ']' | '#'),
        };
        if ends {
            return from..from + at;
        }
        escaped = c == '\\' && !escaped && quote == Some('"');
    }
    from..text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_starred_out_and_nothing_else() {
        for (text, shown) in [
            ("key = \"hunter2\" # x", "key = ********* # x"),
            ("api_key=\"a\\\"b\"\nb = 1", "api_key=******\nb = 1"),
            ("key_file = \"/etc/key\"", "key_file = \"/etc/key\""),
            ("key_env = \"FOREBAY_KEY\"", "key_env = \"FOREBAY_KEY\""),
            ("key_env = \"hunter2\"", "key_env = *********"),
            ("x = { kind = \"a\", secret = 'b', c = 1 }", "x = { kind = \"a\", secret = ***, c = 1 }"),
            ("token = \"\"\"a\nb\"\"\"\nc = 2", "token = ****\n****\nc = 2"),
            ("password = \"ä", "password = ***"),
            ("\"secret\" = 12, b", "\"secret\" = **, b"),
            ("url = \"http://me:hunter2@a.example/x\"", "url = \"http://me:*******@a.example/x\""),
            ("uri = \"qemu+ssh://me@{host}/system\"", "uri = \"qemu+ssh://me@{host}/system\""),
            ("key_file = \"hmac-sha256:a:c2Vj\"", "key_file = ********************"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_shown(text in "([a-z_]*(key|secret|token)|[ =\"'\\\\\n{},#é:@/]|://){0,40}") {
            prop_assert_eq!(redacted(&text).len(), text.len());
        }
    }
}
