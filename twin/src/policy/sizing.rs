//! From the demand of a cell and the errors of its forecasts to machines.

use crate::forecast::Residuals;
use crate::plan::newsvendor::{self, Sized, vms_from};

/// Demand of one serving cell over the window looked ahead to, and what it may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stake<'a> {
    /// Median of the most sessions in the window.
    pub expected: f64,
    /// Spread by which standardised errors are multiplied.
    pub spread: f64,
    /// Distribution of standardised errors.
    pub residuals: &'a Residuals,
    /// Sessions that one machine serves.
    pub sessions_per_vm: f64,
    /// Price of a machine \[currency unit / min\].
    pub vm_price: f64,
    /// Price of a minute short of machines \[currency unit / min\].
    pub violation_price: f64,
}

impl Stake<'_> {
    /// Machines for the quantile `level` of demand, and that quantile.
    pub(super) fn at_level(&self, level: f64) -> (u32, f64) {
        let sessions = self.quantile(level);
        (vms_from(sessions / self.sessions_per_vm), sessions)
    }

    /// The number of machines of least expected cost, and the quantile level that it covers.
    pub(super) fn cheapest(&self) -> (u32, f64) {
        let Sized { vms, level, .. } = newsvendor::least_cost(
            |level| self.quantile(level),
            |value| self.residuals.share_above((value - self.expected) / self.spread),
            self.sessions_per_vm,
            self.vm_price,
            self.violation_price,
        );
        (vms, level)
    }

    /// Sessions at a quantile level.
    pub(super) fn quantile(&self, level: f64) -> f64 {
        (self.expected + self.residuals.quantile(level) * self.spread).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::newsvendor::critical_ratio;

    fn stake(residuals: &Residuals, vm_price: f64) -> Stake<'_> {
        Stake {
            expected: 1000.0,
            spread: Residuals::scale(1000.0),
            residuals,
            sessions_per_vm: 50.0,
            vm_price,
            violation_price: 1.0,
        }
    }

    fn short(stake: &Stake<'_>, n: u32) -> f64 {
        stake.residuals.share_above((f64::from(n) * stake.sessions_per_vm - stake.expected) / stake.spread)
    }

    #[test]
    fn machines_are_bought_until_they_cost_more_than_they_save() {
        let residuals = Residuals::default();
        for price in [0.0001, 0.005, 0.02, 0.1, 0.5] {
            let stake = stake(&residuals, price);
            let (n, level) = stake.cheapest();
            let cost = |n: u32| price * f64::from(n) + short(&stake, n);
            let most = stake.at_level(critical_ratio(1.0, price)).0;
            let best = (0..=most).map(cost).fold(f64::INFINITY, f64::min);
            // Below the search lies only giving the cell up altogether, which is not a policy's to decide.
            let searched = (stake.at_level(0.3).0..=most).map(cost).fold(f64::INFINITY, f64::min);
            assert!(cost(n) <= searched + 1e-12, "{price}: {n} costs {} not {searched} ({best})", cost(n));
            assert!(level <= critical_ratio(1.0, price) + 0.05);
        }
        let dear = stake(&residuals, 0.1).cheapest().0;
        let cheap = stake(&residuals, 0.0001).cheapest().0;
        assert!(cheap > dear, "{cheap} {dear}");
    }
}
