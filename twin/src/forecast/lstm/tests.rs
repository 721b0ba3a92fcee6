use std::sync::LazyLock;

use super::network::pinball;
use super::*;
use crate::forecast::chance::Chance;

const DAY: usize = 24;

/// Small enough for a test.
fn small() -> LstmConfig {
    LstmConfig {
        context: 24,
        hidden: 16,
        summary: 8,
        embedding: 4,
        units: 16,
        training_steps: 300,
        batch: 16,
        device: TrainingDevice::Processor,
        ..LstmConfig::default()
    }
}

/// Waves of one day with noise, of different size and phase.
fn waves(days: usize) -> Vec<Vec<f64>> {
    let mut chance = Chance::new(5, "waves");
    let wave = |n: usize| {
        let size = 10_f64.powi(n as i32);
        let at = |t: usize| 2.0 + ((t + 5 * n) as f64 / DAY as f64 * std::f64::consts::TAU).sin();
        (0..days * DAY).map(|t| size * (at(t) + 0.05 * chance.normal())).collect()
    };
    (0..3).map(wave).collect()
}

fn set(waves: &[Vec<f64>]) -> Vec<TrainingSeries<'_>> {
    waves.iter().map(|values| TrainingSeries { values, steps_per_day: DAY, first_step_of_day: 0 }).collect()
}

static TRAINED: LazyLock<Lstm> = LazyLock::new(|| Lstm::train(&set(&waves(28)), 6, &small(), 1).unwrap());

#[test]
fn a_learned_wave_beats_the_last_value_and_its_quantiles_hold() {
    let waves = waves(35);
    let (mut learned, mut last, mut below, mut count) = (0.0, 0.0, 0, 0);
    for values in &waves {
        let size = values.iter().sum::<f64>() / values.len() as f64;
        for origin in (28 * DAY..35 * DAY - 6).step_by(5) {
            let forecast = TRAINED.predict(&values[..origin], DAY, origin % DAY, 6);
            for (quantiles, value) in forecast.iter().zip(&values[origin..]) {
                assert!(quantiles.is_sorted());
                learned += (quantiles[5] - value).abs() / size;
                last += (values[origin - 1] - value).abs() / size;
                below += usize::from(*value < quantiles[9]);
                count += 1;
            }
        }
    }
    assert!(learned < 0.25 * last, "{learned} of {last}");
    // Nine tenths with training noise, not with sampling noise alone.
    let share = below as f64 / f64::from(count);
    assert!((0.75..0.99).contains(&share), "{share} below the 0.9-quantile");
}

#[test]
fn the_same_seed_gives_the_same_weights_on_any_thread_and_another_seed_others() {
    let waves = waves(14);
    let config = LstmConfig { training_steps: 12, ..small() };
    let weights = |seed| Lstm::train(&set(&waves), 6, &config, seed).unwrap().weights;
    let here = weights(1);
    let elsewhere: Vec<network::Weights> = std::thread::scope(|scope| {
        let others = [1, 1, 2].map(|seed| scope.spawn(move || weights(seed)));
        others.map(|other| other.join().unwrap()).into()
    });
    assert_eq!([&here, &here], [&elsewhere[0], &elsewhere[1]]);
    assert_ne!(here, elsewhere[2]);
}

#[test]
fn both_ways_of_the_layer_train_alike() {
    let waves = waves(14);
    let config = LstmConfig { training_steps: 15, ..small() };
    let [fused, stepwise] = [Way::Fused, Way::Stepwise]
        .map(|way| Lstm::train_on(&set(&waves), 6, &config, 1, Device::flex(), way).unwrap());
    for values in &waves {
        let pairs = fused.predict(values, DAY, 0, 6).into_iter().zip(stepwise.predict(values, DAY, 0, 6));
        for (one, other) in pairs.flat_map(|(one, other)| one.into_iter().zip(other)) {
            assert!((one - other).abs() <= 2e-3 * other.abs(), "{one}, not {other}");
        }
    }
}

/// Along each matrix's gradient, the loss rises by the gradient's norm: checked by differences.
#[test]
fn the_gradient_of_the_loss_is_its_slope() {
    let device = Device::flex().autodiff();
    let architecture = Architecture { context: 9, horizon: 4, hidden: 16, summary: 8, embedding: 4, units: 16 };
    let mut chance = Chance::new(2, "gradient");
    let mut weights = architecture.draw(&mut chance);
    let mut draw = |count: usize| (0..count).map(|_| chance.normal() as f32).collect::<Vec<_>>();
    for matrix in weights.values_mut() {
        let noise = draw(matrix.values.len());
        matrix.values.iter_mut().zip(noise).for_each(|(value, noise)| *value += 0.2 * noise);
    }
    let (inputs, features, targets) = (draw(9 * 32 * INPUTS), draw(32 * 4 * FEATURES), draw(32 * 4));
    let loss = |weights: &Weights| {
        let network = Network::new(weights, &device);
        let batch = Batch {
            inputs: Tensor::from_data(TensorData::new(inputs.clone(), [9, 32, INPUTS]), &device),
            features: Tensor::from_data(TensorData::new(features.clone(), [32 * 4, FEATURES]), &device),
            steps: Tensor::from_data(TensorData::new(vec![0_i64, 1, 2, 3], [4]), &device),
        };
        let targets = Tensor::from_data(TensorData::new(targets.clone(), [32 * 4, 1]), &device);
        (pinball(network.forward(batch, Way::Fused), targets), network)
    };
    let (value, network) = loss(&weights);
    let gradients = value.backward();
    for (name, param) in network.parameters() {
        let gradient = param.val().grad(&gradients).unwrap().into_data().try_into_vec::<f32>().unwrap();
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-4, "{name} has no gradient");
        let step = 2e-2;
        let [above, below] = [step, -step].map(|step| {
            let mut moved = weights.clone();
            for (value, gradient) in moved.get_mut(name).unwrap().values.iter_mut().zip(&gradient) {
                *value += (step * f64::from(*gradient) / norm) as f32;
            }
            f64::from(loss(&moved).0.into_scalar::<f32>())
        });
        let slope = (above - below) / (2.0 * step);
        assert!((slope - norm).abs() < 0.03 * norm + 2e-5, "{name}: {norm}, but the slope is {slope}");
    }
}

#[test]
fn any_history_has_a_forecast() {
    let wave = &waves(28)[1];
    for length in [0, 1, 2, DAY, DAY + 1, 7 * DAY, 8 * DAY + 3, 28 * DAY] {
        let forecast = TRAINED.predict(&wave[..length], DAY, length % DAY, 6);
        assert_eq!(forecast.len(), 6);
        assert!(forecast.iter().flatten().all(|value| value.is_finite() && *value >= 0.0), "{length}: {forecast:?}");
    }
    let gaps: Vec<f64> = wave.iter().enumerate().map(|(n, v)| if n % 7 == 3 { f64::NAN } else { *v }).collect();
    assert!(TRAINED.predict(&gaps, DAY, 0, 6).iter().flatten().all(|value| value.is_finite()));
    assert!(TRAINED.predict(&[0.0; 300], DAY, 0, 6).iter().flatten().all(|value| value.is_finite()));
    // What lies far back changes nothing.
    let long = [&[1e6; 5 * DAY][..], wave].concat();
    assert_eq!(TRAINED.predict(&long, DAY, 3, 6), TRAINED.predict(wave, DAY, 3, 6));
}

#[test]
fn nothing_to_learn_from_is_said() {
    let short = [1.0; 5];
    let set = [TrainingSeries { values: &short, steps_per_day: DAY, first_step_of_day: 0 }];
    let error = Lstm::train(&set, 6, &small(), 1).unwrap_err();
    assert_eq!(error, TrainingError::TooShort { series: 1, horizon: 6, longest: 5 });
    assert!(matches!(Lstm::train(&[], 6, &small(), 1), Err(TrainingError::TooShort { series: 0, .. })));
}

/// Waves that come at another time of the day from now on.
#[test]
fn a_network_goes_on_with_what_has_changed() {
    let later =
        |days: usize| waves(days + 1).iter().map(|wave| wave[DAY / 3..][..DAY * days].to_vec()).collect::<Vec<_>>();
    let (train, test) = (later(28), later(35));
    let anew = Lstm::train(&set(&train), 6, &small(), 2).unwrap();
    let on = TRAINED.go_on(&set(&train), &small(), 2).unwrap();
    assert_eq!(on.architecture, TRAINED.architecture);
    let error = |network: &Lstm| {
        let mut sum = 0.0;
        for values in &test {
            let size = values.iter().sum::<f64>() / values.len() as f64;
            for origin in (28 * DAY..35 * DAY - 6).step_by(5) {
                let forecast = network.predict(&values[..origin], DAY, origin % DAY, 6);
                sum +=
                    forecast.iter().zip(&values[origin..]).map(|(q, value)| (q[5] - value).abs() / size).sum::<f64>();
            }
        }
        sum
    };
    let [before, anew, on] = [&*TRAINED, &anew, &on].map(error);
    assert!(on < 1.1 * anew && on < before, "{on}, anew {anew}, before {before}");
}
