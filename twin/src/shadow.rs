//! Shadow mode: production watched, plans made for it and carried out in a twin, nothing touched.
//!
//! ```text
//!   watch ──Board, queries, events──▶ ShadowWorld ─▶ Fleet (what production runs)   ─▶ twin of theirs ─┐
//!                                        │     └───▶ ObservedLoad (what clients ask) ─▶ both           ├─▶ figures, report
//!                                        ▼                                                             │
//!                         observation ─▶ controller ─▶ plan ──────────────────────────▶ twin of ours ──┘
//! ```
//!
//! The controller, the policy, the guard and the journal are those of a simulated run. What it sees is production's demand,
//! events, links and coverage, and the machines, slices and steering of the twin in which its plans are carried out: so it
//! sees what its own decisions would have brought. Nothing here can write to production: there is no type here by which it
//! could be done, and a test sees to it that none is named.

mod figures;
mod fleet;
mod folder;
mod hindcast;
mod load;
mod page;
mod report;
mod session;
mod steered;
mod summary;
mod twins;
mod world;

pub use figures::{Estimate, Figure, Ledger, METRICS, Metric};
pub use fleet::{Change, Counts, Fleet};
pub use folder::{Folder, FolderError, day_of};
pub use hindcast::{ForecastScore, Hindcast};
pub use load::{ObservedLoad, Rate};
pub use page::page;
pub use report::TickReport;
pub use session::{Ending, ShadowError, follow};
pub use steered::{AddressReport, AnswerReport, PoolReport, SteeringReport};
pub use summary::{Day, Summary};
pub use twins::{Pair, Twins, Window, setup};
pub use world::{Seers, ShadowWorld, Untold, demand_source};

#[cfg(test)]
mod tests;
