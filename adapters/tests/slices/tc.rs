//! A plain device of the kernel, with `tc` as the independent reader.

use forebay_adapters::slices::tc::{TcExecutor, TcView};
use forebay_adapters::slices::{LinkSlices, SliceError, SliceExecutor, SliceView};
use forebay_world::SliceId;

use super::conformance::{self, Rig};
use super::lab::{Namespace, have};
use super::shown;

struct Device {
    namespace: Namespace,
}

impl Device {
    fn new() -> Self {
        let namespace = Namespace::new("tc");
        namespace.run("ip", &["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
        Device { namespace }
    }

    fn tc(&self, line: &str) -> String {
        shown::tc(&self.namespace, line)
    }
}

impl Rig for Device {
    fn connect(&self) -> Box<dyn SliceExecutor> {
        Box::new(self.namespace.within(|| TcExecutor::open("v0")).expect("the device is there"))
    }

    fn view(&self) -> Box<dyn SliceView> {
        Box::new(self.namespace.within(|| TcView::open("v0")).expect("the device is there"))
    }

    fn everything(&self) -> String {
        let shown = ["v0", "v1"].map(|device| shown::everything(&self.namespace, device));
        shown.concat() + &self.namespace.run("cat", &["/proc/net/unix"]).matches("forebay/tc").count().to_string()
    }

    fn ports(&self) -> Vec<String> {
        Vec::new()
    }

    fn disturb(&self, way: usize) -> bool {
        let line = match way {
            0 => "class change dev v0 parent fb0e:1 classid fb0e:10 htb rate 1mbit ceil 10mbit prio 0 quantum 1514",
            1 => "class change dev v0 parent fb0e:1 classid fb0e:11 htb rate 3mbit ceil 8mbit prio 5 quantum 3028",
            2 => "class change dev v0 parent fb0e: classid fb0e:1 htb rate 5mbit ceil 5mbit",
            3 => "filter del dev v0 parent fb0e: protocol ip prio 63744",
            4 => "class add dev v0 parent fb0e:1 classid fb0e:7 htb rate 1mbit",
            5 => "filter add dev v0 parent fb0e: protocol ip prio 63744 u32 match ip src 10.9.9.9/32 flowid fb0e:10",
            6 => "qdisc replace dev v0 parent fb0e:10 handle e000: pfifo limit 3",
            7 => "class del dev v0 classid fb0e:ffff",
            8 => "class del dev v0 classid fb0e:2",
            9 => "qdisc del dev v0 root",
            10 => "class add dev v0 parent fb0e:7 classid fb0e:8 htb rate 1mbit",
            11 => "class add dev v0 parent fb0e: classid fb0e:10 htb rate 6mbit ceil 10mbit quantum 1514",
            12 => "qdisc add dev v0 parent fb0e:10 handle e000: tbf rate 5mbit burst 10kb latency 50ms",
            13 => "filter add dev v0 parent fb0e: protocol arp prio 63744 u32 match u32 0 0 flowid fb0e:10",
            14 => "qdisc add dev v0 root handle fb0e: htb default 10",
            _ => return false,
        };
        // What must go before.
        let before: &[&str] = match way {
            10 => &["class add dev v0 parent fb0e:1 classid fb0e:7 htb rate 1mbit"],
            11 => &["filter del dev v0 parent fb0e:", "class del dev v0 classid fb0e:10"],
            12 => &["qdisc del dev v0 parent fb0e:10"],
            13 => &["filter del dev v0 parent fb0e: protocol ip prio 63744"],
            14 => &["qdisc del dev v0 root"],
            _ => &[],
        };
        before.iter().chain([&line]).for_each(|line| drop(self.tc(line)));
        true
    }

    fn add_foreign(&self) {
        self.tc("qdisc add dev v1 root handle 7: htb default 1");
        self.tc("class add dev v1 parent 7: classid 7:1 htb rate 3mbit");
    }

    fn foreign_is_untouched(&self) -> bool {
        self.tc("class show dev v1").contains("class htb 7:1 root prio 0 rate 3Mbit ceil 3Mbit")
    }

    fn leftovers(&self) -> Vec<String> {
        let found = [self.tc("class show dev v0"), self.tc("filter show dev v0")].concat();
        let qdiscs = self.tc("qdisc show dev v0");
        let left = found.lines().chain(qdiscs.lines().filter(|line| line.contains("htb")));
        left.map(str::to_owned).collect()
    }

    fn independent_differences(&self, wanted: &LinkSlices) -> Vec<String> {
        let handle_of = |id: SliceId| format!("fb0e:{:x}", 0x10 + id.0);
        shown::differences(&self.namespace, "v0", wanted, "fb0e:1", handle_of)
    }
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_plain_device_conforms() {
    if have(&["ip", "tc"]) {
        conformance::conforms(&Device::new());
    }
}

#[test]
#[ignore = "needs root and iproute2"]
fn what_stands_at_the_root_already_is_not_replaced() {
    if !have(&["ip", "tc"]) {
        return;
    }
    let device = Device::new();
    device.tc("qdisc add dev v0 root handle 1: tbf rate 5mbit burst 10kb latency 50ms");
    let wanted = conformance::slices(&device, 1, &[(6, 10)]);
    let mut executor = device.connect();
    let error = executor.apply(&wanted, &mut forebay_adapters::slices::Gate::open()).unwrap_err();
    assert!(matches!(&error, SliceError::Foreign { what, .. } if what.contains("tbf")), "{error}");
    assert_eq!(executor.remove(&mut forebay_adapters::slices::Gate::open()).unwrap().writes, 0);
    assert!(device.tc("qdisc show dev v0").contains("tbf 1:"));
    assert!(executor.read().unwrap().foreign[0].contains("tbf"));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_device_that_is_not_there_is_said_with_those_that_are() {
    if !have(&["ip", "tc"]) {
        return;
    }
    let device = Device::new();
    let error = device.namespace.within(|| TcExecutor::open("v9")).unwrap_err();
    assert!(matches!(&error, SliceError::Unknown { known, .. } if known.contains(&"v0".to_owned())), "{error}");
    // A filter of somebody's inside our discipline keeps it from going away with it.
    let mut executor = device.connect();
    let mut gate = forebay_adapters::slices::Gate::open();
    executor.apply(&conformance::slices(&device, 1, &[(6, 10)]), &mut gate).unwrap();
    device.tc("filter add dev v0 parent fb0e: protocol ip prio 5 u32 match ip src 10.8.0.0/16 flowid fb0e:10");
    let error = executor.remove(&mut gate).unwrap_err();
    assert!(matches!(&error, SliceError::Foreign { what, .. } if what.contains("preference 5")), "{error}");
    assert!(executor.read().unwrap().slices.contains_key(&SliceId(0)));
    device.tc("filter del dev v0 parent fb0e: protocol ip prio 5");
    executor.remove(&mut gate).unwrap();
    assert_eq!(device.leftovers(), Vec::<String>::new());
}
