//! What looks at QEMU's processes, their folders and their ports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use forebay_world::{Bytes, VmId};
use serde_json::{Value, json};

use super::ports::{Ports, SeenPorts};
use super::process::Process;
use super::qmp::{Qmp, QmpError};
use super::{PATIENCE, QemuHost};
use crate::machines::folder::{Folder, Sidecar};
use crate::machines::{
    DiskStatistics, Foreign, Inventory, Machine, MachineCapabilities, MachineError, MachineState, MachineStatistics,
    MachineView, Mark, Owner,
};

/// Longest path of a socket (unix(7)).
const SOCKET_PATH_MOST: usize = 107;

/// Sees one owner's machines on one host, and all others of QEMU's: by their folders, by `/proc`, by queries of QMP, and by
/// what the kernel and Open vSwitch say of their ports.
pub struct QemuView {
    pub(super) host: QemuHost,
    pub(super) owner: Owner,
    pub(super) folder: Folder,
    pub(super) ports: Ports,
}

/// One machine as it was found.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) mark: Mark,
    pub(super) written: Option<Sidecar>,
    pub(super) processes: Vec<Process>,
}

impl QemuView {
    /// Looks at the state of an owner on a host. A folder that is not there stays so. Ports are looked for in the network
    /// namespace of the thread that calls.
    ///
    /// # Errors
    /// [`MachineError::Unsupported`] when the path of the folder is too long for sockets in it.
    pub fn open(host: QemuHost, owner: Owner) -> Result<QemuView, MachineError> {
        QemuView::over(host, owner, |path| Ok(Folder::seen(path)))
    }

    pub(super) fn over(
        host: QemuHost,
        owner: Owner,
        folder: fn(PathBuf) -> io::Result<Folder>,
    ) -> Result<QemuView, MachineError> {
        let endpoint = format!("qemu in {}", host.state.display());
        let rejected = |error: io::Error| MachineError::Rejected {
            endpoint: endpoint.clone(),
            what: "its folder".to_owned(),
            why: error.to_string(),
        };
        let path = std::path::absolute(&host.state).map_err(rejected)?.join(owner.as_str());
        let longest = path.join(VmId(u64::MAX).to_string()).join("qmp.sock");
        if longest.as_os_str().len() > SOCKET_PATH_MOST {
            let what = format!("a path of {} bytes for its sockets", longest.as_os_str().len());
            return Err(MachineError::Unsupported {
                endpoint,
                what,
                allowed: "107 bytes (unix(7)): a shorter state folder",
            });
        }
        let folder = folder(path).map_err(rejected)?;
        let ports = Ports::new(owner.clone(), endpoint, host.ovs.clone());
        Ok(QemuView { host, owner, folder, ports })
    }

    pub(super) fn rejected(&self, what: impl Into<String>, why: impl ToString) -> MachineError {
        MachineError::Rejected { endpoint: self.hypervisor(), what: what.into(), why: why.to_string() }
    }

    fn processes(&self) -> Result<Vec<Process>, MachineError> {
        Process::all().map_err(|error| self.rejected("processes", error))
    }

    /// All of ours, whether written down or running or both; and what is not ours.
    pub(super) fn look(&self) -> Result<(BTreeMap<VmId, Seen>, Vec<Process>), MachineError> {
        let found = self.folder.read().map_err(|error| self.rejected("its folder", error))?;
        let mut seen = BTreeMap::new();
        for written in found.machines.into_iter().filter(|written| written.mark.owner == self.owner) {
            let mark = written.mark.clone();
            seen.insert(mark.vm, Seen { mark, written: Some(written), processes: Vec::new() });
        }
        let mut foreign = Vec::new();
        for process in self.processes()? {
            match &process.mark {
                Some(mark) if mark.owner == self.owner && process.uuid == Some(mark.uuid()) => {
                    let of = || Seen { mark: mark.clone(), written: None, processes: Vec::new() };
                    seen.entry(mark.vm).or_insert_with(of).processes.push(process);
                }
                _ => foreign.push(process),
            }
        }
        Ok((seen, foreign))
    }

    pub(super) fn qmp(&self, vm: VmId) -> Result<Qmp, QmpError> {
        Qmp::connect(&self.folder.of(vm).join("qmp.sock"), PATIENCE)
    }

    pub(super) fn state(&self, seen: &Seen) -> MachineState {
        let vm = seen.mark.vm;
        if seen.processes.is_empty() {
            return ended(&self.folder.of(vm));
        }
        let status = self.qmp(vm).and_then(|mut qmp| {
            // Whoever is behind that socket may be a machine's that was made since.
            let uuid = qmp.query("query-uuid", json!({}))?;
            if uuid.get("UUID").and_then(Value::as_str) != Some(&seen.mark.uuid().to_string()) {
                return Err(QmpError::Garbage("another machine answers".to_owned()));
            }
            qmp.query("query-status", json!({}))
        });
        match status.as_ref().ok().and_then(|status| status.get("status")?.as_str()) {
            Some("running" | "debug") => MachineState::Running,
            Some("paused" | "prelaunch" | "suspended" | "save-vm" | "restore-vm" | "inmigrate" | "finish-migrate") => {
                MachineState::Paused
            }
            Some("shutdown") => MachineState::ShuttingDown,
            Some("guest-panicked" | "internal-error" | "io-error" | "watchdog") => MachineState::Crashed,
            _ => MachineState::Unknown,
        }
    }

    /// What is ours and belongs to no machine: files, and machines that only ports know of.
    pub(super) fn strays(
        &mut self,
        ours: &BTreeSet<VmId>,
    ) -> Result<(Vec<PathBuf>, BTreeMap<VmId, Vec<String>>), MachineError> {
        let debris = self.folder.read().map_err(|error| self.rejected("its folder", error))?.debris;
        let seen = self.ports.look()?;
        let mut ports: BTreeMap<VmId, Vec<String>> = BTreeMap::new();
        for (vm, name) in self.ports.owners(&seen).into_iter().filter(|(vm, _)| !ours.contains(vm)) {
            ports.entry(vm).or_default().push(name);
        }
        Ok((debris, ports))
    }

    fn count(&self, seen: &Seen, ports: &SeenPorts) -> Option<MachineStatistics> {
        let process = seen.processes.last()?;
        let mut counted = MachineStatistics::default();
        let spent = process.processor_time()?;
        counted.processor_time =
            Some(forebay_world::Duration::from_nanos(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX)));
        for port in seen.written.iter().flat_map(|written| &written.ports) {
            if let Some(device) = ports.devices.get(&port.name) {
                counted.interfaces.insert(port.name.clone(), device.statistics);
            }
        }
        // What a machine does not say stays unknown.
        if let Ok(mut qmp) = self.qmp(seen.mark.vm) {
            let balloon = qmp.query("query-balloon", json!({})).ok();
            counted.memory_assigned = balloon.and_then(|answer| answer.get("actual")?.as_u64()).map(Bytes);
            let path = json!({"path": "/machine/peripheral/balloon", "property": "guest-stats"});
            counted.memory_used = qmp.query("qom-get", path).ok().as_ref().and_then(used_memory);
            let disks = qmp.query("query-blockstats", json!({})).ok();
            counted.disks = disks.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(disk).collect();
        }
        Some(counted)
    }

    /// What is not ours: processes, and what other owners have written down beside us and let end.
    fn foreign(&self, processes: &[Process]) -> Result<Vec<Foreign>, MachineError> {
        let mut foreign: Vec<Foreign> = processes.iter().map(Process::foreign).collect();
        let running: BTreeSet<_> = processes.iter().filter_map(|process| process.uuid).collect();
        let failed = |error| self.rejected("folders of other owners", error);
        for (folder, written) in self.others().map_err(failed)? {
            let mark = written.mark;
            if !running.contains(&mark.uuid()) {
                foreign.push(Foreign {
                    uuid: Some(mark.uuid()),
                    state: ended(&folder.of(mark.vm)),
                    owner: Some(mark.owner.clone()),
                    ..Foreign::new(mark.vm.to_string(), mark.uuid().to_string())
                });
            }
        }
        foreign.sort();
        Ok(foreign)
    }

    fn others(&self) -> io::Result<Vec<(Folder, Sidecar)>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.host.state) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let owner = entry.file_name().to_str().and_then(|name| name.parse::<Owner>().ok());
            let Some(owner) = owner.filter(|owner| *owner != self.owner && entry.path().is_dir()) else { continue };
            let folder = Folder::seen(entry.path());
            match folder.read() {
                Ok(there) => {
                    let theirs = there.machines.into_iter().filter(|written| written.mark.owner == owner);
                    found.extend(theirs.map(|written| (folder.clone(), written)));
                }
                // What another keeps to itself is seen while it runs, by its process.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// How a machine ended, by its folder: QEMU makes the console's file as it starts, and takes its pid file away as it ends.
fn ended(folder: &Path) -> MachineState {
    let has = |name| folder.join(name).exists();
    match (has("console.log"), has("pid")) {
        (_, true) => MachineState::Crashed,
        (true, false) => MachineState::ShutOff,
        (false, false) => MachineState::Defined,
    }
}

/// What the guest's balloon driver has reported, if it has.
fn used_memory(answer: &Value) -> Option<Bytes> {
    answer.get("last-update")?.as_u64().filter(|updated| *updated > 0)?;
    // A value that the driver does not report is all ones.
    let value = |name: &str| answer.pointer(&format!("/stats/{name}"))?.as_u64().filter(|value| *value != u64::MAX);
    let available = value("stat-available-memory").or_else(|| value("stat-free-memory"))?;
    Some(Bytes(value("stat-total-memory")?.saturating_sub(available)))
}

fn disk(block: &Value) -> Option<(String, DiskStatistics)> {
    let count = |name: &str| block.pointer(&format!("/stats/{name}")).and_then(Value::as_u64);
    let statistics = DiskStatistics {
        read_bytes: count("rd_bytes")?,
        reads: count("rd_operations")?,
        written_bytes: count("wr_bytes")?,
        writes: count("wr_operations")?,
    };
    Some((block.get("device")?.as_str().filter(|name| !name.is_empty())?.to_owned(), statistics))
}

impl MachineView for QemuView {
    fn hypervisor(&self) -> String {
        format!("qemu in {}", self.host.state.display())
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn capabilities(&self) -> MachineCapabilities {
        MachineCapabilities {
            graceful_stop: true,
            statistics: true,
            paused_creation: true,
            idempotent_creation: true,
            native_token: false,
            configuration: true,
            ports: true,
            addresses: false,
            restart: true,
        }
    }

    fn list(&mut self) -> Result<Inventory, MachineError> {
        let (seen, foreign) = self.look()?;
        let ours = seen.keys().copied().collect();
        let (debris, ports) = self.strays(&ours)?;
        let machine = |seen: &Seen| Machine {
            uuid: seen.mark.uuid(),
            name: seen.mark.vm.to_string(),
            host: self.host.name.clone(),
            state: self.state(seen),
            since: seen.processes.last().and_then(|process| process.started),
            addresses: BTreeSet::new(),
            mark: seen.mark.clone(),
        };
        let files = debris.iter().map(|path| path.display().to_string());
        Ok(Inventory {
            machines: seen.iter().map(|(vm, seen)| (*vm, machine(seen))).collect(),
            strays: files.chain(ports.into_values().flatten()).collect(),
            foreign: self.foreign(&foreign)?,
        })
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        let (seen, _) = self.look()?;
        let ports = self.ports.look()?;
        Ok(seen.iter().filter_map(|(vm, seen)| Some((*vm, self.count(seen, &ports)?))).collect())
    }
}
