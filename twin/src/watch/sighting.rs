//! What is known of machines at one moment, by all that was looked at not long before.

use std::collections::{BTreeMap, BTreeSet};

use forebay_adapters::probe;
use forebay_world::{Duration, HostId, Timestamp, VmId};
use rayon::prelude::*;

use super::board::{Asked, Look};
use super::look::{AnswersSeen, HypervisorSeen, LinkSeen, life};
use super::names::Names;
use crate::deployment::rollout::{AnswersSight, Course, Health, HostSight, LinkSight, MachineSight, Sight};
use crate::production::Production;

/// What there is to know it by.
pub(super) struct Sighting<'a> {
    pub(super) production: &'a Production,
    pub(super) courses: &'a BTreeMap<VmId, Course>,
    /// What was seen before says nothing.
    pub(super) since: Timestamp,
    pub(super) hypervisors: &'a [Look<HypervisorSeen>],
    pub(super) links: &'a [Look<LinkSeen>],
    pub(super) answers: &'a Look<AnswersSeen>,
    pub(super) asked: &'a BTreeMap<VmId, Asked>,
}

/// Hosts of one hypervisor, and its machines that are at an address that is not theirs.
#[derive(Default)]
struct Hosted {
    hosts: Vec<(HostId, HostSight)>,
    elsewhere: Vec<VmId>,
}

impl Sighting<'_> {
    /// What is known of the machines at `at`. Tens of thousands of them are gone through on all cores.
    pub(super) fn sight(&self, at: Timestamp) -> Sight {
        let others = || rayon::join(|| self.links(), || rayon::join(|| self.answers(), || self.health()));
        let (hosted, (links, (answers, mut health))) = rayon::join(|| self.hosted(), others);
        let mut hosts = vec![None; self.production.topology.hosts.len()];
        for Hosted { hosts: seen, elsewhere } in hosted {
            for (host, sight) in seen {
                hosts[host.index()] = Some(sight);
            }
            // Whoever answers where a machine was to be, and is not, is another.
            health.extend(elsewhere.into_iter().map(|vm| (vm, Health::Unhealthy)));
        }
        Sight { at, hosts, links, answers, health }
    }

    /// What each hypervisor lists.
    fn hosted(&self) -> Vec<Hosted> {
        let mut planned = vec![Vec::new(); self.hypervisors.len()];
        for (vm, course) in self.courses {
            if let Some(index) = self.production.hypervisor_of[course.planned.host.index()] {
                planned[index].push((*vm, course));
            }
        }
        let both = self.hypervisors.par_iter().zip(planned).enumerate();
        both.map(|(index, (look, planned))| self.hosted_by(index, look, &planned)).collect()
    }

    /// What one hypervisor lists, of which these machines are planned there, by ascending id.
    fn hosted_by(&self, index: usize, look: &Look<HypervisorSeen>, planned: &[(VmId, &Course)]) -> Hosted {
        let production = self.production;
        let Some((at, seen)) = look.fresh(self.since) else { return Hosted::default() };
        let before = look.before.as_ref().map(|(at, seen)| (*at, &**seen));
        let own = &production.hypervisors[index].hosts;
        let mut machines: BTreeMap<HostId, Vec<(VmId, MachineSight)>> =
            own.iter().map(|host| (*host, Vec::new())).collect();
        let mut elsewhere = Vec::new();
        let mut planned = planned.iter().peekable();
        for (vm, machine) in &seen.inventory.machines {
            // Which of several hosts it counts for is known of those that we know of.
            while planned.next_if(|(earlier, _)| earlier < vm).is_some() {}
            let here = planned.next_if(|(planned, _)| planned == vm).map(|(_, course)| *course);
            let course = here.or_else(|| self.courses.get(vm));
            let host = course.map(|course| course.planned.host).filter(|host| machines.contains_key(host));
            let Some(there) = host.or(own.first().copied()).and_then(|host| machines.get_mut(&host)) else {
                continue;
            };
            let address = |course: &Course| Names(production).address(course.planned.region, course.address?);
            let is_elsewhere = !machine.addresses.is_empty()
                && course.and_then(address).is_some_and(|address| !machine.addresses.contains(&address));
            if is_elsewhere {
                elsewhere.push(*vm);
            }
            let sight = MachineSight {
                life: life(machine.state),
                created: machine.mark.created,
                sessions: self.asked.get(vm).filter(|asked| asked.at >= self.since).and_then(|asked| asked.sessions),
                utilization: course.and_then(|course| utilization(production, course, *vm, at, seen, before)),
            };
            there.push((*vm, sight));
        }
        let sight =
            |(host, machines): (HostId, Vec<_>)| (host, HostSight { at, machines: machines.into_iter().collect() });
        Hosted { hosts: machines.into_iter().map(sight).collect(), elsewhere }
    }

    /// What stands on each link.
    fn links(&self) -> Vec<Option<LinkSight>> {
        let mut of_region = vec![Vec::new(); self.links.len()];
        for (vm, course) in self.courses {
            of_region[course.planned.region.index()].push((*vm, course));
        }
        let both = self.links.par_iter().zip(of_region).enumerate();
        both.map(|(region, (look, here))| self.link(region, look, &here)).collect()
    }

    fn link(&self, region: usize, look: &Look<LinkSeen>, here: &[(VmId, &Course)]) -> Option<LinkSight> {
        let names = Names(self.production);
        let (at, seen) = look.fresh(self.since)?;
        let executor = self.production.networks[region].as_ref().and_then(|network| network.executor.as_ref());
        let ports: BTreeSet<VmId> = if executor.is_some_and(|executor| executor.guards_ports()) {
            let machine_of = names.machines();
            let up = seen.standing.ports.iter().filter(|(_, port)| port.up);
            let mut up: Vec<VmId> = up.filter_map(|(name, _)| machine_of(name)).collect();
            up.sort_unstable();
            let known = here.iter().map(|(vm, _)| *vm);
            known.filter(|vm| up.binary_search(vm).is_ok()).collect()
        } else {
            let is_of_a_slice = |course: &Course| {
                let address = course.address.and_then(|index| names.address(course.planned.region, index));
                let stands = seen.standing.slices.get(&course.planned.slice);
                let both = stands.zip(address);
                both.is_some_and(|(slice, address)| slice.sources.iter().any(|own| own.contains(address)))
            };
            here.iter().filter(|(_, course)| is_of_a_slice(course)).map(|(vm, _)| *vm).collect()
        };
        Some(LinkSight { at, slices: seen.slices.clone(), ports })
    }

    /// Which machines clients are sent to.
    fn answers(&self) -> Option<AnswersSight> {
        let (at, seen) = self.answers.fresh(self.since)?;
        let names = Names(self.production);
        let is_answered = |course: &Course| {
            let address = course.address.and_then(|index| names.public(course.planned.region, index));
            !course.is_gone() && address.is_some_and(|address| seen.addresses.contains(&address))
        };
        let known = self.courses.iter().filter(|(_, course)| is_answered(course));
        let answered: BTreeSet<VmId> = known.map(|(vm, _)| *vm).collect();
        // No two machines have one address.
        let strangers = answered.len() < seen.addresses.len();
        Some(AnswersSight { at, answered, strangers })
    }

    /// How machines do.
    fn health(&self) -> BTreeMap<VmId, Health> {
        let recent = self.asked.iter().filter(|(_, asked)| asked.at >= self.since);
        let told = recent.filter_map(|(vm, asked)| match asked.health {
            probe::Health::Healthy => Some((*vm, Health::Healthy)),
            probe::Health::Unhealthy => Some((*vm, Health::Unhealthy)),
            probe::Health::Unknown => None,
        });
        told.collect()
    }
}

/// Use of a machine's scarcest resource between two looks.
fn utilization(
    production: &Production,
    course: &Course,
    vm: VmId,
    at: Timestamp,
    seen: &HypervisorSeen,
    before: Option<(Timestamp, &HypervisorSeen)>,
) -> Option<f64> {
    let (before_at, before) = before?;
    let seconds = at.since(before_at).as_secs_f64();
    let (now, then) = (seen.statistics.get(&vm)?, before.statistics.get(&vm)?);
    if seconds <= 0.0 {
        return None;
    }
    let flavour = &production.topology.flavours[course.planned.flavour.index()];
    let busy = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64();
    let processors = now
        .processor_time
        .zip(then.processor_time)
        .map(|(now, then)| busy(now, then) / seconds / (flavour.cpu.as_f64() / 1000.0));
    let sent = |statistics: &forebay_adapters::machines::MachineStatistics| -> Option<u64> {
        let interfaces = &statistics.interfaces;
        (!interfaces.is_empty()).then(|| interfaces.values().map(|interface| interface.sent_bytes).sum())
    };
    let network = sent(now)
        .zip(sent(then))
        .map(|(now, then)| now.saturating_sub(then) as f64 * 8.0 / seconds / flavour.bandwidth.as_f64());
    match (processors, network) {
        (Some(processors), Some(network)) => Some(processors.max(network)),
        (one, other) => one.or(other),
    }
}
