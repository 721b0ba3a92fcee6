//! How far a ratio of losses may be chance: the bootstrap over series and their days.
//!
//! Series are drawn with replacement, and of each that was drawn its days, as many as there are (B. Efron, R. Tibshirani,
//! "An Introduction to the Bootstrap", 1993, sections 8.3 and 13.3): days of one series are alike, so that drawing
//! (series, day) as if all were apart would say less than there is to doubt. A model and the unit are drawn together, and
//! every model of the same set with the same draws: their intervals can be compared.

use crate::forecast::chance::Chance;

/// Losses summed by day, of each series.
pub(super) type Losses = Vec<Vec<f64>>;

/// How often the set is drawn.
const DRAWS: usize = 2_000;

/// The 95 % interval of the geometric mean over series of the ratio of `losses` to `units`; `None` where the mean itself
/// is undefined, or where there is but one day.
///
/// # Panics
/// When the two are not of the same series and days.
pub(super) fn interval(losses: &[Vec<f64>], units: &[Vec<f64>]) -> Option<(f64, f64)> {
    let shape = |of: &[Vec<f64>]| of.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(shape(losses), shape(units), "the same series and days");
    if losses.iter().all(|days| days.len() <= 1) || losses.iter().any(Vec::is_empty) {
        return None;
    }
    let mut chance = Chance::new(0, "bootstrap");
    let mut means: Vec<f64> = (0..DRAWS)
        .filter_map(|_| {
            let logs: f64 = (0..losses.len())
                .map(|_| {
                    let series = chance.below(losses.len());
                    let (losses, units) = (&losses[series], &units[series]);
                    let (mut loss, mut unit) = (0.0, 0.0);
                    for _ in 0..losses.len() {
                        let day = chance.below(losses.len());
                        loss += losses[day];
                        unit += units[day];
                    }
                    (loss / unit).ln()
                })
                .sum();
            let mean = (logs / losses.len() as f64).exp();
            (mean.is_finite() && mean > 0.0).then_some(mean)
        })
        .collect();
    // Where some draws have no mean, such as of days without any loss, no interval is told.
    if means.len() < DRAWS {
        return None;
    }
    means.sort_unstable_by(f64::total_cmp);
    let at = |level: f64| means[((DRAWS as f64 * level) as usize).min(DRAWS - 1)];
    Some((at(0.025), at(0.975)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Losses of so many series and days whose logarithm has a deviation between series and one between days.
    fn draw(chance: &mut Chance, series: usize, days: usize, between: f64, within: f64) -> Losses {
        let of_series = |chance: &mut Chance| {
            let level = between * chance.normal();
            (0..days).map(|_| (level + within * chance.normal()).exp()).collect()
        };
        (0..series).map(|_| of_series(chance)).collect()
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        let mut chance = Chance::new(5, "bootstrap test");
        let (mut held, tries) = (0, 200);
        for _ in 0..tries {
            let losses = draw(&mut chance, 12, 7, 0.3, 0.05);
            let units = vec![vec![1.0; 7]; 12];
            let (low, high) = interval(&losses, &units).unwrap();
            // Medians of all are one, and means of days nearly so: e^(0.05²/2).
            held += u32::from((low..=high).contains(&1.001_25));
        }
        // 95 %, less a few for few series (the bootstrap is known to be short there), with three deviations of 200 tries.
        let share = f64::from(held) / f64::from(tries);
        assert!((0.86..0.99).contains(&share), "{share}");
    }

    #[test]
    fn what_is_paired_is_no_chance() {
        let mut chance = Chance::new(6, "bootstrap test");
        let units = draw(&mut chance, 6, 7, 1.0, 1.0);
        let half: Losses = units.iter().map(|days| days.iter().map(|loss| 0.5 * loss).collect()).collect();
        let (low, high) = interval(&half, &units).unwrap();
        assert!((low - 0.5).abs() < 1e-12 && (high - 0.5).abs() < 1e-12, "{low} {high}");
        assert_eq!(interval(&half, &units), interval(&half, &units));
    }

    #[test]
    fn one_day_and_no_loss_tell_nothing() {
        assert_eq!(interval(&[vec![1.0], vec![1.0]], &[vec![2.0], vec![2.0]]), None);
        assert_eq!(interval(&[vec![0.0, 1.0]], &[vec![1.0, 1.0]]), None);
        assert_eq!(interval(&[], &[]), None);
    }
}
