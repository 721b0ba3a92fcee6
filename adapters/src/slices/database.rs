//! A session with an OVSDB server of which one writer at a time makes use: its lock, and what the server says no to.

use std::time::{Duration, Instant};

use super::SliceError;
use crate::ovsdb::{Client, Endpoint, Operation, Outcome, Refusal, Timeouts};

/// How long whoever held the lock may take to be gone.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// One database, and the lock under which it is written.
pub(super) struct Database {
    client: Client,
    name: &'static str,
    lock: String,
    /// The link, for people.
    link: String,
}

impl Database {
    /// Connects; `thing` on it is what is locked, and `link` says so for people.
    pub(super) fn connect(endpoint: &Endpoint, name: &'static str, thing: &str) -> Result<Self, SliceError> {
        // Locks are named as identifiers are (RFC 7047, section 3.1).
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("_{:x}_", u32::from(c)) };
        let lock = format!("forebay_{}", thing.chars().map(plain).collect::<String>());
        let client = Client::connect(endpoint, Timeouts::default())?;
        Ok(Database { client, name, lock, link: format!("{thing} on {endpoint}") })
    }

    /// The link, for people.
    pub(super) fn link(&self) -> &str {
        &self.link
    }

    /// Fails a transaction of whoever does not hold the lock.
    pub(super) fn assertion(&self) -> Operation {
        Operation::Assert(self.lock.clone())
    }

    /// Sees that there is a connection: a server closes those that have long said nothing.
    pub(super) fn refresh(&mut self) -> Result<(), SliceError> {
        if self.client.is_connected() && self.client.poll(Instant::now()).is_ok() {
            return Ok(());
        }
        Ok(self.client.reconnect()?)
    }

    /// Becomes the only writer, or finds that another is.
    pub(super) fn own(&mut self) -> Result<(), SliceError> {
        self.refresh()?;
        // Answered from memory where it was asked for already.
        self.client.lock(&self.lock)?;
        // Whoever held it may just have gone, and the server be about to say so.
        let deadline = Instant::now() + LOCK_PATIENCE;
        self.client.poll(Instant::now())?;
        while !self.client.holds(&self.lock) && Instant::now() < deadline {
            self.client.poll(deadline)?;
        }
        if self.client.holds(&self.lock) { Ok(()) } else { Err(self.other_writer()) }
    }

    /// Sees that this is still the only writer: for writes that the database does not see.
    pub(super) fn still_own(&mut self) -> Result<(), SliceError> {
        self.own()?;
        self.transact(vec![self.assertion()]).map(|_| ())
    }

    /// Reads rows: operations that are no more than that.
    pub(super) fn select(&mut self, operations: Vec<Operation>) -> Result<Vec<Outcome>, SliceError> {
        let only_reads = operations.iter().all(|operation| matches!(operation, Operation::Select { .. }));
        assert!(only_reads, "what is asked may change something");
        self.transact(operations)
    }

    /// Does operations, all of them or none.
    pub(super) fn transact(&mut self, operations: Vec<Operation>) -> Result<Vec<Outcome>, SliceError> {
        self.client.transact(self.name, operations).map_err(|error| match error.refusal() {
            Some(Refusal::NotOwner) => self.other_writer(),
            Some(Refusal::TimedOut) => SliceError::Rejected {
                endpoint: self.link.clone(),
                what: "a write".to_owned(),
                why: "somebody else changed it in the meantime".to_owned(),
            },
            _ => SliceError::Ovsdb(error),
        })
    }

    fn other_writer(&self) -> SliceError {
        SliceError::OtherWriter { link: self.link.clone(), lock: self.lock.clone() }
    }
}
