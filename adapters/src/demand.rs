//! Demand from logs of DNS queries: how many there were in each window, region and class, and of nobody in particular.
//!
//! An address is looked up and cut to its network (/24 or /56, or the shorter client subnet) at once; a network stays
//! until its window is closed; a name stays no longer than it takes to find its class. What is left are counts, each of
//! at least k networks (see [`census`](CensusOptions)). Several logs are read in the order of their first records;
//! those of several servers may overlap. Kept in memory are the windows that are open (up to k networks a cell) and 12
//! bytes for each closed cell with queries.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use forebay_world::{Duration, Timestamp};

use crate::error::{Place, ReadError};
use crate::geography::{Atlas, OTHER};
use crate::input::Input;
use crate::name_classes::NameClasses;
use crate::prefix::Prefix;
use crate::query::{LoggedQuery, Vantage, read_queries_from};
use crate::query_report::QueryReport;
use crate::read_options::ReadOptions;

mod census;
mod coverage;

use census::{Census, Closed};
pub use census::{CensusOptions, Tally};
use coverage::{Presence, Span, Written};

/// How demand is read from logs.
#[derive(Clone, Debug)]
pub struct DemandOptions {
    /// How the logs are read. The vantage point chooses among the queries: see [`DemandOptions::vantage`].
    pub read: ReadOptions,
    /// How queries are counted.
    pub census: CensusOptions,
    /// Queries seen there are counted, others are not; `None` for where most were seen.
    pub vantage: Option<Vantage>,
}

/// Counts by window, region and class.
#[derive(Clone, Debug)]
pub struct Demand {
    /// Length of a window.
    pub window: Duration,
    /// Series with at least one count: region and class, by name.
    pub series: Vec<(String, String)>,
    /// What was read, and what became of it.
    pub report: DemandReport,
    /// Number of a cell's series.
    numbers: Vec<Option<u32>>,
    closed: Closed,
}

/// What logs had, and what became of their queries.
#[derive(Clone, Debug)]
pub struct DemandReport {
    /// Each log with its report, in the order in which they were read.
    pub logs: Vec<(PathBuf, QueryReport)>,
    /// Where the queries that count were seen.
    pub vantage: Vantage,
    /// Queries that were seen elsewhere, and do not count.
    pub other_vantage: u64,
    /// What became of the queries that count.
    pub tally: Tally,
    /// Queries without a region; they count for `other`. `None` without a geography.
    pub unlocated: Option<u64>,
    /// Queries of names that are not the operator's.
    pub foreign: u64,
    /// Time that the logs tell of …
    pub covered: Vec<Span>,
    /// … and between.
    pub gaps: Vec<Span>,
}

/// One count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemandRow {
    /// Begin of the window.
    pub at: Timestamp,
    /// Position in [`Demand::series`].
    pub series: usize,
    /// Queries.
    pub queries: u64,
}

impl Demand {
    /// All counts, by time, then region, then class. A window within the covered time in which nobody asked counts 0;
    /// a count that is withheld, or of time that is not covered, is left out.
    pub fn rows(&self) -> impl Iterator<Item = DemandRow> + '_ {
        let mut queries: Vec<Option<u64>> = vec![Some(0); self.series.len()];
        let mut next = 0;
        self.window_numbers().flat_map(move |window| {
            queries.fill(Some(0));
            if self.closed.windows.get(next).is_some_and(|closed| closed.0 == window) {
                let begin = next.checked_sub(1).map_or(0, |before| self.closed.windows[before].1);
                for entry in begin..self.closed.windows[next].1 {
                    if let Some(series) = self.numbers[self.closed.cells[entry] as usize] {
                        queries[series as usize] = self.closed.counts[entry].map(u64::from);
                    }
                }
                next += 1;
            }
            let at = Timestamp::from_nanos(window * self.window.as_nanos());
            let rows: Vec<DemandRow> = queries
                .iter()
                .enumerate()
                .filter_map(|(series, queries)| Some(DemandRow { at, series, queries: (*queries)? }))
                .collect();
            rows
        })
    }

    /// Windows that the logs tell of, ascending: those with queries, and those within the covered time.
    fn window_numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let number = |at: Timestamp| at.as_nanos() / self.window.as_nanos();
        let mut spans = self.report.covered.iter().map(move |&(from, to)| (number(from), number(to))).peekable();
        let mut with_queries = self.closed.windows.iter().map(|window| window.0).peekable();
        let mut from = 0;
        std::iter::from_fn(move || {
            while spans.peek().is_some_and(|&(_, to)| to < from) {
                spans.next();
            }
            while with_queries.peek().is_some_and(|&window| window < from) {
                with_queries.next();
            }
            let in_span = spans.peek().map(|&(begin, _)| begin.max(from));
            let window = match (in_span, with_queries.peek().copied()) {
                (Some(span), Some(window)) => span.min(window),
                (either, window) => either.or(window)?,
            };
            from = window + 1;
            Some(window)
        })
    }
}

/// Counts the queries of logs.
///
/// Without an atlas all clients are in one region, `all`.
///
/// # Errors
/// As [`read_queries`](crate::read_queries); [`ReadError::Malformed`] when the logs have no query that counts.
pub fn read_demand(
    logs: &[PathBuf],
    options: &DemandOptions,
    atlas: Option<Atlas>,
    classes: NameClasses,
) -> Result<Demand, ReadError> {
    let mut order = Vec::new();
    for path in logs {
        order.push(begin_of(path, &options.read)?);
    }
    // Stable: logs whose begin is not known are read as given.
    order.sort_by_key(|log| log.first);
    let mut counting = Counting::new(options, atlas, classes);
    let firsts: Vec<Option<Timestamp>> = order.iter().map(|log| log.first).collect();
    for (nth, log) in order.into_iter().enumerate() {
        counting.hold(firsts[nth + 1..].iter().flatten().min().copied());
        let input = match log.input {
            Some(input) => input,
            None => Input::open(&log.path)?,
        };
        let shown = input.path().to_owned();
        let report = read_queries_from(input, &options.read, &mut |query| counting.take(query))?;
        counting.end(shown, report);
    }
    counting.finish(options)
}

/// A log that is to be read.
struct Log {
    path: PathBuf,
    /// Standard input is opened once.
    input: Option<Input>,
    first: Option<Timestamp>,
}

/// Content that is looked at for the first query.
const BEGIN: usize = 64 * 1024;

/// When a log begins: by the queries of its first part.
fn begin_of(path: &Path, options: &ReadOptions) -> Result<Log, ReadError> {
    let mut input = Input::open(path)?;
    let begin = Cursor::new(input.fill(BEGIN)?.to_vec());
    // What is wrong with a log is said when it is read; its begin may end in the middle of a record.
    let report = Input::from_reader(path, begin).and_then(|begin| read_queries_from(begin, options, &mut |_| {}));
    let first = report.ok().and_then(|report| report.first);
    let input = (path == Path::new("-")).then_some(input);
    Ok(Log { path: path.to_owned(), input, first })
}

/// Counts by vantage point, until it is known which of them counts.
struct Counting {
    options: CensusOptions,
    atlas: Option<Atlas>,
    classes: NameClasses,
    censuses: [Option<Census>; 3],
    unlocated: [u64; 3],
    foreign: [u64; 3],
    hold: Option<Timestamp>,
    presence: Presence,
    written: Vec<Written>,
    logs: Vec<(PathBuf, QueryReport)>,
}

/// The number of the region `other`, as in the atlas.
const OTHER_REGION: usize = 0;

impl Counting {
    fn new(options: &DemandOptions, atlas: Option<Atlas>, classes: NameClasses) -> Counting {
        Counting {
            options: options.census,
            atlas,
            classes,
            censuses: [None, None, None],
            unlocated: [0; 3],
            foreign: [0; 3],
            hold: None,
            presence: Presence::new(options.census.window),
            written: Vec::new(),
            logs: Vec::new(),
        }
    }

    fn hold(&mut self, from: Option<Timestamp>) {
        self.hold = from;
        self.censuses.iter_mut().flatten().for_each(|census| census.hold(from));
    }

    fn take(&mut self, query: &LoggedQuery<'_>) {
        // A subnet of no bits says that the client wants not to be told.
        let ecs = query.ecs.filter(|ecs| ecs.length() > 0);
        let seen = query.vantage as usize;
        let region = match &mut self.atlas {
            None => 1,
            Some(atlas) => match atlas.locate(query.client, ecs) {
                Some(region) => region.index(),
                None => {
                    self.unlocated[seen] += 1;
                    OTHER_REGION
                }
            },
        };
        let class = self.classes.class_of(query.name);
        self.foreign[seen] += u64::from(class == 0);
        let network = ecs.map_or_else(|| Prefix::of_client(query.client), Prefix::truncated);
        self.presence.see(query.at);
        let census = self.censuses[seen].get_or_insert_with(|| {
            let mut census = Census::new(self.options, self.classes.classes().len(), OTHER_REGION);
            census.hold(self.hold);
            census
        });
        census.take(query.at, region, class, network);
    }

    fn end(&mut self, path: PathBuf, report: QueryReport) {
        let presence = std::mem::replace(&mut self.presence, Presence::new(self.options.window));
        self.written.push(presence.finish());
        self.logs.push((path, report));
    }

    fn finish(mut self, options: &DemandOptions) -> Result<Demand, ReadError> {
        let mut by_vantage = [0; 3];
        for (_, report) in &self.logs {
            by_vantage.iter_mut().zip(report.by_vantage).for_each(|(sum, count)| *sum += count);
        }
        let counted = options.vantage.or(Vantage::of_counts(by_vantage));
        let Some((vantage, census)) = counted.and_then(|v| Some((v, self.censuses[v as usize].take()?))) else {
            return Err(self.nothing(options, by_vantage));
        };
        let closed = census.finish();
        let classes = self.classes.classes();
        let name_of = |cell: usize| {
            let region = match (&self.atlas, cell / classes.len()) {
                (_, OTHER_REGION) => OTHER,
                (None, _) => "all",
                (Some(atlas), region) => &atlas.regions()[region],
            };
            (region.to_owned(), classes[cell % classes.len()].clone())
        };
        let told: std::collections::BTreeSet<u32> = closed
            .cells
            .iter()
            .zip(&closed.counts)
            .filter(|(_, count)| count.is_some())
            .map(|(cell, _)| *cell)
            .collect();
        let mut series: Vec<(String, String)> = told.iter().map(|&cell| name_of(cell as usize)).collect();
        series.sort();
        let mut numbers = vec![None; closed.cells.iter().max().map_or(0, |&cell| cell as usize + 1)];
        for &cell in &told {
            numbers[cell as usize] = series.binary_search(&name_of(cell as usize)).ok().map(|number| number as u32);
        }
        let covered = coverage::together(&self.written);
        let gaps = covered.windows(2).map(|pair| (pair[0].1, pair[1].0)).collect();
        let report = DemandReport {
            vantage,
            other_vantage: by_vantage.iter().sum::<u64>() - by_vantage[vantage as usize],
            tally: closed.tally,
            unlocated: self.atlas.as_ref().map(|_| self.unlocated[vantage as usize]),
            foreign: self.foreign[vantage as usize],
            covered,
            gaps,
            logs: self.logs,
        };
        Ok(Demand { window: self.options.window, series, report, numbers, closed })
    }

    /// Why there is nothing to count.
    fn nothing(&self, options: &DemandOptions, by_vantage: [u64; 3]) -> ReadError {
        let path = self.logs.first().map_or_else(PathBuf::new, |(path, _)| path.clone());
        let seen = Vantage::of_counts(by_vantage);
        let (what, allowed, hint) = match (options.vantage, seen) {
            (Some(wanted), Some(seen)) => (
                format!(
                    "no query was seen at vantage point {}, {} elsewhere",
                    wanted.name(),
                    by_vantage.iter().sum::<u64>()
                ),
                format!("vantage point {}, where most were seen", seen.name()),
                "leave the vantage point away".to_owned(),
            ),
            _ => {
                let remarks = self.logs.iter().flat_map(|(_, report)| report.remarks()).next();
                let hint = remarks.unwrap_or_else(|| "is this the log of queries?".to_owned());
                ("no query to be counted".to_owned(), "a log with at least one query".to_owned(), hint)
            }
        };
        ReadError::Malformed { path, place: Place::File, what, allowed: allowed.into(), hint: hint.into() }
    }
}

#[cfg(test)]
mod tests;
