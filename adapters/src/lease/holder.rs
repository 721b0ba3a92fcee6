//! Who holds a lease.

use std::fmt;
use std::{fs, io, process};

use serde::{Deserialize, Serialize};

/// One start of one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The machine's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Drawn for each start, so that a process number that comes again is not taken for the same.
    pub instance: String,
}

impl Holder {
    /// This process on this machine. Each call is another instance.
    ///
    /// # Errors
    /// When the kernel tells neither name nor random numbers (/proc is not there).
    pub fn here() -> io::Result<Holder> {
        let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
        Ok(Holder {
            host: line("/proc/sys/kernel/hostname")?,
            pid: process::id(),
            instance: line("/proc/sys/kernel/random/uuid")?,
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.instance.split('-').next().unwrap_or_default();
        write!(f, "process {} on {} (instance {start})", self.pid, self.host)
    }
}
