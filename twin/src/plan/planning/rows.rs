//! Rows of a plan from what its intervals came to.

use std::collections::BTreeMap;

use forebay_world::{BitsPerSecond, ClassId, Duration, FlavourId, RegionId, Timestamp};

use super::{Filled, Planning};
use crate::plan::allocation::{Change, Row, SpillTo, Totals, Vms};
use crate::plan::market::Kind;
use crate::plan::mix::{self, Machines, of_class};
use crate::plan::needs::Needs;

/// Rows by interval, region and class, and their sums.
pub(super) fn rows(planning: &Planning<'_>, filled: &[Filled]) -> (Vec<Row>, Totals) {
    let mut rows = Vec::new();
    let mut totals = Totals::default();
    let nothing = Machines::new();
    for (interval, now) in filled.iter().enumerate() {
        let mut standing = 0;
        for region in (0..planning.question.topology.regions.len()).map(RegionId::at) {
            let machines = &now.answers[region.index()].mix.machines;
            let before = interval.checked_sub(1).map_or(&nothing, |n| &filled[n].answers[region.index()].mix.machines);
            for class in (0..planning.offers.len()).map(ClassId::at) {
                let mut row = Planner { planning, filled: now, interval, region, class }.row(machines, before);
                if interval == 0 {
                    row.change_cost = 0.0;
                }
                standing += row.vms_total();
                add(&mut totals, &row, interval);
                rows.push(row);
            }
        }
        totals.vms_most = totals.vms_most.max(standing);
    }
    (rows, totals)
}

fn add(totals: &mut Totals, row: &Row, interval: usize) {
    let hours = row.until.since(row.from).as_hours_f64();
    totals.vm_hours += hours * f64::from(row.vms_total());
    if interval > 0 {
        totals.launches += row.launches.iter().map(|change| change.count).sum::<u32>();
    }
    totals.drains += row.drains.iter().map(|change| change.count).sum::<u32>();
    totals.cost += row.cost;
    totals.change_cost += row.change_cost;
    totals.violation_cost += row.violation_cost;
    totals.cut_session_hours += hours * row.cut_sessions;
    totals.spilled_session_hours += hours * row.spill.iter().map(|spill| spill.sessions).sum::<f64>();
    totals.unserved_session_hours += hours * row.unserved_sessions;
}

/// One region × class in one interval.
struct Planner<'a> {
    planning: &'a Planning<'a>,
    filled: &'a Filled,
    interval: usize,
    region: RegionId,
    class: ClassId,
}

impl Planner<'_> {
    fn row(&self, machines: &Machines, before: &Machines) -> Row {
        let Planner { planning, filled, interval, region, class } = *self;
        let question = planning.question;
        let topology = question.topology;
        let cell = topology.cell(region, class);
        let kind = topology.class(class);
        let target = &planning.targets[cell][interval];
        let wanted = filled.wanted[cell];
        let from = question.origin.saturating_add(question.interval * interval as u64);
        let hours = question.interval.as_hours_f64();

        let spill: Vec<SpillTo> = filled
            .spilled
            .iter()
            .filter(|spill| spill.from == region && spill.class == class)
            .map(|spill| SpillTo {
                region: topology.region(spill.to).name.clone(),
                sessions: spill.sessions,
                share: (spill.sessions / wanted.max(1e-9)).min(1.0),
                round_trip: spill.round_trip,
            })
            .collect();
        let away: f64 = spill.iter().map(|spill| spill.sessions).sum();
        let guests = filled.spilled.iter().filter(|spill| spill.to == region && spill.class == class);
        let guests: f64 = guests.map(|spill| spill.sessions).sum();
        let unserved = filled.answers[region.index()].unserved(class);
        let served = (wanted - unserved).max(0.0);
        // What is kept beyond what will be there is the first to be missing.
        let present = target.sessions.min(served) - away;

        let lead = |launches: u32, flavour: FlavourId| self.lead(launches, flavour, machines, before);
        let (launches, drains, change_cost) = self.changes(from, machines, before, &lead);
        let (guarantee, ceiling) = self.slice(present.max(0.0) + guests);
        Row {
            from,
            until: from.saturating_add(question.interval),
            region: topology.region(region).name.clone(),
            class: kind.name.clone(),
            p50: Needs::of(kind, target.spread.quantile(0.5)),
            p90: Needs::of(kind, target.spread.quantile(0.9)),
            sized: Needs::of(kind, target.sessions),
            level: 1.0 - target.spread.share_above(served),
            target_sessions: target.capacity,
            cut_sessions: (target.capacity - wanted).max(0.0),
            spill,
            unserved_sessions: unserved,
            guest_sessions: guests,
            capacity_sessions: mix::capacity(&planning.offers, machines, class),
            vms: machines
                .range(of_class(class))
                .map(|((_, flavour, kind), count)| Vms {
                    flavour: topology.flavours[flavour.index()].name.clone(),
                    kind: *kind,
                    count: *count,
                })
                .collect(),
            launches,
            drains,
            guarantee,
            ceiling,
            cost: hours
                * machines
                    .range(of_class(class))
                    .map(|((_, flavour, kind), count)| {
                        f64::from(*count) * mix::unit_price(question.market, *flavour, *kind)
                    })
                    .sum::<f64>(),
            change_cost,
            violation_cost: kind.violation_price_per_minute * hours * 60.0 * target.spread.share_above(served),
        }
    }

    /// Machines of this class by flavour, those that may be taken away apart.
    fn lasting(&self, machines: &Machines) -> BTreeMap<(FlavourId, bool), u32> {
        let mut sums = BTreeMap::new();
        for ((_, flavour, kind), count) in machines.range(of_class(self.class)) {
            *sums.entry((*flavour, *kind == Kind::Spot)).or_insert(0) += count;
        }
        sums
    }

    /// Time before it is needed at which a machine is to be asked for: hosts boot only so many at once.
    fn lead(&self, launches: u32, flavour: FlavourId, machines: &Machines, before: &Machines) -> Duration {
        let topology = self.planning.question.topology;
        let form = &topology.flavours[flavour.index()];
        let hosts = topology.hosts.iter().filter(|host| host.region == self.region);
        let slots: u64 = hosts.map(|host| u64::from(host.concurrent_boots)).sum::<u64>().max(1);
        let all = machines.iter().map(|(key, count)| count.saturating_sub(before.get(key).copied().unwrap_or(0)));
        let waves = all.map(u64::from).sum::<u64>().max(u64::from(launches)).div_ceil(slots).max(1);
        let to_ready = form.time_to_ready(self.planning.question.config.policy.predictive.boot_z);
        let boot = to_ready.saturating_sub(form.warm_up);
        to_ready.saturating_add(Duration::from_nanos(boot.as_nanos().saturating_mul(waves - 1)))
    }

    fn changes(
        &self,
        from: Timestamp,
        machines: &Machines,
        before: &Machines,
        lead: &dyn Fn(u32, FlavourId) -> Duration,
    ) -> (Vec<Change>, Vec<Change>, f64) {
        let question = self.planning.question;
        let (now, then) = (self.lasting(machines), self.lasting(before));
        let (mut launches, mut drains, mut cost) = (Vec::new(), Vec::new(), 0.0);
        let keys: std::collections::BTreeSet<(FlavourId, bool)> = now.keys().chain(then.keys()).copied().collect();
        for (flavour, spot) in keys {
            let key = (flavour, spot);
            let (now, then) = (now.get(&key).copied().unwrap_or(0), then.get(&key).copied().unwrap_or(0));
            let name = question.topology.flavours[flavour.index()].name.clone();
            let kind = if spot { Kind::Spot } else { Kind::OnDemand };
            let price = mix::unit_price(question.market, flavour, kind);
            let offer = self.planning.offers[self.class.index()].iter().find(|offer| offer.flavour == flavour);
            let form = &question.topology.flavours[flavour.index()];
            let to_ready = form.time_to_ready(question.config.policy.predictive.boot_z).as_hours_f64();
            if now > then {
                let count = now - then;
                let ahead = lead(count, flavour);
                let at = from.saturating_sub(ahead).floor_to(Duration::from_secs(1));
                launches.push(Change { at, flavour: name, spot, count });
                cost += price * f64::from(count) * ahead.as_hours_f64();
            } else if then > now {
                let count = then - now;
                drains.push(Change { at: from, flavour: name, spot, count });
                let drain = offer.map_or(0.0, |offer| (offer.idle_hours - to_ready).max(0.0));
                cost += price * f64::from(count) * drain;
            }
        }
        (launches, drains, cost)
    }

    /// Guarantee and ceiling of the slice, for so many sessions, or as the operator fixed them.
    fn slice(&self, sessions: f64) -> (BitsPerSecond, BitsPerSecond) {
        let question = self.planning.question;
        let topology = question.topology;
        let slicing = &question.config.slicing;
        let capacity = topology.links[topology.region(self.region).access.index()].capacity;
        let share = BitsPerSecond::from_f64(capacity.as_f64() * slicing.ceiling_share);
        let settings = slicing.settings(topology, self.region, self.class);
        let rate = sessions * topology.class(self.class).work.bandwidth_per_session().as_f64();
        let ceiling = settings.ceiling.unwrap_or(share).max(settings.guarantee.unwrap_or_default());
        (settings.guarantee.unwrap_or(BitsPerSecond::from_f64(rate)).min(ceiling), ceiling)
    }
}
