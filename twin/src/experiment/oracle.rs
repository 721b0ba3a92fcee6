//! The cheapest oracle: perfect foresight still needs a margin and a lead, and which are best depends on the scenario.
//!
//! A search over a few of each, one after the other: it finds a bound that other policies can be measured by, not the
//! optimum.

use std::sync::Arc;

use forebay_sim::Setup;
use forebay_world::Duration;

use super::{ExperimentError, to_end};
use crate::controller::ControllerConfig;
use crate::controller::config::OracleConfig;
use crate::policy::{Foresight, Knowledge};
use crate::report::Summary;
use crate::scenario::Scenario;

/// Factors on the configured margin, in order; the search begins at 1 and goes on while it gets cheaper.
const MARGINS: [f64; 9] = [0.65, 0.72, 0.79, 0.86, 0.93, 1.0, 1.08, 1.18, 1.3];
/// Leads in ticks on top of the configured one, in order, from none.
const LEADS: [u64; 5] = [0, 1, 2, 4, 8];

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
    let run = |oracle: OracleConfig| -> Result<(OracleConfig, Summary), ExperimentError> {
        let mut config: ControllerConfig = scenario.controller.clone();
        config.policy.oracle = oracle.clone();
        to_end(scenario, setup, &config, "oracle", Knowledge::of_foresight(Arc::clone(told)))
            .map(|summary| (oracle, summary))
    };
    let usual = MARGINS.iter().position(|factor| *factor == 1.0).expect("1 is among the factors");
    let best = run(given.clone())?;
    let best = descend(best, usual, MARGINS.len(), |nth| {
        run(OracleConfig { margin: given.margin * MARGINS[nth], ..given.clone() })
    })?;
    let margin = best.0.margin;
    let period = scenario.controller.period.as_nanos();
    descend(best, 0, LEADS.len(), |nth| {
        let lead = given.lead.saturating_add(Duration::from_nanos(period.saturating_mul(LEADS[nth])));
        run(OracleConfig { margin, lead, ..given.clone() })
    })
}

/// Goes from position `from` to one side, then to the other if that was no better, as long as each step is cheaper.
fn descend(
    mut best: (OracleConfig, Summary),
    from: usize,
    positions: usize,
    run: impl Fn(usize) -> Result<(OracleConfig, Summary), ExperimentError>,
) -> Result<(OracleConfig, Summary), ExperimentError> {
    let start = best.1.cost;
    for side in [1isize, -1] {
        let mut at = from;
        while let Some(next) = at.checked_add_signed(side).filter(|next| *next < positions) {
            let tried = run(next)?;
            if tried.1.cost >= best.1.cost {
                break;
            }
            best = tried;
            at = next;
        }
        if best.1.cost < start {
            break;
        }
    }
    Ok(best)
}
