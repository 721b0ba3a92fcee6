//! What came about in a run, simulated or real, as its journal tells it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use forebay_world::{Duration, Observation, Plan, Timestamp, VmId, VmSeen, VmState};
use serde_json::Value;

/// What comes about. What is seen at the same tick comes in the order in which plans are carried out: slices, then machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// The slice is seen to stand.
    SliceStands,
    /// A machine is seen that was made.
    OneIsMade,
    /// A machine is ready.
    OneIsReady,
    /// Clients are sent to one.
    ClientsAreSent,
    /// Another machine is seen that was made.
    SecondIsMade,
    /// Two were ready.
    SecondIsReady,
    /// What was announced begins …
    CrowdComes,
    /// … and ends.
    CrowdGoes,
    /// A machine takes no new clients.
    OneDrains,
    /// A machine is seen no more.
    OneIsGone,
}

/// What a journal tells of the time until a machine is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chronicle {
    /// When each first came about, as far as it did.
    pub(crate) moments: BTreeMap<Moment, Timestamp>,
    /// How long each machine took from the plan that asked for it to being ready.
    pub(crate) to_ready: BTreeMap<VmId, Duration>,
}

impl Chronicle {
    /// Reads a journal; what is being written of it does not count.
    pub(crate) fn read(journal: &Path) -> Chronicle {
        let mut chronicle = Chronicle::default();
        let mut asked: BTreeMap<VmId, Timestamp> = BTreeMap::new();
        let mut made: Vec<VmId> = Vec::new();
        let text = fs::read_to_string(journal).unwrap_or_default();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        for line in whole.lines().skip(1) {
            let mut line: Value = serde_json::from_str(line).unwrap();
            // A tick at which nothing could be seen has none.
            let Some(seen) = line.get_mut("observation").map(Value::take) else { continue };
            let seen: Observation = serde_json::from_value(seen).unwrap();
            chronicle.take(&seen, &asked, &mut made);
            if chronicle.moments.contains_key(&Moment::OneIsGone) {
                break;
            }
            let Some(plan) = line.get_mut("plan").map(Value::take) else { continue };
            let plan: Plan = serde_json::from_value(plan).unwrap();
            for vm in plan.vms.keys() {
                asked.entry(*vm).or_insert(seen.at);
            }
        }
        chronicle
    }

    /// Notes when something came about, if it had not before.
    pub(crate) fn note(&mut self, moment: Moment, at: Timestamp) {
        self.moments.entry(moment).or_insert(at);
    }

    fn take(&mut self, seen: &Observation, asked: &BTreeMap<VmId, Timestamp>, made: &mut Vec<VmId>) {
        if !seen.slices.is_empty() {
            self.note(Moment::SliceStands, seen.at);
        }
        if let Some(event) = seen.events.first() {
            self.note(Moment::CrowdComes, event.start);
            self.note(Moment::CrowdGoes, event.end);
        }
        // One that was asked for later may be ready before.
        let is_new = |vm: &&VmSeen| vm.state == VmState::Ready && !self.to_ready.contains_key(&vm.id);
        let mut ready: Vec<&VmSeen> = seen.vms.iter().filter(is_new).collect();
        ready.sort_by_key(|vm| vm.since);
        for vm in ready {
            let is_first = self.to_ready.is_empty();
            self.note(if is_first { Moment::OneIsReady } else { Moment::SecondIsReady }, vm.since);
            self.to_ready.insert(vm.id, vm.since.since(asked[&vm.id]));
        }
        for vm in seen.vms.iter().filter(|vm| vm.state != VmState::Requested) {
            if !made.contains(&vm.id) {
                made.push(vm.id);
            }
            self.note(if made.len() == 1 { Moment::OneIsMade } else { Moment::SecondIsMade }, seen.at);
            if vm.state == VmState::Ready && vm.sessions.is_some_and(|sessions| sessions > 0) {
                self.note(Moment::ClientsAreSent, seen.at);
            }
            if vm.state == VmState::Draining {
                self.note(Moment::OneDrains, vm.since);
            }
        }
        if made.iter().any(|made| seen.vms.iter().all(|vm| vm.id != *made)) {
            self.note(Moment::OneIsGone, seen.at);
        }
    }

    /// What came about, one after the other.
    pub(crate) fn order(&self) -> Vec<Moment> {
        let mut order: Vec<(Timestamp, Moment)> = self.moments.iter().map(|(moment, at)| (*at, *moment)).collect();
        order.sort();
        order.into_iter().map(|(_, moment)| moment).collect()
    }
}
