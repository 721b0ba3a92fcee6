//! Who leaves, and who has to wait with it.

use forebay_world::{Plan, VmId, VmIntent};

use super::course::Leaving;
use super::{Held, Rollout, Sight, Turn};

/// What the plan wants of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Run,
    Leave,
}

/// Counts over one region × class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CellCount {
    /// Machines that shall run, and of those, ones that serve.
    pub(super) run: u32,
    pub(super) run_and_serve: u32,
    /// Machines that did well once and are not given up.
    well: u32,
    leaving: u32,
}

impl Rollout {
    /// Takes machines back that are wanted again, and sends others on their way out.
    pub(super) fn leave(&mut self, plan: &Plan, sight: &Sight, turn: &mut Turn) {
        let at = sight.at;
        for (&id, course) in &mut self.courses {
            let is_frozen = self.frozen[self.topology.cell(course.planned.region, course.planned.class)];
            if is_frozen {
                continue;
            }
            if wish(plan, id) == Wish::Run && course.failed.is_none() && course.leaving.is_some() {
                if course.is_ending() {
                    course.fail("was wanted again when it was ending already");
                } else {
                    course.leaving = None;
                }
            }
        }
        let mut counts = vec![CellCount::default(); self.topology.cells()];
        for (&id, course) in &self.courses {
            let count = &mut counts[self.topology.cell(course.planned.region, course.planned.class)];
            let run = wish(plan, id) == Wish::Run && course.leaving.is_none();
            count.run += u32::from(run);
            count.run_and_serve += u32::from(run && course.serves());
            count.well += u32::from(course.well_at.is_some() && course.failed.is_none() && !course.is_gone());
            count.leaving += u32::from(course.is_disruption());
        }
        for (&id, course) in &mut self.courses {
            if wish(plan, id) == Wish::Run || course.leaving.is_some() {
                continue;
            }
            let cell = self.topology.cell(course.planned.region, course.planned.class);
            if self.frozen[cell] {
                continue;
            }
            let count = &mut counts[cell];
            let costs_nobody = course.well_at.is_none() || course.failed.is_some();
            let is_seen = sight.hosts.get(course.planned.host.index()).is_some_and(Option::is_some)
                && (sight.answers.is_some() || !self.ground.answers);
            let held = if costs_nobody {
                None
            } else if !is_seen {
                Some(Held::Blind)
            } else if count.run_and_serve < count.run {
                Some(Held::Shortage)
            } else if count.leaving >= self.limits.disruption(count.well) {
                Some(Held::Disruption)
            } else {
                None
            };
            if let Some(held) = held {
                turn.held.insert(id, held);
            } else {
                count.leaving += u32::from(!costs_nobody);
                let unanswered_since = (!self.ground.answers).then_some(at);
                course.leaving = Some(Leaving { since: at, unanswered_since, ending_since: None, gone_since: None });
            }
        }
        self.cells = counts;
    }
}

fn wish(plan: &Plan, vm: VmId) -> Wish {
    let runs = plan.vms.get(&vm).is_some_and(|planned| planned.intent == VmIntent::Running);
    if runs { Wish::Run } else { Wish::Leave }
}
