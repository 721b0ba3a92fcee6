//! Our own server: the suite, dig and kdig as readers, a resolver in front of it, and load.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_adapters::steering::responder::{
    RateLimit, RegionOf, Responder, ResponderExecutor, ResponderOptions, ResponderView, SubZone,
};
use forebay_adapters::steering::{SteeringError, SteeringExecutor, SteeringView};
use forebay_adapters::{Gate, Prefix};

use super::conformance::{self, Rig, answers};
use super::servers::{Ground, have, said, search_path};

struct Ours {
    probe: Ground,
    responder: RefCell<Option<Responder>>,
    rate_limit: Option<RateLimit>,
}

const AMS: &str = "198.18.0.0/24";

impl Ours {
    fn start(rate_limit: Option<RateLimit>) -> Ours {
        let rig = Ours { probe: Ground::new("true"), responder: RefCell::new(None), rate_limit };
        rig.start_again();
        rig
    }

    fn state(&self) -> PathBuf {
        self.probe.path("state")
    }

    fn options(&self) -> ResponderOptions {
        let address = ("127.0.0.1", self.probe.port);
        let region_of: RegionOf = Arc::new(|network: Prefix| {
            AMS.parse::<Prefix>().unwrap().contains(network.address()).then(|| "ams".to_owned())
        });
        ResponderOptions {
            zone: SubZone {
                name: "cdn.test".parse().unwrap(),
                name_servers: [("ns.cdn.test".parse().unwrap(), vec!["127.0.0.1".parse().unwrap()])].into(),
                hostmaster: "admin.cdn.test".parse().unwrap(),
                negative_ttl_seconds: 20,
            },
            udp: vec![UdpSocket::bind(address).unwrap()],
            tcp: vec![TcpListener::bind(address).unwrap()],
            regions: Some((region_of, BTreeSet::from(["ams".to_owned()]))),
            state: Some(self.state()),
            rate_limit: self.rate_limit,
        }
    }

    fn start_again(&self) {
        *self.responder.borrow_mut() = Some(Responder::start(self.options()).unwrap());
    }

    /// Stops it, changes its file, and starts it.
    fn edit(&self, change: impl Fn(&str) -> String) {
        self.responder.borrow_mut().take();
        let text = fs::read_to_string(self.state()).unwrap();
        fs::write(self.state(), change(&text)).unwrap();
        self.start_again();
    }

    fn executor(&self) -> ResponderExecutor {
        ResponderExecutor::new(self.responder.borrow().as_ref().unwrap())
    }
}

impl Rig for Ours {
    fn connect(&self) -> Box<dyn SteeringExecutor> {
        Box::new(self.executor())
    }

    fn view(&self) -> Box<dyn SteeringView> {
        Box::new(ResponderView::new(self.responder.borrow().as_ref().unwrap()))
    }

    fn everything(&self) -> String {
        let written = fs::metadata(self.state()).and_then(|about| about.modified()).ok();
        format!("{written:?} {}", fs::read_to_string(self.state()).unwrap_or_default())
    }

    fn connect_with_wrong_key(&self) -> Option<Box<dyn SteeringExecutor>> {
        None
    }

    fn zone(&self) -> &'static str {
        "cdn.test"
    }

    fn foreign_name(&self) -> Option<&'static str> {
        Some("ns")
    }

    fn disturb(&self, way: usize) -> bool {
        match way {
            0 => self.edit(|text| text.replace("192.0.2.11=", "192.0.2.66=")),
            1 => self.edit(|text| {
                text.lines().filter(|line| !line.starts_with("video")).map(|line| format!("{line}\n")).collect()
            }),
            _ => return false,
        }
        true
    }

    fn foreign(&self) -> String {
        self.probe.dig(&["ns.cdn.test", "A"]) + &self.probe.dig(&["cdn.test", "NS"])
    }

    fn leftovers(&self) -> Vec<String> {
        let text = fs::read_to_string(self.state()).unwrap_or_default();
        let kept = text.lines().skip(1).map(str::to_owned);
        let names = ["video", "live", "web"].map(|name| self.probe.dig(&[&format!("{name}.cdn.test"), "ANY"]));
        kept.chain(names.into_iter().filter(|said| !said.is_empty())).collect()
    }

    fn ask(&self, name: &str, v6: bool, client: Option<Prefix>) -> Option<(Vec<IpAddr>, u32)> {
        Some(self.probe.ask(name, v6, client, 1))
    }

    fn regions(&self) -> BTreeMap<String, Prefix> {
        [("ams".to_owned(), AMS.parse().unwrap())].into()
    }

    fn while_stopped(&self, _run: &mut dyn FnMut()) -> bool {
        false
    }
}

#[test]
#[ignore = "needs bind9-dnsutils"]
fn it_conforms() {
    if have(&[]) {
        conformance::conforms(&Ours::start(None));
    }
}

#[test]
fn what_is_kept_is_answered_after_a_restart_and_can_be_taken_back() {
    let rig = Ours::start(None);
    let (first, second) = (answers(&rig, 1, &[("video", [1, 1, 1, 1])]), answers(&rig, 2, &[("video", [0, 0, 1, 1])]));
    rig.executor().apply(&first, &mut Gate::open()).unwrap();
    let mut executor = rig.executor();
    executor.apply(&second, &mut Gate::open()).unwrap();
    let stood = executor.read().unwrap();
    rig.edit(str::to_owned);
    // What has ended answers nobody, and says so.
    assert!(matches!(executor.read().unwrap_err(), SteeringError::Unreachable { .. }));
    assert_eq!(rig.executor().read().unwrap(), stood);
    rig.executor().rollback(&mut Gate::open()).unwrap();
    let standing = rig.executor().read().unwrap();
    let can = rig.executor().capabilities();
    assert_eq!(first.differences(&can, &standing).unwrap(), Vec::<String>::new());
    // Two do not keep their state in one file, and damage is said with its line.
    let other = Ours { probe: Ground::new("true"), responder: RefCell::new(None), rate_limit: None };
    let options = ResponderOptions { state: Some(rig.state()), ..other.options() };
    assert!(matches!(Responder::start(options).err().unwrap(), SteeringError::OtherWriter { .. }));
    rig.responder.borrow_mut().take();
    fs::write(rig.state(), "forebay-steering 1 cdn.test\nvideo.cdn.test\twhat is this\n").unwrap();
    let error = Responder::start(rig.options()).err().unwrap().to_string();
    assert!(error.contains("state:2: ") && error.contains("hint"), "{error}");
}

#[test]
fn no_query_is_dropped_while_answers_change() {
    let rig = Ours::start(None);
    rig.executor().apply(&answers(&rig, 1, &[("video", [1, 1, 1, 1])]), &mut Gate::open()).unwrap();
    let (over, port) = (AtomicBool::new(false), rig.probe.port);
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(("127.0.0.1", port)).unwrap();
            socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            let query = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x05video\x03cdn\x04test\0\0\x01\0\x01";
            let (mut asked, mut buffer) = (0, [0; 512]);
            while !over.load(Ordering::Relaxed) {
                socket.send(query).unwrap();
                let length = socket.recv(&mut buffer).expect("every query is answered");
                assert!(length > query.len() && buffer[3] & 15 == 0 && buffer[7] == 1);
                asked += 1;
            }
            asked
        });
        let mut executor = rig.executor();
        for generation in 2..30 {
            let weights = [generation as u32, 1, 1, 1];
            executor.apply(&answers(&rig, generation, &[("video", weights)]), &mut Gate::open()).unwrap();
        }
        over.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    assert!(asked > 28, "{asked}");
}

#[test]
#[ignore = "needs bind9-dnsutils and knot-dnsutils"]
fn others_understand_what_it_says() {
    if !have(&["kdig"]) {
        return;
    }
    let rig = Ours::start(None);
    rig.executor().apply(&answers(&rig, 1, &[("video", [1, 1, 1, 1])]), &mut Gate::open()).unwrap();
    let port = rig.probe.port.to_string();
    let run = |program: &str, arguments: &[&str]| {
        said(Command::new(program).args(["@127.0.0.1", "-p", &port]).args(arguments))
    };
    let kdig = run("kdig", &["video.cdn.test", "A", "+subnet=203.0.113.0/24"]);
    assert!(kdig.contains("CLIENT-SUBNET: 203.0.113.0/24/24") && kdig.contains("aa"), "{kdig}");
    let dig = run("dig", &["none.cdn.test", "A"]);
    assert!(dig.contains("status: NXDOMAIN") && dig.contains("SOA"), "{dig}");
    assert!(run("dig", &["video.cdn.test", "ANY", "+tcp"]).contains("RFC8482"));
    assert!(run("dig", &["video.cdn.test", "A", "+edns=3", "+noednsneg"]).contains("BADVERS"));
    assert!(run("dig", &["other.test", "A"]).contains("REFUSED"));
    assert!(run("dig", &["cdn.test", "AXFR"]).contains("failed"));
    let tcp = run("kdig", &["+tcp", "+short", "video.cdn.test", "A", "video.cdn.test", "AAAA"]);
    assert!(tcp.contains("192.0.2.") && tcp.contains("2001:db8::11"), "{tcp}");
    println!("{:?}", rig.responder.borrow().as_ref().unwrap().counters());
}

#[test]
#[ignore = "needs unbound and bind9-dnsutils"]
fn a_resolver_in_front_of_it_keeps_networks_apart() {
    if !have(&["unbound"]) {
        return;
    }
    let rig = Ours::start(None);
    rig.executor().apply(&answers(&rig, 1, &[("video", [1, 0, 0, 0])]), &mut Gate::open()).unwrap();
    let mut ground = Ground::new("unbound");
    let configuration = ground.write(
        "unbound.conf",
        &"server:\n  interface: 127.0.0.1@@PORT@\n  outgoing-interface: 127.0.0.1\n  username: \"\"\n  chroot: \"\"\n  directory: \"@RUN@\"\n\
          \x20 pidfile: \"@RUN@/unbound.pid\"\n  use-syslog: no\n  do-not-query-localhost: no\n  module-config: \"subnetcache iterator\"\n\
          \x20 send-client-subnet: 127.0.0.1\n  client-subnet-always-forward: yes\n  max-client-subnet-ipv4: 24\n\
          \x20 local-zone: \"test.\" nodefault\n  local-data: \"www.cdn.test. 20 IN A 192.0.2.200\"\n\
          stub-zone:\n  name: \"cdn.test\"\n  stub-addr: 127.0.0.1@OURS\nremote-control:\n  control-enable: no\n"
            .replace("OURS", &rig.probe.port.to_string()),
    );
    ground.start(&["-d", "-c", configuration.to_str().unwrap()]);
    let port = ground.port.to_string();
    let ask = |client: &str| {
        let subnet = format!("+subnet={client}");
        said(Command::new("dig").args(["@127.0.0.1", "-p", &port, "+short", "video.cdn.test", "A", &subnet]))
    };
    for _ in 0..3 {
        // The first is the only one for others, the last the only one for clients of the region.
        assert_eq!((ask("203.0.113.0/24").trim(), ask(AMS).trim()), ("192.0.2.11", "192.0.2.14"));
    }
    let counters = rig.responder.borrow().as_ref().unwrap().counters();
    println!("{counters:?}");
    assert!(counters.with_subnet >= 2, "{counters:?}");
}

#[test]
fn who_asks_too_much_is_limited_and_answered_by_tcp() {
    let rig = Ours::start(Some(RateLimit { answers_per_second: 1, burst_seconds: 5 }));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", rig.probe.port)).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let query = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x03cdn\x04test\0\0\x06\0\x01";
    let (mut whole, mut cut) = (0, 0);
    for _ in 0..100 {
        socket.send(query).unwrap();
    }
    let mut buffer = [0; 512];
    while socket.recv(&mut buffer).is_ok() {
        if buffer[2] & 2 == 2 { cut += 1 } else { whole += 1 }
    }
    let counters = rig.responder.borrow().as_ref().unwrap().counters();
    assert!((5..50).contains(&whole) && cut > 20 && counters.limited > 20, "{whole} {cut} {counters:?}");
}

#[test]
#[ignore = "needs dnsperf"]
fn load_is_answered() {
    if !have(&["dnsperf"]) {
        return;
    }
    let rig = Ours::start(None);
    rig.executor().apply(&answers(&rig, 1, &[("video", [4, 3, 2, 1])]), &mut Gate::open()).unwrap();
    let queries = rig.probe.write("queries", "video.cdn.test A\nvideo.cdn.test AAAA\nnone.cdn.test A\n");
    let port = rig.probe.port.to_string();
    let arguments = ["-s", "127.0.0.1", "-p", &port, "-l", "5", "-T", "1", "-c", "4", "-E", "8:00011800cb0071"];
    let mut command = Command::new("dnsperf");
    let text = said(command.env("PATH", search_path()).args(arguments).arg("-d").arg(queries));
    let figure = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or(&text).trim().to_owned();
    println!("   {}\n   {}\n   {}", figure("Queries sent"), figure("Queries lost"), figure("Queries per second"));
    assert!(
        figure("Queries completed").contains("(100.00%)") || figure("Queries completed").contains("(99."),
        "{text}"
    );
    println!("   {:?}", rig.responder.borrow().as_ref().unwrap().counters());
}
