//! The load before a run began: what those who forecast may have learned from.

use forebay_world::{Duration, Timestamp};
use rand_distr::Poisson;

use super::RateCurve;
use crate::Stream;
use crate::setup::{Fidelity, Load, Setup};

/// Rates at which sessions began, in steps that end with the begin of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct PastRates {
    /// Begin of the first step.
    pub start: Timestamp,
    /// Length of a step.
    pub step: Duration,
    /// Mean rate in each step \[1/s\]: client region × class (dense), then step.
    pub sessions_per_second: Vec<Vec<f64>>,
}

/// The load of the last `span` before a run, in whole steps of `step`; of a recording no more than it holds. `None`
/// when that is not one step, and for logs of queries, which say too little about rates.
///
/// Recorded rates are what they are. A synthetic load's past follows the same law: in the fluid its rate, with sessions as
/// events counts of them by chance (Poisson), from a stream of their own. Crowds and faults of the run lie ahead and
/// show in none of it.
pub fn past_rates(setup: &Setup, span: Duration, step: Duration) -> Option<PastRates> {
    assert!(!step.is_zero(), "a step takes time");
    let recorded_from = |load: &Load| match load {
        Load::Series(series) => Some(Some(series.start)),
        Load::Queries(_) | Load::Told => None,
        Load::None | Load::Synthetic(_) => Some(None),
    };
    let mut from = setup.start.saturating_sub(span);
    for load in &setup.load {
        from = from.max(recorded_from(load)?.unwrap_or(Timestamp::EPOCH));
    }
    let steps = setup.start.since(from) / step;
    if steps == 0 {
        return None;
    }
    let start = setup.start.saturating_sub(step * steps);
    let before = Setup { crowds: Vec::new(), ..setup.clone() };
    let sessions_per_second = (0..setup.topology.cells())
        .map(|cell| {
            let mut sweep = RateCurve::new(&before, cell).sweep(start);
            let mut chance = Stream::new(setup.seed, "past sessions", cell as u64);
            let counted = matches!((setup.fidelity, &setup.load[cell]), (Fidelity::Session, Load::Synthetic(_)));
            (1..=steps)
                .map(|end| {
                    let rate = sweep.mean_to(start.saturating_add(step * end));
                    let expected = rate * step.as_secs_f64();
                    match Poisson::new(expected) {
                        Ok(law) if counted => chance.sample(law) / step.as_secs_f64(),
                        _ => rate,
                    }
                })
                .collect()
        })
        .collect();
    Some(PastRates { start, step, sessions_per_second })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::example;
    use crate::setup::RateSeries;

    #[test]
    fn a_recording_is_its_own_past_and_no_longer() {
        let mut setup = example::setup(2);
        let hour = Duration::from_hours(1);
        let series = RateSeries {
            start: setup.start.saturating_sub(hour * 5),
            step: hour,
            sessions_per_second: (0..10).map(f64::from).collect(),
        };
        setup.load = vec![Load::Series(Arc::new(series)); setup.topology.cells()];
        setup.crowds.clear();
        let past = past_rates(&setup, hour * 24, hour).unwrap();
        assert_eq!(
            (past.start, &past.sessions_per_second[0][..]),
            (setup.start.saturating_sub(hour * 5), &[0.0, 1.0, 2.0, 3.0, 4.0][..])
        );
        assert_eq!(past_rates(&setup, hour * 2, hour).unwrap().sessions_per_second[0], [3.0, 4.0]);
        assert_eq!(past_rates(&setup, Duration::from_mins(30), hour), None);
    }

    #[test]
    fn a_synthetic_past_has_the_mean_of_its_law() {
        let setup = example::setup(2);
        let day = Duration::from_hours(24);
        let past = |fidelity| {
            past_rates(&Setup { fidelity, ..setup.clone() }, day * 7, Duration::from_mins(5))
                .unwrap()
                .sessions_per_second
        };
        let (fluid, counted) = (past(Fidelity::Fluid(Duration::from_mins(1))), past(Fidelity::Session));
        for (rates, counts) in fluid.iter().zip(&counted) {
            let (expected, came) = (rates.iter().sum::<f64>() * 300.0, counts.iter().sum::<f64>() * 300.0);
            assert!((came - expected).abs() <= 4.5 * expected.sqrt(), "{came} of {expected}");
            assert!(expected == 0.0 || rates != counts);
        }
    }
}
