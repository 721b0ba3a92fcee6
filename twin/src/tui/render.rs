//! Draws the state of the UI: a pure function from [`App`] to cells, with no clock and no I/O.
//!
//! Borders are spared: a part of the screen has a heading and a thin rule, and blanks between it and its neighbours.

mod chart;
mod coast;
pub(crate) mod footer;
mod list;
pub(crate) mod map;
mod mode;
mod overlay;
mod raster;
pub(crate) mod timeline;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::app::{App, Level};
use super::layout::{Pane, Place, SMALLEST};
use super::look::{Look, Tone};

/// Draws `app` on the whole frame.
pub fn render(app: &App, frame: &mut Frame<'_>) {
    let buffer = frame.buffer_mut();
    let screen = buffer.area;
    buffer.set_style(screen, app.look.ground());
    let Some(layout) = app.layout().filter(|_| (screen.width, screen.height) == app.size) else {
        let text = format!(
            "needs {}{}{}, has {}{}{}",
            SMALLEST.0,
            app.look.glyph("×", "x"),
            SMALLEST.1,
            screen.width,
            app.look.glyph("×", "x"),
            screen.height
        );
        put(buffer, app.look, screen.x, screen.y + screen.height / 2, screen.right(), &text, Tone::Warn);
        return;
    };
    mode::draw(app, layout.mode, buffer);
    if let Some(area) = layout.timeline {
        timeline::draw(app, area, buffer);
    }
    for place in &layout.places {
        draw_heading(app, place, buffer);
        draw_content(app, place.pane, place.content(), buffer);
    }
    footer::draw(app, layout.footer, buffer);
    if let Some(overlay) = &app.overlay {
        let above = Rect { height: screen.height - 1, ..screen };
        overlay::draw(app, overlay, above, buffer);
    }
}

fn draw_content(app: &App, pane: Pane, area: Rect, buffer: &mut Buffer) {
    let waits = app.sides().iter().all(|side| side.tick.is_none());
    let is_told_at_once = matches!(pane, Pane::Map | Pane::Orders) || (pane == Pane::Alerts && app.standing.is_some());
    if waits && !is_told_at_once {
        let text = if app.snapshot.is_some() { "before the first tick" } else { "starting" };
        put(buffer, app.look, area.x, area.y, area.right(), text, Tone::Dim);
        return;
    }
    match pane {
        Pane::Map if map::is_drawn(area) => map::draw(app, area, buffer),
        Pane::Demand => chart::draw(app, area, buffer),
        Pane::Map | Pane::Fleet | Pane::Score | Pane::Orders | Pane::Slices | Pane::Alerts => {
            list::draw(app, pane, area, buffer)
        }
    }
}

/// `Fleet › lon › lon-002   filter "ready" ───────`, or the panes that take turns in a place.
fn draw_heading(app: &App, place: &Place, buffer: &mut Buffer) {
    let (look, area) = (app.look, place.heading());
    let rule = look.glyph("─", "-");
    for x in area.x..area.right() {
        buffer[(x, area.y)].set_symbol(rule).set_style(look.style(Tone::Rule));
    }
    let mut x = area.x;
    for (pane, from) in footer::turns(place) {
        let tone = match pane {
            pane if pane != place.pane => Tone::Dim,
            pane if pane == app.focus => Tone::Accent,
            _ => Tone::Head,
        };
        put(buffer, look, x, area.y, from, "  ", Tone::Text);
        x = put(buffer, look, from, area.y, area.right(), pane.name(), tone);
        put(buffer, look, x, area.y, area.right(), " ", Tone::Text);
    }
    for (text, tone) in subject(app, place.pane, usize::from(area.right().saturating_sub(x))) {
        let space = usize::from(area.right().saturating_sub(x));
        if text.chars().count() + 2 > space {
            break;
        }
        x = put(buffer, look, x, area.y, area.right(), "  ", Tone::Text);
        x = put(buffer, look, x, area.y, area.right(), &text, tone);
        put(buffer, look, x, area.y, area.right(), " ", Tone::Text);
    }
}

/// What a pane is about just now, beside its name.
fn subject(app: &App, pane: Pane, width: usize) -> Vec<(String, Tone)> {
    let topology = &app.scene.topology;
    let region = topology.regions.get(app.region.index()).map_or("", |region| &region.name);
    let class = topology.classes.get(app.class.index()).map_or("", |class| &class.name);
    let mut subject = Vec::new();
    match pane {
        Pane::Map => {}
        Pane::Fleet => match app.level {
            Level::Regions => {}
            Level::Hosts => subject.push((format!("› {region}"), Tone::Text)),
            Level::Machines(host) => {
                let host = topology.hosts.get(host.index()).map_or("", |host| &host.name);
                subject.push((format!("› {region} › {host}"), Tone::Text));
            }
        },
        Pane::Demand => {
            let cell = format!("{region} {class}");
            let left = width.saturating_sub(cell.chars().count() + 2);
            subject.push((cell, Tone::Text));
            subject.extend(chart::legend(app, left));
        }
        Pane::Score if app.comparing() => {
            let names: Vec<&str> = app.sides().iter().map(|side| &*side.policy).collect();
            subject.push((format!("A {} · B {}", names[0], names[1]), Tone::Text));
        }
        Pane::Alerts => {
            subject.push((app.alerts().len().to_string(), Tone::Dim));
        }
        Pane::Orders => {
            let waiting = app.standing.as_ref().map_or(0, |standing| standing.proposals.len());
            if waiting > 0 {
                subject.push((format!("{waiting} wait for a yes"), Tone::Accent));
            }
        }
        Pane::Score | Pane::Slices => {}
    }
    if let Some(list) = app.list(pane).filter(|list| !list.filter.is_empty()) {
        subject.push((format!("/{}", list.filter), Tone::Accent));
    }
    subject
}

/// Writes `text` from `x` up to `end` and returns where it ended.
fn put(buffer: &mut Buffer, look: Look, x: u16, y: u16, end: u16, text: &str, tone: Tone) -> u16 {
    put_styled(buffer, look, x, y, end, text, look.style(tone))
}

fn put_styled(buffer: &mut Buffer, look: Look, x: u16, y: u16, end: u16, text: &str, style: Style) -> u16 {
    if x >= end || y >= buffer.area.bottom() || y < buffer.area.y {
        return x;
    }
    buffer.set_stringn(x, y, look.text(text), usize::from(end - x), style).0
}

fn width_of(look: Look, text: &str) -> u16 {
    look.text(text).chars().count() as u16
}
