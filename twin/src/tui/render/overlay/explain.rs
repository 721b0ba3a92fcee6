//! Why a plan is as it is: inputs, forecast, what was asked for, what bound, what was planned.

use forebay_world::PlannedSlice;

use super::Line;
use crate::decision::{Bound, CellDecision};
use crate::slicing::{Dscp, rate};
use crate::tui::app::App;
use crate::tui::figures::{count, percent, second, span};
use crate::tui::look::Tone;

const NAMES: usize = 10;

pub(super) fn lines(app: &App, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, side) in app.sides().iter().enumerate() {
        let Some(tick) = &side.tick else { continue };
        let Some(cell) = tick.decision.cells.get(app.cell()) else { continue };
        if !lines.is_empty() {
            lines.push(Vec::new());
        }
        let topology = &app.scene.topology;
        let place = format!("{} {}", topology.region(cell.region).name, topology.class(cell.class).name);
        let mut head = vec![
            (place, Tone::Head),
            (format!("  {}  plan {}", second(tick.decision.at), tick.decision.generation), Tone::Dim),
        ];
        if app.comparing() {
            head.push((format!("  {} {}", ["A", "B"][index.min(1)], side.policy), Tone::Head));
        }
        lines.push(head);
        let slice = tick.plan.slices.get(&topology.slice(cell.region, cell.class));
        lines.extend(of_cell(app, cell, slice, tick.observation.coverage, width));
    }
    if lines.is_empty() {
        lines.push(vec![("nothing has been decided yet".to_owned(), Tone::Dim)]);
    }
    lines
}

fn of_cell(app: &App, cell: &CellDecision, slice: Option<&PlannedSlice>, coverage: f64, width: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut say = |name: &str, text: String, tone: Tone| {
        let room = width.saturating_sub(NAMES).max(10);
        for (index, part) in wrap(&text, room).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            lines.push(vec![(format!("{name:NAMES$}"), Tone::Dim), (part, tone)]);
        }
    };
    let places = app.scene.topology.sessions_per_vm(cell.class);
    match cell.sessions {
        Some(sessions) => say(
            "seen",
            format!(
                "{} sessions, {} of {} places, {} of sources heard",
                count(sessions),
                percent(cell.utilization),
                count(places * f64::from(cell.ready)),
                percent(Some(coverage)),
            ),
            Tone::Sessions,
        ),
        None => say("seen", format!("nothing: {} of sources heard", percent(Some(coverage))), Tone::Warn),
    }
    say(
        "machines",
        format!(
            "{} ready, {} coming, {} draining, {} sessions each",
            cell.ready,
            cell.coming,
            cell.draining,
            count(places)
        ),
        Tone::Text,
    );
    match &cell.forecast {
        Some(fan) => {
            say(
                "forecast",
                format!(
                    "most sessions from {} to {} ahead: p10 {}, p50 {}, p90 {}",
                    span(fan.from),
                    span(fan.until),
                    count(fan.p10),
                    count(fan.p50),
                    count(fan.p90)
                ),
                Tone::Forecast,
            );
            let level = fan.level * 100.0;
            say(
                "",
                format!("capacity for the {level:.1}% quantile, {} sessions", count(fan.sized_for)),
                Tone::Forecast,
            );
        }
        None => say("forecast", "this policy makes none".to_owned(), Tone::Dim),
    }
    say("asked", format!("{} machines: {}", cell.asked, cell.reason), Tone::Text);
    if cell.bound_by.is_empty() {
        say("bound by", "nothing".to_owned(), Tone::Good);
    }
    for bound in &cell.bound_by {
        say("bound by", meaning(*bound).to_owned(), Tone::Warn);
    }
    let tone = if cell.planned < cell.asked { Tone::Bad } else { Tone::Good };
    say("planned", format!("{} machines, {} let through by the guard", cell.planned, cell.granted), tone);
    match slice {
        Some(slice) => say("slice", promised(slice), Tone::Text),
        None => say("slice", "none: nobody needs it".to_owned(), Tone::Dim),
    }
    if let Some(gave_way) = &cell.gave_way {
        say("gave way", gave_way.reason.clone(), Tone::Bad);
    }
    lines
}

fn promised(slice: &PlannedSlice) -> String {
    let mut text = format!("{} guaranteed, {} at most", rate(slice.guarantee), rate(slice.ceiling));
    if let Some(mark) = Dscp::from_number(slice.dscp).filter(|mark| mark.number() != 0) {
        text.push_str(&format!(", marked {mark}"));
    }
    if let Some(latency) = slice.latency {
        text.push_str(&format!(", within {latency}"));
    }
    text
}

fn meaning(bound: Bound) -> &'static str {
    match bound {
        Bound::Floor => "floor: the operator allows no fewer",
        Bound::Ceiling => "ceiling: the operator allows no more",
        Bound::MaxStep => "max step: not so many at once",
        Bound::Cooldown => "cooldown: too soon after the last change",
        Bound::Budget => "budget: it does not pay for more",
        Bound::Coverage => "coverage: too little was seen to shrink on",
        Bound::HostsFull => "hosts full: no host has room",
    }
}

/// Breaks text at blanks into lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("has a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}
