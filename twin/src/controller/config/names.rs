//! How a configuration names cells and local times.

use std::fmt;
use std::str::FromStr;

use forebay_world::{ClassId, RegionId, Topology};
use serde::{Deserialize, Serialize};

/// Names some region × class cells: `ams/video`, `ams/*`, `*/video` or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CellPattern {
    /// Region by name; all when absent.
    region: Option<String>,
    /// Class by name; all when absent.
    class: Option<String>,
}

impl CellPattern {
    /// Whether it names this cell.
    pub fn matches(&self, topology: &Topology, region: RegionId, class: ClassId) -> bool {
        self.region.as_ref().is_none_or(|name| *name == topology.region(region).name)
            && self.class.as_ref().is_none_or(|name| *name == topology.class(class).name)
    }

    /// What it names that the topology does not have.
    pub(crate) fn unknown(&self, topology: &Topology) -> Option<String> {
        let names = |names: Vec<&str>| names.join(", ");
        if let Some(name) = &self.region
            && !topology.regions.iter().any(|region| region.name == *name)
        {
            let known = names(topology.regions.iter().map(|region| region.name.as_str()).collect());
            return Some(format!("a pattern of known regions ({known}) and classes"));
        }
        if let Some(name) = &self.class
            && !topology.classes.iter().any(|class| class.name == *name)
        {
            let known = names(topology.classes.iter().map(|class| class.name.as_str()).collect());
            return Some(format!("a pattern of regions and known classes ({known})"));
        }
        None
    }
}

impl FromStr for CellPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("\"{text}\" is not a cell pattern such as \"ams/video\", \"ams/*\", \"*/video\" or \"*\"");
        let part = |name: &str| match name {
            "" => Err(refuse()),
            "*" => Ok(None),
            name => Ok(Some(name.to_owned())),
        };
        match text.split_once('/') {
            None if text == "*" => Ok(CellPattern { region: None, class: None }),
            None => Err(refuse()),
            Some((_, class)) if class.contains('/') => Err(refuse()),
            Some((region, class)) => Ok(CellPattern { region: part(region)?, class: part(class)? }),
        }
    }
}

impl TryFrom<String> for CellPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for CellPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region.as_deref().unwrap_or("*"), self.class.as_deref().unwrap_or("*"))
    }
}

impl From<CellPattern> for String {
    fn from(pattern: CellPattern) -> String {
        pattern.to_string()
    }
}

/// A local time: `18:30`. `24:00` is the end of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    /// Minutes since midnight, 0 to 1440.
    pub minutes: u16,
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = |part: &str| {
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u16>().ok()).flatten()
        };
        text.split_once(':')
            .and_then(|(hours, minutes)| Some((number(hours)?, number(minutes)?)))
            .filter(|&(hours, minutes)| minutes < 60 && (hours < 24 || (hours == 24 && minutes == 0)))
            .map(|(hours, minutes)| TimeOfDay { minutes: hours * 60 + minutes })
            .ok_or_else(|| format!("\"{text}\" is not a time of day such as \"07:30\" or \"24:00\""))
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        format!("{:02}:{:02}", time.minutes / 60, time.minutes % 60)
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the days of the week")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}
