//! One tick, told: what was seen, what would have been done and why, what production did, and where the twin of theirs and
//! production differ. A line of `ticks.jsonl`.

use std::collections::BTreeMap;

use forebay_world::{Duration, Observation, Plan, Timestamp, VmIntent};
use serde::Serialize;

use super::figures::Figure;
use super::fleet::Change;
use super::steered::{AnswerReport, SteeringReport};
use super::world::ShadowWorld;
use crate::decision::{Bound, Decision, Fan};
use crate::watch::Pace;

/// One tick.
#[derive(Clone, Debug, Serialize)]
pub struct TickReport {
    /// End of the window.
    pub at: Timestamp,
    /// Its length \[s\].
    pub window_seconds: f64,
    /// Share of the sources that were heard from, 0 to 1.
    pub coverage: f64,
    /// What does not answer, and why.
    pub silent: Vec<Silent>,
    /// Generation of our plan in force after it.
    pub generation: u64,
    /// Every region × class.
    pub cells: Vec<CellReport>,
    /// Machines that production launched in the window.
    pub launched: Vec<MachineReport>,
    /// Machines of production that take no new sessions from then on.
    pub drained: Vec<MachineReport>,
    /// Machines of production that ended in it.
    pub ended: Vec<MachineReport>,
    /// What production's name server answers, class by class, where that was seen.
    pub answers: Vec<AnswerReport>,
    /// Where it sends clients, region × class by region × class, where that is known.
    pub steering: Vec<SteeringReport>,
    /// Links whose use was measured.
    pub links: Vec<LinkReport>,
    /// Since it began: what ours and theirs would be judged by.
    pub figures: BTreeMap<&'static str, Figure>,
}

/// What does not answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Silent {
    /// As operators know it.
    pub source: String,
    /// Why.
    pub why: String,
}

/// A machine of production.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MachineReport {
    /// When.
    pub at: Timestamp,
    /// What it is called.
    pub name: String,
    /// Where.
    pub region: String,
    /// For what.
    pub class: String,
}

/// One region × class.
#[derive(Clone, Debug, Serialize)]
pub struct CellReport {
    /// Region.
    pub region: String,
    /// Class.
    pub class: String,
    /// What its clients asked for; absent where nothing was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demand: Option<DemandReport>,
    /// Sessions to be served here, as the controller sees them; absent where nothing was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<f64>,
    /// What we would have done.
    pub ours: OursReport,
    /// What production has; absent where its machines were not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub production: Option<ProductionReport>,
}

/// What clients asked for.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DemandReport {
    /// Queries that were seen.
    pub queries: u64,
    /// Sessions that began \[1/s\] …
    pub sessions_per_second: f64,
    /// … and the standard error of that \[1/s\].
    pub standard_error: f64,
}

/// What we would have done.
#[derive(Clone, Debug, Serialize)]
pub struct OursReport {
    /// Machines that our plan wants running.
    pub wanted: u32,
    /// Machines of the twin that take new sessions …
    pub ready: u32,
    /// … are on their way …
    pub coming: u32,
    /// … and finish what they have.
    pub draining: u32,
    /// Machines that the policy asked for …
    pub asked: u32,
    /// … and the guard let through.
    pub granted: u32,
    /// What bound between them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bound_by: Vec<Bound>,
    /// Sessions expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Fan>,
    /// Why, in words.
    pub why: String,
}

/// What production has, and how the twin of theirs differs from it.
#[derive(Clone, Debug, Serialize)]
pub struct ProductionReport {
    /// Machines that stand …
    pub machines: u32,
    /// … take new sessions …
    pub ready: u32,
    /// … are on their way …
    pub coming: u32,
    /// … and finish what they have.
    pub draining: u32,
    /// Addresses here to which the name server sends clients; absent where that was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<u32>,
    /// Machines of the twin of theirs.
    pub twin_machines: u32,
    /// Sessions on its machines, where all of them say …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<f64>,
    /// … and in the twin of theirs.
    pub twin_sessions: f64,
}

/// A link whose use was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkReport {
    /// Its name.
    pub link: String,
    /// What it carried \[bit/s\] …
    pub used: u64,
    /// … and in the twin of theirs \[bit/s\].
    pub twin_used: u64,
}

impl TickReport {
    /// What there is to say of a tick of `world`, after it was decided.
    pub fn new<P: Pace>(world: &ShadowWorld<P>, seen: &Observation, decision: &Decision, plan: &Plan) -> TickReport {
        let production = world.production();
        let (topology, last) = (&production.topology, &world.last);
        let counts = world.fleet.counts(production, seen.at);
        let machines_seen = world.fleet.seen(production, seen.at);
        let mut wanted = vec![0; topology.cells()];
        for vm in plan.vms.values().filter(|vm| vm.intent == VmIntent::Running) {
            wanted[topology.cell(vm.region, vm.class)] += 1;
        }
        let cells = decision.cells.iter().enumerate().map(|(cell, decided)| {
            let (region, class) = (decided.region, decided.class);
            let demand = last.rates[cell].map(|rate| DemandReport {
                queries: seen.demand[cell].as_ref().map_or(0, |demand| demand.queries),
                sessions_per_second: rate.per_second,
                standard_error: rate.standard_error,
            });
            let count = counts[cell];
            CellReport {
                region: topology.region(region).name.clone(),
                class: topology.class(class).name.clone(),
                demand,
                sessions: decided.sessions,
                ours: OursReport {
                    wanted: wanted[cell],
                    ready: decided.ready,
                    coming: decided.coming,
                    draining: decided.draining,
                    asked: decided.asked,
                    granted: decided.granted,
                    bound_by: decided.bound_by.clone(),
                    forecast: decided.forecast,
                    why: decided.reason.clone(),
                },
                production: machines_seen[region.index()].then(|| ProductionReport {
                    machines: count.machines,
                    ready: count.ready,
                    coming: count.coming,
                    draining: count.draining,
                    answered: world.answered(region, class),
                    twin_machines: last.twin_machines(region, class),
                    sessions: last.sessions[cell],
                    twin_sessions: last.twin_sessions(region, class),
                }),
            }
        });
        let turns = |is_meant: fn(&Change) -> bool| {
            let told = last.changes.iter().filter(|change| is_meant(change)).map(|change| MachineReport {
                at: change.at,
                name: change.name.clone(),
                region: topology.region(change.region).name.clone(),
                class: topology.class(change.class).name.clone(),
            });
            told.collect()
        };
        TickReport {
            at: seen.at,
            window_seconds: seen.window.as_secs_f64(),
            coverage: seen.coverage,
            silent: world.troubles().into_iter().map(|(source, why)| Silent { source, why }).collect(),
            generation: plan.generation.0,
            cells: cells.collect(),
            launched: turns(|change| change.is_turn && change.stands.is_some()),
            drained: turns(Change::is_drain),
            ended: turns(|change| change.is_turn && change.stands.is_none()),
            answers: world.answers(),
            steering: world.steering(),
            links: world.links(),
            figures: world.ledger.figures(None),
        }
    }

    /// For people, in one line.
    pub fn line(&self) -> String {
        let sum = |of: fn(&CellReport) -> u32| self.cells.iter().map(of).sum::<u32>();
        let rates: Vec<f64> = self.cells.iter().filter_map(|cell| Some(cell.demand?.sessions_per_second)).collect();
        let unknown = self.cells.len() - rates.len();
        let demand = match rates.len() {
            0 => "demand unknown".to_owned(),
            _ if unknown > 0 => format!("{:.1} sessions/s, {unknown} cells unknown", rates.iter().sum::<f64>()),
            _ => format!("{:.1} sessions/s", rates.iter().sum::<f64>()),
        };
        let production = match self.cells.iter().filter(|cell| cell.production.is_none()).count() {
            0 => {
                let machines = sum(|cell| cell.production.as_ref().map_or(0, |production| production.machines));
                format!("production has {machines}")
            }
            _ => "production unknown".to_owned(),
        };
        let mut text = format!(
            "{}  {:.0} % heard  {demand}  {production}  we would have {} (ready {}, coming {})",
            self.at.floor_to(Duration::from_secs(1)),
            self.coverage * 100.0,
            sum(|cell| cell.ours.wanted),
            sum(|cell| cell.ours.ready),
            sum(|cell| cell.ours.coming),
        );
        for (word, machines) in [("launched", &self.launched), ("drained", &self.drained), ("ended", &self.ended)] {
            if !machines.is_empty() {
                let names: Vec<&str> = machines.iter().map(|machine| machine.name.as_str()).take(5).collect();
                let more = if machines.len() > names.len() { ", …" } else { "" };
                text.push_str(&format!("  it {word} {}{more}", names.join(", ")));
            }
        }
        for silent in &self.silent {
            text.push_str(&format!("\n  {} does not answer: {}", silent.source, silent.why));
        }
        text
    }
}

impl<P: Pace> ShadowWorld<P> {
    /// Links whose use was measured in the last window.
    pub(super) fn links(&self) -> Vec<LinkReport> {
        let links = self.last.links.iter().zip(&self.last.twin_links).zip(&self.production().topology.links);
        let told = links.filter_map(|((measured, twin), link)| {
            let (used, twin_used) = (measured.as_ref()?.used.0, twin.as_ref()?.used.0);
            Some(LinkReport { link: link.name.clone(), used, twin_used })
        });
        told.collect()
    }
}
