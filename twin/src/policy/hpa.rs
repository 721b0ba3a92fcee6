//! `hpa`: the Kubernetes Horizontal Pod Autoscaler, to the letter.
//!
//! desired = ceil(current × metric / target), with tolerance, with the rules for pods that are not ready or have no
//! metric, stabilization windows and rate limits (Kubernetes 1.33, `pkg/controller/podautoscaler`:
//! `replica_calculator.go` and `horizontal.go`). A virtual machine is a pod; its utilization is the metric. The
//! controller's period takes the place of the 15 s sync, since a metric is seen no more often.

use std::collections::VecDeque;

use forebay_world::{Duration, Timestamp, Topology};

use super::{Ask, CellSeen, Policy, Situation, vms_from};
use crate::controller::ControllerConfig;
use crate::controller::config::HpaConfig;

#[derive(Clone)]
pub(super) struct Hpa {
    target: f64,
    config: HpaConfig,
    memories: Vec<Memory>,
}

/// What the autoscaler of one cell remembers.
#[derive(Clone, Default)]
struct Memory {
    /// Recommendations within the longer window, oldest first.
    recommendations: VecDeque<(Timestamp, u32)>,
    /// Changes within the scale period: when, and by how many, growth positive.
    changes: VecDeque<(Timestamp, i64)>,
}

impl Hpa {
    pub(super) fn new(config: &ControllerConfig, topology: &Topology) -> Self {
        let hpa = config.policy.hpa.clone();
        Hpa {
            target: hpa.target_utilization.unwrap_or(config.target_utilization),
            config: hpa,
            memories: vec![Memory::default(); topology.cells()],
        }
    }
}

impl Policy for Hpa {
    fn name(&self) -> &'static str {
        "hpa"
    }

    fn ask(&mut self, now: &Situation<'_>, asks: &mut [Ask]) {
        for (cell, ask) in asks.iter_mut().enumerate() {
            let seen = &now.cells[cell];
            // An autoscaler below its minimum goes there first, whatever the metric says.
            let (low, high) = (now.floors[cell].max(1), now.ceilings[cell]);
            let (wanted, metric) =
                if seen.wanted < low { (low, None) } else { recommendation(seen, self.target, self.config.tolerance) };
            let bounded = self.memories[cell].bound(now.seen.at, seen.wanted, wanted, low, high, &self.config);
            self.memories[cell].remember(now.seen.at, seen.wanted, bounded, &self.config);
            ask.vms = bounded;
            let percent = |share: f64| (share * 100.0).round() as i64;
            ask.reason = match metric {
                Some(metric) => format!(
                    "utilization {} % of {} % wanted: {} to {wanted}",
                    percent(metric),
                    percent(self.target),
                    seen.wanted
                ),
                None if seen.wanted < low => format!("below the minimum of {low}"),
                None => format!("no metrics: keeps {}", seen.wanted),
            };
        }
    }

    fn clone_box(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

/// `GetResourceReplicas`: what the metric asks for, and the metric.
fn recommendation(seen: &CellSeen, target: f64, tolerance: f64) -> (u32, Option<f64>) {
    let current = seen.wanted;
    let Some(metric) = seen.utilization() else { return (current, None) };
    let (unready, missing) = (seen.coming, seen.ready - seen.measured);
    let ratio = metric / target;
    let count_unready = unready > 0 && ratio > 1.0;
    let within = |ratio: f64| (ratio - 1.0).abs() <= tolerance;
    if !count_unready && missing == 0 {
        let wanted = if within(ratio) { current } else { vms_from(ratio * f64::from(seen.ready)) };
        return (wanted, Some(metric));
    }
    let mut sum = seen.utilization_sum;
    let mut counted = seen.measured;
    if missing > 0 && ratio != 1.0 {
        // Pods without a metric count against the change: as fully used on the way down, as idle on the way up.
        sum += if ratio < 1.0 { f64::from(missing) * target.max(1.0) } else { 0.0 };
        counted += missing;
    }
    if count_unready {
        counted += unready;
    }
    let again = sum / f64::from(counted) / target;
    let turned = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
    let wanted = vms_from(again * f64::from(counted));
    let contrary = (again < 1.0 && wanted > current) || (again > 1.0 && wanted < current);
    let keep = within(again) || turned || contrary;
    (if keep { current } else { wanted }, Some(metric))
}

impl Memory {
    /// `stabilizeRecommendationWithBehaviors` and `convertDesiredReplicasWithBehaviorRate`.
    fn bound(&mut self, at: Timestamp, current: u32, wanted: u32, low: u32, high: u32, config: &HpaConfig) -> u32 {
        let longer = config.scale_down_window.max(config.scale_up_window);
        let within = |since: Timestamp, window: Duration| at.since(since) < window;
        self.recommendations.retain(|(since, _)| within(*since, longer));
        self.changes.retain(|(since, _)| within(*since, config.scale_period));
        let recent = |window: Duration| {
            self.recommendations.iter().filter(move |(since, _)| within(*since, window)).map(|(_, vms)| *vms)
        };
        let up = recent(config.scale_up_window).fold(wanted, u32::min);
        let down = recent(config.scale_down_window).fold(wanted, u32::max);
        self.recommendations.push_back((at, wanted));
        let stable = current.max(up).min(down);

        let changed: i64 = self.changes.iter().map(|(_, by)| by).sum();
        let at_begin = (i64::from(current) - changed).max(0) as f64;
        let more = (at_begin + f64::from(config.scale_up_vms)).max((at_begin * (1.0 + config.scale_up_share)).ceil());
        let fewer = (at_begin * (1.0 - config.scale_down_share)).floor();
        let rated = if stable > current {
            stable.min((more as u32).max(current))
        } else {
            stable.max((fewer as u32).min(current))
        };
        rated.clamp(low.min(high), high)
    }

    fn remember(&mut self, at: Timestamp, current: u32, next: u32, config: &HpaConfig) {
        if next != current && !config.scale_period.is_zero() {
            self.changes.push_back((at, i64::from(next) - i64::from(current)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(wanted: u32, utilizations: &[f64], missing: u32, coming: u32) -> CellSeen {
        CellSeen {
            wanted,
            ready: utilizations.len() as u32 + missing,
            measured: utilizations.len() as u32,
            utilization_sum: utilizations.iter().sum(),
            coming,
            ..CellSeen::default()
        }
    }

    /// The cases of Kubernetes' `replica_calculator_test.go`, by its names where it has them.
    #[test]
    fn recommendations_are_those_of_kubernetes() {
        let cases: &[(&str, CellSeen, f64, u32)] = &[
            ("documented: 200m of 100m doubles", cell(2, &[2.0, 2.0], 0, 0), 1.0, 4),
            ("documented: 50m of 100m halves", cell(4, &[0.5; 4], 0, 0), 1.0, 2),
            ("scale up", cell(3, &[0.3, 0.5, 0.7], 0, 0), 0.3, 5),
            ("scale up, unready less scale", cell(3, &[0.5, 0.7], 0, 1), 0.3, 4),
            ("scale up, unready no scale", cell(3, &[0.7], 0, 2), 0.3, 3),
            ("scale down", cell(5, &[0.1, 0.3, 0.5, 0.25, 0.25], 0, 0), 0.5, 3),
            ("scale down ignores unready", cell(5, &[0.3, 0.25, 0.25], 0, 2), 0.5, 2),
            ("within tolerance", cell(3, &[1.01, 1.03, 1.01], 0, 0), 1.0, 3),
            ("missing metrics, no change upward", cell(2, &[2.0], 1, 0), 1.0, 2),
            ("missing metrics, no change downward", cell(2, &[0.5], 1, 0), 1.0, 2),
            ("missing metrics, less scale up", cell(4, &[3.0, 3.0], 2, 0), 1.0, 6),
            ("no metrics at all", cell(4, &[], 4, 0), 1.0, 4),
        ];
        for (name, seen, target, want) in cases {
            assert_eq!(recommendation(seen, *target, 0.1).0, *want, "{name}");
        }
    }

    #[test]
    fn growth_is_limited_to_double_or_four_more_a_period() {
        let config = HpaConfig::default();
        let at = Timestamp::from_secs(1000);
        let table = [(1, 100, 5), (3, 100, 7), (10, 100, 20), (10, 12, 12)];
        for (current, wanted, want) in table {
            assert_eq!(Memory::default().bound(at, current, wanted, 1, 1000, &config), want, "{current} to {wanted}");
        }
        // A second sync within the period counts what the first one added.
        let mut memory = Memory::default();
        assert_eq!(memory.bound(at, 10, 100, 1, 1000, &config), 20);
        memory.remember(at, 10, 20, &config);
        assert_eq!(memory.bound(at + Duration::from_secs(5), 20, 100, 1, 1000, &config), 20);
        assert_eq!(memory.bound(at + Duration::from_secs(15), 20, 100, 1, 1000, &config), 40);
    }

    #[test]
    fn shrinking_waits_for_the_window_to_forget_the_highest_recommendation() {
        let config = HpaConfig::default();
        let mut memory = Memory::default();
        let second = Timestamp::from_secs;
        assert_eq!(memory.bound(second(0), 10, 10, 1, 100, &config), 10);
        assert_eq!(memory.bound(second(60), 10, 6, 1, 100, &config), 10);
        assert_eq!(memory.bound(second(240), 10, 2, 1, 100, &config), 10);
        assert_eq!(memory.bound(second(300), 10, 2, 1, 100, &config), 6);
        assert_eq!(memory.bound(second(541), 6, 2, 1, 100, &config), 2);
        assert_eq!(memory.bound(second(600), 2, 0, 1, 100, &config), 2);
    }
}
