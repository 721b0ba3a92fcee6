//! An observation in which sessions are not seen but told from DNS.

use forebay_world::{Demand, Observation, Topology};

use super::{ClientRequests, Inversion};

/// Puts what DNS tells in the place of arrivals and sessions.
///
/// A session begins with one look-up, so requests are arrivals; with exponential lengths the sessions under way relax
/// towards arrival rate × mean length (Little 1961). Of a saturated cell the lower bound is believed. What only
/// telemetry of sessions would say (processors, bandwidth, objective, those turned away) is not known.
#[derive(Clone, Debug)]
pub struct Resolved {
    inversion: Inversion,
    /// Sessions under way, dense over client cells; `None` before anything was seen.
    sessions: Vec<Option<f64>>,
    /// Mean length of a session of each class \[s\].
    mean_seconds: Vec<f64>,
}

impl Resolved {
    /// Nothing seen yet.
    pub fn new(topology: &Topology) -> Self {
        Resolved {
            inversion: Inversion::new(topology.cells()),
            sessions: vec![None; topology.cells()],
            mean_seconds: topology.classes.iter().map(|class| class.work.mean_seconds()).collect(),
        }
    }

    /// The observation as DNS alone tells it.
    pub fn observe(&mut self, seen: &Observation) -> Observation {
        self.inversion.take(seen);
        let window = seen.window.as_secs_f64();
        let mut resolved = seen.clone();
        for (cell, demand) in resolved.demand.iter_mut().enumerate() {
            let mean = self.mean_seconds[cell % self.mean_seconds.len()].max(1e-9);
            let rate = self.inversion.requests(cell).map(|requests| believed(&requests));
            let sessions = &mut self.sessions[cell];
            if let Some(rate) = rate {
                let full = rate * mean;
                let left = (-window / mean).exp();
                *sessions = Some(sessions.map_or(full, |sessions| full + (sessions - full) * left));
            }
            *demand = match (demand.take(), rate, *sessions) {
                (Some(demand), Some(rate), Some(sessions)) => Some(Demand {
                    queries: demand.queries,
                    exposure: demand.exposure,
                    arrivals: (rate * window).round() as u64,
                    sessions,
                    ..Demand::default()
                }),
                _ => None,
            };
        }
        resolved
    }

    /// The requests of a client cell; `None` when the last window had nothing to say of them.
    pub fn requests(&self, cell: usize) -> Option<ClientRequests> {
        self.inversion.requests(cell)
    }
}

fn believed(requests: &ClientRequests) -> f64 {
    if requests.saturated { requests.lower_bound } else { requests.per_second }
}
