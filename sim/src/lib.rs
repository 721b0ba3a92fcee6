//! A simulated content delivery network: one possible world for Forebay's controller.
//!
//! A discrete-event engine (the agenda and the random streams know nothing of networks) under a model of regions,
//! hosts, virtual machines, links, slices, resolvers and sessions. A run is a function of its [`Setup`].

pub mod agenda;
pub mod content;
pub mod dns;
#[cfg(test)]
mod example;
pub mod faults;
mod fleet;
mod fluid;
pub mod load;
pub mod network;
mod octaves;
pub mod processor;
pub mod queueing;
mod route;
pub mod score;
mod session;
pub mod setup;
pub mod station;
pub mod statistics;
pub mod stream;
pub mod world;

pub use agenda::{Agenda, AlarmId};
pub use score::{LatencyMs, Score};
pub use setup::Setup;
pub use stream::Stream;
pub use world::{CellTally, SimWorld, Stands};
