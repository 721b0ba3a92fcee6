//! What shall stand on whole links and be answered to all clients, where it is not so; and whose caches shall be filled.

use std::collections::{BTreeMap, BTreeSet};

use forebay_world::{Plan, PlannedSlice, RegionId, SliceId, Timestamp, VmId, VmIntent};

use super::course::Course;
use super::presence::Presence;
use super::{Kind, Lane, Life, Member, Port, Rollout, Sight, Task, Turn};

/// What was asked last, and how often it was found not to be so.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) task: Task,
    /// When it was first asked: what was seen before says nothing of it.
    pub(super) since: Timestamp,
    /// When it was last heard what became of it.
    pub(super) heard_at: Option<Timestamp>,
    pub(super) tries: u32,
    pub(super) not_before: Timestamp,
    pub(super) is_underway: bool,
}

impl Rollout {
    pub(super) fn order_warmth(&mut self, sight: &Sight, turn: &mut Turn) {
        let cold = |(_, course): &(&VmId, &Course)| {
            !self.is_frozen(course)
                && course.well_at.is_some()
                && !course.is_warm
                && course.ill_since.is_none()
                && course.failed.is_none()
                && course.leaving.is_none()
                && sight.at >= course.not_before
        };
        let tasks: Vec<Task> = self
            .courses
            .iter()
            .filter(cold)
            .filter_map(|(&vm, course)| {
                let (class, region) = (course.planned.class, course.planned.region);
                Some(Task::Warm { vm, class, region, address: course.address? })
            })
            .collect();
        for task in tasks {
            let lane = Lane::Warmth(task.vm().expect("warmth is of one machine"));
            if !self.in_flight.contains_key(&lane) {
                self.send(lane, task, (Kind::Warm, false), sight.at, turn);
            }
        }
    }

    /// What shall stand on each link, where it is not so.
    pub(super) fn order_links(&mut self, plan: &Plan, sight: &Sight, turn: &mut Turn) {
        let regions = self.topology.regions.len();
        let mut slices: Vec<BTreeMap<SliceId, PlannedSlice>> = vec![BTreeMap::new(); regions];
        for (&id, slice) in &plan.slices {
            if id.index() < self.topology.cells() {
                slices[self.topology.cell_at(id.index()).0.index()].insert(id, *slice);
            }
        }
        let mut ports: Vec<BTreeMap<VmId, Port>> = vec![BTreeMap::new(); regions];
        for (&id, course) in &self.courses {
            let (region, slice) = (course.planned.region, course.planned.slice);
            // A slice goes after the last machine that is in it.
            if !course.is_gone()
                && let Some(stands) = sight.links.get(region.index()).and_then(|link| link.as_ref()?.slices.get(&slice))
            {
                slices[region.index()].entry(slice).or_insert(*stands);
            }
            // Where nobody knows, what stands stays.
            let is_being_made =
                self.in_flight.get(&Lane::Host(course.planned.host)).is_some_and(|out| out.vm == Some(id));
            let is_there = match Presence::of(id, course, sight) {
                // One that does not run is attached to nothing, as far as nobody is just starting it.
                Presence::There(machine) if machine.life != Life::Off => true,
                Presence::There(_) if !is_being_made => false,
                Presence::Absent(_) if !is_being_made => false,
                Presence::There(_) | Presence::Absent(_) | Presence::Unknown => {
                    let link = sight.links.get(region.index()).and_then(Option::as_ref);
                    let asked = self.asked.get(&Lane::Link(region)).map(|asked| &asked.task);
                    link.is_some_and(|link| link.ports.contains(&id))
                        || matches!(asked, Some(Task::Slice { ports, .. }) if ports.contains_key(&id))
                }
            };
            if let Some(address) = course.address.filter(|_| is_there) {
                ports[region.index()].insert(id, Port { slice, address });
            }
        }
        for (index, (slices, ports)) in slices.into_iter().zip(ports).enumerate() {
            let seen = sight.links.get(index).and_then(Option::as_ref);
            let Some(link) = seen.filter(|_| self.ground.links[index]) else { continue };
            // Machines of ours that we know nothing of are not cut off by a memory that was lost.
            if self.courses.is_empty() && self.has_strange_machines(sight) {
                continue;
            }
            // A plan that was made before the link was seen may not know of a slice yet.
            if ports.values().any(|port| !slices.contains_key(&port.slice)) {
                continue;
            }
            let is_so = link.slices == slices && link.ports.iter().eq(ports.keys());
            let task = Task::Slice { generation: plan.generation, slices, ports };
            self.ask(Lane::Link(RegionId::at(index)), task, is_so.then_some(link.at), sight.at, turn);
        }
    }

    /// Who shall be answered, where it is not so.
    pub(super) fn order_answers(&mut self, plan: &Plan, sight: &Sight, turn: &mut Turn) {
        let Some(answers) = sight.answers.as_ref().filter(|_| self.ground.answers) else { return };
        // Clients are sent to somebody nobody knows, and machines of ours stand that we know nothing of: a memory was lost.
        if answers.strangers && self.has_strange_machines(sight) {
            return;
        }
        // What has failed stays the last good of a class that shall have machines, until another serves.
        let mut wanted = vec![false; self.topology.classes.len()];
        for vm in plan.vms.values().filter(|vm| vm.intent == VmIntent::Running) {
            wanted[vm.class.index()] = true;
        }
        let known = |course: &Course| {
            let is_out = course.is_ending() || course.is_gone();
            let is_of_use = course.failed.is_none() || wanted[course.planned.class.index()];
            course.well_at.is_some() && course.is_warm && !is_out && is_of_use && course.address.is_some()
        };
        let member = |(&id, course): (&VmId, &Course)| {
            let member = Member {
                region: course.planned.region,
                class: course.planned.class,
                address: course.address?,
                takes: course.leaving.is_none(),
                healthy: course.ill_since.is_none() && course.failed.is_none(),
            };
            Some((id, member))
        };
        let members: BTreeMap<VmId, Member> =
            self.courses.iter().filter(|(_, course)| known(course)).filter_map(member).collect();
        let shall: BTreeSet<VmId> =
            members.iter().filter(|(_, member)| member.takes && member.healthy).map(|(id, _)| *id).collect();
        let task = Task::Answer { generation: plan.generation, members, steering: plan.steering.clone() };
        let is_known = self.asked.get(&Lane::Answers).is_some_and(|asked| alike(&asked.task, &task));
        let is_underway = self.asked.get(&Lane::Answers).is_some_and(|asked| asked.is_underway);
        let is_so = answers.answered == shall && is_known && !is_underway && !answers.strangers;
        // What was asked last may exclude it already, and nothing more is to be asked.
        if self.ask(Lane::Answers, task, is_so.then_some(answers.at), sight.at, turn) || is_known {
            self.excluded_at.retain(|id, _| !shall.contains(id));
            for id in self.courses.keys().filter(|id| !shall.contains(id)) {
                self.excluded_at.entry(*id).or_insert(sight.at);
            }
        }
    }

    /// Whether machines bear our mark that nobody here knows of.
    fn has_strange_machines(&self, sight: &Sight) -> bool {
        let mut listed = sight.hosts.iter().flatten().flat_map(|host| host.machines.keys());
        listed.any(|vm| !self.courses.contains_key(vm))
    }

    /// Asks a lane that is about many machines, unless it was seen to be so; the same again only after a while. Says
    /// whether it asked.
    fn ask(&mut self, lane: Lane, task: Task, so_at: Option<Timestamp>, at: Timestamp, turn: &mut Turn) -> bool {
        if self.in_flight.contains_key(&lane) {
            return false;
        }
        if let Some(so_at) = so_at {
            if let Some(asked) = self.asked.get_mut(&lane) {
                asked.tries = 0;
                // What was asked in vain, and is not wanted any more, is not to come.
                if !alike(&asked.task, &task) && asked.heard_at.is_some_and(|heard_at| so_at > heard_at) {
                    self.asked.remove(&lane);
                }
            }
            return false;
        }
        let before = self.asked.get(&lane).filter(|asked| alike(&asked.task, &task));
        if before.is_some_and(|asked| at < asked.not_before) || !self.is_free(lane, at) {
            return false;
        }
        let (tries, is_underway) = before.map_or((0, false), |asked| (asked.tries, asked.is_underway));
        let since = before.map_or(at, |asked| asked.since);
        // What was done and is not so waits longer every time.
        let tries = if is_underway { tries } else { tries.saturating_add(1) };
        let not_before = at.saturating_add(self.limits.backoff(tries));
        self.asked
            .insert(lane, Asked { task: task.clone(), since, heard_at: None, tries, not_before, is_underway: false });
        self.send(lane, task, (Kind::Whole, false), at, turn);
        true
    }
}

/// The same but for the number of the plan.
fn alike(a: &Task, b: &Task) -> bool {
    match (a, b) {
        (Task::Slice { slices, ports, .. }, Task::Slice { slices: others, ports: other_ports, .. }) => {
            slices == others && ports == other_ports
        }
        (Task::Answer { members, steering, .. }, Task::Answer { members: others, steering: other_steering, .. }) => {
            members == others && steering == other_steering
        }
        _ => a == b,
    }
}
