//! `forebay link`: the slices of one real link, shown, made to stand, or taken away.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration as Wait, Instant};

use anyhow::anyhow;
use forebay_adapters::Gate;
use forebay_adapters::slices::{Counters, LinkSlices, SliceError, SliceExecutor, SliceView, Standing};
use forebay_world::{BitsPerSecond, Generation, SliceId};
use serde_json::json;

use super::arguments::{LinkAction, LinkOptions};
use super::{Answer, Failure, print};
use crate::link::LinkFile;
use crate::report::{Align, Table};

pub(super) fn run(options: &LinkOptions) -> Result<Answer, Failure> {
    match &options.action {
        LinkAction::Apply { file, dry_run, json } => apply(&LinkFile::load(file)?, *dry_run, *json),
        LinkAction::Show { file, json, rates } => show(&LinkFile::load(file)?, *json, *rates),
        LinkAction::Remove { file, json } => {
            let mut executor = LinkFile::load(file)?.executor.open()?;
            let removed = executor.remove(&mut Gate::open())?;
            said(&*executor, "removed", removed.writes, *json)
        }
    }
}

fn apply(file: &LinkFile, dry_run: bool, json: bool) -> Result<Answer, Failure> {
    if dry_run {
        let mut view = file.executor.view()?;
        let (wanted, standing, differences) = wanted(file, &mut *view)?;
        if let Some(newer) = standing.generation.filter(|newer| *newer > wanted.generation) {
            return Err(SliceError::Stale { link: view.link(), given: wanted.generation, standing: newer }.into());
        }
        return plan(&*view, &differences, json);
    }
    let mut executor = file.executor.open()?;
    let (wanted, ..) = wanted(file, &mut *executor)?;
    let applied = executor.apply(&wanted, &mut Gate::open())?;
    said(&*executor, "applied", applied.writes, json)
}

/// What shall stand, with its number; what stands; and how the two differ.
fn wanted(file: &LinkFile, view: &mut dyn SliceView) -> Result<(LinkSlices, Standing, Vec<String>), Failure> {
    let standing = view.read()?;
    let mut wanted = file.slices.clone();
    let differences = wanted.differences(&view.capabilities(), &standing)?;
    if !file.is_numbered {
        let number =
            standing.generation.map_or(1, |standing| standing.0.saturating_add(u64::from(!differences.is_empty())));
        wanted.generation = Generation(number);
    }
    Ok((wanted, standing, differences))
}

/// What would be changed. The answer is no where something would.
fn plan(view: &dyn SliceView, differences: &[String], json: bool) -> Result<Answer, Failure> {
    let text = if json {
        format!("{}\n", json!({"link": view.link(), "differences": differences}))
    } else if differences.is_empty() {
        format!("{}: stands as wanted\n", view.link())
    } else {
        differences.iter().map(|difference| format!("{}: {difference}\n", view.link())).collect()
    };
    print(text.as_bytes())?;
    Ok(if differences.is_empty() { Answer::Yes } else { Answer::No })
}

fn said(executor: &dyn SliceExecutor, what: &str, writes: u32, json: bool) -> Result<Answer, Failure> {
    let acknowledgement = executor.capabilities().acknowledgement;
    let text = if json {
        json!({"link": executor.link(), "done": what, "writes": writes, "acknowledgement": acknowledgement}).to_string()
    } else if writes == 0 {
        format!("{}: nothing to do", executor.link())
    } else {
        let of = format!("{acknowledgement:?}").to_lowercase();
        format!("{}: {what} and {of}, {writes} {}", executor.link(), if writes == 1 { "write" } else { "writes" })
    };
    print(format!("{text}\n").as_bytes())
}

/// What stands, and what of it differs from the file. The answer is no where something does.
fn show(file: &LinkFile, json: bool, rates: Option<forebay_world::Duration>) -> Result<Answer, Failure> {
    let mut view = file.executor.view()?;
    let standing = view.read()?;
    let differences = file.slices.differences(&view.capabilities(), &standing)?;
    let seen = match rates {
        Some(span) => measured(&mut *view, Wait::from_nanos(span.as_nanos()))?,
        None => view.counters()?.into_iter().map(|(id, counters)| (id, (counters, None))).collect(),
    };
    let text = if json {
        as_json(&*view, file, &standing, &seen, &differences)
    } else {
        as_table(&*view, file, &standing, &seen, &differences)
    };
    print(text.as_bytes())?;
    Ok(if differences.is_empty() { Answer::Yes } else { Answer::No })
}

type Seen = BTreeMap<SliceId, (Counters, Option<BitsPerSecond>)>;

/// Counters, and the rate over a while.
fn measured(view: &mut dyn SliceView, span: Wait) -> Result<Seen, Failure> {
    let (begun, before) = (Instant::now(), view.counters()?);
    thread::sleep(span);
    let after = view.counters()?;
    let seconds = begun.elapsed().as_secs_f64().max(1e-9);
    let rate = |id: &SliceId, now: &Counters| {
        let bytes = now.bytes.checked_sub(before.get(id)?.bytes)?;
        Some(BitsPerSecond::from_f64(bytes as f64 * 8.0 / seconds))
    };
    Ok(after.iter().map(|(id, now)| (*id, (*now, rate(id, now)))).collect())
}

fn name_of(file: &LinkFile, id: SliceId) -> String {
    file.names.get(&id).cloned().unwrap_or_else(|| format!("slice {id}"))
}

fn as_table(view: &dyn SliceView, file: &LinkFile, standing: &Standing, seen: &Seen, differences: &[String]) -> String {
    let columns = [
        ("slice", Align::Left),
        ("guarantee", Align::Right),
        ("ceiling", Align::Right),
        ("rank", Align::Right),
        ("weight", Align::Right),
        ("dscp", Align::Right),
        ("carried", Align::Right),
        ("dropped", Align::Right),
        ("rate", Align::Right),
        ("sources", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for (id, slice) in &standing.slices {
        let (counters, rate) = match seen.get(id) {
            Some((counters, rate)) => (Some(counters), *rate),
            None => (None, None),
        };
        let number = |value: u64| if value == 0 { "-".to_owned() } else { value.to_string() };
        let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        table.row([
            name_of(file, *id),
            slice.guarantee.to_string(),
            slice.ceiling.to_string(),
            slice.rank.to_string(),
            number(u64::from(slice.weight)),
            number(u64::from(slice.dscp)),
            known(counters.map(|counters| format!("{} B", counters.bytes))),
            known(counters.map(|counters| counters.dropped.to_string())),
            known(rate.map(|rate| rate.to_string())),
            slice.sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        ]);
    }
    let mut text = match standing.generation {
        Some(generation) => format!("{}, generation {generation}\n{table}", view.link()),
        None if standing.is_empty() => format!("{}: nothing of ours stands\n", view.link()),
        None => format!("{}, without its generation\n{table}", view.link()),
    };
    for (name, stands) in &standing.ports {
        let addresses: Vec<String> = stands.port.addresses.iter().map(ToString::to_string).collect();
        let (slice, up) = (name_of(file, stands.port.slice), if stands.up { "up" } else { "down" });
        text.push_str(&format!("port {name} of {slice}, {up}: {} {}\n", stands.port.mac, addresses.join(" ")));
    }
    standing.foreign.iter().for_each(|what| text.push_str(&format!("not ours: {what}\n")));
    differences.iter().for_each(|what| text.push_str(&format!("differs: {what}\n")));
    text
}

fn as_json(view: &dyn SliceView, file: &LinkFile, standing: &Standing, seen: &Seen, differences: &[String]) -> String {
    let slices: Vec<_> = standing
        .slices
        .iter()
        .map(|(id, slice)| {
            let (counters, rate) = seen.get(id).map_or((None, None), |(counters, rate)| (Some(counters), *rate));
            json!({
                "slice": name_of(file, *id),
                "guarantee_bits_per_second": slice.guarantee.0,
                "ceiling_bits_per_second": slice.ceiling.0,
                "rank": slice.rank,
                "weight": slice.weight,
                "dscp": slice.dscp,
                "sources": slice.sources.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "bytes": counters.map(|counters| counters.bytes),
                "packets": counters.map(|counters| counters.packets),
                "dropped": counters.map(|counters| counters.dropped),
                "bits_per_second": rate.map(|rate| rate.0),
            })
        })
        .collect();
    let ports: Vec<_> = standing
        .ports
        .iter()
        .map(|(name, stands)| json!({"port": name, "slice": name_of(file, stands.port.slice), "up": stands.up}))
        .collect();
    let object = json!({
        "link": view.link(),
        "generation": standing.generation.map(|generation| generation.0),
        "slices": slices,
        "ports": ports,
        "foreign": standing.foreign,
        "differences": differences,
    });
    format!("{object}\n")
}

impl From<SliceError> for Failure {
    fn from(error: SliceError) -> Self {
        let hint = error.hint().to_owned();
        Failure::Other(anyhow!(error), hint)
    }
}
