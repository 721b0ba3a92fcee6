//! Slices on real links: what shall stand on one, what stands there, and the executors that make the one the other.
//!
//! ```text
//!   Plan ─▶ LinkSlices ──▶ SliceExecutor::apply ──▶ switch, kernel
//!                              ▲        │ reads back
//!                              └────────┘ until what stands is what shall
//! ```
//!
//! | executor | guarantee | ceiling | weight | priority | mark | port security | done means |
//! |---|---|---|---|---|---|---|---|
//! | [`tc`]: a Linux device, HTB by netlink | yes | yes | yes | yes | no | no | verified |
//! | [`ovs`]: Open vSwitch, HTB by OVSDB | yes | yes | no | yes | yes | yes | verified |
//! | [`ovn`]: OVN's northbound database | no | yes | no | no | yes | yes | applied |
//! | [`fake`]: a switch in memory, with faults to set | as set | | | | | | as set |
//!
//! An executor is level-triggered: [`SliceExecutor::apply`] looks at what stands, writes what differs, and looks again;
//! after a crash, of ours or of the switch, the same call with the same slices mends what is left. It touches nothing that
//! does not bear its owner's mark, and takes everything that does for its own.
//!
//! Whoever is only to look is given a [`SliceView`]: each executor's module has one, which holds nothing that can write.

mod database;
mod enforced;
mod error;
mod executor;
pub mod fake;
mod filters;
mod link;
pub mod ovn;
pub mod ovs;
mod standing;
pub mod tc;
mod view;

pub use crate::gate::{Gate, Stopped};
pub use enforced::{Enforced, MTU_BYTES, PRIORITIES_MOST};
pub use error::SliceError;
pub use executor::{Applied, SliceExecutor};
pub use link::{LinkSlices, MacAddress, Port, Slice};
pub use standing::{Standing, StandingPort};
pub use view::{Counters, SliceView};
