//! libvirt: domains of a daemon that outlives us, and that looks after what runs them.
//!
//! A machine is written down in a folder first (its mark, its seed, its disk), then defined as a domain that bears the mark
//! in its `<metadata>`, then started; it is taken away in the opposite order. The daemon makes and removes ports. Domains
//! are found by their metadata and UUID, so a daemon that was killed changes nothing: it takes up what still runs.
//!
//! The folder has to be one that the daemon's host has too. libvirt is told to keep its errors off our standard error.

mod connection;
mod domain_xml;
mod monitor;
mod node;
mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use forebay_world::{Timestamp, VmId};
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};

use super::folder::{Folder, Sidecar, SidecarPort, discard};
use super::program::{check_files, is_no_room, make_layer};
use super::{
    Done, Gate, Inventory, MachineCapabilities, MachineError, MachineExecutor, MachineSpec, MachineState,
    MachineStatistics, MachineView, Mark, Owner,
};
use connection::unreachable;
use domain_xml::{Driver, domain_xml};
pub use node::{Node, node};
pub use view::LibvirtView;
use view::{Seen, is_alive};

/// A host with a libvirt daemon.
#[derive(Clone, Debug)]
pub struct LibvirtHost {
    /// Where the daemon is: `qemu:///system`, `qemu+unix:///system?socket=…`.
    pub uri: String,
    /// Where machines are written down, of all owners; the daemon reads their disks there.
    pub state: PathBuf,
    /// Whether guests are run by the kernel's virtual machines, where the driver is QEMU's, or by translation. Never probed
    /// for: what a daemon says it can do, its host need not.
    pub kvm: bool,
}

/// Machines of one owner on one libvirt daemon.
pub struct LibvirtExecutor {
    /// Over a connection that may write.
    view: LibvirtView,
}

impl LibvirtExecutor {
    /// Connects to a daemon.
    ///
    /// # Errors
    /// [`MachineError::Unreachable`] when it does not answer, [`MachineError::Rejected`] when the folder cannot be made.
    pub fn connect(host: LibvirtHost, owner: Owner) -> Result<LibvirtExecutor, MachineError> {
        LibvirtView::over(host, owner, Connect::open, Folder::open).map(|view| LibvirtExecutor { view })
    }

    fn rejected(&self, what: impl Into<String>, why: impl ToString) -> MachineError {
        self.view.rejected(what, why)
    }

    fn seen(&mut self, vm: VmId) -> Result<Option<Seen>, MachineError> {
        Ok(self.view.look()?.0.remove(&vm))
    }

    /// Where a machine's domain is in its life; `None` where it has none.
    fn state(&mut self, vm: VmId) -> Result<Option<MachineState>, MachineError> {
        match self.seen(vm)?.and_then(|seen| seen.domain) {
            Some(domain) => self.view.state(&domain),
            None => Ok(None),
        }
    }

    fn failed(&self, what: String, vm: VmId, error: &Error) -> MachineError {
        let (endpoint, why) = (self.hypervisor(), error.message().to_owned());
        // A daemon that dies is told by the system's word for it.
        if !self.view.connection.is_open() {
            return unreachable(&endpoint, error);
        }
        match error.code() {
            ErrorNumber::NoMemory => MachineError::Quota { endpoint, vm, why },
            _ if is_no_room(&why) => MachineError::Quota { endpoint, vm, why },
            ErrorNumber::AccessDenied | ErrorNumber::OperationDenied | ErrorNumber::AuthFailed => {
                MachineError::Denied { endpoint, what, why }
            }
            ErrorNumber::Rpc | ErrorNumber::NoConnect => unreachable(&endpoint, error),
            _ => match missing_device(&why) {
                Some(name) => {
                    let hint = "bridges are made by the host's network configuration";
                    MachineError::Missing { endpoint, kind: "bridge", name, hint }
                }
                None => MachineError::Rejected { endpoint, what, why },
            },
        }
    }

    /// Becomes the only writer for as long as what it gives is kept.
    fn own(&self) -> Result<std::fs::File, MachineError> {
        let lock = self.view.folder.lock().map_err(|error| self.rejected("its lock", error))?;
        let name = format!("the lock of {}", self.view.owner);
        lock.ok_or_else(|| MachineError::OtherWriter { endpoint: self.hypervisor(), lock: name })
    }

    fn check(&self, spec: &MachineSpec) -> Result<Vec<SidecarPort>, MachineError> {
        spec.check()?;
        spec.refuse_address(self.hypervisor())?;
        check_files(&spec.image, &self.hypervisor())?;
        if spec.paused && !self.capabilities().paused_creation {
            let (endpoint, what) = (self.hypervisor(), "a machine that does not run yet".to_owned());
            return Err(MachineError::Unsupported { endpoint, what, allowed: "one that runs" });
        }
        let ports: Option<Vec<SidecarPort>> = spec.ports.iter().map(SidecarPort::of).collect();
        ports.ok_or_else(|| MachineError::Unsupported {
            endpoint: self.hypervisor(),
            what: "a network of a provider".to_owned(),
            allowed: "a bridge of the kernel or of Open vSwitch",
        })
    }

    fn write_down(&self, spec: &MachineSpec, ports: &[SidecarPort]) -> Result<Mark, MachineError> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let created = Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        let (owner, vm, generation) = (self.view.owner.clone(), spec.vm, spec.generation);
        let mark = Mark { owner, vm, generation, created, spec: spec.digest() };
        let sidecar = Sidecar { mark: mark.clone(), ports: ports.to_vec() };
        self.view.folder.write(&sidecar, spec).map_err(|error| self.rejected(format!("folder of {vm}"), error))?;
        Ok(mark)
    }

    /// Refuses where somebody's domain has our UUID or our name.
    fn check_place(&self, vm: VmId, uuid: Uuid) -> Result<(), MachineError> {
        let name = self.view.name_of(vm);
        let found =
            [Domain::lookup_by_uuid(&self.view.connection, uuid), Domain::lookup_by_name(&self.view.connection, &name)];
        if found.iter().any(Result::is_ok) {
            let hint = "it bears no mark of this owner: remove or rename it";
            return Err(MachineError::Foreign { endpoint: self.hypervisor(), what: format!("domain {name}"), hint });
        }
        Ok(())
    }

    fn not_verified(&self, vm: VmId, difference: String) -> MachineError {
        MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference }
    }

    /// Does something to a domain, unless it is so already; what the daemon says is weighed against what then is so.
    fn change(
        &mut self,
        vm: VmId,
        what: &str,
        gate: &mut Gate,
        act: impl FnOnce(&Domain) -> Result<(), Error>,
        is_done: impl Fn(Option<MachineState>) -> bool,
    ) -> Result<u32, MachineError> {
        let Some(domain) = self.seen(vm)?.and_then(|seen| seen.domain) else { return Ok(0) };
        let Some(before) = self.view.state(&domain)? else { return Ok(0) };
        if is_done(Some(before)) {
            return Ok(0);
        }
        let what = format!("{what} {vm}");
        gate.pass(&what)?;
        let said = act(&domain);
        drop(domain);
        let now = self.state(vm)?;
        match said {
            _ if is_done(now) => Ok(1),
            Err(error) => Err(self.failed(what, vm, &error)),
            Ok(()) => Err(self.not_verified(vm, format!("it is {now:?} after: {what}"))),
        }
    }

    fn end(&mut self, vm: VmId, gate: &mut Gate) -> Result<u32, MachineError> {
        self.change(vm, "end", gate, Domain::destroy, |state| !is_alive(state))
    }

    fn take_away(&mut self, vm: VmId, gate: &mut Gate) -> Result<u32, MachineError> {
        let mut writes = self.end(vm, gate)?;
        writes += self.change(vm, "undefine", gate, Domain::undefine, |state| state.is_none())?;
        // Last: by it the rest is found.
        if self.seen(vm)?.is_some() {
            let what = format!("folder of {vm} away");
            gate.pass(&what)?;
            self.view.folder.remove(vm).map_err(|error| self.rejected(what, error))?;
            writes += 1;
        }
        match self.seen(vm)? {
            None => Ok(writes),
            Some(_) => Err(self.not_verified(vm, "it is still there".to_owned())),
        }
    }
}

/// The device that libvirt could not find, by what it says.
fn missing_device(said: &str) -> Option<String> {
    let (before, _) = said.strip_suffix("No such device").map(|before| (before, ()))?;
    before.split('\'').nth(1).map(str::to_owned)
}

impl MachineView for LibvirtExecutor {
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

impl MachineExecutor for LibvirtExecutor {
    fn create(&mut self, spec: &MachineSpec, gate: &mut Gate) -> Result<Done, MachineError> {
        let ports = self.check(spec)?;
        let _lock = self.own()?;
        let (vm, digest) = (spec.vm, spec.digest());
        let seen = self.seen(vm)?;
        if let Some(mark) = seen.as_ref().map(|seen| &seen.mark).filter(|mark| mark.spec != digest) {
            return Err(MachineError::Conflict { vm, standing: mark.spec, given: digest });
        }
        let mut writes = 0;
        let (mut mark, mut is_defined) = (None, false);
        if let Some(seen) = seen {
            is_defined = seen.domain.is_some();
            mark = seen.written.map(|written| written.mark);
        }
        if !is_defined {
            self.check_place(vm, self.view.owner.uuid_of(vm))?;
        }
        // A domain whose files are gone cannot be what it was made as.
        if is_defined && mark.is_none() {
            writes += self.take_away(vm, gate)?;
            is_defined = false;
        }
        let mark = match mark {
            Some(mark) => mark,
            None => {
                gate.pass(&format!("folder of {vm}"))?;
                writes += 1;
                self.write_down(spec, &ports)?
            }
        };
        let folder = self.view.folder.of(vm);
        if self.view.driver != Driver::Test {
            writes += make_layer(spec, &folder, &self.hypervisor(), gate)?;
        }
        if !is_defined {
            let what = format!("define {vm}");
            gate.pass(&what)?;
            let text = domain_xml(&self.view.name_of(vm), spec, &mark, &folder, self.view.driver);
            Domain::define_xml(&self.view.connection, &text).map_err(|error| self.failed(what, vm, &error))?;
            writes += 1;
        }
        let start = |domain: &Domain| {
            // virDomainCreateFlags: started paused.
            domain.create_with_flags(u32::from(spec.paused)).map(drop)
        };
        writes += self.change(vm, "start", gate, start, is_alive)?;
        if !spec.paused {
            writes += self.resume(vm, gate)?.writes;
        }
        match self.state(vm)? {
            state if is_alive(state) => Ok(Done { writes }),
            other => Err(self.not_verified(vm, format!("it is {other:?}"))),
        }
    }

    fn resume(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let let_run = |domain: &Domain| {
            let resume = |domain: &Domain| domain.resume().map(drop);
            monitor::wait_for(domain, resume).unwrap_or(Ok(()))
        };
        let writes = self.change(vm, "let run", gate, let_run, |state| state != Some(MachineState::Paused))?;
        Ok(Done { writes })
    }

    fn shut_down(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let Some(domain) = self.seen(vm)?.and_then(|seen| seen.domain) else { return Ok(Done::default()) };
        if !is_alive(self.view.state(&domain)?) {
            return Ok(Done::default());
        }
        let what = format!("power button of {vm}");
        gate.pass(&what)?;
        match monitor::wait_for(&domain, |domain| domain.shutdown().map(drop)) {
            Some(Ok(())) => Ok(Done { writes: 1 }),
            None => Err(self.not_verified(vm, "its monitor does not answer".to_owned())),
            // It ended in the meantime.
            Some(Err(_)) if self.view.state(&domain).is_ok_and(|state| !is_alive(state)) => Ok(Done::default()),
            Some(Err(error)) => Err(self.failed(what, vm, &error)),
        }
    }

    fn destroy(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let _lock = self.own()?;
        self.end(vm, gate).map(|writes| Done { writes })
    }

    fn remove(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let _lock = self.own()?;
        self.take_away(vm, gate).map(|writes| Done { writes })
    }

    fn sweep(&mut self, gate: &mut Gate) -> Result<Done, MachineError> {
        let _lock = self.own()?;
        let mut writes = 0;
        for path in self.view.folder.read().map_err(|error| self.rejected("its folder", error))?.debris {
            let what = format!("{} away", path.display());
            gate.pass(&what)?;
            discard(&path).map_err(|error| self.rejected(what, error))?;
            writes += 1;
        }
        Ok(Done { writes })
    }
}
