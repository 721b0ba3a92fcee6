//! All that an operator sets about the controller: the `[controller]` section of a scenario or a production file.
//!
//! Every key has a default, unknown keys are refused, quantities carry their unit. [`ControllerConfig::check`] says
//! what cannot be; after it, nothing in the controller can fail for its configuration.

mod check;
mod names;
mod slicing;

use forebay_world::{Duration, ResourceClass};
use serde::{Deserialize, Serialize};

pub use check::ConfigError;
pub use names::{CellPattern, TimeOfDay, Weekday};
pub use slicing::{FixedSlice, MarksConfig, SliceSettings, SlicingConfig};

use crate::policy::predictive;

/// The `[controller]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControllerConfig {
    /// Time from one decision to the next.
    pub period: Duration,
    /// Where demand is taken from.
    pub demand: DemandSource,
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
            demand: DemandSource::default(),
            target_utilization: 0.7,
            guard: GuardConfig::default(),
            deployment: DeploymentConfig::default(),
            slicing: SlicingConfig::default(),
            steering: SteeringConfig::default(),
            policy: PolicyConfig::default(),
        }
    }
}

/// Where demand is taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DemandSource {
    /// Sessions and arrivals as telemetry counts them.
    #[default]
    Sessions,
    /// Requests told from DNS alone; see [`crate::demand`].
    Dns,
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
    /// Price of all planned virtual machines that growth never exceeds \[currency unit / h\]; none for no limit.
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
    /// Time after which a draining machine is destroyed with the sessions it still has; when absent, five times the
    /// mean length of its sessions, which one in 150 outlasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_deadline: Option<Duration>,
    /// Time after which a machine that was asked for and never appeared is given up and replaced.
    pub launch_grace: Duration,
}

impl Default for DeploymentConfig {
    fn default() -> Self {
        DeploymentConfig { spread: false, drain_deadline: None, launch_grace: Duration::from_mins(2) }
    }
}

impl ControllerConfig {
    /// Time within which `predictive` keeps a machine that serves `sessions` of a class, takes `to_ready` to boot, and will
    /// be needed again: what it costs to let one go and boot another (ski rental). An hour at most, for what lies beyond
    /// is not looked at.
    pub fn hold(&self, class: &ResourceClass, sessions: f64, to_ready: Duration) -> Duration {
        let paid = to_ready.saturating_add(self.deployment.drain_time(class, sessions));
        self.policy.predictive.hold.unwrap_or(paid.min(Duration::from_hours(1)))
    }
}

impl DeploymentConfig {
    /// Time that a machine with so many sessions of a class takes to drain, in the mean: the longest of n exponential
    /// lengths is about ln n + 0.577 of their means.
    pub fn drain_time(&self, class: &ResourceClass, sessions: f64) -> Duration {
        let longest = class.work.mean_seconds() * (sessions.max(1.0).ln() + 0.577);
        Duration::from_secs_f64_saturating(longest).min(self.drain_deadline(class))
    }

    /// Time that machines of a class have to drain.
    pub fn drain_deadline(&self, class: &ResourceClass) -> Duration {
        self.drain_deadline.unwrap_or_else(|| Duration::from_secs_f64_saturating(5.0 * class.work.mean_seconds()))
    }
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
    /// History that must exist before anything is forecast, in hours.
    pub history_hours_min: u32,
    /// History that is used, in hours.
    pub history_hours_max: u32,
    /// Time between two forecasts, in hours.
    pub refresh_hours: u32,
    /// Hours that a forecast covers, in hours.
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
    /// Which model forecasts: a name of [`crate::forecast::trained::names`], or `auto`: the ensemble where two weeks of
    /// history are known, a profile that learns on the way where they are not.
    pub model: String,
    /// Steps in which demand is forecast; those of the history where one is known, otherwise a minute, or the period when
    /// that is longer, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Duration>,
    /// Quantile of demand to size for, 0 to 1; from the prices when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
    /// Utilization at which that quantile is served; from places and objective of each class when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_utilization: Option<f64>,
    /// Share of boots that are over within the time looked ahead, as a normal quantile: 1.28 is 90 %.
    pub boot_z: f64,
    /// Time within which a machine that will be needed again is kept; the time to boot one and to drain one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
    /// Time for which a cell keeps the most that it lately needed, so that machines do not come and go with every breath.
    pub settle: Duration,
    /// Factor on usual demand that a known event brings, where neither its announcer nor a past event of its kind
    /// says.
    pub event_uplift: f64,
    /// Time before a known event at which its capacity must stand.
    pub event_lead: Duration,
    /// Whether the utilization that machines are planned at is learned from when objectives are missed.
    pub self_tuning: bool,
}

impl Default for PredictiveConfig {
    fn default() -> Self {
        PredictiveConfig {
            model: predictive::AUTO.to_owned(),
            step: None,
            level: None,
            target_utilization: None,
            boot_z: 1.28,
            hold: None,
            settle: Duration::from_mins(3),
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

#[cfg(test)]
mod tests;
