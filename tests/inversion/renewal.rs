//! Caches as renewal processes, drawn without the simulator: a time with an answer, then a wait for the next request.
//!
//! Nothing here is shared with what is tested: who asks how often is drawn for each cache alone.

use forebay_sim::Stream;
use forebay_world::{Duration, Meter, Observation, QuerySample, Timestamp};

/// A region of resolvers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) resolvers: usize,
    /// Exponent of the Zipf law of clients over resolvers.
    pub(crate) skew: f64,
    /// Share of resolvers that send client subnets …
    pub(crate) ecs_share: f64,
    /// … and how many there are behind each.
    pub(crate) subnets: usize,
    /// Share of resolvers that extend the time to live, to something between one minute and one hour.
    pub(crate) extending_share: f64,
    /// Caches behind each address that sends no subnets.
    pub(crate) farm: usize,
    pub(crate) ttl: f64,
    /// Requests per cache and time to live.
    pub(crate) per_ttl: f64,
    /// Amplitude of the day, as a share of the mean.
    pub(crate) day: f64,
}

pub(crate) const PLAIN: Region = Region {
    resolvers: 80,
    skew: 1.0,
    ecs_share: 0.0,
    subnets: 1,
    extending_share: 0.0,
    farm: 1,
    ttl: 30.0,
    per_ttl: 1.0,
    day: 0.0,
};

struct Cache {
    resolver: u64,
    subnet: u64,
    rate: f64,
    keeps: f64,
}

/// What a run shows at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// True rate of requests, mean over the last window [1/s].
    pub(crate) truth: f64,
    /// Queries so far.
    pub(crate) queries: u64,
}

impl Region {
    fn caches(&self, chance: &mut Stream) -> Vec<Cache> {
        let mut caches = Vec::new();
        for resolver in 0..self.resolvers {
            let ecs = chance.uniform() <= self.ecs_share;
            let extends = chance.uniform() <= self.extending_share;
            let clamp = 60.0 * 60f64.powf(chance.uniform());
            let keeps = if extends { clamp.max(self.ttl) } else { self.ttl };
            let (count, apart) = if ecs { (self.subnets, 1) } else { (self.farm, 0) };
            for i in 0..count {
                let rate = (resolver as f64 + 1.0).powf(-self.skew) / count as f64;
                caches.push(Cache { resolver: resolver as u64, subnet: apart * (i as u64 + 1), rate, keeps });
            }
        }
        let total: f64 = caches.iter().map(|cache| cache.rate).sum();
        let rate = self.per_ttl / self.ttl * caches.len() as f64;
        caches.iter_mut().for_each(|cache| cache.rate *= rate / total);
        caches
    }

    fn level(&self, at: f64) -> f64 {
        1.0 + self.day * (at / 86_400.0 * std::f64::consts::TAU).sin()
    }

    /// Watches the region by the minute; `at_each` gets the observation of each minute and what is true.
    pub(crate) fn watch(&self, seed: u64, minutes: u64, mut at_each: impl FnMut(u64, &Observation, Moment)) {
        let mut chance = Stream::new(seed, "renewal", 0);
        let caches = self.caches(&mut chance);
        let total: f64 = caches.iter().map(|cache| cache.rate).sum();
        let end = 60.0 * minutes as f64;
        let mut queries: Vec<(f64, u32)> = Vec::new();
        for (index, cache) in caches.iter().enumerate() {
            let most = cache.rate * (1.0 + self.day);
            let mut at = 0.0;
            while at < end {
                at += chance.exponential() / most;
                // Thinning (Lewis & Shedler 1979).
                if self.day > 0.0 && chance.uniform() * (1.0 + self.day) > self.level(at) {
                    continue;
                }
                queries.push((at, index as u32));
                at += cache.keeps;
            }
        }
        queries.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut meter = Meter::new(1);
        meter.begin(Timestamp::EPOCH);
        let (mut next, mut count) = (0, 0);
        for minute in 1..=minutes {
            let until = 60.0 * minute as f64;
            while let Some(&(at, cache)) = queries.get(next).filter(|query| query.0 < until) {
                let cache = &caches[cache as usize];
                meter.record(QuerySample {
                    at: Timestamp::from_secs_f64(at).unwrap(),
                    cell: 0,
                    resolver: cache.resolver,
                    cache: cache.resolver << 16 | cache.subnet,
                    name: 0,
                    ttl: Duration::from_secs_f64_saturating(self.ttl),
                });
                next += 1;
            }
            let at = Timestamp::from_secs(60 * minute);
            let seen = meter.close(at)[0];
            count += seen.queries;
            let truth = total * self.level(until - 30.0);
            at_each(minute, &super::observation(at, seen), Moment { truth, queries: count });
        }
    }
}
