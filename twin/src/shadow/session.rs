//! Shadow mode from its begin to its end: the loop, the journal, and the summaries of days.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use forebay_world::{Timestamp, WorldError};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::folder::{Folder, FolderError, day_of};
use super::report::TickReport;
use super::summary::{Day, Summary};
use super::world::ShadowWorld;
use crate::controller::Controller;
use crate::drive::drive;
use crate::tick::Tick;
use crate::watch::Pace;

/// Why shadow mode ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// What it leaves cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A plan was refused.
    #[error(transparent)]
    World(#[from] WorldError),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Ending {
    /// All of it.
    pub summary: Summary,
    /// Summaries of days that were written, without the end of their names.
    pub written: Vec<PathBuf>,
}

/// The day under way, and all of it.
struct Days {
    zone: TimeZone,
    policy: String,
    folder: Option<Folder>,
    day: Day,
    whole: Day,
    date: Option<Date>,
    written: Vec<PathBuf>,
}

impl Days {
    /// Takes in a tick; the last of a day sums it up.
    fn take<P: Pace>(&mut self, world: &ShadowWorld<P>, at: Timestamp, next: Timestamp) -> Result<(), FolderError> {
        self.day.take(world, at);
        self.whole.take(world, at);
        let date = day_of(at, &self.zone);
        self.date = Some(date);
        // A window is of the day in which it ends.
        if day_of(next, &self.zone) != date {
            self.sum_up(world)?;
            self.day = Day::new(world, at);
        }
        Ok(())
    }

    fn sum_up<P: Pace>(&mut self, world: &ShadowWorld<P>) -> Result<(), FolderError> {
        if let (Some(folder), Some(date), true) = (&self.folder, self.date, self.day.ticks() > 0) {
            self.written.push(folder.summary(date, &self.day.summary(world, &self.policy))?);
        }
        Ok(())
    }
}

/// Watches until `until`, or until the pace says that it is over. `on_tick` is told of each tick before the next begins.
///
/// # Errors
/// [`ShadowError`].
pub fn follow<P: Pace>(
    world: &mut ShadowWorld<P>,
    controller: &mut Controller,
    folder: Option<Folder>,
    zone: &TimeZone,
    until: Timestamp,
    mut on_tick: impl FnMut(&ShadowWorld<P>, Tick, TickReport),
) -> Result<Ending, ShadowError> {
    let (began, period) = (world.began(), controller.config().period);
    let mut days = Days {
        zone: zone.clone(),
        policy: world.production().policy.clone(),
        folder,
        day: Day::new(world, began),
        whole: Day::new(world, began),
        date: None,
        written: Vec::new(),
    };
    let (mut index, mut failed) = (0, None);
    drive(
        world,
        controller,
        period,
        until,
        |world, _, observation, plan, decision| {
            world.note(&decision);
            let report = TickReport::new(world, &observation, &decision, &plan);
            let mut kept = match &mut days.folder {
                Some(folder) => folder.tick(&observation, &plan, &decision, &report),
                None => Ok(()),
            };
            let at = observation.at;
            kept = kept.and_then(|()| days.take(world, at, at.saturating_add(period)));
            if let Err(error) = kept {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            let occurrences = world.take_occurrences().into();
            let score = Arc::new(world.score());
            let events_processed = world.events_processed;
            on_tick(world, Tick { index, observation, decision, plan, occurrences, score, events_processed }, report);
            index += 1;
            if world.pace().is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
        |_, _, _| {},
    )?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    days.sum_up(world)?;
    Ok(Ending { summary: days.whole.summary(world, &days.policy), written: days.written })
}
