//! Processes of QEMU on this machine, as `/proc` shows them (proc(5)), and how one is ended without ever ending another
//! that has taken its number.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use forebay_world::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use uuid::Uuid;

use crate::machines::Mark;

/// What the mark is written behind on the command line; the guest finds it in its SMBIOS tables.
pub(super) const MARK_ARGUMENT: &str = "type=11,value=";

/// One process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    command_line: Vec<u8>,
    /// The machine's, where the command line has one.
    pub(super) uuid: Option<Uuid>,
    /// Ours or another owner's.
    pub(super) mark: Option<Mark>,
    /// When it began.
    pub(super) started: Option<Timestamp>,
}

impl Process {
    /// Every process of QEMU, by ascending number.
    pub(super) fn all() -> io::Result<Vec<Process>> {
        let booted = booted();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            // It may have ended in between.
            found.extend(number.and_then(|pid| Process::read(pid, booted)));
        }
        found.sort_by_key(|process| process.pid.as_raw_nonzero());
        Ok(found)
    }

    fn read(pid: Pid, booted: Option<Duration>) -> Option<Process> {
        let command_line = command_line(pid).ok()?;
        let words: Vec<&str> =
            command_line.split(|byte| *byte == 0).map(|word| std::str::from_utf8(word).unwrap_or("")).collect();
        let program = Path::new(words.first()?).file_name()?.to_str()?;
        if !program.starts_with("qemu-system") {
            return None;
        }
        let mut behind = words.windows(2).map(|pair| (pair[0], pair[1]));
        let uuid = behind.clone().find(|(option, _)| *option == "-uuid").and_then(|(_, value)| value.parse().ok());
        let mark = behind.find_map(|(option, value)| {
            (option == "-smbios").then(|| value.strip_prefix(MARK_ARGUMENT)?.parse().ok()).flatten()
        });
        let ticks = stat(pid).and_then(|fields| fields.get(STARTED).copied());
        let started = ticks.zip(booted).map(|(ticks, booted)| {
            let since = booted + in_seconds(ticks);
            Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
        });
        Some(Process { pid, uuid, mark, started, command_line })
    }

    /// Time that processors have spent on it.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        let fields = stat(self.pid)?;
        Some(in_seconds(fields.get(USER)? + fields.get(SYSTEM)?))
    }

    /// Waits until it has ended; false when it has not in time.
    pub(super) fn wait(&self, patience: Duration) -> io::Result<bool> {
        self.hold(|handle| wait(handle, patience)).map(|ended| ended.unwrap_or(true))
    }

    /// Kills it and waits; false when it has not ended in time.
    pub(super) fn kill(&self, patience: Duration) -> io::Result<bool> {
        let ended = self.hold(|handle| {
            match pidfd_send_signal(handle, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
            wait(handle, patience)
        })?;
        Ok(ended.unwrap_or(true))
    }

    /// Does something with the process itself, whoever has its number later; `None` when it is gone.
    fn hold<T>(&self, what: impl FnOnce(&rustix::fd::OwnedFd) -> io::Result<T>) -> io::Result<Option<T>> {
        let handle = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // What has the number now is held; whether it is the one that was seen, its command line says.
        if command_line(self.pid).ok().as_ref() != Some(&self.command_line) {
            return Ok(None);
        }
        what(&handle).map(Some)
    }
}

/// Fields of `/proc/PID/stat` behind the name, from the state on (proc(5) counts from 1, and the state is its third).
const USER: usize = 14 - 3;
const SYSTEM: usize = 15 - 3;
const STARTED: usize = 22 - 3;

fn stat(pid: Pid) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name may hold anything, also parentheses.
    let fields = text.rsplit_once(')')?.1.split_whitespace();
    Some(fields.map(|field| field.parse().unwrap_or(0)).collect())
}

fn command_line(pid: Pid) -> io::Result<Vec<u8>> {
    fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()))
}

fn in_seconds(ticks: u64) -> Duration {
    Duration::from_nanos(
        (u128::from(ticks) * 1_000_000_000 / u128::from(rustix::param::clock_ticks_per_second())) as u64,
    )
}

/// When the system was booted, since the epoch.
fn booted() -> Option<Duration> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok().map(Duration::from_secs)
}

fn wait(handle: &rustix::fd::OwnedFd, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
