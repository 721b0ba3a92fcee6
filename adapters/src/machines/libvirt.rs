//! libvirt: domains of a daemon that outlives us, and that looks after what runs them.
//!
//! A machine is written down in a folder first (its mark, its seed, its disk), then defined as a domain that bears the mark
//! in its `<metadata>`, then started; it is taken away in the opposite order. The daemon makes and removes ports. Domains
//! are found by their metadata and UUID, so a daemon that was killed changes nothing: it takes up what still runs.
//!
//! The folder has to be one that the daemon's host has too. libvirt is told to keep its errors off our standard error.

mod domain_xml;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use forebay_world::{Bytes, Duration, Timestamp, VmId};
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};

use super::folder::{Folder, Sidecar, SidecarPort, discard};
use super::program::{check_files, is_no_room, make_layer};
use super::{
    DiskStatistics, Done, Gate, InterfaceStatistics, Inventory, Machine, MachineCapabilities, MachineError,
    MachineExecutor, MachineSpec, MachineState, MachineStatistics, Mark, Owner,
};
use domain_xml::{Driver, NAMESPACE, domain_xml, mark_of};

/// virDomainMetadataType: an element of a namespace of our own.
const METADATA_ELEMENT: i32 = 2;

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
    host: LibvirtHost,
    owner: Owner,
    folder: Folder,
    connection: Connect,
    driver: Driver,
    host_name: String,
}

/// One machine as it was found.
struct Seen {
    mark: Mark,
    written: Option<Sidecar>,
    domain: Option<Domain>,
}

impl LibvirtExecutor {
    /// Connects to a daemon.
    ///
    /// # Errors
    /// [`MachineError::Unreachable`] when it does not answer, [`MachineError::Rejected`] when the folder cannot be made.
    pub fn connect(host: LibvirtHost, owner: Owner) -> Result<LibvirtExecutor, MachineError> {
        let rejected = |error: io::Error| MachineError::Rejected {
            endpoint: host.uri.clone(),
            what: format!("folder {}", host.state.display()),
            why: error.to_string(),
        };
        let path = std::path::absolute(&host.state).map_err(rejected)?.join(owner.as_str());
        let folder = Folder::open(path).map_err(rejected)?;
        let connection = open(&host.uri)?;
        let kind = connection.get_type().map_err(|error| unreachable(&host.uri, &error))?;
        let driver = match kind.as_str() {
            "TEST" => Driver::Test,
            _ => Driver::Qemu(if host.kvm { "kvm" } else { "qemu" }),
        };
        let host_name = connection.get_hostname().map_err(|error| unreachable(&host.uri, &error))?;
        Ok(LibvirtExecutor { host, owner, folder, connection, driver, host_name })
    }

    /// Sees that there is a connection: a daemon may have been started anew.
    fn reach(&mut self) -> Result<(), MachineError> {
        if !self.connection.is_alive().unwrap_or(false) {
            let fresh = open(&self.host.uri)?;
            let _ = std::mem::replace(&mut self.connection, fresh).close();
        }
        Ok(())
    }

    fn rejected(&self, what: impl Into<String>, why: impl ToString) -> MachineError {
        MachineError::Rejected { endpoint: self.hypervisor(), what: what.into(), why: why.to_string() }
    }

    fn failed(&self, what: String, vm: VmId, error: &Error) -> MachineError {
        let (endpoint, why) = (self.hypervisor(), error.message().to_owned());
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
        let lock = self.folder.lock().map_err(|error| self.rejected("its lock", error))?;
        let name = format!("the lock of {}", self.owner);
        lock.ok_or_else(|| MachineError::OtherWriter { endpoint: self.hypervisor(), lock: name })
    }

    /// All of ours, whether written down or defined or both; and the names of what is not ours.
    fn look(&mut self) -> Result<(BTreeMap<VmId, Seen>, Vec<String>), MachineError> {
        self.reach()?;
        let found = self.folder.read().map_err(|error| self.rejected("its folder", error))?;
        let mut seen = BTreeMap::new();
        for written in found.machines.into_iter().filter(|written| written.mark.owner == self.owner) {
            let mark = written.mark.clone();
            seen.insert(mark.vm, Seen { mark, written: Some(written), domain: None });
        }
        let mut foreign = Vec::new();
        let unreachable = |error: &Error| unreachable(&self.host.uri, error);
        for domain in self.connection.list_all_domains(0).map_err(|error| unreachable(&error))? {
            let mark = match domain.get_metadata(METADATA_ELEMENT, Some(NAMESPACE), 0) {
                Ok(element) => mark_of(&element),
                Err(error) if error.code() == ErrorNumber::NoDomainMetadata => None,
                // It has gone since it was listed.
                Err(error) if error.code() == ErrorNumber::NoDomain => continue,
                Err(error) => return Err(unreachable(&error)),
            };
            let uuid = domain.get_uuid().ok();
            match mark {
                Some(mark) if mark.owner == self.owner && uuid == Some(mark.uuid()) => {
                    let of = || Seen { mark: mark.clone(), written: None, domain: None };
                    seen.entry(mark.vm).or_insert_with(of).domain = Some(domain);
                }
                _ => foreign.push(domain.get_name().unwrap_or_else(|_| "a domain".to_owned())),
            }
        }
        foreign.sort();
        Ok((seen, foreign))
    }

    fn seen(&mut self, vm: VmId) -> Result<Option<Seen>, MachineError> {
        Ok(self.look()?.0.remove(&vm))
    }

    fn name_of(&self, vm: VmId) -> String {
        format!("{}-{vm}", self.owner)
    }

    fn check(&self, spec: &MachineSpec) -> Result<Vec<SidecarPort>, MachineError> {
        spec.check()?;
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
        let (owner, vm, generation) = (self.owner.clone(), spec.vm, spec.generation);
        let mark = Mark { owner, vm, generation, created, spec: spec.digest() };
        let sidecar = Sidecar { mark: mark.clone(), ports: ports.to_vec() };
        self.folder.write(&sidecar, spec).map_err(|error| self.rejected(format!("folder of {vm}"), error))?;
        Ok(mark)
    }

    /// Refuses where somebody's domain has our UUID or our name.
    fn check_place(&self, vm: VmId, uuid: Uuid) -> Result<(), MachineError> {
        let name = self.name_of(vm);
        let found = [Domain::lookup_by_uuid(&self.connection, uuid), Domain::lookup_by_name(&self.connection, &name)];
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
        if is_done(Some(state(&domain))) {
            return Ok(0);
        }
        let what = format!("{what} {vm}");
        gate.pass(&what)?;
        let said = act(&domain);
        drop(domain);
        let now = self.seen(vm)?.and_then(|seen| seen.domain).map(|domain| state(&domain));
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
            self.folder.remove(vm).map_err(|error| self.rejected(what, error))?;
            writes += 1;
        }
        match self.seen(vm)? {
            None => Ok(writes),
            Some(_) => Err(self.not_verified(vm, "it is still there".to_owned())),
        }
    }
}

fn is_alive(state: Option<MachineState>) -> bool {
    state.is_some_and(MachineState::is_alive)
}

fn open(uri: &str) -> Result<Connect, MachineError> {
    virt::error::clear_error_callback();
    Connect::open(Some(uri)).map_err(|error| unreachable(uri, &error))
}

fn unreachable(endpoint: &str, error: &Error) -> MachineError {
    MachineError::Unreachable { endpoint: endpoint.to_owned(), why: error.message().to_owned() }
}

/// The device that libvirt could not find, by what it says.
fn missing_device(said: &str) -> Option<String> {
    let (before, _) = said.strip_suffix("No such device").map(|before| (before, ()))?;
    before.split('\'').nth(1).map(str::to_owned)
}

/// Where a domain is in its life (virDomainState, and its reasons).
fn state(domain: &Domain) -> MachineState {
    match domain.get_state() {
        Ok((1 | 2, _)) => MachineState::Running,
        Ok((3, 10)) | Ok((5, 3 | 6)) | Ok((6, _)) => MachineState::Crashed,
        Ok((3 | 7, _)) => MachineState::Paused,
        Ok((4, _)) => MachineState::ShuttingDown,
        // Of one that never ran the reason is unknown.
        Ok((5, 0)) => MachineState::Defined,
        Ok((5, _)) => MachineState::ShutOff,
        _ => MachineState::Unknown,
    }
}

fn count(seen: &Seen, folder: &Path) -> Option<MachineStatistics> {
    let domain = seen.domain.as_ref().filter(|domain| is_alive(Some(state(domain))))?;
    let info = domain.get_info().ok()?;
    let mut counted = MachineStatistics {
        processor_time: Some(Duration::from_nanos(info.cpu_time)),
        memory_assigned: Some(Bytes(info.memory << 10)),
        ..MachineStatistics::default()
    };
    // virDomainMemoryStatTags; what the balloon driver has not reported is not among them.
    let memory: BTreeMap<u32, u64> =
        domain.memory_stats(0).unwrap_or_default().iter().map(|stat| (stat.tag, stat.val)).collect();
    let left = memory.get(&8).or_else(|| memory.get(&4));
    counted.memory_used = memory.get(&5).zip(left).map(|(all, left)| Bytes(all.saturating_sub(*left) << 10));
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    for port in seen.written.iter().flat_map(|written| &written.ports) {
        if let Ok(stats) = domain.interface_stats(&port.name) {
            let statistics = InterfaceStatistics {
                received_bytes: number(stats.rx_bytes),
                received_packets: number(stats.rx_packets),
                received_dropped: number(stats.rx_drop),
                sent_bytes: number(stats.tx_bytes),
                sent_packets: number(stats.tx_packets),
                sent_dropped: number(stats.tx_drop),
            };
            counted.interfaces.insert(port.name.clone(), statistics);
        }
    }
    // Disks have the names that their order gives them.
    let disks = ["disk.qcow2", "seed.img"].iter().filter(|file| folder.join(file).exists());
    for (_, name) in disks.zip(["vda", "vdb"]) {
        if let Ok(stats) = domain.get_block_stats(name) {
            let statistics = DiskStatistics {
                read_bytes: number(stats.rd_bytes),
                reads: number(stats.rd_req),
                written_bytes: number(stats.wr_bytes),
                writes: number(stats.wr_req),
            };
            counted.disks.insert(name.to_owned(), statistics);
        }
    }
    Some(counted)
}

impl MachineExecutor for LibvirtExecutor {
    fn hypervisor(&self) -> String {
        self.host.uri.clone()
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn capabilities(&self) -> MachineCapabilities {
        MachineCapabilities {
            graceful_stop: true,
            statistics: true,
            paused_creation: self.driver != Driver::Test,
            idempotent_creation: true,
            native_token: false,
            configuration: true,
            ports: true,
            restart: true,
        }
    }

    fn list(&mut self) -> Result<Inventory, MachineError> {
        let (seen, foreign) = self.look()?;
        let machine = |seen: &Seen| Machine {
            uuid: seen.mark.uuid(),
            name: self.name_of(seen.mark.vm),
            host: self.host_name.clone(),
            state: seen.domain.as_ref().map_or(MachineState::Defined, state),
            since: None,
            mark: seen.mark.clone(),
        };
        let debris = self.folder.read().map_err(|error| self.rejected("its folder", error))?.debris;
        let strays = debris.iter().map(|path| path.display().to_string()).collect();
        Ok(Inventory { machines: seen.iter().map(|(vm, seen)| (*vm, machine(seen))).collect(), strays, foreign })
    }

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
            self.check_place(vm, self.owner.uuid_of(vm))?;
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
        let folder = self.folder.of(vm);
        if self.driver != Driver::Test {
            writes += make_layer(spec, &folder, &self.hypervisor(), gate)?;
        }
        if !is_defined {
            let what = format!("define {vm}");
            gate.pass(&what)?;
            let text = domain_xml(&self.name_of(vm), spec, &mark, &folder, self.driver);
            Domain::define_xml(&self.connection, &text).map_err(|error| self.failed(what, vm, &error))?;
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
        match self.seen(vm)?.and_then(|seen| seen.domain) {
            Some(domain) if state(&domain).is_alive() => Ok(Done { writes }),
            other => Err(self.not_verified(vm, format!("it is {:?}", other.as_ref().map(state)))),
        }
    }

    fn resume(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let let_run = |domain: &Domain| domain.resume().map(drop);
        let writes = self.change(vm, "let run", gate, let_run, |state| state != Some(MachineState::Paused))?;
        Ok(Done { writes })
    }

    fn shut_down(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let Some(domain) = self.seen(vm)?.and_then(|seen| seen.domain).filter(|domain| is_alive(Some(state(domain))))
        else {
            return Ok(Done::default());
        };
        let what = format!("power button of {vm}");
        gate.pass(&what)?;
        match domain.shutdown() {
            Ok(_) => Ok(Done { writes: 1 }),
            // It ended in the meantime.
            Err(_) if !is_alive(Some(state(&domain))) => Ok(Done::default()),
            Err(error) => Err(self.failed(what, vm, &error)),
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
        for path in self.folder.read().map_err(|error| self.rejected("its folder", error))?.debris {
            let what = format!("{} away", path.display());
            gate.pass(&what)?;
            discard(&path).map_err(|error| self.rejected(what, error))?;
            writes += 1;
        }
        Ok(Done { writes })
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        let (seen, _) = self.look()?;
        Ok(seen.iter().filter_map(|(vm, seen)| Some((*vm, count(seen, &self.folder.of(*vm))?))).collect())
    }
}

impl Drop for LibvirtExecutor {
    fn drop(&mut self) {
        // A daemon that is gone has nothing to be told.
        let _ = self.connection.close();
    }
}
