//! The contract between Forebay's controller and any world it can run in.
//!
//! A [`World`] is something one can *wait in*, *look at* and *ask of*. A simulated world processes events
//! while it waits; a production world sleeps. Everything above this crate (forecasts, policies, guards, the
//! journal) is written against the types found here and cannot tell which world it is in.
//!
//! This crate reads no clock, opens no file and draws no random number.
//!
//! ```text
//!            Observation                    Plan
//!   World ───────────────▶ controller ───────────────▶ World
//!   (sim, adapters)         (forebay)                  (the same)
//! ```

pub mod capability;
pub mod meter;
pub mod observation;
pub mod occurrence;
pub mod placement;
pub mod plan;
pub mod time;
pub mod topology;
pub mod units;
mod world;

pub use capability::{Acknowledgement, Capabilities, DSCP_MAX, Refusal};
pub use meter::{Exposure, Meter, QueryCount, QuerySample};
pub use observation::{Demand, HostSeen, KnownEvent, LatencySeen, LinkUse, Observation, SliceUse, VmSeen, VmState};
pub use occurrence::{Occurrence, What};
pub use placement::{HostLedger, Room};
pub use plan::{Generation, Plan, PlannedSlice, PlannedVm, Steering, Step, VmId, VmIntent};
pub use time::{Duration, Timestamp};
pub use topology::{
    ClassId, Flavour, FlavourId, Host, HostId, Link, LinkEnds, LinkId, Region, RegionId, ResourceClass, SliceId, Slo,
    Topology, Work,
};
pub use units::{BitsPerSecond, Bytes, Cpu, UnitError};
pub use world::{Synchrony, World, WorldError};
