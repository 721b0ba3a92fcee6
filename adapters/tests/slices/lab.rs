//! Network namespaces with a switch between them: sources and a sink, each behind a veth pair of its own.
//!
//! ```text
//! source 0 eth0 ── source0 ┐
//! source 1 eth0 ── source1 ┤ br0 ├ sink ── eth0 sink
//!                          └─────┘
//!                    the switch's namespace
//! ```
//!
//! Source n has the addresses 10.66.0.(n+1), fd66::(n+1) and 02:00:00:00:00:(n+1), the sink 10.66.0.254, fd66::fe and
//! 02:00:00:00:00:fe.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use forebay_adapters::netlink::Netlink;
use forebay_adapters::slices::MacAddress;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How long a daemon may take to start or to end, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far what makes and forwards traffic goes before all else (`nice`): how busy the machine is, is not what is tested.
pub(crate) const PRIORITY: i32 = -15;
/// The switch's port towards the sink.
pub(crate) const SINK_PORT: &str = "sink";
/// The switch.
pub(crate) const BRIDGE: &str = "br0";

/// The sink's number among hosts.
const SINK: u8 = 254;

fn host(source: usize) -> u8 {
    source as u8 + 1
}

fn address(host: u8, v6: bool) -> IpAddr {
    let text = if v6 { format!("fd66::{host:x}") } else { format!("10.66.0.{host}") };
    text.parse().unwrap()
}

fn mac(host: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, host])
}

/// The switch's port towards source `number`.
pub(crate) fn source_port(number: usize) -> String {
    format!("source{number}")
}

/// Where programs are looked for: those of an administrator are not on everybody's path.
fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin"
}

/// Whether programs are there and may do what they have to; says so when not, and fails when it has to be so.
pub(crate) fn have(programs: &[&str]) -> bool {
    let path = search_path();
    let there = |program: &str| path.split(':').any(|folder| Path::new(folder).join(program).exists());
    let mut missing: Vec<&str> = programs.iter().chain(&["ip", "tc"]).copied().filter(|name| !there(name)).collect();
    if !rustix::process::geteuid().is_root() {
        missing.push("root's rights");
    }
    let required = std::env::var_os("FOREBAY_SERVERS").is_some_and(|value| value == "required");
    assert!(missing.is_empty() || !required, "{missing:?} are not there, and FOREBAY_SERVERS=required");
    if !missing.is_empty() {
        eprintln!("NOT TESTED: {missing:?} are not there");
    }
    missing.is_empty()
}

/// What programs [`Lab::new`] needs.
pub(crate) fn needs(switch: Switch) -> &'static [&'static str] {
    match switch {
        Switch::Bridge => &["ethtool"],
        Switch::OpenVswitch => &["ethtool", "setpriv", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl"],
    }
}

/// Runs a program to its end; its output, or a panic with all that it said.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = tried(program, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn tried(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).env("PATH", search_path()).stdin(Stdio::null()).output().unwrap()
}

/// Moves the calling thread into the network namespace of a name, for good.
pub(crate) fn enter(name: &str) {
    let file = File::open(Path::new("/run/netns").join(name)).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// A network namespace, removed with all links in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one with a name that no other process has.
    pub(crate) fn new(role: &str) -> Namespace {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("forebay{}-{}-{role}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        let namespace = Namespace { name };
        namespace.run("ip", &["link", "set", "lo", "up"]);
        namespace
    }

    /// Its name, as `ip netns` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a program in it; its output, or a panic with all that it said.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        run("ip", &[&["netns", "exec", &self.name, program], arguments].concat())
    }

    /// Moves the calling thread into it, for good.
    pub(crate) fn enter(&self) {
        enter(&self.name);
    }

    /// Does something in a thread that is in it. Sockets stay in it wherever they are used.
    pub(crate) fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                what()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A client of the kernel's queues in it.
    pub(crate) fn netlink(&self) -> Netlink {
        self.within(|| Netlink::open().unwrap())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let output = tried("ip", &["netns", "del", &self.name]);
        if !output.status.success() {
            eprintln!("{} stays behind: {}", self.name, String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// What stands between sources and sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// The kernel's own bridge.
    Bridge,
    /// Open vSwitch with its userspace datapath.
    OpenVswitch,
}

/// Namespaces with a switch between them.
#[derive(Debug)]
pub(crate) struct Lab {
    // In the order in which they go: the daemons while their namespace is there.
    daemons: Option<Daemons>,
    sources: Vec<Namespace>,
    sink: Namespace,
    switch: Namespace,
    _session: Session,
}

/// Our session before others': where the kernel schedules by session (sched(7), autogroups), nice values are told apart
/// within one only.
#[derive(Debug)]
struct Session {
    before: Option<String>,
}

impl Session {
    const FILE: &str = "/proc/self/autogroup";

    fn hurried() -> Session {
        let text = fs::read_to_string(Session::FILE).unwrap_or_default();
        let before = text.trim().rsplit_once("nice ").map(|(_, nice)| nice.to_owned());
        // Where it is not allowed, a busy machine makes worse figures.
        let _ = fs::write(Session::FILE, PRIORITY.to_string());
        Session { before }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = fs::write(Session::FILE, before);
        }
    }
}

impl Lab {
    /// Makes a lab with so many sources; see [`needs`].
    pub(crate) fn new(sources: usize, switch: Switch) -> Lab {
        assert!((1..=200).contains(&sources));
        let session = Session::hurried();
        let middle = Namespace::new("switch");
        let daemons = match switch {
            Switch::Bridge => {
                middle.run("ip", &["link", "add", BRIDGE, "type", "bridge"]);
                middle.run("ip", &["link", "set", BRIDGE, "up"]);
                None
            }
            Switch::OpenVswitch => Some(Daemons::start(&middle)),
        };
        let sink = Namespace::new("sink");
        let mut lab = Lab { daemons, sources: Vec::new(), sink, switch: middle, _session: session };
        lab.attach(&lab.sink, SINK_PORT, SINK);
        for number in 0..sources {
            let source = Namespace::new(&format!("source{number}"));
            lab.attach(&source, &source_port(number), host(number));
            lab.sources.push(source);
        }
        lab
    }

    /// Where source `number` is.
    pub(crate) fn source(&self, number: usize) -> &Namespace {
        &self.sources[number]
    }

    /// Where the sink is.
    pub(crate) fn sink(&self) -> &Namespace {
        &self.sink
    }

    /// Where the switch and its ports are.
    pub(crate) fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// A file in the folder of Open vSwitch, where that is the switch: its database's socket `db.sock`.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.daemons.as_ref().map(|daemons| daemons.path(name))
    }

    /// The daemons of Open vSwitch, where that is the switch.
    pub(crate) fn daemons(&mut self) -> Option<&mut Daemons> {
        self.daemons.as_mut()
    }

    /// The sink's address, of IPv4 or IPv6.
    pub(crate) fn sink_address(&self, v6: bool) -> IpAddr {
        address(SINK, v6)
    }

    /// The address of source `number`, of IPv4 or IPv6.
    pub(crate) fn source_address(&self, number: usize, v6: bool) -> IpAddr {
        address(host(number), v6)
    }

    /// The link-layer address of the sink.
    pub(crate) fn sink_mac(&self) -> MacAddress {
        mac(SINK)
    }

    /// The link-layer address of source `number`.
    pub(crate) fn source_mac(&self, number: usize) -> MacAddress {
        mac(host(number))
    }

    fn attach(&self, namespace: &Namespace, port: &str, host: u8) {
        let middle = &self.switch;
        middle.run("ip", &["link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace.name()]);
        // The userspace datapath fills in no checksums that were left to a device, and queues are to see packets as they
        // are on a wire.
        let off = ["tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"];
        middle.run("ethtool", &[&["-K", port], &off[..]].concat());
        namespace.run("ethtool", &[&["-K", "eth0"], &off[..]].concat());
        namespace.run("ip", &["link", "set", "eth0", "address", &mac(host).to_string()]);
        namespace.run("ip", &["address", "add", &format!("{}/24", address(host, false)), "dev", "eth0"]);
        namespace.run("ip", &["address", "add", &format!("{}/64", address(host, true)), "dev", "eth0", "nodad"]);
        namespace.run("ip", &["link", "set", "eth0", "up"]);
        middle.run("ip", &["link", "set", port, "up"]);
        match &self.daemons {
            None => drop(middle.run("ip", &["link", "set", port, "master", BRIDGE])),
            Some(daemons) => drop(daemons.vsctl(&["add-port", BRIDGE, port])),
        }
    }
}

/// Open vSwitch in a namespace, with a folder of its own.
#[derive(Debug)]
pub(crate) struct Daemons {
    namespace: String,
    folder: tempfile::TempDir,
    forwarder: Option<Child>,
    database: Child,
}

impl Daemons {
    fn start(namespace: &Namespace) -> Daemons {
        let folder = tempfile::Builder::new().prefix("fb").tempdir().unwrap();
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        run("ovsdb-tool", &["create", folder.path().join("conf.db").to_str().unwrap(), schema]);
        let database = database(namespace.name(), folder.path());
        let mut daemons = Daemons { namespace: namespace.name().to_owned(), folder, forwarder: None, database };
        daemons.wait_for("db.sock");
        daemons.vsctl(&["--no-wait", "init"]);
        daemons.start_forwarder();
        let datapath = ["--", "set", "bridge", BRIDGE, "datapath_type=netdev"];
        daemons.vsctl(&[&["add-br", BRIDGE], &datapath[..]].concat());
        daemons
    }

    /// Starts the daemon that forwards, when it is not running.
    pub(crate) fn start_forwarder(&mut self) {
        if self.forwarder.is_none() {
            let arguments = ["unix:db.sock", "--unixctl=forwarder.ctl", "--disable-system"];
            self.forwarder = Some(daemon(&self.namespace, self.folder.path(), "ovs-vswitchd", &arguments));
        }
    }

    /// Ends the daemon that forwards without a chance to tidy up.
    pub(crate) fn kill_forwarder(&mut self) {
        if let Some(mut forwarder) = self.forwarder.take() {
            forwarder.kill().unwrap();
            forwarder.wait().unwrap();
        }
    }

    /// Ends the database's server without a chance to tidy up.
    pub(crate) fn kill_database(&mut self) {
        self.database.kill().unwrap();
        self.database.wait().unwrap();
        fs::remove_file(self.path("db.sock")).unwrap();
    }

    /// Starts the database's server anew, over the same data.
    pub(crate) fn start_database(&mut self) {
        self.database = database(&self.namespace, self.folder.path());
        self.wait_for("db.sock");
    }

    /// Runs `ovs-vsctl` against the database.
    pub(crate) fn vsctl(&self, arguments: &[&str]) -> String {
        let database = format!("--db=unix:{}", self.path("db.sock").display());
        run("ovs-vsctl", &[&["--timeout=60", &database], arguments].concat())
    }

    /// A file of the run: the database's socket `db.sock`, logs.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The processes of the daemons that run.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.forwarder.iter().chain([&self.database]).map(Child::id).collect()
    }

    fn wait_for(&mut self, socket: &str) {
        let begun = Instant::now();
        while !self.path(socket).exists() {
            let ended = self.database.try_wait().unwrap().is_some();
            let log = || fs::read_to_string(self.path("ovsdb-server.log")).unwrap_or_default();
            assert!(!ended && begun.elapsed() < PATIENCE, "ovsdb-server does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn database(namespace: &str, folder: &Path) -> Child {
    daemon(namespace, folder, "ovsdb-server", &["conf.db", "--remote=punix:db.sock", "--unixctl=database.ctl"])
}

/// Starts a daemon in a namespace and a folder. It ends with the thread that starts it should that end without a word.
pub(crate) fn daemon(namespace: &str, folder: &Path, program: &str, arguments: &[&str]) -> Child {
    let log = File::create(folder.join(format!("{program}.log"))).unwrap();
    let variables = ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "OVN_RUNDIR", "OVN_LOGDIR"];
    Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "nice", "-n", &PRIORITY.to_string(), "ip", "netns", "exec", namespace, program])
        .args(arguments)
        .current_dir(folder)
        .env("PATH", search_path())
        .envs(variables.map(|variable| (variable, folder)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Daemons {
    fn drop(&mut self) {
        // The bridge first: its internal ports are taps that would outlive the daemon.
        if self.forwarder.is_some() {
            let database = format!("--db=unix:{}", self.path("db.sock").display());
            let output = tried("ovs-vsctl", &["--timeout=20", &database, "--if-exists", "del-br", BRIDGE]);
            if !output.status.success() {
                eprintln!("{BRIDGE} stays: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
        for daemon in self.forwarder.iter_mut().chain([&mut self.database]) {
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            let begun = Instant::now();
            while begun.elapsed() < PATIENCE && daemon.try_wait().is_ok_and(|ended| ended.is_none()) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
