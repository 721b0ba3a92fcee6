use super::*;
use crate::small_world::{quiet, topology};
use forebay_world::{Duration, LinkId, LinkUse, Timestamp};
use proptest::prelude::*;

const GBIT: u64 = 1_000_000_000;

fn gbit(rate: u64) -> BitsPerSecond {
    BitsPerSecond(rate * GBIT)
}

/// A cell with machines and so much demand, all of it there already.
fn carried(rate: u64) -> Need {
    Need { cover: Some(gbit(rate)), now: Some(gbit(rate)), machines: true, demand: Some(rate > 0) }
}

/// A cell with machines and so much demand to come.
fn expected(rate: u64) -> Need {
    Need { now: Some(BitsPerSecond::ZERO), ..carried(rate) }
}

fn guarantees(slices: &BTreeMap<SliceId, PlannedSlice>) -> Vec<u64> {
    slices.values().map(|slice| slice.guarantee.0 / GBIT).collect()
}

fn slicing(text: &str, topology: &Topology) -> Slicing {
    Slicing::new(&toml::from_str(text).unwrap(), topology)
}

fn at(topology: &Topology, minute: u64) -> Observation {
    quiet(topology, Timestamp::EPOCH + Duration::from_mins(minute))
}

#[test]
fn guarantees_follow_demand_in_steps_and_do_not_breathe() {
    let topology = topology(1);
    let seen = quiet(&topology, Timestamp::EPOCH);
    let mut slicing = slicing("", &topology);
    let mut go = |slices: &BTreeMap<_, _>, video, web| {
        slicing.slice(slices, &seen, &[carried(video), carried(web)], &topology).slices
    };
    let first = go(&BTreeMap::new(), 12, 3).unwrap();
    assert_eq!(guarantees(&first), [15, 5]);
    assert_eq!(go(&first, 14, 1), None);
    assert_eq!(go(&first, 8, 0), None, "one idle step is kept");
    assert_eq!(guarantees(&go(&first, 4, 3).unwrap()), [5, 5]);
    let unseen = [Need { machines: true, ..Need::default() }; 2];
    let first = slicing.slice(&BTreeMap::new(), &seen, &[carried(5), carried(3)], &topology).slices.unwrap();
    assert_eq!(slicing.slice(&first, &seen, &unseen, &topology).slices, None);
}

#[test]
fn the_class_that_goes_first_is_admitted_first_and_the_other_is_told_why() {
    let topology = topology(1);
    let mut seen = quiet(&topology, Timestamp::EPOCH);
    let mut slicing = slicing("", &topology);
    let both = [carried(80), carried(60)];
    // 90 of 100 Gbit/s can be reserved; web goes before video.
    let sliced = slicing.slice(&BTreeMap::new(), &seen, &both, &topology);
    let slices = sliced.slices.unwrap();
    assert_eq!(guarantees(&slices), [30, 60]);
    assert_eq!(sliced.gave_way.len(), 1);
    let gave_way = &sliced.gave_way[&SliceId(0)];
    assert_eq!((gave_way.asked, gave_way.granted), (gbit(80), gbit(30)));
    assert_eq!(gave_way.reason, "asked 80 Gbit/s, granted 30 Gbit/s: web (priority 0) goes first");
    let used = BitsPerSecond::ZERO;
    seen.links[0] = Some(LinkUse { link: LinkId(0), capacity: gbit(50), used });
    let sliced = slicing.slice(&slices, &seen, &both, &topology);
    assert_eq!(guarantees(&sliced.slices.unwrap()), [0, 45], "a degraded link guarantees no more than it has");
    let reasons: Vec<&str> = sliced.gave_way.values().map(|gave_way| gave_way.reason.as_str()).collect();
    let expected = [
        "asked 80 Gbit/s, granted 0 bit/s: web (priority 0) goes first; ams-access carries 50 Gbit/s of 100 Gbit/s",
        "asked 60 Gbit/s, granted 45 Gbit/s: ams-access carries 50 Gbit/s of 100 Gbit/s",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn within_a_priority_the_price_decides_and_is_told() {
    let mut topology = topology(1);
    topology.classes.iter_mut().for_each(|class| class.priority = 0);
    topology.classes[0].violation_price_per_minute = 0.02;
    topology.classes[1].violation_price_per_minute = 0.6;
    let seen = quiet(&topology, Timestamp::EPOCH);
    let needs = [carried(60), carried(60)];
    let sliced = Slicing::new(&SlicingConfig::default(), &topology).slice(&BTreeMap::new(), &seen, &needs, &topology);
    assert_eq!(guarantees(&sliced.slices.unwrap()), [30, 60]);
    assert_eq!(
        sliced.gave_way[&SliceId(0)].reason,
        "asked 60 Gbit/s, granted 30 Gbit/s: web (0.6 / min for 60 Gbit/s) goes first"
    );
    topology.classes[0].violation_price_per_minute = 0.6;
    let sliced = Slicing::new(&SlicingConfig::default(), &topology).slice(&BTreeMap::new(), &seen, &needs, &topology);
    assert_eq!(guarantees(&sliced.slices.unwrap()), [45, 45]);
    assert_eq!(sliced.gave_way[&SliceId(1)].reason, "asked 60 Gbit/s, granted 45 Gbit/s: video shares in proportion");
}

#[test]
fn what_is_asked_alone_above_what_can_be_reserved_is_told() {
    let topology = topology(1);
    let seen = quiet(&topology, Timestamp::EPOCH);
    let sliced = slicing("", &topology).slice(&BTreeMap::new(), &seen, &[Need::default(), carried(100)], &topology);
    assert_eq!(
        sliced.gave_way[&SliceId(1)].reason,
        "asked 100 Gbit/s, granted 90 Gbit/s: of 100 Gbit/s, 90 Gbit/s is all that is guaranteed"
    );
}

#[test]
fn what_the_operator_fixed_stands() {
    let topology = topology(1);
    let fixed = r#"fixed = [{ cells = "ams/video", guarantee = "20 Gbit/s", ceiling = "30 Gbit/s", weight = 7 }]"#;
    let mut slicing = slicing(fixed, &topology);
    let seen = quiet(&topology, Timestamp::EPOCH);
    let slices = slicing.slice(&BTreeMap::new(), &seen, &[expected(1), expected(1)], &topology).slices.unwrap();
    let video = slices[&SliceId(0)];
    assert_eq!((video.guarantee.0, video.ceiling.0, video.weight), (20 * GBIT, 30 * GBIT, 7));
    assert_eq!((video.dscp, video.latency), (26, Some(Duration::from_millis(125))));
}

#[test]
fn a_ceiling_bounds_what_is_asked_for() {
    let topology = topology(1);
    let seen = quiet(&topology, Timestamp::EPOCH);
    // 33 Gbit/s is no whole number of steps of 5 Gbit/s.
    for config in ["ceiling_share = 0.33", "fixed = [{ cells = \"*/video\", ceiling = \"33 Gbit/s\" }]"] {
        let slices = slicing(config, &topology).slice(&BTreeMap::new(), &seen, &[carried(80), carried(1)], &topology);
        let video = slices.slices.unwrap()[&SliceId(0)];
        assert_eq!((video.guarantee, video.ceiling), (gbit(33), gbit(33)), "{config}");
    }
}

#[test]
fn a_forecast_takes_the_link_in_parts_and_has_it_when_machines_are_ready() {
    let topology = topology(1);
    // Machines are ready after three minutes.
    let mut slicing = slicing("max_rise_share = 0.05", &topology);
    let mut slices = BTreeMap::new();
    let course: Vec<u64> = (0..4)
        .map(|minute| {
            let needs = [expected(80), carried(5)];
            if let Some(next) = slicing.slice(&slices, &at(&topology, minute), &needs, &topology).slices {
                slices = next;
            }
            slices[&SliceId(0)].guarantee.0 / GBIT
        })
        .collect();
    assert_eq!(course, [20, 40, 60, 80]);
}

#[test]
fn a_link_that_comes_back_gives_back_at_once() {
    let topology = topology(1);
    let mut slicing = slicing("max_rise_share = 0.05\nmax_fall_share = 0.05", &topology);
    let needs = [carried(40), carried(40)];
    let mut seen = at(&topology, 0);
    let whole = slicing.slice(&BTreeMap::new(), &seen, &needs, &topology).slices.unwrap();
    seen.links[0] = Some(LinkUse { link: LinkId(0), capacity: gbit(50), used: BitsPerSecond::ZERO });
    let cut = slicing.slice(&whole, &seen, &needs, &topology).slices.unwrap();
    assert_eq!(guarantees(&cut), [5, 40]);
    let back = slicing.slice(&cut, &at(&topology, 1), &needs, &topology);
    assert_eq!((back.slices, back.gave_way.len()), (Some(whole), 0));
}

#[test]
fn rates_are_told_in_three_digits() {
    let cases = [
        (0, "0 bit/s"),
        (999, "999 bit/s"),
        (1_000, "1 kbit/s"),
        (2_650_000_001, "2.65 Gbit/s"),
        (12_340_000_000, "12.3 Gbit/s"),
        (999_600_000, "1 Gbit/s"),
        (300_000_000, "300 Mbit/s"),
        (1_500_000_000_000, "1.5 Tbit/s"),
    ];
    for (bits, text) in cases {
        assert_eq!(rate(BitsPerSecond(bits)), text);
    }
}

proptest! {
    #[test]
    fn guarantees_always_fit_their_link_and_who_gave_way_is_named(
        rounds in prop::collection::vec((prop::collection::vec(prop::option::of(0u64..300), 4), 0u64..101), 1..20),
    ) {
        let topology = topology(2);
        let mut slicing = Slicing::new(&SlicingConfig::default(), &topology);
        let mut slices = BTreeMap::new();
        for (minute, (demand, capacity)) in rounds.iter().enumerate() {
            let mut seen = at(&topology, minute as u64);
            let (link, used) = (LinkId(0), BitsPerSecond::ZERO);
            seen.links[0] = Some(LinkUse { link, capacity: gbit(*capacity), used });
            let needs: Vec<Need> = demand
                .iter()
                .map(|rate| rate.map_or(Need { machines: true, ..Need::default() }, carried))
                .collect();
            let sliced = slicing.slice(&slices, &seen, &needs, &topology);
            if let Some(next) = sliced.slices {
                prop_assert_ne!(&next, &slices);
                slices = next;
            }
            let sum = |cells: [u32; 2]| cells.iter().map(|id| slices[&SliceId(*id)].guarantee.0).sum::<u64>();
            let left = if *capacity == 0 { 100 } else { *capacity };
            prop_assert!(sum([0, 1]) <= left * GBIT * 9 / 10);
            prop_assert!(sum([2, 3]) <= 90 * GBIT);
            prop_assert!(slices.values().all(|slice| slice.guarantee <= slice.ceiling));
            for (id, gave_way) in &sliced.gave_way {
                prop_assert!(gave_way.granted < gave_way.asked);
                prop_assert_eq!(gave_way.granted, slices[id].guarantee);
            }
        }
    }
}
