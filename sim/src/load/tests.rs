use std::sync::Arc;

use forebay_world::{Duration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::Stream;
use crate::example::{MONDAY, kolmogorov_smirnov, lively, mean_and_bound, setup, steady};
use crate::setup::{Fidelity, FlashCrowd, Load, LocalTime, QueryLog, QueryLogTaken, RateSeries, Setup, Synthetic};

const HOUR: Duration = Duration::from_hours(1);

fn with_load(load: Synthetic) -> Setup {
    Setup { load: vec![Load::Synthetic(load)], ..setup(1) }
}

fn crowd() -> FlashCrowd {
    FlashCrowd {
        name: "match".into(),
        cells: vec![0],
        at: MONDAY + HOUR * 10,
        jitter: Duration::ZERO,
        ramp: Duration::from_mins(20),
        hold: Duration::from_mins(60),
        decay: Duration::from_mins(15),
        factor: 5.0,
        factor_sigma: 0.0,
    }
}

/// Everything at once: local time with a change of clock, noise, two crowds that overlap.
fn busy(rate: f64, seed: u64) -> Setup {
    let second = FlashCrowd { at: MONDAY + HOUR * 11, factor: 0.3, ramp: Duration::ZERO, ..crowd() };
    Setup {
        seed,
        crowds: vec![FlashCrowd { jitter: Duration::from_mins(10), factor_sigma: 0.3, ..crowd() }, second],
        local_time: vec![LocalTime(vec![(Timestamp::EPOCH, 7200), (MONDAY + HOUR * 13, 3600)])],
        ..with_load(lively(rate))
    }
}

// The rate.

#[test]
fn the_rate_at_the_middle_of_a_local_hour_is_base_times_day_times_week() {
    let load = Synthetic { noise_sigma: 0.0, ..lively(10.0) };
    for offset in [0, 3600, -18_000, 20_700] {
        let setup = Setup { local_time: vec![LocalTime(vec![(Timestamp::EPOCH, offset)])], ..with_load(load.clone()) };
        let curve = RateCurve::new(&setup, 0);
        for hour in 0..168usize {
            let local = MONDAY.as_nanos() as i64 / 1_000_000_000 + hour as i64 * 3600 + 1800;
            let t = Timestamp::from_secs((local - i64::from(offset)) as u64);
            let expected = 10.0 * load.daily[hour % 24] * load.weekly[hour / 24];
            assert!((curve.rate(t) - expected).abs() < 1e-9, "hour {hour} at offset {offset}");
            let next = (hour + 1) % 168;
            let after = 10.0 * load.daily[next % 24] * load.weekly[next / 24];
            let quarter = curve.rate(t + Duration::from_mins(15));
            assert!((quarter - (0.75 * expected + 0.25 * after)).abs() < 1e-9, "linear between hours");
        }
    }
}

#[test]
fn the_mean_over_a_local_week_is_the_base() {
    let load = Synthetic { noise_sigma: 0.0, ..lively(10.0) };
    let means = load.daily.iter().sum::<f64>() / 24.0 * load.weekly.iter().sum::<f64>() / 7.0;
    let curve = RateCurve::new(&with_load(load), 0);
    let mean = curve.mean_rate(MONDAY, MONDAY + HOUR * 168);
    assert!((mean - 10.0 * means).abs() < 1e-9, "{mean}");
}

#[test]
fn when_the_clocks_change_the_day_moves_with_them() {
    let change = MONDAY + HOUR * 25;
    let local = LocalTime(vec![(Timestamp::EPOCH, 3600), (change, 7200)]);
    let load = Synthetic { noise_sigma: 0.0, weekly: [1.0; 7], ..lively(1.0) };
    let moved = RateCurve::new(&Setup { local_time: vec![local], ..with_load(load.clone()) }, 0);
    let [winter, summer] = [3600, 7200].map(|offset| {
        let local = LocalTime(vec![(Timestamp::EPOCH, offset)]);
        RateCurve::new(&Setup { local_time: vec![local], ..with_load(load.clone()) }, 0)
    });
    for minute in (0..48 * 60).step_by(7) {
        let t = MONDAY + Duration::from_mins(minute);
        let expected = if t < change { winter.rate(t) } else { summer.rate(t) };
        assert!((moved.rate(t) - expected).abs() < 1e-12, "minute {minute}");
    }
    assert!(moved.rate(change) != winter.rate(change));
}

#[test]
fn the_first_days_of_1970_are_no_exception() {
    let load = Synthetic { noise_sigma: 0.0, ..lively(1.0) };
    for offset in [-36_000, 0, 36_000] {
        let local = vec![LocalTime(vec![(Timestamp::EPOCH, offset)])];
        let curve = RateCurve::new(&Setup { local_time: local, ..with_load(load.clone()) }, 0);
        for minute in 0..120 {
            let t = Timestamp::EPOCH + Duration::from_mins(minute);
            let week_later = t + HOUR * 168;
            assert!((curve.rate(t) - curve.rate(week_later)).abs() < 1e-9, "minute {minute} at offset {offset}");
        }
    }
}

#[test]
fn a_crowd_ramps_holds_and_decays() {
    let setup = Setup { crowds: vec![crowd()], ..with_load(steady(2.0)) };
    let curve = RateCurve::new(&setup, 0);
    let minutes = |m: u64| crowd().at + Duration::from_mins(m);
    for (minute, factor) in [(0, 1.0), (5, 2.0), (10, 3.0), (20, 5.0), (79, 5.0), (80, 5.0), (400, 1.0)] {
        let rate = curve.rate(minutes(minute));
        assert!((rate - 2.0 * factor).abs() < 1e-5, "minute {minute}: {rate}");
    }
    for constants in 1..6 {
        let rate = curve.rate(minutes(80 + 15 * constants));
        let expected = 2.0 * (1.0 + 4.0 * (-(constants as f64)).exp());
        assert!((rate / expected - 1.0).abs() < 1e-9, "at the ends of pieces the decay is exact");
    }
    assert_eq!(curve.rate(crowd().at.saturating_sub(Duration::from_secs(1))), 2.0);
    assert_eq!(curve.max_rate(MONDAY, MONDAY + HOUR * 24), 10.0);
    assert_eq!(curve.max_rate(MONDAY, MONDAY + HOUR), 2.0);
}

/// Begin and factor over 2,000 seeds: normal with the set deviation, log-normal with the set median.
#[test]
fn crowds_come_early_or_late_and_large_or_small_by_seed() {
    let setup = |seed| {
        let crowd = FlashCrowd {
            jitter: Duration::from_mins(10),
            factor_sigma: 0.25,
            ramp: Duration::ZERO,
            hold: HOUR * 3,
            ..crowd()
        };
        Setup { seed, crowds: vec![crowd], ..with_load(steady(1.0)) }
    };
    let (mut begins, mut sizes) = (Vec::new(), Vec::new());
    for seed in 0..2000 {
        let curve = RateCurve::new(&setup(seed), 0);
        sizes.push((curve.rate(crowd().at + HOUR * 2) / 5.0).ln() / 0.25);
        let first = curve.sweep(MONDAY).piece.until;
        let late = first.as_secs_f64() - crowd().at.as_secs_f64();
        // The first piece may end at an hour's middle; look on until the jump.
        let mut sweep = curve.sweep(MONDAY);
        while curve.rate(sweep.piece.until) == 1.0 {
            sweep.turn();
        }
        let late =
            if curve.rate(first) != 1.0 { late } else { sweep.piece.until.as_secs_f64() - crowd().at.as_secs_f64() };
        begins.push(late / 600.0);
    }
    for sample in [begins, sizes] {
        let squares: Vec<f64> = sample.iter().map(|z| z * z - 1.0).collect();
        for standard in [sample, squares] {
            let (mean, bound) = mean_and_bound(&standard);
            assert!(mean.abs() < bound, "{mean} ± {bound}");
        }
    }
}

#[test]
fn a_crowd_concerns_its_cells_and_is_alike_in_all_of_them() {
    let both = FlashCrowd { cells: vec![0, 2], jitter: Duration::from_mins(10), factor_sigma: 0.5, ..crowd() };
    let setup = Setup { crowds: vec![both], ..setup(3) };
    let [a, b, c] = [0, 1, 2].map(|cell| RateCurve::new(&setup, cell));
    for minute in 0..24 * 60 {
        let t = MONDAY + Duration::from_mins(minute);
        assert_eq!(a.rate(t), c.rate(t));
        assert_eq!(b.rate(t), 1.0);
    }
}

#[test]
fn a_series_holds_each_rate_for_its_step_and_is_silent_outside() {
    let rates = vec![3.0, 0.0, 7.0];
    let start = MONDAY + HOUR;
    let series = RateSeries { start, step: Duration::from_mins(10), sessions_per_second: rates };
    let setup = Setup { load: vec![Load::Series(Arc::new(series))], ..setup(1) };
    let curve = RateCurve::new(&setup, 0);
    for (minute, rate) in [(0, 3.0), (9, 3.0), (10, 0.0), (19, 0.0), (20, 7.0), (29, 7.0), (30, 0.0), (500, 0.0)] {
        assert_eq!(curve.rate(start + Duration::from_mins(minute)), rate, "minute {minute}");
    }
    assert_eq!(curve.rate(MONDAY), 0.0);
    assert!((curve.mean_rate(MONDAY, MONDAY + HOUR * 2) - 10.0 / 12.0).abs() < 1e-12);
    assert!(Arrivals::new(&setup, 0).all(|arrival| curve.rate(arrival.at) > 0.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_walk_and_single_questions_agree(seed: u64, cuts in prop::collection::vec(0u64..86_400_000, 2..20)) {
        let curve = RateCurve::new(&busy(3.0, seed), 0);
        let mut cuts = cuts;
        cuts.sort_unstable();
        let times: Vec<Timestamp> = cuts.iter().map(|ms| MONDAY + Duration::from_millis(*ms)).collect();
        let mut sweep = curve.sweep(times[0]);
        let mut sum = 0.0;
        for pair in times.windows(2) {
            let (mean, walked) = (curve.mean_rate(pair[0], pair[1]), sweep.mean_to(pair[1]));
            prop_assert!((mean - walked).abs() <= 1e-9 * mean);
            prop_assert!(mean <= curve.max_rate(pair[0], pair[1]) * (1.0 + 1e-12));
            prop_assert!(curve.rate(pair[0]) <= curve.max_rate(pair[0], pair[1]));
            sum += walked * pair[1].since(pair[0]).as_secs_f64();
        }
        let whole = curve.sweep(times[0]).expected_to(times[times.len() - 1]);
        prop_assert!((sum - whole).abs() <= 1e-9 * whole.max(1.0));
    }

    /// The midpoint rule at one second, exact on straight pieces; jumps of the rate fall on whole seconds but for the
    /// jittered crowd's.
    #[test]
    fn the_mean_rate_is_the_integral_of_the_rate(seed: u64, from in 0u64..80_000, length in 1u64..6_000) {
        let curve = RateCurve::new(&busy(3.0, seed), 0);
        let (from, to) = (MONDAY + Duration::from_secs(from), MONDAY + Duration::from_secs(from + length));
        let mut sweep = curve.sweep(from);
        let mut sum = 0.0;
        for second in 0..length {
            let middle = from + Duration::from_secs(second) + Duration::from_millis(500);
            sweep.expected_to(middle);
            sum += sweep.mean_to(middle);
        }
        let mean = curve.mean_rate(from, to);
        prop_assert!((sum / length as f64 - mean).abs() <= 1e-4 * mean + 1.0 / length as f64 * 1e-2, "{} {mean}", sum / length as f64);
    }
}

// Arrivals.

/// 300 seeds, each with its own noise and crowd: (n − Λ)²/Λ adds up to χ² with 300 degrees of freedom, and 93–97 % of
/// counts … of 300 lie in the 95 % interval but for chance: binomial, four standard errors.
#[test]
fn counts_are_poisson_around_the_integral_of_the_rate() {
    let seeds = 300;
    let (mut chi2, mut covered) = (0.0, 0);
    for seed in 0..seeds {
        let setup = busy(0.05, seed);
        let expected = RateCurve::new(&setup, 0).mean_rate(setup.start, setup.end) * 86_400.0;
        let z = (Arrivals::new(&setup, 0).count() as f64 - expected) / expected.sqrt();
        chi2 += z * z;
        covered += i32::from(z.abs() < 1.96);
    }
    let n = f64::from(seeds as u32);
    assert!((chi2 - n).abs() < 4.0 * (2.0 * n).sqrt(), "χ² = {chi2}");
    assert!((f64::from(covered) / n - 0.95).abs() < 4.0 * (0.95 * 0.05 / n).sqrt(), "{covered}");
}

#[test]
fn on_the_clock_of_expected_arrivals_gaps_are_exponential() {
    for seed in 0..5 {
        let setup = busy(0.5, seed);
        let mut sweep = RateCurve::new(&setup, 0).sweep(setup.start);
        let gaps = Arrivals::new(&setup, 0).map(|arrival| 1.0 - (-sweep.expected_to(arrival.at)).exp()).collect();
        let distance = kolmogorov_smirnov(gaps);
        assert!(distance < 1.95, "seed {seed}: {distance}");
    }
}

/// Steep slopes with a handful of sessions each, from and to nothing: every gap is the very exponential that was drawn
/// for it, but for the rounding to nanoseconds.
#[test]
fn a_gap_on_the_clock_of_expected_arrivals_is_the_exponential_drawn_for_it() {
    let daily = std::array::from_fn(|hour| if hour % 3 == 0 { 0.0 } else { 1.5 });
    let steep = with_load(Synthetic { daily, ..steady(0.001) });
    for setup in [Setup { end: MONDAY + HOUR * 1000, ..steep }, busy(0.05, 1), busy(5.0, 2)] {
        let mut sweep = RateCurve::new(&setup, 0).sweep(setup.start);
        let mut draws = Stream::new(setup.seed, "arrivals", 0);
        let mut expected = 0.0;
        let mut elapsed = 0.0;
        for arrival in Arrivals::new(&setup, 0) {
            expected += draws.exponential();
            (0..5).for_each(|_| _ = draws.bits());
            elapsed += sweep.expected_to(arrival.at);
            assert!((elapsed - expected).abs() < 1e-6, "at {}: {elapsed} {expected}", arrival.at);
        }
        assert!(expected > 1000.0);
    }
}

#[test]
fn arrivals_come_in_order_within_the_run_and_a_copy_goes_on_alike() {
    let setup = busy(2.0, 7);
    let mut arrivals = Arrivals::new(&setup, 0);
    let mut last = setup.start;
    for _ in 0..5000 {
        let arrival = arrivals.next().unwrap();
        assert!(last <= arrival.at && arrival.at < setup.end);
        last = arrival.at;
    }
    let rest: Vec<Arrival> = arrivals.clone().collect();
    assert!(rest.len() > 10_000);
    assert!(arrivals.eq(rest));
}

#[test]
fn the_nth_session_is_the_same_whatever_the_rate() {
    let of = |rate| Arrivals::new(&with_load(steady(rate)), 0).take(1000);
    for (a, b) in of(0.5).zip(of(3.0)) {
        assert_eq!(a, Arrival { at: a.at, ..b });
    }
}

#[test]
fn an_arrival_is_small() {
    assert!(size_of::<Arrival>() <= 48);
}

#[test]
fn sessions_are_spread_over_resolvers_subnets_amounts_and_luck_as_set() {
    let mut setup = with_load(steady(2.0));
    setup.dns.ecs_subnets = 16;
    let arrivals: Vec<Arrival> = Arrivals::new(&setup, 0).collect();
    let n = arrivals.len() as f64;
    assert!(n > 150_000.0);
    // 20 resolvers under Zipf's law with exponent 1: χ² with 19 degrees of freedom, 99.9 % below 43.8; 16 even subnets:
    // 15 degrees, below 37.7.
    let harmonic: f64 = (1..=20).map(|rank| 1.0 / f64::from(rank)).sum();
    let (mut resolvers, mut subnets) = ([0u32; 20], [0u32; 16]);
    for arrival in &arrivals {
        resolvers[arrival.resolver as usize] += 1;
        subnets[usize::from(arrival.subnet)] += 1;
    }
    let chi2 = |counts: &[u32], share: &dyn Fn(usize) -> f64| -> f64 {
        counts.iter().enumerate().map(|(i, &k)| (f64::from(k) - n * share(i)).powi(2) / (n * share(i))).sum()
    };
    assert!(chi2(&resolvers, &|i| 1.0 / (i + 1) as f64 / harmonic) < 43.8);
    assert!(chi2(&subnets, &|_| 1.0 / 16.0) < 37.7);
    assert!(kolmogorov_smirnov(arrivals.iter().map(|a| a.luck).collect()) < 1.95);
    assert!(kolmogorov_smirnov(arrivals.iter().map(|a| 1.0 - (-a.amount).exp()).collect()) < 1.95);
    assert!(kolmogorov_smirnov(arrivals.iter().map(|a| a.pick as f64 / 2f64.powi(64)).collect()) < 1.95);
}

#[test]
fn no_load_makes_no_session() {
    let silent = Load::Series(Arc::new(RateSeries { start: MONDAY, step: HOUR, sessions_per_second: vec![0.0; 24] }));
    let log = QueryLog {
        at: Vec::new(),
        resolver: Vec::new(),
        name: Vec::new(),
        taken: QueryLogTaken::AtAuthority,
        sessions_per_query: 1,
    };
    for load in [Load::None, Load::Synthetic(steady(0.0)), silent, Load::Queries(Arc::new(log))] {
        let setup = Setup { load: vec![load], ..setup(1) };
        assert_eq!(Arrivals::new(&setup, 0).next(), None);
        assert_eq!(RateCurve::new(&setup, 0).mean_rate(setup.start, setup.end), 0.0);
        assert!(demand_path(&setup, HOUR).peak[0].iter().all(|sessions| *sessions == 0.0));
    }
}

#[test]
fn a_load_that_begins_late_is_found() {
    let mut rates = vec![0.0; 24 * 60];
    rates[1400] = 2.0;
    let series = RateSeries { start: MONDAY, step: Duration::from_mins(1), sessions_per_second: rates };
    let setup = Setup { load: vec![Load::Series(Arc::new(series))], ..setup(1) };
    let minute = MONDAY + Duration::from_mins(1400);
    let arrivals: Vec<_> = Arrivals::new(&setup, 0).collect();
    assert!((60..=185).contains(&arrivals.len()), "Poisson of mean 120, five deviations: {}", arrivals.len());
    assert!(arrivals.iter().all(|arrival| arrival.at.floor_to(Duration::from_mins(1)) == minute));
}

// Replay.

fn log(taken: QueryLogTaken, sessions_per_query: u32) -> QueryLog {
    let mut chance = Stream::new(5, "log", 0);
    let mut at: Vec<_> =
        (0..2000).map(|_| MONDAY.saturating_sub(HOUR) + HOUR.mul_f64(chance.uniform() * 26.0)).collect();
    at.sort_unstable();
    QueryLog {
        resolver: (0..2000).map(|_| chance.below(40) as u32).collect(),
        name: (0..2000).map(|_| chance.below(9) as u32).collect(),
        at,
        taken,
        sessions_per_query,
    }
}

#[test]
fn a_replayed_log_yields_its_rows() {
    for (taken, first) in [(QueryLogTaken::AtAuthority, Via::Authority), (QueryLogTaken::BeforeResolver, Via::Resolver)]
    {
        let log = Arc::new(log(taken, 3));
        let setup = Setup { load: vec![Load::Queries(log.clone())], ..setup(1) };
        let mut arrivals = Arrivals::new(&setup, 0);
        let rows = (0..log.at.len()).filter(|&row| log.at[row] >= setup.start && log.at[row] < setup.end);
        let mut count = 0;
        for row in rows {
            for n in 0..3 {
                let arrival = arrivals.next().unwrap();
                assert_eq!(
                    (arrival.at, arrival.resolver, arrival.name),
                    (log.at[row], log.resolver[row], log.name[row])
                );
                assert_eq!(arrival.query, if n == 0 { first } else { Via::Resolver });
            }
            count += 1;
        }
        assert_eq!(arrivals.next(), None);
        assert!(count > 1500 && count < 2000, "the log reaches past both ends of the run");
        let expected =
            RateCurve::new(&setup, 0).mean_rate(MONDAY.saturating_sub(HOUR * 2), MONDAY + HOUR * 30) * 32.0 * 3600.0;
        assert!((expected - 6000.0).abs() < 1e-6, "the rate counts every session: {expected}");
    }
}

#[test]
fn a_crowd_multiplies_the_sessions_of_a_log() {
    let forever = FlashCrowd { at: MONDAY, ramp: Duration::ZERO, hold: HOUR * 24, ..crowd() };
    let count = |factor, seed| {
        let log = Arc::new(log(QueryLogTaken::AtAuthority, 2));
        let crowds = vec![FlashCrowd { factor, ..forever.clone() }];
        Arrivals::new(&Setup { seed, crowds, load: vec![Load::Queries(log)], ..setup(1) }, 0).count()
    };
    let usual = count(1.0, 0);
    assert_eq!(count(2.0, 0), 2 * usual);
    assert_eq!(count(0.0, 0), 0);
    let ratios: Vec<f64> = (0..100).map(|seed| count(1.3, seed) as f64 / usual as f64).collect();
    let (mean, bound) = mean_and_bound(&ratios);
    assert!((mean - 1.3).abs() < bound, "{mean} ± {bound}");
}

// The demand path.

#[test]
fn the_demand_path_of_sessions_is_what_counting_them_gives() {
    let setup = busy(0.2, 3);
    let step = Duration::from_mins(7);
    let path = demand_path(&setup, step);
    let sessions: Vec<(Timestamp, Timestamp)> =
        Arrivals::new(&setup, 0).map(|a| (a.at, a.at + a.lasts(120.0))).collect();
    for n in (0..path.peak[0].len()).step_by(5) {
        let (since, until) = (path.start + step * n as u64, path.start + step * (n as u64 + 1));
        let near: Vec<_> = sessions.iter().filter(|(begin, end)| *begin < until && *end > since).collect();
        let under_way = |t: Timestamp| near.iter().filter(|(begin, end)| *begin <= t && t < *end).count();
        let moments = near.iter().map(|(begin, _)| *begin).filter(|begin| *begin >= since).chain([since]);
        let most = moments.map(under_way).max().unwrap();
        assert_eq!(path.peak[0][n], most as f64, "step {n}");
        let area: f64 =
            near.iter().map(|(begin, end)| (*end).min(until).since((*begin).max(since)).as_secs_f64()).sum();
        assert!((path.mean[0][n] - area / step.as_secs_f64()).abs() < 1e-6, "step {n}");
    }
}

#[test]
fn the_demand_path_of_a_fluid_solves_its_equation() {
    let mut setup = busy(2.0, 3);
    setup.fidelity = Fidelity::Fluid(Duration::from_mins(2));
    let path = demand_path(&setup, Duration::from_mins(5));
    let curve = RateCurve::new(&setup, 0);
    // Runge–Kutta of the fourth order in steps of one second.
    let (mut n, mut rate) = (0.0f64, 0.0);
    let mut step = (0.0f64, 0.0f64);
    for second in 0..86_400u64 {
        let t = MONDAY + Duration::from_secs(second);
        if second % 120 == 0 {
            rate = curve.mean_rate(t, t + Duration::from_mins(2));
        }
        let slope = |n: f64| rate - n / 120.0;
        let k1 = slope(n);
        let k2 = slope(n + 0.5 * k1);
        let k3 = slope(n + 0.5 * k2);
        let k4 = slope(n + k3);
        let after = n + (k1 + 2.0 * k2 + 2.0 * k3 + k4) / 6.0;
        step = (step.0.max(n).max(after), step.1 + 0.5 * (n + after));
        n = after;
        if second % 300 == 299 {
            let i = second as usize / 300;
            assert!((path.peak[0][i] / step.0 - 1.0).abs() < 1e-6, "{i}: {} {}", path.peak[0][i], step.0);
            assert!((path.mean[0][i] / (step.1 / 300.0) - 1.0).abs() < 1e-4, "{i}");
            step = (0.0, 0.0);
        }
    }
}

/// The mean of many session paths is the fluid path: M/G/∞ with exponential lengths.
#[test]
fn sessions_and_fluid_agree_in_the_mean() {
    let of = |fidelity, seed| {
        let crowds = vec![crowd()];
        let load = Synthetic { noise_sigma: 0.0, ..lively(0.3) };
        demand_path(&Setup { fidelity, crowds, seed, ..with_load(load) }, Duration::from_mins(30)).mean.remove(0)
    };
    let fluid = of(Fidelity::Fluid(Duration::from_secs(10)), 0);
    let paths: Vec<Vec<f64>> = (0..60).map(|seed| of(Fidelity::Session, seed)).collect();
    for (step, fluid) in fluid.iter().enumerate() {
        let sample: Vec<f64> = paths.iter().map(|path| path[step]).collect();
        let (mean, bound) = mean_and_bound(&sample);
        assert!((mean - fluid).abs() < bound, "step {step}: {mean} {fluid} ± {bound}");
    }
}

#[test]
fn a_step_may_reach_past_the_end() {
    for fidelity in [Fidelity::Session, Fidelity::Fluid(Duration::from_secs(90))] {
        let mut setup = with_load(steady(5.0));
        (setup.fidelity, setup.end) = (fidelity, MONDAY + Duration::from_secs(1000));
        let path = demand_path(&setup, Duration::from_mins(10));
        assert_eq!(path.peak[0].len(), 2);
        assert!(path.peak[0][1] > 400.0 && path.mean[0][1] < path.peak[0][1]);
    }
}
