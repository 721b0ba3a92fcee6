//! `scheduled`: a timetable in local time, kept by hand: cron scaling.

use forebay_world::Topology;
use jiff::tz::TimeZone;

use super::{Ask, Policy, PolicyError, Situation};
use crate::controller::ControllerConfig;
use crate::controller::config::{ScheduleEntry, Weekday};

#[derive(Clone)]
pub(super) struct Scheduled {
    zones: Vec<TimeZone>,
    entries: Vec<ScheduleEntry>,
    /// Entries that name each cell, the last first.
    by_cell: Vec<Vec<usize>>,
    classes: usize,
}

impl Scheduled {
    pub(super) fn new(config: &ControllerConfig, topology: &Topology) -> Result<Self, PolicyError> {
        let entries = config.policy.scheduled.entries.clone();
        if entries.is_empty() {
            return Err(PolicyError::Empty { name: "scheduled", key: "policy.scheduled.entries" });
        }
        let zones = topology
            .regions
            .iter()
            .map(|region| {
                TimeZone::get(&region.time_zone).map_err(|_| PolicyError::TimeZone {
                    region: region.name.clone(),
                    time_zone: region.time_zone.clone(),
                })
            })
            .collect::<Result<_, _>>()?;
        let by_cell = topology
            .cell_ids()
            .map(|(region, class)| {
                (0..entries.len()).rev().filter(|i| entries[*i].cells.matches(topology, region, class)).collect()
            })
            .collect();
        Ok(Scheduled { zones, entries, by_cell, classes: topology.classes.len() })
    }
}

impl Policy for Scheduled {
    fn name(&self) -> &'static str {
        "scheduled"
    }

    fn ask(&mut self, now: &Situation<'_>, asks: &mut [Ask]) {
        let seconds = (now.seen.at.as_nanos() / 1_000_000_000) as i64;
        // Timestamps reach to 2554, as far as jiff's.
        let instant = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        for (region, zone) in self.zones.iter().enumerate() {
            let local = zone.to_datetime(instant);
            let minute = local.hour() as u16 * 60 + local.minute() as u16;
            let weekday = local.weekday().to_monday_zero_offset() as u8;
            let cells = region * self.classes..(region + 1) * self.classes;
            for (cell, ask) in cells.clone().zip(&mut asks[cells]) {
                let entry =
                    self.by_cell[cell].iter().map(|i| &self.entries[*i]).find(|entry| holds(entry, weekday, minute));
                match entry {
                    Some(entry) => {
                        ask.vms = entry.vms;
                        ask.reason =
                            format!("timetable: {} from {} to {}", entry.vms, text(entry.from), text(entry.until));
                    }
                    None => {
                        ask.vms = now.floors[cell];
                        ask.reason = "timetable: nothing, so the floor".to_owned();
                    }
                }
            }
        }
    }

    fn clone_box(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

fn text(time: crate::controller::config::TimeOfDay) -> String {
    time.into()
}

/// Whether an entry holds at a local minute; one past midnight belongs to the day on which it began.
fn holds(entry: &ScheduleEntry, weekday: u8, minute: u16) -> bool {
    let (from, until) = (entry.from.minutes, entry.until.minutes);
    let on = |day: u8| entry.days.is_empty() || entry.days.iter().any(|named| *named as u8 == day);
    if from < until {
        return on(weekday) && (from..until).contains(&minute);
    }
    (on(weekday) && minute >= from) || (on((weekday + 6) % 7) && minute < until)
}

const _: () = assert!(Weekday::Mon as u8 == 0 && Weekday::Sun as u8 == 6);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world;
    use forebay_world::{Steering, Timestamp};

    fn entry(from: &str, until: &str, days: &str, vms: u32) -> ScheduleEntry {
        toml::from_str(&format!(
            "cells = \"*/video\"\nfrom = \"{from}\"\nuntil = \"{until}\"\ndays = [{days}]\nvms = {vms}"
        ))
        .unwrap()
    }

    #[test]
    fn an_entry_past_midnight_belongs_to_the_day_it_began_on() {
        let night = entry("22:00", "02:00", "\"fri\"", 5);
        let table = [(4, 21 * 60, false), (4, 22 * 60, true), (5, 60, true), (5, 120, false), (4, 60, false)];
        for (weekday, minute, want) in table {
            assert_eq!(holds(&night, weekday, minute), want, "{weekday} {minute}");
        }
        assert!(holds(&entry("00:00", "24:00", "", 1), 3, 1439));
    }

    #[test]
    fn the_timetable_is_read_in_each_region_s_local_time() {
        let topology = small_world::topology(3);
        let mut config = ControllerConfig::default();
        config.policy.scheduled.entries = vec![entry("00:00", "24:00", "", 2), entry("18:00", "23:00", "", 9)];
        let mut policy = Scheduled::new(&config, &topology).unwrap();
        // 17:30 UTC in July: 19:30 in Amsterdam, 13:30 in New York, 02:30 in Tokyo.
        let seen = small_world::quiet(&topology, "2026-07-01T17:30:00Z".parse::<Timestamp>().unwrap());
        let mut asks = vec![Ask::default(); topology.cells()];
        let plan = forebay_world::Plan::default();
        let cells = vec![super::super::CellSeen::default(); topology.cells()];
        let numbers = vec![1; topology.cells()];
        let now = Situation {
            seen: &seen,
            current: &plan,
            steering: &Steering::home(topology.cells()),
            topology: &topology,
            config: &config,
            cells: &cells,
            offered: &vec![None; topology.cells()],
            floors: &numbers,
            ceilings: &numbers,
        };
        policy.ask(&now, &mut asks);
        let vms: Vec<u32> = asks.iter().map(|ask| ask.vms).collect();
        assert_eq!(vms, [9, 1, 2, 1, 2, 1]);
    }
}
