//! Queues with servers: waits, losses, priorities, networks.

use forebay_sim::queueing::{self, PriorityClass};
use forebay_sim::statistics::{QuantileSketch, Tally};
use forebay_world::Timestamp;

use super::line::{Line, Place, Sight, Source};
use super::{Law, assert_inside, assert_outside, replicate, seed};

/// Customers before the first that counts. At utilization 0.8 the queue forgets its start within some 70
/// (relaxation time 1/(μ(1 − √ρ)²)).
const WARM_UP: u32 = 2_000;
const CUSTOMERS: u32 = 42_000;
/// Customers after the last that counts, so that it meets a queue like all others.
const COOL_DOWN: u32 = 2_000;

fn counts(tag: u32) -> bool {
    (WARM_UP..CUSTOMERS - COOL_DOWN).contains(&tag)
}

fn share(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// Mean wait, share that waits, share that waits longer than `long` \[s\], of those who count.
fn waits(line: &Line, seed: u64, long: f64) -> [f64; 3] {
    let mut figures = [Tally::new(); 3];
    line.run(seed, |now, sight| {
        if let Sight::Begins { customer } = sight
            && counts(customer.tag)
        {
            let wait = now.since(customer.arrived).as_secs_f64();
            figures[0].add(wait);
            figures[1].add(share(wait > 0.0));
            figures[2].add(share(wait > long));
        }
    });
    figures.map(|figure| figure.mean().unwrap())
}

#[test]
fn one_server_with_exponential_service() {
    let line = Line::single(Source::poisson(0.8), Place::new(1, 1.0, Law::Exponential), CUSTOMERS);
    let [wait, number_seen, long_sojourns] = replicate("M/M/1", |seed| {
        let mut figures = [Tally::new(); 3];
        line.run(seed, |now, sight| match sight {
            Sight::Begins { customer } if counts(customer.tag) => {
                figures[0].add(now.since(customer.arrived).as_secs_f64());
            }
            Sight::Arrives { stations, tag } if counts(tag) => {
                figures[1].add(stations[0].present().count() as f64);
            }
            Sight::Departs { customer, .. } if counts(customer.tag) => {
                figures[2].add(share(now.since(customer.arrived).as_secs_f64() > 10.0));
            }
            _ => {}
        });
        figures.map(|figure| figure.mean().unwrap())
    });
    assert_inside("mean wait", wait, queueing::mmc_mean_wait(1, 0.8, 1.0));
    assert_inside("mean number", number_seen, queueing::mmc_mean_number(1, 0.8));
    assert_inside("sojourns above 10 s", long_sojourns, queueing::mm1_sojourn_exceeds(0.8, 1.0, 10.0));
    assert_outside("as if service were deterministic", wait, queueing::mg1_mean_wait(0.8, 1.0, 1.0));
    assert_outside("5 % less load", wait, queueing::mmc_mean_wait(1, 0.76, 1.0));
}

/// The 95 % quantile of the sojourn, as the sketch has it, is the exponential law's within sketch accuracy.
#[test]
fn a_sketch_sees_the_quantiles_of_the_sojourn() {
    let line = Line::single(Source::poisson(0.8), Place::new(1, 1.0, Law::Exponential), CUSTOMERS);
    let quantiles = [0.5, 0.95, 0.99];
    let intervals = replicate("sketch", |seed| {
        let mut sketch = QuantileSketch::new();
        line.run(seed, |now, sight| {
            if let Sight::Departs { customer, .. } = sight
                && counts(customer.tag)
            {
                sketch.insert(now.since(customer.arrived).as_secs_f64());
            }
        });
        quantiles.map(|q| sketch.quantile(q).unwrap())
    });
    for (q, mut interval) in quantiles.into_iter().zip(intervals) {
        let truth = -(1.0f64 - q).ln() / (1.0 - 0.8);
        assert_outside("the quantile of the service time alone", interval, -(1.0f64 - q).ln());
        interval.half_width += QuantileSketch::RELATIVE_ACCURACY * truth;
        assert_inside("sojourn quantile", interval, truth);
    }
}

#[test]
fn several_servers_with_exponential_service() {
    let line = Line::single(Source::poisson(4.0), Place::new(5, 1.0, Law::Exponential), CUSTOMERS);
    let [wait, delayed, long] = replicate("M/M/c", |seed| waits(&line, seed, 1.0));
    assert_inside("mean wait", wait, queueing::mmc_mean_wait(5, 4.0, 1.0));
    assert_inside("share that waits", delayed, queueing::erlang_c(5, 4.0));
    assert_inside("share that waits above 1 s", long, queueing::mmc_wait_exceeds(5, 4.0, 1.0, 1.0));
    assert_outside("one server five times as fast", wait, queueing::mmc_mean_wait(1, 4.0, 0.2));
    assert_outside("Erlang B for Erlang C", delayed, queueing::erlang_b(5, 4.0));
}

#[test]
fn losses_do_not_depend_on_the_law_of_service() {
    for law in Law::ALL {
        let place = Place { waiting_places: Some(0), ..Place::new(10, 1.0, law) };
        let line = Line::single(Source::poisson(8.0), place, CUSTOMERS);
        let [lost, number] = replicate(&format!("loss {law:?}"), |seed| {
            let (mut lost, mut number) = (0, Tally::new());
            let mut last_counts = false;
            line.run(seed, |_, sight| match sight {
                Sight::Arrives { stations, tag } => {
                    last_counts = counts(tag);
                    if last_counts {
                        number.add(stations[0].present().count() as f64);
                    }
                }
                Sight::Lost if last_counts => lost += 1,
                _ => {}
            });
            [f64::from(lost) / number.count() as f64, number.mean().unwrap()]
        });
        let blocked = queueing::erlang_b(10, 8.0);
        assert_inside(&format!("loss, {law:?}"), lost, blocked);
        assert_inside(&format!("mean number, {law:?}"), number, 8.0 * (1.0 - blocked));
        assert_outside("one server more", lost, queueing::erlang_b(11, 8.0));
        assert_outside("Erlang C for Erlang B", lost, queueing::erlang_c(10, 8.0));
    }
}

#[test]
fn one_server_with_little_room() {
    let place = Place { waiting_places: Some(3), ..Place::new(1, 1.0, Law::Exponential) };
    let line = Line::single(Source::poisson(0.9), place, CUSTOMERS);
    let seen = replicate("M/M/1/K", |seed| {
        let mut found = [0u32; 5];
        line.run(seed, |_, sight| {
            if let Sight::Arrives { stations, tag } = sight
                && counts(tag)
            {
                found[stations[0].present().count() as usize] += 1;
            }
        });
        found.map(|times| f64::from(times) / f64::from(found.iter().sum::<u32>()))
    });
    for (number, interval) in (0..).zip(seen) {
        assert_inside(&format!("{number} present"), interval, queueing::mm1k_probability(4, 0.9, number));
    }
    assert_outside("room for one more", seen[4], queueing::mm1k_probability(5, 0.9, 5));
}

#[test]
fn one_server_with_any_law_of_service() {
    for law in [Law::Deterministic, Law::Hyperexponential] {
        let line = Line::single(Source::poisson(0.7), Place::new(1, 1.0, law), CUSTOMERS);
        let [wait, delayed, _] = replicate(&format!("M/G/1 {law:?}"), |seed| waits(&line, seed, 1.0));
        assert_inside(&format!("mean wait, {law:?}"), wait, queueing::mg1_mean_wait(0.7, 1.0, law.square()));
        assert_inside(&format!("share that waits, {law:?}"), delayed, 0.7);
        assert_outside("as if service were exponential", wait, queueing::mmc_mean_wait(1, 0.7, 1.0));
    }
}

#[test]
fn who_has_priority_waits_less_by_cobhams_formula() {
    let kinds = [(0.25, 1.0, Law::Exponential), (0.2, 1.5, Law::Deterministic), (0.05, 4.0, Law::Hyperexponential)];
    let source = |(priority, (rate, ..)): (u8, (f64, f64, Law))| Source { priority, ..Source::poisson(rate) };
    let line = Line {
        sources: (0..).zip(kinds).map(source).collect(),
        places: vec![Place {
            service: kinds.map(|(_, mean, law)| (mean, law)).to_vec(),
            ..Place::new(1, 1.0, Law::Exponential)
        }],
        routing: vec![vec![0.0]],
        customers: CUSTOMERS,
        circulating: 0,
    };
    let measured = replicate("priority", |seed| {
        let mut waits = [Tally::new(); 3];
        line.run(seed, |now, sight| {
            if let Sight::Begins { customer } = sight
                && counts(customer.tag)
            {
                waits[usize::from(customer.priority)].add(now.since(customer.arrived).as_secs_f64());
            }
        });
        waits.map(|wait| wait.mean().unwrap())
    });
    let classes = kinds.map(|(arrival_rate, mean_service, law)| PriorityClass {
        arrival_rate,
        mean_service,
        service_square: mean_service * mean_service * law.square(),
    });
    let square: f64 = classes.iter().map(|class| class.arrival_rate * class.service_square).sum();
    let first_come = square / (2.0 * (1.0 - 0.75));
    for (wait, truth) in measured.into_iter().zip(queueing::priority_mean_waits(&classes)) {
        assert_inside("wait of a priority", wait, truth);
        assert_outside("first come first served", wait, first_come);
    }
}

#[test]
fn with_servers_for_all_the_number_is_poisson() {
    for law in Law::ALL {
        let line = Line::single(Source::poisson(5.0), Place::new(u32::MAX, 1.0, law), CUSTOMERS);
        let numbers = [0, 3, 5, 9];
        let seen = replicate(&format!("M/G/inf {law:?}"), |seed| {
            let mut found = [0u32; 64];
            line.run(seed, |_, sight| {
                if let Sight::Arrives { stations, tag } = sight
                    && counts(tag)
                {
                    found[stations[0].present().count() as usize] += 1;
                }
            });
            numbers.map(|n: u32| f64::from(found[n as usize]) / f64::from(found.iter().sum::<u32>()))
        });
        for (number, interval) in numbers.into_iter().zip(seen) {
            assert_inside(&format!("{number}, {law:?}"), interval, queueing::poisson_probability(5.0, number));
            let geometric = (1.0 / 6.0) * (5.0f64 / 6.0).powi(number as i32);
            assert_outside("geometric with the same mean", interval, geometric);
        }
    }
}

/// D. Lindley 1952: W' = max(0, W + S − A). On the same path every wait is the same to the nanosecond.
#[test]
fn waits_follow_lindleys_recursion_to_the_nanosecond() {
    for between in Law::ALL {
        for law in Law::ALL {
            let line = Line::single(Source { between, ..Source::poisson(0.85) }, Place::new(1, 1.0, law), CUSTOMERS);
            let mut path = Vec::new();
            let mut waits = Vec::new();
            line.run(seed("lindley", 0), |now, sight| {
                if let Sight::Begins { customer } = sight {
                    assert_eq!(customer.tag as usize, path.len(), "first come, first served");
                    path.push(*customer);
                    waits.push(now.since(customer.arrived).as_nanos());
                }
            });
            let mut wait = 0;
            let mut recursion = vec![0];
            for pair in path.windows(2) {
                let gap = pair[1].arrived.since(pair[0].arrived).as_nanos();
                wait = (wait + pair[0].service.as_nanos()).saturating_sub(gap);
                recursion.push(wait);
            }
            assert_eq!(waits, recursion, "{between:?} {law:?}");
        }
    }
}

#[test]
fn waits_with_any_law_of_arrival_stay_below_kingmans_bound() {
    for between in Law::ALL {
        let line =
            Line::single(Source { between, ..Source::poisson(0.85) }, Place::new(1, 1.0, Law::Exponential), CUSTOMERS);
        let [wait, ..] = replicate(&format!("Kingman {between:?}"), |seed| waits(&line, seed, 1.0));
        let bound = |between: f64| queueing::kingman_bound(0.85, 1.0, between / (0.85 * 0.85), 1.0);
        let variance = between.square() - 1.0;
        assert!(wait.low() <= bound(variance), "{between:?}: {wait:?}, bound {}", bound(variance));
        // Negative control: forgetting the variance of the arrivals gives no bound.
        assert!(variance == 0.0 || wait.low() > bound(0.0), "{between:?}: {wait:?}, no bound {}", bound(0.0));
    }
}

#[test]
fn a_network_with_feedback_has_product_form() {
    // Two counters with feedback into the first, and a tandem of two servers behind.
    let routing = vec![vec![0.0, 0.6, 0.2], vec![0.25, 0.0, 0.75], vec![0.0; 3]];
    let external = [0.5, 0.1, 0.0];
    let servers = [1, 1, 2];
    let means = [1.0, 1.2, 2.5];
    let sources = (0..2).map(|station| Source { station, ..Source::poisson(external[usize::from(station)]) }).collect();
    let places = (0..3).map(|i| Place::new(servers[i], means[i], Law::Exponential)).collect();
    let line = Line { sources, places, routing: routing.clone(), customers: CUSTOMERS, circulating: 0 };
    let figures = replicate("Jackson", |seed| {
        let mut numbers = [Tally::new(); 3];
        let (mut idle, mut first_idle) = (Tally::new(), Tally::new());
        // Arrivals at each station between two instants.
        let (mut begun, mut ended) = ((Timestamp::EPOCH, [0; 3]), (Timestamp::EPOCH, [0; 3]));
        line.run(seed, |now, sight| {
            let Sight::Arrives { stations, tag } = sight else { return };
            let present: Vec<u64> = stations.iter().map(|station| station.present().count()).collect();
            let arrivals = std::array::from_fn(|i| stations[i].arrivals());
            if tag == WARM_UP {
                begun = (now, arrivals);
            }
            if counts(tag) {
                ended = (now, arrivals);
                numbers.iter_mut().zip(&present).for_each(|(number, &n)| number.add(n as f64));
                idle.add(share(present[0] == 0 && present[1] == 0));
                first_idle.add(share(present[0] == 0));
            }
        });
        let span = ended.0.since(begun.0).as_secs_f64();
        let rate = |i: usize| (ended.1[i] - begun.1[i]) as f64 / span;
        let [a, b, c] = numbers.map(|number| number.mean().unwrap());
        [a, b, c, rate(0), rate(1), rate(2), idle.mean().unwrap(), first_idle.mean().unwrap()]
    });
    let rates = queueing::jackson_rates(&external, &routing).unwrap();
    for i in 0..3 {
        assert_inside("rate", figures[3 + i], rates[i]);
        assert_inside("mean number", figures[i], queueing::mmc_mean_number(servers[i], rates[i] * means[i]));
    }
    let idle = |i: usize| 1.0 - rates[i] * means[i];
    assert_inside("first idle", figures[7], idle(0));
    assert_inside("both idle", figures[6], idle(0) * idle(1));
    assert_outside("without the feedback", figures[0], queueing::mmc_mean_number(1, external[0] * means[0]));
}

/// Eight customers go round two counters and think between rounds.
#[test]
fn a_closed_network_follows_mean_value_analysis() {
    let means = [1.0, 0.7, 2.0];
    let mut places: Vec<Place> = means.iter().map(|&mean| Place::new(1, mean, Law::Exponential)).collect();
    places[2].servers = u32::MAX;
    let routing = vec![vec![0.0, 1.0, 0.0], vec![0.0, 0.0, 1.0], vec![1.0, 0.0, 0.0]];
    let line = Line { sources: Vec::new(), places, routing, customers: 3 * CUSTOMERS, circulating: 8 };
    let figures = replicate("closed", |seed| {
        let (mut departures, mut begun) = (0, None);
        let mut figures = [0.0; 3];
        line.run(seed, |now, sight| {
            let Sight::Departs { stations, .. } = sight else { return };
            departures += 1;
            let area = |i: usize| stations[i].present().entity_nanos(now);
            if departures == 3 * WARM_UP {
                begun = Some((now, area(0), area(1)));
            }
            if departures == 3 * CUSTOMERS
                && let Some((since, first, second)) = begun
            {
                let span = now.since(since);
                let mean = |area: u128| area as f64 / span.as_nanos() as f64;
                let rate = f64::from(CUSTOMERS - WARM_UP) / span.as_secs_f64();
                figures = [rate, mean(area(0) - first), mean(area(1) - second)];
            }
        });
        figures
    });
    let (rate, numbers) = queueing::closed_network(8, &means[..2], means[2]);
    assert_inside("throughput", figures[0], rate);
    assert_inside("number at the first", figures[1], numbers[0]);
    assert_inside("number at the second", figures[2], numbers[1]);
    assert_outside("one customer less", figures[0], queueing::closed_network(7, &means[..2], means[2]).0);
}
