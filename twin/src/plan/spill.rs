//! What a full region does not serve goes to the next-best one: the nearest by delay that has room, within what the
//! objective of the class allows.

use std::collections::BTreeSet;

use forebay_world::{ClassId, Duration, RegionId, Topology, Work};

use super::mix::Claim;
use super::region::{Answer, Region};
use super::routes::{Route, routes};

/// Sessions of one region × class that are served elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spill {
    /// Whose clients.
    pub from: RegionId,
    /// Who serves them.
    pub to: RegionId,
    /// Their class.
    pub class: ClassId,
    /// Capacity for so many sessions.
    pub sessions: f64,
    /// Way and back \[one-way delay twice\].
    pub round_trip: Duration,
}

/// Guests are served after everybody at home: their claims weigh this much of what they would at home.
const GUEST: f64 = 0.01;
/// Less than this many sessions are not sent anywhere.
const LEAST: f64 = 0.01;

/// Finds room elsewhere for what `answers` leave unserved, and puts it there: those answers change. `cells` are the
/// answers of the interval before, `hours` how long each region's answer is likely to stand.
pub fn spill(
    topology: &Topology,
    regions: &[Region<'_>],
    answers: &mut [Answer],
    before: Option<&[Answer]>,
    hours: &[f64],
) -> Vec<Spill> {
    let mut short: Vec<(u8, usize, usize)> = Vec::new();
    for (region, answer) in answers.iter().enumerate() {
        for (at, left) in answer.mix.unserved.iter().enumerate().filter(|(_, left)| **left > LEAST) {
            debug_assert!(left.is_finite());
            short.push((topology.class(answer.claims[at].class).priority, region, at));
        }
    }
    short.sort_unstable();
    let mut spilled = Vec::new();
    let mut changed = BTreeSet::new();
    let mut carried = vec![0.0; topology.links.len()];
    let mut ways: Vec<Option<Vec<Route>>> = vec![None; regions.len()];
    for (_, home, at) in short {
        let claim = answers[home].claims[at];
        let ways = ways[home].get_or_insert_with(|| routes(topology, RegionId::at(home)));
        let bandwidth = topology.class(claim.class).work.bandwidth_per_session().as_f64();
        for route in ways.iter() {
            let left = answers[home].mix.unserved[at];
            if left <= LEAST {
                break;
            }
            let host = route.to.index();
            let full = answers[host].mix.unserved.iter().any(|left| *left > LEAST);
            if full || !allows(topology, claim.class, route.delay) {
                continue;
            }
            let free = |link: &forebay_world::LinkId| {
                let capacity = topology.links[link.index()].capacity.as_f64();
                if bandwidth > 0.0 { (capacity - carried[link.index()]).max(0.0) / bandwidth } else { f64::INFINITY }
            };
            let sent = route.links.iter().map(free).fold(left, f64::min);
            if sent <= LEAST {
                continue;
            }
            let guest = Claim { class: claim.class, sessions: sent, present: sent, weight: claim.weight * GUEST };
            let taken = regions[host].take_in(&mut answers[host], guest);
            if taken <= 0.0 {
                continue;
            }
            changed.insert(host);
            answers[home].mix.unserved[at] = (left - taken).max(0.0);
            route.links.iter().for_each(|link| carried[link.index()] += taken * bandwidth);
            spilled.push(Spill {
                from: RegionId::at(home),
                to: route.to,
                class: claim.class,
                sessions: taken,
                round_trip: route.delay.saturating_add(route.delay),
            });
        }
    }
    for host in changed {
        let gap = regions[host].gap(&answers[host], before.map(|before| &before[host]), hours[host]);
        answers[host].mix.gap = gap;
    }
    spilled
}

/// Whether the objective of a class leaves time for a detour: a start-up or a response must be there and back. Downloads
/// are judged by their throughput.
fn allows(topology: &Topology, class: ClassId, delay: Duration) -> bool {
    let class = topology.class(class);
    let round_trip = delay.saturating_add(delay);
    match class.work {
        Work::Streaming { .. } => round_trip <= class.slo.latency,
        Work::Interactive { service, .. } => round_trip.saturating_add(service) <= class.slo.latency,
        Work::Download { .. } => true,
    }
}
