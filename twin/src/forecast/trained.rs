//! What can be trained and then follows series: any model alone, or many together.
//!
//! A name with a [`PLUS`] after it is that model with its quantiles corrected on the way (`forecast::calibrated`):
//! `lstm+`, `ets+`. Models are as they are without it, but for the ensemble, which is always corrected.

use std::sync::Arc;

use super::calibrated::{Calibrated, Rehearsal};
use super::ensemble::Ensemble;
use super::follower::{Applied, Follower, History};
use super::grid::Grid;
use super::model::{self, Model, Past, Unfit, structural};

/// A trained forecaster, ready to follow any series on steps like those it was trained on.
#[derive(Clone)]
pub struct Trained(Kind);

#[derive(Clone)]
enum Kind {
    Model(Arc<dyn Model>),
    Ensemble(Arc<Ensemble>),
    Calibrated(Box<Calibrating>),
}

/// A model, and what its corrections are learned from.
#[derive(Clone)]
struct Calibrating {
    model: Trained,
    /// The model, trained on all but the last week, which it forecasts unseen; none where the model learns nothing in its
    /// training, or where that would have been too little.
    early: Option<Trained>,
    horizon: usize,
}

/// The name of many models together.
pub const ENSEMBLE: &str = "ensemble";

/// What stands after the name of a model that is calibrated on the way.
pub const PLUS: char = '+';

/// Whether there is something of that name.
pub fn is_known(name: &str) -> bool {
    let name = name.strip_suffix(PLUS).unwrap_or(name);
    names().any(|known| known == name)
}

/// Whether what is called `name` depends on the seed that it is trained with.
pub fn is_seeded(name: &str) -> bool {
    let name = name.strip_suffix(PLUS).unwrap_or(name);
    name == ENSEMBLE || model::is_trained(name)
}

/// What there is, by name; each name with a [`PLUS`] after it is known, too.
pub fn names() -> impl Iterator<Item = &'static str> {
    model::NAMES.iter().copied().chain([ENSEMBLE])
}

/// Makes what is called `name`, trained on `set` for `steps` steps ahead where it is trained at all. The same set and seed
/// make the same. `None` when there is none of that name.
///
/// # Errors
/// [`Unfit`] when the set is too small to train on.
pub fn train(name: &str, set: &[Past<'_>], steps: usize, seed: u64) -> Option<Result<Trained, Unfit>> {
    if let Some(bare) = name.strip_suffix(PLUS).filter(|bare| *bare != ENSEMBLE && !bare.ends_with(PLUS)) {
        return Some(train(bare, set, steps, seed)?.map(|model| {
            let early = if model::is_trained(bare) { train(bare, &without_last_week(set), steps, seed) } else { None };
            // Too little to train on without the last week is no failure: corrections begin at none then.
            let early = early.and_then(Result::ok);
            Trained(Kind::Calibrated(Box::new(Calibrating { model, early, horizon: steps })))
        }));
    }
    Some(if name.strip_suffix(PLUS).unwrap_or(name) == ENSEMBLE {
        Ensemble::train(set, steps, seed).map(|ensemble| Trained(Kind::Ensemble(Arc::new(ensemble))))
    } else {
        model::train(name, set, steps, seed)?.map(|model| Trained(Kind::Model(model)))
    })
}

impl Trained {
    /// Its name, without a [`PLUS`].
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Kind::Model(model) => model.name(),
            Kind::Ensemble(_) => ENSEMBLE,
            Kind::Calibrated(calibrating) => calibrating.model.name(),
        }
    }

    /// Follows a series on `grid` from its begin, of which the first `trained` steps were trained on; at least the last
    /// `keep` steps will be remembered.
    pub fn follow(&self, grid: &Grid, keep: usize, trained: usize) -> Box<dyn Follower> {
        match &self.0 {
            Kind::Model(model) if model.name() == structural::NAME => structural::follow(grid, keep),
            Kind::Model(model) => Box::new(Applied::new(Arc::clone(model), History::new(grid.clone(), keep))),
            Kind::Ensemble(ensemble) => ensemble.follow(grid, keep, trained),
            Kind::Calibrated(calibrating) => calibrating.follow(grid, keep, trained),
        }
    }
}

impl Calibrating {
    fn follow(&self, grid: &Grid, keep: usize, trained: usize) -> Box<dyn Follower> {
        let inner = self.model.follow(grid, keep, trained);
        let name = self.model.name();
        let begin =
            if model::is_trained(name) && self.early.is_none() { trained } else { trained.saturating_sub(grid.week()) };
        let rehearsal = Rehearsal::new(grid, self.horizon, begin);
        let rehearsal = if model::is_fitted_anew(name) { rehearsal.hourly(grid) } else { rehearsal };
        let calibrated = Calibrated::new(inner, grid, rehearsal);
        Box::new(match &self.early {
            Some(early) if trained > 0 => calibrated.with_early(early.follow(grid, keep, trained), trained),
            _ => calibrated,
        })
    }
}

/// The series that are two weeks long at least, without their last.
pub(super) fn without_last_week<'a>(set: &[Past<'a>]) -> Vec<Past<'a>> {
    set.iter()
        .filter(|past| past.values().len() >= 2 * past.grid().week())
        .map(|past| past.before(past.grid().week()))
        .collect()
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::*;
    use crate::forecast::chance::Chance;

    #[test]
    fn a_plus_makes_the_calibrated_one() {
        for name in names() {
            assert!(is_known(name) && is_known(&format!("{name}+")), "{name}");
        }
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let values: Vec<f64> = (0..24 * 15).map(|hour| f64::from(hour % 24 + hour % 7)).collect();
        let set = [Past::new(&grid, 0, &values)];
        for unknown in ["tarot", "tarot+", "naive++", "+", ""] {
            assert!(!is_known(unknown) && train(unknown, &set, 4, 1).is_none(), "{unknown}");
        }
        for (name, raw) in [("naive+", "naive"), ("boosted+", "boosted")] {
            let (calibrated, raw) =
                (train(name, &set, 4, 1).unwrap().unwrap(), train(raw, &set, 4, 1).unwrap().unwrap());
            assert_eq!(calibrated.name(), raw.name());
            let mut pair = [calibrated, raw].map(|trained| trained.follow(&grid, values.len(), values.len()));
            for follower in &mut pair {
                values.iter().for_each(|value| follower.observe(Some(*value)));
            }
            // The one has learned from the last week of what it was trained on; the other is as it was trained.
            let [calibrated, raw] = pair.map(|mut follower| follower.forecast(4).unwrap());
            assert_eq!(calibrated.by, raw.by);
            assert_ne!(calibrated.quantiles, raw.quantiles, "{name}");
        }
    }

    /// A day's wave, at a third of its height on Sundays and on these days.
    fn week(grid: &Grid, n: usize, quiet: &[usize], seed: u64) -> Vec<f64> {
        let mut chance = Chance::new(seed, "holidays");
        let mut level = 0.0;
        (0..n)
            .map(|at| {
                let moment = grid.moment(at);
                let sunday = moment.weekday == 6 || quiet.contains(&(at / grid.day()));
                let wave = 1.0 - 0.6 * (moment.day * std::f64::consts::TAU).cos();
                level = 0.98 * level + 0.02 * chance.normal();
                100.0 * wave * if sunday { 0.33 } else { 1.0 } * (level + 0.05 * chance.normal()).exp()
            })
            .collect()
    }

    #[test]
    fn holidays_are_forecast_better_by_all_who_know_weekdays() {
        let plain = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        // Working days in 1970, which began on a Thursday; the last two are the test.
        let quiet = [5, 12, 20, 26, 34, 40, 47, 53, 60, 62];
        assert!(quiet.iter().all(|day| plain.moment(24 * day).weekday < 5));
        let knowing = plain.clone().with_holidays(quiet.map(|day| day as i32));
        let (train_days, all) = (56, 24 * 63);
        let series: Vec<Vec<f64>> = (0..3).map(|seed| week(&plain, all, &quiet, seed)).collect();
        let error = |name: &str, grid: &Grid| -> f64 {
            let trained_on: Vec<Past<'_>> =
                series.iter().map(|values| Past::new(grid, 0, &values[..24 * train_days])).collect();
            let trained = train(name, &trained_on, 4, 1).unwrap().unwrap();
            let mut sum = 0.0;
            for values in &series {
                let mut follower = trained.follow(grid, 24 * train_days, 24 * train_days);
                for at in 0..all - 4 {
                    if quiet[8..].contains(&(at / 24)) {
                        let forecast = follower.forecast(4).unwrap().quantiles;
                        sum += (0..4).map(|ahead| (forecast.median(ahead) - values[at + ahead]).abs()).sum::<f64>();
                    }
                    follower.observe(Some(values[at]));
                }
            }
            sum
        };
        let models = ["structural", "boosted", "perceptron", ENSEMBLE];
        let ratios = models.map(|name| (name, error(name, &knowing) / error(name, &plain)));
        assert!(ratios.iter().all(|(_, ratio)| *ratio < 0.8), "{ratios:?}");
    }
}
