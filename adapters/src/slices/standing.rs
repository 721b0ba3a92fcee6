//! What stands on a link, as read back from it.

use std::collections::BTreeMap;

use forebay_world::{BitsPerSecond, Generation, SliceId};

use super::enforced::Enforced;
use super::link::Port;

/// What bears our mark on one link, and what is in its place without.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Generation of the plan that last changed something here; none where nothing of ours stands.
    pub generation: Option<Generation>,
    /// What the link is held to \[bit/s\]; none where nothing holds it.
    pub capacity: Option<BitsPerSecond>,
    /// Slices.
    pub slices: BTreeMap<SliceId, Enforced>,
    /// Ports with rules of ours, by name.
    pub ports: BTreeMap<String, StandingPort>,
    /// Things of ours that belong to nothing: what a crash left behind, or a hand changed. For people.
    pub strays: Vec<String>,
    /// Things in our place that are not ours, and will not be touched. For people.
    pub foreign: Vec<String>,
}

/// One port as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingPort {
    /// The rules that hold for it.
    pub port: Port,
    /// Whether it carries traffic.
    pub up: bool,
}

impl Standing {
    /// Whether nothing of ours is there.
    pub fn is_empty(&self) -> bool {
        self.generation.is_none() && self.slices.is_empty() && self.ports.is_empty() && self.strays.is_empty()
    }
}
