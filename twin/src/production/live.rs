//! `[live]`, checked: what may be done in each cell, and how carefully.

use forebay_adapters::lease::LeaseTerms;
use forebay_world::{ClassId, Duration, FlavourId, Topology};
use serde::{Deserialize, Serialize};

use super::health::{count_within, within};
use super::spec::{LiveSpec, ProductionSpec};
use crate::controller::config::CellPattern;
use crate::scenario::finding::Findings;
use crate::scenario::nearest;
use crate::scenario::site::{Site, require_range};

/// What may be done in a cell. Each allows what those before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mandate {
    /// Nothing: it is not even looked at.
    Off,
    /// To look, to decide, to keep score. Nothing is written.
    #[default]
    Shadow,
    /// To propose, and to write what a person has said yes to.
    Advise,
    /// To write.
    Live,
}

impl Mandate {
    /// Its name, as files have it.
    pub fn name(self) -> &'static str {
        match self {
            Mandate::Off => "off",
            Mandate::Shadow => "shadow",
            Mandate::Advise => "advise",
            Mandate::Live => "live",
        }
    }

    /// Whether anything may ever be written under it.
    pub fn may_write(self) -> bool {
        self >= Mandate::Advise
    }
}

/// How carefully a plan is carried out, as the file says it. [`crate::live::limits`] makes a rollout's limits of it, with
/// what the classes say.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutSettings {
    /// Machines of a cell that may be on their way out at once: so many …
    pub disruption_vms: u32,
    /// … or this share of the cell's, 0 to 1, whichever is more.
    pub disruption_share: f64,
    /// Time before the second attempt; it doubles from one to the next.
    pub retry_first: Duration,
    /// The longest such time.
    pub retry_most: Duration,
    /// Attempts in all.
    pub retry_attempts: u32,
    /// Failures in a row of one endpoint after which nothing is tried there …
    pub breaker_failures: u32,
    /// … for so long.
    pub breaker_rest: Duration,
    /// Time that a machine may be unhealthy before it is replaced.
    pub unhealthy_grace: Duration,
    /// Time in which a new machine must get healthy.
    pub boot_deadline: Duration,
    /// Age from which machines of ours that nobody knows of are removed.
    pub orphan_grace: Duration,
    /// Most that are removed at once.
    pub orphan_cap: u32,
    /// Time that a machine has to end by itself.
    pub shutdown_deadline: Duration,
}

/// Machines that production runs itself, as shadow mode tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incumbent {
    /// Their names on the hypervisor, `*` standing for any characters.
    pub names: String,
    /// What they serve.
    pub class: ClassId,
    /// How large they are.
    pub flavour: FlavourId,
}

/// The mandate of every cell, dense.
pub(super) fn check_mandates(spec: &LiveSpec, topology: &Topology, findings: &mut Findings) -> Vec<Mandate> {
    let mut mandates = vec![*spec.mode.get_ref(); topology.cells()];
    for entry in &spec.cells {
        let entry = entry.get_ref();
        let pattern = match entry.cells.get_ref().parse::<CellPattern>() {
            Ok(pattern) => pattern,
            Err(error) => {
                findings.add(
                    entry.cells.span(),
                    error,
                    "\"ams/video\", \"ams/*\", \"*/video\" or \"*\"",
                    "name some cells",
                );
                continue;
            }
        };
        if let Some(allowed) = pattern.unknown(topology) {
            let regions = topology.regions.iter().map(|region| region.name.as_str());
            let words = regions.chain(topology.classes.iter().map(|class| class.name.as_str()));
            let near = entry.cells.get_ref().split('/').find_map(|part| match nearest(part, words.clone()) {
                Some(near) if near != part && part != "*" => Some(near),
                _ => None,
            });
            findings.add(
                entry.cells.span(),
                format!("\"{pattern}\" names no cell"),
                allowed,
                near.map_or_else(
                    || "name a region and a class of this file".to_owned(),
                    |near| format!("did you mean \"{near}\"?"),
                ),
            );
            continue;
        }
        for (cell, (region, class)) in topology.cell_ids().enumerate() {
            if pattern.matches(topology, region, class) {
                mandates[cell] = entry.mode;
            }
        }
    }
    mandates
}

pub(super) fn check_limits(spec: &LiveSpec, findings: &mut Findings) -> RolloutSettings {
    let (second, hour, day) = (Duration::from_secs(1), Duration::from_hours(1), Duration::from_hours(24));
    count_within(&spec.disruption.vms, "disruption.vms", 1, 100_000, findings);
    require_range(&spec.disruption.share, "disruption.share", 0.0, 1.0, findings);
    within(&spec.retry.first, "retry.first", Duration::from_millis(100), hour, findings);
    within(&spec.retry.most, "retry.most", (*spec.retry.first.get_ref()).min(day), day, findings);
    count_within(&spec.retry.attempts, "retry.attempts", 1, 1000, findings);
    count_within(&spec.breaker.failures, "breaker.failures", 1, 1000, findings);
    within(&spec.breaker.rest, "breaker.rest", second, day, findings);
    within(&spec.unhealthy_grace, "unhealthy_grace", second, day, findings);
    within(&spec.boot_deadline, "boot_deadline", second, day, findings);
    // A machine is written down within seconds of being made; one that is younger may just not be known yet.
    within(&spec.orphans.grace, "orphans.grace", Duration::from_mins(1), day * 30, findings);
    count_within(&spec.orphans.cap, "orphans.cap", 0, 1000, findings);
    within(&spec.shutdown_deadline, "shutdown_deadline", second, hour, findings);
    RolloutSettings {
        disruption_vms: *spec.disruption.vms.get_ref(),
        disruption_share: *spec.disruption.share.get_ref(),
        retry_first: *spec.retry.first.get_ref(),
        retry_most: *spec.retry.most.get_ref(),
        retry_attempts: *spec.retry.attempts.get_ref(),
        breaker_failures: *spec.breaker.failures.get_ref(),
        breaker_rest: *spec.breaker.rest.get_ref(),
        unhealthy_grace: *spec.unhealthy_grace.get_ref(),
        boot_deadline: *spec.boot_deadline.get_ref(),
        orphan_grace: *spec.orphans.grace.get_ref(),
        orphan_cap: *spec.orphans.cap.get_ref(),
        shutdown_deadline: *spec.shutdown_deadline.get_ref(),
    }
}

pub(super) fn check_lease(spec: &LiveSpec, findings: &mut Findings) -> LeaseTerms {
    let terms = LeaseTerms { duration: *spec.lease.duration.get_ref(), renew_every: *spec.lease.renew_every.get_ref() };
    within(&spec.lease.duration, "lease.duration", Duration::from_secs(1), Duration::from_hours(1), findings);
    within(&spec.lease.renew_every, "lease.renew_every", Duration::from_millis(100), Duration::from_hours(1), findings);
    findings.require(
        terms.renew_every <= terms.duration / 3,
        spec.lease.renew_every.span(),
        || format!("`lease.renew_every` is {}", terms.renew_every),
        &format!("at most a third of `lease.duration`, {}", terms.duration),
        "one renewal that fails must not lose the lease",
    );
    terms
}

pub(super) fn check_incumbents(spec: &ProductionSpec, site: &Site, findings: &mut Findings) -> Vec<Incumbent> {
    let mut incumbents = Vec::new();
    for given in &spec.shadow.incumbent {
        let given = given.get_ref();
        findings.require(
            !given.names.get_ref().trim().is_empty(),
            given.names.span(),
            || "`names` is empty".to_owned(),
            "a name, `*` standing for any characters",
            "such as \"video-*\"",
        );
        let class = site.classes.find(&given.class, findings);
        let flavour = given.flavour.as_ref().map(|flavour| site.flavours.find(flavour, findings));
        let Some(class) = class.filter(|class| *class < site.topology.classes.len().min(256)) else { continue };
        let of_class = site.topology.classes[class].flavour;
        let flavour = match flavour {
            None => of_class,
            Some(Some(flavour)) => FlavourId::at(flavour.min(255)),
            Some(None) => continue,
        };
        incumbents.push(Incumbent { names: given.names.get_ref().clone(), class: ClassId::at(class), flavour });
    }
    incumbents
}
