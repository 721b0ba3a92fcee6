//! Two twins in step with production: *ours*, in which our plans are carried out, and *theirs*, whose machines are those
//! that production has. Both meet the load that was observed.
//!
//! One pair meets the load as it was told; replicates of it meet loads that it might have been, given its error, and boots
//! that take as long as chance has it. Within a replicate both twins meet the same load and the same luck (common random
//! numbers), so that their differences are paired.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_sim::setup::{Content, Dns, Fidelity, Hazards, Load, LocalTime, Setup};
use forebay_sim::statistics::normal_quantile;
use forebay_sim::{CellTally, SimWorld, Stream};
use forebay_world::{
    Duration, Plan, PlannedSlice, RegionId, SliceId, Steering, Synchrony, Timestamp, Topology, VmId, World, WorldError,
};
use rayon::prelude::*;

use super::fleet::Change;
use super::load::Rate;
use crate::production::Production;
use crate::scenario::spec::{ContentSpec, DnsSpec};

/// Rates are held for this long at most in the twins.
const STEP: Duration = Duration::from_secs(10);
/// How much of an estimate's error is still there a window later: it rests on the queries of some windows.
const PERSISTENCE: f64 = 0.9;
/// Sessions beyond this multiple of a machine's places are turned away, as in a scenario that does not say otherwise.
const OVERLOAD_LIMIT: f64 = 1.1;

/// The world that a production file describes, as a twin begins: nothing in it, and its load to be told.
pub fn setup(production: &Production, start: Timestamp, seed: u64) -> Setup {
    let topology = &production.topology;
    let (dns, content, classes) = (DnsSpec::default(), ContentSpec::default(), topology.classes.len());
    Setup {
        topology: Arc::clone(topology),
        start,
        end: Timestamp::MAX,
        score_from: start,
        seed,
        fidelity: Fidelity::Fluid(STEP.min(production.controller.period)),
        local_time: vec![LocalTime(Vec::new()); topology.regions.len()],
        load: vec![Load::Told; topology.cells()],
        crowds: Vec::new(),
        dns: Dns {
            resolvers: vec![*dns.resolvers.get_ref(); topology.regions.len()],
            resolver_skew: *dns.resolver_skew.get_ref(),
            ttl: production.ttl.clone(),
            extending_share: *dns.extending_share.get_ref(),
            extended_ttl: dns.extended_ttl,
            ecs_share: *dns.ecs_share.get_ref(),
            ecs_subnets: *dns.ecs_subnets.get_ref(),
        },
        content: Content {
            objects: vec![*content.objects.get_ref(); classes],
            exponent: vec![*content.exponent.get_ref(); classes],
            cached: vec![content.cached; classes],
            origin_delay: content.origin_delay,
        },
        faults: Vec::new(),
        hazards: Hazards::default(),
        overload_limit: OVERLOAD_LIMIT,
        events: Vec::new(),
    }
}

/// A world with our plans, and one with production's machines.
#[derive(Clone)]
pub struct Pair {
    /// Our plans are carried out in it.
    pub ours: SimWorld,
    /// It has production's machines.
    pub theirs: SimWorld,
    seed: u64,
    /// How far the load of each client cell is from what was told, in standard errors; none for the pair that meets it as
    /// it was told.
    deviates: Option<Vec<f64>>,
    rates: Vec<f64>,
}

/// All pairs.
#[derive(Clone)]
pub struct Twins {
    /// The first meets the load as it was told; the replicates follow.
    pairs: Vec<Pair>,
    /// Cells whose sessions under way are in the twins.
    settled: Vec<bool>,
    /// Whether machines that production had at the begin are in ours.
    adopted: bool,
    windows: u64,
}

/// What was seen of production in a window.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Its end.
    pub until: Timestamp,
    /// The load of each client cell.
    pub rates: &'a [Option<Rate>],
    /// What changed in production, by time.
    pub changes: &'a [Change],
    /// Slices that stand there.
    pub slices: &'a BTreeMap<SliceId, PlannedSlice>,
    /// Where its name servers send the clients of each cell (dense): regions and their weights; `None` where that is not
    /// known.
    pub steering: &'a [Option<Vec<(RegionId, u32)>>],
}

impl Twins {
    /// Twins of production from `start` on, with so many replicates.
    pub fn new(production: &Production, start: Timestamp, replicates: u32) -> Twins {
        let cells = production.topology.cells();
        let pair = |seed: u64| {
            let world = SimWorld::new(Arc::new(setup(production, start, seed)));
            let deviates = (seed > 0).then(|| vec![0.0; cells]);
            Pair { ours: world.clone(), theirs: world, seed, deviates, rates: vec![0.0; cells] }
        };
        Twins {
            pairs: (0..=u64::from(replicates)).map(pair).collect(),
            settled: vec![false; cells],
            adopted: false,
            windows: 0,
        }
    }

    /// The pair that meets the load as it was told.
    pub fn told(&mut self) -> &mut Pair {
        &mut self.pairs[0]
    }

    /// The replicates.
    pub fn replicates(&self) -> &[Pair] {
        &self.pairs[1..]
    }

    /// Goes to the end of a window. What was not seen of the load is held to be as it was before.
    ///
    /// # Errors
    /// [`WorldError`], which a simulated world has none of.
    pub fn advance(&mut self, window: &Window<'_>) -> Result<Synchrony, WorldError> {
        let settle: Vec<Option<f64>> = window
            .rates
            .iter()
            .zip(&mut self.settled)
            .map(|(rate, settled)| {
                let rate = rate.filter(|_| !*settled)?;
                *settled = true;
                Some(rate.settled)
            })
            .collect();
        let (first, n) = (!std::mem::replace(&mut self.adopted, true), self.windows);
        self.windows += 1;
        self.pairs.par_iter_mut().map(|pair| pair.advance(window, &settle, first, n)).collect::<Result<Vec<_>, _>>()?;
        Ok(Synchrony::OnTime)
    }

    /// Carries a plan out in ours.
    ///
    /// # Errors
    /// [`WorldError::Stale`] for a plan older than one that was carried out.
    pub fn submit(&mut self, plan: &Plan) -> Result<(), WorldError> {
        self.pairs.iter_mut().try_for_each(|pair| pair.ours.submit(plan))
    }
}

impl Pair {
    /// What ours and theirs have come to, by cell.
    pub fn tallies(&self) -> (Vec<CellTally>, Vec<CellTally>) {
        (self.ours.tallies(), self.theirs.tallies())
    }

    fn advance(&mut self, window: &Window<'_>, settle: &[Option<f64>], first: bool, n: u64) -> Result<(), WorldError> {
        self.draw(window.rates, n);
        let begin = self.theirs.now();
        if first {
            // What stood before the first window ended stood when it began.
            let mut standing: BTreeMap<VmId, &Change> = BTreeMap::new();
            for change in window.changes.iter().filter(|change| !change.is_turn && change.at <= window.until) {
                standing.entry(change.vm).or_insert(change);
            }
            for (vm, change) in standing {
                self.theirs.mirror(vm, change.stands);
                self.ours.mirror(vm, change.stands);
            }
        }
        self.theirs.mirror_slices(window.slices);
        self.steer(window.steering);
        self.ours.tell_rates(&self.rates);
        self.theirs.tell_rates(&self.rates);
        for (cell, sessions) in settle.iter().enumerate() {
            if let Some(sessions) = sessions {
                self.ours.settle(cell, *sessions);
                self.theirs.settle(cell, *sessions);
            }
        }
        for change in window.changes {
            let at = change.at.clamp(begin, window.until);
            self.theirs.wait_until(at)?;
            self.theirs.mirror(change.vm, change.stands);
            self.steer(window.steering);
        }
        self.theirs.wait_until(window.until)?;
        self.ours.wait_until(window.until)?;
        Ok(())
    }

    /// The load of a window: as told, or as it might have been.
    fn draw(&mut self, rates: &[Option<Rate>], n: u64) {
        for (cell, rate) in rates.iter().enumerate() {
            let Some(rate) = rate else { continue };
            self.rates[cell] = match &mut self.deviates {
                None => rate.per_second,
                Some(deviates) => {
                    let uniform = Stream::new(self.seed, "observed load", cell as u64).at(n << 8).uniform();
                    let fresh = normal_quantile(uniform.clamp(1e-12, 1.0 - 1e-12));
                    let deviate = &mut deviates[cell];
                    *deviate = if n == 0 {
                        fresh
                    } else {
                        PERSISTENCE * *deviate + (1.0 - PERSISTENCE * PERSISTENCE).sqrt() * fresh
                    };
                    scattered(rate, *deviate)
                }
            };
        }
    }

    /// Sends the clients of theirs where production's name servers do. Where that is not known, home; or where production
    /// has no machine at home, to the nearest region that has one.
    fn steer(&mut self, told: &[Option<Vec<(RegionId, u32)>>]) {
        let topology = Arc::clone(&self.theirs.setup().topology);
        let mut steering = nearest(&topology, &self.theirs.serving());
        for (cell, told) in told.iter().enumerate() {
            let Some(weights) = told else { continue };
            let home = topology.cell_at(cell).0;
            let is_home = weights.iter().all(|(region, _)| *region == home);
            steering.0[cell] = if is_home { Vec::new() } else { weights.clone() };
        }
        self.theirs.mirror_steering(steering);
    }
}

/// A rate that deviates so many standard errors: log-normal with the rate as mean.
fn scattered(rate: &Rate, deviate: f64) -> f64 {
    if rate.per_second <= 0.0 {
        return 0.0;
    }
    let variance = (rate.standard_error / rate.per_second).powi(2).ln_1p();
    rate.per_second * (variance.sqrt() * deviate - variance / 2.0).exp()
}

/// Clients go home where a machine serves them, else to the nearest region where one does.
fn nearest(topology: &Topology, serving: &[bool]) -> Steering {
    let weights = (0..topology.cells()).map(|cell| {
        let (home, class) = topology.cell_at(cell);
        if serving[cell] {
            return Vec::new();
        }
        let regions = (0..topology.regions.len()).filter(|region| serving[topology.cell(RegionId::at(*region), class)]);
        let far = |region: usize| crate::steering::distance(topology, home.index(), region);
        let found = regions.min_by(|a, b| far(*a).total_cmp(&far(*b)));
        found.map(|region| vec![(RegionId::at(region), 1)]).unwrap_or_default()
    });
    Steering(weights.collect())
}

#[cfg(test)]
mod tests;
