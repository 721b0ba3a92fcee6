//! What is done to production: what may keep it from being done, what waits for a yes, what is out, what is held back.

use forebay_world::Timestamp;

use crate::tui::desk::Standing;
use crate::tui::figures::{amount, count, second, span};
use crate::tui::look::Tone;
use crate::tui::table::{Cell, Column, Row, Table};

/// The table; without rows before anything is known.
pub(super) fn orders(standing: Option<&Standing>) -> Table {
    let columns = vec![Column::left("what", 0), Column::left("how it stands", 0)];
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |what: &str, how: String, tone: Tone| {
        let cells = vec![Cell::text(what).tone(tone), Cell::text(how).tone(tone)];
        rows.push(Row { key: rows.len() as u64, cells, dim: false });
    };
    let Some(standing) = standing else { return Table { columns, rows } };
    match &standing.closed {
        Some(closed) => add("kill switch", format!("CLOSED: {closed}"), Tone::Bad),
        None => add("kill switch", "open".to_owned(), Tone::Good),
    }
    if let Some(halted) = &standing.halted {
        add("halted", halted.clone(), Tone::Bad);
    }
    for (vm, what) in &standing.proposals {
        add(&format!("yes {vm}?"), what.clone(), Tone::Accent);
    }
    let (epoch, holder, left) = &standing.lease;
    let tone = if *left > 0.0 { Tone::Text } else { Tone::Bad };
    add("lease", format!("epoch {epoch}, holds {left:.0} s, {holder}"), tone);
    let (spent, most) = standing.budget;
    let tone = if most.is_some_and(|most| spent > most) { Tone::Warn } else { Tone::Text };
    let of = most.map_or("no budget set".to_owned(), |most| format!("of {}", amount(most)));
    add("cost an hour", format!("{} {of}", amount(spent)), tone);
    let (done, failed, refused) = standing.over;
    let number = |number: u64| count(number as f64);
    let tone = if failed + refused > 0 { Tone::Fair } else { Tone::Text };
    let over = format!("{} done, {} failed, {} refused", number(done), number(failed), number(refused));
    add("orders", over, tone);
    for (lane, failures, again, is_open) in &standing.breakers {
        let (what, tone) = if *is_open { ("breaker", Tone::Bad) } else { ("retry", Tone::Warn) };
        add(what, format!("{lane}: {failures} failures, again {}", until(standing.at, *again)), tone);
    }
    for (lane, what, since) in &standing.out {
        add("out", format!("{what}, {lane}, {}", span(standing.at.since(*since))), Tone::Text);
    }
    for (vm, why) in &standing.held {
        add("held", format!("{vm}: {why}"), Tone::Dim);
    }
    Table { columns, rows }
}

fn until(now: Timestamp, at: Timestamp) -> String {
    if at <= now { "now".to_owned() } else { format!("at {}", second(at)) }
}
