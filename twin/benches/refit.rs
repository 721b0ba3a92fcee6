//! A full refit and a forecast of many series, one after the other on one core, for the models that are fitted anew.
//!
//! `cargo bench --bench refit -- [--series N] [--ahead STEPS]`
//!
//! The task: 1,000 series of 28 days at quarter hours, each a day and a week with noise, a level that wanders and crowds
//! that pass, by seed; for each a fit of the last 28 days and quantiles of the next day. What counts is the processor
//! time of the process. The aim is 40 ms a series for MSTL, 40 s in all: a fiftieth of what the library statsforecast
//! takes.

use cpu_time::ProcessTime;
use forebay::forecast::chance::Chance;
use forebay::forecast::grid::Grid;
use forebay::forecast::model::{self, Past};
use forebay_world::{Duration, Timestamp};

const DAY: usize = 96;
const DAYS: usize = 28;
const MODELS: [&str; 3] = ["mstl", "ets", "structural"];

/// The series of a seed.
fn draw(seed: u64) -> Vec<f64> {
    let mut chance = Chance::new(seed, "refit");
    let size = (3.0 + 3.0 * chance.uniform()).exp();
    let (swing, weekend, noise) = (0.2 + chance.uniform(), 0.6 * chance.uniform(), 0.02 + 0.2 * chance.uniform());
    let peak = chance.uniform();
    let (mut level, mut crowd) = (0.0, 0.0);
    (0..DAYS * DAY)
        .map(|at| {
            let share = (at % DAY) as f64 / DAY as f64;
            level += 0.01 * chance.normal();
            crowd = 0.9 * crowd + if chance.uniform() < 0.002 { 1.0 + chance.uniform() } else { 0.0 };
            let week = if at / DAY % 7 >= 5 { weekend } else { 0.0 };
            let season = swing * ((share - peak) * std::f64::consts::TAU).cos();
            size * (season - week + level + crowd + noise * chance.normal()).exp()
        })
        .collect()
}

fn option(name: &str, or: usize) -> usize {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    given.map_or(or, |text| text.parse().expect("a number"))
}

fn main() {
    let (series, ahead) = (option("--series", 1_000), option("--ahead", DAY));
    let grid = Grid::utc(Timestamp::EPOCH, Duration::from_mins(15));
    let set: Vec<Vec<f64>> = (0..series as u64).map(draw).collect();
    println!("{series} series of {} steps, {ahead} steps ahead, one core", DAYS * DAY);
    println!("{:<12} {:>14} {:>14} {:>12} {:>8}", "model", "CPU ms each", "most CPU ms", "CPU s in all", "failed");
    for name in MODELS {
        let model = model::train(name, &[], ahead, 1).expect("there is one of that name").expect("nothing to train");
        let (mut most, mut failed) = (0.0f64, 0);
        let all = ProcessTime::now();
        for values in &set {
            let one = ProcessTime::now();
            let forecast = model.predict(&Past::new(&grid, 0, values), ahead);
            failed += usize::from(!forecast.is_ok_and(|forecast| forecast.steps() == ahead));
            most = most.max(one.elapsed().as_secs_f64());
        }
        let all = all.elapsed().as_secs_f64();
        println!("{name:<12} {:>14.2} {:>14.2} {all:>12.2} {failed:>8}", all * 1e3 / series as f64, most * 1e3);
    }
}
