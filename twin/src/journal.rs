//! The journal: all that a decision came from, and all that came of it, in JSON lines that only grow.
//!
//! The first line is a header: format, topology, configuration, policy and what it was told. Then comes one line for
//! each tick: the observation, the decision, and the plan when it changed. A line is written whole or, after a crash,
//! is the last one and not ended. [`replay`] runs the controller over the observations again and compares every line
//! byte for byte.

mod fits;
mod replay;

use std::io::Write;

use forebay_world::{Generation, Observation, Plan, Timestamp, Topology};
use serde::{Deserialize, Serialize};

use crate::controller::{ConfigError, ControllerConfig, Start};
use crate::decision::Decision;
use crate::policy::{Foresight, Hindsight, Knowledge, PolicyError};

pub use replay::{Difference, ReplayReport, replay};

/// Version of the format.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the format: [`FORMAT`].
    pub journal: u32,
    /// Version of forebay that wrote it.
    pub forebay: String,
    /// Seed of the world, when it was a simulated one.
    pub seed: Option<u64>,
    /// Name of the policy.
    pub policy: String,
    /// What the operator set.
    pub config: ControllerConfig,
    /// What there is.
    pub topology: Topology,
    /// What the policy was told of the future, if anything.
    pub foresight: Option<Foresight>,
    /// What the policy was told of the past, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hindsight: Option<Hindsight>,
    /// What the controller went on from, where it was not the first of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
}

impl Header {
    /// The header of a journal written by this version.
    pub fn new(
        topology: &Topology,
        config: &ControllerConfig,
        policy: &str,
        seed: Option<u64>,
        knowledge: &Knowledge,
    ) -> Self {
        Header {
            journal: FORMAT,
            forebay: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            policy: policy.to_owned(),
            config: config.clone(),
            topology: topology.clone(),
            foresight: knowledge.foresight.as_deref().cloned(),
            hindsight: knowledge.hindsight.as_deref().cloned(),
            start: None,
        }
    }
}

/// What a journal line after the first holds; what is not there is left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineRead {
    tick: u64,
    #[serde(default)]
    missed: Option<Missed>,
    #[serde(default)]
    observation: Option<Observation>,
    #[serde(default)]
    decision: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    plan: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    generation: Option<Generation>,
}

/// A tick at which the world could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Missed {
    at: Timestamp,
    why: String,
}

#[derive(Serialize)]
struct TickLine<'a> {
    tick: u64,
    observation: &'a Observation,
    decision: &'a Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a Plan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<Generation>,
}

#[derive(Serialize)]
struct MissedLine<'a> {
    tick: u64,
    missed: &'a Missed,
}

/// Why a journal cannot be written or replayed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The medium refused. What was written before is whole.
    #[error("cannot write the journal")]
    Write(#[source] std::io::Error),
    /// The medium refused.
    #[error("cannot read the journal at line {line}")]
    Read {
        /// Line, from 1.
        line: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is not what a journal holds.
    #[error("journal line {line}: {what}")]
    Malformed {
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The journal was written in a format that this version does not know.
    #[error("journal format {found}: this version reads format {FORMAT}")]
    Format {
        /// Format found.
        found: u32,
    },
    /// The configuration in the header cannot be.
    #[error("journal header")]
    Config(#[from] ConfigError),
    /// The policy in the header cannot be had.
    #[error("journal header")]
    Policy(#[from] PolicyError),
}

/// Writes a journal.
#[derive(Debug)]
pub struct Journal<W: Write> {
    out: W,
    /// Number of the next line after the header.
    tick: u64,
    /// Generation of the last plan written.
    written: Option<Generation>,
    line: Vec<u8>,
}

impl<W: Write> Journal<W> {
    /// Begins a journal with its header.
    ///
    /// # Errors
    /// [`JournalError::Write`] when the medium refuses.
    pub fn begin(out: W, header: &Header) -> Result<Self, JournalError> {
        let mut journal = Journal { out, tick: 0, written: None, line: Vec::new() };
        journal.write(header)?;
        Ok(journal)
    }

    /// Writes what was seen and decided at a tick.
    ///
    /// # Errors
    /// [`JournalError::Write`] when the medium refuses.
    pub fn tick(&mut self, seen: &Observation, plan: &Plan, decision: &Decision) -> Result<(), JournalError> {
        let tick = self.tick;
        let known = self.written == Some(plan.generation);
        let line = TickLine {
            tick,
            observation: seen,
            decision,
            plan: (!known).then_some(plan),
            generation: known.then_some(plan.generation),
        };
        self.write(&line)?;
        self.written = Some(plan.generation);
        self.tick += 1;
        Ok(())
    }

    /// Writes that the world could not be reached at a tick, and why.
    ///
    /// # Errors
    /// [`JournalError::Write`] when the medium refuses.
    pub fn missed(&mut self, at: Timestamp, why: &dyn std::error::Error) -> Result<(), JournalError> {
        let mut text = why.to_string();
        let mut source = why.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        let line = MissedLine { tick: self.tick, missed: &Missed { at, why: text } };
        self.write(&line)?;
        self.tick += 1;
        Ok(())
    }

    /// Hands what was written to the medium, and returns it.
    ///
    /// # Errors
    /// [`JournalError::Write`] when the medium refuses.
    pub fn finish(mut self) -> Result<W, JournalError> {
        self.out.flush().map_err(JournalError::Write)?;
        Ok(self.out)
    }

    /// Hands what was written to the medium.
    ///
    /// # Errors
    /// [`JournalError::Write`] when the medium refuses.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.out.flush().map_err(JournalError::Write)
    }

    /// Writes one whole line in one call.
    fn write(&mut self, line: &impl Serialize) -> Result<(), JournalError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).map_err(|error| JournalError::Write(error.into()))?;
        self.line.push(b'\n');
        self.out.write_all(&self.line).map_err(JournalError::Write)
    }
}
