//! The demand that capacity without limit would meet: what an oracle knows, and what `fixed` is measured by.

use forebay_world::{Duration, Timestamp};

use super::{Arrivals, RateCurve};
use crate::setup::{Fidelity, Setup};

/// Sessions under way in each client region × class over time, if none were turned away or slowed down.
#[derive(Clone, Debug, PartialEq)]
pub struct DemandPath {
    /// Begin of the first step.
    pub start: Timestamp,
    /// Length of a step; the last may reach past the end of the run.
    pub step: Duration,
    /// Most sessions under way within each step: cell, then step.
    pub peak: Vec<Vec<f64>>,
    /// Mean of the sessions under way in each step: cell, then step.
    pub mean: Vec<Vec<f64>>,
}

/// The demand of a run in steps of `step`, by the fidelity of the run: the very sessions that the world will see, or
/// the fluid that it will see. The world starts empty, and so does this.
pub fn demand_path(setup: &Setup, step: Duration) -> DemandPath {
    assert!(!step.is_zero(), "a step takes time");
    let length = setup.end.since(setup.start);
    let steps = length.as_nanos().div_ceil(step.as_nanos()) as usize;
    let (peak, mean) = (0..setup.topology.cells())
        .map(|cell| {
            let (_, class) = setup.topology.cell_at(cell);
            let mean_seconds = setup.topology.class(class).work.mean_seconds();
            match setup.fidelity {
                Fidelity::Session => sessions(setup, cell, mean_seconds, step, steps),
                Fidelity::Fluid(fluid) => fluid_sessions(setup, cell, mean_seconds, fluid, step, steps),
            }
        })
        .unzip();
    DemandPath { start: setup.start, step, peak, mean }
}

/// What becomes of `sessions` in `seconds` when they begin at `rate` \[1/s\] and last `mean_seconds` in the mean:
/// sessions at the end, and their integral over the time [session · s]. Solves dN/dt = λ − N/D.
#[inline]
pub fn fill(sessions: f64, rate: f64, mean_seconds: f64, seconds: f64) -> (f64, f64) {
    Filling::new(mean_seconds, seconds).of(sessions, rate)
}

/// [`fill`] for many numbers of sessions that last as long in the mean, over one span of time.
#[derive(Clone, Copy, Debug)]
pub struct Filling {
    mean_seconds: f64,
    seconds: f64,
    /// Share of the sessions at the begin that have ended at the end.
    gone: f64,
}

impl Filling {
    /// Over `seconds`, of sessions that last `mean_seconds` in the mean.
    pub fn new(mean_seconds: f64, seconds: f64) -> Self {
        Filling { mean_seconds, seconds, gone: -(-seconds / mean_seconds).exp_m1() }
    }

    /// Sessions at the end, and their integral over the time [session · s], from `sessions` at the begin and `rate`
    /// beginning \[1/s\].
    #[inline]
    pub fn of(&self, sessions: f64, rate: f64) -> (f64, f64) {
        let settled = rate * self.mean_seconds;
        let after = sessions + (settled - sessions) * self.gone;
        (after, settled * self.seconds - (after - sessions) * self.mean_seconds)
    }
}

fn sessions(setup: &Setup, cell: usize, mean_seconds: f64, step: Duration, steps: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut peak, mut mean) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    let mut arrivals = Arrivals::new(setup, cell).peekable();
    // Ends of sessions by the step that they fall into; those after the run's end do not matter.
    let mut ends: Vec<Vec<u64>> = vec![Vec::new(); steps];
    let mut begins: Vec<u64> = Vec::new();
    let mut under_way = 0u64;
    for n in 0..steps {
        let since = setup.start.saturating_add(step * n as u64);
        let until = since.saturating_add(step);
        begins.clear();
        while let Some(arrival) = arrivals.next_if(|arrival| arrival.at < until) {
            let end = arrival.at.saturating_add(arrival.lasts(mean_seconds));
            begins.push(arrival.at.as_nanos());
            if let Some(ends) = ends.get_mut((end.since(setup.start) / step) as usize) {
                ends.push(end.as_nanos());
            }
        }
        let mut ends = std::mem::take(&mut ends[n]);
        ends.sort_unstable();
        let (most, area) = merge(&mut under_way, since, until, &begins, &ends);
        peak.push(most as f64);
        mean.push(area / step.as_nanos() as f64);
    }
    (peak, mean)
}

/// The most sessions under way in a step, and their integral over it [session · ns]. A session that ends at the moment
/// another begins makes room first, unless it is one of no length.
fn merge(under_way: &mut u64, since: Timestamp, until: Timestamp, begins: &[u64], ends: &[u64]) -> (u64, f64) {
    let (mut most, mut area, mut at) = (*under_way, 0u128, since.as_nanos());
    let (mut begins, mut ends) = (begins.iter().peekable(), ends.iter().peekable());
    loop {
        let ends_next = match (begins.peek(), ends.peek()) {
            (None, None) => break,
            (Some(begin), Some(end)) => end <= begin && *under_way > 0,
            (begin, _) => begin.is_none(),
        };
        let next = *if ends_next { ends.next() } else { begins.next() }.expect("peeked");
        area += u128::from(*under_way) * u128::from(next - at);
        at = next;
        if ends_next {
            *under_way -= 1;
        } else {
            *under_way += 1;
            most = most.max(*under_way);
        }
    }
    area += u128::from(*under_way) * u128::from(until.as_nanos() - at);
    (most, area as f64)
}

fn fluid_sessions(
    setup: &Setup,
    cell: usize,
    mean_seconds: f64,
    fluid: Duration,
    step: Duration,
    steps: usize,
) -> (Vec<f64>, Vec<f64>) {
    let (mut peak, mut mean) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    let mut sweep = RateCurve::new(setup, cell).sweep(setup.start);
    let (mut at, mut sessions, mut rate, mut rate_until) = (setup.start, 0.0, 0.0, setup.start);
    for n in 0..steps {
        let until = setup.start.saturating_add(step * (n as u64 + 1));
        let (mut most, mut area) = (sessions, 0.0);
        while at < until {
            if at == rate_until {
                let over = at >= setup.end;
                rate_until = if over { Timestamp::MAX } else { at.saturating_add(fluid).min(setup.end) };
                rate = if over { 0.0 } else { sweep.mean_to(rate_until) };
            }
            let to = rate_until.min(until);
            let (after, under_way) = fill(sessions, rate, mean_seconds, to.since(at).as_secs_f64());
            (sessions, area, at) = (after, area + under_way, to);
            most = f64::max(most, sessions);
        }
        peak.push(most);
        mean.push(area / step.as_secs_f64());
    }
    (peak, mean)
}
