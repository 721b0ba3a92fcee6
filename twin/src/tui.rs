//! The terminal UI: a view of the same ticks that a headless run writes down.
//!
//! Two threads. One plays an [`Engine`] and has no notion of a screen; the other has no notion of the run. Commands go
//! one way; the other way there is room for one snapshot, the latest, made only when the last one has been drawn. So
//! the engine never waits for a terminal, however slow.
//!
//! ```text
//!   Engine ─▶ Player ──latest Snapshot──▶ App::update ─▶ render ─▶ terminal
//!               ▲                             │
//!               └─────────── Command ─────────┘
//!                           Desk ─▶ App ─▶ Desk        where production is acted on
//! ```
//!
//! [`App::update`] and [`render`](render::render) are pure. The clock that paces a run is given by the caller.

pub mod alert;
pub mod app;
pub mod desk;
pub mod engine;
mod figures;
pub mod follow;
pub mod history;
pub mod keys;
pub mod layout;
pub mod look;
pub mod player;
pub mod render;
pub mod scripted;
mod session;
pub mod snapshot;
mod table;
mod tables;
mod terminal;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration as Wall;

pub use app::{App, Effect, Msg};
pub use desk::{Desk, Standing};
pub use engine::Engine;
pub use follow::{Feed, Follower};
pub use look::{Look, Theme};
pub use player::{MakeEngine, Player};
pub use snapshot::{Command, Scene, Snapshot, Speed};

/// How to show a run.
pub struct TuiOptions {
    /// What stands still.
    pub scene: Scene,
    /// Policy of the run.
    pub policy: String,
    /// How fast to begin.
    pub speed: Speed,
    /// Wait for the space bar before the first tick.
    pub paused: bool,
    /// Theme, and what the terminal cannot do.
    pub look: Look,
    /// Folder for tables and screens that the reader asks for.
    pub out: PathBuf,
    /// Time since any fixed moment, never running backwards: what a run is paced by.
    pub wall: fn() -> Wall,
    /// Leave when it becomes true: set by whoever handles signals.
    pub stop: Arc<AtomicBool>,
    /// Where production is acted on: what stands, and who takes what is typed.
    pub desk: Option<Box<dyn Desk>>,
}

/// Why the terminal UI had to end.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// There is no such policy, or it cannot run here.
    #[error("{0}")]
    Policy(String),
    /// The terminal cannot be read or written.
    #[error("the terminal cannot be used")]
    Terminal(#[source] std::io::Error),
    /// The thread that plays the run cannot be started.
    #[error("no thread can be started")]
    Thread(#[source] std::io::Error),
    /// The thread that plays the run has panicked; its message has been printed.
    #[error("the run has failed")]
    Run,
}

/// Shows a run until its reader leaves, and gives the terminal back as it was, also after a panic.
///
/// `make_engine` makes a run of the scene from its begin under a policy, for the run itself and again for each
/// comparison; it says why when it cannot.
///
/// # Errors
/// When the terminal cannot be used, or the run cannot be made or fails.
pub fn run(
    options: TuiOptions,
    make_engine: impl FnMut(&str) -> Result<Box<dyn Engine>, String> + Send + 'static,
) -> Result<(), TuiError> {
    terminal::run(options, Box::new(make_engine))
}
