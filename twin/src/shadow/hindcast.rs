//! Forecasts against what came: each fan is kept until its window is over, and then scored.
//!
//! Coverage is the share of outcomes between the 10 % and the 90 % quantile: 80 % where a forecast is calibrated. The
//! pinball loss of quantile q at level a is max(a·(y − q), (a − 1)·(y − q)) (R. Koenker, G. Bassett, "Regression
//! Quantiles", Econometrica 46, 1978); wQL is twice its sum over the sum of outcomes, mean over the levels (GluonTS, M5). A
//! window of which a part was not seen is not scored.

use std::collections::VecDeque;

use forebay_world::Timestamp;
use serde::Serialize;

use crate::decision::{Decision, Fan};

/// Fans that wait for their outcome in one cell: more than a day of windows by the minute.
const WAITING_MOST: usize = 4096;

/// Forecasts of all cells, and how they did.
#[derive(Clone, Debug)]
pub struct Hindcast {
    waiting: Vec<VecDeque<Waiting>>,
    scores: Vec<Sums>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    from: Timestamp,
    until: Timestamp,
    fan: Fan,
    /// The most sessions so far; `None` before any tick of the window.
    most: Option<f64>,
    is_whole: bool,
}

/// Sums over forecasts whose outcome is known; they add.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Forecasts whose outcome is known.
    pub scored: u64,
    /// Forecasts whose outcome was not seen.
    pub unknown: u64,
    inside: u64,
    pinball: [f64; 3],
    came: f64,
    excess: f64,
}

/// How forecasts did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ForecastScore {
    /// Forecasts whose outcome is known.
    pub scored: u64,
    /// Forecasts whose outcome was not seen.
    pub unknown: u64,
    /// Share of outcomes between the 10 % and the 90 % quantile; `None` before the first.
    pub coverage80: Option<f64>,
    /// Mean pinball loss at 10, 50 and 90 % \[sessions\].
    pub pinball: Option<f64>,
    /// Weighted quantile loss at 10, 50 and 90 %, mean; `None` where nothing came.
    pub wql: Option<f64>,
    /// Median less outcome, over the outcomes: above 0 where too much was forecast. `None` where nothing came.
    pub bias: Option<f64>,
}

const LEVELS: [f64; 3] = [0.1, 0.5, 0.9];

impl Hindcast {
    /// Nothing forecast yet.
    pub fn new(cells: usize) -> Hindcast {
        Hindcast { waiting: vec![VecDeque::new(); cells], scores: vec![Sums::default(); cells] }
    }

    /// Takes in a decision: what it saw is the outcome of forecasts before it.
    pub fn take(&mut self, decision: &Decision) {
        for (cell, decided) in decision.cells.iter().enumerate() {
            let (waiting, scores) = (&mut self.waiting[cell], &mut self.scores[cell]);
            for open in waiting.iter_mut().filter(|open| open.from < decision.at && decision.at <= open.until) {
                match decided.sessions {
                    Some(sessions) => open.most = Some(open.most.map_or(sessions, |most| most.max(sessions))),
                    None => open.is_whole = false,
                }
            }
            while let Some(open) = waiting.front().filter(|open| open.until <= decision.at).copied() {
                waiting.pop_front();
                match open.most.filter(|_| open.is_whole) {
                    Some(came) => scores.score(&open.fan, came),
                    None => scores.unknown += 1,
                }
            }
            if let Some(fan) = decided.forecast {
                if waiting.len() == WAITING_MOST {
                    waiting.pop_front();
                    scores.unknown += 1;
                }
                let (from, until) = (decision.at.saturating_add(fan.from), decision.at.saturating_add(fan.until));
                waiting.push_back(Waiting { from, until, fan, most: None, is_whole: true });
            }
        }
    }

    /// Sums of each cell so far.
    pub fn sums(&self) -> &[Sums] {
        &self.scores
    }
}

impl Sums {
    fn score(&mut self, fan: &Fan, came: f64) {
        self.scored += 1;
        self.inside += u64::from(fan.p10 <= came && came <= fan.p90);
        for ((level, quantile), sum) in LEVELS.into_iter().zip([fan.p10, fan.p50, fan.p90]).zip(&mut self.pinball) {
            let above = came - quantile;
            *sum += (level * above).max((level - 1.0) * above);
        }
        self.came += came;
        self.excess += fan.p50 - came;
    }

    /// What has been added since `before`.
    pub fn since(&self, before: &Sums) -> Sums {
        let mut pinball = self.pinball;
        pinball.iter_mut().zip(before.pinball).for_each(|(sum, before)| *sum -= before);
        Sums {
            scored: self.scored - before.scored,
            unknown: self.unknown - before.unknown,
            inside: self.inside - before.inside,
            pinball,
            came: self.came - before.came,
            excess: self.excess - before.excess,
        }
    }

    /// Both together.
    pub fn plus(&self, other: &Sums) -> Sums {
        let mut pinball = self.pinball;
        pinball.iter_mut().zip(other.pinball).for_each(|(sum, more)| *sum += more);
        Sums {
            scored: self.scored + other.scored,
            unknown: self.unknown + other.unknown,
            inside: self.inside + other.inside,
            pinball,
            came: self.came + other.came,
            excess: self.excess + other.excess,
        }
    }

    /// How the forecasts did.
    pub fn told(&self) -> ForecastScore {
        let all = self.pinball.iter().sum::<f64>() / LEVELS.len() as f64;
        let some = self.scored > 0;
        let came = self.came > 1e-9;
        ForecastScore {
            scored: self.scored,
            unknown: self.unknown,
            coverage80: some.then(|| self.inside as f64 / self.scored as f64),
            pinball: some.then(|| all / self.scored as f64),
            wql: came.then(|| 2.0 * all / self.came),
            bias: came.then(|| self.excess / self.came),
        }
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::{ClassId, Duration, Generation, RegionId};

    use super::*;
    use crate::decision::CellDecision;

    fn decision(minute: u64, sessions: Option<f64>, forecast: Option<Fan>) -> Decision {
        let cell = CellDecision {
            region: RegionId(0),
            class: ClassId(0),
            ready: 0,
            coming: 0,
            draining: 0,
            sessions,
            requests: None,
            utilization: None,
            forecast,
            asked: 0,
            granted: 0,
            planned: 0,
            bound_by: Vec::new(),
            gave_way: None,
            reason: String::new(),
        };
        Decision { at: Timestamp::from_secs(60 * minute), generation: Generation(0), cells: vec![cell] }
    }

    fn fan(p10: f64, p50: f64, p90: f64) -> Option<Fan> {
        let (from, until) = (Duration::ZERO, Duration::from_mins(2));
        Some(Fan { from, until, p10, p50, p90, level: 0.9, sized_for: p90 })
    }

    #[test]
    fn a_forecast_is_scored_by_the_most_that_came_in_its_window() {
        let mut hindcast = Hindcast::new(1);
        hindcast.take(&decision(0, Some(99.0), fan(8.0, 10.0, 14.0)));
        hindcast.take(&decision(1, Some(12.0), None));
        assert_eq!(hindcast.sums()[0].told(), ForecastScore::default());
        hindcast.take(&decision(2, Some(11.0), None));
        hindcast.take(&decision(3, Some(50.0), None));
        let told = hindcast.sums()[0].told();
        // 12 came: 0.1·4, 0.5·2, (0.9 − 1)·(12 − 14).
        assert_eq!((told.scored, told.coverage80), (1, Some(1.0)));
        assert!((told.pinball.unwrap() - (0.4 + 1.0 + 0.2) / 3.0).abs() < 1e-12, "{told:?}");
        assert!((told.wql.unwrap() - 2.0 * 1.6 / 3.0 / 12.0).abs() < 1e-12);
        assert!((told.bias.unwrap() + 2.0 / 12.0).abs() < 1e-12);
    }

    #[test]
    fn what_was_not_seen_is_not_scored() {
        let mut hindcast = Hindcast::new(1);
        hindcast.take(&decision(0, Some(1.0), fan(0.0, 1.0, 2.0)));
        hindcast.take(&decision(1, None, fan(0.0, 1.0, 2.0)));
        hindcast.take(&decision(2, Some(1.0), None));
        hindcast.take(&decision(3, Some(1.0), None));
        let told = hindcast.sums()[0].told();
        assert_eq!((told.scored, told.unknown, told.coverage80), (1, 1, Some(1.0)));
    }
}
