//! From demand to machines: how full a machine may be, and how many machines are worth their price.

use forebay_world::{ClassId, Topology, Work};

use crate::forecast::{Residuals, normal_quantile};

/// The utilization at which machines of `class` still keep its objective when demand is exactly as expected, 0 to 1.
///
/// Two things spoil it short of 1. Answers spread sessions over machines by chance, so the number on one machine is
/// about Poisson, and the share of sessions on machines that are too full must stay within the tolerance. And where
/// work queues for processors (interactive), response times grow before they are full: M/M/c by Sakasegawa's
/// approximation (1977), with an exponential tail.
pub fn workable_utilization(topology: &Topology, class: ClassId) -> f64 {
    let places = topology.sessions_per_vm(class);
    let class_of = topology.class(class);
    let tolerance = class_of.slo.tolerance.clamp(1e-4, 0.5);
    let full = match class_of.work {
        Work::Streaming { .. } => 1.0,
        Work::Download { .. } => 1.0 / class_of.slo.rate_floor.clamp(0.5, 1.0),
        Work::Interactive { service, .. } => {
            let servers = topology.flavour_of(class).cpu.cores().max(0.1);
            let mean_most = class_of.slo.latency.as_secs_f64() / (1.0 / tolerance).ln();
            busiest(servers, mean_most / service.as_secs_f64().max(1e-9))
        }
    };
    if !places.is_finite() || places <= 0.0 {
        return 0.9;
    }
    // The Poisson number of mean m exceeds m + z sqrt(m) with the tolerated probability: solve m + z sqrt(m) = room.
    let z = normal_quantile(1.0 - tolerance);
    let room = places * full;
    let root = ((z * z + 4.0 * room).sqrt() - z) / 2.0;
    (root * root / places).clamp(0.3, 0.97)
}

/// The utilization at which the mean response time of an M/M/c queue is `slowdown` mean service times.
fn busiest(servers: f64, slowdown: f64) -> f64 {
    let mean = |rho: f64| {
        let waiting = rho.powf((2.0 * (servers + 1.0)).sqrt() - 1.0) / (servers * (1.0 - rho));
        // With less than one processor a request cannot run at full speed.
        1.0 / servers.min(1.0) + waiting
    };
    let (mut low, mut high) = (0.0, 0.999);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if mean(middle) <= slowdown { low = middle } else { high = middle }
    }
    low
}

/// Demand of one serving cell over the window looked ahead to, and what it may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stake<'a> {
    /// Median of the most sessions in the window.
    pub expected: f64,
    /// Spread by which standardised errors are multiplied.
    pub spread: f64,
    /// Distribution of standardised errors.
    pub residuals: &'a Residuals,
    /// Sessions that one machine serves.
    pub sessions_per_vm: f64,
    /// Price of a machine \[currency unit / min\].
    pub vm_price: f64,
    /// Price of a minute short of machines \[currency unit / min\].
    pub violation_price: f64,
}

impl Stake<'_> {
    /// Machines for the quantile `level` of demand, and that quantile.
    pub(super) fn at_level(&self, level: f64) -> (u32, f64) {
        let sessions = self.quantile(level);
        (super::vms_from(sessions / self.sessions_per_vm), sessions)
    }

    /// The number of machines of least expected cost, and the quantile level that it covers.
    ///
    /// This is the newsvendor's question with a penalty for each minute in which demand exceeds capacity, by however
    /// much, as the objective is judged: minimise price × n + penalty × P(demand > n × sessions per machine). It never
    /// goes beyond the classic critical ratio c_u / (c_u + c_o), which is exact when one machine is all that lacks.
    pub(super) fn cheapest(&self) -> (u32, f64) {
        let ratio = critical_ratio(self.violation_price, self.vm_price);
        let most = self.at_level(ratio).0;
        let least = self.at_level(0.3).0.min(most);
        // Many machines are compared in coarser steps: a step is then small beside the number itself.
        let step = ((most - least) / 64).max(1);
        let cost = |n: u32| self.vm_price * f64::from(n) + self.violation_price * self.short(n);
        let mut best = (most, cost(most));
        let mut n = most;
        while n >= least + step {
            n -= step;
            let candidate = cost(n);
            if candidate < best.1 {
                best = (n, candidate);
            }
        }
        (best.0, 1.0 - self.short(best.0))
    }

    /// Sessions at a quantile level.
    pub(super) fn quantile(&self, level: f64) -> f64 {
        (self.expected + self.residuals.quantile(level) * self.spread).max(0.0)
    }

    /// Probability that demand exceeds what `n` machines serve.
    fn short(&self, n: u32) -> f64 {
        self.residuals.share_above((f64::from(n) * self.sessions_per_vm - self.expected) / self.spread)
    }
}

/// The newsvendor's critical ratio c_u / (c_u + c_o), kept inside what an empirical distribution can tell.
pub(super) fn critical_ratio(under: f64, over: f64) -> f64 {
    let ratio = under / (under + over);
    if ratio.is_nan() { 0.95 } else { ratio.clamp(0.05, 0.999) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world;

    fn stake(residuals: &Residuals, vm_price: f64) -> Stake<'_> {
        Stake {
            expected: 1000.0,
            spread: Residuals::scale(1000.0),
            residuals,
            sessions_per_vm: 50.0,
            vm_price,
            violation_price: 1.0,
        }
    }

    #[test]
    fn machines_are_bought_until_they_cost_more_than_they_save() {
        let residuals = Residuals::default();
        for price in [0.0001, 0.005, 0.02, 0.1, 0.5] {
            let stake = stake(&residuals, price);
            let (n, level) = stake.cheapest();
            let cost = |n: u32| price * f64::from(n) + stake.short(n);
            let most = stake.at_level(critical_ratio(1.0, price)).0;
            let best = (0..=most).map(cost).fold(f64::INFINITY, f64::min);
            // Below the search lies only giving the cell up altogether, which is not a policy's to decide.
            let searched = (stake.at_level(0.3).0..=most).map(cost).fold(f64::INFINITY, f64::min);
            assert!(cost(n) <= searched + 1e-12, "{price}: {n} costs {} not {searched} ({best})", cost(n));
            assert!(level <= critical_ratio(1.0, price) + 0.05);
        }
        let dear = stake(&residuals, 0.1).cheapest().0;
        let cheap = stake(&residuals, 0.0001).cheapest().0;
        assert!(cheap > dear, "{cheap} {dear}");
    }

    #[test]
    fn workable_utilization_leaves_room_for_chance_and_for_queues() {
        let topology = small_world::topology(1);
        let video = workable_utilization(&topology, ClassId(0));
        let web = workable_utilization(&topology, ClassId(1));
        assert!((0.8..0.95).contains(&video), "{video}");
        assert!((0.6..video).contains(&web), "{web}");
        // M/M/1: mean response is 1 / (1 - rho) service times.
        assert!((busiest(1.0, 5.0) - 0.8).abs() < 1e-6);
    }
}
