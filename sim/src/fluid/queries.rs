//! Expected queries, from which whole ones are counted when somebody looks.

use forebay_world::{Duration, Meter, QueryCount};

use crate::dns::Expected;

/// Queries expected by client cell and not counted yet.
#[derive(Clone, Debug)]
pub(super) struct ExpectedQueries(Vec<Expected>);

impl ExpectedQueries {
    pub(super) fn new(cells: usize) -> Self {
        ExpectedQueries(vec![Expected::default(); cells])
    }

    /// Adds what is expected of a cell at these rates in `seconds`.
    #[inline]
    pub(super) fn add(&mut self, cell: usize, expected: Expected, seconds: f64) {
        let rest = &mut self.0[cell];
        rest.queries += expected.queries * seconds;
        rest.gaps += expected.gaps * seconds;
        rest.gap_seconds += expected.gap_seconds * seconds;
    }

    /// Counts the whole ones; what is left over waits.
    pub(super) fn report(&mut self, meter: &mut Meter) {
        for (cell, rest) in self.0.iter_mut().enumerate() {
            // Casts cut off what is not whole.
            let (queries, gaps) = (rest.queries as u64, rest.gaps as u64);
            if queries > 0 {
                let gap_time = Duration::from_secs_f64_saturating(rest.gap_seconds);
                meter.record_count(cell, QueryCount { queries, gaps, gap_time });
                rest.queries -= queries as f64;
                rest.gaps -= gaps as f64;
                rest.gap_seconds = 0.0;
            }
        }
    }
}
