//! The resource allocation plan itself: what is written, printed and read.
//!
//! Region × class × interval: demand as quantiles, in sessions, processors, memory and bandwidth; machines by flavour and
//! way to pay, when they are to be launched and drained; the slice on the access link; who else serves; what was cut or
//! finds no place; what it costs. Names instead of ids, so that it stands on its own.

use forebay_world::{BitsPerSecond, Duration, Timestamp};
use serde::{Deserialize, Serialize};

use super::market::{Kind, Tariff};
use super::mix;
use super::needs::Needs;
use super::packing;

/// A resource allocation plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllocationPlan {
    /// What it was made from.
    pub header: Header,
    /// By region, as the scenario lists them.
    pub regions: Vec<RegionPlan>,
    /// By interval, then region, then class.
    pub rows: Vec<Row>,
    /// Sums over all rows.
    pub totals: Totals,
    /// What the operator should know: cuts, spills, what finds no place.
    pub remarks: Vec<String>,
}

/// What a plan was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Scenario by name.
    pub scenario: String,
    /// Series by the names of their files.
    pub series: Vec<String>,
    /// Model that forecast.
    pub model: String,
    /// Seed of what was trained and sampled.
    pub seed: u64,
    /// Moment from which on nothing was known.
    pub origin: Timestamp,
    /// Length of an interval.
    pub step: Duration,
    /// Time that is planned.
    pub horizon: Duration,
    /// Money there is, if it is bounded \[currency unit / h\].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_per_hour: Option<f64>,
    /// Flavours with their prices.
    pub flavours: Vec<FlavourPrice>,
}

/// A flavour and its prices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlavourPrice {
    /// Flavour by name.
    pub flavour: String,
    /// Its prices.
    #[serde(flatten)]
    pub tariff: Tariff,
}

/// What was planned for a region over the whole time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionPlan {
    /// Region by name.
    pub region: String,
    /// Hosts it has.
    pub hosts: u32,
    /// Hosts in use, the most of any interval …
    pub hosts_used_most: u32,
    /// … and in that interval the fewest that could do.
    pub hosts_bound: u32,
    /// The most that any interval's packing uses beyond the fewest that could do, as a share of these.
    pub packing_gap_most: f64,
    /// How machines were put on hosts, each way that was used.
    pub packing: Vec<packing::Method>,
    /// How flavours were chosen, each way that was used.
    pub mix: Vec<mix::Method>,
    /// What the mixes of all intervals together cost beyond their lower bounds, as a share of these; absent where one is not
    /// known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix_gap: Option<f64>,
    /// The most that any one interval's mix costs beyond its lower bound, as a share of it: large where little is needed,
    /// and half a machine would do if there were one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix_gap_most: Option<f64>,
    /// Price of reserved machines, used or not \[currency unit / h\].
    pub committed_per_hour: f64,
}

/// One region × class in one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Begin.
    pub from: Timestamp,
    /// End.
    pub until: Timestamp,
    /// Region by name.
    pub region: String,
    /// Class by name.
    pub class: String,
    /// Demand of the region's clients that half of the futures do not exceed …
    pub p50: Needs,
    /// … that nine in ten do not exceed …
    pub p90: Needs,
    /// … and that is planned for.
    pub sized: Needs,
    /// Share of the futures in which what is planned suffices, 0 to 1.
    pub level: f64,
    /// Sessions that capacity shall serve: what `sized` needs, in whole machines, and what is kept because changing it
    /// would cost more.
    pub target_sessions: f64,
    /// Of these, given up because the budget does not pay for them.
    pub cut_sessions: f64,
    /// Of these, served by other regions.
    pub spill: Vec<SpillTo>,
    /// Of these, served by nobody: no room is left.
    pub unserved_sessions: f64,
    /// Sessions of other regions that are served here.
    pub guest_sessions: f64,
    /// Sessions that the machines below serve.
    pub capacity_sessions: f64,
    /// Machines.
    pub vms: Vec<Vms>,
    /// Machines to launch so that they are ready at the begin of the interval. Those of the first interval are due before
    /// it; they are taken to be paid for already.
    pub launches: Vec<Change>,
    /// Machines to drain.
    pub drains: Vec<Change>,
    /// Rate that the slice guarantees \[bit/s\] …
    pub guarantee: BitsPerSecond,
    /// … and that it cannot exceed \[bit/s\].
    pub ceiling: BitsPerSecond,
    /// Price of the machines, but for what is committed \[currency unit\].
    pub cost: f64,
    /// Price of booting and draining machines that come and go \[currency unit\].
    pub change_cost: f64,
    /// Price of violated minutes, as likely as they are \[currency unit\].
    pub violation_cost: f64,
}

/// Machines of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vms {
    /// Flavour by name.
    pub flavour: String,
    /// How they are paid for.
    pub kind: Kind,
    /// How many.
    pub count: u32,
}

/// Machines that come or go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When to ask for it.
    pub at: Timestamp,
    /// Flavour by name.
    pub flavour: String,
    /// Whether they may be taken away.
    pub spot: bool,
    /// How many.
    pub count: u32,
}

/// Sessions that another region serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpillTo {
    /// Region by name.
    pub region: String,
    /// Capacity for so many sessions.
    pub sessions: f64,
    /// Share of the clients to steer there, 0 to 1.
    pub share: f64,
    /// Delay there and back.
    pub round_trip: Duration,
}

/// Sums of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Machine-hours, from ready to drain \[h\].
    pub vm_hours: f64,
    /// The most machines at once.
    pub vms_most: u32,
    /// Machines launched after the first interval.
    pub launches: u32,
    /// Machines drained.
    pub drains: u32,
    /// Price of machines by the hour \[currency unit\].
    pub cost: f64,
    /// Price of reserved machines, used or not \[currency unit\].
    pub committed_cost: f64,
    /// Price of booting and draining \[currency unit\].
    pub change_cost: f64,
    /// Price of violated minutes, as likely as they are \[currency unit\].
    pub violation_cost: f64,
    /// The most that is spent on machines in an hour \[currency unit / h\].
    pub spent_per_hour_most: f64,
    /// Session-hours of capacity given up for the budget \[h\].
    pub cut_session_hours: f64,
    /// Session-hours served by another region \[h\].
    pub spilled_session_hours: f64,
    /// Session-hours of capacity that find no place \[h\].
    pub unserved_session_hours: f64,
}

impl Row {
    /// Machines of all kinds.
    pub fn vms_total(&self) -> u32 {
        self.vms.iter().map(|vms| vms.count).sum()
    }
}
