//! Coastlines, as lines: the points of ratatui's map, joined again.
//!
//! The map is points in no order one can get at, dense enough for the whole world and too sparse for a part of it. Each
//! is joined to its nearest neighbour, and to the nearest on its other side.

use std::sync::OnceLock;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::symbols::Marker;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Map, MapResolution};

/// A place in degrees: longitude, latitude.
type Place = (f64, f64);

/// Degrees from dot to dot when the points are read off.
const STEP: f64 = 0.1;
/// Points further apart than this belong to different coasts [degrees].
const REACH: f64 = 3.5;
const SOUTH: f64 = -60.0;
const NORTH: f64 = 84.0;
/// Degrees of longitude that are read off at once.
const STRIP: f64 = 36.0;

/// All coasts but the Antarctic's, as lines from place to place. Worked out once.
pub(super) fn lines() -> &'static [(Place, Place)] {
    static LINES: OnceLock<Vec<(Place, Place)>> = OnceLock::new();
    LINES.get_or_init(|| join(&points()))
}

/// The points of the map, to a tenth of a degree.
fn points() -> Vec<Place> {
    let mut points = Vec::new();
    for strip in 0..(360.0 / STRIP) as u16 {
        let west = -180.0 + f64::from(strip) * STRIP;
        let (across, down) = ((STRIP / STEP) as u16, ((NORTH - SOUTH) / STEP) as u16);
        let area = Rect::new(0, 0, across / 2, down / 4);
        let mut buffer = Buffer::empty(area);
        Canvas::default()
            .marker(Marker::Braille)
            .x_bounds([west, west + STRIP])
            .y_bounds([SOUTH, NORTH])
            .paint(|context| context.draw(&Map { color: Color::White, resolution: MapResolution::High }))
            .render(area, &mut buffer);
        for (index, cell) in buffer.content.iter().enumerate() {
            let bits = cell.symbol().chars().next().map_or(0, u32::from).wrapping_sub(0x2800);
            if bits == 0 || bits > 0xFF {
                continue;
            }
            let (x, y) = (index % usize::from(area.width) * 2, index / usize::from(area.width) * 4);
            for bit in (0..8).filter(|bit| bits >> bit & 1 == 1) {
                // Bits 0 to 2 are the first three dots of the left column, 3 to 5 of the right, 6 and 7 the last row.
                let (dx, dy) = if bit < 6 { (bit / 3, bit % 3) } else { (bit - 6, 3) };
                let lon = west + STRIP * (x + dx) as f64 / f64::from(across - 1);
                let lat = NORTH - (NORTH - SOUTH) * (y + dy) as f64 / f64::from(down - 1);
                points.push((lon, lat));
            }
        }
    }
    points
}

fn join(points: &[Place]) -> Vec<(Place, Place)> {
    let mut lines = Vec::new();
    for &here in points {
        // A degree of longitude is shorter in the north.
        let narrow = here.1.to_radians().cos().max(0.2);
        let way = |there: &Place| ((there.0 - here.0) * narrow, there.1 - here.1);
        let near = |turned_from: Option<(f64, f64)>| {
            points
                .iter()
                .filter(|there| (there.1 - here.1).abs() < REACH && (there.0 - here.0).abs() * narrow < REACH)
                .map(|there| (way(there), *there))
                .map(|((x, y), there)| (x.hypot(y), (x, y), there))
                .filter(|(distance, (x, y), _)| {
                    let other_side = turned_from.is_none_or(|(u, v)| (x * u + y * v) / u.hypot(v) < 0.2 * distance);
                    *distance > 1e-6 && *distance < REACH && other_side
                })
                .min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let Some((_, direction, first)) = near(None) else {
            lines.push((here, here));
            continue;
        };
        lines.push((here, first));
        if let Some((_, _, second)) = near(Some(direction)) {
            lines.push((here, second));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coasts_are_found_and_joined() {
        let points = points();
        assert!((3000..5125).contains(&points.len()), "{}", points.len());
        // Land's End, to the precision of the map.
        assert!(points.iter().any(|(lon, lat)| (lon + 5.2).abs() < 0.6 && (lat - 50.0).abs() < 0.6));
        let lines = lines();
        let joined = lines.iter().filter(|(from, to)| from != to).count();
        assert!(joined > points.len() * 3 / 2, "{joined}");
        assert!(lines.iter().all(|(from, to)| (from.1 - to.1).abs() < REACH));
    }
}
