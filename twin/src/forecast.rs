//! What demand will be: forecasters by name, and the spread of their errors.
//!
//! A [`Forecaster`] follows one series and says what to expect; [`Residuals`] learns how far off it has been at the
//! lead that matters, and turns the expectation into quantiles. Both follow one window after the other, in constant
//! time, and neither knows what the series means.

mod alone;
pub mod artefact;
mod calibration;
pub mod chance;
mod chronicle;
mod ensemble;
pub mod follower;
pub mod grid;
mod holt;
mod losses;
pub mod lstm;
pub mod model;
mod naive;
mod normal;
pub mod paths;
mod profile;
pub mod quantiles;
mod residuals;
pub mod trained;
pub mod windows;

use forebay_world::{Duration, Timestamp};

pub use normal::normal_quantile;
pub use residuals::Residuals;

/// Follows one series and says what to expect of it.
pub trait Forecaster: Send {
    /// Its name in [`NAMES`].
    fn name(&self) -> &'static str;

    /// Takes in the mean over the window that ended at `at`, `None` where nothing was seen. Windows come in order.
    fn observe(&mut self, at: Timestamp, value: Option<f64>);

    /// The median to expect at `at`, a moment not before the last window's end; `None` before anything was seen.
    fn expect(&self, at: Timestamp) -> Option<f64>;

    /// A copy with all it remembers: for checkpoints and forks.
    fn clone_box(&self) -> Box<dyn Forecaster>;
}

impl Clone for Box<dyn Forecaster> {
    fn clone(&self) -> Self {
        self.clone_box()
    }
}

/// The forecasters there are, by name.
pub const NAMES: &[&str] = &["naive", "seasonal-naive-day", "seasonal-naive-week", "holt", "profile"];

/// Makes the forecaster called `name`; `None` when there is none of that name.
pub fn build(name: &str) -> Option<Box<dyn Forecaster>> {
    Some(match name {
        "naive" => Box::new(naive::Naive::default()),
        "seasonal-naive-day" => Box::new(naive::SeasonalNaive::new("seasonal-naive-day", Duration::from_hours(24))),
        "seasonal-naive-week" => {
            Box::new(naive::SeasonalNaive::new("seasonal-naive-week", Duration::from_hours(7 * 24)))
        }
        "holt" => Box::new(holt::Holt::default()),
        "profile" => Box::new(profile::Profile::default()),
        _ => return None,
    })
}

/// Quantiles of a series over coming steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// When it was made.
    pub origin: Timestamp,
    /// Length of a step; the first ends one step after the origin.
    pub step: Duration,
    /// Quantile levels, ascending, 0 to 1.
    pub levels: Vec<f64>,
    /// For each step, the quantile at each level.
    pub values: Vec<Vec<f64>>,
}

impl Forecast {
    /// Spreads what a forecaster expects by the errors it has made at the lead that `residuals` learned at. Errors
    /// at other leads are taken to grow with the square root of the lead, as those of a random walk do.
    /// `None` before the forecaster has seen anything.
    pub fn make(
        forecaster: &dyn Forecaster,
        residuals: &Residuals,
        learned_lead: Duration,
        origin: Timestamp,
        step: Duration,
        steps: u32,
        levels: &[f64],
    ) -> Option<Forecast> {
        let values = (1..=u64::from(steps))
            .map(|k| {
                let lead = Duration::from_nanos(step.as_nanos().saturating_mul(k));
                let median = forecaster.expect(origin.saturating_add(lead))?;
                let growth = (lead.as_secs_f64() / learned_lead.as_secs_f64().max(1.0)).sqrt();
                let spread = Residuals::scale(median) * growth;
                Some(levels.iter().map(|level| (median + residuals.quantile(*level) * spread).max(0.0)).collect())
            })
            .collect::<Option<_>>()?;
        Some(Forecast { origin, step, levels: levels.to_vec(), values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// Mean absolute error at a lead, over the last day of `days`, of a series seen by the minute.
    fn error(name: &str, days: u64, lead: Duration, series: &dyn Fn(f64) -> f64) -> f64 {
        let mut forecaster = build(name).unwrap();
        let (mut sum, mut count) = (0.0, 0u32);
        for minute in 0..days * 1440 {
            let at = Timestamp::EPOCH + MINUTE * minute;
            forecaster.observe(at, Some(series(minute as f64 / 60.0)));
            if minute > (days - 1) * 1440 {
                let expected = forecaster.expect(at + lead).unwrap();
                sum += (expected - series(minute as f64 / 60.0 + lead.as_hours_f64())).abs();
                count += 1;
            }
        }
        sum / f64::from(count)
    }

    fn diurnal(hour: f64) -> f64 {
        200.0 + 150.0 * (hour / 24.0 * std::f64::consts::TAU).sin() + 30.0 * (hour / 6.0 * std::f64::consts::TAU).cos()
    }

    #[test]
    fn every_name_builds_a_forecaster_of_that_name() {
        for name in NAMES {
            let forecaster = build(name).unwrap();
            assert_eq!(forecaster.name(), *name);
            assert_eq!(forecaster.expect(Timestamp::EPOCH), None);
        }
        assert!(build("tarot").is_none());
    }

    #[test]
    fn a_season_that_was_learned_beats_the_last_value() {
        let hour = Duration::from_hours(1);
        let naive = error("naive", 4, hour, &diurnal);
        for (name, share) in [("seasonal-naive-day", 0.1), ("profile", 0.25)] {
            let seasonal = error(name, 4, hour, &diurnal);
            assert!(seasonal < share * naive, "{name}: {seasonal} of {naive}");
        }
    }

    #[test]
    fn a_profile_keeps_its_level_when_today_differs_from_yesterday() {
        let doubled = |hour: f64| diurnal(hour) * if hour >= 72.0 { 2.0 } else { 1.0 };
        let lead = Duration::from_mins(5);
        let day = error("seasonal-naive-day", 4, lead, &doubled);
        let profile = error("profile", 4, lead, &doubled);
        assert!(profile < 0.05 * day, "{profile} of {day}");
    }

    #[test]
    fn a_ramp_is_followed_ahead() {
        let ramp = |hour: f64| if hour < 1.0 { 100.0 } else { 100.0 * (1.0 + (hour - 1.0) * 6.0) };
        for name in ["holt", "profile"] {
            let mut forecaster = build(name).unwrap();
            for minute in 0..=80 {
                forecaster.observe(Timestamp::EPOCH + MINUTE * minute, Some(ramp(minute as f64 / 60.0)));
            }
            let (now, then) = (ramp(80.0 / 60.0), ramp(84.0 / 60.0));
            let expected = forecaster.expect(Timestamp::EPOCH + MINUTE * 84).unwrap();
            assert!((expected - then).abs() < 0.35 * (then - now), "{name}: {now} to {then}, expected {expected}");
        }
    }

    #[test]
    fn a_gap_is_not_a_zero() {
        for name in NAMES {
            let mut forecaster = build(name).unwrap();
            for minute in 0..3 * 1440_u64 {
                let seen = (!(2 * 1440..=2 * 1440 + 600).contains(&minute)).then_some(100.0);
                forecaster.observe(Timestamp::EPOCH + MINUTE * minute, seen);
                if minute > 1500 {
                    let expected = forecaster.expect(Timestamp::EPOCH + MINUTE * (minute + 5)).unwrap();
                    assert!((expected - 100.0).abs() < 1.0, "{name} at {minute}: {expected}");
                }
            }
        }
    }

    #[test]
    fn quantiles_ascend_and_widen_with_the_lead() {
        let mut forecaster = build("naive").unwrap();
        forecaster.observe(Timestamp::EPOCH, Some(400.0));
        let residuals = Residuals::default();
        let levels = [0.1, 0.5, 0.9];
        let forecast =
            Forecast::make(&*forecaster, &residuals, MINUTE * 4, Timestamp::EPOCH, MINUTE, 8, &levels).unwrap();
        assert_eq!(forecast.values.len(), 8);
        for values in &forecast.values {
            assert!(values.is_sorted());
        }
        assert!(forecast.values[7][2] > forecast.values[0][2]);
    }
}
