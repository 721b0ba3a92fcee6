//! What a run leaves behind: a summary for people and programs, and a directory that can be read without Forebay.

mod directory;
mod metrics;
mod summary;
mod table;

pub use directory::{DirectoryError, RunDirectory};
pub use summary::{METRICS, Metric, Summary};
pub use table::{Align, Table};
