//! Processes of QEMU on this machine, as `/proc` shows them (proc(5)), and how one is ended without ever ending another
//! that has taken its number.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use forebay_world::{Bytes, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use uuid::Uuid;

use crate::machines::{Foreign, Mark};

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
    /// What else its command line says of the machine.
    told: Told,
}

/// What a command line says of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    name: Option<String>,
    vcpus: Option<u32>,
    memory: Option<Bytes>,
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
        Some(Process { pid, uuid, mark, started, told: Told::read(&words), command_line })
    }

    /// What it is as one that is not ours. Nobody else's machine is spoken to, so whether it runs is not known.
    pub(super) fn foreign(&self) -> Foreign {
        let id = match self.uuid {
            Some(uuid) => uuid.to_string(),
            None => format!("process {}", self.pid.as_raw_nonzero()),
        };
        let Told { name, vcpus, memory } = self.told.clone();
        Foreign {
            uuid: self.uuid,
            vcpus,
            memory,
            since: self.started,
            owner: self.mark.as_ref().map(|mark| mark.owner.clone()),
            ..Foreign::new(name.unwrap_or_else(|| id.clone()), id)
        }
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

impl Told {
    /// Reads options as qemu-system-x86_64(1) has them; what is left to QEMU's defaults is not told.
    fn read(words: &[&str]) -> Told {
        let mut told = Told::default();
        for (option, value) in words.windows(2).map(|pair| (pair[0], pair[1])) {
            match option {
                "-name" => told.name = parameter(value, "guest").map(str::to_owned),
                "-smp" => told.vcpus = parameter(value, "cpus").and_then(|text| text.parse().ok()),
                "-m" => told.memory = parameter(value, "size").and_then(memory),
                _ => {}
            }
        }
        told
    }
}

/// A parameter of an option; its first may stand without its name.
fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = value.split(',');
    let bare = parts.clone().next().filter(|first| !first.is_empty() && !first.contains('='));
    parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).or(bare)
}

/// A size as QEMU takes it, in MiB where it has no letter.
fn memory(text: &str) -> Option<Bytes> {
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'b' | 'B') => (&text[..at], 0),
        (at, 'k' | 'K') => (&text[..at], 10),
        (at, 'm' | 'M') => (&text[..at], 20),
        (at, 'g' | 'G') => (&text[..at], 30),
        (at, 't' | 'T') => (&text[..at], 40),
        _ => (text, 20),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).map(Bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_line_says_is_told_and_nothing_else() {
        let told = |line: &str| Told::read(&line.split(' ').collect::<Vec<_>>());
        let of = |name: &str, vcpus, memory| Told { name: Some(name.to_owned()), vcpus, memory };
        let libvirts = "qemu -name guest=web-1,debug-threads=on -m size=1048576k,slots=16 -smp 2,sockets=2,cores=1";
        assert_eq!(told(libvirts), of("web-1", Some(2), Some(Bytes(1 << 30))));
        assert_eq!(told("qemu -name web -m 160 -smp cpus=4"), of("web", Some(4), Some(Bytes(160 << 20))));
        assert_eq!(told("qemu -m 1.5G -smp sockets=2 -name debug-threads=on"), Told::default());
        assert_eq!(told("qemu -m 99999999999999999999T"), Told::default());
        assert_eq!(told("qemu -m 18446744073709551615k"), Told::default());
        for (text, bytes) in [("8", 8 << 20), ("8M", 8 << 20), ("2G", 2 << 30), ("1t", 1 << 40), ("64b", 64)] {
            assert_eq!(memory(text), Some(Bytes(bytes)), "{text}");
        }
        for text in ["", "G", "é", "-1", "1 G"] {
            assert_eq!(memory(text), None, "{text:?}");
        }
    }
}
