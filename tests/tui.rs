//! The terminal UI on a made-up run: what it shows, what it asks for, and that nothing upsets it.

use std::sync::Arc;
use std::time::Duration as Wall;

use forebay::tui::alert::{Alert, Severity};
use forebay::tui::layout::SMALLEST;
use forebay::tui::player::Rest;
use forebay::tui::render::render;
use forebay::tui::scripted::Scripted;
use forebay::tui::{App, Command, Effect, Look, MakeEngine, Msg, Player, Scene, Speed, Standing, Theme};
use forebay_world::{Duration, Timestamp};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::style::Color;

/// The UI and the player, joined without threads or terminal.
struct Reader {
    app: App,
    player: Player,
    terminal: Terminal<TestBackend>,
    effects: Vec<Effect>,
}

impl Reader {
    fn new(columns: u16, rows: u16, look: Look) -> Reader {
        Reader::of(|_| {}, columns, rows, look)
    }

    /// Production, as shadow mode shows it.
    fn watching(columns: u16, rows: u16, look: Look) -> Reader {
        let watched = |scene: &mut Scene| {
            (scene.follows, scene.policies) = (Some("SHADOW"), Vec::new());
        };
        Reader::of(watched, columns, rows, look)
    }

    /// Production, as live mode shows it.
    fn operating(columns: u16, rows: u16, look: Look) -> Reader {
        let operated = |scene: &mut Scene| {
            (scene.follows, scene.policies, scene.is_operated) = (Some("LIVE"), Vec::new(), true);
        };
        let mut reader = Reader::of(operated, columns, rows, look);
        reader.tell(Msg::Standing(Arc::new(standing())));
        reader
    }

    fn of(change: impl FnOnce(&mut Scene), columns: u16, rows: u16, look: Look) -> Reader {
        let (mut scene, _) = Scripted::demo("predictive", 7);
        change(&mut scene);
        let scene = Arc::new(scene);
        let make: MakeEngine = Box::new(|policy| Ok(Box::new(Scripted::demo(policy, 7).1)));
        let player = Player::new(Arc::clone(&scene), "predictive", make, Speed::Max, false).expect("policy exists");
        let terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a test backend cannot fail");
        let mut reader = Reader { app: App::new(scene, look, columns, rows), player, terminal, effects: Vec::new() };
        reader.settle();
        reader
    }

    /// Lets the player do what it was asked, and shows where it is.
    fn settle(&mut self) {
        while self.player.turn(Wall::ZERO) == Rest::None {}
        self.app.update(Msg::Snapshot(Arc::new(self.player.snapshot())));
    }

    fn tell(&mut self, message: Msg) {
        if let Msg::Resize(columns, rows) = message {
            self.terminal.backend_mut().resize(columns, rows);
        }
        let effects = self.app.update(message);
        for effect in &effects {
            if let Effect::Command(command) = effect {
                // The run would go to its end at once.
                if *command != Command::TogglePause {
                    self.player.apply(command.clone());
                }
            }
        }
        self.effects.extend(effects);
        self.settle();
    }

    fn press(&mut self, keys: &str) -> &mut Self {
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                '↓' => KeyCode::Down,
                '→' => KeyCode::Right,
                c => KeyCode::Char(c),
            };
            self.tell(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
        self
    }

    fn click(&mut self, column: u16, row: u16) {
        let kind = MouseEventKind::Down(MouseButton::Left);
        self.tell(Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
    }

    fn screen(&mut self) -> Buffer {
        let app = &self.app;
        self.terminal.draw(|frame| render(app, frame)).expect("a test backend cannot fail").buffer.clone()
    }

    fn text(&mut self) -> String {
        let screen = self.screen();
        let row = |y: u16| (0..screen.area.width).map(|x| screen[(x, y)].symbol()).collect::<String>();
        (0..screen.area.height).map(|y| row(y).trim_end().to_owned() + "\n").collect()
    }
}

/// What stands of production on a busy evening.
fn standing() -> Standing {
    let at: Timestamp = "2026-06-14T18:30:04Z".parse().expect("a time");
    let alert = |number: u64, seconds: u64, severity, text: &str| Alert {
        number,
        at: at.saturating_sub(Duration::from_secs(seconds)),
        severity,
        region: None,
        class: None,
        text: text.to_owned(),
    };
    Standing {
        at,
        closed: None,
        halted: None,
        lease: (3, "process 4711 on ctl-1".to_owned(), 8.4),
        budget: (41.5, Some(60.0)),
        over: (1204, 3, 2),
        proposals: vec![
            ("vm-71".to_owned(), "launch in lon/video: p95 of 4210 sessions in 2 to 4 min".to_owned()),
            ("vm-12".to_owned(), "drain in nyc/download: 12 machines for 40 sessions".to_owned()),
        ],
        out: vec![("lon-002".to_owned(), "create vm-70".to_owned(), at.saturating_sub(Duration::from_secs(12)))],
        held: vec![("vm-9".to_owned(), "clients may still be on their way".to_owned())],
        breakers: vec![("fra-001".to_owned(), 5, at + Duration::from_secs(40), true)],
        alerts: Arc::new(vec![
            alert(0, 300, Severity::Warning, "link of fra is not seen: connection refused"),
            alert(1, 200, Severity::Clear, "link of fra is seen again"),
            alert(2, 20, Severity::Notice, "would launch vm-71 in lon/video; type: yes vm-71"),
        ]),
    }
}

const SIZES: [(u16, u16); 4] = [(160, 50), (120, 40), (80, 24), (40, 12)];

/// Half past six: the crowd is there, a host and a telemetry gap are behind.
const CROWD: &str = "g18:30\n";

fn plain() -> Look {
    Look { ascii: true, color: false, ..Look::default() }
}

#[test]
fn the_whole_screen_at_every_size() {
    for (columns, rows) in SIZES {
        let mut reader = Reader::new(columns, rows, Look::default());
        insta::assert_snapshot!(format!("screen-{columns}x{rows}"), reader.press(CROWD).text());
    }
}

#[test]
fn the_whole_screen_in_ascii() {
    for (columns, rows) in SIZES {
        let mut reader = Reader::new(columns, rows, plain());
        insta::assert_snapshot!(format!("ascii-{columns}x{rows}"), reader.press(CROWD).text());
    }
}

#[test]
fn two_policies_side_by_side() {
    for (columns, rows) in SIZES {
        let mut reader = Reader::new(columns, rows, Look::default());
        insta::assert_snapshot!(format!("compare-{columns}x{rows}"), reader.press(CROWD).press("c\n").text());
    }
}

#[test]
fn a_region_opened_to_its_machines() {
    let mut reader = Reader::new(80, 24, Look::default());
    reader.press(CROWD).press("m→\n↓\n");
    insta::assert_snapshot!("drill-down", reader.text());
}

#[test]
fn a_decision_explained() {
    let mut reader = Reader::new(80, 24, Look::default());
    reader.press("g18:06\n\t↓↓↓x");
    insta::assert_snapshot!("explain", reader.text());
}

#[test]
fn the_help_holds_the_whole_key_table() {
    let mut reader = Reader::new(160, 50, Look::default());
    let text = reader.press("?").text();
    let (scene, _) = Scripted::demo("predictive", 7);
    assert!(forebay::tui::keys::of(&scene).count() > 30);
    for binding in forebay::tui::keys::of(&scene) {
        assert!(text.contains(binding.help) && text.contains(&binding.label(false)), "{}", binding.help);
    }
    insta::assert_snapshot!("help", text);
}

#[test]
fn a_terminal_that_is_too_small_is_told_so() {
    for (columns, rows) in [(39, 12), (40, 11), (1, 1), (200, 3)] {
        let text = Reader::new(columns, rows, Look::default()).text();
        let first: String = "needs 40×12".chars().take(usize::from(columns)).collect();
        assert!(text.contains(&first), "{columns}x{rows}: {text}");
    }
    assert!(Reader::new(SMALLEST.0, SMALLEST.1, Look::default()).text().contains("PAUSED"));
}

/// Every view there is, by the keys that lead there.
const VIEWS: [&str; 12] = ["", "?", "x", "c", "c\n", "a", "m\n", "m\n\n", "\t\tz", "\t\t\t\tz", "/lo", "a/host\ns"];

#[test]
fn ascii_means_ascii_in_every_view() {
    for (columns, rows) in SIZES {
        for view in VIEWS {
            let text = Reader::new(columns, rows, plain()).press(CROWD).press(view).text();
            let odd = text.chars().find(|c| !c.is_ascii());
            assert_eq!(odd, None, "{columns}x{rows} {view:?}\n{text}");
        }
    }
}

#[test]
fn without_colours_there_are_none_in_any_view() {
    for view in VIEWS {
        let look = Look { color: false, ..Look::default() };
        let screen = Reader::new(120, 40, look).press(CROWD).press(view).screen();
        assert!(screen.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset), "{view:?}");
    }
}

#[test]
fn every_theme_draws_the_same_text() {
    let text = |theme| Reader::new(120, 40, Look { theme, ..Look::default() }).press(CROWD).text();
    for (name, theme) in Theme::NAMES {
        assert_eq!(text(theme), text(Theme::Safe), "{name}");
    }
}

#[test]
fn back_and_forth_shows_the_same_screen() {
    for (columns, rows) in SIZES {
        let mut reader = Reader::new(columns, rows, Look::default());
        let first = reader.press(CROWD).screen();
        // Stepping inside a window, going back and coming again must leave no trace.
        let back = reader.press("[[[[[.{n..").press("g16:03\n").screen();
        assert_ne!(back, first);
        let again = reader.press(CROWD).screen();
        assert_eq!(again, first, "{columns}x{rows}");
    }
}

#[test]
fn what_came_later_is_known_after_going_back() {
    let mut reader = Reader::new(160, 50, Look::default());
    let text = reader.press(CROWD).press("{").text();
    assert!(text.contains("1 h back"), "{text}");
    assert!(text.contains("flash crowd final begins"), "alerts of the future can be visited:\n{text}");
}

#[test]
fn an_alert_leads_to_its_moment_region_and_class() {
    let mut reader = Reader::new(160, 50, Look::default());
    reader.press(CROWD).press("a/misses\n\n");
    let at: Timestamp = "2026-06-14T17:36:00Z".parse().expect("a time");
    assert_eq!(reader.effects.last(), Some(&Effect::Command(Command::Visit(at))));
    let text = reader.text();
    assert!(text.contains("17:36:00 UTC") && text.contains("Demand  fra interactive"), "{text}");
}

#[test]
fn keys_ask_the_player() {
    let mut reader = Reader::new(80, 24, Look::default());
    reader.press(CROWD);
    let clock: Timestamp = "2026-06-14T18:30:00Z".parse().expect("a time");
    for (key, command) in [
        (" ", Command::TogglePause),
        ("-", Command::SetSpeed(Speed::Times(100_000))),
        ("]", Command::Seek(clock + Duration::from_mins(1))),
        ("[", Command::Seek(clock)),
        ("}", Command::Seek(clock + Duration::from_hours(1))),
        ("{", Command::Seek(clock)),
        (".", Command::StepEvent),
        ("n", Command::StepTick),
        ("g-90 s\n", Command::Seek(clock.saturating_sub(Duration::from_secs(30)))),
    ] {
        reader.press(key);
        assert_eq!(reader.effects.last(), Some(&Effect::Command(command)), "{key:?}");
    }
    reader.press("gsoon\n");
    assert!(reader.text().contains("\"soon\" is not a time"));
}

#[test]
fn the_mouse_selects_seeks_and_presses_keys() {
    let mut reader = Reader::new(160, 50, Look::default());
    let text = reader.press(CROWD).text();
    let find = |text: &str, what: &str| {
        let (row, line) = text.lines().enumerate().find(|(_, line)| line.contains(what)).expect("is on the screen");
        let column = line[..line.find(what).expect("is in the line")].chars().count();
        (column as u16, row as u16)
    };
    let (column, row) = find(&text, "jnb 63%");
    reader.click(column, row);
    assert!(reader.text().contains("Demand  jnb video"));
    let (column, row) = find(&text, "syd 69%");
    reader.click(column, row);
    assert!(reader.text().contains("Demand  syd video"));
    reader.click(80, 1);
    assert!(matches!(reader.effects.last(), Some(Effect::Command(Command::Seek(_)))));
    let (column, row) = find(&text, "? help");
    reader.click(column, row);
    assert!(reader.text().contains("suspend, come back by fg"));
    reader.click(5, 5);
    assert!(!reader.text().contains("suspend, come back by fg"));
}

#[test]
fn a_table_is_written_as_it_is_filtered() {
    let mut reader = Reader::new(120, 40, Look::default());
    reader.press(CROWD).press("\t/fra\nw");
    let Some(Effect::Write { name, contents }) = reader.effects.last() else { panic!("{:?}", reader.effects) };
    assert_eq!(name, "forebay-demo-evening-fleet-20260614T183000Z.csv");
    let lines: Vec<&str> = contents.lines().collect();
    assert_eq!(lines[0], "region,util,ready,sessions,link,missed,coming,drain");
    assert!(lines.len() == 2 && lines[1].contains("fra,"), "{contents}");
}

#[test]
fn production_that_is_acted_on_at_every_size() {
    for (columns, rows) in SIZES {
        let mut reader = Reader::operating(columns, rows, Look::default());
        insta::assert_snapshot!(format!("live-{columns}x{rows}"), reader.press(CROWD).text());
    }
}

#[test]
fn its_orders_on_the_whole_screen() {
    let mut reader = Reader::operating(120, 40, plain());
    insta::assert_snapshot!("live-orders", reader.press(CROWD).press("\t\t\t\n").text());
}

#[test]
fn a_kill_switch_is_closed_by_a_word_and_by_nothing_less() {
    let mut reader = Reader::operating(80, 24, Look::default());
    for keys in ["K", "\u{1b}", "KK\n", "K\n", "Kkil\n", "kill\n", "K kill it\n", "K\u{1b}kill\n"] {
        reader.press(keys);
        assert!(!reader.effects.contains(&Effect::CloseKillSwitch), "{keys:?}");
    }
    reader.press("\u{1b}K");
    assert!(reader.text().contains("type kill to let nothing be written any more"), "{}", reader.text());
    reader.press("kill\n");
    assert_eq!(reader.effects.iter().filter(|effect| **effect == Effect::CloseKillSwitch).count(), 1);
    for (columns, rows) in SIZES {
        let mut reader = Reader::operating(columns, rows, Look::default());
        let closed = Standing { closed: Some("kill switch closed by a signal".to_owned()), ..standing() };
        reader.press(CROWD).tell(Msg::Standing(Arc::new(closed)));
        assert!(reader.text().contains("LIVE: KILL SWITCH CLOSED"), "{}", reader.text());
    }
}

#[test]
fn a_yes_is_typed_in_full_and_handed_on_as_it_stands() {
    let mut reader = Reader::operating(80, 24, Look::default());
    for (keys, line) in [("yes vm-71\n", "yes vm-71"), ("yes all\n", "yes all"), ("y\n", "y"), ("yup\n", "yup")] {
        reader.press(keys);
        assert_eq!(reader.effects.last(), Some(&Effect::Answer(line.to_owned())), "{keys:?}");
    }
    reader.tell(Msg::Key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL)));
    assert!(!reader.effects.contains(&Effect::Suspend), "who is stopped renews no lease");
    let before = reader.effects.len();
    reader.press("yes all\u{1b}");
    assert_eq!(reader.effects.len(), before, "what was not ended is not said");
    assert!(reader.text().contains("2 wait for a yes"), "{}", reader.text());
}

#[test]
fn what_is_followed_goes_at_its_own_pace_and_what_is_watched_is_not_operated() {
    for (operated, mut reader) in
        [(true, Reader::operating(160, 50, Look::default())), (false, Reader::watching(160, 50, Look::default()))]
    {
        let text = reader.press(CROWD).text();
        let footer = text.lines().last().expect("a footer").to_owned();
        for word in ["faster", "slower", "event", "compare", "explain"] {
            assert_eq!(footer.contains(word), word == "explain", "{word}: {footer}");
        }
        assert_eq!(footer.contains("K kill switch") && footer.contains("q stop"), operated, "{footer}");
        let before = reader.effects.len();
        let shown = reader.press("+-.c").text();
        assert!(reader.effects[before..].is_empty() && shown == text, "{:?}", &reader.effects[before..]);
        if !operated {
            reader.press("Kkill\nyes all\n");
            assert!(!reader.effects.contains(&Effect::CloseKillSwitch));
            assert!(!reader.effects.iter().any(|effect| matches!(effect, Effect::Answer(_))));
        }
        let help = reader.press("?").text();
        assert_eq!(help.contains("close the kill switch"), operated);
        assert!(!help.contains("ten times as fast"), "{help}");
    }
}

#[test]
fn that_production_goes_on_is_said_while_the_screen_stands() {
    let mut reader = Reader::operating(80, 24, Look::default());
    let text = reader.press(CROWD).text();
    assert!(text.starts_with(" LIVE, screen stands "), "{text}");
    assert!(!text.contains("PAUSED") && !text.contains("missed"), "{text}");
    let mut reader = Reader::operating(40, 12, plain());
    assert!(reader.press(CROWD).press("\t\t\t").text().is_ascii());
}

fn any_message() -> impl Strategy<Value = Msg> {
    let code = prop_oneof![
        8 => prop::char::range(' ', '~').prop_map(KeyCode::Char),
        1 => any::<char>().prop_map(KeyCode::Char),
        4 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::Left,
            KeyCode::Right, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End, KeyCode::Backspace,
            KeyCode::Delete, KeyCode::F(5), KeyCode::Null,
        ]),
    ];
    let modifiers =
        prop_oneof![4 => Just(KeyModifiers::NONE), 1 => Just(KeyModifiers::SHIFT), 1 => Just(KeyModifiers::CONTROL)];
    let kind = prop::sample::select(vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::Drag(MouseButton::Left),
        MouseEventKind::Down(MouseButton::Right),
        MouseEventKind::ScrollUp,
        MouseEventKind::ScrollDown,
        MouseEventKind::Moved,
    ]);
    prop_oneof![
        12 => (code, modifiers).prop_map(|(code, modifiers)| Msg::Key(KeyEvent::new(code, modifiers))),
        4 => (kind, 0u16..200, 0u16..60).prop_map(|(kind, column, row)| {
            Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
        }),
        1 => (1u16..200, 1u16..60).prop_map(|(columns, rows)| Msg::Resize(columns, rows)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_keys_clicks_or_sizes_upset_it(
        messages in prop::collection::vec(any_message(), 1..60),
        size in prop::sample::select(SIZES.to_vec()),
        ascii: bool,
        begin in prop::sample::select(vec!["", "n", CROWD]),
        operated: bool,
    ) {
        let look = Look { ascii, ..Look::default() };
        let mut reader =
            if operated { Reader::operating(size.0, size.1, look) } else { Reader::new(size.0, size.1, look) };
        reader.press(begin);
        for message in messages {
            reader.tell(message);
            reader.screen();
        }
        // Whatever was pressed, it can still be left, and knows its way.
        reader.tell(Msg::Resize(80, 24));
        reader.press("\u{1b}\u{1b}").press(CROWD);
        prop_assert!(reader.text().contains("18:30:00 UTC"), "{}", reader.text());
        reader.tell(Msg::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        prop_assert_eq!(reader.effects.last(), Some(&Effect::Quit));
    }
}
