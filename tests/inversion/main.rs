//! Demand behind resolver caches, where truth is known: renewal processes drawn for themselves, and the simulated
//! world's own resolvers.

mod renewal;

use std::path::Path;

use forebay::demand::{ClientRequests, Inversion};
use forebay::scenario::Overrides;
use forebay::{Run, Scenario};
use forebay_world::{Demand, Duration, Generation, Observation, QueryCount, Steering, Timestamp};
use rayon::prelude::*;
use renewal::PLAIN;

/// What is seen by the minute, as far as DNS goes.
fn observation(at: Timestamp, count: QueryCount) -> Observation {
    Observation {
        at,
        window: Duration::from_mins(1),
        demand: vec![Some(Demand { queries: count.queries, exposure: count.exposure, ..Demand::default() })],
        vms: Vec::new(),
        hosts: Vec::new(),
        links: vec![None],
        slices: Vec::new(),
        steering: Steering::home(1),
        events: Vec::new(),
        applied: Generation::default(),
        coverage: 1.0,
        next_vm: forebay_world::VmId(0),
    }
}

/// One look at an estimate beside the truth.
#[derive(Clone, Copy, Debug)]
struct Look {
    requests: ClientRequests,
    truth: f64,
    queries: u64,
}

impl Look {
    fn error(&self) -> f64 {
        self.requests.per_second / self.truth - 1.0
    }

    fn covers(&self) -> bool {
        let (low, high) = self.requests.interval(0.9);
        low <= self.truth && self.truth <= high
    }
}

/// The estimate after so many minutes, of each replication.
fn looks(region: renewal::Region, minutes: u64, replications: u64, family: u64) -> Vec<Look> {
    (0..replications)
        .into_par_iter()
        .map(|n| {
            let mut inversion = Inversion::new(1);
            let mut look = None;
            region.watch(family << 32 | n, minutes, |_, seen, moment| {
                inversion.take(seen);
                look = inversion.requests(0).map(|requests| Look {
                    requests,
                    truth: moment.truth,
                    queries: moment.queries,
                });
            });
            look.expect("something was seen")
        })
        .collect()
}

/// Of many looks.
#[derive(Clone, Copy, Debug)]
struct Quality {
    queries: f64,
    hidden: f64,
    bias: f64,
    /// Root of the mean square.
    error: f64,
    within_tenth: f64,
    coverage: f64,
    saturated: f64,
    bound_holds: f64,
    /// Mean standard error that the estimates claim.
    claimed: f64,
}

fn quality(looks: &[Look]) -> Quality {
    let mean = |f: &dyn Fn(&Look) -> f64| looks.iter().map(f).sum::<f64>() / looks.len() as f64;
    let share = |f: &dyn Fn(&Look) -> bool| mean(&|look| f64::from(u8::from(f(look))));
    Quality {
        queries: mean(&|look| look.queries as f64),
        hidden: mean(&|look| look.requests.hidden),
        bias: mean(&Look::error),
        error: mean(&|look| look.error().powi(2)).sqrt(),
        within_tenth: share(&|look| look.error().abs() <= 0.1),
        coverage: share(&Look::covers),
        saturated: share(&|look| look.requests.saturated),
        bound_holds: share(&|look| look.requests.lower_bound <= look.truth),
        claimed: mean(&|look| look.requests.standard_error / look.requests.per_second),
    }
}

const LOADS: [f64; 6] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

fn kinds() -> Vec<(&'static str, renewal::Region)> {
    let ecs = renewal::Region { ecs_share: 0.3, subnets: 16, ..PLAIN };
    vec![
        ("even", renewal::Region { skew: 0.0, ..PLAIN }),
        ("Zipf", PLAIN),
        ("Zipf, ECS", ecs),
        ("Zipf, 9 % extending", renewal::Region { extending_share: 0.09, ..PLAIN }),
        ("Zipf, ECS, 9 % extending", renewal::Region { extending_share: 0.09, ..ecs }),
        ("Zipf, farms of 3", renewal::Region { farm: 3, ..PLAIN }),
        ("Zipf, day ± 60 %", renewal::Region { day: 0.6, ..PLAIN }),
    ]
}

/// 400 replications tell a coverage to 1.5 %; three times that is allowed.
const COVERAGE: std::ops::RangeInclusive<f64> = 0.855..=0.945;

#[test]
fn extending_resolvers_are_seen_through_and_intervals_hold_what_they_say() {
    let region = renewal::Region { extending_share: 0.09, ..PLAIN };
    let q = quality(&looks(region, 360, 400, 100));
    assert!(q.queries > 1000.0 && q.within_tenth > 0.95 && q.error < 0.06 && q.bias.abs() < 0.02, "{q:?}");
    assert!(COVERAGE.contains(&q.coverage) && q.saturated == 0.0, "{q:?}");
    // Negative control: queries alone are far from demand.
    assert!(q.hidden > 1.0, "{q:?}");
}

#[test]
fn client_subnets_farms_and_days_are_seen_through() {
    for (name, region) in kinds() {
        for per_ttl in [0.3, 3.0] {
            let q = quality(&looks(renewal::Region { per_ttl, ..region }, 300, 20, 200));
            assert!(q.error < 0.07 && q.bias.abs() < 0.04 && q.saturated == 0.0, "{name}, {per_ttl}: {q:?}");
        }
    }
}

#[test]
fn beyond_ten_hidden_requests_only_a_lower_bound_is_told() {
    for (name, region) in kinds() {
        let q = quality(&looks(renewal::Region { per_ttl: 30.0, ..region }, 120, 20, 300));
        assert!(q.saturated == 1.0 && q.bound_holds > 0.9, "{name}: {q:?}");
    }
}

const WITHOUT: &str = "extending_share = 0.0\n";
const WITH: &str = "extending_share = 0.09\necs_share = 0.3\necs_subnets = 16\n";

/// The simulated world, steered by what DNS tells and nothing else of demand.
fn steered_by_dns(more: &str, seed: u64) -> (Vec<(f64, ClientRequests)>, String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/steady.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let text = format!("{text}\n[controller]\ndemand = \"dns\"\n\n[dns]\nttl = \"30 s\"\n{more}");
    let scenario =
        Scenario::from_text("dns.toml", &text, Path::new(""), &Overrides { seed: Some(seed), ..Overrides::default() })
            .unwrap_or_else(|error| panic!("{error}"));
    let cells = scenario.setup.topology.cells();
    let mut run = Run::new(&scenario, "predictive").unwrap();
    let (mut arrivals, mut seconds, mut last) = (vec![0.0; cells], 0.0, None);
    while let Some(tick) = run.tick().unwrap() {
        seconds += tick.observation.window.as_secs_f64();
        for (sum, demand) in arrivals.iter_mut().zip(&tick.observation.demand) {
            let demand = demand.as_ref().unwrap();
            *sum += (demand.arrivals + demand.rejected) as f64;
        }
        last = Some(tick);
    }
    let last = last.unwrap();
    let told = last.decision.cells.iter().zip(&arrivals);
    let told = told.map(|(cell, sum)| (sum / seconds, cell.requests.expect("DNS was seen"))).collect();
    (told, last.decision.cells[0].reason.clone())
}

#[test]
fn the_simulated_worlds_own_resolvers_are_seen_through() {
    for more in [WITHOUT, WITH] {
        let (told, reason) = steered_by_dns(more, 1);
        for (truth, requests) in &told {
            // Four standard errors, for there are a dozen.
            let far = (requests.per_second / truth - 1.0).abs();
            assert!(far < 4.0 * requests.standard_error / truth && far < 0.15, "{more}: {truth} {requests:?}");
        }
        let total = |f: &dyn Fn(&(f64, ClientRequests)) -> f64| told.iter().map(f).sum::<f64>();
        let all = total(&|(_, requests)| requests.per_second) / total(&|(truth, _)| *truth);
        assert!((all - 1.0).abs() < 0.06, "{more}: {all}");
        assert!(reason.contains("requests/s by DNS"), "{reason}");
    }
}

#[test]
#[ignore = "prints the tables of results/, and takes minutes"]
fn tables() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<f64>().ok());
    let replications = number("REPLICATIONS").unwrap_or(400.0) as u64;
    let all_minutes = number("MINUTES").map_or(vec![60, 360], |only| vec![only as u64]);
    // Other seeds, to look twice.
    let fresh = number("FRESH").unwrap_or(0.0) as u64;
    println!(
        "| resolvers | λT | minutes | misses | hidden | bias % | rms error % | claimed % | within 10 % | coverage of 90 % | saturated | bound holds |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let kinds = kinds().into_iter().enumerate();
    let wanted = std::env::var("KIND").unwrap_or_default();
    for (family, (name, region)) in kinds.filter(|(_, (name, _))| name.contains(&wanted)) {
        for &minutes in &all_minutes {
            for per_ttl in LOADS.into_iter().filter(|load| number("LOAD").is_none_or(|only| only == *load)) {
                let q = quality(&looks(
                    renewal::Region { per_ttl, ..region },
                    minutes,
                    replications,
                    fresh + family as u64,
                ));
                println!(
                    "| {name} | {per_ttl} | {minutes} | {:.0} | {:.1} | {:+.1} | {:.1} | {:.1} | {:.3} | {:.3} | {:.2} | {:.3} |",
                    q.queries,
                    q.hidden,
                    100.0 * q.bias,
                    100.0 * q.error,
                    100.0 * q.claimed,
                    q.within_tenth,
                    q.coverage,
                    q.saturated,
                    q.bound_holds,
                );
            }
        }
    }
}

#[test]
#[ignore = "prints a table of results/, and takes minutes"]
fn world_table() {
    println!(
        "| resolvers of the simulated world | looks | hidden | bias % | rms error % | within 10 % | coverage of 90 % |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (name, more) in [("honouring", WITHOUT), ("30 % ECS × 16, 9 % extending", WITH)] {
        let told: Vec<(f64, ClientRequests)> =
            (0..40u64).into_par_iter().flat_map_iter(|seed| steered_by_dns(more, seed).0).collect();
        let looks: Vec<Look> = told
            .into_iter()
            .map(|(truth, requests)| Look { requests, truth, queries: requests.queries as u64 })
            .collect();
        let q = quality(&looks);
        println!(
            "| {name} | {} | {:.1} | {:+.1} | {:.1} | {:.3} | {:.3} |",
            looks.len(),
            q.hidden,
            100.0 * q.bias,
            100.0 * q.error,
            q.within_tenth,
            q.coverage
        );
    }
}

#[test]
#[ignore = "prints a speed"]
fn speed() {
    for caches in [1_000u64, 100_000, 1_000_000] {
        let mut meter = forebay_world::Meter::new(90);
        let mut chance = forebay_sim::Stream::new(1, "speed", 0);
        let samples: Vec<forebay_world::QuerySample> = (0..4_000_000u64)
            .map(|i| {
                let cache = chance.below(caches);
                forebay_world::QuerySample {
                    at: Timestamp::from_nanos(i * 500),
                    cell: (cache % 90) as u32,
                    resolver: cache / 16,
                    cache,
                    name: 0,
                    ttl: Duration::from_secs(1),
                }
            })
            .collect();
        for sample in &samples[..2_000_000] {
            meter.record(*sample);
        }
        let began = cpu_time::ProcessTime::now();
        for sample in &samples[2_000_000..] {
            meter.record(*sample);
        }
        let recorded = began.elapsed().as_secs_f64();
        let began = cpu_time::ProcessTime::now();
        meter.close(Timestamp::from_secs(3));
        let closed = began.elapsed().as_secs_f64();
        println!("{caches} caches: {:.1} M samples a CPU second; a close {:.1} ms", 2.0 / recorded, 1e3 * closed);
    }
}
