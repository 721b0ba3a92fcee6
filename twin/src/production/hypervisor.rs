//! `[[hypervisor]]`, checked: what makes the machines of each host.
//!
//! Hosts whose sections come to the same are on one hypervisor, which is opened once: a cloud's region, a machine with
//! several hosts of the topology on it. Which of those hosts a machine counts for is whoever's who made it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forebay_adapters::machines::ec2::{Credentials, Ec2Executor, Ec2Region, Ec2View, NoCredentials};
#[cfg(feature = "libvirt")]
use forebay_adapters::machines::libvirt::{LibvirtExecutor, LibvirtHost, LibvirtView};
use forebay_adapters::machines::qemu::{Acceleration, QemuExecutor, QemuHost, QemuView};
use forebay_adapters::machines::{MachineError, MachineExecutor, MachineView, Owner};
use forebay_adapters::name_classes::fits_glob;
use forebay_adapters::ovsdb::Endpoint;
use forebay_world::HostId;
use toml::Spanned;

use super::answering::check_url;
use super::network::Network;
use super::secret::{SecretError, check_private};
use super::spec::{AccelerationSpec, HypervisorKind, HypervisorSpec, ProductionSpec};
use super::unused_keys;
use crate::link::Executor;
use crate::scenario::finding::Findings;
use crate::scenario::nearest;
use crate::scenario::site::Site;

/// What makes machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hypervisor {
    /// Domains of a libvirt daemon.
    Libvirt {
        /// Where it is.
        uri: String,
        /// Folder in which machines are written down; the daemon reads their disks there.
        folder: PathBuf,
        /// Whether guests are run by the kernel's virtual machines, or by translation.
        kvm: bool,
    },
    /// Processes of QEMU on this machine.
    Qemu {
        /// Folder in which machines are written down.
        folder: PathBuf,
        /// The program.
        program: PathBuf,
        /// Whether guests are run by the kernel's virtual machines, or by translation.
        kvm: bool,
        /// The processor that guests see.
        processor: String,
        /// Database of the Open vSwitch that machines are attached to.
        ovs: Option<Endpoint>,
    },
    /// Instances of a cloud.
    Ec2 {
        /// Where it is asked.
        endpoint: String,
        /// Its region.
        region: String,
        /// File of credentials and profile in it; the environment where `None`.
        credentials: Option<(PathBuf, String)>,
        /// Network that instances are put in.
        subnet: Option<String>,
        /// Their security groups.
        groups: Vec<String>,
    },
}

/// A hypervisor and the hosts that are on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedOn {
    /// What makes their machines.
    pub hypervisor: Hypervisor,
    /// The hosts, ascending.
    pub hosts: Vec<HostId>,
}

/// Why a hypervisor cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It says so.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// There are no credentials for it.
    #[error(transparent)]
    Credentials(#[from] NoCredentials),
    /// Its credentials are open to others.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// This program was built without it.
    #[error("this forebay was built without libvirt")]
    WithoutLibvirt,
}

/// How a forebay with libvirt comes about.
pub const BUILD_WITH_LIBVIRT: &str = "build it with `cargo build --release --features libvirt` (Debian: libvirt-dev), or use `kind = \"qemu\"` on the host";

impl OpenError {
    /// What may help; empty where nothing is known to.
    pub fn hint(&self) -> &'static str {
        match self {
            OpenError::Machine(error) => machine_hint(error),
            OpenError::Credentials(error) => error.hint,
            OpenError::Secret(error) => error.hint(),
            OpenError::WithoutLibvirt => BUILD_WITH_LIBVIRT,
        }
    }
}

fn machine_hint(error: &MachineError) -> &'static str {
    match error {
        MachineError::Unreachable { endpoint, .. } if endpoint.contains("qemu") || endpoint.contains("test:") => {
            "is its daemon running, and may this user reach its socket (group libvirt)?"
        }
        MachineError::Unreachable { .. } => "is the address right, and can this machine reach it?",
        MachineError::Denied { .. } => "the credentials are known, and lack the permission",
        MachineError::Rejected { .. } => "see that this user may read and make folders there",
        _ => "",
    }
}

impl Hypervisor {
    /// Whether it is a provider's, which decides about addresses and has images of its own.
    pub fn is_provider(&self) -> bool {
        matches!(self, Hypervisor::Ec2 { .. })
    }

    /// As operators know it.
    pub fn name(&self) -> String {
        match self {
            Hypervisor::Libvirt { uri, .. } => uri.clone(),
            Hypervisor::Qemu { folder, .. } => format!("qemu in {}", folder.display()),
            Hypervisor::Ec2 { endpoint, region, .. } => format!("{region} at {endpoint}"),
        }
    }

    /// An error of its, for people: where it does not let us in, with the place of what was asked with.
    pub fn told(&self, error: &MachineError) -> String {
        match (self, error) {
            (Hypervisor::Ec2 { credentials, .. }, MachineError::Denied { .. }) => {
                let place = credentials.as_ref().map_or_else(
                    || "the environment (AWS_ACCESS_KEY_ID)".to_owned(),
                    |(file, profile)| format!("profile {profile} of {}", file.display()),
                );
                format!("{error}; its credentials are those of {place}")
            }
            _ => error.to_string(),
        }
    }

    /// Opens it for writing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, owner: &Owner) -> Result<Box<dyn MachineExecutor>, OpenError> {
        Ok(match self {
            #[cfg(feature = "libvirt")]
            Hypervisor::Libvirt { uri, folder, kvm } => {
                let host = LibvirtHost { uri: uri.clone(), state: folder.clone(), kvm: *kvm };
                Box::new(LibvirtExecutor::connect(host, owner.clone())?)
            }
            #[cfg(not(feature = "libvirt"))]
            Hypervisor::Libvirt { .. } => return Err(OpenError::WithoutLibvirt),
            Hypervisor::Qemu { .. } => Box::new(QemuExecutor::open(self.qemu_host(), owner.clone())?),
            Hypervisor::Ec2 { .. } => Box::new(Ec2Executor::new(self.ec2_region()?, owner.clone())?),
        })
    }

    /// Opens it to look: nothing is written, neither now nor by what is given.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn view(&self, owner: &Owner) -> Result<Box<dyn MachineView>, OpenError> {
        Ok(match self {
            #[cfg(feature = "libvirt")]
            Hypervisor::Libvirt { uri, folder, kvm } => {
                let host = LibvirtHost { uri: uri.clone(), state: folder.clone(), kvm: *kvm };
                Box::new(LibvirtView::connect(host, owner.clone())?)
            }
            #[cfg(not(feature = "libvirt"))]
            Hypervisor::Libvirt { .. } => return Err(OpenError::WithoutLibvirt),
            Hypervisor::Qemu { .. } => Box::new(QemuView::open(self.qemu_host(), owner.clone())?),
            Hypervisor::Ec2 { .. } => Box::new(Ec2View::new(self.ec2_region()?, owner.clone())?),
        })
    }

    /// Whether its machines read their images on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Hypervisor::Libvirt { uri, .. } => uri.contains(":///") && !uri.starts_with("test:"),
            Hypervisor::Qemu { .. } => true,
            Hypervisor::Ec2 { .. } => false,
        }
    }

    fn qemu_host(&self) -> QemuHost {
        let Hypervisor::Qemu { folder, program, kvm, processor, ovs } = self else {
            unreachable!("only QEMU is asked for it");
        };
        QemuHost {
            program: program.clone(),
            acceleration: if *kvm { Acceleration::Kvm } else { Acceleration::Tcg },
            processor: processor.clone(),
            ovs: ovs.clone(),
            ..QemuHost::new("this machine", folder)
        }
    }

    fn ec2_region(&self) -> Result<Ec2Region, OpenError> {
        let Hypervisor::Ec2 { endpoint, region, credentials, subnet, groups } = self else {
            unreachable!("only EC2 is asked for it");
        };
        let credentials = match credentials {
            Some((file, profile)) => {
                check_private(file)?;
                Credentials::from_file(file, profile)?
            }
            None => Credentials::from_environment()?,
        };
        let (endpoint, region) = (endpoint.clone(), region.clone());
        Ok(Ec2Region { endpoint, region, credentials, subnet: subnet.clone(), groups: groups.clone() })
    }
}

/// The hypervisors, and for each host (dense) the position of its own among them. The last section that names a host holds.
pub(super) fn check(
    spec: &ProductionSpec,
    site: &Site,
    networks: &[Option<Network>],
    (folder, state): (&Path, &Path),
    findings: &mut Findings,
) -> (Vec<HostedOn>, Vec<Option<usize>>) {
    let hosts = &site.topology.hosts;
    let mut section_of: Vec<Option<usize>> = vec![None; hosts.len()];
    for (at, section) in spec.hypervisor.iter().enumerate() {
        let pattern = &section.get_ref().hosts;
        let mut any = false;
        for (place, host) in section_of.iter_mut().zip(hosts) {
            if fits_glob(pattern.get_ref().as_bytes(), host.name.as_bytes()) {
                (*place, any) = (Some(at), true);
            }
        }
        if !any {
            let near = nearest(pattern.get_ref(), hosts.iter().map(|host| host.name.as_str()));
            let known: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).take(6).collect();
            findings.add(
                pattern.span(),
                format!("`hosts` names none: \"{}\"", pattern.get_ref()),
                format!("known: {}{}", known.join(", "), if hosts.len() > 6 { ", …" } else { "" }),
                near.map_or_else(
                    || "a region's hosts are its name, a hyphen, and a number of three digits: \"ams-*\"".to_owned(),
                    |near| format!("did you mean \"{near}\"?"),
                ),
            );
        }
        check_section(section, findings);
    }
    let mut hosted: Vec<HostedOn> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut hypervisor_of = vec![None; hosts.len()];
    for (at, section) in spec.hypervisor.iter().enumerate() {
        for (index, host) in hosts.iter().enumerate().filter(|(index, _)| section_of[*index] == Some(at)) {
            let network = networks.get(host.region.index()).and_then(Option::as_ref);
            let Some(hypervisor) = of_host(section.get_ref(), &host.name, network, folder, state) else { continue };
            // All that a hypervisor is stands in what it shows of itself.
            let found = *known.entry(format!("{hypervisor:?}")).or_insert_with(|| {
                if matches!(hypervisor, Hypervisor::Qemu { .. })
                    && hosted.iter().any(|known| matches!(known.hypervisor, Hypervisor::Qemu { .. }))
                {
                    findings.add(
                        section.span(),
                        "two different hypervisors of kind qemu",
                        "QEMU's processes are all of this machine",
                        "give all hosts of it one section, or put them on libvirt",
                    );
                }
                hosted.push(HostedOn { hypervisor, hosts: Vec::new() });
                hosted.len() - 1
            });
            hosted[found].hosts.push(HostId::at(index));
            hypervisor_of[index] = Some(found);
        }
    }
    (hosted, hypervisor_of)
}

/// The keys that a section must have, and those that its kind has no use for.
fn check_section(section: &Spanned<HypervisorSpec>, findings: &mut Findings) {
    use HypervisorKind::{Ec2, Libvirt, Qemu};
    let spec = section.get_ref();
    let kind = *spec.kind.get_ref();
    unused_keys(
        kind,
        &[
            ("uri", spec.uri.as_ref().map(Spanned::span), &[Libvirt]),
            ("folder", spec.folder.as_ref().map(Spanned::span), &[Libvirt, Qemu]),
            ("acceleration", spec.acceleration.as_ref().map(Spanned::span), &[Libvirt, Qemu]),
            ("program", spec.program.as_ref().map(Spanned::span), &[Qemu]),
            ("processor", spec.processor.as_ref().map(Spanned::span), &[Qemu]),
            ("ovs", spec.ovs.as_ref().map(Spanned::span), &[Qemu]),
            ("endpoint", spec.endpoint.as_ref().map(Spanned::span), &[Ec2]),
            ("region", spec.region.as_ref().map(Spanned::span), &[Ec2]),
            ("credentials_file", spec.credentials_file.as_ref().map(Spanned::span), &[Ec2]),
            ("profile", spec.profile.as_ref().map(Spanned::span), &[Ec2]),
            ("subnet", spec.subnet.as_ref().map(Spanned::span), &[Ec2]),
            ("security_groups", spec.security_groups.as_ref().map(Spanned::span), &[Ec2]),
        ],
        word,
        findings,
    );
    let mut needed = |missing: bool, key: &str, example: &str| {
        if missing {
            findings.add(
                section.span(),
                format!("a hypervisor of kind {} has no `{key}`", word(kind)),
                format!("`{key}` is needed here"),
                format!("add `{key} = {example}`"),
            );
        }
    };
    needed(kind == Libvirt && spec.uri.is_none(), "uri", "\"qemu:///system\"");
    needed(kind != Ec2 && spec.acceleration.is_none(), "acceleration", "\"kvm\"` where the host has it, `\"tcg\"");
    needed(kind == Ec2 && spec.endpoint.is_none(), "endpoint", "\"https://ec2.eu-central-1.amazonaws.com\"");
    needed(kind == Ec2 && spec.region.is_none(), "region", "\"eu-central-1\"");
    if kind == Libvirt && !cfg!(feature = "libvirt") {
        findings.add(
            spec.kind.span(),
            "this forebay was built without libvirt",
            if cfg!(feature = "libvirt") { "" } else { "built in: qemu, ec2" },
            BUILD_WITH_LIBVIRT,
        );
    }
    if let Some(uri) = &spec.uri {
        check_uri(uri, findings);
    }
    if let Some(endpoint) = &spec.endpoint {
        check_url(endpoint, "endpoint", &["http", "https"], findings);
        // Whether secrets may be sent there is known to whoever sends them; it asks nothing yet.
        let region = Ec2Region {
            endpoint: endpoint.get_ref().clone(),
            region: "none".to_owned(),
            credentials: Credentials::fixed("none", "none"),
            subnet: None,
            groups: Vec::new(),
        };
        let nobody: Owner = "nobody".parse().expect("a plain word");
        if let Err(error) = Ec2Executor::new(region, nobody)
            && !endpoint.get_ref().contains('@')
        {
            findings.add(
                endpoint.span(),
                format!("`endpoint`: {error}"),
                "https://…, or http:// on this machine",
                "such as \"https://ec2.eu-central-1.amazonaws.com\"",
            );
        }
    }
    if let (Some(profile), None) = (&spec.profile, &spec.credentials_file) {
        findings.add(
            profile.span(),
            "`profile` without `credentials_file`",
            "without a file, credentials are taken from the environment",
            "add `credentials_file = \"…\"`, or leave `profile` out",
        );
    }
    if let Some(ovs) = &spec.ovs
        && let Err(error) = Endpoint::parse(ovs.get_ref(), None)
    {
        findings.add(ovs.span(), format!("`ovs`: {error}"), "unix:/run/openvswitch/db.sock", error.hint());
    }
}

fn check_uri(uri: &Spanned<String>, findings: &mut Findings) {
    let text = uri.get_ref();
    let scheme = text.split_once("://").map(|(scheme, _)| scheme).or(text.split_once(":///").map(|(scheme, _)| scheme));
    findings.require(
        scheme.is_some_and(|scheme| !scheme.is_empty())
            && !text.contains(|c: char| c.is_whitespace() || c.is_control()),
        uri.span(),
        || "`uri` is no address of a libvirt daemon".to_owned(),
        "qemu:///system, qemu+ssh://{host}/system, qemu+tls://{host}/system",
        "`virsh -c URI list` tries one",
    );
    let authority = text.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    findings.require(
        !authority.split_once('@').is_some_and(|(user, _)| user.contains(':')),
        uri.span(),
        || "`uri` holds a password".to_owned(),
        "secrets stand in files of their own or in the environment",
        "use a key of ssh, or a certificate",
    );
    let strange = text.replace("{host}", "");
    findings.require(
        !strange.contains(['{', '}']),
        uri.span(),
        || "`uri` has braces that stand for nothing".to_owned(),
        "only {host}",
        "it is replaced by the host's name",
    );
}

/// The hypervisor of one host; `None` where something is missing, which has been said.
fn of_host(
    section: &HypervisorSpec,
    host: &str,
    network: Option<&Network>,
    beside: &Path,
    state: &Path,
) -> Option<Hypervisor> {
    let folder = section.folder.as_ref().map_or_else(|| state.join("machines"), |folder| state.join(folder.get_ref()));
    let kvm = section.acceleration.as_ref().is_some_and(|given| *given.get_ref() == AccelerationSpec::Kvm);
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.get_ref().clone());
    Some(match *section.kind.get_ref() {
        HypervisorKind::Libvirt => {
            Hypervisor::Libvirt { uri: text(&section.uri)?.replace("{host}", host), folder, kvm }
        }
        HypervisorKind::Qemu => Hypervisor::Qemu {
            folder,
            program: section.program.as_ref().map_or("qemu-system-x86_64".into(), |program| program.get_ref().clone()),
            kvm,
            processor: text(&section.processor).unwrap_or_else(|| if kvm { "host" } else { "max" }.to_owned()),
            ovs: match &section.ovs {
                Some(ovs) => Some(Endpoint::parse(ovs.get_ref(), None).ok()?),
                None => network.and_then(|network| match &network.executor {
                    Some(Executor::Ovs(port)) => Some(port.endpoint.clone()),
                    _ => None,
                }),
            },
        },
        HypervisorKind::Ec2 => Hypervisor::Ec2 {
            endpoint: text(&section.endpoint)?,
            region: text(&section.region)?,
            credentials: section.credentials_file.as_ref().map(|file| {
                let profile = text(&section.profile).unwrap_or_else(|| "default".to_owned());
                (beside.join(file.get_ref()), profile)
            }),
            subnet: text(&section.subnet),
            groups: section.security_groups.as_ref().map(|groups| groups.get_ref().clone()).unwrap_or_default(),
        },
    })
}

fn word(kind: HypervisorKind) -> &'static str {
    match kind {
        HypervisorKind::Libvirt => "libvirt",
        HypervisorKind::Qemu => "qemu",
        HypervisorKind::Ec2 => "ec2",
    }
}
