//! What a run leaves behind: a summary for people and programs, and a directory that can be read without Forebay.

pub mod allocation;
mod demand_file;
mod directory;
mod metrics;
mod summary;
mod table;

pub use demand_file::{DemandFile, DemandFileError, Layout};
pub(crate) use demand_file::{write_csv, write_whole};
pub use directory::{DirectoryError, RunDirectory};
pub use summary::{METRICS, Metric, Summary};
pub use table::{Align, Table};
