//! The two threads and the terminal: the only place here that reads keys, draws and writes files.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration as Wall;

use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event};
use ratatui::crossterm::execute;

use super::app::{App, Effect, Msg};
use super::desk::Desk;
use super::player::{MakeEngine, Player, Rest};
use super::render::render;
use super::snapshot::{Command, Snapshot};
use super::{TuiError, TuiOptions};

/// At most twenty frames a second, and as long for a signal to be noticed.
const FRAME: Wall = Wall::from_millis(50);

pub(super) fn run(options: TuiOptions, make_engine: MakeEngine) -> Result<(), TuiError> {
    let scene = Arc::new(options.scene);
    let player = Player::new(Arc::clone(&scene), &options.policy, make_engine, options.speed, !options.paused)
        .map_err(TuiError::Policy)?;
    let mut screen = Screen::open().map_err(TuiError::Terminal)?;
    let size = screen.terminal.size().map_err(TuiError::Terminal)?;
    let app = App::new(scene, options.look, size.width, size.height);
    let stage = Stage::start(player, options.wall).map_err(TuiError::Thread)?;
    let shown = show(app, &mut screen, &stage, options.desk, &options.stop, &options.out);
    drop(screen);
    stage.end()?;
    shown.map_err(TuiError::Terminal)
}

/// The thread that plays, seen from the thread that draws.
struct Stage {
    commands: Sender<Command>,
    latest: Arc<Latest>,
    thread: JoinHandle<()>,
}

/// Room for one snapshot: the latest.
#[derive(Default)]
struct Latest {
    snapshot: Mutex<Option<Snapshot>>,
    /// The last one has been taken: a next one is welcome.
    wanted: AtomicBool,
}

impl Latest {
    fn put(&self, snapshot: Snapshot) {
        self.wanted.store(false, Ordering::Release);
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }

    fn take(&self) -> Option<Snapshot> {
        let taken = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if taken.is_some() {
            self.wanted.store(true, Ordering::Release);
        }
        taken
    }
}

impl Stage {
    fn start(player: Player, wall: fn() -> Wall) -> io::Result<Stage> {
        let (commands, asked) = channel();
        let latest = Arc::new(Latest::default());
        let shared = Arc::clone(&latest);
        let thread =
            thread::Builder::new().name("run".to_owned()).spawn(move || play(player, wall, &asked, &shared))?;
        Ok(Stage { commands, latest, thread })
    }

    fn end(self) -> Result<(), TuiError> {
        drop(self.commands);
        self.thread.join().map_err(|_| TuiError::Run)
    }
}

/// Plays until nobody can ask for anything any more.
fn play(mut player: Player, wall: fn() -> Wall, asked: &Receiver<Command>, latest: &Latest) {
    latest.put(player.snapshot());
    loop {
        loop {
            match asked.try_recv() {
                Ok(command) => player.apply(command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let rest = player.turn(wall());
        if rest == Rest::UntilAsked || latest.wanted.load(Ordering::Acquire) {
            latest.put(player.snapshot());
        }
        let command = match rest {
            Rest::None => continue,
            Rest::For(rest) => asked.recv_timeout(rest),
            Rest::UntilAsked => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match command {
            Ok(command) => player.apply(command),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Draws and listens until the reader leaves.
fn show(
    mut app: App,
    screen: &mut Screen,
    stage: &Stage,
    mut desk: Option<Box<dyn Desk>>,
    stop: &AtomicBool,
    out: &Path,
) -> io::Result<()> {
    let mut changed = true;
    loop {
        if stop.load(Ordering::Relaxed) || stage.thread.is_finished() {
            return Ok(());
        }
        if let Some(snapshot) = stage.latest.take() {
            app.update(Msg::Snapshot(Arc::new(snapshot)));
            changed = true;
        }
        if let Some(standing) = desk.as_mut().and_then(|desk| desk.news()) {
            app.update(Msg::Standing(standing));
            changed = true;
        }
        if changed {
            screen.terminal.draw(|frame| render(&app, frame))?;
            changed = false;
        }
        // All that waits is taken in before the next frame; a key is answered at once.
        let mut patience = FRAME;
        while event::poll(patience)? {
            patience = Wall::ZERO;
            let message = match event::read()? {
                Event::Key(key) => Msg::Key(key),
                Event::Mouse(mouse) => Msg::Mouse(mouse),
                Event::Resize(columns, rows) => Msg::Resize(columns, rows),
                _ => continue,
            };
            changed = true;
            for effect in app.update(message) {
                match effect {
                    Effect::Quit => return Ok(()),
                    // The engine's end is noticed above.
                    Effect::Command(command) => drop(stage.commands.send(command)),
                    Effect::Write { name, contents } => {
                        app.update(Msg::Note(write(out, &name, &contents)));
                    }
                    Effect::Screenshot { name } => {
                        let frame = screen.terminal.draw(|frame| render(&app, frame))?;
                        let text = text_of(frame.buffer);
                        app.update(Msg::Note(write(out, &name, &text)));
                    }
                    Effect::Answer(line) => {
                        if let Some(desk) = &mut desk {
                            app.update(Msg::Note(desk.answer(&line)));
                        }
                    }
                    Effect::CloseKillSwitch => {
                        if let Some(desk) = &mut desk {
                            app.update(Msg::Note(desk.close_kill_switch()));
                        }
                    }
                    Effect::Suspend => {
                        screen.suspend()?;
                        let size = screen.terminal.size()?;
                        app.update(Msg::Resize(size.width, size.height));
                    }
                }
            }
        }
    }
}

fn write(folder: &Path, name: &str, contents: &str) -> String {
    let path = folder.join(name);
    match std::fs::write(&path, contents) {
        Ok(()) => format!("written: {}", path.display()),
        Err(error) => format!("{} cannot be written: {error}", path.display()),
    }
}

/// What a buffer shows, without its colours.
fn text_of(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in buffer.area.y..buffer.area.bottom() {
        let line: String = (buffer.area.x..buffer.area.right()).map(|x| buffer[(x, y)].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The terminal while it is ours. Given back when dropped, and by the panic hook before a panic is told.
struct Screen {
    terminal: DefaultTerminal,
    /// The panic hook has given it back: done again, that would write over what the panic said.
    given_back: Arc<AtomicBool>,
}

impl Screen {
    fn open() -> io::Result<Screen> {
        // Sets the panic hook that leaves the alternate screen and raw mode.
        let terminal = ratatui::try_init()?;
        let hook = std::panic::take_hook();
        let given_back = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&given_back);
        std::panic::set_hook(Box::new(move |panic| {
            noted.store(true, Ordering::Release);
            let _ = execute!(io::stdout(), DisableMouseCapture);
            hook(panic);
        }));
        let screen = Screen { terminal, given_back };
        execute!(io::stdout(), EnableMouseCapture)?;
        Ok(screen)
    }

    /// Gives the terminal back and stops this process, as Ctrl-Z does elsewhere, until it is continued.
    fn suspend(&mut self) -> io::Result<()> {
        give_back();
        signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP)?;
        self.terminal = ratatui::try_init()?;
        execute!(io::stdout(), EnableMouseCapture)?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if !self.given_back.load(Ordering::Acquire) {
            give_back();
        }
    }
}

fn give_back() {
    let _ = execute!(io::stdout(), DisableMouseCapture);
    // Not `restore`, which panics where stderr has gone with the terminal.
    let _ = ratatui::try_restore();
}
