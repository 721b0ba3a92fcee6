//! The table of configurations that both sides read.

use forebay_world::{BitsPerSecond, PlannedSlice};
use serde::Deserialize;

use crate::lab::Switch;

/// `slices.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) configuration: Vec<Configuration>,
}

/// Slices of one link and what they are loaded with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    pub(crate) name: String,
    pub(crate) slices: Vec<Slice>,
    /// Weights, which the queues of Open vSwitch do not know: a plain device alone.
    #[serde(default)]
    pub(crate) is_weighted: bool,
    /// Of the part that takes at most a minute.
    #[serde(default)]
    pub(crate) in_short: bool,
    /// What each slice gets \[% of the link\], reckoned by hand.
    pub(crate) expected: Option<Vec<f64>>,
    /// What is understood of the misses that it had.
    #[serde(default)]
    pub(crate) note: String,
}

/// A slice: rates in percent of the link.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slice {
    pub(crate) guarantee: f64,
    pub(crate) ceiling: f64,
    #[serde(default = "one")]
    pub(crate) weight: u32,
    #[serde(default)]
    pub(crate) priority: u8,
    pub(crate) load: Load,
}

fn one() -> u32 {
    1
}

/// What a slice's source sends.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Load {
    /// Nothing.
    Idle,
    /// Datagrams at a constant rate \[% of the link, frames\].
    Udp(f64),
    /// So many connections that send as fast as they may.
    Tcp(usize),
}

impl Table {
    /// Reads the table.
    pub(crate) fn read() -> Table {
        toml::from_str(include_str!("slices.toml"))
            .unwrap_or_else(|error| panic!("tests/fidelity/slices.toml: {error}"))
    }
}

impl Configuration {
    /// Whether a switch can express it.
    pub(crate) fn runs_on(&self, switch: Switch) -> bool {
        switch == Switch::Bridge || !self.is_weighted
    }

    /// The terms of its slices on a link of this capacity, the same for both sides.
    pub(crate) fn terms(&self, link_mbit_per_s: f64) -> Vec<PlannedSlice> {
        let rate = |percent: f64| BitsPerSecond::from_f64(percent / 100.0 * link_mbit_per_s * 1e6);
        let terms = |slice: &Slice| PlannedSlice {
            guarantee: rate(slice.guarantee),
            ceiling: rate(slice.ceiling),
            weight: slice.weight,
            priority: slice.priority,
            dscp: 0,
            latency: None,
        };
        self.slices.iter().map(terms).collect()
    }
}

impl Load {
    /// What it would take of an idle link \[Mbit/s\].
    pub(crate) fn offered(self, link_mbit_per_s: f64) -> f64 {
        match self {
            Load::Idle => 0.0,
            Load::Udp(percent) => percent / 100.0 * link_mbit_per_s,
            Load::Tcp(flows) => flows as f64 * link_mbit_per_s,
        }
    }
}
