//! What looks at a libvirt daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use forebay_world::{Bytes, Duration, VmId};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};

use super::LibvirtHost;
use super::connection::{Connection, Opens, unreachable};
use super::domain_xml::{Driver, NAMESPACE, mark_of};
use super::monitor::{Monitors, Question, Said};
use crate::machines::folder::{Folder, Sidecar};
use crate::machines::{
    DiskStatistics, Foreign, InterfaceStatistics, Inventory, Machine, MachineCapabilities, MachineError, MachineState,
    MachineStatistics, MachineView, Mark, Owner,
};

/// virDomainMetadataType: an element of a namespace of our own.
const METADATA_ELEMENT: i32 = 2;

/// Sees one owner's machines on one libvirt daemon, and all others, by a connection on which the daemon itself refuses to
/// write (`virConnectOpenReadOnly`). A user who may not open any other is enough: libvirt's read-only socket.
pub struct LibvirtView {
    pub(super) host: LibvirtHost,
    pub(super) owner: Owner,
    pub(super) folder: Folder,
    pub(super) connection: Connection,
    pub(super) driver: Driver,
    monitors: Monitors,
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
        let connection = Connection::open(&host.uri, opens)?;
        let kind = connection.get_type().map_err(|error| unreachable(&host.uri, &error))?;
        let driver = match kind.as_str() {
            "TEST" => Driver::Test,
            _ => Driver::Qemu(if host.kvm { "kvm" } else { "qemu" }),
        };
        let host_name = connection.get_hostname().map_err(|error| unreachable(&host.uri, &error))?;
        let monitors = Monitors::default();
        Ok(LibvirtView { host, owner, folder, connection, driver, monitors, host_name, opens })
    }

    /// Sees that there is a connection: a daemon may have been started anew.
    fn reach(&mut self) -> Result<(), MachineError> {
        if !self.connection.is_open() {
            self.connection = Connection::open(&self.host.uri, self.opens)?;
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

    /// Where a domain is in its life; `None` when it has gone since it was listed.
    pub(super) fn state(&self, domain: &Domain) -> Result<Option<MachineState>, MachineError> {
        match state(domain) {
            Err(error) if error.code() == ErrorNumber::NoDomain => Ok(None),
            state => state.map(Some).map_err(|error| unreachable(&self.host.uri, &error)),
        }
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
                state: state(domain)?,
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
        let machine = |(vm, seen): (&VmId, &Seen)| -> Result<(VmId, Machine), MachineError> {
            let state = match &seen.domain {
                Some(domain) => self.state(domain)?,
                None => None,
            };
            let machine = Machine {
                uuid: seen.mark.uuid(),
                name: self.name_of(seen.mark.vm),
                host: self.host_name.clone(),
                state: state.unwrap_or(MachineState::Defined),
                since: None,
                addresses: BTreeSet::new(),
                mark: seen.mark.clone(),
            };
            Ok((*vm, machine))
        };
        let foreign = foreign.iter().filter_map(|(domain, mark)| self.foreign(domain, mark.as_ref()));
        let mut foreign = foreign.collect::<Result<Vec<_>, _>>()?;
        foreign.sort();
        let debris = self.folder.read().map_err(|error| self.rejected("its folder", error))?.debris;
        let strays = debris.iter().map(|path| path.display().to_string()).collect();
        Ok(Inventory { machines: seen.iter().map(machine).collect::<Result<_, _>>()?, strays, foreign })
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        let (seen, _) = self.look()?;
        let counted = seen.iter().filter_map(|(vm, seen)| Some((*vm, count(seen)?)));
        let mut counted: BTreeMap<VmId, MachineStatistics> = counted.collect();
        let asked = counted.keys().map(|vm| (*vm, seen[vm].mark.uuid(), disks(&self.folder.of(*vm))));
        let asked: Vec<Question> = asked.collect();
        for (vm, said) in self.monitors.ask(&self.host.uri, self.opens, asked) {
            if let Some(counted) = counted.get_mut(&vm) {
                add(counted, &said);
            }
        }
        Ok(counted)
    }
}

pub(super) fn is_alive(state: Option<MachineState>) -> bool {
    state.is_some_and(MachineState::is_alive)
}

/// Where a domain is in its life (virDomainState, and its reasons).
///
/// # Errors
/// When libvirt does not say: that it does not is no state.
fn state(domain: &Domain) -> Result<MachineState, Error> {
    Ok(match domain.get_state()? {
        (1 | 2, _) => MachineState::Running,
        (3, 10) | (5, 3 | 6) | (6, _) => MachineState::Crashed,
        (3 | 7, _) => MachineState::Paused,
        (4, _) => MachineState::ShuttingDown,
        // Of one that never ran the reason is unknown.
        (5, 0) => MachineState::Defined,
        (5, _) => MachineState::ShutOff,
        _ => MachineState::Unknown,
    })
}

/// Disks of a machine, by the names that their order gives them.
fn disks(folder: &Path) -> Vec<&'static str> {
    let disks = ["disk.qcow2", "seed.img"].iter().filter(|file| folder.join(file).exists());
    disks.zip(["vda", "vdb"]).map(|(_, name)| name).collect()
}

fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// What libvirt knows by itself.
fn count(seen: &Seen) -> Option<MachineStatistics> {
    let domain = seen.domain.as_ref().filter(|domain| is_alive(state(domain).ok()))?;
    let info = domain.get_info().ok()?;
    let mut counted = MachineStatistics {
        processor_time: Some(Duration::from_nanos(info.cpu_time)),
        memory_assigned: Some(Bytes(info.memory << 10)),
        ..MachineStatistics::default()
    };
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
    Some(counted)
}

/// Adds what the machine's monitor says.
fn add(counted: &mut MachineStatistics, said: &Said) {
    // virDomainMemoryStatTags; what the balloon driver has not reported is not among them.
    let memory: BTreeMap<u32, u64> = said.memory.iter().map(|stat| (stat.tag, stat.val)).collect();
    let left = memory.get(&8).or_else(|| memory.get(&4));
    counted.memory_used = memory.get(&5).zip(left).map(|(all, left)| Bytes(all.saturating_sub(*left) << 10));
    for (name, stats) in &said.disks {
        let statistics = DiskStatistics {
            read_bytes: number(stats.rd_bytes),
            reads: number(stats.rd_req),
            written_bytes: number(stats.wr_bytes),
            writes: number(stats.wr_req),
        };
        counted.disks.insert(name.clone(), statistics);
    }
}
