//! Charts of single origins, as SVG: what was known, what was forecast, what came.

use std::fmt::Write;

use super::{Origin, Outcome, Recorded, SeriesScore};
use crate::forecast::quantiles::LEVELS;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 40.0;

/// The worst and the best origin of every model × horizon × series, by weighted quantile loss, of the first seed: file name
/// and SVG.
pub fn charts(outcome: &Outcome, set: &[Recorded]) -> Vec<(String, String)> {
    let mut charts = Vec::new();
    let first = outcome.series.iter().map(|row| row.seed).min();
    for row in outcome.series.iter().filter(|row| Some(row.seed) == first) {
        let Some(series) = set.iter().find(|series| series.name == row.series) else { continue };
        let by_loss = |a: &&Origin, b: &&Origin| a.wql.total_cmp(&b.wql);
        for (which, origin) in
            [("worst", row.origins.iter().max_by(by_loss)), ("best", row.origins.iter().min_by(by_loss))]
        {
            let Some(origin) = origin else { continue };
            let name =
                format!("{}-{}-{}-{which}.svg", file_word(&row.series), row.horizon_steps, file_word(&row.model));
            charts.push((name, chart(row, series, origin, which)));
        }
    }
    charts
}

fn file_word(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '+') { c } else { '-' }).collect()
}

fn chart(row: &SeriesScore, series: &Recorded, origin: &Origin, which: &str) -> String {
    let steps = origin.forecast.steps();
    let before = (2 * steps).max(series.grid.day() / 2).min(origin.first);
    let (begin, end) = (origin.first - before, (origin.first + steps).min(series.values.len()));
    let highest = origin.forecast.rows().iter().map(|row| row[LEVELS.len() - 1]);
    let highest = series.values[begin..end].iter().copied().chain(highest).fold(f64::MIN_POSITIVE, f64::max);
    let x = |at: usize| LEFT + (WIDTH - LEFT - 15.0) * (at - begin) as f64 / (before + steps).max(1) as f64;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / highest;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{}: {which} origin of {}, {} steps ahead from {} (wQL {:.4})</text>\n",
        escape(&row.series),
        escape(&row.model),
        steps,
        series.grid.at(origin.first),
        origin.wql
    );
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let value = highest * share;
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - 15.0,
            LEFT - 6.0,
            y(value) + 4.0,
            short(value),
            y = y(value),
        );
    }
    for (low, high, shade) in [(0, 10, "#cfe0f5"), (1, 9, "#aecbec"), (3, 7, "#86afdf")] {
        let up = origin.forecast.rows().iter().enumerate().map(|(k, row)| (x(origin.first + k), y(row[high])));
        let down = origin.forecast.rows().iter().enumerate().rev().map(|(k, row)| (x(origin.first + k), y(row[low])));
        let _ = writeln!(svg, "<polygon points=\"{}\" fill=\"{shade}\"/>", points(up.chain(down)));
    }
    let median = (0..steps).map(|k| (x(origin.first + k), y(origin.forecast.median(k))));
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1c4f8c\" stroke-width=\"1.5\"/>",
        points(median)
    );
    let came = (begin..end).map(|at| (x(at), y(series.values[at])));
    let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"black\"/>", points(came));
    for at in [begin, origin.first, end - 1] {
        let anchor = if at == begin {
            "start"
        } else if at == origin.first {
            "middle"
        } else {
            "end"
        };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            x(at),
            HEIGHT - 16.0,
            series.grid.at(at)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn points(at: impl Iterator<Item = (f64, f64)>) -> String {
    at.map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
}

/// A number in few characters.
fn short(value: f64) -> String {
    let (divisor, suffix) = match value {
        v if v >= 1e9 => (1e9, "G"),
        v if v >= 1e6 => (1e6, "M"),
        v if v >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let digits = usize::from(value / divisor < 100.0 && value > 0.0);
    format!("{:.digits$}{suffix}", value / divisor)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
