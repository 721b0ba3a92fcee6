//! `fixed`: the same number of machines at all times; by default as many as the known peak needs.
//!
//! What a careful operator without scaling does, and the yardstick for capacity: never short, never cheap.

use forebay_world::Topology;

use super::{Ask, Foresight, Policy, PolicyError, Situation, vms_from};
use crate::controller::ControllerConfig;

#[derive(Clone)]
pub(super) struct Fixed {
    /// Machines of each cell, and where the number comes from.
    vms: Vec<(u32, String)>,
}

impl Fixed {
    pub(super) fn new(
        config: &ControllerConfig,
        topology: &Topology,
        foresight: Option<&Foresight>,
    ) -> Result<Self, PolicyError> {
        let fixed = &config.policy.fixed;
        let vms = topology
            .cell_ids()
            .enumerate()
            .map(|(cell, (region, class))| {
                let named = fixed.cells.iter().rfind(|entry| entry.cells.matches(topology, region, class));
                if let Some(vms) = named.map(|entry| entry.vms).or(fixed.vms) {
                    return Ok((vms, format!("set to {vms}")));
                }
                let foresight = foresight.ok_or(PolicyError::NeedsForesight { name: "fixed" })?;
                let peak = foresight.sessions[cell].iter().copied().fold(0.0, f64::max);
                let places = topology.sessions_per_vm(class) * config.target_utilization;
                let vms = vms_from(peak * fixed.headroom / places);
                Ok((vms, format!("peak of {peak:.0} sessions times {}", fixed.headroom)))
            })
            .collect::<Result<_, _>>()?;
        Ok(Fixed { vms })
    }
}

impl Policy for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn ask(&mut self, _now: &Situation<'_>, asks: &mut [Ask]) {
        for (ask, (vms, why)) in asks.iter_mut().zip(&self.vms) {
            ask.vms = *vms;
            ask.reason.clone_from(why);
        }
    }

    fn clone_box(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}
