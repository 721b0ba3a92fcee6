//! What of production every mode that follows it tells Prometheus: names that begin with `forebay_` and the mode's own word,
//! base units, totals that only rise.

use forebay_adapters::metrics::{Kind, Page};

use super::Board;
use crate::decision::Fan;
use crate::production::Production;
use forebay_world::Timestamp;

/// What is told of a region × class.
#[derive(Clone, Copy, Debug)]
pub struct CellFigures<'a> {
    /// Region.
    pub region: &'a str,
    /// Class.
    pub class: &'a str,
    /// Sessions that began \[1/s\], where that was seen.
    pub started_per_second: Option<f64>,
    /// Sessions to be served here, where they are known.
    pub sessions: Option<f64>,
    /// Sessions expected, where the policy forecasts.
    pub forecast: Option<Fan>,
}

impl<'a> CellFigures<'a> {
    fn labels(&self) -> Vec<(&'a str, &'a str)> {
        vec![("region", self.region), ("class", self.class)]
    }
}

/// Adds what is known after so many ticks: `mode` is the word in the names.
pub fn add_ticks(
    page: &mut Page,
    mode: &str,
    (production, policy): (&str, &str),
    ticks: u64,
    coverage: f64,
    silent: &[(String, String)],
) {
    let info = vec![("production", production), ("policy", policy)];
    let help = "What is followed, and which policy decides.";
    page.family(&format!("forebay_{mode}_info"), Kind::Gauge, help, [(info, 1.0)]);
    page.family(&format!("forebay_{mode}_ticks_total"), Kind::Counter, "Decisions made.", [(vec![], ticks as f64)]);
    page.family(
        &format!("forebay_{mode}_coverage_ratio"),
        Kind::Gauge,
        "Share of sources that were heard from in the last window.",
        [(vec![], coverage)],
    );
    let silent = silent.iter().map(|(source, _)| (vec![("source", source.as_str())], 1.0));
    page.family(&format!("forebay_{mode}_silent"), Kind::Gauge, "Sources that do not answer.", silent);
}

/// Adds demand and forecasts by region and class.
pub fn add_cells(page: &mut Page, mode: &str, cells: &[CellFigures<'_>]) {
    let started = cells.iter().filter_map(|cell| Some((cell.labels(), cell.started_per_second?)));
    let help = "Sessions that began in the last window, as production shows it; absent where it does not.";
    page.family(&format!("forebay_{mode}_sessions_started_per_second"), Kind::Gauge, help, started);
    let sessions = cells.iter().filter_map(|cell| Some((cell.labels(), cell.sessions?)));
    let help = "Sessions to be served by region and class, as the controller sees them.";
    page.family(&format!("forebay_{mode}_sessions"), Kind::Gauge, help, sessions);
    let forecast = cells.iter().flat_map(|cell| {
        let fan = cell.forecast.map(|fan| [("0.1", fan.p10), ("0.5", fan.p50), ("0.9", fan.p90)]);
        let labels = cell.labels();
        fan.into_iter().flatten().map(move |(quantile, value)| {
            let mut labels = labels.clone();
            labels.push(("quantile", quantile));
            (labels, value)
        })
    });
    let help = "The most sessions expected in the window that the policy decides for.";
    page.family(&format!("forebay_{mode}_forecast_sessions"), Kind::Gauge, help, forecast);
}

/// Adds how old the last look at everything is.
pub fn add_ages(page: &mut Page, mode: &str, production: &Production, board: &Board, at: Timestamp) {
    let seen = board.seen_at(production);
    let ages = seen
        .iter()
        .filter_map(|(sight, seen_at)| Some((vec![("sight", sight.as_str())], at.since((*seen_at)?).as_secs_f64())));
    let help = "Time since the last look that showed something; absent before the first.";
    page.family(&format!("forebay_{mode}_sight_age_seconds"), Kind::Gauge, help, ages);
}
