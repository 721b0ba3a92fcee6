//! Flash crowds: a factor on the load that ramps up, holds and decays.

use forebay_world::{Duration, Timestamp};
use rand_distr::StandardNormal;

use super::segment::Segment;
use crate::Stream;
use crate::setup::{FlashCrowd, Setup};

/// Straight pieces that a ramp, and each time constant of a decay, is cut into. A chord of the decay is off by at most
/// 1/8192 of the crowd at its begin.
const PIECES: u64 = 32;
/// A crowd is over after this many time constants: a ten-millionth of it is left.
const TIME_CONSTANTS: u64 = 16;

/// One crowd as a seed made it.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    begin: Timestamp,
    full: Timestamp,
    fades: Timestamp,
    over: Timestamp,
    decay: Duration,
    factor: f64,
}

impl Crowd {
    /// The crowds of one cell. A crowd begins at a normally distributed time around the set one, and is
    /// log-normally larger or smaller than set (the set factor is the median), alike in all its cells.
    pub(super) fn of_cell(setup: &Setup, cell: usize) -> Vec<Self> {
        let crowds = setup.crowds.iter().enumerate();
        crowds
            .filter(|(_, crowd)| crowd.cells.contains(&cell))
            .map(|(i, crowd)| Self::new(crowd, setup.seed, i))
            .collect()
    }

    fn new(crowd: &FlashCrowd, seed: u64, index: usize) -> Self {
        assert!(crowd.factor.is_finite() && crowd.factor >= 0.0, "a factor on a rate is not negative");
        let mut chance = Stream::new(seed, "flash crowd", index as u64);
        let shift: f64 = chance.sample(StandardNormal);
        let size: f64 = chance.sample(StandardNormal);
        let by = crowd.jitter.mul_f64(shift.abs());
        let begin = if shift < 0.0 { crowd.at.saturating_sub(by) } else { crowd.at.saturating_add(by) };
        let full = begin.saturating_add(crowd.ramp);
        let fades = full.saturating_add(crowd.hold);
        Crowd {
            begin,
            full,
            fades,
            over: fades.saturating_add(crowd.decay * TIME_CONSTANTS),
            decay: crowd.decay,
            factor: crowd.factor * (crowd.factor_sigma * size).exp(),
        }
    }

    /// The factor around `t`.
    pub(super) fn segment(&self, t: Timestamp) -> Segment {
        if t < self.begin {
            Segment::flat(Timestamp::EPOCH, self.begin, 1.0)
        } else if t < self.full {
            let ramp = self.full.since(self.begin);
            let factor = |t: Timestamp| {
                1.0 + (self.factor - 1.0) * (t.since(self.begin).as_nanos() as f64 / ramp.as_nanos() as f64)
            };
            piece(t, self.begin, self.full, ramp / PIECES, factor)
        } else if t < self.fades {
            Segment::flat(self.full, self.fades, self.factor)
        } else if t < self.over {
            let factor = |t: Timestamp| {
                1.0 + (self.factor - 1.0)
                    * (-(t.since(self.fades).as_nanos() as f64 / self.decay.as_nanos() as f64)).exp()
            };
            piece(t, self.fades, self.over, self.decay / PIECES, factor)
        } else {
            Segment::flat(self.over, Timestamp::MAX, 1.0)
        }
    }
}

/// The piece around `t` of a curve from `begin` to `end` that is cut at multiples of `length`.
fn piece(t: Timestamp, begin: Timestamp, end: Timestamp, length: Duration, f: impl Fn(Timestamp) -> f64) -> Segment {
    let length = length.max(Duration::from_nanos(1));
    let since = begin.saturating_add(length * (t.since(begin) / length));
    let until = since.saturating_add(length).min(end);
    Segment { since, until, from: f(since), to: f(until) }
}
