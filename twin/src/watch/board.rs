//! What was seen last of everything, when, and why not since.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_adapters::probe;
use forebay_world::{ClassId, Timestamp, VmId};

use super::look::{AnswersSeen, HypervisorSeen, LinkSeen};
use super::sighting::Sighting;
use crate::deployment::rollout::{Course, Sight};
use crate::production::Production;

/// One thing that is looked at again and again.
#[derive(Clone, Debug)]
pub struct Look<T> {
    /// What was seen last, when the look began, and what was seen before that.
    pub seen: Option<(Timestamp, Arc<T>)>,
    /// The look before.
    pub before: Option<(Timestamp, Arc<T>)>,
    /// Why the last look showed nothing.
    pub error: Option<(Timestamp, String)>,
}

impl<T> Default for Look<T> {
    fn default() -> Self {
        Look { seen: None, before: None, error: None }
    }
}

impl<T> Look<T> {
    fn take(&mut self, at: Timestamp, result: Result<T, String>) {
        match result {
            Ok(value) => {
                self.before = self.seen.replace((at, Arc::new(value)));
                self.error = None;
            }
            Err(why) => self.error = Some((at, why)),
        }
    }

    /// What was seen at `since` or later.
    pub fn fresh(&self, since: Timestamp) -> Option<(Timestamp, &T)> {
        self.seen.as_ref().filter(|(at, _)| *at >= since).map(|(at, value)| (*at, &**value))
    }
}

/// Machines that shall be asked how they do.
pub type Targets = BTreeMap<VmId, (ClassId, IpAddr)>;

/// How a machine did when it was last asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Timestamp,
    pub(super) health: probe::Health,
    pub(super) sessions: Option<u32>,
}

/// Shared by all that look and by whoever decides on it.
#[derive(Debug)]
pub struct Board(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    hypervisors: Vec<Look<HypervisorSeen>>,
    links: Vec<Look<LinkSeen>>,
    answers: Look<AnswersSeen>,
    targets: Arc<Targets>,
    asked: BTreeMap<VmId, Asked>,
}

impl Board {
    /// A board on which nothing was seen yet.
    pub fn new(production: &Production) -> Board {
        Board(Mutex::new(Inner {
            hypervisors: production.hypervisors.iter().map(|_| Look::default()).collect(),
            links: production.networks.iter().map(|_| Look::default()).collect(),
            answers: Look::default(),
            targets: Arc::default(),
            asked: BTreeMap::new(),
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came of a look at a hypervisor that began at `at`.
    pub fn hypervisor(&self, index: usize, at: Timestamp, result: Result<HypervisorSeen, String>) {
        self.inner().hypervisors[index].take(at, result);
    }

    /// What came of a look at a region's link that began at `at`.
    pub fn link(&self, region: usize, at: Timestamp, result: Result<LinkSeen, String>) {
        self.inner().links[region].take(at, result);
    }

    /// What came of a look at the name server that began at `at`.
    pub fn answers(&self, at: Timestamp, result: Result<AnswersSeen, String>) {
        self.inner().answers.take(at, result);
    }

    /// Who shall be asked how he does from now on.
    pub fn set_targets(&self, targets: Targets) {
        let mut inner = self.inner();
        if *inner.targets != targets {
            inner.asked.retain(|vm, _| targets.contains_key(vm));
            inner.targets = Arc::new(targets);
        }
    }

    /// Who shall be asked how he does.
    pub fn targets(&self) -> Arc<Targets> {
        Arc::clone(&self.inner().targets)
    }

    /// How machines were found to do at `at`, by whoever asked them, and the sessions they have where they said.
    pub fn health(&self, at: Timestamp, said: BTreeMap<VmId, (probe::Health, Option<u32>)>) {
        let asked = |(vm, (health, sessions))| (vm, Asked { at, health, sessions });
        self.asked(said.into_iter().map(asked).collect());
    }

    /// How a machine did when it was last asked, no earlier than `since`, and the sessions that it has where it says.
    pub fn how(&self, vm: VmId, since: Timestamp) -> Option<(probe::Health, Option<u32>)> {
        self.inner().asked.get(&vm).filter(|asked| asked.at >= since).map(|asked| (asked.health, asked.sessions))
    }

    pub(super) fn asked(&self, answers: BTreeMap<VmId, Asked>) {
        let mut inner = self.inner();
        let targets = Arc::clone(&inner.targets);
        inner.asked.extend(answers.into_iter().filter(|(vm, _)| targets.contains_key(vm)));
    }

    /// Every look at a hypervisor, in order.
    pub fn hypervisors(&self) -> Vec<Look<HypervisorSeen>> {
        self.inner().hypervisors.clone()
    }

    /// Every look at a link, by region.
    pub fn links(&self) -> Vec<Look<LinkSeen>> {
        self.inner().links.clone()
    }

    /// The look at the name server.
    pub fn answered(&self) -> Look<AnswersSeen> {
        self.inner().answers.clone()
    }

    /// What does not answer, or was not looked at for long, as operators know it, and why.
    pub fn troubles(&self, production: &Production, at: Timestamp) -> Vec<(String, String)> {
        fn why<T>(look: &Look<T>, since: Timestamp) -> Option<String> {
            match (&look.error, &look.seen) {
                (Some((_, why)), _) => Some(why.clone()),
                (None, Some((seen_at, _))) if *seen_at < since => Some(format!("nobody has looked since {seen_at}")),
                _ => None,
            }
        }
        let since = at.saturating_sub(production.freshness);
        let inner = self.inner();
        let mut found = Vec::new();
        for (hosted, look) in production.hypervisors.iter().zip(&inner.hypervisors) {
            found.extend(why(look, since).map(|why| (hosted.hypervisor.name(), why)));
        }
        for (region, look) in production.topology.regions.iter().zip(&inner.links) {
            found.extend(why(look, since).map(|why| (format!("link of {}", region.name), why)));
        }
        if let Some(answering) = &production.answering {
            found.extend(why(&inner.answers, since).map(|why| (answering.name(), why)));
        }
        let stale = inner.targets.keys().filter(|vm| inner.asked.get(vm).is_some_and(|asked| asked.at < since)).count();
        if stale > 0 {
            found.push(("health".to_owned(), format!("{stale} machines have said nothing since {since}")));
        }
        found
    }

    /// All that is looked at, as operators know it, and when a look last showed something.
    pub fn seen_at(&self, production: &Production) -> Vec<(String, Option<Timestamp>)> {
        let inner = self.inner();
        let mut all = Vec::new();
        for (hosted, look) in production.hypervisors.iter().zip(&inner.hypervisors) {
            all.push((hosted.hypervisor.name(), look.seen.as_ref().map(|(at, _)| *at)));
        }
        let regions = production.topology.regions.iter().zip(&production.networks).zip(&inner.links);
        for ((region, network), look) in regions {
            if network.as_ref().is_some_and(crate::production::Network::is_seen) {
                all.push((format!("link of {}", region.name), look.seen.as_ref().map(|(at, _)| *at)));
            }
        }
        if let Some(answering) = &production.answering {
            all.push((answering.name(), inner.answers.seen.as_ref().map(|(at, _)| *at)));
        }
        if !inner.targets.is_empty() {
            all.push(("health".to_owned(), inner.asked.values().map(|asked| asked.at).min()));
        }
        all
    }

    /// The first number after all machines that bear our mark.
    pub fn next_vm(&self) -> VmId {
        let inner = self.inner();
        let listed = inner.hypervisors.iter().filter_map(|look| look.seen.as_ref());
        let last = listed.filter_map(|(_, seen)| seen.inventory.machines.keys().next_back()).max();
        last.map_or(VmId(0), |vm| VmId(vm.0.saturating_add(1)))
    }

    /// What is known at `at` of machines with these courses.
    pub fn sight(&self, production: &Production, courses: &BTreeMap<VmId, Course>, at: Timestamp) -> Sight {
        let since = at.saturating_sub(production.freshness);
        let inner = self.inner();
        let Inner { hypervisors, links, answers, asked, .. } = &*inner;
        Sighting { production, courses, since, hypervisors, links, answers, asked }.sight(at)
    }

    /// Share of the sources that were heard from since `since`: of hypervisors, links, the name server and sources of queries
    /// (of which so many were heard, and so many are there), each kind for itself, the least of them.
    pub fn coverage(&self, production: &Production, since: Timestamp, queries: (u32, u32)) -> f64 {
        let inner = self.inner();
        let mut least: f64 = 1.0;
        let mut count = |heard: usize, all: usize| {
            if all > 0 {
                least = least.min(heard as f64 / all as f64);
            }
        };
        count(inner.hypervisors.iter().filter(|look| look.fresh(since).is_some()).count(), inner.hypervisors.len());
        let made =
            |network: &Option<crate::production::Network>| network.as_ref().is_some_and(|n| n.executor.is_some());
        let links = || inner.links.iter().zip(&production.networks).filter(|(_, network)| made(network));
        count(links().filter(|(look, _)| look.fresh(since).is_some()).count(), links().count());
        if production.answering.is_some() {
            count(usize::from(inner.answers.fresh(since).is_some()), 1);
        }
        count(queries.0 as usize, queries.1 as usize);
        least
    }
}
