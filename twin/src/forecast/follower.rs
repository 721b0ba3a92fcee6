//! What follows one series step by step, and can be asked at any moment what comes.

use std::sync::Arc;

use super::grid::Grid;
use super::model::{self, Model, Past, Unfit};
use super::quantiles::Quantiles;

/// What comes, and who says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// Quantiles of the steps that come.
    pub quantiles: Quantiles,
    /// The model that they are of.
    pub by: &'static str,
    /// Why they are not of the model that should have made them.
    pub instead: Option<String>,
}

/// Follows one series.
pub trait Follower: Send {
    /// Takes in the value of the next step, `None` where nothing was seen.
    fn observe(&mut self, value: Option<f64>);

    /// What comes in the next `steps` steps.
    ///
    /// # Errors
    /// [`Unfit`] while too little is known.
    fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit>;

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
        self.take(value);
    }

    /// The same, and says what was taken for the value.
    pub(super) fn take(&mut self, value: Option<f64>) -> Option<f64> {
        let Some(value) = value.filter(|value| value.is_finite()).or_else(|| self.guess()) else {
            self.dropped += 1;
            return None;
        };
        if self.values.len() >= 2 * self.keep {
            let spare = self.values.len() - self.keep;
            self.values.drain(..spare);
            self.dropped += spare;
        }
        self.values.push(value);
        Some(value)
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

    /// Steps in a day.
    pub fn day(&self) -> usize {
        self.grid.day()
    }

    /// Steps that were not seen and had to be filled.
    pub fn filled(&self) -> u64 {
        self.filled
    }
}

/// A forecast this many times above all that was seen is an explosion, not a forecast.
const EXPLODED: f64 = 10.0;

/// Why a forecast of a series of which the most seen is `most` cannot be meant, if it cannot.
pub(super) fn explosion(quantiles: &Quantiles, most: f64) -> Option<Unfit> {
    let highest = (0..quantiles.steps()).map(|ahead| quantiles.median(ahead)).fold(0.0, f64::max);
    (highest > EXPLODED * most.max(f64::MIN_POSITIVE))
        .then(|| Unfit::Failed(format!("a median of {highest:.3} where the most seen is {most:.3}")))
}

/// What `model` says, or where it fails or explodes, what the seasonal naive says instead, or the naive.
fn guarded(model: &dyn Model, past: &Past<'_>, steps: usize) -> Result<Outlook, Unfit> {
    let quantiles = match model.predict(past, steps) {
        Ok(quantiles) => quantiles,
        Err(why) => return standby(model.name(), past, steps, why),
    };
    match explosion(&quantiles, past.most()) {
        Some(why) => standby(model.name(), past, steps, why),
        None => Ok(Outlook { quantiles, by: model.name(), instead: None }),
    }
}

/// What is said where `model` could not, because of `why`.
pub(super) fn standby(model: &str, past: &Past<'_>, steps: usize, why: Unfit) -> Result<Outlook, Unfit> {
    let instead = Some(format!("{model} gave none: {why}"));
    for name in ["seasonal-naive-day", "naive"] {
        let standby = model::train(name, &[], steps, 0).and_then(Result::ok);
        if let Some(Ok(quantiles)) = standby.map(|standby| standby.predict(past, steps)) {
            return Ok(Outlook { quantiles, by: name, instead });
        }
    }
    Err(why)
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

    fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
        guarded(&*self.model, &self.history.past(), steps)
    }

    fn clone_box(&self) -> Box<dyn Follower> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::*;
    use crate::forecast::quantiles::LEVELS;

    /// Explodes.
    struct Bomb;

    impl Model for Bomb {
        fn name(&self) -> &'static str {
            "bomb"
        }

        fn predict(&self, _past: &Past<'_>, steps: usize) -> Result<Quantiles, Unfit> {
            Ok(Quantiles::new(vec![[1e9; LEVELS.len()]; steps]))
        }
    }

    #[test]
    fn a_model_that_explodes_is_replaced_and_named() {
        let history = History::new(Grid::utc(Timestamp::EPOCH, Duration::from_hours(6)), 8);
        let mut follower = Applied::new(Arc::new(Bomb), history);
        assert!(follower.forecast(2).is_err());
        follower.observe(Some(3.0));
        follower.observe(Some(3.0));
        let outlook = follower.forecast(2).unwrap();
        assert_eq!((outlook.by, outlook.quantiles.median(1)), ("naive", 3.0));
        assert!(outlook.instead.unwrap().starts_with("bomb gave none"));
    }

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
