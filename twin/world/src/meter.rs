//! Where the two worlds meet: DNS queries folded into windows.
//!
//! The simulator and the live feeds fill the same meter; from here on nobody can tell whence a query came. A query is
//! a cache miss, not a request: while a cache holds an answer, requests are hidden. So the meter counts queries, and
//! beside them the *exposure*: how long a request would have shown, with each cache weighed by its share of the
//! requests. Queries over exposure is the rate of requests, and both add up over windows, caches and resolvers.
//!
//! The shares are learned from each cache's own past. In the time that it holds no answer, the queries of a cache are
//! its requests, a Poisson process at rate λ (J. Jung, A. Berger, H. Balakrishnan, "Modeling TTL-based Internet
//! Caches", INFOCOM 2003); `cache` estimates λ without bias however few queries there were, so that thousands of
//! small caches may be summed, and caches never heard of need no guess. `habit` finds the resolvers that keep answers
//! longer than they may.
//!
//! Not here: intervals, saturation, sessions. What a rate means is for whoever decides.

mod cache;
mod fading;
mod habit;
mod mix;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{Duration, Timestamp};
use cache::{Cache, Sight};
use fading::Fading;
use habit::Habit;
use mix::MixState;

/// One query that reached an authoritative server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuerySample {
    /// When it arrived.
    pub at: Timestamp,
    /// Client region × class, dense (see [`crate::Topology::cell`]).
    pub cell: u32,
    /// Who asked: a resolver's address; any stable number. Caches of one resolver share its habits.
    pub resolver: u64,
    /// Who keeps the answer: a resolver, or with EDNS Client Subnet (RFC 7871) a resolver and the subnet that the
    /// answer is for; any stable number.
    pub cache: u64,
    /// The name asked for; any stable number.
    pub name: u32,
    /// How long the answer may be kept; zero when there was none to keep.
    pub ttl: Duration,
}

/// What a meter counted for one cell in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueryCount {
    /// Queries.
    pub queries: u64,
    /// How long requests would have shown; `None` until something is known of the caches.
    pub exposure: Option<Exposure>,
}

/// How long a request would have shown in a window, had it come: the time that caches held no answer, each weighed by
/// its share of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exposure {
    /// Time \[s\], at most the window. The window over it is how many requests each query stands for.
    pub seconds: f64,
    /// Relative variance of `seconds` from shares that are not known well.
    pub relative_variance: f64,
    /// Caches that something is known of.
    pub caches: u32,
}

/// Counts queries per cell, and how long requests would have shown.
#[derive(Clone, Debug)]
pub struct Meter {
    cells: Vec<Cell>,
    caches: Vec<Cache>,
    habits: Vec<Habit>,
    /// Where in `caches` each (cache, name, cell) is; never iterated.
    cache_index: HashMap<(u64, u64), u32, MixState>,
    /// Where in `habits` each (resolver, cell) is; never iterated.
    habit_index: HashMap<(u64, u64), u32, MixState>,
    caches_max: usize,
    /// Begin of the window; none before the first query.
    window: Option<Fading>,
    /// Time watched before this window, faded \[s\] …
    watched: f64,
    /// … and the integral of the squared weights.
    watched_squared: f64,
    tidied: Timestamp,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    count: QueryCount,
    /// Requests expected to show in this window, at the rates known at its begin.
    expected: f64,
    /// Rate of all caches, as known at the begin of this window [1/s].
    rate: f64,
    /// Queries, faded, of caches that are not kept any more …
    rest: f64,
    /// … and their rate, as known at the begin of this window [1/s].
    rest_rate: f64,
}

/// Sums over the caches of a cell.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    rate: f64,
    variance: f64,
    queries: f64,
    caches: u32,
}

/// Caches that were asked less than this lately, faded, are joined to the rest.
const FORGOTTEN: f64 = 0.1;
/// Time between two looks for caches to forget.
const TIDY_EVERY: Duration = Duration::from_hours(1);
/// Caches kept at most, some 120 bytes each, unless said otherwise.
const CACHES_MAX: usize = 1 << 20;

impl Meter {
    /// A meter of `cells` cells that keeps about a million caches at most.
    pub fn new(cells: usize) -> Self {
        Meter::with_caches_max(cells, CACHES_MAX)
    }

    /// A meter of `cells` cells that keeps `caches_max` caches at most, 16 at least. When there are more, those not
    /// asked for longest are summed up: their rates stay, what they hold is not known any more.
    pub fn with_caches_max(cells: usize, caches_max: usize) -> Self {
        Meter {
            cells: vec![Cell::default(); cells],
            caches: Vec::new(),
            habits: Vec::new(),
            cache_index: HashMap::default(),
            habit_index: HashMap::default(),
            caches_max: caches_max.clamp(16, u32::MAX as usize),
            window: None,
            watched: 0.0,
            watched_squared: 0.0,
            tidied: Timestamp::EPOCH,
        }
    }

    /// Says from when on queries would have been seen; without it, from the first query on.
    pub fn begin(&mut self, at: Timestamp) {
        self.window.get_or_insert(Fading::new(at));
    }

    /// Takes one query in. Samples may come slightly out of order.
    pub fn record(&mut self, sample: QuerySample) {
        let fading = *self.window.get_or_insert(Fading::new(sample.at));
        let key = (sample.cache, u64::from(sample.name) << 32 | u64::from(sample.cell));
        let index = match self.cache_index.get(&key) {
            Some(&index) => index,
            None => self.insert(key, &sample, fading),
        };
        let cell = &mut self.cells[sample.cell as usize];
        let cache = &mut self.caches[index as usize];
        cell.count.queries += 1;
        cell.expected += cache.pass(sample.at, fading);
        if let Some(gap) = cache.ask(sample.at, sample.ttl, fading) {
            self.habits[cache.habit as usize].take(gap);
        }
    }

    /// Takes a number of queries in of which no more is known (a fluid model, an aggregated feed), with the exposure
    /// that they had.
    pub fn record_count(&mut self, cell: usize, count: QueryCount) {
        let into = &mut self.cells[cell].count;
        into.queries += count.queries;
        if let Some(more) = count.exposure {
            let exposure = into.exposure.get_or_insert_default();
            exposure.seconds += more.seconds;
            exposure.relative_variance = exposure.relative_variance.max(more.relative_variance);
            exposure.caches = exposure.caches.max(more.caches);
        }
    }

    /// Closes the window at `at` and returns its counts, dense over cells.
    pub fn close(&mut self, at: Timestamp) -> Vec<QueryCount> {
        if let Some(fading) = self.window.filter(|window| window.since() < at) {
            self.window = Some(Fading::new(at));
            self.learn(at, fading);
            if at.since(self.tidied) >= TIDY_EVERY {
                self.tidied = at;
                self.forget(|cache| cache.asked() >= FORGOTTEN);
                self.habits.iter_mut().for_each(|habit| habit.turn(at));
            }
        }
        self.cells.iter_mut().map(|cell| std::mem::take(&mut cell.count)).collect()
    }

    /// Takes the window's exposure, learns each cache's rate anew, and fades what is known.
    fn learn(&mut self, at: Timestamp, fading: Fading) {
        let window = at.since(fading.since()).as_secs_f64();
        let watched = self.watched + Fading::between(1.0, fading.at(at));
        let squared = self.watched_squared + Fading::squared_between(1.0, fading.at(at));
        let fade = fading.fade(at);
        // A sum of faded ones varies less than its value: by the mean square of the weights over their mean.
        let weight = squared / watched;
        for habit in &mut self.habits {
            habit.judge();
            habit.fade(fade);
        }
        let mut sums = vec![Sums::default(); self.cells.len()];
        for cache in &mut self.caches {
            let cell = cache.cell as usize;
            self.cells[cell].expected += cache.pass(at, fading);
            let rate = cache.learn(&Sight { at, watched, habit: &self.habits[cache.habit as usize], weight, fading });
            cache.fade(fade);
            let sum = &mut sums[cell];
            sum.rate += rate.per_second;
            sum.variance += rate.variance;
            sum.queries += rate.queries;
            sum.caches += 1;
        }
        for (cell, sum) in self.cells.iter_mut().zip(&mut sums) {
            // Caches of the rest have long held no answer: all that is asked of them shows.
            let expected = std::mem::take(&mut cell.expected) + cell.rest_rate * window;
            cell.rest_rate = cell.rest / watched;
            sum.rate += cell.rest_rate;
            sum.variance += weight * cell.rest_rate / watched;
            sum.queries += cell.rest;
            cell.rest *= fade;
            // Before there was a rate, the window's own stands in.
            let seconds = if cell.rate > 0.0 {
                expected / cell.rate
            } else if sum.rate > 0.0 {
                cell.count.queries as f64 / sum.rate
            } else {
                0.0
            };
            cell.rate = sum.rate;
            if seconds > 0.0 {
                // What varies is the weighing of caches against each other; their sum is told by the queries.
                let relative_variance = (sum.variance / sum.rate.powi(2) - weight / sum.queries).max(0.0);
                let seconds = seconds.min(window);
                cell.count.exposure = Some(Exposure { seconds, relative_variance, caches: sum.caches });
            }
        }
        self.watched = watched * fade;
        self.watched_squared = squared * fade * fade;
    }
}

impl Meter {
    /// Makes room for a cache that was not known.
    fn insert(&mut self, key: (u64, u64), sample: &QuerySample, fading: Fading) -> u32 {
        if self.caches.len() >= self.caches_max {
            let mut ends: Vec<Timestamp> = self.caches.iter().map(Cache::expiry).collect();
            let quarter = ends.len() / 4;
            let oldest = *ends.select_nth_unstable(quarter).1;
            let mut left = quarter + 1;
            self.forget(|cache| {
                let goes = left > 0 && cache.expiry() <= oldest;
                left -= usize::from(goes);
                !goes
            });
        }
        let habits = &mut self.habits;
        let habit = *self.habit_index.entry((sample.resolver, u64::from(sample.cell))).or_insert_with(|| {
            habits.push(Habit::default());
            habits.len() as u32 - 1
        });
        // It was there all the time, and nobody asked.
        let open = self.watched + Fading::between(1.0, fading.at(sample.at).max(1.0));
        let index = self.caches.len() as u32;
        self.caches.push(Cache::new(key, sample.cell, habit, sample.at, open));
        self.cache_index.insert(key, index);
        index
    }

    /// Joins the caches that are not to be kept to the rest of their cell, and drops habits that nobody has.
    fn forget(&mut self, mut keep: impl FnMut(&Cache) -> bool) {
        let before = self.caches.len();
        let cells = &mut self.cells;
        self.caches.retain(|cache| {
            let keep = keep(cache);
            if !keep {
                let cell = &mut cells[cache.cell as usize];
                cell.rest += cache.asked();
                cell.rest_rate += cache.rate();
            }
            keep
        });
        if self.caches.len() == before {
            return;
        }
        self.cache_index.clear();
        let mut moved = vec![u32::MAX; self.habits.len()];
        let mut habits = Vec::new();
        for (index, cache) in self.caches.iter_mut().enumerate() {
            self.cache_index.insert(cache.key, index as u32);
            let to = &mut moved[cache.habit as usize];
            if *to == u32::MAX {
                *to = habits.len() as u32;
                habits.push(self.habits[cache.habit as usize].clone());
            }
            cache.habit = *to;
        }
        self.habit_index.retain(|_, index| {
            *index = moved[*index as usize];
            *index != u32::MAX
        });
        self.habits = habits;
    }
}

#[cfg(test)]
mod tests;
