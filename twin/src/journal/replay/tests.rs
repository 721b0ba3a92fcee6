use super::*;
use crate::controller::ControllerConfig;
use crate::drive::drive;
use crate::journal::{Header, Journal};
use crate::policy::Foresight;
use crate::small_world::{SmallWorld, topology};
use forebay_world::{ClassId, Duration, KnownEvent, RegionId, Timestamp};
use proptest::prelude::*;
use std::ops::ControlFlow;

const MINUTE: Duration = Duration::from_mins(1);
const START: Timestamp = Timestamp::from_secs(1_750_032_000);

/// The journal of some eventful hours: a crowd, a known event, lost hosts, silence, misses.
fn journal(policy_name: &str, hours: u64) -> Vec<u8> {
    let topology = Arc::new(topology(2));
    let mut config = ControllerConfig::default();
    config.policy.scheduled.entries =
        vec![toml::from_str("cells = \"*\"\nfrom = \"00:00\"\nuntil = \"24:00\"\nvms = 5").unwrap()];
    let demand = |cell: usize, at: Timestamp| {
        let hour = at.since(START).as_hours_f64();
        400.0 + 100.0 * cell as f64 + 150.0 * (hour * 1.3).sin() + if (1.0..1.4).contains(&hour) { 700.0 } else { 0.0 }
    };
    let foresight = Foresight {
        start: START,
        step: MINUTE,
        sessions: (0..topology.cells())
            .map(|cell| (0..hours * 60).map(|minute| demand(cell, START + MINUTE * minute)).collect())
            .collect(),
    };
    let knowledge = Knowledge::of_foresight(Arc::new(foresight));
    let policy = policy::build(policy_name, &config, &topology, &knowledge).unwrap();
    let header = Header::new(&topology, &config, policy_name, Some(7), &knowledge);
    let mut controller = Controller::new(Arc::clone(&topology), config, policy);
    let mut world = SmallWorld::new(topology, START, Arc::new(demand));
    world.unreachable_at = vec![START + MINUTE * 20];
    world.events = vec![KnownEvent {
        id: "final".to_owned(),
        kind: "football".to_owned(),
        start: START + MINUTE * 55,
        end: START + MINUTE * 90,
        regions: vec![RegionId(0)],
        classes: vec![ClassId(0)],
        uplift: Some(1.7),
    }];
    let log = std::cell::RefCell::new(Journal::begin(Vec::new(), &header).unwrap());
    drive(
        &mut world,
        &mut controller,
        MINUTE,
        START + Duration::from_hours(hours),
        |world, _, seen, plan, decision| {
            log.borrow_mut().tick(&seen, &plan, &decision).unwrap();
            let minute = seen.at.since(START) / MINUTE;
            world.down[..4].fill((70..85).contains(&minute));
            world.blind[2] = (30..50).contains(&minute);
            ControlFlow::Continue(())
        },
        |_, at, error| log.borrow_mut().missed(at, error).unwrap(),
    )
    .unwrap();
    log.into_inner().finish().unwrap()
}

#[test]
fn every_policy_replays_byte_for_byte() {
    for name in policy::NAMES {
        let report = replay(&journal(name, 2)[..]).unwrap();
        assert_eq!(report.difference, None, "{name}");
        assert_eq!((report.ticks, report.missed, report.truncated), (119, 1, false), "{name}");
        assert!(report.plans > 1);
        assert_eq!(report.policy, *name);
    }
}

#[test]
fn slices_that_come_and_go_replay_byte_for_byte() {
    let topology = Arc::new(topology(2));
    let mut config = ControllerConfig::default();
    (config.guard.floor, config.slicing.linger) = (0, MINUTE * 3);
    // Local time of the first region, two hours ahead of the run's.
    let entry = "cells = \"ams/*\"\nfrom = \"02:20\"\nuntil = \"02:40\"\nvms = 2";
    config.policy.scheduled.entries = vec![toml::from_str(entry).unwrap()];
    let policy = policy::build("scheduled", &config, &topology, &Knowledge::default()).unwrap();
    let header = Header::new(&topology, &config, "scheduled", None, &Knowledge::default());
    let mut controller = Controller::new(Arc::clone(&topology), config, policy);
    // Somebody wants the last cell for a while; the link of the first is asked for more than it has.
    let demand = |cell: usize, at: Timestamp| match (cell, at.since(START) / MINUTE) {
        (3, 30..50) => 60.0,
        (0 | 1, 25..30) => 20_000.0,
        _ => 0.0,
    };
    let mut world = SmallWorld::new(topology, START, Arc::new(demand));
    let mut log = Journal::begin(Vec::new(), &header).unwrap();
    let (mut counts, mut gave_way) = (Vec::new(), 0);
    drive(
        &mut world,
        &mut controller,
        MINUTE,
        START + Duration::from_hours(1),
        |_, _, seen, plan, decision| {
            log.tick(&seen, &plan, &decision).unwrap();
            counts.push(plan.slices.len());
            gave_way += decision.cells.iter().filter(|cell| cell.gave_way.is_some()).count();
            ControlFlow::Continue(())
        },
        |_, at, error| panic!("{at}: {error}"),
    )
    .unwrap();
    counts.dedup();
    assert_eq!((counts.first(), counts.last()), (Some(&0), Some(&0)), "{counts:?}");
    assert!(counts.iter().any(|count| *count >= 3), "{counts:?}");
    assert!(gave_way > 0);
    assert_eq!(replay(&log.finish().unwrap()[..]).unwrap().difference, None);
}

#[test]
fn a_tampered_journal_is_caught_where_it_was_tampered_with() {
    let text = String::from_utf8(journal("predictive", 1)).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let tick = (5..50).find(|tick| lines[tick + 1].contains("\"plan\":{\"generation\"")).unwrap();
    let line = &lines[tick + 1];
    let at = line.find("\"intent\":\"running\"").unwrap();
    let tampered = format!("{}\"intent\":\"draining\"{}", &line[..at], &line[at + "\"intent\":\"running\"".len()..]);
    lines[tick + 1] = tampered;
    let difference = replay((lines.join("\n") + "\n").as_bytes()).unwrap().difference.unwrap();
    assert_eq!((difference.tick, difference.line), (tick as u64, tick as u64 + 2));
    assert!(difference.path.starts_with("plan.vms.") && difference.path.ends_with(".intent"), "{}", difference.path);
    assert_eq!((difference.recorded.as_str(), difference.replayed.as_str()), ("\"draining\"", "\"running\""));

    // A changed observation shows in what comes of it; a mere blank is a difference, too.
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[30] = lines[30].replacen("\"arrivals\":", "\"arrivals\": ", 1);
    let difference = replay((lines.join("\n") + "\n").as_bytes()).unwrap().difference.unwrap();
    assert_eq!((difference.line, difference.path.as_str()), (31, ""));
}

#[test]
fn a_last_line_that_was_cut_off_is_left_out() {
    let text = journal("hpa", 1);
    let report = replay(&text[..text.len() - 40]).unwrap();
    assert_eq!((report.ticks, report.truncated, report.difference), (58, true, None));
}

#[test]
fn what_is_no_journal_is_refused_by_line() {
    let text = String::from_utf8(journal("hpa", 1)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |line: usize, new: &str| {
        let mut lines = lines.clone();
        lines[line] = new;
        replay((lines.join("\n") + "\n").as_bytes()).map(|_| ()).unwrap_err().to_string()
    };
    assert!(replay(&b""[..]).unwrap_err().to_string().contains("empty"));
    assert!(with(0, "{}").contains("no journal"));
    assert!(with(0, &lines[0].replace("\"journal\":1", "\"journal\":99")).contains("format 99"));
    assert!(with(0, &lines[0].replace("\"policy\":\"hpa\"", "\"policy\":\"tarot\"")).contains("header"));
    assert!(with(0, &lines[0].replace("\"access\":1", "\"access\":9")).contains("no link 9"));
    assert!(with(4, "{\"tick\":3").contains("line 5"));
    assert!(with(4, "").contains("line 5"));
    let short = lines[4].replace("\"hosts\":[{\"up\":true},", "\"hosts\":[");
    assert!(with(4, &short).contains("observation.hosts: 7 entries"), "{}", with(4, &short));
}

/// A header that says what cannot be, or what would take for ever, is refused or bounded before anything is followed.
#[test]
fn a_header_that_cannot_be_is_refused_and_one_that_is_absurd_ends() {
    let text = String::from_utf8(journal("predictive", 1)).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut header: serde_json::Value = serde_json::from_str(first).unwrap();
        change(&mut header);
        replay(format!("{header}\n{rest}").as_bytes())
    };
    let said = |change: &dyn Fn(&mut serde_json::Value)| format!("{:?}", with(change).map(|_| ()).unwrap_err());
    with(&|_| ()).unwrap();
    let idle = said(&|header| header["topology"]["flavours"][0]["cpu"] = "0 vCPU".into());
    assert!(idle.contains("serve no session"), "{idle}");
    for step in ["0 s", "1 ns", "2 h", "100000 d"] {
        let refused = said(&|header| {
            let rates = vec![vec![1.0; 3]; 4];
            header["hindsight"] =
                serde_json::json!({"start": "2025-06-15T00:00:00Z", "step": step, "arrivals_per_second": rates});
        });
        assert!(refused.contains("Hindsight"), "{step}: {refused}");
    }
    // A machine that takes ages to boot is looked ahead for a day: the journal differs, and the replay ends.
    let ages = with(&|header| header["topology"]["flavours"][0]["boot_median"] = "10000 d".into());
    assert!(ages.is_err() || ages.unwrap().difference.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn no_damage_makes_a_replay_panic(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        thread_local!(static TEXT: Vec<u8> = {
            let text = journal("predictive", 1);
            let end = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(12).unwrap().0;
            text[..=end].to_vec()
        });
        let mut text = TEXT.with(Clone::clone);
        for (at, byte) in cuts {
            let at = at.index(text.len());
            // Digits become other digits: damage that often still parses.
            text[at] = if text[at].is_ascii_digit() { b'0' + byte % 10 } else { byte };
        }
        let _ = replay(&text[..]);
    }
}
