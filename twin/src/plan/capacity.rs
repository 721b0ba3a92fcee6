//! How many sessions a region × class shall be ready for, interval by interval: the newsvendor's answer for the most that
//! each interval may bring, joined over time by what changes cost.
//!
//! Machines are launched so that they are ready when an interval begins and stay to its end: what matters of it is the
//! most sessions within, a quantile over futures of the whole of it and not of its steps one by one.
//!
//! Capacity is counted in grains, the sessions that one machine of the smallest flavour serves; larger flavours make
//! many grains cheaper. Which flavours they become is for `plan::mix` to say.

use std::ops::Range;

use forebay_world::{ClassId, Duration, FlavourId, Topology};

use super::market::Market;
use super::newsvendor::{LEAST_LEVEL, critical_ratio};
use super::schedule::{self, Terms};
use super::staffing;
use crate::forecast::paths::{Paths, Spread};

/// A flavour as machines of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// Which.
    pub flavour: FlavourId,
    /// Sessions that one machine serves.
    pub sessions_per_vm: f64,
    /// Price of one more, spot as far as may be \[currency unit / h\].
    pub price_per_hour: f64,
    /// Time for which a machine that comes and goes is paid for without serving: it boots, warms up and drains \[h\].
    pub idle_hours: f64,
}

/// What `class` can be served by. `boot_z` is the normal quantile of boots that are waited for.
pub fn offers(topology: &Topology, market: &Market, class: ClassId, boot_z: f64, drain_most: Duration) -> Vec<Offer> {
    let kind = topology.class(class);
    let offer = |flavour: &FlavourId| {
        let form = &topology.flavours[flavour.index()];
        let sessions_per_vm = kind.sessions_on(form) * staffing::utilization(kind, form);
        // The longest of n exponential sessions lasts about ln n + 0.58 means.
        let drain = kind.work.mean_seconds() * (sessions_per_vm.max(1.0).ln() + 0.577);
        let drain = Duration::from_secs_f64_saturating(drain).min(drain_most);
        Offer {
            flavour: *flavour,
            sessions_per_vm,
            price_per_hour: market.tariff(*flavour).blended_per_hour(),
            idle_hours: form.time_to_ready(boot_z).saturating_add(drain).as_hours_f64(),
        }
    };
    market.allowed(class).iter().map(offer).filter(|offer| offer.sessions_per_vm > 0.0).collect()
}

/// What one region × class is to be ready for in one interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// How the most sessions of the interval are spread.
    pub spread: Spread,
    /// Sessions that capacity shall serve: a number of grains.
    pub capacity: f64,
    /// Share of the futures in which it suffices, 0 to 1.
    pub level: f64,
    /// Sessions at that level, but not beyond what they are worth.
    pub sessions: f64,
}

/// What bounds and prices the capacity of one region × class.
#[derive(Clone, Copy, Debug)]
pub struct Stakes {
    /// Sessions served by machines that are paid for anyway.
    pub paid_for: f64,
    /// Price of a minute in which capacity does not suffice \[currency unit / min\].
    pub violation_price: f64,
    /// Machines at least …
    pub floor: u32,
    /// … and at most, of whatever flavour.
    pub ceiling: u32,
}

/// Targets for intervals of `length`, each the steps of `paths` that `steps` gives it.
///
/// # Panics
/// When there is no offer.
pub fn targets(
    paths: &Paths,
    intervals: impl IntoIterator<Item = Range<usize>>,
    length: Duration,
    offers: &[Offer],
    stakes: &Stakes,
) -> Vec<Target> {
    let spreads: Vec<Spread> = intervals.into_iter().map(|steps| paths.most(steps)).collect();
    let ladder = Ladder::new(offers, &spreads, stakes);
    let spreads: Vec<Demand> = spreads.into_iter().map(Demand::new).collect();
    let hours = length.as_hours_f64();
    let violation = stakes.violation_price * length.as_secs_f64() / 60.0;
    let terms = Terms { standing: None, low: ladder.low, high: ladder.high(), change: ladder.change };
    let rungs = schedule::least_cost(spreads.len(), terms, |interval, rung| {
        ladder.price_per_hour(rung) * hours + violation * spreads[interval].shortage(ladder.capacity(rung))
    });
    let vm_price = offers[0].price_per_hour / 60.0;
    let ratio = critical_ratio(stakes.violation_price, vm_price);
    spreads
        .into_iter()
        .zip(rungs)
        .map(|(Demand { spread, .. }, rung)| {
            let capacity = ladder.capacity(rung);
            let level = 1.0 - spread.share_above(capacity);
            let sessions = spread.quantile(level.min(ratio)).clamp(0.0, capacity);
            Target { spread, capacity, level, sessions }
        })
        .collect()
}

/// How demand is spread, and what it is at least likely to be.
struct Demand {
    spread: Spread,
    likely: f64,
}

impl Demand {
    fn new(spread: Spread) -> Self {
        Demand { likely: spread.quantile(LEAST_LEVEL), spread }
    }

    /// How bad a capacity is, in violated minutes a minute: see [`shortage`].
    fn shortage(&self, capacity: f64) -> f64 {
        self.spread.share_above(capacity) + turned_away(self.likely, capacity)
    }
}

/// How bad a capacity is for a demand, in violated minutes a minute: the probability of being short, as the objective is
/// judged, and where that is near certain, the share of sessions that find no place besides. The second is zero wherever
/// the newsvendor looks; it keeps a cell that is short anyway, at its ceiling or for want of money, from being given up.
pub fn shortage(spread: &Spread, capacity: f64) -> f64 {
    spread.share_above(capacity) + turned_away(spread.quantile(LEAST_LEVEL), capacity)
}

fn turned_away(likely: f64, capacity: f64) -> f64 {
    if likely > 0.0 { (1.0 - capacity / likely).clamp(0.0, 1.0) } else { 0.0 }
}

/// Capacities there are to choose from, evenly spaced, with the least price of each.
struct Ladder {
    /// Sessions of one rung.
    rung: f64,
    low: u32,
    /// Price of the capacity of each rung, by the cheapest machines that make it up \[currency unit / h\].
    prices: Vec<f64>,
    /// Rungs that are paid for anyway.
    paid_for: u32,
    /// Price of one rung that comes and goes.
    change: f64,
}

/// No more rungs than this: beyond, a rung is several grains.
const RUNGS: f64 = 4000.0;
/// Capacity beyond this quantile of demand is never considered.
const HIGHEST: f64 = 0.999;

impl Ladder {
    fn new(offers: &[Offer], spreads: &[Spread], stakes: &Stakes) -> Self {
        assert!(!offers.is_empty(), "a class can be served by something");
        let grain = offers.iter().map(|offer| offer.sessions_per_vm).fold(f64::INFINITY, f64::min);
        let largest = offers.iter().map(|offer| offer.sessions_per_vm).fold(0.0, f64::max);
        let own = offers[0].sessions_per_vm;
        let most = spreads.iter().map(|spread| spread.quantile(HIGHEST)).fold(0.0, f64::max);
        let most = most.min(f64::from(stakes.ceiling) * largest);
        let floor = f64::from(stakes.floor.min(stakes.ceiling)) * own;
        let rung = grain * (most.max(floor) / grain / RUNGS).ceil().max(1.0);
        let count = |sessions: f64| super::newsvendor::vms_from(sessions / rung);
        let low = count(floor);
        let high = count(most).max(low);
        // What one machine makes up: whole rungs, but one at least, several machines to a rung where it is larger.
        let steps: Vec<(u32, f64)> = offers
            .iter()
            .map(|offer| {
                let rungs = (offer.sessions_per_vm / rung + 1e-9).floor();
                if rungs >= 1.0 {
                    (rungs as u32, offer.price_per_hour)
                } else {
                    (1, offer.price_per_hour * rung / offer.sessions_per_vm)
                }
            })
            .collect();
        let mut prices = vec![0.0; high as usize + 1];
        for rungs in 1..=high {
            let before = |taken: u32| prices[rungs.saturating_sub(taken) as usize];
            prices[rungs as usize] =
                steps.iter().map(|(taken, price)| before(*taken) + price).fold(f64::INFINITY, f64::min);
        }
        let change =
            offers.iter().zip(&steps).map(|(offer, (taken, price))| price * offer.idle_hours / f64::from(*taken));
        Ladder {
            rung,
            low,
            prices,
            paid_for: (stakes.paid_for / rung + 1e-9) as u32,
            change: change.fold(f64::INFINITY, f64::min),
        }
    }

    fn high(&self) -> u32 {
        self.prices.len() as u32 - 1
    }

    fn capacity(&self, rungs: u32) -> f64 {
        // The hair by which numbers of machines are rounded down is no shortage.
        (f64::from(rungs) + 1e-9) * self.rung
    }

    fn price_per_hour(&self, rungs: u32) -> f64 {
        self.prices[rungs.saturating_sub(self.paid_for) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::chance::Chance;
    use crate::plan::newsvendor;
    use crate::small_world;

    const STAKES: Stakes = Stakes { paid_for: 0.0, violation_price: 1.0, floor: 1, ceiling: 1000 };

    fn offer(flavour: u8, sessions_per_vm: f64, price_per_hour: f64, idle_hours: f64) -> Offer {
        Offer { flavour: FlavourId(flavour), sessions_per_vm, price_per_hour, idle_hours }
    }

    /// Futures of about `mean(step)` sessions, spread by a tenth.
    fn paths(steps: usize, mean: impl Fn(usize) -> f64) -> Paths {
        let mut chance = Chance::new(1, "capacity");
        Paths::new(steps, (0..200 * steps).map(|at| mean(at % steps) * (1.0 + 0.1 * chance.normal())).collect())
    }

    #[test]
    fn without_a_price_of_change_each_interval_is_the_newsvendor_s() {
        let paths = paths(6, |step| 500.0 + 300.0 * step as f64);
        let offers = [offer(0, 40.0, 0.6, 0.0)];
        let minute = Duration::from_mins(1);
        for target in targets(&paths, (0..6).map(|step| step..step + 1), minute, &offers, &STAKES) {
            let sized = newsvendor::cheapest(&target.spread, 40.0, 0.01, 1.0);
            assert!((target.capacity - f64::from(sized.vms) * 40.0).abs() < 1e-3, "{} {sized:?}", target.capacity);
            assert!((target.level - sized.level).abs() < 1e-3);
            assert!(target.sessions <= target.capacity);
        }
    }

    #[test]
    fn a_short_dip_is_sat_out_and_a_long_one_is_not() {
        let level = |targets: &[Target], at: usize| (targets[at].capacity / 40.0).round();
        let offers = [offer(0, 40.0, 0.6, 0.5)];
        let quarter = Duration::from_mins(15);
        let dip = |long: usize| {
            let paths = paths(24, |step| if (4..4 + long).contains(&step) { 200.0 } else { 1000.0 });
            targets(&paths, (0..24).map(|step| step..step + 1), quarter, &offers, &STAKES)
        };
        let (short, long) = (dip(1), dip(12));
        assert_eq!(level(&short, 4), level(&short, 3), "a quarter of an hour against half an hour of idling");
        assert!(level(&long, 8) < 0.4 * level(&long, 3), "{} {}", level(&long, 8), level(&long, 3));
    }

    #[test]
    fn many_grains_cost_what_the_larger_flavour_does() {
        let spreads = [Spread::new(vec![1000.0])];
        let ladder = Ladder::new(&[offer(0, 40.0, 1.0, 0.1), offer(1, 160.0, 3.0, 0.1)], &spreads, &STAKES);
        let prices: Vec<f64> = (0..=9).map(|rungs| ladder.price_per_hour(rungs)).collect();
        assert_eq!(prices, [0.0, 1.0, 2.0, 3.0, 3.0, 4.0, 5.0, 6.0, 6.0, 7.0]);
        let reserved = Stakes { paid_for: 85.0, ..STAKES };
        let ladder = Ladder::new(&[offer(0, 40.0, 1.0, 0.1)], &spreads, &reserved);
        assert_eq!((0..5).map(|rungs| ladder.price_per_hour(rungs)).collect::<Vec<_>>(), [0.0, 0.0, 0.0, 1.0, 2.0]);
    }

    #[test]
    fn huge_demand_is_planned_in_coarser_rungs() {
        let spreads = [Spread::new((1..100).map(|n| f64::from(n) * 1e7).collect())];
        let stakes = Stakes { ceiling: u32::MAX, ..STAKES };
        let ladder = Ladder::new(&[offer(0, 1.0, 1.0, 0.1), offer(1, 8.0, 7.0, 0.1)], &spreads, &stakes);
        assert!(f64::from(ladder.high()) <= RUNGS + 1.0);
        assert!((ladder.price_per_hour(4000) / ladder.capacity(4000) - 0.875).abs() < 1e-3);
    }

    #[test]
    fn floors_and_ceilings_hold() {
        let paths = paths(3, |_| 1000.0);
        let offers = [offer(0, 40.0, 0.6, 0.0)];
        let of = |floor, ceiling| {
            let stakes = Stakes { floor, ceiling, ..STAKES };
            let steps = (0..3).map(|step| step..step + 1);
            let targets = targets(&paths, steps, Duration::from_mins(1), &offers, &stakes);
            targets.iter().map(|target| (target.capacity / 40.0).round() as u32).collect::<Vec<_>>()
        };
        assert_eq!(of(50, 1000), [50; 3]);
        assert_eq!(of(1, 7), [7; 3]);
        assert_eq!(of(9, 7), [7; 3]);
    }

    #[test]
    fn offers_are_those_that_the_market_allows() {
        let topology = small_world::topology(1);
        let market = Market::of(&topology);
        let offers = offers(&topology, &market, ClassId(0), 1.64, Duration::from_mins(100));
        assert_eq!(offers.len(), 1);
        let full = topology.sessions_per_vm(ClassId(0)) * staffing::workable_utilization(&topology, ClassId(0));
        assert!((offers[0].sessions_per_vm - full).abs() < 1e-9);
        // Three minutes to ready, and a drain of 20 min × (ln 170 + 0.58), cut at its deadline.
        assert!((1.7..1.75).contains(&offers[0].idle_hours), "{}", offers[0].idle_hours);
    }
}
