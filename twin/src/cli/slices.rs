//! `forebay slices`: the slices that stand at a moment of a run, as a table, as JSON, or in the IETF's words.

use anyhow::{Context, anyhow};
use forebay_world::{Duration, Timestamp, Topology};
use serde::Serialize;
use serde_json::{Value, json};

use super::arguments::{SlicesFormat, SlicesOptions};
use super::{Answer, Failure, print};
use crate::report::{Align, Table};
use crate::run::Run;
use crate::scenario::{Overrides, Scenario};
use crate::slicing::service::{SliceService, ietf, services};
use crate::slicing::{GaveWay, rate};
use crate::tick::Tick;

pub(super) fn run(options: &SlicesOptions) -> Result<Answer, Failure> {
    let overrides = Overrides { seed: options.seed, replay: options.replay.clone(), ..Overrides::default() };
    let mut scenario = Scenario::load(&options.scenario, &overrides)?;
    for remark in &scenario.remarks {
        eprintln!("{}: {remark}", scenario.name);
    }
    if options.policy == "oracle" {
        super::run::tune_oracle(&mut scenario)?;
    }
    let tick = tick_at(&scenario, &options.policy, options.at)?;
    let topology = &scenario.setup.topology;
    let services = services(&tick.plan.slices, &tick.plan.steering, topology);
    match options.format {
        SlicesFormat::Table => print(page(&scenario, &options.policy, &tick, &services).as_bytes()),
        SlicesFormat::Json => lines(&as_json(&scenario, &options.policy, &tick, &services)),
        SlicesFormat::Ietf => lines(&ietf::document(&services)),
    }
}

fn lines(value: &impl Serialize) -> Result<Answer, Failure> {
    let mut text = serde_json::to_vec_pretty(value).context("the slices cannot be written as JSON")?;
    text.push(b'\n');
    print(&text)
}

/// The last tick that is not after `at`, from the start of the run; that at its end when none is given.
fn tick_at(scenario: &Scenario, policy: &str, at: Option<Duration>) -> Result<Tick, Failure> {
    let (start, end) = (scenario.setup.start, scenario.setup.end);
    let moment = at.map_or(end, |at| start.saturating_add(at));
    let period = scenario.controller.period;
    let refuse = |why: String| {
        let hint = format!("give a span from {period}, when the first decision is made, to {}", scenario.duration());
        Failure::Other(anyhow!("--at {}: {why}", at.unwrap_or_default()), hint)
    };
    if moment > end {
        return Err(refuse(format!("the run is over after {}", scenario.duration())));
    }
    let mut run = Run::new(scenario, policy)?;
    let mut last: Option<Tick> = None;
    while last.as_ref().is_none_or(|tick| tick.observation.at < moment) {
        match run.tick().context("the run stopped")? {
            Some(tick) if tick.observation.at <= moment => last = Some(tick),
            _ => break,
        }
    }
    last.ok_or_else(|| refuse("nothing has been decided by then".to_owned()))
}

fn gave_way<'a>(tick: &'a Tick, service: &SliceService) -> Option<&'a GaveWay> {
    tick.decision.cells.get(service.slice.index())?.gave_way.as_ref()
}

/// What a slice carried in the window before, and what its sessions would have taken \[bit/s\].
fn carried(tick: &Tick, service: &SliceService) -> Option<(u64, u64)> {
    let seen = tick.observation.slices.iter().find(|seen| seen.slice == service.slice)?;
    Some((seen.used.0, seen.offered.0))
}

fn link<'a>(topology: &'a Topology, service: &SliceService) -> &'a str {
    let region = topology.cell_at(service.slice.index()).0;
    &topology.links[topology.region(region).access.index()].name
}

/// For people.
fn page(scenario: &Scenario, policy: &str, tick: &Tick, services: &[SliceService]) -> String {
    let topology = &scenario.setup.topology;
    let mut table = Table::new(&[
        ("slice", Align::Left),
        ("link", Align::Left),
        ("guarantee", Align::Right),
        ("ceiling", Align::Right),
        ("used", Align::Right),
        ("priority", Align::Right),
        ("weight", Align::Right),
        ("DSCP", Align::Left),
        ("latency", Align::Right),
    ]);
    for service in services {
        let dash = || "–".to_owned();
        table.row([
            service.id.clone(),
            link(topology, service).to_owned(),
            rate(service.objectives.bandwidth),
            rate(service.ceiling),
            carried(tick, service).map_or_else(dash, |(used, _)| rate(forebay_world::BitsPerSecond(used))),
            service.priority.to_string(),
            service.weight.to_string(),
            service.mark.map_or_else(dash, |mark| mark.to_string()),
            service.objectives.latency.map_or_else(dash, |latency| latency.to_string()),
        ]);
    }
    let mut text = format!(
        "{}: policy {policy}, seed {}, plan {} at {}\n\n{table}",
        scenario.name,
        scenario.setup.seed,
        tick.plan.generation,
        moment(scenario, tick.observation.at),
    );
    let mut gave: Vec<String> = services
        .iter()
        .filter_map(|service| Some(format!("{} gave way: {}\n", service.id, gave_way(tick, service)?.reason)))
        .collect();
    if !gave.is_empty() {
        gave.insert(0, "\n".to_owned());
    }
    text.extend(gave);
    text
}

fn moment(scenario: &Scenario, at: Timestamp) -> String {
    format!("{at}, {} from the start", at.since(scenario.setup.start))
}

/// For programs; rates in bit/s.
fn as_json(scenario: &Scenario, policy: &str, tick: &Tick, services: &[SliceService]) -> Value {
    let topology = &scenario.setup.topology;
    let slice = |service: &SliceService| {
        let (region, class) = topology.cell_at(service.slice.index());
        let carried = carried(tick, service);
        let gave_way = gave_way(tick, service).map(|gave_way| {
            json!({
                "asked_bps": gave_way.asked.0,
                "granted_bps": gave_way.granted.0,
                "reason": gave_way.reason,
            })
        });
        json!({
            "slice": service.id,
            "region": topology.region(region).name,
            "class": topology.class(class).name,
            "link": link(topology, service),
            "guarantee_bps": service.objectives.bandwidth.0,
            "ceiling_bps": service.ceiling.0,
            "weight": service.weight,
            "priority": service.priority,
            "dscp": service.mark.map_or(0, crate::slicing::Dscp::number),
            "latency_us": service.objectives.latency.map(|latency| latency.as_nanos() / 1_000),
            "used_bps": carried.map(|(used, _)| used),
            "offered_bps": carried.map(|(_, offered)| offered),
            "gave_way": gave_way,
        })
    };
    json!({
        "scenario": scenario.name,
        "policy": policy,
        "seed": scenario.setup.seed,
        "at": tick.observation.at,
        "generation": tick.plan.generation,
        "slices": services.iter().map(slice).collect::<Vec<_>>(),
    })
}
