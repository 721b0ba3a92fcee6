//! The state of the terminal UI, and what each message makes of it.
//!
//! [`App::update`] is pure: no clock, no I/O. What has to be done outside it returns as [`Effect`]s.

mod moves;
mod pointer;

use std::sync::Arc;

use forebay_world::{ClassId, Duration, RegionId, Timestamp};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEvent};
use ratatui::layout::Rect;

use super::alert::Alert;
use super::desk::Standing;
use super::keys::{self, Action};
use super::layout::{Layout, Pane, Wanted};
use super::look::Look;
use super::render::map;
use super::snapshot::{Command, Scene, Side, Snapshot};
use super::table::{ListState, Table};
use super::tables;

/// What the UI is told.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// The terminal has this many columns and rows now.
    Resize(u16, u16),
    /// The run has gone on.
    Snapshot(Arc<Snapshot>),
    /// Something to be told to the reader: a file was written, or could not be.
    Note(String),
    /// What stands of production has changed.
    Standing(Arc<Standing>),
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask the player.
    Command(Command),
    /// Write a file.
    Write {
        /// Its name, without folder.
        name: String,
        /// What it shall hold.
        contents: String,
    },
    /// Write what is on the screen as text.
    Screenshot {
        /// Name of the file, without folder.
        name: String,
    },
    /// Tell the desk a line that was typed.
    Answer(String),
    /// Let the desk close the kill switch.
    CloseKillSwitch,
    /// Give the terminal back and stop until continued.
    Suspend,
    /// Leave.
    Quit,
}

/// How far the fleet is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Regions,
    Hosts,
    /// Virtual machines of one host.
    Machines(forebay_world::HostId),
}

/// What lies over the panes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Overlay {
    Help {
        top: usize,
    },
    Explain,
    /// Choice of the policy to compare with.
    Policies {
        cursor: usize,
    },
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prompt {
    pub(crate) asks: Asks,
    pub(crate) text: String,
}

/// What it is typed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Filter(Pane),
    Goto,
    /// Yes to what is proposed.
    Yes,
    /// The word that closes the kill switch.
    Kill,
}

/// What has to be typed to close the kill switch.
pub(crate) const KILL_WORD: &str = "kill";

/// The chart's axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axes {
    pub(crate) span: Duration,
    /// The top of the chart is what there is to show, times 1.5 to this power.
    pub(crate) height: i8,
}

/// The state of the UI.
#[derive(Clone, Debug)]
pub struct App {
    pub(crate) scene: Arc<Scene>,
    pub(crate) look: Look,
    pub(crate) size: (u16, u16),
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) focus: Pane,
    /// Panes by how lately they were focused, the latest first.
    pub(crate) latest: Vec<Pane>,
    pub(crate) zoomed: bool,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) region: RegionId,
    pub(crate) class: ClassId,
    pub(crate) level: Level,
    pub(crate) regions: ListState,
    pub(crate) hosts: ListState,
    pub(crate) machines: ListState,
    /// Regions and links, where a table stands in for the map.
    pub(crate) places: ListState,
    pub(crate) slices: ListState,
    pub(crate) alerts: ListState,
    pub(crate) orders: ListState,
    /// What stands of production, where it is acted on.
    pub(crate) standing: Option<Arc<Standing>>,
    pub(crate) axes: Axes,
    pub(crate) note: Option<String>,
}

impl App {
    /// The UI of `scene` on a terminal of this size, before the first snapshot.
    pub fn new(scene: Arc<Scene>, look: Look, columns: u16, rows: u16) -> Self {
        let axes = App::first_axes(&scene);
        App {
            scene,
            look,
            size: (columns, rows),
            snapshot: None,
            focus: Pane::Map,
            latest: Vec::new(),
            zoomed: false,
            overlay: None,
            prompt: None,
            region: RegionId(0),
            class: ClassId(0),
            level: Level::Regions,
            regions: ListState { key: Some(0), ..ListState::default() },
            hosts: ListState::default(),
            machines: ListState::default(),
            places: ListState::default(),
            slices: ListState { key: Some(0), ..ListState::default() },
            alerts: ListState::default(),
            orders: ListState::default(),
            standing: None,
            axes,
            note: None,
        }
    }

    fn first_axes(scene: &Scene) -> Axes {
        let span = scene.end.since(scene.start).min(Duration::from_hours(3)).max(scene.window * 10);
        Axes { span, height: 0 }
    }

    /// Takes in a message; returns what has to be done outside.
    pub fn update(&mut self, message: Msg) -> Vec<Effect> {
        match message {
            Msg::Key(event) if event.kind == KeyEventKind::Release => Vec::new(),
            Msg::Key(event) => self.key(event),
            Msg::Mouse(event) => self.mouse(event),
            Msg::Resize(columns, rows) => {
                self.size = (columns, rows);
                Vec::new()
            }
            Msg::Snapshot(snapshot) => {
                self.snapshot = Some(snapshot);
                Vec::new()
            }
            Msg::Standing(standing) => {
                self.standing = Some(standing);
                Vec::new()
            }
            Msg::Note(note) => {
                self.note = Some(note);
                Vec::new()
            }
        }
    }

    fn key(&mut self, event: KeyEvent) -> Vec<Effect> {
        if self.prompt.is_some() {
            return self.type_key(event);
        }
        self.note = None;
        let action = keys::action_of(&event).filter(|action| keys::applies(*action, &self.scene));
        action.map_or_else(Vec::new, |action| self.act(action))
    }

    /// Does what a key or a click asks for.
    pub(crate) fn act(&mut self, action: Action) -> Vec<Effect> {
        let command = |command| vec![Effect::Command(command)];
        if let Some(effects) = self.act_in_overlay(action) {
            return effects;
        }
        match action {
            Action::Quit => return vec![Effect::Quit],
            Action::Suspend => return vec![Effect::Suspend],
            Action::Pause => return command(Command::TogglePause),
            Action::StepEvent => return command(Command::StepEvent),
            Action::StepTick => return command(Command::StepTick),
            Action::Faster | Action::Slower => return self.change_speed(action == Action::Faster),
            Action::BackMinute => return self.seek_back(Duration::from_mins(1)),
            Action::OnMinute => return self.seek_on(Duration::from_mins(1)),
            Action::BackHour => return self.seek_back(Duration::from_hours(1)),
            Action::OnHour => return self.seek_on(Duration::from_hours(1)),
            Action::Goto => self.prompt = Some(Prompt { asks: Asks::Goto, text: String::new() }),
            Action::Filter => {
                let text = self.list(self.focus).map(|list| list.filter.clone());
                match text {
                    Some(text) => self.prompt = Some(Prompt { asks: Asks::Filter(self.focus), text }),
                    None => self.note = Some(format!("{} has no rows to filter", self.focus.name())),
                }
            }
            Action::Sort => self.sort(),
            Action::NextPane => self.step_focus(1),
            Action::PreviousPane => self.step_focus(Pane::all(self.scene.is_operated).len() - 1),
            Action::Map => self.set_focus(Pane::Map),
            Action::Alerts => self.set_focus(Pane::Alerts),
            Action::Zoom => self.zoomed = !self.zoomed,
            Action::Explain => self.overlay = Some(Overlay::Explain),
            Action::Help => self.overlay = Some(Overlay::Help { top: 0 }),
            Action::Compare => return self.compare(),
            // What is typed is the whole line: it may be begun without looking.
            Action::Yes => self.ask(Asks::Yes, "y"),
            Action::Kill => self.ask(Asks::Kill, ""),
            Action::Enter => return self.enter(),
            Action::Leave => self.leave(),
            Action::Longer => self.stretch(3, 2),
            Action::Shorter => self.stretch(2, 3),
            Action::Taller => self.axes.height = (self.axes.height - 1).max(-8),
            Action::Flatter => self.axes.height = (self.axes.height + 1).min(8),
            Action::ResetAxes => self.axes = App::first_axes(&self.scene),
            Action::WriteCsv => return self.write_csv(),
            Action::Screenshot => return vec![Effect::Screenshot { name: self.file_name("screen", "txt") }],
            Action::Up
            | Action::Down
            | Action::Left
            | Action::Right
            | Action::PageUp
            | Action::PageDown
            | Action::First
            | Action::Last => self.move_cursor(action),
        }
        Vec::new()
    }

    /// Keys mean other things while something lies over the panes; `None` when they do not.
    fn act_in_overlay(&mut self, action: Action) -> Option<Vec<Effect>> {
        let overlay = self.overlay.as_mut()?;
        match (overlay, action) {
            (_, Action::Quit | Action::Suspend | Action::Screenshot) => return None,
            (_, Action::Yes | Action::Kill) => {
                self.overlay = None;
                return None;
            }
            (Overlay::Explain, Action::Up | Action::Down | Action::Left | Action::Right) => {
                self.move_cell(action);
            }
            // Time may go on under an explanation.
            (
                Overlay::Explain,
                Action::Pause
                | Action::StepTick
                | Action::StepEvent
                | Action::BackMinute
                | Action::OnMinute
                | Action::BackHour
                | Action::OnHour,
            ) => {
                let overlay = self.overlay.take();
                let effects = self.act(action);
                self.overlay = overlay;
                return Some(effects);
            }
            (Overlay::Help { top }, Action::Up) => *top = top.saturating_sub(1),
            (Overlay::Help { top }, Action::Down) => *top = (*top + 1).min(keys::KEYS.len()),
            (Overlay::Help { top }, Action::PageUp | Action::First) => *top = top.saturating_sub(10),
            (Overlay::Help { top }, Action::PageDown | Action::Last) => *top = (*top + 10).min(keys::KEYS.len()),
            (Overlay::Policies { cursor }, Action::Up) => *cursor = cursor.saturating_sub(1),
            (Overlay::Policies { cursor }, Action::Down) => {
                *cursor = (*cursor + 1).min(self.scene.policies.len().saturating_sub(1));
            }
            (Overlay::Policies { cursor }, Action::Enter) => {
                let chosen = self.scene.policies.get(*cursor).cloned();
                self.overlay = None;
                if !matches!(self.focus, Pane::Demand | Pane::Score) {
                    self.set_focus(Pane::Score);
                }
                return Some(
                    chosen.map(|policy| Effect::Command(Command::Compare(Some(policy)))).into_iter().collect(),
                );
            }
            _ => self.overlay = None,
        }
        Some(Vec::new())
    }

    fn type_key(&mut self, event: KeyEvent) -> Vec<Effect> {
        let Some(prompt) = &mut self.prompt else { return Vec::new() };
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        match event.code {
            KeyCode::Char('c') if control => return vec![Effect::Quit],
            KeyCode::Char('u') if control => prompt.text.clear(),
            KeyCode::Char(c) if !control && prompt.text.chars().count() < 60 => prompt.text.push(c),
            KeyCode::Backspace => {
                prompt.text.pop();
            }
            KeyCode::Esc => {
                if let Asks::Filter(_) = prompt.asks {
                    prompt.text.clear();
                    self.apply_filter();
                }
                self.prompt = None;
                return Vec::new();
            }
            KeyCode::Enter => {
                let prompt = self.prompt.take();
                return match prompt {
                    Some(Prompt { asks: Asks::Goto, text }) => self.go_to(&text),
                    Some(Prompt { asks: Asks::Yes, text }) => vec![Effect::Answer(text)],
                    Some(Prompt { asks: Asks::Kill, text }) if text.trim() == KILL_WORD => {
                        vec![Effect::CloseKillSwitch]
                    }
                    Some(Prompt { asks: Asks::Kill, .. }) => {
                        self.note =
                            Some(format!("nothing was done: the kill switch is closed by the word {KILL_WORD}"));
                        Vec::new()
                    }
                    Some(Prompt { asks: Asks::Filter(_), .. }) | None => Vec::new(),
                };
            }
            _ => {}
        }
        self.apply_filter();
        Vec::new()
    }

    fn ask(&mut self, asks: Asks, begin: &str) {
        self.prompt = Some(Prompt { asks, text: begin.to_owned() });
    }

    fn apply_filter(&mut self) {
        if let Some(Prompt { asks: Asks::Filter(pane), text }) = &self.prompt {
            let (pane, filter) = (*pane, text.to_lowercase());
            if let Some(list) = self.list_mut(pane) {
                list.filter = filter;
            }
        }
    }

    fn write_csv(&mut self) -> Vec<Effect> {
        let Some(table) = self.table(self.focus) else {
            self.note = Some("nothing has been seen yet".to_owned());
            return Vec::new();
        };
        vec![Effect::Write { name: self.file_name(&self.focus.name().to_lowercase(), "csv"), contents: table.csv() }]
    }

    fn file_name(&self, what: &str, kind: &str) -> String {
        let second = self.clock().floor_to(Duration::from_secs(1));
        let clock: String = second.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '-' };
        let scenario: String = self.scene.scenario.chars().map(plain).collect();
        format!("forebay-{scenario}-{what}-{clock}.{kind}")
    }

    /// Where in simulated time the run stands.
    pub(crate) fn clock(&self) -> Timestamp {
        self.snapshot.as_ref().map_or(self.scene.start, |snapshot| snapshot.clock)
    }

    pub(crate) fn sides(&self) -> &[Side] {
        self.snapshot.as_ref().map_or(&[], |snapshot| &snapshot.sides)
    }

    /// What a person should hear of, the oldest first.
    pub(crate) fn alerts(&self) -> &[Alert] {
        match (&self.standing, &self.snapshot) {
            (Some(standing), _) => &standing.alerts,
            (None, Some(snapshot)) => &snapshot.alerts,
            (None, None) => &[],
        }
    }

    pub(crate) fn comparing(&self) -> bool {
        self.sides().len() > 1
    }

    /// The cell of the selected region and class.
    pub(crate) fn cell(&self) -> usize {
        self.scene.topology.cell(self.region, self.class)
    }

    pub(crate) fn layout(&self) -> Option<Layout> {
        let wanted = Wanted {
            focus: self.focus,
            latest: &self.latest,
            zoomed: self.zoomed,
            comparing: self.comparing(),
            is_operated: self.scene.is_operated,
        };
        Layout::of(Rect::new(0, 0, self.size.0, self.size.1), wanted)
    }

    /// The table that a pane shows, filtered and sorted; `None` before the first tick.
    pub(crate) fn table(&self, pane: Pane) -> Option<Table> {
        let table = tables::of_pane(self, pane)?;
        Some(match self.list(pane) {
            Some(state) => table.arrange(state),
            None => table,
        })
    }

    /// The list that a pane keeps its reader's place in, if it is a list.
    pub(crate) fn list(&self, pane: Pane) -> Option<&ListState> {
        match pane {
            Pane::Fleet => Some(match self.level {
                Level::Regions => &self.regions,
                Level::Hosts => &self.hosts,
                Level::Machines(_) => &self.machines,
            }),
            Pane::Slices => Some(&self.slices),
            Pane::Alerts => Some(&self.alerts),
            Pane::Orders => Some(&self.orders),
            Pane::Map if self.map_is_table() => Some(&self.places),
            Pane::Map | Pane::Demand | Pane::Score => None,
        }
    }

    pub(crate) fn list_mut(&mut self, pane: Pane) -> Option<&mut ListState> {
        match pane {
            Pane::Fleet => Some(match self.level {
                Level::Regions => &mut self.regions,
                Level::Hosts => &mut self.hosts,
                Level::Machines(_) => &mut self.machines,
            }),
            Pane::Slices => Some(&mut self.slices),
            Pane::Alerts => Some(&mut self.alerts),
            Pane::Orders => Some(&mut self.orders),
            Pane::Map if self.map_is_table() => Some(&mut self.places),
            Pane::Map | Pane::Demand | Pane::Score => None,
        }
    }

    /// Whether there is too little room for a map.
    pub(crate) fn map_is_table(&self) -> bool {
        let layout = self.layout();
        let place = layout.as_ref().and_then(|layout| layout.place(Pane::Map));
        place.is_some_and(|place| !map::is_drawn(place.content()))
    }

    /// Rows of a list that can be seen at once: what its pane has beside heading and column names.
    pub(crate) fn rows_shown(&self, pane: Pane) -> usize {
        let layout = self.layout();
        let place = layout.as_ref().and_then(|layout| layout.place(pane));
        place.map_or(1, |place| usize::from(place.content().height.saturating_sub(1)).max(1))
    }
}
