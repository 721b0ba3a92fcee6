//! What holds when a process is really killed or stopped: the lease, the ledger and the audit log.
//!
//! The processes are this program again, told by a variable of the environment what to be. All that they write stands in a
//! folder of the test's, and they end with it.

mod child;
mod gated;
mod lease;
mod records;
