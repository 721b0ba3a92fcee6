//! The directory of a run: what it was made from, what it saw, what it decided and what came of it.
//!
//! ```text
//!   manifest.json         what made this: versions, hashes, seed; complete or not
//!   config.resolved.toml  the scenario after defaults and overrides; itself a scenario
//!   summary.json          the figures
//!   metrics.csv           every figure of every tick, long form
//!   decisions.jsonl       one decision a tick, with its reasons
//!   events.jsonl          what happened
//!   journal.jsonl         observations and plans; `forebay replay` reproduces every plan
//! ```
//!
//! The same scenario, policy and seed leave the same bytes: no clock, host or path is in it. A run that is cut short
//! leaves whole lines, and a manifest that says so.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_world::{Timestamp, Topology};
use serde::Serialize;

use super::{Summary, metrics};
use crate::journal::{Header, Journal, JournalError};
use crate::policy::Knowledge;
use crate::scenario::{Input, Scenario};
use crate::tick::Tick;

/// Version of the directory's layout.
const SCHEMA: u32 = 1;

/// The random streams, so that numbers can be told apart when they change.
const RANDOM: &str = "splitmix64 keyed by seed, purpose and entity, version 1";

/// Why a run directory cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is something of that name.
    #[error("{} is there already, and is not an empty folder", path.display())]
    Occupied {
        /// What was to be written.
        path: PathBuf,
    },
    /// The medium refused. What was written before counts up to its last whole line.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be written.
    #[error("the journal in {} cannot be written", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: JournalError,
    },
}

/// `manifest.json`
#[derive(Debug, Serialize)]
struct Manifest {
    schema: u32,
    forebay: &'static str,
    scenario: String,
    policy: String,
    seed: u64,
    start: Timestamp,
    end: Timestamp,
    config_blake3: String,
    inputs: Vec<Input>,
    random: &'static str,
    features: &'static [&'static str],
    complete: bool,
    ticks: u64,
}

/// A file of the directory, and its name for errors.
struct Sheet {
    path: PathBuf,
    out: BufWriter<File>,
}

impl Sheet {
    fn create(folder: &Path, name: &str) -> Result<Sheet, DirectoryError> {
        let path = folder.join(name);
        match File::create(&path) {
            Ok(file) => Ok(Sheet { out: BufWriter::with_capacity(1 << 16, file), path }),
            Err(source) => Err(DirectoryError::Write { path, source }),
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), DirectoryError> {
        write(&mut self.out).map_err(|source| DirectoryError::Write { path: self.path.clone(), source })
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), DirectoryError> {
        self.write(|out| {
            serde_json::to_writer(&mut *out, value)?;
            out.write_all(b"\n")
        })
    }

    fn flush(&mut self) -> Result<(), DirectoryError> {
        self.write(Write::flush)
    }
}

/// A run directory that is being written.
pub struct RunDirectory {
    folder: PathBuf,
    topology: Arc<Topology>,
    manifest: Manifest,
    metrics: Sheet,
    decisions: Sheet,
    events: Sheet,
    journal: Journal<BufWriter<File>>,
    journal_path: PathBuf,
}

impl RunDirectory {
    /// Begins a directory for a run of `scenario`.
    ///
    /// # Errors
    /// [`DirectoryError::Occupied`] for a path that is anything but absent or an empty folder;
    /// [`DirectoryError::Write`] when the medium refuses.
    pub fn create(
        folder: &Path,
        scenario: &Scenario,
        policy: &str,
        knowledge: &Knowledge,
    ) -> Result<Self, DirectoryError> {
        let written = |path: &Path| {
            let path = path.to_owned();
            move |source| DirectoryError::Write { path, source }
        };
        match fs::read_dir(folder) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(DirectoryError::Occupied { path: folder.to_owned() });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder).map_err(written(folder))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(DirectoryError::Occupied { path: folder.to_owned() });
            }
            Err(error) => return Err(written(folder)(error)),
        }
        let setup = &scenario.setup;
        let config = folder.join("config.resolved.toml");
        fs::write(&config, &scenario.resolved).map_err(written(&config))?;
        let journal_path = folder.join("journal.jsonl");
        let journal_file = File::create(&journal_path).map_err(written(&journal_path))?;
        let header = Header::new(&setup.topology, &scenario.controller, policy, Some(setup.seed), knowledge);
        let journal = Journal::begin(BufWriter::with_capacity(1 << 16, journal_file), &header)
            .map_err(|source| DirectoryError::Journal { path: journal_path.clone(), source })?;
        let mut directory = RunDirectory {
            topology: Arc::clone(&setup.topology),
            manifest: Manifest {
                schema: SCHEMA,
                forebay: env!("CARGO_PKG_VERSION"),
                scenario: scenario.name.clone(),
                policy: policy.to_owned(),
                seed: setup.seed,
                start: setup.start,
                end: setup.end,
                config_blake3: blake3::hash(scenario.resolved.as_bytes()).to_hex().to_string(),
                inputs: scenario.inputs.clone(),
                random: RANDOM,
                features: &[],
                complete: false,
                ticks: 0,
            },
            metrics: Sheet::create(folder, "metrics.csv")?,
            decisions: Sheet::create(folder, "decisions.jsonl")?,
            events: Sheet::create(folder, "events.jsonl")?,
            journal,
            journal_path,
            folder: folder.to_owned(),
        };
        directory.write_manifest()?;
        directory.metrics.write(|out| writeln!(out, "{}", metrics::HEAD))?;
        Ok(directory)
    }

    /// Writes one tick down.
    ///
    /// # Errors
    /// [`DirectoryError`] when the medium refuses.
    pub fn tick(&mut self, tick: &Tick) -> Result<(), DirectoryError> {
        let topology = Arc::clone(&self.topology);
        self.metrics.write(|out| metrics::write_tick(out, &topology, tick))?;
        self.decisions.line(&*tick.decision)?;
        for occurrence in tick.occurrences.iter() {
            self.events.line(occurrence)?;
        }
        self.journal
            .tick(&tick.observation, &tick.plan, &tick.decision)
            .map_err(|source| DirectoryError::Journal { path: self.journal_path.clone(), source })?;
        self.manifest.ticks += 1;
        Ok(())
    }

    /// Closes the directory with the figures of the run.
    ///
    /// # Errors
    /// [`DirectoryError`] when the medium refuses.
    pub fn finish(mut self, summary: &Summary) -> Result<(), DirectoryError> {
        self.metrics.flush()?;
        self.decisions.flush()?;
        self.events.flush()?;
        self.journal.flush().map_err(|source| DirectoryError::Journal { path: self.journal_path.clone(), source })?;
        let mut kept = summary.clone();
        kept.wall_seconds = None;
        write_json(&self.folder.join("summary.json"), &kept)?;
        self.manifest.complete = summary.complete;
        self.write_manifest()
    }

    fn write_manifest(&self) -> Result<(), DirectoryError> {
        write_json(&self.folder.join("manifest.json"), &self.manifest)
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), DirectoryError> {
    let write = || {
        let mut text = serde_json::to_vec_pretty(value)?;
        text.push(b'\n');
        fs::write(path, text)
    };
    write().map_err(|source: io::Error| DirectoryError::Write { path: path.to_owned(), source })
}
