//! Trees, nets and, for longer leads, an LSTM together, each weighted by how well it has lately done, and calibrated on the way.
//!
//! Members are trained twice: on all that is known, and on all but the last week. The second ones forecast that week
//! unseen, so that weights and corrections have a week behind them when the first forecast is made. After that every
//! forecast, issued at every step (near) or every hour (far), meets what came. Weights are inverse losses to the
//! eighth power over the last week (J. Bates, C. Granger, "The Combination of Forecasts", 1969); quantiles are averaged as logarithms.

use std::collections::VecDeque;
use std::sync::Arc;

use super::calibration::{Calibration, Pace, Row};
use super::follower::{Follower, History, Outlook, explosion, standby};
use super::grid::Grid;
use super::model::boosted::Boosted;
use super::model::features::{self, Base, Described};
use super::model::member::Member;
use super::model::perceptron::Perceptron;
use super::model::recurrent::Recurrent;
use super::model::{Past, Unfit, is_near};
use super::quantiles::{LEVELS, Quantiles};
use super::trained::without_last_week;

/// The trained members.
pub(super) struct Ensemble {
    horizon: usize,
    /// What forecasts …
    members: Vec<Box<dyn Member>>,
    /// … and what forecast the last week of the training, unseen; nothing where that would have been too little.
    early: Vec<Box<dyn Member>>,
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

    /// Follows a series on `grid` of which the first `trained` steps were in the training set.
    pub(super) fn follow(self: &Arc<Self>, grid: &Grid, keep: usize, trained: usize) -> Box<dyn Follower> {
        let near = is_near(self.horizon, grid);
        let pace = if near { Pace::NEAR } else { Pace::FAR };
        let begin = if self.early.is_empty() { trained } else { trained.saturating_sub(grid.week()) };
        Box::new(Following {
            ensemble: Arc::clone(self),
            history: History::new(grid.clone(), keep),
            week: grid.week(),
            stride: if near { 1 } else { (grid.day() / 24).max(1) },
            trained,
            begin,
            seen: 0,
            calibration: Calibration::new(pace, self.horizon, grid.week()),
            since_update: 0,
            issues: VecDeque::new(),
            losses: VecDeque::new(),
        })
    }
}

fn train_members(near: bool, set: &[Past<'_>], horizon: usize, seed: u64) -> Result<Vec<Box<dyn Member>>, Unfit> {
    let trees = |base| Boosted::train(base, set, horizon, seed).map(|member| Box::new(member) as Box<dyn Member>);
    let nets = |base, inputs| {
        Perceptron::train(base, inputs, set, horizon, seed).map(|member| Box::new(member) as Box<dyn Member>)
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
            Box::new(Recurrent::train(set, horizon, seed)?),
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
    /// By member, then step ahead.
    members: Vec<Vec<Row>>,
    /// Combined and corrected.
    issued: Vec<Row>,
}

/// Losses of the members on one value.
#[derive(Clone)]
struct Loss {
    at: usize,
    count: u32,
    sums: Vec<f64>,
}

#[derive(Clone)]
struct Following {
    ensemble: Arc<Ensemble>,
    history: History,
    week: usize,
    /// Steps from one issue to the next.
    stride: usize,
    trained: usize,
    /// Step from which forecasts are issued.
    begin: usize,
    seen: usize,
    calibration: Calibration,
    since_update: usize,
    issues: VecDeque<Issue>,
    losses: VecDeque<Loss>,
}

impl Following {
    /// Issues a forecast from what is known; `None` while that is too little.
    fn issue(&self) -> Option<Issue> {
        let known = Described::new(&self.history.past())?;
        let ensemble = &*self.ensemble;
        let early = self.seen < self.trained && !ensemble.early.is_empty();
        let members = if early { &ensemble.early } else { &ensemble.members };
        let floor = known.floor();
        let members: Vec<Vec<Row>> = members
            .iter()
            .map(|member| {
                let mut rows = member.logs(&known, ensemble.horizon);
                rows.iter_mut().flatten().for_each(|log| *log = log.max(floor));
                rows
            })
            .collect();
        let weights = self.weights(members.len());
        let issued = (0..ensemble.horizon)
            .map(|ahead| {
                let mut row = [0.0; LEVELS.len()];
                for (weight, rows) in weights.iter().zip(&members) {
                    row.iter_mut().zip(&rows[ahead]).for_each(|(sum, log)| *sum += weight * log);
                }
                self.calibration.correct(ahead, &row)
            })
            .collect();
        Some(Issue { first: self.seen, scale: known.unit(), members, issued })
    }

    /// Inverse losses over the last week, to a power that leaves little to those who do worse; equal ones before there are
    /// enough.
    fn weights(&self, members: usize) -> Vec<f64> {
        let count: u32 = self.losses.iter().map(|loss| loss.count).sum();
        if (count as usize) < 4 * self.ensemble.horizon {
            return vec![1.0 / members as f64; members];
        }
        let mean = |member: usize| self.losses.iter().map(|loss| loss.sums[member]).sum::<f64>() / f64::from(count);
        let means: Vec<f64> = (0..members).map(mean).collect();
        let least = means.iter().copied().fold(f64::INFINITY, f64::min).max(f64::MIN_POSITIVE);
        let shares: Vec<f64> = means.iter().map(|mean| (least / mean.max(least)).powi(8)).collect();
        let sum: f64 = shares.iter().sum();
        shares.iter().map(|share| share / sum).collect()
    }

    /// Lets what came meet what was forecast of it.
    fn meet(&mut self, at: usize, value: f64) {
        let mut loss: Option<Loss> = None;
        for issue in &self.issues {
            let Some(ahead) = at.checked_sub(issue.first).filter(|ahead| *ahead < self.ensemble.horizon) else {
                continue;
            };
            self.calibration.observe(ahead, &issue.issued[ahead], features::log_of(value, issue.scale));
            let members = issue.members.len();
            let loss = loss.get_or_insert_with(|| Loss { at, count: 0, sums: vec![0.0; members] });
            loss.count += 1;
            for (sum, rows) in loss.sums.iter_mut().zip(&issue.members) {
                // Levels 0.1 to 0.9, in units of the series.
                *sum += (1..LEVELS.len() - 1)
                    .map(|level| {
                        let miss = value - features::value_of(rows[ahead][level], issue.scale);
                        (LEVELS[level] * miss).max((LEVELS[level] - 1.0) * miss)
                    })
                    .sum::<f64>();
            }
        }
        self.losses.extend(loss);
        while self.losses.front().is_some_and(|loss| loss.at + self.week <= at) {
            self.losses.pop_front();
        }
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
            let issue = self.issue();
            self.issues.extend(issue);
        }
        self.history.push(value);
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
        let Some(issue) = self.issue() else {
            let need = self.history.day() + 2;
            let why = Unfit::TooShort { have: self.history.past().values().len(), need };
            return standby("ensemble", &self.history.past(), steps, why);
        };
        let rows = issue.issued[..steps].iter();
        let rows = rows.map(|row| row.map(|log| features::value_of(log, issue.scale))).collect();
        let quantiles = Quantiles::new(rows);
        let waiting = self.issues.back().is_some_and(|issue| issue.first == self.seen);
        if self.seen >= self.begin && self.seen.is_multiple_of(self.stride) && !waiting {
            self.issues.push_back(issue);
        }
        match explosion(&quantiles, &self.history.past()) {
            Some(why) => standby("ensemble", &self.history.past(), steps, why),
            None => Ok(Outlook { quantiles, by: "ensemble", instead: None }),
        }
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
