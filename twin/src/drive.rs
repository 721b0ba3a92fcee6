//! The loop; there is one. Whether time passes by events or by waiting, it is the same.

use std::ops::ControlFlow;
use std::sync::Arc;

use forebay_world::{Duration, Observation, Plan, Timestamp, World, WorldError};

use crate::controller::Controller;
use crate::decision::Decision;

/// Lets `controller` steer `world`, a decision each `period`, until `until`.
///
/// `on_tick` is called with what was seen and decided, and with the controller after it, before the plan is submitted, so that a journal holds a plan
/// before the world does; by returning [`ControlFlow::Break`] it ends the loop after that plan. `on_missed` is called
/// with the time of a tick at which the world could not be reached or could not do all that was planned: the plan
/// before stays in force, and the next tick tries again.
///
/// # Errors
/// [`WorldError::Stale`] when somebody else has submitted a newer plan: there must be one writer.
pub fn drive<W: World + ?Sized>(
    world: &mut W,
    controller: &mut Controller,
    period: Duration,
    until: Timestamp,
    mut on_tick: impl FnMut(&mut W, &Controller, Arc<Observation>, Arc<Plan>, Arc<Decision>) -> ControlFlow<()>,
    mut on_missed: impl FnMut(&mut W, Timestamp, &WorldError),
) -> Result<(), WorldError> {
    assert!(!period.is_zero(), "a loop without a period never ends");
    let mut tick = world.now();
    while tick < until {
        tick = tick.saturating_add(period).min(until);
        // How late a wait ended is seen in the observation: its window is longer. Ticks that were slept through are not made up
        // for.
        let seen = match world.wait_until(tick).and_then(|_| world.observe()) {
            Ok(seen) => Arc::new(seen),
            Err(error) => {
                on_missed(world, tick, &error);
                continue;
            }
        };
        if seen.at.since(tick) >= period {
            tick = seen.at.min(until);
        }
        let (plan, decision) = controller.step(&seen);
        let flow = on_tick(world, controller, seen, Arc::clone(&plan), decision);
        match world.submit(&plan) {
            Ok(()) => {}
            Err(error @ WorldError::Stale { .. }) => return Err(error),
            Err(error) => on_missed(world, tick, &error),
        }
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
