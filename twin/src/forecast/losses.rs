//! What members have lost of late: sums over a window that slides, in constant time a step.
//!
//! Nothing is ever taken away from a sum, so that one huge loss leaves no trace of rounding when it is forgotten: what
//! is old waits as sums from its end on, what is new adds to one sum, and when the old is used up the new becomes it
//! (the queue of two stacks).

/// Losses of a few members over the last steps.
#[derive(Clone, Debug)]
pub(super) struct Losses {
    members: usize,
    /// Steps that are remembered.
    window: usize,
    /// Steps and sums from each to the end of the old, the oldest last.
    old: Vec<(usize, u32)>,
    old_sums: Vec<f64>,
    /// Steps and their own sums, the newest last.
    new: Vec<(usize, u32)>,
    new_sums: Vec<f64>,
    /// Sum of all that is new.
    count: u32,
    sum: Vec<f64>,
}

impl Losses {
    /// None yet, of so many members; those of the last `window` steps are remembered.
    pub(super) fn new(members: usize, window: usize) -> Self {
        let (old, old_sums, new, new_sums) = Default::default();
        Losses { members, window, old, old_sums, new, new_sums, count: 0, sum: vec![0.0; members] }
    }

    /// Adds what each member lost at step `at`, summed over `count` forecasts of it. Steps come in order.
    pub(super) fn add(&mut self, at: usize, count: u32, sums: &[f64]) {
        assert_eq!(sums.len(), self.members);
        self.new.push((at, count));
        self.new_sums.extend_from_slice(sums);
        self.count += count;
        self.sum.iter_mut().zip(sums).for_each(|(sum, loss)| *sum += loss);
    }

    /// Forgets what is a window or more before step `at`.
    pub(super) fn forget(&mut self, at: usize) {
        loop {
            if self.old.is_empty() {
                self.turn_over();
            }
            match self.old.last() {
                Some((oldest, _)) if oldest + self.window <= at => {
                    self.old.pop();
                    self.old_sums.truncate(self.old.len() * self.members);
                }
                _ => return,
            }
        }
    }

    fn turn_over(&mut self) {
        let (mut count, mut sum) = (0, vec![0.0; self.members]);
        let steps = self.new.iter().zip(self.new_sums.chunks_exact(self.members));
        for ((at, own), sums) in steps.rev() {
            count += own;
            sum.iter_mut().zip(sums).for_each(|(sum, loss)| *sum += loss);
            self.old.push((*at, count));
            self.old_sums.extend_from_slice(&sum);
        }
        self.new.clear();
        self.new_sums.clear();
        self.count = 0;
        self.sum.fill(0.0);
    }

    /// Forecasts that are remembered, and the mean of what each member lost by one.
    pub(super) fn means(&self) -> (u32, Vec<f64>) {
        let count = self.count + self.old.last().map_or(0, |(_, count)| *count);
        let old = &self.old_sums[self.old_sums.len() - if self.old.is_empty() { 0 } else { self.members }..];
        let sum = |member: usize| self.sum[member] + old.get(member).copied().unwrap_or(0.0);
        (count, (0..self.members).map(|member| sum(member) / f64::from(count.max(1))).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_are_those_of_the_window(
            window in 1usize..30,
            steps in prop::collection::vec((0usize..4, prop_oneof![0.0..1.0_f64, Just(1e15)]), 1..200),
        ) {
            let mut losses = Losses::new(2, window);
            let mut all: VecDeque<(usize, f64)> = VecDeque::new();
            let mut at = 0;
            for (gap, loss) in steps {
                at += gap + 1;
                losses.add(at, 2, &[loss, 2.0 * loss]);
                losses.forget(at);
                all.push_back((at, loss));
                all.retain(|(then, _)| then + window > at);
                let (count, means) = losses.means();
                prop_assert_eq!(count as usize, 2 * all.len());
                let sum: f64 = all.iter().map(|(_, loss)| loss).sum();
                prop_assert!((means[0] * f64::from(count) - sum).abs() <= 1e-12 * sum, "{} {}", means[0], sum);
                prop_assert!((means[1] - 2.0 * means[0]).abs() <= 1e-12 * means[1]);
            }
        }
    }
}
