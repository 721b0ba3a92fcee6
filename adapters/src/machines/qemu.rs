//! QEMU without a daemon: a process for each machine, started here and left to itself, and its machine protocol (QMP).
//!
//! A machine is written down in a folder (its mark, its ports, its seed) before anything else of it is made; then come its
//! ports, its disk, and its process, which bears the mark on its command line. Processes are found by that, not by numbers
//! that were noted, so they are found after a crash of ours at any point, and a number that another process has taken since
//! ends nobody. A machine that ends by itself takes its file `pid` along; where it stays behind, it crashed.
//!
//! How guests are run is configured, never probed for: there are machines whose `/dev/kvm` opens and runs nothing.

mod command;
mod ports;
mod process;
mod qmp;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use forebay_world::{Bytes, Timestamp, VmId};
use serde_json::{Value, json};

use super::folder::{Folder, Sidecar, SidecarPort, discard};
use super::program::{check_files, make_layer, run};
use super::{
    DiskStatistics, Done, Gate, Inventory, Machine, MachineCapabilities, MachineError, MachineExecutor, MachineSpec,
    MachineState, MachineStatistics, Mark, Owner,
};
use crate::ovsdb::Endpoint;
use ports::{Ports, SeenPorts};
use process::Process;
use qmp::{Qmp, QmpError};

/// How long a machine may take to answer, and to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest path of a socket (unix(7)).
const SOCKET_PATH_MOST: usize = 107;

/// A host on which QEMU is.
#[derive(Clone, Debug)]
pub struct QemuHost {
    /// The host's name, as inventories show it.
    pub name: String,
    /// Where machines are written down, of all owners.
    pub state: PathBuf,
    /// QEMU itself.
    pub program: PathBuf,
    /// How guests are run.
    pub acceleration: Acceleration,
    /// Which processor they see, as QEMU takes it: `max`, `host`, `Skylake-Server`.
    pub processor: String,
    /// The database of Open vSwitch, where machines are attached to it.
    pub ovs: Option<Endpoint>,
}

/// How guests are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acceleration {
    /// By translating their instructions: works everywhere, slowly.
    #[default]
    Tcg,
    /// By the kernel's virtual machines.
    Kvm,
}

impl QemuHost {
    /// A host with QEMU's defaults, and without Open vSwitch.
    pub fn new(name: impl Into<String>, state: impl Into<PathBuf>) -> QemuHost {
        QemuHost {
            name: name.into(),
            state: state.into(),
            program: "qemu-system-x86_64".into(),
            acceleration: Acceleration::default(),
            processor: "max".to_owned(),
            ovs: None,
        }
    }
}

/// Machines of one owner on one host.
pub struct QemuExecutor {
    host: QemuHost,
    owner: Owner,
    folder: Folder,
    ports: Ports,
}

/// One machine as it was found.
#[derive(Debug)]
struct Seen {
    mark: Mark,
    written: Option<Sidecar>,
    processes: Vec<Process>,
}

impl QemuExecutor {
    /// Opens the state of an owner on a host, and makes it where there is none. Ports are made in the network namespace of
    /// the thread that calls.
    ///
    /// # Errors
    /// [`MachineError::Rejected`] when the folder cannot be made, [`MachineError::Unsupported`] when its path is too long
    /// for sockets in it.
    pub fn open(host: QemuHost, owner: Owner) -> Result<QemuExecutor, MachineError> {
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
        let folder = Folder::open(path).map_err(rejected)?;
        let ports = Ports::new(owner.clone(), endpoint, host.ovs.clone());
        Ok(QemuExecutor { host, owner, folder, ports })
    }

    fn rejected(&self, what: impl Into<String>, why: impl ToString) -> MachineError {
        MachineError::Rejected { endpoint: self.hypervisor(), what: what.into(), why: why.to_string() }
    }

    /// Becomes the only writer for as long as what it gives is kept.
    fn own(&self) -> Result<fs::File, MachineError> {
        let lock = self.folder.lock().map_err(|error| self.rejected("its lock", error))?;
        let name = format!("the lock of {}", self.owner);
        lock.ok_or_else(|| MachineError::OtherWriter { endpoint: self.hypervisor(), lock: name })
    }

    fn processes(&self) -> Result<Vec<Process>, MachineError> {
        Process::all().map_err(|error| self.rejected("processes", error))
    }

    /// All of ours, whether written down or running or both; and what is not ours.
    fn look(&self) -> Result<(BTreeMap<VmId, Seen>, Vec<Process>), MachineError> {
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

    fn seen(&self, vm: VmId) -> Result<Option<Seen>, MachineError> {
        Ok(self.look()?.0.remove(&vm))
    }

    fn qmp(&self, vm: VmId) -> Result<Qmp, QmpError> {
        Qmp::connect(&self.folder.of(vm).join("qmp.sock"), PATIENCE)
    }

    fn state(&self, seen: &Seen) -> MachineState {
        let vm = seen.mark.vm;
        if seen.processes.is_empty() {
            // QEMU makes the console's file as it starts, and takes its pid file away as it ends.
            let has = |name| self.folder.of(vm).join(name).exists();
            return match (has("console.log"), has("pid")) {
                (_, true) => MachineState::Crashed,
                (true, false) => MachineState::ShutOff,
                (false, false) => MachineState::Defined,
            };
        }
        let status = self.qmp(vm).and_then(|mut qmp| {
            // Whoever is behind that socket may be a machine's that was made since.
            let uuid = qmp.ask("query-uuid", json!({}))?;
            if uuid.get("UUID").and_then(Value::as_str) != Some(&seen.mark.uuid().to_string()) {
                return Err(QmpError::Garbage("another machine answers".to_owned()));
            }
            qmp.ask("query-status", json!({}))
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

    fn check(&mut self, spec: &MachineSpec) -> Result<Vec<SidecarPort>, MachineError> {
        spec.check()?;
        let unsupported = |what: &str, allowed| MachineError::Unsupported {
            endpoint: self.hypervisor(),
            what: what.to_owned(),
            allowed,
        };
        check_files(&spec.image, &self.hypervisor())?;
        let ports: Option<Vec<SidecarPort>> = spec.ports.iter().map(SidecarPort::of).collect();
        ports.ok_or_else(|| unsupported("a network of a provider", "a bridge of the kernel or of Open vSwitch"))
    }

    fn write_down(&self, spec: &MachineSpec, ports: &[SidecarPort]) -> Result<Sidecar, MachineError> {
        let (owner, vm, spec_digest) = (self.owner.clone(), spec.vm, spec.digest());
        let created = now();
        let mark = Mark { owner, vm, generation: spec.generation, created, spec: spec_digest };
        let sidecar = Sidecar { mark, ports: ports.to_vec() };
        self.folder.write(&sidecar, spec).map_err(|error| self.rejected(format!("folder of {vm}"), error))?;
        Ok(sidecar)
    }

    fn launch(&self, spec: &MachineSpec, mark: &Mark, gate: &mut Gate) -> Result<(), MachineError> {
        gate.pass(&format!("start {}", spec.vm))?;
        let mut command = Command::new(&self.host.program);
        command.args(command::arguments(&self.host, spec, mark, &self.folder.of(spec.vm)));
        run(command, &self.hypervisor(), spec.vm, "start")
    }

    /// Ends every process of a machine: by word first, so that its disk is whole.
    fn end(&self, seen: &Seen, gate: &mut Gate) -> Result<u32, MachineError> {
        let vm = seen.mark.vm;
        if seen.processes.is_empty() {
            return Ok(0);
        }
        let mut writes = 1;
        gate.pass(&format!("end {vm}"))?;
        let told = self.qmp(vm).and_then(|mut qmp| qmp.ask("quit", json!({}))).is_ok();
        for process in &seen.processes {
            let failed = |error| self.rejected(format!("end of {vm}"), error);
            if told && process.wait(PATIENCE).map_err(failed)? {
                continue;
            }
            gate.pass(&format!("kill {vm}"))?;
            writes += 1;
            if !process.kill(PATIENCE).map_err(failed)? {
                let difference = "its process does not end".to_owned();
                return Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference });
            }
        }
        // It ended because it was told to: that is no crash, however it went.
        let pid = self.folder.of(vm).join("pid");
        discard(&pid).map_err(|error| self.rejected(format!("end of {vm}"), error))?;
        Ok(writes)
    }

    fn is_gone(&self, vm: VmId) -> Result<(), MachineError> {
        match self.seen(vm)? {
            None => Ok(()),
            Some(_) => {
                let difference = "it is still there".to_owned();
                Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference })
            }
        }
    }

    /// What is ours and belongs to no machine: files, and machines that only ports know of.
    fn strays(&mut self, ours: &BTreeSet<VmId>) -> Result<(Vec<PathBuf>, BTreeMap<VmId, Vec<String>>), MachineError> {
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
            let balloon = qmp.ask("query-balloon", json!({})).ok();
            counted.memory_assigned = balloon.and_then(|answer| answer.get("actual")?.as_u64()).map(Bytes);
            let path = json!({"path": "/machine/peripheral/balloon", "property": "guest-stats"});
            counted.memory_used = qmp.ask("qom-get", path).ok().as_ref().and_then(used_memory);
            let disks = qmp.ask("query-blockstats", json!({})).ok();
            counted.disks = disks.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(disk).collect();
        }
        Some(counted)
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

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

impl MachineExecutor for QemuExecutor {
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
            mark: seen.mark.clone(),
        };
        let named = |process: &Process| match (&process.mark, process.uuid) {
            (Some(mark), _) => format!("{} of {}, process {}", mark.vm, mark.owner, process.pid.as_raw_nonzero()),
            (None, Some(uuid)) => format!("{uuid}, process {}", process.pid.as_raw_nonzero()),
            (None, None) => format!("process {}", process.pid.as_raw_nonzero()),
        };
        let files = debris.iter().map(|path| path.display().to_string());
        Ok(Inventory {
            machines: seen.iter().map(|(vm, seen)| (*vm, machine(seen))).collect(),
            strays: files.chain(ports.into_values().flatten()).collect(),
            foreign: foreign.iter().map(named).collect(),
        })
    }

    fn create(&mut self, spec: &MachineSpec, gate: &mut Gate) -> Result<Done, MachineError> {
        let ports = self.check(spec)?;
        let _lock = self.own()?;
        let (vm, digest) = (spec.vm, spec.digest());
        let mut seen = self.seen(vm)?;
        if let Some(mark) = seen.as_ref().map(|seen| &seen.mark).filter(|mark| mark.spec != digest) {
            return Err(MachineError::Conflict { vm, standing: mark.spec, given: digest });
        }
        let devices = self.ports.look()?;
        for port in &ports {
            self.ports.check(port, &devices)?;
        }
        let mut writes = 0;
        // One that runs and is not written down cannot be spoken to: its socket went with its folder.
        if let Some(lost) = seen.as_ref().filter(|seen| seen.written.is_none()) {
            writes += self.end(lost, gate)?;
            seen = None;
        }
        let mark = match seen.as_ref().and_then(|seen| seen.written.as_ref()) {
            Some(written) => written.mark.clone(),
            None => {
                gate.pass(&format!("folder of {vm}"))?;
                writes += 1;
                self.write_down(spec, &ports)?.mark
            }
        };
        for (port, wanted) in ports.iter().zip(&spec.ports) {
            writes += self.ports.ensure(vm, port, wanted.mac, gate)?;
        }
        let mut state = seen.as_ref().map_or(MachineState::Defined, |seen| self.state(seen));
        if let Some(hung) = seen.as_ref().filter(|seen| state == MachineState::Crashed && !seen.processes.is_empty()) {
            writes += self.end(hung, gate)?;
        }
        if !state.is_alive() {
            writes += make_layer(spec, &self.folder.of(vm), &self.hypervisor(), gate)?;
            self.launch(spec, &mark, gate)?;
            writes += 1;
            state = self.seen(vm)?.map_or(MachineState::Defined, |seen| self.state(&seen));
        }
        if state == MachineState::Paused && !spec.paused {
            writes += self.resume(vm, gate)?.writes;
        }
        if !state.is_alive() {
            let console = fs::read(self.folder.of(vm).join("console.log")).unwrap_or_default();
            let last = &console[console.len().saturating_sub(200)..];
            let difference = format!("it is {state:?}; last on its console: {:?}", String::from_utf8_lossy(last));
            return Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference });
        }
        Ok(Done { writes })
    }

    fn resume(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let paused = self.seen(vm)?.is_some_and(|seen| self.state(&seen) == MachineState::Paused);
        if !paused {
            return Ok(Done::default());
        }
        gate.pass(&format!("let {vm} run"))?;
        let told = self.qmp(vm).and_then(|mut qmp| qmp.ask("cont", json!({})));
        told.map_err(|error| self.rejected(format!("let {vm} run"), error))?;
        Ok(Done { writes: 1 })
    }

    fn shut_down(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        if self.seen(vm)?.is_none_or(|seen| seen.processes.is_empty()) {
            return Ok(Done::default());
        }
        gate.pass(&format!("power button of {vm}"))?;
        match self.qmp(vm).and_then(|mut qmp| qmp.ask("system_powerdown", json!({}))) {
            Ok(_) => Ok(Done { writes: 1 }),
            // It ended in the meantime.
            Err(_) if self.seen(vm)?.is_none_or(|seen| seen.processes.is_empty()) => Ok(Done::default()),
            Err(error) => Err(self.rejected(format!("power button of {vm}"), error)),
        }
    }

    fn destroy(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let Some(seen) = self.seen(vm)?.filter(|seen| !seen.processes.is_empty()) else {
            return Ok(Done::default());
        };
        let _lock = self.own()?;
        let writes = self.end(&seen, gate)?;
        if self.seen(vm)?.is_some_and(|seen| !seen.processes.is_empty()) {
            let difference = "it still runs".to_owned();
            return Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference });
        }
        Ok(Done { writes })
    }

    fn remove(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let Some(seen) = self.seen(vm)? else { return Ok(Done::default()) };
        let _lock = self.own()?;
        let mut writes = self.end(&seen, gate)?;
        let written = seen.written.as_ref().map_or(&[][..], |written| &written.ports);
        writes += self.ports.remove(vm, written, gate)?;
        // Last: by it the rest is found.
        if seen.written.is_some() {
            gate.pass(&format!("folder of {vm} away"))?;
            self.folder.remove(vm).map_err(|error| self.rejected(format!("folder of {vm} away"), error))?;
            writes += 1;
        }
        self.is_gone(vm)?;
        Ok(Done { writes })
    }

    fn sweep(&mut self, gate: &mut Gate) -> Result<Done, MachineError> {
        let _lock = self.own()?;
        let ours = self.look()?.0.keys().copied().collect();
        let (debris, ports) = self.strays(&ours)?;
        let mut writes = 0;
        for path in debris {
            let what = format!("{} away", path.display());
            gate.pass(&what)?;
            discard(&path).map_err(|error| self.rejected(what, error))?;
            writes += 1;
        }
        for vm in ports.into_keys() {
            writes += self.ports.remove(vm, &[], gate)?;
        }
        Ok(Done { writes })
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        let (seen, _) = self.look()?;
        let ports = self.ports.look()?;
        Ok(seen.iter().filter_map(|(vm, seen)| Some((*vm, self.count(seen, &ports)?))).collect())
    }
}
