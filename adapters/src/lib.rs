//! The world outside, read: recordings of load for replay, and where addresses are.
//!
//! | module | reads |
//! |---|---|
//! | [`counts`] | request-count series in CSV |
//! | [`zeek`] | Zeek `dns.log` |
//! | [`dnstap`] | dnstap in Frame Streams |
//! | [`query`] | either of the last two, told by content |
//! | [`recording`] | queries of a log, mapped to regions, in order of time |
//! | [`geography`] | prefix tables and MMDB databases: address → region |
//!
//! Every file may be gzip, every error names file and place ([`ReadError`]), and no content makes a reader panic.
//! A client's address stays in memory while it is looked up; what leaves a reader for longer is a prefix of at
//! most 24 (IPv4) or 56 (IPv6) bits.

pub mod counts;
pub mod dns_message;
pub mod dnstap;
mod error;
pub mod frame_streams;
pub mod geography;
pub mod input;
mod log_time;
pub mod prefix;
pub mod query;
pub mod recording;
mod table;
pub mod zeek;

pub use counts::{CountSeries, read_counts};
pub use error::{Place, ReadError};
pub use geography::{Fallback, Geography};
pub use input::Input;
pub use prefix::Prefix;
pub use query::{LoggedQuery, QueryReport, Vantage, read_queries};
pub use recording::{Recording, read_recording};
