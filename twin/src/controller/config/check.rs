//! What a configuration may say, and how it is said that it does not.

use std::fmt;

use forebay_world::{Duration, Topology};

use super::{CellPattern, ControllerConfig, GuardConfig, PolicyConfig, PredictiveConfig};
use crate::forecast::trained;
use crate::policy::predictive;

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
        if self.model != predictive::AUTO && !trained::is_known(&self.model) {
            let known: Vec<&str> = [predictive::AUTO].into_iter().chain(trained::names()).collect();
            return Err(refuse("policy.predictive.model", &self.model, &format!("one of {}", known.join(", "))));
        }
        let day = Duration::from_hours(24);
        if let Some(step) = self.step {
            span("policy.predictive.step", step, Duration::from_secs(1), Duration::from_hours(1))?;
            if !(day % step).is_zero() {
                return Err(refuse("policy.predictive.step", step, "a step that divides a day"));
            }
        }
        range("policy.predictive.level", self.level.unwrap_or(0.5), 0.01, 0.9999)?;
        utilization("policy.predictive.target_utilization", self.target_utilization)?;
        range("policy.predictive.boot_z", self.boot_z, -5.0, 5.0)?;
        range("policy.predictive.event_uplift", self.event_uplift, 0.0, 1000.0)?;
        span("policy.predictive.settle", self.settle, Duration::ZERO, day)?;
        span("policy.predictive.hold", self.hold.unwrap_or(Duration::ZERO), Duration::ZERO, day)?;
        span("policy.predictive.event_lead", self.event_lead, Duration::ZERO, day)
    }
}

pub(super) fn refuse(key: &str, value: impl fmt::Display, allowed: &str) -> ConfigError {
    ConfigError { key: key.to_owned(), value: value.to_string(), allowed: allowed.to_owned() }
}

pub(super) fn range(key: &str, value: f64, from: f64, to: f64) -> Result<(), ConfigError> {
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

pub(super) fn whole(key: &str, value: u32, from: u32, to: u32) -> Result<(), ConfigError> {
    if (from..=to).contains(&value) { Ok(()) } else { Err(refuse(key, value, &format!("{from} to {to}"))) }
}

pub(super) fn span(key: &str, value: Duration, from: Duration, to: Duration) -> Result<(), ConfigError> {
    if (from..=to).contains(&value) { Ok(()) } else { Err(refuse(key, value, &format!("{from} to {to}"))) }
}

pub(super) fn known(key: &str, pattern: &CellPattern, topology: &Topology) -> Result<(), ConfigError> {
    match pattern.unknown(topology) {
        None => Ok(()),
        Some(allowed) => Err(refuse(key, pattern, &allowed)),
    }
}
