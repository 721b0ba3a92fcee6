//! The command line of a machine (qemu-system-x86_64(1)).

use std::ffi::OsString;
use std::path::Path;

use super::process::MARK_ARGUMENT;
use super::{Acceleration, QemuHost};
use crate::machines::{Attachment, Image, MachineSpec, Mark};

/// Arguments of QEMU for a machine that is written down in `folder`.
pub(super) fn arguments(host: &QemuHost, spec: &MachineSpec, mark: &Mark, folder: &Path) -> Vec<OsString> {
    let mut line = Line(Vec::new());
    let acceleration = match host.acceleration {
        Acceleration::Tcg => "tcg",
        Acceleration::Kvm => "kvm",
    };
    line.put(&["-name", &format!("guest={}", spec.vm)]);
    line.put(&["-uuid", &mark.uuid().to_string()]);
    // By it whoever finds the process knows whose it is, and the machine who it is.
    line.put(&["-smbios", &format!("{MARK_ARGUMENT}{mark}")]);
    line.put(&["-accel", acceleration, "-machine", "q35", "-cpu", &host.processor]);
    line.put(&["-m", &(spec.memory.0 >> 20).to_string(), "-smp", &spec.vcpus.to_string()]);
    line.put(&["-nodefaults", "-no-user-config", "-display", "none"]);
    line.file("-qmp", "unix:", &folder.join("qmp.sock"), ",server=on,wait=off");
    line.plain("-pidfile", &folder.join("pid"));
    line.file("-chardev", "file,id=console,path=", &folder.join("console.log"), "");
    line.put(&["-serial", "chardev:console"]);
    line.put(&["-device", "virtio-balloon-pci,id=balloon,guest-stats-polling-interval=2", "-device", "pvpanic-pci"]);
    // A guest that panicked is there to be seen, and no end of its own.
    line.put(&["-action", "panic=pause"]);
    match &spec.image {
        Image::Kernel { kernel, initrd, command_line } => {
            line.plain("-kernel", kernel);
            if let Some(initrd) = initrd {
                line.plain("-initrd", initrd);
            }
            line.put(&["-append", command_line]);
        }
        Image::Disk { .. } => {
            line.file("-drive", "if=none,id=disk,format=qcow2,file=", &folder.join("disk.qcow2"), "");
            line.put(&["-device", "virtio-blk-pci,drive=disk,bootindex=0"]);
        }
        Image::Provider { .. } => {}
    }
    if spec.configuration.is_some() {
        line.file("-drive", "if=none,id=seed,format=raw,readonly=on,file=", &folder.join("seed.img"), "");
        line.put(&["-device", "virtio-blk-pci,drive=seed,serial=seed"]);
    }
    for (at, port) in spec.ports.iter().enumerate() {
        // The userspace datapath of Open vSwitch fills in no checksums that were left to a device.
        let is_ovs = matches!(port.attachment, Attachment::OpenVswitch { .. });
        let (header, offload) = if is_ovs { (",vnet_hdr=off", OFFLOADS_OFF) } else { ("", "") };
        let name = &port.name;
        line.put(&["-netdev", &format!("tap,id=net{at},ifname={name},script=no,downscript=no{header}")]);
        line.put(&["-device", &format!("virtio-net-pci,netdev=net{at},mac={},romfile={offload}", port.mac)]);
    }
    if spec.paused {
        line.put(&["-S"]);
    }
    // It comes back when the machine is set up, or says why it is not; and goes on without us.
    line.put(&["-daemonize"]);
    line.0
}

const OFFLOADS_OFF: &str = ",csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,guest_csum=off,guest_tso4=off,\
     guest_tso6=off,guest_ecn=off,guest_ufo=off";

struct Line(Vec<OsString>);

impl Line {
    fn put(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn plain(&mut self, option: &str, path: &Path) {
        self.0.extend([option.into(), path.as_os_str().to_owned()]);
    }

    /// An option that names a file among other things: a comma in it is written twice.
    fn file(&mut self, option: &str, before: &str, path: &Path, after: &str) {
        let path = path.to_string_lossy().replace(',', ",,");
        self.put(&[option, &format!("{before}{path}{after}")]);
    }
}
