//! What groups, links and slices have used: integrals over time, brought up to date when somebody asks.

use forebay_world::{SliceId, Timestamp};

use super::{Group, GroupIx, LinkIx, Network};

/// What a group used since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupUsage {
    /// Flows under way, summed over time \[s\].
    pub flow_seconds: f64,
    /// The part of that in which their rate was below the floor \[s\].
    pub short_flow_seconds: f64,
    /// What they carried \[bit\].
    pub bits: f64,
}

/// What a slice used since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SliceIntegral {
    /// What its flows carried \[bit\].
    pub bits: f64,
    /// What they would have carried on an idle network: their caps, summed over time \[bit\].
    pub offered_bits: f64,
    /// Time in which they offered at least the guarantee and got less, by more than 0.1 % \[s\].
    pub starved_seconds: f64,
}

/// A slice is starved below this share of its guarantee.
const STARVED_SHARE: f64 = 0.999;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) flow_seconds: f64,
    pub(super) short: f64,
    pub(super) bits: f64,
}

impl Network {
    /// What a group used since this was last asked.
    pub fn take_usage(&mut self, now: Timestamp, group: GroupIx) -> GroupUsage {
        self.pass(now);
        self.settle_group(group.0);
        self.groups[group.0 as usize].take_usage()
    }

    /// [`Network::take_usage`], then [`Network::set_count`], in one.
    pub fn exchange(&mut self, now: Timestamp, group: GroupIx, count: f64) -> GroupUsage {
        assert!(count >= 0.0 && count.is_finite(), "number of flows: {count}");
        self.pass(now);
        self.set_inelastic(group.0, count);
        self.groups[group.0 as usize].take_usage()
    }

    /// What a link carried since this was last asked \[bit\].
    pub fn take_link_bits(&mut self, now: Timestamp, link: LinkIx) -> f64 {
        self.pass(now);
        let mut bits = self.links[link.0 as usize].bits_retired;
        for at in 0..self.links[link.0 as usize].groups.len() {
            let group = self.links[link.0 as usize].groups[at];
            self.settle_group(group);
            bits += self.groups[group as usize].totals.bits;
        }
        bits - std::mem::replace(&mut self.links[link.0 as usize].bits_taken, bits)
    }

    /// What a slice used since this was last asked.
    pub fn take_slice_usage(&mut self, now: Timestamp, slice: SliceId) -> SliceIntegral {
        let starved_seconds = self.take_starved(now, slice);
        let ix = self.slice_row(slice);
        let row = &self.slices[ix as usize];
        let (mut bits, mut offered) = (row.bits_retired, row.offered_retired);
        for at in 0..row.groups.len() {
            let group = self.slices[ix as usize].groups[at];
            self.settle_group(group);
            let row = &self.groups[group as usize];
            bits += row.totals.bits;
            offered += row.totals.flow_seconds * row.key.cap();
        }
        let row = &mut self.slices[ix as usize];
        SliceIntegral {
            bits: bits - std::mem::replace(&mut row.bits_taken, bits),
            offered_bits: offered - std::mem::replace(&mut row.offered_taken, offered),
            starved_seconds,
        }
    }

    /// For how long a slice starved since this was last asked, here or with all else that it used \[s\].
    pub fn take_starved(&mut self, now: Timestamp, slice: SliceId) -> f64 {
        self.pass(now);
        let ix = self.slice_row(slice);
        self.account_starved(ix);
        std::mem::take(&mut self.slices[ix as usize].starved_seconds)
    }

    /// Brings a group's totals up to now. Rates since the last change must be known; those from now on need not be.
    #[inline]
    pub(super) fn settle_group(&mut self, group: u32) {
        let row = &mut self.groups[group as usize];
        let bundle = &mut self.bundles.rows[row.bundle as usize];
        bundle.advance(self.now);
        row.totals.flow_seconds += row.count * ((self.now - row.since) as f64 * 1e-9);
        row.totals.bits += row.count * (bundle.served - row.served_mark);
        row.totals.short += row.count * (bundle.short - row.short_mark);
        row.since = self.now;
        row.served_mark = bundle.served;
        row.short_mark = bundle.short;
    }

    /// Brings a slice's time of starving up to now.
    pub(super) fn account_starved(&mut self, slice: u32) {
        let row = &mut self.slices[slice as usize];
        if row.starved {
            row.starved_seconds += (self.now - row.starved_since) as f64 * 1e-9;
        }
        row.starved_since = self.now;
    }

    /// Notes whether a slice, at `rate` in all \[bit/s\], gets what it is guaranteed.
    pub(super) fn judge_starved(&mut self, slice: u32, rate: f64) {
        self.account_starved(slice);
        let row = &mut self.slices[slice as usize];
        row.starved = row.standing.is_some_and(|planned| {
            let guarantee = planned.guarantee.as_f64();
            row.demand >= guarantee && rate < guarantee * STARVED_SHARE
        });
    }
}

impl Group {
    /// What was used since this was last asked, up to when the totals were last brought up to date.
    fn take_usage(&mut self) -> GroupUsage {
        let (all, taken) = (self.totals, std::mem::replace(&mut self.taken, self.totals));
        GroupUsage {
            flow_seconds: all.flow_seconds - taken.flow_seconds,
            short_flow_seconds: all.short - taken.short,
            bits: all.bits - taken.bits,
        }
    }
}
