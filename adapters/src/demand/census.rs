//! Queries counted by window, region and class, so that no count tells of a few: k-anonymity.
//!
//! A cell (window × region × class) in which fewer than k networks of clients asked goes to the region `other` of its
//! class; where that has fewer than k even so, it is withheld. Of the networks of an open cell no more than k are
//! remembered, and none once its window is closed. A window closes when records are later than its end by the allowed
//! lateness; what comes for it afterwards is counted as late.

use std::collections::BTreeMap;

use forebay_world::{Duration, Timestamp};

use crate::prefix::Prefix;

/// How to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CensusOptions {
    /// Length of a window.
    pub window: Duration,
    /// How much later than the end of a window its records may come.
    pub lateness: Duration,
    /// The fewest networks that a written count may stand for.
    pub k: usize,
}

/// What became of queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
pub struct Tally {
    /// Queries that were counted: written, withheld and late.
    pub queries: u64,
    /// Queries in counts that are written …
    pub written: u64,
    /// … of which so many under `other`, because their own cell had fewer than k networks.
    pub merged: u64,
    /// Cells that were merged into `other`.
    pub merged_cells: u64,
    /// Queries that are not written, because even `other` had fewer than k networks.
    pub withheld: u64,
    /// Cells of `other` that are not written.
    pub withheld_cells: u64,
    /// Queries that came after their window was closed; they are not written.
    pub late: u64,
}

/// Counts of closed windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Closed {
    /// Windows with queries by number since 1970, ascending, each with the end of its entries.
    pub(super) windows: Vec<(u64, usize)>,
    /// Cells with queries …
    pub(super) cells: Vec<u32>,
    /// … and how many; `None` where that is not told.
    pub(super) counts: Vec<Option<std::num::NonZeroU64>>,
    pub(super) tally: Tally,
}

/// Counts of open windows, and those closed so far.
pub(super) struct Census {
    options: CensusOptions,
    classes: usize,
    other: usize,
    open: BTreeMap<u64, Vec<Cell>>,
    /// Windows before this are closed.
    closed_before: u64,
    /// The time that the log has come to.
    reached: Option<Timestamp>,
    /// Records in a row that were far ahead of it, and the earliest of them.
    ahead: (u32, Timestamp),
    /// Windows from here on stay open: another log will have records of them.
    hold: Option<Timestamp>,
    closed: Closed,
}

/// Records in a row that move the time of the log by more than the lateness: one wrong date must not close windows.
const CONFIRMING: u32 = 16;

/// One region × class in one window.
#[derive(Clone, Default)]
struct Cell {
    count: u64,
    networks: Networks,
}

/// Different networks, up to k of them: in order.
#[derive(Clone, Default)]
struct Networks(Vec<u64>);

impl Networks {
    fn add(&mut self, network: u64, k: usize) {
        if self.0.len() < k
            && let Err(place) = self.0.binary_search(&network)
        {
            self.0.insert(place, network);
        }
    }
}

impl Census {
    /// Counts cells of any number of regions, of which `other` is the one that takes what is merged.
    pub(super) fn new(options: CensusOptions, classes: usize, other: usize) -> Census {
        assert!(!options.window.is_zero() && classes > 0 && other < classes.max(1) * usize::from(u16::MAX));
        Census {
            options,
            classes,
            other,
            open: BTreeMap::new(),
            closed_before: 0,
            reached: None,
            ahead: (0, Timestamp::EPOCH),
            hold: None,
            closed: Closed::default(),
        }
    }

    /// Keeps the windows from `from` on open, whatever the records say.
    pub(super) fn hold(&mut self, from: Option<Timestamp>) {
        self.hold = from;
    }

    pub(super) fn take(&mut self, at: Timestamp, region: usize, class: usize, network: Prefix) {
        self.closed.tally.queries += 1;
        let window = at.as_nanos() / self.options.window.as_nanos();
        if window < self.closed_before {
            self.closed.tally.late += 1;
            return;
        }
        let cells = self.open.entry(window).or_default();
        let cell = region * self.classes + class;
        if cells.len() <= cell {
            cells.resize(cell + 1, Cell::default());
        }
        cells[cell].count += 1;
        cells[cell].networks.add(network.truncated().key(), self.options.k);
        self.advance(at);
    }

    /// Moves the time of the log, and closes what is over.
    fn advance(&mut self, at: Timestamp) {
        let Some(reached) = self.reached else {
            self.reached = Some(at);
            return;
        };
        if self.closed.tally.queries <= u64::from(CONFIRMING) {
            // The first record may be the one with the wrong date.
            self.reached = Some(reached.min(at));
            return;
        }
        if at <= reached {
            self.ahead.0 = 0;
            return;
        }
        if at.since(reached) > self.options.lateness {
            self.ahead = if self.ahead.0 == 0 { (1, at) } else { (self.ahead.0 + 1, self.ahead.1.min(at)) };
            if self.ahead.0 < CONFIRMING {
                return;
            }
            self.reached = Some(self.ahead.1);
        } else {
            self.reached = Some(at);
        }
        self.ahead.0 = 0;
        let over = self.reached.unwrap_or(at).saturating_sub(self.options.lateness);
        let over = self.hold.map_or(over, |hold| over.min(hold.saturating_sub(self.options.lateness)));
        let before = over.as_nanos() / self.options.window.as_nanos();
        if before > self.closed_before {
            self.close(before);
        }
    }

    fn close(&mut self, before: u64) {
        let later = self.open.split_off(&before);
        for (window, cells) in std::mem::replace(&mut self.open, later) {
            self.close_window(window, cells);
        }
        self.closed_before = before;
    }

    fn close_window(&mut self, window: u64, mut cells: Vec<Cell>) {
        let k = self.options.k;
        let anonymous = |cell: &Cell| cell.networks.0.len() >= k;
        let other_begin = self.other * self.classes;
        if cells.len() < other_begin + self.classes {
            cells.resize(other_begin + self.classes, Cell::default());
        }
        let tally = &mut self.closed.tally;
        let mut merged = vec![0; self.classes];
        for index in 0..cells.len() {
            let cell = &mut cells[index];
            if cell.count == 0 || anonymous(cell) || index / self.classes == self.other {
                continue;
            }
            let few = std::mem::take(&mut cell.networks);
            let count = cell.count;
            let class = index % self.classes;
            let other = &mut cells[other_begin + class];
            other.count += count;
            few.0.iter().for_each(|&network| other.networks.add(network, k));
            merged[class] += count;
            tally.merged_cells += 1;
        }
        for (index, cell) in cells.iter().enumerate() {
            if cell.count == 0 {
                continue;
            }
            let told = anonymous(cell);
            self.closed.cells.push(index as u32);
            self.closed.counts.push(std::num::NonZeroU64::new(cell.count).filter(|_| told));
            let is_other = index / self.classes == self.other;
            if told {
                tally.written += cell.count;
                tally.merged += if is_other { merged[index % self.classes] } else { 0 };
            } else if is_other {
                tally.withheld += cell.count;
                tally.withheld_cells += 1;
            }
        }
        self.closed.windows.push((window, self.closed.cells.len()));
    }

    /// Closes what is open.
    pub(super) fn finish(mut self) -> Closed {
        for (window, cells) in std::mem::take(&mut self.open) {
            self.close_window(window, cells);
        }
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const OPTIONS: CensusOptions =
        CensusOptions { window: Duration::from_secs(60), lateness: Duration::from_secs(600), k: 3 };

    fn network(number: u8) -> Prefix {
        Prefix::new([10, 0, number, 0].into(), 24).unwrap()
    }

    /// Window, cell and count of all entries.
    fn entries(closed: &Closed) -> Vec<(u64, u32, Option<u64>)> {
        let mut begin = 0;
        let mut all = Vec::new();
        for &(window, end) in &closed.windows {
            for at in begin..end {
                all.push((window, closed.cells[at], closed.counts[at].map(u64::from)));
            }
            begin = end;
        }
        all
    }

    #[test]
    fn late_records_and_wrong_dates_close_no_window() {
        let mut census = Census::new(OPTIONS, 1, 0);
        let mut take = |second: u64| census.take(Timestamp::from_secs(second), 0, 0, network((second % 250) as u8));
        take(4_000_000_000);
        (10_000..10_100).for_each(&mut take);
        take(5_000_000_000);
        (10_100..12_000).for_each(&mut take);
        take(10_050);
        take(11_990);
        let closed = census.finish();
        assert_eq!((closed.tally.queries, closed.tally.late, closed.tally.withheld), (2004, 1, 2));
        assert_eq!(closed.tally.written, 2001);
    }

    #[test]
    fn a_hold_keeps_windows_open_for_the_next_log() {
        let run = |hold: Option<u64>| {
            let mut census = Census::new(OPTIONS, 1, 0);
            census.hold(hold.map(Timestamp::from_secs));
            for _ in 0..2 {
                (0..4000).for_each(|s| census.take(Timestamp::from_secs(s), 0, 0, network((s % 9) as u8)));
                census.hold(None);
            }
            census.finish().tally.late
        };
        assert_eq!(run(Some(0)), 0);
        assert!(run(None) > 3000);
    }

    proptest! {
        #[test]
        fn no_count_stands_for_fewer_than_k_and_none_is_lost(
            records in proptest::collection::vec((0u64..6000, 0usize..4, 0usize..3, 0u8..12), 0..400),
            k in 1usize..6,
        ) {
            let mut census = Census::new(CensusOptions { k, ..OPTIONS }, 3, 1);
            // Nothing is late when everything is held.
            census.hold(Some(Timestamp::EPOCH));
            let mut exact: BTreeMap<(u64, usize), (u64, BTreeSet<u8>)> = BTreeMap::new();
            for &(second, region, class, client) in &records {
                census.take(Timestamp::from_secs(second), region, class, network(client));
                let cell = exact.entry((second / 60, region * 3 + class)).or_default();
                cell.0 += 1;
                cell.1.insert(client);
            }
            // The rule once more, in the words of the specification.
            let mut want: BTreeMap<(u64, usize), (u64, BTreeSet<u8>)> = BTreeMap::new();
            for ((window, cell), (count, clients)) in exact {
                let cell = if clients.len() < k { 3 + cell % 3 } else { cell };
                let sum = want.entry((window, cell)).or_default();
                sum.0 += count;
                sum.1.extend(clients);
            }
            let told: Vec<(u64, u32, u64)> = want
                .iter()
                .filter(|(_, (_, clients))| clients.len() >= k)
                .map(|((window, cell), (count, _))| (*window, *cell as u32, *count))
                .collect();
            let closed = census.finish();
            let got: Vec<_> = entries(&closed).into_iter().filter_map(|(w, c, n)| Some((w, c, n?))).collect();
            prop_assert_eq!(&got, &told);
            let tally = closed.tally;
            prop_assert_eq!(tally.written, told.iter().map(|row| row.2).sum::<u64>());
            prop_assert_eq!(tally.queries, records.len() as u64);
            prop_assert_eq!(tally.queries, tally.written + tally.withheld + tally.late);
            prop_assert_eq!(tally.late, 0);
        }
    }
}
