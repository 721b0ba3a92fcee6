//! What there is on this machine and beside it, as far as it lets itself be seen: the ground of an example to begin with.
//!
//! Everything is looked at and nothing is written; what cannot be seen is said, and is no error.

use std::collections::BTreeMap;
use std::path::Path;

use forebay_adapters::ovsdb::{Client, Endpoint, Operation, OvsdbError, Row, Timeouts, Uuid};
use forebay_world::{BitsPerSecond, Bytes};

/// What was found.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// This machine.
    pub machine: Node,
    /// libvirt: its address, and the machine behind it; or why it was not seen.
    pub libvirt: (String, Result<Node, String>),
    /// Open vSwitch: its database, and the ports of its bridges; or why it was not seen.
    pub switch: (String, Result<Vec<SwitchPort>, String>),
}

/// A machine that runs others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its processors; `None` where they were not seen.
    pub cpus: Option<u32>,
    /// Its memory; `None` where it was not seen.
    pub memory: Option<Bytes>,
}

/// A port of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchPort {
    /// The bridge.
    pub bridge: String,
    /// The port.
    pub port: String,
    /// What its device can carry, where it says so.
    pub speed: Option<BitsPerSecond>,
    /// Whether a device of hardware is behind it.
    pub is_hardware: bool,
}

impl Surroundings {
    /// Looks around.
    pub fn look(libvirt: &str, database: &str) -> Surroundings {
        Surroundings {
            machine: this_machine(),
            libvirt: (libvirt.to_owned(), behind_libvirt(libvirt)),
            switch: (database.to_owned(), ports_of(database)),
        }
    }

    /// The port at which slices are likely to share the link: of hardware before others, and the fastest of these.
    pub fn uplink(&self) -> Option<&SwitchPort> {
        let ports = self.switch.1.as_ref().ok()?;
        ports.iter().rev().max_by_key(|port| (port.is_hardware, port.speed))
    }
}

fn this_machine() -> Node {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let kibibytes = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    Node {
        name: read("/proc/sys/kernel/hostname")
            .map_or_else(|| "this machine".to_owned(), |name| name.trim().to_owned()),
        cpus: std::thread::available_parallelism().ok().and_then(|cpus| u32::try_from(cpus.get()).ok()),
        memory: kibibytes.and_then(|count| count.checked_mul(1024)).map(Bytes),
    }
}

#[cfg(feature = "libvirt")]
fn behind_libvirt(uri: &str) -> Result<Node, String> {
    let node = forebay_adapters::machines::libvirt::node(uri).map_err(|error| error.to_string())?;
    Ok(Node { name: node.name, cpus: Some(node.cpus), memory: Some(node.memory) })
}

#[cfg(not(feature = "libvirt"))]
fn behind_libvirt(_: &str) -> Result<Node, String> {
    Err("this forebay was built without libvirt".to_owned())
}

/// Ports of all bridges that reach further than the machine itself, by bridge and name.
fn ports_of(database: &str) -> Result<Vec<SwitchPort>, String> {
    let endpoint = Endpoint::parse(database, None).map_err(|error| error.to_string())?;
    let rows = |error: OvsdbError| error.to_string();
    let mut client = Client::connect(&endpoint, Timeouts::default()).map_err(rows)?;
    let all = |table: &str, columns: &[&str]| Operation::select_columns(table, Vec::new(), columns);
    let outcomes = client
        .transact(
            "Open_vSwitch",
            vec![
                all("Bridge", &["name", "ports"]),
                all("Port", &["_uuid", "name", "interfaces"]),
                all("Interface", &["_uuid", "type", "link_speed"]),
            ],
        )
        .map_err(rows)?;
    let rows = |at: usize| outcomes.get(at).map_or(&[][..], |outcome| outcome.rows());
    let by_uuid = |at: usize| -> BTreeMap<Uuid, &Row> {
        rows(at).iter().filter_map(|row| Some((row.uuid("_uuid")?, row))).collect()
    };
    let (ports, interfaces) = (by_uuid(1), by_uuid(2));
    let uuids = |row: &Row, column: &str| -> Vec<Uuid> {
        let set = row.get(column).and_then(|datum| datum.as_set());
        set.into_iter().flatten().filter_map(|atom| atom.as_uuid()).collect()
    };
    let mut found = Vec::new();
    for bridge in rows(0) {
        let Some(name) = bridge.text("name") else { continue };
        for port in uuids(bridge, "ports").iter().filter_map(|uuid| ports.get(uuid)) {
            let of_port: Vec<&&Row> =
                uuids(port, "interfaces").iter().filter_map(|uuid| interfaces.get(uuid)).collect();
            let Some(port) = port.text("name") else { continue };
            let plain = of_port.iter().all(|row| matches!(row.text("type"), Some("" | "system" | "afxdp" | "dpdk")));
            if port == name || !plain {
                continue;
            }
            let speed = of_port
                .iter()
                .filter_map(|row| row.integer("link_speed"))
                .filter_map(|speed| u64::try_from(speed).ok());
            let speed: u64 = speed.fold(0, u64::saturating_add);
            found.push(SwitchPort {
                bridge: name.to_owned(),
                port: port.to_owned(),
                speed: (speed > 0).then_some(BitsPerSecond(speed)),
                is_hardware: Path::new("/sys/class/net").join(port).join("device").exists(),
            });
        }
    }
    found.sort_by(|a, b| (&a.bridge, &a.port).cmp(&(&b.bridge, &b.port)));
    Ok(found)
}
