//! Which flavours, how many of each and how paid for, so that the classes of one region have the capacity they claim.
//!
//! A small mixed-integer program for each region and interval: machines by class, flavour and kind of payment; reserved
//! ones are shared by the classes and cost nothing more, spot ones stay within their share, what is added is paid for
//! while it boots and drains, and what the hosts together or the access link do not carry stays unserved, those claims
//! last that go first. Branch and bound over it ends after a fixed number of nodes; where it finds nothing, machines are
//! taken one by one, the cheapest per session first, and the program without whole numbers says how far off that may be.

mod greedy;
mod program;

use std::collections::BTreeMap;

use forebay_world::{ClassId, FlavourId, Room};
use serde::{Deserialize, Serialize};

use super::capacity::Offer;
use super::market::{Kind, Market};

/// Machines by class, flavour and kind of payment; none is there with a count of zero.
pub type Machines = BTreeMap<(ClassId, FlavourId, Kind), u32>;

/// Capacity that is asked for in a region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// For sessions of this class …
    pub class: ClassId,
    /// … so many, as capacity …
    pub sessions: f64,
    /// … of which at most so many are there at once, taking bandwidth on the access link.
    pub present: f64,
    /// How dear it is to leave one out, against those of the same price: claims of a larger weight go first.
    pub weight: f64,
}

/// What one region is asked, and what it has.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What each class can be served by.
    pub offers: &'a [Vec<Offer>],
    /// Prices.
    pub market: &'a Market,
    /// What a machine of each flavour takes.
    pub sizes: &'a [Room],
    /// What each host has.
    pub rooms: &'a [Room],
    /// Bandwidth of a session of each class \[bit/s\].
    pub bandwidths: &'a [f64],
    /// Bandwidth that the access link has for sessions \[bit/s\].
    pub access: f64,
    /// The most machines of each class.
    pub ceilings: &'a [u32],
    /// What is claimed.
    pub claims: &'a [Claim],
    /// What stood before; adding to it costs.
    pub standing: Option<&'a Machines>,
    /// Time for which the answer is likely to stand \[h\].
    pub hours: f64,
}

/// How a mix was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// There was nothing to choose.
    NoChoice,
    /// Branch and bound to its end.
    Exact,
    /// Branch and bound to its limit of nodes.
    BranchAndBound,
    /// One by one, the cheapest per session first.
    Greedy,
}

impl Method {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Method::NoChoice => "no-choice",
            Method::Exact => "exact",
            Method::BranchAndBound => "branch-and-bound",
            Method::Greedy => "greedy",
        }
    }
}

/// What a region has for its claims.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// How it was found.
    pub method: Method,
    /// The machines.
    pub machines: Machines,
    /// Sessions of each claim that are not served.
    pub unserved: Vec<f64>,
    /// Cost beyond the lower bound, as a share of it; `None` where no bound is known.
    pub gap: Option<f64>,
    /// For each host, how many of each flavour, where hosts were part of the question.
    pub hosts: Option<Vec<Vec<u32>>>,
}

/// The mix of least cost, with the hosts taken together as one.
pub fn solve(ask: &Ask<'_>) -> Mix {
    let carried = carried(ask);
    let inner = Ask { claims: &carried, ..*ask };
    let found = no_choice(&inner).or_else(|| program::solve(&inner, false));
    let mix = match found {
        Some(mix) if mix.method != Method::BranchAndBound => mix,
        Some(mix) => {
            // Cut short, or content with being near, branch and bound may have found less than there is in plain sight.
            let (cost, bound) = (program::objective(&inner, &mix), mix.gap.map(|gap| 1.0 + gap));
            let other = greedy::solve(&inner);
            let other_cost = program::objective(&inner, &other);
            if other_cost < cost - ALIKE * cost.abs() {
                let gap = bound.map(|above| (other_cost / (cost / above) - 1.0).max(0.0));
                Mix { gap: [gap, other.gap].into_iter().flatten().min_by(f64::total_cmp), ..other }
            } else {
                mix
            }
        }
        None => greedy::solve(&inner),
    };
    with_uncarried(ask, &carried, mix)
}

/// Cost beyond the lower bound of the program without whole numbers, as a share of it; `None` where that cannot be solved.
pub fn gap(ask: &Ask<'_>, mix: &Mix) -> Option<f64> {
    let bound = program::relaxed(ask)?;
    Some(((program::objective(ask, mix) - bound) / bound.abs().max(1e-9)).max(0.0))
}

/// Costs that differ by no more than this share of them are alike: a sum of other order.
const ALIKE: f64 = 1e-9;

/// The mix of least cost that fits on the hosts one by one; `None` when the instance is large, or nothing was found.
pub fn solve_on_hosts(ask: &Ask<'_>) -> Option<Mix> {
    let carried = carried(ask);
    let mix = program::solve(&Ask { claims: &carried, ..*ask }, true)?;
    Some(with_uncarried(ask, &carried, mix))
}

/// The claims as far as the access link carries them, those of larger weight first: no machine helps beyond.
fn carried(ask: &Ask<'_>) -> Vec<Claim> {
    let mut claims = ask.claims.to_vec();
    let mut access = ask.access;
    for at in by_weight(ask.claims) {
        let claim = &mut claims[at];
        let bandwidth = ask.bandwidths[claim.class.index()];
        if claim.present * bandwidth > access {
            claim.present = access / bandwidth;
            claim.sessions = claim.present;
        }
        access = (access - claim.present * bandwidth).max(0.0);
    }
    claims
}

fn with_uncarried(ask: &Ask<'_>, carried: &[Claim], mut mix: Mix) -> Mix {
    for ((left, claim), carried) in mix.unserved.iter_mut().zip(ask.claims).zip(carried) {
        *left += claim.sessions - carried.sessions;
    }
    mix
}

/// Places of claims, those of larger weight first.
fn by_weight(claims: &[Claim]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by(|a, b| claims[*b].weight.total_cmp(&claims[*a].weight).then(a.cmp(b)));
    order
}

/// The machines of a class that has one flavour and one way to pay, when there is room for all.
fn no_choice(ask: &Ask<'_>) -> Option<Mix> {
    let mut machines = Machines::new();
    for (class, offers) in ask.offers.iter().enumerate() {
        let class = ClassId::at(class);
        let sessions: f64 = claimed(ask, class);
        if sessions <= 0.0 {
            continue;
        }
        let [offer] = offers[..] else { return None };
        let tariff = ask.market.tariff(offer.flavour);
        if tariff.reserved.is_some() || tariff.spot.is_some() {
            return None;
        }
        let count = super::newsvendor::vms_from(sessions / offer.sessions_per_vm);
        machines.insert((class, offer.flavour, Kind::OnDemand), count);
    }
    let mix = measured(ask, Method::NoChoice, machines);
    (within(ask, &mix.machines) && mix.unserved.iter().all(|left| *left <= 0.0))
        .then_some(Mix { gap: Some(0.0), ..mix })
}

/// Capacity that all claims of a class ask for together \[sessions\].
fn claimed(ask: &Ask<'_>, class: ClassId) -> f64 {
    ask.claims.iter().filter(|claim| claim.class == class).map(|claim| claim.sessions).sum()
}

/// Sessions that the machines of a class serve.
pub fn capacity(offers: &[Vec<Offer>], machines: &Machines, class: ClassId) -> f64 {
    let per_vm = |flavour: FlavourId| {
        let offer = offers[class.index()].iter().find(|offer| offer.flavour == flavour);
        offer.map_or(0.0, |offer| offer.sessions_per_vm)
    };
    machines.range(of_class(class)).map(|((_, flavour, _), count)| per_vm(*flavour) * f64::from(*count)).sum()
}

/// All keys of a class.
pub fn of_class(class: ClassId) -> std::ops::RangeInclusive<(ClassId, FlavourId, Kind)> {
    (class, FlavourId(0), Kind::Reserved)..=(class, FlavourId(u8::MAX), Kind::Spot)
}

/// What machines cost beyond what is committed \[currency unit / h\].
pub fn price_per_hour(market: &Market, machines: &Machines) -> f64 {
    machines.iter().map(|((_, flavour, kind), count)| f64::from(*count) * unit_price(market, *flavour, *kind)).sum()
}

/// What one more machine costs \[currency unit / h\]: nothing where it is paid for anyway.
pub fn unit_price(market: &Market, flavour: FlavourId, kind: Kind) -> f64 {
    let tariff = market.tariff(flavour);
    match kind {
        Kind::Reserved => 0.0,
        Kind::OnDemand => tariff.on_demand_per_hour,
        Kind::Spot => tariff.spot.map_or(tariff.on_demand_per_hour, |spot| spot.price_per_hour),
    }
}

/// Machines of each flavour.
pub fn by_flavour(flavours: usize, machines: &Machines) -> Vec<u32> {
    let mut counts = vec![0; flavours];
    machines.iter().for_each(|((_, flavour, _), count)| counts[flavour.index()] += count);
    counts
}

/// Whether machines fit into the room of all hosts together and below every ceiling, reserved and spot ones are as many as
/// may be.
fn within(ask: &Ask<'_>, machines: &Machines) -> bool {
    let counts = by_flavour(ask.sizes.len(), machines);
    let parts: [fn(&Room) -> u64; 3] = [|room| room.cpu.0, |room| room.memory.0, |room| room.bandwidth.0];
    let fits = parts.iter().all(|part| {
        let need: u128 =
            ask.sizes.iter().zip(&counts).map(|(size, count)| u128::from(part(size)) * u128::from(*count)).sum();
        need <= ask.rooms.iter().map(|room| u128::from(part(room))).sum()
    });
    let below = ask.ceilings.iter().enumerate().all(|(class, most)| {
        machines.range(of_class(ClassId::at(class))).map(|(_, count)| u64::from(*count)).sum::<u64>()
            <= u64::from(*most)
    });
    let reserved = |flavour: usize| {
        let key = |(key, _): &(&(ClassId, FlavourId, Kind), &u32)| key.1.index() == flavour && key.2 == Kind::Reserved;
        let taken: u32 = machines.iter().filter(key).map(|(_, count)| *count).sum();
        taken <= ask.market.tariffs[flavour].reserved.map_or(0, |reserved| reserved.count)
    };
    fits && below && (0..ask.sizes.len()).all(reserved) && spot_within(ask, machines)
}

/// Whether spot machines are within their share of each class's capacity.
fn spot_within(ask: &Ask<'_>, machines: &Machines) -> bool {
    machines.iter().filter(|((_, _, kind), _)| *kind == Kind::Spot).all(|((class, flavour, kind), count)| {
        let alone = Machines::from([((*class, *flavour, *kind), *count)]);
        let share = ask.market.tariff(*flavour).spot.map_or(0.0, |spot| spot.share_most);
        let whole = capacity(ask.offers, machines, *class);
        capacity(ask.offers, &alone, *class) <= share * whole * (1.0 + 1e-9) + 1e-9
    })
}

/// What machines leave unserved: their capacity goes to the claims of a class by weight.
fn measured(ask: &Ask<'_>, method: Method, machines: Machines) -> Mix {
    let unserved = left_by(ask.offers, ask.claims, &machines);
    Mix { method, machines, unserved, gap: None, hosts: None }
}

/// Sessions of each claim that machines do not serve.
pub fn left_by(offers: &[Vec<Offer>], claims: &[Claim], machines: &Machines) -> Vec<f64> {
    let mut left: Vec<f64> = (0..offers.len()).map(|class| capacity(offers, machines, ClassId::at(class))).collect();
    let mut unserved = vec![0.0; claims.len()];
    for at in by_weight(claims) {
        let claim = &claims[at];
        let left = &mut left[claim.class.index()];
        let served = claim.sessions.min(*left);
        *left -= served;
        let missing = claim.sessions - served;
        // The hair by which numbers of machines are rounded down is no shortage.
        unserved[at] = if missing > 1e-6 * claim.sessions.max(1.0) { missing } else { 0.0 };
    }
    unserved
}

#[cfg(test)]
mod tests;
