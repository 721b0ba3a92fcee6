use forebay_adapters::machines::{Inventory, Mark, SpecDigest};
use forebay_adapters::slices::{Counters, Port, Standing, StandingPort};
use forebay_adapters::steering::{self, Clients, DnsName, Expressed, Share, Shares, StandingName};
use forebay_world::{BitsPerSecond, Generation, PlannedSlice, SliceId};

use super::*;
use crate::shadow::tests;
use crate::watch::{AnswersSeen, LinkMeter, network_use};

/// What stands after the site.
const REST: &str = r#"
[[hypervisor]]
hosts = "*"
kind = "qemu"
folder = "/nonexistent"
acceleration = "tcg"
[network.ams]
executor = { kind = "ovs", database = "unix:/nonexistent/db.sock", bridge = "br0", port = "up" }
addresses = "10.0.0.0/24"
public = "192.0.2.0/24"
[network.fra]
executor = { kind = "ovs", database = "unix:/nonexistent/db.sock", bridge = "br0", port = "up" }
addresses = "10.0.1.0/24"
[steering]
kind = "rfc2136"
server = "127.0.0.1:53"
zone = "cdn.example"
[steering.names]
video = "video.cdn.example"
[dns]
dnstap = ["unix:/nonexistent/dnstap.sock"]
vantage = "authority"
[dns.geography]
fallback = "ams"
[live]
freshness = "60 s"
[controller]
demand = "dns"
"#;

fn at(second: u64) -> Timestamp {
    Timestamp::from_secs(1_780_272_000 + second)
}

struct Scene {
    production: Production,
    board: Board,
    fleet: Fleet,
}

impl Scene {
    fn new() -> Scene {
        let production = tests::production(REST);
        Scene { board: Board::new(&production), fleet: Fleet::new(&production), production }
    }

    /// Two machines of ours in ams, at the second and the third address, with ports and in this state.
    fn stand(&self, second: u64, state: MachineState) {
        let owner = &self.production.owner;
        let machine = |vm: u64| {
            let mark = Mark {
                owner: owner.clone(),
                vm: VmId(vm),
                generation: Generation(1),
                created: at(0),
                spec: SpecDigest([7; 32]),
            };
            let (uuid, name, host) = (mark.uuid(), format!("vm-{vm}"), "ams-001".to_owned());
            let addresses = Default::default();
            (VmId(vm), Machine { uuid, name, host, state, since: None, addresses, mark })
        };
        let inventory = Inventory { machines: [2, 3].map(machine).into(), ..Inventory::default() };
        self.board.hypervisor(0, at(second), Ok(HypervisorSeen { inventory, ..HypervisorSeen::default() }));
        let port = |vm: u64| {
            let vm = VmId(vm);
            let names = Names(&self.production);
            let addresses = [format!("10.0.0.{}", vm.0).parse().unwrap()].into();
            let port = Port { slice: SliceId(0), mac: names.mac(vm), addresses };
            (names.port(vm), StandingPort { port, up: true })
        };
        let standing = Standing { ports: [2, 3].map(port).into(), ..Standing::default() };
        self.board.link(0, at(second), Ok(LinkSeen { standing, ..LinkSeen::default() }));
    }

    /// The name server answers these; with our mark, or without.
    fn answer(&self, second: u64, addresses: &[&str], is_marked: bool) {
        let name: DnsName = "video.cdn.example".parse().unwrap();
        let pool: BTreeMap<IpAddr, u32> = addresses.iter().map(|address| (address.parse().unwrap(), 1)).collect();
        let answered = Expressed { ttl_seconds: 20, pools: [(Clients::Others, pool.clone())].into() };
        let mut seen = AnswersSeen::default();
        if is_marked {
            let share = |address: IpAddr| (address, Share { site: RegionId(0), parts: 1 });
            let pools = [(Clients::Others, pool.into_keys().map(share).collect())].into();
            let asked = Shares { ttl_seconds: 20, pools };
            let names = [(name, StandingName { generation: Generation(1), asked, answered })].into();
            seen.standing = steering::Standing { names, ..steering::Standing::default() };
        } else {
            seen.others = [(name, Some(answered))].into();
        }
        self.board.answers(at(second), Ok(seen));
    }

    /// What changed by this second: the machine's number, its state, the second.
    fn look(&mut self, second: u64) -> Vec<(String, Option<VmState>, u64)> {
        let changes = self.fleet.look(&self.production, &self.board, at(second));
        let told = |change: Change| {
            let after = (change.at.as_nanos() - at(0).as_nanos()) / 1_000_000_000;
            (change.name, change.stands.map(|stands| stands.state), after)
        };
        changes.into_iter().map(told).collect()
    }
}

fn turned(name: &str, state: VmState, second: u64) -> (String, Option<VmState>, u64) {
    (name.to_owned(), Some(state), second)
}

#[test]
fn a_machine_serves_while_clients_are_sent_to_it_and_drains_when_they_no_longer_are() {
    let mut scene = Scene::new();
    scene.stand(0, MachineState::Running);
    // Clients are sent to the address under which the second is known outside.
    scene.answer(0, &["192.0.2.2"], true);
    scene.look(0);
    scene.stand(100, MachineState::Running);
    scene.answer(100, &["192.0.2.2"], true);
    assert_eq!(scene.look(100), [turned("vm-2", VmState::Ready, 60)], "the third waits for clients");
    scene.answer(101, &["192.0.2.2", "192.0.2.3"], true);
    assert_eq!(scene.look(102), [turned("vm-3", VmState::Ready, 101)]);
    scene.answer(105, &["192.0.2.3"], true);
    assert_eq!(scene.look(106), [turned("vm-2", VmState::Draining, 105)]);
    // It stays so from look to look, until clients come again.
    scene.stand(107, MachineState::Running);
    assert_eq!(scene.look(108), []);
    scene.answer(110, &["192.0.2.2", "192.0.2.3"], true);
    assert_eq!(scene.look(110), [turned("vm-2", VmState::Ready, 110)]);
    let counts = scene.fleet.counts(&scene.production, at(110))[0];
    assert_eq!((counts.drains, counts.ready, counts.machines), (1, 2, 2));
    // When the name is gone, all of them are sent away.
    scene.board.answers(at(110), Ok(AnswersSeen::default()));
    assert_eq!(scene.look(110), [turned("vm-2", VmState::Draining, 110), turned("vm-3", VmState::Draining, 110)]);
    scene.answer(110, &["192.0.2.2", "192.0.2.3"], true);
    assert_eq!(scene.look(110).len(), 2);
    assert_eq!(scene.fleet.name_at("192.0.2.3".parse().unwrap()), Some("vm-3"));
    // What hypervisors say of an end holds whatever is answered.
    scene.stand(111, MachineState::ShuttingDown);
    assert_eq!(scene.look(111), [turned("vm-2", VmState::Draining, 111), turned("vm-3", VmState::Draining, 111)]);
    assert_eq!(scene.look(112), []);
}

#[test]
fn what_others_answer_says_nothing_of_a_machine_that_is_not_among_it() {
    let mut scene = Scene::new();
    scene.stand(0, MachineState::Running);
    scene.answer(0, &["192.0.2.2"], false);
    scene.look(0);
    scene.stand(100, MachineState::Running);
    scene.answer(100, &["192.0.2.2"], false);
    assert_eq!(scene.look(100), [turned("vm-2", VmState::Ready, 60), turned("vm-3", VmState::Ready, 60)]);
    scene.answer(101, &["192.0.2.3"], false);
    assert_eq!(scene.look(101), []);
    // Neither does a name server that was not seen for long.
    let (at_last, classes) = answered(&scene.production, &scene.board, at(101)).unwrap();
    assert_eq!((at_last, classes[0].as_ref().unwrap().is_whole), (at(101), false));
    assert!(answered(&scene.production, &scene.board, at(102)).is_none());
}

#[test]
fn weights_are_those_of_the_regions_whose_addresses_are_answered() {
    let scene = Scene::new();
    let weights = |addresses: &[&str]| {
        scene.answer(0, addresses, true);
        let (_, classes) = answered(&scene.production, &scene.board, at(0)).unwrap();
        classes[0].as_ref().unwrap().weights(&scene.production, RegionId(0))
    };
    let (ams, fra) = (RegionId(0), RegionId(1));
    assert_eq!(weights(&["192.0.2.2", "192.0.2.3", "10.0.1.9"]), Some(vec![(ams, 2), (fra, 1)]));
    assert_eq!(weights(&["10.0.1.9"]), Some(vec![(fra, 1)]));
    // Inside, a machine has an address that clients are never sent to; and one is of no region at all.
    assert_eq!(weights(&["10.0.0.2"]), None);
    assert_eq!(weights(&["10.0.1.9", "203.0.113.1"]), None);
    assert_eq!(weights(&[]), None);
}

#[test]
fn a_link_is_measured_over_all_looks_of_a_window() {
    let scene = Scene::new();
    let mut meter = LinkMeter::default();
    let look = |second: u64, bytes: u64| {
        let rate = BitsPerSecond(1_000_000);
        let slice = PlannedSlice { guarantee: rate, ceiling: rate, weight: 1, priority: 0, dscp: 0, latency: None };
        let counters = [(SliceId(0), Counters { bytes, packets: 0, dropped: 0 })].into();
        let seen = LinkSeen { counters, slices: [(SliceId(0), slice)].into(), ..LinkSeen::default() };
        scene.board.link(0, at(second), Ok(seen));
    };
    let read = |meter: &mut LinkMeter| {
        let (links, slices) = meter.read(&scene.production, &scene.board, at(0));
        assert_eq!(slices.len(), 1);
        links[0].as_ref().map(|link| link.used.0)
    };
    look(0, 1_000);
    assert_eq!(read(&mut meter), None, "one look measures nothing");
    look(5, 1_000);
    meter.take(&scene.board);
    look(10, 11_000);
    meter.take(&scene.board);
    meter.take(&scene.board);
    // 10,000 bytes in ten seconds, all of them in the last five.
    let (links, _) = network_use(&scene.production, &scene.board, at(0));
    assert_eq!(links[0].as_ref().unwrap().used.0, 16_000);
    assert_eq!(read(&mut meter), Some(8_000));
    assert_eq!(read(&mut meter), None, "nobody has looked since");
    // One that was made anew counts from then on.
    look(15, 500);
    assert_eq!(read(&mut meter), None);
    look(20, 1_000);
    assert_eq!(read(&mut meter), Some(800));
}
