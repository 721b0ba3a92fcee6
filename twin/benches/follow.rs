//! What it costs to follow a series for one step more, and to forecast ten steps, after 28 days of it.
//!
//! `RAYON_NUM_THREADS=1 cargo bench --bench follow -- [FILTER] [--minutes N]`
//!
//! Models are trained on three short series first, for ten steps ahead, since what a step costs does not depend on what
//! a model has learned. `observe` takes in one value, and with it, where a model learns on the way, a forecast that
//! nobody has asked for; `tick` takes in one value and asks; `forecast` asks in vain, of a follower that knows nothing
//! new and has kept nothing, as its copy does. `train` is measured once, in processor seconds, on six series of 28 days.

use criterion::{BatchSize, Criterion};
use forebay::forecast::chance::Chance;
use forebay::forecast::follower::Follower;
use forebay::forecast::grid::Grid;
use forebay::forecast::model::Past;
use forebay::forecast::trained::{self, Trained};
use forebay_world::{Duration, Timestamp};

const STEPS: usize = 10;
const MODELS: [&str; 5] = ["ensemble", "boosted", "perceptron", "lstm", "seasonal-naive-day"];

/// A day's wave that differs by weekday, with a level that wanders and noise.
fn series(seed: u64, day: usize, days: usize) -> Vec<f64> {
    let mut chance = Chance::new(seed, "follow");
    let mut level = 0.0;
    let value = |k: usize| {
        level = 0.99 * level + 0.02 * chance.normal();
        let share = k as f64 / day as f64;
        let wave = 2.0 + (share * std::f64::consts::TAU).sin() + 0.3 * ((share / 7.0).fract() * 9.0).cos();
        500.0 * wave * (level + 0.05 * chance.normal()).exp()
    };
    (0..day * days).map(value).collect()
}

fn train(name: &str, grid: &Grid, set: &[Vec<f64>]) -> Trained {
    let set: Vec<Past<'_>> = set.iter().map(|values| Past::new(grid, 0, values)).collect();
    trained::train(name, &set, STEPS, 1).expect("there is one").expect("there is enough to learn from")
}

/// A follower that has seen all but the last day.
fn followed(model: &Trained, grid: &Grid, values: &[f64]) -> Box<dyn Follower> {
    let known = values.len() - grid.day();
    let mut follower = model.follow(grid, known, known);
    values[..known].iter().for_each(|value| follower.observe(Some(*value)));
    follower
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().collect();
    let mut lengths = vec![1, 15];
    if let Some(at) = arguments.iter().position(|argument| argument == "--minutes") {
        lengths = vec![arguments[at + 1].parse().expect("minutes")];
        arguments.drain(at..at + 2);
    }
    let only = arguments.iter().skip(1).find(|argument| !argument.starts_with('-')).cloned();
    let wanted = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut criterion = Criterion::default()
        .warm_up_time(std::time::Duration::from_secs(1))
        .measurement_time(std::time::Duration::from_secs(3))
        .sample_size(20);
    for minutes in lengths {
        let grid = Grid::utc(Timestamp::from_secs(1_767_225_600), Duration::from_mins(minutes));
        let day = grid.day();
        let long = series(1, day, 29);
        for name in MODELS.into_iter().filter(|name| wanted(&format!("{minutes} min/{name}"))) {
            let days = (22 * 96 / day).max(15);
            let set: Vec<Vec<f64>> = (2..5).map(|seed| series(seed, day, days)).collect();
            let model = train(name, &grid, &set);
            let mut follower = followed(&model, &grid, &long);
            let _ = follower.forecast(STEPS).expect("it has seen enough");
            let mut next = (0..day).cycle().map(|k| long[long.len() - day + k]);
            let mut group = criterion.benchmark_group(format!("{minutes} min/{name}"));
            group.bench_function("observe", |bench| bench.iter(|| follower.observe(next.next())));
            group.bench_function("tick", |bench| {
                bench.iter(|| {
                    follower.observe(next.next());
                    follower.forecast(STEPS).expect("it has seen enough")
                })
            });
            follower.observe(next.next());
            let _ = follower.clone().forecast(STEPS);
            group.bench_function("forecast", |bench| {
                bench.iter_batched_ref(|| follower.clone(), |copy| copy.forecast(STEPS), BatchSize::LargeInput)
            });
            group.finish();
        }
        if wanted(&format!("{minutes} min/train")) {
            let set: Vec<Vec<f64>> = (0..6).map(|seed| series(seed, day, 28)).collect();
            for name in ["boosted", "perceptron", "ensemble"] {
                let start = cpu_time::ProcessTime::now();
                let _ = train(name, &grid, &set);
                println!("{minutes} min/train/{name}: {:.1} CPU s", start.elapsed().as_secs_f64());
            }
        }
    }
    criterion.final_summary();
}
