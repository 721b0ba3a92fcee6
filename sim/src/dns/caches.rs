//! What each resolver knows at present.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use forebay_world::{ClassId, Duration, RegionId, Timestamp};

use super::expectation::{Expectation, Follow};
use super::population::{Habit, Habits};
use crate::setup::{Load, Setup};

/// What an authoritative server answered, as a number that only the world understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer(pub u32);

/// What a resolver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It knows an answer. Whether that still holds, the client will see.
    Hit(Answer),
    /// It asks the authoritative servers.
    Miss {
        /// Who will keep the answer: a stable number for the meter.
        cache: u64,
        /// How long the answer may be kept.
        ttl: Duration,
    },
}

/// The resolvers of all regions and what they know. Clones share everything but what is known.
#[derive(Clone, Debug)]
pub struct Resolvers {
    /// Dense over regions × classes.
    known: Vec<Known>,
    fixed: Arc<Fixed>,
}

#[derive(Debug)]
struct Fixed {
    classes: usize,
    ttl: Vec<Duration>,
    /// Dense over regions.
    regions: Vec<Region>,
    /// Dense over regions × classes, worked out when first asked for.
    expectations: Vec<OnceLock<Expectation>>,
    loads: Vec<Load>,
    dns: crate::setup::Dns,
}

#[derive(Debug)]
struct Region {
    habits: Habits,
    slots: Vec<Slot>,
}

/// Where a resolver's entries are.
#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    habit: Habit,
}

/// The answers that the resolvers of one region know for one class.
#[derive(Clone, Debug)]
enum Known {
    Nothing,
    /// One name: an entry for each resolver, or each of its client subnets.
    OneName(Vec<Entry>),
    /// Names of a log, by resolver and name.
    Names {
        entries: BTreeMap<(u32, u32), Entry>,
        tidy_at: usize,
    },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    until: Timestamp,
    answer: Answer,
}

const UNKNOWN: Entry = Entry { until: Timestamp::EPOCH, answer: Answer(u32::MAX) };
const TIDY_FROM: usize = 1 << 12;

impl Resolvers {
    /// The resolvers of `setup`, which know nothing yet.
    pub fn new(setup: &Setup) -> Self {
        let dns = &setup.dns;
        assert_eq!(dns.resolvers.len(), setup.topology.regions.len(), "resolvers of each region");
        assert_eq!(dns.ttl.len(), setup.topology.classes.len(), "a time to live for each class");
        let subnets = dns.ecs_subnets.clamp(1, 1 << 16);
        let regions: Vec<(Region, u32)> = (0..dns.resolvers.len())
            .map(|region| {
                let habits = Habits::new(dns, setup.seed, RegionId::at(region));
                let mut entries = 0;
                let slots = (0..dns.resolvers[region])
                    .map(|resolver| {
                        let slot = Slot { first: entries, habit: habits.of(resolver) };
                        entries += if slot.habit.subnets { subnets } else { 1 };
                        slot
                    })
                    .collect();
                (Region { habits, slots }, entries)
            })
            .collect();
        let cells = 0..setup.topology.cells();
        let known = cells
            .clone()
            .map(|cell| match &setup.load[cell] {
                // Told rates are of the fluid, which looks nothing up.
                Load::None | Load::Told => Known::Nothing,
                Load::Synthetic(_) | Load::Series(_) => {
                    let (region, _) = setup.topology.cell_at(cell);
                    Known::OneName(vec![UNKNOWN; regions[region.index()].1 as usize])
                }
                Load::Queries(_) => Known::Names { entries: BTreeMap::new(), tidy_at: TIDY_FROM },
            })
            .collect();
        let fixed = Fixed {
            classes: setup.topology.classes.len(),
            ttl: dns.ttl.clone(),
            regions: regions.into_iter().map(|(region, _)| region).collect(),
            expectations: cells.map(|_| OnceLock::new()).collect(),
            loads: setup.load.clone(),
            dns: dns.clone(),
        };
        Resolvers { known, fixed: Arc::new(fixed) }
    }

    /// What the resolver of a client says at `now`. `resolver`, `subnet` and `name` are those of the
    /// [`Arrival`](crate::load::Arrival).
    #[inline]
    pub fn lookup(
        &self,
        now: Timestamp,
        region: RegionId,
        class: ClassId,
        resolver: u32,
        subnet: u16,
        name: u32,
    ) -> Lookup {
        let entry = match &self.known[self.cell(region, class)] {
            Known::Nothing => UNKNOWN,
            Known::OneName(entries) => entries[self.position(region, resolver, subnet)],
            Known::Names { entries, .. } => *entries.get(&(resolver, name)).unwrap_or(&UNKNOWN),
        };
        if now < entry.until {
            Lookup::Hit(entry.answer)
        } else {
            Lookup::Miss { cache: self.cache(region, resolver, subnet), ttl: self.ttl(class) }
        }
    }

    /// Gives the resolver of a client an answer at `now`, which it keeps by its habits.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "an answer, and all that says whose it is")]
    pub fn store(
        &mut self,
        now: Timestamp,
        region: RegionId,
        class: ClassId,
        resolver: u32,
        subnet: u16,
        name: u32,
        answer: Answer,
    ) {
        let (cell, ttl) = (self.cell(region, class), self.ttl(class));
        let habits = &self.fixed.regions[region.index()].habits;
        match &mut self.known[cell] {
            Known::Nothing => {}
            Known::OneName(entries) => {
                let slot = self.fixed.regions[region.index()].slots[resolver as usize];
                let until = now.saturating_add(habits.keeps(slot.habit.extends, ttl));
                entries[slot.entry(subnet)] = Entry { until, answer };
            }
            Known::Names { entries, tidy_at } => {
                let until = now.saturating_add(habits.keeps(habits.of(resolver).extends, ttl));
                entries.insert((resolver, name), Entry { until, answer });
                if entries.len() >= *tidy_at {
                    entries.retain(|_, entry| now < entry.until);
                    *tidy_at = (2 * entries.len()).max(TIDY_FROM);
                }
            }
        }
    }

    /// Who keeps an answer: a stable number for the meter. Subnets behind a resolver that does not send them share one.
    pub fn cache(&self, region: RegionId, resolver: u32, subnet: u16) -> u64 {
        let slot = self.fixed.regions[region.index()].slots.get(resolver as usize);
        let subnet = if slot.is_some_and(|slot| slot.habit.subnets) { subnet } else { 0 };
        self.address(region, resolver) | u64::from(subnet)
    }

    /// Who asks: a stable number for the meter.
    pub fn address(&self, region: RegionId, resolver: u32) -> u64 {
        (region.index() as u64) << 48 | u64::from(resolver) << 16
    }

    /// How long an answer for `class` may be kept.
    pub fn ttl(&self, class: ClassId) -> Duration {
        self.fixed.ttl[class.index()]
    }

    /// Queries that the authoritative servers see in the mean \[1/s\], in the long run, when sessions of one cell begin
    /// at rate `lambda` \[1/s\] as a Poisson process.
    pub fn miss_rate(&self, region: RegionId, class: ClassId, lambda: f64) -> f64 {
        self.expectation(region, class).miss_rate(lambda)
    }

    /// Caches that ask for the answers of one cell.
    pub fn caches(&self, region: RegionId, class: ClassId) -> u32 {
        self.expectation(region, class).caches()
    }

    /// By how old answers clients go when sessions begin at rate `lambda` \[1/s\].
    pub fn follow(&self, region: RegionId, class: ClassId, lambda: f64) -> Follow {
        self.expectation(region, class).follow(lambda)
    }

    /// How many answers are held, alive or not.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        let kept = |known: &Known| match known {
            Known::Nothing => 0,
            Known::OneName(entries) => entries.len(),
            Known::Names { entries, .. } => entries.len(),
        };
        self.known.iter().map(kept).sum()
    }

    fn expectation(&self, region: RegionId, class: ClassId) -> &Expectation {
        let cell = self.cell(region, class);
        let fixed = &*self.fixed;
        fixed.expectations[cell].get_or_init(|| {
            let habits = &fixed.regions[region.index()].habits;
            Expectation::new(&fixed.dns, region, self.ttl(class), habits, &fixed.loads[cell])
        })
    }

    fn cell(&self, region: RegionId, class: ClassId) -> usize {
        region.index() * self.fixed.classes + class.index()
    }

    #[inline]
    fn position(&self, region: RegionId, resolver: u32, subnet: u16) -> usize {
        self.fixed.regions[region.index()].slots[resolver as usize].entry(subnet)
    }
}

impl Slot {
    fn entry(self, subnet: u16) -> usize {
        self.first as usize + if self.habit.subnets { usize::from(subnet) } else { 0 }
    }
}
