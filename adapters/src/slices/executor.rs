//! What every executor of slices can do.

use std::collections::BTreeMap;

use forebay_world::{Acknowledgement, Capabilities, SliceId};

use super::link::LinkSlices;
use super::standing::Standing;
use super::{Gate, SliceError};

/// Makes slices stand on one real link.
pub trait SliceExecutor {
    /// The link, as operators know it: `fbpd of bridge fbr0 on unix:/run/openvswitch/db.sock`.
    fn link(&self) -> String;

    /// What it can express here.
    fn capabilities(&self) -> Capabilities;

    /// What stands. Reads only.
    ///
    /// # Errors
    /// [`SliceError`] when it cannot be seen.
    fn read(&mut self) -> Result<Standing, SliceError>;

    /// Makes what stands what shall, and reads it back. Writes only what differs: the same slices once more write
    /// nothing. What is no longer wanted goes last.
    ///
    /// # Errors
    /// [`SliceError`]. After a refusal nothing has been written; after anything else, the same call again goes on from what
    /// has been.
    fn apply(&mut self, wanted: &LinkSlices, gate: &mut Gate) -> Result<Applied, SliceError>;

    /// Removes everything that bears our mark here, and leaves the link as it would be without us.
    ///
    /// # Errors
    /// [`SliceError`], as [`SliceExecutor::apply`].
    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SliceError>;

    /// What each slice that stands has carried since it stands. Empty where nothing is counted.
    ///
    /// # Errors
    /// [`SliceError`] when it cannot be seen.
    fn counters(&mut self) -> Result<BTreeMap<SliceId, Counters>, SliceError>;
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Writes; none when everything stood already.
    pub writes: u32,
    /// What is known of them.
    pub acknowledgement: Acknowledgement,
}

/// What a slice has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes sent, with link-layer headers.
    pub bytes: u64,
    /// Packets sent.
    pub packets: u64,
    /// Packets dropped.
    pub dropped: u64,
}
