//! What can go wrong between a plan and what a name server answers.

use forebay_world::Generation;

use crate::gate::Stopped;

/// Why clients are not steered as they should be.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// The executor cannot express it. Nothing was written.
    #[error("{place} cannot express {what}; hint: {hint}")]
    Refused {
        /// Where.
        place: String,
        /// What it cannot.
        what: String,
        /// What may help.
        hint: &'static str,
    },
    /// Nobody can express it. Nothing was written.
    #[error("{what}")]
    Contradiction {
        /// What contradicts what, and what is allowed.
        what: String,
    },
    /// Newer answers stand. Nothing was written.
    #[error("answers of generation {given} are stale: generation {standing} stands at {place}")]
    Stale {
        /// Where.
        place: String,
        /// Generation of the answers that were given.
        given: Generation,
        /// Generation of those that stand.
        standing: Generation,
    },
    /// Somebody else writes. Nothing was written by this call.
    #[error("{place}: another writer holds {lock}")]
    OtherWriter {
        /// Where.
        place: String,
        /// What it holds, and for how long.
        lock: String,
    },
    /// Somebody else has changed what was about to be changed. That change was not written; those before it were.
    #[error(
        "{place}: {what}: changed by somebody else meanwhile ({why}); hint: look again, and see who else writes there"
    )]
    Overtaken {
        /// Where.
        place: String,
        /// What was to be written.
        what: String,
        /// What the server said.
        why: String,
    },
    /// What would have to be changed bears no mark of ours. Nothing was written.
    #[error("{place}: {what} is not ours; hint: {hint}")]
    Foreign {
        /// Where.
        place: String,
        /// What stands in the way.
        what: String,
        /// What may help.
        hint: &'static str,
    },
    /// There is no such thing. Nothing was written.
    #[error("{place}: there is no {kind} {name:?}; there are: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    Unknown {
        /// Where.
        place: String,
        /// Of what kind it should have been.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is of that kind.
        known: Vec<String>,
    },
    /// Who we are, or what we may, is not accepted. What was asked for was not done.
    #[error("{endpoint}: {why}; hint: {hint}")]
    Credentials {
        /// What was addressed.
        endpoint: String,
        /// What it said. Never the secret.
        why: String,
        /// What may help.
        hint: &'static str,
    },
    /// A secret cannot be had from where it should be.
    #[error("{source_name}: {why}")]
    Secret {
        /// File, with the line, or variable of the environment.
        source_name: String,
        /// What is wrong, and what is allowed. Never the secret.
        why: String,
    },
    /// Signatures are refused because two clocks differ. What was asked for was not done.
    #[error(
        "{endpoint}: the clocks are too far apart: ours says {ours} s, the server's {theirs} s since the Unix epoch, \
         {} s {}; hint: set them by NTP",
        ours.abs_diff(*theirs),
        if ours > theirs { "ahead" } else { "behind" }
    )]
    Clock {
        /// What was addressed.
        endpoint: String,
        /// Our time \[s since the Unix epoch\].
        ours: u64,
        /// The server's \[s since the Unix epoch\].
        theirs: u64,
    },
    /// Nobody answers there. What was being written may or may not have been.
    #[error("{endpoint}: {why}")]
    Unreachable {
        /// What was addressed.
        endpoint: String,
        /// Why it did not answer.
        why: String,
    },
    /// It answers, and says no, or nothing that can be understood.
    #[error("{endpoint}: {what}: {why}")]
    Rejected {
        /// What was addressed.
        endpoint: String,
        /// What was asked of it.
        what: String,
        /// What it said.
        why: String,
    },
    /// All was written and accepted, and what is answered is something else.
    #[error("{place}: was written, but is not so: {}", differences.join("; "))]
    NotVerified {
        /// Where.
        place: String,
        /// What differs.
        differences: Vec<String>,
    },
    /// Nothing has been applied that could be taken back.
    #[error("{place}: nothing of ours stands that could be rolled back")]
    NothingToRollBack {
        /// Where.
        place: String,
    },
    /// What should outlive us cannot be kept.
    #[error("{path}: {why}")]
    Kept {
        /// The file.
        path: String,
        /// Why not.
        why: String,
    },
    /// The gate was closed before a write.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
