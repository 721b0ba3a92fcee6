//! One network for all series: quantiles of the coming steps from an LSTM over the past day and what the same time was
//! a day and weeks ago.
//!
//! [`Lstm::train`] learns from many series at once, each in its own scale; [`Lstm::predict`] then forecasts any series,
//! also one it has never seen. Data in, data out: no clock, no file, no generator but the seed's. The weights are a
//! function of the series, the configuration and the seed, whatever the number of threads, on one kind of processor.

mod features;
mod file;
mod gates;
pub mod layer;
mod network;
mod product;
mod recurrence;
#[cfg(test)]
mod tests;
mod training;

use burn::tensor::{Device, Tensor, TensorData};
use thiserror::Error;

pub(super) use file::LstmDescription;

use features::{FEATURES, INPUTS, Series};
use gates::WIDTH_STEP;
use layer::Way;
use network::{Architecture, Batch, Network, Weights};

use super::quantiles::LEVELS;

/// A series to learn from.
#[derive(Clone, Copy, Debug)]
pub struct TrainingSeries<'a> {
    /// Values in any unit, one a step; not a number where none was seen.
    pub values: &'a [f64],
    /// Steps that make a day.
    pub steps_per_day: usize,
    /// The step of its day at which the first value stands, 0 at midnight.
    pub first_step_of_day: usize,
}

/// Where a network is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainingDevice {
    /// One core of the processor.
    Processor,
    /// The first CUDA device.
    #[cfg(feature = "cuda")]
    Cuda,
}

/// Sizes and the manner of training. [`LstmConfig::default`] is meant for all series.
#[derive(Clone, Debug, PartialEq)]
pub struct LstmConfig {
    /// Steps of the past that are read one by one.
    pub context: usize,
    /// Width of the LSTM's state, a multiple of 16.
    pub hidden: usize,
    /// Width of what is kept of the state.
    pub summary: usize,
    /// Width of a step's embedding.
    pub embedding: usize,
    /// Rectified units behind the quantiles.
    pub units: usize,
    /// Steps of the optimiser.
    pub training_steps: usize,
    /// Origins in a batch.
    pub batch: usize,
    /// Steps of the horizon in a batch, at most.
    pub steps_in_batch: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// The largest norm of a gradient.
    pub gradient_norm: f64,
    /// The last share of the training whose weights are averaged, 0 to 1.
    pub averaged: f64,
    /// Share of the samples whose past is cut short, 0 to 1.
    pub short_past: f64,
    /// Standard deviation of the logarithm of what the scale of a sample is multiplied by, so that the network does
    /// not lean on a level that its few series happen to have.
    pub scale_noise: f64,
    /// Where to train.
    pub device: TrainingDevice,
}

impl Default for LstmConfig {
    fn default() -> Self {
        LstmConfig {
            context: 96,
            hidden: 64,
            summary: 32,
            embedding: 8,
            units: 64,
            training_steps: 1500,
            batch: 64,
            steps_in_batch: 24,
            learning_rate: 3e-3,
            gradient_norm: 1.0,
            averaged: 0.2,
            short_past: 0.1,
            scale_noise: 0.3,
            #[cfg(not(feature = "cuda"))]
            device: TrainingDevice::Processor,
            #[cfg(feature = "cuda")]
            device: TrainingDevice::Cuda,
        }
    }
}

/// Why nothing could be learned.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TrainingError {
    /// No series has a past and a future: more history is needed, or a shorter horizon.
    #[error("none of {series} series is long enough to learn {horizon} steps ahead from: the longest has {longest}")]
    TooShort {
        /// How many series there were.
        series: usize,
        /// Steps that were to be forecast.
        horizon: usize,
        /// Length of the longest.
        longest: usize,
    },
    /// The weights are no numbers any more: the learning rate is too high for these series.
    #[error("training diverged: a lower learning rate is needed")]
    Diverged,
}

impl TrainingDevice {
    fn place(self) -> (Device, Way) {
        match self {
            TrainingDevice::Processor => (Device::flex(), Way::Fused),
            #[cfg(feature = "cuda")]
            TrainingDevice::Cuda => (Device::cuda(0_usize), Way::Stepwise),
        }
    }
}

/// The series that have a past and a future.
fn long_enough<'a>(set: &[TrainingSeries<'a>], horizon: usize) -> Result<Vec<Series<'a>>, TrainingError> {
    let long_enough: Vec<Series<'_>> = set
        .iter()
        .map(|series| Series::new(series.values, series.steps_per_day, series.first_step_of_day))
        .filter(|series| training::first_origin(series, series.day(), horizon).is_some())
        .collect();
    if long_enough.is_empty() {
        let longest = set.iter().map(|series| series.values.len()).max().unwrap_or(0);
        return Err(TrainingError::TooShort { series: set.len(), horizon, longest });
    }
    Ok(long_enough)
}

/// A trained network.
#[derive(Clone, Debug)]
pub struct Lstm {
    architecture: Architecture,
    weights: Weights,
    network: Network,
}

impl Lstm {
    /// Learns to forecast the next `horizon` steps of the series in `set`.
    ///
    /// # Panics
    ///
    /// If a size of `config`, the horizon or a number of steps in a day is zero, or the state no multiple of 16 wide.
    pub fn train(
        set: &[TrainingSeries<'_>],
        horizon: usize,
        config: &LstmConfig,
        seed: u64,
    ) -> Result<Lstm, TrainingError> {
        let (device, way) = config.device.place();
        Lstm::train_on(set, horizon, config, seed, device, way)
    }

    /// Learns on from here with the series in `set`: a quarter of the steps of `config`, at a third of the rate. Its sizes
    /// stay as they are.
    pub(super) fn go_on(
        &self,
        set: &[TrainingSeries<'_>],
        config: &LstmConfig,
        seed: u64,
    ) -> Result<Lstm, TrainingError> {
        let config = LstmConfig {
            training_steps: config.training_steps / 4,
            learning_rate: config.learning_rate / 3.0,
            ..config.clone()
        };
        let (device, way) = config.device.place();
        let long_enough = long_enough(set, self.horizon())?;
        Lstm::learn(self.architecture, Some(&self.weights), &long_enough, &config, seed, device, way)
    }

    fn train_on(
        set: &[TrainingSeries<'_>],
        horizon: usize,
        config: &LstmConfig,
        seed: u64,
        device: Device,
        way: Way,
    ) -> Result<Lstm, TrainingError> {
        let LstmConfig { context, hidden, summary, embedding, units, .. } = *config;
        let sizes = [context, horizon, hidden, summary, embedding, units, config.batch, config.steps_in_batch];
        assert!(sizes.iter().all(|size| *size > 0), "no size is zero");
        assert!(hidden % WIDTH_STEP == 0, "the state's width is a multiple of {WIDTH_STEP}");
        let architecture = Architecture { context, horizon, hidden, summary, embedding, units };
        Lstm::learn(architecture, None, &long_enough(set, horizon)?, config, seed, device, way)
    }

    fn learn(
        architecture: Architecture,
        before: Option<&Weights>,
        set: &[Series<'_>],
        config: &LstmConfig,
        seed: u64,
        device: Device,
        way: Way,
    ) -> Result<Lstm, TrainingError> {
        let weights = training::train(&architecture, before, set, config, seed, &device.autodiff(), way);
        if !weights.values().flat_map(|matrix| &matrix.values).all(|value| value.is_finite()) {
            return Err(TrainingError::Diverged);
        }
        Ok(Lstm::new(architecture, weights))
    }

    fn new(architecture: Architecture, weights: Weights) -> Self {
        let network = Network::new(&weights, &Device::flex());
        Lstm { architecture, weights, network }
    }

    /// The most steps it forecasts.
    pub fn horizon(&self) -> usize {
        self.architecture.horizon
    }

    /// Quantiles at [`LEVELS`] of the `horizon` steps after `values`, ascending and not negative, in the unit of the
    /// values. The first of them stands at step `position_of_day` of its day, of which `steps_per_day` make one. Any
    /// history will do, also none. On one core, always.
    ///
    /// # Panics
    ///
    /// If `horizon` is zero or more than [`Lstm::horizon`], or `steps_per_day` is zero.
    pub fn predict(
        &self,
        values: &[f64],
        steps_per_day: usize,
        position_of_day: usize,
        horizon: usize,
    ) -> Vec<[f64; LEVELS.len()]> {
        assert!((1..=self.architecture.horizon).contains(&horizon), "up to {} steps", self.architecture.horizon);
        // What is more than three weeks back is looked at by no feature, nor is what is further than the context.
        let reach = (21 * steps_per_day).max(self.architecture.context + 7 * steps_per_day);
        let values = &values[values.len().saturating_sub(reach)..];
        let behind = values.len() % steps_per_day;
        let first = (position_of_day % steps_per_day + steps_per_day - behind) % steps_per_day;
        let series = Series::new(values, steps_per_day, first);
        let view = series.view(series.len());
        let inputs: Vec<f32> = view.inputs(self.architecture.context).flatten().collect();
        let features: Vec<f32> = (0..horizon).flat_map(|k| view.features(k)).collect();
        let device = Device::flex();
        let batch = Batch {
            inputs: Tensor::from_data(TensorData::new(inputs, [self.architecture.context, 1, INPUTS]), &device),
            features: Tensor::from_data(TensorData::new(features, [horizon, FEATURES]), &device),
            steps: Tensor::from_data(TensorData::new((0..horizon as i64).collect(), [horizon]), &device),
        };
        let scaled = self.network.forward(batch, Way::Fused).into_data().try_into_vec::<f32>();
        let scaled = scaled.expect("quantiles are of single precision");
        let (rows, _) = scaled.as_chunks::<{ LEVELS.len() }>();
        let quantiles = rows.iter().map(|row| {
            let mut quantiles = row.map(|scaled| view.value(scaled));
            quantiles.sort_by(f64::total_cmp);
            quantiles
        });
        quantiles.collect()
    }
}
