//! What follows one series step by step, and can be asked at any moment what comes.

use std::sync::Arc;

use super::grid::Grid;
use super::model::{Model, Past, Unfit};
use super::quantiles::Quantiles;

/// Follows one series.
pub trait Follower: Send {
    /// Takes in the value of the next step, `None` where nothing was seen.
    fn observe(&mut self, value: Option<f64>);

    /// Quantiles of the next `steps` steps.
    ///
    /// # Errors
    /// [`Unfit`] while too little is known.
    fn forecast(&mut self, steps: usize) -> Result<Quantiles, Unfit>;

    /// A copy with all it remembers: for checkpoints and forks.
    fn clone_box(&self) -> Box<dyn Follower>;
}

impl Clone for Box<dyn Follower> {
    fn clone(&self) -> Self {
        self.clone_box()
    }
}

/// The last steps of a series, gaps filled.
#[derive(Clone, Debug)]
pub struct History {
    grid: Grid,
    /// Steps that are kept at least.
    keep: usize,
    /// Steps that were dropped at the front.
    dropped: usize,
    values: Vec<f64>,
    filled: u64,
}

impl History {
    /// Nothing yet, of a series on `grid`; at least the last `keep` steps will be remembered.
    pub fn new(grid: Grid, keep: usize) -> Self {
        History { grid, keep: keep.max(1), dropped: 0, values: Vec::new(), filled: 0 }
    }

    /// Takes in the next step. A gap is filled with the value of the day before, moved by as much as the level has
    /// moved since, or with the last value where no day is known; before any value was seen a gap is no step at all.
    pub fn push(&mut self, value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()).or_else(|| self.guess()) else {
            self.dropped += 1;
            return;
        };
        if self.values.len() >= 2 * self.keep {
            let spare = self.values.len() - self.keep;
            self.values.drain(..spare);
            self.dropped += spare;
        }
        self.values.push(value);
    }

    fn guess(&mut self) -> Option<f64> {
        let last = *self.values.last()?;
        self.filled += 1;
        let day = self.grid.day();
        let n = self.values.len();
        if n <= day {
            return Some(last);
        }
        let (then, before) = (self.values[n - day], self.values[n - day - 1]);
        Some(if before > 0.0 { last * (then / before).clamp(0.5, 2.0) } else { last })
    }

    /// What is known.
    pub fn past(&self) -> Past<'_> {
        Past::new(&self.grid, self.dropped, &self.values).last(self.keep)
    }

    /// Steps that were not seen and had to be filled.
    pub fn filled(&self) -> u64 {
        self.filled
    }
}

/// A model, applied to the last steps of a series.
#[derive(Clone)]
pub struct Applied {
    model: Arc<dyn Model>,
    history: History,
}

impl Applied {
    /// Applies `model` to what `history` remembers.
    pub fn new(model: Arc<dyn Model>, history: History) -> Self {
        Applied { model, history }
    }
}

impl Follower for Applied {
    fn observe(&mut self, value: Option<f64>) {
        self.history.push(value);
    }

    fn forecast(&mut self, steps: usize) -> Result<Quantiles, Unfit> {
        self.model.predict(&self.history.past(), steps)
    }

    fn clone_box(&self) -> Box<dyn Follower> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::*;

    #[test]
    fn a_gap_is_filled_from_the_day_before_and_counted() {
        let mut history = History::new(Grid::utc(Timestamp::EPOCH, Duration::from_hours(6)), 8);
        history.push(None);
        for value in [10.0, 20.0, 30.0, 20.0, 20.0] {
            history.push(Some(value));
        }
        history.push(None);
        // Yesterday it doubled here.
        assert_eq!(history.past().values().last(), Some(&40.0));
        assert_eq!(history.filled(), 1);
        // The first gap took a step of the grid: the first value is that of 06:00.
        assert_eq!(history.past().moment(0).day, 0.25);
    }

    #[test]
    fn what_is_kept_stays_in_place_on_the_grid() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let mut history = History::new(grid, 5);
        for hour in 0..100 {
            history.push(Some(f64::from(hour)));
            let past = history.past();
            assert!(past.values().len() <= 5);
            let newest = past.values().len() - 1;
            assert_eq!(past.values()[newest], f64::from(hour));
            assert!((past.moment(newest).day * 24.0 - f64::from(hour % 24)).abs() < 1e-9);
        }
    }
}
