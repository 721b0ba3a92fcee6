//! All that a simulated run is a function of.
//!
//! A [`Setup`] is checked before it gets here: the crate that reads scenario files makes one, and what is wrong with
//! a file is said there, with its line. This crate panics on a setup that cannot be.

use std::sync::Arc;

use forebay_world::{Duration, HostId, KnownEvent, LinkId, RegionId, Timestamp, Topology};

/// A world, its load and its faults, and the seed of its chances.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What there is.
    pub topology: Arc<Topology>,
    /// When the run begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// From here on the score counts; before, the world fills up.
    pub score_from: Timestamp,
    /// Seed of every random stream.
    pub seed: u64,
    /// How finely load is simulated.
    pub fidelity: Fidelity,
    /// Local time of each region, dense.
    pub local_time: Vec<LocalTime>,
    /// Load of each client region × class, dense.
    pub load: Vec<Load>,
    /// Flash crowds on top of the load.
    pub crowds: Vec<FlashCrowd>,
    /// Resolvers and their habits.
    pub dns: Dns,
    /// Content and caches.
    pub content: Content,
    /// What breaks, and when.
    pub faults: Vec<ScheduledFault>,
    /// What breaks by chance.
    pub hazards: Hazards,
    /// Sessions beyond this multiple of a virtual machine's places are turned away.
    pub overload_limit: f64,
    /// Events outside that an announcer made known beforehand.
    pub events: Vec<Announcement>,
}

/// How finely load is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fidelity {
    /// Every session is an event.
    Session,
    /// Rates per interval of this length.
    Fluid(Duration),
}

/// Offset from UTC over time: (from, offset \[s\]), ascending; the first entry holds before it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTime(pub Vec<(Timestamp, i32)>);

/// Where the sessions of one client region × class come from.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful, made once")]
pub enum Load {
    /// Nobody comes.
    None,
    /// A non-homogeneous Poisson process with daily and weekly shape in local time.
    Synthetic(Synthetic),
    /// A recorded series of rates, held constant over each step.
    Series(Arc<RateSeries>),
    /// A recorded log of queries.
    Queries(Arc<QueryLog>),
    /// At rates that whoever drives the world tells as it goes ([`SimWorld::tell_rates`](crate::SimWorld::tell_rates)): at
    /// fluid fidelity.
    Told,
}

/// A daily and weekly shape around a mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthetic {
    /// Sessions that begin, mean over a week \[1/s\].
    pub sessions_per_second: f64,
    /// Factor by hour of the local day, at the middle of each hour, linear in between; mean 1.
    pub daily: [f64; 24],
    /// Factor by day of the local week, Monday first; mean 1.
    pub weekly: [f64; 7],
    /// Slow wandering of the rate: standard deviation of its logarithm, 0 for none …
    pub noise_sigma: f64,
    /// … and the interval over which it is redrawn (an AR(1) process with coefficient 0.9 from one to the next).
    pub noise_step: Duration,
}

/// Rates over time, each held for `step`.
#[derive(Clone, Debug, PartialEq)]
pub struct RateSeries {
    /// Begin of the first step.
    pub start: Timestamp,
    /// Length of a step.
    pub step: Duration,
    /// Sessions that begin \[1/s\].
    pub sessions_per_second: Vec<f64>,
}

/// Recorded queries of one client region × class, in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryLog {
    /// When each arrived.
    pub at: Vec<Timestamp>,
    /// Who keeps the answer, dense over the log's resolvers.
    pub resolver: Vec<u32>,
    /// The name asked for, dense over the log's names.
    pub name: Vec<u32>,
    /// Where the log was taken.
    pub taken: QueryLogTaken,
    /// Sessions that each query stands for, at least one.
    pub sessions_per_query: u32,
}

/// Where a query log was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryLogTaken {
    /// Between clients and their resolver: the simulated resolver's cache stands between them and the servers.
    BeforeResolver,
    /// At the authoritative servers: each query is a cache miss already.
    AtAuthority,
}

/// A crowd that comes at once: the load of some cells is multiplied by a factor that ramps up, holds and decays.
#[derive(Clone, Debug, PartialEq)]
pub struct FlashCrowd {
    /// Its name.
    pub name: String,
    /// Cells it concerns (see [`Topology::cell`]).
    pub cells: Vec<usize>,
    /// When the ramp begins.
    pub at: Timestamp,
    /// Standard deviation of the begin, by seed.
    pub jitter: Duration,
    /// Time from usual to full.
    pub ramp: Duration,
    /// Time at full.
    pub hold: Duration,
    /// Time constant of the exponential decay after.
    pub decay: Duration,
    /// Factor at full on the usual load.
    pub factor: f64,
    /// Standard deviation of the factor's logarithm, by seed.
    pub factor_sigma: f64,
}

/// A known event and when it became known.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// From when on observations carry it.
    pub known_from: Timestamp,
    /// The event.
    pub event: KnownEvent,
}

/// Resolvers of each region and their habits.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// Resolvers in each region, dense.
    pub resolvers: Vec<u32>,
    /// Exponent of the Zipf law of clients over the resolvers of a region; 0 is even.
    pub resolver_skew: f64,
    /// Time that answers may be kept, per class, dense.
    pub ttl: Vec<Duration>,
    /// Share of resolvers that keep answers longer than they may …
    pub extending_share: f64,
    /// … at least this long.
    pub extended_ttl: Duration,
    /// Share of resolvers that send EDNS Client Subnet (RFC 7871) …
    pub ecs_share: f64,
    /// … with this many client subnets behind each.
    pub ecs_subnets: u32,
}

/// Content and the caches of virtual machines, per class, dense.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Objects in the catalogue.
    pub objects: Vec<u32>,
    /// Exponent of the Zipf law of their popularity.
    pub exponent: Vec<f64>,
    /// Objects that a virtual machine's cache holds.
    pub cached: Vec<u32>,
    /// What a miss adds to a start-up or response: the way to the origin and back.
    pub origin_delay: Duration,
}

/// A fault at a set time.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduledFault {
    /// When it begins.
    pub at: Timestamp,
    /// How long it lasts.
    pub lasts: Duration,
    /// What breaks.
    pub fault: Fault,
}

/// What can break.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// A host stops; its virtual machines are lost. It comes back empty.
    HostCrash(HostId),
    /// While it lasts, this share of boots fails.
    BootFailures(f64),
    /// A link keeps this share of its capacity; 0 cuts it.
    LinkDegraded(LinkId, f64),
    /// All hosts of a region stop, and its access link is cut.
    RegionLost(RegionId),
    /// Nothing is heard from a region; it works all the same.
    TelemetryGap(RegionId),
}

/// Faults by chance: mean times between failures, exponential; `None` for never.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hazards {
    /// Mean time between crashes of one host.
    pub host_mtbf: Option<Duration>,
    /// Mean time to repair a host.
    pub host_repair: Duration,
    /// Share of boots that fail, 0 to 1.
    pub boot_failure: f64,
    /// Mean time between degradations of one link.
    pub link_mtbf: Option<Duration>,
    /// Mean time to repair a link.
    pub link_repair: Duration,
    /// Share of capacity that a degraded link keeps.
    pub link_left: f64,
    /// Mean time between losses of one region.
    pub region_mtbf: Option<Duration>,
    /// Mean time until a lost region is back.
    pub region_repair: Duration,
    /// Mean time between telemetry gaps of one region.
    pub telemetry_mtbf: Option<Duration>,
    /// Mean length of a telemetry gap.
    pub telemetry_gap: Duration,
}
