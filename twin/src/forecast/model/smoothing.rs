//! Exponential smoothing and decomposition, fitted to each past anew, by the library augurs.

use augurs::ets::AutoETS;
use augurs::ets::trend::AutoETSTrendModel;
use augurs::mstl::MSTLModel;
use augurs::prelude::*;

use super::{Model, Past, Quantiles, Unfit};
use crate::forecast::quantiles::{LEVELS, MEDIAN};

/// Exponential smoothing with additive error and damped additive trend or none, whichever has the better information
/// criterion (R. Hyndman et al., "Forecasting with Exponential Smoothing", 2008). The forms whose error or trend
/// multiplies are left out: they explode on series with spikes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ets;

/// Day and week taken out by loess (K. Bandara, R. Hyndman, C. Bergmeir, "MSTL", arXiv 2107.13462), the rest smoothed
/// as [`Ets`] does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mstl;

/// Fewer values say nothing about smoothing.
const FEWEST: usize = 16;

fn ets() -> Result<AutoETS, Unfit> {
    let failed = |why: augurs::ets::Error| Unfit::Failed(why.to_string());
    AutoETS::new(1, "AZN").and_then(|search| search.damped(true)).map_err(failed)
}

impl Model for Ets {
    fn name(&self) -> &'static str {
        "ets"
    }

    fn predict(&self, past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit> {
        let values = past.values();
        if values.len() < FEWEST {
            return Err(Unfit::TooShort { have: values.len(), need: FEWEST });
        }
        let unit = unit(values);
        let scaled: Vec<f64> = values.iter().map(|value| value / unit).collect();
        let fitted = ets()?.fit(&scaled).map_err(|why| Unfit::Failed(why.to_string()))?;
        quantiles(steps, unit, |level| fitted.predict(steps, level).map_err(|why| Unfit::Failed(why.to_string())))
    }
}

impl Model for Mstl {
    fn name(&self) -> &'static str {
        "mstl"
    }

    fn predict(&self, past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit> {
        let values = past.values();
        let (day, week) = (past.grid().day(), past.grid().week());
        if day < 2 || values.len() < 2 * day + FEWEST {
            return Err(Unfit::TooShort { have: values.len(), need: 2 * day.max(2) + FEWEST });
        }
        let periods = if values.len() > 2 * week { vec![day, week] } else { vec![day] };
        let unit = unit(values);
        let scaled: Vec<f64> = values.iter().map(|value| value / unit).collect();
        let model = MSTLModel::new(periods, AutoETSTrendModel::from(ets()?));
        let fitted = model.fit(&scaled).map_err(|why| Unfit::Failed(why.to_string()))?;
        quantiles(steps, unit, |level| fitted.predict(steps, level).map_err(|why| Unfit::Failed(why.to_string())))
    }
}

/// What values are divided by, so that the library's single precision suffices for any unit.
fn unit(values: &[f64]) -> f64 {
    let mean = values.iter().map(|value| value.abs()).sum::<f64>() / values.len() as f64;
    if mean > 0.0 { mean } else { 1.0 }
}

/// Quantiles from central intervals.
fn quantiles(
    steps: usize,
    unit: f64,
    predict: impl Fn(Option<f64>) -> Result<Forecast, Unfit>,
) -> Result<Quantiles, Unfit> {
    let mut rows = vec![[0.0; LEVELS.len()]; steps];
    for below in 0..MEDIAN {
        let above = LEVELS.len() - 1 - below;
        let forecast = predict(Some(LEVELS[above] - LEVELS[below]))?;
        let intervals = forecast.intervals.as_ref();
        let intervals = intervals.ok_or_else(|| Unfit::Failed("no intervals came of the fit".to_owned()))?;
        if forecast.point.len() != steps || intervals.lower.len() != steps || intervals.upper.len() != steps {
            return Err(Unfit::Failed("the fit forecasts another number of steps".to_owned()));
        }
        for (ahead, row) in rows.iter_mut().enumerate() {
            row[below] = intervals.lower[ahead] * unit;
            row[above] = intervals.upper[ahead] * unit;
            row[MEDIAN] = forecast.point[ahead] * unit;
        }
    }
    Ok(Quantiles::new(rows))
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::*;
    use crate::forecast::grid::Grid;

    #[test]
    fn a_level_is_smoothed_and_a_season_goes_on() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        // A mild disturbance without a generator: the fractional parts of multiples of the golden ratio.
        let shake = |k: usize| (k as f64 * 0.618_033_988_75).fract() - 0.5;
        let season = |k: usize| 10.0 * ((k % 24) as f64 / 24.0 * std::f64::consts::TAU).sin();
        let level: Vec<f64> = (0..400).map(|k| 50.0 + shake(k)).collect();
        let seasonal: Vec<f64> = (0..400).map(|k| 50.0 + season(k) + shake(k)).collect();
        let ets = Ets.predict(&Past::new(&grid, 0, &level), 6).unwrap();
        assert!((ets.median(5) - 50.0).abs() < 0.3, "{}", ets.median(5));
        let width = ets.rows()[0][9] - ets.rows()[0][1];
        assert!((0.5..1.2).contains(&width), "{width}");
        let mstl = Mstl.predict(&Past::new(&grid, 0, &seasonal), 24).unwrap();
        for ahead in 0..24 {
            let came = 50.0 + season(400 + ahead);
            assert!((mstl.median(ahead) - came).abs() < 1.5, "{ahead}: {} for {came}", mstl.median(ahead));
        }
    }

    #[test]
    fn any_past_brings_a_forecast_or_a_reason() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let pasts: [Vec<f64>; 5] = [
            vec![],
            vec![1.0; 15],
            vec![0.0; 100],
            (0..100).map(|k| if k == 50 { 1e15 } else { 0.0 }).collect(),
            (0..200).map(|k| 2f64.powi(k)).collect(),
        ];
        for values in &pasts {
            let past = Past::new(&grid, 0, values);
            for model in [&Ets as &dyn Model, &Mstl] {
                if let Ok(quantiles) = model.predict(&past, 24) {
                    assert!(quantiles.rows().iter().all(|row| row.is_sorted() && row[10].is_finite()));
                }
            }
        }
    }
}
