//! Warming up: a machine is asked for what is expected to be popular, so that it has it when clients come.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{self, Instant};

use forebay_world::Duration;

use super::request::{Requests, Target};
use super::round::{each, span};
use super::{ProbeError, ProbeFailure, check_path, check_target};

/// What a machine is asked for before clients come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warming {
    /// The content, the most popular first.
    pub paths: Vec<String>,
    /// The port.
    pub port: u16,
    /// The name that is asked for (the `Host` header), where the address will not do.
    pub host: Option<String>,
    /// How many are asked for at the same time.
    pub parallel: usize,
    /// How long one may take.
    pub timeout: Duration,
    /// How long all may take.
    pub longest: Duration,
    /// How long one may be \[bytes\].
    pub bytes_most: u64,
}

/// How much of it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warmed {
    /// Paths that came whole.
    pub came: usize,
    /// Paths that did not, and why, in their order.
    pub failed: Vec<(String, ProbeFailure)>,
    /// Paths whose turn did not come, or that were being asked for when time was up.
    pub not_asked: usize,
    /// Of what came \[bytes\].
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

enum Came {
    Whole(u64),
    Failed(ProbeFailure),
    NotAsked,
}

impl Warming {
    /// Whether a machine can be asked for that.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub fn check(&self) -> Result<(), ProbeError> {
        check_target("/", self.host.as_deref(), self.port)?;
        self.paths.iter().try_for_each(|path| check_path(path))?;
        if !(1..=1024).contains(&self.parallel) {
            return Err(ProbeError { what: format!("{} at the same time", self.parallel), allowed: "1 to 1024" });
        }
        if self.timeout.is_zero() || self.longest.is_zero() {
            return Err(ProbeError { what: "a time of 0 s".to_owned(), allowed: "more than none" });
        }
        Ok(())
    }

    /// Asks a machine for all of it, and comes back when it has it or when time is up.
    ///
    /// # Errors
    /// [`ProbeError`] when this does not pass [`Warming::check`].
    pub fn warm(&self, machine: IpAddr) -> Result<Warmed, ProbeError> {
        self.check()?;
        let (began, requests) = (Instant::now(), Requests::new());
        let end = began + time::Duration::from_nanos(self.longest.as_nanos());
        let came: Vec<Mutex<Came>> = self.paths.iter().map(|_| Mutex::new(Came::NotAsked)).collect();
        each(self.paths.len(), self.parallel, |n| {
            let one = self.ask(&requests, machine, &self.paths[n], end);
            *came[n].lock().unwrap_or_else(PoisonError::into_inner) = one;
        });
        let mut warmed = Warmed::default();
        for (path, came) in self.paths.iter().zip(came) {
            match came.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Came::Whole(bytes) => {
                    warmed.came += 1;
                    warmed.bytes += bytes;
                }
                Came::Failed(failure) => warmed.failed.push((path.clone(), failure)),
                Came::NotAsked => warmed.not_asked += 1,
            }
        }
        warmed.took = span(began.elapsed());
        Ok(warmed)
    }

    fn ask(&self, requests: &Requests, machine: IpAddr, path: &str, end: Instant) -> Came {
        let left = span(end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Came::NotAsked;
        }
        let target = Target { machine, port: self.port, host: self.host.as_deref(), path };
        let mut bytes = 0;
        let timeout = self.timeout.min(left);
        match requests.get(target, timeout, self.bytes_most, &mut |piece| bytes += piece.len() as u64) {
            Ok(true) => Came::Whole(bytes),
            Ok(false) => Came::Failed(ProbeFailure::TooLong(self.bytes_most)),
            Err(ProbeFailure::Timeout) if timeout < self.timeout => Came::NotAsked,
            Err(failure) => Came::Failed(failure),
        }
    }
}
