//! Do 95 % confidence intervals contain the truth in 95 % of 1,000 replications?
//!
//! The coverage itself is a sample of 1,000: its standard error is 0.7 %, so sound intervals land between 93 % and 97 %
//! but for one time in 270, and intervals that cover 90 % or 99 % do not.

use forebay_sim::queueing;
use forebay_sim::statistics::{BatchMeans, Interval, Tally};

use super::line::{Line, Place, Sight, Source};
use super::{Law, coverage};

const TRIALS: u64 = 1_000;
/// At utilization 0.5 the queue forgets its start within some 12 customers, and neighbouring waits are correlated over
/// about as many.
const LOAD: f64 = 0.5;
const WARM_UP: u32 = 200;

#[track_caller]
fn assert_nominal(what: &str, share: f64) {
    assert!((0.93..=0.97).contains(&share), "{what}: 95 % intervals contain the truth in {:.1} %", 100.0 * share);
}

fn queue(mean_service: f64, customers: u32) -> Line {
    Line::single(Source::poisson(1.0), Place::new(1, mean_service, Law::Exponential), WARM_UP + customers)
}

fn each_wait(line: &Line, seed: u64, mut on: impl FnMut(f64)) {
    line.run(seed, |now, sight| {
        if let Sight::Begins { customer, .. } = sight
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
    let line = queue(LOAD, 20 * 1024);
    let truth = queueing::mmc_mean_wait(1, 1.0, LOAD);
    let share = coverage(TRIALS, |seed| {
        let mut batches = BatchMeans::new(16);
        each_wait(&line, seed, |wait| batches.add(wait));
        assert_eq!((batches.batch_size(), batches.means().count()), (1024, 20));
        batches.interval(0.95).unwrap().contains(truth)
    });
    assert_nominal("batch means", share);
}

/// Negative control: taking neighbouring waits for independent makes intervals far too narrow.
#[test]
fn waits_are_not_independent_and_coverage_shows_it() {
    let line = queue(LOAD, 5_000);
    let truth = queueing::mmc_mean_wait(1, 1.0, LOAD);
    let share = coverage(200, |seed| {
        let mut waits = Tally::new();
        each_wait(&line, seed, |wait| waits.add(wait));
        Interval::of_tally(&waits, 0.95).unwrap().contains(truth)
    });
    assert!(share < 0.7, "{share}");
}

#[test]
fn replications_cover_the_mean_wait() {
    let line = queue(LOAD, 1_000);
    let truth = queueing::mmc_mean_wait(1, 1.0, LOAD);
    let share = coverage(TRIALS, |trial| {
        let means: Vec<f64> = (0..10).map(|n| mean_wait(&line, 10 * trial + n)).collect();
        Interval::of_replications(&means, 0.95).unwrap().contains(truth)
    });
    assert_nominal("replications", share);
}

/// Common random numbers: the difference of two queues with the same arrivals, and services in proportion.
#[test]
fn paired_differences_cover_the_difference_and_are_narrower() {
    let (slow, fast) = (queue(0.5, 600), queue(0.45, 600));
    let truth = queueing::mmc_mean_wait(1, 1.0, 0.5) - queueing::mmc_mean_wait(1, 1.0, 0.45);
    let pairs = |trial: u64| -> (Vec<f64>, Vec<f64>) {
        (10 * trial..10 * trial + 10).map(|seed| (mean_wait(&slow, seed), mean_wait(&fast, seed))).unzip()
    };
    let share = coverage(TRIALS, |trial| {
        let (slow, fast) = pairs(trial);
        Interval::of_paired_differences(&slow, &fast, 0.95).unwrap().contains(truth)
    });
    assert_nominal("paired differences", share);

    let (slow, fast) = pairs(0);
    let paired = Interval::of_paired_differences(&slow, &fast, 0.95).unwrap();
    let alone = Interval::of_replications(&slow, 0.95).unwrap();
    assert!(paired.half_width < 0.5 * alone.half_width, "{paired:?} {alone:?}");
}
