//! Straight pieces of a curve over time.

use forebay_world::Timestamp;

/// A value that changes linearly from `since` to `until`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    /// Value at `since`.
    pub(super) from: f64,
    /// Limit of the value towards `until`.
    pub(super) to: f64,
}

impl Segment {
    /// The same value from `since` to `until`.
    pub(super) fn flat(since: Timestamp, until: Timestamp, value: f64) -> Self {
        Segment { since, until, from: value, to: value }
    }

    /// Length \[s\].
    pub(super) fn seconds(&self) -> f64 {
        self.until.since(self.since).as_secs_f64()
    }

    /// Value at `t`, which lies within.
    #[inline]
    pub(super) fn at(&self, t: Timestamp) -> f64 {
        if self.from == self.to || t == self.since {
            return self.from;
        }
        if t == self.until {
            return self.to;
        }
        let part = t.since(self.since).as_nanos() as f64 / self.until.since(self.since).as_nanos() as f64;
        self.from + (self.to - self.from) * part
    }

    /// Mean from `from` to `to`, which lie within; the value there when they are the same.
    #[inline]
    pub(super) fn mean(&self, from: Timestamp, to: Timestamp) -> f64 {
        if self.from == self.to {
            return self.from;
        }
        // Spans within a piece that changes are far from 292 years: the sum fits.
        let twice_part = (from.since(self.since).as_nanos() + to.since(self.since).as_nanos()) as f64
            / self.until.since(self.since).as_nanos() as f64;
        self.from + (self.to - self.from) * (0.5 * twice_part)
    }

    /// Integral from `from` to `to`, which lie within [value · s].
    #[inline]
    pub(super) fn area(&self, from: Timestamp, to: Timestamp) -> f64 {
        let mean = match () {
            () if self.from == self.to => self.from,
            () if from == self.since && to == self.until => 0.5 * (self.from + self.to),
            () => 0.5 * (self.at(from) + self.at(to)),
        };
        mean * to.since(from).as_secs_f64()
    }

    /// The part that lies in `[since, until)`.
    pub(super) fn clip(&self, since: Timestamp, until: Timestamp) -> Self {
        let (since, until) = (since.max(self.since), until.min(self.until));
        Segment { since, until, from: self.at(since), to: self.at(until) }
    }

    /// The product with another segment, where both are: its ends are exact, and it is straight between.
    pub(super) fn times(&self, other: &Segment) -> Self {
        let (since, until) = (self.since.max(other.since), self.until.min(other.until));
        Segment { since, until, from: self.at(since) * other.at(since), to: self.at(until) * other.at(until) }
    }
}
