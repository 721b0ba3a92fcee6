//! How full a machine may be: learned from what happened to sessions on machines that full.
//!
//! Theory says where to begin (`workable_utilization`); how answers really spread sessions over machines, and how
//! long their requests really wait, shows in the objective. Each window of a serving cell is a trial at its utilization: was
//! the objective kept? The boundary lies below the lowest utilization at which it was not, and goes up by one narrow band
//! at a time, when the band below has been tried and was good. Capacity is bought for demand that rarely comes, so that
//! most of what is learned about a band comes from the rare moments in which demand exceeds the plan.

/// Width of a band of utilization, and how many there are.
const WIDTH: f64 = 0.02;
const BANDS: usize = 60;
/// Trials in a band before it is believed.
const ENOUGH: f64 = 10.0;
/// Share of trials in a band that may miss the objective.
const TOLERABLE: f64 = 0.3;
/// Trials after which half is forgotten.
const HALF_LIFE: f64 = 20_000.0;
/// A machine is never planned fuller than this.
const FULLEST: f64 = 0.97;
/// Nor, whatever was missed, emptier than this share of where theory begins: misses at rest have other causes.
const EMPTIEST: f64 = 0.75;

/// The boundary of one class.
#[derive(Clone, Debug)]
pub(super) struct Boundary {
    /// Where theory begins, 0 to 1.
    workable: f64,
    /// Weighted trials of each band, and those that missed.
    trials: Box<[(f64, f64); BANDS]>,
    /// Weight of the next trial: grows instead of all others shrinking.
    weight: f64,
}

impl Boundary {
    /// Nothing tried yet.
    pub(super) fn new(workable: f64) -> Self {
        Boundary { workable, trials: Box::new([(0.0, 0.0); BANDS]), weight: 1.0 }
    }

    /// Takes in whether the objective was missed at a mean utilization of machines.
    pub(super) fn take(&mut self, utilization: f64, missed: bool) {
        let band = ((utilization / WIDTH) as usize).min(BANDS - 1);
        let (trials, misses) = &mut self.trials[band];
        *trials += self.weight;
        *misses += if missed { self.weight } else { 0.0 };
        self.weight *= 0.5f64.powf(-1.0 / HALF_LIFE);
        if self.weight > 1e6 {
            for (trials, misses) in self.trials.iter_mut() {
                (*trials, *misses) = (*trials / self.weight, *misses / self.weight);
            }
            self.weight = 1.0;
        }
    }

    /// Utilization to plan machines at, 0 to 1.
    pub(super) fn utilization(&self) -> f64 {
        let tried = |(trials, _): &(f64, f64)| *trials >= ENOUGH * self.weight;
        let lowest = (self.workable * EMPTIEST / WIDTH) as usize;
        let first_bad = (lowest..BANDS)
            .find(|band| tried(&self.trials[*band]) && self.trials[*band].1 > TOLERABLE * self.trials[*band].0);
        let below = first_bad.unwrap_or(BANDS);
        let good = (lowest..below).rev().find(|band| tried(&self.trials[*band]));
        // The band above the highest that was good comes next.
        let reached = good.map_or(0.0, |band| (band as f64 + 2.0) * WIDTH);
        let limit = first_bad.map_or(FULLEST, |band| band as f64 * WIDTH);
        reached.max(self.workable).min(limit).clamp(self.workable * EMPTIEST, FULLEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::chance::Chance;

    /// Trials at utilizations up to a little above the boundary, as planning to a quantile brings them; the objective is
    /// missed above `truth`.
    fn learned(workable: f64, truth: f64, trials: usize) -> Boundary {
        let (mut boundary, mut chance) = (Boundary::new(workable), Chance::new(1, "boundary"));
        for _ in 0..trials {
            let utilization = boundary.utilization() * (0.7 + 0.31 * chance.uniform());
            boundary.take(utilization, utilization > truth);
        }
        boundary
    }

    #[test]
    fn it_comes_to_lie_where_objectives_begin_to_be_missed() {
        for truth in [0.55, 0.6, 0.72, 0.85, 0.93] {
            let found = learned(0.68, truth, 20_000).utilization();
            assert!((truth - 0.05..=truth + 0.02).contains(&found), "{found} where {truth} is right");
        }
    }

    #[test]
    fn without_a_trial_it_is_the_theory_and_it_is_never_beyond_reason() {
        assert_eq!(Boundary::new(0.68).utilization(), 0.68);
        let mut boundary = Boundary::new(0.68);
        (0..100).for_each(|_| boundary.take(0.05, true));
        assert_eq!(boundary.utilization(), 0.68, "misses at rest have other causes");
        (0..100).for_each(|_| boundary.take(0.55, true));
        assert!((0.51..0.56).contains(&boundary.utilization()), "{}", boundary.utilization());
        assert!(learned(0.9, 2.0, 50_000).utilization() <= FULLEST);
    }

    #[test]
    fn what_has_changed_is_learned_anew() {
        let mut boundary = learned(0.68, 0.6, 3_000);
        assert!(boundary.utilization() <= 0.62);
        let mut chance = Chance::new(2, "boundary");
        for _ in 0..60_000 {
            let utilization = boundary.utilization() * (0.7 + 0.31 * chance.uniform());
            boundary.take(utilization, utilization > 0.8);
        }
        assert!((0.75..=0.82).contains(&boundary.utilization()), "{}", boundary.utilization());
    }
}
