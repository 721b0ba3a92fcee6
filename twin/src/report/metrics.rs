//! `metrics.csv`: every figure of every tick, in long form, so that any table tool can pivot it.

use std::io::{self, Write};

use forebay_world::{Topology, VmState};

use crate::tick::Tick;

/// Columns: an entity is named by those that apply, the others are empty.
pub(super) const HEAD: &str = "t,region,class,link,metric,value";

/// Writes the figures of one tick, always in the same order. Floats are written so that they can be read back exactly.
pub(super) fn write_tick(out: &mut impl Write, topology: &Topology, tick: &Tick) -> io::Result<()> {
    let t = tick.observation.at;
    let cell_names = |cell: usize| {
        let (region, class) = topology.cell_at(cell);
        (topology.region(region).name.as_str(), topology.class(class).name.as_str())
    };
    for (cell, demand) in tick.observation.demand.iter().enumerate() {
        // What was not seen has no row.
        let Some(demand) = demand else { continue };
        let (region, class) = cell_names(cell);
        let mut row = |metric: &str, value: f64| writeln!(out, "{t},{region},{class},,{metric},{value}");
        row("queries", demand.queries as f64)?;
        row("arrivals", demand.arrivals as f64)?;
        row("rejected", demand.rejected as f64)?;
        row("sessions", demand.sessions)?;
        row("cpu_mcpu", demand.cpu.as_f64())?;
        row("bandwidth_bps", demand.bandwidth.as_f64())?;
        row("bad_share", demand.bad_share)?;
        if let Some(latency) = &demand.latency {
            row("latency_p50_ms", latency.p50.as_secs_f64() * 1e3)?;
            row("latency_p95_ms", latency.p95.as_secs_f64() * 1e3)?;
            row("latency_p99_ms", latency.p99.as_secs_f64() * 1e3)?;
        }
    }
    let mut states = vec![[0u32; 4]; topology.cells()];
    for vm in &tick.observation.vms {
        let state = match vm.state {
            VmState::Ready => 0,
            state if state.is_coming() => 1,
            VmState::Draining => 2,
            _ => 3,
        };
        states[topology.cell(vm.region, vm.class)][state] += 1;
    }
    for (cell, counts) in states.iter().enumerate() {
        let (region, class) = cell_names(cell);
        for (metric, count) in ["vms_ready", "vms_coming", "vms_draining", "vms_failed"].iter().zip(counts) {
            writeln!(out, "{t},{region},{class},,{metric},{count}")?;
        }
    }
    for decided in &tick.decision.cells {
        let (region, class) = cell_names(topology.cell(decided.region, decided.class));
        writeln!(out, "{t},{region},{class},,vms_asked,{}", decided.asked)?;
        writeln!(out, "{t},{region},{class},,vms_planned,{}", decided.planned)?;
        if let Some(fan) = &decided.forecast {
            for (metric, value) in [("forecast_p10", fan.p10), ("forecast_p50", fan.p50), ("forecast_p90", fan.p90)] {
                writeln!(out, "{t},{region},{class},,{metric},{value}")?;
            }
        }
    }
    for link in tick.observation.links.iter().flatten() {
        let name = &topology.links[link.link.index()].name;
        writeln!(out, "{t},,,{name},capacity_bps,{}", link.capacity.0)?;
        writeln!(out, "{t},,,{name},used_bps,{}", link.used.0)?;
    }
    for slice in &tick.observation.slices {
        let (region, class) = cell_names(slice.slice.index());
        for (metric, value) in [
            ("slice_guarantee_bps", slice.stands.guarantee),
            ("slice_ceiling_bps", slice.stands.ceiling),
            ("slice_used_bps", slice.used),
            ("slice_offered_bps", slice.offered),
        ] {
            writeln!(out, "{t},{region},{class},,{metric},{}", value.0)?;
        }
    }
    let score = &tick.score;
    for (metric, value) in [
        ("total_sessions", score.sessions as f64),
        ("total_sessions_rejected", score.sessions_rejected as f64),
        ("total_slo_violation_minutes", score.slo_violation_minutes),
        ("total_vm_hours", score.vm_hours),
        ("total_cost", score.cost),
    ] {
        writeln!(out, "{t},,,,{metric},{value}")?;
    }
    Ok(())
}
