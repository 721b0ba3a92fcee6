//! Caches: answers kept for a time to live, and least-recently-used objects.

use forebay_sim::statistics::Interval;
use forebay_sim::{Agenda, Stream, queueing};
use forebay_world::{Duration, Timestamp};

use super::line::seconds;
use super::{assert_inside, assert_outside, coverage, replicate, seed};

const QUERY_RATE: f64 = 0.1;
const TTL: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
enum Event {
    Query,
    Expiry,
}

/// Hits and queries of each of `cycles` fetches of one answer, by one cache.
fn fetches(seed: u64, cycles: usize) -> Vec<(f64, f64)> {
    let mut between = Stream::new(seed, "queries", 0);
    let mut agenda = Agenda::new();
    agenda.schedule(Timestamp::EPOCH, 0, Event::Query);
    let mut kept = false;
    let mut cycle: Vec<(f64, f64)> = Vec::with_capacity(cycles + 1);
    while cycle.len() <= cycles {
        let (now, event) = agenda.pop().expect("queries never end");
        match event {
            Event::Expiry => kept = false,
            Event::Query => {
                agenda.schedule(now + seconds(between.exponential() / QUERY_RATE), 0, Event::Query);
                if kept {
                    let (hits, queries) = cycle.last_mut().expect("something was fetched");
                    (*hits, *queries) = (*hits + 1.0, *queries + 1.0);
                } else {
                    kept = true;
                    agenda.schedule(now + TTL, 0, Event::Expiry);
                    cycle.push((0.0, 1.0));
                }
            }
        }
    }
    // The last fetch has just been made, and what it will answer is not known.
    cycle.truncate(cycles);
    cycle
}

#[test]
fn a_cache_that_keeps_answers_for_a_time_hits_by_jungs_formula() {
    let truth = queueing::ttl_hit_ratio(QUERY_RATE, TTL.as_secs_f64());
    assert_eq!(truth, 0.75);
    // A cache that starts the time to live anew with each query would hit 1 − e^(−λT) of them.
    let renewed = 1.0 - (-QUERY_RATE * TTL.as_secs_f64()).exp();
    let [ratio] = replicate("TTL", |seed| {
        let cycles = fetches(seed, 5_000);
        let (hits, queries) = cycles.iter().fold((0.0, 0.0), |sum, cycle| (sum.0 + cycle.0, sum.1 + cycle.1));
        [hits / queries]
    });
    assert_inside("hit ratio", ratio, truth);
    assert_outside("a time to live that each query renews", ratio, renewed);

    let trial = |n| Interval::of_ratio(&fetches(seed("TTL coverage", n), 400), 0.95).unwrap();
    let share = coverage(1_000, |n| trial(n).contains(truth));
    assert!((0.93..=0.97).contains(&share), "95 % intervals of the hit ratio contain the truth in {share}");
    assert!(coverage(1_000, |n| trial(n).contains(renewed)) < 0.01);
}

/// Objects in the order of their last use, as links between dense indices.
struct RecentlyUsed {
    /// (more recent, less recent) of each object, and of the ring's end at index `objects`.
    links: Vec<(u32, u32)>,
    present: Vec<bool>,
    room: usize,
}

impl RecentlyUsed {
    fn new(objects: usize, capacity: usize) -> Self {
        let end = objects as u32;
        RecentlyUsed { links: vec![(end, end); objects + 1], present: vec![false; objects], room: capacity }
    }

    /// True when `object` was there.
    fn request(&mut self, object: u32) -> bool {
        let end = (self.links.len() - 1) as u32;
        let hit = std::mem::replace(&mut self.present[object as usize], true);
        if hit {
            self.unlink(object);
        } else if self.room > 0 {
            self.room -= 1;
        } else {
            let oldest = self.links[end as usize].0;
            self.unlink(oldest);
            self.present[oldest as usize] = false;
        }
        let newest = self.links[end as usize].1;
        self.links[object as usize] = (end, newest);
        self.links[newest as usize].0 = object;
        self.links[end as usize].1 = object;
        hit
    }

    fn unlink(&mut self, object: u32) {
        let (newer, older) = self.links[object as usize];
        self.links[newer as usize].1 = older;
        self.links[older as usize].0 = newer;
    }
}

fn zipf(objects: usize, exponent: f64) -> Vec<f64> {
    (1..=objects).map(|rank| (rank as f64).powf(-exponent)).collect()
}

/// Hit ratio over `requests` after as many to warm up; the objects drawn by inversion.
fn replay(rates: &[f64], capacity: usize, requests: usize, seed: u64) -> f64 {
    let mut stream = Stream::new(seed, "objects", 0);
    let upto: Vec<f64> = rates
        .iter()
        .scan(0.0, |sum, rate| {
            *sum += rate;
            Some(*sum)
        })
        .collect();
    let all = upto[upto.len() - 1];
    let mut cache = RecentlyUsed::new(rates.len(), capacity);
    let mut hits = 0;
    for request in 0..2 * requests {
        let target = all * stream.uniform();
        let object = upto.partition_point(|&sum| sum < target);
        let hit = cache.request(object as u32);
        hits += usize::from(hit && request >= requests);
    }
    hits as f64 / requests as f64
}

/// W. King 1971: under independent requests the probability of each order of recency is a product, so that the hit
/// ratio of a small cache can be had by going through all orders.
fn exact_lru_hit_ratio(probabilities: &[f64], capacity: usize) -> f64 {
    fn extend(probabilities: &[f64], left: usize, taken: &mut Vec<usize>, weight: f64, mass: f64) -> f64 {
        if left == 0 {
            return weight * mass;
        }
        let mut sum = 0.0;
        for (object, p) in probabilities.iter().enumerate() {
            if !taken.contains(&object) {
                taken.push(object);
                sum += extend(probabilities, left - 1, taken, weight * p / (1.0 - mass), mass + p);
                taken.pop();
            }
        }
        sum
    }
    extend(probabilities, capacity, &mut Vec::new(), 1.0, 0.0)
}

#[test]
fn a_small_cache_hits_exactly_by_kings_formula() {
    let rates = zipf(6, 1.0);
    let all: f64 = rates.iter().sum();
    let probabilities: Vec<f64> = rates.iter().map(|rate| rate / all).collect();
    let exact = exact_lru_hit_ratio(&probabilities, 3);
    let [ratio] = replicate("LRU small", |seed| [replay(&rates, 3, 50_000, seed)]);
    assert_inside("hit ratio", ratio, exact);
    assert_outside("keeping the three most popular", ratio, probabilities[..3].iter().sum());
    // Che's approximation is for many objects; with six it is near, and told from the truth.
    let approximation = queueing::lru_hit_ratio(&rates, 3.0);
    assert!((approximation / exact - 1.0).abs() < 0.03, "{approximation} {exact}");
    assert_outside("Che's approximation", ratio, approximation);
}

#[test]
fn a_large_cache_hits_by_ches_approximation() {
    let rates = zipf(10_000, 0.8);
    let [ratio] = replicate("LRU", |seed| [replay(&rates, 1_000, 50_000, seed)]);
    assert_inside("hit ratio", ratio, queueing::lru_hit_ratio(&rates, 1_000.0));
    assert_outside("a tenth more room", ratio, queueing::lru_hit_ratio(&rates, 1_100.0));
    let popular = rates[..1_000].iter().sum::<f64>() / rates.iter().sum::<f64>();
    assert_outside("keeping the most popular", ratio, popular);
}
