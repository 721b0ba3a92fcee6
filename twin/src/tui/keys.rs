//! The one key table: what the keyboard does, what the footer offers, what `?` and the manual page tell.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::snapshot::Scene;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Play, or pause.
    Pause,
    /// One event further.
    StepEvent,
    /// One tick further.
    StepTick,
    /// Ten times as fast.
    Faster,
    /// A tenth as fast.
    Slower,
    /// One minute back.
    BackMinute,
    /// One minute on.
    OnMinute,
    /// One hour back.
    BackHour,
    /// One hour on.
    OnHour,
    /// Ask for a moment to go to.
    Goto,
    /// The next part of the screen.
    NextPane,
    /// The previous one.
    PreviousPane,
    /// Up in a list or map.
    Up,
    /// Down in a list or map.
    Down,
    /// Left on the map; the previous class of a chart.
    Left,
    /// Right on the map; the next class of a chart.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// The first of a list.
    First,
    /// The last of a list.
    Last,
    /// Into a region or host; to the moment of an alert.
    Enter,
    /// Out again.
    Leave,
    /// To the map.
    Map,
    /// To the alerts.
    Alerts,
    /// Explain the decision for the selected region and class.
    Explain,
    /// Compare with another policy, or end the comparison.
    Compare,
    /// The focused part on the full screen, or back.
    Zoom,
    /// Show only rows that contain a text.
    Filter,
    /// Sort by the next column.
    Sort,
    /// More time on the chart.
    Longer,
    /// Less time on the chart.
    Shorter,
    /// Curves higher.
    Taller,
    /// Curves lower.
    Flatter,
    /// The chart as at first.
    ResetAxes,
    /// The focused table as a CSV file.
    WriteCsv,
    /// The screen as a text file.
    Screenshot,
    /// This table.
    Help,
    /// Leave the program.
    Quit,
    /// Stop, and come back by `fg`.
    Suspend,
    /// Say yes to what is proposed.
    Yes,
    /// Close the kill switch.
    Kill,
}

/// Under which heading a key stands in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Playing the run.
    Time,
    /// Moving about.
    Moving,
    /// Looking closer.
    Views,
    /// The chart's axes.
    Chart,
    /// Files and the program.
    Program,
    /// Production that is acted on.
    Operation,
}

impl Group {
    /// All, in the order of the help.
    pub const ALL: [Group; 6] =
        [Group::Time, Group::Moving, Group::Views, Group::Chart, Group::Program, Group::Operation];

    /// Its heading.
    pub fn name(self) -> &'static str {
        match self {
            Group::Time => "Time",
            Group::Moving => "Moving",
            Group::Views => "Views",
            Group::Chart => "Chart",
            Group::Program => "Program",
            Group::Operation => "Production",
        }
    }
}

/// A key with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

impl Chord {
    /// As people call it; arrows in words when `ascii`.
    pub fn label(&self, ascii: bool) -> String {
        let key = match self.code {
            KeyCode::Char(' ') => "space".to_owned(),
            KeyCode::Char(c) if self.modifiers.contains(KeyModifiers::CONTROL) => c.to_ascii_uppercase().to_string(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::Up => if ascii { "Up" } else { "↑" }.to_owned(),
            KeyCode::Down => if ascii { "Down" } else { "↓" }.to_owned(),
            KeyCode::Left => if ascii { "Left" } else { "←" }.to_owned(),
            KeyCode::Right => if ascii { "Right" } else { "→" }.to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::BackTab => "Shift-Tab".to_owned(),
            other => format!("{other:?}"),
        };
        match self.modifiers {
            KeyModifiers::CONTROL => format!("Ctrl-{key}"),
            KeyModifiers::SHIFT => format!("Shift-{key}"),
            _ => key,
        }
    }

    fn matches(&self, event: &KeyEvent) -> bool {
        let relevant = match self.code {
            // Whether Shift is reported with a character or Shift-Tab depends on the terminal.
            KeyCode::Char(_) | KeyCode::BackTab => KeyModifiers::CONTROL | KeyModifiers::ALT,
            _ => KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT,
        };
        self.code == event.code && event.modifiers & relevant == self.modifiers & relevant
    }
}

/// One line of the key table.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Keys, the usual one first.
    pub chords: &'static [Chord],
    /// What they ask for.
    pub action: Action,
    /// Where it stands in the help.
    pub group: Group,
    /// In one or two words, for the footer; empty when the footer does not offer it.
    pub short: &'static str,
    /// In a line.
    pub help: &'static str,
    /// Place in the footer, 0 first: what does not fit falls off at the end.
    pub footer: Option<u8>,
}

impl Binding {
    /// What the footer says of it in a scene.
    pub fn short(&self, scene: &Scene) -> &'static str {
        match self.action {
            Action::Quit if scene.is_operated => "stop",
            Action::Pause if scene.follows.is_some() => "hold view",
            _ => self.short,
        }
    }

    /// What the help says of it in a scene.
    pub fn help(&self, scene: &Scene) -> &'static str {
        match self.action {
            Action::Quit if scene.is_operated => "stop; machines stay as they are",
            Action::Pause if scene.follows.is_some() => "the screen stands still, or goes on; production goes on",
            _ => self.help,
        }
    }

    /// Its keys as people call them, separated by blanks.
    pub fn label(&self, ascii: bool) -> String {
        self.chords.iter().map(|chord| chord.label(ascii)).collect::<Vec<_>>().join(" ")
    }
}

const fn key(c: char) -> Chord {
    Chord { code: KeyCode::Char(c), modifiers: KeyModifiers::NONE }
}

const fn ctrl(c: char) -> Chord {
    Chord { code: KeyCode::Char(c), modifiers: KeyModifiers::CONTROL }
}

const fn named(code: KeyCode) -> Chord {
    Chord { code, modifiers: KeyModifiers::NONE }
}

const fn shift(code: KeyCode) -> Chord {
    Chord { code, modifiers: KeyModifiers::SHIFT }
}

const fn bind(chords: &'static [Chord], action: Action, group: Group, help: &'static str) -> Binding {
    Binding { chords, action, group, short: "", help, footer: None }
}

const fn offer(
    chords: &'static [Chord],
    action: Action,
    group: Group,
    help: &'static str,
    footer: u8,
    short: &'static str,
) -> Binding {
    Binding { chords, action, group, short, help, footer: Some(footer) }
}

/// Every key there is.
pub const KEYS: &[Binding] = &[
    offer(&[key(' ')], Action::Pause, Group::Time, "play, or pause", 0, "pause"),
    offer(&[key('.')], Action::StepEvent, Group::Time, "one event further", 6, "event"),
    offer(&[key('n')], Action::StepTick, Group::Time, "one tick further", 3, "tick"),
    offer(&[key('+')], Action::Faster, Group::Time, "ten times as fast, up to as fast as it goes", 4, "faster"),
    offer(&[key('-')], Action::Slower, Group::Time, "a tenth as fast, down to real time", 5, "slower"),
    offer(&[key('[')], Action::BackMinute, Group::Time, "one minute back", 9, "-1 min"),
    offer(&[key(']')], Action::OnMinute, Group::Time, "one minute on", 10, "+1 min"),
    offer(&[key('{')], Action::BackHour, Group::Time, "one hour back", 15, "-1 h"),
    offer(&[key('}')], Action::OnHour, Group::Time, "one hour on", 16, "+1 h"),
    offer(&[key('g')], Action::Goto, Group::Time, "go to a time: 18:30, 2026-06-14T18:30 or +2 h", 12, "go to"),
    offer(&[named(KeyCode::Tab)], Action::NextPane, Group::Moving, "next part of the screen", 7, "next"),
    bind(&[named(KeyCode::BackTab)], Action::PreviousPane, Group::Moving, "previous part of the screen"),
    bind(&[named(KeyCode::Up), key('k')], Action::Up, Group::Moving, "up in a list, north on the map"),
    bind(&[named(KeyCode::Down), key('j')], Action::Down, Group::Moving, "down in a list, south on the map"),
    bind(&[named(KeyCode::Left), key('h')], Action::Left, Group::Moving, "west on the map, previous class"),
    bind(&[named(KeyCode::Right), key('l')], Action::Right, Group::Moving, "east on the map, next class"),
    bind(&[named(KeyCode::PageUp)], Action::PageUp, Group::Moving, "a page up"),
    bind(&[named(KeyCode::PageDown)], Action::PageDown, Group::Moving, "a page down"),
    bind(&[named(KeyCode::Home)], Action::First, Group::Moving, "first of a list"),
    bind(&[named(KeyCode::End)], Action::Last, Group::Moving, "last of a list"),
    bind(&[named(KeyCode::Enter)], Action::Enter, Group::Moving, "into a region or host, to an alert's moment"),
    bind(&[named(KeyCode::Esc)], Action::Leave, Group::Moving, "out again"),
    offer(&[key('m')], Action::Map, Group::Views, "to the map", 17, "map"),
    offer(&[key('a')], Action::Alerts, Group::Views, "to the alerts", 14, "alerts"),
    offer(&[key('x')], Action::Explain, Group::Views, "explain the decision for a region and class", 8, "explain"),
    offer(&[key('c')], Action::Compare, Group::Views, "another policy on the same seed, side by side", 11, "compare"),
    offer(&[key('z')], Action::Zoom, Group::Views, "one part on the full screen, or back", 13, "zoom"),
    bind(&[key('/')], Action::Filter, Group::Views, "only rows that contain a text"),
    bind(&[key('s')], Action::Sort, Group::Views, "sort by the next column"),
    bind(&[shift(KeyCode::Left)], Action::Longer, Group::Chart, "more time"),
    bind(&[shift(KeyCode::Right)], Action::Shorter, Group::Chart, "less time"),
    bind(&[shift(KeyCode::Up)], Action::Taller, Group::Chart, "curves higher"),
    bind(&[shift(KeyCode::Down)], Action::Flatter, Group::Chart, "curves lower"),
    bind(&[key('=')], Action::ResetAxes, Group::Chart, "axes as at first"),
    bind(&[key('w')], Action::WriteCsv, Group::Program, "write the focused table as CSV"),
    bind(&[key('S')], Action::Screenshot, Group::Program, "write the screen as text"),
    offer(&[key('?')], Action::Help, Group::Program, "this table", 2, "help"),
    offer(&[key('q'), ctrl('c')], Action::Quit, Group::Program, "leave", 1, "quit"),
    bind(&[ctrl('z')], Action::Suspend, Group::Program, "suspend, come back by fg"),
    offer(&[key('y')], Action::Yes, Group::Operation, "yes to what is proposed: yes vm-7, yes all", 18, "yes …"),
    offer(&[key('K')], Action::Kill, Group::Operation, "close the kill switch: asks for a word", 19, "kill switch"),
];

/// Whether a key means anything in a scene: what is made elsewhere goes at its own pace, and only production is operated.
pub fn applies(action: Action, scene: &Scene) -> bool {
    match action {
        Action::Faster | Action::Slower | Action::StepEvent | Action::Compare => scene.follows.is_none(),
        Action::Yes | Action::Kill => scene.is_operated,
        // Who is stopped renews no lease.
        Action::Suspend => !scene.is_operated,
        _ => true,
    }
}

/// The bindings that mean anything in a scene.
pub fn of(scene: &Scene) -> impl Iterator<Item = &'static Binding> {
    KEYS.iter().filter(|binding| applies(binding.action, scene))
}

/// What a key asks for, if anything.
pub fn action_of(event: &KeyEvent) -> Option<Action> {
    KEYS.iter().find(|binding| binding.chords.iter().any(|chord| chord.matches(event))).map(|binding| binding.action)
}

/// The bindings that the footer offers in a scene, the most wanted first.
pub fn footer(scene: &Scene) -> Vec<&'static Binding> {
    let mut offered: Vec<&Binding> = of(scene).filter(|binding| binding.footer.is_some()).collect();
    // Where production is operated, that comes before looking about.
    let rank = |binding: &Binding| match binding.action {
        _ if !scene.is_operated => 0,
        Action::Yes | Action::Kill => 0,
        Action::Quit | Action::Help => 1,
        _ => 2,
    };
    offered.sort_by_key(|binding| (rank(binding), binding.footer));
    offered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things() {
        let chords: Vec<&Chord> = KEYS.iter().flat_map(|binding| binding.chords).collect();
        for (position, chord) in chords.iter().enumerate() {
            let event = KeyEvent::new(chord.code, chord.modifiers);
            let matching = chords.iter().filter(|other| other.matches(&event)).count();
            assert_eq!(matching, 1, "{position}: {chord:?}");
        }
    }

    #[test]
    fn no_action_stands_twice_and_no_place_in_the_footer() {
        for (position, binding) in KEYS.iter().enumerate() {
            for other in &KEYS[position + 1..] {
                assert_ne!(binding.action, other.action);
                assert!(binding.footer.is_none() || binding.footer != other.footer, "{binding:?}");
            }
        }
    }

    #[test]
    fn a_shifted_character_is_found_whether_or_not_shift_is_told() {
        for modifiers in [KeyModifiers::NONE, KeyModifiers::SHIFT] {
            assert_eq!(action_of(&KeyEvent::new(KeyCode::Char('?'), modifiers)), Some(Action::Help));
            assert_eq!(action_of(&KeyEvent::new(KeyCode::BackTab, modifiers)), Some(Action::PreviousPane));
        }
        assert_eq!(action_of(&KeyEvent::new(KeyCode::Up, KeyModifiers::SHIFT)), Some(Action::Taller));
        assert_eq!(action_of(&KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Action::Quit));
    }
}
