//! The world outside: recordings of load for replay, events that are to come and where addresses are, read; and the
//! kernel's queues and the slices of real links, read and written.
//!
//! | module | reads |
//! |---|---|
//! | [`counts`] | request-count series in CSV |
//! | [`query`] | logs of DNS queries, whatever their format |
//! | [`log_format`] | what formats there are, and how they are told by content |
//! | [`tail`] | the same of a text log that is being written |
//! | [`dnstap_listener`] | the same as servers send them |
//! | [`recording`] | queries of a log, mapped to regions, in order of time |
//! | [`demand`] | queries of logs, counted by window, region and class, without anybody's address |
//! | [`holidays`] | public holidays in CSV |
//! | [`events`] | calendars and tables of events outside, once or as feeds that are kept up to date |
//! | [`geography`] | prefix tables and MMDB databases: address → region |
//! | [`machines`] | what runs on real hypervisors, and makes it what a plan wants |
//! | [`slices`] | what stands on real links, and makes it what a plan wants |
//! | [`steering`] | what name servers answer, and makes it what a plan wants |
//! | [`netlink`] | queueing disciplines, HTB classes and filters of a device; writes them as well |
//! | [`ovsdb`] | Open vSwitch's and OVN's databases, and changes them |
//! | [`probe`] | how machines do and how many sessions they have, over HTTP |
//!
//! And what whoever writes needs beside its executors:
//!
//! | module | what for |
//! |---|---|
//! | [`gate`] | asked before each write, and holds what has to be held until it is over |
//! | [`lease`] | of several instances one writes; a paused one cannot when it wakes |
//! | [`kill_switch`] | one thing an operator does, and nothing is written any more |
//! | [`ledger`] | records that outlive a crash |
//! | [`audit`] | who wrote what, when and why, in a chain that nobody changes unseen |
//! | [`past_terms`] | audits and journals of terms that are long over go |
//!
//! Every file may be gzip, every error names file and place ([`ReadError`]), and no content makes a reader panic.
//! A client's address stays in memory while it is looked up; what leaves a reader for longer is a prefix of at
//! most 24 (IPv4) or 56 (IPv6) bits.

pub mod audit;
mod bind;
mod clock;
pub mod counts;
mod csv_log;
pub mod demand;
pub mod dns_message;
mod dnsmasq;
pub mod dnstap;
pub mod dnstap_listener;
mod error;
pub mod events;
mod fields;
pub mod frame_streams;
pub mod gate;
pub mod geography;
pub mod holidays;
pub mod input;
mod json_log;
pub mod kill_switch;
pub mod last_good;
pub mod lease;
pub mod ledger;
mod line_clock;
mod line_file;
mod line_log;
pub mod log_format;
mod log_time;
pub mod machines;
pub mod metrics;
pub mod name_classes;
pub mod netlink;
pub mod ovsdb;
pub mod past_terms;
mod pcap;
mod powerdns;
pub mod prefix;
#[cfg(feature = "fetch")]
pub mod probe;
pub mod query;
pub mod query_report;
pub mod read_options;
mod record_type;
pub mod recording;
mod repeats;
mod route53;
pub mod slices;
pub mod steering;
mod table;
pub mod tail;
mod unbound;
mod zeek;

pub use counts::{CountSeries, read_counts};
pub use error::{Place, ReadError};
pub use events::{EventFeed, ExternalEvent, read_events};
pub use gate::{Gate, Permit, Stopped};
pub use geography::{Atlas, Fallback, Geography};
pub use holidays::{Holiday, read_holidays};
pub use input::Input;
pub use last_good::{Freshness, LastGood};
pub use log_format::LogFormat;
pub use name_classes::NameClasses;
pub use prefix::Prefix;
pub use query::{LoggedQuery, Vantage, read_queries};
pub use query_report::{QueryReport, Skip};
pub use read_options::{FieldNames, ReadOptions, TimeUnit};
pub use recording::{Recording, read_recording};
