//! Programs that are run to their end, and what they say when they fail.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forebay_world::VmId;

use super::{Gate, Image, MachineError, MachineSpec};

/// Runs a program that ends soon.
pub(super) fn run(mut command: Command, endpoint: &str, vm: VmId, what: &str) -> Result<(), MachineError> {
    let endpoint = endpoint.to_owned();
    let name = PathBuf::from(command.get_program()).display().to_string();
    let what = format!("{what} of {vm}");
    let output = match command.stdin(Stdio::null()).stdout(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = "Debian's packages qemu-system-x86 and qemu-utils have them";
            return Err(MachineError::Missing { endpoint, kind: "program", name, hint });
        }
        Err(error) => return Err(MachineError::Rejected { endpoint, what, why: error.to_string() }),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if is_no_room(&said) {
        return Err(MachineError::Quota { endpoint, vm, why: said });
    }
    let why = if said.is_empty() { format!("{name} ended with {}", output.status) } else { said };
    Err(MachineError::Rejected { endpoint, what, why })
}

/// Whether that is said where memory or disk has run out.
pub(super) fn is_no_room(said: &str) -> bool {
    let words = ["annot allocate memory", "cannot set up guest memory", "No space left on device"];
    words.iter().any(|word| said.contains(word))
}

/// Makes the layer above a machine's disk for what it writes, where it needs one and has none; the writes.
pub(super) fn make_layer(
    spec: &MachineSpec,
    folder: &Path,
    endpoint: &str,
    gate: &mut Gate,
) -> Result<u32, MachineError> {
    let Image::Disk { base, format } = &spec.image else { return Ok(0) };
    let disk = folder.join("disk.qcow2");
    if disk.exists() {
        return Ok(0);
    }
    gate.pass(&format!("disk of {}", spec.vm))?;
    let fresh = disk.with_extension("new");
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", format.notation(), "-b"]).arg(base).arg(&fresh);
    run(command, endpoint, spec.vm, "disk")?;
    fs::rename(&fresh, &disk).map_err(|error| MachineError::Rejected {
        endpoint: endpoint.to_owned(),
        what: format!("disk of {}", spec.vm),
        why: error.to_string(),
    })?;
    Ok(1)
}

/// Refuses images that are not there: absolute paths of files on this host.
pub(super) fn check_files(image: &Image, endpoint: &str) -> Result<(), MachineError> {
    let files: Vec<&PathBuf> = match image {
        Image::Kernel { kernel, initrd, .. } => std::iter::once(kernel).chain(initrd).collect(),
        Image::Disk { base, .. } => vec![base],
        Image::Provider { image, .. } => {
            let (endpoint, what) = (endpoint.to_owned(), format!("image {image:?} of a provider"));
            return Err(MachineError::Unsupported { endpoint, what, allowed: "a kernel or a disk, by its path" });
        }
    };
    for file in files {
        let name = file.display().to_string();
        if !file.is_absolute() {
            let (endpoint, what) = (endpoint.to_owned(), format!("image {name}"));
            return Err(MachineError::Unsupported { endpoint, what, allowed: "an absolute path" });
        }
        if !file.is_file() {
            let hint = "images are named in the configuration of flavours";
            return Err(MachineError::Missing { endpoint: endpoint.to_owned(), kind: "image", name, hint });
        }
    }
    Ok(())
}
