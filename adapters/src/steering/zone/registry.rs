//! The list of an owner's names in a zone, and its one writer.

use std::collections::BTreeSet;

use super::super::dns_name::DnsName;
use super::super::record_set::{Kind, RecordSet};
use super::MARK_TTL_SECONDS;

/// What stands at `_OWNER._forebay.ZONE`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Registry {
    pub(super) names: BTreeSet<DnsName>,
    pub(super) writer: Option<Writer>,
    /// Whether anything stands there.
    pub(super) is_there: bool,
}

/// Who may write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Writer {
    pub(super) name: String,
    /// Until when \[s since the Unix epoch\].
    pub(super) until: u64,
}

/// What begins each record.
const FORM: &str = "forebay1";

impl Registry {
    /// Reads the list; what cannot be understood is no part of it, and goes with the next change.
    pub(super) fn parse(set: &RecordSet) -> Registry {
        let mut registry = Registry { is_there: !set.records.is_empty(), ..Registry::default() };
        for record in &set.records {
            let Some(words) = record.strip_prefix(FORM) else { continue };
            let mut words = words.split_ascii_whitespace();
            match (words.next().and_then(|word| word.split_once('=')), words.next()) {
                (Some(("name", name)), None) => registry.names.extend(name.parse::<DnsName>()),
                (Some(("writer", name)), Some(until)) => {
                    let until = until.strip_prefix("until=").and_then(|until| until.parse().ok());
                    // Of several, the one that stays longest.
                    let later = |until: &u64| registry.writer.as_ref().is_none_or(|writer| writer.until < *until);
                    if let Some(until) = until.filter(later) {
                        registry.writer = Some(Writer { name: name.to_owned(), until });
                    }
                }
                _ => {}
            }
        }
        registry
    }

    pub(super) fn to_set(&self, list: &DnsName) -> RecordSet {
        let names = self.names.iter().map(|name| format!("{FORM} name={name}"));
        let writer = self.writer.iter().map(|writer| format!("{FORM} writer={} until={}", writer.name, writer.until));
        RecordSet::new(list, Kind::Txt, MARK_TTL_SECONDS, names.chain(writer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written_and_garbage_is_no_part_of_it() {
        let list: DnsName = "_a._forebay.cdn.test".parse().unwrap();
        let writer = Some(Writer { name: "w-1".to_owned(), until: 77 });
        let names = ["a.cdn.test".parse().unwrap(), "b.cdn.test".parse().unwrap()].into();
        let registry = Registry { names, writer, is_there: true };
        let mut set = registry.to_set(&list);
        assert_eq!(Registry::parse(&set), registry);
        let garbage = ["", "forebay1", "forebay1 name=", "forebay1 name=a b", "forebay1 writer=x until=y", "x name=y"];
        set.records.extend(garbage.map(str::to_owned));
        assert_eq!(Registry::parse(&set), registry);
        assert_eq!(Registry::parse(&RecordSet::none(&list, Kind::Txt)), Registry::default());
    }
}
