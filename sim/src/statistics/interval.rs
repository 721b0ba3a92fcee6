//! Confidence intervals for a mean: what replications, pairs of them, or cycles of one run say about the truth.

use super::{Tally, student_t_quantile};

/// A two-sided confidence interval, mean ± half width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The estimate, in the middle.
    pub mean: f64,
    /// Half the width of the interval.
    pub half_width: f64,
}

impl Interval {
    /// Of the mean of independent replications, one value each, by Student's t: mean ± t·s/√n with n − 1 degrees of
    /// freedom (A. Law, "Simulation Modeling and Analysis", section 9.5). `None` for fewer than two replications, of
    /// which one cannot say how far they vary.
    pub fn of_replications(values: &[f64], confidence: f64) -> Option<Interval> {
        Interval::of_tally(&values.iter().copied().collect(), confidence)
    }

    /// The same for replications already tallied.
    pub fn of_tally(values: &Tally, confidence: f64) -> Option<Interval> {
        assert!(confidence > 0.0 && confidence < 1.0, "a confidence is between 0 and 1, not {confidence}");
        let n = values.count();
        let standard_error = (values.variance()? / n as f64).sqrt();
        let t = student_t_quantile(0.5 + 0.5 * confidence, n - 1);
        Some(Interval { mean: values.mean()?, half_width: t * standard_error })
    }

    /// Of the mean of `ours[i] − theirs[i]`, where the two were run with common random numbers: what both owe to the
    /// random numbers cancels (A. Law, section 10.2.1). `None` for fewer than two pairs.
    ///
    /// Panics when the two differ in length.
    pub fn of_paired_differences(ours: &[f64], theirs: &[f64], confidence: f64) -> Option<Interval> {
        assert_eq!(ours.len(), theirs.len(), "every replication has its pair");
        Interval::of_tally(&ours.iter().zip(theirs).map(|(a, b)| a - b).collect(), confidence)
    }

    /// Of a share E\[part\]/E\[whole\] from independent (part, whole) pairs: the cycles of a regenerative process, or
    /// replications of unequal size (M. Crane, A. Iglehart, "Simulating Stable Stochastic Systems, III", Operations
    /// Research 1975). `None` for fewer than two pairs, or when nothing is in the whole.
    pub fn of_ratio(pairs: &[(f64, f64)], confidence: f64) -> Option<Interval> {
        let part: Tally = pairs.iter().map(|&(part, _)| part).collect();
        let whole: Tally = pairs.iter().map(|&(_, whole)| whole).collect();
        let mean_whole = whole.mean().filter(|&mean| mean > 0.0)?;
        let ratio = part.mean()? / mean_whole;
        let residuals = pairs.iter().map(|&(part, whole)| (part - ratio * whole) / mean_whole).collect();
        let spread = Interval::of_tally(&residuals, confidence)?;
        Some(Interval { mean: ratio, half_width: spread.half_width })
    }

    /// The lower end.
    pub fn low(&self) -> f64 {
        self.mean - self.half_width
    }

    /// The upper end.
    pub fn high(&self) -> f64 {
        self.mean + self.half_width
    }

    /// True when `value` is not outside.
    pub fn contains(&self, value: f64) -> bool {
        self.low() <= value && value <= self.high()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_replication_has_no_interval() {
        assert_eq!(Interval::of_replications(&[1.0], 0.95), None);
        assert_eq!(Interval::of_replications(&[], 0.95), None);
        assert_eq!(Interval::of_ratio(&[(0.0, 0.0), (0.0, 0.0)], 0.95), None);
    }

    /// Five values with mean 3 and variance 2.5: half width t₀.₉₇₅,₄ √(2.5/5) = 2.776445 × 0.707107.
    #[test]
    fn a_worked_example() {
        let interval = Interval::of_replications(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.95).unwrap();
        assert_eq!(interval.mean, 3.0);
        assert!((interval.half_width - 1.963243).abs() < 1e-6);
        assert!(interval.contains(interval.low()) && !interval.contains(5.0));
    }

    #[test]
    fn what_both_share_cancels_in_pairs() {
        let noise = [13.0, -250.0, 77.0, 1000.0];
        let ours: Vec<f64> = noise.iter().map(|x| x + 4.0).collect();
        let difference = Interval::of_paired_differences(&ours, &noise, 0.95).unwrap();
        assert_eq!((difference.mean, difference.half_width), (4.0, 0.0));
    }

    #[test]
    fn a_constant_share_is_certain() {
        let share = Interval::of_ratio(&[(1.0, 4.0), (2.0, 8.0), (5.0, 20.0)], 0.95).unwrap();
        assert_eq!((share.mean, share.half_width), (0.25, 0.0));
    }
}
