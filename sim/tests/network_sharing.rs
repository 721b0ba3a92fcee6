//! Who gets what: tables with known answers, optimality conditions, and linear programs on random networks.

mod network_model;

use network_model::{Model, ModelGroup, ModelSlice, models, planned};
use proptest::prelude::*;

const MANY: f64 = 1e6;

/// One link of 100; slices as (guarantee, ceiling, weight, priority) with a demand each, one flow each.
fn one_link(slices: &[(u64, u64, u32, u8, f64)], best_effort: f64) -> Vec<f64> {
    let mut model = Model { links: vec![100.0], slices: Vec::new(), groups: Vec::new() };
    for &(guarantee, ceiling, weight, priority, demand) in slices {
        let slice = (demand > 0.0).then_some(model.slices.len());
        model.slices.push(ModelSlice { link: 0, planned: planned(guarantee, ceiling, weight, priority) });
        if slice.is_some() {
            model.groups.push(ModelGroup { path: vec![0], slice, cap: demand, count: 1.0 });
        }
    }
    if best_effort > 0.0 {
        model.groups.push(ModelGroup { path: vec![0], slice: None, cap: best_effort, count: 1.0 });
    }
    let rates = model.rates();
    model.assert_feasible_and_work_conserving(&rates);
    rates
}

#[track_caller]
fn assert_rates(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (got_one, want_one) in got.iter().zip(want) {
        assert!((got_one - want_one).abs() < 1e-9 * want_one.abs().max(1.0), "{got:?} is not {want:?}");
    }
}

#[test]
fn one_link_is_shared_as_by_a_hierarchical_token_bucket() {
    // Guarantees that fill the link are what everybody gets under load.
    assert_rates(&one_link(&[(60, 100, 1, 0, MANY), (40, 100, 1, 0, MANY)], 0.0), &[60.0, 40.0]);
    // A flood in B leaves A what it is guaranteed; what A leaves goes to B.
    assert_rates(&one_link(&[(60, 100, 1, 0, 60.0), (40, 100, 1, 0, 300.0)], 0.0), &[60.0, 40.0]);
    assert_rates(&one_link(&[(60, 100, 1, 0, 30.0), (40, 100, 1, 0, 300.0)], 0.0), &[30.0, 70.0]);
    // B alone gets the link.
    assert_rates(&one_link(&[(60, 100, 1, 0, 0.0), (40, 100, 1, 0, 300.0)], 0.0), &[100.0]);
    // What guarantees leave is shared by weight …
    assert_rates(&one_link(&[(60, 100, 1, 0, MANY), (20, 100, 1, 0, MANY)], 0.0), &[70.0, 30.0]);
    assert_rates(&one_link(&[(60, 100, 3, 0, MANY), (20, 100, 1, 0, MANY)], 0.0), &[75.0, 25.0]);
    assert_rates(
        &one_link(&[(60, 100, 1, 0, MANY), (20, 100, 1, 0, MANY), (20, 100, 1, 0, MANY)], 0.0),
        &[60.0, 20.0, 20.0],
    );
    assert_rates(
        &one_link(&[(30, 100, 1, 0, MANY), (20, 100, 2, 0, MANY), (20, 100, 3, 0, MANY)], 0.0),
        &[35.0, 30.0, 35.0],
    );
    // … up to ceilings …
    assert_rates(&one_link(&[(60, 65, 1, 0, MANY), (20, 100, 1, 0, MANY)], 0.0), &[65.0, 35.0]);
    assert_rates(&one_link(&[(10, 30, 1, 0, MANY), (10, 40, 1, 0, MANY)], 0.0), &[30.0, 40.0]);
    // … and first to who comes first.
    assert_rates(&one_link(&[(20, 100, 1, 1, MANY), (20, 100, 1, 0, MANY)], 0.0), &[20.0, 80.0]);
    assert_rates(
        &one_link(&[(20, 100, 1, 0, 50.0), (20, 100, 1, 1, MANY), (10, 100, 1, 2, MANY)], 0.0),
        &[50.0, 40.0, 10.0],
    );
    // Best effort gets the rest.
    assert_rates(&one_link(&[(20, 50, 1, 0, MANY), (20, 30, 1, 1, MANY)], MANY), &[50.0, 30.0, 20.0]);
    assert_rates(&one_link(&[(20, 100, 1, 7, MANY)], MANY), &[100.0, 0.0]);
    // Guarantees that do not fit are scaled down together.
    assert_rates(&one_link(&[(150, 200, 1, 0, MANY), (50, 200, 1, 0, MANY)], 0.0), &[75.0, 25.0]);
    // A ceiling below the guarantee holds.
    assert_rates(&one_link(&[(60, 30, 1, 0, MANY), (10, 100, 1, 0, MANY)], 0.0), &[30.0, 70.0]);
}

#[test]
fn a_slice_keeps_to_its_weight_while_any_of_its_flows_can_rise() {
    let slices = vec![
        ModelSlice { link: 0, planned: planned(0, 100, 1, 0) },
        ModelSlice { link: 0, planned: planned(0, 100, 1, 0) },
    ];
    let flow = |slice, cap, count| ModelGroup { path: vec![0], slice: Some(slice), cap, count };
    let model = Model {
        links: vec![100.0],
        slices,
        groups: vec![flow(0, 10.0, 1.0), flow(0, 80.0, 2.0), flow(1, 80.0, 1.0), flow(1, 20.0, 1.0)],
    };
    assert_rates(&model.rates(), &[10.0, 20.0, 30.0, 20.0]);
}

#[test]
fn the_long_flow_of_a_parking_lot_gets_half_of_every_link() {
    for links in 1..=6 {
        let flow = |path: Vec<usize>| ModelGroup { path, slice: None, cap: MANY, count: 1.0 };
        let mut groups = vec![flow((0..links).collect())];
        // On a parking lot of one link the long and the short flow take the same path: one group of two.
        groups.extend((0..links).map(|link| ModelGroup { cap: MANY + 1.0, ..flow(vec![link]) }));
        let model = Model { links: vec![10.0; links], slices: Vec::new(), groups };
        assert_rates(&model.rates(), &vec![5.0; links + 1]);
    }
}

#[test]
fn a_cut_link_carries_nothing_and_its_flows_leave_the_rest_to_others() {
    let flow = |path: Vec<usize>| ModelGroup { path, slice: None, cap: MANY, count: 1.0 };
    let model = Model { links: vec![10.0, 0.0], slices: Vec::new(), groups: vec![flow(vec![0]), flow(vec![0, 1])] };
    assert_rates(&model.rates(), &[10.0, 0.0]);
}

#[test]
fn a_guarantee_holds_on_a_link_that_others_share() {
    // Slices on two access links, one backbone of 60 for both: guarantees first, then by weight.
    let model = Model {
        links: vec![100.0, 100.0, 60.0],
        slices: vec![
            ModelSlice { link: 0, planned: planned(30, 100, 1, 0) },
            ModelSlice { link: 1, planned: planned(10, 100, 3, 0) },
        ],
        groups: vec![
            ModelGroup { path: vec![0, 2], slice: Some(0), cap: MANY, count: 1.0 },
            ModelGroup { path: vec![1, 2], slice: Some(1), cap: MANY, count: 5.0 },
        ],
    };
    assert_rates(&model.rates(), &[35.0, 5.0]);
}

#[track_caller]
fn assert_as_by_linear_programs(model: &Model) {
    let (got, want) = (model.rates(), model.rates_by_linear_programs());
    model.assert_feasible_and_work_conserving(&got);
    for (ix, (got_one, want_one)) in got.iter().zip(&want).enumerate() {
        // The programs work with tolerances of 1e-6 that add up over their stages.
        assert!((got_one - want_one).abs() < 1e-3, "group {ix} of {model:#?}\n got {got:?}\nwant {want:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rates_without_slices_are_lexicographically_the_greatest(model in models(5, 7, 0)) {
        assert_as_by_linear_programs(&model);
    }

    #[test]
    fn one_sliced_link_is_filled_as_defined(model in models(1, 7, 4)) {
        assert_as_by_linear_programs(&model);
    }

    #[test]
    fn slices_on_several_links_are_filled_as_defined(model in models(4, 8, 5)) {
        assert_as_by_linear_programs(&model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Bertsekas and Gallager's condition: max-min fair is who is at a cap or has a full link where nobody has more.
    #[test]
    fn every_flow_has_a_bottleneck(model in models(12, 40, 0)) {
        let rates = model.rates();
        model.assert_feasible_and_work_conserving(&rates);
        let carried = model.carried(&rates);
        for (ix, group) in model.groups.iter().enumerate() {
            let most = |link: usize| {
                let on = model.groups.iter().zip(&rates).filter(|(other, _)| other.path.contains(&link));
                on.map(|(_, &rate)| rate).fold(0.0, f64::max)
            };
            let bottleneck = |&link: &usize| {
                carried[link] >= model.links[link] * (1.0 - 1e-9) && rates[ix] >= most(link) * (1.0 - 1e-9)
            };
            prop_assert!(rates[ix] >= group.cap * (1.0 - 1e-9) || group.path.iter().any(bottleneck), "group {ix}");
        }
    }

    #[test]
    fn slices_are_feasible_and_nothing_is_left_unused(model in models(10, 40, 12)) {
        model.assert_feasible_and_work_conserving(&model.rates());
    }

    /// Where guarantees are admitted on every link and nothing else is in the way, they hold whatever others send.
    #[test]
    fn an_admitted_guarantee_holds_under_any_flood(model in models(1, 12, 4)) {
        let rates = model.rates();
        let admitted: f64 = model.slices.iter().map(|slice| slice.planned.guarantee.as_f64()).sum();
        prop_assume!(admitted <= model.links[0]);
        for (ix, got) in model.sliced(&rates).into_iter().enumerate() {
            let own = model.groups.iter().filter(|group| group.slice == Some(ix));
            let offered: f64 = own.map(|group| group.count * group.cap).sum();
            let planned = model.slices[ix].planned;
            let due = offered.min(planned.guarantee.min(planned.ceiling).as_f64());
            prop_assert!(got >= due * (1.0 - 1e-9), "slice {ix}: {got} of {due}");
        }
    }

    /// Max-min fairness raises the least first: who leaves or more capacity never lowers the least rate.
    #[test]
    fn the_least_rate_never_falls_when_there_is_more(model in models(6, 12, 0), link in 0usize..6, gone in 0usize..12) {
        let least = |rates: &[f64], but: usize| {
            rates.iter().enumerate().filter(|(ix, _)| *ix != but).map(|(_, &rate)| rate).fold(f64::INFINITY, f64::min)
        };
        let before = model.rates();
        let mut wider = model.clone();
        wider.links[link] *= 1.5;
        prop_assert!(least(&wider.rates(), usize::MAX) >= least(&before, usize::MAX) * (1.0 - 1e-9));
        let gone = gone % model.groups.len();
        let mut fewer = model.clone();
        fewer.groups.remove(gone);
        if !fewer.groups.is_empty() {
            prop_assert!(least(&fewer.rates(), usize::MAX) >= least(&before, gone) * (1.0 - 1e-9));
        }
    }
}
