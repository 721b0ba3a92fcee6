//! A log of DNS queries as load: who came from which region, for which class, and when.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use forebay_adapters::prefix::{Prefix, PrefixError};
use forebay_adapters::query::{LoggedQuery, Vantage, read_queries};
use forebay_sim::setup::{Load, QueryLog, QueryLogTaken};
use forebay_world::{ClassId, Duration, RegionId, Timestamp};
use toml::Spanned;

use super::{Replayed, by_share, class_shares, describe, point_of, region_shares};
use crate::scenario::finding::Findings;
use crate::scenario::site::Site;
use crate::scenario::spec::{ReplaySpec, ScenarioSpec, TakenSpec};
use crate::scenario::{ScenarioError, surrogate};

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
    let mut inputs = Vec::new();
    let mut places = Places::new(spec, replay, site, folder, &mut inputs)?;
    let names = Classes::new(replay, site);
    let mut rows = Rows::default();
    let mut take = |query: &LoggedQuery<'_>| {
        let region = places.region(query.client, query.ecs);
        let (name, class) = rows.name(query.name, &names);
        rows.push(query, region, name, class);
    };
    let (vantage, mut remarks) = match file {
        Some(file) => {
            let report = read_queries(file, &mut take).map_err(|error| ScenarioError::Recording(Box::new(error)))?;
            if file != Path::new("-") {
                inputs.push(describe("replay", file)?);
            }
            let name = file.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
            let mut remarks =
                vec![format!("{name}: {}, {} queries of {} clients", report.format, report.queries, report.clients)];
            remarks.extend(report.remarks().into_iter().map(|remark| format!("{name}: {remark}")));
            (report.vantage(), remarks)
        }
        None => {
            let start = spec.scenario.start.as_ref().map(|start| start.get_ref().0.saturating_add(replay.lead_in));
            surrogate::queries(start, &mut take);
            (Some(Vantage::BeforeResolver), vec![surrogate::REMARK.to_owned()])
        }
    };
    let Some(vantage) = vantage else {
        return Err(ScenarioError::Replay {
            message: "the log holds no query".to_owned(),
            hint: remarks.pop().unwrap_or_else(|| "give another log".to_owned()),
        });
    };
    let other_side = rows.keep(vantage);
    if other_side > 0 {
        remarks.push(format!("{other_side} queries were seen on the other side of a resolver and are not replayed twice"));
    }
    remarks.extend(places.remark());

    let taken = match replay.taken {
        Some(TakenSpec::BeforeResolver) => QueryLogTaken::BeforeResolver,
        Some(TakenSpec::AtAuthority) => QueryLogTaken::AtAuthority,
        None if vantage == Vantage::BeforeResolver => QueryLogTaken::BeforeResolver,
        None => QueryLogTaken::AtAuthority,
    };
    let (first, last) = rows.span().expect("a log with a vantage has a query");
    let start = first.floor_to(Duration::from_secs(1));
    let end = last.floor_to(Duration::from_secs(1)).saturating_add(Duration::from_secs(1));
    let load = rows.into_load(site, taken, *replay.sessions_per_query.get_ref());
    Ok(Replayed { start, end, lead_in: replay.lead_in, load, inputs, remarks })
}

/// One query, dealt out.
struct Row {
    at: Timestamp,
    region: u16,
    class: u8,
    vantage: Vantage,
    name: u32,
    /// Who keeps the answer: the resolver that asks, or that is asked.
    resolver: IpAddr,
}

/// Queries of a log, and their names.
#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    names: HashMap<String, (u32, u8)>,
}

impl Rows {
    fn name(&mut self, name: &str, classes: &Classes) -> (u32, u8) {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let new = (self.names.len() as u32, classes.class(name) as u8);
        self.names.insert(name.to_owned(), new);
        new
    }

    fn push(&mut self, query: &LoggedQuery<'_>, region: usize, name: u32, class: u8) {
        let resolver = match (query.vantage, query.server) {
            (Vantage::BeforeResolver, Some(server)) => server,
            _ => query.client,
        };
        self.rows.push(Row { at: query.at, region: region as u16, class, vantage: query.vantage, name, resolver });
    }

    /// Keeps what was seen at one side of the resolvers; how many were not.
    fn keep(&mut self, vantage: Vantage) -> usize {
        let before = self.rows.len();
        self.rows.retain(|row| row.vantage == vantage);
        before - self.rows.len()
    }

    fn span(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.rows.iter().map(|row| row.at).min()?, self.rows.iter().map(|row| row.at).max()?))
    }

    fn into_load(mut self, site: &Site, taken: QueryLogTaken, sessions_per_query: u32) -> Vec<Load> {
        // Stable: queries of one instant keep the order of the log.
        self.rows.sort_by_key(|row| row.at);
        let mut cells: BTreeMap<usize, (QueryLog, Dense<IpAddr>, Dense<u32>)> = BTreeMap::new();
        for row in &self.rows {
            let cell = site.topology.cell(RegionId(row.region), ClassId(row.class));
            let (log, resolvers, names) = cells.entry(cell).or_insert_with(|| {
                let log = QueryLog { at: Vec::new(), resolver: Vec::new(), name: Vec::new(), taken, sessions_per_query };
                (log, Dense::default(), Dense::default())
            });
            log.at.push(row.at);
            log.resolver.push(resolvers.number(row.resolver));
            log.name.push(names.number(row.name));
        }
        let mut load = vec![Load::None; site.topology.cells()];
        for (cell, (log, ..)) in cells {
            load[cell] = Load::Queries(Arc::new(log));
        }
        load
    }
}

/// Numbers things from 0 in the order in which they first come.
struct Dense<T>(HashMap<T, u32>);

impl<T> Default for Dense<T> {
    fn default() -> Self {
        Dense(HashMap::new())
    }
}

impl<T: Hash + Eq> Dense<T> {
    fn number(&mut self, thing: T) -> u32 {
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

/// Which region a client is in.
struct Places {
    prefixes: Vec<(Prefix, usize)>,
    shares: Vec<f64>,
    /// Networks that were looked up already.
    known: HashMap<IpAddr, (usize, bool)>,
    unknown_queries: u64,
    unknown_networks: HashMap<Prefix, ()>,
}

impl Places {
    fn new(
        spec: &ScenarioSpec,
        replay: &ReplaySpec,
        site: &Site,
        _folder: &Path,
        _inputs: &mut Vec<crate::scenario::Input>,
    ) -> Result<Self, ScenarioError> {
        let mut prefixes: Vec<(Prefix, usize)> = replay
            .prefixes
            .iter()
            .filter_map(|(prefix, region)| {
                Some((prefix.get_ref().parse().ok()?, site.regions.get(region.get_ref())?))
            })
            .collect();
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.length()));
        Ok(Places {
            prefixes,
            shares: region_shares(spec),
            known: HashMap::new(),
            unknown_queries: 0,
            unknown_networks: HashMap::new(),
        })
    }

    /// The region of a client: by the subnet that its resolver names on its behalf, else by its own address; by the
    /// longest network that fits, else dealt out by its network.
    fn region(&mut self, client: IpAddr, subnet: Option<Prefix>) -> usize {
        let address = subnet.filter(|subnet| subnet.length() > 0).map_or(client, |subnet| subnet.address());
        if let Some((region, found)) = self.known.get(&address) {
            self.unknown_queries += u64::from(!found);
            return *region;
        }
        let found = self.prefixes.iter().find(|(prefix, _)| prefix.contains(address)).map(|(_, region)| *region);
        let region = found.unwrap_or_else(|| {
            let network = Prefix::of_client(address);
            self.unknown_queries += 1;
            self.unknown_networks.insert(network, ());
            by_share(&self.shares, point_of(&network.to_string()))
        });
        self.known.insert(address, (region, found.is_some()));
        region
    }

    fn remark(&self) -> Option<String> {
        (self.unknown_queries > 0).then(|| {
            format!(
                "{} queries of {} networks that no table has were dealt out over the regions by population",
                self.unknown_queries,
                self.unknown_networks.len()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_the_class_of_its_longest_suffix_and_a_domain_stays_together() {
        let classes = Classes {
            suffixes: vec![("example".into(), 0), ("video.example".into(), 1)],
            shares: vec![0.5, 0.5],
        };
        for (name, class) in [("www.example", 0), ("a.video.example", 1), ("video.example", 1), ("notvideo.example", 0)]
        {
            assert_eq!(classes.class(name), class, "{name}");
        }
        assert_eq!(classes.class("www.some.test"), classes.class("static.some.test"));
        assert_eq!(classes.class("some.test"), classes.class("static.some.test"));
        classes.class("");
    }
}
