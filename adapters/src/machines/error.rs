//! What can go wrong between a plan and a machine.

use forebay_world::VmId;

use super::identity::SpecDigest;
use crate::gate::Stopped;

/// Why a machine is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The executor cannot make such a machine. Nothing was written.
    #[error("{endpoint}: {what}; allowed: {allowed}")]
    Unsupported {
        /// What was addressed.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// What could be.
        allowed: &'static str,
    },
    /// Nobody could make such a machine. Nothing was written.
    #[error("{vm}: {what}")]
    Contradiction {
        /// The machine.
        vm: VmId,
        /// What contradicts what.
        what: String,
    },
    /// A machine of this identity stands, made of something else. Nothing was written.
    #[error(
        "{vm} stands and was made of something else ({standing}, asked for {given}); hint: remove it first, or give the new machine an identity of its own"
    )]
    Conflict {
        /// The machine.
        vm: VmId,
        /// What the one that stands was made of.
        standing: SpecDigest,
        /// What was asked for.
        given: SpecDigest,
    },
    /// Something in our place bears no mark of ours. It was not touched.
    #[error("{endpoint}: {what} is not ours; hint: {hint}")]
    Foreign {
        /// What was addressed.
        endpoint: String,
        /// What stands in the way.
        what: String,
        /// What may help.
        hint: &'static str,
    },
    /// There is no such image, bridge, network or program. Nothing of the machine runs.
    #[error("{endpoint}: there is no {kind} {name:?}; hint: {hint}")]
    Missing {
        /// What was addressed.
        endpoint: String,
        /// Of what kind it should have been.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What may help.
        hint: &'static str,
    },
    /// There is no room, or no more is granted. The same call may succeed when something has gone.
    #[error("{endpoint}: no room for {vm}: {why}")]
    Quota {
        /// What was addressed.
        endpoint: String,
        /// The machine that found none.
        vm: VmId,
        /// What was said.
        why: String,
    },
    /// We may not do that.
    #[error("{endpoint}: {what} is not permitted: {why}")]
    Denied {
        /// What was addressed.
        endpoint: String,
        /// What was asked of it.
        what: String,
        /// What it said.
        why: String,
    },
    /// We ask too often. How long to wait is the caller's to decide.
    #[error("{endpoint}: {what}: asked too often: {why}")]
    Throttled {
        /// What was addressed.
        endpoint: String,
        /// What was asked of it.
        what: String,
        /// What it said.
        why: String,
    },
    /// Somebody else writes. Nothing was written.
    #[error("{endpoint}: another writer holds {lock}")]
    OtherWriter {
        /// What was addressed.
        endpoint: String,
        /// What it holds.
        lock: String,
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
    /// All was written and accepted, and what is there is something else.
    #[error("{endpoint}: {vm} was written, but is not so: {difference}")]
    NotVerified {
        /// What was addressed.
        endpoint: String,
        /// The machine.
        vm: VmId,
        /// What differs.
        difference: String,
    },
    /// The gate was closed before a write.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The switch's database failed.
    #[error(transparent)]
    Ovsdb(#[from] crate::ovsdb::OvsdbError),
}
