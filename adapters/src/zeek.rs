//! Zeek's `dns.log`, tab-separated: one row a query, columns by the `#fields` header.
//!
//! Header lines may recur in the middle (rotated files after `cat`) and change the columns. A mirror port often
//! captures each packet twice; rows that agree in uid, port, transaction, name and type within 1 ms are one query.
//! Zeek writes a row when the transaction ends, so rows are sorted by time before they are shown.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use forebay_world::{Duration, Timestamp};

use crate::dns_message::NameBuffer;
use crate::error::{Place, ReadError, shown};
use crate::input::Input;
use crate::log_time::parse_time;
use crate::query::{Clients, LogFormat, LoggedQuery, QueryReport, Skip, Vantage};

/// Two rows of the same transaction this close are one packet captured twice. A client repeats a question after a
/// second or so, never within a millisecond.
const DOUBLE_CAPTURE: Duration = Duration::from_millis(1);

const ALLOWED: &str = "a Zeek dns.log: tab-separated, with a #fields line that names ts, id.orig_h, query and qtype";

/// Reads the queries of a Zeek `dns.log`, in order of time.
///
/// # Errors
/// [`ReadError::Malformed`] for a file without a header, a header without the columns that are needed, or with the
/// first malformed row when more than 1 % are; what [`Input::fill`] says.
pub fn read_zeek<V>(mut input: Input, visit: &mut V) -> Result<QueryReport, ReadError>
where
    V: FnMut(&LoggedQuery<'_>) + ?Sized,
{
    let mut log = Log::read(&mut input)?;
    let mut report = QueryReport::new(LogFormat::Zeek);
    report.records = log.records;
    report.out_of_order = log.rows.windows(2).map(|pair| u64::from(pair[1].at < pair[0].at)).sum();
    report.skipped = log.skipped;
    report.truncated = log.truncated;
    report.deduplicated = log.all_keyed;
    if let Some((Place::Line(line), what)) = log.malformed.intolerable(log.records) {
        return Err(input.malformed(
            Place::Line(line),
            what,
            "rows as the #fields line before them announces, up to 1 % of them malformed",
            "was the log edited, or cut and pasted with blanks for tabs?",
        ));
    }
    report.malformed = std::mem::take(&mut log.malformed);
    report.duplicates = log.drop_double_captures();
    let mut clients = Clients::default();
    for row in &log.rows {
        if let Some(why) = row.skip {
            report.skipped.add(why);
            continue;
        }
        let query = LoggedQuery {
            at: row.at,
            client: row.client,
            server: row.server,
            ecs: None,
            name: &log.names[row.name as usize],
            qtype: row.qtype,
            vantage: Vantage::BeforeResolver,
        };
        report.count(&query, &mut clients);
        visit(&query);
    }
    report.clients = clients.count();
    Ok(report)
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

/// A row, as far as it matters.
struct Row {
    at: Timestamp,
    client: IpAddr,
    server: Option<IpAddr>,
    /// Hash of uid, port and transaction: with client, name and type it tells transactions apart.
    transaction: u64,
    name: u32,
    qtype: u16,
    /// Kept until double captures are dropped, so that both captures of a skipped row count as one.
    skip: Option<Skip>,
}

/// A log in memory.
#[derive(Default)]
struct Log {
    rows: Vec<Row>,
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    records: u64,
    skipped: crate::query::SkipCounts,
    malformed: crate::query::MalformedRecords,
    truncated: Option<Place>,
    all_keyed: bool,
}

impl Log {
    fn read(input: &mut Input) -> Result<Log, ReadError> {
        let mut log = Log { all_keyed: true, ..Log::default() };
        let mut header = Header::default();
        let mut name = NameBuffer::new();
        let path = input.path().to_owned();
        let malformed = |line: u64, what: String, hint: &'static str| ReadError::Malformed {
            path: path.clone(),
            place: Place::Line(line),
            what,
            allowed: ALLOWED.into(),
            hint: hint.into(),
        };
        while let Some(line) = input.next_line()? {
            if let Some(directive) = line.text.strip_prefix(b"#") {
                header
                    .read(directive)
                    .map_err(|what| malformed(line.number, what, "conn.log and others have no queries"))?;
                continue;
            }
            if line.text.is_empty() {
                continue;
            }
            let Some(columns) = &header.columns else {
                let what = format!("a row before any #fields line: \"{}\"", shown(line.text));
                return Err(malformed(line.number, what, "keep the lines that begin with # when a log is split"));
            };
            log.records += 1;
            log.all_keyed &= columns.has_key();
            match log.read_row(line.text, &header, columns, &mut name) {
                Ok(Ok(row)) => log.rows.push(row),
                Ok(Err(why)) => log.skipped.add(why),
                // A writer that still runs, or was interrupted.
                Err(_) if !line.ended => {
                    log.records -= 1;
                    log.truncated = Some(Place::Line(line.number));
                }
                Err(what) => log.malformed.add(Place::Line(line.number), || what),
            }
        }
        if header.columns.is_none() {
            return Err(malformed(1, "no #fields line".to_owned(), "is this a Zeek log?"));
        }
        Ok(log)
    }

    /// Reads a row; the outer error is what makes it malformed, the inner why it cannot be a query.
    fn read_row(
        &mut self,
        text: &[u8],
        header: &Header,
        columns: &Columns,
        name: &mut NameBuffer,
    ) -> Result<Result<Row, Skip>, String> {
        let mut fields = [None; WANTED.len()];
        let mut found = 0;
        for field in text.split(|&byte| byte == header.separator) {
            if let Some(Some(wanted)) = columns.wanted.get(found) {
                fields[*wanted as usize] = (field != header.unset).then_some(field);
            }
            found += 1;
        }
        if found != columns.wanted.len() {
            return Err(format!("{found} fields, not {}", columns.wanted.len()));
        }
        let field = |wanted: Wanted| fields[wanted as usize];
        let Some(time) = field(Wanted::Time) else { return Ok(Err(Skip::NoTime)) };
        let at = parse_time(time).ok_or_else(|| format!("ts \"{}\" is no time", shown(time)))?;
        let Some(client) = field(Wanted::Client) else { return Ok(Err(Skip::NoClient)) };
        let client = parse_address(client)?;
        let server = field(Wanted::Server).map(parse_address).transpose()?;
        let mut hasher = DefaultHasher::new();
        for wanted in [Wanted::Uid, Wanted::ClientPort, Wanted::Transaction] {
            field(wanted).hash(&mut hasher);
        }
        let qtype = field(Wanted::Type).map(|text| parse_number(text, "qtype")).transpose()?;
        let class = field(Wanted::Class).map(|text| parse_number(text, "qclass")).transpose()?;
        let port = field(Wanted::ServerPort).map(|text| parse_number(text, "id.resp_p")).transpose()?;
        let query = field(Wanted::Query);
        name.clear();
        if let Some(query) = query
            && query != header.empty
        {
            write_name(query, name).ok_or_else(|| format!("a name of {} bytes", query.len()))?;
        }
        let skip = if query.is_none() || qtype.is_none() {
            Some(Skip::NoQuestion)
        } else if matches!(port, Some(137 | 5353 | 5355)) {
            Some(Skip::LocalService)
        } else if class.is_some_and(|class| class != 1 && class != 255) {
            Some(Skip::OtherClass)
        } else {
            None
        };
        let (transaction, name) = (hasher.finish(), self.number(name.as_str()));
        Ok(Ok(Row { at, client, server, transaction, name, qtype: qtype.unwrap_or(0), skip }))
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// Sorts by time and drops rows that repeat another; says how many.
    fn drop_double_captures(&mut self) -> u64 {
        let before = self.rows.len();
        if self.all_keyed {
            let key = |row: &Row| (row.transaction, row.client, row.name, row.qtype);
            self.rows.sort_by_key(|row| (key(row), row.at));
            self.rows.dedup_by(|row, kept| key(row) == key(kept) && row.at.since(kept.at) < DOUBLE_CAPTURE);
        }
        // Hashes take no part in the order that is shown.
        self.rows.sort_by(|a, b| {
            let by = |row: &Row| (row.at, row.client, row.server, row.name, row.qtype);
            by(a).cmp(&by(b))
        });
        (before - self.rows.len()) as u64
    }
}

fn parse_address(text: &[u8]) -> Result<IpAddr, String> {
    let address: Option<IpAddr> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    address.map(|address| address.to_canonical()).ok_or_else(|| format!("address \"{}\" is none", shown(text)))
}

fn parse_number(text: &[u8], column: &str) -> Result<u16, String> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{column} \"{}\" is no number up to 65535", shown(text)))
}

/// Writes a name as Zeek shows it (bytes that cannot be shown are `\xhh`) in presentation form.
fn write_name(text: &[u8], name: &mut NameBuffer) -> Option<()> {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'.', _) => name.push_dot()?,
            (b'\\', [b'x', high, low, beyond @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |d: &u8| (*d as char).to_digit(16).unwrap_or(0) as u8;
                name.push_label_byte(digit(high) << 4 | digit(low))?;
                rest = beyond;
            }
            (b'\\', [b'\\', beyond @ ..]) => {
                name.push_label_byte(b'\\')?;
                rest = beyond;
            }
            _ => name.push_label_byte(byte)?,
        }
    }
    name.drop_trailing_dot();
    Some(())
}

/// Columns that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Time,
    Uid,
    Client,
    ClientPort,
    Server,
    ServerPort,
    Transaction,
    Query,
    Class,
    Type,
}

const WANTED: [(&[u8], Wanted); 10] = [
    (b"ts", Wanted::Time),
    (b"uid", Wanted::Uid),
    (b"id.orig_h", Wanted::Client),
    (b"id.orig_p", Wanted::ClientPort),
    (b"id.resp_h", Wanted::Server),
    (b"id.resp_p", Wanted::ServerPort),
    (b"trans_id", Wanted::Transaction),
    (b"query", Wanted::Query),
    (b"qclass", Wanted::Class),
    (b"qtype", Wanted::Type),
];

/// Which column holds what.
struct Columns {
    wanted: Vec<Option<Wanted>>,
}

impl Columns {
    fn has(&self, wanted: Wanted) -> bool {
        self.wanted.contains(&Some(wanted))
    }

    /// Whether transactions can be told apart.
    fn has_key(&self) -> bool {
        self.has(Wanted::Uid) && self.has(Wanted::ClientPort) && self.has(Wanted::Transaction)
    }
}

/// What the header lines have said so far.
struct Header {
    separator: u8,
    unset: Vec<u8>,
    empty: Vec<u8>,
    columns: Option<Columns>,
}

impl Default for Header {
    fn default() -> Self {
        Header { separator: b'\t', unset: b"-".to_vec(), empty: b"(empty)".to_vec(), columns: None }
    }
}

impl Header {
    /// Takes a line, without its `#`, into account.
    fn read(&mut self, line: &[u8]) -> Result<(), String> {
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
                let wanted = parts.map(|name| WANTED.iter().find(|(n, _)| *n == name).map(|&(_, wanted)| wanted));
                let columns = Columns { wanted: wanted.collect() };
                let lacks = |wanted: &(&[u8], Wanted)| !columns.has(wanted.1);
                let needed = [Wanted::Time, Wanted::Client, Wanted::Query, Wanted::Type];
                let missing: Vec<_> = WANTED
                    .iter()
                    .filter(|wanted| needed.contains(&wanted.1) && lacks(wanted))
                    .map(|(name, _)| shown(name))
                    .collect();
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
