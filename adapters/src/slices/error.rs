//! What can go wrong between a plan and a link.

use forebay_world::{Generation, Refusal};

use crate::gate::Stopped;

/// Why slices do not stand as they should.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// The executor cannot express them. Nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Ports need an executor that can keep them to their addresses. Nothing was written.
    #[error("port {port} must be kept to its own addresses, and the executor cannot do that")]
    Unguarded {
        /// The first port.
        port: String,
    },
    /// Nobody can express them. Nothing was written.
    #[error("{what}")]
    Contradiction {
        /// What contradicts what.
        what: String,
    },
    /// A newer plan stands. Nothing was written.
    #[error("plan {given} is stale: plan {standing} stands on {link}")]
    Stale {
        /// Where.
        link: String,
        /// Generation of the plan that was given.
        given: Generation,
        /// Generation of the one that stands.
        standing: Generation,
    },
    /// Somebody else writes. Nothing was written.
    #[error("{link}: another writer holds {lock}")]
    OtherWriter {
        /// Where.
        link: String,
        /// What it holds.
        lock: String,
    },
    /// What would have to be changed bears no mark of ours. Nothing was written.
    #[error("{link}: {what} is not ours")]
    Foreign {
        /// Where.
        link: String,
        /// What stands in the way.
        what: String,
        /// What may help.
        hint: &'static str,
    },
    /// There is no such bridge, port or device. Nothing was written.
    #[error("there is no {kind} {name:?}; there are: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    Unknown {
        /// Of what kind it should have been.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is of that kind.
        known: Vec<String>,
    },
    /// Nobody answers there. What was being written may or may not have been.
    #[error("{endpoint}: {why}")]
    Unreachable {
        /// What was addressed.
        endpoint: String,
        /// Why it did not answer.
        why: String,
    },
    /// It answers, and says no.
    #[error("{endpoint}: {what}: {why}")]
    Rejected {
        /// What was addressed.
        endpoint: String,
        /// What was asked of it.
        what: String,
        /// What it said.
        why: String,
    },
    /// All was written and accepted, and what stands is something else.
    #[error("{link}: was written, but is not so: {}", differences.join("; "))]
    NotVerified {
        /// Where.
        link: String,
        /// What differs.
        differences: Vec<String>,
    },
    /// The gate was closed before a write.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The kernel's side of it failed.
    #[error(transparent)]
    Netlink(#[from] crate::netlink::NetlinkError),
    /// The database's side of it failed.
    #[error(transparent)]
    Ovsdb(#[from] crate::ovsdb::OvsdbError),
}

impl SliceError {
    /// What may help; empty where nothing is known to.
    pub fn hint(&self) -> &'static str {
        match self {
            SliceError::Refused(_) | SliceError::Unguarded { .. } => {
                "another executor may be able to: the documentation of `slices` has the table"
            }
            SliceError::Stale { .. } => "plan anew from what stands; without a generation, the next one is taken",
            SliceError::OtherWriter { .. } => "end it, or wait: it is let go of when its process ends",
            SliceError::Foreign { hint, .. } => hint,
            SliceError::Unreachable { .. } => "see that it runs, and that this user may speak to it",
            SliceError::NotVerified { .. } => "the same again goes on from what stands",
            SliceError::Ovsdb(error) => error.hint(),
            _ => "",
        }
    }
}
