//! Does a resolver keep answers longer than it may, and how long?
//!
//! Between the end of an answer's life and the next query for it lies Exp(λ) when the resolver honours the time to
//! live, and a constant plus Exp(λ) when it extends it. So the least gap tells the constant, and how close the least
//! lies to the mean tells whether there is one: the Bayes factor of the two, with 1/λ as prior of λ and a log-uniform
//! prior of the constant, is known in closed form. About one resolver in eleven extends ("TTL Violation of DNS
//! Resolvers in the Wild", PAM 2023).
//!
//! A query that comes while an answer is kept (a client that was sent to a machine that is gone) makes a gap that is
//! too short; the few least gaps are kept, so that one such does not hide the habit.

use crate::{Duration, Timestamp};

/// What the gaps after expiry of one resolver's caches in one cell say.
#[derive(Clone, Debug)]
pub(super) struct Habit {
    /// Gaps, faded …
    count: f64,
    /// … and their sum \[s\].
    sum: f64,
    /// The least gaps lately and before that \[s\], ascending.
    least: [[f64; LEAST]; 2],
    turned: Timestamp,
    /// Probability that it extends …
    extends: f64,
    /// … by how long \[s\].
    by: f64,
}

const LEAST: usize = 4;
/// Odds that a resolver extends, before anything is seen: 8.74 % (PAM 2023).
const PRIOR_ODDS: f64 = 0.0874 / (1.0 - 0.0874);
/// Natural logarithm of the range of extensions that are thought of: 1 s to 1 h.
const LOG_RANGE: f64 = 8.19;
/// Probability of a query although an answer is kept.
const STRAY: f64 = 0.02;
/// What was least is forgotten after once to twice this.
const TURN_EVERY: Duration = Duration::from_hours(12);

impl Default for Habit {
    fn default() -> Self {
        Habit {
            count: 0.0,
            sum: 0.0,
            least: [[f64::INFINITY; LEAST]; 2],
            turned: Timestamp::EPOCH,
            extends: 0.0,
            by: 0.0,
        }
    }
}

impl Habit {
    /// Probability that it extends.
    pub(super) fn extends(&self) -> f64 {
        self.extends
    }

    /// By how long \[s\], if it does.
    pub(super) fn by(&self) -> f64 {
        self.by
    }

    /// Gaps known of, faded.
    pub(super) fn count(&self) -> f64 {
        self.count
    }

    /// Takes in a gap \[s\].
    pub(super) fn take(&mut self, gap: f64) {
        self.count += 1.0;
        self.sum += gap;
        insert(&mut self.least[0], gap);
    }

    pub(super) fn fade(&mut self, fade: f64) {
        self.count *= fade;
        self.sum *= fade;
    }

    /// Forgets what was least long ago.
    pub(super) fn turn(&mut self, now: Timestamp) {
        if now.since(self.turned) >= TURN_EVERY {
            self.turned = now;
            self.least[1] = std::mem::replace(&mut self.least[0], [f64::INFINITY; LEAST]);
        }
    }

    /// Weighs the evidence anew.
    pub(super) fn judge(&mut self) {
        (self.extends, self.by) = (0.0, 0.0);
        if self.count < 1.5 || self.sum <= 0.0 {
            return;
        }
        let mut least = self.least[0];
        self.least[1].iter().for_each(|gap| insert(&mut least, *gap));
        let (mut odds, mut count, mut sum, mut stray) = (0.0, self.count, self.sum, 1.0);
        for by in least {
            if count < 1.5 || by <= 0.0 || !by.is_finite() || sum <= 0.0 {
                break;
            }
            let ratio = (count * by / sum).min(0.999_999);
            let factor = ((-(count - 1.0) * (-ratio).ln_1p()).exp_m1() / (ratio * (count - 1.0) * LOG_RANGE)).min(1e30);
            if factor * stray > odds {
                (odds, self.by) = (factor * stray, by);
            }
            // This one may have been a stray.
            (count, sum, stray) = (count - 1.0, sum - by, stray * STRAY);
        }
        odds *= PRIOR_ODDS;
        self.extends = odds / (1.0 + odds);
    }
}

/// Puts a value among the least, in order.
fn insert(least: &mut [f64; LEAST], mut value: f64) {
    for place in least {
        if value < *place {
            std::mem::swap(place, &mut value);
        }
    }
}
