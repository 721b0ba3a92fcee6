//! The resolvers of one region × class in the mean: the fluid counterpart of their caches.
//!
//! A cache that is asked at rate λ and keeps answers for T is a renewal process: T with an answer, then Exp(λ) until
//! somebody asks. From that follow, exactly and for each cache: queries λ/(1 + λT); share of sessions that go by a
//! kept answer λT/(1 + λT), the age of which is uniform on (0, T). Sums over thousands of caches are tabulated over λ.

use std::collections::BTreeMap;

use forebay_world::{Duration, RegionId};

use super::population::{Habits, resolver_weights};
use crate::octaves::Octaves;
use crate::setup::{Dns, Load, QueryLogTaken};

/// By how old answers sessions go.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Follow {
    /// Share of sessions that go by an answer kept no longer than it may be; its age is uniform on (0, `ttl`) …
    pub honouring: f64,
    /// … the time to live.
    pub ttl: Duration,
    /// Share of sessions that go by an answer of a resolver that extends; its age is uniform on (0, `extended_ttl`) …
    pub extending: f64,
    /// … the time that such resolvers keep an answer.
    pub extended_ttl: Duration,
}

impl Follow {
    /// Share of sessions that go by an answer older than `age`: after a change of steering, the share of
    /// the traffic that begins then and does not follow it yet. The others go by answers given since.
    pub fn older(&self, age: Duration) -> f64 {
        let left = |share: f64, kept: Duration| {
            if age >= kept { 0.0 } else { share * (1.0 - age.as_nanos() as f64 / kept.as_nanos() as f64) }
        };
        left(self.honouring, self.ttl) + left(self.extending, self.extended_ttl)
    }
}

/// Caches whose use differs by less than this factor count as equal.
const ALIKE: f64 = 1.03;
/// Octaves of λ \[1/s\] that are tabulated; outside, sums are worked out each time.
const TABLE: (i32, i32) = (-10, 20);

/// The tabulated sums of one region × class.
#[derive(Clone, Debug)]
pub(super) struct Expectation {
    caches: Vec<Caches>,
    /// How many caches there are.
    count: u32,
    ttl: Duration,
    extended_ttl: Duration,
    table: Octaves<3>,
}

/// Caches that are alike.
#[derive(Clone, Copy, Debug)]
struct Caches {
    /// How many.
    count: f64,
    /// Share of all sessions that each has.
    share: f64,
    /// How many sessions come with one question.
    batch: f64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Honours,
    Extends,
    /// The log shows what reached the servers: there is nothing more to keep.
    Seen,
}

impl Expectation {
    pub(super) fn new(dns: &Dns, region: RegionId, ttl: Duration, habits: &Habits, load: &Load) -> Self {
        let caches = merge(caches(dns, region, habits, load));
        Expectation {
            count: caches.iter().map(|caches| caches.count).sum::<f64>() as u32,
            caches,
            ttl,
            extended_ttl: habits.keeps(true, ttl),
            table: Octaves::new(TABLE.0, TABLE.1),
        }
    }

    pub(super) fn miss_rate(&self, lambda: f64) -> f64 {
        let [queries, ..] = self.at(lambda);
        queries
    }

    pub(super) fn caches(&self) -> u32 {
        self.count
    }

    pub(super) fn follow(&self, lambda: f64) -> Follow {
        let [_, honouring, extending] = self.at(lambda);
        Follow { honouring, ttl: self.ttl, extending, extended_ttl: self.extended_ttl }
    }

    #[inline]
    fn at(&self, lambda: f64) -> [f64; 3] {
        let sum = |lambda| self.sum(lambda);
        self.table.at(lambda, sum).unwrap_or_else(|| sum(lambda))
    }

    /// Queries, share kept and honoured, share kept and extended.
    fn sum(&self, lambda: f64) -> [f64; 3] {
        let mut sums = [0.0; 3];
        if lambda <= 0.0 {
            return sums;
        }
        let ttl = self.ttl.as_secs_f64();
        for caches in &self.caches {
            let rate = caches.share * lambda / caches.batch;
            if caches.kind == Kind::Seen {
                sums[0] += caches.count * rate;
                continue;
            }
            let extends = caches.kind == Kind::Extends;
            let kept = if extends { self.extended_ttl.as_secs_f64() } else { ttl };
            sums[0] += caches.count * rate / (1.0 + rate * kept);
            sums[if extends { 2 } else { 1 }] += caches.count * caches.share * rate * kept / (1.0 + rate * kept);
        }
        sums
    }
}

fn caches(dns: &Dns, region: RegionId, habits: &Habits, load: &Load) -> Vec<Caches> {
    match load {
        Load::None => Vec::new(),
        Load::Synthetic(_) | Load::Series(_) | Load::Told => {
            let weights = resolver_weights(dns, region);
            let total: f64 = weights.iter().sum();
            let subnets = f64::from(dns.ecs_subnets.clamp(1, 1 << 16));
            (0..)
                .zip(&weights)
                .map(|(resolver, weight)| {
                    let habit = habits.of(resolver);
                    let count = if habit.subnets { subnets } else { 1.0 };
                    let kind = if habit.extends { Kind::Extends } else { Kind::Honours };
                    Caches { count, share: weight / total / count, batch: 1.0, kind }
                })
                .collect()
        }
        Load::Queries(log) => {
            let mut questions: BTreeMap<(u32, u32), u32> = BTreeMap::new();
            for key in log.resolver.iter().zip(&log.name) {
                *questions.entry((*key.0, *key.1)).or_default() += 1;
            }
            let batch = f64::from(log.sessions_per_query.max(1));
            let one = |(&(resolver, _), &questions): (&(u32, u32), &u32)| {
                let kind = match log.taken {
                    QueryLogTaken::AtAuthority => Kind::Seen,
                    QueryLogTaken::BeforeResolver if habits.of(resolver).extends => Kind::Extends,
                    QueryLogTaken::BeforeResolver => Kind::Honours,
                };
                Caches { count: 1.0, share: f64::from(questions) / log.at.len() as f64, batch, kind }
            };
            questions.iter().map(one).collect()
        }
    }
}

/// Joins caches that are alike, keeping their number and their sum of shares.
fn merge(mut caches: Vec<Caches>) -> Vec<Caches> {
    caches.sort_by(|a, b| a.kind.cmp(&b.kind).then(b.share.total_cmp(&a.share)));
    let mut merged: Vec<Caches> = Vec::new();
    let mut largest = 0.0;
    for one in caches {
        match merged.last_mut() {
            Some(last) if last.kind == one.kind && one.share * ALIKE > largest => {
                let count = last.count + one.count;
                last.share = (last.share * last.count + one.share * one.count) / count;
                last.count = count;
            }
            _ => {
                largest = one.share;
                merged.push(one);
            }
        }
    }
    merged
}
