//! The seam: what every world can do, and how it can fail.

use crate::{Duration, Generation, Observation, Plan, RegionId, Timestamp};

/// A place where time passes, demand arrives and capacity stands: simulated or real.
///
/// The controller's loop is the same in both:
///
/// ```text
/// loop { world.wait_until(tick); let seen = world.observe(); let plan = controller.step(&seen); world.submit(plan) }
/// ```
pub trait World {
    /// The present moment in this world.
    fn now(&self) -> Timestamp;

    /// Lets time pass until `deadline`: a simulated world processes its events, a production world sleeps.
    ///
    /// # Errors
    /// [`WorldError::Unreachable`] when what time is measured by is gone; the caller may try again.
    fn wait_until(&mut self, deadline: Timestamp) -> Result<Synchrony, WorldError>;

    /// Closes the current window and returns what was seen in it.
    ///
    /// # Errors
    /// [`WorldError::Unreachable`] when nothing at all could be seen. A part that is missing is not an error:
    /// the observation says so.
    fn observe(&mut self) -> Result<Observation, WorldError>;

    /// Accepts the plan and returns at once. What became of it is seen in later observations, never by callback.
    ///
    /// # Errors
    /// [`WorldError::Stale`] when a newer plan has been applied already.
    fn submit(&mut self, plan: &Plan) -> Result<(), WorldError>;
}

/// How well a world kept up with the deadline it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchrony {
    /// The wait ended at the deadline.
    OnTime,
    /// The wait ended this much after the deadline: a controller that cannot keep its pace must be seen.
    Late(Duration),
}

/// Why a world could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Transient: the same call may succeed at the next tick.
    #[error("{endpoint} is unreachable")]
    Unreachable {
        /// What was addressed, as the operator names it.
        endpoint: String,
        /// Why it did not answer.
        #[source]
        source: std::io::Error,
    },
    /// The world has applied a newer plan than the one submitted. Not retried.
    #[error("plan {submitted} is stale: plan {applied} has been applied")]
    Stale {
        /// Generation of the refused plan.
        submitted: Generation,
        /// Generation that stands.
        applied: Generation,
    },
    /// The plan asks for what the world does not have. The planner must plan again.
    #[error("region {region} has {available} places for virtual machines, plan asks for {asked}")]
    Insufficient {
        /// Where room is missing.
        region: RegionId,
        /// Virtual machines asked for.
        asked: u32,
        /// Virtual machines there is room for.
        available: u32,
    },
}
