//! Forebay: capacity for content delivery networks, in place before the demand.
//!
//! One policy, four lives: tried in a simulated world, compared with others over many seeds, watched in shadow beside
//! production, and let loose on real switches and hypervisors, with not one line of it changed.

pub mod decision;
pub mod tick;
pub mod tui;

pub use decision::{Bound, CellDecision, Decision, Fan};
pub use tick::Tick;
