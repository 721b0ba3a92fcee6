//! Resolvers: who asks the authoritative servers, how often, and by how old an answer clients go.
//!
//! A resolver keeps an answer for the time to live; some keep it longer (8.74 % of 8,524 measured ones: "TTL Violation
//! of DNS Resolvers in the Wild", PAM 2023), and some send EDNS Client Subnet (RFC 7871) and keep one answer for each
//! client subnet. So what the servers see is cache misses, not demand: λ/(1 + λT) per cache with Poisson requests at
//! rate λ (J. Jung, A. Berger, H. Balakrishnan, "Modeling TTL-based Internet Caches", INFOCOM 2003).
//!
//! What an answer says is the world's business; here it is a number. An answer may outlive the virtual machine it
//! points to: the client notices, and asks again.

mod caches;
mod expectation;
mod population;

pub use caches::{Answer, Lookup, Resolvers};
pub use expectation::Follow;
pub use population::resolver_weights;

#[cfg(test)]
mod tests;
