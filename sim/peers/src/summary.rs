//! Medians, ratios and gates of a raw.csv, as Markdown.

use std::collections::BTreeMap;

/// (work, n, engine).
type Name = (String, u64, String);
/// (seconds an operation, check).
type Run = (f64, f64);
/// The rounds of each.
type Runs = BTreeMap<Name, Vec<Run>>;

/// How many times faster Forebay has to be, by the median: (work, n, engine or the beginning of its name, factor).
const GATES: &[(&str, u64, &str, f64)] = &[
    ("hold", 1000, "binary-heap", 1.0),
    ("hold", 1000, "simcore", 1.7),
    ("hold", 1000, "nexosim", 6.0),
    ("hold", 1000, "SimGrid actors", 20.0),
    ("hold", 100_000, "binary-heap", 1.4),
    ("hold", 100_000, "simcore", 4.0),
    ("hold", 100_000, "nexosim", 12.0),
    ("hold", 100_000, "ns-3", 3.4),
    ("hold", 1_000_000, "binary-heap", 4.0),
    ("hold", 1_000_000, "simcore", 8.0),
    ("hold", 1_000_000, "nexosim", 16.0),
    ("hold", 1_000_000, "C++ priority_queue", 2.0),
    ("hold", 1_000_000, "ns-3", 5.0),
    ("hold", 1_000_000, "SimGrid timers", 30.0),
    ("mm1", 1, "simcore", 1.3),
    ("mm1", 1, "nexosim", 7.0),
    ("mm1", 1, "ns-3", 3.0),
    ("mm1", 1, "SimGrid", 25.0),
    ("mm1", 1, "SimPy", 100.0),
    ("flow", 1000, "SimGrid", 15.0),
    ("flow", 10_000, "SimGrid", 400.0),
    ("flow", 10_000, "naive", 10.0),
];

/// How many times slower flows with slices may be than without.
const SLICES: f64 = 2.0;

/// The name that Forebay's own engine, or network, goes by.
const OURS: [&str; 2] = ["agenda", "network"];

/// Operations a second that are aimed at, and for fork the seconds that one may take.
const AIMS: &[(&str, u64, f64)] = &[
    ("hold", 1000, 20e6),
    ("hold", 100_000, 12e6),
    ("hold", 1_000_000, 8e6),
    ("mm1", 1, 16e6),
    ("flow", 1000, 80e3),
    ("flow", 10_000, 40e3),
];
const FORK_SECONDS: f64 = 0.030;

/// Prints the summary of a raw.csv.
pub fn print(path: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let mut runs = Runs::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let run = parse(line).ok_or_else(|| format!("{path}:{}: not a run: {line}", number + 1))?;
        runs.entry(run.0).or_default().push(run.1);
    }
    let mut works: Vec<(&str, u64)> = runs.keys().map(|(work, n, _)| (work.as_str(), *n)).collect();
    works.dedup();
    for (work, n) in works {
        print_work(&runs, work, n);
    }
    println!("Times are processor time of the process, medians of the rounds, with the least and the largest.");
    println!("\"Same path\": the check (time of the last event, or mean wait) is the agenda's, to 2 in 100,000.");
    println!("NeXosim's and ns-3's delays are at least 1 ns and rounded down, and a step of NeXosim is an instant, in");
    println!("which several events may fall. SimGrid runs fewer events in hold, and SimPy has draws of its own.");
    println!(
        "Flows with slices (three on every host's link, or on every link between regions) are other work than flows"
    );
    println!("without: they are slower by so much.");
    Ok(())
}

fn parse(line: &str) -> Option<(Name, Run)> {
    let [_, engine, work, n, operations, seconds, check] = line.split(',').collect::<Vec<_>>().try_into().ok()?;
    let each = seconds.parse::<f64>().ok()? / operations.parse::<f64>().ok()?;
    Some(((work.into(), n.parse().ok()?, engine.into()), (each, check.parse().ok()?)))
}

fn print_work(runs: &Runs, work: &str, n: u64) {
    let rows: Vec<(&str, &Vec<Run>)> = runs
        .iter()
        .filter(|(key, _)| (key.0.as_str(), key.1) == (work, n))
        .map(|(key, run)| (key.2.as_str(), run))
        .collect();
    let Some(ours) = rows.iter().find(|row| OURS.contains(&row.0)) else { return };
    let (our_median, _, _) = spread(ours.1);
    if work == "fork" {
        let verdict = if our_median <= FORK_SECONDS { "met" } else { "MISSED" };
        println!(
            "## fork of {n} pending events\n\n{:.1} ms (aim ≤ {:.0} ms: {verdict})\n",
            our_median * 1e3,
            FORK_SECONDS * 1e3
        );
        return;
    }
    match work {
        "hold" => println!("## hold, {n} events pending\n"),
        "flow" => println!("## flow, {n} under way\n"),
        _ => println!("## {work}\n"),
    }
    println!("| engine | ns each | least–largest | M/s | Forebay is faster by | gate | same path |");
    println!("|---|---:|---:|---:|---:|---|---|");
    let mut rows = rows.clone();
    rows.sort_by(|a, b| spread(a.1).0.total_cmp(&spread(b.1).0));
    for &(engine, run) in &rows {
        let (median, least, largest) = spread(run);
        let (ratio, gate) = if OURS.contains(&engine) {
            let aim = AIMS.iter().find(|aim| (aim.0, aim.1) == (work, n)).map_or(String::new(), |aim| {
                format!("≥ {} M/s: {}", aim.2 * 1e-6, if 1.0 / median >= aim.2 { "met" } else { "MISSED" })
            });
            (String::from("1"), aim)
        } else if engine.starts_with("slices") {
            let ratio = median / our_median;
            let verdict = if ratio <= SLICES { "met" } else { "MISSED" };
            (format!("{ratio:.2}"), format!("≤ {SLICES}: {verdict}"))
        } else {
            let ratio = median / our_median;
            let gate = GATES.iter().find(|gate| (gate.0, gate.1) == (work, n) && engine.starts_with(gate.2));
            let verdict =
                |gate: &(_, _, _, f64)| format!("≥ {}: {}", gate.3, if ratio >= gate.3 { "met" } else { "MISSED" });
            (format!("{ratio:.2}"), gate.map_or(String::new(), verdict))
        };
        // Rounding to nanoseconds leaves about six digits alike, another path one or two.
        let same = if (run[0].1 / ours.1[0].1 - 1.0).abs() < 2e-5 { "yes" } else { "no" };
        println!(
            "| {engine} | {:.1} | {:.1}–{:.1} | {:.3} | {ratio} | {gate} | {same} |",
            median * 1e9,
            least * 1e9,
            largest * 1e9,
            1e-6 / median
        );
    }
    println!();
}

/// Median, least and largest.
fn spread(run: &[Run]) -> (f64, f64, f64) {
    let mut times: Vec<f64> = run.iter().map(|&(each, _)| each).collect();
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    let median = if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 };
    (median, times[0], times[times.len() - 1])
}
