//! Virtual machines on real hypervisors: what shall run, what runs there, and the executors that make the one the other.
//!
//! ```text
//!   Step::Launch ─▶ MachineSpec ──▶ MachineExecutor::create ──▶ hypervisor
//!                                       ▲        │ looks again
//!                                       └────────┘ until what runs is what shall
//! ```
//!
//! | executor | image | identity | mark | survives us |
//! |---|---|---|---|---|
//! | [`qemu`]: processes of its own, by QMP | kernel, disk | UUID on the command line | file written before the start, SMBIOS | yes |
#![cfg_attr(
    feature = "libvirt",
    doc = "| [`libvirt`]: domains of a libvirt daemon | kernel, disk | UUID of the domain | `<metadata>`, file | yes |"
)]
#![cfg_attr(
    feature = "ec2",
    doc = "| [`ec2`]: instances of a cloud with EC2's interface | the provider's | client token, tags | tags | yes |"
)]
//! | [`fake`]: a hypervisor in memory, with faults to set | any | as set | as set | yes |
//!
//! An executor is level-triggered: it looks at what is there, writes what differs, and looks again; after a crash, of ours
//! or of the hypervisor, the same call mends what is left. Who a machine is stands outside, written as it is made: the
//! UUID follows from [`Owner`] and [`VmId`](forebay_world::VmId), and a [`Mark`] says the rest, so that a machine is
//! adopted by whoever starts next, and is ours or foreign without a journal. What is foreign is counted and never touched.
//!
//! Whoever is only to look is given a [`MachineView`]: each executor's module has one, which holds nothing that can write.
//!
//! That a machine runs does not say that it serves: a hypervisor cannot tell. Whoever sends it sessions asks it first.

#[cfg(feature = "ec2")]
pub mod ec2;
mod error;
mod executor;
pub mod fake;
mod folder;
mod identity;
mod inventory;
#[cfg(feature = "libvirt")]
pub mod libvirt;
mod program;
pub mod qemu;
pub mod seed;
mod spec;
mod statistics;
mod view;

pub use crate::gate::{Gate, Stopped};
pub use crate::slices::MacAddress;
pub use error::MachineError;
pub use executor::{Collected, Done, MachineExecutor};
pub use identity::{Mark, Owner, SpecDigest};
pub use inventory::{Foreign, Inventory, Machine, MachineState};
pub use spec::{Attachment, Configuration, DiskFormat, Image, MachinePort, MachineSpec};
pub use statistics::{DiskStatistics, InterfaceStatistics, MachineStatistics};
pub use view::{MachineCapabilities, MachineView};
