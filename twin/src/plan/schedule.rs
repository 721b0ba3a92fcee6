//! How capacity follows what it is worth over time, when every change costs.
//!
//! A machine that is added is paid for while it boots and again while it drains: a dip shorter than that is sat out, and
//! a peak that is not worth it is not followed. Found exactly, by dynamic programming over the number of machines, which
//! is the bound that hysteresis and lazy provisioning are measured against (M. Lin, A. Wierman et al., "Dynamic
//! right-sizing for power-proportional data centers", INFOCOM 2011).

/// What a schedule is bound by.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Machines that stand before; `None` when the first number may be had for nothing.
    pub standing: Option<u32>,
    /// Machines at least …
    pub low: u32,
    /// … and at most.
    pub high: u32,
    /// Price of adding one.
    pub change: f64,
}

/// The numbers of machines of least cost, one for each of `runs`: `cost` of having so many in a run, and the price of
/// every machine that is added from one to the next.
///
/// Forward dynamic programming over the number of machines. Moves by one machine in a row make each run linear in the
/// number of machines. Of equal costs the smaller number.
///
/// # Panics
/// When `low` is above `high`.
pub fn least_cost(runs: usize, terms: Terms, cost: impl Fn(usize, u32) -> f64) -> Vec<u32> {
    let Terms { standing, low, high, change } = terms;
    assert!(low <= high, "at least no more than at most");
    if runs == 0 {
        return Vec::new();
    }
    // Beyond any real size, machines are counted in blocks, so that the table stays in memory.
    let block = ((u64::from(high - low) * runs as u64) >> 28) as u32 + 1;
    let states = (high - low).div_ceil(block) as usize + 1;
    let vms = |state: usize| (low + state as u32 * block).min(high);
    let first = |state: usize| standing.map_or(0.0, |standing| change * f64::from(vms(state).saturating_sub(standing)));
    let mut sums: Vec<f64> = (0..states).map(first).collect();
    let mut moves = vec![Move::Stay; states * runs];
    for run in 0..runs {
        if run > 0 {
            let moves = &mut moves[run * states..(run + 1) * states];
            for state in (0..states - 1).rev() {
                if sums[state + 1] < sums[state] {
                    sums[state] = sums[state + 1];
                    moves[state] = Move::FromMore;
                }
            }
            for state in 1..states {
                let dearer = sums[state - 1] + change * f64::from(vms(state) - vms(state - 1));
                if dearer < sums[state] {
                    sums[state] = dearer;
                    moves[state] = Move::FromFewer;
                }
            }
        }
        sums.iter_mut().enumerate().for_each(|(state, sum)| *sum += cost(run, vms(state)));
    }
    let mut state = (0..states).min_by(|a, b| sums[*a].total_cmp(&sums[*b])).expect("there is at least one state");
    let mut schedule = vec![0; runs];
    for run in (0..runs).rev() {
        schedule[run] = vms(state);
        // Walk back along the moves; a chain of moves one way never turns within one run.
        let moves = &moves[run * states..(run + 1) * states];
        while moves[state] == Move::FromFewer {
            state -= 1;
        }
        while moves[state] == Move::FromMore {
            state += 1;
        }
    }
    schedule
}

/// As [`least_cost`] for steps each of which needs so many machines: `vm_step` for each machine and step, `short_step`
/// for each step with fewer machines than needed.
///
/// Steps of equal need are taken together: within them, changing in the middle never pays.
pub fn for_needs(need: &[u32], terms: Terms, vm_step: f64, short_step: f64) -> Vec<u32> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &need in need {
        match runs.last_mut() {
            Some((last, steps)) if *last == need => *steps += 1,
            _ => runs.push((need, 1)),
        }
    }
    let most = need.iter().copied().max().unwrap_or(0).max(terms.standing.unwrap_or(0).min(terms.high));
    let high = most.clamp(terms.low.min(terms.high), terms.high);
    let terms = Terms { low: terms.low.min(high), high, ..terms };
    let schedule = least_cost(runs.len(), terms, |run, vms| {
        let (need, steps) = runs[run];
        f64::from(steps) * (vm_step * f64::from(vms) + if vms < need { short_step } else { 0.0 })
    });
    schedule.iter().zip(&runs).flat_map(|(vms, (_, steps))| std::iter::repeat_n(*vms, *steps as usize)).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Stay,
    FromMore,
    FromFewer,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(schedule: &[u32], standing: Option<u32>, change: f64, cost: &dyn Fn(usize, u32) -> f64) -> f64 {
        let mut before = standing.unwrap_or(schedule[0]);
        let mut sum = 0.0;
        for (run, &vms) in schedule.iter().enumerate() {
            sum += change * f64::from(vms.saturating_sub(before)) + cost(run, vms);
            before = vms;
        }
        sum
    }

    /// The least cost of all schedules, by trying each.
    fn brute_force(runs: usize, terms: Terms, cost: &dyn Fn(usize, u32) -> f64) -> f64 {
        let states = terms.high - terms.low + 1;
        (0..states.pow(runs as u32))
            .map(|mut code| {
                let mut next = || {
                    let vms = terms.low + code % states;
                    code /= states;
                    vms
                };
                let schedule: Vec<u32> = (0..runs).map(|_| next()).collect();
                price(&schedule, terms.standing, terms.change, cost)
            })
            .fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #[test]
        fn no_schedule_is_cheaper(
            need in prop::collection::vec(0u32..5, 1..7),
            standing in prop::option::of(0u32..4),
            low in 0u32..2,
            high in 2u32..5,
            prices in (0.1f64..2.0, 0.0f64..5.0, 0.0f64..8.0),
        ) {
            let (vm_step, change, short_step) = prices;
            let terms = Terms { standing, low, high, change };
            let schedule = for_needs(&need, terms, vm_step, short_step);
            prop_assert!(schedule.iter().all(|vms| (low..=high).contains(vms)));
            let cost = |step: usize, vms: u32| {
                vm_step * f64::from(vms) + if vms < need[step] { short_step } else { 0.0 }
            };
            let found = price(&schedule, standing, change, &cost);
            let best = brute_force(need.len(), terms, &cost);
            prop_assert!((found - best).abs() < 1e-9, "{found} not {best}: {schedule:?}");
        }

        #[test]
        fn nor_is_one_for_any_other_costs(
            costs in prop::collection::vec(prop::collection::vec(0.0f64..9.0, 5), 1..6),
            standing in prop::option::of(0u32..6),
            change in 0.0f64..4.0,
        ) {
            let terms = Terms { standing, low: 1, high: 5, change };
            let cost = |run: usize, vms: u32| costs[run][vms as usize - 1];
            let schedule = least_cost(costs.len(), terms, cost);
            let (found, best) = (price(&schedule, standing, change, &cost), brute_force(costs.len(), terms, &cost));
            prop_assert!((found - best).abs() < 1e-9, "{found} not {best}: {schedule:?}");
        }
    }

    #[test]
    fn a_short_peak_is_not_worth_its_boots_and_a_long_one_is() {
        let needs = |need: &[u32], standing, low| {
            for_needs(need, Terms { standing: Some(standing), low, high: 9, change: 3.0 }, 1.0, 20.0)
        };
        assert_eq!(needs(&[1, 1, 9, 1, 1], 1, 1), [1; 5]);
        let long = [1, 9, 9, 9, 9, 9, 9, 1];
        assert_eq!(needs(&long, 1, 1), long);
        assert_eq!(needs(&[4, 0, 4], 4, 0), [4, 4, 4], "a dip shorter than a boot is sat out");
        assert_eq!(needs(&[], 4, 0), [0u32; 0]);
    }
}
