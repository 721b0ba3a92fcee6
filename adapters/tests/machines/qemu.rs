//! QEMU's processes on this machine: the suite, and what comes of hard deaths.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use forebay_adapters::machines::qemu::{QemuExecutor, QemuHost, QemuView};
use forebay_adapters::machines::{
    Attachment, Configuration, DiskFormat, Foreign, Gate, Image, MacAddress, MachineError, MachineExecutor,
    MachinePort, MachineSpec, MachineState, MachineView, Owner,
};
use forebay_adapters::ovsdb::Endpoint;
use forebay_world::{Bytes, Generation, VmId};

use super::conformance::{self, Rig, other, owner};
use super::guest;
use super::lab::{BRIDGE, Lab, Namespace, Switch, have, needs};

/// A state folder, a bridge in a network namespace, and a disk on which nothing is.
struct Host {
    namespace: Namespace,
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Host {
        let namespace = Namespace::new("qemu");
        namespace.run("ip", &["link", "add", "br0", "type", "bridge"]);
        namespace.run("ip", &["link", "set", "br0", "up"]);
        let folder = tempfile::Builder::new().prefix("fbq").tempdir().unwrap();
        fs::File::create(folder.path().join("base.raw")).unwrap().set_len(1 << 20).unwrap();
        Host { namespace, folder }
    }

    fn host(&self) -> QemuHost {
        QemuHost::new("here", self.folder.path().join("state"))
    }

    fn executor(&self, owner: Owner) -> QemuExecutor {
        QemuExecutor::open(self.host(), owner).expect("a folder can be made")
    }

    fn machine(&self, vm: VmId) -> PathBuf {
        self.host().state.join(owner().as_str()).join(vm.to_string())
    }

    /// The process of a machine, by its command line.
    fn process(&self, owner: &Owner, vm: VmId) -> Option<u32> {
        let wanted = format!("-uuid\0{}\0", owner.uuid_of(vm));
        fs::read_dir("/proc").unwrap().find_map(|entry| {
            let path = entry.ok()?.path();
            let line = fs::read(path.join("cmdline")).ok()?;
            let has = String::from_utf8_lossy(&line).contains(&wanted);
            if has { path.file_name()?.to_str()?.parse().ok() } else { None }
        })
    }

    fn kill(&self, vm: VmId) {
        let process = self.process(&owner(), vm).expect("it runs");
        assert!(Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
        while self.process(&owner(), vm).is_some() {
            std::thread::yield_now();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for (owner, vm) in [owner(), other()].iter().flat_map(|owner| (0..10).map(move |vm| (owner, VmId(vm)))) {
            while let Some(process) = self.process(owner, vm) {
                let _ = Command::new("kill").args(["-9", &process.to_string()]).status();
            }
        }
    }
}

impl Rig for Host {
    fn connect(&self) -> Box<dyn MachineExecutor> {
        Box::new(self.executor(owner()))
    }

    fn view(&self) -> Box<dyn MachineView> {
        Box::new(QemuView::open(self.host(), owner()).expect("the path is short"))
    }

    fn everything(&self) -> String {
        let processes = [owner(), other()].map(|owner| (0..10).map(|vm| self.process(&owner, VmId(vm))).collect());
        let processes: &[Vec<Option<u32>>] = &processes;
        let shown = self.namespace.run("ip", &["-json", "link", "show"]);
        let links: Vec<serde_json::Value> = serde_json::from_str(&shown).unwrap();
        // Not whether somebody is at their other end: that comes by itself.
        let known = ["ifindex", "ifname", "ifalias", "master", "mtu", "txqlen", "address"];
        let links: Vec<_> = links.iter().map(|link| known.map(|field| link.get(field).cloned())).collect();
        format!("{processes:?}\n{links:?}\n{}", contents(&self.host().state))
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
        self.process(&owner(), vm).is_some()
    }

    fn crash(&self, vm: VmId) -> bool {
        self.kill(vm);
        assert_eq!(self.connect().list().unwrap().machines[&vm].state, MachineState::Crashed);
        true
    }

    fn add_stray(&self) -> bool {
        fs::create_dir(self.machine(VmId(9)).with_extension("new")).unwrap();
        self.namespace.run("ip", &["tuntap", "add", "dev", "fbv9", "mode", "tap"]);
        let alias = format!("forebay owner={} vm=9", owner());
        self.namespace.run("ip", &["link", "set", "dev", "fbv9", "alias", &alias]);
        assert_eq!(self.connect().list().unwrap().strays.len(), 2);
        true
    }

    fn add_foreign(&self) {
        let mut spec = self.spec(1);
        spec.ports[0].name = "fbother".to_owned();
        self.executor(other()).create(&spec, &mut Gate::open()).expect("it is made");
        self.namespace.run("ip", &["tuntap", "add", "dev", "fbhand", "mode", "tap"]);
    }

    fn check_foreign(&self, seen: &Foreign) {
        let uuid = other().uuid_of(VmId(1));
        assert_eq!((seen.name.as_str(), seen.id.as_str(), seen.uuid), ("vm-1", &*uuid.to_string(), Some(uuid)));
        assert_eq!((seen.vcpus, seen.memory, seen.state), (Some(1), Some(Bytes(32 << 20)), MachineState::Unknown));
        assert!(seen.since.is_some(), "{seen:?}");
    }

    fn foreign_is_untouched(&self) -> bool {
        let links = self.namespace.run("ip", &["link", "show"]);
        let state = self.executor(other()).list().unwrap().machines[&VmId(1)].state;
        state == MachineState::Running && links.contains("fbother") && links.contains("fbhand")
    }

    fn leftovers(&self) -> Vec<String> {
        let mut found: Vec<String> = (0..10)
            .filter_map(|vm| self.process(&owner(), VmId(vm)))
            .map(|process| format!("process {process}"))
            .collect();
        let links = self.namespace.run("ip", &["-o", "link", "show"]);
        let ours = links.lines().filter(|line| (0..10).any(|vm| line.contains(&format!(": fbv{vm}"))));
        found.extend(ours.map(str::to_owned));
        let files = fs::read_dir(self.host().state.join(owner().as_str())).into_iter().flatten();
        found.extend(
            files.map(|file| file.unwrap().path().display().to_string()).filter(|path| !path.ends_with("lock")),
        );
        found
    }
}

/// Every file and folder there, with what it holds and when it was changed.
pub(crate) fn contents(folder: &Path) -> String {
    let Ok(entries) = fs::read_dir(folder) else { return format!("{} is not there\n", folder.display()) };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let of = |path: PathBuf| {
        let about = fs::symlink_metadata(&path).unwrap();
        let said = format!("{} {:?} {:o} {}", path.display(), about.modified().unwrap(), about.mode(), about.len());
        if about.is_dir() {
            return format!("{said}\n{}", contents(&path));
        }
        let held = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        format!("{said} {:x}\n", held.iter().fold(0u64, |sum, byte| sum.rotate_left(5) ^ u64::from(*byte)))
    };
    paths.into_iter().map(of).collect()
}

const NEEDS: [&str; 3] = ["ip", "qemu-system-x86_64", "qemu-img"];

#[test]
#[ignore = "needs root, iproute2, qemu-system-x86 and qemu-utils"]
fn processes_of_qemu_conform() {
    if have(&NEEDS) {
        let host = Host::new();
        host.namespace.within(|| conformance::conforms(&host));
    }
}

#[test]
#[ignore = "needs root, iproute2, qemu-system-x86 and qemu-utils"]
fn a_machine_outlives_its_folder_and_is_found_by_its_process() {
    if !have(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.namespace.within(|| {
        let mut executor = host.executor(owner());
        executor.create(&host.spec(1), &mut Gate::open()).unwrap();
        let made = executor.list().unwrap().machines[&VmId(1)].mark.clone();
        fs::remove_dir_all(host.machine(VmId(1))).unwrap();
        let seen = executor.list().unwrap();
        assert_eq!((&seen.machines[&VmId(1)].mark, seen.machines[&VmId(1)].state), (&made, MachineState::Unknown));
        assert!(seen.strays.is_empty(), "{seen:?}");
        // Nobody can speak to it any more: it is made anew.
        executor.create(&host.spec(1), &mut Gate::open()).unwrap();
        assert_eq!(executor.list().unwrap().machines[&VmId(1)].state, MachineState::Running);
        fs::remove_dir_all(host.machine(VmId(1))).unwrap();
        executor.remove(VmId(1), &mut Gate::open()).unwrap();
        assert_eq!(host.leftovers(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root, iproute2, qemu-system-x86 and qemu-utils"]
fn machines_of_others_are_seen_after_their_end_too() {
    if !have(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.namespace.within(|| {
        let mut theirs = host.executor(other());
        theirs.create(&host.spec(1), &mut Gate::open()).unwrap();
        let mut view = host.view();
        let mut state = || {
            let seen = view.list().unwrap();
            let found: Vec<_> = seen.foreign.into_iter().filter(|seen| seen.owner == Some(other())).collect();
            assert!(seen.machines.is_empty() && found.len() <= 1, "{found:?}");
            found.first().map(|found| (found.uuid, found.state))
        };
        let uuid = Some(other().uuid_of(VmId(1)));
        assert_eq!(state(), Some((uuid, MachineState::Unknown)));
        theirs.destroy(VmId(1), &mut Gate::open()).unwrap();
        assert_eq!(state(), Some((uuid, MachineState::ShutOff)));
        theirs.remove(VmId(1), &mut Gate::open()).unwrap();
        assert_eq!(state(), None);
        // Nothing was ever ours, and no folder says that it was.
        assert!(!host.host().state.join(owner().as_str()).exists());
    });
}

#[test]
#[ignore = "needs root, iproute2, qemu-system-x86 and qemu-utils"]
fn a_machine_that_does_not_answer_is_seen_and_can_be_ended() {
    if !have(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.namespace.within(|| {
        let mut executor = host.executor(owner());
        executor.create(&host.spec(1), &mut Gate::open()).unwrap();
        let process = host.process(&owner(), VmId(1)).unwrap().to_string();
        assert!(Command::new("kill").args(["-STOP", &process]).status().unwrap().success());
        assert_eq!(executor.list().unwrap().machines[&VmId(1)].state, MachineState::Unknown);
        executor.destroy(VmId(1), &mut Gate::open()).unwrap();
        assert_eq!(executor.list().unwrap().machines[&VmId(1)].state, MachineState::ShutOff);
        executor.remove(VmId(1), &mut Gate::open()).unwrap();
        assert_eq!(host.leftovers(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root, iproute2, qemu-system-x86 and qemu-utils"]
fn what_is_not_there_or_not_ours_is_said() {
    if !have(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.namespace.within(|| {
        let mut executor = host.executor(owner());
        let mut said = |spec: &MachineSpec| executor.create(spec, &mut Gate::open()).unwrap_err();
        let mut spec = host.spec(1);
        spec.image = Image::Disk { base: host.folder.path().join("nowhere.raw"), format: DiskFormat::Raw };
        let error = said(&spec);
        assert!(
            matches!(&error, MachineError::Missing { kind: "image", name, .. } if name.ends_with("nowhere.raw")),
            "{error}"
        );
        spec = host.spec(1);
        spec.ports[0].attachment = Attachment::Bridge("br9".to_owned());
        let error = said(&spec);
        assert!(matches!(&error, MachineError::Missing { kind: "bridge", name, .. } if name == "br9"), "{error}");
        assert_eq!(host.leftovers(), Vec::<String>::new());
        // A device of the port's name that is somebody's.
        host.namespace.run("ip", &["link", "add", "fbv1", "type", "bridge"]);
        let error = said(&host.spec(1));
        assert!(matches!(&error, MachineError::Foreign { what, .. } if what.contains("fbv1")), "{error}");
        let mut without = host.host();
        without.program = "qemu-system-none".into();
        host.namespace.run("ip", &["link", "delete", "dev", "fbv1"]);
        let error = QemuExecutor::open(without, owner()).unwrap().create(&host.spec(1), &mut Gate::open()).unwrap_err();
        assert!(matches!(&error, MachineError::Missing { kind: "program", .. }), "{error}");
        let mut much = host.spec(1);
        much.memory = Bytes(1 << 50);
        host.executor(owner()).remove(VmId(1), &mut Gate::open()).unwrap();
        let error = host.executor(owner()).create(&much, &mut Gate::open()).unwrap_err();
        assert!(matches!(&error, MachineError::Quota { vm: VmId(1), .. }), "{error:?}");
        host.executor(owner()).remove(VmId(1), &mut Gate::open()).unwrap();
        assert_eq!(host.leftovers(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root, iproute2, ethtool, openvswitch-switch, qemu-system-x86, busybox-static and a Debian mirror"]
fn a_guest_serves_on_a_port_of_open_vswitch() {
    let needs = [&NEEDS[..], &guest::NEEDS, needs(Switch::OpenVswitch)].concat();
    if !have(&needs) {
        return;
    }
    let spec = guest::spec();
    let host = Host::new();
    let mut lab = Lab::new(1, Switch::OpenVswitch);
    let ovs = Endpoint::Unix(lab.daemons().unwrap().path("db.sock"));
    let of_host = QemuHost { ovs: Some(ovs), ..host.host() };
    let connect = || Box::new(QemuExecutor::open(of_host.clone(), owner()).unwrap()) as Box<dyn MachineExecutor>;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            lab.switch().enter();
            // Between any two writes everything of ours dies.
            for writes in 0.. {
                let mut left = writes;
                let mut gate = Gate::asking(move |_| {
                    left -= 1;
                    left >= 0
                });
                match connect().create(&spec, &mut gate) {
                    Ok(_) => break,
                    Err(MachineError::Stopped(_)) => drop(connect().remove(spec.vm, &mut Gate::open()).unwrap()),
                    Err(error) => panic!("{error}"),
                }
                assert!(!lab.daemons().unwrap().vsctl(&["list-ports", BRIDGE]).contains("fbguest"));
            }
            connect().remove(spec.vm, &mut Gate::open()).unwrap();
            let begun = Instant::now();
            let mut executor = connect();
            executor.create(&spec, &mut Gate::open()).unwrap();
            println!("   started after {:.2} s", begun.elapsed().as_secs_f64());
            assert_eq!(executor.create(&spec, &mut Gate::open()).unwrap().writes, 0);
            drop(executor);
            guest::lives(&mut lab, connect, begun);
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(host.leftovers(), Vec::<String>::new());
}
