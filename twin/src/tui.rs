//! tui
pub mod alert;
pub mod engine;
pub mod history;
pub mod player;
pub mod scripted;
mod session;
pub mod snapshot;
