//! Guard rails: what may change at once, whatever was planned.
//!
//! Pure: what stands and what is wanted go in, what may be applied now and what was held back come out. The rest of the way
//! is taken by the same call at a later time. An address that is known to be unhealthy goes at once, however much that
//! moves, and so does one that is no longer named: to be drained it must stay named, with weight 0.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use forebay_world::RegionId;

use super::answers::{Answers, Clients, Health, Member, NameAnswers, Pool, Share};
use super::apportion::{WHOLE, apportion, distance, towards};
use super::dns_name::DnsName;
use super::standing::Standing;

/// Bounds of every change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rails {
    /// Largest share of a name's clients, 0 to 1, that one step may move from healthy addresses to others (half the sum of
    /// the differences of shares).
    pub share_moved_most: f64,
    /// Fewest addresses of a family that are answered, as far as there are healthy ones.
    pub answers_least: usize,
    /// Shortest time to live \[s\].
    pub ttl_least_seconds: u32,
    /// How long clients keep coming to an address that is no longer answered.
    pub drain: Drain,
}

/// How long clients keep coming: so many times to live, and a tail of those that keep answers longer, or sessions going.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drain {
    /// Times to live.
    pub ttls: f64,
    /// The tail \[s\].
    pub tail_seconds: f64,
}

/// What may be applied now.
#[derive(Clone, Debug, PartialEq)]
pub struct RailedStep {
    /// The answers to apply.
    pub answers: Answers,
    /// What was held back, or could not be kept to. For people.
    pub remarks: Vec<Remark>,
    /// Largest share of a name's clients, 0 to 1, that this step moves.
    pub share_moved: f64,
    /// Largest share, 0 to 1, that is still to be moved by later steps.
    pub share_left: f64,
    /// Addresses that are answered to nobody from this step on but were before it, and how long to wait before they may
    /// be stopped \[s\].
    pub drained: BTreeMap<IpAddr, f64>,
}

/// Why something was not as wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Remark {
    /// The share to move is larger than one step may.
    Stepped {
        /// Of which name.
        name: DnsName,
        /// For whom.
        clients: Clients,
        /// What should have moved, 0 to 1.
        share_wanted: f64,
        /// What is moved now.
        share_moved: f64,
    },
    /// Addresses that stood are unhealthy, or not named any more, and go at once.
    Gone {
        /// Of which name.
        name: DnsName,
        /// For whom.
        clients: Clients,
        /// Which.
        addresses: Vec<IpAddr>,
    },
    /// All are unhealthy: what stood stays.
    LastGoodKept {
        /// Of which name.
        name: DnsName,
        /// For whom.
        clients: Clients,
        /// What stays.
        addresses: Vec<IpAddr>,
    },
    /// All are unhealthy, and nothing stood: there is nothing to answer.
    NothingHealthy {
        /// Of which name.
        name: DnsName,
        /// For whom.
        clients: Clients,
    },
    /// Fewer answers than allowed were wanted, and healthy addresses were added.
    Added {
        /// Of which name.
        name: DnsName,
        /// For whom.
        clients: Clients,
        /// Which.
        addresses: Vec<IpAddr>,
    },
    /// There are not as many healthy addresses as answers are required.
    TooFew {
        /// Of which name.
        name: DnsName,
        /// For whom.
        clients: Clients,
        /// Healthy addresses there are.
        healthy: usize,
        /// Answers required.
        least: usize,
    },
    /// The time to live was raised.
    TtlRaised {
        /// Of which name.
        name: DnsName,
        /// What was wanted \[s\].
        wanted_seconds: u32,
        /// What it is \[s\].
        least_seconds: u32,
    },
    /// Nothing may be answered for the name, so that what stands stays.
    NameKept {
        /// The name.
        name: DnsName,
    },
}

impl Rails {
    /// Checks that the bounds mean something.
    ///
    /// # Errors
    /// What is wrong and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let least = 1.0 / f64::from(WHOLE);
        if !(least..=1.0).contains(&self.share_moved_most) {
            return Err(format!("share_moved_most = {}; allowed: {least} to 1", self.share_moved_most));
        }
        if self.answers_least == 0 || self.answers_least > 1_000 {
            return Err(format!("answers_least = {}; allowed: 1 to 1,000", self.answers_least));
        }
        let wait = |value: f64| value.is_finite() && value >= 0.0;
        if !wait(self.drain.ttls) || !wait(self.drain.tail_seconds) {
            return Err(format!("drain = {:?}; allowed: times that are finite and not negative", self.drain));
        }
        Ok(())
    }

    /// How long clients may keep coming after an answer with this time to live was given last \[s\].
    pub fn drain_seconds(&self, ttl_seconds: u32) -> f64 {
        self.drain.ttls * f64::from(ttl_seconds) + self.drain.tail_seconds
    }

    /// What may be applied now on the way from what stands to what is wanted.
    ///
    /// # Panics
    /// When the bounds mean nothing ([`Rails::check`]), or there are more addresses than parts.
    pub fn step(&self, standing: &Standing, wanted: &Answers) -> RailedStep {
        self.check().unwrap_or_else(|what| panic!("rails are checked first: {what}"));
        let mut step = RailedStep {
            answers: Answers { generation: wanted.generation, names: BTreeMap::new() },
            remarks: Vec::new(),
            share_moved: 0.0,
            share_left: 0.0,
            drained: BTreeMap::new(),
        };
        for (name, answers) in &wanted.names {
            let railed = self.name(name, standing, answers, &mut step);
            if railed.pools.contains_key(&Clients::Others) {
                step.answers.names.insert(name.clone(), railed);
            } else if let Some(stands) = standing.names.get(name) {
                step.remarks.push(Remark::NameKept { name: name.clone() });
                step.answers.names.insert(name.clone(), last_good(stands.asked.to_answers()));
            }
        }
        let before = answered(standing.names.values().map(|stands| stands.asked.to_answers()));
        let after: BTreeSet<IpAddr> = answered(step.answers.names.values().cloned()).into_keys().collect();
        for (address, ttl_seconds) in before {
            if !after.contains(&address) {
                step.drained.insert(address, self.drain_seconds(ttl_seconds));
            }
        }
        step
    }

    fn name(&self, name: &DnsName, standing: &Standing, wanted: &NameAnswers, step: &mut RailedStep) -> NameAnswers {
        let stands = standing.names.get(name).map(|stands| &stands.asked);
        let ttl_seconds = wanted.ttl_seconds.max(self.ttl_least_seconds);
        if ttl_seconds > wanted.ttl_seconds {
            let (wanted_seconds, least_seconds) = (wanted.ttl_seconds, self.ttl_least_seconds);
            step.remarks.push(Remark::TtlRaised { name: name.clone(), wanted_seconds, least_seconds });
        }
        let mut railed = NameAnswers { ttl_seconds, pools: BTreeMap::new() };
        for (clients, pool) in &wanted.pools {
            // Clients of a region that had no pool of their own were answered as the others.
            let stood = stands.and_then(|stands| stands.pools.get(clients).or(stands.pools.get(&Clients::Others)));
            let nothing = BTreeMap::new();
            let stood = stood.unwrap_or(&nothing);
            let mut kept = Pool::new();
            for v4 in [true, false] {
                let family = Family {
                    rails: self,
                    name,
                    clients,
                    wanted: pool.iter().filter(|(a, _)| a.is_ipv4() == v4).map(|(a, m)| (*a, *m)).collect(),
                    stood: stood.iter().filter(|(a, _)| a.is_ipv4() == v4).map(|(a, s)| (*a, *s)).collect(),
                };
                kept.extend(family.step(step));
            }
            if !kept.is_empty() {
                railed.pools.insert(clients.clone(), kept);
            }
        }
        railed
    }
}

/// Every address that somebody may be sent to, with the longest time to live it is answered with.
fn answered(names: impl Iterator<Item = NameAnswers>) -> BTreeMap<IpAddr, u32> {
    let mut found: BTreeMap<IpAddr, u32> = BTreeMap::new();
    for name in names {
        let ttl_seconds = name.ttl_seconds;
        let members = name.pools.values().flatten();
        for (address, _) in members.filter(|(_, m)| m.weight > 0 && m.health != Health::Unhealthy) {
            let longest = found.entry(*address).or_default();
            *longest = ttl_seconds.max(*longest);
        }
    }
    found
}

fn last_good(mut answers: NameAnswers) -> NameAnswers {
    for member in answers.pools.values_mut().flat_map(BTreeMap::values_mut) {
        member.health = Health::LastGood;
    }
    answers
}

/// Addresses of one family that some clients of a name are sent to.
struct Family<'a> {
    rails: &'a Rails,
    name: &'a DnsName,
    clients: &'a Clients,
    wanted: Pool,
    stood: BTreeMap<IpAddr, Share>,
}

impl Family<'_> {
    fn step(&self, step: &mut RailedStep) -> Pool {
        let healthy: BTreeMap<IpAddr, Member> =
            self.wanted.iter().filter(|(_, m)| m.health == Health::Healthy).map(|(a, m)| (*a, *m)).collect();
        if healthy.is_empty() {
            return self.nothing_healthy(step);
        }
        let gone: Vec<IpAddr> = self.stood.keys().filter(|address| !healthy.contains_key(*address)).copied().collect();
        if !gone.is_empty() {
            step.remarks.push(Remark::Gone { name: self.name.clone(), clients: self.clients.clone(), addresses: gone });
        }
        let goal = self.goal(&healthy, step);
        let stood: Vec<u64> = healthy.keys().map(|a| self.stood.get(a).map_or(0, |s| u64::from(s.parts))).collect();
        let to = apportion(&goal, WHOLE);
        let parts = if stood.iter().all(|parts| *parts == 0) {
            // Nothing that may stay stands: there is nobody to move.
            to
        } else {
            let from = apportion(&stood, WHOLE);
            let most = (self.rails.share_moved_most * f64::from(WHOLE)).floor().max(1.0) as u32;
            let next = towards(&from, &to, most);
            let share = |parts: u32| f64::from(parts) / f64::from(WHOLE);
            let (moved, whole_way) = (share(distance(&from, &next)), share(distance(&from, &to)));
            step.share_moved = step.share_moved.max(moved);
            step.share_left = step.share_left.max(whole_way - moved);
            if moved < whole_way {
                step.remarks.push(Remark::Stepped {
                    name: self.name.clone(),
                    clients: self.clients.clone(),
                    share_wanted: whole_way,
                    share_moved: moved,
                });
            }
            next
        };
        let member =
            |((address, member), parts): ((&IpAddr, &Member), u32)| (*address, Member { weight: parts, ..*member });
        healthy.iter().zip(parts).map(member).collect()
    }

    /// Weights of the healthy addresses, of which as many count as must.
    fn goal(&self, healthy: &BTreeMap<IpAddr, Member>, step: &mut RailedStep) -> Vec<u64> {
        let mut weights: BTreeMap<IpAddr, u64> = healthy.iter().map(|(a, m)| (*a, u64::from(m.weight))).collect();
        let least = self.rails.answers_least;
        let counting = weights.values().filter(|weight| **weight > 0).count();
        let (name, clients) = (self.name.clone(), self.clients.clone());
        if counting < least {
            // Those that stand first, so that nobody is moved without need; the smallest weight there is.
            let mut others: Vec<IpAddr> = weights.iter().filter(|(_, w)| **w == 0).map(|(a, _)| *a).collect();
            others.sort_by_key(|address| std::cmp::Reverse(self.stood.get(address).map_or(0, |share| share.parts)));
            others.truncate(least - counting);
            let weight = weights.values().copied().filter(|weight| *weight > 0).min().unwrap_or(1);
            for address in &others {
                weights.insert(*address, weight);
            }
            if !others.is_empty() {
                step.remarks.push(Remark::Added { name: name.clone(), clients: clients.clone(), addresses: others });
            }
        }
        if healthy.len() < least {
            step.remarks.push(Remark::TooFew { name, clients, healthy: healthy.len(), least });
        }
        weights.into_values().collect()
    }

    fn nothing_healthy(&self, step: &mut RailedStep) -> Pool {
        if self.wanted.is_empty() {
            return Pool::new();
        }
        let (name, clients) = (self.name.clone(), self.clients.clone());
        // What is still named, if anything that stands is.
        let named: BTreeMap<IpAddr, Share> = self
            .stood
            .iter()
            .filter(|(address, _)| self.wanted.contains_key(*address))
            .map(|(a, s)| (*a, *s))
            .collect();
        let kept = if named.is_empty() { self.stood.clone() } else { named };
        if kept.is_empty() {
            step.remarks.push(Remark::NothingHealthy { name, clients });
            return Pool::new();
        }
        step.remarks.push(Remark::LastGoodKept { name, clients, addresses: kept.keys().copied().collect() });
        let site = |address: &IpAddr, share: &Share| -> RegionId {
            self.wanted.get(address).map_or(share.site, |member| member.site)
        };
        let member = |(address, share): (&IpAddr, &Share)| {
            let member = Member { site: site(address, share), weight: share.parts, health: Health::LastGood };
            (*address, member)
        };
        kept.iter().map(member).collect()
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |addresses: &[IpAddr]| addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Remark::Stepped { name, clients, share_wanted, share_moved } => {
                let (wanted, moved) = (100.0 * share_wanted, 100.0 * share_moved);
                write!(f, "{name}, {clients}: {moved:.2} % of {wanted:.2} % are moved in this step")
            }
            Remark::Gone { name, clients, addresses } => {
                write!(f, "{name}, {clients}: {} gone at once, unhealthy or named no more", list(addresses))
            }
            Remark::LastGoodKept { name, clients, addresses } => {
                write!(f, "{name}, {clients}: nothing is healthy, so the last good stay: {}", list(addresses))
            }
            Remark::NothingHealthy { name, clients } => {
                write!(f, "{name}, {clients}: nothing is healthy, and nothing stood")
            }
            Remark::Added { name, clients, addresses } => {
                write!(f, "{name}, {clients}: {} added for the least number of answers", list(addresses))
            }
            Remark::TooFew { name, clients, healthy, least } => {
                write!(f, "{name}, {clients}: {healthy} healthy, {least} answers required")
            }
            Remark::TtlRaised { name, wanted_seconds, least_seconds } => {
                write!(f, "{name}: time to live raised from {wanted_seconds} s to {least_seconds} s")
            }
            Remark::NameKept { name } => {
                write!(f, "{name}: nothing may be answered to others, so that what stands stays")
            }
        }
    }
}

#[cfg(test)]
mod tests;
