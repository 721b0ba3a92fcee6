//! A run that comes as it is made elsewhere: ticks of production, which wait for nobody.
//!
//! Whoever makes them puts them in a [`Feed`]; a [`Follower`] plays what is there, and can be taken back as far as it is kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_world::Timestamp;

use super::engine::Engine;
use crate::tick::Tick;

/// Ticks that are kept to go back to.
const KEPT_MOST: usize = 1440;

/// Ticks as they come. Shared by whoever makes and whoever shows them.
#[derive(Clone, Debug, Default)]
pub struct Feed(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Position of the first that is kept.
    first: u64,
    ticks: VecDeque<Tick>,
    is_over: bool,
}

impl Feed {
    /// Adds a tick.
    pub fn push(&self, tick: Tick) {
        let mut inner = self.inner();
        if inner.ticks.len() == KEPT_MOST {
            inner.ticks.pop_front();
            inner.first += 1;
        }
        inner.ticks.push_back(tick);
    }

    /// Says that no more will come.
    pub fn end(&self) {
        self.inner().is_over = true;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Plays a feed.
#[derive(Clone, Debug)]
pub struct Follower {
    feed: Feed,
    next: u64,
    now: Timestamp,
}

impl Follower {
    /// Plays a feed that begins at `start`.
    pub fn new(feed: &Feed, start: Timestamp) -> Follower {
        Follower { feed: feed.clone(), next: 0, now: start }
    }
}

impl Engine for Follower {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn waits(&self) -> bool {
        let inner = self.feed.inner();
        !inner.is_over && self.next >= inner.first + inner.ticks.len() as u64
    }

    fn tick(&mut self) -> Option<Tick> {
        let inner = self.feed.inner();
        let next = self.next.max(inner.first);
        let tick = inner.ticks.get((next - inner.first) as usize)?.clone();
        (self.next, self.now) = (next + 1, tick.observation.at);
        Some(tick)
    }

    fn step_event(&mut self) -> Option<String> {
        None
    }

    fn checkpoint(&self) -> Box<dyn Engine> {
        Box::new(self.clone())
    }
}
