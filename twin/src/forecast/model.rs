//! Models of a series: what is known of it in, quantiles of what comes out.
//!
//! A [`Model`] keeps nothing between two forecasts: given the same past it says the same. Local models are fitted to
//! the past that they are given; global ones were trained before, on many series at once ([`train`]). What follows a
//! series window by window and learns from its own errors is built from them (`forecast::follower`).

pub(super) mod boosted;
pub(super) mod features;
pub(super) mod member;
mod naive;
pub(super) mod part;
pub(super) mod perceptron;
pub(super) mod recurrent;
mod smoothing;
pub(super) mod structural;

use std::sync::Arc;

use super::artefact::Tensors;
use super::grid::{Grid, Moment};
use super::quantiles::Quantiles;
use boosted::Boosted;
use features::Base;
use member::{Global, Member};
use part::Part;
use perceptron::Perceptron;
use recurrent::Recurrent;

/// What is known of a series at the moment of a forecast: the values of steps that have ended, without gaps.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    grid: &'a Grid,
    /// Place of the first value in the grid.
    first: usize,
    values: &'a [f64],
}

impl<'a> Past<'a> {
    /// The values of the steps of `grid` from `first` on, oldest first.
    ///
    /// # Panics
    /// When a value is not finite.
    pub fn new(grid: &'a Grid, first: usize, values: &'a [f64]) -> Self {
        debug_assert!(values.iter().all(|value| value.is_finite()), "gaps are filled before a model sees them");
        Past { grid, first, values }
    }

    /// Values, oldest first.
    pub fn values(&self) -> &'a [f64] {
        self.values
    }

    /// Place of the first value in the grid.
    pub fn first(&self) -> usize {
        self.first
    }

    /// The most of them; zero when there are none above it.
    pub fn most(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::max)
    }

    /// The steps and their clock.
    pub fn grid(&self) -> &'a Grid {
        self.grid
    }

    /// Local time of the step of `values()[index]`; indices from `values().len()` on are steps to come.
    pub fn moment(&self, index: usize) -> Moment {
        self.grid.moment(self.first + index)
    }

    /// The same without the last `count` steps.
    pub fn before(&self, count: usize) -> Past<'a> {
        Past { values: &self.values[..self.values.len() - count], ..*self }
    }

    /// The last `count` steps of it, or all when there are fewer.
    pub fn last(&self, count: usize) -> Past<'a> {
        let dropped = self.values.len().saturating_sub(count);
        Past { grid: self.grid, first: self.first + dropped, values: &self.values[dropped..] }
    }
}

/// Why there is no forecast.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too little is known.
    #[error("{have} steps are known, {need} are needed")]
    TooShort {
        /// Steps known.
        have: usize,
        /// Steps needed.
        need: usize,
    },
    /// The model was trained for other steps.
    #[error("trained for {trained}, asked for {asked}")]
    Mismatch {
        /// What it was trained for.
        trained: String,
        /// What it was asked for.
        asked: String,
    },
    /// The fit failed, or what came out cannot be.
    #[error("{0}")]
    Failed(String),
}

/// Says what comes from what has been.
pub trait Model: Send + Sync {
    /// Its name in [`NAMES`].
    fn name(&self) -> &'static str;

    /// Quantiles of the `steps` steps after `past`.
    ///
    /// # Errors
    /// [`Unfit`] when there is no forecast that could be meant.
    fn predict(&self, past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit>;

    /// What follows a series for it without working through its whole past at every forecast, if it has that.
    fn member(&self) -> Option<Arc<dyn Member>> {
        None
    }

    /// Puts what it has learned into a file, and says what it is; nothing where nothing was learned.
    fn save(&self, _numbers: &mut Tensors) -> Option<Part> {
        None
    }

    /// What goes on from it with the series of `set`, at a fraction of what it costs to begin anew; nothing where
    /// nothing was learned.
    fn go_on(&self, _set: &[Past<'_>], _seed: u64) -> Option<Result<Arc<dyn Model>, Unfit>> {
        None
    }
}

/// The models there are, by name.
pub const NAMES: &[&str] = &[
    "naive",
    "seasonal-naive-day",
    "seasonal-naive-week",
    "ets",
    "mstl",
    "structural",
    "boosted",
    "perceptron",
    "lstm",
];

/// Makes the model called `name`, trained on `set` for `steps` steps ahead where it is one that is trained. The same
/// set and seed make the same model. `None` when there is none of that name.
///
/// # Errors
/// [`Unfit`] when the set is too small to train on.
pub fn train(name: &str, set: &[Past<'_>], steps: usize, seed: u64) -> Option<Result<Arc<dyn Model>, Unfit>> {
    // Within hours the last value is the best base, beyond them the usual at that time.
    let near = set.first().is_none_or(|past| is_near(steps, past.grid()));
    let base = if near { Base::Last } else { Base::Season };
    Some(match name {
        "boosted" => Boosted::train(base, set, steps, seed).map(|member| Arc::new(Global::new("boosted", member)) as _),
        "perceptron" => Perceptron::train(base, features::NETS, set, steps, seed)
            .map(|member| Arc::new(Global::new("perceptron", member)) as _),
        "lstm" => Recurrent::train(set, steps, seed).map(|model| Arc::new(model) as _),
        _ => Ok(match name {
            "naive" => Arc::new(naive::Naive),
            "seasonal-naive-day" => Arc::new(naive::SeasonalNaive { name: "seasonal-naive-day", days: 1 }),
            "seasonal-naive-week" => Arc::new(naive::SeasonalNaive { name: "seasonal-naive-week", days: 7 }),
            "ets" => Arc::new(smoothing::Ets),
            "mstl" => Arc::new(smoothing::Mstl),
            structural::NAME => Arc::new(structural::Structural),
            _ => return None,
        }),
    })
}

/// Whether the model called `name` learns in its training; others are the same whatever they are trained on.
pub(super) fn is_trained(name: &str) -> bool {
    ["boosted", "perceptron", "lstm"].contains(&name)
}

/// Whether every forecast of the model called `name` is a fit, which costs milliseconds.
pub(super) fn is_fitted_anew(name: &str) -> bool {
    ["ets", "mstl"].contains(&name)
}

/// Whether so many steps ahead is so near that the last values say most: four hours.
pub(super) fn is_near(steps: usize, grid: &Grid) -> bool {
    steps * 6 <= grid.day()
}
