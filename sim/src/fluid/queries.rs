//! Expected queries, and the exposure they had, counted when somebody looks: queries as whole numbers.

use forebay_world::{Exposure, Meter, QueryCount};

/// Queries expected by client cell and not counted yet.
#[derive(Clone, Debug)]
pub(super) struct ExpectedQueries(Vec<Rest>);

#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    queries: f64,
    exposure_seconds: f64,
    caches: u32,
}

impl ExpectedQueries {
    pub(super) fn new(cells: usize) -> Self {
        ExpectedQueries(vec![Rest::default(); cells])
    }

    /// Adds the queries that are expected of a cell whose clients ask at `rate` \[1/s\].
    #[inline]
    pub(super) fn add(&mut self, cell: usize, queries: f64, rate: f64, caches: u32) {
        let rest = &mut self.0[cell];
        rest.queries += queries;
        if rate > 0.0 {
            // Requests show for as long as makes of their rate the queries that come.
            rest.exposure_seconds += queries / rate;
            rest.caches = caches;
        }
    }

    /// Counts the whole ones; what is left over waits.
    pub(super) fn report(&mut self, meter: &mut Meter) {
        for (cell, rest) in self.0.iter_mut().enumerate() {
            // The cast cuts off what is not whole.
            let queries = rest.queries as u64;
            let exposure = (rest.exposure_seconds > 0.0).then_some(Exposure {
                seconds: rest.exposure_seconds,
                relative_variance: 0.0,
                caches: rest.caches,
            });
            if queries > 0 || exposure.is_some() {
                meter.record_count(cell, QueryCount { queries, exposure });
                rest.queries -= queries as f64;
                rest.exposure_seconds = 0.0;
            }
        }
    }
}
