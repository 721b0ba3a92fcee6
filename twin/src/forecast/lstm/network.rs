//! The network: an LSTM reads the context, and from its last state and what is known of each step to forecast, a layer
//! of rectified units gives that step's quantiles. What is known also reaches the quantiles directly, so that the
//! units learn what a week ago does not tell.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::LEVELS;
use super::features::{FEATURES, INPUTS};
use super::layer::{self, Way};
use crate::forecast::chance::Chance;

/// Sizes that the weights' shapes follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Architecture {
    /// Steps of the past that are read.
    pub(super) context: usize,
    /// Steps to forecast.
    pub(super) horizon: usize,
    /// Width of the LSTM's state.
    pub(super) hidden: usize,
    /// Width of what is kept of the state.
    pub(super) summary: usize,
    /// Width of a step's embedding.
    pub(super) embedding: usize,
    /// Rectified units.
    pub(super) units: usize,
}

/// A matrix of weights, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    /// Rows and columns.
    pub(super) shape: [usize; 2],
    /// Rows one after the other.
    pub(super) values: Vec<f32>,
}

/// All weights by name.
pub(super) type Weights = BTreeMap<&'static str, Matrix>;

impl Architecture {
    /// Name and shape of each matrix of weights.
    pub(super) fn shapes(&self) -> [(&'static str, [usize; 2]); 11] {
        let Architecture { horizon, hidden, summary, embedding, units, .. } = *self;
        [
            ("lstm", [INPUTS + 1 + hidden, 4 * hidden]),
            ("summary.weight", [hidden, summary]),
            ("summary.bias", [1, summary]),
            ("steps", [horizon, embedding]),
            ("units.summary", [summary, units]),
            ("units.step", [embedding, units]),
            ("units.features", [FEATURES, units]),
            ("units.bias", [1, units]),
            ("quantiles.units", [units, LEVELS.len()]),
            ("quantiles.features", [FEATURES, LEVELS.len()]),
            ("quantiles.bias", [1, LEVELS.len()]),
        ]
    }

    /// Weights to begin with: uniform within the square root of one over the number of a sum's terms, the forget
    /// gate's bias one higher, so that the state is remembered at first.
    pub(super) fn draw(&self, chance: &mut Chance) -> Weights {
        let terms = |name: &str| match name {
            "lstm" => self.hidden,
            "summary.weight" | "summary.bias" => self.hidden,
            "units.summary" | "units.step" | "units.features" | "units.bias" => {
                self.summary + self.embedding + FEATURES
            }
            _ => self.units,
        };
        let mut weights: Weights = BTreeMap::new();
        for (name, shape) in self.shapes() {
            let bound = (1.0 / terms(name) as f64).sqrt();
            let draw = |_| match name {
                "steps" => chance.normal() as f32,
                "quantiles.features" => 0.0,
                _ => ((2.0 * chance.uniform() - 1.0) * bound) as f32,
            };
            let values = (0..shape[0] * shape[1]).map(draw).collect();
            weights.insert(name, Matrix { shape, values });
        }
        let lstm = weights.get_mut("lstm").expect("there is a matrix of that name");
        for value in &mut lstm.values[(INPUTS * 4 + 1) * self.hidden..(INPUTS * 4 + 2) * self.hidden] {
            *value += 1.0;
        }
        weights
    }
}

/// The weights as parameters on a device.
#[derive(Module, Debug)]
pub(super) struct Network {
    lstm: Param<Tensor<2>>,
    summary_weight: Param<Tensor<2>>,
    summary_bias: Param<Tensor<2>>,
    steps: Param<Tensor<2>>,
    units_summary: Param<Tensor<2>>,
    units_step: Param<Tensor<2>>,
    units_features: Param<Tensor<2>>,
    units_bias: Param<Tensor<2>>,
    quantiles_units: Param<Tensor<2>>,
    quantiles_features: Param<Tensor<2>>,
    quantiles_bias: Param<Tensor<2>>,
}

/// Context and features of a batch of series.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Context × series × [`INPUTS`].
    pub(super) inputs: Tensor<3>,
    /// (Series · steps) × [`FEATURES`].
    pub(super) features: Tensor<2>,
    /// The steps to forecast, 0 the first.
    pub(super) steps: Tensor<1, Int>,
}

impl Network {
    /// The network of `weights` on `device`; the weights have the names and shapes of an [`Architecture`].
    pub(super) fn new(weights: &Weights, device: &Device) -> Self {
        let param = |name: &str| {
            let Matrix { shape, values } = &weights[name];
            Param::from_data(TensorData::new(values.clone(), *shape), device)
        };
        Network {
            lstm: param("lstm"),
            summary_weight: param("summary.weight"),
            summary_bias: param("summary.bias"),
            steps: param("steps"),
            units_summary: param("units.summary"),
            units_step: param("units.step"),
            units_features: param("units.features"),
            units_bias: param("units.bias"),
            quantiles_units: param("quantiles.units"),
            quantiles_features: param("quantiles.features"),
            quantiles_bias: param("quantiles.bias"),
        }
    }

    /// The parameters with their names in [`Architecture::shapes`].
    pub(super) fn parameters(&self) -> [(&'static str, &Param<Tensor<2>>); 11] {
        [
            ("lstm", &self.lstm),
            ("summary.weight", &self.summary_weight),
            ("summary.bias", &self.summary_bias),
            ("steps", &self.steps),
            ("units.summary", &self.units_summary),
            ("units.step", &self.units_step),
            ("units.features", &self.units_features),
            ("units.bias", &self.units_bias),
            ("quantiles.units", &self.quantiles_units),
            ("quantiles.features", &self.quantiles_features),
            ("quantiles.bias", &self.quantiles_bias),
        ]
    }

    /// The weights as numbers.
    pub(super) fn weights(&self) -> Weights {
        let matrix = |param: &Param<Tensor<2>>| {
            let tensor = param.val();
            let shape = tensor.dims();
            Matrix { shape, values: tensor.into_data().try_into_vec().expect("weights are of single precision") }
        };
        self.parameters().into_iter().map(|(name, param)| (name, matrix(param))).collect()
    }

    /// Quantiles at [`LEVELS`] of each series and step, (series · steps) × levels, in the scale of the features.
    pub(super) fn forward(&self, batch: Batch, way: Way) -> Tensor<2> {
        let Batch { inputs, features, steps } = batch;
        let [_, series, _] = inputs.dims();
        let [count] = steps.dims();
        let [_, units] = self.units_bias.dims();
        let state = layer::last_state(way, inputs, self.lstm.val());
        let summary = state.matmul(self.summary_weight.val()) + self.summary_bias.val();
        let by_series = summary.matmul(self.units_summary.val()) + self.units_bias.val();
        let by_step = self.steps.val().select(0, steps).matmul(self.units_step.val());
        let by_both = features.clone().matmul(self.units_features.val());
        let sums = by_both.reshape([series, count, units])
            + by_series.reshape([series, 1, units])
            + by_step.reshape([1, count, units]);
        let excited = activation::relu(sums).reshape([series * count, units]);
        excited.matmul(self.quantiles_units.val())
            + features.matmul(self.quantiles_features.val())
            + self.quantiles_bias.val()
    }
}

/// The mean pinball loss of `quantiles`, (series · steps) × levels, at `targets`, (series · steps) × 1 (R. Koenker,
/// G. Bassett, "Regression Quantiles", Econometrica 46, 1978).
pub(super) fn pinball(quantiles: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let levels = TensorData::new(LEVELS.map(|level| level as f32).to_vec(), [1, LEVELS.len()]);
    let levels = Tensor::<2>::from_data(levels, &quantiles.device());
    // max(q·e, (q − 1)·e) = q·e + max(−e, 0)
    let errors = targets - quantiles;
    (errors.clone() * levels + activation::relu(-errors)).mean()
}
