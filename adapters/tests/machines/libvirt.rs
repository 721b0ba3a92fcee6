//! libvirt: its driver that runs nothing, and a daemon of the test's own with QEMU behind it.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
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
        let uuid = owner().uuid_of(vm).to_string();
        let process = fs::read_dir("/proc").unwrap().find_map(|entry| {
            let path = entry.ok()?.path();
            let line = fs::read(path.join("cmdline")).ok()?;
            let has = line.starts_with(b"/usr/bin/qemu") && String::from_utf8_lossy(&line).contains(&uuid);
            if has { path.file_name()?.to_str().map(str::to_owned) } else { None }
        });
        let killed = Command::new("kill").args(["-9", &process.expect("it runs")]).status().unwrap();
        assert!(killed.success());
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

/// A daemon in a namespace, with settings of its own.
struct Daemon {
    folder: tempfile::TempDir,
    namespace: String,
    ovs: String,
    child: Option<Child>,
}

impl Daemon {
    fn new(namespace: &Namespace, ovs: String) -> Daemon {
        let folder = tempfile::Builder::new().prefix("fbd").tempdir().unwrap();
        let path = folder.path().display();
        let settings = format!(
            "unix_sock_dir = \"{path}\"\nunix_sock_rw_perms = \"0700\"\nauth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n\
             log_outputs = \"3:file:{path}/log\"\n"
        );
        fs::write(folder.path().join("libvirtd.conf"), settings).unwrap();
        let qemu = "security_driver = \"none\"\nuser = \"root\"\ngroup = \"root\"\ndynamic_ownership = 0\n\
                    remember_owner = 0\nnamespaces = []\ncgroup_controllers = []\nstdio_handler = \"file\"\n";
        fs::write(folder.path().join("qemu.conf"), qemu).unwrap();
        let mut daemon = Daemon { folder, namespace: namespace.name().to_owned(), ovs, child: None };
        daemon.start();
        daemon
    }

    fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}/libvirt-sock", self.folder.path().display())
    }

    fn start(&mut self) {
        let path = self.folder.path().display().to_string();
        // The driver reads its settings from one place alone, and keeps what it knows in others: in a mount namespace of
        // the daemon's own these are the test's.
        let script = "for name in lib run cache log; do mkdir -p $0/var/$name; done; \
            mkdir -p /var/lib/libvirt /run/libvirt /var/cache/libvirt /var/log/libvirt; \
            mount --bind $0/var/lib /var/lib/libvirt; mount --bind $0/var/run /run/libvirt; \
            mount --bind $0/var/cache /var/cache/libvirt; mount --bind $0/var/log /var/log/libvirt; \
            mkdir -p $0/etc; cp $0/qemu.conf $0/etc/qemu.conf; mount --bind $0/etc /etc/libvirt; \
            exec libvirtd -f $0/libvirtd.conf -p $0/pid";
        let log = File::create(self.folder.path().join("output")).unwrap();
        let child = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "TERM",
                "ip",
                "netns",
                "exec",
                &self.namespace,
                "unshare",
                "-m",
                "sh",
                "-ec",
                script,
                &path,
            ])
            .env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin")
            .env("OVS_RUNDIR", &self.ovs)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        virt::error::clear_error_callback();
        let begun = Instant::now();
        while Connect::open(Some(&self.uri())).map(|mut connection| connection.close()).is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let said = || ["output", "log"].map(|name| fs::read_to_string(self.folder.path().join(name)));
            assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(120), "it does not answer: {:?}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_file(self.folder.path().join("pid"));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(30) && child.try_wait().is_ok_and(|ended| ended.is_none()) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.kill();
    }
}

const NEEDS: [&str; 5] = ["libvirtd", "unshare", "setpriv", "qemu-system-x86_64", "qemu-img"];

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
