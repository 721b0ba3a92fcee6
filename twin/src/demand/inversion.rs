//! From queries and exposure to requests, over as many windows as it takes.

use forebay_world::Observation;

use super::ClientRequests;

/// The estimator: what the last windows said of each client region × class.
///
/// Queries over exposure, both fading: slowly where queries are few, within a window where they are many, so that a
/// rate rests on some hundreds of them and follows the day as closely as they allow. That a rate moves while the
/// shares of resolvers hardly do is why the shares may be learned over hours (in the meter) and the rate over minutes
/// (here).
#[derive(Clone, Debug)]
pub struct Inversion {
    /// Dense over client cells.
    cells: Vec<Past>,
}

/// What fades.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    queries: f64,
    /// Sum of squared weights of the queries.
    squared: f64,
    /// \[s\]
    exposure: f64,
    /// \[s\]
    watched: f64,
    relative_variance: f64,
    caches: u32,
    seen: bool,
}

/// Queries that a rate shall rest on.
const QUERIES: f64 = 500.0;
/// Time constant of forgetting at most \[s\].
const MEMORY_SECONDS: f64 = 3600.0;

impl Inversion {
    /// An estimator that has seen nothing.
    pub fn new(cells: usize) -> Self {
        Inversion { cells: vec![Past::default(); cells] }
    }

    /// Takes in a window. Cells that were not heard from stay as they are.
    pub fn take(&mut self, seen: &Observation) {
        let window = seen.window.as_secs_f64();
        for (past, demand) in self.cells.iter_mut().zip(&seen.demand) {
            past.seen = false;
            let Some((demand, exposure)) = demand.as_ref().and_then(|demand| Some((demand, demand.exposure?))) else {
                continue;
            };
            if exposure.seconds <= 0.0 || window <= 0.0 {
                continue;
            }
            // Decided by the past alone: a window with many queries must not weigh more for it.
            let expected = if past.exposure > 0.0 { past.queries / past.exposure * exposure.seconds } else { 0.0 };
            let fade = (1.0 - expected / QUERIES).clamp(0.0, (-window / MEMORY_SECONDS).exp());
            past.queries = past.queries * fade + demand.queries as f64;
            past.squared = past.squared * fade * fade + demand.queries as f64;
            past.exposure = past.exposure * fade + exposure.seconds;
            past.watched = past.watched * fade + window;
            past.relative_variance = exposure.relative_variance;
            past.caches = exposure.caches;
            past.seen = true;
        }
    }

    /// The requests of a client cell; `None` when the last window had nothing to say of them.
    pub fn requests(&self, cell: usize) -> Option<ClientRequests> {
        let past = self.cells.get(cell).filter(|past| past.seen)?;
        let chance = if past.queries > 0.0 { past.squared / past.queries.powi(2) } else { 0.0 };
        let variance = chance + past.relative_variance;
        Some(ClientRequests::new(past.queries, past.exposure, past.watched, variance, past.caches))
    }
}
