//! What makes guests: QEMU's processes, or the domains of a libvirtd of the test's own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[cfg(feature = "libvirt")]
use forebay_adapters::machines::libvirt::{LibvirtExecutor, LibvirtHost};
use forebay_adapters::machines::qemu::{QemuExecutor, QemuHost};
use forebay_adapters::machines::{Gate, MachineExecutor, Owner};
use forebay_adapters::ovsdb::Endpoint;

use super::guest;
use super::lab::{Lab, PRIORITY};
#[cfg(feature = "libvirt")]
use super::libvirt_daemon::{self, Daemon};

/// The kinds that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Qemu,
    #[cfg(feature = "libvirt")]
    Libvirt,
}

impl Kind {
    /// What programs it needs.
    pub(crate) fn needs(self) -> &'static [&'static str] {
        match self {
            Kind::Qemu => &["qemu-system-x86_64"],
            #[cfg(feature = "libvirt")]
            Kind::Libvirt => &libvirt_daemon::NEEDS,
        }
    }
}

/// One of them, at a lab's switch. What it made goes with it.
pub(crate) struct Hypervisor {
    run: PathBuf,
    owner: String,
    #[cfg(feature = "libvirt")]
    daemon: Option<Daemon>,
}

impl Hypervisor {
    /// Starts it, where it has to be, for guests of an owner that are made in a folder.
    pub(crate) fn start(kind: Kind, lab: &Lab, run: &Path, owner: &str) -> Hypervisor {
        #[cfg(feature = "libvirt")]
        let daemon = (kind == Kind::Libvirt).then(|| {
            let ovs = lab.path("").expect("the lab's switch is Open vSwitch");
            Daemon::new(lab.switch(), ovs.to_str().unwrap().to_owned())
        });
        #[cfg(not(feature = "libvirt"))]
        let (Kind::Qemu, _) = (kind, lab);
        Hypervisor {
            run: run.to_owned(),
            owner: owner.to_owned(),
            #[cfg(feature = "libvirt")]
            daemon,
        }
    }

    /// A file of production in which QEMU's processes are its guests, with this in their place.
    pub(crate) fn in_file(&self, text: String) -> String {
        #[cfg(feature = "libvirt")]
        if let Some(daemon) = &self.daemon {
            let ovs = text.lines().find(|line| line.starts_with("ovs = ")).expect("QEMU is told of its switch");
            let uri = format!("uri = \"{}\"", daemon.uri());
            return text.replace(ovs, &uri).replace("kind = \"qemu\"", "kind = \"libvirt\"");
        }
        text
    }

    /// Names of guests that are domains of libvirt, whoever made them.
    pub(crate) fn domains(&self) -> BTreeSet<String> {
        self.listed("--name")
    }

    /// What virsh(1) lists of each domain, whoever made it, as it is told: `--uuid`.
    pub(crate) fn listed(&self, _what: &str) -> BTreeSet<String> {
        #[cfg(feature = "libvirt")]
        if let Some(daemon) = &self.daemon {
            let arguments = ["-q", "-c", &daemon.uri(), "list", "--all", _what];
            let output = Command::new("virsh").args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let said = String::from_utf8(output.stdout).unwrap();
            return said.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        }
        BTreeSet::new()
    }

    /// The daemon whose domains its guests are.
    #[cfg(feature = "libvirt")]
    pub(crate) fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("its guests are libvirt's")
    }

    /// The processes of guests.
    pub(crate) fn processes(&self) -> Vec<String> {
        let run = self.run.to_str().unwrap();
        let domain = format!("guest={}-", self.owner);
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = processes.filter_map(|process| {
            let name = process.file_name().into_string().ok().filter(|name| name.parse::<u32>().is_ok())?;
            let line = String::from_utf8_lossy(&fs::read(process.path().join("cmdline")).ok()?).into_owned();
            let program = Path::new(line.split('\0').next()?).file_name()?.to_str()?;
            // Each names the folder that it was made in, or, where libvirt made it, its owner.
            let is_ours = program.starts_with("qemu-system") && (line.contains(run) || line.contains(&domain));
            is_ours.then_some(name)
        });
        ours.collect()
    }

    /// Lets guests go before all else, as the rest of the lab does: each is a session of its own.
    pub(crate) fn hurry(&self) {
        for process in self.processes() {
            // Where it is not allowed, a busy machine makes worse figures.
            let _ = fs::write(format!("/proc/{process}/autogroup"), PRIORITY.to_string());
        }
    }

    /// How long guests take that are started one after the other with nothing else on the machine: from asking for one to
    /// the first page that it serves. What an operator finds out before anything is to be foretold.
    pub(crate) fn boots(&self, lab: &Lab, guests: usize) -> Vec<Duration> {
        let (folder, owner) = (self.run.join("boots"), format!("{}-boots", self.owner).parse().unwrap());
        let mut spec = guest::spec();
        spec.configuration = None;
        lab.switch().within(|| {
            let mut executor = self.executor(lab, folder, owner);
            let mut boots = Vec::new();
            for _ in 0..guests {
                let begun = Instant::now();
                executor.create(&spec, &mut Gate::open()).unwrap();
                self.hurry();
                guest::get(lab.source(0), "/health");
                boots.push(begun.elapsed());
                executor.remove(spec.vm, &mut Gate::open()).unwrap();
            }
            boots
        })
    }

    fn executor(&self, lab: &Lab, folder: PathBuf, owner: Owner) -> Box<dyn MachineExecutor> {
        #[cfg(feature = "libvirt")]
        if let Some(daemon) = &self.daemon {
            let host = LibvirtHost { uri: daemon.uri(), state: folder, kvm: false };
            return Box::new(LibvirtExecutor::connect(host, owner).unwrap());
        }
        let ovs = Some(Endpoint::Unix(lab.path("db.sock").unwrap()));
        let host = QemuHost { ovs, ..QemuHost::new("this machine", folder) };
        Box::new(QemuExecutor::open(host, owner).unwrap())
    }
}

impl Drop for Hypervisor {
    fn drop(&mut self) {
        // Guests outlive whoever started them.
        for process in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &process]).status();
        }
    }
}
