//! The description of a domain (libvirt, formatdomain).

use std::path::Path;

use crate::machines::{Attachment, Image, MachineSpec, Mark};

/// Where our element of a domain's metadata is.
pub(super) const NAMESPACE: &str = "https://forebay.example/ns/machine/1";

/// What libvirt itself is, as far as descriptions depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// QEMU, with how guests are run.
    Qemu(&'static str),
    /// libvirt's own, which runs nothing.
    Test,
}

/// The description of a machine that is written down in `folder`.
pub(super) fn domain_xml(name: &str, spec: &MachineSpec, mark: &Mark, folder: &Path, driver: Driver) -> String {
    let file = |name: &str| escape(&folder.join(name).to_string_lossy());
    let (kind, os) = match driver {
        Driver::Qemu(kind) => (kind, "<type arch='x86_64' machine='q35'>hvm</type>"),
        Driver::Test => ("test", "<type>hvm</type>"),
    };
    let mut devices = String::new();
    let boot = match &spec.image {
        Image::Kernel { kernel, initrd, command_line } => {
            let path = |path: &Path| escape(&path.to_string_lossy());
            let initrd = initrd.as_deref().map_or(String::new(), |initrd| format!("<initrd>{}</initrd>", path(initrd)));
            format!("<kernel>{}</kernel>{initrd}<cmdline>{}</cmdline>", path(kernel), escape(command_line))
        }
        Image::Disk { .. } => {
            let disk = file("disk.qcow2");
            devices += &format!(
                "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>\
                 <target dev='vda' bus='virtio'/></disk>"
            );
            "<boot dev='hd'/>".to_owned()
        }
        Image::Provider { .. } => String::new(),
    };
    if spec.configuration.is_some() {
        let dev = if matches!(spec.image, Image::Disk { .. }) { "vdb" } else { "vda" };
        let seed = file("seed.img");
        devices += &format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{seed}'/>\
             <target dev='{dev}' bus='virtio'/><readonly/></disk>"
        );
    }
    for port in &spec.ports {
        let (bridge, of_switch, offloads) = match &port.attachment {
            Attachment::Bridge(bridge) => (bridge, String::new(), ""),
            Attachment::OpenVswitch { bridge, interface } => {
                let parameters = format!("<parameters interfaceid='{interface}'/>");
                (bridge, format!("<virtualport type='openvswitch'>{parameters}</virtualport>"), OFFLOADS_OFF)
            }
            Attachment::Network(_) => continue,
        };
        let (bridge, name, mac) = (escape(bridge), escape(&port.name), port.mac);
        devices += &format!(
            "<interface type='bridge'><source bridge='{bridge}'/>{of_switch}<target dev='{name}'/>\
             <mac address='{mac}'/><model type='virtio'/>{offloads}</interface>"
        );
    }
    if driver != Driver::Test {
        let console = file("console.log");
        devices += &format!("<serial type='file'><source path='{console}' append='off'/><target port='0'/></serial>");
        devices += "<memballoon model='virtio'><stats period='2'/></memballoon>";
    }
    let (uuid, mark, name) = (mark.uuid(), mark.to_string(), escape(name));
    let (memory, vcpus) = (spec.memory.0 >> 10, spec.vcpus);
    let processor = if driver == Driver::Test { "" } else { "<features><acpi/></features><cpu mode='maximum'/>" };
    format!(
        "<domain type='{kind}'><name>{name}</name><uuid>{uuid}</uuid>\
         <metadata><forebay:machine xmlns:forebay='{NAMESPACE}' mark='{mark}'/></metadata>\
         <memory unit='KiB'>{memory}</memory><currentMemory unit='KiB'>{memory}</currentMemory><vcpu>{vcpus}</vcpu>\
         <os>{os}{boot}</os>{processor}\
         <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>\
         <devices>{devices}</devices></domain>"
    )
}

/// The mark in our element of a domain's metadata.
pub(super) fn mark_of(element: &str) -> Option<Mark> {
    let (_, rest) = element.split_once("mark=")?;
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    rest[1..].split(quote).next()?.parse().ok()
}

/// The userspace datapath of Open vSwitch fills in no checksums that were left to a device.
const OFFLOADS_OFF: &str = "<driver name='qemu'>\
    <host csum='off' gso='off' tso4='off' tso6='off' ecn='off' ufo='off'/>\
    <guest csum='off' tso4='off' tso6='off' ecn='off' ufo='off'/></driver>";

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '\'' => escaped += "&apos;",
            '"' => escaped += "&quot;",
            other => escaped.push(other),
        }
    }
    escaped
}
