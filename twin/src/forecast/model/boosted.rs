//! Gradient-boosted quantile trees, one model for all series: a forest for each of a few levels, trained directly for
//! every step ahead at once, the step being a feature.
//!
//! J. Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", Annals of Statistics 2001; leaf-wise
//! growth on histograms as in G. Ke et al., "LightGBM", NIPS 2017. What is predicted is the logarithm relative to a
//! [`Base`], so that forests carry over to series of another size.

mod bins;
mod file;
mod forest;
mod scorer;

use std::sync::{Arc, LazyLock};

use rayon::prelude::*;

use super::features::{Base, COUNT, TREES};
use super::member::{Examples, Known, Member, Renewed};
use super::part::Part;
use super::{Past, Unfit};
use crate::forecast::artefact::Tensors;
use crate::forecast::normal_quantile;
use crate::forecast::quantiles::LEVELS;
use bins::Binned;
use forest::{Forest, Growth};
use scorer::LANES;

/// Places among [`LEVELS`] of the levels that have a forest; those between are interpolated on the normal's scale.
const GROWN: [usize; 7] = [0, 1, 3, 5, 7, 9, 10];

/// One of so many trees is replaced when a forest goes on.
const RENEWED: usize = 4;

/// The model.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::forecast) struct Boosted {
    base: Base,
    /// Steps ahead that it was trained for.
    horizon: usize,
    forests: Vec<Forest>,
}

impl Boosted {
    /// Trains on all series of `set` together, for `horizon` steps ahead.
    pub(in crate::forecast) fn train(base: Base, set: &[Past<'_>], horizon: usize, seed: u64) -> Result<Self, Unfit> {
        Boosted::grow(base, set, horizon, seed, None)
    }

    /// Grows forests, or goes on with those of another: the oldest trees of each fall, and as many new ones grow on what
    /// the rest misses on these series.
    fn grow(base: Base, set: &[Past<'_>], horizon: usize, seed: u64, before: Option<&Boosted>) -> Result<Self, Unfit> {
        let examples = Examples::draw(set, horizon, base, seed)?;
        let binned = Binned::new(&examples.rows);
        let forests = GROWN
            .par_iter()
            .enumerate()
            .map(|(nth, &level)| {
                let (mut growth, mut kept) = (Growth::default(), Vec::new());
                let mut sums = Vec::new();
                if let Some(before) = before {
                    let trees = before.forests[nth].trees();
                    growth.trees = trees.len().min(growth.trees / RENEWED);
                    kept = trees[growth.trees..].to_vec();
                    sums = sums_of(&Forest::new(0.0, kept.clone()), &examples.rows);
                }
                let grown = Forest::grow(&binned, &examples.targets, &sums, LEVELS[level], &growth, seed);
                kept.extend_from_slice(grown.trees());
                Forest::new(grown.start(), kept)
            })
            .collect();
        Ok(Boosted { base, horizon, forests })
    }
}

/// What a forest says of each row.
fn sums_of(forest: &Forest, rows: &[[f32; COUNT]]) -> Vec<f32> {
    let chunks = rows.chunks(LANES).flat_map(|chunk| {
        let mut lanes = [[0.0; LANES]; TREES.end];
        for (lane, row) in chunk.iter().enumerate() {
            lanes.iter_mut().zip(row).for_each(|(lanes, feature)| lanes[lane] = *feature);
        }
        forest.values(&lanes, chunk.len()).into_iter().take(chunk.len())
    });
    chunks.map(|sum| sum as f32).collect()
}

impl Renewed for Boosted {
    fn renewed(&self, set: &[Past<'_>], seed: u64) -> Result<Self, Unfit> {
        Boosted::grow(self.base, set, self.horizon, seed, Some(self))
    }
}

impl Member for Boosted {
    fn horizon(&self) -> usize {
        self.horizon
    }

    fn logs(&self, known: &Known<'_>, steps: usize) -> Vec<[f64; LEVELS.len()]> {
        let mut logs = Vec::with_capacity(steps);
        for rows in known.rows[..steps].chunks(LANES) {
            let (mut bases, mut features, mut lanes) = ([0.0; LANES], [0.0; COUNT], [[0.0; LANES]; TREES.end]);
            for (lane, row) in rows.iter().enumerate() {
                bases[lane] = row.measure(self.base, &mut features);
                lanes.iter_mut().zip(&features).for_each(|(lanes, feature)| lanes[lane] = *feature);
            }
            let grown: [[f64; LANES]; GROWN.len()] =
                std::array::from_fn(|nth| self.forests[nth].values(&lanes, rows.len()));
            logs.extend((0..rows.len()).map(|lane| {
                let row = between(std::array::from_fn(|nth| grown[nth][lane]));
                row.map(|log| bases[lane] + log)
            }));
        }
        logs
    }

    fn go_on(&self, set: &[Past<'_>], seed: u64) -> Result<Arc<dyn Member>, Unfit> {
        Ok(Arc::new(self.renewed(set, seed)?))
    }

    fn save(&self, numbers: &mut Tensors) -> Part {
        self.put(numbers);
        Part::Boosted { base: self.base, horizon: self.horizon, features: COUNT }
    }
}

/// Values at all [`LEVELS`] from those at [`GROWN`]: straight lines on the scale of the normal distribution.
fn between(mut grown: [f64; GROWN.len()]) -> [f64; LEVELS.len()] {
    /// Of each level that has no forest, the share of the way from the one below to the one above.
    static SHARES: LazyLock<[f64; LEVELS.len()]> = LazyLock::new(|| {
        let z = |place: usize| normal_quantile(LEVELS[place]);
        std::array::from_fn(|at| match GROWN.partition_point(|known| *known < at) {
            above if GROWN[above] == at => 1.0,
            above => (z(at) - z(GROWN[above - 1])) / (z(GROWN[above]) - z(GROWN[above - 1])),
        })
    });
    grown.sort_unstable_by(f64::total_cmp);
    let mut row = [0.0; LEVELS.len()];
    for ((at, value), share) in row.iter_mut().enumerate().zip(&*SHARES) {
        let above = GROWN.partition_point(|known| *known < at);
        *value = match GROWN[above] == at {
            true => grown[above],
            false => grown[above - 1] + share * (grown[above] - grown[above - 1]),
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
