//! Gradient-boosted quantile trees, one model for all series: a forest for each of a few levels, trained directly for
//! every step ahead at once, the step being a feature.
//!
//! J. Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", Annals of Statistics 2001; leaf-wise
//! growth on histograms as in G. Ke et al., "LightGBM", NIPS 2017. What is predicted is the logarithm relative to a
//! [`Base`], so that forests carry over to series of another size.

mod bins;
mod forest;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::features::{Base, COUNT, Described};
use super::{Model, Past, Quantiles, Unfit};
use crate::forecast::chance::Chance;
use crate::forecast::normal_quantile;
use crate::forecast::quantiles::LEVELS;
use bins::Binned;
use forest::{Forest, Growth};

/// Places among [`LEVELS`] of the levels that have a forest; those between are interpolated on the normal's scale.
const GROWN: [usize; 7] = [0, 1, 3, 5, 7, 9, 10];

/// Rows that a series trains with, at most.
const ROWS_PER_SERIES: usize = 8_000;

/// The model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Boosted {
    #[serde(skip, default = "name")]
    name: &'static str,
    base: Base,
    /// Steps ahead that it was trained for.
    horizon: usize,
    forests: Vec<Forest>,
}

fn name() -> &'static str {
    "boosted"
}

impl Boosted {
    /// Trains on all series of `set` together, for `horizon` steps ahead.
    pub(super) fn train(
        name: &'static str,
        base: Base,
        set: &[Past<'_>],
        horizon: usize,
        seed: u64,
    ) -> Result<Self, Unfit> {
        let (rows, targets) = examples(set, horizon, base, seed)?;
        let binned = Binned::new(&rows);
        let forests = GROWN
            .par_iter()
            .map(|&level| Forest::grow(&binned, &targets, LEVELS[level], &Growth::default(), seed))
            .collect();
        Ok(Boosted { name, base, horizon, forests })
    }
}

/// Features and targets of many (series, origin, step ahead), drawn evenly.
pub(super) fn examples(
    set: &[Past<'_>],
    horizon: usize,
    base: Base,
    seed: u64,
) -> Result<(Vec<[f32; COUNT]>, Vec<f32>), Unfit> {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    let mut longest = 0;
    for (nth, past) in set.iter().enumerate() {
        let Some(described) = Described::new(past) else { continue };
        let (n, week) = (described.len(), past.grid().week());
        longest = longest.max(n);
        let first = week.min(n / 2).max(9);
        if horizon == 0 || horizon > described.reach() || n < first + horizon {
            continue;
        }
        let origins = n - horizon + 1 - first;
        let mut chance = Chance::new(seed, &format!("examples {nth}"));
        let mut take = |origin: usize, ahead: usize| {
            let mut row = [0.0; COUNT];
            let from = described.features(origin, ahead, base, &mut row);
            rows.push(row);
            targets.push((described.log(origin + ahead - 1) - from) as f32);
        };
        if origins * horizon <= ROWS_PER_SERIES {
            (0..origins).for_each(|origin| (1..=horizon).for_each(|ahead| take(first + origin, ahead)));
        } else {
            for _ in 0..ROWS_PER_SERIES {
                take(first + chance.below(origins), 1 + chance.below(horizon));
            }
        }
    }
    // Fewer rows than a few leaves hold teach nothing.
    const FEWEST: usize = 500;
    if rows.len() < FEWEST { Err(Unfit::TooShort { have: longest, need: FEWEST }) } else { Ok((rows, targets)) }
}

impl Model for Boosted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn predict(&self, past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit> {
        if steps > self.horizon {
            let (trained, asked) = (format!("{} steps ahead", self.horizon), format!("{steps}"));
            return Err(Unfit::Mismatch { trained, asked });
        }
        let need = past.grid().day().max(8) + 2;
        let described = Described::new(past).ok_or(Unfit::TooShort { have: past.values().len(), need })?;
        let mut features = [0.0; COUNT];
        let rows = (1..=steps).map(|ahead| {
            let base = described.features(described.len(), ahead, self.base, &mut features);
            let grown: Vec<f64> = self.forests.iter().map(|forest| forest.value(&features)).collect();
            between(&grown).map(|log| described.value(base + log))
        });
        Ok(Quantiles::new(rows.collect()))
    }
}

/// Values at all [`LEVELS`] from those at [`GROWN`]: straight lines on the scale of the normal distribution.
fn between(grown: &[f64]) -> [f64; LEVELS.len()] {
    let mut sorted: Vec<f64> = grown.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut row = [0.0; LEVELS.len()];
    for (at, value) in row.iter_mut().enumerate() {
        let above = GROWN.partition_point(|known| *known < at);
        *value = if GROWN[above] == at {
            sorted[above]
        } else {
            let z = |place: usize| normal_quantile(LEVELS[place]);
            let (low, high) = (GROWN[above - 1], GROWN[above]);
            let share = (z(at) - z(low)) / (z(high) - z(low));
            sorted[above - 1] + share * (sorted[above] - sorted[above - 1])
        };
    }
    row
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::*;
    use crate::forecast::grid::Grid;

    /// A daily wave with noise that grows with it.
    fn wave(seed: u64, n: usize) -> Vec<f64> {
        let mut chance = Chance::new(seed, "wave");
        (0..n)
            .map(|k| {
                let level = 100.0 + 60.0 * (k as f64 / 24.0 * std::f64::consts::TAU).sin();
                level * (1.0 + 0.1 * chance.normal()).max(0.1)
            })
            .collect()
    }

    #[test]
    fn a_noisy_wave_is_learned_with_its_spread() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let series: Vec<Vec<f64>> = (0..3).map(|seed| wave(seed, 24 * 42)).collect();
        let set: Vec<Past<'_>> = series.iter().map(|values| Past::new(&grid, 0, &values[..24 * 35])).collect();
        let model = Boosted::train("boosted", Base::Season, &set, 24, 1).unwrap();
        let (mut within, mut count, mut error, mut naive) = (0, 0, 0.0, 0.0);
        for values in &series {
            for day in 35..42 {
                let past = Past::new(&grid, 0, &values[..24 * day]);
                let forecast = model.predict(&past, 24).unwrap();
                for (ahead, row) in forecast.rows().iter().enumerate() {
                    let came = values[24 * day + ahead];
                    within += u32::from((row[0]..=row[10]).contains(&came));
                    error += (row[5] - came).abs();
                    naive += (values[24 * (day - 1) + ahead] - came).abs();
                    count += 1;
                }
            }
        }
        let share = f64::from(within) / f64::from(count);
        assert!((0.82..0.97).contains(&share), "{share} within the 90 % interval");
        assert!(error < 0.8 * naive, "{error} against {naive}");
        // The same seed makes the same model, another one another.
        assert_eq!(model, Boosted::train("boosted", Base::Season, &set, 24, 1).unwrap());
        assert_ne!(model.forests, Boosted::train("boosted", Base::Season, &set, 24, 2).unwrap().forests);
        assert!(matches!(model.predict(&set[0], 25), Err(Unfit::Mismatch { .. })));
    }

    #[test]
    fn too_little_to_learn_from_is_said() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let values = wave(1, 40);
        let set = [Past::new(&grid, 0, &values)];
        assert!(matches!(Boosted::train("boosted", Base::Last, &set, 4, 1), Err(Unfit::TooShort { .. })));
        assert!(matches!(Boosted::train("boosted", Base::Last, &[], 4, 1), Err(Unfit::TooShort { .. })));
    }
}
