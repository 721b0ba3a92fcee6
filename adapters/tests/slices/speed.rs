//! How long executors take. Figures are printed and not asserted: they are the machine's as much as ours.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use forebay_adapters::prefix::Prefix;
use forebay_adapters::slices::{Applied, Gate, LinkSlices, MacAddress, Port, Slice, SliceExecutor};
use forebay_world::{BitsPerSecond, Generation, SliceId};

use super::lab::{BRIDGE, Lab, Switch, have, needs};
use super::ovn::Logical;
use super::sliced::{executor, terms};

const SLICES: usize = 100;
const ROUNDS: u64 = 15;
const LINK: f64 = 1000.0;

/// One hundred slices, of which each has other rates in every generation; with a port each, or told by source.
fn wanted(generation: u64, has_ports: bool, has_guarantees: bool, has_marks: bool) -> LinkSlices {
    let capacity = BitsPerSecond::from_f64(LINK * 1e6);
    let mut wanted = LinkSlices { generation: Generation(generation), capacity, ..LinkSlices::default() };
    for number in 0..SLICES {
        let guarantee = if has_guarantees { 1.0 + generation as f64 / 100.0 } else { 0.0 };
        let mut terms = terms(guarantee, 100.0 + generation as f64);
        terms.dscp = if has_marks { 8 + (number % 32) as u8 } else { 0 };
        let (v4, v6) = (format!("10.67.0.{}", number + 1), format!("fd67::{:x}", number + 1));
        let mut sources = BTreeSet::new();
        if has_ports {
            let mac = MacAddress([2, 0, 0, 0, 1, number as u8 + 1]);
            let addresses = [v4, v6].map(|text| text.parse().unwrap()).into();
            wanted.ports.insert(port(number), Port { slice: SliceId::at(number), mac, addresses });
        } else {
            sources.extend([v4 + "/32", v6 + "/128"].map(|text| text.parse::<Prefix>().unwrap()));
        }
        wanted.slices.insert(SliceId::at(number), Slice { terms, sources });
    }
    wanted
}

fn port(number: usize) -> String {
    format!("m{number}")
}

/// Prints the median of some times with the least and the largest, and the writes of each.
fn report(what: &str, times: &mut [(Duration, u32)]) {
    times.sort_unstable();
    let ms = |at: usize| times[at].0.as_secs_f64() * 1e3;
    let writes: BTreeSet<u32> = times.iter().map(|(_, writes)| *writes).collect();
    let (median, last) = (times.len() / 2, times.len() - 1);
    let text = format!("{:.1} ms ({:.1}-{:.1})", ms(median), ms(0), ms(last));
    println!("{what}: {text}, {} times, writes {writes:?}", times.len());
}

fn timed(executor: &mut dyn SliceExecutor, wanted: &LinkSlices) -> (Duration, u32) {
    let begun = Instant::now();
    let Applied { writes, .. } = executor.apply(wanted, &mut Gate::open()).unwrap();
    (begun.elapsed(), writes)
}

/// From nothing, a change of everything, no change, and a new executor that finds no change.
fn speed(name: &str, connect: &dyn Fn() -> Box<dyn SliceExecutor>, wanted: impl Fn(u64) -> LinkSlices) {
    let count = wanted(1).slices.len();
    let mut executor = connect();
    let first = timed(&mut *executor, &wanted(1));
    report(&format!("{name}, {count} slices from nothing"), &mut [first]);
    let mut times: Vec<_> = (2..2 + ROUNDS).map(|generation| timed(&mut *executor, &wanted(generation))).collect();
    assert!(times.iter().all(|(_, writes)| *writes > 0));
    report(&format!("{name}, {count} of {count} slices changed"), &mut times);
    let stands = wanted(1 + ROUNDS);
    let mut times: Vec<_> = (0..ROUNDS).map(|_| timed(&mut *executor, &stands)).collect();
    assert!(times.iter().all(|(_, writes)| *writes == 0));
    report(&format!("{name}, an unchanged plan"), &mut times);
    drop(executor);
    let begun = Instant::now();
    let mut executor = connect();
    let (_, writes) = timed(&mut *executor, &stands);
    assert_eq!(writes, 0);
    report(&format!("{name}, an unchanged plan after a start, connection included"), &mut [(begun.elapsed(), writes)]);
    let begun = Instant::now();
    let removed = executor.remove(&mut Gate::open()).unwrap();
    report(&format!("{name}, removal"), &mut [(begun.elapsed(), removed.writes)]);
}

#[test]
#[ignore = "needs root, iproute2 and ethtool; prints times"]
fn speed_on_a_plain_device() {
    if have(needs(Switch::Bridge)) {
        let lab = Lab::new(1, Switch::Bridge);
        speed("tc", &|| executor(&lab), |generation| wanted(generation, false, true, false));
    }
}

#[test]
#[ignore = "needs root and Open vSwitch; prints times"]
fn speed_on_open_vswitch() {
    if !have(needs(Switch::OpenVswitch)) || !have(&["ovs-ofctl"]) {
        return;
    }
    let mut lab = Lab::new(1, Switch::OpenVswitch);
    let ports: Vec<String> = (0..SLICES).map(port).collect();
    let mut arguments = vec!["--no-wait"];
    for port in &ports {
        arguments.extend(["--", "add-port", BRIDGE, port, "--", "set", "interface", port, "type=internal"]);
    }
    lab.daemons().unwrap().vsctl(&arguments);
    lab.daemons().unwrap().vsctl(&["set", "bridge", BRIDGE, "external_ids:all=yes"]);
    speed("ovs, slices with a port each", &|| executor(&lab), |generation| wanted(generation, true, true, true));
    speed("ovs, slices by source", &|| executor(&lab), |generation| wanted(generation, false, true, true));
}

#[test]
#[ignore = "needs root, Open vSwitch and OVN; prints times"]
fn speed_on_ovn() {
    if !super::ovn::have_all() {
        return;
    }
    let rig = Logical::new();
    let connect = || super::conformance::Rig::connect(&rig);
    let few = |generation: u64| {
        let rates = [(0, 5 + generation % 3), (0, 4 + generation % 3)];
        super::conformance::slices(&rig, generation, &rates)
    };
    speed("ovn until every hypervisor has it", &connect, few);
    speed("ovn until every hypervisor has it, by source", &connect, |generation| {
        wanted(generation, false, false, true)
    });
}
