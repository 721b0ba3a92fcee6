//! What the kernel makes of our requests, with `tc` and `ip` as independent readers and writers.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_adapters::Prefix;
use forebay_adapters::netlink::{
    Filter, Handle, HtbClass, Link, Match, Netlink, NetlinkError, Operation, Protocol, Qdisc, QdiscKind, Request,
    Statistics, Write,
};
use forebay_world::BitsPerSecond;
use rustix::net::sockopt::{set_ip_tos, set_ipv6_tclass};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde_json::Value;

use super::lab::{Namespace, have};

const ROOT: Handle = Handle::new(1, 0);
const WHOLE: Handle = Handle::new(1, 1);

fn class(parent: Handle, minor: u16, mbit: u64, ceil_mbit: u64) -> HtbClass {
    let rate = |mbit: u64| BitsPerSecond(mbit * 1_000_000);
    HtbClass::new(parent, Handle::new(1, minor), rate(mbit), rate(ceil_mbit))
}

fn from_network(text: &str) -> Match {
    Match::Source(text.parse::<Prefix>().unwrap())
}

/// A namespace with a veth pair, its client, and the device.
fn pair() -> (Namespace, Netlink, Link) {
    let namespace = Namespace::new("pair");
    namespace.run("ip", &["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
    let mut netlink = namespace.netlink();
    let link = netlink.link("v0").unwrap();
    (namespace, netlink, link)
}

fn send(netlink: &mut Netlink, requests: &[Result<Request, NetlinkError>]) {
    let requests: Vec<Request> = requests.iter().map(|request| request.as_ref().unwrap().clone()).collect();
    for outcome in netlink.send_all(&requests).unwrap() {
        outcome.unwrap();
    }
}

fn json(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

/// The lines of `tc -s -d class show` about a class.
fn shown_class(text: &str, handle: &str) -> String {
    let start = text.find(&format!("class htb {handle} ")).unwrap_or_else(|| panic!("no class {handle}: {text}"));
    let rest = &text[start..];
    rest[..rest[1..].find("class htb ").map_or(rest.len(), |at| at + 1)].to_owned()
}

#[test]
#[ignore = "needs root and iproute2"]
fn tc_reads_disciplines_and_classes_as_they_were_written_and_so_do_we() {
    if !have(&[]) {
        return;
    }
    let (namespace, mut netlink, link) = pair();
    netlink.send(&Request::set_queue_packets(&link, 20)).unwrap();
    let classes = [
        class(ROOT, 1, 10, 10),
        class(WHOLE, 0x10, 6, 10).with_priority(1),
        HtbClass { quantum_bytes: 7000, ..class(WHOLE, 0xabc, 3, 10).with_priority(7) },
        // Beyond what 32 bits of bytes per second hold.
        class(ROOT, 0x20, 40_000, 100_000),
    ];
    let leaf = Qdisc::pfifo(Handle::new(1, 0x10), 0x10, 50);
    let mut requests = vec![Request::qdisc(Write::Add, &link, &Qdisc::htb(1, 0xabc))];
    requests.extend(classes.iter().map(|class| Request::class(Write::Add, &link, class)));
    requests.push(Request::qdisc(Write::Add, &link, &leaf));
    send(&mut netlink, &requests);

    let text = namespace.run("tc", &["-s", "-d", "class", "show", "dev", "v0"]);
    println!("{text}");
    let check = |handle: &str, words: &[&str]| {
        let shown = shown_class(&text, handle);
        words.iter().for_each(|word| assert!(shown.contains(word), "{word:?} is not in {shown}"));
    };
    check("1:1", &["root", "rate 10Mbit ceil 10Mbit", "linklayer ethernet"]);
    check("1:10", &["parent 1:1 leaf 10:", "prio 1 quantum 75000 rate 6Mbit ceil 10Mbit", "burst 6399b"]);
    check("1:abc", &["parent 1:1", "prio 7 quantum 7000 rate 3Mbit ceil 10Mbit"]);
    check("1:20", &["quantum 200000 rate 40Gbit ceil 100Gbit"]);
    let qdiscs = json(&namespace.run("tc", &["-j", "qdisc", "show", "dev", "v0"]));
    let htb = qdiscs.iter().find(|qdisc| qdisc["kind"] == "htb").unwrap();
    assert_eq!((&htb["handle"], &htb["options"]["default"]), (&"1:".into(), &"0xabc".into()));
    assert_eq!(htb["options"]["direct_qlen"], 20, "taken over from the device");
    let pfifo = qdiscs.iter().find(|qdisc| qdisc["kind"] == "pfifo").unwrap();
    assert_eq!((&pfifo["parent"], &pfifo["options"]["limit"]), (&"1:10".into(), &50.into()));

    let mut seen = netlink.classes(&link).unwrap();
    seen.sort_by_key(|seen| classes.iter().position(|class| class.handle == seen.class.handle));
    assert_eq!(seen.iter().map(|seen| seen.class).collect::<Vec<_>>(), classes);
    assert_eq!(seen[1].leaf, leaf.handle);
    let seen = netlink.qdiscs(&link).unwrap();
    let QdiscKind::Htb(root) = &seen[0].qdisc.kind else { panic!("{seen:?}") };
    assert_eq!((seen[0].qdisc.handle, root.default_minor, root.direct_packets), (ROOT, 0xabc, Some(20)));
    assert!(seen.iter().any(|seen| seen.qdisc == leaf), "{seen:?}");

    // And what tc writes, we read.
    namespace.run(
        "tc",
        &[
            "class", "change", "dev", "v0", "parent", "1:1", "classid", "1:10", "htb", "rate", "5mbit", "ceil",
            "9mbit", "prio", "3", "quantum", "3000", "burst", "20000", "cburst", "22500",
        ],
    );
    let seen = netlink.classes(&link).unwrap();
    let changed = seen.iter().find(|seen| seen.class.handle == Handle::new(1, 0x10)).unwrap().class;
    assert_eq!((changed.rate(), changed.ceil()), (BitsPerSecond(5_000_000), BitsPerSecond(9_000_000)));
    assert_eq!((changed.priority, changed.quantum_bytes), (3, 3000));
    assert_eq!((changed.burst.bytes(625_000), changed.ceil_burst.bytes(1_125_000)), (20_000, 22_500));

    netlink.send(&Request::delete_qdisc(&link, Handle::ROOT, ROOT)).unwrap();
    assert_eq!(netlink.classes(&link).unwrap(), []);
    assert!(!namespace.run("tc", &["qdisc", "show", "dev", "v0"]).contains("htb"));
}

#[test]
#[ignore = "needs root and iproute2"]
fn tc_reads_filters_as_they_were_written_and_so_do_we() {
    if !have(&[]) {
        return;
    }
    let (namespace, mut netlink, link) = pair();
    let slice = Handle::new(1, 0x10);
    let filter = |preference, matches| Filter { parent: ROOT, preference, matches, class: slice };
    // One preference a protocol.
    let filters = [
        filter(100, from_network("10.66.0.0/24")),
        filter(100, from_network("203.0.113.7")),
        filter(100, from_network("0.0.0.0/0")),
        filter(101, from_network("fd66::/64")),
        filter(101, from_network("2001:db8::1")),
        filter(101, from_network("::/0")),
        filter(102, Match::Dscp(Protocol::V4, 46)),
        filter(103, Match::Dscp(Protocol::V6, 46)),
    ];
    let mut requests = vec![
        Request::qdisc(Write::Add, &link, &Qdisc::htb(1, 0x10)),
        Request::class(Write::Add, &link, &class(ROOT, 0x10, 6, 10)),
    ];
    requests.extend(filters.iter().map(|filter| Request::add_filter(&link, filter)));
    send(&mut netlink, &requests);
    let text = namespace.run("tc", &["filter", "show", "dev", "v0", "parent", "1:"]);
    println!("{text}");
    for word in [
        "protocol ip pref 100 u32",
        "flowid 1:10",
        "match 0a420000/ffffff00 at 12",
        "match cb007107/ffffffff at 12",
        "match 00000000/00000000 at 12",
        "protocol ipv6 pref 101 u32",
        "match fd660000/ffffffff at 8\n  match 00000000/ffffffff at 12\nfilter",
        "match 00000001/ffffffff at 20",
        "protocol ip pref 102 u32",
        // 46 << 2 in the second byte, and across the first and the second.
        "match 00b80000/00fc0000 at 0",
        "protocol ipv6 pref 103 u32",
        "match 0b800000/0fc00000 at 0",
    ] {
        assert!(text.contains(word), "{word:?} is not there");
    }
    // What tc writes with words of its own, we read as the same.
    namespace.run(
        "tc",
        &[
            "filter",
            "add",
            "dev",
            "v0",
            "parent",
            "1:",
            "protocol",
            "ip",
            "prio",
            "200",
            "u32",
            "match",
            "ip",
            "src",
            "192.0.2.0/24",
            "flowid",
            "1:10",
        ],
    );
    namespace.run(
        "tc",
        &[
            "filter", "add", "dev", "v0", "parent", "1:", "protocol", "ip", "prio", "200", "u32", "match", "ip",
            "dsfield", "0xb8", "0xfc", "flowid", "1:10",
        ],
    );
    namespace.run(
        "tc",
        &[
            "filter",
            "add",
            "dev",
            "v0",
            "parent",
            "1:",
            "protocol",
            "ip",
            "prio",
            "200",
            "u32",
            "match",
            "ip",
            "dst",
            "192.0.2.0/24",
            "flowid",
            "1:10",
        ],
    );
    let mut want: Vec<Option<Filter>> = filters.iter().map(|filter| Some(*filter)).collect();
    want.extend([
        Some(filter(200, from_network("192.0.2.0/24"))),
        Some(filter(200, Match::Dscp(Protocol::V4, 46))),
        None,
    ]);
    let seen = netlink.filters(&link, ROOT).unwrap();
    assert_eq!(seen.iter().map(|seen| seen.as_filter()).collect::<Vec<_>>(), want);

    // One goes, then all of a preference; others' stay.
    netlink.send(&Request::delete_filter(&link, &seen[1])).unwrap();
    netlink.send(&Request::delete_filters(&link, ROOT, 101, Protocol::V6)).unwrap();
    let left: Vec<u16> = netlink.filters(&link, ROOT).unwrap().iter().map(|seen| seen.preference).collect();
    assert_eq!(left, [100, 100, 102, 103, 200, 200, 200]);
    let text = namespace.run("tc", &["filter", "show", "dev", "v0", "parent", "1:"]);
    assert!(!text.contains("cb007107") && !text.contains("pref 101") && text.contains("c0000200"), "{text}");
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_change_keeps_counters_and_waiting_packets() {
    if !have(&[]) {
        return;
    }
    let (namespace, mut netlink, link) = pair();
    // With it the kernel would send packets of its own.
    namespace.within(|| std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap());
    for (device, address) in [("v0", "10.66.1.1/24"), ("v1", "10.66.2.1/24")] {
        namespace.run("ip", &["address", "add", address, "dev", device]);
        namespace.run("ip", &["link", "set", device, "up"]);
    }
    let neighbour = ["neighbour", "add", "10.66.1.2", "lladdr", "02:00:00:00:00:01", "dev", "v0"];
    namespace.run("ip", &neighbour);
    // A second's worth of two frames: what is sent waits.
    let slow = HtbClass::new(ROOT, Handle::new(1, 0x10), BitsPerSecond(24_000), BitsPerSecond(24_000));
    let leaf = Qdisc::pfifo(slow.handle, 0x10, 60);
    send(
        &mut netlink,
        &[
            Request::qdisc(Write::Add, &link, &Qdisc::htb(1, 0x10)),
            Request::class(Write::Add, &link, &slow),
            Request::qdisc(Write::Add, &link, &leaf),
        ],
    );
    namespace.within(|| {
        let socket = UdpSocket::bind("10.66.1.1:0").unwrap();
        for _ in 0..100 {
            let _ = socket.send_to(&[0; 1400], "10.66.1.2:9");
        }
    });
    let mut counters = || netlink.classes(&link).unwrap()[0].statistics;
    let before = counters();
    assert!(before.packets > 0 && before.backlog_packets > 40 && before.drops > 20, "{before:?}");
    assert!(before.backlog_bytes > 40 * 1400 && before.overlimits > 0, "{before:?}");
    // tc agrees; what has left the queue since then made no more drops.
    let text = namespace.run("tc", &["-s", "class", "show", "dev", "v0"]);
    assert!(text.contains(&format!("dropped {}", before.drops)), "{before:?} {text}");
    let changed =
        HtbClass { priority: 3, ..HtbClass::new(ROOT, slow.handle, BitsPerSecond(25_000), BitsPerSecond(26_000)) };
    netlink.send(&Request::class(Write::Change, &link, &changed).unwrap()).unwrap();
    netlink.send(&Request::class(Write::Put, &link, &changed).unwrap()).unwrap();
    let seen = netlink.classes(&link).unwrap()[0];
    assert_eq!(seen.class, changed);
    let after = seen.statistics;
    assert!(after.bytes >= before.bytes && after.packets >= before.packets && after.drops >= before.drops);
    // What left the queue was sent.
    let sent = after.packets - before.packets;
    assert_eq!(after.backlog_packets + sent, before.backlog_packets, "{before:?} {after:?}");
    // Made anew, it begins at nothing.
    netlink.send(&Request::delete_class(&link, slow.handle)).unwrap();
    netlink.send(&Request::class(Write::Add, &link, &changed).unwrap()).unwrap();
    assert_eq!(netlink.classes(&link).unwrap()[0].statistics, Statistics::default());
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_hundred_slices_go_in_one_batch() {
    if !have(&[]) {
        return;
    }
    let (namespace, mut netlink, link) = pair();
    send(
        &mut netlink,
        &[
            Request::qdisc(Write::Add, &link, &Qdisc::htb(1, 0xfff)),
            Request::class(Write::Add, &link, &class(ROOT, 1, 1000, 1000)),
        ],
    );
    let slices = 0x10_u16..0x10 + 100;
    let classes: Vec<HtbClass> = slices.clone().map(|minor| class(WHOLE, minor, 5, 1000)).collect();
    let filters: Vec<Filter> = slices
        .clone()
        .map(|minor| Filter {
            parent: ROOT,
            preference: 100,
            matches: from_network(&format!("10.{}.0.0/16", minor)),
            class: Handle::new(1, minor),
        })
        .collect();
    let mut requests: Vec<Request> =
        classes.iter().map(|class| Request::class(Write::Add, &link, class).unwrap()).collect();
    requests.extend(filters.iter().map(|filter| Request::add_filter(&link, filter).unwrap()));
    let begun = Instant::now();
    let outcomes = netlink.send_all(&requests).unwrap();
    println!("100 classes and 100 filters in {:?}", begun.elapsed());
    outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    let begun = Instant::now();
    let (seen, sorted) = (netlink.classes(&link).unwrap(), netlink.filters(&link, ROOT).unwrap());
    println!("read back in {:?}", begun.elapsed());
    assert_eq!(sorted.iter().map(|seen| seen.as_filter().unwrap()).collect::<Vec<_>>(), filters);
    let mut leaves: Vec<HtbClass> = seen.iter().map(|seen| seen.class).filter(|class| class.parent == WHOLE).collect();
    leaves.sort_by_key(|class| class.handle);
    assert_eq!(leaves, classes);
    let text = namespace.run("tc", &["class", "show", "dev", "v0"]);
    assert_eq!(text.matches("rate 5Mbit ceil 1Gbit").count(), 100, "{text}");
    let text = namespace.run("tc", &["filter", "show", "dev", "v0", "parent", "1:"]);
    assert_eq!(text.matches("flowid 1:").count(), 100, "{text}");

    // The same again: each is refused by itself, and what is new among them is made.
    requests.truncate(100);
    requests.insert(50, Request::class(Write::Add, &link, &class(WHOLE, 0x200, 5, 10)).unwrap());
    let outcomes = netlink.send_all(&requests).unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes[50].is_ok());
    assert!(outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(NetlinkError::is_present_already));

    // A class with a filter on it stays until the filter is gone.
    let refused = netlink.send(&Request::delete_class(&link, Handle::new(1, 0x10))).unwrap_err();
    println!("{refused}");
    netlink.send(&Request::delete_filters(&link, ROOT, 100, Protocol::V4)).unwrap();
    let deletions: Vec<Request> = slices.map(|minor| Request::delete_class(&link, Handle::new(1, minor))).collect();
    netlink.send_all(&deletions).unwrap().into_iter().for_each(|outcome| outcome.unwrap());
    assert_eq!(netlink.classes(&link).unwrap().len(), 2);
    assert_eq!(netlink.filters(&link, ROOT).unwrap(), []);
}

#[test]
#[ignore = "needs root and iproute2"]
fn refusals_name_the_object_and_the_reason() {
    if !have(&[]) {
        return;
    }
    let (namespace, mut netlink, link) = pair();
    let check = |result: Result<(), NetlinkError>, words: &[&str]| {
        let text = result.unwrap_err().to_string();
        println!("{text}");
        words.iter().for_each(|word| assert!(text.contains(word), "{word:?} is not in {text}"));
    };
    check(netlink.link("nothere").map(drop), &["nothere: no such device"]);
    check(netlink.link("a name that is too long").map(drop), &["no such device"]);
    let slice = class(ROOT, 0x10, 6, 10);
    check(netlink.send(&Request::class(Write::Add, &link, &slice).unwrap()), &["class 1:10 of v0"]);
    send(&mut netlink, &[Request::qdisc(Write::Add, &link, &Qdisc::htb(1, 0x10))]);
    let again = Request::qdisc(Write::Add, &link, &Qdisc::htb(1, 0x10)).unwrap();
    check(netlink.send(&again), &["qdisc htb 1: of v0", "File exists"]);
    // The kernel has no way to change an HTB discipline.
    let put = Request::qdisc(Write::Put, &link, &Qdisc::htb(1, 0x11)).unwrap();
    check(netlink.send(&put), &["Change operation not supported by specified qdisc"]);
    let absent = netlink.send(&Request::class(Write::Change, &link, &slice).unwrap()).unwrap_err();
    assert!(absent.is_absent(), "{absent}");
    let absent = netlink.send(&Request::delete_class(&link, Handle::new(1, 0x99))).unwrap_err();
    assert!(absent.is_absent(), "{absent}");
    // A parent that is not there the kernel takes for none, without a word: what was read back tells.
    let orphan = HtbClass { parent: Handle::new(1, 0x77), ..slice };
    send(&mut netlink, &[Request::class(Write::Add, &link, &orphan)]);
    assert_eq!(netlink.classes(&link).unwrap()[0].class, slice);
    check(Request::class(Write::Add, &link, &HtbClass { parent: Handle::ROOT, ..slice }).map(drop), &["of the same"]);
    // One protocol a preference.
    let filter = |preference, matches| Filter { parent: ROOT, preference, matches, class: slice.handle };
    let v6 = Request::add_filter(&link, &filter(100, from_network("fd66::/64"))).unwrap();
    send(&mut netlink, &[Request::add_filter(&link, &filter(100, from_network("10.0.0.0/8")))]);
    check(netlink.send(&v6), &["filter of preference 100 into 1:10 of v0"]);
    let invalid = Request::class(Write::Add, &link, &slice.with_priority(9)).map(drop);
    check(invalid, &["class 1:10 of v0", "allowed: 0 to 7"]);
    let invalid = Request::add_filter(&link, &filter(0, from_network("10.0.0.0/8"))).map(drop);
    check(invalid, &["allowed: 1 to 65535"]);
    let other = Qdisc { kind: QdiscKind::Other("netem".to_owned()), ..Qdisc::htb(1, 1) };
    check(Request::qdisc(Write::Add, &link, &other).map(drop), &["netem", "allowed: htb, pfifo"]);

    // Without the capability, in a thread of its own that gives it up.
    let refused = namespace.within(|| {
        let mut all = capabilities(None).unwrap();
        all.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, all).unwrap();
        let mut netlink = Netlink::open().unwrap();
        assert_eq!(netlink.link("v0").unwrap(), link, "reading is anybody's right");
        netlink.send(&Request::set_up(&link, true))
    });
    check(refused, &["v0: not permitted", "CAP_NET_ADMIN"]);

    // A device that has gone is not one without classes.
    namespace.run("ip", &["link", "del", "v0"]);
    for gone in
        [netlink.classes(&link).map(drop), netlink.qdiscs(&link).map(drop), netlink.filters(&link, ROOT).map(drop)]
    {
        check(gone, &["v0: no such device"]);
    }
    let gone = netlink.send(&Request::class(Write::Add, &link, &slice).unwrap()).unwrap_err();
    assert!(matches!(gone, NetlinkError::NoSuchDevice { .. }), "{gone}");
}

#[test]
#[ignore = "needs root and iproute2"]
fn links_are_read_as_ip_reads_them() {
    if !have(&[]) {
        return;
    }
    let (namespace, mut netlink, _) = pair();
    namespace.run("ip", &["link", "add", "br0", "mtu", "1400", "type", "bridge"]);
    namespace.run("ip", &["link", "set", "v0", "alias", "towards the sink", "mtu", "9000"]);
    for name in ["v0", "v1"] {
        let link = netlink.link(name).unwrap();
        netlink.send(&Request::set_up(&link, true)).unwrap();
    }
    let link = netlink.link("v1").unwrap();
    netlink.send(&Request::set_queue_packets(&link, 7)).unwrap();
    // The kernel says later that packets pass.
    let begun = Instant::now();
    while ["v0", "v1"].iter().any(|name| netlink.link(name).unwrap().operation != Operation::Up) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", netlink.links());
        std::thread::sleep(Duration::from_millis(10));
    }
    let links = netlink.links().unwrap();
    let read = json(&namespace.run("ip", &["-j", "-d", "link", "show"]));
    assert_eq!(links.len(), read.len());
    for (link, read) in links.iter().zip(&read) {
        println!("{link:?}");
        let flags: Vec<&str> = read["flags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let operation = match read["operstate"].as_str().unwrap() {
            "UP" => Operation::Up,
            "UNKNOWN" => Operation::Unknown,
            _ => Operation::Down,
        };
        let want = Link {
            name: read["ifname"].as_str().unwrap().to_owned(),
            index: read["ifindex"].as_u64().unwrap() as u32,
            mtu_bytes: read["mtu"].as_u64().unwrap() as u32,
            is_up: flags.contains(&"UP"),
            operation,
            queue_packets: read["txqlen"].as_u64().unwrap() as u32,
            kind: read["linkinfo"]["info_kind"].as_str().map(str::to_owned),
            alias: read["ifalias"].as_str().map(str::to_owned),
        };
        assert_eq!(*link, want);
        assert_eq!(netlink.link(&link.name).unwrap(), want);
    }
    let v1 = netlink.link("v1").unwrap();
    assert_eq!((v1.is_up, v1.operation, v1.queue_packets), (true, Operation::Up, 7));
    assert_eq!(netlink.link("v0").unwrap().alias.as_deref(), Some("towards the sink"));
    netlink.send(&Request::set_up(&v1, false)).unwrap();
    assert!(!netlink.link("v1").unwrap().is_up);
}

#[test]
#[ignore = "needs root and iproute2"]
fn marked_packets_go_into_their_class() {
    if !have(&[]) {
        return;
    }
    let (namespace, mut netlink, link) = pair();
    for (device, v4, v6) in [("v0", "10.66.1.1/24", "fd66:1::1/64"), ("v1", "10.66.2.1/24", "fd66:2::1/64")] {
        namespace.run("ip", &["address", "add", v4, "dev", device]);
        namespace.run("ip", &["address", "add", v6, "dev", device, "nodad"]);
        namespace.run("ip", &["link", "set", device, "up"]);
    }
    for there in ["10.66.1.2", "fd66:1::2"] {
        namespace.run("ip", &["neighbour", "add", there, "lladdr", "02:00:00:00:00:01", "dev", "v0"]);
    }
    let [marked_v4, marked_v6, from_v6] = [0x10, 0x11, 0x12].map(|minor| Handle::new(1, minor));
    let filter = |preference, matches, class| Filter { parent: ROOT, preference, matches, class };
    let mut requests = vec![Request::qdisc(Write::Add, &link, &Qdisc::htb(1, 2))];
    for minor in [2, 0x10, 0x11, 0x12] {
        requests.push(Request::class(Write::Add, &link, &class(ROOT, minor, 10, 10)));
    }
    let filters = [
        filter(1, Match::Dscp(Protocol::V4, 46), marked_v4),
        filter(2, Match::Dscp(Protocol::V6, 46), marked_v6),
        filter(3, from_network("fd66:1::/64"), from_v6),
    ];
    requests.extend(filters.iter().map(|filter| Request::add_filter(&link, filter)));
    send(&mut netlink, &requests);
    // Datagrams by mark, the two bits of congestion notification set as well: they are no part of it.
    let sent = [(46, 20), (45, 5), (0, 7)];
    namespace.within(|| {
        for (from, to) in [("10.66.1.1:0", "10.66.1.2:9"), ("[fd66:1::1]:0", "[fd66:1::2]:9")] {
            for (dscp, count) in sent {
                let socket = UdpSocket::bind(from).unwrap();
                if from.starts_with('[') {
                    set_ipv6_tclass(&socket, dscp << 2 | 1).unwrap();
                } else {
                    set_ip_tos(&socket, (dscp << 2 | 1) as u8).unwrap();
                }
                for _ in 0..count {
                    socket.send_to(&[0; 100], to).unwrap();
                }
            }
        }
    });
    let seen = netlink.classes(&link).unwrap();
    let packets = |handle| seen.iter().find(|seen| seen.class.handle == handle).unwrap().statistics.packets;
    assert_eq!([marked_v4, marked_v6, from_v6].map(packets), [20, 20, 12], "{seen:?}");
    // The rest of IPv4, and what the kernel says by itself.
    assert!(packets(Handle::new(1, 2)) >= 12, "{seen:?}");
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_list_misses_nothing_while_others_write() {
    if !have(&[]) {
        return;
    }
    let (namespace, mut netlink, link) = pair();
    let lasting: Vec<HtbClass> = (0x1000..0x1000 + 200).map(|minor| class(ROOT, minor, 1, 10)).collect();
    let mut requests = vec![Request::qdisc(Write::Add, &link, &Qdisc::htb(1, 2))];
    requests.extend(lasting.iter().map(|class| Request::class(Write::Add, &link, class)));
    send(&mut netlink, &requests);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut other = namespace.netlink();
        let (stop, link) = (&stop, &link);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for minor in 0x100..0x120 {
                    send(&mut other, &[Request::class(Write::Add, link, &class(ROOT, minor, 1, 10))]);
                }
                for minor in 0x100..0x120 {
                    send(&mut other, &[Ok(Request::delete_class(link, Handle::new(1, minor)))]);
                }
                // Time enough for a list now and then.
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let (mut whole, mut disturbed) = (0, 0);
            while whole < 200 {
                let seen = match netlink.classes(link) {
                    Ok(seen) => seen,
                    // Said, not hidden.
                    Err(NetlinkError::Interrupted { .. }) => {
                        disturbed += 1;
                        assert!(disturbed < 100_000, "only {whole} lists were whole");
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                };
                whole += 1;
                let mut seen: Vec<HtbClass> = seen.iter().map(|seen| seen.class).collect();
                seen.retain(|class| class.handle.minor >= 0x1000);
                seen.sort_by_key(|class| class.handle);
                assert_eq!(seen.len(), lasting.len(), "list {whole}");
                assert_eq!(seen, lasting);
            }
            println!("{whole} whole lists, {disturbed} given up");
        }));
        stop.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}
