//! Futures of a series: its forecast's quantiles, tied together over the steps as past errors were.
//!
//! A [`Sampler`] keeps, of past forecasts, where what came lay among their quantiles, from the first step to the last:
//! one vector of ranks for each. The next forecast's quantiles are dealt out in those ranks, path by path (the Schaake
//! shuffle: M. Clark et al., Journal of Hydrometeorology 2004; R. Schefzik et al., Statistical Science 2013). Each step
//! alone is spread exactly as the forecast says; together they are as persistent as its errors have been.
//!
//! Until there are enough, vectors of a Gaussian copula stand in whose correlation decays with the distance of steps as
//! that of the vectors that there are (AR(1)). Samplers of one seed that follow series side by side have their vectors
//! of the same moments in the same places, and one copula: sums over their paths keep high what was high together.

use std::ops::Range;

use super::chance::Chance;
use super::follower::{Follower, Outlook};
use super::model::Unfit;
use super::normal_quantile;
use super::paths::Paths;
use super::quantiles::Quantiles;

/// Futures that are made of every forecast.
pub const PATHS: usize = 128;

/// Follows a series through a [`Follower`] and says what may come, step by step and together.
#[derive(Clone)]
pub struct Sampler {
    follower: Box<dyn Follower>,
    /// Steps ahead that paths reach.
    horizon: usize,
    seed: u64,
    /// Breaks ties of ranks.
    chance: Chance,
    /// Steps seen, and the number from which on forecasts are remembered.
    seen: usize,
    begin: usize,
    /// The forecast that meets what comes.
    issue: Option<Issue>,
    /// Vectors of what came, the oldest overwritten once there are as many as paths.
    met: Vec<Vec<f32>>,
    /// Where the next goes.
    next: usize,
    /// For each step ahead, the rank of every path among all, 0 to `PATHS` − 1.
    ranks: Vec<[u16; PATHS]>,
}

/// A forecast, and where what came lay among its quantiles so far.
#[derive(Clone)]
struct Issue {
    outlook: Outlook,
    levels: Vec<Option<f32>>,
}

impl Sampler {
    /// Futures of what `follower` follows, up to `horizon` steps ahead.
    ///
    /// # Panics
    /// When the horizon is nothing.
    pub fn new(follower: Box<dyn Follower>, horizon: usize, seed: u64) -> Self {
        assert!(horizon > 0, "futures have steps");
        let chance = Chance::new(seed, "ties of ranks");
        let mut sampler = Sampler {
            follower,
            horizon,
            seed,
            chance,
            seen: 0,
            begin: 0,
            issue: None,
            met: Vec::new(),
            next: 0,
            ranks: Vec::new(),
        };
        sampler.rank();
        sampler
    }

    /// Forecasts are remembered from the step `begin` of the series on, counted from 0: those of a time that a model was
    /// trained on are better than those that follow.
    pub fn learning_from(mut self, begin: usize) -> Self {
        self.begin = begin;
        self
    }

    /// Steps ahead that paths reach.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Takes in the value of the next step, `None` where nothing was seen.
    pub fn observe(&mut self, value: Option<f64>) {
        self.remember();
        self.follower.observe(value);
        self.seen += 1;
        let Some(issue) = &mut self.issue else { return };
        let ahead = issue.levels.len();
        let level = value.filter(|value| value.is_finite()).map(|value| {
            let (least, greatest) = issue.outlook.quantiles.levels_of(ahead, value);
            // Where many levels have the value, none of them is more likely than another.
            (least + (greatest - least) * self.chance.uniform()) as f32
        });
        issue.levels.push(level);
        if issue.levels.len() == self.horizon {
            let levels = self.issue.take().map(|issue| issue.levels).unwrap_or_default();
            self.meet(&levels);
        }
    }

    /// What comes in the next `steps` steps: quantiles, and futures of them.
    ///
    /// # Errors
    /// [`Unfit`] while too little is known, and for more steps than the horizon.
    pub fn forecast(&mut self, steps: usize) -> Result<(Outlook, Paths), Unfit> {
        let outlook = self.outlook(steps)?;
        let paths = self.paths(&outlook.quantiles, 0..steps);
        Ok((outlook, paths))
    }

    /// What comes in the next `steps` steps, quantiles alone.
    ///
    /// # Errors
    /// As [`Sampler::forecast`].
    pub fn outlook(&mut self, steps: usize) -> Result<Outlook, Unfit> {
        if steps > self.horizon {
            let trained = format!("{} steps ahead", self.horizon);
            return Err(Unfit::Mismatch { trained, asked: steps.to_string() });
        }
        self.remember();
        match &self.issue {
            Some(issue) if issue.levels.is_empty() && steps == self.horizon => Ok(issue.outlook.clone()),
            _ => self.follower.forecast(steps),
        }
    }

    /// Futures over `steps` of a forecast made now, 0 being its first step. Only those steps are worked out: a few
    /// dozen nanoseconds for each step of each path.
    ///
    /// # Panics
    /// When there are no such steps within the forecast and the horizon.
    pub fn paths(&self, quantiles: &Quantiles, steps: Range<usize>) -> Paths {
        assert!(!steps.is_empty() && steps.end <= quantiles.steps().min(self.horizon), "steps that are forecast");
        let width = steps.len();
        let mut values = vec![0.0; PATHS * width];
        for (at, ahead) in steps.enumerate() {
            let places: [f64; PATHS] =
                std::array::from_fn(|place| quantiles.quantile(ahead, (place as f64 + 0.5) / PATHS as f64));
            for (path, rank) in self.ranks[ahead].iter().enumerate() {
                values[path * width + at] = places[usize::from(*rank)];
            }
        }
        Paths::new(width, values)
    }

    /// Makes the forecast that what comes will be held against, when none is under way.
    fn remember(&mut self) {
        if self.issue.is_none()
            && self.seen >= self.begin
            && let Ok(outlook) = self.follower.forecast(self.horizon)
        {
            self.issue = Some(Issue { outlook, levels: Vec::with_capacity(self.horizon) });
        }
    }

    /// Takes in the levels that a whole forecast met.
    fn meet(&mut self, levels: &[Option<f32>]) {
        let known = levels.iter().flatten().count();
        if known * 4 < levels.len() * 3 {
            return;
        }
        // What was not seen is taken to have gone on as before.
        let first = levels.iter().flatten().next().copied().unwrap_or(0.5);
        let vector: Vec<f32> = levels
            .iter()
            .scan(first, |last, level| {
                *last = level.unwrap_or(*last);
                Some(*last)
            })
            .collect();
        if self.met.len() < PATHS {
            self.met.push(vector);
        } else {
            self.met[self.next] = vector;
        }
        self.next = (self.next + 1) % PATHS;
        self.rank();
    }

    /// Works the ranks out anew.
    ///
    /// What came is ranked among itself first, and so is the copula: that forecasts were off one way, or that there are
    /// few, shall not look like persistence.
    fn rank(&mut self) {
        let copula = self.copula();
        self.ranks.resize(self.horizon, [0; PATHS]);
        let mut order: Vec<(f32, u16)> = Vec::with_capacity(PATHS);
        for (ahead, ranks) in self.ranks.iter_mut().enumerate() {
            let mut all: Vec<(f32, u16)> = Vec::with_capacity(PATHS);
            for (group, first) in [(&self.met, 0), (&copula, self.met.len())] {
                order.clear();
                order.extend(group.iter().enumerate().map(|(at, vector)| (vector[ahead], (first + at) as u16)));
                order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let count = order.len() as f32;
                all.extend(order.iter().enumerate().map(|(rank, (_, path))| ((rank as f32 + 0.5) / count, *path)));
            }
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            all.iter().enumerate().for_each(|(rank, (_, path))| ranks[usize::from(*path)] = rank as u16);
        }
    }

    /// Vectors that stand in for those that are not there yet: of the places from the number of those that are on.
    fn copula(&self) -> Vec<Vec<f32>> {
        if self.met.len() == PATHS {
            return Vec::new();
        }
        let persistence = self.persistence();
        let innovation = (1.0 - persistence * persistence).sqrt();
        let mut chance = Chance::new(self.seed, "copula");
        // Those whose places are taken are drawn, too: the others do not depend on how many are left.
        let vectors = (0..PATHS).map(|_| {
            let mut state = 0.0;
            (0..self.horizon)
                .map(|ahead| {
                    let drawn = chance.normal();
                    state = if ahead == 0 { drawn } else { persistence * state + innovation * drawn };
                    state as f32
                })
                .collect()
        });
        vectors.collect::<Vec<Vec<f32>>>().split_off(self.met.len())
    }

    /// Correlation of neighbouring steps in what came, drawn towards what it usually is while there is little.
    fn persistence(&self) -> f64 {
        let (mut product, mut square) = (USUAL_PERSISTENCE * USUAL_WEIGHT, USUAL_WEIGHT);
        for vector in &self.met {
            let scores: Vec<f64> = vector.iter().map(|level| normal_quantile(f64::from(*level))).collect();
            for pair in scores.windows(2) {
                product += pair[0] * pair[1];
                square += 0.5 * (pair[0] * pair[0] + pair[1] * pair[1]);
            }
        }
        (product / square).clamp(0.0, 0.995)
    }
}

/// Correlation of the errors of neighbouring steps, before any was seen.
const USUAL_PERSISTENCE: f64 = 0.9;
/// Pairs of steps that this is worth.
const USUAL_WEIGHT: f64 = 30.0;

#[cfg(test)]
mod tests;
