//! Load: how many sessions begin in each client region × class, and when.
//!
//! A cell's load is a [`RateCurve`]; [`Arrivals`] turns it into sessions, one after the other. Both are functions of
//! the [`Setup`](crate::Setup) alone, so every policy meets the same sessions in the same order, with the same
//! lengths and the same luck (common random numbers). Who serves a session is not decided here.
//!
//! ```text
//!   week of hours × slow noise × crowds ─▶ RateCurve ─▶ Arrivals ─▶ world (session fidelity)
//!   recorded rates ───────────── × crowds ─▶    └─▶ Sweep::mean_to ─▶ world (fluid fidelity)
//!   recorded queries ─────────── × crowds ─────────▶ Arrivals
//! ```

mod alias;
mod arrivals;
mod crowd;
mod demand;
mod noise;
mod past;
mod rate;
mod segment;
mod shape;
#[cfg(test)]
mod tests;

pub use arrivals::{Arrival, Arrivals, Via};
pub use demand::{DemandPath, Filling, demand_path, fill};
pub use past::{PastRates, past_rates};
pub use rate::{RateCurve, Sweep};
