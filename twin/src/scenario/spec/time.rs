//! Points in time, as a scenario may write them.

use std::fmt;
use std::str::FromStr;

use forebay_world::{Duration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant: a date and time of TOML, or the same in quotes; without an offset, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub Timestamp);

/// An instant, or a span after the start of the run such as `"18 h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At an instant.
    At(Timestamp),
    /// This long after the start of the run.
    After(Duration),
}

impl When {
    /// The instant, in a run that begins at `start`.
    pub fn resolve(self, start: Timestamp) -> Timestamp {
        match self {
            When::At(at) => at,
            When::After(span) => start.saturating_add(span),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(span) = text.parse() {
            return Ok(When::After(span));
        }
        text.parse().map(When::At).map_err(|_| {
            format!(
                "\"{text}\" is not a time such as 2026-06-14T18:00:00Z, nor a span after the start such as \"18 h\""
            )
        })
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            When::At(at) => at.serialize(serializer),
            When::After(span) => span.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeText)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeText)?.parse().map(Instant).map_err(de::Error::custom)
    }
}

/// Reads a string, or a date and time of TOML, as text.
struct TimeText;

impl<'de> de::Visitor<'de> for TimeText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2026-06-14T18:00:00Z")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<String, A::Error> {
        let datetime = toml::value::Datetime::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let midnight = if datetime.time.is_none() { "T00:00:00" } else { "" };
        Ok(format!("{datetime}{midnight}"))
    }
}
