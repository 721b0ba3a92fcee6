//! What every executor of slices can do beside looking.

use forebay_world::Acknowledgement;

use super::link::LinkSlices;
use super::view::SliceView;
use super::{Gate, SliceError};

/// Makes slices stand on one real link.
pub trait SliceExecutor: SliceView {
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
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Writes; none when everything stood already.
    pub writes: u32,
    /// What is known of them.
    pub acknowledgement: Acknowledgement,
}

impl<E: SliceExecutor + ?Sized> SliceExecutor for Box<E> {
    fn apply(&mut self, wanted: &LinkSlices, gate: &mut Gate) -> Result<Applied, SliceError> {
        (**self).apply(wanted, gate)
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SliceError> {
        (**self).remove(gate)
    }
}
