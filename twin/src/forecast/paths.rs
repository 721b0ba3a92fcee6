//! Joint sample paths: what may come over the coming steps together, not step by step.
//!
//! Quantiles say how far off each step may be, not whether neighbours are off together; capacity that must stand over a
//! window is a quantile of the *most* within it, and that is not the most of the quantiles. Paths keep the two apart:
//! each is one future, and every question is asked of each future first and of all of them after.

use std::ops::Range;

/// So many futures of one series, or of a sum of series, over the same coming steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Paths {
    steps: usize,
    /// Path by path.
    values: Vec<f64>,
}

impl Paths {
    /// Paths of `steps` steps each, one after the other.
    ///
    /// # Panics
    /// When `values` is no whole number of paths, or there is none.
    pub fn new(steps: usize, values: Vec<f64>) -> Self {
        assert!(steps > 0 && !values.is_empty() && values.len().is_multiple_of(steps), "whole paths, one at least");
        Paths { steps, values }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.values.len() / self.steps
    }

    /// Steps of each.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Every path, its values step by step.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.steps)
    }

    /// How the most of `steps` is spread over the paths.
    ///
    /// # Panics
    /// When there are no such steps.
    pub fn most(&self, steps: Range<usize>) -> Spread {
        assert!(!steps.is_empty() && steps.end <= self.steps, "steps that the paths have");
        Spread::new(self.iter().map(|path| path[steps.clone()].iter().copied().fold(0.0, f64::max)).collect())
    }

    /// How the value of one step is spread over the paths.
    ///
    /// # Panics
    /// When there is no such step.
    pub fn at(&self, step: usize) -> Spread {
        self.most(step..step + 1)
    }

    /// Adds `share` of another series' paths, future by future: what was high together stays high together.
    ///
    /// # Panics
    /// When there are not as many paths, of as many steps.
    pub fn add(&mut self, other: &Paths, share: f64) {
        assert!(self.steps == other.steps && self.values.len() == other.values.len(), "paths alike");
        self.values.iter_mut().zip(&other.values).for_each(|(sum, value)| *sum += share * value);
    }

    /// The same futures, with every value through `change`: given its step and the value.
    pub fn map(mut self, change: impl Fn(usize, f64) -> f64) -> Paths {
        let steps = self.steps;
        self.values.iter_mut().enumerate().for_each(|(at, value)| *value = change(at % steps, *value));
        self
    }
}

/// A number of which all that is known is what it is in each of so many futures.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// Takes what it is in each future, in any order; undefined values are taken as zero.
    ///
    /// # Panics
    /// When there is none.
    pub fn new(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "at least one future");
        values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
        values.sort_unstable_by(f64::total_cmp);
        Spread(values)
    }

    /// What it does not exceed in a share `level` of the futures, 0 to 1: linear between plotting positions
    /// (i − ½)/n (A. Hazen, 1914), and beyond the outermost in an exponential tail with the mean excess of the upper
    /// tenth, for futures that were not drawn.
    pub fn quantile(&self, level: f64) -> f64 {
        let n = self.0.len();
        let position = level * n as f64 - 0.5;
        if position >= (n - 1) as f64 {
            let beyond = (0.5 / n as f64) / (1.0 - level).max(1e-6);
            return self.0[n - 1] + self.tail() * beyond.max(1.0).ln();
        }
        let below = (position.max(0.0)) as usize;
        let share = (position - below as f64).clamp(0.0, 1.0);
        self.0[below] + share * (self.0[(below + 1).min(n - 1)] - self.0[below])
    }

    /// Share of the futures in which it is above `value`, 0 to 1: the inverse of [`Spread::quantile`].
    pub fn share_above(&self, value: f64) -> f64 {
        let n = self.0.len();
        let last = self.0[n - 1];
        if value >= last {
            let tail = self.tail();
            let half = 0.5 / n as f64;
            return if tail > 0.0 { half * (-(value - last) / tail).exp() } else { 0.0 };
        }
        let after = self.0.partition_point(|known| *known <= value);
        if after == 0 {
            return 1.0;
        }
        let (low, high) = (self.0[after - 1], self.0[after]);
        let share = if high > low { (value - low) / (high - low) } else { 0.0 };
        (1.0 - (after as f64 - 0.5 + share) / n as f64).clamp(0.0, 1.0)
    }

    /// Mean over the futures.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// What it is in each future, ascending.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// Mean excess of the upper tenth over its lowest.
    fn tail(&self) -> f64 {
        let n = self.0.len();
        let tenth = &self.0[n - (n / 10).clamp(1, n)..];
        tenth.iter().map(|value| value - tenth[0]).sum::<f64>() / tenth.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::chance::Chance;
    use proptest::prelude::*;

    #[test]
    fn the_quantile_of_the_most_is_not_the_most_of_the_quantiles() {
        let mut chance = Chance::new(1, "paths");
        let together = Paths::new(8, (0..500).flat_map(|_| [chance.uniform(); 8]).collect());
        let apart = Paths::new(8, (0..4000).map(|_| chance.uniform()).collect());
        let most = |paths: &Paths| paths.most(0..8).quantile(0.9);
        assert!((most(&together) - 0.9).abs() < 0.05, "{}", most(&together));
        // The most of eight independent uniforms: 0.9 = q⁸.
        assert!((most(&apart) - 0.9f64.powf(0.125)).abs() < 0.01, "{}", most(&apart));
        assert!((apart.at(3).quantile(0.9) - 0.9).abs() < 0.05);
    }

    #[test]
    fn the_tail_beyond_the_futures_is_that_of_an_exponential() {
        let n = 1000;
        let spread = Spread::new((0..n).map(|i| -(1.0 - (f64::from(i) + 0.5) / f64::from(n)).ln()).collect());
        let exact = -(1e-4f64).ln();
        assert!((spread.quantile(1.0 - 1e-4) / exact - 1.0).abs() < 0.05, "{} {exact}", spread.quantile(1.0 - 1e-4));
    }

    proptest! {
        #[test]
        fn share_above_inverts_the_quantile(
            values in prop::collection::vec(0.0f64..1e6, 2..60),
            level in 0.001f64..0.9999,
        ) {
            let spread = Spread::new(values);
            let value = spread.quantile(level);
            let back = 1.0 - spread.share_above(value);
            // Below the first plotting position all levels have one quantile, and equal values have many levels.
            let again = spread.quantile(back);
            prop_assert!((again - value).abs() <= 1e-6 * (1.0 + value.abs()), "{value} {again} {back} {level}");
            prop_assert!(spread.quantile((level + 0.0005).min(0.9999)) >= value - 1e-9);
        }

        #[test]
        fn sums_keep_futures_together(a in prop::collection::vec(0.0f64..9.0, 12), b in prop::collection::vec(0.0f64..9.0, 12)) {
            let mut sum = Paths::new(4, a.clone());
            sum.add(&Paths::new(4, b.clone()), 0.5);
            let flat: Vec<f64> = sum.iter().flatten().copied().collect();
            for (at, value) in flat.iter().enumerate() {
                prop_assert!((value - (a[at] + 0.5 * b[at])).abs() < 1e-12);
            }
        }
    }
}
