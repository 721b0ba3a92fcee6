//! Request counts over time from CSV: `timestamp,value`, `timestamp,series,value` or `timestamp,region,class,value`,
//! columns by name and in any order, on one regular grid.
//!
//! The step is the most frequent difference between neighbouring times; the grid has the most frequent phase, so a
//! file whose rows all stand at second 53 keeps them there. What a recording usually suffers from is mended and
//! counted in the [`ReadReport`]: missing rows become `None`, rows of the same step are added up, rows out of order
//! are sorted, rows beside the grid go to the nearest step. What cannot be meant (a negative count, text for a number)
//! is an error with its line. Times without a zone are UTC; an empty step and a missing one differ: a row with value
//! zero is a measurement.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use forebay_world::{Duration, Timestamp};

use crate::error::{Place, ReadError, shown};
use crate::input::Input;
use crate::log_time::{ALLOWED_TIME, parse_time};
use crate::table::{Fields, Header, is_blank, unclosed_quote};

/// Request counts of one or more series on one grid.
#[derive(Clone, Debug, PartialEq)]
pub struct CountSeries {
    /// Time between two values.
    pub step: Duration,
    /// Begin of the first step.
    pub start: Timestamp,
    /// One for each region × class in the file, by region, then class; all of the same length.
    pub series: Vec<Series>,
    /// What was read and mended.
    pub report: ReadReport,
}

/// Counts of one region × class.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The region, as the file names it; `None` when the file has no such column.
    pub region: Option<String>,
    /// The resource class, as the file names it; `None` when the file has no such column.
    pub class: Option<String>,
    /// Requests in each step, `None` where the file has no row.
    pub values: Vec<Option<f64>>,
}

/// What a file of counts had, and what was mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReport {
    /// Rows with a value.
    pub rows: u64,
    /// Steps without a row between the first and the last row of their series.
    pub gaps: u64,
    /// Steps without a row before the first or after the last of their series, while another series has rows.
    pub absent: u64,
    /// Rows added to another row of the same series and step.
    pub duplicates: u64,
    /// Rows earlier than the row before them of the same series.
    pub out_of_order: u64,
    /// Rows beside the grid, moved to the nearest step.
    pub off_grid: u64,
    /// Time of the earliest row.
    pub first: Timestamp,
    /// Time of the latest row.
    pub last: Timestamp,
    /// Columns that were not used.
    pub ignored_columns: Vec<String>,
}

impl ReadReport {
    /// Sentences for the operator about what was mended; none when nothing was.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                remarks.push(format!("{count} {what}"));
            }
        };
        say(self.gaps, "steps are missing inside a series");
        say(self.absent, "steps are missing because a series begins later or ends earlier than others");
        say(self.duplicates, "rows repeat a step and were added up");
        say(self.out_of_order, "rows were out of order and were sorted");
        say(self.off_grid, "rows were beside the regular step and were moved to the nearest");
        if !self.ignored_columns.is_empty() {
            remarks.push(format!("columns not used: {}", self.ignored_columns.join(", ")));
        }
        remarks
    }
}

/// Reads counts from a file, `.gz` or plain, or from standard input (`-`).
///
/// # Errors
/// [`ReadError`] for what cannot be opened or unpacked; [`ReadError::Malformed`] with the line for a column that is
/// missing, a row with too few or too many fields, a time or value that is none, and for times without a regular step.
pub fn read_counts(path: &Path) -> Result<CountSeries, ReadError> {
    read_counts_from(Input::open(path)?)
}

/// As [`read_counts`], from an opened input.
///
/// # Errors
/// As [`read_counts`].
pub fn read_counts_from(mut input: Input) -> Result<CountSeries, ReadError> {
    let rows = read_rows(&mut input)?;
    let step = rows.step().ok_or_else(|| {
        input.malformed(
            Place::File,
            format!("{} rows, no two of them with different times in the same series", rows.points.len()),
            "at least two times in a series",
            "a file of counts has one row a step",
        )
    })?;
    rows.lay_out(step, &input)
}

const ALLOWED_COLUMNS: &str =
    "the columns timestamp,value or timestamp,series,value or timestamp,region,class,value (any order)";
const ALLOWED_VALUE: &str = "a number from 0 up";

/// One row: a value at a time.
#[derive(Clone, Copy)]
struct Point {
    series: u32,
    at: Timestamp,
    value: f64,
    line: u64,
}

/// All rows, ordered by series, then time, then line.
struct Rows {
    names: Vec<(Option<String>, Option<String>)>,
    points: Vec<Point>,
    out_of_order: u64,
    ignored_columns: Vec<String>,
}

/// Where the columns are.
struct Columns {
    count: usize,
    time: usize,
    value: usize,
    region: Option<usize>,
    class: Option<usize>,
}

fn read_columns(input: &mut Input) -> Result<(Columns, Vec<String>), ReadError> {
    let header = Header::read(input, ALLOWED_COLUMNS)?;
    let time = header.need("timestamp", input, ALLOWED_COLUMNS)?;
    let value = header.need("value", input, ALLOWED_COLUMNS)?;
    let (region, series, class) = (header.find("region"), header.find("series"), header.find("class"));
    if region.is_some() && series.is_some() {
        return Err(input.malformed(
            Place::Line(1),
            "both a column \"region\" and a column \"series\"",
            ALLOWED_COLUMNS,
            "a series is taken for a region: keep one of the two",
        ));
    }
    let region = region.or(series);
    let used = [Some(time), Some(value), region, class];
    let ignored = (0..header.columns.len())
        .filter(|&at| !used.contains(&Some(at)))
        .map(|at| header.columns[at].clone())
        .collect();
    Ok((Columns { count: header.columns.len(), time, value, region, class }, ignored))
}

fn read_rows(input: &mut Input) -> Result<Rows, ReadError> {
    let (columns, ignored_columns) = read_columns(input)?;
    let mut by_name: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    let mut names = Vec::new();
    let mut latest: Vec<Timestamp> = Vec::new();
    let mut rows = Rows { names: Vec::new(), points: Vec::new(), out_of_order: 0, ignored_columns };
    let mut key = Vec::new();
    while let Some(line) = input.next_line()? {
        if is_blank(line.text) {
            continue;
        }
        let line_number = line.number;
        let row = match parse_row(line.text, &columns) {
            Ok(row) => row,
            Err(fault) => return Err(fault.at(input, line_number)),
        };
        key.clear();
        key.extend_from_slice(row.region.unwrap_or_default());
        key.push(0);
        key.extend_from_slice(row.class.unwrap_or_default());
        let series = match by_name.get(&key) {
            Some(&series) => series,
            None => {
                let series = names.len() as u32;
                let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8_lossy(b).into_owned());
                names.push((text(row.region), text(row.class)));
                latest.push(row.at);
                by_name.insert(key.clone(), series);
                series
            }
        };
        let latest = &mut latest[series as usize];
        rows.out_of_order += u64::from(row.at < *latest);
        *latest = row.at;
        rows.points.push(Point { series, at: row.at, value: row.value, line: line_number });
    }
    if rows.points.is_empty() {
        return Err(input.malformed(Place::File, "a header without rows", "one row a step", "is the file complete?"));
    }
    // Series in order of their names, whatever the order of rows.
    let mut rank = vec![0; names.len()];
    for (place, &series) in by_name.values().enumerate() {
        rank[series as usize] = place as u32;
    }
    rows.names = by_name.values().map(|&series| std::mem::take(&mut names[series as usize])).collect();
    for point in &mut rows.points {
        point.series = rank[point.series as usize];
    }
    if !rows.points.is_sorted_by_key(|p| (p.series, p.at)) {
        rows.points.sort_by_key(|p| (p.series, p.at, p.line));
    }
    Ok(rows)
}

/// The fields of a row.
struct Row<'a> {
    at: Timestamp,
    value: f64,
    region: Option<&'a [u8]>,
    class: Option<&'a [u8]>,
}

/// What is wrong with a row.
enum Fault {
    OpenQuote,
    FieldCount { found: usize, wanted: usize },
    Time(String),
    Value { text: String, why: &'static str },
    EmptyName(&'static str),
    NotUtf8(&'static str),
}

impl Fault {
    fn at(self, input: &Input, line: u64) -> ReadError {
        let at = Place::Line(line);
        match self {
            Fault::OpenQuote => unclosed_quote(input, line),
            Fault::FieldCount { found, wanted } => input.malformed(
                at,
                format!("{found} fields"),
                Cow::Owned(format!("{wanted} fields, as in the header")),
                "a row cut short is what an interrupted copy leaves behind; numbers take a point, not a comma",
            ),
            Fault::Time(text) => input.malformed(
                at,
                format!("timestamp \"{text}\" is no time"),
                ALLOWED_TIME,
                "milliseconds since 1970 must be divided by 1000; times without a zone are UTC",
            ),
            Fault::Value { text, why } => input.malformed(
                at,
                format!("value \"{text}\" {why}"),
                ALLOWED_VALUE,
                "leave the row out where nothing was measured: the step then counts as missing, not as zero",
            ),
            Fault::EmptyName(column) => input.malformed(
                at,
                format!("{column} is empty"),
                "a name in every row",
                "without this column the whole file is one series",
            ),
            Fault::NotUtf8(column) => {
                input.malformed(at, format!("{column} is not UTF-8"), "names in UTF-8", "convert the file to UTF-8")
            }
        }
    }
}

fn parse_row<'a>(text: &'a [u8], columns: &Columns) -> Result<Row<'a>, Fault> {
    let (mut time, mut value) = (&b""[..], &b""[..]);
    let (mut region, mut class) = (None, None);
    let mut found = 0;
    for field in Fields::of(text) {
        let field = field.ok_or(Fault::OpenQuote)?;
        if found == columns.time {
            time = field;
        } else if found == columns.value {
            value = field;
        } else if Some(found) == columns.region {
            region = Some(name(field, "region")?);
        } else if Some(found) == columns.class {
            class = Some(name(field, "class")?);
        }
        found += 1;
    }
    if found != columns.count {
        return Err(Fault::FieldCount { found, wanted: columns.count });
    }
    let at = parse_time(time).ok_or_else(|| Fault::Time(shown(time)))?;
    let refuse = |why| Fault::Value { text: shown(value), why };
    let value: f64 =
        std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()).ok_or_else(|| refuse("is no number"))?;
    if !value.is_finite() {
        return Err(refuse("is not finite"));
    }
    if value < 0.0 {
        return Err(refuse("is negative"));
    }
    Ok(Row { at, value, region, class })
}

fn name<'a>(field: &'a [u8], column: &'static str) -> Result<&'a [u8], Fault> {
    if field.is_empty() {
        return Err(Fault::EmptyName(column));
    }
    if std::str::from_utf8(field).is_err() {
        return Err(Fault::NotUtf8(column));
    }
    Ok(field)
}

impl Rows {
    /// Neighbouring rows of the same series.
    fn neighbours(&self) -> impl Iterator<Item = (Point, Point)> + '_ {
        self.points.windows(2).map(|pair| (pair[0], pair[1])).filter(|(a, b)| a.series == b.series)
    }

    /// The most frequent difference between neighbouring times, the smallest of those equally frequent.
    fn step(&self) -> Option<Duration> {
        most_frequent(self.neighbours().map(|(a, b)| b.at.since(a.at).as_nanos()).filter(|&difference| difference > 0))
            .map(Duration::from_nanos)
    }

    /// Puts the rows on the grid.
    fn lay_out(self, step: Duration, input: &Input) -> Result<CountSeries, ReadError> {
        let nanos = step.as_nanos();
        let first = self.points.iter().map(|p| p.at).min().expect("there are rows");
        let last = self.points.iter().map(|p| p.at).max().expect("there are rows");
        let phase = most_frequent(self.points.iter().map(|p| p.at.as_nanos() % nanos)).expect("there are rows");
        // In u128 nothing can overflow; a row up to half a step early belongs to the step that follows.
        let half_up = |at: Timestamp| {
            let behind = u128::from(at.as_nanos()) + u128::from(nanos - phase) + u128::from(nanos / 2);
            (behind / u128::from(nanos)) as u64
        };
        let origin = half_up(first);
        let length = half_up(last) - origin + 1;
        let cells = length.saturating_mul(self.names.len() as u64);
        if cells > MOST_CELLS_BEFORE_DOUBT.max(self.points.len() as u64 * MOST_CELLS_PER_ROW) {
            return Err(self.too_sparse(step, length, input));
        }
        // Origin counts steps from `phase - nanos`: its nanoseconds are those of a time near the first row.
        let start = (u128::from(origin) * u128::from(nanos) + u128::from(phase)).saturating_sub(u128::from(nanos));
        let mut report = ReadReport {
            rows: self.points.len() as u64,
            gaps: 0,
            absent: 0,
            duplicates: 0,
            out_of_order: self.out_of_order,
            off_grid: 0,
            first,
            last,
            ignored_columns: self.ignored_columns,
        };
        let mut series = Vec::with_capacity(self.names.len());
        let mut points = self.points.as_slice();
        for (index, (region, class)) in self.names.into_iter().enumerate() {
            let mut values = vec![None; length as usize];
            let own = points.partition_point(|p| p.series as usize <= index);
            let (own, rest) = points.split_at(own);
            points = rest;
            let mut taken = 0;
            for point in own {
                report.off_grid += u64::from(point.at.as_nanos() % nanos != phase);
                let value = &mut values[(half_up(point.at) - origin) as usize];
                match value {
                    Some(sum) => {
                        *sum += point.value;
                        report.duplicates += 1;
                    }
                    None => {
                        *value = Some(point.value);
                        taken += 1;
                    }
                }
            }
            let reach = half_up(own[own.len() - 1].at) - half_up(own[0].at) + 1;
            report.gaps += reach - taken;
            report.absent += length - reach;
            series.push(Series { region, class, values });
        }
        Ok(CountSeries { step, start: Timestamp::from_nanos(start as u64), series, report })
    }

    /// The error for a grid with hardly any row on it, at the widest hole.
    fn too_sparse(&self, step: Duration, length: u64, input: &Input) -> ReadError {
        let hole = self.neighbours().max_by_key(|(a, b)| (b.at.since(a.at), std::cmp::Reverse(b.line)));
        let place = hole.map_or(Place::File, |(_, after)| Place::Line(after.line));
        let gap = hole.map_or(Duration::ZERO, |(before, after)| after.at.since(before.at));
        input.malformed(
            place,
            format!(
                "{} rows for {length} steps of {step}: the longest hole, of {:.1} h, ends here",
                self.points.len(),
                gap.as_hours_f64()
            ),
            "counts with a regular step and rows for a good part of it",
            "is this time right? Single requests must be counted per minute first",
        )
    }
}

/// Grids up to this size are laid out whatever share of them has rows …
const MOST_CELLS_BEFORE_DOUBT: u64 = 1_000_000;
/// … larger ones when this many steps have at least one row: a wrong year must not ask for all memory.
const MOST_CELLS_PER_ROW: u64 = 64;

/// The most frequent number, the smallest of those equally frequent.
fn most_frequent(numbers: impl Iterator<Item = u64>) -> Option<u64> {
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    // Nearly all differences are the same: remember the run and go to the map at its end.
    let mut run: Option<(u64, u64)> = None;
    for number in numbers {
        match &mut run {
            Some((same, length)) if *same == number => *length += 1,
            _ => {
                if let Some((same, length)) = run.replace((number, 1)) {
                    *times.entry(same).or_default() += length;
                }
            }
        }
    }
    if let Some((same, length)) = run {
        *times.entry(same).or_default() += length;
    }
    times.into_iter().max_by_key(|&(number, count)| (count, std::cmp::Reverse(number))).map(|(number, _)| number)
}

#[cfg(test)]
mod tests;
