//! Which part of the screen is where: a function of its size, of what is focused, and of nothing else.

use ratatui::layout::Rect;

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// The world, its regions and links.
    Map,
    /// Regions, hosts or virtual machines.
    Fleet,
    /// Demand, capacity and forecast over time.
    Demand,
    /// What the run is judged by.
    Score,
    /// What is done to production, and what keeps it from being done.
    Orders,
    /// Slices and their rates.
    Slices,
    /// What a person should hear of.
    Alerts,
}

impl Pane {
    /// Those of a run, in the order of Tab.
    pub const ALL: [Pane; 6] = [Pane::Map, Pane::Fleet, Pane::Demand, Pane::Score, Pane::Slices, Pane::Alerts];
    /// Those of production that is acted on.
    pub const OPERATED: [Pane; 6] = [Pane::Map, Pane::Fleet, Pane::Demand, Pane::Orders, Pane::Slices, Pane::Alerts];

    /// Those that there are, in the order of Tab.
    pub fn all(is_operated: bool) -> [Pane; 6] {
        if is_operated { Pane::OPERATED } else { Pane::ALL }
    }

    /// Its heading.
    pub fn name(self) -> &'static str {
        match self {
            Pane::Map => "Map",
            Pane::Fleet => "Fleet",
            Pane::Demand => "Demand",
            Pane::Score => "Score",
            Pane::Orders => "Orders",
            Pane::Slices => "Slices",
            Pane::Alerts => "Alerts",
        }
    }
}

/// Narrower or lower than this nothing is drawn but a line that says so.
pub const SMALLEST: (u16, u16) = (40, 12);

/// Where everything is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) mode: Rect,
    pub(crate) timeline: Option<Rect>,
    pub(crate) places: Vec<Place>,
    pub(crate) footer: Rect,
}

/// A place for one pane, and the panes that take turns there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) pane: Pane,
    pub(crate) turns: Vec<Pane>,
    /// Heading and content.
    pub(crate) area: Rect,
}

impl Place {
    fn new(turns: &[Pane], focus: Pane, latest: &[Pane], area: Rect) -> Place {
        let shown = std::iter::once(&focus).chain(latest).find(|pane| turns.contains(pane));
        Place { pane: shown.copied().unwrap_or(turns[0]), turns: turns.to_vec(), area }
    }

    pub(crate) fn heading(&self) -> Rect {
        Rect { height: 1.min(self.area.height), ..self.area }
    }

    pub(crate) fn content(&self) -> Rect {
        let heading = self.heading().height;
        Rect { y: self.area.y + heading, height: self.area.height - heading, ..self.area }
    }
}

/// What the layout depends on beside the size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) focus: Pane,
    /// Panes by how lately they were focused, the latest first.
    pub(crate) latest: &'a [Pane],
    pub(crate) zoomed: bool,
    pub(crate) comparing: bool,
    pub(crate) is_operated: bool,
}

impl Layout {
    /// The layout of a screen of this size; `None` when it is too small.
    pub(crate) fn of(screen: Rect, wanted: Wanted<'_>) -> Option<Layout> {
        let (width, height) = (screen.width, screen.height);
        if width < SMALLEST.0 || height < SMALLEST.1 {
            return None;
        }
        let row = |y: u16| Rect { y: screen.y + y, height: 1, ..screen };
        let (wide, middling) = (width >= 120 && height >= 36, width >= 80 && height >= 24);
        let timeline = middling.then(|| row(1));
        let above = if wide { 3 } else { 1 + u16::from(middling) };
        let body = Rect { y: screen.y + above, height: height - above - 1, ..screen };
        let place = |turns: &[Pane], area: Rect| Place::new(turns, wanted.focus, wanted.latest, area);
        let places = if wanted.zoomed || !middling {
            vec![place(&Pane::all(wanted.is_operated), body)]
        } else if wanted.comparing {
            let (top, bottom) = split_rows(body, if wide { 50 } else { 52 }, u16::from(wide));
            let others = [Pane::Fleet, Pane::Map, Pane::Slices, Pane::Alerts];
            if wide {
                let (left, right) = split_columns(bottom, 46);
                vec![place(&[Pane::Demand], top), place(&[Pane::Score], left), place(&others, right)]
            } else {
                let turns = [&[Pane::Score][..], &others].concat();
                vec![place(&[Pane::Demand], top), place(&turns, bottom)]
            }
        } else {
            let (left, right) = split_columns(body, if wide { 60 } else { 56 });
            let (map, demand) = split_rows(left, 53, u16::from(wide));
            let judged = if wanted.is_operated { Pane::Orders } else { Pane::Score };
            if wide {
                let fleet_height = (right.height / 4).max(11);
                let (fleet, rest) = cut_top(right, fleet_height, 1);
                let (score, rest) = cut_top(rest, (right.height / 4).clamp(9, 13), 1);
                let (slices, alerts) = split_rows(rest, 55, 1);
                vec![
                    place(&[Pane::Map], map),
                    place(&[Pane::Fleet], fleet),
                    place(&[Pane::Demand], demand),
                    place(&[judged], score),
                    place(&[Pane::Slices], slices),
                    place(&[Pane::Alerts], alerts),
                ]
            } else {
                let fleet = Rect { height: map.height, ..right };
                let rest = Rect { y: demand.y, height: demand.height, ..right };
                vec![
                    place(&[Pane::Map], map),
                    place(&[Pane::Fleet], fleet),
                    place(&[Pane::Demand], demand),
                    place(&[judged, Pane::Slices, Pane::Alerts], rest),
                ]
            }
        };
        Some(Layout { mode: row(0), timeline, places, footer: row(height - 1) })
    }

    /// The place that shows `pane`.
    pub(crate) fn place(&self, pane: Pane) -> Option<&Place> {
        self.places.iter().find(|place| place.pane == pane)
    }
}

/// Blank columns between two places side by side.
const GUTTER: u16 = 2;

fn split_columns(area: Rect, percent: u16) -> (Rect, Rect) {
    let left = (u32::from(area.width) * u32::from(percent) / 100) as u16;
    let right = area.x + left + GUTTER;
    (Rect { width: left, ..area }, Rect { x: right, width: area.right().saturating_sub(right), ..area })
}

fn split_rows(area: Rect, percent: u16, gap: u16) -> (Rect, Rect) {
    cut_top(area, (u32::from(area.height) * u32::from(percent) / 100) as u16, gap)
}

fn cut_top(area: Rect, height: u16, gap: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    let below = (area.y + height + gap).min(area.bottom());
    (Rect { height, ..area }, Rect { y: below, height: area.bottom() - below, ..area })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_lie_on_the_screen_and_do_not_overlap(
            width in 1u16..300,
            height in 1u16..120,
            focus in 0usize..6,
            zoomed: bool,
            comparing: bool,
            is_operated: bool,
        ) {
            let screen = Rect::new(0, 0, width, height);
            let comparing = comparing && !is_operated;
            let focus = Pane::all(is_operated)[focus];
            let wanted = Wanted { focus, latest: &[], zoomed, comparing, is_operated };
            let Some(layout) = Layout::of(screen, wanted) else {
                prop_assert!(width < SMALLEST.0 || height < SMALLEST.1);
                return Ok(());
            };
            let mut areas: Vec<Rect> = layout.places.iter().map(|place| place.area).collect();
            areas.extend([layout.mode, layout.footer]);
            areas.extend(layout.timeline);
            for (position, area) in areas.iter().enumerate() {
                prop_assert_eq!(screen.intersection(*area), *area);
                prop_assert!(area.height > 0 && area.width > 8, "{:?}", area);
                for other in &areas[position + 1..] {
                    prop_assert!(area.intersection(*other).is_empty(), "{:?} {:?}", area, other);
                }
            }
            prop_assert!(layout.place(focus).is_some(), "what is focused can be seen");
        }
    }
}
