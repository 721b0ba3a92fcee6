//! A confidence interval out of one long run, whose values depend on each other.

use super::{Interval, Tally};

/// Means of consecutive batches of a stationary series: long batches are nearly independent though neighbouring values
/// are not (A. Law, "Simulation Modeling and Analysis", section 9.5.3). For 10 to 30 batches little is to be gained
/// from more (B. Schmeiser, "Batch Size Effects in the Analysis of Simulation Output", Operations Research 1982).
///
/// The length of the run need not be known: between `batches` and twice as many are kept, and when all are full,
/// neighbours are joined and the batch size doubles. The series must be past its warm-up (see [`super::mser5`]).
#[derive(Clone, Debug, PartialEq)]
pub struct BatchMeans {
    /// Half the number of batches at which neighbours are joined. Kept apart from the capacity, which a copy loses.
    batches: usize,
    /// Sums of the complete batches.
    sums: Vec<f64>,
    batch_size: u64,
    sum: f64,
    filled: u64,
}

impl BatchMeans {
    /// Keeps from `batches` to `2·batches − 1` batches once enough values have come. Panics for fewer than two.
    pub fn new(batches: usize) -> Self {
        assert!(batches >= 2, "one batch has no variance");
        BatchMeans { batches, sums: Vec::with_capacity(2 * batches), batch_size: 1, sum: 0.0, filled: 0 }
    }

    /// Adds the next value of the series.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.sum += value;
        self.filled += 1;
        if self.filled == self.batch_size {
            self.close();
        }
    }

    /// Values in a batch.
    pub const fn batch_size(&self) -> u64 {
        self.batch_size
    }

    /// The means of the complete batches, in order.
    pub fn means(&self) -> impl Iterator<Item = f64> + '_ {
        self.sums.iter().map(|sum| sum / self.batch_size as f64)
    }

    /// Of the mean of the series, from the complete batches; `None` of fewer than two.
    pub fn interval(&self, confidence: f64) -> Option<Interval> {
        Interval::of_tally(&self.means().collect(), confidence)
    }

    /// Correlation of neighbouring batch means. Far above 2/√n, the batches are too short and the interval too narrow;
    /// `None` of fewer than three batches, or when all are equal.
    pub fn autocorrelation(&self) -> Option<f64> {
        let means: Tally = self.means().collect();
        let (mean, squares) = (means.mean()?, means.variance()? * (means.count() - 1) as f64);
        let products: f64 =
            self.means().zip(self.means().skip(1)).map(|(first, second)| (first - mean) * (second - mean)).sum();
        (means.count() > 2 && squares > 0.0).then_some(products / squares)
    }

    fn close(&mut self) {
        self.sums.push(self.sum);
        (self.sum, self.filled) = (0.0, 0);
        if self.sums.len() == 2 * self.batches {
            for pair in 0..self.batches {
                self.sums[pair] = self.sums[2 * pair] + self.sums[2 * pair + 1];
            }
            self.sums.truncate(self.batches);
            self.batch_size *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_joined_so_that_their_number_stays_bounded() {
        let mut series = BatchMeans::new(4);
        for value in 0..1000u32 {
            series.add(f64::from(value));
            assert!(value < 8 || (4..8).contains(&series.means().count()));
        }
        // 1000 values: 7 complete batches of 128, the rest of 104 still open.
        assert_eq!(series.batch_size(), 128);
        assert_eq!(series.means().collect::<Vec<_>>(), [63.5, 191.5, 319.5, 447.5, 575.5, 703.5, 831.5]);
        assert_eq!(series.interval(0.95).unwrap().mean, 447.5);
        assert!(series.autocorrelation().unwrap() > 0.5, "a trend shows");
    }

    #[test]
    fn a_copy_goes_on_as_the_original() {
        let mut series = BatchMeans::new(3);
        (0..5).for_each(|value| series.add(f64::from(value)));
        let mut copy = series.clone();
        for value in 0..50 {
            series.add(f64::from(value));
            copy.add(f64::from(value));
        }
        assert_eq!(series, copy);
        assert!(copy.means().count() < 6);
    }

    #[test]
    fn little_data_has_no_interval() {
        let mut series = BatchMeans::new(10);
        assert_eq!((series.interval(0.95), series.autocorrelation()), (None, None));
        series.add(1.0);
        assert_eq!(series.interval(0.95), None);
    }
}
