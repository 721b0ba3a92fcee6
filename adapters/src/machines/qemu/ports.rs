//! Ports of machines: taps of the kernel, each on a bridge of the kernel's or of Open vSwitch's.
//!
//! A tap bears whose it is as its alias, a port of Open vSwitch in its `external_ids`. Taps are made by `ip` (iproute2) in
//! the network namespace of the calling thread, since QEMU, which starts there too, has to find them.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use forebay_world::VmId;
use serde_json::Value;
use uuid::Uuid;

use crate::machines::folder::SidecarPort;
use crate::machines::{Gate, InterfaceStatistics, MacAddress, MachineError, Owner};
use crate::ovsdb::{Atom, Client, Condition, Datum, Endpoint, Mutation, Mutator, Operation, Row, Timeouts};

const DATABASE: &str = "Open_vSwitch";
const OWNER: &str = "forebay-owner";
const VM: &str = "forebay-vm";

/// Ports of one owner's machines.
pub(super) struct Ports {
    owner: Owner,
    endpoint: String,
    ovs: Option<Endpoint>,
    client: Option<Client>,
}

/// A network device.
#[derive(Clone, Debug, Default)]
pub(super) struct Device {
    alias: String,
    master: Option<String>,
    is_tap: bool,
    is_bridge: bool,
    is_up: bool,
    /// As the machine behind it sees them.
    pub(super) statistics: InterfaceStatistics,
}

/// An interface in the database of Open vSwitch.
#[derive(Clone, Debug)]
struct OvsInterface {
    uuid: Uuid,
    vm: Option<VmId>,
    is_ours: bool,
}

/// All that there is of ports.
#[derive(Debug, Default)]
pub(super) struct SeenPorts {
    pub(super) devices: BTreeMap<String, Device>,
    interfaces: BTreeMap<String, OvsInterface>,
}

impl Ports {
    pub(super) fn new(owner: Owner, endpoint: String, ovs: Option<Endpoint>) -> Ports {
        Ports { owner, endpoint, ovs, client: None }
    }

    fn alias(&self, vm: VmId) -> String {
        format!("forebay owner={} vm={}", self.owner, vm.0)
    }

    fn vm_of(&self, alias: &str) -> Option<VmId> {
        let number = alias.strip_prefix(&format!("forebay owner={} vm=", self.owner))?;
        number.parse().ok().map(VmId)
    }

    /// What is there.
    pub(super) fn look(&mut self) -> Result<SeenPorts, MachineError> {
        // Without `show`, for which ip(8) first tries whether the kernel takes RTM_NEWLINK: whoever looks sends it no such thing.
        let text = self.ip(&["-json", "-details", "-statistics", "link"])?;
        let devices: Value =
            serde_json::from_str(&text).map_err(|error| self.rejected("ip link", &error.to_string()))?;
        let devices = devices.as_array().into_iter().flatten();
        let devices = devices.filter_map(|link| Some((link.get("ifname")?.as_str()?.to_owned(), Device::read(link))));
        let devices = devices.collect();
        Ok(SeenPorts { devices, interfaces: self.interfaces()? })
    }

    /// What would have to be there before a port can be made.
    pub(super) fn check(&mut self, port: &SidecarPort, seen: &SeenPorts) -> Result<(), MachineError> {
        let endpoint = self.endpoint.clone();
        let missing = |kind, hint| Err(MachineError::Missing { endpoint, kind, name: port.bridge.clone(), hint });
        if port.interface.is_none() {
            let is_there = seen.devices.get(&port.bridge).is_some_and(|device| device.is_bridge);
            let hint = "it is made by the host's network configuration, in the network namespace of this process";
            return if is_there { Ok(()) } else { missing("bridge", hint) };
        }
        if self.ovs.is_none() {
            return missing("Open vSwitch bridge", "the database of Open vSwitch is not configured");
        }
        let select =
            Operation::select_columns("Bridge", vec![Condition::equal("name", port.bridge.as_str())], &["_uuid"]);
        let outcomes = self.transact(vec![select])?;
        let is_there = outcomes.first().is_some_and(|outcome| !outcome.rows().is_empty());
        if is_there { Ok(()) } else { missing("Open vSwitch bridge", "ovs-vsctl list-br shows those that there are") }
    }

    /// Makes a port, or what is missing of it.
    pub(super) fn ensure(
        &mut self,
        vm: VmId,
        port: &SidecarPort,
        mac: MacAddress,
        gate: &mut Gate,
    ) -> Result<u32, MachineError> {
        let mut writes = 0;
        let name = port.name.as_str();
        let alias = self.alias(vm);
        let mut seen = self.look()?;
        let mut write = |ports: &mut Ports, what: String, arguments: &[&str]| {
            gate.pass(&what)?;
            ports.ip(arguments)?;
            writes += 1;
            Ok::<(), MachineError>(())
        };
        match seen.devices.get(name) {
            None => {
                write(self, format!("tap {name}"), &["tuntap", "add", "dev", name, "mode", "tap"])?;
                seen = self.look()?;
            }
            Some(device) if device.alias == alias || device.is_unmarked() => {}
            Some(_) => return Err(self.foreign(name)),
        }
        let device = seen.devices.get(name).cloned().unwrap_or_default();
        if device.alias != alias {
            write(self, format!("mark of tap {name}"), &["link", "set", "dev", name, "alias", &alias])?;
        }
        if port.interface.is_none() && device.master.as_deref() != Some(&port.bridge) {
            let what = format!("tap {name} on bridge {}", port.bridge);
            write(self, what, &["link", "set", "dev", name, "master", &port.bridge])?;
        }
        if !device.is_up {
            write(self, format!("tap {name} up"), &["link", "set", "dev", name, "up"])?;
        }
        if let Some(interface) = port.interface {
            match seen.interfaces.get(name) {
                None => {
                    gate.pass(&format!("port {name} of bridge {}", port.bridge))?;
                    self.attach(vm, port, interface, mac)?;
                    writes += 1;
                }
                Some(found) if found.is_ours && found.vm == Some(vm) => {}
                Some(_) => return Err(self.foreign(name)),
            }
        }
        Ok(writes)
    }

    /// Takes away the ports of a machine: those that are written down, and whatever else bears its mark.
    pub(super) fn remove(&mut self, vm: VmId, written: &[SidecarPort], gate: &mut Gate) -> Result<u32, MachineError> {
        let mut writes = 0;
        let seen = self.look()?;
        for (name, interface) in &seen.interfaces {
            if interface.is_ours && interface.vm == Some(vm) {
                gate.pass(&format!("port {name} away"))?;
                self.detach(name, interface.uuid)?;
                writes += 1;
            }
        }
        let alias = self.alias(vm);
        for (name, device) in &seen.devices {
            // One that is written down and bears no mark yet was half made.
            let half_made = device.is_unmarked() && written.iter().any(|port| port.name == *name);
            if device.is_tap && (device.alias == alias || half_made) {
                gate.pass(&format!("tap {name} away"))?;
                self.ip(&["link", "delete", "dev", name])?;
                writes += 1;
            }
        }
        Ok(writes)
    }

    /// Machines that ports bear the mark of.
    pub(super) fn owners(&self, seen: &SeenPorts) -> Vec<(VmId, String)> {
        let taps = seen.devices.iter().filter(|(_, device)| device.is_tap);
        let taps = taps.filter_map(|(name, device)| Some((self.vm_of(&device.alias)?, format!("tap {name}"))));
        let ours = seen.interfaces.iter().filter(|(_, interface)| interface.is_ours);
        let ours = ours.filter_map(|(name, interface)| Some((interface.vm?, format!("port {name} of Open vSwitch"))));
        taps.chain(ours).collect()
    }

    fn attach(&mut self, vm: VmId, port: &SidecarPort, interface: Uuid, mac: MacAddress) -> Result<(), MachineError> {
        let name = port.name.as_str();
        let ids = Datum::map([
            ("iface-id".to_owned(), interface.to_string()),
            ("iface-status".to_owned(), "active".to_owned()),
            ("attached-mac".to_owned(), mac.to_string()),
            ("vm-id".to_owned(), self.owner.uuid_of(vm).to_string()),
            (OWNER.to_owned(), self.owner.to_string()),
            (VM.to_owned(), vm.0.to_string()),
        ]);
        let interface = Row::new().with("name", name).with("external_ids", ids);
        let of_interface = Datum::set([Atom::named("fresh_interface")]);
        let row = Row::new().with("name", name).with("interfaces", of_interface);
        let add = Mutation::new("ports", Mutator::Insert, Datum::set([Atom::named("fresh_port")]));
        self.transact(vec![
            Operation::insert_named("Interface", "fresh_interface", interface),
            Operation::insert_named("Port", "fresh_port", row),
            Operation::mutate("Bridge", vec![Condition::equal("name", port.bridge.as_str())], vec![add]),
            next_configuration(),
        ])?;
        Ok(())
    }

    fn detach(&mut self, name: &str, interface: Uuid) -> Result<(), MachineError> {
        let of_port = vec![Condition::includes("interfaces", Datum::set([interface]))];
        let ports = self.transact(vec![Operation::select_columns("Port", of_port, &["_uuid"])])?;
        let Some(port) = ports.first().and_then(|outcome| outcome.rows().first()?.uuid("_uuid")) else {
            return Err(self.rejected(&format!("port {name} away"), "no port has its interface"));
        };
        let take = Mutation::new("ports", Mutator::Delete, Datum::set([port]));
        let of_bridge = vec![Condition::includes("ports", Datum::set([port]))];
        // Rows that nothing refers to go by themselves.
        self.transact(vec![Operation::mutate("Bridge", of_bridge, vec![take]), next_configuration()])?;
        Ok(())
    }

    fn interfaces(&mut self) -> Result<BTreeMap<String, OvsInterface>, MachineError> {
        if self.ovs.is_none() {
            return Ok(BTreeMap::new());
        }
        let outcomes = self.transact(vec![Operation::select_columns(
            "Interface",
            Vec::new(),
            &["_uuid", "name", "external_ids"],
        )])?;
        let rows = outcomes.first().map_or(&[][..], |outcome| outcome.rows());
        let read = |row: &Row| {
            let ids = row.get("external_ids")?;
            let interface = OvsInterface {
                uuid: row.uuid("_uuid")?,
                vm: ids.text_of(VM).and_then(|text| text.parse().ok()).map(VmId),
                is_ours: ids.text_of(OWNER) == Some(self.owner.as_str()),
            };
            Some((row.text("name")?.to_owned(), interface))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    fn transact(&mut self, operations: Vec<Operation>) -> Result<Vec<crate::ovsdb::Outcome>, MachineError> {
        let endpoint = self.ovs.as_ref().expect("asked only where it is configured");
        let client = match &mut self.client {
            Some(client) => {
                if !client.is_connected() || client.poll(Instant::now()).is_err() {
                    client.reconnect()?;
                }
                client
            }
            None => self.client.insert(Client::connect(endpoint, Timeouts::default())?),
        };
        Ok(client.transact(DATABASE, operations)?)
    }

    fn ip(&self, arguments: &[&str]) -> Result<String, MachineError> {
        let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(self.rejected(&format!("ip {}", arguments.join(" ")), &said))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(MachineError::Missing {
                endpoint: self.endpoint.clone(),
                kind: "program",
                name: "ip".to_owned(),
                hint: "Debian's package iproute2 has it",
            }),
            Err(error) => Err(self.rejected("ip", &error.to_string())),
        }
    }

    fn foreign(&self, name: &str) -> MachineError {
        let hint = "give the machine's port another name, or remove what has it";
        MachineError::Foreign { endpoint: self.endpoint.clone(), what: format!("the device or port {name}"), hint }
    }

    fn rejected(&self, what: &str, why: &str) -> MachineError {
        MachineError::Rejected { endpoint: self.endpoint.clone(), what: what.to_owned(), why: why.to_owned() }
    }
}

impl Device {
    fn read(link: &Value) -> Device {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = text(link.pointer("/linkinfo/info_kind"));
        let count = |way: &str, what: &str| {
            link.pointer(&format!("/stats64/{way}/{what}")).and_then(Value::as_u64).unwrap_or_default()
        };
        let flags = link.get("flags").and_then(Value::as_array);
        Device {
            alias: text(link.get("ifalias")),
            master: link.get("master").and_then(Value::as_str).map(str::to_owned),
            is_tap: kind == "tun" && text(link.pointer("/linkinfo/info_data/type")) == "tap",
            is_bridge: kind == "bridge",
            is_up: flags.is_some_and(|flags| flags.iter().any(|flag| flag == "UP")),
            // What the host sends the machine receives.
            statistics: InterfaceStatistics {
                received_bytes: count("tx", "bytes"),
                received_packets: count("tx", "packets"),
                received_dropped: count("tx", "dropped"),
                sent_bytes: count("rx", "bytes"),
                sent_packets: count("rx", "packets"),
                sent_dropped: count("rx", "dropped"),
            },
        }
    }

    /// A tap that nobody has said anything about.
    fn is_unmarked(&self) -> bool {
        self.is_tap && self.alias.is_empty() && self.master.is_none()
    }
}

fn next_configuration() -> Operation {
    let next = Mutation::new("next_cfg", Mutator::Add, 1i64);
    Operation::mutate(DATABASE, Vec::new(), vec![next])
}
