//! The resource allocation plan: how many machines of which kind, and how much bandwidth, when and where.
//!
//! Here stands what sizes capacity for an uncertain demand, for policies that decide tick by tick ([`newsvendor`],
//! [`staffing`], [`schedule`]) as well as for plans that look a day ahead. Nothing here knows a world, a clock or a file.

pub mod newsvendor;
pub mod schedule;
pub mod staffing;
