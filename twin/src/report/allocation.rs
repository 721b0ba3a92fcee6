//! A resource allocation plan as rows for programs and as pages for people.

use forebay_world::{BitsPerSecond, Timestamp};

use super::{Align, Table};
use crate::plan::allocation::{AllocationPlan, Change, Row, Vms};

/// The columns of a plan's CSV, in order. Times are RFC 3339 in UTC; processors are in vCPU, memory in bytes, bandwidth in
/// bit/s, costs in the scenario's currency unit. Lists are `key:count` with blanks between.
pub const COLUMNS: [&str; 31] = [
    "from",
    "until",
    "region",
    "class",
    "sessions_p50",
    "sessions_p90",
    "sessions_sized",
    "level",
    "cpu_p50",
    "cpu_p90",
    "cpu_sized",
    "memory_p50",
    "memory_p90",
    "memory_sized",
    "bandwidth_p50",
    "bandwidth_p90",
    "bandwidth_sized",
    "target_sessions",
    "cut_sessions",
    "spilled_sessions",
    "spill",
    "unserved_sessions",
    "guest_sessions",
    "capacity_sessions",
    "vms",
    "launches",
    "drains",
    "guarantee",
    "ceiling",
    "cost",
    "change_cost",
];

/// A row for each interval, region and class.
///
/// # Errors
/// When memory does not hold them.
pub fn csv(plan: &AllocationPlan) -> Result<Vec<u8>, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(COLUMNS)?;
    let number = |value: f64| format!("{value:.3}");
    for row in &plan.rows {
        let needs = [&row.p50, &row.p90, &row.sized];
        let mut cells = vec![row.from.to_string(), row.until.to_string(), row.region.clone(), row.class.clone()];
        cells.extend(needs.map(|needs| number(needs.sessions)));
        cells.push(format!("{:.4}", row.level));
        cells.extend(needs.map(|needs| number(needs.cpu.cores())));
        cells.extend(needs.map(|needs| needs.memory.0.to_string()));
        cells.extend(needs.map(|needs| needs.bandwidth.0.to_string()));
        cells.push(number(row.target_sessions));
        cells.push(number(row.cut_sessions));
        cells.push(number(row.spill.iter().map(|spill| spill.sessions).sum()));
        let spill = row.spill.iter().map(|spill| format!("{}:{:.4}", spill.region, spill.share));
        cells.push(spill.collect::<Vec<_>>().join(" "));
        cells.push(number(row.unserved_sessions));
        cells.push(number(row.guest_sessions));
        cells.push(number(row.capacity_sessions));
        cells.push(row.vms.iter().map(shown_vms).collect::<Vec<_>>().join(" "));
        for changes in [&row.launches, &row.drains] {
            let change = |change: &Change| {
                format!("{}{}:{}@{}", change.flavour, if change.spot { "/spot" } else { "" }, change.count, change.at)
            };
            cells.push(changes.iter().map(change).collect::<Vec<_>>().join(" "));
        }
        cells.push(row.guarantee.0.to_string());
        cells.push(row.ceiling.0.to_string());
        cells.push(format!("{:.6}", row.cost));
        cells.push(format!("{:.6}", row.change_cost));
        out.write_record(&cells)?;
    }
    out.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

fn shown_vms(vms: &Vms) -> String {
    format!("{}/{}:{}", vms.flavour, vms.kind.name(), vms.count)
}

/// Lines of the schedule that are shown at most.
const CHANGES_SHOWN: usize = 40;

/// The plan for people: what it was made from, each region × class, hosts, the schedule, and what it costs.
pub fn page(plan: &AllocationPlan) -> String {
    let header = &plan.header;
    let mut page = format!(
        "{}: {} from {} in steps of {}, by {} on {}\n",
        header.scenario,
        header.horizon,
        header.origin,
        header.step,
        header.model,
        header.series.join(", ")
    );
    page.push_str("\nsessions and needs of each region and class at their highest, machines over the whole time:\n");
    page.push_str(&cells(plan).to_string());
    page.push_str(&format!("\n{}", hosts(plan)));
    page.push_str(&schedule(plan));
    let totals = &plan.totals;
    page.push_str(&format!(
        "\n{:.1} VM-hours, at most {} machines; {} launches, {} drains after the first interval\n",
        totals.vm_hours, totals.vms_most, totals.launches, totals.drains
    ));
    let reserved =
        if totals.committed_cost > 0.0 { format!(", reserved {:.2}", totals.committed_cost) } else { String::new() };
    page.push_str(&format!(
        "cost: machines {:.2}{reserved}, booting and draining {:.2}; violated minutes, as likely as they are: {:.2}\n",
        totals.cost, totals.change_cost, totals.violation_cost
    ));
    let budget = header.budget_per_hour.map_or(String::new(), |budget| format!(" of a budget of {budget}"));
    page.push_str(&format!("spent on machines: at most {:.2} an hour{budget}\n", totals.spent_per_hour_most));
    for remark in &plan.remarks {
        page.push_str(&format!("note: {remark}\n"));
    }
    page
}

/// A line for each region × class.
fn cells(plan: &AllocationPlan) -> Table {
    let mut table = Table::new(&[
        ("region", Align::Left),
        ("class", Align::Left),
        ("peak at", Align::Left),
        ("p50", Align::Right),
        ("p90", Align::Right),
        ("sized", Align::Right),
        ("level", Align::Right),
        ("vCPU", Align::Right),
        ("GiB", Align::Right),
        ("guarantee", Align::Right),
        ("VMs", Align::Right),
        ("of which", Align::Left),
        ("VM-h", Align::Right),
        ("cost", Align::Right),
    ]);
    let mut order: Vec<(&str, &str)> = Vec::new();
    for row in &plan.rows {
        if !order.contains(&(row.region.as_str(), row.class.as_str())) {
            order.push((&row.region, &row.class));
        }
    }
    for (region, class) in order {
        let rows: Vec<&Row> = plan.rows.iter().filter(|row| row.region == region && row.class == class).collect();
        // Where several are equal, the first.
        let peak = rows.iter().rev().max_by(|a, b| a.sized.sessions.total_cmp(&b.sized.sessions));
        let Some(peak) = peak else { continue };
        let counts: Vec<u32> = rows.iter().map(|row| row.vms_total()).collect();
        let (least, most) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
        let most_rows = rows.iter().find(|row| row.vms_total() == *most);
        let kinds = most_rows.map_or(String::new(), |row| row.vms.iter().map(shown_vms).collect::<Vec<_>>().join(" "));
        let hours: f64 =
            rows.iter().map(|row| row.until.since(row.from).as_hours_f64() * f64::from(row.vms_total())).sum();
        table.row([
            region.to_owned(),
            class.to_owned(),
            clock(peak.from),
            format!("{:.0}", peak.p50.sessions),
            format!("{:.0}", peak.p90.sessions),
            format!("{:.0}", peak.sized.sessions),
            format!("{:.1} %", 100.0 * peak.level),
            format!("{:.1}", peak.sized.cpu.cores()),
            format!("{:.1}", peak.sized.memory.as_f64() / f64::from(1 << 30)),
            rate(rows.iter().map(|row| row.guarantee).max().unwrap_or_default()),
            if least == most { most.to_string() } else { format!("{least}–{most}") },
            kinds,
            format!("{hours:.1}"),
            format!("{:.2}", rows.iter().map(|row| row.cost + row.change_cost).sum::<f64>()),
        ]);
    }
    table
}

/// A line for each region's hosts.
fn hosts(plan: &AllocationPlan) -> Table {
    let mut table = Table::new(&[
        ("region", Align::Left),
        ("hosts", Align::Right),
        ("used", Align::Right),
        ("at least", Align::Right),
        ("packing", Align::Left),
        ("gap", Align::Right),
        ("mix", Align::Left),
        ("gap", Align::Right),
    ]);
    for region in &plan.regions {
        let packing: Vec<&str> = region.packing.iter().map(|method| method.name()).collect();
        let mix: Vec<&str> = region.mix.iter().map(|method| method.name()).collect();
        table.row([
            region.region.clone(),
            region.hosts.to_string(),
            region.hosts_used_most.to_string(),
            region.hosts_bound.to_string(),
            packing.join(", "),
            format!("{:.1} %", 100.0 * region.packing_gap_most),
            mix.join(", "),
            region.mix_gap.map_or("unknown".to_owned(), |gap| format!("{:.2} %", 100.0 * gap)),
        ]);
    }
    table
}

/// What is to be asked for when, in the order of time.
fn schedule(plan: &AllocationPlan) -> String {
    let mut changes: Vec<(Timestamp, &Row, String)> = Vec::new();
    for row in plan.rows.iter().filter(|row| row.from > plan.header.origin) {
        let kind = |change: &Change| format!("{}{}", change.flavour, if change.spot { "/spot" } else { "" });
        for change in &row.launches {
            let until = format!("launch {} {}, ready {}", change.count, kind(change), clock(row.from));
            changes.push((change.at, row, until));
        }
        for change in &row.drains {
            changes.push((change.at, row, format!("drain {} {}", change.count, kind(change))));
        }
    }
    if changes.is_empty() {
        return "\nschedule: what stands at the begin stays\n".to_owned();
    }
    changes.sort_by_key(|(at, _, _)| *at);
    let mut table = Table::new(&[
        ("at", Align::Left),
        ("region", Align::Left),
        ("class", Align::Left),
        ("schedule", Align::Left),
        ("then", Align::Right),
    ]);
    for (at, row, what) in changes.iter().take(CHANGES_SHOWN) {
        table.row([clock(*at), row.region.clone(), row.class.clone(), what.clone(), row.vms_total().to_string()]);
    }
    let more = changes.len().saturating_sub(CHANGES_SHOWN);
    let rest = if more > 0 { format!("and {more} more; --csv and --json have them all\n") } else { String::new() };
    format!("\n{table}{rest}")
}

/// Day and time without seconds that are zero: `06-10 18:15`.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.trim_end_matches('Z');
    let time = time.strip_suffix(":00").unwrap_or(time);
    format!("{} {}", date.get(5..).unwrap_or(date), time)
}

/// A rate in the unit in which it is read easily.
fn rate(rate: BitsPerSecond) -> String {
    let bits = rate.as_f64();
    if bits >= 1e9 { format!("{:.2} Gbit/s", bits / 1e9) } else { format!("{:.1} Mbit/s", bits / 1e6) }
}
