//! Who may send as whom, who hears whom, and with which mark: real packets through a real Open vSwitch.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_adapters::prefix::Prefix;
use forebay_adapters::slices::{Gate, LinkSlices, Slice};
use forebay_world::{PlannedSlice, SliceId};
use rustix::net::sockopt::{set_ip_tos, set_ipv6_tclass, set_socket_broadcast};

use super::capture::{Capture, What};
use super::lab::{Lab, Namespace, SINK_PORT, Switch, have, needs, run, source_port};
use super::sliced::{executor, forward_by_itself, slices, terms};

/// How long nothing must arrive until nothing more will.
const QUIET: Duration = Duration::from_millis(300);
/// Datagrams of each trial.
const DATAGRAMS: usize = 5;
const LINK: f64 = 10.0;
/// Marks of slices 0, 1 and 2.
const MARKS: [u8; 3] = [34, 10, 46];
const EXPEDITED: u8 = 46;

fn have_all() -> bool {
    have(&[needs(Switch::OpenVswitch), &["ovs-ofctl", "ping"]].concat())
}

/// Sources in these slices, each kept to its own addresses.
fn machines(lab: &Lab, generation: u64, slice_of: &[usize]) -> LinkSlices {
    let count = 1 + slice_of.iter().max().copied().unwrap_or(0);
    let terms: Vec<PlannedSlice> = (0..slice_of.len()).map(|_| terms(1.0, LINK)).collect();
    let mut wanted = slices(lab, Switch::OpenVswitch, generation, LINK, &terms);
    wanted.slices.retain(|id, _| id.index() < count);
    for (id, slice) in &mut wanted.slices {
        slice.terms.dscp = MARKS[id.index()];
    }
    for (number, slice) in slice_of.iter().enumerate() {
        wanted.ports.get_mut(&source_port(number)).expect("a port for each").slice = SliceId::at(*slice);
    }
    wanted
}

/// Sends datagrams with this text; whether the network lets them go is not the sender's to know.
fn send(namespace: &Namespace, from: IpAddr, to: IpAddr, text: &str, class: u8) {
    let socket = namespace.within(|| UdpSocket::bind(SocketAddr::new(from, 0)).unwrap());
    set_socket_broadcast(&socket, true).unwrap();
    match from {
        IpAddr::V4(_) => set_ip_tos(&socket, class).unwrap(),
        IpAddr::V6(_) => set_ipv6_tclass(&socket, u32::from(class)).unwrap(),
    }
    let to = match to {
        // Groups need an interface: the second of the namespace, after its loopback.
        IpAddr::V6(group) if group.is_multicast() => {
            SocketAddr::V6(std::net::SocketAddrV6::new(group, 9, 0, interface(namespace)))
        }
        to => SocketAddr::new(to, 9),
    };
    for _ in 0..DATAGRAMS {
        let _ = socket.send_to(text.as_bytes(), to);
    }
}

fn interface(namespace: &Namespace) -> u32 {
    namespace.run("cat", &["/sys/class/net/eth0/ifindex"]).trim().parse().unwrap()
}

/// Makes a namespace know its neighbours without asking: that nothing arrives is then not for want of an answer.
fn introduce(lab: &Lab, namespace: &Namespace, sources: usize) {
    let mut neighbours = vec![(lab.sink_mac(), lab.sink_address(false)), (lab.sink_mac(), lab.sink_address(true))];
    for number in 0..sources {
        neighbours.extend([false, true].map(|v6| (lab.source_mac(number), lab.source_address(number, v6))));
    }
    for (mac, address) in neighbours {
        let (mac, address) = (mac.to_string(), address.to_string());
        namespace.run("ip", &["neigh", "replace", &address, "lladdr", &mac, "dev", "eth0", "nud", "permanent"]);
    }
}

/// A way to pretend to be somebody else.
struct Pretence {
    name: &'static str,
    before: &'static [&'static str],
    after: &'static [&'static str],
    from: &'static str,
}

const PRETENCES: [Pretence; 4] = [
    Pretence {
        name: "IPv4 address of another",
        before: &["address", "add", "10.66.0.2/32", "dev", "eth0"],
        after: &["address", "del", "10.66.0.2/32", "dev", "eth0"],
        from: "10.66.0.2",
    },
    Pretence {
        name: "IPv4 address of nobody",
        before: &["address", "add", "10.66.0.77/32", "dev", "eth0"],
        after: &["address", "del", "10.66.0.77/32", "dev", "eth0"],
        from: "10.66.0.77",
    },
    Pretence {
        name: "IPv6 address of another",
        before: &["address", "add", "fd66::2/128", "dev", "eth0", "nodad"],
        after: &["address", "del", "fd66::2/128", "dev", "eth0"],
        from: "fd66::2",
    },
    Pretence {
        name: "link-layer address of another",
        before: &["link", "set", "eth0", "address", "02:00:00:00:00:02"],
        after: &["link", "set", "eth0", "address", "02:00:00:00:00:01"],
        from: "10.66.0.1",
    },
];

/// What the sink hears of source 0 as itself and under each pretence: frames by name.
fn pretend(lab: &Lab, sink: &Capture, round: &str) -> Vec<(String, usize)> {
    let liar = lab.source(0);
    let mut heard = Vec::new();
    let mut trial = |name: &str, from: IpAddr| {
        introduce(lab, liar, 2);
        let text = format!("{round}, {name}");
        send(liar, from, lab.sink_address(from.is_ipv6()), &text, 0);
        heard.push((name.to_owned(), sink.heard(&text, QUIET).len()));
    };
    for v6 in [false, true] {
        trial(if v6 { "itself, IPv6" } else { "itself, IPv4" }, lab.source_address(0, v6));
    }
    for pretence in &PRETENCES {
        liar.run("ip", pretence.before);
        trial(pretence.name, pretence.from.parse().unwrap());
        liar.run("ip", pretence.after);
    }
    heard
}

#[test]
#[ignore = "needs root and Open vSwitch"]
fn who_sends_as_another_is_not_heard() {
    if !have_all() {
        return;
    }
    let lab = Lab::new(2, Switch::OpenVswitch);
    let sink = Capture::on(lab.sink(), lab.sink_mac());
    // Without rules everybody is heard as whoever he says he is.
    let before = pretend(&lab, &sink, "before");
    assert!(before.iter().all(|(_, heard)| *heard == DATAGRAMS), "{before:?}");
    let mut executor = executor(&lab);
    executor.apply(&machines(&lab, 1, &[0, 1]), &mut Gate::open()).unwrap();
    let after = pretend(&lab, &sink, "after");
    println!("{after:?}");
    let (itself, pretended) = after.split_at(2);
    assert!(itself.iter().all(|(_, heard)| *heard == DATAGRAMS), "{after:?}");
    assert!(pretended.iter().all(|(_, heard)| *heard == 0), "{after:?}");

    // Nor does anybody hear who has another's address ask for his neighbours.
    let asks = |lab: &Lab| {
        let liar = lab.source(0);
        liar.run("ip", &["neigh", "flush", "dev", "eth0", "nud", "all"]);
        liar.run("ip", PRETENCES[0].before);
        send(liar, "10.66.0.2".parse().unwrap(), lab.sink_address(false), "who are you", 0);
        let frames = sink.frames(Duration::from_millis(1500));
        liar.run("ip", PRETENCES[0].after);
        let asked = What::Arp { source: "10.66.0.2".parse().unwrap() };
        frames.iter().filter(|frame| frame.from == lab.source_mac(0) && frame.what == asked).count()
    };
    assert_eq!(asks(&lab), 0);
    executor.remove(&mut Gate::open()).unwrap();
    forward_by_itself(&lab);
    assert!(asks(&lab) > 0, "and without rules everybody does");
}

#[test]
#[ignore = "needs root and Open vSwitch"]
fn slices_do_not_hear_each_other() {
    if !have_all() {
        return;
    }
    let lab = Lab::new(3, Switch::OpenVswitch);
    for number in 0..3 {
        introduce(&lab, lab.source(number), 3);
    }
    introduce(&lab, lab.sink(), 3);
    let hosts: Vec<(String, &Namespace, Capture)> = (0..4)
        .map(|at| match at {
            3 => ("sink".to_owned(), lab.sink(), Capture::on(lab.sink(), lab.sink_mac())),
            n => (format!("source{n}"), lab.source(n), Capture::on(lab.source(n), lab.source_mac(n))),
        })
        .collect();
    let address = |at: usize, v6: bool| if at == 3 { lab.sink_address(v6) } else { lab.source_address(at, v6) };
    // How much of what a host sends to another, or to all, each hears who hears of it.
    let heard = |from: usize, to: IpAddr, text: &str| -> Vec<(&str, usize)> {
        send(hosts[from].1, address(from, to.is_ipv6()), to, text, 0);
        let counts: Vec<usize> = std::thread::scope(|scope| {
            let listen = |capture| scope.spawn(move || Capture::heard(capture, text, QUIET).len());
            let all: Vec<_> = hosts.iter().map(|(_, _, capture)| listen(capture)).collect();
            all.into_iter().map(|listener| listener.join().unwrap()).collect()
        });
        let names = hosts.iter().map(|(name, _, _)| name.as_str());
        names.zip(counts).filter(|(_, count)| *count > 0).collect()
    };
    // Who hears it, of those who should not miss any.
    let hearers = |from: usize, to: IpAddr, text: &str| -> Vec<&str> {
        let heard = heard(from, to, text);
        assert!(heard.iter().all(|(_, count)| *count == DATAGRAMS), "{text}: {heard:?}");
        heard.into_iter().map(|(name, _)| name).collect()
    };
    let broadcast: IpAddr = "10.66.0.255".parse().unwrap();
    let all_nodes: IpAddr = "ff02::1".parse().unwrap();
    // Without rules a switch knows no slices. Until it has learnt where a host is, the others hear some of it too.
    assert!(heard(0, address(2, false), "before").contains(&("source2", DATAGRAMS)));
    assert_eq!(hearers(0, broadcast, "before, to all"), ["source1", "source2", "sink"]);

    let mut executor = executor(&lab);
    executor.apply(&machines(&lab, 1, &[0, 0, 1]), &mut Gate::open()).unwrap();
    for v6 in [false, true] {
        let to_all = if v6 { all_nodes } else { broadcast };
        let text = |what: &str| format!("{what}, {}", if v6 { "IPv6" } else { "IPv4" });
        assert_eq!(hearers(0, address(1, v6), &text("own slice")), ["source1"]);
        assert_eq!(hearers(0, address(3, v6), &text("uplink")), ["sink"]);
        assert_eq!(hearers(0, address(2, v6), &text("other slice")), [""; 0]);
        assert_eq!(hearers(2, address(0, v6), &text("other slice, other way")), [""; 0]);
        assert_eq!(hearers(0, to_all, &text("to all of slice 0")), ["source1", "sink"]);
        assert_eq!(hearers(2, to_all, &text("to all of slice 1")), ["sink"]);
        for (to, (name, _, _)) in hosts[..3].iter().enumerate() {
            assert_eq!(hearers(3, address(to, v6), &text(&format!("from the uplink to {name}"))), [name]);
        }
        assert_eq!(hearers(3, to_all, &text("from the uplink to all")), ["source0", "source1", "source2"]);
    }

    // Neighbours find each other by themselves where they may.
    for (_, namespace, _) in &hosts {
        namespace.run("ip", &["neigh", "flush", "dev", "eth0", "nud", "permanent"]);
        namespace.run("ip", &["-6", "neigh", "flush", "dev", "eth0", "nud", "permanent"]);
    }
    let answers = |from: usize, to: usize, v6: bool| {
        let (to, host) = (address(to, v6).to_string(), hosts[from].1);
        let shell = format!("ping -c 1 -W 2 {to} >/dev/null && echo answers || echo silent");
        host.run("sh", &["-c", &shell]).trim() == "answers"
    };
    for v6 in [false, true] {
        for (from, to) in [(0, 1), (1, 0), (0, 3), (2, 3), (3, 0), (3, 2)] {
            assert!(answers(from, to, v6), "{} gets no answer from {}", hosts[from].0, hosts[to].0);
        }
        for (from, to) in [(0, 2), (2, 0), (1, 2)] {
            assert!(!answers(from, to, v6), "{} gets an answer from {}", hosts[from].0, hosts[to].0);
        }
    }
}

#[test]
#[ignore = "needs root and Open vSwitch"]
fn a_port_comes_up_only_after_its_rules_stand() {
    if !have_all() {
        return;
    }
    let lab = Lab::new(2, Switch::OpenVswitch);
    let wanted = machines(&lab, 1, &[0, 1]);
    for number in 0..2 {
        lab.switch().run("ip", &["link", "set", &source_port(number), "down"]);
        introduce(&lab, lab.source(number), 2);
    }
    let liar = lab.source(0);
    liar.run("ip", PRETENCES[0].before);
    let sink = Capture::on(lab.sink(), lab.sink_mac());
    let mut executor = executor(&lab);
    let target = format!("unix:{}", lab.path("br0.mgmt").unwrap().display());
    let switch = lab.switch().name().to_owned();
    // Looks, before each write, which ports are up and which drop what is not theirs.
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let looks = Arc::clone(&seen);
    let mut gate = Gate::asking(move |write| {
        let flows = run("ovs-ofctl", &["-O", "OpenFlow14", "dump-flows", &target]);
        let guarded = flows.lines().filter(|flow| flow.contains("priority=40000") && flow.ends_with("drop")).count();
        let up = (0..2).filter(|number| {
            let path = format!("/sys/class/net/{}/flags", source_port(*number));
            let flags = run("ip", &["netns", "exec", &switch, "cat", &path]);
            u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).unwrap() & 1 == 1
        });
        looks.lock().unwrap().push(format!("{guarded} guarded, {} up before: {write}", up.count()));
        true
    });
    // All the while its machine tries to send as another, and as itself.
    let (done, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let socket = |from: &str| liar.within(|| UdpSocket::bind((from, 0)).unwrap());
    let sockets = [(socket("10.66.0.2"), "as another"), (socket("10.66.0.1"), "as itself")];
    let to = SocketAddr::new(lab.sink_address(false), 9);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for (socket, text) in &sockets {
                    let gone = socket.send_to(text.as_bytes(), to).is_ok();
                    sent.fetch_add(usize::from(gone && *text == "as another"), Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        std::thread::sleep(Duration::from_millis(50));
        executor.apply(&wanted, &mut gate).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::Relaxed);
    });
    let seen = seen.lock().unwrap().clone();
    println!("{seen:#?}");
    let raised: Vec<&String> =
        seen.iter().filter(|line| line.contains("port source") && line.ends_with(" up")).collect();
    assert_eq!(raised.len(), 2, "{seen:?}");
    assert!(raised.iter().all(|line| line.starts_with("2 guarded")), "{seen:?}");
    assert!(seen.iter().take_while(|line| !line.ends_with(" up")).all(|line| line.contains(" 0 up ")), "{seen:?}");
    let frames = sink.frames(QUIET);
    let heard = |text: &str| frames.iter().filter(|frame| frame.carries(text)).count();
    println!(
        "{} sent as another: {} heard; as itself: {} heard",
        sent.into_inner(),
        heard("as another"),
        heard("as itself")
    );
    assert_eq!(heard("as another"), 0);
    assert!(heard("as itself") > 0, "the port is up");
    assert!(lab.switch().run("ip", &["link", "show", SINK_PORT]).contains("UP"));
}

#[test]
#[ignore = "needs root and Open vSwitch"]
fn packets_carry_the_mark_of_their_slice() {
    if !have_all() {
        return;
    }
    let lab = Lab::new(4, Switch::OpenVswitch);
    for number in 0..4 {
        introduce(&lab, lab.source(number), 4);
    }
    let sink = Capture::on(lab.sink(), lab.sink_mac());
    let marks = |sink: &Capture, round: &str| -> Vec<(usize, bool, u8, u8)> {
        let mut found = Vec::new();
        for (number, v6) in (0..4).flat_map(|number| [(number, false), (number, true)]) {
            // Its own mark, which nobody asked for, and a bit of congestion's, which is its own affair.
            let text = format!("{round}: {number}, {v6}");
            let from = lab.source_address(number, v6);
            send(lab.source(number), from, lab.sink_address(v6), &text, EXPEDITED << 2 | 2);
            let frames = sink.heard(&text, QUIET);
            assert_eq!(frames.len(), DATAGRAMS, "{text}");
            for frame in frames {
                let What::Packet { source, dscp, ecn } = frame.what else { panic!("{frame:?}") };
                assert_eq!(source, from);
                found.push((number, v6, dscp, ecn));
            }
        }
        found.dedup();
        found
    };
    let expected = |of: [u8; 4]| -> Vec<(usize, bool, u8, u8)> {
        (0..4).flat_map(|number| [false, true].map(|v6| (number, v6, of[number], 2))).collect()
    };
    assert_eq!(marks(&sink, "no rules"), expected([EXPEDITED; 4]));
    let mut executor = executor(&lab);
    // Two by their ports; two, which no rule guards, by where their packets come from: one of a network, and one of an
    // address in it, which is another slice's. Where both match, the longer prefix is meant.
    let mut wanted = machines(&lab, 1, &[0, 1, 1, 1]);
    let prefix = |address: IpAddr, (v4, v6)| Prefix::new(address, if address.is_ipv4() { v4 } else { v6 }).unwrap();
    let by_source = [(2, (24, 64), 8), (3, (32, 128), 50)];
    for (number, length, dscp) in by_source {
        wanted.ports.remove(&source_port(number));
        let sources = [false, true].map(|v6| prefix(lab.source_address(number, v6), length));
        let terms = PlannedSlice { dscp, ..terms(1.0, LINK) };
        wanted.slices.insert(SliceId::at(number), Slice { terms, sources: sources.into() });
    }
    executor.apply(&wanted, &mut Gate::open()).unwrap();
    assert_eq!(marks(&sink, "first plan"), expected([MARKS[0], MARKS[1], 8, 50]));
    wanted.generation.0 += 1;
    wanted.slices.get_mut(&SliceId(0)).unwrap().terms.dscp = 12;
    executor.apply(&wanted, &mut Gate::open()).unwrap();
    assert_eq!(marks(&sink, "second plan"), expected([12, MARKS[1], 8, 50]));
}
