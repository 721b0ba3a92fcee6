//! Shadow mode as metrics for Prometheus, by its conventions: base units, totals that only rise, one unit a name.

use forebay_adapters::metrics::{Kind, Page};
use forebay_world::Topology;

use super::hindcast::Sums;
use super::report::TickReport;
use super::world::ShadowWorld;
use crate::watch::Pace;
use crate::watch::page::{CellFigures, add_ages, add_cells, add_ticks};

/// What stands in the names.
const MODE: &str = "shadow";

const HOUR_SECONDS: f64 = 3600.0;
const MINUTE_SECONDS: f64 = 60.0;

/// What there is to measure after a tick.
pub fn page<P: Pace>(world: &ShadowWorld<P>, tick: &TickReport, policy: &str, ticks: u64) -> Page {
    let production = world.production();
    let topology = &production.topology;
    let mut page = Page::default();
    let silent: Vec<(String, String)> =
        tick.silent.iter().map(|silent| (silent.source.clone(), silent.why.clone())).collect();
    add_ticks(&mut page, MODE, (&production.name, policy), ticks, tick.coverage, &silent);
    let cells: Vec<CellFigures<'_>> = tick
        .cells
        .iter()
        .map(|cell| CellFigures {
            region: &cell.region,
            class: &cell.class,
            started_per_second: cell.demand.map(|demand| demand.sessions_per_second),
            sessions: cell.sessions,
            forecast: cell.ours.forecast,
        })
        .collect();
    add_cells(&mut page, MODE, &cells);
    add_ages(&mut page, MODE, production, &world.seers.board, tick.at);
    add_machines(&mut page, world, tick, topology);
    add_forecasts(&mut page, world);
    let sides = |name: &'static str, factor: f64| {
        let figure = tick.figures.get(name).copied();
        figure.into_iter().flat_map(move |figure| {
            let theirs = figure.theirs.map(|theirs| ("production", theirs.mean * factor));
            [("ours", figure.ours.mean * factor)].into_iter().chain(theirs)
        })
    };
    let mut family = |name: &str, help: &str, figure: &'static str, factor: f64| {
        let samples = sides(figure, factor).map(|(side, value)| (vec![("side", side)], value));
        page.family(name, Kind::Counter, help, samples);
    };
    family(
        "forebay_shadow_slo_violation_seconds_total",
        "Time of regions and classes that missed their objective in the twins, mean over replicates.",
        "slo_violation_minutes",
        MINUTE_SECONDS,
    );
    family(
        "forebay_shadow_machine_seconds_total",
        "Machine time in the twins, mean over replicates.",
        "vm_hours",
        HOUR_SECONDS,
    );
    family(
        "forebay_shadow_over_provisioned_machine_seconds_total",
        "Machine time beyond need in the twins, mean over replicates.",
        "over_provisioned_vm_hours",
        HOUR_SECONDS,
    );
    family(
        "forebay_shadow_cost_total",
        "Price of machines and violated minutes in the twins, mean over replicates, in currency units.",
        "cost",
        1.0,
    );
    let links = tick.links.iter().flat_map(|link| {
        [("production", link.used), ("twin", link.twin_used)]
            .map(|(side, bits)| (vec![("link", link.link.as_str()), ("side", side)], bits as f64 / 8.0))
    });
    let help = "Use of links, measured in production and in the twin that has its machines.";
    page.family("forebay_shadow_link_bytes_per_second", Kind::Gauge, help, links);
    page
}

fn add_machines<P: Pace>(page: &mut Page, world: &ShadowWorld<P>, tick: &TickReport, topology: &Topology) {
    let machines = tick.cells.iter().flat_map(|cell| {
        let ours = [("ready", cell.ours.ready), ("coming", cell.ours.coming), ("draining", cell.ours.draining)];
        let theirs = cell.production.as_ref().map(|production| {
            [("ready", production.ready), ("coming", production.coming), ("draining", production.draining)]
        });
        let labelled = |side: &'static str, (state, count): (&'static str, u32)| {
            let (region, class) = (cell.region.as_str(), cell.class.as_str());
            (vec![("side", side), ("region", region), ("class", class), ("state", state)], f64::from(count))
        };
        let ours = ours.map(|of| labelled("ours", of));
        ours.into_iter()
            .chain(theirs.into_iter().flatten().map(move |of| labelled("production", of)))
            .collect::<Vec<_>>()
    });
    let help = "Machines of production, and of the twin in which our plans are carried out.";
    page.family("forebay_shadow_machines", Kind::Gauge, help, machines);
    let counts = world.fleet.counts(world.production(), tick.at);
    let names = || {
        topology.cell_ids().map(|(region, class)| {
            vec![("region", topology.region(region).name.as_str()), ("class", topology.class(class).name.as_str())]
        })
    };
    let ever_seen = world.fleet.ever_seen(world.production());
    let seen = || {
        let cells = topology.cell_ids().zip(names()).zip(&counts);
        let of_seen = cells.filter(|(((region, _), _), _)| ever_seen[region.index()]);
        of_seen.map(|((_, names), counts)| (names, counts))
    };
    let launches = seen().map(|(names, counts)| (names, counts.launches as f64));
    let help = "Machines that production launched.";
    page.family("forebay_shadow_production_launches_total", Kind::Counter, help, launches);
    let ends = seen().map(|(names, counts)| (names, counts.ends as f64));
    page.family("forebay_shadow_production_ends_total", Kind::Counter, "Machines of production that ended.", ends);
    let (_, unknown) = world.ledger.minutes();
    let unseen = names().zip(unknown.iter().map(|minutes| minutes * MINUTE_SECONDS));
    let help = "Time of which production did not show demand or machines.";
    page.family("forebay_shadow_unseen_seconds_total", Kind::Counter, help, unseen);
}

fn add_forecasts<P: Pace>(page: &mut Page, world: &ShadowWorld<P>) {
    let told = world.hindcast.sums().iter().fold(Sums::default(), |all, one| all.plus(one)).told();
    let help = "Forecasts whose outcome is known.";
    page.family("forebay_shadow_forecasts_scored_total", Kind::Counter, help, [(vec![], told.scored as f64)]);
    for (name, help, value) in [
        (
            "forebay_shadow_forecast_coverage_ratio",
            "Share of outcomes between the 10 % and 90 % quantiles.",
            told.coverage80,
        ),
        ("forebay_shadow_forecast_wql_ratio", "Weighted quantile loss of forecasts.", told.wql),
        ("forebay_shadow_forecast_bias_ratio", "Median forecast less outcome, over outcomes.", told.bias),
    ] {
        page.family(name, Kind::Gauge, help, value.map(|value| (vec![], value)));
    }
}
