//! What an executor of slices can express, and the refusal of a plan that asks for more.
//!
//! A switch that accepts a rate and does nothing with it is worse than one that refuses: an adapter declares its
//! [`Capabilities`], and whoever sends it slices asks [`Capabilities::express`] first. Plain data; nothing here
//! talks to a switch, and nothing here decides what a slice should be.
//!
//! A slice's latency bound has no capability: no queue discipline can be told a delay. It is an objective that is
//! watched (an SLO of RFC 9543, sec. 5.1), and what an executor does towards it is the priority.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BitsPerSecond, PlannedSlice, SliceId};

/// The largest differentiated services code point (RFC 2474, sec. 3: six bits).
pub const DSCP_MAX: u8 = 63;

/// What an executor of slices can do with those of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// A slice gets its guaranteed rate whatever others send.
    pub guarantee: bool,
    /// A slice gets no more than its ceiling.
    pub ceiling: bool,
    /// What is left over is divided by weight among slices of one priority.
    pub weight: bool,
    /// What is left over goes to one priority before the next.
    pub priority: bool,
    /// Packets carry the mark of their slice.
    pub dscp: bool,
    /// A port sends under its own addresses only, so that no machine can use another's slice.
    pub port_security: bool,
    /// What it means when the executor says "done".
    pub acknowledgement: Acknowledgement,
    /// Bits that each slice carried are counted.
    pub statistics: bool,
}

/// How much an executor's "done" is worth, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledgement {
    /// It has written down what was asked.
    Accepted,
    /// The data plane says that it has been told.
    Applied,
    /// It has been read back from the data plane and is what was asked.
    Verified,
}

impl Capabilities {
    /// Nothing at all.
    pub const NONE: Capabilities = Capabilities {
        guarantee: false,
        ceiling: false,
        weight: false,
        priority: false,
        dscp: false,
        port_security: false,
        acknowledgement: Acknowledgement::Accepted,
        statistics: false,
    };

    /// All there is.
    pub const ALL: Capabilities = Capabilities {
        guarantee: true,
        ceiling: true,
        weight: true,
        priority: true,
        dscp: true,
        port_security: true,
        acknowledgement: Acknowledgement::Verified,
        statistics: true,
    };

    /// Whether slices that share a link of this capacity can be had from this executor.
    ///
    /// # Errors
    /// The first [`Refusal`], slices taken by ascending id, guarantees that do not fit together last.
    pub fn express(&self, slices: &BTreeMap<SliceId, PlannedSlice>, capacity: BitsPerSecond) -> Result<(), Refusal> {
        for (&slice, asks) in slices {
            self.express_one(slice, asks, capacity)?;
        }
        self.express_order(slices)?;
        let mut before = 0u128;
        for (&slice, asks) in slices {
            let guarantee = asks.guarantee;
            let with = before + u128::from(guarantee.0);
            if with > u128::from(capacity.0) {
                // What stands before it fits, so it fits the type.
                let left = BitsPerSecond(capacity.0 - before as u64);
                return Err(Refusal::Capacity { slice, guarantee, left, capacity });
            }
            before = with;
        }
        Ok(())
    }

    /// What one slice asks for by itself.
    fn express_one(&self, slice: SliceId, asks: &PlannedSlice, capacity: BitsPerSecond) -> Result<(), Refusal> {
        let &PlannedSlice { guarantee, ceiling, dscp, .. } = asks;
        if guarantee > ceiling {
            return Err(Refusal::Rates { slice, guarantee, ceiling });
        }
        if dscp > DSCP_MAX {
            return Err(Refusal::NoMark { slice, dscp });
        }
        if guarantee > BitsPerSecond::ZERO && !self.guarantee {
            return Err(Refusal::Guarantee { slice, guarantee });
        }
        if ceiling < capacity && !self.ceiling {
            return Err(Refusal::Ceiling { slice, ceiling, capacity });
        }
        if dscp != 0 && !self.dscp {
            return Err(Refusal::Mark { slice, dscp });
        }
        Ok(())
    }

    /// What slices ask for against each other.
    fn express_order(&self, slices: &BTreeMap<SliceId, PlannedSlice>) -> Result<(), Refusal> {
        let mut first_of: BTreeMap<u8, (SliceId, u32)> = BTreeMap::new();
        for (&slice, asks) in slices {
            let &PlannedSlice { priority, weight, .. } = asks;
            let (other, other_weight) = *first_of.entry(priority).or_insert((slice, weight));
            if weight != other_weight && !self.weight {
                return Err(Refusal::Weight { slice, weight, other, other_weight });
            }
            if let Some((&other_priority, &(other, _))) = first_of.iter().find(|(known, _)| **known != priority)
                && !self.priority
            {
                return Err(Refusal::Priority { slice, priority, other, other_priority });
            }
        }
        Ok(())
    }
}

/// What a slice asks for that an executor cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It guarantees nothing.
    #[error("slice {slice} asks for a guarantee of {guarantee}, and the executor cannot guarantee a rate")]
    Guarantee {
        /// Which slice.
        slice: SliceId,
        /// What it asks for \[bit/s\].
        guarantee: BitsPerSecond,
    },
    /// It cannot hold a slice back.
    #[error("slice {slice} asks for a ceiling of {ceiling} on {capacity}, and the executor cannot hold a rate down")]
    Ceiling {
        /// Which slice.
        slice: SliceId,
        /// What it asks for \[bit/s\].
        ceiling: BitsPerSecond,
        /// What the link carries \[bit/s\].
        capacity: BitsPerSecond,
    },
    /// It divides evenly, or not at all.
    #[error(
        "slice {slice} asks for weight {weight} beside {other_weight} of slice {other}, and the executor knows no weights"
    )]
    Weight {
        /// Which slice.
        slice: SliceId,
        /// What it asks for.
        weight: u32,
        /// One of the same priority …
        other: SliceId,
        /// … with another weight.
        other_weight: u32,
    },
    /// It lets nobody go first.
    #[error(
        "slice {slice} asks for priority {priority} beside {other_priority} of slice {other}, and the executor knows no priorities"
    )]
    Priority {
        /// Which slice.
        slice: SliceId,
        /// What it asks for, 0 is first.
        priority: u8,
        /// One …
        other: SliceId,
        /// … with another priority.
        other_priority: u8,
    },
    /// It marks nothing.
    #[error("slice {slice} asks for DSCP {dscp}, and the executor cannot mark packets")]
    Mark {
        /// Which slice.
        slice: SliceId,
        /// What it asks for.
        dscp: u8,
    },
    /// There is no such code point.
    #[error("slice {slice} asks for DSCP {dscp}, and code points end at {DSCP_MAX}")]
    NoMark {
        /// Which slice.
        slice: SliceId,
        /// What it asks for.
        dscp: u8,
    },
    /// Nobody can guarantee more than the ceiling.
    #[error("slice {slice} asks for a guarantee of {guarantee} under a ceiling of {ceiling}")]
    Rates {
        /// Which slice.
        slice: SliceId,
        /// Its guarantee \[bit/s\].
        guarantee: BitsPerSecond,
        /// Its ceiling \[bit/s\].
        ceiling: BitsPerSecond,
    },
    /// Guarantees are more than the link carries.
    #[error("slice {slice} asks for a guarantee of {guarantee}, and the slices before it leave {left} of {capacity}")]
    Capacity {
        /// The first slice that does not fit.
        slice: SliceId,
        /// What it asks for \[bit/s\].
        guarantee: BitsPerSecond,
        /// What those before it leave \[bit/s\].
        left: BitsPerSecond,
        /// What the link carries \[bit/s\].
        capacity: BitsPerSecond,
    },
}

impl Refusal {
    /// The slice that asks for too much.
    pub fn slice(&self) -> SliceId {
        match *self {
            Refusal::Guarantee { slice, .. }
            | Refusal::Ceiling { slice, .. }
            | Refusal::Weight { slice, .. }
            | Refusal::Priority { slice, .. }
            | Refusal::Mark { slice, .. }
            | Refusal::NoMark { slice, .. }
            | Refusal::Rates { slice, .. }
            | Refusal::Capacity { slice, .. } => slice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINK: BitsPerSecond = BitsPerSecond(10_000_000);

    /// Asks for nothing that any executor could not do.
    const PLAIN: PlannedSlice =
        PlannedSlice { guarantee: BitsPerSecond::ZERO, ceiling: LINK, weight: 1, priority: 0, dscp: 0, latency: None };

    fn refused(capabilities: Capabilities, slices: &[PlannedSlice]) -> Option<String> {
        let slices = slices.iter().enumerate().map(|(i, slice)| (SliceId::at(i), *slice)).collect();
        capabilities.express(&slices, LINK).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn each_thing_asked_for_needs_its_capability() {
        let asks = |change: fn(&mut PlannedSlice)| {
            let mut slice = PLAIN;
            change(&mut slice);
            slice
        };
        let all = Capabilities::ALL;
        let cases = [
            (
                Capabilities { guarantee: false, ..all },
                asks(|slice| slice.guarantee = BitsPerSecond(6_000_000)),
                "slice 1 asks for a guarantee of 6 Mbit/s, and the executor cannot guarantee a rate",
            ),
            (
                Capabilities { ceiling: false, ..all },
                asks(|slice| slice.ceiling = BitsPerSecond(4_000_000)),
                "slice 1 asks for a ceiling of 4 Mbit/s on 10 Mbit/s, and the executor cannot hold a rate down",
            ),
            (
                Capabilities { weight: false, ..all },
                asks(|slice| slice.weight = 3),
                "slice 1 asks for weight 3 beside 1 of slice 0, and the executor knows no weights",
            ),
            (
                Capabilities { priority: false, ..all },
                asks(|slice| slice.priority = 2),
                "slice 1 asks for priority 2 beside 0 of slice 0, and the executor knows no priorities",
            ),
            (
                Capabilities { dscp: false, ..all },
                asks(|slice| slice.dscp = 34),
                "slice 1 asks for DSCP 34, and the executor cannot mark packets",
            ),
        ];
        for (lacking, slice, says) in cases {
            assert_eq!(refused(lacking, &[PLAIN, slice]).as_deref(), Some(says));
            assert_eq!(refused(all, &[PLAIN, slice]), None);
            assert_eq!(refused(lacking, &[PLAIN, PLAIN]), None, "{says}");
        }
    }

    #[test]
    fn what_nobody_can_do_is_refused_by_all() {
        let half = PlannedSlice { guarantee: BitsPerSecond(6_000_000), ..PLAIN };
        assert_eq!(
            refused(Capabilities::ALL, &[half, half]).unwrap(),
            "slice 1 asks for a guarantee of 6 Mbit/s, and the slices before it leave 4 Mbit/s of 10 Mbit/s"
        );
        let above = PlannedSlice { ceiling: BitsPerSecond(5_000_000), ..half };
        assert!(refused(Capabilities::ALL, &[above]).unwrap().ends_with("under a ceiling of 5 Mbit/s"));
        assert!(refused(Capabilities::ALL, &[PlannedSlice { dscp: 64, ..PLAIN }]).is_some());
        let most = PlannedSlice { guarantee: BitsPerSecond(u64::MAX), ceiling: BitsPerSecond(u64::MAX), ..PLAIN };
        assert!(refused(Capabilities::ALL, &[half, most, most]).is_some(), "sums do not overflow");
    }

    #[test]
    fn weights_of_different_priorities_are_not_compared() {
        let second = PlannedSlice { priority: 1, weight: 5, ..PLAIN };
        assert_eq!(refused(Capabilities { weight: false, ..Capabilities::ALL }, &[PLAIN, second]), None);
    }

    #[test]
    fn acknowledgements_are_ordered_by_what_they_are_worth() {
        assert!(Acknowledgement::Accepted < Acknowledgement::Applied);
        assert!(Acknowledgement::Applied < Acknowledgement::Verified);
    }

    proptest! {
        #[test]
        fn who_can_do_more_refuses_no_more(
            bits in 0u8..32,
            more in 0usize..5,
            slices in prop::collection::vec((0u64..12, 1u64..12, 1u32..4, 0u8..3, 0u8..70), 0..6),
        ) {
            let can = |bits: u8| Capabilities {
                guarantee: bits & 1 != 0,
                ceiling: bits & 2 != 0,
                weight: bits & 4 != 0,
                priority: bits & 8 != 0,
                dscp: bits & 16 != 0,
                ..Capabilities::NONE
            };
            let slices: BTreeMap<SliceId, PlannedSlice> = slices
                .into_iter()
                .enumerate()
                .map(|(i, (guarantee, ceiling, weight, priority, dscp))| {
                    let mbit = |rate: u64| BitsPerSecond(rate * 1_000_000);
                    let rates = PlannedSlice { guarantee: mbit(guarantee), ceiling: mbit(ceiling), ..PLAIN };
                    (SliceId::at(i), PlannedSlice { weight, priority, dscp, ..rates })
                })
                .collect();
            let less = can(bits).express(&slices, LINK);
            if less.is_ok() {
                prop_assert_eq!(can(bits | 1 << more).express(&slices, LINK), Ok(()));
            }
            if let Err(refusal) = less {
                prop_assert!(slices.contains_key(&refusal.slice()));
            }
        }
    }
}
