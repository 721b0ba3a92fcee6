//! The cheapest oracle: perfect foresight still needs a margin and a lead, and which are best depends on the scenario.
//!
//! A search over a few of each, one after the other: it finds a bound that other policies can be measured by, not the
//! optimum.

use std::sync::Arc;

use forebay_sim::Setup;
use forebay_world::Duration;
use rayon::prelude::*;

use super::{ExperimentError, to_end};
use crate::controller::ControllerConfig;
use crate::controller::config::OracleConfig;
use crate::policy::Foresight;
use crate::report::Summary;
use crate::scenario::Scenario;

/// Factors on the configured margin.
const MARGINS: [f64; 5] = [1.0, 0.85, 0.93, 1.1, 1.25];
/// Leads in ticks, on top of the configured one.
const LEADS: [u64; 3] = [1, 2, 4];

/// The cheapest oracle of a scenario for one seed: its settings, and the figures of its run. Ties go to the settings
/// nearest to those configured.
///
/// # Errors
/// [`ExperimentError`] when a run cannot be had or stops.
pub fn cheapest(
    scenario: &Scenario,
    setup: &Arc<Setup>,
    told: &Arc<Foresight>,
) -> Result<(OracleConfig, Summary), ExperimentError> {
    let given = &scenario.controller.policy.oracle;
    let try_all = |candidates: Vec<OracleConfig>| -> Result<Vec<(OracleConfig, Summary)>, ExperimentError> {
        candidates
            .into_par_iter()
            .map(|oracle| {
                let mut config: ControllerConfig = scenario.controller.clone();
                config.policy.oracle = oracle.clone();
                to_end(scenario, setup, &config, "oracle", Some(Arc::clone(told))).map(|summary| (oracle, summary))
            })
            .collect()
    };
    let margins = MARGINS.iter().map(|factor| OracleConfig { margin: given.margin * factor, ..given.clone() });
    let mut best = cheaper(try_all(margins.collect())?);
    let period = scenario.controller.period;
    let leads = LEADS.iter().map(|ticks| OracleConfig {
        lead: given.lead.saturating_add(Duration::from_nanos(period.as_nanos().saturating_mul(*ticks))),
        ..best.0.clone()
    });
    let mut candidates = try_all(leads.collect())?;
    candidates.insert(0, best);
    best = cheaper(candidates);
    Ok(best)
}

/// The first of the cheapest.
fn cheaper(candidates: Vec<(OracleConfig, Summary)>) -> (OracleConfig, Summary) {
    candidates
        .into_iter()
        .reduce(|best, next| if next.1.cost < best.1.cost { next } else { best })
        .expect("there are candidates")
}
