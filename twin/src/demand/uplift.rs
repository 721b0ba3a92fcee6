//! What events bring: the factor that an event of a kind puts on usual demand, learned from past events.
//!
//! The logarithm of a factor is taken to be normal around the mean of its kind, and the means of the kinds around one of
//! all, with the operator's expectation as prior (a conjugate hierarchy; A. Gelman et al., *Bayesian Data Analysis*,
//! 3rd ed., sections 3.3 and 5.4). So a kind that was never seen is told by the others, one that was seen once is told
//! half by itself, and one that was seen often by itself alone. Announcers are believed as far as their words have been
//! true before ([`Uplifts::expect`]).
//!
//! Not here: which demand is an event's ([`history`] for the past, the policy for a run).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

pub mod history;

/// Factors that are believed of any event.
pub const BOUNDS: RangeInclusive<f64> = 0.5..=20.0;

/// Events that the operator's expectation weighs as much as.
const PRIOR_EVENTS: f64 = 1.0;
/// Events of a kind that what all kinds have in common weighs as much as.
const KIND_EVENTS: f64 = 1.0;
/// How far events of a kind are expected to lie apart: standard deviation of the factor's logarithm …
const SPREAD: f64 = 0.35;
/// … and degrees of freedom that this expectation is worth.
const SPREAD_EVENTS: f64 = 4.0;
/// How far announcers are expected to be off: standard deviation of the error's logarithm …
const WORD_SPREAD: f64 = 0.25;
/// … and announcements that this expectation is worth.
const WORD_EVENTS: f64 = 4.0;

/// Past events, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uplifts {
    kinds: BTreeMap<String, Tally>,
    /// Squared errors of announcers' logarithms, and how many.
    words: (f64, u32),
}

/// Logarithms of the factors of one kind (B. P. Welford, 1962).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    events: u32,
    mean: f64,
    /// Sum of squared deviations from the mean.
    scatter: f64,
}

/// What is believed of a coming event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    /// Mean of the factor's logarithm.
    pub log_mean: f64,
    /// Standard deviation of that mean: how well it is known.
    pub log_error: f64,
    /// Standard deviation of the logarithm of the next event's factor.
    pub log_spread: f64,
    /// Past events of the kind.
    pub events: u32,
}

impl Belief {
    /// The factor, as likely too low as too high, within [`BOUNDS`].
    pub fn factor(&self) -> f64 {
        bounded(self.log_mean.exp())
    }

    /// The factor that the next event exceeds as often as a normal value exceeds `z` standard deviations, within
    /// [`BOUNDS`].
    pub fn factor_at(&self, z: f64) -> f64 {
        bounded((self.log_mean + z * self.log_spread).exp())
    }
}

fn bounded(factor: f64) -> f64 {
    factor.clamp(*BOUNDS.start(), *BOUNDS.end())
}

impl Uplifts {
    /// Learns from an event that is over: most during it ÷ most that was usual, and what its announcer had said of that. A
    /// factor that is not a positive number teaches nothing. Kinds are told apart without regard to case.
    pub fn learn(&mut self, kind: &str, factor: f64, announced: Option<f64>) {
        if !(factor.is_finite() && factor > 0.0) {
            return;
        }
        let log = factor.ln();
        let tally = self.kinds.entry(kind.to_lowercase()).or_default();
        tally.events += 1;
        let off = log - tally.mean;
        tally.mean += off / f64::from(tally.events);
        tally.scatter += off * (log - tally.mean);
        if let Some(word) = announced.filter(|word| word.is_finite() && *word > 0.0) {
            self.words.0 += (log - bounded(word).ln()).powi(2);
            self.words.1 += 1;
        }
    }

    /// Past events of a kind.
    pub fn events(&self, kind: &str) -> u32 {
        self.kinds.get(&kind.to_lowercase()).map_or(0, |tally| tally.events)
    }

    /// The kinds of past events, ascending.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// What the past says of a coming event of a kind, where the operator expects factor `usual` of any.
    pub fn believe(&self, kind: &str, usual: f64) -> Belief {
        let prior = bounded(usual).ln();
        // The mean of a kind scatters around that of all as much as KIND_EVENTS events scatter around it.
        let weight = |tally: &Tally| {
            let events = f64::from(tally.events);
            events * KIND_EVENTS / (events + KIND_EVENTS)
        };
        let (mut precision, mut sum) = (PRIOR_EVENTS, PRIOR_EVENTS * prior);
        let (mut events, mut scatter) = (0.0, PRIOR_EVENTS * prior * prior);
        for tally in self.kinds.values() {
            let weight = weight(tally);
            precision += weight;
            sum += weight * tally.mean;
            events += f64::from(tally.events);
            scatter += tally.scatter + weight * tally.mean * tally.mean;
        }
        let common = sum / precision;
        // Inverse gamma: what is expected, and what the events have shown around where they are now thought to be.
        let shown = (scatter - precision * common * common).max(0.0);
        let variance = (SPREAD_EVENTS * SPREAD * SPREAD + shown) / (SPREAD_EVENTS + events);
        let tally = self.kinds.get(&kind.to_lowercase()).copied().unwrap_or_default();
        let own = f64::from(tally.events);
        let log_mean = (KIND_EVENTS * common + own * tally.mean) / (KIND_EVENTS + own);
        let lent = KIND_EVENTS / (KIND_EVENTS + own);
        let known_to = variance * (1.0 / (KIND_EVENTS + own) + lent * lent / precision);
        Belief { log_mean, log_error: known_to.sqrt(), log_spread: (variance + known_to).sqrt(), events: tally.events }
    }

    /// As [`Uplifts::believe`], with what the event's announcer says.
    ///
    /// Where no event of the kind has been seen, his word is taken. Afterwards word and past are weighed by their
    /// precisions: the past's by how far its events lie apart, the word's by how far words have been off.
    pub fn expect(&self, kind: &str, announced: Option<f64>, usual: f64) -> Belief {
        let past = self.believe(kind, usual);
        let Some(word) = announced.filter(|word| word.is_finite() && *word > 0.0).map(|word| bounded(word).ln()) else {
            return past;
        };
        let (errors, words) = self.words;
        let word_variance = (WORD_EVENTS * WORD_SPREAD * WORD_SPREAD + errors) / (WORD_EVENTS + f64::from(words));
        if past.events == 0 {
            let spread = word_variance.sqrt();
            return Belief { log_mean: word, log_error: spread, log_spread: spread, events: 0 };
        }
        let (of_past, of_word) = (past.log_spread.powi(-2), word_variance.recip());
        let precision = of_past + of_word;
        Belief {
            log_mean: (of_past * past.log_mean + of_word * word) / precision,
            log_error: past.log_error * of_past / precision,
            log_spread: precision.recip().sqrt(),
            events: past.events,
        }
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrix, DVector};
    use proptest::prelude::*;

    use super::*;

    fn taught(events: &[(&str, f64)]) -> Uplifts {
        let mut uplifts = Uplifts::default();
        events.iter().for_each(|(kind, factor)| uplifts.learn(kind, *factor, None));
        uplifts
    }

    #[test]
    fn with_nothing_seen_the_operator_s_expectation_stands() {
        let belief = Uplifts::default().believe("football", 1.5);
        assert!((belief.factor() - 1.5).abs() < 1e-12);
        // The spread of events, that of their kind, and that of all kinds, as much each.
        assert!((belief.log_spread - SPREAD * 3f64.sqrt()).abs() < 1e-12);
        assert!((Uplifts::default().believe("x", 0.0).factor() - 0.5).abs() < 1e-9);
        assert!((Uplifts::default().believe("x", 1e9).factor() - 20.0).abs() < 1e-9);
    }

    #[test]
    fn a_kind_comes_to_speak_for_itself_and_others_speak_for_one_unseen() {
        let once = taught(&[("football", 3.0)]).believe("football", 1.5).factor();
        let often = taught(&[("football", 3.0); 20]).believe("football", 1.5).factor();
        assert!(1.5 < once && once < often && often < 3.0 && often > 2.9, "{once} {often}");
        let other = taught(&[("football", 3.0); 20]).believe("release", 1.5);
        assert!(1.5 < other.factor() && other.factor() < 3.0 && other.events == 0);
        assert!(other.log_spread > taught(&[("football", 3.0); 20]).believe("FootBall", 1.5).log_spread);
        let none = taught(&[("x", f64::NAN), ("x", 0.0), ("x", -1.0), ("x", f64::INFINITY)]);
        assert_eq!(none, Uplifts::default());
    }

    #[test]
    fn a_word_is_taken_until_the_kind_is_known_and_weighed_from_then_on() {
        let nothing = Uplifts::default();
        assert!((nothing.expect("football", Some(7.0), 1.5).factor() - 7.0).abs() < 1e-9);
        assert_eq!(nothing.expect("football", Some(f64::NAN), 1.5), nothing.believe("football", 1.5));
        assert!((nothing.expect("football", Some(1e6), 1.5).factor() - 20.0).abs() < 1e-9);
        let mut boasted = Uplifts::default();
        (0..12).for_each(|_| boasted.learn("football", 1.4, Some(8.0)));
        let weighed = boasted.expect("football", Some(8.0), 1.5).factor();
        assert!(weighed < 1.6, "{weighed}: he said so twelve times");
        let mut kept = Uplifts::default();
        [1.5, 4.0, 2.0, 6.0, 1.2, 5.0].iter().for_each(|factor| kept.learn("football", *factor, Some(*factor)));
        let trusted = kept.expect("football", Some(6.0), 1.5).factor();
        assert!(trusted > 5.0, "{trusted}: his words came true where the past is wide");
    }

    /// The means and variances of the hierarchy against what conditioning one multivariate normal gives, with the variance
    /// that the model arrives at.
    fn conditioned(events: &[(usize, f64)], kinds: usize, prior: f64, variance: f64) -> Vec<(f64, f64)> {
        // Unknowns: the mean of all, then of each kind; then the events.
        let size = 1 + kinds + events.len();
        let mut covariance = DMatrix::zeros(size, size);
        let (all, kind) = (variance / PRIOR_EVENTS, variance / KIND_EVENTS);
        let of = |index: usize| match index {
            0 => None,
            index if index <= kinds => Some(index - 1),
            index => Some(events[index - 1 - kinds].0),
        };
        for row in 0..size {
            for column in 0..size {
                let mut value = all;
                if of(row).is_some() && of(row) == of(column) {
                    value += kind;
                }
                if row == column && row > kinds {
                    value += variance;
                }
                covariance[(row, column)] = value;
            }
        }
        let hidden = 1 + kinds;
        let seen = covariance.view((hidden, hidden), (events.len(), events.len())).clone_owned();
        let cross = covariance.view((0, hidden), (hidden, events.len())).clone_owned();
        let off = DVector::from_iterator(events.len(), events.iter().map(|(_, log)| log - prior));
        let gain = &cross * seen.try_inverse().unwrap();
        let mean = &gain * off;
        let left = covariance.view((0, 0), (hidden, hidden)).clone_owned() - gain * cross.transpose();
        (1..hidden).map(|index| (prior + mean[index], left[(index, index)])).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_belief_is_the_conditional_distribution(
            events in proptest::collection::vec((0usize..3, -0.6f64..2.5), 1..12),
            prior in 0.6f64..5.0,
        ) {
            let names = ["a", "b", "c"];
            let mut uplifts = Uplifts::default();
            events.iter().for_each(|(kind, log)| uplifts.learn(names[*kind], log.exp(), None));
            for (kind, name) in names.iter().enumerate() {
                let belief = uplifts.believe(name, prior);
                let variance = belief.log_spread.powi(2) - belief.log_error.powi(2);
                let (mean, left) = conditioned(&events, 3, prior.ln(), variance)[kind];
                prop_assert!((belief.log_mean - mean).abs() < 1e-9, "{} {mean}", belief.log_mean);
                prop_assert!((belief.log_error.powi(2) - left).abs() < 1e-9);
            }
        }

        #[test]
        fn what_is_believed_is_finite_and_bounded(
            events in proptest::collection::vec((0usize..3, 1e-300f64..1e300, proptest::option::of(-1e9f64..1e9)), 0..30),
            word in proptest::option::of(any::<f64>()),
            usual in 0.0f64..1e3,
        ) {
            let names = ["a", "b", "c"];
            let mut uplifts = Uplifts::default();
            events.iter().for_each(|(kind, factor, word)| uplifts.learn(names[*kind], *factor, *word));
            let belief = uplifts.expect("b", word, usual);
            prop_assert!(BOUNDS.contains(&belief.factor()) && belief.log_spread.is_finite() && belief.log_error.is_finite());
            prop_assert!(belief.factor_at(-1.0) <= belief.factor() && belief.factor() <= belief.factor_at(1.0));
        }
    }
}
