//! Do 95 % confidence intervals contain the truth in 95 % of 1,000 replications?
//!
//! The coverage itself is a sample of 1,000: its standard error is 0.7 %, so sound intervals land between 93 % and 97 %
//! but for one time in 270, and intervals that cover 90 % or 99 % do not.

use forebay_sim::queueing;
use forebay_sim::statistics::{BatchMeans, Interval, Tally, normal_quantile, student_t_quantile};
use rayon::prelude::*;

use super::line::{Line, Place, Sight, Source};
use super::{Law, coverage, seed};

const TRIALS: u64 = 1_000;
/// At utilization 0.5 the queue forgets its start within some 12 customers, and neighbouring waits are correlated over
/// about as many.
const LOAD: f64 = 0.5;
const WARM_UP: u32 = 200;
const NOMINAL: std::ops::RangeInclusive<f64> = 0.93..=0.97;

fn queue(mean_service: f64, law: Law, customers: u32) -> Line {
    Line::single(Source::poisson(1.0), Place::new(1, mean_service, law), WARM_UP + customers)
}

fn each_wait(line: &Line, seed: u64, mut on: impl FnMut(f64)) {
    line.run(seed, |now, sight| {
        if let Sight::Begins { customer } = sight
            && customer.tag >= WARM_UP
        {
            on(now.since(customer.arrived).as_secs_f64());
        }
    });
}

fn mean_wait(line: &Line, seed: u64) -> f64 {
    let mut waits = Tally::new();
    each_wait(line, seed, |wait| waits.add(wait));
    waits.mean().unwrap()
}

#[test]
fn batch_means_of_one_long_run_cover_the_mean_wait() {
    // 20 batches of 1,024.
    let line = queue(LOAD, Law::Exponential, 20 * 1024);
    let truth = queueing::mmc_mean_wait(1, 1.0, LOAD);
    let share = coverage(TRIALS, |trial| {
        let mut batches = BatchMeans::new(16);
        each_wait(&line, seed("batch means", trial), |wait| batches.add(wait));
        assert_eq!((batches.batch_size(), batches.means().count()), (1024, 20));
        batches.interval(0.95).unwrap().contains(truth)
    });
    assert!(NOMINAL.contains(&share), "{share}");
}

/// Negative control: taking neighbouring waits for independent makes intervals far too narrow.
#[test]
fn waits_are_not_independent_and_coverage_shows_it() {
    let line = queue(LOAD, Law::Exponential, 5_000);
    let truth = queueing::mmc_mean_wait(1, 1.0, LOAD);
    let share = coverage(200, |trial| {
        let mut waits = Tally::new();
        each_wait(&line, seed("not independent", trial), |wait| waits.add(wait));
        Interval::of_tally(&waits, 0.95).unwrap().contains(truth)
    });
    assert!(share < 0.7, "{share}");
}

#[test]
fn replications_cover_the_mean_wait() {
    let line = queue(LOAD, Law::Exponential, 2_000);
    let truth = queueing::mmc_mean_wait(1, 1.0, LOAD);
    let trial = |trial: u64| {
        let means: Vec<f64> = (0..10).map(|n| mean_wait(&line, seed("replications", 10 * trial + n))).collect();
        Interval::of_replications(&means, 0.95).unwrap()
    };
    let intervals: Vec<Interval> = (0..TRIALS).into_par_iter().map(trial).collect();
    let share = |narrowed: f64| {
        let covers = |interval: &&Interval| (interval.mean - truth).abs() <= narrowed * interval.half_width;
        intervals.iter().filter(covers).count() as f64 / TRIALS as f64
    };
    assert!(NOMINAL.contains(&share(1.0)), "{}", share(1.0));
    // Negative control: the normal quantile where Student's belongs is too narrow, and 1,000 trials show it.
    let normal = normal_quantile(0.975) / student_t_quantile(0.975, 9);
    assert!(!NOMINAL.contains(&share(normal)), "{}", share(normal));
}

/// Common random numbers: the difference of two queues with the same arrivals, and services in proportion.
#[test]
fn paired_differences_cover_the_difference_and_are_narrower() {
    let line = |load| queue(load, Law::Deterministic, 1_000);
    let wait = |load| queueing::mg1_mean_wait(1.0, load, load * load);
    let (slow, fast) = (line(0.5), line(0.45));
    let truth = wait(0.5) - wait(0.45);
    let pairs = |trial: u64| -> (Vec<f64>, Vec<f64>) {
        let seeds = (10 * trial..10 * trial + 10).map(|n| seed("pairs", n));
        seeds.map(|seed| (mean_wait(&slow, seed), mean_wait(&fast, seed))).unzip()
    };
    let share = coverage(TRIALS, |trial| {
        let (slow, fast) = pairs(trial);
        Interval::of_paired_differences(&slow, &fast, 0.95).unwrap().contains(truth)
    });
    assert!(NOMINAL.contains(&share), "{share}");

    let (slow, fast) = pairs(0);
    let paired = Interval::of_paired_differences(&slow, &fast, 0.95).unwrap();
    let alone = Interval::of_replications(&slow, 0.95).unwrap();
    assert!(paired.half_width < 0.5 * alone.half_width, "{paired:?} {alone:?}");
}
