//! Global models that share one description of a series: what they learn from, and how they are asked.

use std::sync::Arc;

use super::features::{Base, COUNT, Described, Row, log_of, robust_mean};
use super::part::Part;
use super::{Model, Past, Quantiles, Unfit};
use crate::forecast::artefact::Tensors;
use crate::forecast::chance::Chance;
use crate::forecast::quantiles::LEVELS;

/// A global model of a described series.
pub trait Member: Send + Sync {
    /// Steps ahead that it was trained for.
    fn horizon(&self) -> usize;

    /// Logarithms, on the scale of what is `known`, of the quantiles of the next `steps` steps, each row ascending.
    fn logs(&self, known: &Known<'_>, steps: usize) -> Vec<[f64; LEVELS.len()]>;

    /// What goes on from it with the series of `set`, at a fraction of what it costs to begin anew.
    fn go_on(&self, set: &[Past<'_>], seed: u64) -> Result<Arc<dyn Member>, Unfit>;

    /// Puts its numbers into a file, and says what it is.
    fn save(&self, numbers: &mut Tensors) -> Part;
}

/// A member that can go on, as what it is.
pub(super) trait Renewed: Sized {
    /// See [`Member::go_on`].
    fn renewed(&self, set: &[Past<'_>], seed: u64) -> Result<Self, Unfit>;
}

/// What members are told: the same for all of them, so that it is worked out once.
pub struct Known<'a> {
    /// The values that are described.
    pub(in crate::forecast) past: Past<'a>,
    /// Their description.
    pub(in crate::forecast) described: &'a Described,
    /// What is known of each step ahead.
    pub(in crate::forecast) rows: Vec<Row>,
}

impl<'a> Known<'a> {
    /// All that is known of the next `steps` steps.
    pub(in crate::forecast) fn new(past: Past<'a>, described: &'a Described, steps: usize) -> Self {
        Known { past, described, rows: described.rows(steps) }
    }
}

/// A member that stands alone.
pub(in crate::forecast) struct Global<M> {
    name: &'static str,
    member: Arc<M>,
}

impl<M: Member> Global<M> {
    pub(in crate::forecast) fn new(name: &'static str, member: M) -> Self {
        Global { name, member: Arc::new(member) }
    }
}

impl<M: Member + Renewed + 'static> Model for Global<M> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn predict(&self, past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit> {
        let need = Described::fewest(past.grid().day());
        let known = Described::new(past).ok_or(Unfit::TooShort { have: past.values().len(), need })?;
        quantiles(&*self.member, *past, &known, steps)
    }

    fn member(&self) -> Option<Arc<dyn Member>> {
        Some(Arc::clone(&self.member) as Arc<dyn Member>)
    }

    fn save(&self, numbers: &mut Tensors) -> Option<Part> {
        Some(self.member.save(numbers))
    }

    fn go_on(&self, set: &[Past<'_>], seed: u64) -> Option<Result<Arc<dyn Model>, Unfit>> {
        Some(self.member.renewed(set, seed).map(|member| Arc::new(Global::new(self.name, member)) as _))
    }
}

/// What a member says of the next `steps` steps of a series that is described already.
pub(in crate::forecast) fn quantiles(
    member: &dyn Member,
    past: Past<'_>,
    described: &Described,
    steps: usize,
) -> Result<Quantiles, Unfit> {
    if steps > member.horizon() {
        let (trained, asked) = (format!("{} steps ahead", member.horizon()), format!("{steps}"));
        return Err(Unfit::Mismatch { trained, asked });
    }
    let logs = member.logs(&Known::new(past, described, steps), steps);
    Ok(Quantiles::new(logs.into_iter().map(|row| row.map(|log| described.value(log))).collect()))
}

/// Rows that a series trains with, at most.
const ROWS_PER_SERIES: usize = 8_000;

/// Features and targets of many (series, origin, step ahead).
pub(super) struct Examples {
    pub(super) rows: Vec<[f32; COUNT]>,
    pub(super) targets: Vec<f32>,
}

impl Examples {
    /// Draws up to so many of each series, evenly over origins and steps ahead.
    ///
    /// # Errors
    /// [`Unfit::TooShort`] when all series together give too few.
    pub(super) fn draw(set: &[Past<'_>], horizon: usize, base: Base, seed: u64) -> Result<Self, Unfit> {
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        let mut longest = 0;
        for (nth, past) in set.iter().enumerate() {
            let (day, n, week) = (past.grid().day(), past.values().len(), past.grid().week());
            if day < 2 || n < Described::fewest(day) {
                continue;
            }
            longest = longest.max(n);
            let first = week.min(n / 2).max(Described::fewest(day));
            if horizon == 0 || horizon > day || n < first + horizon {
                continue;
            }
            let origins = n - horizon + 1 - first;
            let mut chance = Chance::new(seed, &format!("examples {nth}"));
            let drawn: Vec<(usize, usize)> = if origins * horizon <= ROWS_PER_SERIES {
                (0..origins).flat_map(|origin| (1..=horizon).map(move |ahead| (first + origin, ahead))).collect()
            } else {
                let draw = |_| (first + chance.below(origins), 1 + chance.below(horizon));
                (0..ROWS_PER_SERIES).map(draw).collect()
            };
            // A description only looks at its end: origins are visited one after the other, as they would come.
            let mut order: Vec<usize> = (0..drawn.len()).collect();
            order.sort_unstable_by_key(|place| (drawn[*place], *place));
            let before = rows.len();
            rows.resize(before + drawn.len(), [0.0; COUNT]);
            targets.resize(before + drawn.len(), 0.0);
            let mut described = Described::begin(past.grid(), past.first(), robust_mean(past.values()));
            for place in order {
                let (origin, ahead) = drawn[place];
                past.values()[described.len()..origin].iter().for_each(|value| described.push(*value));
                let from = described.row(ahead).measure(base, &mut rows[before + place]);
                let came = log_of(past.values()[origin + ahead - 1], described.unit());
                targets[before + place] = (came - from) as f32;
            }
        }
        // Fewer rows than a few leaves hold teach nothing.
        const FEWEST: usize = 500;
        if rows.len() < FEWEST {
            return Err(Unfit::TooShort { have: longest, need: FEWEST });
        }
        Ok(Examples { rows, targets })
    }
}
