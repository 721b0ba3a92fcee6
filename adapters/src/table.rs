//! Lines of comma-separated values with a header, one record a line.
//!
//! Not a general CSV reader: a quoted field cannot hold a line break, so that a line number is always that of the
//! record and a missing quote cannot swallow the rest of the file.

use crate::error::{Place, ReadError, shown};
use crate::input::Input;

/// Columns of a table by name.
pub(crate) struct Header {
    /// Names in order, lower case.
    pub(crate) columns: Vec<String>,
}

impl Header {
    /// Reads the first line that is neither empty nor a comment.
    pub(crate) fn read(input: &mut Input, allowed: &'static str) -> Result<Header, ReadError> {
        loop {
            let Some(line) = input.next_line()? else {
                return Err(input.malformed(Place::File, "an empty file", allowed, "is this the right file?"));
            };
            let (number, mut text) = (line.number, line.text);
            if number == 1 {
                text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
            }
            if is_blank(text) {
                continue;
            }
            let names = std::str::from_utf8(text).ok().filter(|t| !t.contains('\0')).map(str::to_owned);
            let Some(names) = names else {
                return Err(input.malformed(Place::Line(number), "not text", allowed, "is this a CSV file in UTF-8?"));
            };
            let columns = Fields::of(names.as_bytes())
                .map(|field| field.map(|f| String::from_utf8_lossy(f).to_ascii_lowercase()))
                .collect::<Option<Vec<_>>>();
            let Some(columns) = columns else { return Err(unclosed_quote(input, number)) };
            return Ok(Header { columns });
        }
    }

    /// Position of a column.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// Position of a column that must be there.
    pub(crate) fn need(&self, name: &str, input: &Input, allowed: &'static str) -> Result<usize, ReadError> {
        self.find(name).ok_or_else(|| {
            let hint = if self.columns.len() == 1 && self.columns[0].contains([';', '\t']) {
                "separate the columns by commas"
            } else if self.columns.iter().all(|column| column.starts_with(|c: char| c.is_ascii_digit() || c == '-')) {
                "the first line must name the columns"
            } else {
                "rename the column in the first line"
            };
            let what = format!("no column \"{name}\" among {}", shown(self.columns.join(",").as_bytes()));
            input.malformed(Place::Line(1), what, allowed, hint)
        })
    }
}

/// True for a line without a record.
pub(crate) fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace) || text.first() == Some(&b'#')
}

/// The error for a quote that stays open.
pub(crate) fn unclosed_quote(input: &Input, line: u64) -> ReadError {
    input.malformed(
        Place::Line(line),
        "a quote that is not closed on its line",
        "fields with or without \"double quotes\"",
        "remove the quotes or close them",
    )
}

/// The fields of one line, trimmed and without quotes; `None` for a field whose quote is not closed.
pub(crate) struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(line: &'a [u8]) -> Fields<'a> {
        Fields { rest: Some(line) }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest?.trim_ascii_start();
        if let Some(quoted) = text.strip_prefix(b"\"") {
            // A doubled quote stands for one; names with quotes in them are not worth a copy of every field.
            let end = quoted.iter().position(|&b| b == b'"');
            let after = end.map(|end| quoted[end + 1..].trim_ascii_start());
            let (Some(end), Some(after)) = (end, after) else {
                self.rest = None;
                return Some(None);
            };
            self.rest = after.strip_prefix(b",");
            if !after.is_empty() && self.rest.is_none() {
                return Some(None);
            }
            return Some(Some(quoted[..end].trim_ascii()));
        }
        match text.iter().position(|&b| b == b',') {
            Some(at) => {
                self.rest = Some(&text[at + 1..]);
                Some(Some(text[..at].trim_ascii_end()))
            }
            None => {
                self.rest = None;
                Some(Some(text.trim_ascii_end()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_falls_into_fields() {
        let check = |line: &str, want: &[Option<&str>]| {
            let found: Vec<_> = Fields::of(line.as_bytes()).collect();
            assert_eq!(found, want.iter().map(|f| f.map(str::as_bytes)).collect::<Vec<_>>(), "{line}");
        };
        check("a,b,c", &[Some("a"), Some("b"), Some("c")]);
        check("a,,", &[Some("a"), Some(""), Some("")]);
        check("", &[Some("")]);
        check(" a , \"b, c\" ,d ", &[Some("a"), Some("b, c"), Some("d")]);
        check("\"a\"", &[Some("a")]);
        check("\"a\",", &[Some("a"), Some("")]);
        check("\"a", &[None]);
        check("x,\"a\"b,c", &[Some("x"), None]);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b' '), any::<u8>()], 0..40)) {
            prop_assert!(Fields::of(&line).count() <= line.len() + 1);
        }
    }
}
