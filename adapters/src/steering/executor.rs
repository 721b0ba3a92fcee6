//! What every executor of steering can do beside looking.

use forebay_world::Acknowledgement;

use super::answers::Answers;
use super::view::SteeringView;
use super::{Gate, SteeringError};

/// Makes a name server answer what shall be answered.
pub trait SteeringExecutor: SteeringView {
    /// Makes what is answered what shall be, and asks for it. Writes only what differs: the same answers once more write
    /// nothing. What is no longer wanted goes last.
    ///
    /// # Errors
    /// [`SteeringError`]. After a refusal nothing has been written; after anything else, the same call again goes on from
    /// what has been.
    fn apply(&mut self, wanted: &Answers, gate: &mut Gate) -> Result<Applied, SteeringError>;

    /// Removes everything that bears our mark.
    ///
    /// # Errors
    /// [`SteeringError`], as [`SteeringExecutor::apply`].
    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError>;

    /// Takes the last generation back: every name that it changed is answered as before it, however often that generation
    /// was applied and wherever it was interrupted. Once more writes nothing. The generation stands as it was, so that older
    /// answers stay stale; the same generation applied again does all of it again.
    ///
    /// # Errors
    /// [`SteeringError::NothingToRollBack`], and as [`SteeringExecutor::apply`].
    fn rollback(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError>;
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Applied {
    /// Writes of answers; none when everything stood already. What a writer writes to be the only one does not count.
    pub writes: u32,
    /// What is known of them.
    pub acknowledgement: Acknowledgement,
    /// Largest share of a name's clients, 0 to 1, that is answered otherwise than the weights say, for want of a finer
    /// way to express them.
    pub share_off: f64,
}

impl<E: SteeringExecutor + ?Sized> SteeringExecutor for Box<E> {
    fn apply(&mut self, wanted: &Answers, gate: &mut Gate) -> Result<Applied, SteeringError> {
        (**self).apply(wanted, gate)
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError> {
        (**self).remove(gate)
    }

    fn rollback(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError> {
        (**self).rollback(gate)
    }
}
