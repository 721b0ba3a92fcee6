//! Forebay: capacity for content delivery networks, in place before the demand.
//!
//! One policy, four lives: tried in a simulated world, compared with others over many seeds, watched in shadow beside
//! production, and let loose on real switches and hypervisors, with not one line of it changed.

pub mod backtest;
pub mod cli;
pub mod controller;
pub mod decision;
pub mod demand;
pub mod deployment;
pub mod drive;
pub mod experiment;
pub mod forecast;
pub mod guard;
pub mod journal;
pub mod link;
pub mod live;
pub mod plan;
pub mod policy;
pub mod production;
pub mod report;
pub mod run;
pub mod scenario;
pub mod shadow;
pub mod slicing;
#[cfg(test)]
mod small_world;
pub mod steering;
pub mod tick;
pub mod tui;
pub mod watch;

pub use controller::{ConfigError, Controller, ControllerConfig};
pub use decision::{Bound, CellDecision, Decision, Fan};
pub use drive::drive;
pub use experiment::Experiment;
pub use journal::{Journal, JournalError, ReplayReport, replay};
pub use policy::{Foresight, Policy, PolicyError};
pub use production::Production;
pub use run::Run;
pub use scenario::Scenario;
pub use tick::Tick;
