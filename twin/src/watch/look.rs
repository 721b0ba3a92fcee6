//! One look at each kind of thing there is, by its view.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use forebay_adapters::machines::{Inventory, MachineError, MachineState, MachineStatistics, MachineView};
use forebay_adapters::slices::{Counters, LinkSlices, SliceError, SliceView, Standing};
use forebay_adapters::steering::{self, DnsName, Expressed, SteeringError, SteeringView};
use forebay_world::{PlannedSlice, SliceId, VmId};

use crate::deployment::rollout::Life;

/// What a hypervisor listed.
#[derive(Clone, Debug, Default)]
pub struct HypervisorSeen {
    /// Machines, ours and others'.
    pub inventory: Inventory,
    /// What ours have used since they run.
    pub statistics: BTreeMap<VmId, MachineStatistics>,
}

/// What stands on a link.
#[derive(Clone, Debug, Default)]
pub struct LinkSeen {
    /// All of it.
    pub standing: Standing,
    /// What each slice has carried since it stands.
    pub counters: BTreeMap<SliceId, Counters>,
    /// Slices in the terms in which they were asked for.
    pub slices: BTreeMap<SliceId, PlannedSlice>,
}

/// What a name server answers.
#[derive(Clone, Debug, Default)]
pub struct AnswersSeen {
    /// All of it.
    pub standing: steering::Standing,
    /// Addresses that some client may be sent to.
    pub addresses: BTreeSet<IpAddr>,
    /// What names without our mark are answered, of those that were asked for; `None` where that cannot be told.
    pub others: BTreeMap<DnsName, Option<Expressed>>,
}

/// What was last asked of a link, so that what stands can be told in its terms.
pub type Asked = Option<LinkSlices>;

/// Looks at a hypervisor.
///
/// # Errors
/// [`MachineError`] when its machines cannot be listed. Where only what they use is not known, there are no statistics.
pub fn look_at_hypervisor(view: &mut dyn MachineView) -> Result<HypervisorSeen, MachineError> {
    let inventory = view.list()?;
    let statistics =
        if view.capabilities().statistics { view.statistics().unwrap_or_default() } else { BTreeMap::new() };
    Ok(HypervisorSeen { inventory, statistics })
}

/// Looks at a link. A slice that stands exactly as an executor makes what was asked for is that; any other is told as it
/// is enforced.
///
/// # Errors
/// [`SliceError`] when it cannot be seen.
pub fn look_at_link(view: &mut dyn SliceView, asked: &Asked) -> Result<LinkSeen, SliceError> {
    let standing = view.read()?;
    let counters = view.counters().unwrap_or_default();
    let expected = asked.as_ref().and_then(|asked| asked.enforced(&view.capabilities()).ok()).unwrap_or_default();
    let slices = standing
        .slices
        .iter()
        .map(|(id, enforced)| {
            let as_asked = asked.as_ref().filter(|_| expected.get(id) == Some(enforced));
            let terms = as_asked.and_then(|asked| asked.slices.get(id)).map(|slice| slice.terms);
            let as_enforced = PlannedSlice {
                guarantee: enforced.guarantee,
                ceiling: enforced.ceiling,
                weight: enforced.weight.max(1),
                priority: enforced.rank,
                dscp: enforced.dscp,
                latency: None,
            };
            (*id, terms.unwrap_or(as_enforced))
        })
        .collect();
    Ok(LinkSeen { standing, counters, slices })
}

/// Looks at a name server: at all that bears our mark, and at these names whoever answers them.
///
/// # Errors
/// [`SteeringError`] when it cannot be asked.
pub fn look_at_answers(view: &mut dyn SteeringView, names: &[DnsName]) -> Result<AnswersSeen, SteeringError> {
    let standing = view.read()?;
    let capabilities = view.capabilities();
    let addresses = standing.names.values().flat_map(|name| name.addresses(&capabilities)).collect();
    let is_ours = |name: &DnsName| standing.names.contains_key(name) || standing.withdrawn.contains(name);
    let others: Vec<DnsName> = names.iter().filter(|name| !is_ours(name)).cloned().collect();
    let others = if others.is_empty() { BTreeMap::new() } else { view.answered(&others)? };
    Ok(AnswersSeen { standing, addresses, others })
}

impl AnswersSeen {
    /// What clients of a name are answered; `None` where nothing was, or where it cannot be told.
    pub fn of(&self, name: &DnsName) -> Option<&Expressed> {
        let ours = self.standing.names.get(name).map(|stands| &stands.answered);
        ours.or_else(|| self.others.get(name)?.as_ref())
    }
}

/// The life of a machine, as a rollout knows it.
pub(super) fn life(state: MachineState) -> Life {
    match state {
        MachineState::Booting | MachineState::Running | MachineState::Unknown => Life::Running,
        MachineState::Paused => Life::Paused,
        MachineState::ShuttingDown => Life::Ending,
        MachineState::Defined | MachineState::ShutOff | MachineState::Crashed => Life::Off,
    }
}
