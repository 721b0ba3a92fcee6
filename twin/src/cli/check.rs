//! `forebay check`: says what is wrong with scenario and production files, or what is in them; and of production, whether
//! all that a file names answers.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::arguments::CheckOptions;
use super::reach::{self, Reached};
use super::{Answer, Failure, print};
use crate::production::Production;
use crate::scenario::{Overrides, Scenario, read_text};

pub(super) fn run(options: &CheckOptions) -> Result<Answer, Failure> {
    let mut answer = Answer::Yes;
    let mut failed = None;
    for file in &options.files {
        match check(file, options) {
            Ok(Answer::Yes) => {}
            Ok(other) => answer = other,
            Err(Failure::ReaderGone) => return Err(Failure::ReaderGone),
            Err(error) => {
                if options.json {
                    print(format!("{}\n", json!({"file": file.display().to_string(), "sound": false})).as_bytes())?;
                }
                // All files are looked at; the last failure is returned, those before are said here.
                if let Some(before) = failed.replace(error) {
                    before.print();
                }
            }
        }
    }
    failed.map_or(Ok(answer), Err)
}

fn check(file: &Path, options: &CheckOptions) -> Result<Answer, Failure> {
    let text = read_text(file)?;
    if Production::is_one(&text) {
        let production = Production::from_text(&file.display().to_string(), &text, super::folder_of(file))?;
        return check_production(file, production, options);
    }
    let overrides = Overrides { replay: options.replay.clone(), ..Overrides::default() };
    let scenario = Scenario::load(file, &overrides)?;
    for remark in &scenario.remarks {
        eprintln!("{}: {remark}", scenario.name);
    }
    let topology = &scenario.setup.topology;
    let (regions, hosts, links) = (topology.regions.len(), topology.hosts.len(), topology.links.len());
    let (classes, start, end) = (topology.classes.len(), scenario.setup.start, scenario.setup.end);
    let text = if options.json {
        let object = json!({
            "file": file.display().to_string(), "sound": true, "kind": "scenario", "name": scenario.name,
            "regions": regions, "hosts": hosts, "links": links, "classes": classes,
            "start": start.to_string(), "end": end.to_string(), "remarks": scenario.remarks,
        });
        format!("{object}\n")
    } else {
        format!(
            "{}: sound: {regions} regions, {hosts} hosts, {links} links, {classes} classes, {start} to {end}\n",
            file.display()
        )
    };
    print(text.as_bytes())
}

fn check_production(file: &Path, production: Production, options: &CheckOptions) -> Result<Answer, Failure> {
    let production = Arc::new(production);
    let topology = &production.topology;
    if !options.json {
        for remark in &production.remarks {
            eprintln!("{}: {remark}", production.name);
        }
        let mut mandates: Vec<_> = production.mandates.clone();
        mandates.sort_unstable();
        let counted: Vec<String> =
            mandates.chunk_by(|a, b| a == b).map(|alike| format!("{} {}", alike.len(), alike[0].name())).collect();
        let said = format!(
            "{}: sound: {} regions, {} hosts, {} classes; cells: {}\n",
            file.display(),
            topology.regions.len(),
            topology.hosts.len(),
            topology.classes.len(),
            counted.join(", "),
        );
        print(said.as_bytes())?;
    }
    let reached = if options.offline { Vec::new() } else { reach::all(&production) };
    let all = reached.iter().all(|reached| reached.outcome.is_ok());
    if options.json {
        let object = json!({
            "file": file.display().to_string(), "sound": true, "kind": "production", "name": production.name,
            "regions": topology.regions.len(), "hosts": topology.hosts.len(), "classes": topology.classes.len(),
            "remarks": production.remarks,
            "reached": (!options.offline).then(|| reached.iter().map(as_json).collect::<Vec<Value>>()),
        });
        print(format!("{object}\n").as_bytes())?;
    } else {
        let lines: String = reached.iter().map(as_line).collect();
        print(lines.as_bytes())?;
    }
    Ok(if all { Answer::Yes } else { Answer::No })
}

fn as_line(reached: &Reached) -> String {
    let Reached { kind, name, outcome } = reached;
    match outcome {
        Ok(said) => format!("ok      {kind:<10} {name}: {said}\n"),
        Err(why) if why.hint.is_empty() => format!("FAILED  {kind:<10} {name}: {}\n", why.what),
        Err(why) => format!("FAILED  {kind:<10} {name}: {}; hint: {}\n", why.what, why.hint),
    }
}

fn as_json(reached: &Reached) -> Value {
    let Reached { kind, name, outcome } = reached;
    match outcome {
        Ok(said) => json!({"kind": kind, "name": name, "ok": true, "says": said}),
        Err(why) => json!({"kind": kind, "name": name, "ok": false, "says": why.what, "hint": why.hint}),
    }
}
