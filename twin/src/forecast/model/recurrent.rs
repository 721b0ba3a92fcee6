//! The LSTM as a model among others.

use super::features::{Described, log_of};
use super::member::Member;
use super::{Model, Past, Quantiles, Unfit};
use crate::forecast::lstm::{Lstm, LstmConfig, TrainingSeries};
use crate::forecast::quantiles::LEVELS;

/// A trained LSTM.
pub(in crate::forecast) struct Recurrent(Lstm);

impl Recurrent {
    /// Trains on all series of `set` together, for `horizon` steps ahead.
    pub(in crate::forecast) fn train(set: &[Past<'_>], horizon: usize, seed: u64) -> Result<Self, Unfit> {
        let set: Vec<TrainingSeries<'_>> = set
            .iter()
            .map(|past| TrainingSeries {
                values: past.values(),
                steps_per_day: past.grid().day(),
                first_step_of_day: step_of_day(past.moment(0).day, past.grid().day()),
            })
            .collect();
        let trained = Lstm::train(&set, horizon, &LstmConfig::default(), seed);
        trained.map(Recurrent).map_err(|why| Unfit::Failed(why.to_string()))
    }

    fn predict(&self, values: &[f64], day: usize, share: f64, steps: usize) -> Vec<[f64; LEVELS.len()]> {
        self.0.predict(values, day, step_of_day(share, day), steps)
    }
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
}

impl Member for Recurrent {
    fn horizon(&self) -> usize {
        self.0.horizon()
    }

    fn logs(&self, known: &Described, steps: usize) -> Vec<[f64; LEVELS.len()]> {
        let values: Vec<f64> = (0..known.len()).map(|at| known.value(known.log(at))).collect();
        let rows = self.predict(&values, known.reach(), known.share_of_day(known.len()), steps);
        rows.into_iter().map(|row| row.map(|value| log_of(value, known.unit()))).collect()
    }
}
