//! A simulated content delivery network: one possible world for Forebay's controller.
//!
//! A discrete-event engine (the agenda and the random streams know nothing of networks) under a model of regions,
//! hosts, virtual machines, links, slices, resolvers and sessions. A run is a function of its [`Setup`].

pub mod content;
pub mod dns;
pub mod faults;
pub mod load;
mod octaves;
pub mod score;
pub mod setup;
pub mod stream;

pub use score::{LatencyMs, Score};
pub use setup::Setup;
pub use stream::Stream;
