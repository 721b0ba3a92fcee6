//! Runs the controller again over what a journal says it saw, and compares.

use std::io::BufRead;
use std::sync::Arc;

use forebay_world::Generation;
use serde_json::Value;

use super::{FORMAT, Header, JournalError, LineRead, MissedLine, TickLine, fits};
use crate::controller::Controller;
use crate::policy::{self, Knowledge};

/// What a replay found.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayReport {
    /// Name of the policy.
    pub policy: String,
    /// Version of forebay that wrote the journal.
    pub forebay: String,
    /// Ticks replayed.
    pub ticks: u64,
    /// Ticks at which the world had not been reached.
    pub missed: u64,
    /// Plans among them that differed from the plan before.
    pub plans: u64,
    /// Whether the last line had been cut off; it is left out.
    pub truncated: bool,
    /// The first difference, where the replay stopped; none when every plan and decision was reproduced.
    pub difference: Option<Difference>,
}

/// The first place where a journal and its replay differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Tick, from 0.
    pub tick: u64,
    /// Line of the journal, from 1.
    pub line: u64,
    /// Where in the line: `plan.vms.7.host`.
    pub path: String,
    /// What the journal says there, as JSON; empty when there is nothing.
    pub recorded: String,
    /// What the replay says there, as JSON; empty when there is nothing.
    pub replayed: String,
}

/// Replays a journal.
///
/// # Errors
/// [`JournalError`] when the journal cannot be read, is malformed, or cannot be replayed by this version. That the
/// replay differs is no error: see [`ReplayReport::difference`].
pub fn replay(mut journal: impl BufRead) -> Result<ReplayReport, JournalError> {
    let mut text = Vec::new();
    let mut line = 1;
    let whole = read_line(&mut journal, &mut text, line)?;
    if text.is_empty() {
        return Err(JournalError::Malformed { line, what: "the journal is empty".to_owned() });
    }
    if !whole {
        return Err(JournalError::Malformed { line, what: "the header is cut off".to_owned() });
    }
    let header = header(&text)?;
    let topology = Arc::new(header.topology);
    let knowledge = Knowledge {
        foresight: header.foresight.map(Arc::new),
        hindsight: header.hindsight.map(Arc::new),
        trained: None,
    };
    let policy = policy::build(&header.policy, &header.config, &topology, &knowledge)?;
    let mut controller = Controller::new(Arc::clone(&topology), header.config, policy);
    if let Some(start) = header.start {
        controller.go_on(start);
    }
    let mut report = ReplayReport {
        policy: header.policy,
        forebay: header.forebay,
        ticks: 0,
        missed: 0,
        plans: 0,
        truncated: false,
        difference: None,
    };
    let mut written: Option<Generation> = None;
    let mut expected = Vec::new();
    for tick in 0.. {
        line += 1;
        let whole = read_line(&mut journal, &mut text, line)?;
        if text.is_empty() {
            break;
        }
        if !whole {
            report.truncated = true;
            break;
        }
        let malformed = |what: String| JournalError::Malformed { line, what };
        let read: LineRead = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        expected.clear();
        if let Some(missed) = &read.missed {
            serde_json::to_writer(&mut expected, &MissedLine { tick, missed }).map_err(|e| malformed(e.to_string()))?;
            report.missed += 1;
        } else {
            let seen = read.observation.ok_or_else(|| malformed("neither an observation nor a miss".to_owned()))?;
            fits::observation(&seen, &topology).map_err(malformed)?;
            let (plan, decision) = controller.step(&seen);
            let known = written == Some(plan.generation);
            let again = TickLine {
                tick,
                observation: &seen,
                decision: &decision,
                plan: (!known).then_some(&plan),
                generation: known.then_some(plan.generation),
            };
            serde_json::to_writer(&mut expected, &again).map_err(|error| malformed(error.to_string()))?;
            written = Some(plan.generation);
            report.ticks += 1;
            report.plans += u64::from(!known);
        }
        // The rest of the line is compared as text.
        let _ = (read.tick, read.decision, read.plan, read.generation);
        if expected != text {
            report.difference = Some(difference(tick, line, &text, &expected));
            break;
        }
    }
    Ok(report)
}

/// Reads a line without its end; says whether it had one.
fn read_line(journal: &mut impl BufRead, text: &mut Vec<u8>, line: u64) -> Result<bool, JournalError> {
    text.clear();
    journal.read_until(b'\n', text).map_err(|source| JournalError::Read { line, source })?;
    let whole = text.last() == Some(&b'\n');
    if whole {
        text.pop();
        if text.is_empty() {
            return Err(JournalError::Malformed { line, what: "the line is empty".to_owned() });
        }
    }
    Ok(whole)
}

/// Reads and checks the header.
fn header(text: &[u8]) -> Result<Header, JournalError> {
    let malformed = |what: String| JournalError::Malformed { line: 1, what };
    let value: Value = serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
    let format =
        value.get("journal").and_then(Value::as_u64).ok_or_else(|| malformed("this is no journal".to_owned()))?;
    if format != u64::from(FORMAT) {
        return Err(JournalError::Format { found: format.try_into().unwrap_or(u32::MAX) });
    }
    let header: Header = serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
    fits::topology(&header.topology).map_err(malformed)?;
    header.config.check(&header.topology)?;
    if let Some(plan) = header.start.as_ref().and_then(|start| start.plan.as_ref()) {
        fits::plan(plan, &header.topology).map_err(malformed)?;
    }
    Ok(header)
}

/// Finds the first difference of two lines that are not the same.
fn difference(tick: u64, line: u64, recorded: &[u8], replayed: &[u8]) -> Difference {
    let parse = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap_or(Value::Null);
    let (a, b) = (parse(recorded), parse(replayed));
    let mut path = Vec::new();
    let (recorded, replayed) = match differ(&a, &b, &mut path) {
        Some((a, b)) => {
            let text = |value: Option<&Value>| value.map_or_else(String::new, Value::to_string);
            (text(a), text(b))
        }
        // The same values in other words: blanks, the order of keys, the spelling of a number.
        None => (String::from_utf8_lossy(recorded).into_owned(), String::from_utf8_lossy(replayed).into_owned()),
    };
    Difference { tick, line, path: path.join("."), recorded, replayed }
}

/// Walks two values side by side to where they first differ; the path is left at that place.
fn differ<'a>(a: &'a Value, b: &'a Value, path: &mut Vec<String>) -> Option<(Option<&'a Value>, Option<&'a Value>)> {
    let mut keys: Vec<String> = Vec::new();
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            keys.extend(a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).cloned());
        }
        (Value::Array(a), Value::Array(b)) => keys.extend((0..a.len().max(b.len())).map(|i| i.to_string())),
        _ => return (a != b).then_some((Some(a), Some(b))),
    }
    let part = |value: &'a Value, key: &str| match value {
        Value::Array(items) => key.parse::<usize>().ok().and_then(|i| items.get(i)),
        value => value.get(key),
    };
    for key in keys {
        let (a, b) = (part(a, &key), part(b, &key));
        path.push(key);
        match (a, b) {
            (Some(a), Some(b)) => {
                if let Some(found) = differ(a, b, path) {
                    return Some(found);
                }
            }
            found => return Some(found),
        }
        path.pop();
    }
    None
}

#[cfg(test)]
mod tests;
