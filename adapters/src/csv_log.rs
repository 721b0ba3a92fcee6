//! Logs of queries as a table: CSV with a header that names the columns, separated by commas, semicolons or tabs.
//!
//! Which column is what is told by the usual names or by the options. The header may come again (files put together)
//! and may change the columns. A record is one line.

use csv_core::ReadRecordResult;

use crate::dns_message::NameBuffer;
use crate::error::shown;
use crate::fields::{Field, Records, Spelling, Values};
use crate::line_log::{Asked, LineFormat, NotAsked};
use crate::read_options::ReadOptions;

/// Columns at most that are read.
const COLUMNS: usize = 256;

/// Reads lines of CSV.
pub(crate) struct CsvLog {
    records: Records,
    header: Option<Header>,
    splitter: Splitter,
}

/// Which column is what.
struct Header {
    line: Vec<u8>,
    columns: Vec<Option<Field>>,
}

impl CsvLog {
    pub(crate) fn new(options: &ReadOptions) -> CsvLog {
        CsvLog {
            records: Records::new(Spelling::of(&options.fields), options),
            header: None,
            splitter: Splitter::new(b','),
        }
    }

    /// The columns that a line names, when it is a header of queries: less is missing than a time and a name.
    fn read_header(&mut self, line: &[u8]) -> Result<(), Vec<&str>> {
        let delimiter = [b'\t', b';', b','].into_iter().max_by_key(|byte| line.iter().filter(|b| *b == byte).count());
        let mut splitter = Splitter::new(delimiter.unwrap_or(b','));
        let spelling = &self.records.spelling;
        let found: Vec<_> = match splitter.split(line) {
            Some(fields) => fields.iter().map(|name| spelling.find(name.trim_ascii())).collect(),
            None => Vec::new(),
        };
        // Of several columns that may be the same field, the preferred name is taken.
        let best = |field: Field| found.iter().flatten().filter(|(f, _)| *f == field).map(|(_, rank)| *rank).min();
        let columns: Vec<_> = found
            .iter()
            .map(|found| found.and_then(|(field, rank)| (best(field) == Some(rank)).then_some(field)))
            .collect();
        let missing = spelling.missing(|field| columns.contains(&Some(field)));
        if missing.is_empty() {
            self.header = Some(Header { line: line.to_vec(), columns });
            self.splitter = splitter;
            return Ok(());
        }
        Err(missing)
    }
}

/// Whether a line names the columns of queries.
pub(crate) fn is_header(line: &[u8], options: &ReadOptions) -> bool {
    CsvLog::new(options).read_header(line).is_ok()
}

impl LineFormat for CsvLog {
    fn read(&mut self, line: &[u8], name: &mut NameBuffer) -> Result<Asked, NotAsked> {
        let Some(header) = &self.header else {
            if line.first() == Some(&b'#') || line.trim_ascii().is_empty() {
                return Err(NotAsked::Header);
            }
            return match self.read_header(line) {
                Ok(()) => Err(NotAsked::Header),
                Err(missing) => {
                    let what = format!("no column {} in \"{}\"", missing.join(", "), shown(line));
                    Err(NotAsked::Fatal {
                        what,
                        allowed: "a first line that names the columns of time, client, name and type",
                        hint: "name the columns in the options when they are called otherwise",
                    })
                }
            };
        };
        if line == header.line {
            return Err(NotAsked::Header);
        }
        let columns = header.columns.len();
        let mut values: Values<'_> = [None; 12];
        let Some(fields) = self.splitter.split(line) else {
            return Err(NotAsked::malformed("a quote that is not closed, or too many fields:", line));
        };
        if fields.len() != columns {
            // Another table may have been put behind this one.
            let what = format!("{} fields, not {columns}", fields.len());
            if self.read_header(line).is_ok() {
                return Err(NotAsked::Header);
            }
            return Err(NotAsked::Malformed(what));
        }
        for (value, column) in fields.iter().zip(&header.columns) {
            if let Some(field) = column {
                let value = value.trim_ascii();
                values[*field as usize] = (!value.is_empty() || *field == Field::Name).then_some(value);
            }
        }
        self.records.read(&values, name)
    }

    fn assumptions(&self) -> Vec<String> {
        self.records.assumptions()
    }
}

/// Splits a line into fields.
struct Splitter {
    delimiter: u8,
    /// Made for the first line that has quotes: its tables take longer than many lines.
    reader: Option<Box<csv_core::Reader>>,
    unquoted: Vec<u8>,
    ends: [usize; COLUMNS],
}

impl Splitter {
    fn new(delimiter: u8) -> Splitter {
        Splitter { delimiter, reader: None, unquoted: Vec::new(), ends: [0; COLUMNS] }
    }

    /// The fields; `None` when a quote is left open or there are more than can be.
    fn split<'a>(&'a mut self, line: &'a [u8]) -> Option<Fields<'a>> {
        if memchr::memchr(b'"', line).is_none() {
            let mut count = 0;
            for at in memchr::memchr_iter(self.delimiter, line) {
                *self.ends.get_mut(count)? = at;
                count += 1;
            }
            *self.ends.get_mut(count)? = line.len();
            return Some(Fields { text: line, ends: &self.ends[..=count], gap: 1 });
        }
        let reader = self
            .reader
            .get_or_insert_with(|| Box::new(csv_core::ReaderBuilder::new().delimiter(self.delimiter).build()));
        reader.reset();
        self.unquoted.resize(line.len() + 1, 0);
        let (result, read, written, count) = reader.read_record(line, &mut self.unquoted, &mut self.ends);
        if result != ReadRecordResult::InputEmpty || read != line.len() {
            return None;
        }
        // At the end of a line without an open quote the record ends with it.
        let (result, _, _, last) = reader.read_record(b"\n", &mut self.unquoted[written..], &mut self.ends[count..]);
        if result != ReadRecordResult::Record {
            return None;
        }
        let count = count + last;
        Some(Fields { text: &self.unquoted, ends: &self.ends[..count], gap: 0 })
    }
}

/// The fields of a line.
struct Fields<'a> {
    text: &'a [u8],
    /// Where each field ends; the next begins `gap` bytes later.
    ends: &'a [usize],
    gap: usize,
}

impl<'a> Fields<'a> {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        let (text, gap) = (self.text, self.gap);
        let mut begin = 0;
        self.ends.iter().map(move |&end| {
            let field = text.get(begin..end).unwrap_or_default();
            begin = end + gap;
            field
        })
    }
}
