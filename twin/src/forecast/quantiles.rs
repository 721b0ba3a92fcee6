//! Quantiles of a series over coming steps.

/// The levels that every model forecasts.
pub const LEVELS: [f64; 11] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

/// Place of the median among [`LEVELS`].
pub const MEDIAN: usize = 5;

/// Quantiles of what comes, one row for each step ahead, one column for each of [`LEVELS`]: finite, not negative, and
/// ascending.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantiles(Vec<[f64; LEVELS.len()]>);

impl Quantiles {
    /// Takes raw rows: undefined values become those of the median or zero, negative ones zero, and each row is sorted
    /// (V. Chernozhukov et al., "Quantile and Probability Curves Without Crossing", Econometrica 2010).
    pub fn new(mut rows: Vec<[f64; LEVELS.len()]>) -> Self {
        for row in &mut rows {
            let median = if row[MEDIAN].is_finite() { row[MEDIAN] } else { 0.0 };
            for value in row.iter_mut() {
                *value = if value.is_finite() { value.max(0.0) } else { median.max(0.0) };
            }
            row.sort_unstable_by(f64::total_cmp);
        }
        Quantiles(rows)
    }

    /// A row for each step ahead.
    pub fn rows(&self) -> &[[f64; LEVELS.len()]] {
        &self.0
    }

    /// Steps ahead.
    pub fn steps(&self) -> usize {
        self.0.len()
    }

    /// The median of the step `ahead`, from 0.
    pub fn median(&self, ahead: usize) -> f64 {
        self.0[ahead][MEDIAN]
    }

    /// The quantile at any level within (0, 1) of the step `ahead`, from 0: linear between [`LEVELS`], and beyond the
    /// outermost two with exponential tails that go on with the spread between them.
    pub fn quantile(&self, ahead: usize, level: f64) -> f64 {
        let row = &self.0[ahead];
        let last = LEVELS.len() - 1;
        if level >= LEVELS[last] {
            // An exponential tail: equal spreads for equal ratios of exceedance.
            let scale = (row[last] - row[last - 1]) / ((1.0 - LEVELS[last - 1]) / (1.0 - LEVELS[last])).ln();
            return row[last] + scale * ((1.0 - LEVELS[last]) / (1.0 - level).max(1e-6)).ln();
        }
        if level <= LEVELS[0] {
            let scale = (row[1] - row[0]) / (LEVELS[1] / LEVELS[0]).ln();
            return (row[0] - scale * (LEVELS[0] / level.max(1e-6)).ln()).max(0.0);
        }
        let above = LEVELS.partition_point(|known| *known <= level).min(last);
        let (from, to) = (LEVELS[above - 1], LEVELS[above]);
        row[above - 1] + (row[above] - row[above - 1]) * (level - from) / (to - from)
    }

    /// The levels at which the quantile of the step `ahead`, from 0, is `value`: the least and the greatest, the same
    /// unless several quantiles are equal. The inverse of [`Quantiles::quantile`].
    pub fn levels_of(&self, ahead: usize, value: f64) -> (f64, f64) {
        let row = &self.0[ahead];
        let last = LEVELS.len() - 1;
        let between = |above: usize| {
            let share = (value - row[above - 1]) / (row[above] - row[above - 1]);
            LEVELS[above - 1] + share * (LEVELS[above] - LEVELS[above - 1])
        };
        let not_below = row.partition_point(|known| *known < value);
        let above = row.partition_point(|known| *known <= value);
        let least = match not_below {
            0 => {
                let scale = (row[1] - row[0]) / (LEVELS[1] / LEVELS[0]).ln();
                let reached = if scale > 0.0 { LEVELS[0] * (-(row[0] - value) / scale).exp() } else { 0.0 };
                if value <= 0.0 { 0.0 } else { reached }
            }
            n if n > last => {
                let scale = (row[last] - row[last - 1]) / ((1.0 - LEVELS[last - 1]) / (1.0 - LEVELS[last])).ln();
                if scale > 0.0 { 1.0 - (1.0 - LEVELS[last]) * (-(value - row[last]) / scale).exp() } else { 1.0 }
            }
            n => between(n),
        };
        let greatest = match above {
            0 if value <= 0.0 => {
                let scale = (row[1] - row[0]) / (LEVELS[1] / LEVELS[0]).ln();
                if scale > 0.0 { LEVELS[0] * (-row[0] / scale).exp() } else { 0.0 }
            }
            0 => least,
            n if n > last && row[last] == value && row[last] == row[last - 1] => 1.0,
            n if n > last && row[last] == value => LEVELS[last],
            n if n > last => least,
            n => between(n),
        };
        (least, greatest.max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_tidied() {
        let mut raw = [1.0; LEVELS.len()];
        raw[0] = -3.0;
        raw[1] = f64::NAN;
        raw[2] = 9.0;
        let quantiles = Quantiles::new(vec![raw]);
        assert!(quantiles.rows()[0].is_sorted());
        assert_eq!((quantiles.rows()[0][0], quantiles.rows()[0][10]), (0.0, 9.0));
    }

    #[test]
    fn levels_between_and_beyond_ascend() {
        let mut row = [0.0; LEVELS.len()];
        for (value, level) in row.iter_mut().zip(LEVELS) {
            *value = 100.0 * level;
        }
        let quantiles = Quantiles::new(vec![row]);
        let all: Vec<f64> = (1..1000).map(|k| quantiles.quantile(0, f64::from(k) / 1000.0)).collect();
        assert!(all.is_sorted());
        assert!((quantiles.quantile(0, 0.45) - 45.0).abs() < 1e-9);
        assert!(quantiles.quantile(0, 0.999) > 95.0);
    }

    #[test]
    fn levels_are_found_again_by_their_values() {
        let quantiles = Quantiles::new(vec![LEVELS.map(|level| -(1.0 - level).ln())]);
        for k in 1..1000 {
            let level = f64::from(k) / 1000.0;
            let (least, greatest) = quantiles.levels_of(0, quantiles.quantile(0, level));
            if quantiles.quantile(0, level) > 0.0 {
                assert!((least - level).abs() < 1e-9 && (greatest - level).abs() < 1e-9, "{level}: {least} {greatest}");
            } else {
                assert!(least <= level && level <= greatest + 1e-9, "{level}: {least} {greatest}");
            }
        }
        let mut row = [0.0; LEVELS.len()];
        row[8..].copy_from_slice(&[4.0, 4.0, 4.0]);
        let steps = Quantiles::new(vec![row]);
        assert_eq!(steps.levels_of(0, 0.0), (0.0, 0.7), "all levels at which nothing is expected");
        assert_eq!(steps.levels_of(0, 4.0), (0.8, 1.0));
        assert_eq!(steps.levels_of(0, 9.0), (1.0, 1.0));
        let (least, greatest) = steps.levels_of(0, 1.0);
        assert!((least - 0.725).abs() < 1e-12 && least == greatest);
    }

    #[test]
    fn the_tail_of_an_exponential_is_exact() {
        let row = LEVELS.map(|level| -(1.0 - level).ln());
        let quantiles = Quantiles::new(vec![row]);
        assert!((quantiles.quantile(0, 0.999) - 1000f64.ln()).abs() < 1e-9);
    }
}
