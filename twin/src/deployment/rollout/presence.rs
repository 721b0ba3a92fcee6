//! Whether there is such a machine, as far as is known.

use forebay_world::{Timestamp, VmId};

use super::course::Course;
use super::sight::{Life, MachineSight, Sight};

/// Whether there is such a machine, as far as is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Presence<'a> {
    /// Its hypervisor is not seen, or was last seen before something was done to it.
    Unknown,
    /// There is none, by a listing that began at this time.
    Absent(Timestamp),
    /// There is.
    There(&'a MachineSight),
}

impl<'a> Presence<'a> {
    pub(super) fn of(id: VmId, course: &Course, sight: &'a Sight) -> Self {
        let Some(host) = sight.hosts.get(course.planned.host.index()).and_then(Option::as_ref) else {
            return Presence::Unknown;
        };
        if let Some(machine) = host.machines.get(&id) {
            // It may have been started again since.
            let is_old = machine.life == Life::Off && course.tried_at.is_some_and(|tried| host.at <= tried);
            return if is_old { Presence::Unknown } else { Presence::There(machine) };
        }
        let ending = course.leaving.and_then(|leaving| leaving.ending_since);
        let done = [course.tried_at, course.made_at, ending].into_iter().flatten().max();
        if done.is_none_or(|done| host.at > done) { Presence::Absent(host.at) } else { Presence::Unknown }
    }
}
