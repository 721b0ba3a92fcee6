//! A libvirtd of the test's own in a network namespace, with QEMU behind it, folders and settings of its own.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forebay_adapters::machines::libvirt::{LibvirtHost, LibvirtView};

use super::lab::Namespace;

/// What programs it needs.
pub(crate) const NEEDS: [&str; 6] = ["libvirtd", "virsh", "unshare", "setpriv", "qemu-system-x86_64", "qemu-img"];

/// The daemon. What it started outlives it.
pub(crate) struct Daemon {
    folder: tempfile::TempDir,
    namespace: String,
    ovs: String,
    child: Option<Child>,
}

impl Daemon {
    /// Starts one. `ovs` is the folder of the Open vSwitch that machines are attached to; none where empty.
    pub(crate) fn new(namespace: &Namespace, ovs: String) -> Daemon {
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

    /// Where it is asked.
    pub(crate) fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}/libvirt-sock", self.folder.path().display())
    }

    /// Starts it, again where it was killed.
    pub(crate) fn start(&mut self) {
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
        let begun = Instant::now();
        while !self.answers() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let said = || ["output", "log"].map(|name| fs::read_to_string(self.folder.path().join(name)));
            assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(120), "it does not answer: {:?}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let host = LibvirtHost { uri: self.uri(), state: self.folder.path().join("none"), kvm: false };
        LibvirtView::connect(host, "nobody".parse().unwrap()).is_ok()
    }

    /// Sends it a signal: `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &process]).status().unwrap().success());
    }

    /// Ends it without a chance to tidy up.
    pub(crate) fn kill(&mut self) {
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
