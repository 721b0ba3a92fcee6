//! What simulations of a production file foretell: the same regions, flavours, classes, events and controller, under load
//! that is made up.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use forebay_world::{Duration, Timestamp};
use toml::Table;

use super::chronicle::{Chronicle, Moment};

/// Sections that a production file and a scenario share.
const SHARED: [&str; 5] = ["region", "flavour", "class", "event", "controller"];

/// A scenario of what a production file describes, under a load.
pub(crate) fn scenario(production: &str, load: &str) -> String {
    let mut scenario: Table = load.parse().unwrap();
    let production: Table = production.parse().unwrap();
    for section in SHARED {
        let before = scenario.insert(section.to_owned(), production[section].clone());
        assert!(before.is_none(), "{section} is production's to say");
    }
    scenario.to_string()
}

/// What each of many runs came to.
pub(crate) struct Foretelling {
    runs: Vec<Chronicle>,
}

impl Foretelling {
    /// Runs a scenario under seeds from 1 on, in a folder.
    pub(crate) fn of(scenario: &str, seeds: u32, folder: &Path) -> Foretelling {
        std::fs::create_dir(folder).unwrap();
        let file = folder.join("edge.toml");
        std::fs::write(&file, scenario).unwrap();
        let run = |seed: u32| {
            let out = folder.join(seed.to_string());
            let output = Command::new(env!("CARGO_BIN_EXE_forebay"))
                .args(["run", "--headless", "--seed", &seed.to_string(), "--out"])
                .args([&out, &file])
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Chronicle::read(&out.join("journal.jsonl"))
        };
        Foretelling { runs: (1..=seeds).map(run).collect() }
    }

    /// What comes before what in every run.
    pub(crate) fn order(&self) -> Vec<(Moment, Moment)> {
        let orders: Vec<Vec<Moment>> = self.runs.iter().map(Chronicle::order).collect();
        let place = |order: &[Moment], moment: Moment| order.iter().position(|other| *other == moment);
        let moments: Vec<Moment> = orders[0].clone();
        let pairs = moments.iter().flat_map(|a| moments.iter().map(move |b| (*a, *b)));
        let always = |(a, b): &(Moment, Moment)| {
            orders.iter().all(|order| matches!((place(order, *a), place(order, *b)), (Some(a), Some(b)) if a < b))
        };
        pairs.filter(always).collect()
    }

    /// How many machines there were in each run, and in how many runs so many.
    pub(crate) fn machines(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        self.runs.iter().for_each(|run| *counts.entry(run.to_ready.len()).or_default() += 1);
        counts
    }

    /// Times from asking for a machine to its being ready, ascending.
    pub(crate) fn to_ready(&self) -> Vec<Duration> {
        let mut all: Vec<Duration> = self.runs.iter().flat_map(|run| run.to_ready.values().copied()).collect();
        all.sort();
        all
    }

    /// Times after `start` at which something came about, ascending \[s\].
    pub(crate) fn times(&self, moment: Moment, start: Timestamp) -> Vec<f64> {
        let times = self.runs.iter().filter_map(|run| run.moments.get(&moment));
        let mut all: Vec<f64> = times.map(|at| at.as_secs_f64() - start.as_secs_f64()).collect();
        all.sort_by(f64::total_cmp);
        all
    }
}

/// The value that a share of ascending ones does not exceed.
pub(crate) fn quantile<T: Copy>(ascending: &[T], share: f64) -> T {
    ascending[((ascending.len() - 1) as f64 * share).round() as usize]
}
