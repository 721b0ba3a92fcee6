//! The resource allocation plan: how many machines of which kind, and how much bandwidth, when and where.
//!
//! Here stands what sizes capacity for an uncertain demand, for policies that decide tick by tick ([`newsvendor`],
//! [`staffing`], [`schedule`]) as well as for plans that look a day ahead ([`planning`]). Nothing here knows a world, a
//! clock or a file.

pub mod allocation;
pub mod budget;
pub mod capacity;
pub mod market;
pub mod mix;
pub mod needs;
pub mod newsvendor;
pub mod packing;
pub mod planning;
pub mod region;
pub mod routes;
pub mod schedule;
pub mod spill;
pub mod staffing;

pub use allocation::AllocationPlan;
pub use market::Market;
