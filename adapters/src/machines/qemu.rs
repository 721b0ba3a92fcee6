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
mod view;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use forebay_world::{Timestamp, VmId};
use serde_json::json;

use super::folder::{Folder, Sidecar, SidecarPort, discard};
use super::program::{check_files, make_layer, run};
use super::{
    Done, Gate, Inventory, MachineCapabilities, MachineError, MachineExecutor, MachineSpec, MachineState,
    MachineStatistics, MachineView, Mark, Owner,
};
use crate::ovsdb::Endpoint;
pub use view::QemuView;
use view::Seen;

/// How long a machine may take to answer, and to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(10);

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
    view: QemuView,
}

impl QemuExecutor {
    /// Opens the state of an owner on a host, and makes it where there is none. Ports are made in the network namespace of
    /// the thread that calls.
    ///
    /// # Errors
    /// [`MachineError::Rejected`] when the folder cannot be made, [`MachineError::Unsupported`] when its path is too long
    /// for sockets in it.
    pub fn open(host: QemuHost, owner: Owner) -> Result<QemuExecutor, MachineError> {
        QemuView::over(host, owner, Folder::open).map(|view| QemuExecutor { view })
    }

    fn rejected(&self, what: impl Into<String>, why: impl ToString) -> MachineError {
        self.view.rejected(what, why)
    }

    fn seen(&self, vm: VmId) -> Result<Option<Seen>, MachineError> {
        Ok(self.view.look()?.0.remove(&vm))
    }

    /// Becomes the only writer for as long as what it gives is kept.
    fn own(&self) -> Result<fs::File, MachineError> {
        let lock = self.view.folder.lock().map_err(|error| self.rejected("its lock", error))?;
        let name = format!("the lock of {}", self.view.owner);
        lock.ok_or_else(|| MachineError::OtherWriter { endpoint: self.hypervisor(), lock: name })
    }

    fn check(&mut self, spec: &MachineSpec) -> Result<Vec<SidecarPort>, MachineError> {
        spec.check()?;
        spec.refuse_address(self.hypervisor())?;
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
        let (owner, vm, spec_digest) = (self.view.owner.clone(), spec.vm, spec.digest());
        let created = now();
        let mark = Mark { owner, vm, generation: spec.generation, created, spec: spec_digest };
        let sidecar = Sidecar { mark, ports: ports.to_vec() };
        self.view.folder.write(&sidecar, spec).map_err(|error| self.rejected(format!("folder of {vm}"), error))?;
        Ok(sidecar)
    }

    fn launch(&self, spec: &MachineSpec, mark: &Mark, gate: &mut Gate) -> Result<(), MachineError> {
        gate.pass(&format!("start {}", spec.vm))?;
        let mut command = Command::new(&self.view.host.program);
        command.args(command::arguments(&self.view.host, spec, mark, &self.view.folder.of(spec.vm)));
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
        let told = self.view.qmp(vm).and_then(|mut qmp| qmp.ask("quit", json!({}))).is_ok();
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
        let pid = self.view.folder.of(vm).join("pid");
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
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

impl MachineView for QemuExecutor {
    fn hypervisor(&self) -> String {
        self.view.hypervisor()
    }

    fn owner(&self) -> &Owner {
        self.view.owner()
    }

    fn capabilities(&self) -> MachineCapabilities {
        self.view.capabilities()
    }

    fn list(&mut self) -> Result<Inventory, MachineError> {
        self.view.list()
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        self.view.statistics()
    }
}

impl MachineExecutor for QemuExecutor {
    fn create(&mut self, spec: &MachineSpec, gate: &mut Gate) -> Result<Done, MachineError> {
        let ports = self.check(spec)?;
        let _lock = self.own()?;
        let (vm, digest) = (spec.vm, spec.digest());
        let mut seen = self.seen(vm)?;
        if let Some(mark) = seen.as_ref().map(|seen| &seen.mark).filter(|mark| mark.spec != digest) {
            return Err(MachineError::Conflict { vm, standing: mark.spec, given: digest });
        }
        let devices = self.view.ports.look()?;
        for port in &ports {
            self.view.ports.check(port, &devices)?;
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
            writes += self.view.ports.ensure(vm, port, wanted.mac, gate)?;
        }
        let mut state = seen.as_ref().map_or(MachineState::Defined, |seen| self.view.state(seen));
        if let Some(hung) = seen.as_ref().filter(|seen| state == MachineState::Crashed && !seen.processes.is_empty()) {
            writes += self.end(hung, gate)?;
        }
        if !state.is_alive() {
            writes += make_layer(spec, &self.view.folder.of(vm), &self.hypervisor(), gate)?;
            self.launch(spec, &mark, gate)?;
            writes += 1;
            state = self.seen(vm)?.map_or(MachineState::Defined, |seen| self.view.state(&seen));
        }
        if state == MachineState::Paused && !spec.paused {
            writes += self.resume(vm, gate)?.writes;
        }
        if !state.is_alive() {
            let console = fs::read(self.view.folder.of(vm).join("console.log")).unwrap_or_default();
            let last = &console[console.len().saturating_sub(200)..];
            let difference = format!("it is {state:?}; last on its console: {:?}", String::from_utf8_lossy(last));
            return Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference });
        }
        Ok(Done { writes })
    }

    fn resume(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let paused = self.seen(vm)?.is_some_and(|seen| self.view.state(&seen) == MachineState::Paused);
        if !paused {
            return Ok(Done::default());
        }
        gate.pass(&format!("let {vm} run"))?;
        let told = self.view.qmp(vm).and_then(|mut qmp| qmp.ask("cont", json!({})));
        told.map_err(|error| self.rejected(format!("let {vm} run"), error))?;
        Ok(Done { writes: 1 })
    }

    fn shut_down(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        if self.seen(vm)?.is_none_or(|seen| seen.processes.is_empty()) {
            return Ok(Done::default());
        }
        gate.pass(&format!("power button of {vm}"))?;
        match self.view.qmp(vm).and_then(|mut qmp| qmp.ask("system_powerdown", json!({}))) {
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
        writes += self.view.ports.remove(vm, written, gate)?;
        // Last: by it the rest is found.
        if seen.written.is_some() {
            gate.pass(&format!("folder of {vm} away"))?;
            self.view.folder.remove(vm).map_err(|error| self.rejected(format!("folder of {vm} away"), error))?;
            writes += 1;
        }
        self.is_gone(vm)?;
        Ok(Done { writes })
    }

    fn sweep(&mut self, gate: &mut Gate) -> Result<Done, MachineError> {
        let _lock = self.own()?;
        let ours = self.view.look()?.0.keys().copied().collect();
        let (debris, ports) = self.view.strays(&ours)?;
        let mut writes = 0;
        for path in debris {
            let what = format!("{} away", path.display());
            gate.pass(&what)?;
            discard(&path).map_err(|error| self.rejected(what, error))?;
            writes += 1;
        }
        for vm in ports.into_keys() {
            writes += self.view.ports.remove(vm, &[], gate)?;
        }
        Ok(Done { writes })
    }
}
