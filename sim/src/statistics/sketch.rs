//! Quantiles of a stream of values in constant space, within 1 % of the value.
//!
//! `DDSketch` (C. Masson, J. Rim, H. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error
//! Guarantees", VLDB 2019): counts in buckets whose width is proportional to the value. Here a bucket is one
//! sixty-fourth of an octave's span, so that its index is the top bits of the floating-point number: no logarithm, hence
//! the same index on every machine, at the price of 64 buckets an octave where a logarithm would need 35.

/// Relative width of the narrowest buckets is 2⁻⁶.
const MANTISSA_BITS: u32 = 6;
const BUCKETS_PER_OCTAVE: usize = 1 << MANTISSA_BITS;
const SHIFT: u32 = f64::MANTISSA_DIGITS - 1 - MANTISSA_BITS;

/// Counts of values, from which any quantile can be had within 1 % of its value.
///
/// 512 B for each octave between the least and the greatest value seen; it grows only when a new octave is seen.
/// Merging is exact and does not depend on the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantileSketch {
    /// Bucket number of `counts[0]`, a multiple of `BUCKETS_PER_OCTAVE`.
    first: usize,
    counts: Vec<u64>,
    /// Values below [`QuantileSketch::LEAST`], told from each other no more.
    zeros: u64,
    count: u64,
    /// Bits of the least and greatest value: for values that are not negative, ordered as the values are.
    least_bits: u64,
    greatest_bits: u64,
}

impl QuantileSketch {
    /// The relative error of a quantile is not above this.
    pub const RELATIVE_ACCURACY: f64 = 0.01;
    /// What is below this counts as zero: 2⁻⁴⁰ ≈ 9·10⁻¹³.
    pub const LEAST: f64 = 1.0 / (1u64 << 40) as f64;
    /// What is above this counts in the last bucket, where only the greatest value is known: 2⁶⁴ ≈ 1.8·10¹⁹.
    pub const GREATEST: f64 = 18_446_744_073_709_551_616.0;

    /// Of nothing yet. Allocates nothing.
    pub const fn new() -> Self {
        QuantileSketch { first: 0, counts: Vec::new(), zeros: 0, count: 0, least_bits: u64::MAX, greatest_bits: 0 }
    }

    /// Adds one value. Panics when it is negative or not a number.
    #[inline]
    pub fn insert(&mut self, value: f64) {
        self.insert_many(value, 1);
    }

    /// Adds the same value `times` times. Panics when it is negative or not a number.
    #[inline]
    pub fn insert_many(&mut self, value: f64, times: u64) {
        assert!(value >= 0.0, "a sketch takes values that are not negative, and got {value}");
        if times == 0 {
            return;
        }
        // Adding zero makes -0.0 the +0.0 whose bits are ordered.
        let bits = (value + 0.0).to_bits();
        self.least_bits = self.least_bits.min(bits);
        self.greatest_bits = self.greatest_bits.max(bits);
        self.count += times;
        if value < Self::LEAST {
            self.zeros += times;
            return;
        }
        let bucket = bucket_of(value.min(Self::GREATEST));
        match self.counts.get_mut(bucket.wrapping_sub(self.first)) {
            Some(count) => *count += times,
            None => {
                self.reach(bucket, bucket);
                self.counts[bucket - self.first] += times;
            }
        }
    }

    /// Adds all that `other` has seen.
    pub fn merge(&mut self, other: &QuantileSketch) {
        if !other.counts.is_empty() {
            self.reach(other.first, other.first + other.counts.len() - 1);
            let offset = other.first - self.first;
            for (mine, theirs) in self.counts[offset..].iter_mut().zip(&other.counts) {
                *mine += theirs;
            }
        }
        self.zeros += other.zeros;
        self.count += other.count;
        self.least_bits = self.least_bits.min(other.least_bits);
        self.greatest_bits = self.greatest_bits.max(other.greatest_bits);
    }

    /// Forgets all values and keeps the memory.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        *self = QuantileSketch { first: self.first, counts: std::mem::take(&mut self.counts), ..QuantileSketch::new() };
    }

    /// Values added.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The least value, exact; `None` of nothing.
    pub fn least(&self) -> Option<f64> {
        (self.count > 0).then(|| f64::from_bits(self.least_bits))
    }

    /// The greatest value, exact; `None` of nothing.
    pub fn greatest(&self) -> Option<f64> {
        (self.count > 0).then(|| f64::from_bits(self.greatest_bits))
    }

    /// The value of rank ⌊q·(n−1)⌋ in ascending order (the paper's lower quantile), within 1 % of its value, for `q`
    /// from 0 to 1; `None` of nothing.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        assert!((0.0..=1.0).contains(&q), "a quantile is between 0 and 1, not {q}");
        let (least, greatest) = (self.least()?, self.greatest()?);
        let mut rank = (q * (self.count - 1) as f64) as u64;
        // The two ends are known exactly; past 2⁵³ values q = 1 would also round.
        if q == 1.0 {
            return Some(greatest);
        }
        if rank < self.zeros {
            return Some(least);
        }
        rank -= self.zeros;
        for (offset, &count) in self.counts.iter().enumerate() {
            if rank < count {
                return Some(middle(self.first + offset).clamp(least, greatest));
            }
            rank -= count;
        }
        Some(greatest)
    }

    /// Share of the values that are not above `threshold`, counting the whole bucket that `threshold` is in: exact
    /// for some threshold within 2 % of the given one; `None` of nothing.
    pub fn share_not_above(&self, threshold: f64) -> Option<f64> {
        let greatest = self.greatest()?;
        if threshold >= greatest {
            return Some(1.0);
        }
        if threshold < f64::from_bits(self.least_bits) {
            return Some(0.0);
        }
        let mut below = self.zeros;
        if threshold >= Self::LEAST {
            let buckets = (bucket_of(threshold.min(Self::GREATEST)) + 1).saturating_sub(self.first);
            below += self.counts.iter().take(buckets).sum::<u64>();
        }
        Some(below as f64 / self.count as f64)
    }

    /// Makes room for the buckets from `low` to `high`, in whole octaves so that the room depends on what was seen and
    /// not on its order.
    #[cold]
    fn reach(&mut self, low: usize, high: usize) {
        let (low, end) = (low - low % BUCKETS_PER_OCTAVE, (high / BUCKETS_PER_OCTAVE + 1) * BUCKETS_PER_OCTAVE);
        if self.counts.is_empty() {
            self.first = low;
        }
        let (first, last) = (self.first.min(low), (self.first + self.counts.len()).max(end));
        let mut counts = vec![0; last - first];
        let offset = self.first - first;
        counts[offset..offset + self.counts.len()].copy_from_slice(&self.counts);
        (self.first, self.counts) = (first, counts);
    }
}

impl Default for QuantileSketch {
    fn default() -> Self {
        QuantileSketch::new()
    }
}

#[inline]
fn bucket_of(value: f64) -> usize {
    (value.to_bits() >> SHIFT) as usize
}

/// The value whose relative distance to both ends of a bucket [a, b) is the same: 2ab/(a+b), off by at most
/// (b−a)/(a+b) ≤ 1/129.
fn middle(bucket: usize) -> f64 {
    let (a, b) = (f64::from_bits((bucket as u64) << SHIFT), f64::from_bits((bucket as u64 + 1) << SHIFT));
    a * (2.0 * (b / (a + b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> QuantileSketch {
        let mut sketch = QuantileSketch::new();
        values.iter().for_each(|&value| sketch.insert(value));
        sketch
    }

    fn exact(values: &[f64], q: f64) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[(q * (values.len() - 1) as f64) as usize]
    }

    #[test]
    fn a_sketch_of_nothing_says_so() {
        let sketch = QuantileSketch::new();
        assert_eq!((sketch.quantile(0.5), sketch.greatest(), sketch.share_not_above(1.0)), (None, None, None));
    }

    #[test]
    fn ends_and_zeros_are_exact() {
        let sketch = of(&[0.0, -0.0, 1e-15, 3.14, 1e300, f64::INFINITY]);
        assert_eq!(sketch.least(), Some(0.0));
        assert_eq!(sketch.greatest(), Some(f64::INFINITY));
        assert_eq!(sketch.quantile(0.0), Some(0.0));
        assert_eq!(sketch.quantile(1.0), Some(f64::INFINITY));
        assert_eq!(of(&[7.3]).quantile(0.5), Some(7.3));
    }

    #[test]
    #[should_panic(expected = "not negative")]
    fn what_is_not_a_number_is_refused() {
        QuantileSketch::new().insert(f64::NAN);
    }

    #[test]
    fn quantiles_of_heavy_tails_are_within_one_percent() {
        let mut stream = Stream::new(1, "sketch", 0);
        let laws: [fn(&mut Stream) -> f64; 3] = [
            |s| s.exponential() * 1e-3,
            |s| s.uniform().powf(-1.0 / 1.1),
            |s| (3.0 * s.sample::<f64>(rand_distr::StandardNormal)).exp(),
        ];
        for law in laws {
            let values: Vec<f64> = (0..50_000).map(|_| law(&mut stream)).collect();
            let sketch = of(&values);
            for q in [0.001, 0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999] {
                let (estimate, exact) = (sketch.quantile(q).unwrap(), exact(&values, q));
                assert!((estimate / exact - 1.0).abs() <= QuantileSketch::RELATIVE_ACCURACY, "{q}: {estimate} {exact}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_quantile_is_within_one_percent(
            values in prop::collection::vec((-11i32..19).prop_flat_map(|e| (1.0..10f64).prop_map(move |m| m * 10f64.powi(e))), 1..300),
            q in 0.0..=1.0f64,
        ) {
            let (estimate, exact) = (of(&values).quantile(q).unwrap(), exact(&values, q));
            prop_assert!((estimate / exact - 1.0).abs() <= QuantileSketch::RELATIVE_ACCURACY);
        }

        #[test]
        fn merging_in_any_order_equals_inserting_all(
            parts in prop::collection::vec(prop::collection::vec(0.0..1e6f64, 0..20), 1..6),
        ) {
            let whole = of(&parts.concat());
            let merged = |order: &mut dyn Iterator<Item = &Vec<f64>>| {
                order.fold(QuantileSketch::new(), |mut all, part| { all.merge(&of(part)); all })
            };
            prop_assert_eq!(&merged(&mut parts.iter()), &whole);
            prop_assert_eq!(&merged(&mut parts.iter().rev()), &whole);
        }

        #[test]
        fn the_share_below_is_that_of_a_threshold_nearby(
            values in prop::collection::vec(0.0..100f64, 1..200), threshold in 1e-3..120f64,
        ) {
            let share = of(&values).share_not_above(threshold).unwrap();
            let exact = |t: f64| values.iter().filter(|&&v| v <= t).count() as f64 / values.len() as f64;
            prop_assert!(exact(threshold) <= share && share <= exact(threshold * 1.02));
        }
    }

    #[test]
    fn clearing_keeps_nothing_but_memory() {
        let mut sketch = of(&[1.0, 2.0, 0.0]);
        sketch.clear();
        assert_eq!((sketch.count(), sketch.quantile(0.5)), (0, None));
        sketch.insert(5.0);
        assert_eq!(sketch.quantile(0.5), Some(5.0));
    }
}
