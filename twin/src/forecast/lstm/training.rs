//! Training: batches drawn from all series, Adam with a one-cycle rate, and the mean of the last weights.

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};

use super::LstmConfig;
use super::features::{FEATURES, INPUTS, Series};
use super::layer::Way;
use super::network::{Architecture, Batch, Network, Weights, pinball};
use crate::forecast::chance::Chance;

/// Trains weights for `architecture` on `set`, none of which is too short ([`first_origin`]), from those `before` or
/// from random ones.
pub(super) fn train(
    architecture: &Architecture,
    before: Option<&Weights>,
    set: &[Series<'_>],
    config: &LstmConfig,
    seed: u64,
    device: &Device,
    way: Way,
) -> Weights {
    let mut network = match before {
        Some(weights) => Network::new(weights, device),
        None => Network::new(&architecture.draw(&mut Chance::new(seed, "lstm weights")), device),
    };
    let mut optimizer: ModuleOptimizer = AdamConfig::new().with_epsilon(1e-8).init();
    let mut chance = Chance::new(seed, "lstm batches");
    let mut average = Average::default();
    for step in 0..config.training_steps {
        let (batch, targets) = draw(architecture, set, config, &mut chance, device);
        let loss = pinball(network.forward(batch, way), targets);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        let gradients = clip(gradients, &network, config.gradient_norm);
        let share = step as f64 / config.training_steps as f64;
        network = optimizer.step(one_cycle(config.learning_rate, share), network, gradients);
        if share >= 1.0 - config.averaged && step % 5 == 0 {
            average.add(network.weights());
        }
    }
    average.add(network.weights());
    average.mean()
}

/// The first origin to learn from: after two weeks, or half of a series that is shorter than four. `None` when that
/// leaves no step to forecast, or no past.
pub(super) fn first_origin(series: &Series<'_>, day: usize, horizon: usize) -> Option<usize> {
    let first = (14 * day).min(series.len() / 2);
    (first > 0 && first + horizon <= series.len()).then_some(first)
}

/// Learning rate after a `share` of the training: up from a 25th of `most` to it in three tenths, and down to nearly
/// nothing, both along a cosine (L. Smith, N. Topin, "Super-Convergence", 2018; the shape is PyTorch's default).
fn one_cycle(most: f64, share: f64) -> f64 {
    let cosine = |from: f64, to: f64, share: f64| to + (from - to) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0;
    if share < 0.3 {
        cosine(most / 25.0, most, share / 0.3)
    } else {
        cosine(most, most / 250_000.0, (share - 0.3) / 0.7)
    }
}

/// Scales all gradients down to a common norm of `most`, if it is above.
fn clip(mut gradients: GradientsParams, network: &Network, most: f64) -> GradientsParams {
    let ids = network.parameters().map(|(_, param)| param.id);
    let squares: Vec<Tensor<1>> =
        ids.iter().filter_map(|id| gradients.get::<2>(*id)).map(|gradient| gradient.square().sum()).collect();
    let norm = Tensor::cat(squares, 0).sum().into_scalar::<f32>().sqrt();
    if f64::from(norm) > most {
        for id in ids {
            if let Some(gradient) = gradients.remove::<2>(id) {
                gradients.register(id, gradient.mul_scalar(most as f32 / norm));
            }
        }
    }
    gradients
}

/// A batch: series, origins and steps at random, and the values that came at those steps.
fn draw(
    architecture: &Architecture,
    set: &[Series<'_>],
    config: &LstmConfig,
    chance: &mut Chance,
    device: &Device,
) -> (Batch, Tensor<2>) {
    let (context, count, horizon) = (architecture.context, config.batch, architecture.horizon);
    let steps = choose(horizon, horizon.min(config.steps_in_batch), chance);
    let mut inputs = vec![0.0; context * count * INPUTS];
    let mut features = Vec::with_capacity(count * steps.len() * FEATURES);
    let mut targets = Vec::with_capacity(count * steps.len());
    for n in 0..count {
        let series = &set[chance.below(set.len())];
        let first = first_origin(series, series.day(), horizon).expect("series too short were left out");
        let origin = first + chance.below(series.len() - horizon - first + 1);
        // A share of the samples has a short past, so that the network knows how that looks.
        let short = chance.uniform() < config.short_past;
        let since = if short { origin - 1 - chance.below(origin.min(7 * series.day())) } else { 0 };
        let view = series.view_since(since, origin, (config.scale_noise * chance.normal()).exp());
        for (t, input) in view.inputs(context).enumerate() {
            inputs[(t * count + n) * INPUTS..][..INPUTS].copy_from_slice(&input);
        }
        for step in &steps {
            features.extend(view.features(*step));
            targets.push(view.scaled(series.value(origin + step)));
        }
    }
    let rows = count * steps.len();
    let indices: Vec<i64> = steps.iter().map(|step| *step as i64).collect();
    let batch = Batch {
        inputs: Tensor::from_data(TensorData::new(inputs, [context, count, INPUTS]), device),
        features: Tensor::from_data(TensorData::new(features, [rows, FEATURES]), device),
        steps: Tensor::from_data(TensorData::new(indices, [steps.len()]), device),
    };
    (batch, Tensor::from_data(TensorData::new(targets, [rows, 1]), device))
}

/// `count` of the numbers below `all`, ascending.
fn choose(all: usize, count: usize, chance: &mut Chance) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..all).collect();
    for n in 0..count {
        numbers.swap(n, n + chance.below(all - n));
    }
    numbers.truncate(count);
    numbers.sort_unstable();
    numbers
}

/// The mean of weights.
#[derive(Default)]
struct Average {
    sum: Weights,
    count: f32,
}

impl Average {
    fn add(&mut self, weights: Weights) {
        self.count += 1.0;
        for (name, matrix) in weights {
            match self.sum.get_mut(name) {
                None => drop(self.sum.insert(name, matrix)),
                Some(sum) => sum.values.iter_mut().zip(matrix.values).for_each(|(sum, value)| *sum += value),
            }
        }
    }

    fn mean(mut self) -> Weights {
        for value in self.sum.values_mut().flat_map(|matrix| &mut matrix.values) {
            *value /= self.count;
        }
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_most_and_falls_to_nothing() {
        let rates: Vec<f64> = (0..=100).map(|n| one_cycle(1.0, f64::from(n) / 100.0)).collect();
        assert!((rates[0] - 0.04).abs() < 1e-12 && (rates[30] - 1.0).abs() < 1e-12 && rates[100] < 1e-5);
        assert!(rates[..=30].is_sorted() && rates[30..].iter().rev().is_sorted());
    }

    #[test]
    fn chosen_numbers_differ_and_cover_everything() {
        let mut chance = Chance::new(1, "test");
        let mut seen = [false; 12];
        for _ in 0..50 {
            let numbers = choose(12, 5, &mut chance);
            assert!(numbers.len() == 5 && numbers.windows(2).all(|pair| pair[0] < pair[1]));
            numbers.iter().for_each(|n| seen[*n] = true);
        }
        assert_eq!(seen, [true; 12]);
    }
}
