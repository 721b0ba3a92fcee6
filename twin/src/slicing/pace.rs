//! How fast what a slice asks for may move: in steps, not with every breath, and not the whole link at once.
//!
//! A slice asks for more because a policy looks a boot ahead: what it asks for now is needed when machines that are
//! launched now are ready. So a rise can be spread over that time, and must not be spread over more: a machine that is
//! ready before its slice is would be promised what it does not get. Whoever boots faster than nine in ten is waited for;
//! from then on nothing is held back. Nor is what is carried already held back: a limit keeps a forecast from taking a
//! link from others at one blow, not what is there from being guaranteed.
//!
//! A fall is limited by a share of the link alone. Nobody waits for it, and a gap in what is seen must not cost at once
//! what takes a boot to come back.
//!
//! Limited is what is asked for, before admission: what a link loses is taken from its slices at once, whatever they
//! ask, and what it gets back is given back at once.

use forebay_world::{BitsPerSecond, Duration, Timestamp};

/// Limits, for one link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    /// Asks move in whole steps \[bit/s\].
    pub step: f64,
    /// The most by which an ask rises at a tick, but for what must be there in time \[bit/s\].
    pub rise: f64,
    /// The most by which it falls \[bit/s\].
    pub fall: f64,
}

/// What a slice would ask for, and from when on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wish {
    /// What it asks for now \[bit/s\].
    pub from: BitsPerSecond,
    /// What its guarantee should cover \[bit/s\].
    pub cover: BitsPerSecond,
    /// What is there to be carried now \[bit/s\].
    pub now: BitsPerSecond,
    /// What it can ask for at most \[bit/s\].
    pub most: BitsPerSecond,
}

/// A rise that is not over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    /// When the machines for which it began can be ready.
    due: Option<Timestamp>,
}

impl Pace {
    /// What a slice asks for at the tick at `at`; the next is a `window` later, and machines that are launched now are
    /// ready after `boot` at the earliest.
    pub(super) fn ask(
        &mut self,
        wish: Wish,
        limits: &Limits,
        at: Timestamp,
        window: Duration,
        boot: Duration,
    ) -> BitsPerSecond {
        let Wish { from, cover, now, most } = wish;
        let wanted = in_steps(from, cover.min(most), limits.step).min(most);
        if wanted <= from {
            self.due = None;
            // A limit below one step would stop every fall.
            let fall = BitsPerSecond::from_f64(limits.fall.max(limits.step));
            return wanted.max(from.saturating_sub(fall));
        }
        let due = *self.due.get_or_insert(at.saturating_add(boot));
        let ticks = if window.is_zero() { 1 } else { due.since(at) / window + 1 };
        let in_time = (wanted.as_f64() - from.as_f64()) / ticks as f64;
        let to = from.as_f64() + in_time.max(limits.rise);
        let to = up_to_step(BitsPerSecond::from_f64(to), limits.step).max(up_to_step(now, limits.step)).min(wanted);
        if to == wanted {
            self.due = None;
        }
        to
    }

    /// Forgets a rise: the slice is gone, or asks for something else than a policy does.
    pub(super) fn stop(&mut self) {
        self.due = None;
    }
}

/// What covers `demand` in whole steps: up as soon as it is needed, down once two steps are idle.
fn in_steps(stands: BitsPerSecond, demand: BitsPerSecond, step: f64) -> BitsPerSecond {
    let needed = up_to_step(demand, step);
    let idle = stands.as_f64() - needed.as_f64();
    if needed > stands || idle > 1.5 * step { needed } else { stands }
}

fn up_to_step(rate: BitsPerSecond, step: f64) -> BitsPerSecond {
    // What is a whole number of steps but for rounding is one.
    BitsPerSecond::from_f64((rate.as_f64() / step - 1e-9).ceil() * step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { step: 5.0, rise: 10.0, fall: 10.0 };
    const MINUTE: Duration = Duration::from_mins(1);

    fn follow(pace: &mut Pace, from: u64, minute: u64, cover: u64, now: u64, boot: u64) -> u64 {
        let rate = BitsPerSecond;
        let wish = Wish { from: rate(from), cover: rate(cover), now: rate(now), most: rate(100) };
        pace.ask(wish, &LIMITS, Timestamp::from_secs(60 * minute), MINUTE, MINUTE * boot).0
    }

    fn course(cover: u64, now: u64, boot: u64, ticks: u64) -> Vec<u64> {
        let (mut pace, mut asked) = (Pace::default(), 0);
        let tick = |minute| {
            asked = follow(&mut pace, asked, minute, cover, now, boot);
            asked
        };
        (0..ticks).map(tick).collect()
    }

    #[test]
    fn a_rise_is_limited_but_over_when_machines_are_ready() {
        assert_eq!(course(40, 0, 10, 5), [10, 20, 30, 40, 40], "slow boots: by the limit");
        assert_eq!(course(90, 0, 3, 5), [25, 50, 70, 90, 90], "quick boots: over at the third minute");
        assert_eq!(course(90, 0, 0, 2), [90, 90], "no boot: at once");
    }

    #[test]
    fn what_is_carried_is_guaranteed_at_once() {
        assert_eq!(course(90, 62, 60, 4), [65, 75, 85, 90]);
    }

    #[test]
    fn a_rise_that_grows_keeps_its_time() {
        let mut pace = Pace::default();
        assert_eq!(follow(&mut pace, 0, 0, 30, 0, 2), 10);
        assert_eq!(follow(&mut pace, 10, 1, 90, 0, 2), 50);
        assert_eq!(follow(&mut pace, 50, 2, 90, 0, 2), 90, "two minutes after the first of it");
        assert_eq!(follow(&mut pace, 90, 3, 100, 0, 60), 100);
    }

    #[test]
    fn a_fall_is_limited_and_keeps_an_idle_step() {
        let mut pace = Pace::default();
        assert_eq!(follow(&mut pace, 50, 0, 12, 12, 3), 40);
        assert_eq!(follow(&mut pace, 40, 1, 12, 12, 3), 30);
        assert_eq!(follow(&mut pace, 30, 2, 12, 12, 3), 20);
        assert_eq!(follow(&mut pace, 20, 3, 12, 12, 3), 20, "one idle step is kept");
    }

    proptest! {
        #[test]
        fn a_wish_is_met_within_a_boot_and_never_overshot(
            start in 0u64..20, cover in 0u64..130, boot in 0u64..8,
        ) {
            let (mut pace, mut asked) = (Pace::default(), 5 * start);
            let from = asked;
            let rounded = cover.min(100).div_ceil(5) * 5;
            for minute in 0..=boot.max(20) {
                let next = follow(&mut pace, asked, minute, cover, 0, boot);
                prop_assert!(next <= rounded.max(from) && next <= 100.max(from));
                if next > asked && minute < boot {
                    // No faster than it must be.
                    let gap = rounded.saturating_sub(asked);
                    prop_assert!(next - asked <= 10.max(gap.div_ceil(boot - minute + 1)) + 5);
                }
                prop_assert!(asked.saturating_sub(next) <= 10);
                asked = next;
                if minute >= boot {
                    prop_assert!(asked >= rounded, "{asked} of {rounded} when machines are ready");
                }
            }
            prop_assert!(asked - rounded.min(asked) <= 7);
        }
    }
}
