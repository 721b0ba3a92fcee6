//! What traffic gets of a link whose queues we have written: the guarantee of a slice under another's flood.

use forebay_adapters::netlink::{Filter, Handle, HtbClass, Match, Netlink, Qdisc, Request, Write};
use forebay_world::BitsPerSecond;

use super::lab::{BRIDGE, Lab, SINK_PORT, Switch, have, needs};
use super::traffic::{Load, Received, measure};

const ROOT: Handle = Handle::new(1, 0);
const WHOLE: Handle = Handle::new(1, 1);
const OTHERS: Handle = Handle::new(1, 2);
const A: Handle = Handle::new(1, 0x10);
const B: Handle = Handle::new(1, 0x11);

/// The link and its slices, in Mbit/s: a scale that a busy machine keeps up with.
const LINK: f64 = 10.0;
const GUARANTEE_A: f64 = 6.0;
const GUARANTEE_B: f64 = 3.0;
const FLOOD: f64 = 30.0;
const SECONDS: u64 = 4;

fn mbit(rate: f64) -> BitsPerSecond {
    BitsPerSecond::from_f64(rate * 1e6)
}

/// Makes the slices on the sink's port: source 0 in A, source 1 in B, what is neither in a class that gets what is left.
fn slice(netlink: &mut Netlink) {
    let link = netlink.link(SINK_PORT).unwrap();
    netlink.send(&Request::set_queue_packets(&link, 10)).unwrap();
    let class = |parent, handle, rate| HtbClass::new(parent, handle, mbit(rate), mbit(LINK));
    let mut requests = vec![
        Request::qdisc(Write::Put, &link, &Qdisc::htb(1, OTHERS.minor)).unwrap(),
        Request::class(Write::Put, &link, &class(ROOT, WHOLE, LINK)).unwrap(),
    ];
    for (handle, rate, priority) in [(OTHERS, 0.1, 7), (A, GUARANTEE_A, 1), (B, GUARANTEE_B, 5)] {
        let class = class(WHOLE, handle, rate).with_priority(priority);
        requests.push(Request::class(Write::Put, &link, &class).unwrap());
        requests.push(Request::qdisc(Write::Put, &link, &Qdisc::pfifo(handle, handle.minor + 0x100, 50)).unwrap());
    }
    for (number, class) in [(1, A), (2, B)] {
        for (preference, source) in [(100, format!("10.66.0.{number}")), (101, format!("fd66::{number}"))] {
            let filter = Filter { parent: ROOT, preference, matches: Match::Source(source.parse().unwrap()), class };
            requests.push(Request::add_filter(&link, &filter).unwrap());
        }
    }
    netlink.send_all(&requests).unwrap().into_iter().for_each(|outcome| outcome.unwrap());
}

/// Measures, and once more when the figures do not suffice: a busy machine may keep senders from sending.
fn suffices(lab: &Lab, what: &str, loads: &[Load], enough: impl Fn(&[Received]) -> bool) {
    let mut figures = Vec::new();
    for attempt in ["", " again"] {
        figures = measure(lab, loads, SECONDS);
        let text: Vec<String> = figures.iter().map(Received::to_string).collect();
        println!("{what}{attempt}: {}", text.join("; "));
        if enough(&figures) {
            return;
        }
    }
    panic!("{what}: {figures:?}");
}

#[test]
#[ignore = "needs root, iproute2 and ethtool"]
fn a_guarantee_holds_under_a_flood_and_what_is_left_is_not_wasted() {
    if !have(needs(Switch::Bridge)) {
        return;
    }
    let lab = Lab::new(2, Switch::Bridge);
    let mut netlink = lab.switch().netlink();
    let flood = [Load::udp(0, GUARANTEE_A), Load::udp(1, FLOOD)];
    // Without slices both arrive whole: the limit is ours.
    suffices(&lab, "no slices", &flood, |got| got[1].mean >= 0.8 * FLOOD);
    slice(&mut netlink);
    // The first run after a change has once read low.
    measure(&lab, &flood, 2);
    let holds = |got: &[Received]| got[0].mean >= 0.95 * GUARANTEE_A && got[1].mean <= LINK - got[0].mean + 0.1;
    suffices(&lab, "A offers its guarantee, B floods", &flood, holds);
    let over_v6 = flood.map(Load::over_v6);
    suffices(&lab, "the same over IPv6", &over_v6, holds);
    suffices(&lab, "A is one connection, B floods", &[Load::tcp(0, 1), flood[1]], holds);
    let work_conserving = |got: &[Received]| got[0].mean >= 0.9 * LINK && got[0].mean <= LINK;
    suffices(&lab, "B alone", &[flood[1]], work_conserving);

    let link = netlink.link(SINK_PORT).unwrap();
    for seen in netlink.classes(&link).unwrap() {
        println!("{} {:?}", seen.class.handle, seen.statistics);
        let is_slice = [A, B].contains(&seen.class.handle);
        assert!(!is_slice || seen.statistics.bytes > 1_000_000, "{seen:?}");
        // What no filter matched is no load: neighbours being asked for.
        assert!(seen.class.handle != OTHERS || seen.statistics.bytes < 10_000, "{seen:?}");
    }
}

#[test]
#[ignore = "needs root, iproute2, ethtool and openvswitch-switch"]
fn the_same_queues_hold_behind_open_vswitch_as_long_as_it_lets_them() {
    if !have(needs(Switch::OpenVswitch)) {
        return;
    }
    let mut lab = Lab::new(2, Switch::OpenVswitch);
    let mut netlink = lab.switch().netlink();
    let link = netlink.link(SINK_PORT).unwrap();
    let flood = [Load::udp(0, GUARANTEE_A), Load::udp(1, FLOOD)];
    let holds = |got: &[Received]| got[0].mean >= 0.95 * GUARANTEE_A && got[1].mean <= LINK - got[0].mean + 0.1;
    let queues = |netlink: &mut Netlink| {
        let classes: Vec<HtbClass> = netlink.classes(&link).unwrap().iter().map(|seen| seen.class).collect();
        (classes, netlink.filters(&link, ROOT).unwrap())
    };
    // Does what a crash and a new start of the daemon that forwards would, and waits until it has taken up its work.
    let restart = |lab: &mut Lab| {
        let daemons = lab.daemons().unwrap();
        daemons.kill_forwarder();
        daemons.start_forwarder();
        daemons.vsctl(&["set", "bridge", BRIDGE, "external_ids:again=yes"]);
    };
    slice(&mut netlink);
    assert_eq!(queues(&mut netlink).0.len(), 4);
    // A port without a word about its queues has none, in the eyes of a daemon that starts.
    restart(&mut lab);
    assert_eq!(queues(&mut netlink), (vec![], vec![]));

    lab.daemons().unwrap().vsctl(&[
        "set",
        "port",
        SINK_PORT,
        "qos=@q",
        "--",
        "--id=@q",
        "create",
        "qos",
        "type=linux-noop",
    ]);
    slice(&mut netlink);
    let before = queues(&mut netlink);
    assert_eq!((before.0.len(), before.1.len()), (4, 4));
    measure(&lab, &flood, 2);
    suffices(&lab, "A offers its guarantee, B floods, Open vSwitch", &flood, holds);
    restart(&mut lab);
    assert_eq!(queues(&mut netlink), before);
    suffices(&lab, "the same after the daemon was killed", &flood, holds);
}
