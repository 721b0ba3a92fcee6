//! Where the warm-up of a run ends.

/// How many values to delete from the start of `series`, by MSER-5 (K. P. White, "An Effective Truncation Heuristic for
/// Bias Reduction in Simulation Output", Simulation 1997): over means of five consecutive values, the truncation that
/// minimises the squared standard error of the mean of the rest.
///
/// `None` when the minimum lies in the second half, or fewer than ten values are given: the run is too short to tell
/// (S. Hoad, S. Robinson, R. Davies, "Automating Warm-Up Length Estimation", J. Operational Research Society 2010).
pub fn mser5(series: &[f64]) -> Option<usize> {
    let means: Vec<f64> = series.chunks_exact(5).map(|five| five.iter().sum::<f64>() / 5.0).collect();
    if means.len() < 2 {
        return None;
    }
    let (mut mean, mut squares) = (0.0, 0.0);
    let (mut least, mut truncation) = (f64::INFINITY, 0);
    for (index, &value) in means.iter().enumerate().rev() {
        let kept = (means.len() - index) as f64;
        let deviation = value - mean;
        mean += deviation / kept;
        squares += deviation * (value - mean);
        let squared_error = squares / (kept * kept);
        // The last few alone vary by chance hardly at all; five are the least that are compared (Hoad et al.).
        let enough = kept >= 5.0 || index == 0;
        // `<=`: of equals, the one that deletes less.
        if enough && squared_error <= least {
            (least, truncation) = (squared_error, index);
        }
    }
    (truncation <= means.len() / 2).then_some(5 * truncation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    /// 1,000 values of noise after a warm-up that starts `bias` too low and decays by 2 % a value.
    fn settling(bias: f64) -> Vec<f64> {
        let mut stream = Stream::new(5, "warm-up", 0);
        (0..1000).map(|n| stream.exponential() - bias * 0.98f64.powi(n)).collect()
    }

    #[test]
    fn a_stationary_series_loses_nothing_or_little() {
        assert!(mser5(&settling(0.0)).unwrap() <= 100);
        assert_eq!(mser5(&[1.0; 50]), Some(0));
    }

    #[test]
    fn a_start_far_off_is_deleted() {
        // After 150 values a bias of 20 has sunk to 1, the standard deviation of the noise; after 350 to 0.02.
        let deleted = mser5(&settling(20.0)).unwrap();
        assert!((150..350).contains(&deleted), "{deleted}");
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let all = settling(20.0);
        // The noise has mean 1; the mean of 650 values has standard error 0.039.
        assert!((mean(&all[deleted..]) - 1.0).abs() < 4.0 * 0.039);
        assert!((mean(&all) - 1.0).abs() > 0.5);
    }

    #[test]
    fn a_run_that_never_settles_is_told_from_one_that_does() {
        let ramp: Vec<f64> = (0..200).map(f64::from).collect();
        assert_eq!(mser5(&ramp), None);
        assert_eq!(mser5(&[1.0, 2.0, 3.0]), None);
    }
}
