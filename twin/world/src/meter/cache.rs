//! One cache: how often it is asked, from when its misses came.
//!
//! Let it be asked at rate λ, and let k misses have come in the G seconds in which it held no answer. Misses in that
//! time are a Poisson process, watched until a moment that depends on them: the window's end falls while an answer is
//! held, or while none is. Given k and G all orders of events are equally likely (M. Girshick, F. Mosteller,
//! L. Savage, "Unbiased estimates for certain binomial sampling problems", 1946, carried over to the Poisson process),
//! so λ is estimated without bias by k/G when no answer is held at the end, and by (k − 1)/G when one is; its variance
//! by the same over G². The maximum of likelihood, k/G always, would be off by 1/k of itself, which summed over
//! thousands of caches with a miss or two each is most of the sum.
//!
//! A query while an answer is held comes from a farm of caches behind one address, or from a resolver that keeps
//! answers less long than it may. With c caches that share their clients evenly and make u/T queries a second together,
//! each holds an answer for u/c of the time, and none does for (1 − u/c)^c of it. That gives c, a whole number when
//! small, and the exposure is the share 1 − u/c of the time watched.

use crate::{Duration, Timestamp};

use super::fading::Fading;
use super::habit::Habit;

/// A cache and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    pub(super) key: (u64, u64),
    pub(super) cell: u32,
    pub(super) habit: u32,
    /// Until when `open` is counted.
    passed: Timestamp,
    /// End of life of the newest answer; its begin, before the first.
    expiry: Timestamp,
    ttl: f64,
    /// Queries, faded.
    asked: f64,
    /// Expiries of answers after which another query came, faded.
    again: f64,
    /// Those of them that came before the newest answer expired, faded.
    early: f64,
    /// Time without an unexpired answer, faded \[s\].
    open: f64,
    rates: Rates,
}

/// Rates as last learned [1/s].
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    /// If answers are kept as long as they may, times the probability of that.
    honouring: f64,
    /// If they are kept longer, times the probability of that …
    extending: f64,
    /// … by this \[s\].
    by: f64,
    /// Requests that show although an answer is held, as another cache behind the address gets them.
    held: f64,
}

/// What a cache is looked at with.
pub(super) struct Sight<'a> {
    pub(super) at: Timestamp,
    /// Time watched, faded \[s\].
    pub(super) watched: f64,
    pub(super) habit: &'a Habit,
    /// Mean square of what fading left of the past, over its mean.
    pub(super) weight: f64,
    pub(super) fading: Fading,
}

/// What was learned of the rate of requests.
pub(super) struct Rate {
    /// [1/s]
    pub(super) per_second: f64,
    /// [1/s²]
    pub(super) variance: f64,
    /// Queries it rests on, faded.
    pub(super) queries: f64,
}

/// Share of early queries below which they are strays, not a farm.
const EARLY: f64 = 0.01;
/// Farms below this size are told to the cache.
const FARM_SMALL: f64 = 8.0;
/// Share of the time that a farm's caches hold no answer, at least.
const FARM_EXPOSURE: f64 = 0.01;
/// Larger farms are all alike.
const FARM_MOST: f64 = 1e6;

impl Cache {
    /// A cache that is asked at `at` for the first time after `open` seconds, faded.
    pub(super) fn new(key: (u64, u64), cell: u32, habit: u32, at: Timestamp, open: f64) -> Self {
        let rates = Rates::default();
        Cache { key, cell, habit, passed: at, expiry: at, ttl: 0.0, asked: 0.0, again: 0.0, early: 0.0, open, rates }
    }

    /// Queries, faded.
    pub(super) fn asked(&self) -> f64 {
        self.asked
    }

    /// End of life of the newest answer.
    pub(super) fn expiry(&self) -> Timestamp {
        self.expiry
    }

    /// Rate of requests as last learned [1/s].
    pub(super) fn rate(&self) -> f64 {
        self.rates.honouring + self.rates.extending
    }

    pub(super) fn fade(&mut self, fade: f64) {
        self.asked *= fade;
        self.again *= fade;
        self.early *= fade;
        self.open *= fade;
    }

    /// Time passes until `at`; returns the requests that were expected to show since it last did.
    pub(super) fn pass(&mut self, at: Timestamp, fading: Fading) -> f64 {
        if at <= self.passed {
            return 0.0;
        }
        let all = at.since(self.passed).as_secs_f64();
        let from = self.expiry.max(self.passed);
        let open = at.since(from).as_secs_f64();
        let beyond = if self.rates.extending > 0.0 {
            (at.since(self.expiry).as_secs_f64() - self.rates.by).clamp(0.0, all)
        } else {
            0.0
        };
        self.passed = at;
        if open > 0.0 {
            self.open += Fading::between(fading.at(from), fading.at(at));
        }
        self.rates.honouring * open + self.rates.extending * beyond + self.rates.held * (all - open)
    }

    /// Takes in a query; returns the gap since the answer before expired, if there was one and it had \[s\].
    pub(super) fn ask(&mut self, at: Timestamp, ttl: Duration, fading: Fading) -> Option<f64> {
        let weight = fading.at(at);
        let mut gap = None;
        // Of an answer that was not kept there is nothing to extend.
        if self.asked > 0.0 && self.ttl > 0.0 {
            if at < self.expiry {
                self.early += weight;
            } else {
                self.again += fading.at(self.expiry);
                gap = Some(at.since(self.expiry).as_secs_f64());
            }
        }
        self.asked += weight;
        self.expiry = self.expiry.max(at.saturating_add(ttl));
        self.ttl = ttl.as_secs_f64();
        gap
    }

    /// Learns the rate anew from all that was seen until `sight.at`, to which time has passed.
    pub(super) fn learn(&mut self, sight: &Sight<'_>) -> Rate {
        let idle = sight.at.since(self.expiry).as_secs_f64();
        // The query that made the newest answer.
        let newest = sight.fading.at(Fading::before(self.expiry, self.ttl));
        let held = if sight.at < self.expiry { newest } else { 0.0 };
        // Time that answers were held, several at once counted as often; of those still held, half their life is over.
        let answers = Fading::between(0.0, self.asked) * Fading::growth(self.ttl);
        let held_time = answers * (1.0 - 0.5 * self.ttl / sight.watched);
        let farm = if self.early > EARLY * self.asked { self.farm(held_time, sight.watched) } else { 1.0 };
        // Nothing is said of a rate by less than a moment.
        let least = 1e-6 * sight.watched;
        let exposure = if farm > 1.0 {
            // Held time is not known well enough to tell more.
            (sight.watched - held_time / farm).max(FARM_EXPOSURE * sight.watched)
        } else {
            self.open
        };
        let honouring = estimate(self.asked - held / farm, exposure, least);
        // Farms that extend are not told apart.
        let extends = if farm > 1.0 { 0.0 } else { sight.habit.extends() };
        let extending = if extends > 0.0 {
            let by = sight.habit.by();
            let held = if idle < by { newest } else { 0.0 };
            // What it adds to the life of answers that were asked for again, and to the newest.
            let weight = sight.fading.at(self.expiry);
            let added = Fading::between(0.0, self.again) * Fading::growth(by)
                + if self.ttl > 0.0 { Fading::between(0.0, weight) * Fading::growth(by.min(idle)) } else { 0.0 };
            // The least gap was spent on finding the habit.
            let spent = self.again / sight.habit.count().max(1.0);
            estimate(self.asked - held - spent, self.open - added, least)
        } else {
            Rate { per_second: 0.0, variance: 0.0, queries: 0.0 }
        };
        let honours = 1.0 - extends;
        let closed = (sight.watched - self.open).max(least);
        self.rates = Rates {
            honouring: honours * honouring.per_second,
            extending: extends * extending.per_second,
            by: sight.habit.by(),
            held: honours * honouring.per_second * ((exposure - self.open) / closed).clamp(0.0, 1.0),
        };
        let apart = extending.per_second - honouring.per_second;
        Rate {
            per_second: self.rate(),
            variance: sight.weight * (honours * honouring.variance + extends * extending.variance)
                + extends * honours * apart * apart,
            queries: honours * honouring.queries + extends * extending.queries,
        }
    }

    /// Caches behind the address, 1 and more, infinite when nothing is ever kept.
    fn farm(&self, held_time: f64, watched: f64) -> f64 {
        let (held, none) = (held_time / watched, self.open / watched);
        if held <= 0.0 || none >= (-held).exp() {
            return f64::INFINITY;
        }
        let (mut low, mut high) = (held.max(1.0), 2.0 * held.max(1.0));
        let open = |caches: f64| (1.0 - held / caches).max(0.0).powf(caches);
        while open(high) < none && high < FARM_MOST {
            (low, high) = (high, 2.0 * high);
        }
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if open(middle) < none {
                low = middle;
            } else {
                high = middle;
            }
        }
        if high < FARM_SMALL { high.round().max((held - 0.02).ceil()) } else { high }
    }
}

/// The rate that `queries` in `exposure` seconds speak for.
fn estimate(queries: f64, exposure: f64, least: f64) -> Rate {
    let (queries, exposure) = (queries.max(0.0), exposure.max(least));
    Rate { per_second: queries / exposure, variance: queries / (exposure * exposure), queries }
}
