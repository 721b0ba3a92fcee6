//! Faults of a scenario: at set times, and by chance.

use std::ops::Range;

use forebay_sim::setup::{Fault, Hazards, ScheduledFault};
use forebay_world::{Duration, HostId, LinkId, RegionId, Timestamp};
use toml::Spanned;

use super::finding::Findings;
use super::site::{Given, Site, require_range};
use super::spec::{FaultKind, FaultSpec, HazardsSpec, ScenarioSpec};

/// Faults at set times.
pub(super) fn check_faults(
    spec: &ScenarioSpec,
    site: &Site,
    start: Timestamp,
    findings: &mut Findings,
) -> Vec<ScheduledFault> {
    let mut scheduled = Vec::new();
    for fault in &spec.fault {
        let place = fault.span();
        let fault = fault.get_ref();
        let at = fault.at.get_ref().resolve(start);
        findings.require(
            at >= start,
            fault.at.span(),
            || "a fault begins before the run".to_owned(),
            &format!("the run begins at {start}"),
            "give a span after the start, such as \"2 h\"",
        );
        if let Some(fault_found) = check_fault(fault, place, site, findings) {
            scheduled.push(ScheduledFault { at, lasts: fault.lasts, fault: fault_found });
        }
    }
    scheduled.sort_by_key(|fault| fault.at);
    scheduled
}

fn check_fault(spec: &FaultSpec, place: Range<usize>, site: &Site, findings: &mut Findings) -> Option<Fault> {
    let kind = *spec.kind.get_ref();
    let given: [Given<'_, FaultKind>; 5] = [
        ("host", spec.host.as_ref().map(Spanned::span), &[FaultKind::HostCrash]),
        ("region", spec.region.as_ref().map(Spanned::span), &[FaultKind::RegionLost, FaultKind::TelemetryGap]),
        ("link", spec.link.as_ref().map(Spanned::span), &[FaultKind::LinkDegraded]),
        ("left", spec.left.as_ref().map(Spanned::span), &[FaultKind::LinkDegraded]),
        ("share", spec.share.as_ref().map(Spanned::span), &[FaultKind::BootFailures]),
    ];
    for (key, span, kinds) in given {
        match span {
            Some(span) if !kinds.contains(&kind) => findings.add(
                span,
                format!("this kind of fault has no use for `{key}`"),
                "it would change nothing",
                "remove it, or change `kind`",
            ),
            None if kinds.contains(&kind) => findings.add(
                place.clone(),
                format!("this kind of fault needs `{key}`"),
                format!("`{key}` is missing"),
                format!("add `{key} = …`"),
            ),
            _ => {}
        }
    }
    for (value, key) in [(&spec.left, "left"), (&spec.share, "share")] {
        if let Some(value) = value {
            require_range(value, key, 0.0, 1.0, findings);
        }
    }
    let region = |findings: &mut Findings| site.regions.find(spec.region.as_ref()?, findings).map(RegionId::at);
    Some(match kind {
        FaultKind::HostCrash => Fault::HostCrash(HostId::at(site.hosts.find(spec.host.as_ref()?, findings)?)),
        FaultKind::BootFailures => Fault::BootFailures(*spec.share.as_ref()?.get_ref()),
        FaultKind::LinkDegraded => Fault::LinkDegraded(
            LinkId::at(site.links.find(spec.link.as_ref()?, findings)?),
            *spec.left.as_ref()?.get_ref(),
        ),
        FaultKind::RegionLost => Fault::RegionLost(region(findings)?),
        FaultKind::TelemetryGap => Fault::TelemetryGap(region(findings)?),
    })
}

/// Faults by chance.
pub(super) fn check_hazards(spec: &ScenarioSpec, findings: &mut Findings) -> Hazards {
    let none = HazardsSpec::default();
    let hazards = spec.hazards.as_ref().unwrap_or(&none);
    let mtbf = |value: &Option<Spanned<Duration>>, key: &str, findings: &mut Findings| {
        let value = value.as_ref()?;
        super::site::require_some_time(value, key, findings);
        Some(*value.get_ref())
    };
    let share = |value: &Option<Spanned<f64>>, key: &str, absent: f64, findings: &mut Findings| {
        value.as_ref().map_or(absent, |value| {
            require_range(value, key, 0.0, 1.0, findings);
            *value.get_ref()
        })
    };
    let repair = |value: Option<Duration>| value.unwrap_or(Duration::from_mins(30));
    Hazards {
        host_mtbf: mtbf(&hazards.host_mtbf, "host_mtbf", findings),
        host_repair: repair(hazards.host_repair),
        boot_failure: share(&hazards.boot_failure, "boot_failure", 0.0, findings),
        link_mtbf: mtbf(&hazards.link_mtbf, "link_mtbf", findings),
        link_repair: repair(hazards.link_repair),
        link_left: share(&hazards.link_left, "link_left", 0.5, findings),
        region_mtbf: mtbf(&hazards.region_mtbf, "region_mtbf", findings),
        region_repair: repair(hazards.region_repair),
        telemetry_mtbf: mtbf(&hazards.telemetry_mtbf, "telemetry_mtbf", findings),
        telemetry_gap: repair(hazards.telemetry_gap),
    }
}
