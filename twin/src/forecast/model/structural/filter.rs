//! The state space of the structural model and the Kalman filter over it. Nothing here knows where variances come from.
//!
//! Seasons are sums of waves on the local clock, `a cos(angle) + b sin(angle)`, whose coefficients are random walks. With
//! equal variances for both that is the trigonometric seasonal of A. Harvey ("Forecasting, Structural Time Series Models
//! and the Kalman Filter", 1989, section 2.3.4), seen from a frame that turns with it: what turns there are the states,
//! here the row they are seen through; so the transition is nearly the identity, a day that is an hour shorter moves no
//! coefficient, and a holiday can stand at another place of its week.
//!
//! Recursions: J. Durbin, S. Koopman, "Time Series Analysis by State Space Methods", 2nd edition 2012, section 4.3; a step
//! without a value only predicts (section 4.10).

use std::f64::consts::TAU;

use nalgebra::{SMatrix, SVector};

use crate::forecast::grid::Moment;

/// Waves that make a day, and those that make a week.
const DAY_WAVES: usize = 6;
const WEEK_WAVES: usize = 3;

/// Places of the states.
const LEVEL: usize = 0;
const SLOPE: usize = 1;
const PASSING: usize = 2;
const DAY: usize = 3;
const WEEK: usize = DAY + 2 * DAY_WAVES;
const HOLIDAY: usize = WEEK + 2 * WEEK_WAVES;
const STATES: usize = HOLIDAY + 1;

/// A value for each state.
pub(super) type State = SVector<f64, STATES>;

/// Variances of the disturbances, each in one step, and how fast what passes does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Variances {
    /// Of the noise on what is seen.
    pub(super) noise: f64,
    /// Of the level's random walk.
    pub(super) level: f64,
    /// Of the slope.
    pub(super) slope: f64,
    /// Of the passing deviation from the level.
    pub(super) passing: f64,
    /// Of each coefficient of the day's waves …
    pub(super) day: f64,
    /// … and of the week's.
    pub(super) week: f64,
    /// Share of the slope that is left after a step.
    pub(super) damping: f64,
    /// Share of the passing deviation that is left after a step.
    pub(super) persistence: f64,
}

impl Variances {
    /// The same, in another unit.
    pub(super) fn times(self, scale: f64) -> Self {
        Variances {
            noise: scale * self.noise,
            level: scale * self.level,
            slope: scale * self.slope,
            passing: scale * self.passing,
            day: scale * self.day,
            week: scale * self.week,
            ..self
        }
    }
}

/// What was not foreseen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Innovation {
    /// By how much a value was above what was expected.
    pub(super) error: f64,
    /// Its variance.
    pub(super) variance: f64,
}

/// What is known of the states before the value of the next step: their mean and covariance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter {
    mean: State,
    covariance: SMatrix<f64, STATES, STATES>,
}

/// The row that the states of a moment are seen through. `weekly`: whether a week has a shape.
pub(super) fn row(moment: Moment, weekly: bool) -> State {
    let mut row = State::zeros();
    (row[LEVEL], row[PASSING]) = (1.0, 1.0);
    let mut waves = |from: usize, count: usize, share: f64| {
        let (sine, cosine) = (share * TAU).sin_cos();
        let (mut real, mut imaginary) = (1.0, 0.0);
        for wave in 0..count {
            (real, imaginary) = (real * cosine - imaginary * sine, real * sine + imaginary * cosine);
            (row[from + 2 * wave], row[from + 2 * wave + 1]) = (real, imaginary);
        }
    };
    waves(DAY, DAY_WAVES, moment.day);
    if weekly {
        waves(WEEK, WEEK_WAVES, (f64::from(moment.weekday) + moment.day) / 7.0);
    }
    row[HOLIDAY] = f64::from(u8::from(moment.holiday));
    row
}

impl Filter {
    /// Nothing is known but that the level is somewhere near `level`: every coefficient has the variance `vague`, the
    /// holidays' and the slope's a hundredth and less of it.
    pub(super) fn new(level: f64, vague: f64, variances: &Variances) -> Self {
        let mut mean = State::zeros();
        mean[LEVEL] = level;
        let mut diagonal = State::repeat(vague);
        diagonal[SLOPE] = stationary(variances.slope, variances.damping, vague);
        diagonal[PASSING] = stationary(variances.passing, variances.persistence, vague);
        diagonal[HOLIDAY] = 1e-3 * vague;
        Filter { mean, covariance: SMatrix::from_diagonal(&diagonal) }
    }

    /// Takes in the value that is seen through `row`.
    pub(super) fn update(&mut self, row: &State, value: f64, noise: f64) -> Innovation {
        let mut seen = State::zeros();
        seen.gemv(1.0, &self.covariance, row, 0.0);
        let variance = row.dot(&seen) + noise;
        let error = value - row.dot(&self.mean);
        if variance > 0.0 {
            self.mean.axpy(error / variance, &seen, 1.0);
            self.covariance.ger(-1.0 / variance, &seen, &seen, 1.0);
        }
        Innovation { error, variance }
    }

    /// Lets a step pass.
    pub(super) fn predict(&mut self, variances: &Variances) {
        let (damping, persistence) = (variances.damping, variances.persistence);
        // Level + damped slope, on both sides of the covariance.
        self.mean[LEVEL] += damping * self.mean[SLOPE];
        self.mean[SLOPE] *= damping;
        self.mean[PASSING] *= persistence;
        let covariance = &mut self.covariance;
        for column in 0..STATES {
            covariance[(LEVEL, column)] += damping * covariance[(SLOPE, column)];
            covariance[(SLOPE, column)] *= damping;
            covariance[(PASSING, column)] *= persistence;
        }
        for row in 0..STATES {
            covariance[(row, LEVEL)] += damping * covariance[(row, SLOPE)];
            covariance[(row, SLOPE)] *= damping;
            covariance[(row, PASSING)] *= persistence;
        }
        covariance[(LEVEL, LEVEL)] += variances.level;
        covariance[(SLOPE, SLOPE)] += variances.slope;
        covariance[(PASSING, PASSING)] += variances.passing;
        for state in DAY..WEEK {
            covariance[(state, state)] += variances.day;
        }
        for state in WEEK..HOLIDAY {
            covariance[(state, state)] += variances.week;
        }
    }

    /// Mean and variance of the value that is seen through `row`.
    pub(super) fn expect(&self, row: &State, noise: f64) -> (f64, f64) {
        (row.dot(&self.mean), row.dot(&(self.covariance * row)) + noise)
    }
}

/// A series made as the model says, for tests of what is made of it.
#[cfg(test)]
pub(super) struct Simulation {
    states: State,
    variances: Variances,
    deviation: f64,
    chance: crate::forecast::chance::Chance,
}

#[cfg(test)]
impl Simulation {
    /// Every variance is in units of `scale`.
    pub(super) fn new(scale: f64, variances: Variances, mut chance: crate::forecast::chance::Chance) -> Self {
        let deviation = scale.sqrt();
        let mut states = State::zeros();
        for state in DAY..HOLIDAY {
            states[state] = 10.0 * deviation * chance.normal();
        }
        Simulation { states, variances, deviation, chance }
    }

    /// The next value, seen through `row`.
    pub(super) fn next(&mut self, row: &State) -> f64 {
        let variances = self.variances;
        let mut draw = |variance: f64| self.deviation * variance.sqrt() * self.chance.normal();
        let value = row.dot(&self.states) + draw(variances.noise);
        let states = &mut self.states;
        states[LEVEL] += variances.damping * states[SLOPE] + draw(variances.level);
        states[SLOPE] = variances.damping * states[SLOPE] + draw(variances.slope);
        states[PASSING] = variances.persistence * states[PASSING] + draw(variances.passing);
        for state in DAY..WEEK {
            states[state] += draw(variances.day);
        }
        for state in WEEK..HOLIDAY {
            states[state] += draw(variances.week);
        }
        value
    }
}

/// Variance that a damped walk comes to, at most `most`.
fn stationary(variance: f64, share: f64, most: f64) -> f64 {
    (variance / (1.0 - share * share).max(1e-12)).min(most)
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};
    use nalgebra::{DMatrix, DVector};

    use super::*;
    use crate::forecast::grid::Grid;

    const STILL: Variances = Variances {
        noise: 1.0,
        level: 0.0,
        slope: 0.0,
        passing: 0.0,
        day: 0.0,
        week: 0.0,
        damping: 0.0,
        persistence: 0.0,
    };

    /// A disturbance without a generator: the fractional parts of multiples of the golden ratio.
    fn shake(k: usize) -> f64 {
        (k as f64 * 0.618_033_988_75).fract() - 0.5
    }

    fn level_only() -> State {
        let mut row = State::zeros();
        row[LEVEL] = 1.0;
        row
    }

    #[test]
    fn the_gain_of_a_local_level_comes_to_its_closed_form() {
        for signal_to_noise in [0.01, 0.3, 1.0, 5.0] {
            let variances = Variances { level: 2.0 * signal_to_noise, noise: 2.0, ..STILL };
            let mut filter = Filter::new(0.0, 1e6, &variances);
            for k in 0..400 {
                filter.update(&level_only(), shake(k), variances.noise);
                filter.predict(&variances);
            }
            // Durbin and Koopman, section 2.11: p = (q + √(q² + 4 q)) / 2 in units of the noise, gain p / (p + 1).
            let q = signal_to_noise;
            let p = 0.5 * (q + (q * q + 4.0 * q).sqrt());
            let before = filter.expect(&level_only(), variances.noise);
            assert!((before.1 / (2.0 * (p + 1.0)) - 1.0).abs() < 1e-9, "{q}: {before:?}");
            filter.update(&level_only(), before.0 + 1.0, variances.noise);
            let moved = filter.expect(&level_only(), variances.noise).0 - before.0;
            assert!((moved - p / (p + 1.0)).abs() < 1e-9, "{q}: {moved}");
        }
    }

    #[test]
    fn the_likelihood_of_a_local_level_is_that_of_one_normal_vector() {
        let variances = Variances { level: 0.3, noise: 0.7, ..STILL };
        let (n, vague) = (12, 50.0);
        let values: Vec<f64> = (0..n).map(|k| 2.0 + shake(k)).collect();
        let mut filter = Filter::new(1.5, vague, &variances);
        let mut by_steps = 0.0;
        for value in &values {
            let Innovation { error, variance } = filter.update(&level_only(), *value, variances.noise);
            by_steps -= 0.5 * ((TAU * variance).ln() + error * error / variance);
            filter.predict(&variances);
        }
        // Covariance of the values: vague + 0.3 min(i, j), and the noise on the diagonal.
        let covariance = DMatrix::from_fn(n, n, |i, j| {
            vague + variances.level * i.min(j) as f64 + if i == j { variances.noise } else { 0.0 }
        });
        let off = DVector::from_iterator(n, values.iter().map(|value| value - 1.5));
        let factors = covariance.cholesky().unwrap();
        let log_determinant: f64 = 2.0 * factors.l().diagonal().iter().map(|d| d.ln()).sum::<f64>();
        let at_once = -0.5 * (n as f64 * TAU.ln() + log_determinant + off.dot(&factors.solve(&off)));
        assert!((by_steps - at_once).abs() < 1e-9, "{by_steps} {at_once}");
    }

    /// The figures are those of statsmodels 0.15.0:
    ///
    /// ```text
    /// k = np.arange(240); g = (k * 0.61803398875) % 1 - 0.5
    /// y = 3 + 0.4 * np.sin(2 * np.pi * k / 24) + 0.2 * np.cos(2 * np.pi * k / 168) + g; y[100:110] = np.nan
    /// m = sm.tsa.UnobservedComponents(y, 'lltrend', autoregressive=1,
    ///     freq_seasonal=[{'period': 24, 'harmonics': 6}, {'period': 168, 'harmonics': 3}])
    /// a = np.zeros(21); a[0] = y[0]; P = np.full(21, 500.0); P[-1] = 0.01 / (1 - 0.8**2)
    /// m.ssm.initialize_known(a, np.diag(P)); m.loglikelihood_burn = m.ssm.loglikelihood_burn = 0
    /// r = m.filter([0.05, 0.002, 1e-6, 1e-5, 2e-6, 0.01, 0.8]); r.llf
    /// f = r.get_forecast(48); f.predicted_mean[[0, 23, 47]], f.var_pred_mean[[0, 23, 47]]
    /// ```
    #[test]
    fn the_filter_agrees_with_statsmodels() {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let variances = Variances {
            noise: 0.05,
            level: 0.002,
            slope: 1e-6,
            passing: 0.01,
            day: 1e-5,
            week: 2e-6,
            damping: 1.0,
            persistence: 0.8,
        };
        let value =
            |k: usize| 3.0 + 0.4 * (TAU * k as f64 / 24.0).sin() + 0.2 * (TAU * k as f64 / 168.0).cos() + shake(k);
        let mut filter = Filter::new(value(0), 500.0, &variances);
        let mut log_likelihood = 0.0;
        for k in 0..240 {
            if !(100..110).contains(&k) {
                let row = row(grid.moment(k), true);
                let Innovation { error, variance } = filter.update(&row, value(k), variances.noise);
                log_likelihood -= 0.5 * ((TAU * variance).ln() + error * error / variance);
            }
            filter.predict(&variances);
        }
        assert!((log_likelihood + 213.864_407_847).abs() < 1e-6, "{log_likelihood}");
        let wanted = [
            (0, 2.820_389_664_7, 0.088_590_954_9),
            (23, 2.709_836_917_0, 0.305_238_030_4),
            (47, 2.850_665_670_7, 0.588_036_924_3),
        ];
        let mut ahead = 0;
        for (at, mean, variance) in wanted {
            while ahead < at {
                filter.predict(&variances);
                ahead += 1;
            }
            let found = filter.expect(&row(grid.moment(240 + ahead), true), variances.noise);
            assert!((found.0 - mean).abs() < 1e-8 && (found.1 - variance).abs() < 1e-8, "{at}: {found:?}");
        }
    }
}
