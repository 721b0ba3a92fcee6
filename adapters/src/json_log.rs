//! Logs of one JSON object a line: Zeek's, Cloudflare's, AdGuard Home's, and any other by the names of its fields.
//!
//! Only keys of the outer object are looked at; values are texts, numbers or null. Values are borrowed from the line
//! unless they have escapes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::dns_message::NameBuffer;
use crate::fields::{Field, Records, Spelling, Values};
use crate::line_log::{Asked, LineFormat, NotAsked};
use crate::read_options::ReadOptions;

/// Reads lines of JSON.
pub(crate) struct JsonLog {
    records: Records,
}

impl JsonLog {
    pub(crate) fn new(spelling: Spelling, options: &ReadOptions) -> JsonLog {
        JsonLog { records: Records::new(spelling, options) }
    }
}

impl LineFormat for JsonLog {
    fn read(&mut self, line: &[u8], name: &mut NameBuffer) -> Result<Asked, NotAsked> {
        let raw = read_object(line, &self.records.spelling)
            .map_err(|error| NotAsked::malformed(&format!("no JSON object ({error}):"), line))?;
        let texts: [Option<Cow<'_, [u8]>>; 12] = raw.map(|value| value.and_then(text_of));
        let values: Values<'_> = std::array::from_fn(|field| texts[field].as_deref());
        let has = |field: Field| raw[field as usize].is_some();
        if !has(Field::Time) || !(has(Field::Client) || has(Field::Ecs)) {
            let missing = self.records.spelling.missing(has);
            return Err(NotAsked::Malformed(format!("an object without {}", missing.join(", "))));
        }
        self.records.read(&values, name)
    }

    fn assumptions(&self) -> Vec<String> {
        self.records.assumptions()
    }
}

/// Names of the keys of an object, for its recognition; empty when the line is none.
pub(crate) fn keys_of(line: &[u8]) -> Vec<String> {
    let object: Result<std::collections::BTreeMap<String, IgnoredAny>, _> = serde_json::from_slice(line);
    object.map(|object| object.into_keys().collect()).unwrap_or_default()
}

/// Values by [`Field`], as they are written.
type Raw<'a> = [Option<&'a RawValue>; 12];

fn read_object<'a>(line: &'a [u8], spelling: &Spelling) -> Result<Raw<'a>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let raw = deserializer.deserialize_map(Object { spelling })?;
    deserializer.end()?;
    Ok(raw)
}

/// The text of a value that has one: what is in the quotes, or a number as it is written.
fn text_of(value: &RawValue) -> Option<Cow<'_, [u8]>> {
    let written = value.get();
    match written.as_bytes() {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Some(Cow::Borrowed(text)),
        [b'"', ..] => serde_json::from_str::<String>(written).ok().map(|text| Cow::Owned(text.into_bytes())),
        [b'0'..=b'9' | b'-', ..] => Some(Cow::Borrowed(written.as_bytes())),
        _ => None,
    }
}

struct Object<'s> {
    spelling: &'s Spelling,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Raw<'de>, M::Error> {
        let mut raw: Raw<'de> = [None; 12];
        let mut rank = [usize::MAX; 12];
        while let Some(found) = map.next_key_seed(Key { spelling: self.spelling })? {
            match found {
                Some((field, preference)) if preference < rank[field as usize] => {
                    raw[field as usize] = Some(map.next_value()?);
                    rank[field as usize] = preference;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(raw)
    }
}

/// A key, told without a copy.
struct Key<'s> {
    spelling: &'s Spelling,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<(Field, usize)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<(Field, usize)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.spelling.find(key.as_bytes()))
    }
}
