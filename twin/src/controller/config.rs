//! All that an operator sets about the controller: the `[controller]` section of a scenario or a production file.
//!
//! Every key has a default, unknown keys are refused, quantities carry their unit. [`ControllerConfig::check`] says
//! what cannot be; after it, nothing in the controller can fail for its configuration.

use std::fmt;
use std::str::FromStr;

use forebay_world::{BitsPerSecond, ClassId, Duration, RegionId, Topology};
use serde::{Deserialize, Serialize};

/// The `[controller]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControllerConfig {
    /// Time from one decision to the next.
    pub period: Duration,
    /// Utilization of virtual machines that reactive scaling steers to, above 0, at most 1.
    pub target_utilization: f64,
    /// What keeps a policy from doing harm.
    pub guard: GuardConfig,
    /// How virtual machines are placed and removed.
    pub deployment: DeploymentConfig,
    /// How slices are cut.
    pub slicing: SlicingConfig,
    /// Where clients go when their region cannot serve them.
    pub steering: SteeringConfig,
    /// Parameters of each policy.
    pub policy: PolicyConfig,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        ControllerConfig {
            period: Duration::from_mins(1),
            target_utilization: 0.7,
            guard: GuardConfig::default(),
            deployment: DeploymentConfig::default(),
            slicing: SlicingConfig::default(),
            steering: SteeringConfig::default(),
            policy: PolicyConfig::default(),
        }
    }
}

/// The `[controller.guard]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Virtual machines that every region × class has at least.
    pub floor: u32,
    /// Virtual machines that every region × class has at most.
    pub ceiling: u32,
    /// Other floors and ceilings for some cells; the last entry that names a cell holds.
    pub limits: Vec<Limits>,
    /// Share of telemetry sources that must be heard from before anything shrinks, 0 to 1.
    pub coverage_floor: f64,
    /// Virtual machines that a cell may gain at one tick …
    pub step_up_vms: u32,
    /// … or this share of those it has, whichever is more.
    pub step_up_share: f64,
    /// Virtual machines that a cell may lose at one tick …
    pub step_down_vms: u32,
    /// … or this share of those it has, whichever is more.
    pub step_down_share: f64,
    /// Time after a change of a cell in which it does not shrink.
    pub shrink_cooldown: Duration,
    /// Price of all planned virtual machines that growth never exceeds [currency unit / h]; none for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_per_hour: Option<f64>,
}

impl Default for GuardConfig {
    fn default() -> Self {
        GuardConfig {
            floor: 1,
            ceiling: 1000,
            limits: Vec::new(),
            coverage_floor: 0.8,
            step_up_vms: 50,
            step_up_share: 1.0,
            step_down_vms: 5,
            step_down_share: 0.5,
            shrink_cooldown: Duration::from_mins(2),
            budget_per_hour: None,
        }
    }
}

/// Floor and ceiling of some cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Which cells.
    pub cells: CellPattern,
    /// Virtual machines at least; the general floor when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<u32>,
    /// Virtual machines at most; the general ceiling when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<u32>,
}

/// The `[controller.deployment]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeploymentConfig {
    /// Spread the machines of a class over hosts, instead of filling one host after the other.
    pub spread: bool,
    /// Time after which a draining machine is destroyed with the sessions it still has.
    pub drain_deadline: Duration,
    /// Time after which a machine that was asked for and never appeared is given up and replaced.
    pub launch_grace: Duration,
}

impl Default for DeploymentConfig {
    fn default() -> Self {
        DeploymentConfig {
            spread: false,
            drain_deadline: Duration::from_mins(30),
            launch_grace: Duration::from_mins(2),
        }
    }
}

/// The `[controller.slicing]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlicingConfig {
    /// Factor on observed demand that is guaranteed where the policy gives no quantile, at least 1.
    pub headroom: f64,
    /// Share of a link that guarantees may take together, above 0, at most 1.
    pub reservable_share: f64,
    /// Guarantees move in steps of this share of the link, so that a plan does not change with every breath.
    pub step_share: f64,
    /// Ceiling of a slice as a share of its link.
    pub ceiling_share: f64,
    /// Weight of a slice among those of its priority.
    pub weight: u32,
    /// Slices whose rates an operator sets; the last entry that names a cell holds.
    pub fixed: Vec<FixedSlice>,
}

impl Default for SlicingConfig {
    fn default() -> Self {
        SlicingConfig {
            headroom: 1.25,
            reservable_share: 0.9,
            step_share: 0.05,
            ceiling_share: 1.0,
            weight: 1,
            fixed: Vec::new(),
        }
    }
}

/// Rates that an operator sets for the slices of some cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedSlice {
    /// Which cells.
    pub cells: CellPattern,
    /// Guaranteed rate.
    pub guarantee: BitsPerSecond,
    /// Ceiling; the general share of the link when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<BitsPerSecond>,
    /// Weight; the general one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Priority, 0 is first; the class's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
}

/// The `[controller.steering]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SteeringConfig {
    /// Nearest regions that take the clients of one that cannot serve them.
    pub helpers: u32,
    /// Share of the machines its clients need that a region must have ready before all of them come back, 0 to 1.
    pub return_at: f64,
}

impl Default for SteeringConfig {
    fn default() -> Self {
        SteeringConfig { helpers: 3, return_at: 0.9 }
    }
}

/// The `[controller.policy]` section: one table a policy, of which one is in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// `fixed`.
    pub fixed: FixedConfig,
    /// `hpa`.
    pub hpa: HpaConfig,
    /// `target-tracking`, and the reactive half of `aws-predictive`.
    pub target_tracking: TargetTrackingConfig,
    /// `aws-predictive`.
    pub aws_predictive: AwsPredictiveConfig,
    /// `scheduled`.
    pub scheduled: ScheduledConfig,
    /// `predictive`.
    pub predictive: PredictiveConfig,
    /// `oracle`.
    pub oracle: OracleConfig,
}

/// The `[controller.policy.fixed]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FixedConfig {
    /// Virtual machines in every cell; from the known peak when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vms: Option<u32>,
    /// Other numbers for some cells; the last entry that names a cell holds.
    pub cells: Vec<CellVms>,
    /// Factor on the known peak.
    pub headroom: f64,
}

impl Default for FixedConfig {
    fn default() -> Self {
        FixedConfig { vms: None, cells: Vec::new(), headroom: 1.1 }
    }
}

/// A number of virtual machines for some cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellVms {
    /// Which cells.
    pub cells: CellPattern,
    /// Virtual machines in each.
    pub vms: u32,
}

/// The `[controller.policy.hpa]` section; the defaults are Kubernetes' own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HpaConfig {
    /// Utilization aimed at; the controller's target when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_utilization: Option<f64>,
    /// Distance of the ratio from 1 at which nothing is done.
    pub tolerance: f64,
    /// Period of the rate limits below.
    pub scale_period: Duration,
    /// Machines that may be added in a period …
    pub scale_up_vms: u32,
    /// … or this share of those at its begin, whichever is more.
    pub scale_up_share: f64,
    /// Share of the machines at its begin that may go in a period.
    pub scale_down_share: f64,
    /// The highest recommendation within this time limits shrinking.
    pub scale_down_window: Duration,
    /// The lowest recommendation within this time limits growth.
    pub scale_up_window: Duration,
}

impl Default for HpaConfig {
    fn default() -> Self {
        HpaConfig {
            target_utilization: None,
            tolerance: 0.1,
            scale_period: Duration::from_secs(15),
            scale_up_vms: 4,
            scale_up_share: 1.0,
            scale_down_share: 1.0,
            scale_down_window: Duration::from_secs(300),
            scale_up_window: Duration::ZERO,
        }
    }
}

/// The `[controller.policy.target_tracking]` section; the defaults are those AWS documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetTrackingConfig {
    /// Utilization aimed at; the controller's target when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_utilization: Option<f64>,
    /// Minutes in a row above the target that let it scale out.
    pub scale_out_minutes: u32,
    /// Minutes in a row below the scale-in threshold that let it scale in.
    pub scale_in_minutes: u32,
    /// Scale-in threshold as a share of the target.
    pub scale_in_below: f64,
    /// Time between two scale-ins.
    pub scale_in_cooldown: Duration,
}

impl Default for TargetTrackingConfig {
    fn default() -> Self {
        TargetTrackingConfig {
            target_utilization: None,
            scale_out_minutes: 3,
            scale_in_minutes: 15,
            scale_in_below: 0.9,
            scale_in_cooldown: Duration::from_secs(300),
        }
    }
}

/// The `[controller.policy.aws_predictive]` section; the defaults are those AWS documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AwsPredictiveConfig {
    /// History that must exist before anything is forecast [h].
    pub history_hours_min: u32,
    /// History that is used [h].
    pub history_hours_max: u32,
    /// Time between two forecasts [h].
    pub refresh_hours: u32,
    /// Hours that a forecast covers [h].
    pub horizon_hours: u32,
    /// Time before an hour at which its capacity is launched.
    pub scheduling_buffer: Duration,
}

impl Default for AwsPredictiveConfig {
    fn default() -> Self {
        AwsPredictiveConfig {
            history_hours_min: 24,
            history_hours_max: 14 * 24,
            refresh_hours: 6,
            horizon_hours: 48,
            scheduling_buffer: Duration::from_secs(300),
        }
    }
}

/// The `[controller.policy.scheduled]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduledConfig {
    /// Who has how many when, in each region's local time; the last entry that fits holds, and the guard's floor where
    /// none does.
    pub entries: Vec<ScheduleEntry>,
}

/// One line of a timetable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleEntry {
    /// Which cells.
    pub cells: CellPattern,
    /// From this local time on …
    pub from: TimeOfDay,
    /// … until this one; an end not after the begin is on the next day.
    pub until: TimeOfDay,
    /// Days on which it begins; every day when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Weekday>,
    /// Virtual machines in each cell.
    pub vms: u32,
}

/// The `[controller.policy.predictive]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PredictiveConfig {
    /// Which forecaster: one of [`crate::forecast::NAMES`].
    pub forecaster: String,
    /// Quantile of demand to size for, 0 to 1; from the prices when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
    /// Utilization at which that quantile is served; from places and objective of each class when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_utilization: Option<f64>,
    /// Share of boots that are over within the time looked ahead, as a normal quantile: 1.28 is 90 %.
    pub boot_z: f64,
    /// Time for which a cell keeps what it lately needed; from boot time and session length when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
    /// Factor on usual demand that a known event brings, where neither its announcer nor a past event of its kind
    /// says.
    pub event_uplift: f64,
    /// Time before a known event at which its capacity must stand.
    pub event_lead: Duration,
    /// Whether missed objectives at tolerable utilization lower the utilization aimed at.
    pub self_tuning: bool,
}

impl Default for PredictiveConfig {
    fn default() -> Self {
        PredictiveConfig {
            forecaster: "profile".to_owned(),
            level: None,
            target_utilization: None,
            boot_z: 1.28,
            hold: None,
            event_uplift: 1.5,
            event_lead: Duration::from_mins(5),
            self_tuning: true,
        }
    }
}

/// The `[controller.policy.oracle]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OracleConfig {
    /// Factor on the known demand.
    pub margin: f64,
    /// Utilization at which it is served; from places and objective of each class when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_utilization: Option<f64>,
    /// Share of boots that are over within the time looked ahead, as a normal quantile: 1.28 is 90 %.
    pub boot_z: f64,
    /// Further time by which capacity stands ahead of demand.
    pub lead: Duration,
}

impl Default for OracleConfig {
    fn default() -> Self {
        OracleConfig { margin: 1.0, target_utilization: None, boot_z: 1.28, lead: Duration::ZERO }
    }
}

/// Names some region × class cells: `ams/video`, `ams/*`, `*/video` or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CellPattern {
    /// Region by name; all when absent.
    region: Option<String>,
    /// Class by name; all when absent.
    class: Option<String>,
}

impl CellPattern {
    /// Whether it names this cell.
    pub fn matches(&self, topology: &Topology, region: RegionId, class: ClassId) -> bool {
        self.region.as_ref().is_none_or(|name| *name == topology.region(region).name)
            && self.class.as_ref().is_none_or(|name| *name == topology.class(class).name)
    }

    /// What it names that the topology does not have.
    fn unknown(&self, topology: &Topology) -> Option<String> {
        let names = |names: Vec<&str>| names.join(", ");
        if let Some(name) = &self.region
            && !topology.regions.iter().any(|region| region.name == *name)
        {
            let known = names(topology.regions.iter().map(|region| region.name.as_str()).collect());
            return Some(format!("a pattern of known regions ({known}) and classes"));
        }
        if let Some(name) = &self.class
            && !topology.classes.iter().any(|class| class.name == *name)
        {
            let known = names(topology.classes.iter().map(|class| class.name.as_str()).collect());
            return Some(format!("a pattern of regions and known classes ({known})"));
        }
        None
    }
}

impl FromStr for CellPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("\"{text}\" is not a cell pattern such as \"ams/video\", \"ams/*\", \"*/video\" or \"*\"");
        let part = |name: &str| match name {
            "" => Err(refuse()),
            "*" => Ok(None),
            name => Ok(Some(name.to_owned())),
        };
        match text.split_once('/') {
            None if text == "*" => Ok(CellPattern { region: None, class: None }),
            None => Err(refuse()),
            Some((_, class)) if class.contains('/') => Err(refuse()),
            Some((region, class)) => Ok(CellPattern { region: part(region)?, class: part(class)? }),
        }
    }
}

impl TryFrom<String> for CellPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for CellPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region.as_deref().unwrap_or("*"), self.class.as_deref().unwrap_or("*"))
    }
}

impl From<CellPattern> for String {
    fn from(pattern: CellPattern) -> String {
        pattern.to_string()
    }
}

/// A local time: `18:30`. `24:00` is the end of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    /// Minutes since midnight, 0 to 1440.
    pub minutes: u16,
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = |part: &str| {
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u16>().ok()).flatten()
        };
        text.split_once(':')
            .and_then(|(hours, minutes)| Some((number(hours)?, number(minutes)?)))
            .filter(|&(hours, minutes)| minutes < 60 && (hours < 24 || (hours == 24 && minutes == 0)))
            .map(|(hours, minutes)| TimeOfDay { minutes: hours * 60 + minutes })
            .ok_or_else(|| format!("\"{text}\" is not a time of day such as \"07:30\" or \"24:00\""))
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        format!("{:02}:{:02}", time.minutes / 60, time.minutes % 60)
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: allowed is {allowed}")]
pub struct ConfigError {
    /// The key below `controller`, dotted: `guard.floor`.
    pub key: String,
    /// What was given.
    pub value: String,
    /// What would be allowed.
    pub allowed: String,
}

impl ControllerConfig {
    /// Finds the first setting that cannot be, in this topology.
    ///
    /// # Errors
    /// [`ConfigError`] names key, value and what is allowed.
    pub fn check(&self, topology: &Topology) -> Result<(), ConfigError> {
        span("period", self.period, Duration::from_secs(1), Duration::from_hours(24))?;
        utilization("target_utilization", Some(self.target_utilization))?;
        self.guard.check(topology)?;
        self.slicing.check(topology)?;
        range("steering.return_at", self.steering.return_at, 0.0, 1.0)?;
        self.policy.check(topology)
    }
}

impl GuardConfig {
    fn check(&self, topology: &Topology) -> Result<(), ConfigError> {
        range("guard.coverage_floor", self.coverage_floor, 0.0, 1.0)?;
        range("guard.step_up_share", self.step_up_share, 0.0, 1e6)?;
        range("guard.step_down_share", self.step_down_share, 0.0, 1.0)?;
        if let Some(budget) = self.budget_per_hour {
            range("guard.budget_per_hour", budget, 0.0, f64::MAX)?;
        }
        whole("guard.ceiling", self.ceiling, 1, VMS_MAX)?;
        whole("guard.floor", self.floor, 0, self.ceiling)?;
        for (i, limits) in self.limits.iter().enumerate() {
            known(&format!("guard.limits[{i}].cells"), &limits.cells, topology)?;
            let ceiling = limits.ceiling.unwrap_or(self.ceiling);
            whole(&format!("guard.limits[{i}].ceiling"), ceiling, 1, VMS_MAX)?;
            whole(&format!("guard.limits[{i}].floor"), limits.floor.unwrap_or(self.floor), 0, ceiling)?;
        }
        Ok(())
    }
}

/// More virtual machines of one class in one region than anybody has.
const VMS_MAX: u32 = 100_000;

impl SlicingConfig {
    fn check(&self, topology: &Topology) -> Result<(), ConfigError> {
        range("slicing.headroom", self.headroom, 1.0, 100.0)?;
        range("slicing.reservable_share", self.reservable_share, 0.01, 1.0)?;
        range("slicing.step_share", self.step_share, 0.001, 1.0)?;
        range("slicing.ceiling_share", self.ceiling_share, 0.01, 1.0)?;
        whole("slicing.weight", self.weight, 1, 1_000_000)?;
        for (i, fixed) in self.fixed.iter().enumerate() {
            let key = |name: &str| format!("slicing.fixed[{i}].{name}");
            known(&key("cells"), &fixed.cells, topology)?;
            whole(&key("weight"), fixed.weight.unwrap_or(1), 1, 1_000_000)?;
            if let Some(ceiling) = fixed.ceiling
                && (ceiling < fixed.guarantee || ceiling == BitsPerSecond::ZERO)
            {
                return Err(refuse(&key("ceiling"), ceiling, "above 0 and at least the guarantee"));
            }
        }
        for region in (0..topology.regions.len()).map(RegionId::at) {
            let link = &topology.links[topology.region(region).access.index()];
            let mut sum = BitsPerSecond::ZERO;
            for class in (0..topology.classes.len()).map(ClassId::at) {
                let fixed = self.fixed.iter().rposition(|fixed| fixed.cells.matches(topology, region, class));
                let Some(i) = fixed else { continue };
                sum = BitsPerSecond(sum.0.saturating_add(self.fixed[i].guarantee.0));
                if sum > link.capacity {
                    let allowed = format!(
                        "guarantees on link {} of at most {} together; these make {sum}",
                        link.name, link.capacity
                    );
                    return Err(refuse(&format!("slicing.fixed[{i}].guarantee"), self.fixed[i].guarantee, &allowed));
                }
            }
        }
        Ok(())
    }
}

impl PolicyConfig {
    fn check(&self, topology: &Topology) -> Result<(), ConfigError> {
        range("policy.fixed.headroom", self.fixed.headroom, 0.0, 1000.0)?;
        for (i, entry) in self.fixed.cells.iter().enumerate() {
            known(&format!("policy.fixed.cells[{i}].cells"), &entry.cells, topology)?;
        }
        utilization("policy.hpa.target_utilization", self.hpa.target_utilization)?;
        range("policy.hpa.tolerance", self.hpa.tolerance, 0.0, 10.0)?;
        range("policy.hpa.scale_up_share", self.hpa.scale_up_share, 0.0, 1e6)?;
        range("policy.hpa.scale_down_share", self.hpa.scale_down_share, 0.0, 1.0)?;
        let day = Duration::from_hours(24);
        span("policy.hpa.scale_period", self.hpa.scale_period, Duration::from_secs(1), day)?;
        span("policy.hpa.scale_down_window", self.hpa.scale_down_window, Duration::ZERO, day)?;
        span("policy.hpa.scale_up_window", self.hpa.scale_up_window, Duration::ZERO, day)?;
        let tracking = &self.target_tracking;
        utilization("policy.target_tracking.target_utilization", tracking.target_utilization)?;
        whole("policy.target_tracking.scale_out_minutes", tracking.scale_out_minutes, 1, 1440)?;
        whole("policy.target_tracking.scale_in_minutes", tracking.scale_in_minutes, 1, 1440)?;
        range("policy.target_tracking.scale_in_below", tracking.scale_in_below, 0.0, 1.0)?;
        let aws = &self.aws_predictive;
        whole("policy.aws_predictive.history_hours_max", aws.history_hours_max, 24, 24 * 366)?;
        whole("policy.aws_predictive.history_hours_min", aws.history_hours_min, 1, aws.history_hours_max)?;
        whole("policy.aws_predictive.refresh_hours", aws.refresh_hours, 1, 48)?;
        whole("policy.aws_predictive.horizon_hours", aws.horizon_hours, aws.refresh_hours + 1, 24 * 14)?;
        let buffer = aws.scheduling_buffer;
        span("policy.aws_predictive.scheduling_buffer", buffer, Duration::ZERO, Duration::from_mins(60))?;
        for (i, entry) in self.scheduled.entries.iter().enumerate() {
            known(&format!("policy.scheduled.entries[{i}].cells"), &entry.cells, topology)?;
        }
        self.predictive.check()?;
        utilization("policy.oracle.target_utilization", self.oracle.target_utilization)?;
        range("policy.oracle.margin", self.oracle.margin, 0.0, 1000.0)?;
        range("policy.oracle.boot_z", self.oracle.boot_z, -5.0, 5.0)?;
        span("policy.oracle.lead", self.oracle.lead, Duration::ZERO, day)
    }
}

impl PredictiveConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if !crate::forecast::NAMES.contains(&self.forecaster.as_str()) {
            let allowed = format!("one of {}", crate::forecast::NAMES.join(", "));
            return Err(refuse("policy.predictive.forecaster", &self.forecaster, &allowed));
        }
        range("policy.predictive.level", self.level.unwrap_or(0.5), 0.01, 0.9999)?;
        utilization("policy.predictive.target_utilization", self.target_utilization)?;
        range("policy.predictive.boot_z", self.boot_z, -5.0, 5.0)?;
        range("policy.predictive.event_uplift", self.event_uplift, 0.0, 1000.0)?;
        let day = Duration::from_hours(24);
        span("policy.predictive.hold", self.hold.unwrap_or(Duration::ZERO), Duration::ZERO, day)?;
        span("policy.predictive.event_lead", self.event_lead, Duration::ZERO, day)
    }
}

fn refuse(key: &str, value: impl fmt::Display, allowed: &str) -> ConfigError {
    ConfigError { key: key.to_owned(), value: value.to_string(), allowed: allowed.to_owned() }
}

fn range(key: &str, value: f64, from: f64, to: f64) -> Result<(), ConfigError> {
    // Written so that an undefined value is refused.
    if value >= from && value <= to && value.is_finite() {
        return Ok(());
    }
    let to = if to == f64::MAX { "any".to_owned() } else { to.to_string() };
    Err(refuse(key, value, &format!("a number from {from} to {to}")))
}

fn utilization(key: &str, value: Option<f64>) -> Result<(), ConfigError> {
    range(key, value.unwrap_or(1.0), 0.01, 1.0)
}

fn whole(key: &str, value: u32, from: u32, to: u32) -> Result<(), ConfigError> {
    if (from..=to).contains(&value) { Ok(()) } else { Err(refuse(key, value, &format!("{from} to {to}"))) }
}

fn span(key: &str, value: Duration, from: Duration, to: Duration) -> Result<(), ConfigError> {
    if (from..=to).contains(&value) { Ok(()) } else { Err(refuse(key, value, &format!("{from} to {to}"))) }
}

fn known(key: &str, pattern: &CellPattern, topology: &Topology) -> Result<(), ConfigError> {
    match pattern.unknown(topology) {
        None => Ok(()),
        Some(allowed) => Err(refuse(key, pattern, &allowed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world;

    #[test]
    fn an_empty_section_is_the_default_and_the_default_is_allowed() {
        let config: ControllerConfig = toml::from_str("").unwrap();
        assert_eq!(config, ControllerConfig::default());
        config.check(&small_world::topology(3)).unwrap();
    }

    #[test]
    fn settings_survive_toml_and_json() {
        let text = r#"
            period = "30 s"
            target_utilization = 0.6
            [guard]
            limits = [{ cells = "ams/*", floor = 2 }]
            budget_per_hour = 12.5
            [[slicing.fixed]]
            cells = "*/video"
            guarantee = "1 Gbit/s"
            [[policy.scheduled.entries]]
            cells = "*"
            from = "18:00"
            until = "02:30"
            days = ["fri", "sat"]
            vms = 7
        "#;
        let config: ControllerConfig = toml::from_str(text).unwrap();
        config.check(&small_world::topology(3)).unwrap();
        assert_eq!(toml::from_str::<ControllerConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ControllerConfig>(&json).unwrap(), config);
    }

    #[test]
    fn what_cannot_be_is_refused_by_key() {
        let cases = [
            ("target_utilization = 1.5", "target_utilization"),
            ("target_utilization = nan", "target_utilization"),
            ("period = \"0 s\"", "period"),
            ("guard = { floor = 9, ceiling = 3 }", "guard.floor"),
            ("guard = { limits = [{ cells = \"nowhere/*\" }] }", "guard.limits[0].cells"),
            ("guard = { limits = [{ cells = \"*/nothing\" }] }", "guard.limits[0].cells"),
            ("guard = { budget_per_hour = -1.0 }", "guard.budget_per_hour"),
            ("slicing = { fixed = [{ cells = \"*\", guarantee = \"900 Gbit/s\" }] }", "slicing.fixed[0].guarantee"),
            ("policy = { predictive = { forecaster = \"tarot\" } }", "policy.predictive.forecaster"),
            ("policy = { predictive = { level = 1.0 } }", "policy.predictive.level"),
        ];
        for (text, key) in cases {
            let config: ControllerConfig = toml::from_str(text).unwrap();
            assert_eq!(config.check(&small_world::topology(2)).unwrap_err().key, key, "{text}");
        }
        for text in ["perod = \"1 min\"", "period = 60", "guard = { limits = [{ cells = \"ams\" }] }"] {
            assert!(toml::from_str::<ControllerConfig>(text).is_err(), "{text}");
        }
        for text in ["25:00", "24:01", "7:30", "07:60", "0730", ""] {
            assert!(TimeOfDay::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
