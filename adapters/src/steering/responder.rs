//! Our own authoritative server for a sub-zone that the operator delegates to it.
//!
//! ```text
//!   edge.cdn.example. NS ns1.edge.cdn.example.      the operator's servers say so
//!        │
//!   resolver ──▶ Responder ──▶ Table: name × region × client network ──▶ one address
//!                                ▲ swapped as a whole
//!            ResponderExecutor ──┘        file: what is answered, and what was before
//! ```
//!
//! Weights are exact and sticky: each client network draws, once and for all, a number for each address, and gets the
//! address of the best number for its weight (rendezvous hashing, Thaler and Ravishankar 1998, weighted by logarithms). So
//! the same network gets the same address as long as that is answered, and of a change of weights move the clients that have
//! to and few others: all those of an address that goes, and none but those. A network is what a resolver says of its client (RFC 7871), else the resolver's own /24 or /56.
//!
//! Beyond addresses it answers SOA and NS of its zone, the addresses of its own name servers, and that there is nothing
//! else. No recursion, no transfers, no signatures.

mod answer;
mod counters;
mod draw;
mod executor;
mod rate_limit;
mod server;
mod table;

pub use answer::{Transported, respond};
pub use counters::ResponderCounters;
pub use executor::{ResponderExecutor, ResponderView};
pub use rate_limit::RateLimit;
pub use server::{Responder, ResponderOptions};
pub use table::{RegionOf, SubZone, Table};
