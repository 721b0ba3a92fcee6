//! How full a machine may be: square-root staffing where work queues, and room for chance where it does not.

use forebay_world::{ClassId, Flavour, ResourceClass, Topology, Work};

use crate::forecast::normal_quantile;

/// The utilization at which machines of `class` still keep its objective when demand is exactly as expected, 0 to 1:
/// [`utilization`] of the flavour that they have.
pub fn workable_utilization(topology: &Topology, class: ClassId) -> f64 {
    utilization(topology.class(class), topology.flavour_of(class))
}

/// The utilization at which machines of `flavour` still keep the objective of `class` when demand is exactly as expected,
/// 0 to 1.
///
/// Two things spoil it short of 1. Answers spread sessions over machines by chance, so the number on one machine is
/// about Poisson, and the share of sessions on machines that are too full must stay within the tolerance. And where
/// work queues for processors (interactive), response times grow before they are full: M/M/c by Sakasegawa's
/// approximation (1977), with an exponential tail. Both leave room that grows with the square root of the load.
pub fn utilization(class: &ResourceClass, flavour: &Flavour) -> f64 {
    let places = class.sessions_on(flavour);
    let tolerance = class.slo.tolerance.clamp(1e-4, 0.5);
    let full = match class.work {
        Work::Streaming { .. } => 1.0,
        Work::Download { .. } => 1.0 / class.slo.rate_floor.clamp(0.5, 1.0),
        Work::Interactive { service, .. } => {
            let servers = flavour.cpu.cores().max(0.1);
            let mean_most = class.slo.latency.as_secs_f64() / (1.0 / tolerance).ln();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world;

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
