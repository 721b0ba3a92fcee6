//! The engine against queueing theory: agenda, streams, stations, processor and statistics together must reproduce
//! what is known in closed form.
//!
//! A figure is checked by the confidence interval of independent replications, at 99.99 %: of some hundred checks, all
//! hold together in 99 % of seeds. That the intervals are what they claim is checked too (`intervals`). Each
//! family of checks has a negative control: a plausible wrong formula that the same data must reject.

mod caches;
mod intervals;
mod line;
mod processor;
mod stations;

use forebay_sim::Stream;
use forebay_sim::statistics::Interval;
use rayon::prelude::*;

const CONFIDENCE: f64 = 0.9999;
const REPLICATIONS: u64 = 40;

/// A law of service, scaled to mean 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Law {
    Exponential,
    Deterministic,
    /// Two phases with balanced means and squared coefficient of variation 4.
    Hyperexponential,
}

impl Law {
    const ALL: [Law; 3] = [Law::Exponential, Law::Deterministic, Law::Hyperexponential];

    fn draw(self, stream: &mut Stream) -> f64 {
        match self {
            Law::Exponential => stream.exponential(),
            Law::Deterministic => 1.0,
            Law::Hyperexponential => {
                let likely = 0.5 * (1.0 + (3.0f64 / 5.0).sqrt());
                let phase = if stream.uniform() <= likely { likely } else { 1.0 - likely };
                stream.exponential() / (2.0 * phase)
            }
        }
    }

    /// Mean of the square.
    fn square(self) -> f64 {
        match self {
            Law::Exponential => 2.0,
            Law::Deterministic => 1.0,
            Law::Hyperexponential => 5.0,
        }
    }
}

/// Seed of replication `n` of `family`: families of checks share no random numbers.
fn seed(family: &str, n: u64) -> u64 {
    Stream::new(n, family, 0).bits()
}

/// Intervals for what each replication measured: `figures` of a seed, each in its place.
fn replicate<const N: usize>(family: &str, figures: impl Fn(u64) -> [f64; N] + Send + Sync) -> [Interval; N] {
    let seeds: Vec<[f64; N]> = (0..REPLICATIONS).into_par_iter().map(|n| figures(seed(family, n))).collect();
    std::array::from_fn(|place| {
        let values: Vec<f64> = seeds.iter().map(|figures| figures[place]).collect();
        Interval::of_replications(&values, CONFIDENCE).unwrap()
    })
}

#[track_caller]
fn assert_inside(what: &str, interval: Interval, truth: f64) {
    assert!(interval.half_width > 0.0, "{what}: nothing varied");
    assert!(interval.contains(truth), "{what}: theory says {truth}, measured {interval:?}");
}

#[track_caller]
fn assert_outside(what: &str, interval: Interval, wrong: f64) {
    assert!(!interval.contains(wrong), "{what}: the check cannot tell {wrong} from {interval:?}");
}

/// Share of `trials` replications whose interval contains the truth.
fn coverage(trials: u64, covers: impl Fn(u64) -> bool + Sync) -> f64 {
    (0..trials).into_par_iter().filter(|&trial| covers(trial)).count() as f64 / trials as f64
}
