//! What looks at the record sets of a zone: it reads them, and is not the writer.

use std::collections::{BTreeMap, BTreeSet};

use super::ZoneOptions;
use super::registry::Registry;
use crate::steering::SteeringError;
use crate::steering::dns_name::DnsName;
use crate::steering::expressed::Expressed;
use crate::steering::marker::Marker;
use crate::steering::record_set::{Kind, RecordSet};
use crate::steering::standing::{Standing, StandingName};
use crate::steering::view::{SteeringCapabilities, SteeringView};

/// Record sets of a server, to be read.
pub(in crate::steering) trait RecordSource: Send {
    /// The server, as operators know it.
    fn endpoint(&self) -> String;

    fn capabilities(&self) -> SteeringCapabilities;

    /// Begins to look anew.
    fn begin(&mut self) -> Result<(), SteeringError>;

    /// The set of one name and type; without records where there is none.
    fn set(&mut self, owner: &DnsName, kind: Kind) -> Result<RecordSet, SteeringError>;

    /// Types of records by which a name is, or would otherwise be, answered.
    fn kinds(&self) -> &'static [Kind];

    /// What sets answer; `None` for sets that are none of ours.
    fn answers_of(&self, sets: &[RecordSet]) -> Option<Expressed>;
}

/// Sees what stands in one zone.
pub(in crate::steering) struct ZoneView<S: RecordSource> {
    pub(super) store: S,
    zone: DnsName,
    owner: String,
}

/// One name as seen.
pub(super) struct Seen {
    pub(super) mark: Mark,
    pub(super) sets: Vec<RecordSet>,
}

pub(super) enum Mark {
    None,
    Ours(Marker),
    /// Of another owner, who is named.
    Theirs(String),
    /// Not to be understood.
    Unreadable,
}

pub(super) struct Look {
    pub(super) registry: Registry,
    pub(super) names: BTreeMap<DnsName, Seen>,
}

impl<S: RecordSource> ZoneView<S> {
    /// Of the options, whose marks are meant, and in which zone.
    pub(in crate::steering) fn new(store: S, options: &ZoneOptions) -> Result<Self, SteeringError> {
        let owner = &options.owner;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if owner.is_empty() || owner.len() > 32 || !owner.bytes().all(plain) {
            let what = format!("owner {owner:?}; allowed: 1 to 32 small letters, digits and hyphens");
            return Err(SteeringError::Contradiction { what });
        }
        Ok(ZoneView { store, zone: options.zone.clone(), owner: owner.clone() })
    }

    #[cfg(feature = "fetch")]
    pub(super) fn store(&self) -> &S {
        &self.store
    }

    pub(super) fn registry_name(&self) -> Result<DnsName, SteeringError> {
        let zone = &self.zone;
        let name = zone.child("_forebay").and_then(|name| name.child(&format!("_{}", self.owner)));
        name.ok_or_else(|| SteeringError::Contradiction {
            what: format!("zone {zone} has too long a name for a list in it"),
        })
    }

    pub(super) fn mark_name(&self, name: &DnsName) -> Result<DnsName, SteeringError> {
        let zone = &self.zone;
        if !name.is_within(zone) || name.as_str().split('.').any(|label| label == "_forebay") {
            let what = format!("{name}; allowed: names in {zone}, without the label _forebay");
            return Err(SteeringError::Contradiction { what });
        }
        // One label and the list's words beside it must fit, too.
        let mark = name.child("_forebay").filter(|mark| mark.as_str().len() <= 240);
        mark.ok_or_else(|| SteeringError::Contradiction { what: format!("{name} is too long for a mark beside it") })
    }

    /// Looks at everything that is listed, and at these names.
    pub(super) fn look(&mut self, wanted: impl Iterator<Item = DnsName>) -> Result<Look, SteeringError> {
        self.store.begin()?;
        let list = self.registry_name()?;
        let registry = Registry::parse(&self.store.set(&list, Kind::Txt)?);
        let names: BTreeSet<DnsName> = registry.names.iter().cloned().chain(wanted).collect();
        let mut seen = BTreeMap::new();
        for name in names {
            let one = self.look_at(&name)?;
            seen.insert(name, one);
        }
        Ok(Look { registry, names: seen })
    }

    fn look_at(&mut self, name: &DnsName) -> Result<Seen, SteeringError> {
        let mark_name = self.mark_name(name)?;
        let set = self.store.set(&mark_name, Kind::Txt)?;
        let text = if set.records.len() == 1 { set.records.first() } else { None };
        let mark = match text.and_then(|text| Marker::parse(text)) {
            _ if set.records.is_empty() => Mark::None,
            Some(marker) if marker.owner == self.owner => Mark::Ours(marker),
            Some(marker) => Mark::Theirs(marker.owner),
            None => Mark::Unreadable,
        };
        let mut sets = Vec::new();
        for kind in self.store.kinds() {
            let set = self.store.set(name, *kind)?;
            if !set.records.is_empty() {
                sets.push(set);
            }
        }
        Ok(Seen { mark, sets })
    }

    pub(super) fn standing(&self, look: &Look) -> Standing {
        let mut standing = Standing::default();
        for (name, seen) in &look.names {
            let listed = look.registry.names.contains(name);
            match &seen.mark {
                Mark::Ours(marker) => {
                    standing.generation = standing.generation.max(Some(marker.generation));
                    if !listed {
                        standing.strays.push(format!("{name} is not listed"));
                    }
                    let answered = self.store.answers_of(&seen.sets);
                    match &marker.now {
                        Some(asked) => {
                            let (generation, asked) = (marker.generation, asked.clone());
                            let answered = answered.unwrap_or_default();
                            standing.names.insert(name.clone(), StandingName { generation, asked, answered });
                        }
                        None if seen.sets.is_empty() => {
                            standing.withdrawn.insert(name.clone());
                        }
                        None => standing.strays.push(format!("{name} is answered, but was withdrawn")),
                    }
                }
                Mark::Theirs(owner) => standing.foreign.push(format!("{name}, of owner {owner}")),
                Mark::None | Mark::Unreadable if listed => {
                    standing.strays.push(format!("{name} is listed, without a mark of its own"));
                }
                Mark::None => {
                    standing.foreign.extend(seen.sets.iter().map(|set| format!("{} {}", set.owner, set.kind)))
                }
                Mark::Unreadable => standing.foreign.push(format!("the mark of {name}, which cannot be understood")),
            }
        }
        standing
    }
}

impl<S: RecordSource> SteeringView for ZoneView<S> {
    fn place(&self) -> String {
        format!("zone {} at {}", self.zone, self.store.endpoint())
    }

    fn capabilities(&self) -> SteeringCapabilities {
        self.store.capabilities()
    }

    fn read(&mut self) -> Result<Standing, SteeringError> {
        let look = self.look(std::iter::empty())?;
        Ok(self.standing(&look))
    }

    fn answered(&mut self, names: &[DnsName]) -> Result<BTreeMap<DnsName, Option<Expressed>>, SteeringError> {
        self.store.begin()?;
        let mut answered = BTreeMap::new();
        for name in names {
            let mut sets = Vec::new();
            for kind in self.store.kinds() {
                sets.push(self.store.set(name, *kind)?);
            }
            sets.retain(|set| !set.records.is_empty());
            // A hand may give addresses of one family another time to live: the shorter is when they are asked for anew.
            let shortest = sets.iter().map(|set| set.ttl_seconds).min();
            sets.iter_mut().zip(shortest.into_iter().cycle()).for_each(|(set, ttl)| set.ttl_seconds = ttl);
            if !sets.is_empty() {
                answered.insert(name.clone(), self.store.answers_of(&sets));
            }
        }
        Ok(answered)
    }
}
