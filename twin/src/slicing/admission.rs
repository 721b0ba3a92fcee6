//! Admission: which guarantees of a link are kept when they do not fit together.
//!
//! Who goes first is decided by priority, and within a priority by what it costs to be left short: the price of a violated
//! minute per bit/s that is asked for, for a minute is violated whether much is missing or little, and what is gained
//! by it is what was asked. Classes of the same price are one party and share in proportion to what they ask.

use forebay_world::BitsPerSecond;

/// What a slice asks of its link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Claim {
    /// Whose it is, dense over cells.
    pub cell: usize,
    /// The guarantee that it asks for \[bit/s\].
    pub asked: BitsPerSecond,
    /// 0 is first.
    pub priority: u8,
    /// What a violated minute of its class costs \[currency unit / min\].
    pub price: f64,
}

/// What a slice got that gave way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cut {
    /// The claim that was not met.
    pub claim: Claim,
    /// What it got \[bit/s\].
    pub granted: BitsPerSecond,
    /// Claims that went before it and got something.
    pub first: Vec<Claim>,
    /// Claims that it shares with, without itself.
    pub beside: Vec<Claim>,
}

/// Meets claims from what a link can guarantee, and says who gave way; `grant` is called with every cell and what it gets.
pub(super) fn admit(
    claims: &mut [Claim],
    room: BitsPerSecond,
    mut grant: impl FnMut(usize, BitsPerSecond),
) -> Vec<Cut> {
    let asked: u128 = claims.iter().map(|claim| u128::from(claim.asked.0)).sum();
    if asked <= u128::from(room.0) {
        claims.iter().for_each(|claim| grant(claim.cell, claim.asked));
        return Vec::new();
    }
    let mut left = room;
    let mut cuts = Vec::new();
    let mut first: Vec<Claim> = Vec::new();
    for party in parties(claims) {
        let asked: u128 = party.iter().map(|claim| u128::from(claim.asked.0)).sum();
        let room = left;
        let fits = asked <= u128::from(room.0);
        let mut got = Vec::new();
        for claim in &party {
            // Rounded down, so that the parts never sum to more than the whole.
            let part = || u128::from(room.0) * u128::from(claim.asked.0) / asked.max(1);
            let granted = if fits { claim.asked } else { BitsPerSecond(part() as u64) };
            grant(claim.cell, granted);
            left = left.saturating_sub(granted);
            if granted < claim.asked {
                let beside = party.iter().filter(|other| other.cell != claim.cell && other.asked.0 > 0).copied();
                cuts.push(Cut { claim: *claim, granted, first: first.clone(), beside: beside.collect() });
            }
            if granted > BitsPerSecond::ZERO {
                got.push(*claim);
            }
        }
        first.append(&mut got);
        if !fits {
            // What rounding leaves is for nobody after them.
            left = BitsPerSecond::ZERO;
        }
    }
    cuts
}

/// Claims that are met together, those that go first in front.
fn parties(claims: &mut [Claim]) -> Vec<Vec<Claim>> {
    claims.sort_by(|a, b| a.priority.cmp(&b.priority).then(b.price.total_cmp(&a.price)).then(a.cell.cmp(&b.cell)));
    let same = |a: &Claim, b: &Claim| a.priority == b.priority && a.price == b.price;
    let mut parties: Vec<(u8, f64, Vec<Claim>)> = claims
        .chunk_by(same)
        .map(|party| {
            let asked: f64 = party.iter().map(|claim| claim.asked.as_f64()).sum();
            let price: f64 = party.iter().map(|claim| claim.price).sum();
            (party[0].priority, price / asked.max(1.0), party.to_vec())
        })
        .collect();
    // Stable: of two that cost the same per bit/s, the one with the higher price goes first.
    parties.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    parties.into_iter().map(|(_, _, party)| party).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims(asks: &[(u64, u8, f64)]) -> Vec<Claim> {
        asks.iter()
            .enumerate()
            .map(|(cell, &(asked, priority, price))| Claim { cell, asked: BitsPerSecond(asked), priority, price })
            .collect()
    }

    fn granted(asks: &[(u64, u8, f64)], room: u64) -> (Vec<u64>, Vec<Cut>) {
        let mut grants = vec![u64::MAX; asks.len()];
        let cuts = admit(&mut claims(asks), BitsPerSecond(room), |cell, rate| grants[cell] = rate.0);
        (grants, cuts)
    }

    #[test]
    fn priority_comes_before_price() {
        let (grants, cuts) = granted(&[(80, 1, 9.0), (60, 0, 0.1)], 90);
        assert_eq!(grants, [30, 60]);
        assert_eq!(cuts.len(), 1);
        assert_eq!((cuts[0].claim.cell, cuts[0].first[0].cell, cuts[0].beside.len()), (0, 1, 0));
    }

    #[test]
    fn within_a_priority_who_costs_least_per_bit_gives_way_first() {
        assert_eq!(granted(&[(80, 0, 1.0), (80, 0, 2.0)], 100).0, [20, 80]);
        // A higher price for much more: per bit/s it is cheaper to leave the first short.
        assert_eq!(granted(&[(80, 0, 1.2), (20, 0, 1.0)], 50).0, [30, 20]);
    }

    #[test]
    fn equal_prices_share_in_proportion() {
        let (grants, cuts) = granted(&[(80, 0, 1.0), (40, 0, 1.0), (0, 0, 1.0)], 90);
        assert_eq!(grants, [60, 30, 0]);
        assert_eq!(cuts.iter().map(|cut| cut.beside.len()).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn who_gets_nothing_goes_before_nobody() {
        let (grants, cuts) = granted(&[(50, 0, 1.0), (50, 1, 1.0), (50, 2, 1.0)], 50);
        assert_eq!(grants, [50, 0, 0]);
        assert_eq!(cuts[1].first.iter().map(|claim| claim.cell).collect::<Vec<_>>(), [0]);
    }

    proptest! {
        #[test]
        fn nothing_is_granted_twice_and_nothing_is_left_while_somebody_is_short(
            asks in prop::collection::vec((0u64..1000, 0u8..3, 0u32..4), 1..8),
            room in 0u64..3000,
        ) {
            let asks: Vec<(u64, u8, f64)> = asks.iter().map(|(a, p, price)| (*a, *p, f64::from(*price))).collect();
            let (grants, cuts) = granted(&asks, room);
            let sum: u64 = grants.iter().sum();
            prop_assert!(sum <= room);
            let short = grants.iter().zip(&asks).filter(|(grant, (asked, _, _))| **grant < *asked).count();
            prop_assert_eq!(short, cuts.len());
            // Rounding leaves less than one bit/s a slice.
            prop_assert!(short == 0 || sum + asks.len() as u64 >= room);
            for (cell, (asked, priority, _)) in asks.iter().enumerate() {
                prop_assert!(grants[cell] <= *asked);
                let before_me = (0..asks.len()).filter(|other| asks[*other].1 < *priority);
                if grants[cell] > 0 {
                    for other in before_me {
                        prop_assert!(grants[other] == asks[other].0, "{cell} got something, {other} went first");
                    }
                }
            }
        }
    }
}
