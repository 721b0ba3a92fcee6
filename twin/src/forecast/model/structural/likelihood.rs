//! Variances by maximum likelihood, the scale concentrated out (A. Harvey, 1989, section 3.4.1 and 4.2).
//!
//! The optimiser is the method of scoring in the form of E. Berndt, B. Hall, R. Hall and J. Hausman (1974): the outer
//! products of the steps' scores stand for the curvature, damped where a step does not help (D. Marquardt, 1963). A step
//! needs one pass of the filter for each variance and no second derivative, and half a dozen steps suffice.

use nalgebra::{SMatrix, SVector};

use super::filter::{Filter, State, Variances};

/// Ratios that are estimated: level, slope, passing deviation, day, week.
const RATIOS: usize = 5;

/// Days on which a search comes near, and its steps there, at most.
const FEW_DAYS: usize = 10;
const STEPS_NEAR: usize = 7;

/// Steps of the search on all days: as many as pass so many values, within these bounds. A month of quarter hours takes
/// three, shorter series more.
const PASSED: usize = 8_100;
const STEPS: (usize, usize) = (3, 15);

/// Places from which a search begins: of the level's ratio and of the passing deviation's.
const PLACES: [(f64, f64); 6] = [(-3.0, -3.0), (-3.0, 0.0), (-2.0, 3.0), (0.0, 0.0), (3.0, 0.0), (3.0, 4.0)];

/// A step changes the logarithm of no ratio by more.
const FURTHEST: f64 = 4.0;

/// A step that gains less than this of twice the logarithm of the likelihood is the last.
const LEAST_GAIN: f64 = 0.2;

/// Deviation of the weak normal prior on the logarithm of each ratio around its start: it only tells where the series
/// does not.
const PRIOR: f64 = 3.0;

/// Variance of coefficients of which nothing is known, in units of the scale.
pub(super) const VAGUE: f64 = 1e4;

/// What is seen and through what, step by step.
pub(super) struct Seen<'a> {
    /// Logarithms, `None` where nothing was seen.
    pub(super) values: &'a [Option<f64>],
    /// The row of each.
    pub(super) rows: &'a [State],
}

/// Logarithms of the ratios: of the level's and the passing deviation's variances to the noise's, and of all others' to the
/// sum of these three, which is the scale.
type Ratios = SVector<f64, RATIOS>;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    /// In units of the values.
    pub(super) variances: Variances,
    /// What variances of the filter are multiples of.
    pub(super) scale: f64,
    /// Logarithm of the likelihood.
    pub(super) log_likelihood: f64,
    /// Logarithms of the ratios and their standard errors.
    pub(super) ratios: [(f64, f64); RATIOS],
}

/// Terms of the likelihood, step by step: the logarithm of the variance, and the squared error in units of it.
struct Terms {
    each: Vec<(f64, f64)>,
    /// Mean of the squares: the estimate of the scale.
    scale: f64,
    /// Minus twice the logarithm of the likelihood.
    deviance: f64,
}

/// Ratios that are likely on steps of which `day` make a day: noise, level and passing deviation alike, the slope little,
/// and a season that changes by a tenth of the noise in its period.
fn start(day: usize) -> Ratios {
    let day = day as f64;
    Ratios::from([0.0, 0.01_f64.ln(), 0.0, (0.01 / day).ln(), (0.01 / (7.0 * day)).ln()])
}

/// Half-lives of the slope and of a passing deviation, in shares of a day: an hour and four.
const SLOPE_HALF_LIFE: f64 = 1.0 / 24.0;
const PASSING_HALF_LIFE: f64 = 4.0 / 24.0;

/// Variances in units of the scale, which is the sum of the noise's, the level's and the passing deviation's.
fn variances(ratios: &Ratios, day: usize) -> Variances {
    let share = |half_life: f64| 0.5f64.powf(1.0 / (half_life * day as f64).max(0.25));
    let (level, passing) = (ratios[0].exp(), ratios[2].exp());
    let sum = 1.0 + level + passing;
    Variances {
        noise: 1.0 / sum,
        level: level / sum,
        slope: ratios[1].exp(),
        passing: passing / sum,
        day: ratios[3].exp(),
        week: ratios[4].exp(),
        damping: share(SLOPE_HALF_LIFE),
        persistence: share(PASSING_HALF_LIFE),
    }
}

impl Seen<'_> {
    /// The first value.
    pub(super) fn first(&self) -> f64 {
        self.values.iter().flatten().copied().next().unwrap_or(0.0)
    }

    /// Passes the filter over all steps, variances in units of the scale.
    fn terms(&self, variances: &Variances) -> Terms {
        let mut filter = Filter::new(self.first(), VAGUE, variances);
        let mut each = Vec::with_capacity(self.values.len());
        for (row, value) in self.rows.iter().zip(self.values) {
            if let Some(value) = value {
                let came = filter.update(row, *value, variances.noise);
                each.push((came.variance.ln(), came.error * came.error / came.variance));
            }
            filter.predict(variances);
        }
        let count = each.len() as f64;
        let scale = (each.iter().map(|(_, square)| square).sum::<f64>() / count).max(1e-12);
        let logs: f64 = each.iter().map(|(log, _)| log).sum();
        let deviance = count * (1.0 + (std::f64::consts::TAU * scale).ln()) + logs;
        Terms { each, scale, deviance }
    }

    /// Finds the variances; `None` when there is nothing to find them from. The search begins where the one before ended,
    /// else at the best of a few places, and comes near on the last days before it looks at all.
    pub(super) fn fit(&self, day: usize, before: Option<&Fit>) -> Option<Fit> {
        if self.values.iter().flatten().count() <= 2 * RATIOS {
            return None;
        }
        let begin = match before {
            Some(fit) => Ratios::from(fit.ratios.map(|(ratio, _)| ratio)),
            None => {
                let few = self.last(FEW_DAYS * day);
                let places = PLACES.map(|(level, passing)| {
                    let mut place = start(day);
                    (place[0], place[2]) = (level, passing);
                    (few.objective(&place, day).0, place)
                });
                let best = places.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
                few.climb(best.expect("places to begin from").1, day, STEPS_NEAR).0
            }
        };
        let steps = (PASSED / self.values.len()).clamp(STEPS.0, STEPS.1);
        let (ratios, errors, terms) = self.climb(begin, day, steps);
        let log_likelihood = -0.5 * terms.deviance;
        (terms.scale.is_finite() && log_likelihood.is_finite()).then(|| Fit {
            variances: variances(&ratios, day).times(terms.scale),
            scale: terms.scale,
            log_likelihood,
            ratios: std::array::from_fn(|ratio| (ratios[ratio], errors[ratio])),
        })
    }

    /// The last `count` steps, or all when there are fewer or when too few of them were seen.
    fn last(&self, count: usize) -> Seen<'_> {
        let dropped = self.values.len().saturating_sub(count);
        let dropped = if self.values[dropped..].iter().flatten().count() > 2 * RATIOS { dropped } else { 0 };
        Seen { values: &self.values[dropped..], rows: &self.rows[dropped..] }
    }

    /// Minus twice the logarithm of likelihood and prior together, and the likelihood's terms.
    fn objective(&self, ratios: &Ratios, day: usize) -> (f64, Terms) {
        let terms = self.terms(&variances(ratios, day));
        let prior = (ratios - start(day)).norm_squared() / (PRIOR * PRIOR);
        (if terms.deviance.is_nan() { f64::INFINITY } else { terms.deviance + prior }, terms)
    }

    /// Climbs from `ratios` for at most so many steps: where it came to, standard errors there, and the terms.
    fn climb(&self, mut ratios: Ratios, day: usize, steps: usize) -> (Ratios, [f64; RATIOS], Terms) {
        let (mut here, mut terms) = self.objective(&ratios, day);
        let mut errors = [f64::INFINITY; RATIOS];
        let mut damp = 1e-2;
        for _ in 0..steps {
            let (score, information) = self.scores(&terms, &ratios, day);
            let score = score - (ratios - start(day)) / (PRIOR * PRIOR);
            let information = information + SMatrix::<f64, RATIOS, RATIOS>::identity() / (PRIOR * PRIOR);
            if let Some(inverse) = information.try_inverse() {
                errors = std::array::from_fn(|ratio| inverse[(ratio, ratio)].max(0.0).sqrt());
            }
            let mut gained = 0.0;
            for _ in 0..4 {
                let damped = information + SMatrix::from_diagonal(&(information.diagonal() * damp));
                let Some(step) = damped.cholesky().map(|factors| factors.solve(&score)) else { break };
                // No step leads further than a curvature that was seen at one place can tell.
                let further = ratios + step * (FURTHEST / step.amax()).min(1.0);
                let (there, terms_there) = self.objective(&further, day);
                if there < here {
                    gained = here - there;
                    (ratios, here, terms) = (further, there, terms_there);
                    damp *= 0.1;
                    break;
                }
                damp *= 30.0;
            }
            if gained < LEAST_GAIN {
                break;
            }
        }
        (ratios, errors, terms)
    }

    /// Sum of the steps' scores and of their outer products, that of the scale taken out.
    fn scores(&self, at: &Terms, ratios: &Ratios, day: usize) -> (Ratios, SMatrix<f64, RATIOS, RATIOS>) {
        const STEP: f64 = 1e-3;
        let moved: [Vec<(f64, f64)>; RATIOS] = std::array::from_fn(|ratio| {
            let mut moved = *ratios;
            moved[ratio] += STEP;
            self.terms(&variances(&moved, day)).each
        });
        let term = |(log, square): (f64, f64)| -0.5 * (log + square / at.scale);
        let (mut sum, mut outer) = (Ratios::zeros(), SMatrix::<f64, RATIOS, RATIOS>::zeros());
        let (mut with_scale, mut scale) = (Ratios::zeros(), 0.0);
        for (nth, here) in at.each.iter().enumerate() {
            let score = Ratios::from_fn(|ratio, _| (term(moved[ratio][nth]) - term(*here)) / STEP);
            let of_scale = -0.5 * (1.0 - here.1 / at.scale);
            sum += score;
            outer.ger(1.0, &score, &score, 1.0);
            with_scale += score * of_scale;
            scale += of_scale * of_scale;
        }
        if scale > 0.0 {
            outer.ger(-1.0 / scale, &with_scale, &with_scale, 1.0);
        }
        (sum, outer)
    }
}

#[cfg(test)]
mod tests {
    use forebay_world::{Duration, Timestamp};

    use super::super::filter::{Simulation, row};
    use super::*;
    use crate::forecast::chance::Chance;
    use crate::forecast::grid::Grid;

    const DAY: usize = 24;

    fn simulated(truth: &Ratios, scale: f64, days: usize, seed: u64) -> (Vec<Option<f64>>, Vec<State>) {
        let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
        let rows: Vec<State> = (0..days * DAY).map(|at| row(grid.moment(at), true)).collect();
        let mut simulation = Simulation::new(scale, variances(truth, DAY), Chance::new(seed, "structural"));
        let values = rows.iter().map(|row| Some(simulation.next(row))).collect();
        (values, rows)
    }

    #[test]
    fn what_made_a_series_is_found_within_its_errors() {
        let mut truth = start(DAY);
        truth[0] = -1.0;
        truth[2] = 0.5;
        let (mut scores, tries) = (Vec::new(), 12);
        for seed in 0..tries {
            let (values, rows) = simulated(&truth, 0.01, 56, seed);
            let fit = Seen { values: &values, rows: &rows }.fit(DAY, None).unwrap();
            // Near the end of the scale: the sum of level and noise together.
            assert!((fit.scale / 0.01).ln().abs() < 1.0, "{seed}: {}", fit.scale);
            // The slope is too small beside the rest to be told; it keeps what the prior says.
            for ratio in [0, 2, 3, 4] {
                let (found, error) = fit.ratios[ratio];
                assert!(error.is_finite() && error > 0.0, "{seed}: {ratio}");
                scores.push((found - truth[ratio]) / error);
            }
        }
        // Deviations in units of their errors: 95 % of them within 1.96, give or take three deviations of that share.
        let within = scores.iter().filter(|score| score.abs() < 1.96).count() as f64 / scores.len() as f64;
        assert!(within > 0.95 - 3.0 * (0.0475 / scores.len() as f64).sqrt(), "{within}: {scores:?}");
        // And not because errors were said to be large: they are not all near zero.
        let square = scores.iter().map(|score| score * score).sum::<f64>() / scores.len() as f64;
        assert!((0.3..2.0).contains(&square), "{square}: {scores:?}");
    }

    #[test]
    fn the_fit_is_at_a_maximum_and_scales() {
        let (values, rows) = simulated(&start(DAY), 0.02, 28, 3);
        let seen = Seen { values: &values, rows: &rows };
        let fit = seen.fit(DAY, None).unwrap();
        let ratios = Ratios::from(fit.ratios.map(|(ratio, _)| ratio));
        let objective = |ratios: &Ratios| {
            let prior = (ratios - start(DAY)).norm_squared() / (PRIOR * PRIOR);
            seen.terms(&variances(ratios, DAY)).deviance + prior
        };
        let here = objective(&ratios);
        for ratio in 0..RATIOS {
            for step in [-0.5, 0.5] {
                let mut moved = ratios;
                moved[ratio] += step;
                assert!(objective(&moved) > here - LEAST_GAIN, "{ratio} {step}: {} {here}", objective(&moved));
            }
        }
        // Seven times the values: the same ratios, 49 times the scale.
        let large: Vec<Option<f64>> = values.iter().map(|value| value.map(|value| 7.0 * value)).collect();
        let again = Seen { values: &large, rows: &rows }.fit(DAY, None).unwrap();
        assert!((again.scale / fit.scale / 49.0 - 1.0).abs() < 1e-6, "{} {}", again.scale, fit.scale);
        // A search that begins where the last one ended ends no lower.
        let warm = seen.fit(DAY, Some(&fit)).unwrap();
        assert!(warm.log_likelihood > fit.log_likelihood - LEAST_GAIN, "{warm:?} {fit:?}");
        assert!(Seen { values: &values[..8], rows: &rows[..8] }.fit(DAY, None).is_none());
    }
}
