//! What is seen of machines moves their courses on.

use forebay_world::{Timestamp, VmId};

use super::course::Course;
use super::presence::Presence;
use super::{Health, Held, Lane, Life, Rollout, Sight, Turn};

impl Rollout {
    /// Moves each course on by what is seen of its machine.
    pub(super) fn look(&mut self, sight: &Sight, turn: &mut Turn) {
        let at = sight.at;
        for (unseen_since, seen) in self.unseen_since.iter_mut().zip(&sight.hosts) {
            *unseen_since = if seen.is_some() { None } else { unseen_since.or(Some(at)) };
        }
        for (&id, course) in &mut self.courses {
            let is_busy = self.in_flight.get(&Lane::Host(course.planned.host)).is_some_and(|out| out.vm == Some(id));
            match Presence::of(id, course, sight) {
                Presence::There(machine) => {
                    course.made_at.get_or_insert(machine.created.min(at));
                    if let Some(leaving) = &mut course.leaving {
                        leaving.gone_since = None;
                    }
                }
                Presence::Absent(listed_at) if !is_busy => vanish(course, listed_at),
                Presence::Absent(_) | Presence::Unknown => {}
            }
            let health = sight.health.get(&id);
            match health {
                Some(Health::Healthy) if course.made_at.is_some() => {
                    if course.well_at.is_none() {
                        course.well_at = Some(at);
                        course.failures = 0;
                        course.is_warm = !self.ground.warms[course.planned.class.index()];
                    }
                    course.ill_since = None;
                    course.restarted_at = None;
                }
                Some(Health::Unhealthy) if course.well_at.is_some() => {
                    course.ill_since.get_or_insert(at);
                }
                _ => {}
            }
            let is_late = |since: Option<Timestamp>, after| since.is_some_and(|since| at.since(since) >= after);
            let asked_and_silent = health == Some(&Health::Unhealthy);
            if course.well_at.is_none() && asked_and_silent && is_late(course.made_at, self.limits.boot_deadline) {
                course.fail("was made, and never served");
            }
            // Whether one that serves still does, its clients tell; one that was never made does not serve.
            let host_unseen_since = self.unseen_since[course.planned.host.index()];
            if course.made_at.is_none() && is_late(host_unseen_since, self.limits.unhealthy_grace) {
                course.fail("its host cannot be reached");
            }
            if let Some(leaving) = &mut course.leaving {
                match &sight.answers {
                    Some(answers) if answers.answered.contains(&id) => leaving.unanswered_since = None,
                    Some(answers) if self.excluded_at.get(&id).is_some_and(|asked| answers.at > *asked) => {
                        leaving.unanswered_since.get_or_insert(answers.at);
                    }
                    Some(_) => {}
                    None if !self.ground.answers => {
                        leaving.unanswered_since.get_or_insert(leaving.since);
                    }
                    None => {}
                }
            }
        }
        self.give_up_the_ill(sight, turn);
    }

    /// Gives up machines that have been ill for long. Where a hypervisor says that they run, and many fell ill at the same
    /// time or all did, it is more likely that whoever asks them is. One that was started again tells nothing of that
    /// either way: it has as long to serve as a new one, and goes if it does not.
    fn give_up_the_ill(&mut self, sight: &Sight, turn: &mut Turn) {
        let mut counts = vec![(0_u32, 0_u32); self.topology.regions.len()];
        let runs = |id: VmId, course: &Course| matches!(Presence::of(id, course, sight), Presence::There(machine) if machine.life == Life::Running);
        let tells = |course: &Course| {
            course.well_at.is_some() && course.restarted_at.is_none() && course.failed.is_none() && !course.is_gone()
        };
        for (&id, course) in self.courses.iter().filter(|(_, course)| tells(course)) {
            let (well, ill) = &mut counts[course.planned.region.index()];
            *well += 1;
            *ill += u32::from(course.ill_since.is_some() && runs(id, course));
        }
        for (&id, course) in &mut self.courses {
            let Some(ill_since) = course.ill_since.filter(|_| course.failed.is_none()) else { continue };
            if let Some(restarted_at) = course.restarted_at {
                if sight.at.since(restarted_at.max(ill_since)) >= self.limits.boot_deadline {
                    course.fail("was started again, and never served");
                }
                continue;
            }
            let (well, ill) = counts[course.planned.region.index()];
            if sight.at.since(ill_since) < self.limits.unhealthy_grace {
                continue;
            }
            let most = self.limits.ill_vms.max((f64::from(well) * self.limits.ill_share) as u32);
            if runs(id, course) && ill > 1 && (ill == well || ill > most) {
                turn.held.insert(id, Held::ManyIll);
            } else {
                course.fail("served, and does not any more");
            }
        }
    }
}

/// The machine is not there.
fn vanish(course: &mut Course, at: Timestamp) {
    match (&mut course.leaving, course.made_at) {
        (Some(leaving), _) => {
            leaving.gone_since.get_or_insert(at);
        }
        (None, Some(_)) => course.fail("is not there any more, and none of us removed it"),
        (None, None) => {}
    }
}
