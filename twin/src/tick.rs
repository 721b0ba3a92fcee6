//! One turn of the loop, whole: what the terminal UI shows, the run directory keeps and a summary adds up.

use std::sync::Arc;

use forebay_sim::Score;
use forebay_world::{Observation, Occurrence, Plan};

use crate::decision::Decision;

/// What was seen, decided and asked for at one tick, and what had happened since the tick before.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Position in the run, from 0.
    pub index: u64,
    /// What was seen.
    pub observation: Arc<Observation>,
    /// What was decided, and why.
    pub decision: Arc<Decision>,
    /// The plan in force afterwards.
    pub plan: Arc<Plan>,
    /// What happened in the window.
    pub occurrences: Arc<[Occurrence]>,
    /// The run's score so far.
    pub score: Arc<Score>,
    /// Events the world has processed so far.
    pub events_processed: u64,
}
