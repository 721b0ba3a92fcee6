//! A port of a real Open vSwitch on its userspace datapath, with `ovs-vsctl`, `ovs-ofctl` and `tc` as independent readers.

use std::cell::RefCell;

use forebay_adapters::ovsdb::Endpoint;
use forebay_adapters::slices::ovs::{OvsExecutor, OvsPort, OvsView};
use forebay_adapters::slices::{Gate, LinkSlices, SliceError, SliceExecutor, SliceView};
use forebay_world::{BitsPerSecond, SliceId};

use super::conformance::{self, Rig, slices};
use super::lab::{BRIDGE, Lab, SINK_PORT, Switch, have, needs, run};
use super::shown;

pub(crate) struct Port {
    lab: RefCell<Lab>,
}

impl Port {
    fn new() -> Self {
        let mut lab = Lab::new(2, Switch::OpenVswitch);
        lab.daemons().expect("it is Open vSwitch").vsctl(&["set-fail-mode", BRIDGE, "secure"]);
        Port { lab: RefCell::new(lab) }
    }

    fn vsctl(&self, line: &str) -> String {
        let mut lab = self.lab.borrow_mut();
        lab.daemons().expect("it is Open vSwitch").vsctl(&line.split(' ').collect::<Vec<_>>())
    }

    fn ofctl(&self, arguments: &[&str]) -> String {
        let socket = self.lab.borrow_mut().daemons().expect("it is Open vSwitch").path("br0.mgmt");
        let target = format!("unix:{}", socket.display());
        run("ovs-ofctl", &[&["-O", "OpenFlow14", arguments[0], &target], &arguments[1..]].concat())
    }

    fn tc(&self, line: &str) -> String {
        shown::tc(self.lab.borrow().switch(), line)
    }

    fn port(&self) -> OvsPort {
        let database = self.lab.borrow_mut().daemons().expect("it is Open vSwitch").path("db.sock");
        OvsPort {
            endpoint: Endpoint::Unix(database),
            bridge: BRIDGE.to_owned(),
            port: SINK_PORT.to_owned(),
            owner: "test".to_owned(),
            openflow: None,
        }
    }

    fn open(&self, port: &OvsPort) -> Result<OvsExecutor, SliceError> {
        self.lab.borrow().switch().within(|| OvsExecutor::connect(port))
    }

    /// Every transaction that the database has written to its disk.
    fn database(&self) -> String {
        let file = self.lab.borrow_mut().daemons().expect("it is Open vSwitch").path("conf.db");
        std::fs::read_to_string(file).unwrap()
    }

    fn our_flows(&self) -> Vec<String> {
        let shown = self.ofctl(&["dump-flows", "cookie=0xfb0e000000000000/0xffff000000000000"]);
        shown.lines().filter(|line| line.contains("cookie=")).map(str::to_owned).collect()
    }
}

impl Rig for Port {
    fn connect(&self) -> Box<dyn SliceExecutor> {
        Box::new(self.open(&self.port()).expect("the switch answers"))
    }

    fn view(&self) -> Box<dyn SliceView> {
        let port = self.port();
        Box::new(self.lab.borrow().switch().within(|| OvsView::connect(&port)).expect("the switch answers"))
    }

    fn everything(&self) -> String {
        let rows = self.database();
        let flows = self.ofctl(&["dump-flows"]);
        let counts = ["duration=", "n_packets=", "n_bytes=", "idle_age=", "hard_age="];
        let flows: Vec<&str> =
            flows.split(", ").filter(|part| !counts.iter().any(|count| part.starts_with(count))).collect();
        let lab = self.lab.borrow();
        let devices = [SINK_PORT, "source0", "source1"].map(|device| shown::everything(lab.switch(), device));
        format!("{rows}\n{flows:?}\n{}", devices.concat())
    }

    fn ports(&self) -> Vec<String> {
        vec!["source0".to_owned(), "source1".to_owned()]
    }

    fn disturb(&self, way: usize) -> bool {
        let of_slice = "external_ids:forebay-slice=0";
        let queue = || self.vsctl(&format!("--bare --columns=_uuid find queue {of_slice}")).trim().to_owned();
        match way {
            0 => {
                self.vsctl(&format!("set queue {} other_config:min-rate=1000000", queue()));
                // What somebody notes beside ours is theirs to note.
                self.vsctl(&format!("set qos {} external_ids:note=hello", self.qos()));
            }
            1 => drop(self.tc("class change dev sink parent 1:fffe classid 1:2 htb rate 1mbit ceil 10mbit prio 0")),
            2 => drop(self.tc("class change dev sink parent 1:fffe classid 1:3 htb rate 3mbit ceil 8mbit prio 4")),
            3 => drop(self.tc("filter del dev sink parent 1: protocol ip prio 63744")),
            4 => drop(self.ofctl(&["del-flows"])),
            5 => drop(self.ofctl(&["mod-flows", "in_port=2,actions=NORMAL"])),
            6 => drop(self.ofctl(&["add-flow", &format!("cookie={},priority=9,actions=NORMAL", self.cookie())])),
            7 => drop(self.tc("qdisc del dev sink root")),
            8 => drop(self.vsctl("clear port sink qos")),
            9 => drop(self.vsctl("set qos [] other_config:max-rate=5000000".replace("[]", &self.qos()).as_str())),
            10 => drop(self.vsctl(&format!("remove qos {} queues 1", self.qos()))),
            11 => drop(self.vsctl(&format!("remove queue {} external_ids forebay-slice", queue()))),
            12 => drop(self.lab.borrow().switch().run("ip", &["link", "set", "source0", "down"])),
            13 => drop(self.tc("class change dev sink parent 1: classid 1:fffe htb rate 5mbit ceil 5mbit")),
            14 => drop(
                self.tc("filter add dev sink parent 1: protocol ip prio 63744 u32 match ip src 10.9.9.9/32 flowid 1:2"),
            ),
            15 => drop(self.vsctl(&format!("remove qos {} queues 0", self.qos()))),
            16 => drop(self.tc("class change dev sink parent 1:fffe classid 1:1 htb rate 5mbit ceil 10mbit prio 0")),
            17 => drop(self.tc("class change dev sink parent 1: classid 1:fffe htb rate 1mbit ceil 10mbit")),
            18 => drop(self.lab.borrow().switch().run("ip", &["link", "set", "sink", "txqueuelen", "1000"])),
            19 => drop(self.vsctl(&format!("set queue {} dscp=46", queue()))),
            20 => {
                self.tc("filter del dev sink parent 1:");
                self.tc("class del dev sink classid 1:2");
                self.tc("class add dev sink parent 1: classid 1:2 htb rate 6mbit ceil 10mbit prio 0");
            }
            21 => {
                self.tc("filter del dev sink parent 1: protocol ip prio 63744");
                self.tc("filter add dev sink parent 1: protocol arp prio 63744 u32 match u32 0 0 flowid 1:2");
            }
            22 => {
                let flow = format!("cookie={},idle_timeout=600,priority=9,in_port=8,actions=NORMAL", self.cookie());
                self.ofctl(&["add-flow", &flow]);
            }
            _ => return false,
        }
        true
    }

    fn add_foreign(&self) {
        self.vsctl(
            "-- set port source1 qos=@q -- --id=@q create qos type=linux-htb other-config:max-rate=9000000 queues:1=@a \
             external_ids:owner=somebody -- --id=@a create queue other-config:min-rate=2000000 external_ids:owner=somebody",
        );
        self.vsctl("create queue other_config:max-rate=77000 external_ids:forebay-owner=other");
        self.ofctl(&["add-flow", "cookie=0x7,priority=7,in_port=9,actions=drop"]);
    }

    fn foreign_is_untouched(&self) -> bool {
        let on_port = self.vsctl("--bare --columns=other_config find qos external_ids:owner=somebody");
        let queue = self.vsctl("--bare --columns=other_config find queue external_ids:owner=somebody");
        let orphan = self.vsctl("--bare --columns=other_config find queue external_ids:forebay-owner=other");
        let flow = self.ofctl(&["dump-flows", "cookie=0x7/-1"]);
        on_port.trim() == "max-rate=9000000"
            && queue.trim() == "min-rate=2000000"
            && orphan.trim() == "max-rate=77000"
            && flow.contains("in_port=9 actions=drop")
            && self.tc("class show dev source1").contains("rate 2Mbit")
    }

    fn leftovers(&self) -> Vec<String> {
        let find =
            |table: &str| self.vsctl(&format!("--bare --columns=_uuid find {table} external_ids:forebay-owner=test"));
        let rows = [find("qos"), find("queue")].concat();
        let noted = self.vsctl("--bare --columns=external_ids list port sink");
        let classes = self.tc("class show dev sink");
        let length = self.lab.borrow().switch().run("cat", &["/sys/class/net/sink/tx_queue_len"]);
        let mut left: Vec<String> =
            rows.lines().chain(classes.lines()).chain(noted.lines()).map(str::to_owned).collect();
        left.retain(|line| !line.trim().is_empty());
        left.extend(self.our_flows());
        if length.trim() != "1000" {
            left.push(format!("txqueuelen {length}"));
        }
        left
    }

    fn independent_differences(&self, wanted: &LinkSlices) -> Vec<String> {
        let handle_of = |id: SliceId| format!("1:{:x}", id.0 + 2);
        let lab = self.lab.borrow();
        let mut found = shown::differences(lab.switch(), "sink", wanted, "1:fffe", handle_of);
        drop(lab);
        let flows = self.our_flows();
        for (name, port) in &wanted.ports {
            let dscp = wanted.slices[&port.slice].terms.dscp;
            for address in port.addresses.iter().filter(|address| address.is_ipv4()) {
                let own = format!("dl_src={},nw_src={address} actions=set_field:{dscp}->ip_dscp", port.mac);
                if flows.iter().filter(|flow| flow.contains(&own)).count() != 1 {
                    found.push(format!("port {name} has no flow {own}: {flows:#?}"));
                }
            }
        }
        let guarded =
            flows.iter().filter(|flow| flow.contains("priority=40000") && flow.ends_with("actions=drop")).count();
        if guarded != wanted.ports.len() {
            found.push(format!("{guarded} ports drop what is not theirs, of {}", wanted.ports.len()));
        }
        found
    }
}

impl Port {
    fn cookie(&self) -> String {
        let flows = self.our_flows();
        flows[0].trim().trim_start_matches("cookie=").split(',').next().expect("a cookie").to_owned()
    }

    fn qos(&self) -> String {
        self.vsctl("--bare --columns=qos list port sink").trim().to_owned()
    }
}

fn have_all() -> bool {
    have(&[needs(Switch::OpenVswitch), &["ovs-ofctl"]].concat())
}

#[test]
#[ignore = "needs root and Open vSwitch"]
fn a_port_of_open_vswitch_conforms() {
    if have_all() {
        conformance::conforms(&Port::new());
    }
}

#[test]
#[ignore = "needs root and Open vSwitch"]
fn a_switch_that_is_killed_is_mended() {
    if !have_all() {
        return;
    }
    let rig = Port::new();
    let wanted = slices(&rig, 1, &[(6, 10), (3, 8)]);
    let mut executor = rig.connect();
    executor.apply(&wanted, &mut Gate::open()).expect("it stands");
    let killed = |rig: &Port| {
        let mut lab = rig.lab.borrow_mut();
        let daemons = lab.daemons().expect("it is Open vSwitch");
        daemons.kill_forwarder();
    };
    killed(&rig);
    // While it is gone, what cannot be seen is an error, and not nothing.
    let error = executor.read().unwrap_err();
    println!("   while the switch is gone: {error}");
    rig.lab.borrow_mut().daemons().expect("it is Open vSwitch").start_forwarder();
    rig.vsctl("--timeout=30 list bridge");
    // It takes up its database anew; after that flows are gone.
    let writes = until_applied(&mut *executor, &wanted);
    println!("   mended by {writes} writes");
    assert!(writes > 0, "flows were gone");
    assert_eq!(rig.independent_differences(&wanted), Vec::<String>::new());
    executor.remove(&mut Gate::open()).expect("it goes");
    assert_eq!(rig.leftovers(), Vec::<String>::new());
}

/// Where a packet goes, told by the switch itself: the datapath's numbers of ports, none when it is dropped.
fn traced(rig: &Port, packet: &str) -> Vec<u32> {
    let control = rig.lab.borrow_mut().daemons().expect("it is Open vSwitch").path("forwarder.ctl");
    let told = run("ovs-appctl", &["-t", &control.display().to_string(), "ofproto/trace", BRIDGE, packet]);
    // What it does in the end: `Datapath actions: set(…),2,3`.
    let actions = told.lines().rfind(|line| line.starts_with("Datapath actions:")).expect("it says what it does");
    let depth = |before: &str| before.matches('(').count() - before.matches(')').count();
    let outermost = actions.match_indices(|c: char| c.is_ascii_digit()).filter(|(at, _)| depth(&actions[..*at]) == 0);
    let mut starts: Vec<usize> = outermost.map(|(at, _)| at).collect();
    starts.retain(|at| !actions[..*at].ends_with(|c: char| c.is_ascii_digit()));
    let number =
        |at: usize| actions[at..].split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
    starts.into_iter().filter_map(number).collect()
}

#[test]
#[ignore = "needs root and Open vSwitch"]
fn rules_let_a_port_say_what_is_its_own_and_nothing_else() {
    if !have(&[needs(Switch::OpenVswitch), &["ovs-ofctl", "ovs-appctl"]].concat()) {
        return;
    }
    let rig = Port::new();
    rig.connect().apply(&slices(&rig, 1, &[(6, 10), (3, 8)]), &mut Gate::open()).expect("it stands");
    // By OpenFlow the sink is port 1, source0 port 2 and in slice 0, source1 port 3 and in slice 1; the datapath, which has
    // the bridge itself as its first, has each one higher.
    let (mac, other) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
    let local = "fe80::ff:fe00:1";
    let beyond = "dl_dst=02:00:00:00:00:fe";
    let all = "dl_dst=ff:ff:ff:ff:ff:ff";
    let solicited = "dl_dst=33:33:ff:00:00:fe";
    let heard = [
        ("its own address", format!("udp,dl_src={mac},{beyond},nw_src=10.66.0.1,nw_dst=10.66.0.254")),
        ("its own address, IPv6", format!("udp6,dl_src={mac},{beyond},ipv6_src=fd66::1,ipv6_dst=fd66::fe")),
        ("who has …", format!("arp,dl_src={mac},{all},arp_spa=10.66.0.1,arp_sha={mac},arp_tpa=10.66.0.254,arp_op=1")),
        ("is it free", format!("arp,dl_src={mac},{all},arp_spa=0.0.0.0,arp_sha={mac},arp_tpa=10.66.0.1,arp_op=1")),
        ("DHCP", format!("udp,dl_src={mac},{all},nw_src=0.0.0.0,nw_dst=255.255.255.255,udp_src=68,udp_dst=67")),
        (
            "DHCPv6",
            format!(
                "udp6,dl_src={mac},dl_dst=33:33:00:01:00:02,ipv6_src={local},ipv6_dst=ff02::1:2,udp_src=546,udp_dst=547"
            ),
        ),
        (
            "who is …",
            format!(
                "icmp6,dl_src={mac},{solicited},ipv6_src=fd66::1,ipv6_dst=ff02::1:ff00:fe,icmpv6_type=135,icmpv6_code=0,nd_target=fd66::fe,nd_sll={mac}"
            ),
        ),
        (
            "I am",
            format!(
                "icmp6,dl_src={mac},{beyond},ipv6_src=fd66::1,ipv6_dst=fd66::fe,icmpv6_type=136,icmpv6_code=0,nd_target=fd66::1,nd_tll={mac}"
            ),
        ),
        (
            "I am, without its address",
            format!(
                "icmp6,dl_src={mac},{beyond},ipv6_src=fd66::1,ipv6_dst=fd66::fe,icmpv6_type=136,icmpv6_code=0,nd_target=fd66::1"
            ),
        ),
        (
            "any router",
            format!(
                "icmp6,dl_src={mac},dl_dst=33:33:00:00:00:02,ipv6_src={local},ipv6_dst=ff02::2,icmpv6_type=133,icmpv6_code=0"
            ),
        ),
    ];
    for (what, packet) in heard {
        assert_eq!(traced(&rig, &format!("in_port=2,{packet}")), [2], "{what}: {packet}");
    }
    let unheard = [
        ("under a tag", format!("dl_vlan=20,udp,dl_src={mac},{beyond},nw_src=10.66.0.1,nw_dst=10.66.0.254")),
        ("as another", format!("udp,dl_src={mac},{beyond},nw_src=10.66.0.2,nw_dst=10.66.0.254")),
        ("as another, IPv6", format!("udp6,dl_src={mac},{beyond},ipv6_src=fd66::2,ipv6_dst=fd66::fe")),
        ("from another link-layer address", format!("udp,dl_src={other},{beyond},nw_src=10.66.0.1,nw_dst=10.66.0.254")),
        (
            "in another's name",
            format!("arp,dl_src={mac},{all},arp_spa=10.66.0.2,arp_sha={mac},arp_tpa=10.66.0.254,arp_op=1"),
        ),
        (
            "I am another",
            format!(
                "icmp6,dl_src={mac},{beyond},ipv6_src=fd66::1,ipv6_dst=fd66::fe,icmpv6_type=136,icmpv6_code=0,nd_target=fd66::2,nd_tll={mac}"
            ),
        ),
        (
            "asked in another's name",
            format!(
                "icmp6,dl_src={mac},{solicited},ipv6_src=fd66::1,ipv6_dst=ff02::1:ff00:fe,icmpv6_type=135,icmpv6_code=0,nd_target=fd66::fe,nd_sll={other}"
            ),
        ),
        (
            "I am a router",
            format!(
                "icmp6,dl_src={mac},dl_dst=33:33:00:00:00:01,ipv6_src={local},ipv6_dst=ff02::1,icmpv6_type=134,icmpv6_code=0"
            ),
        ),
        (
            "go elsewhere",
            format!("icmp6,dl_src={mac},{beyond},ipv6_src=fd66::1,ipv6_dst=fd66::fe,icmpv6_type=137,icmpv6_code=0"),
        ),
        ("to another slice", format!("udp,dl_src={mac},dl_dst={other},nw_src=10.66.0.1,nw_dst=10.66.0.2")),
        ("no protocol of ours", format!("dl_type=0x88cc,dl_src={mac},dl_dst=01:80:c2:00:00:0e")),
    ];
    for (what, packet) in unheard {
        assert_eq!(traced(&rig, &format!("in_port=2,{packet}")), [0u32; 0], "{what}: {packet}");
    }
    // From beyond, what is a machine's comes to it alone; from the bridge's own port too.
    let back = format!("udp,dl_src=02:00:00:00:00:fe,dl_dst={mac},nw_src=10.66.0.254,nw_dst=10.66.0.1");
    assert_eq!(traced(&rig, &format!("in_port=1,{back}")), [3]);
    assert_eq!(traced(&rig, &format!("in_port=LOCAL,{back}")), [3]);
    rig.connect().remove(&mut Gate::open()).expect("it goes");
}

/// What an executor says again and again until it has applied, and how many writes that took.
fn until_applied(executor: &mut dyn SliceExecutor, wanted: &LinkSlices) -> u32 {
    for _ in 0..200 {
        match executor.apply(wanted, &mut Gate::open()) {
            Ok(applied) => return applied.writes,
            Err(error) => println!("   {error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("it is never applied");
}

#[test]
#[ignore = "needs root and Open vSwitch"]
fn a_database_that_is_killed_is_an_error_and_then_taken_up() {
    if !have_all() {
        return;
    }
    let rig = Port::new();
    let (wanted, next) = (slices(&rig, 1, &[(6, 10), (3, 8)]), slices(&rig, 2, &[(4, 9), (3, 8), (1, 10)]));
    let mut executor = rig.connect();
    executor.apply(&wanted, &mut Gate::open()).expect("it stands");
    rig.lab.borrow_mut().daemons().expect("it is Open vSwitch").kill_database();
    let error = executor.read().unwrap_err();
    println!("   while it is gone: {error}");
    assert!(matches!(error, SliceError::Ovsdb(_)), "{error:?}");
    assert!(executor.apply(&next, &mut Gate::open()).is_err());
    rig.lab.borrow_mut().daemons().expect("it is Open vSwitch").start_database();
    // The rows were on the disk: nothing is to do, by the same executor on a new connection, and under its lock again.
    assert_eq!(until_applied(&mut *executor, &wanted), 0);
    assert_eq!(rig.independent_differences(&wanted), Vec::<String>::new());
    let error = rig.connect().apply(&wanted, &mut Gate::open()).unwrap_err();
    assert!(matches!(error, SliceError::OtherWriter { .. }), "{error:?}");
    // And when both are killed, the switch begins anew from what is on the disk; flows come from us.
    rig.lab.borrow_mut().daemons().expect("it is Open vSwitch").kill_forwarder();
    rig.lab.borrow_mut().daemons().expect("it is Open vSwitch").kill_database();
    rig.lab.borrow_mut().daemons().expect("it is Open vSwitch").start_database();
    rig.lab.borrow_mut().daemons().expect("it is Open vSwitch").start_forwarder();
    assert!(until_applied(&mut *executor, &next) > 0);
    assert_eq!(rig.independent_differences(&next), Vec::<String>::new());
    executor.remove(&mut Gate::open()).expect("it goes");
    assert_eq!(rig.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root and Open vSwitch"]
fn what_is_not_there_is_said_with_what_is() {
    if !have_all() {
        return;
    }
    let rig = Port::new();
    let port = rig.port();
    let unknown = |port: OvsPort| rig.open(&port).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        unknown(OvsPort { bridge: "br9".to_owned(), ..port.clone() }),
        "there is no bridge \"br9\"; there are: br0"
    );
    let no_port = unknown(OvsPort { port: "p9".to_owned(), ..port.clone() });
    assert!(no_port.contains("there is no port \"p9\"") && no_port.contains("sink, source0, source1"), "{no_port}");
    let nobody = unknown(OvsPort { endpoint: Endpoint::Unix("/nowhere/db.sock".into()), ..port.clone() });
    assert!(nobody.contains("/nowhere/db.sock"), "{nobody}");
    // A QoS row of somebody's on the port stays where it is.
    rig.vsctl("-- set port sink qos=@q -- --id=@q create qos type=linux-htb other-config:max-rate=9000000");
    let error = rig.connect().apply(&slices(&rig, 1, &[(6, 10)]), &mut Gate::open()).unwrap_err();
    assert!(matches!(&error, SliceError::Foreign { what, .. } if what.contains("QoS row")), "{error}");
    assert!(rig.tc("class show dev sink").contains("rate 9Mbit"));
    assert_eq!(rig.connect().remove(&mut Gate::open()).unwrap().writes, 0);
    assert!(rig.tc("class show dev sink").contains("rate 9Mbit"));
    // Nor does a discipline at the root of the device go.
    rig.vsctl("clear port sink qos");
    rig.tc("qdisc add dev sink root handle 5: tbf rate 5mbit burst 10kb latency 50ms");
    let error = rig.connect().apply(&slices(&rig, 1, &[(6, 10)]), &mut Gate::open()).unwrap_err();
    assert!(matches!(&error, SliceError::Foreign { what, .. } if what.contains("tbf")), "{error}");
    assert!(rig.tc("qdisc show dev sink").contains("tbf 5:"));
    rig.tc("qdisc del dev sink root");
    // Another owner's port is not ours to write, nor to clear.
    let wanted = slices(&rig, 1, &[(6, 10), (3, 8)]);
    rig.connect().apply(&wanted, &mut Gate::open()).expect("it stands");
    let other = OvsPort { owner: "other".to_owned(), ..port.clone() };
    assert_eq!(rig.open(&other).unwrap().remove(&mut Gate::open()).unwrap().writes, 0);
    let error = rig.open(&other).unwrap().apply(&wanted, &mut Gate::open()).unwrap_err();
    assert!(matches!(&error, SliceError::Foreign { what, .. } if what.contains("of test")), "{error}");
    assert_eq!(rig.independent_differences(&wanted), Vec::<String>::new());
    rig.connect().remove(&mut Gate::open()).expect("it goes");
    // What cannot be done here is refused before anything is written.
    let refused = |edit: &dyn Fn(&mut LinkSlices)| {
        let mut wanted = slices(&rig, 2, &[(6, 10), (3, 8)]);
        edit(&mut wanted);
        let error = rig.connect().apply(&wanted, &mut Gate::open()).unwrap_err();
        assert!(matches!(error, SliceError::Contradiction { .. }), "{error:?}");
        assert_eq!(rig.leftovers(), Vec::<String>::new(), "{error}");
        error.to_string()
    };
    let moved = |wanted: &mut LinkSlices, name: &str| {
        let port = wanted.ports.remove("source0").expect("it is there");
        wanted.ports.insert(name.to_owned(), port);
    };
    assert!(refused(&|wanted| moved(wanted, "sink")).contains("no machine's"));
    assert!(refused(&|wanted| moved(wanted, BRIDGE)).contains("no machine's"));
    assert!(refused(&|wanted| wanted.capacity = BitsPerSecond(40_000_000_000)).contains("Open vSwitch holds"));
    assert!(
        refused(&|wanted| {
            let port = wanted.ports.get_mut("source0").expect("it is there");
            port.addresses.insert("::ffff:10.66.0.9".parse().expect("an address"));
        })
        .contains("which is 10.66.0.9")
    );
    rig.vsctl("set port source0 tag=10");
    assert!(refused(&|_| ()).contains("VLAN"));
    rig.vsctl("clear port source0 tag");
    rig.vsctl("del-fail-mode br0");
    assert!(refused(&|_| ()).contains("set-fail-mode br0 secure"));
    rig.vsctl("set-fail-mode br0 secure");
    // Small links, and sources that are ports as well, come to stand.
    let mut small = slices(&rig, 3, &[(0, 10)]);
    small.capacity = BitsPerSecond(8_000);
    small.slices.get_mut(&SliceId(0)).expect("it is there").terms.ceiling = BitsPerSecond(8_000);
    rig.connect().apply(&small, &mut Gate::open()).expect("it stands");
    let mut twice = slices(&rig, 4, &[(6, 10), (3, 8)]);
    let hosts = ["10.66.0.1/32", "::102:304/128", "10.0.0.0/8"]
        .map(|text| text.parse::<forebay_adapters::Prefix>().expect("a network"));
    twice.slices.get_mut(&SliceId(0)).expect("it is there").sources.extend(hosts);
    twice.slices.get_mut(&SliceId(1)).expect("it is there").sources.insert("10.1.0.0/16".parse().expect("one"));
    rig.connect().apply(&twice, &mut Gate::open()).expect("it stands");
    let told = rig.ofctl(&["dump-flows", "ip,nw_src=10.1.0.0/16"]);
    assert!(told.contains("priority=29016"), "the longer prefix goes first: {told}");
    rig.connect().remove(&mut Gate::open()).expect("it goes");
    // A port that is not on the bridge cannot be guarded, and nothing is half done.
    let mut wanted = slices(&rig, 5, &[(6, 10)]);
    let stray = wanted.ports["source0"].clone();
    wanted.ports.clear();
    wanted.ports.insert("nowhere".to_owned(), stray);
    let error = rig.connect().apply(&wanted, &mut Gate::open()).unwrap_err();
    assert!(matches!(&error, SliceError::Unknown { kind: "port", .. }), "{error}");
    assert_eq!(rig.leftovers(), Vec::<String>::new());
}
