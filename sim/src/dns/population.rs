//! The resolvers of one region and their habits.

use forebay_world::{Duration, RegionId};

use crate::Stream;
use crate::setup::Dns;

/// Share of a region's clients that each of its resolvers has, up to a common factor: Zipf's law.
pub fn resolver_weights(dns: &Dns, region: RegionId) -> Vec<f64> {
    (1..=dns.resolvers[region.index()]).map(|rank| f64::from(rank).powf(-dns.resolver_skew)).collect()
}

/// What a resolver makes of an answer. Drawn for each resolver alone, so the shares hold in the mean over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Habit {
    /// Keeps answers longer than it may.
    pub(super) extends: bool,
    /// Sends the client's subnet.
    pub(super) subnets: bool,
}

/// The habits of a region's resolvers.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    chance: Stream,
    extending_share: f64,
    ecs_share: f64,
    extended_ttl: Duration,
}

impl Habits {
    pub(super) fn new(dns: &Dns, seed: u64, region: RegionId) -> Self {
        Habits {
            chance: Stream::new(seed, "resolver habits", region.index() as u64),
            extending_share: dns.extending_share,
            ecs_share: dns.ecs_share,
            extended_ttl: dns.extended_ttl,
        }
    }

    pub(super) fn of(&self, resolver: u32) -> Habit {
        let mut chance = self.chance.at(2 * u64::from(resolver));
        Habit { extends: chance.uniform() <= self.extending_share, subnets: chance.uniform() <= self.ecs_share }
    }

    /// How long a resolver keeps an answer that it may keep for `ttl`.
    pub(super) fn keeps(&self, extends: bool, ttl: Duration) -> Duration {
        if extends { ttl.max(self.extended_ttl) } else { ttl }
    }
}
