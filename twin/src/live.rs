//! Production, acted on: a world that waits by sleeping, looks by [`crate::watch`], and carries plans out on hypervisors,
//! links and name servers.
//!
//! ```text
//!   submit(plan) ─▶ Release ─▶ Rollout ─orders─▶ Crew (a worker for each hypervisor, link, name server) ─▶ executors
//!                   (mandates)    ▲  │changes               │ looks again
//!                                 │  └─▶ Book (ledger)      ▼
//!                                 └──reports, sight──── Board
//! ```
//!
//! The controller, the policy and the guard are those of a simulated run. Before each write stand a [`Gate`] (lease, kill
//! switch) and, before any order, the ledger: what is about to be done is on the disk first, so that whoever starts next
//! goes on from it. What was ordered, what came of it and what was held back is in the audit.
//!
//! [`Gate`]: forebay_adapters::Gate

mod answers;
mod book;
mod crew;
mod hands;
mod page;
mod release;
mod shape;
mod staff;
mod terms;
mod world;

pub use book::{Book, BookError, Entry, Memory};
pub use crew::{Crew, Ended, Hands, Inline, Threads};
pub use hands::{AnswerHands, Did, Hand, LinkHands, MachineHands, Opener, WarmHands};
pub use page::{Governed, page};
pub use release::{Proposal, Release};
pub use staff::{hands, responder};
pub use terms::{ground, limits};
pub use world::{Counts, LiveWorld, OnBeat, Out, Remark};

use std::sync::Arc;

use forebay_adapters::Gate;

/// Makes the gate for one call of an executor.
pub type GateMaker = Arc<dyn Fn() -> Gate + Send + Sync>;

#[cfg(test)]
mod tests;
