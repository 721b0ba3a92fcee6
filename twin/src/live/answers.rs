//! Whom clients are sent to, in a name server's terms.

use std::collections::BTreeMap;

use forebay_adapters::steering::{Answers, Clients, Health, Member as Answered, NameAnswers, Pool};
use forebay_world::{ClassId, Generation, RegionId, Steering, VmId};

use crate::deployment::rollout::Member;
use crate::production::Production;
use crate::watch::Names;

/// The sum of weights of one pool, before they are divided among machines.
const WHOLE: u64 = 1_000_000;

/// Answers that send clients of each region where the plan steers them, evenly over the machines there.
///
/// A class without a machine that shall take clients has no name at all: what is answered then is not ours to say. One whose
/// machines are all ill keeps its name, and rails see to it that the last good stay.
pub(super) fn answers(
    production: &Production,
    generation: Generation,
    members: &BTreeMap<VmId, Member>,
    steering: &Steering,
    per_region: bool,
) -> Answers {
    let mut names = BTreeMap::new();
    let Some(answering) = &production.answering else { return Answers { generation, names } };
    for (index, name) in answering.names.iter().enumerate() {
        let Some(name) = name else { continue };
        let class = ClassId::at(index);
        let of_class: Vec<&Member> = members.values().filter(|member| member.class == class).collect();
        if !of_class.iter().any(|member| member.takes || !member.healthy) {
            continue;
        }
        let ttl_seconds = (production.ttl[index].as_nanos() / 1_000_000_000) as u32;
        let everywhere = |_: RegionId| 1;
        let mut pools = BTreeMap::from([(Clients::Others, pool(production, &of_class, everywhere))]);
        if per_region {
            for (at, region) in production.topology.regions.iter().enumerate() {
                let home = RegionId::at(at);
                let cell = production.topology.cell(home, class);
                let serves = |server: RegionId| (steering.share(cell, home, server) * WHOLE as f64) as u64;
                let takes = |member: &&&Member| member.takes && member.healthy && serves(member.region) > 0;
                // Where nobody serves them yet, they are answered as the others.
                if of_class.iter().any(|member| takes(&member)) {
                    pools.insert(Clients::Region(region.name.clone()), pool(production, &of_class, serves));
                }
            }
        }
        names.insert(name.clone(), NameAnswers { ttl_seconds, pools });
    }
    Answers { generation, names }
}

/// Machines with the weight of their region, divided among those of it that take clients. Where no region has a weight of
/// its own, every machine has the same.
fn pool(production: &Production, members: &[&Member], weight_of: impl Fn(RegionId) -> u64) -> Pool {
    let names = Names(production);
    let mut takers: BTreeMap<RegionId, u64> = BTreeMap::new();
    for member in members.iter().filter(|member| member.takes && member.healthy) {
        *takers.entry(member.region).or_default() += 1;
    }
    let all = takers.values().sum::<u64>().max(1);
    let uniform = weight_of(RegionId(0)) == 1;
    let weight = |member: &Member| -> u32 {
        if !member.takes {
            return 0;
        }
        let share = if uniform {
            WHOLE / all
        } else {
            weight_of(member.region) / takers.get(&member.region).copied().unwrap_or(1).max(1)
        };
        u32::try_from(share).unwrap_or(u32::MAX)
    };
    let answered = |member: &&Member| {
        let address = names.public(member.region, member.address)?;
        let health = if member.healthy { Health::Healthy } else { Health::Unhealthy };
        Some((address, Answered { site: member.region, weight: weight(member), health }))
    };
    members.iter().filter_map(answered).collect()
}
