//! The first line: what the player does, the simulated clock, and which run this is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{put, put_styled, width_of};
use crate::tui::app::App;
use crate::tui::figures::{day, second, short, span};
use crate::tui::look::Tone;
use crate::tui::snapshot::{Mode, Speed};

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let look = app.look;
    let Some(snapshot) = &app.snapshot else {
        put(buffer, look, area.x, area.y, area.right(), " starting", Tone::Dim);
        return;
    };
    let (badge, tone) = match snapshot.mode {
        _ if app.scene.follows.is_some() => followed(app, snapshot.mode),
        Mode::Run => (format!("RUN {}", snapshot.speed), Tone::Good),
        Mode::Replay => (format!("REPLAY {}", snapshot.speed), Tone::Accent),
        Mode::Paused => ("PAUSED".to_owned(), Tone::Warn),
        Mode::Seek(done) => (format!("SEEK {:.0}%", done * 100.0), Tone::Accent),
        Mode::End => ("END".to_owned(), Tone::Text),
    };
    let x = put_styled(buffer, look, area.x, area.y, area.right(), &format!(" {badge} "), look.badge(tone));
    let clock = snapshot.clock;
    let date = if area.width < 60 { day(clock)[5..].to_owned() } else { day(clock) };
    let x = put(buffer, look, x + 1, area.y, area.right(), &format!("{date} "), Tone::Dim);
    let x = put(buffer, look, x, area.y, area.right(), &second(clock), Tone::Head);
    let mut x = put(buffer, look, x, area.y, area.right(), " UTC", Tone::Dim);

    // What follows stands from the most wanted on; what does not fit is left out.
    let policies: Vec<&str> = snapshot.sides.iter().map(|side| &*side.policy).collect();
    let mut parts = vec![(policies.join(" | "), Tone::Text)];
    let behind = snapshot.reached.since(clock);
    if behind.as_secs_f64() >= 1.0 {
        parts.push((format!("{} back", span(behind)), Tone::Accent));
    }
    parts.push((app.scene.scenario.clone(), Tone::Text));
    let follows = app.scene.follows.is_some();
    if !follows {
        parts.push((format!("seed {}", app.scene.seed), Tone::Dim));
    }
    if let (Speed::Max, Some(pace), false) = (snapshot.speed, snapshot.pace, follows) {
        parts.push((format!("×{}", short(pace)), Tone::Dim));
    }
    if let Some(tick) = snapshot.sides.first().and_then(|side| side.tick.as_ref()) {
        parts.push((format!("{} events", short(tick.events_processed as f64)), Tone::Dim));
        let coverage = tick.observation.coverage;
        if coverage < 1.0 {
            parts.insert(1, (format!("{:.0}% heard", coverage * 100.0), Tone::Warn));
        }
    }
    if let Some(standing) = &app.standing {
        parts.retain(|(_, tone)| *tone != Tone::Dim);
        let (epoch, ..) = &standing.lease;
        parts.push((format!("epoch {epoch}"), Tone::Dim));
        match standing.proposals.len() {
            0 => {}
            1 => parts.insert(0, ("1 waits for a yes".to_owned(), Tone::Accent)),
            waiting => parts.insert(0, (format!("{waiting} wait for a yes"), Tone::Accent)),
        }
    }
    for (text, tone) in parts {
        if x + 2 + width_of(look, &text) > area.right() {
            continue;
        }
        x = put(buffer, look, x + 2, area.y, area.right(), &text, tone);
    }
}

/// Of what is made elsewhere: that it goes on is never in doubt, also while the screen stands still or shows what was.
fn followed(app: &App, mode: Mode) -> (String, Tone) {
    let name = app.scene.follows.unwrap_or_default();
    if let Some(standing) = &app.standing {
        if standing.closed.is_some() {
            return (format!("{name}: KILL SWITCH CLOSED"), Tone::Bad);
        }
        if standing.halted.is_some() {
            return (format!("{name}: HALTED"), Tone::Bad);
        }
    }
    match mode {
        Mode::Run => (name.to_owned(), Tone::Good),
        Mode::Replay | Mode::Seek(_) => (format!("{name}, looking back"), Tone::Accent),
        Mode::Paused => (format!("{name}, screen stands"), Tone::Warn),
        Mode::End => (format!("{name}, ended"), Tone::Text),
    }
}
