use super::*;
use crate::forecast::chance::Chance;
use crate::plan::allocation::Row;
use crate::plan::market::{Kind, Reserved, Spot};
use crate::small_world;
use forebay_world::{BitsPerSecond, Bytes, Cpu, Flavour, FlavourId, Link, LinkEnds};
use proptest::prelude::*;

const QUARTER: Duration = Duration::from_mins(15);

/// Regions in a ring, ten milliseconds from one to the next, with `hosts` hosts each and a flavour twice as large.
fn ground(regions: usize, hosts: usize) -> (Topology, Market) {
    let mut topology = small_world::topology(regions);
    topology.hosts.retain(|host| host.name.rsplit('-').next().unwrap().parse::<usize>().unwrap() < hosts);
    for (a, b) in (0..regions).map(|a| (a, (a + 1) % regions)).filter(|(a, b)| a < b || regions > 2) {
        topology.links.push(Link {
            name: format!("{a}-{b}"),
            ends: LinkEnds::Between(RegionId::at(a), RegionId::at(b)),
            capacity: BitsPerSecond(400_000_000_000),
            delay: Duration::from_millis(10),
        });
    }
    topology.flavours.push(Flavour {
        name: "edge-8".to_owned(),
        cpu: Cpu(8_000),
        memory: Bytes(16 << 30),
        bandwidth: BitsPerSecond(4_000_000_000),
        price_per_hour: 0.7,
        ..topology.flavours[0].clone()
    });
    let mut market = Market::of(&topology);
    market.allowed.iter_mut().for_each(|allowed| allowed.push(FlavourId(1)));
    (topology, market)
}

/// Futures of a day's wave about `peak` sessions, spread by a tenth; each cell its own.
fn futures(topology: &Topology, intervals: usize, peak: impl Fn(usize) -> f64) -> Vec<Option<Paths>> {
    (0..topology.cells())
        .map(|cell| {
            let mut chance = Chance::new(cell as u64, "futures");
            let values = (0..64)
                .flat_map(|_| {
                    let level = 1.0 + 0.1 * chance.normal();
                    let wave = |step: usize| 0.55 - 0.45 * (step as f64 / 96.0 * std::f64::consts::TAU).cos();
                    (0..intervals).map(move |step| level * wave(step)).collect::<Vec<f64>>()
                })
                .map(|value| (peak(cell) * value).max(0.0))
                .collect();
            Some(Paths::new(intervals, values))
        })
        .collect()
}

fn made(topology: &Topology, market: &Market, futures: &[Option<Paths>], budget: Option<f64>) -> AllocationPlan {
    let config = ControllerConfig::default();
    let question = Question {
        topology,
        market,
        config: &config,
        origin: Timestamp::from_secs(1_780_000_000),
        interval: QUARTER,
        steps_per_interval: 1,
        futures,
        budget_per_hour: budget,
    };
    plan(&question, Source { scenario: "ring".to_owned(), model: "given".to_owned(), ..Source::default() })
}

/// What must hold of every plan.
fn sound(
    plan: &AllocationPlan,
    topology: &Topology,
    market: &Market,
    budget: Option<f64>,
) -> Result<(), TestCaseError> {
    let classes = topology.classes.len();
    let cells = topology.cells();
    for interval in plan.rows.chunks(cells) {
        let mut spent = market.committed_per_hour() * topology.regions.len() as f64;
        for (region, rows) in interval.chunks(classes).enumerate() {
            let (mut cpu, mut rate) = (Cpu::ZERO, BitsPerSecond::ZERO);
            let mut reserved = vec![0; topology.flavours.len()];
            for row in rows {
                prop_assert_eq!(&row.region, &topology.regions[region].name);
                for vms in &row.vms {
                    let flavour = topology.flavours.iter().position(|flavour| flavour.name == vms.flavour).unwrap();
                    cpu += topology.flavours[flavour].cpu * u64::from(vms.count);
                    if vms.kind == Kind::Reserved {
                        reserved[flavour] += vms.count;
                    }
                    spent += f64::from(vms.count) * mix::unit_price(market, FlavourId::at(flavour), vms.kind);
                }
                rate += row.guarantee;
                prop_assert!(row.guarantee <= row.ceiling);
                // Nothing is lost without being said.
                let away: f64 = row.spill.iter().map(|spill| spill.sessions).sum();
                let home = row.capacity_sessions - row.guest_sessions;
                let said = row.cut_sessions + row.unserved_sessions + away;
                prop_assert!(home + said >= row.target_sessions * (1.0 - 1e-6) - 0.1, "{row:?}");
                prop_assert!(row.spill.iter().map(|spill| spill.share).sum::<f64>() <= 1.0 + 1e-9);
            }
            let hosts = topology.hosts.iter().filter(|host| host.region.index() == region);
            prop_assert!(cpu <= hosts.map(|host| host.cpu).sum::<Cpu>(), "more than hosts have: {cpu}");
            let access = topology.links[topology.regions[region].access.index()].capacity;
            prop_assert!(rate.as_f64() <= 0.9 * access.as_f64() + 10.0, "{rate} on {access}");
            for (count, tariff) in reserved.iter().zip(&market.tariffs) {
                prop_assert!(*count <= tariff.reserved.map_or(0, |reserved| reserved.count));
            }
        }
        if let Some(budget) = budget {
            let floors: f64 = topology.cell_ids().map(|(_, class)| topology.flavour_of(class).price_per_hour).sum();
            let least = market.committed_per_hour() * topology.regions.len() as f64 + floors;
            prop_assert!(spent <= budget.max(least) + 1e-6, "{spent} of {budget}");
        }
        let came = |what: &dyn Fn(&Row) -> f64| interval.iter().map(what).sum::<f64>();
        let sent = came(&|row| row.spill.iter().map(|spill| spill.sessions).sum());
        prop_assert!((sent - came(&|row| row.guest_sessions)).abs() < 1e-6, "what one sends another takes");
    }
    // Launches and drains lead from each interval to the next.
    let mut standing = vec![0_i64; cells];
    for (at, row) in plan.rows.iter().enumerate() {
        let standing = &mut standing[at % cells];
        *standing += row.launches.iter().map(|change| i64::from(change.count)).sum::<i64>();
        *standing -= row.drains.iter().map(|change| i64::from(change.count)).sum::<i64>();
        prop_assert_eq!(*standing, i64::from(row.vms_total()));
        prop_assert!(row.launches.iter().all(|change| change.at < row.from));
    }
    for region in &plan.regions {
        prop_assert!(region.hosts_used_most <= region.hosts && region.hosts_bound <= region.hosts_used_most);
    }
    let said = |total: f64, what: &str| total <= 1e-9 || plan.remarks.iter().any(|remark| remark.contains(what));
    prop_assert!(said(plan.totals.cut_session_hours, "budget"), "{:?}", plan.remarks);
    prop_assert!(said(plan.totals.spilled_session_hours, "is full"), "{:?}", plan.remarks);
    prop_assert!(said(plan.totals.unserved_session_hours, "no room"), "{:?}", plan.remarks);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_plan_exceeds_rooms_or_money_or_loses_anything_silently(
        regions in 1usize..4,
        hosts in 1usize..4,
        peaks in prop::collection::vec(0.0f64..20_000.0, 6),
        budget in prop::option::of(0.5f64..60.0),
        reserved in prop::option::of(0u32..6),
        spot in prop::option::of(0.0f64..0.9),
    ) {
        let (topology, mut market) = ground(regions, hosts);
        market.tariffs[1].reserved = reserved.map(|count| Reserved { count, price_per_hour: 0.4 });
        market.tariffs[0].spot = spot.map(|share_most| Spot { price_per_hour: 0.15, share_most });
        let futures = futures(&topology, 10, |cell| peaks[cell]);
        let plan = made(&topology, &market, &futures, budget);
        prop_assert_eq!(plan.rows.len(), 10 * topology.cells());
        sound(&plan, &topology, &market, budget)?;
    }
}

#[test]
fn a_day_is_followed_and_a_full_region_spills_to_the_nearest() {
    let (topology, market) = ground(4, 2);
    // ams wants several times what its two hosts hold; its neighbours in the ring are iad and fra.
    let futures = futures(&topology, 96, |cell| if cell == 0 { 9_000.0 } else { 400.0 });
    let plan = made(&topology, &market, &futures, None);
    sound(&plan, &topology, &market, None).unwrap();
    assert!(plan.totals.spilled_session_hours > 100.0, "{:?}", plan.totals);
    let row = plan.rows.iter().find(|row| !row.spill.is_empty()).unwrap();
    assert_eq!((row.region.as_str(), row.class.as_str()), ("ams", "video"));
    assert!(["iad", "fra"].contains(&row.spill[0].region.as_str()), "{row:?}");
    assert_eq!(row.spill[0].round_trip, Duration::from_millis(20));
    // Night and day differ, and the machines follow.
    let web = |interval: usize| plan.rows[interval * topology.cells() + 5].vms_total();
    assert!(web(48) >= web(0));
    let launches = plan.rows.iter().flat_map(|row| row.launches.iter().map(move |change| (row.from, change)));
    for (from, change) in launches {
        // Three minutes to ready, more where hosts boot one lot after the other.
        assert!(from.since(change.at) >= Duration::from_mins(3), "{change:?}");
    }
}

#[test]
fn a_detour_that_the_objective_does_not_allow_is_not_made() {
    let (mut topology, market) = ground(2, 1);
    topology.links.last_mut().unwrap().delay = Duration::from_millis(120);
    // web answers within 250 ms, 20 of them its own; video starts within 2 s.
    let futures = futures(&topology, 4, |cell| match cell {
        0 => 3_000.0,
        1 => 60_000.0,
        _ => 10.0,
    });
    let plan = made(&topology, &market, &futures, None);
    sound(&plan, &topology, &market, None).unwrap();
    assert!(plan.rows.iter().all(|row| row.class == "video" || row.spill.is_empty()), "240 ms and 20 ms are too long");
    assert!(plan.rows.iter().any(|row| row.class == "web" && row.unserved_sessions > 0.0));
    assert!(plan.remarks.iter().any(|remark| remark.contains("no room")), "{:?}", plan.remarks);
}

#[test]
fn a_budget_that_pays_for_all_cuts_nothing_and_a_smaller_one_says_so() {
    let (topology, market) = ground(2, 4);
    let futures = futures(&topology, 12, |_| 1_500.0);
    let free = made(&topology, &market, &futures, None);
    let ample = made(&topology, &market, &futures, Some(free.totals.spent_per_hour_most));
    assert_eq!(free.rows, ample.rows);
    let half = made(&topology, &market, &futures, Some(0.5 * free.totals.spent_per_hour_most));
    assert!(half.totals.spent_per_hour_most <= 0.5 * free.totals.spent_per_hour_most + 1e-9);
    assert!(half.totals.cut_session_hours > 0.0 && half.totals.violation_cost > free.totals.violation_cost);
    assert!(half.remarks.iter().any(|remark| remark.contains("does not pay for all")), "{:?}", half.remarks);
    assert!(half.rows.iter().all(|row| row.vms_total() > 0), "nobody is given up");
}

#[test]
fn plans_are_the_same_every_time_and_survive_json() {
    let (topology, market) = ground(3, 2);
    let futures = futures(&topology, 8, |cell| 800.0 * cell as f64);
    let plan = made(&topology, &market, &futures, Some(20.0));
    assert_eq!(plan, made(&topology, &market, &futures, Some(20.0)));
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<AllocationPlan>(&json).unwrap(), plan);
}
