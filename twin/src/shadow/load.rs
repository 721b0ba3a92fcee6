//! What clients asked for in a window, as far as production shows it: the rate at which sessions began, with its error.
//!
//! From DNS by the inversion that the controller itself uses, or from the sessions that machines say they have.

use forebay_world::{Observation, Topology};

use crate::controller::config::DemandSource;
use crate::demand::Inversion;

/// Sessions that began in one client region × class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Rate \[1/s\].
    pub per_second: f64,
    /// Standard error of the rate \[1/s\].
    pub standard_error: f64,
    /// Sessions under way, if the rate had held for long.
    pub settled: f64,
}

/// Tells rates, window by window.
#[derive(Clone, Debug)]
pub struct ObservedLoad {
    /// `None` where sessions are counted.
    inversion: Option<Inversion>,
    /// Sessions at the end of the last window, where they are counted.
    sessions: Vec<Option<f64>>,
    /// Mean length of a session of each class \[s\].
    mean_seconds: Vec<f64>,
}

impl ObservedLoad {
    /// Nothing seen yet.
    pub fn new(topology: &Topology, source: DemandSource) -> ObservedLoad {
        ObservedLoad {
            inversion: (source == DemandSource::Dns).then(|| Inversion::new(topology.cells())),
            sessions: vec![None; topology.cells()],
            mean_seconds: topology.classes.iter().map(|class| class.work.mean_seconds().max(1e-9)).collect(),
        }
    }

    /// Takes in a window; rates by client cell, `None` where nothing was seen.
    pub fn take(&mut self, seen: &Observation) -> Vec<Option<Rate>> {
        let classes = self.mean_seconds.len();
        if let Some(inversion) = &mut self.inversion {
            inversion.take(seen);
            return (0..seen.demand.len())
                .map(|cell| {
                    seen.demand[cell].as_ref()?;
                    let requests = inversion.requests(cell)?;
                    // Of a saturated cell the lower bound is believed, as the controller does.
                    let per_second = if requests.saturated { requests.lower_bound } else { requests.per_second };
                    let settled = per_second * self.mean_seconds[cell % classes];
                    Some(Rate { per_second, standard_error: requests.standard_error, settled })
                })
                .collect();
        }
        let window = seen.window.as_secs_f64();
        (0..seen.demand.len())
            .map(|cell| {
                let Some(demand) = &seen.demand[cell] else {
                    self.sessions[cell] = None;
                    return None;
                };
                let (now, mean) = (demand.sessions.max(0.0), self.mean_seconds[cell % classes]);
                let before = self.sessions[cell].replace(now).unwrap_or(now);
                // What begins so that those of the begin, which end at rate 1/D, become those of the end (M/G/∞).
                let left = (-window / mean).exp();
                let settled = if left < 1.0 { ((now - before * left) / (1.0 - left)).max(0.0) } else { now };
                // A count of so many that began is a Poisson one.
                let per_second = settled / mean;
                let began = (per_second * window).max(1.0);
                Some(Rate { per_second, standard_error: per_second / began.sqrt(), settled: now })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::{Demand, Exposure, Timestamp};

    use super::*;
    use crate::small_world::{quiet, topology};

    #[test]
    fn sessions_that_stand_still_are_replaced_as_they_end() {
        let topology = topology(1);
        let mut load = ObservedLoad::new(&topology, DemandSource::Sessions);
        let mut seen = quiet(&topology, Timestamp::from_secs(60));
        seen.demand[0] = Some(Demand { sessions: 1200.0, ..Demand::default() });
        for _ in 0..3 {
            let rates = load.take(&seen);
            // Twenty minutes each.
            assert!((rates[0].unwrap().per_second - 1.0).abs() < 1e-9, "{rates:?}");
            assert_eq!(rates[1].unwrap().per_second, 0.0);
        }
        seen.demand[0] = None;
        assert_eq!(load.take(&seen)[0], None);
    }

    #[test]
    fn queries_tell_it_by_their_exposure_and_silence_tells_nothing() {
        let topology = topology(1);
        let mut load = ObservedLoad::new(&topology, DemandSource::Dns);
        let mut seen = quiet(&topology, Timestamp::from_secs(60));
        seen.demand[0].as_mut().unwrap().queries = 120;
        seen.demand[0].as_mut().unwrap().exposure = Some(Exposure { seconds: 40.0, relative_variance: 0.0, caches: 4 });
        let rate = load.take(&seen)[0].unwrap();
        assert!((rate.per_second - 3.0).abs() < 1e-9 && rate.standard_error > 0.1, "{rate:?}");
        assert_eq!(rate.settled, rate.per_second * 1200.0);
        seen.demand[0] = None;
        assert_eq!(load.take(&seen)[0], None);
    }
}
