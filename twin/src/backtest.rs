//! How good forecasts would have been: models on recorded series, from one origin after the other.
//!
//! Each series is a window of training steps and of test steps. Models that are trained see the training windows of
//! all series together, once; every model is then led through the test window step by step and asked at each origin
//! of a kind (so many steps ahead, every so many steps), knowing nothing later. Scores are pooled over the origins of
//! a series, and over series only as geometric means of ratios to the seasonal naive, so that a series of large or
//! wild numbers counts no more than another (R. Hyndman, A. Koehler, "Another look at measures of forecast accuracy",
//! International Journal of Forecasting 2006; P. Fleming, J. Wallace, "How not to lie with statistics", CACM 1986).

mod chart;
mod protocol;
mod resample;
mod score;

use std::collections::BTreeMap;

use serde::Serialize;

pub use chart::charts;
pub use protocol::{Kind, Protocol, Window};
pub use resample::{Aggregate, resample};
pub use score::Score;

use crate::forecast::grid::Grid;
use crate::forecast::model::{Past, Unfit};
use crate::forecast::quantiles::Quantiles;
use crate::forecast::trained::{self, Trained};
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
}

/// The figures of a model × kind × series.
#[derive(Clone, Debug, Serialize)]
pub struct SeriesScore {
    /// Model by name.
    pub model: String,
    /// Steps ahead.
    pub horizon_steps: usize,
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

/// The figures of a model × kind over all series.
#[derive(Clone, Debug, Serialize)]
pub struct KindScore {
    /// Model by name.
    pub model: String,
    /// Steps ahead.
    pub horizon_steps: usize,
    /// Geometric mean over series of the ratio of weighted quantile losses to that of [`UNIT`]; absent where a loss
    /// is zero.
    pub gm_wql: Option<f64>,
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
    /// By kind, then model as asked for.
    pub kinds: Vec<KindScore>,
    /// By kind, then model, then series.
    pub series: Vec<SeriesScore>,
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

/// Leads `models` through `set`: those of `loaded` as they are, the others trained first. `cpu` tells the processor time
/// of this process \[s\]; `progress` is told each model before it begins.
///
/// # Errors
/// [`BacktestError`] for an unknown model, and where one cannot be trained or cannot forecast.
pub fn run(
    set: &[Recorded],
    models: &[String],
    loaded: &BTreeMap<String, Trained>,
    protocol: &Protocol,
    seed: u64,
    cpu: &dyn Fn() -> f64,
    progress: &dyn Fn(&str, &Kind),
) -> Result<Outcome, BacktestError> {
    let mut outcome = Outcome::default();
    for kind in &protocol.kinds {
        let trained_on: Vec<Past<'_>> =
            set.iter().map(|series| Past::new(&series.grid, 0, &series.values[..protocol.train])).collect();
        let ready = |name: &str| -> Result<Trained, BacktestError> {
            let unfit = |why| BacktestError::Unfit { model: name.to_owned(), series: "all series".to_owned(), why };
            if let Some(model) = loaded.get(name) {
                return model.fits(protocol.step, kind.horizon).map(|()| model.clone()).map_err(unfit);
            }
            trained::train(name, &trained_on, kind.horizon, seed)
                .ok_or_else(|| BacktestError::Unknown(name.to_owned()))?
                .map_err(unfit)
        };
        let unit = ready(UNIT)?;
        let units: Vec<f64> = set
            .iter()
            .map(|series| lead(series, &unit, UNIT, protocol, kind, cpu).map(|led| led.score.wql))
            .collect::<Result<_, _>>()?;
        for name in models {
            progress(name, kind);
            let began = cpu();
            let model = ready(name)?;
            let train_cpu_s = cpu() - began;
            let (mut rows, mut seconds) = (Vec::new(), 0.0);
            for series in set {
                let Led { score, origins, replaced, cpu_s } = lead(series, &model, name, protocol, kind, cpu)?;
                seconds += cpu_s;
                let (model, series) = (name.clone(), series.name.clone());
                rows.push(SeriesScore { model, horizon_steps: kind.horizon, series, score, replaced, origins });
            }
            let forecasts: usize = rows.iter().map(|row| row.origins.len()).sum();
            outcome.kinds.push(KindScore {
                model: name.clone(),
                horizon_steps: kind.horizon,
                gm_wql: geometric_mean(rows.iter().zip(&units).map(|(row, unit)| row.score.wql / unit)),
                gm_mase: geometric_mean(rows.iter().map(|row| row.score.mase)),
                cov90: mean(rows.iter().map(|row| row.score.cov90)),
                under_q90: mean(rows.iter().map(|row| row.score.under_q90)),
                cpu_s: seconds / forecasts.max(1) as f64,
                train_cpu_s,
            });
            outcome.series.append(&mut rows);
        }
    }
    Ok(outcome)
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
        let wql = pool.take(&forecast, came);
        origins.push(Origin { first, forecast, wql });
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
