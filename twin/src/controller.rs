//! Stand-in until the controller is here.
mod config;
pub use config::*;
