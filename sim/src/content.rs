//! Content caches of virtual machines: how likely an object is found, from cold to warm.
//!
//! Not a cache: no object is kept here. A least-recently-used cache under independent requests is described by its
//! characteristic time (H. Che, Y. Tung, Z. Wang, "Hierarchical Web Caching Systems", 2002; why it is so close:
//! C. Fricker, P. Robert, J. Roberts, 2012): an object with popularity p is found when it was asked for within the last
//! T requests, where T solves Σ(1 − e^(−pT)) = size. After n requests since cold, the same holds within the last
//! min(n, T), so the hit ratio is h(n) = Σ p(1 − e^(−p·min(n, T))).

use crate::octaves::Octaves;

/// Hit ratio of one virtual machine's cache over the requests it has seen. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheCurve {
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
        let hit_ratio = |requests: f64| popularity.hit_ratio(requests.min(characteristic));
        // The least popular object of all is met after some 1/p requests; 40 of those are as good as all.
        let warm = characteristic.min(40.0 / popularity.least()).max(2.0);
        let table = Octaves::tabulate(0, warm.log2().ceil() as i32 + 1, |requests| [hit_ratio(requests)]);
        let steady = if objects == 0 { 1.0 } else { hit_ratio(f64::INFINITY) };
        CacheCurve { characteristic: if objects == 0 { 0.0 } else { warm }, steady, table }
    }

    /// Chance that the request after `requests` others since cold finds its object, 0 to 1.
    #[inline]
    pub fn hit_ratio(&self, requests: f64) -> f64 {
        if requests >= self.characteristic {
            return self.steady;
        }
        match self.table.at(requests) {
            Some([ratio]) => ratio.min(self.steady),
            // Below one request: straight down to nothing.
            None => self.table.at(1.0).map_or(0.0, |[first]| first * requests.max(0.0)),
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
struct Popularity {
    /// How many objects, and the popularity of each.
    groups: Vec<(f64, f64)>,
}

const ALONE: u32 = 256;

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
        while self.met(high) < cached {
            (low, high) = (high, high * 2.0);
        }
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.met(middle) < cached { low = middle } else { high = middle }
        }
        high
    }
}
