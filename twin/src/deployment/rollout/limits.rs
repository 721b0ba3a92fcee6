//! How patient a rollout is, and how much it may disturb at once.

use forebay_world::{ClassId, Duration, RegionId, Topology};

/// What an operator sets.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutLimits {
    /// Time to the second try of what failed; each further one waits twice as long …
    pub retry_first: Duration,
    /// … and at most this.
    pub retry_most: Duration,
    /// Tries after which a machine is given up, and replaced.
    pub attempts: u32,
    /// Failures in a row after which an executor is left alone …
    pub breaker_failures: u32,
    /// … for this long, and then tried once.
    pub breaker_rest: Duration,
    /// Machines of a region × class that may be on their way out at the same time …
    pub disruption_vms: u32,
    /// … or this share of them, whichever is more.
    pub disruption_share: f64,
    /// Time after which a machine that does not serve is given up, and replaced.
    pub unhealthy_grace: Duration,
    /// Time after which a machine that was made and never served is given up, and replaced.
    pub boot_deadline: Duration,
    /// Time that a machine has to end by itself.
    pub shut_down_deadline: Duration,
    /// Time after which an order without a report is taken for lost.
    pub order_patience: Duration,
    /// Age at which a machine that bears our mark and nobody knows of is taken away …
    pub orphan_grace: Duration,
    /// … so many of them at once.
    pub orphan_cap: u32,
    /// Share of a region's serving machines that may fall ill at the same time and still be believed to be …
    pub ill_share: f64,
    /// … where it is more than so many.
    pub ill_vms: u32,
    /// Time for which clients keep coming after they are no longer sent, by class: times to live, and a tail.
    pub linger: Vec<Duration>,
    /// Time that a machine has for the sessions it still has, by class.
    pub drain_deadline: Vec<Duration>,
}

impl RolloutLimits {
    /// What is usual; `linger` and `drain_deadline` are a minute and five for each class.
    pub fn usual(classes: usize) -> Self {
        RolloutLimits {
            retry_first: Duration::from_secs(2),
            retry_most: Duration::from_mins(2),
            attempts: 5,
            breaker_failures: 5,
            breaker_rest: Duration::from_mins(1),
            disruption_vms: 1,
            disruption_share: 0.1,
            unhealthy_grace: Duration::from_mins(1),
            boot_deadline: Duration::from_mins(5),
            shut_down_deadline: Duration::from_secs(30),
            order_patience: Duration::from_mins(2),
            orphan_grace: Duration::from_mins(10),
            orphan_cap: 2,
            ill_share: 0.45,
            ill_vms: 3,
            linger: vec![Duration::from_mins(1); classes],
            drain_deadline: vec![Duration::from_mins(5); classes],
        }
    }

    /// Time to wait after so many failures.
    pub fn backoff(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(32);
        self.retry_first.mul_f64(2_f64.powi(doublings as i32)).min(self.retry_most)
    }

    /// Most machines of `have` that may be on their way out at the same time.
    pub(super) fn disruption(&self, have: u32) -> u32 {
        self.disruption_vms.max((f64::from(have) * self.disruption_share) as u32)
    }

    pub(super) fn linger(&self, class: ClassId) -> Duration {
        self.linger[class.index()]
    }

    pub(super) fn drain_deadline(&self, class: ClassId) -> Duration {
        self.drain_deadline[class.index()]
    }
}

/// What executors can do, and what there is to give away.
#[derive(Clone, Debug, PartialEq)]
pub struct Ground {
    /// By host, dense.
    pub hosts: Vec<HostGround>,
    /// Whether somebody makes slices on the access link, by region, dense. Where not, machines need none.
    pub links: Vec<bool>,
    /// Addresses for machines, by region, dense.
    pub addresses: Vec<u32>,
    /// Whether clients are sent by a name server of ours. Where not, machines are found by other means.
    pub answers: bool,
    /// Whether machines have their caches filled before they serve, by class.
    pub warms: Vec<bool>,
}

/// What one host's hypervisor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostGround {
    /// Where it stands.
    pub region: RegionId,
    /// Machines that it boots at the same time.
    pub boots: u32,
    /// Machines are attached to a switch that keeps each to its addresses: they are made paused, and run once it does.
    pub ports: bool,
    /// A machine can be asked to end by itself.
    pub shuts_down: bool,
}

impl Ground {
    /// A ground where everything can be done, with so many addresses in each region.
    pub fn able(topology: &Topology, addresses: u32) -> Self {
        let host = |host: &forebay_world::Host| HostGround {
            region: host.region,
            boots: host.concurrent_boots.max(1),
            ports: true,
            shuts_down: true,
        };
        Ground {
            hosts: topology.hosts.iter().map(host).collect(),
            links: vec![true; topology.regions.len()],
            addresses: vec![addresses; topology.regions.len()],
            answers: true,
            warms: vec![true; topology.classes.len()],
        }
    }
}
