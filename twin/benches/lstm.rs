//! A training step of the LSTM, and a forward pass, beside PyTorch's on the same task in the same run.
//!
//! `cargo bench --bench lstm -- [--torch PYTHON] [--rounds N] [--stepwise]`
//!
//! The task: one layer, state 64, context 96, batch 64, one input; nine quantiles from the last state; pinball loss;
//! Adam. Rounds of ten steps to warm up and 200 that count alternate between the two, each on one thread, and the
//! medians of processor milliseconds a step over all rounds are compared. `PYTHON` is an interpreter that can import
//! torch. `--stepwise` adds the same layer made of the framework's own operations.

use std::process::Command;

use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData, activation};
use cpu_time::ProcessTime;
use forebay::forecast::chance::Chance;
use forebay::forecast::lstm::layer::{Way, last_state};

const CONTEXT: usize = 96;
const BATCH: usize = 64;
const HIDDEN: usize = 64;
const LEVELS: usize = 9;

#[derive(Module, Debug)]
struct Model {
    lstm: Param<Tensor<2>>,
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<2>>,
}

impl Model {
    fn new(chance: &mut Chance, device: &Device) -> Self {
        let bound = (1.0 / HIDDEN as f64).sqrt();
        let mut draw = |rows: usize, columns: usize| {
            let values: Vec<f32> =
                (0..rows * columns).map(|_| ((2.0 * chance.uniform() - 1.0) * bound) as f32).collect();
            Param::from_data(TensorData::new(values, [rows, columns]), device)
        };
        Model { lstm: draw(1 + 1 + HIDDEN, 4 * HIDDEN), weight: draw(HIDDEN, LEVELS), bias: draw(1, LEVELS) }
    }

    fn forward(&self, inputs: Tensor<3>, way: Way) -> Tensor<2> {
        last_state(way, inputs, self.lstm.val()).matmul(self.weight.val()) + self.bias.val()
    }
}

/// Sines from a random phase, and their value twelve steps on.
fn draw(chance: &mut Chance, device: &Device) -> (Tensor<3>, Tensor<2>) {
    let phases: Vec<f32> = (0..BATCH).map(|_| (chance.uniform() * std::f64::consts::TAU) as f32).collect();
    let inputs: Vec<f32> =
        (0..CONTEXT).flat_map(|j| phases.iter().map(move |phase| (phase + 0.1 * j as f32).sin())).collect();
    let targets: Vec<f32> = phases.iter().map(|phase| (phase + 10.7).sin()).collect();
    let inputs = Tensor::from_data(TensorData::new(inputs, [CONTEXT, BATCH, 1]), device);
    (inputs, Tensor::from_data(TensorData::new(targets, [BATCH, 1]), device))
}

/// What a round took and came to.
#[derive(Clone, Copy)]
struct Round {
    /// Processor milliseconds a training step.
    step: f64,
    /// Processor milliseconds a forward pass of a batch.
    pass: f64,
    /// Loss of the last batch.
    loss: f64,
}

fn round(way: Way, seed: u64, steps: usize) -> Round {
    let device = Device::flex().autodiff();
    let mut chance = Chance::new(seed, "benchmark");
    let mut model = Model::new(&mut chance, &device);
    let mut optimizer = AdamConfig::new().with_epsilon(1e-8).init();
    let levels: Vec<f32> = (1..=LEVELS).map(|level| level as f32 / 10.0).collect();
    let levels = Tensor::<2>::from_data(TensorData::new(levels, [1, LEVELS]), &device);
    let mut train = |model: Model| {
        let (inputs, targets) = draw(&mut chance, &device);
        let errors = targets - model.forward(inputs, way);
        let loss = (errors.clone() * levels.clone() + activation::relu(-errors)).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        (optimizer.step(1e-3, model, gradients), loss)
    };
    for _ in 0..10 {
        (model, _) = train(model);
    }
    let start = ProcessTime::now();
    let mut last = None;
    for _ in 0..steps {
        let (next, loss) = train(model);
        (model, last) = (next, Some(loss));
    }
    let step = milliseconds(start) / steps as f64;
    let loss = f64::from(last.expect("there are steps").into_scalar::<f32>());

    let device = Device::flex();
    let model = model.valid();
    let (inputs, _) = draw(&mut Chance::new(seed, "inference"), &device);
    let pass = || std::hint::black_box(model.forward(inputs.clone(), way).into_data());
    pass();
    let start = ProcessTime::now();
    (0..50).for_each(|_| drop(pass()));
    Round { step, pass: milliseconds(start) / 50.0, loss }
}

fn milliseconds(start: ProcessTime) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn torch(python: &str, seed: u64) -> Round {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/twin/benches/lstm_torch.py");
    let output = Command::new(python).args([script, &seed.to_string()]).output().expect("an interpreter of Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8(output.stdout).expect("numbers");
    let numbers: Vec<f64> = line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    Round { step: numbers[0], pass: numbers[1], loss: numbers[2] }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1);
    let rounds: u64 = after("--rounds").map_or(5, |rounds| rounds.parse().expect("a number of rounds"));
    let python = after("--torch");
    let stepwise = arguments.iter().any(|argument| argument == "--stepwise");

    let mut found: Vec<(&str, Vec<Round>)> = vec![("forebay, fused", Vec::new())];
    if python.is_some() {
        found.push(("PyTorch", Vec::new()));
    }
    if stepwise {
        found.push(("forebay, stepwise", Vec::new()));
    }
    for seed in 0..rounds {
        for (name, rounds) in &mut found {
            rounds.push(match (*name, python) {
                ("PyTorch", Some(python)) => torch(python, seed),
                ("forebay, fused", _) => round(Way::Fused, seed, 200),
                _ => round(Way::Stepwise, seed, 40),
            });
        }
    }
    println!("medians of {rounds} rounds, processor ms, one thread");
    println!("{:<20} {:>10} {:>14} {:>10}", "", "ms a step", "ms a forward", "last loss");
    for (name, rounds) in &found {
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
        println!("{name:<20} {:>10.2} {:>14.2} {:>10.4}", of(|r| r.step), of(|r| r.pass), of(|r| r.loss));
    }
    if let [(_, ours), (name, others), ..] = &found[..] {
        let ratio = |value: fn(&Round) -> f64| {
            median(ours.iter().zip(others).map(|(ours, others)| value(ours) / value(others)))
        };
        println!("of {name}: step {:.2}, forward {:.2}", ratio(|r| r.step), ratio(|r| r.pass));
    }
}
