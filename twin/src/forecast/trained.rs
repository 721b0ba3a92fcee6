//! What can be trained and then follows series: any model alone, or many together.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use forebay_world::Duration;

use super::alone::Alone;
use super::artefact::{self, ArtefactError, Contents, Origin, Tensors};
use super::ensemble::Ensemble;
use super::follower::{Applied, Follower, History};
use super::grid::Grid;
use super::model::part::Part;
use super::model::{self, Model, Past, Unfit};

/// A trained forecaster, ready to follow any series on steps like those it was trained on.
#[derive(Clone)]
pub struct Trained {
    kind: Kind,
    origin: Origin,
}

#[derive(Clone)]
enum Kind {
    Model(Arc<dyn Model>),
    Ensemble(Arc<Ensemble>),
}

const DAY: Duration = Duration::from_hours(24);

/// The name of many models together.
pub const ENSEMBLE: &str = "ensemble";

/// What there is, by name.
pub fn names() -> impl Iterator<Item = &'static str> {
    model::NAMES.iter().copied().chain([ENSEMBLE])
}

/// Makes what is called `name`, trained on `set` for `steps` steps ahead where it is trained at all. The same set and seed
/// make the same. `None` when there is none of that name.
///
/// # Errors
/// [`Unfit`] when the set is too small to train on.
pub fn train(name: &str, set: &[Past<'_>], steps: usize, seed: u64) -> Option<Result<Trained, Unfit>> {
    let kind = if name == ENSEMBLE {
        Ensemble::train(set, steps, seed).map(|ensemble| Kind::Ensemble(Arc::new(ensemble)))
    } else {
        model::train(name, set, steps, seed)?.map(Kind::Model)
    };
    Some(kind.map(|kind| Trained { kind, origin: Origin::new(set, steps, seed) }))
}

impl Trained {
    /// Follows a series on `grid` from its begin, of which the first `trained` steps were trained on; at least the last
    /// `keep` steps will be remembered.
    pub fn follow(&self, grid: &Grid, keep: usize, trained: usize) -> Box<dyn Follower> {
        match &self.kind {
            Kind::Model(model) => match model.member() {
                Some(member) => Box::new(Alone::new(model.name(), member, grid, keep)),
                None => Box::new(Applied::new(Arc::clone(model), History::new(grid.clone(), keep))),
            },
            Kind::Ensemble(ensemble) => ensemble.follow(grid, keep, trained),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Model(model) => model.name(),
            Kind::Ensemble(_) => ENSEMBLE,
        }
    }

    /// What it was trained for, and on what.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether it can forecast so many steps of that length.
    ///
    /// # Errors
    /// [`Unfit::Mismatch`] when it was trained for others.
    pub fn fits(&self, step: Duration, steps: usize) -> Result<(), Unfit> {
        let mismatch = |trained, asked| Err(Unfit::Mismatch { trained, asked });
        let Origin { step: trained, horizon, .. } = self.origin;
        match (step == trained, steps <= horizon) {
            (true, true) => Ok(()),
            (false, _) => mismatch(format!("steps of {trained}"), format!("steps of {step}")),
            (true, false) => mismatch(format!("{horizon} steps of {trained} ahead"), format!("{steps}")),
        }
    }

    /// How many of the first steps of `grid` end no later than what it was trained on.
    pub fn seen(&self, grid: &Grid) -> usize {
        grid.index(self.origin.data_end)
    }

    /// What goes on from it with the series of `set`, which end no earlier than those it was trained on. It costs about a
    /// quarter of a training: nets and the LSTM take a quarter of the steps from their weights on, at a lower rate; a
    /// quarter of the trees of each forest, the oldest, are replaced. Models that learn nothing stay as they are.
    ///
    /// # Errors
    /// [`Unfit`] when the set has other steps, ends earlier, or is too small to learn from.
    pub fn go_on(&self, set: &[Past<'_>], seed: u64) -> Result<Trained, Unfit> {
        let origin = Origin::new(set, self.origin.horizon, seed);
        self.fits(origin.step, origin.horizon)?;
        if origin.data_end < self.origin.data_end {
            let (trained, asked) = (self.origin.data_end.to_string(), origin.data_end.to_string());
            return Err(Unfit::Mismatch {
                trained: format!("data until {trained}"),
                asked: format!("data until {asked}"),
            });
        }
        let kind = match &self.kind {
            Kind::Model(model) => Kind::Model(model.go_on(set, seed).unwrap_or_else(|| Ok(Arc::clone(model)))?),
            Kind::Ensemble(ensemble) => {
                let unseen = self.origin.data_end.saturating_add(Duration::from_hours(7 * 24)) <= origin.data_end;
                Kind::Ensemble(Arc::new(ensemble.go_on(set, unseen, seed)?))
            }
        };
        Ok(Trained { kind, origin })
    }

    /// The file of it; the same forecaster gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut numbers = Tensors::default();
        let model = match &self.kind {
            Kind::Model(model) => serde_json::to_value(model.save(&mut numbers)),
            Kind::Ensemble(ensemble) => serde_json::to_value(ensemble.save(&mut numbers)),
        };
        artefact::write(self.name(), &self.origin, model.expect("sizes are plain JSON"), &numbers)
    }

    /// Reads what [`Trained::to_bytes`] wrote: what is read forecasts what was written would, bit for bit.
    ///
    /// # Errors
    /// [`ArtefactError`] when it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Trained, ArtefactError> {
        let Contents { kind: name, origin, model, mut numbers } = artefact::read(bytes)?;
        let horizon = origin.horizon;
        let within_a_day = |steps: u64| origin.step.as_nanos().saturating_mul(steps) <= DAY.as_nanos();
        if !model.is_null() && !within_a_day(horizon as u64) {
            let (found, allowed) = (format!("{horizon} steps of {}", origin.step), "up to a day for what has learned");
            return Err(ArtefactError::impossible("horizon", found, allowed));
        }
        let unknown = || ArtefactError::Kind { found: name.clone(), allowed: names().collect::<Vec<_>>().join(", ") };
        let kind = if name == ENSEMBLE {
            let description = serde_json::from_value(model)?;
            Kind::Ensemble(Arc::new(Ensemble::take(&description, horizon, &mut numbers)?))
        } else if model.is_null() {
            let local = model::train(&name, &[], horizon, origin.seed).ok_or_else(unknown)?;
            Kind::Model(local.map_err(|_| {
                ArtefactError::impossible("model", "nothing", format!("what a model of kind `{name}` has learned"))
            })?)
        } else {
            let part: Part = serde_json::from_value(model)?;
            if !names().any(|known| known == name) {
                return Err(unknown());
            }
            if part.name() != name {
                return Err(ArtefactError::impossible("model", part.name(), name));
            }
            Kind::Model(part.model(horizon, &mut numbers)?)
        };
        numbers.done()?;
        Ok(Trained { kind, origin })
    }

    /// A name that nothing else trained has: the BLAKE3 hash of its file, in hexadecimal.
    pub fn id(&self) -> String {
        blake3::hash(&self.to_bytes()).to_hex().to_string()
    }
}
