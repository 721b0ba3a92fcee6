//! Mean, variance and extremes of a series, in one pass and constant space.

/// Count, mean, variance, least and greatest of the values added.
///
/// The recurrence of B. Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products",
/// Technometrics 1962, which does not cancel when the variance is small beside the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    count: u64,
    mean: f64,
    squares: f64,
    least: f64,
    greatest: f64,
}

impl Tally {
    /// Of nothing yet.
    pub const fn new() -> Self {
        Tally { count: 0, mean: 0.0, squares: 0.0, least: f64::INFINITY, greatest: f64::NEG_INFINITY }
    }

    /// Adds one value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let deviation = value - self.mean;
        self.mean += deviation / self.count as f64;
        self.squares += deviation * (value - self.mean);
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
    }

    /// Adds what another tally has seen (T. Chan, G. Golub, R. LeVeque, "Updating Formulae and a Pairwise Algorithm
    /// for Computing Sample Variances", 1979). Rounding depends on the order of merging: merge in a fixed order.
    pub fn merge(&mut self, other: &Tally) {
        if other.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let deviation = other.mean - self.mean;
        self.count += other.count;
        self.mean += deviation * (m / (n + m));
        self.squares += other.squares + deviation * deviation * (n * m / (n + m));
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// Values added.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; `None` of nothing.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The unbiased sample variance; `None` of fewer than two values.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }

    /// The least value; `None` of nothing.
    pub fn least(&self) -> Option<f64> {
        (self.count > 0).then_some(self.least)
    }

    /// The greatest value; `None` of nothing.
    pub fn greatest(&self) -> Option<f64> {
        (self.count > 0).then_some(self.greatest)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Tally::new()
    }
}

impl FromIterator<f64> for Tally {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut tally = Tally::new();
        values.into_iter().for_each(|value| tally.add(value));
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tally_of_little_says_so() {
        let mut tally = Tally::new();
        assert_eq!((tally.mean(), tally.variance(), tally.least(), tally.greatest()), (None, None, None, None));
        tally.add(3.0);
        assert_eq!((tally.mean(), tally.variance(), tally.greatest()), (Some(3.0), None, Some(3.0)));
    }

    #[test]
    fn a_small_variance_beside_a_large_mean_survives() {
        let tally: Tally = [4.0, 7.0, 13.0, 16.0].into_iter().map(|x| x + 1e9).collect();
        assert_eq!(tally.mean(), Some(1e9 + 10.0));
        assert_eq!(tally.variance(), Some(30.0));
    }

    proptest! {
        #[test]
        fn merging_parts_equals_adding_all(values in prop::collection::vec(-1e3..1e3f64, 2..200), cut in 0usize..200) {
            let cut = cut.min(values.len());
            let whole: Tally = values.iter().copied().collect();
            let mut parts: Tally = values[..cut].iter().copied().collect();
            parts.merge(&values[cut..].iter().copied().collect());
            prop_assert_eq!(parts.count(), whole.count());
            prop_assert_eq!((parts.least(), parts.greatest()), (whole.least(), whole.greatest()));
            // Rounding: at most a few ulps of the largest magnitude for each of up to 200 additions.
            prop_assert!((parts.mean().unwrap() - whole.mean().unwrap()).abs() < 1e-10);
            prop_assert!((parts.variance().unwrap() - whole.variance().unwrap()).abs() < 1e-6);
        }
    }
}
