//! Slices (the Virtual Network Slicing Manager): what each serving region × class is guaranteed on its region's access
//! link, what it may take at most, who goes first, how its packets are marked, and what delay it bears.
//!
//! A guarantee is the quantile of demand that the policy sized for, or what was seen with headroom, or what the
//! operator fixed. What a slice asks for moves in steps and not too far at once (`pace`); what the slices of a link
//! ask for is admitted together, and who gives way is told why (`admission`). What a link can carry now bounds it,
//! when that was seen.
//!
//! A slice stands when somebody needs it (`standing`): from the plan that first launches a machine for it, until no
//! machine of it is left and it has been idle for a while. Between the two, [`forebay_world::Plan::diff`] sees to the
//! order: slices before machines, machines before slices go.
//!
//! Not here: switches (whoever executes a plan; [`capability`] says whether it can), and what a slice is called elsewhere
//! ([`service`], the vocabulary of RFC 9543).

mod admission;
pub mod capability;
pub mod dscp;
pub mod latency;
mod pace;
pub mod service;
mod standing;
mod terms;

use std::collections::BTreeMap;

use forebay_world::{BitsPerSecond, Observation, PlannedSlice, SliceId, Topology};
use serde::{Deserialize, Serialize};

pub use dscp::Dscp;
pub use standing::Need;

use crate::controller::config::SlicingConfig;
use admission::{Claim, Cut};
use pace::{Limits, Pace, Wish};
use standing::Standing;
use terms::Terms;

/// Cuts links into slices.
#[derive(Clone, Debug)]
pub struct Slicing {
    config: SlicingConfig,
    /// Dense over cells.
    terms: Vec<Terms>,
    /// Cells on each link.
    by_link: Vec<Vec<usize>>,
    /// What is remembered of each cell.
    cells: Vec<Cell>,
    /// Kept to spare allocation.
    claims: Vec<Claim>,
    wanted: BTreeMap<SliceId, PlannedSlice>,
}

/// What is remembered of a slice from tick to tick.
#[derive(Clone, Debug, Default)]
struct Cell {
    standing: Standing,
    pace: Pace,
    /// What it asked for at the last tick, before admission; `None` where that is not known.
    asked: Option<BitsPerSecond>,
}

/// The slices of a tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sliced {
    /// The slices that shall stand, if they differ from those of the plan in force.
    pub slices: Option<BTreeMap<SliceId, PlannedSlice>>,
    /// Slices that were not granted what they ask for, by ascending id.
    pub gave_way: BTreeMap<SliceId, GaveWay>,
}

/// A slice that was not granted what it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaveWay {
    /// The guarantee it asked for \[bit/s\].
    pub asked: BitsPerSecond,
    /// The guarantee it was granted \[bit/s\].
    pub granted: BitsPerSecond,
    /// Why, in words.
    pub reason: String,
}

impl Slicing {
    /// Slices for a topology. The configuration must have passed its check.
    pub fn new(config: &SlicingConfig, topology: &Topology) -> Self {
        let terms = Terms::of(config, topology);
        let mut by_link = vec![Vec::new(); topology.links.len()];
        for (cell, terms) in terms.iter().enumerate() {
            by_link[terms.link.index()].push(cell);
        }
        Slicing {
            config: config.clone(),
            cells: vec![Cell::default(); terms.len()],
            terms,
            by_link,
            claims: Vec::new(),
            wanted: BTreeMap::new(),
        }
    }

    /// The slices that shall stand. `needs` says what each cell needs, dense.
    pub fn slice(
        &mut self,
        current: &BTreeMap<SliceId, PlannedSlice>,
        seen: &Observation,
        needs: &[Need],
        topology: &Topology,
    ) -> Sliced {
        self.wanted.clear();
        let mut gave_way = BTreeMap::new();
        for link in 0..self.by_link.len() {
            if self.by_link[link].is_empty() {
                continue;
            }
            let nominal = topology.links[link].capacity;
            let now = seen.links.get(link).copied().flatten().map_or(nominal, |used| used.capacity);
            // A cut link carries no guarantee whatever the plan says; leave the plan alone until it is back.
            let capacity = if now == BitsPerSecond::ZERO { nominal } else { now.min(nominal) };
            self.claim(link, nominal, current, seen, needs);
            for cut in self.admit(capacity) {
                let reason = self.reason(&cut, topology, capacity);
                let Cut { claim, granted, .. } = cut;
                gave_way.insert(SliceId::at(claim.cell), GaveWay { asked: claim.asked, granted, reason });
            }
        }
        let same = *current == self.wanted;
        Sliced { slices: (!same).then(|| self.wanted.clone()), gave_way }
    }

    /// Lists what the slices of a link that shall stand ask for.
    fn claim(
        &mut self,
        link: usize,
        nominal: BitsPerSecond,
        current: &BTreeMap<SliceId, PlannedSlice>,
        seen: &Observation,
        needs: &[Need],
    ) {
        let limits = Limits {
            step: (nominal.as_f64() * self.config.step_share).max(1.0),
            rise: nominal.as_f64() * self.config.max_rise_share,
            fall: nominal.as_f64() * self.config.max_fall_share,
        };
        self.claims.clear();
        for &cell in &self.by_link[link] {
            let (terms, need) = (&self.terms[cell], &needs[cell]);
            let Cell { standing, pace, asked } = &mut self.cells[cell];
            let stands = current.get(&SliceId::at(cell));
            if !standing.stands(stands.is_some(), need, seen.at, self.config.linger) {
                pace.stop();
                *asked = None;
                continue;
            }
            let from = asked.or(stands.map(|slice| slice.guarantee)).unwrap_or_default();
            let asks = match (terms.fixed, need.cover) {
                (Some(fixed), _) => {
                    pace.stop();
                    fixed
                }
                (None, None) => from.min(terms.ceiling),
                (None, Some(cover)) => {
                    let now = need.now.unwrap_or_default();
                    pace.ask(Wish { from, cover, now, most: terms.ceiling }, &limits, seen.at, seen.window, terms.boot)
                }
            };
            *asked = Some(asks);
            self.claims.push(Claim { cell, asked: asks, priority: terms.priority, price: terms.price });
        }
    }

    /// Grants the claims of a link: into the share of it that can be reserved, or into all of it as far as the operator
    /// fixed more.
    fn admit(&mut self, capacity: BitsPerSecond) -> Vec<Cut> {
        let Slicing { config, terms, claims, wanted, .. } = self;
        let fixed: u128 = claims
            .iter()
            .filter(|claim| terms[claim.cell].fixed.is_some())
            .map(|claim| u128::from(claim.asked.0))
            .sum();
        let fixed = BitsPerSecond(u64::try_from(fixed).unwrap_or(u64::MAX));
        let reservable = BitsPerSecond::from_f64(capacity.as_f64() * config.reservable_share);
        let room = reservable.max(fixed).min(capacity);
        admission::admit(claims, room, |cell, granted| {
            wanted.insert(SliceId::at(cell), terms[cell].slice(granted));
        })
    }

    /// Why a slice gave way, in words.
    fn reason(&self, cut: &Cut, topology: &Topology, capacity: BitsPerSecond) -> String {
        let terms = &self.terms[cut.claim.cell];
        let link = &topology.links[terms.link.index()];
        let name = |claim: &Claim| {
            let other = &self.terms[claim.cell];
            let class = &topology.class(other.class).name;
            if other.region == terms.region {
                class.clone()
            } else {
                format!("{} {class}", topology.region(other.region).name)
            }
        };
        let mut first: Vec<String> = Vec::new();
        for claim in &cut.first {
            let why = if claim.priority < cut.claim.priority {
                format!("priority {}", claim.priority)
            } else {
                format!("{} / min for {}", claim.price, rate(claim.asked))
            };
            first.push(format!("{} ({why})", name(claim)));
        }
        let beside: Vec<String> = cut.beside.iter().map(name).collect();
        let mut parts = Vec::new();
        match first.len() {
            0 => {}
            1 => parts.push(format!("{} goes first", first[0])),
            _ => parts.push(format!("{} go first", in_a_row(&first))),
        }
        if !beside.is_empty() {
            parts.push(
                format!("{} shares in proportion", in_a_row(&beside))
                    .replace("shares", if beside.len() > 1 { "share" } else { "shares" }),
            );
        }
        if capacity < link.capacity {
            parts.push(format!("{} carries {} of {}", link.name, rate(capacity), rate(link.capacity)));
        } else if parts.is_empty() {
            parts.push(format!("of {}, {} is all that is guaranteed", rate(link.capacity), rate(cut.granted)));
        }
        format!("asked {}, granted {}: {}", rate(cut.claim.asked), rate(cut.granted), parts.join("; "))
    }
}

/// `a`, `a and b`, `a, b and c`.
fn in_a_row(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

/// A rate to three digits, in the unit that suits it.
pub fn rate(rate: BitsPerSecond) -> String {
    let units = [("Tbit/s", 1e12), ("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)];
    let value = rate.as_f64();
    let Some((unit, scale)) = units.into_iter().find(|(_, scale)| value >= 0.9995 * scale) else {
        return rate.to_string();
    };
    let scaled = value / scale;
    let decimals = match scaled {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{scaled:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {unit}")
}

#[cfg(test)]
mod tests;
