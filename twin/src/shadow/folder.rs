//! What shadow mode leaves in its folder: journal and ticks of each time that it ran, and a summary of each day.
//!
//! ```text
//!   STATE/shadow/20260719T060000Z/journal.jsonl   replayed by `forebay replay`
//!                                 ticks.jsonl     one report a tick
//!   STATE/shadow/2026-07-19.json, .md             summaries; a second one of a day is 2026-07-19-2
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use forebay_world::{Observation, Plan, Timestamp};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::report::TickReport;
use super::summary::Summary;
use crate::decision::Decision;
use crate::journal::{Header, Journal, JournalError};

/// Why nothing can be left there.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The folder, of one time that shadow mode runs.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    run: PathBuf,
    journal: Journal<File>,
    ticks: File,
}

/// Files that may have the same name in one folder.
const SAME_MOST: u32 = 10_000;

impl Folder {
    /// Makes what is needed below the state folder of a production, and begins a journal.
    ///
    /// # Errors
    /// [`FolderError`] with the file.
    pub fn create(state: &Path, start: Timestamp, header: &Header) -> Result<Folder, FolderError> {
        let path = state.join("shadow");
        let refuse = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderError::Write { path, source }
        };
        fs::create_dir_all(&path).map_err(refuse(&path))?;
        let name = zoned(start, TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let (run, ()) = unused(&path, &name, "", |path| fs::create_dir(path)).map_err(refuse(&path))?;
        let make = |name: &str| {
            let path = run.join(name);
            File::create_new(&path).map_err(refuse(&path))
        };
        let (journal, ticks) = (make("journal.jsonl")?, make("ticks.jsonl")?);
        Ok(Folder { journal: Journal::begin(journal, header)?, ticks, path, run })
    }

    /// Where the journal and the ticks are.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Writes what was seen and decided.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn tick(
        &mut self,
        seen: &Observation,
        plan: &Plan,
        decision: &Decision,
        report: &TickReport,
    ) -> Result<(), FolderError> {
        self.journal.tick(seen, plan, decision)?;
        let path = self.run.join("ticks.jsonl");
        let mut line = serde_json::to_vec(report)
            .map_err(|error| FolderError::Write { path: path.clone(), source: error.into() })?;
        line.push(b'\n');
        self.ticks.write_all(&line).map_err(|source| FolderError::Write { path, source })
    }

    /// Writes a summary of a day, beside others of it; where it is, without the end of its name.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn summary(&self, day: Date, summary: &Summary) -> Result<PathBuf, FolderError> {
        let json = serde_json::to_vec_pretty(summary).map_err(|error| self.refused(error.into()))?;
        let (path, mut file) = unused(&self.path, &day.to_string(), ".json", |path| File::create_new(path))
            .map_err(|source| self.refused(source))?;
        let written = file.write_all(&json).and_then(|()| file.write_all(b"\n"));
        written
            .and_then(|()| fs::write(path.with_extension("md"), summary.markdown()))
            .map_err(|source| FolderError::Write { path: path.clone(), source })?;
        Ok(path.with_extension(""))
    }

    fn refused(&self, source: io::Error) -> FolderError {
        FolderError::Write { path: self.path.clone(), source }
    }
}

/// Makes something of a name that nothing has yet: `name`, `name-2`, …
fn unused<T>(folder: &Path, name: &str, end: &str, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    for number in 1..=SAME_MOST {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("{name}{number}{end}"));
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The day in which a window lies that ends at `until`: one that ends at midnight is of the day before.
pub fn day_of(until: Timestamp, zone: &TimeZone) -> Date {
    zoned(until.saturating_sub(forebay_world::Duration::from_nanos(1)), zone.clone()).date()
}

fn zoned(at: Timestamp, zone: TimeZone) -> jiff::Zoned {
    let nanos = i128::from(at.as_nanos());
    jiff::Timestamp::from_nanosecond(nanos).unwrap_or(jiff::Timestamp::MAX).to_zoned(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_of_the_day_in_which_it_lies() {
        let midnight = Timestamp::from_secs(1_780_272_000);
        let second = forebay_world::Duration::from_secs(1);
        let day = |at| day_of(at, &TimeZone::UTC).to_string();
        assert_eq!([day(midnight), day(midnight + second)], ["2026-05-31", "2026-06-01"]);
        let tokyo = TimeZone::get("Asia/Tokyo").unwrap();
        assert_eq!(day_of(midnight, &tokyo).to_string(), "2026-06-01");
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let make = || unused(folder.path(), "2026-06-01", ".json", |path| File::create_new(path)).unwrap().0;
        let names = [make(), make()].map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
        assert_eq!(names, ["2026-06-01.json", "2026-06-01-2.json"]);
    }
}
