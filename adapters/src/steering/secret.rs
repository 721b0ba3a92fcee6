//! Keys: read from a file or from the environment, and shown to nobody.

use std::fmt;
use std::path::Path;

use domain::tsig::{Algorithm, Key, KeyName};
use domain::utils::base64;

use super::SteeringError;

/// A key that is a line of text.
#[derive(Clone)]
#[cfg_attr(not(feature = "fetch"), allow(dead_code, reason = "only the API over HTTP has such a key"))]
pub struct Secret(String);

/// A key for signatures (RFC 8945): its name, its algorithm and its secret.
#[derive(Clone)]
pub struct TsigKey(Key);

/// Longest file with a key.
const FILE_BYTES_MOST: u64 = 64 * 1024;

impl Secret {
    /// Reads the only line of a file.
    ///
    /// # Errors
    /// [`SteeringError::Secret`] when it cannot be read, or is not one line of visible ASCII.
    pub fn from_file(path: &Path) -> Result<Secret, SteeringError> {
        let name = path.display().to_string();
        Secret::from_text(&name, &read(path)?)
    }

    /// Reads a variable of the environment.
    ///
    /// # Errors
    /// [`SteeringError::Secret`], as [`Secret::from_file`].
    pub fn from_environment(variable: &str) -> Result<Secret, SteeringError> {
        Secret::from_text(&shown(variable), &environment(variable)?)
    }

    fn from_text(name: &str, text: &str) -> Result<Secret, SteeringError> {
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong(name, "no key; allowed: one line of visible ASCII, without blanks"));
        }
        Ok(Secret(text.to_owned()))
    }

    #[cfg_attr(not(feature = "fetch"), allow(dead_code, reason = "only the API over HTTP has such a key"))]
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl TsigKey {
    /// Reads a file as `tsig-keygen` writes it, `key "NAME" { algorithm hmac-sha256; secret "BASE64"; };`, or a line
    /// `hmac-sha256:NAME:BASE64` as `nsupdate -y` and `kdig -y` take it. Allowed are HMAC with SHA-256, SHA-384 and SHA-512.
    ///
    /// # Errors
    /// [`SteeringError::Secret`].
    pub fn from_file(path: &Path) -> Result<TsigKey, SteeringError> {
        TsigKey::from_text(&path.display().to_string(), &read(path)?)
    }

    /// Reads a variable of the environment, in either form.
    ///
    /// # Errors
    /// [`SteeringError::Secret`].
    pub fn from_environment(variable: &str) -> Result<TsigKey, SteeringError> {
        TsigKey::from_text(&shown(variable), &environment(variable)?)
    }

    fn from_text(source: &str, text: &str) -> Result<TsigKey, SteeringError> {
        let form =
            "no key; allowed: key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; }; or hmac-sha256:NAME:BASE64";
        let parts = if text.contains('{') { in_braces(text) } else { in_line(text) };
        let (algorithm, name, secret) = parts.ok_or_else(|| wrong(source, form))?;
        let algorithm = match algorithm.to_ascii_lowercase().trim_end_matches('.') {
            "hmac-sha256" => Algorithm::Sha256,
            "hmac-sha384" => Algorithm::Sha384,
            "hmac-sha512" => Algorithm::Sha512,
            _ => return Err(wrong(source, "an unknown algorithm; allowed: hmac-sha256, hmac-sha384, hmac-sha512")),
        };
        let name: KeyName = name.parse().map_err(|_| wrong(source, "a key name that is no domain name"))?;
        let secret: Vec<u8> =
            base64::decode(&secret).map_err(|_| wrong(source, "a secret that is not in Base64 (RFC 4648)"))?;
        if secret.len() < 16 {
            return Err(wrong(source, "a secret of less than 16 bytes; make one with tsig-keygen"));
        }
        Ok(TsigKey(
            Key::new(algorithm, &secret, name, None, None).map_err(|_| wrong(source, "no key that can be used"))?,
        ))
    }

    /// The name that the server knows it by.
    pub fn name(&self) -> String {
        self.0.name().to_string()
    }

    pub(super) fn key(&self) -> &Key {
        &self.0
    }
}

fn in_line(text: &str) -> Option<(String, String, String)> {
    let mut parts = text.trim().split(':');
    let mut part = || Some(parts.next()?.trim().to_owned()).filter(|part| !part.is_empty());
    let all = (part()?, part()?, part()?);
    parts.next().is_none().then_some(all)
}

fn in_braces(text: &str) -> Option<(String, String, String)> {
    let spaced = text.replace(['{', '}', ';'], " ");
    let words: Vec<&str> = spaced.split_whitespace().map(|word| word.trim_matches('"')).collect();
    let after = |name: &str| Some((*words.get(words.iter().position(|word| *word == name)? + 1)?).to_owned());
    Some((after("algorithm")?, after("key")?, after("secret")?))
}

fn read(path: &Path) -> Result<String, SteeringError> {
    let name = path.display().to_string();
    let length = std::fs::metadata(path).map_err(|error| wrong(&name, &error.to_string()))?.len();
    if length > FILE_BYTES_MOST {
        return Err(wrong(&name, "too long for a key"));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(&name, &error.to_string()))
}

fn environment(variable: &str) -> Result<String, SteeringError> {
    std::env::var(variable).map_err(|_| wrong(&shown(variable), "is not set, or no text"))
}

fn shown(variable: &str) -> String {
    format!("environment variable {variable}")
}

fn wrong(source: &str, why: &str) -> SteeringError {
    SteeringError::Secret { source_name: source.to_owned(), why: why.to_owned() }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({})", self.0.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_both_forms_and_never_shown() {
        let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0";
        for text in [
            format!("hmac-sha256:steer:{secret}\n"),
            format!("key \"steer\" {{\n\talgorithm hmac-sha512;\n\tsecret \"{secret}\";\n}};\n"),
        ] {
            let key = TsigKey::from_text("f", &text).unwrap();
            assert_eq!(key.name(), "steer");
            assert_eq!(format!("{key:?}"), "TsigKey(steer)");
        }
        let key = Secret::from_text("f", "forebay\n").unwrap();
        assert_eq!((key.expose(), format!("{key:?}").as_str()), ("forebay", "Secret(…)"));
    }

    #[test]
    fn what_is_no_key_is_said_without_showing_it() {
        let long = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0";
        for (text, said) in [
            (String::new(), "allowed"),
            ("steer".to_owned(), "allowed"),
            (format!("hmac-md5:steer:{long}"), "hmac-sha256"),
            ("hmac-sha256:steer:c2hvcnQ=".to_owned(), "16 bytes"),
            ("hmac-sha256:steer:!!".to_owned(), "Base64"),
            (format!("hmac-sha256:a..b:{long}"), "domain name"),
            ("key \"steer\" { algorithm hmac-sha256; };".to_owned(), "allowed"),
        ] {
            let error = TsigKey::from_text("key.conf", &text).unwrap_err().to_string();
            assert!(error.starts_with("key.conf: ") && error.contains(said) && !error.contains(long), "{error}");
        }
        assert!(Secret::from_text("f", "two words").is_err() && Secret::from_file(Path::new("/nowhere")).is_err());
        assert!(TsigKey::from_environment("FOREBAY_NO_SUCH_VARIABLE").unwrap_err().to_string().contains("is not set"));
    }
}
