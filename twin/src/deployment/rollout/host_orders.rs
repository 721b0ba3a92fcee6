//! What each host's hypervisor shall do next.

use std::collections::BTreeMap;

use forebay_world::{HostId, Plan, PlannedSlice, RegionId, SliceId, Timestamp, VmId};

use super::course::{Course, Leaving};
use super::presence::Presence;
use super::{Held, HostGround, Kind, Lane, Life, LinkSight, MachineSight, Port, Rollout, Sight, Task, Turn};

impl Rollout {
    /// What each host's hypervisor shall do next: capacity comes before savings, and something else before what has just
    /// failed. Where there is no room for another machine, room is only made by one that goes.
    pub(super) fn order_hosts(&mut self, plan: &Plan, sight: &Sight, turn: &mut Turn) {
        let mut booting = vec![0_u32; self.topology.hosts.len()];
        for course in self.courses.values().filter(|course| !course.is_gone() && course.failed.is_none()) {
            let is_booting = course.made_at.is_some() && course.well_at.is_none() && course.leaving.is_none();
            booting[course.planned.host.index()] += u32::from(is_booting);
        }
        let mut next: BTreeMap<HostId, (bool, Kind, VmId)> = BTreeMap::new();
        let mut prefer = |host: HostId, kind: Kind, vm: VmId| {
            let has_just_failed = self.failed.get(&Lane::Host(host)) == Some(&kind);
            let slot = next.entry(host).or_insert((has_just_failed, kind, vm));
            *slot = (*slot).min((has_just_failed, kind, vm));
        };
        for (&id, course) in &self.courses {
            let host = course.planned.host;
            let ground = &self.ground.hosts[host.index()];
            if self.is_frozen(course) {
                continue;
            }
            let presence = Presence::of(id, course, sight);
            match self.next_for(id, course, presence, ground, booting[host.index()], sight) {
                Ok(Some(kind)) if sight.at >= course.not_before => prefer(host, kind, id),
                Ok(Some(_)) => drop(turn.held.insert(id, Held::Backoff)),
                Ok(None) => {}
                Err(held) => drop(turn.held.insert(id, held)),
            }
        }
        for (host, id) in self.orphans(plan, sight) {
            prefer(host, Kind::Orphan, id);
        }
        for (host, (_, kind, id)) in next {
            let lane = Lane::Host(host);
            if !self.is_free(lane, sight.at) {
                continue;
            }
            let mut ends = false;
            let task = match kind {
                Kind::Resume => Task::Resume(id),
                Kind::Create => {
                    let course = self.courses.get_mut(&id).expect("it was just looked at");
                    course.tried_at = Some(sight.at);
                    // It is given its time once, however often that has to be tried.
                    course.restarted_at = course.well_at.map(|_| course.restarted_at.unwrap_or(sight.at));
                    Task::Create {
                        vm: id,
                        generation: plan.generation,
                        planned: course.planned,
                        address: course.address.expect("none is made without"),
                        attempt: course.failures,
                    }
                }
                Kind::ShutDown | Kind::Remove => {
                    let course = self.courses.get_mut(&id).expect("it was just looked at");
                    if let Some(leaving) = &mut course.leaving {
                        ends = leaving.ending_since.is_none();
                        leaving.ending_since.get_or_insert(sight.at);
                    }
                    if kind == Kind::ShutDown { Task::ShutDown(id) } else { Task::Remove(id) }
                }
                Kind::Orphan => Task::Remove(id),
                Kind::Warm | Kind::Whole => unreachable!("no host is asked for that"),
            };
            self.send(lane, task, (kind, ends), sight.at, turn);
        }
    }

    /// What the hypervisor shall do with one machine, or why it shall wait.
    fn next_for(
        &self,
        id: VmId,
        course: &Course,
        presence: Presence<'_>,
        ground: &HostGround,
        booting: u32,
        sight: &Sight,
    ) -> Result<Option<Kind>, Held> {
        let link = sight.links.get(course.planned.region.index()).and_then(Option::as_ref);
        let Some(leaving) = course.leaving else {
            if course.failed.is_some() {
                return Ok(None);
            }
            let life = match presence {
                Presence::Unknown if course.made_at.is_none() => return Err(Held::Blind),
                Presence::Unknown => return Ok(None),
                Presence::Absent(_) => None,
                Presence::There(machine) => Some(machine.life),
            };
            return match life {
                None | Some(Life::Off) => {
                    if course.address.is_none() {
                        Err(Held::NoAddress)
                    } else if self.ground.links[course.planned.region.index()] && !self.slice_stands(course, link) {
                        Err(Held::NoSlice)
                    } else if life.is_none() && booting >= ground.boots && course.made_at.is_none() {
                        Err(Held::NoBootSlot)
                    } else {
                        Ok(Some(Kind::Create))
                    }
                }
                Some(Life::Paused) => Ok((!ground.ports || self.port_stands(id, course, link)).then_some(Kind::Resume)),
                Some(Life::Running | Life::Ending) => Ok(None),
            };
        };
        let Presence::There(machine) = presence else { return Ok(None) };
        if leaving.ending_since.is_none() {
            self.may_end(course, leaving, machine, sight)?;
        }
        match (machine.life, leaving.ending_since) {
            (Life::Off | Life::Paused, _) => Ok(Some(Kind::Remove)),
            (_, Some(since)) if sight.at.since(since) >= self.limits.shut_down_deadline => Ok(Some(Kind::Remove)),
            (Life::Running, None) if ground.shuts_down => Ok(Some(Kind::ShutDown)),
            (_, None) => Ok(Some(Kind::Remove)),
            // Asked once, it ends in its own time; where it cannot be asked, it was to be removed at once.
            (_, Some(_)) if ground.shuts_down => Ok(None),
            (_, Some(_)) => Ok(Some(Kind::Remove)),
        }
    }

    /// Whether a machine's slice stands, and shall.
    fn slice_stands(&self, course: &Course, link: Option<&LinkSight>) -> bool {
        let slice = &course.planned.slice;
        link.is_some_and(|link| link.slices.contains_key(slice))
            && self.as_asked(course.planned.region, link, |slices, _| slices.contains_key(slice))
    }

    /// Whether a machine's port has its rules, and shall.
    fn port_stands(&self, id: VmId, course: &Course, link: Option<&LinkSight>) -> bool {
        link.is_some_and(|link| link.ports.contains(&id))
            && self.as_asked(course.planned.region, link, |_, ports| ports.contains_key(&id))
    }

    /// Whether what was last asked of a link has something, and what is seen of the link is newer than that.
    fn as_asked(
        &self,
        region: RegionId,
        link: Option<&LinkSight>,
        has: impl Fn(&BTreeMap<SliceId, PlannedSlice>, &BTreeMap<VmId, Port>) -> bool,
    ) -> bool {
        let Some(asked) = self.asked.get(&Lane::Link(region)) else { return true };
        let Task::Slice { slices, ports, .. } = &asked.task else { return false };
        link.is_some_and(|link| link.at > asked.since) && has(slices, ports)
    }

    /// Whether a machine that leaves may be ended.
    fn may_end(&self, course: &Course, leaving: Leaving, machine: &MachineSight, sight: &Sight) -> Result<(), Held> {
        if course.well_at.is_none() {
            return Ok(());
        }
        if leaving.unanswered_since.is_none() {
            return Err(if sight.answers.is_none() && self.ground.answers { Held::Blind } else { Held::Linger });
        }
        if machine.life == Life::Off {
            return Ok(());
        }
        // One that runs and was given up may be better than nothing: it goes when another serves.
        let count = self.cells[self.topology.cell(course.planned.region, course.planned.class)];
        if course.failed.is_some() && count.run > 0 && count.run_and_serve == 0 {
            return Err(Held::Shortage);
        }
        if !self.has_lingered(course, leaving, sight.at) {
            return Err(Held::Linger);
        }
        let deadline = self.limits.drain_deadline(course.planned.class);
        let is_idle = machine.sessions == Some(0);
        if is_idle || sight.at.since(leaving.since) >= deadline { Ok(()) } else { Err(Held::Sessions) }
    }

    /// Whether all who were sent there can have arrived.
    pub(super) fn has_lingered(&self, course: &Course, leaving: Leaving, at: Timestamp) -> bool {
        let linger = self.limits.linger(course.planned.class);
        leaving.unanswered_since.is_some_and(|since| at.since(since) >= linger)
    }

    /// Machines that bear our mark, that nobody knows of, and that are old enough to be taken away; none while anything is
    /// not seen, or while clients are sent to an address that nobody is known to have.
    fn orphans(&self, plan: &Plan, sight: &Sight) -> Vec<(HostId, VmId)> {
        let answers_seen = sight.answers.as_ref().map_or(!self.ground.answers, |answers| !answers.strangers);
        let all_seen =
            answers_seen && sight.hosts.len() == self.topology.hosts.len() && sight.hosts.iter().all(Option::is_some);
        if !all_seen {
            return Vec::new();
        }
        let is_orphan = |(id, machine): &(&VmId, &MachineSight)| {
            !self.courses.contains_key(id)
                && !plan.vms.contains_key(id)
                && sight.at > machine.created
                && sight.at.since(machine.created) >= self.limits.orphan_grace
        };
        let mut found: Vec<(Timestamp, HostId, VmId)> = sight
            .hosts
            .iter()
            .enumerate()
            .filter_map(|(index, host)| Some((HostId::at(index), host.as_ref()?)))
            .flat_map(|(host, seen)| {
                seen.machines.iter().filter(is_orphan).map(move |(id, machine)| (machine.created, host, *id))
            })
            .collect();
        found.sort_unstable();
        let going = self.in_flight.values().filter(|out| out.kind == Kind::Orphan).count();
        found.truncate((self.limits.orphan_cap as usize).saturating_sub(going));
        found.into_iter().map(|(_, host, id)| (host, id)).collect()
    }
}
