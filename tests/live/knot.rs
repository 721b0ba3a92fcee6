//! A name server that tells of its queries by dnstap and takes updates of RFC 2136: Knot, in a folder, in a network
//! namespace or here.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::crowd::NAME;
use super::lab;

/// What those who listen are told.
const TOLD: &str = "    identity: knot\n    log-queries: on\n    log-responses: off\n";

/// The server. It ends when this is dropped.
pub(crate) struct Knot {
    namespace: Option<String>,
    folder: PathBuf,
    server: Option<Child>,
}

impl Knot {
    /// Starts it in a folder; others beside forebay who are told of queries have a socket in a folder of their own each.
    pub(crate) fn start(namespace: Option<&str>, folder: &Path, port: u16, others: &[&str]) -> Knot {
        configure(folder, port, others);
        let mut knot = Knot { namespace: namespace.map(str::to_owned), folder: folder.to_owned(), server: None };
        knot.run();
        knot
    }

    /// Starts it again, with all that it knew.
    pub(crate) fn run(&mut self) {
        let configuration = self.folder.join("knot.conf");
        let arguments = ["-c", configuration.to_str().unwrap()];
        self.server = Some(match &self.namespace {
            Some(namespace) => lab::daemon(namespace, &self.folder, "knotd", &arguments),
            None => {
                let log = File::create(self.folder.join("knotd.log")).unwrap();
                Command::new("setpriv")
                    .args(["--pdeathsig", "TERM", "knotd"])
                    .args(arguments)
                    .env("PATH", path())
                    .stdin(Stdio::null())
                    .stdout(log.try_clone().unwrap())
                    .stderr(log)
                    .spawn()
                    .unwrap()
            }
        });
    }

    /// Kills it, and does not start it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Tells it something.
    pub(crate) fn tell(&self, arguments: &[&str]) {
        let output = knotc(&self.folder, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// The zone's records, read past DNS so that nobody counts it as demand; `None` while the server is not there.
pub(crate) fn zone(folder: &Path) -> Option<String> {
    let output = knotc(folder, &["zone-read", "cdn.test"]);
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Addresses of the name, as the server of this run has them.
pub(crate) fn records(folder: &Path) -> Option<BTreeSet<String>> {
    let begin = format!("[cdn.test.] {NAME}. ");
    let address = |line: &str| Some(line.strip_prefix(&begin)?.split_once(" A ")?.1.trim().to_owned());
    Some(zone(folder)?.lines().filter_map(address).collect())
}

fn knotc(folder: &Path, arguments: &[&str]) -> Output {
    let socket = folder.join("knot.sock");
    Command::new("knotc").args(["-s", socket.to_str().unwrap()]).args(arguments).env("PATH", path()).output().unwrap()
}

fn path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin"
}

fn configure(folder: &Path, port: u16, others: &[&str]) {
    let run = folder.to_str().unwrap();
    let secret = "c3RlZXJpbmctaXMtdGVzdGVkLXdpdGgtdGhpcw==";
    fs::write(folder.join("dns.key"), format!("hmac-sha256:steer:{secret}\n")).unwrap();
    fs::set_permissions(folder.join("dns.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let zone = "$ORIGIN cdn.test.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 10\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.1\n";
    fs::write(folder.join("cdn.test.zone"), zone).unwrap();
    let mut taps = format!("  - id: tap\n    sink: unix:{run}/tap.sock\n{TOLD}");
    let mut modules = "mod-dnstap/tap".to_owned();
    for other in others {
        fs::create_dir(folder.join(other)).unwrap();
        taps += &format!("  - id: {other}\n    sink: unix:{run}/{other}/tap.sock\n{TOLD}");
        modules += &format!(", mod-dnstap/{other}");
    }
    let configuration = format!(
        "server:\n    rundir: \"{run}\"\n    listen: 127.0.0.1@{port}\n    edns-client-subnet: on\n    udp-workers: 1\n    tcp-workers: 1\n\
         database:\n    storage: \"{run}\"\nlog:\n  - target: stderr\n    any: info\n\
         key:\n  - id: steer\n    algorithm: hmac-sha256\n    secret: {secret}\n\
         acl:\n  - id: steering\n    key: steer\n    action: [update, transfer]\n\
         mod-dnstap:\n{taps}\
         template:\n  - id: default\n    storage: \"{run}\"\n    file: \"%s.zone\"\n    global-module: [{modules}]\n\
         zone:\n  - domain: cdn.test.\n    zonefile-sync: -1\n    acl: steering\n"
    );
    fs::write(folder.join("knot.conf"), configuration).unwrap();
}
