//! `forebay replay`: the controller once more over what a journal saw.

use std::fs::File;
use std::io::BufReader;

use anyhow::Context;

use super::arguments::ReplayOptions;
use super::{Answer, Failure, print};
use crate::journal;

pub(super) fn run(options: &ReplayOptions) -> Result<Answer, Failure> {
    let path = if options.journal.is_dir() { options.journal.join("journal.jsonl") } else { options.journal.clone() };
    let file = File::open(&path)
        .with_context(|| format!("journal {} cannot be read", path.display()))
        .map_err(|error| Failure::Other(error, "give the journal.jsonl of a run directory".to_owned()))?;
    let report = journal::replay(BufReader::with_capacity(1 << 16, file))?;
    if report.truncated {
        eprintln!("the last line of the journal is cut off and was left out");
    }
    let same = report.difference.is_none();
    let text = if options.json {
        let difference = report.difference.as_ref().map(|difference| {
            serde_json::json!({
                "tick": difference.tick,
                "line": difference.line,
                "path": difference.path,
                "recorded": difference.recorded,
                "replayed": difference.replayed,
            })
        });
        let said = serde_json::json!({
            "same": same,
            "policy": report.policy,
            "forebay": report.forebay,
            "ticks": report.ticks,
            "missed": report.missed,
            "plans": report.plans,
            "truncated": report.truncated,
            "difference": difference,
        });
        format!("{said}\n")
    } else {
        let mut text = format!(
            "policy {}, written by forebay {}: {} ticks, {} plans\n",
            report.policy, report.forebay, report.ticks, report.plans
        );
        match &report.difference {
            None => text.push_str("every plan and decision is reproduced byte for byte\n"),
            Some(difference) => text.push_str(&format!(
                "first difference at tick {}, line {}, {}\n  recorded {}\n  replayed {}\n",
                difference.tick, difference.line, difference.path, difference.recorded, difference.replayed
            )),
        }
        text
    };
    print(text.as_bytes())?;
    Ok(if same { Answer::Yes } else { Answer::No })
}
