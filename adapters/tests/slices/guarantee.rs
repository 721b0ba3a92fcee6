//! What traffic gets of a link whose slices stand: its guarantee under another's flood of three times the link, and all of
//! the link when nobody else wants it.

use forebay_adapters::netlink::{Filter, Handle, HtbClass, Match, Netlink, Qdisc, Request, Write};
use forebay_adapters::slices::Gate;
use forebay_world::{BitsPerSecond, PlannedSlice, SliceId};

use super::lab::{BRIDGE, Lab, SINK_PORT, Switch, have, needs};
use super::sliced::{executor, forward_by_itself, slices, terms};
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

/// What isolation means on any link whose slices an executor has made.
fn a_guarantee_holds(switch: Switch) {
    let lab = Lab::new(2, switch);
    let flood = [Load::udp(0, GUARANTEE_A), Load::udp(1, FLOOD)];
    // Without slices both arrive whole: the limit is ours.
    suffices(&lab, "no slices", &flood, |got| got[1].mean >= 0.8 * FLOOD);
    let mut executor = executor(&lab);
    let wanted = |generation, ceiling_b| {
        let terms = [
            PlannedSlice { priority: 1, dscp: dscp(switch, 34), ..terms(GUARANTEE_A, LINK) },
            PlannedSlice { priority: 5, dscp: dscp(switch, 10), ..terms(GUARANTEE_B, ceiling_b) },
        ];
        slices(&lab, switch, generation, LINK, &terms)
    };
    let first = executor.apply(&wanted(1, LINK), &mut Gate::open()).unwrap();
    println!("{}: {first:?}", executor.link());
    // The first run after a change has once read low.
    measure(&lab, &flood, 2);

    // All that counts is on the link: A offers its guarantee there, no payload beyond it.
    let enough = 0.95 * GUARANTEE_A;
    for (v6, name) in [(false, ""), (true, " over IPv6")] {
        let over = |load: Load| if v6 { load.over_v6() } else { load };
        let a = over(Load::udp(0, over(Load::udp(0, 1.0)).payload(GUARANTEE_A)));
        let loads = [a, over(Load::udp(1, FLOOD))];
        let carried = |got: &[Received]| [0, 1].map(|at: usize| loads[at].on_the_link(got[at].mean));
        suffices(&lab, &format!("A offers its guarantee, B floods{name}"), &loads, |got| {
            let [a, b] = carried(got);
            // B has what A leaves and no more; and A takes nothing beyond what it offers.
            a >= enough && a <= GUARANTEE_A * 1.02 && a + b <= LINK * 1.02 && b >= 0.9 * (LINK - GUARANTEE_A)
        });
        for flows in [1, 4] {
            let loads = [over(Load::tcp(0, flows)), over(Load::udp(1, FLOOD))];
            suffices(&lab, &format!("A is {flows} connections, B floods{name}"), &loads, |got| {
                let (a, b) = (loads[0].on_the_link(got[0].mean), loads[1].on_the_link(got[1].mean));
                // What neither is guaranteed, a tenth of the link, is A's by priority.
                a >= enough && a + b <= LINK * 1.02 && b >= 0.9 * GUARANTEE_B
            });
        }
        let alone = over(Load::udp(1, FLOOD));
        suffices(&lab, &format!("B alone{name}"), &[alone], |got| {
            let b = alone.on_the_link(got[0].mean);
            (0.9 * LINK..=1.02 * LINK).contains(&b)
        });
    }

    // A ceiling holds although nobody else wants the link.
    executor.apply(&wanted(2, 5.0), &mut Gate::open()).unwrap();
    measure(&lab, &flood, 2);
    let alone = Load::udp(1, FLOOD);
    suffices(&lab, "B alone below its ceiling of 5", &[alone], |got| {
        let b = alone.on_the_link(got[0].mean);
        (4.5..=5.1).contains(&b)
    });

    let mut netlink = lab.switch().netlink();
    let link = netlink.link(SINK_PORT).unwrap();
    let counted = executor.counters().unwrap();
    println!("{counted:?}");
    assert!(counted.len() == 2 && counted.values().all(|counters| counters.bytes > 1_000_000), "{counted:?}");
    assert!(counted[&SliceId(1)].dropped > 1000, "{counted:?}");
    // What no filter matched is no load: neighbours being asked for.
    let others = if switch == Switch::Bridge { Handle::new(0xfb0e, 2) } else { Handle::new(1, 1) };
    let classes = netlink.classes(&link).unwrap();
    let others = classes.iter().find(|seen| seen.class.handle == others).unwrap();
    assert!(others.statistics.bytes < 20_000, "{others:?}");
    executor.remove(&mut Gate::open()).unwrap();
    // And with the slices goes the limit.
    forward_by_itself(&lab);
    suffices(&lab, "no slices again", &flood, |got| got[1].mean >= 0.8 * FLOOD);
}

fn dscp(switch: Switch, dscp: u8) -> u8 {
    if switch == Switch::OpenVswitch { dscp } else { 0 }
}

#[test]
#[ignore = "needs root, iproute2 and ethtool"]
fn a_guarantee_holds_on_a_plain_device() {
    if have(needs(Switch::Bridge)) {
        a_guarantee_holds(Switch::Bridge);
    }
}

#[test]
#[ignore = "needs root, iproute2, ethtool and openvswitch-switch"]
fn a_guarantee_holds_on_open_vswitch() {
    if have(needs(Switch::OpenVswitch)) && have(&["ovs-ofctl"]) {
        a_guarantee_holds(Switch::OpenVswitch);
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

/// Who comes first is changed while both flood, and their queues are never empty.
fn a_priority_changes_under_a_flood(switch: Switch) {
    let lab = Lab::new(2, switch);
    let mut executor = executor(&lab);
    let wanted = |generation, priorities: [u8; 2]| {
        let terms = priorities.map(|priority| PlannedSlice { priority, ..terms(4.0, LINK) });
        slices(&lab, switch, generation, LINK, &terms)
    };
    let flood = [Load::udp(0, FLOOD), Load::udp(1, FLOOD)];
    executor.apply(&wanted(1, [0, 1]), &mut Gate::open()).unwrap();
    let near = |got: f64, expected: f64| (got - expected).abs() <= 0.05 * expected;
    for (generation, priorities, expected) in
        [(2, [0, 1], [6.0, 4.0]), (3, [1, 0], [4.0, 6.0]), (4, [0, 1], [6.0, 4.0])]
    {
        let mut figures = Vec::new();
        for attempt in ["", " again"] {
            figures = std::thread::scope(|scope| {
                let measured = scope.spawn(|| measure(&lab, &flood, SECONDS));
                std::thread::sleep(std::time::Duration::from_millis(400));
                let applied = executor.apply(&wanted(generation, priorities), &mut Gate::open()).unwrap();
                println!("priorities {priorities:?}{attempt}: {applied:?}");
                let got = measured.join().unwrap();
                [0, 1].map(|at: usize| flood[at].on_the_link(got[at].mean)).to_vec()
            });
            println!("priorities {priorities:?}{attempt}: {figures:.2?}, expected {expected:?}");
            if near(figures[0], expected[0]) && near(figures[1], expected[1]) {
                break;
            }
        }
        let true_ones = figures.iter().zip(expected).filter(|(got, expected)| near(**got, *expected)).count();
        assert_eq!(true_ones, 2, "{figures:?}, not {expected:?}");
    }
}

#[test]
#[ignore = "needs root, iproute2 and ethtool"]
fn a_priority_changes_under_a_flood_on_a_plain_device() {
    if have(needs(Switch::Bridge)) {
        a_priority_changes_under_a_flood(Switch::Bridge);
    }
}

#[test]
#[ignore = "needs root, iproute2, ethtool and openvswitch-switch"]
fn a_priority_changes_under_a_flood_on_open_vswitch() {
    if have(needs(Switch::OpenVswitch)) && have(&["ovs-ofctl"]) {
        a_priority_changes_under_a_flood(Switch::OpenVswitch);
    }
}
