//! Schedules of faults, each from its seed: what must never be is not, and when faults stop all is as planned.
//!
//! `FOREBAY_SCHEDULES=1000000 cargo test --lib schedules` runs a million; `FOREBAY_SCHEDULE=SEED` runs the one that
//! failed again.

use rayon::prelude::*;

use super::super::trial::Trial;

/// Seconds with faults, and then without: as a rule, and at most. Eight machines of a cell may have to leave one after the
/// other, each with as long to drain as it may have.
const TROUBLED: u64 = 120;
const QUIET: u64 = 260;
const QUIET_MOST: u64 = 520;

fn run(seed: u64) -> Result<Trial, String> {
    let mut trial = Trial::new(seed);
    let named = |what: String, trial: &Trial| format!("FOREBAY_SCHEDULE={seed} at {}: {what}", trial.at);
    trial.trouble_rate = [0.05, 0.15, 0.4][(seed % 3) as usize];
    for _ in 0..TROUBLED {
        trial.beat().map_err(|what| named(what, &trial))?;
    }
    trial.calm();
    for _ in 0..QUIET {
        trial.beat().map_err(|what| named(what, &trial))?;
    }
    for _ in QUIET..QUIET_MOST {
        if trial.settled().is_ok() {
            break;
        }
        trial.beat().map_err(|what| named(what, &trial))?;
    }
    trial.settled().map_err(|what| named(what, &trial))?;
    Ok(trial)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: a whole number")))
}

#[test]
fn no_schedule_of_faults_does_harm_and_all_end_as_planned() {
    if let Some(seed) = number("FOREBAY_SCHEDULE") {
        run(seed).map(|trial| println!("{:#?}", trial.counts)).unwrap_or_else(|what| panic!("{what}"));
        return;
    }
    let schedules = number("FOREBAY_SCHEDULES").unwrap_or(10_000);
    let ends: Vec<_> = (0..schedules).into_par_iter().map(|seed| run(seed).map(|trial| trial.counts)).collect();
    let failed: Vec<&String> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
    for what in failed.iter().take(5) {
        println!("{}", what.chars().take(4_000).collect::<String>());
    }
    assert!(failed.is_empty(), "{} of {schedules} schedules", failed.len());
    // A trial in which little happens tells little.
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for (what, n) in ends.iter().flatten().flatten() {
        *counts.entry(what).or_default() += n;
    }
    println!("{schedules} schedules: {counts:#?}");
    let kinds =
        ["create", "resume", "warm", "answer", "shut down", "remove", "slice", "crash", "orphan", "kill switch"];
    for kind in kinds {
        assert!(counts.get(kind).copied().unwrap_or(0) >= schedules / 10, "{kind}: {counts:?}");
    }
}
