//! How good forecasts would have been: models on recorded series, from one origin after the other.
//!
//! Each series is a window of training steps and of test steps. Models that are trained see the training windows of
//! all series together, once; every model is then led through the test window step by step and asked at each origin
//! of a kind (so many steps ahead, every so many steps), knowing nothing later. Scores are pooled over the origins of
//! a series, and over series only as geometric means of ratios to the seasonal naive, so that a series of large or
//! wild numbers counts no more than another (R. Hyndman, A. Koehler, "Another look at measures of forecast accuracy",
//! International Journal of Forecasting 2006; P. Fleming, J. Wallace, "How not to lie with statistics", CACM 1986).

mod bootstrap;
mod chart;
mod protocol;
mod resample;
mod score;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

pub use chart::charts;
pub use protocol::{Kind, Protocol, Window};
pub use resample::{Aggregate, resample};
pub use score::Score;

use crate::forecast::grid::Grid;
use crate::forecast::model::{Past, Unfit};
use crate::forecast::quantiles::Quantiles;
use crate::forecast::trained::{self, Trained};
use bootstrap::Losses;
use score::Pool;

/// The model whose weighted quantile loss is the unit.
pub const UNIT: &str = "seasonal-naive-day";

/// A recorded series, cut to a window: training steps, then test steps.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its name.
    pub name: String,
    /// The steps of `values`.
    pub grid: Grid,
    /// Values without gaps, training and test.
    pub values: Vec<f64>,
}

/// One forecast of a back-test and what came, for charts.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Place in the window of the first step that is forecast.
    pub first: usize,
    /// What was forecast.
    pub forecast: Quantiles,
    /// Its weighted quantile loss.
    pub wql: f64,
    /// Sum of twice the pinball losses over levels and steps.
    pinball: f64,
}

/// The figures of a model × kind × series.
#[derive(Clone, Debug, Serialize)]
pub struct SeriesScore {
    /// Model by name.
    pub model: String,
    /// Steps ahead.
    pub horizon_steps: usize,
    /// Seed of the model, where it is trained.
    pub seed: u64,
    /// Series by name.
    pub series: String,
    /// The figures.
    #[serde(flatten)]
    pub score: Score,
    /// Origins at which another model had to stand in, because this one failed or exploded.
    pub replaced: usize,
    /// Every origin, for charts.
    #[serde(skip)]
    pub origins: Vec<Origin>,
}

/// The figures of a model × kind × seed over all series.
#[derive(Clone, Debug, Serialize)]
pub struct KindScore {
    /// Model by name.
    pub model: String,
    /// Steps ahead.
    pub horizon_steps: usize,
    /// Seed of the model, where it is trained.
    pub seed: u64,
    /// Geometric mean over series of the ratio of weighted quantile losses to that of [`UNIT`]; absent where a loss
    /// is zero.
    pub gm_wql: Option<f64>,
    /// Begin of its 95 % interval over series and days; absent where there are too few days.
    pub gm_wql_low: Option<f64>,
    /// End of that interval.
    pub gm_wql_high: Option<f64>,
    /// Geometric mean over series of the mean absolute scaled error; absent where one is zero.
    pub gm_mase: Option<f64>,
    /// Mean share of values within the 5 % to 95 % quantiles.
    pub cov90: f64,
    /// Mean share of values above the 90 % quantile; 0.1 is right.
    pub under_q90: f64,
    /// Processor time of a forecast, the fit of local models with it, mean \[s\].
    pub cpu_s: f64,
    /// Processor time of the training, for all series together \[s\].
    pub train_cpu_s: f64,
}

/// What a back-test found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// By kind, then model as asked for, then seed.
    pub kinds: Vec<KindScore>,
    /// By kind, then model, then seed, then series.
    pub series: Vec<SeriesScore>,
    /// By kind, then model: the figures of all seeds together.
    pub over_seeds: Vec<OverSeeds>,
}

/// The figures of a model × kind over all its seeds.
#[derive(Clone, Debug)]
pub struct OverSeeds {
    /// Means over seeds, but for the interval, which is that of losses averaged over seeds.
    pub mean: KindScore,
    /// How many seeds.
    pub seeds: usize,
    /// Weighted quantile loss on each series, mean over seeds.
    pub wql: Vec<(String, f64)>,
}

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BacktestError {
    /// There is no model of that name.
    #[error("model {0}: allowed is one of {list}", list = trained::names().collect::<Vec<_>>().join(", "))]
    Unknown(String),
    /// A model could not be trained, or could not forecast.
    #[error("model {model} on {series}: {why}")]
    Unfit {
        /// Which model.
        model: String,
        /// Which series, or all.
        series: String,
        /// Why.
        why: Unfit,
    },
}

/// Leads `models` through `set`: those of `loaded` as they are, the others trained first, each that is trained at all once
/// for each of the `seeds`, others for the first. `cpu` tells the processor time of this process \[s\]; `progress` is told
/// each model before it begins.
///
/// # Errors
/// [`BacktestError`] for an unknown model, and where one cannot be trained or cannot forecast.
pub fn run(
    set: &[Recorded],
    models: &[String],
    loaded: &BTreeMap<String, Trained>,
    protocol: &Protocol,
    seeds: Range<u64>,
    cpu: &dyn Fn() -> f64,
    progress: &dyn Fn(&str, &Kind, u64),
) -> Result<Outcome, BacktestError> {
    let mut outcome = Outcome::default();
    for kind in &protocol.kinds {
        let trained_on: Vec<Past<'_>> =
            set.iter().map(|series| Past::new(&series.grid, 0, &series.values[..protocol.train])).collect();
        let ready = |name: &str, seed: u64| -> Result<Trained, BacktestError> {
            let unfit = |why| BacktestError::Unfit { model: name.to_owned(), series: "all series".to_owned(), why };
            if let Some(model) = loaded.get(name) {
                return model.fits(protocol.step, kind.horizon).map(|()| model.clone()).map_err(unfit);
            }
            trained::train(name, &trained_on, kind.horizon, seed)
                .ok_or_else(|| BacktestError::Unknown(name.to_owned()))?
                .map_err(unfit)
        };
        let unit = ready(UNIT, seeds.start)?;
        let units: Vec<Led> =
            set.iter().map(|series| lead(series, &unit, UNIT, protocol, kind, cpu)).collect::<Result<_, _>>()?;
        let by_day = |origins: &[Origin]| {
            losses_by_day(origins, protocol.train, set.first().map_or(1, |series| series.grid.day()))
        };
        let unit_losses: Losses = units.iter().map(|led| by_day(&led.origins)).collect();
        for name in models {
            let last = if trained::is_seeded(name) { seeds.end } else { seeds.start + 1 };
            let (mut of_seeds, mut losses_of_seeds): (Vec<KindScore>, Vec<Losses>) = (Vec::new(), Vec::new());
            let first_row = outcome.series.len();
            for seed in seeds.start..last {
                progress(name, kind, seed);
                let began = cpu();
                let model = ready(name, seed)?;
                let train_cpu_s = cpu() - began;
                let (mut rows, mut seconds) = (Vec::new(), 0.0);
                for series in set {
                    let Led { score, origins, replaced, cpu_s } = lead(series, &model, name, protocol, kind, cpu)?;
                    seconds += cpu_s;
                    let (model, series) = (name.clone(), series.name.clone());
                    rows.push(SeriesScore {
                        model,
                        horizon_steps: kind.horizon,
                        seed,
                        series,
                        score,
                        replaced,
                        origins,
                    });
                }
                let forecasts: usize = rows.iter().map(|row| row.origins.len()).sum();
                let losses: Losses = rows.iter().map(|row| by_day(&row.origins)).collect();
                let interval = bootstrap::interval(&losses, &unit_losses);
                of_seeds.push(KindScore {
                    model: name.clone(),
                    horizon_steps: kind.horizon,
                    seed,
                    gm_wql: geometric_mean(rows.iter().zip(&units).map(|(row, unit)| row.score.wql / unit.score.wql)),
                    gm_wql_low: interval.map(|(low, _)| low),
                    gm_wql_high: interval.map(|(_, high)| high),
                    gm_mase: geometric_mean(rows.iter().map(|row| row.score.mase)),
                    cov90: mean(rows.iter().map(|row| row.score.cov90)),
                    under_q90: mean(rows.iter().map(|row| row.score.under_q90)),
                    cpu_s: seconds / forecasts.max(1) as f64,
                    train_cpu_s,
                });
                losses_of_seeds.push(losses);
                outcome.series.append(&mut rows);
            }
            let interval = bootstrap::interval(&mean_losses(&losses_of_seeds), &unit_losses);
            let rows = &outcome.series[first_row..];
            let wql = set.iter().map(|series| {
                let of_series = rows.iter().filter(|row| row.series == series.name).map(|row| row.score.wql);
                (series.name.clone(), mean(of_series))
            });
            outcome.over_seeds.push(OverSeeds {
                mean: over_seeds(&of_seeds, interval),
                seeds: of_seeds.len(),
                wql: wql.collect(),
            });
            outcome.kinds.append(&mut of_seeds);
        }
    }
    Ok(outcome)
}

/// Means of the figures of all seeds, at least one, with the interval given.
fn over_seeds(of_seeds: &[KindScore], interval: Option<(f64, f64)>) -> KindScore {
    let each = |of: fn(&KindScore) -> f64| mean(of_seeds.iter().map(of));
    let all = |of: fn(&KindScore) -> Option<f64>| {
        of_seeds.iter().map(of).collect::<Option<Vec<f64>>>().map(|values| mean(values.into_iter()))
    };
    KindScore {
        gm_wql: all(|row| row.gm_wql),
        gm_wql_low: interval.map(|(low, _)| low),
        gm_wql_high: interval.map(|(_, high)| high),
        gm_mase: all(|row| row.gm_mase),
        cov90: each(|row| row.cov90),
        under_q90: each(|row| row.under_q90),
        cpu_s: each(|row| row.cpu_s),
        train_cpu_s: each(|row| row.train_cpu_s),
        ..of_seeds[0].clone()
    }
}

/// Losses of the origins summed by the day of the test in which they lie.
fn losses_by_day(origins: &[Origin], train: usize, day: usize) -> Vec<f64> {
    let mut days: Vec<f64> = Vec::new();
    for origin in origins {
        let of_day = (origin.first - train) / day;
        days.resize(days.len().max(of_day + 1), 0.0);
        days[of_day] += origin.pinball;
    }
    days
}

/// Mean over seeds, series by series and day by day.
fn mean_losses(of_seeds: &[Losses]) -> Losses {
    let mut sum = of_seeds[0].clone();
    for losses in &of_seeds[1..] {
        sum.iter_mut().flatten().zip(losses.iter().flatten()).for_each(|(sum, loss)| *sum += loss);
    }
    sum.iter_mut().flatten().for_each(|loss| *loss /= of_seeds.len() as f64);
    sum
}

/// One model, led through one series.
struct Led {
    score: Score,
    origins: Vec<Origin>,
    /// Origins at which another model had to stand in.
    replaced: usize,
    cpu_s: f64,
}

/// Leads one model through one series.
fn lead(
    series: &Recorded,
    model: &Trained,
    name: &str,
    protocol: &Protocol,
    kind: &Kind,
    cpu: &dyn Fn() -> f64,
) -> Result<Led, BacktestError> {
    let values = &series.values;
    let mut follower = model.follow(&series.grid, protocol.train, model.seen(&series.grid).min(protocol.train));
    let mut known = 0;
    let (mut origins, mut pool, mut spent, mut replaced) = (Vec::new(), Pool::default(), 0.0, 0);
    for first in kind.origins(protocol.train, values.len()) {
        let began = cpu();
        for value in &values[known..first] {
            follower.observe(Some(*value));
        }
        known = first;
        let outlook = follower.forecast(kind.horizon).map_err(|why| BacktestError::Unfit {
            model: name.to_owned(),
            series: series.name.clone(),
            why,
        })?;
        spent += cpu() - began;
        let forecast = outlook.quantiles;
        replaced += usize::from(outlook.instead.is_some());
        let came = &values[first..first + kind.horizon];
        let one = pool.take(&forecast, came);
        origins.push(Origin { first, forecast, wql: one.wql(), pinball: one.pinball() });
    }
    let scale = score::seasonal_scale(&values[..protocol.train], series.grid.day());
    Ok(Led { score: pool.score(scale), origins, replaced, cpu_s: spent })
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

/// `None` where a value is not above zero.
fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mean = mean(values.map(f64::ln)).exp();
    (mean.is_finite() && mean > 0.0).then_some(mean)
}
