//! A logical switch of a real OVN: northbound and southbound databases, ovn-northd, and ovn-controller on a real Open vSwitch;
//! `ovn-nbctl` and the meters of the switch are the independent readers.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use forebay_adapters::ovsdb::Endpoint;
use forebay_adapters::slices::ovn::{OvnExecutor, OvnView};
use forebay_adapters::slices::{Gate, LinkSlices, SliceError, SliceExecutor, SliceView};
use forebay_world::{BitsPerSecond, Generation, Refusal, SliceId};

use super::conformance::{self, Rig, slices};
use super::lab::{Lab, Switch, daemon, have, needs, run};

const PROGRAMS: [&str; 5] = ["ovn-northd", "ovn-controller", "ovn-nbctl", "ovs-ofctl", "ovsdb-tool"];

pub(crate) struct Logical {
    // In the order in which they go.
    daemons: Vec<Child>,
    folder: tempfile::TempDir,
    lab: std::cell::RefCell<Lab>,
}

impl Logical {
    pub(crate) fn new() -> Self {
        let mut lab = Lab::new(2, Switch::OpenVswitch);
        let folder = tempfile::Builder::new().prefix("fn").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let namespace = lab.switch().name().to_owned();
        let mut daemons = Vec::new();
        for base in ["nb", "sb"] {
            run(
                "ovsdb-tool",
                &["create", &path(&format!("{base}.db")), &format!("/usr/share/ovn/ovn-{base}.ovsschema")],
            );
            let (file, socket) = (format!("{base}.db"), format!("--remote=punix:{base}.sock"));
            let control = format!("--unixctl={base}.ctl");
            daemons.push(daemon(&namespace, folder.path(), "ovsdb-server", &[&file, &socket, &control]));
            wait_for(&folder.path().join(format!("{base}.sock")));
        }
        let bases = ["--ovnnb-db=unix:nb.sock", "--ovnsb-db=unix:sb.sock", "--unixctl=northd.ctl"];
        daemons.push(daemon(&namespace, folder.path(), "ovn-northd", &bases));
        let switch = lab.daemons().expect("it is Open vSwitch");
        let remote = format!("external_ids:ovn-remote=unix:{}", path("sb.sock"));
        let settings = [
            "external_ids:system-id=chassis",
            &remote,
            "external_ids:ovn-encap-type=geneve",
            "external_ids:ovn-encap-ip=127.0.0.1",
            "external_ids:ovn-bridge-datapath-type=netdev",
        ];
        switch.vsctl(&[&["set", "open_vswitch", "."], &settings[..]].concat());
        let database = format!("unix:{}", switch.path("db.sock").display());
        // It looks for the bridge's sockets where the switch runs.
        daemons.push(daemon(&namespace, switch.path("db.sock").parent().unwrap(), "ovn-controller", &[&database]));
        let rig = Logical { daemons, folder, lab: std::cell::RefCell::new(lab) };
        rig.nbctl(&["ls-add", "sw"]);
        for port in ["a", "b"] {
            rig.nbctl(&["lsp-add", "sw", port]);
            let interface = format!("external_ids:iface-id={port}");
            let add = ["add-port", "br-int", port, "--", "set", "interface", port, "type=internal", &interface];
            rig.wait_for_bridge();
            rig.vsctl(&add);
        }
        rig.nbctl(&["--wait=hv", "sync"]);
        rig
    }

    fn wait_for_bridge(&self) {
        let begun = Instant::now();
        while !self.vsctl(&["list-br"]).contains("br-int") {
            assert!(begun.elapsed() < Duration::from_secs(60), "ovn-controller made no bridge");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn vsctl(&self, arguments: &[&str]) -> String {
        self.lab.borrow_mut().daemons().expect("it is Open vSwitch").vsctl(arguments)
    }

    fn nbctl(&self, arguments: &[&str]) -> String {
        let database = format!("--db=unix:{}", self.folder.path().join("nb.sock").display());
        run("ovn-nbctl", &[&["--timeout=60", &database], arguments].concat())
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.folder.path().join("nb.sock"))
    }

    /// Rates of the switch's meters \[kbit/s\], sorted.
    fn meters(&self) -> Vec<u64> {
        let socket = self.lab.borrow_mut().daemons().expect("it is Open vSwitch").path("br-int.mgmt");
        let shown = run("ovs-ofctl", &["-O", "OpenFlow15", "dump-meters", &format!("unix:{}", socket.display())]);
        let rates = shown.split("rate=").skip(1).filter_map(|rest| rest.split([' ', '\n']).next()?.parse().ok());
        let mut rates: Vec<u64> = rates.collect();
        rates.sort_unstable();
        rates
    }
}

fn wait_for(socket: &Path) {
    let begun = Instant::now();
    while !socket.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} does not come", socket.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Logical {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(20) && daemon.try_wait().is_ok_and(|ended| ended.is_none()) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if !std::thread::panicking() {
            self.vsctl(&["--if-exists", "del-br", "br-int"]);
        }
    }
}

impl Rig for Logical {
    fn connect(&self) -> Box<dyn SliceExecutor> {
        Box::new(OvnExecutor::connect(&self.endpoint(), "sw", "test").expect("it answers"))
    }

    fn view(&self) -> Box<dyn SliceView> {
        Box::new(OvnView::connect(&self.endpoint(), "sw", "test").expect("it answers"))
    }

    fn everything(&self) -> String {
        let tables = ["NB_Global", "Logical_Switch", "Logical_Switch_Port", "QoS", "ACL"];
        tables.map(|table| self.nbctl(&["list", table])).concat()
    }

    fn ports(&self) -> Vec<String> {
        vec!["a".to_owned(), "b".to_owned()]
    }

    fn disturb(&self, way: usize) -> bool {
        let row = |table: &str| {
            let found = self.nbctl(&["--bare", "--columns=_uuid", "find", table, "external_ids:forebay-slice=0"]);
            found.lines().next().unwrap_or_default().to_owned()
        };
        match way {
            0 => self.nbctl(&["set", "qos", &row("qos"), "bandwidth:rate=123"]),
            1 => self.nbctl(&["set", "qos", &row("qos"), "match=\"ip4.src == 10.9.9.9\""]),
            2 => self.nbctl(&["lsp-set-port-security", "a", "02:00:00:00:00:77"]),
            3 => self.nbctl(&["qos-del", "sw"]),
            4 => self.nbctl(&["acl-del", "sw"]),
            5 => self.nbctl(&["lsp-set-enabled", "a", "disabled"]),
            6 => self.nbctl(&["remove", "logical_switch_port", "b", "external_ids", "forebay-slice"]),
            7 => self.nbctl(&["set", "acl", &row("acl"), "action=allow"]),
            8 => self.nbctl(&["remove", "qos", &row("qos"), "external_ids", "forebay-ceiling"]),
            _ => return false,
        };
        true
    }

    fn add_foreign(&self) {
        self.nbctl(&["qos-add", "sw", "from-lport", "77", "inport == \"a\"", "rate=9000"]);
        self.nbctl(&["acl-add", "sw", "from-lport", "78", "inport == \"b\"", "allow"]);
        self.nbctl(&["set", "logical_switch", "sw", "external_ids:somebody=1"]);
    }

    fn foreign_is_untouched(&self) -> bool {
        self.nbctl(&["qos-list", "sw"]).lines().any(|line| line.contains("77") && line.contains("rate=9000"))
            && self.nbctl(&["acl-list", "sw"]).lines().any(|line| line.contains("78") && line.contains("allow"))
            && self.nbctl(&["get", "logical_switch", "sw", "external_ids:somebody"]).contains('1')
    }

    fn leftovers(&self) -> Vec<String> {
        let find =
            |table: &str| self.nbctl(&["--bare", "--columns=_uuid", "find", table, "external_ids:forebay-owner=test"]);
        let tables = ["qos", "acl", "logical_switch", "logical_switch_port"].map(find);
        let mut left: Vec<String> = tables.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
        left.retain(|line| !line.is_empty());
        left.extend(
            ["a", "b"].iter().map(|port| self.nbctl(&["lsp-get-port-security", port])).filter(|s| !s.trim().is_empty()),
        );
        left
    }

    fn independent_differences(&self, wanted: &LinkSlices) -> Vec<String> {
        let mut found = Vec::new();
        // The hypervisor has said that it is done: its meters are these, and those that are not ours.
        let inhabited = wanted.slices.iter().filter(|(id, _)| !wanted.sources(**id).is_empty());
        let mut rates: Vec<u64> =
            inhabited.map(|(_, slice)| slice.terms.ceiling.0.min(wanted.capacity.0) / 1000).collect();
        let foreign = self.nbctl(&["qos-list", "sw"]).matches("rate=9000").count();
        rates.extend(std::iter::repeat_n(
            9000,
            foreign.saturating_sub(rates.iter().filter(|rate| **rate == 9000).count()),
        ));
        // Slices with nobody in them have no meter.
        rates.sort_unstable();
        let meters = self.meters();
        let distinct = |rates: &[u64]| rates.iter().copied().collect::<std::collections::BTreeSet<u64>>();
        if distinct(&meters) != distinct(&rates) {
            found.push(format!("meters of {meters:?} kbit/s, not {rates:?}"));
        }
        for (name, port) in &wanted.ports {
            let security = self.nbctl(&["lsp-get-port-security", name]);
            if !security.contains(&port.mac.to_string()) {
                found.push(format!("port {name} has {security}"));
            }
        }
        found
    }
}

pub(crate) fn have_all() -> bool {
    have(&[needs(Switch::OpenVswitch), &PROGRAMS].concat())
}

#[test]
#[ignore = "needs root, Open vSwitch and OVN"]
fn a_logical_switch_conforms() {
    if !have_all() {
        return;
    }
    let rig = Logical::new();
    conformance::conforms(&rig);
    // What it cannot do is refused in so many words: a guarantee.
    let mut wanted = slices(&rig, 1, &[(6, 10)]);
    wanted.slices.get_mut(&SliceId(0)).unwrap().terms.guarantee = BitsPerSecond(6_000_000);
    let error = rig.connect().apply(&wanted, &mut Gate::open()).unwrap_err();
    assert!(matches!(error, SliceError::Refused(Refusal::Guarantee { .. })), "{error}");
    println!("   {error}");
    let begun = Instant::now();
    rig.connect().apply(&slices(&rig, 2, &[(6, 9), (3, 8)]), &mut Gate::open()).unwrap();
    println!("   applied on the hypervisor after {:?}; meters {:?}", begun.elapsed(), rig.meters());
    let error = OvnExecutor::connect(&rig.endpoint(), "sw9", "test").map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "there is no logical switch \"sw9\"; there are: sw");
    assert_eq!(rig.connect().read().unwrap().generation, Some(Generation(2)));
    rig.connect().remove(&mut Gate::open()).unwrap();
}
