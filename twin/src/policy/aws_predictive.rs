//! `aws-predictive`: AWS predictive scaling in forecast-and-scale mode, with target tracking beside it.
//!
//! What AWS documents is emulated: an hourly forecast from up to 14 days of history, none below 24 h of it, for 48 h
//! ahead, renewed every 6 h; capacity for an hour is launched a buffer of 300 s before it; a forecast never scales in,
//! it only is a floor under target tracking. What AWS does not publish, the forecast itself, is here a mean of the same
//! hour on earlier days: recent days weigh more, and the same day of the week most.

use std::collections::VecDeque;

use forebay_world::{Duration, Timestamp, Topology};

use super::target_tracking::TargetTracking;
use super::{Ask, Hindsight, Policy, Situation, vms_from};
use crate::controller::ControllerConfig;
use crate::controller::config::AwsPredictiveConfig;

#[derive(Clone)]
pub(super) struct AwsPredictive {
    reactive: TargetTracking,
    config: AwsPredictiveConfig,
    histories: Vec<History>,
    sessions_per_vm: Vec<f64>,
}

/// Hourly load of one cell, and the forecast made of it.
#[derive(Clone, Default)]
struct History {
    /// The hour being filled: its number since the epoch, sum and count of samples.
    filling: Option<(u64, f64, u32)>,
    /// Number since the epoch of the newest whole hour.
    newest: u64,
    /// Mean sessions of whole hours up to the newest; `None` where nothing was seen.
    hours: VecDeque<Option<f64>>,
    /// First hour of the forecast, and sessions in each.
    forecast: (u64, Vec<f64>),
}

const HOUR: Duration = Duration::from_hours(1);

impl AwsPredictive {
    /// The policy, with its hours of the past where they are known.
    pub(super) fn new(config: &ControllerConfig, topology: &Topology, hindsight: Option<&Hindsight>) -> Self {
        let aws = &config.policy.aws_predictive;
        let histories = (0..topology.cells()).map(|cell| {
            let mean_seconds = topology.class(topology.cell_at(cell).1).work.mean_seconds();
            hindsight.map_or_else(History::default, |past| History::of(past, cell, mean_seconds, aws))
        });
        AwsPredictive {
            reactive: TargetTracking::new(config, topology),
            config: config.policy.aws_predictive.clone(),
            histories: histories.collect(),
            sessions_per_vm: topology.cell_ids().map(|(_, class)| topology.sessions_per_vm(class)).collect(),
        }
    }
}

impl Policy for AwsPredictive {
    fn name(&self) -> &'static str {
        "aws-predictive"
    }

    fn ask(&mut self, now: &Situation<'_>, asks: &mut [Ask]) {
        let at = now.seen.at;
        let hour = hour_of(at);
        let soon = hour_of(at.saturating_add(self.config.scheduling_buffer));
        for (cell, ask) in asks.iter_mut().enumerate() {
            let history = &mut self.histories[cell];
            history.record(at, now.cells[cell].sessions, &self.config);
            history.refresh(hour, &self.config);
            let expected = history
                .expected(hour)
                .into_iter()
                .chain(history.expected(soon))
                .fold(None, |most, next| Some(f64::max(most.unwrap_or(0.0), next)));
            (ask.vms, ask.reason) = self.reactive.ask_cell(now, cell);
            if let Some(expected) = expected {
                let floor = vms_from(expected / (self.sessions_per_vm[cell] * self.reactive.target()));
                if floor > ask.vms {
                    ask.vms = floor;
                    ask.reason = format!("hourly forecast of {} sessions", expected.round() as u64);
                }
            }
        }
    }

    fn clone_box(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

fn hour_of(at: Timestamp) -> u64 {
    at.as_nanos() / HOUR.as_nanos()
}

impl History {
    /// What is known of a client cell before the first tick, as far back as it counts: sessions from the rate at which they
    /// began (Little 1961).
    fn of(past: &Hindsight, cell: usize, mean_seconds: f64, config: &AwsPredictiveConfig) -> Self {
        let mut history = History::default();
        let reach = (HOUR * u64::from(config.history_hours_max)) / past.step;
        let from = past.steps().saturating_sub(reach as usize);
        for (nth, rate) in past.arrivals_per_second[cell].iter().enumerate().skip(from) {
            history.record(past.start.saturating_add(past.step * (nth as u64 + 1)), Some(rate * mean_seconds), config);
        }
        history
    }

    /// Takes a window in that ended at `at`.
    fn record(&mut self, at: Timestamp, sessions: Option<f64>, config: &AwsPredictiveConfig) {
        let hour = hour_of(at.saturating_sub(Duration::from_nanos(1)));
        let (filling, sum, count) = *self.filling.get_or_insert((hour, 0.0, 0));
        if hour > filling {
            let max = config.history_hours_max as usize;
            self.hours.push_back((count > 0).then(|| sum / f64::from(count)));
            // Hours of which nothing was seen, not even that nothing was.
            for _ in 0..(hour - filling - 1).min(max as u64) {
                self.hours.push_back(None);
            }
            while self.hours.len() > max {
                self.hours.pop_front();
            }
            self.newest = hour - 1;
            self.filling = Some((hour, 0.0, 0));
        }
        if let (Some(sessions), Some((_, sum, count))) = (sessions, &mut self.filling) {
            *sum += sessions;
            *count += 1;
        }
    }

    /// Makes a new forecast when the old one is due.
    fn refresh(&mut self, hour: u64, config: &AwsPredictiveConfig) {
        let (from, values) = &self.forecast;
        let due = values.is_empty() || hour.saturating_sub(*from) >= u64::from(config.refresh_hours);
        let known = self.hours.iter().flatten().count();
        if !due || known < config.history_hours_min as usize || self.newest + 1 < hour {
            return;
        }
        let values = (hour..hour + u64::from(config.horizon_hours)).map(|hour| self.mean_of_like_hours(hour)).collect();
        self.forecast = (hour, values);
    }

    /// Mean of the same hour of the day over the history: a day's weight halves in three days, and the same day of the
    /// week counts four times.
    fn mean_of_like_hours(&self, hour: u64) -> f64 {
        let (mut sum, mut weights) = (0.0, 0.0);
        let oldest = (self.newest + 1).saturating_sub(self.hours.len() as u64);
        for days in 1.. {
            let Some(past) = hour.checked_sub(24 * days).filter(|past| *past >= oldest) else { break };
            let Some(Some(sessions)) = past.checked_sub(oldest).and_then(|index| self.hours.get(index as usize)) else {
                continue;
            };
            let weight = 0.5_f64.powf(days as f64 / 3.0) * if days.is_multiple_of(7) { 4.0 } else { 1.0 };
            sum += weight * sessions;
            weights += weight;
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    }

    fn expected(&self, hour: u64) -> Option<f64> {
        let (from, values) = &self.forecast;
        values.get(usize::try_from(hour.checked_sub(*from)?).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_history(hours: u64, load: impl Fn(u64) -> Option<f64>) -> History {
        let config = AwsPredictiveConfig::default();
        let mut history = History::default();
        for hour in 0..hours {
            for quarter in 1..=4 {
                let at = Timestamp::from_secs(hour * 3600 + quarter * 900);
                history.record(at, load(hour), &config);
                history.refresh(hour_of(at), &config);
            }
        }
        history.record(Timestamp::from_secs(hours * 3600 + 60), load(hours), &config);
        history.refresh(hours, &config);
        history
    }

    #[test]
    fn nothing_is_forecast_before_a_day_of_history() {
        let daily = |hour: u64| Some((hour % 24) as f64);
        assert_eq!(with_history(23, daily).expected(30), None);
        assert_eq!(with_history(24, daily).expected(30), Some(6.0));
    }

    #[test]
    fn a_forecast_covers_two_days_and_is_renewed_after_six_hours() {
        let history = with_history(24 + 5, |hour| Some(hour as f64));
        assert_eq!(history.forecast.0, 24);
        assert!(history.expected(24 + 47).is_some());
        assert_eq!(history.expected(24 + 48), None);
        assert_eq!(with_history(24 + 6, |hour| Some(hour as f64)).forecast.0, 30);
    }

    #[test]
    fn the_same_day_of_the_week_weighs_most() {
        let history = with_history(14 * 24, |hour| Some(if hour / 24 % 7 == 0 { 100.0 } else { 10.0 }));
        let like = history.mean_of_like_hours(14 * 24 + 3);
        let other = history.mean_of_like_hours(15 * 24 + 3);
        assert!(like > 2.0 * other, "{like} {other}");
    }

    #[test]
    fn a_gap_is_not_a_zero() {
        let history = with_history(72, |hour| (hour / 24 != 1).then_some(50.0));
        assert!((history.expected(80).unwrap() - 50.0).abs() < 1e-9);
    }
}
