//! Trees, nets and, for longer leads, an LSTM together, each weighted by how well it has lately done, and calibrated on the way.
//!
//! Members are trained twice: on all that is known, and on all but the last week. The second ones forecast that week
//! unseen, so that weights and corrections have a week behind them when the first forecast is made. After that every
//! forecast, issued at every step (near) or every hour (far), meets what came. Weights are inverse losses to the
//! eighth power over the last week (J. Bates, C. Granger, "The Combination of Forecasts", 1969); quantiles are averaged as logarithms.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::artefact::{ArtefactError, Shelf, Tensors};
use super::calibration::{Calibration, Pace, Row};
use super::chronicle::Chronicle;
use super::follower::{Follower, Outlook, explosion, standby};
use super::grid::Grid;
use super::losses::Losses;
use super::model::boosted::Boosted;
use super::model::features::{self, Base, Described};
use super::model::member::{Known, Member};
use super::model::part::Part;
use super::model::perceptron::Perceptron;
use super::model::recurrent::Recurrent;
use super::model::{Past, Unfit, is_near};
use super::quantiles::{LEVELS, Quantiles};
use super::trained::without_last_week;

/// More members in a file are taken for damage.
const MEMBERS_MOST: usize = 64;

/// What the numbers of an ensemble do not tell.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnsembleDescription {
    members: Vec<Part>,
    early: Vec<Part>,
}

/// The trained members.
pub(super) struct Ensemble {
    horizon: usize,
    /// What forecasts …
    members: Vec<Arc<dyn Member>>,
    /// … and what forecast the last week of the training, unseen; nothing where that would have been too little.
    early: Vec<Arc<dyn Member>>,
}

impl Ensemble {
    /// Trains on all series of `set` together, for `horizon` steps ahead.
    pub(super) fn train(set: &[Past<'_>], horizon: usize, seed: u64) -> Result<Self, Unfit> {
        let near = set.first().is_none_or(|past| is_near(horizon, past.grid()));
        let members = train_members(near, set, horizon, seed)?;
        // Too little to train on without the last week is no failure: weights begin equal then, and corrections at none.
        let early = train_members(near, &without_last_week(set), horizon, seed).unwrap_or_default();
        Ok(Ensemble { horizon, members, early })
    }

    /// Of members that were trained elsewhere.
    #[cfg(test)]
    pub(super) fn of(horizon: usize, members: Vec<Arc<dyn Member>>, early: Vec<Arc<dyn Member>>) -> Self {
        Ensemble { horizon, members, early }
    }

    /// What goes on from it with the series of `set`. What forecasts their last week unseen goes on without that week, from
    /// members that have not seen it: all where `unseen` says so, else those that were early then.
    pub(super) fn go_on(&self, set: &[Past<'_>], unseen: bool, seed: u64) -> Result<Self, Unfit> {
        let all = |members: &[Arc<dyn Member>], set: &[Past<'_>]| -> Result<Vec<_>, Unfit> {
            members.iter().map(|member| member.go_on(set, seed)).collect()
        };
        let before = if unseen { &self.members } else { &self.early };
        // Where too little is left to learn from, those before may still speak for themselves.
        let early = all(before, &without_last_week(set)).unwrap_or_else(|_| before.clone());
        Ok(Ensemble { horizon: self.horizon, members: all(&self.members, set)?, early })
    }

    /// Puts its numbers into a file, and says what it is.
    pub(super) fn save(&self, numbers: &mut Tensors) -> EnsembleDescription {
        let mut all = |name: &str, members: &[Arc<dyn Member>]| {
            let parts = members.iter().enumerate();
            parts.map(|(nth, member)| numbers.part(&format!("{name}.{nth}"), |numbers| member.save(numbers))).collect()
        };
        EnsembleDescription { members: all("members", &self.members), early: all("early", &self.early) }
    }

    /// Takes what [`Ensemble::save`] put.
    pub(super) fn take(
        description: &EnsembleDescription,
        horizon: usize,
        numbers: &mut Shelf<'_>,
    ) -> Result<Self, ArtefactError> {
        let EnsembleDescription { members, early } = description;
        if !(1..=MEMBERS_MOST).contains(&members.len()) {
            let allowed = format!("1 to {MEMBERS_MOST}");
            return Err(ArtefactError::impossible("members of an ensemble", members.len(), allowed));
        }
        if !early.is_empty() && early.len() != members.len() {
            let allowed = format!("none, or {} as of the others", members.len());
            return Err(ArtefactError::impossible("early members of an ensemble", early.len(), allowed));
        }
        let mut all = |name: &str, parts: &[Part]| {
            let parts = parts.iter().enumerate();
            let members = parts
                .map(|(nth, part)| numbers.part(&format!("{name}.{nth}"), |numbers| part.member(horizon, numbers)));
            members.collect::<Result<Vec<_>, _>>()
        };
        Ok(Ensemble { horizon, members: all("members", members)?, early: all("early", early)? })
    }

    /// Follows a series on `grid` of which the first `trained` steps were in the training set.
    pub(super) fn follow(self: &Arc<Self>, grid: &Grid, keep: usize, trained: usize) -> Box<dyn Follower> {
        let near = is_near(self.horizon, grid);
        let pace = if near { Pace::NEAR } else { Pace::FAR };
        let begin = if self.early.is_empty() { trained } else { trained.saturating_sub(grid.week()) };
        Box::new(Following {
            ensemble: Arc::clone(self),
            chronicle: Chronicle::new(grid, keep),
            stride: if near { 1 } else { (grid.day() / 24).max(1) },
            trained,
            begin,
            seen: 0,
            calibration: Calibration::new(pace, self.horizon, grid.week()),
            since_update: 0,
            issues: VecDeque::new(),
            losses: Losses::new(self.members.len(), grid.week()),
        })
    }
}

fn train_members(near: bool, set: &[Past<'_>], horizon: usize, seed: u64) -> Result<Vec<Arc<dyn Member>>, Unfit> {
    let trees = |base| Boosted::train(base, set, horizon, seed).map(|member| Arc::new(member) as Arc<dyn Member>);
    let nets = |base, inputs| {
        Perceptron::train(base, inputs, set, horizon, seed).map(|member| Arc::new(member) as Arc<dyn Member>)
    };
    Ok(if near {
        vec![
            trees(Base::Last)?,
            trees(Base::Mean)?,
            nets(Base::Last, features::NETS)?,
            nets(Base::Quick, features::NETS)?,
        ]
    } else {
        vec![
            trees(Base::Season)?,
            trees(Base::Mean)?,
            nets(Base::Season, features::NETS)?,
            nets(Base::Season, features::WIDE)?,
            nets(Base::Level, features::NETS)?,
            nets(Base::Level, features::WIDE)?,
            Arc::new(Recurrent::train(set, horizon, seed)?),
        ]
    })
}

/// A forecast that waits for what comes.
#[derive(Clone)]
struct Issue {
    /// Place of its first step.
    first: usize,
    /// Scale of its logarithms.
    scale: f64,
    /// The most that was seen before it.
    most: f64,
    /// By member, then step ahead.
    members: Vec<Vec<Row>>,
    /// Combined and corrected.
    issued: Vec<Row>,
}

#[derive(Clone)]
struct Following {
    ensemble: Arc<Ensemble>,
    chronicle: Chronicle,
    /// Steps from one issue to the next.
    stride: usize,
    trained: usize,
    /// Step from which forecasts are issued.
    begin: usize,
    seen: usize,
    calibration: Calibration,
    since_update: usize,
    issues: VecDeque<Issue>,
    losses: Losses,
}

impl Following {
    /// Issues a forecast of so many steps from what is known; `None` while that is too little.
    fn issue(&mut self, steps: usize) -> Option<Issue> {
        let ensemble = &*self.ensemble;
        let early = self.seen < self.trained && !ensemble.early.is_empty();
        let members = if early { &ensemble.early } else { &ensemble.members };
        let (past, described) = self.chronicle.known();
        let known = Known::new(past, described?, steps);
        let floor = known.described.floor();
        let members: Vec<Vec<Row>> = members
            .iter()
            .map(|member| {
                let mut rows = member.logs(&known, steps);
                rows.iter_mut().flatten().for_each(|log| *log = log.max(floor));
                rows
            })
            .collect();
        let (scale, most) = (known.described.unit(), known.described.most());
        let weights = self.weights();
        let issued = (0..steps)
            .map(|ahead| {
                let mut row = [0.0; LEVELS.len()];
                for (weight, rows) in weights.iter().zip(&members) {
                    row.iter_mut().zip(&rows[ahead]).for_each(|(sum, log)| *sum += weight * log);
                }
                self.calibration.correct(ahead, &row)
            })
            .collect();
        Some(Issue { first: self.seen, scale, most, members, issued })
    }

    /// The first `steps` steps of what was issued.
    fn outlook(&self, issue: &Issue, steps: usize) -> Result<Outlook, Unfit> {
        let rows = issue.issued[..steps].iter();
        let quantiles = Quantiles::new(rows.map(|row| row.map(|log| features::value_of(log, issue.scale))).collect());
        match explosion(&quantiles, issue.most) {
            Some(why) => standby("ensemble", &self.chronicle.past(), steps, why),
            None => Ok(Outlook { quantiles, by: "ensemble", instead: None }),
        }
    }

    /// Inverse losses over the last week, to a power that leaves little to those who do worse; equal ones before there are
    /// enough.
    fn weights(&self) -> Vec<f64> {
        let (count, means) = self.losses.means();
        if (count as usize) < 4 * self.ensemble.horizon {
            return vec![1.0 / means.len() as f64; means.len()];
        }
        let least = means.iter().copied().fold(f64::INFINITY, f64::min).max(f64::MIN_POSITIVE);
        let shares: Vec<f64> = means.iter().map(|mean| (least / mean.max(least)).powi(8)).collect();
        let sum: f64 = shares.iter().sum();
        shares.iter().map(|share| share / sum).collect()
    }

    /// Lets what came meet what was forecast of it.
    fn meet(&mut self, at: usize, value: f64) {
        let (mut count, mut sums) = (0, vec![0.0; self.ensemble.members.len()]);
        for issue in &self.issues {
            let Some(ahead) = at.checked_sub(issue.first).filter(|ahead| *ahead < self.ensemble.horizon) else {
                continue;
            };
            self.calibration.observe(ahead, &issue.issued[ahead], features::log_of(value, issue.scale));
            count += 1;
            for (sum, rows) in sums.iter_mut().zip(&issue.members) {
                // Levels 0.1 to 0.9, in units of the series.
                *sum += (1..LEVELS.len() - 1)
                    .map(|level| {
                        let miss = value - features::value_of(rows[ahead][level], issue.scale);
                        (LEVELS[level] * miss).max((LEVELS[level] - 1.0) * miss)
                    })
                    .sum::<f64>();
            }
        }
        if count > 0 {
            self.losses.add(at, count, &sums);
        }
        self.losses.forget(at);
        while self.issues.front().is_some_and(|issue| issue.first + self.ensemble.horizon <= at + 1) {
            self.issues.pop_front();
        }
    }
}

impl Follower for Following {
    fn observe(&mut self, value: Option<f64>) {
        let due = self.seen >= self.begin && self.seen.is_multiple_of(self.stride);
        let waiting = self.issues.back().is_some_and(|issue| issue.first == self.seen);
        if due && !waiting {
            self.calibration.update(self.since_update);
            self.since_update = 0;
            let issue = self.issue(self.ensemble.horizon);
            self.issues.extend(issue);
        }
        self.chronicle.push(value);
        // A value that was not seen is no error of anybody's.
        if let Some(value) = value {
            self.meet(self.seen, value);
        }
        self.since_update += 1;
        self.seen += 1;
    }

    fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
        let trained = format!("{} steps ahead", self.ensemble.horizon);
        if steps > self.ensemble.horizon {
            return Err(Unfit::Mismatch { trained, asked: steps.to_string() });
        }
        if self.seen.is_multiple_of(self.stride) {
            self.calibration.update(self.since_update);
            self.since_update = 0;
        }
        let due = self.seen >= self.begin && self.seen.is_multiple_of(self.stride);
        if self.issues.back().is_none_or(|issue| issue.first != self.seen) {
            // What nobody will learn from need not reach further than was asked.
            let Some(issue) = self.issue(if due { self.ensemble.horizon } else { steps }) else {
                let past = self.chronicle.past();
                let need = Described::fewest(past.grid().day());
                return standby("ensemble", &past, steps, Unfit::TooShort { have: past.values().len(), need });
            };
            let outlook = self.outlook(&issue, steps);
            if due {
                self.issues.push_back(issue);
            }
            return outlook;
        }
        let issue = self.issues.back().expect("it waits");
        self.outlook(issue, steps)
    }

    fn clone_box(&self) -> Box<dyn Follower> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::*;
    use crate::forecast::chance::Chance;

    /// A day's wave whose level wanders; noise grows with it.
    fn wave(seed: u64, n: usize) -> Vec<f64> {
        let mut chance = Chance::new(seed, "ensemble");
        let mut level = 0.0;
        (0..n)
            .map(|k| {
                level = 0.95 * level + 0.05 * chance.normal();
                let season = 100.0 + 60.0 * (k as f64 / 24.0 * std::f64::consts::TAU).sin();
                season * (level + 0.05 * chance.normal()).exp()
            })
            .collect()
    }

    #[test]
    fn a_series_is_followed_and_covered() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let (train, all) = (24 * 35, 24 * 49);
        let series: Vec<Vec<f64>> = (0..3).map(|seed| wave(seed, all)).collect();
        let set: Vec<Past<'_>> = series.iter().map(|values| Past::new(&grid, 0, &values[..train])).collect();
        let ensemble = Arc::new(Ensemble::train(&set, 4, 1).unwrap());
        let (mut within, mut count, mut error, mut naive) = (0, 0, 0.0, 0.0);
        for values in &series {
            let mut follower = ensemble.follow(&grid, train, train);
            values[..train].iter().for_each(|value| follower.observe(Some(*value)));
            for at in train..all - 4 {
                let row = follower.forecast(4).unwrap().quantiles.rows()[3];
                let came = values[at + 3];
                within += u32::from((row[0]..=row[10]).contains(&came));
                error += (row[5] - came).abs();
                naive += (values[at + 3 - 24] - came).abs();
                count += 1;
                follower.observe(Some(values[at]));
            }
        }
        let share = f64::from(within) / f64::from(count);
        assert!((0.86..0.94).contains(&share), "{share} within the 90 % interval");
        assert!(error < 0.7 * naive, "{error} against {naive}");
    }

    #[test]
    fn gaps_and_a_short_past_bring_no_harm() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let values = wave(5, 24 * 28);
        let ensemble = Arc::new(Ensemble::train(&[Past::new(&grid, 0, &values)], 4, 1).unwrap());
        let mut follower = ensemble.follow(&grid, 24 * 28, 0);
        assert!(follower.forecast(4).is_err());
        for (nth, value) in values.iter().enumerate().take(24 * 10) {
            follower.observe((nth % 5 != 3).then_some(*value));
            if nth > 1 {
                let outlook = follower.forecast(4).unwrap();
                assert_eq!(outlook.instead.is_some(), outlook.by != "ensemble", "{nth}");
            }
        }
        assert_eq!(follower.forecast(4).unwrap().by, "ensemble");
        assert!(matches!(follower.forecast(5), Err(Unfit::Mismatch { .. })));
    }
}
