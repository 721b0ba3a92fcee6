//! The last line: what is being typed, what there is to say, or the keys that are wanted most. Keys can be clicked.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{put, put_styled, width_of};
use crate::tui::app::{App, Asks, KILL_WORD};
use crate::tui::keys::{self, Action, Binding};
use crate::tui::layout::{Pane, Place};
use crate::tui::look::Tone;

/// The panes that take turns in a place, and the column at which each name begins.
pub(crate) fn turns(place: &Place) -> Vec<(Pane, u16)> {
    let mut names: Vec<(Pane, u16)> = Vec::new();
    let mut x = place.area.x;
    let needed: usize = place.turns.iter().map(|pane| pane.name().len() + 2).sum();
    let all = needed <= usize::from(place.area.width) + 2 && place.turns.len() > 1;
    for pane in &place.turns {
        if all || *pane == place.pane {
            names.push((*pane, x));
            x += pane.name().len() as u16 + 2;
        }
    }
    names
}

/// The pane whose name stands at column `x` of a heading.
pub(crate) fn turn_at(place: &Place, x: u16) -> Option<Pane> {
    turns(place)
        .into_iter()
        .find(|(pane, from)| (*from..*from + pane.name().len() as u16).contains(&x))
        .map(|(pane, _)| pane)
}

/// The keys that fit, in the order of the key table, and the columns that each takes.
fn offered(app: &App, area: Rect) -> Vec<(&'static Binding, u16, u16)> {
    let label = |binding: &Binding| binding.chords[0].label(app.look.ascii);
    let width =
        |binding: &Binding| width_of(app.look, &label(binding)) + 1 + width_of(app.look, binding.short(&app.scene));
    let mut room = area.width.saturating_sub(1);
    let mut fitting = Vec::new();
    for binding in keys::footer(&app.scene) {
        let Some(left) = room.checked_sub(width(binding) + 2) else { break };
        room = left;
        fitting.push(binding);
    }
    fitting.sort_by_key(|binding| keys::KEYS.iter().position(|other| other.action == binding.action));
    let mut x = area.x + 1;
    fitting
        .into_iter()
        .map(|binding| {
            let from = x;
            x += width(binding) + 2;
            (binding, from, x - 2)
        })
        .collect()
}

/// The action whose key stands at column `x`.
pub(crate) fn action_at(app: &App, area: Rect, x: u16) -> Option<Action> {
    if is_spoken(app) {
        return None;
    }
    offered(app, area).into_iter().find(|(_, from, to)| (*from..*to).contains(&x)).map(|(binding, ..)| binding.action)
}

fn said(app: &App) -> Option<&str> {
    app.note.as_deref().or_else(|| app.snapshot.as_ref()?.said.as_deref())
}

fn is_spoken(app: &App) -> bool {
    app.prompt.is_some() || said(app).is_some()
}

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let look = app.look;
    if let Some(prompt) = &app.prompt {
        let asks = match prompt.asks {
            Asks::Filter(pane) => format!(" {} rows that contain: ", pane.name()),
            Asks::Yes => " yes vm-7, or yes all: ".to_owned(),
            Asks::Kill => format!(" type {KILL_WORD} to let nothing be written any more: "),
            Asks::Goto => " go to (18:30, +2 h, -10 min): ".to_owned(),
        };
        let x = put(buffer, look, area.x, area.y, area.right(), &asks, Tone::Accent);
        // The end of what is typed stays in sight.
        let room = usize::from(area.right().saturating_sub(x + 1));
        let skipped = prompt.text.chars().count().saturating_sub(room);
        let tail: String = prompt.text.chars().skip(skipped).collect();
        let x = put(buffer, look, x, area.y, area.right(), &tail, Tone::Text);
        put_styled(buffer, look, x, area.y, area.right(), " ", look.cursor());
        return;
    }
    if let Some(said) = said(app) {
        put(buffer, look, area.x + 1, area.y, area.right(), said, Tone::Accent);
        return;
    }
    let offered = offered(app, area);
    for (binding, from, to) in offered {
        let label = binding.chords[0].label(look.ascii);
        let x = put(buffer, look, from, area.y, to, &label, Tone::Accent);
        put(buffer, look, x + 1, area.y, to, binding.short(&app.scene), Tone::Dim);
    }
}
