//! Hit ratios of caches under independent requests.

/// Share of queries answered from a cache that keeps an answer for `ttl` seconds from when it was fetched, asked
/// `query_rate` times a second by a Poisson process: λT/(1 + λT). Each fetch answers the λT queries in its TTL
/// (J. Jung, A. Berger, H. Balakrishnan, "Modeling TTL-based Internet Caches", INFOCOM 2003).
pub fn ttl_hit_ratio(query_rate: f64, ttl: f64) -> f64 {
    let hits = query_rate * ttl;
    if hits.is_finite() { hits / (1.0 + hits) } else { 1.0 }
}

/// How long an object that is not asked for stays in an LRU cache of `capacity` objects \[s\]: the T that solves
/// Σ(1 − e^(−λᵢT)) = C (H. Che, Y. Tung, Z. Wang, "Hierarchical Web Caching Systems", JSAC 2002; why it is accurate:
/// C. Fricker, P. Robert, J. Roberts, "A Versatile and Accurate Approximation for LRU Cache Performance", ITC 2012).
/// Infinite when all objects fit. `rates` are requests per second for each object; in any other unit of rate, T is in
/// its inverse.
pub fn che_characteristic_time(rates: &[f64], capacity: f64) -> f64 {
    let asked = rates.iter().filter(|&&rate| rate > 0.0).count();
    if capacity >= asked as f64 {
        return f64::INFINITY;
    }
    let present = |time: f64| rates.iter().map(|rate| -(-rate * time).exp_m1()).sum::<f64>();
    // What is present grows with T from 0 to all: enclose C, then bisect down to neighbouring floats.
    let mut high = 1.0 / rates.iter().sum::<f64>();
    while present(high) < capacity {
        high *= 2.0;
    }
    let mut low = 0.0;
    loop {
        let time = 0.5 * (low + high);
        if time <= low || time >= high {
            return time;
        }
        if present(time) < capacity { low = time } else { high = time }
    }
}

/// Hit ratio of an LRU cache of `capacity` objects asked for with `rates`, over all requests, by Che's approximation:
/// Σλᵢ(1 − e^(−λᵢT))/Σλᵢ with T of [`che_characteristic_time`].
pub fn lru_hit_ratio(rates: &[f64], capacity: f64) -> f64 {
    let time = che_characteristic_time(rates, capacity);
    let hits = |rate: f64| if rate > 0.0 { -(-rate * time).exp_m1() * rate } else { 0.0 };
    rates.iter().map(|&rate| hits(rate)).sum::<f64>() / rates.iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_limits() {
        assert_eq!(ttl_hit_ratio(0.0, 300.0), 0.0);
        assert_eq!(ttl_hit_ratio(1.0, 1.0), 0.5);
        assert_eq!(ttl_hit_ratio(1.0, f64::INFINITY), 1.0);
    }

    #[test]
    fn objects_equally_popular_are_hit_in_proportion() {
        let hit_ratio = lru_hit_ratio(&[3.0; 50], 10.0);
        assert!((hit_ratio - 0.2).abs() < 1e-12, "{hit_ratio}");
    }

    #[test]
    fn a_cache_for_all_misses_nothing() {
        assert_eq!(lru_hit_ratio(&[1.0, 2.0, 0.0], 2.0), 1.0);
        assert_eq!(lru_hit_ratio(&[1.0, 2.0], 0.0), 0.0);
    }
}
