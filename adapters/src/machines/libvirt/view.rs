//! What looks at a libvirt daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use forebay_world::{Bytes, Duration, VmId};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};

use super::LibvirtHost;
use super::domain_xml::{Driver, NAMESPACE, mark_of};
use crate::machines::folder::{Folder, Sidecar};
use crate::machines::{
    DiskStatistics, Foreign, InterfaceStatistics, Inventory, Machine, MachineCapabilities, MachineError, MachineState,
    MachineStatistics, MachineView, Mark, Owner,
};

/// virDomainMetadataType: an element of a namespace of our own.
const METADATA_ELEMENT: i32 = 2;

/// How a connection is made: one that may write, or one that the daemon lets read only.
type Opens = fn(Option<&str>) -> Result<Connect, Error>;

/// Sees one owner's machines on one libvirt daemon, and all others, by a connection on which the daemon itself refuses to
/// write (`virConnectOpenReadOnly`). A user who may not open any other is enough: libvirt's read-only socket.
pub struct LibvirtView {
    pub(super) host: LibvirtHost,
    pub(super) owner: Owner,
    pub(super) folder: Folder,
    pub(super) connection: Connect,
    pub(super) driver: Driver,
    host_name: String,
    opens: Opens,
}

/// One machine as it was found.
pub(super) struct Seen {
    pub(super) mark: Mark,
    pub(super) written: Option<Sidecar>,
    pub(super) domain: Option<Domain>,
}

impl LibvirtView {
    /// Connects to a daemon, to read only. A folder that is not there stays so.
    ///
    /// # Errors
    /// [`MachineError::Unreachable`] when it does not answer.
    pub fn connect(host: LibvirtHost, owner: Owner) -> Result<LibvirtView, MachineError> {
        LibvirtView::over(host, owner, Connect::open_read_only, |path| Ok(Folder::seen(path)))
    }

    pub(super) fn over(
        host: LibvirtHost,
        owner: Owner,
        opens: Opens,
        folder: fn(PathBuf) -> io::Result<Folder>,
    ) -> Result<LibvirtView, MachineError> {
        let rejected = |error: io::Error| MachineError::Rejected {
            endpoint: host.uri.clone(),
            what: format!("folder {}", host.state.display()),
            why: error.to_string(),
        };
        let path = std::path::absolute(&host.state).map_err(rejected)?.join(owner.as_str());
        let folder = folder(path).map_err(rejected)?;
        let connection = open(&host.uri, opens)?;
        let kind = connection.get_type().map_err(|error| unreachable(&host.uri, &error))?;
        let driver = match kind.as_str() {
            "TEST" => Driver::Test,
            _ => Driver::Qemu(if host.kvm { "kvm" } else { "qemu" }),
        };
        let host_name = connection.get_hostname().map_err(|error| unreachable(&host.uri, &error))?;
        Ok(LibvirtView { host, owner, folder, connection, driver, host_name, opens })
    }

    /// Sees that there is a connection: a daemon may have been started anew.
    fn reach(&mut self) -> Result<(), MachineError> {
        if !self.connection.is_alive().unwrap_or(false) {
            let fresh = open(&self.host.uri, self.opens)?;
            let _ = std::mem::replace(&mut self.connection, fresh).close();
        }
        Ok(())
    }

    pub(super) fn rejected(&self, what: impl Into<String>, why: impl ToString) -> MachineError {
        MachineError::Rejected { endpoint: self.hypervisor(), what: what.into(), why: why.to_string() }
    }

    /// All of ours, whether written down or defined or both; and what is not ours.
    pub(super) fn look(&mut self) -> Result<(BTreeMap<VmId, Seen>, Vec<(Domain, Option<Mark>)>), MachineError> {
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
                mark => foreign.push((domain, mark)),
            }
        }
        Ok((seen, foreign))
    }

    pub(super) fn name_of(&self, vm: VmId) -> String {
        format!("{}-{vm}", self.owner)
    }

    /// What a domain is that is not ours; `None` when it has gone since it was listed.
    fn foreign(&self, domain: &Domain, mark: Option<&Mark>) -> Option<Result<Foreign, MachineError>> {
        let read = || -> Result<Foreign, Error> {
            let (name, uuid, info) = (domain.get_name()?, domain.get_uuid()?, domain.get_info()?);
            Ok(Foreign {
                uuid: Some(uuid),
                state: state(domain),
                vcpus: Some(info.nr_virt_cpu),
                memory: Some(Bytes(info.max_mem << 10)),
                owner: mark.map(|mark| mark.owner.clone()),
                ..Foreign::new(name, uuid.to_string())
            })
        };
        match read() {
            Err(error) if error.code() == ErrorNumber::NoDomain => None,
            read => Some(read.map_err(|error| unreachable(&self.host.uri, &error))),
        }
    }
}

impl MachineView for LibvirtView {
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
            addresses: false,
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
            addresses: BTreeSet::new(),
            mark: seen.mark.clone(),
        };
        let foreign = foreign.iter().filter_map(|(domain, mark)| self.foreign(domain, mark.as_ref()));
        let mut foreign = foreign.collect::<Result<Vec<_>, _>>()?;
        foreign.sort();
        let debris = self.folder.read().map_err(|error| self.rejected("its folder", error))?.debris;
        let strays = debris.iter().map(|path| path.display().to_string()).collect();
        Ok(Inventory { machines: seen.iter().map(|(vm, seen)| (*vm, machine(seen))).collect(), strays, foreign })
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        let (seen, _) = self.look()?;
        Ok(seen.iter().filter_map(|(vm, seen)| Some((*vm, count(seen, &self.folder.of(*vm))?))).collect())
    }
}

impl Drop for LibvirtView {
    fn drop(&mut self) {
        // A daemon that is gone has nothing to be told.
        let _ = self.connection.close();
    }
}

pub(super) fn is_alive(state: Option<MachineState>) -> bool {
    state.is_some_and(MachineState::is_alive)
}

fn open(uri: &str, opens: Opens) -> Result<Connect, MachineError> {
    virt::error::clear_error_callback();
    opens(Some(uri)).map_err(|error| unreachable(uri, &error))
}

pub(super) fn unreachable(endpoint: &str, error: &Error) -> MachineError {
    MachineError::Unreachable { endpoint: endpoint.to_owned(), why: error.message().to_owned() }
}

/// Where a domain is in its life (virDomainState, and its reasons).
pub(super) fn state(domain: &Domain) -> MachineState {
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
