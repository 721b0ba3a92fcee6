//! The latencies that a fluid stands for, as weighted points: quantiles for an observer, and weights for the score.

use std::sync::Arc;

use forebay_world::units::nearest;
use forebay_world::{Duration, LatencySeen, Timestamp};

use super::FluidLoad;
use super::flow::Kind;
use crate::world::Ground;

/// Points that stand for the distribution of a response time.
const RESPONSE_PARTS: u32 = 8;

/// Latencies \[s\] and how often each comes.
type Points = Vec<(f64, f64)>;

/// Where to put points, and where they are for response times.
#[derive(Clone, Debug)]
pub(super) struct LatencyPoints {
    /// Response times over their mean, which they are an exponential of in parts of equal weight, each at its middle
    /// quantile.
    responses: Arc<[f64]>,
    points: Points,
}

impl LatencyPoints {
    pub(super) fn new() -> Self {
        let below = |part: u32| (f64::from(part) + 0.5) / f64::from(RESPONSE_PARTS);
        LatencyPoints {
            responses: (0..RESPONSE_PARTS).map(|part| -(1.0 - below(part)).ln()).collect(),
            points: Vec::new(),
        }
    }
}

impl FluidLoad {
    /// The latencies of the last step, which stand for the window: quantiles by client cell for an observer, and
    /// weighted points for the score.
    pub(crate) fn latencies(
        &mut self,
        ground: &mut Ground,
        now: Timestamp,
        window: Duration,
    ) -> Vec<Option<LatencySeen>> {
        let mut points = std::mem::take(&mut self.latency.points);
        let seen = (0..self.cells.len()).map(|cell| {
            points.clear();
            self.find_points(cell, window.as_secs_f64(), &mut points);
            points.retain(|(_, weight)| *weight > 0.0);
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (seconds, weight) in &points {
                ground.scorer.count_latency(now, *seconds, nearest(*weight));
            }
            quantiles(&points)
        });
        let seen = seen.collect();
        self.latency.points = points;
        seen
    }

    fn find_points(&self, cell: usize, window_seconds: f64, points: &mut Points) {
        let class = &self.classes[self.cells[cell].class.index()];
        let mut add = |seconds: f64, weight: f64| {
            points.extend([(seconds, weight * class.hit), (seconds + class.origin, weight * (1.0 - class.hit))]);
        };
        for current in self.by_client[cell].iter().map(|&at| &self.currents[at]) {
            let serving = &self.serving[current.serving_cell];
            match &class.kind {
                Kind::Streaming if current.sessions > 0.0 => {
                    add(class.start_up(current.delay), current.sessions / class.length * window_seconds);
                }
                Kind::Interactive(response) if serving.seconds > 0.0 => {
                    let mean = serving.response_seconds / serving.seconds;
                    let requests = current.sessions * response.requests_per_second * window_seconds;
                    for of_mean in &*self.latency.responses {
                        add(2.0 * current.delay + mean * of_mean, requests / f64::from(RESPONSE_PARTS));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Quantiles of points in ascending order; `None` when there are none.
fn quantiles(points: &[(f64, f64)]) -> Option<LatencySeen> {
    let all: f64 = points.iter().map(|(_, weight)| weight).sum();
    let quantile = |share: f64| {
        let mut below = 0.0;
        let point = points.iter().find(|(_, weight)| {
            below += weight;
            below >= share * all
        });
        Duration::from_secs_f64_saturating(point.or(points.last()).map_or(0.0, |(seconds, _)| *seconds))
    };
    (all > 0.0).then(|| LatencySeen { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) })
}
