//! Queueing theory in closed form: what a planner sizes by, and what the engine is checked against.
//!
//! Rates are per second, times in seconds, loads in erlang (arrival rate × mean service time). A queue that is offered
//! more than it can serve has an infinite mean wait: that is what these functions return, never an error.
//! Not here: anything that happens over time. These are steady states.
//!
//! Notation of the comments: λ arrival rate, s mean service time, a = λs offered load, c servers, ρ = a/c utilization.
//! Sources by name: Kleinrock, "Queueing Systems" I (1975) and II (1976); Gross & Harris, "Fundamentals of Queueing
//! Theory"; others where they are used.
//!
//! ```
//! use forebay_sim::queueing;
//!
//! // 100 requests/s of 50 ms each: five processors' worth. How many so that at most one in a hundred waits?
//! let servers = queueing::servers_for_delay(100.0 * 0.050, 0.01);
//! assert_eq!(servers, 12);
//! assert!(queueing::erlang_c(12, 5.0) <= 0.01 && queueing::erlang_c(11, 5.0) > 0.01);
//! ```

mod cache;
mod network;

pub use cache::{che_characteristic_time, lru_hit_ratio, ttl_hit_ratio};
pub use network::{closed_network, jackson_rates};

/// Probability that all of `servers` are busy when there is no room to wait (M/G/c/c), at `load` erlang: the share of
/// arrivals lost. Holds for every law of service with the same mean (B. Sevastyanov 1957).
///
/// A. K. Erlang 1917, by the recurrence B₀ = 1, Bₖ = aBₖ₋₁/(k + aBₖ₋₁).
pub fn erlang_b(servers: u32, load: f64) -> f64 {
    assert_load(load);
    (1..=servers).fold(1.0, |blocked, k| {
        let offered = load * blocked;
        offered / (f64::from(k) + offered)
    })
}

/// Probability that an arrival has to wait in M/M/c at `load` erlang; 1 when `load` is not below `servers`.
///
/// A. K. Erlang 1917, from Erlang B: C = B/(1 − ρ(1 − B)).
pub fn erlang_c(servers: u32, load: f64) -> f64 {
    let utilization = load / f64::from(servers);
    let blocked = erlang_b(servers, load);
    // Also of no servers at all, where the utilization is infinite or undefined.
    if utilization < 1.0 { blocked / (1.0 - utilization * (1.0 - blocked)) } else { 1.0 }
}

/// The fewest servers at which at most a share `target` of arrivals is lost ([`erlang_b`]), for 0 < `target`.
pub fn servers_for_loss(load: f64, target: f64) -> u32 {
    assert_load(load);
    assert!(target > 0.0, "a loss of {target} would take infinitely many servers");
    let (mut servers, mut blocked) = (0u32, 1.0);
    while blocked > target && load > 0.0 {
        servers += 1;
        blocked = load * blocked / (f64::from(servers) + load * blocked);
    }
    servers
}

/// The fewest servers at which at most a share `target` of arrivals waits ([`erlang_c`]), for 0 < `target`.
pub fn servers_for_delay(load: f64, target: f64) -> u32 {
    assert_load(load);
    assert!(target > 0.0, "a delay probability of {target} would take infinitely many servers");
    let (mut servers, mut blocked) = (0u32, 1.0);
    loop {
        let utilization = load / f64::from(servers);
        let delayed = if utilization < 1.0 { blocked / (1.0 - utilization * (1.0 - blocked)) } else { 1.0 };
        if delayed <= target || load == 0.0 {
            return servers;
        }
        servers += 1;
        blocked = load * blocked / (f64::from(servers) + load * blocked);
    }
}

/// Mean wait before service in M/M/c \[s\]: C·s/(c − a). Infinite when overloaded.
pub fn mmc_mean_wait(servers: u32, arrival_rate: f64, mean_service: f64) -> f64 {
    let load = arrival_rate * mean_service;
    let spare = f64::from(servers) - load;
    if spare > 0.0 { erlang_c(servers, load) * mean_service / spare } else { f64::INFINITY }
}

/// P(wait > `wait`) in M/M/c, first come first served: C·exp(−(c − a)·wait/s). 1 when overloaded.
pub fn mmc_wait_exceeds(servers: u32, arrival_rate: f64, mean_service: f64, wait: f64) -> f64 {
    let load = arrival_rate * mean_service;
    let spare = f64::from(servers) - load;
    if spare > 0.0 { erlang_c(servers, load) * (-spare * wait / mean_service).exp() } else { 1.0 }
}

/// The wait that a share `q` of arrivals in M/M/c does not exceed \[s\], first come first served; zero where more than
/// that share does not wait at all. Infinite when overloaded.
pub fn mmc_wait_quantile(servers: u32, arrival_rate: f64, mean_service: f64, q: f64) -> f64 {
    let load = arrival_rate * mean_service;
    let spare = f64::from(servers) - load;
    if spare <= 0.0 {
        return f64::INFINITY;
    }
    ((erlang_c(servers, load) / (1.0 - q)).ln() * mean_service / spare).max(0.0)
}

/// Mean number in M/M/c, waiting and in service: a + aC/(c − a); ρ/(1 − ρ) for one server. Infinite when overloaded.
pub fn mmc_mean_number(servers: u32, load: f64) -> f64 {
    let spare = f64::from(servers) - load;
    if spare > 0.0 { load + load * erlang_c(servers, load) / spare } else { f64::INFINITY }
}

/// P(time in system > `sojourn`) in M/M/1, first come first served: exp(−(1/s − λ)·sojourn). 1 when overloaded.
pub fn mm1_sojourn_exceeds(arrival_rate: f64, mean_service: f64, sojourn: f64) -> f64 {
    (-(1.0 / mean_service - arrival_rate).max(0.0) * sojourn).exp()
}

/// P(n in system) in M/M/1/K, one server and room for `room` in all, at `load` erlang (above 1 too):
/// (1 − ρ)ρⁿ/(1 − ρᴷ⁺¹). With n = K, the share of arrivals lost. Kleinrock I, section 3.6.
pub fn mm1k_probability(room: u32, load: f64, number: u32) -> f64 {
    assert_load(load);
    if number > room {
        return 0.0;
    }
    // Sums of powers of what is at most 1 neither overflow nor cancel, as the quotient does near ρ = 1.
    let (ratio, power) = if load <= 1.0 { (load, number) } else { (1.0 / load, room - number) };
    let weights: f64 = (0..=room).rev().fold(0.0, |sum, _| sum * ratio + 1.0);
    ratio.powi(power as i32) / weights
}

/// Mean wait before service in M/G/1 \[s\], first come first served: λE\[S²\]/(2(1 − ρ)) (F. Pollaczek 1930,
/// A. Khinchine 1932). `service_square` is E\[S²\] \[s²\]: s² for deterministic service, 2s² for exponential.
/// Infinite when overloaded.
pub fn mg1_mean_wait(arrival_rate: f64, mean_service: f64, service_square: f64) -> f64 {
    let idle = 1.0 - arrival_rate * mean_service;
    if idle > 0.0 { arrival_rate * service_square / (2.0 * idle) } else { f64::INFINITY }
}

/// An upper bound of the mean wait in G/G/1 \[s\]: λ(Var\[A\] + Var\[S\])/(2(1 − ρ)) (J. Kingman 1962). The variances
/// are of the times between arrivals and of the service times \[s²\]. Infinite when overloaded.
pub fn kingman_bound(arrival_rate: f64, mean_service: f64, interarrival_variance: f64, service_variance: f64) -> f64 {
    let idle = 1.0 - arrival_rate * mean_service;
    if idle > 0.0 { arrival_rate * (interarrival_variance + service_variance) / (2.0 * idle) } else { f64::INFINITY }
}

/// How many times longer work takes than alone, in the mean, when `cores` are shared evenly by all present and one job
/// uses at most one core: E\[T | x\] = x·(1 + C/(c − a)). 1/(1 − ρ) for one core. Infinite when overloaded.
///
/// Holds for every law of work with the same mean: the queue is symmetric (F. Kelly, "Reversibility and Stochastic
/// Networks", 1979, section 3.3), so the number present is that of M/M/c; and the sojourn is proportional to the work
/// (M. Sakata, S. Noguchi, J. Oizumi 1969 for one core; J. Cohen, "The Multiple Phase Service Network with Generalized
/// Processor Sharing", 1979).
pub fn processor_sharing_slowdown(cores: u32, load: f64) -> f64 {
    let spare = f64::from(cores) - load;
    if spare > 0.0 { 1.0 + erlang_c(cores, load) / spare } else { f64::INFINITY }
}

/// One class of arrivals to a priority queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriorityClass {
    /// Arrivals \[1/s\].
    pub arrival_rate: f64,
    /// Mean service time \[s\].
    pub mean_service: f64,
    /// Mean square of the service time \[s²\].
    pub service_square: f64,
}

/// Mean wait before service of each class in M/G/1 with non-preemptive priorities, the first class served first \[s\]:
/// W₀/((1 − σₖ₋₁)(1 − σₖ)) with W₀ = ΣλE\[S²\]/2 and σₖ = ρ₁ + … + ρₖ (A. Cobham 1954). Infinite for the classes that
/// are overloaded.
pub fn priority_mean_waits(classes: &[PriorityClass]) -> Vec<f64> {
    let residual: f64 = classes.iter().map(|class| class.arrival_rate * class.service_square / 2.0).sum();
    let mut above = 0.0;
    classes
        .iter()
        .map(|class| {
            let upto = above + class.arrival_rate * class.mean_service;
            let wait = if upto < 1.0 { residual / ((1.0 - above) * (1.0 - upto)) } else { f64::INFINITY };
            above = upto;
            wait
        })
        .collect()
}

/// P(`number` present) with servers for all (M/G/∞) at `load` erlang: Poisson, for every law of service.
pub fn poisson_probability(load: f64, number: u32) -> f64 {
    assert_load(load);
    // By factors of about 1 each, so that neither e⁻ᵃ nor aⁿ under- or overflows on its own.
    let step = if number == 0 { 0.0 } else { (-load / f64::from(number)).exp() };
    let product: f64 = (1..=number).map(|k| step * load / f64::from(k)).product();
    if number == 0 { (-load).exp() } else { product }
}

fn assert_load(load: f64) {
    assert!(load >= 0.0, "an offered load is not negative, and not {load}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
    }

    /// The definition, as a quotient of sums.
    fn erlang_c_by_definition(servers: u32, load: f64) -> f64 {
        let term = |n: u32| (1..=n).map(|k| load / f64::from(k)).product::<f64>();
        let c = f64::from(servers);
        let waiting = term(servers) * c / (c - load);
        waiting / ((0..servers).map(term).sum::<f64>() + waiting)
    }

    #[test]
    fn erlang_formulas_agree_with_their_definitions() {
        for servers in 1..40 {
            for load in [0.1, 0.5, 0.9].map(|rho| rho * f64::from(servers)) {
                assert!(near(erlang_c(servers, load), erlang_c_by_definition(servers, load)), "{servers} {load}");
            }
            // Joint identity, with B to the definition: B_c = (a^c/c!)/Σ a^k/k!.
            let load = 1.5 * f64::from(servers);
            let all: f64 = (0..=servers).map(|n| poisson_probability(load, n)).sum();
            assert!(near(erlang_b(servers, load), poisson_probability(load, servers) / all));
        }
        // Tables: 10 erlang on 10 lines lose 21.5 %; on 20, 0.187 %.
        assert!((erlang_b(10, 10.0) - 0.2146).abs() < 5e-5);
        assert!((erlang_b(20, 10.0) - 0.00187).abs() < 5e-6);
    }

    #[test]
    fn degenerate_queues_have_their_limits() {
        assert_eq!((erlang_b(0, 3.0), erlang_b(4, 0.0)), (1.0, 0.0));
        assert_eq!((erlang_c(3, 3.0), erlang_c(3, 5.0), erlang_c(0, 0.0)), (1.0, 1.0, 1.0));
        assert_eq!(mmc_mean_wait(3, 3.0, 1.0), f64::INFINITY);
        assert_eq!(mmc_mean_number(0, 0.0), f64::INFINITY);
        assert_eq!(mmc_wait_quantile(2, 0.1, 1.0, 0.5), 0.0);
        assert_eq!(mg1_mean_wait(2.0, 1.0, 1.0), f64::INFINITY);
        assert_eq!((servers_for_delay(0.0, 0.1), servers_for_loss(0.0, 0.1)), (0, 0));
    }

    #[test]
    fn a_thousand_servers_neither_overflow_nor_vanish() {
        let delayed = erlang_c(10_000, 9_900.0);
        assert!(delayed > 0.1 && delayed < 0.3, "{delayed}");
        // Halfin and Whitt 1981: with β = (1 − ρ)√c = 1, C → 1/(1 + βΦ(β)/φ(β)) = 0.22336.
        assert!((delayed - 0.223_36).abs() < 0.003, "{delayed}");
        assert!(poisson_probability(10_000.0, 10_000) > 0.003);
    }

    #[test]
    fn sizing_inverts_the_formulas() {
        for load in [0.3, 5.0, 80.0, 900.0] {
            for target in [0.5, 0.01, 1e-6] {
                let n = servers_for_delay(load, target);
                assert!(erlang_c(n, load) <= target && erlang_c(n - 1, load) > target);
                let n = servers_for_loss(load, target);
                assert!(erlang_b(n, load) <= target && erlang_b(n - 1, load) > target);
            }
        }
    }

    #[test]
    fn one_server_is_the_special_case_of_many() {
        let (rate, service) = (0.8, 1.0);
        assert!(near(mmc_mean_wait(1, rate, service), 4.0));
        assert!(near(mg1_mean_wait(rate, service, 2.0), 4.0));
        assert!(near(mg1_mean_wait(rate, service, 1.0), 2.0));
        assert!(near(mmc_mean_number(1, 0.8), 4.0));
        assert!(near(processor_sharing_slowdown(1, 0.8), 5.0));
        assert!(near(mm1_sojourn_exceeds(rate, service, 5.0), (-1.0f64).exp()));
        let one = PriorityClass { arrival_rate: rate, mean_service: service, service_square: 2.0 };
        assert!(near(priority_mean_waits(&[one])[0], 4.0));
        assert!(kingman_bound(rate, service, 1.0 / (rate * rate), 1.0) >= 4.0);
        let quantile = mmc_wait_quantile(3, 2.4, 1.0, 0.95);
        assert!(near(mmc_wait_exceeds(3, 2.4, 1.0, quantile), 0.05));
    }

    #[test]
    fn a_queue_with_little_room_is_a_distribution() {
        for load in [0.0, 0.3, 1.0, 1.0 + 1e-12, 4.0, 1e6] {
            let total: f64 = (0..=50).map(|n| mm1k_probability(50, load, n)).sum();
            assert!(near(total, 1.0), "{load}");
        }
        assert!(near(mm1k_probability(1, 0.7, 1), erlang_b(1, 0.7)));
        assert_eq!(mm1k_probability(3, 0.5, 4), 0.0);
    }

    /// Kleinrock II, section 3.4: Σ ρₖWₖ does not depend on the order of service.
    #[test]
    fn priorities_conserve_the_work() {
        let classes = [(0.2, 1.0, 2.0), (0.1, 2.0, 4.0), (0.05, 4.0, 40.0)].map(|(rate, mean, square)| PriorityClass {
            arrival_rate: rate,
            mean_service: mean,
            service_square: square,
        });
        let weighted = |classes: &[PriorityClass]| -> f64 {
            let waits = priority_mean_waits(classes);
            classes.iter().zip(waits).map(|(class, wait)| class.arrival_rate * class.mean_service * wait).sum()
        };
        let reversed: Vec<PriorityClass> = classes.iter().rev().copied().collect();
        assert!(near(weighted(&classes), weighted(&reversed)));
    }
}
