//! Zeek's `dns.log`: one row a transaction; tab-separated with columns by the `#fields` header, or in JSON.
//!
//! Header lines may recur in the middle (rotated files after `cat`) and change the columns. A mirror port often
//! captures each packet twice; rows that agree in uid, port, transaction, name and type within 1 ms are one query.
//! Zeek writes a row when the transaction ends, so rows are sorted by time before they are shown.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::dns_message::NameBuffer;
use crate::error::{Place, ReadError, shown};
use crate::fields::{Field, Records, Spelling, Values};
use crate::input::Input;
use crate::line_log::{Asked, Counting, LineFormat, NotAsked, TOLERATED_PERCENT};
use crate::log_format::LogFormat;
use crate::query::LoggedQuery;
use crate::query_report::{MalformedRecords, QueryReport};
use crate::read_options::ReadOptions;

const ALLOWED: &str = "a Zeek dns.log: tab-separated, with a #fields line that names ts, id.orig_h, query and qtype";

/// Reads the queries of a log, in order of time.
pub(crate) fn read_zeek(
    mut input: Input,
    mut lines: Box<dyn LineFormat>,
    mut counting: Counting,
    visit: &mut dyn FnMut(&LoggedQuery<'_>),
) -> Result<QueryReport, ReadError> {
    let table = counting.report.format == LogFormat::Zeek;
    let mut rows = Rows::default();
    let mut name = NameBuffer::new();
    let report = &mut counting.report;
    // The line before, when it was malformed: before a header it was cut.
    let mut cut = None;
    let mut headed = false;
    while let Some(line) = input.next_line()? {
        if line.text.is_empty() {
            continue;
        }
        let number = line.number;
        name.clear();
        let read = lines.read(line.text, &mut name);
        if let Some((place, what)) = cut.take() {
            if matches!(read, Err(NotAsked::Header)) {
                report.cut += 1;
            } else {
                report.malformed.add(place, || what);
            }
        }
        report.records += u64::from(!matches!(read, Err(NotAsked::Header)));
        match read {
            Ok(asked) => rows.push(asked, name.as_str()),
            Err(NotAsked::Skip(why)) => report.skipped.add(why),
            Err(NotAsked::Header) => {
                report.headers += 1;
                headed |= line.text.starts_with(b"#fields");
            }
            // A writer that still runs, or was interrupted.
            Err(NotAsked::Malformed(_)) if !line.ended => {
                report.records -= 1;
                report.truncated = Some(Place::Line(number));
            }
            Err(NotAsked::Malformed(what)) => cut = Some((Place::Line(number), what)),
            Err(NotAsked::Fatal { what, allowed, hint }) => {
                return Err(input.malformed(Place::Line(number), what, allowed, hint));
            }
        }
    }
    if let Some((place, what)) = cut {
        report.malformed.add(place, || what);
    }
    if table && !headed {
        return Err(input.malformed(Place::Line(1), "no #fields line", ALLOWED, "is this a Zeek log?"));
    }
    // Lines of JSON that were cut by rotation have no header behind them.
    let tolerated = if table { MalformedRecords::TOLERATED_PERCENT } else { TOLERATED_PERCENT };
    if let Some((place, what)) = report.malformed.intolerable(report.records, tolerated) {
        return Err(input.malformed(
            place,
            what,
            if table {
                "rows as the #fields line before them announces, up to 1 % of them malformed"
            } else {
                "objects as Zeek writes them with LogAscii::use_json"
            },
            "was the log edited, or cut and pasted with blanks for tabs?",
        ));
    }
    report.assumptions = lines.assumptions();
    rows.show(counting, visit)
}

/// Whether bytes are the begin of a Zeek log: a line with one of the directives that Zeek writes.
pub(crate) fn begins_log(bytes: &[u8]) -> bool {
    let directives: [&[u8]; 9] = [
        b"#separator",
        b"#set_separator",
        b"#empty_field",
        b"#unset_field",
        b"#path",
        b"#open",
        b"#close",
        b"#fields",
        b"#types",
    ];
    directives.iter().any(|directive| bytes.starts_with(directive))
}

/// A log in memory.
#[derive(Default)]
struct Rows {
    /// Each with the number of its name.
    rows: Vec<(Asked, u32)>,
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Rows {
    fn push(&mut self, asked: Asked, name: &str) {
        let number = match self.numbers.get(name) {
            Some(&number) => number,
            None => {
                let number = self.names.len() as u32;
                self.names.push(name.to_owned());
                self.numbers.insert(name.to_owned(), number);
                number
            }
        };
        self.rows.push((asked, number));
    }

    /// Sorts by time, drops rows that repeat another, and shows the others.
    fn show(
        mut self,
        mut counting: Counting,
        visit: &mut dyn FnMut(&LoggedQuery<'_>),
    ) -> Result<QueryReport, ReadError> {
        let report = &mut counting.report;
        report.out_of_order = self.rows.windows(2).map(|pair| u64::from(pair[1].0.at < pair[0].0.at)).sum();
        if let Some(window) = report.dedupe {
            let before = self.rows.len();
            report.unkeyed = self.rows.iter().map(|(row, _)| u64::from(row.transaction.is_none())).sum();
            let key = |(row, name): &(Asked, u32)| {
                let mut hasher = DefaultHasher::new();
                (row.client, name, row.qtype).hash(&mut hasher);
                (row.transaction, hasher.finish())
            };
            self.rows.sort_by_cached_key(|row| (key(row), row.0.at));
            self.rows.dedup_by(|row, kept| {
                row.0.transaction.is_some()
                    && row.0.transaction == kept.0.transaction
                    && (row.0.client, row.1, row.0.qtype) == (kept.0.client, kept.1, kept.0.qtype)
                    && row.0.at.since(kept.0.at) < window
            });
            report.duplicates = (before - self.rows.len()) as u64;
        }
        // Hashes take no part in the order that is shown.
        self.rows.sort_by(|a, b| {
            let by = |(row, name): &(Asked, u32)| (row.at, row.client, row.server, *name, row.qtype);
            by(a).cmp(&by(b))
        });
        for (asked, name) in &self.rows {
            counting.deliver(asked, &self.names[*name as usize], visit);
        }
        Ok(counting.finish())
    }
}

/// Reads lines of the tab-separated log.
pub(crate) struct ZeekTable {
    records: Records,
    header: Header,
}

/// What the header lines have said so far.
struct Header {
    separator: u8,
    unset: Vec<u8>,
    empty: Vec<u8>,
    columns: Option<Vec<Option<Field>>>,
}

impl ZeekTable {
    pub(crate) fn new(options: &ReadOptions) -> ZeekTable {
        let header = Header { separator: b'\t', unset: b"-".to_vec(), empty: b"(empty)".to_vec(), columns: None };
        ZeekTable { records: Records::new(Spelling::zeek(), options), header }
    }
}

impl LineFormat for ZeekTable {
    fn read(&mut self, line: &[u8], name: &mut NameBuffer) -> Result<Asked, NotAsked> {
        if let Some(directive) = line.strip_prefix(b"#") {
            return Err(match self.header.read(directive, &self.records.spelling) {
                Ok(()) => NotAsked::Header,
                Err(what) => NotAsked::Fatal { what, allowed: ALLOWED, hint: "conn.log and others have no queries" },
            });
        }
        let header = &self.header;
        let Some(columns) = &header.columns else {
            let what = format!("a row before any #fields line: \"{}\"", shown(line));
            let hint = "keep the lines that begin with # when a log is split";
            return Err(NotAsked::Fatal { what, allowed: ALLOWED, hint });
        };
        let mut values: Values<'_> = [None; 12];
        let (mut found, mut begin) = (0, 0);
        for end in memchr::memchr_iter(header.separator, line).chain([line.len()]) {
            let text = &line[begin..end];
            begin = end + 1;
            if let Some(Some(field)) = columns.get(found)
                && text != header.unset
            {
                let empty = *field == Field::Name && text == header.empty;
                values[*field as usize] = Some(if empty { b"" } else { text });
            }
            found += 1;
        }
        if found != columns.len() {
            return Err(NotAsked::Malformed(format!("{found} fields, not {}", columns.len())));
        }
        self.records.read(&values, name)
    }

    fn assumptions(&self) -> Vec<String> {
        self.records.assumptions()
    }
}

impl Header {
    /// Takes a line, without its `#`, into account.
    fn read(&mut self, line: &[u8], spelling: &Spelling) -> Result<(), String> {
        // The separator is announced before it is used: a blank stands here.
        if let Some(separator) = line.strip_prefix(b"separator ") {
            self.separator = parse_separator(separator)
                .ok_or_else(|| format!("#separator \"{}\" is not one byte", shown(separator)))?;
            return Ok(());
        }
        let mut parts = line.split(|&byte| byte == self.separator);
        match parts.next() {
            Some(b"unset_field") => self.unset = parts.next().unwrap_or_default().to_vec(),
            Some(b"empty_field") => self.empty = parts.next().unwrap_or_default().to_vec(),
            Some(b"fields") => {
                let columns: Vec<_> = parts.map(|name| spelling.find(name).map(|(field, _)| field)).collect();
                let missing = spelling.missing(|field| columns.contains(&Some(field)));
                if !missing.is_empty() {
                    return Err(format!("#fields without {}", missing.join(", ")));
                }
                self.columns = Some(columns);
            }
            _ => {}
        }
        Ok(())
    }
}

fn parse_separator(text: &[u8]) -> Option<u8> {
    match text {
        [byte] => Some(*byte),
        [b'\\', b'x', digits @ ..] if digits.len() == 2 => {
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
