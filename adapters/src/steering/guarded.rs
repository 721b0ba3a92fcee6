//! Guard rails before an executor: it is asked what stands, and given no more than may change at once.

use super::answers::Answers;
use super::executor::{Applied, SteeringExecutor};
use super::rails::{RailedStep, Rails};
use super::{Gate, SteeringError};

/// An executor that is given nothing but what [`Rails`] let through.
#[derive(Debug)]
pub struct Guarded<E> {
    executor: E,
    rails: Rails,
}

/// One step towards what is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardedStep {
    /// What was done.
    pub applied: Applied,
    /// What was let through, what was held back, and what may be stopped when.
    pub step: RailedStep,
}

impl<E: SteeringExecutor> Guarded<E> {
    /// Puts rails before an executor.
    ///
    /// # Errors
    /// [`SteeringError::Contradiction`] for rails that mean nothing.
    pub fn new(executor: E, rails: Rails) -> Result<Guarded<E>, SteeringError> {
        rails.check().map_err(|what| SteeringError::Contradiction { what })?;
        Ok(Guarded { executor, rails })
    }

    /// The executor: to look at what stands, to remove or to roll back, which no rail holds up.
    pub fn executor(&mut self) -> &mut E {
        &mut self.executor
    }

    /// Goes one step towards what is wanted. Where more is left to move, the same call later goes on.
    ///
    /// # Errors
    /// As [`SteeringView::read`](super::SteeringView::read) and [`SteeringExecutor::apply`].
    pub fn apply(&mut self, wanted: &Answers, gate: &mut Gate) -> Result<GuardedStep, SteeringError> {
        wanted.check_sizes()?;
        let standing = self.executor.read()?;
        let step = self.rails.step(&standing, wanted);
        let applied = self.executor.apply(&step.answers, gate)?;
        Ok(GuardedStep { applied, step })
    }
}
