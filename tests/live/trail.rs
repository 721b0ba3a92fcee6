//! What the audit says, as it is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) epoch: u64,
    pub(crate) order: String,
    pub(crate) target: String,
    /// `begun`, `done`, `refused` or `failed`.
    pub(crate) outcome: String,
    /// What was said of it.
    pub(crate) why: String,
    /// How much was changed by it.
    pub(crate) writes: u64,
}

/// Follows the audit files of a state folder.
pub(crate) struct Trail {
    folder: PathBuf,
    read: BTreeMap<PathBuf, usize>,
}

impl Trail {
    pub(crate) fn new(folder: &Path) -> Trail {
        Trail { folder: folder.to_owned(), read: BTreeMap::new() }
    }

    /// Entries since the last look, term by term.
    pub(crate) fn news(&mut self) -> Vec<Noted> {
        let mut news = Vec::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if !(name.starts_with("audit-") && name.ends_with(".jsonl")) {
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let read = self.read.entry(path).or_default();
            while let Some(length) = bytes[*read..].iter().position(|byte| *byte == b'\n') {
                let line: Value = serde_json::from_slice(&bytes[*read..*read + length]).unwrap();
                *read += length + 1;
                news.extend(noted(&line));
            }
        }
        news.sort_by_key(|noted| noted.epoch);
        news
    }
}

/// `None` for the line that begins a file.
fn noted(line: &Value) -> Option<Noted> {
    let entry = line["event"].get("entry")?;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (outcome, why, writes) = match &entry["outcome"] {
        Value::String(outcome) => (outcome.clone(), String::new(), 0),
        Value::Object(map) => {
            let (outcome, more) = map.iter().next().unwrap();
            let why = more["reason"].as_str().unwrap_or_default().to_owned();
            (outcome.clone(), why, more["writes"].as_u64().unwrap_or(0))
        }
        other => panic!("{other}"),
    };
    Some(Noted {
        epoch: line["epoch"].as_u64().unwrap(),
        order: text(&entry["order"]),
        target: text(&entry["target"]),
        outcome,
        why,
        writes,
    })
}
