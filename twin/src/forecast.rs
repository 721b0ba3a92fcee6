//! What demand will be: models by name, what follows a series with them, and quantiles and paths of what comes.
//!
//! ```text
//!   set of series ─▶ trained ─▶ follower ◀─ one value a step
//!                                  └─▶ outlook: quantiles (calibrated) ─▶ paths
//! ```
//!
//! A [`model`] says what comes from a whole past; `online` recurrences follow in constant time and learn on the way;
//! [`trained`] makes either by name. None knows what a series means.

mod alone;
pub mod artefact;
pub mod calibrated;
mod calibration;
pub mod chance;
mod chronicle;
mod ensemble;
pub mod follower;
pub mod futures;
pub mod grid;
mod losses;
pub mod lstm;
pub mod model;
mod normal;
pub(crate) mod online;
pub mod paths;
pub mod quantiles;
pub mod trained;
pub mod windows;

pub use normal::normal_quantile;
