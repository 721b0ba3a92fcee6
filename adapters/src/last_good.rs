//! The last good of what is read again and again: a feed, a database. A newer one that cannot be had does not take its
//! place, and what is used meanwhile is never silently old.
//!
//! Not for how to read: whoever reads says what came of it, and when.

use forebay_world::Timestamp;

/// A value, where it comes from, since when it is good, and why the newest could not be had.
#[derive(Clone, Debug)]
pub struct LastGood<T> {
    source: String,
    good: Option<Good<T>>,
    failure: Option<Failure>,
}

#[derive(Clone, Debug)]
struct Good<T> {
    value: T,
    /// When it was taken.
    since: Timestamp,
    /// When it was last found to be the newest.
    confirmed: Timestamp,
}

#[derive(Clone, Debug)]
struct Failure {
    /// The first failure since the last success.
    since: Timestamp,
    why: String,
    attempts: u64,
}

/// How good what there is is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Nobody has tried yet.
    Untried,
    /// It is the newest.
    Fresh {
        /// Since when.
        since: Timestamp,
    },
    /// It is the last good; a newer one could not be had.
    Stale {
        /// When it was last known to be the newest.
        since: Timestamp,
        /// Why.
        why: String,
        /// Attempts in vain.
        attempts: u64,
    },
    /// There never was one.
    Missing {
        /// The first attempt.
        since: Timestamp,
        /// Why.
        why: String,
        /// Attempts in vain.
        attempts: u64,
    },
}

impl<T> LastGood<T> {
    /// Nothing yet of what `source` names.
    pub fn new(source: impl Into<String>) -> LastGood<T> {
        LastGood { source: source.into(), good: None, failure: None }
    }

    /// Where it comes from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Takes what came of an attempt at `at`: a newer value takes the place of the last good, an error leaves it. Whether
    /// the value is new is what comes back.
    pub fn take<E: std::fmt::Display>(&mut self, at: Timestamp, came: Result<T, E>) -> bool {
        match came {
            Ok(value) => {
                self.good = Some(Good { value, since: at, confirmed: at });
                self.failure = None;
                true
            }
            Err(error) => {
                let before = self.failure.take();
                let (since, attempts) = before.map_or((at, 0), |before| (before.since, before.attempts));
                self.failure = Some(Failure { since, why: error.to_string(), attempts: attempts + 1 });
                false
            }
        }
    }

    /// Notes that the last good was found to be the newest at `at`.
    ///
    /// # Panics
    /// When there is none: nothing can be confirmed.
    pub fn confirm(&mut self, at: Timestamp) {
        let good = self.good.as_mut().expect("what is confirmed is there");
        good.confirmed = at;
        self.failure = None;
    }

    /// The last good.
    pub fn value(&self) -> Option<&T> {
        self.good.as_ref().map(|good| &good.value)
    }

    /// The last good.
    pub fn value_mut(&mut self) -> Option<&mut T> {
        self.good.as_mut().map(|good| &mut good.value)
    }

    /// How good it is.
    pub fn freshness(&self) -> Freshness {
        match (&self.good, &self.failure) {
            (None, None) => Freshness::Untried,
            (Some(good), None) => Freshness::Fresh { since: good.since },
            (Some(good), Some(failure)) => {
                Freshness::Stale { since: good.confirmed, why: failure.why.clone(), attempts: failure.attempts }
            }
            (None, Some(failure)) => {
                Freshness::Missing { since: failure.since, why: failure.why.clone(), attempts: failure.attempts }
            }
        }
    }
}

impl Freshness {
    /// Whether what there is, is the newest.
    pub fn is_fresh(&self) -> bool {
        matches!(self, Freshness::Fresh { .. })
    }
}

impl std::fmt::Display for Freshness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Freshness::Untried => write!(f, "not read yet"),
            Freshness::Fresh { since } => write!(f, "fresh, as read at {since}"),
            Freshness::Stale { since, why, attempts } => {
                write!(f, "stale: last good of {since} kept; {attempts} attempts in vain, the last: {why}")
            }
            Freshness::Missing { since, why, attempts } => {
                write!(f, "missing since {since}; {attempts} attempts in vain, the last: {why}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_never_takes_the_place_of_what_is_good() {
        let at = Timestamp::from_secs;
        let mut kept: LastGood<u32> = LastGood::new("feed");
        assert_eq!((kept.freshness(), kept.value()), (Freshness::Untried, None));
        kept.take(at(1), Err("no route"));
        kept.take(at(2), Err("still none"));
        let missing = Freshness::Missing { since: at(1), why: "still none".into(), attempts: 2 };
        assert_eq!((kept.freshness(), kept.value()), (missing, None));
        assert!(kept.take(at(3), Ok::<_, String>(7)));
        assert_eq!((kept.freshness(), kept.value()), (Freshness::Fresh { since: at(3) }, Some(&7)));
        kept.confirm(at(5));
        assert!(!kept.take(at(6), Err("broken")));
        let stale = Freshness::Stale { since: at(5), why: "broken".into(), attempts: 1 };
        assert_eq!((kept.freshness(), kept.value()), (stale.clone(), Some(&7)));
        assert!(stale.to_string().contains("last good of 1970-01-01T00:00:05Z kept") && !stale.is_fresh());
        kept.confirm(at(7));
        assert!(kept.freshness().is_fresh());
        assert!(kept.take(at(8), Ok::<_, String>(9)) && kept.value() == Some(&9));
    }
}
