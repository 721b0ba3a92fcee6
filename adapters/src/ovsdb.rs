//! A client of OVSDB servers: Open vSwitch's and OVN's databases, read, changed and followed (RFC 7047, and the
//! extensions of ovsdb-server(7)). Synchronous: no thread and no runtime of its own; every call returns by a deadline. It
//! knows no schema, and nothing of what tables mean: that is for those who use it.
//!
//! | noun | what it is |
//! |---|---|
//! | [`Endpoint`] | where a server listens: `unix:`, `tcp:`, `ssl:` |
//! | [`Client`] | a session with it, and what outlasts sessions |
//! | [`Operation`], [`Outcome`] | a transaction's steps, and what came of each |
//! | [`Datum`], [`Atom`], [`Row`] | data in the notation of RFC 7047 |
//! | [`Monitor`], [`Replica`], [`Event`] | rows that are kept as the server has them, and what changes |
//! | [`Schema`] | tables and the types of their columns |
//! | [`OvsdbError`], [`Refusal`] | what went wrong, and why a server refuses |
//!
//! What is asked of a server that is lost meanwhile may have been done or not; such errors say so
//! ([`OvsdbError::outcome_unknown`]), and nothing is asked twice here. After [`Client::reconnect`] replicas are as the
//! server has them.
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//! use forebay_adapters::ovsdb::{Client, Condition, Datum, Event, Monitor, Operation, Row, Timeouts};
//!
//! # fn main() -> Result<(), forebay_adapters::ovsdb::OvsdbError> {
//! let endpoint = "unix:/run/openvswitch/db.sock".parse()?;
//! let mut client = Client::connect(&endpoint, Timeouts::default())?;
//! let ours = Datum::map([("owner", "forebay")]);
//! let queues = client.monitor(&Monitor::new("Open_vSwitch").table_where(
//!     "Queue",
//!     &["other_config", "external_ids"],
//!     vec![Condition::includes("external_ids", ours.clone())],
//! ))?;
//! if client.lock("forebay")? {
//!     let row = Row::new().with("external_ids", ours).with("other_config", Datum::map([("min-rate", "6000000")]));
//!     let done = client.transact(
//!         "Open_vSwitch",
//!         vec![Operation::Assert("forebay".into()), Operation::insert("Queue", row)],
//!     )?;
//!     let queue = done[1].inserted().expect("an insert tells the row");
//!     assert!(client.replica(queues).and_then(|replica| replica.row("Queue", queue)).is_some());
//! }
//! for event in client.poll(Instant::now() + Duration::from_secs(1))? {
//!     if let Event::Changed(change) = event {
//!         println!("{} {}: {:?}", change.table, change.row, change.after);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod atom;
mod client;
mod condition;
mod datum;
mod endpoint;
mod error;
mod message;
mod monitor;
mod notation;
mod operation;
mod refusal;
mod replica;
mod row;
mod schema;
mod session;
mod stream;
#[cfg(feature = "tls")]
mod tls;

pub use atom::{Atom, Real};
pub use client::{Client, Timeouts};
pub use condition::{Condition, Function};
pub use datum::Datum;
pub use endpoint::{Endpoint, EndpointError, PeerName, TlsFiles};
pub use error::OvsdbError;
pub use message::{MESSAGE_BYTES_MOST, Message, MessageError, MessageReader};
pub use monitor::{Change, Event, Monitor, MonitorId, TableMonitor};
pub use notation::NotationError;
pub use operation::{Mutation, Mutator, Operation, Outcome, Until};
pub use refusal::{Refusal, Refused};
pub use replica::Replica;
pub use row::Row;
pub use schema::{AtomType, ColumnType, Schema, TableSchema};
pub use uuid::Uuid;

#[cfg(test)]
mod tests;
