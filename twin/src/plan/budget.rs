//! What to give up where money does not reach: capacity whose last unit of money saves least.
//!
//! What capacity saves is what being short of it costs: the price of violated minutes, as likely as they are, and of the
//! sessions that find no place ([`shortage`]). The second keeps a cell that is short already from being given up
//! altogether for nothing.

use super::capacity::{Offer, Target, shortage};

/// One region × class in one interval, and what may be given up of it.
#[derive(Clone, Copy, Debug)]
pub struct Stake<'a> {
    /// What it wants, and how its demand is spread.
    pub target: &'a Target,
    /// What serves it.
    pub offers: &'a [Offer],
    /// Price of a violated hour \[currency unit / h\].
    pub violation_per_hour: f64,
    /// Who goes first: 0 is first. Decides between equals.
    pub priority: u8,
    /// Capacity that is not given up \[sessions\].
    pub floor: f64,
}

/// Gives up capacity, `wanted` by each stake \[sessions\], that costs about `over` \[currency unit / h\], or all that may
/// be. Whether anything was given up.
pub fn cut(stakes: &[Stake<'_>], wanted: &mut [f64], mut over: f64) -> bool {
    let mut best: Vec<Option<Cut>> =
        stakes.iter().zip(wanted.iter()).map(|(stake, at)| least(stake, *at, over)).collect();
    let mut any = false;
    while over > 0.0 {
        let worth = |cut: &Cut| cut.loss / cut.saved;
        let next = best.iter().enumerate().filter_map(|(cell, cut)| cut.as_ref().map(|cut| (cell, cut))).min_by(
            |(a, one), (b, other)| {
                let later = stakes[*b].priority.cmp(&stakes[*a].priority);
                worth(one).total_cmp(&worth(other)).then(later).then(b.cmp(a))
            },
        );
        let Some((cell, cut)) = next else { break };
        wanted[cell] = cut.to;
        over -= cut.saved;
        any = true;
        for (at, known) in best.iter_mut().enumerate() {
            // A step that was looked for while more was over may be larger than is needed now.
            if at == cell || known.is_some_and(|cut| cut.saved > over) {
                *known = least(&stakes[at], wanted[at], over);
            }
        }
    }
    any
}

/// A step down of one cell.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Capacity that is left.
    to: f64,
    /// Money that it saves \[currency unit / h\] …
    saved: f64,
    /// … and what it makes worse.
    loss: f64,
}

/// The step down from a capacity that loses least for what it saves: of one grain, two, four, and so on, up to what saves
/// all that is `over` \[currency unit / h\].
fn least(stake: &Stake<'_>, from: f64, over: f64) -> Option<Cut> {
    let grain = stake.offers.iter().map(|offer| offer.sessions_per_vm).fold(f64::INFINITY, f64::min);
    let price = stake
        .offers
        .iter()
        .map(|offer| offer.price_per_hour / offer.sessions_per_vm)
        .fold(f64::INFINITY, f64::min)
        .max(1e-12);
    let spare = from - stake.floor;
    if spare <= 1e-6 * grain {
        return None;
    }
    let cost = |capacity: f64| stake.violation_per_hour * shortage(&stake.target.spread, capacity);
    let before = cost(from);
    let enough = (over / price / grain).ceil().max(1.0) * grain;
    let most = spare.min(enough);
    let mut best: Option<Cut> = None;
    let mut step = grain;
    loop {
        let gone = step.min(most);
        let to = from - gone;
        let cut = Cut { to, saved: gone * price, loss: (cost(to) - before).max(0.0) };
        if best.is_none_or(|best| cut.loss / cut.saved < best.loss / best.saved) {
            best = Some(cut);
        }
        if step >= most {
            return best;
        }
        step *= 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::paths::Spread;
    use forebay_world::FlavourId;
    use proptest::prelude::*;

    fn target(mean: f64) -> Target {
        let spread = Spread::new((0..100).map(|n| mean * (0.7 + 0.006 * f64::from(n))).collect());
        Target { spread, capacity: 1.3 * mean, level: 1.0, sessions: 1.3 * mean }
    }

    const OFFER: Offer = Offer { flavour: FlavourId(0), sessions_per_vm: 10.0, price_per_hour: 0.1, idle_hours: 0.1 };

    #[test]
    fn the_cell_that_saves_least_is_cut_first() {
        let (dear, cheap) = (target(1000.0), target(1000.0));
        let stake = |target, violation_per_hour, priority| Stake {
            target,
            offers: std::slice::from_ref(&OFFER),
            violation_per_hour,
            priority,
            floor: 10.0,
        };
        let stakes = [stake(&dear, 60.0, 1), stake(&cheap, 6.0, 0)];
        let mut wanted = [1300.0, 1300.0];
        assert!(cut(&stakes, &mut wanted, 2.0));
        assert!(wanted[1] < wanted[0], "{wanted:?}");
        // Among equals those that go last.
        let stakes = [stake(&dear, 6.0, 0), stake(&cheap, 6.0, 1)];
        let mut wanted = [1300.0, 1300.0];
        assert!(cut(&stakes, &mut wanted, 0.05));
        assert!(wanted[1] < wanted[0], "{wanted:?}");
        // No more is given up than the money asks for, to a grain.
        let saved: f64 = wanted.iter().map(|left| (1300.0 - left) * 0.01).sum();
        assert!((0.05..=0.15 + 1e-9).contains(&saved), "{saved}");
        let mut wanted = [1300.0, 1300.0];
        cut(&stakes, &mut wanted, 13.0);
        assert!(wanted[0] > 1000.0 && wanted[1] < 300.0, "who goes first is served first: {wanted:?}");
    }

    proptest! {
        #[test]
        fn as_much_is_saved_as_asked_for_down_to_the_floor(
            means in prop::collection::vec(1.0f64..5000.0, 1..6),
            over in 0.0f64..100.0,
            floor in 0.0f64..50.0,
        ) {
            let targets: Vec<Target> = means.iter().map(|mean| target(*mean)).collect();
            let stakes: Vec<Stake<'_>> = targets
                .iter()
                .map(|target| Stake {
                    target,
                    offers: std::slice::from_ref(&OFFER),
                    violation_per_hour: 10.0,
                    priority: 0,
                    floor,
                })
                .collect();
            let before: Vec<f64> = targets.iter().map(|target| target.capacity).collect();
            let mut wanted = before.clone();
            cut(&stakes, &mut wanted, over);
            let saved: f64 = before.iter().zip(&wanted).map(|(before, after)| (before - after) * 0.01).sum();
            let floored = wanted.iter().all(|left| *left <= floor.max(0.0) + 1e-3);
            prop_assert!(saved >= over - 1e-9 || floored, "{saved} of {over}: {wanted:?}");
            for (before, after) in before.iter().zip(&wanted) {
                prop_assert!(after <= before && *after >= floor.min(*before) - 1e-9);
            }
        }
    }
}
