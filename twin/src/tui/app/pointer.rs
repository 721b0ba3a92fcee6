//! The mouse: a click focuses and selects, the wheel moves what lies under it.

use forebay_world::{RegionId, Timestamp};
use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{App, Effect, Overlay};
use crate::tui::keys::Action;
use crate::tui::layout::{Pane, Place};
use crate::tui::render::{footer, map, timeline};
use crate::tui::snapshot::Command;

/// A click this close to a region means it [cells]: as far as its name reaches.
const REACH: u16 = 9;

impl App {
    pub(super) fn mouse(&mut self, event: MouseEvent) -> Vec<Effect> {
        let at = Position { x: event.column, y: event.row };
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => self.click(at),
            MouseEventKind::Drag(MouseButton::Left) => self.drag(at),
            MouseEventKind::ScrollUp => self.wheel(at, -1),
            MouseEventKind::ScrollDown => self.wheel(at, 1),
            _ => Vec::new(),
        }
    }

    fn click(&mut self, at: Position) -> Vec<Effect> {
        let Some(layout) = self.layout() else { return Vec::new() };
        if self.prompt.take().is_some() {
            return Vec::new();
        }
        if layout.footer.contains(at) {
            return footer::action_at(self, layout.footer, at.x).map_or_else(Vec::new, |action| self.act(action));
        }
        if self.overlay.take().is_some() {
            return Vec::new();
        }
        self.note = None;
        if let Some(moment) = self.moment_under(layout.timeline, at) {
            return vec![Effect::Command(Command::Seek(moment))];
        }
        let Some(place) = layout.places.iter().find(|place| place.area.contains(at)).cloned() else {
            return Vec::new();
        };
        if place.heading().contains(at) {
            self.set_focus(footer::turn_at(&place, at.x).unwrap_or(place.pane));
            return Vec::new();
        }
        self.set_focus(place.pane);
        self.click_in(&place, at)
    }

    fn click_in(&mut self, place: &Place, at: Position) -> Vec<Effect> {
        let content = place.content();
        match place.pane {
            Pane::Map if map::is_drawn(content) => {
                let near = |(index, position): (usize, Position)| {
                    let away = position.x.abs_diff(at.x) + 2 * position.y.abs_diff(at.y);
                    (away <= REACH).then_some((away, index))
                };
                let regions = map::positions(&self.scene.topology, content);
                if let Some((_, index)) = regions.into_iter().enumerate().filter_map(near).min() {
                    self.select_region(RegionId::at(index));
                }
            }
            Pane::Map | Pane::Fleet | Pane::Slices | Pane::Alerts | Pane::Orders => {
                let Some(row) = usize::from(at.y - content.y).checked_sub(1) else { return Vec::new() };
                let Some(table) = self.table(place.pane) else { return Vec::new() };
                let height = usize::from(content.height.saturating_sub(1));
                let Some(list) = self.list_mut(place.pane) else { return Vec::new() };
                let top = list.first_shown(&table.rows, height);
                let Some(clicked) = table.rows.get(top + row) else { return Vec::new() };
                // A second click on the row of the cursor enters it.
                let again = list.key == Some(clicked.key);
                (list.key, list.top) = (Some(clicked.key), top);
                self.follow_cursor(place.pane);
                if again {
                    return self.enter();
                }
            }
            Pane::Demand | Pane::Score => {}
        }
        Vec::new()
    }

    /// The handle of the timeline can be dragged.
    fn drag(&mut self, at: Position) -> Vec<Effect> {
        if self.overlay.is_some() {
            return Vec::new();
        }
        let timeline = self.layout().and_then(|layout| layout.timeline);
        self.moment_under(timeline, at).map_or_else(Vec::new, |moment| vec![Effect::Command(Command::Seek(moment))])
    }

    fn moment_under(&self, area: Option<Rect>, at: Position) -> Option<Timestamp> {
        let area = area.filter(|area| area.contains(at))?;
        timeline::moment_at(
            &self.scene,
            self.snapshot.as_ref().map_or(self.scene.start, |shown| shown.reached),
            area,
            at.x,
        )
    }

    fn wheel(&mut self, at: Position, by: isize) -> Vec<Effect> {
        match &mut self.overlay {
            Some(Overlay::Help { .. }) => return self.act(if by < 0 { Action::Up } else { Action::Down }),
            Some(_) => return Vec::new(),
            None => {}
        }
        let layout = self.layout();
        let place = layout.as_ref().and_then(|layout| layout.places.iter().find(|place| place.area.contains(at)));
        match place.map(|place| place.pane) {
            Some(Pane::Demand) if by < 0 => self.stretch(2, 3),
            Some(Pane::Demand) => self.stretch(3, 2),
            Some(Pane::Map) if !self.map_is_table() => self.move_cell(if by < 0 { Action::Up } else { Action::Down }),
            Some(pane) => self.move_in_list(pane, by),
            None => {}
        }
        Vec::new()
    }
}
