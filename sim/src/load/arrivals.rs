//! Sessions, one after the other.

use std::sync::Arc;

use forebay_world::{Duration, Timestamp};

use super::alias::Alias;
use super::rate::{RateCurve, Sweep};
use crate::setup::{Load, QueryLog, QueryLogTaken, Setup};
use crate::{Stream, dns};

/// One session that begins, with all that chance decides about it. Nothing here depends on the policy under test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// When it begins.
    pub at: Timestamp,
    /// Multiple of its class's mean duration or size: exponential with mean 1.
    pub amount: f64,
    /// Uniform on (0, 1]: it finds its object cached when this is not above the hit ratio.
    pub luck: f64,
    /// Random bits for a choice among virtual machines.
    pub pick: u64,
    /// The resolver it asks: dense in its region, or in its cell's log.
    pub resolver: u32,
    /// The name it asks for: 0 for synthetic load, dense in the cell's log.
    pub name: u32,
    /// The client subnet it comes from, among those behind its resolver.
    pub subnet: u16,
    /// How its query reaches the authoritative servers, if it does.
    pub query: Via,
}

impl Arrival {
    /// How long the session lasts, undisturbed, when the mean is `mean_seconds`
    /// (see [`Work::mean_seconds`](forebay_world::Work::mean_seconds)).
    pub fn lasts(&self, mean_seconds: f64) -> Duration {
        Duration::from_secs_f64_saturating(self.amount * mean_seconds)
    }
}

/// How a session's query reaches the authoritative servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Its resolver is asked, which may know an answer.
    Resolver,
    /// The query was recorded at the authoritative servers: it reaches them whatever a simulated resolver knows.
    Authority,
}

/// The sessions of one client region × class in order of time; those of one moment follow each other.
///
/// A non-homogeneous Poisson process by exact inversion: unit exponentials are laid end to end on the integral of the
/// piecewise linear rate (E. Çinlar, "Introduction to Stochastic Processes", 1975, ch. 4; compared with the thinning
/// of Lewis & Shedler, 1979, it wastes no draw). A query log yields its rows instead, `sessions_per_query` sessions
/// each; the first of a row taken at the authoritative servers comes [`Via::Authority`], the others ask its resolver
/// at the same moment. A crowd multiplies the sessions of a row, rounded up or down at random.
#[derive(Clone, Debug)]
pub struct Arrivals {
    source: Source,
    chance: Stream,
    subnets: u64,
    end: Timestamp,
}

#[derive(Clone, Debug)]
enum Source {
    Nothing,
    Rate(Box<Poisson>),
    Log(Box<Replay>),
}

impl Arrivals {
    /// The sessions of `cell` from the begin to the end of the run.
    pub fn new(setup: &Setup, cell: usize) -> Self {
        let (region, _) = setup.topology.cell_at(cell);
        let source = match &setup.load[cell] {
            Load::None | Load::Told => Source::Nothing,
            Load::Synthetic(_) | Load::Series(_) => Source::Rate(Box::new(Poisson {
                walk: Walk::new(RateCurve::new(setup, cell).sweep(setup.start)),
                resolvers: Alias::new(&dns::resolver_weights(&setup.dns, region)),
            })),
            Load::Queries(log) => Source::Log(Box::new(Replay {
                next: log.at.partition_point(|at| *at < setup.start),
                log: log.clone(),
                curve: RateCurve::new(setup, cell),
                left: 0,
                first: false,
            })),
        };
        let subnets = u64::from(setup.dns.ecs_subnets.clamp(1, 1 << 16));
        Arrivals { source, chance: Stream::new(setup.seed, "arrivals", cell as u64), subnets, end: setup.end }
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    #[inline]
    fn next(&mut self) -> Option<Arrival> {
        match &mut self.source {
            Source::Nothing => None,
            Source::Rate(poisson) => {
                let Some(at) = poisson.walk.next(self.chance.exponential(), self.end) else {
                    self.source = Source::Nothing;
                    return None;
                };
                let resolver = poisson.resolvers.pick(self.chance.bits());
                let subnet = self.chance.below(self.subnets) as u16;
                Some(Arrival { at, resolver, subnet, ..session(&mut self.chance) })
            }
            Source::Log(replay) => {
                let Some((at, row, first)) = replay.next(&mut self.chance, self.end) else {
                    self.source = Source::Nothing;
                    return None;
                };
                let query = match replay.log.taken {
                    QueryLogTaken::AtAuthority if first => Via::Authority,
                    QueryLogTaken::AtAuthority | QueryLogTaken::BeforeResolver => Via::Resolver,
                };
                let (resolver, name) = (replay.log.resolver[row], replay.log.name[row]);
                Some(Arrival { at, resolver, name, query, ..session(&mut self.chance) })
            }
        }
    }
}

/// What chance decides about any session.
#[inline]
fn session(chance: &mut Stream) -> Arrival {
    Arrival {
        amount: chance.exponential(),
        luck: chance.uniform(),
        pick: chance.bits(),
        at: Timestamp::EPOCH,
        resolver: 0,
        name: 0,
        subnet: 0,
        query: Via::Resolver,
    }
}

#[derive(Clone, Debug)]
struct Poisson {
    walk: Walk,
    resolvers: Alias,
}

/// A position on the integral of a rate, in the straight piece around it.
#[derive(Clone, Debug)]
struct Walk {
    sweep: Sweep,
    /// Begin of the piece, or of the walk.
    since: Timestamp,
    /// Rate at `since` \[1/s\] and its slope [1/s²].
    from: f64,
    slope: f64,
    /// Position, from `since` \[s\].
    at: f64,
    /// Sessions expected from the position to the end of the piece.
    left: f64,
}

impl Walk {
    fn new(sweep: Sweep) -> Self {
        let mut walk = Walk { since: sweep.at(), sweep, from: 0.0, slope: 0.0, at: 0.0, left: 0.0 };
        walk.enter();
        walk
    }

    fn enter(&mut self) {
        let piece = &self.sweep.piece;
        self.since = self.sweep.at();
        self.from = piece.at(self.since);
        let seconds = piece.seconds();
        self.slope = if piece.from == piece.to { 0.0 } else { (piece.to - piece.from) / seconds };
        self.at = 0.0;
        self.left = if self.from == 0.0 && piece.to == 0.0 { 0.0 } else { piece.area(self.since, piece.until) };
    }

    /// Walks on until `due` more sessions are expected.
    #[inline]
    fn next(&mut self, mut due: f64, end: Timestamp) -> Option<Timestamp> {
        while due >= self.left {
            due -= self.left;
            if self.sweep.piece.until >= end {
                return None;
            }
            self.sweep.turn();
            self.enter();
        }
        self.left -= due;
        // Where rate·x + slope·x²/2 = due, in the form that subtracts nothing.
        let rate = self.from + self.slope * self.at;
        self.at += 2.0 * due / (rate + (rate * rate + 2.0 * self.slope * due).max(0.0).sqrt());
        let at = self.since.saturating_add(Duration::from_nanos((self.at * 1e9) as u64));
        let at = at.min(Timestamp::from_nanos(self.sweep.piece.until.as_nanos() - 1));
        (at < end).then_some(at)
    }
}

/// A position in a query log.
#[derive(Clone, Debug)]
struct Replay {
    log: Arc<QueryLog>,
    curve: RateCurve,
    /// The row after the present one.
    next: usize,
    /// Sessions of the present row that are still to come.
    left: u64,
    /// Whether the next session is its row's first.
    first: bool,
}

impl Replay {
    /// Time and row of the next session, and whether it is its row's first.
    fn next(&mut self, chance: &mut Stream, end: Timestamp) -> Option<(Timestamp, usize, bool)> {
        while self.left == 0 {
            let at = *self.log.at.get(self.next).filter(|at| **at < end)?;
            self.next += 1;
            let factor = self.curve.crowd_factor(at);
            let sessions = f64::from(self.log.sessions_per_query) * factor;
            self.left = if factor == 1.0 { sessions as u64 } else { (sessions + 1.0 - chance.uniform()) as u64 };
            self.first = true;
        }
        self.left -= 1;
        let row = self.next - 1;
        Some((self.log.at[row], row, std::mem::replace(&mut self.first, false)))
    }
}
