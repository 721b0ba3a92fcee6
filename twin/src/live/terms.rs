//! What a production file says, in a rollout's terms.

use forebay_world::{ClassId, Duration, RegionId};

use crate::deployment::rollout::{Ground, HostGround, RolloutLimits};
use crate::production::Production;

/// How patient a rollout is.
pub fn limits(production: &Production) -> RolloutLimits {
    let given = &production.rollout;
    let topology = &production.topology;
    let classes = (0..topology.classes.len()).map(ClassId::at);
    let linger = |class: ClassId| {
        let ttl = production.ttl[class.index()];
        let rails = production.answering.as_ref().map(|answering| answering.rails);
        rails.map_or(Duration::ZERO, |rails| {
            Duration::from_secs_f64_saturating(rails.drain_seconds((ttl.as_nanos() / 1_000_000_000) as u32))
        })
    };
    RolloutLimits {
        retry_first: given.retry_first,
        retry_most: given.retry_most,
        attempts: given.retry_attempts,
        breaker_failures: given.breaker_failures,
        breaker_rest: given.breaker_rest,
        disruption_vms: given.disruption_vms,
        disruption_share: given.disruption_share,
        unhealthy_grace: given.unhealthy_grace,
        boot_deadline: given.boot_deadline,
        shut_down_deadline: given.shutdown_deadline,
        orphan_grace: given.orphan_grace,
        orphan_cap: given.orphan_cap,
        // A worker reports on every order it was given, however late; until then its lane is busy.
        order_patience: Duration::from_hours(365 * 24),
        linger: classes.clone().map(linger).collect(),
        drain_deadline: classes
            .map(|class| production.controller.deployment.drain_deadline(topology.class(class)))
            .collect(),
        ..RolloutLimits::usual(0)
    }
}

/// What executors can do, as far as the file tells.
pub fn ground(production: &Production) -> Ground {
    let topology = &production.topology;
    let guards = |region: RegionId| {
        production
            .network(region)
            .and_then(|network| network.executor.as_ref())
            .is_some_and(|executor| executor.guards_ports())
    };
    let hosts = topology.hosts.iter().enumerate().map(|(index, host)| {
        let hypervisor = production.hypervisor(forebay_world::HostId::at(index));
        let is_ours = hypervisor.is_some_and(|hypervisor| !hypervisor.is_provider());
        HostGround {
            region: host.region,
            boots: host.concurrent_boots.max(1),
            ports: is_ours && guards(host.region),
            shuts_down: is_ours,
        }
    });
    let addresses = (0..topology.regions.len()).map(|region| {
        let pool = production.network(RegionId::at(region)).and_then(|network| network.addresses.as_ref());
        pool.map_or(0, |pool| u32::try_from(pool.size()).unwrap_or(u32::MAX))
    });
    let warms = |class: usize| production.health[class].as_ref().is_some_and(|check| !check.warm.is_empty());
    let makes_slices = |network: &Option<crate::production::Network>| {
        network.as_ref().is_some_and(|network| network.executor.is_some())
    };
    Ground {
        hosts: hosts.collect(),
        links: production.networks.iter().map(makes_slices).collect(),
        addresses: addresses.collect(),
        answers: production.answering.is_some(),
        warms: (0..topology.classes.len()).map(warms).collect(),
    }
}
