//! Draws a table: names of columns, rows, the cursor, bars.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{put, put_styled};
use crate::tui::app::App;
use crate::tui::layout::Pane;
use crate::tui::look::{Look, Tone};
use crate::tui::table::{Bar, GAP};

pub(super) fn draw(app: &App, pane: Pane, area: Rect, buffer: &mut Buffer) {
    let look = app.look;
    let Some(table) = app.table(pane) else { return };
    if area.height == 0 {
        return;
    }
    let state = app.list(pane);
    let sorted = state.and_then(|state| state.sort);
    let widths = table.widths(usize::from(area.width), sorted);
    let named = table.columns.iter().any(|column| !column.name.is_empty());
    let first_row = area.y + u16::from(named);
    let height = usize::from(area.bottom().saturating_sub(first_row));
    let (cursor, top) = match state {
        Some(state) if !table.rows.is_empty() => {
            (Some(state.position(&table.rows)), state.first_shown(&table.rows, height))
        }
        _ => (None, 0),
    };
    let place = |buffer: &mut Buffer, y: u16, index: usize, text: &str, tone: Tone| {
        let from =
            usize::from(area.x) + widths[..index].iter().filter(|width| **width > 0).map(|w| w + GAP).sum::<usize>();
        let room = widths[index];
        let blank = if table.columns[index].right { room.saturating_sub(text.chars().count()) } else { 0 };
        let end = (from + room).min(usize::from(area.right())) as u16;
        put(buffer, look, (from + blank) as u16, y, end, text, tone);
        Rect { x: from as u16, y, width: end.saturating_sub(from as u16), height: 1 }
    };
    for (index, column) in table.columns.iter().enumerate().filter(|(index, _)| named && widths[*index] > 0) {
        let marked = match sorted {
            Some(sorted) if sorted == index => format!("{} {}", column.name, look.glyph("▼", "v")),
            _ => column.name.to_owned(),
        };
        place(buffer, area.y, index, &marked, Tone::Dim);
    }
    for (line, row) in table.rows.iter().enumerate().skip(top).take(height) {
        let y = first_row + (line - top) as u16;
        for (index, cell) in row.cells.iter().enumerate().filter(|(index, _)| widths[*index] > 0) {
            let tone = if row.dim { Tone::Dim } else { cell.tone };
            match cell.bar {
                Some(bar) => {
                    let bounds = place(buffer, y, index, "", tone);
                    draw_bar(look, bar, tone, bounds, buffer);
                }
                None => {
                    place(buffer, y, index, &cell.text, tone);
                }
            }
        }
        if cursor == Some(line) {
            let row = Rect { y, height: 1, ..area };
            if app.focus == pane {
                buffer.set_style(row, look.cursor());
            } else if area.x > 0 {
                put_styled(buffer, look, area.x - 1, y, area.x, look.glyph("▏", "|"), look.style(Tone::Accent));
            }
        }
    }
    if table.rows.is_empty() {
        put(buffer, look, area.x, first_row, area.right(), "none", Tone::Dim);
    }
}

/// Use in blocks up to the ceiling, with a stroke at the guarantee.
fn draw_bar(look: Look, bar: Bar, tone: Tone, area: Rect, buffer: &mut Buffer) {
    if area.width == 0 {
        return;
    }
    let eighths = (bar.used * f64::from(area.width) * 8.0).round() as u16;
    let parts = ["▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    for (index, x) in (area.x..area.right()).enumerate() {
        let filled = eighths.saturating_sub(8 * index as u16);
        let (glyph, tone) = match filled {
            0 => (look.glyph("·", "."), Tone::Rule),
            8.. => (look.glyph("█", "#"), tone),
            part => (look.glyph(parts[usize::from(part) - 1], if part >= 4 { "#" } else { "." }), tone),
        };
        buffer[(x, area.y)].set_symbol(glyph).set_style(look.style(tone));
    }
    let mark = area.x + (bar.mark * f64::from(area.width - 1)).round() as u16;
    buffer[(mark, area.y)].set_symbol(look.glyph("┃", "|")).set_style(look.style(Tone::Head));
}
