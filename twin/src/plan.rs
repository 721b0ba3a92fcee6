//! The resource allocation plan.

pub mod newsvendor;
