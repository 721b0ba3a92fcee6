//! A connection to a libvirt daemon that does not wait for ever: what hangs, or is on a host that is gone, is not reached.
//!
//! libvirt itself waits for an answer as long as nobody hangs up. Once there is a connection, both ends are asked for signs
//! of life, which takes a loop of events (libvirt, virConnectSetKeepAlive). While there is none yet nothing of that kind
//! exists: it is made by a thread of its own, which is left behind where it does not come back in time.

use std::ops::Deref;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use virt::connect::Connect;
use virt::error::Error;
use virt::event::{event_register_default_impl, event_run_default_impl};

use crate::machines::MachineError;

/// How a connection is made: one that may write, or one that the daemon lets read only.
pub(super) type Opens = fn(Option<&str>) -> Result<Connect, Error>;

/// Seconds between signs of life, and how many may be missing: what does not answer is given up after 15 s.
const SIGN_SECONDS: i32 = 5;
const SIGNS_MISSING: u32 = 2;
/// Time for a connection to be made.
const OPENING_LONGEST: Duration = Duration::from_secs(10);
/// Time until it is tried again beside each try that has not come back.
const NEXT_TRY: Duration = Duration::from_secs(60);

/// A connection, closed when it is dropped.
pub(super) struct Connection(Connect);

impl Connection {
    /// Connects to a daemon.
    ///
    /// # Errors
    /// [`MachineError::Unreachable`] when it does not answer, or not in time.
    pub(super) fn open(uri: &str, opens: Opens) -> Result<Connection, MachineError> {
        let said = |why: String| MachineError::Unreachable { endpoint: uri.to_owned(), why };
        virt::error::clear_error_callback();
        run_events();
        let opening = Opening::begin(uri).map_err(said)?;
        let (sender, opened) = channel();
        let place = Some(uri.to_owned());
        let work = move || {
            let connection = opens(place.as_deref()).map(|connect| {
                // Drivers that are in our own process have no other end.
                let _ = connect.set_keep_alive(SIGN_SECONDS, SIGNS_MISSING);
                Connection(connect)
            });
            // It is closed where nobody waits for it any more.
            let _ = sender.send(connection);
            drop(opening);
        };
        thread::Builder::new()
            .name("libvirt-opening".to_owned())
            .spawn(work)
            .map_err(|error| said(format!("no thread can be started: {error}")))?;
        match opened.recv_timeout(OPENING_LONGEST) {
            Ok(connection) => connection.map_err(|error| unreachable(uri, &error)),
            Err(RecvTimeoutError::Timeout) => Err(said(silent(OPENING_LONGEST))),
            Err(RecvTimeoutError::Disconnected) => Err(said("its opening panicked".to_owned())),
        }
    }

    /// Whether there still is another end, as far as is known here.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_alive().unwrap_or(false)
    }
}

impl Deref for Connection {
    type Target = Connect;

    fn deref(&self) -> &Connect {
        &self.0
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A daemon that is gone has nothing to be told.
        let _ = self.0.close();
    }
}

pub(super) fn unreachable(endpoint: &str, error: &Error) -> MachineError {
    MachineError::Unreachable { endpoint: endpoint.to_owned(), why: error.message().to_owned() }
}

fn silent(span: Duration) -> String {
    format!("it has said nothing for {} s", span.as_secs())
}

/// Runs libvirt's loop of events, once for all connections of this process, which have to be made after it is there.
fn run_events() {
    static RUNS: OnceLock<()> = OnceLock::new();
    RUNS.get_or_init(|| {
        if event_register_default_impl().is_err() {
            return;
        }
        let run = || {
            loop {
                if event_run_default_impl().is_err() {
                    thread::sleep(Duration::from_secs(1));
                }
            }
        };
        // Without it connections are as libvirt has them on its own: they wait.
        let _ = thread::Builder::new().name("libvirt-events".to_owned()).spawn(run);
    });
}

/// A connection that is being made.
struct Opening {
    uri: String,
    since: Instant,
}

static OPENINGS: Mutex<Vec<(String, Instant)>> = Mutex::new(Vec::new());

fn openings() -> MutexGuard<'static, Vec<(String, Instant)>> {
    OPENINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Opening {
    /// Begins one, unless others at the same place are late and the next try is not due: so none wait without number.
    fn begin(uri: &str) -> Result<Opening, String> {
        let mut openings = openings();
        let now = Instant::now();
        let late: Vec<Duration> = openings
            .iter()
            .filter(|(place, _)| place == uri)
            .map(|(_, since)| now.duration_since(*since))
            .filter(|span| *span > OPENING_LONGEST)
            .collect();
        let is_due = late.iter().min().is_none_or(|last| *last >= NEXT_TRY * late.len() as u32);
        if !is_due {
            return Err(silent(late.into_iter().max().unwrap_or_default()));
        }
        openings.push((uri.to_owned(), now));
        Ok(Opening { uri: uri.to_owned(), since: now })
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut openings = openings();
        let found = openings.iter().position(|(uri, since)| *uri == self.uri && *since == self.since);
        if let Some(found) = found {
            openings.swap_remove(found);
        }
    }
}
