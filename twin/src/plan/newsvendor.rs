//! How many machines are worth their price when all that is known of demand is how it is spread.
//!
//! The newsvendor's question (F. Edgeworth, 1888; K. Arrow, T. Harris, J. Marschak, 1951), with a penalty for each minute
//! in which demand exceeds capacity, by however much, as the objective is judged: minimise
//! price × n + penalty × P(demand > n × sessions per machine).

use crate::forecast::paths::Spread;

/// Machines for an uncertain demand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sized {
    /// Machines.
    pub vms: u32,
    /// Share of the futures in which they suffice, 0 to 1.
    pub level: f64,
    /// Demand at that level, but not beyond the critical ratio: what they were taken for \[sessions\].
    pub sessions: f64,
}

/// The number of machines of least expected cost: `vm_price` for each, and `violation_price` where demand exceeds what
/// they serve, both \[currency unit / min\].
///
/// It never goes beyond the classic critical ratio c_u / (c_u + c_o), which is exact when one machine is all that lacks,
/// and never below the demand of three futures in ten: giving a cell up altogether is not for a price to decide.
///
/// # Panics
/// When a machine serves no sessions.
pub fn cheapest(spread: &Spread, sessions_per_vm: f64, vm_price: f64, violation_price: f64) -> Sized {
    least_cost(
        |level| spread.quantile(level),
        |value| spread.share_above(value),
        sessions_per_vm,
        vm_price,
        violation_price,
    )
}

/// Machines for the demand that is not exceeded in a share `level` of the futures, 0 to 1.
///
/// # Panics
/// When a machine serves no sessions.
pub fn at_level(spread: &Spread, sessions_per_vm: f64, level: f64) -> Sized {
    assert!(sessions_per_vm > 0.0, "machines serve something");
    let sessions = spread.quantile(level).max(0.0);
    Sized { vms: vms_from(sessions / sessions_per_vm), level, sessions }
}

/// As [`cheapest`], of any distribution: its quantile at a level, and the share above a value.
pub(crate) fn least_cost(
    quantile: impl Fn(f64) -> f64,
    share_above: impl Fn(f64) -> f64,
    sessions_per_vm: f64,
    vm_price: f64,
    violation_price: f64,
) -> Sized {
    assert!(sessions_per_vm > 0.0, "machines serve something");
    let ratio = critical_ratio(violation_price, vm_price);
    let at = |level: f64| vms_from(quantile(level).max(0.0) / sessions_per_vm);
    let most = at(ratio);
    let least = at(LEAST_LEVEL).min(most);
    // The hair by which `vms_from` rounds down is no shortage.
    let short = |n: u32| share_above((f64::from(n) + HAIR) * sessions_per_vm);
    let cost = |n: u32| vm_price * f64::from(n) + violation_price * short(n);
    let mut best = (most, cost(most));
    // Of equal costs the larger number: it serves more for the same.
    let mut search = |from: u32, down_to: u32, step: u32| {
        let mut n = from;
        while n >= down_to + step {
            n -= step;
            let candidate = cost(n);
            if candidate < best.1 {
                best = (n, candidate);
            }
        }
        best.0
    };
    // Many machines are compared in coarser steps first, and in ever finer ones about the best of these.
    let (mut from, mut down_to, mut step) = (most, least, ((most - least) / COARSE).max(1));
    let mut found = search(from, down_to, step);
    while step > 1 {
        (from, down_to) = (found.saturating_add(step).min(most), found.saturating_sub(step).max(least));
        step = (2 * (step / COARSE)).max(1);
        found = search(from, down_to, step);
    }
    let level = 1.0 - short(best.0);
    Sized { vms: best.0, level, sessions: quantile(level.min(ratio)).max(0.0) }
}

/// The newsvendor's critical ratio c_u / (c_u + c_o) of the prices of one too few and one too many, kept inside what an
/// empirical distribution can tell.
pub fn critical_ratio(under: f64, over: f64) -> f64 {
    let ratio = under / (under + over);
    if ratio.is_nan() { 0.95 } else { ratio.clamp(0.05, 0.999) }
}

/// Rounds up a number of virtual machines that was computed: undefined and negative numbers become zero.
/// A hair above a whole number is rounding of the arithmetic, not demand.
pub(crate) fn vms_from(number: f64) -> u32 {
    (number - HAIR).ceil() as u32
}

/// Machines by which a number may be off from rounding.
const HAIR: f64 = 1e-9;

/// No fewer machines are considered than demand at this level asks for.
pub(super) const LEAST_LEVEL: f64 = 0.3;
/// Numbers of machines that are compared before the best of them is looked at closely.
const COARSE: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::normal_quantile;
    use proptest::prelude::*;

    /// Futures of a normal distribution, at its plotting positions.
    fn normal(mean: f64, deviation: f64) -> Spread {
        let n = 2000;
        Spread::new((0..n).map(|i| mean + deviation * normal_quantile((f64::from(i) + 0.5) / f64::from(n))).collect())
    }

    /// With a fine machine the cost p·c/s + q·(1 − F(c)) is least where the density f(c) equals p/(s·q), on the upper side:
    /// c = μ + σ √(2 ln(q s / (p σ √(2π)))).
    #[test]
    fn of_a_normal_demand_it_is_the_closed_form() {
        let (mean, deviation) = (10_000.0, 800.0);
        let spread = normal(mean, deviation);
        for (vm_price, violation_price) in [(0.0005, 1.0), (0.001, 1.0), (0.0004, 2.0)] {
            let sized = cheapest(&spread, 1.0, vm_price, violation_price);
            let ratio: f64 = violation_price / (vm_price * deviation * std::f64::consts::TAU.sqrt());
            let exact = if ratio > 1.0 { mean + deviation * (2.0 * ratio.ln()).sqrt() } else { mean };
            let cost = |n: f64| vm_price * n + violation_price * spread.share_above(n);
            // The cost is flat about its least: machines may differ where costs do not.
            let (found, closed) = (cost(f64::from(sized.vms)), cost(exact.max(spread.quantile(LEAST_LEVEL))));
            let searched_at_least = cost(spread.quantile(LEAST_LEVEL).ceil());
            assert!(found <= closed.min(searched_at_least) + 1e-3 * violation_price, "{vm_price}: {sized:?} {exact}");
        }
        // Penalties so dear that the optimum lies inside: to a tenth of a deviation.
        let sized = cheapest(&spread, 1.0, 1e-4, 1.0);
        let exact = mean + deviation * (2.0 * (1.0 / (1e-4 * deviation * std::f64::consts::TAU.sqrt())).ln()).sqrt();
        assert!((f64::from(sized.vms) - exact).abs() < 0.1 * deviation, "{sized:?} not {exact}");
    }

    #[test]
    fn where_one_machine_is_all_that_lacks_it_is_the_critical_ratio() {
        // Demand is for n or n + 1 machines: the second is worth its price when P(it is needed) × penalty exceeds it.
        for share in [0.02, 0.2, 0.45] {
            let futures = (0..1000).map(|i| if f64::from(i) < share * 1000.0 { 9.0 } else { 5.0 }).collect();
            let spread = Spread::new(futures);
            for (price, bought) in [(share * 0.8, true), (share * 1.3, false)] {
                let sized = cheapest(&spread, 5.0, price, 1.0);
                assert_eq!(sized.vms, 1 + u32::from(bought), "{share} {price}: {sized:?}");
            }
        }
    }

    #[test]
    fn a_level_is_its_quantile() {
        let spread = normal(1000.0, 100.0);
        let sized = at_level(&spread, 50.0, 0.975);
        assert!((sized.sessions - 1195.996).abs() < 1.0, "{sized:?}");
        assert_eq!(sized.vms, 24);
        assert_eq!(critical_ratio(9.0, 1.0), 0.9);
        assert_eq!(critical_ratio(0.0, 0.0), 0.95);
    }

    proptest! {
        #[test]
        fn no_number_of_machines_costs_less(
            futures in prop::collection::vec(0.0f64..20_000.0, 1..200),
            per_vm in 1.0f64..300.0,
            vm_price in 1e-5f64..0.2,
        ) {
            let spread = Spread::new(futures);
            let sized = cheapest(&spread, per_vm, vm_price, 1.0);
            let cost = |n: u32| vm_price * f64::from(n) + spread.share_above(f64::from(n) * per_vm);
            let most = at_level(&spread, per_vm, critical_ratio(1.0, vm_price)).vms;
            let least = at_level(&spread, per_vm, LEAST_LEVEL).vms.min(most);
            prop_assert!((least..=most).contains(&sized.vms));
            prop_assert!(sized.sessions <= f64::from(sized.vms) * per_vm * (1.0 + 1e-9) + 1e-6, "{sized:?}");
            let best = (least..=most).map(cost).fold(f64::INFINITY, f64::min);
            let step = ((most - least) / COARSE).max(1);
            // A coarse step may miss a narrow valley by no more than the machines in it.
            let slack = if step > 1 { vm_price * f64::from(step) } else { 1e-12 };
            prop_assert!(cost(sized.vms) <= best + slack, "{} > {best}", cost(sized.vms));
        }
    }
}
