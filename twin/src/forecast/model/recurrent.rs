//! The LSTM as a model among others.

use std::sync::Arc;

use super::features::log_of;
use super::member::{Known, Member};
use super::part::Part;
use super::{Model, Past, Quantiles, Unfit};
use crate::forecast::artefact::{ArtefactError, Shelf, Tensors};
use crate::forecast::lstm::{Lstm, LstmConfig, LstmDescription, TrainingSeries};
use crate::forecast::quantiles::LEVELS;

/// A trained LSTM.
pub(in crate::forecast) struct Recurrent(pub(in crate::forecast) Lstm);

impl Recurrent {
    /// Trains on all series of `set` together, for `horizon` steps ahead.
    pub(in crate::forecast) fn train(set: &[Past<'_>], horizon: usize, seed: u64) -> Result<Self, Unfit> {
        let trained = Lstm::train(&series(set), horizon, &LstmConfig::default(), seed);
        trained.map(Recurrent).map_err(|why| Unfit::Failed(why.to_string()))
    }

    /// Takes its numbers from a file.
    pub(super) fn take(description: &LstmDescription, numbers: &mut Shelf<'_>) -> Result<Self, ArtefactError> {
        Lstm::take(description, numbers).map(Recurrent)
    }

    fn renewed(&self, set: &[Past<'_>], seed: u64) -> Result<Self, Unfit> {
        let trained = self.0.go_on(&series(set), &LstmConfig::default(), seed);
        trained.map(Recurrent).map_err(|why| Unfit::Failed(why.to_string()))
    }

    fn predict(&self, values: &[f64], day: usize, share: f64, steps: usize) -> Vec<[f64; LEVELS.len()]> {
        if steps == 0 {
            return Vec::new();
        }
        self.0.predict(values, day, step_of_day(share, day), steps)
    }
}

fn series<'a>(set: &[Past<'a>]) -> Vec<TrainingSeries<'a>> {
    set.iter()
        .map(|past| TrainingSeries {
            values: past.values(),
            steps_per_day: past.grid().day(),
            first_step_of_day: step_of_day(past.moment(0).day, past.grid().day()),
        })
        .collect()
}

fn step_of_day(share: f64, day: usize) -> usize {
    (share * day as f64).round() as usize % day.max(1)
}

impl Model for Recurrent {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn predict(&self, past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit> {
        if steps > self.0.horizon() {
            let (trained, asked) = (format!("{} steps ahead", self.0.horizon()), format!("{steps}"));
            return Err(Unfit::Mismatch { trained, asked });
        }
        let values = past.values();
        let first = past.moment(values.len()).day;
        Ok(Quantiles::new(Recurrent::predict(self, values, past.grid().day(), first, steps)))
    }

    fn save(&self, numbers: &mut Tensors) -> Option<Part> {
        Some(Member::save(self, numbers))
    }

    fn go_on(&self, set: &[Past<'_>], seed: u64) -> Option<Result<Arc<dyn Model>, Unfit>> {
        Some(self.renewed(set, seed).map(|model| Arc::new(model) as _))
    }
}

impl Member for Recurrent {
    fn horizon(&self) -> usize {
        self.0.horizon()
    }

    fn logs(&self, known: &Known<'_>, steps: usize) -> Vec<[f64; LEVELS.len()]> {
        let described = known.described;
        let rows = self.predict(known.past.values(), described.reach(), described.share_of_day(), steps);
        rows.into_iter().map(|row| row.map(|value| log_of(value, described.unit()))).collect()
    }

    fn go_on(&self, set: &[Past<'_>], seed: u64) -> Result<Arc<dyn Member>, Unfit> {
        Ok(Arc::new(self.renewed(set, seed)?))
    }

    fn save(&self, numbers: &mut Tensors) -> Part {
        Part::Lstm(self.0.save(numbers))
    }
}
