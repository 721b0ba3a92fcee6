//! Stand-in until forecasts are here.
/// Names.
pub const NAMES: &[&str] = &["profile"];
