//! Many machines asked at the same time, by few threads, in a time that is given.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{self, Instant};
use std::{fmt, thread};

use forebay_world::Duration;

use super::request::{Requests, Target};
use super::{Probe, ProbeError, ProbeFailure, Sessions};

/// What of a page is read \[bytes\].
const PAGE_BYTES_MOST: u64 = 1024 * 1024;
/// Each thread reads one page; what its stack has to hold \[bytes\].
const STACK_BYTES: usize = 256 * 1024;

/// Asks machines, round by round.
#[derive(Clone, Debug)]
pub struct Prober {
    probe: Probe,
    threads: usize,
    longest: Duration,
    requests: Requests,
}

/// What a machine said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A good answer.
    Well,
    /// None, or a bad one.
    Failed(ProbeFailure),
    /// The round was over before its turn came, or while it was being asked. Not its fault, as far as is known.
    NotAsked,
}

/// What one machine said in one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// How it does.
    pub answer: Answer,
    /// Sessions under way, where it said.
    pub sessions: Option<u64>,
    /// How long it took.
    pub took: Duration,
}

impl Prober {
    /// Asks with up to `threads` at the same time, and for no longer than `longest` a round.
    ///
    /// # Errors
    /// [`ProbeError`] when the probe does not pass [`Probe::check`], or nobody could be asked.
    pub fn new(probe: Probe, threads: usize, longest: Duration) -> Result<Prober, ProbeError> {
        probe.check()?;
        if !(1..=1024).contains(&threads) {
            return Err(ProbeError { what: format!("{threads} at the same time"), allowed: "1 to 1024" });
        }
        if longest < probe.timeout {
            let what = format!("rounds of {longest} with a timeout of {}", probe.timeout);
            return Err(ProbeError { what, allowed: "rounds no shorter than the timeout of one machine" });
        }
        Ok(Prober { probe, threads, longest, requests: Requests::new() })
    }

    /// How machines are asked.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Asks each machine once. Each one is in what comes back, whether its turn came or not.
    pub fn round<K: Ord + Clone + Send + Sync>(&self, machines: &BTreeMap<K, IpAddr>) -> BTreeMap<K, Probed> {
        let end = Instant::now() + time::Duration::from_nanos(self.longest.as_nanos());
        let all: Vec<(&K, &IpAddr)> = machines.iter().collect();
        let not_asked = Probed { answer: Answer::NotAsked, sessions: None, took: Duration::ZERO };
        let probed = Mutex::new(vec![not_asked; all.len()]);
        each(all.len(), self.threads, |n| {
            let one = self.ask(*all[n].1, end);
            probed.lock().unwrap_or_else(PoisonError::into_inner)[n] = one;
        });
        let probed = probed.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.into_iter().zip(probed).map(|((key, _), one)| (key.clone(), one)).collect()
    }

    fn ask(&self, machine: IpAddr, end: Instant) -> Probed {
        let began = Instant::now();
        let (answer, sessions) = self.answer(machine, end);
        Probed { answer, sessions, took: span(began.elapsed()) }
    }

    fn answer(&self, machine: IpAddr, end: Instant) -> (Answer, Option<u64>) {
        let mut page = Vec::new();
        let whole = match self.get(machine, &self.probe.path, end, &mut page) {
            Some(Ok(whole)) => whole,
            Some(Err(failure)) => return (Answer::Failed(failure), None),
            None => return (Answer::NotAsked, None),
        };
        let count = self.probe.sessions.as_ref().and_then(|Sessions { path, count }| {
            let Some(path) = path else { return if whole { count.read(&page) } else { None } };
            page.clear();
            // A page that does not tell says nothing of how the machine does.
            let whole = self.get(machine, path, end, &mut page)?.ok()?;
            if whole { count.read(&page) } else { None }
        });
        (Answer::Well, count)
    }

    /// `None` when the round is over.
    fn get(&self, machine: IpAddr, path: &str, end: Instant, page: &mut Vec<u8>) -> Option<Result<bool, ProbeFailure>> {
        let left = span(end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return None;
        }
        let target = Target { machine, port: self.probe.port, host: self.probe.host.as_deref(), path };
        let timeout = self.probe.timeout.min(left);
        let came = self.requests.get(target, timeout, PAGE_BYTES_MOST, &mut |piece| page.extend_from_slice(piece));
        // It was given less time than it is allowed.
        let is_ours = timeout < self.probe.timeout && came == Err(ProbeFailure::Timeout);
        (!is_ours).then_some(came)
    }
}

/// Does `work` for each number below `count`, up to `threads` at the same time: as many of them as the system gives.
pub(super) fn each(count: usize, threads: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let run = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return;
            }
            work(n);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            let builder = thread::Builder::new().name("probe".to_owned()).stack_size(STACK_BYTES);
            if builder.spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
}

pub(super) fn span(span: time::Duration) -> Duration {
    Duration::from_nanos(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Well => f.write_str("well"),
            Answer::Failed(failure) => failure.fmt(f),
            Answer::NotAsked => f.write_str("not asked: the round was over"),
        }
    }
}
