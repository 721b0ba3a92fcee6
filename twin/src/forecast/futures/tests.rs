use super::*;
use crate::forecast::quantiles::LEVELS;

/// Follows x(t) = 1000 + z(t), z autoregressive of order one with unit variance times 100, and knows it: its quantiles
/// are exact.
#[derive(Clone)]
struct Autoregressive {
    persistence: f64,
    state: Option<f64>,
}

impl Follower for Autoregressive {
    fn observe(&mut self, value: Option<f64>) {
        self.state = value.or(self.state.map(|state| 1000.0 + (state - 1000.0) * self.persistence));
    }

    fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
        let state = self.state.ok_or(Unfit::TooShort { have: 0, need: 1 })? - 1000.0;
        let rows = (1..=steps as i32)
            .map(|ahead| {
                let kept = self.persistence.powi(ahead);
                let deviation = 100.0 * (1.0 - kept * kept).sqrt();
                LEVELS.map(|level| 1000.0 + kept * state + deviation * normal_quantile(level))
            })
            .collect();
        Ok(Outlook { quantiles: Quantiles::new(rows), by: "exact", instead: None })
    }

    fn clone_box(&self) -> Box<dyn Follower> {
        Box::new(self.clone())
    }
}

/// The series it follows.
struct Series {
    persistence: f64,
    chance: Chance,
    state: f64,
}

impl Series {
    fn new(persistence: f64, seed: u64) -> Self {
        Series { persistence, chance: Chance::new(seed, "autoregressive"), state: 0.0 }
    }

    fn next(&mut self) -> f64 {
        let innovation = 100.0 * (1.0 - self.persistence * self.persistence).sqrt();
        self.state = self.persistence * self.state + innovation * self.chance.normal();
        1000.0 + self.state
    }
}

const HORIZON: usize = 12;

fn sampler(persistence: f64) -> Sampler {
    Sampler::new(Box::new(Autoregressive { persistence, state: None }), HORIZON, 7)
}

/// The same quantiles with every step dealt out on its own.
fn apart(paths: &Paths, seed: u64) -> Paths {
    let mut columns: Vec<Vec<f64>> =
        (0..paths.steps()).map(|step| paths.iter().map(|path| path[step]).collect()).collect();
    let mut chance = Chance::new(seed, "apart");
    for column in &mut columns {
        for at in (1..column.len()).rev() {
            column.swap(at, chance.below(at + 1));
        }
    }
    Paths::new(
        paths.steps(),
        (0..paths.count()).flat_map(|path| columns.iter().map(move |c| c[path]).collect::<Vec<_>>()).collect(),
    )
}

#[test]
fn each_step_is_spread_as_the_forecast_says() {
    let (mut sampler, mut series) = (sampler(0.9), Series::new(0.9, 1));
    for _ in 0..5 * HORIZON + 3 {
        sampler.observe(Some(series.next()));
        let (outlook, paths) = sampler.forecast(HORIZON).unwrap();
        assert_eq!((paths.count(), paths.steps()), (PATHS, HORIZON));
        for ahead in 0..HORIZON {
            let spread = paths.at(ahead);
            for place in 0..PATHS {
                let level = (place as f64 + 0.5) / PATHS as f64;
                let (dealt, said) = (spread.values()[place], outlook.quantiles.quantile(ahead, level));
                assert!((dealt - said).abs() < 1e-9, "{ahead} {level}: {dealt} {said}");
            }
        }
        let part = sampler.paths(&outlook.quantiles, 3..8);
        for (whole, part) in paths.iter().zip(part.iter()) {
            assert_eq!(&whole[3..8], part);
        }
    }
    assert!(matches!(sampler.forecast(HORIZON + 1), Err(Unfit::Mismatch { .. })));
}

/// Whether the most of a window stays within its 90 % quantile as often as it should: over 600 origins, far enough
/// apart to be about independent, within 3.5 standard deviations. Steps on their own would keep within far more often.
fn covers(persistence: f64, warm: usize, seed: u64) {
    let (mut sampler, mut series) = (sampler(persistence), Series::new(persistence, seed));
    for _ in 0..warm {
        sampler.observe(Some(series.next()));
    }
    let origins = 600;
    let (mut within, mut within_apart, mut sized, mut sized_apart) = (0, 0, 0.0, 0.0);
    for origin in 0..origins {
        sampler.observe(Some(series.next()));
        let (_, paths) = sampler.forecast(HORIZON).unwrap();
        let quantile = paths.most(2..HORIZON).quantile(0.9);
        let quantile_apart = apart(&paths, origin).most(2..HORIZON).quantile(0.9);
        let came: Vec<f64> = (0..HORIZON).map(|_| series.next()).collect();
        let most = came[2..].iter().copied().fold(0.0, f64::max);
        within += i32::from(most <= quantile);
        within_apart += i32::from(most <= quantile_apart);
        sized += quantile;
        sized_apart += quantile_apart;
        came.iter().for_each(|value| sampler.observe(Some(*value)));
        for _ in 0..3 * HORIZON {
            sampler.observe(Some(series.next()));
        }
    }
    let n = origins as f64;
    let (share, share_apart) = (f64::from(within) / n, f64::from(within_apart) / n);
    let allowed = 3.5 * (0.9 * 0.1 / n).sqrt();
    assert!((share - 0.9).abs() < allowed, "{persistence}: {share} within the 90 % quantile");
    assert!(share_apart > 0.9 + allowed, "{persistence}: steps apart keep within {share_apart}");
    assert!(sized_apart / n > sized / n + 20.0, "{persistence}: {} {}", sized_apart / n, sized / n);
}

#[test]
fn the_most_of_a_window_is_as_often_within_its_quantile_as_it_says() {
    covers(0.9, 2 * PATHS * HORIZON, 2);
    covers(0.97, 2 * PATHS * HORIZON, 3);
}

#[test]
fn a_few_forecasts_suffice_to_learn_how_persistent_errors_are() {
    let (mut sampler, mut series) = (sampler(0.5), Series::new(0.5, 4));
    assert!((sampler.persistence() - USUAL_PERSISTENCE).abs() < 1e-12);
    for _ in 0..20 * HORIZON {
        sampler.observe(Some(series.next()));
    }
    // Twenty vectors of eleven pairs: a standard error of 0.06 and what is left of the usual.
    let persistence = sampler.persistence();
    assert!((0.3..0.75).contains(&persistence), "{persistence}");
}

#[test]
fn a_copy_goes_on_exactly_as_the_original() {
    let (mut sampler, mut series) = (sampler(0.9), Series::new(0.9, 5));
    for step in 0..7 * HORIZON + 5 {
        // Every thirteenth step is not seen, and one forecast meets almost nothing.
        let value = series.next();
        sampler.observe((step % 13 != 4 && !(40..70).contains(&step)).then_some(value));
    }
    let mut copy = sampler.clone();
    for _ in 0..3 * HORIZON {
        let value = series.next();
        sampler.observe(Some(value));
        // Asking changes nothing.
        let _ = copy.forecast(3);
        copy.observe(Some(value));
        assert_eq!(sampler.forecast(HORIZON).unwrap(), copy.forecast(HORIZON).unwrap());
    }
}

#[test]
fn what_never_changes_has_one_future() {
    let mut sampler = sampler(0.9);
    assert!(matches!(sampler.forecast(2), Err(Unfit::TooShort { .. })));
    #[derive(Clone)]
    struct Still;
    impl Follower for Still {
        fn observe(&mut self, _value: Option<f64>) {}
        fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
            Ok(Outlook { quantiles: Quantiles::new(vec![[0.0; LEVELS.len()]; steps]), by: "still", instead: None })
        }
        fn clone_box(&self) -> Box<dyn Follower> {
            Box::new(self.clone())
        }
    }
    let mut still = Sampler::new(Box::new(Still), 3, 1);
    for _ in 0..30 {
        still.observe(Some(0.0));
    }
    let (_, paths) = still.forecast(3).unwrap();
    assert!(paths.iter().flatten().all(|value| *value == 0.0));
}

#[test]
fn samplers_side_by_side_keep_high_what_was_high_together() {
    let (mut one, mut other) = (sampler(0.9), sampler(0.9));
    let mut series = Series::new(0.9, 6);
    for _ in 0..PATHS * HORIZON {
        let value = series.next();
        one.observe(Some(value));
        other.observe(Some(2.0 * value - 1000.0));
    }
    let (_, first) = one.forecast(4).unwrap();
    let (_, second) = other.forecast(4).unwrap();
    let mut sum = first.clone();
    sum.add(&second, 1.0);
    let (apart, together) = (first.at(1).quantile(0.9) + second.at(1).quantile(0.9), sum.at(1).quantile(0.9));
    assert!((apart - together).abs() < 1e-6 * apart, "{apart} {together}");
}
