//! How many sessions begin per second in one cell, at any time.

use std::sync::Arc;

use forebay_world::{Duration, Timestamp};

use super::crowd::Crowd;
use super::noise::{Levels, Noise};
use super::segment::Segment;
use super::shape::Shape;
use crate::Stream;
use crate::setup::{Load, Setup};

/// The rate at which sessions begin in one client region × class: usual shape × slow noise × crowds \[1/s\].
///
/// It is piecewise linear by definition: straight between the middles of the local hours, the borders of recorded
/// steps and of noise intervals, changes of the local clock, and 32 points along each ramp and time constant of a
/// crowd. [`rate`](Self::rate), [`mean_rate`](Self::mean_rate) and [`Arrivals`](super::Arrivals) agree exactly.
/// It can be asked at any time in any order; a [`Sweep`] is faster for times that go forward. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RateCurve(Arc<Factors>);

#[derive(Debug)]
struct Factors {
    shape: Shape,
    noise: Option<Noise>,
    crowds: Vec<Crowd>,
}

impl RateCurve {
    /// The rate of `cell` under `setup`.
    pub fn new(setup: &Setup, cell: usize) -> Self {
        let (region, _) = setup.topology.cell_at(cell);
        let (shape, noise) = match &setup.load[cell] {
            Load::None | Load::Told => (Shape::Nothing, None),
            Load::Synthetic(load) => {
                let innovations = Stream::new(setup.seed, "load noise", cell as u64);
                let noise = Noise::new(innovations, load.noise_sigma, load.noise_step);
                (Shape::week(load, &setup.local_time[region.index()]), noise)
            }
            Load::Series(series) => (Shape::Series(series.clone()), None),
            Load::Queries(log) => (Shape::log(log), None),
        };
        RateCurve(Arc::new(Factors { shape, noise, crowds: Crowd::of_cell(setup, cell) }))
    }

    /// Sessions that begin at `t` \[1/s\].
    pub fn rate(&self, t: Timestamp) -> f64 {
        self.piece(t, &mut Known::nothing()).at(t)
    }

    /// Mean rate from `from` to `to` \[1/s\]; the rate at `from` when there is no time between.
    pub fn mean_rate(&self, from: Timestamp, to: Timestamp) -> f64 {
        self.sweep(from).mean_to(to)
    }

    /// The highest rate from `from` to `to` \[1/s\].
    pub fn max_rate(&self, from: Timestamp, to: Timestamp) -> f64 {
        let mut sweep = self.sweep(from);
        let mut highest = sweep.piece.at(from);
        loop {
            let end = sweep.piece.until.min(to);
            highest = highest.max(sweep.piece.at(end)).max(sweep.piece.at(sweep.at));
            if end >= to {
                return highest;
            }
            sweep.turn();
        }
    }

    /// A walk along the curve from `from` on.
    pub fn sweep(&self, from: Timestamp) -> Sweep {
        let mut known = Known::nothing();
        let piece = self.piece(from, &mut known);
        Sweep { curve: self.clone(), at: from, piece, known }
    }

    /// What the crowds alone make of the load at `t`.
    pub(super) fn crowd_factor(&self, t: Timestamp) -> f64 {
        self.0.crowds.iter().map(|crowd| crowd.segment(t).at(t)).product()
    }

    fn piece(&self, t: Timestamp, known: &mut Known) -> Segment {
        if !(known.shape.since <= t && t < known.shape.until) {
            known.shape = self.0.shape.segment(t);
        }
        let mut piece = known.shape;
        if let Some(noise) = &self.0.noise {
            piece = piece.times(&noise.segment(t, &mut known.levels));
        }
        for crowd in &self.0.crowds {
            piece = piece.times(&crowd.segment(t));
        }
        piece
    }
}

/// A walk forward along a [`RateCurve`], which keeps what it will need again.
#[derive(Clone, Debug)]
pub struct Sweep {
    curve: RateCurve,
    at: Timestamp,
    pub(super) piece: Segment,
    known: Known,
}

/// What has been worked out and may be of use again.
#[derive(Clone, Debug)]
struct Known {
    shape: Segment,
    levels: Levels,
}

impl Known {
    fn nothing() -> Self {
        Known { shape: Segment::flat(Timestamp::EPOCH, Timestamp::EPOCH, 0.0), levels: Levels::unknown() }
    }
}

impl Sweep {
    /// Where the walk is.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Walks on to `to` and returns how many sessions are expected to begin on the way. Never walks back.
    pub fn expected_to(&mut self, to: Timestamp) -> f64 {
        let mut area = 0.0;
        while to >= self.piece.until && self.piece.until < Timestamp::MAX {
            area += self.piece.area(self.at, self.piece.until);
            self.turn();
        }
        if to > self.at {
            area += self.piece.area(self.at, to);
            self.at = to;
        }
        area
    }

    /// Walks on to `to` and returns the mean rate on the way \[1/s\]; the rate here when there is no way.
    pub fn mean_to(&mut self, to: Timestamp) -> f64 {
        if to < self.piece.until {
            // On one straight piece, as mostly, the mean is the value halfway.
            let mean = self.piece.mean(self.at, to.max(self.at));
            self.at = to.max(self.at);
            return mean;
        }
        let span = to.since(self.at);
        if span == Duration::ZERO { self.piece.at(self.at) } else { self.expected_to(to) / span.as_secs_f64() }
    }

    /// Walks to the begin of the next piece.
    pub(super) fn turn(&mut self) {
        self.at = self.piece.until;
        self.piece = self.curve.piece(self.at, &mut self.known);
    }
}
