//! The mix as a mixed-integer program.

use std::collections::BTreeMap;

use forebay_world::{ClassId, FlavourId, Room};
use microlp::{ComparisonOp, OptimizationDirection, Problem, SolutionStatus, SolveOptions, Variable};

use super::{Ask, Kind, Machines, Method, Mix, measured, unit_price, within};

/// Branch and bound ends after so many nodes.
const NODES: u64 = 200;
/// With more kinds of machine than this, a mix this near to its bound will do.
const FEW: usize = 8;
const NEAR: f64 = 2e-3;
/// Instances of more whole numbers than this are not tried.
const INTEGERS: usize = 96;

/// Leaving a session out costs this many times its share of the machine that would serve it, for a claim of weight 1: so
/// many that the last session of a claim is worth a machine of its own, and the boot of it.
const PENALTY: f64 = 1e5;

struct Column {
    key: (ClassId, FlavourId, Kind),
    /// Sessions that one serves, against those of the largest offer of its class.
    share: f64,
    variable: Variable,
}

/// Solves it, with each host on its own or all of them as one; `None` when it is too large, or nothing was found.
pub(super) fn solve(ask: &Ask<'_>, hosts: bool) -> Option<Mix> {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let unit: Vec<f64> =
        ask.offers.iter().map(|offers| offers.iter().map(|offer| offer.sessions_per_vm).fold(0.0, f64::max)).collect();
    let columns = machine_columns(ask, &unit, &mut problem)?;
    let flavours: Vec<usize> =
        (0..ask.sizes.len()).filter(|f| columns.iter().any(|column| column.key.1.index() == *f)).collect();
    if hosts && columns.len() + ask.rooms.len() * flavours.len() > INTEGERS {
        return None;
    }

    claims_rows(ask, &unit, &columns, &mut problem);
    limits_rows(ask, &columns, &mut problem);
    let takes = if hosts { host_rows(ask, &flavours, &columns, &mut problem) } else { Vec::new() };
    if !hosts {
        room_rows(ask, &columns, &mut problem);
    }
    change_rows(ask, &columns, &mut problem);

    let mut options = SolveOptions::default();
    options.node_limit = Some(NODES);
    // With much to choose, the last per mille takes most of the nodes.
    options.mip_gap = if columns.len() > FEW { NEAR } else { 0.0 };
    let outcome = problem.solve_with(options).ok()?;
    let solution = outcome.solution()?;
    let machines: Machines = columns
        .iter()
        .map(|column| (column.key, solution.var_value(column.variable).round() as u32))
        .filter(|(_, count)| *count > 0)
        .collect();
    let proven = solution.status() == SolutionStatus::Optimal;
    let method = if proven { Method::Exact } else { Method::BranchAndBound };
    let mut mix = measured(ask, method, machines);
    let objective = solution.objective();
    let bound = solution.stats().best_bound;
    mix.gap =
        if proven { Some(0.0) } else { bound.map(|bound| ((objective - bound) / bound.abs().max(1e-9)).max(0.0)) };
    if hosts {
        let whole = |row: &Vec<Variable>| {
            let mut counts = vec![0; ask.sizes.len()];
            row.iter().zip(&flavours).for_each(|(take, f)| counts[*f] = solution.var_value(*take).round() as u32);
            counts
        };
        let placed: Vec<Vec<u32>> = takes.iter().map(whole).collect();
        if !crate::plan::packing::fits(ask.rooms, ask.sizes, &placed) {
            return None;
        }
        mix.hosts = Some(placed);
    }
    // The solver computes in floating point: what it says is held against the limits once more.
    within(ask, &mix.machines).then_some(mix)
}

/// The bound that the program without whole numbers gives on what machines and the sessions left out cost, as the greedy
/// mix prices them; `None` when it cannot be solved.
pub(super) fn relaxed(ask: &Ask<'_>) -> Option<f64> {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let unit: Vec<f64> =
        ask.offers.iter().map(|offers| offers.iter().map(|offer| offer.sessions_per_vm).fold(0.0, f64::max)).collect();
    let columns: Vec<Column> = keys(ask)
        .into_iter()
        .map(|(key, sessions_per_vm)| Column {
            key,
            share: sessions_per_vm / unit[key.0.index()],
            variable: problem.add_var(unit_price(ask.market, key.1, key.2) * ask.hours, (0.0, f64::INFINITY)),
        })
        .collect();
    claims_rows(ask, &unit, &columns, &mut problem);
    limits_rows(ask, &columns, &mut problem);
    room_rows(ask, &columns, &mut problem);
    change_rows(ask, &columns, &mut problem);
    Some(problem.solve().ok()?.solution()?.objective())
}

/// What a mix costs as the program counts: machines, those that are added, and sessions that are left out.
pub(super) fn objective(ask: &Ask<'_>, mix: &Mix) -> f64 {
    let machines = super::price_per_hour(ask.market, &mix.machines) * ask.hours;
    let left_out: f64 = ask.claims.iter().zip(&mix.unserved).map(|(claim, left)| penalty(ask, claim) * left).sum();
    let changes: f64 = ask.standing.map_or(0.0, |standing| {
        let (before, now) = (lasting(standing), lasting(&mix.machines));
        now.iter()
            .map(|(key, count)| {
                f64::from(count.saturating_sub(before.get(key).copied().unwrap_or(0))) * change(ask, key.0, key.1)
            })
            .sum()
    });
    machines + left_out + changes
}

/// Machines by class, flavour and whether they may be taken away: one that is reserved or paid by the hour is the same.
fn lasting(machines: &Machines) -> BTreeMap<(ClassId, FlavourId, bool), u32> {
    let mut sums = BTreeMap::new();
    for ((class, flavour, kind), count) in machines {
        *sums.entry((*class, *flavour, *kind == Kind::Spot)).or_insert(0) += count;
    }
    sums
}

/// Price of a machine that comes and goes, beside that of its serving.
fn change(ask: &Ask<'_>, class: ClassId, flavour: FlavourId) -> f64 {
    let offer = ask.offers[class.index()].iter().find(|offer| offer.flavour == flavour);
    offer.map_or(0.0, |offer| offer.idle_hours * offer.price_per_hour)
}

/// Price of a session left out \[currency unit\].
fn penalty(ask: &Ask<'_>, claim: &super::Claim) -> f64 {
    let dearest = ask.offers[claim.class.index()]
        .iter()
        .map(|offer| ask.market.tariff(offer.flavour).on_demand_per_hour.max(1e-6) / offer.sessions_per_vm)
        .fold(0.0, f64::max);
    PENALTY * claim.weight * dearest * ask.hours
}

/// Every class × flavour × kind that may have machines, and the sessions that one serves.
fn keys(ask: &Ask<'_>) -> Vec<((ClassId, FlavourId, Kind), f64)> {
    let mut keys = Vec::new();
    for (class, offers) in ask.offers.iter().enumerate() {
        let class = ClassId::at(class);
        if super::claimed(ask, class) <= 0.0 {
            continue;
        }
        for offer in offers {
            let tariff = ask.market.tariff(offer.flavour);
            let kinds = [
                (Kind::Reserved, tariff.reserved.is_some_and(|reserved| reserved.count > 0)),
                (Kind::OnDemand, true),
                (Kind::Spot, tariff.spot.is_some_and(|spot| spot.share_most > 0.0)),
            ];
            let there = kinds.into_iter().filter(|(_, there)| *there);
            keys.extend(there.map(|(kind, _)| ((class, offer.flavour, kind), offer.sessions_per_vm)));
        }
    }
    keys
}

fn machine_columns(ask: &Ask<'_>, unit: &[f64], problem: &mut Problem) -> Option<Vec<Column>> {
    let keys = keys(ask);
    if keys.len() > INTEGERS {
        return None;
    }
    let column = |(key, sessions_per_vm): ((ClassId, FlavourId, Kind), f64)| {
        let (class, flavour, kind) = key;
        let enough = (super::claimed(ask, class) / sessions_per_vm).ceil();
        let most = enough.min(f64::from(ask.ceilings[class.index()])).min(1e6) as i32;
        let price = unit_price(ask.market, flavour, kind) * ask.hours;
        let variable = problem.add_integer_var(price, (0, most));
        Column { key, share: sessions_per_vm / unit[class.index()], variable }
    };
    Some(keys.into_iter().map(column).collect())
}

/// Machines and what is left out make up what is claimed.
fn claims_rows(ask: &Ask<'_>, unit: &[f64], columns: &[Column], problem: &mut Problem) {
    let left_out: Vec<(Variable, ClassId)> = ask
        .claims
        .iter()
        .map(|claim| {
            // In machines of the largest offer, as the columns are.
            let unit = unit[claim.class.index()];
            (problem.add_var(penalty(ask, claim) * unit, (0.0, claim.sessions / unit)), claim.class)
        })
        .collect();
    for class in (0..ask.offers.len()).map(ClassId::at) {
        let mut terms: Vec<(Variable, f64)> = columns
            .iter()
            .filter(|column| column.key.0 == class)
            .map(|column| (column.variable, column.share))
            .collect();
        terms.extend(left_out.iter().filter(|(_, of)| *of == class).map(|(variable, _)| (*variable, 1.0)));
        let claimed = super::claimed(ask, class);
        if claimed > 0.0 {
            problem.add_constraint(&terms, ComparisonOp::Ge, claimed / unit[class.index()] * (1.0 - 1e-9));
        }
    }
}

/// Ceilings of classes, counts of reserved machines, shares of spot ones.
fn limits_rows(ask: &Ask<'_>, columns: &[Column], problem: &mut Problem) {
    for (class, most) in ask.ceilings.iter().enumerate() {
        let terms: Vec<(Variable, f64)> = columns
            .iter()
            .filter(|column| column.key.0.index() == class)
            .map(|column| (column.variable, 1.0))
            .collect();
        if !terms.is_empty() {
            problem.add_constraint(&terms, ComparisonOp::Le, f64::from(*most));
        }
    }
    for (flavour, tariff) in ask.market.tariffs.iter().enumerate() {
        let of = |kind| columns.iter().filter(move |column| column.key.1.index() == flavour && column.key.2 == kind);
        let reserved: Vec<(Variable, f64)> = of(Kind::Reserved).map(|column| (column.variable, 1.0)).collect();
        if let (Some(offer), false) = (tariff.reserved, reserved.is_empty()) {
            problem.add_constraint(&reserved, ComparisonOp::Le, f64::from(offer.count));
        }
        for spot in of(Kind::Spot) {
            let share = tariff.spot.map_or(0.0, |offer| offer.share_most);
            let terms: Vec<(Variable, f64)> = columns
                .iter()
                .filter(|column| column.key.0 == spot.key.0)
                .map(|column| {
                    let own = if column.key == spot.key { column.share } else { 0.0 };
                    (column.variable, own - share * column.share)
                })
                .filter(|(_, term)| *term != 0.0)
                .collect();
            if !terms.is_empty() {
                problem.add_constraint(&terms, ComparisonOp::Le, 0.0);
            }
        }
    }
}

const PARTS: [fn(&Room) -> f64; 3] =
    [|room| room.cpu.as_f64(), |room| room.memory.as_f64(), |room| room.bandwidth.as_f64()];

/// All hosts as one, in units of the largest.
fn room_rows(ask: &Ask<'_>, columns: &[Column], problem: &mut Problem) {
    for part in PARTS {
        let largest = ask.rooms.iter().map(part).fold(1.0, f64::max);
        let terms: Vec<(Variable, f64)> = columns
            .iter()
            .map(|column| (column.variable, part(&ask.sizes[column.key.1.index()]) / largest))
            .filter(|(_, share)| *share > 0.0)
            .collect();
        if !terms.is_empty() {
            problem.add_constraint(&terms, ComparisonOp::Le, ask.rooms.iter().map(part).sum::<f64>() / largest);
        }
    }
}

/// Each host on its own: how many of each flavour it takes.
fn host_rows(ask: &Ask<'_>, flavours: &[usize], columns: &[Column], problem: &mut Problem) -> Vec<Vec<Variable>> {
    let takes: Vec<Vec<Variable>> = ask
        .rooms
        .iter()
        .map(|room| {
            let row: Vec<Variable> = flavours
                .iter()
                .map(|f| {
                    let most = PARTS.map(|part| {
                        let size = part(&ask.sizes[*f]);
                        if size > 0.0 { (part(room) / size + 1e-9).floor() } else { 1e6 }
                    });
                    problem.add_integer_var(0.0, (0, most.into_iter().fold(1e6, f64::min) as i32))
                })
                .collect();
            for part in PARTS {
                let whole = part(room).max(1.0);
                let terms: Vec<(Variable, f64)> =
                    row.iter().zip(flavours).map(|(take, f)| (*take, part(&ask.sizes[*f]) / whole)).collect();
                problem.add_constraint(&terms, ComparisonOp::Le, part(room) / whole);
            }
            row
        })
        .collect();
    for (at, f) in flavours.iter().enumerate() {
        let mut terms: Vec<(Variable, f64)> = takes.iter().map(|row| (row[at], 1.0)).collect();
        let of = columns.iter().filter(|column| column.key.1.index() == *f);
        terms.extend(of.map(|column| (column.variable, -1.0)));
        problem.add_constraint(&terms, ComparisonOp::Eq, 0.0);
    }
    takes
}

/// What is added to what stood before is paid for while it idles.
fn change_rows(ask: &Ask<'_>, columns: &[Column], problem: &mut Problem) {
    let Some(standing) = ask.standing else { return };
    let before = lasting(standing);
    let groups: BTreeMap<(ClassId, FlavourId, bool), Vec<Variable>> =
        columns.iter().fold(BTreeMap::new(), |mut groups, column| {
            let (class, flavour, kind) = column.key;
            groups.entry((class, flavour, kind == Kind::Spot)).or_insert_with(Vec::new).push(column.variable);
            groups
        });
    for ((class, flavour, spot), variables) in groups {
        let added = problem.add_var(change(ask, class, flavour), (0.0, f64::INFINITY));
        let mut terms: Vec<(Variable, f64)> = variables.into_iter().map(|variable| (variable, 1.0)).collect();
        terms.push((added, -1.0));
        let stood = before.get(&(class, flavour, spot)).copied().unwrap_or(0);
        problem.add_constraint(&terms, ComparisonOp::Le, f64::from(stood));
    }
}
