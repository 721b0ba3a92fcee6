//! `[[hypervisor]]`, `[image.FLAVOUR]` and `[health.CLASS]`.

use std::path::PathBuf;

use forebay_world::Duration;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::scenario::spec::unplaced;

/// `[[hypervisor]]`: what makes the machines of some hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HypervisorSpec {
    /// Hosts by name, `*` standing for any characters.
    pub hosts: Spanned<String>,
    /// `libvirt`, `qemu` or `ec2`; it decides which of the keys below are needed.
    pub kind: Spanned<HypervisorKind>,
    /// libvirt: where its daemon is; `{host}` stands for the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<Spanned<String>>,
    /// libvirt and QEMU: folder in which machines are written down; `machines` in the state folder unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<Spanned<PathBuf>>,
    /// libvirt and QEMU: how guests are run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acceleration: Option<Spanned<AccelerationSpec>>,
    /// QEMU: the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Spanned<PathBuf>>,
    /// QEMU: the processor that guests see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor: Option<Spanned<String>>,
    /// QEMU: database of the Open vSwitch that machines are attached to; that of the region's network unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ovs: Option<Spanned<String>>,
    /// EC2: where it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Spanned<String>>,
    /// EC2: its region, which signatures hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Spanned<String>>,
    /// EC2: file of credentials as AWS's own programs keep it; the environment unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<Spanned<PathBuf>>,
    /// EC2: profile in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Spanned<String>>,
    /// EC2: network that instances are put in, which also decides their availability zone; the account's unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<Spanned<String>>,
    /// EC2: security groups of instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_groups: Option<Spanned<Vec<String>>>,
}

/// Kinds of hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HypervisorKind {
    /// Domains of a libvirt daemon.
    Libvirt,
    /// Processes of QEMU on this machine.
    Qemu,
    /// Instances of a cloud.
    Ec2,
}

/// How guests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccelerationSpec {
    /// By the kernel's virtual machines.
    Kvm,
    /// By translating their instructions: works everywhere, slowly.
    Tcg,
}

/// `[image.FLAVOUR]`: what a machine of this flavour boots. A disk or a kernel for hosts of ours, an image and a kind for
/// a provider's; both where there are both kinds of hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// A disk, which stays as it is: each machine writes to a layer of its own. An absolute path on the hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Spanned<PathBuf>>,
    /// How the disk is laid out: `qcow2` or `raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Spanned<DiskFormatSpec>>,
    /// A kernel, in place of a disk. An absolute path on the hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Spanned<PathBuf>>,
    /// Its initial file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd: Option<Spanned<PathBuf>>,
    /// Its command line, with what is filled in as in user data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<Spanned<String>>,
    /// An image that the provider knows: `ami-…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_image: Option<Spanned<String>>,
    /// The provider's kind of machine: `t3.medium`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_kind: Option<Spanned<String>>,
    /// A file for cloud-init, beside the production file unless absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<Spanned<PathBuf>>,
}

/// How a disk is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormatSpec {
    /// Byte by byte.
    Raw,
    /// QEMU's own.
    Qcow2,
}

/// `[health.CLASS]`: how it is told that a machine of this class serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthSpec {
    /// Port that answers HTTP.
    pub port: Spanned<u16>,
    /// Path that answers 200 to 299 when the machine serves.
    pub path: Spanned<String>,
    /// Name that is asked for (`Host:`); the machine's address unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Spanned<String>>,
    /// Time from one question to the next.
    #[serde(default = "period")]
    pub period: Spanned<Duration>,
    /// Time that an answer may take.
    #[serde(default = "timeout")]
    pub timeout: Spanned<Duration>,
    /// Good answers in a row that make a machine healthy.
    #[serde(default = "healthy_after")]
    pub healthy_after: Spanned<u32>,
    /// Bad ones in a row that make it unhealthy.
    #[serde(default = "unhealthy_after")]
    pub unhealthy_after: Spanned<u32>,
    /// Where a machine says how many sessions it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Spanned<SessionsSpec>>,
    /// Paths that are asked for before a machine gets clients, so that its cache holds what is popular.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm: Vec<Spanned<String>>,
    /// A file of such paths, one a line, beside the production file unless absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_file: Option<Spanned<PathBuf>>,
}

/// `sessions`: a page on the same port. Without `metric` and `pointer`, a number is all that it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionsSpec {
    /// Its path.
    pub path: Spanned<String>,
    /// The metric, where the page is in Prometheus's text format; samples of several labels add up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Spanned<String>>,
    /// The place (RFC 6901), where the page is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<Spanned<String>>,
}

fn period() -> Spanned<Duration> {
    unplaced(Duration::from_secs(5))
}

fn timeout() -> Spanned<Duration> {
    unplaced(Duration::from_secs(2))
}

fn healthy_after() -> Spanned<u32> {
    unplaced(2)
}

fn unhealthy_after() -> Spanned<u32> {
    unplaced(3)
}
