//! A query log as load: each query with its region, the cache that keeps its answer, and its name, in order of time.
//!
//! Here addresses end: what is kept of a client is its region, and of a cache a number. Which service a name belongs
//! to is up to the caller.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use forebay_world::{RegionId, Timestamp};

use crate::error::ReadError;
use crate::geography::{Geography, LocatedBy};
use crate::input::Input;
use crate::prefix::Prefix;
use crate::query::{LoggedQuery, Vantage, read_queries_from};
use crate::query_report::QueryReport;
use crate::read_options::ReadOptions;

/// A log of queries with their regions.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Where the queries were seen: one vantage point, so that no demand counts twice.
    pub vantage: Vantage,
    /// Queries in order of time.
    pub queries: Vec<RecordedQuery>,
    /// Names by number, in order of their first query in the file.
    pub names: Vec<String>,
    /// How many caches there are: [`RecordedQuery::cache`] is below.
    pub caches: u32,
    /// What was read and what became of it.
    pub report: RecordingReport,
}

/// One query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedQuery {
    /// When it was seen.
    pub at: Timestamp,
    /// Number of the cache that keeps the answer. Before a resolver: the resolver that was asked (its region's, when
    /// the log does not tell). At an authority: the network (/24 or /56) of the resolver that asked, apart for each
    /// client subnet it asks for (RFC 7871: answers are kept by subnet).
    pub cache: u32,
    /// Number of the name: a position in [`Recording::names`].
    pub name: u32,
    /// Region of the client.
    pub region: RegionId,
    /// Type of record asked for.
    pub qtype: u16,
}

/// What a log had and what became of its queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingReport {
    /// What was read.
    pub log: QueryReport,
    /// Queries that were left out because they were seen from another vantage point.
    pub other_vantage: u64,
    /// Queries that were left out because their client cannot be located.
    pub unlocated: u64,
    /// Queries by what located them, in the order of [`LocatedBy`].
    pub located_by: [u64; 5],
}

impl RecordingReport {
    /// Sentences for the operator about what is not as expected; none when all is.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.log.remarks();
        if self.other_vantage > 0 {
            remarks.push(format!("{} queries of other vantage points were left out", self.other_vantage));
        }
        if self.unlocated > 0 {
            remarks.push(format!("{} queries have no region and were left out", self.unlocated));
        }
        let fallback = self.located_by[LocatedBy::Fallback as usize];
        if fallback > 0 {
            remarks.push(format!("{fallback} queries could not be located and went to the fallback"));
        }
        remarks
    }
}

/// Reads a query log (see [`read_queries`](crate::query::read_queries)) and locates its clients. All in memory: 32
/// bytes a query.
///
/// # Errors
/// As [`read_queries`](crate::query::read_queries).
pub fn read_recording(path: &Path, geography: &Geography) -> Result<Recording, ReadError> {
    read_recording_from(Input::open(path)?, geography)
}

/// As [`read_recording`], from an opened input.
///
/// # Errors
/// As [`read_recording`].
pub fn read_recording_from(input: Input, geography: &Geography) -> Result<Recording, ReadError> {
    read_recording_with(input, &ReadOptions::default(), geography)
}

/// As [`read_recording_from`], with what the operator says about the log.
///
/// # Errors
/// As [`read_recording`].
pub fn read_recording_with(input: Input, options: &ReadOptions, geography: &Geography) -> Result<Recording, ReadError> {
    let mut gathering = Gathering::new(geography);
    let log = read_queries_from(input, options, &mut |query| gathering.take(query))?;
    Ok(gathering.finish(log))
}

/// A query whose region may be unknown.
struct Taken {
    query: RecordedQuery,
    vantage: Vantage,
    located_by: Option<LocatedBy>,
}

/// Who asks whom, as far as it matters for place and cache.
type Source = (IpAddr, Option<IpAddr>, Option<Prefix>, Vantage);

/// Whose answers are kept together.
#[derive(PartialEq, Eq, Hash)]
enum Cache {
    Resolver(IpAddr),
    OfRegion(Option<RegionId>),
    Asking(Prefix, Option<Prefix>),
}

/// Numbers what it sees, in order of appearance.
struct Gathering<'a> {
    geography: &'a Geography,
    sources: HashMap<Source, (Option<(RegionId, LocatedBy)>, u32)>,
    caches: HashMap<Cache, u32>,
    numbers: HashMap<String, u32>,
    names: Vec<String>,
    taken: Vec<Taken>,
}

impl<'a> Gathering<'a> {
    fn new(geography: &'a Geography) -> Self {
        Gathering {
            geography,
            sources: HashMap::new(),
            caches: HashMap::new(),
            numbers: HashMap::new(),
            names: Vec::new(),
            taken: Vec::new(),
        }
    }

    fn take(&mut self, query: &LoggedQuery<'_>) {
        let source = (query.client, query.server, query.ecs, query.vantage);
        let (located, cache) = match self.sources.get(&source) {
            Some(&known) => known,
            None => {
                let known = self.settle(query);
                self.sources.insert(source, known);
                known
            }
        };
        let name = match self.numbers.get(query.name) {
            Some(&number) => number,
            None => {
                let number = self.names.len() as u32;
                self.names.push(query.name.to_owned());
                self.numbers.insert(query.name.to_owned(), number);
                number
            }
        };
        // The region of a query that has none is never looked at.
        let region = located.map_or(RegionId(0), |(region, _)| region);
        self.taken.push(Taken {
            query: RecordedQuery { at: query.at, cache, name, region, qtype: query.qtype },
            vantage: query.vantage,
            located_by: located.map(|(_, by)| by),
        });
    }

    /// Region and cache of a source that is seen for the first time.
    fn settle(&mut self, query: &LoggedQuery<'_>) -> (Option<(RegionId, LocatedBy)>, u32) {
        let located = self.geography.locate(query.client, query.ecs);
        let cache = match (query.vantage, query.server) {
            (Vantage::BeforeResolver, Some(server)) => Cache::Resolver(server),
            (Vantage::BeforeResolver, None) => Cache::OfRegion(located.map(|(region, _)| region)),
            (Vantage::Authority | Vantage::AfterResolver, _) => {
                Cache::Asking(Prefix::of_client(query.client), query.ecs.map(Prefix::truncated))
            }
        };
        let next = self.caches.len() as u32;
        (located, *self.caches.entry(cache).or_insert(next))
    }

    fn finish(self, log: QueryReport) -> Recording {
        let vantage = log.vantage().unwrap_or(Vantage::Authority);
        let mut report = RecordingReport { log, other_vantage: 0, unlocated: 0, located_by: [0; 5] };
        let mut queries = Vec::with_capacity(self.taken.len());
        for taken in self.taken {
            if taken.vantage != vantage {
                report.other_vantage += 1;
            } else if let Some(by) = taken.located_by {
                report.located_by[by as usize] += 1;
                queries.push(taken.query);
            } else {
                report.unlocated += 1;
            }
        }
        // Stable: queries of one instant stay in the order of the file.
        queries.sort_by_key(|query| query.at);
        Recording { vantage, queries, names: self.names, caches: self.caches.len() as u32, report }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::dns_message::tests::query;
    use crate::dnstap::tests::frame;
    use crate::frame_streams::tests::stream;
    use crate::geography::Fallback;
    use forebay_world::{LinkId, Region};

    fn geography() -> Geography {
        let regions = ["ams", "nyc"].map(|name| Region {
            name: name.into(),
            lat: 0.0,
            lon: 0.0,
            time_zone: "UTC".into(),
            access: LinkId(0),
        });
        Geography::new(&regions).with_prefixes([
            ("10.0.0.0/8".parse().unwrap(), RegionId(0)),
            ("203.0.113.0/24".parse().unwrap(), RegionId(1)),
        ])
    }

    fn tap(rows: &[(u64, u64, &str, &str, Option<&str>)]) -> Recording {
        let frames: Vec<_> = rows
            .iter()
            .map(|(kind, second, client, name, ecs)| {
                let message = query(&[name.as_bytes()], 1, ecs.map(|ecs| ecs.parse().unwrap()));
                frame(*kind, Timestamp::from_secs(*second), client.parse().unwrap(), &message)
            })
            .collect();
        let bytes = stream(frames.iter().map(Vec::as_slice));
        read_recording_from(Input::from_reader("tap", Cursor::new(bytes)).unwrap(), &geography()).unwrap()
    }

    #[test]
    fn at_an_authority_answers_are_kept_by_resolver_and_subnet() {
        let recording = tap(&[
            (1, 9, "10.0.0.1", "b", None),
            (1, 3, "10.0.0.2", "a", None),
            (1, 4, "10.0.0.1", "a", Some("203.0.113.0/24")),
            (1, 5, "10.0.0.1", "a", Some("203.0.113.128/25")),
            (1, 6, "192.0.2.1", "a", None),
            (2, 7, "10.0.0.1", "a", None),
        ]);
        assert_eq!(recording.vantage, Vantage::Authority);
        assert_eq!(recording.names, ["b", "a"]);
        let rows: Vec<_> =
            recording.queries.iter().map(|q| (q.at.as_secs_f64() as u64, q.region.0, q.cache, q.name)).collect();
        assert_eq!(rows, [(3, 0, 0, 1), (4, 1, 1, 1), (5, 1, 1, 1), (9, 0, 0, 0)]);
        assert_eq!((recording.report.unlocated, recording.report.located_by), (1, [4, 0, 0, 0, 0]));
        assert_eq!(recording.caches, 3);
        assert!(recording.report.remarks().iter().any(|r| r.contains("no region")));
    }

    #[test]
    fn demand_seen_on_both_sides_of_a_resolver_counts_once() {
        let recording =
            tap(&[(5, 1, "10.0.0.1", "a", None), (3, 2, "10.9.9.9", "a", None), (3, 3, "10.9.9.9", "b", None)]);
        assert_eq!((recording.vantage, recording.queries.len()), (Vantage::BeforeResolver, 1));
        assert_eq!(recording.report.other_vantage, 2);
    }

    #[test]
    fn before_a_resolver_the_resolver_keeps_the_answers() {
        let log = "#fields\tts\tid.orig_h\tid.resp_h\tquery\tqtype\n\
                   1\t10.0.0.1\t10.9.0.1\ta\t1\n2\t10.0.0.2\t10.9.0.1\ta\t1\n3\t10.0.0.1\t10.9.0.2\ta\t1\n4\t172.16.0.1\t-\tb\t28\n";
        let input = |text: &str| Input::from_reader("log", Cursor::new(text.as_bytes().to_vec())).unwrap();
        let recording = read_recording_from(input(log), &geography()).unwrap();
        let caches: Vec<_> = recording.queries.iter().map(|q| q.cache).collect();
        assert_eq!(caches, [0, 0, 1]);
        let all = read_recording_from(input(log), &geography().with_fallback(Fallback::Region(RegionId(1)))).unwrap();
        assert_eq!((all.queries.len(), all.queries[3].region, all.queries[3].cache), (4, RegionId(1), 2));
        assert_eq!(all.report.located_by, [3, 0, 0, 0, 1]);
    }
}
