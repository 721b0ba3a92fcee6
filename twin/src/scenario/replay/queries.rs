//! A log of DNS queries as load: who came from which region, for which class, and when.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use forebay_adapters::prefix::{Prefix, PrefixError};
use forebay_adapters::recording::{read_recording, read_recording_from};
use forebay_adapters::{Fallback, Geography, Input, Recording, Vantage};
use forebay_sim::setup::{Load, QueryLog, QueryLogTaken};
use forebay_world::{ClassId, Duration, RegionId};
use toml::Spanned;

use super::{Replayed, by_share, class_shares, describe, point_of};
use crate::scenario::finding::Findings;
use crate::scenario::site::Site;
use crate::scenario::spec::{ReplaySpec, ScenarioSpec, TakenSpec};
use crate::scenario::{Input as ReadFrom, ScenarioError, surrogate};

/// That a text is a network.
pub(super) fn check_prefix(prefix: &Spanned<String>, findings: &mut Findings) {
    match prefix.get_ref().parse::<Prefix>() {
        Ok(_) => {}
        Err(PrefixError::NotAPrefix(_)) => findings.add(
            prefix.span(),
            format!("\"{}\" is no network", prefix.get_ref()),
            "a network such as \"203.0.113.0/24\" or \"2001:db8::/32\"",
            "the number after the / is the length of the prefix in bits",
        ),
        Err(PrefixError::HostBits { meant, .. }) => findings.add(
            prefix.span(),
            format!("\"{}\" has bits set beyond its length", prefix.get_ref()),
            "bits beyond the length must be 0",
            format!("did you mean \"{meant}\"?"),
        ),
    }
}

/// Reads a log and deals it out.
pub(super) fn load(
    spec: &ScenarioSpec,
    replay: &ReplaySpec,
    site: &Site,
    folder: &Path,
    file: Option<&Path>,
) -> Result<Replayed, ScenarioError> {
    let unusable = |error| ScenarioError::Recording(Box::new(error));
    let mut inputs = Vec::new();
    let geography = geography(replay, site, folder, &mut inputs)?;
    let (recording, mut remarks) = match file {
        Some(file) => {
            let recording = read_recording(file, &geography).map_err(unusable)?;
            if file != Path::new("-") {
                inputs.push(describe("replay", file)?);
            }
            let name = file.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
            let log = &recording.report.log;
            let mut remarks =
                vec![format!("{name}: {}, {} queries of {} client networks", log.format, log.queries, log.clients)];
            remarks.extend(recording.report.remarks().into_iter().map(|remark| format!("{name}: {remark}")));
            (recording, remarks)
        }
        None => {
            let start = spec.scenario.start.as_ref().map(|start| start.get_ref().0.saturating_add(replay.lead_in));
            let log = Cursor::new(surrogate::queries(start));
            let made_up = Input::from_reader("made-up log", log).map_err(unusable)?;
            let recording = read_recording_from(made_up, &geography).map_err(unusable)?;
            (recording, vec![surrogate::REMARK.to_owned()])
        }
    };
    let (Some(first), Some(last)) = (recording.queries.first(), recording.queries.last()) else {
        return Err(ScenarioError::Replay {
            message: "the log holds no query that can be replayed".to_owned(),
            hint: remarks.pop().unwrap_or_else(|| "give another log".to_owned()),
        });
    };
    let second = Duration::from_secs(1);
    let start = first.at.floor_to(second);
    let end = last.at.floor_to(second).saturating_add(second);
    let taken = match (replay.taken, recording.vantage) {
        (Some(TakenSpec::BeforeResolver), _) | (None, Vantage::BeforeResolver) => QueryLogTaken::BeforeResolver,
        (Some(TakenSpec::AtAuthority), _) | (None, Vantage::Authority | Vantage::AfterResolver) => {
            QueryLogTaken::AtAuthority
        }
    };
    let load = deal_out(&recording, &Classes::new(replay, site), site, taken, *replay.sessions_per_query.get_ref());
    remarks.extend(spread_remark(&recording, site));
    Ok(Replayed { start, end, lead_in: replay.lead_in, lead_out: replay.lead_out, load, inputs, remarks })
}

/// Where clients are, by all that the scenario says.
fn geography(
    replay: &ReplaySpec,
    site: &Site,
    folder: &Path,
    inputs: &mut Vec<ReadFrom>,
) -> Result<Geography, ScenarioError> {
    let unusable = |error| ScenarioError::Recording(Box::new(error));
    let mut geography = Geography::new(&site.topology.regions).with_fallback(Fallback::Spread);
    if let Some(table) = &replay.prefix_table {
        let table = folder.join(table.get_ref());
        geography = geography.with_prefix_table(&table).map_err(unusable)?;
        inputs.push(describe("prefix_table", &table)?);
    } else {
        geography = geography.with_prefixes(replay.prefixes.iter().filter_map(|(prefix, region)| {
            Some((prefix.get_ref().parse().ok()?, RegionId::at(site.regions.get(region.get_ref())?)))
        }));
    }
    if let Some(database) = &replay.mmdb {
        let database = folder.join(database.get_ref());
        geography = geography.with_database(&database).map_err(unusable)?;
        inputs.push(describe("mmdb", &database)?);
    }
    Ok(geography)
}

/// The queries of each client region × class.
fn deal_out(
    recording: &Recording,
    classes: &Classes,
    site: &Site,
    taken: QueryLogTaken,
    sessions_per_query: u32,
) -> Vec<Load> {
    let class_of: Vec<usize> = recording.names.iter().map(|name| classes.class(name)).collect();
    let mut cells: BTreeMap<usize, (QueryLog, Dense, Dense)> = BTreeMap::new();
    for query in &recording.queries {
        let cell = site.topology.cell(query.region, ClassId::at(class_of[query.name as usize]));
        let (log, caches, names) = cells.entry(cell).or_insert_with(|| {
            let log = QueryLog { at: Vec::new(), resolver: Vec::new(), name: Vec::new(), taken, sessions_per_query };
            (log, Dense::default(), Dense::default())
        });
        log.at.push(query.at);
        log.resolver.push(caches.number(query.cache));
        log.name.push(names.number(query.name));
    }
    let mut load = vec![Load::None; site.topology.cells()];
    for (cell, (log, ..)) in cells {
        load[cell] = Load::Queries(Arc::new(log));
    }
    load
}

/// How the queries fell.
fn spread_remark(recording: &Recording, site: &Site) -> Option<String> {
    let mut counts = vec![0u64; site.topology.regions.len()];
    for query in &recording.queries {
        counts[query.region.index()] += 1;
    }
    let shown: Vec<String> = site
        .topology
        .regions
        .iter()
        .zip(&counts)
        .filter(|(_, count)| **count > 0)
        .take(12)
        .map(|(region, count)| format!("{} {count}", region.name))
        .collect();
    Some(format!("queries by region: {}", shown.join(", ")))
}

/// Numbers things from 0 in the order in which they first come.
#[derive(Default)]
struct Dense(HashMap<u32, u32>);

impl Dense {
    fn number(&mut self, thing: u32) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(thing).or_insert(next)
    }
}

/// Which class a name is of.
struct Classes {
    suffixes: Vec<(String, usize)>,
    shares: Vec<f64>,
}

impl Classes {
    fn new(replay: &ReplaySpec, site: &Site) -> Self {
        let suffixes = replay
            .suffixes
            .iter()
            .filter_map(|(suffix, class)| {
                Some((suffix.trim_matches('.').to_ascii_lowercase(), site.classes.get(class.get_ref())?))
            })
            .collect();
        Classes { suffixes, shares: class_shares(replay, site) }
    }

    /// By the longest suffix of whole labels that fits, else by the last two labels of the name: all names of one
    /// domain are of one class.
    fn class(&self, name: &str) -> usize {
        let fits = |suffix: &str| {
            suffix.is_empty() || name == suffix || name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'))
        };
        if let Some((_, class)) =
            self.suffixes.iter().filter(|(suffix, _)| fits(suffix)).max_by_key(|(suffix, _)| suffix.len())
        {
            return *class;
        }
        let second = name.rfind('.').and_then(|last| name[..last].rfind('.')).map_or(0, |dot| dot + 1);
        by_share(&self.shares, point_of(&name[second..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_the_class_of_its_longest_suffix_and_a_domain_stays_together() {
        let classes =
            Classes { suffixes: vec![("example".into(), 0), ("video.example".into(), 1)], shares: vec![0.5, 0.5] };
        for (name, class) in [("www.example", 0), ("a.video.example", 1), ("video.example", 1), ("notvideo.example", 0)]
        {
            assert_eq!(classes.class(name), class, "{name}");
        }
        assert_eq!(classes.class("www.some.test"), classes.class("static.some.test"));
        assert_eq!(classes.class("some.test"), classes.class("static.some.test"));
        classes.class("");
    }
}
