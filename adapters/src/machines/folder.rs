//! Where machines are written down: a folder for each, made whole before anything else of it is.
//!
//! ```text
//!   STATE/OWNER/lock                 held while something is written
//!   STATE/OWNER/vm-7/machine.json    the mark, and the ports: what has to go with it
//!                   /seed.img        what cloud-init reads
//!                   /disk.qcow2      what the machine has written
//!                   /qmp.sock, pid   of QEMU without libvirt; pid stays behind when it did not end by itself
//!                   /console.log     what the machine says
//!   STATE/OWNER/vm-8.new, vm-6.old   a crash came between
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use forebay_world::VmId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Attachment, MachinePort, MachineSpec, Mark};

/// The file that says what a machine is.
const SIDECAR: &str = "machine.json";
/// Longest that one is read [bytes].
const SIDECAR_BYTES_MOST: u64 = 1 << 20;

/// The machines of one owner.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Whether it has to be there: one that was made and is gone again is an error, and not an empty one.
    is_made: bool,
}

/// What is written down of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sidecar {
    pub(super) mark: Mark,
    pub(super) ports: Vec<SidecarPort>,
}

/// A port that was made for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SidecarPort {
    pub(super) name: String,
    pub(super) bridge: String,
    /// On Open vSwitch, what it is known by there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<Uuid>,
}

impl SidecarPort {
    pub(super) fn of(port: &MachinePort) -> Option<SidecarPort> {
        let (bridge, interface) = match &port.attachment {
            Attachment::Bridge(bridge) => (bridge, None),
            Attachment::OpenVswitch { bridge, interface } => (bridge, Some(*interface)),
            Attachment::Network(_) => return None,
        };
        Some(SidecarPort { name: port.name.clone(), bridge: bridge.clone(), interface })
    }
}

/// What stands in a folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) machines: Vec<Sidecar>,
    /// What a crash left, or a hand.
    pub(super) debris: Vec<PathBuf>,
}

impl Folder {
    /// Opens it, and makes it where there is none.
    pub(super) fn open(path: PathBuf) -> io::Result<Folder> {
        fs::create_dir_all(&path)?;
        Ok(Folder { path, is_made: true })
    }

    /// One that is only looked at: where there is none, nothing is written down.
    pub(super) fn seen(path: PathBuf) -> Folder {
        Folder { path, is_made: false }
    }

    /// Becomes the only writer; `None` when another is.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.path.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder of a machine, whether it is there or not.
    pub(super) fn of(&self, vm: VmId) -> PathBuf {
        self.path.join(vm.to_string())
    }

    /// What is there.
    pub(super) fn read(&self) -> io::Result<Found> {
        let mut found = Found::default();
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_made => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            if name == "lock" {
                continue;
            }
            match sidecar(&path)? {
                Some(sidecar) if name.to_str() == Some(&sidecar.mark.vm.to_string()) => found.machines.push(sidecar),
                _ => found.debris.push(path),
            }
        }
        found.debris.sort();
        Ok(found)
    }

    /// Writes a machine down: all of it or nothing, and on the disk before this returns.
    pub(super) fn write(&self, sidecar: &Sidecar, spec: &MachineSpec) -> io::Result<()> {
        let vm = sidecar.mark.vm;
        let fresh = self.path.join(format!("{vm}.new"));
        discard(&fresh)?;
        discard(&self.of(vm))?;
        fs::create_dir(&fresh)?;
        if let Some(configuration) = &spec.configuration {
            let seed = super::seed::seed(sidecar.mark.uuid(), configuration)?;
            write_durably(&fresh.join("seed.img"), &seed)?;
        }
        let text = serde_json::to_vec_pretty(sidecar)?;
        write_durably(&fresh.join(SIDECAR), &text)?;
        File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, self.of(vm))?;
        File::open(&self.path)?.sync_all()
    }

    /// Takes a machine's folder away.
    pub(super) fn remove(&self, vm: VmId) -> io::Result<()> {
        let old = self.path.join(format!("{vm}.old"));
        discard(&old)?;
        // From here on it is no machine any more, however far the rest gets.
        match fs::rename(self.of(vm), &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed.and_then(|()| discard(&old)),
        }
    }
}

fn sidecar(folder: &Path) -> io::Result<Option<Sidecar>> {
    let path = folder.join(SIDECAR);
    let text = match fs::metadata(&path) {
        // It may be taken away between the two: whoever only looks holds no lock.
        Ok(file) if file.is_file() && file.len() <= SIDECAR_BYTES_MOST => fs::read(&path),
        Ok(_) => return Ok(None),
        Err(error) => Err(error),
    };
    match text {
        // One that cannot be understood was written by a hand, or by a version to come.
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file, or a folder with all in it; nothing is there when it returns.
pub(super) fn discard(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Configuration may hold keys.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
