//! Says what happens, a line a tick or a tick for the screen, and what has changed beside it.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::sync::Arc;

use forebay_sim::Score;
use forebay_world::{Observation, Plan, VmId, VmState};
use serde_json::json;

use super::super::print;
use super::voice::Voice;
use super::{Failure, Production, World};
use crate::decision::Decision;
use crate::tick::Tick;
use crate::tui::Feed;
use crate::tui::alert::Severity;
use crate::watch::EventWatch;

/// Where a tick is told.
pub(super) enum Told {
    /// A line for people.
    Line,
    /// A JSON object.
    Json,
    /// The terminal UI.
    Screen(Feed),
    /// Whoever read has gone.
    Nobody,
}

pub(super) struct Teller {
    pub(super) production: Arc<Production>,
    pub(super) events: EventWatch,
    pub(super) voice: Voice,
    pub(super) told: Told,
    pub(super) troubles: Vec<(String, String)>,
    pub(super) proposed: Vec<VmId>,
    pub(super) failed: BTreeSet<VmId>,
    pub(super) ticks: u64,
}

impl Teller {
    pub(super) fn tick(
        &mut self,
        world: &World,
        seen: &Arc<Observation>,
        plan: &Arc<Plan>,
        decision: &Arc<Decision>,
    ) -> Result<(), Failure> {
        self.tell_troubles(world);
        self.tell_proposals(world, decision);
        self.tell_failures(seen);
        let index = self.ticks;
        self.ticks += 1;
        let line = match &self.told {
            Told::Nobody => return Ok(()),
            Told::Screen(feed) => {
                feed.push(Tick {
                    index,
                    observation: Arc::clone(seen),
                    decision: Arc::clone(decision),
                    plan: Arc::clone(plan),
                    // What happens is told as it happens; what clients missed is known of twins only, and not shown.
                    occurrences: Arc::from([]),
                    score: Arc::new(Score::default()),
                    events_processed: 0,
                });
                return Ok(());
            }
            Told::Line => self.line(world, seen, plan),
            Told::Json => self.json(world, seen, plan, decision),
        };
        print(format!("{line}\n").as_bytes())?;
        io::stdout().flush().map_err(Failure::stdout)
    }

    fn tell_troubles(&mut self, world: &World) {
        let mut troubles = world.troubles();
        troubles.extend(self.events.troubles());
        for (what, why) in troubles.iter().filter(|trouble| !self.troubles.contains(trouble)) {
            self.voice.say(Severity::Warning, &format!("{what} is not seen: {why}"));
        }
        for (what, _) in self.troubles.iter().filter(|(what, _)| !troubles.iter().any(|(other, _)| other == what)) {
            self.voice.say(Severity::Clear, &format!("{what} is seen again"));
        }
        self.troubles = troubles;
    }

    fn tell_proposals(&mut self, world: &World, decision: &Decision) {
        let topology = &self.production.topology;
        let proposed: Vec<VmId> = world.proposals().map(|proposal| proposal.vm).collect();
        for proposal in world.proposals().filter(|proposal| !self.proposed.contains(&proposal.vm)) {
            let (region, class) = (proposal.planned.region, proposal.planned.class);
            let what = if proposal.is_launch { "launch" } else { "drain" };
            let reason = &decision.cells[topology.cell(region, class)].reason;
            let cell = format!("{}/{}", topology.region(region).name, topology.class(class).name);
            let vm = proposal.vm;
            self.voice.say(Severity::Notice, &format!("would {what} {vm} in {cell}: {reason}; type: yes {vm}"));
        }
        self.proposed = proposed;
    }

    fn tell_failures(&mut self, seen: &Observation) {
        let topology = &self.production.topology;
        let failed = seen.vms.iter().filter(|vm| vm.state == VmState::Failed);
        let known = std::mem::replace(&mut self.failed, failed.clone().map(|vm| vm.id).collect());
        for vm in failed.filter(|vm| !known.contains(&vm.id)) {
            let (region, class) = (&topology.region(vm.region).name, &topology.class(vm.class).name);
            self.voice.show(Severity::Warning, &format!("{region} {} failed, {class}", vm.id));
        }
    }

    fn line(&self, world: &World, seen: &Observation, plan: &Plan) -> String {
        let Counted { ready, coming, draining, failed, queries } = Counted::of(seen);
        let unseen = seen.demand.iter().filter(|demand| demand.is_none()).count();
        let held = world.held().len();
        let mut line = format!(
            "{} plan {}: {ready} ready, {coming} coming, {draining} draining, {failed} failed; {queries} queries; coverage {:.0} %",
            seen.at,
            plan.generation,
            seen.coverage * 100.0
        );
        if unseen > 0 {
            line.push_str(&format!("; demand of {unseen} cells not seen"));
        }
        if held > 0 {
            line.push_str(&format!("; {held} held back"));
        }
        line
    }

    fn json(&self, world: &World, seen: &Observation, plan: &Plan, decision: &Decision) -> String {
        let topology = &self.production.topology;
        let Counted { ready, coming, draining, failed, queries } = Counted::of(seen);
        let cells: Vec<_> = decision
            .cells
            .iter()
            .map(|cell| {
                json!({
                    "region": topology.region(cell.region).name, "class": topology.class(cell.class).name,
                    "ready": cell.ready, "coming": cell.coming, "draining": cell.draining,
                    "sessions": cell.sessions, "asked": cell.asked, "planned": cell.planned,
                    "bound_by": cell.bound_by, "reason": cell.reason,
                })
            })
            .collect();
        let held: Vec<_> =
            world.held().iter().map(|(vm, held)| json!({"vm": vm, "held": format!("{held:?}")})).collect();
        let counts = world.counts();
        json!({
            "at": seen.at, "generation": plan.generation, "coverage": seen.coverage, "queries": queries,
            "ready": ready, "coming": coming, "draining": draining, "failed": failed,
            "orders": counts.orders, "failed_orders": counts.failed, "stopped": counts.stopped, "writes": counts.writes,
            "held": held, "cells": cells,
        })
        .to_string()
    }
}

/// What a line counts.
struct Counted {
    ready: usize,
    coming: usize,
    draining: usize,
    failed: usize,
    queries: u64,
}

impl Counted {
    fn of(seen: &Observation) -> Counted {
        let count = |state: fn(VmState) -> bool| seen.vms.iter().filter(|vm| state(vm.state)).count();
        Counted {
            ready: count(|state| state == VmState::Ready),
            coming: count(VmState::is_coming),
            draining: count(|state| state == VmState::Draining),
            failed: count(|state| state == VmState::Failed),
            queries: seen.demand.iter().flatten().map(|demand| demand.queries).sum(),
        }
    }
}
