//! What breaks, and when: scheduled faults and faults by chance, as one list for the whole run.
//!
//! The list depends on the setup alone, never on the policy under test: host i fails at the same moments whatever runs
//! on it. What a fault does to virtual machines and flows is the world's business.

use forebay_world::{Duration, HostId, LinkId, RegionId, Timestamp, Topology};

use crate::Stream;
use crate::setup::{Fault, Hazards, Setup};

/// A fault that begins or ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultChange {
    /// When.
    pub at: Timestamp,
    /// What breaks, or is well again.
    pub fault: Fault,
    /// Whether it begins.
    pub begins: bool,
}

/// All faults of the run that begin before its end, in order of time. Each begins before it ends, also when it lasts
/// no time; ends may lie past the end of the run.
///
/// By chance: an entity that works fails after an exponential time with the set mean, and is repaired after an
/// exponential time. Faults of one kind on one entity overlap only when some are scheduled; [`Standing`] counts them.
pub fn schedule(setup: &Setup) -> Vec<FaultChange> {
    let mut changes = Vec::new();
    let mut add = |at: Timestamp, lasts: Duration, fault| {
        changes.push(FaultChange { at, fault, begins: true });
        changes.push(FaultChange { at: at.saturating_add(lasts), fault, begins: false });
    };
    for scheduled in setup.faults.iter().filter(|scheduled| scheduled.at < setup.end) {
        add(scheduled.at, scheduled.lasts, scheduled.fault);
    }
    let hazards = &setup.hazards;
    let regions = || (0..setup.topology.regions.len()).map(RegionId::at);
    for host in (0..setup.topology.hosts.len()).map(HostId::at) {
        let chance = Stream::new(setup.seed, "host crashes", host.index() as u64);
        renew(setup, chance, hazards.host_mtbf, hazards.host_repair, |at, lasts| {
            add(at, lasts, Fault::HostCrash(host));
        });
    }
    for link in (0..setup.topology.links.len()).map(LinkId::at) {
        let chance = Stream::new(setup.seed, "link degradations", link.index() as u64);
        renew(setup, chance, hazards.link_mtbf, hazards.link_repair, |at, lasts| {
            add(at, lasts, Fault::LinkDegraded(link, hazards.link_left));
        });
    }
    for region in regions() {
        let chance = Stream::new(setup.seed, "region losses", region.index() as u64);
        renew(setup, chance, hazards.region_mtbf, hazards.region_repair, |at, lasts| {
            add(at, lasts, Fault::RegionLost(region));
        });
    }
    for region in regions() {
        let chance = Stream::new(setup.seed, "telemetry gaps", region.index() as u64);
        renew(setup, chance, hazards.telemetry_mtbf, hazards.telemetry_gap, |at, lasts| {
            add(at, lasts, Fault::TelemetryGap(region));
        });
    }
    // Stable, so a fault that lasts no time still begins before it ends.
    changes.sort_by_key(|change| change.at);
    changes
}

/// The failures of one entity: up for Exp(`between`), down for Exp(`repair`), and again.
fn renew(
    setup: &Setup,
    mut chance: Stream,
    between: Option<Duration>,
    repair: Duration,
    mut fails: impl FnMut(Timestamp, Duration),
) {
    let Some(between) = between else { return };
    assert!(!between.is_zero(), "a mean time between failures is not zero");
    let mut at = setup.start;
    loop {
        at = at.saturating_add(between.mul_f64(chance.exponential()));
        if at >= setup.end {
            return;
        }
        let lasts = repair.mul_f64(chance.exponential());
        fails(at, lasts);
        at = at.saturating_add(lasts);
    }
}

/// Which faults stand at present. Faults on one entity may overlap: it is well when the last of them has ended.
#[derive(Clone, Debug)]
pub struct Standing {
    host_region: Vec<RegionId>,
    link_region: Vec<Option<RegionId>>,
    hosts: Vec<u32>,
    lost: Vec<u32>,
    silent: Vec<u32>,
    /// Shares of capacity that the standing faults of each link leave.
    links: Vec<Vec<f64>>,
    /// Shares of boots that fail.
    boots: Vec<f64>,
    boot_chance: Stream,
}

impl Standing {
    /// No fault stands; boots fail by the hazard alone.
    pub fn new(topology: &Topology, hazards: &Hazards, seed: u64) -> Self {
        let mut link_region = vec![None; topology.links.len()];
        for (region, at) in topology.regions.iter().enumerate() {
            link_region[at.access.index()] = Some(RegionId::at(region));
        }
        Standing {
            host_region: topology.hosts.iter().map(|host| host.region).collect(),
            link_region,
            hosts: vec![0; topology.hosts.len()],
            lost: vec![0; topology.regions.len()],
            silent: vec![0; topology.regions.len()],
            links: vec![Vec::new(); topology.links.len()],
            boots: vec![hazards.boot_failure],
            boot_chance: Stream::new(seed, "boot failures", 0),
        }
    }

    /// Takes a change in. Whether an entity's state is another afterwards, its getters tell.
    pub fn apply(&mut self, change: &FaultChange) {
        let count = |counts: &mut [u32], at: usize| {
            counts[at] = if change.begins { counts[at] + 1 } else { counts[at].checked_sub(1).expect("it began") };
        };
        let share = |shares: &mut Vec<f64>, share: f64| {
            if change.begins {
                shares.push(share);
            } else {
                let at = shares.iter().rposition(|s| s.to_bits() == share.to_bits()).expect("it began");
                shares.remove(at);
            }
        };
        match change.fault {
            Fault::HostCrash(host) => count(&mut self.hosts, host.index()),
            Fault::RegionLost(region) => count(&mut self.lost, region.index()),
            Fault::TelemetryGap(region) => count(&mut self.silent, region.index()),
            Fault::LinkDegraded(link, left) => share(&mut self.links[link.index()], left),
            Fault::BootFailures(fail) => share(&mut self.boots, fail),
        }
    }

    /// Whether a host is down: by a crash of its own, or with its region.
    pub fn host_down(&self, host: HostId) -> bool {
        self.hosts[host.index()] > 0 || self.region_lost(self.host_region[host.index()])
    }

    /// Whether a region is lost.
    pub fn region_lost(&self, region: RegionId) -> bool {
        self.lost[region.index()] > 0
    }

    /// Whether nothing is heard from a region.
    pub fn silent(&self, region: RegionId) -> bool {
        self.silent[region.index()] > 0
    }

    /// Share of its capacity that a link has: the least that a standing fault leaves it; 0 for the access link of a
    /// lost region.
    pub fn link_left(&self, link: LinkId) -> f64 {
        if self.link_region[link.index()].is_some_and(|region| self.region_lost(region)) {
            return 0.0;
        }
        self.links[link.index()].iter().copied().fold(1.0, f64::min)
    }

    /// Share of boots that fail at present: what stands fails independently.
    pub fn boot_failure_share(&self) -> f64 {
        1.0 - self.boots.iter().map(|share| 1.0 - share).product::<f64>()
    }

    /// Whether launch number `launch` fails to boot, if it is decided now. The draw is the launch's own, so a
    /// number that does not depend on the policy (such as its count in its region × class) keeps runs comparable.
    pub fn boot_fails(&self, launch: u64) -> bool {
        self.boot_chance.at(launch).uniform() <= self.boot_failure_share()
    }
}
