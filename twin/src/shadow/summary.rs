//! A day in shadow, summed up: as JSON, and as Markdown for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use forebay_world::{Duration, Timestamp};
use serde::Serialize;

use super::figures::{Estimate, Figure, Sums};
use super::fleet::Counts;
use super::hindcast::{self, ForecastScore};
use super::world::ShadowWorld;
use crate::watch::Pace;

/// What was when a day began, to be taken off at its end.
#[derive(Clone, Debug)]
struct Since {
    at: Timestamp,
    sums: Vec<(Sums, Sums)>,
    known_minutes: Vec<f64>,
    unknown_minutes: Vec<f64>,
    counts: Vec<Counts>,
    would: Vec<(u64, u64)>,
    forecasts: Vec<hindcast::Sums>,
    ticks: u64,
    apart: Apart,
}

/// How far the twin of theirs was from production, summed over ticks.
#[derive(Clone, Debug, Default)]
struct Apart {
    /// By link: ticks, measured, in the twin, apart \[bit/s\].
    links: BTreeMap<String, [f64; 4]>,
    /// By cell: ticks, counted, in the twin, apart \[sessions\].
    sessions: BTreeMap<usize, [f64; 4]>,
    /// By cell: ticks, share of clients sent elsewhere.
    steering: BTreeMap<usize, [f64; 2]>,
    /// Cells at ticks in which the twin had other machines than production.
    machines: u64,
}

/// Adds up a day.
#[derive(Clone, Debug)]
pub struct Day {
    since: Since,
    apart: Apart,
    ticks: u64,
    until: Timestamp,
}

/// A day, or a part of one.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Production by name.
    pub production: String,
    /// Policy by name.
    pub policy: String,
    /// From when on …
    pub from: Timestamp,
    /// … until when.
    pub until: Timestamp,
    /// Ticks in it.
    pub ticks: u64,
    /// Replicates that the intervals rest on.
    pub replicates: usize,
    /// What ours and theirs would be judged by.
    pub figures: BTreeMap<&'static str, Figure>,
    /// Forecasts against what came, over all cells.
    pub forecast: ForecastScore,
    /// Time of cells that was seen \[min\] …
    pub known_minutes: f64,
    /// … and that was not, and counts for nothing \[min\].
    pub unknown_minutes: f64,
    /// Every region × class.
    pub cells: Vec<CellSummary>,
    /// Links that were measured.
    pub links: Vec<ApartSummary>,
    /// Sessions that were counted, by region and class.
    pub sessions: Vec<ApartSummary>,
    /// Clients that production's name server sent somewhere, by region and class.
    pub steering: Vec<SteeredSummary>,
    /// Cells at ticks in which the twin of theirs had other machines than production.
    pub machines_apart: u64,
    /// Machines that stand and count for nothing.
    pub strangers: Vec<String>,
    /// Machines with our mark whose class nothing tells.
    pub unplaced: u32,
}

/// One region × class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellSummary {
    /// Region.
    pub region: String,
    /// Class.
    pub class: String,
    /// What production did; absent where its machines were never seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub production: Option<DidSummary>,
    /// What we would have done.
    pub ours: WouldSummary,
    /// Forecasts against what came.
    pub forecast: ForecastScore,
    /// Time that was seen \[min\] …
    pub known_minutes: f64,
    /// … and that was not \[min\].
    pub unknown_minutes: f64,
}

/// What production did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DidSummary {
    /// Launches that were seen.
    pub launches: u64,
    /// Machines that take no new sessions from then on, as far as that was seen before they ended.
    pub drains: u64,
    /// Ends that were seen.
    pub ends: u64,
    /// Hours of machines that were seen to stand.
    pub vm_hours: f64,
    /// Hours of machines that stood between two looks too far apart to say so of.
    pub unseen_vm_hours: f64,
}

/// What we would have done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WouldSummary {
    /// Launches.
    pub launches: u64,
    /// Ends.
    pub ends: u64,
}

/// How far the twin of theirs was from what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ApartSummary {
    /// Link, or region/class.
    pub of: String,
    /// Ticks in which it was measured.
    pub ticks: u64,
    /// Mean that was measured.
    pub measured: f64,
    /// Mean in the twin.
    pub twin: f64,
    /// Mean distance, as a share of what was measured; absent where that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apart: Option<f64>,
}

/// Where clients were sent, beside where ours would have sent them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SteeredSummary {
    /// Region/class of the clients.
    pub of: String,
    /// Ticks in which it was seen.
    pub ticks: u64,
    /// Mean share of the clients whom production sent to other regions than ours would have, 0 to 1.
    pub apart: f64,
}

impl Day {
    /// A day that begins now.
    pub fn new<P: Pace>(world: &ShadowWorld<P>, at: Timestamp) -> Day {
        let (known, unknown) = world.ledger.minutes();
        let since = Since {
            at,
            sums: world.ledger.sums().to_vec(),
            known_minutes: known.to_vec(),
            unknown_minutes: unknown.to_vec(),
            counts: world.fleet.counts(world.production(), at),
            would: world.would.clone(),
            forecasts: world.hindcast.sums().to_vec(),
            ticks: 0,
            apart: Apart::default(),
        };
        Day { apart: since.apart.clone(), ticks: since.ticks, since, until: at }
    }

    /// Takes in the tick that ended at `at`.
    pub fn take<P: Pace>(&mut self, world: &ShadowWorld<P>, at: Timestamp) {
        self.ticks += 1;
        self.until = at;
        let add = |sums: &mut [f64; 4], measured: f64, twin: f64| {
            for (sum, more) in sums.iter_mut().zip([1.0, measured, twin, (measured - twin).abs()]) {
                *sum += more;
            }
        };
        for link in world.links() {
            add(self.apart.links.entry(link.link).or_default(), link.used as f64, link.twin_used as f64);
        }
        let production = world.production();
        for (cell, apart) in world.steered_apart() {
            let sums = self.apart.steering.entry(cell).or_default();
            *sums = [sums[0] + 1.0, sums[1] + apart];
        }
        let (counts, seen) = (world.fleet.counts(production, at), world.fleet.seen(production, at));
        for (cell, (region, class)) in production.topology.cell_ids().enumerate() {
            if let Some(measured) = world.last.sessions.get(cell).copied().flatten() {
                add(self.apart.sessions.entry(cell).or_default(), measured, world.last.twin_sessions(region, class));
            }
            let is_apart = counts[cell].machines != world.last.twin_machines(region, class);
            self.apart.machines += u64::from(seen[region.index()] && is_apart);
        }
    }

    /// Ticks so far.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// The day, as far as it has come.
    pub fn summary<P: Pace>(&self, world: &ShadowWorld<P>, policy: &str) -> Summary {
        let production = world.production();
        let topology = &production.topology;
        let (known, unknown) = world.ledger.minutes();
        let counts = world.fleet.counts(production, self.until);
        let ever_seen = world.fleet.ever_seen(production);
        let name = |cell: usize| {
            let (region, class) = topology.cell_at(cell);
            (topology.region(region).name.clone(), topology.class(class).name.clone())
        };
        let forecasts: Vec<hindcast::Sums> =
            world.hindcast.sums().iter().zip(&self.since.forecasts).map(|(now, before)| now.since(before)).collect();
        let cells: Vec<CellSummary> = (0..topology.cells())
            .map(|cell| {
                let (now, before) = (&counts[cell], &self.since.counts[cell]);
                let (region, class) = name(cell);
                CellSummary {
                    region,
                    class,
                    production: ever_seen[topology.cell_at(cell).0.index()].then(|| DidSummary {
                        launches: now.launches - before.launches,
                        drains: now.drains - before.drains,
                        ends: now.ends - before.ends,
                        // What stood before the day is not of it, also where it was counted only later.
                        vm_hours: (now.vm_hours - before.vm_hours).max(0.0),
                        unseen_vm_hours: (now.unseen_hours - before.unseen_hours).max(0.0),
                    }),
                    ours: WouldSummary {
                        launches: world.would[cell].0 - self.since.would[cell].0,
                        ends: world.would[cell].1 - self.since.would[cell].1,
                    },
                    forecast: forecasts[cell].told(),
                    known_minutes: known[cell] - self.since.known_minutes[cell],
                    unknown_minutes: unknown[cell] - self.since.unknown_minutes[cell],
                }
            })
            .collect();
        let apart = |of: String, [ticks, measured, twin, apart]: [f64; 4]| ApartSummary {
            of,
            ticks: ticks as u64,
            measured: measured / ticks,
            twin: twin / ticks,
            apart: (measured > 0.0).then(|| apart / measured),
        };
        let joined = |cell: usize| {
            let (region, class) = name(cell);
            format!("{region}/{class}")
        };
        let (strangers, unplaced) = world.fleet.unknown();
        let steered = |cell: usize, sums: &[f64; 2]| {
            let [ticks, apart] = *sums;
            SteeredSummary { of: joined(cell), ticks: ticks as u64, apart: apart / ticks }
        };
        Summary {
            production: production.name.clone(),
            policy: policy.to_owned(),
            from: self.since.at,
            until: self.until,
            ticks: self.ticks,
            replicates: world.ledger.sums().len(),
            figures: world.ledger.figures(Some(&self.since.sums)),
            forecast: forecasts.iter().fold(hindcast::Sums::default(), |all, one| all.plus(one)).told(),
            known_minutes: cells.iter().map(|cell| cell.known_minutes).sum(),
            unknown_minutes: cells.iter().map(|cell| cell.unknown_minutes).sum(),
            cells,
            links: self.apart.links.iter().map(|(link, sums)| apart(link.clone(), *sums)).collect(),
            sessions: self.apart.sessions.iter().map(|(cell, sums)| apart(joined(*cell), *sums)).collect(),
            steering: self.apart.steering.iter().map(|(cell, sums)| steered(*cell, sums)).collect(),
            machines_apart: self.apart.machines,
            strangers: strangers.iter().cloned().collect(),
            unplaced,
        }
    }
}

impl Summary {
    /// For people.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let second = |at: Timestamp| at.floor_to(Duration::from_secs(1));
        let _ = writeln!(text, "# {} in shadow, {} to {}\n", self.production, second(self.from), second(self.until));
        let cells_seen = self.known_minutes / (self.known_minutes + self.unknown_minutes).max(1e-9) * 100.0;
        let _ = writeln!(
            text,
            "Policy {}, {} ticks, {} replicates. {cells_seen:.0} % of the time of all cells was seen; the rest counts for nothing.\n",
            self.policy, self.ticks, self.replicates
        );
        let _ = writeln!(text, "| | ours | production (twin) | difference |\n|---|--:|--:|--:|");
        for (name, _) in super::METRICS {
            let Some(figure) = self.figures.get(name) else { continue };
            let digits = if name == "slo_violation_minutes" { 1 } else { 3 };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                name.replace("slo", "SLO").replace("vm_hours", "VM-hours").replace('_', " "),
                shown(&figure.ours, digits, false),
                figure.theirs.map_or("unknown".to_owned(), |theirs| shown(&theirs, digits, false)),
                figure.difference.map_or("unknown".to_owned(), |difference| shown(&difference, digits, true))
            );
        }
        let _ = writeln!(text, "\nMeans over replicates with 95 % confidence intervals; differences are paired.\n");
        self.write_cells(&mut text);
        self.write_forecasts(&mut text);
        self.write_divergence(&mut text);
        text
    }

    fn write_cells(&self, text: &mut String) {
        let _ = writeln!(text, "## What production did, and what we would have done\n");
        let _ = writeln!(
            text,
            "| region | class | launches | drains | ends | VM-hours | not seen | our launches | our ends | minutes unknown |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
        );
        for cell in &self.cells {
            let would = &cell.ours;
            let did = cell.production.as_ref().map_or_else(
                || "unknown | unknown | unknown | unknown | unknown".to_owned(),
                |did| {
                    let DidSummary { launches, drains, ends, vm_hours, unseen_vm_hours } = did;
                    format!("{launches} | {drains} | {ends} | {vm_hours:.3} | {unseen_vm_hours:.3}")
                },
            );
            let _ = writeln!(
                text,
                "| {} | {} | {did} | {} | {} | {:.1} |",
                cell.region, cell.class, would.launches, would.ends, cell.unknown_minutes
            );
        }
        if !self.strangers.is_empty() {
            let names: Vec<&str> = self.strangers.iter().map(String::as_str).take(12).collect();
            let _ = writeln!(
                text,
                "\nMachines that fit no `[[shadow.incumbent]]` and count for nothing, {}: {}{}",
                self.strangers.len(),
                names.join(", "),
                if self.strangers.len() > names.len() { ", …" } else { "" }
            );
        }
        if self.unplaced > 0 {
            let _ = writeln!(text, "\nMachines that bear our mark and whose class nothing tells: {}", self.unplaced);
        }
        text.push('\n');
    }

    fn write_forecasts(&self, text: &mut String) {
        let _ = writeln!(text, "## Forecasts against what came\n");
        let told = |score: &ForecastScore| {
            let percent =
                |share: Option<f64>| share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0));
            let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
            format!(
                "{} | {} | {} | {} | {} | {}",
                score.scored,
                score.unknown,
                percent(score.coverage80),
                number(score.pinball),
                number(score.wql),
                percent(score.bias)
            )
        };
        let _ = writeln!(
            text,
            "| region | class | scored | unknown | in p10..p90 | pinball | wQL | bias |\n|---|---|--:|--:|--:|--:|--:|--:|"
        );
        for cell in &self.cells {
            let _ = writeln!(text, "| {} | {} | {} |", cell.region, cell.class, told(&cell.forecast));
        }
        let _ = writeln!(text, "| all | all | {} |\n", told(&self.forecast));
    }

    fn write_divergence(&self, text: &mut String) {
        let _ = writeln!(text, "## Where the twin and production differ\n");
        if self.links.is_empty() && self.sessions.is_empty() {
            let _ = writeln!(text, "No link and no session was measured.");
        }
        for (what, unit, divisor, list) in
            [("Link", "Mbit/s", 1e6, &self.links), ("Sessions of", "sessions", 1.0, &self.sessions)]
        {
            for one in list {
                let apart = one.apart.map_or(String::new(), |apart| format!(", {:.1} % apart", apart * 100.0));
                let _ = writeln!(
                    text,
                    "- {what} {}: {:.2} {unit} measured, {:.2} in the twin{apart} ({} ticks)",
                    one.of,
                    one.measured / divisor,
                    one.twin / divisor,
                    one.ticks
                );
            }
        }
        for steered in &self.steering {
            let share = steered.apart * 100.0;
            let _ = writeln!(
                text,
                "- Clients of {}: {share:.1} % sent to other regions than we would have sent them ({} ticks)",
                steered.of, steered.ticks
            );
        }
        let _ = writeln!(text, "- Machines: other than production's in {} cells at ticks", self.machines_apart);
    }
}

fn shown(estimate: &Estimate, digits: usize, is_signed: bool) -> String {
    let mean = if is_signed { format!("{:+.digits$}", estimate.mean) } else { format!("{:.digits$}", estimate.mean) };
    estimate.ci95.map_or(mean.clone(), |width| format!("{mean} ± {width:.digits$}"))
}
