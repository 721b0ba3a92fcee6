//! How much of the past counts: weights that fall with its age.

use crate::{Duration, Timestamp};

/// Exponential weights of moments, 1 at the begin of a window and more after it. When the window ends, all that was
/// weighed with them is multiplied by [`Fading::fade`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Fading {
    since: Timestamp,
}

/// Time constant \[s\]: resolvers keep answers for up to an hour, and a habit shows after a few.
const MEMORY_SECONDS: f64 = 4.0 * 3600.0;

impl Fading {
    pub(super) fn new(since: Timestamp) -> Self {
        Fading { since }
    }

    pub(super) fn since(self) -> Timestamp {
        self.since
    }

    /// Weight of a moment.
    pub(super) fn at(self, at: Timestamp) -> f64 {
        let age =
            if at >= self.since { at.since(self.since).as_secs_f64() } else { -self.since.since(at).as_secs_f64() };
        (age / MEMORY_SECONDS).exp()
    }

    /// Time between two moments of these weights \[s\].
    pub(super) fn between(from: f64, until: f64) -> f64 {
        MEMORY_SECONDS * (until - from)
    }

    /// The same with weights squared.
    pub(super) fn squared_between(from: f64, until: f64) -> f64 {
        0.5 * MEMORY_SECONDS * (until * until - from * from)
    }

    /// Factor between the weights of two moments that lie `span` apart, less one.
    pub(super) fn growth(span: f64) -> f64 {
        (span / MEMORY_SECONDS).exp_m1()
    }

    /// What the past is multiplied by when the window ends at `at`.
    pub(super) fn fade(self, at: Timestamp) -> f64 {
        (-at.since(self.since).as_secs_f64() / MEMORY_SECONDS).exp()
    }

    /// The moment `span` before `at`.
    pub(super) fn before(at: Timestamp, span: f64) -> Timestamp {
        Timestamp::EPOCH + at.since(Timestamp::EPOCH).saturating_sub(Duration::from_secs_f64_saturating(span))
    }
}
