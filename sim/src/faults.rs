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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{MONDAY, mean_and_bound, setup};
    use crate::setup::ScheduledFault;

    fn with_hazards(seed: u64) -> Setup {
        let mut setup = setup(3);
        setup.seed = seed;
        setup.end = setup.start + Duration::from_hours(24 * 30);
        setup.hazards = Hazards {
            host_mtbf: Some(Duration::from_hours(100)),
            host_repair: Duration::from_hours(20),
            boot_failure: 0.1,
            link_mtbf: Some(Duration::from_hours(200)),
            link_repair: Duration::from_hours(1),
            link_left: 0.3,
            region_mtbf: Some(Duration::from_hours(300)),
            region_repair: Duration::from_hours(2),
            telemetry_mtbf: Some(Duration::from_hours(50)),
            telemetry_gap: Duration::from_mins(10),
        };
        setup
    }

    /// Renewals of up for Exp(1/a), down for Exp(1/b): in time t, ab/(a+b)·t + a²/(a+b)²·(1 − e^(−(a+b)t)) failures
    /// are expected. Over 200 seeds, within four standard errors.
    #[test]
    fn entities_fail_as_often_as_set() {
        type Kind = fn(&Fault) -> bool;
        let kinds: [(Kind, f64, f64, f64); 4] = [
            (|fault| matches!(fault, Fault::HostCrash(_)), 6.0, 100.0, 20.0),
            (|fault| matches!(fault, Fault::LinkDegraded(..)), 3.0, 200.0, 1.0),
            (|fault| matches!(fault, Fault::RegionLost(_)), 3.0, 300.0, 2.0),
            (|fault| matches!(fault, Fault::TelemetryGap(_)), 3.0, 50.0, 1.0 / 6.0),
        ];
        let runs: Vec<Vec<FaultChange>> = (0..200).map(|seed| schedule(&with_hazards(seed))).collect();
        for (is, entities, up, down) in kinds {
            let count = |run: &Vec<FaultChange>| run.iter().filter(|c| c.begins && is(&c.fault)).count() as f64;
            let (mean, bound) = mean_and_bound(&runs.iter().map(count).collect::<Vec<f64>>());
            let (a, b, t) = (1.0 / up, 1.0 / down, 720.0);
            let one = a * b / (a + b) * t + (a / (a + b)).powi(2) * -f64::exp_m1(-(a + b) * t);
            assert!((mean - entities * one).abs() < bound, "{mean} {} ± {bound}", entities * one);
        }
    }

    #[test]
    fn repairs_take_as_long_as_set() {
        let mut lengths = Vec::new();
        for seed in 0..100 {
            let changes = schedule(&with_hazards(seed));
            for (i, change) in changes.iter().enumerate().filter(|(_, change)| change.begins) {
                if matches!(change.fault, Fault::TelemetryGap(_)) {
                    let end = changes[i..].iter().find(|other| !other.begins && other.fault == change.fault).unwrap();
                    lengths.push(end.at.since(change.at).as_secs_f64() / 600.0);
                }
            }
        }
        let (mean, bound) = mean_and_bound(&lengths);
        assert!((mean - 1.0).abs() < bound, "{mean} ± {bound}");
    }

    #[test]
    fn changes_are_in_order_and_every_fault_begins_before_it_ends() {
        let mut setup = with_hazards(4);
        let crash = |hours, lasts| ScheduledFault {
            at: MONDAY + Duration::from_hours(hours),
            lasts,
            fault: Fault::HostCrash(HostId(1)),
        };
        setup.faults =
            vec![crash(5, Duration::ZERO), crash(4, Duration::from_hours(2)), crash(5, Duration::from_hours(9))];
        setup.faults.push(crash(24 * 40, Duration::ZERO));
        let changes = schedule(&setup);
        assert!(changes.is_sorted_by_key(|change| change.at));
        assert!(changes.iter().all(|change| !change.begins || change.at < setup.end));
        let mut standing = Standing::new(&setup.topology, &setup.hazards, setup.seed);
        for change in &changes {
            standing.apply(change);
        }
        let topology = &setup.topology;
        assert!((0..topology.hosts.len()).map(HostId::at).all(|host| !standing.host_down(host)));
        assert!((0..topology.links.len()).map(LinkId::at).all(|link| standing.link_left(link) == 1.0));
    }

    #[test]
    fn what_happens_to_one_entity_does_not_depend_on_the_others() {
        let few = schedule(&with_hazards(9));
        let mut more = with_hazards(9);
        let mut topology = (*more.topology).clone();
        topology.hosts.push(topology.hosts[0].clone());
        more.topology = topology.into();
        let more = schedule(&more);
        assert!(more.len() > few.len());
        let old: Vec<_> = more.into_iter().filter(|c| !matches!(c.fault, Fault::HostCrash(HostId(6)))).collect();
        assert_eq!(old, few);
    }

    #[test]
    fn an_entity_is_well_when_the_last_of_its_faults_has_ended() {
        let setup = setup(2);
        let mut standing = Standing::new(&setup.topology, &setup.hazards, 1);
        let (host, link, region) = (HostId(2), LinkId(1), RegionId(1));
        let mut apply = |fault, begins| {
            standing.apply(&FaultChange { at: MONDAY, fault, begins });
            (standing.host_down(host), standing.link_left(link), standing.region_lost(region), standing.silent(region))
        };
        // Host 2 is in region 1, whose access link is link 1.
        assert_eq!(apply(Fault::HostCrash(host), true), (true, 1.0, false, false));
        assert_eq!(apply(Fault::RegionLost(region), true), (true, 0.0, true, false));
        assert_eq!(apply(Fault::HostCrash(host), false), (true, 0.0, true, false));
        assert_eq!(apply(Fault::LinkDegraded(link, 0.5), true), (true, 0.0, true, false));
        assert_eq!(apply(Fault::RegionLost(region), false), (false, 0.5, false, false));
        assert_eq!(apply(Fault::LinkDegraded(link, 0.2), true), (false, 0.2, false, false));
        assert_eq!(apply(Fault::LinkDegraded(link, 0.5), false), (false, 0.2, false, false));
        assert_eq!(apply(Fault::LinkDegraded(link, 0.2), false), (false, 1.0, false, false));
        assert_eq!(apply(Fault::TelemetryGap(region), true), (false, 1.0, false, true));
        assert_eq!(apply(Fault::TelemetryGap(region), true), (false, 1.0, false, true));
        assert_eq!(apply(Fault::TelemetryGap(region), false), (false, 1.0, false, true));
        assert_eq!(apply(Fault::TelemetryGap(region), false), (false, 1.0, false, false));
    }

    #[test]
    fn boots_fail_by_their_share_and_the_same_ones_at_a_larger_share() {
        let setup = with_hazards(2);
        let mut standing = Standing::new(&setup.topology, &setup.hazards, setup.seed);
        let failed = |standing: &Standing| -> Vec<u64> { (0..20_000).filter(|n| standing.boot_fails(*n)).collect() };
        let usual = failed(&standing);
        let change = |begins| FaultChange { at: MONDAY, fault: Fault::BootFailures(0.5), begins };
        standing.apply(&change(true));
        let worse = failed(&standing);
        for (failed, share) in [(&usual, 0.1), (&worse, 1.0 - 0.9 * 0.5)] {
            let error = 4.0 * f64::sqrt(share * (1.0 - share) / 20_000.0);
            assert!((failed.len() as f64 / 20_000.0 - share).abs() < error, "{}", failed.len());
        }
        assert!(usual.iter().all(|n| worse.contains(n)));
        standing.apply(&change(false));
        assert_eq!(failed(&standing), usual);
        let none = Standing::new(&setup.topology, &Hazards::default(), 1);
        assert!((0..1000).all(|n| !none.boot_fails(n)));
    }
}
