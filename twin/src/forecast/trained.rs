//! What can be trained and then follows series: any model alone, or many together.

use std::sync::Arc;

use super::ensemble::Ensemble;
use super::follower::{Applied, Follower, History};
use super::grid::Grid;
use super::model::{self, Model, Past, Unfit};
use super::online::{self, Online};

/// A trained forecaster, ready to follow any series on steps like those it was trained on.
#[derive(Clone)]
pub struct Trained(Kind);

#[derive(Clone)]
enum Kind {
    Model(Arc<dyn Model>),
    Ensemble(Arc<Ensemble>),
    /// A recurrence by name, and the steps ahead at which it learns its errors.
    Online(&'static str, usize),
}

/// The name of many models together.
pub const ENSEMBLE: &str = "ensemble";

/// What there is, by name.
pub fn names() -> impl Iterator<Item = &'static str> {
    model::NAMES.iter().chain(online::NAMES).copied().chain([ENSEMBLE])
}

/// Whether there is something of that name.
pub fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Makes what is called `name`, trained on `set` for `steps` steps ahead where it is trained at all. The same set and seed
/// make the same. `None` when there is none of that name.
///
/// # Errors
/// [`Unfit`] when the set is too small to train on.
pub fn train(name: &str, set: &[Past<'_>], steps: usize, seed: u64) -> Option<Result<Trained, Unfit>> {
    if let Some(name) = online::NAMES.iter().find(|known| **known == name) {
        return Some(Ok(Trained(Kind::Online(name, steps))));
    }
    Some(if name == ENSEMBLE {
        Ensemble::train(set, steps, seed).map(|ensemble| Trained(Kind::Ensemble(Arc::new(ensemble))))
    } else {
        model::train(name, set, steps, seed)?.map(|model| Trained(Kind::Model(model)))
    })
}

impl Trained {
    /// Follows a series on `grid` from its begin, of which the first `trained` steps were trained on; at least the last
    /// `keep` steps will be remembered.
    pub fn follow(&self, grid: &Grid, keep: usize, trained: usize) -> Box<dyn Follower> {
        match &self.0 {
            Kind::Model(model) => Box::new(Applied::new(Arc::clone(model), History::new(grid.clone(), keep))),
            Kind::Ensemble(ensemble) => ensemble.follow(grid, keep, trained),
            Kind::Online(name, lead) => Box::new(Online::new(name, grid, *lead).expect("its name was checked")),
        }
    }
}
