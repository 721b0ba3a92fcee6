//! What lies over the panes for a while: help, the explanation of a decision, the choice of a policy.

mod explain;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{put, put_styled};
use crate::tui::app::{App, Overlay};
use crate::tui::keys::{self, Group};
use crate::tui::look::Tone;

/// A line of pieces.
type Line = Vec<(String, Tone)>;

pub(super) fn draw(app: &App, overlay: &Overlay, screen: Rect, buffer: &mut Buffer) {
    match overlay {
        Overlay::Help { top } => draw_help(app, *top, screen, buffer),
        Overlay::Explain => {
            let width = screen.width.saturating_sub(4).min(84);
            let lines = explain::lines(app, usize::from(width.saturating_sub(4)));
            let inner = draw_box(app, "Why", (width, lines.len() as u16 + 2), screen, buffer);
            draw_lines(app, &lines, inner, buffer);
        }
        Overlay::Policies { cursor } => draw_policies(app, *cursor, screen, buffer),
    }
}

/// A box in the middle of the screen; returns its inside.
fn draw_box(app: &App, title: &str, (width, height): (u16, u16), screen: Rect, buffer: &mut Buffer) -> Rect {
    let look = app.look;
    let (width, height) = (width.min(screen.width), height.min(screen.height));
    let area =
        Rect { x: screen.x + (screen.width - width) / 2, y: screen.y + (screen.height - height) / 2, width, height };
    let rule = look.style(Tone::Dim);
    for y in area.y..area.bottom() {
        for x in area.x..area.right() {
            let (left, right, first, last) = (x == area.x, x + 1 == area.right(), y == area.y, y + 1 == area.bottom());
            let symbol = match (left, right, first, last) {
                (true, _, true, _) => look.glyph("╭", "+"),
                (_, true, true, _) => look.glyph("╮", "+"),
                (true, _, _, true) => look.glyph("╰", "+"),
                (_, true, _, true) => look.glyph("╯", "+"),
                (true, ..) | (_, true, ..) => look.glyph("│", "|"),
                (_, _, true, _) | (.., true) => look.glyph("─", "-"),
                _ => " ",
            };
            let cell = &mut buffer[(x, y)];
            cell.reset();
            cell.set_symbol(symbol).set_style(look.ground()).set_style(rule);
        }
    }
    put(buffer, look, area.x + 2, area.y, area.right(), &format!(" {title} "), Tone::Accent);
    Rect { x: area.x + 2, y: area.y + 1, width: area.width.saturating_sub(4), height: area.height.saturating_sub(2) }
}

fn draw_lines(app: &App, lines: &[Line], area: Rect, buffer: &mut Buffer) {
    for (line, y) in lines.iter().zip(area.y..area.bottom()) {
        let mut x = area.x;
        for (text, tone) in line {
            x = put(buffer, app.look, x, y, area.right(), text, *tone);
        }
    }
}

fn help_of(app: &App, groups: &[Group]) -> Vec<Line> {
    let label_width =
        keys::of(&app.scene).map(|binding| binding.label(app.look.ascii).chars().count()).max().unwrap_or(0);
    let mut lines: Vec<Line> = Vec::new();
    for group in groups {
        let bindings: Vec<_> = keys::of(&app.scene).filter(|binding| binding.group == *group).collect();
        if bindings.is_empty() {
            continue;
        }
        if !lines.is_empty() {
            lines.push(Vec::new());
        }
        lines.push(vec![(group.name().to_owned(), Tone::Head)]);
        for binding in bindings {
            let label = binding.label(app.look.ascii);
            let blank = " ".repeat(label_width - label.chars().count() + 2);
            lines.push(vec![
                (label, Tone::Accent),
                (blank, Tone::Text),
                (binding.help(&app.scene).to_owned(), Tone::Text),
            ]);
        }
    }
    lines
}

fn draw_help(app: &App, top: usize, screen: Rect, buffer: &mut Buffer) {
    if screen.width >= 120 && screen.height >= 30 {
        let columns = [
            help_of(app, &[Group::Time, Group::Chart, Group::Program]),
            help_of(app, &[Group::Moving, Group::Views, Group::Operation]),
        ];
        let height = columns.iter().map(Vec::len).max().unwrap_or(0) as u16 + 2;
        let inner = draw_box(app, "Keys", (118, height), screen, buffer);
        let half = inner.width / 2;
        draw_lines(app, &columns[0], Rect { width: half - 1, ..inner }, buffer);
        draw_lines(app, &columns[1], Rect { x: inner.x + half, width: inner.width - half, ..inner }, buffer);
        return;
    }
    let lines = help_of(app, &Group::ALL);
    let height = (lines.len() as u16 + 2).min(screen.height);
    let inner = draw_box(app, "Keys", (64, height), screen, buffer);
    let hidden = lines.len().saturating_sub(usize::from(inner.height));
    let top = top.min(hidden);
    draw_lines(app, &lines[top..], inner, buffer);
    if hidden > 0 {
        let more = format!(" {}-{} of {} ", top + 1, top + usize::from(inner.height), lines.len());
        let x = inner.right().saturating_sub(more.len() as u16);
        put(buffer, app.look, x, inner.bottom(), inner.right(), &more, Tone::Dim);
    }
}

fn draw_policies(app: &App, cursor: usize, screen: Rect, buffer: &mut Buffer) {
    let policies = &app.scene.policies;
    let width = policies.iter().map(|policy| policy.chars().count()).max().unwrap_or(0).max(24) as u16 + 6;
    let inner = draw_box(app, "Compare with", (width, policies.len() as u16 + 2), screen, buffer);
    let own = app.sides().first().map(|side| &*side.policy);
    let top = (cursor + 1).saturating_sub(usize::from(inner.height));
    for ((index, policy), y) in policies.iter().enumerate().skip(top).zip(inner.y..inner.bottom()) {
        let tone = if own == Some(policy.as_str()) { Tone::Dim } else { Tone::Text };
        put(buffer, app.look, inner.x, y, inner.right(), policy, tone);
        if own == Some(policy.as_str()) {
            let x = inner.right().saturating_sub(9);
            put_styled(buffer, app.look, x, y, inner.right(), "this run", app.look.style(Tone::Dim));
        }
        if index == cursor {
            buffer.set_style(Rect { y, height: 1, ..inner }, app.look.cursor());
        }
    }
}
