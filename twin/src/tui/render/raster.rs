//! Dots finer than characters: two by four in a character with Braille patterns, one with ASCII.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::look::{Look, Tone};

/// A grid of dots over an area of characters.
pub(super) struct Raster {
    area: Rect,
    look: Look,
    /// Dots across and down one character.
    fine: (u16, u16),
    cells: Vec<Dots>,
}

#[derive(Clone, Copy, Default)]
struct Dots {
    /// Dots of lines, in the bits of a Braille pattern; any bit in ASCII.
    line: u8,
    /// Dots of areas, shown where no line is.
    fill: u8,
    line_ink: Option<Ink>,
    fill_ink: Option<Ink>,
}

/// Colour, and the character that stands for it in ASCII.
#[derive(Clone, Copy)]
pub(super) struct Ink {
    pub(super) tone: Tone,
    pub(super) plain: &'static str,
}

/// Bits of the dots of a Braille pattern, row by row (Unicode, block U+2800).
const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

impl Raster {
    pub(super) fn new(area: Rect, look: Look) -> Self {
        let fine = if look.ascii { (1, 1) } else { (2, 4) };
        Raster { area, look, fine, cells: vec![Dots::default(); usize::from(area.width) * usize::from(area.height)] }
    }

    /// Dots across.
    pub(super) fn width(&self) -> i32 {
        i32::from(self.area.width) * i32::from(self.fine.0)
    }

    /// Dots down.
    pub(super) fn height(&self) -> i32 {
        i32::from(self.area.height) * i32::from(self.fine.1)
    }

    fn cell(&mut self, x: i32, y: i32) -> Option<(&mut Dots, u8)> {
        if x < 0 || y < 0 || x >= self.width() || y >= self.height() {
            return None;
        }
        let (x, y) = (x as usize, y as usize);
        let (across, down) = (usize::from(self.fine.0), usize::from(self.fine.1));
        let index = y / down * usize::from(self.area.width) + x / across;
        Some((&mut self.cells[index], BITS[y % down][x % across]))
    }

    pub(super) fn dot(&mut self, x: i32, y: i32, ink: Ink) {
        if let Some((dots, bit)) = self.cell(x, y) {
            dots.line |= bit;
            dots.line_ink = Some(ink);
        }
    }

    /// A dot of an area: every second one shows, so that the area is lighter than a line.
    pub(super) fn shade(&mut self, x: i32, y: i32, ink: Ink) {
        if !self.look.ascii && (x + y) % 2 != 0 {
            return;
        }
        if let Some((dots, bit)) = self.cell(x, y) {
            dots.fill |= bit;
            dots.fill_ink = Some(ink);
        }
    }

    /// A line from dot to dot (J. Bresenham 1965); `dashed` draws two dots of four.
    pub(super) fn line(&mut self, from: (i32, i32), to: (i32, i32), ink: Ink, dashed: bool) {
        // Far outside nothing can be seen, and the way there would be long.
        let (width, height) = (self.width(), self.height());
        let clamp = |(x, y): (i32, i32)| (x.clamp(-width, 2 * width), y.clamp(-height, 2 * height));
        let ((mut x, mut y), (x_end, y_end)) = (clamp(from), clamp(to));
        let (dx, dy) = ((x_end - x).abs(), -(y_end - y).abs());
        let (step_x, step_y) = ((x_end - x).signum(), (y_end - y).signum());
        let mut error = dx + dy;
        loop {
            if !dashed || (x + y).rem_euclid(4) < 2 {
                self.dot(x, y, ink);
            }
            if (x, y) == (x_end, y_end) {
                return;
            }
            let twice = 2 * error;
            if twice >= dy {
                error += dy;
                x += step_x;
            }
            if twice <= dx {
                error += dx;
                y += step_y;
            }
        }
    }

    pub(super) fn draw(&self, buffer: &mut Buffer) {
        for (index, dots) in self.cells.iter().enumerate() {
            let x = self.area.x + (index % usize::from(self.area.width)) as u16;
            let y = self.area.y + (index / usize::from(self.area.width)) as u16;
            let (bits, ink) = if dots.line != 0 { (dots.line, dots.line_ink) } else { (dots.fill, dots.fill_ink) };
            let Some(ink) = ink.filter(|_| bits != 0) else { continue };
            let cell = &mut buffer[(x, y)];
            if self.look.ascii {
                cell.set_symbol(ink.plain);
            } else {
                cell.set_char(char::from_u32(0x2800 + u32::from(bits)).unwrap_or(' '));
            }
            cell.set_style(self.look.style(ink.tone));
        }
    }
}
