//! What a person should hear of: occurrences, in words and by weight.

use forebay_world::{ClassId, Occurrence, RegionId, Timestamp, Topology, What};

/// One line of the alerts list.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Position among all alerts of the run, from 0.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// How bad.
    pub severity: Severity,
    /// Where, if in one region.
    pub region: Option<RegionId>,
    /// Which class, if one.
    pub class: Option<ClassId>,
    /// What happened.
    pub text: String,
}

/// How bad an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good news.
    Clear,
    /// Worth knowing.
    Notice,
    /// Something broke.
    Warning,
    /// Clients suffer.
    Critical,
}

impl Severity {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Clear => "clear",
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl Alert {
    /// The alert that `occurrence` deserves; `None` for the ordinary life of virtual machines.
    pub fn from_occurrence(number: u64, occurrence: &Occurrence, topology: &Topology) -> Option<Alert> {
        let region_name = |id: RegionId| topology.regions.get(id.index()).map_or("?", |region| &region.name);
        let class_name = |id: ClassId| topology.classes.get(id.index()).map_or("?", |class| &class.name);
        let host = |id: forebay_world::HostId| topology.hosts.get(id.index());
        let link_name = |id: forebay_world::LinkId| topology.links.get(id.index()).map_or("?", |link| &link.name);
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let (severity, region, class, text) = match &occurrence.what {
            What::VmRequested { .. } | What::VmReady { .. } | What::VmDraining { .. } => return None,
            What::VmGone { sessions_lost: 0, .. } => return None,
            What::VmGone { vm, region, class, sessions_lost } => (
                Severity::Warning,
                Some(*region),
                Some(*class),
                format!("{vm} gone, {sessions_lost} sessions cut off, {}", class_name(*class)),
            ),
            What::VmFailed { vm, region, class, sessions_lost } => (
                Severity::Warning,
                Some(*region),
                Some(*class),
                format!("{vm} failed, {sessions_lost} sessions cut off, {}", class_name(*class)),
            ),
            What::LaunchRefused { vm, host: id } => (
                Severity::Warning,
                host(*id).map(|host| host.region),
                None,
                format!("{vm} refused by {}: no room", host(*id).map_or("?", |host| &host.name)),
            ),
            What::HostDown { host: id, region } => (
                Severity::Warning,
                Some(*region),
                None,
                format!("host {} down", host(*id).map_or("?", |host| &host.name)),
            ),
            What::HostUp { host: id, region } => (
                Severity::Clear,
                Some(*region),
                None,
                format!("host {} back", host(*id).map_or("?", |host| &host.name)),
            ),
            What::LinkDegraded { link, left } if *left <= 0.0 => {
                (Severity::Warning, None, None, format!("link {} cut", link_name(*link)))
            }
            What::LinkDegraded { link, left } => {
                (Severity::Warning, None, None, format!("link {} degraded to {}", link_name(*link), percent(*left)))
            }
            What::LinkRestored { link } => (Severity::Clear, None, None, format!("link {} restored", link_name(*link))),
            What::RegionLost { region } => (Severity::Critical, Some(*region), None, "region lost".to_owned()),
            What::RegionBack { region } => (Severity::Clear, Some(*region), None, "region back".to_owned()),
            What::TelemetryLost { region } => (Severity::Warning, Some(*region), None, "telemetry lost".to_owned()),
            What::TelemetryBack { region } => (Severity::Clear, Some(*region), None, "telemetry back".to_owned()),
            What::SloViolated { region, class, bad_share } => (
                Severity::Critical,
                Some(*region),
                Some(*class),
                format!("{} misses its objective, {} bad", class_name(*class), percent(*bad_share)),
            ),
            What::SloMet { region, class, minutes } => (
                Severity::Clear,
                Some(*region),
                Some(*class),
                format!("{} meets its objective after {minutes} min", class_name(*class)),
            ),
            What::CrowdBegins { name } => (Severity::Notice, None, None, format!("flash crowd {name} begins")),
        };
        let text = match region {
            Some(region) => format!("{} {text}", region_name(region)),
            None => text,
        };
        Some(Alert { number, at: occurrence.at, severity, region, class, text })
    }
}
