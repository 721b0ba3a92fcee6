//! A guest that boots in seconds: Debian's cloud kernel, and an initial file system of busybox that serves HTTP.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use forebay_adapters::machines::{
    Attachment, Configuration, Image, MacAddress, MachineExecutor, MachinePort, MachineSpec, MachineState,
};
use forebay_world::{Bytes, Generation, VmId};
use uuid::Uuid;

use super::lab::{BRIDGE, Lab, Namespace};

/// How long a guest may take, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(240);
/// Modules of the kernel, in the order in which they can be loaded.
const MODULES: [&str; 17] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_blk",
    "virtio_balloon",
    "button",
    "evdev",
    "fat",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_utf8",
];
/// What the guest is told by its seed.
const USER_DATA: &str = "#cloud-config\nhostname: edge-1\n";

/// What [`image`] needs.
pub(crate) const NEEDS: [&str; 4] = ["busybox", "apt-get", "apt-cache", "dpkg-deb"];

/// Kernel and initial file system, made once and kept beside what is built.
pub(crate) fn image() -> &'static (PathBuf, PathBuf) {
    static IMAGE: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest");
        fs::create_dir_all(&folder).unwrap();
        let (kernel, modules) = kernel(&folder);
        let initrd = folder.join("initrd.gz");
        fs::write(&initrd, initial_files(&modules)).unwrap();
        (kernel, initrd)
    })
}

/// The kernel and the folder of its modules: Debian's package, unpacked and not installed.
fn kernel(folder: &Path) -> (PathBuf, PathBuf) {
    let first = |folder: PathBuf, begin: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begin)).max()
    };
    if first(folder.join("boot"), "vmlinuz-").is_none() {
        let said = run("apt-cache", &["depends", "linux-image-cloud-amd64"], folder);
        let package = said.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).expect("a kernel is known");
        run("apt-get", &["-q", "download", package], folder);
        let archive = first(folder.to_owned(), "linux-image-").expect("it came");
        run("dpkg-deb", &["-x", archive.to_str().unwrap(), "."], folder);
        fs::remove_file(archive).unwrap();
    }
    let kernel = first(folder.join("boot"), "vmlinuz-").expect("the package has a kernel");
    (kernel, first(folder.join("lib/modules"), "").expect("the package has modules"))
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A cpio archive (format newc: linux, Documentation/driver-api/early-userspace/buffer-format.rst), compressed.
fn initial_files(modules: &Path) -> Vec<u8> {
    let mut archive = Archive(Vec::new());
    for folder in ["bin", "dev", "etc", "etc/acpi", "etc/acpi/PWRF", "modules", "proc", "sys"] {
        archive.put(folder, 0o40755, b"");
    }
    let path = std::env::var("PATH").unwrap();
    let busybox = path.split(':').map(|folder| Path::new(folder).join("busybox")).find(|path| path.exists()).unwrap();
    archive.put("bin/busybox", 0o100755, &fs::read(busybox).unwrap());
    archive.put("init", 0o100755, include_bytes!("init.sh"));
    archive.put("etc/acpi/PWRF/00000080", 0o100755, b"#!/bin/sh\npoweroff -f\n");
    archive.put("modules/order", 0o100644, (MODULES.join("\n") + "\n").as_bytes());
    for module in MODULES {
        let found = find(&modules.join("kernel"), &format!("{module}.ko")).unwrap_or_else(|| panic!("no {module}"));
        archive.put(&format!("modules/{module}.ko"), 0o100644, &fs::read(found).unwrap());
    }
    archive.put("TRAILER!!!", 0, b"");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&archive.0).unwrap();
    encoder.finish().unwrap()
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.find_map(|entry| {
        let path = entry.ok()?.path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}

struct Archive(Vec<u8>);

impl Archive {
    fn put(&mut self, name: &str, mode: u32, content: &[u8]) {
        let number = self.0.len() as u32;
        let fields = [number, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.0.extend(b"070701");
        fields.iter().for_each(|field| write!(self.0, "{field:08x}").unwrap());
        self.0.extend(name.as_bytes());
        self.0.push(0);
        self.pad();
        self.0.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// A guest at 10.66.0.100 of the lab.
pub(crate) fn spec() -> MachineSpec {
    let (kernel, initrd) = image().clone();
    let command_line = "console=ttyS0 quiet panic=1 address=10.66.0.100/24".to_owned();
    let attachment = Attachment::OpenVswitch { bridge: BRIDGE.to_owned(), interface: Uuid::from_u128(0xfeed) };
    let port = MachinePort { name: "fbguest".to_owned(), mac: MacAddress([2, 0, 0, 0, 1, 1]), attachment };
    let configuration =
        Configuration { user_data: USER_DATA.to_owned(), network: None, host_name: "edge-1".to_owned() };
    MachineSpec {
        vm: VmId(1),
        generation: Generation(1),
        vcpus: 1,
        memory: Bytes(160 << 20),
        image: Image::Kernel { kernel, initrd: Some(initrd), command_line },
        ports: vec![port],
        address: None,
        configuration: Some(configuration),
        paused: false,
    }
}

/// Follows a guest that an executor has just started through its life: it serves, knows what it was told, is counted, heeds
/// the power button, and leaves nothing behind.
pub(crate) fn lives(lab: &mut Lab, mut connect: impl FnMut() -> Box<dyn MachineExecutor>, begun: Instant) {
    let mut executor = connect();
    let vm = VmId(1);
    assert_eq!(get(lab.source(0), "/health"), "ok\n");
    println!("   HTTP 200 from another namespace after {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(get(lab.source(0), "/user-data"), USER_DATA);
    let meta_data = get(lab.source(0), "/meta-data");
    assert!(meta_data.contains(&executor.owner().uuid_of(vm).to_string()), "{meta_data}");
    let ids = lab.daemons().unwrap().vsctl(&["get", "interface", "fbguest", "external_ids"]);
    let uuid = Uuid::from_u128(0xfeed).to_string();
    assert!(ids.contains(&uuid) && ids.contains("02:00:00:00:01:01"), "{ids}");
    let counted = executor.statistics().unwrap().remove(&vm).expect("it runs");
    println!("   {counted:?}");
    assert!(counted.processor_time.is_some_and(|spent| !spent.is_zero()));
    assert_eq!(counted.memory_assigned, Some(Bytes(160 << 20)));
    let used = counted.memory_used.expect("its balloon driver has reported");
    assert!((1 << 20..160 << 20).contains(&used.0), "{used:?}");
    let interface = counted.interfaces["fbguest"];
    assert!(interface.sent_bytes > 500 && interface.sent_packets > 3, "{interface:?}");
    assert!(interface.received_bytes > 300 && interface.received_packets > 3, "{interface:?}");
    assert!(counted.disks.values().any(|disk| disk.read_bytes > 0), "it has read its seed");
    drop(executor);
    // Another start of ours finds it, and asks it to end.
    let mut executor = connect();
    let asked = Instant::now();
    executor.shut_down(vm, &mut forebay_adapters::machines::Gate::open()).unwrap();
    while executor.list().unwrap().machines[&vm].state != MachineState::ShutOff {
        assert!(asked.elapsed() < PATIENCE, "it does not heed the power button");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("   off {:.2} s after its power button was pressed", asked.elapsed().as_secs_f64());
    executor.remove(vm, &mut forebay_adapters::machines::Gate::open()).unwrap();
    assert!(!lab.daemons().unwrap().vsctl(&["list-ports", BRIDGE]).contains("fbguest"));
    assert!(!lab.switch().run("ip", &["link", "show"]).contains("fbguest"));
}

/// Asks the guest for a page until it answers 200.
pub(crate) fn get(from: &Namespace, path: &str) -> String {
    let address: SocketAddr = "10.66.0.100:80".parse().unwrap();
    from.within(|| {
        let begun = Instant::now();
        loop {
            match fetch(address, path) {
                Ok(answer) if answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200") => {
                    return answer.split_once("\r\n\r\n").expect("a body").1.to_owned();
                }
                Ok(answer) => panic!("{path}: {answer}"),
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{path}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    })
}

fn fetch(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
