//! What went wrong, as it is said: what, why, and what to do.

use std::error::Error;
use std::io::{self, IsTerminal, Write};

use forebay_adapters::ReadError;

use crate::experiment::ExperimentError;
use crate::journal::JournalError;
use crate::policy::PolicyError;
use crate::report::DirectoryError;
use crate::scenario::ScenarioError;

/// Why a command did not answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Whoever read stdout has gone: nothing is left to be said.
    ReaderGone,
    /// A scenario cannot be run.
    Scenario(ScenarioError),
    /// Anything else, and a hint.
    Other(anyhow::Error, String),
}

impl Failure {
    /// A failure to write to stdout.
    pub(super) fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::ReaderGone;
        }
        Failure::Other(anyhow::Error::new(error).context("stdout cannot be written"), String::new())
    }

    /// Says it on stderr.
    pub(super) fn print(&self) {
        let for_terminal = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        // That stderr is gone too cannot be said anywhere.
        let _ = io::stderr().lock().write_all(self.text(for_terminal).as_bytes());
    }

    /// In one line, without colours.
    pub(super) fn line(&self) -> String {
        self.text(false).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn text(&self, for_terminal: bool) -> String {
        let (chain, hint) = match self {
            Failure::ReaderGone => return String::new(),
            Failure::Scenario(ScenarioError::Refused(refused)) => {
                let count = refused.findings.len();
                let what = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
                return format!("{}{}: {what}\n", refused.render(for_terminal), refused.file);
            }
            Failure::Scenario(ScenarioError::Recording(error)) => {
                return format!(
                    "error: {error}\n{}",
                    if error.hint().is_empty() { String::new() } else { format!("  hint: {}\n", error.hint()) }
                );
            }
            Failure::Scenario(error) => (causes(error), error.hint().to_owned()),
            Failure::Other(error, hint) => (error.chain().map(ToString::to_string).collect(), hint.clone()),
        };
        let mut text = format!("error: {}\n", chain.join(": "));
        if !hint.is_empty() {
            text.push_str(&format!("  hint: {hint}\n"));
        }
        text
    }
}

fn causes(error: &dyn Error) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        chain.push(error.to_string());
        source = error.source();
    }
    chain
}

impl From<ScenarioError> for Failure {
    fn from(error: ScenarioError) -> Self {
        Failure::Scenario(error)
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        let hint = match &error {
            DirectoryError::Occupied { .. } => "name a new folder: results are never written over",
            DirectoryError::Write { .. } | DirectoryError::Journal { .. } => {
                "name a folder that can be written, on a disk with room; what was written replays up to its last whole line"
            }
        };
        Failure::Other(error.into(), hint.to_owned())
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        let hint = match &error {
            PolicyError::Empty { key, .. } => format!("set `controller.{key}` in the scenario, or use another policy"),
            _ => String::new(),
        };
        Failure::Other(error.into(), hint)
    }
}

impl From<ExperimentError> for Failure {
    fn from(error: ExperimentError) -> Self {
        match error {
            ExperimentError::Policy(error) => error.into(),
            error => Failure::Other(error.into(), String::new()),
        }
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let hint = match &error {
            JournalError::Malformed { .. } => "give the journal.jsonl of a run directory",
            JournalError::Format { .. } => "use the version of forebay that wrote it",
            _ => "",
        };
        Failure::Other(error.into(), hint.to_owned())
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let hint = error.hint().to_owned();
        Failure::Other(error.into(), hint)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Other(error.into(), String::new())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Other(error, String::new())
    }
}
