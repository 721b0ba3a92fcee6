//! Public holidays from CSV: `date` or `date,name`, one local day a row, columns by name and in any order.
//!
//! Not a calendar: rules that say when Easter is stand elsewhere. Rows may be in any order and repeat a day, which may be a
//! holiday for two reasons; a date that is none is an error with its line.

use std::path::Path;

use jiff::civil::Date;

use crate::error::{Place, ReadError, shown};
use crate::input::Input;
use crate::table::{Fields, Header, is_blank, unclosed_quote};

/// A day on which people do as on a Sunday.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holiday {
    /// The day, on the clock of the place.
    pub date: Date,
    /// What is celebrated; empty where the file does not say.
    pub name: String,
}

impl Holiday {
    /// Its day, counted from 1970-01-01.
    pub fn day(&self) -> i32 {
        // No date that is read is further than ten thousand years away.
        (self.date - jiff::civil::date(1970, 1, 1)).get_days()
    }
}

const ALLOWED_COLUMNS: &str = "the columns date or date,name (any order)";
const ALLOWED_DATE: &str = "a date such as 2026-12-25";

/// Reads holidays from a file, `.gz` or plain, or from standard input (`-`), by ascending date.
///
/// # Errors
/// [`ReadError`] for what cannot be opened or unpacked; [`ReadError::Malformed`] with the line for a column that is
/// missing, a row with too few or too many fields, and a date that is none.
pub fn read_holidays(path: &Path) -> Result<Vec<Holiday>, ReadError> {
    read_holidays_from(Input::open(path)?)
}

/// As [`read_holidays`], from an opened input.
///
/// # Errors
/// As [`read_holidays`].
pub fn read_holidays_from(mut input: Input) -> Result<Vec<Holiday>, ReadError> {
    let header = Header::read(&mut input, ALLOWED_COLUMNS)?;
    let date = header.need("date", &input, ALLOWED_COLUMNS)?;
    let (name, wanted) = (header.find("name"), header.columns.len());
    let mut holidays = Vec::new();
    while let Some(line) = input.next_line()? {
        if is_blank(line.text) {
            continue;
        }
        let number = line.number;
        let fields: Option<Vec<&[u8]>> = Fields::of(line.text).collect();
        let Some(fields) = fields else { return Err(unclosed_quote(&input, number)) };
        if fields.len() != wanted {
            let what = format!("{} fields", fields.len());
            let allowed = format!("{wanted} fields, as in the header");
            return Err(input.malformed(Place::Line(number), what, allowed, "quote names that hold a comma"));
        }
        let text = |at: usize| String::from_utf8_lossy(fields[at]).into_owned();
        let Some(read) = read_date(fields[date]) else {
            let what = format!("date \"{}\" is none", shown(fields[date]));
            return Err(input.malformed(
                Place::Line(number),
                what,
                ALLOWED_DATE,
                "year, month and day with dashes between; a time of day has no place here",
            ));
        };
        holidays.push(Holiday { date: read, name: name.map_or_else(String::new, text) });
    }
    holidays.sort();
    Ok(holidays)
}

/// A date as year-month-day, with nothing after it.
fn read_date(text: &[u8]) -> Option<Date> {
    let text = std::str::from_utf8(text).ok()?;
    // The parser also takes what stands for a time of day after a date.
    (text.len() == "2026-12-25".len()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<Holiday>, ReadError> {
        read_holidays_from(Input::from_reader("holidays.csv", std::io::Cursor::new(text.as_bytes().to_vec()))?)
    }

    #[test]
    fn days_are_read_in_any_order_with_and_without_names() {
        let found =
            read("\u{feff}Name,Date\n\"Boxing Day, observed\",2026-12-28\n# a remark\n\nChristmas Day,2026-12-25\n");
        let found = found.unwrap();
        assert_eq!(
            found.iter().map(|day| day.name.as_str()).collect::<Vec<_>>(),
            ["Christmas Day", "Boxing Day, observed"]
        );
        assert_eq!(found[0].day(), 20_812);
        assert_eq!(
            read("date\n1970-01-01\n1969-12-31\n").unwrap().iter().map(Holiday::day).collect::<Vec<_>>(),
            [-1, 0]
        );
        assert_eq!(read("date\n").unwrap(), []);
    }

    #[test]
    fn what_is_no_date_is_refused_with_its_line() {
        for (text, said) in [
            ("", "an empty file"),
            ("day\n2026-12-25\n", "no column \"date\" among day"),
            ("2026-12-25\n", "no column \"date\""),
            ("date,name\n2026-12-25\n", ":2: 1 fields"),
            ("date\n2026-12-25\n2026-02-30\n", ":3: date \"2026-02-30\" is none"),
            ("date\n25.12.2026\n", ":2: date \"25.12.2026\" is none"),
            ("date\n2026-12-25T00:00:00\n", ":2: date"),
            ("date\n\"2026-12-25\n", ":2: a quote that is not closed"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(said), "{text:?}: {error}");
            assert!(error.to_string().starts_with("holidays.csv") && !error.hint().is_empty(), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-0-9a,\"\n]{0,60}") {
            let _ = read(&format!("date\n{text}"));
        }
    }
}
