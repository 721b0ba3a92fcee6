//! Content caches of virtual machines: how likely an object is found, from cold to warm.
//!
//! Not a cache: no object is kept here. A least-recently-used cache under independent requests is described by its
//! characteristic time (H. Che, Y. Tung, Z. Wang, "Hierarchical Web Caching Systems", 2002; why it is so close:
//! C. Fricker, P. Robert, J. Roberts, 2012): an object with popularity p is found when it was asked for within the last
//! T requests, where T solves Σ(1 − e^(−pT)) = size. After n requests since cold, the same holds within the last
//! min(n, T), so the hit ratio is h(n) = Σ p(1 − e^(−p·min(n, T))).

use std::sync::Arc;

use crate::octaves::Octaves;

/// Hit ratio of one virtual machine's cache over the requests it has seen. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheCurve {
    popularity: Arc<Popularity>,
    /// Requests within which an object must have been asked for to be found.
    memory: f64,
    /// Requests after which the cache is as warm as it gets.
    characteristic: f64,
    steady: f64,
    table: Octaves<1>,
}

impl CacheCurve {
    /// A cache that holds `cached` of `objects` objects with Zipf popularity p ∝ rank^−`exponent`.
    /// Where there is nothing to cache (`objects` is 0) everything is found.
    pub fn new(objects: u32, exponent: f64, cached: u32) -> Self {
        let popularity = Popularity::new(objects, exponent);
        let characteristic = match () {
            () if objects == 0 || cached == 0 => 0.0,
            () if cached >= objects => f64::INFINITY,
            () => popularity.characteristic(f64::from(cached)),
        };
        let memory = characteristic.min(NEVER);
        // The least popular object of all is met after some 1/p requests; 40 of those are as good as all.
        let warm = characteristic.min(40.0 / popularity.least()).clamp(2.0, NEVER);
        let table = Octaves::new(0, warm.log2().ceil() as i32 + 1);
        let steady = if objects == 0 { 1.0 } else { popularity.hit_ratio(memory) };
        let characteristic = if objects == 0 { 0.0 } else { warm };
        CacheCurve { popularity: Arc::new(popularity), memory, characteristic, steady, table }
    }

    /// Chance that the request after `requests` others since cold finds its object, 0 to 1.
    #[inline]
    pub fn hit_ratio(&self, requests: f64) -> f64 {
        if requests >= self.characteristic {
            return self.steady;
        }
        let found = |requests: f64| [self.popularity.hit_ratio(requests.min(self.memory))];
        match self.table.at(requests, found) {
            Some([ratio]) => ratio.min(self.steady),
            // Below one request: straight down to nothing.
            None => self.table.at(1.0, found).map_or(0.0, |[first]| first * requests.max(0.0)),
        }
    }

    /// Hit ratio in the long run, 0 to 1.
    pub fn steady(&self) -> f64 {
        self.steady
    }

    /// Requests after which the hit ratio is steady: the characteristic time of the cache.
    pub fn warm_after(&self) -> f64 {
        self.characteristic
    }
}

/// Zipf's law over ranks: the first ones each, the others in groups of about 1 % in rank.
#[derive(Debug)]
struct Popularity {
    /// How many objects, and the popularity of each.
    groups: Vec<(f64, f64)>,
}

const ALONE: u32 = 256;
/// More requests than a cache ever sees.
const NEVER: f64 = 1e18;

impl Popularity {
    fn new(objects: u32, exponent: f64) -> Self {
        assert!(exponent.is_finite() && exponent >= 0.0, "popularity falls with rank");
        let mut groups = Vec::new();
        let mut rank = 1;
        while rank <= objects {
            let last = if rank < ALONE { rank } else { (rank + rank / 100).min(objects) };
            let count = f64::from(last - rank + 1);
            // The middle rank stands for its group: the error is of the second order in 1 %.
            let middle = 0.5 * (f64::from(rank) + f64::from(last));
            groups.push((count, middle.powf(-exponent)));
            rank = last + 1;
        }
        let total: f64 = groups.iter().map(|(count, weight)| count * weight).sum();
        groups.iter_mut().for_each(|(_, weight)| *weight /= total);
        Popularity { groups }
    }

    fn least(&self) -> f64 {
        self.groups.last().map_or(1.0, |(_, popularity)| *popularity)
    }

    /// Chance that a request finds an object asked for within the last `requests`.
    fn hit_ratio(&self, requests: f64) -> f64 {
        // In the order of rising terms, and never above 1.
        let sum: f64 = self.groups.iter().rev().map(|(count, p)| -count * p * (-p * requests).exp_m1()).sum();
        sum.min(1.0)
    }

    /// Objects asked for within `requests` requests, in the mean.
    fn met(&self, requests: f64) -> f64 {
        self.groups.iter().rev().map(|(count, p)| -count * (-p * requests).exp_m1()).sum()
    }

    /// Requests within which `cached` objects are asked for in the mean; `cached` is below the number of objects.
    fn characteristic(&self, cached: f64) -> f64 {
        let (mut low, mut high) = (0.0, cached);
        while self.met(high) < cached && high < NEVER {
            (low, high) = (high, high * 2.0);
        }
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.met(middle) < cached { low = middle } else { high = middle }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::Stream;

    /// A real least-recently-used cache: objects by last use, and last use by object.
    struct Lru {
        size: usize,
        used: BTreeMap<u32, u64>,
        order: BTreeMap<u64, u32>,
    }

    impl Lru {
        fn new(size: usize) -> Self {
            Lru { size, used: BTreeMap::new(), order: BTreeMap::new() }
        }

        fn request(&mut self, now: u64, object: u32) -> bool {
            let before = self.used.insert(object, now);
            self.order.insert(now, object);
            match before {
                Some(at) => _ = self.order.remove(&at),
                None if self.used.len() > self.size => {
                    let (_, oldest) = self.order.pop_first().unwrap();
                    self.used.remove(&oldest);
                }
                None => {}
            }
            before.is_some()
        }
    }

    fn zipf(objects: u32, exponent: f64) -> impl Fn(&mut Stream) -> u32 {
        let mut sums: Vec<f64> = (1..=objects)
            .scan(0.0, |sum, rank| {
                *sum += f64::from(rank).powf(-exponent);
                Some(*sum)
            })
            .collect();
        let total = sums[sums.len() - 1];
        sums.iter_mut().for_each(|sum| *sum /= total);
        move |stream| {
            let u = stream.uniform();
            sums.partition_point(|sum| *sum < u) as u32
        }
    }

    /// What Che's approximation itself is off by at most in these cases (Fricker, Robert, Roberts 2012, fig. 1).
    const MODEL: f64 = 0.005;

    #[test]
    fn the_steady_ratio_is_that_of_a_real_cache() {
        for (objects, exponent, cached) in [(2_000, 0.8, 200), (2_000, 1.2, 20), (500, 0.0, 100), (3_000, 0.9, 1_500)] {
            let (mut cache, draw) = (Lru::new(cached), zipf(objects, exponent));
            let mut stream = Stream::new(1, "requests", u64::from(objects));
            // 40 batches of 2,500 requests after 20,000 to fill: batch means, four standard errors.
            let batches: Vec<f64> = (0..48)
                .map(|batch| (0..2_500).filter(|i| cache.request(batch * 2_500 + i, draw(&mut stream))).count())
                .skip(8)
                .map(|hits| hits as f64 / 2_500.0)
                .collect();
            let n = batches.len() as f64;
            let mean = batches.iter().sum::<f64>() / n;
            let variance = batches.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let steady = CacheCurve::new(objects, exponent, cached as u32).steady();
            let bound = 4.0 * (variance / n).sqrt() + MODEL;
            assert!((mean - steady).abs() < bound, "{objects} {exponent} {cached}: {mean} {steady} ± {bound}");
        }
    }

    /// Each point of the transient over 3,000 cold caches: a binomial share, four standard errors.
    #[test]
    fn a_cold_cache_warms_up_as_a_real_one_does() {
        let (objects, exponent, cached) = (400, 0.9, 60);
        let (curve, draw) = (CacheCurve::new(objects, exponent, cached), zipf(objects, exponent));
        let (points, caches) = ([1, 2, 5, 10, 20, 40, 80, 160, 320], 3_000);
        let mut hits = [0u32; 9];
        for seed in 0..caches {
            let (mut cache, mut stream) = (Lru::new(cached as usize), Stream::new(seed, "requests", 0));
            for n in 0..=320 {
                let hit = cache.request(n, draw(&mut stream));
                if let Some(point) = points.iter().position(|at| *at == n) {
                    hits[point] += u32::from(hit);
                }
            }
        }
        for (n, hits) in points.iter().zip(hits) {
            let (share, expected) = (f64::from(hits) / caches as f64, curve.hit_ratio(*n as f64));
            let bound = 4.0 * (expected * (1.0 - expected) / caches as f64).sqrt() + MODEL;
            // The formula takes n as the mean of a Poisson number of requests; for the first few that shows.
            let few = 0.5 * expected / *n as f64;
            assert!((share - expected).abs() < bound + few, "after {n}: {share} {expected}");
        }
    }

    #[test]
    fn extremes_make_sense() {
        assert_eq!(CacheCurve::new(0, 1.0, 10).hit_ratio(0.0), 1.0);
        assert_eq!(CacheCurve::new(100, 1.0, 0).hit_ratio(1e9), 0.0);
        let all = CacheCurve::new(100, 1.0, 100);
        assert!(all.hit_ratio(1e9) > 1.0 - 1e-12 && all.steady() > 1.0 - 1e-12);
        assert_eq!(all.hit_ratio(0.0), 0.0);
        assert!(CacheCurve::new(1_000_000, 60.0, 999_999).steady() > 1.0 - 1e-9);
    }

    /// Che's equation, term by term over all objects, without groups.
    #[test]
    fn groups_and_table_change_next_to_nothing() {
        let (objects, exponent, cached) = (50_000, 0.8, 5_000);
        let curve = CacheCurve::new(objects, exponent, cached);
        let weights: Vec<f64> = (1..=objects).map(|rank| f64::from(rank).powf(-exponent)).collect();
        let total: f64 = weights.iter().sum();
        let t = curve.warm_after();
        let held: f64 = weights.iter().map(|w| -(-w / total * t).exp_m1()).sum();
        assert!((held / f64::from(cached) - 1.0).abs() < 1e-3, "{held}");
        for n in [1.0, 3.0, 100.0, 2_000.0, 0.7 * t, t, 10.0 * t] {
            let exact: f64 = weights.iter().map(|w| -w / total * (-w / total * n.min(t)).exp_m1()).sum();
            assert!((curve.hit_ratio(n) / exact - 1.0).abs() < 1e-3, "{n}: {} {exact}", curve.hit_ratio(n));
        }
    }

    proptest! {
        #[test]
        fn the_ratio_rises_with_requests_to_the_steady_one(
            objects in 1u32..100_000, exponent in 0.0..2.5f64, part in 0.0..1.2f64, n in 0.0..1e7f64, more in 1.0..10.0f64,
        ) {
            let curve = CacheCurve::new(objects, exponent, (f64::from(objects) * part) as u32);
            let (before, after) = (curve.hit_ratio(n), curve.hit_ratio(n * more));
            prop_assert!((0.0..=1.0).contains(&before));
            prop_assert!(before <= after && after <= curve.steady());
        }
    }
}
