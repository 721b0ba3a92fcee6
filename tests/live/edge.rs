//! One edge: a switch, clients behind it, a name server, and forebay that runs it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use forebay_world::Timestamp;

use super::crowd::{Crowd, NAME};
use super::guest;
use super::hypervisor::{Hypervisor, Kind};
use super::instance::Instance;
use super::knot::{self, Knot, records};
use super::lab::{self, BRIDGE, Lab, SINK_PORT, Switch, have, needs};
use super::trace;

/// Something that came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Slice,
    Machine(String),
    Port(String),
    Serves(String),
    Answered(String),
    NoLongerAnswered(String),
    MachineGone(String),
    SliceGone,
}

/// Whether everything is there.
pub(crate) fn have_all() -> bool {
    have_all_of(Kind::Qemu)
}

/// Whether everything is there for guests of a kind.
pub(crate) fn have_all_of(kind: Kind) -> bool {
    let mut programs = needs(Switch::OpenVswitch).to_vec();
    programs.extend(kind.needs());
    programs.extend(["knotd", "knotc", "kdig", "setpriv"]);
    programs.extend(guest::NEEDS);
    have(&programs)
}

pub(crate) struct Edge {
    hypervisor: Hypervisor,
    folder: tempfile::TempDir,
    port: u16,
    forebay: Option<Instance>,
    knot: Knot,
    /// How long guests took that were started for the sake of knowing.
    boots: Vec<Duration>,
    lab: Lab,
    machines: BTreeSet<String>,
    ports: BTreeSet<String>,
    serves: BTreeSet<String>,
    answered: BTreeSet<String>,
    has_slice: bool,
    carried: u64,
}

impl Edge {
    /// One whose guests are QEMU's processes.
    pub(crate) fn new() -> Edge {
        Edge::made(Kind::Qemu, 0, &[])
    }

    /// With others beside forebay who are told of queries: each at a socket in a folder of its own.
    pub(crate) fn watched(others: &[&str]) -> Edge {
        Edge::made(Kind::Qemu, 0, others)
    }

    /// One whose guests are of a kind, and of which so many were started before, to know how long they take.
    pub(crate) fn with(kind: Kind, boots: usize) -> Edge {
        Edge::made(kind, boots, &[])
    }

    fn made(kind: Kind, boots: usize, others: &[&str]) -> Edge {
        let mut lab = Lab::new(1, Switch::OpenVswitch);
        let folder = tempfile::Builder::new().prefix("fb").tempdir().unwrap();
        let hypervisor = Hypervisor::start(kind, &lab, folder.path(), &owner());
        let boots = hypervisor.boots(&lab, boots);
        lab.daemons().unwrap().vsctl(&["set-fail-mode", BRIDGE, "secure"]);
        // Whoever asks machines how they do comes from behind the uplink, as their clients do.
        let (switch, sink) = (lab.switch(), lab.sink());
        switch.run("ip", &["link", "add", "mgmt", "type", "veth", "peer", "name", "mgmt", "netns", sink.name()]);
        for (namespace, address) in [(switch, "10.67.0.1/30"), (sink, "10.67.0.2/30")] {
            namespace.run("ip", &["address", "add", address, "dev", "mgmt"]);
            namespace.run("ip", &["link", "set", "mgmt", "up"]);
            namespace
                .run("ethtool", &["-K", "mgmt", "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"]);
        }
        sink.run("sysctl", &["-q", "net.ipv4.ip_forward=1"]);
        switch.run("ip", &["route", "add", "10.66.0.0/24", "via", "10.67.0.2"]);
        let port = switch.within(|| UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let knot = Knot::start(Some(lab.switch().name()), folder.path(), port, others);
        let edge = Edge {
            hypervisor,
            folder,
            port,
            forebay: None,
            knot,
            boots,
            lab,
            machines: BTreeSet::new(),
            ports: BTreeSet::new(),
            serves: BTreeSet::new(),
            answered: BTreeSet::new(),
            has_slice: false,
            carried: 0,
        };
        let begun = Instant::now();
        while !edge.dig("www.cdn.test").contains("192.0.2.1") {
            assert!(begun.elapsed() < Duration::from_secs(60), "knot does not answer: {}", edge.read("knot.log"));
            std::thread::sleep(Duration::from_millis(50));
        }
        edge
    }

    /// Where the name server answers: asked from within the switch's namespace.
    pub(crate) fn dns(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A few clients, for as long as a test lasts: where nobody asks, nobody is let go.
    pub(crate) fn trickle(&self) -> Crowd {
        Crowd::start(self.crowd_socket(), self.dns(), Instant::now(), vec![(Duration::from_secs(3600), 2.0)])
    }

    /// Where clients ask from.
    pub(crate) fn crowd_socket(&self) -> UdpSocket {
        self.lab.switch().within(|| UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    /// A file of the run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a file of the run holds.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// What guests took that were started for the sake of knowing.
    pub(crate) fn boots(&self) -> &[Duration] {
        &self.boots
    }

    /// The file of production, with a crowd announced and with each of `changes`.
    pub(crate) fn announced(&self, begins: Timestamp, ends: Timestamp, changes: &[(&str, &str)]) -> String {
        changed(self.filled(), changes).replace("@BEGINS@", &begins.to_string()).replace("@ENDS@", &ends.to_string())
    }

    /// Starts forebay on a file of production.
    pub(crate) fn start_forebay(&mut self, text: &str) {
        fs::write(self.path("edge.toml"), text).unwrap();
        self.restart_forebay();
    }

    /// Writes the file of production: nothing is announced, and each of `changes` stands for what the file has.
    pub(crate) fn write_file(&self, changes: &[(&str, &str)]) {
        let mut text = self.filled();
        let (begin, end) = (text.find("[[event]]").unwrap(), text.find("[controller]").unwrap());
        text.replace_range(begin..end, "");
        fs::write(self.path("edge.toml"), changed(text, changes)).unwrap();
    }

    /// The file of production, with all that is of this run.
    pub(crate) fn filled(&self) -> String {
        let (kernel, initrd) = guest::image().clone();
        let text = include_str!("edge.toml")
            .replace("@RUN@", self.folder.path().to_str().unwrap())
            .replace("@PORT@", &self.port.to_string())
            .replace("@OWNER@", &owner())
            .replace("@OVS@", self.lab.path("db.sock").unwrap().to_str().unwrap())
            .replace("@KERNEL@", kernel.to_str().unwrap())
            .replace("@INITRD@", initrd.to_str().unwrap());
        self.hypervisor.in_file(text)
    }

    /// Starts forebay, again where it was started before.
    pub(crate) fn restart_forebay(&mut self) {
        self.forebay = None;
        self.forebay = Some(self.instance("forebay.log"));
    }

    /// Another instance on the same file.
    pub(crate) fn instance(&self, log: &str) -> Instance {
        Instance::start(Some(self.lab.switch().name()), &self.path("edge.toml"), &self.path(log))
    }

    /// Starts forebay, and writes all that it does in a file.
    pub(crate) fn start_traced(&mut self, trace: &str) {
        let by = trace::wrapped(&self.path(trace), false);
        self.forebay = Some(self.run(&by, &["live", self.path("edge.toml").to_str().unwrap()], "forebay.log"));
    }

    /// Starts another forebay, by a program that runs it.
    pub(crate) fn run(&self, by: &[String], arguments: &[&str], log: &str) -> Instance {
        Instance::run(Some(self.lab.switch().name()), by, arguments, &self.path(log))
    }

    /// The instance that was started last.
    pub(crate) fn forebay(&mut self) -> &mut Instance {
        self.forebay.as_mut().unwrap()
    }

    /// The same, to be waited for.
    pub(crate) fn take_forebay(&mut self) -> Instance {
        self.forebay.take().unwrap()
    }

    pub(crate) fn assert_alive(&mut self) {
        let ended = self.forebay.as_mut().and_then(Instance::ended);
        assert!(ended.is_none(), "forebay ended: {ended:?}\n{}", self.read("forebay.log"));
    }

    /// Asks forebay to end, and waits until it has.
    pub(crate) fn stop_forebay(&mut self) {
        let Some(forebay) = self.forebay.take() else { return };
        forebay.signal("TERM");
        let (status, said) = forebay.end(Duration::from_secs(60));
        assert!(status.success(), "{status}\n{said}");
    }

    /// Kills forebay without a chance to tidy up.
    pub(crate) fn kill_forebay(&mut self) {
        if let Some(forebay) = self.forebay.take() {
            forebay.kill();
        }
    }

    /// Kills the name server, and does not start it.
    pub(crate) fn kill_knot(&mut self) {
        self.knot.kill();
    }

    /// Starts the name server with all that it knew.
    pub(crate) fn start_knot(&mut self) {
        self.knot.run();
    }

    /// The daemon of libvirt.
    #[cfg(feature = "libvirt")]
    pub(crate) fn libvirt(&mut self) -> &mut super::libvirt_daemon::Daemon {
        self.hypervisor.daemon()
    }

    /// UUIDs of libvirt's domains.
    #[cfg(feature = "libvirt")]
    pub(crate) fn domains(&self) -> BTreeSet<String> {
        self.hypervisor.listed("--uuid")
    }

    /// The daemons of Open vSwitch.
    pub(crate) fn switch(&mut self) -> &mut lab::Daemons {
        self.lab.daemons().unwrap()
    }

    /// What has come about since the last look.
    pub(crate) fn look(&mut self) -> Vec<Event> {
        self.hypervisor.hurry();
        let mut events = Vec::new();
        let rows =
            self.lab.daemons().unwrap().vsctl(&["--columns=_uuid", "--format=csv", "--no-headings", "list", "queue"]);
        let has_slice = !rows.trim().is_empty();
        if has_slice != self.has_slice {
            self.has_slice = has_slice;
            events.push(if has_slice { Event::Slice } else { Event::SliceGone });
        }
        let machines = self.guests();
        events.extend(machines.difference(&self.machines).map(|name| Event::Machine(name.clone())));
        events.extend(self.machines.difference(&machines).map(|name| Event::MachineGone(name.clone())));
        self.machines = machines;
        let flows = self.flows();
        let ports: BTreeSet<String> = self
            .bridge_ports()
            .into_iter()
            .filter(|(_, number)| flows.contains(&format!("in_port={number}")))
            .map(|(name, _)| name)
            .collect();
        events.extend(ports.difference(&self.ports).map(|name| Event::Port(name.clone())));
        self.ports = ports;
        let serves: BTreeSet<String> =
            (10..14).map(|host| format!("10.66.0.{host}")).filter(|address| self.fetch(address)).collect();
        events.extend(serves.difference(&self.serves).map(|address| Event::Serves(address.clone())));
        self.serves = serves;
        let answered = self.records();
        if answered != self.answered && !answered.is_empty() {
            // What the zone holds is what clients are told.
            let told: BTreeSet<String> = self.dig(NAME).lines().map(str::to_owned).collect();
            assert!(told.is_subset(&self.records().union(&answered).cloned().collect()), "{told:?}");
        }
        events.extend(answered.difference(&self.answered).map(|address| Event::Answered(address.clone())));
        events.extend(self.answered.difference(&answered).map(|address| Event::NoLongerAnswered(address.clone())));
        self.answered = answered;
        self.carried = self.carried.max(self.class_bytes());
        events
    }

    /// Guests that serve now.
    pub(crate) fn serving(&self) -> usize {
        self.serves.len()
    }

    /// Most that the classes of slices were seen to have carried \[bytes\].
    pub(crate) fn slice_carried(&self) -> u64 {
        self.carried
    }

    /// Whether nothing of forebay's is there: no guest, no port, no row, no record.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.left().is_empty()
    }

    /// What of forebay's is there.
    pub(crate) fn left(&mut self) -> String {
        let mut left: Vec<String> = self.guests().into_iter().collect();
        left.extend(self.hypervisor.processes().into_iter().map(|process| format!("process {process}")));
        left.extend(self.bridge_ports().into_iter().map(|(name, _)| name));
        let devices = self.lab.switch().run("ip", &["-brief", "link", "show"]);
        let devices = devices.lines().filter_map(|line| line.split_whitespace().next());
        left.extend(devices.filter(|name| name.starts_with("fb")).map(|name| format!("device {name}")));
        for table in ["queue", "qos"] {
            let rows =
                self.lab.daemons().unwrap().vsctl(&["--columns=_uuid", "--format=csv", "--no-headings", "list", table]);
            left.extend(rows.lines().filter(|line| !line.trim().is_empty()).map(|row| format!("{table} {row}")));
        }
        let zone = self.zone();
        left.extend(zone.lines().filter(|line| line.contains("forebay") || line.contains(NAME)).map(str::to_owned));
        left.join(", ")
    }

    /// Whether the journal of every term comes out byte for byte.
    pub(crate) fn assert_journal_replays(&self) {
        assert_journals_replay(&self.path("state"));
    }

    fn guests(&self) -> BTreeSet<String> {
        let folder = self.path("machines").join(owner());
        let found = fs::read_dir(folder).into_iter().flatten().flatten();
        let written = found.map(|entry| entry.file_name().into_string().unwrap());
        let written = written.filter(|name| name.starts_with("vm-") && !name.contains('.'));
        // A domain that is called otherwise than ours are is one too many.
        let mark = format!("{}-", owner());
        let domains = self.hypervisor.domains().into_iter();
        written.chain(domains.map(|name| name.strip_prefix(&mark).unwrap_or(&name).to_owned())).collect()
    }

    fn bridge_ports(&mut self) -> Vec<(String, String)> {
        let ports = self.lab.daemons().unwrap().vsctl(&[
            "--columns=name,ofport",
            "--format=csv",
            "--no-headings",
            "list",
            "interface",
        ]);
        let pair = |line: &str| {
            let (name, number) = line.split_once(',')?;
            Some((name.trim_matches('"').to_owned(), number.to_owned()))
        };
        ports.lines().filter_map(pair).filter(|(name, _)| name.starts_with("fb")).collect()
    }

    fn flows(&self) -> String {
        let control = self.lab.path(&format!("{BRIDGE}.mgmt")).unwrap();
        let output = Command::new("ovs-ofctl")
            .args(["-O", "OpenFlow13", "dump-flows", &format!("unix:{}", control.display())])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// How much of what stands on the switch and is answered has changed: to be compared.
    pub(crate) fn standing(&mut self) -> String {
        let mut text = String::new();
        for (table, columns) in [
            ("port", "--columns=_uuid,name,external_ids,qos"),
            ("qos", "--columns=_uuid,external_ids,other_config,queues"),
            ("queue", "--columns=_uuid,external_ids,other_config"),
            ("bridge", "--columns=_uuid,name,external_ids"),
        ] {
            text += &self.lab.daemons().unwrap().vsctl(&[columns, "--format=csv", "list", table]);
        }
        let mut rules: Vec<String> = self.flows().lines().filter_map(rule).collect();
        rules.sort();
        text + &rules.join("\n") + "\n" + &self.zone()
    }

    /// What the classes of slices have carried so far \[bytes\]; nothing stands where `None`.
    pub(crate) fn slices_carried(&self) -> Option<u64> {
        let text = self.lab.switch().run("tc", &["-s", "class", "show", "dev", SINK_PORT]);
        let mut lines = text.lines().map(str::trim);
        let mut carried = None;
        while let Some(line) = lines.next() {
            // Those of queues begin with that of what is in no slice; all are of the one that holds the port to its rate.
            let Some(class) = line.strip_prefix("class htb 1:").and_then(|rest| rest.split(' ').next()) else {
                continue;
            };
            let sent = lines.next().and_then(|line| line.strip_prefix("Sent ")?.split(' ').next()?.parse::<u64>().ok());
            if !["1", "fffe"].contains(&class) {
                carried = Some(carried.unwrap_or(0) + sent.expect("it is counted"));
            }
        }
        carried
    }

    /// Who gets a page from every guest that is answered, as clients behind the uplink do, each time that it is called: in
    /// a thread of its own, to which it goes for good.
    pub(crate) fn visitor(&self) -> impl FnMut() + Send + 'static {
        let (folder, sink) = (self.folder.path().to_owned(), self.lab.sink().name().to_owned());
        let mut is_there = false;
        move || {
            if !std::mem::replace(&mut is_there, true) {
                lab::enter(&sink);
            }
            for address in records(&folder).into_iter().flatten() {
                request(&address, "/health", Duration::from_millis(300));
            }
        }
    }

    fn class_bytes(&self) -> u64 {
        let text = self.lab.switch().run("tc", &["-s", "class", "show", "dev", SINK_PORT]);
        let sent =
            text.lines().filter_map(|line| line.trim().strip_prefix("Sent ")?.split(' ').next()?.parse::<u64>().ok());
        sent.max().unwrap_or(0)
    }

    /// Whether a client behind the uplink gets the page by which a guest's health is told.
    fn fetch(&self, address: &str) -> bool {
        self.request(address, "/health", Duration::from_millis(30))
    }

    /// Whether a client behind the uplink gets a page, on a machine that has other things to do.
    pub(crate) fn get(&self, address: &str, path: &str) -> bool {
        (0..5).any(|_| self.request(address, path, Duration::from_secs(1)))
    }

    fn request(&self, address: &str, path: &str, patience: Duration) -> bool {
        self.lab.sink().within(|| request(address, path, patience))
    }

    fn zone(&self) -> String {
        knot::zone(self.folder.path()).unwrap_or_default()
    }

    /// Takes the answers away by hand, so that whoever may write has something to.
    pub(crate) fn forget_answers(&self) {
        self.knot.tell(&["zone-begin", "cdn.test"]);
        self.knot.tell(&["zone-unset", "cdn.test", &format!("{NAME}."), "A"]);
        self.knot.tell(&["zone-commit", "cdn.test"]);
        assert!(self.records().is_empty());
    }

    /// Addresses of the name.
    pub(crate) fn records(&self) -> BTreeSet<String> {
        records(self.folder.path()).unwrap_or_default()
    }

    fn dig(&self, name: &str) -> String {
        let port = self.port.to_string();
        self.lab.switch().run(
            "kdig",
            &[
                "@127.0.0.1",
                "-p",
                &port,
                "+short",
                "+timeout=2",
                "+retry=2",
                "+norec",
                "+subnet=192.0.2.0/24",
                name,
                "A",
            ],
        )
    }
}

/// Whether a page comes, where the calling thread is.
fn request(address: &str, path: &str, patience: Duration) -> bool {
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    let address: SocketAddr = format!("{address}:80").parse().unwrap();
    let Ok(mut stream) = TcpStream::connect_timeout(&address, patience) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains(" 200 ")
}

/// A text in which each of `changes` stands for what it had.
fn changed(text: String, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// What stands on all that is made.
pub(crate) fn owner() -> String {
    format!("forebay-{}", std::process::id())
}

/// What a flow says, without what is counted on it.
fn rule(flow: &str) -> Option<String> {
    let counted = ["duration=", "n_packets=", "n_bytes=", "idle_age=", "hard_age="];
    let fields = flow.trim().split(", ").filter(|field| !counted.iter().any(|count| field.contains(count)));
    flow.contains("cookie=").then(|| fields.collect::<Vec<_>>().join(", "))
}

/// Whether the journal of every term in a state folder comes out byte for byte.
pub(crate) fn assert_journals_replay(state: &Path) {
    let mut replayed = 0;
    for entry in fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_str().unwrap().starts_with("journal-") {
            continue;
        }
        // One that was killed before it had written its first line decided nothing.
        if fs::read(&path).unwrap().contains(&b'\n') {
            let output = Command::new(env!("CARGO_BIN_EXE_forebay")).arg("replay").arg(&path).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
            println!("   {}", said.lines().next().unwrap_or_default());
            replayed += 1;
        }
    }
    assert!(replayed > 0);
}

impl Drop for Edge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for folder in ["", "state"] {
                for entry in fs::read_dir(self.path(folder)).into_iter().flatten().flatten() {
                    let name = entry.file_name().into_string().unwrap_or_default();
                    if (name.ends_with(".log") && !name.starts_with("knot")) || name.starts_with("audit-") {
                        let log = fs::read_to_string(entry.path()).unwrap_or_default();
                        let tail: Vec<&str> = log.lines().rev().take(40).collect();
                        eprintln!("{name} ends:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
                    }
                }
            }
        }
        self.forebay = None;
    }
}
