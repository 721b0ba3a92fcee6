//! The world, its regions and the links between them, by how loaded they are: in glyphs as well as colours.
//!
//! An equirectangular map, cut to where regions are when they all lie in one part of the world.

use forebay_world::{LinkEnds, RegionId, Topology};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::coast;
use super::raster::{Ink, Raster};
use super::{put_styled, width_of};
use crate::tick::Tick;
use crate::tui::app::App;
use crate::tui::figures::percent;
use crate::tui::layout::Pane;
use crate::tui::look::{Load, Tone};
use crate::tui::tables::{link_load, link_use, region_load, region_utilization};

/// On less than this a map shows nothing; a table stands in for it.
pub(crate) fn is_drawn(area: Rect) -> bool {
    area.width >= 42 && area.height >= 9
}

/// Degrees that the map shows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct View {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

/// What a link carries is not written below this share of its capacity.
const QUIET: f64 = 0.05;

/// Without the Antarctic, where nobody is served.
const WORLD: View = View { west: -180.0, east: 180.0, south: -58.0, north: 78.0 };

impl View {
    fn of(topology: &Topology, area: Rect) -> View {
        let extent = |degrees: &dyn Fn(usize) -> f64| {
            (0..topology.regions.len())
                .map(degrees)
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)))
        };
        let (west, east) = extent(&|index| topology.regions[index].lon);
        let (south, north) = extent(&|index| topology.regions[index].lat);
        let width = ((east - west) * 1.5).max(50.0);
        // A character is about twice as high as wide.
        let aspect = 2.0 * f64::from(area.height) / f64::from(area.width.max(1));
        let height = ((north - south) * 1.5).max(width * aspect);
        if !width.is_finite() || width > 180.0 || height > 100.0 {
            return WORLD;
        }
        let width = width.max(height / aspect);
        let (lon, lat) = ((west + east) / 2.0, (south + north) / 2.0);
        View { west: lon - width / 2.0, east: lon + width / 2.0, south: lat - height / 2.0, north: lat + height / 2.0 }
    }

    /// Where a place lies in the view, each from 0 to 1.
    fn share(&self, lon: f64, lat: f64) -> (f64, f64) {
        ((lon - self.west) / (self.east - self.west), (self.north - lat) / (self.north - self.south))
    }

    /// The dot that a place lies on, of so many across and down.
    fn dot(&self, (across, down): (i32, i32), lon: f64, lat: f64) -> (i32, i32) {
        let (x, y) = self.share(lon, lat);
        ((x * f64::from(across)).floor() as i32, (y * f64::from(down)).floor() as i32)
    }
}

/// The character that each region lies in.
pub(crate) fn positions(topology: &Topology, area: Rect) -> Vec<Position> {
    let view = View::of(topology, area);
    let at = |share: f64, count: u16| (share.clamp(0.0, 1.0) * f64::from(count)).min(f64::from(count) - 1.0) as u16;
    let position = |region: &forebay_world::Region| {
        let (x, y) = view.share(region.lon, region.lat);
        Position { x: area.x + at(x, area.width), y: area.y + at(y, area.height) }
    };
    topology.regions.iter().map(position).collect()
}

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (look, topology) = (app.look, &app.scene.topology);
    let view = View::of(topology, area);
    draw_land(app, view, area, buffer);
    let tick = app.sides().first().and_then(|side| side.tick.as_ref());
    let positions = positions(topology, area);
    let mut taken = positions.clone();

    let mut raster = Raster::new(area, look);
    let mut marks = Vec::new();
    // The busiest last, so that they lie on top.
    let mut links: Vec<(Load, Option<f64>, RegionId, RegionId)> = Vec::new();
    for (index, link) in topology.links.iter().enumerate() {
        if let LinkEnds::Between(a, b) = link.ends {
            let (load, share) = link_load(tick.and_then(|tick| link_use(tick, index)));
            links.push((load, share, a, b));
        }
    }
    links.sort_by_key(|link| link.0);
    for (load, share, a, b) in links {
        let middle = draw_link(&mut raster, view, topology, (a, b), Ink { tone: load.tone(), plain: look.load(load) });
        marks.push((middle, load, share));
    }
    raster.draw(buffer);
    for (index, position) in positions.iter().enumerate() {
        draw_region(app, tick, index, *position, area, &mut taken, buffer);
    }
    // What a link carries, where there is room for it.
    let dots = (raster.width() / i32::from(area.width), raster.height() / i32::from(area.height));
    for ((x, y), load, share) in marks.into_iter().rev() {
        if share.is_some_and(|share| share < QUIET) {
            continue;
        }
        let text = if share.is_some() { percent(share) } else { look.load(load).to_owned() };
        let (Ok(x), Ok(y)) = (u16::try_from(x / dots.0.max(1)), u16::try_from(y / dots.1.max(1))) else { continue };
        let at = Position { x: area.x + x, y: area.y + y };
        if area.contains(at) {
            write_free(app, area, at, &text, load.tone(), &mut taken, buffer);
        }
    }
}

fn draw_land(app: &App, view: View, area: Rect, buffer: &mut Buffer) {
    let mut raster = Raster::new(area, app.look);
    let size = (raster.width(), raster.height());
    let seen = |(x, y): (i32, i32)| (0..size.0).contains(&x) && (0..size.1).contains(&y);
    for (from, to) in coast::lines() {
        let (from, to) = (view.dot(size, from.0, from.1), view.dot(size, to.0, to.1));
        if seen(from) || seen(to) {
            raster.line(from, to, Ink { tone: Tone::Land, plain: ":" }, false);
        }
    }
    raster.draw(buffer);
}

/// Draws the shorter way around the world and returns the dot in its middle.
fn draw_link(raster: &mut Raster, view: View, topology: &Topology, ends: (RegionId, RegionId), ink: Ink) -> (i32, i32) {
    let (a, b) = (topology.region(ends.0), topology.region(ends.1));
    let size = (raster.width(), raster.height());
    let dot = |lon: f64, lat: f64| view.dot(size, lon, lat);
    let eastward = b.lon - a.lon;
    let around = if eastward.abs() > 180.0 && view == WORLD { -360.0 * eastward.signum() } else { 0.0 };
    raster.line(dot(a.lon, a.lat), dot(b.lon + around, b.lat), ink, false);
    if around == 0.0 {
        return dot((a.lon + b.lon) / 2.0, (a.lat + b.lat) / 2.0);
    }
    raster.line(dot(a.lon - around, a.lat), dot(b.lon, b.lat), ink, false);
    let middle = (a.lon + b.lon + around) / 2.0;
    dot((middle + 540.0).rem_euclid(360.0) - 180.0, (a.lat + b.lat) / 2.0)
}

fn draw_region(
    app: &App,
    tick: Option<&Tick>,
    index: usize,
    position: Position,
    area: Rect,
    taken: &mut Vec<Position>,
    buffer: &mut Buffer,
) {
    let (look, topology) = (app.look, &app.scene.topology);
    let region = RegionId::at(index);
    let load = tick.map_or(Load::Unknown, |tick| region_load(topology, tick, region));
    let selected = app.region == region;
    buffer[(position.x, position.y)].set_symbol(look.load(load)).set_style(look.style(load.tone()));
    let name = &topology.regions[index].name;
    let utilization = tick.and_then(|tick| region_utilization(topology, tick, region));
    let label = if area.width >= 70 { format!("{name} {}", percent(utilization)) } else { name.clone() };
    let width = width_of(look, &label);
    let free = |taken: &[Position], from: Position| {
        from.x >= area.x
            && from.x + width <= area.right()
            && (area.y..area.bottom()).contains(&from.y)
            && !taken.iter().any(|cell| cell.y == from.y && (from.x..from.x + width).contains(&cell.x))
    };
    let (x, y) = (position.x, position.y);
    let left = x.saturating_sub(width + 1);
    let around = [(x + 2, y), (left, y), (x + 1, y + 1), (x + 1, y.wrapping_sub(1)), (left, y + 1)];
    let Some((x, y)) = around.into_iter().find(|(x, y)| free(taken, Position { x: *x, y: *y })) else { return };
    let style = match (selected, app.focus == Pane::Map) {
        (true, true) => look.style(Tone::Accent).patch(look.cursor()),
        (true, false) => look.style(Tone::Accent),
        (false, _) => look.style(Tone::Text),
    };
    // A blank on each side keeps the name apart from coasts.
    for side in [x.wrapping_sub(1), x + width] {
        let side = Position { x: side, y };
        if area.contains(side) && !taken.contains(&side) {
            buffer[side].set_symbol(" ");
        }
    }
    put_styled(buffer, look, x, y, area.right(), &label, style);
    taken.extend((x.saturating_sub(1)..=x + width).map(|x| Position { x, y }));
}

fn write_free(
    app: &App,
    area: Rect,
    middle: Position,
    text: &str,
    tone: Tone,
    taken: &mut Vec<Position>,
    buffer: &mut Buffer,
) {
    let width = width_of(app.look, text);
    let from = middle.x.saturating_sub(width / 2).max(area.x);
    let columns = from..from + width;
    if columns.end > area.right() || taken.iter().any(|cell| cell.y == middle.y && columns.contains(&cell.x)) {
        return;
    }
    put_styled(buffer, app.look, from, middle.y, area.right(), text, app.look.style(tone));
    taken.extend(columns.map(|x| Position { x, y: middle.y }));
}
