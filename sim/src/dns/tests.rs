use std::sync::Arc;

use forebay_world::{Duration, Meter, QuerySample, RegionId, Timestamp};

use super::*;
use crate::Stream;
use crate::example::{CLASS, MONDAY, mean_and_bound, setup, steady};
use crate::load::{Arrivals, Via};
use crate::setup::{Load, QueryLog, QueryLogTaken, Setup};

const HERE: RegionId = RegionId(0);

fn with(rate: f64, ttl: u64, change: impl FnOnce(&mut Setup)) -> Setup {
    let mut setup = Setup { load: vec![Load::Synthetic(steady(rate))], ..setup(1) };
    setup.dns.ttl = vec![Duration::from_secs(ttl)];
    setup.end = setup.start + Duration::from_hours(6);
    change(&mut setup);
    setup
}

#[test]
fn an_answer_is_known_until_its_time_to_live_is_over() {
    let setup = with(1.0, 20, |_| {});
    let mut resolvers = Resolvers::new(&setup);
    let at = |seconds| MONDAY + Duration::from_secs(seconds);
    let miss = Lookup::Miss { cache: resolvers.cache(HERE, 3, 0), ttl: Duration::from_secs(20) };
    assert_eq!(resolvers.lookup(at(0), HERE, CLASS, 3, 0, 0), miss);
    resolvers.store(at(0), HERE, CLASS, 3, 0, 0, Answer(7));
    let copy = resolvers.clone();
    assert_eq!(resolvers.lookup(at(19), HERE, CLASS, 3, 0, 0), Lookup::Hit(Answer(7)));
    assert_eq!(resolvers.lookup(at(20), HERE, CLASS, 3, 0, 0), miss);
    assert!(matches!(resolvers.lookup(at(1), HERE, CLASS, 4, 0, 0), Lookup::Miss { .. }));
    resolvers.store(at(20), HERE, CLASS, 3, 0, 0, Answer(8));
    assert_eq!(copy.lookup(at(1), HERE, CLASS, 3, 0, 0), Lookup::Hit(Answer(7)), "a copy is a copy");
}

#[test]
fn an_answer_that_may_not_be_kept_is_not_kept() {
    let mut resolvers = Resolvers::new(&with(1.0, 0, |_| {}));
    resolvers.store(MONDAY, HERE, CLASS, 0, 0, 0, Answer(1));
    assert!(matches!(resolvers.lookup(MONDAY, HERE, CLASS, 0, 0, 0), Lookup::Miss { .. }));
    assert!((resolvers.miss_rate(HERE, CLASS, 3.0) - 3.0).abs() < 1e-12);
}

#[test]
fn extending_resolvers_keep_answers_longer_and_say_nothing_of_it() {
    let mut resolvers = Resolvers::new(&with(1.0, 20, |setup| setup.dns.extending_share = 1.0));
    resolvers.store(MONDAY, HERE, CLASS, 0, 0, 0, Answer(1));
    let late = MONDAY + Duration::from_secs(299);
    assert_eq!(resolvers.lookup(late, HERE, CLASS, 0, 0, 0), Lookup::Hit(Answer(1)));
    let over = resolvers.lookup(MONDAY + Duration::from_mins(5), HERE, CLASS, 0, 0, 0);
    assert!(matches!(over, Lookup::Miss { ttl, .. } if ttl == Duration::from_secs(20)));
}

#[test]
fn with_client_subnet_each_subnet_has_its_own_answer() {
    let ecs = |setup: &mut Setup| (setup.dns.ecs_share, setup.dns.ecs_subnets) = (1.0, 8);
    let mut resolvers = Resolvers::new(&with(1.0, 20, ecs));
    for subnet in 0..8 {
        assert!(matches!(resolvers.lookup(MONDAY, HERE, CLASS, 2, subnet, 0), Lookup::Miss { .. }));
        resolvers.store(MONDAY, HERE, CLASS, 2, subnet, 0, Answer(subnet.into()));
    }
    for subnet in 0..8 {
        assert_eq!(resolvers.lookup(MONDAY, HERE, CLASS, 2, subnet, 0), Lookup::Hit(Answer(subnet.into())));
    }
    let mut caches: Vec<u64> =
        (0..20).flat_map(|r| (0..8).map(move |s| (r, s))).map(|(r, s)| resolvers.cache(HERE, r, s)).collect();
    caches.sort_unstable();
    caches.dedup();
    assert_eq!(caches.len(), 160);
    let without = Resolvers::new(&with(1.0, 20, |setup| setup.dns.ecs_subnets = 8));
    assert_eq!(without.cache(HERE, 2, 0), without.cache(HERE, 2, 5), "subnets that are not sent share an answer");
}

#[test]
fn the_shares_of_habits_hold_over_regions() {
    let mut setup = setup(200);
    (setup.dns.extending_share, setup.dns.ecs_share, setup.dns.ecs_subnets) = (0.09, 0.2, 2);
    let resolvers = Resolvers::new(&setup);
    let n = 200.0 * 20.0;
    let regions = || (0..200).map(RegionId::at);
    let sends = |region, resolver| resolvers.cache(region, resolver, 0) != resolvers.cache(region, resolver, 1);
    let ecs =
        regions().flat_map(|region| (0..20).map(move |r| (region, r))).filter(|(region, r)| sends(*region, *r)).count();
    assert!((ecs as f64 / n - 0.2).abs() < 4.0 * (0.2f64 * 0.8 / n).sqrt(), "{ecs}");
    let mut resolvers = resolvers.clone();
    let mut extends = 0;
    for region in regions() {
        for r in 0..20 {
            resolvers.store(MONDAY, region, CLASS, r, 0, 0, Answer(0));
            let kept = resolvers.lookup(MONDAY + Duration::from_mins(2), region, CLASS, r, 0, 0);
            extends += u32::from(kept == Lookup::Hit(Answer(0)));
        }
    }
    assert!((f64::from(extends) / n - 0.09).abs() < 4.0 * (0.09f64 * 0.91 / n).sqrt(), "{extends}");
}

/// One cache: the closed forms of the renewal process, tabulated.
#[test]
fn one_resolver_misses_lambda_over_one_plus_lambda_ttl() {
    for (lambda, ttl) in [(0.001, 20), (0.05, 20), (1.0, 20), (30.0, 20), (0.3, 300), (2e6, 60), (1e-6, 60)] {
        let resolvers = Resolvers::new(&with(1.0, ttl, |setup| setup.dns.resolvers = vec![1]));
        let t = ttl as f64;
        let exact = lambda / (1.0 + lambda * t);
        assert!((resolvers.miss_rate(HERE, CLASS, lambda) / exact - 1.0).abs() < 3e-4, "{lambda} {ttl}");
        let follow = resolvers.follow(HERE, CLASS, lambda);
        assert!((follow.honouring - lambda * t / (1.0 + lambda * t)).abs() < 3e-4);
        assert!((follow.older(Duration::from_secs(ttl / 2)) - 0.5 * follow.honouring).abs() < 1e-12);
        assert_eq!(follow.older(Duration::from_secs(ttl)), 0.0);
    }
}

/// What a run of the caches showed.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    queries: f64,
    /// Requests a second, as the meter tells them.
    requests: f64,
    /// Shares of sessions by answers older than 0, 5, 15, 60 and 200 seconds.
    older: [f64; 5],
}

const AGES: [u64; 5] = [0, 5, 15, 60, 200];

/// Runs the sessions of a setup through its resolvers and the real meter. Rates are per second, after the first hour.
fn run(setup: &Setup) -> Seen {
    let (mut resolvers, mut meter) = (Resolvers::new(setup), Meter::new(1));
    let warm = setup.start + Duration::from_hours(1);
    let (mut sessions, mut older, mut warmed) = (0.0, [0.0; 5], false);
    for session in Arrivals::new(setup, 0) {
        let now = session.at;
        if now >= warm && !warmed {
            warmed = true;
            meter.close(now);
        }
        let lookup = resolvers.lookup(now, HERE, CLASS, session.resolver, session.subnet, session.name);
        let given = match lookup {
            // Answers tell when they were given.
            Lookup::Hit(Answer(second)) if session.query == Via::Resolver => {
                setup.start + Duration::from_millis(second.into())
            }
            _ => {
                let cache = resolvers.cache(HERE, session.resolver, session.subnet);
                let resolver = resolvers.address(HERE, session.resolver);
                let ttl = resolvers.ttl(CLASS);
                meter.record(QuerySample { at: now, cell: 0, resolver, cache, name: session.name, ttl });
                let answer = Answer((now.since(setup.start).as_nanos() / 1_000_000) as u32);
                resolvers.store(now, HERE, CLASS, session.resolver, session.subnet, session.name, answer);
                now
            }
        };
        if warmed {
            sessions += 1.0;
            for (older, age) in older.iter_mut().zip(AGES) {
                *older += f64::from(u8::from(now.since(given) > Duration::from_secs(age) + Duration::from_millis(1)));
            }
        }
    }
    let count = meter.close(setup.end)[0];
    let seconds = setup.end.since(warm).as_secs_f64();
    Seen {
        queries: count.queries as f64 / seconds,
        requests: count.exposure.map_or(0.0, |exposure| count.queries as f64 / exposure.seconds),
        older: older.map(|older| older / sessions),
    }
}

/// Caches event by event against the renewal formulas, over 30 seeds that also redraw the habits: the mean of the
/// differences lies within four standard errors of nothing.
#[test]
fn simulated_caches_are_what_the_fluid_expects() {
    type Change = fn(&mut Setup);
    let cases: [(&str, f64, u64, Change); 5] = [
        ("honouring", 2.0, 20, |_| {}),
        ("extending", 2.0, 20, |setup| setup.dns.extending_share = 0.3),
        ("client subnet", 3.0, 20, |setup| (setup.dns.ecs_share, setup.dns.ecs_subnets) = (0.4, 16)),
        ("both, long", 1.0, 120, |setup| {
            (setup.dns.extending_share, setup.dns.ecs_share, setup.dns.ecs_subnets) = (0.2, 0.3, 4);
        }),
        ("even", 1.0, 60, |setup| setup.dns.resolver_skew = 0.0),
    ];
    for (name, rate, ttl, change) in cases {
        let mut differences: [Vec<f64>; 7] = Default::default();
        for seed in 0..30 {
            let mut setup = with(rate, ttl, change);
            setup.seed = seed;
            let (seen, resolvers) = (run(&setup), Resolvers::new(&setup));
            let follow = resolvers.follow(HERE, CLASS, rate);
            differences[0].push(seen.queries / resolvers.miss_rate(HERE, CLASS, rate) - 1.0);
            differences[1].push(seen.requests / rate - 1.0);
            for (i, age) in AGES.iter().enumerate() {
                differences[2 + i].push(seen.older[i] - follow.older(Duration::from_secs(*age)));
            }
        }
        for (what, difference) in differences.iter().enumerate() {
            let (mean, bound) = mean_and_bound(difference);
            // The table is off by at most 0.03 %, answers tell their time to the millisecond.
            assert!(mean.abs() <= bound + 5e-4, "{name}, figure {what}: {mean} ± {bound}");
        }
    }
}

#[test]
fn many_resolvers_are_summed_up_closely() {
    let ecs = |setup: &mut Setup| {
        setup.dns.resolvers = vec![5000];
        (setup.dns.ecs_share, setup.dns.ecs_subnets, setup.dns.extending_share) = (0.3, 64, 0.1);
    };
    let setup = with(1.0, 30, ecs);
    let resolvers = Resolvers::new(&setup);
    let habits = population::Habits::new(&setup.dns, setup.seed, HERE);
    let weights = resolver_weights(&setup.dns, HERE);
    let total: f64 = weights.iter().sum();
    for lambda in [0.01, 1.0, 37.0, 900.0, 1e5] {
        let exact: f64 = (0..5000)
            .map(|r| {
                let habit = habits.of(r);
                let caches = if habit.subnets { 64.0 } else { 1.0 };
                let ttl = if habit.extends { 300.0 } else { 30.0 };
                let rate = lambda * weights[r as usize] / total / caches;
                caches * rate / (1.0 + rate * ttl)
            })
            .sum();
        let rate = resolvers.miss_rate(HERE, CLASS, lambda);
        assert!((rate / exact - 1.0).abs() < 5e-4, "{lambda}: {rate} {exact}");
    }
}

// Logs.

fn log_setup(taken: QueryLogTaken, sessions_per_query: u32, seed: u64) -> Setup {
    let mut chance = Stream::new(seed, "log", 0);
    let mut at = Timestamp::from_nanos(MONDAY.as_nanos());
    let mut log = QueryLog { at: Vec::new(), resolver: Vec::new(), name: Vec::new(), taken, sessions_per_query };
    while at < MONDAY + Duration::from_hours(6) {
        log.at.push(at);
        // Squares make some resolvers and names busier than others.
        log.resolver.push((chance.uniform().powi(2) * 30.0) as u32 + 1000);
        log.name.push((chance.uniform().powi(2) * 5.0) as u32);
        at += Duration::from_secs(1).mul_f64(chance.exponential());
    }
    let mut setup = with(1.0, 60, |setup| setup.dns.extending_share = 0.2);
    (setup.load, setup.seed) = (vec![Load::Queries(Arc::new(log))], seed);
    setup
}

#[test]
fn a_replayed_log_goes_through_the_caches_as_the_fluid_expects() {
    for (taken, sessions) in
        [(QueryLogTaken::BeforeResolver, 1), (QueryLogTaken::BeforeResolver, 3), (QueryLogTaken::AtAuthority, 2)]
    {
        let mut queries = Vec::new();
        for seed in 0..20 {
            let setup = log_setup(taken, sessions, seed);
            let rate = crate::load::RateCurve::new(&setup, 0).mean_rate(setup.start, setup.end);
            let expected = Resolvers::new(&setup).miss_rate(HERE, CLASS, rate);
            queries.push(run(&setup).queries / expected - 1.0);
        }
        let (mean, bound) = mean_and_bound(&queries);
        // The shares of resolvers and names are those counted in the log, a little more uneven than those it came from.
        assert!(mean.abs() <= bound + 0.01, "{taken:?} × {sessions}: {mean} ± {bound}");
    }
}

#[test]
fn names_are_kept_apart_and_what_is_over_is_forgotten() {
    let setup = log_setup(QueryLogTaken::BeforeResolver, 1, 0);
    let mut resolvers = Resolvers::new(&setup);
    resolvers.store(MONDAY, HERE, CLASS, 5, 0, 1, Answer(1));
    assert_eq!(resolvers.lookup(MONDAY, HERE, CLASS, 5, 0, 1), Lookup::Hit(Answer(1)));
    assert!(matches!(resolvers.lookup(MONDAY, HERE, CLASS, 5, 0, 2), Lookup::Miss { .. }));
    for n in 0..200_000u32 {
        // Ten new names a second; at most 300 seconds' worth are alive.
        let now = MONDAY + Duration::from_millis(u64::from(n) * 100);
        resolvers.store(now, HERE, CLASS, 5, 0, n, Answer(n));
    }
    assert!(resolvers.kept() <= 2 * 4096, "{}", resolvers.kept());
}
