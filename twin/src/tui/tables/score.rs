//! What a run is judged by, line by line, and how two runs differ.

use forebay_sim::Score;

use crate::tui::app::App;
use crate::tui::figures::{amount, count, short};
use crate::tui::look::Tone;
use crate::tui::table::{Cell, Column, Row, Table};

/// One line of the score.
struct Line {
    name: String,
    value: f64,
    shown: fn(f64) -> String,
    /// More is worse.
    is_cost: bool,
    /// A number above zero is bad news.
    is_fault: bool,
    note: String,
}

fn lines(score: &Score, classes: &[&str]) -> Vec<Line> {
    let line = |name: &str, value: f64, shown: fn(f64) -> String, note: String| Line {
        name: name.to_owned(),
        value,
        shown,
        is_cost: true,
        is_fault: false,
        note,
    };
    let tenths =
        |value: f64| if value.fract() == 0.0 { count(value) } else { format!("{value:.1}").replace('-', "−") };
    let fault = |name: &str, value: f64, note: String| Line { is_fault: true, ..line(name, value, tenths, note) };
    let mut lines = vec![
        line(
            "cost",
            score.cost,
            amount,
            format!("{} capacity + {} missed", amount(score.capacity_cost), amount(score.violation_cost)),
        ),
        fault("SLO missed [min]", score.slo_violation_minutes, "cell minutes".to_owned()),
    ];
    for (index, class) in classes.iter().enumerate() {
        let of_class = score.slo_violation_minutes_by_cell.iter().skip(index).step_by(classes.len().max(1));
        lines.push(fault(&format!("  {class}"), of_class.sum(), String::new()));
    }
    let rejected = score.sessions_rejected as f64;
    let begun = score.sessions as f64;
    let share =
        if begun > 0.0 { format!("{:.2}% of {}", 100.0 * rejected / begun, short(begun)) } else { String::new() };
    let latency = score.latency_ms;
    lines.extend([
        fault("rejected", rejected, share),
        fault("guarantees [min]", score.guarantee_violation_minutes, "slice minutes".to_owned()),
        line("VM hours", score.vm_hours, amount, format!("{} idle", amount(score.over_provisioned_vm_hours))),
        line("p95 latency [ms]", latency.p95, short, format!("p50 {}, p99 {}", short(latency.p50), short(latency.p99))),
        line("VM changes", score.churn as f64, count, String::new()),
        Line { is_cost: false, ..line("DNS queries", score.dns_queries as f64, short, String::new()) },
    ]);
    lines
}

/// The score of a run; of two runs, both and their difference.
pub(super) fn score(app: &App) -> Table {
    let classes: Vec<&str> = app.scene.topology.classes.iter().map(|class| class.name.as_str()).collect();
    let scores: Vec<Vec<Line>> =
        app.sides().iter().filter_map(|side| side.tick.as_ref()).map(|tick| lines(&tick.score, &classes)).collect();
    let Some(first) = scores.first() else { return Table::default() };
    let comparing = app.comparing();
    let mut columns = vec![Column::left("", 0)];
    if comparing {
        columns.extend([Column::right("A", 0), Column::right("B", 0), Column::right("B − A", 0), Column::left("", 1)]);
    } else {
        columns.extend([Column::right("so far", 0), Column::left("", 1)]);
    }
    let value = |line: &Line| {
        let tone = if line.is_fault && line.value > 0.0 { Tone::Bad } else { Tone::Text };
        Cell::number(line.value, (line.shown)(line.value)).tone(tone)
    };
    let row = |(index, line): (usize, &Line)| {
        let mut cells = vec![Cell::text(&*line.name), value(line)];
        if comparing {
            match scores.get(1).and_then(|other| other.get(index)) {
                Some(other) => cells.extend([value(other), difference(line, other), verdict(app, line, other)]),
                None => cells.extend([Cell::text("–"), Cell::text("–"), Cell::text("")]),
            }
        } else {
            cells.push(Cell::text(&*line.note).tone(Tone::Dim));
        }
        Row { key: index as u64, cells, dim: false }
    };
    Table { columns, rows: first.iter().enumerate().map(row).collect() }
}

fn difference(a: &Line, b: &Line) -> Cell {
    let by = b.value - a.value;
    let sign = if by > 0.0 { "+" } else { "" };
    Cell::number(by, format!("{sign}{}", (a.shown)(by))).tone(judge(a, by).1)
}

fn verdict(app: &App, a: &Line, b: &Line) -> Cell {
    let (word, tone) = judge(a, b.value - a.value);
    let glyph = match word {
        "worse" => app.look.glyph("▲ ", "^ "),
        "better" => app.look.glyph("▼ ", "v "),
        _ => "",
    };
    Cell::text(format!("{glyph}{word}")).tone(tone)
}

fn judge(line: &Line, by: f64) -> (&'static str, Tone) {
    match by {
        _ if !line.is_cost || by.abs() < 1e-9 => ("", Tone::Dim),
        ..0.0 => ("better", Tone::Good),
        _ => ("worse", Tone::Bad),
    }
}
