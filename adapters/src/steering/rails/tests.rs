use std::collections::BTreeMap;
use std::net::IpAddr;

use forebay_world::Generation;
use proptest::prelude::*;

use super::*;
use crate::steering::standing::StandingName;
use crate::steering::{Expressed, Shares};

const RAILS: Rails = Rails {
    share_moved_most: 0.1,
    answers_least: 2,
    ttl_least_seconds: 10,
    drain: Drain { ttls: 3.0, tail_seconds: 60.0 },
};

fn address(number: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, number as u8])
}

/// Addresses by number with weight and health.
fn wanted(members: &[(u32, bool)]) -> Answers {
    let member = |(at, (weight, healthy)): (usize, &(u32, bool))| {
        let health = if *healthy { Health::Healthy } else { Health::Unhealthy };
        (address(at), Member { site: RegionId(0), weight: *weight, health })
    };
    let pool = members.iter().enumerate().map(member).collect();
    let name = NameAnswers { ttl_seconds: 20, pools: [(Clients::Others, pool)].into() };
    Answers { generation: Generation(2), names: [("a.test".parse().unwrap(), name)].into() }
}

/// What stands once a step has been applied.
fn stands(answers: &Answers) -> Standing {
    let name = |(name, asked): (DnsName, Shares)| {
        (name, StandingName { generation: answers.generation, asked, answered: Expressed::default() })
    };
    let names = answers.shares().expect("what rails let through can be answered").into_iter().map(name).collect();
    Standing { generation: Some(answers.generation), names, ..Standing::default() }
}

fn parts(answers: &Answers) -> BTreeMap<IpAddr, u32> {
    let shares = answers.shares().unwrap().into_values().next().unwrap();
    shares.pools[&Clients::Others].iter().map(|(address, share)| (*address, share.parts)).collect()
}

#[test]
fn what_is_far_is_reached_in_steps() {
    let mut standing = stands(&wanted(&[(8, true), (2, true)]));
    let goal = wanted(&[(2, true), (8, true)]);
    let mut seen = Vec::new();
    loop {
        let step = RAILS.step(&standing, &goal);
        seen.push(parts(&step.answers)[&address(0)]);
        standing = stands(&step.answers);
        if step.share_left == 0.0 {
            break;
        }
        let said = step.remarks.iter().map(Remark::to_string).collect::<Vec<_>>().join("\n");
        assert!(said.contains("are moved in this step"), "{said}");
    }
    assert_eq!(seen, [7000, 6000, 5000, 4000, 3000, 2000]);
    let step = RAILS.step(&standing, &goal);
    assert_eq!((step.share_moved, step.remarks.len()), (0.0, 0));
}

#[test]
fn the_unhealthy_go_at_once_and_stay_when_all_are() {
    let standing = stands(&wanted(&[(5, true), (3, true), (2, true)]));
    let step = RAILS.step(&standing, &wanted(&[(5, false), (3, true), (2, true)]));
    assert_eq!(parts(&step.answers), [(address(1), 6000), (address(2), 4000)].into());
    assert_eq!(step.drained, [(address(0), 120.0)].into());
    assert!(matches!(&step.remarks[..], [Remark::Gone { addresses, .. }] if *addresses == [address(0)]), "{step:?}");
    let step = RAILS.step(&standing, &wanted(&[(9, false), (3, false), (2, false)]));
    assert_eq!(parts(&step.answers), parts(&wanted(&[(5, true), (3, true), (2, true)])));
    assert!(matches!(&step.remarks[..], [Remark::LastGoodKept { addresses, .. }] if addresses.len() == 3), "{step:?}");
    assert!(step.remarks[0].to_string().contains("nothing is healthy, so the last good stay: 192.0.2.0"));
    let member = step.answers.names.values().next().unwrap().pools[&Clients::Others][&address(0)];
    assert_eq!(member.health, Health::LastGood);
    // Nothing stood: there is nothing to keep, and the name is left out.
    let step = RAILS.step(&Standing::default(), &wanted(&[(9, false)]));
    assert!(step.answers.names.is_empty() && matches!(step.remarks[..], [Remark::NothingHealthy { .. }]), "{step:?}");
}

#[test]
fn as_many_are_answered_as_must_be() {
    let standing = stands(&wanted(&[(5, true), (5, true), (0, true)]));
    // Two are drained: the one that stands is kept.
    let step = RAILS.step(&standing, &wanted(&[(9, true), (0, true), (0, true)]));
    assert_eq!(parts(&step.answers), [(address(0), 5000), (address(1), 5000)].into());
    assert!(matches!(&step.remarks[..], [Remark::Added { addresses, .. }] if *addresses == [address(1)]), "{step:?}");
    let step = RAILS.step(&standing, &wanted(&[(9, true), (3, false)]));
    assert_eq!(parts(&step.answers), [(address(0), WHOLE)].into());
    assert!(
        step.remarks.iter().any(|remark| matches!(remark, Remark::TooFew { healthy: 1, least: 2, .. })),
        "{step:?}"
    );
}

#[test]
fn the_time_to_live_has_a_floor() {
    let mut goal = wanted(&[(1, true), (1, true)]);
    goal.names.values_mut().for_each(|name| name.ttl_seconds = 1);
    let step = RAILS.step(&Standing::default(), &goal);
    assert_eq!(step.answers.names.values().next().unwrap().ttl_seconds, 10);
    assert!(step.remarks[0].to_string().contains("raised from 1 s to 10 s"));
}

#[test]
fn a_drained_address_may_be_stopped_after_its_answers_have_run_out() {
    let standing = stands(&wanted(&[(1, true), (9, true), (9, true)]));
    let step = RAILS.step(&standing, &wanted(&[(0, true), (9, true), (9, true)]));
    assert_eq!(step.drained, [(address(0), 3.0 * 20.0 + 60.0)].into());
    // Nothing is drained that is on its way out but still answered.
    let standing = stands(&wanted(&[(9, true), (9, true), (9, true)]));
    assert!(RAILS.step(&standing, &wanted(&[(0, true), (9, true), (9, true)])).drained.is_empty());
}

#[test]
fn bounds_that_mean_nothing_are_refused() {
    for rails in [
        Rails { share_moved_most: 0.0, ..RAILS },
        Rails { share_moved_most: f64::NAN, ..RAILS },
        Rails { share_moved_most: 1.1, ..RAILS },
        Rails { answers_least: 0, ..RAILS },
        Rails { drain: Drain { ttls: -1.0, tail_seconds: 0.0 }, ..RAILS },
    ] {
        assert!(rails.check().unwrap_err().contains("allowed"));
    }
}

proptest! {
    #[test]
    fn no_step_breaks_a_rail_and_steps_arrive(
        first in proptest::collection::vec((0u32..100, any::<bool>()), 1..8),
        goals in proptest::collection::vec(proptest::collection::vec((0u32..100, any::<bool>()), 1..8), 1..4),
        most in 1u32..=100,
        answers_least in 1usize..4,
    ) {
        let rails = Rails { share_moved_most: f64::from(most) / 100.0, answers_least, ..RAILS };
        let mut standing = {
            let step = rails.step(&Standing::default(), &wanted(&first));
            if step.answers.names.is_empty() { Standing::default() } else { stands(&step.answers) }
        };
        for goal in &goals {
            let healthy: Vec<usize> = (0..goal.len()).filter(|at| goal[*at].1).collect();
            let mut left = f64::INFINITY;
            for round in 0.. {
                prop_assert!(round <= 101, "it arrives");
                let step = rails.step(&standing, &wanted(goal));
                prop_assert!(step.share_moved <= rails.share_moved_most + 1e-9);
                prop_assert!(step.share_left < left);
                left = if step.share_left > 0.0 { step.share_left } else { f64::INFINITY };
                let Some(name) = step.answers.names.values().next() else {
                    prop_assert!(healthy.is_empty() && standing.names.is_empty());
                    break;
                };
                prop_assert!(name.ttl_seconds >= rails.ttl_least_seconds);
                let answered = parts(&step.answers);
                prop_assert_eq!(answered.values().sum::<u32>(), WHOLE);
                if healthy.is_empty() {
                    // The last good stay as they are among themselves.
                    let said = step.remarks.iter().any(|remark| matches!(remark, Remark::LastGoodKept { .. }));
                    prop_assert!(said);
                } else {
                    for address in answered.keys() {
                        prop_assert!(healthy.iter().any(|at| self::address(*at) == *address), "{address} is unhealthy");
                    }
                    let last = step.share_left == 0.0;
                    prop_assert!(!last || answered.len() >= answers_least.min(healthy.len()));
                }
                for address in step.drained.keys() {
                    prop_assert!(!answered.contains_key(address));
                }
                standing = stands(&step.answers);
                if step.share_left == 0.0 {
                    break;
                }
            }
        }
    }
}
