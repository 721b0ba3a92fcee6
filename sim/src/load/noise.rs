//! Slow wandering of a rate: a log-normal AR(1) process of mean 1, one level an interval.
//!
//! Any level can be had without those before it. Intervals come in blocks; a block's recursion
//! `x' = ρ·x + √(1 − ρ²)·ε` starts [`LEAD`] intervals before the block at a stationary value, on the same innovations
//! `ε` as the block before. So every `x` is standard normal exactly, the correlation within a block is ρ^lag exactly,
//! and across the border of two blocks it is short of that by less than ρ^[`LEAD`] ≈ 0.001.

use forebay_world::{Duration, Timestamp};
use rand_distr::StandardNormal;

use super::segment::Segment;
use crate::Stream;

const RHO: f64 = 0.9;
const BLOCK: usize = 256;
const LEAD: u64 = 64;
/// Draws set aside for one innovation, more than a normal variate ever takes.
const DRAWS: u64 = 1 << 10;

/// The process.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    innovations: Stream,
    sigma: f64,
    step: Duration,
}

/// The levels of one block.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    block: u64,
    levels: Box<[f64; BLOCK]>,
}

impl Noise {
    /// `None` for no noise.
    pub(super) fn new(innovations: Stream, sigma: f64, step: Duration) -> Option<Self> {
        assert!(sigma.is_finite() && sigma >= 0.0, "a standard deviation is not negative");
        (sigma > 0.0).then(|| {
            assert!(!step.is_zero(), "noise needs an interval");
            Noise { innovations, sigma, step }
        })
    }

    /// The level around `t`.
    pub(super) fn segment(&self, t: Timestamp, known: &mut Levels) -> Segment {
        let interval = t.as_nanos() / self.step.as_nanos();
        let block = interval / BLOCK as u64;
        if known.block != block {
            self.fill(block, known);
        }
        let since = Timestamp::EPOCH + self.step * interval;
        Segment::flat(since, since.saturating_add(self.step), known.levels[(interval % BLOCK as u64) as usize])
    }

    fn fill(&self, block: u64, into: &mut Levels) {
        // Innovation LEAD + k belongs to interval k.
        let first = block * BLOCK as u64;
        let innovation = |n: u64| -> f64 { self.innovations.at(n * DRAWS).sample(StandardNormal) };
        let scale = (1.0 - RHO * RHO).sqrt();
        let mut x = innovation(first);
        for n in 1..LEAD {
            x = RHO * x + scale * innovation(first + n);
        }
        for (n, level) in (LEAD..).zip(into.levels.iter_mut()) {
            x = RHO * x + scale * innovation(first + n);
            *level = (self.sigma * (x - 0.5 * self.sigma)).exp();
        }
        into.block = block;
    }
}

impl Levels {
    /// No block yet.
    pub(super) fn unknown() -> Self {
        Levels { block: u64::MAX, levels: Box::new([0.0; BLOCK]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_mins(5);

    fn levels(seed: u64, sigma: f64, n: u64) -> Vec<f64> {
        let noise = Noise::new(Stream::new(seed, "load noise", 3), sigma, STEP).unwrap();
        let mut known = Levels::unknown();
        (0..n).map(|k| noise.segment(Timestamp::EPOCH + STEP * k, &mut known).from).collect()
    }

    #[test]
    fn a_level_is_the_same_alone_and_in_sequence() {
        let sequence = levels(1, 0.3, 1000);
        let noise = Noise::new(Stream::new(1, "load noise", 3), 0.3, STEP).unwrap();
        for k in [999, 0, 255, 256, 257, 511, 64, 700] {
            let segment = noise.segment(Timestamp::EPOCH + STEP * k + Duration::from_secs(7), &mut Levels::unknown());
            assert_eq!(segment.from.to_bits(), sequence[k as usize].to_bits());
            assert_eq!(segment.since, Timestamp::EPOCH + STEP * k);
            assert_eq!(segment.until, Timestamp::EPOCH + STEP * (k + 1));
        }
    }

    /// One level from each of 20,000 seeds: independent, so the mean's standard error is known. The bounds are four
    /// standard errors wide. Interval 300 lies inside a block, 256 at its border.
    #[test]
    fn levels_have_mean_one_and_the_set_sigma_and_correlation() {
        let (sigma, n) = (0.3, 20_000);
        let pairs: Vec<[f64; 3]> = (0..n)
            .map(|seed| {
                let noise = Noise::new(Stream::new(seed, "load noise", 0), sigma, STEP).unwrap();
                let mut known = Levels::unknown();
                [255, 256, 259].map(|k| noise.segment(Timestamp::EPOCH + STEP * k, &mut known).from)
            })
            .collect();
        let n = n as f64;
        for i in 0..3 {
            let mean = pairs.iter().map(|p| p[i]).sum::<f64>() / n;
            let sd = ((sigma * sigma).exp() - 1.0f64).sqrt();
            assert!((mean - 1.0).abs() < 4.0 * sd / n.sqrt(), "mean {mean}");
        }
        // x is recovered from the level; a correlation r of normals has standard error (1 − r²)/√n.
        let x = |level: f64| level.ln() / sigma + 0.5 * sigma;
        for (i, j, lag) in [(0, 1, 1), (1, 2, 3)] {
            let r = pairs.iter().map(|p| x(p[i]) * x(p[j])).sum::<f64>() / n;
            let expected = RHO.powi(lag);
            let error = 4.0 * ((1.0 + expected * expected) / n).sqrt() + RHO.powi(LEAD as i32);
            assert!((r - expected).abs() < error, "lag {lag}: {r}");
        }
    }
}
