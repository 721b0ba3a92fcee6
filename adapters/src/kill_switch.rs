//! The kill switch: one thing an operator does, and nothing is written any more.
//!
//! It is closed while a file exists, by a signal, and by a hand at a terminal; it is looked at before every write, through
//! its [`Gate`]. What a signal or a hand has closed stays closed, also over a restart where there is a place to note it,
//! until a hand opens it. Where it cannot be told whether it is closed, it is.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_world::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::shown;
use crate::gate::{Gate, Permit};
use crate::line_file::sync_folder;

/// What of a file is shown \[bytes\].
const NOTE_BYTES_MOST: u64 = 60;
/// Longest note of a closing \[bytes\].
const KEPT_BYTES_MOST: u64 = 4096;

/// A kill switch. Clones are the same switch.
#[derive(Clone, Debug, Default)]
pub struct KillSwitch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    file: Option<PathBuf>,
    kept: Option<PathBuf>,
    signalled: Arc<AtomicBool>,
    closed: Mutex<Option<Closed>>,
}

/// That it is closed: by whom, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("kill switch closed by {by} since {since}")]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// By whom.
    pub by: ClosedBy,
    /// Since when; of a signal, since it was noticed.
    pub since: Timestamp,
}

/// Who closed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClosedBy {
    /// A file that exists. Taking it away opens the switch.
    File {
        /// The file.
        path: PathBuf,
        /// What is written in it.
        note: String,
    },
    /// A signal.
    Signal,
    /// A hand.
    Hand {
        /// Whose: `a key in the terminal`.
        who: String,
    },
    /// It cannot be told whether it is closed.
    Unknown {
        /// What cannot be looked at.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A kill switch that cannot be set up, noted or opened.
#[derive(Debug, thiserror::Error)]
pub enum KillSwitchError {
    /// The operating system refused.
    #[error("{}: kill switch cannot {what}: {source}; hint: its folder must be there, and ours to write", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was tried: `be noted`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Signals that are not ours to take.
    #[error("signal {signal} cannot close the kill switch: {source}; allowed: SIGUSR1, SIGUSR2, SIGHUP")]
    Signal {
        /// Its number.
        signal: i32,
        /// Why.
        source: io::Error,
    },
    /// A file still keeps it closed.
    #[error("{0}; hint: take the file away first")]
    StillClosed(Closed),
}

impl KillSwitch {
    /// One that is open, and closed by a hand or a signal.
    pub fn new() -> KillSwitch {
        KillSwitch::default()
    }

    /// One that is closed, too, while `file` exists; and that notes what else has closed it in `kept`, so that it is closed
    /// after a restart.
    ///
    /// # Errors
    /// [`KillSwitchError::Unusable`] when the folder of either is not there.
    pub fn with_files(file: Option<&Path>, kept: Option<&Path>) -> Result<KillSwitch, KillSwitchError> {
        for path in file.iter().chain(&kept) {
            fs::metadata(folder(path)).map_err(unusable(path, "be looked at"))?;
        }
        let closed = kept.and_then(read_kept);
        Ok(KillSwitch(Arc::new(Inner {
            file: file.map(Path::to_owned),
            kept: kept.map(Path::to_owned),
            signalled: Arc::default(),
            closed: Mutex::new(closed),
        })))
    }

    /// Lets a signal close it: SIGUSR1 (10) as a rule, `kill -USR1 PID`.
    ///
    /// # Errors
    /// [`KillSwitchError::Signal`] for one that ends a process or cannot be caught.
    pub fn on_signal(&self, signal: i32) -> Result<(), KillSwitchError> {
        use signal_hook::consts::{SIGHUP, SIGUSR1, SIGUSR2};
        let registered = if [SIGUSR1, SIGUSR2, SIGHUP].contains(&signal) {
            signal_hook::flag::register(signal, self.flag()).map(|_| ())
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        };
        registered.map_err(|source| KillSwitchError::Signal { signal, source })
    }

    /// What closes it once it is set to true, from wherever: a signal handler of the caller's.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.0.signalled.clone()
    }

    /// Closes it by hand. One that is closed stays as it is.
    ///
    /// # Errors
    /// [`KillSwitchError::Unusable`] when that could not be noted for the time after a restart. It is closed all the same.
    pub fn close(&self, who: &str, at: Timestamp) -> Result<(), KillSwitchError> {
        let mut closed = self.lock();
        if closed.is_some() {
            return Ok(());
        }
        let now = closed.insert(Closed { by: ClosedBy::Hand { who: shown(who.as_bytes()) }, since: at });
        self.keep(now)
    }

    /// Opens it by hand, whatever signal or hand has closed it.
    ///
    /// # Errors
    /// [`KillSwitchError::StillClosed`] while the file exists, and [`KillSwitchError::Unusable`] when the note of its
    /// closing could not be taken away; it stays closed then.
    pub fn open(&self) -> Result<(), KillSwitchError> {
        let mut closed = self.lock();
        if let Some(by_file) = self.by_file() {
            return Err(KillSwitchError::StillClosed(by_file));
        }
        if let Some(kept) = &self.0.kept {
            let removed = match fs::remove_file(kept) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.and_then(|()| sync_folder(folder(kept))),
            };
            removed.map_err(unusable(kept, "be opened"))?;
        }
        self.0.signalled.store(false, Ordering::SeqCst);
        *closed = None;
        Ok(())
    }

    /// Whether it is closed, as of `now`: by signal or hand first, which do not go by themselves.
    pub fn closed(&self, now: Timestamp) -> Option<Closed> {
        let mut closed = self.lock();
        if closed.is_none() && self.0.signalled.load(Ordering::SeqCst) {
            let now = closed.insert(Closed { by: ClosedBy::Signal, since: now });
            // One that cannot be noted is closed for as long as this process lives.
            let _ = self.keep(now);
        }
        closed.clone().or_else(|| self.by_file())
    }

    /// A gate that is closed while this is.
    pub fn gate(&self) -> Gate {
        let switch = self.clone();
        Gate::permitting(move |_| match switch.closed(clock::wall()) {
            None => Ok(Permit::free()),
            Some(closed) => Err(closed.to_string()),
        })
    }

    fn by_file(&self) -> Option<Closed> {
        let path = self.0.file.as_deref()?;
        let unknown = |error: io::Error| Closed {
            by: ClosedBy::Unknown { path: path.to_owned(), why: error.to_string() },
            since: clock::wall(),
        };
        // A link to nowhere is there as well.
        match fs::symlink_metadata(path) {
            Ok(found) => {
                let since = found.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
                let since = since.and_then(|since| u64::try_from(since.as_nanos()).ok()).map(Timestamp::from_nanos);
                // Opening a pipe would wait for whoever writes into it.
                let note = if found.is_file() { note(path) } else { String::new() };
                Some(Closed {
                    by: ClosedBy::File { path: path.to_owned(), note },
                    since: since.unwrap_or_else(clock::wall),
                })
            }
            // Where its folder is gone, so is the way to close it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::metadata(folder(path)).err().map(unknown),
            Err(error) => Some(unknown(error)),
        }
    }

    fn keep(&self, closed: &Closed) -> Result<(), KillSwitchError> {
        let Some(path) = &self.0.kept else { return Ok(()) };
        let write = || -> io::Result<()> {
            let fresh = path.with_extension("new");
            let mut file = File::create(&fresh)?;
            file.write_all(&serde_json::to_vec(closed)?)?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            sync_folder(folder(path))
        };
        write().map_err(unusable(path, "be noted"))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Closed>> {
        self.0.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was noted of a closing; one that is not understood has closed it, too.
fn read_kept(path: &Path) -> Option<Closed> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(KEPT_BYTES_MOST).read_to_end(&mut text));
    let why = match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
        Ok(_) => match serde_json::from_slice(&text) {
            Ok(closed) => return Some(closed),
            Err(error) => error.to_string(),
        },
    };
    Some(Closed { by: ClosedBy::Unknown { path: path.to_owned(), why }, since: clock::wall() })
}

fn note(path: &Path) -> String {
    let mut text = Vec::new();
    let _ = File::open(path).and_then(|file| file.take(NOTE_BYTES_MOST).read_to_end(&mut text));
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    shown(first)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unusable(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> KillSwitchError {
    let path = path.to_owned();
    move |source| KillSwitchError::Unusable { path, what, source }
}

impl fmt::Display for ClosedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClosedBy::File { path, note } if note.is_empty() => write!(f, "the file {}", path.display()),
            ClosedBy::File { path, note } => write!(f, "the file {} (\"{note}\")", path.display()),
            ClosedBy::Signal => f.write_str("a signal"),
            ClosedBy::Hand { who } => f.write_str(who),
            ClosedBy::Unknown { path, why } => write!(f, "{}, which cannot be looked at ({why}),", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_file_closes_it_while_it_exists() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("stop");
        let switch = KillSwitch::with_files(Some(&file), None).unwrap();
        let mut gate = switch.gate();
        gate.pass("a").unwrap();
        fs::write(&file, "mains of row B go\nat 14:00").unwrap();
        let stopped = gate.pass("b").unwrap_err().to_string();
        let said =
            format!("stopped before b: kill switch closed by the file {} (\"mains of row B go\")", file.display());
        assert!(stopped.starts_with(&said), "{stopped}");
        let since = switch.closed(NOON).unwrap().since;
        assert!(clock::wall().since(since) < forebay_world::Duration::from_mins(10), "{since}");
        assert!(matches!(switch.open(), Err(KillSwitchError::StillClosed(_))));
        fs::remove_file(&file).unwrap();
        gate.pass("c").unwrap();
        // A folder, and a link to nowhere, are there as well.
        fs::create_dir(&file).unwrap();
        assert!(gate.pass("d").is_err());
        fs::remove_dir(&file).unwrap();
        std::os::unix::fs::symlink("nowhere", &file).unwrap();
        assert!(gate.pass("e").is_err());
    }

    #[test]
    fn where_it_cannot_be_told_it_is_closed() {
        let outer = TempDir::new().unwrap();
        let folder = outer.path().join("run");
        assert!(KillSwitch::with_files(Some(&folder.join("stop")), None).is_err());
        fs::create_dir(&folder).unwrap();
        let switch = KillSwitch::with_files(Some(&folder.join("stop")), None).unwrap();
        assert_eq!(switch.closed(NOON), None);
        fs::remove_dir(&folder).unwrap();
        assert!(matches!(switch.closed(NOON), Some(Closed { by: ClosedBy::Unknown { .. }, .. })));
        fs::write(&folder, "").unwrap();
        assert!(matches!(switch.closed(NOON), Some(Closed { by: ClosedBy::Unknown { .. }, .. })));
    }

    #[test]
    fn a_hand_closes_it_until_a_hand_opens_it_also_over_a_restart() {
        let folder = TempDir::new().unwrap();
        let kept = folder.path().join("kill_switch.json");
        let start = || KillSwitch::with_files(None, Some(&kept)).unwrap();
        let switch = start();
        switch.close("a key in the terminal", NOON).unwrap();
        switch.close("another", NOON + forebay_world::Duration::from_secs(5)).unwrap();
        for switch in [switch.clone(), start()] {
            let closed = switch.closed(NOON).unwrap();
            assert_eq!(closed, Closed { by: ClosedBy::Hand { who: "a key in the terminal".into() }, since: NOON });
            assert!(switch.gate().pass("a").is_err());
        }
        switch.open().unwrap();
        assert_eq!((switch.closed(NOON), start().closed(NOON)), (None, None));
        // A note that is not understood was written for some reason.
        fs::write(&kept, "{\"by\"").unwrap();
        let switch = start();
        assert!(matches!(switch.closed(NOON).unwrap().by, ClosedBy::Unknown { .. }));
        switch.open().unwrap();
        assert_eq!(start().closed(NOON), None);
        // Where it cannot be noted it is closed all the same.
        drop(folder);
        assert!(matches!(switch.close("a key", NOON), Err(KillSwitchError::Unusable { .. })));
        assert!(switch.closed(NOON).is_some());
    }

    #[test]
    fn a_signal_closes_it_until_a_hand_opens_it() {
        let folder = TempDir::new().unwrap();
        let kept = folder.path().join("kill_switch.json");
        let switch = KillSwitch::with_files(None, Some(&kept)).unwrap();
        switch.on_signal(signal_hook::consts::SIGUSR2).unwrap();
        signal_hook::low_level::raise(signal_hook::consts::SIGUSR2).unwrap();
        assert_eq!(switch.closed(NOON), Some(Closed { by: ClosedBy::Signal, since: NOON }));
        let later = NOON + forebay_world::Duration::from_secs(60);
        assert_eq!(switch.closed(later).unwrap().since, NOON);
        assert_eq!(KillSwitch::with_files(None, Some(&kept)).unwrap().closed(later).unwrap().since, NOON);
        switch.open().unwrap();
        assert_eq!(switch.closed(later), None);
        for signal in [9, 15, 2, 1000, -1] {
            assert!(matches!(switch.on_signal(signal), Err(KillSwitchError::Signal { .. })), "{signal}");
        }
    }

    #[test]
    fn it_composes_with_another_gate_and_is_asked_at_each_write() {
        let switch = KillSwitch::new();
        let mut gate = Gate::open().and(switch.gate());
        gate.pass("a").unwrap();
        switch.flag().store(true, Ordering::SeqCst);
        assert!(gate.pass("b").unwrap_err().to_string().contains("kill switch closed by a signal since "));
    }
}
