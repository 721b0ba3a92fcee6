//! What a controller asks for: immutable desired state with a generation.
//!
//! A plan names every virtual machine by identity and leaves no choice to whoever executes it. Submitting it twice is
//! harmless, and both worlds execute the same [`Plan::diff`] of plan and inventory.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    BitsPerSecond, ClassId, Duration, FlavourId, HostId, Observation, RegionId, SliceId, SliceUse, VmSeen, VmState,
};

/// Number of a plan in its sequence; 0 is the empty plan before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    pub const fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of a virtual machine, given by the plan that first asks for it and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VmId(pub u64);

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vm-{}", self.0)
    }
}

/// Desired state of a whole network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// This plan's number.
    pub generation: Generation,
    /// The plan it was made from.
    pub parent: Generation,
    /// Every virtual machine that shall exist. One that exists and is not named shall be destroyed.
    pub vms: BTreeMap<VmId, PlannedVm>,
    /// Every slice that shall stand. One that stands and is not named shall be removed.
    pub slices: BTreeMap<SliceId, PlannedSlice>,
    /// Where clients shall be sent.
    pub steering: Steering,
}

/// One virtual machine that shall exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedVm {
    /// Where.
    pub region: RegionId,
    /// On what.
    pub host: HostId,
    /// In which configuration.
    pub flavour: FlavourId,
    /// For what work.
    pub class: ClassId,
    /// The slice its port is attached to.
    pub slice: SliceId,
    /// Whether it shall take new sessions.
    pub intent: VmIntent,
}

/// What a virtual machine shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmIntent {
    /// Boot if need be, then serve.
    Running,
    /// Keep the sessions it has, take no new ones.
    Draining,
}

/// One slice that shall stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSlice {
    /// Rate it is guaranteed \[bit/s\].
    pub guarantee: BitsPerSecond,
    /// Rate it cannot exceed \[bit/s\].
    pub ceiling: BitsPerSecond,
    /// Share of what is left over, against slices of the same priority.
    pub weight: u32,
    /// Who gets what is left over first: 0 is first.
    pub priority: u8,
    /// The mark that its packets carry (RFC 2474), 0 to 63; 0 is none.
    #[serde(default)]
    pub dscp: u8,
    /// Delay across the network that its traffic bears at most, one way; `None` where nothing was promised.
    #[serde(default)]
    pub latency: Option<Duration>,
}

/// For each client region × class (dense), the regions that serve it and their weights.
///
/// An empty list means that the region serves itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Steering(pub Vec<Vec<(RegionId, u32)>>);

impl Steering {
    /// Everybody is served at home.
    pub fn home(cells: usize) -> Self {
        Steering(vec![Vec::new(); cells])
    }

    /// Share of the demand of client cell `cell` (of region `home`) that `server` serves, 0 to 1.
    pub fn share(&self, cell: usize, home: RegionId, server: RegionId) -> f64 {
        let weights = self.0.get(cell).map_or(&[][..], Vec::as_slice);
        let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
        if total == 0 {
            return f64::from(u8::from(home == server));
        }
        let own: u64 =
            weights.iter().filter(|(region, _)| *region == server).map(|(_, weight)| u64::from(*weight)).sum();
        own as f64 / total as f64
    }
}

/// One thing to do on the way from what is to what shall be.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create a slice, or give it new rates.
    SetSlice(SliceId, PlannedSlice),
    /// Launch a virtual machine that does not exist yet.
    Launch(VmId, PlannedVm),
    /// Answer queries by new weights.
    Steer(Steering),
    /// Let a virtual machine take new sessions again.
    Resume(VmId),
    /// Send a virtual machine no new sessions.
    Drain(VmId),
    /// Destroy a virtual machine.
    Destroy(VmId),
    /// Remove a slice.
    RemoveSlice(SliceId),
}

impl Plan {
    /// What must be done, in order, so that what was `seen` becomes what is planned: slices before the machines that
    /// need them, machines before slices go. Empty when nothing differs.
    pub fn diff(&self, seen: &Observation) -> Vec<Step> {
        self.diff_inventory(&seen.vms, &seen.slices, &seen.steering)
    }

    /// As [`Plan::diff`], from the parts of an inventory: machines and slices each by ascending id.
    pub fn diff_inventory(&self, vms: &[VmSeen], slices: &[SliceUse], steering: &Steering) -> Vec<Step> {
        let mut steps = Vec::new();
        let standing: BTreeMap<SliceId, &SliceUse> = slices.iter().map(|slice| (slice.slice, slice)).collect();
        for (&id, planned) in &self.slices {
            let stands = standing.get(&id).is_some_and(|slice| slice.stands == *planned);
            if !stands {
                steps.push(Step::SetSlice(id, *planned));
            }
        }
        let mut ends = Vec::new();
        let mut existing = vms.iter().peekable();
        let mut planned = self.vms.iter().peekable();
        loop {
            match (existing.peek(), planned.peek()) {
                (None, None) => break,
                (Some(vm), next) if next.is_none_or(|(id, _)| vm.id < **id) => {
                    ends.push(Step::Destroy(vm.id));
                    existing.next();
                }
                (Some(vm), Some((id, wanted))) if vm.id == **id => {
                    match (vm.state, wanted.intent) {
                        (VmState::Draining, VmIntent::Running) => steps.push(Step::Resume(vm.id)),
                        (VmState::Draining | VmState::Failed, _) | (_, VmIntent::Running) => {}
                        (_, VmIntent::Draining) => ends.push(Step::Drain(vm.id)),
                    }
                    existing.next();
                    planned.next();
                }
                (_, Some((id, wanted))) => {
                    // A machine that is gone is not brought back only to be drained.
                    if wanted.intent == VmIntent::Running {
                        steps.push(Step::Launch(**id, **wanted));
                    }
                    planned.next();
                }
                (Some(_), None) => unreachable!("the first guard takes what is left of the inventory"),
            }
        }
        if *steering != self.steering {
            steps.push(Step::Steer(self.steering.clone()));
        }
        steps.append(&mut ends);
        steps.extend(
            slices
                .iter()
                .filter(|slice| !self.slices.contains_key(&slice.slice))
                .map(|slice| Step::RemoveSlice(slice.slice)),
        );
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    fn planned(intent: VmIntent) -> PlannedVm {
        PlannedVm {
            region: RegionId(0),
            host: HostId(0),
            flavour: FlavourId(0),
            class: ClassId(0),
            slice: SliceId(0),
            intent,
        }
    }

    fn seen(id: u64, state: VmState) -> VmSeen {
        VmSeen {
            id: VmId(id),
            region: RegionId(0),
            host: HostId(0),
            flavour: FlavourId(0),
            class: ClassId(0),
            state,
            since: Timestamp::EPOCH,
            sessions: Some(0),
            utilization: None,
        }
    }

    fn slice(guarantee: u64) -> PlannedSlice {
        PlannedSlice {
            guarantee: BitsPerSecond(guarantee),
            ceiling: BitsPerSecond(10),
            weight: 1,
            priority: 0,
            dscp: 0,
            latency: None,
        }
    }

    fn standing(id: u32, guarantee: u64) -> SliceUse {
        SliceUse {
            slice: SliceId(id),
            stands: slice(guarantee),
            used: BitsPerSecond::ZERO,
            offered: BitsPerSecond::ZERO,
        }
    }

    #[test]
    fn a_diff_orders_creation_before_destruction() {
        let plan = Plan {
            vms: [
                (VmId(2), planned(VmIntent::Running)),
                (VmId(3), planned(VmIntent::Draining)),
                (VmId(4), planned(VmIntent::Draining)),
                (VmId(5), planned(VmIntent::Running)),
            ]
            .into(),
            slices: [(SliceId(0), slice(5)), (SliceId(1), slice(4))].into(),
            ..Plan::default()
        };
        let vms =
            [seen(1, VmState::Ready), seen(3, VmState::Ready), seen(5, VmState::Draining), seen(9, VmState::Failed)];
        let slices = [standing(1, 4), standing(7, 1)];
        assert_eq!(
            plan.diff_inventory(&vms, &slices, &Steering::default()),
            [
                Step::SetSlice(SliceId(0), slice(5)),
                Step::Launch(VmId(2), planned(VmIntent::Running)),
                Step::Resume(VmId(5)),
                Step::Destroy(VmId(1)),
                Step::Drain(VmId(3)),
                Step::Destroy(VmId(9)),
                Step::RemoveSlice(SliceId(7)),
            ]
        );
    }

    #[test]
    fn what_is_as_planned_needs_no_step() {
        let plan = Plan { vms: [(VmId(1), planned(VmIntent::Running))].into(), ..Plan::default() };
        for state in [VmState::Requested, VmState::Booting, VmState::Warming, VmState::Ready, VmState::Failed] {
            assert_eq!(plan.diff_inventory(&[seen(1, state)], &[], &Steering::default()), []);
        }
    }

    #[test]
    fn shares_follow_weights_and_default_to_home() {
        let steering = Steering(vec![vec![], vec![(RegionId(0), 3), (RegionId(1), 1)]]);
        assert_eq!(steering.share(0, RegionId(0), RegionId(0)), 1.0);
        assert_eq!(steering.share(0, RegionId(0), RegionId(1)), 0.0);
        assert_eq!(steering.share(1, RegionId(0), RegionId(1)), 0.25);
    }
}
