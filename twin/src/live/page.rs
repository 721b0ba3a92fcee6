//! Live mode as metrics for Prometheus: what was seen and decided, what was ordered and what came of it, and what might keep
//! anything from being done.

use std::collections::BTreeMap;

use forebay_adapters::metrics::{Kind, Page};
use forebay_world::{Duration, Observation, VmState};

use super::crew::Crew;
use super::world::LiveWorld;
use crate::decision::Decision;
use crate::deployment::rollout::Held;
use crate::watch::Pace;
use crate::watch::page::{CellFigures, add_ages, add_cells, add_ticks};

/// What stands in the names.
const MODE: &str = "live";

/// What a page tells beside what the world knows.
#[derive(Clone, Copy, Debug)]
pub struct Governed<'a> {
    /// What was seen and decided at the last tick; none before the first.
    pub last: Option<(&'a Observation, &'a Decision)>,
    /// Ticks so far.
    pub ticks: u64,
    /// From the end of the last window to its decision, written down.
    pub tick_took: Duration,
    /// Ticks at which the plan was not taken, or nothing could be seen.
    pub missed: u64,
    /// The term.
    pub epoch: u64,
    /// Time for which the lease holds without another renewal.
    pub lease_left: Duration,
    /// Whether the kill switch lets anything through.
    pub is_open: bool,
    /// What does not answer, and why.
    pub silent: &'a [(String, String)],
}

/// What there is to measure now.
pub fn page<P: Pace, C: Crew>(world: &LiveWorld<P, C>, governed: &Governed<'_>) -> Page {
    let production = world.production();
    let mut page = Page::default();
    let coverage = governed.last.map_or(0.0, |(seen, _)| seen.coverage);
    let names = (production.name.as_str(), production.policy.as_str());
    add_ticks(&mut page, MODE, names, governed.ticks, coverage, governed.silent);
    add_state(&mut page, governed);
    if let Some((seen, decision)) = governed.last {
        add_production(&mut page, world, seen, decision);
    }
    add_orders(&mut page, world);
    add_ages(&mut page, MODE, production, world.board(), world.present());
    page
}

fn add_state(page: &mut Page, governed: &Governed<'_>) {
    let mut gauge = |name: &str, help: &str, value: f64| page.family(name, Kind::Gauge, help, [(vec![], value)]);
    gauge("forebay_live_lease_epoch", "The term in which this instance writes.", governed.epoch as f64);
    let left = governed.lease_left.as_secs_f64();
    gauge("forebay_live_lease_left_seconds", "Time for which the lease holds without another renewal.", left);
    let open = f64::from(u8::from(governed.is_open));
    gauge("forebay_live_kill_switch_open", "1 while writes are let through, 0 while the kill switch is closed.", open);
    let took = governed.tick_took.as_secs_f64();
    gauge("forebay_live_tick_duration_seconds", "From the end of the last window to its decision, written down.", took);
    let help = "Ticks at which nothing could be seen, or the plan was not taken.";
    page.family("forebay_live_ticks_missed_total", Kind::Counter, help, [(vec![], governed.missed as f64)]);
}

fn add_production<P: Pace, C: Crew>(page: &mut Page, world: &LiveWorld<P, C>, seen: &Observation, decision: &Decision) {
    let topology = &world.production().topology;
    let cells: Vec<CellFigures<'_>> = decision
        .cells
        .iter()
        .map(|cell| CellFigures {
            region: &topology.region(cell.region).name,
            class: &topology.class(cell.class).name,
            started_per_second: cell.requests.map(|requests| requests.per_second),
            sessions: cell.sessions,
            forecast: cell.forecast,
        })
        .collect();
    add_cells(page, MODE, &cells);
    let mut counts: Vec<BTreeMap<&'static str, u32>> = vec![BTreeMap::new(); topology.cells()];
    for vm in &seen.vms {
        *counts[topology.cell(vm.region, vm.class)].entry(state(vm.state)).or_default() += 1;
    }
    let labelled = |cell: usize, word: &'static str, value: &'static str| {
        let (region, class) = topology.cell_at(cell);
        let (region, class) = (topology.region(region).name.as_str(), topology.class(class).name.as_str());
        vec![("region", region), ("class", class), (word, value)]
    };
    let machines = counts.iter().enumerate().flat_map(|(cell, counts)| {
        STATES.map(|state| (labelled(cell, "state", state), f64::from(counts.get(state).copied().unwrap_or_default())))
    });
    page.family("forebay_live_machines", Kind::Gauge, "Machines of ours, by how far they are.", machines);
    let wanted = decision.cells.iter().enumerate().flat_map(|(index, cell)| {
        [("asked", cell.asked), ("granted", cell.granted), ("planned", cell.planned)]
            .map(|(by, count)| (labelled(index, "by", by), f64::from(count)))
    });
    let help = "Machines that the policy asked for, that the guard let through, and that the plan has.";
    page.family("forebay_live_machines_wanted", Kind::Gauge, help, wanted);
    let links = seen.links.iter().flatten().map(|link| {
        let name = topology.links.get(link.link.index()).map_or("?", |link| link.name.as_str());
        (vec![("link", name)], link.used.as_f64() / 8.0)
    });
    page.family("forebay_live_link_bytes_per_second", Kind::Gauge, "Use of links, as measured.", links);
}

fn add_orders<P: Pace, C: Crew>(page: &mut Page, world: &LiveWorld<P, C>) {
    let counts = world.counts();
    let outcomes = [("done", &counts.done), ("failed", &counts.failed), ("refused", &counts.refused)];
    let orders = outcomes.iter().flat_map(|(outcome, orders)| {
        orders.iter().map(move |(order, count)| (vec![("order", *order), ("outcome", *outcome)], *count as f64))
    });
    let help = "Orders that are over; refused are those that kill switch, lease or ledger did not let through.";
    page.family("forebay_live_orders_total", Kind::Counter, help, orders);
    let writes = counts.writes as f64;
    page.family("forebay_live_writes_total", Kind::Counter, "Writes to production.", [(vec![], writes)]);
    let out = world.out().len() as f64;
    page.family("forebay_live_orders_out", Kind::Gauge, "Orders that are out.", [(vec![], out)]);
    let held = Held::ALL.map(|why| {
        let count = world.held().values().filter(|held| **held == why).count();
        (vec![("reason", why.name())], count as f64)
    });
    page.family("forebay_live_held", Kind::Gauge, "Machines of which something was held back, by why.", held);
    let open = world.breakers().iter().filter(|(.., is_open)| *is_open).count() as f64;
    let help = "Endpoints that failed so often that nothing is tried there for now.";
    page.family("forebay_live_breakers_open", Kind::Gauge, help, [(vec![], open)]);
    let proposals = world.proposals().count() as f64;
    page.family("forebay_live_proposals", Kind::Gauge, "What waits for a person's yes.", [(vec![], proposals)]);
    let help = "Price of the machines that stand or are being made, in currency units an hour.";
    page.family("forebay_live_cost_per_hour", Kind::Gauge, help, [(vec![], world.spending())]);
    let budget = world.production().controller.guard.budget_per_hour;
    let help = "What machines may cost, in currency units an hour; absent where nothing was set.";
    page.family("forebay_live_budget_per_hour", Kind::Gauge, help, budget.map(|budget| (vec![], budget)));
    let is_halted = f64::from(u8::from(world.halted().is_some()));
    let help = "1 when nothing is ordered any more because it cannot be written down.";
    page.family("forebay_live_halted", Kind::Gauge, help, [(vec![], is_halted)]);
}

const STATES: [&str; 6] = ["requested", "booting", "warming", "ready", "draining", "failed"];

fn state(state: VmState) -> &'static str {
    match state {
        VmState::Requested => "requested",
        VmState::Booting => "booting",
        VmState::Warming => "warming",
        VmState::Ready => "ready",
        VmState::Draining => "draining",
        VmState::Failed => "failed",
    }
}
