use super::*;
use crate::plan::market::{Reserved, Spot, Tariff};
use forebay_world::{BitsPerSecond, Bytes, Cpu};
use proptest::prelude::*;

fn room(cpu: u64, memory: u64, bandwidth: u64) -> Room {
    Room { cpu: Cpu(cpu * 1000), memory: Bytes(memory << 30), bandwidth: BitsPerSecond(bandwidth * 1_000_000_000) }
}

/// Two flavours, the larger twice as much for 1.8 times the price, and two classes.
struct Ground {
    offers: Vec<Vec<Offer>>,
    market: Market,
    sizes: Vec<Room>,
    rooms: Vec<Room>,
}

impl Ground {
    fn new(hosts: usize) -> Self {
        let tariff = |price| Tariff { on_demand_per_hour: price, reserved: None, spot: None };
        let offer = |flavour: u8, sessions_per_vm, price_per_hour| Offer {
            flavour: FlavourId(flavour),
            sessions_per_vm,
            price_per_hour,
            idle_hours: 0.25,
        };
        Ground {
            offers: vec![
                vec![offer(0, 100.0, 0.1), offer(1, 210.0, 0.18)],
                vec![offer(0, 40.0, 0.1), offer(1, 80.0, 0.18)],
            ],
            market: Market {
                allowed: vec![vec![FlavourId(0), FlavourId(1)]; 2],
                tariffs: vec![tariff(0.1), tariff(0.18)],
            },
            sizes: vec![room(2, 4, 1), room(4, 8, 2)],
            rooms: vec![room(16, 64, 10); hosts],
        }
    }

    fn ask<'a>(&'a self, claims: &'a [Claim]) -> Ask<'a> {
        Ask {
            offers: &self.offers,
            market: &self.market,
            sizes: &self.sizes,
            rooms: &self.rooms,
            bandwidths: &[1e6, 1e6],
            access: 1e12,
            ceilings: &[1000, 1000],
            claims,
            standing: None,
            hours: 1.0,
        }
    }
}

fn claim(class: u8, sessions: f64, weight: f64) -> Claim {
    Claim { class: ClassId(class), sessions, present: sessions, weight }
}

fn count(mix: &Mix, class: u8, flavour: u8, kind: Kind) -> u32 {
    mix.machines.get(&(ClassId(class), FlavourId(flavour), kind)).copied().unwrap_or(0)
}

#[test]
fn what_is_cheaper_per_session_is_taken_and_the_rest_fitted() {
    let ground = Ground::new(20);
    // 1000 sessions: 4 large (840) and 2 small (160 left) cost 0.92; 5 large 0.90.
    let mix = solve(&ground.ask(&[claim(0, 1000.0, 1.0)]));
    assert_eq!((count(&mix, 0, 1, Kind::OnDemand), count(&mix, 0, 0, Kind::OnDemand)), (5, 0), "{mix:?}");
    // 900: four large and one small.
    let mix = solve(&ground.ask(&[claim(0, 900.0, 1.0)]));
    assert_eq!((count(&mix, 0, 1, Kind::OnDemand), count(&mix, 0, 0, Kind::OnDemand)), (4, 1), "{mix:?}");
    assert_eq!((mix.method, mix.gap), (Method::Exact, Some(0.0)));
}

#[test]
fn reserved_machines_come_first_and_spot_ones_stay_within_their_share() {
    let mut ground = Ground::new(20);
    ground.market.tariffs[0].reserved = Some(Reserved { count: 3, price_per_hour: 0.05 });
    ground.market.tariffs[1].spot = Some(Spot { price_per_hour: 0.06, share_most: 0.5 });
    let mix = solve(&ground.ask(&[claim(0, 1000.0, 1.0), claim(1, 200.0, 2.0)]));
    let reserved = count(&mix, 0, 0, Kind::Reserved) + count(&mix, 1, 0, Kind::Reserved);
    assert_eq!(reserved, 3, "{mix:?}");
    for class in 0..2 {
        let spot = f64::from(count(&mix, class, 1, Kind::Spot)) * ground.offers[usize::from(class)][1].sessions_per_vm;
        assert!(spot <= 0.5 * capacity(&ground.offers, &mix.machines, ClassId(class)) + 1e-9, "{mix:?}");
    }
    assert!(count(&mix, 0, 1, Kind::Spot) >= 2, "{mix:?}");
    assert_eq!(mix.unserved, [0.0, 0.0]);
}

#[test]
fn what_stands_is_kept_while_changing_it_costs_more_than_it_saves() {
    let ground = Ground::new(20);
    let standing = Machines::from([((ClassId(0), FlavourId(0), Kind::OnDemand), 10)]);
    let claims = [claim(0, 1000.0, 1.0)];
    let at = |hours| solve(&Ask { standing: Some(&standing), hours, ..ground.ask(&claims) });
    assert_eq!(
        count(&at(0.25), 0, 0, Kind::OnDemand),
        10,
        "a tenth of a price for a quarter of an hour is not worth a boot"
    );
    assert_eq!(count(&at(12.0), 0, 1, Kind::OnDemand), 5, "for half a day it is");
}

#[test]
fn where_there_is_no_room_the_class_that_goes_first_is_served() {
    // One host of 16 vCPU: 8 small machines or 4 large.
    let ground = Ground::new(1);
    let claims = [claim(0, 900.0, 1.0), claim(1, 160.0, 4.0)];
    let mix = solve(&ground.ask(&claims));
    assert_eq!(mix.unserved[1], 0.0, "{mix:?}");
    assert!(mix.unserved[0] > 400.0 && mix.unserved[0] < 500.0, "{mix:?}");
    let narrow = solve(&Ask { access: 500e6, ..ground.ask(&claims) });
    assert_eq!(narrow.unserved[1], 0.0);
    assert!((narrow.unserved[0] - (900.0 - 340.0)).abs() < 150.0, "the link carries 340 more: {narrow:?}");
    let capped = solve(&Ask { ceilings: &[2, 1000], ..ground.ask(&claims) });
    let machines: u32 = capped.machines.range(of_class(ClassId(0))).map(|(_, count)| *count).sum();
    assert!(machines <= 2, "{capped:?}");
}

#[test]
fn hosts_one_by_one_take_what_is_asked_or_it_is_left_out() {
    // Hosts of 5 vCPU take one large machine or two small ones: together they look like room for 5 large ones.
    let mut ground = Ground::new(4);
    ground.rooms = vec![room(5, 64, 10); 4];
    let claims = [claim(0, 1000.0, 1.0)];
    let together = solve(&ground.ask(&claims));
    let apart = solve_on_hosts(&ground.ask(&claims)).unwrap();
    let hosts = apart.hosts.as_ref().unwrap();
    assert!(crate::plan::packing::fits(&ground.rooms, &ground.sizes, hosts));
    assert!((apart.unserved[0] - 160.0).abs() < 1e-6, "{apart:?}");
    assert!(together.unserved[0] <= 1e-6, "{together:?}");
}

/// The least cost over every count of four kinds of machine, as the program counts it.
fn brute_force(ask: &Ask<'_>, keys: &[(ClassId, FlavourId, Kind)], most: u32) -> f64 {
    let mut best = f64::INFINITY;
    for code in 0..(most + 1).pow(keys.len() as u32) {
        let mut rest = code;
        let machines: Machines = keys
            .iter()
            .map(|key| {
                let count = rest % (most + 1);
                rest /= most + 1;
                (*key, count)
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        if within(ask, &machines) {
            best = best.min(program::objective(ask, &measured(ask, Method::Exact, machines)));
        }
    }
    best
}

/// Branch and bound is content with being near its bound, and greedy was nearer.
#[test]
fn what_is_in_plain_sight_is_not_passed_over() {
    let mut ground = Ground::new(4);
    ground.market.tariffs[0].reserved = Some(Reserved { count: 3, price_per_hour: 0.05 });
    let claims = [claim(0, 1746.6905247192797, 1.0), claim(1, 742.3246970274804, 2.0)];
    let ask = ground.ask(&claims);
    let (mix, best) = (greedy::solve(&ask), solve(&ask));
    let (found, best) = (program::objective(&ask, &mix), program::objective(&ask, &best));
    assert!(best <= found + 1e-6, "{best} {found}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_mix_costs_less(
        first in 0.0f64..700.0,
        second in 0.0f64..250.0,
        hosts in 1usize..3,
        reserved in prop::option::of(0u32..3),
        standing in 0u32..4,
    ) {
        let mut ground = Ground::new(hosts);
        ground.market.tariffs[0].reserved = reserved.map(|count| Reserved { count, price_per_hour: 0.05 });
        let claims = [claim(0, first, 1.0), claim(1, second, 2.0)];
        let standing = Machines::from([((ClassId(0), FlavourId(0), Kind::OnDemand), standing)]);
        let ask = Ask { standing: Some(&standing), ..ground.ask(&claims) };
        let mut keys = Vec::new();
        for class in 0..2 {
            for flavour in 0..2 {
                keys.push((ClassId(class), FlavourId(flavour), Kind::OnDemand));
            }
            if reserved.is_some() {
                keys.push((ClassId(class), FlavourId(0), Kind::Reserved));
            }
        }
        let mix = solve(&ask);
        prop_assert!(within(&ask, &mix.machines));
        let (found, best) = (program::objective(&ask, &mix), brute_force(&ask, &keys, 4));
        // Brute force stops at four of a kind; where it finds better, the mix was not the best.
        prop_assert!(found <= best + 1e-6 * best.abs().max(1.0), "{found} not {best}: {mix:?}");
    }

    #[test]
    fn greedy_keeps_every_limit_and_its_gap_is_true(
        first in 0.0f64..3000.0,
        second in 0.0f64..900.0,
        hosts in 1usize..6,
        spot in prop::option::of(0.0f64..1.0),
        reserved in prop::option::of(0u32..5),
    ) {
        let mut ground = Ground::new(hosts);
        ground.market.tariffs[0].reserved = reserved.map(|count| Reserved { count, price_per_hour: 0.05 });
        ground.market.tariffs[1].spot = spot.map(|share_most| Spot { price_per_hour: 0.07, share_most });
        let claims = [claim(0, first, 1.0), claim(1, second, 2.0)];
        let ask = ground.ask(&claims);
        let (mix, best) = (greedy::solve(&ask), solve(&ask));
        prop_assert!(within(&ask, &mix.machines) && within(&ask, &best.machines));
        let (found, best) = (program::objective(&ask, &mix), program::objective(&ask, &best));
        prop_assert!(best <= found + 1e-6 * found.abs().max(1.0), "{best} {found}");
        let gap = mix.gap.unwrap();
        prop_assert!(found <= best * (1.0 + gap) + 1e-6 * found.abs().max(1.0), "{found} {best} {gap}");
    }
}
