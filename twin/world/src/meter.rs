//! Where the two worlds meet: DNS queries folded into windows.
//!
//! The simulator and the live feeds fill the same meter; from here on nobody can tell whence a query came. Beside
//! counts it keeps what the demand estimator needs: the gaps between the end of a cached answer's life and the next
//! query for the same name by the same resolver. With Poisson requests at rate λ those gaps are exponential with
//! mean 1/λ (J. Jung, A. Berger, H. Balakrishnan, "Modeling TTL-based Internet Caches", INFOCOM 2003).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::{Duration, Timestamp};

/// One query that reached an authoritative server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuerySample {
    /// When it arrived.
    pub at: Timestamp,
    /// Client region × class, dense (see [`crate::Topology::cell`]).
    pub cell: u32,
    /// Who keeps the answer: a resolver, or a resolver and client subnet; any stable number.
    pub cache: u64,
    /// The name asked for; any stable number.
    pub name: u32,
    /// How long the answer may be kept.
    pub ttl: Duration,
}

/// What a meter counted for one cell in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryCount {
    /// Queries.
    pub queries: u64,
    /// Gaps after expiry that ended in this window.
    pub gaps: u64,
    /// Sum of those gaps.
    pub gap_time: Duration,
}

/// Counts queries per cell, and the gaps after expiry.
#[derive(Clone, Debug)]
pub struct Meter {
    counts: Vec<QueryCount>,
    /// End of life of the newest answer to each (cache, name, cell).
    expiries: HashMap<(u64, u64), Timestamp, BuildHasherDefault<MixHasher>>,
    forgotten: Timestamp,
}

/// An answer that was not asked for again within this time after it expired says nothing about a rate worth serving.
const MEMORY: Duration = Duration::from_hours(6);

impl Meter {
    /// A meter of `cells` cells.
    pub fn new(cells: usize) -> Self {
        Meter { counts: vec![QueryCount::default(); cells], expiries: HashMap::default(), forgotten: Timestamp::EPOCH }
    }

    /// Takes one query in. Samples may come slightly out of order; a gap is never negative.
    pub fn record(&mut self, sample: QuerySample) {
        let count = &mut self.counts[sample.cell as usize];
        count.queries += 1;
        let key = (sample.cache, u64::from(sample.name) << 32 | u64::from(sample.cell));
        let expiry = sample.at.saturating_add(sample.ttl);
        if let Some(before) = self.expiries.insert(key, expiry)
            && sample.at >= before
        {
            count.gaps += 1;
            count.gap_time += sample.at.since(before);
        }
    }

    /// Takes a number of queries in of which only the count is known (a fluid model, an aggregated feed).
    pub fn record_count(&mut self, cell: usize, count: QueryCount) {
        let into = &mut self.counts[cell];
        into.queries += count.queries;
        into.gaps += count.gaps;
        into.gap_time += count.gap_time;
    }

    /// Closes the window at `at` and returns its counts, dense over cells.
    pub fn close(&mut self, at: Timestamp) -> Vec<QueryCount> {
        if at.since(self.forgotten) >= MEMORY {
            self.forgotten = at;
            self.expiries.retain(|_, expiry| at.since(*expiry) < MEMORY);
        }
        let cells = self.counts.len();
        std::mem::replace(&mut self.counts, vec![QueryCount::default(); cells])
    }
}

/// A fast, fixed hash for keys that are already numbers: `SplitMix64`'s finaliser. Fixed, so that two runs of one
/// seed do the same work; the map is never iterated where order could show.
#[derive(Clone, Debug, Default)]
struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mut z = (self.0 ^ value).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = z ^ (z >> 31);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, cache: u64) -> QuerySample {
        QuerySample { at: Timestamp::from_secs(seconds), cell: 0, cache, name: 0, ttl: Duration::from_secs(20) }
    }

    #[test]
    fn gaps_are_counted_from_expiry_and_per_resolver() {
        let mut meter = Meter::new(1);
        meter.record(sample(0, 1));
        meter.record(sample(5, 2));
        meter.record(sample(27, 1));
        let counts = meter.close(Timestamp::from_secs(60));
        assert_eq!(counts, [QueryCount { queries: 3, gaps: 1, gap_time: Duration::from_secs(7) }]);
        assert_eq!(meter.close(Timestamp::from_secs(120)), [QueryCount::default()]);
    }

    #[test]
    fn an_early_query_is_counted_but_makes_no_gap() {
        let mut meter = Meter::new(1);
        meter.record(sample(0, 1));
        meter.record(sample(10, 1));
        assert_eq!(meter.close(Timestamp::from_secs(60))[0], QueryCount { queries: 2, ..QueryCount::default() });
    }

    #[test]
    fn what_has_long_expired_is_forgotten() {
        let mut meter = Meter::new(1);
        meter.record(sample(0, 1));
        meter.close(Timestamp::from_secs(7 * 3600));
        assert!(meter.expiries.is_empty());
    }
}
