//! `target-tracking`: AWS target tracking scaling, as AWS documents it.
//!
//! Two alarms over one-minute data points: three in a row above the target scale out in proportion, at once; fifteen
//! in a row below 90 % of it scale in, with a cooldown between (Application Auto Scaling user guide; CloudWatch alarms
//! of a target tracking policy). Machines on their way count as capacity already asked for. Minutes without a metric
//! move no alarm.

use forebay_world::{Duration, Timestamp, Topology};

use super::{Ask, CellSeen, Policy, Situation, vms_from};
use crate::controller::ControllerConfig;
use crate::controller::config::TargetTrackingConfig;

#[derive(Clone)]
pub(super) struct TargetTracking {
    target: f64,
    config: TargetTrackingConfig,
    alarms: Vec<Alarms>,
}

/// The alarms of one cell.
#[derive(Clone, Default)]
struct Alarms {
    /// The data point being filled: its minute, sum and count of samples.
    filling: Option<(Timestamp, f64, u32)>,
    /// Data points in a row above the target.
    above: u32,
    /// Data points in a row below the scale-in threshold.
    below: u32,
    /// The last data point.
    metric: Option<f64>,
    scaled_in_at: Option<Timestamp>,
}

const MINUTE: Duration = Duration::from_mins(1);

impl TargetTracking {
    pub(super) fn new(config: &ControllerConfig, topology: &Topology) -> Self {
        let tracking = config.policy.target_tracking.clone();
        TargetTracking {
            target: tracking.target_utilization.unwrap_or(config.target_utilization),
            config: tracking,
            alarms: vec![Alarms::default(); topology.cells()],
        }
    }

    /// Utilization it steers to.
    pub(super) fn target(&self) -> f64 {
        self.target
    }

    /// What the alarms of `cell` ask for, and why.
    pub(super) fn ask_cell(&mut self, now: &Situation<'_>, cell: usize) -> (u32, String) {
        let seen = &now.cells[cell];
        let low = now.floors[cell].max(1);
        let alarms = &mut self.alarms[cell];
        alarms.record(now.seen.at, now.seen.window, seen.utilization(), self.target, &self.config);
        let vms = alarms.vms(now.seen.at, seen, low, self.target, &self.config);
        let metric = alarms.metric.map_or(-1, |metric| (metric * 100.0).round() as i64);
        let reason = if metric < 0 {
            format!("no metric: keeps {vms}")
        } else {
            format!(
                "utilization {metric} % of {} % wanted, above for {} min, below for {} min",
                (self.target * 100.0).round() as i64,
                alarms.above,
                alarms.below
            )
        };
        (vms, reason)
    }
}

impl Policy for TargetTracking {
    fn name(&self) -> &'static str {
        "target-tracking"
    }

    fn ask(&mut self, now: &Situation<'_>, asks: &mut [Ask]) {
        for (cell, ask) in asks.iter_mut().enumerate() {
            (ask.vms, ask.reason) = self.ask_cell(now, cell);
        }
    }

    fn clone_box(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

impl Alarms {
    /// Takes one window's metric in, and closes the minutes that are over.
    fn record(
        &mut self,
        at: Timestamp,
        window: Duration,
        metric: Option<f64>,
        target: f64,
        config: &TargetTrackingConfig,
    ) {
        if window >= MINUTE {
            // One window is several data points of the same value.
            if let Some(metric) = metric {
                let minutes = (window / MINUTE).min(1440) as u32;
                self.point(metric, minutes, target, config);
            }
            return;
        }
        let minute = at.saturating_sub(Duration::from_nanos(1)).floor_to(MINUTE);
        if let Some((filling, sum, count)) = self.filling
            && filling != minute
        {
            self.point(sum / f64::from(count), 1, target, config);
            self.filling = None;
        }
        if let Some(metric) = metric {
            let (_, sum, count) = self.filling.get_or_insert((minute, 0.0, 0));
            *sum += metric;
            *count += 1;
        }
    }

    fn point(&mut self, metric: f64, times: u32, target: f64, config: &TargetTrackingConfig) {
        self.metric = Some(metric);
        self.above = if metric > target { self.above.saturating_add(times) } else { 0 };
        self.below = if metric < target * config.scale_in_below { self.below.saturating_add(times) } else { 0 };
    }

    fn vms(&mut self, at: Timestamp, seen: &CellSeen, low: u32, target: f64, config: &TargetTrackingConfig) -> u32 {
        let current = seen.wanted.max(low);
        let Some(metric) = self.metric else { return current };
        // What serves now, at the target: capacity on its way is part of what was asked for already.
        let needed = vms_from(f64::from(seen.ready) * metric / target);
        if self.above >= config.scale_out_minutes {
            return current.max(needed);
        }
        let cooled = self.scaled_in_at.is_none_or(|since| at.since(since) >= config.scale_in_cooldown);
        if self.below >= config.scale_in_minutes && cooled && seen.coming == 0 {
            let fewer = needed.max(low).min(current);
            if fewer < current {
                self.scaled_in_at = Some(at);
            }
            return fewer;
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds one metric a window and returns what the alarms ask for after each; the fleet follows at once.
    fn follow(metrics: &[f64], window: Duration, start: u32) -> Vec<u32> {
        let config = TargetTrackingConfig::default();
        let (mut alarms, mut vms, mut at) = (Alarms::default(), start, Timestamp::from_secs(6000));
        metrics
            .iter()
            .map(|metric| {
                at += window;
                alarms.record(at, window, Some(*metric), 0.5, &config);
                let seen = CellSeen { wanted: vms, ready: vms, ..CellSeen::default() };
                vms = alarms.vms(at, &seen, 1, 0.5, &config);
                vms
            })
            .collect()
    }

    #[test]
    fn three_minutes_above_scale_out_in_proportion() {
        assert_eq!(follow(&[0.8, 0.8, 0.8], MINUTE, 10), [10, 10, 16]);
        assert_eq!(follow(&[0.8, 0.8, 0.5, 0.8, 0.8], MINUTE, 10), [10; 5]);
        assert_eq!(follow(&[0.8], Duration::from_mins(5), 10), [16]);
    }

    #[test]
    fn seconds_are_averaged_into_minutes() {
        let half_minutes = [0.4, 0.8, 0.4, 0.8, 0.4, 0.8, 0.6];
        assert_eq!(follow(&half_minutes, Duration::from_secs(30), 10), [10, 10, 10, 10, 10, 10, 12]);
    }

    #[test]
    fn fifteen_minutes_below_scale_in_and_then_it_cools_down() {
        let vms = follow(&[0.25; 21], MINUTE, 16);
        assert_eq!(vms[13], 16);
        assert_eq!(vms[14], 8);
        assert_eq!(vms[18], 8, "cooldown of 300 s");
        assert_eq!(vms[19], 4);
    }

    #[test]
    fn a_little_below_the_target_is_left_alone() {
        assert_eq!(follow(&[0.46; 40], MINUTE, 16), [16; 40]);
    }
}
