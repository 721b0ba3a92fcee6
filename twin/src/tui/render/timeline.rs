//! The whole run in one line: how far it has been, where it stands, when there were alerts. A click goes there.

use forebay_world::{Duration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::put;
use crate::tui::alert::Severity;
use crate::tui::app::App;
use crate::tui::figures::{day, minute};
use crate::tui::look::Tone;
use crate::tui::snapshot::Scene;

/// Columns on each side for a label such as ` 18:00 `.
const LABEL: u16 = 7;

fn track(area: Rect) -> Rect {
    Rect { x: area.x + LABEL, width: area.width.saturating_sub(2 * LABEL), ..area }
}

/// The end of the line: what has no end of its own is shown as far as it has come, and an hour at least.
fn end(scene: &Scene, reached: Timestamp) -> Timestamp {
    let hour = Duration::from_hours(1);
    if scene.end == Timestamp::MAX { reached.max(scene.start.saturating_add(hour)) } else { scene.end }
}

fn column(scene: &Scene, end: Timestamp, track: Rect, at: Timestamp) -> u16 {
    let whole = end.since(scene.start).as_secs_f64().max(1.0);
    let share = (at.since(scene.start).as_secs_f64() / whole).min(1.0);
    track.x + (share * f64::from(track.width.saturating_sub(1))).round() as u16
}

/// The moment that a column of the timeline stands for.
pub(crate) fn moment_at(scene: &Scene, reached: Timestamp, area: Rect, x: u16) -> Option<Timestamp> {
    let track = track(area);
    if track.width < 2 || x < track.x || x >= track.right() {
        return None;
    }
    let share = f64::from(x - track.x) / f64::from(track.width - 1);
    Some(scene.start.saturating_add(end(scene, reached).since(scene.start).mul_f64(share)))
}

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (look, scene) = (app.look, &app.scene);
    let track = track(area);
    let Some(snapshot) = &app.snapshot else { return };
    if track.width < 2 {
        return;
    }
    let end = end(scene, snapshot.reached);
    let label = |at: Timestamp| {
        let several_days = end.since(scene.start) > Duration::from_hours(36);
        if several_days { day(at)[5..].to_owned() } else { minute(at) }
    };
    put(buffer, look, area.x + 1, area.y, track.x, &label(scene.start), Tone::Dim);
    put(buffer, look, track.right() + 1, area.y, area.right(), &label(end), Tone::Dim);
    let (now, reached) = (column(scene, end, track, snapshot.clock), column(scene, end, track, snapshot.reached));
    for x in track.x..track.right() {
        let (glyph, tone) = match x {
            x if x <= now => (look.glyph("━", "="), Tone::Accent),
            x if x <= reached => (look.glyph("━", "="), Tone::Rule),
            _ => (look.glyph("╌", "."), Tone::Rule),
        };
        buffer[(x, area.y)].set_symbol(glyph).set_style(look.style(tone));
    }
    let mut marks = vec![None; usize::from(track.width)];
    for alert in app.alerts().iter().filter(|alert| alert.severity >= Severity::Notice) {
        let mark = &mut marks[usize::from(column(scene, end, track, alert.at) - track.x)];
        *mark = (*mark).max(Some(alert.severity));
    }
    for (x, severity) in (track.x..).zip(marks) {
        if let Some(severity) = severity {
            let (glyph, tone) = look.severity(severity);
            buffer[(x, area.y)].set_symbol(glyph).set_style(look.style(tone));
        }
    }
    buffer[(now, area.y)].set_symbol(look.glyph("┃", "|")).set_style(look.style(Tone::Head));
}
