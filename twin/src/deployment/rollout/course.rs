//! What a rollout remembers of one machine, across crashes.

use forebay_world::{PlannedVm, Timestamp, VmState};
use serde::{Deserialize, Serialize};

/// One machine on its way from the plan that first asked for it to the moment at which nothing of it is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    /// What was asked for.
    pub planned: PlannedVm,
    /// Which address of its region it has; none while all are taken.
    pub address: Option<u32>,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When it was last tried to be made: a listing that began before says nothing.
    #[serde(default)]
    pub tried_at: Option<Timestamp>,
    /// When it was made, or first seen.
    #[serde(default)]
    pub made_at: Option<Timestamp>,
    /// When it first did well.
    #[serde(default)]
    pub well_at: Option<Timestamp>,
    /// Whether its cache is as full as it is made before it serves.
    #[serde(default)]
    pub is_warm: bool,
    /// When it was first started again after it had done well, while it has not since.
    #[serde(default)]
    pub restarted_at: Option<Timestamp>,
    /// Since when it is ill.
    #[serde(default)]
    pub ill_since: Option<Timestamp>,
    /// Why it will never serve (again).
    #[serde(default)]
    pub failed: Option<String>,
    /// On its way out.
    #[serde(default)]
    pub leaving: Option<Leaving>,
    /// Since when nobody answers what is tried with it.
    #[serde(default)]
    pub unanswered_since: Option<Timestamp>,
    /// Failures in a row of what was last tried with it …
    #[serde(default)]
    pub failures: u32,
    /// … and when it may be tried again.
    #[serde(default)]
    pub not_before: Timestamp,
    /// Where in its life it is …
    pub state: VmState,
    /// … and since when.
    pub since: Timestamp,
}

/// A machine on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaving {
    /// Since when.
    pub since: Timestamp,
    /// Since when no client is sent there.
    #[serde(default)]
    pub unanswered_since: Option<Timestamp>,
    /// When it was asked to end; there is no way back from there.
    #[serde(default)]
    pub ending_since: Option<Timestamp>,
    /// Since when it is gone; what it had may still be waiting to be let go of.
    #[serde(default)]
    pub gone_since: Option<Timestamp>,
}

impl Course {
    pub(super) fn begin(planned: PlannedVm, address: Option<u32>, at: Timestamp) -> Self {
        Course {
            planned,
            address,
            asked_at: at,
            tried_at: None,
            made_at: None,
            well_at: None,
            is_warm: false,
            restarted_at: None,
            ill_since: None,
            failed: None,
            leaving: None,
            unanswered_since: None,
            failures: 0,
            not_before: Timestamp::EPOCH,
            state: VmState::Requested,
            since: at,
        }
    }

    /// Whether new clients may be sent there, as far as it does.
    pub fn serves(&self) -> bool {
        self.well_at.is_some() && self.is_warm && self.ill_since.is_none() && self.failed.is_none() && !self.is_gone()
    }

    /// Whether there is no such machine any more.
    pub fn is_gone(&self) -> bool {
        self.leaving.is_some_and(|leaving| leaving.gone_since.is_some())
    }

    /// Whether it was asked to end.
    pub fn is_ending(&self) -> bool {
        self.leaving.is_some_and(|leaving| leaving.ending_since.is_some())
    }

    /// On its way out although it did well.
    pub(super) fn is_disruption(&self) -> bool {
        self.well_at.is_some() && self.failed.is_none() && self.leaving.is_some() && !self.is_gone()
    }

    pub(super) fn fail(&mut self, why: impl Into<String>) {
        self.failed.get_or_insert_with(|| why.into());
    }

    /// Where in its life it is, by all that is known.
    pub(super) fn life(&self) -> VmState {
        if self.failed.is_some() {
            VmState::Failed
        } else if self.leaving.is_some() {
            VmState::Draining
        } else if self.serves() {
            VmState::Ready
        } else if self.well_at.is_some() {
            VmState::Warming
        } else if self.made_at.is_some() {
            VmState::Booting
        } else {
            VmState::Requested
        }
    }
}
