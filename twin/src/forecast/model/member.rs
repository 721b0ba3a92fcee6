//! Global models that share one description of a series: what they learn from, and how they are asked.

use super::features::{Base, COUNT, Described};
use super::{Model, Past, Quantiles, Unfit};
use crate::forecast::chance::Chance;
use crate::forecast::quantiles::LEVELS;

/// A global model of a described series.
pub(in crate::forecast) trait Member: Send + Sync {
    /// Steps ahead that it was trained for.
    fn horizon(&self) -> usize;

    /// Logarithms, on the scale of `known`, of the quantiles of the next `steps` steps, each row ascending.
    fn logs(&self, known: &Described, steps: usize) -> Vec<[f64; LEVELS.len()]>;
}

/// A member that stands alone.
pub(super) struct Global<M> {
    name: &'static str,
    member: M,
}

impl<M: Member> Global<M> {
    pub(super) fn new(name: &'static str, member: M) -> Self {
        Global { name, member }
    }
}

impl<M: Member> Model for Global<M> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn predict(&self, past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit> {
        if steps > self.member.horizon() {
            let (trained, asked) = (format!("{} steps ahead", self.member.horizon()), format!("{steps}"));
            return Err(Unfit::Mismatch { trained, asked });
        }
        let need = past.grid().day().max(8) + 2;
        let known = Described::new(past).ok_or(Unfit::TooShort { have: past.values().len(), need })?;
        let logs = self.member.logs(&known, steps);
        Ok(Quantiles::new(logs.into_iter().map(|row| row.map(|log| known.value(log))).collect()))
    }
}

/// Rows that a series trains with, at most.
const ROWS_PER_SERIES: usize = 8_000;

/// Features and targets of many (series, origin, step ahead).
pub(super) struct Examples {
    pub(super) rows: Vec<[f32; COUNT]>,
    pub(super) targets: Vec<f32>,
}

impl Examples {
    /// Draws up to so many of each series, evenly over origins and steps ahead.
    ///
    /// # Errors
    /// [`Unfit::TooShort`] when all series together give too few.
    pub(super) fn draw(set: &[Past<'_>], horizon: usize, base: Base, seed: u64) -> Result<Self, Unfit> {
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
        if rows.len() < FEWEST {
            return Err(Unfit::TooShort { have: longest, need: FEWEST });
        }
        Ok(Examples { rows, targets })
    }
}
