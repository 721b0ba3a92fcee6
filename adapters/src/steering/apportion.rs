//! Whole numbers in proportion: shares of a whole, and moves between two divisions of it.

/// Into how many parts the clients of a name are divided: a share is so many of them.
pub const WHOLE: u32 = 10_000;

/// Divides `whole` in proportion to `weights` by largest remainders, with one part at least for each weight that is not
/// zero. All zero where all weights are.
///
/// # Panics
/// When there are more weights than parts.
pub(super) fn apportion(weights: &[u64], whole: u32) -> Vec<u32> {
    assert!(weights.len() <= whole as usize, "a part for each");
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: u64| u128::from(weight) * u128::from(whole);
    let least = |weight: u64| u32::from(weight > 0);
    let mut parts: Vec<u32> =
        weights.iter().map(|weight| ((exact(*weight) / sum) as u32).max(least(*weight))).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).filter(|at| weights[*at] > 0).collect();
    by_remainder.sort_by_key(|at| std::cmp::Reverse(exact(weights[*at]) % sum));
    let given: u32 = parts.iter().sum();
    for at in by_remainder.iter().cycle().take(whole.saturating_sub(given) as usize) {
        parts[*at] += 1;
    }
    // What the smallest got beyond their due, the largest give.
    for _ in whole..given {
        let largest = (0..parts.len()).max_by_key(|at| parts[*at]).expect("a weight is not zero");
        parts[largest] -= 1;
    }
    parts
}

/// Goes from one division of a whole towards another by `most` parts, in proportion to what each has to give or to get;
/// all the way where it is not farther than that.
///
/// # Panics
/// When the two divide different wholes.
pub(super) fn towards(from: &[u32], to: &[u32], most: u32) -> Vec<u32> {
    assert_eq!(from.iter().sum::<u32>(), to.iter().sum::<u32>(), "one whole");
    let distance = distance(from, to);
    if distance <= most {
        return to.to_vec();
    }
    let gaps = |a: &[u32], b: &[u32]| -> Vec<u32> {
        let gap: Vec<u32> = a.iter().zip(b).map(|(a, b)| a.saturating_sub(*b)).collect();
        scaled(&gap, most)
    };
    let (given, taken) = (gaps(from, to), gaps(to, from));
    from.iter().zip(given).zip(taken).map(|((part, given), taken)| part - given + taken).collect()
}

/// Parts that are in one division and not in the other.
pub(super) fn distance(from: &[u32], to: &[u32]) -> u32 {
    from.iter().zip(to).map(|(from, to)| from.saturating_sub(*to)).sum()
}

/// Numbers that sum to `sum`, in proportion to `parts`, none larger than its part.
fn scaled(parts: &[u32], sum: u32) -> Vec<u32> {
    let whole: u64 = parts.iter().map(|part| u64::from(*part)).sum();
    let exact = |part: u32| u64::from(part) * u64::from(sum);
    let mut scaled: Vec<u32> = parts.iter().map(|part| (exact(*part) / whole) as u32).collect();
    let mut by_remainder: Vec<usize> = (0..parts.len()).filter(|at| scaled[*at] < parts[*at]).collect();
    by_remainder.sort_by_key(|at| std::cmp::Reverse(exact(parts[*at]) % whole));
    let lacking = sum - scaled.iter().sum::<u32>();
    for at in by_remainder.into_iter().take(lacking as usize) {
        scaled[at] += 1;
    }
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wholes_are_divided_in_proportion() {
        assert_eq!(apportion(&[80, 20], WHOLE), [8000, 2000]);
        assert_eq!(apportion(&[1, 1, 1], WHOLE), [3334, 3333, 3333]);
        assert_eq!(apportion(&[u64::MAX, 1, 0], 10), [9, 1, 0]);
        assert_eq!(apportion(&[0, 0], 10), [0, 0]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nobody_is_a_part_and_a_minimum_away(weights in proptest::collection::vec(0u64..1_000_000, 1..40)) {
            let parts = apportion(&weights, WHOLE);
            let sum: u64 = weights.iter().sum();
            prop_assume!(sum > 0);
            prop_assert_eq!(parts.iter().sum::<u32>(), WHOLE);
            for (part, weight) in parts.iter().zip(&weights) {
                let due = *weight as f64 / sum as f64 * f64::from(WHOLE);
                prop_assert_eq!(*part == 0, *weight == 0);
                prop_assert!((f64::from(*part) - due).abs() <= 1.0 + weights.len() as f64);
            }
        }

        #[test]
        fn a_step_moves_what_it_may_and_gets_there(a in proptest::collection::vec(0u64..1000, 6), b in proptest::collection::vec(0u64..1000, 6), most in 1u32..WHOLE) {
            prop_assume!(a.iter().sum::<u64>() > 0 && b.iter().sum::<u64>() > 0);
            let (mut at, goal) = (apportion(&a, WHOLE), apportion(&b, WHOLE));
            let mut steps = distance(&at, &goal).div_ceil(most);
            while at != goal {
                let left = distance(&at, &goal);
                let next = towards(&at, &goal, most);
                prop_assert_eq!(next.iter().sum::<u32>(), WHOLE);
                prop_assert_eq!(distance(&at, &next), most.min(left));
                prop_assert_eq!(distance(&next, &goal), left - most.min(left));
                at = next;
                steps -= 1;
            }
            prop_assert_eq!(steps, 0);
        }
    }
}
