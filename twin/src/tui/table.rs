//! Rows and columns: what lists show, sort, filter and write as CSV.

use std::cmp::Ordering;

use super::look::Tone;

/// A table as it is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
}

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) right: bool,
    /// The column goes when there is no room, the greatest number first; 0 stays.
    pub(crate) rank: u8,
}

impl Column {
    pub(crate) const fn left(name: &'static str, rank: u8) -> Column {
        Column { name, right: false, rank }
    }

    pub(crate) const fn right(name: &'static str, rank: u8) -> Column {
        Column { name, right: true, rank }
    }
}

/// One row and what it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Identity within its table, by which the cursor finds it again.
    pub(crate) key: u64,
    pub(crate) cells: Vec<Cell>,
    /// It lies in the future.
    pub(crate) dim: bool,
}

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// What it is sorted by, where that is a number.
    pub(crate) value: Option<f64>,
    pub(crate) tone: Tone,
    pub(crate) bar: Option<Bar>,
}

/// Use, guarantee and ceiling of a slice, all as shares of the length of the bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) used: f64,
    pub(crate) mark: f64,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), value: None, tone: Tone::Text, bar: None }
    }

    pub(crate) fn number(value: f64, text: impl Into<String>) -> Cell {
        Cell { text: text.into(), value: Some(value), tone: Tone::Text, bar: None }
    }

    pub(crate) fn tone(self, tone: Tone) -> Cell {
        Cell { tone, ..self }
    }
}

/// Where in a list its reader is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ListState {
    /// Key of the row under the cursor; none yet is the first row.
    pub(crate) key: Option<u64>,
    /// First row that is shown.
    pub(crate) top: usize,
    /// Column that the list is sorted by; none is the natural order.
    pub(crate) sort: Option<usize>,
    /// Text that rows must contain, in lower case.
    pub(crate) filter: String,
}

impl ListState {
    /// Position of the cursor among `rows`; the first when its row is gone.
    pub(crate) fn position(&self, rows: &[Row]) -> usize {
        self.key.and_then(|key| rows.iter().position(|row| row.key == key)).unwrap_or(0)
    }

    /// First row to show so that the cursor can be seen.
    pub(crate) fn first_shown(&self, rows: &[Row], height: usize) -> usize {
        let position = self.position(rows);
        let least = (position + 1).saturating_sub(height);
        let last_page = rows.len().saturating_sub(height);
        self.top.clamp(least.min(position), position).min(last_page)
    }

    /// Moves the cursor by `rows_on`, at most to an end.
    pub(crate) fn move_by(&mut self, rows: &[Row], rows_on: isize, height: usize) {
        if rows.is_empty() {
            return;
        }
        let position = self.position(rows).saturating_add_signed(rows_on).min(rows.len() - 1);
        self.key = Some(rows[position].key);
        self.top = self.first_shown(rows, height.max(1));
    }
}

impl Table {
    /// Applies filter and order of `state`.
    pub(crate) fn arrange(mut self, state: &ListState) -> Table {
        if !state.filter.is_empty() {
            self.rows.retain(|row| row.cells.iter().any(|cell| cell.text.to_lowercase().contains(&state.filter)));
        }
        if let Some(column) = state.sort.filter(|column| *column < self.columns.len()) {
            // Stable, so rows that are equal keep their natural order and do not dance.
            self.rows.sort_by(|a, b| match (&a.cells[column], &b.cells[column]) {
                (Cell { value: Some(a), .. }, Cell { value: Some(b), .. }) => {
                    b.partial_cmp(a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
                }
                (Cell { value: Some(_), .. }, _) => Ordering::Less,
                (_, Cell { value: Some(_), .. }) => Ordering::Greater,
                (a, b) => a.text.cmp(&b.text),
            });
        }
        self
    }

    /// Width of each column, 0 for those that have to go so that all fits into `width`; what is left over goes to the
    /// last column.
    pub(crate) fn widths(&self, width: usize, sorted: Option<usize>) -> Vec<usize> {
        let natural = |index: usize| {
            let heading = self.columns[index].name.chars().count() + usize::from(sorted == Some(index)) * 2;
            let cells = self.rows.iter().map(|row| row.cells.get(index).map_or(0, |cell| cell.text.chars().count()));
            cells.max().unwrap_or(0).max(heading)
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(natural).collect();
        let needed = |widths: &[usize]| {
            widths.iter().filter(|width| **width > 0).map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
        };
        while needed(&widths) > width {
            let goes =
                (0..widths.len()).filter(|index| widths[*index] > 0).max_by_key(|index| self.columns[*index].rank);
            match goes {
                Some(index) if self.columns[index].rank > 0 => widths[index] = 0,
                _ => break,
            }
        }
        let spare = width.saturating_sub(needed(&widths));
        if let Some(last) = (0..widths.len()).rev().find(|index| widths[*index] > 0) {
            let over = needed(&widths).saturating_sub(width);
            if !self.columns[last].right {
                widths[last] += spare;
            }
            widths[last] = widths[last].saturating_sub(over).max(1);
        }
        widths
    }

    /// The table as CSV (RFC 4180): numbers in full, whatever is shown.
    pub(crate) fn csv(&self) -> String {
        let quoted = |text: &str| match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
        let mut csv = String::new();
        let names = self.columns.iter().map(|column| quoted(column.name));
        let rows = self.rows.iter().map(|row| {
            let cell = |cell: &Cell| match cell.value {
                Some(value) if value.is_finite() => value.to_string(),
                Some(_) => String::new(),
                None => quoted(&cell.text),
            };
            row.cells.iter().map(cell).collect::<Vec<_>>().join(",")
        });
        csv.push_str(&names.collect::<Vec<_>>().join(","));
        csv.push('\n');
        for row in rows {
            csv.push_str(&row);
            csv.push('\n');
        }
        csv
    }
}

/// Blanks between columns.
pub(crate) const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str], values: &[f64]) -> Table {
        let row = |(key, (name, value)): (usize, (&&str, &f64))| Row {
            key: key as u64,
            cells: vec![Cell::text(*name), Cell::number(*value, format!("{value:.0}"))],
            dim: false,
        };
        Table {
            columns: vec![Column::left("name", 0), Column::right("value", 1)],
            rows: names.iter().zip(values).enumerate().map(row).collect(),
        }
    }

    fn names(table: &Table) -> Vec<&str> {
        table.rows.iter().map(|row| row.cells[0].text.as_str()).collect()
    }

    #[test]
    fn numbers_sort_downwards_and_text_upwards() {
        let sorted = |column| {
            let state = ListState { sort: Some(column), ..ListState::default() };
            table(&["b", "c", "a", "d"], &[2.0, f64::NAN, 9.0, 2.0]).arrange(&state)
        };
        assert_eq!(names(&sorted(0)), ["a", "b", "c", "d"]);
        assert_eq!(names(&sorted(1)), ["a", "b", "d", "c"]);
    }

    #[test]
    fn a_filter_keeps_what_contains_its_text() {
        let state = ListState { filter: "o".to_owned(), ..ListState::default() };
        assert_eq!(names(&table(&["lon", "FRO", "fra"], &[1.0; 3]).arrange(&state)), ["lon", "FRO"]);
    }

    #[test]
    fn the_cursor_stays_with_its_row_and_in_sight() {
        let rows = table(&["x"; 100], &[0.0; 100]).rows;
        let mut state = ListState::default();
        for (by, position) in [(1, 1), (50, 51), (500, 99), (-3, 96), (-500, 0)] {
            state.move_by(&rows, by, 10);
            assert_eq!(state.position(&rows), position);
            let top = state.first_shown(&rows, 10);
            assert!((top..top + 10).contains(&position), "{top}");
        }
        state.move_by(&[], 1, 10);
        assert_eq!(state.first_shown(&rows[..3], 0), 0);
    }

    #[test]
    fn columns_go_when_there_is_no_room() {
        let table = table(&["long name"], &[1.0]);
        assert_eq!(table.widths(40, None), [9, 5]);
        assert_eq!(table.widths(10, None), [10, 0]);
        assert_eq!(table.widths(4, None), [4, 0]);
    }

    #[test]
    fn csv_quotes_what_must_be_quoted() {
        let csv = table(&["a,b", "say \"x\""], &[1.5, f64::NAN]).csv();
        assert_eq!(csv, "name,value\n\"a,b\",1.5\n\"say \"\"x\"\"\",\n");
    }
}
