//! The tables behind the panes, made from a snapshot.

mod orders;
mod score;

use forebay_world::{HostId, LinkEnds, LinkUse, RegionId, SliceUse, Timestamp, Topology, VmSeen, VmState};

use super::app::{App, Level};
use super::figures::{count, percent, short, span};
use super::layout::Pane;
use super::look::{Load, Look, Tone};
use super::table::{Bar, Cell, Column, Row, Table};
use crate::tick::Tick;

/// The table of a pane in its natural order; `None` before the first tick. A map is a table of regions and links, a
/// chart one of its points.
pub(crate) fn of_pane(app: &App, pane: Pane) -> Option<Table> {
    if pane == Pane::Alerts {
        return Some(alerts(app));
    }
    if pane == Pane::Orders {
        return Some(orders::orders(app.standing.as_deref()));
    }
    let tick = app.sides().first()?.tick.as_ref()?;
    let topology = &app.scene.topology;
    Some(match pane {
        Pane::Map => places(app.look, topology, tick),
        Pane::Fleet => match app.level {
            Level::Regions => regions(app, tick),
            Level::Hosts => hosts(app.look, topology, tick, app.region),
            Level::Machines(host) => machines(app.look, topology, tick, host),
        },
        Pane::Demand => series(app),
        Pane::Score => score::score(app),
        Pane::Slices => slices(app.look, topology, tick),
        Pane::Alerts | Pane::Orders => unreachable!("handled above"),
    })
}

/// How loaded a region is: the mean utilization of the ready machines of its busiest class, as decided on.
pub(crate) fn region_utilization(topology: &Topology, tick: &Tick, region: RegionId) -> Option<f64> {
    (0..topology.classes.len())
        .filter_map(|class| {
            let cell = topology.cell(region, forebay_world::ClassId::at(class));
            tick.decision.cells.get(cell)?.utilization
        })
        .max_by(f64::total_cmp)
}

/// How loaded a region is, or that it is down.
pub(crate) fn region_load(topology: &Topology, tick: &Tick, region: RegionId) -> Load {
    let mut hosts = (0..topology.hosts.len()).filter(|host| topology.hosts[*host].region == region).peekable();
    let has_hosts = hosts.peek().is_some();
    let is_up = |host: usize| tick.observation.hosts.get(host).is_none_or(|host| host.up);
    if has_hosts && !hosts.any(is_up) {
        return Load::Down;
    }
    Load::of(region_utilization(topology, tick, region))
}

/// The use of a link in the last window, if counters arrived.
pub(crate) fn link_use(tick: &Tick, link: usize) -> Option<&LinkUse> {
    tick.observation.links.get(link)?.as_ref()
}

/// How loaded a link is.
pub(crate) fn link_load(used: Option<&LinkUse>) -> (Load, Option<f64>) {
    match used {
        None => (Load::Unknown, None),
        Some(used) if used.capacity.0 == 0 => (Load::Down, None),
        Some(used) => {
            let share = used.used.as_f64() / used.capacity.as_f64();
            (Load::of(Some(share)), Some(share))
        }
    }
}

fn loaded(look: Look, load: Load, text: &str) -> Cell {
    Cell::text(format!("{} {text}", look.load(load))).tone(load.tone())
}

fn share(share: Option<f64>) -> Cell {
    Cell::number(share.unwrap_or(f64::NAN), percent(share)).tone(Load::of(share).tone())
}

fn regions(app: &App, tick: &Tick) -> Table {
    let (look, topology) = (app.look, &app.scene.topology);
    let classes = topology.classes.len();
    let other = app.sides().get(1).and_then(|side| side.tick.as_ref());
    let mut columns = vec![
        Column::left("region", 0),
        Column::right("util", 1),
        Column::right("ready", 2),
        Column::right("sessions", 3),
        Column::right("link", 5),
        Column::right("missed", 4),
        Column::right("coming", 7),
        Column::right("drain", 8),
    ];
    if other.is_some() {
        columns.insert(3, Column::right("ready B", 2));
    }
    // What clients miss is known of a twin only.
    let is_judged = !app.scene.is_operated;
    columns.retain(|column| is_judged || column.name != "missed");
    let ready = |tick: &Tick, region: RegionId| {
        let cells = region.index() * classes..(region.index() + 1) * classes;
        tick.decision.cells.get(cells).map_or(0, |cells| cells.iter().map(|cell| cell.ready).sum::<u32>())
    };
    let row = |index: usize| {
        let region = RegionId::at(index);
        let cells = index * classes..(index + 1) * classes;
        let sum = |values: &mut dyn Iterator<Item = u32>| f64::from(values.sum::<u32>());
        let decided = tick.decision.cells.get(cells.clone()).unwrap_or(&[]);
        let sessions = decided.iter().map(|cell| cell.sessions).sum::<Option<f64>>();
        let violated = tick.score.slo_violation_minutes_by_cell.get(cells).map_or(0.0, |cells| cells.iter().sum());
        let coming = sum(&mut decided.iter().map(|cell| cell.coming));
        let draining = sum(&mut decided.iter().map(|cell| cell.draining));
        let access = topology.regions[index].access.index();
        let whole = f64::from(ready(tick, region));
        let mut cells = vec![
            loaded(look, region_load(topology, tick, region), &topology.regions[index].name),
            share(region_utilization(topology, tick, region)),
            Cell::number(whole, count(whole)),
            Cell::number(sessions.unwrap_or(f64::NAN), sessions.map_or("–".to_owned(), count)),
            share(link_load(link_use(tick, access)).1),
            minutes(violated),
            quiet(coming),
            quiet(draining),
        ];
        if let Some(other) = other {
            let ready = f64::from(ready(other, region));
            cells.insert(3, Cell::number(ready, count(ready)));
        }
        if !is_judged {
            cells.remove(cells.len() - 3);
        }
        Row { key: index as u64, cells, dim: false }
    };
    Table { columns, rows: (0..topology.regions.len()).map(row).collect() }
}

fn quiet(value: f64) -> Cell {
    let tone = if value > 0.0 { Tone::Text } else { Tone::Dim };
    Cell::number(value, count(value)).tone(tone)
}

fn minutes(value: f64) -> Cell {
    let tone = if value > 0.0 { Tone::Bad } else { Tone::Dim };
    Cell::number(value, format!("{} min", count(value))).tone(tone)
}

fn hosts(look: Look, topology: &Topology, tick: &Tick, region: RegionId) -> Table {
    let columns = vec![
        Column::left("host", 0),
        Column::right("util", 1),
        Column::right("VMs", 2),
        Column::right("vCPU used", 3),
        Column::right("of", 4),
    ];
    let row = |index: usize| {
        let (id, host) = (HostId::at(index), &topology.hosts[index]);
        let machines: Vec<&VmSeen> = tick.observation.vms.iter().filter(|vm| vm.host == id).collect();
        let up = tick.observation.hosts.get(index).is_none_or(|host| host.up);
        let utilization = mean(machines.iter().filter_map(|vm| vm.utilization));
        let load = if up { Load::of(utilization.or(Some(0.0))) } else { Load::Down };
        let taken = |vm: &&VmSeen| topology.flavours.get(usize::from(vm.flavour.0)).map_or(0.0, |f| f.cpu.cores());
        let used: f64 = machines.iter().map(taken).sum();
        let cells = vec![
            loaded(look, load, &host.name),
            if up { share(utilization) } else { Cell::text("down").tone(Tone::Bad) },
            Cell::number(machines.len() as f64, machines.len().to_string()),
            Cell::number(used, short(used)),
            Cell::number(host.cpu.cores(), short(host.cpu.cores())),
        ];
        Row { key: index as u64, cells, dim: false }
    };
    let of_region = (0..topology.hosts.len()).filter(|host| topology.hosts[*host].region == region);
    Table { columns, rows: of_region.map(row).collect() }
}

fn machines(look: Look, topology: &Topology, tick: &Tick, host: HostId) -> Table {
    let columns = vec![
        Column::left("machine", 0),
        Column::left("state", 1),
        Column::right("util", 2),
        Column::right("sessions", 4),
        Column::left("class", 3),
        Column::right("for", 5),
    ];
    let row = |vm: &VmSeen| {
        let (state, tone) = match vm.state {
            VmState::Requested => ("requested", Tone::Dim),
            VmState::Booting => ("booting", Tone::Fair),
            VmState::Warming => ("warming", Tone::Fair),
            VmState::Ready => ("ready", Tone::Good),
            VmState::Draining => ("draining", Tone::Dim),
            VmState::Failed => ("failed", Tone::Bad),
        };
        let load = if vm.state == VmState::Failed { Load::Down } else { Load::of(vm.utilization) };
        let since = tick.observation.at.since(vm.since);
        let cells = vec![
            loaded(look, load, &vm.id.to_string()),
            Cell::text(state).tone(tone),
            share(vm.utilization),
            Cell::number(
                vm.sessions.map_or(f64::NAN, f64::from),
                vm.sessions.map_or("?".to_owned(), |n| count(f64::from(n))),
            ),
            Cell::text(topology.classes.get(vm.class.index()).map_or("?", |class| &class.name)),
            Cell::number(since.as_secs_f64(), span(since)).tone(Tone::Dim),
        ];
        Row { key: vm.id.0, cells, dim: false }
    };
    Table { columns, rows: tick.observation.vms.iter().filter(|vm| vm.host == host).map(row).collect() }
}

fn slices(look: Look, topology: &Topology, tick: &Tick) -> Table {
    let mut columns = vec![
        Column::left("slice", 0),
        Column::right("use", 1),
        Column::right("guarantee", 3),
        Column::right("ceiling", 4),
        Column::left("of ceiling", 2),
    ];
    let gave_way = |cell: usize| tick.decision.cells.get(cell).and_then(|cell| cell.gave_way.as_ref());
    // Who gave way is worth more room than who did not.
    let anybody = tick.observation.slices.iter().any(|slice| gave_way(slice.slice.index()).is_some());
    if anybody {
        columns.push(Column::right("short", 1));
    }
    let row = |slice: &SliceUse| {
        let cell = slice.slice.index();
        let name = if cell < topology.cells() {
            let (region, class) = topology.cell_at(cell);
            format!("{} {}", topology.region(region).name, topology.class(class).name)
        } else {
            format!("slice {}", slice.slice)
        };
        let (used, offered) = (slice.used.as_f64(), slice.offered.as_f64());
        let (guarantee, ceiling) = (slice.stands.guarantee.as_f64(), slice.stands.ceiling.as_f64());
        // What a slice asks for beyond its guarantee it may not get; what is cut off it misses already.
        let (glyph, tone) = if offered > 1.02 * used {
            (look.glyph("◆", "#"), Tone::Bad)
        } else if used > 0.95 * ceiling {
            (look.glyph("▲", "!"), Tone::Warn)
        } else if used > guarantee {
            (look.glyph("△", "+"), Tone::Fair)
        } else {
            (look.glyph("○", "."), Tone::Good)
        };
        let part = |rate: f64| if ceiling > 0.0 { (rate / ceiling).clamp(0.0, 1.0) } else { 0.0 };
        let rate = |rate: f64| Cell::number(rate, short(rate));
        let mut cells = vec![
            Cell::text(format!("{glyph} {name}")).tone(tone),
            rate(used).tone(tone),
            rate(guarantee),
            rate(ceiling).tone(Tone::Dim),
            Cell { bar: Some(Bar { used: part(used), mark: part(guarantee) }), ..share(Some(part(used))).tone(tone) },
        ];
        if anybody {
            let lacks = gave_way(cell).map(|gave_way| gave_way.asked.saturating_sub(gave_way.granted).as_f64());
            let text = lacks.map_or(String::new(), |lacks| format!("−{}", short(lacks)));
            cells.push(Cell { value: Some(lacks.unwrap_or(0.0)), ..Cell::text(text).tone(Tone::Bad) });
        }
        Row { key: u64::from(slice.slice.0), cells, dim: false }
    };
    Table { columns, rows: tick.observation.slices.iter().map(row).collect() }
}

fn alerts(app: &App) -> Table {
    let columns = vec![Column::left("at", 0), Column::left("what", 0)];
    let clock = app.clock();
    let end = if app.scene.end == Timestamp::MAX { clock } else { app.scene.end };
    let several_days = end.since(app.scene.start) > forebay_world::Duration::from_hours(24);
    let row = |alert: &super::alert::Alert| {
        let (glyph, tone) = app.look.severity(alert.severity);
        let time = super::figures::minute(alert.at);
        let time = if several_days { format!("{} {time}", &super::figures::day(alert.at)[5..]) } else { time };
        let cells = vec![
            Cell { value: Some(alert.at.as_secs_f64()), ..Cell::text(time).tone(Tone::Dim) },
            Cell::text(format!("{glyph} {}", alert.text)).tone(tone),
        ];
        Row { key: alert.number, cells, dim: alert.at > clock && app.standing.is_none() }
    };
    Table { columns, rows: app.alerts().iter().rev().map(row).collect() }
}

fn places(look: Look, topology: &Topology, tick: &Tick) -> Table {
    let columns = vec![
        Column::left("place", 0),
        Column::right("util", 1),
        Column::right("link", 1),
        Column::right("carried", 2),
        Column::right("of", 3),
    ];
    let row = |link: usize| {
        let spec = &topology.links[link];
        let used = link_use(tick, link);
        let (mut load, part) = link_load(used);
        let (mut utilization, mut name) = (Cell::text(""), spec.name.as_str());
        if let LinkEnds::Access(region) = spec.ends {
            utilization = share(region_utilization(topology, tick, region));
            name = &topology.region(region).name;
            load = load.max(region_load(topology, tick, region));
        }
        let carried = used.map_or(f64::NAN, |used| used.used.as_f64());
        let capacity = used.map_or(spec.capacity, |used| used.capacity).as_f64();
        let cells = vec![
            loaded(look, load, name),
            utilization,
            if load == Load::Down { Cell::text("down").tone(Tone::Bad) } else { share(part) },
            Cell::number(carried, short(carried)),
            Cell::number(capacity, short(capacity)),
        ];
        Row { key: link as u64, cells, dim: false }
    };
    Table { columns, rows: (0..topology.links.len()).map(row).collect() }
}

/// The points of the chart of the selected cell.
fn series(app: &App) -> Table {
    let columns = ["at", "sessions", "capacity", "p10", "p50", "p90", "forecast_for_s"];
    let mut columns: Vec<Column> = columns.map(|name| Column::right(name, 0)).to_vec();
    columns.insert(0, Column::left("policy", 0));
    let from = app.clock().saturating_sub(app.axes.span);
    let mut rows = Vec::new();
    for side in app.sides() {
        for (at, point) in side.history.points(app.cell(), from, app.clock(), 2000) {
            let number = |value: f32| Cell::number(f64::from(value), short(f64::from(value)));
            let cells = vec![
                Cell::text(&*side.policy),
                Cell::text(at.to_string()),
                number(point.sessions),
                number(point.capacity),
                number(point.p10),
                number(point.p50),
                number(point.p90),
                number(point.lead_s),
            ];
            rows.push(Row { key: rows.len() as u64, cells, dim: false });
        }
    }
    Table { columns, rows }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u32);
    for value in values.filter(|value| value.is_finite()) {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}
