//! libvirt: its driver that runs nothing, and a daemon of the test's own with QEMU behind it.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use forebay_adapters::machines::libvirt::{LibvirtExecutor, LibvirtHost, LibvirtView};
use forebay_adapters::machines::{
    Attachment, Configuration, DiskFormat, Foreign, Gate, Image, MacAddress, MachineError, MachineExecutor,
    MachinePort, MachineSpec, MachineState, MachineView, Owner,
};
use forebay_world::{Bytes, Generation, VmId};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;

use super::conformance::{self, Rig, other, owner};
use super::guest;
use super::lab::{BRIDGE, Lab, Namespace, Switch, have, needs};
use super::libvirt_daemon::{Daemon, NEEDS};
use super::qemu::contents;

/// A daemon, or the driver in this process, and a disk on which nothing is.
struct Host {
    uri: String,
    folder: tempfile::TempDir,
    /// What the driver in this process remembers, it remembers as long as somebody is connected.
    keeper: Connect,
    can_crash: bool,
}

impl Host {
    fn new(uri: &str) -> Host {
        let folder = tempfile::Builder::new().prefix("fbl").tempdir().unwrap();
        File::create(folder.path().join("base.raw")).unwrap().set_len(1 << 20).unwrap();
        virt::error::clear_error_callback();
        let keeper = Connect::open(Some(uri)).expect("it answers");
        Host { uri: uri.to_owned(), folder, keeper, can_crash: !uri.starts_with("test:") }
    }

    fn host(&self) -> LibvirtHost {
        LibvirtHost { uri: self.uri.clone(), state: self.folder.path().join("state"), kvm: false }
    }

    fn domain(&self, owner: &Owner, vm: VmId) -> Option<Domain> {
        Domain::lookup_by_uuid(&self.keeper, owner.uuid_of(vm)).ok()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let owners: [Owner; 2] = [owner(), other()];
        for (owner, vm) in owners.iter().flat_map(|owner| (0..10).map(move |vm| (owner, VmId(vm)))) {
            if let Some(domain) = self.domain(owner, vm) {
                let _ = domain.destroy();
                let _ = domain.undefine();
            }
        }
        let _ = self.keeper.close();
    }
}

impl Rig for Host {
    fn connect(&self) -> Box<dyn MachineExecutor> {
        Box::new(LibvirtExecutor::connect(self.host(), owner()).expect("it answers"))
    }

    fn view(&self) -> Box<dyn MachineView> {
        Box::new(LibvirtView::connect(self.host(), owner()).expect("it answers"))
    }

    fn everything(&self) -> String {
        let mut domains: Vec<String> = self.keeper.list_all_domains(0).unwrap().iter().map(described).collect();
        domains.sort();
        format!("{}\n{}", domains.concat(), contents(&self.host().state))
    }

    fn spec(&self, vm: u64) -> MachineSpec {
        let port = MachinePort {
            name: format!("fbv{vm}"),
            mac: MacAddress([2, 0, 0, 0, 0, vm as u8]),
            attachment: Attachment::Bridge("br0".to_owned()),
        };
        let configuration =
            Configuration { user_data: "#cloud-config\n".to_owned(), network: None, host_name: format!("edge-{vm}") };
        MachineSpec {
            vm: VmId(vm),
            generation: Generation(3),
            vcpus: 1,
            memory: Bytes(32 << 20),
            image: Image::Disk { base: self.folder.path().join("base.raw"), format: DiskFormat::Raw },
            ports: vec![port],
            address: None,
            configuration: Some(configuration),
            paused: false,
        }
    }

    fn runs(&self, vm: VmId) -> bool {
        self.domain(&owner(), vm).is_some_and(|domain| domain.is_active().unwrap())
    }

    fn crash(&self, vm: VmId) -> bool {
        if !self.can_crash {
            return false;
        }
        signal("KILL", vm);
        while self.runs(vm) {
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    fn add_stray(&self) -> bool {
        fs::create_dir(self.host().state.join(owner().as_str()).join("vm-9.new")).unwrap();
        true
    }

    fn add_foreign(&self) {
        let mut spec = self.spec(1);
        spec.ports[0].name = "fbother".to_owned();
        let mut executor = LibvirtExecutor::connect(self.host(), other()).unwrap();
        executor.create(&spec, &mut Gate::open()).expect("it is made");
    }

    fn check_foreign(&self, seen: &Foreign) {
        let uuid = other().uuid_of(VmId(1));
        assert_eq!((seen.name.as_str(), seen.id.as_str()), (&*format!("{}-vm-1", other()), &*uuid.to_string()));
        assert_eq!((seen.vcpus, seen.memory, seen.state), (Some(1), Some(Bytes(32 << 20)), MachineState::Running));
        assert_eq!(seen.uuid, Some(uuid));
    }

    fn foreign_is_untouched(&self) -> bool {
        self.domain(&other(), VmId(1)).is_some_and(|domain| domain.is_active().unwrap())
    }

    fn leftovers(&self) -> Vec<String> {
        let domains = (0..10).filter(|vm| self.domain(&owner(), VmId(*vm)).is_some()).map(|vm| format!("domain {vm}"));
        let files = fs::read_dir(self.host().state.join(owner().as_str())).into_iter().flatten();
        let files = files.map(|file| file.unwrap().path().display().to_string()).filter(|path| !path.ends_with("lock"));
        domains.chain(files).collect()
    }
}

/// Sends a signal to the process of a machine: `STOP`.
fn signal(name: &str, vm: VmId) {
    let uuid = owner().uuid_of(vm).to_string();
    let process = fs::read_dir("/proc").unwrap().find_map(|entry| {
        let path = entry.ok()?.path();
        let line = fs::read(path.join("cmdline")).ok()?;
        let has = line.starts_with(b"/usr/bin/qemu") && String::from_utf8_lossy(&line).contains(&uuid);
        if has { path.file_name()?.to_str().map(str::to_owned) } else { None }
    });
    let sent = Command::new("kill").args([&format!("-{name}"), &process.expect("it runs")]).status().unwrap();
    assert!(sent.success());
}

/// On a connection of the kind that views have, libvirt itself refuses to write, whatever its socket would allow.
fn refuses_to_write(uri: &str) {
    let mut connection = Connect::open_read_only(Some(uri)).expect("it answers");
    assert!(connection.list_all_domains(0).is_ok());
    let text = "<domain type='test'><name>harm</name><memory>8192</memory><os><type>hvm</type></os></domain>";
    let error = Domain::define_xml(&connection, text).map(drop).unwrap_err();
    assert_eq!(error.code(), ErrorNumber::OperationDenied, "{error}");
    let _ = connection.close();
}

/// All that libvirt says of a domain, but for what it says of the moment.
fn described(domain: &Domain) -> String {
    format!("{:?} {}\n", domain.get_state().unwrap(), domain.get_xml_desc(0).unwrap())
}

#[test]
fn the_driver_that_runs_nothing_conforms() {
    let host = Host::new("test:///default");
    refuses_to_write(&host.uri);
    conformance::conforms(&host);
    // libvirt's own domain, which every such driver has, was foreign all the time.
    let foreign = host.view().list().unwrap().foreign;
    let own = foreign.iter().find(|machine| machine.name == "test").expect("libvirt has it");
    let known = (own.state, own.vcpus, own.memory, own.owner.clone());
    assert_eq!(known, (MachineState::Running, Some(2), Some(Bytes(8 << 30)), None));
    // Nor is what has our place and no mark of ours touched. What this driver remembers is one for all of a process.
    let name = format!("{}-vm-1", owner());
    let text =
        format!("<domain type='test'><name>{name}</name><memory>8192</memory><os><type>hvm</type></os></domain>");
    let squatter = Domain::define_xml(&host.keeper, &text).unwrap();
    let error = host.connect().create(&host.spec(1), &mut Gate::open()).unwrap_err();
    assert!(matches!(&error, MachineError::Foreign { what, .. } if what.contains(&name)), "{error}");
    squatter.undefine().unwrap();
}

#[test]
fn a_daemon_that_does_not_answer_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("qemu+unix:///system?socket={}/none", folder.path().display());
    let host = LibvirtHost { uri: uri.clone(), state: folder.path().to_owned(), kvm: false };
    let error = LibvirtExecutor::connect(host, owner()).err().expect("nobody is there");
    assert!(matches!(&error, MachineError::Unreachable { endpoint, .. } if *endpoint == uri), "{error}");
}

#[test]
fn a_daemon_that_takes_calls_and_says_nothing_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let uri = format!("qemu+unix:///system?socket={}", socket.display());
    let host = || LibvirtHost { uri: uri.clone(), state: folder.path().to_owned(), kvm: false };
    let refused = |most: Duration| {
        let begun = Instant::now();
        let error = LibvirtView::connect(host(), owner()).err().expect("nobody answers");
        assert!(matches!(&error, MachineError::Unreachable { endpoint, .. } if *endpoint == uri), "{error}");
        assert!(error.to_string().contains("it has said nothing for"), "{error}");
        assert!(begun.elapsed() < most, "{:?}", begun.elapsed());
    };
    refused(Duration::from_secs(20));
    // Nobody else waits beside it.
    refused(Duration::from_secs(1));
    // What it says in the end is heard, and it is asked anew.
    drop(listener);
    std::fs::remove_file(&socket).unwrap();
    let begun = Instant::now();
    loop {
        let error = LibvirtView::connect(host(), owner()).err().expect("nobody is there");
        if !error.to_string().contains("it has said nothing for") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{error}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs root, iproute2, libvirt-daemon-system, qemu-system-x86 and qemu-utils"]
fn a_daemon_that_hangs_is_not_waited_for_and_found_again() {
    if !have(&NEEDS) {
        return;
    }
    let namespace = Namespace::new("libvirt-hangs");
    let daemon = Daemon::new(&namespace, String::new());
    let host = Host::new(&daemon.uri());
    let (mut executor, mut view) = (host.connect(), host.view());
    assert_eq!(executor.list().unwrap().machines.len(), 0);
    assert_eq!(view.list().unwrap().machines.len(), 0);
    daemon.signal("STOP");
    for list in [&mut || executor.list().map(drop), &mut || view.list().map(drop)] as [&mut dyn FnMut() -> _; 2] {
        let begun = Instant::now();
        let error = list().unwrap_err();
        println!("   {:.1} s: {error}", begun.elapsed().as_secs_f64());
        assert!(matches!(error, MachineError::Unreachable { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
    daemon.signal("CONT");
    let begun = Instant::now();
    while executor.list().is_err() || view.list().is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is not found again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs root, iproute2, libvirt-daemon-system, qemu-system-x86 and qemu-utils"]
fn a_machine_that_hangs_keeps_nobody_waiting() {
    if !have(&NEEDS) {
        return;
    }
    let namespace = Namespace::new("libvirt-hung");
    namespace.run("ip", &["link", "add", "br0", "type", "bridge"]);
    namespace.run("ip", &["link", "set", "br0", "up"]);
    let daemon = Daemon::new(&namespace, String::new());
    let host = Host::new(&daemon.uri());
    let mut executor = host.connect();
    let (hung, well) = (VmId(1), VmId(2));
    executor.create(&host.spec(hung.0), &mut Gate::open()).unwrap();
    executor.create(&host.spec(well.0), &mut Gate::open()).unwrap();
    assert!(executor.statistics().unwrap().values().all(|counted| !counted.disks.is_empty()));
    signal("STOP", hung);
    let most = |what: &str, most: u64, begun: Instant| {
        println!("   {:.1} s: {what}", begun.elapsed().as_secs_f64());
        assert!(begun.elapsed() < Duration::from_secs(most), "{what}: {:?}", begun.elapsed());
    };
    for time in 0..2 {
        let begun = Instant::now();
        assert_eq!(executor.list().unwrap().machines.len(), 2);
        let counted = executor.statistics().unwrap();
        assert!(counted.len() == 2 && counted.values().all(|counted| counted.processor_time.is_some()), "{counted:?}");
        most("looked at", if time == 0 { 8 } else { 2 }, begun);
    }
    let begun = Instant::now();
    let error = executor.shut_down(hung, &mut Gate::open()).unwrap_err();
    assert!(error.to_string().contains("its monitor does not answer"), "{error}");
    most("not shut down", 8, begun);
    let begun = Instant::now();
    executor.remove(hung, &mut Gate::open()).unwrap();
    most("removed", 60, begun);
    // Whoever waited for it waits no more.
    let begun = Instant::now();
    while executor.statistics().unwrap()[&well].disks.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is known of the other");
        std::thread::sleep(Duration::from_millis(50));
    }
    executor.remove(well, &mut Gate::open()).unwrap();
    assert!(host.leftovers().is_empty(), "{:?}", host.leftovers());
}

#[test]
#[ignore = "needs root, iproute2, libvirt-daemon-system, qemu-system-x86 and qemu-utils"]
fn a_daemon_with_qemu_conforms() {
    if !have(&NEEDS) {
        return;
    }
    let namespace = Namespace::new("libvirt");
    namespace.run("ip", &["link", "add", "br0", "type", "bridge"]);
    namespace.run("ip", &["link", "set", "br0", "up"]);
    let daemon = Daemon::new(&namespace, String::new());
    refuses_to_write(&daemon.uri());
    conformance::conforms(&Host::new(&daemon.uri()));
}

#[test]
#[ignore = "needs root, iproute2, ethtool, openvswitch-switch, libvirt-daemon-system, qemu-system-x86 and a Debian mirror"]
fn a_guest_of_a_daemon_serves_and_outlives_it() {
    if !have(&[&NEEDS[..], &guest::NEEDS, needs(Switch::OpenVswitch)].concat()) {
        return;
    }
    let spec = guest::spec();
    let mut lab = Lab::new(1, Switch::OpenVswitch);
    let folder = lab.daemons().unwrap().path("").display().to_string();
    let mut daemon = Daemon::new(lab.switch(), folder);
    let host = Host::new(&daemon.uri());
    let begun = Instant::now();
    host.connect().create(&spec, &mut Gate::open()).unwrap();
    println!("   started after {:.2} s", begun.elapsed().as_secs_f64());
    // The daemon dies without a word; what it started goes on, and the next daemon takes it up.
    let mut executor = host.connect();
    daemon.kill();
    let error = executor.list().unwrap_err();
    assert!(matches!(error, MachineError::Unreachable { .. }), "{error}");
    daemon.start();
    assert_eq!(executor.list().unwrap().machines[&VmId(1)].state, MachineState::Running);
    assert_eq!(executor.create(&spec, &mut Gate::open()).unwrap().writes, 0);
    drop(executor);
    guest::lives(&mut lab, || host.connect(), begun);
    assert!(!lab.daemons().unwrap().vsctl(&["list-ports", BRIDGE]).contains("fbguest"));
}
