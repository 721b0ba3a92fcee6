//! Who decides how many virtual machines there shall be.
//!
//! A [`Policy`] sees what was observed and the plan in force, and asks for a number of machines in every serving
//! region × class. It knows no clock, no socket, no mode and no world; what it asks for is bounded by the guard and
//! put on hosts by the deployment. Policies are chosen by name: [`NAMES`] lists them, [`build`] makes one.

mod aws_predictive;
mod fixed;
mod hpa;
mod knowledge;
mod oracle;
pub mod predictive;
mod scheduled;
mod target_tracking;

use forebay_world::{BitsPerSecond, Duration, Observation, Plan, Steering, Topology};

use crate::controller::ControllerConfig;
pub use crate::controller::served::CellSeen;
use crate::decision::Fan;
use crate::forecast::model::Unfit;
use crate::forecast::trained;
use crate::plan::newsvendor::vms_from;

pub use crate::plan::staffing::workable_utilization;
pub use knowledge::{Foresight, Hindsight, Knowledge};

/// What a policy sees at a tick; nothing else.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// What was observed.
    pub seen: &'a Observation,
    /// The plan in force.
    pub current: &'a Plan,
    /// Where clients are being sent: the plan's steering, with this tick's changes.
    pub steering: &'a Steering,
    /// What there is.
    pub topology: &'a Topology,
    /// What the operator set.
    pub config: &'a ControllerConfig,
    /// Each serving region × class as seen, dense.
    pub cells: &'a [CellSeen],
    /// Sessions that each client region × class offers, dense; the last seen where this window has none, `None` where
    /// nothing was ever seen.
    pub offered: &'a [Option<f64>],
    /// The guard's floor of each serving region × class, dense.
    pub floors: &'a [u32],
    /// The guard's ceiling of each serving region × class, dense.
    pub ceilings: &'a [u32],
}

/// What a policy asks for in one serving region × class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// Virtual machines that shall run.
    pub vms: u32,
    /// Why, in words.
    pub reason: String,
    /// What it expects, if it forecasts.
    pub fan: Option<Fan>,
    /// Bandwidth that its slice should guarantee, if it forecasts \[bit/s\].
    pub bandwidth: Option<BitsPerSecond>,
}

/// Decides how many virtual machines there shall be.
///
/// A policy does no I/O and is deterministic: the same situations in the same order bring the same asks.
pub trait Policy: Send {
    /// Its name in [`NAMES`].
    fn name(&self) -> &'static str;

    /// Asks for virtual machines. `asks` comes with one empty entry for each serving region × class, dense.
    fn ask(&mut self, now: &Situation<'_>, asks: &mut [Ask]);

    /// A copy with all it remembers: for checkpoints and forks.
    fn clone_box(&self) -> Box<dyn Policy>;
}

impl Clone for Box<dyn Policy> {
    fn clone(&self) -> Self {
        self.clone_box()
    }
}

/// Why a policy cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// There is no policy of that name.
    #[error("policy {name}: allowed is one of {}, and predictive:MODEL", NAMES.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// There is no model of that name for `predictive`.
    #[error("policy predictive:{name}: allowed is one of {AUTO}, {}", trained::names().collect::<Vec<_>>().join(", "), AUTO = predictive::AUTO)]
    Model {
        /// What was asked for.
        name: String,
    },
    /// Its model must be trained on a past, and there is too little of it.
    #[error("policy predictive:{model} cannot be trained on the history that it is given")]
    Untrained {
        /// Which model.
        model: String,
        /// Why.
        #[source]
        why: Unfit,
    },
    /// It must know the future, and nobody told.
    #[error("policy {name} must know the demand to come; only a simulated run can tell")]
    NeedsForesight {
        /// Which policy.
        name: &'static str,
    },
    /// What it was told of the future does not fit.
    #[error(
        "foresight of {given} cells with steps of {step}: allowed is one list a cell of {cells}, and a step above 0"
    )]
    Foresight {
        /// Lists given.
        given: usize,
        /// Step given.
        step: Duration,
        /// Cells there are.
        cells: usize,
    },
    /// What it was told of the past does not fit.
    #[error(
        "hindsight of {given} cells with steps of {step}: allowed is one list a cell of {cells}, equally long, of finite rates, and a step from 1 s to 1 h"
    )]
    Hindsight {
        /// Lists given.
        given: usize,
        /// Step given.
        step: Duration,
        /// Cells there are.
        cells: usize,
    },
    /// It has nothing to go by.
    #[error("policy {name}: {key} is empty")]
    Empty {
        /// Which policy.
        name: &'static str,
        /// The key below `controller` that must be set.
        key: &'static str,
    },
    /// A region's time zone is not in the time zone database.
    #[error("region {region}: time zone \"{time_zone}\" is not known; allowed are IANA names such as Europe/Amsterdam")]
    TimeZone {
        /// Region by name.
        region: String,
        /// What it says.
        time_zone: String,
    },
}

/// The policies there are, by name.
pub const NAMES: &[&str] = &["fixed", "hpa", "target-tracking", "aws-predictive", "scheduled", "predictive", "oracle"];

/// A policy by name and, for `predictive:MODEL`, the model that it goes by.
pub fn named(name: &str) -> (&str, Option<&str>) {
    match name.split_once(':') {
        Some((policy, model)) => (policy, Some(model)),
        None => (name, None),
    }
}

/// Whether there is a policy of that name, with such a model.
pub fn is_known(name: &str) -> bool {
    match named(name) {
        (policy, None) => NAMES.contains(&policy),
        (policy, Some(model)) => policy == "predictive" && (model == predictive::AUTO || trained::is_known(model)),
    }
}

/// Whether a policy goes by what has been.
pub fn goes_by_hindsight(name: &str) -> bool {
    ["predictive", "aws-predictive"].contains(&named(name).0)
}

/// Makes the policy called `name`, which is told what there is to know.
///
/// # Errors
/// [`PolicyError`] for an unknown name, and for a policy that lacks what it goes by.
pub fn build(
    name: &str,
    config: &ControllerConfig,
    topology: &Topology,
    knowledge: &Knowledge,
) -> Result<Box<dyn Policy>, PolicyError> {
    knowledge.check(topology)?;
    let foresight = &knowledge.foresight;
    let needs = |name| foresight.clone().ok_or(PolicyError::NeedsForesight { name });
    let unknown = || PolicyError::Unknown { name: name.to_owned() };
    let (policy, model) = named(name);
    if model.is_some() && policy != "predictive" {
        return Err(unknown());
    }
    Ok(match policy {
        "fixed" => Box::new(fixed::Fixed::new(config, topology, foresight.as_deref())?),
        "hpa" => Box::new(hpa::Hpa::new(config, topology)),
        "target-tracking" => Box::new(target_tracking::TargetTracking::new(config, topology)),
        "aws-predictive" => {
            Box::new(aws_predictive::AwsPredictive::new(config, topology, knowledge.hindsight.as_deref()))
        }
        "scheduled" => Box::new(scheduled::Scheduled::new(config, topology)?),
        "predictive" => Box::new(predictive::Predictive::new(model, config, topology, knowledge)?),
        "oracle" => Box::new(oracle::Oracle::new(config, topology, needs("oracle")?)),
        _ => return Err(unknown()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use forebay_world::Timestamp;

    use super::*;
    use crate::small_world;

    #[test]
    fn every_name_builds_a_policy_of_that_name_and_others_are_refused() {
        let topology = small_world::topology(2);
        let mut config = ControllerConfig::default();
        config.policy.scheduled.entries =
            vec![toml::from_str("cells = \"*\"\nfrom = \"00:00\"\nuntil = \"24:00\"\nvms = 3").unwrap()];
        let foresight = Arc::new(Foresight {
            start: Timestamp::EPOCH,
            step: Duration::from_mins(1),
            sessions: vec![vec![1.0; 5]; topology.cells()],
        });
        for name in NAMES {
            let told = Knowledge::of_foresight(foresight.clone());
            assert_eq!(build(name, &config, &topology, &told).unwrap().name(), *name);
            assert!(is_known(name));
        }
        let refusal =
            |name| build(name, &config, &topology, &Knowledge::default()).err().map(|error| error.to_string());
        assert!(refusal("lookahead").unwrap().contains("target-tracking"));
        assert!(refusal("oracle").unwrap().contains("demand to come"));
        let wrong = Foresight { sessions: vec![], ..(*foresight).clone() };
        assert!(build("oracle", &config, &topology, &Knowledge::of_foresight(Arc::new(wrong))).is_err());
        for name in ["hpa:lstm", "predictive:tarot", "predictive:", "", ":lstm"] {
            assert!(!is_known(name) && refusal(name).is_some(), "{name}");
        }
        assert_eq!(build("predictive:holt", &config, &topology, &Knowledge::default()).unwrap().name(), "predictive");
        assert!(refusal("predictive:lstm").unwrap().contains("history"));
    }
}
