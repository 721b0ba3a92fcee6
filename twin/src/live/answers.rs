//! Whom clients are sent to, in a name server's terms.

use std::collections::BTreeMap;

use forebay_adapters::steering::{Answers, Clients, Health, MEMBERS_MOST, Member as Answered, NameAnswers, Pool};
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
///
/// Also what is to be said of it: where there are more machines than a name server can answer with.
pub(super) fn answers(
    production: &Production,
    generation: Generation,
    members: &BTreeMap<VmId, Member>,
    steering: &Steering,
    per_region: bool,
) -> (Answers, Vec<String>) {
    let (mut names, mut remarks) = (BTreeMap::new(), Vec::new());
    let Some(answering) = &production.answering else { return (Answers { generation, names }, remarks) };
    for (index, name) in answering.names.iter().enumerate() {
        let Some(name) = name else { continue };
        let class = ClassId::at(index);
        let mut pool = |clients: &Clients, members: &[&Member], weight_of: &dyn Fn(RegionId) -> u64| {
            let (kept, left_out) = as_many_as_fit(members, weight_of);
            if left_out > 0 {
                let what = format!("an answer has room for {MEMBERS_MOST} machines, and not for {left_out} more");
                remarks.push(format!("{name}, {clients}: {what}"));
            }
            pool(production, &kept, weight_of)
        };
        let of_class: Vec<&Member> = members.values().filter(|member| member.class == class).collect();
        if !of_class.iter().any(|member| member.takes || !member.healthy) {
            continue;
        }
        let ttl_seconds = (production.ttl[index].as_nanos() / 1_000_000_000) as u32;
        let everywhere = |_: RegionId| 1;
        let mut pools = BTreeMap::from([(Clients::Others, pool(&Clients::Others, &of_class, &everywhere))]);
        if per_region {
            for (at, region) in production.topology.regions.iter().enumerate() {
                let home = RegionId::at(at);
                let cell = production.topology.cell(home, class);
                let serves = |server: RegionId| (steering.share(cell, home, server) * WHOLE as f64) as u64;
                let takes = |member: &&&Member| member.takes && member.healthy && serves(member.region) > 0;
                // Where nobody serves them yet, they are answered as the others.
                if of_class.iter().any(|member| takes(&member)) {
                    let clients = Clients::Region(region.name.clone());
                    let answered = pool(&clients, &of_class, &serves);
                    pools.insert(clients, answered);
                }
            }
        }
        names.insert(name.clone(), NameAnswers { ttl_seconds, pools });
    }
    (Answers { generation, names }, remarks)
}

/// Of more machines than an answer has room for, those of regions with a weight, as evenly over them as can be; of a
/// region those that take clients, and then the oldest, so that they stay. Also how many are left out that would have taken
/// clients.
fn as_many_as_fit<'a>(members: &[&'a Member], weight_of: &dyn Fn(RegionId) -> u64) -> (Vec<&'a Member>, usize) {
    if members.len() <= MEMBERS_MOST {
        return (members.to_vec(), 0);
    }
    let mut ranked = Vec::with_capacity(members.len());
    let mut places: BTreeMap<(RegionId, bool), u32> = BTreeMap::new();
    for member in members {
        let is_wanted = member.takes && member.healthy && weight_of(member.region) > 0;
        let place = places.entry((member.region, is_wanted)).or_default();
        ranked.push((!is_wanted, weight_of(member.region) == 0, *place, *member));
        *place += 1;
    }
    ranked.sort_by_key(|(is_unwanted, is_nowhere, place, _)| (*is_unwanted, *is_nowhere, *place));
    let left_out = ranked[MEMBERS_MOST..].iter().filter(|(is_unwanted, ..)| !is_unwanted).count();
    (ranked[..MEMBERS_MOST].iter().map(|(.., member)| *member).collect(), left_out)
}

/// Machines with the weight of their region, divided among those of it that take clients. Where no region has a weight of
/// its own, every machine has the same.
fn pool(production: &Production, members: &[&Member], weight_of: &dyn Fn(RegionId) -> u64) -> Pool {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// So many members of each region; every third is on its way out.
    fn members(by_region: &[usize]) -> Vec<Member> {
        let of_region = |(region, count): (usize, &usize)| {
            let member = move |index: usize| Member {
                region: RegionId::at(region),
                class: ClassId(0),
                address: index as u32,
                takes: !index.is_multiple_of(3),
                healthy: true,
            };
            (0..*count).map(member).collect::<Vec<_>>()
        };
        by_region.iter().enumerate().flat_map(of_region).collect()
    }

    fn fit(members: &[Member], weight_of: impl Fn(RegionId) -> u64) -> (Vec<Member>, usize) {
        let (kept, left_out) = as_many_as_fit(&members.iter().collect::<Vec<_>>(), &weight_of);
        (kept.into_iter().cloned().collect(), left_out)
    }

    #[test]
    fn an_answer_has_room_for_so_many_and_those_that_stand_stay() {
        let few = members(&[600, 400]);
        assert_eq!(fit(&few, |_| 1), (few.clone(), 0));

        // 2,000, 300 and 40 that take clients: all of the smaller, and the oldest of the largest.
        let many = members(&[3000, 450, 60]);
        let (kept, left_out) = fit(&many, |_| 1);
        let of = |region: usize| kept.iter().filter(move |member| member.region == RegionId::at(region));
        assert_eq!((of(0).count(), of(1).count(), of(2).count(), left_out), (660, 300, 40, 1340));
        assert!(kept.iter().all(|member| member.takes));
        assert_eq!(of(0).map(|member| member.address).max(), Some(989));
        let more = members(&[3300, 450, 60]);
        assert_eq!(fit(&more, |_| 1).0, kept, "who comes later moves nobody");

        // Where one region has all the weight, its own come first, and nobody is missed elsewhere.
        let (kept, left_out) = fit(&many, |region| u64::from(region == RegionId(1)));
        assert_eq!(
            (kept[..300].iter().all(|member| member.region == RegionId(1)), kept.len(), left_out),
            (true, 1000, 0)
        );
    }
}
