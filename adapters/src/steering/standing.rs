//! What stands at a name server, as read back from it.

use std::collections::{BTreeMap, BTreeSet};

use forebay_world::Generation;

use super::answers::Shares;
use super::dns_name::DnsName;
use super::expressed::Expressed;

/// What bears our mark at one place, and what is in its place without.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Generation of the answers that last changed something here; none where nothing of ours stands.
    pub generation: Option<Generation>,
    /// Names that are answered.
    pub names: BTreeMap<DnsName, StandingName>,
    /// Names that the last generation no longer answers, kept for a rollback.
    pub withdrawn: BTreeSet<DnsName>,
    /// Things of ours that belong to nothing: what a crash left behind, or a hand changed. For people.
    pub strays: Vec<String>,
    /// Things in our place that are not ours, and will not be touched. For people.
    pub foreign: Vec<String>,
}

/// One name as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingName {
    /// Generation that last changed it.
    pub generation: Generation,
    /// What was asked for, which is more than some servers can express.
    pub asked: Shares,
    /// What is answered.
    pub answered: Expressed,
}

impl Standing {
    /// Whether nothing of ours is there.
    pub fn is_empty(&self) -> bool {
        self.generation.is_none() && self.names.is_empty() && self.withdrawn.is_empty() && self.strays.is_empty()
    }
}
