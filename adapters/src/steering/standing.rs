//! What stands at a name server, as read back from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use forebay_world::Generation;

use super::answers::Shares;
use super::dns_name::DnsName;
use super::expressed::Expressed;
use super::view::SteeringCapabilities;

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

impl StandingName {
    /// To which addresses clients are sent. Where all that was asked for stands, those that an executor of these
    /// capabilities had to leave out count as well; where a hand has changed it, what is answered is all there is.
    pub fn addresses(&self, capabilities: &SteeringCapabilities) -> BTreeSet<IpAddr> {
        if self.asked.expressed(capabilities).is_ok_and(|(expressed, _)| expressed == self.answered) {
            return self.asked.addresses().collect();
        }
        self.answered.pools.values().flat_map(|pool| pool.keys().copied()).collect()
    }
}

impl Standing {
    /// Whether nothing of ours is there.
    pub fn is_empty(&self) -> bool {
        self.generation.is_none() && self.names.is_empty() && self.withdrawn.is_empty() && self.strays.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::Acknowledgement;

    use super::*;
    use crate::steering::Answers;
    use crate::steering::answers::{Clients, NameAnswers, tests::pool};
    use crate::steering::view::Weights;

    #[test]
    fn what_was_left_out_counts_and_what_a_hand_took_away_does_not() {
        let members = [("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.3", 1)];
        let name: DnsName = "video.cdn.test".parse().unwrap();
        let answers = NameAnswers { ttl_seconds: 20, pools: [(Clients::Others, pool(&members))].into() };
        let answers = Answers { generation: Generation(1), names: [(name.clone(), answers)].into() };
        let can = SteeringCapabilities {
            weights: Weights::ByAnswers { most: 2 },
            per_region: false,
            ttl: true,
            acknowledgement: Acknowledgement::Verified,
        };
        let asked = answers.shares().unwrap().remove(&name).unwrap();
        let (answered, _) = asked.expressed(&can).unwrap();
        let mut stands = StandingName { generation: Generation(1), asked, answered };
        assert_eq!(stands.answered.pools[&Clients::Others].len(), 2);
        assert_eq!(stands.addresses(&can).len(), 3);
        let pool = stands.answered.pools.get_mut(&Clients::Others).unwrap();
        let (left, _) = pool.pop_first().unwrap();
        assert_eq!(stands.addresses(&can).len(), 1);
        assert!(!stands.addresses(&can).contains(&left));
    }
}
