//! What a machine shall be made of.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use forebay_world::{Bytes, Generation, VmId};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::identity::SpecDigest;
use super::{MacAddress, MachineError};

/// One machine that shall exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineSpec {
    /// Which one.
    pub vm: VmId,
    /// The plan that asks for it. Not part of what it is made of: a later plan that asks for the same changes nothing.
    pub generation: Generation,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory.
    pub memory: Bytes,
    /// What it boots.
    pub image: Image,
    /// Its network interfaces, in their order.
    pub ports: Vec<MachinePort>,
    /// The address that the provider's network is to give it; `None` where ports have theirs, or any will do.
    pub address: Option<IpAddr>,
    /// What cloud-init shall make of it.
    pub configuration: Option<Configuration>,
    /// Whether it stands still until [resumed](super::MachineExecutor::resume).
    pub paused: bool,
}

/// What a machine boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// A kernel, without a disk.
    Kernel {
        /// The kernel.
        kernel: PathBuf,
        /// The initial file system.
        initrd: Option<PathBuf>,
        /// The kernel's command line.
        command_line: String,
    },
    /// A disk. It stays as it is: the machine writes to a copy-on-write layer of its own.
    Disk {
        /// The disk.
        base: PathBuf,
        /// How it is laid out.
        format: DiskFormat,
    },
    /// An image that a provider knows.
    Provider {
        /// Its name: `ami-…`.
        image: String,
        /// The kind of machine, which has processors and memory of its own: `t3.micro`.
        kind: String,
    },
}

/// How a disk is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFormat {
    /// Byte by byte.
    Raw,
    /// QEMU's own.
    Qcow2,
}

impl Image {
    /// What it names: files, or an image of a provider's.
    pub fn names(&self) -> Vec<String> {
        let shown = |path: &PathBuf| path.display().to_string();
        match self {
            Image::Kernel { kernel, initrd, .. } => std::iter::once(kernel).chain(initrd).map(shown).collect(),
            Image::Disk { base, .. } => vec![shown(base)],
            Image::Provider { image, .. } => vec![image.clone()],
        }
    }
}

impl DiskFormat {
    /// As QEMU writes it.
    pub fn notation(self) -> &'static str {
        match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        }
    }
}

/// A network interface of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachinePort {
    /// Name of the interface on the host, which is what slices know it by.
    pub name: String,
    /// Its address on the link layer.
    pub mac: MacAddress,
    /// What it is attached to.
    pub attachment: Attachment,
}

/// What a port is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A bridge of the kernel.
    Bridge(String),
    /// A bridge of Open vSwitch.
    OpenVswitch {
        /// The bridge.
        bridge: String,
        /// What the port is known by to whoever programs the switch (`external_ids:iface-id`).
        interface: Uuid,
    },
    /// A network that a provider knows: `subnet-…`.
    Network(String),
}

/// What cloud-init shall make of a machine (its data source NoCloud, or the provider's).
#[derive(Clone, PartialEq, Eq)]
pub struct Configuration {
    /// `#cloud-config` and what follows, or a script.
    pub user_data: String,
    /// The network, version 2; `None` takes what cloud-init does by itself.
    pub network: Option<String>,
    /// The name that the machine has.
    pub host_name: String,
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may hold keys.
        f.debug_struct("Configuration").field("host_name", &self.host_name).finish_non_exhaustive()
    }
}

/// Longest name of a network device (linux/if.h: `IFNAMSIZ` 16, with the zero).
const NAME_MOST: usize = 15;
/// User data that providers take (EC2: 16 KiB before base64).
const USER_DATA_MOST: usize = 16 * 1024;

impl MachineSpec {
    /// What it is made of, as a digest.
    pub fn digest(&self) -> SpecDigest {
        let mut text = Canonical(Sha256::new());
        text.put("forebay machine 1");
        text.put(&self.vcpus.to_string());
        text.put(&self.memory.0.to_string());
        match &self.image {
            Image::Kernel { kernel, initrd, command_line } => {
                text.put("kernel");
                text.put_bytes(kernel.as_os_str().as_encoded_bytes());
                text.put(if initrd.is_some() { "initrd" } else { "" });
                text.put_bytes(initrd.as_deref().map_or(&[], |path| path.as_os_str().as_encoded_bytes()));
                text.put(command_line);
            }
            Image::Disk { base, format } => {
                text.put("disk");
                text.put_bytes(base.as_os_str().as_encoded_bytes());
                text.put(format.notation());
            }
            Image::Provider { image, kind } => ["provider", image, kind].into_iter().for_each(|part| text.put(part)),
        }
        text.put(&self.ports.len().to_string());
        for port in &self.ports {
            text.put(&port.name);
            text.put(&port.mac.to_string());
            match &port.attachment {
                Attachment::Bridge(bridge) => ["bridge", bridge].into_iter().for_each(|part| text.put(part)),
                Attachment::OpenVswitch { bridge, interface } => {
                    ["ovs", bridge, &interface.to_string()].into_iter().for_each(|part| text.put(part));
                }
                Attachment::Network(network) => ["network", network].into_iter().for_each(|part| text.put(part)),
            }
        }
        match &self.configuration {
            None => text.put("no configuration"),
            Some(Configuration { user_data, network, host_name }) => {
                ["configuration", user_data, host_name].into_iter().for_each(|part| text.put(part));
                text.put(if network.is_some() { "network" } else { "" });
                text.put(network.as_deref().unwrap_or_default());
            }
        }
        // Machines that stand without one keep the digest they bear.
        if let Some(address) = &self.address {
            ["address", &address.to_string()].into_iter().for_each(|part| text.put(part));
        }
        SpecDigest(text.0.finalize().into())
    }

    /// For whoever gives no addresses.
    ///
    /// # Errors
    /// [`MachineError::Unsupported`] when the machine is to be given one.
    pub(super) fn refuse_address(&self, endpoint: String) -> Result<(), MachineError> {
        let Some(address) = self.address else { return Ok(()) };
        let what = format!("the address {address}, as a provider gives it");
        Err(MachineError::Unsupported { endpoint, what, allowed: "none: a machine's configuration tells it its own" })
    }

    /// Checks that it means something, whoever shall make it.
    ///
    /// # Errors
    /// [`MachineError::Contradiction`].
    pub fn check(&self) -> Result<(), MachineError> {
        let wrong = |what: String| Err(MachineError::Contradiction { vm: self.vm, what });
        if self.vcpus == 0 || self.vcpus > 1024 {
            return wrong(format!("{} processors; allowed: 1 to 1024", self.vcpus));
        }
        // Hypervisors count in mebibytes or kibibytes, and would round silently.
        if self.memory.0 == 0 || !self.memory.0.is_multiple_of(1 << 20) {
            return wrong(format!("{} bytes of memory; allowed: whole mebibytes", self.memory.0));
        }
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for port in &self.ports {
            let name = &port.name;
            if !is_device_name(name) {
                let shown = crate::error::shown(name.as_bytes());
                return wrong(format!("port {shown:?}; allowed: 1 to {NAME_MOST} of A-Z, a-z, 0-9, _, - and ."));
            }
            if let Attachment::Bridge(bridge) | Attachment::OpenVswitch { bridge, .. } = &port.attachment
                && !is_device_name(bridge)
            {
                let shown = crate::error::shown(bridge.as_bytes());
                return wrong(format!("bridge {shown:?}; allowed: 1 to {NAME_MOST} of A-Z, a-z, 0-9, _, - and ."));
            }
            if !names.insert(name) {
                return wrong(format!("two ports {name}"));
            }
            if !addresses.insert(port.mac) {
                return wrong(format!("two ports have the address {}", port.mac));
            }
        }
        if let Some(address) = self.address.filter(|address| address.is_unspecified() || address.is_multicast()) {
            return wrong(format!("the address {address}; allowed: one that a machine can have"));
        }
        if let Some(configuration) = &self.configuration {
            let bytes = configuration.user_data.len();
            if bytes > USER_DATA_MOST {
                return wrong(format!("{bytes} bytes of user data; allowed: {USER_DATA_MOST}"));
            }
            let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.';
            let name = &configuration.host_name;
            if !(1..=63).contains(&name.len()) || !name.bytes().all(plain) {
                let shown = crate::error::shown(name.as_bytes());
                return wrong(format!("host name {shown:?}; allowed: 1 to 63 of A-Z, a-z, 0-9, - and ."));
            }
        }
        let has_control = |text: &str| text.chars().any(char::is_control);
        match &self.image {
            Image::Kernel { command_line, .. } if has_control(command_line) => {
                wrong("a control character in the kernel's command line".to_owned())
            }
            Image::Provider { image, kind } if image.is_empty() || kind.is_empty() => {
                wrong("an image without a name, or without a kind of machine".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Names that the kernel, Open vSwitch and QEMU's command line all take as they are.
fn is_device_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    (1..=NAME_MOST).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['-', '.'])
}

/// Parts, each with its length, so that no two sequences of parts look the same.
struct Canonical(Sha256);

impl Canonical {
    fn put(&mut self, part: &str) {
        self.put_bytes(part.as_bytes());
    }

    fn put_bytes(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> MachineSpec {
        let port = |name: &str, last| MachinePort {
            name: name.to_owned(),
            mac: MacAddress([2, 0, 0, 0, 0, last]),
            attachment: Attachment::Bridge("br0".to_owned()),
        };
        MachineSpec {
            vm: VmId(1),
            generation: Generation(1),
            vcpus: 1,
            memory: Bytes(64 << 20),
            image: Image::Disk { base: "/a".into(), format: DiskFormat::Raw },
            ports: vec![port("v0", 1), port("v1", 2)],
            address: None,
            configuration: Some(Configuration {
                user_data: "#cloud-config\npassword: hunter2\n".to_owned(),
                network: None,
                host_name: "edge".to_owned(),
            }),
            paused: false,
        }
    }

    #[test]
    fn whatever_a_machine_is_made_of_is_in_its_digest_and_nothing_else() {
        let edits: [fn(&mut MachineSpec); 15] = [
            |spec| spec.vcpus = 2,
            |spec| spec.memory = Bytes(65 << 20),
            |spec| spec.image = Image::Disk { base: "/b".into(), format: DiskFormat::Raw },
            |spec| spec.image = Image::Disk { base: "/a".into(), format: DiskFormat::Qcow2 },
            |spec| spec.image = Image::Provider { image: "/a".to_owned(), kind: "raw".to_owned() },
            |spec| spec.ports.reverse(),
            |spec| spec.ports.truncate(1),
            |spec| spec.ports[0].mac = MacAddress([2, 0, 0, 0, 0, 9]),
            |spec| spec.ports[0].attachment = Attachment::Network("br0".to_owned()),
            |spec| spec.address = Some("10.0.0.7".parse().unwrap()),
            |spec| spec.address = Some("fd00::7".parse().unwrap()),
            |spec| spec.configuration = None,
            |spec| spec.configuration.as_mut().unwrap().user_data.push(' '),
            |spec| spec.configuration.as_mut().unwrap().network = Some(String::new()),
            |spec| spec.configuration.as_mut().unwrap().host_name.push('2'),
        ];
        let mut digests = BTreeSet::from([spec().digest()]);
        for (at, edit) in edits.iter().enumerate() {
            let mut other = spec();
            edit(&mut other);
            assert!(digests.insert(other.digest()), "edit {at}");
        }
        let mut same = spec();
        (same.vm, same.generation, same.paused) = (VmId(2), Generation(2), true);
        assert_eq!(same.digest(), spec().digest());
    }

    #[test]
    fn a_digest_is_the_same_in_every_version() {
        // Machines out there bear it.
        let standing = "b10f092417f1492e381af68c2ab3d16020dad754838f3b69eba375f833f99b45";
        assert_eq!(spec().digest().to_string(), standing);
    }

    #[test]
    fn what_nobody_could_make_is_said() {
        spec().check().unwrap();
        let wrong: [(fn(&mut MachineSpec), &str); 11] = [
            (|spec| spec.vcpus = 0, "processors"),
            (|spec| spec.memory = Bytes((64 << 20) + 1), "whole mebibytes"),
            (|spec| spec.ports[0].name = "a,b".to_owned(), "port"),
            (|spec| spec.ports[0].name = "sixteen-letters-".to_owned(), "port"),
            (|spec| spec.ports[0].attachment = Attachment::Bridge("b r".to_owned()), "bridge"),
            (|spec| spec.ports[1].name = "v0".to_owned(), "two ports v0"),
            (|spec| spec.ports[1].mac = spec.ports[0].mac, "address"),
            (|spec| spec.address = Some("0.0.0.0".parse().unwrap()), "the address 0.0.0.0"),
            (|spec| spec.address = Some("ff02::1".parse().unwrap()), "the address ff02::1"),
            (|spec| spec.configuration.as_mut().unwrap().user_data = "x".repeat(16_385), "user data"),
            (|spec| spec.configuration.as_mut().unwrap().host_name = "a b".to_owned(), "host name"),
        ];
        for (edit, said) in wrong {
            let mut other = spec();
            edit(&mut other);
            let error = other.check().unwrap_err().to_string();
            assert!(error.starts_with("vm-1: ") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn user_data_is_not_shown() {
        let shown = format!("{:?}", spec());
        assert!(!shown.contains("hunter2") && shown.contains("edge"), "{shown}");
    }
}
