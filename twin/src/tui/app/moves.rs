//! Moving about: in time, between panes, in lists, on the map, along the axes.

use forebay_world::{ClassId, Duration, HostId, LinkEnds, RegionId, Timestamp};

use super::{App, Effect, Level, Overlay};
use crate::tui::keys::Action;
use crate::tui::layout::Pane;
use crate::tui::snapshot::{Command, Speed};
use crate::tui::table::ListState;

impl App {
    pub(super) fn change_speed(&self, faster: bool) -> Vec<Effect> {
        let speed = self.snapshot.as_ref().map_or(Speed::Times(1), |snapshot| snapshot.speed);
        vec![Effect::Command(Command::SetSpeed(if faster { speed.faster() } else { speed.slower() }))]
    }

    pub(super) fn seek_back(&self, span: Duration) -> Vec<Effect> {
        vec![Effect::Command(Command::Seek(self.clock().saturating_sub(span)))]
    }

    pub(super) fn seek_on(&self, span: Duration) -> Vec<Effect> {
        vec![Effect::Command(Command::Seek(self.clock().saturating_add(span)))]
    }

    pub(super) fn go_to(&mut self, text: &str) -> Vec<Effect> {
        match moment(text, self.clock()) {
            Some(at) => vec![Effect::Command(Command::Seek(at))],
            None => {
                self.note = Some(format!("\"{text}\" is not a time such as 18:30, 2026-06-14T18:30 or +2 h"));
                Vec::new()
            }
        }
    }

    pub(super) fn compare(&mut self) -> Vec<Effect> {
        if self.comparing() {
            return vec![Effect::Command(Command::Compare(None))];
        }
        let own = self.sides().first().map(|side| &*side.policy);
        let cursor = self.scene.policies.iter().position(|policy| Some(policy.as_str()) != own).unwrap_or(0);
        self.overlay = Some(Overlay::Policies { cursor });
        Vec::new()
    }

    pub(super) fn step_focus(&mut self, by: usize) {
        let all = Pane::all(self.scene.is_operated);
        let position = all.iter().position(|pane| *pane == self.focus).unwrap_or(0);
        self.set_focus(all[(position + by) % all.len()]);
    }

    pub(super) fn set_focus(&mut self, pane: Pane) {
        self.latest.retain(|other| *other != pane);
        self.latest.insert(0, pane);
        self.focus = pane;
    }

    pub(super) fn select_region(&mut self, region: RegionId) {
        if region.index() < self.scene.topology.regions.len() {
            if region != self.region && self.level != Level::Regions {
                self.level = Level::Hosts;
                self.hosts = ListState::default();
            }
            self.region = region;
            self.regions.key = Some(u64::from(region.0));
            self.slices.key = Some(self.cell() as u64);
        }
    }

    pub(super) fn select_class(&mut self, class: ClassId) {
        if class.index() < self.scene.topology.classes.len() {
            self.class = class;
            self.slices.key = Some(self.cell() as u64);
        }
    }

    pub(super) fn move_cursor(&mut self, action: Action) {
        match self.focus {
            Pane::Map if !self.map_is_table() => self.move_on_map(action),
            Pane::Demand | Pane::Score => self.move_cell(action),
            Pane::Map | Pane::Fleet | Pane::Slices | Pane::Alerts | Pane::Orders => {
                let page = self.rows_shown(self.focus) as isize;
                let by = match action {
                    Action::Up => -1,
                    Action::Down => 1,
                    Action::PageUp => -page,
                    Action::PageDown => page,
                    Action::First => isize::MIN,
                    Action::Last => isize::MAX,
                    _ => return self.move_cell(action),
                };
                self.move_in_list(self.focus, by);
            }
        }
    }

    pub(super) fn move_in_list(&mut self, pane: Pane, by: isize) {
        let Some(table) = self.table(pane) else { return };
        let height = self.rows_shown(pane);
        if let Some(list) = self.list_mut(pane) {
            list.move_by(&table.rows, by, height);
        }
        self.follow_cursor(pane);
    }

    /// What the cursor of a list stands on is selected elsewhere too.
    pub(super) fn follow_cursor(&mut self, pane: Pane) {
        let Some(key) = self.list(pane).and_then(|list| list.key) else { return };
        match pane {
            Pane::Map => {
                let link = self.scene.topology.links.get(key as usize);
                if let Some(LinkEnds::Access(region)) = link.map(|link| link.ends) {
                    self.select_region(region);
                }
            }
            Pane::Fleet if self.level == Level::Regions => self.select_region(RegionId(key as u16)),
            Pane::Slices if (key as usize) < self.scene.topology.cells() => {
                let (region, class) = self.scene.topology.cell_at(key as usize);
                self.select_region(region);
                self.select_class(class);
            }
            _ => {}
        }
    }

    /// Up and down through regions, left and right through classes.
    pub(super) fn move_cell(&mut self, action: Action) {
        let (regions, classes) = (self.scene.topology.regions.len(), self.scene.topology.classes.len());
        let step = |index: usize, count: usize, by: usize| (index + by) % count;
        if regions == 0 || classes == 0 {
            return;
        }
        match action {
            Action::Up => self.select_region(RegionId::at(step(self.region.index(), regions, regions - 1))),
            Action::Down => self.select_region(RegionId::at(step(self.region.index(), regions, 1))),
            Action::Left => self.select_class(ClassId::at(step(self.class.index(), classes, classes - 1))),
            Action::Right => self.select_class(ClassId::at(step(self.class.index(), classes, 1))),
            _ => {}
        }
    }

    /// To the nearest region in a direction, sideways distance counting double.
    fn move_on_map(&mut self, action: Action) {
        let regions = &self.scene.topology.regions;
        let Some(here) = regions.get(self.region.index()) else { return };
        let along = |lat: f64, lon: f64| match action {
            Action::Up => (lat, lon),
            Action::Down => (-lat, lon),
            Action::Left => (-lon, lat),
            Action::Right => (lon, lat),
            _ => (f64::NAN, 0.0),
        };
        let distance = |index: &usize| {
            let (ahead, aside) = along(regions[*index].lat - here.lat, regions[*index].lon - here.lon);
            (ahead > 0.0).then(|| ahead + 2.0 * aside.abs())
        };
        let nearest = (0..regions.len())
            .filter_map(|index| distance(&index).map(|distance| (index, distance)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((index, _)) = nearest {
            self.select_region(RegionId::at(index));
        }
    }

    pub(super) fn enter(&mut self) -> Vec<Effect> {
        match self.focus {
            Pane::Map => {
                self.set_focus(Pane::Fleet);
                self.level = Level::Hosts;
                self.hosts = ListState::default();
            }
            Pane::Fleet => match self.level {
                Level::Regions => {
                    if let Some(row) = self.row_under_cursor(Pane::Fleet) {
                        self.select_region(RegionId(row as u16));
                        self.level = Level::Hosts;
                        self.hosts = ListState::default();
                    }
                }
                Level::Hosts => {
                    if let Some(row) = self.row_under_cursor(Pane::Fleet) {
                        self.level = Level::Machines(HostId(row as u32));
                        self.machines = ListState::default();
                    }
                }
                Level::Machines(_) => self.overlay = Some(Overlay::Explain),
            },
            Pane::Alerts => return self.visit_alert(),
            // Its rows are long: on the whole screen they can be read.
            Pane::Orders => self.zoomed = true,
            Pane::Demand | Pane::Score | Pane::Slices => self.overlay = Some(Overlay::Explain),
        }
        Vec::new()
    }

    fn visit_alert(&mut self) -> Vec<Effect> {
        let Some(number) = self.row_under_cursor(Pane::Alerts) else { return Vec::new() };
        self.alerts.key = Some(number);
        let alert = self.alerts().iter().find(|alert| alert.number == number).cloned();
        let Some(alert) = alert else { return Vec::new() };
        if let Some(region) = alert.region {
            self.select_region(region);
        }
        if let Some(class) = alert.class {
            self.select_class(class);
        }
        vec![Effect::Command(Command::Visit(alert.at))]
    }

    fn row_under_cursor(&self, pane: Pane) -> Option<u64> {
        let (table, list) = (self.table(pane)?, self.list(pane)?);
        table.rows.get(list.position(&table.rows)).map(|row| row.key)
    }

    pub(super) fn leave(&mut self) {
        if self.focus == Pane::Fleet && self.level != Level::Regions {
            self.level = if matches!(self.level, Level::Machines(_)) { Level::Hosts } else { Level::Regions };
        } else if self.list(self.focus).is_some_and(|list| !list.filter.is_empty()) {
            if let Some(list) = self.list_mut(self.focus) {
                list.filter.clear();
            }
        } else {
            self.zoomed = false;
        }
    }

    pub(super) fn sort(&mut self) {
        let columns = self.table(self.focus).map_or(0, |table| table.columns.len());
        match self.list_mut(self.focus) {
            Some(list) => {
                let next = list.sort.map_or(0, |column| column + 1);
                list.sort = (next < columns).then_some(next);
            }
            None => self.note = Some(format!("{} has no rows to sort", self.focus.name())),
        }
    }

    pub(super) fn stretch(&mut self, times: u64, parts: u64) {
        let whole = self.scene.end.since(self.scene.start).max(self.scene.window * 20);
        let nanos = u128::from(self.axes.span.as_nanos()) * u128::from(times) / u128::from(parts);
        let span = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.axes.span = span.clamp((self.scene.window * 5).min(whole), whole);
    }
}

/// Reads a time of day, a full date and time, or a span from `now`.
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(span) = text.strip_prefix('+') {
        return span.trim().parse().ok().map(|span| now.saturating_add(span));
    }
    if let Some(span) = text.strip_prefix(['-', '−']) {
        return span.trim().parse().ok().map(|span| now.saturating_sub(span));
    }
    let today = now.floor_to(Duration::from_hours(24)).to_string();
    let of_today = || text.contains(':').then(|| format!("{} {text}", &today[..10]).parse().ok()).flatten();
    text.parse().ok().or_else(of_today)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_people_say_it() {
        let now: Timestamp = "2026-06-14T18:42:07Z".parse().unwrap();
        for (text, at) in [
            ("18:30", "2026-06-14T18:30:00Z"),
            (" 07:05:30 ", "2026-06-14T07:05:30Z"),
            ("2026-06-15 01:00", "2026-06-15T01:00:00Z"),
            ("+1 h", "2026-06-14T19:42:07Z"),
            ("-10min", "2026-06-14T18:32:07Z"),
        ] {
            assert_eq!(moment(text, now), Some(at.parse().unwrap()), "{text}");
        }
        for text in ["", "soon", "+", "25:00", "18", "+1 x"] {
            assert_eq!(moment(text, now), None, "{text}");
        }
    }
}
