//! Processor sharing: what the CPU of a virtual machine does to the requests it works on.
//!
//! All present share the cores evenly, and one job uses at most one core: with n jobs on c cores each is served at rate
//! min(1, c/n). The cores may be a fraction, change while jobs are under way, and be none at all.
//! Not here: queues with an order ([`crate::station`]), and who sends what where.
//!
//! Everyone's rate being the same, one virtual clock advances at that rate, a job is finished when the clock reaches
//! its value at arrival plus the work, and the order of the finishes never changes: an arrival or a completion costs one
//! heap operation, however many jobs are present (the virtual time of A. Demers, S. Keshav, S. Shenker, "Analysis and
//! Simulation of a Fair Queueing Algorithm", SIGCOMM 1989). The clock counts in whole 2⁻¹⁰ ns: it does not lose
//! precision as a run gets long.
//!
//! ```
//! use forebay_sim::processor::Processor;
//! use forebay_world::Timestamp;
//!
//! let second = Timestamp::from_secs;
//! let mut cpu = Processor::new(1.0);
//! cpu.arrive(second(0), 2.0, 7);
//! cpu.arrive(second(1), 2.0, 8); // the first has 1 s of work left: from here each gets half a core
//! assert_eq!(cpu.next_completion(), Some(second(3)));
//! assert_eq!(cpu.complete(second(3)), Some((7, second(0))));
//! assert_eq!(cpu.next_completion(), Some(second(4)));
//! ```

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use forebay_world::{Duration, Timestamp};

/// Units of the virtual clock in a nanosecond. At 2⁻¹⁰ ns a clock of 64 bits spans 208 days of service to one job.
const TICKS_PER_NANO: u64 = 1 << 10;

/// When the virtual clock passes this it is set back to zero, with all that is measured by it.
const REBASE_AT: u64 = 1 << 62;

/// The longest work that is told from longer ones: half of what the clock spans, 52 days on one core.
const LONGEST_WORK: u64 = 1 << 62;

/// An egalitarian processor-sharing server. See the module.
///
/// The owner schedules [`Processor::next_completion`] anew after every call that changes it, and calls
/// [`Processor::complete`] then. No allocation once the most jobs at a time have been seen; 32 B for each of them.
#[derive(Clone, Debug)]
pub struct Processor {
    cores: f64,
    jobs: BinaryHeap<Job>,
    /// Virtual clock at `changed` \[2⁻¹⁰ ns\].
    virtual_clock: u64,
    changed: Timestamp,
    /// When the next job finishes, for as long as nothing changes; [`Timestamp::MAX`] for never.
    due: Timestamp,
    arrivals: u64,
    busy_core_nanos: f64,
}

impl Processor {
    /// Idle, with `cores`. Panics when that is negative or not finite.
    pub fn new(cores: f64) -> Self {
        assert_cores(cores);
        Processor {
            cores,
            jobs: BinaryHeap::new(),
            virtual_clock: 0,
            changed: Timestamp::EPOCH,
            due: Timestamp::MAX,
            arrivals: 0,
            busy_core_nanos: 0.0,
        }
    }

    /// A job of `work_seconds` on one core arrives; `tag` is its owner's name for it. What is negative or undefined is
    /// no work; what is longer than 52 days is as long.
    ///
    /// Panics when a completion before `now` has not been taken.
    pub fn arrive(&mut self, now: Timestamp, work_seconds: f64, tag: u64) {
        self.advance(now);
        // A float-to-integer `as` saturates and takes NaN to zero.
        let work = ((work_seconds * 1e9 * TICKS_PER_NANO as f64).round() as u64).min(LONGEST_WORK);
        self.jobs.push(Job { finish: self.virtual_clock + work, sequence: self.arrivals, arrived: now, tag });
        self.arrivals += 1;
        self.foresee();
    }

    /// When the next job will be finished, rounded up to a nanosecond, if nothing arrives or changes before; `None` when
    /// there is none or there are no cores.
    #[inline]
    pub fn next_completion(&self) -> Option<Timestamp> {
        (self.due < Timestamp::MAX).then_some(self.due)
    }

    /// Takes the job that is finished by `now`: its tag, and when it had arrived. Of several, the one that finished first,
    /// and of those the one that arrived first; call again until `None`. The others are served on from the instant it
    /// finished, not from `now`.
    pub fn complete(&mut self, now: Timestamp) -> Option<(u64, Timestamp)> {
        if self.due > now || self.due == Timestamp::MAX {
            return None;
        }
        self.advance(self.due);
        let job = self.jobs.pop()?;
        // Rounding may have left the clock a tick short, and the finished job must not finish after the next.
        self.virtual_clock = self.virtual_clock.max(job.finish);
        self.foresee();
        Some((job.tag, job.arrived))
    }

    /// The number of cores becomes `cores` at `now`. Panics when that is negative or not finite, or when a completion
    /// before `now` has not been taken.
    pub fn set_cores(&mut self, now: Timestamp, cores: f64) {
        assert_cores(cores);
        self.advance(now);
        self.cores = cores;
        self.foresee();
    }

    /// The number of cores.
    pub fn cores(&self) -> f64 {
        self.cores
    }

    /// Jobs present.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Tags and arrivals of the jobs present, in no meaningful order but always the same.
    pub fn present(&self) -> impl Iterator<Item = (u64, Timestamp)> + '_ {
        self.jobs.iter().map(|job| (job.tag, job.arrived))
    }

    /// Core-seconds of work done up to `now`, which is not after the next completion \[s\].
    pub fn busy_core_seconds(&self, now: Timestamp) -> f64 {
        (self.busy_core_nanos + self.busy_cores() * now.since(self.changed).as_nanos() as f64) / 1e9
    }

    /// Cores at work, min(n, c).
    pub fn busy_cores(&self) -> f64 {
        (self.jobs.len() as f64).min(self.cores)
    }

    /// Drops all jobs at `now`, unfinished as they are. Panics when a completion before `now` has not been taken.
    pub fn clear(&mut self, now: Timestamp) {
        self.advance(now);
        self.jobs.clear();
        self.virtual_clock = 0;
        self.foresee();
    }

    /// Brings clock and work done up to `now`.
    fn advance(&mut self, now: Timestamp) {
        assert!(now <= self.due, "the completion at {} has not been taken by {now}", self.due);
        let span = now.since(self.changed);
        if span.is_zero() {
            return;
        }
        self.changed = now;
        if self.jobs.is_empty() {
            self.virtual_clock = 0;
            return;
        }
        self.busy_core_nanos += self.busy_cores() * span.as_nanos() as f64;
        self.virtual_clock += match self.ticks_per_nano() {
            Rate::Whole => span.as_nanos() * TICKS_PER_NANO,
            Rate::Shared(ticks) => (span.as_nanos() as f64 * ticks) as u64,
        };
        if self.virtual_clock >= REBASE_AT {
            self.rebase();
        }
    }

    /// Works out when the next job finishes.
    fn foresee(&mut self) {
        self.due = Timestamp::MAX;
        if let Some(next) = self.jobs.peek() {
            let left = next.finish.saturating_sub(self.virtual_clock);
            let nanos = match self.ticks_per_nano() {
                Rate::Whole => left.div_ceil(TICKS_PER_NANO),
                // No cores: infinite, or undefined when nothing is left. An `as` saturates the one; the other is zero.
                Rate::Shared(ticks) => (left as f64 / ticks).ceil() as u64,
            };
            self.due = self.changed.saturating_add(Duration::from_nanos(nanos));
        }
    }

    fn ticks_per_nano(&self) -> Rate {
        let present = self.jobs.len() as f64;
        if present <= self.cores { Rate::Whole } else { Rate::Shared(TICKS_PER_NANO as f64 * self.cores / present) }
    }

    /// Sets the clock back to zero. Integers, so nothing is lost.
    #[cold]
    fn rebase(&mut self) {
        let passed = std::mem::take(&mut self.virtual_clock);
        let mut jobs = std::mem::take(&mut self.jobs).into_vec();
        jobs.iter_mut().for_each(|job| job.finish = job.finish.saturating_sub(passed));
        self.jobs = BinaryHeap::from(jobs);
    }
}

/// How fast the virtual clock runs.
enum Rate {
    /// A core for each job: with real time.
    Whole,
    /// Ticks in a nanosecond, fewer than [`TICKS_PER_NANO`].
    Shared(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Job {
    /// Value of the virtual clock at which the job is finished.
    finish: u64,
    /// Of the arrival: breaks ties.
    sequence: u64,
    arrived: Timestamp,
    tag: u64,
}

const _: () = assert!(size_of::<Job>() == 32);

impl Ord for Job {
    /// Reversed: the heap gives out its greatest, and the next to finish is wanted.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.finish, other.sequence).cmp(&(self.finish, self.sequence))
    }
}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn assert_cores(cores: f64) {
    assert!(cores >= 0.0 && cores.is_finite(), "a processor has a finite number of cores, and not {cores}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;
    use proptest::prelude::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn drain(cpu: &mut Processor) -> Vec<(u64, Timestamp)> {
        std::iter::from_fn(|| {
            let due = cpu.next_completion()?;
            cpu.complete(due).map(|(tag, _)| (tag, due))
        })
        .collect()
    }

    #[test]
    fn jobs_have_a_core_each_while_there_are_enough() {
        let mut cpu = Processor::new(2.0);
        cpu.arrive(at(0), 10.0, 1);
        cpu.arrive(at(5), 1.0, 2);
        assert_eq!(cpu.busy_cores(), 2.0);
        assert_eq!(drain(&mut cpu), [(2, at(6)), (1, at(10))]);
        assert_eq!(cpu.busy_core_seconds(at(20)), 11.0);
        assert_eq!((cpu.jobs(), cpu.next_completion(), cpu.complete(at(99))), (0, None, None));
    }

    #[test]
    fn ties_finish_in_order_of_arrival() {
        let mut cpu = Processor::new(1.0);
        (0..5).for_each(|tag| cpu.arrive(at(0), 1.0, tag));
        assert_eq!(drain(&mut cpu), (0..5).map(|tag| (tag, at(5))).collect::<Vec<_>>());
    }

    #[test]
    fn cores_may_change_while_jobs_are_under_way() {
        let mut cpu = Processor::new(1.0);
        cpu.arrive(at(0), 4.0, 1);
        cpu.set_cores(at(1), 0.0);
        assert_eq!(cpu.next_completion(), None);
        cpu.set_cores(at(10), 0.5);
        assert_eq!(cpu.next_completion(), Some(at(16)));
        cpu.set_cores(at(12), 8.0);
        assert_eq!(drain(&mut cpu), [(1, at(14))]);
        assert_eq!(cpu.busy_core_seconds(at(14)), 4.0);
    }

    #[test]
    fn a_cleared_processor_starts_afresh() {
        let mut cpu = Processor::new(1.0);
        cpu.arrive(at(0), 4.0, 1);
        cpu.clear(at(1));
        assert_eq!((cpu.jobs(), cpu.next_completion(), cpu.busy_core_seconds(at(9))), (0, None, 1.0));
        cpu.arrive(at(9), 1.0, 2);
        assert_eq!(drain(&mut cpu), [(2, at(10))]);
    }

    #[test]
    fn completions_taken_late_are_as_if_taken_in_time() {
        let mut cpu = Processor::new(1.0);
        cpu.arrive(at(0), 1.0, 1);
        cpu.arrive(at(0), 2.0, 2);
        // Due at 2 s and at 3 s.
        assert_eq!(cpu.complete(at(50)), Some((1, at(0))));
        assert_eq!(cpu.next_completion(), Some(at(3)));
        assert_eq!(cpu.complete(at(50)), Some((2, at(0))));
        assert_eq!(cpu.busy_core_seconds(at(50)), 3.0);
    }

    #[test]
    #[should_panic(expected = "has not been taken")]
    fn a_completion_is_not_passed_over() {
        let mut cpu = Processor::new(1.0);
        cpu.arrive(at(0), 1.0, 1);
        cpu.arrive(at(2), 1.0, 2);
    }

    #[test]
    fn odd_work_is_tamed() {
        for work in [-1.0, 0.0, f64::NAN, f64::NEG_INFINITY] {
            let mut cpu = Processor::new(1.0);
            cpu.arrive(at(3), work, 1);
            assert_eq!(drain(&mut cpu), [(1, at(3))]);
        }
        let mut cpu = Processor::new(1e-9);
        cpu.arrive(at(0), f64::INFINITY, 1);
        cpu.arrive(at(0), 1.0, 2);
        assert!(cpu.next_completion() > Some(at(1_000_000_000)));
        cpu.set_cores(at(1_000_000_000), 4.0);
        assert_eq!(drain(&mut cpu).len(), 2);
    }

    #[test]
    fn a_clock_set_back_changes_nothing() {
        let (mut plain, mut rebased) = (Processor::new(1.0), Processor::new(1.0));
        let mut stream = Stream::new(1, "rebase", 0);
        for tag in 0..200 {
            let (now, work) = (at(tag), 200.0 * stream.uniform());
            for cpu in [&mut plain, &mut rebased] {
                while cpu.next_completion().is_some_and(|due| due <= now) {
                    cpu.complete(now);
                }
                cpu.arrive(now, work, tag);
            }
            rebased.rebase();
        }
        assert_eq!(drain(&mut plain), drain(&mut rebased));
    }

    /// The definition, in small steps of whole milliseconds: each of n jobs gets min(1, c/n) of a core.
    fn by_definition(cores: f64, jobs: &[(u64, u64)]) -> Vec<f64> {
        const STEPS: f64 = 64.0;
        let mut left: Vec<f64> = jobs.iter().map(|&(_, work_ms)| work_ms as f64).collect();
        let mut finished = vec![0.0; jobs.len()];
        let mut step = 0.0;
        while left.iter().any(|&work| work > 0.0) {
            let present: Vec<usize> =
                (0..jobs.len()).filter(|&j| jobs[j].0 as f64 * STEPS <= step && left[j] > 0.0).collect();
            let rate = (cores / present.len() as f64).min(1.0);
            step += 1.0;
            for j in present {
                left[j] -= rate / STEPS;
                if left[j] <= 1e-9 {
                    left[j] = 0.0;
                    finished[j] = step / STEPS;
                }
            }
        }
        finished
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn sharing_follows_its_definition(
            cores in 0.3..4.0f64, jobs in prop::collection::vec((0u64..60, 1u64..40), 1..12),
        ) {
            let expected = by_definition(cores, &jobs);
            let mut order: Vec<usize> = (0..jobs.len()).collect();
            order.sort_by_key(|&j| jobs[j].0);
            let mut cpu = Processor::new(cores);
            let mut finished = vec![0.0; jobs.len()];
            for j in order {
                let now = Timestamp::from_nanos(jobs[j].0 * 1_000_000);
                while let Some(due) = cpu.next_completion().filter(|&due| due <= now) {
                    finished[cpu.complete(due).unwrap().0 as usize] = due.as_secs_f64() * 1e3;
                }
                cpu.arrive(now, jobs[j].1 as f64 * 1e-3, j as u64);
            }
            for (tag, due) in drain(&mut cpu) {
                finished[tag as usize] = due.as_secs_f64() * 1e3;
            }
            // Each completion found up to a step late shifts those after it by at most as much.
            let tolerance = (jobs.len() + 1) as f64 / 64.0;
            for (ours, theirs) in finished.iter().zip(&expected) {
                prop_assert!((ours - theirs).abs() <= tolerance, "{finished:?} {expected:?}");
            }
            let work: u64 = jobs.iter().map(|&(_, work_ms)| work_ms).sum();
            prop_assert!((cpu.busy_core_seconds(at(1000)) * 1e3 - work as f64).abs() < 1e-4);
        }

        #[test]
        fn a_copy_goes_on_as_the_original(seed in 0u64..1000) {
            let mut stream = Stream::new(seed, "copy", 0);
            let mut cpu = Processor::new(1.5);
            (0..50).for_each(|tag| cpu.arrive(at(0), stream.exponential(), tag));
            cpu.complete(cpu.next_completion().unwrap());
            let mut copy = cpu.clone();
            prop_assert_eq!(drain(&mut cpu), drain(&mut copy));
        }
    }
}
