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

use super::features::{Base, COUNT, Described, TREES};
use super::member::{Examples, Member};
use super::{Past, Unfit};
use crate::forecast::normal_quantile;
use crate::forecast::quantiles::LEVELS;
use bins::Binned;
use forest::{Forest, Growth};

/// Places among [`LEVELS`] of the levels that have a forest; those between are interpolated on the normal's scale.
const GROWN: [usize; 7] = [0, 1, 3, 5, 7, 9, 10];

/// The model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::forecast) struct Boosted {
    base: Base,
    /// Steps ahead that it was trained for.
    horizon: usize,
    forests: Vec<Forest>,
}

impl Boosted {
    /// Trains on all series of `set` together, for `horizon` steps ahead.
    pub(in crate::forecast) fn train(base: Base, set: &[Past<'_>], horizon: usize, seed: u64) -> Result<Self, Unfit> {
        let examples = Examples::draw(set, horizon, base, seed)?;
        let binned = Binned::new(&examples.rows);
        let forests = GROWN
            .par_iter()
            .map(|&level| Forest::grow(&binned, &examples.targets, LEVELS[level], &Growth::default(), seed))
            .collect();
        Ok(Boosted { base, horizon, forests })
    }
}

impl Member for Boosted {
    fn horizon(&self) -> usize {
        self.horizon
    }

    fn logs(&self, known: &Described, steps: usize) -> Vec<[f64; LEVELS.len()]> {
        let mut features = [0.0; COUNT];
        let rows = (1..=steps).map(|ahead| {
            let base = known.features(known.len(), ahead, self.base, &mut features);
            let grown: Vec<f64> = self.forests.iter().map(|forest| forest.value(&features)).collect();
            between(&grown).map(|log| base + log)
        });
        rows.collect()
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

    use super::super::Model;
    use super::super::member::Global;
    use super::*;
    use crate::forecast::chance::Chance;
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
        let model = Boosted::train(Base::Season, &set, 24, 1).unwrap();
        let (mut within, mut count, mut error, mut naive) = (0, 0, 0.0, 0.0);
        for values in &series {
            for day in 35..42 {
                let past = Past::new(&grid, 0, &values[..24 * day]);
                let forecast = Global::new("boosted", model.clone()).predict(&past, 24).unwrap();
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
        // Trees are surer of themselves than they should be; calibration is there for the rest.
        assert!((0.75..0.97).contains(&share), "{share} within the 90 % interval");
        assert!(error < 0.8 * naive, "{error} against {naive}");
        // The same seed makes the same model, another one another.
        assert_eq!(model, Boosted::train(Base::Season, &set, 24, 1).unwrap());
        assert_ne!(model.forests, Boosted::train(Base::Season, &set, 24, 2).unwrap().forests);
        let model = Global::new("boosted", model);
        assert!(matches!(model.predict(&set[0], 25), Err(Unfit::Mismatch { .. })));
    }

    #[test]
    fn too_little_to_learn_from_is_said() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let values = wave(1, 40);
        let set = [Past::new(&grid, 0, &values)];
        assert!(matches!(Boosted::train(Base::Last, &set, 4, 1), Err(Unfit::TooShort { .. })));
        assert!(matches!(Boosted::train(Base::Last, &[], 4, 1), Err(Unfit::TooShort { .. })));
    }
}
