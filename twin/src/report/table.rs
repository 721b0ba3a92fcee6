//! Tables of plain text: columns as wide as they must be, two blanks between.

use std::fmt;

/// To which side a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of text.
#[derive(Clone, Debug)]
pub struct Table {
    heads: Vec<String>,
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; without a head line when all heads are empty.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Table {
            heads: columns.iter().map(|(head, _)| (*head).to_owned()).collect(),
            aligns: columns.iter().map(|(_, align)| *align).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.heads.len(), "a row has as many cells as the table has columns");
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = self.heads.iter().any(|head| !head.is_empty()).then_some(&self.heads);
        let lines: Vec<&Vec<String>> = heads.into_iter().chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        for line in lines {
            let mut text = String::new();
            for ((cell, width), align) in line.iter().zip(&widths).zip(&self.aligns) {
                let blanks = " ".repeat(width - cell.chars().count());
                match align {
                    Align::Left => text.extend([cell, blanks.as_str(), "  "]),
                    Align::Right => text.extend([blanks.as_str(), cell, "  "]),
                }
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&[("policy", Align::Left), ("cost", Align::Right)]);
        table.row(["hpa".to_owned(), "12.5".to_owned()]);
        table.row(["predictive".to_owned(), "9".to_owned()]);
        assert_eq!(table.to_string(), "policy      cost\nhpa         12.5\npredictive     9\n");
    }
}
