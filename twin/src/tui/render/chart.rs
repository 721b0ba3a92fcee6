//! Demand over time: what came, what there was room for, and what was expected.
//!
//! A forecast stands where its window ends, so that the fan lies right of now for what is still to come, and over what
//! came for what was expected of it.

use forebay_world::{Duration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::put;
use super::raster::{Ink, Raster};
use crate::tui::app::App;
use crate::tui::figures::{count, day, minute, short};
use crate::tui::history::Point;
use crate::tui::look::Tone;
use crate::tui::snapshot::Side;

const SESSIONS: Ink = Ink { tone: Tone::Sessions, plain: "*" };
const CAPACITY: Ink = Ink { tone: Tone::Capacity, plain: "=" };
const FORECAST: Ink = Ink { tone: Tone::Forecast, plain: "-" };
const BAND: Ink = Ink { tone: Tone::Band, plain: ":" };
const LATER: Ink = Ink { tone: Tone::Dim, plain: "." };

/// Columns left of a plot for what its height means.
const LABELS: u16 = 6;

/// What the curves are, with their latest values where `width` has room for them.
pub(super) fn legend(app: &App, width: usize) -> Vec<(String, Tone)> {
    let look = app.look;
    let latest = match app.sides() {
        [side] => {
            let from = app.clock().saturating_sub(app.axes.span);
            side.history.points(app.cell(), from, app.clock(), usize::MAX).last().map(|(_, point)| *point)
        }
        _ => None,
    };
    let value = |of: fn(&Point) -> f32| {
        latest.as_ref().map_or_else(String::new, |point| format!(" {}", count(f64::from(of(point)))))
    };
    let forecasts = |side: &Side| {
        side.tick.as_ref().is_some_and(|tick| tick.decision.cells.iter().any(|cell| cell.forecast.is_some()))
    };
    let (line, dashes, dots) = (look.glyph("━", "="), look.glyph("╍", "-"), look.glyph("░", ":"));
    let sessions = look.glyph("━", "*");
    let mut full = vec![
        (format!("{sessions} sessions{}", value(|point| point.sessions)), Tone::Sessions),
        (format!("{line} room for{}", value(|point| point.capacity)), Tone::Capacity),
    ];
    let mut brief = vec![(format!("{sessions} came"), Tone::Sessions), (format!("{line} room"), Tone::Capacity)];
    if app.sides().iter().any(forecasts) {
        full.push((format!("{dashes} p50{}", value(|point| point.p50)), Tone::Forecast));
        full.push((format!("{dots} p10 to p90"), Tone::Band));
        brief.push((format!("{dots} fan"), Tone::Band));
    }
    let needed: usize = full.iter().map(|(text, _)| text.chars().count() + 2).sum();
    if needed <= width { full } else { brief }
}

/// Everything that one plot shows.
struct Curves {
    came: Vec<(Timestamp, Point)>,
    /// What came after the present, where the run has been further.
    later: Vec<(Timestamp, Point)>,
}

/// Time across, sessions up.
#[derive(Clone, Copy)]
struct Scale {
    from: Timestamp,
    until: Timestamp,
    top: f64,
    width: i32,
    height: i32,
}

impl Scale {
    fn x(&self, at: Timestamp) -> i32 {
        let whole = self.until.since(self.from).as_secs_f64().max(1e-9);
        let share = (at.as_secs_f64() - self.from.as_secs_f64()) / whole;
        (share * f64::from(self.width - 1)).round() as i32
    }

    fn y(&self, sessions: f32) -> Option<i32> {
        sessions.is_finite().then(|| {
            let share = f64::from(sessions) / self.top;
            (f64::from(self.height - 1) * (1.0 - share)).round().max(-1.0) as i32
        })
    }
}

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let sides = app.sides();
    if area.height < 3 || area.width < LABELS + 10 {
        return;
    }
    let now = app.clock();
    let lead = sides
        .iter()
        .filter_map(|side| side.tick.as_ref()?.decision.cells.get(app.cell())?.forecast)
        .map(|fan| fan.until)
        .max()
        .unwrap_or(Duration::ZERO);
    let from = now.saturating_sub(app.axes.span).max(app.scene.start);
    // The axis keeps its length while a run is young.
    let until = from.saturating_add(app.axes.span).max(now).saturating_add(lead.mul_f64(1.05));
    let until = if now.since(from) < app.axes.span { from.saturating_add(app.axes.span) } else { until };
    let until = until.max(now.saturating_add(lead));
    let rows_max = usize::from(area.width) * 4;
    let curves: Vec<Curves> = sides
        .iter()
        .map(|side| Curves {
            came: side.history.points(app.cell(), from.saturating_sub(lead), now, rows_max),
            later: side.ahead.as_ref().map_or_else(Vec::new, |ahead| ahead.points(app.cell(), now, until, rows_max)),
        })
        .collect();
    let most = curves
        .iter()
        .flat_map(|curves| curves.came.iter().chain(&curves.later))
        .flat_map(|(_, point)| [point.sessions, point.capacity, point.p90])
        .filter(|value| value.is_finite())
        .fold(0.0f32, f32::max);
    let top = f64::from(most.max(1.0)) * 1.08 * 1.5f64.powi(i32::from(app.axes.height));

    for (index, (curves, mut plot)) in curves.iter().zip(plots(area, sides.len())).enumerate() {
        if sides.len() > 1 {
            let name = format!("{} {}", ["A", "B"][index.min(1)], sides[index].policy);
            put(buffer, app.look, plot.x + LABELS, plot.y, plot.right(), &name, Tone::Head);
            plot = Rect { y: plot.y + 1, height: plot.height - 1, ..plot };
        }
        draw_plot(app, curves, plot, (from, now, until, top), buffer);
    }
}

/// One plot, or two: beside each other where there is room, else one above the other.
fn plots(area: Rect, count: usize) -> Vec<Rect> {
    if count < 2 {
        return vec![area];
    }
    if area.width >= 70 {
        let width = (area.width - 2) / 2;
        return vec![Rect { width, ..area }, Rect { x: area.x + width + 2, width: area.width - width - 2, ..area }];
    }
    let height = area.height / 2;
    vec![Rect { height, ..area }, Rect { y: area.y + height, height: area.height - height, ..area }]
}

fn draw_plot(
    app: &App,
    curves: &Curves,
    area: Rect,
    (from, now, until, top): (Timestamp, Timestamp, Timestamp, f64),
    buffer: &mut Buffer,
) {
    let look = app.look;
    let inner = Rect { x: area.x + LABELS, width: area.width - LABELS, height: area.height.saturating_sub(1), ..area };
    if inner.height == 0 {
        return;
    }
    let mut raster = Raster::new(inner, look);
    let scale = Scale { from, until, top, width: raster.width(), height: raster.height() };
    label_height(app, area, inner, top, buffer);
    label_time(app, area, inner, (from, now, until), buffer);
    draw_fan(&mut raster, scale, &curves.came);
    let fan = |(at, point): &(Timestamp, Point)| {
        let due = at.saturating_add(Duration::from_secs_f64_saturating(f64::from(point.lead_s)));
        (due, point.p50)
    };
    draw_curve(&mut raster, scale, curves.came.iter().map(fan), FORECAST, true, false);
    draw_curve(&mut raster, scale, curves.came.iter().map(|(at, point)| (*at, point.capacity)), CAPACITY, false, true);
    draw_curve(&mut raster, scale, curves.later.iter().map(|(at, point)| (*at, point.sessions)), LATER, true, false);
    draw_curve(&mut raster, scale, curves.came.iter().map(|(at, point)| (*at, point.sessions)), SESSIONS, false, false);
    let dots = raster.width() / i32::from(inner.width);
    let column = inner.x + (scale.x(now).max(0) / dots.max(1)) as u16;
    if column + 1 < inner.right() {
        for y in inner.y..inner.bottom() {
            buffer[(column, y)].set_symbol(look.glyph("┊", "|")).set_style(look.style(Tone::Rule));
        }
    }
    raster.draw(buffer);
}

/// Joins the points that are known; a step holds its value until the next.
fn draw_curve(
    raster: &mut Raster,
    scale: Scale,
    points: impl Iterator<Item = (Timestamp, f32)>,
    ink: Ink,
    dashed: bool,
    stepped: bool,
) {
    let mut before: Option<(i32, i32)> = None;
    for (at, value) in points {
        let here = scale.y(value).filter(|_| at >= scale.from).map(|y| (scale.x(at), y));
        if let Some((x, y)) = here {
            match before {
                Some((x_before, y_before)) if stepped => {
                    raster.line((x_before, y_before), (x, y_before), ink, dashed);
                    raster.line((x, y_before), (x, y), ink, dashed);
                }
                Some(before) => raster.line(before, (x, y), ink, dashed),
                None => raster.dot(x, y, ink),
            }
        }
        before = here;
    }
}

/// Shades between the 10 % and the 90 % quantile.
fn draw_fan(raster: &mut Raster, scale: Scale, points: &[(Timestamp, Point)]) {
    let edges = |(at, point): &(Timestamp, Point)| {
        let due = at.saturating_add(Duration::from_secs_f64_saturating(f64::from(point.lead_s)));
        let (low, high) = (scale.y(point.p10)?, scale.y(point.p90)?);
        (due >= scale.from).then(|| (scale.x(due), low, high))
    };
    for pair in points.windows(2) {
        let (Some((x, low, high)), Some((x_end, low_end, high_end))) = (edges(&pair[0]), edges(&pair[1])) else {
            continue;
        };
        let across = (x_end - x).max(1);
        for column in x..=x_end {
            let between = |begin: i32, end: i32| begin + (end - begin) * (column - x) / across;
            for y in between(high, high_end).max(0)..=between(low, low_end) {
                raster.shade(column, y, BAND);
            }
        }
    }
}

fn label_height(app: &App, area: Rect, inner: Rect, top: f64, buffer: &mut Buffer) {
    let wanted = f64::from(inner.height / 4).max(1.0);
    let step = nice(top / wanted);
    let mut value = 0.0;
    while value < top {
        let row = (f64::from(inner.height - 1) * (1.0 - value / top)).round() as u16;
        let text = short(value);
        let x = inner.x.saturating_sub(1 + text.chars().count() as u16).max(area.x);
        put(buffer, app.look, x, inner.y + row, inner.x, &text, Tone::Dim);
        value += step;
    }
}

/// The least of 1, 2, 2.5 and 5 times a power of ten that is not below `value`.
fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= value * 0.999)
        .unwrap_or(value)
}

const TIME_STEPS_MIN: [u64; 15] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080, 40_320];

fn label_time(
    app: &App,
    area: Rect,
    inner: Rect,
    (from, now, until): (Timestamp, Timestamp, Timestamp),
    buffer: &mut Buffer,
) {
    let y = inner.bottom();
    if y >= area.bottom() {
        return;
    }
    let whole = until.since(from);
    let column = |at: Timestamp| {
        let share = at.since(from).as_secs_f64() / whole.as_secs_f64().max(1e-9);
        inner.x + (share * f64::from(inner.width - 1)).round() as u16
    };
    let labels = u64::from(inner.width / 11).max(1);
    let step = TIME_STEPS_MIN
        .into_iter()
        .map(Duration::from_mins)
        .find(|step| whole / *step <= labels)
        .unwrap_or(Duration::from_mins(40_320 * 12));
    let mut free = inner.x;
    let mut write = |at: Timestamp, text: &str, tone: Tone| {
        let width = text.chars().count() as u16;
        let x = column(at).saturating_sub(width / 2).min(inner.right().saturating_sub(width));
        if x >= free {
            free = put(buffer, app.look, x, y, area.right(), text, tone) + 1;
        }
    };
    let mut at = from.floor_to(step);
    let mut said_now = until <= now.saturating_add(whole / 20);
    while at <= until {
        let (text, next) = if step >= Duration::from_hours(24) {
            (day(at)[5..].to_owned(), at + step)
        } else {
            (minute(at), at + step)
        };
        let close = |other: Timestamp| column(at).abs_diff(column(other)) < 6;
        if !said_now && (at >= now || close(now)) {
            write(now, "now", Tone::Head);
            said_now = true;
        }
        if at >= from && (said_now && until > now.saturating_add(whole / 20)) <= !close(now) {
            write(at, &text, Tone::Dim);
        }
        at = next;
    }
}
