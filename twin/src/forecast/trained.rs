//! What can be trained and then follows series: any model alone, or many together.
//!
//! A name with a [`PLUS`] after it is that model with its quantiles corrected on the way (`forecast::calibrated`):
//! `lstm+`, `ets+`. Models are as they are without it, but for the ensemble, which is always corrected.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use forebay_world::Duration;
use serde_json::{Value, json};

use super::alone::Alone;
use super::artefact::{self, ArtefactError, Contents, Origin, Shelf, Tensors};
use super::calibrated::{Calibrated, Rehearsal};
use super::ensemble::Ensemble;
use super::follower::{Applied, Follower, History};
use super::grid::Grid;
use super::model::part::Part;
use super::model::{self, Model, Past, Unfit, structural};
use super::online::{self, Online};

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
    /// A recurrence by name, and the steps ahead at which it learns its errors.
    Online(&'static str, usize),
    Calibrated(Box<Calibrating>),
}

/// A model, and what its corrections are learned from.
#[derive(Clone)]
struct Calibrating {
    model: Kind,
    /// The model, trained on all but the last week, which it forecasts unseen; none where the model learns nothing in its
    /// training, or where that would have been too little.
    early: Option<Kind>,
    horizon: usize,
}

const DAY: Duration = Duration::from_hours(24);
const WEEK: Duration = Duration::from_hours(7 * 24);

/// The name of many models together.
pub const ENSEMBLE: &str = "ensemble";

/// What stands after the name of a model that is calibrated on the way.
pub const PLUS: char = '+';

/// Whether there is something of that name.
pub fn is_known(name: &str) -> bool {
    let name = name.strip_suffix(PLUS).unwrap_or(name);
    names().any(|known| known == name)
}

/// The name of the same thing with its quantiles corrected on the way, where it does not do that by itself.
pub fn calibrated(name: &str) -> String {
    let by_itself = name.ends_with(PLUS) || name == ENSEMBLE || online::NAMES.contains(&name);
    if by_itself { name.to_owned() } else { format!("{name}{PLUS}") }
}

/// Whether what is called `name` depends on the seed that it is trained with.
pub fn is_seeded(name: &str) -> bool {
    let name = name.strip_suffix(PLUS).unwrap_or(name);
    name == ENSEMBLE || model::is_trained(name)
}

/// What there is, by name; each name with a [`PLUS`] after it is known, too.
pub fn names() -> impl Iterator<Item = &'static str> {
    model::NAMES.iter().chain(online::NAMES).copied().chain([ENSEMBLE])
}

/// Makes what is called `name`, trained on `set` for `steps` steps ahead where it is trained at all. The same set and seed
/// make the same. `None` when there is none of that name.
///
/// # Errors
/// [`Unfit`] when the set is too small to train on.
pub fn train(name: &str, set: &[Past<'_>], steps: usize, seed: u64) -> Option<Result<Trained, Unfit>> {
    let kind = Kind::train(name, set, steps, seed)?;
    Some(kind.map(|kind| Trained { kind, origin: Origin::new(set, steps, seed) }))
}

impl Trained {
    /// Follows a series on `grid` from its begin, of which the first `trained` steps were trained on; at least the last
    /// `keep` steps will be remembered.
    pub fn follow(&self, grid: &Grid, keep: usize, trained: usize) -> Box<dyn Follower> {
        self.kind.follow(grid, keep, trained)
    }

    /// What it is called, without a [`PLUS`].
    pub fn name(&self) -> &'static str {
        self.kind.name()
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
        let unseen = self.origin.data_end.saturating_add(WEEK) <= origin.data_end;
        let kind = self.kind.go_on(set, unseen, seed)?;
        Ok(Trained { kind, origin })
    }

    /// The file of it; the same forecaster gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut numbers = Tensors::default();
        let model = self.kind.save(&mut numbers);
        artefact::write(&self.kind.full_name(), &self.origin, model, &numbers)
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
        let kind = Kind::take(&name, model, &origin, &mut numbers)?;
        numbers.done()?;
        Ok(Trained { kind, origin })
    }

    /// A name that nothing else trained has: the BLAKE3 hash of its file, in hexadecimal.
    pub fn id(&self) -> String {
        blake3::hash(&self.to_bytes()).to_hex().to_string()
    }
}

impl Kind {
    fn train(name: &str, set: &[Past<'_>], steps: usize, seed: u64) -> Option<Result<Kind, Unfit>> {
        if let Some(name) = online::NAMES.iter().find(|known| **known == name) {
            return Some(Ok(Kind::Online(name, steps)));
        }
        let bare = name.strip_suffix(PLUS);
        if bare.unwrap_or(name) == ENSEMBLE {
            return Some(Ensemble::train(set, steps, seed).map(|ensemble| Kind::Ensemble(Arc::new(ensemble))));
        }
        let Some(bare) = bare.filter(|bare| !bare.ends_with(PLUS)) else {
            return Some(model::train(name, set, steps, seed)?.map(Kind::Model));
        };
        Some(Kind::train(bare, set, steps, seed)?.map(|model| {
            let learns = model::is_trained(bare);
            let early = if learns { Kind::train(bare, &without_last_week(set), steps, seed) } else { None };
            // Too little to train on without the last week is no failure: corrections begin at none then.
            let early = early.and_then(Result::ok);
            Kind::Calibrated(Box::new(Calibrating { model, early, horizon: steps }))
        }))
    }

    fn name(&self) -> &'static str {
        match self {
            Kind::Model(model) => model.name(),
            Kind::Ensemble(_) => ENSEMBLE,
            Kind::Online(name, _) => name,
            Kind::Calibrated(calibrating) => calibrating.model.name(),
        }
    }

    fn full_name(&self) -> String {
        let plus = matches!(self, Kind::Calibrated(_)).then_some(PLUS);
        self.name().chars().chain(plus).collect()
    }

    fn follow(&self, grid: &Grid, keep: usize, trained: usize) -> Box<dyn Follower> {
        match self {
            Kind::Model(model) if model.name() == structural::NAME => structural::follow(grid, keep),
            Kind::Model(model) => match model.member() {
                Some(member) => Box::new(Alone::new(model.name(), member, grid, keep)),
                None => Box::new(Applied::new(Arc::clone(model), History::new(grid.clone(), keep))),
            },
            Kind::Ensemble(ensemble) => ensemble.follow(grid, keep, trained),
            Kind::Online(name, lead) => Box::new(Online::new(name, grid, *lead).expect("its name was checked")),
            Kind::Calibrated(calibrating) => calibrating.follow(grid, keep, trained),
        }
    }

    /// What goes on from it; `unseen` says that a week at least is new.
    fn go_on(&self, set: &[Past<'_>], unseen: bool, seed: u64) -> Result<Kind, Unfit> {
        Ok(match self {
            Kind::Model(model) => Kind::Model(model.go_on(set, seed).unwrap_or_else(|| Ok(Arc::clone(model)))?),
            Kind::Ensemble(ensemble) => Kind::Ensemble(Arc::new(ensemble.go_on(set, unseen, seed)?)),
            Kind::Online(..) => self.clone(),
            Kind::Calibrated(calibrating) => {
                let Calibrating { model, early, horizon } = &**calibrating;
                let early = match early {
                    // What was trained until a week ago has not seen the last one.
                    Some(_) if unseen => Some(model.clone()),
                    Some(early) => early.go_on(&without_last_week(set), false, seed).ok(),
                    None => None,
                };
                let model = model.go_on(set, unseen, seed)?;
                Kind::Calibrated(Box::new(Calibrating { model, early, horizon: *horizon }))
            }
        })
    }

    fn save(&self, numbers: &mut Tensors) -> Value {
        let plain = |value: serde_json::Result<Value>| value.expect("sizes are plain JSON");
        match self {
            Kind::Model(model) => plain(serde_json::to_value(model.save(numbers))),
            Kind::Ensemble(ensemble) => plain(serde_json::to_value(ensemble.save(numbers))),
            Kind::Online(..) => Value::Null,
            Kind::Calibrated(calibrating) => {
                let model = numbers.part("model", |numbers| calibrating.model.save(numbers));
                let early = calibrating.early.as_ref();
                let early = early.map(|early| numbers.part("early", |numbers| early.save(numbers)));
                json!({ "model": model, "early": early })
            }
        }
    }

    /// Takes what [`Kind::save`] put.
    fn take(name: &str, mut said: Value, origin: &Origin, numbers: &mut Shelf<'_>) -> Result<Kind, ArtefactError> {
        let horizon = origin.horizon;
        if let Some(bare) = name.strip_suffix(PLUS).filter(|bare| *bare != ENSEMBLE && !bare.ends_with(PLUS)) {
            let [model, early] = ["model", "early"].map(|key| said.get_mut(key).map(Value::take));
            let model = numbers.part("model", |shelf| Kind::take(bare, model.unwrap_or_default(), origin, shelf))?;
            let early = early
                .filter(|early| !early.is_null())
                .map(|early| numbers.part("early", |shelf| Kind::take(bare, early, origin, shelf)))
                .transpose()?;
            return Ok(Kind::Calibrated(Box::new(Calibrating { model, early, horizon })));
        }
        let unknown =
            || ArtefactError::Kind { found: name.to_owned(), allowed: names().collect::<Vec<_>>().join(", ") };
        if name == ENSEMBLE {
            let description = serde_json::from_value(said)?;
            return Ok(Kind::Ensemble(Arc::new(Ensemble::take(&description, horizon, numbers)?)));
        }
        if said.is_null() {
            let untaught =
                |_| ArtefactError::impossible("model", "nothing", format!("what a model of kind `{name}` has learned"));
            return Kind::train(name, &[], horizon, origin.seed).ok_or_else(unknown)?.map_err(untaught);
        }
        let part: Part = serde_json::from_value(said)?;
        if !names().any(|known| known == name) {
            return Err(unknown());
        }
        if part.name() != name {
            return Err(ArtefactError::impossible("model", part.name(), name));
        }
        Ok(Kind::Model(part.model(horizon, numbers)?))
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
