//! The LSTM under protocol G15: quarter-hourly forecasts of six recorded series, an hour and a day ahead.
//!
//! `cargo run --release --example lstm_g15 -- [FOLDER] [--seeds N] [--back WEEKS]`
//!
//! `FOLDER` holds the recordings; without it, `FOREBAY_DATA` says where they are. Each seed trains one network for each
//! horizon on the first four weeks of all series and forecasts the fifth. With `--back 1` the network learns from the
//! first three weeks and forecasts the fourth, and so on: what a choice of architecture is judged by, so that the
//! fifth week stays unseen. Printed are the weighted quantile loss of each series, their geometric mean over that of
//! the seasonal naive forecast, the coverage of the 90 % interval, and processor time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cpu_time::ProcessTime;
use forebay::forecast::lstm::{LEVELS, Lstm, LstmConfig, TrainingSeries};
use forebay::forecast::normal_quantile;
use jiff::civil::{DateTime, date};

const DAY: usize = 96;
const WEEK: usize = 7 * DAY;

struct Recording {
    name: &'static str,
    values: Vec<f64>,
}

/// Sums or means of the quarter hours of 35 days.
fn read(folder: &Path, name: &'static str, file: &str, series: Option<&str>, start: DateTime, mean: bool) -> Recording {
    let mut reader = csv::Reader::from_path(folder.join(file)).expect(file);
    let column = |headers: &csv::StringRecord, name| headers.iter().position(|header| header == name);
    let headers = reader.headers().expect("headers").clone();
    let [time, value] = ["timestamp", "value"].map(|name| column(&headers, name).expect(name));
    let mut sums = vec![(0.0, 0u32); 5 * WEEK];
    for row in reader.records() {
        let row = row.expect("a row");
        if series.is_some_and(|series| &row[column(&headers, "series").expect("series")] != series) {
            continue;
        }
        let at: DateTime = row[time].parse().expect("a time");
        let quarter = start.duration_until(at).as_secs().div_euclid(900);
        if let Some(sum) = usize::try_from(quarter).ok().and_then(|quarter| sums.get_mut(quarter)) {
            sum.0 += row[value].parse::<f64>().expect("a value");
            sum.1 += 1;
        }
    }
    let values = sums.into_iter().map(|(sum, count)| if mean { sum / f64::from(count) } else { sum }).collect();
    Recording { name, values }
}

fn recordings(folder: &Path) -> Vec<Recording> {
    let june = date(1998, 6, 1).at(0, 0, 0, 0);
    let march = date(2015, 3, 16).at(0, 0, 0, 0);
    let twitter = |name, series| read(folder, name, "nab_twitter_volume_5min.csv", Some(series), march, false);
    vec![
        read(folder, "isp_eu", "isp_eu_5min.csv", None, date(2005, 6, 13).at(0, 0, 0, 0), true),
        twitter("tw_AAPL", "AAPL"),
        twitter("tw_AMZN", "AMZN"),
        twitter("tw_FB", "FB"),
        twitter("tw_GOOG", "GOOG"),
        read(folder, "wc98", "worldcup98_1min.csv", None, june, false),
    ]
}

/// Weighted quantile loss over the levels 0.1 to 0.9, and the share of values within the outermost levels.
fn score(pairs: &[(f64, [f64; 11])]) -> [f64; 2] {
    let total: f64 = pairs.iter().map(|(value, _)| value.abs()).sum();
    let loss = |(value, quantiles): &(f64, [f64; 11])| -> f64 {
        let error = |n: usize| value - quantiles[n];
        (1..10).map(|n| 2.0 * (LEVELS[n] * error(n)).max((LEVELS[n] - 1.0) * error(n))).sum::<f64>() / 9.0
    };
    let within = pairs.iter().filter(|(value, quantiles)| (quantiles[0]..=quantiles[10]).contains(value)).count();
    [pairs.iter().map(loss).sum::<f64>() / total, within as f64 / pairs.len() as f64]
}

/// The value a day before, spread by the normal distribution of daily differences.
fn seasonal_naive(values: &[f64], horizon: usize) -> Vec<[f64; 11]> {
    let known = &values[values.len().saturating_sub(4 * WEEK)..];
    let squares: f64 = known.windows(DAY + 1).map(|window| (window[DAY] - window[0]).powi(2)).sum();
    let sigma = (squares / (known.len() - DAY) as f64).sqrt();
    let at = |k: usize| known[known.len() - DAY + k];
    (0..horizon).map(|k| LEVELS.map(|level| (at(k) + normal_quantile(level) * sigma).max(0.0))).collect()
}

fn pairs(
    values: &[f64],
    test: usize,
    horizon: usize,
    forecast: &dyn Fn(usize) -> Vec<[f64; 11]>,
) -> Vec<(f64, [f64; 11])> {
    let origins = (test..test + WEEK - horizon + 1).step_by(if horizon == 4 { 24 } else { horizon });
    origins.flat_map(|origin| values[origin..].iter().copied().zip(forecast(origin))).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1);
    let number = |flag: &str, otherwise: usize| after(flag).map_or(otherwise, |n| n.parse().expect("a number"));
    let folder = arguments.first().filter(|first| !first.starts_with("--")).map(PathBuf::from);
    let folder = folder.or_else(|| std::env::var_os("FOREBAY_DATA").map(PathBuf::from));
    let recordings = recordings(&folder.expect("a folder of recordings, or FOREBAY_DATA"));
    let test = (4 - number("--back", 0)) * WEEK;
    let config = LstmConfig::default();
    for horizon in [4, 96] {
        let naive: BTreeMap<&str, f64> = recordings
            .iter()
            .map(|Recording { name, values }| {
                let pairs = pairs(values, test, horizon, &|origin| seasonal_naive(&values[..origin], horizon));
                (*name, score(&pairs)[0])
            })
            .collect();
        print!("h{horizon:<3} seasonal-naive-day   ");
        recordings.iter().for_each(|recording| print!(" {} {:.6}", recording.name, naive[recording.name]));
        println!();
        for seed in 0..number("--seeds", 3) as u64 {
            let set: Vec<TrainingSeries<'_>> = recordings
                .iter()
                .map(|recording| TrainingSeries {
                    values: &recording.values[..test],
                    steps_per_day: DAY,
                    first_step_of_day: 0,
                })
                .collect();
            let start = ProcessTime::now();
            let lstm = Lstm::train(&set, horizon, &config, seed).expect("four weeks are enough");
            let trained = start.elapsed().as_secs_f64();
            let start = ProcessTime::now();
            let mut forecasts = 0;
            let scores: Vec<[f64; 2]> = recordings
                .iter()
                .map(|Recording { values, .. }| {
                    let pairs = pairs(values, test, horizon, &|origin| {
                        lstm.predict(&values[..origin], DAY, origin % DAY, horizon)
                    });
                    forecasts += pairs.len() / horizon;
                    score(&pairs)
                })
                .collect();
            let milliseconds = start.elapsed().as_secs_f64() * 1e3 / forecasts as f64;
            let ratios = recordings.iter().zip(&scores).map(|(recording, [wql, _])| (wql / naive[recording.name]).ln());
            let mean = (ratios.sum::<f64>() / scores.len() as f64).exp();
            print!("h{horizon:<3} seed {seed} gm_wQL {mean:.4}    ");
            recordings.iter().zip(&scores).for_each(|(recording, [wql, _])| print!(" {} {wql:.4}", recording.name));
            print!("  cov90");
            scores.iter().for_each(|[_, within]| print!(" {:.0}", within * 100.0));
            println!("  train {trained:.1} s, forecast {milliseconds:.2} ms");
        }
    }
}
